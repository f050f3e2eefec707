"""Attention as functions: one head, and many heads with their projections (Vaswani et al., 2017, section 3.2)."""

from __future__ import annotations

import builtins
import math
from typing import Any

from .. import dtypes
from ..errors import describe
from ..op import composite
from .arguments import row
from .creation import zeros
from .layers import dropout, keep_mask, linear
from .shapes import broadcast_shapes, cat, expand, pad, repeat_interleave


@composite(method=False)
def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: Any = None, enable_gqa: bool = False) -> Any:  # fmt: skip
    """softmax(QKᵀ · scale + mask) V (Vaswani et al., 2017): query (…, L, E), key (…, S, E), value (…, S, Ev).

    A boolean mask keeps where True, a float mask is added; is_causal keeps the lower triangle. scale is
    1/√E unless given; dropout_p drops weights; enable_gqa repeats the heads (dimension -3) of key and
    value to match query's.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if builtins.min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError("scaled_dot_product_attention: query, key and value must be at least 2-dimensional, got "
                           f"{query.ndim}, {key.ndim} and {value.ndim}")  # fmt: skip
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"scaled_dot_product_attention: expected query (…, L, E), key (…, S, E) and value (…, S, Ev), got "
                           f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}")  # fmt: skip
    if enable_gqa:
        heads = query.shape[-3]
        if heads % key.shape[-3] or heads % value.shape[-3]:
            raise RuntimeError(f"scaled_dot_product_attention: with enable_gqa the query's heads ({heads}) must be a multiple "
                               f"of key's ({key.shape[-3]}) and value's ({value.shape[-3]})")  # fmt: skip
        key = repeat_interleave(key, heads // key.shape[-3], -3)
        value = repeat_interleave(value, heads // value.shape[-3], -3)
    keep = None
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(
            f"scaled_dot_product_attention: dropout probability has to be between 0 and 1, but got {dropout_p}"
        )
    if dropout_p:
        lead = broadcast_shapes(query.shape[:-2], key.shape[:-2])
        keep = keep_mask(query, dropout_p, (*lead, query.shape[-2], key.shape[-2]))
    boolean = attn_mask is not None and attn_mask.dtype is dtypes.bool_
    bias, allowed = (None, attn_mask) if boolean else (attn_mask, None)
    return row("scaled_dot_product_attention", query, key, value, bias, allowed, keep, is_causal=is_causal, scale=scale,
               p=dropout_p)  # fmt: skip


@composite(method=False)
def multi_head_attention_forward(
    query: Any, key: Any, value: Any, embed_dim_to_check: int, num_heads: int, in_proj_weight: Any, in_proj_bias: Any,
    bias_k: Any, bias_v: Any, add_zero_attn: bool, dropout_p: float, out_proj_weight: Any, out_proj_bias: Any,
    training: bool = True, key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None, average_attn_weights: bool = True,
    is_causal: bool = False, *, batch_first: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Concat(head₁, …, head_h) W_O with headᵢ = attention(Q Wᵢ_Q, K Wᵢ_K, V Wᵢ_V) (Vaswani et al., 2017, eq. 2).

    query (L, N, E), key (S, N, Ek), value (S, N, Ev), or without N; (N, L, E) and so on if ``batch_first``.
    Masks are PyTorch's: boolean ones leave out where True, float ones are added to the scores; ``attn_mask`` is
    (L, S) or (N·h, L, S), ``key_padding_mask`` (N, S). ``is_causal`` says that ``attn_mask`` is the causal mask.
    ``bias_k`` and ``bias_v`` are one more key and value, ``add_zero_attn`` another of zeros; ``static_k`` and
    ``static_v`` (N·h, S, E/h) stand for projected keys and values.

    Returns the output, shaped as the query, and with ``need_weights`` the weights after dropout: (N, L, S), the
    mean over heads, or (N, h, L, S); else None. A query that may attend to nothing gets zeros without weights and
    NaN with them, as in PyTorch.
    """
    batched = _batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        n = 0 if batch_first else 1
        query, key, value = (
            query.unsqueeze(n),
            *((key.unsqueeze(n),) * 2 if key is value else (key.unsqueeze(n), value.unsqueeze(n))),
        )
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    embed_dim, head_dim = query.shape[-1], query.shape[-1] // num_heads
    _check_shapes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight, batch_first)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "multi_head_attention_forward: Need attn_mask if specifying the is_causal hint; pass the causal mask too"
        )
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)

    time, batch = (1, 0) if batch_first else (0, 1)
    n, lengths = query.shape[batch], query.shape[time]
    if (bias_k is None) != (bias_v is None):
        raise AssertionError(
            "multi_head_attention_forward: bias_k and bias_v go together, got only one of them"
        )
    extra = 0
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("multi_head_attention_forward: bias cannot be added to static key or value")
        shape = (n, 1, embed_dim) if batch_first else (1, n, embed_dim)
        k, v = (cat((x, expand(b, shape)), time) for x, b in ((k, bias_k), (v, bias_v)))
        extra += 1

    def heads(x: Any) -> Any:  # → (N, h, length, E/h)
        apart = x.reshape(*x.shape[:2], num_heads, head_dim)
        return apart.transpose(1, 2) if batch_first else apart.permute(1, 2, 0, 3)

    q = heads(q)
    k, v = (
        heads(x) if static is None else _static(static, n, num_heads, head_dim)
        for x, static in ((k, static_k), (v, static_v))
    )
    if add_zero_attn:
        zero = zeros(n, num_heads, 1, head_dim, dtype=k.dtype, device=k.device)
        k, v = cat((k, zero), 2), cat((v, zero), 2)
        extra += 1
    causal = is_causal and key_padding_mask is None and not need_weights and not extra
    mask = None
    if not causal:
        mask = _merged(
            attn_mask, key_padding_mask, (n, num_heads, lengths, k.shape[2] - extra), extra, q.dtype
        )
    p = dropout_p if training else 0.0

    if need_weights:
        scores = (q * math.sqrt(1.0 / head_dim)) @ k.transpose(-2, -1)
        if mask is not None:
            scores = row("where", mask, scores, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask
        attention = dropout(scores.softmax(-1), p, True) if p else scores.softmax(-1)
        mixed = attention @ v
    else:
        attention = None
        mixed = scaled_dot_product_attention(q, k, v, mask, p, causal)
    mixed = mixed.transpose(1, 2) if batch_first else mixed.permute(2, 0, 1, 3)
    out = linear(mixed.reshape(*mixed.shape[:2], embed_dim), out_proj_weight, out_proj_bias)
    if attention is not None and average_attn_weights:
        attention = attention.mean(1)
    if not batched:
        out, attention = out.squeeze(batch), None if attention is None else attention.squeeze(0)
    return out, attention


def _batched(query: Any, key: Any, value: Any, key_padding_mask: Any, attn_mask: Any, num_heads: int) -> bool:
    """Whether there is a dimension N; the numbers of dimensions must agree."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(f"multi_head_attention_forward: for {query.ndim}-D query expected key and value to be "
                             f"{query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors")  # fmt: skip
    if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
        raise AssertionError(f"multi_head_attention_forward: for {query.ndim}-D query expected key_padding_mask to be None or "
                             f"{query.ndim - 1}-D but found {key_padding_mask.ndim}-D tensor instead")  # fmt: skip
    if attn_mask is not None and attn_mask.ndim not in (2, 3):
        raise AssertionError(
            f"multi_head_attention_forward: expected attn_mask to be None, 2-D or 3-D but found {attn_mask.ndim}-D tensor"
        )
    if query.ndim == 2 and attn_mask is not None and attn_mask.ndim == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(f"multi_head_attention_forward: expected attn_mask's shape to be {expected} but got "
                                 f"{tuple(attn_mask.shape)}")  # fmt: skip
    return query.ndim == 3


def _check_shapes(
    query: Any, key: Any, value: Any, embed_dim: int, num_heads: int, separate: bool, batch_first: bool
) -> None:
    if query.shape[-1] != embed_dim:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim}, but got {query.shape[-1]}")
    if embed_dim % num_heads:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's {tuple(value.shape[:2])}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
    batch = 0 if batch_first else 1
    if query.shape[batch] != key.shape[batch]:
        raise RuntimeError(f"multi_head_attention_forward: expected query and key of one batch size, got {describe(query)} and "
                           f"{describe(key)} with batch_first={batch_first}")  # fmt: skip


def _projected(query: Any, key: Any, value: Any, weights: Any, bias: Any) -> tuple[Any, Any, Any]:
    """Q W_Q, K W_K, V W_V; in one product where the three, or key and value, are one tensor and so are the weights."""
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    if isinstance(weights, tuple):
        return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))  # type: ignore[return-value]
    if key is value and query is key:
        return linear(query, weights, bias).chunk(3, -1)
    e = query.shape[-1]
    if key is value:
        k, v = linear(key, weights[e:], None if bias is None else bias[e:]).chunk(2, -1)
        return linear(query, weights[:e], biases[0]), k, v
    return tuple(
        linear(x, w, b) for x, w, b in zip((query, key, value), weights.chunk(3), biases, strict=True)
    )  # type: ignore[return-value]


def _static(x: Any, n: int, num_heads: int, head_dim: int) -> Any:
    if x.ndim != 3 or x.shape[0] != n * num_heads or x.shape[2] != head_dim:
        raise AssertionError(f"multi_head_attention_forward: expected static key and value ({n * num_heads}, S, {head_dim}), got "
                             f"{tuple(x.shape)}")  # fmt: skip
    return x.reshape(n, num_heads, x.shape[1], head_dim)


def _merged(
    attn_mask: Any, key_padding_mask: Any, shape: tuple[int, int, int, int], extra: int, dtype: Any
) -> Any:
    """One mask that broadcasts to (N, h, L, S + extra): boolean, True where allowed, if both are; else added to the scores.

    The ``extra`` keys at the end are everyone's.
    """
    n, num_heads, length, keys = shape
    masks = []
    if attn_mask is not None:
        _check_dtype("attn_mask", attn_mask)
        expected = (length, keys) if attn_mask.ndim == 2 else (n * num_heads, length, keys)
        if tuple(attn_mask.shape) != expected:
            raise RuntimeError(
                f"The shape of the {attn_mask.ndim}D attn_mask is {tuple(attn_mask.shape)}, but should be {expected}."
            )
        masks.append(attn_mask if attn_mask.ndim == 2 else attn_mask.reshape(*shape))
    if key_padding_mask is not None:
        _check_dtype("key_padding_mask", key_padding_mask)
        if tuple(key_padding_mask.shape) != (n, keys):
            raise AssertionError(f"Expected key_padding_mask.shape[0] to be {n} and .shape[1] to be {keys}, but got "
                                 f"{tuple(key_padding_mask.shape)}")  # fmt: skip
        masks.append(key_padding_mask.reshape(n, 1, 1, keys))
    if not masks:
        return None
    if builtins.all(m.dtype is dtypes.bool_ for m in masks):
        left_out = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        return ~(pad(left_out, (0, extra)) if extra else left_out)
    added = [_added(m, dtype) for m in masks]
    bias = added[0] if len(added) == 1 else added[0] + added[1]
    return pad(bias, (0, extra)) if extra else bias


def _added(mask: Any, dtype: Any) -> Any:
    """A mask as what is added to scores: -∞ where a boolean one leaves out."""
    return (
        row("where", mask, -math.inf, zeros((), dtype=dtype, device=mask.device))
        if mask.dtype is dtypes.bool_
        else mask
    )


def _check_dtype(name: str, mask: Any) -> None:
    if mask.dtype is not dtypes.bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")


@composite(method=False)
def rotary_embedding(input: Any, cos: Any, sin: Any, interleaved: bool = False) -> Any:
    """Pairs of channels turned by angles: (a cos - b sin, b cos + a sin) (Su et al., 2021, eq. 34).

    input (…, T, d), cos and sin broadcast to (…, T, d/2); a pair is channels i and i + d/2, or 2i and 2i + 1 if interleaved.
    """
    if (
        input.ndim < 1
        or input.shape[-1] % 2
        or cos.shape != sin.shape
        or cos.shape[-1] * 2 != input.shape[-1]
    ):
        raise RuntimeError(f"rotary_embedding: expected input (…, T, d) with d even, cos and sin (…, T, d / 2), got "
                           f"{list(input.shape)}, {list(cos.shape)} and {list(sin.shape)}")  # fmt: skip
    return row("rotary_embedding", input, cos, sin, interleaved=interleaved)
