"""Layers and losses with operands: made of torch and of minigrad, they must agree.

``t`` is the library. What lives here is data alone; the promises are in ``test_nn_torch.py`` and ``test_torch_answers.py``.
"""

import numpy as np


def floats(*shape, low=-2.0, high=2.0):
    return np.random.default_rng(len(shape) * 100 + sum(shape)).uniform(low, high, shape)


def classes(high, *shape):
    return np.random.default_rng(sum(shape)).integers(0, high, shape)


def signs(*shape):
    return np.where(floats(*shape) > 0, 1.0, -1.0)


X = floats(4, 6)
P = floats(4, 3, low=0.05, high=0.95)
LAYERS = [
    (lambda t: t.nn.Linear(6, 3), X),
    (lambda t: t.nn.Linear(6, 3, bias=False), floats(2, 4, 6)),
    (lambda t: t.nn.Linear(6, 1), floats(6)),
    (lambda t: t.nn.Bilinear(6, 2, 3), X, floats(4, 2)),
    (lambda t: t.nn.Bilinear(6, 2, 3, bias=False), floats(2, 4, 6), floats(2, 4, 2)),
    (lambda t: t.nn.Identity(5, unused=1), X),
    (lambda t: t.nn.Flatten(), floats(2, 3, 4)),
    (lambda t: t.nn.Flatten(0, 1), floats(2, 3, 4)),
    (lambda t: t.nn.Unflatten(1, (2, 3)), X),
    (lambda t: t.nn.Unflatten(-1, (2, -1)), X),
    (lambda t: t.nn.Embedding(10, 3), classes(10, 2, 4)),
    (lambda t: t.nn.Embedding(10, 3, padding_idx=-9), classes(10, 5)),
    (lambda t: t.nn.Embedding(10, 3, max_norm=1.0), classes(10, 5)),
    (lambda t: t.nn.Embedding(10, 3, max_norm=1.0, norm_type=1.0), classes(10, 5)),
    (lambda t: t.nn.Embedding(4, 3, scale_grad_by_freq=True, padding_idx=2), classes(4, 9)),
    (lambda t: t.nn.EmbeddingBag(10, 3), classes(10, 2, 4)),
    (lambda t: t.nn.EmbeddingBag(10, 3, mode="sum", padding_idx=0), classes(4, 3, 5)),
    (lambda t: t.nn.EmbeddingBag(10, 3, mode="mean", padding_idx=0), classes(3, 3, 5)),
    (lambda t: t.nn.EmbeddingBag(10, 3, mode="max", padding_idx=0), classes(3, 3, 5)),
    (lambda t: t.nn.EmbeddingBag(10, 3, mode="max"), classes(10, 9), np.array([0, 2, 2, 5])),
    (lambda t: t.nn.EmbeddingBag(10, 3), classes(10, 9), np.array([0, 2, 2, 5])),
    (lambda t: t.nn.EmbeddingBag(10, 3, include_last_offset=True), classes(10, 9), np.array([0, 2, 2, 5, 9])),
    (
        lambda t: t.nn.EmbeddingBag(10, 3, mode="sum", max_norm=1.0),
        classes(10, 9),
        np.array([0, 4]),
        floats(9),
    ),
    (lambda t: t.nn.Dropout(0.0), X),
    (lambda t: t.nn.Dropout(0.5, True).eval(), X),
    (lambda t: t.nn.Dropout(1.0), X),
    (lambda t: t.nn.AlphaDropout(1.0), X),
    (lambda t: t.nn.FeatureAlphaDropout().eval(), X),
    (lambda t: t.nn.Dropout1d(1.0), floats(2, 3, 4)),
    (lambda t: t.nn.Dropout2d(1.0), floats(2, 3, 4, 4)),
    (lambda t: t.nn.Dropout3d(0.5).eval(), floats(2, 3, 2, 2, 2)),
    (lambda t: t.nn.LayerNorm(6), X),
    (lambda t: t.nn.LayerNorm((3, 4), eps=0.1), floats(2, 3, 4)),
    (lambda t: t.nn.LayerNorm([4], bias=False), floats(2, 3, 4)),
    (lambda t: t.nn.LayerNorm(4, elementwise_affine=False), floats(2, 3, 4)),
    (lambda t: t.nn.RMSNorm(6), X),
    (lambda t: t.nn.RMSNorm((3, 4), eps=0.1, elementwise_affine=False), floats(2, 3, 4)),
    (lambda t: t.nn.GroupNorm(2, 6), X),
    (lambda t: t.nn.GroupNorm(3, 6, affine=False, eps=0.1), floats(2, 6, 3)),
    (lambda t: t.nn.GroupNorm(3, 6, bias=False), floats(2, 6, 3, 2)),
    (lambda t: t.nn.BatchNorm1d(6), X),
    (lambda t: t.nn.BatchNorm1d(6).eval(), X),
    (lambda t: t.nn.BatchNorm1d(3, momentum=None), floats(4, 3, 5)),
    (lambda t: t.nn.BatchNorm1d(6, track_running_stats=False), X),
    (lambda t: t.nn.BatchNorm1d(6, track_running_stats=False).eval(), X),
    (lambda t: t.nn.BatchNorm1d(6, affine=False, eps=0.1, momentum=0.3), X),
    (lambda t: t.nn.BatchNorm1d(6, bias=False), X),
    (lambda t: t.nn.BatchNorm2d(3), floats(4, 3, 2, 2)),
    (lambda t: t.nn.BatchNorm3d(3).eval(), floats(4, 3, 2, 2, 1)),
    (lambda t: t.nn.ReLU(), X),
    (lambda t: t.nn.ReLU(inplace=True), X),
    (lambda t: t.nn.ReLU6(), 4 * X),
    (lambda t: t.nn.ReLU6(True), 4 * X),
    (lambda t: t.nn.RReLU().eval(), X),
    (lambda t: t.nn.RReLU(0.2, 0.2, True), X),
    (lambda t: t.nn.Hardtanh(), X),
    (lambda t: t.nn.Hardtanh(-0.5, 1.5, True), X),
    (lambda t: t.nn.Sigmoid(), X),
    (lambda t: t.nn.Hardsigmoid(), 2 * X),
    (lambda t: t.nn.Hardsigmoid(True), 2 * X),
    (lambda t: t.nn.Tanh(), X),
    (lambda t: t.nn.SiLU(), X),
    (lambda t: t.nn.SiLU(True), X),
    (lambda t: t.nn.Mish(), X),
    (lambda t: t.nn.Mish(True), X),
    (lambda t: t.nn.Hardswish(), 2 * X),
    (lambda t: t.nn.Hardswish(True), 2 * X),
    (lambda t: t.nn.ELU(), X),
    (lambda t: t.nn.ELU(0.5, True), X),
    (lambda t: t.nn.CELU(), X),
    (lambda t: t.nn.CELU(0.5, True), X),
    (lambda t: t.nn.SELU(), X),
    (lambda t: t.nn.SELU(True), X),
    (lambda t: t.nn.GLU(), X),
    (lambda t: t.nn.GLU(0), X),
    (lambda t: t.nn.GELU(), X),
    (lambda t: t.nn.GELU("tanh"), X),
    (lambda t: t.nn.Hardshrink(), X),
    (lambda t: t.nn.Hardshrink(1.0), X),
    (lambda t: t.nn.Softshrink(), X),
    (lambda t: t.nn.Softshrink(0.1), X),
    (lambda t: t.nn.LeakyReLU(), X),
    (lambda t: t.nn.LeakyReLU(0.3, True), X),
    (lambda t: t.nn.LogSigmoid(), X),
    (lambda t: t.nn.Softplus(), X),
    (lambda t: t.nn.Softplus(2.0, 1.0), X),
    (lambda t: t.nn.PReLU(), X),
    (lambda t: t.nn.PReLU(6, init=0.1), X),
    (lambda t: t.nn.Softsign(), X),
    (lambda t: t.nn.Tanhshrink(), X),
    (lambda t: t.nn.Softmin(1), X),
    (lambda t: t.nn.Softmax(dim=-1), X),
    (lambda t: t.nn.LogSoftmax(dim=0), X),
    (lambda t: t.nn.Softmax2d(), floats(2, 3, 2, 2)),
    (lambda t: t.nn.Softmax2d(), floats(3, 2, 2)),
    (lambda t: t.nn.Threshold(0.5, -3.0), X),
    (lambda t: t.nn.Threshold(0, 20, True), X),
    (lambda t: t.nn.CosineSimilarity(), X, floats(4, 6, low=0.0)),
    (lambda t: t.nn.CosineSimilarity(dim=0, eps=0.1), X, floats(4, 6, low=0.0)),
    (lambda t: t.nn.PairwiseDistance(), X, floats(4, 6, low=0.0)),
    (lambda t: t.nn.PairwiseDistance(p=1, keepdim=True), X, floats(4, 6, low=0.0)),
]


def called(t, base, names, *args, **options):
    """A layer of the library's nn that takes the operands after the first ones under these names, and gives all it returns."""
    positional = {"MultiheadAttention": 3, "TransformerEncoderLayer": 1, "TransformerEncoder": 1}.get(base, 2)

    def forward(self, *arrays):
        given = fixed | dict(zip(names, arrays[positional:], strict=True))
        out = super(kind, self).forward(*arrays[:positional], **given)
        if isinstance(out, tuple):
            out = t.cat([x.reshape(-1) for x in out if x is not None])
        return out

    fixed = {
        k: options.pop(k)
        for k in ("need_weights", "average_attn_weights", "is_causal", "tgt_is_causal")
        if k in options
    }
    kind = type(base, (getattr(t.nn, base),), {"forward": forward})
    if base in ("TransformerEncoder", "TransformerDecoder"):
        args = (getattr(t.nn, base + "Layer")(*args, **options), 2, t.nn.LayerNorm(args[0]))
        options = {"enable_nested_tensor": False} if base == "TransformerEncoder" else {}
    return kind(*args, **options)


# 3 queries, 5 keys and values, 2 sequences, 4 wide, 2 heads; every query may attend to something
LEFT_OUT = np.array([[0, 0, 1, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]], bool)
PADDING = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]], bool)
MASKS = {
    "no mask": {},
    "boolean": {"attn_mask": LEFT_OUT},
    "added": {"attn_mask": floats(3, 5)},
    "by head": {"attn_mask": np.stack([LEFT_OUT, ~LEFT_OUT, LEFT_OUT[::-1], LEFT_OUT])},
    "added by head": {"attn_mask": floats(4, 3, 5)},
    "padding": {"key_padding_mask": PADDING},
    "added padding": {"key_padding_mask": floats(2, 5)},
    "both": {"attn_mask": LEFT_OUT, "key_padding_mask": PADDING},
    "both, added": {"attn_mask": floats(3, 5), "key_padding_mask": floats(2, 5)},
}


def sequences(batch_first, *lengths, width=4):
    drawn = [floats(length, 2, width) for length in lengths]
    return [x.swapaxes(0, 1) for x in drawn] if batch_first else drawn


def square(masks):
    """The masks of 3 queries to 5 keys as those of 5 tokens among themselves."""
    return {k: np.concatenate([m, m[..., :2, :]], -2) if k == "attn_mask" else m for k, m in masks.items()}


def layer(base, masks, arrays, *args, **options):
    """A case of LAYERS: ``masks`` by the names of forward's arguments."""
    return (lambda t: called(t, base, list(masks), *args, **options), *arrays, *masks.values())


def attention(masks, *arrays, **options):
    return layer("MultiheadAttention", masks, arrays, 4, 2, **options)


def renamed(masks, attn_mask, key_padding_mask):
    names = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask}
    return {names[k]: m for k, m in masks.items()}


Q, K, V = sequences(False, 3, 5, 5)
CAUSAL = np.triu(np.ones((5, 5), bool), 1)
ATTENTION = [
    *[
        attention(masks, *sequences(first, 3, 5, 5), batch_first=first, need_weights=weights)
        for masks in MASKS.values() for first in (False, True) for weights in (False, True)
    ],
    attention({}, Q[:, 0], K[:, 0], V[:, 0]),
    attention({}, Q[:, 0], K[:, 0], V[:, 0], batch_first=True, average_attn_weights=False),
    attention({"attn_mask": LEFT_OUT, "key_padding_mask": PADDING[0]}, Q[:, 0], K[:, 0], V[:, 0]),
    attention({"attn_mask": floats(2, 3, 5)}, Q[:, 0], K[:, 0], V[:, 0], need_weights=False),
    attention({}, Q, floats(5, 2, 3), floats(5, 2, 6), kdim=3, vdim=6),
    attention(MASKS["both"], Q, floats(5, 2, 3), V, kdim=3, need_weights=False, bias=False),
    attention({}, Q, K, V, bias=False, average_attn_weights=False),
    attention(MASKS["both"], Q, K, V, add_bias_kv=True),
    attention(MASKS["both, added"], Q, K, V, add_bias_kv=True, add_zero_attn=True, need_weights=False),
    attention(MASKS["padding"], Q, K, V, add_zero_attn=True, average_attn_weights=False),
    attention({"attn_mask": CAUSAL}, K, K, V, is_causal=True),
    attention({"attn_mask": CAUSAL}, K, K, V, is_causal=True, need_weights=False),
    attention({"attn_mask": CAUSAL, "key_padding_mask": PADDING}, K, K, V, is_causal=True, need_weights=False),
    attention({}, Q, K, V, dropout=1.0),
    *[
        layer("TransformerEncoderLayer", renamed(square(masks), "src_mask", "src_key_padding_mask"), sequences(first, 5),
              4, 2, 7, 0.0, batch_first=first, norm_first=norm_first)
        for masks in MASKS.values() for first in (False, True) for norm_first in (False, True)
    ],
    layer("TransformerEncoderLayer", {}, [K], 4, 2, 7, 0.0, "gelu", 0.1, bias=False),
    layer("TransformerEncoderLayer", {"src_mask": CAUSAL}, [K], 4, 2, 7, 0.0, is_causal=True),
    (lambda t: called(t, "TransformerEncoderLayer", [], 4, 2, 7, 0.0, t.nn.functional.silu), K[:, 0]),
    (lambda t: called(t, "TransformerEncoderLayer", [], 4, 2, 7, 0.0, t.nn.GELU("tanh")), K),
    *[
        layer("TransformerDecoderLayer", renamed(masks, "memory_mask", "memory_key_padding_mask"), sequences(first, 3, 5),
              4, 2, 7, 0.0, batch_first=first, norm_first=norm_first)
        for masks in MASKS.values() for first in (False, True) for norm_first in (False, True)
    ],
    layer("TransformerDecoderLayer", {"tgt_mask": CAUSAL, "tgt_key_padding_mask": PADDING}, [K, Q], 4, 2, 7, 0.0),
    layer("TransformerDecoderLayer", {"tgt_mask": CAUSAL}, [K, Q], 4, 2, 7, 0.0, tgt_is_causal=True),
    layer("TransformerEncoder", {"mask": CAUSAL, "src_key_padding_mask": PADDING}, [K], 4, 2, 7, 0.0),
    layer("TransformerDecoder", {"tgt_mask": CAUSAL, "memory_key_padding_mask": PADDING}, [K, V], 4, 2, 7, 0.0),
    layer("Transformer", {}, [K, Q], 4, 2, 1, 2, 7, 0.0),
    layer("Transformer", {"tgt_mask": CAUSAL[:3, :3], "src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING},
          sequences(True, 5, 3), 4, 2, 1, 2, 7, 0.0, batch_first=True, norm_first=True),
]  # fmt: skip
LAYERS += ATTENTION

ANCHORS = (floats(4, 6), floats(4, 6, low=-1.0), floats(4, 6, low=0.0))
LOSSES = [
    (lambda t, r: t.nn.L1Loss(reduction=r), X, floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.MSELoss(reduction=r), X, floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.HuberLoss(r, 0.5), X, floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.SmoothL1Loss(reduction=r, beta=0.5), X, floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.SmoothL1Loss(reduction=r, beta=0), X, floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.CrossEntropyLoss(reduction=r), X, classes(6, 4)),
    (lambda t, r: t.nn.CrossEntropyLoss(t.tensor([0.5, 1, 2]), ignore_index=1, reduction=r), P, classes(3, 4)),
    (lambda t, r: t.nn.CrossEntropyLoss(label_smoothing=0.1, reduction=r), floats(2, 3, 4), classes(3, 2, 4)),
    (lambda t, r: t.nn.CrossEntropyLoss(t.tensor([0.5, 1, 2]), reduction=r), floats(4, 3), P),
    (lambda t, r: t.nn.NLLLoss(reduction=r), X, classes(6, 4)),
    (lambda t, r: t.nn.NLLLoss(t.tensor([0.5, 1, 2]), ignore_index=1, reduction=r), floats(2, 3, 4), classes(3, 2, 4)),
    (lambda t, r: t.nn.BCELoss(reduction=r), P, floats(4, 3, low=0.0, high=1.0)),
    (lambda t, r: t.nn.BCELoss(t.tensor([0.5, 1, 2]), reduction=r), P, floats(4, 3, low=0.0, high=1.0)),
    (lambda t, r: t.nn.BCEWithLogitsLoss(reduction=r), X, floats(4, 6, low=0.0, high=1.0)),
    (lambda t, r: t.nn.BCEWithLogitsLoss(t.tensor([0.5, 1, 2]), reduction=r, pos_weight=t.tensor([3.0])), P, P),
    (lambda t, r: t.nn.KLDivLoss(reduction=r), X, floats(4, 6, low=0.0, high=1.0)),
    (lambda t, r: t.nn.KLDivLoss(reduction=r, log_target=True), X, floats(4, 6, low=0.0, high=1.0)),
    (lambda t, r: t.nn.PoissonNLLLoss(reduction=r), X, floats(4, 6, low=0.0, high=4.0)),
    (lambda t, r: t.nn.PoissonNLLLoss(False, True, reduction=r, eps=0.1), P, floats(4, 3, low=0.0, high=4.0)),
    (lambda t, r: t.nn.GaussianNLLLoss(reduction=r), X, floats(4, 6, low=0.0), floats(4, 6, low=0.0)),
    (lambda t, r: t.nn.GaussianNLLLoss(full=True, eps=0.5, reduction=r), X, floats(4, 6), floats(4, low=0.0)),
    (lambda t, r: t.nn.GaussianNLLLoss(reduction=r), X, floats(4, 6), floats(4, 1, low=0.1)),
    (lambda t, r: t.nn.HingeEmbeddingLoss(reduction=r), X, signs(4, 6)),
    (lambda t, r: t.nn.CosineEmbeddingLoss(0.2, reduction=r), X, floats(4, 6, low=0.0), signs(4)),
    (lambda t, r: t.nn.CosineEmbeddingLoss(reduction=r), floats(6), floats(6, low=0.0), np.array(-1.0)),
    (lambda t, r: t.nn.MarginRankingLoss(0.3, reduction=r), X, floats(4, 6, low=0.0), signs(4, 6)),
    (lambda t, r: t.nn.SoftMarginLoss(reduction=r), X, signs(4, 6).astype(np.float32).astype(int)),
    (lambda t, r: t.nn.MultiMarginLoss(reduction=r), X, classes(6, 4)),
    (lambda t, r: t.nn.MultiMarginLoss(2, 0.5, t.tensor([0.5, 1, 2]), reduction=r), P, classes(3, 4)),
    (lambda t, r: t.nn.MultiMarginLoss(reduction=r), floats(6), np.array(2)),
    (lambda t, r: t.nn.MultiLabelMarginLoss(reduction=r), P, np.array([[2, 0, -1], [-1, 1, 2], [0, 1, 2], [1, -1, 0]])),
    (lambda t, r: t.nn.MultiLabelMarginLoss(reduction=r), floats(4), np.array([3, -1, 0, 1])),
    (lambda t, r: t.nn.MultiLabelSoftMarginLoss(reduction=r), X, (X > 0) * 1.0),
    (lambda t, r: t.nn.MultiLabelSoftMarginLoss(t.tensor([0.5, 1, 2]), reduction=r), P, (P > 0.5) * 1.0),
    (lambda t, r: t.nn.TripletMarginLoss(reduction=r), *ANCHORS),
    (lambda t, r: t.nn.TripletMarginLoss(2.0, p=1, swap=True, reduction=r), *ANCHORS),
    (lambda t, r: t.nn.TripletMarginWithDistanceLoss(swap=True, reduction=r), *ANCHORS),
]  # fmt: skip


def ran(t, module, arrays):
    """The output, the gradients by the inputs and by the parameters, and the state afterwards, as arrays."""
    tensors = [t.tensor(a, requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    inplace = getattr(module, "inplace", False)
    out = module(*[x * 1 if inplace and x.requires_grad else x for x in tensors])
    weights = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
    if out.requires_grad:
        (out * t.tensor(weights)).sum().backward()
    grads = [x.grad for x in (*tensors, *module.parameters())]
    found = {"out": out, **{f"gradient {i}": g for i, g in enumerate(grads)}, **module.state_dict()}
    return {k: None if v is None else v.detach().numpy() for k, v in found.items()}
