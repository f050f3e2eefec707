"""Dtypes, promotion and the default dtype."""

import copy
import itertools

import numpy as np
import pytest

import minigrad
from minigrad import dtypes

ALL = [d for d in dtypes.DTYPES if d is not minigrad.bfloat16]


def test_promotion_is_commutative_associative_and_idempotent():
    for a, b in itertools.product(ALL, ALL):
        assert minigrad.promote_types(a, b) is minigrad.promote_types(b, a)
        assert minigrad.promote_types(a, a) is a
    for a, b, c in itertools.product(ALL, ALL, ALL):
        left = minigrad.promote_types(minigrad.promote_types(a, b), c)
        assert left is minigrad.promote_types(a, minigrad.promote_types(b, c))


def test_promotion_is_pytorchs():
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(dtypes.DTYPES, dtypes.DTYPES):
        theirs = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
        assert minigrad.promote_types(a, b).name == str(theirs).removeprefix("torch.")


@pytest.mark.parametrize(("tensor", "number", "expected"), [
    (minigrad.int32, 2, minigrad.int32), (minigrad.int32, 2.0, minigrad.float32), (minigrad.float16, 2.0, minigrad.float16),
    (minigrad.bool, True, minigrad.bool), (minigrad.bool, 1, minigrad.int64), (minigrad.float64, 1, minigrad.float64),
])  # fmt: skip
def test_numbers_promote_only_across_categories(tensor, number, expected):
    assert (minigrad.ones(2, dtype=tensor) * number).dtype is expected


def test_a_0d_tensor_does_not_promote_within_its_category():
    assert (minigrad.ones(2) + minigrad.tensor(1.0, dtype=minigrad.float64)).dtype is minigrad.float32
    assert (
        minigrad.ones(2, dtype=minigrad.int64) + minigrad.tensor(1.0, dtype=minigrad.float64)
    ).dtype is minigrad.float64
    assert (minigrad.tensor(1.0) + minigrad.tensor(1.0, dtype=minigrad.float64)).dtype is minigrad.float64


def test_the_default_dtype_is_the_contexts_own():
    import threading

    seen = []
    minigrad.set_default_dtype(minigrad.float64)
    try:
        assert minigrad.tensor(1.0).dtype is minigrad.float64
        thread = threading.Thread(target=lambda: seen.append(minigrad.tensor(1.0).dtype))
        thread.start(), thread.join()
        assert seen == [minigrad.float32]
    finally:
        minigrad.set_default_dtype(minigrad.float32)
    with pytest.raises(TypeError, match="only floating-point types are supported"):
        minigrad.set_default_dtype(minigrad.int32)


@pytest.mark.parametrize("make", [
    lambda: minigrad.tensor(1j), lambda: minigrad.tensor([1 + 2j]), lambda: minigrad.ones(2) * 1j,
    lambda: minigrad.from_numpy(np.ones(2, np.complex64)), lambda: minigrad.zeros(2, dtype=np.complex128),
])  # fmt: skip
def test_complex_is_refused_with_one_sentence(make):
    with pytest.raises(
        TypeError, match="complex numbers are not supported yet; keep the real and the imaginary part"
    ):
        make()


def test_other_dtypes_are_refused_by_name():
    with pytest.raises(TypeError, match="can't hold elements of type uint16; supported are float64"):
        minigrad.from_numpy(np.ones(2, np.uint16))


def test_bfloat16_computes_in_its_own_width():
    pytest.importorskip("ml_dtypes")
    x = minigrad.tensor([1.0, 1 / 3], dtype=minigrad.bfloat16)
    assert (x + x).dtype is minigrad.bfloat16 and (x * 2).tolist() == [2.0, 0.66796875]
    assert x.float().tolist() == [1.0, 0.333984375]
    y = minigrad.ones(4096, dtype=minigrad.bfloat16).sum()
    assert y.item() == 4096 and y.dtype is minigrad.bfloat16  # halves accumulate in float32


def test_without_ml_dtypes_bfloat16_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"pip install 'minigrad-xp\[bf16\]'"):
        dtypes.dtype("bfloat16", 2, 2).numpy_dtype  # noqa: B018


def test_limits():
    assert minigrad.finfo(minigrad.float32).eps == np.finfo(np.float32).eps and minigrad.finfo().bits == 32
    assert minigrad.iinfo(minigrad.int8).max == 127 and minigrad.iinfo(minigrad.uint8).min == 0
    with pytest.raises(TypeError, match="use iinfo"):
        minigrad.finfo(minigrad.int8)
    with pytest.raises(TypeError, match="expected an integer dtype"):
        minigrad.iinfo(minigrad.float32)


@pytest.mark.parametrize("kind", [minigrad.float64, minigrad.float32, minigrad.float16, minigrad.bfloat16])
@pytest.mark.parametrize("n", [1, 17, 63])  # on ARM NumPy's own casts differ by the place in the array
def test_floats_wrap_in_uint8_on_every_machine(kind, n):
    compiled = minigrad.compile(lambda x: x.to(minigrad.uint8))
    for value, expected in [(-1.0, 255), (-1.75, 255), (300.0, 44), (-200.0, 56), (9984.0, 0)]:
        x, assigned = minigrad.full((n,), value, dtype=kind), minigrad.zeros(n, dtype=minigrad.uint8)
        assigned[:] = x
        made = minigrad.tensor(x.numpy(), dtype=minigrad.uint8)
        for found in (x.to(minigrad.uint8), assigned, made, compiled(x), compiled(x)):
            assert found.dtype is minigrad.uint8 and found.tolist() == n * [expected]
    assert minigrad.linspace(-n, -1, n, dtype=minigrad.uint8).tolist() == [256 - n + i for i in range(n)][-n:]


def test_what_no_int32_holds_wraps_in_uint8_as_what_an_int64_holds():
    x = minigrad.tensor([3e9 + 1, 2.0**31 + 5, -3e9 - 1], dtype=minigrad.float64)
    assert x.to(minigrad.uint8).tolist() == [1, 5, 255]


def test_a_copied_dtype_is_the_same_object():
    assert copy.deepcopy(minigrad.float32) is minigrad.float32 and repr(minigrad.int8) == "minigrad.int8"


def test_sums_of_long_columns_are_as_exact_as_pytorchs():
    rng = np.random.default_rng(0)
    x = rng.random((100_000, 2), np.float32)
    exact = x.astype(np.float64).sum(0)
    assert np.abs(minigrad.from_numpy(x).sum(0).numpy() / exact - 1).max() < 2e-7
    assert np.abs(minigrad.from_numpy(x).mean(0).numpy() / (exact / len(x)) - 1).max() < 2e-7


def test_scans_of_float32_do_not_drift():
    x = np.random.default_rng(0).random(1_000_000, np.float32)
    sums = minigrad.from_numpy(x).cumsum(0).numpy()
    exact = np.cumsum(x, dtype=np.float64)
    assert (np.abs(sums - exact) <= np.spacing(exact.astype(np.float32)) / 2).all(), "rounded once"
    near_one = 1 + (x[:1000] - 0.5) / 100
    products = minigrad.from_numpy(near_one).cumprod(0).numpy()
    assert np.abs(products / np.cumprod(near_one, dtype=np.float64) - 1).max() <= 2.0**-24
