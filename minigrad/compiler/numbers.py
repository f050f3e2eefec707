"""Numbers that depend on the batch size ``n``: ``a·n + b``, ``k / n``, and arrays of one such number.

:func:`between` finds what a number is from what it was at two sizes; :func:`exactly` says whether one is what was seen at another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from .nests import replaced
from .program import Line, Value

SIZE = "n"  # what the source calls it


class Differs(Exception):
    """Two traces are not one program."""


@dataclass(frozen=True)
class Number:
    """``times · n + plus``, or ``over`` divided by that; ``kind`` is its type in Python."""

    times: int
    plus: int
    over: int | None = None
    kind: type = int

    def at(self, n: int) -> Any:
        whole = self.times * n + self.plus
        return self.kind(whole) if self.over is None else self.over / whole

    def text(self) -> str:
        product = SIZE if self.times == 1 else f"{self.times} * {SIZE}"
        whole = product if not self.plus else f"{product} {'+' if self.plus > 0 else '-'} {abs(self.plus)}"
        if self.over is None:
            return whole if self.kind is int else f"float({whole})"
        return f"{self.over} / {whole if whole == SIZE else f'({whole})'}"


class Filled(NamedTuple):
    """A constant array of one number, whose shape or number depends on the batch size; ``like`` is one of them."""

    shape: tuple[Any, ...]
    number: Any
    like: Any

    @property
    def dtype(self) -> Any:
        return self.like.dtype

    def line(self, value: Value) -> Line:
        """Makes it."""
        m = backend.module_of(self.like).m
        return Line(filled, m, (self.shape, self.number), {"dtype": self.dtype}, [value])


def filled(m: Any, shape: tuple[int, ...], number: Any, dtype: Any) -> Any:
    """An array of one number."""
    return m.full(shape, number, dtype=dtype)


def at(nest: Any, n: int) -> Any:
    """A nest with its numbers at a batch size."""

    def number(x: Any) -> Any:
        if isinstance(x, slice):
            return slice(*at((x.start, x.stop, x.step), n))
        return x.at(n) if type(x) is Number else x

    return replaced(nest, number)


def same(x: Any, y: Any) -> bool:
    """The same number: 1 is not 1.0, and 0.0 not -0.0."""
    return type(x) is type(y) and repr(x) == repr(y)


def between(n1: int, n2: int) -> Callable[..., Any]:
    """What two numbers are of the batch size, that were seen at n1 and n2."""

    def whole(x: int, y: int) -> tuple[int, int]:
        times, rest = divmod(y - x, n2 - n1)
        if rest:
            raise Differs
        return times, x - times * n1

    def number(x: Any, y: Any, rounded: Callable[[Any], Any] = float) -> Any:
        if same(x, y):
            return y
        if type(x) is not type(y):
            raise Differs
        if type(x) is int:
            return Number(*whole(x, y))
        if not (np.isfinite(x) and np.isfinite(y) and x and y):
            raise Differs
        if x.is_integer() and y.is_integer():
            return Number(*whole(int(x), int(y)), kind=float)
        found = list[Number]()
        with contextlib.suppress(OverflowError, Differs):
            found.append(Number(1, 0, round(x * n1), float))
            found.append(Number(*whole(round(1 / x), round(1 / y)), 1, float))
        for f in found:
            if f.times * n1 + f.plus and f.times * n2 + f.plus:
                if rounded(f.at(n1)) == rounded(x) and rounded(f.at(n2)) == rounded(y):
                    return f
        raise Differs

    return number


def exactly(n: int) -> Callable[..., Any]:
    """Is a number of a program, at a batch size, the one that was seen there?"""

    def number(x: Any, y: Any, rounded: Callable[[Any], Any] | None = None) -> Any:
        try:
            value = x.at(n) if type(x) is Number else x
        except (ZeroDivisionError, OverflowError):
            raise Differs from None
        if same(value, y) or (
            rounded is not None and type(value) is type(y) and rounded(value) == rounded(y)
        ):
            return y
        raise Differs

    return number
