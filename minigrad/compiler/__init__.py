"""``minigrad.compile``: a function is traced once and replayed without building a graph.

The first call runs as always while it is recorded (``trace.py``); what it did becomes a straight program
(``program.py``), simplified (``passes.py``) and written as Python (``emit.py``), which later calls run while
everything that the trace relied on still holds (``guards.py``). PyTorch's names: ``compiler.reset()``,
``compiler.is_compiling()``.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Variable
from ..modes import STATE
from ..nest import flatten
from . import guards
from .backward import ended, traced
from .blocks import Block
from .emit import name_tensors
from .identity import never, same
from .names import Kept
from .outputs import Outputs
from .passes import grouped, simplified
from .planned import Arena, Planned
from .program import HostLine, Line, Program, ReadGrad, SetGrad, Value
from .report import Report
from .stages import Stages, described
from .trace import CompileError, Tracer

__all__ = ["CompileError", "Compiled", "compile", "is_compiling", "reset"]

LIMIT = 16  # programs that one function keeps; the longest unused goes first
_all: weakref.WeakSet[Compiled] = weakref.WeakSet()


class Replay:
    """One traced call: the program, what it relies on, and how the result is put together again."""

    about = ""  # what of it, where it serves several sizes
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
        self.first: Any = [tracer.array_of(v) for v in (*values, *saved)]  # until they are given
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
        self.places = self.planned.source.places
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
                *[arguments[i] for i in self.places],
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


class Compiled:
    """A compiled function. It is called as the function is; ``source()`` and ``report()`` show what it runs."""

    def __init__(
        self, function: Callable[..., Any], verify: bool = False, dynamic_batch: bool = False
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.verify, self.dynamic_batch = function, verify, dynamic_batch
        self.title = getattr(function, "__name__", type(function).__name__)
        self.retraces = 0
        self._programs: OrderedDict[Any, list[Replay]] = OrderedDict()
        self._lock = threading.RLock()
        self._arena = Arena()
        self._last: Replay | None = None
        self._timing = False
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Lets all programs go; the next call is traced."""
        with self._lock:
            self._programs.clear()
            self._last, self.retraces, self._ready = None, 0, backend.READY[0]
            self._sizes: Any = None
            if self.dynamic_batch:
                from .dynamic import Sizes

                self._sizes = Sizes()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if (
            last is not None
            and last.same is not None
            and not kwargs
            and self._ready == backend.READY[0]
            and last.same(args)
            and not (self.verify or self._timing)
        ):
            return last([x for x in args if isinstance(x, Variable)])
        if (
            STATE.get().recorder is not None
        ):  # within another compiled function, or under a capture: a part of it
            return self.function(*args, **kwargs)
        leaves, _ = flatten((args, kwargs))
        arguments = [x for x in leaves if isinstance(x, Variable)]
        if self._ready != backend.READY[0]:
            self.forget()  # kernels have been compiled since
        key = guards.key((args, kwargs), leaves)
        known = (r for r in self._programs.get(key, ()) if r.guards.hold(arguments))
        replay = next(known, None)
        if replay is None and self._sizes is not None:
            replay = self._sizes.replay(key, arguments)
        if replay is None:
            with self._lock:
                return self._trace(key, arguments, args, kwargs)
        if replay.run is None:  # a batch size that comes again
            with self._lock:
                self._plan(replay, replay.array_of(arguments))
        self._last = replay
        if replay.same is None and not kwargs:
            replay.same = same(replay.guards, args, arguments) or never
        if self.verify:
            return self._checked(replay, arguments, args, kwargs)
        return replay.timed(arguments) if self._timing else replay(arguments)

    def has_program(self, *args: Any, **kwargs: Any) -> bool:
        """Would a call with these arguments be replayed?"""
        leaves, _ = flatten((args, kwargs))
        arguments = [x for x in leaves if isinstance(x, Variable)]
        key = guards.key((args, kwargs), leaves)
        known = any(r.guards.hold(arguments) for r in self._programs.get(key, ()))
        if not known and self._sizes is not None:
            known = self._sizes.replay(key, arguments) is not None
        return self._ready == backend.READY[0] and known

    def _plan(self, replay: Replay, array_of: Callable[[Value], Any]) -> None:
        """Makes a traced call ready to be replayed."""
        if replay.run is not None:  # another thread has
            return
        replay.plan(array_of, self.title, self._arena)
        if self.verify:
            for part in (replay.planned, *([] if replay.backward is None else [replay.backward.run])):
                part.check()

    def _trace(self, key: Any, arguments: list[Any], args: Any, kwargs: Any) -> Any:
        given = Kept((args, kwargs))
        others = [x for x in flatten((args, kwargs))[0] if not isinstance(x, Variable)]
        candidates = [] if self._sizes is None else self._sizes.candidates(key, arguments)
        with Tracer(self.function, arguments, others) as tracer:
            modes = guards.modes()
            result = self.function(*args, **kwargs)
            if guards.modes() != modes:
                raise CompileError(f"compile: {self.title} leaves grad mode or the default dtype changed, which a replay doesn't do "
                                   f"again; use a with block, or change it outside")  # fmt: skip
            for t in flatten(result)[0]:
                getattr(t, "requires_grad", None)  # brings a view's history up to date
        if not given.holds((args, kwargs)):
            raise CompileError(f"compile: {self.title} changes a list or dict that it was given, which a replay doesn't do "
                               f"again; return what is new")  # fmt: skip
        replay = Replay(tracer, result, self.title)
        arrays, replay.first = replay.first, None
        many = [] if self._sizes is None else [*self._sizes]
        served: Any = None
        if candidates:
            served = self._sizes.fitting(candidates, replay, key, arguments, self.title)
        if served is None:
            self._plan(replay, tracer.array_of)
            self._keep(key, replay)
            served = replay
        elif served not in many:
            self.retraces += 1
        if backend.kernels_wait():
            self._ready = backend.READY[0]  # what it needs was compiled on the way
        self._last = served
        return served.given(arrays, arguments) if served.backward is not None else result

    def _keep(self, key: Any, replay: Replay) -> None:
        """Keeps a program for the calls of this key; the longest unused goes."""
        self.retraces += bool(self._programs)
        self._programs.setdefault(key, []).insert(0, replay)
        self._programs.move_to_end(key)
        del self._programs[key][LIMIT:]
        while len(self._programs) > LIMIT:
            self._programs.popitem(last=False)
        if self._sizes is not None:
            self._sizes.add(key, replay)

    def _checked(self, replay: Replay, arguments: list[Any], args: Any, kwargs: Any) -> Any:
        """Runs eagerly, goes back, replays, and compares every result and everything written."""
        with guards.Snapshot(replay, arguments) as before:
            eager = before.state(self.function(*args, **kwargs))
        result = replay(arguments)
        before.compare(eager, before.state(result), self.title)
        return result

    # ---- what it runs ------------------------------------------------------------------------------------

    def _latest(self) -> Replay:
        if self._last is None:
            raise RuntimeError(
                f"compile: {self.title} has not been called yet, so that there is nothing to show"
            )
        return self._last

    def source(self) -> str:
        """The Python that the last call ran, backward after forward where there is one."""
        replay = self._latest()
        backward = replay.backward
        return replay.planned.source.text + ("" if backward is None else "\n\n" + backward.run.source.text)

    def report(self) -> Report:
        """What the last call ran, function by function: calls, bytes, flops, and the seconds if any were timed."""
        replay = self._latest()
        programs = [replay.program, *([] if replay.backward is None else [replay.backward.program])]
        runs = [replay.planned, *([] if replay.backward is None else [replay.backward.run])]
        plans = [run.plan for run in runs if isinstance(run, Planned)]
        return Report(f"{self.title}{replay.about}", programs, plans, replay.seconds, replay.replays)

    def passes(self) -> Stages:
        """What the last call ran, as it was traced and after each pass; ``svg()`` and ``memory()`` draw it."""
        replay = self._latest()
        plan = replay.planned.plan
        return Stages(self.title, [*replay.stages, ("in its memory", described(plan.program))], plan)

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """A block whose replays are timed call by call, for :meth:`report`; one at a time, in one thread."""
        self._timing = True
        try:
            yield
        finally:
            self._timing = False
            for replay in (
                *(r for programs in self._programs.values() for r in programs),
                *(() if self._sizes is None else self._sizes.replays()),
            ):
                if replay.backward is not None:
                    replay.backward.timed = None

    @property
    def calls(self) -> int:
        """How many functions a replay calls on arrays, beside calls of Python (an optimizer's step)."""
        return sum(isinstance(line, (Line, Block)) for line in self._latest().program.lines)


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
    verify: bool = False,
    dynamic_batch: bool = False,
) -> Any:
    """A function, training step or Module that is traced at its first call and replayed afterwards.

    Use it as ``@minigrad.compile``, ``@minigrad.compile(verify=True)`` or ``compile(model)``. The arguments
    are nests of tensors and anything else that compares; a call whose shapes, dtypes, strides, other
    arguments, grad mode or kernel set are new, or that finds a called module's settings, a parameter's shape
    or a ``.grad`` that is or isn't there changed, is traced again. Optimizers' and schedules' steps run as
    Python at every replay, random numbers are drawn anew. what names lead to (globals, closures, attributes)
    is compared, other Python numbers are read once. Raises :class:`CompileError` for what can't be replayed: a value
    read on the host, a shape that depends on values, a return value that is no tensor.

    ``verify`` compares every replay with the uncompiled function, bit for bit, and every loop that stands for several
    calls with these, within rounding. ``disable`` gives the function back. The whole function is always one program (PyTorch's ``fullgraph``). There is one compiler:
    ``backend``, ``mode`` and ``options`` choose between PyTorch's.

    ``dynamic_batch`` keeps the batch size symbolic, which is the first dimension that the tensors among the
    arguments have in common: from the second size on (0 and 1 apart) one program serves all sizes, where
    their calls differ in numbers alone that are ``a·n + b`` or ``k / n``. Python may branch on the size, which no trace
    sees; so the first call of each size runs the function, recorded, and is compared with the program line by
    line, and a size that differs gets a program of its own. ``dynamic=True``, which in PyTorch makes every
    dimension symbolic, means the same here: other dimensions are traced one by one.
    """
    dynamic_batch = dynamic_batch or bool(dynamic)
    if model is None:
        return lambda f: compile(f, dynamic_batch=dynamic_batch, disable=disable, verify=verify)
    if disable:
        return model
    from .module import OptimizedModule, is_module

    kind: Any = OptimizedModule if is_module(model) else Compiled
    return kind(model, verify, dynamic_batch)


def is_compiling() -> bool:
    """True while a compiled function's call is being traced."""
    return STATE.get().tracer is not None


def reset() -> None:
    """Forgets every program of every compiled function; each is traced again at its next call."""
    for compiled in list(_all):
        compiled.forget()
