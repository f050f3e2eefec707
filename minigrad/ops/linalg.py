"""Rows that multiply matrices. ``einsum`` and the other products are compositions: ``functions/products.py``."""

from __future__ import annotations

import math
from typing import Any

from ..op import case, op

SHAPES = (
    case((3, 4), (4, 2)), case((4,), (4,)), case((3, 4), (4,)), case((4,), (4, 2)),
    case((2, 3, 4), (4, 2)), case((5, 1, 3, 4), (2, 4, 2)), case((2, 3, 4), (4,)), case((4,), (2, 4, 3)), case((0, 3), (3, 2)),
    case((3, 0), (0, 2)),
)  # fmt: skip


def _swap(m: Any, x: Any) -> Any:
    n = len(x.shape)
    return m.permute_dims(x, (*range(n - 2), n - 1, n - 2))


@op(promote="match", cases=SHAPES, flops=lambda x, y, out: 2 * x.size * (y.shape[-1] if y.ndim > 1 else 1))
def matmul(m, x, y):
    """x @ y: the inner product of the last dimension of x with the second last of y, batched before."""
    if not x.ndim or not y.ndim:
        raise RuntimeError(f"matmul: both arguments to matmul need to be at least 1D, but they are "
                           f"{x.ndim}D and {y.ndim}D; multiply by a number with *")  # fmt: skip
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise RuntimeError(f"matmul: mat1 and mat2 shapes cannot be multiplied ({_text(x)} and {_text(y)}): "
                           f"expected the last size of the first to equal the second last of the second")  # fmt: skip
    return m.matmul(x, y)


def _text(x: Any) -> str:
    return "x".join(map(str, x.shape))


@matmul.vjp("x")
def _(m, g, y, x_shape):
    if len(y.shape) == 1:
        return m.expand_dims(g, -1) * y if len(x_shape) > 1 else g * y
    if len(x_shape) == 1:
        return m.sum(y * m.expand_dims(g, -2), axis=-1)
    return m.matmul(g, _swap(m, y))


@matmul.vjp("y")
def _(m, g, x, y_shape):
    if len(x.shape) == 1:
        return m.expand_dims(x, 1) * m.expand_dims(g, -2) if len(y_shape) > 1 else g * x
    if len(y_shape) == 1:
        return x * m.expand_dims(g, -1)
    if len(y_shape) == 2:  # one product over all positions, not one for each matrix and their sum
        x, g = (m.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])) for a in (x, g))
    return m.matmul(_swap(m, x), g)
