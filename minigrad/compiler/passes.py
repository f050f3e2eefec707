"""What is done to a program before it is written out, one function a pass: program in, program out.

In their order: :func:`without_repeats` runs equal calls once, ``rewrites.rewritten`` does the rows' algebra, ``pieces.beside`` puts gradients of
slices side by side,
:func:`without_dead` leaves out what nobody reads, ``again.made_again`` makes large results twice rather than keeping them, ``fusion.with_chains`` makes loops of chains, ``epilogues.with_epilogues`` puts them in those of products, ``blocks.with_blocks`` runs others in parts; :func:`last_uses` says after which line each array can be let go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import inner, settled
from .again import made_again
from .blocks import with_blocks
from .epilogues import with_epilogues
from .fusion import with_chains
from .nests import replaced
from .pieces import beside
from .program import AddGrad, HostLine, Line, Program, ReadGrad, Value, written_memory
from .rewrites import rewritten
from .rows import row_of

After = Callable[[str, Program], None]  # is told each pass and what it gave


def _nobody(name: str, program: Program) -> None:
    pass


def simplified(program: Program, after: After = _nobody) -> Program:
    """Every pass that leaves calls whole, in order."""
    for one in (without_repeats, rewritten, beside, without_dead):
        program = one(program)
        after(one.__name__, program)
    return program


def grouped(program: Program, after: After = _nobody) -> Program:
    """Every pass that makes one call of several, in order."""
    for one in (made_again, with_chains, with_epilogues, with_blocks):
        program = one(program)
        after(one.__name__, program)
    return program


def without_repeats(program: Program) -> Program:
    """Common subexpressions: of pure calls with equal function, arguments and attributes the first stays.

    Between two calls nobody may have written to what they read: a write ends what is known of the memory
    that it touches, a call of Python all that is known. Nor may anybody ever write to what they made, which
    leaves out what lines write to and what leaves the program.
    """
    apart = written_memory(program)
    outside = {v.memory for v in program.outside()}
    outside |= {v.memory for line in program.lines if isinstance(line, ReadGrad) for v in line.results if v}
    owner = lambda v: 0 if v.memory in outside else v.memory  # noqa: E731 - arguments may share their memory
    known: dict[Any, Line] = {}
    version: dict[int, int] = {}
    same: dict[Value, Value] = {}
    everything, lines = 0, list[Any]()
    for line in program.lines:
        if isinstance(line, HostLine):
            everything += 1
            lines.append(line)
            continue
        if not isinstance(line, Line):
            everything += isinstance(line, AddGrad)  # which may write to any .grad
            lines.append(line)
            continue
        line.args = replaced(line.args, lambda v: same.get(v, v) if isinstance(v, Value) else v)
        line.attrs = replaced(line.attrs, lambda v: same.get(v, v) if isinstance(v, Value) else v)
        if not line.pure:
            for v in line.writes():
                version[owner(v)] = version.get(owner(v), 0) + 1
            lines.append(line)
            continue

        def part(v: Any) -> Any:
            if isinstance(v, Value):
                return id(v), version.get(owner(v), 0)
            return type(v), str(v) if isinstance(v, np.dtype) else repr(v)

        parts = _frozen((replaced(line.args, part), replaced(line.attrs, part)))
        key = (id(line.function), id(line.m), everything, parts)
        first = known.setdefault(key, line)
        if first is line or any(
            v is not None and (v.view or v.memory in apart) for v in (*first.results, *line.results)
        ):
            lines.append(line)
            continue
        for old, new in zip(line.results, first.results, strict=True):
            if old is not None and new is not None:
                same[old] = new
    outputs = [same.get(v, v) for v in program.outputs]
    return Program(lines, program.arguments, program.tensors, program.constants, outputs)


def _frozen(nest: Any) -> Any:
    if isinstance(nest, dict):
        return tuple((k, _frozen(v)) for k, v in nest.items())
    return tuple(map(_frozen, nest)) if isinstance(nest, (list, tuple)) else nest


def without_dead(program: Program) -> Program:
    """Dead code: pure calls whose results nobody reads are left out, from the end to the start."""
    read, lines = set(program.outputs), []
    for line in reversed(program.lines):
        if isinstance(line, Line) and line.pure and not any(v in read for v in line.results):
            continue
        if isinstance(line, Line):
            line.results = [v if v in read else None for v in line.results]
            line = without_ahead(line)
        lines.append(line)
        read.update(line.reads())
    kept = lambda table: {v: x for v, x in table.items() if v in read}  # noqa: E731
    return Program(
        lines[::-1], program.arguments, kept(program.tensors), kept(program.constants), program.outputs
    )


def without_ahead(line: Line) -> Line:
    """A line that makes a gradient which nobody reads, with a forward in its place that doesn't; others as they are."""
    function = inner(line.function)
    row, _ = row_of(function)
    for kernel in row.kernels.values() if row is not None else ():
        if function is kernel.ahead and line.results[-1] is None:
            plain = settled(kernel.forward, row, None)
            return Line(plain, line.m, line.args, line.attrs, line.results[:-1])
    return line


def last_uses(program: Program) -> list[list[Value]]:
    """For each line the values that no later line reads: their names can be let go, and so their memory."""
    held, found = {*program.outputs, *program.outside()}, []
    for line in reversed(program.lines):
        ends = [v for v in dict.fromkeys((*line.reads(), *line.results)) if v is not None and v not in held]
        held.update(ends)
        found.append(ends)
    return found[::-1]


def peak_bytes(program: Program) -> int:
    """The most memory that arrays made by the program hold at once, by :func:`last_uses`."""
    outside = {v.memory for v in program.outside()}
    alive: dict[int, int] = {}
    holders: dict[int, set[Value]] = {}
    peak = 0
    for line, ends in zip(program.lines, last_uses(program), strict=True):
        for v in line.results:
            if v is not None and v.memory not in outside:
                alive[v.memory] = max(alive.get(v.memory, 0), v.nbytes)
                holders.setdefault(v.memory, set()).add(v)
        peak = max(peak, sum(alive.values()))
        for v in ends:
            holders.get(v.memory, set()).discard(v)
            if v.memory in holders and not holders[v.memory]:
                del holders[v.memory], alive[v.memory]
    return peak
