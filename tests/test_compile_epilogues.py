"""Chains in the loops of the products that they read: beside the same calls apart, to the bit, with faults planted in both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import threads
from minigrad.compiler.fusion import Fusion

pytest.importorskip("numba")

from minigrad.kernels.numba_cpu import epilogues, matmul  # type: ignore[attr-defined]
from rebuilt import built
from test_compile_chains import Interpreted

F = minigrad.nn.functional
pytestmark = pytest.mark.usefixtures("only_numba", "own_products", "two_threads")


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads, which share every product; nothing is known of other tests' loops."""
    monkeypatch.setattr(threads, "_number", 2)
    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threads, "SHARED", 0.0)
    monkeypatch.setattr(epilogues, "_lazies", {})


def products(a, b, bias, inner, across, c, after, given, start, stop):
    """The product's own loop, and then what follows in parts of three rows and five columns."""
    if start:
        return
    matmul._products.entries[np.dtype(np.float32)](a, b, bias, inner, across, c, 0, matmul.cut(a, b)[0])
    rows, columns = int(np.prod(c.shape[:-1])), c.shape[-1]
    for r in range(0, rows, 3):
        for x in range(0, columns, 5):
            after(given, r, min(r + 3, rows), x, min(x + 5, columns))


def python_loop(text, name, *_):
    names = {
        "products": products,
        "NOTHING": matmul.NOTHING,
        **dict.fromkeys(("by_part", "kernel_by_part"), lambda f: f),
    }
    return Interpreted(text, name, names=names)


@pytest.fixture
def interpreted(monkeypatch):
    """Loops with epilogues are run by Python, for compiling each takes seconds. The product in them is the kernel."""
    monkeypatch.setattr(epilogues, "compiled", python_loop)


def joined(f, *args):
    """The names of the products of a call that have an epilogue, and what it gives, in numbers and bits."""
    with minigrad.kernels("numba", wait=True):
        call = minigrad.compile(f)
        call(*args)
        out = call(*args)
        programs = [replay.program for replays in call._programs.values() for replay in replays]
        programs += [
            replay.backward.program
            for replays in call._programs.values()
            for replay in replays
            if replay.backward
        ]
    out = out if isinstance(out, (tuple, list)) else (out,)
    found = [line.name for p in programs for line in p.lines if isinstance(line, Fusion)]
    return [n for n in found if n.startswith(("linear", "matmul"))], [o.numpy().tobytes() for o in out]


def check(monkeypatch, f, *args, expect=1):
    """Joined or apart, the bits are the same."""
    found, bits = joined(f, *args)
    assert len(found) == expect, found
    with monkeypatch.context() as m:
        m.setattr(threads, "_number", 1)
        apart, plain = joined(f, *args)
    assert apart == [] and bits == plain


def drawn(*shape):
    return minigrad.tensor(np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("rows, depth, columns", [(97, 61, 130), (2, 5, 3), (300, 9, 64), (64, 200, 7)])
def test_a_layer_and_its_activation_are_one_loop(monkeypatch, interpreted, rows, depth, columns):
    weight, bias = drawn(columns, depth), drawn(columns)
    for f in (F.relu, F.hardswish, lambda y: y * 0.5 + 1, lambda y: -y):
        check(monkeypatch, lambda x, f=f: f(F.linear(x, weight, bias)), drawn(rows, depth))
        check(monkeypatch, lambda x, f=f: f(F.linear(x, weight)), drawn(rows, depth))


OPERANDS = {
    "the product": lambda y, x: y,
    "another": lambda y, x: drawn(*y.shape) + 0,
    "a row": lambda y, x: drawn(y.shape[-1]),
    "a column": lambda y, x: drawn(*y.shape[:-1], 1),
    "a number": lambda y, x: 1.5,
    "an array of one": lambda y, x: drawn(1),
    "every second": lambda y, x: drawn(*y.shape[:-1], 2 * y.shape[-1])[..., ::2],
    "a transpose": lambda y, x: drawn(*y.shape[::-1]).permute(*range(y.ndim)[::-1]),
}


@pytest.mark.parametrize("shape", [(7, 6), (2, 3, 6), (4, 1, 6)])
@pytest.mark.parametrize("operand", OPERANDS)
def test_what_a_chain_reads_beside_the_product(monkeypatch, interpreted, operand, shape):
    weight, x = drawn(11, 6), drawn(*shape)
    other = OPERANDS[operand](F.linear(x, weight), x)
    # as long as its rows are those of one matrix
    one = not (operand == "a transpose" and shape == (2, 3, 6))
    if isinstance(other, minigrad.Tensor):
        check(monkeypatch, lambda x, o: (F.linear(x, weight) * o).relu() - o, x, other, expect=one)
    check(monkeypatch, lambda x: (F.linear(x, weight) * other).relu() - other, x, expect=one)


def test_a_product_that_is_wanted_stays(monkeypatch, interpreted):
    weight = drawn(11, 6)

    def twice(x):
        y = F.linear(x, weight)
        return y, y.relu()

    def late(x):
        y = F.linear(x, weight)
        return y.relu() + 1, y.softmax(-1)

    def positive(x):
        y = F.linear(x, weight)
        return y > 0, y * 2 + 1

    for f in (twice, late, positive):
        check(monkeypatch, f, drawn(7, 6))


def test_a_product_without_a_result_like_it_stays_apart(monkeypatch, interpreted):
    """Of a mask alone nothing has the product's size in bytes."""
    check(monkeypatch, lambda x: F.linear(x, x) > 0, drawn(7, 6), expect=0)


def test_matrix_products(monkeypatch, interpreted):
    check(monkeypatch, lambda x, y: (x @ y).relu() * 2, drawn(7, 6), drawn(6, 9))
    check(monkeypatch, lambda x, y: (x @ y).relu() * 2, drawn(2, 7, 6), drawn(6, 9))
    check(monkeypatch, lambda x, y: (x @ y).relu() * 2, drawn(2, 7, 6), drawn(2, 6, 9))
    check(monkeypatch, lambda x, y: (x @ y.mT).relu() * 2, drawn(3, 2, 7, 6), drawn(3, 2, 9, 6))
    check(monkeypatch, lambda x, y: (x.mT @ y).relu() * 2, drawn(6, 7), drawn(6, 9))


def test_long_products_and_one_thread_have_none(monkeypatch, interpreted):
    weight, x = drawn(11, 6), drawn(7, 6)
    f = lambda x: F.linear(x, weight).relu() * 2  # noqa: E731
    check(monkeypatch, f, x)
    monkeypatch.setattr(epilogues, "LONG", 1.0)
    check(monkeypatch, f, x, expect=0)
    monkeypatch.setattr(epilogues, "LONG", 1e9)
    monkeypatch.setattr(threads, "SHARED", 1e9)
    check(monkeypatch, f, x, expect=0)


def test_a_product_that_nobody_else_reads_has_no_memory(interpreted):
    weight, x = drawn(11, 6), drawn(7, 6)
    with minigrad.kernels("numba", wait=True), minigrad.no_grad():
        joined = minigrad.compile(lambda x: F.linear(x, weight).relu() * 2)
        apart = minigrad.compile(lambda x: F.linear(x, weight).softmax(-1))
        joined(x)
        apart(x)
    assert joined.report().planned == 0 and apart.report().planned >= 7 * 11 * 4


def test_one_hand_over_instead_of_two(monkeypatch, interpreted):
    weight, x = drawn(11, 6), drawn(7, 6)
    shared = []
    for number in (2, 1):
        monkeypatch.setattr(threads, "_number", number)
        with minigrad.kernels("numba", wait=True), minigrad.no_grad():
            f = minigrad.compile(lambda x: F.linear(x, weight).relu() * 2)
            f(x)
            shared.append(f.source().count("share("))
    assert shared == [1, 2]


def test_loops_are_compared_with_their_calls(interpreted):
    weight, x = drawn(11, 6), drawn(7, 6)
    with minigrad.kernels("numba", wait=True), minigrad.no_grad():
        f = minigrad.compile(lambda x: F.linear(x, weight).relu() * 2, verify=True)
        assert (f(x) == f(x)).all()


def test_what_has_no_epilogue(monkeypatch, interpreted):
    weight = drawn(11, 6)
    apart = [
        lambda x: F.linear(x, weight).relu().sum(),  # a sum at the end
        lambda x: F.linear(x, weight).T.relu() * 2,  # the result is in another order
        lambda x: F.linear(x, weight)[:, 1:].relu() * 2,  # of a part
        lambda x: F.linear(x, weight) + drawn(2, 7, 11),  # of several copies
        lambda x: F.linear(x, weight).softmax(-1),
        lambda x: (F.linear(x.double(), weight.double()) * 2).relu(),
        lambda x: (x[0] @ weight.T).relu() * 2,
        lambda x: (x @ drawn(3, 6, 9)).relu() * 2,  # a matrix for several
        lambda x: (
            (y := F.linear(x, weight)) * 2 + y.softmax(-1)
        ),  # the product is read before the chain can be run
    ]
    for f in apart:
        check(monkeypatch, f, drawn(7, 6), expect=0)


@st.composite
def chains_of_calls(draw):
    """Calls after each other on what is there: the product, and what was made of it."""
    calls = st.sampled_from(
        [
            lambda a, b: a + b,
            lambda a, b: a * b,
            lambda a, b: minigrad.maximum(a, b),
            lambda a, b: minigrad.where(a > b, a, b * 0.5),
            lambda a, b: (a - b).relu(),
        ]
    )
    return draw(st.lists(st.tuples(calls, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6))


@settings(max_examples=40, deadline=None)
@given(calls=chains_of_calls(), kept=st.integers(0, 6), rows=st.integers(2, 9), columns=st.integers(2, 12))
def test_drawn_chains(calls, kept, rows, columns):
    weight, row, other = drawn(columns, 4), drawn(columns), drawn(rows, columns)

    def f(x):
        there = [F.linear(x, weight, row), row, other]
        for call, i, j in calls:
            there.append(call(there[i % len(there)], there[j % len(there)]))
        return [t for i, t in enumerate(there) if i in (0, kept, len(there) - 1)][kept == 0 :]

    with pytest.MonkeyPatch.context() as m:
        m.setattr(threads, "_number", 2)
        m.setattr(threads, "SHARED", 0.0)
        m.setattr(epilogues, "_lazies", {})
        m.setattr(epilogues, "compiled", python_loop)
        found, bits = joined(f, drawn(rows, 4))
        m.setattr(threads, "_number", 1)
        assert joined(f, drawn(rows, 4)) == ([], bits)
    FOUND.update(found)


def test_drawn_chains_had_epilogues():
    assert len(FOUND) > 5, FOUND


FOUND: set[str] = set()


# ---- the loops themselves -------------------------------------------------------------------------------


def block(x, up, bias, down):
    """An MLP and its gradients, of shapes with tails of every kind."""
    y = F.linear(F.gelu(F.linear(x, up, bias)), down)
    y.square().sum().backward()
    return [t.detach() for t in (y, x.grad, up.grad, bias.grad, down.grad)]


def leaves(rows, width, wide):
    made = [drawn(rows, width), drawn(wide, width), drawn(wide), drawn(width, wide)]
    return [t.mul(0.1).requires_grad_() for t in made]


def stepped(rows, width, wide):
    """A compiled step's epilogues and bits, in a pool of its threads."""
    given = leaves(rows, width, wide)
    with minigrad.kernels("numba", wait=True):
        call = minigrad.compile(block)
        for _ in range(2):
            for t in given:
                t.grad = None
            out = call(*given)
    programs = [replay.program for replays in call._programs.values() for replay in replays]
    found = [line.name for p in programs for line in p.lines if isinstance(line, Fusion)]
    return [n for n in found if n.startswith(("linear", "matmul"))], [t.numpy().tobytes() for t in out]


SHAPES = [(130, 70, 300), (40, 33, 65), (3, 20, 500), (800, 16, 20)]


def same_bits(monkeypatch):
    for shape in SHAPES:
        monkeypatch.setattr(threads, "_number", 3)
        found, bits = stepped(*shape)
        assert found == [
            "linear_numba + gelu_numba",
            "linear_numba + square_gradient",
            "linear_gradient_numba + gelu_gradient_numba",
        ]
        monkeypatch.setattr(threads, "_number", 1)
        assert stepped(*shape) == ([], bits)


def test_a_step_has_the_bits_of_its_calls_apart(monkeypatch):
    same_bits(monkeypatch)


def test_parallel_epilogues_have_the_same_bits_200_times(shared_two_hundred_times):
    x, up, bias, _ = leaves(150, 30, 200)
    with minigrad.no_grad(), minigrad.kernels("numba", wait=True):
        f = minigrad.compile(lambda x, w, b: F.gelu(F.linear(x, w, b)))
        f(x, up, bias)
        shared_two_hundred_times(lambda: f(x, up, bias).numpy().tobytes())


@pytest.mark.parametrize(
    "fault",
    [
        ("if last == depth and (done", "if first == 0 and (done"),  # before all of the depth is summed
        ("after(given, above + r, above", "after(given, above + r + 1, above"),
        ("p - done * PANEL, p + columns)", "p, p + columns)"),  # panels are left out
        ("after(given, above + begin, above + end, left, right)", "after(given, above + begin, above + end, left, columns)"),
    ],
)  # fmt: skip
def test_a_fault_in_a_product_is_found(monkeypatch, fault):
    module = built(monkeypatch, matmul, fault)
    monkeypatch.setattr(epilogues, "NAMES", {**epilogues.NAMES, "products": module.products})
    with pytest.raises(AssertionError):
        for rows, depth, columns in [(130, 300, 300), (3, 20, 500)]:
            weight = drawn(columns, depth)
            check(monkeypatch, lambda x, w=weight: F.linear(x, w).relu(), drawn(rows, depth))
