"""``torch.linalg`` as far as rows compose it: norms, products, powers. Factorizations and solvers aren't here."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from .functions.arguments import cast, dim_of, row, tensor_of
from .functions.blocks import cross as _cross
from .functions.creation import eye
from .functions.shapes import diagonal as _diagonal
from .tensor import Tensor

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "vecdot",
    "vector_norm",
]


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over dim (all by default); p may be ±∞ (largest, smallest |x|) and 0 (how many aren't zero)."""
    x = _floats("linalg.vector_norm", cast(x, dtype))
    if isinstance(ord, str):
        raise TypeError(
            f"linalg.vector_norm(): argument 'ord' must be Number, not str {ord!r}; see matrix_norm"
        )
    dims = tuple(dim_of("linalg.vector_norm", x, d) for d in _listed(dim)) if dim is not None else None
    return row("vector_norm", x, p=float(ord), dim=dims or None, keepdim=keepdim)


def _listed(dim: Any) -> tuple[Any, ...]:
    return tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)


def _floats(name: str, x: Tensor) -> Tensor:
    if tensor_of(name, x).dtype.category != 2:
        raise RuntimeError(
            f"{name}: Expected a floating point tensor as input. Got {x.dtype}; convert with .float()"
        )
    return x


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of matrices in two dimensions: "fro" √Σ a², 1 and -1 the largest and smallest column sum of |a|, ±∞ row sum.

    "nuc", 2 and -2 need singular values and are refused.
    """
    A = _floats("linalg.matrix_norm", cast(A, dtype))
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got {A.ndim}"
        )
    if len(_listed(dim)) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    i, j = (dim_of("linalg.matrix_norm", A, d) for d in dim)
    if i == j:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {dim}")
    if ord == "fro":
        return row("vector_norm", A, p=2.0, dim=(i, j), keepdim=keepdim)
    if ord not in (1, -1, math.inf, -math.inf):
        known = ord in ("nuc", 2, -2)
        why = "needs singular values, which aren't supported" if known else "isn't an order"
        raise (NotImplementedError if known else RuntimeError)(
            f"linalg.matrix_norm: Order {ord!r} {why}; expected 'fro', 1, -1, inf or -inf"
        )
    along, across = (i, j) if abs(ord) == 1 else (j, i)
    sums = row("sum", row("abs", A), dim=along, keepdim=True)
    found = row("amax" if ord > 0 else "amin", sums, dim=across, keepdim=True)
    return found if keepdim else found.squeeze((i, j))


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The 2-norm over dim without ``ord``; else a vector norm in one dimension, a matrix norm in two."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D"
        )
    dims = tuple(range(A.ndim)) if dim is None else _listed(dim)
    if len(dims) == 1:
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """``input @ other``."""
    return row("matmul", input, other)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ xᵢ yᵢ along dim, the others broadcast."""
    return row("sum", row("mul", x, y), dim=dim)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product of three-dimensional vectors along dim."""
    return _cross(input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices in the last two dimensions; a view."""
    return _diagonal(A, offset, dim1, dim2)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A @ … @ A, n times, by squaring; the identity for n = 0. A negative power needs an inverse and is refused."""
    n = operator.index(n)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {list(A.shape)}"
        )
    if n < 0:
        raise NotImplementedError(
            f"linalg.matrix_power: n = {n} needs an inverse, which isn't supported; expected 0 or more"
        )
    if n == 0:
        return eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape).clone()
    found: Tensor | None = None
    while True:
        if n % 2:
            found = A if found is None else row("matmul", found, A)
        n //= 2
        if not n:
            return found if found is not A else A.clone()  # type: ignore[return-value]
        A = row("matmul", A, A)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices (the first and last may be vectors), in the order that costs least."""
    found = list(tensors)
    if len(found) < 2:
        raise RuntimeError(f"linalg.multi_dot: multi_dot(): expected at least 2 tensors but got {len(found)}")
    ends = found[0].ndim == 1, found[-1].ndim == 1
    found[0] = found[0].unsqueeze(0) if ends[0] else found[0]
    found[-1] = found[-1].unsqueeze(1) if ends[1] else found[-1]
    if (bad := next((x for x in found if x.ndim != 2), None)) is not None:
        raise RuntimeError(
            f"linalg.multi_dot: expected matrices between two matrices or vectors, got {list(bad.shape)}"
        )
    product = _chain(found, _splits([x.shape[0] for x in found] + [found[-1].shape[1]]), 0, len(found) - 1)
    return product.squeeze(tuple(d for d in (0, 1) if ends[d]))


def _splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of factors i … j (Cormen et al., Introduction to Algorithms, 14.2)."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    at: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = {
                k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)
            }
            at[i, j] = min(costs, key=costs.__getitem__)
            cost[i, j] = costs[at[i, j]]
    return at


def _chain(factors: list[Tensor], at: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return factors[i]
    k = at[i, j]
    return row("matmul", _chain(factors, at, i, k), _chain(factors, at, k + 1, j))
