"""Parts of tensors put together, taken apart and written to: blocks, windows, diagonals, slices of a copy."""

from __future__ import annotations

import builtins
import itertools
import operator
from typing import Any

from .. import autograd, backend
from ..autograd import run, wrap
from ..op import composite
from ..tensor import Tensor, as_tensor
from .arguments import dim_of, row, tensor_of
from .creation import zeros
from .indexing import scatter_add
from .shapes import broadcast_tensors, cat, diagonal, meshgrid, pad, select, stack, tensor_split, unbind

# ---- taken apart -----------------------------------------------------------------------------------------


def _split_along(name: str, input: Any, indices_or_sections: Any, dim: int, least: int) -> tuple[Any, ...]:
    if tensor_of(name, input).ndim < least:
        raise RuntimeError(
            f"{name}: requires a tensor with at least {least} dimension(s), but got {input.ndim}"
        )
    if isinstance(indices_or_sections, int) and input.shape[dim] % builtins.max(indices_or_sections, 1):
        raise RuntimeError(f"{name}: attempted to split along dimension {dim}, but the size of the dimension {input.shape[dim]} "
                           f"is not divisible by the split_size {indices_or_sections}; see tensor_split")  # fmt: skip
    return tensor_split(input, indices_or_sections, dim)


@composite
def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Split by columns; a vector by its elements; views."""
    return _split_along("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


@composite
def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Split by rows; views."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


@composite
def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Split along the third dimension; views."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


@composite
def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of a size along a dimension, one every step, as the last dimension; a view."""
    d = dim_of("unfold", input, dimension)
    x = input if input.ndim else input.reshape(1)
    if not 0 <= size <= x.shape[d]:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {d} is {x.shape[d]} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    windows = row("unfold", x, dim=d, size=size, step=step)
    return windows if input.ndim else windows.squeeze(0)


# ---- put together ----------------------------------------------------------------------------------------


@composite(method=False)
def block_diag(*tensors: Any) -> Any:
    """Matrices along the diagonal of a larger one, zeros elsewhere; vectors are rows."""
    blocks = [x.reshape(1, -1) if x.ndim < 2 else x for x in tensors]
    if (bad := next((x for x in blocks if x.ndim > 2), None)) is not None:
        raise RuntimeError(f"block_diag: Input tensors must have 2 or fewer dimensions, got {bad.ndim}")
    width = builtins.sum(x.shape[1] for x in blocks)
    rows, before = [], 0
    for x in blocks:
        rows.append(pad(x, (before, width - before - x.shape[1])))
        before += x.shape[1]
    return cat(rows) if rows else zeros(1, 0)


@composite(method=False)
def cartesian_prod(*tensors: Any) -> Any:
    """Every combination of an element of each vector, a row each, the last running fastest."""
    if (bad := next((x for x in tensors if x.ndim != 1), None)) is not None:
        raise RuntimeError(f"cartesian_prod: Expect a 1D vector, but got shape {list(bad.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@composite
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """The combinations of r elements of a vector, a row each, in order."""
    if input.ndim != 1:
        raise RuntimeError(f"combinations: Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: Expect a non-negative number, but got {r}")
    if r == 0:
        return input[:0].clone()
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    at = list(choose(range(input.shape[0]), r))
    m = backend.module_of(input._array).m
    return input[wrap(m.asarray(at, dtype=m.int64).reshape(-1, r))]


@composite(method=False)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:  # noqa: N803
    """Powers of a vector's elements as columns, the highest first unless ``increasing``."""
    n = x.shape[-1] if N is None else operator.index(N)
    x = x if x.is_floating_point() else x.long()
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return stack([x**p for p in powers], -1) if n else x.new_empty((*x.shape, 0))


@composite
def cross(input: Any, other: Any, dim: Any = None) -> Any:
    """The vector product of three-dimensional vectors along dim (the first of size 3 unless given)."""
    a, b = broadcast_tensors(input, other)
    if dim is None:
        dim = next((i for i, n in enumerate(a.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of size 3 in input, got {list(a.shape)}")
    d = dim_of("cross", a, dim)
    if a.shape[d] != 3:
        raise RuntimeError(f"cross: inputs dimension {dim} must have length 3. Got {a.shape[d]}")
    (a0, a1, a2), (b0, b1, b2) = unbind(a, d), unbind(b, d)
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], d)


# ---- written to ------------------------------------------------------------------------------------------


@composite
def fill_diagonal_(input: Any, fill_value: Any, wrap: bool = False) -> Any:
    """The elements whose indices are all equal become the value; wrap goes on below in a tall matrix."""
    if input.ndim < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must be larger than 1, got {input.ndim}")
    if input.ndim > 2 and len(set(input.shape)) > 1:
        raise RuntimeError(
            f"fill_diagonal_: all dimensions of input must be of equal length, got {list(input.shape)}"
        )
    m = backend.module_of(input._array).m
    rows, columns = input.shape[0], input.shape[1]
    at = m.arange(rows if wrap and input.ndim == 2 else builtins.min(rows, columns))
    if wrap and input.ndim == 2 and rows > columns:  # every (columns + 1)-th element
        flat = m.arange(0, rows * columns, columns + 1)
        index = (flat // columns, flat % columns)
    else:
        index = (at[: builtins.min(input.shape)],) * input.ndim
    input[index] = fill_value
    return input


def _with_part(name: str, input: Any, src: Any, part: Any) -> Any:
    """A copy of input whose part, a view of the copy, is overwritten by src."""
    copy = row("clone", tensor_of(name, input), order="C")
    view = part(copy)
    if view.shape != src.shape:
        raise RuntimeError(f"{name}: expected src to have a size equal to the slice of self: {list(view.shape)}, got "
                           f"{list(src.shape)}")  # fmt: skip
    view.copy_(src)
    return copy


@composite
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """input with one slice along dim replaced."""
    return _with_part("select_scatter", input, src, lambda x: select(x, dim, index))


@composite
def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """input with start : end : step along dim replaced."""
    d = dim_of("slice_scatter", input, dim)
    return _with_part(
        "slice_scatter", input, src, lambda x: x[(slice(None),) * d + (slice(start, end, step),)]
    )


@composite
def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """input with a diagonal replaced."""
    return _with_part("diagonal_scatter", input, src, lambda x: diagonal(x, offset, dim1, dim2))


def _scatter_reduced(
    m: Any, x: Any, index: Any, src: Any, *, dim: int, reduce: str, include_self: bool
) -> Any:
    combine = {"prod": m.multiply, "amax": m.maximum, "amin": m.minimum}[reduce]
    at = list(m.ix_(*(m.arange(n) for n in index.shape)))
    at[dim] = index
    out = x.copy()
    if not include_self:
        kind = m.finfo(x.dtype) if x.dtype.kind == "f" else m.iinfo(x.dtype)
        least, most = (-m.inf, m.inf) if x.dtype.kind == "f" else (kind.min, kind.max)
        out[tuple(at)] = {"prod": 1, "amax": least, "amin": most}[reduce]
    combine.at(out, tuple(at), src[tuple(slice(n) for n in index.shape)])
    return out


@composite(inplace=True)
def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """input with src combined into it where index says, along dim: "sum", "prod", "mean", "amax" or "amin".

    Without include_self what stood there doesn't count. The gradient of an extremum is shared by those equal
    to it; "prod" has none.
    """
    d = dim_of("scatter_reduce", input, dim)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"scatter_reduce: reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    if not input.ndim:
        x, i, s = input.reshape(1), index.reshape(-1), src.reshape(-1)
        return scatter_reduce(x, 0, i, s, reduce, include_self=include_self).reshape(())
    if src.dtype is not input.dtype:
        raise RuntimeError(
            f"scatter_reduce: Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}"
        )
    src = src[tuple(slice(n) for n in index.shape)]
    hit = scatter_add(input.new_zeros(input.shape), d, index, src.new_ones(src.shape))
    start = input if include_self else row("where", hit > 0, 0, input)
    if reduce in ("sum", "mean"):
        total = scatter_add(start, d, index, src)
        if reduce == "sum":
            return total
        count = row("clamp", hit + int(include_self), 1, None)
        return total / count if input.is_floating_point() else total.div(count, rounding_mode="floor")
    m = backend.module_of(input._array).m
    arrays = input._array, index._array, src._array
    found = wrap(run(_scatter_reduced, m, *arrays, dim=d, reduce=reduce, include_self=include_self))
    if not (autograd.is_grad_enabled() and (input.requires_grad or src.requires_grad)):
        return found
    if reduce == "prod":
        raise RuntimeError(
            "scatter_reduce: reduce='prod' has no gradient; detach() the operands, or add logarithms"
        )
    ours = (input.detach() == found) & ((hit == 0) | include_self)
    theirs = (src.detach() == found.gather(d, index)).to(src.dtype)
    ties = scatter_add(ours.to(input.dtype), d, index, theirs)
    share = 1 / row("clamp", ties, 1, None)
    shared = scatter_add(
        row("where", ours, input, 0) * share, d, index, src * theirs * share.gather(d, index)
    )
    return found + (shared - shared.detach())


@composite
def sum_to_size(input: Any, *size: Any) -> Any:
    """Summed over the dimensions that size lacks or has as 1: what broadcasting from size would undo."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    lead = input.ndim - len(shape)
    if lead < 0 or builtins.any(n not in (1, k) for n, k in zip(shape, input.shape[lead:], strict=True)):
        raise RuntimeError(f"sum_to_size: size {list(shape)} is not expandable to size {list(input.shape)}")
    ones = [i + lead for i, n in enumerate(shape) if n == 1 and input.shape[i + lead] != 1]
    dims = (*range(lead), *ones)
    return (row("sum", input, dim=dims) if dims else input).reshape(shape)


@composite(inplace=True)
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """input with source's elements written (or added) at indices into the flattened tensor."""
    flat, at = input.reshape(-1), index.reshape(-1)
    src = source if isinstance(source, Tensor) else as_tensor(source)
    if src.numel() != at.numel():
        raise IndexError(f"put: Expected source and index to have the same number of elements, but got {src.numel()} and "
                         f"{at.numel()}")  # fmt: skip
    written = row("setitem", flat, src.reshape(-1).to(input.dtype), index=at._array, accumulate=accumulate)
    return written.reshape(input.shape)
