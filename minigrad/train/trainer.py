"""The Trainer: runs the epochs and steps of a model, and everything that must happen between them.

What a step is: ``task.py``. What happens around steps: ``callbacks.py``. What a checkpoint holds:
``checkpoints.py``. A run is a :class:`Loop`, the position that a checkpoint saves, and the code here asks it
what is due, so that a resumed run takes the same way as one that wasn't cut.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import warnings
from collections.abc import Callable as Function
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from ..autograd import detect_anomaly
from ..generator import current_generator
from ..tensor import Tensor
from . import checkpoints
from .callbacks import Callback, ModelCheckpoint
from .evaluator import Evaluator
from .history import History
from .loop import Loop, at_least, length_of, limited, seconds_of, share
from .metrics import Metric
from .nonfinite import NonFiniteError, all_finite, find_nonfinite
from .progress import ProgressBar
from .schedules import Schedule, configured, schedule_of
from .task import Measured, Step, Task, named_metrics
from .task import batch_size as size_of

__all__ = ["Trainer"]

_END: Any = object()


class Trainer(Evaluator):
    """Trains, evaluates and predicts: ``Trainer(max_epochs=10).fit(model, train_loader, val_loader, loss=…)``.

    Parameters
    ----------
    max_epochs : epochs; by default 1000, or without limit where ``max_steps`` or ``max_time`` is given. -1: no limit.
    max_steps : optimizer steps; -1: no limit.
    max_time : seconds, a ``timedelta``, a dict of its arguments, or "DD:HH:MM:SS"; counted over resumed runs.
    accumulate_grad_batches : batches an optimizer step. The gradient is that of the mean over the whole group,
        by the weight of each batch (see ``fit``), the last and shorter group of an epoch included.
    gradient_clip_val, gradient_clip_algorithm : clip gradients by total "norm", or each element by "value".
    val_check_interval : validate after this fraction of an epoch (float), or this many batches (int); always at
        an optimizer step: within a group it waits for the group's end.
    check_val_every_n_epoch : validate in every n-th epoch; None lets an integer interval count across epochs.
    limit_train_batches, limit_val_batches, limit_test_batches, limit_predict_batches : at most so many batches
        (int), or that fraction of them (float). ``limit_val_batches=0`` leaves validation out.
    num_sanity_val_steps : validation batches to run before training, so that mistakes show; -1 for all. They
        leave no trace: metrics, generators and loaders are put back.
    log_every_n_steps : how often ``on_log`` gets the values of a step.
    callbacks : a Callback or a list of them.
    enable_progress_bar : show progress and a table (:class:`ProgressBar`).
    enable_checkpointing : add a :class:`ModelCheckpoint` that keeps the latest epoch and ``last``. By default
        where ``default_root_dir`` is given, so that nothing is written unasked.
    default_root_dir : the folder of checkpoints.
    seed : seeds the default generator at the beginning of fit.
    check_finite : stop when loss or gradient is NaN or inf, and say which op made it; the weights stay those of
        the step before. False trains on.
    detect_anomaly : run backward under :class:`minigrad.autograd.detect_anomaly`, slow, for its traces.
    compile : replay model and ``loss=``, forward and backward, by :func:`minigrad.compile`: the same bits sooner.

    A run is deterministic: the same seeds, data and options give the same weights, bit by bit, with any number
    of loader workers, cut and resumed anywhere (``ckpt_path``) or not.

    Attributes: ``current_epoch``, ``global_step``, ``callback_metrics`` (the last value of everything measured),
    ``history``, ``model``, ``optimizer``, ``schedules``, ``train_loader``, ``val_loader``, ``stop_reason``.
    """

    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int = -1,
        max_time: str | float | timedelta | Mapping[str, float] | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str = "norm",
        val_check_interval: int | float = 1.0,
        check_val_every_n_epoch: int | None = 1,
        limit_train_batches: int | float = 1.0,
        limit_val_batches: int | float = 1.0,
        limit_test_batches: int | float = 1.0,
        limit_predict_batches: int | float = 1.0,
        num_sanity_val_steps: int = 0,
        log_every_n_steps: int = 50,
        callbacks: Callback | Iterable[Callback] | None = None,
        enable_progress_bar: bool = True,
        enable_checkpointing: bool | None = None,
        default_root_dir: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        check_finite: bool = True,
        detect_anomaly: bool = False,
        compile: bool = False,
    ) -> None:
        self.compile = compile
        self.max_steps = at_least("max_steps", max_steps, -1)
        self.max_time = seconds_of(max_time)
        if max_epochs is None:
            max_epochs = 1000 if max_steps == -1 and self.max_time is None else -1
        self.max_epochs = at_least("max_epochs", max_epochs, -1)
        self.accumulate_grad_batches = at_least("accumulate_grad_batches", accumulate_grad_batches, 1)
        if gradient_clip_val is not None and not gradient_clip_val > 0:
            raise ValueError(
                f"Trainer: expected gradient_clip_val above 0, or None, got {gradient_clip_val!r}"
            )
        if gradient_clip_algorithm not in ("norm", "value"):
            raise ValueError(
                f"Trainer: expected gradient_clip_algorithm 'norm' or 'value', got {gradient_clip_algorithm!r}"
            )
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.val_check_interval = share("val_check_interval", val_check_interval, lowest=1)
        self.check_val_every_n_epoch = check_val_every_n_epoch
        if check_val_every_n_epoch is not None:
            at_least("check_val_every_n_epoch", check_val_every_n_epoch, 1)
        elif not isinstance(val_check_interval, int):
            raise ValueError(
                f"Trainer: check_val_every_n_epoch=None counts batches across epochs, so val_check_interval has to "
                f"be an integer, got {val_check_interval!r}"
            )
        self.limit_train_batches = share("limit_train_batches", limit_train_batches)
        self.limit_val_batches = share("limit_val_batches", limit_val_batches)
        self.limit_test_batches = share("limit_test_batches", limit_test_batches)
        self.limit_predict_batches = share("limit_predict_batches", limit_predict_batches)
        self.num_sanity_val_steps = at_least("num_sanity_val_steps", num_sanity_val_steps, -1)
        self.log_every_n_steps = at_least("log_every_n_steps", log_every_n_steps, 1)
        self.default_root_dir = None if default_root_dir is None else os.fspath(default_root_dir)
        self.seed, self.check_finite, self.detect_anomaly = seed, check_finite, detect_anomaly
        self.callbacks = self._callbacks(callbacks, enable_progress_bar, enable_checkpointing)
        self.loop, self.history, self.accumulated = Loop(), History(), Measured({})
        self.callback_metrics: dict[str, float] = {}
        self.model: Any = None
        self.task: Any = None
        self.optimizer: Any = None
        self.schedules: list[Schedule] = []
        self.train_loader: Any = None
        self.val_loader: Any = None
        self.num_training_batches: int | None = None
        self.num_batches: int | None = None  # of the evaluate or predict that runs
        self.resumed_from = ""
        self.stop_reason = ""
        self.sanity_checking = self.interrupted_within_epoch = False
        self._group, self._hooks = [], {}
        self._measuring = None
        self._model_hooks = self._validating = self._interrupted = False

    def _callbacks(self, given: Any, progress: bool, checkpointing: bool | None) -> list[Callback]:
        found = [] if given is None else [given] if isinstance(given, Callback) else list(given)
        for c in found:
            if not isinstance(c, Callback):
                raise TypeError(
                    f"Trainer: expected callbacks to be Callbacks, got {c!r}; derive from minigrad.train.Callback"
                )
        has = any(isinstance(c, ModelCheckpoint) for c in found)
        if checkpointing is False and has:
            raise ValueError(
                "Trainer: enable_checkpointing=False, but a ModelCheckpoint is among the callbacks"
            )
        if checkpointing is None:
            checkpointing = self.default_root_dir is not None
        if checkpointing and not has:
            found.append(ModelCheckpoint(save_last=True))
        if progress and not any(isinstance(c, ProgressBar) for c in found):
            found.append(ProgressBar())
        return sorted(found, key=lambda c: c.rank)

    # ---- what callbacks ask ------------------------------------------------------------------------------

    @property
    def current_epoch(self) -> int:
        """Epochs done before this one."""
        return self.loop.epoch

    @property
    def global_step(self) -> int:
        """Optimizer steps made."""
        return self.loop.step

    @property
    def batches_done(self) -> int:
        """Training batches done in all."""
        return self.loop.batches

    @property
    def batches_in_all(self) -> int | None:
        """Training batches of the whole run; None where that can't be known."""
        limits = []
        if self.max_steps >= 0:
            limits.append(self.max_steps * self.accumulate_grad_batches)
        if self.max_epochs >= 0 and self.num_training_batches is not None:
            limits.append(self.max_epochs * self.num_training_batches)
        return min(limits, default=None)

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Optimizer steps of the whole run, for schedules like OneCycleLR; inf where there is no limit.

        Known once fit has its loaders, in ``configure_optimizers`` too.
        """
        steps = math.inf
        if self.max_epochs >= 0 and self.num_training_batches is not None:
            steps = self.max_epochs * -(-self.num_training_batches // self.accumulate_grad_batches)
        return min(steps, self.max_steps) if self.max_steps >= 0 else steps

    @property
    def at_step_boundary(self) -> bool:
        """No gradient is waiting for its optimizer step, so a checkpoint can be saved."""
        return not self._group

    @property
    def validates_within_epoch(self) -> bool:
        """Validation takes place several times an epoch, or at other places than its end."""
        return self._val_every is not None

    @property
    def awaits_validation(self) -> bool:
        """There is validation in this run, but there was none yet in this epoch."""
        return self.val_loader is not None and self.limit_val_batches != 0 and self.loop.validated_batch < 0

    @property
    def epoch_values(self) -> dict[str, float]:
        """The row of the epoch that has just ended."""
        return self.loop.values

    @property
    def should_stop(self) -> bool:
        """Set it to True to end the run after this batch."""
        return bool(self.stop_reason)

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        self.stop_reason = "should_stop was set" if stop else ""

    def stop(self, reason: str) -> None:
        """Ends the run after this batch; the epoch's values are still worked out."""
        self.stop_reason = reason

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        """The first ModelCheckpoint."""
        return next((c for c in self.callbacks if isinstance(c, ModelCheckpoint)), None)

    def callbacks_by_key(self) -> dict[str, Callback]:
        """Callbacks by the name under which their state is saved: the class, numbered where there are several."""
        found: dict[str, Callback] = {}
        for c in self.callbacks:
            name = type(c).__name__
            n = sum(type(other).__name__ == name for other in found.values())
            found[f"{name}#{n + 1}" if n else name] = c
        return found

    def higher_is_better(self, name: str) -> bool | None:
        """Is more of a measured value better? None where neither its metric nor its name tells."""
        bare = name.removeprefix("val_")
        metric = self.accumulated.metrics.get(bare) or self.accumulated.objects.get(name)
        if metric is not None:
            return metric.higher_is_better
        if "loss" in name or "error" in name:
            return False
        return (
            True
            if any(word in name for word in ("acc", "auc", "auroc", "f1", "precision", "recall"))
            else None
        )

    def running_values(self) -> dict[str, float]:
        """What progress shows within an epoch: the loss so far and metrics that are cheap to ask for."""
        return self.accumulated.running()

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        on_step: bool | None = None,
        on_epoch: bool = True,
        batch_size: int | None = None,
    ) -> None:
        """Records a value from within a step; see :meth:`LightningModule.log`."""
        if self._measuring is None:
            raise RuntimeError(
                f"log: {name!r} was logged outside a step; use log within the steps of a model"
            )
        training = self._measuring is self.accumulated and not self._validating
        weight = size_of(self._latest) if batch_size is None else batch_size
        self._measuring.log(name, value, weight, training if on_step is None else on_step, on_epoch, prog_bar)

    # ---- fit ---------------------------------------------------------------------------------------------

    def fit(
        self,
        model: Any,
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        *,
        loss: Function[..., Any] | None = None,
        optimizer: Any = None,
        scheduler: Any = None,
        metrics: Metric | Mapping[str, Metric] | Iterable[Metric] | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> History:
        """Trains ``model`` and returns the History: "loss", each metric, and both with "val_" before them.

        Parameters
        ----------
        model : an nn.Module. One that defines ``training_step`` (see :class:`LightningModule`) makes its own
            loss and optimizer.
        train_loader : a DataLoader, or anything that can be iterated over again; batches are (x, target).
        val_loader : validated with after each epoch, or as ``val_check_interval`` says.
        loss : ``loss(output, target)``, a mean over the target's elements (those that count, for losses with
            ``ignore_index`` or class weights), or a sum with ``reduction="sum"``. A mean of another kind is
            weighted by the elements of the target too.
        optimizer : an optimizer, or a function of the parameters that makes one (``optim.Adam`` itself, say).
        scheduler : a schedule, stepping at the end of epochs; or a dict {"scheduler", "interval": "epoch" or
            "step" (optimizer steps; what OneCycleLR wants), "frequency", "monitor" (for ReduceLROnPlateau, by
            default "val_loss")}; or a list of these; a function of the optimizer makes one too.
        metrics : measured on the outputs in training and validation; those of several values (a confusion
            matrix) have no place in the History, so give them to ``evaluate``.
        ckpt_path : go on from this checkpoint; "last" is the last one in the ModelCheckpoint's folder, or the
            beginning when there is none yet; "best" the best one of this Trainer's ModelCheckpoint.

        Ctrl-C ends the run after the optimizer step it is at: ``last`` is saved where there is a
        ModelCheckpoint, and KeyboardInterrupt tells where; a second Ctrl-C ends it at once. Raises
        NonFiniteError when the loss becomes NaN or inf, naming the op that made it first.
        """
        task = Task(model, loss, self.compile)
        self._measured = named_metrics(metrics)
        if self._measured and task.own:
            raise ValueError(
                f"Trainer: {type(model).__name__} defines training_step, so it logs its metrics itself; leave out "
                f"metrics="
            )
        if loss is None and not task.own:
            raise ValueError(
                f"Trainer.fit: expected loss=, a function (output, target), or a model with training_step; "
                f"{type(model).__name__} has none"
            )
        best = self.checkpoint_callback.best_model_path if self.checkpoint_callback else ""
        self._begin(model, task, train_loader, val_loader)
        with self._stage("fit"), self._interrupts():
            if self.seed is not None:
                from .. import manual_seed

                manual_seed(self.seed)
            model.train()
            self._configure(optimizer, scheduler)
            self._resume(ckpt_path, best)
            self._call("on_fit_start")
            self._sanity_check()
            self._call("on_train_start")
            while self.loop.begun or not self._finished():
                self._epoch()
                self._stop_if_interrupted()
            self._call("on_train_end")
            self._call("on_fit_end")
        return self.history

    def _begin(self, model: Any, task: Task, train_loader: Any, val_loader: Any) -> None:
        self.model, self.task, self.train_loader, self.val_loader = model, task, train_loader, val_loader
        self.loop, self.history, self.callback_metrics = Loop(), History(), {}
        self.resumed_from = self.stop_reason = ""
        self.interrupted_within_epoch = self._interrupted = self._validating = self.sanity_checking = False
        self._group, self._shares, self._group_loss = [], 0.0, [0.0, 0.0]
        self.accumulated = Measured(self._measured, model)
        validated = {name: metric.clone() for name, metric in self._measured.items()}
        for metric in (*self._measured.values(), *validated.values()):
            metric.reset()
        self._validated = Measured(validated)
        self._measuring, self._latest = None, None
        self.num_training_batches = limited(train_loader, self.limit_train_batches, "limit_train_batches")
        if self.num_training_batches == 0:
            raise ValueError(
                f"Trainer.fit: no batch to train on, with limit_train_batches={self.limit_train_batches} of the "
                f"training loader's {length_of(train_loader)}; give more data, or a smaller batch_size without drop_last"
            )
        self._val_every = self._interval()

    def _interval(self) -> int | None:
        """Batches between validations within an epoch; None where these are at its end."""
        every, n = self.val_check_interval, self.num_training_batches
        if self.val_loader is None or self.limit_val_batches == 0:
            return None
        if isinstance(every, float):
            if every == 1.0:
                return None
            if n is None:
                raise ValueError(
                    f"Trainer: val_check_interval={every} is a fraction of an unknown number of batches; pass an integer"
                )
            every = max(1, int(n * every))
        if self.check_val_every_n_epoch is not None and n is not None:
            if every > n:
                raise ValueError(
                    f"Trainer: val_check_interval={every} is more than the {n} batches of an epoch; pass less, or "
                    f"check_val_every_n_epoch=None to count across epochs"
                )
            return None if every == n else every
        return every

    def _configure(self, optimizer: Any, scheduler: Any) -> None:
        from ..optim import Optimizer

        if self.task.own:
            if optimizer is not None or scheduler is not None:
                raise ValueError(
                    f"Trainer.fit: {type(self.model).__name__} defines training_step, so its configure_optimizers "
                    f"makes optimizer and schedule; leave out optimizer= and scheduler="
                )
            optimizer, scheduler = configured(self.model)
        elif optimizer is None:
            raise ValueError(
                "Trainer.fit: expected optimizer=, as optim.Adam(model.parameters()) or optim.Adam"
            )
        if not isinstance(optimizer, Optimizer) and callable(optimizer):
            optimizer = optimizer(self.model.parameters())
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"Trainer.fit: expected optimizer to be an Optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        given = (
            [] if scheduler is None else scheduler if isinstance(scheduler, (list, tuple)) else [scheduler]
        )
        self.schedules = [schedule_of(s, optimizer) for s in given]
        for s in self.schedules:
            steps, epochs = getattr(s.schedule, "total_steps", None), self.max_epochs
            if s.interval == "epoch" and steps and 0 < epochs < steps:
                warnings.warn(
                    f"Trainer.fit: {type(s.schedule).__name__} is made for {steps} steps, but will take {epochs}, one an "
                    f'epoch; declare {{"scheduler": …, "interval": "step"}}',
                    stacklevel=3,
                )
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def _resume(self, ckpt_path: Any, best: str) -> None:
        if ckpt_path is None:
            return
        path = os.fspath(ckpt_path)
        if path in ("last", "best"):
            callback = self.checkpoint_callback
            if callback is None:
                raise ValueError(f"Trainer.fit: ckpt_path={path!r} needs a ModelCheckpoint; pass a path")
            found = callback.newest() if path == "last" else best
            if not found and path == "best":
                raise ValueError(
                    "Trainer.fit: ckpt_path='best', but this Trainer has saved no checkpoint yet"
                )
            if not found:
                return
            path = found
        self.resumed_from = path
        checkpoints.restore(self, checkpoints.load_checkpoint(path), path)
        if self.loop.ended:
            self._next_epoch()

    def _finished(self) -> bool:
        return self.should_stop or 0 <= self.max_epochs <= self.loop.epoch or bool(self._out_of_budget())

    def _out_of_budget(self) -> str:
        if 0 <= self.max_steps <= self.loop.step:
            return "max_steps"
        return "max_time" if self.max_time is not None and self.loop.seconds >= self.max_time else ""

    def _epoch(self) -> None:
        loop, self._measuring = self.loop, self.accumulated
        if not loop.begun:
            self.accumulated.reset()
            loop.begun = True
            self._call("on_train_epoch_start")
        if not loop.pass_done:
            self._batches()
            if not loop.batch:
                raise RuntimeError(
                    f"Trainer: the training loader, {type(self.train_loader).__name__}, gave no batch in epoch "
                    f"{loop.epoch + 1}; an iterator can be gone through only once: pass a DataLoader or a list"
                )
            loop.pass_done = True
        if self._group:  # a stream that ended within a group
            self._optimizer_step()
        self._validate_if_due(at_end=True)
        self._stop_if_interrupted()
        self._end_epoch()
        self._measuring = None

    def _batches(self) -> None:
        loop, n = self.loop, self.num_training_batches
        batches = self._pass()
        try:
            if loop.batch and self._after_batch():  # what was due when the checkpoint was saved
                return
            while n is None or loop.batch < n:
                batch = next(batches, _END)
                if batch is _END:
                    return
                self._batch(batch)
                if self._after_batch():
                    return
        finally:
            close = getattr(batches, "close", None)
            if close is not None:  # a pass that was left early is over
                close()

    def _pass(self) -> Iterator[Any]:
        """The batches of this epoch from where it is."""
        batches = iter(self.train_loader)
        if self.loop.batch and not callable(getattr(self.train_loader, "load_state_dict", None)):
            generator = current_generator()
            state = generator.get_state()
            for _ in range(self.loop.batch):
                next(batches, None)
            generator.set_state(state)
        return batches

    def _after_batch(self) -> bool:
        """Validates where that is due. True when no further batch of this epoch may be run."""
        if self._group:
            return False
        self._validate_if_due()
        self._stop_if_interrupted()
        if self.should_stop:
            return True
        reason = self._out_of_budget()
        n = self.num_training_batches
        if reason and (n is None or self.loop.batch < n):
            self._call("on_interrupt", reason)
            self.interrupted_within_epoch = True
        return bool(reason)

    def _stop_if_interrupted(self) -> None:
        if self._interrupted:
            self._call("on_interrupt", "Ctrl-C")
            raise KeyboardInterrupt

    def _batch(self, batch: Any) -> None:
        loop, idx = self.loop, self.loop.batch
        self._call("on_train_batch_start", batch, idx)
        if not self._group:
            self.optimizer.zero_grad()
        generator = current_generator()
        drawn = (generator.initial_seed(), generator.get_offset())
        self._latest = batch
        if self.detect_anomaly:
            with detect_anomaly():
                step = self.task.training(batch, idx)
        else:
            step = self.task.training(batch, idx)
        value = step.loss.item()
        finite = math.isfinite(value)
        if not finite and self.check_finite:
            self._not_finite(f"loss is {value}", [(batch, idx, drawn)], backward=False)
        self._group.append((batch, idx, drawn))
        self._backward(step)
        self.accumulated.add(step if finite else step._replace(pair=None))  # metrics refuse NaN
        self._group_loss[0] += value if step.summed else value * step.weight
        self._group_loss[1] += step.weight
        loop.batch, loop.batches = idx + 1, loop.batches + 1
        if len(self._group) == self.accumulate_grad_batches or loop.batch == self.num_training_batches:
            self._optimizer_step()
        outputs = step.outputs if isinstance(step.outputs, Mapping) else {"loss": value}
        self._call("on_train_batch_end", outputs, batch, idx)

    def _backward(self, step: Step) -> None:
        """Adds this batch's gradient to the group's: of a mean, by its weight relative to the group's first."""
        share = 1.0
        if self.accumulate_grad_batches > 1 and not step.summed:
            if len(self._group) == 1:
                self._first_weight = step.weight or 1.0
            share = step.weight / self._first_weight
        self._shares += share
        self._summed = step.summed
        loss = step.loss if share == 1.0 else step.loss * share
        if self.detect_anomaly:
            with detect_anomaly():
                loss.backward()
        else:
            loss.backward()

    def _optimizer_step(self) -> None:
        loop = self.loop
        if self._shares != 1.0 and not self._summed:
            for p in self._parameters:
                if p.grad is not None:
                    p.grad.mul_(1.0 / self._shares)
        self._call("on_before_optimizer_step", self.optimizer)
        self._check_and_clip()
        self.optimizer.step()
        loop.step += 1
        for s in self.schedules:
            if s.interval == "step" and loop.step % s.frequency == 0:
                self._step_schedule(s, self.callback_metrics)
        loss = self._group_loss[0] / self._group_loss[1] if self._group_loss[1] else math.nan
        self._group, self._shares, self._group_loss = [], 0.0, [0.0, 0.0]
        if loop.step % self.log_every_n_steps == 0:
            self._log({"loss": loss, **self.accumulated.at_step}, "step")

    def _check_and_clip(self) -> None:
        """Refuses a gradient that isn't finite, and clips it; where the norm is asked for anyway, a finite one says that all is."""
        from ..optim.clipping import clip_grad_value_, clip_grads_with_norm_, get_total_norm

        limit, by_norm = self.gradient_clip_val, self.gradient_clip_algorithm == "norm"
        norm = None
        if limit is not None and by_norm:
            norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self.check_finite and (norm is None or not math.isfinite(norm.item())):
            if not all_finite(self._parameters):
                self._not_finite("the gradient is not finite", self._group, backward=True)
        if norm is not None:
            clip_grads_with_norm_(self._parameters, limit, norm)
        elif limit is not None:
            clip_grad_value_(self._parameters, limit)

    def _not_finite(self, what: str, group: list[Any], backward: bool) -> None:
        """Runs the group again to find the op that made the first NaN or inf, and raises."""
        generator = current_generator()
        state = generator.get_state()
        op, said = None, ""
        for batch, idx, (seed, offset) in group:
            generator.manual_seed(seed).set_offset(offset)
            self._measuring = Measured({})  # what the model logs now is not to be seen

            def again(batch: Any = batch, idx: int = idx) -> None:
                loss = self.task.training(batch, idx).loss
                if backward:
                    self.optimizer.zero_grad()
                    loss.backward()

            op, said = find_nonfinite(again, self.model, batch)
            if op is not None or "again gave only finite" not in said:
                break
        generator.set_state(state)
        self.optimizer.zero_grad()
        idx = group[-1][1]
        raise NonFiniteError(
            f"Trainer: {what} at epoch {self.loop.epoch + 1}, batch {idx + 1}, after {self.loop.step} optimizer "
            f"steps: {said}. The weights are those of the step before. Look at the op's operands, lower the "
            f"learning rate or clip gradients (gradient_clip_val); check_finite=False trains on",
            op,
        )

    # ---- validation --------------------------------------------------------------------------------------

    def _validate_if_due(self, at_end: bool = False) -> None:
        loop, every = self.loop, self._val_every
        if self.val_loader is None or self.limit_val_batches == 0 or self._group:
            return
        if self.check_val_every_n_epoch is not None and (loop.epoch + 1) % self.check_val_every_n_epoch:
            return
        if every is None:
            due = at_end and not (0 <= loop.validated_batch == loop.batch)
        else:
            count = loop.batches if self.check_val_every_n_epoch is None else loop.batch
            due = count // every > loop.validations
        if due:
            self._validate(self.limit_val_batches, loop.validations if every is None else count // every)

    def _validate(self, limit: int | float, number: int = 0) -> None:
        measured = self._validated
        measured.reset()
        before = self._random_state()
        self._validating, self._measuring = True, measured
        n = limited(self.val_loader, limit, "limit_val_batches")
        with self._evaluating("validation") as call:
            done = self._measure("validation", self.val_loader, n, measured, call)
        self._validating, self._measuring = False, None if self.sanity_checking else self.accumulated
        if not done:  # Ctrl-C: as if it had not begun, so that a resumed run does it all
            self._set_random_state(before)
            return
        if self.sanity_checking:
            self._call("on_validation_end")
            return
        values = {k if k in measured.logged or k in measured.objects else f"val_{k}": v
                  for k, v in measured.values().items()}  # fmt: skip
        self.loop.validated_batch, self.loop.validations = self.loop.batch, number
        self.loop.validation = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
        self._log(self.loop.validation, "validation")
        self._call("on_validation_end")

    def _sanity_check(self) -> None:
        n = self.num_sanity_val_steps
        if not n or self.val_loader is None or self.limit_val_batches == 0 or self.resumed_from:
            return
        before = self._random_state()
        self.sanity_checking = True
        self._call("on_sanity_check_start")
        whole = limited(self.val_loader, self.limit_val_batches, "limit_val_batches")
        self._validate(n if n >= 0 and (whole is None or n < whole) else self.limit_val_batches)
        self._call("on_sanity_check_end")
        self.sanity_checking = False
        self._set_random_state(before)

    def _random_state(self) -> tuple[Any, Any]:
        state = getattr(self.val_loader, "state_dict", None)
        return current_generator().get_state(), state() if callable(state) else None

    def _set_random_state(self, state: tuple[Any, Any]) -> None:
        current_generator().set_state(state[0])
        if state[1] is not None:
            self.val_loader.load_state_dict(state[1])

    # ---- the end of an epoch -----------------------------------------------------------------------------

    def _end_epoch(self) -> None:
        loop = self.loop
        self._call_model("on_train_epoch_end")
        values = {k: v for k, v in self.accumulated.values().items() if not isinstance(v, Tensor)}
        loop.values = {**values, **loop.validation}
        self._log(loop.values, "epoch")
        self.history.append(loop.epoch, loop.values, loop.epoch_seconds)
        loop.ended = True
        self._call("on_train_epoch_end")
        self._next_epoch()

    def _next_epoch(self) -> None:
        for s in self.schedules:
            if s.interval == "epoch" and (self.loop.epoch + 1) % s.frequency == 0:
                self._step_schedule(s, self.loop.values)
        if self.check_val_every_n_epoch is not None:
            self.loop.validations = 0
        self.loop.next_epoch()

    def _step_schedule(self, s: Schedule, values: dict[str, float]) -> None:
        if s.monitor is None:
            s.schedule.step()
        elif s.monitor in values:
            s.schedule.step(values[s.monitor])
        elif s.monitor not in self.callback_metrics and s.interval == "epoch" and not self.awaits_validation:
            raise RuntimeError(
                f"Trainer: {type(s.schedule).__name__} monitors {s.monitor!r}, which was not measured; there is "
                f"{', '.join(sorted(self.callback_metrics)) or 'nothing'}: pass a validation loader, or "
                f'{{"scheduler": …, "monitor": "loss"}}'
            )

    def _log(self, values: dict[str, float], when: str) -> None:
        self.callback_metrics.update(values)
        self._call("on_log", values, self.loop.step, when)
        self.callback_metrics.update(values)

    # ---- checkpoints -------------------------------------------------------------------------------------

    def save_checkpoint(self, filepath: str | os.PathLike[str], weights_only: bool = False) -> None:
        """Writes the state of the run, whole or not at all.

        Within a run this can be done between optimizer steps, when ``at_step_boundary``, and outside
        validations: from ``on_train_batch_end``, ``on_validation_end`` and ``on_train_epoch_end``, where
        a resumed run goes on exactly. Raises RuntimeError anywhere else, and before any fit.
        """
        if self.model is None:
            raise RuntimeError("save_checkpoint: there is no run yet; call fit first")
        if self._group:
            raise RuntimeError(
                f"save_checkpoint: {len(self._group)} of {self.accumulate_grad_batches} batches wait for their optimizer "
                f"step; save when trainer.at_step_boundary"
            )
        if self._validating:
            raise RuntimeError("save_checkpoint: a validation is going on; save in on_validation_end")
        checkpoints.save_checkpoint(checkpoints.capture(self, weights_only), filepath)

    # ---- interrupts --------------------------------------------------------------------------------------

    def _tell(self, e: BaseException, stage: str) -> None:
        if stage != "fit":
            return
        loop = self.loop
        where = f"epoch {loop.epoch + 1}, batch {loop.batch} of {self.num_training_batches or 'a stream'}, step {loop.step}"
        saved = [c for c in self.callbacks if isinstance(c, ModelCheckpoint)]
        paths = [p for c in saved for p in (c.last_model_path, c.best_model_path) if p and os.path.exists(p)]
        if not paths:
            rest = "there is no checkpoint"
        else:
            rest = f"go on with ckpt_path={max(paths, key=os.path.getmtime)!r}"
        text = f"Trainer: the run stopped in {where}; {rest}"
        if isinstance(e, KeyboardInterrupt) and not e.args:
            e.args = (text,)
        else:
            e.add_note(text)

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C waits for the optimizer step, where Python's own handler is in place and this is the main thread."""
        ours = threading.current_thread() is threading.main_thread()
        if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def handler(number: int, frame: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            if any(isinstance(c, ProgressBar) for c in self.callbacks):
                with contextlib.suppress(OSError):  # print could stand within the print that was interrupted
                    os.write(2, b"\nCtrl-C: stopping after this optimizer step; again to stop at once\n")

        signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
