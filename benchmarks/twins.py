"""The workloads for libraries of pure functions, in the names that they share with NumPy.

``np`` is ``jax.numpy``, ``autograd.numpy`` or tinygrad's Tensor under those names (``peers``), and has one name more:
``constant(x)``, whose gradient isn't asked for. Here are the formulas alone; gradients are the libraries' work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Parameters = Mapping[str, Any]


def linear(p: Parameters, name: str, x: Any) -> Any:
    """x Wᵀ + b."""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def layer_norm(np: Any, x: Any, weight: Any, bias: Any) -> Any:
    """(x − mean)/σ · weight + bias over the last axis."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * weight + bias


def batch_norm_relu(np: Any, x: Any, weight: Any, bias: Any) -> Any:
    """relu((x − mean)/σ · weight + bias), mean and σ of each channel over the batch, of (N, C, H, W)."""
    centred = x - np.mean(x, axis=(0, 2, 3), keepdims=True)
    variance = np.mean(centred * centred, axis=(0, 2, 3), keepdims=True)
    weight, bias = (np.reshape(p, (1, x.shape[1], 1, 1)) for p in (weight, bias))
    return np.maximum(centred / np.sqrt(variance + 1e-5) * weight + bias, 0.0)


def gelu(np: Any, x: Any) -> Any:
    """The tanh formula. Source: Hendrycks & Gimpel, 2016."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def bias_gelu(np: Any, x: Any, bias: Any) -> Any:
    """gelu(x + bias)."""
    return gelu(np, x + bias)


def cross_entropy(np: Any, logits: Any, y: Any) -> Any:
    """The mean of −log softmax(logits)[y]."""
    shifted = logits - np.constant(np.max(logits, axis=1, keepdims=True))
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - shifted[np.arange(len(y)), y])


def attention(np: Any, q: Any, k: Any, v: Any, *, causal: bool) -> Any:
    """softmax(QKᵀ/√D)V, of (B, H, T, D)."""
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, T)
    if causal:
        at = np.arange(q.shape[-2])
        scores = np.where(at[:, None] >= at, scores, -math.inf)
    parts = np.exp(scores - np.constant(np.max(scores, axis=-1, keepdims=True)))
    return parts / np.sum(parts, axis=-1, keepdims=True) @ v


def classifier(np: Any, p: Parameters, x: Any, y: Any) -> Any:
    """The loss of 784-128-10 with ReLU."""
    return cross_entropy(np, linear(p, "2", np.maximum(linear(p, "0", x), 0.0)), y)


def gpt2_block(np: Any, p: Parameters, x: Any, *, heads: int) -> Any:
    """x + attention(ln(x)), x + mlp(ln(x)), of (B, T, width)."""
    batch, tokens, width = x.shape

    def apart(part: Any) -> Any:  # (B, H, T, D)
        return np.swapaxes(np.reshape(part, (batch, tokens, heads, width // heads)), 1, 2)

    qkv = linear(p, "qkv", layer_norm(np, x, p["ln_1.weight"], p["ln_1.bias"]))
    q, k, v = (apart(qkv[:, :, i * width : (i + 1) * width]) for i in range(3))
    seen = np.reshape(np.swapaxes(attention(np, q, k, v, causal=True), 1, 2), (batch, tokens, width))
    x = x + linear(p, "projection", seen)
    hidden = gelu(np, linear(p, "up", layer_norm(np, x, p["ln_2.weight"], p["ln_2.bias"])))
    return x + linear(p, "down", hidden)


def adam(lr: float, decay: float) -> Callable[..., list[Any]]:
    """Adam's step with decoupled decay: parameter, gradient, both moments, number of the step → the new three.

    Source: Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.
    """

    def update(np: Any, step: Any, state: Sequence[Any]) -> list[Any]:
        p, g, m, v = state
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * (g * g)
        first, second = 1.0 - np.exp(step * math.log(0.9)), 1.0 - np.exp(step * math.log(0.999))
        return [p * (1.0 - lr * decay) - lr / first * m / (np.sqrt(v) / np.sqrt(second) + 1e-8), m, v]

    return update
