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
from ..tensor import Tensor
from .attention import attention, beside, key_mask, token_ids
from .configuration import PretrainedConfig, activation
from .outputs import HeadOutput, ModelOutput, as_labels, token_loss
from .pretrained import PreTrained


@dataclass(kw_only=True)
class GPT2Config(PretrainedConfig):
    """GPT-2's sizes; the defaults are those of its smallest, of 124 million parameters."""

    model_type: ClassVar[str] = "gpt2"
    only: ClassVar[dict[str, Any]] = {
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "add_cross_attention": False, "pruned_heads": {},
    }  # fmt: skip

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
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads_divide(self.n_embd, self.n_head)

    @property
    def hidden_size(self) -> int:
        return self.n_embd

    @property
    def max_position_embeddings(self) -> int:
        return self.n_positions


class Conv1D(nn.Module):
    """x W + b with W (in, out): a convolution of width one, as GPT-2's authors wrote it."""

    def __init__(self, nf: int, nx: int, residual: bool = False) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(empty(nx, nf)), nn.Parameter(empty(nf))
        self.residual = residual  # does it end a half of a layer?

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class GPT2Attention(nn.Module):
    """Attention(x W_Q, x W_K, x W_V) W_O, each token to itself and those before it; the first three are one matrix."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.heads, self.p = config.n_head, config.attn_pdrop
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd, residual=True)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.c_attn(x).chunk(3, -1)
        p = self.p if self.training else 0.0
        context, weights = attention(q, k, v, self.heads, mask, p, need_weights, is_causal=True)
        return self.resid_dropout(self.c_proj(context)), weights


class GPT2MLP(nn.Module):
    """act(x W₁ + b₁) W₂ + b₂."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc, self.c_proj = Conv1D(inner, config.n_embd), Conv1D(config.n_embd, inner, residual=True)
        self.act, self.dropout = activation(config.activation_function), nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class GPT2Block(nn.Module):
    """h = x + Attention(LayerNorm(x)); h + MLP(LayerNorm(h))."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(config.n_embd, config.layer_norm_epsilon) for _ in range(2))
        self.attn, self.mlp = GPT2Attention(config), GPT2MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        y, weights = self.attn(self.ln_1(x), mask, need_weights)
        h = x + y
        return h + self.mlp(self.ln_2(h)), weights


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

    ``attention_mask`` (B, T) is 1 for tokens and 0 for padding. Padding on the left needs ``position_ids``.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList([GPT2Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, *, output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> ModelOutput:  # fmt: skip
        ids = token_ids(input_ids, self.config.n_positions)
        mask, places = key_mask(attention_mask, ids), beside(position_ids, ids, "position_ids")
        x = self.drop(
            self.wte(ids) + self.wpe(arange(ids.shape[1], device=ids.device) if places is None else places)
        )
        states, attentions = [x], []
        for block in self.h:
            x, weights = block(x, mask, output_attentions)
            states.append(x)
            attentions.append(weights)
        states[-1] = self.ln_f(x)
        return ModelOutput(
            states[-1],
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )


class GPT2LMHeadModel(GPT2PreTrained):
    """Logits (B, T, vocab_size) of the next token, x Eᵀ with E the table of tokens.

    ``labels`` (B, T) are the tokens themselves, -100 where none counts: the loss compares each with what stood
    before it.
    """

    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}  # noqa: RUF012

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.transformer(input_ids, *inputs, **how)
        logits = self.lm_head(out.last_hidden_state)
        loss = None if labels is None else token_loss(logits[:, :-1], as_labels(labels)[:, 1:])
        return HeadOutput(loss, logits, out.hidden_states, out.attentions)
