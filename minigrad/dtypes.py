"""The dtypes, PyTorch's promotion between them, and the default dtype. No arrays are made here.

Promotion differs from NumPy's in two ways: Python scalars and 0-d tensors don't promote within a
category (bool < integer < floating), and an integer met by a float takes the float's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np

from .errors import no_complex


class dtype:
    """An element type. ``numpy_dtype`` is NumPy's; bfloat16's comes from ml_dtypes when first used."""

    __slots__ = ("_numpy", "category", "itemsize", "name")

    def __init__(self, name: str, category: int, itemsize: int) -> None:
        self.name, self.category, self.itemsize = name, category, itemsize
        self._numpy: np.dtype[Any] | None = None if name == "bfloat16" else np.dtype(name)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        if self._numpy is None:
            try:
                from ml_dtypes import bfloat16 as numpy_bfloat16
            except ImportError:
                raise TypeError(
                    "bfloat16: NumPy has no bfloat16 of its own; pip install 'minigrad-xp[bf16]' "
                    "brings ml_dtypes, or use float16 or float32"
                ) from None
            self._numpy = np.dtype(numpy_bfloat16)
            BY_NUMPY[self._numpy] = self
        return self._numpy

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.name not in ("uint8", "bool")

    def __repr__(self) -> str:
        return f"minigrad.{self.name}"

    def __reduce__(self) -> str:  # a dtype is a constant: copies are the same object
        return self.name


float64, float32, float16 = dtype("float64", 2, 8), dtype("float32", 2, 4), dtype("float16", 2, 2)
bfloat16 = dtype("bfloat16", 2, 2)
int64, int32, int16, int8 = (dtype(f"int{8 * n}", 1, n) for n in (8, 4, 2, 1))
uint8, bool_ = dtype("uint8", 1, 1), dtype("bool", 0, 1)
DTYPES = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_)
BY_NUMPY: dict[Any, dtype] = {d._numpy: d for d in DTYPES if d._numpy is not None}

_default: ContextVar[dtype] = ContextVar("default_dtype", default=float32)


def get_default_dtype() -> dtype:
    """The dtype of new floating-point tensors: float32 unless set."""
    return _default.get()


def set_default_dtype(d: dtype, /) -> None:
    """Sets the dtype of new floating-point tensors, for this thread and those it copies its context to."""
    if not isinstance(d, dtype) or d.category != 2:
        raise TypeError(f"set_default_dtype: only floating-point types are supported, got {d!r}")
    _default.set(d)


def from_numpy_dtype(d: Any, name: str = "tensor") -> dtype:
    """Our dtype for NumPy's; complex and everything else that isn't supported is refused by name."""
    found = BY_NUMPY.get(d)
    if found is None:
        d = np.dtype(d)
        if d.name == "bfloat16":
            bfloat16.numpy_dtype  # noqa: B018 - registers itself
            return bfloat16
        found = BY_NUMPY.get(d.newbyteorder("="))
    if found is None:
        if d.kind == "c":
            raise no_complex(name)
        raise TypeError(
            f"{name}: can't hold elements of type {d}; supported are "
            f"{', '.join(x.name for x in DTYPES)}: convert with .astype first"
        )
    return found


def as_dtype(d: Any) -> dtype:
    """Accepts our dtypes, NumPy's, and Python's float, int and bool (float64, int64 and bool)."""
    if isinstance(d, dtype):
        return d
    return int64 if d is int else from_numpy_dtype(np.dtype(d), "dtype")


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both convert to, by PyTorch's table."""
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == 2:
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return float32
        return a if a.itemsize > b.itemsize else b
    wide, narrow = (a, b) if a.itemsize >= b.itemsize else (b, a)
    if wide.itemsize == 1:  # uint8 with int8
        return int16
    return wide if narrow is not wide else narrow


def of_scalar(value: Any, name: str = "tensor") -> dtype:
    """The dtype a Python number stands for."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise RuntimeError(
                f"{name}: value cannot be converted to type int64_t without overflow, got {value}; use a float"
            )
        return int64
    if isinstance(value, float):
        return get_default_dtype()
    if isinstance(value, complex):
        raise no_complex(name)
    raise TypeError(f"{name}: expected a tensor or a number, got {type(value).__name__} {value!r}")


def cast(array: Any, to: Any, copy: bool = True) -> Any:
    """An array in another of NumPy's dtypes. Floats become uint8 through int64, as in PyTorch, so that -1.0 is 255 everywhere.

    C leaves that to the machine: on ARM, NumPy's own cast gives 255 or 0 by an element's place in the array.
    """
    if to == np.uint8 and array.dtype.kind in "fV":  # bfloat16 is of kind V
        array = array.astype(np.int64)
    return array.astype(to, copy=copy)


def fitted(name: str, value: Any, kind: dtype) -> Any:
    """The number as the dtype holds it; refused where it doesn't. Negative numbers wrap in unsigned integers."""
    if kind is bool_:
        return bool(value)
    if kind.category == 2:
        try:
            value = float(value)
        except OverflowError:  # a whole number beyond every float
            raise no_room(name, kind, value) from None
        if not abs(value) > finfo(kind).max or math.isinf(value):
            return value
    elif isinstance(value, int) or math.isfinite(value):
        limits = iinfo(kind)
        if (limits.min if kind.is_signed else -limits.max) <= value <= limits.max:
            return int(value) if kind.is_signed else int(value) % (limits.max + 1)
    raise no_room(name, kind, value)


def no_room(name: str, kind: dtype, value: Any) -> RuntimeError:
    """The error for a number that a dtype can't hold."""
    return RuntimeError(f"{name}: value cannot be converted to type {kind.name} without overflow, got {value}; "
                        f"choose a wider dtype")  # fmt: skip


def result_type(operands: Iterable[tuple[dtype, int]]) -> dtype:
    """Promotes (dtype, rank) pairs; rank 2 is a tensor with dimensions, 1 a 0-d tensor, 0 a number.

    A lower rank only counts when its category is higher, as in PyTorch's ``result_type``.
    """
    best: list[dtype | None] = [None, None, None]
    for d, rank in operands:
        seen = best[rank]
        best[rank] = d if seen is None else promote_types(seen, d)
    found: dtype | None = None
    for kind in best:  # numbers, 0-d tensors, tensors: each outranks those before it within a category
        if kind is not None:
            found = kind if found is None or found.category <= kind.category else promote_types(found, kind)
    if found is None:
        raise TypeError("result_type: expected at least one operand, got none")
    return found


class finfo:
    """Machine limits of a floating-point dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type: dtype | None = None) -> None:
        self._dtype = d = type or get_default_dtype()
        if d.category != 2:
            raise TypeError(f"finfo: expected a floating-point dtype, got {d!r}; use iinfo")
        info: Any
        if d is bfloat16:
            from ml_dtypes import finfo as ml_finfo

            info = ml_finfo(d.numpy_dtype)
        else:
            info = np.finfo(d.numpy_dtype)
        self.bits, self.dtype = 8 * d.itemsize, d.name
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = float(info.resolution)

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{n}={getattr(self, n):.6g}' for n in names)}, dtype={self.dtype})"


class iinfo:
    """Machine limits of an integer dtype: bits, max, min."""

    def __init__(self, type: dtype) -> None:
        if type.category != 1:
            raise TypeError(f"iinfo: expected an integer dtype, got {type!r}; use finfo")
        info = np.iinfo(type.numpy_dtype)
        self.bits, self.max, self.min, self.dtype = info.bits, int(info.max), int(info.min), type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:.6g}, max={self.max:.6g}, dtype={self.dtype})"
