"""softmax, log_softmax and cross_entropy along the last dimension: a row stays in the cache for all of its passes.

Floor: x read once and the result written once. Sums run in as many lanes as LLVM likes (``reassoc``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import empty, kernel, loop, wrong
from .mathematics import exp, exp_of_negative, f32, inlined, largest, log, scalar
from .vectors import AHEAD, PAST, bare, fetch, scratch, settle, stream

FAST = ("contract", "reassoc", "nsz")
LAST = Declined("it runs along another dimension than the last")
LAYOUT = Declined("its operands are not contiguous")
EMPTY = Declined("it has no elements")
OPTIONS = Declined("class weights, label smoothing and more than two dimensions are the reference's")
SHARES = Declined("each position has a gradient of its own")
LABELS = Declined("a label is out of bounds or no int64: the reference says so")
COST = 1.0  # ns an element


def _flat(x: Any, dim: int) -> Any:
    """x as a matrix (rows, n) of what it runs along, or why not."""
    if dim not in (-1, x.ndim - 1) or not x.ndim:
        return LAST
    if not x.size:
        return EMPTY
    return x.reshape(-1, x.shape[-1]) if _plain(x) else LAYOUT


def _plain(x: Any) -> bool:
    return x.flags.c_contiguous and x.flags.aligned


def as_plain(g: Any) -> Any:
    """A gradient as the loops read it: one that is a broadcast view is copied."""
    return g if _plain(g) else np.array(g, order="C")


@loop("X[:, ::1], X[:, ::1]", *FAST)
def _softmax(x, out, start, stop):
    for r in range(start, stop):
        row, to = x[r], out[r]
        top, total = largest(row), f32(0)
        for i in range(row.shape[0]):
            to[i] = exp_of_negative(row[i] - top)
            total += to[i]
        factor = f32(1) / total
        for i in range(row.shape[0]):
            to[i] *= factor


@kernel(_softmax)
def softmax_forward(x, *, dim):
    flat = _flat(x, dim)
    if type(flat) is Declined:
        return flat
    out = empty(x.shape, x.dtype)
    _softmax(len(flat), COST * x.size, flat, out.reshape(flat.shape))
    return out


@loop("X[:, ::1], X[:, ::1], X[:, ::1]", *FAST)
def _softmax_rule(g, out, by_x, start, stop):
    for r in range(start, stop):
        total = f32(0)
        for i in range(out.shape[1]):
            total += g[r, i] * out[r, i]
        for i in range(out.shape[1]):
            by_x[r, i] = out[r, i] * (g[r, i] - total)


@kernel(_softmax_rule)
def softmax_gradient(g, out, x_shape, dim):
    flat = _flat(out, dim)
    if type(flat) is Declined:
        return flat
    by_x = empty(out.shape, out.dtype)
    _softmax_rule(len(flat), 0.5 * out.size, as_plain(g).reshape(flat.shape), flat, by_x.reshape(flat.shape))
    return by_x


@scalar
def log_probability(x, top, log_total):
    """x - top first, which is exact where it matters: in a loop ``reassoc`` would allow top + log_total first."""
    return (x - top) - log_total


@loop("X[:, ::1], X[:, ::1]", *FAST)
def _log_softmax(x, out, start, stop):
    for r in range(start, stop):
        row, to = x[r], out[r]
        top, total = largest(row), f32(0)
        for i in range(row.shape[0]):
            total += exp_of_negative(row[i] - top)
        total = log(total)
        for i in range(row.shape[0]):
            to[i] = log_probability(row[i], top, total)


@kernel(_log_softmax)
def log_softmax_forward(x, *, dim):
    flat = _flat(x, dim)
    if type(flat) is Declined:
        return flat
    out = empty(x.shape, x.dtype)
    _log_softmax(len(flat), COST * x.size, flat, out.reshape(flat.shape))
    return out


@loop("X[:, ::1], X[:, ::1], X[:, ::1]", *FAST)
def _log_softmax_rule(g, out, by_x, start, stop):
    for r in range(start, stop):
        total = f32(0)
        for i in range(out.shape[1]):
            total += g[r, i]
        for i in range(out.shape[1]):
            by_x[r, i] = g[r, i] - exp(out[r, i]) * total


@kernel(_log_softmax_rule)
def log_softmax_gradient(g, out, x_shape, dim):
    flat = _flat(out, dim)
    if type(flat) is Declined:
        return flat
    by_x = empty(out.shape, out.dtype)
    _log_softmax_rule(
        len(flat), COST * out.size, as_plain(g).reshape(flat.shape), flat, by_x.reshape(flat.shape)
    )
    return by_x


BLOCK = 512  # elements that are looked at twice, for their maximum and for their exponentials
ROOM = f32(16)  # how far above what was subtracted an element may be: their sum stays finite


@inlined
def largest_and_total(row):
    """max x and Σ exp(x - max x), block by block: what was summed so far is scaled when a larger maximum is met."""
    top, total = f32(-np.inf), f32(0)
    for begin in range(0, row.shape[0], BLOCK):
        part = row[begin : begin + BLOCK]
        fetch(part, AHEAD, BLOCK)
        here = largest(part)
        if here > top or here != here:  # NaN stays
            total *= exp_of_negative(top - here) if total > f32(0) else f32(1)
            top = here
        if top != f32(-np.inf):  # else nothing yet: -∞ has no differences
            for i in range(part.shape[0]):
                total += exp_of_negative(part[i] - top)
    return top, total if top != f32(-np.inf) else f32(np.nan)


@inlined
def exponentials(row, held):
    """held = exp(x - base), and base, max x, Σ held: the base is near the maximum, so that few are ever scaled."""
    base, top, total = f32(-np.inf), f32(-np.inf), f32(0)
    for begin in range(0, row.shape[0], BLOCK):
        part, to = row[begin : begin + BLOCK], held[begin : begin + BLOCK]
        fetch(part, AHEAD, BLOCK)
        here = largest(part)
        if here > top or here != here:
            top = here
            if not here <= base + ROOM:
                scale = exp_of_negative(base - here) if total > f32(0) else f32(1)
                total *= scale
                for i in range(begin):
                    held[i] *= scale
                base = here
        if base != f32(-np.inf):
            for i in range(part.shape[0]):
                to[i] = exp_of_negative(part[i] - base)
                total += to[i]
        else:
            to[:] = 0
    return base, top, total if top != f32(-np.inf) else f32(np.nan)


@loop("X[::1], i8[::1], i8, i8, b1, X[::1]", "contract")
def _cross_entropy_shares(share, target, classes, ignore_index, mean, outside, start, stop):
    """Each position's share of the loss; a label that is out of bounds makes outside -1."""
    count = 0.0
    outside[0] = 0
    for i in range(start, stop):
        share[i] = target[i] != ignore_index
        count += share[i]
        if share[i] != 0 and (target[i] < 0 or target[i] >= classes):
            outside[0] = -1
    for i in range(start, stop):
        share[i] = share[i] / count if mean else share[i]


@loop("X[::1], X[::1]", "contract")
def _cross_entropy_total(losses, result, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += losses[i]
    result[0] = total


@loop("X[:, ::1], i8[::1], X[::1], X[::1], X[::1], X[::1]", *FAST)
def _cross_entropy(x, target, share, losses, tops, totals, start, stop):
    for r in range(start, stop):
        row = x[r]
        top, total = largest_and_total(row)
        tops[r], totals[r], losses[r] = top, total, 0
        if share[r] != 0:  # an ignored label may be out of bounds
            losses[r] = -share[r] * log_probability(row[target[r]], top, log(total))


@loop("X[:, ::1], i8[::1], X[::1], X[::1], X[::1], X[::1], b1, X[:, ::1]", *FAST)
def _cross_entropy_ahead(x, target, share, losses, tops, totals, past, by_x, start, stop):
    """The same and share (p - 1 at the label, else p): the exponentials wait in the second cache for their sum."""
    x, by_x, held, factors = bare(x), bare(by_x), scratch(1, x.shape[1])[0], np.empty(1, x.dtype)
    for r in range(start, stop):
        row, to = x[r], by_x[r]
        base, top, total = exponentials(row, held)
        tops[r], totals[r], losses[r] = top, total * exp_of_negative(base - top), 0
        factors[0] = factor = share[r] / total
        if past:
            stream(held, factors, to)
        else:
            for i in range(to.shape[0]):
                to[i] = held[i] * factor
        if share[r] != 0:
            label = target[r]
            losses[r] = -share[r] * log_probability(row[label], top, log(totals[r]))
            to[label] = share[r] * (held[label] / total - f32(1))
    if past:
        settle()


def _cross_entropy_operands(x, target, weight, ignore_index, reduction, label_smoothing):
    """Memory for four numbers a position, the first of them its share, or why not."""
    if weight is not None or label_smoothing or x.ndim != 2 or reduction not in ("mean", "sum", "none"):
        return OPTIONS
    if not x.size:
        return EMPTY
    if not _plain(target):
        return LAYOUT
    if target.dtype != np.int64 or target.shape != x.shape[:1]:
        return LABELS
    numbers, outside = empty((4, len(x)), x.dtype), empty((1,), x.dtype)
    _cross_entropy_shares.alone(
        len(x), numbers[0], target, x.shape[1], ignore_index, reduction == "mean", outside
    )
    return LABELS if wrong(outside) else numbers


def _cross_entropy_results(numbers, reduction):
    share, losses, top, total = numbers
    if reduction == "none":
        return losses, share, share, top[:, None], total[:, None]
    result = empty((1,), losses.dtype)
    _cross_entropy_total.alone(len(losses), losses, result)
    return result.reshape(()), share, share, top[:, None], total[:, None]


@kernel(_cross_entropy, _cross_entropy_shares, _cross_entropy_total)
def cross_entropy_forward(
    x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    numbers = _cross_entropy_operands(x, target, weight, ignore_index, reduction, label_smoothing)
    if type(numbers) is Declined:
        return numbers
    if not _plain(x):
        return LAYOUT
    _cross_entropy(len(x), 0.3 * x.size, x, target, *numbers)
    return _cross_entropy_results(numbers, reduction)


@kernel(_cross_entropy_ahead, _cross_entropy_shares, _cross_entropy_total)
def cross_entropy_ahead(x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if reduction == "none":
        return SHARES
    numbers = _cross_entropy_operands(x, target, weight, ignore_index, reduction, label_smoothing)
    if type(numbers) is Declined:
        return numbers
    if not _plain(x):
        return LAYOUT
    by_x = empty(x.shape, x.dtype)
    _cross_entropy_ahead(len(x), 0.4 * x.size, x, target, *numbers, by_x.nbytes >= PAST, by_x)
    return *_cross_entropy_results(numbers, reduction), by_x


def cross_entropy_rest(m, g, by_x):
    if g != 1:
        m.multiply(by_x, g, out=by_x)
    return by_x


@loop("X[:], X[:, ::1], i8[::1], X[::1], X[::1], X[::1], X[:, ::1]", *FAST)
def _cross_entropy_rule(g, x, target, own, tops, totals, by_x, start, stop):
    for r in range(start, stop):
        share = own[r] * g[r if g.shape[0] > 1 else 0]
        row, to, top, factor = x[r], by_x[r], tops[r], share / totals[r]
        for i in range(row.shape[0]):
            to[i] = factor * exp_of_negative(row[i] - top)
        if share != 0:  # an ignored label may be out of bounds
            label = target[r]
            to[label] = share * (exp_of_negative(row[label] - top) / totals[r] - f32(1))


@kernel(_cross_entropy_rule)
def cross_entropy_gradient(
    g, x, target, weight, own, even, top, total, ignore_index, reduction, label_smoothing
):
    if weight is not None or label_smoothing or x.ndim != 2:
        return OPTIONS
    if not x.size:
        return EMPTY
    if not (_plain(x) and _plain(target)):
        return LAYOUT
    if target.dtype != np.int64:
        return LABELS
    by_x = empty(x.shape, x.dtype)
    rows = own.reshape(-1), top.reshape(-1), total.reshape(-1)
    _cross_entropy_rule(len(x), 0.3 * x.size, g.reshape(-1), x, target, *rows, by_x)
    return by_x
