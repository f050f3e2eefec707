"""Learning-rate schedules as ``fit`` and ``configure_optimizers`` give them: which, how often, watching what.

The schedules themselves are in ``minigrad.optim.lr_scheduler``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .loop import at_least

__all__ = ["Schedule", "configured", "schedule_of"]


class Schedule(NamedTuple):
    """A learning-rate schedule, and when it steps."""

    schedule: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None


def configured(model: Any) -> tuple[Any, Any]:
    """Optimizer and schedules from what ``configure_optimizers`` returned."""
    configure = getattr(model, "configure_optimizers", None)
    if not callable(configure):
        raise TypeError(
            f"Trainer.fit: {type(model).__name__} defines training_step, but no configure_optimizers; define it "
            f"to return an optimizer"
        )
    found = configure()
    scheduler = None
    if isinstance(found, Mapping):
        found, scheduler = found["optimizer"], found.get("lr_scheduler")
    elif isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], (list, tuple)):
        found, scheduler = found
    if isinstance(found, (list, tuple)):
        if len(found) != 1:
            raise ValueError(
                f"Trainer.fit: {type(model).__name__}.configure_optimizers returned {len(found)} optimizers, expected "
                f"one; give it parameter groups, or write the loop yourself"
            )
        found = found[0]
    return found, scheduler


_SCHEDULE_KEYS = {"scheduler", "interval", "frequency", "monitor"}


def schedule_of(given: Any, optimizer: Any) -> Schedule:
    from ..optim.lr_scheduler import ReduceLROnPlateau

    options = given if isinstance(given, Mapping) else {"scheduler": given}
    if unknown := set(options) - _SCHEDULE_KEYS or "scheduler" not in options:
        got = sorted(map(str, options)) if unknown is True else sorted(map(str, unknown))  # type: ignore[arg-type]
        raise ValueError(
            f"Trainer.fit: expected scheduler as a dict of scheduler, interval, frequency, monitor, got {got}"
        )
    schedule, interval = options["scheduler"], options.get("interval", "epoch")
    if not hasattr(schedule, "step") and callable(schedule):
        schedule = schedule(optimizer)
    if not hasattr(schedule, "step"):
        raise TypeError(f"Trainer.fit: expected scheduler to be a schedule, got {type(schedule).__name__}")
    if interval not in ("epoch", "step"):
        raise ValueError(
            f"Trainer.fit: expected a schedule's interval to be 'epoch' or 'step', got {interval!r}"
        )
    plateau = isinstance(schedule, ReduceLROnPlateau)
    if "monitor" in options and not plateau:
        raise ValueError(
            f"Trainer.fit: monitor is for ReduceLROnPlateau, got it for {type(schedule).__name__}; leave it out"
        )
    monitor = options.get("monitor", "val_loss") if plateau else None
    return Schedule(
        schedule, interval, at_least("a schedule's frequency", options.get("frequency", 1), 1), monitor
    )
