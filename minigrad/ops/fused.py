"""The readable twins of the hot-path kernels: losses, normalisation, linear, dropout, embedding.

Each row is the whole definition. Fast versions register in ``kernels/`` and are tested against these.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ..op import bools, case, floats, ints
from ..op import op as declare
from .index import one_hot, unpick
from .linalg import _text
from .reduce import mean, softmax, sum
from .shape import to

op = functools.partial(declare, public=False, method=False)  # layers.py has PyTorch's argument forms


def _reduced(m: Any, losses: Any, reduction: str, name: str) -> Any:
    if reduction == "mean":
        return mean(m, losses)
    if reduction == "sum":
        return sum(m, losses)
    if reduction != "none":
        raise ValueError(
            f"{name}: {reduction} is not a valid value for reduction; expected 'none', 'mean' or 'sum'"
        )
    return losses


def _scaled(g: Any, shape: tuple[int, ...], reduction: str) -> Any:
    """The gradient by each loss before the reduction."""
    if reduction != "mean":
        return g
    n = math.prod(shape)
    return g / n if n else g


@op(promote="match", cases=[case((5, 3), (2, 3), (2,)), case((2, 5, 3), (4, 3)), case((3,), (2, 3), (2,))],
    flops=lambda x, weight, bias, out: 2 * x.size * weight.shape[0])  # fmt: skip
def linear(m, x, weight, bias=None):
    """x Wᵀ + b, with W of shape (out, in)."""
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[-1]:
        raise RuntimeError(f"linear: mat1 and mat2 shapes cannot be multiplied ({_text(x)} and "
                           f"{'x'.join(map(str, weight.shape[::-1]))}): expected inputs with {weight.shape[-1:]} "
                           f"features in the last dimension, got shape {x.shape}")  # fmt: skip
    if x.ndim == 2 and x.shape[0] < weight.shape[0]:  # BLAS is quicker with the larger matrix on the left
        y = m.ascontiguousarray(m.matmul(weight, x.T).T)
    else:
        y = m.matmul(x, weight.T)
    return y if bias is None else y + bias


@linear.vjp
def _(m, g, x, weight, needs):
    positions, (outs, ins) = math.prod(x.shape[:-1]), weight.shape
    flat = g.reshape(positions, outs)
    by_x = m.matmul(flat, weight).reshape(x.shape) if needs[0] else None
    by_weight = m.matmul(flat.T, x.reshape(positions, ins)) if needs[1] else None
    return by_x, by_weight, sum(m, flat, dim=0) if needs[2] else None


@op(promote="match", constant=("weight", "scale"), cases=[
    case((5, 3), ints((2, 3), 128, -127), floats((2,), 0.01, 0.1), (2,)), case((2, 2, 3), ints((4, 3), 128, -127), floats((4,), 0.01, 0.1)),
], flops=lambda x, weight, scale, bias, out: 2 * x.size * weight.shape[0])  # fmt: skip
def int8_linear(m, x, weight, scale, bias=None):
    """x (s W)ᵀ + b, with W (out, in) of int8 and a scale s (out,) for each output channel (Dettmers et al., 2022, section 2.1)."""
    y = m.matmul(x, to(m, weight, dtype=x.dtype).T) * scale
    return y if bias is None else y + bias


@int8_linear.vjp
def _(m, g, x_shape, weight, scale, needs):
    flat = m.reshape(g, (math.prod(x_shape[:-1]), weight.shape[0]))
    by_x = m.reshape(m.matmul(flat, weight * scale[:, None]), x_shape) if needs[0] else None
    return by_x, None, None, sum(m, flat, dim=0) if needs[3] else None


@op(
    promote="same",
    cases=[
        case((3, 4), (3, 4)),
        case((3, 4), (3, 4), reduction="sum"),
        case((3, 4), (4,)),
        case((4,), (3, 4)),
    ],
)
def mse_loss(m, x, target, *, reduction="mean"):
    """(x - y)², averaged, summed, or element by element."""
    return _reduced(m, m.square(x - target), reduction, "mse_loss")


@mse_loss.vjp
def _(m, g, x, target, reduction):
    by_x = 2 * _scaled(g, (x - target).shape, reduction) * (x - target)
    return by_x, -by_x


@op(promote="same", cases=[
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


@op(promote="same", flops=16, analytic=False, cases=[
    case((3, 4), (3, 4)), case((3, 4), (3, 4), (4,), (4,), reduction="sum"), case((3,), (3,), None, (1,), reduction="none"),
])  # fmt: skip
def binary_cross_entropy_with_logits(m, x, target, weight=None, pos_weight=None, *, reduction="mean"):
    """-(w₊ y ln σ(x) + (1 - y) ln(1 - σ(x))), in the form max(-x, 0) + ln(1 + e^-|x|) that can't overflow."""
    if x.shape != target.shape:
        raise ValueError(f"binary_cross_entropy_with_logits: Target size ({target.shape}) must be the same as input "
                         f"size ({x.shape}); reshape one of them")  # fmt: skip
    unlikely = m.maximum(-x, 0.0) + m.log1p(m.exp(-m.abs(x)))  # -ln σ(x)
    losses = (1 - target) * x + (
        unlikely if pos_weight is None else (1 + (pos_weight - 1) * target) * unlikely
    )
    return _reduced(
        m, losses if weight is None else losses * weight, reduction, "binary_cross_entropy_with_logits"
    )


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


def _classes_last(m: Any, x: Any) -> Any:
    """(C,), (N, C, d₁ …) as a matrix (positions, C)."""
    n = len(x.shape)
    if n <= 2:
        return x if n == 2 else x.reshape(1, x.shape[0])
    size = x.shape[0] * math.prod(x.shape[2:])
    return m.reshape(m.permute_dims(x, (0, *range(2, n), 1)), (size, x.shape[1]))


def _classes_second(m: Any, flat: Any, shape: tuple[int, ...]) -> Any:
    """The inverse of :func:`_classes_last`."""
    n = len(shape)
    if n <= 2:
        return flat.reshape(shape)
    split = m.reshape(flat, (shape[0], *shape[2:], shape[1]))
    return m.permute_dims(split, (0, n - 1, *range(1, n - 1)))


def _labels(m: Any, name: str, x: Any, target: Any, ignore_index: int) -> tuple[Any, Any]:
    """Checked class indices, the ignored ones pointed at class 0, and which aren't ignored."""
    if not x.ndim or target.shape != x.shape[:1] * (x.ndim > 1) + x.shape[2:]:
        raise ValueError(f"{name}: Expected input batch_size ({x.shape[0] if x.ndim else 0}) to match target batch_size "
                         f"({target.shape[0] if target.ndim else 0}): for input (N, C, d₁ …) of shape {x.shape} a target "
                         f"(N, d₁ …), got {target.shape}")  # fmt: skip
    if target.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: expected scalar type Long but found {target.dtype}: class indices are "
                           f"integers; convert with .long()")  # fmt: skip
    classes, flat = x.shape[1 if x.ndim > 1 else 0], target.reshape(-1)
    keep = flat != ignore_index
    labels = m.where(keep, flat, 0)
    if labels.size and not 0 <= (low := labels.min()) <= (high := labels.max()) < classes:
        raise IndexError(
            f"{name}: Target {low if low < 0 else high} is out of bounds: expected class indices 0 ≤ target < "
            f"{classes}; check the labels or the size of the last layer"
        )
    return labels, keep


def _share(m: Any, x: Any, labels: Any, keep: Any, weight: Any, reduction: str) -> tuple[Any, Any]:
    """The weight wᵧ of each position, and the 1 of each that counts: over Σ wᵧ for the mean."""
    even = keep.astype(x.dtype)
    own = even if weight is None else m.where(keep, m.take(weight, labels), 0)
    if reduction != "mean":
        return own, even
    total = own.sum()
    share = own / total
    return share, share if own is even else even / total


def _positions(losses: Any, shape: tuple[int, ...], reduction: str) -> Any:
    if reduction == "none":
        return losses.reshape(shape)
    return losses.sum() if losses.size or reduction == "sum" else losses.sum() / 0  # the mean of nothing


NLL = (
    case((4, 3), ints((4,), 3)), case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), ignore_index=1),
    case((2, 3, 2, 2), ints((2, 2, 2), 3), reduction="sum"), case((3,), ints((), 3), reduction="none"),
    case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), reduction="none"),
)  # fmt: skip


@op(promote="match", constant=("target", "weight"), outputs=("out", "share"), cases=NLL)
def nll_loss(m, x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """-Σᵢ sᵢ x[i, yᵢ] of log-probabilities x; the share sᵢ is wᵧ, over Σ wᵧ for the mean."""
    labels, keep = _labels(m, "nll_loss", x, target, ignore_index)
    share, _ = _share(m, x, labels, keep, weight, reduction)
    picked = m.take_along_axis(_classes_last(m, x), labels[:, None], axis=1)[:, 0]
    losses = -share * m.where(keep, picked, 0)  # an ignored -∞ must not make NaN
    return _positions(losses, target.shape, reduction), share


@nll_loss.vjp
def _(m, g, target, share, x_shape, ignore_index, reduction):
    flat = m.reshape(target, (-1,))
    labels = m.reshape(m.where(flat == ignore_index, 0, flat), (-1, 1))
    by_picked = m.reshape(-(m.reshape(g, (-1,)) * share), (-1, 1))
    classes = x_shape[1 if len(x_shape) > 1 else 0]
    return _classes_second(m, unpick(m, by_picked, labels, shape=(labels.shape[0], classes), dim=1), x_shape)


CE = (
    *NLL, case((4, 3), ints((4,), 3), label_smoothing=0.1), case((2, 3, 2), ints((2, 2), 3), label_smoothing=0.1, reduction="none"),
    case((4, 3), ints((4,), 3), floats((3,), 0.5, 2), label_smoothing=0.3, ignore_index=0),
)  # fmt: skip


@op(
    promote="match",
    constant=("target", "weight"),
    outputs=("out", "own", "even", "top", "total"),
    cases=CE,
    flops=16,
)
def cross_entropy(m, x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-Σᵢ sᵢ ((1 - ε) ln pᵢ[yᵢ] + ε / C Σₖ ln pᵢ[k]), p = softmax(x); the share sᵢ is 1, over n for the mean.

    With weights the first sᵢ is wᵧ, the terms of the second have wₖ, and the mean divides by Σ wᵧ. A
    kernel's rule reads each position's largest xₖ, top, and total = Σₖ exp(xₖ - top).
    """
    labels, keep = _labels(m, "cross_entropy", x, target, ignore_index)
    own, even = _share(m, x, labels, keep, weight, reduction)
    flat = _classes_last(m, x)
    top = (m.max if flat.size else m.sum)(flat, axis=1, keepdims=True)
    total = m.sum(m.exp(flat - top), axis=1, keepdims=True)
    log_p = flat - top - m.log(total)
    losses = -own * m.where(keep, log_p[m.arange(labels.size), labels], 0)  # an ignored -∞ must not make NaN
    if label_smoothing:
        spread = m.sum(log_p if weight is None else log_p * weight, axis=1)
        losses = (1 - label_smoothing) * losses - label_smoothing / max(log_p.shape[1], 1) * even * m.where(
            keep, spread, 0
        )
    return _positions(losses, target.shape, reduction), own, even, top, total


@cross_entropy.vjp
def _(m, g, x, target, weight, own, even, top, total, ignore_index, reduction, label_smoothing):
    p = softmax(m, _classes_last(m, x), dim=1)  # not of top and total, which don't tell how they depend on x
    hot = one_hot(m, target.reshape(-1), num_classes=p.shape[1])  # an ignored position has a share of 0
    by_loss = g.reshape(-1) if reduction == "none" else g
    by_flat = (by_loss * own)[:, None] * m.where(hot, p - 1, p)
    if label_smoothing:
        spread = p * p.shape[1] - 1 if weight is None else p * m.sum(weight) - weight
        by_flat = (1 - label_smoothing) * by_flat
        by_flat = by_flat + (by_loss * even)[:, None] * (label_smoothing / max(p.shape[1], 1)) * spread
    return _classes_second(m, by_flat, x.shape)


def _last(shape: tuple[int, ...], normalized_shape: Any) -> tuple[int, ...]:
    return tuple(range(len(shape) - len(normalized_shape), len(shape)))


@op(promote="match", flops=9, cases=[
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


def _normalised_gradients(
    m: Any, g: Any, x: Any, weight: Any, dims: tuple[int, ...], eps: float, needs: Any
) -> Any:
    """Gradients of y = x̂ w + b with x̂ = (x - μ) / σ: by x it is (h - h̄ - x̂ · mean(h x̂)) / σ with h = g w."""
    centred = x - mean(m, x, dim=dims, keepdim=True)
    sigma = m.sqrt(mean(m, m.square(centred), dim=dims, keepdim=True) + eps)
    y = centred / sigma
    by_x = None
    if needs[0]:
        h = g if weight is None else g * weight
        by_x = (h - mean(m, h, dim=dims, keepdim=True) - y * mean(m, h * y, dim=dims, keepdim=True)) / sigma
    return by_x, g * y if needs[1] else None, g if needs[2] else None


@op(promote="same", flops=6, cases=[
    case((3, 4), (4,), normalized_shape=(4,), eps=1e-6), case((2, 3, 4), None, normalized_shape=(3, 4), eps=1e-3),
])  # fmt: skip
def rms_norm(m, x, weight=None, *, normalized_shape, eps):
    """x / √(mean(x²) + ε) · w over the last dimensions (Zhang & Sennrich, 2019)."""
    y = x / m.sqrt(mean(m, m.square(x), dim=_last(x.shape, normalized_shape), keepdim=True) + eps)
    return y if weight is None else y * weight


@rms_norm.vjp
def _(m, g, x, weight, normalized_shape, eps, needs):
    dims = _last(x.shape, normalized_shape)
    rms = m.sqrt(mean(m, m.square(x), dim=dims, keepdim=True) + eps)
    y, h = x / rms, g if weight is None else g * weight
    return (h - y * mean(m, h * y, dim=dims, keepdim=True)) / rms, g * y if needs[1] else None


@op(promote="match", flops=9, constant=("running_mean", "running_var"), cases=[
    case((4, 3), None, None, (3,), (3,), training=True), case((4, 3, 2), floats((3,), -1, 1), floats((3,), 0.5, 2), (3,), (3,)),
    case((2, 3, 4), training=True, eps=1e-2), case((4, 3), floats((3,), -1, 1), floats((3,), 0.5, 2), eps=1e-2),
])  # fmt: skip
def batch_norm(
    m, x, running_mean=None, running_var=None, weight=None, bias=None, *, training=False, eps=1e-5
):
    """(x - μ) / √(σ² + ε) · w + b by channel, μ and σ² of the batch when training (Ioffe & Szegedy, 2015)."""
    dims, across = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    if training:
        centred = x - mean(m, x, dim=dims, keepdim=True)
        y = centred / m.sqrt(mean(m, m.square(centred), dim=dims, keepdim=True) + eps)
    else:
        y = (x - m.reshape(running_mean, across)) / m.sqrt(m.reshape(running_var, across) + eps)
    y = y if weight is None else y * m.reshape(weight, across)
    return y if bias is None else y + m.reshape(bias, across)


@batch_norm.vjp
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


@op(promote="match", constant=("keep",), cases=[case((3, 4), bools((3, 4)), p=0.3)])
def dropout(m, x, keep, *, p):
    """x / (1 - p) where kept, 0 elsewhere (Srivastava et al., 2014)."""
    return x * keep.astype(x.dtype) * x.dtype.type(1 / (1 - p) if p < 1 else 0.0)


@dropout.vjp
def _(m, g, keep, p):
    return m.where(keep, g * (1 / (1 - p) if p < 1 else 0.0), 0.0)


@op(constant=("x",), surrogate=("padding_idx", "scale_grad_by_freq"), cases=[
    case(ints((2, 3), 5), (5, 4)), case(ints((2, 3), 5), (5, 2), padding_idx=1), case(ints((6,), 4), (4, 2), scale_grad_by_freq=True),
])  # fmt: skip
def embedding(m, x, weight, *, padding_idx=-1, scale_grad_by_freq=False):
    """weight[x]: one row for each index; the row at padding_idx gets no gradient."""
    if x.dtype.kind not in "iu":
        raise RuntimeError(
            f"embedding: Expected indices of dtype int64 or int32, got {x.dtype}; convert with .long()"
        )
    if x.size and (m.min(x) < 0 or m.max(x) >= weight.shape[0]):
        bad = int(m.min(x) if m.min(x) < 0 else m.max(x))
        raise IndexError(f"embedding: index out of range in self: got {bad}, expected 0 ≤ index < {weight.shape[0]}, "
                         f"the number of embeddings")  # fmt: skip
    return m.take(weight, x, axis=0)


@embedding.vjp
def _(m, g, x, weight_shape, padding_idx, scale_grad_by_freq):
    if padding_idx >= 0:
        g = m.where(m.expand_dims(x != padding_idx, -1), g, 0)
    flat = m.reshape(x, (-1,))
    rows = m.reshape(g, (flat.shape[0], weight_shape[1]))
    if scale_grad_by_freq:
        count = m.take(m.bincount(flat, minlength=weight_shape[0]), flat, axis=0)
        rows = rows / m.expand_dims(count, 1)
    return unembed(m, rows, flat, rows=weight_shape[0])


@op(constant=("index",), public=False, cases=[case((4, 3), ints((4,), 5), rows=5)])
def unembed(m, x, index, *, rows):
    """Zeros of shape (rows, C) with the rows of x added where index says: the transpose of embedding."""
    out = m.zeros((rows, x.shape[1]), dtype=x.dtype)
    m.add.at(out, index, x)
    return out


@unembed.vjp
def _(m, g, index):
    return embedding(m, index, g)
