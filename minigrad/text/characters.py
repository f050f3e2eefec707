"""A token for every character: the tokenizer of nanoGPT's Shakespeare."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .definition import read_json
from .encoding import Encoding, truncated
from .templates import Template
from .tokenizer import Tokenizer


class CharacterTokenizer(Tokenizer):
    """The id of a character is its place in a list; ``train`` makes the sorted list of those that a text has.

    ``unk_token`` and other tokens that aren't single characters may be in the list. A character that isn't
    raises ValueError, unless there is an ``unk_token``. Source: A. Karpathy, nanoGPT, data/shakespeare_char.
    """

    backend = "own"

    def __init__(self, characters: Iterable[str], **config: Any) -> None:
        listed = list(characters)
        self._ids = {c: id for id, c in enumerate(listed)}
        if not listed or len(self._ids) != len(listed) or not all(isinstance(c, str) and c for c in listed):
            raise ValueError(f"CharacterTokenizer: expected different characters, one at least, got {len(listed)} with repeats or none")  # fmt: skip
        super().__init__({"model_input_names": ["input_ids", "attention_mask"]} | config)

    @classmethod
    def train(
        cls, texts: str | Iterable[str], special: Sequence[str] = (), **config: Any
    ) -> CharacterTokenizer:
        """The tokenizer of all characters in a text or several, after the ``special`` tokens.

        >>> CharacterTokenizer.train("hello").encode("hole")
        [1, 3, 2, 0]
        """
        found = set(texts) if isinstance(texts, str) else set[str]().union(*map(set, texts))
        if not found:
            raise ValueError("CharacterTokenizer.train: expected text, got none")
        return cls([*special, *sorted(found - set(special))], **config)

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None
    ) -> CharacterTokenizer:
        """From characters.json: a list of strings."""
        listed = read_json(path, "a list of characters")
        if not isinstance(listed, list):
            raise ValueError(f"{os.fspath(path)}: expected a list of characters, got {type(listed).__name__}")
        return cls(listed, **(config or {}))

    def vocabulary(self) -> Mapping[str, int]:
        return self._ids

    def special_count(self, pair: bool = False) -> int:
        return 0

    def encodings(
        self, texts: Sequence[tuple[str, str | None]], special: bool, length: int | None, strategy: str
    ) -> list[Encoding]:
        found = []
        for text, pair in texts:
            first, second = self._encoding(text), None if pair is None else self._encoding(pair)
            if length is not None:
                first, second = truncated(first, second, length, strategy, self.truncation_side)
            found.append(Template().filled(first, second, special))
        return found

    def _encoding(self, text: str) -> Encoding:
        unknown = self.unk_token_id
        ids = [self._ids.get(c, unknown) for c in text]
        if None in ids:
            at = ids.index(None)
            raise ValueError(
                f"CharacterTokenizer: character {at} is {text[at]!r} (U+{ord(text[at]):04X}), which isn't among its "
                f"{len(self._ids)}; train on text that has it, or with an unk_token among the special ones"
            )
        return Encoding.of(ids, [(k, k + 1) for k in range(len(ids))], [""] * len(ids))

    def text_of(self, ids: Sequence[int], skip: bool) -> str:
        known, special = self._tokens(), self.special_ids() if skip else frozenset()
        return "".join(known[id] for id in ids if id not in special)

    def save(self, folder: Path) -> None:
        from ..io import atomic_write

        with atomic_write(folder / "characters.json") as f:
            f.write(json.dumps(list(self._ids), ensure_ascii=True).encode())
