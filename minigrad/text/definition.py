"""Reading ``tokenizer.json``: a :class:`Definition` is one object of it that knows where it stands, for the errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .patterns import translated


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """A file's text. Raises ValueError for an empty file, or naming the byte that isn't UTF-8."""
    data = Path(path).read_bytes()
    if not data.strip():
        raise ValueError(f"{os.fspath(path)}: expected {what}, got an empty file")
    return decoded(data, os.fspath(path)).removeprefix("\ufeff")


def decoded(data: bytes, where: str) -> str:
    """Bytes as UTF-8. Raises ValueError naming the first byte that isn't, its place and its line."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ValueError(
            f"{where}: expected text in UTF-8, got byte {data[e.start]:#04x} at {e.start} (line {line}); convert the "
            f"file, or read it with open(..., encoding=...) of its own"
        ) from None


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """A JSON file's value. Raises ValueError where it is cut short, isn't JSON, or nests too deep."""
    text = read_text(path, what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        hint = "; the file seems cut short" if e.pos >= len(text.rstrip()) - 1 else ""
        raise ValueError(
            f"{os.fspath(path)}: expected {what}, got no JSON: {e.msg} in line {e.lineno}, column {e.colno}{hint}"
        ) from None
    except (RecursionError, ValueError) as e:
        raise ValueError(f"{os.fspath(path)}: expected {what}, got JSON that can't be read: {e}") from None


class Definition(NamedTuple):
    """One JSON object, with the name of its place: ``tokenizer.json: model``."""

    values: Mapping[str, Any]
    place: str

    def wrong(self, name: str, expected: str) -> ValueError:
        """The error for a value that isn't what it should be."""
        got = repr(self.values[name]) if name in self.values else "nothing"
        return ValueError(
            f"{self.place}: {name!r} must be {expected}, got {got if len(got) < 80 else got[:77] + '...'}"
        )

    def get(self, name: str) -> Any:
        """The value, None where there is none."""
        return self.values.get(name)

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        if not isinstance(value := self.values.get(name, default), bool):
            raise self.wrong(name, "true or false")
        return value

    def text(self, name: str) -> str:
        """A string."""
        if not isinstance(value := self.values.get(name), str):
            raise self.wrong(name, "a string")
        return value

    def optional(self, name: str) -> str | None:
        """A string, or None."""
        return None if self.values.get(name) is None else self.text(name)

    def number(self, name: str, default: int | None = None) -> int:
        """An integer from 0."""
        value = self.values.get(name, default)
        if type(value) is not int or value < 0:
            raise self.wrong(name, "an integer from 0")
        return value

    def part(self, name: str) -> Definition | None:
        """The object of that name, None where there is none."""
        if (value := self.values.get(name)) is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Definition(value, f"{self.place}: {name}")

    def parts(self, name: str) -> list[Definition]:
        """The objects of a list."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.wrong(name, "a list of objects")
        return [Definition(v, f"{self.place}: {name} {k}") for k, v in enumerate(value)]

    def vocabulary(self, name: str) -> dict[str, int]:
        """Tokens and their ids, which differ."""
        value = self.values.get(name)
        if not isinstance(value, dict) or not value:
            raise self.wrong(name, "an object of tokens and their ids")
        return checked(value, f"{self.place}: {name}")

    def pattern(self, name: str) -> re.Pattern[str]:
        """``{"String": …}`` or ``{"Regex": …}``."""
        value = self.values.get(name)
        if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value.values())), str):
            raise self.wrong(name, '{"String": ...} or {"Regex": ...}')
        kind, text = next(iter(value.items()))
        if kind == "Regex":
            return translated(text, self.place)
        if kind == "String" and text:
            return re.compile(re.escape(text))
        raise self.wrong(name, '{"String": ...} or {"Regex": ...}')

    def chosen(self, known: Mapping[str, Callable[[Definition], Any]]) -> Any:
        """What the maker for this object's "type" makes of it."""
        kind = self.values.get("type")
        if not isinstance(kind, str) or kind not in known:
            raise ValueError(
                f"{self.place}: unknown type {kind!r}; known are {', '.join(known)}. The library tokenizers may know "
                f"it: pip install 'minigrad-xp[text]' and pass backend=\"tokenizers\""
            )
        return known[kind](self)


def checked(vocabulary: Mapping[str, Any], where: str) -> dict[str, int]:
    """A vocabulary whose ids are different integers from 0. Raises ValueError naming the first that isn't."""
    owners: dict[int, str] = {}
    for token, id in vocabulary.items():
        if type(id) is not int or not 0 <= id < 1 << 31:
            raise ValueError(f"{where}: the id of {token!r} must be an integer from 0, got {id!r}")
        if id in owners:
            raise ValueError(f"{where}: tokens {owners[id]!r} and {token!r} have the same id {id}")
        owners[id] = token
    return dict(vocabulary)
