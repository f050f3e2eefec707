"""How the functions that make tensors read ``size``, ``dtype``, ``device``, ``out`` and kin. None of the public API.

The functions themselves are in ``creation.py`` and ``random.py``.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import autograd, backend, dtypes, errors
from ..autograd import run
from ..inplace import check_writable, write
from ..tensor import Tensor, wrap
from .arguments import tensor_of


class Option:
    """A named constant of PyTorch's that says how memory is laid out: ``strided``, ``preserve_format``."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name

    def __repr__(self) -> str:
        return f"minigrad.{self.name}"


strided = Option("layout", "strided")
contiguous_format = Option("memory_format", "contiguous_format")
preserve_format = Option("memory_format", "preserve_format")


def shape_of(name: str, size: tuple[Any, ...], named: dict[str, Any] | None = None) -> tuple[int, ...]:
    """The shape of ``f(2, 3)``, ``f((2, 3))`` and ``f(size=(2, 3))``; other names are refused."""
    named = dict(named or {})
    if "size" in named and not size:
        size = (named.pop("size"),)
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(named))!r}")
    if not size:
        raise TypeError(f"{name}() missing 1 required positional arguments: 'size'")
    nested = len(size) == 1 and isinstance(size[0], (tuple, list))
    shape = []
    for n in size[0] if nested else size:
        try:
            if isinstance(n, bool) and not nested:
                raise TypeError
            shape.append(operator.index(n))
        except TypeError:
            raise TypeError(
                f"{name}(): argument 'size' must be tuple of ints, not {type(n).__name__}"
            ) from None
    if any(n < 0 for n in shape):
        negative = next(n for n in shape if n < 0)
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension {negative}: {shape}")
    return tuple(shape)


def place(
    name: str, out: Any, dtype: Any, device: Any, *, layout: Any = None, pin_memory: bool = False,
    default: dtypes.dtype | None = None,
) -> tuple[dtypes.dtype, backend.ArrayModule]:  # fmt: skip
    """The dtype and array module of a new tensor: those asked for, out's, or the default ones."""
    _options(name, layout, pin_memory)
    kind = None if dtype is None else _dtype(name, dtype)
    if out is None:
        return kind or default or dtypes.get_default_dtype(), backend.module_named(device)
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    module = backend.module_of(out._array)
    if kind is not None and kind is not out.dtype:
        raise RuntimeError(
            f"{name}: dtype {kind.name} does not match dtype of out parameter ({out.dtype.name})"
        )
    if device is not None and backend.module_named(device) is not module:
        raise RuntimeError(f"{name}: device {device} does not match device of out parameter ({module.name})")
    if out.requires_grad and autograd.is_grad_enabled():
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, "
                           f"but one of the arguments requires grad; write under minigrad.no_grad()")  # fmt: skip
    return out.dtype, module


def like(
    name: str, input: Any, dtype: Any, *, device: Any = None, layout: Any = None, pin_memory: bool = False,
    memory_format: Any = None,
) -> tuple[tuple[int, ...], dtypes.dtype, backend.ArrayModule, Any]:  # fmt: skip
    """Shape, dtype and array module of a tensor like ``input``; and its array if that orders memory unlike C."""
    array = tensor_of(name, input)._array
    _options(name, layout, pin_memory)
    check_memory_format(name, memory_format)
    kind = input.dtype if dtype is None else _dtype(name, dtype)
    module = backend.module_of(array) if device is None else backend.module_named(device)
    plain = (
        memory_format is contiguous_format
        or type(array) is not module.array_type
        or getattr(getattr(array, "flags", None), "c_contiguous", True)
        or any(step == 0 for step in getattr(array, "strides", ()))  # expanded: it has no order to keep
    )
    return tuple(array.shape), kind, module, None if plain else array


def finish(name: str, array: Any, out: Any, requires_grad: bool) -> Tensor:
    """The tensor of a new array, or ``out`` written with it (and resized to it)."""
    if out is None:
        t = wrap(array)
    else:
        t = out
        if t._array.shape != array.shape:
            t._array = run(empty_array, backend.module_of(array).m, shape=array.shape, dtype=array.dtype)
        check_writable(t, f"{name}(out=)")
        write(t, wrap(array), f"{name}(out=)")
    if requires_grad:
        t.requires_grad = True
    return t


def floating_dtype(name: str, kind: dtypes.dtype) -> None:
    """Refuses a dtype that holds no fractions, as PyTorch does."""
    if kind.category != 2:
        raise NotImplementedError(f"{name}: not implemented for {kind.name}; pass a floating-point dtype")


def _options(name: str, layout: Any, pin_memory: Any) -> None:
    if layout is not None and layout is not strided and layout != "strided":
        raise TypeError(
            f"{name}(): argument 'layout' must be minigrad.strided, the only one there is, not {layout!r}"
        )
    if not isinstance(pin_memory, (bool, type(None))):
        raise TypeError(f"{name}(): argument 'pin_memory' must be bool, not {type(pin_memory).__name__}")


def check_memory_format(name: str, memory_format: Any) -> None:
    if memory_format not in (None, contiguous_format, preserve_format):
        raise TypeError(f"{name}(): argument 'memory_format' must be minigrad.preserve_format or "
                        f"minigrad.contiguous_format, not {memory_format!r}")  # fmt: skip


def _dtype(name: str, dtype: Any) -> dtypes.dtype:
    try:
        return dtypes.as_dtype(dtype)
    except TypeError as e:
        if "complex" in str(e):
            raise errors.no_complex(name) from None
        raise TypeError(
            f"{name}(): argument 'dtype' must be minigrad.dtype, not {errors.describe(dtype)}"
        ) from None


def number_of(name: str, argument: str, value: Any) -> Any:
    """A Python number: the value itself, a NumPy scalar's, or a 0-d tensor's."""
    if isinstance(value, Tensor) and not value.ndim:
        if value.requires_grad:
            raise TypeError(
                f"{name}(): argument {argument!r} must be Number, not a Tensor that requires grad; detach() it"
            )
        value = value.item()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        raise errors.no_complex(name)
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{name}(): argument {argument!r} must be Number, not {type(value).__name__}")
    return value


def sequence(name: str, size: Any) -> tuple[Any]:
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    return (size,)


def count_of(name: str, argument: str, value: Any) -> int:
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}(): argument {argument!r} must be int, not {type(value).__name__}") from None
    if n < 0:
        raise RuntimeError(f"{name}: {argument} must be greater or equal to 0, got {n}")
    return n


def empty_array(m: Any, *, shape: Any, dtype: Any) -> Any:
    return m.empty(shape, dtype=dtype)
