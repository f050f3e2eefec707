"""cached_attention for few queries, as in writing a text token by token: of the cache's slots it reads those that are live.

Keys and values are read once, a block of positions after the other; softmax runs along with a largest score and a sum
for each query (Milakov & Gimelshein, 2018). int8 is read as int8: a score, or a weight, is multiplied by its position's scale.

Floor: the keys and values of the live positions read, however many slots there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from minigrad.backend import Declined

from .loading import empty, kernel, loop
from .mathematics import exp_of_negative
from .softmax import EMPTY, FAST, LAYOUT, _plain
from .vectors import compiled, fetch

BLOCK = 2**13  # bytes of keys, which with their values stay in the first cache
SIDE = 4  # positions at a time, whose sums are independent
MOST = 12  # queries for a head of keys, from which matrix products pay
COST = 0.1  # ns a number read
MANY = Declined(f"more than {MOST} queries for a head of keys are a matrix product")
KINDS = Declined("its dtypes are mixed in a way that only the reference knows")
INF = np.inf


def _power(x):
    """eˣ for x ≤ 0."""


@overload(_power)
def _(x):
    return (lambda x: exp_of_negative(x)) if x == types.float32 else (lambda x: math.exp(x))


@compiled
def _scores(q, keys, s):
    """s[j] = keys[j] · q, for a block of keys."""
    zero, whole = q.dtype.type(0), keys.shape[0] // SIDE * SIDE
    kind = q.dtype.type
    for j in range(0, whole, SIDE):
        k0, k1, k2, k3 = keys[j], keys[j + 1], keys[j + 2], keys[j + 3]
        s0, s1, s2, s3 = zero, zero, zero, zero
        for i in range(q.shape[0]):
            s0 += q[i] * kind(k0[i])
            s1 += q[i] * kind(k1[i])
            s2 += q[i] * kind(k2[i])
            s3 += q[i] * kind(k3[i])
        s[j], s[j + 1], s[j + 2], s[j + 3] = s0, s1, s2, s3
    for j in range(whole, keys.shape[0]):
        s0, k0 = zero, keys[j]
        for i in range(q.shape[0]):
            s0 += q[i] * kind(k0[i])
        s[j] = s0


@compiled
def _mixed(p, values, o):
    """o += Σ p[j] values[j], for a block of values."""
    whole, kind = values.shape[0] // SIDE * SIDE, o.dtype.type
    for j in range(0, whole, SIDE):
        v0, v1, v2, v3 = values[j], values[j + 1], values[j + 2], values[j + 3]
        p0, p1, p2, p3 = p[j], p[j + 1], p[j + 2], p[j + 3]
        for i in range(o.shape[0]):
            o[i] += p0 * kind(v0[i]) + p1 * kind(v1[i]) + p2 * kind(v2[i]) + p3 * kind(v3[i])
    for j in range(whole, values.shape[0]):
        p0, v0 = p[j], values[j]
        for i in range(o.shape[0]):
            o[i] += p0 * kind(v0[i])


@compiled
def _heads(
    query, keys, values, position, start, key_scale, value_scale, bias, scale, window, out, first, last
):
    """The tasks first … last - 1, a head of keys each: its queries over the blocks of its live positions."""
    _, heads, length, width = query.shape
    groups, slots = keys.shape[1:3]
    rows = heads // groups * length
    kind, zero = query.dtype.type, query.dtype.type(0)
    q, o = np.empty((rows, width), query.dtype), np.empty((rows, values.shape[3]), query.dtype)
    block = max(BLOCK // (width * keys.itemsize), 1)  # positions
    s, m, total = np.empty(block, query.dtype), np.empty(rows, query.dtype), np.empty(rows, query.dtype)
    begin, end = position[0], position[0] + length  # the queries' own positions
    for task in range(first, last):
        b, g = task // groups, task % groups
        for r in range(rows):
            for i in range(width):
                q[r, i] = query[b, g * (heads // groups) + r // length, r % length, i] * kind(scale)
        o[:], m[:], total[:] = zero, kind(-INF), zero
        p = max(0, end - slots, start[b] if start.size else 0, begin + 1 - window if window else 0)
        while p < end:
            slot = p % slots
            count = min(block, end - p, slots - slot)
            k, v = keys[b, g, slot : slot + count], values[b, g, slot : slot + count]
            if keys.itemsize > 1:  # of int8 the arithmetic takes longer than the memory
                fetch(v.reshape(-1), 0, v.size)
                fetch(k.reshape(-1), k.size, k.size)
            for r in range(rows):
                at = begin + r % length
                # those of the block that the query sees
                low = max(0, at + 1 - window - p) if window else 0
                seen = min(count, at + 1 - p)
                if low >= seen:
                    continue
                w = s[: seen - low]
                _scores(q[r], k[low:seen], w)
                if key_scale.size:
                    for j in range(w.shape[0]):
                        w[j] *= key_scale[b, g, slot + low + j, 0]
                if bias.size:
                    by, furthest = bias[g * (heads // groups) + r // length], bias.shape[1] - 1
                    for j in range(w.shape[0]):
                        w[j] += by[min(at - p - low - j, furthest)]
                top = m[r]
                for j in range(w.shape[0]):
                    top = w[j] if w[j] > top else top
                base = top if top > kind(-INF) else zero
                if top > m[r]:
                    before = _power(m[r] - base)
                    m[r] = top
                    total[r] *= before
                    for i in range(o.shape[1]):
                        o[r, i] *= before
                here = zero
                for j in range(w.shape[0]):
                    w[j] = _power(w[j] - base)
                    here += w[j]
                total[r] += here
                if value_scale.size:
                    for j in range(w.shape[0]):
                        w[j] *= value_scale[b, g, slot + low + j, 0]
                _mixed(w, v[low:seen], o[r])
            p += count
        for r in range(rows):
            factor = kind(1) / total[r] if total[r] != zero else zero  # nothing seen: zeros
            for i in range(o.shape[1]):
                out[b, g * (heads // groups) + r // length, r % length, i] = o[r, i] * factor


OPERANDS = "i8[::1], i8[::1], X[:, :, :, ::1], X[:, :, :, ::1], X[:, ::1], f8, i8, X[:, :, :, ::1]"


@loop(f"X[:, :, :, :], X[:, :, :, ::1], X[:, :, :, ::1], {OPERANDS}", *FAST)
def _attention(query, keys, values, position, start, by_key, by_value, bias, scale, window, out, first, last):
    _heads(query, keys, values, position, start, by_key, by_value, bias, scale, window, out, first, last)


@loop(f"X[:, :, :, :], i1[:, :, :, ::1], i1[:, :, :, ::1], {OPERANDS}", *FAST)
def _int8_attention(
    query, keys, values, position, start, by_key, by_value, bias, scale, window, out, first, last
):
    _heads(query, keys, values, position, start, by_key, by_value, bias, scale, window, out, first, last)


def _or_none(array: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An operand, or where there is none an array without elements."""
    return np.empty(shape, dtype) if array is None else array


@kernel(_attention, _int8_attention)
def cached_attention_forward(
    query, keys, values, position, start=None, key_scale=None, value_scale=None, bias=None, *, scale=None, window=None
):  # fmt: skip
    batch, heads, length, width = query.shape
    groups, per = keys.shape[1], heads // keys.shape[1]
    numbers, places = (key_scale, value_scale, bias), (position, start)
    quantized = keys.dtype == np.int8
    if any(a is not None and a.dtype != np.int64 for a in places) or values.dtype != keys.dtype:
        return KINDS
    if any(a is not None and a.dtype != query.dtype for a in numbers):
        return KINDS
    if quantized != all(a is not None for a in numbers[:2]) or not (quantized or keys.dtype == query.dtype):
        return KINDS
    if not (query.size and keys.size and values.size):
        return EMPTY
    if per * length > MOST:
        return MANY
    read = (keys, values, *numbers, *places)
    if not query.flags.aligned or not all(_plain(a) for a in read if a is not None):
        return LAYOUT
    out = empty((batch, heads, length, values.shape[3]), query.dtype)
    # what is live isn't known where a compiled function calls the loop again: half of the slots, on the average
    work = 0.5 * COST * (keys.size + values.size) * per * length
    (_int8_attention if quantized else _attention)(
        batch * groups, work, query, keys, values, position.reshape(1), _or_none(start, (0,), np.int64),
        *[_or_none(a, (0, 0, 0, 0), query.dtype) for a in numbers[:2]], _or_none(bias, (0, 0), query.dtype),
        1 / math.sqrt(width) if scale is None else scale, window or 0, out,
    )  # fmt: skip
    return out
