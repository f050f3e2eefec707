"""Rows that rearrange without arithmetic: views, joining, flipping, padding, triangles, type casts."""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import cast
from ..op import case, op
from .reduce import narrow


def _sizes(name: str, old: tuple[int, ...], shape: Any) -> tuple[int, ...]:
    """The shape asked for, with -1 worked out."""
    new, total = tuple(int(n) for n in shape), math.prod(old)
    if new.count(-1) > 1:
        raise RuntimeError(f"{name}: only one dimension can be inferred, got {list(new)}")
    known = math.prod([n for n in new if n != -1])
    if -1 in new:
        if known == 0 or total % known:
            raise RuntimeError(f"{name}: shape '{list(new)}' is invalid for input of size {total}")
        new = tuple(total // known if n == -1 else n for n in new)
    elif known != total:
        raise RuntimeError(f"{name}: shape '{list(new)}' is invalid for input of size {total}: "
                           f"{list(old)} has {total} elements, the new shape {known}")  # fmt: skip
    return new


@op(
    view=True,
    spread="shape",
    cases=[case((2, 3), shape=(3, 2)), case((4,), shape=(2, -1)), case((), shape=(1,))],
)
def reshape(m, x, *, shape):
    """The same elements, in order, in another shape; a view where memory allows."""
    return m.reshape(x, _sizes("reshape", x.shape, shape))


@reshape.vjp
def _(m, g, x_shape):
    return m.reshape(g, x_shape)


@op(
    view=True, spread="dims", numpy="permute_dims", cases=[case((2, 3, 4), dims=(2, 0, 1)), case((), dims=())]
)
def permute(m, x, *, dims):
    """The dimensions in another order; a view."""
    if len(dims) != x.ndim or sorted(d % max(x.ndim, 1) for d in dims) != list(range(x.ndim)):
        raise RuntimeError(f"permute: expected each of the {x.ndim} dimensions once, got dims={tuple(dims)} "
                           f"for shape {x.shape}")  # fmt: skip
    return m.transpose(x, dims)


@permute.vjp
def _(m, g, dims):
    n = len(dims)
    return m.permute_dims(g, tuple(sorted(range(n), key=lambda i: dims[i] % n)))


@op(view=True, spread="shape", cases=[case((3, 1), shape=(2, 3, 4)), case((), shape=(2,))])
def broadcast_to(m, x, *, shape):
    """x repeated, without copying, to a shape that it broadcasts to; -1 keeps a size; a view."""
    lead = len(shape) - x.ndim
    new = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if lead < 0 or any(a != b and a != 1 for a, b in zip(x.shape, new[lead:], strict=True)) or -1 in new:
        raise RuntimeError(f"expand: The expanded size {list(new)} must match the existing size "
                           f"{list(x.shape)} at non-singleton dimensions")  # fmt: skip
    strides = [0 if a != b else s for a, b, s in zip(x.shape, new[lead:], x.strides, strict=True)]
    return m.lib.stride_tricks.as_strided(
        x, new, (*(0,) * lead, *strides)
    )  # unlike broadcast_to, parts can be written


@broadcast_to.vjp
def _(m, g):
    return g  # the engine un-broadcasts


@op(view=True, public=False, numpy="expand_dims", cases=[case((2, 3), dim=1), case((), dim=0)])
def unsqueeze(m, x, *, dim):
    """A dimension of size 1 put in at dim; a view."""
    d = dim % (x.ndim + 1)
    return x.reshape(*x.shape[:d], 1, *x.shape[d:])  # m.expand_dims takes eight times as long


@unsqueeze.vjp
def _(m, g, dim):
    return m.squeeze(g, axis=dim)


@op(view=True, public=False, cases=[case((2, 1), dim=1), case((1, 3, 1), dim=(0, 2))])
def squeeze(m, x, *, dim):
    """The given dimensions, of size 1, removed; a view."""
    return m.squeeze(x, axis=dim)


@squeeze.vjp
def _(m, g, x_shape):
    return m.reshape(g, x_shape)


@op(
    view=True,
    public=False,
    cases=[case((3, 4)), case((2, 3, 3), offset=1, dim1=1, dim2=2), case((3, 2), offset=-1, dim1=1, dim2=0)],
)
def diagonal(m, x, *, offset=0, dim1=0, dim2=1):
    """The elements whose indices along dim1 and dim2 differ by offset, as the last dimension; a view."""
    rest = [i for i in range(x.ndim) if i not in (dim1 % x.ndim, dim2 % x.ndim)]
    y = m.transpose(x, (*rest, dim1, dim2))[..., max(-offset, 0) :, max(offset, 0) :]
    n = min(y.shape[-2:])
    return m.einsum("...ii->...i", y[..., :n, :n])  # unlike numpy.diagonal, a view that can be written


@diagonal.vjp
def _(m, g, x_shape, offset, dim1, dim2):
    return undiagonal(m, g, shape=x_shape, offset=offset, dim1=dim1, dim2=dim2)


@op(public=False, cases=[case((3,), shape=(3, 4)), case((2, 2), shape=(2, 3, 3), offset=1, dim1=1, dim2=2)])
def undiagonal(m, x, *, shape, offset=0, dim1=0, dim2=1):
    """Zeros of a shape with x on a diagonal: the transpose of diagonal."""
    out = m.zeros(shape, dtype=x.dtype)
    diagonal(m, out, offset=offset, dim1=dim1, dim2=dim2)[...] = x
    return out


@undiagonal.vjp
def _(m, g, offset, dim1, dim2):
    return diagonal(m, g, offset=offset, dim1=dim1, dim2=dim2)


@op(view=True, public=False, cases=[case((5,), dim=0, size=3, step=1), case((2, 7), dim=1, size=3, step=3)])
def unfold(m, x, *, dim, size, step):
    """Windows of a size along dim, one every step, as the last dimension; a view."""
    shape, strides = list(x.shape), list(x.strides)
    shape[dim], strides[dim] = (shape[dim] - size) // step + 1, strides[dim] * step
    return m.lib.stride_tricks.as_strided(x, (*shape, size), (*strides, x.strides[dim]))


@unfold.vjp
def _(m, g, x_shape, dim, step):
    return overlap_add(m, g, shape=x_shape, dim=dim, step=step)


@op(
    public=False,
    cases=[case((3, 3), shape=(5,), dim=0, step=1), case((2, 2, 3), shape=(2, 7), dim=1, step=3)],
)
def overlap_add(m, x, *, shape, dim, step):
    """Zeros of a shape with the windows of x added where unfold takes them: the transpose of unfold."""
    n, size = x.shape[dim], x.shape[-1]
    if n != (shape[dim] - size) // step + 1:
        raise RuntimeError(
            f"overlap_add: {n} windows of {size} don't fill {shape[dim]} places by steps of {step}"
        )
    out = m.zeros(shape, dtype=x.dtype)
    for k in range(size):
        out[(*(slice(None),) * dim, slice(k, k + step * n, step))] += x[..., k]
    return out


@overlap_add.vjp
def _(m, g, x_shape, dim, step):
    return unfold(m, g, dim=dim, size=x_shape[-1], step=step)


@op(cases=[case((2, 3), (1, 3), dim=0), case((2, 1), (2, 2), (2, 0), dim=-1)], numpy="concat", public=False)
def cat(m, *tensors, dim=0):
    """The tensors one after another along dim."""
    return m.concat(tensors, axis=dim)


@cat.vjp
def _(m, g, tensors_shape, dim):
    out, start = [], 0
    for shape in tensors_shape:
        out.append(narrow(m, g, dim, start, start + shape[dim]))
        start += shape[dim]
    return out


@op(spread="dims", cases=[case((3, 4), dims=(0,)), case((2, 3), dims=(0, -1))])
def flip(m, x, *, dims):
    """x backwards along dims, copied."""
    return m.array(m.flip(x, axis=tuple(dims) if isinstance(dims, (tuple, list)) else dims), copy=True)


@flip.vjp
def _(m, g, dims):
    return m.flip(g, axis=dims)


@op(cases=[case((3, 4), shifts=1, dims=0), case((2, 3), shifts=(1, -2), dims=(0, 1)), case((5,), shifts=2)])
def roll(m, x, *, shifts, dims=None):
    """x shifted along dims, what falls off one end coming back at the other."""
    dims = None if dims == () else dims
    if isinstance(shifts, (tuple, list)) and len(shifts) > 1 and dims is None:
        raise RuntimeError(
            f"roll: shifts and dimensions must align, got shifts {tuple(shifts)} and no dims; give dims="
        )
    return m.roll(x, shifts, axis=dims)


@roll.vjp
def _(m, g, shifts, dims):
    back = tuple(-s for s in shifts) if isinstance(shifts, (tuple, list)) else -shifts
    return roll(m, g, shifts=back, dims=dims)


@op(spread="dims", cases=[case((2, 3), dims=(2, 1)), case((2,), dims=(3, 2)), case((2, 3), dims=(2,))])
def tile(m, x, *, dims):
    """x repeated dims times along each dimension."""
    return m.tile(x, tuple(dims))


@tile.vjp
def _(m, g, x_shape, dims):
    n = max(len(dims), len(x_shape))
    shape = (1,) * (n - len(x_shape)) + tuple(x_shape)
    times = (1,) * (n - len(dims)) + tuple(dims)
    split = m.reshape(g, tuple(k for pair in zip(times, shape, strict=True) for k in pair))
    return m.reshape(m.sum(split, axis=tuple(range(0, 2 * n, 2))), x_shape) if n else g


@op(
    cases=[case((2, 3), widths=((1, 0), (0, 2))), case((3,), widths=((2, 1),), value=1.5)],
    public=False,
    numpy="pad",
)
def pad_constant(m, x, *, widths, value=0.0):
    """x with a frame of a value around it: (before, after) for each dimension."""
    return m.pad(x, widths, constant_values=value)


@pad_constant.vjp
def _(m, g, x_shape, widths):
    return g[tuple(slice(a, a + n) for n, (a, _) in zip(x_shape, widths, strict=True))]


def _is_matrix(name: str, x: Any) -> None:
    if len(x.shape) < 2:
        raise RuntimeError(
            f"{name}: input tensor must have at least 2 dimensions, got shape {tuple(x.shape)}"
        )


@op(cases=[case((3, 4)), case((2, 3, 3), diagonal=1), case((3, 2), diagonal=-1)])
def tril(m, x, *, diagonal=0):
    """The lower triangle of the last two dimensions, zeros above the diagonal."""
    _is_matrix("tril", x)
    return m.where(m.tri(x.shape[-2], x.shape[-1], diagonal, dtype=bool), x, x.dtype.type(0))


@tril.vjp
def _(m, g, diagonal):
    return tril(m, g, diagonal=diagonal)


@op(cases=[case((3, 4)), case((2, 3, 3), diagonal=1), case((3, 2), diagonal=-1)])
def triu(m, x, *, diagonal=0):
    """The upper triangle of the last two dimensions, zeros below the diagonal."""
    _is_matrix("triu", x)
    return m.where(m.tri(x.shape[-2], x.shape[-1], diagonal - 1, dtype=bool), x.dtype.type(0), x)


@triu.vjp
def _(m, g, diagonal):
    return triu(m, g, diagonal=diagonal)


@op(cases=[case((2, 3)), case((2, 3), order="C")], public=False)
def clone(m, x, *, order="K"):
    """A copy in memory of its own, through which gradients flow."""
    return m.array(x, copy=True, order=order)


@clone.vjp
def _(m, g):
    return g


@op(cases=[case((2, 3), dtype="float64")], public=False, analytic=False)
def to(m, x, *, dtype):
    """x in another dtype, in memory of its own."""
    return cast(x, dtype)


@to.vjp
def _(m, g):
    return g  # the engine casts it back to x's dtype


@op(cases=[case((2, 3), (2, 3))], public=False)
def copy(m, x, src):
    """src broadcast to x's shape and in x's dtype: what an assignment makes of x."""
    return cast(m.broadcast_to(src, x.shape), x.dtype)


@copy.vjp("x")
def _(m, g):
    return m.zeros_like(g)


@copy.vjp("src")
def _(m, g):
    return g


def _through(m: Any, x: Any, views: Any) -> Any:
    for row, attrs in views:
        x = row(m, x, **attrs)
    return x


@op(cases=[
    case((2, 3), (3, 2), views=((permute, {"dims": (1, 0)}),)),
    case((2, 3), (6,), views=((permute, {"dims": (1, 0)}), (reshape, {"shape": (-1,)}))),
], public=False)  # fmt: skip
def view_scatter(m, x, src, *, views):
    """x with one view of it, reached by a chain of view ops, replaced by src: an in-place write's history."""
    places = _through(m, m.reshape(m.arange(x.size), x.shape), views)  # of a copy, a chain may be no view
    out = m.array(m.reshape(x, (-1,)), copy=True)
    out[places] = src
    return m.reshape(out, x.shape)


@view_scatter.vjp
def _(m, g, views, needs):
    seen = _through(m, g, views)
    return view_scatter(m, g, m.zeros_like(seen), views=views) if needs[0] else None, seen
