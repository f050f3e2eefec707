"""Chains that a compiled function runs as one loop: every row in every layout, drawn programs, sums, and planted faults."""

import math
import tracemalloc

import numpy as np
import op_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from test_compile import PROGRAMS, alike, program, ran, same

import minigrad
from minigrad import backend, threads
from minigrad.autograd import apply, wrap
from minigrad.compiler import CompileError, fusion
from minigrad.op import OPS

pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import chains, elementwise, loading  # type: ignore[attr-defined]

F = minigrad.nn.functional
NUMPY = {"exp", "expm1", "exp2", "log", "log2", "log10", "log1p", "tanh", "sin", "cos"}


class Interpreted:
    """A loop's text run by Python, for programs of which compiling each would take long."""

    def __init__(self, text, name, *_, names=()):
        space = {**elementwise.EVERYWHERE, **dict(names), "plus": lambda a, b: a + b, "extreme": lambda a: a}
        space |= dict.fromkeys(("larger", "most"), np.maximum) | dict.fromkeys(
            ("smaller", "least"), np.minimum
        )
        space |= {
            f"{end}_{kind}": x
            for end, x in (("lowest", -np.inf), ("highest", np.inf))
            for kind in ("narrow", "wide")
        }
        space |= {f"{n}{wide}": getattr(np, n) for n in NUMPY for wide in ("", "_wide")}
        exec(text, space)
        self.entries = {None: space[name]}


@pytest.fixture(autouse=True)
def only_numba(monkeypatch):
    monkeypatch.setattr(backend, "KERNEL_SETS", {"numba"})
    monkeypatch.setattr(chains, "_lazies", {})
    monkeypatch.delenv("MINIGRAD_KERNELS", raising=False)


@pytest.fixture
def any_chain(monkeypatch):
    """Chains of every size and length."""
    monkeypatch.setattr(chains, "LEAST", 1)
    monkeypatch.setattr(chains, "WORTH", 0)


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(chains, "compiled", Interpreted)


def loops(compiled):
    """The chains of the last call, those of its gradient too."""
    replay = compiled._last
    programs = [replay.program, *([] if replay.backward is None else [replay.backward.program])]
    return [line for p in programs for line in p.lines if isinstance(line, fusion.Fusion)]


def verified(function, arrays, wrt=(), calls=2):
    """Calls a compiled function that checks its loops, and the uncompiled one; gradients too. Gives the loops."""
    compiled = minigrad.compile(function, verify=True)
    rng = np.random.default_rng(1)
    weight = {}
    for _ in range(calls):
        runs = []
        for call in (compiled, function):
            tensors = [None if a is None else wrap(a) for a in arrays]
            for i in wrt:
                tensors[i].requires_grad_()
            before = [None if a is None else a.tobytes() for a in arrays]
            with minigrad.kernels("numba", wait=True):
                out = call(*tensors)
                out = out if isinstance(out, tuple) else (out,)
                wanted = [k for k, t in enumerate(out) if t.requires_grad]
                for k in wanted:
                    weight.setdefault(k, np.asarray(rng.uniform(0.5, 1, out[k].shape), out[k]._array.dtype))
                if wanted:  # together: a compiled gradient takes all of them at once
                    minigrad.autograd.backward([out[k] for k in wanted], [wrap(weight[k]) for k in wanted])
            assert [None if a is None else a.tobytes() for a in arrays] == before
            runs.append(
                [
                    *(t._array for t in out),
                    *(tensors[i]._grad._array for i in wrt if tensors[i]._grad is not None),
                ]
            )
        assert alike(*runs)  # a checked loop hands on what the calls gave
    return loops(compiled)


# ---- rows ------------------------------------------------------------------------------------------------

ROWS = op_cases.rows(lambda row: row.elementwise and not row.integer)
CALLED = {  # by NumPy, since a loop has no such function
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cosh", "floor_divide", "fmod", "pow", "remainder", "sinh", "tan",
}  # fmt: skip
SHAPES = [(), (1,), (17,), (33, 65), (5, 7)]  # 17, 65: one past the widest vector, and its unrolling


def operands(row, shape, rng, dtype=np.float32):
    low, high = row.domain if not isinstance(row.domain[0], (tuple, list)) else row.domain[0]
    made = [np.asarray(rng.uniform(low, high, shape), dtype) for _ in row.inputs]
    return [np.asarray(a > 0) if n in row.constant else a for n, a in zip(row.inputs, made, strict=True)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_and_rule_is_right_in_a_loop_in_every_layout(row, any_chain, interpreted):
    rng, found = np.random.default_rng(0), []
    for attrs in [case.attrs for case in row.cases] or [{}]:
        for shape in [(), (1,), (0, 3), (3, 5)]:
            for layout in op_cases.LAYOUTS if shape == (3, 5) else ("plain",):
                arrays = [op_cases.laid_out(a, layout) for a in operands(row, shape, rng)]
                wrt = [i for i, n in enumerate(row.inputs) if row.differentiable and n not in row.constant]
                chain = verified(lambda *xs: apply(row, xs, {**row.attrs, **attrs}), arrays, wrt)  # noqa: B023
                found += chain if shape and 0 not in shape else []
    names = {name.removesuffix("_numba") for block in found for name in block.name.split(" + ")}
    assert (row.name in names) is (row.name not in CALLED)


@pytest.mark.any_numpy
@pytest.mark.parametrize(
    "row", ["gelu", "silu", "where", "maximum", "div", "softplus", "clamp", "isfinite", "sign", "logit"]
)
def test_compiled_loops_are_right_past_the_width_of_vectors_and_with_special_values(row, any_chain):
    row, rng = OPS[row], np.random.default_rng(0)
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, 3e38, -3e38, 100, -100, 0.5] * 3, np.float32)
    wrt = [i for i, n in enumerate(row.inputs) if row.differentiable and n not in row.constant]
    run = lambda *xs: apply(row, xs, row.attrs)  # noqa: E731
    for shape in SHAPES:
        assert verified(run, operands(row, shape, rng), wrt)
    arrays = [special > 0 if n in row.constant else np.roll(special, i) for i, n in enumerate(row.inputs)]
    assert verified(run, arrays, wrt)


# ---- layouts -----------------------------------------------------------------------------------------------


def long(x, y):
    z = minigrad.where(x > y, x * y + 0.5, y) * 3 - x
    return z.relu() + y


BROADCAST = [
    ((5, 7), (7,)), ((5, 7), (5, 1)), ((2, 3, 17), (3, 1)), ((33, 65), ()), ((4, 1, 5), (1, 3, 1)), ((2, 3, 4, 5), (3, 1, 1)),
    ((5, 7), (5, 7)), ((3, 1, 2), (3, 4, 2)), ((1, 6), (5, 1)),
]  # fmt: skip


@pytest.mark.any_numpy
@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_operands_of_every_broadcast_and_stride_are_read_right_and_their_gradients_summed(
    shapes, any_chain, interpreted
):
    rng = np.random.default_rng(0)
    for one in op_cases.LAYOUTS:
        for other in op_cases.LAYOUTS:
            arrays = [np.asarray(rng.normal(size=s), np.float32) for s in shapes]
            arrays = [op_cases.laid_out(a, how) for a, how in zip(arrays, (one, other), strict=True)]
            assert verified(long, arrays, [0, 1])


@pytest.mark.any_numpy
@pytest.mark.parametrize("shapes", BROADCAST[1:3], ids=str)
def test_compiled_loops_read_operands_right_as_well(shapes, any_chain):
    rng = np.random.default_rng(0)
    for layout in ("plain", "transposed"):  # each is another text
        arrays = [op_cases.laid_out(np.asarray(rng.normal(size=s), np.float32), layout) for s in shapes]
        assert verified(long, arrays, [0, 1])


@settings(max_examples=40)
@given(mutually_broadcastable_shapes(num_shapes=3, min_side=1, max_side=4, max_dims=4), st.data())
def test_any_shapes_and_layouts_agree(shapes, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [np.asarray(rng.normal(size=s), np.float32) for s in shapes.input_shapes]
    arrays = [op_cases.laid_out(a, data.draw(st.sampled_from(op_cases.LAYOUTS))) for a in arrays]
    keep = data.draw(st.booleans())
    dims = data.draw(st.sets(st.integers(0, max(len(shapes.result_shape) - 1, 0))))

    def function(x, y, z):
        w = (x * y + z).sigmoid() * y
        return (
            w,
            w.sum(tuple(dims), keepdim=keep) if dims and w.ndim else w.mean(),
            minigrad.maximum(w, z).mean(),
        )

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LEAST", 1), ("WORTH", 0), ("PIECE", 7), ("_lazies", {})):
            patch.setattr(chains, name, value)
        patch.setattr(chains, "compiled", Interpreted)
        assert verified(function, arrays, [0, 1, 2])


# ---- programs nobody wrote ---------------------------------------------------------------------------------


def replays_within_rounding(instructions):
    function = program(instructions)
    compiled = minigrad.compile(function, verify=True)
    with minigrad.kernels("numba", wait=True):
        for seed in range(3):
            assert alike(*(ran(call, seed, "f4") for call in (compiled, function)))
    assert compiled.retraces == 0
    return loops(compiled)


@settings(max_examples=60)
@given(PROGRAMS)
def test_any_program_in_loops_replays_within_rounding(instructions):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LEAST", 1), ("WORTH", 1), ("PIECE", 7), ("_lazies", {})):
            patch.setattr(chains, name, value)
        patch.setattr(chains, "compiled", Interpreted)
        replays_within_rounding(instructions)


@pytest.mark.any_numpy
@pytest.mark.parametrize(
    "names",
    ["add square sum", "exp mul relu_ add", "where maximum mean", "t mul tanh sum", "wide mul add neg"],
)
def test_programs_in_compiled_loops_replay_within_rounding(names, any_chain):
    assert replays_within_rounding([(name, k, k + 1) for k, name in enumerate(names.split())])


# ---- faults ------------------------------------------------------------------------------------------------

FAULTS = {
    "a wrong sign": ("x0 * x1", "x0 * f32(-1) * x1"), "a lane": ("i1] = t", "i1] = 2 * (i1 == 3) + t"), "a tail": ("in range(X0_1.shape[0]", "in range(X0_1.shape[0] - 1"),
    "a wrong operand": ("x1 = X1[i1]", "x1 = X1[0]"), "a row": ("X0_1 = X0_0[i0]", "X0_1 = X0_0[0]"),
    "a sum without its end": ("range(P0.shape[0])", "range(P0.shape[0] - 1)"), "an element twice": ("S0[i1] +", "S0[i1] + S0[i1] +"),
    "half precision": ("Y0_1[i1] = ", "Y0_1[i1] = f64(0.9999) * "),
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_loop_is_found(fault, any_chain, interpreted, monkeypatch):
    write, planted = chains.Layout.write, []

    def faulty(self):
        text, *rest = write(self)
        planted.append(FAULTS[fault][0] in text)
        return text.replace(*FAULTS[fault]), *rest

    monkeypatch.setattr(chains.Layout, "write", faulty)
    monkeypatch.setattr(chains, "PIECE", 1)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("f4") for s in ((130, 7), (7,))]
    with pytest.raises((CompileError, IndexError), match=r"verify found the loop of|out of bounds"):
        verified(lambda x, y: (x * y + 1).relu(), arrays, [0, 1])
    assert any(planted)


def test_a_wrong_transposition_is_found(any_chain, interpreted, monkeypatch):
    made = chains.Layout._operand
    monkeypatch.setattr(chains.Layout, "_operand", lambda *args: made(*args)._replace(order=None))
    x = np.asfortranarray(np.arange(20, dtype="f4").reshape(4, 5))
    with pytest.raises(CompileError, match="verify found the loop of mul"):
        verified(lambda x: x * 2 + 1, [x])


# ---- sums --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1), -1, (0, 2)])
def test_a_sum_is_within_a_unit_of_the_exact_one_however_many_threads_there_are(dim, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, (300, 5, 65) if dim == (0, 2) else (1031, 517)).astype("f4")
    compiled = minigrad.compile(
        lambda x: (x * 1.5 + 0.25).sum() if dim is None else (x * 1.5 + 0.25).sum(dim)
    )
    terms = (x * np.float32(1.5) + np.float32(0.25)).astype(np.float64)
    exact = np.sum(terms, axis=dim if dim != -1 else 1)
    bits = set()
    with minigrad.kernels("numba", wait=True):
        for number, shared in ((1, math.inf), (2, 0.0), (3, 0.0)):
            monkeypatch.setattr(threads, "_number", number)
            monkeypatch.setattr(threads, "SHARED", shared)
            minigrad.compiler.reset()
            for _ in range(3):
                found = compiled(wrap(x)).numpy()
            assert np.all(np.abs(found - exact) <= np.spacing(exact.astype("f4")))
            bits.add(found.tobytes())
    assert len(bits) == 1 and len(loops(compiled)) == 1


def test_losses_and_gradients_of_biases_are_sums_at_the_end_of_loops():
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=s).astype("f4") for s in ((64, 32), (64, 32), 32))
    found = verified(lambda x, y, b: F.mse_loss(F.gelu(x + b), y), [x, y, b], [0, 2])
    assert [len(block.kernel.sums) for block in found] == [1, 1]
    assert "sum" in found[1].name and "mse_loss" in found[0].name


def test_sums_of_pieces_have_planned_memory():
    x = wrap(np.random.default_rng(0).normal(size=(4096, 2048)).astype("f4"))
    compiled = minigrad.compile(lambda x: ((x * 2).sum(0), (x * x).sum(), (x * 2).amax(0)))
    with minigrad.kernels("numba", wait=True):
        for _ in range(3):
            found = compiled(x)
        (wanted,) = {block.kernel.partial for block in loops(compiled) if block.kernel.partial[1] > 1}
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            again = compiled(x)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert (
        peak < 8 * math.prod(wanted) / 4
    )  # one result of two that are held, 8 KB each, and objects of Python
    with minigrad.kernels("off"):
        for a, b, c in zip(found, again, compiled.function(x), strict=True):
            assert same(a, b) and np.allclose(a.numpy(), c.numpy(), rtol=1e-5, atol=1e-2)


# ---- extrema -----------------------------------------------------------------------------------------------

EXTREMA = {
    "amax": lambda x, dim: x.amax(dim), "amin": lambda x, dim: x.amin(dim, keepdim=True),
    "max": lambda x, dim: x.max(-1 if isinstance(dim, tuple) else dim).values, "min": lambda x, dim: x.min(-1 if isinstance(dim, tuple) else dim, keepdim=True)[0],
    "norm": lambda x, dim: x.norm(p=math.inf, dim=dim),
}  # fmt: skip


@pytest.mark.any_numpy
@pytest.mark.parametrize("name", EXTREMA)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_extrema_end_loops_with_the_bits_of_the_calls(name, dtype):
    rng = np.random.default_rng(0)
    for shape, dims in (
        ((33, 65), (0, 1, (0, 1))),
        ((3, 17, 5), ((0, 2), (1, 2), 1)),
        ((1, 40000), ((0, 1),)),
        ((7, 17), (-1,)),
    ):
        for dim in dims:
            x = np.asarray(rng.normal(size=shape), dtype) - 5
            function = lambda x: EXTREMA[name](x * 2 + 1, dim)  # noqa: E731, B023
            special = np.where(
                rng.random(shape) < 0.02, [[np.nan], [-np.inf], [np.inf], [-np.nan]][len(shape) % 4], x
            )
            for layout in op_cases.LAYOUTS if shape == (33, 65) else ("plain",):
                compiled = minigrad.compile(function)
                for a in (x, special.astype(dtype)):
                    with minigrad.kernels("numba", wait=True):
                        found = [compiled(wrap(op_cases.laid_out(a, layout))) for _ in range(2)]
                    with minigrad.kernels("off"):
                        assert np.array_equal(found[1].numpy(), function(wrap(a)).numpy(), equal_nan=True)
                (*_, block) = compiled._last.program.lines
                assert isinstance(block, fusion.Fusion) == (shape != (3, 17, 5) or dim != 1), (shape, dim)


@pytest.mark.any_numpy
def test_every_kind_of_nan_is_an_extremum_in_every_lane():
    for dtype, bits, kind in (
        ("f4", (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF), "u4"),
        ("f8", (0x7FF8 << 48, 0xFFF8 << 48), "u8"),
    ):
        compiled = minigrad.compile(
            lambda x: ((x * 1.0).amax(-1), (x * 1.0).amin(-1), (x * 1.0).amax(0), (x * 1.0).amin(0))
        )
        nans = np.array(bits, kind).view(dtype)
        for at in range(67):
            x = np.random.default_rng(at).normal(size=(3, 67)).astype(dtype)
            x[1, at] = nans[at % len(nans)]
            with minigrad.kernels("numba", wait=True):
                rows, low, columns, under = (t.numpy() for t in compiled(wrap(x)))
            assert np.isnan(rows).tolist() == np.isnan(low).tolist() == [False, True, False]
            assert (
                np.flatnonzero(np.isnan(columns)).tolist() == np.flatnonzero(np.isnan(under)).tolist() == [at]
            )
        assert len(loops(compiled)) >= 2


def test_ties_share_the_gradient_of_an_extremum_in_a_loop_as_elsewhere():
    x = np.array([[1, 3, 3, 2], [0, 0, 0, 0], [4, 1, 1, 4]], "f4").repeat(20, 0)
    assert verified(lambda x: (x * 2 + 1).amax(-1), [x], [0])
    assert verified(lambda x: (x * 2 + 1).norm(dim=0) + (x * 2 + 1).amin(0), [x], [0])


def test_a_place_that_is_asked_for_leaves_the_maximum_to_its_row():
    compiled = minigrad.compile(lambda x: (x * 2 + 1).max(-1))
    with minigrad.kernels("numba", wait=True):
        values, places = [compiled(minigrad.arange(64.0).view(2, 32)) for _ in range(2)][1]
    assert places.tolist() == [31, 31] and values.tolist() == [63, 127]
    assert [line.name for line in compiled._last.program.lines] == ["mul + add", "max_dim"]


@pytest.mark.once
@pytest.mark.parametrize(
    "fault",
    [("-inf", "0.0"), ("larger(r0", "smaller(r0"), ("most(S0[i1]", "most(-9.0"), ("most(a0, P0", "least(a0, P0"),
     ("lowest_narrow", "0.0"), ("extreme(r0)", "-extreme(r0)")],
)  # fmt: skip
@pytest.mark.parametrize("dim", [0, 1, (0, 1)], ids=str)
def test_a_fault_in_an_extremum_is_found(fault, dim, any_chain, interpreted, monkeypatch):
    write, planted = chains.Layout.write, []

    def faulty(self):
        text, *rest = write(self)
        planted.append(fault[0] in text)
        return text.replace(*fault), *rest

    monkeypatch.setattr(chains.Layout, "write", faulty)
    monkeypatch.setattr(chains, "PIECE", 1)
    monkeypatch.setattr(OPS["amax"], "kernels", {})  # which would have the fault as well
    x = -1 - np.random.default_rng(0).random((130, 7), "f4")
    try:
        verified(lambda x: (x * 2 + 1).amax(dim), [x])
        found = False
    except CompileError as e:
        found = "verify found the loop of" in str(e)
    assert found is any(planted)


# ---- when, and what is shown -------------------------------------------------------------------------------


def bias_and_gelu(x, bias, scale=2.0):
    return F.gelu(x + bias, approximate="tanh") * scale


def test_the_calls_answer_until_the_loop_is_ready_which_is_then_traced():
    compiled = minigrad.compile(bias_and_gelu)
    x, b = minigrad.randn(64, 100), minigrad.randn(100)
    with minigrad.kernels("off"):
        wanted = compiled(x, b)
        assert same(wanted, bias_and_gelu(x, b)) and not loops(compiled)
    with minigrad.kernels("numba"):
        compiled(x, b)
        assert not loops(compiled)
        loading.wait()
        assert np.allclose(compiled(x, b), wanted, rtol=1e-6, atol=1e-7)
        (block,) = loops(compiled)
        assert np.allclose(compiled(x, b), wanted, rtol=1e-6, atol=1e-7)
    assert block.name.startswith("add + gelu") and "def add_gelu_mul(" in compiled.source()
    assert "#             t0 = x0 + x1" in compiled.source() and compiled.report().rows[0].calls == 1


def test_numbers_and_shapes_are_given_to_a_loop_that_is_compiled_once(monkeypatch):
    compiled = minigrad.compile(lambda x, k: ((x * k).tanh() * x).mean())
    with minigrad.kernels("numba", wait=True):
        for rows, k in ((40, 2.0), (40, 3.5), (33, 3.5)):
            x = minigrad.randn(rows, 100)
            for _ in range(2):
                assert np.allclose(compiled(x, k), compiled.function(x, k), rtol=1e-5)
            assert len(loops(compiled)) == 1
    assert len(chains._lazies) == 1


def test_another_set_s_kernel_is_not_passed_over():
    asked = []
    kernel = lambda m, x: asked.append(1) or m.maximum(x, 0)  # noqa: E731
    backend.register_kernel("mine", "relu", kernel)
    try:
        compiled = minigrad.compile(lambda x: (x * 2 + 1).relu() * 2)
        with minigrad.kernels("auto", wait=True):
            for _ in range(3):
                compiled(minigrad.randn(64, 64))
        assert len(asked) == 4 and [b.name for b in loops(compiled)] == [
            "mul + add"
        ]  # once to see what memory it asks for
    finally:
        backend.unregister_kernels("mine")


def test_what_a_row_would_compute_in_other_dtypes_is_left_to_it(any_chain):
    x, n = minigrad.randn(64), minigrad.arange(64)
    for function in (lambda x, n: x.double() * x + n, lambda x, n: n * n + n, lambda x, n: x.half() * 2 + 1):
        compiled = minigrad.compile(function)
        with minigrad.kernels("numba", wait=True):
            for _ in range(2):
                assert same(compiled(x, n), function(x, n))
        assert not loops(compiled) or function(x, n).dtype == minigrad.float64


def test_a_loss_and_its_gradient_are_one_loop_with_what_feeds_them():
    w, x, y = minigrad.randn(1, requires_grad=True), minigrad.randn(40, 1), minigrad.randn(40, 1)

    def step(x, y):
        loss = F.mse_loss((x * w).sigmoid(), y)
        loss.backward()
        return loss

    compiled = minigrad.compile(step, verify=True)
    with minigrad.kernels("numba", wait=True):
        for _ in range(3):
            w.grad = None
            compiled(x, y)
    (block,) = loops(compiled)
    assert (
        block.name
        == "mul + sigmoid_numba + mse_loss + mse_loss_gradient + sigmoid_gradient_numba + mul_gradient_by_y + sum"
    )


def test_arrays_without_elements_are_left_to_the_calls(any_chain, interpreted):
    x, y = minigrad.zeros(32, 1), minigrad.zeros(1, 0)
    compiled = minigrad.compile(lambda x, y: (x * y + 1).sigmoid() * x)
    with minigrad.kernels("numba", wait=True):
        for _ in range(2):
            assert compiled(x, y).shape == (32, 0)
    assert not loops(compiled)
