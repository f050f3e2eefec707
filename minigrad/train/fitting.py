"""Training in one line, from arrays: ``fit(model, x, y, epochs=5)``, ``evaluate``, ``predict``, as in Keras.

Arrays become a DataLoader, the loss follows from the targets, and a :class:`Trainer` does the rest. Who wants
more than that builds these three.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..autograd import no_grad
from ..data import DataLoader, TensorDataset
from ..tensor import Tensor, as_tensor
from . import metrics as all_metrics
from .history import History
from .metrics import Accuracy, Metric
from .progress import ProgressBar
from .task import batch_size as size_of
from .trainer import Trainer

__all__ = ["choose_loss", "evaluate", "fit", "predict"]

_SHORT = {
    "acc": "accuracy", "f1": "f1_score", "auc": "auroc", "r2": "r2_score", "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
}  # fmt: skip


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    loss: Any = None,
    optimizer: Any = "adam",
    lr: float | None = None,
    scheduler: Any = None,
    metrics: Any = None,
    callbacks: Any = None,
    seed: int | None = None,
    verbose: str | int = "auto",
    ckpt_path: Any = None,
    **trainer_options: Any,
) -> History:
    """Trains a model on arrays in one line and returns the History.

    Parameters
    ----------
    model : an nn.Module, a Sequential say.
    x, y : tensors or arrays with samples along dimension 0; x may be a tuple of inputs. Floats are cast to the
        dtype of the model's parameters. Or a DataLoader of pairs as x, without y.
    epochs, batch_size, shuffle : passes over the data, samples a step, a new order each pass.
    validation_data : (x, y) or a DataLoader; ``validation_split`` takes that last part of the data instead.
    loss : ``loss(output, target)``; by default what :func:`choose_loss` finds.
    optimizer : a name of ``minigrad.optim``, a function of the parameters, or an optimizer; ``lr`` is its
        learning rate (by default its own).
    scheduler, callbacks, ckpt_path : as for :class:`Trainer` and its ``fit``.
    metrics : metrics, or names like "accuracy" and "mae"; by default the accuracy of classifiers. () for none.
    seed : seeds the default generator first.
    verbose : 0 prints nothing, 2 a row an epoch, 1 and "auto" progress too.
    trainer_options : further options of :class:`Trainer`.

    >>> history = fit(nn.Sequential(nn.Linear(4, 3)), x, labels, epochs=3)  # doctest: +SKIP
    """
    if validation_split and validation_data is not None:
        raise ValueError("fit: expected validation_data or validation_split, got both")
    if isinstance(x, DataLoader):
        if y is not None or validation_split:
            raise ValueError("fit: a DataLoader gives pairs (x, y) itself; leave out y and validation_split")
        train_loader = x
    else:
        arrays = _arrays(model, x, y)
        if validation_split:
            arrays, validation_data = _split(arrays, validation_split)
        train_loader = DataLoader(TensorDataset(*arrays), batch_size=batch_size, shuffle=shuffle)
    if validation_data is not None and not isinstance(validation_data, DataLoader):
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise ValueError(
                f"fit: expected validation_data as (x, y) or a DataLoader, got {type(validation_data).__name__}"
            )
        vx, vy = validation_data
        validation_data = _loader(model, vx, vy, batch_size)
    plan = _Plan(model, train_loader, loss, metrics)
    trainer = _trainer(verbose, max_epochs=epochs, callbacks=callbacks, seed=seed, **trainer_options)
    return trainer.fit(
        model,
        plan.loader(train_loader),
        None if validation_data is None else plan.loader(validation_data),
        loss=plan.loss,
        optimizer=_optimizer(model, optimizer, lr),
        scheduler=scheduler,
        metrics=plan.metrics,
        ckpt_path=ckpt_path,
    )


def evaluate(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    loss: Any = None,
    metrics: Any = None,
    verbose: str | int = 0,
) -> dict[str, Any]:
    """Loss and metrics of a model on arrays, or on a DataLoader; the arguments are :func:`fit`'s."""
    loader = x if isinstance(x, DataLoader) else _loader(model, x, y, batch_size)
    plan = _Plan(model, loader, loss, metrics)
    trainer = _trainer(verbose)
    return trainer.evaluate(model, plan.loader(loader), loss=plan.loss, metrics=plan.metrics)


def predict(model: Any, x: Any, *, batch_size: int = 32, verbose: str | int = 0) -> Any:
    """The model's outputs for x: an array, a tuple of inputs, or a DataLoader."""
    if not isinstance(x, DataLoader):
        # a target that predict leaves out, so that several inputs stay inputs
        arrays = _arrays(model, x, None)
        arrays = [*arrays, arrays[0]] if len(arrays) > 1 else arrays
        x = DataLoader(TensorDataset(*arrays), batch_size=batch_size)
    return _trainer(verbose).predict(model, x)


def choose_loss(model: Any, output: Any, y: Any) -> Any:
    """The loss that goes with targets y, for an output of the model for them.

    ======================================  ====================================================
    targets                                 loss
    ======================================  ====================================================
    integers, output (N, classes, …)        ``CrossEntropyLoss``; after ``LogSoftmax`` ``NLLLoss``
    integers or bools, one output a sample  ``BCEWithLogitsLoss``; after ``Sigmoid`` ``BCELoss``
    floats 0 and 1 after ``Sigmoid``        ``BCELoss``
    floats of the output's shape            ``MSELoss``
    ======================================  ====================================================

    (N,) targets go with an (N, 1) output. Raises ValueError for anything else, and for a model that ends in
    ``Softmax``, after which the logarithm would lose precision.
    """
    last = _last(model)
    if isinstance(last, nn.Softmax):
        raise ValueError(
            "fit: the model ends in Softmax; leave that out, since the cross-entropy of logits has it inside, or "
            "pass loss="
        )
    whole = not y.is_floating_point()
    single = output.numel() == y.numel()
    if whole and output.ndim == y.ndim + 1 and output.shape[1] > 1:
        return nn.NLLLoss() if isinstance(last, nn.LogSoftmax) else nn.CrossEntropyLoss()
    if whole and single:
        return nn.BCELoss() if isinstance(last, nn.Sigmoid) else nn.BCEWithLogitsLoss()
    if single and isinstance(last, nn.Sigmoid) and bool(((y == 0) | (y == 1)).all()):
        return nn.BCELoss()
    if single and not whole:
        return nn.MSELoss()
    raise ValueError(
        f"fit: can't tell the loss for output {tuple(output.shape)} and target {y.dtype} {tuple(y.shape)}; expected "
        f"integer targets (N,) for (N, classes), or targets of the output's shape: reshape, or pass loss="
    )


class _Plan:
    """Loss, metrics, and how targets have to look for them, found from the first batch."""

    def __init__(self, model: Any, loader: Any, loss: Any, metrics: Any) -> None:
        self.loss, self.metrics, self.convert = loss, metrics, None
        if callable(getattr(model, "training_step", None)):
            self.metrics = metrics or None
            return
        binary = logits = classes = False
        if loss is None or metrics is None or isinstance(metrics, (str, list, tuple)):
            output, y = _first(model, loader)
            if loss is None:
                self.loss = choose_loss(model, output, y)
            binary = isinstance(self.loss, (nn.BCELoss, nn.BCEWithLogitsLoss))
            logits = isinstance(self.loss, nn.BCEWithLogitsLoss)
            classes = isinstance(self.loss, (nn.CrossEntropyLoss, nn.NLLLoss)) and not y.is_floating_point()
            if loss is None and not classes:
                self.convert = _Like(output)
        self.metrics = self._metrics(metrics, binary, logits, classes)

    def _metrics(self, given: Any, binary: bool, logits: bool, classes: bool) -> Any:
        options: dict[str, Any] = {"task": "binary", "from_logits": logits} if binary else {}
        if given is None:
            return {"accuracy": Accuracy(**options)} if binary or classes else None
        if isinstance(given, (Metric, Mapping)):
            return given
        found: dict[str, Metric] = {}
        for metric in [given] if isinstance(given, str) else given:
            if not isinstance(metric, str):
                found[metric.name if isinstance(metric, Metric) else repr(metric)] = metric
                continue
            kinds = {
                getattr(all_metrics, n)().name: getattr(all_metrics, n)
                for n in all_metrics.__all__
                if n != "Metric"
            }
            kind = kinds.get(_SHORT.get(metric, metric))
            if kind is None:
                raise ValueError(
                    f"fit: no metric is called {metric!r}; expected one of {', '.join(sorted([*kinds, *_SHORT]))}, or a "
                    f"Metric"
                )
            found[metric] = kind(**options) if issubclass(kind, all_metrics._Classified) else kind()
        return found or None

    def loader(self, loader: Any) -> Any:
        return loader if self.convert is None else _Converted(loader, self.convert)


class _Like:
    """Targets in the dtype of an output, (N,) ones as (N, 1) where the output is."""

    def __init__(self, output: Any) -> None:
        self.dtype, self.lead = output.dtype, output.ndim

    def __call__(self, y: Any) -> Any:
        y = y.to(self.dtype)
        return y.unsqueeze(-1) if y.ndim == self.lead - 1 else y


class _Converted:
    """A loader whose targets pass through a function; everything else is the loader's."""

    def __init__(self, loader: Any, convert: _Like) -> None:
        self._loader, self._convert = loader, convert

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Any:
        batches = iter(self._loader)
        try:
            for *inputs, y in batches:
                yield [*inputs, self._convert(y)]
        finally:
            batches.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _trainer(verbose: str | int, callbacks: Any = None, **options: Any) -> Trainer:
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"fit: expected verbose to be 'auto', 0, 1 or 2, got {verbose!r}")
    if verbose == 2:
        given = (
            [] if callbacks is None else list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
        )
        callbacks = [*given, ProgressBar(every=math.inf, bar=False)]
    options.setdefault("enable_progress_bar", bool(verbose))
    return Trainer(callbacks=callbacks, **options)


def _optimizer(model: Any, optimizer: Any, lr: float | None) -> Any:
    from .. import optim

    if callable(getattr(model, "training_step", None)):
        return None  # it configures its own
    if isinstance(optimizer, str):
        kinds = {n.lower(): getattr(optim, n) for n in optim.__all__ if isinstance(getattr(optim, n), type)}
        kinds.pop("optimizer", None)
        if optimizer.lower() not in kinds:
            raise ValueError(
                f"fit: no optimizer is called {optimizer!r}; expected one of {', '.join(sorted(kinds))}"
            )
        optimizer = kinds[optimizer.lower()]
    if isinstance(optimizer, optim.Optimizer):
        if lr is not None:
            raise ValueError(f"fit: lr={lr} is for an optimizer by name; this one was made with its own")
        return optimizer
    return optimizer(model.parameters(), **({} if lr is None else {"lr": lr}))


def _arrays(model: Any, x: Any, y: Any) -> list[Any]:
    """Inputs, and the targets where there are any, as tensors of one length."""
    kind = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), None)
    parts = [*(x if isinstance(x, tuple) else (x,)), *(() if y is None else (y,))]
    tensors = []
    for part in parts:
        t = as_tensor(part if isinstance(part, Tensor) else np.asarray(part))
        tensors.append(
            t.to(kind) if kind is not None and t.is_floating_point() and t.dtype is not kind else t
        )
    sizes = [size_of(t) if t.ndim else 0 for t in tensors]
    if len(set(sizes)) != 1 or not sizes[0]:
        raise ValueError(
            f"fit: expected x and y with the same number of samples, at least one, got {', '.join(map(str, sizes))}"
        )
    return tensors


def _loader(model: Any, x: Any, y: Any, batch_size: int) -> DataLoader:
    if y is None:
        raise ValueError("fit: expected targets y, got None; pass them, or a DataLoader of pairs as x")
    return DataLoader(TensorDataset(*_arrays(model, x, y)), batch_size=batch_size)


def _split(arrays: list[Any], share: float) -> tuple[list[Any], DataLoader]:
    n = len(arrays[0])
    first = n - int(n * share)
    if not 0 < share < 1 or first == n:
        raise ValueError(
            f"fit: validation_split={share} of {n} samples leaves no part of it; expected a fraction between 0 and 1"
        )
    part = TensorDataset(*[a[first:] for a in arrays])
    return [a[:first] for a in arrays], DataLoader(part, batch_size=min(256, n - first))


def _first(model: Any, loader: Any) -> tuple[Any, Any]:
    """An output and the targets of the loader's first batch, leaving no trace of having looked."""
    from ..generator import current_generator

    generator = current_generator()
    before, where = generator.get_state(), loader.state_dict()
    batches = iter(loader)
    batch = next(batches, None)
    batches.close()
    if not isinstance(batch, (list, tuple)) or len(batch) < 2:
        raise ValueError(f"fit: expected batches (x, y), got {type(batch).__name__}; pass y")
    *inputs, y = batch
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with no_grad():
            output = model(*inputs)
    finally:
        for module, mode in modes:
            module.training = mode
        generator.set_state(before)
        loader.load_state_dict(where)
    return output, y


def _last(model: Any) -> Any:
    """The module that makes the output: the last one of a Sequential, however nested."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[-1]
    return model
