"""Functions that are random while training: the forms of dropout, rrelu, gumbel_softmax."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..op import composite
from .arguments import placed, row
from .creation import empty_like
from .indexing import scatter
from .layers import keep_mask

SELU_LIMIT = -1.7580993408473766  # -λα, what selu tends to at -∞


def _probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")


def _by_channel(name: str, input: Any, p: float, training: bool, inplace: bool, batched: bool = True) -> Any:
    """Dropout of whole channels: dimensions 0 and 1 of a batch, dimension 0 of a single sample."""
    _probability(name, p)
    if not training or p == 0:
        return input
    lead = 2 if batched else 1
    shape = (*input.shape[:lead], *(1,) * (input.ndim - lead))
    keep = keep_mask(input, p, shape).expand(input.shape)
    return placed(f"{name}_", input, inplace, lambda x: row("dropout", x, keep, p=p))


@composite(method=False)
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input; dropout takes any"
        )
    return _by_channel("dropout1d", input, p, training, inplace, batched=input.ndim == 3)


@composite(method=False)
def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, H, W). As in PyTorch, with a warning, (N, C, L) is taken so too."""
    if input.ndim < 2:
        raise RuntimeError(
            f"dropout2d: Feature dropout requires at least 2 dimensions in the input, got {input.ndim}"
        )
    if input.ndim != 4:
        warnings.warn(f"dropout2d: Received a {input.ndim}D input and assuming that dimension 1 holds the channels; use "
                      f"dropout1d or dropout for it", stacklevel=3)  # fmt: skip
    return _by_channel("dropout2d", input, p, training, inplace)


@composite(method=False)
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    if input.ndim < 2:
        raise RuntimeError(
            f"dropout3d: Feature dropout requires at least 2 dimensions in the input, got {input.ndim}"
        )
    if input.ndim not in (4, 5):
        warnings.warn(f"dropout3d: Received a {input.ndim}D input and assuming that dimension 1 holds the channels; use "
                      f"dropout for it", stacklevel=3)  # fmt: skip
    return _by_channel("dropout3d", input, p, training, inplace, batched=input.ndim != 4)


def _alpha(name: str, input: Any, p: float, training: bool, inplace: bool, shape: Any) -> Any:
    """a · (x where kept, α' elsewhere) + b, with a and b that keep mean and variance (Klambauer et al., 2017, eq. 15)."""
    _probability(name, p)
    if not training or p == 0:
        return input
    if p == 1:
        return placed(f"{name}_", input, inplace, lambda x: x * 0)
    a = 1 / math.sqrt((1 - p) * (1 + p * SELU_LIMIT**2))
    keep, b = keep_mask(input, p, shape), -a * p * SELU_LIMIT
    return placed(f"{name}_", input, inplace, lambda x: a * row("where", keep, x, SELU_LIMIT) + b)


@composite(method=False)
def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Drops to SELU's negative limit, keeping mean and variance (Klambauer et al., 2017)."""
    return _alpha("alpha_dropout", input, p, training, inplace, input.shape)


@composite(method=False)
def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """alpha_dropout of whole channels, dimension 1."""
    if input.ndim < 2:
        raise RuntimeError(
            f"feature_alpha_dropout: Feature dropout requires at least 2 dimensions in the input, got {input.ndim}"
        )
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha("feature_alpha_dropout", input, p, training, inplace, shape)


@composite
def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    """x where x > 0, a·x elsewhere, a from U(lower, upper) while training, their mean otherwise (Xu et al., 2015)."""
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    slope: Any = (lower + upper) / 2
    if training:
        slope = empty_like(input, requires_grad=False).uniform_(lower, upper)
    return placed("rrelu_", input, inplace, lambda x: row("where", x > 0, x, x * slope))


@composite(method=False)
def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """softmax((x + g) / τ), g from Gumbel's distribution: a soft sample of a class (Jang et al., 2017).

    ``hard`` gives the one-hot of its largest, with the gradient of the soft one. ``eps`` is PyTorch's, without effect.
    """
    gumbel = -empty_like(logits, requires_grad=False).exponential_().log()
    soft = row("softmax", (logits + gumbel) / tau, dim=dim)
    if not hard:
        return soft
    best = soft.detach().argmax(dim, keepdim=True)
    one_hot = scatter(soft.detach() * 0, dim, best, value=1.0)
    return one_hot - soft.detach() + soft
