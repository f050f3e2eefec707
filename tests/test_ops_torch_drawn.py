"""Calls drawn at random beside torch: einsum equations, reductions, broadcasts, views and in-place chains."""

from __future__ import annotations

import string

import numpy as np
import pytest
from beside_torch import OURS, THEIRS, agree
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from sides import quietly
from test_ops_gradients import examples

REFUSALS = (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError)


def attempt(call, *args):
    try:
        return quietly(call, *args)
    except REFUSALS as e:
        return e


def compared(label, call, same_kind=False):
    """Both refuse, or both compute and agree."""
    theirs, ours = (attempt(call, side) for side in (THEIRS, OURS))
    if isinstance(theirs, Exception):
        saved = "modified by an inplace operation" in str(
            theirs
        )  # our in-place forms keep what they save apart
        assert saved or isinstance(ours, Exception), f"{label}: torch refuses ({theirs}), here {ours}"
        if same_kind:
            assert type(ours) is type(theirs), f"{label}: {ours!r} for {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{label}: {ours!r}, in torch {theirs}"
    agree(ours, theirs, label)


def leaf(side, shape, seed=0, low=-1.0):
    return side.tensor(np.random.default_rng(seed).uniform(low, 2, shape), "float64", grad=True)


def with_gradients(side, result, *leaves):
    """The result and the gradients of its weighted sum."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    total = sum((t * (k + 1.5) * t).sum() for k, t in enumerate(parts) if t.requires_grad)
    if hasattr(total, "backward"):
        total.backward()
    return [*parts, *(x.grad if x.grad is not None else x.detach() * 0 for x in leaves)]


# ---- einsum ----------------------------------------------------------------------------------------------


@st.composite
def equations(draw):
    """An equation of up to three operands, with repeated letters, ellipsis, implicit or explicit output."""
    letters = draw(st.sampled_from(["abc", "abcd", "xAyB"]))
    sizes = {k: draw(st.integers(0, 3)) for k in letters}
    dots = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = draw(st.lists(st.sampled_from(letters), max_size=3))
        shape = [sizes[k] for k in term]
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(term)))
            covered = dots[draw(st.integers(0, len(dots))) :]
            covered = tuple(n if draw(st.booleans()) else 1 for n in covered)
            shape[at:at] = covered
            term.insert(at, "...")
        terms.append("".join(term))
        shapes.append(tuple(shape))
    used = sorted({k for t in terms for k in t if k in letters})
    equation = ",".join(terms)
    if draw(st.booleans()):
        output = draw(st.lists(st.sampled_from(used), unique=True, max_size=4)) if used else []
        if draw(st.booleans()):
            output.insert(draw(st.integers(0, len(output))), "...")
        equation += "->" + "".join(output)
    return equation, shapes


@examples(12)
@given(equations())
def test_any_legal_equation_gives_what_torch_gives_with_gradients(drawn):
    equation, shapes = drawn

    def run(side):
        leaves = [leaf(side, shape, k) for k, shape in enumerate(shapes)]
        return with_gradients(side, side.lib.einsum(equation, *leaves), *leaves)

    compared(f"einsum({equation!r}, {shapes})", run)


@examples(3)
@given(equations())
def test_the_form_with_lists_of_ints_is_the_same_function(drawn):
    equation, shapes = drawn
    number = {k: i for i, k in enumerate(string.ascii_letters)}
    spell = lambda term: [Ellipsis if c == "." else number[c] for c in term.replace("...", ".")]  # noqa: E731
    left, arrow, right = equation.partition("->")

    def run(side):
        leaves = [leaf(side, shape, k) for k, shape in enumerate(shapes)]
        parts = [p for x, term in zip(leaves, left.split(","), strict=True) for p in (x, spell(term))]
        return side.lib.einsum(*parts, *([spell(right)] if arrow else []))

    compared(f"einsum({equation!r}, {shapes}) by lists", run)


@pytest.mark.parametrize("equation, shapes", [
    ("ij,jk->ik", [(2, 3), (4, 2)]), ("ij->ijk", [(2, 3)]), ("ij,jk", [(2, 3)]), ("ij->ii", [(2, 3)]), ("i1->i", [(2, 3)]),
    ("ijk->i", [(2, 3)]), ("i->", [(2, 3)]), ("...i....->i", [(2, 3)]), ("ii->i", [(2, 3)]), ("", [(2,)]), ("ij-ik", [(2, 3)]),
    ("ij,jk->...", [(2, 3), (3, 4)]), ("i->...i", [(2,)]), ("...->...", [(2, 3)]),
])  # fmt: skip
def test_an_illegal_equation_is_refused_where_torch_refuses(equation, shapes):
    compared(equation, lambda side: side.lib.einsum(equation, *[leaf(side, s) for s in shapes]))


# ---- reductions ------------------------------------------------------------------------------------------

REDUCTIONS = ("sum", "mean", "prod", "var", "std", "amax", "amin", "logsumexp", "all", "any", "argmax", "argmin", "max", "min", "cumsum",
              "cumprod", "softmax", "log_softmax", "sort", "median", "norm", "nansum", "count_nonzero", "var_mean", "aminmax")  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
def test_any_dim_of_any_shape_reduces_or_is_refused_as_in_torch(name):
    @examples(0.8)
    @given(st.data())
    def check(data):
        shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
        dim = data.draw(st.integers(-3, 3) | st.lists(st.integers(-3, 2), max_size=3).map(tuple))
        keepdim = data.draw(st.booleans())
        assume(0 not in shape or name not in ("argmax", "argmin", "max", "min", "median", "aminmax", "sort"))
        wrong_there = ("var", "std", "norm", "var_mean", "logsumexp")  # torch's results and gradients over ()
        assume(dim != () or name not in wrong_there)
        assume(name != "norm" or isinstance(dim, int) or len(dim) < 3)  # torch takes it for a matrix norm
        keep = (
            {"keepdim": keepdim}
            if name not in ("cumsum", "cumprod", "softmax", "log_softmax", "sort", "count_nonzero")
            else {}
        )

        def run(side):
            x = leaf(side, shape, 1, 0.1)
            return with_gradients(side, side.function(name)(x, dim=dim, **keep), x)

        compared(f"{name}(x{shape}, dim={dim}, {keep})", run)

    check()


# ---- broadcasting, views, writes ---------------------------------------------------------------------------


@examples(6)
@given(mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=4), st.data())
def test_broadcast_arithmetic_has_torchs_gradients(shapes, data):
    a, b, c = shapes.input_shapes

    def run(side):
        x, y, z = (leaf(side, s, k, 0.5) for k, s in enumerate((a, b, c)))
        t = side.lib
        result = t.where(x > y, x * y / z, t.maximum(x, z) - y) + t.addcmul(x, y, z, value=0.5) * t.lerp(
            x, y, 0.25
        )
        return with_gradients(side, result, x, y, z)

    compared(f"{a} {b} {c}", run)


VIEWS = {
    "t": lambda x: x.T if x.ndim == 2 else x.transpose(0, -1) if x.ndim else x,
    "first": lambda x: x[0] if x.ndim and x.shape[0] else x,
    "every second": lambda x: x[::2] if x.ndim else x,
    "last": lambda x: x[..., -1:] if x.ndim else x,
    "unsqueeze": lambda x: x.unsqueeze(0),
    "flat": lambda x: x.reshape(-1),
    "squeeze": lambda x: x.squeeze(),
    "narrow": lambda x: x.narrow(0, 0, x.shape[0] // 2) if x.ndim else x,
    "select": lambda x: x.select(0, -1) if x.ndim and x.shape[0] else x,
    "diagonal": lambda x: x.diagonal() if x.ndim >= 2 else x,
    "view_as": lambda x: x.view_as(x),
    "detach": lambda x: x.detach(),
}
WRITES = {
    "add_": lambda v, t: v.add_(1.5),
    "mul_": lambda v, t: v.mul_(2),
    "fill_": lambda v, t: v.fill_(0.5),
    "zero_": lambda v, t: v.zero_(),
    "copy_": lambda v, t: v.copy_(v.detach() * 3),
    "set": lambda v, t: v.__setitem__(..., 2.0),
    "set last": lambda v, t: v.__setitem__((..., -1), 4.0) if v.ndim and v.shape[-1] else v,
    "tanh_": lambda v, t: v.tanh_(),
    "relu_": lambda v, t: t.relu_(v),
    "clamp_": lambda v, t: v.clamp_(-0.5, 0.5),
    "masked_fill_": lambda v, t: v.masked_fill_(v > 0, -1.0),
    "pow_": lambda v, t: v.pow_(2),
    "div_": lambda v, t: v.div_(v.detach().abs() + 1),
    "sub_ base": lambda v, t: v.sub_(0.25),
    "+=": lambda v, t: v.__iadd__(0.5),
}


@examples(14)
@given(st.data())
def test_chains_of_views_and_in_place_writes_have_torchs_values_and_gradients(data):
    """The base is written through views and the views see it; gradients follow, or both refuse."""
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    steps = data.draw(st.lists(st.tuples(st.sampled_from(sorted(VIEWS)), st.sampled_from([*sorted(WRITES), None]), st.booleans()),
                               min_size=1, max_size=4))  # fmt: skip

    def run(side):
        x = leaf(side, shape)
        base = x * 1.0
        seen = [base]
        for view, write, from_base in steps:
            v = VIEWS[view](base if from_base else seen[-1])
            if write is not None:
                WRITES[write](v, side.lib)
            seen.append(v)
        return with_gradients(side, [base, *(v for v in seen[1:] if v.requires_grad)], x)

    compared(f"{shape} {steps}", run)


@examples(4)
@given(st.data())
def test_writes_without_grad_mode_reach_every_view(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(VIEWS)), st.sampled_from(sorted(WRITES))), min_size=1, max_size=5
        )
    )

    def run(side):
        x = leaf(side, shape)
        with side.lib.no_grad():
            seen = [x]
            for view, write in steps:
                v = VIEWS[view](seen[-1])
                WRITES[write](v, side.lib)
                seen.append(v)
        return [*seen, side.tensor(x.requires_grad)]

    compared(f"{shape} {steps}", run)


@pytest.mark.parametrize("write", ["add_", "mul_", "copy_", "relu_", "+="])
def test_memory_that_an_expanded_view_repeats_is_not_written_to(write):
    compared(write, lambda side: WRITES[write](side.lib.ones(2, 1).expand(2, 3), side.lib), same_kind=True)
