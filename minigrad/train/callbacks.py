"""Callbacks: what happens around the steps of a run. The steps are the Trainer's, drawing progress progress.py's.

Hooks have Lightning's names and arguments; each gets the Trainer and the model first. Who knows Keras's:

=============================  ============================================
Keras                          here
=============================  ============================================
``on_train_begin/end``         ``on_train_start/end``
``on_epoch_begin/end``         ``on_train_epoch_start/end``
``on_train_batch_begin/end``   ``on_train_batch_start/end``
``on_test_begin/end``          ``on_validation_start/end`` within fit, ``on_test_start/end`` of evaluate
``logs``                       ``trainer.callback_metrics``, or ``on_log``
=============================  ============================================

A callback keeps what a resumed run needs in ``state_dict``. In every hook those of lower ``rank`` run first:
what measures, then yours, then what writes down, and checkpoints last, so that they hold all the others' state.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import re
import time
from collections.abc import Callable as Function
from pathlib import Path
from typing import Any, ClassVar

from ..io.files import atomic_write

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "TensorBoard",
]


class Callback:
    """Base of callbacks: override the hooks you need. ``trainer`` and ``model`` are those of the run.

    ``outputs`` of a training batch is ``{"loss": float}``, of a validation batch what the model's own step
    returned, or None. ``when`` of ``on_log`` is "step" (every ``log_every_n_steps``), "validation" or "epoch";
    its ``values`` may be changed, and what is added at "epoch" goes into the History.
    """

    rank: ClassVar[int] = 1

    def setup(self, trainer: Any, model: Any, stage: str) -> None:
        """Before anything; ``stage`` is "fit", "evaluate" or "predict"."""

    def teardown(self, trainer: Any, model: Any, stage: str) -> None:
        """After everything, exceptions included."""

    def on_fit_start(self, trainer: Any, model: Any) -> None:
        """A run begins or goes on; the state of a checkpoint has been restored."""

    def on_fit_end(self, trainer: Any, model: Any) -> None:
        """A run has ended without exception."""

    def on_sanity_check_start(self, trainer: Any, model: Any) -> None:
        """Before the first validation batches that only look for mistakes."""

    def on_sanity_check_end(self, trainer: Any, model: Any) -> None:
        """After them."""

    def on_train_start(self, trainer: Any, model: Any) -> None:
        """Before the first epoch."""

    def on_train_end(self, trainer: Any, model: Any) -> None:
        """After the last epoch."""

    def on_train_epoch_start(self, trainer: Any, model: Any) -> None:
        """Before the first batch of an epoch; a run resumed within the epoch doesn't call it again."""

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        """The epoch's row is in ``trainer.history``; schedules by epoch step afterwards."""

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        """Before a training batch."""

    def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a training batch, its optimizer step included when it ended a group."""

    def on_before_optimizer_step(self, trainer: Any, model: Any, optimizer: Any) -> None:
        """Gradients are accumulated, and not clipped yet."""

    def on_validation_start(self, trainer: Any, model: Any) -> None:
        """Before validation, within fit."""

    def on_validation_end(self, trainer: Any, model: Any) -> None:
        """After validation; its values are in ``trainer.callback_metrics``."""

    def on_validation_epoch_start(self, trainer: Any, model: Any) -> None:
        """Before the first validation batch."""

    def on_validation_epoch_end(self, trainer: Any, model: Any) -> None:
        """After the last validation batch, before the values are worked out."""

    def on_validation_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        """Before a validation batch."""

    def on_validation_batch_end(
        self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a validation batch."""

    def on_test_start(self, trainer: Any, model: Any) -> None:
        """Before evaluate."""

    def on_test_end(self, trainer: Any, model: Any) -> None:
        """After evaluate."""

    def on_test_epoch_start(self, trainer: Any, model: Any) -> None:
        """Before the first batch of evaluate."""

    def on_test_epoch_end(self, trainer: Any, model: Any) -> None:
        """After the last batch of evaluate, before the values are worked out."""

    def on_test_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        """Before a batch of evaluate."""

    def on_test_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch of evaluate."""

    def on_predict_start(self, trainer: Any, model: Any) -> None:
        """Before predict."""

    def on_predict_end(self, trainer: Any, model: Any) -> None:
        """After predict."""

    def on_predict_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        """Before a batch of predict."""

    def on_predict_batch_end(
        self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a batch of predict; ``outputs`` is what the model gave."""

    def on_log(self, trainer: Any, model: Any, values: dict[str, float], step: int, when: str) -> None:
        """Something has been measured, at optimizer step ``step``."""

    def on_interrupt(self, trainer: Any, model: Any, reason: str) -> None:
        """The run stops within an epoch, at an optimizer step: "Ctrl-C", "max_steps" or "max_time"."""

    def on_exception(self, trainer: Any, model: Any, exception: BaseException) -> None:
        """The run ends with an exception."""

    def on_save_checkpoint(self, trainer: Any, model: Any, checkpoint: dict[str, Any]) -> None:
        """A checkpoint has been put together; add to it what you like."""

    def on_load_checkpoint(self, trainer: Any, model: Any, checkpoint: dict[str, Any]) -> None:
        """A checkpoint has been loaded."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of this callback."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what ``state_dict`` gave."""


HOOKS = tuple(n for n in vars(Callback) if n in ("setup", "teardown") or n.startswith("on_"))


class LambdaCallback(Callback):
    """Hooks from functions: ``LambdaCallback(on_train_epoch_end=lambda trainer, model: …)``.

    Raises TypeError for a name that is no hook.
    """

    def __init__(self, **hooks: Function[..., Any]) -> None:
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: {name!r} is no hook; expected one of {', '.join(HOOKS)}")
            if not callable(function):
                raise TypeError(
                    f"LambdaCallback: expected a function for {name}, got {type(function).__name__}"
                )
            setattr(self, name, function)


class _Monitoring:
    """Finds the value that a callback watches, and which way is better."""

    monitor: str | None
    mode: str

    def _check_mode(self) -> None:
        if self.mode not in ("min", "max", "auto"):
            raise ValueError(
                f"{type(self).__name__}: expected mode to be 'min', 'max' or 'auto', got {self.mode!r}"
            )

    def _rising(self, trainer: Any) -> bool:
        """True where more is better. "auto" asks the metric; a loss or error is better when it is less."""
        if self.mode != "auto":
            return self.mode == "max"
        assert self.monitor is not None
        found = trainer.higher_is_better(self.monitor)
        if found is None:
            raise ValueError(
                f"{type(self).__name__}: can't tell whether more or less of {self.monitor!r} is better; pass "
                f"mode='max' or mode='min'"
            )
        return found

    def _at_epoch_end(self, trainer: Any) -> bool:
        """Does the value belong to the epoch as a whole, or to a validation within it?"""
        return not trainer.validates_within_epoch or self.monitor not in trainer.loop.validation_names

    def _missing(self, trainer: Any) -> RuntimeError:
        return RuntimeError(
            f"{type(self).__name__}: monitor={self.monitor!r} was not measured; there is "
            f"{', '.join(sorted(trainer.callback_metrics)) or 'nothing yet'}: correct the name, or pass a validation "
            f"loader or the metric to fit"
        )


class EarlyStopping(_Monitoring, Callback):
    """Ends the run when a value has stopped getting better.

    Parameters
    ----------
    monitor : what to watch, as in the History.
    min_delta : a change counts as better when it is more than this.
    patience : checks without getting better before the run ends.
    verbose : print what happens.
    mode : "min", "max", or "auto": told from the metric or the name.
    strict : raise RuntimeError when an epoch has no such value; False passes over it.
    check_finite : end the run when the value is NaN or inf.
    stopping_threshold, divergence_threshold : end the run once the value is better, or worse, than this.
    check_on_train_epoch_end : check at the end of epochs (True) or after validations (False). By default after
        each validation where ``val_check_interval`` makes several an epoch, else at the end of epochs.
    restore_best_weights : put the weights of the best check back at the end of the run, as in Keras.
    start_from_epoch : don't count before this epoch.

    After the run ``stopped_epoch`` is the epoch it ended in (None: it wasn't ended here), ``best_score`` the
    best value and ``reason`` a sentence. A run resumed with more patience goes on.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "auto",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        if patience < 0:
            raise ValueError(f"EarlyStopping: expected patience of 0 or more, got {patience}")
        self.monitor, self.min_delta, self.patience, self.verbose = monitor, abs(min_delta), patience, verbose
        self.mode, self.strict, self.check_finite = mode, strict, check_finite
        self.stopping_threshold, self.divergence_threshold = stopping_threshold, divergence_threshold
        self.check_on_train_epoch_end = check_on_train_epoch_end
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._check_mode()
        self._reset()

    def _reset(self) -> None:
        self.wait_count, self.stopped_epoch, self.reason = 0, None, ""
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._best_weights: dict[str, Any] | None = None

    def setup(self, trainer: Any, model: Any, stage: str) -> None:
        if stage == "fit":
            self._reset()

    def on_fit_start(self, trainer: Any, model: Any) -> None:
        if self.stopped_epoch is not None:
            if self.reason or self.wait_count >= max(self.patience, 1):
                trainer.stop(self.reason or self._no_patience())
            else:
                self.stopped_epoch = None

    def on_validation_end(self, trainer: Any, model: Any) -> None:
        if not trainer.sanity_checking and not self._by_epoch(trainer):
            self._check(trainer, model, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        if not self._by_epoch(trainer):
            return
        if self.monitor in trainer.epoch_values:
            self._check(trainer, model, trainer.epoch_values)
        elif self.strict and not trainer.awaits_validation:
            raise self._missing(trainer)

    def _by_epoch(self, trainer: Any) -> bool:
        chosen = self.check_on_train_epoch_end
        return self._at_epoch_end(trainer) if chosen is None else chosen

    def _check(self, trainer: Any, model: Any, values: dict[str, float]) -> None:
        if self.monitor not in values:
            if self.strict:
                raise self._missing(trainer)
            return
        value, rising = float(values[self.monitor]), self._rising(trainer)
        if trainer.current_epoch < self.start_from_epoch:
            return
        if self.check_finite and not math.isfinite(value):
            return self._end(trainer, f"{self.monitor} is {value}")
        sign = 1.0 if rising else -1.0
        if self.stopping_threshold is not None and sign * value > sign * self.stopping_threshold:
            self._better(trainer, model, value)
            return self._end(trainer, f"{self.monitor} = {value:.6g} reached {self.stopping_threshold:g}")
        if self.divergence_threshold is not None and sign * value < sign * self.divergence_threshold:
            return self._end(trainer, f"{self.monitor} = {value:.6g} passed {self.divergence_threshold:g}")
        if self.best_score is None or sign * (value - self.best_score) > self.min_delta:
            self._better(trainer, model, value)
            return None
        self.wait_count += 1
        if self.wait_count >= self.patience:
            self.stopped_epoch = trainer.current_epoch
            trainer.stop(self._no_patience())
            self._say(self._no_patience())
        return None

    def _no_patience(self) -> str:
        return f"{self.monitor} did not get better in {self.wait_count} checks, best {self.best_score:.6g}"

    def _better(self, trainer: Any, model: Any, value: float) -> None:
        self._say(f"{self.monitor} improved from {self.best_score} to {value:.6g}")
        self.best_score, self.best_epoch, self.wait_count = value, trainer.current_epoch, 0
        if self.restore_best_weights:
            self._best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def _end(self, trainer: Any, reason: str) -> None:
        self.reason, self.stopped_epoch = reason, trainer.current_epoch
        trainer.stop(reason)
        self._say(reason)

    def _say(self, what: str) -> None:
        if self.verbose:
            print(f"EarlyStopping: {what}")

    def on_train_end(self, trainer: Any, model: Any) -> None:
        if self._best_weights is not None:
            model.load_state_dict(self._best_weights)
            self._say(f"restored the weights of epoch {self.best_epoch}")

    def state_dict(self) -> dict[str, Any]:
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "reason": self.reason,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.wait_count, self.stopped_epoch = state_dict["wait_count"], state_dict["stopped_epoch"]
        self.reason, self.best_score = state_dict["reason"], state_dict["best_score"]
        self.best_epoch, self._best_weights = state_dict["best_epoch"], state_dict["best_weights"]


_FIELD = re.compile(r"\{([^{}:]*)(:[^{}]*)?\}")


class ModelCheckpoint(_Monitoring, Callback):
    """Writes checkpoints: the best by a value, or each, and the last. Every file is whole or absent.

    Parameters
    ----------
    dirpath : the folder; by default "checkpoints" in the Trainer's ``default_root_dir``.
    filename : fields ``{epoch}``, ``{step}`` and any value measured, ``"{epoch}-{val_loss:.2f}"`` for
        ``epoch=2-val_loss=0.32.safetensors``; by default ``"{epoch}-{step}"``.
    monitor : the value that ranks checkpoints; None keeps the latest.
    verbose : print each path.
    save_last : also write ``last.safetensors`` each time.
    save_top_k : how many to keep; -1 keeps all, 0 none.
    save_weights_only : leave out what only a resumed run needs.
    mode : "min", "max", or "auto": told from the metric or the name.
    auto_insert_metric_name : write ``epoch=2`` for ``{epoch}``, or only 2.
    every_n_train_steps, every_n_epochs, train_time_interval : how often: optimizer steps, epochs (default: 1)
        or a ``timedelta``; one of them. By steps, a ``monitor`` not measured yet doesn't rank.
    save_on_train_epoch_end : at the end of epochs (True) or after validations (False); by default after
        validations when the monitored value comes from one of several within an epoch.
    enable_version_counter : a file of an earlier run isn't overwritten, the name gets ``-v1``; a resumed
        run overwrites what it wrote before it was cut.

    ``best_model_path``, ``best_model_score``, ``last_model_path`` and ``best_k_models`` tell what there is.
    On Ctrl-C, and where ``max_steps`` or ``max_time`` end a run within an epoch, ``last`` is written too.
    """

    rank = 3
    FILE_EXTENSION = ".safetensors"
    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | None = None,
        save_top_k: int = 1,
        save_weights_only: bool = False,
        mode: str = "auto",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: Any = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        self.dirpath = None if dirpath is None else os.path.abspath(os.fspath(dirpath))
        self.filename, self.monitor, self.verbose = filename, monitor, verbose
        self.save_last, self.save_top_k, self.save_weights_only = (
            bool(save_last),
            save_top_k,
            save_weights_only,
        )
        self.mode, self.auto_insert_metric_name = mode, auto_insert_metric_name
        self.every_n_train_steps, self.train_time_interval = every_n_train_steps, train_time_interval
        self.save_on_train_epoch_end = save_on_train_epoch_end
        self.enable_version_counter = enable_version_counter
        self._check_options(every_n_epochs)
        by_steps = every_n_train_steps is not None or train_time_interval is not None
        self.every_n_epochs = every_n_epochs or (0 if by_steps else 1)
        self._given_dirpath = self.dirpath
        self._reset()

    def _check_options(self, every_n_epochs: int | None) -> None:
        self._check_mode()
        often = {
            "every_n_train_steps": self.every_n_train_steps,
            "every_n_epochs": every_n_epochs,
            "train_time_interval": self.train_time_interval,
        }
        given = {k: v for k, v in often.items() if v is not None}
        if len(given) > 1:
            raise ValueError(f"ModelCheckpoint: expected one of {', '.join(often)}, got {given}")
        for name, value in given.items():
            if name != "train_time_interval" and (not isinstance(value, int) or value < 1):
                raise ValueError(
                    f"ModelCheckpoint: expected {name} to be an integer of 1 or more, got {value!r}"
                )
            if name == "train_time_interval" and not hasattr(value, "total_seconds"):
                raise ValueError(
                    f"ModelCheckpoint: expected train_time_interval to be a timedelta, got {value!r}"
                )
        if not isinstance(self.save_top_k, int) or self.save_top_k < -1:
            raise ValueError(
                f"ModelCheckpoint: expected save_top_k to be an integer of -1 or more, got {self.save_top_k!r}"
            )
        if self.monitor is None and self.save_top_k > 1:
            raise ValueError(
                f"ModelCheckpoint: save_top_k={self.save_top_k} needs a monitor to rank by; pass monitor=, or "
                f"save_top_k=-1 to keep all"
            )

    def _reset(self) -> None:
        self.best_k_models: dict[str, float] = {}  # path: value, nan where there is no monitor
        self.best_model_path = self.last_model_path = ""
        self.best_model_score: float | None = None
        self._last_step, self._last_time = -1, time.monotonic()

    def setup(self, trainer: Any, model: Any, stage: str) -> None:
        if stage != "fit":
            return
        self._reset()
        root = trainer.default_root_dir or os.getcwd()
        self.dirpath = self._given_dirpath or os.path.join(os.path.abspath(root), "checkpoints")
        os.makedirs(self.dirpath, exist_ok=True)

    # ---- when --------------------------------------------------------------------------------------------

    def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not trainer.at_step_boundary or trainer.global_step == self._last_step:
            return
        if self.every_n_train_steps is not None:
            if trainer.global_step % self.every_n_train_steps == 0:
                self._save(trainer, trainer.callback_metrics)
        elif self.train_time_interval is not None:
            if time.monotonic() - self._last_time >= self.train_time_interval.total_seconds():
                self._save(trainer, trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, model: Any) -> None:
        if not trainer.sanity_checking and self.every_n_epochs and not self._by_epoch(trainer):
            if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
                self._save(trainer, trainer.callback_metrics, strict=True)

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        if self.every_n_epochs and self._by_epoch(trainer):
            if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
                # an epoch without validation has no value to rank by, but that is no mistake
                self._save(trainer, trainer.epoch_values, strict=not trainer.awaits_validation)

    def _by_epoch(self, trainer: Any) -> bool:
        chosen = self.save_on_train_epoch_end
        return self._at_epoch_end(trainer) if chosen is None else chosen

    def on_interrupt(self, trainer: Any, model: Any, reason: str) -> None:
        if trainer.checkpoint_callback is self and not self.save_weights_only:
            self._write_last(trainer)

    # ---- what --------------------------------------------------------------------------------------------

    def _save(self, trainer: Any, values: dict[str, float], strict: bool = False) -> None:
        self._last_step, self._last_time = trainer.global_step, time.monotonic()
        if self.save_top_k:
            if self.monitor is None:
                self._keep(trainer, math.nan)
            elif self.monitor in values:
                self._rank(trainer, float(values[self.monitor]))
            elif strict:
                raise self._missing(trainer)
        if self.save_last and not trainer.interrupted_within_epoch:
            self._write_last(trainer)

    def _rank(self, trainer: Any, value: float) -> None:
        sign = 1.0 if self._rising(trainer) else -1.0

        def worth(v: float) -> float:
            return -math.inf if math.isnan(v) else sign * v

        if self.save_top_k > 0 and len(self.best_k_models) >= self.save_top_k:
            worst = min(self.best_k_models, key=lambda p: worth(self.best_k_models[p]))
            if worth(value) <= worth(self.best_k_models[worst]):
                return
        self._keep(trainer, value, worth)

    def _keep(self, trainer: Any, value: float, worth: Function[[float], float] | None = None) -> None:
        path = self._free(
            trainer, self.format_checkpoint_name({**trainer.callback_metrics, **_when(trainer)})
        )
        models = {**self.best_k_models, path: value}
        order = list(models) if worth is None else sorted(models, key=lambda p: worth(models[p]))
        dropped = order[: -self.save_top_k] if self.save_top_k > 0 else []
        self.best_k_models = {p: v for p, v in models.items() if p not in dropped}
        self.best_model_path = order[-1] if worth is None else max(order, key=lambda p: worth(models[p]))
        best = models[self.best_model_path]
        self.best_model_score = None if worth is None else best
        self._write(trainer, path)
        for old in dropped:  # only now that the better one is whole
            if old != path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old)

    def _write_last(self, trainer: Any) -> None:
        assert self.dirpath is not None
        if not self.last_model_path:
            self.last_model_path = self._free(trainer, os.path.join(self.dirpath, self.CHECKPOINT_NAME_LAST))
        self._write(trainer, self.last_model_path)

    def _write(self, trainer: Any, path: str) -> None:
        trainer.save_checkpoint(path, weights_only=self.save_weights_only)
        if self.verbose:
            print(f"ModelCheckpoint: epoch {trainer.current_epoch + 1}, step {trainer.global_step}: {path}")

    def format_checkpoint_name(self, values: dict[str, float]) -> str:
        """The path, without its ending, of a checkpoint with these values."""
        assert self.dirpath is not None

        def filled(field: re.Match[str]) -> str:
            name, form = field[1], field[2] or ""
            if name not in values:
                raise RuntimeError(
                    f"ModelCheckpoint: filename={self.filename!r} wants {name!r}, which was not measured; there is "
                    f"{', '.join(sorted(values))}"
                )
            text = format(values[name], form[1:])
            return f"{name}={text}".replace("/", "_") if self.auto_insert_metric_name else text

        return os.path.join(self.dirpath, _FIELD.sub(filled, self.filename or "{epoch}-{step}"))

    def _free(self, trainer: Any, stem: str) -> str:
        """The path with its ending, and with a version where an earlier run has that name."""
        path, version = stem + self.FILE_EXTENSION, 0
        mine = {*self.best_k_models, self.last_model_path}
        while (
            self.enable_version_counter
            and not trainer.resumed_from
            and path not in mine
            and os.path.exists(path)
        ):
            version += 1
            path = f"{stem}-v{version}{self.FILE_EXTENSION}"
        return path

    def newest(self) -> str | None:
        """The path of the latest ``last``, for ``ckpt_path="last"``; None when there is none yet."""
        assert self.dirpath is not None
        found = list(Path(self.dirpath).glob(f"{self.CHECKPOINT_NAME_LAST}*{self.FILE_EXTENSION}"))
        found = found or list(Path(self.dirpath).glob(f"*{self.FILE_EXTENSION}"))
        return str(max(found, key=lambda p: (p.stat().st_mtime_ns, p.name))) if found else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "dirpath": self.dirpath,
            "best_k_models": {os.path.basename(p): v for p, v in self.best_k_models.items()},
            "best_model": os.path.basename(self.best_model_path),
            "best_model_score": self.best_model_score,
            "last_model": os.path.basename(self.last_model_path),
            "last_step": self._last_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        here = self.dirpath

        def there(name: str) -> str:
            path = os.path.join(here, name) if name else ""
            return path if here == state_dict["dirpath"] or os.path.exists(path) else ""

        kept = {there(name): v for name, v in state_dict["best_k_models"].items()}
        self.best_k_models = {p: v for p, v in kept.items() if p}
        self.best_model_path, self.last_model_path = (
            there(state_dict["best_model"]),
            there(state_dict["last_model"]),
        )
        self.best_model_score = state_dict["best_model_score"] if self.best_model_path else None
        self._last_step = state_dict["last_step"]


def _when(trainer: Any) -> dict[str, int]:
    return {"epoch": trainer.current_epoch, "step": trainer.global_step}


class LearningRateMonitor(Callback):
    """Adds the learning rate to what is logged: "lr", or "lr-pg0", "lr-pg1" … (or a group's "name").

    ``logging_interval``: "step", "epoch" (the rate at the end of the epoch, in the History), None for both.
    ``log_momentum`` and ``log_weight_decay`` add these under their names.
    """

    rank = 0

    def __init__(
        self, logging_interval: str | None = None, log_momentum: bool = False, log_weight_decay: bool = False
    ) -> None:
        if logging_interval not in (None, "step", "epoch"):
            raise ValueError(
                f"LearningRateMonitor: expected logging_interval to be 'step', 'epoch' or None, got "
                f"{logging_interval!r}"
            )
        self.logging_interval = logging_interval
        self.log_momentum, self.log_weight_decay = log_momentum, log_weight_decay

    def on_log(self, trainer: Any, model: Any, values: dict[str, float], step: int, when: str) -> None:
        if when == "validation" or self.logging_interval not in (None, when):
            return
        groups = trainer.optimizer.param_groups
        for i, group in enumerate(groups):
            end = "" if len(groups) == 1 else f"-{group.get('name', f'pg{i}')}"
            values[f"lr{end}"] = float(group["lr"])
            if self.log_momentum:
                values[f"momentum{end}"] = float(
                    group["betas"][0] if "betas" in group else group.get("momentum", 0)
                )
            if self.log_weight_decay:
                values[f"weight_decay{end}"] = float(group.get("weight_decay", 0))


class CSVLogger(Callback):
    """Writes a row an epoch, or with ``interval="step"`` a row every ``log_every_n_steps``, as they come.

    ``append`` goes on with a file that is there instead of writing it anew. A resumed run takes back the rows
    that were written after its checkpoint, so that the file ends as that of a run that wasn't cut.
    """

    rank = 2

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
        interval: str = "epoch",
    ) -> None:
        if interval not in ("epoch", "step"):
            raise ValueError(f"CSVLogger: expected interval to be 'epoch' or 'step', got {interval!r}")
        self.filename, self.separator, self.append = os.path.abspath(filename), separator, append
        self.interval = interval
        self._columns: list[str] = []
        self._rows = 0

    def setup(self, trainer: Any, model: Any, stage: str) -> None:
        if stage == "fit":
            self._columns, self._rows = [], 0

    def on_fit_start(self, trainer: Any, model: Any) -> None:
        os.makedirs(os.path.dirname(self.filename), exist_ok=True)
        header, *rows = self._read() or [[]]
        if self._columns and len(rows) >= self._rows:  # a resumed run: as the file was at its checkpoint
            n = len(self._columns)
            if header[:n] != self._columns:
                raise ValueError(
                    f"CSVLogger: {self.filename} isn't the file of the run that is resumed: expected the columns "
                    f"{self._columns}, got {header}; give the run's own file, or another name"
                )
            self._write([row[:n] for row in rows[: self._rows]])
        elif self.append and header:
            self._columns, self._rows = header, len(rows)
        else:
            self._columns, self._rows = [], 0
            self._write([])

    def on_log(self, trainer: Any, model: Any, values: dict[str, float], step: int, when: str) -> None:
        if when != self.interval:
            return
        row: dict[str, Any] = {"epoch": trainer.current_epoch}
        if when == "step":
            row["step"] = step
        row |= values
        if new := [name for name in row if name not in self._columns]:
            rows = self._read()[1:]
            self._columns = [*self._columns, *new]
            self._write([[*r, *([""] * (len(self._columns) - len(r)))] for r in rows])
        text = io.StringIO()
        self._writer(text).writerow([_field(row.get(name, math.nan)) for name in self._columns])
        with open(self.filename, "a", newline="", encoding="utf-8") as f:
            f.write(text.getvalue())  # at once, so that no reader sees half a row
        self._rows += 1

    def _writer(self, f: Any) -> Any:
        return csv.writer(f, delimiter=self.separator, lineterminator="\n")

    def _read(self) -> list[list[str]]:
        if not os.path.exists(self.filename):
            return []
        with open(self.filename, newline="", encoding="utf-8") as f:
            return list(csv.reader(f, delimiter=self.separator))

    def _write(self, rows: list[list[str]]) -> None:
        """The whole file anew."""
        with atomic_write(self.filename, "w", newline="") as f:
            if self._columns:
                self._writer(f).writerows([self._columns, *rows])

    def state_dict(self) -> dict[str, Any]:
        return {"columns": list(self._columns), "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._columns, self._rows = list(state_dict["columns"]), state_dict["rows"]


def _field(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


class TensorBoard(Callback):
    """Writes scalars for TensorBoard into ``log_dir``, with tensorboardX.

    A step's values have "_step" after their name; those of epochs and validations have their own. A resumed
    run hides what was written after its checkpoint. ImportError at the start of fit without tensorboardX.
    """

    rank = 2

    def __init__(self, log_dir: str | os.PathLike[str] = "runs") -> None:
        self.log_dir = os.fspath(log_dir)
        self._writer: Any = None

    def on_fit_start(self, trainer: Any, model: Any) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard: needs tensorboardX; pip install 'minigrad-xp[tensorboard]', or use CSVLogger"
            ) from None
        purge = trainer.global_step + 1 if trainer.resumed_from else None
        self._writer = SummaryWriter(self.log_dir, purge_step=purge)

    def on_log(self, trainer: Any, model: Any, values: dict[str, float], step: int, when: str) -> None:
        for name, value in values.items():
            if when == "epoch" and name in trainer.loop.validation_names:
                continue  # written when it was measured
            self._writer.add_scalar(f"{name}_step" if when == "step" else name, value, step)
        if when == "epoch":
            self._writer.flush()

    def teardown(self, trainer: Any, model: Any, stage: str) -> None:
        if self._writer is not None and stage == "fit":
            self._writer.close()
            self._writer = None
