"""Memory of compiled functions: planned once, never made anew, and never taken from somebody who holds it."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.compiler import memory
from minigrad.compiler.scratch import Scratch
from minigrad.nn import functional as F


@pytest.fixture(autouse=True)
def reference(nothing_compiles):
    """The rows' own functions, but where a test says otherwise."""


def training(width=32):
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.LayerNorm(width), nn.Linear(width, 4))
    optimizer = minigrad.optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def batches(n):
    rng = np.random.default_rng(0)
    return [
        [minigrad.from_numpy(rng.normal(size=(8, k)).astype(np.float32)) for k in (16, 4)] for _ in range(n)
    ]


def bytes_made(call, *args):
    """The most bytes that a call holds beside those that were there."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        call(*args)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


@pytest.mark.parametrize("at_end", [False, True])
def test_a_replay_makes_no_arrays(at_end):
    model, _ = training(width=8192)

    def gradients(x, y):
        if not at_end:
            model.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        if at_end:
            model.zero_grad()
        return loss

    compiled = minigrad.compile(gradients)
    x, y = batches(1)[0]
    for _ in range(3):
        compiled(x, y)
    smallest = 8 * 8192 * 4  # an activation, in bytes
    assert bytes_made(compiled, x, y) < smallest / 4  # objects of Python, NumPy's buffers of a fixed size


UPDATES = {
    "SGD": {"lr": 0.1}, "SGD with momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "Adam": {},
    "Adam ascending": {"maximize": True, "weight_decay": 0.1, "amsgrad": True}, "AdamW": {}, "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {}, "Adadelta": {}, "Adamax": {}, "RAdam": {"weight_decay": 0.1}, "NAdam": {"weight_decay": 0.1},
}  # fmt: skip


def trained(name, call, steps=12, width=8192):
    """A model after steps of an optimizer, and the most bytes that the last of them made."""
    model, made = training(width)[0], 0
    optimizer = getattr(minigrad.optim, name.split()[0])(model.parameters(), **UPDATES[name])

    def step(x, y):
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()

    run = call(step)
    for k, (x, y) in enumerate(batches(steps)):
        if k < steps - 1:
            run(x, y)
        else:
            made = bytes_made(run, x, y)
    return [p.detach().numpy() for p in model.parameters()], made


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_by_its_row_makes_no_arrays_at_a_replay_and_has_its_bits(name):
    ours, made = trained(name, minigrad.compile)
    theirs, eager = trained(name, lambda step: step)
    smallest = 4 * 8192 * 4  # a weight of the last layer, in bytes
    assert made < smallest / 2 < eager
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_that_updates_share_is_as_large_as_the_largest_needs():
    kept = Scratch()
    small, large = np.ones(3, "f4"), np.full((2, 5), 2.0)
    assert kept.memory((3,), np.dtype("f4")).nbytes == 12

    def negated_and_compared(m, x, other=None, *, by):
        x[...] = m.where(m.less(m.negative(x), by), m.multiply(x, by), x)

    for x in (small, large, small, large):
        kept.update(negated_and_compared, x, None, by=3.0)
    assert small.tolist() == [9.0] * 3 and (large == 18.0).all()
    assert [place.size for place in kept.places] == [80, 10, 80]


def test_chains_that_run_in_parts_make_no_arrays_of_their_size():
    w = minigrad.rand(1024, 1024).requires_grad_()

    def f(x):
        w.grad = None
        y = (x * w + 1).tanh()
        (y.tanh() * y).sum().backward()
        return y.detach()

    compiled, x = minigrad.compile(f), minigrad.rand(1024, 1024)
    for _ in range(3):
        compiled(x)
    assert "for part in parts" in compiled.source()
    assert bytes_made(compiled, x) < x.nbytes / 2
    held = compiled(x)
    before = held.tolist()
    compiled(x * 2)
    assert held.tolist() == before and compiled(x).tolist() == before


def test_results_and_gradients_that_are_held_stay_what_they_were():
    model, step = training()
    other, eager = training()
    compiled = minigrad.compile(step)
    held, wanted = [], []
    for x, y in batches(6):
        loss, same = compiled(x, y), eager(x, y)
        held.append([loss, *(p.grad for p in model.parameters()), model[0].weight.grad.T])
        wanted.append([same.detach().numpy().copy(), *(p.grad.numpy().copy() for p in other.parameters()),
                       other[0].weight.grad.T.numpy().copy()])  # fmt: skip
    for ours, theirs in zip(held, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b)


def test_a_view_a_numpy_array_and_a_buffer_keep_memory_too():
    f = minigrad.compile(lambda x: x * 2)
    keep = []
    for i in range(5):
        out = f(minigrad.full((4,), float(i)))
        keep.append((out[1:], out.numpy(), memoryview(out.numpy()), out.view(2, 2).T)[i % 4])
        del out
    for i, kept in enumerate(keep):
        assert set(np.asarray(kept).reshape(-1).tolist()) == {2.0 * i}


def test_memory_that_nobody_holds_is_taken_again():
    f = minigrad.compile(lambda x: x * 2)
    x = minigrad.ones(64)
    f(x)
    where = {f(x).data_ptr() for _ in range(5)}
    assert len(where) == 1
    a = f(x)
    assert f(x).data_ptr() not in {a.data_ptr()} and a.data_ptr() in where


def test_two_forwards_before_their_backwards_keep_what_each_saved():
    f = minigrad.compile(lambda x, w: (x * w).exp() * x)
    x = [minigrad.tensor([0.5, 1.0]), minigrad.tensor([2.0, -1.0])]
    w = minigrad.tensor([0.25, 0.5], requires_grad=True)
    for t in x:
        f(t, w).sum().backward()
    wanted, w.grad = w.grad.clone(), None
    outs = [f(t, w) for t in x]
    for out in reversed(outs):
        out.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), wanted.numpy())


def test_two_threads_and_calls_within_calls_don_t_share_memory():
    f = minigrad.compile(lambda x: ((x * 2).exp() + 1).log().sum(0) * 3)
    xs = [minigrad.from_numpy(np.random.default_rng(i).normal(size=(200, 300))) for i in range(4)]
    wanted = [f(x).numpy().copy() for x in xs]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(f(xs[i]).numpy(), wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_gradients_of_another_layout_are_right():
    f = minigrad.compile(lambda x: (x.exp() * 2).tanh())
    x = minigrad.from_numpy(np.random.default_rng(0).normal(size=(3, 5))).requires_grad_()
    g = minigrad.from_numpy(np.random.default_rng(1).normal(size=(5, 3))).T
    f(x).sum().backward()
    for seed in (g, minigrad.ones(1).double().expand(3, 5), minigrad.ones(3, 5).double()):
        x.grad = None
        f(x).backward(seed)
        (wanted,) = minigrad.autograd.grad((x.exp() * 2).tanh(), x, seed)
        np.testing.assert_array_equal(x.grad.numpy(), wanted.numpy())


def test_places_don_t_overlap_while_they_are_needed_and_are_used_again():
    f = minigrad.compile(lambda x: ((((x + 1).exp() @ x.T).tanh() @ x).sqrt() * x).sum())
    f(minigrad.rand(40, 40))
    plan = f._last.planned.plan
    lines = plan.program.lines
    span = {v: [i for i, line in enumerate(lines) if v in {*line.reads()}] for v in plan.places}
    for a in plan.places:
        for b in plan.places:
            apart = plan.places[a] + a.nbytes <= plan.places[b] or plan.places[b] + b.nbytes <= plan.places[a]
            if a is not b and not apart:  # one ends where, at the earliest, the other begins
                assert span[a][-1] <= span[b][0] or span[b][-1] <= span[a][0], (a, b)
    assert 0 < plan.size < sum(v.nbytes for v in plan.places)
    assert all(start % memory.LINE == 0 for start in plan.places.values())


def test_a_block_begins_at_a_line_of_the_cache():
    for n in (1, 63, 64, 1000, 2**20):
        made = memory.block(n)
        assert (
            made.nbytes == n
            and made.__array_interface__["data"][0] % memory.LINE == 0
            and made.flags.writeable
        )


# ---- kernels --------------------------------------------------------------------------------------------


def test_the_loops_of_kernels_are_called_without_their_python_where_their_operands_are_as_traced():
    pytest.importorskip("numba")
    f = minigrad.compile(lambda x: minigrad.softmax(x, -1) * 2 + minigrad.softmax(x, 0))
    with minigrad.kernels("auto", wait=True):
        x = minigrad.rand(64, 64)
        f(x)
        assert " = softmax_numba(x0" in f.source() and "\n    softmax(x0, " in f.source()
        unaligned = minigrad.from_numpy(
            np.zeros(64 * 64 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(64, 64)
        )
        unaligned.copy_(minigrad.rand(64, 64))
        for operand in (x, x * 2, unaligned):  # no kernel reads what isn't aligned
            np.testing.assert_array_equal(f(operand).numpy(), f.function(operand).numpy())


def test_a_kernel_that_reads_values_is_called_whole_with_the_memory_that_it_asks_for():
    pytest.importorskip("numba")
    f = minigrad.compile(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    )  # which looks for what isn't finite
    with minigrad.kernels("auto", wait=True):
        given = [minigrad.rand(1, 2, 16, 8) for _ in range(3)]
        f(*given)
        assert "into((" in f.source() and "scaled_dot_product_attention_numba" in f.source()
        given[2][0, 0, 5, 3] = float("inf")
        np.testing.assert_array_equal(f(*given).numpy(), f.function(*given).numpy())


def test_a_label_that_a_replay_s_loop_finds_out_of_bounds_is_refused_as_uncompiled():
    pytest.importorskip("numba")
    f = minigrad.compile(F.cross_entropy)
    with minigrad.kernels("auto", wait=True):
        x, y = minigrad.rand(8, 512), minigrad.tensor([0, 1, 2, 3, 4, -100, 1, 2])
        for _ in range(2):
            f(x, y)
        assert "cross_entropy_shares(" in f.source()
        y[3] = 512
        with pytest.raises(IndexError) as compiled:
            f(x, y)
        with pytest.raises(IndexError) as plain:
            F.cross_entropy(x, y)
        assert str(compiled.value) == str(plain.value)
        y[3] = -100
        assert f(x, y).item() == F.cross_entropy(x, y).item()


def test_a_training_step_with_kernels_makes_no_arrays():
    pytest.importorskip("numba")
    with minigrad.kernels("auto", wait=True):
        _, step = training(width=16384)
        compiled = minigrad.compile(step)
        x, y = batches(1)[0]
        for _ in range(3):
            compiled(x, y)
        made = bytes_made(compiled, x, y)
    assert made < 8 * 16384 * 4 / 4


def test_memory_for_kernels_is_one_thread_s_and_is_taken_back_after_an_error():
    from minigrad import backend
    from minigrad.compiler.primitives import into

    def fails(*args):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        into((np.empty(3),), (), fails)
    assert backend.PLACES.given is None

    def other(*args):  # asks for something else, and for more, than it is given
        made = [backend.PLACES.given((2,), np.dtype(float)) for _ in range(2)]
        made[0][:], made[1][:] = 1, 2
        return made[1]

    place = np.zeros(8)[:2]
    into((np.empty(3), place), ((0, place),), other)
    assert place.tolist() == [2, 2]
    place[:] = 0
    into((np.empty(3),), ((0, place),), other)
    assert place.tolist() == [2, 2]
    seen = []
    backend.PLACES.given = lambda shape, dtype: None
    try:
        thread = threading.Thread(target=lambda: seen.append(backend.PLACES.given))
        thread.start()
        thread.join()
    finally:
        backend.PLACES.given = None
    assert seen == [None]


def test_a_report_says_what_is_planned_and_what_leaves():
    _, step = training()
    compiled = minigrad.compile(step)
    x, y = batches(1)[0]
    compiled(x, y)
    report, plan = compiled.report(), compiled._last.planned.plan
    leaving = 4 + 4 * (16 * 32 + 32 + 32 + 32 + 32 * 4 + 4)  # the loss, and every parameter's gradient
    assert report.planned == plan.size > 0 and report.left == leaving and report.peak == plan.size + leaving
    assert f"{plan.size / 1e6:.3f} MB are planned for its arrays, {leaving / 1e6:.3f} MB leave it" in str(
        report
    )


def test_another_array_module_is_compiled_without_a_plan(monkeypatch):
    import strict_module

    from minigrad import backend

    monkeypatch.setattr(backend, "MODULES", dict(backend.MODULES))
    monkeypatch.setattr(backend, "BY_TYPE", dict(backend.BY_TYPE))
    module = backend.register_array_module(
        "strict", strict_module.Module(), strict_module.Array, from_numpy=strict_module.from_numpy,
        to_numpy=strict_module.to_numpy, shares_memory=lambda a, b: np.may_share_memory(a._inside, b._inside),
    )  # fmt: skip
    f = minigrad.compile(lambda x: (x * x).tanh() + x.exp().reshape(-1)[:3])
    for seed in range(3):
        array = np.random.default_rng(seed).normal(size=3)
        ours = f(minigrad.autograd.wrap(module.from_numpy(array)))._array
        assert type(ours) is strict_module.Array
        np.testing.assert_array_equal(
            strict_module.to_numpy(ours), f.function(minigrad.from_numpy(array)).numpy()
        )


def test_a_gradient_that_is_a_sum_begins_in_its_first_term():
    table, ids = minigrad.rand(500, 8).requires_grad_(), minigrad.tensor([[3, 1, 4], [1, 5, 9]])
    functional = minigrad.nn.functional

    def step(ids):
        table.grad = None
        out = functional.linear(functional.embedding(ids, table), table).square().mean()
        out.backward()
        return out

    step(ids)
    wanted, f = table.grad.numpy().copy(), minigrad.compile(step)
    held = []
    for _ in range(5):
        f(ids)
        held.append(table.grad)
    assert all(np.array_equal(g.numpy(), wanted) for g in held)  # which a later call doesn't write to
    plan = f._last.planned.plan
    assert not any(v.shape == (500, 8) for v in plan.places)
    assert [v.shape for v in plan.recycled].count((500, 8)) == 1


@pytest.mark.parametrize("terms", [2, 3, 5])
def test_what_leaves_begins_in_an_operand_unless_that_is_wanted(terms):
    def ends(x):
        out = x @ x
        for k in range(terms - 1):
            out = out + (x @ x.T) * float(k)
        return out

    def stays(x):
        out = x @ x
        return out + x, out

    def later(x):
        out = x @ x
        return out + x, out @ x

    def twice(x):
        out = x @ x
        return out * out

    def turned(x):
        out = x @ x
        return out.T + x

    x = minigrad.rand(16, 16)
    for function in (ends, stays, later, twice, turned):
        f = minigrad.compile(function)
        found = [f(x) for _ in range(3)]
        for f_x in found:
            for a, b in zip(np.atleast_1d(f_x), np.atleast_1d(function(x)), strict=True):
                np.testing.assert_array_equal(a, b)
