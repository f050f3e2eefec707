"""What was written down of one call: the lines, and the tensors, modules and names from outside, as it found and left them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import backend
from ..autograd import Variable, next_number
from ..generator import current_generator
from .arrays import Arrays
from .names import Names
from .program import Program, SetGrad, Value
from .refusals import CompileError, refuse
from .settings import Settings


class Met(NamedTuple):
    """A tensor from outside, as it was when the trace first met it."""

    tensor: Any
    version: int
    node: Any
    requires_grad: bool
    array: Any


class Record:
    """One call: the lines, what it met from outside, and what became of that."""

    def __init__(self, function: Any, arguments: list[Any], others: list[Any]) -> None:
        self.arguments = arguments
        self.places = {id(t): i for i, t in reversed([*enumerate(arguments)])}
        self.generator = current_generator()
        self.since = next_number()  # nodes of the graph with smaller numbers come from outside
        self._mine: dict[int, Any] = {}  # references to tensors that were made here, over whatever memory
        self.lines: list[Any] = []
        self.names = Names()
        self.names.add(function, *others)
        self.met: dict[int, Met] = {}
        self.modules: dict[int, Settings] = {}  # of the modules that were called, and their parts
        self._called: set[int] = set()
        self.entry_grads: list[tuple[Any, bool]] = []  # how to find a leaf; was its grad None at the start?
        self.host_bumps: dict[int, int] = {}  # of tensors' versions, by calls of Python
        self._grads: set[int] = set()  # leaves whose grad the lines know
        self._added: set[int] = set()  # leaves whose grad is what it was and something more
        self._assigned: set[int] = set()  # tensors whose data the lines replace
        self._moved: set[int] = set()  # tensors whose data calls of Python replaced
        self._after_host = False
        self.arrays = Arrays()
        self._outside: dict[Value, Any] = {}  # value -> tensor, or a copy of the array
        self._argument_values: dict[Value, int] = {}
        for i, t in enumerate(arguments):
            self._argument_values.setdefault(self.arrays.made(t._array, f"x{i}"), i)

    def value(self, array: Any) -> Value:
        """The value that an array is."""
        found = self.arrays.values.get(id(array))
        if found is None:  # data from Python, made outside of what is recorded: the same at every replay
            found = self.arrays.made(array, f"c{len(self._outside)}")
            if found.view and any(
                v.memory == found.memory for v in self.arrays.values.values() if v is not found
            ):
                refuse(
                    "memory of a tensor is read in a way that isn't recorded", "use a function of the library"
                )
            m = backend.module_of(array).m
            self._outside[found] = m.array(array, copy=True)  # it may be written to, or become the caller's
        return found

    def finder(self, t: Any) -> Callable[[list[Any]], Any]:
        """Where a replay finds a tensor from outside: among the arguments of its call, or it is this one."""
        place = self.places.get(id(t))
        return (lambda arguments: t) if place is None else operator.itemgetter(place)

    def program(self, outputs: list[Value]) -> Program:
        """What was recorded."""
        return Program(
            self.lines, dict(self._argument_values), *self.outside_of(self.lines, outputs), outputs
        )

    def outside_of(self, lines: list[Any], outputs: list[Value]) -> tuple[dict[Value, Any], dict[Value, Any]]:
        """The tensors, and the constant arrays, that lines and outputs read and didn't make.

        A module's tensor is preferred to others that share its array, for that is the one which is replaced.
        """
        modules = [s.module for s in self.modules.values()]
        held = {id(t._array): t for m in modules for t in (*m.parameters(), *m.buffers())}
        read = dict.fromkeys([v for line in lines for v in line.reads()] + outputs)
        tensors: dict[Value, Any] = {}
        constants: dict[Value, Any] = {}
        for value in read:
            thing = self._outside.get(value)
            if isinstance(thing, Variable):
                tensors[value] = held.get(id(thing._array), thing)
            elif thing is not None:
                constants[value] = thing
        return tensors, constants

    def leaves(self) -> list[Any]:
        """The tensors from outside whose ``.grad`` the lines set."""
        found = [line.leaf for line in self.lines if isinstance(line, SetGrad)]
        return [self.arguments[x] if isinstance(x, int) else x for x in found]

    def over(self, memory: int) -> Any:
        """A tensor from outside over that memory, None where there is none."""
        return next((m.tensor for m in self.met.values() if self.arrays.made(m.array).memory == memory), None)

    def check(self) -> None:
        """Refuses what a replay couldn't repeat: history that was put on a tensor from outside."""
        for met in self.met.values():
            t = met.tensor
            if t._array is not met.array and id(t) not in self._assigned | self._moved:
                raise CompileError(f"compile: a tensor from outside, {tuple(met.array.shape)}, is given another shape or memory in "
                                   f"place, which a replay can't do again; make a new tensor")  # fmt: skip
            if t._node is not met.node or t._requires_grad != met.requires_grad:
                name = f"a tensor from outside, {tuple(t._array.shape)},"
                raise CompileError(f"compile: {name} is written to in place with its history recorded, which a replay "
                                   f"can't do again; write to a copy and return it, or write under minigrad.no_grad()")  # fmt: skip

        for before in self.modules.values():
            if not before.hold():
                raise CompileError(f"compile: the forward of {type(before.module).__name__} sets attributes of the module, which a replay "
                                   f"doesn't do again; return them, or keep them in a buffer that is written in place")  # fmt: skip
        self.check_names()

    def check_names(self) -> None:
        """Refuses a change of what Python names stand for."""
        name = self.names.changed()
        if name is not None:
            raise CompileError(f"compile: the function changes what {name!r} stands for or holds, which a replay doesn't do again; "
                               f"return it, or keep it in a tensor that is written in place")  # fmt: skip

    def bumps(self) -> list[tuple[Callable[[list[Any]], Any], int]]:
        """How to find the tensors from outside whose memory the lines write to, and how often they do."""
        counters: dict[int, tuple[Any, int]] = {}
        for key, met in self.met.items():
            moved = met.tensor._writes[0] - met.version - self.host_bumps.get(key, 0)
            if moved > 0:
                counters[id(met.tensor._writes)] = (self.finder(met.tensor), moved)
        return list(counters.values())
