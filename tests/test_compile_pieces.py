"""Gradients of slices that are all of an array are put beside each other; any others are added, and both are eager's."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad


@pytest.fixture(autouse=True)
def reference():
    with minigrad.kernels("off"):
        yield


def lines_of(function, *operands):
    """The names of what a compiled step runs, whose results and gradients are eager's."""

    def step(*xs):
        for x in xs:
            x.grad = None
        out = function(*xs)
        out.backward()
        return out

    compiled, found = minigrad.compile(step), []
    for call in (step, compiled, compiled):
        out = call(*operands)
        found.append([out.detach().numpy().copy()] + [x.grad.numpy().copy() for x in operands])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)
    return [line.name for line in compiled._latest().program.lines]


def drawn(*shape):
    return minigrad.from_numpy(np.random.default_rng(0).normal(size=shape)).requires_grad_()


def product(*parts):
    out = parts[0].exp()
    for p in parts[1:]:
        out = out * p.exp()
    return out.sum()


ALL = {
    "split": lambda x: product(*x.split(4, 2)),
    "chunk": lambda x: product(*x.chunk(2, 1)),
    "any order": lambda x: product(x[:, 2:].tanh(), x[:, :2].tanh()),
    "from the end": lambda x: product(x[..., -6:], x[..., :-6]),
    "rows": lambda x: product(*x.unbind(1)),
    "one by one": lambda x: product(x[:, 0], x[:, -1], x[:, 1], x[:, 2]),
    "an empty one": lambda x: product(*x.split(4, 2)) + x[:, :, :0].exp().sum(),
    "sums": lambda x: sum(p.square().sum() for p in x.split([3, 4, 5], 2)),
}
NOT_ALL = {
    "some": lambda x: product(x[..., :4], x[..., 4:8]),
    "twice": lambda x: product(x[..., :8], x[..., 4:]),
    "the same": lambda x: product(x[..., :4], x[..., :4].sin()),
    "every other": lambda x: product(x[..., ::2], x[..., 1::2]),
    "two dimensions": lambda x: product(x[:, :2, :6], x[:, 2:, 6:]),
    "of different dimensions": lambda x: product(x[:, :2]) + product(x[..., :4]),
    "by arrays": lambda x: product(x[:, [0, 1]], x[:, [2, 3]]),
    "and itself": lambda x: product(*x.split(4, 2)) + x.sum(),
    "one that is laid out otherwise": lambda x: product(
        *(p.transpose(0, 1).contiguous() for p in x.split(2, 1))
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_parts_that_are_all_are_beside_each_other(name):
    lines = lines_of(ALL[name], drawn(2, 4, 12))
    assert lines.count("cat") == 1 and "getitem_gradient" not in lines


@pytest.mark.parametrize("name", NOT_ALL)
def test_gradients_of_other_parts_are_added(name):
    lines = lines_of(NOT_ALL[name], drawn(2, 4, 12))
    assert "cat" not in lines and "getitem_gradient" in lines


@given(st.lists(st.integers(1, 8), max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_parts_cut_anywhere_and_taken_in_any_order(cuts, random, all_of_them):
    ends = [0, *sorted(cuts), 9]
    parts = list(itertools.pairwise(ends))
    random.shuffle(parts)
    kept = parts if all_of_them else parts[1:]
    if not kept:
        return
    lines = lines_of(lambda x: sum((x[:, a:b].exp() * 3).sum() for a, b in kept), drawn(2, 9))
    left = sum(b - a for a, b in kept) < 9
    assert ("cat" in lines) == (len(kept) > 1 and not left)


def test_a_part_whose_gradient_is_read_again_is_added():
    def step(x):
        whole = x * 1
        a, b = whole[:2], whole[2:]
        a.retain_grad()
        (a.exp().sum() + b.exp().sum()).backward()
        return a.grad * 1

    x = drawn(5, 3)
    compiled = minigrad.compile(step)
    for call in (step, compiled, compiled):
        x.grad = None
        np.testing.assert_array_equal(call(x).numpy(), np.exp(x.detach().numpy()[:2]))
        np.testing.assert_array_equal(x.grad.numpy(), np.exp(x.detach().numpy()))
