"""The base of the schedules: when η is set, the states, the warnings. No formula."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ...modes import STATE, on_host
from ...tensor import Tensor
from ..optimizer import Optimizer

Lr = Any  # a number, or a tensor of one


def checked(schedule: Any, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{type(schedule).__name__}: {type(optimizer).__name__} is not an Optimizer; pass the optimizer first"
        )
    return optimizer


def options(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of every group; tensors are copied, so that nobody holds the optimizer's own."""
    return [g[key].clone() if isinstance(g[key], Tensor) else g[key] for g in optimizer.param_groups]


def set_option(group: dict[str, Any], key: str, value: Any) -> None:
    """Sets an option of a group, in place where it is a tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def each(schedule: Any, optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """One value for each group, from a sequence or a single one."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(
            f"{type(schedule).__name__}: {name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(values)} values, param_groups has {groups}"
        )
    return [v.clone() if isinstance(v, Tensor) else v for v in values]


def warn_epoch(schedule: Any) -> None:
    warnings.warn(
        f"{type(schedule).__name__}: the epoch parameter in `scheduler.step()` is deprecated: call `scheduler.step()` "
        f"without it. With it, the closed form is used instead of the chainable form, where available",
        UserWarning,
        stacklevel=4,
    )


class LRScheduler:
    """The base: a subclass defines ``get_lr()``, the next η of each group from ``last_epoch``.

    Making a schedule sets η₀ (``initial_lr`` of each group) and does the step to t = 0. ``last_epoch`` other
    than -1 goes on from there, and needs groups that have ``initial_lr``. Load a saved optimizer after its
    schedule was made, or the learning rate loaded is overwritten.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = on_host(cls.__dict__["step"])  # type: ignore[method-assign]

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked(self, optimizer)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, options(optimizer, "lr"), strict=True):
                group.setdefault("initial_lr", lr)
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        f"{type(self).__name__}: param 'initial_lr' is not specified in param_groups[{i}] when "
                        f"resuming scheduler with last_epoch={last_epoch}; load the optimizer's state dict first, or "
                        f"leave last_epoch out for a fresh run"
                    )
        self.base_lrs: list[Lr] = options(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        optimizer._step_at_schedule = vars(optimizer).get("step")
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave. Doesn't touch the optimizer, whose state holds the present η."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Lr]:
        """The η of each group that this schedule set last."""
        if (tracer := STATE.get().tracer) is not None:
            tracer.names.note(vars(self), "_last_lr")
        return self._last_lr

    def get_lr(self) -> list[Lr]:
        """The next η of each group, for ``step`` to set."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to define get_lr()")

    @on_host
    def step(self, epoch: int | None = None) -> None:
        """Goes to the next t and sets η; to be called after the optimizer's step."""
        if self._step_count == 1:
            self._warn_order()
        self._step_count += 1
        if epoch is not None:
            warn_epoch(self)
        self._update_lr(epoch)

    def _warn_order(self) -> None:
        if vars(self.optimizer).get("step") is not self.optimizer._step_at_schedule:
            warnings.warn(
                f"{type(self).__name__}: Seems like `optimizer.step()` has been overridden after learning rate "
                f"scheduler initialization. Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`",
                UserWarning,
                stacklevel=4,
            )
        elif not self.optimizer._opt_called:
            warnings.warn(
                f"{type(self).__name__}: Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                f"the opposite order: `optimizer.step()` before `lr_scheduler.step()`. Failure to do this will "
                f"result in skipping the first value of the learning rate schedule",
                UserWarning,
                stacklevel=4,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = getattr(self, "_get_closed_form_lr", None) if epoch is not None else None
        self._set_lr(self._within_step(self.get_lr if closed is None else closed))

    def _within_step(self, function: Callable[[], list[Lr]]) -> list[Lr]:
        self._get_lr_called_within_step = True
        try:
            return function()
        finally:
            self._get_lr_called_within_step = False

    def _set_lr(self, values: Sequence[Lr]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_option(group, "lr", lr)
        self._last_lr: list[Lr] = options(self.optimizer, "lr")

    def _present(self) -> list[Any]:
        """η as it is; for ``get_lr``, which users should not call."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                f"{type(self).__name__}: To get the last learning rate computed by the scheduler, please use "
                f"`get_last_lr()`",
                UserWarning,
                stacklevel=3,
            )
        return options(self.optimizer, "lr")
