"""GPT-2: a decoder that reads from left to right (Radford et al., 2019, "Language Models are Unsupervised Multitask
Learners").

Names are Hugging Face's, and so are the linear maps' weights, (in, out). B is the batch, T tokens, D ``n_embd``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..functions.creation import arange, empty
from ..nn import functional as F
from ..tensor import Tensor
from .attention import attention, beside, key_mask, sources, token_ids
from .configuration import PretrainedConfig, activation
from .generation import Generation
from .outputs import HeadOutput, ModelOutput, every, next_token_loss
from .pretrained import PreTrained


@dataclass(kw_only=True)
class GPT2Config(PretrainedConfig):
    """GPT-2's sizes; the defaults are those of its smallest, of 124 million parameters."""

    model_type: ClassVar[str] = "gpt2"
    only: ClassVar[dict[str, Any]] = {"pruned_heads": {}}

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True  # scores times 1/√d
    scale_attn_by_inverse_layer_idx: bool = False  # and times 1/(layer + 1)
    reorder_and_upcast_attn: bool = False  # scores of halves in float32: as they are here anyway
    add_cross_attention: bool = False  # to another model's states, encoder_hidden_states
    bias: bool = True  # False leaves out every bias, as nanoGPT can
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads_divide(self.n_embd, self.n_head)

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        if self.bias:  # which is not in others' files
            del values["bias"]
        return values

    @property
    def hidden_size(self) -> int:
        return self.n_embd

    @property
    def max_position_embeddings(self) -> int:
        return self.n_positions


class Conv1D(nn.Module):
    """x W + b with W (in, out): a convolution of width one, as GPT-2's authors wrote it."""

    def __init__(self, nf: int, nx: int, residual: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(empty(nx, nf))
        self.register_parameter("bias", nn.Parameter(empty(nf)) if bias else None)
        self.residual = residual  # does it end a half of a layer?

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.T, self.bias)


class GPT2Attention(nn.Module):
    """Attention(x W_Q, x W_K, x W_V) W_O, each token to itself and those before it; the first three are one matrix.

    With ``cross`` keys and values are another model's states times one matrix, and all of them are seen.
    """

    def __init__(self, config: GPT2Config, layer: int, cross: bool = False) -> None:
        super().__init__()
        self.layer, self.heads, self.p, self.cross = layer, config.n_head, config.attn_pdrop, cross
        width = config.n_embd // config.n_head
        self.scale = 1 / math.sqrt(width) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer + 1
        self.c_attn = Conv1D((2 if cross else 3) * config.n_embd, config.n_embd, bias=config.bias)
        if cross:
            self.q_attn = Conv1D(config.n_embd, config.n_embd, bias=config.bias)
        self.c_proj = Conv1D(config.n_embd, config.n_embd, residual=True, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, mask: Any, weights: Any, cache: Any = None, source: Any = None) -> Tensor:
        if self.cross:
            q, (k, v) = self.q_attn(x), self.c_attn(source).chunk(2, -1)
        else:
            q, k, v = self.c_attn(x).chunk(3, -1)
        p = self.p if self.training else 0.0
        if cache is not None:
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
            context = cache.attend(self.layer, q, k, v, self.scale).transpose(1, 2).flatten(2)
        else:
            context = attention(q, k, v, self.heads, mask, p, weights, not self.cross, self.scale)
        return self.resid_dropout(self.c_proj(context))


class GPT2MLP(nn.Module):
    """act(x W₁ + b₁) W₂ + b₂."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = Conv1D(inner, config.n_embd, bias=config.bias)
        self.c_proj = Conv1D(config.n_embd, inner, residual=True, bias=config.bias)
        self.act, self.dropout = activation(config.activation_function), nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class GPT2Block(nn.Module):
    """h = x + Attention(LayerNorm(x)), with cross attention the same of the source; h + MLP(LayerNorm(h))."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        width, eps = config.n_embd, config.layer_norm_epsilon
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, eps, bias=config.bias) for _ in range(2))
        self.attn, self.mlp = GPT2Attention(config, layer), GPT2MLP(config)
        if config.add_cross_attention:
            self.crossattention = GPT2Attention(config, layer, cross=True)
            self.ln_cross_attn = nn.LayerNorm(width, eps, bias=config.bias)

    def forward(
        self, x: Tensor, mask: Any, cache: Any, source: Any, source_mask: Any, weights: Any
    ) -> Tensor:
        h = x + self.attn(self.ln_1(x), mask, weights[0], cache)
        if source is not None:
            y = self.ln_cross_attn(h)
            h = h + self.crossattention(y, source_mask, weights[1], source=source)
        return h + self.mlp(self.ln_2(h))


class GPT2PreTrained(PreTrained):
    """What GPT-2 with and without a head share."""

    config_class = GPT2Config
    base_model_prefix = "transformer"
    _keys_to_ignore_on_load_unexpected = (r"\.attn\.(masked_)?bias$",)  # masks, kept as buffers once

    def _init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """As everywhere, but what is added to the residual stream is divided by √(number of such sums)."""
        if name == "weight" and getattr(module, "residual", False):
            std = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
            nn.init.normal_(parameter, 0.0, std)
        else:
            super()._init_parameter(module, name, parameter)


class GPT2Model(GPT2PreTrained):
    """States (B, T, D) of tokens (B, T), each of those up to it; the last layer's are normalised.

    ``attention_mask`` (B, T) is 1 for tokens and 0 for padding. Padding on the left needs ``position_ids``. With a
    ``cache`` the tokens are the next of its texts. A model with cross attention reads ``encoder_hidden_states``
    (B, S, D) where ``encoder_attention_mask`` (B, S) is 1.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList([GPT2Block(config, i) for i in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon, bias=config.bias)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, *, cache: nn.KVCache | None = None,
        encoder_hidden_states: Tensor | None = None, encoder_attention_mask: Any = None, output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> ModelOutput:  # fmt: skip
        ids = token_ids(input_ids, self.config.n_positions)
        mask, places = key_mask(attention_mask, ids), beside(position_ids, ids, "position_ids")
        if places is None:
            places = (
                arange(ids.shape[1], device=ids.device) if cache is None else cache.positions(ids.shape[1])
            )
        x = self.drop(self.wte(ids) + self.wpe(places))
        source = sources(self.config, encoder_hidden_states, encoder_attention_mask)
        weights: Any = ([], []) if output_attentions else (None, None)
        states = [x]
        for block in self.h:
            states.append(block(states[-1], mask, cache, *source, weights))
        states[-1] = self.ln_f(states[-1])
        if cache is not None:
            cache.advance(ids.shape[1])
        return ModelOutput(states[-1], every(states if output_hidden_states else None), *map(every, weights))


class GPT2LMHeadModel(GPT2PreTrained, Generation):
    """Logits (B, T, vocab_size) of the next token, x Eᵀ with E the table of tokens.

    ``labels`` (B, T) are the tokens themselves, -100 where none counts: the loss compares each with what stood
    before it. ``logits_to_keep`` asks for the logits of the last tokens only.
    """

    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}  # noqa: RUF012

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(
        self, input_ids: Any, *inputs: Any, labels: Any = None, logits_to_keep: int = 0, **how: Any
    ) -> HeadOutput:
        out = self.transformer(input_ids, *inputs, **how)
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])
        return HeadOutput(next_token_loss(logits, labels), logits, *out[1:])

    def new_cache(self, batch: int, length: int, **how: Any) -> nn.KVCache:
        c = self.config
        return nn.KVCache(
            c.n_layer, batch, c.n_head, length, c.n_embd // c.n_head, dtype=self.lm_head.weight.dtype, **how
        )
