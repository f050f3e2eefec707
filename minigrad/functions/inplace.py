"""Functions that write into their first argument and have no other form; the second names of functions."""

from __future__ import annotations

from typing import Any

from .. import backend, dtypes
from ..autograd import wrap
from ..inplace import check_writable, rewrite, write
from ..op import OPS, alias, composite
from ..tensor import Tensor
from .arguments import row
from .factory import number_of
from .shapes import squeeze, swapped, t, unsqueeze


@composite
def fill_(input: Any, value: Any) -> Any:
    """Every element becomes the value."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"fill_: fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions"
        )
    check_writable(input, "fill_")
    if not isinstance(value, Tensor):
        value = dtypes.fitted("fill_", number_of("fill_", "value", value), input.dtype)
        value = wrap(backend.module_of(input._array).m.asarray(value, dtype=input._array.dtype))
    return write(input, row("copy", input, value), "fill_")


@composite
def zero_(input: Any) -> Any:
    """Every element becomes 0."""
    return fill_(input, 0)


@composite
def copy_(input: Any, src: Any, non_blocking: bool = False) -> Any:
    """The elements of src, broadcast and converted."""
    if src is input:
        return input
    check_writable(input, "copy_")
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if src.device != input.device:
        src = src.to(input.device)
    if src.ndim > input.ndim:
        raise RuntimeError(f"copy_: output with shape {list(input.shape)} doesn't match the broadcast shape of "
                           f"src, {list(src.shape)}; index or squeeze src first")  # fmt: skip
    return write(input, row("copy", input, src), "copy_")


def _reshaped_in_place(name: str, input: Any, new: Any, order: tuple[int, ...] | None = None) -> Any:
    """The same tensor object seeing the same memory in the shape of ``new``: reshaped, or two dimensions swapped.

    Its older views start from the shape that it had, its newer ones from the new shape: a base keeps the way
    back to its first shape and the way from there.
    """
    check_writable(input, name, memory=False)
    there, back = (
        (OPS["permute"], {"dims": order}) if order else (OPS["reshape"], {"shape": tuple(x.shape)})
        for x in (new, input)
    )
    if input._base is None:
        input._undo = (back, *input._undo)
    if input._base is None or input._views is not None:
        input._views = (*(input._views or ()), there)
    input._array, input._node, input._index = new._array, new._node, new._index
    input._writes[0] += 1
    input._seen = input._writes[0]
    return input


@composite
def unsqueeze_(input: Any, dim: int) -> Any:
    """In-place form of unsqueeze."""
    return _reshaped_in_place("unsqueeze_", input, unsqueeze(input, dim))


@composite
def squeeze_(input: Any, dim: Any = None) -> Any:
    """In-place form of squeeze."""
    return _reshaped_in_place("squeeze_", input, squeeze(input, dim))


@composite
def transpose_(input: Any, dim0: int, dim1: int) -> Any:
    """In-place form of transpose."""
    order = swapped("transpose_", input, dim0, dim1)
    return _reshaped_in_place("transpose_", input, row("permute", input, dims=order), order)


@composite
def t_(input: Any) -> Any:
    """In-place form of t."""
    return _reshaped_in_place("t_", input, t(input), tuple(range(input.ndim))[::-1])


@composite(public=False)
def tril_(input: Any, diagonal: int = 0) -> Any:
    """In-place form of tril."""
    return rewrite(input, lambda x: row("tril", x, diagonal=diagonal), "tril_")


@composite(public=False)
def triu_(input: Any, diagonal: int = 0) -> Any:
    """In-place form of triu."""
    return rewrite(input, lambda x: row("triu", x, diagonal=diagonal), "triu_")


for _new, _old in {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg", "absolute": "abs",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "clip": "clamp",
    "fix": "trunc", "swapaxes": "transpose", "swapdims": "transpose", "moveaxis": "movedim", "concat": "cat",
    "concatenate": "cat", "row_stack": "vstack", "ger": "outer",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "trapz": "trapezoid",
}.items():  # fmt: skip
    alias(_new, _old)
