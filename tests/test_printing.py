"""What repr shows: golden strings, and character by character what torch shows, where it is installed."""

import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad
from minigrad import printing, tensor

nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    "data, text",
    [
        ([[1.0, 2.0], [3.0, 4.0]], "tensor([[1., 2.],\n        [3., 4.]])"),
        (3.5, "tensor(3.5000)"),
        (7, "tensor(7)"),
        (True, "tensor(True)"),
        ([1, -20, 300], "tensor([  1, -20, 300])"),
        ([True, False], "tensor([ True, False])"),
        ([0.1, 0.25, -3.0], "tensor([ 0.1000,  0.2500, -3.0000])"),
        ([1.0, 1000.0, -0.0], "tensor([   1., 1000.,   -0.])"),
        ([1.0, 1001.0], "tensor([1.0000e+00, 1.0010e+03])"),
        ([0.5, 0.00005], "tensor([5.0000e-01, 5.0000e-05])"),
        ([1e9, 1e9], "tensor([1.0000e+09, 1.0000e+09])"),
        ([nan, inf, -inf], "tensor([nan, inf, -inf])"),
        ([nan, 1.0, -inf], "tensor([nan, 1., -inf])"),
        ([nan, 1.5, -inf], "tensor([   nan, 1.5000,   -inf])"),
        ([0.0, 0.0], "tensor([0., 0.])"),
        ([], "tensor([])"),
        ([[[1, 2]], [[3, 4]]], "tensor([[[1, 2]],\n\n        [[3, 4]]])"),
    ],
)
def test_numbers_share_one_format(data, text):
    assert repr(tensor(data)) == str(tensor(data)) == f"{tensor(data)!r}" == text


def test_dtype_is_shown_where_the_numbers_do_not_tell():
    assert repr(tensor([1.5], dtype=minigrad.float64)) == "tensor([1.5000], dtype=minigrad.float64)"
    assert repr(tensor([1], dtype=minigrad.int32)) == "tensor([1], dtype=minigrad.int32)"
    assert repr(tensor([1.5], dtype=minigrad.float16)) == "tensor([1.5000], dtype=minigrad.float16)"
    minigrad.set_default_dtype(minigrad.float64)
    try:
        assert repr(tensor([1.5])) == "tensor([1.5000])"
        assert repr(tensor([1.5], dtype=minigrad.float32)) == "tensor([1.5000], dtype=minigrad.float32)"
    finally:
        minigrad.set_default_dtype(minigrad.float32)


def test_bfloat16_is_shown_by_value():
    pytest.importorskip("ml_dtypes")
    assert (
        repr(tensor([1.5, 0.1], dtype=minigrad.bfloat16))
        == "tensor([1.5000, 0.1001], dtype=minigrad.bfloat16)"
    )


def test_an_empty_tensor_shows_its_size_and_dtype():
    assert repr(minigrad.zeros(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(minigrad.zeros(0, dtype=minigrad.int64)) == "tensor([], dtype=minigrad.int64)"
    assert repr(minigrad.zeros(2, 0, dtype=minigrad.bool_)) == "tensor([], size=(2, 0), dtype=minigrad.bool)"


def test_history_is_shown():
    x = minigrad.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x + x) == "tensor([2., 2.], grad_fn=<AddBackward0>)"
    assert repr((x * 3).sum()) == "tensor(6., grad_fn=<SumBackward0>)"
    assert repr(x.detach()) == "tensor([1., 1.])"


def test_a_suffix_that_does_not_fit_takes_a_line_of_its_own():
    x = minigrad.full((1, 11), 0.5, dtype=minigrad.float64, requires_grad=True)
    line = "tensor([[" + ", ".join(["0.5000"] * 9)
    assert repr(x) == line + ",\n         0.5000, 0.5000]], dtype=minigrad.float64, requires_grad=True)"
    y = minigrad.full((9,), 0.5, dtype=minigrad.float64)
    assert repr(y) == "tensor([" + ", ".join(["0.5000"] * 9) + "],\n       dtype=minigrad.float64)"


def test_long_tensors_show_their_ends():
    assert repr(minigrad.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert repr(minigrad.zeros(400, 3)) == (
        "tensor([[0., 0., 0.],\n        [0., 0., 0.],\n        [0., 0., 0.],\n        ...,\n"
        "        [0., 0., 0.],\n        [0., 0., 0.],\n        [0., 0., 0.]])"
    )
    assert "..." not in repr(minigrad.zeros(1000))


class Elsewhere(np.ndarray):
    """The arrays of another device."""


def test_another_device_is_shown():
    class M:
        asarray = staticmethod(lambda a: np.asarray(a).view(Elsewhere))
        may_share_memory = staticmethod(np.may_share_memory)
        concatenate = staticmethod(np.concatenate)

    minigrad.backend.register_array_module("elsewhere", M, Elsewhere)
    try:
        x = minigrad.tensor([1.0, 2.0], device="elsewhere")
        assert repr(x) == "tensor([1., 2.], device='elsewhere')"
    finally:
        del minigrad.backend.MODULES["elsewhere"], minigrad.backend.BY_TYPE[Elsewhere]


def test_a_subclass_shows_its_name():
    class Weights(minigrad.Tensor):
        pass

    x = Weights([[1.0, 2.0], [3.0, 4.0]])
    assert repr(x) == "Weights([[1., 2.],\n         [3., 4.]])"


def test_a_parameter_says_that_it_is_one():
    nn = pytest.importorskip("minigrad.nn")
    assert (
        repr(nn.Parameter(minigrad.ones(2))) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    )


# ---- options ---------------------------------------------------------------------------------------------


def test_options_change_what_is_shown_and_come_back():
    before = minigrad.get_printoptions()
    assert before == {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
    with minigrad.printoptions(precision=2, sci_mode=True):
        assert repr(tensor([1.0, 2.5])) == "tensor([1.00e+00, 2.50e+00])"
        with minigrad.printoptions(precision=1):
            assert repr(tensor([1.0])) == "tensor([1.0e+00])"
    with minigrad.printoptions(sci_mode=False):
        assert repr(tensor([1.0, 12345.5])) == "tensor([    1.0000, 12345.5000])"
    with minigrad.printoptions(edgeitems=1, threshold=3):
        assert repr(minigrad.arange(4)) == "tensor([0,  ..., 3])"
    with minigrad.printoptions(linewidth=20):
        assert repr(minigrad.arange(6)) == "tensor([0, 1, 2, 3,\n        4, 5])"
    with minigrad.printoptions(profile="short"):
        assert repr(tensor([0.5])) == "tensor([0.50])"
    with minigrad.printoptions(profile="full"):
        assert "..." not in repr(minigrad.zeros(1001))
    assert minigrad.get_printoptions() == before


def test_options_belong_to_their_context_and_leave_numpys_alone():
    numpys = np.get_printoptions()
    with minigrad.printoptions(precision=1), ThreadPoolExecutor(1) as pool:
        assert repr(tensor(0.5)) == "tensor(0.5)"
        assert pool.submit(lambda: repr(tensor(0.5))).result() == "tensor(0.5000)"
    assert np.get_printoptions() == numpys
    np.set_printoptions(precision=1)
    try:
        assert repr(tensor(0.125)) == "tensor(0.1250)"
    finally:
        np.set_printoptions(**numpys)


@pytest.mark.parametrize("bad", [{"profile": "loud"}, {"precision": -1}, {"linewidth": "wide"}])
def test_unknown_options_are_refused(bad):
    with pytest.raises(ValueError, match=f"set_printoptions: expected {next(iter(bad))} to be"):
        minigrad.set_printoptions(**bad)


# ---- against torch ---------------------------------------------------------------------------------------

KINDS = {
    "plain": lambda rng, x: x,
    "wide": lambda rng, x: x * 10.0 ** rng.integers(-8, 12, x.shape),
    "whole": lambda rng, x: np.round(x * 10.0 ** rng.integers(0, 6)),
    "gaps": lambda rng, x: np.where(rng.random(x.shape) < 0.3, rng.choice([nan, inf, -inf]), x),
    "whole gaps": lambda rng, x: np.where(rng.random(x.shape) < 0.3, -inf, np.round(x * 100)),
    "special": lambda rng, x: np.asarray(rng.choice([0, -0.0, nan, inf, -inf], x.shape)),
    "whole wide": lambda rng, x: np.round(x * 10.0 ** rng.integers(-8, 12, x.shape)),
    "quarters": lambda rng, x: np.round(x * 4) / 4,
}
OPTIONS = [
    {}, {"precision": 2}, {"sci_mode": True}, {"sci_mode": False}, {"edgeitems": 1, "threshold": 20}, {"linewidth": 40},
    {"profile": "short"}, {"profile": "full"}, {"precision": 8, "linewidth": 120}, {"precision": 0}, {"edgeitems": 0, "threshold": 9},
]  # fmt: skip
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "int8", "bool")


def arrays(rng, kind):
    for dtype in DTYPES:
        for _ in range(2):
            ndim = int(rng.integers(0, 5))
            shape = (
                tuple(rng.integers(0, 7, ndim))
                if rng.random() < 0.8
                else tuple(rng.integers(1, 1200 // 6**ndim + 5, ndim))
            )
            with np.errstate(all="ignore"):
                x = KINDS[kind](rng, rng.standard_normal(shape))
                yield (np.nan_to_num(x) if not dtype.startswith("f") else x).astype(dtype)


def one_line_suffixes(text):
    """Our dtypes' names are longer than torch's, so that theirs may fit on a line where ours don't."""
    return re.sub(r",\n +(dtype=|requires_grad|size=)", r", \1", text.replace("torch.", "minigrad."))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tensors_are_shown_as_torch_shows_them(kind, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(kind) + 31 * OPTIONS.index(options))
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    try:
        with printing.printoptions(**options):
            for x in arrays(rng, kind):
                ours, theirs = tensor(x), torch.tensor(x)
                if x.dtype.kind == "f" and rng.random() < 0.3:
                    ours.requires_grad = theirs.requires_grad = True
                assert one_line_suffixes(repr(ours)) == one_line_suffixes(repr(theirs))
    finally:
        torch.set_printoptions(profile="default")


def test_results_are_shown_as_torch_shows_them():
    torch = pytest.importorskip("torch")
    data = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)
    for f in (
        lambda x: x + 1,
        lambda x: x * x,
        lambda x: x.sum(),
        lambda x: (x @ x.t()).exp(),
        lambda x: x.relu(),
        lambda x: x.mean(0),
    ):
        ours, theirs = (repr(f(t(data).requires_grad_())) for t in (tensor, torch.tensor))
        assert ours == re.sub(r"\d>", "0>", theirs)  # torch counts the forms that a function has
