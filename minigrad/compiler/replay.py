"""One traced call, ready to be made again: the program, what it relies on, and how the result is put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Variable
from ..nest import flatten
from . import guards
from .backward import ended, traced
from .outputs import Outputs
from .passes import grouped, simplified
from .planned import Arena, Planned
from .program import HostLine, Line, Program, ReadGrad, SetGrad, Value
from .refusals import CompileError
from .stages import described
from .text import name_tensors
from .trace import Tracer

LIMIT = 16  # programs that one function keeps; the longest unused goes first


class Replay:
    """One traced call: the program, what it relies on, and how the result is put together again."""

    about = ""  # what of it, where it serves several sizes
    parts: Any = None  # of one that serves several sizes: its programs, with numbers in them
    same: Any = None  # tells of a call whether it is like the last that the guards let pass

    def __init__(self, tracer: Tracer, result: Any, title: str) -> None:
        leaves, self.rebuild = flatten(result)
        for x in leaves:
            if x is not None and not isinstance(x, Variable):
                raise CompileError(f"compile: {title} returns {x!r}, a {type(x).__name__}; a compiled function returns "
                                   f"tensors and None, alone or in lists, tuples and dicts: return the number as a tensor, "
                                   f"or compute it outside")  # fmt: skip
        tracer.check()
        tensors = [x for x in leaves if x is not None]
        self.present = [x is not None for x in leaves]
        values = tracer.values_of(tensors)
        self.bumps = tracer.bumps()
        self.guards = guards.Guards(tracer)
        self.names = guards.names_of(tracer.modules.values())
        self.outputs = Outputs(tensors, tracer)
        self.backward = traced(tracer, tensors, values, title)
        tracer.check_names()  # hooks have run
        saved = [] if self.backward is None else self.backward.saved
        self.ended = ended(tracer, tensors)
        program = tracer.program([*values, *saved])
        name_tensors(program, title, self.names)
        self.stages = [("traced", described(program))]
        self.unblocked: Program = simplified(program, self._stage)
        self.program = self.unblocked
        self.count = len(values)
        self.first: Any = [tracer.arrays.array_of(v) for v in (*values, *saved)]  # until they are given
        self.kept: Any = {}, {}  # memory of what leaves the forward and the backward, by the names of values
        self.planned: Any = None
        self.run: Any = None  # until it is planned
        self.seconds: dict[str, float] = {}
        self.clocked: Any = None  # the program with its calls timed
        self.replays = 0  # that were timed

    def _stage(self, name: str, program: Program) -> None:
        self.stages.append((name, described(program)))

    def plan(self, array_of: Callable[[Value], Any], title: str, arena: Arena) -> None:
        """Makes it ready to run; ``array_of`` gives arrays like those of a call."""
        if self.backward is not None:
            self.backward.plan(array_of, arena, self.kept[1])
        self.program = grouped(self.unblocked, self._stage)
        self.planned = Planned(self.program, title, array_of, arena, self.kept[0])
        self.leaf_places = self.planned.source.leaves
        self.run = self.planned

    def array_of(self, arguments: list[Any]) -> Callable[[Value], Any]:
        """The arrays of a call with these arguments: what comes from outside is as it is, the rest like what was traced."""
        p, backward = self.unblocked, self.backward
        known = {v: arguments[i]._array for v, i in p.arguments.items()}
        known |= {v: t._array for v, t in p.tensors.items()} | p.constants
        if backward is not None:
            known |= backward.unblocked.constants
            given = zip(backward.unblocked.arguments, backward.strides, strict=False)
            known |= {v: v.like(strides) for v, strides in given}
        return lambda v: known[v] if v in known else v.like()

    def __call__(self, arguments: list[Any]) -> Any:
        for find, times in self.bumps:
            find(arguments)._writes[0] += times
        with np.errstate(all="ignore"):
            arrays = self.run(
                *[arguments[i]._array for i in self.program.arguments.values()],
                *[arguments[i] for i in self.leaf_places],
            )
        return self.given(arrays, arguments)

    def timed(self, arguments: list[Any]) -> Any:
        """One call whose parts are timed; its backward is timed too, whenever it comes."""
        if self.clocked is None:
            self.clocked = self.planned.timed(self.seconds)
        self.run = self.clocked
        if self.backward is not None and self.backward.timed is None:
            self.backward.timed = self.backward.run.timed(self.seconds)
        self.replays += 1
        try:
            return self(arguments)
        finally:
            self.run = self.planned

    def leaves(self, arguments: list[Any]) -> list[Any]:
        """Tensors whose gradient it sets."""
        found = [x.leaf for x in self.program.lines if isinstance(x, (ReadGrad, SetGrad))]
        return [arguments[x] if isinstance(x, int) else x for x in found]

    def stateful(self) -> list[Any]:
        """The optimizers and schedules whose steps it calls."""
        owners = (
            getattr(x.function, "__self__", None) for x in self.program.lines if isinstance(x, HostLine)
        )
        found = {id(x): x for x in owners if hasattr(x, "load_state_dict")}
        return list(found.values())

    def generators(self) -> list[Any]:
        """Those that it draws from by name."""
        given = [x.attrs.get("generator") for x in self.program.lines if isinstance(x, Line)]
        return [g for g in given if g is not None]

    def given(self, arrays: list[Any], arguments: list[Any]) -> Any:
        """The result as the caller gets it, tensors over the arrays of one run."""
        outs = self.outputs.make(arrays, arguments)
        if self.backward is not None:
            self.backward.follow(outs, arrays[self.count :], arguments)
        for i, node in self.ended:
            outs[i]._follow(node)
        for i in self.outputs.retained:
            outs[i].retain_grad()
        it = iter(outs)
        return self.rebuild([next(it) if here else None for here in self.present])
