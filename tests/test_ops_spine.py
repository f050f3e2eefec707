"""The spine is proven from the rows: one rule runs on arrays, on expressions, on another array module, beside kernels."""

from __future__ import annotations

import numpy as np
import op_calls
import op_cases
import pytest
import strict_module
from expressions import Program

import minigrad
from minigrad import autograd, backend
from minigrad.autograd import apply, wrap
from minigrad.op import OPS, bools, elementwise, floats, ints

ALL = op_cases.rows()
ELEMENTWISE = op_cases.rows(lambda row: row.elementwise)


def ids(row):
    return row.name


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fV")


def in_dtype(call, dtype):
    """The call's floats in another dtype."""
    return call._replace(
        arrays=[a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in call.arrays]
    )


# ---- the same rules as expressions -----------------------------------------------------------------------


@pytest.mark.parametrize("row", ELEMENTWISE, ids=ids)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_forward_run_on_expressions_is_source_that_gives_the_same_bits(row, dtype):
    for call in op_cases.fixed_calls(row):
        call = in_dtype(call, dtype)
        m = Program()
        values = [
            None if a is None else m.argument(n, a.dtype)
            for n, a in zip(row.inputs, call.arrays, strict=True)
        ]
        run = m.compiled([row(m, *values, **call.attrs)])
        with np.errstate(all="ignore"):
            (ours,) = run(*[a for a in call.arrays if a is not None])
        assert same_bits(ours, call.forward(call.arrays)), m.source([])
        if not row.wide or dtype is np.float64:
            assert same_bits(ours, call.run(op_cases.leaves(call, ()))._array)


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.elementwise and row.differentiable), ids=ids)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_rule_run_on_expressions_is_source_that_gives_the_same_bits(row, dtype):
    for call in op_cases.fixed_calls(row):
        call = in_dtype(call, dtype)
        out = call.forward(call.arrays).astype(dtype)
        g = op_cases.weights(out.shape, np.random.default_rng(0)).astype(dtype)
        for rule in row.rules:
            m = Program()
            given, values, raw = [g], [m.argument("g", dtype)], [g]
            for kind, where in rule.reads:
                array = call.arrays[where] if kind == "input" else out if kind == "output" else None
                if array is not None:
                    values.append(m.argument(f"a{len(values)}", array.dtype))
                    given.append(array)
                else:
                    shape = () if kind != "shape" else call.arrays[where].shape
                    needs = tuple(a is not None for a in call.arrays)
                    plain = {"input": None, "attr": call.attrs.get(where), "shape": shape, "needs": needs}[
                        kind
                    ]
                    values.append(plain)
                raw.append(array if array is not None else values[-1])
            made = rule.function(m, *values)
            made = [r for r in (made if isinstance(made, tuple) else (made,)) if r is not None]
            with np.errstate(all="ignore"):
                ours = m.compiled(made)(*given)
                expected = rule.function(np, *raw)
            expected = [
                r for r in (expected if isinstance(expected, tuple) else (expected,)) if r is not None
            ]
            for a, b in zip(ours, expected, strict=True):
                assert same_bits(a, b), f"{call}, rule by {rule.target}:\n{m.source(made)}"


def test_equal_expressions_are_written_once():
    m = Program()
    x = m.argument("x", np.float32)
    source = m.source([m.exp(x) + m.exp(x)])
    assert source == "def program(x):\n    t0 = np.exp(x)\n    t1 = t0 + t0\n    return [t1]"


def test_a_rule_that_looks_at_elements_fails_on_expressions():
    m = Program()
    with pytest.raises(TypeError, match="must not branch"):
        bool(m.argument("x", np.float32) > 0)


# ---- another array module --------------------------------------------------------------------------------


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(backend, "MODULES", dict(backend.MODULES))
    monkeypatch.setattr(backend, "BY_TYPE", dict(backend.BY_TYPE))
    return backend.register_array_module(
        "strict",
        strict_module.Module(),
        strict_module.Array,
        from_numpy=strict_module.from_numpy,
        to_numpy=strict_module.to_numpy,
        shares_memory=lambda a, b: np.may_share_memory(a._inside, b._inside),
    )


def on(module, call):
    """The call's operands as arrays of another module."""
    return call._replace(arrays=[None if a is None else module.from_numpy(a) for a in call.arrays])


def outputs(result):
    return [t._array for t in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("row", ALL, ids=ids)
def test_every_row_runs_on_a_strict_array_module_with_the_same_bits(row, strict):
    for call in op_cases.fixed_calls(row, limit=100):
        there = on(strict, call)
        ours = outputs(apply(row, [None if a is None else wrap(a) for a in there.arrays], there.attrs))
        expected = outputs(apply(row, [None if a is None else wrap(a) for a in call.arrays], call.attrs))
        for a, b in zip(ours, expected, strict=True):
            assert type(a) is strict_module.Array and same_bits(a._inside, b), f"{call}"


@pytest.mark.parametrize("row", op_cases.differentiable(), ids=ids)
def test_every_rule_runs_on_a_strict_array_module_with_the_same_bits(row, strict):
    for call in op_cases.fixed_calls(row, limit=100):
        weight = op_cases.weights(call.forward(call.arrays).shape, np.random.default_rng(0))
        expected = op_cases.gradients(call, weight)
        tensors = [None if a is None else wrap(a) for a in on(strict, call).arrays]
        for i in call.wrt:
            tensors[i].requires_grad_()
        wanted = [tensors[i] for i in call.wrt]
        seed = wrap(strict.from_numpy(weight))
        found = autograd.grad(call.run(tensors), wanted, seed, materialize_grads=True, retain_graph=True)
        for i, g in zip(call.wrt, found, strict=True):
            assert type(g._array) is strict_module.Array and same_bits(
                g._array._inside, expected[i]._array
            ), f"{call}"
        twice = autograd.grad(call.run(tensors), wanted, seed, materialize_grads=True, create_graph=True)
        for i, g in zip(call.wrt, twice, strict=True):
            close = np.allclose(g._array._inside, expected[i]._array, rtol=1e-13, atol=1e-13, equal_nan=True)
            assert type(g._array) is strict_module.Array and close, f"{call}, differentiably"


def on_module(value, module):
    """A call's operands as tensors of an array module, in the call's nesting."""
    if isinstance(value, op_calls.Still):
        return on_module(value.spec, module)
    if isinstance(value, (floats, ints, bools)):
        return wrap(module.from_numpy(op_calls.array_of(value, np.random.default_rng(0))))
    if isinstance(value, (list, tuple)):
        return type(value)(on_module(v, module) for v in value)
    return getattr(minigrad, value) if value in ("float64", "float32") and isinstance(value, str) else value


def flat(result):
    return [t for r in result for t in flat(r)] if isinstance(result, (tuple, list)) else [result]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", dict.fromkeys(u.name for u in op_calls.USES))
def test_every_public_function_stays_on_a_strict_array_module(name, strict):
    function = (
        getattr(minigrad.nn.functional, name, None)
        or getattr(minigrad, name, None)
        or getattr(minigrad.Tensor, name)
    )
    for use in (u for u in op_calls.USES if u.name == name):
        results = []
        for module in (backend.CPU, strict):
            minigrad.manual_seed(0)
            args, kwargs = (
                on_module(list(use.args), module),
                {k: on_module(v, module) for k, v in use.kwargs.items()},
            )
            results.append(flat(function(*args, **kwargs)))
        for a, b in zip(*results, strict=True):
            if isinstance(a, minigrad.Tensor):
                assert type(b._array) is strict_module.Array, f"{use} came off the module"
                assert same_bits(a._array, b._array._inside), f"{use}"
            else:
                assert a == b, f"{use}"


def test_a_rule_that_sneaks_numpy_in_fails_on_a_strict_array_module(strict):
    try:

        @elementwise
        def sneaky(m, x):
            """x + x, by NumPy whatever the array."""
            return np.add(x, x)

        @sneaky.vjp
        def _(m, g):
            return g + np.ones(g.shape)

        x = wrap(strict.from_numpy(np.ones(3)))
        with pytest.raises(RuntimeError, match="does not support ufuncs"):
            apply(sneaky, (x,), {})
        sneaky.forward = lambda m, x: m.add(x, x)
        with pytest.raises(TypeError, match="mixed with strict arrays"):
            apply(sneaky, (x.requires_grad_(),), {}).sum().backward()
    finally:
        OPS.pop("sneaky", None)


def test_tensors_of_two_array_modules_do_not_mix(strict):
    x, y = minigrad.ones(3), wrap(strict.from_numpy(np.ones(3, np.float32)))
    with pytest.raises(RuntimeError, match="same device"):
        x + y
    assert y.device.type == "strict" and (y.cpu() + x).tolist() == [2.0, 2.0, 2.0]
    assert type((x.to("strict") + y)._array) is strict_module.Array


# ---- kernel sets -----------------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch):
    """A kernel set that claims silu for float32, and counts its calls; no other set is there."""
    monkeypatch.setattr(backend, "KERNEL_SETS", set())
    monkeypatch.delenv("MINIGRAD_KERNELS", raising=False)
    count = {"forward": 0, "vjp": 0}

    def forward(m, x):
        count["forward"] += 1
        return x / (1 + m.exp(-x))

    def vjp(m, g, x):
        count["vjp"] += 1
        s = 1 / (1 + m.exp(-x))
        return g * s * (1 + x * (1 - s))

    backend.register_kernel("fake", "silu", forward, vjp, dtypes=("float32",))
    yield count
    backend.unregister_kernels("fake")


def step(x):
    (g,) = autograd.grad(minigrad.silu(x).sum(), x)
    return g


@pytest.mark.parametrize("mode", ["auto", "fake", "require"])
def test_a_registered_kernel_runs_forward_and_backward(fake, mode):
    x = minigrad.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    with minigrad.kernels("off"):
        expected = step(x)
    assert fake == {"forward": 0, "vjp": 0}
    with minigrad.kernels(mode):
        assert np.allclose(step(x).numpy(), expected.numpy(), rtol=1e-6)
    assert fake == {"forward": 1, "vjp": 1}


@pytest.mark.parametrize("mode", ["auto", "fake"])
def test_where_a_kernel_set_lacks_the_op_or_the_dtype_the_reference_runs(fake, mode):
    with minigrad.kernels(mode):
        step(minigrad.tensor([1.0, 2.0], dtype=minigrad.float64, requires_grad=True))
        assert minigrad.exp(minigrad.zeros(2)).tolist() == [1.0, 1.0]
    assert fake == {"forward": 0, "vjp": 0}


def test_require_refuses_to_fall_back_for_an_op_that_a_set_claims(fake):
    with minigrad.kernels("require"):
        with pytest.raises(RuntimeError, match=r"silu: kernels are required.*float64.*fake/cpu/float32"):
            minigrad.silu(minigrad.zeros(2, dtype=minigrad.float64))
        minigrad.exp(minigrad.zeros(2))  # no set claims it


def test_a_kernel_without_a_rule_falls_back_to_the_rows_rule(fake):
    backend.register_kernel("fake", "exp", lambda m, x: m.exp(x) * 0 + 7)
    x = minigrad.ones(2).requires_grad_()
    y = minigrad.exp(x)
    assert y.tolist() == [7.0, 7.0]
    y.sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


def test_differentiating_a_gradient_uses_the_rule_and_not_the_kernel(fake):
    x = minigrad.tensor([0.3], requires_grad=True)
    (g,) = autograd.grad(minigrad.silu(x).sum(), x, create_graph=True)
    assert fake["vjp"] == 0
    (gg,) = autograd.grad(g.sum(), x)
    s = 1 / (1 + np.exp(-0.3))
    assert gg.item() == pytest.approx(s * (1 - s) * (2 + 0.3 * (1 - 2 * s)), rel=1e-5)


def test_kernels_are_chosen_by_block_and_by_thread_not_for_the_process(fake):
    import threading

    seen = []
    with minigrad.kernels("off"):
        worker = threading.Thread(target=lambda: seen.append(backend.current_kernels()))
        worker.start()
        worker.join()
        assert backend.current_kernels() == "off"
    assert seen == ["auto"] and backend.current_kernels() == "auto"


def test_kernel_names_are_checked(fake, monkeypatch):
    with pytest.raises(KeyError, match="no such row"):
        backend.register_kernel("fake", "no_such_op", lambda m, x: x)
    with pytest.raises(ValueError, match="is a mode"):
        backend.register_kernel("auto", "exp", lambda m, x: x)
    with pytest.raises(ValueError, match="neither auto, off, require"), minigrad.kernels("missing"):
        pass
    monkeypatch.setenv("MINIGRAD_KERNELS", "off")
    monkeypatch.setattr(backend, "_initial", backend._initial.__wrapped__)  # which is kept
    assert backend.current_kernels() == "off"
