"""The kernel set "numba": every kernel beside its readable twin, how it is loaded, and that faults are caught."""

import inspect
import math
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import op_cases
import pytest

import minigrad
from minigrad import autograd, backend, threads
from minigrad.autograd import apply, wrap
from minigrad.op import OPS, REQUIRED

numba = pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import (  # type: ignore[attr-defined]  # noqa: E402
    ALONE,
    BESIDE_BLAS,
    BY_HAND,
    FORWARD_ONLY,
    dropout,
    elementwise,
    embedding,
    index,
    loading,
    mathematics,
    normalization,
    optimizer,
    quantized,
    softmax,
)

pytestmark = pytest.mark.usefixtures("only_numba")

CLAIMED = [row for row in OPS.values() if any(s == "numba" for s, _, _ in row.kernels)]
GENERATED = [row for row in CLAIMED if row.elementwise]
UPDATES = [row for row in CLAIMED if "param" in row.mutates]
ROWS = {row.name for row in CLAIMED}
LAYOUTS = (*op_cases.LAYOUTS, "misaligned")
SHAPES = [
    (),
    (0,),
    (3, 0),
    (1,),
    (17,),
    (5, 7),
    (33, 65),
]  # 17, 65: one past the widest vector, and its unrolling


def ids(value):
    return getattr(value, "name", None)


def laid_out(array, layout):
    if array is None or layout != "misaligned":
        return op_cases.laid_out(array, layout)
    made = np.frombuffer(bytearray(b"\0" + array.tobytes()), array.dtype, array.size, 1).reshape(array.shape)
    made.flags.writeable = False
    assert not made.flags.aligned or not made.size
    return made


def values(row, shape, rng, position=0):
    low, high = row.domain
    return rng.uniform(low, high, shape).astype(np.float32)


def answers(mode, row, arrays, attrs, wrt, weight):
    """Outputs and gradients in a mode, and what ran."""
    with minigrad.kernels(mode, wait=True):
        tensors = [None if a is None else wrap(a) for a in arrays]
        for i in wrt:
            tensors[i].requires_grad_()

        def both():
            out = apply(row, tensors, attrs)
            first = out[0] if isinstance(out, tuple) else out
            seed = wrap(weight(first.shape))
            grads = autograd.grad(first, [tensors[i] for i in wrt], seed) if wrt else ()
            return [t._array for t in (out if isinstance(out, tuple) else (out,))] + [g._array for g in grads]

        result, choices = minigrad.explain(both)
    return result, [(c.part, c.ran, c.why) for c in choices if c.op == row.name]


def agree(found, expected, rtol=3e-6, atol=1e-6):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.allclose(a, b, rtol=rtol, atol=atol * max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0))),
                           equal_nan=True)  # fmt: skip


def weight_of(rng, layout="plain", dtype=np.float32):
    return lambda shape: laid_out(np.asarray(rng.uniform(0.5, 1, shape), dtype), layout)


def beside_the_twin(row, arrays, attrs, wrt, layout="plain", **tolerance):
    """A kernel and its row on the same operands, which stay as they are. Returns what ran."""
    given = [laid_out(a, layout) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    dtype = arrays[row.first].dtype
    weight = weight_of(np.random.default_rng(1), layout, dtype)
    before = [None if a is None else a.tobytes() for a in given]
    fast, ran = answers("numba", row, given, attrs, wrt, weight)
    weight = weight_of(np.random.default_rng(1), layout, dtype)
    slow, _ = answers("off", row, given, attrs, wrt, weight)
    agree(fast, slow, **tolerance)
    assert [None if a is None else a.tobytes() for a in given] == before
    assert not any(np.shares_memory(a, b) for a in fast for b in given if b is not None)
    return ran


BOTH = [("forward", "numba", ""), ("gradient", "numba", "")]

# ---- functions ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_range():
    """Floats in strides over all bit patterns, and the special ones."""
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-45,
        1e-38,
        88.7,
        89.1,
        -87.4,
        -103.9,
        -104.1,
        1.0,
        -1.0,
    ]
    strided = np.arange(0, 2**32, 16381, dtype=np.uint32).view(np.float32)
    return np.concatenate([np.array(special, np.float32), strided])


EXACT = {
    **{n: getattr(np, n) for n in ("exp", "expm1", "exp2", "log", "log2", "log10", "log1p", "tanh", "sin", "cos")},
    "erf": np.vectorize(math.erf, [float]), "erfc": np.vectorize(math.erfc, [float]),
    "ndtr": np.vectorize(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)), [float]),
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("name", mathematics.ULPS)
def test_a_function_is_within_its_bound_over_the_whole_of_float32(name, whole_range):
    found = over_all(mathematics.NARROW[name], whole_range)
    with np.errstate(all="ignore"):
        exact = EXACT[name](whole_range.astype(np.float64))
        rounded = exact.astype(np.float32)
        ulp = np.spacing(np.maximum(np.abs(rounded), np.finfo(np.float32).tiny)).astype(np.float64)
        error = np.abs(found - exact) / ulp
    finite = np.isfinite(rounded)
    assert np.array_equal(found[~finite], rounded[~finite], equal_nan=True)
    assert error[finite].max() <= mathematics.ULPS[name]
    assert np.array_equal(
        np.signbit(found), np.signbit(rounded) & ~np.isnan(rounded) | np.isnan(rounded) & np.signbit(found)
    )


def over_all(function, x):
    """A function of mathematics.py over an array."""
    text = "def all_of_it(x, out, start, stop):\n    for i in range(start, stop):\n        out[i] = f(x[i])\n"
    space = {"f": function, "__name__": loading.__name__}
    exec(text, space)
    loop = loading.Loop(space["all_of_it"], "X[::1], X[::1]", frozenset(), text + function.__name__)
    loop.load(x.dtype)
    out = np.empty_like(x)
    loop(out.size, 0.0, x, out)
    return out


@pytest.mark.once
def test_the_exponential_of_softmax_is_within_a_unit_down_to_where_it_is_zero(whole_range):
    x = whole_range[whole_range <= 0]
    found, exact = over_all(mathematics.exp_of_negative, x), np.exp(x.astype(np.float64))
    assert not found[x < -86.6].any()
    inside = x >= -86.6
    assert (np.abs(found - exact) / np.spacing(exact.astype(np.float32)))[inside].max() <= 1


@pytest.mark.once
def test_gelu_in_float32_is_within_its_bound_and_has_its_tail(whole_range):
    minigrad.warmup("gelu")
    x = np.concatenate(
        [whole_range[np.isfinite(whole_range)], np.linspace(-15, 15, 100_001, dtype=np.float32)]
    )
    with minigrad.kernels("require"):
        found = minigrad.nn.functional.gelu(minigrad.from_numpy(x)).numpy()
    exact = x * EXACT["ndtr"](x.astype(np.float64))
    error = np.abs(found - exact)
    assert (error <= 1.2e-7 * np.maximum(1, np.abs(exact))).all()
    tail = (x < 0) & (exact < -1e-35)
    assert (error[tail] <= 5e-7 * np.abs(exact[tail])).all() and tail.sum() > 10_000


def test_the_bounds_are_of_the_functions_there_are():
    assert set(mathematics.ULPS) == set(mathematics.NARROW) == set(EXACT)


# ---- kernels beside their twins -------------------------------------------------------------------------


def optimizer_rows():
    from minigrad.ops import optimizer as rows

    return [
        name for name in vars(rows) if name.endswith("_") and name in OPS and name != "scale_"
    ]  # one pass as it is


def test_the_set_claims_what_it_is_for():
    assert {"sigmoid", "silu", "gelu", "softplus", "elu", "erf", "logit"} <= {row.name for row in GENERATED}
    assert {
        "softmax",
        "log_softmax",
        "cross_entropy",
        "layer_norm",
        "rms_norm",
        "batch_norm",
        "embedding",
        "unembed",
        "vector_norm",
        "gather",
        "unpick",
        "scatter_add",
        "topk",
    } <= ROWS
    assert set(optimizer_rows()) == {row.name for row in UPDATES}
    assert not {"exp", "tanh", "sin", "add", "relu", "pow"} & ROWS  # NumPy's own loops


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("row", GENERATED, ids=ids)
def test_a_generated_kernel_gives_what_its_row_gives(row, layout):
    minigrad.warmup(row.name)
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for case in row.cases or ((None, {}),):
            attrs = {**row.attrs, **case[1]}
            ran = beside_the_twin(row, [values(row, shape, rng)], attrs, [0], layout)
            if layout in ("plain", "transposed"):
                assert ran == BOTH


SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 100, -100, 0.5] * 3, np.float32
)


@pytest.mark.parametrize("row", GENERATED, ids=ids)
def test_a_generated_kernel_treats_nan_and_infinity_as_its_row_does(row):
    minigrad.warmup(row.name)
    for case in row.cases or ((None, {}),):
        assert beside_the_twin(row, [SPECIAL], {**row.attrs, **case[1]}, [0]) == BOTH


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_gives_what_its_row_gives(name, layout):
    minigrad.warmup(name)
    rng = np.random.default_rng(0)
    for shape in [(1,), (3, 5), (2, 17), (4, 1031), (2, 3, 65), (0, 3), (3, 0), ()]:
        for dim in {-1, 0} if shape else {0}:
            if 0 in shape and dim == -1 and shape[-1] == 0:
                continue
            x = rng.uniform(-4, 4, shape).astype(np.float32)
            ran = beside_the_twin(OPS[name], [x], {"dim": dim}, [0], layout)
            if layout == "plain" and x.size and dim == -1:
                assert ran == BOTH
    x = (1e4 + rng.uniform(-4, 4, (5, 33))).astype(np.float32)  # far from zero: what is subtracted first?
    beside_the_twin(OPS[name], [x], {"dim": -1}, [0], layout)
    x = rng.uniform(-4, 4, (5, 33)).astype(np.float32)
    x[0, 3], x[1, 4], x[2, 5], x[3] = np.nan, np.inf, -np.inf, -np.inf
    beside_the_twin(OPS[name], [x], {"dim": -1}, [0], layout)
    x[4, 7] = np.array(0xFFC12345, np.uint32).view(np.float32)  # NaN with a sign and a payload
    beside_the_twin(OPS[name], [x], {"dim": -1}, [0], layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cross_entropy_gives_what_its_row_gives(layout):
    minigrad.warmup("cross_entropy")
    row, rng = OPS["cross_entropy"], np.random.default_rng(0)
    for (n, classes), reduced in zip(
        [(1, 1), (3, 5), (7, 17), (33, 1031)], ["mean", "sum", "none", "mean"], strict=True
    ):
        x, target = rng.uniform(-4, 4, (n, classes)).astype(np.float32), rng.integers(0, classes, n)
        target[0] = -100
        for ignored in [target] if n > 1 else [np.zeros(1, np.int64)]:
            attrs = {**row.attrs, "reduction": reduced}
            ran = beside_the_twin(row, [x, ignored, None], attrs, [0], layout)
            assert layout != "plain" or ran == BOTH
    for attrs in ({"label_smoothing": 0.1}, {"reduction": "sum"}):
        weight = rng.uniform(0.5, 2, 17).astype(np.float32)
        beside_the_twin(row, [rng.uniform(-4, 4, (7, 17)).astype(np.float32), rng.integers(0, 17, 7), weight],
                        {**row.attrs, **attrs}, [0], layout)  # fmt: skip


def test_cross_entropy_follows_a_maximum_that_rises_and_infinities():
    minigrad.warmup("cross_entropy")
    row, rng = OPS["cross_entropy"], np.random.default_rng(0)
    classes = 2 * softmax.BLOCK + 17
    x = (rng.normal(size=(7, classes)) + np.linspace(-40, 40, classes)).astype(np.float32)
    x[1] = x[1, ::-1].copy()
    x[2, : softmax.BLOCK + 1] = -np.inf  # masked
    x[3], x[4, 600], x[5, 3] = -np.inf, np.inf, np.nan
    x[6] += 1e4
    target = np.full(7, classes - 1)
    for reduced in ("none", "sum"):
        attrs = {**row.attrs, "reduction": reduced}
        assert beside_the_twin(row, [x[[0, 1, 2, 6]], target[:4], None], attrs, [0]) == BOTH
        assert beside_the_twin(row, [x, target, None], attrs, [0]) == BOTH


def test_cross_entropy_leaves_a_wrong_label_to_the_row_that_names_it():
    minigrad.warmup("cross_entropy")
    for needs in (False, True):
        with minigrad.kernels("numba"), pytest.raises(IndexError, match="Target 9 is out of bounds"):
            minigrad.nn.functional.cross_entropy(
                minigrad.zeros(2, 3, requires_grad=needs), minigrad.tensor([1, 9])
            )


def logits(n=7, classes=2 * 512 + 17, ignored=()):
    """A leaf, and labels for it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    labels[list(ignored)] = -100
    drawn = 3 * rng.normal(size=(n, classes)).astype(np.float32)
    return minigrad.from_numpy(drawn).requires_grad_(), minigrad.from_numpy(labels)


@pytest.mark.parametrize("past", [0, 2**40])
@pytest.mark.parametrize("classes", [1, 3, 33, 512, 2 * 512 + 17])
@pytest.mark.parametrize("reduced", ["mean", "sum"])
def test_a_gradient_made_ahead_is_the_rows(reduced, classes, past, monkeypatch):
    minigrad.warmup("cross_entropy")
    monkeypatch.setattr(softmax, "PAST", past)
    x, y = logits(classes=classes, ignored=[2, 3])

    def gradients(factor):
        loss = minigrad.nn.functional.cross_entropy(x, y, reduction=reduced)
        return loss._node.ahead is not None, *(
            autograd.grad(loss * factor, x, retain_graph=again)[0].numpy().copy() for again in (True, True, False)
        )  # fmt: skip

    for factor in (1.0, -2.5):
        with minigrad.kernels("off"):
            ahead, expected, *_ = gradients(factor)
            assert not ahead
        with minigrad.kernels("require"):
            ahead, *found = gradients(factor)
            assert ahead
            loss = minigrad.nn.functional.cross_entropy(x, y, reduction=reduced) * factor
            found.append(autograd.grad(loss, x)[0].numpy())
        for g in found:
            agree([g], [expected])


def test_a_gradient_made_ahead_follows_a_maximum_that_rises_and_infinities():
    minigrad.warmup("cross_entropy")
    rng, classes = np.random.default_rng(0), 5 * softmax.BLOCK + 17
    x = (rng.normal(size=(8, classes)) + np.linspace(-90, 90, classes)).astype(np.float32)
    x[1] = x[1, ::-1].copy()
    x[2, : softmax.BLOCK + 1] = -np.inf
    x[3] += 1e4
    x[4] = rng.normal(size=classes) + np.linspace(-7, 7, classes)  # a maximum that rises, but not far
    x[5], x[6, 600], x[7, 1030] = -np.inf, np.inf, np.nan
    for rows in (x[:5], x):
        arrays = [rows, np.full(len(rows), classes - 1), None]
        for reduced in ("mean", "sum"):
            assert beside_the_twin(OPS["cross_entropy"], arrays, {**OPS["cross_entropy"].attrs, "reduction": reduced}, [0]) == BOTH  # fmt: skip


def test_a_gradient_is_made_ahead_only_where_a_walk_may_take_it():
    minigrad.warmup("cross_entropy")
    loss_of = minigrad.nn.functional.cross_entropy
    x, y = logits()
    with minigrad.kernels("require"):
        loss = loss_of(x, y)
        made = loss._node.ahead
        loss.backward()
        assert loss._node.ahead is None and np.shares_memory(x.grad.numpy(), made)  # it became the gradient
        with autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            assert loss_of(x, y)._node.ahead is None
        assert loss_of(x, y, reduction="none")._node.ahead is None
        assert loss_of(x.detach(), y)._node is None
        (first,) = autograd.grad(loss_of(x, y), x, create_graph=True)
        assert first.requires_grad
        kept = loss_of(x, y)
        kept.backward(retain_graph=True)
        assert kept._node.ahead is None  # which a second walk would find used
        loss = loss_of(x * 1, y)
        with minigrad.no_grad():
            x.mul_(2)
        loss.backward()
        z = x * 1
        loss = loss_of(z, y)
        with minigrad.no_grad():
            z.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_compiled_step_makes_its_gradient_ahead_and_a_compiled_loss_does_not():
    minigrad.warmup("cross_entropy")
    loss_of = minigrad.nn.functional.cross_entropy
    x, y = logits()

    def step(x, y):
        x.grad = None
        loss = loss_of(x, y) * 3.0
        loss.backward()
        return loss

    def twice(x, y):  # equal calls, of which each has a gradient to write to
        z = x * 2.0
        one, two = loss_of(z, y), loss_of(z, y)
        return *autograd.grad(one * 3.0, z), *autograd.grad(two * 5.0, z)

    with minigrad.kernels("require"):
        expected = [step(x, y).detach().numpy(), x.grad.numpy().copy()]
        compiled = minigrad.compile(step)
        for _ in range(3):
            found = [compiled(x, y).detach().numpy(), x.grad.numpy()]
            assert all((a == b).all() for a, b in zip(found, expected, strict=True))
        assert "cross_entropy_rest(" in compiled.source()
        pair = [g.numpy().copy() for g in twice(x, y)]
        again = minigrad.compile(twice)
        for _ in range(3):
            assert all((a.numpy() == b).all() for a, b in zip(again(x, y), pair, strict=True))
        alone = minigrad.compile(loss_of)
        for _ in range(2):
            x.grad = None
            loss = alone(x, y) * 3.0
            loss.backward(retain_graph=True)
            loss.backward()
            agree([x.grad.numpy()], [2 * expected[1]])
        assert "and_gradient" not in alone.source()


@pytest.mark.once
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("held[i] *= scale", "held[i] *= f32(1)"),
        ("total *= scale", "total *= f32(1)"),
        ("to[label] = share[r] * (held", "to[label - 1] = share[r] * (held"),
        ("                to[i] = exp_of_negative(part[i] - base)", "                to[i - 1] = exp_of_negative(part[i] - base)"),
        ("total * exp_of_negative(base - top), 0", "total, 0"),
        ("m.multiply(by_x, g, out=by_x)", "pass"),
        ("share[i] / count if mean", "share[i] / (stop - start) if mean"),
    ],
)  # fmt: skip
def test_a_fault_planted_in_a_gradient_made_ahead_is_caught(old, new, tmp_path, monkeypatch):
    row, key = OPS["cross_entropy"], ("numba", "cpu", np.dtype(np.float32))
    minigrad.warmup("cross_entropy")
    monkeypatch.setattr(loading, "_folder", tmp_path)

    def checked():
        test_a_gradient_made_ahead_is_the_rows("mean", 2 * 512 + 17, 2**40, monkeypatch)
        test_a_gradient_made_ahead_follows_a_maximum_that_rises_and_infinities()

    checked()
    made = built(softmax, old, new)
    for loop in made.cross_entropy_ahead.loops:
        loop.load(key[2])
    parts = {
        "ahead": lambda m, *args, **attrs: made.cross_entropy_ahead(*args, **attrs),
        "rest": made.cross_entropy_rest,
    }
    monkeypatch.setitem(row.kernels, key, row.kernels[key]._replace(**parts))
    monkeypatch.setattr(minigrad, "warmup", lambda *names: None)
    with pytest.raises(AssertionError):
        checked()


def tolerance(dtype, rtol=2e-5, atol=1e-5):
    """Of a sum in another order: float64 has 29 bits more."""
    return (
        {"rtol": rtol, "atol": atol}
        if dtype is np.float32
        else {"rtol": rtol * 2**-29, "atol": atol * 2**-29}
    )


@pytest.mark.any_numpy
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_a_norm_of_rows_gives_what_its_row_gives(name, layout, dtype):
    minigrad.warmup(name)
    row, rng = OPS[name], np.random.default_rng(0)
    for shape, over in [
        ((1, 1), 1),
        ((3, 5), 1),
        ((130, 17), 1),
        ((2, 3, 65), 2),
        ((70, 33), 1),
        ((0, 3), 1),
    ]:
        size = shape[-over:]
        drawn = [rng.normal(3, 2, shape), rng.uniform(0.5, 1, size), rng.normal(size=size)][: len(row.inputs)]
        drawn[0].reshape(-1)[:1] += 40  # the first of a row is far from its mean
        for present in ([True] * 3, [True, False, False], [True, True, False]):
            arrays = [a.astype(dtype) if here else None for a, here in zip(drawn, present, strict=False)]
            attrs = {"normalized_shape": size, "eps": 1e-5}
            some = [i for i, a in enumerate(arrays) if a is not None]
            for wrt in (some, [0]):
                ran = beside_the_twin(row, arrays, attrs, wrt, layout, **tolerance(dtype))
                assert layout != "plain" or not arrays[0].size or ran == BOTH


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_norm_written_past_the_cache_gives_what_its_row_gives(dtype, monkeypatch):
    minigrad.warmup("layer_norm")
    monkeypatch.setattr(normalization, "PAST", 0)
    row, rng = OPS["layer_norm"], np.random.default_rng(0)
    for shape in [(1, 16), (2, 64), (3, 48), (131, 32), (70, 2, 80), (5, 17)]:
        drawn = [rng.normal(3, 2, shape), rng.uniform(0.5, 1, shape[-1:]), rng.normal(size=shape[-1:])]
        drawn[0][-1:] += 30
        drawn[0].reshape(-1)[:1] += 40
        for present in ([True] * 3, [True, False, False]):
            arrays = [a.astype(dtype) if here else None for a, here in zip(drawn, present, strict=True)]
            some = [i for i, a in enumerate(arrays) if a is not None]
            attrs = {"normalized_shape": shape[-1:], "eps": 1e-5}
            assert beside_the_twin(row, arrays, attrs, some, **tolerance(dtype)) == BOTH
    x = rng.normal(size=(6, 64)).astype(np.float32)
    x[0, 3], x[1, 4], x[2, 0], x[5, 7] = np.nan, np.inf, -np.inf, np.nan
    attrs = {"normalized_shape": (64,), "eps": 1e-5}
    assert beside_the_twin(row, [x, None, None], attrs, [0], rtol=2e-5, atol=1e-5) == BOTH


@pytest.mark.once
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return (x - mean) * scale * weight + bias, ()", "return (x - mean) * scale * weight - bias, ()"),
        ("return (up * weight - mean_h - y * mean_hy) * scale, (up * y, up)", "return (up * weight - mean_h - y * mean_hy) * scale, (up * y, y)"),
        ("return (up * weight - mean_h - y * mean_hy) * scale, (up * y, up)", "return (up * weight - mean_h) * scale, (up * y, up)"),
        ("top * 4 * x.itemsize", "r * 4 * x.itemsize"),
        ("known.ctypes.data + r * 2 * x.itemsize", "known.ctypes.data"),
        ("by_bias.ctypes.data + b * step", "by_weight.ctypes.data + b * step"),
    ],
)  # fmt: skip
def test_a_fault_planted_past_the_cache_is_caught(old, new, tmp_path, monkeypatch):
    row, key = OPS["layer_norm"], ("numba", "cpu", np.dtype(np.float32))
    minigrad.warmup("layer_norm")
    monkeypatch.setattr(loading, "_folder", tmp_path)
    made, parts = built(normalization, old, new), {}
    made.PAST = 0
    for part, function in (("forward", made.layer_norm_forward), ("vjp", made.layer_norm_gradient)):
        for loop in function.loops:
            loop.load(key[2])
        parts[part] = lambda m, *args, function=function, **attrs: function(*args, **attrs)
    monkeypatch.setitem(row.kernels, key, row.kernels[key]._replace(**parts))
    monkeypatch.setattr(minigrad, "warmup", lambda *names: None)
    with pytest.raises(AssertionError):
        test_a_norm_written_past_the_cache_gives_what_its_row_gives(np.float32, monkeypatch)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_gives_what_its_row_gives(layout, dtype):
    minigrad.warmup("batch_norm")
    row, rng = OPS["batch_norm"], np.random.default_rng(0)
    for shape in [(4, 3, 17), (5, 2, 5, 7), (1, 2, 33), (3, 2, 2), (6, 4)]:
        x, w, b = rng.normal(3, 2, shape), rng.uniform(0.5, 1, shape[1]), rng.normal(size=shape[1])
        for operands in ([x, None, None, w, b], [x, None, None, None, None]):
            arrays = [None if a is None else a.astype(dtype) for a in operands]
            wrt = [i for i, a in enumerate(arrays) if a is not None]
            attrs = {"training": True, "eps": 1e-5}
            ran = beside_the_twin(row, arrays, attrs, wrt, layout, **tolerance(dtype, atol=4e-6))
            assert layout != "plain" or len(shape) < 3 or shape[-1] == 2 or ran == BOTH


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm"])
def test_a_norm_treats_nan_and_infinity_as_its_row_does(name):
    minigrad.warmup(name)
    x = np.random.default_rng(0).normal(size=(5, 3, 33)).astype(np.float32)
    x[0, 0, 3], x[1, 1, 4], x[2, 2, 0], x[3, :, 7] = np.nan, np.inf, -np.inf, np.nan
    attrs = (
        {"training": True, "eps": 1e-5} if name == "batch_norm" else {"normalized_shape": (33,), "eps": 1e-5}
    )
    arrays = [x, *[None] * (len(OPS[name].inputs) - 1)]
    assert beside_the_twin(OPS[name], arrays, attrs, [0], rtol=2e-5, atol=1e-5) == BOTH


def test_a_mean_far_from_zero_does_not_spoil_the_variance():
    minigrad.warmup("batch_norm", "layer_norm")
    x = (1e4 + np.random.default_rng(0).normal(size=(8, 2, 64))).astype(np.float32)
    for name, arrays, attrs in [
        ("batch_norm", [x, None, None, None, None], {"training": True, "eps": 1e-5}),
        ("layer_norm", [x, None, None], {"normalized_shape": (64,), "eps": 1e-5}),
    ]:
        with minigrad.kernels("require"):
            found = apply(OPS[name], [None if a is None else wrap(a) for a in arrays], attrs).numpy()
        exact = OPS[name].forward(np, *[None if a is None else a.astype(np.float64) for a in arrays], **attrs)
        assert np.abs(found - exact).max() < 2e-3  # half a unit in the last place of 10⁴


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", UPDATES, ids=ids)
def test_an_update_has_the_bits_of_its_row(row, layout, dtype):
    minigrad.warmup(row.name)
    rng = np.random.default_rng(0)
    for shape in [(0,), (), (1,), (17,), (33, 65)]:
        for case in row.cases:
            drawn = [
                None if spec is None else rng.uniform(0.1, 1, shape).astype(dtype) for spec in case.operands
            ]
            if shape == (17,):
                drawn[1][:3] = np.nan, np.inf, 0
            results = []
            for mode in ("numba", "off"):
                arrays = [laid_out(a, layout) for a in drawn]
                for i, a in enumerate(arrays):
                    if a is not None and row.inputs[i] != "grad":
                        a.flags.writeable = True
                with minigrad.kernels(mode):
                    ran = minigrad.explain(apply, row, [None if a is None else wrap(a) for a in arrays],
                                           {**row.attrs, **case.attrs}).choices[0]  # fmt: skip
                results.append(
                    [None if a is None else np.where(np.isnan(a), np.nan, a).tobytes() for a in arrays]
                )
                if mode == "numba" and layout in ("plain", "transposed"):
                    assert ran.ran == "numba"
            assert results[0] == results[1]


def test_a_number_that_changes_its_answer_selects_another_loop_of_an_update():
    minigrad.warmup("radam_")
    row, rng = OPS["radam_"], np.random.default_rng(0)
    drawn = [rng.uniform(0.1, 1, 40).astype(np.float32) for _ in range(4)]
    results = []
    for mode in ("require", "off"):
        arrays = [a.copy() for a in drawn]
        with minigrad.kernels(mode):
            for step in range(1, 12):  # from the sixth on the step is rectified
                attrs = {**row.attrs, "step": step, "lr": 0.1 / step, "weight_decay": 0.1 * (step % 3)}
                apply(row, [wrap(a) for a in arrays], attrs)
        results.append([a.tobytes() for a in arrays])
    assert results[0] == results[1]


def test_an_update_that_reads_what_no_loop_has_is_refused():
    row = OPS["adam_"]
    forward = row.forward
    row.forward = lambda m, param, grad, *rest, **numbers: m.cumsum(param)
    try:
        with pytest.raises(AttributeError, match=r"a kernel can't be made of m\.cumsum"):
            optimizer.write(row, (True,) * 5, {})
    finally:
        row.forward = forward


OVER = [((1,), ()), ((17,), 0), ((33, 65), 0), ((33, 65), -1), ((33, 65), ()), ((3, 5, 7), (1, 2)), ((3, 5, 7), (0, 1)), ((2, 20000), (0, 1)), ((40000, 2), 0)]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["amax", "amin"])
def test_an_extremum_alone_has_the_bits_of_its_row_in_every_layout(name, dtype, layout):
    rng = np.random.default_rng(0)
    for shape, dim in OVER:
        for special in ((), (np.inf,), (np.nan, -np.nan), (-np.inf, np.nan)):
            x = rng.normal(3, 2, shape).astype(dtype)
            x.reshape(-1)[: len(special)] = special[: x.size]
            with minigrad.kernels("numba", wait=True):
                ran = beside_the_twin(OPS[name], [x], {"dim": dim, "keepdim": len(special) == 1}, [0], layout, rtol=0, atol=0)  # fmt: skip
            assert layout != "plain" or ran == BOTH, (shape, dim)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["amax", "amin"])
def test_the_kernel_of_an_extremum_s_rule_shares_the_gradient_among_ties(name, dtype):
    rng, row = np.random.default_rng(0), OPS[name]
    for shape, dim in [*OVER, ((4, 5, 6), 1), ((4, 5, 6), (0, 2)), ((70, 300), 0), ((300, 70), -1)]:
        x = rng.integers(0, 3, shape).astype(dtype)
        x.reshape(-1)[-1] = np.nan
        for keepdim in (False, True):
            attrs = {"dim": dim, "keepdim": keepdim}
            with minigrad.kernels("numba", wait=True):
                ran = beside_the_twin(row, [x], attrs, [0], rtol=0, atol=0)
            assert ran == BOTH or dim in (1, (0, 2))


@pytest.mark.any_numpy
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_a_norm_alone_and_its_rule_are_what_their_row_gives(p, layout):
    row, rng = OPS["vector_norm"], np.random.default_rng(0)
    for shape, dim in OVER:
        for keep in (False, True):
            x = rng.normal(3, 2, shape).astype(np.float32)
            attrs = {"p": p, "dim": dim or None, "keepdim": keep}
            with minigrad.kernels("numba", wait=True):
                ran = beside_the_twin(row, [x], attrs, [0], layout, rtol=1e-6, atol=1e-6)
            assert layout != "plain" or p == 3 or ran == (BOTH if p < 3 and x.size > 1 else [BOTH[0], ran[1]])
    x[3] = np.nan
    with minigrad.kernels("numba", wait=True):
        beside_the_twin(row, [x], row.attrs, [0], layout, rtol=1e-6)


def test_a_reduction_that_no_loop_has_is_its_row_s():
    x = minigrad.arange(64 * 64.0).view(16, 16, 16)
    with minigrad.kernels("numba", wait=True):
        for call in (
            lambda: x.amax(1),
            lambda: x.amin(dim=[0, 2]),
            lambda: x.norm(p=0, dim=0),
            lambda: x[:0].norm(),
        ):
            found, choices = minigrad.explain(call)
            with minigrad.kernels("off"):
                assert np.array_equal(found.numpy(), call().numpy())
            assert "no loop has its dimensions" in choices[-1].why
        with pytest.raises(IndexError, match="Expected reduction dim to have non-zero size"):
            x[:0].amax(0)
        with pytest.raises(IndexError, match="Dimension out of range"):
            x.amax(3)


def test_shapes_and_numbers_share_the_loop_of_a_reduction_and_are_forgotten_in_the_end(monkeypatch):
    from minigrad.kernels.numba_cpu import chains, reduction  # type: ignore[attr-defined]

    monkeypatch.setattr(chains, "_lazies", {})
    monkeypatch.setattr(reduction, "KNOWN", 5)
    kernel = reduction.Alone(OPS["amax"], "forward")
    with minigrad.kernels("numba", wait=True):
        for n in range(2, 20):
            x = np.random.default_rng(n).normal(size=(n, 9))
            assert np.array_equal(kernel(np, x, dim=1), x.max(1)) and len(kernel.known) <= 5
    assert len(chains._lazies) == 1


@pytest.mark.once
@pytest.mark.parametrize("fault", [("row[i] == out[r]\n", "row[i] >= out[r] - 1\n"), ("share if row", "g[r] if row"), ("shares[i] += row", "shares[i] = row"),
                                   ("out[start:stop]", "out[:stop - start]"), ("g[start + i]", "g[i]")])  # fmt: skip
def test_a_fault_in_the_rule_of_an_extremum_is_found(fault, monkeypatch):
    from minigrad.kernels.numba_cpu import reduction  # type: ignore[attr-defined]

    made = built(reduction, *fault)
    for loop in made.extremum_gradient.loops:
        loop.load(np.dtype(np.float32))
    monkeypatch.setattr(threads, "_number", 3)
    monkeypatch.setattr(threads, "SHARED", 0.0)
    rule = OPS["amax"].rules[0].function
    x = (np.random.default_rng(0).integers(0, 3, (7, 9)) + 10 * (np.arange(9) // 3)).astype(np.float32)
    found = []
    for dim in (0, 1):
        out = x.max(dim)
        g = 1 + np.arange(out.size, dtype=np.float32)
        with np.errstate(all="ignore"):
            ours = made.extremum_gradient(g, x, out, x.shape, dim, False)
        found.append(np.array_equal(ours, rule(np, g, x, out, x.shape, dim, False)))
    assert not all(found)


@pytest.mark.once
@pytest.mark.parametrize("fault", [("range(X0_1.shape[0])", "range(X0_1.shape[0] - 1)"), ("Z0_0[i0] =", "Z0_0[0] ="), ("larger(", "smaller(")])  # fmt: skip
def test_a_fault_in_a_reduction_alone_is_found(fault, monkeypatch):
    from minigrad.kernels.numba_cpu import chains, reduction  # type: ignore[attr-defined]

    write = chains.Layout.write

    def faulty(self):
        text, *rest = write(self)
        return text.replace(*fault), *rest

    monkeypatch.setattr(chains.Layout, "write", faulty)
    monkeypatch.setattr(chains, "_lazies", {})
    x = np.arange(99.0).reshape(9, 11)
    with minigrad.kernels("numba", wait=True):
        found = reduction.Alone(OPS["amax"], "forward")(np, x, dim=1)
    assert not np.array_equal(found, x.max(1))


def test_the_error_of_a_norm_does_not_grow_with_the_array():
    minigrad.warmup("vector_norm")
    x = np.random.default_rng(0).uniform(0.9, 1.1, 5_000_000).astype(np.float32)
    with minigrad.kernels("require"):
        found = minigrad.linalg.vector_norm(minigrad.from_numpy(x)).item()
    assert abs(found - np.linalg.norm(x.astype(np.float64))) < 1e-6 * found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["gather", "unpick", "scatter_add"])
def test_what_an_index_moves_or_adds_has_the_bits_of_its_row(name, layout, dtype):
    minigrad.warmup(name)
    row, rng = OPS[name], np.random.default_rng(0)
    for shape, k in [((1,), 1), ((17,), 40), ((33, 65), 7), ((2, 3, 5), 4), ((3, 4), 0)]:
        for dim in range(-1, len(shape)):
            taken = list(shape)
            taken[dim] = k
            x, part = rng.normal(size=shape).astype(dtype), rng.normal(size=taken).astype(dtype)
            places = rng.integers(0, shape[dim], taken)
            attrs = {"dim": dim}
            if name == "unpick":
                arrays, attrs = [part, places], {"shape": shape, **attrs}
            else:
                arrays = [x, places] if name == "gather" else [x, places, part]
            ran = beside_the_twin(row, arrays, attrs, [0], layout, rtol=0, atol=0)
            assert layout != "plain" or ran[0] == BOTH[0]
            for wrong in (shape[dim], -1, 2**62) if places.size else ():  # is told by the row
                places.reshape(-1)[-1] = wrong
                kernel = row.kernels["numba", "cpu", np.dtype(dtype)].forward
                assert type(kernel(np, *arrays, **attrs)) is backend.Declined


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_topk_gives_what_its_row_gives(layout, dtype):
    minigrad.warmup("topk")
    row, rng = OPS["topk"], np.random.default_rng(0)
    for shape, k in [((1,), 1), ((17,), 17), ((5, 65), 3), ((2, 3, 1031), 40), ((0, 3), 2), ((3, 4), 0)]:
        x = rng.integers(-9, 9, shape).astype(dtype)  # with ties
        for special in (False, True):
            if special:
                x.reshape(-1)[::3] = rng.choice(
                    [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0], x.reshape(-1)[::3].shape
                )
            ran = beside_the_twin(row, [x], {**row.attrs, "k": k}, [0], layout, rtol=0, atol=0)
            assert layout != "plain" or not k or ran[0] == BOTH[0]
    beside_the_twin(row, [np.arange(1031, dtype=dtype)], {**row.attrs, "k": 128}, [0], layout, rtol=0, atol=0)


def test_unembed_has_the_bits_of_its_row():
    minigrad.warmup("unembed")
    rng = np.random.default_rng(0)
    for n, width in [(0, 3), (1, 1), (40, 17), (300, 65)]:
        for dtype in (np.float32, np.float64):
            x, places = rng.normal(size=(n, width)).astype(dtype), rng.integers(0, 9, n)
            with minigrad.kernels("require"):
                found = apply(OPS["unembed"], [wrap(x), wrap(places)], {"rows": 9}).numpy()
            assert found.tobytes() == OPS["unembed"].forward(np, x, places, rows=9).tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embedding_has_the_bits_of_its_row(dtype, layout):
    minigrad.warmup("embedding")
    rng, row = np.random.default_rng(0), OPS["embedding"]
    for shape, width in [((1,), 1), ((3, 5), 17), ((2, 2, 30), 65), ((0, 2), 3), ((4,), 0)]:
        weight, places = rng.normal(size=(9, width)).astype(dtype), rng.integers(0, 9, shape)
        for padding in (-1, 4):
            attrs = {**row.attrs, "padding_idx": padding}
            ran = beside_the_twin(row, [places, weight], attrs, [1], layout, rtol=0, atol=0)
            assert layout != "plain" or not (places.size and width) or ran == BOTH
    weight[:, :1], places = np.nan, np.tile(np.arange(9)[::2, None], 2)[:, ::1]
    beside_the_twin(row, [places, weight], row.attrs, [1], layout, rtol=0, atol=0)


@pytest.mark.parametrize("places", [[[9]], [[-1]], [[0, 2**40]]])
def test_embedding_leaves_what_it_cannot_to_its_row(places):
    minigrad.warmup("embedding")
    weight, counted = minigrad.ones(9, 65), {"scale_grad_by_freq": True}
    with pytest.raises(IndexError, match="index out of range in self"):
        minigrad.nn.functional.embedding(minigrad.tensor(places), weight)
    row, few = OPS["embedding"], np.array([[1, 2, 1]])
    ran = beside_the_twin(row, [few, weight.numpy()], {**row.attrs, **counted}, [1])
    assert ran[0] == BOTH[0] and "divided by how often" in ran[1][2]
    assert beside_the_twin(row, [few.astype(np.int32), weight.numpy()], row.attrs, [1])[0][1] == "reference"
    assert (
        beside_the_twin(row, [few.repeat(2, 1)[:, ::2], weight.numpy()], row.attrs, [1])[0][1] == "reference"
    )


def test_a_kernel_by_hand_has_the_defaults_of_its_row():
    by_hand = ROWS - {row.name for row in (*GENERATED, *UPDATES)}
    assert by_hand - set(BESIDE_BLAS) == set(BY_HAND) | set(ALONE)
    for name in by_hand - set(ALONE):
        minigrad.warmup(name)
        run = OPS[name].kernels["numba", "cpu", np.dtype(np.float32)].forward.run
        defaults = {
            k: REQUIRED if p.default is p.empty else p.default
            for k, p in inspect.signature(run).parameters.items()
        }
        assert {k: v for k, v in defaults.items() if k in OPS[name].attrs} == OPS[name].attrs


# ---- faults are caught ----------------------------------------------------------------------------------


def lane(result):
    return np.roll(result, 1, axis=-1)


def tail(result):
    result = result.copy()
    result.reshape(-1)[result.size // 16 * 16 :] = 0
    return result


def scale(result):
    return result * np.float32(1.0001)


@pytest.mark.once
@pytest.mark.parametrize("fault", [lane, tail, scale])
@pytest.mark.parametrize("part", ["forward", "vjp"])
@pytest.mark.parametrize("name", ["silu", "softmax"])
def test_a_planted_fault_is_caught(name, part, fault):
    row, rng = OPS[name], np.random.default_rng(0)
    minigrad.warmup(name)
    key = ("numba", "cpu", np.dtype(np.float32))
    whole = row.kernels[key]
    good = getattr(whole, part)
    attrs = {"dim": -1} if name == "softmax" else {}
    x = rng.uniform(-2, 2, (3, 17)).astype(np.float32)
    beside_the_twin(row, [x], attrs, [0])
    row.kernels[key] = whole._replace(**{part: lambda *args, **kw: fault(good(*args, **kw))})
    try:
        with pytest.raises(AssertionError):
            beside_the_twin(row, [x], attrs, [0])
    finally:
        row.kernels[key] = whole


ROWS_OF = {"normalized_shape": (65,), "eps": 1e-5}


def checked(name):
    """A row on operands with more than a block, a tail, a first element far from the others, and an offset."""
    row, rng = OPS[name], np.random.default_rng(0)
    x = (rng.normal(size=(67, 65)) + np.linspace(-3, 3, 65)).astype(np.float32)
    wide = (rng.normal(size=(3, 30_017)) + np.linspace(-9, 9, 30_017)).astype(np.float32)
    wide[:, 0], wide[2] = 1e3, wide[2] + 1e4
    w, b = rng.uniform(0.5, 1, 65).astype(np.float32), rng.normal(size=65).astype(np.float32)
    near = {"rtol": 2e-5, "atol": 1e-5}
    if name in ("softmax", "log_softmax"):
        return [beside_the_twin(row, [a], {"dim": -1}, [0]) for a in (x, wide[:, 1:])]
    if name == "cross_entropy":
        attrs = {**row.attrs, "reduction": "none"}
        return [
            beside_the_twin(row, [a, rng.integers(0, a.shape[1], len(a)), None], attrs, [0])
            for a in (x, wide[:, 1:])
        ]
    if name in ("layer_norm", "rms_norm"):
        flat = {"normalized_shape": wide.shape[1:], "eps": 1e-5}
        arrays = [[x, w, b], [wide[:2], None, None]]
        return [beside_the_twin(row, a[: len(row.inputs)], attrs, range(len(row.inputs)) if a[1] is not None else [0], **near)
                for a, attrs in zip(arrays, (ROWS_OF, flat), strict=True)]  # fmt: skip
    if name == "batch_norm":
        arrays = [
            x.reshape(67, 1, 65) + (np.arange(67, dtype=np.float32) % 3)[:, None, None],
            None,
            None,
            w[:1],
            b[:1],
        ]
        return [beside_the_twin(row, arrays, {"training": True, "eps": 1e-5}, [0, 3, 4], **near)]
    if name == "vector_norm":
        return [beside_the_twin(row, [wide], row.attrs, [0], rtol=1e-6)]
    if name == "topk":
        ties = rng.integers(-9, 9, (3, 1031)).astype(np.float32)
        ties[1, ::7] = np.nan
        return [beside_the_twin(row, [ties], {**row.attrs, "k": 40}, [0], rtol=0, atol=0)]
    if name in ("gather", "scatter_add"):
        arrays = [x, rng.integers(0, 67, (40, 65)), x[:40].copy()][: len(row.inputs)]
        return [beside_the_twin(row, arrays, {"dim": 0}, [0], rtol=0, atol=0)]
    if name == "dropout":
        x[0, :3] = np.inf, np.nan, -0.0
        masks = [rng.random((67, 65)) > 0.3, np.zeros((67, 65), bool)]
        return [
            beside_the_twin(row, [x, keep], {"p": p}, [0], rtol=0, atol=0)
            for keep in masks
            for p in (0.3, 1.0)
        ]
    if name == "int8_linear":
        weight = rng.integers(-127, 128, (33, 65)).astype(np.int8)
        scale, bias = rng.uniform(0.5, 1, 33).astype(np.float32), b[:33]
        return [
            beside_the_twin(row, [x[:n], weight, scale, bias], {}, [], rtol=2e-5, atol=1e-3) for n in (1, 3)
        ]
    place = rng.integers(0, 9, 67)
    if name == "embedding":
        attrs = {**row.attrs, "padding_idx": 4}
        return [beside_the_twin(row, [place, x], attrs, [1], rtol=0, atol=0)]
    return [beside_the_twin(row, [x, place], {"rows": 9}, [], rtol=0, atol=0)]


FAULTS = [
    ("softmax", softmax, "by_x[r, i] = out[r, i] * (g[r, i] - total)", "by_x[r, i] = out[r, i - 1] * (g[r, i] - total)"),
    ("softmax", softmax, "to[i] *= factor", "to[i] *= factor if i < row.shape[0] // 16 * 16 else f32(0)"),
    ("log_softmax", softmax, "return (x - top) - log_total", "return x - (top + log_total)"),
    ("log_softmax", softmax, "g[r, i] - exp(out[r, i]) * total", "g[r, i] - exp(out[r, i])"),
    ("cross_entropy", softmax, "exp_of_negative(top - here) if total > f32(0) else f32(1)", "f32(1)"),
    ("cross_entropy", softmax, "for i in range(part.shape[0]):", "for i in range(part.shape[0] // 16 * 16):"),
    ("cross_entropy", softmax, "to[label] = share", "to[label - 1] = share"),
    ("layer_norm", normalization, "return not away * away <= 4 * variance", "return False"),
    ("layer_norm", normalization, "to_bias[i] += up[i]", "to_bias[i] += up[i - 1]"),
    ("layer_norm", normalization, "y = (row[i] - mean) * scale\n                to[i] = (up[i] * weight[i] - mean_h -",
     "y = (row[i] - mean) * scale\n                to[i] = (up[i] * weight[i] -"),
    ("rms_norm", normalization, "to[i] = row[i] * scale * weight[i]", "to[i] = row[i] * scale * weight[i - 1]"),
    ("rms_norm", normalization, "to_weight[i] += up[i] * y", "to_weight[i] = up[i] * y"),
    ("rms_norm", normalization, "to[i] += other[i]", "to[i] = other[i]"),
    ("batch_norm", normalization, "square += spread + away * away * n * (k / (k + 1))", "square += spread"),
    ("batch_norm", normalization, " - sum_g * (away / (k + 1))", ""),
    ("unembed", embedding, "to[i] += row[i]", "to[i] = row[i]"),
    ("embedding", embedding, "out[r, start:stop] = 0", "pass"),
    ("embedding", embedding, "if index[k] != padding", "if index[k] >= 0"),
    ("dropout", dropout, "to[i] = part[i] * (factor if", "to[i] = part[i - 1] * (factor if"),
    ("dropout", dropout, "to[i] = part[i] * factor if kept[i]", "to[i] = part[i] * factor if kept[i - 1]"),
    ("int8_linear", quantized, "range(w.shape[0])", "range(w.shape[0] // 16 * 16)"),
    ("int8_linear", quantized, "total * scale[j] + (bias[j]", "total * scale[j - 1] + (bias[j]"),
    ("gather", index, "to[j] = row[places[j] * inner + i]", "to[j] = row[places[j] * inner]"),
    ("scatter_add", index, "to[places[j] * inner + i] += row[j]", "to[places[j] * inner + i] = row[j]"),
    ("topk", index, "or v != v)", ")"),
    ("topk", index, "v <= best[k - 1]", "v < best[k - 1]"),
]  # fmt: skip


def built(module, old, new):
    """A module of kernels with a fault planted in its text."""
    text = Path(module.__file__).read_text()
    assert old in text
    made = types.ModuleType(module.__name__)
    made.__dict__.update({"__package__": module.__package__, "__file__": module.__file__})
    exec(compile(text.replace(old, new), module.__file__, "exec"), made.__dict__)
    for loop in vars(made).values():
        if isinstance(loop, loading.Loop) and loop.function.__module__ == module.__name__:
            loop.source = new  # another file of machine code
    return made


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "module", "old", "new"), FAULTS, ids=[f"{n}-{new}" for n, _, _, new in FAULTS]
)
def test_a_fault_planted_in_a_loop_is_caught(name, module, old, new, tmp_path, monkeypatch):
    row, key = OPS[name], ("numba", "cpu", np.dtype(np.float32))
    minigrad.warmup(name)
    assert all(ran[0][1] == "numba" for ran in checked(name))
    monkeypatch.setattr(loading, "_folder", tmp_path)
    made, parts = built(module, old, new), {}
    for part, suffix in (("forward", "forward"), ("vjp", "gradient")):
        if (function := getattr(made, f"{name}_{suffix}", None)) is not None:
            for loop in function.loops:
                loop.load(key[2])
            parts[part] = lambda m, *args, function=function, **attrs: function(*args, **attrs)
    monkeypatch.setitem(row.kernels, key, row.kernels[key]._replace(**parts))
    with pytest.raises(AssertionError):
        checked(name)


@pytest.mark.once
@pytest.mark.parametrize("row", UPDATES, ids=ids)
def test_a_fault_planted_in_an_update_is_caught(row, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_folder", tmp_path)
    case = row.cases[-1]
    drawn = [
        None if o is None else np.random.default_rng(0).uniform(0.1, 1, 33).astype(np.float32)
        for o in case.operands
    ]
    true = optimizer.write

    def found(old, new):
        def write(*args):
            text, before, record = true(*args)
            assert old in text
            return text.replace(old, new), before, record

        monkeypatch.setattr(optimizer, "write", write)
        arrays = [None if a is None else a.copy() for a in drawn]
        with minigrad.kernels("require"):
            optimizer.Updates(row, "float32")(np, *arrays, **case.attrs)
        return [None if a is None else a.tobytes() for a in arrays]

    right = found("", "")
    arrays = [None if a is None else a.copy() for a in drawn]
    row.forward(np, *arrays, **{**row.attrs, **case.attrs})
    assert right == [None if a is None else a.tobytes() for a in arrays]
    assert found("grad = grads[i]", "grad = grads[i - 1]") != right
    assert found("params.shape[0]", "params.shape[0] // 16 * 16") != right


# ---- choosing -------------------------------------------------------------------------------------------


def test_what_a_kernel_declines_runs_the_row_and_is_refused_under_require():
    minigrad.warmup("softmax")
    x = minigrad.ones(8, 9)
    (choice,) = explained("numba", minigrad.softmax, x, 0)
    assert choice.ran == "reference" and "another dimension" in choice.why
    with (
        minigrad.kernels("require"),
        pytest.raises(RuntimeError, match=r"softmax.*required.*declined.*another dimension"),
    ):
        minigrad.softmax(x, 0)


def test_a_captured_kernel_that_declines_at_replay_runs_the_row():
    minigrad.warmup("softmax")
    x = minigrad.randn(8, 9)
    with minigrad.kernels("numba"), autograd.capture() as tape:
        minigrad.softmax(x, 1)
    ((function, m, _, attrs, _),) = tape.calls
    strided = np.ascontiguousarray(x.numpy().T).T
    assert (
        type(OPS["softmax"].kernels["numba", "cpu", np.dtype(np.float32)].forward(np, strided, dim=1))
        is backend.Declined
    )
    assert np.allclose(function(m, strided, **attrs), OPS["softmax"].forward(np, strided, dim=1))


def test_auto_leaves_small_arrays_to_the_row():
    minigrad.warmup("silu")
    small, large = minigrad.ones(8), minigrad.ones(8192)
    assert "too small" in explained("auto", minigrad.nn.functional.silu, small)[0].why
    assert explained("auto", minigrad.nn.functional.silu, large)[0].ran == "numba"
    assert explained("off", minigrad.nn.functional.silu, large)[0].why == "kernels are off"
    assert "no kernel set" in explained("auto", minigrad.relu, large)[0].why


def test_a_run_of_the_trainer_waits_for_kernels_so_that_its_bits_are_its_own():
    from minigrad.train import Trainer

    ran = []
    lazy = kernel_that(lambda *args, **attrs: ran.append(args) or backend.Declined("it only watches"))
    backend.register_kernel("watching", "mse_loss", lazy)
    try:
        with minigrad.kernels("watching"):
            minigrad.nn.functional.mse_loss(minigrad.ones(2), minigrad.zeros(2))
            assert not ran and lazy.run is None  # it is being compiled
            loading.wait()
            lazy.run = None
            pairs = minigrad.data.TensorDataset(minigrad.ones(4, 2), minigrad.ones(4, 1))
            Trainer(1, enable_progress_bar=False).fit(
                minigrad.nn.Linear(2, 1), minigrad.data.DataLoader(pairs, batch_size=2), loss=minigrad.nn.MSELoss(),
                optimizer=lambda p: minigrad.optim.SGD(p, 0.1),
            )  # fmt: skip
            assert len(ran) == 2 and not backend.kernels_wait()
        with minigrad.kernels("auto", wait=True), minigrad.kernels("off"):
            assert backend.kernels_wait()
    finally:
        backend.unregister_kernels("watching")


def kernel_that(function):
    return loading.Lazy("watching", lambda: function)


def explained(mode, function, *args):
    with minigrad.kernels(mode):
        return minigrad.explain(function, *args).choices


def test_the_explanation_is_a_table():
    text = str(minigrad.explain(lambda: (2 - minigrad.ones(3)).relu().relu()))
    assert text.splitlines()[0].split() == ["op", "part", "times", "ran", "why", "no", "kernel"]
    assert [line.split()[:4] for line in text.splitlines() if line.startswith("relu")] == [
        ["relu", "forward", "2", "reference"]
    ]


def test_warmup_refuses_an_op_that_is_not_there():
    with pytest.raises(RuntimeError, match=r"warmup: expected the names of ops.*'sofmax'"):
        minigrad.warmup("sofmax")


def test_a_row_that_branches_on_values_is_left_alone_and_says_why():
    row = next(r for r in GENERATED if not r.cases)
    rule = row.rules[0]
    row.rules[0] = rule._replace(function=lambda m, g, *rest: g if g else -g)
    try:
        with pytest.raises(TypeError, match="must not branch"):
            elementwise.write(row, "gradient", ())
    finally:
        row.rules[0] = rule


# ---- loading --------------------------------------------------------------------------------------------

RUN = """
import sys, numpy as np, minigrad
assert "numba" not in sys.modules
x = minigrad.ones(8192)
"""


def python(text, **environment):
    done = subprocess.run([sys.executable, "-W", "error", "-c", RUN + text], capture_output=True, text=True,
                          env={**os.environ, **environment}, cwd=Path(__file__).parents[1])  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reference_answers_until_the_kernel_is_ready(tmp_path):
    out = python("""
first = minigrad.explain(minigrad.nn.functional.silu, x).choices[0]
from minigrad.kernels.numba_cpu import loading
loading.wait()
print(first.ran, "compiled" in first.why, minigrad.explain(minigrad.nn.functional.silu, x).choices[0].ran)
""", XDG_CACHE_HOME=str(tmp_path), MINIGRAD_KERNELS="auto")  # fmt: skip
    assert out.split() == ["reference", "True", "numba"]
    assert list(tmp_path.rglob("silu_forward*.nbc"))


def test_off_imports_nothing_of_numba():
    assert python(
        "minigrad.nn.functional.silu(x); print('numba' in sys.modules)", MINIGRAD_KERNELS="off"
    ).split() == ["False"]


def test_require_waits_and_two_processes_share_a_cache_that_then_serves_a_third(tmp_path):
    text = """
minigrad.nn.functional.silu(x)
print(minigrad.nn.functional.silu(x).sum().item())
"""
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "MINIGRAD_KERNELS": "require",
        "NUMBA_DEBUG_CACHE": "1",
    }
    command = [sys.executable, "-c", RUN + text]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
            for _ in range(2)]  # fmt: skip
    said = [p.communicate()[0].split()[-1] for p in both]
    assert said[0] == said[1] and all(p.returncode == 0 for p in both)
    third = python(text, **environment)
    assert "data loaded" in third and "data saved" not in third and third.split()[-1] == said[0]
    for file in tmp_path.rglob("*.nbc"):
        file.write_bytes(file.read_bytes()[:100])  # damaged: compiled anew
    assert python(text, **environment).split()[-1] == said[0]


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("")
    out = python("print(minigrad.nn.functional.silu(x).sum().item() > 5000)", MINIGRAD_KERNELS="require",
                 XDG_CACHE_HOME=str(tmp_path / "file"))  # fmt: skip
    assert out.split() == ["True"]


def test_a_kernel_that_cannot_be_compiled_leaves_the_reference_and_says_why(caplog):
    def make():
        raise ValueError("no such instruction")

    lazy = loading.Lazy("broken", make)
    assert lazy(np) is loading.COMPILING
    loading.wait()
    assert lazy(np).why == "it could not be compiled: ValueError: no such instruction"
    assert "no such instruction" in caplog.text


# ---- memory ---------------------------------------------------------------------------------------------


def test_a_large_result_gets_the_memory_of_one_that_nobody_holds():
    n = loading.LARGE // 4
    loading._large.clear()
    first = loading.empty((n,), np.dtype(np.float32))
    where = first.ctypes.data
    part = first.reshape(2, -1)[1, 3:]  # a view of a view holds it
    del first
    second = loading.empty((n,), np.dtype(np.float32))
    assert where % 64 == second.ctypes.data % 64 == 0 and not np.shares_memory(second, part)
    del part
    third = loading.empty((n // 2, 2), np.dtype(np.float32))
    assert third.ctypes.data == where and third.flags.c_contiguous and third.flags.writeable
    assert not np.shares_memory(second, third)
    del second, third
    small = loading.empty((7,), np.dtype(np.float64))
    half = loading.empty((n // 4,), np.dtype(np.float64))  # half as large: not of that memory
    assert len(loading._large) == 2 and half.ctypes.data % 64 == 0
    assert not any(np.shares_memory(a, b) for a in loading._large for b in (small, half))
    loading._large.clear()


# ---- threads --------------------------------------------------------------------------------------------


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "_number", 2)
    monkeypatch.setattr(threads, "SHARED", 0.0)


@pytest.mark.parametrize("name", ["silu", "softmax", "log_softmax", "cross_entropy", "layer_norm", "rms_norm", "batch_norm",
                                  "vector_norm", "amax", "amin", "unembed", "embedding"])  # fmt: skip
def test_shared_work_has_the_bits_of_unshared_work_two_hundred_times(name, two_threads, monkeypatch):
    minigrad.warmup(name)
    row, rng = OPS[name], np.random.default_rng(0)
    x = rng.normal(size=(9, 7, 33)).astype(np.float32)
    rows = {"normalized_shape": (33,), "eps": 1e-5}
    attrs = {"softmax": {"dim": -1}, "amax": {"dim": -1, "keepdim": True}, "amin": {"dim": (0, 1), "keepdim": False}, "log_softmax": {"dim": -1}, "layer_norm": rows, "rms_norm": rows,
             "batch_norm": {"training": True, "eps": 1e-5}}.get(name, {})  # fmt: skip
    arrays: list = [x] + [None] * (len(row.inputs) - 1)
    if name in ("cross_entropy", "unembed"):  # of rows with an index each
        arrays[:2] = x.reshape(-1, 33), rng.integers(0, 33, 63)
        attrs = {"rows": 33} if name == "unembed" else row.attrs
    if name == "embedding":
        arrays, attrs = [rng.integers(0, 63, 90), x.reshape(63, 33)], row.attrs
    if name == "vector_norm":
        arrays, attrs = [np.tile(x, (20, 1, 1))], row.attrs

    def bits():
        found, ran = answers("numba", row, arrays, attrs, [row.first], weight_of(np.random.default_rng(1)))
        assert ran[0] == BOTH[0] and (ran == BOTH or name in FORWARD_ONLY)
        return [a.tobytes() for a in found]

    shared = bits()
    assert all(bits() == shared for _ in range(200))
    monkeypatch.setattr(threads, "SHARED", math.inf)
    assert bits() == shared


@pytest.mark.parametrize("row", UPDATES, ids=ids)
def test_a_shared_update_has_the_bits_of_an_unshared_one_two_hundred_times(row, two_threads, monkeypatch):
    minigrad.warmup(row.name)
    rng, case = np.random.default_rng(0), row.cases[-1]
    drawn = [None if spec is None else rng.uniform(0.1, 1, 1031).astype(np.float32) for spec in case.operands]

    def bits():
        arrays = [None if a is None else a.copy() for a in drawn]
        with minigrad.kernels("require"):
            apply(row, [None if a is None else wrap(a) for a in arrays], {**row.attrs, **case.attrs})
        return [None if a is None else a.tobytes() for a in arrays]

    shared = bits()
    assert all(bits() == shared for _ in range(200))
    monkeypatch.setattr(threads, "SHARED", math.inf)
    assert bits() == shared


def test_small_work_stays_in_its_thread(monkeypatch):
    asked = []
    monkeypatch.setattr(threads, "_number", 2)
    monkeypatch.setattr(threads, "_workers", lambda: asked.append(1))
    minigrad.warmup("silu")
    with minigrad.kernels("require"):
        minigrad.nn.functional.silu(minigrad.ones(8192))
    assert not asked


def test_two_threads_can_be_in_two_kernels_and_in_two_kernel_sets(two_threads):
    minigrad.warmup("silu", "softmax")
    x = minigrad.randn(64, 65)
    with minigrad.kernels("off"):
        silu = minigrad.nn.functional.silu(x).numpy()
    right = []

    def work(mode):
        with minigrad.kernels(mode):
            for _ in range(100):
                (choice,) = minigrad.explain(minigrad.nn.functional.silu, x).choices
                found = minigrad.nn.functional.silu(x).numpy()
                right.append(
                    np.allclose(found, silu, atol=1e-6)
                    and choice.ran == {"off": "reference"}.get(mode, "numba")
                )
                minigrad.softmax(x, -1)

    workers = [threading.Thread(target=work, args=(mode,)) for mode in ("off", "require", "numba")]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert len(right) == 300 and all(right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_goes_on_with_threads_of_its_own():
    out = python("""
import os, warnings
from minigrad import threads
threads._number, threads.SHARED = 2, 0.0
before = minigrad.nn.functional.silu(x).numpy().tobytes()
assert threads._pool is not None
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    same = minigrad.nn.functional.silu(x).numpy().tobytes() == before
    minigrad.softmax(x.reshape(2, -1), -1)
    os._exit(0 if same and threads._pool is not None else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""", MINIGRAD_KERNELS="require")  # fmt: skip
    assert out.split() == ["0"]


def test_a_process_forked_while_kernels_compile_uses_the_reference(monkeypatch):
    monkeypatch.setattr(loading, "_underway", True)
    for name in ("_lock", "_compiler", "_worker", "_stopped"):
        monkeypatch.setattr(loading, name, getattr(loading, name))
    loading._forked()
    lazy = loading.Lazy("late", lambda: None)
    assert "forked while kernels were being compiled" in lazy(np).why
    with pytest.raises(RuntimeError, match=r"late: the process was forked"):
        lazy.compile()


def test_compiling_leaves_the_standard_streams_alone(tmp_path):
    """colorama, where it is, is asked by Numba's errors to replace them; a thread that compiles may not."""
    (tmp_path / "colorama.py").write_text(
        "import sys\n"
        "__version__ = '0.4.6'\n"
        "class Fore: BLUE = YELLOW = WHITE = GREEN = RED = BLACK = MAGENTA = CYAN = ''\n"
        "class Style: BRIGHT = RESET_ALL = ''\n"
        "class Stream: write = flush = isatty = lambda *a: None\n"
        "def init(): sys.stdout = Stream()\n"
        "reinit = deinit = init\n"
    )
    code = (
        "import sys; out = sys.stdout; {first}import minigrad; minigrad.warmup('unembed')\n"
        "from numba.core import errors; errors.TypingError('no')\n"
        "kept = sys.stdout is out; sys.stdout = out; print(kept)"
    )
    for first in ("", "import numba; sys.stdout = out; "):  # imported by us, or by somebody before
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "MINIGRAD_KERNELS": "auto",
        }
        done = subprocess.run(
            [sys.executable, "-c", code.format(first=first)], capture_output=True, text=True, env=env
        )
        assert done.stdout == "True\n", done.stderr
