"""What every row computes: special values, float32 against float64, memory and layouts, refusals at declaration."""

from __future__ import annotations

import numpy as np
import op_cases
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ops_gradients import examples

import minigrad
from minigrad import backend
from minigrad.autograd import apply, wrap
from minigrad.op import OPS

ALL = op_cases.rows()
ELEMENTWISE = op_cases.rows(lambda row: row.elementwise)
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1.0,
    -1.0,
    0.5,
    -2.5,
    5e-324,
    -5e-324,
    1e-310,
    1e30,
    -1e30,
    88.8,
    -104.0,
]
NUMPYS = {  # where NumPy has the function under another name than the row's namespace does
    "relu": lambda x: np.maximum(x, 0),
    "where": np.where,
}


def ids(row):
    return row.name


def special_operands(row, dtype):
    """All tuples of special values, one array for each input."""
    n = len(row.inputs)
    values = SPECIAL if n < 3 else SPECIAL[:8]
    grid = np.meshgrid(*[np.array(values).astype(dtype)] * n, indexing="ij")
    return [
        g.reshape(-1).astype(bool) if name in row.constant else g.reshape(-1)
        for name, g in zip(row.inputs, grid, strict=True)
    ]


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.elementwise and not row.integer), ids=ids)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_special_values_give_what_numpy_gives(row, dtype):
    function = NUMPYS.get(row.name) or getattr(np, row.numpy[0], None)
    with np.errstate(all="ignore"):
        arrays = special_operands(row, dtype)
        ours = apply(row, [wrap(a) for a in arrays], dict(row.attrs))._array
        if isinstance(function, np.ufunc) or row.name in NUMPYS:
            expected = function(*arrays)
            assert ours.dtype == expected.dtype
            assert np.array_equal(ours, expected, equal_nan=True), row.name
            if ours.dtype.kind == "f":
                assert np.array_equal(np.signbit(ours)[ours == 0], np.signbit(expected)[expected == 0]), (
                    "signed zeros"
                )


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.elementwise and len(row.inputs) == 1), ids=ids)
def test_nan_in_is_nan_out_and_infinities_are_limits(row):
    if row.integer or not row.differentiable or row.name == "sign":
        return
    at = lambda v: apply(row, [wrap(np.array([v]))], dict(row.attrs))._array[0]  # noqa: E731
    assert np.isnan(at(np.nan)), f"{row.name}(nan)"
    for end in (np.inf, -np.inf):
        here, near = at(end), at(np.copysign(1e300, end))
        if np.isfinite(here):
            assert np.isclose(here, near, rtol=1e-6, atol=1e-100), (
                f"{row.name}({end}) = {here}, but {near} close to it"
            )


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.elementwise and len(row.inputs) == 1), ids=ids)
def test_unary_rows_are_within_four_units_in_the_last_place_of_float32(row):
    if row.integer or not row.differentiable:
        return
    for case in op_cases.cases_of(row)[:2]:
        low, high = row.domain
        x = np.random.default_rng(0).uniform(low, high, 20_000).astype(np.float32)
        attrs = {**row.attrs, **case.attrs}
        ours = apply(row, [wrap(x)], attrs)._array
        exact = apply(row, [wrap(x.astype(np.float64))], attrs)._array
        assert ours.dtype == np.float32
        units = np.abs(ours.astype(np.float64) - exact) / np.spacing(
            np.abs(exact).astype(np.float32).clip(1e-30)
        )
        worst = int(units.argmax())
        assert units[worst] <= row.ulp, (
            f"{row.name}({x[worst]!r}): {units[worst]:.1f} ulp, {ours[worst]!r} for {exact[worst]!r}"
        )


@pytest.mark.parametrize("row", ALL, ids=ids)
def test_layout_changes_nothing_and_operands_are_not_written_to(row):
    for call in op_cases.fixed_calls(row, seed=1):
        plain = apply(row, op_cases.leaves(call, ()), call.attrs)
        for layout in op_cases.LAYOUTS[1:]:
            arrays = [op_cases.laid_out(a, layout) for a in call.arrays]
            bits = [None if a is None else a.tobytes() for a in arrays]
            there = apply(row, [None if a is None else wrap(a) for a in arrays], call.attrs)
            for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (plain, there)], strict=True):
                assert a._array.dtype == b._array.dtype
                if a._array.dtype.kind == "f":
                    assert np.allclose(a._array, b._array, rtol=1e-14, atol=1e-15, equal_nan=True), (
                        f"{call} {layout}"
                    )
                else:
                    assert np.array_equal(a._array, b._array), f"{call} {layout}"
            assert bits == [None if a is None else a.tobytes() for a in arrays], f"{call} wrote to an operand"


@pytest.mark.parametrize("row", ALL, ids=ids)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_only_a_views_result_shares_memory_with_an_operand(row, dtype):
    """Else an in-place write to the result would change the operand behind autograd's back."""
    cases = [*op_cases.fixed_calls(row, limit=100)]
    if row.elementwise or len(row.inputs) == 1:
        cases += [
            c._replace(arrays=[None if a is None else np.resize(a, ()) for a in c.arrays]) for c in cases
        ]
    for call in cases:
        arrays = [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in call.arrays]
        tensors = [None if a is None else wrap(a) for a in arrays]
        try:
            result = apply(row, tensors, call.attrs)
        except (RuntimeError, IndexError, ValueError, TypeError):
            continue
        for out in result if isinstance(result, tuple) else (result,):
            for a, t in zip(arrays, tensors, strict=True):
                if a is not None and a.size and np.may_share_memory(out._array, a):
                    assert row.view and out._base is t, f"{call} of {dtype} shares memory unasked"


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.view), ids=ids)
def test_views_share_memory_and_a_version(row):
    for call in op_cases.fixed_calls(row):
        (x,) = op_cases.leaves(call, ())
        out = call.run([x])
        if out.numel() and np.may_share_memory(out._array, x._array):
            assert out._base is x and out._writes is x._writes


@pytest.mark.parametrize("row", ELEMENTWISE, ids=ids)
def test_elementwise_rows_broadcast_as_numpy_does(row):
    @examples(0.3)
    @given(op_cases.calls(row), st.just(0))
    def check(call, _):
        shape = np.broadcast_shapes(*[a.shape for a in call.arrays if a is not None])
        assert call.run(op_cases.leaves(call, ())).shape == shape

    check()


@pytest.mark.parametrize("row", op_cases.rows(lambda row: row.elementwise and len(row.inputs) > 1), ids=ids)
def test_shapes_that_do_not_broadcast_are_refused_by_name_sizes_and_dimension(row):
    kind = np.int64 if row.integer else np.float64
    names = [n for n in row.inputs if n not in row.constant][:2]
    given = {n: wrap(np.ones((2, 3) if n == names[0] else (2, 4), kind)) for n in names}
    other = {n: wrap(np.ones((), bool if n in row.constant else kind)) for n in row.inputs if n not in names}
    with pytest.raises(RuntimeError, match=rf"{row.name}: .*size of tensor.*must match.*dimension 1"):
        apply(row, [{**given, **other}[n] for n in row.inputs], dict(row.attrs))


def test_a_row_that_shares_memory_unasked_would_be_noticed(monkeypatch):
    monkeypatch.setattr(OPS["clone"], "forward", lambda m, x, *, order="K": x)
    with pytest.raises(AssertionError, match="shares memory unasked"):
        test_only_a_views_result_shares_memory_with_an_operand(OPS["clone"], "float32")


def test_nothing_of_the_tests_stays_registered():
    assert set(backend.MODULES) == {"cpu"}
    assert minigrad.tensor(1.0).device.type == "cpu"
