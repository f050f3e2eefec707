"""How functions read their arguments: dims, sizes, dtypes, PyTorch's named results. No function of the public API."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import dtypes, errors
from ..autograd import apply
from ..inplace import rewrite
from ..op import OPS
from ..tensor import Tensor

NONE: dict[str, Any] = {}


def row(name: str, *inputs: Any, **attrs: Any) -> Any:
    op = OPS[name]
    return apply(op, inputs, {**op.attrs, **attrs} if attrs or op.attrs else NONE)


def tensor_of(name: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}; use minigrad.tensor"
        )
    return x


def dim_of(name: str, x: Any, dim: Any, extra: int = 0) -> int:
    """dim counted from the front, refused where x has none such."""
    errors.check_dim(name, dim)
    try:
        d = operator.index(dim)
    except TypeError:
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}") from None
    n = builtins.max(tensor_of(name, x).ndim + extra, 1)
    if not -n <= d < n:
        raise errors.dim_out_of_range(name, d, n)
    return d % n


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)``, ``f((2, 3))`` and ``f(Size)`` alike."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return tuple(operator.index(n) for n in sizes)


def factor_of(x: Tensor, value: Any) -> Any:
    """A number that multiplies x: for integers PyTorch drops its fraction, for booleans all but whether it is 0."""
    category = x.dtype.category
    return value if category == 2 else int(value) if category else bool(value)


def cast(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.to(dtype)


def floating(x: Tensor) -> Tensor:
    return x if x.dtype.category == 2 else x.to(dtypes.get_default_dtype())


def placed(name: str, input: Any, inplace: bool, compute: Callable[[Any], Any]) -> Any:
    """compute(input), written into input's memory if ``inplace``."""
    return rewrite(input, compute, name) if inplace else compute(input)


def pair(name: str) -> Any:
    """PyTorch's named result of two tensors."""

    class Result(NamedTuple):
        values: Any
        indices: Any

        def __repr__(self) -> str:
            return f"minigrad.return_types.{name}(\nvalues={self[0]!r},\nindices={self[1]!r})"

    Result.__name__ = Result.__qualname__ = name
    return Result
