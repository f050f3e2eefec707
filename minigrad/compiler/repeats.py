"""Equal primitives, of which the first stays: what a rule computes anew although its forward had it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .lowering import Lowered
from .nests import each
from .primitives import Called, Part, Placed, Primitive
from .program import Program, Value, leaves, written_memory

SMALL = 2**16  # bytes that may be held on to, so as not to compute them again


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
