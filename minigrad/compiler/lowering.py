"""Lowering: rows become the calls of NumPy that they are made of, kernels calls that are told where their results go.

There is no second definition of a row: its own function runs once more, on arrays that write down what is done with
them (``recording.py``). Views are no calls; they become parts of what they look at. What can't be written down (a
value read by Python, fancy indexing, a function without ``out``) stays one call, which makes its own arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import backend, threads
from ..autograd import inner
from .fusion import Fusion
from .primitives import Called, Part, Placed, Primitive, at, each, in_memory_order, unless, whole
from .program import Line, Program, ReadGrad, Value, leaves, reference_of, replaced, written_memory
from .recording import Namespace, Opaque, Recorded, Tape, plain

SMALL = 2**16  # bytes that may be held on to, so as not to compute them again


class Lowered(NamedTuple):
    """A program with primitives, and what its values are parts of."""

    program: Program
    parts: dict[Value, Part]
    layouts: dict[Value, Part]  # of the values that own their memory
    written: set[Value]  # the values that primitives alone write


def lowered(program: Program, array_of: Callable[[Value], Any]) -> Lowered:
    """The program with every row that can be written down as primitives."""
    state, lines = _Lowering(program, array_of), list[Any]()
    last = {v: i for i, line in enumerate(program.lines) for v in line.reads()}
    outside = {*state.arrays}
    for i, line in enumerate(program.lines):
        lines += state.lowered(line)
        needed = {state.parts[v].value for v in state.parts if last.get(v, -1) > i}
        for v in [v for v in state.arrays if v not in needed and v not in outside]:
            del state.arrays[v]
    made = Program(lines, program.arguments, program.tensors, program.constants, program.outputs)
    return Lowered(made, state.parts, state.layouts, state.written)


class _Lowering:
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
                return self.row(line) if reference_of(inner(line.function)) is None else self.loops(line)
            except Exception:  # Opaque, or what a recorded array can't do
                pass
            if reference_of(inner(line.function)) is not None:
                try:
                    return [self.kernel(line)]
                except Exception:  # it asks for no memory
                    pass
        if isinstance(line, Fusion):
            for r in (*line.kernel.results, *line.kernel.sums):
                if r.value in line.results:
                    self.owns(r.value, laid(r))
                    self.written.add(r.value)
            return [line]
        for v in line.results:
            known = v is None or v in self.parts or isinstance(line, ReadGrad)
            if not known and not v.view and v.contiguous:
                self.owns(v, self.array_of(v))
        return [line]

    def row(self, line: Line) -> list[Any]:
        """The primitives of a row's own function."""
        tape, args, attrs = self._recorded(line)
        with np.errstate(all="ignore"):
            result = line.function(Namespace(tape), *args, **attrs)
        found = list[Any]()
        for value, r in zip(line.results, _results(line, result), strict=True):
            if value is not None and not isinstance(r, (np.ndarray, np.generic)):
                raise Opaque("a result is no array")
            ours = value is None or type(r) is Recorded
            found.append(r if ours else tape.recorded(tape.copied(np.asarray(r))))
        return self._entered(tape, line, found)

    def loops(self, line: Line) -> list[Any]:
        """The loops that a kernel calls, and what else it calls, with its memory: its own Python isn't run again."""
        kernel: Any = getattr(inner(line.function), "run", None)
        if not getattr(kernel, "loops", ()):
            raise Opaque("what it calls isn't told")
        tape, args, attrs = self._recorded(line)

        def told(name: str, entry: Any, given: Any, size: int, work: float) -> None:
            entry(*map(plain, given), 0, size)
            operands: Any = [
                tape.part(x) if isinstance(x, np.ndarray) and (x.size or type(x) is Recorded) else x
                for x in given
            ]
            alone = work < threads.SHARED
            function = entry if alone else threads.share
            operands = (*operands, 0, size) if alone else (entry, tuple(operands), size, work)
            call = Called(function, name, operands, {}, line)
            call.asked = tuple([i for i, p in enumerate(call.parts()) if p.value in tape.made])
            tape.lines.append(call)

        def wrong(flag: Any) -> bool:
            part = lambda x: self.parts[x] if isinstance(x, Value) else x  # noqa: E731
            whole_call = (line.function, line.m, *replaced(line.args, part))
            given = (tape.part(flag), *whole_call)
            tape.lines.append(Called(unless, "unless", given, dict(replaced(line.attrs, part)), line))
            return bool(plain(flag).item() < 0)

        places = backend.PLACES
        places.given, places.loops = lambda shape, dtype: tape.fresh(np.empty(shape, dtype)), told
        places.wrong = wrong
        try:
            with np.errstate(all="ignore"):
                result = kernel(*args, **attrs)
        finally:
            places.given = places.loops = places.wrong = None
        if type(result) is backend.Declined:
            raise Opaque("it declines")
        found = [r if r is None or type(r) is Recorded else tape.recorded(r) for r in _results(line, result)]
        return self._entered(tape, line, found)

    def _recorded(self, line: Line) -> tuple[Tape, Any, Any]:
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

    def _entered(self, tape: Tape, line: Line, results: list[Any]) -> list[Any]:
        """What was written down, the results entered."""
        found: list[tuple[Value, Part]] = []
        for value, r in zip(line.results, results, strict=True):
            if value is None:
                continue
            part = tape.part(r)
            if part.shape != value.shape or part.dtype != value.dtype:
                raise Opaque("a result has another form")
            found.append((value, part))
        self._enter(tape, found)
        return [*tape.lines]

    def kernel(self, line: Line) -> Placed:
        """A kernel's call, its results where they are asked for; it runs once more, to see what it asks for."""
        tape, asked = Tape(line, self.number), list[Any]()

        def give(shape: Any, dtype: Any) -> Any:
            asked.append(plain(tape.fresh(np.empty(shape, dtype))))
            return asked[-1]

        given = lambda x: at(self.arrays[self.parts[x].value], self.parts[x]) if isinstance(x, Value) else x  # noqa: E731
        backend.PLACES.given = give
        try:
            with np.errstate(all="ignore"):
                made = line.function(line.m, *replaced(line.args, given), **replaced(line.attrs, given))
        finally:
            backend.PLACES.given = None
        results = _results(line, made)
        if not asked:
            raise Opaque("it asks for no memory")
        inside = [
            v is not None and any(np.may_share_memory(a, r) for a in asked)
            for v, r in zip(line.results, results, strict=True)
        ]
        self._enter(
            tape,
            [(v, tape.part(r)) for v, r, yes in zip(line.results, results, inside, strict=True) if v and yes],
        )
        placed = {
            i: self.parts[v] for i, (v, yes) in enumerate(zip(line.results, inside, strict=True)) if v and yes
        }
        rest = [None if yes else v for v, yes in zip(line.results, inside, strict=True)]
        for v, r in zip(rest, map(np.asarray, results), strict=True):
            if v is not None and v not in self.parts and not v.view and v.contiguous and r.flags.c_contiguous:
                self.owns(v, r)
        part = lambda x: self.parts[x] if isinstance(x, Value) else x  # noqa: E731
        args, kwargs = tuple(replaced(line.args, part)), dict(replaced(line.attrs, part))
        memory = tuple([self.layouts[v] for v in tape.made])
        return Placed(line.function, line.name, args, kwargs, line, results=rest, given=memory, placed=placed)

    def _enter(self, tape: Tape, found: list[tuple[Value, Part]]) -> None:
        """The results of a line as parts of what it made, and that."""
        for value, part in found:
            self.parts[value] = tape.named(value, part)
        self.written.update(tape.made)
        for v, array in tape.made.items():
            self.owns(v, array)


def _results(line: Line, made: Any) -> list[Any]:
    found = list(made) if type(made) in (tuple, list) else [made]
    if len(found) != len(line.results):
        raise Opaque("its results are in another form")
    return found


def _may_be(line: Any) -> bool:
    """Is it a row, a rule or a kernel on NumPy's arrays?"""
    return isinstance(line, Line) and line.m is np and line.pure


def laid(result: Any) -> Any:
    """An array as a loop's result has its memory."""
    made = np.zeros(result.shape, result.dtype)
    return made if result.order is None else made.transpose(result.order)


def without_repeats(lowered: Lowered) -> Lowered:
    """Of equal primitives on equal operands the first stays, as when a rule computes anew what its forward had.

    Only where that holds no memory for longer: the first result is still read later, or it is small.
    """
    program, parts, layouts, written = lowered
    lines = program.lines
    leaving = {parts[v].value for v in leaves(program) if v in parts}
    writes: dict[Value, int] = {}
    memory = written_memory(program)
    touched = {p.value for v, p in parts.items() if v.memory in memory or p.value.memory in memory}
    if not touched.isdisjoint(outside := {*program.outside()}):
        touched |= outside  # which may share memory
    last: dict[Value, int] = {}
    for i, line in enumerate(lines):
        if isinstance(line, Primitive):
            for p in line.targets:
                writes[p.value] = writes.get(p.value, 0) + 1
        for v in line.reads():
            last[parts[v].value if v in parts else v] = i
    once = lambda v: writes.get(v, 0) <= 1 and v not in touched and v not in leaving  # noqa: E731
    same: dict[Value, Value] = {}
    first: dict[Any, Value] = {}
    kept: list[Any] = []
    moved = lambda x: x._replace(value=same[x.value]) if type(x) is Part and x.value in same else x  # noqa: E731
    for i, line in enumerate(lines):
        if isinstance(line, Primitive):
            line.args, line.kwargs = each(line.args, moved), each(line.kwargs, moved)
            if isinstance(line, (Called, Placed)):
                kept.append(line)
                continue
            began: Any = line.made
            line.made = same.get(began, began)
            (target,) = line.targets
            made = target.value
            if line.made is made and target == layouts[made] and all(once(p.value) for p in line.parts()):
                blank = lambda x: None if type(x) is Part and x.value is made else x  # noqa: E731, B023
                key = (line.text, _key(each(line.args, blank)), _key(each(line.kwargs, blank)), target[1:])
                old: Any = first.setdefault(key, made)
                if old is not made and (last[old] >= i or made.nbytes <= SMALL):
                    same[made] = old
                    last[old] = max(last[old], last[made])
                    continue
                first[key] = made
        kept.append(line)
    parts = {v: moved(p) for v, p in parts.items()}
    return Lowered(
        Program(kept, program.arguments, program.tensors, program.constants, program.outputs),
        parts,
        layouts,
        written,
    )


def _key(nest: Any) -> Any:
    """Equal for equal operands: arrays that aren't in the program's memory by identity, numbers by type and digits."""
    if type(nest) is dict:
        return tuple((k, _key(v)) for k, v in nest.items())
    if type(nest) in (list, tuple):
        return tuple(map(_key, nest))
    return (
        nest
        if type(nest) is Part
        else (id(nest) if isinstance(nest, np.ndarray) else (type(nest), repr(nest)))
    )
