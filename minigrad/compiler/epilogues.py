"""Epilogues: a chain, or one elementwise call, that reads what a matrix product makes is run by the product's own loop, part by part.

Whether there is such a loop and whether it pays is for the kernel set to say. The product is moved to its chain, if nothing in
between reads it or writes to anything. A rule that makes several gradients is split, so that the one that a chain reads has
a call of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .. import backend
from ..autograd import inner
from .fusion import Fusion
from .program import Line, Program, Value
from .rows import reference_of, row_of
from .steps import step_of


def with_epilogues(program: Program) -> Program:
    """Puts chains in the loops of the products that they read, where a selected kernel set has such loops."""
    for kernel_set, make in backend.fusers():
        if hasattr(make, "epilogue"):
            program = _joined(program, kernel_set, make)
    return program


def _joined(program: Program, kernel_set: str, make: Any) -> Program:
    readers: dict[Value, int] = dict.fromkeys(program.outputs, 1)
    for line in program.lines:
        for v in dict.fromkeys(line.reads()):
            readers[v] = readers.get(v, 0) + 1
    lines: list[Any] = []
    for line in program.lines:
        for at, to, made in _makers(lines, line):
            product, rest = _alone(lines[at], made)
            step = None if product is None else step_of(product, kernel_set)
            chain = None if step is None else _chain(line, kernel_set, make)
            if product is not None and chain is not None:
                wanted = [made] * (readers[made] > 1) + [v for v in line.results if v is not None]
                kernel = make.epilogue(step, chain, wanted)
                if kernel is not None:
                    calls = line.lines if isinstance(line, Fusion) else [line]
                    lines.insert(to, Fusion([product, *calls], [*wanted], kernel))
                    lines[at : at + 1] = rest
                    break
        else:
            lines.append(line)
    return Program(lines, program.arguments, program.tensors, program.constants, program.outputs)


def _makers(lines: list[Any], line: Any) -> Iterator[tuple[int, int, Value]]:
    """Of what a line reads, each value whose call could be made beside it, from the last on: where that is, where both could be.

    Between the two there are pure calls alone. If none of them reads the value both may be behind them, if none makes what
    the line reads both may be where the value is made.
    """
    reads = set(line.reads()) if isinstance(line, (Line, Fusion)) else set()
    read, made = set[Value](), False  # by the lines from there to here
    for at in reversed(range(len(lines))) if reads else ():
        before = lines[at]
        if not getattr(before, "pure", False):
            return
        found = [v for v in before.results if v in reads]
        if len(found) == 1 and isinstance(before, Line) and not (made and found[0] in read):
            yield at, at + 1 if found[0] in read else len(lines), found[0]
        read.update(before.reads())
        made = made or bool(found)


def _alone(line: Line, made: Value) -> tuple[Line | None, list[Line]]:
    """A kernel's call that makes nothing but this, and one that makes the rest; the reference's bits are others."""
    if reference_of(inner(line.function)) is None:
        return None, []
    rest = [None if v is made else v for v in line.results]
    if not any(rest):
        return line, []
    row, _ = row_of(line.function)
    reads = [kind for kind, _ in row.rules[0].reads] if len(row.rules) == 1 else []
    if "needs" not in reads or reference_of(inner(line.function)) is row.forward:
        return None, []
    place = 1 + reads.index("needs")  # the gradient of the result comes before what the rule reads

    def only(results: list[Value | None]) -> Line:
        needs = tuple(v is not None for v in results)
        return replace(line, args=(*line.args[:place], needs, *line.args[place + 1 :]), results=results)

    return only([v if v is made else None for v in line.results]), [only(rest)]


def _chain(line: Any, kernel_set: str, make: Any) -> Any:
    """The chain that a line is, or one of this call."""
    if isinstance(line, Fusion):
        return line.chain
    step = step_of(line, kernel_set)
    chain = make.chain()
    return chain if step is not None and step.row.elementwise and chain.add(step) else None
