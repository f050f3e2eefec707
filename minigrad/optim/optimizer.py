"""The base of the optimizers: parameter groups, state, hooks, state dicts in PyTorch's layout. No update rule.

A subclass says in :meth:`Optimizer._update` which row of ``minigrad/ops/optimizer.py`` moves one parameter,
on which arrays and with which numbers; the base does the rest. A subclass may as well define ``step`` itself.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from .. import autograd, backend, dtypes
from ..autograd import Removable, apply, enable_grad, no_grad, wrap
from ..errors import describe
from ..modes import STATE, on_host
from ..op import OPS
from ..tensor import Tensor, as_tensor, tensor

__all__ = ["Optimizer", "required"]

required: Any = type("Required", (), {"__repr__": lambda self: "<required parameter>"})()
"""A default that every parameter group has to replace, for optimizers of one's own."""

ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Update = tuple[str, Sequence[Any], dict[str, Any]]  # a row, its inputs, its attributes
Hook = Callable[..., Any]


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step method that runs the step hooks around itself, once where one calls another."""

    @functools.wraps(step)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tracer = STATE.get().tracer
        if tracer is not None:
            if args or kwargs:
                tracer.refuse(
                    f"{type(self).__name__}.step is given a closure", "compute the loss before step()"
                )
            return tracer.host(self.step)
        self._opt_called = True  # what schedules warn by
        hooks = self._hooks
        if self._stepping or not (hooks["step_pre"] or hooks["step_post"]):
            return step(self, *args, **kwargs)
        self._stepping = True
        try:
            for hook in list(hooks["step_pre"].values()):
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not isinstance(changed, tuple) or len(changed) != 2:
                        raise RuntimeError(
                            f"{type(self).__name__}.step: a step pre-hook must return None or a tuple of "
                            f"(new_args, new_kwargs), but got {describe(changed)}"
                        )
                    args, kwargs = changed
            result = step(self, *args, **kwargs)
            for hook in list(hooks["step_post"].values()):
                hook(self, args, kwargs)
            return result
        finally:
            self._stepping = False

    return call


class Optimizer:
    """Holds the parameters, in groups with options of their own, and the state that updates keep for each.

    ``params`` is an iterable of tensors, of ``(name, tensor)`` pairs, or of dicts, each a group: its
    ``"params"`` and the options that differ from ``defaults``. The order must be the same in every run.
    """

    _stepping = False
    _opt_called = False
    _step_at_schedule: Any = None  # an overridden step that a schedule has seen

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._hooks = _no_hooks()
        self._vectors: dict[int, Any] = {}  # what kernels remember of the arrays of a step
        self._known: tuple[Any, ...] = (None, None, None)  # the last group, step count and attributes
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__}: params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got one Tensor, {describe(params)}; pass [tensor]"
            )
        if defaults.get("differentiable"):
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True is not supported, because updates write in place; "
                f"compute gradients with autograd.grad(create_graph=True) and write the update with operators"
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError(
                f"{type(self).__name__}: optimizer got an empty parameter list; expected the parameters of a model"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("_hooks", _no_hooks())
        self._vectors = {}
        self._known = (None, None, None)

    # ---- groups ------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters; options that it doesn't bring are the defaults.

        TypeError for what isn't a tensor or has no order (a set); ValueError for a tensor that was computed,
        or that another group has already.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{name}: param_group must be a dict, but got {describe(param_group)}")
        if "params" not in param_group:
            raise KeyError(f"{name}: a parameter group needs 'params', got the keys {sorted(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(
                f"{name}: optimizer parameters need to be organized in ordered collections, but the ordering of "
                f"tensors in sets will change between runs. Please use a list instead"
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        if names and len(names) != len(params):
            raise ValueError(
                f"{name}: all optimizer params should be with/without names. Some param names are missing: "
                f"got {len(names)} names for {len(params)} parameters"
            )
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{name}: optimizer can only optimize Tensors, but one of the params is {describe(p)}"
                )
            if not (p.is_leaf or p.retains_grad):
                raise ValueError(
                    f"{name}: can't optimize a non-leaf Tensor, {describe(p)}, computed by {p.grad_fn}; pass the "
                    f"tensors it was computed from, or detach() it first"
                )
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for key, default in self.defaults.items():
            if default is required and key not in param_group:
                raise ValueError(
                    f"{name}: parameter group didn't specify a value of required optimization parameter {key}"
                )
            param_group.setdefault(key, default)
        if len({id(p) for p in params}) < len(params):
            warnings.warn(
                f"{name}: optimizer contains a parameter group with duplicate parameters, each of which is "
                f"updated once per mention; in future, this will cause an error",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                raise ValueError(
                    f"{name}: all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with' if names else 'without'} names to the optimizer"
                )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError(f"{name}: some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    @on_host
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients; with ``set_to_none=False`` writes zeros into them."""
        for group in self.param_groups:
            for p in group["params"]:
                g = p._grad
                if set_to_none or g is None:
                    p._grad = None
                    continue
                g.detach_() if g._node is not None else g.requires_grad_(False)
                autograd.run(_zero, backend.module_of(g._array).m, g._array)
                g._writes[0] += 1

    # ---- the step ----------------------------------------------------------------------------------------

    @_hooked
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient. ``closure`` computes the loss anew first; it is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        given = [(group, p) for group in self.param_groups for p in group["params"] if p._grad is not None]
        for _, p in given:
            self._check_gradient(p, p._grad)
        self._known = (None, None, None)  # options may have changed
        apply_all([self._update(group, p) for group, p in given], self._vectors)
        return loss

    def _attributes(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        """A row's attributes for a group at a step count, which its parameters share: :meth:`_numbers`, once."""
        known = self._known
        if known[0] is not group or known[1] != step:
            known = self._known = group, step, self._numbers(group, step)
        return known[2]

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        """The row's attributes, for optimizers that ask :meth:`_attributes` for them."""
        raise NotImplementedError

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        """The row that updates a parameter of a group now, its inputs and attributes; advances the step count."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to define step() or _update()")

    def _check_gradient(self, param: Tensor, g: Any) -> None:
        """Refuses a gradient that no longer fits, after ``param.data`` was replaced."""
        if type(g) is not Tensor and g.is_sparse:  # of a subclass of somebody's
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients; expected a dense tensor"
            )
        if g._array.shape != param._array.shape or g._array.dtype != param._array.dtype:
            raise RuntimeError(
                f"{type(self).__name__}: expected the gradient of a parameter {describe(param)} to have its shape and "
                f"dtype, got {describe(g)}; call zero_grad() after changing param.data, or assign a gradient that fits"
            )

    # ---- state dicts -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: …}, "param_groups": […]}`` with indices in the place of parameters.

        The tensors in it are the live ones: write them, or copy them, before the next step.
        """
        for hook in list(self._hooks["state_dict_pre"].values()):
            hook(self)
        index: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            for i, p in enumerate(group["params"], start):
                index.setdefault(id(p), i)
            start += len(group["params"])
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append({**packed, "params": [index[id(p)] for p in group["params"]]})
        state = {index[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result: Any = {"state": state, "param_groups": groups}
        for hook in list(self._hooks["state_dict_post"].values()):
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a state dict: ours, or PyTorch's of the optimizer of the same name.

        Parameters are matched by position. Values are copied, and cast to the parameter's dtype and device
        except for ``step``; options that the dict lacks stay as they are. ValueError when groups don't match.
        """
        state_dict = dict(state_dict)
        for hook in list(self._hooks["load_state_dict_pre"].values()):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        name, groups = type(self).__name__, self.param_groups
        if missing := {"state", "param_groups"} - set(state_dict):
            raise KeyError(
                f"{name}.load_state_dict: expected 'state' and 'param_groups', but {sorted(missing)} are missing "
                f"among {list(state_dict)[:6]}; pass what an optimizer's state_dict() returned"
            )
        saved = state_dict["param_groups"]
        if len(saved) != len(groups):
            raise ValueError(
                f"{name}.load_state_dict: loaded state dict has a different number of parameter groups: "
                f"expected {len(groups)}, got {len(saved)}"
            )
        for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
            if len(group["params"]) != len(new["params"]):
                raise ValueError(
                    f"{name}.load_state_dict: loaded state dict contains a parameter group that doesn't match the "
                    f"size of optimizer's group: group {i} has {len(group['params'])} parameters, got "
                    f"{len(new['params'])}"
                )
        by_key = {
            k: p
            for group, new in zip(groups, saved, strict=True)
            for k, p in zip(new["params"], group["params"], strict=True)
        }
        state: defaultdict[Any, Any] = defaultdict(dict)
        for k, v in state_dict["state"].items():
            param = by_key.get(k)
            state[k if param is None else param] = copy.deepcopy(v) if param is None else _cast(param, v)
        loaded = [
            {**group, **{k: _own(v) for k, v in new.items()}, "params": group["params"]}
            for group, new in zip(groups, saved, strict=True)
        ]
        self.__setstate__({"state": state, "param_groups": loaded})
        for hook in list(self._hooks["load_state_dict_post"].values()):
            hook(self)

    # ---- hooks -------------------------------------------------------------------------------------------

    def _register(self, kind: str, hook: Hook, prepend: bool = False) -> Removable:
        return Removable(self._hooks[kind], hook, prepend)

    def register_step_pre_hook(self, hook: Hook) -> Removable:
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return new ``(args, kwargs)``."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Hook) -> Removable:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Removable:
        """Calls ``hook(optimizer)`` before ``state_dict`` gathers."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Removable:
        """Calls ``hook(optimizer, state_dict)``, which may change the dict or return another."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Removable:
        """Calls ``hook(optimizer, state_dict)`` with a shallow copy, which it may change or replace."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Removable:
        """Calls ``hook(optimizer)`` after a state dict was loaded."""
        return self._register("load_state_dict_post", hook, prepend)


def _no_hooks() -> dict[str, dict[int, Hook]]:
    return {
        f"{what}{when}": {}
        for what in ("step", "state_dict", "load_state_dict")
        for when in ("_pre", "_post")
    }


def apply_all(updates: Sequence[Update], known: dict[int, Any]) -> None:
    """Applies updates in their order; neighbours of one row, dtype and attributes are one call of its kernel's ``many``.

    ``known`` is that kernel's, from step to step.
    """
    state, start = STATE.get(), 0
    seen = state.recorder is not None or state.journal is not None  # by somebody who wants one at a time
    while start < len(updates):
        row, first, attrs = updates[start]
        op, array = OPS[row], first[0]._array
        dtype = array.dtype
        kernel = None if seen or not op.kernels else backend.select(op, backend.module_of(array), dtype)
        many: Any = getattr(getattr(kernel, "forward", None), "many", None)
        together: list[list[Any]] = []
        if many is not None:
            for other, inputs, numbers in itertools.islice(updates, start, None):
                alike = numbers is attrs or numbers == attrs
                if other != row or not alike or inputs[0]._array.dtype != dtype:
                    break
                together.append([None if t is None else t._array for t in inputs])
        done = start + (many(together, attrs, known) if together else 0)
        written = [i for i, name in enumerate(op.inputs) if name in op.mutates]
        for _, inputs, _ in updates[start:done]:
            for i in written:
                if i < len(inputs) and (t := inputs[i]) is not None:
                    t._writes[0] += 1
        end = start + max(len(together), 1)
        if done < end:
            with no_grad():
                for _, inputs, _ in updates[done:end]:
                    apply(op, inputs, attrs)
        start = end


# ---- what subclasses use ---------------------------------------------------------------------------------

WORDS = {"lr": "learning rate", "eps": "epsilon value"}


def check_option(
    name: str, key: str, value: Any, high: float = math.inf, closed: bool = True, word: str = ""
) -> None:
    """Refuses an option that isn't a number, or a tensor of one, with 0 ≤ value ≤ high (< high unless closed)."""
    if not isinstance(value, (Real, Tensor)):
        raise TypeError(f"{name}: expected {key} to be a number or a Tensor of one, got {describe(value)}")
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name}: Tensor {key} must be 1-element, got shape {tuple(value.shape)}")
    number = float(value)
    if not (0 <= number <= high and (closed or number < high)):
        wanted = (
            "at least 0"
            if high == math.inf
            else f"from 0 to {high:g}" + ("" if closed else f", less than {high:g}")
        )
        raise ValueError(
            f"{name}: Invalid {word or WORDS.get(key, f'{key} value')}: {value}; expected a number {wanted}"
        )


def check_betas(name: str, betas: Any) -> tuple[Any, ...]:
    """Refuses betas other than two numbers in [0, 1), or two tensors of one; returns them as a tuple."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{name}: expected betas to be two numbers, got {describe(betas)}")
    for i, beta in enumerate(betas):
        check_option(name, f"betas[{i}]", beta, 1, closed=False, word=f"beta parameter at index {i}")
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError(f"{name}: betas must be either both floats or both Tensors, got {betas!r}")
    return tuple(betas)


def check_implementation(name: str, foreach: Any, fused: Any) -> None:
    """``foreach``, ``fused`` and ``capturable`` choose between implementations; there is one, so all are taken."""
    if foreach and fused:
        raise RuntimeError(f"{name}: `fused` and `foreach` cannot be `True` together; leave both out")


def scalar(value: float) -> Tensor:
    """A number in the state, in the memory of the host: float32, or float64 where that is the default dtype."""
    wide = dtypes.get_default_dtype() is dtypes.float64
    return tensor(value, dtype=dtypes.float64 if wide else dtypes.float32)


def zeros(param: Tensor) -> Tensor:
    """A state like the parameter, of zeros."""
    return wrap(backend.module_of(param._array).m.zeros_like(param._array))


def counted(state: dict[str, Any]) -> float:
    """Advances the step count in a parameter's state, and returns it."""
    t = state["step"]
    if STATE.get().recorder is not None or not isinstance(t, Tensor):
        return accumulated(state, "step", _add, 1)
    a = t._array
    a[()] = a.item() + 1  # as _add does it, in a tenth of the time
    t._writes[0] += 1
    return a.item()


def accumulated(state: dict[str, Any], key: str, function: Callable[..., None], by: float) -> float:
    """Adds to a number of the state in place, or multiplies it, and returns it."""
    t = state[key]
    if not isinstance(t, Tensor):  # older state dicts have a number
        t = state[key] = scalar(float(t))
    run: Any = function if STATE.get().recorder is None else functools.partial(autograd.run, function)
    run(backend.module_of(t._array).m, t._array, by=by)
    t._writes[0] += 1
    return t._array.item()


def _add(m: Any, a: Any, *, by: float) -> None:
    m.add(a, by, out=a)


def multiply(m: Any, a: Any, *, by: float) -> None:
    """a ← by · a."""
    m.multiply(a, by, out=a)


def _zero(m: Any, a: Any) -> None:
    a[...] = 0


# ---- values of a state dict ------------------------------------------------------------------------------


def _foreign(value: Any) -> bool:
    """Is it an array or a tensor of another library?"""
    return (
        hasattr(value, "__array__")
        and hasattr(value, "shape")
        and not isinstance(value, (Tensor, np.generic))
    )


def _own(value: Any) -> Any:
    """A copy of an option, tensors of other libraries as ours."""
    if isinstance(value, (list, tuple)):
        return type(value)([_own(v) for v in value])
    if isinstance(value, dict):
        return {k: _own(v) for k, v in value.items()}
    return tensor(np.asarray(value)) if _foreign(value) else copy.deepcopy(value)


def _cast(param: Tensor, value: Any, key: Any = None) -> Any:
    """A copy of a state's value with the parameter's dtype and device; the step count stays what it is."""
    if isinstance(value, dict):
        return {k: _cast(param, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(param, v) for v in value])
    if not isinstance(value, Tensor) and not _foreign(value):
        return copy.deepcopy(value)
    found = value.detach() if isinstance(value, Tensor) else as_tensor(np.asarray(value))
    if key == "step":
        return found.clone()
    dtype = param.dtype if param.is_floating_point() else found.dtype
    return found.to(dtype=dtype, device=param.device, copy=True)
