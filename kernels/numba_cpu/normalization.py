"""layer_norm and batch_norm: each block of memory is read once for its mean and variance, and once to be normalised.

Floors: forward x read and y written; the rule x and g read and the gradient written. Batch normalisation reads its
operands twice, as the mean must be known before anything can be written; a channel that fits the cache is read once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import kernel, loop
from .softmax import EMPTY, LAYOUT, _plain, as_plain

FAST = ("contract", "reassoc", "nsz")
SHORT = Declined("its channels have fewer than 16 elements in a row")
EVALUATION = Declined("only training has a kernel")


def _factor(weight: Any, n: int, dtype: Any, value: int) -> Any:
    """Weights or their absence as a vector."""
    return np.full(n, value, dtype) if weight is None else as_plain(weight).reshape(n)


# ---- layer_norm -----------------------------------------------------------------------------------------


@loop("X[:, ::1], X[::1], X[::1], X, X[:, ::1]", *FAST)
def _layer_norm(x, weight, bias, eps, out, start, stop):
    zero, n = x.dtype.type(0), x.shape[1]
    for r in range(start, stop):
        total = zero
        for i in range(n):
            total += x[r, i]
        mean, square = x.dtype.type(total / n), zero
        for i in range(n):
            square += (x[r, i] - mean) * (x[r, i] - mean)
        scale = x.dtype.type(1 / np.sqrt(square / n + eps))
        for i in range(n):
            out[r, i] = (x[r, i] - mean) * scale * weight[i] + bias[i]


@kernel(_layer_norm)
def layer_norm_forward(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    n = math.prod(normalized_shape)
    if tuple(x.shape[x.ndim - len(normalized_shape) :]) != tuple(normalized_shape) or not x.size:
        return EMPTY
    if not _plain(x):
        return LAYOUT
    out = np.empty(x.shape, x.dtype)
    w, b = _factor(weight, n, x.dtype, 1), _factor(bias, n, x.dtype, 0)
    _layer_norm(x.size // n, 0.5 * x.size, x.reshape(-1, n), w, b, eps, out.reshape(-1, n))
    return out


@loop("X[:, ::1], X[:, ::1], X[::1], X, i8, X[:, ::1], X[:, ::1], X[:, ::1]", *FAST)
def _layer_norm_rule(g, x, weight, eps, block, by_x, by_weight, by_bias, start, stop):
    zero, n = x.dtype.type(0), x.shape[1]
    for b in range(start, stop):
        to_weight, to_bias = by_weight[b], by_bias[b]
        to_weight[:] = zero
        to_bias[:] = zero
        for r in range(b * block, min(b * block + block, x.shape[0])):
            row, up, to = x[r], g[r], by_x[r]
            total = zero
            for i in range(n):
                total += row[i]
            mean, square = x.dtype.type(total / n), zero
            sum_h, sum_hy = zero, zero
            for i in range(n):
                c = row[i] - mean
                h = up[i] * weight[i]
                square += c * c
                sum_h += h
                sum_hy += h * c
            scale = x.dtype.type(1 / np.sqrt(square / n + eps))
            mean_h, mean_hy = x.dtype.type(sum_h / n), x.dtype.type(sum_hy / n) * scale
            for i in range(n):
                y = (row[i] - mean) * scale
                to[i] = (up[i] * weight[i] - mean_h - y * mean_hy) * scale
                to_weight[i] += up[i] * y
                to_bias[i] += up[i]


@kernel(_layer_norm_rule)
def layer_norm_gradient(g, x, weight, bias_shape, normalized_shape, eps, needs):
    n = math.prod(normalized_shape)
    if not x.size:
        return EMPTY
    if not _plain(x):
        return LAYOUT
    rows = x.size // n
    block = max(32, -(-rows // 64))  # by the rows alone, so that the bits don't depend on the threads
    blocks = -(-rows // block)
    by_x, sums = np.empty(x.shape, x.dtype), np.empty((2, blocks, n), x.dtype)
    g, w = as_plain(g).reshape(-1, n), _factor(weight, n, x.dtype, 1)
    _layer_norm_rule(
        blocks, x.size, g, x.reshape(-1, n), w, eps, block, by_x.reshape(-1, n), sums[0], sums[1]
    )
    by_weight, by_bias = sums.sum(1, dtype=np.float64).astype(x.dtype).reshape(2, *normalized_shape)
    return by_x, by_weight if needs[1] else None, by_bias if needs[2] else None


# ---- batch_norm -----------------------------------------------------------------------------------------


@loop("X[:, :, ::1], X[::1], X[::1], f8, X[:, :, ::1]", *FAST)
def _batch_norm(x, weight, bias, eps, out, start, stop):
    zero, (images, _, n) = x.dtype.type(0), x.shape
    for c in range(start, stop):
        mean, square = 0.0, 0.0  # over the images so far (Chan et al., 1983)
        for k in range(images):
            row, total, spread = x[k, c], zero, zero
            for i in range(n):
                total += row[i]
            here = x.dtype.type(total / n)
            for i in range(n):
                spread += (row[i] - here) * (row[i] - here)
            away = here - mean
            mean += away / (k + 1)
            square += spread + away * away * n * (k / (k + 1))
        m = x.dtype.type(mean)
        scale, shift = x.dtype.type(weight[c] / np.sqrt(square / (images * n) + eps)), bias[c]
        for k in range(images):
            row, to = x[k, c], out[k, c]
            for i in range(n):
                to[i] = (row[i] - m) * scale + shift


def _channels(x: Any) -> Any:
    """x as (N, C, elements of a channel), or why not."""
    if not x.size:
        return EMPTY
    if x.ndim < 3 or math.prod(x.shape[2:]) < 16:
        return SHORT
    return x.reshape(*x.shape[:2], -1) if _plain(x) else LAYOUT


@kernel(_batch_norm)
def batch_norm_forward(
    x, running_mean=None, running_var=None, weight=None, bias=None, *, training=False, eps=1e-5
):
    if not training:
        return EVALUATION
    flat = _channels(x)
    if type(flat) is Declined:
        return flat
    channels, out = x.shape[1], np.empty(x.shape, x.dtype)
    w, b = _factor(weight, channels, x.dtype, 1), _factor(bias, channels, x.dtype, 0)
    _batch_norm(channels, 0.5 * x.size, flat, w, b, eps, out.reshape(flat.shape))
    return out


@loop("X[:, :, ::1], X[:, :, ::1], X[::1], f8, X[:, :, ::1], X[::1], X[::1]", *FAST)
def _batch_norm_rule(g, x, weight, eps, by_x, by_weight, by_bias, start, stop):
    zero, (images, _, n) = x.dtype.type(0), x.shape
    for c in range(start, stop):
        mean, square, sum_g, sum_gc = 0.0, 0.0, 0.0, 0.0  # Σ g and Σ g (x - mean)
        for k in range(images):
            row, up, total, spread, g_here, gc_here = x[k, c], g[k, c], zero, zero, zero, zero
            for i in range(n):
                total += row[i]
                g_here += up[i]
            here = x.dtype.type(total / n)
            for i in range(n):
                d = row[i] - here
                spread += d * d
                gc_here += up[i] * d
            away = here - mean
            sum_gc += gc_here + g_here * (away * (k / (k + 1))) - sum_g * (away / (k + 1))
            sum_g += g_here
            mean += away / (k + 1)
            square += spread + away * away * n * (k / (k + 1))
        count = images * n
        inverse = 1 / np.sqrt(square / count + eps)
        by_weight[c], by_bias[c] = sum_gc * inverse, sum_g
        m, scale = x.dtype.type(mean), x.dtype.type(weight[c] * inverse)
        mean_g, slope = x.dtype.type(sum_g / count), x.dtype.type(sum_gc / count * inverse * inverse)
        for k in range(images):
            row, up, to = x[k, c], g[k, c], by_x[k, c]
            for i in range(n):
                to[i] = (up[i] - mean_g - (row[i] - m) * slope) * scale


@kernel(_batch_norm_rule)
def batch_norm_gradient(g, x, running_mean, running_var, weight, bias_shape, training, eps, needs):
    if not training:
        return EVALUATION
    flat = _channels(x)
    if type(flat) is Declined:
        return flat
    channels, by_x = x.shape[1], np.empty(x.shape, x.dtype)
    by_weight, by_bias = np.empty((2, channels), x.dtype)
    w, g = _factor(weight, channels, x.dtype, 1), as_plain(g).reshape(flat.shape)
    _batch_norm_rule(channels, x.size, g, flat, w, eps, by_x.reshape(flat.shape), by_weight, by_bias)
    if weight is not None:
        by_weight = by_weight.reshape(weight.shape)
    return by_x, None, None, by_weight if needs[3] else None, by_bias if needs[4] else None
