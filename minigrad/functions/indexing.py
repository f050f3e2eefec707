"""Gather, scatter, masks and one-hot in PyTorch's argument forms."""

from __future__ import annotations

from typing import Any

from .. import backend, dtypes
from ..autograd import run, wrap
from ..op import composite
from ..tensor import Tensor, as_tensor
from .arguments import dim_of, factor_of, row, tensor_of
from .factory import number_of
from .shapes import broadcast_shapes, broadcast_tensors, expand, unbind


@composite
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so along the others."""
    return row("gather", input, index, dim=dim_of("gather", input, dim))


@composite
def take_along_dim(input: Any, indices: Any, dim: Any = None) -> Any:
    """gather with the other dimensions broadcast, and negative indices from the end; of the flattened tensor without dim."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    d = dim_of("take_along_dim", input, dim)
    a = [1 if i == d else n for i, n in enumerate(input.shape)]
    b = [1 if i == d else n for i, n in enumerate(indices.shape)]
    shape = broadcast_shapes(a, b)
    ours = tuple(input.shape[d] if i == d else n for i, n in enumerate(shape))
    theirs = tuple(indices.shape[d] if i == d else n for i, n in enumerate(shape))
    size = input.shape[d]
    counted = row("where", (indices < 0) & (indices >= -size), indices + size, indices)  # from the end
    return gather(expand(input, ours), d, expand(counted, theirs))


@composite
def take(input: Any, index: Any) -> Any:
    """Elements of the flattened tensor; negative indices count from its end."""
    flat, at = input.reshape(-1), index.reshape(-1)
    at = row("where", at < 0, at + flat.shape[0], at)
    return row("index_select", flat, at, dim=0).reshape(index.shape)


def _scattered(name: str, input: Any, dim: int, index: Any, src: Any) -> tuple[int, Any]:
    d = dim_of(name, input, dim)
    if isinstance(src, (bool, int, float)):
        m = backend.module_of(input._array).m
        src = wrap(m.full(index._array.shape, src, dtype=input._array.dtype))
    if src.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}"
        )
    return d, src


@composite(inplace=True)
def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Any:
    """input with src (or a value) written where index says, along dim; reduce "add" or "multiply" combines."""
    d, src = _scattered("scatter", input, dim, index, src if value is None else value)
    if not input.ndim:
        return scatter(input.reshape(1), 0, index.reshape(-1), src.reshape(-1), reduce=reduce).reshape(())
    if reduce is None:
        return row("scatter_write", input, index, src, dim=d)
    if reduce == "add":
        return row("scatter_add", input, index, src, dim=d)
    if reduce != "multiply":
        raise RuntimeError(f"scatter: reduce argument must be either add or multiply, got {reduce!r}")
    if src.requires_grad:
        raise RuntimeError(
            "scatter: reduce='multiply' has no gradient by src; detach() it, or multiply gathered parts"
        )
    m = backend.module_of(input._array).m
    return input * wrap(run(_factors, m, input._array, index._array, src._array, dim=d))


def _factors(m: Any, x: Any, index: Any, src: Any, dim: int) -> Any:
    """What each element of x is multiplied by: the product of the elements of src that index sends there."""
    out, at = m.ones_like(x), list(m.ix_(*(m.arange(n) for n in index.shape)))
    at[dim] = index
    m.multiply.at(out, tuple(at), src[tuple(slice(n) for n in index.shape)])
    return out


@composite(inplace=True)
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """input with src added where index says, along dim."""
    d, src = _scattered("scatter_add", input, dim, index, src)
    return row("scatter_add", input, index, src, dim=d)


@composite
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices at the given positions along dim."""
    if index.ndim > 1:
        raise IndexError(f"index_select: Index is supposed to be a vector, got {index.ndim} dimensions")
    return row("index_select", input, index.reshape(-1), dim=dim_of("index_select", input, dim))


@composite(inplace=True)
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """input with alpha · source added, slice by slice, at the given positions along dim."""
    return row(
        "index_add", input, index, source, dim=dim_of("index_add", input, dim), alpha=factor_of(input, alpha)
    )


def _at_positions(name: str, input: Any, dim: int, index: Any) -> tuple[Any, ...]:
    return (slice(None),) * dim_of(name, input, dim) + (index._array,)


@composite(inplace=True)
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """input with the slices at the given positions along dim replaced by source's."""
    size = input.shape[dim] if input.ndim else 1
    if index.numel() and int(index.min()) < 0:  # which index_fill counts from the end
        raise IndexError(f"index_copy: index {int(index.min())} is out of bounds for dimension {dim} with size {size}; "
                         f"expected 0 ≤ index < {size}")  # fmt: skip
    return row("setitem", input, source, index=_at_positions("index_copy", input, dim, index))


@composite(inplace=True)
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """input with the slices at the given positions along dim filled with a value."""
    filled = as_tensor(value, dtype=input.dtype, device=input.device)
    return row("setitem", input, filled, index=_at_positions("index_fill", input, dim, index))


@composite(inplace=True)
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """input with values written (or added) at indices, a tuple of index tensors."""
    raw = tuple(i if i is None else i._array for i in indices)
    at = tuple(slice(None) if i is None else i for i in raw)
    return row(
        "setitem",
        input,
        as_tensor(values, dtype=input.dtype, device=input.device),
        index=at,
        accumulate=accumulate,
    )


@composite(inplace=True)
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """value where the mask holds, input elsewhere."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"masked_fill: masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s)")  # fmt: skip
    if not isinstance(value, Tensor):
        kind = tensor_of("masked_fill", input).dtype
        value = dtypes.fitted("masked_fill", number_of("masked_fill", "value", value), kind)
    return row("masked_fill", input, mask, value)


@composite(inplace=True)
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """input with the elements of source, in order, where the mask holds."""
    return row("masked_scatter", input, mask, source)


@composite
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask holds, as a vector."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}; compare first")
    x, where_ = broadcast_tensors(input, mask)
    return x[where_]


@composite
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that aren't zero: a row each, or a tuple of a vector for each dimension."""
    if as_tuple and not input.ndim:
        input = input.reshape(1)
    found = row("argwhere", input)
    return unbind(found, 1) if as_tuple else found


@composite
def argwhere(input: Any) -> Any:
    """The indices of the elements that aren't zero, a row each."""
    return row("argwhere", input)


@composite(method=False)
def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """A 1 at each class's position, zeros elsewhere, in a new last dimension."""
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot: one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}; "
                           f"convert with .long()")  # fmt: skip
    if num_classes == -1:
        if not tensor.numel():
            raise RuntimeError(
                "one_hot: Can not infer total number of classes from empty tensor; give num_classes"
            )
        num_classes = int(tensor.max()) + 1
    if tensor.numel() and (int(tensor.min()) < 0 or int(tensor.max()) >= num_classes):
        raise RuntimeError(f"one_hot: Class values must be smaller than num_classes and not negative: expected "
                           f"0 ≤ class < {num_classes}, got {int(tensor.min())} … {int(tensor.max())}")  # fmt: skip
    return row("one_hot", tensor, num_classes=num_classes).long()
