"""Reductions, scans and sorting in PyTorch's argument forms: ``max`` with and without ``dim``, named results."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any, NamedTuple

from ..autograd import apply
from ..op import OPS, composite
from ..tensor import Tensor
from .arguments import NONE, cast, dim_of, pair, row, tensor_of
from .shapes import narrow, squeeze

# ---- reductions ------------------------------------------------------------------------------------------


def _dims(name: str, x: Any, dim: Any) -> Any:
    if dim is None or isinstance(dim, (tuple, list)):
        return None if dim is None else tuple(dim_of(name, x, d) for d in dim)
    return dim_of(name, x, dim)


@composite
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ input over dim (all by default), computed in dtype."""
    return row("sum", cast(tensor_of("sum", input), dtype), dim=_dims("sum", input, dim), keepdim=keepdim)


@composite
def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ input over dim, NaN counting as zero."""
    x = (
        row("where", row("isnan", input), 0.0, input)
        if tensor_of("nansum", input).dtype.category == 2
        else input
    )
    return sum(x, dim, keepdim, dtype=dtype)


@composite
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ input / n over dim (all by default), computed in dtype."""
    return row("mean", cast(tensor_of("mean", input), dtype), dim=_dims("mean", input, dim), keepdim=keepdim)


def _spread_arguments(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, Any]:
    """``var(unbiased)``, ``var(dim, unbiased)`` and ``var(dim, correction=)``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return dim, correction


@composite
def var(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """Σ (input - mean)² / (n - correction) over dim; correction 1 unless given."""
    dim, correction = _spread_arguments(dim, unbiased, correction)
    return row("var", input, dim=_dims("var", input, dim), correction=correction, keepdim=keepdim)


@composite
def std(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """The square root of the variance; its gradient is 0 where it is 0."""
    dim, correction = _spread_arguments(dim, unbiased, correction)
    return row("std", input, dim=_dims("std", input, dim), correction=correction, keepdim=keepdim)


@composite(method=False)
def var_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """Variance and mean."""
    where_ = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, where_, keepdim)


@composite(method=False)
def std_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """Standard deviation and mean."""
    where_ = None if isinstance(dim, bool) else dim
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, where_, keepdim)


@composite
def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Π input over one dim, or all."""
    return row(
        "prod", cast(input, dtype), dim=None if dim is None else dim_of("prod", input, dim), keepdim=keepdim
    )


def _extremum(name: str, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    if isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        return apply(OPS["maximum" if name == "max" else "minimum"], (input, other), NONE)
    if dim is None:
        if not tensor_of(name, input).numel():
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0, got shape "
                               f"{tuple(input.shape)}. Specify the reduction dim with the 'dim' argument")  # fmt: skip
        return row("amax" if name == "max" else "amin", input, dim=None, keepdim=keepdim)
    return _RESULTS[name](*row(name + "_dim", input, dim=dim_of(name, input, dim), keepdim=keepdim))


@composite
def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; with dim also where it is; with another tensor, the larger of each pair."""
    return _extremum("max", input, dim, keepdim, other)


@composite
def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; with dim also where it is; with another tensor, the smaller of each pair."""
    return _extremum("min", input, dim, keepdim, other)


class _MinMax(NamedTuple):
    min: Any
    max: Any


@composite
def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element."""
    dim = () if dim is None else dim_of("aminmax", input, dim)
    return _MinMax(row("amin", input, dim=dim, keepdim=keepdim), row("amax", input, dim=dim, keepdim=keepdim))


_RESULTS = {name: pair(name) for name in ("max", "min", "sort", "topk", "kthvalue", "median")}


@composite(inplace=True)
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """yᵢ = x₁ + … + xᵢ along dim."""
    return row("cumsum", cast(input, dtype), dim=dim_of("cumsum", input, dim))


@composite(inplace=True)
def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """yᵢ = x₁ · … · xᵢ along dim."""
    return row("cumprod", cast(input, dtype), dim=dim_of("cumprod", input, dim))


@composite
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """(Σ |x|ᵖ)^(1/p) over dim; p may be ∞, -∞ and 0 (how many aren't zero). The gradient is 0 at 0."""
    x = cast(tensor_of("norm", input), dtype)
    if p in ("fro", None):
        p = 2
    elif isinstance(p, str):
        raise RuntimeError(
            f"norm: expected p to be 'fro' or a number, got {p!r}; a nuclear norm needs an SVD"
        )
    if x.dtype.category != 2:
        raise RuntimeError(
            f"norm: expected a floating point dtype as input, got {x.dtype}; convert with .float()"
        )
    return row("vector_norm", x, p=float(p), dim=_dims("norm", x, dim), keepdim=keepdim)


@composite
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements aren't zero."""
    return sum(input != 0, dim)


@composite
def softmax(input: Any, dim: Any = None, _stacklevel: int = 3, *, dtype: Any = None) -> Any:
    """eˣ / Σ eˣ along dim."""
    return _along("softmax", input, dim, dtype)


@composite
def log_softmax(input: Any, dim: Any = None, _stacklevel: int = 3, *, dtype: Any = None) -> Any:
    """x - ln Σ eˣ along dim."""
    return _along("log_softmax", input, dim, dtype)


@composite(method=False)
def softmin(input: Any, dim: Any = None, _stacklevel: int = 3, *, dtype: Any = None) -> Any:
    """softmax(-x) along dim."""
    return _along("softmax", -input, dim, dtype)


def _along(name: str, input: Any, dim: Any, dtype: Any) -> Any:
    if isinstance(tensor_of(name, input), Tensor) and dim is None:
        warnings.warn(f"{name}: Implicit dimension choice for {name} has been deprecated. Change the call to include "
                      f"dim=X as an argument", UserWarning, stacklevel=4)  # fmt: skip
        dim = 0 if input.ndim in (0, 1, 3) else 1
    x = cast(input, dtype)
    if x.dtype.category != 2:
        raise NotImplementedError(
            f'{name}: "{name}" not implemented for {x.dtype}; expected floating point, convert with .float()'
        )
    return row(name, x, dim=dim_of(name, input, dim))


# ---- sorting ---------------------------------------------------------------------------------------------


@composite
def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements in order along dim, and the indices that sort them; always stable."""
    return _RESULTS["sort"](*row("sort", input, dim=dim_of("sort", input, dim), descending=bool(descending)))


@composite
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices that sort along dim; always stable."""
    return sort(input.detach(), dim, descending)[1]


@composite(method=True)
def msort(input: Any) -> Any:
    """Sorted along the first dimension."""
    return sort(input, 0)[0]


@composite
def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) elements along dim, in order, and their indices."""
    return _RESULTS["topk"](
        *row("topk", input, k=operator.index(k), dim=dim_of("topk", input, dim), largest=bool(largest))
    )


@composite
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along dim, counted from 1, and its index."""
    d = dim_of("kthvalue", input, dim)
    n = input.shape[d] if input.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(
            f"kthvalue: selected number k out of range for dimension {dim}: expected 1 ≤ k ≤ {n}, got {k}"
        )
    parts = [t if not input.ndim else narrow(t, d, k - 1, 1) for t in sort(input, d)]
    return _RESULTS["kthvalue"](*(parts if keepdim or not input.ndim else [squeeze(t, d) for t in parts]))


@composite
def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; with dim also where it is. NaN wins; of nothing it is NaN."""
    if dim is None:
        flat = input.reshape(-1)
        return median(flat, 0)[0] if flat.shape[0] else row("sum", flat, dim=None) * math.nan
    d = dim_of("median", input, dim)
    middle = kthvalue(input, ((input.shape[d] if input.ndim else 1) + 1) // 2, d, keepdim)
    if input.dtype.category == 2:
        unknown = row("isnan", input)
        if unknown.any():
            top = row("max_dim", input, dim=d, keepdim=keepdim)  # the first NaN, where there is one
            bad = unknown.any(d, keepdim)
            middle = [row("where", bad, a, b) for a, b in zip(top, middle, strict=True)]
    return _RESULTS["median"](*middle)
