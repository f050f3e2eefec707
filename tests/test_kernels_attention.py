"""Attention by tiles: beside its row in float64, on every shape, mask and layout, and with faults planted in its loops."""

import itertools

import numpy as np
import op_cases
import pytest

import minigrad
from minigrad.op import OPS

pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import attention, loading, mathematics, vectors
from rebuilt import MACHINES, built

pytestmark = pytest.mark.usefixtures("only_numba")

ROW = OPS["scaled_dot_product_attention"]
KEY = ("numba", "cpu", np.dtype(np.float32))
HEADS = [1, 3, 16, 17, 64, 80, 128]
LENGTHS = [(1, 1), (1, 130), (15, 17), (63, 65), (64, 64), (65, 129), (129, 63), (200, 257)]
Q, K = attention.QUERIES, attention.KEYS


@pytest.fixture(scope="module", autouse=True)
def ready():
    minigrad.warmup(ROW.name)


def wide(a):
    return a.astype(np.float64) if a is not None and a.dtype == np.float32 else a


def drawn(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def both(operands, attrs, module=attention, parts=("forward", "gradient"), dtype=np.float64, needs=None):
    """Outputs and gradients: the kernel's, and the row's in a dtype."""
    attrs = {**ROW.attrs, **attrs}
    operands = [*operands, *[None] * (6 - len(operands))]
    exact = [a if dtype is np.float32 else wide(a) for a in operands]
    found, expected = [], []
    with np.errstate(all="ignore"):
        out = ROW.forward(np, *exact, **attrs)
        if "forward" in parts:
            found.append(module.scaled_dot_product_attention_forward(*operands, **attrs))
            expected.append(out)
        if "gradient" in parts:
            g = drawn(np.random.default_rng(9), *out.shape)
            rest = (*attrs.values(), needs or [a is not None for a in operands])
            found += module.scaled_dot_product_attention_gradient(g, *operands, *rest)
            exact_g = g if dtype is np.float32 else wide(g)
            expected += ROW.rules[0].function(np, exact_g, *exact, *rest)
    return found, expected


def check(operands, attrs=None, bound=2e-6, **how):
    """The kernel's results are the row's to within float32's rounding, and what it read is as it was."""
    before = [None if a is None else a.tobytes() for a in operands]
    found, expected = both(operands, attrs or {}, **how)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == np.float32 and a.shape == b.shape
            atol = bound * max(1.0, float(np.abs(b).max(initial=0, where=np.isfinite(b))))
            assert np.allclose(a, b, rtol=0, atol=atol, equal_nan=True)
    assert [None if a is None else a.tobytes() for a in operands] == before
    return found


# ---- shapes ---------------------------------------------------------------------------------------------


@pytest.mark.any_numpy
@pytest.mark.parametrize("size", HEADS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_every_length_and_head_size_is_as_in_the_row(lengths, size):
    rng, (queries, keys) = np.random.default_rng(0), lengths
    parts = ("gradient",) if queries == 1 else ("forward", "gradient")
    for causal, other in itertools.product((False, True), {size, 5}):
        operands = drawn(rng, 2, queries, size), drawn(rng, 2, keys, size), drawn(rng, 2, keys, other)
        check(operands, {"is_causal": causal}, parts=parts)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3), (2, 1, 2, 3)], ids=str)
def test_any_number_of_dimensions_may_come_first_and_they_broadcast(lead):
    rng = np.random.default_rng(0)
    one = tuple(1 for _ in lead)
    for q, k, v in itertools.product((lead, one, ()), repeat=3):
        check((drawn(rng, *q, 7, 5), drawn(rng, *k, 9, 5), drawn(rng, *v, 9, 4)))


def test_few_heads_are_parted_by_queries():
    rng = np.random.default_rng(0)
    for queries in (3, Q, 3 * Q + 1, 20 * Q):
        check([drawn(rng, queries, 8), drawn(rng, 150, 8), drawn(rng, 150, 8)], {"is_causal": True})


def test_the_factor_of_the_scores_may_be_given():
    rng = np.random.default_rng(0)
    for scale in (0.0, 0.3, -0.3, 2.0):
        check([drawn(rng, 70, 8), drawn(rng, 150, 8), drawn(rng, 150, 8)], {"scale": scale})


# ---- masks ----------------------------------------------------------------------------------------------

MASKS = [
    (70, 150),
    (1, 150),
    (70, 1),
    (1, 1, 150),
    (2, 1, 70, 150),
    (3, 70, 150),
    (2, 3, 70, 150),
    (150,),
    (),
]


def qkv(rng):
    return drawn(rng, 2, 3, 70, 20), drawn(rng, 2, 3, 150, 20), drawn(rng, 2, 3, 150, 20)


@pytest.mark.parametrize("shape", MASKS[:-2], ids=str)
def test_masks_broadcast(shape):
    rng = np.random.default_rng(0)
    bias, allowed = drawn(rng, *shape), rng.random(shape) > 0.4
    attrs = {"p": 0.3, "is_causal": shape == (70, 150)}
    keep = rng.random((2, 3, 70, 150)) > 0.3
    for operands in (
        [bias],
        [None, allowed],
        [bias, allowed, keep],
        [None, None, keep],
        [None, allowed, keep],
    ):
        check((*qkv(rng), *operands), attrs)


def test_gradients_are_made_only_where_they_are_needed():
    rng = np.random.default_rng(0)
    operands = (*qkv(rng), drawn(rng, 70, 150))
    whole = check(operands)
    assert whole[4].shape == (2, 3, 70, 150)  # apply adds up what was broadcast
    for needs in itertools.product((False, True), repeat=4):
        found = check(operands, needs=[*needs, False, False], parts=["gradient"])
        assert [a is not None for a in found] == [*needs, False, False]
        assert all(a is None or a.tobytes() == b.tobytes() for a, b in zip(found, whole[1:], strict=True))


def test_a_query_that_sees_nothing_gets_zeros():
    rng = np.random.default_rng(0)
    allowed = rng.random((70, 150)) > 0.5
    allowed[3], allowed[64:], allowed[5, :K], allowed[6, K:] = False, False, False, False
    for operands in ([None, allowed], [np.where(allowed, 0, -np.inf).astype(np.float32)]):
        out, by_query, *_ = check((*qkv(rng), *operands))
        assert not out[:, :, 3].any() and not by_query[:, :, 3].any() and out[:, :, 5].all()


def test_the_lowest_number_as_a_mask_is_no_infinity():
    rng = np.random.default_rng(0)
    lowest = np.where(rng.random((70, 150)) > 0.5, 0, np.finfo(np.float32).min).astype(np.float32)
    lowest[3] = np.finfo(np.float32).min  # then all keys weigh the same
    check((*qkv(rng), lowest))
    check((*qkv(rng), -lowest), bound=1e-5)


def test_all_weights_dropped_is_zero():
    rng = np.random.default_rng(0)
    keep = np.zeros((2, 3, 70, 150), bool)
    assert not check((*qkv(rng), None, None, keep), {"p": 1.0})[0].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_treated_as_in_the_row(value, masked, causal):
    for where, place in itertools.product(range(3), [(0, 0, 0, 0), (1, 2, 65, 3), (0, 1, 69, 19)]):
        rng = np.random.default_rng(0)
        operands = [*qkv(rng), None, rng.random((70, 150)) > 0.3 if masked else None]
        operands[where][place] = value
        check(operands, {"is_causal": causal}, dtype=np.float32, bound=1e-5)


def test_scores_that_are_all_infinite_are_nan_without_a_mask_and_zero_with_one():
    rng = np.random.default_rng(0)
    q, k, v = np.ones((3, 1), np.float32), np.full((200, 1), -np.inf, np.float32), drawn(rng, 200, 2)
    assert np.isnan(check((q, k, v))[0]).all()
    assert not check((q, k, v, None, np.ones((3, 200), bool)))[0].any()
    k[150] = 1
    assert np.isfinite(check((q, k, v))[0]).all()


# ---- layouts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", op_cases.LAYOUTS)
def test_every_layout_is_read_and_none_written(layout):
    rng = np.random.default_rng(0)
    bias, keep = drawn(rng, 70, 150), rng.random((2, 3, 70, 150)) > 0.3
    operands = [op_cases.laid_out(a, layout) for a in (*qkv(rng), bias)]
    for a in operands:
        a.flags.writeable = False
    check((*operands, None, keep), {"p": 0.3})


def test_misaligned_operands_are_read():
    rng = np.random.default_rng(0)
    moved = [
        np.frombuffer(bytearray(b"\0" + a.tobytes()), a.dtype, a.size, 1).reshape(a.shape) for a in qkv(rng)
    ]
    assert not any(a.flags.aligned for a in moved)
    check(moved)


def test_heads_beside_each_other_are_read_where_they_are_and_stay_so():
    rng = np.random.default_rng(0)
    q, k, v = (drawn(rng, 2, 70, 3, 20).transpose(0, 2, 1, 3) for _ in range(3))
    found = check((q, k, v))
    assert all(a.transpose(0, 2, 1, 3).flags.c_contiguous for a in found if a is not None)
    _, read = attention._operands(q, k, v, None, None, None)
    assert all(np.shares_memory(a, b) for a, b in zip((q, k, v), read, strict=False))


def test_what_it_is_not_for_is_declined():
    rng = np.random.default_rng(0)
    q, k, v = qkv(rng)
    forward = attention.scaled_dot_product_attention_forward
    for operands in [(q[..., :0], k[..., :0], v), (q[:0], k[:0], v[:0]), (q, k[:, :, :0], v[:, :, :0]), (q, k, v[..., :0]),
                     (q, k[..., :3], v), (q, k, v[:, :, :3]), (q, k, v, drawn(rng, 5, 5)), (q, k, v[:, :2])]:  # fmt: skip
        assert forward(*operands) is attention.SHAPES
    assert forward(q, k, v, None, np.ones((70, 150), np.int8)) is attention.MASKS
    assert forward(q[:, :, :1], k, v) is attention.ALONE


def test_the_function_uses_it_grouped_heads_and_dropout_included():
    sdpa = minigrad.nn.functional.scaled_dot_product_attention
    minigrad.manual_seed(0)
    q = minigrad.randn(2, 4, 9, 8, requires_grad=True)
    k = minigrad.randn(2, 2, 11, 8, requires_grad=True)
    found = []
    for mode in ("require", "off"):
        minigrad.manual_seed(1)
        q.grad = k.grad = None
        with minigrad.kernels(mode):
            told = minigrad.explain(lambda: sdpa(q, k, k, dropout_p=0.3, enable_gqa=True).sum().backward())
        assert [c.ran for c in told.choices if c.op == ROW.name] == [
            {"require": "numba", "off": "reference"}[mode]
        ] * 2
        found.append([q.grad.numpy(), k.grad.numpy()])
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


# ---- threads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 5])
def test_shared_work_has_the_bits_of_unshared_work_two_hundred_times(heads, shared_two_hundred_times):
    rng = np.random.default_rng(0)
    operands = drawn(rng, heads, 200, 17), drawn(rng, heads, 200, 17), drawn(rng, heads, 200, 17)

    def bits():
        forward = attention.scaled_dot_product_attention_forward(*operands, is_causal=True)
        found = attention.scaled_dot_product_attention_gradient(
            forward, *operands, None, None, None, True, None, 0.0, [True] * 6
        )
        return [a.tobytes() for a in (forward, *found[:4])]  # fmt: skip

    shared_two_hundred_times(bits)


# ---- what it is made of ---------------------------------------------------------------------------------


def loop_of(text, arguments):
    space = {**vars(vectors), **vars(mathematics), "__name__": loading.__name__}
    exec(text, space)
    loop = loading.Loop(space["f"], arguments, frozenset({"contract"}), text)
    loop.load(np.dtype(np.float32))
    return loop


def test_the_power_of_a_falling_exponent_is_within_a_unit_in_the_last_place():
    x = np.concatenate([-np.linspace(0, 126, 2**20), -np.geomspace(1e-30, 1, 1000)]).astype(np.float32)
    text = (
        "def f(x, out, start, stop):\n    for i in range(start, stop):\n        out[i] = exp2_falling(x[i])\n"
    )
    loop, found = loop_of(text, "X[::1], X[::1]"), np.empty_like(x)
    loop(x.size, 0.0, x, found)
    exact = np.exp2(x.astype(np.float64))
    assert (np.abs(found - exact) / np.spacing(exact.astype(np.float32))).max() <= 1
    special, found = np.array([-126.5, -1e30, -np.inf, np.nan, -0.0], np.float32), np.empty(5, np.float32)
    loop(5, 0.0, special, found)
    assert np.array_equal(found, np.array([0, 0, 0, np.nan, 1], np.float32), equal_nan=True)


ANSWERS = {"AVX-512": {"avx512f": True, "avx2": True}, "AVX2": {"avx2": True, "avx512f": False}, "NEON": {"neon": True}, "SSE": {}}  # fmt: skip
PC, LINUX, MAC = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin25.0.0"


def loaded(module, part):
    for loop in getattr(module, f"scaled_dot_product_attention_{part}").loops:
        loop.load(np.dtype(np.float32))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_vectors_are_those_of_the_machine(machine, monkeypatch):
    monkeypatch.setattr(vectors.llvm, "get_host_cpu_features", lambda: ANSWERS[machine])
    monkeypatch.setattr(vectors.llvm, "get_process_triple", lambda: LINUX if machine == "NEON" else PC)
    assert vectors._machine() == MACHINES[machine]


@pytest.mark.parametrize(("triple", "machine"), [(PC, "SSE"), (LINUX, "NEON"), (MAC, "NEON")])
def test_a_system_that_llvm_does_not_know_gets_what_every_machine_of_its_kind_has(
    triple, machine, monkeypatch
):
    def unknown():
        raise RuntimeError("no such system")

    monkeypatch.setattr(vectors.llvm, "get_process_triple", lambda: triple)
    for asked in (unknown, dict):  # LLVM's bindings have said either
        monkeypatch.setattr(vectors.llvm, "get_host_cpu_features", asked)
        assert vectors._machine() == MACHINES[machine]


@pytest.mark.once
def test_vectors_of_another_machine_give_the_same(monkeypatch):
    machine = "NEON" if MACHINES["AVX2"][0] == vectors.WIDTH else "AVX2"
    module = built(monkeypatch, attention, machine=machine)
    assert MACHINES[machine][0] == module.WIDTH
    rng = np.random.default_rng(0)
    for part in ("forward", "gradient"):
        loaded(module, part)
    for queries, keys, size in [(70, 150, 20), (17, 33, 3), (64, 128, 64)]:
        operands = drawn(rng, 2, queries, size), drawn(rng, 2, keys, size), drawn(rng, 2, keys, size)
        check((*operands, drawn(rng, queries, keys)), {"is_causal": True}, module=module)


FAULTS = {
    "the sum is not rescaled": ("forward", "total[i] *= before[i]", "pass"),
    "a tile sees one key too few": ("forward", "seen = min(last, key.shape[2])", "seen = min(last - 1, key.shape[2])"),
    "a query sees the key after it": ("forward", "np.int32(j + r - first)", "np.int32(j + r - first - 1)"),
    "the lanes of the tail are left out": ("forward", "for x in range(x_whole if r < r_whole else 0, columns)",
                                          "for x in range(0 if r >= r_whole else columns, columns)"),
    "lanes are off by one": ("forward", "x + step for x in range(WIDTH)]", "x + 1 for x in range(WIDTH)]"),
    "what is kept is not larger for it": ("forward", "queries, j, kept, factor)", "queries, j, f32(1), factor)"),
    "a tile's gradient overwrites the last": ("gradient", "lanes - x, j > 0)  # dQ", "lanes - x, False)  # dQ"),
    "a block begins one vector late": ("forward", "lane = (j - first) // STEP * STEP", "lane = (j - first) // STEP * STEP + WIDTH"),
    "a block's queries are those of the next": ("gradient", "do_rows[x:queries]", "do_rows[:queries]"),
    "the sum of the weights' gradient is forgotten": ("gradient", "w * (dp[r, i] - delta[i])", "w * dp[r, i]"),
    "the keys' gradient begins with the last head's": ("gradient", "dk[:], dv[:] = f32(0), f32(0)", "dv[:] = f32(0)"),
}  # fmt: skip


def fault_cases(rng):
    yield (drawn(rng, 2, 129, 17), drawn(rng, 2, 300, 17), drawn(rng, 2, 300, 17)), {}
    yield (drawn(rng, 2, 129, 17), drawn(rng, 2, 129, 17), drawn(rng, 2, 129, 17)), {"is_causal": True}
    yield (
        (drawn(rng, 64, 16), drawn(rng, 64, 16), drawn(rng, 64, 16), None, None, rng.random((64, 64)) > 0.3),
        {"p": 0.3},
    )


@pytest.mark.once
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_loops_is_caught(fault, monkeypatch):
    part, old, new = FAULTS[fault]
    cases = list(fault_cases(np.random.default_rng(0)))
    for operands, attrs in cases:
        check(operands, attrs, parts=[part])
    module = built(monkeypatch, attention, (old, new))
    loaded(module, part)

    def all_of_them():
        for operands, attrs in cases:
            check(operands, attrs, module=module, parts=[part])

    with pytest.raises(AssertionError):
        all_of_them()
