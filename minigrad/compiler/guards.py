"""What a trace relied on: whether a program fits a call, and what a call's replay must be equal to.

The key of a call says what its arguments and the engine's modes are like; :class:`Guards` says of tensors
and modules from outside whether they are still as the trace found them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Variable
from ..generator import current_generator
from ..modes import STATE
from ..nest import flatten
from .refusals import CompileError
from .settings import Settings
from .trace import Tracer


def key(given: Any, leaves: list[Any]) -> Any:
    """Equal for calls that one program may answer. Raises TypeError for an argument that can't be compared."""
    first: dict[int, int] = {}
    parts: list[Any] = []
    for x in leaves:
        if isinstance(x, Variable):
            t: Any = x
            a = t._array
            place = first.setdefault(id(a), len(first))  # one tensor given twice is another program
            parts.append(
                (type(t), a.shape, a.dtype, a.strides, t.requires_grad, t._inference, place, _aligned(a))
            )
        elif isinstance(x, np.ndarray):
            raise TypeError("compile: an argument is a NumPy array, whose values would be read once and kept; pass "
                            "minigrad.from_numpy(array)")  # fmt: skip
        else:
            parts.append((type(x), repr(x) if type(x) is float else x))  # 0.0 == -0.0
    found = (form(given), tuple(parts), modes())
    try:
        hash(found)
    except TypeError as e:
        raise TypeError(
            f"compile: every argument must be a tensor or hashable, so that a change is noticed: {e}"
        ) from None
    return found


def sized(found: Any) -> tuple[Any, tuple[int | None, ...]]:
    """A key without the first dimensions of its tensors, and those; None for a tensor that has no dimension."""
    given, parts, state = found
    tensors = [issubclass(p[0], Variable) for p in parts]
    rest = [(p[0], p[1][1:], *p[2:]) if t else p for p, t in zip(parts, tensors, strict=True)]
    firsts = [p[1][0] if p[1] else None for p, t in zip(parts, tensors, strict=True) if t]
    return (given, tuple(rest), state), tuple(firsts)


def modes() -> Any:
    """What changes how everything is computed."""
    state = STATE.get()
    return (state.grad, state.inference, state.anomaly, backend.current_kernels(), dtypes.get_default_dtype(),
            backend.get_default_device())  # fmt: skip


def form(nest: Any) -> Any:
    """A nest without its leaves: types, lengths and keys."""
    if isinstance(nest, dict):
        return type(nest), tuple((k, form(v)) for k, v in nest.items())
    return (type(nest), tuple(map(form, nest))) if isinstance(nest, (tuple, list)) else None


class Guards:
    """The tensors, gradients and modules from outside as a trace found them."""

    def __init__(self, tracer: Tracer) -> None:
        given = {id(t) for t in tracer.arguments}
        held = [m for m in tracer.met.values() if id(m.tensor) not in given]
        self.tensors = [(m.tensor, _layout(m.array), m.requires_grad) for m in held]
        self.arrays = [m.array for m in held]
        self.hooks = [
            (tracer.finder(m.tensor), _hooks(m.tensor)) for m in tracer.met.values() if m.requires_grad
        ]
        self.grads = tracer.entry_grads
        self.modules = list(tracer.modules.values())
        self.names = tracer.names

    def alike(self, other: Guards, arguments: list[Any]) -> bool:
        """Do two traces rely on the same? ``arguments`` are those of a call of the second."""

        def one(g: Guards) -> tuple[Any, list[Any]]:
            facts = [(layout, needs) for _, layout, needs in g.tensors], [hooks for _, hooks in g.hooks]
            same = [t for t, _, _ in g.tensors] + [find(arguments) for find, _ in (*g.hooks, *g.grads)]
            same += [before.module for before in g.modules]
            return (facts, [absent for _, absent in g.grads], g.names.kept.keys()), [*map(id, same)]

        return one(self) == one(other)

    def hold(self, arguments: list[Any]) -> bool:
        """Is everything still so? A tensor may have other memory of the same layout."""
        for i, (t, layout, requires_grad) in enumerate(self.tensors):
            if t._array is not self.arrays[i]:
                if _layout(t._array) != layout:
                    return False
                self.arrays[i] = t._array
            if t._requires_grad != requires_grad:
                return False
        for find, absent in self.grads:
            if (find(arguments)._grad is None) != absent:
                return False
        if any(_hooks(find(arguments)) != before for find, before in self.hooks):
            return False
        return self.names.changed() is None and all(before.hold() for before in self.modules)


def _layout(array: Any) -> Any:
    return array.shape, array.dtype, array.strides, _aligned(array)


def _aligned(array: Any) -> bool:
    """Loops read numbers where they may be; another module's arrays are its own affair."""
    flags = getattr(array, "flags", None)
    return flags is None or bool(getattr(flags, "aligned", True))


def _hooks(t: Any) -> Any:
    return (tuple(t._hooks or ()), tuple(t._post_hooks or ())) if t._hooks or t._post_hooks else None


def names_of(called: Iterable[Settings]) -> dict[int, str]:
    """Names of the parameters and buffers of modules, by identity, as the outermost of them calls them."""
    modules = [before.module for before in called]
    inner = {id(child) for m in modules for child in m.modules() if child is not m}
    found: dict[int, str] = {}
    for m in modules:
        if id(m) not in inner:
            for name, t in (*m.named_parameters(), *m.named_buffers()):
                found.setdefault(id(t), name)
    return found


class Snapshot:
    """Everything that a replay may change, so that the call can be made twice: eagerly, then replayed."""

    def __init__(self, replay: Any, arguments: list[Any]) -> None:
        self.tensors = [*arguments, *(t for t, _, _ in replay.guards.tensors)]
        self.arrays = [t._array for t in self.tensors]
        self.generators = [current_generator(), *replay.generators()]
        self.leaves = list({id(leaf): leaf for leaf in replay.leaves(arguments)}.values())
        self.python = replay.stateful()

    def __enter__(self) -> Snapshot:
        self.before = [a.copy() for a in self.arrays]
        self.grads = [
            (leaf._grad, None if leaf._grad is None else leaf._grad._array.copy()) for leaf in self.leaves
        ]
        self.states = [copy.deepcopy(thing.state_dict()) for thing in self.python]
        self.random = [g.get_state() for g in self.generators]
        self.versions = [t._writes[0] for t in self.tensors]
        return self

    def __exit__(self, *exc: object) -> None:
        for t, a, old, n in zip(self.tensors, self.arrays, self.before, self.versions, strict=True):
            t._array, t._writes[0] = a, n
            if a.flags.writeable:
                a[...] = old
        for leaf, (g, old) in zip(self.leaves, self.grads, strict=True):
            leaf._grad = g
            if g is not None:
                g._array[...] = old
        for thing, state in zip(self.python, self.states, strict=True):
            thing.load_state_dict(state)
        for g, state in zip(self.generators, self.random, strict=True):
            g.set_state(state)

    def state(self, result: Any) -> list[tuple[str, Any]]:
        """Copies of the results, of what was written and of the gradients."""
        leaves, _ = flatten(result)
        found = [(f"result {i}", x) for i, x in enumerate(leaves)]
        found += [(f"gradient {i}", leaf._grad) for i, leaf in enumerate(self.leaves)]
        arrays = [(name, None if x is None else x._array.copy()) for name, x in found]
        return [
            *arrays,
            *((f"tensor {i} from outside", a.copy()) for i, a in enumerate(t._array for t in self.tensors)),
        ]

    def compare(self, eager: list[tuple[str, Any]], replayed: list[tuple[str, Any]], title: str) -> None:
        """Raises CompileError unless every pair is equal bit for bit (NaN to NaN)."""
        for (name, a), (_, b) in zip(eager, replayed, strict=True):
            if (a is None) != (b is None):
                raise CompileError(f"compile: verify found {name} of {title} missing on one side")
            if a is not None and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                worst = float(np.nanmax(np.abs(a.astype(np.float64) - b.astype(np.float64))))
                raise CompileError(f"compile: verify found {name} of {title} different by up to {worst:.3g} from the "
                                   f"uncompiled function; it may read a Python number or a tensor's value that changes: "
                                   f"pass it as an argument")  # fmt: skip
