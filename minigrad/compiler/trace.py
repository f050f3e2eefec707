"""The first call: it runs as always, while every function that it runs on arrays is written down.

A :class:`Tracer` is the capture of ``modes.py`` that also sees tensors: which it met from outside and what
became of them, which modules were called, what Python did that a replay has to do again. Reading a value on
the host is refused here, for a replay couldn't follow where it led.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import backend
from ..autograd import Variable
from ..backward import add_gradient
from ..generator import current_generator
from ..modes import STATE, Mode
from .arrays import while_alive
from .nests import replaced
from .program import AddGrad, HostLine, Line, ReadGrad, SetData, SetGrad, Value
from .record import Met, Record
from .refusals import CompileError, refuse
from .settings import PARTS, Settings


class Tracer(Record):
    """Records one call; as a context it is in force."""

    refuse = staticmethod(refuse)

    def __init__(self, function: Any, arguments: list[Any], others: list[Any]) -> None:
        super().__init__(function, arguments, others)
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
            refuse(f"the size of what {op.name} gives depends on values",
                        "keep the shape (where, masked_fill, a weight of 0)")  # fmt: skip
        for x in inputs:
            if isinstance(x, Variable):
                self.sees(x)

    def sees(self, t: Any) -> None:
        """A tensor is about to be read or written; what matters is whether it comes from outside."""
        if id(t) in self._moved:
            refuse("a tensor is used whose data a call of Python (an optimizer's step) replaced",
                        "write into its memory there (copy_, sub_)")  # fmt: skip
        if id(t) in self.met or id(t) in self._mine:
            return
        value = self.arrays.values.get(id(t._array))
        if value is None:
            value = self.arrays.made(t._array, f"w{len(self._outside)}")
            self._outside[value] = t
        elif value not in self._outside and value not in self._argument_values:
            return
        for hooks in (t._hooks, t._post_hooks):
            self.names.add(*(hooks or {}).values())
        needs = t.requires_grad  # which brings a view's history up to date
        self.met[id(t)] = Met(t, t._writes[0], t._node, needs, t._array)

    def makes(self, t: Any) -> None:
        """A tensor has been made."""
        while_alive(self._mine, t)

    def calls(self, module: Any) -> None:
        """A module is called."""
        if id(module) not in self._called:
            self._called.add(id(module))
            for part in module.modules():  # one may be read without being called
                if id(part) not in self.modules:
                    self.modules[id(part)] = Settings(part)
                    hooks = [hook for table in PARTS[3:] for hook in getattr(part, table).values()]
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
        if g is not None and (added or id(g._array) not in self.arrays.values):
            self.arrays.values.pop(id(g._array), None)
            value = self.arrays.made(g._array)
            value.strides = None
            self.lines.append(ReadGrad(self.places.get(id(leaf), leaf), [value]))

    def sets_grad(self, leaf: Any) -> None:
        """``leaf.grad`` has been set."""
        self._grads.add(id(leaf))
        g = leaf._grad
        if g is not None and g._requires_grad:
            refuse("a gradient that is itself differentiable is kept in .grad",
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
            refuse(f"{function.__name__} is given a tensor", "call it outside, with a number")
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

    def draws(self) -> None:
        """Random numbers of the generator in force are about to be drawn."""
        if current_generator() is not self.generator:
            refuse("random numbers are drawn from a generator that was put in force inside (fork_rng, checkpoint)",
                        "pass generator= to what draws, or preserve_rng_state=False to checkpoint")  # fmt: skip

    def values_of(self, tensors: list[Any]) -> list[Value]:
        """The values of results; one that nothing has touched comes from outside."""
        for t in tensors:
            if id(t._array) not in self.arrays.values:
                self.sees(t)
        return [self.value(t._array) for t in tensors]

    # ---- what it runs on arrays --------------------------------------------------------------------------

    def _record(self, function: Any, m: Any, args: Any, attrs: dict[str, Any], results: Any) -> None:
        args, attrs = self._valued(tuple(args)), self._valued(dict(attrs))
        made = [None if r is None else self.arrays.made(r) for r in results]
        self.lines.append(Line(function, m, args, attrs, made))

    def _valued(self, nest: Any) -> Any:
        def change(x: Any) -> Any:
            if isinstance(x, Variable):
                raise CompileError(f"compile: a tensor reached the arrays of {nest!r}")
            return self.value(x) if type(x) in backend.BY_TYPE else x

        return replaced(nest, change)
