"""Losses of margins, rankings and likelihoods, composed (``torch.nn.functional``). Those of hot paths: ``layers.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import autograd, dtypes
from ..op import composite
from .arguments import row
from .arithmetic import clamp
from .creation import full_like, zeros
from .indexing import gather, scatter
from .layers import _reduced, _reduction
from .pairs import pairwise_distance
from .reductions import cumprod, sum


def _positive(x: Any) -> Any:
    return clamp(x, 0.0)


@composite(method=False)
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, -y (x₁ - x₂) + margin): x₁ should rank above x₂ where y = 1, below where y = -1."""
    reduction = _reduction("margin_ranking_loss", reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
                           f"{tuple(input1.shape)}, input2: {tuple(input2.shape)}, target: {tuple(target.shape)}")  # fmt: skip
    return _reduced(_positive(margin - target * (input1 - input2)), reduction)


@composite(method=False)
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """x where y = 1, max(0, margin - x) where y = -1."""
    reduction = _reduction("hinge_embedding_loss", reduction, size_average, reduce)
    far, near = (
        row("where", target == 1, 0.0, _positive(margin - input)),
        row("where", target == -1, 0.0, input),
    )
    return _reduced(far + near, reduction)


@composite(method=False)
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """1 - cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) - margin) where y = -1; vectors (N, D) or (D,)."""
    reduction = _reduction("cosine_embedding_loss", reduction, size_average, reduce)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(f"cosine_embedding_loss: expected inputs (N, D) and target (N,), or (D,) and (), got "
                           f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}")  # fmt: skip
    lengths = (sum(input1 * input1, -1) + 1e-12) * (sum(input2 * input2, -1) + 1e-12)
    cosine = sum(input1 * input2, -1) / row("sqrt", lengths)
    near = row("where", target == 1, 1 - cosine, 0.0)
    return _reduced(near + row("where", target == -1, _positive(cosine - margin), 0.0), reduction)


@composite(method=False)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    """ln(1 + e^(-yx)), y = ±1."""
    reduction = _reduction("soft_margin_loss", reduction, size_average, reduce)
    return _reduced(-row("logsigmoid", target * input), reduction)


@composite(method=False)
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, size_average: Any = None,
    reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Σⱼ w[y] max(0, margin - x[y] + x[j])ᵖ / C over j ≠ y: input (N, C) or (C,), class indices (N,) or ()."""
    reduction = _reduction("multi_margin_loss", reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if input.ndim not in (1, 2) or target.numel() != (input.shape[0] if input.ndim == 2 else 1):
        raise RuntimeError(f"multi_margin_loss: expected input (N, C) with target (N,), or (C,) with (), got "
                           f"{tuple(input.shape)} and {tuple(target.shape)}")  # fmt: skip
    y = target.reshape(-1, 1) if input.ndim == 2 else target.reshape(1)
    hinge = _positive(margin - gather(input, -1, y) + input)
    losses = hinge if p == 1 else hinge * hinge
    losses = losses if weight is None else losses * weight[y]
    return _reduced(sum(scatter(losses, -1, y, value=0.0), -1) / input.shape[-1], reduction)


@composite(method=False)
def multilabel_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    """Σ max(0, 1 - (x[y] - x[j])) / C over labels y and classes j that aren't labels.

    input and target (N, C) or (C,); a row's labels stand at the front of target and end at its first -1.
    """
    reduction = _reduction("multilabel_margin_loss", reduction, size_average, reduce)
    if input.shape != target.shape or input.ndim not in (1, 2):
        raise RuntimeError(f"multilabel_margin_loss: expected input and target of one shape (N, C) or (C,), got "
                           f"{tuple(input.shape)} and {tuple(target.shape)}")  # fmt: skip
    given = cumprod((target >= 0).to(dtypes.int64), -1)
    labels = target * given
    marked = zeros(input.shape, dtype=dtypes.int64).scatter_add(-1, labels, given) > 0
    gaps = 1 - (gather(input, -1, labels).unsqueeze(-1) - input.unsqueeze(-2))  # (…, label, class)
    counted = (given > 0).unsqueeze(-1) & ~marked.unsqueeze(-2)
    return _reduced(sum(row("where", counted, _positive(gaps), 0.0), (-2, -1)) / input.shape[-1], reduction)


@composite(method=False)
def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    """-w (y ln σ(x) + (1 - y) ln σ(-x)), averaged over the classes, the last dimension."""
    reduction = _reduction("multilabel_soft_margin_loss", reduction, size_average, reduce)
    losses = -(target * row("logsigmoid", input) + (1 - target) * row("logsigmoid", -input))
    losses = losses if weight is None else losses * weight
    return _reduced(sum(losses, -1) / input.shape[-1], reduction)


@composite(method=False)
def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[..., Any] | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin); ``swap`` takes d(p, n) where it is less (Balntas et al., 2016)."""
    name = "triplet_margin_with_distance_loss"
    reduction = _reduction(name, reduction, None, None)
    if margin <= 0:
        raise ValueError(f"{name}: expected margin to be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(f"{name}: The anchor, positive, and negative tensors are expected to have the same number of "
                           f"dimensions, but got: {anchor.ndim}, {positive.ndim} and {negative.ndim}")  # fmt: skip
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = row("minimum", far, distance(positive, negative))
    return _reduced(_positive(margin + near - far), reduction)


@composite(method=False)
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, ‖a - p‖ - ‖a - n‖ + margin); ``swap`` takes ‖p - n‖ where it is less (Balntas et al., 2016)."""

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    reduction = _reduction("triplet_margin_loss", reduction, size_average, reduce)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


@composite(method=False)
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, size_average: Any = None, eps: float = 1e-8,
    reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """eˣ - yx, or x - y ln(x + eps) without ``log_input``; ``full`` adds Stirling's approximation of ln y! where y > 1."""
    reduction = _reduction("poisson_nll_loss", reduction, size_average, reduce)
    losses = row("exp", input) - target * input if log_input else input - target * row("log", input + eps)
    if full:
        y = row("where", target > 1, target, 1.0)
        stirling = y * row("log", y) - y + 0.5 * row("log", 2 * math.pi * y)
        losses = losses + row("where", target > 1, stirling, 0.0)
    return _reduced(losses, reduction)


@composite(method=False)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """½(ln σ² + (x - y)²/σ²), σ² at least ``eps``, whose gradient takes no notice of it; ``full`` adds ½ ln 2π."""
    reduction = _reduction("gaussian_nll_loss", reduction, None, None)
    if isinstance(var, float):
        var = full_like(input, var)
    if var.numel() and bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss: var has negative entry/entries; pass a variance")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or [n for m, n in zip(input.shape, var.shape, strict=True) if m != n] != [
            1
        ]:
            raise ValueError(f"gaussian_nll_loss: var is of incorrect size: expected {tuple(input.shape)}, without its last "
                             f"dimension, or with one size 1, got {tuple(var.shape)}")  # fmt: skip
    var = var.clone()
    with autograd.no_grad():
        var.clamp_(min=eps)
    losses = 0.5 * (row("log", var) + (input - target) ** 2 / var)
    return _reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)
