"""Matrix products by blocks: beside float64 on every shape and layout, and with faults planted in their loops."""

import itertools
import types

import numpy as np
import op_cases
import pytest

import minigrad
from minigrad import backend
from minigrad.op import OPS

pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import loading, matmul, vectors
from rebuilt import MACHINES, built

from minigrad.kernels import numba_cpu

D, P, R, W = matmul.DEPTH, matmul.PANEL, matmul.ROWS, vectors.WIDTH
pytestmark = pytest.mark.usefixtures("only_numba")

ROWS = [1, 2, 5, 6, 7, 17, 33, 65, R + 1, 2 * R + 7]
DEPTHS = [1, 2, W - 1, W, W + 1, 60, D - 1, D + 1, 3 * D + 5]
COLUMNS = [1, 2, 5, 6, W - 1, W, W + 1, P - 1, P + 1, 2 * P + 2 * W + 3]
LAYOUTS = (*op_cases.LAYOUTS, "misaligned", "repeated rows", "repeated columns")
BOTH = ["forward", "gradient"]


@pytest.fixture(scope="module", autouse=True)
def ready():
    """Compiled, whether or not the rows have them on this machine."""
    for loop in (matmul._products, matmul._column_sums):
        loop.load(np.dtype(np.float32))


def drawn(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def laid_out(a, layout):
    if layout == "misaligned":
        made = np.frombuffer(bytearray(b"\0" + a.tobytes()), a.dtype, a.size, 1).reshape(a.shape)
        made.flags.writeable = False
        return made
    if layout.startswith("repeated"):
        return np.broadcast_to(a[:1] if layout == "repeated rows" else a[:, :1], a.shape)
    return op_cases.laid_out(a, layout)


def beside_the_exact(found, a, b, bias=None):
    """Each number is within the worst that sums of blocks can do: n · ½ eps · Σ |a b|, n the most additions to one of them."""
    assert found.dtype == np.float32 and found.flags.c_contiguous
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        exact, size = a @ b, np.abs(a) @ np.abs(b)
    if bias is not None:
        exact, size = exact + bias, size + np.abs(bias)
    assert found.shape == exact.shape
    depth = a.shape[-1]
    additions = min(depth, D) + -(-depth // D) + 2
    finite = np.isfinite(exact)
    assert np.array_equal(found[~finite], exact[~finite], equal_nan=True)
    assert (np.abs(found[finite] - exact[finite]) <= additions * 2.0**-24 * size[finite]).all()


def check(rng, rows, depth, columns, layouts=("plain",) * 4, module=matmul, part="forward"):
    """A layer and its gradients, of operands that stay as they are."""
    shapes = (rows, depth), (columns, depth), (rows, columns)
    x, weight, g = (laid_out(drawn(rng, *shape), how) for shape, how in zip(shapes, layouts, strict=False))
    bias = laid_out(drawn(rng, 1, columns), layouts[3])[0]
    before = [a.tobytes() for a in (x, weight, g, bias)]
    if part == "forward":
        beside_the_exact(module.linear_forward(x, weight, bias), x, weight.T, bias)
        beside_the_exact(module.linear_forward(x, weight), x, weight.T)
    else:
        by_x, by_weight, by_bias = module.linear_gradient(g, x, weight, [True] * 3)
        beside_the_exact(by_x, g, weight)
        beside_the_exact(by_weight, g.T, x)
        exact, size = g.sum(0, dtype=np.float64), np.abs(g).sum(0, dtype=np.float64)
        assert (np.abs(by_bias - exact) <= 3 * 2.0**-24 * size).all()  # as accurate however many rows
    assert [a.tobytes() for a in (x, weight, g, bias)] == before


@pytest.fixture
def by_name():
    with minigrad.kernels("numba"):
        yield


# ---- shapes and layouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("part", BOTH)
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_shape_is_within_the_bound_of_its_sums(depth, part, by_name):
    rng = np.random.default_rng(0)
    for rows, columns in itertools.product(ROWS, COLUMNS):
        check(rng, rows, depth, columns, part=part)


@pytest.mark.parametrize("part", BOTH)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_may_lie_in_any_way(layout, part, by_name):
    rng = np.random.default_rng(0)
    for shape in [(7, W + 1, 9), (70, D + 9, P + 5), (R + 5, 40, 2 * P)]:
        for place in range(4):
            layouts = tuple(layout if i == place else "plain" for i in range(4))
            check(rng, *shape, layouts, part=part)
        check(rng, *shape, (layout,) * 4, part=part)


def test_more_columns_than_are_packed_at_a_time(by_name):
    rng = np.random.default_rng(0)
    for part in BOTH:
        check(rng, 70, 21, matmul.WIDE * P + P + 3, part=part)
        check(rng, 2 * matmul.WIDE * P + 9, 21, 70, part=part)


def test_errors_are_no_larger_than_those_of_the_blas(by_name):
    rng = np.random.default_rng(0)
    for rows, depth, columns in [(32, 784, 128), (256, 768, 768), (300, 3072, 200)]:
        x, w = drawn(rng, rows, depth), drawn(rng, columns, depth)
        exact = x.astype(np.float64) @ w.T.astype(np.float64)
        ours, theirs = (np.sqrt(np.mean((y - exact) ** 2)) for y in (matmul.linear_forward(x, w), x @ w.T))
        assert ours <= 2 * theirs


@pytest.mark.parametrize("shape", [(20, 70, 30), (100, 2 * D + 5, P + 3)], ids=str)
def test_infinity_and_nan_come_out_where_they_do_from_the_blas(shape, by_name):
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    for special in (np.inf, -np.inf, np.nan):
        for transposed in (False, True):
            x, w = drawn(rng, rows, depth), drawn(rng, columns, depth)
            x[3, -1], w[5, 0], w[-1, 1], x[:, 2] = special, special, special, 0
            w[7, 2] = special  # times zero
            w = np.asfortranarray(w) if transposed else w
            beside_the_exact(matmul.linear_forward(x, w), x, w.T)


@pytest.mark.parametrize("shape", [(40, 30, 50), (70, D + 9, 2 * P)], ids=str)
def test_matmul_takes_batches_that_broadcast(shape, by_name):
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    leads = [(), (3,), (2, 3), (2, 1), (4, 2, 3)]
    for one, two in itertools.product(leads, leads):
        x, y = drawn(rng, *one, rows, depth), drawn(rng, *two, depth, columns)
        beside_the_exact(matmul.matmul_forward(x, y), x, y)
    x, y = drawn(rng, 2, rows, 3, depth).swapaxes(1, 2), drawn(rng, 2, 3, columns, depth).swapaxes(2, 3)
    beside_the_exact(matmul.matmul_forward(x, y), x, y)


@pytest.mark.parametrize("shape", [(40, 30, 50), (7, D + 9, P + 3)], ids=str)
def test_the_rules_of_matmul_are_products_of_any_batches_and_strides(shape, by_name):
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    leads = [(), (3,), (2, 3), (2, 1)]
    for one, two in itertools.product(leads, leads):
        x, y = drawn(rng, *one, rows, depth), drawn(rng, *two, depth, columns)
        g = drawn(rng, *np.broadcast_shapes(one, two), rows, columns)
        beside_the_exact(matmul.matmul_gradient_by_x(g, y, x.shape), g, y.swapaxes(-1, -2))
        by_y = matmul.matmul_gradient_by_y(g, x, y.shape)
        if two:
            beside_the_exact(by_y, x.swapaxes(-1, -2), g)
        else:  # one product over all positions
            beside_the_exact(by_y, x.reshape(-1, depth).T, g.reshape(-1, columns))
    for layout in LAYOUTS:
        x, y, g = (
            laid_out(drawn(rng, *s), layout) for s in ((rows, depth), (depth, columns), (rows, columns))
        )
        beside_the_exact(matmul.matmul_gradient_by_x(g, y, x.shape), g, y.T)
        beside_the_exact(matmul.matmul_gradient_by_y(g, x, y.shape), x.T, g)
    heads = drawn(rng, 2, columns, 3, depth).transpose(0, 2, 3, 1)  # of (B, T, H, D), transposed: q @ kᵀ
    x, g = drawn(rng, 2, 3, rows, depth), drawn(rng, 2, 3, rows, columns)
    beside_the_exact(matmul.matmul_gradient_by_x(g, heads, x.shape), g, heads.swapaxes(2, 3))
    beside_the_exact(matmul.matmul_gradient_by_y(g, x, heads.shape), x.swapaxes(2, 3), g)


def test_a_layer_takes_any_number_of_dimensions_before_the_last(by_name):
    rng = np.random.default_rng(0)
    weight, bias = drawn(rng, 33, 70), drawn(rng, 33)
    for lead in [(), (5,), (2, 5), (2, 3, 5)]:
        x, g = drawn(rng, *lead, 70), drawn(rng, *lead, 33)
        beside_the_exact(matmul.linear_forward(x, weight, bias), x, weight.T, bias)
        by_x, by_weight, by_bias = matmul.linear_gradient(g, x, weight, [True] * 3)
        beside_the_exact(by_x, g, weight)
        beside_the_exact(by_weight, g.reshape(-1, 33).T, x.reshape(-1, 70))
        assert np.allclose(by_bias, g.reshape(-1, 33).sum(0), atol=1e-5)


def test_gradients_are_made_only_where_they_are_needed(by_name):
    rng = np.random.default_rng(0)
    operands = drawn(rng, 9, 20), drawn(rng, 9, 30), drawn(rng, 20, 30)
    every = matmul.linear_gradient(*operands, [True] * 3)
    for needs in itertools.product((False, True), repeat=3):
        found = matmul.linear_gradient(*operands, needs)
        for a, b, need in zip(found, every, needs, strict=True):
            assert a is None if not need else a.tobytes() == b.tobytes()


# ---- what it is not for ---------------------------------------------------------------------------------


def test_what_it_is_not_for_is_declined(by_name):
    rng = np.random.default_rng(0)
    x, w = drawn(rng, 70, 80), drawn(rng, 90, 80)
    for operands in [(x[:0], w), (x, w[:0]), (x[:, :0], w[:, :0]), (x, w[:, :3]), (x, w[0]), (x[0, 0], w),
                     (x, w, drawn(rng, 1)), (x, w, drawn(rng, 70, 90)), (x, w[None])]:  # fmt: skip
        assert matmul.linear_forward(*operands) is matmul.SHAPES
    for g, one, two in [(x[:0] @ w.T, x[:0], w), (x @ w[:0].T, x, w[:0])]:
        assert matmul.linear_gradient(g, one, two, [True] * 3) is matmul.SHAPES
    for operands in [(x[0], w.T), (x, w[0]), (x[:0], w.T), (x, w), (x[:, :0], w.T[:0]), (x[None][[0, 0]], w.T[None][[0] * 3])]:  # fmt: skip
        assert matmul.matmul_forward(*operands) is matmul.SHAPES
    g = x @ w.T
    for above, one, shape in [(g[0], w.T, (80,)), (g[0], w[0], (70, 80)), (g[:0], w.T, (0, 80))]:
        assert matmul.matmul_gradient_by_x(above, one, shape) is matmul.SHAPES
    for above, one, shape in [(g[0], x[0], (80, 90)), (g[:, 0], x, (80,)), (g[:0], x[:0], (80, 90)), (g[None, :0], x[None, :0], (80, 90))]:  # fmt: skip
        assert matmul.matmul_gradient_by_y(above, one, shape) is matmul.SHAPES


def test_small_ones_are_the_blas_s_unless_the_kernels_are_asked_for_by_name():
    rng = np.random.default_rng(0)
    w = drawn(rng, 128, 80)
    for rows, mode, declined in [
        (2, "auto", True),
        (200, "auto", False),
        (2, "numba", False),
        (2, "require", False),
    ]:
        x = drawn(rng, rows, 80)
        with minigrad.kernels(mode):
            g = x @ w.T
            found = [
                matmul.linear_forward(x, w),
                matmul.matmul_forward(x, w.T),
                matmul.linear_gradient(g, x, w, [True] * 3),
            ]
            found += [
                matmul.matmul_gradient_by_x(g, w.T, x.shape),
                matmul.matmul_gradient_by_y(g, x, (80, 128)),
            ]
        assert [a is matmul.SMALL for a in found] == [declined] * 5


@pytest.mark.parametrize(
    "name, features, narrow",
    [
        (b"Haswell", True, True),
        (b"Zen", True, True),
        (b"Haswell", False, False),
        (b"SkylakeX", True, False),
        (b"a new one", True, False),
        (None, True, False),
    ],
)
def test_they_are_for_a_blas_whose_vectors_are_narrower_than_the_machine_s(
    name, features, narrow, monkeypatch
):
    import ctypes

    from numpy._core import _multiarray_umath as umath

    class Asked:
        def __call__(self):
            return name

    library = types.SimpleNamespace(**({"openblas_get_corename": Asked()} if name else {}))
    monkeypatch.setattr(ctypes, "CDLL", lambda path: library)
    monkeypatch.setattr(umath, "__cpu_features__", {"AVX512F": features})
    assert numba_cpu.blas_is_narrow() is narrow


def test_the_rows_use_them(own_products):
    minigrad.manual_seed(0)
    x = minigrad.randn(100, 80, requires_grad=True)
    layer = minigrad.nn.Linear(80, 130)
    found = []
    for mode in ("require", "off"):
        x.grad = None
        layer.zero_grad()
        with minigrad.kernels(mode):
            told = minigrad.explain(lambda: (layer(x) @ layer.weight).sum().backward())
        ran = [(c.op, c.part) for c in told.choices if c.ran == "numba"]
        rules = [("matmul", "gradient")] * 2
        assert ran == [("linear", "forward"), ("matmul", "forward"), *rules, ("linear", "gradient")] * (
            mode == "require"
        )
        found.append([a.grad.numpy() for a in (x, layer.weight, layer.bias)])
    assert all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*found, strict=True))


def test_a_compiled_function_has_the_kernel_of_each_rule(own_products):
    minigrad.manual_seed(0)
    x, w = (
        minigrad.randn(2, 100, 80, requires_grad=True),
        minigrad.randn(80, 130, requires_grad=True),
    )

    def gradients(x, w):
        return minigrad.autograd.grad((x @ w).sum(), (x, w))

    compiled = minigrad.compile(gradients, verify=True)
    with minigrad.kernels("numba", wait=True):
        for _ in range(3):
            found = compiled(x, w)
    names = [line.name for line in compiled._last.program.lines]
    assert {"matmul_gradient_by_x_numba", "matmul_gradient_by_y_numba"} <= set(names)
    with minigrad.kernels("off"):
        for a, b in zip(found, gradients(x, w), strict=True):
            assert a.shape == b.shape and np.allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


def test_a_summary_counts_what_a_kernel_does(own_products):
    found = []
    for mode in ("require", "off"):
        with minigrad.kernels(mode):
            found.append(minigrad.summary(minigrad.nn.Linear(784, 128), (32, 784)).flops)
    assert found == [2 * 32 * 784 * 128] * 2


# ---- threads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(200, 70, 150), (150, 2 * D + 3, 300), (40, 90, 150)], ids=str)
def test_shared_work_has_the_bits_of_unshared_work_two_hundred_times(
    shape, shared_two_hundred_times, by_name
):
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    x, w, g, bias = (
        drawn(rng, rows, depth),
        drawn(rng, columns, depth),
        drawn(rng, rows, columns),
        drawn(rng, columns),
    )
    y = drawn(rng, 3, depth, columns)

    def bits():
        found = (matmul.linear_forward(x, w, bias), matmul.matmul_forward(x, y), *matmul.linear_gradient(g, x, w, [True] * 3))  # fmt: skip
        return [a.tobytes() for a in found]

    shared_two_hundred_times(bits)


# ---- faults are caught ----------------------------------------------------------------------------------


@pytest.mark.once
def test_vectors_of_another_machine_give_the_same(monkeypatch, by_name):
    machine = "NEON" if MACHINES["AVX2"][0] == W else "AVX2"
    module = built(monkeypatch, matmul, machine=machine)
    assert MACHINES[machine][0] == module.WIDTH != W
    for loop in module.linear_gradient.loops:
        loop.load(np.dtype(np.float32))
    rng = np.random.default_rng(0)
    for shape, part in itertools.product([(7, 5, 9), (70, D + 9, 67), (64, 128, 64), (1, 19, 200)], BOTH):
        check(rng, *shape, module=module, part=part)


FAULTS = {
    "a tail's last number is lost": ("for j in range(columns):\n                                c[r + i, p + j] = edge",
                                     "for j in range(columns - 1):\n                                c[r + i, p + j] = edge"),
    "a block of the depth overwrites the last": ("columns, first > 0)", "columns, False)"),
    "panels are packed too near": ("min(PANEL, end - p), panels[(p - x) // PANEL * height :]",
                                   "min(PANEL, end - p), panels[(p - x) // PANEL * (height - 1) :]"),
    "the left rows are off by one": ("to[k, i] = block[k, i]", "to[k, i] = block[k, max(i - 1, 0)]"),
    "rows beyond whole tiles are lost": ("_small(a, b, c, r, x, depth, add)", "pass"),
    "lanes of inner products are off by one": ("[*range(WIDTH)]", "[*range(1, WIDTH + 1)]"),
    "lanes are added to others": ("[n + span for n in low]", "[n + 1 for n in low]"),
    "the last row has no part in the columns' sums": ("range(rows - rows % 4, rows)", "range(rows - rows % 4, rows - 1)"),
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_loops_is_caught(fault, monkeypatch, by_name):
    def all_of_them(module):
        rng = np.random.default_rng(0)
        for shape, part in itertools.product(
            [(71, 2 * D + 9, 2 * P + 3), (70, 9, 3 * P), (9, W + 3, 14)], BOTH
        ):
            check(rng, *shape, module=module, part=part)

    all_of_them(matmul)
    module = built(monkeypatch, matmul, FAULTS[fault])
    loops = module.linear_gradient.loops
    if "columns' sums" in fault:  # the others are compiled already
        module._products.entries = matmul._products.entries
    for loop in loops:
        loop.load(np.dtype(np.float32))
    with pytest.raises(AssertionError):
        all_of_them(module)


def test_nothing_is_compiled_for_a_product_that_is_too_small(monkeypatch):
    asked = []
    monkeypatch.setattr(loading.Lazy, "begin", lambda self: asked.append(self.name) or loading.COMPILING)
    monkeypatch.setattr(loading.Lazy, "compile", lambda self: asked.append(self.name))
    for name, large in (("linear", 3000), ("matmul", 400)):
        row = OPS[name]
        lazy = loading.Lazy(f"{name}_forward", None, numba_cpu._worth(f"{name}_forward"))
        rule = loading.Lazy(f"{name}_gradient", None, numba_cpu._worth(f"{name}_gradient"))
        kernel = backend.Kernel(lazy, rule if name == "linear" else None, "numba")
        monkeypatch.setattr(row, "kernels", {("numba", "cpu", np.dtype("float32")): kernel})
        x, w = minigrad.rand(1, 784), minigrad.rand(784, 128)
        call = (
            (lambda x, w: x @ w) if name == "matmul" else lambda x, w: minigrad.nn.functional.linear(x, w.T)
        )
        with minigrad.kernels("auto"):
            call(x, w.requires_grad_()).sum().backward()
            assert asked == []
            call(minigrad.rand(large // 100, 784), w)
        assert asked == [f"{name}_forward"]
        asked.clear()
