"""Lowering: rows become the calls of NumPy that they are made of, kernels calls that are told where their results go.

There is no second definition of a row: its own function runs once more, on arrays that write down what is done with
them (``recording.py``). Views are no calls; they become parts of what they look at. What can't be written down (a
value read by Python, fancy indexing, a function without ``out``) stays one call, which makes its own arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import inner
from .fusion import Fusion
from .primitives import Part, Placed, Primitive, at, each, in_memory_order, whole
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
    parts: dict[Value, Part] = {}
    layouts: dict[Value, Part] = {}
    arrays: dict[Value, Any] = {v: array_of(v) for v in program.outside()}
    for v, a in arrays.items():
        if in_memory_order(a).flags.c_contiguous:
            parts[v] = layouts[v] = whole(v, a)
    lines: list[Any] = []
    number, written = itertools.count(1), set[Value]()
    last = {v: i for i, line in enumerate(program.lines) for v in line.reads()}
    outside = {*arrays}
    for i, line in enumerate(program.lines):
        lines += _lowered(line, parts, layouts, arrays, array_of, number, written)
        needed = {parts[v].value for v in parts if last.get(v, -1) > i}
        for v in [v for v in arrays if v not in needed and v not in outside]:
            del arrays[v]
    return Lowered(
        Program(lines, program.arguments, program.tensors, program.constants, program.outputs),
        parts,
        layouts,
        written,
    )


def _lowered(
    line: Any,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    array_of: Any,
    number: Iterator[int],
    written: set[Value],
) -> list[Any]:
    """A line as primitives if it can be, else itself; what its results are is entered."""
    if _may_be(line) and all(v in parts for v in line.reads()):
        try:
            write = _written if reference_of(inner(line.function)) is None else _placed
            return [*write(line, parts, layouts, arrays, number, written)]
        except Exception:  # Opaque, or what a recorded array can't do
            pass
    if isinstance(line, Fusion):
        for r in (*line.kernel.results, *line.kernel.sums):
            if r.value in line.results:
                arrays[r.value] = laid(r)
                parts[r.value] = layouts[r.value] = whole(r.value, arrays[r.value])
                written.add(r.value)
        return [line]
    for v in line.results:
        if (
            v is not None
            and not isinstance(line, ReadGrad)
            and v not in parts
            and not v.view
            and v.contiguous
        ):
            arrays[v] = array_of(v)
            parts[v] = layouts[v] = whole(v, arrays[v])
    return [line]


def _may_be(line: Any) -> bool:
    """Is it a row, a rule or a kernel on NumPy's arrays?"""
    return isinstance(line, Line) and line.m is np and line.pure


def _written(
    line: Line,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    number: Iterator[int],
    all_written: set[Value],
) -> list[Primitive]:
    """A line's primitives; what its results are is entered in ``parts``."""
    tape = Tape(line, number)
    for v in dict.fromkeys(parts[v].value for v in line.reads()):
        tape.know(v, arrays[v])

    def given(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        p = parts[x]
        return tape.recorded(at(arrays[p.value], p), p.value)

    args, attrs = replaced(line.args, given), replaced(line.attrs, given)
    with np.errstate(all="ignore"):
        result = line.function(Namespace(tape), *args, **attrs)
    results = list(result) if type(result) in (tuple, list) else [result]
    if len(results) != len(line.results):
        raise Opaque("its results are in another form")
    found: list[tuple[Value, Part]] = []
    for value, r in zip(line.results, results, strict=True):
        if value is None:
            continue
        if r is None or (not isinstance(r, np.ndarray) and not isinstance(r, np.generic)):
            raise Opaque("a result is no array")
        r = tape.recorded(tape.copied(np.asarray(r))) if type(r) is not Recorded else r
        part = tape.part(r)
        if part.shape != value.shape or part.dtype != value.dtype:
            raise Opaque("a result has another form")
        found.append((value, part))
    for v, part in found:
        own = tape.named(v, part)
        parts[v] = own
    all_written.update(tape.made)
    for made, array in tape.made.items():
        arrays[made], layouts[made] = array, whole(made, array)
        parts.setdefault(made, layouts[made])
    return tape.lines


def _placed(
    line: Line,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    number: Iterator[int],
    all_written: set[Value],
) -> list[Primitive]:
    """A kernel's call, its results where they are asked for; it runs once more, to see what it asks for."""
    tape, asked = Tape(line, number), list[Any]()

    def give(shape: Any, dtype: Any) -> Any:
        asked.append(plain(tape.fresh(np.empty(shape, dtype))))
        return asked[-1]

    given = lambda x: at(arrays[parts[x].value], parts[x]) if isinstance(x, Value) else x  # noqa: E731
    backend.PLACES.given = give
    try:
        with np.errstate(all="ignore"):
            made = line.function(line.m, *replaced(line.args, given), **replaced(line.attrs, given))
    finally:
        backend.PLACES.given = None
    results = made if type(made) in (tuple, list) else (made,)
    if not asked or len(results) != len(line.results):
        raise Opaque("it asks for no memory")
    placed: dict[int, Part] = {}
    for i, (v, r) in enumerate(zip(line.results, results, strict=True)):
        if v is not None and any(np.may_share_memory(a, r) for a in asked):
            placed[i] = tape.part(r)
    for i, part in placed.items():
        value: Any = line.results[i]
        parts[value] = tape.named(value, part)
        placed[i] = parts[value]
    into_memory = tuple([whole(v, a) for v, a in tape.made.items()])
    all_written.update(tape.made)
    for v, a in tape.made.items():
        arrays[v], layouts[v] = a, whole(v, a)
        parts.setdefault(v, layouts[v])
    rest = [None if i in placed else v for i, v in enumerate(line.results)]
    for v, r in zip(rest, map(np.asarray, results), strict=True):
        if v is not None and v not in parts and not v.view and v.contiguous and r.flags.c_contiguous:
            arrays[v], parts[v] = r, whole(v, r)
            layouts[v] = parts[v]
    args = tuple(replaced(line.args, lambda x: parts[x] if isinstance(x, Value) else x))
    kwargs = dict(replaced(line.attrs, lambda x: parts[x] if isinstance(x, Value) else x))
    return [
        Placed(line.function, line.name, args, kwargs, line, results=rest, given=into_memory, placed=placed)
    ]


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
            if isinstance(line, Placed):
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
