"""Attention as a layer: MultiheadAttention."""

from __future__ import annotations

from typing import Any

from ..functions.creation import empty
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter


class NonDynamicallyQuantizableLinear(Linear):
    """Linear, under the name that PyTorch prints for an attention's output projection."""


class MultiheadAttention(Module):
    """Concat(head₁, …, head_h) W_O with headᵢ = softmax(Q Wᵢ_Q (K Wᵢ_K)ᵀ / √d + mask) V Wᵢ_V (Vaswani et al., 2017, eq. 2).

    query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim); (N, L, …) with ``batch_first``; N may be left out.
    ``in_proj_weight`` (3·embed_dim, embed_dim) holds W_Q, W_K, W_V below each other; ``q_proj_weight`` and so on stand
    instead where ``kdim`` or ``vdim`` differ. They begin as Glorot's uniform, biases as 0.

    Returns the output and, with ``need_weights``, the weights after dropout: (N, L, S), averaged over the heads, or
    (N, heads, L, S). ``key_padding_mask`` (N, S) and ``attn_mask`` (L, S) or (N·heads, L, S) leave out where True, or
    are added to the scores. ``is_causal`` says that ``attn_mask`` is the causal mask. ``need_weights=False`` is faster.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads, got embed_dim={embed_dim} and num_heads={num_heads}"
            )
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn

        def made(*shape: int, there: bool = True) -> Parameter | None:
            return Parameter(empty(*shape, device=device, dtype=dtype)) if there else None

        separate = not self._qkv_same_embed_dim
        self.register_parameter("q_proj_weight", made(embed_dim, embed_dim, there=separate))
        self.register_parameter("k_proj_weight", made(embed_dim, self.kdim, there=separate))
        self.register_parameter("v_proj_weight", made(embed_dim, self.vdim, there=separate))
        self.register_parameter("in_proj_weight", made(3 * embed_dim, embed_dim, there=not separate))
        self.register_parameter("in_proj_bias", made(3 * embed_dim, there=bias))
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        self.bias_k, self.bias_v = (
            made(1, 1, embed_dim, there=add_bias_kv),
            made(1, 1, embed_dim, there=add_bias_kv),
        )
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight, self.in_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        return F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias,
            training=self.training, key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim, q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight, v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
            batch_first=self.batch_first and query.ndim == 3,
        )  # fmt: skip
