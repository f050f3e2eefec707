"""Views, joining, splitting, padding: shapes worked out from PyTorch's arguments."""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Sequence
from typing import Any

from .. import backend, dtypes, errors
from ..autograd import run, wrap
from ..op import composite
from ..tensor import Size, Tensor
from .arguments import dim_of, row, sizes_of, tensor_of
from .factory import check_memory_format, contiguous_format


def _read_as(m: Any, array: Any, dtype: Any) -> Any:
    return array.view(dtype)


@composite
def view(input: Any, *shape: Any) -> Any:
    """The same memory in another shape, or read as another dtype of the same size."""
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        if shape[0].itemsize != input.dtype.itemsize:
            raise RuntimeError(
                f"view: expected a dtype of {input.dtype.itemsize} bytes, got {shape[0]}; use .to() to convert"
            )
        input._seen_by_tracer()
        seen = wrap(
            run(_read_as, backend.module_of(input._array).m, input._array, dtype=shape[0].numpy_dtype)
        )
        seen._writes = input._writes
        return seen
    new = row("reshape", input, shape=sizes_of(shape))
    if new._base is None and new.numel():
        raise RuntimeError(f"view: view size is not compatible with input tensor's size {list(input.shape)} and stride "
                           f"{input.stride()} (at least one dimension spans across two contiguous subspaces). Use "
                           f".reshape(...) instead")  # fmt: skip
    return new


@composite
def view_as(input: Any, other: Any) -> Any:
    """input.view(other.shape)."""
    return view(input, other.shape)


@composite
def reshape_as(input: Any, other: Any) -> Any:
    """input.reshape(other.shape)."""
    return row("reshape", input, shape=tuple(other.shape))


@composite
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions swapped; a view."""
    return row("permute", input, dims=swapped("transpose", input, dim0, dim1))


def swapped(name: str, input: Any, dim0: int, dim1: int) -> tuple[int, ...]:
    """The order of input's dimensions with two of them swapped."""
    a, b = dim_of(name, input, dim0), dim_of(name, input, dim1)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return tuple(order)


@composite
def t(input: Any) -> Any:
    """The transpose of a matrix; vectors and numbers as they are."""
    if input.ndim > 2:
        raise RuntimeError(
            f"t: t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D; use .mT or transpose"
        )
    return row("permute", input, dims=tuple(range(input.ndim))[::-1])


@composite
def adjoint(input: Any) -> Any:
    """The last two dimensions swapped."""
    return transpose(input, -2, -1)


@composite
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved from source to destination, the others in order; a view."""
    sources = [
        dim_of("movedim", input, d) for d in (source if isinstance(source, (tuple, list)) else (source,))
    ]
    to = [
        dim_of("movedim", input, d)
        for d in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(sources) != len(to) or len(set(sources)) != len(sources) or len(set(to)) != len(to):
        raise RuntimeError(
            f"movedim: expected distinct source and destination dims of the same number, got {source} and {destination}"
        )
    rest = iter([d for d in range(input.ndim) if d not in sources])
    order = [sources[to.index(i)] if i in to else next(rest) for i in range(input.ndim)]
    return row("permute", input, dims=tuple(order))


@composite
def squeeze(input: Any, dim: Any = None) -> Any:
    """Dimensions of size 1 removed: all, one, or several; a view."""
    shape = input.shape
    if dim is None:
        gone = {i for i, n in enumerate(shape) if n == 1}
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        gone = {d for d in (dim_of("squeeze", input, d) for d in dims) if shape and shape[d] == 1}
    return row("squeeze", input, dim=tuple(sorted(gone)))


@composite
def unsqueeze(input: Any, dim: int) -> Any:
    """A dimension of size 1 put in at dim; a view."""
    return row("unsqueeze", input, dim=dim_of("unsqueeze", input, dim, extra=1))


@composite
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Dimensions start_dim … end_dim joined into one."""
    a, b = dim_of("flatten", input, start_dim), dim_of("flatten", input, end_dim)
    if a > b:
        raise RuntimeError("flatten: flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    return row(
        "reshape", input, shape=(*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]) if shape else (1,)
    )


@composite
def ravel(input: Any) -> Any:
    """One dimension."""
    return row("reshape", input, shape=(input.numel(),))


@composite
def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """One dimension split into several; one of the sizes may be -1."""
    d = dim_of("unflatten", input, dim)
    sizes, n = tuple(sizes), input.shape[d]
    if -1 in sizes:
        known = -math.prod(sizes)
        sizes = tuple(n // known if s == -1 and known > 0 else s for s in sizes)
    if math.prod(sizes) != n:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({n})"
        )
    return row("reshape", input, shape=(*input.shape[:d], *sizes, *input.shape[d + 1 :]))


@composite
def expand(input: Any, *sizes: Any) -> Any:
    """The tensor broadcast to a size, without copying; -1 keeps a size; a view."""
    return row("broadcast_to", input, shape=sizes_of(sizes))


@composite
def expand_as(input: Any, other: Any) -> Any:
    """input.expand(other.shape)."""
    return row("broadcast_to", input, shape=tuple(other.shape))


@composite
def repeat(input: Any, *repeats: Any) -> Any:
    """The tensor repeated along each dimension."""
    times = sizes_of(repeats)
    if len(times) < input.ndim:
        raise RuntimeError(f"repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of "
                           f"tensor: got {len(times)} for {input.ndim}")  # fmt: skip
    return row("tile", input, dims=times)


@composite
def repeat_interleave(input: Any, repeats: Any = None, dim: Any = None, *, output_size: Any = None) -> Any:
    """Each element (of the flattened tensor, or along dim) repeated; of repeats alone, each position that often."""
    if repeats is None:
        input, repeats = wrap(backend.module_of(input._array).m.arange(input.numel())), input
    x, d = (input.reshape(-1), 0) if dim is None else (input, dim_of("repeat_interleave", input, dim))
    m = backend.module_of(x._array).m
    counts = repeats
    if isinstance(repeats, Tensor):
        repeats._on_host("repeat_interleave by a tensor")
        counts = repeats._array
    if counts < 0 if isinstance(counts, int) else bool((counts < 0).any()):
        raise RuntimeError("repeat_interleave: repeats can not be negative")
    index = m.repeat(m.arange(x.shape[d]), counts)
    return row("index_select", x, wrap(index), dim=d)


def _list_of(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, Tensor) or not hasattr(tensors, "__iter__"):
        raise TypeError(
            f"{name}(): argument 'tensors' must be tuple of Tensors, not {type(tensors).__name__}"
        )
    found = list(tensors)
    if not found:
        raise (ValueError if name == "cat" else RuntimeError)(f"{name}: expected a non-empty list of Tensors")
    for i, x in enumerate(found):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
    return found


@composite(method=False)
def cat(tensors: Any, dim: int = 0) -> Any:
    """The tensors one after another along dim; dtypes promote."""
    found = _list_of("cat", tensors)
    solid = [x for x in found if x._array.shape != (0,)] or found[:1]  # PyTorch skips the empty vector
    d = dim_of("cat", solid[0], dim)
    shape = solid[0].shape
    for i, x in enumerate(solid):
        if not x.ndim:
            raise RuntimeError(
                f"cat: zero-dimensional tensor (at position {i}) cannot be concatenated; use stack"
            )
        if x.ndim != len(shape) or builtins.any(
            a != b for k, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if k != d
        ):
            raise RuntimeError(f"cat: Sizes of tensors must match except in dimension {d}. Expected {list(shape)} but got "
                               f"{list(x.shape)} for tensor number {i} in the list")  # fmt: skip
    return row("cat", *_promoted(solid), dim=d)


def _promoted(tensors: list[Any]) -> list[Any]:
    """All in the dtype that they promote to."""
    first = tensors[0].dtype
    if builtins.all(x.dtype is first for x in tensors):
        return tensors
    kind = dtypes.result_type((x.dtype, 2) for x in tensors)
    return [x.to(kind) for x in tensors]


@composite(method=False)
def stack(tensors: Any, dim: int = 0) -> Any:
    """The tensors side by side along a new dimension."""
    found = _list_of("stack", tensors)
    d = dim_of("stack", found[0], dim, extra=1)
    for i, x in enumerate(found):
        if x.shape != found[0].shape:
            raise RuntimeError(f"stack: stack expects each tensor to be equal size, but got {list(found[0].shape)} at "
                               f"entry 0 and {list(x.shape)} at entry {i}")  # fmt: skip
    return row("cat", *(unsqueeze(x, d) for x in _promoted(found)), dim=d)


def _at_least(x: Any, n: int) -> Any:
    if x.ndim >= n:
        return x
    return (
        x.reshape((1,))
        if n == 1
        else unsqueeze(_at_least(x, n - 1), 0)
        if n == 2
        else unsqueeze(_at_least(x, 2), 2)
    )


def _atleast(n: int, tensors: tuple[Any, ...]) -> Any:
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    made = tuple(_at_least(x, n) for x in found)
    return made[0] if len(tensors) == 1 and isinstance(tensors[0], Tensor) else made


@composite(method=False)
def atleast_1d(*tensors: Any) -> Any:
    """Numbers as vectors of one."""
    return _atleast(1, tensors)


@composite(method=False)
def atleast_2d(*tensors: Any) -> Any:
    """Vectors as matrices of one row."""
    return _atleast(2, tensors)


@composite(method=False)
def atleast_3d(*tensors: Any) -> Any:
    """Vectors as (1, n, 1), matrices as (m, n, 1)."""
    return _atleast(3, tensors)


@composite(method=False)
def hstack(tensors: Any) -> Any:
    """cat along columns."""
    found = [_at_least(x, 1) for x in _list_of("hstack", tensors)]
    return cat(found, 0 if found[0].ndim == 1 else 1)


@composite(method=False)
def vstack(tensors: Any) -> Any:
    """cat along rows."""
    return cat([_at_least(x, 2) for x in _list_of("vstack", tensors)], 0)


@composite(method=False)
def dstack(tensors: Any) -> Any:
    """cat along the third dimension."""
    return cat([_at_least(x, 3) for x in _list_of("dstack", tensors)], 2)


@composite(method=False)
def column_stack(tensors: Any) -> Any:
    """Vectors as columns, side by side."""
    return hstack([x.reshape(x.numel(), 1) if x.ndim <= 1 else x for x in _list_of("column_stack", tensors)])


@composite
def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """input[start : start + length] along dim; a view."""
    d, start, length = dim_of("narrow", input, dim), int(start), int(length)
    if not input.ndim:
        raise RuntimeError("narrow: narrow() cannot be applied to a 0-dim tensor")
    n = input.shape[d]
    start = start + n if start < 0 else start
    if length < 0 or not 0 <= start <= n or start + length > n:
        raise RuntimeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})")
    return input[(slice(None),) * d + (slice(start, start + length),)]


@composite
def select(input: Any, dim: int, index: int) -> Any:
    """One slice along dim; a view."""
    d = dim_of("select", input, dim)
    if not input.ndim:
        raise IndexError("select: select() cannot be applied to a 0-dim tensor")
    return input[(slice(None),) * d + (int(index),)]


@composite
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Slices of a size along dim (the last may be smaller), or of the sizes listed; views."""
    d = dim_of("split", tensor, dim)
    n = tensor.shape[d] if tensor.ndim else 1
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [int(s) for s in split_size_or_sections]
        if builtins.sum(sizes) != n or builtins.any(s < 0 for s in sizes):
            raise RuntimeError(f"split: split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
                               f"dimension {d}), but got split_sizes={sizes}")  # fmt: skip
    else:
        size = int(split_size_or_sections)
        if size < 0 or size == 0 and n:
            raise RuntimeError(f"split: split expects split_size be positive, but got split_size={size}")
        sizes = [builtins.min(size, n - i) for i in range(0, n, size)] if n else [0]
    starts = [builtins.sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(tensor, d, a, k) for a, k in zip(starts, sizes, strict=True))


@composite
def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> tuple[Any, ...]:
    """Slices of the sizes listed along dim."""
    return split(input, list(split_sizes), dim)


@composite
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most this many slices of equal size along dim; views."""
    if chunks <= 0:
        raise RuntimeError(f"chunk: chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = dim_of("chunk", input, dim)
    n = input.shape[d]
    if not n:
        return tuple(narrow(input, d, 0, 0) for _ in range(chunks))
    return split(input, -(-n // chunks), d)


@composite
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Slices along dim, as equal as can be, or cut at the indices."""
    d = dim_of("tensor_split", input, dim)
    n = input.shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        cuts = [i * (n // k) + builtins.min(i, n % k) for i in range(k + 1)]
    else:
        cuts = [
            0,
            *(builtins.min(builtins.max(int(i) + (n if i < 0 else 0), 0), n) for i in indices_or_sections),
            n,
        ]
    return tuple(narrow(input, d, a, builtins.max(b - a, 0)) for a, b in itertools.pairwise(cuts))


@composite
def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """All slices along dim, without that dimension; views."""
    d = dim_of("unbind", input, dim)
    if not input.ndim:
        raise IndexError("unbind: dimension specified as 0 but tensor has no dimensions")
    return tuple(input[(slice(None),) * d + (i,)] for i in range(input.shape[d]))


@composite
def fliplr(input: Any) -> Any:
    """Columns backwards."""
    return row("flip", input, dims=(1,))


@composite
def flipud(input: Any) -> Any:
    """Rows backwards."""
    return row("flip", input, dims=(0,))


@composite
def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Rotated by k quarter turns in the plane of two dimensions, from the first towards the second."""
    a, b = (dim_of("rot90", input, d) for d in dims)
    if a == b:
        raise RuntimeError(f"rot90: expected two different dimensions, got dims={tuple(dims)}")
    if k % 4 == 2:
        return row("flip", input, dims=(a, b))
    turned = clone(input) if k % 4 == 0 else row("flip", input, dims=(b if k % 4 == 1 else a,))
    return transpose(turned, a, b) if k % 2 else turned


@composite
def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements whose indices along dim1 and dim2 differ by offset, as the last dimension; a view."""
    a, b = dim_of("diagonal", input, dim1), dim_of("diagonal", input, dim2)
    if a == b:
        raise RuntimeError(f"diagonal: diagonal dimensions cannot be identical {dim1}, {dim2}")
    return row("diagonal", input, offset=offset, dim1=a, dim2=b)


@composite
def diag(input: Any, diagonal: int = 0) -> Any:
    """A vector as a matrix's diagonal, or a matrix's diagonal as a vector."""
    if input.ndim == 1:
        n = input.shape[0] + builtins.abs(diagonal)
        return row("undiagonal", input, shape=(n, n), offset=diagonal, dim1=0, dim2=1)
    if input.ndim != 2:
        raise RuntimeError(f"diag: diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return row("clone", row("diagonal", input, offset=diagonal, dim1=0, dim2=1))


@composite
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The last dimension on the diagonal of the plane dim1, dim2 of the result, zeros elsewhere."""
    a, b = (dim_of("diag_embed", input, d, extra=1) for d in (dim1, dim2))
    if a == b:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    n, rest = input.shape[-1] + builtins.abs(offset), iter(input.shape[:-1])
    shape = tuple(n if d in (a, b) else next(rest) for d in range(input.ndim + 1))
    return row("undiagonal", input, shape=shape, offset=offset, dim1=a, dim2=b)


@composite
def diagflat(input: Any, offset: int = 0) -> Any:
    """All elements, in order, on a matrix's diagonal."""
    return diag(ravel(input), offset)


@composite
def trace(input: Any) -> Any:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return row("sum", diagonal(input))


@composite(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors expanded to their common shape."""
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return tuple(expand(x, shape) for x in tensors)


@composite(method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that shapes broadcast to."""
    out: tuple[int, ...] = ()
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if clash := errors.broadcast_clash(out, shape):
            raise RuntimeError(f"broadcast_shapes: Shape mismatch: objects cannot be broadcast to a single shape: sizes "
                               f"{clash[0]} and {clash[1]} at dimension {clash[2]} of {[tuple(s) if not isinstance(s, int) else s for s in shapes]}")  # fmt: skip
        n = builtins.max(len(out), len(shape))
        a, b = (1,) * (n - len(out)) + out, (1,) * (n - len(shape)) + shape
        out = tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))
    return Size(out)


@composite(method=False)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinates of a grid from the coordinates of its axes."""
    axes = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(axes) > 1
    if swap:
        axes[0], axes[1] = axes[1], axes[0]
    shape = tuple(x.numel() for x in axes)
    grids = [
        expand(x.reshape(tuple(shape[i] if k == i else 1 for k in range(len(axes)))), shape)
        for i, x in enumerate(axes)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@composite(method=False)
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    """A frame around the last dimensions, (left, right, top, bottom, …); negative widths crop.

    Modes: "constant", "reflect", "replicate", "circular".
    """
    widths = tuple(int(w) for w in pad)
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise RuntimeError(f"pad: Padding length must be even and at most twice the number of dimensions of the input, got "
                           f"{len(widths)} widths for {input.ndim} dimensions")  # fmt: skip
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2], strict=True))[
        ::-1
    ]
    if mode == "constant":
        for d, (a, b) in enumerate(pairs):
            if a < 0 or b < 0:
                n = input.shape[d]
                if n + a + b < 0:
                    raise RuntimeError(
                        f"pad: narrow(): length must be non-negative: widths {(a, b)} crop more than size {n}"
                    )
                input = narrow(input, d, builtins.max(-a, 0), n - builtins.max(-a, 0) - builtins.max(-b, 0))
        grown = tuple((builtins.max(a, 0), builtins.max(b, 0)) for a, b in pairs)
        return (
            row("pad_constant", input, widths=grown, value=dtypes.fitted("pad", value or 0.0, input.dtype))
            if builtins.any(builtins.any(p) for p in grown)
            else clone(input)
        )
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(
            f"pad: Unrecognised padding mode {mode}; expected constant, reflect, replicate or circular"
        )
    if value is not None:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    m = backend.module_of(input._array).m
    for d, (a, b) in enumerate(pairs):
        n = input.shape[d]
        if not (a or b):
            continue
        limit = n - 1 if mode == "reflect" else n
        if mode != "replicate" and builtins.max(a, b) > limit or not n:
            raise RuntimeError(f"pad: Padding size should be less than the corresponding input dimension, but got: padding "
                               f"({a}, {b}) at dimension {d} of input {list(input.shape)}")  # fmt: skip
        at = m.arange(-a, n + b)
        if mode == "reflect":
            at = n - 1 - m.abs(n - 1 - m.abs(at))
        else:
            at = m.clip(at, 0, n - 1) if mode == "replicate" else at % n
        input = row("index_select", input, wrap(at), dim=d)
    return input


@composite
def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy in memory of its own, through which gradients flow; laid out as input unless contiguous_format."""
    check_memory_format("clone", memory_format)
    return row("clone", tensor_of("clone", input), order="C" if memory_format is contiguous_format else "K")
