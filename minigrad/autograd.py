"""The graph: ``apply`` runs an op and records it, ``backward`` walks the record. Nothing here knows any op.

``apply`` is the one choke point of eager mode, kernels and capture. A :class:`Node` keeps what its
gradient rule reads and points at the nodes of its inputs, by position; tensors are not in the graph,
only leaves are. The walk is a heap over creation numbers: a node is always younger than its inputs, so
taking the youngest first is a topological order, without recursion. Un-broadcasting and casting of
gradients happen once, here. Functions built on this (Function, checkpoint, jacobian …) are in
``function.py`` and ``transforms.py``.
"""

from __future__ import annotations

import functools
import heapq
import importlib
import itertools
import os
import traceback
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

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
from .op import OPS, Namespace, Op

_number = itertools.count()


class Variable:
    """What the graph needs of a tensor; :class:`minigrad.Tensor` is the rest.

    ``_version`` is shared by a base and its views and counts in-place writes. A view keeps its base and
    the chain of view ops that leads to it, so that its history can be rebuilt after a write to either.
    """

    _array: Any
    _version: list[int]
    _node: Node | None = None
    _index: int = 0
    _requires_grad: bool = False
    _grad: Any = None
    _base: Variable | None = None
    _views: tuple[tuple[Op, dict[str, Any]], ...] | None = None
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
                new = g if g._requires_grad else wrap(g._array.copy())
                t._grad = new if t._grad is None else t._grad + new

        add_hook(edge(self)[0], -3 - self._index, keep)

    def _refresh(self) -> None:
        """Rebuilds a view's history when its base has been written to since."""
        self._seen = self._version[0]
        base = self._base
        if self._views is None or base is None or not base._requires_grad:
            return
        fresh = base
        with Mode(grad=True):
            for op, attrs in self._views:
                fresh = apply(op, (fresh,), attrs)
        self._node, self._index, self._requires_grad = fresh._node, fresh._index, True


_new = object.__new__
TENSOR: list[Any] = [Variable]  # tensor.py puts its class here


def wrap(array: Any) -> Any:
    """A tensor over a raw array, sharing its memory, without history."""
    t = _new(TENSOR[0])
    t._array, t._version = array, [0]
    if STATE.get().inference:
        t._inference = True
    return t


def edge(t: Any) -> Any:
    """Where a tensor's gradient goes: (its node, output number), (the leaf itself, 0), or None."""
    return None if not t._requires_grad else (t, 0) if t._node is None else (t._node, t._index)


class Node:
    """One application of an op: its gradient rule's save list and its inputs' nodes, by position."""

    __slots__ = (
        "__weakref__", "attrs", "freed", "hooks", "kernel", "module", "op", "parents", "saved", "seq",
        "shapes", "trace",
    )  # fmt: skip

    def __init__(self, op: Any, parents: tuple[Any, ...], module: backend.ArrayModule) -> None:
        self.op, self.parents, self.module = op, parents, module
        self.seq = next(_number)
        self.attrs: dict[str, Any] = {}
        self.saved: dict[int, Any] = {}
        self.shapes: tuple[Any, ...] = ()  # (shape, dtype) of the array inputs, None for numbers
        # by output number; -1: before the node runs, -2: after it, -3 - k: retain_grad of output k
        self.hooks: dict[int, dict[int, Any]] | None = None
        self.kernel: backend.Kernel | None = None
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
        return add_hook(self, -2, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(grad_outputs)`` before this node runs; a tuple returned replaces them."""
        return add_hook(self, -1, hook)

    def save(self, position: int, t: Any, array: Any, hooks: Any) -> None:
        """Keeps an array for the rule, with the version it had. Outputs have negative positions."""
        if isinstance(t, Variable):
            if t._inference and position >= 0:
                raise RuntimeError(
                    f"{self.op.name}: Inference tensors cannot be saved for backward; clone() the tensor "
                    f"outside inference_mode to get a normal one"
                )
            if hooks is not None:
                self.saved[position] = (hooks[0](wrap(array)), None, hooks[1])
            else:
                self.saved[position] = (array, t._version, t._version[0])
        else:
            self.saved[position] = (array, None, None)

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
            t = wrap(array)
            if position == -1:
                t._node, t._index, t._requires_grad = self, 0, True
            return t
        parent = self.parents[position]
        if parent is None:
            return wrap(array)
        if isinstance(parent[0], Variable):
            return parent[0]
        t = wrap(array)
        t._node, t._index, t._requires_grad = parent[0], parent[1], True
        return t

    def run(self, grads: list[Any], needs: list[bool], create: bool) -> list[Any]:
        """Gradients by the inputs, in their order, from those by the outputs: arrays, or tensors for ``create``.

        A row's rule reads the gradient by its first output; :class:`minigrad.autograd.Function` reads all.
        """
        op, g, kind = self.op, grads[0], self.module.array_type
        m = ON_TENSORS if create else self.module.m
        recorder = None if create else STATE.get().recorder
        results: list[Any] = [None] * len(self.parents)
        for rule in op.rules:
            target = rule.target
            if target is not None and not needs[target]:
                continue
            args = [m, g]
            for kind, where in rule.reads:
                if kind == "input":
                    args.append(self.argument(where, create))
                elif kind == "attr":
                    args.append(self.attrs[where])
                elif kind == "shape":
                    shape = self.shapes[where]
                    args.append(shape[0] if shape else ())
                elif kind == "output":
                    args.append(self.argument(~where, create))
                elif kind == "needs":
                    args.append(tuple(needs))
                elif kind == "inputs":
                    args.append([self.argument(i, create) for i in range(len(self.parents))])
                else:
                    args.append([s[0] for s in self.shapes])
            function = rule.function
            if self.kernel is not None and not create and self.kernel.vjp is not None:
                function = self.kernel.vjp
            elif not create and g is not None and g.itemsize == 2 and op.promote != "any":
                function = functools.partial(_widely, function, g.dtype, np.float32)
            result = function(*args)
            result = result if isinstance(result, (tuple, list)) else (result,)
            if not create:
                result = [r if r is None or type(r) is kind else m.asarray(r) for r in result]
            if recorder is not None:
                recorder(function, m, args[1:], {}, result)
            if target is not None:
                results[target] = result[0]
            else:
                for i, r in enumerate(result):
                    if needs[i]:
                        results[i] = r
        return results

    def owns(self, r: Any, grads: list[Any], results: list[Any]) -> bool:
        """Is r, one of the results, nobody else's, so that a leaf may keep it and add to it?"""
        kept = [*grads, *(s[0] for s in self.saved.values())]
        return sum(x is r for x in results) == 1 and not any(x is r for x in kept)

    def release(self) -> None:
        if self.saved:
            self.saved, self.freed = {}, True


class AccumulateGrad(NamedTuple):
    """How a leaf appears among ``next_functions``."""

    variable: Any

    def name(self) -> str:
        return "AccumulateGrad"


class Removable:
    """A registered hook's handle: ``remove()``, or use as a context manager."""

    def __init__(self, table: dict[int, Any], key: int) -> None:
        self.table, self.id = table, key

    def remove(self) -> None:
        self.table.pop(self.id, None)

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def add_hook(node: Node, index: int, hook: Callable[..., Any]) -> Removable:
    if node.hooks is None:
        node.hooks = {}
    table = node.hooks.setdefault(index, {})
    key = next(_number)
    table[key] = hook
    return Removable(table, key)


class OnTensors(Namespace):
    """NumPy's interface over tensors, made from the rows: what a rule runs on to be differentiated."""

    pi, inf, nan, newaxis = np.pi, np.inf, np.nan, None

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return apply(op, args, {**op.attrs, **attrs})

    def __getattr__(self, name: str) -> Any:
        for op in OPS.values():
            if name in op.numpy:
                break
        else:
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
    for x in inputs:
        if isinstance(x, Variable):
            if x._base is not None and x._seen != x._version[0]:
                x._refresh()
            array = x._array
            track = track or x._requires_grad
            if kind is None:
                kind, module = array.dtype, backend.BY_TYPE.get(type(array)) or backend.module_of(array)
            else:
                mixed = mixed or array.dtype != kind
                if type(array) is not module.array_type and backend.module_of(array) is not module:
                    raise errors.other_device(op.name, module.name, backend.module_of(array).name)
            arrays.append(array)
        else:
            numbers = numbers or x is not None
            arrays.append(x)
    if module is None:
        raise errors.no_tensor(op.name, inputs, op.usage())
    if op.promote != "any" and (mixed or numbers or kind.kind != "f"):
        arrays = _promoted(op, op.promote, inputs, arrays, kind, mixed)
    kernel = backend.select(op, module, arrays[0].dtype) if op.kernels else None
    forward = op.forward if kernel is None else kernel.forward
    if kernel is None and (op.wide or mixed or kind.itemsize == 2):
        half = _half(op, arrays)
        if op.wide:
            forward = functools.partial(_widely, forward, half or arrays[0].dtype, np.float64)
        elif half is not None:
            forward = functools.partial(_widely, forward, half, np.float32)
    m = module.m
    try:
        with np.errstate(all="ignore"):
            result = forward(m, *arrays, **attrs)
    except (ValueError, TypeError) as e:  # NumPy's AxisError is a ValueError
        refused = errors.refused(op.name, inputs, e)
        raise refused from (None if refused is e else e)
    if op.mutates:
        if state.recorder is not None:
            state.recorder(forward, m, arrays, attrs, ())
        for name in op.mutates:
            x = inputs[op.inputs.index(name)]
            if isinstance(x, Variable):
                x._version[0] += 1
        return None
    outs = []
    for array in result if type(result) is tuple else (result,):
        t = _new(TENSOR[0])
        t._array, t._version = array if type(array) is module.array_type else m.asarray(array), [0]
        outs.append(t)
    out = outs[0]
    if state.inference:
        out._inference = True
    if op.view:
        _link_view(out, inputs[0], op, attrs, module, state)
    if state.recorder is not None:
        state.recorder(forward, m, arrays, attrs, tuple([t._array for t in outs]))
    if (
        track
        and state.grad
        and op.gradient is not None
        and not state.inference
        and out._array.dtype.kind in "fV"
    ):
        out._node, out._requires_grad = _record(op, inputs, arrays, outs, attrs, module, kernel, state), True
    return out if len(outs) == 1 else tuple(outs)


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
                    saved[position] = (array, t._version, t._version[0])
                else:
                    node.save(position, t, array, hooks)
    if state.anomaly:
        node.trace = "".join(traceback.format_stack()[:-2])
    return node


def _half(op: Op, arrays: Sequence[Any]) -> Any:
    """float16 or bfloat16 if that's what a row computes in, None otherwise, or if it only moves its elements."""
    if op.promote != "any":
        for i, a in enumerate(arrays):
            if i not in op.fixed and getattr(a, "itemsize", 0) == 2 and a.dtype.kind in "fV":
                return a.dtype
    return None


def _widely(function: Callable[..., Any], kind: Any, wide: Any, m: Any, *args: Any, **attrs: Any) -> Any:
    """Runs a forward or a rule on wider floats and rounds once: halves, as PyTorch does; formulas that cancel."""

    def cast(a: Any, old: Any, new: Any) -> Any:
        if type(a) in (tuple, list):
            return type(a)(cast(x, old, new) for x in a)
        return a.astype(new) if getattr(a, "dtype", None) == old else a

    return cast(function(m, *(cast(a, kind, wide) for a in args), **attrs), wide, kind)


_NUMBERS = frozenset((float, int, bool, type(None)))


def _promoted(
    op: Op, promote: str, inputs: Sequence[Any], arrays: list[Any], kind: Any, mixed: bool
) -> list[Any]:
    """Casts operands as the row says: "match" refuses, the others follow PyTorch's promotion."""
    fixed = op.fixed
    if promote == "match":
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
    if promote == "float" and to.category != 2:
        to = dtypes.get_default_dtype()
    target = to.numpy_dtype
    first = next(a for a, x in zip(arrays, inputs, strict=True) if isinstance(x, Variable))
    m = backend.module_of(first).m
    return [
        a if a is None or i in fixed else (a if a.dtype == target else run(_cast, m, a, dtype=target))
        if isinstance(x, Variable)
        else m.asarray(a).astype(target)  # -1 as uint8 is 255, as in PyTorch
        for i, (a, x) in enumerate(zip(arrays, inputs, strict=True))
    ]  # fmt: skip


def _link_view(out: Any, x: Any, op: Op, attrs: Any, module: backend.ArrayModule, state: State) -> None:
    if out._array is x._array or not out._array.size or module.shares_memory(out._array, x._array):
        base = x._base if x._base is not None else x
        out._base, out._version, out._seen = base, x._version, x._version[0]
        out._inference = x._inference
        if state.grad and not state.inference and (x._base is None or x._views is not None):
            out._views = (*(x._views or ()), (op, attrs))


# ---- in-place forms ------------------------------------------------------------------------------------


def apply_(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The in-place form of an op: computes it, writes the result into its first input, returns that."""
    target = inputs[0]
    return rewrite(
        target, lambda x: apply(op, [x if y is target else y for y in inputs], attrs), op.name + "_"
    )


def rewrite(target: Any, compute: Callable[[Any], Any], name: str) -> Any:
    """Writes ``compute(target)`` into target's memory; what its rules will read of that memory is copied first."""
    check_writable(target, name)
    source, first = target, next(_number)
    if STATE.get().saved_hooks is not None:  # what they pack may be the memory itself
        source = wrap(run(_copy, backend.module_of(target._array).m, target._array))
        source._node, source._index, source._requires_grad = target._node, target._index, target.requires_grad
    result = compute(source)
    stack = [result._node] if result._requires_grad else []
    while stack:
        node = stack.pop()
        if node is None or node.seq < first:
            continue
        for position, (array, version, _) in node.saved.items():
            if version is target._version:
                node.saved[position] = (run(_copy, node.module.m, array), None, None)
        stack += [p[0] for p in node.parents if p is not None and isinstance(p[0], Node)]
    return write(target, result, name)


def check_writable(target: Any, name: str) -> None:
    """Refuses, before anything is written, an in-place write that autograd or memory forbids."""
    if not isinstance(target, Variable):
        raise TypeError(f"{name}: expected a Tensor to write to, got {type(target).__name__}")
    state = STATE.get()
    if target._inference and not state.inference:
        raise RuntimeError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed; clone() it "
            f"first to get a normal tensor"
        )
    if state.grad:
        base = target._base
        if target._requires_grad and target._node is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place operation; "
                f"write under minigrad.no_grad(), or to a clone()"
            )
        if base is not None and base._requires_grad and base._node is None and target._views is not None:
            raise RuntimeError(
                f"{name}: a view of a leaf Variable that requires grad is being used in an in-place "
                f"operation; write under minigrad.no_grad(), or to a clone()"
            )
    array = target._array
    if array.size > 1 and (
        not getattr(getattr(array, "flags", None), "writeable", True)
        or any(s == 0 and n > 1 for s, n in zip(getattr(array, "strides", ()), array.shape, strict=False))
    ):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a "
            f"single memory location, or its memory is read-only; clone() the tensor first"
        )


def write(target: Any, result: Any, name: str) -> Any:
    """Copies ``result`` into ``target``'s memory and gives target (and its base) the result's history."""
    a, r = target._array, result._array
    if a.shape != r.shape:
        raise RuntimeError(
            f"{name}: output with shape {list(a.shape)} doesn't match the broadcast shape "
            f"{list(r.shape)}; use the out-of-place form"
        )
    if a.dtype != r.dtype:
        have, want = dtypes.from_numpy_dtype(r.dtype), dtypes.from_numpy_dtype(a.dtype)
        if have.category > want.category:
            raise RuntimeError(
                f"{name}: result type {have.name} can't be cast to the desired output type {want.name}; "
                f"use the out-of-place form, or convert with .to()"
            )
    state, base = STATE.get(), target._base
    if state.grad and base is not None and target._views is None:
        if base._requires_grad or target._requires_grad or result._requires_grad:
            raise RuntimeError(
                f"{name}: a view that was created in no_grad mode, or is the output of a custom Function, is "
                f"being modified inplace with grad mode enabled, so that the gradient by its base would be "
                f"wrong; write to the base, or to a clone() of the view"
            )
    with np.errstate(all="ignore"):
        run(_assign, backend.module_of(a).m, a, r)
    target._version[0] += 1
    if state.grad:
        rebase(target, result)
    return target


def rebase(target: Any, result: Any) -> None:
    """Gives a tensor that has been written to, and its base, the history of what was written."""
    base, a, r = target._base, target._array, result._array
    if base is None or target._views is None:
        target._node, target._index = result._node, result._index
        target._requires_grad = result._requires_grad
        target._seen = target._version[0]
        written = [target]
    elif result._requires_grad or base._requires_grad:
        node = Node(OPS["view_scatter"], (edge(base), edge(result)), backend.module_of(a))
        node.attrs = {"views": target._views}
        node.shapes = ((base._array.shape, base._array.dtype), (r.shape, r.dtype))
        base._node, base._index, base._requires_grad = node, 0, True
        target._refresh()
        written = [target, base]
    else:
        return
    for t in written:
        if t._retains_grad and t._node is not None:
            t._retain()


def _assign(m: Any, a: Any, r: Any) -> None:
    a[...] = r


def run(function: Callable[..., Any], m: Any, *arrays: Any, **attrs: Any) -> Any:
    """Calls a function on raw arrays where a capture can see it."""
    result = function(m, *arrays, **attrs)
    if result is not None:
        result = m.asarray(result)
    recorder = STATE.get().recorder
    if recorder is not None:
        recorder(function, m, arrays, attrs, () if result is None else (result,))
    return result


# ---- backward --------------------------------------------------------------------------------------------


def _fit(module: backend.ArrayModule, g: Any, to: tuple[tuple[int, ...], Any], create: bool) -> Any:
    """Sums a gradient over broadcast dimensions and casts it to its input's shape and dtype."""
    m, (shape, dtype) = ON_TENSORS if create else module.m, to
    if tuple(g.shape) != shape:
        lead = len(g.shape) - len(shape)
        dims = tuple(range(lead)) + tuple(
            i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1
        )
        g = call_row("sum", m, g, dim=dims) if dims else g
        if tuple(g.shape) != shape:
            g = call_row("reshape", m, g, shape=shape)
        if tuple(g.shape) != shape:
            g = call_row("broadcast_to", m, g, shape=shape)
    if create:
        return g if g._array.dtype == dtype else apply(OPS["to"], (g,), {"dtype": dtype})
    if g.dtype != dtype:
        return run(_cast, module.m, g, dtype=dtype)
    return g


def call_row(name: str, m: Any, *args: Any, **attrs: Any) -> Any:
    """Calls a row's forward from the engine: recorded under capture, differentiable on tensors."""
    op = OPS[name]
    if m is ON_TENSORS:
        return op(m, *args, **attrs)
    return run(op.forward, m, *args, **attrs)


def _cast(m: Any, g: Any, dtype: Any) -> Any:
    return g.astype(dtype)


def _add(m: Any, a: Any, b: Any) -> Any:
    return m.asarray(m.add(a, b))  # NumPy makes scalars of 0-d sums


def _add_into(m: Any, a: Any, b: Any) -> Any:
    return m.add(a, b, out=a)


def _copy(m: Any, a: Any) -> Any:
    return m.array(a, copy=True, order="C")


def _needed(roots: Iterable[Node], wanted: set[Any]) -> set[Any]:
    """The nodes from which something wanted can be reached: the only ones worth running."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [p[0] for p in node.parents if p is not None and isinstance(p[0], Node)]
    needed = set(wanted)
    for node in sorted(seen, key=lambda n: n.seq):  # inputs before users
        if any(p is not None and p[0] in needed for p in node.parents):
            needed.add(node)
    return needed


class Walk:
    """One backward pass from ``roots``, pairs of a tensor and its gradient, youngest node first.

    Gradients wait in ``pending`` until every user of a node has run, those by leaves in ``leaves``. With
    ``wanted`` only what leads to those tensors runs. ``found`` gets the gradients by edge; with
    ``accumulate`` they are added to ``.grad`` as well.
    """

    def __init__(
        self, roots: Any, retain_graph: bool, create_graph: bool, wanted: Any = None, accumulate: bool = False
    ) -> None:
        self.retain, self.create = retain_graph, create_graph
        self.pending: dict[Node, list[Any]] = {}
        self.heap: list[tuple[int, Node]] = []
        self.leaves: dict[Any, Any] = {}
        self.owned: set[Any] = set()  # leaves whose gradient's memory is nobody else's
        self.found: dict[Any, Any] = {}
        self.targets: set[Any] = set()
        self.needed: set[Any] | None = None
        if wanted is not None:
            self.targets = {edge(t) for t in wanted}
            nodes = [t._node for t, _ in roots if t._node is not None]
            self.needed = _needed(nodes, {target for target, _ in self.targets})
        backend.keep_freed_memory()
        state = STATE.get()
        self.check_nan = state.anomaly and state.check_nan
        with Mode(grad=create_graph), np.errstate(all="ignore"):
            for t, g in roots:
                if self.needed is None or t._node is None or t._node in self.needed:
                    self.send(edge(t), g if create_graph else g._array, owned=False)
            while self.heap:
                node = heapq.heappop(self.heap)[1]
                self.visit(node, self.pending.pop(node))
            for leaf, g in self.leaves.items():
                if wanted is None or (leaf, 0) in self.targets:
                    self.found[leaf, 0] = _hooked(leaf._hooks, g, create_graph)
            for t in dict.fromkeys(self.leaves if wanted is None else wanted) if accumulate else ():
                if (g := self.found.get(edge(t))) is not None:
                    _accumulate(t, g, t in self.owned and not t._hooks, create_graph)

    def send(self, to: tuple[Any, int], g: Any, owned: bool) -> None:
        """Adds a gradient to what waits at a node's output or a leaf."""
        target, index = to
        if isinstance(target, Node):
            slots = self.pending.get(target)
            if slots is None:
                slots = self.pending[target] = [None] * (index + 1)
                heapq.heappush(self.heap, (-target.seq, target))
            elif len(slots) <= index:
                slots += [None] * (index + 1 - len(slots))
            old = slots[index]
            slots[index] = g if old is None else self.plus(old, g)
        else:
            if target in self.leaves:
                g, owned = self.plus(self.leaves[target], g), True
            self.leaves[target] = g
            if owned:
                self.owned.add(target)

    def plus(self, a: Any, b: Any) -> Any:
        return a + b if self.create else run(_add, backend.module_of(a).m, a, b)

    def visit(self, node: Node, grads: list[Any]) -> None:
        """Runs a node's rule on the gradients by its outputs and sends what comes out to its inputs."""
        create, needed, parents = self.create, self.needed, node.parents
        if node.hooks:
            _run_hooks(node, grads, create)
        if self.targets:
            self.found.update({(node, i): g for i, g in enumerate(grads) if (node, i) in self.targets})
        needs = [p is not None and (needed is None or p[0] in needed) for p in parents]
        if not any(needs):
            return
        if node.freed:
            raise errors.graph_freed(node.op.name)
        try:
            raw = node.run(grads, needs, create)
        except Exception as e:
            if node.trace:
                e.add_note(f"{node.name()} was recorded at:\n{node.trace}")
            raise
        results = [
            _fit(node.module, r, fits, create) if need and r is not None else None
            for r, need, fits in zip(raw, needs, node.shapes, strict=True)
        ]
        if node.hooks and -2 in node.hooks:
            results = _run_post_hooks(node, results, grads, create)
        for i, (r, given) in enumerate(zip(results, raw, strict=True)):
            if r is None:
                continue
            if self.check_nan:
                _refuse_nan(node, i, r)
            owned = not create and isinstance(parents[i][0], Variable) and getattr(r, "base", r) is None
            self.send(parents[i], r, owned and (r is not given or node.owns(r, grads, raw)))
        if not self.retain:
            node.release()


def _refuse_nan(node: Node, i: int, r: Any) -> None:
    a = r._array if isinstance(r, Variable) else r
    if bool(backend.module_of(a).m.isnan(a).any()):
        where = (
            f"Forward was called at:\n{node.trace}"
            if node.trace
            else "Run forward under detect_anomaly to see where"
        )
        raise RuntimeError(
            f"Function '{node.name()}' returned nan values in its {i}th output: the gradient of "
            f"{node.op.name} by its input {i}, {errors.describe(r)}, has NaN. {where}"
        )


def _hooked(hooks: dict[int, Any] | None, g: Any, create: bool) -> Any:
    """g after the hooks of its tensor, each of which may replace it by another of its shape."""
    for hook in list(hooks.values()) if hooks else ():
        new = hook(g if create else wrap(g))
        if new is None:
            continue
        name = getattr(hook, "__name__", hook)
        if not isinstance(new, Variable):
            raise TypeError(f"hook {name!r}: expected Variable, but hook returned {type(new).__name__!r}")
        if tuple(new._array.shape) != tuple(g.shape):
            raise RuntimeError(f"hook {name!r} has changed the size of value: expected {tuple(g.shape)}, got "
                               f"{tuple(new._array.shape)}")  # fmt: skip
        g = new if create else new._array
    return g


def _run_hooks(node: Node, grads: list[Any], create: bool) -> None:
    """Node pre-hooks on all gradients, then the hooks of each output's tensor, ``retain_grad``'s last."""
    hooks = node.hooks or {}
    for hook in list(hooks.get(-1, {}).values()):
        new = hook(tuple(g if create or g is None else wrap(g) for g in grads))
        if new is not None:
            grads[:] = [g if create or g is None else g._array for g in new]
    for index, g in enumerate(grads):
        if g is not None:
            grads[index] = _hooked(hooks.get(index), g, create)
            _hooked(hooks.get(-3 - index), grads[index], create)


def _run_post_hooks(node: Node, results: list[Any], grads: list[Any], create: bool) -> list[Any]:
    ins, outs = (tuple(g if create or g is None else wrap(g) for g in side) for side in (results, grads))
    for hook in list((node.hooks or {})[-2].values()):
        new = hook(ins, outs)
        ins = ins if new is None else tuple(new)
    return [g if create or g is None else g._array for g in ins]


def _accumulate(leaf: Any, g: Any, owned: bool, create: bool) -> None:
    if create:
        leaf._grad = g if leaf._grad is None else leaf._grad + g
    elif leaf._grad is None:
        leaf._grad = wrap(g if owned else run(_copy, backend.module_of(g).m, g))
    elif leaf._grad._requires_grad:
        leaf._grad = leaf._grad.detach() + wrap(g)
    else:
        run(_add_into, backend.module_of(g).m, leaf._grad._array, g)
        leaf._grad._version[0] += 1
    for hook in list(leaf._post_hooks.values()) if leaf._post_hooks else ():
        hook(leaf)


def _roots(name: str, tensors: Any, gradients: Any) -> list[tuple[Any, Any]]:
    tensors = [tensors] if isinstance(tensors, Variable) else list(tensors)
    if gradients is None:
        gradients = [None] * len(tensors)
    gradients = [gradients] if isinstance(gradients, Variable) else list(gradients)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"{name}: got {len(tensors)} tensors and {len(gradients)} gradients")
    pairs = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=True)):
        if not t.requires_grad:
            raise RuntimeError(
                f"{name}: element {i} of tensors does not require grad and does not have a grad_fn; set "
                f"requires_grad=True on an input before computing it"
            )
        if g is None:
            if t._array.size != 1:
                raise RuntimeError(
                    f"{name}: grad can be implicitly created only for scalar outputs, got shape "
                    f"{tuple(t._array.shape)}; reduce it with .sum() or .mean(), or pass gradient="
                )
            g = wrap(backend.module_of(t._array).m.ones_like(t._array))
        elif tuple(g.shape) != tuple(t._array.shape):
            raise RuntimeError(
                f"{name}: Mismatch in shape: gradient has shape {tuple(g.shape)}, the tensor "
                f"{tuple(t._array.shape)}; pass a gradient of the tensor's shape"
            )
        elif g._array.dtype != t._array.dtype:
            g = apply(OPS["to"], (g,), {"dtype": t._array.dtype})
        pairs.append((t, g))
    return pairs


def _wanted(name: str, inputs: Any) -> list[Any]:
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    for i, t in enumerate(inputs):
        if not t.requires_grad:
            raise RuntimeError(f"{name}: One of the differentiated Tensors (input {i}) does not require grad; call "
                               f"requires_grad_() on it before computing the outputs")  # fmt: skip
    return inputs


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates d(tensors)/d(leaf) into ``leaf.grad``, for all leaves or for ``inputs`` alone.

    ``grad_tensors`` (once called ``grad_variables``) are the vectors of the vector–Jacobian product, 1 for
    scalars. The graph is freed unless ``retain_graph`` (default: the value of ``create_graph``).
    """
    retain = create_graph if retain_graph is None else retain_graph
    roots = _roots("backward", tensors, grad_variables if grad_tensors is None else grad_tensors)
    wanted = None if inputs is None else _wanted("backward", inputs)
    if wanted == []:
        raise RuntimeError("backward: `inputs` argument to `backward` cannot be empty; leave it out for all")
    Walk(roots, retain, create_graph, wanted, accumulate=True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` by ``inputs``, returned; no ``.grad`` is touched.

    Raises RuntimeError for an input that wasn't used, unless ``allow_unused`` (None comes back) or
    ``materialize_grads`` (zeros come back). ``only_inputs`` is always true, as in PyTorch.
    """
    if is_grads_batched:
        raise NotImplementedError(
            "grad: is_grads_batched=True is not supported (no vmap); call grad for each"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "grad: Expected allow_unused to be True or not passed when materialize_grads=True, got False"
        )
    inputs = _wanted("grad", inputs)
    retain = create_graph if retain_graph is None else retain_graph
    walk = Walk(_roots("grad", outputs, grad_outputs), retain, create_graph, inputs)
    found = [walk.found.get(edge(t)) for t in inputs]
    for i, g in enumerate(found):
        if g is None and materialize_grads:
            g = backend.module_of(inputs[i]._array).m.zeros_like(inputs[i]._array)
        elif g is None and not allow_unused:
            raise RuntimeError(
                f"grad: One of the differentiated Tensors (input {i}) appears to not have been used in the "
                f"graph. Set allow_unused=True if this is the desired behavior"
            )
        found[i] = g if g is None or isinstance(g, Variable) else wrap(g)
    return tuple(found)


# What is built on the graph, under PyTorch's paths: minigrad.autograd.Function, minigrad.autograd.functional …
__path__ = [os.path.join(os.path.dirname(__file__), "utils", "autograd")]


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        for room in ("function", "transforms", "gradcheck"):
            module = importlib.import_module(f"minigrad.{room}")
            if name in module.__all__:
                return getattr(module, name)
        if name in ("function", "functional", "grad_mode", "graph"):
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'minigrad.autograd' has no attribute {name!r}")
