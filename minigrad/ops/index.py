"""Rows that pick and place: indexing, gather, scatter, index_select, masks, argwhere, one-hot.

An index is an input (an integer or boolean tensor, without gradient) or, for ``x[…]``, an attribute
made of ints, slices, None, Ellipsis and raw integer or boolean arrays.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from ..op import bools, case, ints, op


def is_basic(index: Any) -> bool:
    """Is it made of ints, slices, None and Ellipsis alone, so that the result is a view?"""
    parts = index if isinstance(index, tuple) else (index,)
    return not [p for p in parts if hasattr(p, "shape") or isinstance(p, (list, bool))]


def has_mask(index: Any) -> bool:
    """Is a boolean array among the parts, so that the size of the result depends on its values?"""
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(getattr(p, "dtype", None), "kind", "") == "b" for p in parts)


@op(view=True, public=False, ragged=lambda attrs: has_mask(attrs["index"]), cases=[
    case((3, 4), index=1), case((3, 4), index=(slice(None, None, 2), None, -1)), case((3, 4), index=(Ellipsis, 0)),
    case((5,), index=slice(1, 1)), case((3, 4), index=([0, 2, 0], slice(1, None))),
])  # fmt: skip
def getitem(m, x, *, index):
    """x[index]; a view where the index is basic."""
    parts = index if isinstance(index, tuple) else (index,)
    if is_basic(parts) and Ellipsis not in parts:
        index = (*parts, Ellipsis)  # without it NumPy makes a copy of a single element
    return x[index]


@getitem.vjp
def _(m, g, x_shape, index):
    return ungetitem(m, g, shape=x_shape, index=index)


@op(
    public=False,
    cases=[case((4,), shape=(3, 4), index=1), case((3, 4), shape=(3, 4), index=([0, 2, 0],))],
)
def ungetitem(m, x, *, shape, index):
    """Zeros of a shape with x added at an index: the transpose of x[index]."""
    out = m.zeros(shape, dtype=x.dtype)
    if is_basic(index):
        out[index] = x
    else:
        m.add.at(out, index, x)
    return out


@ungetitem.vjp
def _(m, g, index):
    return getitem(m, g, index=index)


@op(
    public=False,
    cases=[
        case((3, 4), (4,), index=1), case((3, 4), (), index=(slice(None), 2)),
        case((3, 4), (3, 4), index=([0, 2, 0],), accumulate=True), case((3, 4), (2, 4), index=([2, 0],)),
    ],
)  # fmt: skip
def setitem(m, x, values, *, index, accumulate=False):
    """x with values written (or added) at an index."""
    out = m.array(x, copy=True)
    if accumulate:
        m.add.at(out, index, values)
    else:
        out[index] = values
    return out


@setitem.vjp
def _(m, g, values_shape, index, accumulate, needs):
    rest = g if accumulate or not needs[0] else setitem(m, g, m.zeros_like(m.sum(g)), index=index)
    return rest, getitem(m, g, index=index) if needs[1] else None


def _along(m: Any, index: Any, dim: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The full index of every element of an index array that replaces one dimension."""
    grids = list(m.ix_(*(m.arange(n) for n in index.shape)))
    grids[dim] = index
    return tuple(grids)


def _indices(name: str, index: Any, size: int, error: type[Exception] = IndexError) -> None:
    """Refuses an index outside the dimension, with PyTorch's error: NumPy would wrap a negative one silently."""
    if index.dtype.kind not in "iu":
        raise RuntimeError(
            f"{name}(): Expected dtype int64 for index, got {index.dtype}; convert with .long()"
        )
    if index.size and (index.min() < 0 or index.max() >= size):
        bad = int(index.min()) if index.min() < 0 else int(index.max())
        raise error(
            f"{name}: index {bad} is out of bounds for dimension with size {size}; expected 0 ≤ index < {size}"
        )


@op(
    constant=("index",),
    public=False,
    cases=[case((3, 4), ints((2, 4), 3), dim=0), case((3, 4), ints((3, 6), 4), dim=-1)],
)
def gather(m, x, index, *, dim):
    """out[i][j] = x[index[i][j]][j] for dim 0, and so along the others."""
    if not x.ndim:
        return m.broadcast_to(x, index.shape)
    if index.ndim != x.ndim:
        raise RuntimeError(f"gather: Index tensor must have the same number of dimensions as input tensor, "
                           f"got {index.shape} for {x.shape}")  # fmt: skip
    _indices("gather", index, x.shape[dim], RuntimeError)
    return x[_along(m, index, dim % x.ndim, x.shape)]


@gather.vjp
def _(m, g, index, x_shape, dim):
    return unpick(m, g, index, shape=x_shape, dim=dim) if x_shape else m.sum(g)


@op(constant=("index",), public=False, cases=[case((2, 4), ints((2, 4), 3), shape=(3, 4), dim=0)])
def unpick(m, x, index, *, shape, dim):
    """Zeros of a shape with x added where index says, along dim: the transpose of gather."""
    out = m.zeros(shape, dtype=x.dtype)
    m.add.at(out, _along(m, index, dim % len(shape), shape), x)
    return out


@unpick.vjp
def _(m, g, index, dim):
    return gather(m, g, index, dim=dim)


def _corner(name: str, x: Any, index: Any, src: Any, dim: int) -> Any:
    """The corner of src that is written: index says how much of it."""
    along = dim % x.ndim
    others = [n > k for i, (n, k) in enumerate(zip(index.shape, x.shape, strict=False)) if i != along]
    if not index.ndim == src.ndim == x.ndim or any(others) or any(map(operator.gt, index.shape, src.shape)):
        raise RuntimeError(f"{name}: Expected index {list(index.shape)} to be no larger than self {list(x.shape)} apart "
                           f"from dimension {along} and to be no larger size than src {list(src.shape)}")  # fmt: skip
    _indices(name, index, x.shape[along], RuntimeError)
    return src[tuple(slice(n) for n in index.shape)]


def _uncorner(m: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with g in its corner: the transpose of taking the corner."""
    return m.pad(g, tuple((0, n - k) for n, k in zip(shape, g.shape, strict=True)))


@op(constant=("index",), public=False, cases=[case((3, 4), ints((1, 4), 3), (1, 4), dim=0)])
def scatter_write(m, x, index, src, *, dim):
    """x with src written where index says, along dim; the last of several writers wins."""
    out, part = m.array(x, copy=True), _corner("scatter", x, index, src, dim)
    out[_along(m, index, dim % x.ndim, x.shape)] = part
    return out


@scatter_write.vjp
def _(m, g, index, src_shape, dim, needs):
    picked = gather(m, g, index, dim=dim)
    rest = scatter_write(m, g, index, m.zeros_like(picked), dim=dim) if needs[0] else None
    return rest, None, _uncorner(m, picked, src_shape) if needs[2] else None


@op(
    constant=("index",),
    public=False,
    cases=[case((3, 4), ints((2, 4), 3), (2, 4), dim=0), case((3, 4), ints((3, 2), 4), (3, 3), dim=1)],
)
def scatter_add(m, x, index, src, *, dim):
    """x with src added where index says, along dim; several writers add up."""
    out, part = m.array(x, copy=True), _corner("scatter_add", x, index, src, dim)
    m.add.at(out, _along(m, index, dim % x.ndim, x.shape), part)
    return out


@scatter_add.vjp
def _(m, g, index, src_shape, dim, needs):
    return g, None, _uncorner(m, gather(m, g, index, dim=dim), src_shape) if needs[2] else None


@op(
    constant=("index",),
    public=False,
    numpy="take",
    cases=[case((3, 4), ints((5,), 3), dim=0), case((2, 3), ints((2,), 3), dim=-1)],
)
def index_select(m, x, index, *, dim):
    """The slices of x at the given positions along dim."""
    _indices("index_select", index, x.shape[dim] if x.ndim else 1)
    return m.take(x, index, axis=dim) if x.ndim else m.array(x, copy=True)


@index_select.vjp
def _(m, g, index, x_shape, dim):
    zeros = m.zeros_like(m.broadcast_to(m.sum(g), x_shape))
    return index_add(m, zeros, index, g, dim=dim) if x_shape else g


@op(
    constant=("index",),
    public=False,
    cases=[
        case((3, 4), ints((5,), 3), (5, 4), dim=0),
        case((3, 2), ints((4,), 2), (3, 4), dim=-1, alpha=0.7),
    ],
)
def index_add(m, x, index, source, *, dim, alpha=1):
    """x with alpha · source added, slice by slice, at the given positions along dim."""
    _indices("index_add", index, x.shape[dim], RuntimeError if x.ndim > 1 else IndexError)
    out = m.array(x, copy=True)
    at = (slice(None),) * (dim % x.ndim) + (index,)
    m.add.at(out, at, source if alpha == 1 else alpha * source)
    return out


@index_add.vjp
def _(m, g, index, dim, alpha):
    picked = index_select(m, g, index, dim=dim)
    return g, None, picked if alpha == 1 else picked * alpha


@op(constant=("mask",), public=False, cases=[case((3, 4), bools((3, 4)), ()), case((2, 3), bools((3,)), ())])
def masked_fill(m, x, mask, value):
    """value where the mask holds, x elsewhere."""
    if mask.dtype.kind != "b":
        raise RuntimeError(f"masked_fill: only supports boolean masks, got {mask.dtype}; compare first")
    return m.where(mask, m.asarray(value, dtype=x.dtype), x)


@masked_fill.vjp
def _(m, g, mask, needs):
    return m.where(mask, 0.0, g), None, m.where(mask, g, 0.0) if needs[2] else None


@op(constant=("mask",), public=False, cases=[case((2, 3), bools((2, 3)), (6,))])
def masked_scatter(m, x, mask, source):
    """x with the elements of source, in order, where the mask holds."""
    out = m.array(x, copy=True)
    full = m.broadcast_to(mask, x.shape)
    wanted = int(full.sum())
    if source.size < wanted:
        raise RuntimeError(f"masked_scatter: Number of elements of source ({source.size}) < number of ones in mask "
                           f"({wanted}); give a larger source")  # fmt: skip
    out[full] = source.reshape(-1)[:wanted]
    return out


@masked_scatter.vjp
def _(m, g, mask, source_shape, needs):
    back = None
    if needs[2]:
        picked = g[m.broadcast_to(mask, g.shape)]
        unused = math.prod(source_shape) - picked.shape[0]
        back = m.reshape(m.pad(picked, ((0, unused),)), source_shape)
    return m.where(mask, 0.0, g), None, back


@op(gradient=None, public=False, ragged=True, cases=[case(bools((3, 4)))])
def argwhere(m, x):
    """The indices of the elements that aren't zero, one a row."""
    return m.argwhere(x)


@op(gradient=None, public=False, cases=[case(ints((3,), 4), num_classes=5)])
def one_hot(m, x, *, num_classes):
    """True at each class's position, false elsewhere, in a new last dimension."""
    return x[..., None] == m.arange(num_classes)
