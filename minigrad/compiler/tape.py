"""Rows are taken apart by running them once more: a :class:`Tape` has the calls of NumPy that one row is made of.

Whose memory an array is shows from its address; memory that nobody knows is :class:`~.recorded.Opaque`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .nests import each, replaced
from .primitives import Part, Primitive, in_memory_order, whole
from .program import Line, Value
from .recorded import Opaque, Recorded, plain


class Tape:
    """What is done with recorded arrays: the primitives, and the memory that they know."""

    def __init__(self, line: Line, number: Iterator[int]) -> None:
        self.line, self.lines, self.number = line, list[Primitive](), number
        self.made: dict[Value, Any] = {}  # new values
        self.known: list[tuple[int, int, Value, Any]] = []  # from where to where in memory

    def know(self, value: Value, array: Any) -> None:
        start = array.__array_interface__["data"][0]
        self.known.append((start, start + array.nbytes, value, array))

    def recorded(self, array: Any, root: Value | None = None) -> Recorded:
        r: Recorded = array.view(Recorded)
        r.tape, r.root = self, root
        return r

    def part(self, array: Any) -> Part:
        """What memory an array is."""
        start = array.__array_interface__["data"][0]
        root = getattr(array, "root", None)
        found = [k for k in self.known if k[0] <= start < max(k[1], k[0] + 1) and root in (None, k[2])]
        if not found and root is not None:
            found = [k for k in self.known if k[0] <= start < max(k[1], k[0] + 1)]
        if len(found) != 1 or (array.size and start + _extent(array) > found[0][1]):
            raise Opaque("memory that nothing is known of")
        return Part(found[0][2], start - found[0][0], array.shape, array.strides, array.dtype)

    def fresh(self, array: Any) -> Recorded:
        """A new value with this array's layout."""
        array = np.asarray(array)
        if array.base is not None or not in_memory_order(array).flags.c_contiguous:
            array = np.empty_like(array)
        value = Value(f"t{next(self.number)}", array.shape, array.dtype, array.nbytes, id(array), False,
                      array.flags.c_contiguous)  # fmt: skip
        self.made[value] = array
        self.know(value, array)
        return self.recorded(array, value)

    def write(
        self, function: Any, text: str, args: Any, kwargs: Any, made: Any = None, aligned: bool = False
    ) -> None:
        value = None if made is None else made.root
        self.lines.append(
            Primitive(function, text, self.operands(args), self.operands(kwargs), self.line, value, aligned)
        )

    def operands(self, nest: Any) -> Any:
        def operand(x: Any) -> Any:
            return self.part(x) if type(x) is Recorded else x  # other arrays were made of shapes alone

        return replaced(nest, operand)

    def copied(self, array: Any) -> Any:
        """A copy, written down."""
        out = self.fresh(np.empty_like(np.asarray(array)))
        plain(out)[...] = plain(array)
        self.write(np.copyto, "copyto", (out, array), {}, out)
        return out

    def named(self, value: Value, part: Part) -> Part:
        """A result that is all of a new value takes its place, so that the source has the program's names."""
        old, array = part.value, self.made.get(part.value)
        if array is None or part != whole(old, array) or any(v is value for v in self.made):
            return part
        renamed = lambda x: x._replace(value=value) if type(x) is Part and x.value is old else x  # noqa: E731
        for p in self.lines:
            p.args, p.kwargs = each(p.args, renamed), each(p.kwargs, renamed)
            p.made = value if p.made is old else p.made
        self.made = {value if v is old else v: a for v, a in self.made.items()}
        return part._replace(value=value)


def _extent(array: Any) -> int:
    if any(s < 0 for s in array.strides):
        raise Opaque("it runs backwards")
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize
