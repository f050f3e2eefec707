"""Rows that reduce or scan along dimensions: sums, products, extrema, softmax and its kin, sorting.

``dim`` is an int, a tuple, or None for all; ``keepdim`` keeps the reduced dimensions with size 1.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import dim_out_of_range
from ..op import case, floats, ints, op

INF = math.inf
DIMS = (
    case((3, 4)), case((3, 4), dim=0), case((2, 3, 4), dim=(0, -1)), case((3, 4), dim=1, keepdim=True),
    case((0, 3), dim=1), case(()),
)  # fmt: skip
ALONG = (case((3, 4), dim=0), case((2, 3, 4), dim=-2), case((4,), dim=0))


def axes(dim: Any, ndim: int) -> tuple[int, ...]:
    """All reduced axes, counted from the front; None and () are all of them, as in PyTorch."""
    if type(dim) is int and 0 <= dim < ndim:
        return (dim,)
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    n = ndim or 1  # a 0-d tensor takes dim 0 and -1
    for d in dims:
        if not -n <= d < n:
            raise dim_out_of_range("dim", d, ndim)
    found = tuple(d % n for d in dims)
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {tuple(dims)}: a dimension appears multiple times in the list of dims")
    return found if ndim else ()


def kept(m: Any, g: Any, shape: tuple[int, ...], dim: Any, keepdim: bool) -> Any:
    """Puts reduced dimensions back with size 1, so that g broadcasts against the operand."""
    if keepdim or not shape:
        return g
    gone = axes(dim, len(shape))
    return m.reshape(g, tuple(1 if i in gone else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], dim: Any) -> int:
    """How many elements each result is made of."""
    return math.prod([shape[i] for i in axes(dim, len(shape))])


def accurate_sum(m: Any, x: Any, axis: tuple[int, ...], keepdim: bool) -> Any:
    """A sum whose error doesn't grow with the length: halves in float32, long columns in float64.

    NumPy sums pairwise along the last axis only; elsewhere it adds row after row.
    """
    kind, size, wide = x.dtype.kind, x.dtype.itemsize, None
    if size == 2 and kind in "fV":
        wide = m.float32
    elif size == 4 and kind == "f" and axis != (x.ndim - 1,) and count(x.shape, axis) >= 512:
        wide = m.float64
    if wide is not None:
        return m.asarray(x.sum(axis=axis, keepdims=keepdim, dtype=wide)).astype(x.dtype)
    return x.sum(axis=axis, keepdims=keepdim, dtype=m.int64 if kind in "iub" else None)


@op(promote="match", cases=DIMS, public=False)
def sum(m, x, *, dim=None, keepdim=False):
    """Σ x over dim. Integers and booleans sum to int64; halves accumulate in float32."""
    return accurate_sum(m, x, axes(dim, x.ndim), keepdim)


@sum.vjp
def _(m, g, x_shape, dim, keepdim):
    return m.broadcast_to(kept(m, g, x_shape, dim, keepdim), x_shape)


@op(promote="match", cases=DIMS[:4], public=False)
def mean(m, x, *, dim=None, keepdim=False):
    """Σ x / n over dim."""
    if x.dtype.kind in "iub":
        raise RuntimeError(f"mean: could not infer output dtype. Input dtype must be a floating point dtype, "
                           f"got {x.dtype}: convert with .float()")  # fmt: skip
    return accurate_sum(m, x, axes(dim, x.ndim), keepdim) / x.dtype.type(count(x.shape, dim))


@mean.vjp
def _(m, g, x_shape, dim, keepdim):
    return m.broadcast_to(kept(m, g / count(x_shape, dim), x_shape, dim, keepdim), x_shape)


@op(
    promote="match",
    cases=[case((3, 4)), case((3, 4), dim=0), case((3, 4), dim=1, correction=0, keepdim=True)],
    public=False,
)
def var(m, x, *, dim=None, correction=1, keepdim=False):
    """Σ (x - x̄)² / (n - correction) over dim, in two passes."""
    if x.dtype.kind in "iub":
        raise RuntimeError(
            f"var: std and var only support floating point dtypes, got {x.dtype}; convert with .float()"
        )
    axis, n = axes(dim, x.ndim), count(x.shape, dim)
    centred = x - accurate_sum(m, x, axis, True) / max(n, 1)
    return accurate_sum(m, m.square(centred), axis, keepdim) / x.dtype.type(max(n - correction, 0))


@var.vjp
def _(m, g, x, x_shape, dim, correction, keepdim):
    n = count(x_shape, dim)
    centred = x - mean(m, x, dim=dim, keepdim=True)
    return 2 * kept(m, g, x_shape, dim, keepdim) * centred / max(n - correction, 0)


@op(
    promote="match",
    cases=[case((3, 4)), case((3, 4), dim=0), case((3, 4), dim=1, correction=0, keepdim=True)],
    public=False,
)
def std(m, x, *, dim=None, correction=1, keepdim=False):
    """√(Σ (x - x̄)² / (n - correction)) over dim; its gradient is 0 where it is 0."""
    return m.sqrt(var(m, x, dim=dim, correction=correction, keepdim=keepdim))


@std.vjp
def _(m, g, x, out, x_shape, dim, correction, keepdim):
    n = count(x_shape, dim)
    scale = kept(m, m.where(out == 0, 0.0, g / m.where(out == 0, 1.0, out)), x_shape, dim, keepdim)
    return scale * (x - mean(m, x, dim=dim, keepdim=True)) / (n - correction)


@op(promote="match", cases=[case((3, 4)), case((3, 4), p=1.0, dim=0), case(floats((3, 4), -2, 2), p=3.0, dim=1, keepdim=True),
           case(floats((3, 4), -2, -0.3), p=INF, dim=(0, 1)), case(floats((3, 4), -2, 2), dim=0),
           case((4,), p=-INF), case((4,), p=0.0)],
    public=False, kinks=(0,), domain=(0.3, 2), analytic=False, flops=3)  # fmt: skip
def vector_norm(m, x, *, p=2.0, dim=None, keepdim=False):
    """(Σ |x|ᵖ)^(1/p) over dim; max |x| for ∞, min |x| for -∞, how many aren't 0 for 0."""
    axis, a = axes(dim, x.ndim), m.abs(x)
    if p in (INF, -INF):
        return _extremum(m, "amax" if p > 0 else "amin", a, dim, keepdim)
    if p == 0:
        return m.sum(a != 0, axis=axis, keepdims=keepdim).astype(x.dtype)
    powers = a if p == 1 else m.square(a) if p == 2 else a**p
    total = m.asarray(accurate_sum(m, powers, axis, keepdim))
    return total if p == 1 else m.sqrt(total) if p == 2 else total ** (1 / p)


@vector_norm.vjp
def _(m, g, x, out, x_shape, p, dim, keepdim):
    if p == 0:
        return m.zeros_like(x)
    norm, g = kept(m, out, x_shape, dim, keepdim), kept(m, g, x_shape, dim, keepdim)
    if p in (INF, -INF):
        return m.sign(x) * _shared(m, g, m.abs(x), norm, dim, True, x_shape)
    if p == 1:
        return g * m.sign(x)
    safe = m.where(norm == 0, 1.0, norm)
    if p == 2:
        return g * m.where(norm == 0, 0.0, x / safe)
    ratio = m.where(x == 0, 1.0, m.abs(x) / safe)
    return g * m.where(x == 0, 0.0, m.sign(x) * ratio ** (p - 1))


@op(promote="match", cases=(*DIMS[:2], case((3, 4), dim=1, keepdim=True), case(())), public=False)
def prod(m, x, *, dim=None, keepdim=False):
    """Π x over dim."""
    return m.prod(x, axis=axes(dim, x.ndim), keepdims=keepdim,
                  dtype=m.int64 if x.dtype.kind in "iub" else None)  # fmt: skip


@prod.vjp
def _(m, g, x, x_shape, dim, keepdim):
    # the product of the others, by running products from both ends, so that zeros are exact
    axis = axes(dim, len(x_shape))
    rest = tuple(i for i in range(len(x_shape)) if i not in axis)
    front = m.permute_dims(x, (*rest, *axis))
    shape = (*(x_shape[i] for i in rest), count(x_shape, dim))
    flat = m.reshape(front, shape)
    ones = m.ones_like(flat[..., :1])
    before = cumprod(m, m.concat([ones, flat[..., :-1]], axis=-1), dim=-1)
    after = m.flip(
        cumprod(m, m.concat([ones, m.flip(flat, axis=(-1,))[..., :-1]], axis=-1), dim=-1), axis=(-1,)
    )
    others = m.reshape(before * after, tuple(x_shape[i] for i in (*rest, *axis)))
    back = tuple((*rest, *axis).index(i) for i in range(len(x_shape)))
    return kept(m, g, x_shape, dim, keepdim) * m.permute_dims(others, back)


def _extremum(m: Any, name: str, x: Any, dim: Any, keepdim: bool) -> Any:
    if x.size == 0 and count(x.shape, dim) == 0:
        kind = RuntimeError if dim is None or dim == () else IndexError
        raise kind(f"{name}: Expected reduction dim to have non-zero size, got shape {x.shape} over dim {dim}; an empty "
                   f"set has no extremum")  # fmt: skip
    return getattr(m, name)(x, axis=axes(dim, x.ndim), keepdims=keepdim)


def _shared(m: Any, g: Any, x: Any, out: Any, dim: Any, keepdim: bool, shape: tuple[int, ...]) -> Any:
    mask = x == kept(m, out, shape, dim, keepdim)
    ties = m.sum(mask * m.ones_like(x), axis=axes(dim, len(shape)), keepdims=True) if shape else 1
    return m.where(mask, kept(m, g, shape, dim, keepdim) / ties, 0.0)


@op(cases=DIMS[:4], analytic=False, numpy=("amax", "max"))
def amax(m, x, *, dim=(), keepdim=False):
    """The largest element over dim; ties share the gradient equally."""
    return _extremum(m, "amax", x, dim, keepdim)


@amax.vjp
def _(m, g, x, out, x_shape, dim, keepdim):
    return _shared(m, g, x, out, dim, keepdim, x_shape)


@op(cases=DIMS[:4], analytic=False, numpy=("amin", "min"))
def amin(m, x, *, dim=(), keepdim=False):
    """The smallest element over dim; ties share the gradient equally."""
    return _extremum(m, "amin", x, dim, keepdim)


@amin.vjp
def _(m, g, x, out, x_shape, dim, keepdim):
    return _shared(m, g, x, out, dim, keepdim, x_shape)


def _pick(m: Any, name: str, x: Any, dim: Any, keepdim: bool) -> Any:
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
    if not count(x.shape, dim):
        raise IndexError(
            f"{name}: Expected reduction dim to have non-zero size, got shape {x.shape} over dim {dim}"
        )
    if x.dtype.kind == "b":
        x = x.astype(m.uint8)
    found = m.asarray(getattr(m, name)(x, axis=dim if x.ndim else None))
    return m.expand_dims(found, dim) if keepdim and x.ndim and dim is not None else found


def _picked(m: Any, name: str, x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The elements that argmax or argmin names along dim, and their indices."""
    if not x.ndim:
        return m.array(x, copy=True), m.zeros((), dtype=m.int64)
    indices = _pick(m, name, x, dim, True)
    out = m.take_along_axis(x, indices, axis=dim)
    return (out, indices) if keepdim else (m.squeeze(out, axis=dim), m.squeeze(indices, axis=dim))


@op(gradient=None, cases=[case((3, 4), dim=0), case((3, 4)), case((3, 4), dim=1, keepdim=True)])
def argmax(m, x, *, dim=None, keepdim=False):
    """The index of the first largest element along dim, or of the flattened tensor."""
    return _pick(m, "argmax", x, dim, keepdim)


@op(gradient=None, cases=[case((3, 4), dim=0), case((3, 4)), case((3, 4), dim=1, keepdim=True)])
def argmin(m, x, *, dim=None, keepdim=False):
    """The index of the first smallest element along dim, or of the flattened tensor."""
    return _pick(m, "argmin", x, dim, keepdim)


@op(
    outputs=("out", "indices"),
    cases=(*ALONG, case((3, 4), dim=1, keepdim=True)),
    public=False,
    analytic=False,
)
def max_dim(m, x, *, dim, keepdim=False):
    """The largest element along dim and its index; the gradient goes to that one."""
    return _picked(m, "argmax", x, dim, keepdim)


@max_dim.vjp
def _(m, g, indices, x_shape, dim, keepdim):
    return _placed(m, g, indices, x_shape, dim, keepdim)


@op(
    outputs=("out", "indices"),
    cases=(*ALONG, case((3, 4), dim=1, keepdim=True)),
    public=False,
    analytic=False,
)
def min_dim(m, x, *, dim, keepdim=False):
    """The smallest element along dim and its index; the gradient goes to that one."""
    return _picked(m, "argmin", x, dim, keepdim)


@min_dim.vjp
def _(m, g, indices, x_shape, dim, keepdim):
    return _placed(m, g, indices, x_shape, dim, keepdim)


def _placed(m: Any, g: Any, indices: Any, shape: tuple[int, ...], dim: int, keepdim: bool) -> Any:
    from .index import unpick

    if not shape:
        return g
    return unpick(
        m, kept(m, g, shape, dim, keepdim), kept(m, indices, shape, dim, keepdim), shape=shape, dim=dim
    )


@op(gradient=None, cases=DIMS[:4])
def any(m, x, *, dim=None, keepdim=False):
    """Is any element true? dim=() reduces nothing, as in PyTorch; the result is uint8 for uint8."""
    axis = () if dim == () else axes(dim, x.ndim)
    return m.any(x, axis=axis, keepdims=keepdim).astype(m.uint8 if x.dtype == m.uint8 else bool)


@op(gradient=None, cases=DIMS[:4])
def all(m, x, *, dim=None, keepdim=False):
    """Are all elements true? dim=() reduces nothing, as in PyTorch; the result is uint8 for uint8."""
    axis = () if dim == () else axes(dim, x.ndim)
    return m.all(x, axis=axis, keepdims=keepdim).astype(m.uint8 if x.dtype == m.uint8 else bool)


def _scanned(m: Any, name: str, x: Any, dim: int) -> Any:
    """A scan adds or multiplies one after the other: float32 does so in float64, as in PyTorch, integers in int64."""
    kept_as = m.int64 if x.dtype.kind in "iub" else x.dtype
    if not x.ndim:
        return x.astype(kept_as)
    wide = m.float64 if x.dtype == m.float32 else kept_as
    return m.asarray(getattr(m, name)(x, axis=dim, dtype=wide)).astype(kept_as, copy=False)


@op(promote="match", cases=ALONG, public=False)
def cumsum(m, x, *, dim):
    """yᵢ = x₁ + … + xᵢ along dim."""
    return _scanned(m, "cumsum", x, dim)


@cumsum.vjp
def _(m, g, x_shape, dim):
    return m.flip(cumsum(m, m.flip(g, axis=(dim,)), dim=dim), axis=(dim,)) if x_shape else g


@op(promote="match", cases=ALONG, public=False)
def cumprod(m, x, *, dim):
    """yᵢ = x₁ · … · xᵢ along dim."""
    return _scanned(m, "cumprod", x, dim)


@cumprod.vjp
def _(m, g, x, x_shape, dim):
    # ∂yⱼ/∂xᵢ = Π of the first j without the i-th, for j ≥ i: exact with zeros, n² along dim
    if not x_shape:
        return g
    n = x_shape[dim]
    parts = []
    for i in range(n):
        before = prod(m, narrow(m, x, dim, 0, i), dim=dim, keepdim=True)
        running = cumprod(m, m.concat([before, narrow(m, x, dim, i + 1, n)], axis=dim), dim=dim)
        parts.append(m.sum(narrow(m, g, dim, i, n) * running, axis=(dim,), keepdims=True))
    return m.concat(parts, axis=dim) if parts else g


def narrow(m: Any, x: Any, dim: int, start: int, stop: int) -> Any:
    """x[start:stop] along dim."""
    at = [slice(None)] * len(x.shape)
    at[dim] = slice(start, stop)
    return x[tuple(at)]


@op(promote="float", cases=(*ALONG, case((2, 3), dim=(0, 1)), case((3, 2), dim=1, keepdim=True)), flops=12)
def logsumexp(m, x, *, dim, keepdim=False):
    """ln Σ eˣ over dim, shifted by the maximum so that nothing overflows."""
    axis = axes(dim, x.ndim)
    top = m.max(x, axis=axis, keepdims=True, initial=-INF)
    top = m.where(m.isfinite(top), top, m.zeros_like(top))  # all -∞, none at all, or some ∞
    out = m.log(m.sum(m.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdim else m.squeeze(out, axis=axis)


@logsumexp.vjp
def _(m, g, x, out, x_shape, dim, keepdim):
    top = kept(m, out, x_shape, dim, keepdim)
    return kept(m, g, x_shape, dim, keepdim) * m.where(m.isfinite(top), m.exp(x - top), 0.0)


@op(promote="match", cases=ALONG, public=False, flops=12)
def softmax(m, x, *, dim):
    """eˣ / Σ eˣ along dim, shifted by the maximum so that nothing overflows."""
    if not x.ndim:
        return m.exp(x - x)  # 1, or NaN
    e = m.exp(x - x.max(axis=dim, keepdims=True)) if x.size else x
    return e / e.sum(axis=dim, keepdims=True)


@softmax.vjp
def _(m, g, out, x_shape, dim):
    return out * (g - m.sum(g * out, axis=dim, keepdims=True)) if x_shape else m.zeros_like(g)


@op(promote="match", cases=ALONG, public=False, flops=12)
def log_softmax(m, x, *, dim):
    """x - ln Σ eˣ along dim, shifted by the maximum so that nothing overflows."""
    if not x.ndim:
        return x - x  # 0, or NaN
    shifted = x - x.max(axis=dim, keepdims=True) if x.size else x
    return shifted - m.log(m.exp(shifted).sum(axis=dim, keepdims=True))


@log_softmax.vjp
def _(m, g, out, x_shape, dim):
    return g - m.exp(out) * m.sum(g, axis=dim, keepdims=True) if x_shape else m.zeros_like(g)


@op(
    outputs=("out", "indices"),
    cases=(*ALONG, case((3, 4), dim=-1, descending=True)),
    analytic=False,
    public=False,
)
def sort(m, x, *, dim=-1, descending=False):
    """x sorted along dim, stably, and the indices that sort it; NaN counts as the largest."""
    if not x.ndim:
        return m.array(x, copy=True), m.zeros((), dtype=m.int64)
    if descending:  # stable: sort the reversed, then reverse
        indices = m.flip(x.shape[dim] - 1 - m.argsort(m.flip(x, axis=dim), axis=dim, stable=True), axis=dim)
    else:
        indices = m.argsort(x, axis=dim, stable=True)
    return m.take_along_axis(x, indices, axis=dim), indices


@sort.vjp
def _(m, g, indices, x_shape, dim):
    return _placed(m, g, indices, x_shape, dim, True)


@op(outputs=("out", "indices"), cases=[case((3, 4), k=2), case((3, 4), k=2, dim=0, largest=False)],
    analytic=False, public=False)  # fmt: skip
def topk(m, x, *, k, dim=-1, largest=True):
    """The k largest (or smallest) elements along dim, in order, and their indices."""
    if not 0 <= k <= (x.shape[dim] if x.ndim else 1):
        raise RuntimeError(f"topk: selected index k out of range: expected 0 ≤ k ≤ "
                           f"{x.shape[dim] if x.ndim else 1} along dim {dim}, got {k}")  # fmt: skip
    values, indices = sort(m, x, dim=dim, descending=largest)
    return (values, indices) if not x.ndim else (narrow(m, values, dim, 0, k), narrow(m, indices, dim, 0, k))


@topk.vjp
def _(m, g, indices, x_shape, dim):
    return _placed(m, g, indices, x_shape, dim, True)


@op(gradient=None, ragged=True, cases=[case(ints((6,), 3)), case(ints((6,), 3), (6,), minlength=5)])
def bincount(m, x, weights=None, *, minlength=0):
    """How often each of 0, 1, 2 … occurs."""
    if x.dtype.kind not in "iu":
        raise NotImplementedError(f"bincount: expected integers, got {x.dtype}; convert with .long()")
    found = m.bincount(x, weights, minlength)
    return found.astype(m.float32) if weights is not None and weights.dtype == m.float32 else found
