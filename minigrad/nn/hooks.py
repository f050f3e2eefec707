"""What happens around a module's forward: forward hooks, and backward hooks set where gradients pass.

Registering them is ``module.py``'s. A backward hook needs a place in the graph: the module's inputs, and its
outputs, go through a function that changes nothing and shows the gradients on their way back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..autograd import Removable, is_grad_enabled
from ..function import Function
from ..tensor import Tensor


def add(table: dict[int, Any], hook: Any, prepend: bool = False) -> Removable:
    """Enters a hook into a module's table, last or first."""
    return Removable(table, hook, prepend)


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls a module that has hooks: pre-hooks, forward, hooks, in the order of their registration.

    When one of them raises, the hooks registered with ``always_call`` still run.
    """
    progress: dict[str, Any] = {"args": args, "kwargs": kwargs, "result": None, "called": set()}
    try:
        return _stages(module, progress)
    except Exception:
        _always(module, progress)
        raise


def _stages(module: Any, progress: dict[str, Any]) -> Any:
    args, kwargs = progress["args"], progress["kwargs"]
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            new = hook(module, args, kwargs)
            if new is not None:
                if not isinstance(new, tuple) or len(new) != 2:
                    raise RuntimeError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                                       f"{new}.")  # fmt: skip
                args, kwargs = new
        else:
            new = hook(module, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
        progress["args"], progress["kwargs"] = args, kwargs
    watch = None
    if module._backward_hooks or module._backward_pre_hooks:
        watch = Watch(module)
        progress["args"] = args = watch.inputs(args)
    progress["result"] = result = module.forward(*args, **kwargs)
    for key, hook in list(module._forward_hooks.items()):
        progress["called"].add(key)
        new = _call_forward_hook(module, key, hook, args, kwargs, result)
        if new is not None:
            progress["result"] = result = new
    return result if watch is None else watch.outputs(result)


def _call_forward_hook(module: Any, key: int, hook: Any, args: Any, kwargs: Any, result: Any) -> Any:
    if key in module._forward_hooks_with_kwargs:
        return hook(module, args, kwargs, result)
    return hook(module, args, result)


def _always(module: Any, progress: dict[str, Any]) -> None:
    for key, hook in list(module._forward_hooks.items()):
        if key in module._forward_hooks_always_called and key not in progress["called"]:
            try:
                new = _call_forward_hook(
                    module, key, hook, progress["args"], progress["kwargs"], progress["result"]
                )
            except Exception as e:
                warnings.warn(f"module forward hook with ``always_call=True`` raised an exception that was silenced as "
                              f"another error was raised in forward: {e}", stacklevel=4)  # fmt: skip
                continue
            progress["result"] = progress["result"] if new is None else new


class Watch:
    """One call of a module with backward hooks: the gradients by its outputs, then those by its inputs."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.hooks = list(module._backward_hooks.values())
        self.pre_hooks = list(module._backward_pre_hooks.values())
        self.grad_outputs: Any = None
        self.places: list[int] | None = None  # of the tensors among the inputs; None if none needs a gradient
        self.count = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        passed, self.places = _pass(args, self._by_inputs, materialize=True)
        return passed

    def outputs(self, result: Any) -> Any:
        if isinstance(result, tuple):
            self.kind: Any = type(result) if hasattr(result, "_fields") else None
            passed, self.out_places = _pass(result, self._by_outputs, materialize=False)
            self.out_count = len(result)
            return passed
        if not isinstance(result, Tensor):
            warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                          f"received {type(result)}", stacklevel=4)  # fmt: skip
        passed, self.out_places = _pass((result,), self._by_outputs, materialize=False)
        self.out_count = 1
        return passed[0]

    def _by_outputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self.out_places is not None
        shown = _placed(self.out_places, grads, self.out_count)
        for hook in self.pre_hooks:
            new = hook(self.module, shown)
            if new is None:
                continue
            if len(new) != len(shown):
                raise RuntimeError(f"Backward pre hook returned an invalid number of grad_output, got {len(new)}, but "
                                   f"expected {len(shown)}")  # fmt: skip
            shown = new
        self.grad_outputs = shown
        if self.places is None:
            self._without_inputs()
        return tuple(shown[i] for i in self.out_places)

    def _without_inputs(self) -> None:
        if self.hooks:
            warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since no "
                          "inputs require gradients.", stacklevel=5)  # fmt: skip
        for hook in self.hooks:
            new = hook(self.module, (None,) * self.count, self.grad_outputs)
            if new is not None and not (isinstance(new, tuple) and all(g is None for g in new)):
                raise RuntimeError("Backward hook for Modules where no input requires gradient should always return None or "
                                   "None for all gradients.")  # fmt: skip
        self.grad_outputs = None

    def _by_inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_outputs is None:  # the gradient came by another way than the outputs
            return grads
        assert self.places is not None
        shown = _placed(self.places, grads, self.count)
        for hook in self.hooks:
            new = hook(self.module, shown, self.grad_outputs)
            if new is None:
                continue
            new = new if isinstance(new, tuple) else (new,)
            if len(new) != len(shown):
                raise RuntimeError(f"Backward hook returned an invalid number of grad_input, got {len(new)}, but expected "
                                   f"{len(shown)}")  # fmt: skip
            shown = new
        self.grad_outputs = None
        return tuple(shown[i] for i in self.places)


def _placed(places: list[int], values: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    out: list[Any] = [None] * count
    for i, value in zip(places, values, strict=True):
        out[i] = value
    return tuple(out)


def _pass(
    values: tuple[Any, ...], visit: Callable[..., Any], materialize: bool
) -> tuple[Any, list[int] | None]:
    """The same values, their gradients shown to ``visit`` on the way back; and which of them are tensors."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    if not is_grad_enabled() or not any(values[i].requires_grad for i in places):
        return values, None
    passed = list(values)
    for i, t in zip(places, Passage.apply(visit, materialize, *(values[i] for i in places)), strict=True):
        passed[i] = t
    return (type(values)(*passed) if hasattr(values, "_fields") else tuple(passed)), places


class Passage(Function):
    """Identity; its backward shows the gradients to a visitor, which may replace them."""

    @staticmethod
    def forward(ctx: Any, visit: Callable[..., Any], materialize: bool, *tensors: Any) -> Any:
        ctx.visit = visit
        ctx.set_materialize_grads(materialize)
        ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        needed = ctx.needs_input_grad[2:]
        shown = ctx.visit(tuple(g if need else None for g, need in zip(grads, needed, strict=True)))
        return (None, None, *shown)
