"""Programs that keep the batch size symbolic: two traces of different sizes side by side are one program of ``n``.

What was written down at the two sizes must be the same but for numbers: whole ones that are ``a·n + b``, and ``k / n``
or one over such a number. The program has those in their places and reads ``n`` from an argument's shape. A trace
doesn't see Python that branches on the size, so the first call of every other size is a trace as well, and must be
what the program is at that size, line by line; if it isn't, that size has a program of its own.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np

from .emit import Source
from .identity import never
from .numbers import SIZE, Differs, Filled, Number, at, between, exactly
from .program import Program, Value
from .replay import Replay
from .traces import together

ALONE = 32  # sizes that have a planned program each; others are replayed by that of all sizes


class Sized(Source):
    """The text of a program of a batch size: the length of ``given``, or an argument itself."""

    def __init__(self, program: Program, title: str, given: str = "") -> None:
        self.used = False
        made = [c.line(v) for v, c in program.constants.items() if isinstance(c, Filled)]
        constants = {v: c for v, c in program.constants.items() if not isinstance(c, Filled)}
        program = Program(
            [*made, *program.lines], program.arguments, program.tensors, constants, program.outputs
        )
        super().__init__(program, title)
        if given and self.used:
            self.lines.insert(1, f"    {SIZE} = {given}.shape[0]")
            self._marks = {i + 1: name for i, name in self._marks.items()}
            self.text = "\n".join(self.lines) + "\n"

    def literal(self, x: Any) -> str:
        if type(x) is Number:
            self.used = True
            return x.text()
        if isinstance(x, slice) and Number in map(type, (x.start, x.stop, x.step)):
            return f"slice({', '.join(map(self.literal, (x.start, x.stop, x.step)))})"
        return super().literal(x)

    def free(self, wanted: str) -> str:
        self._taken.add(SIZE)
        return super().free(wanted)


class Unplanned:
    """A program whose arrays are made anew in every call: how large they are depends on the batch size."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.anew = source.function()

    def __call__(self, *arrays: Any) -> Any:
        return self.anew(*arrays)

    def timed(self, seconds: dict[str, float]) -> Any:
        """The program, which adds what its lines take to ``seconds``."""
        made: Any = self.source.function(None, seconds)
        made.anew = made
        return made


Firsts = tuple[int | None, ...]  # the first dimensions of a call's tensors


def batch_of(before: Firsts, now: Firsts) -> frozenset[int] | None:
    """The arguments along whose first dimension the batch is, if no other differs in two calls. A size of 1 is broadcast."""
    batch = frozenset(i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
    found: set[Any] = {(before[i], now[i]) for i in batch}
    return batch if len(found) == 1 and min(*found.pop()) > 1 else None


class Dynamic(Replay):
    """A replay of many batch sizes: of ``sizes``, which are known to be this program.

    Its arrays are made anew in every call, since how large they are depends on the size. A size that comes again is
    replayed by what was traced of it, planned: ``alone``. These share the memory of what leaves them.
    """

    same = staticmethod(never)

    def __init__(
        self, first: Replay, before: Firsts, second: Replay, now: Firsts, arguments: list[Any], title: str
    ) -> None:
        batch: Any = batch_of(before, now)
        self.place = min(batch)
        sizes: Any = before[self.place], now[self.place]
        parts = together(between(*sizes), first, second, arguments)
        vars(self).update(vars(second))
        self.parts, self.batch, self.sizes, self.kept = parts, batch, set(sizes), first.kept
        self.alone: OrderedDict[int, Replay] = (
            OrderedDict()
        )  # the traces of sizes, planned when these come again
        self.others = tuple(None if i in batch else x for i, x in enumerate(now))
        self.seconds = {}
        x = next(v for v, i in parts.forward.arguments.items() if i == self.place)
        source = Sized(parts.forward, title, x.name)
        self.planned = self.run = Unplanned(source)
        self.leaf_places = source.leaves
        if parts.backward is not None:
            given = {**parts.backward.arguments, Value(SIZE, (), np.dtype(int), 8, -1, False, True): -1}
            program = Program(
                parts.backward.lines, given, {}, parts.backward.constants, parts.backward.outputs
            )
            backward: Any = copy.copy(second.backward)
            backward.run = Unplanned(Sized(program, f"{title}_gradient"))
            backward.seeds = []
            self.backward = backward
        self.seen(second, sizes[1])

    def size(self, firsts: Firsts) -> int | None:
        """The batch size of a call, if it is one of this program's."""
        n = firsts[self.place]
        fits = all(
            a == (n if i in self.batch else b)
            for i, (a, b) in enumerate(zip(firsts, self.others, strict=True))
        )
        return n if fits and n is not None and n > 1 else None

    def takes(self, replay: Replay, n: int, arguments: list[Any]) -> bool:
        """Is a call that was traced at a batch size this program? Then it is replayed by it from now on."""
        try:
            together(exactly(n), self, replay, arguments)
        except Differs:
            return False
        self.seen(replay, n)
        return True

    def seen(self, replay: Replay, n: int) -> None:
        """The last call that was traced is what the report is about."""
        self.sizes.add(n)
        self.about = replay.about = f" at batch size {n}"
        self.program = replay.unblocked
        if self.backward is not None and replay.backward is not None:
            self.backward.program = replay.backward.unblocked
            replay.backward.seeds = []
        waiting = [k for k, r in self.alone.items() if r.run is None]
        if len(self.alone) < ALONE or waiting:
            if len(self.alone) == ALONE:
                del self.alone[waiting[0]]
            self.alone[n], replay.kept = replay, self.kept

    def given(self, arrays: list[Any], arguments: list[Any]) -> Any:
        n = arguments[self.place]._array.shape[0]
        made = copy.copy(self)
        made.outputs = copy.copy(self.outputs)
        made.outputs.shares = [
            (i, find, is_view, views)
            for (i, find, is_view, _), views in zip(self.outputs.shares, at(self.parts.views, n), strict=True)
        ]
        if self.backward is not None:
            made.backward = copy.copy(self.backward)
            made.backward.sizes = (n,)
            made.backward.roots = [
                (i, shape, dtype)
                for (i, _, dtype), shape in zip(self.backward.roots, at(self.parts.roots, n), strict=True)
            ]
        return Replay.given(made, arrays, arguments)
