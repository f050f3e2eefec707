"""What is done to text before it is split: cleaning, lower case, accents, Unicode's forms; and where each character came from.

A :class:`Normalized` carries, beside its text, for each character the index of the original's character that
it stems from, so that tokens can be traced back: ``origins`` is None while text and original agree one by one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Literal, NamedTuple

from .definition import Definition
from .unicode import CHINESE, WHITESPACE, after_nine, characters, combining, is_accent, is_control, is_mark


class Normalized(NamedTuple):
    """Text, and for each of its characters the index in the original, or None for "the same index"."""

    text: str
    origins: list[int] | None = None

    def where(self) -> Any:
        """The origins, written out."""
        return range(len(self.text)) if self.origins is None else self.origins


Step = Callable[[Normalized], Normalized]
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


def mapped(mapping: Callable[[str], str], state: Normalized) -> Normalized:
    """Each character becomes none, one or several, which all stem from it."""
    parts = [mapping(c) for c in state.text]
    return Normalized(
        "".join(parts), [at for at, part in zip(state.where(), parts, strict=True) for _ in part]
    )


@cache
def _cleaned(c: str) -> str:
    return " " if re.match(f"[{WHITESPACE}]", c) and c not in "\v\f\x85" else "" if is_control(c) else c


@cache
def _spaced(c: str) -> str:
    return f" {c} " if re.match(f"[{CHINESE}]", c) else c


@cache
def _nfd(c: str) -> str:
    return c if c in after_nine() else unicodedata.normalize("NFD", c)


@cache
def _nfkd(c: str) -> str:
    return c if c in after_nine() else unicodedata.normalize("NFKD", c)


@cache
def _unaccented(c: str) -> str:
    return "" if is_accent(c) else c


def clean(state: Normalized) -> Normalized:
    """Drops control characters and U+FFFD, makes every white space a plain one (BERT)."""
    return state if state.text.isascii() and state.text.isprintable() else mapped(_cleaned, state)


def space_chinese(state: Normalized) -> Normalized:
    """Puts a space on both sides of each Chinese character, so that each is a word (BERT)."""
    return state if state.text.isascii() or not _chinese().search(state.text) else mapped(_spaced, state)


def _unmarked(c: str) -> str:
    return "" if is_mark(c) else c


def strip_accents(state: Normalized) -> Normalized:
    """Drops the marks of category Mn."""
    return state if state.text.isascii() or not _accents().search(state.text) else mapped(_unaccented, state)


def lowercase(state: Normalized) -> Normalized:
    """Lower case character by character: no final sigma, and İ becomes two characters."""
    lowered = state.text.lower()
    if "Σ" in state.text or len(lowered) != len(state.text):
        return mapped(str.lower, state)
    return Normalized(lowered, state.origins)


@cache
def _chinese() -> re.Pattern[str]:
    return re.compile(f"[{CHINESE}]")


@cache
def _accents() -> re.Pattern[str]:
    return re.compile(f"[{characters(is_accent, 'M')}]")


def unicode_form(form: Form, state: Normalized) -> Normalized:
    """Unicode's normal forms (UAX 15), NFC, NFD, NFKC and NFKD, keeping track of origins.

    Decomposition gives the first of its characters the next place in the text, and the further ones the same;
    marks put in order take the places in the order in which they then stand; a composite takes the first place
    of its parts. ``moves`` says for each character how many places it takes.
    """
    if unicodedata.is_normalized(form, state.text):
        return state
    compatibility: Form = "NFKD" if "K" in form else "NFD"
    decomposed = mapped(_nfkd if "K" in form else _nfd, state)
    if form == compatibility and unicodedata.is_normalized(form, decomposed.text):
        return decomposed  # no mark had to move
    parts = map(_nfkd if "K" in form else _nfd, state.text)
    units = list(_ordered([(c, int(k == 0)) for part in parts for k, c in enumerate(part)]))
    if form.endswith("C"):
        units = _composed(units)
    where, origins, at = state.where(), [], 0
    for _, moves in units:
        origins.append(where[at] if moves else where[max(at - 1, 0)])
        at += moves
    # A composite of several places stems from the first: those after it are passed by.
    return Normalized("".join(c for c, _ in units), origins)


def _ordered(units: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Canonical ordering: runs of marks sorted by combining class, stably."""
    marks: list[tuple[str, int]] = []
    for unit in units:
        if combining(unit[0]):
            marks.append(unit)
            continue
        yield from sorted(marks, key=lambda u: combining(u[0]))
        marks.clear()
        yield unit
    yield from sorted(marks, key=lambda u: combining(u[0]))


def _composed(units: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Canonical composition: a mark joins the last starter unless one of its class or higher stands between."""
    out: list[tuple[str, int]] = []
    starter, last = -1, 0  # the place of the last starter in out; the class of what was put after it
    for c, moves in units:
        kind = combining(c)
        adjacent = starter == len(out) - 1
        if starter >= 0 and (adjacent or last and last < kind):
            joined = unicodedata.normalize("NFC", out[starter][0] + c)
            if len(joined) == 1:
                out[starter] = joined, out[starter][1] + moves
                continue
        if kind == 0:
            starter = len(out)
        last = kind
        out.append((c, moves))
    return out


def prepend(content: str, state: Normalized) -> Normalized:
    """Puts text in front of what isn't empty; it stems from the first character."""
    if not state.text:
        return state
    where = list(state.where())
    return Normalized(content + state.text, [where[0]] * len(content) + where)


def replace(pattern: re.Pattern[str], content: str, state: Normalized) -> Normalized:
    """Puts content for each match; it stems from the match's last character."""
    if not pattern.search(state.text):
        return state
    if len(content) == 1 and len(pattern.pattern.removeprefix("\\")) == 1:
        return Normalized(pattern.sub(lambda m: content, state.text), state.origins)
    where, text, origins, end = state.where(), "", list[int](), 0
    for match in pattern.finditer(state.text):
        if match.end() > match.start():
            text += state.text[end : match.start()] + content
            origins += [*where[end : match.start()], *[where[match.end() - 1]] * len(content)]
            end = match.end()
    return Normalized(text + state.text[end:], origins + list(where[end:]))


def strip(left: bool, right: bool, state: Normalized) -> Normalized:
    """Drops white space at the ends."""
    found = re.match(f"[{WHITESPACE}]*", state.text) if left else None
    a = found.end() if found else 0
    text = state.text[a:]
    b = len(re.sub(f"[{WHITESPACE}]+\\Z", "", text)) if right else len(text)
    return Normalized(text[:b], list(state.where()[a : a + b]))


def in_turn(steps: tuple[Step, ...], state: Normalized) -> Normalized:
    """One step after another."""
    for step in steps:
        state = step(state)
    return state


def _bert(d: Definition) -> Step:
    lower = d.flag("lowercase", True)
    steps: list[Step] = []
    if d.flag("clean_text", True):
        steps.append(clean)
    if d.flag("handle_chinese_chars", True):
        steps.append(space_chinese)
    if lower if d.get("strip_accents") is None else d.flag("strip_accents", False):
        steps += [partial(unicode_form, "NFD"), strip_accents]
    if lower:
        steps.append(lowercase)
    return partial(in_turn, tuple(steps))


def _precompiled(d: Definition) -> Step:
    from .unigram import Charsmap

    try:
        return Charsmap(d.text("precompiled_charsmap"))
    except ValueError as e:
        raise ValueError(f"{d.place}: {e}") from None


NORMALIZERS: dict[str, Callable[[Definition], Step]] = {
    "BertNormalizer": _bert,
    "Sequence": lambda d: partial(in_turn, tuple(normalizer(part) for part in d.parts("normalizers"))),
    "Lowercase": lambda d: lowercase,
    "StripAccents": lambda d: partial(mapped, _unmarked),
    "NFC": lambda d: partial(unicode_form, "NFC"),
    "NFD": lambda d: partial(unicode_form, "NFD"),
    "NFKC": lambda d: partial(unicode_form, "NFKC"),
    "NFKD": lambda d: partial(unicode_form, "NFKD"),
    "Precompiled": _precompiled,
    "Prepend": lambda d: partial(prepend, d.text("prepend")),
    "Replace": lambda d: partial(replace, d.pattern("pattern"), d.text("content")),
    "Strip": lambda d: partial(strip, d.flag("strip_left", True), d.flag("strip_right", True)),
}


def normalizer(definition: Definition | None) -> Step:
    """The step that a tokenizer.json's "normalizer" describes; none leaves text as it is."""
    return (lambda state: state) if definition is None else definition.chosen(NORMALIZERS)
