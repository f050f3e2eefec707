"""Gradients of slices, beside each other instead of added: what x[:, :a] and x[:, a:] give back to x is one concatenation.

The rule of x[index] makes zeros of all of x with a part written, and where x was taken apart (the queries, keys and
values of one product) these are added. If each element is in exactly one part, the sum is the parts in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..op import OPS
from .program import Line, Program, Value, leaves


class Piece(NamedTuple):
    """Elements from ``start`` to ``stop`` along ``dim``; ``value`` has all other dimensions whole, and ``dim`` if ``kept``."""

    start: int
    stop: int
    dim: int
    kept: bool
    value: Value


def beside(program: Program) -> Program:
    """The program with every sum of gradients of slices that are all of one array as one call of cat."""
    made = {
        v: line for line in program.lines if isinstance(line, Line) for v in line.results if v is not None
    }
    readers: dict[Value, int] = {}
    for line in program.lines:
        for v in line.reads():
            readers[v] = readers.get(v, 0) + 1
    written = {v.memory for line in program.lines if not getattr(line, "pure", False) for v in line.reads()}
    pure = all(isinstance(line, Line) and line.pure for line in program.lines)
    held = written | (set() if pure else {v.memory for v in program.outside()})
    alone = {v for v, n in readers.items() if n == 1 and v.memory not in written} - {*leaves(program)}
    inside: set[Value] = set()

    def terms(v: Value, m: Any) -> Iterator[Piece | None]:
        """The pieces that a value is the sum of; None for anything else."""
        line = made.get(v)
        if line is not None and line.m is m and _is_sum(line):
            for x in line.args:
                inside.add(x)
                yield from terms(x, m) if x in alone else [None]
        else:
            piece = None if line is None or line.m is not m else _piece(line)
            if piece is not None and (piece.value.memory in held or not piece.value.contiguous):
                piece = None  # it may have changed by then, or cat would lay out its result otherwise
            yield piece

    lines: list[Any] = []
    for line in reversed(program.lines):
        whole = line.results[0] if isinstance(line, Line) and _is_sum(line) else None
        if whole is not None and whole not in inside:
            found = [*terms(whole, line.m)]
            pieces = [p for p in found if p is not None]
            if len(pieces) == len(found) and _are_all(pieces, whole):
                lines += reversed([*_joined(pieces, line)])
                continue
        lines.append(line)
    return Program(lines[::-1], program.arguments, program.tensors, program.constants, program.outputs)


def _is_sum(line: Line) -> bool:
    whole = line.results[0] if line.function is OPS["add"].forward else None
    return whole is not None and all(isinstance(x, Value) and x.shape == whole.shape for x in line.args)


def _piece(line: Line) -> Piece | None:
    """What the rule of x[index] gives back, where index takes a part along one dimension."""
    if line.function is not OPS["getitem"].rules[0].function:
        return None
    g, shape, index = line.args
    parts = index if isinstance(index, tuple) else (index,)
    if sum(p is Ellipsis for p in parts) > 1 or not all(
        p is Ellipsis or type(p) in (int, slice) for p in parts
    ):
        return None
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    rest = (slice(None),) * (len(shape) - sum(p is not Ellipsis for p in parts))
    cut = list[tuple[int, int, int, bool]]()
    for dim, (p, n) in enumerate(zip((*parts[:at], *rest, *parts[at + 1 :]), shape, strict=True)):
        start, stop, step = p.indices(n) if isinstance(p, slice) else (p % n, p % n + 1, 1)
        if step != 1:
            return None
        if (start, stop) != (0, n) or not isinstance(p, slice):
            cut.append((start, max(start, stop), dim, isinstance(p, slice)))
    return Piece(*cut[0], g) if len(cut) == 1 else None


def _are_all(pieces: list[Piece], whole: Value) -> bool:
    """Is every element of an array in exactly one piece?"""
    pieces.sort(key=lambda p: (p.start, p.stop))
    dims, ends = {p.dim for p in pieces}, [0, *(p.stop for p in pieces)]
    return len(dims) == 1 and [p.start for p in pieces] == ends[:-1] and ends[-1] == whole.shape[dims.pop()]


def _joined(pieces: list[Piece], line: Line) -> Iterator[Line]:
    """The calls that put pieces beside each other, in place of a sum."""
    values = list[Value]()
    for p in pieces:
        v = p.value
        if not p.kept:
            shape = (*v.shape[: p.dim], 1, *v.shape[p.dim :])
            step = v.dtype.itemsize * math.prod(v.shape[p.dim :])
            strides = None if v.strides is None else (*v.strides[: p.dim], step, *v.strides[p.dim :])
            v = Value(f"{v.name}_piece", shape, v.dtype, v.nbytes, v.memory, True, v.contiguous, strides)
            yield Line(OPS["unsqueeze"].forward, line.m, (p.value,), {"dim": p.dim}, [v])
        values.append(v)
    yield Line(OPS["cat"].forward, line.m, tuple(values), {"dim": pieces[0].dim}, line.results)
