"""The graph: ``apply`` runs an op and records it. Nothing here knows any op.

``apply`` is the one choke point of eager mode, kernels and capture. A :class:`Node` keeps what its
gradient rule reads and points at the nodes of its inputs, by position; tensors are not in the graph,
only leaves are. How dtypes meet, and how a view follows writes to its base, is here too. What doesn't live
here, but has PyTorch's place for it in this module: modes (``modes.py``), the walk back (``backward.py``),
Function, checkpoint, jacobian … (``function.py``, ``transforms.py``). In-place forms are in ``inplace.py``.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import traceback
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import backend, dtypes, errors
from .modes import (  # noqa: F401  # PyTorch's place for them
    STATE,
    Mode,
    State,
    capture,
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)  # fmt: skip
from .op import OPS, Namespace, Op, Rule

if TYPE_CHECKING:
    from .backward import backward, grad  # noqa: F401 - found by __getattr__

next_number = itertools.count().__next__  # of nodes and hooks, in the order in which they are made


class Variable:
    """What the graph needs of a tensor; :class:`minigrad.Tensor` is the rest.

    ``_writes`` is shared by a base and its views and counts in-place writes. A view keeps its base and
    the chain of view ops that leads to it, so that its history can be rebuilt after a write to either;
    a base that was itself reshaped in place keeps in ``_undo`` the chain back to the shape it began with.
    ``Variable(x, requires_grad=True)``, PyTorch's old form, is a tensor that shares x's memory.
    """

    def __new__(cls, data: Any, requires_grad: bool = False) -> Any:  # Tensor has a __new__ of its own
        if not isinstance(data, Variable):
            raise TypeError(f"Variable(): argument 'data' must be Tensor, not {type(data).__name__}")
        return TENSOR[0].detach(data).requires_grad_(requires_grad)

    _array: Any
    _writes: list[int]
    _node: Node | None = None
    _index: int = 0
    _requires_grad: bool = False
    _grad: Any = None
    _base: Variable | None = None
    _views: tuple[tuple[Op, dict[str, Any]], ...] | None = None
    _undo: tuple[tuple[Op, dict[str, Any]], ...] = ()
    _seen: int = 0
    _hooks: dict[int, Callable[..., Any]] | None = None
    _post_hooks: dict[int, Callable[..., Any]] | None = None
    _retains_grad: bool = False
    _inference: bool = False

    def _retain(self) -> None:
        """Has the node keep this tensor's gradient, as long as it is this tensor's node."""
        here, at = weakref.ref(self), edge(self)[0].seq

        def keep(g: Any) -> None:
            t = here()
            if t is not None and t._node is not None and t._node.seq == at:
                new = (
                    g
                    if g._requires_grad
                    else wrap(call_row("clone", backend.module_of(g._array).m, g._array, order="C"))
                )
                t._grad = new if t._grad is None else t._grad + new

        edge(self)[0].add_hook(RETAIN - self._index, keep)

    def _follow(self, node: Any, index: int = 0) -> Any:
        """Makes this tensor the output of a node."""
        self._node, self._index, self._requires_grad = node, index, True
        return self

    def _refresh(self) -> None:
        """Rebuilds a view's history when its base has been written to since."""
        self._seen = self._writes[0]
        base = self._base
        if self._views is None or base is None or not base._requires_grad:
            return
        fresh = base
        with Mode(grad=True):
            for op, attrs in (*base._undo, *self._views):
                fresh = apply(op, (fresh,), attrs)
        self._follow(fresh._node, fresh._index)


_new = object.__new__
TENSOR: list[Any] = [Variable]  # tensor.py puts its class here


def wrap(array: Any) -> Any:
    """A tensor over a raw array, sharing its memory, without history."""
    t = _new(TENSOR[0])
    t._array, t._writes = array, [0]
    state = STATE.get()
    if state.inference:
        t._inference = True
    if state.tracer is not None:
        state.tracer.makes(t)
    return t


def edge(t: Any) -> Any:
    """Where a tensor's gradient goes: (its node, output number), (the leaf itself, 0), or None."""
    return None if not t._requires_grad else (t, 0) if t._node is None else (t._node, t._index)


# keys of a node's hooks beside its output numbers: before it runs, after it; RETAIN - k: retain_grad of output k
BEFORE, AFTER, RETAIN = -1, -2, -3


class Node:
    """One application of an op: its gradient rule's save list and its inputs' nodes, by position."""

    __slots__ = (
        "__weakref__", "ahead", "attrs", "freed", "hooks", "kernel", "module", "op", "parents", "saved", "seq",
        "shapes", "trace",
    )  # fmt: skip
    keeps = False  # may its rule have kept what it returns?

    def __init__(self, op: Any, parents: tuple[Any, ...], module: backend.ArrayModule) -> None:
        self.op, self.parents, self.module = op, parents, module
        self.seq = next_number()
        self.attrs: dict[str, Any] = {}
        self.saved: dict[int, Any] = {}
        self.shapes: tuple[Any, ...] = ()  # (shape, dtype) of the array inputs, None for numbers
        self.hooks: dict[int, dict[int, Any]] | None = None  # by output number, BEFORE, AFTER or RETAIN
        self.kernel: backend.Kernel | None = None
        self.ahead: Any = None  # the gradient that the kernel's forward made already, for one walk
        self.trace: str | None = None
        self.freed = False

    def name(self) -> str:
        """PyTorch's style of name: ``MulBackward0``."""
        return "".join(w.capitalize() for w in self.op.name.split("_")) + "Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple(
            (None, 0) if p is None else (AccumulateGrad(p[0]) if isinstance(p[0], Variable) else p[0], p[1])
            for p in self.parents
        )

    def register_hook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(grad_inputs, grad_outputs)`` after this node ran; a tuple returned replaces the first."""
        return self.add_hook(AFTER, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(grad_outputs)`` before this node runs; a tuple returned replaces them."""
        return self.add_hook(BEFORE, hook)

    def add_hook(self, key: int, hook: Callable[..., Any]) -> Removable:
        if self.hooks is None:
            self.hooks = {}
        return Removable(self.hooks.setdefault(key, {}), hook)

    def save(self, position: int, t: Any, array: Any, hooks: Any) -> None:
        """Keeps an array for the rule, with the version it had. Outputs have negative positions."""
        if not isinstance(t, Variable):
            self.saved[position] = (array, None, None)
        elif t._inference and position >= 0:
            raise RuntimeError(f"{self.op.name}: Inference tensors cannot be saved for backward; clone() the tensor "
                               f"outside inference_mode to get a normal one")  # fmt: skip
        elif hooks is not None:
            self.saved[position] = (hooks[0](wrap(array)), None, hooks[1])
        else:
            self.saved[position] = (array, t._writes, t._writes[0])

    def fetch(self, position: int) -> Any:
        array, version, mark = self.saved[position]
        if version is None:
            return mark(array)._array if mark is not None else array
        if version[0] != mark:
            names = self.op.inputs if position >= 0 else self.op.outputs
            which = names[min(position, len(names) - 1)] if position >= 0 else names[~position]
            raise RuntimeError(
                f"{self.op.name}: one of the variables needed for gradient computation has been modified "
                f"by an inplace operation: its saved tensor {which!r}, {errors.describe(array)}, is at "
                f"version {version[0]}; expected version {mark} instead. Use the out-of-place form, or "
                f"clone() before writing" + (f"\nforward was called at:\n{self.trace}" if self.trace else "")
            )
        return array

    def argument(self, position: int, create: bool) -> Any:
        """A saved operand for the rule: a raw array, or a tensor with its history when differentiating."""
        array = self.fetch(position)
        if not create or not isinstance(array, self.module.array_type):
            return array
        if position < 0:
            return wrap(array)._follow(self) if position == -1 else wrap(array)
        parent = self.parents[position]
        if parent is None:
            return wrap(array)
        return parent[0] if isinstance(parent[0], Variable) else wrap(array)._follow(*parent)

    def arguments(self, rule: Rule, needs: list[bool], create: bool) -> list[Any]:
        """What a rule reads, after m and the gradient."""
        args: list[Any] = []
        for kind, where in rule.reads:
            if kind == "input":
                args.append(self.argument(where, create))
            elif kind == "output":
                args.append(self.argument(~where, create))
            elif kind == "attr":
                args.append(self.attrs[where])
            elif kind == "shape":
                shape = self.shapes[where]
                args.append(shape[0] if shape else ())
            elif kind == "needs":
                args.append(tuple(needs))
            elif kind == "inputs":
                args.append([self.argument(i, create) for i in range(len(self.parents))])
            else:
                args.append([s[0] for s in self.shapes])
        return args

    def run(self, grads: list[Any], needs: list[bool], create: bool) -> list[Any]:
        """Gradients by the inputs, in their order, from those by the outputs: arrays, or tensors for ``create``.

        A row's rule reads the gradient by its first output; :class:`minigrad.autograd.Function` reads all.
        """
        op, g, array_type = self.op, grads[0], self.module.array_type
        m = ON_TENSORS if create else self.module.m
        state = STATE.get()
        recorder, journal = None if create else state.recorder, state.journal
        results: list[Any] = [None] * len(self.parents)
        for number, rule in enumerate(op.rules):
            target = rule.target
            if target is not None and not needs[target]:
                continue
            args = self.arguments(rule, needs, create)
            function: Any = rule.function
            result: Any = None
            why = "its forward had no kernel"
            kernel: Any = None if self.kernel is None or create else self.kernel.vjp
            kernel = kernel[number] if type(kernel) is tuple else kernel
            made, self.ahead = self.ahead, None
            if made is not None and self.kernel is not None and not create:
                args, function, why = [made], self.kernel.rest, ""
                result = function(m, g, made)
            elif kernel is not None:
                result = kernel(m, g, *args)
                if type(result) is backend.Declined:
                    backend.check_declined(op.name, "gradient", result)
                    result, why = None, result.why
                else:
                    function, why = kernel if recorder is None else settled(kernel, op, rule.function), ""
            elif self.kernel is not None:
                why = "a gradient of gradients" if create else "the kernel has no gradient rule"
            if result is None:
                if not create and g is not None and g.itemsize == 2 and op.promote != "any":
                    function = functools.partial(_widely, function, g.dtype, np.float32)
                result = function(m, g, *args)
            if journal is not None:
                journal.append(
                    (op.name, "gradient", "" if why or self.kernel is None else self.kernel.kernel_set, why)
                )
            result = result if isinstance(result, (tuple, list)) else (result,)
            if not create:
                result = [r if r is None or type(r) is array_type else m.asarray(r) for r in result]
            if recorder is not None:
                recorder(function, m, (g, *args), {}, result)
            if target is not None:
                results[target] = result[0]
            else:
                for i, r in enumerate(result):
                    if needs[i]:
                        results[i] = r
        return results

    def release(self) -> None:
        self.ahead = None
        if self.saved:
            self.saved, self.freed = {}, True


class AccumulateGrad(NamedTuple):
    """How a leaf appears among ``next_functions``."""

    variable: Any

    def name(self) -> str:
        return "AccumulateGrad"


class Removable:
    """A hook entered into a table, last or first: ``remove()`` takes it out, as does the end of a ``with`` block."""

    def __init__(self, table: dict[int, Any], hook: Any, prepend: bool = False) -> None:
        self.table, self.id = table, next_number()
        later = dict(table) if prepend else {}
        for key in later:
            del table[key]
        table[self.id] = hook
        table.update(later)

    def remove(self) -> None:
        self.table.pop(self.id, None)

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class OnTensors(Namespace):
    """NumPy's interface over tensors, made from the rows: what a rule runs on to be differentiated."""

    pi, inf, nan, newaxis = np.pi, np.inf, np.nan, None

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return apply(op, args, {**op.attrs, **attrs})

    def __getattr__(self, name: str) -> Any:
        op = next((op for op in OPS.values() if name in op.numpy), None)
        if op is None:
            raise AttributeError(f"a gradient rule calls m.{name}, but no row provides it on tensors")

        def call(*args: Any, **kwargs: Any) -> Any:
            given, attrs = op.bind(args, kwargs)
            if all(isinstance(x, (bool, int, float)) for x in given):  # numbers alone stay a number: x ** 2
                return np.asarray(op.forward(np, *given, **attrs)).item()
            return apply(op, given, attrs)

        setattr(self, name, call)
        return call

    def zeros_like(self, x: Any) -> Any:
        return wrap(backend.module_of(x._array).m.zeros_like(x._array))

    def ones_like(self, x: Any) -> Any:
        return wrap(backend.module_of(x._array).m.ones_like(x._array))


ON_TENSORS = OnTensors()


def apply(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Runs an op on tensors (and Python numbers), choosing its kernel, and records it for backward.

    Returns a tensor, or a tuple of tensors for an op with several outputs. Raises RuntimeError naming
    the op, the operands and the remedy when they don't fit.
    """
    state = STATE.get()
    arrays: list[Any] = []
    module: Any = None
    kind: Any = None
    track = mixed = numbers = False
    if state.tracer is not None:
        state.tracer.applies(op, inputs, attrs)
    for i, x in enumerate(inputs):
        if isinstance(x, Variable):
            if x._base is not None and x._seen != x._writes[0]:
                x._refresh()
            array = x._array
            track = track or x._requires_grad
            if kind is None:
                kind, module = array.dtype, backend.BY_TYPE.get(type(array)) or backend.module_of(array)
            else:
                mixed = mixed or (array.dtype != kind and i not in op.fixed)
                if type(array) is not module.array_type and backend.module_of(array) is not module:
                    raise errors.other_device(op.name, module.name, backend.module_of(array).name)
            arrays.append(array)
        else:
            numbers = numbers or x is not None
            arrays.append(x)
    if module is None:
        raise errors.no_tensor(op.name, inputs, op.usage())
    if op.promote != "any" and (mixed or numbers or kind.kind != "f"):
        arrays = _promoted(op, inputs, arrays, kind, mixed)
    first = arrays[op.first]
    kernel = backend.select(op, module, first.dtype, first.size) if op.kernels else None
    m = module.m
    declined = ahead = None
    try:
        with np.errstate(all="ignore"):
            if kernel is not None and kernel.ahead is not None and _goes_back(inputs[0], state):
                forward = kernel.ahead if state.recorder is None else settled(kernel.ahead, op, None)
                result = kernel.ahead(m, *arrays, **attrs)
                if type(result) is tuple:
                    *result, ahead = result
            if kernel is not None and ahead is None:
                forward = kernel.forward if state.recorder is None else settled(kernel.forward, op, None)
                result = kernel.forward(m, *arrays, **attrs)
                if type(result) is backend.Declined:
                    backend.check_declined(op.name, "forward", result)
                    declined = result
            if kernel is None or declined is not None:
                forward = op.forward
                if op.wide or mixed or kind.itemsize == 2:
                    forward = _widened(op, arrays)
                result = forward(m, *arrays, **attrs)
    except (ValueError, TypeError) as e:  # NumPy's AxisError is a ValueError
        refused = errors.refused(op.name, inputs, e)
        raise refused from (None if refused is e else e)
    if state.journal is not None:
        if kernel is None:
            why = backend.why_reference(op, module, getattr(first, "dtype", kind), getattr(first, "size", 1))
        else:
            why = declined.why if declined is not None else ""
        state.journal.append((op.name, "forward", kernel.kernel_set if kernel and not why else "", why))
    if op.mutates:
        if state.recorder is not None:
            state.recorder(forward, m, arrays, attrs, ())
        for name in op.mutates:
            x = inputs[op.inputs.index(name)]
            if isinstance(x, Variable):
                x._writes[0] += 1
        return None
    outs = []
    for array in result if type(result) in (tuple, list) else (result,):
        t = _new(TENSOR[0])
        t._array, t._writes = array if type(array) is module.array_type else m.asarray(array), [0]
        outs.append(t)
    out = outs[0]
    if state.inference:
        out._inference = True
    if state.tracer is not None:
        for t in outs:
            state.tracer.makes(t)
    if op.view:
        _link_view(out, inputs[0], op, attrs, module, state)
    if state.recorder is not None:
        results = [t._array for t in outs]
        state.recorder(forward, m, arrays, attrs, tuple(results if ahead is None else [*results, ahead]))
    if (
        track
        and state.grad
        and op.gradient is not None
        and not state.inference
        and out._array.dtype.kind in "fV"
    ):
        out._node, out._requires_grad = _record(op, inputs, arrays, outs, attrs, module, kernel, state), True
        out._node.ahead = ahead
    return out if len(outs) == 1 else tuple(outs)


def _goes_back(x: Any, state: State) -> bool:
    """Will a gradient by this operand be recorded, and of what is kept nothing be given to hooks?"""
    needs = isinstance(x, Variable) and x._requires_grad
    return needs and state.grad and not state.inference and state.saved_hooks is None


def _record(
    op: Op, inputs: Sequence[Any], arrays: list[Any], outs: list[Any], attrs: dict[str, Any], module: Any,
    kernel: Any, state: State,
) -> Node:  # fmt: skip
    """The node of one application: edges to its inputs, and the arrays that the rules which may run will read."""
    parents = tuple([edge(x) if isinstance(x, Variable) else None for x in inputs])
    node = Node(op, parents, module)
    node.attrs, node.kernel = attrs, kernel
    node.shapes = tuple(
        [(x._array.shape, x._array.dtype) if isinstance(x, Variable) else None for x in inputs]
    )
    saved, hooks = node.saved, state.saved_hooks
    for rule in op.rules:
        if rule.target is None or parents[rule.target] is not None:
            for position in range(len(inputs)) if rule.saves is None else rule.saves:
                if position in saved:
                    continue
                t, array = (
                    (inputs[position], arrays[position])
                    if position >= 0
                    else (outs[~position], outs[~position]._array)
                )
                if hooks is None and isinstance(t, Variable) and not t._inference:
                    saved[position] = (array, t._writes, t._writes[0])
                else:
                    node.save(position, t, array, hooks)
    if state.anomaly:
        node.trace = "".join(traceback.format_stack()[:-2])
    return node


def _widened(op: Op, arrays: Sequence[Any]) -> Any:
    """The forward, on wider floats where the row asks for it or computes in halves rather than moves them."""
    half = None
    if op.promote != "any":
        halves = (
            a.dtype
            for i, a in enumerate(arrays)
            if i not in op.fixed and getattr(a, "itemsize", 0) == 2 and a.dtype.kind in "fV"
        )
        half = next(halves, None)
    if op.wide:
        return functools.partial(_widely, op.forward, half or arrays[0].dtype, np.float64)
    return op.forward if half is None else functools.partial(_widely, op.forward, half, np.float32)


def _widely(function: Callable[..., Any], kind: Any, wide: Any, m: Any, *args: Any, **attrs: Any) -> Any:
    """Runs a forward or a rule on wider floats and rounds once: halves, as PyTorch does; formulas that cancel."""

    def cast(a: Any, old: Any, new: Any) -> Any:
        if type(a) in (tuple, list):
            return type(a)(cast(x, old, new) for x in a)
        return a.astype(new) if getattr(a, "dtype", None) == old else a

    return cast(function(m, *(cast(a, kind, wide) for a in args), **attrs), wide, kind)


@functools.cache
def settled(kernel: Callable[..., Any], op: Op, rule: Any) -> Callable[..., Any]:
    """A kernel as a capture records it: where a replay's operands make it decline, the row or its rule runs."""
    return functools.partial(_answer, kernel, op, rule)


def _answer(kernel: Callable[..., Any], op: Op, rule: Any, m: Any, *args: Any, **attrs: Any) -> Any:
    result = kernel(m, *args, **attrs)
    if type(result) is backend.Declined:
        backend.check_declined(op.name, "gradient" if rule else "forward", result)
        result = (rule or _widened(op, args))(m, *args, **attrs)
    return result


def inner(function: Any) -> Any:
    """The row's or the kernel's function in what a recorder is given: it may be wrapped for wider floats, or to decline."""
    while isinstance(function, functools.partial):
        function = function.args[0]
    return function


_NUMBERS = frozenset((float, int, bool, type(None)))


def _promoted(op: Op, inputs: Sequence[Any], arrays: list[Any], kind: Any, mixed: bool) -> list[Any]:
    """Casts operands as the row says: "match" refuses, the others follow PyTorch's promotion."""
    fixed = op.fixed
    if op.promote == "match":
        floats = {x._array.dtype for i, x in enumerate(inputs) if i not in fixed and isinstance(x, Variable)}
        if len(floats) > 1:
            got = ", ".join(errors.describe(x) for x in inputs if isinstance(x, Variable))
            raise RuntimeError(f"{op.name}: expected operands to have the same dtype, but got: {got}; "
                               f"convert one with .to(dtype)")  # fmt: skip
        return arrays
    if not mixed and kind.kind in "fV":  # tensors agree; a number never promotes a float
        if all(isinstance(x, Variable) or type(x) in _NUMBERS for x in inputs):  # not NumPy's float64
            return arrays
    operands: list[tuple[dtypes.dtype, int]] = []
    for i, x in enumerate(inputs):
        if i in fixed:
            continue
        if isinstance(x, Variable):
            operands.append((dtypes.from_numpy_dtype(x._array.dtype), 2 if x._array.ndim else 1))
        elif x is not None:
            if isinstance(x, (np.generic, np.ndarray)) and x.ndim == 0:
                arrays[i] = x = x.item()
            operands.append((dtypes.of_scalar(x, op.name), 0))
    to = dtypes.result_type(operands)
    if op.promote == "float" and to.category != 2:
        to = dtypes.get_default_dtype()
    target = to.numpy_dtype
    first = next(a for a, x in zip(arrays, inputs, strict=True) if isinstance(x, Variable))
    m = backend.module_of(first).m
    return [
        a if a is None or i in fixed else (a if a.dtype == target else call_row("to", m, a, dtype=target))
        if isinstance(x, Variable)
        else m.asarray(a).astype(target)  # -1 as uint8 is 255, as in PyTorch
        for i, (a, x) in enumerate(zip(arrays, inputs, strict=True))
    ]  # fmt: skip


def _link_view(out: Any, x: Any, op: Op, attrs: Any, module: backend.ArrayModule, state: State) -> None:
    if out._array is x._array or not out._array.size or module.shares_memory(out._array, x._array):
        base = x._base if x._base is not None else x
        out._base, out._writes, out._seen = base, x._writes, x._writes[0]
        out._inference = x._inference
        if state.grad and not state.inference and (x._base is None or x._views is not None):
            out._views = (*(x._views or ()), (op, attrs))


def run(function: Callable[..., Any], m: Any, *arrays: Any, **attrs: Any) -> Any:
    """Calls a function on raw arrays where a capture can see it."""
    result = function(m, *arrays, **attrs)
    if result is not None:
        result = m.asarray(result)
    recorder = STATE.get().recorder
    if recorder is not None:
        recorder(function, m, arrays, attrs, () if result is None else (result,))
    return result


def call_row(name: str, m: Any, *args: Any, **attrs: Any) -> Any:
    """Calls a row's forward from the engine: recorded under capture, differentiable on tensors."""
    op = OPS[name]
    if m is ON_TENSORS:
        return op(m, *args, **attrs)
    return run(op.forward, m, *args, **attrs)


# What is built on the graph, under PyTorch's paths: autograd.grad, autograd.Function, autograd.functional …
__path__ = [os.path.join(os.path.dirname(__file__), "utils", "autograd")]


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        for room in ("backward", "function", "transforms", "gradcheck"):
            module = importlib.import_module(f"minigrad.{room}")
            if name in module.__all__:
                globals()[name] = found = getattr(module, name)
                return found
        if name in ("function", "functional", "grad_mode", "graph"):
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'minigrad.autograd' has no attribute {name!r}")
