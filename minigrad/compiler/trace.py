"""The first call: it runs as always, while every function that it runs on arrays is written down.

A :class:`Tracer` is the capture of ``modes.py`` that also sees tensors: which it met from outside and what
became of them, which modules were called, what Python did that a replay has to do again. Reading a value on
the host is refused here, for a replay couldn't follow where it led.
"""

from __future__ import annotations

import operator
import os
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import backend
from ..autograd import Variable
from ..modes import STATE, Mode
from .program import HostLine, Line, Program, ReadGrad, SetGrad, Value, replaced

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class CompileError(RuntimeError):
    """What a function does that a compiled one can't: the line that did it, and the remedy."""


class Met(NamedTuple):
    """A tensor from outside, as it was when the trace first met it."""

    tensor: Any
    version: int
    node: Any
    requires_grad: bool


class Tracer:
    """Records one call; as a context it is in force. :meth:`program` is what was recorded."""

    def __init__(self, arguments: list[Any]) -> None:
        self.arguments = arguments
        self._mine: dict[int, Any] = {}  # tensors that were made here, over whatever memory
        self.lines: list[Any] = []
        self.met: dict[int, Met] = {}
        self.modules: dict[int, Settings] = {}  # of the modules that were called
        self.entry_grads: dict[int, tuple[Any, bool]] = {}  # leaf -> was its grad None at the start?
        self.host_bumps: dict[int, int] = {}  # of tensors' versions, by calls of Python
        self._grads: set[int] = set()  # leaves whose grad the lines know
        self._after_host = False
        self._values: dict[int, Value] = {}  # by the identity of arrays
        self._arrays: list[Any] = []  # kept alive: identities stay their own
        self._outside: dict[Value, Any] = {}  # value -> tensor, or the array itself
        self._argument_values: dict[Value, int] = {}
        for i, t in enumerate(arguments):
            self._argument_values.setdefault(self.outside(t._array, f"x{i}"), i)
        for t in arguments:
            self.sees(t)

    def __enter__(self) -> Tracer:
        self._token = STATE.set(STATE.get()._replace(recorder=self._record, tracer=self))
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.reset(self._token)

    # ---- what the engine reports -------------------------------------------------------------------------

    def applies(self, op: Any, inputs: Any, attrs: dict[str, Any]) -> None:
        """A row is about to run on tensors."""
        if op.ragged is True or op.ragged and op.ragged(attrs):
            self.refuse(f"the size of what {op.name} gives depends on values",
                        "keep the shape (where, masked_fill, a weight of 0)")  # fmt: skip
        for x in inputs:
            if isinstance(x, Variable):
                self.sees(x)

    def sees(self, t: Any) -> None:
        """A tensor is about to be read or written; what matters is whether it comes from outside."""
        if id(t) in self.met or id(t) in self._mine:
            return
        value = self._values.get(id(t._array))
        if value is None:
            value = self.outside(t._array, f"w{len(self._outside)}")
            self._outside[value] = t
        elif value not in self._outside and value not in self._argument_values:
            return
        self.met[id(t)] = Met(t, t._writes[0], t._node, t._requires_grad)

    def makes(self, t: Any) -> None:
        """A tensor has been made."""
        self._mine[id(t)] = t

    def calls(self, module: Any) -> None:
        """A module is called."""
        if id(module) not in self.modules:
            self.modules[id(module)] = Settings(module)

    def reads_grad(self, leaf: Any) -> None:
        """``leaf.grad`` is about to be read."""
        if id(leaf) in self._grads:
            return
        self._grads.add(id(leaf))
        if not self._after_host:
            self.entry_grads[id(leaf)] = (leaf, leaf._grad is None)
        g = leaf._grad
        if g is not None and id(g._array) not in self._values:
            value = self._made(g._array)
            self.lines.append(ReadGrad(leaf, [value]))

    def sets_grad(self, leaf: Any) -> None:
        """``leaf.grad`` has been set."""
        self._grads.add(id(leaf))
        g = leaf._grad
        if g is not None and g._requires_grad:
            self.refuse("a gradient that is itself differentiable is kept in .grad",
                        "use autograd.grad(…, create_graph=True), which returns it")  # fmt: skip
        self.lines.append(SetGrad(leaf, None if g is None else self.value(g._array)))

    def host(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls Python that a replay calls again, unrecorded: an optimizer's step, a schedule's."""
        if any(isinstance(x, Variable) for x in (*args, *kwargs.values())):
            self.refuse(f"{function.__name__} is given a tensor", "call it outside, with a number")
        before = {key: m.tensor._writes[0] for key, m in self.met.items()}
        with Mode(recorder=None, tracer=None):
            result = function(*args, **kwargs)
        for key, version in before.items():
            moved = self.met[key].tensor._writes[0] - version
            self.host_bumps[key] = self.host_bumps.get(key, 0) + moved
        self.lines.append(HostLine(function, args, kwargs))
        self._after_host = True
        self._grads.clear()
        return result

    def refuse(self, what: str, remedy: str) -> None:
        """Raises :class:`CompileError` with the user's line."""
        frames = traceback.extract_stack()
        user = next((f for f in reversed(frames) if not os.path.abspath(f.filename).startswith(_HERE)), None)
        where = "" if user is None else f' at {user.filename}:{user.lineno}, "{user.line}"'
        raise CompileError(f"compile: {what}{where}. A compiled function runs the same lines for all values: {remedy}, "
                           f"or leave this function uncompiled")  # fmt: skip

    # ---- recording ---------------------------------------------------------------------------------------

    def _record(self, function: Any, m: Any, args: Any, attrs: dict[str, Any], results: Any) -> None:
        args, attrs = self._valued(tuple(args)), self._valued(dict(attrs))
        made = [None if r is None else self._made(r) for r in results]
        self.lines.append(Line(function, m, args, attrs, made))

    def _valued(self, nest: Any) -> Any:
        def change(x: Any) -> Any:
            if isinstance(x, Variable):
                raise CompileError(f"compile: a tensor reached the arrays of {nest!r}")
            return self.value(x) if type(x) in backend.BY_TYPE else x

        return replaced(nest, change)

    def value(self, array: Any) -> Value:
        """The value that an array is."""
        found = self._values.get(id(array))
        if found is None:  # data from Python, made outside of what is recorded: the same at every replay
            found = self.outside(array, f"c{len(self._outside)}")
            self._outside[found] = array
        return found

    def outside(self, array: Any, name: str) -> Value:
        """The value of an array that wasn't made here."""
        return self._made(array, name)

    def _made(self, array: Any, name: str = "") -> Value:
        known = self._values.get(id(array))
        if known is not None:  # a function gave back what it was given
            return known
        owner = array
        while getattr(owner, "base", None) is not None and type(owner.base) is type(array):
            owner = owner.base
        self._arrays += [array, owner]
        solid = bool(getattr(getattr(array, "flags", None), "c_contiguous", False))
        value = Value(
            name or f"v{len(self._values)}", tuple(array.shape), array.dtype, array.nbytes, id(owner), owner is not array,
            solid,
        )  # fmt: skip
        self._values[id(array)] = value
        return value

    # ---- the end -----------------------------------------------------------------------------------------

    def values_of(self, tensors: list[Any]) -> list[Value]:
        """The values of results; one that nothing has touched comes from outside."""
        for t in tensors:
            if id(t._array) not in self._values:
                self.sees(t)
        return [self.value(t._array) for t in tensors]

    def array_of(self, value: Value) -> Any:
        """What a value was in this call."""
        return next(a for a in self._arrays if self._values.get(id(a)) is value)

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

    def tensor_of(self, value: Value) -> Any:
        """The tensor from outside that a value is, None for what was made here."""
        if value in self._argument_values:
            return self.arguments[self._argument_values[value]]
        found = self._outside.get(value)
        return found if isinstance(found, Variable) else None

    def check(self) -> None:
        """Refuses what a replay couldn't repeat: history that was put on a tensor from outside."""
        for met in self.met.values():
            t = met.tensor
            if t._node is not met.node or t._requires_grad != met.requires_grad:
                name = f"a tensor from outside, {tuple(t._array.shape)},"
                raise CompileError(f"compile: {name} is written to in place with its history recorded, which a replay "
                                   f"can't do again; write to a copy and return it, or write under minigrad.no_grad()")  # fmt: skip

        for before in self.modules.values():
            if not before.hold():
                raise CompileError(f"compile: the forward of {type(before.module).__name__} sets attributes of the module, which a replay "
                                   f"doesn't do again; return them, or keep them in a buffer that is written in place")  # fmt: skip

    def bumps(self) -> list[tuple[Any, int]]:
        """Tensors from outside whose memory the lines write to, and how often."""
        counters: dict[int, tuple[Any, int]] = {}
        for key, met in self.met.items():
            moved = met.tensor._writes[0] - met.version - self.host_bumps.get(key, 0)
            if moved > 0:
                counters[id(met.tensor._writes)] = (met.tensor, moved)
        return list(counters.values())


class Settings:
    """What of a module decides what its forward does: its mode, options, parts and hooks."""

    def __init__(self, module: Any) -> None:
        self.module, self.own = module, vars(module)
        self.size = len(self.own)
        self.simple = [(k, v) for k, v in self.own.items() if type(v) in _SIMPLE]
        self.parts = [(self.own[t], list(self.own[t].values())) for t in _PARTS]

    def hold(self) -> bool:
        """Are they still the same? Tensors, modules and hooks by identity."""
        own = self.own
        if len(own) != self.size:
            return False
        for k, v in self.simple:
            now = own.get(k)
            if now is not v and (type(now) is not type(v) or now != v):
                return False
        for table, before in self.parts:
            if len(table) != len(before) or not all(map(operator.is_, table.values(), before)):
                return False
        return True


_SIMPLE = (bool, int, float, str, tuple, type(None))
_PARTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
