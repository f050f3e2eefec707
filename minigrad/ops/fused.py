"""The readable twins of the hot-path kernels: losses, normalisation, linear, dropout, embedding, attention.

Each row is the whole definition. Fast versions register in ``kernels/`` and are tested against these.
"""

from __future__ import annotations

import math
from typing import Any

from ..op import bools, case, floats, ints, op
from .index import gather, index_add, index_select, unpick
from .linalg import _swap, _text, matmul
from .reduce import axes, log_softmax, mean, softmax, sum


def _reduced(m: Any, losses: Any, reduction: str, name: str) -> Any:
    if reduction == "mean":
        return mean(m, losses)
    if reduction == "sum":
        return sum(m, losses)
    if reduction != "none":
        raise ValueError(f"{name}: {reduction} is not a valid value for reduction; expected 'none', 'mean' or 'sum'")
    return losses


def _scaled(g: Any, shape: tuple[int, ...], reduction: str) -> Any:
    """The gradient by each loss before the reduction."""
    if reduction != "mean":
        return g
    n = math.prod(shape)
    return g / n if n else g


@op(promote="match", method=False, cases=[case((5, 3), (2, 3), (2,)), case((2, 5, 3), (4, 3)), case((3,), (2, 3), (2,))],
    flops=lambda x, weight, bias, out: 2 * x.size * weight.shape[0])  # fmt: skip
def linear(m, x, weight, bias=None):
    """x Wᵀ + b, with W of shape (out, in)."""
    if not x.ndim or x.shape[-1] != weight.shape[-1]:
        raise RuntimeError(f"linear: mat1 and mat2 shapes cannot be multiplied ({_text(x)} and "
                           f"{'x'.join(map(str, weight.shape[::-1]))}): expected inputs with {weight.shape[-1]} "
                           f"features in the last dimension, got shape {x.shape}")  # fmt: skip
    y = matmul.forward(m, x, m.permute_dims(weight, (1, 0)) if weight.ndim == 2 else weight)
    return y if bias is None else y + bias


@linear.vjp
def _(m, g, x, weight, bias_shape, needs):
    n, k = weight.shape if len(weight.shape) == 2 else (1, weight.shape[0])
    flat = m.reshape(g, (-1 if n else 0, n))
    by_x = m.reshape(m.matmul(flat, m.reshape(weight, (n, k))), x.shape) if needs[0] else None
    by_weight = None
    if needs[1]:
        by_weight = m.reshape(m.matmul(m.permute_dims(flat, (1, 0)), m.reshape(x, (flat.shape[0], k))), weight.shape)
    return by_x, by_weight, m.reshape(sum(m, flat, dim=0), bias_shape) if needs[2] else None


@op(promote="same", method=False, cases=[case((3, 4), (3, 4)), case((3, 4), (3, 4), reduction="sum"), case((2,), (2,), reduction="none")])
def mse_loss(m, x, target, *, reduction="mean"):
    """(x - y)², averaged, summed, or element by element."""
    return _reduced(m, m.square(x - target), reduction, "mse_loss")


@mse_loss.vjp
def _(m, g, x, target, reduction):
    by_x = 2 * _scaled(g, (x - target).shape, reduction) * (x - target)
    return by_x, -by_x


@op(promote="same", method=False, cases=[
    case(floats((3, 4), 0.1, 0.9), floats((3, 4), 0.1, 0.9)), case(floats((3,), 0.1, 0.9), floats((3,), 0.1, 0.9), (3,), reduction="sum"),
])  # fmt: skip
def binary_cross_entropy(m, x, target, weight=None, *, reduction="mean"):
    """-(y ln p + (1 - y) ln(1 - p)) of a probability p; the logarithms stop at -100, as in PyTorch."""
    if x.size and (m.min(x) < 0 or m.max(x) > 1):
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1; apply a sigmoid, "
                           "or use binary_cross_entropy_with_logits")  # fmt: skip
    losses = -(target * m.maximum(m.log(x), -100.0) + (1 - target) * m.maximum(m.log1p(-x), -100.0))
    return _reduced(m, losses if weight is None else losses * weight, reduction, "binary_cross_entropy")


@binary_cross_entropy.vjp
def _(m, g, x, target, weight, reduction, needs):
    scale = _scaled(g, x.shape, reduction)
    by_loss = scale if weight is None else scale * weight
    likely, unlikely = m.maximum(m.log(x), -100.0), m.maximum(m.log1p(-x), -100.0)
    by_weight = None
    if needs[2]:
        by_weight = -scale * (target * likely + (1 - target) * unlikely)
    by_target = by_loss * (unlikely - likely) if needs[1] else None
    return by_loss * (x - target) / m.maximum(x * (1 - x), 1e-12), by_target, by_weight


@op(promote="same", method=False, flops=16, cases=[
    case((3, 4), (3, 4)), case((3, 4), (3, 4), (4,), (4,), reduction="sum"), case((3,), (3,), None, (1,), reduction="none"),
])  # fmt: skip
def binary_cross_entropy_with_logits(m, x, target, weight=None, pos_weight=None, *, reduction="mean"):
    """-(w₊ y ln σ(x) + (1 - y) ln(1 - σ(x))), in the form max(-x, 0) + ln(1 + e^-|x|) that can't overflow."""
    if x.shape != target.shape:
        raise ValueError(f"binary_cross_entropy_with_logits: Target size ({target.shape}) must be the same as input "
                         f"size ({x.shape}); reshape one of them")  # fmt: skip
    unlikely = m.maximum(-x, 0.0) + m.log1p(m.exp(-m.abs(x)))  # -ln σ(x)
    losses = (1 - target) * x + (unlikely if pos_weight is None else (1 + (pos_weight - 1) * target) * unlikely)
    return _reduced(m, losses if weight is None else losses * weight, reduction, "binary_cross_entropy_with_logits")


@binary_cross_entropy_with_logits.vjp
def _(m, g, x, target, weight, pos_weight, reduction, needs):
    p = 1 / (1 + m.exp(-x))
    scale = _scaled(g, x.shape, reduction)
    by_loss = scale if weight is None else scale * weight
    factor = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    by_x = by_loss * (1 - target - factor * (1 - p))
    by_target = by_weight = by_pos_weight = None
    if needs[1] or needs[2] or needs[3]:
        unlikely = m.maximum(-x, 0.0) + m.log1p(m.exp(-m.abs(x)))
        by_target = by_loss * ((0 if pos_weight is None else (pos_weight - 1) * unlikely) - x)
        by_weight = scale * ((1 - target) * x + factor * unlikely)
        by_pos_weight = by_loss * target * unlikely
    return by_x, by_target, by_weight if needs[2] else None, by_pos_weight if needs[3] else None


def _classes_first(m: Any, x: Any) -> Any:
    """(C,), (N, C, d₁ …) as a matrix (positions, C)."""
    if len(x.shape) == 1:
        return m.reshape(x, (1, x.shape[0]))
    n, c = x.shape[:2]
    if len(x.shape) == 2:
        return x
    order = (0, *range(2, len(x.shape)), 1)
    return m.reshape(m.permute_dims(x, order), (n * math.prod(x.shape[2:]), c))


def _classes_back(m: Any, flat: Any, shape: tuple[int, ...]) -> Any:
    """The inverse of :func:`_classes_first`."""
    if len(shape) <= 2:
        return m.reshape(flat, shape)
    split = m.reshape(flat, (shape[0], *shape[2:], shape[1]))
    return m.permute_dims(split, (0, len(shape) - 1, *range(1, len(shape) - 1)))


def _labels(name: str, target: Any, classes: int, ignore_index: int) -> Any:
    """Checks class indices and points the ignored ones at class 0; returns them with the mask of the kept."""
    if target.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: expected target of dtype int64 (class indices), got {target.dtype}; convert with .long()")
    flat = target.reshape(-1)
    keep = flat != ignore_index
    labels = flat * keep
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        bad = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise IndexError(f"{name}: Target {bad} is out of bounds: expected class indices 0 ≤ target < {classes}; "
                         f"check the labels or the size of the last layer")  # fmt: skip
    return labels, keep


def _fits(name: str, x: Any, target: Any) -> None:
    expected = x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()
    if x.ndim == 0 or target.shape != expected:
        raise ValueError(f"{name}: Expected input batch_size ({x.shape[0] if x.ndim else 0}) to match target "
                         f"batch_size ({target.shape[0] if target.ndim else 0}): a target of shape {expected} for "
                         f"input {x.shape}, got {target.shape}")  # fmt: skip


NLL = (
    case((4, 3), ints((4,), 3)), case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), ignore_index=1),
    case((2, 3, 2, 2), ints((2, 2, 2), 3), reduction="sum"), case((3,), ints((), 3), reduction="none"),
    case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), reduction="none"),
)  # fmt: skip


@op(constant=("target", "weight"), method=False, cases=NLL)
def nll_loss(m, x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """-wᵧ x[y] of log-probabilities x; the mean is weighted by wᵧ."""
    _fits("nll_loss", x, target)
    flat = _classes_first(m, x)
    labels, keep = _labels("nll_loss", target, flat.shape[1], ignore_index)
    w = keep.astype(x.dtype) if weight is None else m.take(weight, labels) * keep
    losses = -m.take_along_axis(flat, labels[:, None], axis=1)[:, 0] * w
    if reduction == "mean":
        return m.asarray(sum(m, losses) / sum(m, w), dtype=x.dtype)
    return _reduced(m, m.reshape(losses, target.shape), reduction, "nll_loss")


def _class_weights(m: Any, target: Any, weight: Any, ignore_index: int, like: Any) -> tuple[Any, Any]:
    """Raw labels and raw weights by position, for rules: neither carries a gradient."""
    raw_target = getattr(target, "_array", target)
    raw_weight = getattr(weight, "_array", weight)
    raw = getattr(like, "_array", like)
    flat = raw_target.reshape(-1)
    keep = flat != ignore_index
    labels = flat * keep
    w = keep.astype(raw.dtype) if raw_weight is None else raw_weight[labels] * keep
    return labels, w


@nll_loss.vjp
def _(m, g, x, target, weight, ignore_index, reduction):
    labels, w = _class_weights(m, target, weight, ignore_index, x)
    w = _like(m, w / w.sum() if reduction == "mean" else w, x)
    by_loss = -w * (g if reduction != "none" else m.reshape(g, (-1,)))
    flat = unpick(m, m.reshape(by_loss, (-1, 1)), _like(m, labels.reshape(-1, 1), x),
                  shape=(labels.size, x.shape[1 if len(x.shape) > 1 else 0]), dim=1)  # fmt: skip
    return _classes_back(m, flat, x.shape)


def _like(m: Any, array: Any, x: Any) -> Any:
    """A raw constant where the rule works: itself on arrays, wrapped on tensors."""
    if hasattr(x, "_array"):
        from ..autograd import wrap

        return wrap(array)
    return array


CE = (
    *NLL, case((4, 3), ints((4,), 3), label_smoothing=0.1), case((4, 3), floats((4, 3), 0.1, 0.9)),
    case((4, 3), floats((4, 3), 0.1, 0.9), floats((3,), 0.5, 2), label_smoothing=0.2),
    case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), label_smoothing=0.3, ignore_index=0),
    case((2, 3, 2), ints((2, 2), 3), label_smoothing=0.1, reduction="none"),
    case((2, 3, 2), floats((2, 3, 2), 0.1, 0.9), reduction="sum"),
)  # fmt: skip


def _targets(m: Any, x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float) -> tuple[Any, Any]:
    """Raw weighted target distribution (positions, C) and the raw divisor of the mean."""
    raw = getattr(x, "_array", x)
    raw_target, raw_weight = getattr(target, "_array", target), getattr(weight, "_array", weight)
    classes = raw.shape[1 if raw.ndim > 1 else 0]
    plain = getattr(m, "take_along_axis", None) and m
    a = plain if not hasattr(x, "_array") else _module(raw)
    if raw_target.dtype.kind in "fV":
        q = _classes_first(a, raw_target)
        q = q * (1 - smoothing) + smoothing / classes if smoothing else q
        return (q if raw_weight is None else q * raw_weight), q.shape[0]
    labels, w = _class_weights(m, target, weight, ignore_index, x)
    keep = raw_target.reshape(-1) != ignore_index
    q = (labels[:, None] == a.arange(classes)).astype(raw.dtype)
    if smoothing:
        q = q * (1 - smoothing) + smoothing / classes
    q = q * keep[:, None]
    return (q if raw_weight is None else q * raw_weight), w.sum()


def _module(raw: Any) -> Any:
    from ..backend import module_of

    return module_of(raw).m


@op(constant=("weight",), method=False, cases=CE, flops=16)
def cross_entropy(m, x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-Σ qₖ wₖ ln softmax(x)ₖ; q is the one-hot (or given) target, smoothed as (1 - ε) q + ε / C."""
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    flat = _classes_first(m, x) if x.ndim else x
    if target.dtype.kind in "fV":
        if target.shape != x.shape:
            raise RuntimeError(f"cross_entropy: class probabilities of shape {x.shape} expected, got {target.shape}")
    else:
        _fits("cross_entropy", x, target)
        _labels("cross_entropy", target, flat.shape[1], ignore_index)
    q, divisor = _targets(m, x, target, weight, ignore_index, label_smoothing)
    losses = -m.sum(q * log_softmax(m, flat, dim=1), axis=1)
    if reduction == "mean":
        return m.asarray(sum(m, losses) / m.asarray(divisor, dtype=x.dtype), dtype=x.dtype)
    shape = target.shape if target.dtype.kind not in "fV" else x.shape[:1] * (x.ndim > 1) + x.shape[2:]
    return _reduced(m, m.reshape(losses, shape), reduction, "cross_entropy")


@cross_entropy.vjp
def _(m, g, x, target, weight, ignore_index, reduction, label_smoothing, needs):
    q, divisor = _targets(m, x, target, weight, ignore_index, label_smoothing)
    if reduction == "mean":
        g = g / float(divisor) if float(divisor) else g * float("nan")
    by_loss = g if reduction != "none" else m.reshape(g, (-1, 1))
    flat = _classes_first(m, x)
    total = _like(m, q.sum(axis=1, keepdims=True), x)  # 1 unless weighted
    by_x = _classes_back(m, by_loss * (softmax(m, flat, dim=1) * total - _like(m, q, x)), x.shape)
    by_target = None
    if needs[1]:
        by_q = -by_loss * log_softmax(m, flat, dim=1) * (1 - label_smoothing)
        by_target = _classes_back(m, by_q if weight is None else by_q * weight, x.shape)
    return by_x, by_target, None


def _last(shape: tuple[int, ...], normalized_shape: Any) -> tuple[int, ...]:
    return tuple(range(len(shape) - len(normalized_shape), len(shape)))


@op(promote="match", method=False, flops=9, cases=[
    case((3, 4), (4,), (4,), normalized_shape=(4,)), case((2, 3, 4), None, None, normalized_shape=(3, 4), eps=1e-3),
])  # fmt: skip
def layer_norm(m, x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    """(x - μ) / √(σ² + ε) · w + b over the last dimensions (Ba et al., 2016)."""
    if tuple(x.shape[x.ndim - len(normalized_shape) :]) != tuple(normalized_shape):
        raise RuntimeError(f"layer_norm: Given normalized_shape={list(normalized_shape)}, expected input with shape "
                           f"[*, {', '.join(map(str, normalized_shape))}], but got input of size {list(x.shape)}")  # fmt: skip
    dims = _last(x.shape, normalized_shape)
    centred = x - mean(m, x, dim=dims, keepdim=True)
    y = centred / m.sqrt(mean(m, m.square(centred), dim=dims, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@layer_norm.vjp
def _(m, g, x, weight, bias_shape, normalized_shape, eps, needs):
    dims = _last(x.shape, normalized_shape)
    return _normalised_gradients(m, g, x, weight, dims, eps, needs)


def _normalised_gradients(m: Any, g: Any, x: Any, weight: Any, dims: tuple[int, ...], eps: float, needs: Any) -> Any:
    """Gradients of y = x̂ w + b with x̂ = (x - μ) / σ: by x it is (h - h̄ - x̂ · mean(h x̂)) / σ with h = g w."""
    centred = x - mean(m, x, dim=dims, keepdim=True)
    sigma = m.sqrt(mean(m, m.square(centred), dim=dims, keepdim=True) + eps)
    y = centred / sigma
    by_x = None
    if needs[0]:
        h = g if weight is None else g * weight
        by_x = (h - mean(m, h, dim=dims, keepdim=True) - y * mean(m, h * y, dim=dims, keepdim=True)) / sigma
    return by_x, g * y if needs[1] else None, g if needs[2] else None


@op(promote="match", method=False, flops=9, constant=("running_mean", "running_var"), cases=[
    case((4, 3), None, None, (3,), (3,), training=True), case((4, 3, 2), floats((3,), -1, 1), floats((3,), 0.5, 2), (3,), (3,)),
])  # fmt: skip
def batch_norm_apply(m, x, running_mean=None, running_var=None, weight=None, bias=None, *, training=False, eps=1e-5):
    """(x - μ) / √(σ² + ε) · w + b by channel, μ and σ² of the batch when training (Ioffe & Szegedy, 2015)."""
    dims, across = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    if training:
        centred = x - mean(m, x, dim=dims, keepdim=True)
        y = centred / m.sqrt(mean(m, m.square(centred), dim=dims, keepdim=True) + eps)
    else:
        y = (x - m.reshape(running_mean, across)) / m.sqrt(m.reshape(running_var, across) + eps)
    y = y if weight is None else y * m.reshape(weight, across)
    return y if bias is None else y + m.reshape(bias, across)


@batch_norm_apply.vjp
def _(m, g, x, running_mean, running_var, weight, bias_shape, training, eps, needs):
    n = len(x.shape)
    dims, across = (0, *range(2, n)), (1, -1, *(1,) * (n - 2))
    w = None if weight is None else m.reshape(weight, across)
    if training:
        wanted = (needs[0], needs[3], needs[4])
        by_x, by_weight, by_bias = _normalised_gradients(m, g, x, w, dims, eps, wanted)
    else:
        sigma = m.sqrt(m.reshape(running_var, across) + eps)
        by_x = (g if w is None else g * w) / sigma
        by_weight = g * (x - m.reshape(running_mean, across)) / sigma
        by_bias = g
    return (
        by_x, None, None,
        sum(m, by_weight, dim=dims) if needs[3] else None,
        sum(m, by_bias, dim=dims) if needs[4] else None,
    )  # fmt: skip


@op(promote="match", method=False, public=False, constant=("keep",), cases=[case((3, 4), bools((3, 4)), p=0.5)])
def dropout_apply(m, x, keep, *, p):
    """x / (1 - p) where kept, 0 elsewhere (Srivastava et al., 2014)."""
    return x * keep.astype(x.dtype) * x.dtype.type(1 / (1 - p) if p < 1 else 0.0)


@dropout_apply.vjp
def _(m, g, keep, p):
    return m.where(keep, g * (1 / (1 - p) if p < 1 else 0.0), 0.0)


@op(method=False, public=False, constant=("x",), cases=[case(ints((2, 3), 5), (5, 4)), case(ints((3,), 5), (5, 2), padding_idx=1)])
def embedding_apply(m, x, weight, *, padding_idx=-1, scale_grad_by_freq=False):
    """weight[x]: one row for each index; the row at padding_idx gets no gradient."""
    if x.dtype.kind not in "iu":
        raise RuntimeError(f"embedding: Expected indices of dtype int64 or int32, got {x.dtype}; convert with .long()")
    if x.size and (x.min() < 0 or x.max() >= weight.shape[0]):
        bad = int(x.min()) if x.min() < 0 else int(x.max())
        raise IndexError(f"embedding: index out of range in self: got {bad}, expected 0 ≤ index < {weight.shape[0]}, "
                         f"the number of embeddings")  # fmt: skip
    return weight[x]


@embedding_apply.vjp
def _(m, g, x, weight_shape, padding_idx, scale_grad_by_freq):
    raw = getattr(x, "_array", x)
    a = _module(raw)
    flat = raw.reshape(-1)
    factor = (flat != padding_idx) * 1.0
    if scale_grad_by_freq and flat.size:
        factor = factor / a.bincount(flat, minlength=weight_shape[0])[flat]
    rows = m.reshape(g, (flat.size, weight_shape[1]))
    if scale_grad_by_freq or padding_idx >= 0:
        rows = rows * _like(m, factor.astype(getattr(g, "_array", g).dtype)[:, None], g)
    return unembed(m, rows, _like(m, flat, g), rows=weight_shape[0])


@op(constant=("index",), public=False, cases=[case((4, 3), ints((4,), 5), rows=5)])
def unembed(m, x, index, *, rows):
    """Zeros of shape (rows, C) with the rows of x added where index says: the transpose of embedding."""
    out = m.zeros((rows, x.shape[1]), dtype=x.dtype)
    m.add.at(out, index, x)
    return out


@unembed.vjp
def _(m, g, index):
    return embedding_apply(m, index, g)


@op(promote="match", method=False, public=False, constant=("keep",), cases=[
    case((2, 3, 4), (2, 5, 4), (2, 5, 2), None, None), case((3, 4), (3, 4), (3, 4), None, None, is_causal=True),
    case((2, 3, 4), (2, 5, 4), (2, 5, 4), floats((3, 5), -1, 1), None, scale=0.3),
], flops=lambda query, key, value, mask, keep, out: 4 * query.size * key.shape[-2])  # fmt: skip
def attention(m, query, key, value, mask=None, keep=None, *, is_causal=False, scale=None, p=0.0):
    """softmax(QKᵀ / √d + mask) V, dropout on the weights (Vaswani et al., 2017, eq. 1)."""
    return matmul(m, _weights(m, query, key, mask, keep, is_causal, scale, p)[1], value)  # (…, L, Ev)


def _weights(m: Any, query: Any, key: Any, mask: Any, keep: Any, is_causal: bool, scale: Any, p: float) -> Any:
    """Attention weights before and after dropout, (…, L, S)."""
    scores = matmul(m, query, _swap(m, key)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        mask = _like(m, _module(getattr(query, "_array", query)).tri(query.shape[-2], key.shape[-2], dtype=bool), query)
    if mask is not None:
        boolean = str(mask.dtype).endswith("bool")
        scores = m.where(mask, scores, -math.inf) if boolean else scores + mask
    weights = softmax(m, scores, dim=-1)
    if mask is not None:  # a row with nothing to attend to is all -∞: its weights are 0, not NaN
        top = m.max(scores, axis=-1, keepdims=True)
        weights = m.where(top == -math.inf, 0.0, weights)
    return weights, weights if keep is None else dropout_apply(m, weights, keep, p=p)


@attention.vjp
def _(m, g, query, key, value, mask, keep, is_causal, scale, p, needs):
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    weights, dropped = _weights(m, query, key, mask, keep, is_causal, scale, p)
    by_value = matmul(m, _swap(m, dropped), g)
    by_weights = matmul(m, g, _swap(m, value))
    if keep is not None:
        by_weights = dropout_apply(m, by_weights, keep, p=p)
    by_scores = weights * (by_weights - m.sum(weights * by_weights, axis=-1, keepdims=True))
    return matmul(m, by_scores, key) * factor, matmul(m, _swap(m, by_scores), query) * factor, by_value, by_scores, None
