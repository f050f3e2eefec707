"""The patterns by which byte-level tokenizers cut text into words, for Python's ``re``.

They are published in the notation of Oniguruma or ``regex``, with Unicode categories (``\\p{L}``), which ``re``
doesn't have: ``translated`` writes the categories out as ranges. What a pattern may use is what those of GPT-2,
GPT-4, Llama 3, Qwen 2, StarCoder and DeepSeek do; the rest is refused by name rather than guessed at.
"""

from __future__ import annotations

import re
from functools import cache

from .unicode import WHITESPACE, charset, word

# Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", their code (encoder.py).
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_PIECE = re.compile(
    r"\\[pP]\{\^?\w+\}|\\x\{[0-9A-Fa-f]+\}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\.|\[\^?\]?|\]|&&|"
    r"\(\?[^)\]]|\(|.",
    re.DOTALL,
)
_GROUPS = ("(?:", "(?i", "(?=", "(?!", "(?<", "(?>")
_CONTROL = {"n": "\\n", "r": "\\r", "t": "\\t", "f": "\\f", "v": "\\v"}


@cache
def translated(pattern: str, where: str = "pattern") -> re.Pattern[str]:
    """Compiles a pattern with Unicode categories. Raises ValueError naming the part that isn't known.

    >>> translated(GPT2).findall("It's  42!")
    ['It', "'s", ' ', ' 42', '!']
    """
    out, depth = "", 0
    for piece in _PIECE.findall(pattern):
        if piece.startswith("["):
            if depth:
                raise _unknown(where, pattern, "a class within a class")
            depth = 1
            out += piece.replace("[]", "[\\]").replace("[^]", "[^\\]")
        elif piece == "]":
            depth = 0
            out += piece
        elif piece == "&&" and depth:
            raise _unknown(where, pattern, "an intersection &&")
        elif piece.startswith("(?") and not depth and piece not in _GROUPS:
            raise _unknown(where, pattern, piece)
        elif piece in "&~|" and depth:
            out += "\\" + piece  # alone they are literals, doubled ``re`` warns of them
        elif piece.startswith("\\"):
            out += _escape(piece, bool(depth), where, pattern)
        elif piece in ("^", "$") and not depth:
            raise _unknown(where, pattern, piece)  # Oniguruma's stand at every line
        else:
            out += piece
    try:
        return re.compile(out.replace("(?i)", ""), re.IGNORECASE if "(?i)" in out else 0)
    except re.error as e:
        raise ValueError(f"{where}: the pattern {pattern!r} isn't one: {e}") from None


def _escape(piece: str, inside: bool, where: str, pattern: str) -> str:
    """A backslash and what follows, within a class or outside of one."""
    letter = piece[1]
    if letter in "pP":
        name = piece[3:-1]
        negated = (letter == "P") != name.startswith("^")
        try:
            return _ranges(charset(name.lstrip("^")), negated, inside, piece, where, pattern)
        except ValueError:
            raise _unknown(where, pattern, piece) from None
    if letter in "sS":
        return _ranges(WHITESPACE, letter == "S", inside, piece, where, pattern)
    if letter in "dD":
        return _ranges(charset("Nd"), letter == "D", inside, piece, where, pattern)
    if letter in "wW":
        return _ranges(word(), letter == "W", inside, piece, where, pattern)
    if letter in "xu":
        return f"\\U{int(piece[2:].strip('{}'), 16):08x}"
    if letter in _CONTROL:
        return _CONTROL[letter]
    if letter.isalnum():
        raise _unknown(where, pattern, piece)
    return re.escape(letter)


def _ranges(body: str, negated: bool, inside: bool, piece: str, where: str, pattern: str) -> str:
    if not inside:
        return f"[{'^' if negated else ''}{body}]"
    if negated:
        raise _unknown(where, pattern, f"{piece} within a class")
    return body


def _unknown(where: str, pattern: str, part: str) -> ValueError:
    return ValueError(
        f"{where}: the pattern {pattern!r} uses {part}, which isn't known; known are literals, classes, \\p{{..}}, "
        f"\\s, \\S, \\d, \\w, groups (?:..), (?i:..), (?=..), (?!..), (?<=..), (?>..), and repetitions. The "
        f'library tokenizers may know it: backend="tokenizers"'
    )
