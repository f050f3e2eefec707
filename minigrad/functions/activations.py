"""Activations of few uses, composed: no row of their own."""

from __future__ import annotations

import builtins
from typing import Any

from ..op import composite
from .arguments import dim_of, factor_of, placed, row
from .arithmetic import abs_of, clamp
from .reductions import norm, sum
from .shapes import broadcast_tensors, chunk


def _between(x: Any, low: float, high: float) -> Any:
    """min(max(x, low), high), with gradient 0 at the bounds, where clamp's is 1."""
    low, high = factor_of(x, low), factor_of(x, high)
    return row("where", (x > low) & (x < high), x, clamp(x.detach(), low, high))


@composite(method=False)
def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


@composite(method=False)
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """min(max(x, min_val), max_val)."""
    return placed("hardtanh_", input, inplace, lambda x: _between(x, min_val, max_val))


@composite(method=False)
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6."""
    return placed("hardsigmoid_", input, inplace, lambda x: _between(x + 3, 0.0, 6.0) / 6)


@composite(method=False)
def hardswish(input: Any, inplace: bool = False) -> Any:
    """x · hardsigmoid(x)."""
    return placed("hardswish_", input, inplace, lambda x: x * hardsigmoid(x))


@composite(method=False)
def selu(input: Any, inplace: bool = False) -> Any:
    """λ · elu(x, α) with the constants of Klambauer et al. (2017)."""
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return placed("selu_", input, inplace, lambda x: scale * row("elu", x, alpha=alpha))


@composite(method=False)
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """max(x, 0) + min(α(e^(x/α) - 1), 0) (Barron, 2017)."""

    def compute(x: Any) -> Any:
        return row("where", x > 0, x, alpha * row("elu", x / alpha, alpha=1.0))

    return placed("celu_", input, inplace, compute)


@composite
def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, weight · x elsewhere; one weight, or one for each channel (dimension 1)."""
    if weight.numel() > 1:
        weight = weight.reshape((-1,) + (1,) * builtins.max(input.ndim - 2, 0))
    return row("where", input > 0, input, weight * input)


@composite(method=False)
def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return input / (1 + abs_of(input))


@composite(method=False)
def tanhshrink(input: Any) -> Any:
    """x - tanh x."""
    return input - row("tanh", input)


@composite(method=False)
def mish(input: Any, inplace: bool = False) -> Any:
    """x · tanh(softplus(x)) (Misra, 2019)."""
    return placed("mish_", input, inplace, lambda x: x * row("tanh", row("softplus", x)))


@composite(method=False)
def glu(input: Any, dim: int = -1) -> Any:
    """The first half times the sigmoid of the second, along dim (Dauphin et al., 2017)."""
    n = input.shape[dim_of("glu", input, dim)] if input.ndim else 1
    if n % 2:
        raise RuntimeError(f"glu: Halving dimension must be even, but dimension {dim} is size {n}")
    a, b = chunk(input, 2, dim)
    return a * row("sigmoid", b)


@composite(method=False)
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖ₚ, ε) along dim."""
    return input / clamp(norm(input, p, dim, True), eps)


@composite(method=False)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x₁·x₂ / (max(‖x₁‖, ε) · max(‖x₂‖, ε)) along dim."""
    a, b = broadcast_tensors(x1, x2)
    return sum(a * b, dim) / (clamp(norm(a, 2, dim), eps) * clamp(norm(b, 2, dim), eps))
