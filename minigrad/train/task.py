"""What a step of a run is: from a batch to a loss, its weight, and what is measured on the way.

:class:`Task` makes a step of any module with a loss function, or calls the steps that a model defines itself
(:class:`LightningModule`'s names). :class:`Measured` accumulates. The order of steps is the Trainer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import nn
from ..autograd import no_grad
from ..compiler import compile
from ..generator import get_rng_state, set_rng_state
from ..tensor import Tensor
from .metrics import Mean, Metric

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["LightningModule", "Measured", "Step", "Task", "batch_size", "named_metrics"]


class Step(NamedTuple):
    """The outcome of a step. A mean loss is worth ``weight`` terms; a summed one says so.

    ``outputs`` is what a model's own step returned; else ``pair`` has the output and the target, for metrics.
    """

    loss: Any
    weight: float
    summed: bool = False
    outputs: Any = None
    pair: tuple[Any, Any] | None = None


class Task:
    """Makes the steps of a model, with ``loss(output, target)`` or by its own ``training_step``.

    A batch (x, target), or (x1, x2, …, target), is run as ``model(x1, x2, …)``. A loss that is a mean counts
    by the elements of its target, without those of its ``ignore_index`` and by its class ``weight``, so that
    uneven batches add up to the mean of the whole.
    """

    def __init__(self, model: Any, loss: Callable[..., Any] | None, compiled: bool = False) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"Trainer: expected model to be an nn.Module, got {type(model).__name__}")
        self.model, self.loss = model, loss
        self.own = callable(getattr(model, "training_step", None))
        if self.own and loss is not None:
            raise ValueError(
                f"Trainer: {type(model).__name__} defines training_step, which makes its loss; leave out loss="
            )
        if self.own and compiled:
            raise ValueError(
                f"Trainer: compile=True compiles model and loss=, but {type(model).__name__} defines training_step; "
                f"leave compile out, and compile parts of the model with minigrad.compile"
            )
        self._compiled = compile(self._outcome) if compiled else None
        self._summed = getattr(loss, "reduction", "mean") == "sum"

    def training(self, batch: Any, batch_idx: int) -> Step:
        """A step whose loss will be differentiated."""
        if not self.own:
            step = self._plain(batch, "training")
        else:
            step = self._own_step(self.model.training_step, batch, batch_idx)
            if step.loss is None:
                raise TypeError(
                    f"Trainer: {type(self.model).__name__}.training_step returned no loss; return the loss, or a "
                    f"dict with 'loss'"
                )
        loss = step.loss
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(
                f"Trainer: expected the loss to be a tensor with one element, got {got}; use reduction='mean'"
            )
        if not loss.requires_grad:
            raise RuntimeError(
                "Trainer: the loss doesn't require grad, so nothing can be learnt from it: is a parameter used "
                "on the way, with requires_grad, outside no_grad and detach?"
            )
        return step

    def validation(self, batch: Any, batch_idx: int, name: str = "validation_step") -> Step:
        """A step that is only measured; of a model with steps of its own, the step ``name``."""
        if not self.own:
            return self._plain(batch, "validation")
        step = getattr(self.model, name, None) or getattr(self.model, "validation_step", None)
        if step is None:
            raise TypeError(
                f"Trainer: {type(self.model).__name__} defines training_step, but no {name}; define it, or leave "
                f"out the loader"
            )
        return self._own_step(step, batch, batch_idx)

    def prediction(self, batch: Any, batch_idx: int) -> Any:
        """The model's output: ``predict_step``, or the model on all parts of a batch but its target."""
        own = getattr(self.model, "predict_step", None)
        if callable(own):
            return own(batch, batch_idx)
        if isinstance(batch, (list, tuple)):
            return self.model(*(batch[:-1] if len(batch) > 1 else batch))
        if isinstance(batch, Tensor):
            return self.model(batch)
        raise self._unknown(batch, "predict_step")

    def _plain(self, batch: Any, kind: str) -> Step:
        if not isinstance(batch, (list, tuple)) or len(batch) < 2:
            raise self._unknown(batch, f"{kind}_step")
        *inputs, target = batch
        output, loss = (
            self._outcome(target, *inputs) if self._compiled is None else self._replay(target, *inputs)
        )
        weight = _terms(self.loss, target)
        if self._summed:
            weight = batch_size(batch)
        return Step(loss, weight, self._summed, pair=(output, target))

    def _outcome(self, target: Any, *inputs: Any) -> tuple[Any, Any]:
        output = self.model(*inputs)
        return output, None if self.loss is None else self.loss(output, target)

    def _replay(self, *parts: Any) -> tuple[Any, Any]:
        """The outcome by the compiled program, its bits a replay's wherever a run begins or is resumed.

        A loop's last bits may be others than those of the calls that it stands for, so a call that has to be traced is
        made twice, from the same state.
        """
        compiled: Any = self._compiled
        if not compiled.has_program(*parts):
            buffers = [(b, b.detach().clone()) for b in self.model.buffers()]
            drawn = get_rng_state()
            compiled(*parts)
            with no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            set_rng_state(drawn)
        return compiled(*parts)  # type: ignore[no-any-return]

    def _unknown(self, batch: Any, step: str) -> TypeError:
        got = type(batch).__name__
        if isinstance(batch, (list, tuple)):
            got += f" of {len(batch)}"
        elif isinstance(batch, dict):
            got += f" of {', '.join(map(str, batch))}"
        return TypeError(
            f"Trainer: expected a batch (x, target), got {got}; let the dataset give pairs, or define {step} in "
            f"the model"
        )

    def _own_step(self, step: Callable[..., Any], batch: Any, batch_idx: int) -> Step:
        outputs = step(batch, batch_idx)
        loss = outputs
        if isinstance(outputs, Mapping):
            loss = outputs.get("loss")
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            loss = loss if step == getattr(self.model, "training_step", None) else None
        return Step(loss, batch_size(batch), False, outputs)


def _terms(loss: Any, target: Any) -> float:
    """How many terms a mean loss averages over, by weight."""
    if not isinstance(target, Tensor):
        return batch_size(target)
    if target.dtype.is_floating_point:
        return target.numel() or 1
    array = target._array
    ignored = getattr(loss, "ignore_index", None)
    weight = getattr(loss, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 1:
        labels = np.asarray(target.tolist()).reshape(-1)
        labels = labels if ignored is None else labels[labels != ignored]
        return float(np.asarray(weight.tolist())[labels].sum())
    return array.size if ignored is None else array.size - int((array == ignored).sum())


def batch_size(batch: Any) -> int:
    """The length of the first tensor in a batch; 1 when there is none with a dimension."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    parts = (
        batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    )
    for part in parts:
        if isinstance(part, (Tensor, Mapping, list, tuple)):
            return batch_size(part)
    return 1


class Measured:
    """The loss, the metrics and the values logged since ``reset``."""

    def __init__(self, metrics: Mapping[str, Metric], model: Any = None) -> None:
        self.loss, self.metrics = Mean(), dict(metrics)
        self.logged: dict[str, Mean] = {}
        self.objects: dict[str, Metric] = {}  # the model's own metrics, by the name they were logged under
        self.at_step: dict[str, float] = {}  # logged with on_step, for the next step that is logged
        self.shown: list[str] = []  # logged with prog_bar
        self.model = model

    def reset(self) -> None:
        self.loss.reset()
        for metric in (*self.metrics.values(), *self.objects.values()):
            metric.reset()
        self.logged, self.objects, self.at_step, self.shown = {}, {}, {}, []

    def add(self, step: Step) -> None:
        """Takes the outcome of a step."""
        if step.loss is not None:
            value = float(step.loss.item())
            self.loss.update(value / step.weight if step.summed else value, float(step.weight))
        if step.pair is not None:
            for metric in self.metrics.values():
                metric.update(*step.pair)

    def log(
        self, name: str, value: Any, weight: float, on_step: bool, on_epoch: bool, shown: bool = False
    ) -> None:
        """Takes a value, a number or a metric, under a name."""
        if shown and name not in self.shown:
            self.shown.append(name)
        if isinstance(value, Metric):
            self.objects[name] = value
            return
        number = float(value)
        if on_step:
            self.at_step[name] = number
        if on_epoch:
            self.logged.setdefault(name, Mean()).update(number, float(weight))

    def values(self, prefix: str = "") -> dict[str, Any]:
        """What there is: floats, and tensors of metrics with several values."""
        found: dict[str, Any] = {}
        if self.loss.weight:
            found[f"{prefix}loss"] = _plain_value(self.loss.compute())
        for name, metric in self.metrics.items():
            found[prefix + name] = _plain_value(metric.compute())
        for name, kept in (*self.logged.items(), *self.objects.items()):
            found[name] = _plain_value(kept.compute())
        return found

    def running(self) -> dict[str, float]:
        """The loss so far, and the metrics that are cheap to ask for."""
        found = {"loss": self.loss.total / self.loss.weight} if self.loss.weight else {}
        for name, metric in self.metrics.items():
            if metric.cheap:
                value = metric.compute()
                if not value.ndim:
                    found[name] = value.item()
        for name in self.shown:
            if name in self.logged:
                found[name] = self.logged[name].compute().item()
        return found

    def state_dict(self) -> dict[str, Any]:
        paths = {id(m): path for path, m in _metrics_of(self.model)}
        for name, metric in self.objects.items():
            if id(metric) not in paths:
                raise RuntimeError(
                    f"log: the metric logged as {name!r} can't be saved, because it is no attribute of the model; "
                    f"keep it as one"
                )
        return {
            "loss": self.loss.state_dict(),
            "metrics": {name: m.state_dict() for name, m in self.metrics.items()},
            "logged": {name: m.state_dict() for name, m in self.logged.items()},
            "objects": {name: paths[id(m)] for name, m in self.objects.items()},
            "of_model": {path: m.state_dict() for path, m in _metrics_of(self.model)},
            "at_step": dict(self.at_step),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved, mine = state_dict["metrics"], self.metrics
        if set(saved) != set(mine):
            raise ValueError(
                f"expected the metrics {sorted(saved)} of the saved run, got {sorted(mine)}; pass fit the same ones"
            )
        self.loss.load_state_dict(state_dict["loss"])
        for name, metric in mine.items():
            metric.load_state_dict(saved[name])
        self.logged = {name: Mean() for name in state_dict["logged"]}
        for name, mean in self.logged.items():
            mean.load_state_dict(state_dict["logged"][name])
        of_model = dict(_metrics_of(self.model))
        for path, state in state_dict["of_model"].items():
            of_model[path].load_state_dict(state)
        self.objects = {name: of_model[path] for name, path in state_dict["objects"].items()}
        self.at_step = dict(state_dict["at_step"])


def _plain_value(value: Tensor) -> Any:
    return value if value.ndim else value.item()


def _metrics_of(model: Any) -> list[tuple[str, Metric]]:
    """Metrics that are attributes of a model or of its parts, with their paths."""
    if model is None:
        return []
    return [
        (f"{path}.{name}" if path else name, value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Metric)
    ]


def named_metrics(metrics: Metric | Mapping[str, Metric] | Iterable[Metric] | None) -> dict[str, Metric]:
    """Metrics by name: a mapping's keys, or each metric's own. Raises for what isn't a metric, and for a name twice."""
    if metrics is None:
        return {}
    if isinstance(metrics, Metric):
        metrics = [metrics]
    pairs = (
        list(metrics.items())
        if isinstance(metrics, Mapping)
        else [(getattr(m, "name", ""), m) for m in metrics]
    )
    for name, metric in pairs:
        if not isinstance(metric, Metric):
            raise TypeError(
                f"Trainer: expected metrics to be Metrics, got {metric!r}; make one, as Accuracy() or TopKAccuracy(5)"
            )
        if name == "loss" or [n for n, _ in pairs].count(name) > 1:
            raise ValueError(
                f"Trainer: two values would be called {name!r}; pass metrics as a dict to name them"
            )
    return dict(pairs)


class LightningModule(nn.Module):
    """A model that defines its own steps, by Lightning's names.

    ``training_step(batch, batch_idx)`` returns the loss or a dict with "loss"; ``validation_step``, ``test_step``
    and ``predict_step`` are alike; ``configure_optimizers()`` returns an optimizer, ``([optimizer], [schedule])``
    or a dict with "optimizer" and "lr_scheduler". Hooks named as those of :class:`Callback`, without their first
    two arguments, are called too. Any ``nn.Module`` with ``training_step`` is run the same way; this base adds
    ``log``, ``trainer``, ``current_epoch`` and ``global_step``.
    """

    _trainer: Trainer | None = None

    @property
    def trainer(self) -> Trainer:
        """The Trainer that runs this model. RuntimeError outside of a run."""
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__name__}: is not run by a Trainer at the moment")
        return self._trainer

    @property
    def current_epoch(self) -> int:
        """Epochs done before this one."""
        return self.trainer.current_epoch

    @property
    def global_step(self) -> int:
        """Optimizer steps made."""
        return self.trainer.global_step

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        on_step: bool | None = None,
        on_epoch: bool = True,
        batch_size: int | None = None,
    ) -> None:
        """Records a number, or a metric kept as an attribute, under a name.

        ``on_epoch``: its mean over the epoch, weighted by the batches' sizes, goes into the History; of a metric
        its value. ``on_step`` (default: within training steps): its last value is in what is logged every
        ``log_every_n_steps``. ``prog_bar`` shows it with the progress.
        """
        self.trainer.log(name, value, prog_bar, on_step, on_epoch, batch_size)

    def log_dict(self, dictionary: Mapping[str, Any], **options: Any) -> None:
        """:meth:`log` for each item."""
        for name, value in dictionary.items():
            self.log(name, value, **options)
