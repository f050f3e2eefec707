"""embedding, its rule, and unembed, which the rule is. The additions are the reference's in its order, so are the bits.

Floor: the rows met read and written; for the rule x read, the rows met read and written, the zeros written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import empty, kernel, loop, wrong
from .softmax import EMPTY, LAYOUT, _plain, as_plain

INDEX = Declined("an index is out of bounds or no int64: the reference says so")
COUNTED = Declined("rows divided by how often they are met are the reference's")


@loop("X[::1], i8[::1], i8")
def _bounds(outside, index, rows, start, stop):
    """An index that is out of bounds makes outside -1."""
    outside[0] = 0
    for k in range(start, stop):
        if index[k] < 0 or index[k] >= rows:
            outside[0] = -1


@loop("X[:, ::1], i8[::1], X[:, ::1]")
def _embedding(weight, index, out, start, stop):
    for k in range(start, stop):
        row, to = weight[index[k]], out[k]
        for i in range(row.shape[0]):
            to[i] = row[i]


@loop("X[:, ::1], i8[::1], i8, X[:, ::1]")
def _unembed(x, index, padding, out, start, stop):
    for r in range(out.shape[0]):
        out[r, start:stop] = 0
    for k in range(x.shape[0]):
        if index[k] != padding:
            row, to = x[k, start:stop], out[index[k], start:stop]
            for i in range(row.shape[0]):  # a thread has columns of its own: no two write to one element
                to[i] += row[i]


def _indices(index: Any, rows: int, dtype: Any) -> Any:
    """Indices of that many rows, in one dimension, or why not."""
    if index.dtype != np.int64:
        return INDEX
    if not _plain(index):
        return LAYOUT
    flat, outside = index.reshape(-1), empty((1,), dtype)
    _bounds.alone(flat.size, outside, flat, rows)
    return INDEX if wrong(outside) else flat


@kernel(_bounds, _embedding)
def embedding_forward(x, weight, *, padding_idx=-1, scale_grad_by_freq=False):
    if weight.ndim != 2 or not _plain(weight):
        return LAYOUT
    if not (x.size and weight.shape[1]):
        return EMPTY
    flat = _indices(x, len(weight), weight.dtype)
    if type(flat) is Declined:
        return flat
    out = empty((flat.size, weight.shape[1]), weight.dtype)
    _embedding(flat.size, out.size, weight, flat, out)
    return out.reshape(*x.shape, weight.shape[1])


@kernel(_bounds, _unembed)
def embedding_gradient(g, x, weight_shape, padding_idx, scale_grad_by_freq):
    if scale_grad_by_freq:
        return COUNTED
    rows, width = weight_shape
    return _added(as_plain(g).reshape(x.size, width), x, rows, padding_idx if padding_idx >= 0 else -1)


@kernel(_bounds, _unembed)
def unembed_forward(x, index, *, rows):
    return _added(as_plain(x), index, rows, -1)


def _added(x: Any, index: Any, rows: int, padding: int) -> Any:
    flat = _indices(index, rows, x.dtype)
    if type(flat) is Declined:
        return flat
    out = empty((rows, x.shape[1]), x.dtype)
    _unembed(x.shape[1], x.size + out.size, x, flat, padding, out)
    return out
