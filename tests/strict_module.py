"""An array module that forgives nothing: its arrays are its own type, and NumPy's are refused everywhere.

It computes with NumPy behind a wall, as a module of another device would: no array crosses unasked. Scalars
may (``x.dtype.type(0)``), and 0-d results stay arrays, as in CuPy.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np


class Array:
    """An array of the strict module."""

    __slots__ = ("_inside",)
    __array_ufunc__ = None  # NumPy's scalars leave operators to us
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, inside: Any) -> None:
        self._inside = np.asarray(inside)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit conversion of a strict array to a NumPy array")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if callable(found) and not isinstance(found, (np.dtype, type)):
            return lambda *args, **kwargs: out(found(*into(args), **into(kwargs)))
        return out(found) if name in ("T", "base", "real") else found

    def __getitem__(self, index: Any) -> Any:
        return out(self._inside[into(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._inside[into(index)] = into(value)

    def __bool__(self) -> bool:
        return bool(self._inside)

    def __int__(self) -> int:
        return int(self._inside)

    def __float__(self) -> float:
        return float(self._inside)

    def __index__(self) -> int:
        return operator.index(self._inside)

    def __len__(self) -> int:
        return len(self._inside)

    def __iter__(self) -> Any:
        return (out(x) for x in self._inside)


def _method(name: str) -> Callable[..., Any]:
    def method(self: Array, *others: Any) -> Any:
        return out(getattr(self._inside, name)(*into(others)))

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul"):
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        if hasattr(np.ndarray, _form):
            setattr(Array, _form, _method(_form))
for _form in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__neg__", "__abs__", "__invert__"):
    setattr(Array, _form, _method(_form))


def into(x: Any) -> Any:
    """What NumPy gets of an argument. A NumPy array is refused: nobody may hand one to another module."""
    if isinstance(x, Array):
        return x._inside
    if isinstance(x, np.ndarray):
        raise TypeError("a NumPy array was mixed with strict arrays; convert with from_numpy")
    if type(x) in (tuple, list):
        return type(x)(into(y) for y in x)
    return {k: into(v) for k, v in x.items()} if type(x) is dict else x


def out(x: Any) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return Array(x)
    return type(x)(out(y) for y in x) if type(x) in (tuple, list) else x


class _Function:
    """A NumPy function behind the wall, and its ``at`` where it has one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return out(self.function(*into(args), **into(kwargs)))

    def __getattr__(self, name: str) -> _Function:
        return _Function(getattr(self.function, name))


class Module:
    """NumPy's interface over strict arrays."""

    def __init__(self, space: types.ModuleType = np) -> None:
        self.space = space

    def __getattr__(self, name: str) -> Any:
        known = getattr(self.space, name)
        if isinstance(known, types.ModuleType):
            return Module(known)
        plain = not callable(known) or isinstance(known, (type, np.dtype))
        return known if plain else _Function(known)


def from_numpy(array: Any) -> Array:
    return Array(np.array(array, copy=True))


def to_numpy(array: Array) -> Any:
    return array._inside
