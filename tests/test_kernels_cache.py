"""Attention over a cache, a head of keys at a time: beside its row in float64, live positions alone, faults planted."""

import itertools

import numpy as np
import op_cases
import pytest

import minigrad
from minigrad import nn
from minigrad.op import OPS

pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import cache, softmax
from rebuilt import built

pytestmark = pytest.mark.usefixtures("only_numba")

ROW = OPS["cached_attention"]
FLOATS = ("float32", "float64")
BOUND = {"float32": 2e-6, "float64": 1e-14}


@pytest.fixture(scope="module", autouse=True)
def ready():
    minigrad.warmup(ROW.name)


def drawn(batch, heads, groups, length, slots, width, dtype="float32", int8=False, seed=0):
    """query, keys, values, and their scales."""
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(batch, length, heads, width)).astype(dtype).transpose(0, 2, 1, 3)
    held = [rng.normal(size=(batch, groups, slots, width)).astype(dtype) for _ in range(2)]
    if not int8:
        return [query, *held, None, None]
    scales = [np.abs(a).max(-1, keepdims=True) / 127 for a in held]
    return [
        query,
        *(np.rint(a / s).astype(np.int8) for a, s in zip(held, scales, strict=True)),
        *scales,
    ]


def check(operands, position, start=None, bias=None, module=cache, **attrs):
    """The kernel's result is the row's in float64 to within rounding, and what it read is as it was."""
    query, keys, values, *scales = operands
    read = (query, keys, values, np.array(position), start, *scales, bias)
    before = [None if a is None else a.tobytes() for a in read]
    found = module.cached_attention_forward(*read, **attrs)
    wide = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in read]
    with np.errstate(all="ignore"):
        expected = ROW.forward(np, *wide, **{**ROW.attrs, **attrs})
    assert found.dtype == query.dtype and found.shape == expected.shape
    atol = BOUND[query.dtype.name] * max(
        1.0, float(np.abs(expected).max(initial=0, where=np.isfinite(expected)))
    )
    assert np.allclose(found, expected, rtol=0, atol=2 * atol, equal_nan=True)
    assert [None if a is None else a.tobytes() for a in read] == before
    return found


# ---- shapes and masks -----------------------------------------------------------------------------------

SIZES = [  # batch, heads, heads of keys, queries, slots, width
    (1, 1, 1, 1, 1, 1), (2, 3, 3, 1, 5, 3), (1, 4, 2, 3, 33, 17), (1, 12, 12, 1, 200, 64), (2, 4, 1, 3, 70, 128),
    (1, 2, 2, 1, 150, 65),
]  # fmt: skip


@pytest.mark.any_numpy
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_position_window_start_and_bias_is_as_in_the_row(sizes, dtype, int8):
    batch, heads, _, length, slots, _ = sizes
    operands, rng = drawn(*sizes, dtype, int8), np.random.default_rng(1)
    places = {0, 3 % slots, slots // 2, max(slots - length, 0), slots + 7, 3 * slots}  # beyond: written over
    for position, window, padded, biased in itertools.product(
        places, (None, 1, 40), (False, True), (0, 1, 8)
    ):
        start = 2 + np.arange(batch) if padded else None
        bias = rng.normal(size=(heads, biased)).astype(dtype) if biased else None
        check(operands, position, start, bias, window=window)
    for scale in (0.0, 0.3, -2.0):
        check(operands, slots - length if slots >= length else 0, scale=scale)


def test_a_query_among_padding_gets_zeros():
    operands = drawn(2, 2, 2, 3, 9, 4)
    out = check(operands, 2, np.array([0, 4]))
    assert out[0].all() and not out[1, :, :2].any() and out[1, :, 2].all()


@pytest.mark.parametrize("int8", [False, True])
def test_what_is_not_live_is_not_read(int8):
    query, keys, values, *scales = drawn(1, 2, 1, 1, 300, 8, int8=int8)
    poisoned = [a.copy() for a in (keys, values, *scales) if a is not None]
    live = np.zeros(300, bool)
    live[np.arange(290, 341) % 300] = True
    for a in poisoned:
        a[:, :, ~live] = 99 if a.dtype == np.int8 else np.nan
    kept = [*poisoned, None, None][:4]
    run = cache.cached_attention_forward
    for start, window in ((None, 51), (np.array([290]), None)):
        whole, part = (
            run(query, k, v, np.array(340), start, *s, window=window)
            for k, v, *s in ((keys, values, *scales), kept)
        )
        assert whole.tobytes() == part.tobytes() and np.isfinite(part).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_treated_as_in_the_row(value):
    for where, place in itertools.product(range(3), [(0, 0, 0, 0), (0, 1, 0, 3)]):
        operands = drawn(1, 2, 2, 1, 100, 8)
        operands[where][place] = value
        check(operands, 99)
    operands = drawn(1, 2, 2, 1, 100, 1)
    operands[0][...], operands[1][...] = 1, -np.inf  # all scores are -∞: nothing is attended to
    assert not check(operands, 99).any()
    operands[1][:, :, 70] = 1  # a largest score that comes in a later block
    assert check(operands, 99).any()


# ---- layouts and what it is not for ---------------------------------------------------------------------


@pytest.mark.parametrize("layout", op_cases.LAYOUTS)
def test_a_query_of_any_layout_is_read(layout):
    query, *rest = drawn(2, 4, 2, 3, 33, 17)
    query = op_cases.laid_out(query, layout)
    query.flags.writeable = False
    check([query, *rest], 20)


def test_what_it_is_not_for_is_declined():
    query, keys, values, *_ = drawn(2, 4, 2, 3, 33, 16)
    int8 = drawn(2, 4, 2, 3, 33, 16, int8=True)
    at, run = np.array(20), cache.cached_attention_forward
    assert run(query[..., :0], keys[..., :0], values, at) is softmax.EMPTY
    assert run(query[:0], keys[:0], values[:0], at) is softmax.EMPTY
    for part in (keys[:, :, ::2], op_cases.laid_out(keys, "transposed"), keys[..., ::-1]):
        assert run(query, part, part, at) is softmax.LAYOUT
    moved = np.frombuffer(bytearray(b"\0" + query.tobytes()), query.dtype, query.size, 1).reshape(query.shape)
    assert run(moved, keys, values, at) is softmax.LAYOUT
    assert run(np.repeat(query, 4, 2), keys, values, at) is cache.MANY
    for odd in [(query.astype(np.float64), keys, values, at), (query, keys, values.astype(np.float64), at),
                (query, keys, values, at.astype(np.int32)), (query, keys, values, at, np.zeros(2, np.int32)),
                (query, *int8[1:3], at), (query, keys, values, at, None, *int8[3:]),
                (query, *int8[1:3], at, None, *(a.astype(np.float64) for a in int8[3:])),
                (query, keys, values, at, None, None, None, np.zeros((4, 3)))]:  # fmt: skip
        assert run(*odd) is cache.KINDS


@pytest.mark.parametrize("quantized", [False, True])
def test_a_compiled_step_uses_it_at_every_position(quantized):
    def texts(mode):
        held = nn.KVCache(1, 2, 2, 40, 16, quantized=quantized, start=minigrad.tensor([0, 3]))
        minigrad.manual_seed(0)
        step = minigrad.compile(lambda q, k: held.attend(0, q, k, k))
        found = []
        with minigrad.kernels(mode, wait=True):
            for _ in range(40):
                q, k = minigrad.randn(2, 4, 1, 16), minigrad.randn(2, 2, 1, 16)
                found.append(step(q, k).numpy().copy())
                held.advance(1)
            told = minigrad.explain(lambda: held.attend(0, q, k, k) if held.position.fill_(39) else None)
        assert step.retraces == 0
        return np.concatenate(found, 2), [c.ran for c in told.choices if c.op == ROW.name]

    (fast, ran), (slow, _) = texts("numba"), texts("off")
    assert ran == ["numba"] and np.allclose(fast, slow, atol=2e-6)


# ---- threads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("int8", [False, True])
def test_shared_work_has_the_bits_of_unshared_work_two_hundred_times(int8, shared_two_hundred_times):
    query, keys, values, *scales = drawn(1, 5, 5, 1, 300, 17, int8=int8)

    def bits():
        return cache.cached_attention_forward(query, keys, values, np.array(290), None, *scales).tobytes()

    shared_two_hundred_times(bits)


# ---- faults ---------------------------------------------------------------------------------------------

FAULTS = [
    ("total[r] *= before", "pass"),
    ("seen = min(count, at + 1 - p)", "seen = min(count, at - p)"),
    ("max(0, end - slots, start", "max(0, start"),
    ("w[j] *= key_scale[b, g, slot + low + j, 0]", "w[j] *= key_scale[b, g, slot + j, 0]"),
    ("by[min(at - p - low - j, furthest)]", "by[min(at - p - j, furthest)]"),
    ("for j in range(whole, values.shape[0]):", "for j in range(whole + 1, values.shape[0]):"),
]


@pytest.mark.once
@pytest.mark.parametrize(("old", "new"), FAULTS, ids=[new for _, new in FAULTS])
def test_a_fault_in_the_loops_is_caught(old, new, monkeypatch):
    def all_of_them(module):
        operands = drawn(2, 4, 2, 3, 133, 16, int8=True)
        operands[0][:] *= np.float32(4)  # so that one key in a hundred matters
        bias = np.random.default_rng(1).normal(size=(4, 200)).astype(np.float32)
        check(operands, 170, np.array([60, 70]), bias, module=module, window=90)
        check(operands, 170, None, bias, module=module)

    all_of_them(cache)
    module = built(monkeypatch, cache, (old, new))
    module._int8_attention.load(np.dtype(np.float32))
    with pytest.raises(AssertionError):
        all_of_them(module)
