"""What leaves a program begins in its operand: a sum whose first term isn't needed any more has the memory of that from its start.

A parameter that is read twice has a gradient that is a sum. With memory of its own beside its terms' in the block, a
table of words would be there three times.
"""

from __future__ import annotations

from typing import Any

from .layouts import users_of
from .lowering import Lowered
from .nests import each
from .primitives import Part, Placed, Primitive
from .program import Value


def begun_in_operands(lowered: Lowered) -> Lowered:
    """The program in which operands, read for the last time by what makes a result that leaves, are in its memory."""
    program, parts, layouts, written = lowered
    users = users_of(lowered)
    for line in reversed(program.lines):
        made: Any = line.made if isinstance(line, Primitive) and line.aligned else None
        if made is None or users[made][0] is not program:
            continue
        operand = _ends_in(line, made, users, lowered)
        if operand is not None:
            line.made = None
            for user in users[operand]:
                _rename(user, operand, made)
            for v, p in parts.items():
                parts[v] = p._replace(value=made) if p.value is operand else p
            users[made] = [program, *users.pop(operand), *[u for u in users[made][1:] if u is not line]]
            written.discard(operand)
            layouts.pop(operand)
    return lowered


def _ends_in(line: Primitive, made: Value, users: dict[Value, list[Any]], lowered: Lowered) -> Value | None:
    """The operand whose life ends as that of the result begins, in the same layout."""
    place = lowered.layouts[made][1:]
    operands = [p for p in line.parts() if p.value is not made]
    for p in operands:
        x = p.value
        ends = (
            x in lowered.written and users[x][-1] is line and all(isinstance(u, Primitive) for u in users[x])
        )
        if ends and p[1:] == place == lowered.layouts[x][1:] and sum(q.value is x for q in operands) == 1:
            return x
    return None


def _rename(line: Primitive, old: Value, new: Value) -> None:
    def renamed(x: Any) -> Any:
        return x._replace(value=new) if type(x) is Part and x.value is old else x

    line.args, line.kwargs = each(line.args, renamed), each(line.kwargs, renamed)
    line.made = new if line.made is old else line.made
    if isinstance(line, Placed):
        line.given, line.placed = each(line.given, renamed), each(line.placed, renamed)
