"""Chains: elementwise calls, and sums of what they give, that a kernel set runs as one loop.

The kernel set that is selected says step by step what it can fuse (:func:`minigrad.backend.register_fuser`). Calls in between
that have nothing to do with a chain run before it, views of its results after it. A chain whose loop is still being
compiled stays as it is; ``blocks.py`` runs it in parts. What a loop may differ by is in :func:`within`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..autograd import inner
from .blocks import Block
from .program import Line, Program, Value, reference_of, replaced, row_of
from .trace import CompileError

STEPS = 100  # of a chain: a loop that is much longer takes long to compile


@dataclass(eq=False)
class Step:
    """A line as a kernel set sees it: the row, the function that its reference runs, and what that is given."""

    line: Line
    row: Any
    function: Callable[..., Any]

    @property
    def forward(self) -> bool:
        return self.function is self.row.forward

    @property
    def name(self) -> str:
        return self.row.name if self.forward else row_of(self.function)[1]

    @property
    def args(self) -> Any:
        return self.line.args

    @property
    def attrs(self) -> Any:
        return self.line.attrs

    @property
    def results(self) -> list[Value | None]:
        return self.line.results

    @property
    def reads(self) -> list[Value]:
        return list(self.line.reads())

    @staticmethod
    def mapped(nest: Any, value: Callable[[Value], Any], number: Callable[[float], Any]) -> Any:
        """Arguments with values and floats replaced."""
        return replaced(
            nest, lambda x: value(x) if isinstance(x, Value) else number(x) if type(x) is float else x
        )


@dataclass(eq=False)
class Fusion(Block):
    """A block that is one loop: ``kernel`` is what the kernel set made of it. ``called`` is its name in the source."""

    kernel: Any = None
    called: str = ""
    pure = True  # nothing but its own results is written to

    def reads(self) -> Iterator[Value]:
        made: set[Value] = set()  # so far: a rule may give back what it was given
        for line in self.lines:
            yield from (v for v in line.reads() if v not in made)
            made.update(v for v in line.results if v is not None and v not in line.reads())


def step_of(line: Any, kernel_set: str) -> Step | None:
    """A line that one may try to fuse: pure, on NumPy's arrays, and not another kernel set's."""
    if not isinstance(line, Line) or line.m is not np or not line.pure:
        return None
    row, _ = row_of(line.function)
    function = inner(line.function)
    reference = reference_of(function)
    if reference is not None and function not in [f for k in row.kernels.values() if k.kernel_set == kernel_set
                                                  for f in (k.forward, *k.rules)]:  # fmt: skip
        return None
    return Step(line, row, reference or function)


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
    block = Fusion([s.line for s in chain.steps], list(wanted), kernel)
    before = sorted([*at.before, *apart], key=lambda line: order[id(line)])
    assert len(before) + len(mine) + len(at.after) == len(at.seen)
    return iter([*before, block, *at.after])


# ---- how far a loop may be from the calls -------------------------------------------------------------------

ULPS = 4  # that every step of a chain may be off by
_SAFETY = 4.0


def run(
    lines: list[Line], given: dict[Value, Any], moved: Callable[[Any], Any] = lambda a: a
) -> dict[Value, Any]:
    """The values of lines by the calls that they stand for, what is given and every value ``moved`` before it is read."""
    held = {v: moved(a) for v, a in given.items()}
    with np.errstate(all="ignore"):
        for line in lines:
            args = replaced(line.args, lambda x: held[x] if isinstance(x, Value) else x)
            attrs = replaced(line.attrs, lambda x: held[x] if isinstance(x, Value) else x)
            found = line.function(line.m, *args, **attrs)
            found = found if isinstance(found, (tuple, list)) else (found,)
            for v, array in zip(line.results, found, strict=True):
                if v is not None and v not in held:
                    held[v] = moved(np.asarray(array))
    return held


def within(block: Fusion, given: dict[Value, Any], found: dict[Value, Any]) -> str:
    """What a loop gave compared with the calls: "" if it is as near as rounding brings it.

    A result may be off by what it would be off by if operands and every step of the chain were off by :data:`ULPS` units in the
    last place (four times the farthest of several draws of their signs), and by as many units of its own. NaN and infinity
    are where they are.
    """
    exact = run(block.lines, given)
    rng = np.random.default_rng(0)
    slack = {v: ULPS * np.spacing(np.abs(exact[v])) for v in found if exact[v].dtype.kind == "f"}
    for draw in range(4):

        def moved(a: Any, draw: int = draw) -> Any:
            if a.dtype.kind != "f":
                return a
            signs = (-1) ** draw if draw < 2 else rng.choice([-1, 1], a.shape)
            return np.where(np.isfinite(a), a + (ULPS * signs * np.spacing(np.abs(a))).astype(a.dtype), a)

        other = run(block.lines, given, moved)
        for v in slack:
            with np.errstate(all="ignore"):
                slack[v] = np.fmax(slack[v], _SAFETY * np.abs(other[v] - exact[v]))
    for v, array in found.items():
        if array.shape != exact[v].shape or array.dtype != exact[v].dtype:
            return f"{v} is {array.dtype}{array.shape} and not {exact[v].dtype}{exact[v].shape}"
        with np.errstate(all="ignore"):
            if v in slack:
                same = (array == exact[v]) | (np.isnan(array) & np.isnan(exact[v]))
                near = same | (np.abs(array - exact[v]) <= slack[v])
            else:
                near = array == exact[v]
        if not np.all(near):
            worst = np.nanmax(np.abs(array.astype(np.float64) - exact[v]) * ~near)
            return f"{v} is off by up to {worst:.3g} in {np.sum(~near)} of {near.size} elements"
    return ""


def check(program: Program, run_program: Callable[..., Any]) -> None:
    """Has every loop of a program compared with the calls that it stands for, whose results go on."""
    space = run_program.__globals__
    for block in program.lines:
        if isinstance(block, Fusion):
            space[block.called] = _checked(block, space[block.called])


def _checked(block: Fusion, loop: Callable[..., Any]) -> Callable[..., Any]:
    reads = list(dict.fromkeys(block.reads()))
    results = [v for v in block.results if v is not None]

    def call(*arrays: Any) -> Any:
        given = dict(zip(reads, arrays, strict=True))
        found = loop(*arrays)
        found = dict(zip(results, found if len(results) > 1 else (found,), strict=True))
        wrong = within(block, given, found)
        if wrong:
            raise CompileError(f"compile: verify found the loop of {block.name} different from the calls that it stands for: "
                               f"{wrong}; use MINIGRAD_KERNELS=off, and report it")  # fmt: skip
        exact = run(block.lines, given)
        return tuple([exact[v] for v in results]) if len(results) > 1 else exact[results[0]]

    return call
