"""Creation functions: values, dtype inference, every option, errors; argument by argument against torch where it is installed."""

import math

import numpy as np
import pytest

import minigrad
from minigrad import Tensor


def same(t, expected, dtype=None):
    expected = np.asarray(expected)
    assert tuple(t.shape) == expected.shape
    assert dtype is None or t.dtype is dtype
    np.testing.assert_array_equal(t.numpy(), expected)


# ---- sizes, dtypes, options ------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [("zeros", 0), ("ones", 1)])
def test_size_comes_as_numbers_or_as_a_sequence(name, value):
    f = getattr(minigrad, name)
    for t in (
        f(2, 3),
        f((2, 3)),
        f([2, 3]),
        f(size=(2, 3)),
        f(minigrad.Size([2, 3])),
        f(np.int64(2), minigrad.tensor(3)),
    ):
        same(t, np.full((2, 3), value), minigrad.float32)
    same(f(()), value)
    same(f(0, 4), np.zeros((0, 4)))


def test_dtype_follows_the_default_dtype_and_is_overridden():
    minigrad.set_default_dtype(minigrad.float64)
    try:
        assert minigrad.zeros(2).dtype is minigrad.float64
        assert minigrad.full((2,), 1.5).dtype is minigrad.float64
        assert minigrad.arange(0, 1, 0.5).dtype is minigrad.float64
    finally:
        minigrad.set_default_dtype(minigrad.float32)
    for given, made in (
        (minigrad.int16, "int16"),
        (int, "int64"),
        (float, "float64"),
        (bool, "bool"),
        (np.float16, "float16"),
    ):
        assert minigrad.ones(2, dtype=given).dtype.name == made


def test_full_takes_its_dtype_from_the_value():
    same(minigrad.full((2,), 3), [3, 3], minigrad.int64)
    same(minigrad.full((2,), 3.0), [3, 3], minigrad.float32)
    same(minigrad.full((2,), True), [True, True], minigrad.bool_)
    same(minigrad.full((), minigrad.tensor(7)), 7, minigrad.int64)
    same(minigrad.full([2], np.float32(0.5)), [0.5, 0.5], minigrad.float32)
    same(minigrad.full((2,), 3.7, dtype=minigrad.int64), [3, 3])
    same(minigrad.full((2,), -1, dtype=minigrad.uint8), [255, 255])
    same(minigrad.full((2,), 2, dtype=minigrad.bool_), [True, True])
    same(
        minigrad.full((1,), -0.0).signbit() if hasattr(Tensor, "signbit") else minigrad.tensor([True]), [True]
    )
    assert math.isnan(minigrad.full((), math.nan).item()) and minigrad.full((), math.inf).item() == math.inf


@pytest.mark.parametrize(
    "value, dtype",
    [
        (300, "uint8"),
        (2**31, "int32"),
        (1e40, "float32"),
        (math.nan, "int64"),
        (2**63, None),
        (70000, "float16"),
    ],
)
def test_full_refuses_a_value_that_the_dtype_does_not_hold(value, dtype):
    with pytest.raises(RuntimeError, match="without overflow, got"):
        minigrad.full((2,), value, dtype=dtype and getattr(minigrad, dtype))


def test_out_is_written_resized_and_returned():
    out = minigrad.ones(3)
    view, version = out.detach(), out._version
    assert minigrad.zeros(3, out=out) is out
    same(view, [0, 0, 0])
    assert out._version > version
    assert minigrad.ones(2, 2, out=out) is out
    same(out, np.ones((2, 2)))
    same(minigrad.arange(3, out=minigrad.empty(0, dtype=minigrad.int32)), [0, 1, 2], minigrad.int32)
    same(minigrad.full((2,), 3.5, out=minigrad.empty(2, dtype=minigrad.int64)), [3, 3], minigrad.int64)
    assert minigrad.zeros(2, out=minigrad.ones(2), requires_grad=True).requires_grad


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda o: minigrad.zeros(2, out=5), TypeError, "'out' must be Tensor, not int"),
        (
            lambda o: minigrad.zeros(2, out=o, dtype=int),
            RuntimeError,
            "dtype int64 does not match dtype of out parameter",
        ),
        (
            lambda o: minigrad.zeros(2, out=o.requires_grad_()),
            RuntimeError,
            "don't support automatic differentiation",
        ),
    ],
)
def test_out_is_refused_where_it_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call(minigrad.ones(2))


def test_requires_grad_makes_a_leaf_of_a_float_tensor_only():
    t = minigrad.ones(2, requires_grad=True)
    assert t.requires_grad and t.is_leaf
    with pytest.raises(RuntimeError, match="floating point"):
        minigrad.ones(2, dtype=minigrad.int64, requires_grad=True)


def test_layout_pin_memory_and_memory_format_are_taken_and_checked():
    t = minigrad.zeros(2, layout=minigrad.strided, pin_memory=False, device="cpu")
    assert t.layout is minigrad.strided and repr(t.layout) == "minigrad.strided"
    minigrad.zeros(2, device=minigrad.device("cpu"))
    minigrad.empty(2, memory_format=minigrad.contiguous_format)
    for call in (
        lambda: minigrad.zeros(2, layout="sparse"),
        lambda: minigrad.zeros(2, pin_memory=1),
        lambda: minigrad.zeros_like(t, memory_format="channels_last"),
    ):
        with pytest.raises(TypeError, match="must be"):
            call()
    with pytest.raises(RuntimeError, match="use empty_like"):
        minigrad.empty(2, memory_format=minigrad.preserve_format)
    with pytest.raises(RuntimeError, match="device 'nowhere' is not available"):
        minigrad.zeros(2, device="nowhere")


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: minigrad.zeros(), TypeError, r"zeros\(\) missing 1 required .*'size'"),
        (lambda: minigrad.zeros(2.0), TypeError, "'size' must be tuple of ints, not float"),
        (lambda: minigrad.zeros(True), TypeError, "'size' must be tuple of ints, not bool"),
        (lambda: minigrad.zeros((2,), 3), TypeError, "'size' must be tuple of ints, not tuple"),
        (lambda: minigrad.zeros(2, colour=3), TypeError, "unexpected keyword argument 'colour'"),
        (lambda: minigrad.zeros(2, -1), RuntimeError, r"negative dimension -1: \[2, -1\]"),
        (lambda: minigrad.zeros(2, dtype=5), TypeError, "'dtype' must be minigrad.dtype, not int 5"),
        (lambda: minigrad.zeros(2, dtype=np.complex64), TypeError, "complex numbers are not supported yet"),
        (lambda: minigrad.full((2,), 1j), TypeError, "complex numbers are not supported yet"),
        (lambda: minigrad.full(2, 3), TypeError, "'size' must be tuple of ints, not int"),
        (lambda: minigrad.full((2,), "a"), TypeError, "'fill_value' must be Number, not str"),
        (lambda: minigrad.full((2,), minigrad.ones(1)), TypeError, "'fill_value' must be Number, not Tensor"),
        (lambda: minigrad.full((2,), minigrad.ones((), requires_grad=True)), TypeError, "requires grad"),
        (lambda: minigrad.ones_like([1.0]), TypeError, "must be Tensor, not list"),
        (lambda: minigrad.eye(2.0), TypeError, "'n' must be int, not float"),
        (lambda: minigrad.eye(2, -1), RuntimeError, "m must be greater or equal to 0, got -1"),
        (lambda: minigrad.arange(), TypeError, "invalid combination of arguments"),
        (lambda: minigrad.arange(1, 2, 3, 4), TypeError, "invalid combination of arguments"),
        (lambda: minigrad.arange(5, steps=3), TypeError, "invalid combination of arguments"),
        (lambda: minigrad.arange("a"), TypeError, "'end' must be Number, not str"),
        (lambda: minigrad.arange(1, 5, 0), RuntimeError, "step must be nonzero"),
        (lambda: minigrad.arange(5, 1), RuntimeError, "inconsistent with step sign: 5 -> 1 by 1"),
        (lambda: minigrad.arange(0, math.inf), RuntimeError, "unsupported range: 0 -> inf"),
        (lambda: minigrad.arange(2, dtype=bool), NotImplementedError, "not implemented for bool"),
        (lambda: minigrad.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative, got -1"),
        (lambda: minigrad.linspace(0, 1, 2.5), TypeError, "'steps' must be int, not float"),
        (lambda: minigrad.linspace(minigrad.ones(1), 1, 3), RuntimeError, "start with 1 dimension"),
        (lambda: minigrad.linspace(0, 1, 3, dtype=bool), NotImplementedError, "not implemented for bool"),
        (lambda: minigrad.tril_indices(-1, 2), RuntimeError, "row must be greater or equal to 0, got -1"),
        (
            lambda: minigrad.tril_indices(2, 2, dtype=float),
            NotImplementedError,
            "not implemented for float64",
        ),
        (lambda: minigrad.scalar_tensor([3]), TypeError, "'s' must be Number, not list"),
        (lambda: minigrad.empty_strided((2,), (1, 2)), RuntimeError, "must match dimensionality of strides"),
        (lambda: minigrad.empty_strided((2,), (-1,)), RuntimeError, r"strides of 0 or more, got \[-1\]"),
        (lambda: minigrad.ones(2).new_full(2, 3), TypeError, "'size' must be tuple of ints, not int"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call()


# ---- sequences and patterns ------------------------------------------------------------------------------


def test_arange_counts_and_infers():
    same(minigrad.arange(4), [0, 1, 2, 3], minigrad.int64)
    same(minigrad.arange(1, 8, 3), [1, 4, 7], minigrad.int64)
    same(minigrad.arange(5, 1, -2), [5, 3], minigrad.int64)
    same(minigrad.arange(3.0), [0, 1, 2], minigrad.float32)
    same(minigrad.arange(start=1, end=4), [1, 2, 3], minigrad.int64)
    same(minigrad.arange(1, end=4, step=2), [1, 3], minigrad.int64)
    same(minigrad.arange(0, 1, 0.25), [0, 0.25, 0.5, 0.75], minigrad.float32)
    same(minigrad.arange(minigrad.tensor(3)), [0, 1, 2], minigrad.int64)
    same(minigrad.arange(3, dtype=minigrad.float16), [0, 1, 2], minigrad.float16)
    same(minigrad.arange(1.5, 4, dtype=minigrad.int64), [1, 2, 3])
    same(minigrad.arange(0), np.zeros(0), minigrad.int64)
    same(minigrad.arange(2**53, 2**53 + 3), [2**53, 2**53 + 1, 2**53 + 2])
    same(minigrad.arange(0, 10**18, 2**62), [0])
    assert minigrad.arange(300, dtype=minigrad.uint8)[-1].item() == 43
    assert minigrad.arange(0.0, 1.0, 0.1).shape == (10,)


def test_linspace_is_exact_at_both_ends():
    same(minigrad.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1], minigrad.float32)
    same(minigrad.linspace(-10, 9, 5, dtype=minigrad.int64), [-10, -5, 0, 4, 9])
    same(minigrad.linspace(3, 1, 3, dtype=minigrad.uint8), [3, 2, 1])
    same(minigrad.linspace(2, 9, 1), [2])
    same(minigrad.linspace(2, 9, 0), np.zeros(0))
    same(minigrad.linspace(minigrad.tensor(0.0, requires_grad=True), 1, steps=2), [0, 1])
    t = minigrad.linspace(0.1, 0.7, 31, dtype=minigrad.float64).numpy()
    assert t[0] == 0.1 and t[-1] == 0.7


def test_logspace_raises_a_base_to_linspace():
    same(minigrad.logspace(0, 3, 4), [1, 10, 100, 1000], minigrad.float32)
    same(minigrad.logspace(0, 3, 4, dtype=minigrad.int64), [1, 10, 100, 1000])
    same(minigrad.logspace(0, 3, 4, 2), [1, 2, 4, 8])
    same(minigrad.logspace(0, 2, 5, -2.0), [1, np.nan, -2, np.nan, 4])


def test_eye_and_the_indices_of_triangles():
    same(minigrad.eye(2, 3), np.eye(2, 3), minigrad.float32)
    same(minigrad.eye(0), np.zeros((0, 0)))
    same(minigrad.eye(3, 2, dtype=minigrad.bool_), np.eye(3, 2, dtype=bool))
    for rows, columns, offset in ((3, 3, 0), (3, 4, 1), (4, 3, -2), (3, 3, -7), (0, 3, 0), (3, 3, 9)):
        same(
            minigrad.tril_indices(rows, columns, offset),
            np.stack(np.tril_indices(rows, offset, columns)),
            minigrad.int64,
        )
        same(
            minigrad.triu_indices(rows, columns, offset=offset),
            np.stack(np.triu_indices(rows, offset, columns)),
        )
    assert minigrad.tril_indices(3, 3, dtype=minigrad.int32).dtype is minigrad.int32


def test_scalar_tensor_takes_the_default_dtype():
    same(minigrad.scalar_tensor(3), 3, minigrad.float32)
    same(minigrad.scalar_tensor(3, dtype=minigrad.int64), 3, minigrad.int64)


def test_empty_strided_steps_through_memory_as_told():
    t = minigrad.empty_strided((2, 3), (1, 2))
    assert t.stride() == (1, 2) and t.shape == (2, 3)
    t.fill_(4)
    same(t, np.full((2, 3), 4))
    assert minigrad.empty_strided((3,), (0,)).stride() == (0,)
    assert minigrad.empty_strided((0, 3), (3, 1)).shape == (0, 3)


# ---- like another tensor ---------------------------------------------------------------------------------


def test_like_forms_keep_shape_dtype_and_memory_order_but_no_history():
    x = minigrad.ones(2, 3, dtype=minigrad.float64, requires_grad=True).t()
    for t, value in (
        (minigrad.zeros_like(x), 0), (minigrad.ones_like(x), 1), (minigrad.full_like(x, 7), 7),
        (minigrad.empty_like(x).fill_(2), 2), (minigrad.rand_like(x).fill_(3), 3),
    ):  # fmt: skip
        same(t, np.full((3, 2), value), minigrad.float64)
        assert t.stride() == x.stride() == (1, 3) and not t.requires_grad
    assert minigrad.zeros_like(x, memory_format=minigrad.contiguous_format).stride() == (2, 1)
    assert minigrad.zeros_like(x, memory_format=minigrad.preserve_format, device="cpu").stride() == (1, 3)
    assert minigrad.ones_like(x, dtype=minigrad.int8).dtype is minigrad.int8
    assert minigrad.ones_like(x, requires_grad=True).requires_grad
    assert minigrad.empty_like(minigrad.ones(2)).shape == (2,)
    same(minigrad.full_like(minigrad.ones(2, dtype=minigrad.int64), 3.7), [3, 3], minigrad.int64)


def test_new_methods_keep_dtype_and_device():
    x = minigrad.ones(2, dtype=minigrad.int16)
    same(x.new_zeros(2, 3), np.zeros((2, 3)), minigrad.int16)
    same(x.new_ones((3,)), [1, 1, 1], minigrad.int16)
    same(x.new_full((2,), 3.7), [3, 3], minigrad.int16)
    assert x.new_empty(size=(4,)).shape == (4,)
    same(x.new_zeros(1, dtype=minigrad.float32, requires_grad=True).detach(), [0], minigrad.float32)
    assert not hasattr(minigrad, "new_zeros")


@pytest.mark.parametrize(
    "make",
    [
        lambda: minigrad.zeros(2), lambda: minigrad.full((2,), 3), lambda: minigrad.arange(3), lambda: minigrad.eye(2),
        lambda: minigrad.linspace(0, 1, 3), lambda: minigrad.tril_indices(2, 2), lambda: minigrad.ones_like(minigrad.eye(2).t()),
    ],
)  # fmt: skip
def test_a_capture_sees_what_is_made_and_makes_it_anew(make):
    with minigrad.autograd.capture() as tape:
        x = make()
    function, m, args, attrs, (result,) = tape.calls[-1]
    again = function(m, *args, **attrs)
    assert result is x._array and again is not result
    np.testing.assert_array_equal(again, result)


# ---- against torch ---------------------------------------------------------------------------------------

CALLS = [
    lambda t: t.zeros(2, 3), lambda t: t.zeros(()), lambda t: t.zeros([]), lambda t: t.zeros((2, 0)), lambda t: t.zeros(2, dtype=int),
    lambda t: t.zeros(2, dtype=float), lambda t: t.zeros(None), lambda t: t.zeros(2.0), lambda t: t.zeros(True), lambda t: t.zeros(-1),
    lambda t: t.zeros(2, out=t.ones(3)), lambda t: t.zeros(2, out=t.ones(2), dtype=t.int64), lambda t: t.zeros((2, 3.0)),
    lambda t: t.zeros(2, out=t.ones(2, requires_grad=True)), lambda t: t.zeros([2, True]), lambda t: t.zeros(2, requires_grad=True),
    lambda t: t.full((2,), 3), lambda t: t.full((2,), 2.5), lambda t: t.full((), False), lambda t: t.full((2,), t.tensor(3.0)),
    lambda t: t.full((2,), t.tensor([3.0])), lambda t: t.full((2,), 300, dtype=t.uint8), lambda t: t.full((2,), -255, dtype=t.uint8),
    lambda t: t.full((2,), -256, dtype=t.uint8), lambda t: t.full((2,), -129, dtype=t.int8), lambda t: t.full((2,), -1.5, dtype=t.int8),
    lambda t: t.full((2,), 1e40), lambda t: t.full((2,), float("inf"), dtype=t.float16), lambda t: t.full((2,), 65536.0, dtype=t.float16),
    lambda t: t.full((2,), float("inf"), dtype=t.int32), lambda t: t.full((2,), 0.5, dtype=t.bool), lambda t: t.full((2,), "a"),
    lambda t: t.full_like(t.ones(2, dtype=t.int64), 3.7), lambda t: t.full_like(t.ones(2), t.tensor(3)),
    lambda t: t.eye(3), lambda t: t.eye(2, 3), lambda t: t.eye(3, 2, dtype=t.int64), lambda t: t.eye(n=2, m=1), lambda t: t.eye(-1),
    lambda t: t.eye(2.0), lambda t: t.arange(5), lambda t: t.arange(5.0), lambda t: t.arange(1, 5, 2), lambda t: t.arange(5, 1, -1),
    lambda t: t.arange(0, 1, 0.1), lambda t: t.arange(-0.5, 3), lambda t: t.arange(0, -5, -2.0), lambda t: t.arange(True), lambda t: t.arange(5, 1),
    lambda t: t.arange(1, 5, 0), lambda t: t.arange(1, 5, 2, 7), lambda t: t.arange(0, float("nan")), lambda t: t.arange("a"), lambda t: t.arange([5]),
    lambda t: t.arange(1.5, 4, dtype=t.int64), lambda t: t.arange(1.5, 4.5, 1.5, dtype=t.int64), lambda t: t.arange(1.5, 4.5, 1.5, dtype=t.int32),
    lambda t: t.arange(300, dtype=t.uint8), lambda t: t.arange(0, 1, 0.1, dtype=t.float16), lambda t: t.arange(5, dtype=t.bool),
    lambda t: t.arange(5, requires_grad=True), lambda t: t.arange(5.0, requires_grad=True), lambda t: t.arange(t.tensor(2.5)),
    lambda t: t.arange(0, 7, out=t.empty(0)), lambda t: t.arange(3, 3), lambda t: t.arange(1, 2, 1e-1, dtype=t.float64),
    lambda t: t.linspace(0, 1, 5), lambda t: t.linspace(0, 1, 1), lambda t: t.linspace(0, 1, 0), lambda t: t.linspace(0, 1, -1),
    lambda t: t.linspace(0, 1), lambda t: t.linspace(0, 9, 5, dtype=t.int64), lambda t: t.linspace(-10, 9, 5, dtype=t.int64),
    lambda t: t.linspace(0, 10, 7, dtype=t.int32), lambda t: t.linspace(3, 1, 3, dtype=t.uint8), lambda t: t.linspace(0, 1, 2.5),
    lambda t: t.linspace(0, float("inf"), 3), lambda t: t.linspace(0, 1, t.tensor(3)), lambda t: t.linspace(0, 1, 11, dtype=t.float64),
    lambda t: t.linspace(t.tensor(0.0), t.tensor(2.0), 3), lambda t: t.linspace(t.tensor([0.0]), 1, 3), lambda t: t.linspace(0, 1, 3, dtype=t.bool),
    lambda t: t.logspace(0, 2, 3), lambda t: t.logspace(0, 3, 4, dtype=t.int64), lambda t: t.logspace(0, 2, 5, -2.0), lambda t: t.logspace(0, 2, 4, 2.0),
    lambda t: t.zeros_like([1]), lambda t: t.ones_like(t.ones(2, 3).t()), lambda t: t.zeros_like(t.ones(3).expand(2, 3)),
    lambda t: t.zeros_like(t.ones(2, 4)[:, ::2]), lambda t: t.zeros_like(t.ones(2, 3, 4).permute(2, 0, 1)), lambda t: t.zeros_like(t.ones(2), memory_format=5),
    lambda t: t.tril_indices(3, 4, 1), lambda t: t.triu_indices(3, 4, -1), lambda t: t.triu_indices(0, 3), lambda t: t.tril_indices(3),
    lambda t: t.tril_indices(3, 3, dtype=t.int32), lambda t: t.tril_indices(3, 3, dtype=t.float32), lambda t: t.scalar_tensor(3.5),
    lambda t: t.scalar_tensor(True), lambda t: t.scalar_tensor([3]), lambda t: t.ones(2).new_zeros(), lambda t: t.ones(2).new_zeros(3, 2),
    lambda t: t.ones(2, dtype=t.int64).new_full((2,), 3.5), lambda t: t.ones(2).new_full(2, 3), lambda t: t.ones(2).new_ones((2, 1), dtype=t.int32),
    lambda t: t.ones(2, 3, names=("a", "b")), lambda t: t.zeros(2, dtype=5), lambda t: t.zeros(2, t.int64),
]  # fmt: skip


@pytest.mark.parametrize("n", range(len(CALLS)))
def test_creation_agrees_with_torch(n):
    torch = pytest.importorskip("torch")
    compare(CALLS[n], torch)


def compare(call, torch):
    """The same values, dtype, strides and flags, or the same type of error."""
    try:
        expected = call(torch)
    except Exception as e:
        with pytest.raises(type(e)):
            call(minigrad)
        return
    got = call(minigrad)
    assert repr(got.dtype).split(".")[1] == repr(expected.dtype).split(".")[1]
    assert tuple(got.shape) == tuple(expected.shape)
    assert got.requires_grad == expected.requires_grad
    if expected.numel() > 1:
        assert got.stride() == expected.stride()
    a, b = got.detach().numpy(), expected.detach().numpy()
    ulp = 2 * np.finfo(b.dtype).eps if b.dtype.kind == "f" else 0  # torch works in the dtype, we in float64
    np.testing.assert_allclose(a, b, rtol=ulp, atol=ulp / 4)
