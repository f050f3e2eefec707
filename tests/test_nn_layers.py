"""Layers and the functions they call, where torch's numbers can't be compared: random ones, defaults, the namespace."""

import math

import numpy as np
import pytest

import minigrad
import minigrad.nn.functional as F
from minigrad import nn
from minigrad.functions import FUNCTIONS


def many(kind, n=400):
    """Parameters of n layers, so that their distribution can be measured."""
    return [
        np.concatenate([p.detach().numpy().reshape(-1) for p in ps])
        for ps in zip(*[kind().parameters() for _ in range(n)], strict=True)
    ]


def test_linear_takes_one_row_of_weights_and_then_has_no_dimension_of_outputs():
    x, w, b = minigrad.arange(6.0).view(2, 3), minigrad.tensor([1.0, 2.0, -1.0]), minigrad.tensor(10.0)
    assert F.linear(x, w).tolist() == [0.0, 6.0]
    assert F.linear(x, w, b).tolist() == [10.0, 16.0]


# ---- how layers begin ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        (lambda: nn.Linear(16, 5), 1 / 4),
        (lambda: nn.Bilinear(9, 4, 2), 1 / 3),
    ],
)
def test_weight_and_bias_begin_uniform_within_torchs_bound(kind, bound):
    for p in many(kind):
        assert abs(p).max() <= bound
        assert abs(p).max() > 0.98 * bound
        assert abs(p.mean()) < 4 * bound / math.sqrt(3 * p.size)
        assert p.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_an_embedding_begins_normal_with_its_padding_zero():
    e = nn.Embedding(200, 100, padding_idx=3)
    numbers = np.delete(e.weight.detach().numpy(), 3, 0)
    assert e.weight[3].tolist() == [0] * 100
    assert abs(numbers.mean()) < 0.03 and numbers.std() == pytest.approx(1, rel=0.03)


def test_layers_begin_the_same_from_the_same_seed_and_differ_otherwise():
    def draw(seed):
        minigrad.manual_seed(seed)
        return nn.Linear(3, 2).weight.tolist()

    assert draw(1) == draw(1) != draw(2)


def test_normalisations_begin_as_identity_up_to_statistics():
    for layer in (nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.BatchNorm1d(3)):
        assert layer.weight.tolist() == [1, 1, 1] and layer.bias.tolist() == [0, 0, 0]
    assert nn.RMSNorm(3).weight.tolist() == [1, 1, 1]
    assert nn.PReLU(2).weight.tolist() == [0.25, 0.25]


def test_a_layer_without_inputs_warns_as_torchs_does_and_gives_the_bias():
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 2)
    assert layer(minigrad.ones(3, 0)).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("dtype", [minigrad.float64, minigrad.float16])
@pytest.mark.parametrize(
    "kind",
    [
        lambda **k: nn.Linear(2, 3, **k),
        lambda **k: nn.Bilinear(2, 3, 1, **k),
        lambda **k: nn.Embedding(2, 3, **k),
        lambda **k: nn.EmbeddingBag(2, 3, **k),
        lambda **k: nn.LayerNorm(3, **k),
        lambda **k: nn.RMSNorm(3, **k),
        lambda **k: nn.GroupNorm(1, 3, **k),
        lambda **k: nn.BatchNorm1d(3, **k),
        lambda **k: nn.PReLU(**k),
    ],
)
def test_layers_are_made_in_the_dtype_asked_for(kind, dtype):
    layer = kind(dtype=dtype, device="cpu")
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert {b.dtype for b in layer.buffers()} <= {dtype, minigrad.int64}


def test_the_default_dtype_is_the_layers():
    minigrad.set_default_dtype(minigrad.float64)
    try:
        assert nn.Linear(1, 1).weight.dtype is minigrad.float64
    finally:
        minigrad.set_default_dtype(minigrad.float32)


# ---- random layers ---------------------------------------------------------------------------------------


def test_dropout_drops_the_share_p_and_keeps_the_mean():
    x = minigrad.ones(200, 200)
    y = nn.Dropout(0.3)(x).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.02) and y.mean() == pytest.approx(1, abs=0.02)


def test_dropout_hands_on_its_input_when_it_has_nothing_to_drop():
    x = minigrad.ones(3)
    assert nn.Dropout(0.5).eval()(x) is x and nn.Dropout(0.0)(x) is x
    assert nn.AlphaDropout(0.0)(x) is x and F.dropout1d(minigrad.ones(1, 1, 1), 0.0).tolist() == [[[1]]]


def test_dropouts_gradient_is_its_mask():
    x = minigrad.ones(50, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())


def test_dropout_in_place_writes_its_input_and_refuses_a_leaf():
    x = minigrad.ones(100)
    assert nn.Dropout(0.5, inplace=True)(x) is x and x.tolist().count(0) > 20
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        F.dropout(minigrad.ones(3, requires_grad=True), 0.5, inplace=True)


@pytest.mark.parametrize(
    ("drop", "shape"),
    [
        (nn.Dropout1d(0.5), (40, 30, 4)),
        (nn.Dropout2d(0.5), (40, 30, 2, 2)),
        (nn.Dropout3d(0.5), (40, 30, 2, 1, 2)),
        (nn.Dropout3d(0.5), (1200, 2, 1, 2)),
        (nn.Dropout1d(0.5), (1200, 4)),
        (nn.FeatureAlphaDropout(0.5), (40, 30, 4)),
    ],
)
def test_channel_dropout_drops_whole_channels(drop, shape):
    y = drop(minigrad.ones(shape)).numpy().reshape(1200, 4)
    assert (y == y[:, :1]).all()
    low, high = np.unique(y)
    assert (y == low).mean() == pytest.approx(0.5, abs=0.06) and high > 1


def test_dropout2d_warns_of_inputs_of_other_ranks():
    with pytest.warns(UserWarning, match="dropout2d: Received a 3D input"):
        F.dropout2d(minigrad.ones(2, 3, 4))
    with pytest.warns(UserWarning, match="dropout3d: Received a 2D input"):
        F.dropout3d(minigrad.ones(2, 3))
    for f in (F.dropout2d, F.dropout3d, F.feature_alpha_dropout):
        with pytest.raises(RuntimeError, match="at least 2 dimensions"):
            f(minigrad.ones(3))


def test_alpha_dropout_keeps_mean_and_variance():
    x = minigrad.randn(300, 300)
    y = nn.AlphaDropout(0.2)(x).numpy()
    assert y.mean() == pytest.approx(0, abs=0.02) and y.std() == pytest.approx(1, abs=0.02)


def test_rrelu_draws_slopes_within_its_bounds_while_training():
    x = -minigrad.ones(2000)
    y = nn.RReLU(0.1, 0.3)(x).numpy()
    assert -0.3 <= y.min() < -0.29 and -0.11 < y.max() <= -0.1 and y.mean() == pytest.approx(-0.2, abs=0.01)
    assert nn.RReLU(0.1, 0.3).eval()(x)[0].item() == pytest.approx(-0.2)


def test_gumbel_softmax_samples_classes_by_their_probability():
    logits = minigrad.tensor([[0.5, 0.3, 0.2]]).log().expand(4000, 3)
    y = F.gumbel_softmax(logits, hard=True)
    assert set(np.unique(y.numpy())) == {0.0, 1.0} and (y.sum(1) == 1).all()
    assert y.mean(0).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    soft = F.gumbel_softmax(logits, tau=0.5, dim=0)
    assert soft.sum(0).tolist() == pytest.approx([1, 1, 1], rel=1e-4)


def test_a_hard_gumbel_softmax_has_the_soft_ones_gradient():
    x = minigrad.zeros(5, requires_grad=True)
    (F.gumbel_softmax(x, hard=True) * minigrad.arange(5)).sum().backward()
    assert x.grad.abs().sum() > 0 and x.grad.sum().item() == pytest.approx(0, abs=1e-6)


# ---- tables ----------------------------------------------------------------------------------------------


def test_a_pretrained_table_is_shared_and_frozen_unless_told_not_to():
    table = minigrad.arange(6.0).reshape(3, 2)
    for kind in (nn.Embedding, nn.EmbeddingBag):
        e = kind.from_pretrained(table)
        assert not e.weight.requires_grad and e.weight.data_ptr() == table.data_ptr()
        assert kind.from_pretrained(table, freeze=False, padding_idx=-1).weight.requires_grad
        assert kind.from_pretrained(table, padding_idx=-1).padding_idx == 2
    assert nn.Embedding.from_pretrained(table)(minigrad.tensor([2, 0])).tolist() == [[4, 5], [0, 1]]
    assert nn.EmbeddingBag.from_pretrained(table, mode="sum")(minigrad.tensor([[2, 0]])).tolist() == [[4, 6]]


def test_the_repr_of_a_table_says_what_is_not_the_default():
    e = nn.Embedding(3, 2, 1, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, sparse=True)
    assert (
        repr(e)
        == "Embedding(3, 2, padding_idx=1, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, sparse=True)"
    )
    b = nn.EmbeddingBag(3, 2, 1.0, 1.0, True, "sum", padding_idx=0)
    assert (
        repr(b)
        == "EmbeddingBag(3, 2, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, mode='sum', padding_idx=0)"
    )


def test_sparse_gradients_are_refused():
    with pytest.raises(RuntimeError, match="sparse gradients are not supported; leave sparse=False"):
        nn.Embedding(3, 2, sparse=True)(minigrad.tensor([0]))


def test_bags_may_be_empty_or_all_padding():
    e = nn.EmbeddingBag(3, 2, mode="max", padding_idx=0)
    assert e(minigrad.tensor([[0, 0]])).tolist() == [[0, 0]]
    assert e(minigrad.zeros(0, dtype=minigrad.int64), minigrad.tensor([0, 0])).tolist() == [[0, 0], [0, 0]]
    assert e(minigrad.zeros(0, 4, dtype=minigrad.int64)).shape == (0, 2)


# ---- normalisation over time -----------------------------------------------------------------------------


def test_batch_norm_counts_batches_and_forgets_them_on_request():
    m = nn.BatchNorm1d(2, momentum=None)
    for k in range(3):
        m(minigrad.tensor([[0.0, 0.0], [2.0, 4.0]]) + k)
    assert m.num_batches_tracked.item() == 3 and m.num_batches_tracked.dtype is minigrad.int64
    assert m.running_mean.tolist() == pytest.approx([2, 3])  # the average of 1, 2, 3 and of 2, 3, 4
    m.eval()(minigrad.ones(1, 2))
    assert m.num_batches_tracked.item() == 3
    m.reset_running_stats()
    assert (
        m.num_batches_tracked.item() == 0
        and m.running_mean.tolist() == [0, 0]
        and m.running_var.tolist() == [1, 1]
    )
    nn.BatchNorm1d(2, track_running_stats=False).reset_running_stats()


def test_running_statistics_are_not_part_of_the_graph():
    m = nn.BatchNorm1d(1)
    m(minigrad.tensor([[1.0], [2.0]], requires_grad=True))
    assert m.running_mean.grad_fn is None and m.running_mean.is_leaf


def test_hardtanhs_older_names_are_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="`min_value` is deprecated"):
        assert repr(nn.Hardtanh(min_value=-3.0)) == "Hardtanh(min_val=-3.0, max_val=1.0)"


def test_losses_older_flags_are_taken_with_a_warning():
    with pytest.warns(UserWarning, match="use reduction instead"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="use reduction instead"):
        assert nn.CrossEntropyLoss(reduce=False).reduction == "none"


# ---- the namespace ---------------------------------------------------------------------------------------


def test_functional_shows_every_public_function_itself():
    from minigrad.nn import functional

    assert functional is F is minigrad.nn.functional
    assert all(getattr(F, name) is f for name, f in FUNCTIONS.items())
    assert set(dir(F)) == set(FUNCTIONS)


def test_names_that_are_no_functions_are_missing_by_name():
    for name in ("nothing", "nothing_", "__wrapped__"):
        with pytest.raises(
            AttributeError, match=f"module 'minigrad.nn.functional' has no attribute '{name}'"
        ):
            getattr(F, name)


@pytest.mark.parametrize("path", ["minigrad.nn.modules", "minigrad.nn.utils.rnn", "minigrad.nn.utils.clip_grad",
                                  "minigrad.nn.utils.stateless", "minigrad.nn.utils.convert_parameters", "minigrad.nn.parameter",
                                  "minigrad.nn.init", "minigrad.nn.functional", "minigrad.nn.utils", "minigrad.nn"])  # fmt: skip
def test_torchs_paths_lead_to_names_that_exist(path):
    import importlib

    room = importlib.import_module(path)
    assert all(hasattr(room, name) for name in getattr(room, "__all__", ()))


def test_torchs_modules_path_reaches_base_classes():
    assert isinstance(nn.BatchNorm2d(1), nn.modules.batchnorm._BatchNorm)
    assert nn.modules.Module is nn.modules.module.Module is nn.Module
    assert nn.modules.loss._Loss in nn.MSELoss.__mro__ and nn.modules.container.Sequential is nn.Sequential
    assert nn.utils.clip_grad_norm_ is minigrad.optim.clipping.clip_grad_norm_


def test_wrong_arguments_are_named():
    with pytest.raises(
        TypeError, match=r"linear\(\): argument 'input' \(position 1\) must be Tensor, not str"
    ):
        nn.Linear(1, 1)("text")
    with pytest.raises(
        TypeError, match=r"cross_entropy\(\): argument 'target' \(position 2\) must be Tensor, not list"
    ):
        nn.CrossEntropyLoss()(minigrad.ones(1, 2), [0])


def test_sequences_that_do_not_fit_one_batch_are_refused():
    pad = nn.utils.rnn.pad_sequence
    with pytest.raises(RuntimeError, match="empty list"):
        pad([])
    with pytest.raises(RuntimeError, match="agree in all sizes but the first"):
        pad([minigrad.ones(1, 2), minigrad.ones(1, 3)])
    with pytest.raises(RuntimeError, match="padding_side should be one of right, left, got 'up'"):
        pad([minigrad.ones(1)], padding_side="up")


def test_every_layer_tells_its_formula():
    assert [
        n
        for n in nn.__all__
        if isinstance(getattr(nn, n), type) and not (getattr(nn, n).__doc__ or "").strip()
    ] == []
