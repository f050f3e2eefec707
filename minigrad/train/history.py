"""What a run has measured, epoch by epoch, and the ways to write it down. Nothing here trains."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from typing import Any

from ..io.files import atomic_write

__all__ = ["History"]


class History:
    """Values by epoch, as Keras's: ``history`` maps names to lists, ``epoch`` has the numbers, from 0.

    All lists are as long as ``epoch``; where an epoch has no value (validation left out, say) there is NaN.
    ``seconds`` is how long each epoch took. Printed, it is a table for people, which count epochs from 1.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []

    def append(self, epoch: int, values: dict[str, float], seconds: float = 0.0) -> None:
        """Adds the row of an epoch."""
        for name in values:
            self.history.setdefault(name, [math.nan] * len(self.epoch))
        for name, column in self.history.items():
            column.append(float(values.get(name, math.nan)))
        self.epoch.append(epoch)
        self.seconds.append(seconds)

    def __len__(self) -> int:
        return len(self.epoch)

    def row(self, index: int = -1) -> dict[str, float]:
        """The values of one epoch; the last by default."""
        return {name: column[index] for name, column in self.history.items()}

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes ``epoch`` and the values, an empty field where there is none; whole or not at all."""
        with atomic_write(path, "w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(["epoch", *self.history])
            for i, epoch in enumerate(self.epoch):
                values = self.row(i).values()
                writer.writerow([epoch, *("" if math.isnan(v) else repr(v) for v in values)])

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes epoch, history and seconds, null where there is no finite value; whole or not at all."""
        found = {"epoch": self.epoch, "history": self.history, "seconds": self.seconds}
        with atomic_write(path, "w") as f:
            json.dump(_without_nan(found), f, indent=1, allow_nan=False)
            f.write("\n")

    def table(self) -> str:
        """The rows as text, with a line of names above."""
        names = list(self.history)
        lines = [header(names)] if names else []
        for i, epoch in enumerate(self.epoch):
            lines.append(line(names, epoch, self.row(i), self.seconds[i]))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table() or "History: no epoch yet"

    def __repr__(self) -> str:
        return f"<History of {len(self)} epochs: {', '.join(self.history) or 'no values'}>"

    def state_dict(self) -> dict[str, Any]:
        """All of it, to be saved."""
        return {
            "epoch": list(self.epoch),
            "history": {name: list(column) for name, column in self.history.items()},
            "seconds": list(self.seconds),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what ``state_dict`` gave."""
        self.epoch = list(state_dict["epoch"])
        self.history = {name: list(column) for name, column in state_dict["history"].items()}
        self.seconds = list(state_dict["seconds"])


def _without_nan(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _without_nan(v) for k, v in x.items()}
    if isinstance(x, list):
        return [_without_nan(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def header(names: Sequence[str]) -> str:
    """The line of names above a table's rows."""
    return "epoch  " + "  ".join(f"{name:>{_width(name)}}" for name in names) + "     time"


def line(names: Sequence[str], epoch: int, values: dict[str, float], seconds: float) -> str:
    """One epoch as a row under :func:`header`; epochs are counted from 1."""
    cells = (f"{_cell(name, values.get(name, math.nan)):>{_width(name)}}" for name in names)
    return f"{epoch + 1:>5}  " + "  ".join(cells) + f"  {duration(seconds):>7}"


def _width(name: str) -> int:
    return max(len(name), 8)


def _cell(name: str, value: float) -> str:
    """A learning rate goes through several powers of ten in a run, so all of its column has them."""
    rate = name == "lr" or name.startswith("lr-")
    return f"{value:.2e}" if rate and math.isfinite(value) else number(value)


def number(value: float) -> str:
    """Four decimals, powers of ten where these would say nothing, a dash for NaN."""
    if math.isnan(value):
        return "-"
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:.4f}"


def duration(seconds: float) -> str:
    """``8.3s``, ``1:05`` (minutes), ``2:00:09`` (hours)."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
