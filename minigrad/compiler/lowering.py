"""Lowering: rows become the calls of NumPy that they are made of, kernels calls that are told where their results go.

There is no second definition of a row: its own function runs once more, on arrays that write down what is done with
them (``recorded.py``). Views are no calls; they become parts of what they look at. What can't be written down (a
value read by Python, fancy indexing, a function without ``out``) stays one call, which makes its own arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..autograd import inner
from .blocks import Block
from .calls import kernel, loops, results_of
from .fusion import Fusion
from .namespace import Namespace
from .nests import replaced
from .primitives import Part, at, in_memory_order, whole
from .program import Line, Program, ReadGrad, Value
from .recorded import Opaque, Recorded
from .rows import reference_of
from .tape import Tape


class Lowered(NamedTuple):
    """A program with primitives, and what its values are parts of."""

    program: Program
    parts: dict[Value, Part]
    layouts: dict[Value, Part]  # of the values that own their memory
    written: set[Value]  # the values that primitives alone write


def lowered(program: Program, array_of: Callable[[Value], Any]) -> Lowered:
    """The program with every row that can be written down as primitives."""
    state, lines = State(program, array_of), list[Any]()
    last = {v: i for i, line in enumerate(program.lines) for v in line.reads()}
    outside = {*state.arrays}
    for i, line in enumerate(program.lines):
        lines += state.lowered(line)
        needed = {state.parts[v].value for v in state.parts if last.get(v, -1) > i}
        for v in [v for v in state.arrays if v not in needed and v not in outside]:
            del state.arrays[v]
    made = Program(lines, program.arguments, program.tensors, program.constants, program.outputs)
    return Lowered(made, state.parts, state.layouts, state.written)


class State:
    """What is known so far: of each value what part it is of whose memory, and, of owners, layout and an array like it."""

    def __init__(self, program: Program, array_of: Callable[[Value], Any]) -> None:
        self.array_of = array_of
        self.parts: dict[Value, Part] = {}
        self.layouts: dict[Value, Part] = {}
        self.arrays: dict[Value, Any] = {v: array_of(v) for v in program.outside()}
        self.written: set[Value] = set()
        self.number = itertools.count(1)
        for v, a in self.arrays.items():
            if in_memory_order(a).flags.c_contiguous:
                self.owns(v, a)

    def owns(self, v: Value, array: Any) -> None:
        """A value is in memory of its own, laid out as this array."""
        self.arrays[v] = array
        self.layouts[v] = whole(v, array)
        self.parts.setdefault(v, self.layouts[v])

    def lowered(self, line: Any) -> list[Any]:
        """A line as primitives if it can be, else itself; what its results are is entered."""
        if _may_be(line) and all(v in self.parts for v in line.reads()):
            try:
                return self.row(line) if reference_of(inner(line.function)) is None else loops(self, line)
            except Exception:  # Opaque, or what a recorded array can't do
                pass
            if reference_of(inner(line.function)) is not None:
                try:
                    return [kernel(self, line)]
                except Exception:  # it asks for no memory
                    pass
        if isinstance(line, Fusion):
            for r in (*line.kernel.results, *line.kernel.sums):
                if r.value in line.results:
                    self.owns(r.value, laid(r))
                    self.written.add(r.value)
            pieces = line.kernel.partial or ()
            sums = [np.zeros(pieces) for _ in range(line.kernel.sums_made if pieces else 0)]
            scratch = list[Value]()
            for a, n in zip(sums, self.number, strict=False):
                scratch.append(Value(f"t{n}", a.shape, a.dtype, a.nbytes, -1 - n, False, True))
                self.owns(scratch[-1], a)
                self.written.add(scratch[-1])
            return [replace(line, results=[*line.results, *scratch], scratch=tuple(scratch))]
        if isinstance(line, Block):
            for v in line.results:
                if v is not None:
                    self.owns(v, np.empty(v.shape, v.dtype))
                    self.written.add(v)
            return [line]
        for v in line.results:
            known = v is None or v in self.parts or isinstance(line, ReadGrad)
            if not known and not v.view and v.contiguous:
                self.owns(v, self.array_of(v))
        return [line]

    def row(self, line: Line) -> list[Any]:
        """The primitives of a row's own function."""
        tape, args, attrs = self.recorded(line)
        with np.errstate(all="ignore"):
            result = line.function(Namespace(tape), *args, **attrs)
        found = list[Any]()
        for value, r in zip(line.results, results_of(line, result), strict=True):
            if value is not None and not isinstance(r, (np.ndarray, np.generic)):
                raise Opaque("a result is no array")
            ours = value is None or type(r) is Recorded
            found.append(r if ours else tape.recorded(tape.copied(np.asarray(r))))
        return self.entered(tape, line, found)

    def recorded(self, line: Line) -> tuple[Tape, Any, Any]:
        """A tape that knows what a line reads, and the line's arguments and attributes on it."""
        tape = Tape(line, self.number)
        for v in dict.fromkeys(self.parts[v].value for v in line.reads()):
            tape.know(v, self.arrays[v])

        def given(x: Any) -> Any:
            if not isinstance(x, Value):
                return x
            p = self.parts[x]
            return tape.recorded(at(self.arrays[p.value], p), p.value)

        return tape, replaced(line.args, given), replaced(line.attrs, given)

    def entered(self, tape: Tape, line: Line, results: list[Any]) -> list[Any]:
        """What was written down, the results entered."""
        found: list[tuple[Value, Part]] = []
        for value, r in zip(line.results, results, strict=True):
            if value is None:
                continue
            part = tape.part(r)
            if part.shape != value.shape or part.dtype != value.dtype:
                raise Opaque("a result has another form")
            found.append((value, part))
        self.enter(tape, found)
        return [*tape.lines]

    def enter(self, tape: Tape, found: list[tuple[Value, Part]]) -> None:
        """The results of a line as parts of what it made, and that."""
        for value, part in found:
            self.parts[value] = tape.named(value, part)
        self.written.update(tape.made)
        for v, array in tape.made.items():
            self.owns(v, array)


def _may_be(line: Any) -> bool:
    """Is it a row, a rule or a kernel on NumPy's arrays?"""
    return isinstance(line, Line) and line.m is np and line.pure


def laid(result: Any) -> Any:
    """An array as a loop's result has its memory."""
    made = np.zeros(result.shape, result.dtype)
    return made if result.order is None else made.transpose(result.order)
