"""Attention, what tells it positions, and its memory while a text is written: the readable twins of their kernels."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..op import bools, case, floats, ints
from ..op import op as declare
from .fused import dropout
from .linalg import _swap, matmul
from .reduce import softmax
from .shape import tril

op = functools.partial(
    declare, public=False, method=False
)  # functions/attention.py has PyTorch's argument forms


@op(promote="match", constant=("allowed", "keep"), cases=[
    case((2, 3, 4), (2, 5, 4), (2, 5, 2)), case((3, 4), (3, 4), (3, 4), is_causal=True),
    case((2, 3, 4), (2, 5, 4), (2, 5, 4), floats((3, 5), -1, 1), bools((3, 5)), bools((2, 3, 5)), scale=0.3, p=0.5),
], flops=lambda query, key, value, bias, allowed, keep, out: 4 * query.size * key.shape[-2])  # fmt: skip
def scaled_dot_product_attention(
    m, query, key, value, bias=None, allowed=None, keep=None, *, is_causal=False, scale=None, p=0.0
):
    """softmax(QKᵀ / √d + bias where allowed) V, dropout on the weights (Vaswani et al., 2017, eq. 1)."""
    return matmul(
        m, _weights(m, query, key, bias, allowed, keep, is_causal, scale, p)[1], value
    )  # (…, L, Ev)


def _scale(query: Any, scale: float | None) -> float:
    return 1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale


def _weights(
    m: Any, query: Any, key: Any, bias: Any, allowed: Any, keep: Any, is_causal: bool, scale: Any, p: float
) -> tuple[Any, Any]:
    """Attention weights before and after dropout, (…, L, S)."""
    scores = matmul(m, query, _swap(m, key)) * _scale(query, scale)
    if bias is not None:
        scores = scores + bias
    if allowed is not None:
        scores = m.where(allowed, scores, -math.inf)
    if is_causal:
        scores = m.where(tril(m, m.ones_like(scores)) > 0, scores, -math.inf)
    weights = softmax(m, scores, dim=-1)
    if (bias is not None or allowed is not None) and key.shape[
        -2
    ]:  # a row with nothing to attend to: zeros, not NaN
        weights = m.where(m.max(scores, axis=-1, keepdims=True) == -math.inf, 0.0, weights)
    return weights, weights if keep is None else dropout(m, weights, keep, p=p)


@scaled_dot_product_attention.vjp
def _(m, g, query, key, value, bias, allowed, keep, is_causal, scale, p, needs):
    factor = _scale(query, scale)
    weights, dropped = _weights(m, query, key, bias, allowed, keep, is_causal, scale, p)
    by_weights = matmul(m, g, _swap(m, value))
    if keep is not None:
        by_weights = dropout(m, by_weights, keep, p=p)
    by_scores = weights * (by_weights - m.sum(weights * by_weights, axis=-1, keepdims=True))
    return (
        matmul(m, by_scores, key) * factor if needs[0] else None,
        matmul(m, _swap(m, by_scores), query) * factor if needs[1] else None,
        matmul(m, _swap(m, dropped), g) if needs[2] else None,
        by_scores if needs[3] else None, None, None,
    )  # fmt: skip


# ---- positions -------------------------------------------------------------------------------------------


@op(promote="match", constant=("cos", "sin"), cases=[
    case((2, 3, 4), floats((3, 2), -1, 1), floats((3, 2), -1, 1)),
    case((2, 3, 4), floats((3, 2), -1, 1), floats((3, 2), -1, 1), interleaved=True),
], flops=lambda x, cos, sin, out: 3 * x.size)  # fmt: skip
def rotary_embedding(m, x, cos, sin, *, interleaved=False):
    """Each pair (a, b) of x's channels turned by its angle: (a cos - b sin, b cos + a sin) (Su et al., 2021, eq. 34).

    cos and sin (…, T, d/2) of the angles, x (…, T, d). A pair is channels i and i + d/2, or 2i and 2i + 1 if
    ``interleaved``.
    """
    half = x.shape[-1] // 2
    pairs = m.reshape(x, (*x.shape[:-1], half, 2) if interleaved else (*x.shape[:-1], 2, half))
    a, b = (pairs[..., 0], pairs[..., 1]) if interleaved else (pairs[..., 0, :], pairs[..., 1, :])
    turned = m.stack([a * cos - b * sin, b * cos + a * sin], axis=-1 if interleaved else -2)
    return m.reshape(turned, x.shape)


@rotary_embedding.vjp("x")
def _(m, g, cos, sin, interleaved):
    return rotary_embedding(m, g, cos, -sin, interleaved=interleaved)  # turned back


# ---- keys and values of what has been read ---------------------------------------------------------------


@op(promote="any", gradient=None, mutates=("cache", "scale"), cases=[
    case((1, 2, 4, 3), (1, 2, 2, 3), ints((), 2), bounded=True), case((1, 2, 4, 3), (1, 2, 2, 3), ints((), 4, 3)),
])  # fmt: skip
def write_cache(m, cache, new, position, scale=None, *, bounded=False):
    """new (B, H, L, D) written to the slots of positions position … position + L - 1 of cache (B, H, S, D).

    Position p has slot p mod S. With ``scale`` (B, H, S, 1), cache is int8 and a slot holds round(127 x / max|x|),
    its scale max|x| / 127 (Dettmers et al., 2022, section 2.1). ``bounded``: no slot may be written over.
    """
    last = int(position) + new.shape[2]
    if bounded and last > cache.shape[2]:
        raise RuntimeError(
            f"write_cache: position {last - 1} is beyond the cache's {cache.shape[2]}; make it longer or shorten the text"
        )
    slots = (int(position) + np.arange(new.shape[2])) % cache.shape[2]
    if scale is not None:
        steps = m.max(m.abs(new), axis=-1, keepdims=True) / 127
        scale[:, :, slots] = steps
        new = m.rint(new / m.where(steps > 0, steps, 1))
    cache[:, :, slots] = new


@op(promote="any", gradient=None, constant=("position", "start"), cases=[
    case((1, 4, 2, 3), (1, 2, 5, 3), (1, 2, 5, 3), ints((), 3), None, None, None, (4, 5)),
    case((1, 4, 2, 3), (1, 2, 5, 3), (1, 2, 5, 3), ints((), 3)),
    case((2, 2, 1, 3), (2, 2, 5, 3), (2, 2, 5, 3), ints((), 4, 3), ints((2,), 3), scale=0.3, window=3),
    case((2, 2, 1, 3), (2, 2, 5, 3), (2, 2, 5, 3), ints((), 4, 3), None, floats((2, 2, 5, 1), 0, 1), floats((2, 2, 5, 1), 0, 1)),
], flops=lambda query, keys, *rest: 4 * query.size * keys.shape[2])  # fmt: skip
def cached_attention(
    m, query, keys, values, position, start=None, key_scale=None, value_scale=None, bias=None, *, scale=None,
    window=None,
):  # fmt: skip
    """softmax(QKᵀ · scale + bias) V of queries at positions position … position + L - 1 over a cache, each seeing up to its own.

    query (B, H, L, D); keys, values (B, H / groups, S, D), where slot j holds the latest position p ≡ j (mod S);
    ``start`` (B,): positions before it are padding. ``window``: a query sees its own position and window - 1 before.
    ``key_scale``, ``value_scale`` (B, H / groups, S, 1) are those of :func:`write_cache`. ``bias`` (H, N) holds what is
    added to the score of a key 0, 1 … N - 1 positions before the query.
    """
    (batch, heads, length, width), (groups, slots) = query.shape, keys.shape[1:3]
    first = int(position)
    last = first + length - 1
    n = min(last + 1, slots)
    keys, values = (
        part[:, :, :n] if by is None else part[:, :, :n] * by[:, :, :n]
        for part, by in ((keys, key_scale), (values, value_scale))
    )
    held, asked = last - (last - m.arange(n)) % slots, m.arange(first, last + 1)[:, None]  # positions
    allowed = held <= asked
    if window is not None:
        allowed = allowed & (held > asked - window)
    if start is not None:
        allowed = allowed & (held >= start[:, None, None, None, None])
    rows = m.reshape(query, (batch, groups, heads // groups, length, width))
    scores = matmul(m, rows, _swap(m, keys)[:, :, None]) * _scale(query, scale)
    if bias is not None:
        ago = m.clip(asked - held, 0, bias.shape[1] - 1)
        scores = scores + m.reshape(bias, (groups, heads // groups, 1, -1))[:, :, 0, ago]
    scores = m.where(allowed, scores, -math.inf)
    weights = m.where(m.max(scores, axis=-1, keepdims=True) == -math.inf, 0.0, softmax(m, scores, dim=-1))
    mixed = matmul(m, weights.astype(query.dtype), values[:, :, None])
    return m.reshape(mixed, (batch, heads, length, values.shape[-1]))
