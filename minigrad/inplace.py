"""Writes into a tensor's memory: in-place forms, assignments, ``out=``, and the history that they leave.

A write is refused before anything is changed, or copies its result in, counts up the version that base and
views share, and gives the tensor, and its base, the result's history. How a view finds its new history
afterwards is ``autograd.Variable``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backend, dtypes
from .autograd import Node, Variable, apply, call_row, edge, next_number, run, wrap
from .modes import STATE
from .op import OPS, Op


def apply_(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The in-place form of an op: computes it, writes the result into its first input, returns that."""
    target = inputs[0]
    return rewrite(
        target, lambda x: apply(op, [x if y is target else y for y in inputs], attrs), f"{op.name}_"
    )


def rewrite(target: Any, compute: Callable[[Any], Any], name: str) -> Any:
    """Writes ``compute(target)`` into target's memory; what its rules will read of that memory is copied first."""
    check_writable(target, name)
    source, first = target, next_number()
    if STATE.get().saved_hooks is not None:  # what they pack may be the memory itself
        source = wrap(_copy(target._array))
        source._node, source._index, source._requires_grad = target._node, target._index, target.requires_grad
    result = compute(source)
    if result._requires_grad:
        _keep(target, result._node, first)
    return write(target, result, name)


def _keep(target: Any, node: Any, first: int) -> None:
    """Copies what nodes made since ``first`` have saved of the memory that target is a part of."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node.seq >= first:
            for position, (array, version, _) in node.saved.items():
                if version is target._writes:
                    node.saved[position] = (_copy(array), None, None)
            stack += [p[0] for p in node.parents if p is not None]


def check_writable(target: Any, name: str, memory: bool = True) -> None:
    """Refuses, before anything is written, an in-place write that autograd forbids, or ``memory``."""
    if not isinstance(target, Variable):
        raise TypeError(f"{name}: expected a Tensor to write to, got {type(target).__name__}")
    state = STATE.get()
    if target._inference and not state.inference:
        raise RuntimeError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed; clone() it "
            f"first to get a normal tensor"
        )
    if state.grad:
        base = target._base if target._views is not None else None
        for t, what in ((target, "a leaf Variable"), (base, "a view of a leaf Variable")):
            if t is not None and t._requires_grad and t._node is None:
                raise RuntimeError(
                    f"{name}: {what} that requires grad is being used in an in-place operation; write under "
                    f"minigrad.no_grad(), or to a clone()"
                )
    array = target._array
    if (
        memory
        and array.size > 1
        and (
            not getattr(getattr(array, "flags", None), "writeable", True)
            or any(s == 0 and n > 1 for s, n in zip(getattr(array, "strides", ()), array.shape, strict=False))
        )
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
    if a.size:  # NumPy says of nothing, repeated, that it is read-only
        with np.errstate(all="ignore"):
            run(assign, backend.module_of(a).m, a, r)
    target._writes[0] += 1
    if state.grad:
        rebase(target, result)
    return target


def rebase(target: Any, result: Any) -> None:
    """Gives a tensor that has been written to, and its base, the history of what was written."""
    base, a, r = target._base, target._array, result._array
    if base is None or target._views is None:
        target._node, target._index = result._node, result._index
        target._requires_grad = result._requires_grad
        target._seen = target._writes[0]
        written = [target]
    elif result._requires_grad or base._requires_grad:
        node = Node(OPS["view_scatter"], (edge(base), edge(result)), backend.module_of(a))
        node.attrs = {"views": (*base._undo, *target._views)}
        node.shapes = ((base._array.shape, base._array.dtype), (r.shape, r.dtype))
        base._follow(node)
        target._refresh()
        written = [target, base]
    else:
        return
    for t in written:
        if t._retains_grad and t._node is not None:
            t._retain()


def assign(m: Any, a: Any, r: Any) -> None:
    a[...] = r


def _copy(a: Any) -> Any:
    return call_row("clone", backend.module_of(a).m, a, order="C")
