"""Chains: elementwise calls, and sums of what they give, that a kernel set runs as one loop.

The kernel set that is selected says step by step what it can fuse (:func:`minigrad.backend.register_fuser`). Calls in between
that have nothing to do with a chain run before it, views of its results after it. A chain whose loop is still being
compiled stays as it is; ``blocks.py`` runs it in parts. What a loop may differ by is in ``tolerance.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import backend
from .blocks import Block
from .program import Line, Program, Value
from .steps import Step, step_of

STEPS = 100  # of a chain: a loop that is much longer takes long to compile


@dataclass(eq=False)
class Fusion(Block):
    """A block that is one loop: ``kernel`` is what the kernel set made of ``chain``. ``called`` is its name in the source.

    ``scratch``: where the sums of its pieces are, as results that nobody reads, once that is planned.
    """

    kernel: Any = None
    chain: Any = None
    called: str = ""
    scratch: tuple[Value, ...] = ()
    pure = True  # nothing but its own results is written to

    def reads(self) -> Iterator[Value]:
        made: set[Value] = set()  # so far: a rule may give back what it was given
        for line in self.lines:
            yield from (v for v in line.reads() if v not in made)
            made.update(v for v in line.results if v is not None and v not in line.reads())


def with_chains(program: Program) -> Program:
    """Puts calls that a selected kernel set can fuse in loops of theirs."""
    for kernel_set, make in backend.fusers():
        program = _fused(program, kernel_set, make)
    return program


class _Open:
    """A chain that may still grow: what runs before it, its steps, and what reads its results."""

    def __init__(self, make: Any) -> None:
        self.chain = make.chain()
        self.seen: list[Any] = []
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.made: set[Value] = set()
        self.later: set[Value] = set()


def _fused(program: Program, kernel_set: str, make: Any) -> Program:
    readers: dict[Value, int] = {}
    for line in program.lines:
        reads = set(line.reads())
        for v in reads:
            readers[v] = readers.get(v, 0) + 1
        if any(
            v.strides is None for v in reads
        ):  # then nor does anybody know how what is made of it is laid out
            for v in line.results:
                if v is not None and v not in reads:
                    v.strides = None
    for v in program.outputs:
        readers[v] = readers.get(v, 0) + 1
    lines: list[Any] = []
    at = _Open(make)

    def close() -> None:
        nonlocal at
        lines.extend(_closed(at, readers, make))
        at = _Open(make)

    for line in program.lines:
        step = step_of(line, kernel_set)
        if step is None and not (isinstance(line, Line) and line.pure):
            close()
            lines.append(line)
            continue
        reads = set(line.reads())
        if reads & at.later or len(at.chain.steps) == STEPS:
            if step is None or not at.chain.steps or not _small(line, make):
                close()
        if step is not None and not reads & at.later and (at.chain.steps or _starts(step, make)):
            if at.chain.add(step):
                at.seen.append(line)
                at.made.update(v for v in line.results if v is not None and v not in reads)
                continue
            if at.chain.steps and _starts(step, make) and make.chain().add(step):
                close()  # it fuses with what follows rather than with what was
                at.chain.add(step)
                at.seen.append(line)
                at.made.update(v for v in line.results if v is not None and v not in reads)
                continue
        if not at.chain.steps:
            lines.append(line)
        elif not reads & (at.made | at.later):
            at.seen.append(line)
            at.before.append(line)
        elif _small(line, make):
            at.seen.append(line)
            at.after.append(line)
            at.later.update(v for v in line.results if v is not None)
        else:
            close()
            lines.append(line)
    close()
    return Program(lines, program.arguments, program.tensors, program.constants, program.outputs)


def _small(line: Any, make: Any) -> bool:
    """May it wait for what follows it? Views, and what no loop would begin with."""
    return all(v is None or v.view or v.size < make.LEAST for v in line.results)


def _starts(step: Step, make: Any) -> bool:
    return max((v.size for v in (*step.results, *step.reads) if v is not None), default=0) >= make.LEAST


def _closed(at: _Open, readers: dict[Value, int], make: Any) -> Iterator[Any]:
    """The lines of a chain: a loop and what goes around it, or as they were."""
    chain, apart = at.chain, list[Any]()
    while chain.steps:
        inside: dict[Value, int] = {}
        for step in chain.steps:
            for v in set(step.reads):
                inside[v] = inside.get(v, 0) + 1
        made = [v for s in chain.steps for v in s.results if v is not None and v not in s.reads]
        wanted = [v for v in dict.fromkeys(made) if readers.get(v, 0) > inside.get(v, 0)]
        out = set(chain.misfits(wanted))
        if not out:
            break
        rest = make.chain()  # without what makes them: that runs before
        for step in reversed(chain.steps):
            if out & set(step.results):
                out.update(step.reads)
        for step in chain.steps:
            if out & set(step.results) - set(step.reads) or not rest.add(step):
                apart.append(step.line)
        chain = rest
    order = {id(line): i for i, line in enumerate(at.seen)}
    mine = {id(s.line) for s in chain.steps}
    kernel = None
    if chain.steps and all(not set(line.reads()) & set(made) for line in apart):
        kernel = chain.finish(wanted)
    if kernel is None:
        return iter(at.seen)
    block = Fusion([s.line for s in chain.steps], list(wanted), kernel, chain)
    before = sorted([*at.before, *apart], key=lambda line: order[id(line)])
    assert len(before) + len(mine) + len(at.after) == len(at.seen)
    return iter([*before, block, *at.after])
