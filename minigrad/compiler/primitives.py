"""Calls of NumPy and of kernels that write to memory which is there already, and the parts of memory that they see.

``lowering.py`` makes them of rows, ``memory.py`` gives their values places, ``emit.py`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from .nests import things_in
from .program import Line, Value


class Part(NamedTuple):
    """A view of a value's memory: bytes from its start, and the layout there."""

    value: Value
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any


@dataclass(eq=False)
class Primitive:
    """One call of NumPy that writes to memory which is there already: ``matmul(a, b, out=c)``.

    ``row`` is the line that it was a part of. ``made``: the value that begins its life here, if one does.
    ``aligned``: it reads each element before it writes there, so that its result may take an operand's place.
    """

    function: Callable[..., Any]
    text: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    row: Line
    made: Value | None = None
    aligned: bool = False
    pure = True
    results: list[Value | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def targets(self) -> tuple[Part, ...]:
        """What it writes to."""
        return (self.kwargs["out"] if "out" in self.kwargs else self.args[0],)

    def reads(self) -> Iterator[Value]:
        yield from (p.value for p in self.parts())

    def parts(self) -> list[Part]:
        """Every operand and result in memory."""
        return [*things_in((self.args, self.kwargs), Part)]


@dataclass(eq=False)
class Placed(Primitive):
    """A call of a kernel whose results have places: ``given`` is the memory that it asks for, in its order.

    ``args`` begin with the array module; ``placed`` are the results that are parts of what was given, by their number.
    """

    given: tuple[Part, ...] = ()
    placed: dict[int, Part] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Part, ...]:
        return self.given

    def parts(self) -> list[Part]:
        return [*things_in((self.args, self.kwargs), Part), *self.given]


@dataclass(eq=False)
class Called(Primitive):
    """A call of one of the loops that a kernel is made of, or of what looks at what they found.

    ``asked``: which of its parts the kernel asked memory for; which of these it writes to isn't known.
    """

    asked: tuple[int, ...] = ()

    @property
    def targets(self) -> tuple[Part, ...]:
        parts = self.parts()
        return tuple([parts[i] for i in self.asked])


def unless(flag: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Where a loop found what its kernel declines for, the kernel and its row are asked, who refuse it."""
    if flag.item() < 0:
        function(*args, **kwargs)
        raise RuntimeError("compile: a kernel declines what its row takes")


def into(given: tuple[Any, ...], placed: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a kernel that takes the memory it asks for from ``given``.

    Where it declines and the row answers, or asks for something else than when it was traced, results that have places
    are copied there: ``placed`` are their numbers and places.
    """
    rest = iter(given)

    def give(shape: Any, dtype: Any) -> Any:
        place = next(rest, None)
        fits = place is not None and place.shape == tuple(shape) and place.dtype == dtype
        return place if fits else np.empty(shape, dtype)

    backend.PLACES.given = give
    try:
        made = function(*args, **kwargs)
    finally:
        backend.PLACES.given = None
    results = made if type(made) in (tuple, list) else (made,)
    for i, place in placed:
        if results[i].base is not place.base:
            np.copyto(place, results[i])
    return made


def whole(value: Value, array: Any) -> Part:
    """All of a value."""
    return Part(value, 0, array.shape, array.strides, array.dtype)


def at(array: Any, part: Part) -> Any:
    """The part of an array."""
    if part == whole(part.value, array):
        return array
    return np.ndarray(part.shape, part.dtype, in_memory_order(array), part.offset, part.strides)


def in_memory_order(array: Any) -> Any:
    """An array's memory, in the order that it has there."""
    return array.transpose(sorted(range(array.ndim), key=lambda i: -array.strides[i]))
