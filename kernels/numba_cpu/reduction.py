"""vector_norm of a whole array, as clipping needs it. Floor: x read once.

Blocks are summed in lanes of their dtype, and blocks in float64, so that the error doesn't grow with the array.
"""

from __future__ import annotations

import numpy as np

from minigrad.backend import Declined

from .loading import kernel, loop
from .softmax import FAST, LAYOUT

OTHER = Declined("only the 2-norm of all elements has a kernel")
BLOCK = 4096  # elements


@loop("X[::1], f8[::1]", *FAST)
def _squares(x, sums, start, stop):
    for b in range(start, stop):
        part, total = x[b * BLOCK : (b + 1) * BLOCK], x.dtype.type(0)
        for i in range(part.shape[0]):
            total += part[i] * part[i]
        sums[b] = total


@kernel(_squares)
def vector_norm_forward(x, *, p=2.0, dim=None, keepdim=False):
    if p != 2 or dim not in (None, ()):
        return OTHER
    flags = x.flags
    if not flags.aligned or not (flags.c_contiguous or flags.f_contiguous):
        return LAYOUT
    sums = np.empty(-(-x.size // BLOCK))
    _squares(len(sums), 0.05 * x.size, x.reshape(-1, order="C" if flags.c_contiguous else "F"), sums)
    return np.full((1,) * x.ndim if keepdim else (), np.sqrt(sums.sum()), x.dtype)
