"""Metrics that accumulate exactly: whatever the batches, ``compute`` gives the value of the whole set.

Counts are int64, sums float64; ROC-AUC keeps its scores. No metric averages the values of batches, which
is wrong when the last one is shorter. Names and argument order, ``update(preds, target)``, are
torchmetrics'. Losses to be differentiated are in ``minigrad.nn``; nothing here has a gradient.
"""

from __future__ import annotations

import copy
import re
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..tensor import Tensor, tensor

__all__ = [
    "AUROC",
    "Accuracy",
    "ConfusionMatrix",
    "F1Score",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "TopKAccuracy",
]


class Metric:
    """Base of metrics: ``update`` per batch, ``compute`` for all since ``reset``.

    Calling the metric, ``metric(preds, target)``, accumulates the batch and returns the value of that batch
    alone. A metric of your own sets its state in ``reset`` and names it in ``states``: numbers, NumPy arrays or lists
    of arrays, which ``state_dict`` then saves. ``compute`` returns a float64 tensor (counts: int64).
    """

    states: ClassVar[tuple[str, ...]] = ()
    higher_is_better: ClassVar[bool | None] = None
    cheap: ClassVar[bool] = True  # may be computed while progress is shown

    @property
    def name(self) -> str:
        """What a History calls it: ``f1_score`` for F1Score."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    def reset(self) -> None:
        """Forgets everything accumulated."""
        raise NotImplementedError(f"{type(self).__name__}: a Metric has to define reset")

    def update(self, preds: Any, target: Any) -> None:
        """Accumulates a batch of predictions and truths: tensors or arrays."""
        raise NotImplementedError(f"{type(self).__name__}: a Metric has to define update")

    def compute(self) -> Tensor:
        """The value over everything accumulated. RuntimeError when that is nothing."""
        raise NotImplementedError(f"{type(self).__name__}: a Metric has to define compute")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        batch = self.clone()
        batch.reset()
        batch.update(*args, **kwargs)
        self.update(*args, **kwargs)
        return batch.compute()

    def clone(self) -> Any:
        """An independent copy, with what has been accumulated."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, Any]:
        """What has been accumulated: numbers, and tensors that are copies."""
        saved: dict[str, Any] = {}
        for name in self.states:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value = tensor(value)
            elif isinstance(value, list):
                value = [tensor(v) for v in value]
            saved[name] = value
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what ``state_dict`` gave. KeyError for other keys than this metric's."""
        if set(state_dict) != set(self.states):
            raise KeyError(
                f"{type(self).__name__}.load_state_dict: expected the keys {sorted(self.states)}, got "
                f"{sorted(state_dict)}; load it into the kind of metric that it was taken from"
            )
        for name, value in state_dict.items():
            if isinstance(value, list):
                value = [_array(v).copy() for v in value]
            setattr(self, name, _array(value).copy() if isinstance(value, Tensor) else value)

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k not in self.states and not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    def _refuse(self, what: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {what}")

    def _option(self, name: str, value: Any, allowed: tuple[Any, ...]) -> None:
        if value not in allowed:
            raise self._refuse(f"expected {name} to be one of {list(allowed)}, got {value!r}")

    def _some(self, count: Any) -> None:
        if not count:
            raise RuntimeError(f"{type(self).__name__}.compute: nothing accumulated yet; call update first")


def _array(x: Any) -> np.ndarray:
    """A tensor or array-like as a NumPy array without a copy where that can be."""
    if isinstance(x, Tensor):
        x = x._array
        if type(x) is not np.ndarray:
            x = backend.module_of(x).to_numpy(x)
    else:
        x = np.asarray(x)
    return x.astype(np.float32) if x.dtype.kind == "V" else x  # bfloat16, which NumPy can't compute with


def _value(x: Any) -> Tensor:
    return tensor(np.asarray(x, dtype=np.float64))


def _divide(a: Any, b: Any, otherwise: float = 0.0) -> np.ndarray:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    out = np.full(np.broadcast_shapes(a.shape, b.shape), float(otherwise))
    return np.divide(a, b, out=out, where=b != 0)


# ---- sums ------------------------------------------------------------------------------------------------


class Mean(Metric):
    """Σ w·v / Σ w over everything given: ``update(value, weight=1)``; a loss is weighted by its batch's size."""

    states = ("total", "weight")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total = self.weight = 0.0

    def update(self, value: Any, weight: Any = 1.0) -> None:  # type: ignore[override]
        if type(value) is float and type(weight) in (float, int):
            self.total += value * weight
            self.weight += weight
            return
        v, w = _array(value).astype(np.float64), _array(weight).astype(np.float64)
        try:
            w = np.broadcast_to(w, v.shape)
        except ValueError:
            raise self._refuse(f"weight of shape {w.shape} doesn't broadcast to value's {v.shape}") from None
        self.total += float((v * w).sum())
        self.weight += float(w.sum())

    def compute(self) -> Tensor:
        self._some(self.weight)
        return _value(self.total / self.weight)


class _Regression(Metric):
    def _pair(self, preds: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
        p, t = _array(preds), _array(target)
        if p.shape != t.shape:
            raise self._refuse(
                f"expected preds and target of the same shape, got {p.shape} and {t.shape}; squeeze or reshape one"
            )
        return p.astype(np.float64), t.astype(np.float64)


class MeanSquaredError(_Regression):
    """Σ(ŷ − y)² / n over all elements; its root with ``squared=False``."""

    states = ("total", "count")
    higher_is_better = False

    def __init__(self, squared: bool = True) -> None:
        self.squared = squared
        self.reset()

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, preds: Any, target: Any) -> None:
        p, t = self._pair(preds, target)
        self.total += float(((p - t) ** 2).sum())
        self.count += p.size

    def compute(self) -> Tensor:
        self._some(self.count)
        mean = self.total / self.count
        return _value(mean if self.squared else mean**0.5)


class MeanAbsoluteError(_Regression):
    """Σ|ŷ − y| / n over all elements."""

    states = ("total", "count")
    higher_is_better = False

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, preds: Any, target: Any) -> None:
        p, t = self._pair(preds, target)
        self.total += float(np.abs(p - t).sum())
        self.count += p.size

    def compute(self) -> Tensor:
        self._some(self.count)
        return _value(self.total / self.count)


class R2Score(_Regression):
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², for (N,) or (N, outputs).

    ``multioutput``: "uniform_average", "raw_values" or "variance_weighted". ``adjusted`` is the number k of
    independent variables: 1 − (1 − R²)(n − 1)/(n − k − 1). A constant target gives 1 when met exactly, else 0.
    The spread about the mean is merged from batch to batch without cancellation (Chan, Golub, LeVeque 1979).
    """

    states = ("count", "mean", "spread", "residual")
    higher_is_better = True

    def __init__(self, adjusted: int = 0, multioutput: str = "uniform_average") -> None:
        self._option("multioutput", multioutput, ("raw_values", "uniform_average", "variance_weighted"))
        if not isinstance(adjusted, int) or adjusted < 0:
            raise self._refuse(f"expected adjusted to be an integer of 0 or more, got {adjusted!r}")
        self.adjusted, self.multioutput = adjusted, multioutput
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.mean = self.spread = self.residual = np.zeros(())

    def update(self, preds: Any, target: Any) -> None:
        p, t = self._pair(preds, target)
        if p.ndim not in (1, 2):
            raise self._refuse(f"expected (N,) or (N, outputs), got {p.shape}; reshape to two dimensions")
        if self.count and t.shape[1:] != self.mean.shape:
            raise self._refuse(f"expected {self.mean.shape} outputs as before, got {t.shape[1:]}")
        n = len(t)
        if not n:
            return
        mean, total = t.mean(0), self.count + n
        delta = mean - self.mean
        self.spread = self.spread + ((t - mean) ** 2).sum(0) + delta**2 * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.residual = self.residual + ((t - p) ** 2).sum(0)
        self.count = total

    def compute(self) -> Tensor:
        self._some(self.count)
        if self.count < 2:
            raise self._refuse("needs at least two samples, got 1; update it with more before compute")
        r2 = np.where(self.residual == 0, 1.0, 1 - _divide(self.residual, self.spread, 1.0))
        if self.multioutput == "uniform_average":
            r2 = r2.mean()
        elif self.multioutput == "variance_weighted":
            r2 = _divide((r2 * self.spread).sum(), self.spread.sum(), float(r2.mean()))
        if self.adjusted:
            free = self.count - self.adjusted - 1
            if free <= 0:
                raise self._refuse(
                    f"adjusted={self.adjusted} needs more than {self.adjusted + 1} samples, got {self.count}"
                )
            r2 = 1 - (1 - r2) * (self.count - 1) / free
        return _value(r2)


class Perplexity(Metric):
    """exp of the mean −log p(target): preds are logits (…, classes), target the classes (…).

    Targets equal to ``ignore_index`` don't count.
    """

    states = ("total", "count")
    higher_is_better = False

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, preds: Any, target: Any) -> None:
        p, t = _array(preds), _array(target)
        if p.dtype.kind != "f" or t.dtype.kind not in "iu" or p.shape[:-1] != t.shape or not p.ndim:
            raise self._refuse(
                f"expected float preds (…, classes) and integer target (…), got {p.dtype} {p.shape} and "
                f"{t.dtype} {t.shape}"
            )
        x, t = p.reshape(-1, p.shape[-1]).astype(np.float64), t.reshape(-1)
        if self.ignore_index is not None:
            keep = t != self.ignore_index
            x, t = x[keep], t[keep]
        _check_labels(self, t, x.shape[1])
        if not len(t):
            return
        x = x - x.max(1, keepdims=True)
        picked = np.take_along_axis(x, t[:, None].astype(np.int64), 1)[:, 0]
        self.total += float((np.log(np.exp(x).sum(1)) - picked).sum())
        self.count += len(t)

    def compute(self) -> Tensor:
        self._some(self.count)
        return _value(np.exp(self.total / self.count))


# ---- classification --------------------------------------------------------------------------------------


def _check_labels(metric: Metric, labels: np.ndarray, classes: int, what: str = "target") -> None:
    if not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        at = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise metric._refuse(
            f"{what} holds label {int(labels[at])} at position {at}, expected labels 0 to {classes - 1}; "
            f"correct the labels, raise num_classes, or name it as ignore_index"
        )


class _Classified(Metric):
    """What the metrics over classes share: scores or labels to a count of (true, predicted) pairs."""

    states = ("counts",)

    def __init__(
        self,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        from_logits: bool = False,
    ) -> None:
        self._option("task", task, (None, "binary", "multiclass"))
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 2):
            raise self._refuse(f"expected num_classes to be an integer of 2 or more, got {num_classes!r}")
        if task == "binary" and num_classes not in (None, 2):
            raise self._refuse(f"task='binary' has 2 classes, got num_classes={num_classes}")
        if not 0 <= threshold <= 1:
            raise self._refuse(f"expected threshold to be a probability in [0, 1], got {threshold!r}")
        self.task, self.threshold, self.num_classes = task, float(threshold), num_classes
        self.ignore_index, self.from_logits = ignore_index, from_logits
        # by logits the threshold moves instead of the values: log(t / (1 − t))
        with np.errstate(divide="ignore"):
            self._cut = float(np.log(threshold) - np.log1p(-threshold)) if from_logits else self.threshold
        self.reset()

    def reset(self) -> None:
        size = self.num_classes or (2 if self.task == "binary" else 0)
        self.counts = np.zeros((size, size), dtype=np.int64)

    @property
    def _binary(self) -> bool:
        return self.task == "binary"

    def update(self, preds: Any, target: Any) -> None:
        p, t = _array(preds), _array(target)
        if self.task is None:
            self.task = self._infer(p, t)
            if not self.counts.size:
                self.reset()
        hard = p.dtype.kind != "f"
        p, t, classes = self._binary_labels(p, t) if self._binary else self._multiclass_labels(p, t)
        if self.ignore_index is not None:
            keep = t != self.ignore_index
            p, t = p[keep], t[keep]
        if not len(t):
            return
        have = len(self.counts)
        if classes is None:  # labels alone: the table grows with what is seen
            _check_labels(self, t, 2**31)
            _check_labels(self, p, 2**31, "preds")
            classes = max(have, int(max(p.max(), t.max())) + 1)
        elif hard:
            _check_labels(self, p, classes, "preds")
        try:
            pairs = np.bincount(t * classes + p, minlength=classes * classes).reshape(classes, classes)
        except ValueError:  # a label outside made a number outside
            _check_labels(self, t, classes)
            raise
        if classes > have:
            grown = np.zeros((classes, classes), dtype=np.int64)
            grown[:have, :have] = self.counts
            self.counts = grown
        self.counts[:classes, :classes] += pairs

    def _infer(self, p: np.ndarray, t: np.ndarray) -> str:
        if p.dtype.kind == "f" and p.ndim == t.ndim + 1 and p.shape[1] > 1:
            return "multiclass"
        if p.dtype.kind == "f" and p.size == t.size:
            return "binary"
        if p.dtype.kind in "iub":
            raise self._refuse(
                "preds are labels, which don't say the task; pass task='binary' or 'multiclass'"
            )
        raise self._shapes(p, t, "preds (N, classes) with target (N,), or both of the same shape")

    def _shapes(self, p: np.ndarray, t: np.ndarray, expected: str) -> ValueError:
        return self._refuse(
            f"expected {expected}, got preds {p.dtype} {p.shape} and target {t.dtype} {t.shape}"
        )

    def _binary_labels(self, p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        if _squeezed(p.shape) != _squeezed(t.shape):
            raise self._shapes(p, t, "preds and target of the same shape")
        p, t = p.reshape(-1), t.reshape(-1)
        if t.dtype.kind == "f":  # as binary cross-entropy takes them
            labels = t.astype(np.int64)
            if (labels != t).any():
                raise self._refuse(
                    "target holds values between the classes, expected 0 and 1; round them first"
                )
            t = labels
        t = t.astype(np.int64, copy=False)
        if p.dtype.kind == "f":
            self._check_scores(p)
            p = p > self._cut
        return p.astype(np.int64), t, 2

    def _check_scores(self, p: np.ndarray) -> None:
        if not p.size:
            return
        low, high = p.min(), p.max()
        if low != low:
            raise self._refuse("preds hold NaN; look at the loss, the model's outputs have gone wrong")
        if not self.from_logits and (low < 0 or high > 1):
            raise self._refuse(
                f"preds hold {float(low if low < 0 else high):.6g}, expected probabilities in [0, 1]; if they are "
                f"logits, pass from_logits=True"
            )

    def _multiclass_labels(self, p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None]:
        if t.dtype.kind not in "iub":
            raise self._shapes(
                p, t, "integer classes as target (of probabilities or one-hot rows take argmax(1))"
            )
        classes = self.num_classes
        if p.dtype.kind == "f":
            if p.ndim < 2 or p.shape[:1] + p.shape[2:] != t.shape:
                raise self._shapes(p, t, "preds (N, classes, …) with target (N, …)")
            if classes is not None and p.shape[1] != classes:
                raise self._refuse(f"expected preds with {classes} classes in dimension 1, got {p.shape}")
            if p.shape[1] < len(self.counts):
                raise self._refuse(f"expected {len(self.counts)} classes as before, got preds {p.shape}")
            classes = p.shape[1]
            if p.size and (most := p.max()) != most:  # the maximum of anything with NaN is NaN
                raise self._refuse("preds hold NaN; look at the loss, the model's outputs have gone wrong")
            p = p.argmax(1)
        elif p.shape != t.shape:
            raise self._shapes(p, t, "labels of the same shape, or float preds (N, classes, …)")
        return p.reshape(-1).astype(np.int64, copy=False), t.reshape(-1).astype(np.int64, copy=False), classes


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A model with one output gives (N, 1) where the targets may be (N,)."""
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


class _Averaged(_Classified):
    """A ratio by class, averaged: micro (of the summed counts), macro, weighted (by the true counts), none.

    Macro and weighted leave out classes that neither occur nor are predicted.
    """

    higher_is_better = True

    def __init__(
        self,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        average: str | None = "micro",
        ignore_index: int | None = None,
        from_logits: bool = False,
        zero_division: float = 0.0,
    ) -> None:
        self._option("average", average, ("micro", "macro", "weighted", "none", None))
        self.average, self.zero_division = average or "none", float(zero_division)
        super().__init__(task, threshold, num_classes, ignore_index, from_logits)

    def _ratio(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> tuple[Any, Any]:
        """Numerator and denominator from counts by class."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        self._some(self.counts.any())
        hits, predicted, true = np.diag(self.counts), self.counts.sum(0), self.counts.sum(1)
        if self._binary:
            a, b = self._ratio(hits[1], predicted[1], true[1])
            return _value(_divide(a, b, self.zero_division))
        if self.average == "micro":
            a, b = self._ratio(hits.sum(), predicted.sum(), true.sum())
            return _value(_divide(a, b, self.zero_division))
        by_class = _divide(*self._ratio(hits, predicted, true), self.zero_division)
        if self.average == "none":
            return _value(by_class)
        weights = true if self.average == "weighted" else (predicted + true > 0)
        return _value((by_class * weights).sum() / weights.sum())


class Accuracy(_Averaged):
    """Correct / all. With ``average="macro"`` the mean over classes of the part found, balanced accuracy.

    Parameters
    ----------
    task : "binary", "multiclass", or None: told from the shapes of the first batch.
    threshold : binary: probabilities above it are class 1.
    num_classes : for labels instead of scores; without it the classes are those seen.
    average : "micro", "macro", "weighted" or "none" (one value a class); multiclass only.
    ignore_index : targets of this value don't count.
    from_logits : binary: preds are logits; without it values outside [0, 1] are refused, never guessed at.
    zero_division : the value of a class where 0 / 0.

    Multiclass preds are float scores (N, classes, …), of which the first largest counts, or labels (N, …).
    Binary preds and targets have one shape, up to a last dimension of 1; float targets 0.0 and 1.0 are taken.

    >>> Accuracy(task="multiclass", num_classes=3)([2, 0, 1, 2], [2, 0, 1, 1])
    tensor(0.7500, dtype=minigrad.float64)
    """

    def __init__(
        self,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        average: str | None = "micro",
        ignore_index: int | None = None,
        from_logits: bool = False,
        zero_division: float = 0.0,
        top_k: int = 1,
    ) -> None:
        if top_k != 1:
            raise self._refuse(f"top_k={top_k} is another metric here; use TopKAccuracy(k={top_k})")
        super().__init__(task, threshold, num_classes, average, ignore_index, from_logits, zero_division)

    def _ratio(self, hits: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return hits, true

    def compute(self) -> Tensor:
        if not self._binary:
            return super().compute()
        self._some(self.counts.any())
        return _value(np.diag(self.counts).sum() / self.counts.sum())


class Precision(_Averaged):
    """tp / (tp + fp): of those predicted, the part that is so. Parameters as :class:`Accuracy`'s."""

    def _ratio(self, hits: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return hits, predicted


class Recall(_Averaged):
    """tp / (tp + fn): of those there are, the part found. Parameters as :class:`Accuracy`'s."""

    def _ratio(self, hits: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return hits, true


class F1Score(_Averaged):
    """2·tp / (2·tp + fp + fn), the harmonic mean of precision and recall. Parameters as :class:`Accuracy`'s."""

    def _ratio(self, hits: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return 2 * hits, predicted + true


class ConfusionMatrix(_Classified):
    """(classes, classes): row is the true class, column the predicted one.

    ``normalize``: None or "none" for int64 counts, "true" by row, "pred" by column, "all". The others as
    :class:`Accuracy`'s. ``compute`` before any batch gives zeros when the number of classes is known.
    """

    def __init__(
        self,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        normalize: str | None = None,
        ignore_index: int | None = None,
        from_logits: bool = False,
    ) -> None:
        self._option("normalize", normalize, (None, "none", "true", "pred", "all"))
        self.normalize = normalize
        super().__init__(task, threshold, num_classes, ignore_index, from_logits)

    def compute(self) -> Tensor:
        self._some(self.counts.size)
        if self.normalize == "true":
            return _value(_divide(self.counts, self.counts.sum(1, keepdims=True)))
        if self.normalize == "pred":
            return _value(_divide(self.counts, self.counts.sum(0, keepdims=True)))
        if self.normalize == "all":
            return _value(_divide(self.counts, self.counts.sum()))
        return tensor(self.counts)


class TopKAccuracy(Metric):
    """The part of samples whose true class is among the k best scores: preds (N, classes, …), target (N, …).

    Equal scores rank in the order of their classes, so that k = 1 is :class:`Accuracy`.
    """

    states = ("hits", "count")
    higher_is_better = True

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        if not isinstance(k, int) or k < 1:
            raise self._refuse(f"expected k to be an integer of 1 or more, got {k!r}")
        self.k, self.ignore_index = k, ignore_index
        self.reset()

    def reset(self) -> None:
        self.hits = self.count = 0

    def update(self, preds: Any, target: Any) -> None:
        p, t = _scores(self, _array(preds), _array(target), self.ignore_index)
        if self.k > p.shape[1]:
            raise self._refuse(f"k={self.k} is more than the {p.shape[1]} classes of preds")
        own = np.take_along_axis(p, t[:, None], 1)
        before = (p > own) | ((p == own) & (np.arange(p.shape[1]) < t[:, None]))
        self.hits += int((before.sum(1) < self.k).sum())
        self.count += len(t)

    def compute(self) -> Tensor:
        self._some(self.count)
        return _value(self.hits / self.count)


def _scores(
    metric: Metric, p: np.ndarray, t: np.ndarray, ignore_index: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores as (samples, classes), targets as (samples,), checked."""
    if p.dtype.kind != "f" or p.ndim < 2 or p.shape[:1] + p.shape[2:] != t.shape or t.dtype.kind not in "iub":
        raise metric._refuse(
            f"expected float preds (N, classes, …) with integer target (N, …), got {p.dtype} {p.shape} and "
            f"{t.dtype} {t.shape}"
        )
    p, t = np.moveaxis(p, 1, -1).reshape(-1, p.shape[1]), t.reshape(-1).astype(np.int64)
    if ignore_index is not None:
        keep = t != ignore_index
        p, t = p[keep], t[keep]
    _check_labels(metric, t, p.shape[1])
    if np.isnan(p).any():
        raise metric._refuse("preds hold NaN; look at the loss, the model's outputs have gone wrong")
    return p, t


class AUROC(Metric):
    """Area under the ROC curve: P(score of a positive > score of a negative) + ½ P(equal), exactly.

    Binary: preds (N,) probabilities or logits alike, target 0 or 1. Multiclass, by ``task`` or by shape:
    preds (N, classes) probabilities, or logits with ``from_logits=True``, and one class against the rest;
    ``average`` is "macro", "weighted" (by the true counts) or "none". A class without positives or without
    negatives has no area: NaN under "none", left out of the averages; NaN when none is left. Scores are kept,
    8 bytes each, and counted with integers (Mann & Whitney 1947), so that ties and batches don't matter.
    """

    states = ("preds", "target")
    higher_is_better = True
    cheap = False

    def __init__(
        self,
        task: str | None = None,
        num_classes: int | None = None,
        average: str | None = "macro",
        ignore_index: int | None = None,
        from_logits: bool = False,
    ) -> None:
        self._option("task", task, (None, "binary", "multiclass"))
        self._option("average", average, ("macro", "weighted", "none", None))
        self.task, self.num_classes, self.average = task, num_classes, average or "none"
        self.ignore_index, self.from_logits = ignore_index, from_logits
        self.reset()

    def reset(self) -> None:
        self.preds: list[np.ndarray] = []
        self.target: list[np.ndarray] = []

    def update(self, preds: Any, target: Any) -> None:
        p, t = _array(preds), _array(target)
        if self.task is None:
            self.task = "multiclass" if p.ndim == t.ndim + 1 and p.shape[1] > 1 else "binary"
        p, t = self._binary(p, t) if self.task == "binary" else self._multiclass(p, t)
        self.preds.append(p)
        self.target.append(t)

    def _binary(self, p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if _squeezed(p.shape) != _squeezed(t.shape) or p.dtype.kind != "f":
            raise self._refuse(
                f"expected float preds and target of the same shape, got {p.dtype} {p.shape} and {t.dtype} {t.shape}"
            )
        p, t = p.reshape(-1).astype(np.float64), t.reshape(-1)
        if self.ignore_index is not None:
            keep = t != self.ignore_index
            p, t = p[keep], t[keep]
        if not np.isin(t, (0, 1)).all():
            raise self._refuse(f"expected target 0 and 1, got {sorted(set(t.tolist()) - {0, 1})[:5]}")
        if np.isnan(p).any():
            raise self._refuse("preds hold NaN; look at the loss, the model's outputs have gone wrong")
        return p, t.astype(np.int64)

    def _multiclass(self, p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, t = _scores(self, p, t, self.ignore_index)
        expected = self.num_classes or (self.preds[0].shape[1] if self.preds else p.shape[1])
        if p.shape[1] != expected:
            raise self._refuse(f"expected {expected} classes in dimension 1 of preds, got {p.shape[1]}")
        p = p.astype(np.float64)
        if self.from_logits:
            p = np.exp(p - p.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
        elif p.size and (p.min() < 0 or p.max() > 1):
            raise self._refuse(
                f"preds hold {p.min() if p.min() < 0 else p.max():.6g}, expected probabilities in [0, 1], which "
                f"one class against the rest compares between samples; if they are logits, pass from_logits=True"
            )
        return p, t

    def compute(self) -> Tensor:
        self._some(sum(len(t) for t in self.target))
        p, t = np.concatenate(self.preds), np.concatenate(self.target)
        if self.task == "binary":
            return _value(_area(p, t == 1))
        by_class = np.array([_area(p[:, c], t == c) for c in range(p.shape[1])])
        if self.average == "none":
            return _value(by_class)
        weights = np.bincount(t, minlength=p.shape[1]) if self.average == "weighted" else np.ones(p.shape[1])
        known = ~np.isnan(by_class)
        if not weights[known].sum():
            return _value(np.nan)
        return _value((by_class[known] * weights[known]).sum() / weights[known].sum())


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Pairs (positive, negative) in the right order, equal ones by half, over all pairs."""
    _, group = np.unique(scores, return_inverse=True)
    pos = np.bincount(group, weights=positive).astype(np.int64)
    neg = np.bincount(group).astype(np.int64) - pos
    below = np.cumsum(neg) - neg
    twice = int((pos * (2 * below + neg)).sum())
    pairs = int(pos.sum()) * int(neg.sum())
    return twice / (2 * pairs) if pairs else float("nan")
