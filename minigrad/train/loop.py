"""Where a run is, and how much of it there is to be: the position that checkpoints save, and limits in numbers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

__all__ = ["Loop", "at_least", "length_of", "limited", "seconds_of", "share"]


@dataclasses.dataclass
class Loop:
    """Where a run is. Everything between two steps is decided from this, and saved with it."""

    epoch: int = 0
    step: int = 0  # optimizer steps in all
    batch: int = 0  # batches of this epoch done
    batches: int = 0  # batches in all
    begun: bool = False  # on_train_epoch_start is over
    pass_done: bool = False  # no batch of this epoch is left
    ended: bool = False  # the epoch's row is in the History
    validated_batch: int = -1  # after which batch of this epoch the last validation was
    validations: int = 0  # of those due within epochs
    validation: dict[str, float] = dataclasses.field(default_factory=dict)  # the last one's values
    values: dict[str, float] = dataclasses.field(default_factory=dict)  # the epoch's row
    elapsed: float = 0.0  # seconds of the run, and of this epoch, before the clocks were started
    epoch_elapsed: float = 0.0

    def __post_init__(self) -> None:
        self.clock = self.epoch_clock = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.elapsed + time.monotonic() - self.clock

    @property
    def epoch_seconds(self) -> float:
        return self.epoch_elapsed + time.monotonic() - self.epoch_clock

    @property
    def validation_names(self) -> set[str]:
        return set(self.validation)

    def next_epoch(self) -> None:
        self.epoch, self.batch, self.validated_batch = self.epoch + 1, 0, -1
        self.begun = self.pass_done = self.ended = False
        self.validation, self.values = {}, {}
        self.epoch_elapsed, self.epoch_clock = 0.0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        state = dataclasses.asdict(self)
        return state | {"elapsed": self.seconds, "epoch_elapsed": self.epoch_seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        expected = {f.name for f in dataclasses.fields(self)}
        if set(state) != expected:
            raise KeyError(f"expected the position in a run, {sorted(expected)}, got {sorted(state)}")
        for name, value in state.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)
        self.clock = self.epoch_clock = time.monotonic()


def at_least(name: str, value: Any, lowest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"Trainer: expected {name} to be an integer of {lowest} or more, got {value!r}")
    return value


def share(name: str, value: Any, lowest: int = 0) -> int | float:
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= lowest
    if not fine and not (isinstance(value, float) and 0.0 <= value <= 1.0 and (value or not lowest)):
        raise ValueError(
            f"Trainer: expected {name} to be a number of batches (an integer of {lowest} or more) or a fraction (a "
            f"float up to 1.0), got {value!r}"
        )
    return value  # type: ignore[no-any-return]


def seconds_of(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        parts = value.split(":")
        if len(parts) != 4 or not all(p.isdigit() for p in parts):
            raise ValueError(f"Trainer: expected max_time as 'DD:HH:MM:SS', got {value!r}")
        days, hours, minutes, seconds = map(int, parts)
        value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    elif isinstance(value, Mapping):
        value = timedelta(**value)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"Trainer: expected max_time of 0 seconds or more, got {value!r}")
    return float(value)


def length_of(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


def limited(loader: Any, limit: int | float, name: str) -> int | None:
    """How many batches to take of a loader; None for all of a stream."""
    n = length_of(loader)
    if isinstance(limit, int):
        return limit if n is None else min(limit, n)
    if limit == 1.0:
        return n
    if n is None:
        raise ValueError(
            f"Trainer: {name}={limit} is a fraction of a loader without a length; pass an integer"
        )
    return int(n * limit)
