"""layer_norm, rms_norm and batch_norm: memory is read once for its moments, and once to be normalised.

Floors: forward x read and y written; the rule x and g read and the gradient written. Batch normalisation reads its
operands twice, as the mean must be known before anything can be written; a channel that fits the cache is read once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import aligned, empty, kernel, loop
from .mathematics import inlined, scalar
from .softmax import EMPTY, LAYOUT, _plain, as_plain
from .vectors import AHEAD, LINE, PAST, bare, begins_a_line, fetch, settle, sweep

FAST = ("contract", "reassoc", "nsz")
SHORT = Declined("its channels have fewer than 16 elements in a row")
EVALUATION = Declined("only training has a kernel")


def _factor(weight: Any, n: int, dtype: Any, value: int) -> Any:
    """Weights or their absence as a vector, aligned because each row reads it."""
    made = aligned((n,), dtype)
    made[:] = value if weight is None else weight.reshape(n)
    return made


@loop("X[:, :, ::1], X[:, ::1]", "contract")
def _halved(sums, totals, start, stop):
    """Adds up blocks by halves, so that rounding grows with the logarithm of their number."""
    for k in range(sums.shape[0]):
        left = sums.shape[1]
        while left > 1:
            half = left // 2
            for b in range(half):
                to, other = sums[k, b], sums[k, left - half + b]
                for i in range(start, stop):
                    to[i] += other[i]
            left -= half
        for i in range(start, stop):
            totals[k, i] = sums[k, 0, i]


def _over_blocks(sums: Any) -> Any:
    """The sums of all blocks: (kinds, blocks, n) to (kinds, n)."""
    totals = empty((len(sums), sums.shape[2]), sums.dtype)
    _halved.alone(sums.shape[2], sums, totals)
    return totals


def _rows(x: Any, normalized_shape: tuple[int, ...]) -> Any:
    """x as (rows, elements of a row), or why not."""
    if tuple(x.shape[x.ndim - len(normalized_shape) :]) != tuple(normalized_shape) or not x.size:
        return EMPTY
    return x.reshape(-1, math.prod(normalized_shape)) if _plain(x) else LAYOUT


def _large(rows: Any) -> bool:
    """Is a result of this size better written past the cache, and are its rows whole lines?"""
    return rows.nbytes >= PAST and rows.shape[1] * rows.itemsize % LINE == 0


def _blocks(rows: int) -> tuple[int, int]:
    """Rows of a block and their number: by the rows alone, so that the bits don't depend on the threads."""
    block = max(64, -(-rows // 32))
    return block, -(-rows // block)


# ---- layer_norm -----------------------------------------------------------------------------------------


@inlined
def _sums(row, up, weight, shift):
    """Of d = x - shift and h = g w in one reading: mean d, the variance, mean h, and mean h (x - mean x)."""
    zero, n = row.dtype.type(0), row.dtype.type(row.shape[0])
    sum_d, sum_dd, sum_h, sum_hd = zero, zero, zero, zero
    for i in range(row.shape[0]):
        d, h = row[i] - shift, up[i] * weight[i]
        sum_d += d
        sum_dd += d * d
        sum_h += h
        sum_hd += h * d
    away = sum_d / n
    return away, sum_dd / n - away * away, sum_h / n, (sum_hd - away * sum_h) / n


@inlined
def _moments(row, shift):
    """The first two of :func:`_sums`."""
    zero, n = row.dtype.type(0), row.dtype.type(row.shape[0])
    sum_d, sum_dd = zero, zero
    for i in range(row.shape[0]):
        d = row[i] - shift
        sum_d += d
        sum_dd += d * d
    away = sum_d / n
    return away, sum_dd / n - away * away


@scalar
def _far(away, variance):
    """Is the shift, the row's first element, too far from the mean for a difference of squares? Or is there a NaN?"""
    return not away * away <= 4 * variance


def _normalised(read, shared, known):
    (x,), (weight, bias), (mean, scale) = read, shared, known
    return (x - mean) * scale * weight + bias, ()


_normalise = sweep(_normalised, 2, past=True)


@loop("X[:, ::1], X[::1], X[::1], X, b1, X[:, ::1], X[:, ::1]", *FAST)
def _layer_norm(x, weight, bias, eps, past, known, out, start, stop):
    x, out, known = bare(x), bare(out), bare(known)
    n, zero = x.shape[1], x.dtype.type(0)
    step = n * x.itemsize
    for r in range(start, stop):
        row, to = x[r], out[r]
        mean = row[0]
        away, variance = _moments(row, mean)
        mean += away
        if _far(away, variance):
            away, variance = _moments(row, mean)
            mean += away
        scale = x.dtype.type(1 / np.sqrt(variance + eps))
        if past:
            known[r, 0], known[r, 1] = mean, scale
            told = known.ctypes.data + r * 2 * x.itemsize
            shared = (weight.ctypes.data, bias.ctypes.data)
            _normalise(
                zero, (x.ctypes.data + r * step,), shared, out.ctypes.data + r * step, (), told, step, n
            )
        else:
            for i in range(n):
                to[i] = (row[i] - mean) * scale * weight[i] + bias[i]
    if past:
        settle()


@kernel(_layer_norm)
def layer_norm_forward(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    flat = _rows(x, normalized_shape)
    if type(flat) is Declined:
        return flat
    n, out = flat.shape[1], empty(x.shape, x.dtype).reshape(flat.shape)
    w, b = _factor(weight, n, x.dtype, 1), _factor(bias, n, x.dtype, 0)
    large = _large(flat)
    known = empty((len(flat) if large else 1, 2), x.dtype)
    _layer_norm(len(flat), 0.2 * x.size, flat, w, b, eps, large and begins_a_line(out), known, out)
    return out.reshape(x.shape)


def _slope(read, shared, known):
    (x, up), (weight,), (mean, scale, mean_h, mean_hy) = read, shared, known
    y = (x - mean) * scale
    return (up * weight - mean_h - y * mean_hy) * scale, (up * y, up)


BESIDE = 2  # rows side by side, which have their sums loaded and stored together
_slopes = sweep(_slope, 4, BESIDE, past=True)


@loop("X[:, ::1], X[:, ::1], X[::1], X, i8, b1, b1, X[:, ::1], X[:, ::1], X[:, ::1], X[:, ::1]", *FAST)
def _layer_norm_rule(g, x, weight, eps, block, past, summed, known, by_x, by_weight, by_bias, start, stop):
    x, g, by_x, known = bare(x), bare(g), bare(by_x), bare(known)
    n, zero = x.shape[1], x.dtype.type(0)
    step = n * x.itemsize
    for b in range(start, stop):
        to_weight, to_bias = by_weight[b], by_bias[b]
        to_weight[:] = 0
        to_bias[:] = 0
        first, last = b * block, min(b * block + block, x.shape[0])
        beside = first + (last - first) // BESIDE * BESIDE if past else first
        for r in range(first, last):
            row, up, to = x[r], g[r], by_x[r]
            if past:
                fetch(row, AHEAD, n)
                fetch(up, AHEAD, n)
            mean = row[0]
            away, variance, mean_h, mean_hc = _sums(row, up, weight, mean)
            mean += away
            if _far(away, variance):
                away, variance, mean_h, mean_hc = _sums(row, up, weight, mean)
                mean += away
            scale = x.dtype.type(1 / np.sqrt(variance + eps))
            mean_hy = mean_hc * scale
            if r < beside:
                known[r, 0], known[r, 1], known[r, 2], known[r, 3] = mean, scale, mean_h, mean_hy
                if (r - first) % BESIDE == BESIDE - 1:
                    top = r - BESIDE + 1
                    begin, told = top * step, known.ctypes.data + top * 4 * x.itemsize
                    read = (x.ctypes.data + begin, g.ctypes.data + begin)
                    sums = (by_weight.ctypes.data + b * step, by_bias.ctypes.data + b * step)
                    _slopes(zero, read, (weight.ctypes.data,), by_x.ctypes.data + begin, sums, told, step, n)
                continue
            for i in range(n):
                y = (row[i] - mean) * scale
                to[i] = (up[i] * weight[i] - mean_h - y * mean_hy) * scale
                if summed:
                    to_weight[i] += up[i] * y
                    to_bias[i] += up[i]
    if past:
        settle()


@kernel(_layer_norm_rule, _halved)
def layer_norm_gradient(g, x, weight, bias_shape, normalized_shape, eps, needs):
    flat = _rows(x, normalized_shape)
    if type(flat) is Declined:
        return flat
    block, blocks = _blocks(len(flat))
    n, by_x, summed = flat.shape[1], empty(x.shape, x.dtype).reshape(flat.shape), needs[1] or needs[2]
    sums, w = aligned((2, blocks, n), x.dtype), _factor(weight, n, x.dtype, 1)
    large = _large(flat)
    known = empty((len(flat) if large else 1, 4), x.dtype)
    _layer_norm_rule(
        blocks,
        0.4 * x.size,
        as_plain(g).reshape(flat.shape),
        flat,
        w,
        eps,
        block,
        large and begins_a_line(by_x),
        summed,
        known,
        by_x,
        sums[0],
        sums[1],
    )
    by_x = by_x.reshape(x.shape)
    if not summed:
        return by_x, None, None
    by_weight, by_bias = (s.reshape(normalized_shape) for s in _over_blocks(sums))
    return by_x, by_weight if needs[1] else None, by_bias if needs[2] else None


# ---- rms_norm -------------------------------------------------------------------------------------------


@loop("X[:, ::1], X[::1], X, X[:, ::1]", *FAST)
def _rms_norm(x, weight, eps, out, start, stop):
    for r in range(start, stop):
        row, to, square = x[r], out[r], x.dtype.type(0)
        for i in range(row.shape[0]):
            square += row[i] * row[i]
        scale = x.dtype.type(1 / np.sqrt(square / row.shape[0] + eps))
        for i in range(row.shape[0]):
            to[i] = row[i] * scale * weight[i]


@kernel(_rms_norm)
def rms_norm_forward(x, weight=None, *, normalized_shape, eps):
    flat = _rows(x, normalized_shape)
    if type(flat) is Declined:
        return flat
    out, w = empty(x.shape, x.dtype), _factor(weight, flat.shape[1], x.dtype, 1)
    _rms_norm(len(flat), 0.2 * x.size, flat, w, eps, out.reshape(flat.shape))
    return out


@loop("X[:, ::1], X[:, ::1], X[::1], X, i8, b1, X[:, ::1], X[:, ::1]", *FAST)
def _rms_norm_rule(g, x, weight, eps, block, summed, by_x, by_weight, start, stop):
    for b in range(start, stop):
        to_weight = by_weight[b]
        to_weight[:] = 0
        for r in range(b * block, min(b * block + block, x.shape[0])):
            row, up, to = x[r], g[r], by_x[r]
            square, sum_hx = x.dtype.type(0), x.dtype.type(0)
            for i in range(row.shape[0]):
                square += row[i] * row[i]
                sum_hx += up[i] * weight[i] * row[i]
            scale = x.dtype.type(1 / np.sqrt(square / row.shape[0] + eps))
            mean_hy = x.dtype.type(sum_hx / row.shape[0]) * scale
            for i in range(row.shape[0]):
                y = row[i] * scale
                to[i] = (up[i] * weight[i] - y * mean_hy) * scale
                if summed:
                    to_weight[i] += up[i] * y


@kernel(_rms_norm_rule, _halved)
def rms_norm_gradient(g, x, weight, normalized_shape, eps, needs):
    flat = _rows(x, normalized_shape)
    if type(flat) is Declined:
        return flat
    block, blocks = _blocks(len(flat))
    n, by_x = flat.shape[1], empty(x.shape, x.dtype)
    sums, w = aligned((1, blocks, n), x.dtype), _factor(weight, n, x.dtype, 1)
    _rms_norm_rule(blocks, 0.4 * x.size, as_plain(g).reshape(flat.shape), flat, w, eps, block, needs[1],
                   by_x.reshape(flat.shape), sums[0])  # fmt: skip
    return by_x, _over_blocks(sums)[0].reshape(normalized_shape) if needs[1] else None


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
    channels, out = x.shape[1], empty(x.shape, x.dtype)
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
    channels, by_x = x.shape[1], empty(x.shape, x.dtype)
    by_weight, by_bias = empty((channels,), x.dtype), empty((channels,), x.dtype)
    w, g = _factor(weight, channels, x.dtype, 1), as_plain(g).reshape(flat.shape)
    _batch_norm_rule(channels, x.size, g, flat, w, eps, by_x.reshape(flat.shape), by_weight, by_bias)
    if weight is not None:
        by_weight = by_weight.reshape(weight.shape)
    return by_x, None, None, by_weight if needs[3] else None, by_bias if needs[4] else None
