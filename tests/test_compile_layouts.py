"""Copies around products that a compiled function saves, counted, and those that it has to make."""

import numpy as np
import pytest

import minigrad
from minigrad.compiler.primitives import Primitive
from minigrad.nn import functional as F


@pytest.fixture(autouse=True)
def reference(nothing_compiles):
    """The rows' own functions."""


def weight(*shape):
    return minigrad.from_numpy(
        np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / 8
    ).requires_grad_()


def copies(f, *args, wrt=()):
    """Elements that a replay, forward and backward, copies into another order; the results are the uncompiled ones."""
    compiled, runs = minigrad.compile(f), []
    for call in (compiled, compiled, compiled, f):
        for t in wrt:
            t.grad = None
        out = call(*args)
        out = out if isinstance(out, tuple) else (out,)
        if wrt:
            sum((t * (k + 0.5)).sum() for k, t in enumerate(out) if t.requires_grad).backward()
        runs.append([*(t.detach().numpy().copy() for t in out), *(t.grad.numpy().copy() for t in wrt)])
    for run in runs[:-1]:
        for ours, theirs in zip(run, runs[-1], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    replay = compiled._last
    plans = [replay.planned.plan, *([] if replay.backward is None else [replay.backward.run.plan])]
    lines = [line for p in plans for line in p.program.lines]
    moved = [
        x for x in lines if isinstance(x, Primitive) and x.text == "copyto" and hasattr(x.args[1], "strides")
    ]
    return sum(int(np.prod(x.args[0].shape)) for x in moved)


def heads(x, w):
    n, t, d = x.shape
    return (x @ w).reshape(n, t, 4, d // 4).transpose(1, 2)


def test_attention_by_hand_puts_heads_side_by_side_without_a_copy():
    def attention(x):
        q, k, v = (heads(x, w) for w in ws[:3])
        weights = (q @ k.transpose(-2, -1) / 4).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(x.shape) @ ws[3]

    ws, x = [weight(32, 32) for _ in range(4)], weight(2, 12, 32)
    # the gradient of the keys comes turned, and is copied for the one product that their weight's gradient is
    assert copies(attention, x, wrt=[x, *ws]) == x.numel()
    q, k, v = (weight(2, 4, 12, 8) for _ in range(3))
    side = lambda *qkv: F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(2, 12, 32) @ ws[3]  # noqa: E731
    assert copies(side, q, k, v, wrt=[q, k, v]) == 0


def test_a_copy_that_products_alone_read_is_read_through():
    w, x = weight(32, 32).detach(), weight(2, 12, 32).detach()
    assert copies(lambda x: heads(x, w).contiguous() @ heads(x, w).transpose(-2, -1), x) == 0


def test_an_elementwise_call_writes_in_another_order():
    x = weight(5, 5, 8)  # not in the place of its operand, which is of the same shape
    assert copies(lambda x: (x.exp() * 2).transpose(0, 1).contiguous() * 3, x) == 0
    x, w = weight(3, 4, 5), weight(4, 6)
    assert copies(lambda x: (x * 2).permute(1, 0, 2).reshape(4, 15), x) == 0
    assert copies(lambda x: ((x * 2).permute(1, 0, 2).reshape(4, 15).t() @ w) * 2, x) == 0


NEEDED = {  # why: how many elements
    "the array is read as well": (lambda x, w: ((y := x @ w).transpose(0, 1).reshape(12, -1), y * 2), 768),
    "the array leaves": (lambda x, w: ((y := x @ w), y.transpose(0, 1).reshape(12, -1)), 768),
    "it is an argument's": (lambda x, w: x.transpose(0, 1).reshape(12, -1) * 2, 768),
    "the array is written to in between": (lambda x, w: between(x @ w, w), 768),
    "the copy is written to": (lambda x, w: ((y := x @ w).transpose(0, 1).contiguous().mul_(2) @ w, y @ w), 768),
    "columns for rows": (lambda x, w: (x @ w).transpose(1, 2).contiguous() * 2, 768),
    "a product would be turned round": (lambda x, w: (x @ w).transpose(1, 2).contiguous() @ (x @ w), 768),
    "a sum reads it": (lambda x, w: ((y := x @ w) * 2, y.transpose(0, 1).contiguous().sum(0)), 768),
    "a vector's product": (lambda x, w: (y := x @ w).transpose(0, 1).contiguous() @ (y * 2).sum((0, 1)), 768),
    "a column": (lambda x, w: ((y := x @ w) * 2, y.transpose(0, 1).contiguous() @ w[:, :1]), 768),
    "a part of the array": (lambda x, w: (x @ w)[:, :6].transpose(0, 1).contiguous() * 2, 384),
    "a part of a batch": (lambda x, w: (minigrad.cat([x, x]) @ w)[:2].transpose(0, 1).contiguous() * 2, 768),
    "a part is read": (lambda x, w: ((y := x @ w) * 2, y.transpose(0, 1).contiguous()[:6] @ w), 768),
    "a sum's result": (lambda x, w: (x @ w).reshape(2, 12, 4, 8).sum(2).transpose(0, 1).contiguous() * 2, 192),
    "an argument's, read by a product": (lambda x, w: x.transpose(0, 1).contiguous() @ w, 768),
    "whole numbers of it": (lambda x, w: (x @ w * 8).transpose(0, 1).int(), 768),
    "a row of it, repeated": (lambda x, w: minigrad.where(x > 0, x, (x @ w)[0, 0]), 2 * 768),
    "another dtype": (lambda x, w: (x @ w).transpose(0, 1).double(), 768),
}  # fmt: skip


def between(y, w):
    copied = y.transpose(0, 1).contiguous()
    first = copied @ w
    y.mul_(3)
    return first + copied @ w + y.transpose(0, 1)


@pytest.mark.parametrize("name", NEEDED)
def test_copies_that_are_needed_are_made(name):
    function, wanted = NEEDED[name]
    x, w = weight(2, 12, 32).detach(), weight(32, 32).detach()
    assert copies(function, x, w) == wanted


@pytest.mark.parametrize("seed", range(40))
def test_values_are_right_whatever_is_moved(seed):
    rng = np.random.default_rng(seed)
    dims, order = rng.integers(1, 5, 4).tolist(), rng.permutation(4).tolist()
    x, w = weight(*dims, 3), weight(3, dims[-1])

    def f(x, w):
        moved = ((x @ w) * 1.5).permute(*order, 4).contiguous() @ w.t()
        return moved.permute(4, *order).reshape(3, -1) * 2

    copies(f, x, w, wrt=[x, w])
