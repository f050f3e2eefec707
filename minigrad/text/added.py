"""Added tokens: strings such as ``[MASK]`` that are found in the text as they are, before anything else is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .definition import Definition
from .normalization import Normalized, Step
from .unicode import WHITESPACE, word


class AddedToken(NamedTuple):
    """One of them: ``special`` ones are left out by decode, ``normalized`` ones are sought in normalised text."""

    content: str
    id: int
    special: bool = False
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    @classmethod
    def read(cls, d: Definition) -> AddedToken:
        """From an object of tokenizer.json's "added_tokens"."""
        special = d.flag("special", False)
        options = {name: d.flag(name, False) for name in ("single_word", "lstrip", "rstrip")}
        if not (content := d.text("content")):
            raise d.wrong("content", "a token of one character at least")
        return cls(content, d.number("id"), special, d.flag("normalized", not special), **options)


class Section(NamedTuple):
    """A stretch of the text: an added token with its id, or text for the model with its origins."""

    text: Normalized
    base: int
    added: int | None


class Finder:
    """Cuts text into added tokens and what stands between: the leftmost first, of several the longest."""

    def __init__(self, tokens: Iterable[AddedToken], normalize: Step) -> None:
        self.normalize = normalize
        raw, late = dict[str, AddedToken](), dict[str, AddedToken]()
        for token in tokens:
            if token.normalized:
                late[self.sought(token)] = token
            else:
                raw[token.content] = token
        late.pop("", None)
        self.raw, self.late = _alternatives(raw), _alternatives(late)
        self.tokens = raw, late

    def sought(self, token: AddedToken) -> str:
        """The text that an added token is found by, and decoded to."""
        return self.normalize(Normalized(token.content)).text if token.normalized else token.content

    def sections(self, text: str) -> Iterator[Section]:
        """The stretches of a text, normalised."""
        raw, late = self.tokens
        for a, b, id in _occurrences(text, self.raw, raw):
            if id is not None:
                yield Section(Normalized(text[a:b]), a, id)
                continue
            state = self.normalize(Normalized(text[a:b]))
            if self.late is None:
                yield Section(state, a, None)
                continue
            for x, y, inner in _occurrences(state.text, self.late, late):
                origins = list(state.where()[x:y])
                yield Section(Normalized(state.text[x:y], origins), a, inner)


def _alternatives(tokens: Mapping[str, AddedToken]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda content: (-len(content), content))
    return re.compile("|".join(map(re.escape, longest_first))) if tokens else None


@cache
def _is_word() -> re.Pattern[str]:
    return re.compile(f"[{word()}\u200c\u200d]")


_SPACES = re.compile(f"[{WHITESPACE}]*")


def _occurrences(
    text: str, pattern: re.Pattern[str] | None, tokens: Mapping[str, AddedToken]
) -> Iterator[tuple[int, int, int | None]]:
    """Spans that cover the text, with the id where an added token stands."""
    end = 0
    for match in pattern.finditer(text) if pattern else ():
        token, (a, b) = tokens[match[0]], match.span()
        if token.single_word:
            if any(_is_word().match(c) for c in text[max(a - 1, 0) : a] + text[b : b + 1]):
                continue
        if token.lstrip:
            before = a
            while before > end and _SPACES.fullmatch(text[before - 1]):
                before -= 1
            a = before
        if token.rstrip:
            b = _SPACES.match(text, b).end()  # type: ignore[union-attr]
        if end < a:
            yield end, a, None
        yield a, b, token.id
        end = b
    if end < len(text):
        yield end, len(text), None
