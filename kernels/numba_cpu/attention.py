"""scaled_dot_product_attention by tiles, without the L × S matrix of weights (Dao et al., 2022, FlashAttention).

A tile of scores is held transposed, a row for a key and a lane for a query. So softmax is the same work in every lane,
keys and values are read where they are, one number at a time whatever their strides and sizes, and only a tile of
queries is packed. Scores are in base 2: log₂ e is in the factor of the queries.

Floors: 4·E flops forward and 10·E backward for each query and key that see each other. Choices and figures:
``docs/decisions/kernels.md``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import empty, kernel, loop
from .mathematics import exp2_falling, f32
from .vectors import WIDTH, compiled, product, scratch, transpose

FAST = ("contract", "reassoc", "nsz")
QUERIES, KEYS = 64, 128  # of a tile: its scores stay in the first cache
STEP = (
    2 * WIDTH
)  # keys ahead of the first query that are one block: the queries before them need no product with them
LOG2E, LARGEST, INF = 1 / math.log(2), f32(3.4028235e38), f32(np.inf)
RATE = 170.0  # flops a nanosecond
SHAPES = Declined("its operands are empty or don't fit: the reference says so")
MASKS = Declined("a mask or what dropout keeps is no array of bools")
ALONE = Declined("a query alone is a product of a vector, in which lanes for queries are wasted")
SHORT = 8  # heads, fewer of which are parted by queries to be shared among threads


@compiled
def _block(j, end, first, skips):
    """Where the block of keys that begins at j ends, and the lane of the first query that may see one of them."""
    if not skips:
        return end, 0
    if j < first:
        return min(first, end), 0
    lane = (j - first) // STEP * STEP
    return min(first + lane + STEP, end), lane


@compiled
def _turned(a, first, queries, j, factor, to):
    """to = factor · a[first:first+queries, j:]ᵀ, for as many keys as ``to`` has rows."""
    keys = to.shape[0]
    if a.strides[0] == 0:  # the same for all queries
        for r in range(keys):
            to[r] = f32(a[0, j + r]) * factor
    else:
        transpose(a[first : first + queries, j : j + keys], to, factor)


@compiled
def _mask(s, bias, allowed, causal, first, queries, j, room):
    """Scores of queries from first and keys from j on: plus bias, -∞ where not allowed or ahead of the query."""
    keys, lanes = s.shape
    extra = room[:keys]
    if bias.size:
        _turned(bias, first, queries, j, f32(1), extra)
        for r in range(keys):
            for i in range(lanes):
                x = extra[r, i]
                y = min(max(x * f32(LOG2E), -LARGEST), LARGEST)  # float32's lowest is a usual mask, and no -∞
                s[r, i] += y if x - x == f32(0) else x
    if allowed.size:
        _turned(allowed, first, queries, j, f32(1), extra)
        for r in range(keys):
            for i in range(lanes):
                s[r, i] = s[r, i] if extra[r, i] != f32(0) else -INF
    if causal:
        for r in range(max(first + 1 - j, 0), keys):
            ahead = np.int32(j + r - first)
            for i in range(lanes):  # whole vectors: to read what was written in parts takes longer
                s[r, i] = s[r, i] if np.int32(i) >= ahead else -INF


@compiled
def _drop(s, keep, kept, first, queries, j, room):
    """Dropout: each weight, or gradient by a weight, times 1 / (1 - p) or 0."""
    factor = room[: s.shape[0]]
    _turned(keep, first, queries, j, kept, factor)
    for r in range(s.shape[0]):
        for i in range(s.shape[1]):
            s[r, i] *= factor[r, i]


@compiled
def _copy(a, factor, to):
    """factor · a into the first columns of ``to``."""
    for r in range(a.shape[0]):
        for x in range(a.shape[1]):
            to[r, x] = a[r, x] * factor


# ---- forward --------------------------------------------------------------------------------------------


@compiled
def _running_max(s, x, lanes, m):
    x, lanes, fours = np.uint64(x), np.uint64(lanes), s.shape[0] - s.shape[0] % 4
    for r in range(0, fours, 4):  # four rows at a time: m is written a quarter as often
        for i in range(x, lanes):
            a = s[r, i] if s[r, i] > s[r + 1, i] else s[r + 1, i]
            b = s[r + 2, i] if s[r + 2, i] > s[r + 3, i] else s[r + 3, i]
            a = a if a > b else b
            m[i] = a if a > m[i] else m[i]
    for r in range(fours, s.shape[0]):
        for i in range(x, lanes):
            m[i] = s[r, i] if s[r, i] > m[i] else m[i]


@compiled
def _powers(s, x, lanes, m, total, here):
    """S becomes P = 2^(S - m), whose sum over the keys is added to ℓ; a block's sum apart, as long ones are less exact."""
    x, lanes = np.uint64(x), np.uint64(lanes)
    for i in range(x, lanes):
        here[i] = f32(0)
    for r in range(s.shape[0]):
        for i in range(x, lanes):
            p = exp2_falling(s[r, i] - m[i])
            s[r, i] = p
            here[i] += p
    for i in range(x, lanes):
        total[i] += here[i]


@compiled
def _rescaled(lanes, m, total, base, before):
    """``before``, the largest scores until now, becomes what sums until now count when m is the largest; so does ℓ."""
    for i in range(lanes):
        base[i] = m[i] if m[i] > -INF else f32(0)  # nothing seen yet
        before[i] = exp2_falling(before[i] - base[i])
        total[i] *= before[i]


@compiled
def _times(o, factor):
    for e in range(o.shape[0]):
        for i in range(factor.shape[0]):
            o[e, i] *= factor[i]


@loop("X[:, :, :, :], X[:, :, :, :], X[:, :, :, :], X[:, :, :, :], b1[:, :, :, :], b1[:, :, :, :], X, X, b1, b1, "
      "X[:, :, :, :]", *FAST)  # fmt: skip
def _attention(query, key, value, bias, allowed, keep, scale, kept, causal, skips, out, start, stop):
    _, heads, length, size = query.shape
    tiles = -(-length // QUERIES)
    q, s, o = scratch(size, QUERIES), scratch(KEYS, QUERIES), scratch(value.shape[3], QUERIES)
    room, lines = scratch(KEYS, QUERIES), scratch(5, QUERIES)
    m, total, base, before, here = lines[0], lines[1], lines[2], lines[3], lines[4]
    q[:], room[:] = f32(0), f32(0)
    for task in range(start, stop):
        head, tile = task // tiles, task % tiles
        tile = tiles - 1 - tile // 2 if tile % 2 else tile // 2  # long and short by turns, if causal
        b, h, first = head // heads, head % heads, tile * QUERIES
        last = min(first + QUERIES, length)
        queries = last - first
        lanes = -(-queries // WIDTH) * WIDTH
        seen = min(last, key.shape[2]) if skips else key.shape[2]
        transpose(query[b, h, first:last], q, f32(scale * LOG2E))
        m[:], total[:] = -INF, f32(0)
        for j in range(0, seen, KEYS):
            end = min(j + KEYS, seen)
            for i in range(lanes):
                before[i] = m[i]
            at = j
            while at < end:
                to, x = _block(at, end, first, skips)
                p = s[at - j : to - j]
                product(key[b, h, at:to], q[:, x:], p[:, x:], lanes - x, False)  # S = K Q
                _mask(p, bias[b, h], allowed[b, h], causal, first, queries, at, room)
                _running_max(p, x, lanes, m)
                at = to
            _rescaled(lanes, m, total, base, before)
            if j:
                _times(o, before)
            at = j
            while at < end:
                to, x = _block(at, end, first, skips)
                p = s[at - j : to - j]
                _powers(p, x, lanes, base, total, here)
                if keep.size:
                    _drop(p, keep[b, h], kept, first, queries, at, room)
                product(value[b, h, at:to].T, p[:, x:], o[:, x:], lanes - x, at > 0)  # O = O · before + Vᵀ P
                at = to
        for i in range(lanes):
            unseen = total[i] == f32(0) and (bias.size > 0 or allowed.size > 0)
            total[i] = f32(0) if unseen else f32(1) / total[i]
        _times(o, total)
        transpose(o[:, :queries], out[b, h, first:last], f32(1))


# ---- backward -------------------------------------------------------------------------------------------


@compiled
def _dots(p, dp, x, lanes, delta, here):
    """Σ P dP over the keys is added to δ."""
    x, lanes, pairs = np.uint64(x), np.uint64(lanes), p.shape[0] - p.shape[0] % 2
    for i in range(x, lanes):
        here[i] = f32(0)
    for r in range(0, pairs, 2):
        for i in range(x, lanes):
            here[i] += p[r, i] * dp[r, i] + p[r + 1, i] * dp[r + 1, i]
    for r in range(pairs, p.shape[0]):
        for i in range(x, lanes):
            here[i] += p[r, i] * dp[r, i]
    for i in range(x, lanes):
        delta[i] += here[i]


@compiled
def _by_scores(p, dp, x, lanes, share, delta):
    """P becomes P / ℓ, and dP becomes dS = P (dP - δ)."""
    for r in range(p.shape[0]):
        for i in range(np.uint64(x), np.uint64(lanes)):
            w = p[r, i] * share[i]
            p[r, i] = w
            dp[r, i] = w * (dp[r, i] - delta[i])


@loop("X[:, :, :, :], X[:, :, :, :], X[:, :, :, :], X[:, :, :, :], X[:, :, :, :], b1[:, :, :, :], b1[:, :, :, :], X, X, "
      "b1, b1, X[:, :, :, :], X[:, :, :, :, :], X[:, :, :, :, :], X[:, :, :, ::1]", *FAST)  # fmt: skip
def _attention_rule(
    g, query, key, value, bias, allowed, keep, scale, kept, causal, skips, by_query, by_key, by_value, by_bias, start, stop
):  # fmt: skip
    _, heads, length, size = query.shape  # of a gradient that isn't needed the last dimension is 0
    parts, keys, size_v = by_key.shape[0], key.shape[2], value.shape[3]
    whole, whole_v = -(-size // WIDTH) * WIDTH, -(-size_v // WIDTH) * WIDTH
    q, do, dq = scratch(size, QUERIES), scratch(size_v, QUERIES), scratch(size, QUERIES)
    q_rows, do_rows = scratch(QUERIES, whole), scratch(QUERIES, whole_v)
    dk, dv = scratch(keys, whole), scratch(keys, whole_v)
    s, d = scratch(keys, QUERIES), scratch(keys, QUERIES)
    room, lines = scratch(KEYS, QUERIES), scratch(5, QUERIES)
    m, total, delta, share, here = lines[0], lines[1], lines[2], lines[3], lines[4]
    for a in (q, do, q_rows, do_rows, room):
        a[:] = f32(0)
    for task in range(start, stop):
        head, part = task // parts, task % parts
        b, h = head // heads, head % heads
        dk[:], dv[:] = f32(0), f32(0)
        for first in range(part * QUERIES, length, parts * QUERIES):
            last = min(first + QUERIES, length)
            queries = last - first
            lanes = -(-queries // WIDTH) * WIDTH
            seen = min(last, keys) if skips else keys
            transpose(query[b, h, first:last], q, f32(scale * LOG2E))
            transpose(g[b, h, first:last], do, f32(1))
            _copy(query[b, h, first:last], scale, q_rows)
            _copy(g[b, h, first:last], f32(1), do_rows)
            m[:], total[:], delta[:] = -INF, f32(0), f32(0)
            j = 0
            while j < seen:
                end, x = _block(j, min(j + KEYS, seen), first, skips)
                product(key[b, h, j:end], q[:, x:], s[j:end, x:], lanes - x, False)  # S = K Q
                _mask(s[j:end], bias[b, h], allowed[b, h], causal, first, queries, j, room)
                _running_max(s[j:end], x, lanes, m)
                j = end
            for i in range(lanes):
                m[i] = m[i] if m[i] > -INF else f32(0)
            j = 0
            while j < seen:
                end, x = _block(j, min(j + KEYS, seen), first, skips)
                product(value[b, h, j:end], do[:, x:], d[j:end, x:], lanes - x, False)  # dP = V dO
                if keep.size:
                    _drop(d[j:end], keep[b, h], kept, first, queries, j, room)
                _powers(s[j:end], x, lanes, m, total, here)
                _dots(s[j:end], d[j:end], x, lanes, delta, here)
                j = end
            for i in range(lanes):
                unseen = total[i] == f32(0) and (bias.size > 0 or allowed.size > 0)
                share[i] = f32(0) if unseen else f32(1) / total[i]
                delta[i] *= share[i]
            j = 0
            while j < seen:
                end, x = _block(j, min(j + KEYS, seen), first, skips)
                p, ds = s[j:end], d[j:end]
                _by_scores(p, ds, x, lanes, share, delta)
                if by_bias.size:
                    transpose(ds[:, x:queries], by_bias[b, h, first + x : last, j:end], f32(1))
                if keep.size:
                    _drop(p, keep[b, h], kept, first, queries, j, room)
                if by_value.size:
                    product(p[:, x:queries], do_rows[x:queries], dv[j:end], whole_v, True)  # dV += P dO
                if by_key.size:
                    product(ds[:, x:queries], q_rows[x:queries], dk[j:end], whole, True)  # dK += dS Q
                if by_query.size:
                    product(key[b, h, j:end].T, ds[:, x:], dq[:, x:], lanes - x, j > 0)  # dQ += Kᵀ dS
                j = end
            transpose(dq[: by_query.shape[3], :queries], by_query[b, h, first:last], scale)
        _copy(dk[:, : by_key.shape[4]], f32(1), by_key[part, b, h])
        _copy(dv[:, : by_value.shape[4]], f32(1), by_value[part, b, h])


# ---- the kernels ----------------------------------------------------------------------------------------


def _heads(x: Any, lead: tuple[int, ...]) -> Any:
    """An operand as (B, H, …, …): its dimensions before the last two broadcast, and all but the last of them in one."""
    x = x if x.flags.aligned else np.array(x)
    if x.shape[:-2] != lead:
        x = np.broadcast_to(x, (*lead, *x.shape[-2:]))
    return x if len(lead) == 2 else x.reshape(math.prod(lead[:-1]), *(lead[-1:] or (1,)), *x.shape[-2:])


def _operands(query: Any, key: Any, value: Any, bias: Any, allowed: Any, keep: Any, *g: Any) -> Any:
    """The dimensions before the last two, and what the loops read; or why not."""
    if not (query.size and key.size and value.size) or min(query.ndim, key.ndim, value.ndim) < 2:
        return SHAPES
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        return SHAPES
    if any(a is not None and a.dtype != bool for a in (allowed, keep)):
        return MASKS
    pairs = (query.shape[-2], key.shape[-2])
    try:
        extras = [
            a if a is None else np.broadcast_to(a, (*a.shape[:-2], *pairs)) for a in (bias, allowed, keep)
        ]
        leads = {a.shape[:-2] for a in (query, key, value, *extras) if a is not None}
        lead = leads.pop() if len(leads) == 1 else np.broadcast_shapes(*leads)
    except ValueError:
        return SHAPES
    made = [_heads(a, lead) for a in (*g, query, key, value)]
    for a, dtype in zip(extras, (query.dtype, bool, bool), strict=True):
        made.append(np.empty((*made[0].shape[:2], 0, 0), dtype) if a is None else _heads(a, lead))
    return lead, made


def _numbers(query: Any, scale: float | None, p: float, *read: Any) -> tuple[float, float, bool]:
    """The factor of the scores, that of what dropout keeps, and whether keys after a tile's queries may be skipped.

    They may not where something is infinite or NaN: a weight of 0 makes NaN of it.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return scale, 1 / (1 - p) if p < 1 else 0.0, all(np.isfinite(a).all() for a in read)


def _empty(like: Any, size: int, *parts: int) -> Any:
    """An array for a result (…, B, H, T, size), heads beside each other where they are so in an operand (B, H, T, …)."""
    b, h, t, _ = like.shape
    if like.strides[1] < like.strides[2]:
        return empty((*parts, b, t, h, size), like.dtype).swapaxes(-3, -2)
    return empty((*parts, b, h, t, size), like.dtype)


def _pairs(query: Any, key: Any, causal: bool) -> float:
    heads, (length, keys) = math.prod(query.shape[:2]), (query.shape[2], key.shape[2])
    return heads * length * keys * (0.5 if causal else 1.0)


@kernel(_attention)
def scaled_dot_product_attention_forward(
    query, key, value, bias=None, allowed=None, keep=None, *, is_causal=False, scale=None, p=0.0
):
    found = _operands(query, key, value, bias, allowed, keep)
    if type(found) is Declined:
        return found
    lead, operands = found
    q, k, v = operands[:3]
    if q.shape[2] == 1:
        return ALONE
    scale, kept, finite = _numbers(q, scale, p, *((value,) if is_causal else ()))
    out = _empty(q, v.shape[3])
    work = 2 * _pairs(q, k, is_causal) * (q.shape[3] + v.shape[3]) / RATE
    tiles = math.prod(q.shape[:2]) * -(-q.shape[2] // QUERIES)
    _attention(tiles, work, *operands, scale, kept, is_causal, is_causal and finite, out)
    return out.reshape(*lead, *out.shape[2:])


@kernel(_attention_rule)
def scaled_dot_product_attention_gradient(
    g, query, key, value, bias, allowed, keep, is_causal, scale, p, needs
):
    found = _operands(query, key, value, bias, allowed, keep, g)
    if type(found) is Declined:
        return found
    lead, operands = found
    _, q, k, v = operands[:4]
    scale, kept, finite = _numbers(q, scale, p, *((g, query, key, value) if is_causal else ()))
    heads = math.prod(q.shape[:2])
    parts = min(-(-SHORT // heads), -(-q.shape[2] // QUERIES))  # by the shape alone: so the bits are
    by_query = _empty(q, q.shape[3] if needs[0] else 0)
    by_key = _empty(k, k.shape[3] if needs[1] else 0, parts)
    by_value = _empty(v, v.shape[3] if needs[2] else 0, parts)
    by_bias = np.zeros((*q.shape[:3], k.shape[2]) if needs[3] else (0, 0, 0, 0), q.dtype)
    work = _pairs(q, k, is_causal) * (6 * q.shape[3] + 4 * v.shape[3]) / RATE
    _attention_rule(
        heads * parts, work, *operands, scale, kept, is_causal, is_causal and finite, by_query, by_key, by_value, by_bias
    )  # fmt: skip
    made = (by_query, *((a[0] if parts == 1 else a.sum(0)) for a in (by_key, by_value)), by_bias)
    found = [a.reshape(*lead, *a.shape[2:]) if need else None for a, need in zip(made, needs, strict=False)]
    return (*found[:4], None, None)
