"""Cache blocking: elementwise calls in a row run together, part after part, on parts that stay in the cache.

A chain such as bias + GELU reads and writes an array of its size a dozen times; if that doesn't fit the cache, every
time is a trip to memory. A :class:`Block` runs the rows' own functions on a few thousand elements at a time, so that
only its operands and results make the trip, once. Each element is computed by the same calls: the bits are equal.
"""

from __future__ import annotations

import opcode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import inner
from .program import Line, Program, Value
from .rows import reference_of, row_of

PART = 2**15  # elements of a part: in float32 128 KB an operand, of which a core's cache holds several
LEAST = 2**16  # elements from which parts pay for their loop
_WORK = {
    code
    for name, code in opcode.opmap.items()
    if name.startswith(("BINARY_OP", "CALL", "UNARY_", "COMPARE_OP"))
}


@dataclass(eq=False)
class Block:
    """Lines that are run on parts of their arrays, all of one shape or of its last dimension, or single numbers."""

    lines: list[Line]
    results: list[Value | None] = field(default_factory=list)  # those that are read outside

    @property
    def shape(self) -> tuple[int, ...]:
        return next(v.shape for line in self.lines for v in line.results if v is not None)

    @property
    def name(self) -> str:
        return " + ".join(dict.fromkeys(line.name for line in self.lines))

    def reads(self) -> Iterator[Value]:
        made = {v for line in self.lines for v in line.results}
        yield from (v for line in self.lines for v in line.reads() if v not in made)

    def by_row(self) -> bool:
        """Is an operand repeated along all but the last dimension? Then parts are whole rows."""
        return any(v.shape != self.shape and v.size > 1 for v in self.reads())


def with_blocks(program: Program) -> Program:
    """Puts elementwise lines that follow one another in blocks, where their arrays are large and the work is more than a pass."""
    lines: list[Any] = []
    chain: list[Line] = []

    def close() -> None:
        if len(chain) > 1 or (chain and _heavy(chain[0])):
            lines.append(Block(list(chain)))
        else:
            lines.extend(chain)
        chain.clear()

    for line in program.lines:
        shape = _blockable(line)
        if chain and shape != _blockable(chain[-1]):
            close()
        if shape is None:
            lines.append(line)
        else:
            chain.append(line)
    close()
    read = set(program.outputs)
    for line in reversed(lines):
        if type(line) is Block:
            line.results = [v for inner in line.lines for v in inner.results if v in read]
        read.update(line.reads())
    return Program(lines, program.arguments, program.tensors, program.constants, program.outputs)


def _blockable(line: Any) -> tuple[int, ...] | None:
    """The shape of the result of a line that may be run on parts of it; None for any other."""
    if not isinstance(line, Line) or line.m is not np or len(line.results) != 1:
        return None
    made, (row, _), function = line.results[0], row_of(line.function), inner(line.function)
    if row is None or not row.elementwise:
        return None
    function = reference_of(function) or function  # a kernel works on parts as well
    if function is not row.forward and not any(function is r.function and _plain(r) for r in row.rules):
        return None  # a rule that reads shapes
    if made is None or not made.ndim or made.size < LEAST or made.view or not made.contiguous:
        return None
    shape, by_row = made.shape, False
    for v in line.reads():
        alike = v.shape in (shape, shape[-1:]) if v.size > 1 else v.ndim < 2
        if v is made or not v.contiguous or not alike:
            return None
        by_row = by_row or v.size > 1 and v.shape != shape
    return shape if shape[-1] <= PART or not by_row else None


def _plain(rule: Any) -> bool:
    return all(kind in ("input", "output", "attr") for kind, _ in rule.reads)


def _heavy(line: Line) -> bool:
    """Does its function alone go over its arrays several times? Told by the operations in its code, and a row's flops."""
    function, (row, _) = inner(line.function), row_of(line.function)
    if reference_of(function) is not None:
        return False
    operations = sum(unit in _WORK for unit in function.__code__.co_code[::2])
    return operations >= 4 and (function is not row.forward or row.flops >= 8)


def parts(block: Block) -> tuple[tuple[int, ...], list[slice]]:
    """The shape in which a block's arrays are cut along the first dimension, and the cuts."""
    size, row = int(np.prod(block.shape)), block.shape[-1]
    shape, step = ((size // row, row), max(PART // row, 1)) if block.by_row() else ((size,), PART)
    return shape, [slice(i, min(i + step, shape[0])) for i in range(0, shape[0], step)]
