"""Sets of characters as regular-expression classes: Unicode categories, white space, and what BERT calls punctuation.

Python's ``re`` has no ``\\p{L}``; ``charset("L")`` is the ranges that would stand for it, taken from
``unicodedata``. The characters that a category holds are thus those of Python's version of Unicode.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

# Unicode's White_Space; str.isspace() has the four separators U+001C to U+001F besides.
WHITESPACE = "\t-\r \\x85\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

# The blocks of Chinese characters that BERT puts between spaces (google-research/bert, tokenization.py).
CHINESE = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f"
    "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)

# BERT's tables, as the tokenizers library has them, are those of Unicode 8.0 (2015). Punctuation, marks and
# format characters that came later are to it letters like any other; these ranges hold all of them that
# Unicode 16 has, and none of the older ones.
_LATER = """
    61D 7FD 890-8E2 9FD-9FE A76 AFA-AFF B55 C04-C3C C77 C84 D00 D3B-D3C D81 EBA ECE 180F-1886 1ABF-1ACE
    1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E5D A82C A8C5 A8FF A9BD 10D24-10F89 11070-11074 110C2-110CD 111C9
    111CF 1123E-11241 1133B 113BB-1145E 11660-1166C 116B9 1182F-11FFF 12FF1-12FF2 13430-13455 1611E-1612F
    16D6D-16F4F 16FE2-16FE4 1CF00-1CF46 1E000-1E5FF 1E944-1E95F
"""
# The library's normal forms are those of Unicode 9.0 (2016), which had these of the above; of the rest it had none,
# nor these, and takes them for letters that neither decompose nor move.
_NINE = "8D4-8E1 1DFB 11442-11446 11C3F 1E000-1E02A 1E944-1E94A"
_AFTER_NINE = "1715 32FF A7F2-A7F4 AB69 10780-107BA 11938 1193D 16FF0-16FF1 1F16C 1FBF0-1FBF9"
# Characters whose category Unicode has changed since: one was punctuation, two were other things.
_REVISED = {"\u166d": "P", "\u1734": "Mn", "\U000111c9": "P"}


@cache
def _runs() -> tuple[tuple[str, int, int], ...]:
    """Maximal runs of code points of one category: (category, first, last)."""
    runs: list[tuple[str, int, int]] = []
    first, kind = 0, unicodedata.category("\0")
    for code in range(1, sys.maxunicode + 2):
        now = unicodedata.category(chr(code)) if code <= sys.maxunicode else ""
        if now != kind:
            runs.append((kind, first, code - 1))
            first, kind = code, now
    return tuple(runs)


@cache
def charset(*categories: str) -> str:
    """The inside of a ``[…]`` that matches these categories: "L" for all letters, "Lu" for capitals alone."""
    found = [(a, b) for kind, a, b in _runs() if kind.startswith(categories)]
    if not found:
        raise ValueError(f"charset: expected Unicode's categories, such as 'L' or 'Nd', got {categories}")
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in found)


@cache
def word() -> str:
    """``\\w`` of UTS 18, annex C: letters, marks, digits, connectors, letters in circles."""
    circled = "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
    return charset("L", "M", "Nd", "Nl", "Pc") + circled


def _written(ranges: str) -> frozenset[str]:
    spans = [span.partition("-") for span in ranges.split()]
    return frozenset(chr(c) for a, _, b in spans for c in range(int(a, 16), int(b or a, 16) + 1))


@cache
def _later() -> frozenset[str]:
    return _written(_LATER)


@cache
def after_nine() -> frozenset[str]:
    """Characters that Unicode's normal forms know and the library's do not."""
    return _later() - _written(_NINE) | _written(_AFTER_NINE)


def combining(character: str) -> int:
    """The canonical combining class, 0 for what doesn't combine."""
    return 0 if character in after_nine() else unicodedata.combining(character)


def bert_category(character: str) -> str:
    """The category in the tables of BERT, "Lo" for what is younger than they are."""
    if character in _REVISED:
        return _REVISED[character]
    return "Lo" if character in _later() else unicodedata.category(character)


def is_control(character: str) -> bool:
    """What BERT's cleaning drops: control, format and private characters, NUL and U+FFFD; not tab and newlines."""
    kind = bert_category(character)
    return character == "\ufffd" or kind in ("Cc", "Cf", "Co") and character not in "\t\n\r"


def is_punctuation(character: str) -> bool:
    """ASCII that is no letter, digit, space or control, and the categories P (Devlin et al. 2019, their code)."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return bert_category(character).startswith("P")


def is_accent(character: str) -> bool:
    """A mark that takes no room of its own: category Mn."""
    return bert_category(character) == "Mn"


def is_mark(character: str) -> bool:
    """Any mark, spacing ones too, that isn't younger than the library's tables."""
    return unicodedata.category(character).startswith("M") and character not in after_nine()


@cache
def characters(predicate: Callable[[str], bool], *categories: str) -> str:
    """The inside of a ``[…]`` for the characters of some categories that a predicate accepts."""
    runs = [(a, b) for kind, a, b in _runs() if kind.startswith(categories)]
    return spelled(c for a, b in runs for c in map(chr, range(a, b + 1)) if predicate(c))


def spelled(members: Iterable[str]) -> str:
    """Characters as the inside of a ``[…]``."""
    return "".join(re.escape(c) for c in members)
