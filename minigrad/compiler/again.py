"""Large elementwise results that wait for the backward are made there again, from operands that wait there anyway.

GELU's result is read by the next product and, at the other end of the step, by that product's rule; GELU's operand is
kept for its own rule. So the result needn't be kept: made twice it costs a pass over memory, where the operand is about
to be read. Chen et al., 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from ..autograd import inner
from .nests import replaced
from .program import Line, Program, Value, leaves, written_memory
from .rows import reference_of, row_of

LARGE = 2**24  # bytes, more than the caches hold: what is kept goes to memory and comes back
LONG = 16  # lines for which it would be kept


def made_again(program: Program) -> Program:
    """The program with large results of elementwise kernels made twice rather than kept for long."""
    reads: dict[Value, list[int]] = {}
    shared: dict[int, int] = {}
    for i, line in enumerate(program.lines):
        for v in dict.fromkeys(line.reads()):
            reads.setdefault(v, []).append(i)
    for v in program.values():
        shared[v.memory] = shared.get(v.memory, 0) + 1
    fixed = written_memory(program) | {v.memory for v in (*leaves(program), *program.outside())}
    lines = [[line] for line in program.lines]  # each with what is made again before it
    number = itertools.count(min(shared, default=0) - 1, -1)
    for line in program.lines:
        made = _large_result(line)
        if made is None or made.memory in fixed or shared[made.memory] > 1:
            continue
        late = _after_the_gap(reads.get(made, []))
        if late is None or any(x.memory in fixed or reads[x][-1] < late for x in line.reads()):
            continue
        readers = [i for i in reads[made] if i >= late]
        if not all(isinstance(lines[i][-1], Line) for i in readers):
            continue
        again = replace(made, name=f"{made.name}_again", memory=next(number))
        swap = lambda x: again if x is made else x  # noqa: E731, B023
        for i in readers:
            old = lines[i][-1]
            lines[i][-1] = replace(old, args=replaced(old.args, swap), attrs=replaced(old.attrs, swap))
        lines[late].insert(0, replace(line, results=[again]))
    whole = [line for group in lines for line in group]
    return Program(whole, program.arguments, program.tensors, program.constants, program.outputs)


def _large_result(line: Any) -> Value | None:
    """What a kernel of an elementwise row makes, if it is large."""
    if not isinstance(line, Line) or not line.pure or len(line.results) != 1:
        return None
    row, _ = row_of(line.function)
    made = line.results[0]
    if made is None or made.view or made.nbytes < LARGE or row is None or not row.elementwise:
        return None
    return made if reference_of(inner(line.function)) is row.forward else None


def _after_the_gap(reads: list[int]) -> int | None:
    """The first read after the longest time without one."""
    gap, late = max(((b - a, b) for a, b in itertools.pairwise(reads)), default=(0, 0))
    return late if gap >= LONG else None
