"""Order statistics, counts and moments: quantiles, modes, histograms, distinct elements, covariance."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np

from .. import backend, dtypes
from ..autograd import run
from ..op import composite
from ..tensor import Tensor, as_tensor, wrap
from .arguments import dim_of, floating, row, tensor_of
from .reductions import mean, nansum, sum
from .shapes import cat, narrow


def _module(x: Any) -> Any:
    return backend.module_of(x._array).m


# ---- order -----------------------------------------------------------------------------------------------


@composite
def quantile(
    input: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    """The value that the fraction q of the elements lie below, along dim, or of all; a q for each of its elements.

    Between two elements "linear" interpolates; "lower", "higher", "nearest" and "midpoint" choose.
    """
    x = tensor_of("quantile", input)
    if x.dtype.category != 2 or x.dtype.itemsize < 4:
        raise RuntimeError(
            f"quantile: input tensor must be either float or double dtype, got {x.dtype}; use .float()"
        )
    if isinstance(q, Tensor) and q.dtype is not x.dtype:
        raise RuntimeError(
            f"quantile: q tensor must be same dtype as the input tensor, got {q.dtype} for {x.dtype}"
        )
    q = q.detach() if isinstance(q, Tensor) else as_tensor(q, dtype=x.dtype, device=x.device)
    if q.ndim > 1:
        raise RuntimeError(f"quantile: q must be a scalar or 1D tensor, got {q.ndim}D")
    if bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"quantile: q values must be in the range [0, 1], got {q.tolist()}")
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise RuntimeError(f"quantile: interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
                           f"{interpolation}")  # fmt: skip
    if not x.numel():
        raise RuntimeError("quantile: input tensor must be non-empty")
    d = 0 if dim is None else dim_of("quantile", x, dim)
    kept = (1,) * x.ndim if dim is None else tuple(1 if i == d else n for i, n in enumerate(x.shape))
    lanes = (x.reshape(-1) if dim is None or not x.ndim else x.movedim(d, -1)).sort(-1)[0]
    n = lanes.shape[-1]
    found = []
    for fraction in q.reshape(-1).tolist():
        rank = fraction * (n - 1)
        low, high = int(np.floor(rank)), int(np.ceil(rank))
        if interpolation == "nearest":
            low = high = int(np.rint(rank))
        elif interpolation in ("lower", "higher"):
            low = high = low if interpolation == "lower" else high
        part = 0.5 if interpolation == "midpoint" else rank - low
        one = lanes[..., low]
        found.append(one if low == high else row("lerp", one, lanes[..., high], part))
        # NaN sorts last: a lane that holds one has no quantile
        found[-1] = row("where", row("isnan", lanes[..., -1]), lanes[..., -1], found[-1])
    parts = [v.reshape(kept) if keepdim else v for v in found]
    return parts[0] if not q.ndim else row("cat", *(v.unsqueeze(0) for v in parts), dim=0)


@composite
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ input / n over dim, NaN left out of both."""
    return nansum(input, dim, keepdim, dtype=dtype) / sum(~row("isnan", input), dim, keepdim)


class _Mode(NamedTuple):
    values: Any
    indices: Any

    def __repr__(self) -> str:
        return f"minigrad.return_types.mode(\nvalues={self[0]!r},\nindices={self[1]!r})"


def _mode_index(m: Any, x: Any, *, dim: int) -> Any:
    """Where, along dim, the most frequent value (the smallest of such) stands last."""
    x = m.moveaxis(x, dim, -1)
    order = m.argsort(x, axis=-1, kind="stable")
    ordered = m.take_along_axis(x, order, axis=-1)
    n = x.shape[-1]
    at = m.arange(n)
    first = m.concatenate(
        [m.ones_like(ordered[..., :1], dtype=bool), ordered[..., 1:] != ordered[..., :-1]], axis=-1
    )
    count = at - m.maximum.accumulate(m.where(first, at, 0), axis=-1)  # how many equal ones came before
    return m.take_along_axis(order, m.argmax(count, axis=-1)[..., None], axis=-1)[..., 0]


@composite
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along dim, the smallest of such, and where it stands last."""
    d = dim_of("mode", input, dim)
    if not input.ndim:
        return _Mode(input.clone(), wrap(_module(input).zeros((), dtype=np.int64)))
    if not input.shape[d]:
        raise IndexError(f"mode: Expected reduction dim {dim} to have non-zero size")
    m = _module(input)
    at = wrap(run(_mode_index, m, input._array, dim=d)).unsqueeze(d)
    values = row("gather", input, at, dim=d)
    return _Mode(values, at) if keepdim else _Mode(values.squeeze(d), at.squeeze(d))


def _running_index(m: Any, x: Any, *, dim: int, largest: bool) -> Any:
    best = (m.maximum if largest else m.minimum).accumulate(x, axis=dim)
    at = m.arange(x.shape[dim]).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    return m.maximum.accumulate(m.where((x == best) | (x != x), at, 0), axis=dim)


def _running(name: str, input: Any, dim: int, largest: bool) -> tuple[Any, Any]:
    d = dim_of(name, input, dim)
    if not input.ndim:
        return input.clone(), wrap(_module(input).zeros((), dtype=np.int64))
    at = wrap(run(_running_index, _module(input), input._array, dim=d, largest=largest))
    return row("gather", input, at, dim=d), at


class _Running(NamedTuple):
    values: Any
    indices: Any


@composite
def cummax(input: Any, dim: int) -> Any:
    """The largest element so far along dim, and where it last stood."""
    return _Running(*_running("cummax", input, dim, True))


@composite
def cummin(input: Any, dim: int) -> Any:
    """The smallest element so far along dim, and where it last stood."""
    return _Running(*_running("cummin", input, dim, False))


# ---- counts ----------------------------------------------------------------------------------------------


def _histogram(m: Any, x: Any, *, bins: int, low: float, high: float) -> Any:
    return m.histogram(x.reshape(-1), bins=bins, range=(low, high))[0].astype(x.dtype)


@composite
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """How many elements fall in each of equal bins from min to max (of the data, when both are equal)."""
    if tensor_of("histc", input).dtype.category != 2:
        raise NotImplementedError(f"histc: not implemented for {input.dtype.name}; convert with .float()")
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be > 0, got {bins}")
    low, high = float(min), float(max)
    if low == high and input.numel():
        low, high = float(input.min().item()), float(input.max().item())
    if low == high:
        low, high = low - 1, high + 1
    if not np.isfinite([low, high]).all() or low > high:
        raise RuntimeError(f"histc: range of [{low}, {high}] is not finite, or max must be larger than min")
    return wrap(run(_histogram, _module(input), input._array, bins=bins, low=low, high=high))


def _distinct(m: Any, x: Any, *, dim: int | None, part: str) -> Any:
    """The distinct values, their "inverse" or their "counts"."""
    if part == "values":
        return m.unique(x, axis=dim)
    found = m.unique(x, axis=dim, **{f"return_{part}": True})[1]
    return found.reshape(x.shape) if part == "inverse" and dim is None else found.reshape(-1)


@composite
def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Any = None,
) -> Any:
    """The distinct elements, or slices along dim, in order; where each element went; how often each came."""
    d = None if dim is None else dim_of("unique", input, dim)
    return _parts(_distinct, tensor_of("unique", input), d, return_inverse, return_counts)


def _parts(function: Any, input: Any, dim: int | None, inverse: bool, counts: bool) -> Any:
    input._on_host("unique")
    wanted = ["values"] + ["inverse"] * inverse + ["counts"] * counts
    parts = [wrap(run(function, _module(input), input._array, dim=dim, part=part)) for part in wanted]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _runs(m: Any, x: Any, *, dim: int | None, part: str) -> Any:
    d = 0 if dim is None else dim
    flat = x.reshape(-1) if dim is None else x
    n = flat.shape[d]
    lanes = m.moveaxis(flat, d, 0).reshape(n, flat.size // max(n, 1))
    new = m.concatenate([m.ones(min(n, 1), dtype=bool), (lanes[1:] != lanes[:-1]).any(axis=1)])
    starts = m.flatnonzero(new)
    if part == "values":
        return m.take(flat, starts, axis=d)
    if part == "counts":
        return m.diff(m.concatenate([starts, m.asarray([n])]))
    return (m.cumsum(new) - 1).reshape(x.shape if dim is None else (-1,))


@composite
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    """The elements, or slices along dim, without those equal to the one before; where each went; how many in a run."""
    d = None if dim is None else dim_of("unique_consecutive", input, dim)
    return _parts(_runs, tensor_of("unique_consecutive", input), d, return_inverse, return_counts)


# ---- moments and differences -----------------------------------------------------------------------------


@composite
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """Σ w (x - μ)(y - μ)ᵀ / (Σ w - correction) of variables in rows; weights count (f) or rate (a) observations."""
    if input.ndim > 2:
        raise RuntimeError(f"cov: expected input to have two or fewer dimensions but got {input.ndim}")
    x = floating(input.reshape(1, -1) if input.ndim < 2 else input)
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is not None and (w.ndim > 1 or w.numel() != x.shape[1]):
            raise RuntimeError(
                f"cov: expected {name} to have one element for each of {x.shape[1]} observations"
            )
    w = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    if w is None:
        norm, average = x.shape[1] - correction, mean(x, 1, True)
        spread = x - average
        product = row("matmul", spread, spread.t())
    else:
        total = sum(w)
        average = sum(x * w, 1, True) / total
        norm = total - correction * (1 if aweights is None else sum(w * aweights) / total)
        spread = x - average
        product = row("matmul", spread, (spread * w).t())
    norm = norm.clamp(min=0) if isinstance(norm, Tensor) else builtins.max(norm, 0)
    found = product / norm
    return found if input.ndim == 2 else found.reshape(())


@composite
def corrcoef(input: Any) -> Any:
    """Pearson's correlation of variables in rows: the covariance by both standard deviations, kept in [-1, 1]."""
    c = cov(input)
    if not c.ndim:
        return c / c
    s = row("sqrt", row("diagonal", c, offset=0, dim1=0, dim2=1))
    return row("clamp", c / s.unsqueeze(1) / s.unsqueeze(0), -1.0, 1.0)


@composite
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """xᵢ₊₁ - xᵢ along dim, n times, with something put before or after first."""
    d = dim_of("diff", input, dim)
    if not input.ndim:
        raise RuntimeError("diff: diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    ends = [x for x in (prepend, input, append) if x is not None]
    x = cat(ends, d) if len(ends) > 1 else input
    for _ in range(builtins.min(n, x.shape[d])):
        size = x.shape[d] - 1
        late, early = narrow(x, d, 1, size), narrow(x, d, 0, size)
        x = late ^ early if x.dtype is dtypes.bool_ else late - early
    return x if n else x.clone()


@composite(method=False)
def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """∫ y along dim by the trapezoidal rule, at the points x or at distance dx."""
    d = dim_of("trapezoid", y, dim)
    size = y.shape[d] - 1
    heights = narrow(y, d, 0, size) + narrow(y, d, 1, size)
    if x is None:
        return sum(heights, d) * (dx / 2)
    steps = diff(x, 1, -1 if x.ndim == 1 else d)
    if x.ndim == 1:
        steps = steps.reshape([-1 if i == d else 1 for i in range(y.ndim)])
    return sum(heights * steps, d) / 2


@composite
def dist(input: Any, other: Any, p: float = 2) -> Any:
    """‖input - other‖ₚ."""
    return row("vector_norm", input - other, p=float(p), dim=None, keepdim=False)
