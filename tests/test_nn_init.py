"""Initialisers: their distributions, their generators, what they refuse."""

import math

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.nn import init

FILLS = [
    (lambda t, g=None: init.uniform_(t, -1.0, 3.0, generator=g), (1, 16 / 12)),  # mean, variance
    (lambda t, g=None: init.normal_(t, 2.0, 0.5, generator=g), (2, 0.25)),
    (lambda t, g=None: init.xavier_uniform_(t, gain=2.0, generator=g), (0, 4 * 2 / 300)),
    (lambda t, g=None: init.xavier_normal_(t, gain=2.0, generator=g), (0, 4 * 2 / 300)),
    (lambda t, g=None: init.kaiming_uniform_(t, generator=g), (0, 2 / 200)),
    (lambda t, g=None: init.kaiming_uniform_(t, a=1, mode="fan_out", generator=g), (0, 1 / 100)),
    (lambda t, g=None: init.kaiming_normal_(t, nonlinearity="relu", generator=g), (0, 2 / 200)),
    (lambda t, g=None: init.kaiming_normal_(t, mode="FAN_OUT", nonlinearity="tanh", generator=g), (0, 25 / 9 / 100)),
    (lambda t, g=None: init.trunc_normal_(t, std=10.0, a=-40.0, b=40.0, generator=g), (0, 99.9)),
    (lambda t, g=None: init.orthogonal_(t, gain=3.0, generator=g), (0, 9 / 200)),
    (lambda t, g=None: init.sparse_(t, 0.5, std=2.0, generator=g), (0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("fill", "moments"), FILLS)
def test_a_fill_has_its_mean_and_variance_and_returns_its_tensor(fill, moments):
    mean, variance = moments
    t = nn.Parameter(minigrad.empty(100, 200))
    assert fill(t) is t and t.requires_grad and t.is_leaf
    numbers = t.detach().numpy()
    assert numbers.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / numbers.size))
    assert numbers.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(("fill", "_"), FILLS)
def test_a_fill_draws_from_the_generator_given(fill, _):
    def drawn(seed):
        return fill(minigrad.empty(8, 9), minigrad.Generator().manual_seed(seed)).tolist()

    before = minigrad.get_rng_state()
    assert drawn(1) == drawn(1) != drawn(2)
    assert (minigrad.get_rng_state() == before).all()


def test_fans_of_convolutions_count_the_field():
    w = minigrad.empty(20, 10, 3, 5)
    assert init._calculate_fan_in_and_fan_out(w) == (150, 300)
    assert abs(init.kaiming_uniform_(w).numpy()).max() <= math.sqrt(6 / 150)
    assert abs(init.xavier_uniform_(w).numpy()).max() <= math.sqrt(6 / 450)
    assert init._calculate_correct_fan(w, "fan_out") == 300


@pytest.mark.parametrize("bounds", [(-2.0, 2.0), (0.0, 0.5), (1.0, 3.0), (-0.1, 6.0)])
def test_a_truncated_normal_follows_its_distribution_function(bounds):
    a, b = bounds
    numbers = np.sort(
        init.trunc_normal_(minigrad.empty(20000, dtype=minigrad.float64), 0.0, 1.0, a, b).numpy()
    )
    assert a <= numbers[0] and numbers[-1] <= b

    def below(x):
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    expected = [(below(x) - below(a)) / (below(b) - below(a)) for x in numbers]
    assert abs(np.arange(1, 20001) / 20000 - expected).max() < 1.63 / math.sqrt(
        20000
    )  # Kolmogorov–Smirnov, 1 %


def test_the_inverse_of_erf_is_exact_to_rounding():
    x = np.linspace(-4, 4, 801)
    y = minigrad.tensor([math.erf(v) for v in x], dtype=minigrad.float64)
    found = init._inverse_erf(y).numpy()
    middle = abs(x) < 3
    assert abs(found - x)[middle].max() < 1e-11
    assert max(abs(math.erf(v) - w) for v, w in zip(found, y.tolist(), strict=True)) < 3e-16


def test_a_truncated_normal_far_from_its_bounds_warns():
    with pytest.warns(UserWarning, match="more than 2 std"):
        t = init.trunc_normal_(minigrad.empty(10), 0.0, 1.0, 5.0, 6.0)
    assert ((t >= 5) & (t <= 6)).all()


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3), (1, 6)])
@pytest.mark.parametrize("dtype", [minigrad.float64, minigrad.float32, minigrad.float16])
def test_an_orthogonal_fill_has_orthonormal_rows_or_columns(shape, dtype):
    q = (
        init.orthogonal_(minigrad.empty(shape, dtype=dtype), gain=2.0).double().reshape(shape[0], -1).numpy()
        / 2
    )
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(
        product, np.eye(len(product)), atol={8: 1e-14, 4: 1e-6, 2: 5e-3}[dtype.itemsize]
    )
    assert init.orthogonal_(minigrad.empty(0, 3)).shape == (0, 3)


def test_a_sparse_fill_zeroes_the_same_share_of_each_column():
    t = init.sparse_(minigrad.empty(10, 50), 0.25)
    assert set((t == 0).sum(0).tolist()) == {3}
    assert len({tuple(c) for c in (t == 0).t().tolist()}) > 10


def test_constant_fills():
    t = minigrad.empty(2, 3)
    assert init.constant_(t, 4).tolist() == [[4] * 3] * 2
    assert init.ones_(t).tolist() == [[1] * 3] * 2 and init.zeros_(t).tolist() == [[0] * 3] * 2
    assert init.eye_(t).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_a_dirac_fill_passes_channels_through():
    assert init.dirac_(minigrad.empty(2, 3, 3)).tolist() == [
        [[0, 1, 0], [0] * 3, [0] * 3],
        [[0] * 3, [0, 1, 0], [0] * 3],
    ]
    t = init.dirac_(minigrad.empty(4, 2, 1, 3), groups=2)
    assert t[:, :, 0, 1].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]] and t.sum() == 4


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [("linear", None, 1), ("conv2d", None, 1), ("sigmoid", None, 1), ("tanh", None, 5 / 3), ("relu", None, math.sqrt(2)),
     ("leaky_relu", None, math.sqrt(2 / 1.0001)), ("leaky_relu", 1, 1), ("selu", None, 0.75)],
)  # fmt: skip
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("kaiming", [init.kaiming_uniform_, init.kaiming_normal_])
def test_filling_nothing_warns(kaiming):
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        kaiming(minigrad.empty(0, 3))


@pytest.mark.parametrize("old", ["uniform", "normal", "constant", "eye", "dirac", "orthogonal", "sparse", "xavier_uniform",
                                 "xavier_normal", "kaiming_uniform", "kaiming_normal"])  # fmt: skip
def test_older_names_warn_and_do_the_same(old):
    args = {"constant": (2,), "sparse": (0.5,)}.get(old, ())
    t = minigrad.empty(2, 2, 2) if old == "dirac" else minigrad.empty(2, 2)
    with pytest.warns(
        FutureWarning, match=rf"`nn\.init\.{old}` is now deprecated in favor of `nn\.init\.{old}_`"
    ):
        assert getattr(init, old)(t, *args) is t


def test_what_is_no_tensor_is_named():
    with pytest.raises(TypeError, match="normal_: expected a Tensor to fill, got list"):
        init.normal_([1.0])
    with pytest.raises(ValueError, match=r"Unsupported nonlinearity swish; expected one of linear, .*selu"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="fewer than 2 dimensions, got shape \\(3,\\)"):
        init.xavier_uniform_(minigrad.empty(3))


def test_a_fill_bumps_the_version_and_is_unseen_by_autograd():
    p = nn.Parameter(minigrad.ones(2, 2))
    y = (p * p).sum()
    for fill in (init.orthogonal_, init.eye_, init.trunc_normal_, init.normal_, init.ones_):
        before = p._version
        fill(p)
        assert p._version > before and p.grad_fn is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
