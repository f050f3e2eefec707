"""Attention of several heads, and what models check of their inputs before it."""

from __future__ import annotations

import math
from typing import Any

from ..nn import functional as F
from ..tensor import Tensor, as_tensor


def attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None, dropout_p: float = 0.0,
    weights: list[Tensor] | None = None, is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(QKᵀ/√d) V in each head, side by side (Vaswani et al., 2017, 3.2.2): (B, T, H·d) three times, as is the result.

    For the rest see :func:`of_heads`.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))  # (B, H, T, d)
    return of_heads(q, k, v, mask, dropout_p, weights, is_causal, scale)


def of_heads(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0,
    weights: list[Tensor] | None = None, is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """:func:`attention` of q (B, H, L, d) and k, v (B, H or one for a group of them, S, d).

    ``mask``, broadcast to (B, H, L, S), is True where a query may look, or is added to the scores; ``is_causal``
    lets it look at itself and what is before. A query that may look nowhere gets zeros. Where there is a list of
    ``weights`` those after dropout, (B, H, L, S), become its last.
    """
    if is_causal and (weights is not None or mask is not None):
        earlier = q.new_ones(q.shape[-2], k.shape[-2]).tril().bool()
        mask = earlier if mask is None else mask & earlier
        is_causal = False
    groups = q.shape[1] // k.shape[1]
    if weights is None:
        context = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p, is_causal, scale=scale, enable_gqa=groups > 1
        )
    else:
        k, v = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (k, v))
        scores = (
            q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        )  # (B, H, L, S)
        if mask is not None and mask.is_floating_point():
            bias, mask = mask, mask > -math.inf
            scores = scores + bias.masked_fill(~mask, 0.0)
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e4 if scores.element_size() == 2 else -1e30)
        shares = F.softmax(scores, dim=-1)
        if mask is not None:
            shares = shares.masked_fill(~mask, 0.0)
        weights.append(F.dropout(shares, dropout_p, dropout_p > 0))
        context = weights[-1] @ v
    return context.transpose(1, 2).flatten(2)


def token_ids(input_ids: Any, positions: int, name: str = "input_ids") -> Tensor:
    """Integers (B, T) of a Tensor or array, T at most the number of positions."""
    ids = input_ids if isinstance(input_ids, Tensor) else as_tensor(input_ids)
    if ids.dtype.category != 1:
        raise TypeError(f"{name}: expected integers, got {ids.dtype.name}; a tokenizer makes them of text")
    if ids.ndim != 2:
        raise ValueError(
            f"{name}: expected shape (batch, tokens), got {tuple(ids.shape)}; one sequence is ids[None]"
        )
    if ids.shape[1] > positions:
        raise ValueError(f"{name}: sequences of {ids.shape[1]} tokens are longer than the model's {positions} positions; cut "
                         f"them (truncation=True, max_length={positions} in the tokenizer)")  # fmt: skip
    return ids


def beside(value: Any, ids: Tensor, name: str) -> Tensor | None:
    """A second array of integers for the same tokens: ``token_type_ids``, ``position_ids``."""
    if value is None:
        return None
    value = value if isinstance(value, Tensor) else as_tensor(value)
    if value.ndim != 2 or value.shape[1] != ids.shape[1] or value.shape[0] not in (1, ids.shape[0]):
        raise ValueError(
            f"{name}: expected the shape of input_ids, {tuple(ids.shape)}, got {tuple(value.shape)}"
        )
    return value


def key_mask(attention_mask: Any, ids: Tensor) -> Tensor | None:
    """Ones and zeros, or booleans, (B, T) of keys, or (B, T, T) of queries and keys, as booleans that broadcast."""
    if attention_mask is None:
        return None
    mask = attention_mask if isinstance(attention_mask, Tensor) else as_tensor(attention_mask)
    if mask.dtype.category == 2:  # an additive mask would be taken for its opposite
        raise TypeError(f"attention_mask: expected ones and zeros as integers or booleans, got {mask.dtype.name}; for an "
                        f"additive mask pass mask == 0")  # fmt: skip
    batch, length = ids.shape
    if tuple(mask.shape) not in ((batch, length), (batch, length, length)):
        raise ValueError(f"attention_mask: expected shape ({batch}, {length}) or ({batch}, {length}, {length}) for input_ids "
                         f"of ({batch}, {length}), got {tuple(mask.shape)}")  # fmt: skip
    mask = mask != 0
    return mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]


def sources(config: Any, states: Tensor | None, mask: Any) -> tuple[Tensor | None, Tensor | None]:
    """Another model's states (B, S, D) for cross attention, and where they may be looked at."""
    if states is None:
        return None, None
    if not config.add_cross_attention:
        raise ValueError(f"encoder_hidden_states: this model has no cross attention; make it of a {type(config).__name__} "
                         f"with add_cross_attention=True")  # fmt: skip
    return states, key_mask(mask, states[..., 0])
