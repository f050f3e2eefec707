"""Losses and layers as functions, in PyTorch's argument order (``torch.nn.functional``)."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

from .. import autograd, backend, dtypes
from ..autograd import apply, wrap
from ..op import OPS, composite
from .arguments import NONE, placed, row, tensor_of
from .arithmetic import abs_of
from .reductions import mean, norm, sum, var
from .shapes import expand_as


def _reduction(name: str, reduction: str, size_average: Any, reduce: Any) -> str:
    """PyTorch's older two flags, when given, say the reduction."""
    if size_average is None and reduce is None:
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(
                f"{name}: {reduction} is not a valid value for reduction; expected 'none', 'mean' or 'sum'"
            )
        return reduction
    warnings.warn(
        f"{name}: size_average and reduce args will be deprecated, please use reduction instead",
        UserWarning,
        stacklevel=4,
    )
    return "none" if reduce is False else "sum" if size_average is False else "mean"


def _like_sized(name: str, input: Any, target: Any) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"{name}: Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}). "
            f"This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            UserWarning, stacklevel=4,
        )  # fmt: skip


@composite(method=False)
def mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """(x - y)², weighted, then averaged, summed, or element by element."""
    reduction = _reduction("mse_loss", reduction, size_average, reduce)
    _like_sized("mse_loss", input, target)
    if weight is None:
        return row("mse_loss", input, target, reduction=reduction)
    return _reduced(row("mse_loss", input, target, reduction="none"), reduction, weight)


def _reduced(losses: Any, reduction: str, weight: Any = None) -> Any:
    """The losses, weighted; their sum; or their mean, which is over Σ weight."""
    if weight is not None:
        losses = weight * losses
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    return mean(losses) if weight is None else sum(losses) / sum(expand_as(weight, losses))


@composite(method=False)
def l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """|x - y|, averaged, summed, or element by element."""
    reduction = _reduction("l1_loss", reduction, size_average, reduce)
    _like_sized("l1_loss", input, target)
    return _reduced(abs_of(input - target), reduction, weight)


@composite(method=False)
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½d² where |d| ≤ δ, δ(|d| - ½δ) elsewhere, d = x - y (Huber, 1964)."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: does not support non-positive values for delta, got {delta}")
    d = input - target
    size = abs_of(d)
    return _reduced(
        row("where", size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta)),
        _reduction("huber_loss", reduction, None, None),
    )


@composite(method=False)
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """½d²/β where |d| < β, |d| - ½β elsewhere, d = x - y (Girshick, 2015)."""
    reduction = _reduction("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: does not support negative values for beta, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _like_sized("smooth_l1_loss", input, target)
    d = input - target
    size = abs_of(d)
    return _reduced(row("where", size < beta, 0.5 * d * d / beta, size - 0.5 * beta), reduction)


@composite(method=False)
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """y (ln y - x) of log-probabilities x; reduction "batchmean" divides the sum by the batch."""
    name = "sum" if reduction == "batchmean" else _reduction("kl_div", reduction, size_average, reduce)
    if log_target:
        losses = row("exp", target) * (target - input)
    else:
        none = target == 0  # 0 ln 0 is 0
        safe = row("where", none, 1.0, target)
        losses = row("where", none, 0.0, target * row("log", safe)) - target * input
    total = _reduced(losses, name)
    return total / input.shape[0] if reduction == "batchmean" and input.ndim else total


@composite(method=False)
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    """-(y ln p + (1 - y) ln(1 - p)) of a probability p; the logarithms stop at -100."""
    reduction = _reduction("binary_cross_entropy", reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(f"binary_cross_entropy: Using a target size ({list(target.shape)}) that is different to the input "
                         f"size ({list(input.shape)}) is deprecated. Please ensure they have the same size.")  # fmt: skip
    return row("binary_cross_entropy", input, target, weight, reduction=reduction)


@composite(method=False)
def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None,
                                     reduction: str = "mean", pos_weight: Any = None) -> Any:  # fmt: skip
    """-(w₊ y ln σ(x) + (1 - y) ln(1 - σ(x))) of a logit x, without overflow."""
    reduction = _reduction("binary_cross_entropy_with_logits", reduction, size_average, reduce)
    return row("binary_cross_entropy_with_logits", input, target, weight, pos_weight, reduction=reduction)


def _check_classes(name: str, input: Any, weight: Any) -> None:
    """Refuses scores that aren't floats, and weights that aren't one for each class."""
    x = tensor_of(name, input)
    if x.dtype.category != 2:
        raise NotImplementedError(
            f"{name}: not implemented for {x.dtype}; expected floating point, convert with .float()"
        )
    classes = x.shape[1 if x.ndim > 1 else 0] if x.ndim else 1
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"{name}: weight tensor should be defined either for all {classes} classes or no classes but got "
                           f"weight tensor of shape: {list(weight.shape)}; give one number for each class")  # fmt: skip


@composite(method=False)
def nll_loss(input: Any, target: Any, weight: Any = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
             reduction: str = "mean") -> Any:  # fmt: skip
    """-wᵧ x[y] of log-probabilities x; the mean is weighted by wᵧ."""
    reduction = _reduction("nll_loss", reduction, size_average, reduce)
    _check_classes("nll_loss", input, weight)
    return row("nll_loss", input, target, weight, ignore_index=ignore_index, reduction=reduction)[0]


@composite(method=False)
def cross_entropy(input: Any, target: Any, weight: Any = None, size_average: Any = None, ignore_index: int = -100,
                  reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """-Σₖ qₖ wₖ ln softmax(x)ₖ; q is the class index's one-hot, or the given probabilities, smoothed.

    input (C,), (N, C) or (N, C, d₁, …) logits; target class indices of shape (), (N,) or (N, d₁, …), or
    probabilities of input's shape. The mean over indices is weighted by w of the class, without those
    equal to ignore_index; over probabilities it divides by the number of positions, as in PyTorch.
    """
    reduction = _reduction("cross_entropy", reduction, size_average, reduce)
    _check_classes("cross_entropy", input, weight)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if target.dtype.category != 2:
        return row("cross_entropy", input, target, weight, ignore_index=ignore_index, reduction=reduction,
                    label_smoothing=label_smoothing)[0]  # fmt: skip
    if target.shape != input.shape:
        raise RuntimeError(f"cross_entropy: expected class probabilities of the input's shape {list(input.shape)}, got "
                           f"{list(target.shape)}; for class indices pass integers")  # fmt: skip
    dim = 1 if input.ndim > 1 else 0
    classes = input.shape[dim]
    q = target * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else target
    if weight is not None:
        q = q * weight.reshape((-1,) + (1,) * builtins.max(input.ndim - 2, 0))
    losses = -sum(q * row("log_softmax", input, dim=dim), dim)
    return (
        losses
        if reduction == "none"
        else sum(losses)
        if reduction == "sum"
        else sum(losses) / (input.numel() // classes)
    )


@composite(method=False)
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b: input (…, in), weight (out, in) or (in,), bias (out,)."""
    if weight.ndim == 1:  # PyTorch's form without the dimension of outputs
        y = row("matmul", input, weight)
        return y if bias is None else y + bias
    return apply(OPS["linear"], (input, weight, bias), NONE)


@composite(method=False)
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - μ) / √(σ² + ε) · w + b over the last dimensions (Ba et al., 2016)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return row("layer_norm", input, weight, bias, normalized_shape=shape, eps=eps)


@composite(method=False)
def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    """x / √(mean(x²) + ε) · w over the last dimensions (Zhang & Sennrich, 2019)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if tuple(input.shape[input.ndim - len(shape) :]) != shape:
        raise RuntimeError(f"rms_norm: Given normalized_shape={list(shape)}, expected input with shape [*, "
                           f"{', '.join(map(str, shape))}], but got input of size {list(input.shape)}")  # fmt: skip
    eps = dtypes.finfo(input.dtype).eps if eps is None else eps
    return row("rms_norm", input, weight, normalized_shape=shape, eps=eps)


@composite(method=False)
def batch_norm(input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5) -> Any:  # fmt: skip
    """(x - μ) / √(σ² + ε) · w + b by channel (Ioffe & Szegedy, 2015).

    Training: μ and σ² of the batch, and the running ones move towards them in place (the variance with
    n - 1). Otherwise the running ones are used.
    """
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected at least 2D input (N, C, …), got {input.ndim}D")
    channels, n = input.shape[1], input.numel() // builtins.max(input.shape[1], 1)
    for name, x in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if x is not None and x.numel() != channels:
            raise RuntimeError(f"batch_norm: {name} should contain {channels} elements not {x.numel()}")
    if training:
        if n <= 1:
            raise ValueError(
                f"batch_norm: Expected more than 1 value per channel when training, got input size {list(input.shape)}"
            )
        if running_mean is not None and running_var is not None:
            dims = (0, *range(2, input.ndim))
            with autograd.no_grad():
                running_mean.copy_(
                    (1 - momentum) * running_mean + momentum * mean(input, dims).to(running_mean.dtype)
                )
                running_var.copy_(
                    (1 - momentum) * running_var + momentum * var(input, dims).to(running_var.dtype)
                )
        running_mean = running_var = None
    elif running_mean is None or running_var is None:
        raise RuntimeError(
            "batch_norm: Expected running_mean and running_var to be defined when training=False"
        )
    return row("batch_norm", input, running_mean, running_var, weight, bias, training=training, eps=eps)


@composite(method=False)
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """x / (1 - p) where kept, with probability 1 - p, and 0 elsewhere (Srivastava et al., 2014)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    keep = keep_mask(input, p)
    return placed("dropout_", input, inplace, lambda x: row("dropout", x, keep, p=p))


def keep_mask(like: Any, p: float, shape: Any = None) -> Any:
    """A boolean mask, true with probability 1 - p, from the generator in force."""
    from ..generator import kept, sample

    shape = tuple(like.shape if shape is None else shape)
    return wrap(sample("dropout", kept, backend.module_of(like._array), None, shape=shape, p=p))


@composite(method=False)
def embedding(input: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Any:  # fmt: skip
    """weight[input]: a row of the table for each index; the row at padding_idx gets no gradient.

    max_norm first rescales, in place, the rows used whose norm is larger.
    """
    if sparse:
        raise RuntimeError("embedding: sparse gradients are not supported; leave sparse=False")
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got {weight.ndim}D")
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise ValueError(
                f"embedding: Padding_idx must be within num_embeddings {weight.shape[0]}, got {padding_idx}"
            )
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        with autograd.no_grad():
            input._on_host("max_norm")
            rows = wrap(backend.module_of(weight._array).m.unique(input._array))
            used = row("embedding", rows, weight.detach())[0:]
            sizes = norm(used, norm_type, 1, True)
            weight[rows] = row("where", sizes > max_norm, used * (max_norm / (sizes + 1e-7)), used)
    return row("embedding", input, weight, padding_idx=-1 if padding_idx is None else padding_idx,
                scale_grad_by_freq=scale_grad_by_freq)  # fmt: skip
