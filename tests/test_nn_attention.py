"""Attention and the Transformer from the definition: loops, what a mask may not let through, what padding may not change."""

import itertools
import math

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.gradcheck import gradcheck, gradgradcheck

F = nn.functional


def drawn(*shape, seed=0, **options):
    return minigrad.tensor(np.random.default_rng(seed).standard_normal(shape), **options)


def in_three_loops(q, k, v, allowed, scale):
    """softmax(QKᵀ · scale where allowed) V for one head, a query, a key and a channel at a time."""
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        scores = {}
        for j in range(len(k)):
            if allowed[i][j]:
                scores[j] = math.fsum(q[i] * k[j]) * scale
        top = max(scores.values(), default=0.0)
        total = math.fsum(math.exp(s - top) for s in scores.values())
        for c in range(v.shape[1]):
            out[i, c] = math.fsum(math.exp(s - top) / total * v[j, c] for j, s in scores.items())
    return out


@pytest.mark.parametrize("case", ["plain", "causal", "boolean", "padding"])
def test_multihead_attention_is_its_definition(case):
    n, length, keys, heads, width = 2, 5, 5, 3, 6
    layer = nn.MultiheadAttention(width, heads, batch_first=True).double()
    for p in layer.parameters():
        p.data = drawn(*p.shape, seed=p.ndim)
    x, y = drawn(n, length, width), drawn(n, keys, width, seed=1)
    allowed = np.ones((n, length, keys), bool)
    options = {}
    if case == "causal":
        allowed &= np.tri(length, dtype=bool)
        options = {"attn_mask": minigrad.tensor(~np.tri(length, dtype=bool)), "is_causal": True}
    if case == "boolean":
        allowed &= np.arange(length)[:, None] != np.arange(keys)
        options = {"attn_mask": minigrad.eye(length).bool()}
    if case == "padding":
        allowed[0, :, 3:] = False
        options = {"key_padding_mask": minigrad.tensor([[False] * 3 + [True] * 2, [False] * 5])}
    wq, wk, wv = (w.numpy() for w in layer.in_proj_weight.detach().chunk(3))
    bq, bk, bv = (b.numpy() for b in layer.in_proj_bias.detach().chunk(3))
    d, expected = width // heads, np.zeros((n, length, width))
    for b, h in itertools.product(range(n), range(heads)):
        part = slice(h * d, (h + 1) * d)
        q = x[b].numpy() @ wq[part].T + bq[part]
        k, v = y[b].numpy() @ wk[part].T + bk[part], y[b].numpy() @ wv[part].T + bv[part]
        expected[b, :, part] = in_three_loops(q, k, v, allowed[b], 1 / math.sqrt(d))
    expected = expected @ layer.out_proj.weight.detach().numpy().T + layer.out_proj.bias.detach().numpy()
    for need_weights in (False, True):
        out, weights = layer(x, y, y, need_weights=need_weights, **options)
        np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weights.detach().sum(-1).numpy(), np.ones((n, length)), rtol=1e-12)
    assert not weights.detach().numpy()[~allowed].any()


def test_grouped_heads_are_the_same_as_repeated_ones():
    q, k, v = drawn(2, 6, 4, 3), drawn(2, 2, 5, 3, seed=1), drawn(2, 2, 5, 3, seed=2)
    grouped = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    repeated = F.scaled_dot_product_attention(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1))
    assert (grouped == repeated).all()


def networks():
    yield "encoder", nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), 2)
    yield (
        "pre-norm encoder",
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True),
            2,
            nn.LayerNorm(8),
        ),
    )


@pytest.mark.parametrize(("name", "model"), [pytest.param(*n, id=n[0]) for n in networks()])
def test_a_causal_network_cannot_see_the_future(name, model):
    model = model.double()
    x = drawn(2, 6, 8, requires_grad=True)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=minigrad.float64)
    for given, hint in ((mask, False), (mask, True), (mask.isinf(), False)):
        out = model(x, mask=given, is_causal=hint)
        for t in range(6):
            (grad,) = minigrad.autograd.grad(out[:, t].sum() + out[:, t].square().sum(), x, retain_graph=True)
            assert (grad[:, t + 1 :] == 0).all() and (grad[:, : t + 1] != 0).any(-1).all()


@pytest.mark.parametrize("need_weights", [False, True])
def test_what_padding_holds_changes_nothing(need_weights):
    layer = nn.MultiheadAttention(8, 4, batch_first=True).double()
    x, other = drawn(2, 5, 8), drawn(2, 5, 8, seed=1)
    padding = minigrad.tensor([[False, False, False, True, True], [False, False, True, True, True]])
    replaced = minigrad.where(padding.unsqueeze(-1), other, x)
    a = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights)[0]
    b = layer(x, replaced, replaced, key_padding_mask=padding, need_weights=need_weights)[0]
    assert (a == b).all()
    short = layer(x[:1, :3], x[:1, :3], x[:1, :3], need_weights=need_weights)[0]
    np.testing.assert_allclose(a[:1, :3].detach().numpy(), short.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_attention_without_positions_follows_a_permutation():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), 2).double()
    x, order = drawn(1, 6, 8), [3, 0, 5, 1, 4, 2]
    np.testing.assert_allclose(
        model(x[:, order]).detach().numpy(), model(x).detach()[:, order].numpy(), rtol=1e-11, atol=1e-12
    )


def test_a_query_that_may_see_nothing_gets_zeros_without_weights_and_nan_with_them():
    layer = nn.MultiheadAttention(4, 2).double().eval()
    x = drawn(3, 2, 4)
    mask = minigrad.tensor([[True] * 3, [False] * 3, [False] * 3])
    out, _ = layer(x, x, x, attn_mask=mask, need_weights=False)
    assert (out[0] == layer.out_proj.bias).all() and out.isfinite().all()
    out, weights = layer(x, x, x, attn_mask=mask)
    assert out[0].isnan().all() and weights[:, 0].isnan().all() and out[1:].isfinite().all()


def test_first_and_second_derivatives_of_many_heads():
    layer = nn.MultiheadAttention(4, 2).double()
    mask = minigrad.tensor([[False, True], [False, False]])

    def run(q, k, w, b):
        return F.multi_head_attention_forward(
            q, k, k, 4, 2, w, b, None, None, False, 0.0, layer.out_proj.weight, layer.out_proj.bias,
            need_weights=False, attn_mask=mask,
        )[0]  # fmt: skip

    given = (drawn(2, 1, 4, requires_grad=True), drawn(2, 1, 4, seed=1, requires_grad=True))
    w, b = drawn(12, 4, seed=2, requires_grad=True), drawn(12, seed=3, requires_grad=True)
    assert gradcheck(run, (*given, w, b)) and gradgradcheck(run, (*given, w, b))


def test_dropout_drops_weights_in_training_only():
    layer = nn.MultiheadAttention(4, 2, dropout=0.5).double()
    x = drawn(6, 2, 4)
    minigrad.manual_seed(0)
    weights = layer(x, x, x, average_attn_weights=False)[1]
    kept = weights != 0
    assert 0.2 < float(kept.double().mean()) < 0.8
    layer.eval()
    sure = layer(x, x, x, average_attn_weights=False)[1]
    np.testing.assert_allclose(weights[kept].detach().numpy(), 2 * sure[kept].detach().numpy(), rtol=1e-12)


def test_at_inference_the_encoder_gives_zeros_where_padding_is():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2).double().eval()
    x = drawn(2, 4, 8)
    end = minigrad.tensor([[False, False, False, True], [False] * 4])
    middle = minigrad.tensor([[False, True, False, False], [False] * 4])
    with minigrad.no_grad():
        assert (model(x, src_key_padding_mask=end)[0, 3] == 0).all()
        assert (model(x, src_key_padding_mask=end)[0, :3] != 0).all()
        assert (model(x, src_key_padding_mask=middle)[0, 1] != 0).any()
    assert (model(x, src_key_padding_mask=end)[0, 3] != 0).any()  # gradients are wanted
    model.enable_nested_tensor = False
    with minigrad.no_grad():
        assert (model(x, src_key_padding_mask=end)[0, 3] != 0).any()


def test_copies_of_a_layer_share_nothing():
    layer = nn.TransformerEncoderLayer(8, 2, 12)
    model = nn.TransformerEncoder(layer, 2)
    model.layers[0].linear1.weight.data.zero_()
    assert (model.layers[1].linear1.weight != 0).all() and (layer.linear1.weight != 0).all()


X = drawn(3, 2, 4).float()
LAYER = nn.MultiheadAttention(4, 2)


@pytest.mark.parametrize(("error", "words", "run"), [
    (AssertionError, "divisible", lambda: nn.MultiheadAttention(6, 4)),
    (ValueError, "greater than 0", lambda: nn.MultiheadAttention(0, 4)),
    (RuntimeError, "relu/gelu", lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh")),
    (AssertionError, "embedding dimension of 4, but got 3", lambda: LAYER(X[..., :3], X, X)),
    (AssertionError, "key shape", lambda: LAYER(X, X, X[:2])),
    (AssertionError, "query", lambda: LAYER(X[0, 0], X, X)),
    (AssertionError, "3-D query expected key", lambda: LAYER(X, X[0], X[0])),
    (RuntimeError, r"should be \(3, 3\)", lambda: LAYER(X, X, X, attn_mask=minigrad.zeros(3, 2))),
    (RuntimeError, r"should be \(4, 3, 3\)", lambda: LAYER(X, X, X, attn_mask=minigrad.zeros(2, 3, 3))),
    (AssertionError, "bool and floating", lambda: LAYER(X, X, X, attn_mask=minigrad.zeros(3, 3).long())),
    (AssertionError, "key_padding_mask", lambda: LAYER(X, X, X, key_padding_mask=minigrad.zeros(3, 2))),
    (AssertionError, "key_padding_mask", lambda: LAYER(X, X, X, key_padding_mask=minigrad.zeros(3))),
    (RuntimeError, "Need attn_mask", lambda: LAYER(X, X, X, is_causal=True)),
    (RuntimeError, "one batch size", lambda: LAYER(X, X[:, :1], X[:, :1])),
    (RuntimeError, "batch number", lambda: nn.Transformer(4, 2, 1, 1, 8)(X, X[:, :1])),
    (RuntimeError, "d_model", lambda: nn.Transformer(4, 2, 1, 1, 8)(X, X[..., :3])),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_numbers(error, words, run):
    with pytest.raises(error, match=words):
        run()
