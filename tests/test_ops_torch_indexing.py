"""Indexing beside torch: drawn index expressions, read and written, with gradients; masks, tensors, lists, errors."""

from __future__ import annotations

import numpy as np
import pytest
from beside_torch import OURS, THEIRS, agree
from hypothesis import given
from hypothesis import strategies as st
from sides import quietly
from test_ops_gradients import examples

REFUSALS = (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError)


# ---- drawn expressions -----------------------------------------------------------------------------------
# An expression is a tuple of parts: ints, slices, None, Ellipsis, and ("ints", array), ("mask", array), ("list", list),
# which become tensors or lists of a side.


@st.composite
def slices(draw, n):
    start = draw(st.none() | st.integers(-n - 1, n + 1))
    stop = draw(st.none() | st.integers(-n - 1, n + 1))
    return slice(start, stop, draw(st.sampled_from([None, 1, 2, 3])))


@st.composite
def expressions(draw, shape, advanced=True):
    """Parts that index an array of a shape, most of them legal."""
    parts, dims = [], list(shape)
    count = draw(st.integers(0, len(dims)))
    ellipsis_at = draw(st.none() | st.integers(0, count))
    common = draw(st.sampled_from([(), (1,), (2,), (2, 1), (0,)]))
    position = 0
    for k in range(count):
        if k == ellipsis_at:
            parts.append(Ellipsis)
            position = len(dims) - (count - k)
        n = dims[position] if position < len(dims) else 1
        kinds = ["slice", "int", "none"] + (["ints", "list", "mask", "zero", "numpy"] if advanced else [])
        kind = draw(st.sampled_from(kinds))
        if kind == "none":
            parts.append(None)
            continue
        if kind == "slice":
            parts.append(draw(slices(n)))
        elif not n and kind != "mask":
            parts.append(slice(None))
        elif kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind in ("ints", "numpy"):
            found = draw(st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))
            array = np.resize(np.array(found), common) if common else np.array(found[0])
            parts.append((kind, array))
        elif kind == "list":
            parts.append(("list", draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=3))))
        elif kind == "zero":
            parts.append(("ints", np.array(draw(st.integers(-n, n - 1)))))
        else:
            parts.append(("mask", np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)))
        position += 1
    return tuple(parts)


def index_of(parts, side):
    made = []
    for p in parts:
        if isinstance(p, tuple):
            kind, value = p
            made.append(value if kind in ("list", "numpy") else side.tensor(value))
        else:
            made.append(p)
    return tuple(made) if len(made) != 1 else made[0]


SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


def base(side, shape, grad=True):
    return side.tensor(np.arange(float(np.prod(shape, dtype=int))).reshape(shape) * 0.1, "float64", grad=grad)


def attempt(call, *args):
    try:
        return quietly(call, *args)
    except REFUSALS as e:
        return e


def compared(label, call, empty=False):
    """What both sides give, after agreeing; torch's refusals must be ours too. None when refused.

    Of an empty tensor either may skip a check that the other makes.
    """
    theirs, ours = (attempt(call, side) for side in (THEIRS, OURS))
    if empty and isinstance(theirs, Exception) != isinstance(ours, Exception):
        return None
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{label}: torch refuses ({theirs}), here {ours}"
        return None
    assert not isinstance(ours, Exception), f"{label}: {ours!r}, in torch {theirs}"
    agree(ours, theirs, label)
    return theirs, ours


@examples(12)
@given(st.data())
def test_reading_by_any_index_agrees_with_gradients(data):
    shape = data.draw(SHAPES)
    parts = data.draw(expressions(shape))
    grads = []

    def read(side):
        x = base(side, shape)
        y = x[index_of(parts, side)]
        (y * side.tensor(np.arange(1.0, y.numel() + 1).reshape(tuple(y.shape)), "float64")).sum().backward()
        grads.append(x.grad)
        return y

    if compared(f"x{shape}[{parts}]", read, 0 in shape) is not None:
        agree(grads[1], grads[0], f"gradient of x{shape}[{parts}]")


@examples(8)
@given(st.data())
def test_what_is_a_view_in_torch_is_a_view_here(data):
    shape = data.draw(SHAPES)
    parts = data.draw(expressions(shape, advanced=data.draw(st.booleans())))
    seen = []

    def write_through(side):
        x = base(side, shape, grad=False)
        y = x[index_of(parts, side)]
        y += 100
        seen.append(x)
        return y

    if compared(f"y = x{shape}[{parts}]; y += 100", write_through, 0 in shape) is not None:
        agree(seen[1], seen[0], f"x after y = x{shape}[{parts}]; y += 100")


@examples(12)
@given(st.data())
def test_writing_by_any_index_agrees_with_gradients(data):
    shape = data.draw(SHAPES)
    parts = data.draw(expressions(shape))
    form = data.draw(st.sampled_from(["number", "whole", "row", "zero-d", "wrong"]))
    probe = attempt(lambda side: base(side, shape)[index_of(parts, side)], THEIRS)
    if isinstance(probe, Exception):
        part = ()
    else:
        part = tuple(probe.shape)
        if any(isinstance(p, tuple) for p in parts) and _repeats(shape, parts):
            form = "number"  # among several writers torch picks any
    size = {"whole": part, "row": part[-1:], "zero-d": (), "wrong": (*part, 2)}.get(form)
    grads = []

    def write(side):
        leaf, value = base(side, shape), 7.5 if size is None else base(side, size)
        x = leaf * 1
        x[index_of(parts, side)] = value
        (x * x).sum().backward()
        grads.append((leaf.grad, None if size is None else value.grad))
        return x

    label = f"x{shape}[{parts}] = {form}"
    if compared(label, write, 0 in shape) is not None:
        agree(grads[1][0], grads[0][0], f"gradient of the base, {label}")
        if size is not None:
            agree(grads[1][1], grads[0][1], f"gradient of the value, {label}")


def _repeats(shape, parts):
    """Does the index reach an element twice?"""
    at = base(OURS, shape, grad=False)[index_of(parts, OURS)].numpy()
    return len(np.unique(at)) != at.size


@examples(6)
@given(st.data())
def test_masks_of_any_rank_read_and_write_as_in_torch(data):
    shape = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple))
    rank = data.draw(st.integers(0, len(shape)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=8)))
    mask = np.resize(mask, shape[:rank]) if rank else np.array(bool(mask[0]))

    def use(side):
        x = base(side, shape)
        m = side.tensor(mask)
        y = x[m]
        z = x * 1
        z[m] = -1.0
        w = x * 1
        w[~m] = w[~m] * 2
        (y.sum() + (z * z).sum() + (w * w).sum()).backward()
        return y, z, w, x.grad

    compared(f"x{shape}[mask of {mask.shape}]", use)


@pytest.mark.parametrize("call", [
    lambda t, x: x[5], lambda t, x: x[-4], lambda t, x: x[0, 0, 0], lambda t, x: x[1.5], lambda t, x: x["a"],
    lambda t, x: x[t.tensor(1.5)], lambda t, x: x[t.tensor([5])], lambda t, x: x[::-1], lambda t, x: x[::0],
    lambda t, x: x[[0, 9]], lambda t, x: x[t.tensor([True])], lambda t, x: x[t.tensor([])], lambda t, x: x[0][0][0],
    lambda t, x: x.__setitem__(0, t.ones(7)), lambda t, x: x.__setitem__(9, 1.0), lambda t, x: x.__setitem__((0, 0, 0), 1.0),
    lambda t, x: x.__setitem__(slice(0, 2), t.ones(3, 4)), lambda t, x: x[t.tensor([[True, False], [True, True]])],
    lambda t, x: x.sum()[0], lambda t, x: x[t.tensor([0, 1]), t.tensor([0, 1, 2])], lambda t, x: x[{}], lambda t, x: x[object()],
])  # fmt: skip
def test_a_bad_index_raises_torchs_kind_of_error(call):
    with pytest.raises(Exception) as theirs:
        call(THEIRS.lib, THEIRS.lib.zeros(3, 4))
    with pytest.raises(theirs.type) as ours:
        call(OURS.lib, OURS.lib.zeros(3, 4))
    assert str(ours.value), "the error says nothing"


@pytest.mark.parametrize("call", [
    lambda t, x: x[1], lambda t, x: x[-1, :2], lambda t, x: x[..., 0], lambda t, x: x[:, None], lambda t, x: x[None],
    lambda t, x: x[[0, 2]], lambda t, x: x[[True, False, True]], lambda t, x: x[t.tensor(1)], lambda t, x: x[t.tensor([0, 2])],
    lambda t, x: x[t.tensor([[0], [2]]), t.tensor([1, 3])], lambda t, x: x[:, [1, 2]], lambda t, x: x[[0, 1], 1:],
    lambda t, x: x[t.tensor([0, 2], dtype=t.int32)], lambda t, x: x[t.tensor([1, 0, 1], dtype=t.uint8)], lambda t, x: x[range(2)],
    lambda t, x: x[np.array([0, 1])], lambda t, x: x[np.int64(1)], lambda t, x: x[True], lambda t, x: x[False], lambda t, x: x[()],
    lambda t, x: x[x > 5], lambda t, x: x[x > 5].sum(), lambda t, x: x[(x > 5).nonzero(as_tuple=True)],
    lambda t, x: x[t.zeros(0, dtype=t.long)], lambda t, x: x[[]], lambda t, x: x[:, t.zeros(0, dtype=t.long)], lambda t, x: x[0:0],
    lambda t, x: x[t.tensor(2):], lambda t, x: x[:t.tensor(2), 0], lambda t, x: x[-1:], lambda t, x: x[5:], lambda t, x: x[1:-1, ::2],
    lambda t, x: x[[0, 1], [1, 2]], lambda t, x: x[t.arange(3), t.tensor([0, 1, 2])],
    lambda t, x: x[None, ..., None], lambda t, x: x[0, ..., 1], lambda t, x: x[t.tensor([0]), None, t.tensor([1])],
    lambda t, x: x[:, t.tensor([True, False, True, True])], lambda t, x: x[t.tensor(True)], lambda t, x: x[1][2], lambda t, x: x.T[1],
    lambda t, x: x[t.eye(3, 4, dtype=t.bool)], lambda t, x: list(x), lambda t, x: [r.sum() for r in x], lambda t, x: len(x),
    lambda t, x: x.tolist(), lambda t, x: 3.0 in x, lambda t, x: x[0, 0].item(), lambda t, x: float(x[0, 1]), lambda t, x: int(x[1, 1]),
    lambda t, x: [10, 20, 30][x[0, 1].long()], lambda t, x: range(x[0, 3].long()), lambda t, x: x[slice(0, 2)], lambda t, x: x[0, None, 1],
])  # fmt: skip
def test_index_expressions_that_user_code_writes_agree(call):
    given = [side.tensor(np.arange(12.0).reshape(3, 4), "float32") for side in (THEIRS, OURS)]
    agree(quietly(call, OURS.lib, given[1]), quietly(call, THEIRS.lib, given[0]), "index")


@pytest.mark.parametrize("write", [
    lambda t, x: x.__setitem__(0, 1), lambda t, x: x.__setitem__((slice(None), 1), t.arange(3.0)), lambda t, x: x.__setitem__(..., 5.0),
    lambda t, x: x.__setitem__(x > 5, 0.0), lambda t, x: x.__setitem__(x > 5, t.arange(6.0)), lambda t, x: x.__setitem__([0, 2], t.ones(4)),
    lambda t, x: x.__setitem__((t.tensor([0, 1]), t.tensor([1, 2])), t.tensor([7.0, 8.0])), lambda t, x: x.__setitem__(slice(None), x * 2),
    lambda t, x: x[1].__setitem__(2, 9.0), lambda t, x: x.T.__setitem__(0, 3.0), lambda t, x: x.__setitem__(slice(1, None), x[:-1].clone()),
    lambda t, x: x.__setitem__((0, 0), t.tensor(4)), lambda t, x: x.__setitem__(0, t.ones(4, dtype=t.float64) / 3),
    lambda t, x: x.__setitem__(0, np.arange(4.0)) if t is not THEIRS.lib else x.__setitem__(0, t.arange(4.0)),
    lambda t, x: x.__setitem__((slice(None), [0, 3]), t.zeros(3, 2)), lambda t, x: x.__setitem__(0, t.ones(1, 4)),
    lambda t, x: x.__setitem__(True, 2.0), lambda t, x: x.__setitem__((), 2.0), lambda t, x: x.__setitem__((None, 0), t.ones(1, 4)),
    lambda t, x: x.__setitem__(t.tensor([1, 0, 1], dtype=t.bool), t.tensor(6.0)), lambda t, x: x.view(-1).__setitem__(slice(0, None, 5), 1.0),
    lambda t, x: x.__setitem__((slice(0, 2), slice(0, 2)), t.eye(2)), lambda t, x: x[0].fill_(3), lambda t, x: x[:, 1].add_(1),
    lambda t, x: x[x > 5].fill_(0), lambda t, x: x.diagonal().fill_(0), lambda t, x: x[0:2].zero_(),
])  # fmt: skip
def test_assignments_that_user_code_writes_agree(write):
    given = [side.tensor(np.arange(12.0).reshape(3, 4), "float32") for side in (THEIRS, OURS)]
    for side, x in zip((THEIRS, OURS), given, strict=True):
        write(side.lib, x)
    agree(given[1], given[0], "after the write")


def test_assignment_converts_to_the_dtype_written_to():
    for kind in ("int64", "bool", "uint8", "float16"):
        given = [side.tensor(np.zeros(4), kind) for side in (THEIRS, OURS)]
        for side, x in zip((THEIRS, OURS), given, strict=True):
            x[0], x[1], x[2] = 1.75, True, side.lib.tensor(3)
            x[3:] = side.lib.tensor([2.5])
        agree(given[1], given[0], kind)
