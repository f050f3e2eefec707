"""A compiled function: which replay answers a call, and the first call of each."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from .. import backend
from ..autograd import Variable
from ..modes import STATE
from ..nest import flatten
from . import guards
from .blocks import Block
from .identity import never, same
from .kept import Kept
from .planned import Arena, Planned
from .program import Line, Value
from .refusals import CompileError
from .replay import LIMIT, Replay
from .report import Report
from .stages import Stages, described
from .trace import Tracer

every: weakref.WeakSet[Compiled] = weakref.WeakSet()


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
        every.add(self)

    def forget(self) -> None:
        """Lets all programs go; the next call is traced."""
        with self._lock:
            self._programs.clear()
            self._last, self.retraces, self._ready = None, 0, backend.READY[0]
            self._sizes: Any = None
            if self.dynamic_batch:
                from .sizes import Sizes

                self._sizes = Sizes()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if last is not None and not kwargs and self._is_as(last, args) and not (self.verify or self._timing):
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

    def _is_as(self, last: Replay, args: tuple[Any, ...]) -> bool:
        """Is a call in everything as the last one was?"""
        return last.same is not None and self._ready == backend.READY[0] and last.same(args)

    def has_program(self, *args: Any, **kwargs: Any) -> bool:
        """Would a call with these arguments be replayed?"""
        if self._last is not None and not kwargs and self._is_as(self._last, args):
            return True
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
            self._plan(replay, tracer.arrays.array_of)
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
