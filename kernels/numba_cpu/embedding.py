"""unembed, the transpose of embedding. The additions are the reference's in its order, so are the bits.

Floor: x read, the rows met read and written, the zeros written.
"""

from __future__ import annotations

import numpy as np

from minigrad.backend import Declined

from .loading import kernel, loop
from .softmax import LAYOUT, _plain, as_plain

INDEX = Declined("an index is out of bounds or no int64: the reference says so")


@loop("X[:, ::1], i8[::1], X[:, ::1]")
def _unembed(x, index, out, start, stop):
    for k in range(x.shape[0]):
        row, to = x[k, start:stop], out[index[k], start:stop]
        for i in range(row.shape[0]):  # a thread has columns of its own: no two write to one element
            to[i] += row[i]


@kernel(_unembed)
def unembed_forward(x, index, *, rows):
    if index.dtype != np.int64 or (index.size and (index.min() < 0 or index.max() >= rows)):
        return INDEX
    if not _plain(index):
        return LAYOUT
    out = np.zeros((rows, x.shape[1]), x.dtype)
    _unembed(x.shape[1], x.size, as_plain(x), index, out)
    return out
