"""How a run shows itself: a bar by tqdm on a terminal, plain lines otherwise, and a table by epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

from .callbacks import Callback
from .history import duration, header, line, number

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """Prints a row an epoch and, within it, how far it is, how fast, and the time left for the whole run.

    Where ``stream`` (standard output) is a terminal and tqdm can be imported the epoch has a bar, else a line
    every ``every`` seconds. ``bar`` decides instead of the stream; True without tqdm raises ImportError.
    """

    rank = 2

    def __init__(self, every: float = 5.0, stream: Any = None, bar: bool | None = None) -> None:
        self.every, self.stream, self.bar = every, stream, bar
        self._tqdm: Any = None
        self._shown: Any = None  # the bar now on the screen
        self._names: list[str] = []
        self._next = 0.0

    def _out(self) -> Any:
        return self.stream if self.stream is not None else sys.stdout

    def _print(self, text: str) -> None:
        print(text, file=self._out(), flush=True)

    def setup(self, trainer: Any, model: Any, stage: str) -> None:
        self._tqdm, self._names = None, []
        terminal = bool(getattr(self._out(), "isatty", lambda: False)())
        if self.bar or (self.bar is None and terminal):
            try:
                from tqdm import tqdm

                self._tqdm = tqdm
            except ImportError:
                if self.bar:
                    raise ImportError(
                        "ProgressBar: bar=True needs tqdm; pip install 'minigrad-xp[progress]', or leave bar out"
                    ) from None

    def on_train_start(self, trainer: Any, model: Any) -> None:
        over = 0 < trainer.max_epochs <= trainer.current_epoch and not trainer.loop.begun
        if trainer.resumed_from:
            at = f"epoch {trainer.current_epoch + 1}, batch {trainer.loop.batch}"
            if over:
                at = f"it was over after epoch {trainer.current_epoch}"
            self._print(f"resumed from {trainer.resumed_from}: {at}, step {trainer.global_step}")
        if over:
            return
        self._begin(trainer, trainer.num_training_batches, self._epoch(trainer), trainer.loop.batch)
        self._rate = _Rate(trainer.batches_done)

    def on_train_epoch_start(self, trainer: Any, model: Any) -> None:
        self._begin(trainer, trainer.num_training_batches, self._epoch(trainer))

    def _epoch(self, trainer: Any) -> str:
        of = f"/{trainer.max_epochs}" if trainer.max_epochs > 0 else ""
        return f"epoch {trainer.current_epoch + 1}{of}"

    def _begin(self, trainer: Any, total: int | None, label: str, done: int = 0) -> None:
        self._close()
        now = time.monotonic()
        self._next, self._label = now + self.every, label
        if self._tqdm is not None:
            self._shown = self._tqdm(
                total=total, initial=done, desc=label, leave=False, file=self._out(), dynamic_ncols=True
            )
            self._next = now

    def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        shown = "  ".join(f"{k} {number(v)}" for k, v in trainer.running_values().items())
        left = self._rate.left(trainer.batches_done, trainer.batches_in_all, now)
        if self._shown is not None:
            self._next = now + 0.1
            self._shown.set_postfix_str(f"{shown}  {left}" if left else shown, refresh=False)
            self._shown.update(trainer.loop.batch - self._shown.n)
            return
        self._next = now + self.every
        total = trainer.num_training_batches
        of = f"/{total}" if total is not None else ""
        rate = self._rate.per_second(trainer.batches_done, now)
        parts = [self._label, f"batch {batch_idx + 1}{of}", shown, f"{rate:.4g} batches/s", left]
        self._print("  ".join(p for p in parts if p))

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        self._close()
        names = list(trainer.history.history)
        if names != self._names:
            self._names = names
            self._print(header(names))
        row, seconds = trainer.history.row(), trainer.history.seconds[-1]
        self._print(line(names, trainer.current_epoch, row, seconds))

    def on_train_end(self, trainer: Any, model: Any) -> None:
        self._close()
        if trainer.stop_reason:
            self._print(f"stopped: {trainer.stop_reason}")

    def on_test_start(self, trainer: Any, model: Any) -> None:
        self._begin(trainer, trainer.num_batches, "evaluate")
        self._rate = _Rate(0)

    def on_predict_start(self, trainer: Any, model: Any) -> None:
        self._begin(trainer, trainer.num_batches, "predict")
        self._rate = _Rate(0)

    def on_test_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._count(trainer, batch_idx + 1)

    def on_predict_batch_end(
        self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._count(trainer, batch_idx + 1)

    def _count(self, trainer: Any, done: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        if self._shown is not None:
            self._next = now + 0.1
            self._shown.update(done - self._shown.n)
            return
        self._next = now + self.every
        of = f"/{trainer.num_batches}" if trainer.num_batches is not None else ""
        rate, left = self._rate.per_second(done, now), self._rate.left(done, trainer.num_batches, now)
        parts = [self._label, f"batch {done}{of}", f"{rate:.4g} batches/s", left]
        self._print("  ".join(p for p in parts if p))

    def _close(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def teardown(self, trainer: Any, model: Any, stage: str) -> None:
        self._close()


class _Rate:
    """Batches a second since the start, and what that says about the rest; validation is in it."""

    def __init__(self, done: int) -> None:
        self.first, self.start = done, time.monotonic()

    def per_second(self, done: int, now: float) -> float:
        return (done - self.first) / max(now - self.start, 1e-9)

    def left(self, done: int, total: int | None, now: float) -> str:
        if total is None or done <= self.first:
            return ""
        return f"{duration((total - done) / self.per_second(done, now))} left"
