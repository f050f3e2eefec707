"""A program in memory that is planned for it, and what it does where that memory is in use."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from .. import backend
from . import tolerance
from .emit import Source
from .fusion import Fusion
from .layouts import without_copies
from .leaving import begun_in_operands
from .lowering import lowered
from .memory import Plan, block
from .program import Program, Value
from .repeats import without_repeats


class Arena:
    """The block of memory that the programs of one compiled function share, one call at a time."""

    def __init__(self) -> None:
        self.memory = block(1)
        self.lock = threading.Lock()

    def of(self, nbytes: int) -> Any:
        """The block, larger if need be."""
        if nbytes > self.memory.nbytes:
            self.memory = block(nbytes)
        return self.memory


class Planned:
    """A program, called with arrays. In another thread's call, or one within a call, its arrays are made anew."""

    def __init__(
        self,
        program: Program,
        title: str,
        array_of: Callable[[Value], Any],
        arena: Arena,
        kept: dict[str, list[Any]],
    ) -> None:
        low = lowered(program, array_of)
        for one in (without_repeats, without_copies, begun_in_operands):
            low = one(low)
        self.plan = Plan(low)
        self.source = Source(self.plan.program, title, self.plan, kept)
        self.arena, self.program, self.used = arena, program, True
        self.memory: Any = None
        self.function: Any = None

    def __call__(self, *arrays: Any) -> Any:
        arena = self.arena
        if not self.used or not arena.lock.acquire(False):
            return self.anew(*arrays)
        try:
            if self.memory is not arena.memory:  # the first call since it was traced, whose arrays are gone
                backend.give_back_freed_memory()
                self.memory = arena.of(self.plan.size)
                self.function = self.source.function(self.memory)
            return self.function(*arrays)
        finally:
            arena.lock.release()

    @functools.cached_property
    def plain(self) -> Source:
        """The program without places."""
        return Source(self.program, self.source.title)

    @functools.cached_property
    def anew(self) -> Callable[..., Any]:
        """The program with arrays that are made anew."""
        return self.plain.function()

    def check(self) -> None:
        """From now on every loop is compared with the calls that it stands for, and their results go on."""
        if any(isinstance(line, Fusion) for line in self.program.lines):
            self.used = False
            tolerance.check(self.program, self.anew)

    def timed(self, seconds: dict[str, float]) -> Any:
        """The program with memory of its own, which adds what its lines take to ``seconds``; ``anew`` as well."""
        made: Any = self.source.function(block(self.plan.size), seconds)
        made.anew = self.plain.function(None, seconds)
        return made
