"""dropout and its rule, each in one reading; the bits of the mask are drawn before, by the counter-based generator.

The arithmetic is the reference's, so are the bits. Floor: x and the mask read, the result written.
"""

from __future__ import annotations

import numpy as np

from .loading import empty, kernel, loop
from .softmax import LAYOUT, _plain, as_plain


@loop("X[::1], u1[::1], f8, X[::1]")
def _dropped(x, keep, scale, out, start, stop):
    factor, zero = x.dtype.type(scale), x.dtype.type(0)
    part, kept, to = x[start:stop], keep[start:stop], out[start:stop]
    for i in range(part.shape[0]):
        to[i] = part[i] * (factor if kept[i] else zero)


@loop("X[::1], u1[::1], f8, X[::1]")
def _dropped_rule(g, keep, scale, by_x, start, stop):
    factor, zero = g.dtype.type(scale), g.dtype.type(0)
    part, kept, to = g[start:stop], keep[start:stop], by_x[start:stop]
    for i in range(part.shape[0]):
        to[i] = part[i] * factor if kept[i] else zero


def _run(run, x, keep, p):
    if not _plain(keep) or keep.shape != x.shape or not x.size:
        return LAYOUT
    scale, out = 1 / (1 - p) if p < 1 else 0.0, empty(x.shape, x.dtype)
    run(
        x.size, 0.1 * x.size, as_plain(x).reshape(-1), keep.reshape(-1).view(np.uint8), scale, out.reshape(-1)
    )
    return out


@kernel(_dropped)
def dropout_forward(x, keep, *, p):
    return _run(_dropped, x, keep, p)


@kernel(_dropped_rule)
def dropout_gradient(g, keep, p):
    return _run(_dropped_rule, g, keep, p)
