"""Sequences of unequal length in one tensor: padding, and taking it off again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import describe
from ..functions.shapes import stack
from ..tensor import Tensor


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Tensors (Lᵢ, …) as one of shape (L, B, …), or (B, L, …) if ``batch_first``; L is the longest, the rest padding."""
    given = list(sequences)
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side should be one of right, left, got {padding_side!r}")
    if not given:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    for s in given:
        if not isinstance(s, Tensor) or not s.ndim or s.shape[1:] != given[0].shape[1:]:
            raise RuntimeError(f"pad_sequence: expected tensors (L, …) that agree in all sizes but the first, got {describe(s)} "
                               f"beside {describe(given[0])}")  # fmt: skip
    longest = max(s.shape[0] for s in given)
    rows = [_extended(s, longest, padding_value, padding_side) for s in given]
    return stack(rows, 0 if batch_first else 1)


def _extended(s: Any, longest: int, value: float, side: str) -> Any:
    out = s.new_full((longest, *s.shape[1:]), value)
    if side == "right":
        out[: s.shape[0]] = s
    else:
        out[longest - s.shape[0] :] = s
    return out


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The tensors (Lᵢ, …) that :func:`pad_sequence` was given, by their lengths."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows, lengths, strict=True)]
