"""What a tokenizer's call takes: a text, a pair, or a batch of either; and which text is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def texts_and_partners(text: Any, pair: Any) -> tuple[list[tuple[str, str | None]], bool]:
    """Texts and their partners, and whether they came as a batch."""
    if isinstance(text, str):
        return [(_text(text), None if pair is None else _text(pair))], False
    if not isinstance(text, Iterable) or isinstance(text, (bytes, Mapping)):
        _text(text)
    rows = list(text)
    if pair is not None:
        if isinstance(pair, str) or len(others := list(pair)) != len(rows):
            raise ValueError(f"tokenizer: {len(rows)} texts need as many partners, got {pair!r:.60}")
        return [(_text(a), _text(b)) for a, b in zip(rows, others, strict=True)], True
    found: list[tuple[str, str | None]] = []
    for row in rows:
        if isinstance(row, (tuple, list)):
            if len(row) != 2:
                raise ValueError(f"tokenizer: a pair is two texts, got {len(row)}")
            found.append((_text(row[0]), _text(row[1])))
        else:
            found.append((_text(row), None))
    return found, True


def _text(value: Any) -> str:
    if not isinstance(value, str):
        hint = "; decode it first, with .decode('utf-8')" if isinstance(value, bytes) else ""
        raise TypeError(
            f"tokenizer: text must be str, a pair or a batch of them, got {type(value).__name__}{hint}"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as e:
        code = ord(value[e.start])
        byte = f", byte {code - 0xDC00:#04x} of text that was not UTF-8" if 0xDC80 <= code <= 0xDCFF else ""
        raise ValueError(
            f"tokenizer: character {e.start} is U+{code:04X}, half of a surrogate pair{byte}: read the text with "
            f'errors="replace", which puts U+FFFD there'
        ) from None
    return value
