"""Running a model over a loader with its hooks: evaluate, predict, and the validation within a run.

The :class:`Trainer` derives from :class:`Evaluator` and adds what changes the model.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable as Function
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import backend
from ..autograd import no_grad
from ..tensor import Tensor
from . import checkpoints
from .callbacks import HOOKS, Callback
from .loop import limited
from .metrics import Metric
from .task import LightningModule, Measured, Task, named_metrics

__all__ = ["Evaluator"]

_END: Any = object()
_OF_A_STAGE = ("_hooks", "_model_hooks", "_measuring", "_validating", "_group", "sanity_checking")


class Evaluator:
    """What evaluation needs of a Trainer: the model, its task, the callbacks, and what is being measured."""

    model: Any
    task: Any
    callbacks: list[Callback]
    limit_test_batches: int | float
    limit_predict_batches: int | float
    num_batches: int | None  # of the evaluate or predict that runs
    sanity_checking: bool
    _hooks: dict[str, list[Function[..., None]]]
    _model_hooks: bool
    _group: list[Any]  # batches that wait for their optimizer step
    _measuring: Measured | None  # where values logged now belong
    _latest: Any  # the batch they come from
    _validating: bool
    _interrupted: bool

    def evaluate(
        self,
        model: Any,
        loader: Iterable[Any],
        *,
        loss: Function[..., Any] | None = None,
        metrics: Metric | Mapping[str, Metric] | Iterable[Metric] | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """Loss and metrics over a loader, in evaluation mode: floats, and tensors for metrics of several values.

        A model with ``training_step`` runs its ``test_step``, or else its ``validation_step``, and gives what
        these log. ``ckpt_path`` loads weights first.
        """
        task = Task(model, loss)
        if loss is None and metrics is None and not task.own:
            raise ValueError("Trainer.evaluate: expected loss= or metrics=, got neither")
        measured = Measured({n: m.clone() for n, m in named_metrics(metrics).items()}, None)
        measured.reset()
        with (
            self._standing_in(model, task, loader, self.limit_test_batches, "limit_test_batches", ckpt_path),
            self._stage("evaluate"),
        ):
            self._measuring = measured
            with self._evaluating("test") as call:
                self._measure("test", loader, self.num_batches, measured, call)
            self._measuring = None
            self._call("on_test_end")
        return measured.values()

    def predict(
        self, model: Any, loader: Iterable[Any], *, ckpt_path: str | os.PathLike[str] | None = None
    ) -> Any:
        """The outputs for all batches of a loader, joined along dimension 0, in evaluation mode.

        Of a batch (x, target) the target is left out; a batch of one tensor is the input; a model with
        ``predict_step`` gets it whole. Outputs that are tuples, lists or dicts are joined part by part.
        """
        outputs = []
        task = Task(model, None)
        with (
            self._standing_in(
                model, task, loader, self.limit_predict_batches, "limit_predict_batches", ckpt_path
            ),
            self._stage("predict"),
            self._evaluating("predict") as call,
        ):
            for idx, batch in enumerate(iter(loader)):
                if self.num_batches is not None and idx >= self.num_batches:
                    break
                call("batch_start", batch, idx)
                outputs.append(task.prediction(batch, idx))
                call("batch_end", outputs[-1], batch, idx)
            self._call("on_predict_end")
        if not outputs:
            raise ValueError(
                "Trainer.predict: the loader gave no batch; give it data, or a larger limit_predict_batches"
            )
        return _joined(outputs)

    @contextlib.contextmanager
    def _standing_in(
        self, model: Any, task: Task, loader: Any, limit: int | float, name: str, ckpt_path: Any
    ) -> Iterator[None]:
        """Puts a model in the place of the run's for evaluate and predict, then the run's back."""
        if ckpt_path is not None:
            checkpoints.load_weights(model, ckpt_path)
        kept = self.model, self.task, self.num_batches
        self.model, self.task = model, task
        self.num_batches = limited(loader, limit, name)
        try:
            yield
        finally:
            self.model, self.task, self.num_batches = kept

    # ---- steps -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _evaluating(self, stage: str) -> Iterator[Function[..., None]]:
        """The model in evaluation mode without recording; each module's own mode comes back."""
        modes = [(m, m.training) for m in self.model.modules()]
        self.model.eval()
        try:
            with no_grad():
                self._call(f"on_{stage}_start")
                yield lambda name, *args: self._call(f"on_{stage}_{name}", *args)
        finally:
            for module, mode in modes:
                module.training = mode

    def _measure(
        self, stage: str, loader: Any, n: int | None, measured: Measured, call: Function[..., None]
    ) -> bool:
        """Runs validation steps on at most n batches; False when Ctrl-C came in between."""
        call("epoch_start")
        batches, idx = iter(loader), 0
        try:
            while n is None or idx < n:
                batch = next(batches, _END)
                if batch is _END:
                    break
                call("batch_start", batch, idx)
                self._latest = batch
                step = self.task.validation(batch, idx, f"{stage}_step")
                measured.add(step)
                call("batch_end", step.outputs, batch, idx)
                idx += 1
                if self._interrupted and self._validating:
                    return False
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()
        if not idx:
            raise RuntimeError(
                f"Trainer: the {stage} loader, {type(loader).__name__}, gave no batch; pass a DataLoader or a list (an "
                f"iterator can be gone through only once), or raise limit_{'val' if stage == 'validation' else stage}_batches"
            )
        call("epoch_end")
        return True

    # ---- hooks -------------------------------------------------------------------------------------------

    def _call(self, name: str, *args: Any) -> None:
        for hook in self._hooks.get(name, ()):
            hook(self, self.model, *args)
        if name != "on_train_epoch_end":
            self._call_model(name, *args)

    def _call_model(self, name: str, *args: Any) -> None:
        if self._model_hooks and (hook := getattr(self.model, name, None)) is not None:
            hook(*args)

    @contextlib.contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        """Sets up and tears down callbacks; exceptions are told to them, and where the run was to the exception."""
        around = {name: getattr(self, name) for name in _OF_A_STAGE}  # an evaluate may stand within a fit
        self._group = list(self._group)
        self._hooks = {name: found for name in HOOKS if (found := self._overridden(name))}
        self._model_hooks = isinstance(self.model, LightningModule)
        if self._model_hooks:
            self.model._trainer = self
        try:
            self._call("setup", stage)
            with backend.kernels(
                backend.current_kernels(), wait=True
            ):  # a run's bits don't depend on when kernels are compiled
                yield
        except BaseException as e:
            self._call("on_exception", e)
            self._tell(e, stage)
            raise
        finally:
            self._call("teardown", stage)
            if self._model_hooks:
                self.model._trainer = None
            for name, value in around.items():
                setattr(self, name, value)

    def _overridden(self, name: str) -> list[Function[..., None]]:
        return [
            getattr(c, name)
            for c in self.callbacks
            if name in vars(c) or getattr(type(c), name) is not getattr(Callback, name)
        ]

    def _tell(self, e: BaseException, stage: str) -> None:
        """Adds to an exception where it came."""


def _joined(outputs: list[Any]) -> Any:
    from .. import cat

    first = outputs[0]
    if isinstance(first, Tensor):
        return cat(outputs, 0)
    if isinstance(first, Mapping):
        return {key: _joined([o[key] for o in outputs]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_joined(list(parts)) for parts in zip(*outputs, strict=True))
    return outputs
