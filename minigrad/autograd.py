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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from . import backend, dtypes, errors
from .op import OPS, Namespace, Op


class State(NamedTuple):
    """What changes how ``apply`` works; one context variable, so that threads don't share it."""

    grad: bool = True
    inference: bool = False
    anomaly: bool = False
    recorder: Callable[..., None] | None = None  # capture: (function, m, args, attrs, results)
    saved_hooks: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None


STATE: ContextVar[State] = ContextVar("minigrad_state", default=State())
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
    grad: Any = None
    _base: Variable | None = None
    _views: tuple[tuple[Op, dict[str, Any]], ...] | None = None
    _seen: int = 0
    _hooks: dict[int, Callable[..., Any]] | None = None
    _post_hooks: dict[int, Callable[..., Any]] | None = None
    _retains_grad: bool = False
    _inference: bool = False

    def _refresh(self) -> None:
        """Rebuilds a view's history when its base has been written to since."""
        self._seen = self._version[0]
        base = self._base
        if self._views is None or base is None or not base._requires_grad:
            return
        token = STATE.set(STATE.get()._replace(grad=True))
        try:
            fresh = base
            for op, attrs in self._views:
                fresh = apply(op, (fresh,), attrs)
        finally:
            STATE.reset(token)
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
    track = mixed = False
    for x in inputs:
        if isinstance(x, Variable):
            if x._base is not None and x._seen != x._version[0]:
                x._refresh()
            array = x._array
            if x._requires_grad:
                track = True
            if kind is None:
                kind, module = array.dtype, backend.BY_TYPE.get(type(array)) or backend.module_of(array)
            else:
                if array.dtype != kind:
                    mixed = True
                if type(array) is not module.array_type and backend.module_of(array) is not module:
                    raise RuntimeError(
                        f"{op.name}: Expected all tensors to be on the same device, got "
                        f"{module.name} and {backend.module_of(array).name}: move one with .to()"
                    )
            arrays.append(array)
        else:
            arrays.append(x)
    if module is None:
        raise TypeError(
            f"{op.name}(): argument 'input' must be Tensor, not "
            f"{type(inputs[0]).__name__ if inputs else 'nothing'}: {op.usage()}"
        )
    promote = op.promote
    if promote != "any" and (mixed or kind.kind != "f" or len(arrays) > 1):
        arrays = _promoted(op, promote, inputs, arrays, kind, mixed)
    kernel = backend.select(op, module, arrays[0].dtype) if op.kernels else None
    forward = op.forward if kernel is None else kernel.forward
    if op.wide and kernel is None:
        forward = functools.partial(_widely, forward)
    m = module.m
    try:
        with np.errstate(all="ignore"):
            result = forward(m, *arrays, **attrs)
    except np.exceptions.AxisError as e:
        raise errors.dim_out_of_range(op.name, e.axis, e.ndim) from None  # type: ignore[arg-type]
    except ValueError as e:
        if str(e).startswith(op.name):  # the row's own words
            raise
        raise errors.failed(op.name, [x for x in inputs if x is not None], e) from e
    if op.mutates:
        if state.recorder is not None:
            state.recorder(forward, m, arrays, attrs, ())
        for name in op.mutates:
            x = inputs[op.inputs.index(name)]
            if isinstance(x, Variable):
                x._version[0] += 1
        return None
    first, *others = result if type(result) is tuple else (result,)
    if type(first) is not module.array_type:
        first = m.asarray(first)
    out = _new(TENSOR[0])
    out._array, out._version = first, [0]
    if state.inference:
        out._inference = True
    track = (
        track and state.grad and not state.inference and op.gradient is not None and first.dtype.kind in "fV"
    )
    if op.view:
        _link_view(out, inputs[0], op, attrs, module, state)
    outs = [out]
    for other in others:
        outs.append(wrap(other if type(other) is module.array_type else m.asarray(other)))
    if state.recorder is not None:
        state.recorder(forward, m, arrays, attrs, tuple([t._array for t in outs]))
    if track:
        node = Node(op, tuple(
            edge(x) if isinstance(x, Variable) else None for x in inputs
        ), module)  # fmt: skip
        node.attrs = attrs
        node.kernel = kernel
        node.shapes = tuple([
            (x._array.shape, x._array.dtype) if isinstance(x, Variable) else None for x in inputs
        ])  # fmt: skip
        parents = node.parents
        for rule in op.rules:
            if rule.target is None or parents[rule.target] is not None:
                for what, where in rule.reads:
                    if what == "input":
                        if where not in node.saved:
                            node.save(where, inputs[where], arrays[where], state.saved_hooks)
                    elif what == "output":
                        node.save(~where, outs[where], outs[where]._array, state.saved_hooks)
                    elif what == "inputs":
                        for i, x in enumerate(inputs):
                            node.save(i, x, arrays[i], state.saved_hooks)
        if state.anomaly:
            node.trace = "".join(traceback.format_stack()[:-1])
        out._node, out._requires_grad = node, True
    return out if len(outs) == 1 else tuple(outs)


def _widely(forward: Callable[..., Any], m: Any, *arrays: Any, **attrs: Any) -> Any:
    """Runs a forward whose formula cancels in float64 and rounds once."""
    kind = arrays[0].dtype
    wide = [a.astype(m.float64) if hasattr(a, "astype") and a.dtype == kind else a for a in arrays]
    return m.asarray(forward(m, *wide, **attrs)).astype(kind)


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
        if all(isinstance(x, (Variable, float, int)) or x is None for x in inputs):
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
        else m.asarray(a, dtype=target)
        for i, (a, x) in enumerate(zip(arrays, inputs, strict=True))
    ]  # fmt: skip


def _link_view(out: Any, x: Any, op: Op, attrs: Any, module: backend.ArrayModule, state: State) -> None:
    if out._array is x._array or module.shares_memory(out._array, x._array):
        base = x._base if x._base is not None else x
        out._base, out._version, out._seen = base, x._version, x._version[0]
        out._inference = x._inference
        if state.grad and not state.inference and (x._base is None or x._views is not None):
            out._views = (*(x._views or ()), (op, attrs))


# ---- in-place forms ------------------------------------------------------------------------------------


def apply_(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The in-place form of an op: computes it, writes the result into its first input, returns that."""
    target = inputs[0]
    check_writable(target, op.name + "_")
    return write(target, apply(op, inputs, attrs), op.name + "_")


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
    elif result._requires_grad or base._requires_grad:
        node = Node(OPS["view_scatter"], (edge(base), edge(result)), backend.module_of(a))
        node.attrs = {"views": target._views}
        node.shapes = ((base._array.shape, base._array.dtype), (r.shape, r.dtype))
        base._node, base._index, base._requires_grad = node, 0, True
        target._refresh()


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


def _fit(module: backend.ArrayModule, g: Any, shape: tuple[int, ...], dtype: Any, create: bool) -> Any:
    """Sums a gradient over broadcast dimensions and casts it to its input's dtype."""
    m = ON_TENSORS if create else module.m
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


def walk(
    roots: Sequence[tuple[Any, Any]],
    retain_graph: bool,
    create_graph: bool,
    wanted: Sequence[Any] | None = None,
) -> list[Any] | None:
    """Propagates gradients from ``roots``, pairs of a tensor and its gradient, youngest node first.

    Without ``wanted`` leaves accumulate into ``.grad``; with it the gradients of those tensors are
    returned (None where there is no path) and nothing else is touched.
    """
    backend.keep_freed_memory()
    pending: dict[Node, list[Any]] = {}
    owned: dict[Any, bool] = {}  # leaf -> is its gradient's memory nobody else's?
    leaves: dict[Any, Any] = {}
    heap: list[tuple[int, Node]] = []
    create = create_graph
    captured: dict[tuple[Any, int], Any] = {}
    targets: set[Any] = set()
    needed: set[Any] | None = None
    if wanted is not None:
        keys = [edge(t) for t in wanted]
        targets = set(keys)
        needed = _needed([t._node for t, _ in roots if t._node is not None], {k[0] for k in keys})

    def send(to: tuple[Any, int], g: Any, fresh: bool) -> None:
        target, index = to
        if isinstance(target, Node):
            slots = pending.get(target)
            if slots is None:
                slots = pending[target] = [None] * (index + 1)
                heapq.heappush(heap, (-target.seq, target))
            elif len(slots) <= index:
                slots += [None] * (index + 1 - len(slots))
            old = slots[index]
            slots[index] = g if old is None else plus(old, g)
        elif target in leaves:
            leaves[target], owned[target] = plus(leaves[target], g), True
        else:
            leaves[target], owned[target] = g, fresh

    def plus(a: Any, b: Any) -> Any:
        return a + b if create else run(_add, backend.module_of(a).m, a, b)

    token = STATE.set(STATE.get()._replace(grad=create))
    try:
        with np.errstate(all="ignore"):
            for t, g in roots:
                if needed is None or t._node is None or t._node in needed:
                    send(edge(t), g if create else g._array, False)
            while heap:
                node = heapq.heappop(heap)[1]
                grads = pending.pop(node)
                if node.hooks:
                    _run_hooks(node, grads, create)
                for index, g in enumerate(grads):
                    if (node, index) in targets:
                        captured[node, index] = g
                needs = [p is not None and (needed is None or p[0] in needed) for p in node.parents]
                if not any(needs):
                    continue
                if node.freed:
                    raise errors.graph_freed(node.op.name)
                results = node.run(grads, needs, create)
                for i, r in enumerate(results):
                    if not needs[i] or r is None:
                        continue
                    given, fits = r, node.shapes[i]
                    if fits is not None:
                        r = _fit(node.module, r, fits[0], fits[1], create)
                    to = node.parents[i]
                    fresh = False
                    if isinstance(to[0], Variable) and not create:
                        fresh = getattr(r, "base", r) is None and (
                            r is not given or node.owns(r, grads, results)
                        )
                    if node.trace is not None and not create and bool(node.module.m.isnan(r).any()):
                        raise RuntimeError(
                            f"Function '{node.name()}' returned nan values in its {i}th output: the "
                            f"gradient of {node.op.name} by its input {i}, {errors.describe(r)}, has NaN. "
                            f"Forward was called at:\n{node.trace}"
                        )
                    send(to, r, fresh)
                if not retain_graph:
                    node.release()
            if wanted is None:
                for leaf, g in leaves.items():
                    _accumulate(leaf, g, owned[leaf], create)
                return None
            for leaf, g in leaves.items():
                if (leaf, 0) in targets:
                    captured[leaf, 0] = _leaf_hooks(leaf, g, create)
    finally:
        STATE.reset(token)
    found = [captured.get(k) for k in keys]
    return [g if g is None or isinstance(g, Variable) else wrap(g) for g in found]


def _run_hooks(node: Node, grads: list[Any], create: bool) -> None:
    for index, table in node.hooks.items() if node.hooks else ():
        for hook in list(table.values()):
            if index < 0:
                given = tuple(g if create or g is None else wrap(g) for g in grads)
                new = hook(given)
                if new is not None:
                    grads[:] = [g if create or g is None else g._array for g in new]
            elif index < len(grads) and grads[index] is not None:
                new = hook(grads[index] if create else wrap(grads[index]))
                if new is not None:
                    grads[index] = new if create else new._array


def _leaf_hooks(leaf: Any, g: Any, create: bool) -> Any:
    for hook in list(leaf._hooks.values()) if leaf._hooks else ():
        new = hook(g if create else wrap(g))
        if new is not None:
            g = new if create else new._array
    return g


def _accumulate(leaf: Any, g: Any, owned: bool, create: bool) -> None:
    before = g
    g = _leaf_hooks(leaf, g, create)
    owned = owned and g is before
    if create:
        leaf.grad = g if leaf.grad is None else leaf.grad + g
    elif leaf.grad is None:
        leaf.grad = wrap(g if owned else run(_copy, backend.module_of(g).m, g))
    elif leaf.grad._requires_grad:
        leaf.grad = leaf.grad.detach() + wrap(g)
    else:
        run(_add_into, backend.module_of(g).m, leaf.grad._array, g)
        leaf.grad._version[0] += 1
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
    for t, g in zip(tensors, gradients, strict=True):
        if not t.requires_grad:
            raise RuntimeError(
                f"{name}: element 0 of tensors does not require grad and does not have a grad_fn; set "
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
            g = wrap(g._array.astype(t._array.dtype)) if not g._requires_grad else g.to(t.dtype)
        pairs.append((t, g))
    return pairs


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulates d(tensors)/d(leaf) into ``leaf.grad``, for all leaves or for ``inputs`` alone.

    ``grad_tensors`` are the vectors of the vector–Jacobian product, 1 for scalars. The graph is freed
    unless ``retain_graph`` (default: the value of ``create_graph``).
    """
    retain = create_graph if retain_graph is None else retain_graph
    roots = _roots("backward", tensors, grad_tensors)
    if inputs is None:
        walk(roots, retain, create_graph)
        return
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    if not inputs:
        raise RuntimeError("backward: `inputs` argument to `backward` cannot be empty; leave it out for all")
    found = walk(roots, retain, create_graph, inputs)
    for t, g in zip(inputs, found or (), strict=True):
        if g is not None:
            t.grad = (g if create_graph else g.clone()) if t.grad is None else t.grad + g


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` by ``inputs``, returned; no ``.grad`` is touched.

    Raises RuntimeError for an input that wasn't used, unless ``allow_unused`` (None comes back) or
    ``materialize_grads`` (zeros come back).
    """
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    for t in inputs:
        if not t.requires_grad:
            raise RuntimeError("grad: One of the differentiated Tensors does not require grad; call "
                               "requires_grad_() on it before computing the outputs")  # fmt: skip
    retain = create_graph if retain_graph is None else retain_graph
    found = walk(_roots("grad", outputs, grad_outputs), retain, create_graph, inputs) or []
    for i, g in enumerate(found):
        if g is None and materialize_grads:
            found[i] = wrap(backend.module_of(inputs[i]._array).m.zeros_like(inputs[i]._array))
        elif g is None and not allow_unused:
            raise RuntimeError(
                f"grad: One of the differentiated Tensors appears to not have been used in the graph "
                f"(input {i}). Set allow_unused=True if this is the desired behavior"
            )
    return tuple(found)


# ---- modes -----------------------------------------------------------------------------------------------


class _Mode:
    """A mode that is a context manager and a decorator, for functions and generators alike."""

    changes: dict[str, Any] = {}  # noqa: RUF012

    def __enter__(self) -> Any:
        self._tokens = getattr(self, "_tokens", [])
        self._tokens.append(STATE.get())
        STATE.set(STATE.get()._replace(**self.changes))
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.set(self._tokens.pop())

    def clone(self) -> Any:
        fresh = _new(type(self))
        fresh.changes = self.changes
        return fresh

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import inspect

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                with self.clone():
                    inner = function(*args, **kwargs)
                sent: Any = None
                while True:
                    try:
                        with self.clone():
                            item = inner.send(sent)
                    except StopIteration as stop:
                        return stop.value
                    sent = yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper


def _decorating(cls: type[_Mode], function: Any) -> Any:
    made = _new(cls)
    made.__init__()  # type: ignore[misc]
    return made(function) if callable(function) else made


class no_grad(_Mode):
    """Nothing is recorded: for inference, updates and metrics. A context manager and a decorator."""

    changes = {"grad": False}  # noqa: RUF012

    def __new__(cls, function: Any = None) -> Any:
        return _decorating(cls, function) if function is not None else super().__new__(cls)


class enable_grad(_Mode):
    """Recording, inside a ``no_grad`` block too."""

    changes = {"grad": True}  # noqa: RUF012

    def __new__(cls, function: Any = None) -> Any:
        return _decorating(cls, function) if function is not None else super().__new__(cls)


class set_grad_enabled(_Mode):
    """Recording or not, by ``mode``: at once when called, until the block's end when used as a context."""

    def __init__(self, mode: bool) -> None:
        self.changes = {"grad": bool(mode)}
        self._tokens = [STATE.get()]
        STATE.set(STATE.get()._replace(**self.changes))

    def __enter__(self) -> Any:
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        STATE.set(self._tokens.pop())

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.changes["grad"]):
                return function(*args, **kwargs)

        return wrapper


class inference_mode(_Mode):
    """``no_grad``, and its tensors can never be part of a graph later."""

    def __new__(cls, mode: Any = True) -> Any:
        return _decorating(cls, mode) if callable(mode) else super().__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        on = bool(mode)
        self.changes = {"grad": False, "inference": True} if on else {"inference": False}


class detect_anomaly(_Mode):
    """Remembers where each op was called, and raises when a gradient turns NaN, saying which op made it."""

    def __init__(self, check_nan: bool = True) -> None:
        self.changes = {"anomaly": check_nan}


class set_detect_anomaly(set_grad_enabled):
    """``detect_anomaly`` as a switch."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.changes = {"anomaly": bool(mode) and check_nan}
        self._tokens = [STATE.get()]
        STATE.set(STATE.get()._replace(**self.changes))


def is_grad_enabled() -> bool:
    """True where apply records."""
    return STATE.get().grad


def is_inference_mode_enabled() -> bool:
    """True inside ``inference_mode``."""
    return STATE.get().inference


def is_anomaly_enabled() -> bool:
    """True inside ``detect_anomaly``."""
    return STATE.get().anomaly


class capture:
    """Records every function that runs on raw arrays, for replay: ``with capture() as tape: step()``.

    Each entry of ``tape.calls`` is (function, m, args, attrs, results): forwards, gradient rules,
    accumulation and optimizer updates alike; ``results`` are the arrays made, in order.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = []

    def __enter__(self) -> capture:
        self._token = STATE.set(STATE.get()._replace(recorder=self._record))
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.reset(self._token)

    def _record(self, function: Any, m: Any, args: Any, attrs: dict[str, Any], results: Any) -> None:
        self.calls.append((function, m, tuple(args), dict(attrs), tuple(results)))


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
