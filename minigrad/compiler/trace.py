"""The first call: it runs as always, while every function that it runs on arrays is written down.

A :class:`Tracer` is the capture of ``modes.py`` that also sees tensors: which it met from outside and what
became of them, which modules were called, what Python did that a replay has to do again. Reading a value on
the host is refused here, for a replay couldn't follow where it led.
"""

from __future__ import annotations

import itertools
import operator
import os
import traceback
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import backend
from ..autograd import Variable, next_number
from ..backward import add_gradient
from ..generator import current_generator
from ..modes import STATE, Mode
from ..nn.module import Module
from .names import Kept, Names
from .program import AddGrad, HostLine, Line, Program, ReadGrad, SetData, SetGrad, Value, replaced

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class CompileError(RuntimeError):
    """What a function does that a compiled one can't: the line that did it, and the remedy."""


class Met(NamedTuple):
    """A tensor from outside, as it was when the trace first met it."""

    tensor: Any
    version: int
    node: Any
    requires_grad: bool
    array: Any


class Tracer:
    """Records one call; as a context it is in force. :meth:`program` is what was recorded."""

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
        self._values: dict[int, Value] = {}  # by the identity of arrays that are alive
        self._arrays: dict[
            Value, Any
        ] = {}  # references to them: a trace keeps no array that the call lets go
        self._memory: dict[int, tuple[int, Any]] = {}  # by the identity of an owner of memory: its number
        self._number = itertools.count(1)
        self._outside: dict[Value, Any] = {}  # value -> tensor, or a copy of the array
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
        if id(t) in self._moved:
            self.refuse("a tensor is used whose data a call of Python (an optimizer's step) replaced",
                        "write into its memory there (copy_, sub_)")  # fmt: skip
        if id(t) in self.met or id(t) in self._mine:
            return
        value = self._values.get(id(t._array))
        if value is None:
            value = self.outside(t._array, f"w{len(self._outside)}")
            self._outside[value] = t
        elif value not in self._outside and value not in self._argument_values:
            return
        for hooks in (t._hooks, t._post_hooks):
            self.names.add(*(hooks or {}).values())
        needs = t.requires_grad  # which brings a view's history up to date
        self.met[id(t)] = Met(t, t._writes[0], t._node, needs, t._array)

    def makes(self, t: Any) -> None:
        """A tensor has been made."""
        _while_alive(self._mine, t)

    def calls(self, module: Any) -> None:
        """A module is called."""
        if id(module) not in self._called:
            self._called.add(id(module))
            for part in module.modules():  # one may be read without being called
                if id(part) not in self.modules:
                    self.modules[id(part)] = Settings(part)
                    hooks = [hook for table in _PARTS[3:] for hook in getattr(part, table).values()]
                    self.names.add(type(part).forward, *hooks)

    def reads_grad(self, leaf: Any) -> None:
        """``leaf.grad`` is about to be read."""
        if id(leaf) in self._grads or id(leaf) in self._mine:
            return
        self._grads.add(id(leaf))
        added = id(leaf) in self._added
        if not self._after_host and not added:
            self.entry_grads.append((self.finder(leaf), leaf._grad is None))
        g = leaf._grad
        if g is not None and (added or id(g._array) not in self._values):
            self._values.pop(id(g._array), None)
            value = self._made(g._array)
            value.strides = None
            self.lines.append(ReadGrad(self.places.get(id(leaf), leaf), [value]))

    def sets_grad(self, leaf: Any) -> None:
        """``leaf.grad`` has been set."""
        self._grads.add(id(leaf))
        g = leaf._grad
        if g is not None and g._requires_grad:
            self.refuse("a gradient that is itself differentiable is kept in .grad",
                        "use autograd.grad(…, create_graph=True), which returns it")  # fmt: skip
        if id(leaf) not in self._mine:  # a leaf made here is gone after the call
            self.lines.append(
                SetGrad(self.places.get(id(leaf), leaf), None if g is None else self.value(g._array))
            )

    def adds_gradient(self, leaf: Any, g: Any, own: bool) -> None:
        """A gradient is to be added to ``leaf.grad``, whatever that is at a replay."""
        if id(leaf) in self._mine:
            return add_gradient(leaf, g, own)
        value = self.value(g)
        with Mode(recorder=None, tracer=None):
            add_gradient(leaf, g, own)
        self.lines.append(AddGrad(self.places.get(id(leaf), leaf), value, own=own))
        self._grads.discard(id(leaf))
        self._added.add(id(leaf))

    def sets_data(self, t: Any, array: Any) -> None:
        """``t.data`` is about to be replaced."""
        if id(t) not in self._mine:
            self.sees(t)
            self._assigned.add(id(t))
            self.lines.append(SetData(self.places.get(id(t), t), self.value(array)))

    def host(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls Python that a replay calls again, unrecorded: an optimizer's step, a schedule's."""
        if any(isinstance(x, Variable) for x in (*args, *kwargs.values())):
            self.refuse(f"{function.__name__} is given a tensor", "call it outside, with a number")
        before = {key: m.tensor._writes[0] for key, m in self.met.items()}
        arrays = [(m, m.tensor._array) for m in self.met.values()]
        with Mode(recorder=None, tracer=None):
            result = function(*args, **kwargs)
        self._moved |= {id(m.tensor) for m, array in arrays if m.tensor._array is not array}
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

    def draws(self) -> None:
        """Random numbers of the generator in force are about to be drawn."""
        if current_generator() is not self.generator:
            self.refuse("random numbers are drawn from a generator that was put in force inside (fork_rng, checkpoint)",
                        "pass generator= to what draws, or preserve_rng_state=False to checkpoint")  # fmt: skip

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
            if found.view and any(v.memory == found.memory for v in self._values.values() if v is not found):
                self.refuse(
                    "memory of a tensor is read in a way that isn't recorded", "use a function of the library"
                )
            m = backend.module_of(array).m
            self._outside[found] = m.array(array, copy=True)  # it may be written to, or become the caller's
        return found

    def finder(self, t: Any) -> Callable[[list[Any]], Any]:
        """Where a replay finds a tensor from outside: among the arguments of its call, or it is this one."""
        place = self.places.get(id(t))
        return (lambda arguments: t) if place is None else operator.itemgetter(place)

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
        alone = (
            not name and id(owner) not in self._memory
        )  # a result in memory of its own, whatever that is wrapped in
        if id(owner) not in self._memory:
            _while_alive(self._memory, owner, next(self._number))
        solid = bool(getattr(getattr(array, "flags", None), "c_contiguous", False))
        value = Value(
            name or f"v{next(self._number)}", tuple(array.shape), array.dtype, array.nbytes, self._memory[id(owner)][0],
            owner is not array and not alone, solid, getattr(array, "strides", None),
        )  # fmt: skip
        key, values = id(array), self._values
        values[key] = value
        self._arrays[value] = _reference(array, lambda _: values.pop(key, None))
        return value

    # ---- the end -----------------------------------------------------------------------------------------

    def values_of(self, tensors: list[Any]) -> list[Value]:
        """The values of results; one that nothing has touched comes from outside."""
        for t in tensors:
            if id(t._array) not in self._values:
                self.sees(t)
        return [self.value(t._array) for t in tensors]

    def array_of(self, value: Value) -> Any:
        """What a value was in this call, or, if that is gone, an array like it."""
        array = self._arrays[value]()
        return value.like() if array is None else array

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
        return next((m.tensor for m in self.met.values() if self._made(m.array).memory == memory), None)

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


def _while_alive(table: dict[int, Any], thing: Any, entry: Any = None) -> None:
    """Enters a thing by its identity for as long as that is its own."""
    key = id(thing)
    table[key] = (entry, _reference(thing, lambda _: table.pop(key, None)))


def _reference(thing: Any, ended: Callable[[Any], Any]) -> Callable[[], Any]:
    """A weak reference; to an array of a module that knows none, a strong one."""
    try:
        return weakref.ref(thing, ended)
    except TypeError:
        return lambda: thing


class Settings:
    """What of a module decides what its forward does: its mode, options, parts and hooks."""

    def __init__(self, module: Any) -> None:
        self.module, self.own = module, vars(module)
        self.size = len(self.own)
        self.options = [(k, Kept(v)) for k, v in self.own.items() if k == "training" or k not in _PLAIN]
        self.parts = [(self.own[t], list(self.own[t].items())) for t in _PARTS]

    def hold(self) -> bool:
        """Are they still the same? Tensors, modules and hooks by identity."""
        own = self.own
        if len(own) != self.size:
            return False
        for k, kept in self.options:
            now = own.get(k)
            if (now is not kept.value or kept.parts is not None) and not kept.holds(now):
                return False
        for table, before in self.parts:
            if len(table) != len(before):
                return False
            for name, part in before:
                if table.get(name) is not part:
                    return False
        return True


_PARTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
          "_backward_pre_hooks")  # fmt: skip
_PLAIN = frozenset(vars(Module()))  # of every module
