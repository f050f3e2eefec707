"""Where the arrays of a program are: one block of memory, in which each has a place for as long as it is read.

Arrays that leave the program (results, gradients, what is kept for the backward) are not in the block: each has
memory of its own, which the next call takes again if nobody holds it any more (:class:`Recycled`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from .lowering import Lowered
from .primitives import Part, Primitive
from .program import Value, leaves

LINE = 64  # bytes that places begin at multiples of: a line of the cache


class Plan:
    """Places for a lowered program: ``places`` of values in a block of ``size`` bytes, and which values are recycled."""

    def __init__(self, lowered: Lowered) -> None:
        self.program, self.parts, self.layouts, self._written = lowered
        lines = self.program.lines
        self.outside = {*self.program.outside()}
        self._by_memory = {v.memory: p.value for v, p in self.parts.items()}
        makes: list[list[Value]] = [[] for _ in lines]
        made: set[Value] = set()
        for i, line in enumerate(lines):
            here = line.reads() if isinstance(line, Primitive) else line.results
            makes[i] = [v for v in dict.fromkeys(here) if v in self._written and v not in made]
            made.update(makes[i])
        left = {r for v in leaves(self.program) if (r := self.root(v)) in made}
        self.recycled = {v: self.layouts[v] for v in made if v in left}
        last = {v: i for i, line in enumerate(lines) for v in self._roots(line)}
        self.ends: list[list[Value]] = [[] for _ in lines]
        for v, i in last.items():
            self.ends[i].append(v)
        self.places: dict[Value, int] = {}
        self.size = 0
        free: list[tuple[int, int]] = []  # (start, bytes)
        holder: dict[int, Value] = {}  # who has a place now
        for i, line in enumerate(lines):
            for v in makes[i]:
                if v in left:
                    continue
                place = self._in_place(line, v, i, last)
                self.places[v] = self._taken(free, v.nbytes) if place is None else place
                holder[self.places[v]] = v
            for v in self.ends[i]:
                if v in self.places and holder[self.places[v]] is v:
                    _freed(free, self.places[v], _rounded(v.nbytes))

    def root(self, v: Value) -> Value | None:
        """The value that owns the memory that a value is in."""
        return self.parts[v].value if v in self.parts else self._by_memory.get(v.memory)

    def _roots(self, line: Any) -> Iterator[Value]:
        if isinstance(line, Primitive):
            yield from line.reads()
            yield from (v for v in line.results if v is not None)
            return
        for v in (*line.reads(), *(v for v in line.results if v is not None)):
            yield v
            r = self.root(v)
            if r is not None:
                yield r

    def _in_place(self, line: Any, made: Value, i: int, last: dict[Value, int]) -> int | None:
        """The place of an operand that is read here for the last time, element by element, in the result's layout."""
        if not isinstance(line, Primitive) or not line.aligned or line.made is not made:
            return None
        wanted = self.layouts[made]._replace(value=None)  # type: ignore[arg-type]
        operands = [p for p in line.parts() if p.value is not made]
        for p in operands:
            alone = (
                sum(
                    q.value is p.value or self.places.get(q.value) == self.places.get(p.value, -1)
                    for q in operands
                )
                == 1
            )
            if p.value in self.places and last[p.value] == i and alone and p._replace(value=None) == wanted:  # type: ignore[arg-type]
                return self.places[p.value]
        return None

    def _taken(self, free: list[tuple[int, int]], nbytes: int) -> int:
        """The smallest free place that is large enough, else one at the end."""
        nbytes = _rounded(nbytes)
        fitting = [(size, start) for start, size in free if size >= nbytes]
        if fitting:
            size, start = min(fitting)
            free.remove((start, size))
            if size > nbytes:
                free.append((start + nbytes, size - nbytes))
            return start
        start = self.size
        for at, size in free:  # the last free place reaches to the end: it grows
            if at + size == self.size:
                free.remove((at, size))
                start = at
        self.size = start + nbytes
        return start


def _rounded(nbytes: int) -> int:
    return -(-max(nbytes, 1) // LINE) * LINE


def _freed(free: list[tuple[int, int]], start: int, size: int) -> None:
    """Puts a place back, one with the free places beside it."""
    for other in [f for f in free if f[0] + f[1] == start or start + size == f[0]]:
        free.remove(other)
        start, size = min(start, other[0]), size + other[1]
    free.append((start, size))


class Recycled:
    """Memory for an array that leaves the program: taken again when nobody else holds it, else made anew.

    Two are kept: a loop that says ``out = f(x)`` holds the last result while it asks for the next. ``kept`` may be
    shared by programs that differ in sizes: then the largest stay.
    """

    def __init__(self, layout: Part, kept: list[Any]) -> None:
        self.shape, self.dtype, self.strides = layout.shape, layout.dtype, layout.strides
        self.nbytes = max(int(np.prod(layout.shape)) * layout.dtype.itemsize, 1)
        self.kept = kept

    def __call__(self) -> Any:
        kept = self.kept
        for i in range(len(kept)):
            if kept[i].nbytes >= self.nbytes and sys.getrefcount(kept[i]) == ALONE:
                return np.ndarray(self.shape, self.dtype, kept[i], 0, self.strides)
        memory = block(self.nbytes)
        kept[:] = [*[other for other in kept if other.nbytes >= self.nbytes][-1:], memory]
        return np.ndarray(self.shape, self.dtype, memory, 0, self.strides)


def block(nbytes: int) -> Any:
    """Bytes that begin at a line of the cache."""
    made = np.empty(nbytes + LINE, np.uint8)
    start = -made.__array_interface__["data"][0] % LINE
    # a block is its own owner, so that its count of references tells who holds it
    return np.frombuffer(made.data, np.uint8, nbytes, start)


def _references() -> int:
    """What the count is of something that a list alone holds, asked for as :class:`Recycled` asks."""
    kept = [block(1)]
    return sys.getrefcount(kept[0])


ALONE = _references()
