"""Every differentiable row against numerical derivatives: first and second order, forward mode, layouts, aliasing.

All from the OPS table: a new row is tested as soon as it exists, and a row that can't be drawn fails.
"""

from __future__ import annotations

import numpy as np
import op_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import Call, close

import minigrad
from minigrad import autograd
from minigrad.autograd import wrap
from minigrad.op import OPS, Case

DIFFERENTIABLE = op_cases.differentiable()
by_name = pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)


def examples(share: float) -> settings:
    """A share of the profile's number of examples."""
    return settings(max_examples=max(3, int(settings().max_examples * share)))


def check_first_order(call: Call, rng: np.random.Generator) -> None:
    along, out = op_cases.directions(call, rng), call.forward(call.arrays)
    weight = op_cases.weights(out.shape, rng)
    found = op_cases.gradients(call, weight)
    scale = op_cases.scale_of(call)
    for i in call.wrt:
        assert found[i].shape == call.arrays[i].shape, (
            f"{call}: gradient {i} has another shape than its operand"
        )
        if not call.exact:
            continue
        analytic = float((found[i]._array * along[i]).sum())
        numeric = op_cases.slope(call, {i: along[i]}, weight)
        if not close(analytic, numeric, scale, 1e-8):  # a steep place asks for a shorter step
            numeric = op_cases.slope(call, {i: along[i]}, weight, part=0.1)
        assert close(analytic, numeric, scale, 1e-8), (
            f"{call}: by operand {i}: {analytic!r}, numerically {numeric!r}"
        )
        if call.row.analytic:
            exact = op_cases.complex_slope(call, {i: along[i]}, weight)
            assert close(analytic, exact, scale, 1e-12), (
                f"{call}: by operand {i}: {analytic!r}, exactly {exact!r}"
            )


def check_second_order(call: Call, rng: np.random.Generator) -> None:
    """The derivative of <gradient, u> along v and along the incoming gradient, against differences of it."""
    if not np.isfinite(call.forward(call.arrays)).all():
        return
    along, out = op_cases.directions(call, rng), call.forward(call.arrays)
    weight, change = op_cases.weights(out.shape, rng), op_cases.weights(out.shape, rng)
    toward = op_cases.directions(call, rng)

    def projected(t: float, by_weight: float = 0.0) -> float:
        there = call._replace(arrays=op_cases.moved(call.arrays, along, t))
        found = op_cases.gradients(there, weight + by_weight * change)
        return sum(float((found[i]._array * toward[i]).sum()) for i in call.wrt)

    tensors, seed = op_cases.leaves(call, call.wrt), wrap(weight).requires_grad_()
    inputs = [tensors[i] for i in call.wrt]
    first = autograd.grad(call.run(tensors), inputs, seed, create_graph=True, materialize_grads=True)
    total = sum((g * wrap(toward[i])).sum() for g, i in zip(first, call.wrt, strict=True))
    if not total.requires_grad:
        found = [wrap(np.zeros_like(call.arrays[i])) for i in call.wrt] + [wrap(np.zeros_like(weight))]
    else:
        found = autograd.grad(total, [*inputs, seed], materialize_grads=True)
    analytic = sum(float((g._array * along[i]).sum()) for g, i in zip(found, call.wrt, strict=False))
    size = 1.0 + sum(float(np.abs(g._array).sum()) for g in first)
    numeric = op_cases.central(projected, call.step / 3)
    if not close(analytic, numeric, size, 1e-7):
        numeric = op_cases.central(projected, call.step / 30)
    assert close(analytic, numeric, size, 1e-7), f"{call}: second order {analytic!r}, numerically {numeric!r}"
    linear = op_cases.central(lambda t: projected(0.0, t), 0.1)
    by_seed = float((found[-1]._array * change).sum())
    assert close(by_seed, linear, size, 1e-9), (
        f"{call}: by the incoming gradient {by_seed!r}, numerically {linear!r}"
    )


def test_every_row_says_how_to_draw_its_operands():
    silent = [row.name for row in op_cases.rows() if not op_cases.cases_of(row)]
    assert not silent, f"rows without cases escape the derived tests: {silent}"


def test_every_attribute_of_a_row_takes_a_value_beside_its_default_in_some_case():
    idle = [
        f"{row.name}({name}=)"
        for row in op_cases.rows()
        for name, default in row.attrs.items()
        if not any(
            name in c.attrs and c.attrs[name] is not default and c.attrs[name] != default for c in row.cases
        )
    ]
    assert not idle, f"no case gives these attributes a value: {idle}"


def test_every_optional_operand_is_given_in_one_case_and_left_out_in_another():
    idle = []
    for row in op_cases.rows(lambda row: row.optional):
        for name in row.optional:
            at = row.inputs.index(name)
            seen = {at < len(c.operands) and c.operands[at] is not None for c in op_cases.cases_of(row)}
            idle += [f"{row.name}({name})"] * (seen != {True, False})
    assert not idle, f"always or never given: {idle}"


@by_name
def test_gradients_are_the_derivatives(row):
    @examples(0.5)
    @given(op_cases.calls(row), st.integers(0, 2**32 - 1))
    def check(call, seed):
        rng = np.random.default_rng(seed)
        bits = [None if a is None else a.tobytes() for a in call.arrays]
        check_first_order(call, rng)
        check_second_order(call, rng)
        assert bits == [None if a is None else a.tobytes() for a in call.arrays], (
            f"{call}: an operand was written to"
        )

    check()


@by_name
def test_every_case_has_right_gradients_of_first_and_second_order(row):
    for call in op_cases.fixed_calls(row, limit=100):
        rng = np.random.default_rng(2)
        check_first_order(call, rng)
        check_second_order(call, rng)


@by_name
def test_forward_mode_agrees_with_reverse_mode(row):
    for call in op_cases.fixed_calls(row, seed=3, limit=3):
        rng = np.random.default_rng(4)
        along, weight = op_cases.directions(call, rng), op_cases.weights(call.forward(call.arrays).shape, rng)
        if not call.wrt:
            continue

        def function(*given, call=call):
            tensors = op_cases.leaves(call, ())
            for i, x in zip(call.wrt, given, strict=True):
                tensors[i] = x
            return call.run(tensors)

        point = tuple(wrap(call.arrays[i]) for i in call.wrt)
        out, pushed = minigrad.autograd.functional.jvp(
            function, point, tuple(wrap(along[i]) for i in call.wrt)
        )
        pulled = op_cases.gradients(call, weight)
        forward = float((pushed._array * weight).sum())
        reverse = sum(float((pulled[i]._array * along[i]).sum()) for i in call.wrt)
        assert close(forward, reverse, op_cases.scale_of(call), 1e-10), (
            f"{call}: {forward!r} forward, {reverse!r} reverse"
        )
        assert np.array_equal(out._array, call.forward(call.arrays), equal_nan=True)


@by_name
def test_every_subset_of_inputs_requiring_gradients_gives_the_same_gradients(row):
    for call in op_cases.fixed_calls(row, seed=5):
        weight = op_cases.weights(call.forward(call.arrays).shape, np.random.default_rng(6))
        together = op_cases.gradients(call, weight)
        for some in op_cases.subsets(call.wrt):
            for i, g in op_cases.gradients(call, weight, some).items():
                assert np.array_equal(g._array, together[i]._array), f"{call}: operand {i} alone in {some}"


@by_name
def test_a_tensor_given_twice_gets_the_sum_of_both_gradients(row):
    for call in op_cases.fixed_calls(row, seed=7):
        for i in call.wrt:
            for j in call.wrt:
                if i >= j or call.arrays[i].shape != call.arrays[j].shape:
                    continue
                same = call._replace(
                    arrays=[call.arrays[i] if k == j else a for k, a in enumerate(call.arrays)]
                )
                try:
                    weight = op_cases.weights(same.forward(same.arrays).shape, np.random.default_rng(8))
                except (RuntimeError, ValueError, IndexError):
                    continue  # the operand isn't in the domain of the other
                apart = op_cases.gradients(same, weight)
                tensors = op_cases.leaves(same, [i])
                tensors[j] = tensors[i]
                (both,) = autograd.grad(same.run(tensors), [tensors[i]], wrap(weight), materialize_grads=True)
                expected = apart[i]._array + apart[j]._array
                assert np.allclose(both._array, expected, rtol=1e-13, atol=1e-13, equal_nan=True), (
                    f"{same}: {i} is {j}"
                )


@by_name
def test_where_operands_tie_the_gradients_still_add_up(row):
    for call in op_cases.tied(row):
        if not call.exact or not call.wrt or call.forward(call.arrays).size == 0:
            continue
        along = {i: np.ones_like(call.arrays[i]) for i in call.wrt}
        weight = op_cases.weights(call.forward(call.arrays).shape, np.random.default_rng(12))
        analytic = sum(float(g._array.sum()) for g in op_cases.gradients(call, weight).values())
        numeric = op_cases.slope(call, along, weight)
        assert close(analytic, numeric, op_cases.scale_of(call), 1e-8), (
            f"{call}: {analytic!r}, numerically {numeric!r}"
        )


@by_name
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradients_have_their_operands_dtype_and_are_near_those_of_float64(row, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = getattr(minigrad, dtype).numpy_dtype
    tolerance = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 2e-1}[dtype]
    for call in op_cases.fixed_calls(row, seed=9):
        arrays = [a.astype(kind) if a is not None and a.dtype.kind == "f" else a for a in call.arrays]
        wide = call._replace(
            arrays=[a.astype(np.float64) if a is not None and a.dtype == kind else a for a in arrays]
        )
        narrow = call._replace(arrays=arrays)
        weight = op_cases.weights(wide.forward(wide.arrays).shape, np.random.default_rng(10)).astype(kind)
        expected = op_cases.gradients(wide, weight.astype(np.float64))
        out = narrow.run(op_cases.leaves(narrow, ()))
        if out._array.dtype != kind:
            assert row.name == "to"
            continue
        for i, g in op_cases.gradients(narrow, weight).items():
            assert g._array.dtype == kind, f"{call}: gradient {i} is {g.dtype}"
            there, here = expected[i]._array, g._array.astype(np.float64)
            assert np.allclose(
                here, there, rtol=tolerance, atol=tolerance * (1 + np.abs(there).max(initial=0))
            ), f"{call}: {i}"


@by_name
def test_the_public_checker_agrees(row):
    from minigrad.autograd import gradcheck, gradgradcheck

    for call in op_cases.fixed_calls(row, seed=11, limit=2):
        tensors = op_cases.leaves(call, call.wrt)
        if call.wrt and call.exact:
            picked = [tensors[i] for i in call.wrt]

            def function(*given, call=call, tensors=tensors):
                full = list(tensors)
                for i, x in zip(call.wrt, given, strict=True):
                    full[i] = x
                return call.run(full)

            assert gradcheck(function, picked, rtol=1e-6, atol=1e-8)
            assert gradgradcheck(function, picked, rtol=1e-6, atol=1e-8)


def test_a_row_without_a_case_would_be_noticed(monkeypatch):
    monkeypatch.setattr(OPS["matmul"], "cases", ())
    with pytest.raises(AssertionError, match="matmul"):
        test_every_row_says_how_to_draw_its_operands()
    monkeypatch.setattr(OPS["matmul"], "cases", (Case(((3, 4), (4, 2)), {}),))
    test_every_row_says_how_to_draw_its_operands()
