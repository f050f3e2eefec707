"""PyTorch's types by dtype: ``FloatTensor([1, 2])``, ``isinstance(x, LongTensor)``, ``x.type("torch.LongTensor")``.

They are names for a dtype: what they make is a Tensor. New code says ``tensor(…, dtype=)``.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import backend, dtypes, errors
from .tensor import TYPE_NAMES, Size, Tensor, tensor

__all__ = [
    "TYPES",
    "TensorType",
    "of_default_type",
    "of_type",
    "set_default_tensor_type",
    "type_named",
    "typename",
]


class TensorType(type):
    """The class of those types: an instance check asks for the dtype."""

    dtype: dtypes.dtype
    device: str

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype is cls.dtype and value.device.type == cls.device

    def __repr__(cls) -> str:
        return f"<class '{cls.__module__}.{cls.__name__}'>"

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        """``FloatTensor(2, 3)`` is uninitialised, ``FloatTensor([…])`` holds the data."""
        return of_type(cls.__name__, cls.dtype, data, device or cls.device)

    def on(cls, device: str) -> TensorType:
        """The type of the same dtype on a device."""
        return _made(cls.__name__, cls.dtype, device)


def _made(name: str, kind: dtypes.dtype, device: str) -> TensorType:
    module = "minigrad" if device == "cpu" else f"minigrad.{device}"
    return TensorType(name, (), {"dtype": kind, "device": device, "__module__": module,
                                 "__doc__": f"Tensors of {kind.name} on {device}."})  # fmt: skip


TYPES = {f"{TYPE_NAMES[d.name]}Tensor": _made(f"{TYPE_NAMES[d.name]}Tensor", d, "cpu") for d in dtypes.DTYPES}


def of_type(name: str, kind: dtypes.dtype, data: tuple[Any, ...], device: Any) -> Tensor:
    """``FloatTensor(2, 3)`` is uninitialised, ``FloatTensor([…])`` holds the data, ``FloatTensor(x)`` is x."""
    first = data[0] if len(data) == 1 else None
    if isinstance(first, Tensor):
        if first.dtype is not kind:
            raise TypeError(f"{name}: expected a tensor of {kind.name}, got {errors.describe(first)}; convert it with "
                            f".to(dtype)")  # fmt: skip
        return first.detach()
    if isinstance(first, (list, tuple, np.ndarray)) and not isinstance(first, Size):
        return tensor(tensor(first), dtype=kind, device=device)
    if isinstance(first, Size):
        data = tuple(first)
    try:
        shape = [operator.index(n) for n in data] or [0]
    except TypeError:
        raise TypeError(f"{name}: data must be a sequence (got {type(data[0]).__name__})") from None
    from .functions.creation import empty

    return empty(shape, dtype=kind, device=device)


def of_default_type(data: tuple[Any, ...], device: Any) -> Tensor:
    """What ``Tensor(…)`` makes: :func:`of_type` for the default dtype; of a tensor, that one, whatever its dtype."""
    kind = data[0].dtype if len(data) == 1 and isinstance(data[0], Tensor) else dtypes.get_default_dtype()
    return of_type("Tensor", kind, data, device)


def type_named(name: Any) -> tuple[dtypes.dtype, str | None]:
    """The dtype and device of "torch.LongTensor", "minigrad.cuda.FloatTensor", or of one of the types."""
    if isinstance(name, TensorType):
        return name.dtype, name.device
    parts = str(name).split(".")
    if parts[-1] == "Tensor":
        return dtypes.get_default_dtype(), None
    if parts[-1] not in TYPES or len(parts) not in (2, 3):
        raise ValueError(f"type: invalid type: {name!r}; expected one of {sorted(TYPES)} after 'minigrad.'")
    return TYPES[parts[-1]].dtype, parts[1] if len(parts) == 3 else "cpu"


def set_default_tensor_type(t: Any, /) -> None:
    """The dtype (and device) of new tensors, by the name of a type. New code says ``set_default_dtype``."""
    kind, device = type_named(t)
    dtypes.set_default_dtype(kind)
    backend.set_default_device(None if device == "cpu" else device)


def typename(obj: Any) -> str:
    """What an object's type is called: "minigrad.FloatTensor" for tensors."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def __getattr__(name: str) -> Any:
    if name in TYPES:
        return TYPES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
