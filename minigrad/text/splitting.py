"""Where text is cut into the words that a model then takes apart: BERT's way, a pattern's, and GPT-2's.

A splitter gives spans of the normalised text; what stands between them belongs to no token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

from .definition import Definition
from .normalization import Normalized, prepend
from .patterns import GPT2, translated
from .unicode import WHITESPACE, characters, charset, is_punctuation, word

Span = tuple[int, int]
Words = tuple[Normalized, list[Span]]
Cut = Callable[[str], Iterator[Span]]


class Splitter(NamedTuple):
    """How words are found: the cuts in turn, whether a space is put in front, whether a word is taken as bytes.

    ``spelled`` makes of the cut text one in which spaces are seen, with spans of its own (Metaspace).
    """

    cuts: tuple[Cut, ...] = ()
    prefix_space: bool = False
    as_bytes: bool = False
    spelled: Callable[[Normalized, list[Span], bool], Words] | None = None

    def __call__(self, text: str) -> list[Span]:
        """Spans of the words."""
        if len(self.cuts) == 1:
            return list(self.cuts[0](text))
        spans = [(0, len(text))] if text else []
        for cut in self.cuts:
            spans = [(a + x, a + y) for a, b in spans for x, y in cut(text[a:b])]
        return spans

    def words(self, state: Normalized, first: bool) -> Words:
        """The text and the spans of its words; ``first``: nothing stands before it."""
        if self.prefix_space and not state.text.startswith(" "):
            state = prepend(" ", state)
        spans = self(state.text)
        return (state, spans) if self.spelled is None else self.spelled(state, spans, first)


def metaspace(mark: str, scheme: str, cut: bool, state: Normalized, spans: list[Span], first: bool) -> Words:
    """A mark for each space, and one in front of each word, or of the first of the text; words begin at marks then.

    Source: T. Kudo & J. Richardson, SentencePiece, EMNLP 2018, section 3.2.
    """
    where, text, origins, words = state.where(), "", list[int](), list[Span]()
    for a, b in spans:
        word, at = state.text[a:b].replace(" ", mark), list(where[a:b])
        if not word.startswith(mark) and (
            scheme == "always" or scheme == "first" and first and at[:1] == [0]
        ):
            word, at = mark + word, [at[0], *at]
        shift = len(text)
        inner = found(_simple_mark(mark), word) if cut else [(0, len(word))]
        words += [(shift + x, shift + y) for x, y in inner]
        text, origins = text + word, origins + at
    return Normalized(text, origins), words


@cache
def _simple_mark(mark: str) -> re.Pattern[str]:
    c = re.escape(mark)
    return re.compile(f"{c}[^{c}]*|[^{c}]+")


def prepend_scheme(d: Definition) -> str:
    """Where Metaspace puts a mark in front: always, first or never; files of before 2024 say whether."""
    if d.get("prepend_scheme") is None:
        return "always" if d.flag("add_prefix_space", True) else "never"
    if (scheme := d.text("prepend_scheme")) not in ("always", "first", "never"):
        raise d.wrong("prepend_scheme", "always, first or never")
    return scheme


def found(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """The matches, and nothing else."""
    return (m.span() for m in pattern.finditer(text))


def isolated(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """The matches, and what is between them."""
    end = 0
    for match in pattern.finditer(text):
        a, b = match.span()
        if a == b:
            continue
        if end < a:
            yield end, a
        yield a, b
        end = b
    if end < len(text):
        yield end, len(text)


def _behaved(pattern: re.Pattern[str], behaviour: str, invert: bool, text: str) -> Iterator[Span]:
    """What becomes of the matches, the delimiters: alone, dropped, or joined to a neighbour."""
    open_at, was = 0, False  # the piece that isn't given yet, and whether it ended in a delimiter
    for a, b in isolated(pattern, text):
        match = pattern.match(text, a)
        delimiter = (match is not None and match.end() == b) != invert
        if behaviour == "Removed":
            if not delimiter:
                yield a, b
            continue
        joins = {
            "MergedWithPrevious": delimiter and not was,
            "MergedWithNext": was and not delimiter,
            "Contiguous": delimiter == was,
        }[behaviour]
        if a and not joins:
            yield open_at, a
            open_at = a
        was = delimiter
    if behaviour != "Removed" and text:
        yield open_at, len(text)


@cache
def bert_words() -> re.Pattern[str]:
    """A punctuation character, or a run of what is neither that nor white space."""
    marks = characters(is_punctuation, "P", "S", "Mn", "So")
    return re.compile(f"[{marks}]|[^{WHITESPACE}{marks}]+")


@cache
def _simple(kind: str) -> re.Pattern[str]:
    return re.compile(
        {
            "words": f"[{word()}]+|[^{word()}{WHITESPACE}]+",
            "spaced": f"[^{WHITESPACE}]+",
            "mark": f"[{characters(is_punctuation, 'P', 'S', 'Mn')}]",
            "digit": f"[{charset('N')}]",
            "digits": f"[{charset('N')}]+",
        }[kind]
    )


def _found(pattern: re.Pattern[str]) -> Splitter:
    return Splitter((lambda text: found(pattern, text),))


def _isolated(pattern: re.Pattern[str]) -> Splitter:
    return Splitter((lambda text: isolated(pattern, text),))


def _split(d: Definition) -> Splitter:
    pattern, behaviour, invert = d.pattern("pattern"), d.text("behavior"), d.flag("invert", False)
    if behaviour == "Isolated":
        return _isolated(pattern)
    known = ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    if behaviour not in known:
        raise d.wrong("behavior", f"one of Isolated, {', '.join(known)}")
    return Splitter((lambda text: _behaved(pattern, behaviour, invert, text),))


def _punctuation(d: Definition) -> Splitter:
    behaviour = d.get("behavior") or "Isolated"
    if behaviour != "Isolated":
        raise d.wrong("behavior", '"Isolated", the one that is known')
    return _isolated(_simple("mark"))


def _byte_level(d: Definition) -> Splitter:
    cuts: tuple[Cut, ...] = ()
    if d.flag("use_regex", True):
        pattern = translated(GPT2)
        cuts = (lambda text: found(pattern, text),)
    return Splitter(cuts, prefix_space=d.flag("add_prefix_space", True), as_bytes=True)


def _metaspace(d: Definition) -> Splitter:
    mark = d.text("replacement") if d.get("replacement") is not None else "▁"
    if len(mark) != 1:
        raise d.wrong("replacement", "one character")
    return Splitter(spelled=partial(metaspace, mark, prepend_scheme(d), d.flag("split", True)))


def _sequence(d: Definition) -> Splitter:
    made = Splitter()
    for k, part in enumerate(d.parts("pretokenizers")):
        one = splitter(part)
        if made.as_bytes or made.spelled or k and one.prefix_space:
            raise d.wrong(
                "pretokenizers", "in an order where bytes or marks are last and a space is put in front first"
            )
        made = one._replace(cuts=made.cuts + one.cuts, prefix_space=made.prefix_space or one.prefix_space)
    return made


SPLITTERS: dict[str, Callable[[Definition], Splitter]] = {
    "BertPreTokenizer": lambda d: _found(bert_words()),
    "ByteLevel": _byte_level,
    "Metaspace": _metaspace,
    "Split": _split,
    "Sequence": _sequence,
    "Digits": lambda d: _isolated(_simple("digit" if d.flag("individual_digits", False) else "digits")),
    "Punctuation": _punctuation,
    "Whitespace": lambda d: _found(_simple("words")),
    "WhitespaceSplit": lambda d: _found(_simple("spaced")),
}


def splitter(definition: Definition | None) -> Splitter:
    """The splitter that a tokenizer.json's "pre_tokenizer" describes; without one all text is one word."""
    return Splitter() if definition is None else definition.chosen(SPLITTERS)
