"""Positions and the cache of keys and values: their formulas, what they depend on, and that a cache changes no number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import nn
from minigrad.gradcheck import gradcheck, gradgradcheck

F = nn.functional


def drawn(*shape, seed=0, **options):
    return minigrad.tensor(np.random.default_rng(seed).standard_normal(shape), **options)


# ---- positions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 5])
def test_sinusoids_are_the_papers(width):
    pe = nn.SinusoidalPositionalEncoding(width, max_len=20)
    found = pe(minigrad.zeros(1, 3, width), start=7)[0].numpy()
    for t in range(3):
        for c in range(width):
            angle = (7 + t) / 10000 ** ((c - c % 2) / width)
            assert found[t, c] == pytest.approx((math.cos if c % 2 else math.sin)(angle), abs=1e-6)
    assert not pe.state_dict()


def test_learned_positions_are_added_and_learn():
    layer = nn.LearnedPositionalEncoding(3, 5)
    x = minigrad.zeros(2, 2, 3)
    layer(x, start=1).sum().backward()
    assert (layer(x, start=1)[1] == layer.weight[1:3]).all()
    assert layer.weight.grad.tolist() == [[0] * 3, [2] * 3, [2] * 3, [0] * 3, [0] * 3]
    with pytest.raises(ValueError, match=r"below max_len 5, got 4 to 5; shorten"):
        layer(x, start=4)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_is_a_product_with_a_complex_number(interleaved):
    layer, x = nn.RotaryEmbedding(6, 10, base=100.0, interleaved=interleaved), drawn(2, 3, 4, 6)
    pairs = x.numpy().reshape(2, 3, 4, 3, 2) if interleaved else np.stack(np.split(x.numpy(), 2, -1), -1)
    theta = 100.0 ** (-np.arange(3) / 3)
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * np.outer(np.arange(4), theta))
    found = layer(x).numpy()
    a, b = (found[..., 0::2], found[..., 1::2]) if interleaved else np.split(found, 2, -1)
    np.testing.assert_allclose(a + 1j * b, turned, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotated_scores_depend_on_the_difference_of_positions_alone(interleaved):
    layer = nn.RotaryEmbedding(8, 64, interleaved=interleaved)
    q, k = drawn(8), drawn(8, seed=1)
    scores = np.zeros((40, 40))
    every = minigrad.arange(40)
    qs, ks = (layer(x.expand(40, 8), positions=every).numpy() for x in (q, k))
    scores = qs @ ks.T
    for difference in range(-39, 40):
        diagonal = np.diagonal(scores, difference)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-5)
    assert abs(scores[0, 1] - scores[1, 0]) > 1e-3


def test_rotations_at_given_positions_are_rows_of_the_table():
    layer, x = nn.RotaryEmbedding(4, 9), drawn(2, 3, 2, 4)
    whole = layer(drawn(2, 3, 9, 4, seed=3) * 0 + x[:, :, :1])
    some = layer(x[:, :, :1].expand(2, 3, 2, 4), positions=minigrad.tensor([[8, 0], [3, 4]]))
    assert (some[0] == whole[0][:, [8, 0]]).all() and (some[1] == whole[1][:, [3, 4]]).all()


def test_derivatives_of_a_rotation():
    x, angles = drawn(2, 3, 4, requires_grad=True), drawn(3, 2, seed=1)
    for interleaved in (False, True):
        turn = lambda x, i=interleaved: F.rotary_embedding(x, angles.cos(), angles.sin(), i)  # noqa: E731
        assert gradcheck(turn, (x,)) and gradgradcheck(turn, (x,))


def test_scaled_rotations():
    plain = nn.RotaryEmbedding(8, 32)
    linear = nn.RotaryEmbedding(8, 32, scaling={"rope_type": "linear", "factor": 2.0})
    np.testing.assert_allclose(linear.cos[2::2].numpy(), plain.cos[1:16].numpy(), rtol=1e-5)
    options = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}  # fmt: skip
    llama = nn.RotaryEmbedding(8, 32, scaling=options)
    angles = np.arctan2(llama.sin.numpy()[1], llama.cos.numpy()[1])
    theta = 10000.0 ** (-np.arange(4) / 4)
    assert angles[0] == pytest.approx(1.0) and angles[3] == pytest.approx(theta[3] / 8, rel=1e-5)
    share = (64 * theta[1] / (2 * math.pi) - 1) / 3  # between its two bounds
    assert 0 < share < 1
    assert angles[1] == pytest.approx(theta[1] * (share + (1 - share) / 8), rel=1e-5)
    dynamic = nn.RotaryEmbedding(8, 32, scaling={"rope_type": "dynamic", "factor": 2.0})
    assert (dynamic.cos == plain.cos).all() and (dynamic.sin == plain.sin).all()
    with pytest.raises(ValueError, match="default, linear, llama3, yarn or dynamic, got 'longrope'"):
        nn.RotaryEmbedding(8, 32, scaling={"rope_type": "longrope"})


def test_yarn_divides_slow_channels_alone_and_makes_longer():
    how = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 4, "truncate": False}  # fmt: skip
    yarn = nn.RotaryEmbedding(16, 256, base=100.0, scaling=how)
    longer = 0.1 * math.log(4) + 1
    np.testing.assert_allclose(np.hypot(yarn.cos, yarn.sin), longer, rtol=1e-6)
    theta = 100.0 ** (-np.arange(8) / 8)
    found = np.arctan2(yarn.sin.numpy()[1], yarn.cos.numpy()[1]) / theta
    turns = 64 * theta / (2 * math.pi)
    assert found[turns > 4] == pytest.approx(1.0) and found[turns < 1] == pytest.approx(0.25)
    between = (turns < 4) & (turns > 1)
    share = np.log(4 / turns) / math.log(4)  # the ramp is over channels, whose turns fall as a power
    assert between.sum() == 3 and found[between] == pytest.approx((1 - share + share / 4)[between], rel=1e-5)
    for changes, factor in (({"attention_factor": 1.5}, 1.5), ({"mscale": 2.0, "mscale_all_dim": 1.0}, (0.2 * math.log(4) + 1) / longer),
                            ({"factor": None}, longer), ({"factor": 1.0}, 1.0)):  # fmt: skip
        other = nn.RotaryEmbedding(16, 256, base=100.0, scaling=how | changes)
        assert other.cos[0, 0].item() == pytest.approx(factor, rel=1e-6)


def test_alibi_has_the_papers_slopes_and_grows_with_distance():
    assert nn.ALiBi(8).slopes.tolist() == [2.0**-k for k in range(1, 9)]
    np.testing.assert_allclose(nn.ALiBi(6).slopes.numpy(), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125])
    bias = nn.ALiBi(2)(2, 4)
    assert bias.shape == (2, 2, 4)
    assert bias[0].tolist() == [[-2 / 16, -1 / 16, 0, 1 / 16], [-3 / 16, -2 / 16, -1 / 16, 0]]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_distances_have_t5s_buckets(bidirectional):
    layer = nn.RelativePositionBias(1, 8, 20, bidirectional)
    layer.relative_attention_bias.weight.data = minigrad.arange(8.0).reshape(8, 1)
    found = layer(1, 30)[0, 0, 0].tolist()[::-1]  # of the keys 0, 1, 2 … before the query
    one_way = 4 if bidirectional else 8
    exact = one_way // 2
    for distance, bucket in enumerate(found):
        far = exact + int(math.log(max(distance, 1) / exact) / math.log(20 / exact) * (one_way - exact))
        assert bucket == (distance if distance < exact else min(far, one_way - 1))
    ahead = layer(30)[0, 0, 0].tolist()[1:]  # of the keys after it
    assert ahead == ([4 + b for b in found[1:]] if bidirectional else [0] * 29)
    layer(2, 5).sum().backward()
    assert layer.relative_attention_bias.weight.grad.sum() == 10


def test_swiglu_is_its_formula():
    layer, x = nn.SwiGLU(4, 6).double(), drawn(2, 4)
    gate, up, down = (p.weight.detach().numpy() for p in (layer.gate_proj, layer.up_proj, layer.down_proj))
    z = x.numpy() @ gate.T
    expected = (z / (1 + np.exp(-z)) * (x.numpy() @ up.T)) @ down.T
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)


# ---- the cache -------------------------------------------------------------------------------------------


def without_cache(q, k, v, window, start, bias=None):
    t = minigrad.arange(q.shape[2])
    mask = t <= t[:, None]
    if window is not None:
        mask = mask & (t > t[:, None] - window)
    mask = mask.expand(q.shape[0], 1, *mask.shape)
    if start is not None:
        mask = mask & (t >= start[:, None, None, None])
    if bias is not None:
        mask = minigrad.where(mask, bias, -math.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_attention_with_a_cache_is_attention_without(data):
    draw = data.draw
    batch, groups, width, length = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        3,
        draw(st.integers(1, 12)),
    )
    heads = groups * draw(st.integers(1, 3))
    window = draw(st.none() | st.integers(1, 12))
    start = draw(st.none() | st.lists(st.integers(0, length - 1), min_size=batch, max_size=batch))
    start = None if start is None else minigrad.tensor(start)
    quantized = draw(st.booleans())
    q, k, v = (drawn(batch, h, length, width, seed=i) for i, h in enumerate((heads, groups, groups)))
    biases = draw(
        st.sampled_from([None, nn.ALiBi(heads), nn.RelativePositionBias(heads, 4, 6, False).double()])
    )
    bias = by_distance = None
    if biases is not None:
        bias, by_distance = biases(length).detach().double(), biases.by_distance(length).detach().double()
    cache = nn.KVCache(1, batch, groups, length, width, dtype="float64", window=window,
                       chunk=draw(st.integers(1, 4)), quantized=quantized, start=start)  # fmt: skip
    found, at = [], 0
    while at < length:
        to = min(length, at + draw(st.integers(1, min(4, cache.chunk))))
        found.append(cache.attend(0, q[:, :, at:to], k[:, :, at:to], v[:, :, at:to], bias=by_distance))
        cache.advance(to - at)
        at = to
    expected = without_cache(q, k, v, window, start, bias).numpy()
    error = np.abs(minigrad.cat(found, 2).numpy() - expected).max()
    assert error < (0.1 if quantized else 1e-12)


def test_a_window_and_int8_take_less_memory():
    def size(**options):
        return nn.KVCache(2, 1, 2, 1024, 64, **options).nbytes

    assert size() == 2 * 2 * 2 * 1024 * 64 * 4
    assert size(quantized=True) == size() // 4 + 2 * 2 * 2 * 1024 * 4
    assert size(window=100, chunk=29) == size() // 8


def test_a_quantised_key_is_within_half_a_step():
    cache = nn.KVCache(1, 1, 1, 4, 8, quantized=True)
    x = drawn(1, 1, 4, 8).float()
    x[0, 0, 2] = 0.0
    cache.attend(0, x, x, x)
    back = cache.keys[0].float() * cache.key_scales[0]
    assert cache.keys[0].dtype is minigrad.int8 and (back[0, 0, 2] == 0).all()
    assert ((back - x).abs() <= 0.5001 * cache.key_scales[0]).all()


def test_a_compiled_step_is_traced_once_for_all_positions():
    q, k, v = (drawn(2, h, 9, 4, seed=i) for i, h in enumerate((4, 2, 2)))
    cache = nn.KVCache(1, 2, 2, 9, 4, dtype="float64")

    @minigrad.compile
    def step(q, k, v):
        out = cache.attend(0, q, k, v)
        cache.advance(1)
        return out

    parts = [[x[:, :, t : t + 1].clone() for x in (q, k, v)] for t in range(9)]
    found = minigrad.cat([step(*p).clone() for p in parts], 2)
    np.testing.assert_allclose(found.numpy(), without_cache(q, k, v, None, None).numpy(), rtol=1e-10)
    assert step.retraces == 0 and step.has_program(*parts[0]) and cache.position == 9


def test_rows_are_selected_and_forgotten():
    cache = nn.KVCache(2, 3, 1, 4, 2, start=minigrad.tensor([0, 1, 2]))
    x = drawn(3, 1, 2, 2).float()
    cache.attend(0, x, x, x)
    cache.advance(2)
    cache.select(minigrad.tensor([2, 2, 0]))
    assert (cache.keys[0][:, :, :2] == x[[2, 2, 0]]).all() and cache.start.tolist() == [2, 2, 0]
    cache.reset()
    assert cache.position == 0 and cache.start is None


X = minigrad.zeros(1, 2, 3, 4)


def overfull():
    cache = nn.KVCache(1, 1, 2, 4, 4)
    for _ in range(2):
        cache.attend(0, X, X, X)
        cache.advance(3)


@pytest.mark.parametrize(("error", "words", "run"), [
    (RuntimeError, "beyond the cache's 4; make it longer", lambda: overfull()),
    (ValueError, "at most 2 tokens at a time, got 3", lambda: nn.KVCache(1, 1, 2, 9, 4, window=4, chunk=2).attend(0, X, X, X)),
    (RuntimeError, "expected keys", lambda: nn.KVCache(1, 1, 1, 9, 4).attend(0, X, X, X)),
    (RuntimeError, "multiple of its heads", lambda: nn.KVCache(1, 1, 2, 9, 4).attend(0, X[:, :1], X, X)),
    (ValueError, "window and chunk of at least 1", lambda: nn.KVCache(1, 1, 2, 9, 4, window=0)),
    (ValueError, "even number of channels", lambda: nn.RotaryEmbedding(5)),
    (RuntimeError, r"expected \(…, T, 6\)", lambda: nn.RotaryEmbedding(6)(X)),
    (ValueError, "below max_len 2", lambda: nn.RotaryEmbedding(4, 2)(X)),
    (RuntimeError, "with d even", lambda: F.rotary_embedding(X[..., :3], X, X)),
])  # fmt: skip
def test_what_does_not_fit_is_refused(error, words, run):
    with pytest.raises(error, match=words):
        run()
