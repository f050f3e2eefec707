"""Two programs side by side: are they one, but for numbers? Every part of one is held against its like in the other."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Size
from .names import value_of
from .numbers import Differs, Filled, Number, same
from .program import HostLine, Line, Program, ReadGrad, SetGrad, Value, written_memory


class Pair:
    """A program and another that is to be the same: every part that is given to it is, or :class:`Differs` is raised.

    ``number(x, y)`` says what a number of one and a number of the other are together. Programs that are paired one
    after the other, forward and backward, share their values.
    """

    def __init__(self, number: Callable[..., Any]) -> None:
        self.number = number
        self.values: dict[Value, Value] = {}
        self.back: dict[Value, Value] = {}

    def value(self, x: Any, y: Any) -> None:
        if x is None and y is None:
            return
        alike = type(x) is type(y) is Value and (x.dtype, x.ndim) == (y.dtype, y.ndim)
        if not alike or self.values.setdefault(x, y) is not y or self.back.setdefault(y, x) is not x:
            raise Differs

    def each(self, xs: Any, ys: Any) -> None:
        if len(xs) != len(ys):
            raise Differs
        for x, y in zip(xs, ys, strict=True):
            self.value(x, y)

    def part(self, x: Any, y: Any) -> Any:
        """What an argument of one call and of the other are together."""
        if type(x) is Number or (type(x) in (int, float) and type(y) in (int, float)):
            return self.number(x, y)
        if isinstance(x, Value):
            self.value(x, y)
            return y
        if type(x) is tuple and type(y) is Size:  # what was a Size, with numbers in it
            return tuple(self.parts(x, y))
        if x is y:
            return y
        if type(x) is not type(y):
            raise Differs
        if isinstance(x, dict):
            if list(x) != list(y):
                raise Differs
            return {k: self.part(v, y[k]) for k, v in x.items()}
        if type(x) in (list, tuple, Size):
            made = self.parts(x, y)
            return made if type(x) is list else tuple(made)
        if isinstance(x, slice):
            return slice(*self.parts((x.start, x.stop, x.step), (y.start, y.stop, y.step)))
        if not equal(x, y):
            raise Differs
        return y

    def parts(self, xs: Any, ys: Any) -> list[Any]:
        if len(xs) != len(ys):
            raise Differs
        return [self.part(x, y) for x, y in zip(xs, ys, strict=True)]

    def line(self, x: Any, y: Any) -> Any:
        if type(x) is not type(y):
            raise Differs
        made = y
        if isinstance(x, (Line, HostLine)) and not equal(x.function, y.function):
            raise Differs
        if isinstance(x, Line):
            if x.m is not y.m:
                raise Differs
            made = Line(y.function, y.m, self.part(x.args, y.args), self.part(x.attrs, y.attrs), y.results)
        elif isinstance(x, HostLine):
            made = HostLine(y.function, self.part(x.args, y.args), self.part(x.kwargs, y.kwargs), y.results)
        elif isinstance(x, (ReadGrad, SetGrad)):
            leaf = x.leaf == y.leaf if isinstance(x.leaf, int) else x.leaf is y.leaf
            if not leaf or getattr(x, "own", None) != getattr(y, "own", None):
                raise Differs
            if isinstance(x, SetGrad):
                self.value(x.value, y.value)  # type: ignore[attr-defined]
        elif x is not y:
            raise Differs
        self.each(x.results, y.results)
        return made

    def program(self, x: Program, y: Program) -> Program:
        """The program of both, over the values of the second."""
        self.each([*x.arguments], [*y.arguments])
        self.each([*x.tensors], [*y.tensors])
        self.each([*x.constants], [*y.constants])
        known = [*x.arguments.values()] == [*y.arguments.values()]
        if not known or any(a is not b for a, b in zip(x.tensors.values(), y.tensors.values(), strict=True)):
            raise Differs
        constants = {v: self.constant(x.constants[self.back[v]], array) for v, array in y.constants.items()}
        if len(x.lines) != len(y.lines):
            raise Differs
        lines = [self.line(a, b) for a, b in zip(x.lines, y.lines, strict=True)]
        self.each(x.outputs, y.outputs)
        written = written_memory(x), written_memory(y)
        if any((self.back[v].memory in written[0]) != (v.memory in written[1]) for v in constants):
            raise Differs  # each call has a copy of its own, or all share one
        return Program(lines, y.arguments, y.tensors, constants, y.outputs)

    def constant(self, x: Any, y: Any) -> Any:
        """Two constant arrays, equal or of one number each."""
        if isinstance(y, Filled) or backend.module_of(y) is not backend.module_of(getattr(x, "like", x)):
            raise Differs
        host = backend.module_of(y).to_numpy
        if not isinstance(x, Filled) and equal(host(x), host(y)):
            return y
        first, second = uniform(x), uniform(y)
        if first is None or second is None or x.dtype != y.dtype:
            raise Differs
        shape, number = tuple(self.parts(first[0], second[0])), self.part
        if isinstance(second[1], float):
            number = functools.partial(self.number, rounded=second[2].type)
        return Filled(shape, number(first[1], second[1]), y)


def uniform(x: Any) -> tuple[Any, Any, Any] | None:
    """The shape, the number and the dtype of a constant that is one number throughout; None for any other."""
    if isinstance(x, Filled):
        return x.shape, x.number, x.dtype
    x = backend.module_of(x).to_numpy(x)
    one = x.reshape(-1)[:1]
    if x.dtype.kind not in "biuf" or not x.size or one.tobytes() * x.size != x.tobytes():
        return None
    return x.shape, one.item(), x.dtype


def equal(x: Any, y: Any, depth: int = 9) -> bool:
    """Do two objects do the same? Functions that are made anew in every call do if their code and what they hold are the same."""
    if x is y:
        return True
    if type(x) is not type(y) or not depth:
        return False
    if isinstance(x, functools.partial):
        return equal((x.func, x.args, x.keywords), (y.func, y.args, y.keywords), depth - 1)
    if isinstance(x, types.FunctionType):
        return x.__code__ is y.__code__ and equal(_holds(x), _holds(y), depth - 1)
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(equal(a, b, depth - 1) for a, b in zip(x, y, strict=True))
    if isinstance(x, dict):
        return list(x) == list(y) and all(equal(v, y[k], depth - 1) for k, v in x.items())
    if isinstance(x, np.ndarray):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(x, (int, float, complex, np.generic)):
        return same(x, y)
    return isinstance(x, _COMPARED) and bool(x == y)


_COMPARED = (str, bytes, np.dtype, backend.device, types.MethodType, types.BuiltinMethodType)


def _holds(function: types.FunctionType) -> Any:
    cells = [value_of(c, "") for c in function.__closure__ or ()]
    return cells, function.__defaults__, function.__kwdefaults__
