"""An optimizer's step at a replay: straight lines that do again what the last step did, while everything is in its place.

The step itself is Python that looks everything up. Here what it found is asked for by identity (groups, parameters, states,
their arrays, that gradients are there and fit), the numbers are computed anew by the optimizer's own function, and the kernel's
loops are called, or where there is none the row, with memory that stays. Where anything is another the step itself runs, and is
written down again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, threads
from ..modes import STATE
from ..op import OPS
from ..optim.optimizer import Optimizer, apply_all
from ..tensor import Tensor
from .scratch import Scratch

LIMIT = 16  # times that it is written down; where it is never twice the same that wouldn't pay
EXACT = 2**24  # step counts below which float32 counts by one


class Step:
    """``optimizer.step()``, which is given as ``function``."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.left = function, LIMIT
        self.again: Any = None

    def __call__(self) -> None:
        if self.again is None or not self.again():
            self.function()
            self.left -= 1
            optimizer: Any = self.function.__self__  # type: ignore[attr-defined]
            how = written if _has_numbers(optimizer) else followed
            self.again = how(optimizer) if self.left > 0 else None


def is_step(function: Any) -> bool:
    """Is it the step of an optimizer whose update is a row's?"""
    optimizer = getattr(function, "__self__", None)
    return isinstance(optimizer, Optimizer) and getattr(function, "__func__", None) is Optimizer.step


def _has_numbers(optimizer: Any) -> bool:
    """Do the parameters of a group share the numbers of their updates, by the optimizer's own function?"""
    owners = [next(c for c in type(optimizer).__mro__ if name in vars(c)) for name in ("_update", "_numbers")]
    return owners[0] is owners[1] is not Optimizer and vars(optimizer).keys().isdisjoint(
        ("_update", "_numbers")
    )


def followed(optimizer: Any) -> Callable[[], bool]:
    """The step, asking for every update, where rows have memory that stays."""
    scratch = Scratch()

    def again() -> bool:
        state, hooks = STATE.get(), optimizer._hooks
        if state.recorder is not None or state.journal is not None:
            return False
        if optimizer._stepping or hooks["step_pre"] or hooks["step_post"]:
            return False
        given = [
            (group, p) for group in optimizer.param_groups for p in group["params"] if p._grad is not None
        ]
        for _, p in given:
            optimizer._check_gradient(p, p._grad)
        optimizer._opt_called, optimizer._known = True, (None, None, None)
        updates = [optimizer._update(group, p) for group, p in given]
        if not all(_plain(row, inputs) for row, inputs, _ in updates):
            apply_all(updates, optimizer._vectors)
            return True
        for row, inputs, attrs in updates:
            op = OPS[row]
            arrays = [None if t is None else t._array for t in inputs]
            scratch.update(op.forward, *arrays, **{**op.attrs, **attrs})
            for name, t in zip(op.inputs, inputs, strict=False):
                if name in op.mutates and t is not None:
                    t._writes[0] += 1
        return True

    return again


def written(optimizer: Any) -> Callable[[], bool] | None:
    """A function that makes the step if it can be made as the last one was; None where there is none."""
    space: dict[str, Any] = {"STATE": STATE, "o": optimizer, "Tensor": Tensor, "share": threads.share}
    space["scratch"] = Scratch()

    def named(x: Any) -> str:
        space[name := f"k{len(space)}"] = x
        return name

    hooks = optimizer._hooks
    groups, states = named(optimizer.param_groups), named(optimizer.state)
    asked = ["o._stepping", f"o._hooks is not {named(hooks)}"]
    asked += [f"{named(hooks[kind])}" for kind in ("step_pre", "step_post")]
    asked += [f"o.param_groups is not {groups}", f"o.state is not {states}"]
    asked += [f"len({groups}) != {len(optimizer.param_groups)}"]
    counted, numbers, called = list[str](), list[str](), list[str]()
    seen: set[int] = set()
    for j, group in enumerate(optimizer.param_groups):
        params, known = named(group["params"]), named(group)
        asked += [f"{groups}[{j}] is not {known}", f"{known}['params'] is not {params}"]
        asked += [f"len({params}) != {len(group['params'])}"]
        # other options decide what the update reads; these are read anew
        options = [(k, x) for k, x in group.items() if k not in ("params", "lr", "betas")]
        asked += [f"{known}.get({k!r}) is not {named(x)}" for k, x in options]
        steps, kernels = list[str](), set[Any]()
        for i, p in enumerate(group["params"]):
            name = named(p)
            asked.append(f"{params}[{i}] is not {name}")
            if id(p) in seen:
                return None
            seen.add(id(p))
            if p._grad is None:
                asked.append(f"{name}._grad is not None")
                continue
            row, inputs, attrs, count = _observed(optimizer, group, p)
            kernel = _prepared(row, inputs, attrs) or _plain(row, inputs)
            if kernel is None:
                return None
            fits, given, loop, work, vectors = kernel
            kernels.add((row, fits, given))
            state = named(optimizer.state.get(p))
            keys = {id(t): key for key, t in optimizer.state.get(p, {}).items()}
            asked.append(f"{states}.get({name}) is not {state}")
            tensors = [t for t in (inputs[0], *inputs[2:]) if t is not None]
            for t in tensors:
                if t is not p and id(t) not in keys:
                    return None
                which = name if t is p else named(t)
                if t is not p:
                    asked.append(f"{state}.get({keys[id(t)]!r}) is not {which}")
                asked.append(f"{which}._array is not {named(t._array)}")
                changed = OPS[row].inputs[next(k for k, u in enumerate(inputs) if u is t)] in OPS[row].mutates
                called += [f"{which}._writes[0] += 1"] * changed
            g, a = f"g{name}", inputs[0]._array
            asked.append(f"({g} := {name}._grad) is None or type({g}) is not Tensor")
            asked.append(f"({g} := {g}._array).shape != {named(a.shape)} or {g}.dtype != {named(a.dtype)}")
            asked.append(f"not {g}.flags.carray")
            if count is not None:
                which, array = named(count), named(count._array)
                asked += [f"{state}.get('step') is not {which}", f"{which}._array is not {array}"]
                steps.append(array)
                called.append(f"{which}._writes[0] += 1")
            vector, others = named(vectors[0]), "".join(named(v) + ", " for v in vectors[1:])
            arguments = f"{vector}, {g}.ravel(), {others}*n{j}"
            if loop is None:
                called.append(f"scratch.update({named(OPS[row].forward)}, {vector}, {g}, {others}**n{j})")
            elif work < threads.SHARED:
                called.append(f"{named(loop)}({arguments}, 0, {vectors[0].size})")
            else:
                called.append(f"share({named(loop)}, ({arguments},), {vectors[0].size}, {work})")
        if not kernels:
            continue
        if len(kernels) > 1 or steps and len(steps) < sum(p._grad is not None for p in group["params"]):
            return None
        ((row, fits, given),) = kernels
        step = named(optimizer._known[1])
        if steps:
            step = f"s{j}"
            counted += [f"{step} = {steps[0]}.item() + 1"]
            counted += [
                f"if not {step} < {EXACT}" + "".join(f" or {s}.item() + 1 != {step}" for s in steps[1:]) + ":"
            ]
            counted += ["    return False"]
            called[:0] = [f"{' = '.join(f'{s}[()]' for s in steps)} = {step}"]
        numbers += [f"a{j} = {{**{named(OPS[row].attrs)}, **o._numbers({known}, {step})}}"]
        numbers += [f"if not {named(fits)}(**a{j}):", "    return False", f"n{j} = {named(given)}(**a{j})"]
    lines = ["state = STATE.get()", "if (state.recorder is not None or state.journal is not None"]
    lines += [f"    or {condition}" for condition in asked]
    lines += ["):", "    return False", *counted, *numbers, "o._opt_called = True", *called, "return True"]
    text = "\n    ".join(["def again():", *lines]) + "\n"
    exec(compile(text, f"<minigrad.compile {type(optimizer).__name__}.step>", "exec"), space)
    return space["again"]


def _always(**attrs: Any) -> bool:
    return True


def _plain(row: str, inputs: Any) -> Any:
    """The same for the row itself, where no kernel is selected: the arrays as they are, no loop."""
    op, arrays = OPS[row], [None if t is None else t._array for t in inputs]
    a: Any = arrays[0]
    if any(x is not None and (type(x) is not np.ndarray or x.dtype != a.dtype) for x in arrays):
        return None
    if a.dtype.itemsize < 4 or op.wide:
        return None
    if op.kernels and backend.select(op, backend.module_of(a), a.dtype) is not None:
        return None
    return _always, dict, None, 0, [a, *arrays[2:]]


def _observed(optimizer: Any, group: dict[str, Any], p: Any) -> tuple[str, Any, dict[str, Any], Any]:
    """A parameter's update and the tensor of its step count, which stays what it is."""
    count = optimizer.state.get(p, {}).get("step")
    before = None if count is None else (count._array.copy(), count._writes[0])
    optimizer._known = (None, None, None)
    row, inputs, attrs = optimizer._update(group, p)
    if before is not None:
        count._array[...], count._writes[0] = before
    return row, inputs, attrs, count


def _prepared(row: str, inputs: Any, attrs: dict[str, Any]) -> Any:
    """What the kernel's ``prepared`` gives for it."""
    op, a = OPS[row], inputs[0]._array
    kernel = backend.select(op, backend.module_of(a), a.dtype) if op.kernels else None
    prepared = getattr(getattr(kernel, "forward", None), "prepared", None)
    return prepared and prepared([None if t is None else t._array for t in inputs], attrs)
