"""Functions of pairs of vectors: distances, the bilinear form."""

from __future__ import annotations

from typing import Any

from ..op import composite
from .creation import triu_indices
from .products import einsum
from .reductions import norm


@composite(method=False)
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """‖x₁ - x₂ + eps‖ₚ along the last dimension."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@composite(method=False)
def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Any:
    """‖x₁[i] - x₂[j]‖ₚ of every pair of rows: (…, P, M) and (…, R, M) give (…, P, R).

    ``compute_mode`` chooses between roundings in PyTorch, and is taken; here differences are always formed.
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: expected (…, P, M) and (…, R, M), got {tuple(x1.shape)} and {tuple(x2.shape)}"
        )
    if p < 0:
        raise RuntimeError(f"cdist: only supports non-negative p values, got {p}")
    return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@composite(method=False)
def pdist(input: Any, p: float = 2.0) -> Any:
    """‖x[i] - x[j]‖ₚ of every pair of rows i < j of (N, M), in that order: (N(N - 1)/2,)."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist: only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError(f"pdist: only supports non-negative p values, got {p}")
    i, j = triu_indices(input.shape[0], input.shape[0], 1)
    return norm(input[i] - input[j], p, -1)


@composite(method=False)
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """x₁ᵀ Wₖ x₂ + bₖ: inputs (…, in1) and (…, in2), weight (out, in1, in2), bias (out,)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: input dimensions do not match: got {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    sizes = (input1.shape[-1], input2.shape[-1])
    if weight.ndim != 3 or tuple(weight.shape[1:]) != sizes:
        raise RuntimeError(
            f"bilinear: expected weight of shape (out, {sizes[0]}, {sizes[1]}), got {tuple(weight.shape)}"
        )
    y = einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias
