"""gather, its transpose unpick, scatter_add and topk. Values are moved or added in the reference's order, so are the bits.

Arrays are seen as (outer, along dim · inner). Floor: operands read and result written; an index is 8 bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import empty, kernel, loop
from .softmax import LAST, LAYOUT, _plain

INDEX = Declined(
    "an index is out of bounds or no int64, or of another shape than x beside dim: the reference knows"
)
FEW = Declined("only the largest 1 to 128 of a row have a kernel")


def _split(shape: tuple[int, ...], dim: int) -> tuple[int, int]:
    """The sizes outside and inside of dim."""
    dim %= len(shape)
    return math.prod(shape[:dim]), math.prod(shape[dim + 1 :])


def _rows(outer: int, *arrays: Any) -> Any:
    return [a.reshape(outer, a.size // max(outer, 1)) for a in arrays]


def _fits(index: Any, shape: tuple[int, ...], dim: int) -> bool:
    """Is index an int64 array that differs from a shape along dim at most?"""
    if (
        index.dtype != np.int64
        or index.ndim != len(shape)
        or not shape
        or not -len(shape) <= dim < len(shape)
    ):
        return False
    along = dim % len(shape)
    return index.shape[:along] + index.shape[along + 1 :] == shape[:along] + shape[along + 1 :]


@loop("X[:, ::1], i8[:, ::1], X[:, ::1], i8, b1[::1]")
def _gather(x, index, out, inner, wrong, start, stop):
    for o in range(start, stop):
        row, places, to, i = x[o], index[o], out[o], 0
        n = row.shape[0] // inner
        for j in range(places.shape[0]):
            if places[j] < 0 or places[j] >= n:
                wrong[o] = True
            else:
                to[j] = row[places[j] * inner + i]
            i = i + 1 if i + 1 < inner else 0


@kernel(_gather)
def gather_forward(x, index, *, dim):
    if not _fits(index, x.shape, dim):
        return INDEX
    if not (_plain(x) and _plain(index)):
        return LAYOUT
    outer, inner = _split(x.shape, dim)
    out, wrong = empty(index.shape, x.dtype), np.zeros(outer, bool)
    _gather(outer, 1.2 * index.size, *_rows(outer, x, index, out), inner, wrong)
    return INDEX if wrong.any() else out


@loop("X[:, ::1], i8[:, ::1], X[:, ::1], i8, b1[::1]")
def _add(x, index, out, inner, wrong, start, stop):
    for o in range(start, stop):  # a thread has parts of the result of its own
        row, places, to, i = x[o], index[o], out[o], 0
        n = to.shape[0] // inner
        for j in range(places.shape[0]):
            if places[j] < 0 or places[j] >= n:
                wrong[o] = True
            else:
                to[places[j] * inner + i] += row[j]
            i = i + 1 if i + 1 < inner else 0


def _added(x: Any, index: Any, out: Any, dim: int) -> Any:
    outer, inner = _split(out.shape, dim)
    wrong = np.zeros(outer, bool)
    _add(outer, 1.5 * index.size, *_rows(outer, x, index, out), inner, wrong)
    return INDEX if wrong.any() else out


@kernel(_add)
def unpick_forward(x, index, *, shape, dim):
    if not _fits(index, tuple(shape), dim) or index.shape != x.shape:
        return INDEX
    return _added(x, index, np.zeros(shape, x.dtype), dim) if _plain(x) and _plain(index) else LAYOUT


@kernel(_add)
def scatter_add_forward(x, index, src, *, dim):
    if not _fits(index, x.shape, dim) or index.shape != src.shape or src.dtype != x.dtype:
        return INDEX
    if not (_plain(x) and _plain(index) and _plain(src)):
        return LAYOUT
    out = empty(x.shape, x.dtype)
    out[...] = x
    return _added(src, index, out, dim)


BLOCK = 256  # elements that are compared with the least of the largest before they are looked at


@loop("X[:, ::1], X[:, ::1], i8[:, ::1]")
def _topk(x, values, indices, start, stop):
    k = values.shape[1]
    for r in range(start, stop):
        row, best, at, held = x[r], values[r], indices[r], 0
        for begin in range(0, row.shape[0], BLOCK):
            part = row[begin : begin + BLOCK]
            if held == k:
                least, above = best[k - 1], np.int32(0)
                for i in range(part.shape[0]):
                    above += np.int32(0) if part[i] <= least else np.int32(1)  # NaN too
                if above == 0:
                    continue
            for i in range(part.shape[0]):
                v = part[i]
                if held == k and (v <= best[k - 1] or best[k - 1] != best[k - 1]):
                    continue
                j = held if held < k else k - 1
                held = j + 1
                # behind what is as large and came before; NaN is the largest, as in a sort
                while j > 0 and best[j - 1] == best[j - 1] and (v > best[j - 1] or v != v):
                    best[j], at[j] = best[j - 1], at[j - 1]
                    j -= 1
                best[j], at[j] = v, begin + i


@kernel(_topk)
def topk_forward(x, *, k, dim=-1, largest=True):
    if not x.ndim or dim not in (-1, x.ndim - 1):
        return LAST
    if not largest or not 1 <= k <= min(x.shape[-1], 128):
        return FEW
    if not _plain(x):
        return LAYOUT
    values, indices = np.empty((*x.shape[:-1], k), x.dtype), np.empty((*x.shape[:-1], k), np.int64)
    rows = x.reshape(-1, x.shape[-1])
    _topk(len(rows), 0.3 * x.size, rows, values.reshape(-1, k), indices.reshape(-1, k))
    return values, indices
