"""int8_linear for few rows, as in writing a text token by token: each weight is read once, as one byte.

Floor: W read. Many rows are a matrix product, which is the reference's over W in floats.
"""

from __future__ import annotations

import numpy as np

from minigrad.backend import Declined

from .loading import empty, kernel, loop
from .softmax import FAST, LAYOUT, _plain, as_plain
from .vectors import fetch

AHEAD = 2**13  # bytes that memory is asked for before they are read
MOST = 8  # rows, from which W in floats is worth making
MANY = Declined(f"more than {MOST} rows are a matrix product")
KIND = Declined("its weight isn't int8")


@loop("X[:, ::1], i1[:, ::1], X[::1], X[::1], X[:, ::1]", *FAST)
def _products(x, weight, scale, bias, out, start, stop):
    flat = weight.reshape(-1)
    for j in range(start, stop):
        w = weight[j]
        fetch(flat, j * w.shape[0] + AHEAD, w.shape[0])
        for r in range(x.shape[0]):
            row, total = x[r], x.dtype.type(0)
            for i in range(w.shape[0]):
                total += row[i] * x.dtype.type(w[i])
            out[r, j] = total * scale[j] + (bias[j] if bias.shape[0] else x.dtype.type(0))


@kernel(_products)
def int8_linear_forward(x, weight, scale, bias=None):
    outs, ins = weight.shape
    if weight.dtype != np.int8 or scale.dtype != x.dtype:
        return KIND
    if x.size > MOST * ins:
        return MANY
    if not (_plain(weight) and _plain(scale) and (bias is None or _plain(bias))):
        return LAYOUT
    flat = as_plain(x).reshape(-1, ins)
    out = empty((len(flat), outs), x.dtype)
    _products(outs, 0.25 * weight.size, flat, weight, scale, scale[:0] if bias is None else bias, out)
    return out.reshape(*x.shape[:-1], outs)
