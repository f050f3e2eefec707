"""Llama: a decoder with RMSNorm, rotary positions, grouped queries and SwiGLU (Touvron et al., 2023, arXiv:2302.13971).

Mistral (Jiang et al., 2023) looks back over a window, Qwen2 (Yang et al., 2024) has biases before its attention; they
are configurations here. Names are Hugging Face's. B is the batch, T tokens, D ``hidden_size``, V ``vocab_size``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..functions.creation import arange
from ..tensor import Tensor
from .attention import key_mask, of_heads, token_ids
from .configuration import PretrainedConfig, activation
from .generation import Generation
from .outputs import HeadOutput, ModelOutput, every, next_token_loss
from .pretrained import PreTrained


@dataclass(kw_only=True)
class LlamaConfig(PretrainedConfig):
    """Llama's sizes; the defaults are those of 7B."""

    model_type: ClassVar[str] = "llama"
    only: ClassVar[dict[str, Any]] = {"pretraining_tp": 1}

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None  # as many as heads
    head_dim: int | None = None  # hidden_size / heads
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None  # the two above in one, as transformers 5 writes them
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        if self.head_dim is None:
            self.heads_divide(self.hidden_size, self.num_attention_heads)
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{type(self).__name__}: num_attention_heads ({self.num_attention_heads}) is not a multiple of "
                             f"num_key_value_heads ({self.num_key_value_heads})")  # fmt: skip
        rope = dict(self.rope_parameters or {})
        self.rope_theta = rope.pop("rope_theta", self.rope_theta)
        self.rope_scaling = self.rope_scaling or (
            rope if rope.get("rope_type", "default") != "default" else None
        )
        self.rope_parameters = {
            "rope_type": "default",
            **(self.rope_scaling or {}),
            "rope_theta": self.rope_theta,
        }

    @property
    def heads(self) -> tuple[int, int, int]:
        """Heads of queries, heads of keys and values, channels of each."""
        return self.num_attention_heads, self.num_key_value_heads or 0, self.head_dim or 0

    @property
    def biases(self) -> tuple[bool, bool]:
        """Whether the query's, key's and value's projections have biases; and the output's."""
        return self.attention_bias, self.attention_bias

    @property
    def window(self) -> int | None:
        """How many tokens, its own included, a token sees; None for all before it."""
        return None


@dataclass(kw_only=True)
class MistralConfig(LlamaConfig):
    """Mistral's sizes; the defaults are those of 7B."""

    model_type: ClassVar[str] = "mistral"

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 4096 * 32
    sliding_window: int | None = 4096

    @property
    def window(self) -> int | None:
        return self.sliding_window


@dataclass(kw_only=True)
class Qwen2Config(LlamaConfig):
    """Qwen2's sizes; the defaults are transformers'."""

    model_type: ClassVar[str] = "qwen2"
    only: ClassVar[dict[str, Any]] = {"use_sliding_window": False}

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    @property
    def biases(self) -> tuple[bool, bool]:
        return True, False


class LlamaAttention(nn.Module):
    """Attention of rotated queries and keys, one key and value for a group of queries (Ainslie et al., 2023)."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.groups, self.head_dim = config.heads
        width, (inward, outward) = config.hidden_size, config.biases
        self.q_proj = nn.Linear(width, self.heads * self.head_dim, bias=inward)
        self.k_proj = nn.Linear(width, self.groups * self.head_dim, bias=inward)
        self.v_proj = nn.Linear(width, self.groups * self.head_dim, bias=inward)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=outward)
        self.p = config.attention_dropout

    def forward(
        self, x: Tensor, rotary: nn.Module, positions: Tensor | None, mask: Tensor | None, cache: Any, weights: Any
    ) -> Tensor:  # fmt: skip
        def heads(y: Tensor) -> Tensor:  # → (B, heads, T, head_dim)
            return y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

        q = rotary(heads(self.q_proj(x)), positions)
        k = rotary(heads(self.k_proj(x)), positions)
        v = heads(self.v_proj(x))
        if cache is not None:
            return self.o_proj(cache.attend(self.layer, q, k, v).transpose(1, 2).flatten(2))
        p = self.p if self.training else 0.0
        return self.o_proj(of_heads(q, k, v, mask, p, weights, is_causal=mask is None))


class LlamaMLP(nn.SwiGLU):
    """W_down (act(W_gate x) · W_up x)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.act = activation(config.hidden_act)

    def forward(self, input: Tensor) -> Tensor:
        return self.down_proj(self.act(self.gate_proj(input)) * self.up_proj(input))


class LlamaDecoderLayer(nn.Module):
    """h = x + Attention(RMSNorm(x)); h + MLP(RMSNorm(h))."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(config, layer), LlamaMLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, *where: Any) -> Tensor:
        h = x + self.self_attn(self.input_layernorm(x), *where)
        return h + self.mlp(self.post_attention_layernorm(h))


class LlamaPreTrained(PreTrained):
    """What Llama with and without a head share."""

    config_class = LlamaConfig
    base_model_prefix = "model"
    _keys_to_ignore_on_load_unexpected = (r"rotary_emb\.inv_freq$",)


class LlamaModel(LlamaPreTrained):
    """States (B, T, D) of tokens (B, T), each of which sees itself and those before it.

    ``attention_mask`` (B, T) is 1 for tokens and 0 for padding. With a ``cache`` the tokens are the next of its texts.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([LlamaDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = nn.RotaryEmbedding(
            config.heads[2], config.max_position_embeddings, config.rope_theta, scaling=config.rope_scaling
        )

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, *, cache: nn.KVCache | None = None,
        output_attentions: bool = False, output_hidden_states: bool = False,
    ) -> ModelOutput:  # fmt: skip
        ids = token_ids(input_ids, self.config.max_position_embeddings)
        if cache is not None and position_ids is None:
            position_ids = cache.positions(ids.shape[1])
        mask = None if cache is not None else self._mask(attention_mask, ids)
        x = self.embed_tokens(ids)
        weights: list[Tensor] | None = [] if output_attentions else None
        states = [x]
        for layer in self.layers:
            x = layer(x, self.rotary_emb, position_ids, mask, cache, weights)
            states.append(x)
        states[-1] = x = self.norm(x)
        if cache is not None:
            cache.advance(ids.shape[1])
        return ModelOutput(x, every(states if output_hidden_states else None), every(weights))

    def _mask(self, attention_mask: Any, ids: Tensor) -> Tensor | None:
        """True where a query may look; None where that is everywhere before it."""
        length, window, padding = ids.shape[1], self.config.window, key_mask(attention_mask, ids)
        if padding is None and (window is None or window >= length):
            return None
        t = arange(length, device=ids.device)
        mask = t <= t[:, None]
        if window is not None:
            mask = mask & (t > t[:, None] - window)
        return mask if padding is None else mask & padding


class LlamaForCausalLM(LlamaPreTrained, Generation):
    """Which token comes next: logits (B, T, V); ``labels`` (B, T) are the tokens themselves, -100 where none is asked for.

    ``logits_to_keep`` asks for those of the last tokens only.
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self, input_ids: Any, *inputs: Any, labels: Any = None, logits_to_keep: int = 0, **how: Any
    ) -> HeadOutput:
        out = self.model(input_ids, *inputs, **how)
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])
        return HeadOutput(next_token_loss(logits, labels), logits, out.hidden_states, out.attentions)

    def new_cache(self, batch: int, length: int, **how: Any) -> nn.KVCache:
        _, groups, head_dim = self.config.heads
        return nn.KVCache(self.config.num_hidden_layers, batch, groups, length, head_dim,
                          dtype=self.lm_head.weight.dtype, window=self.config.window, **how)  # fmt: skip


class MistralModel(LlamaModel):
    """Llama's network, looking back over a window."""

    config_class = MistralConfig


class MistralForCausalLM(LlamaForCausalLM):
    """Llama's network, looking back over a window."""

    config_class = MistralConfig


class Qwen2Model(LlamaModel):
    """Llama's network, with biases before its attention."""

    config_class = Qwen2Config


class Qwen2ForCausalLM(LlamaForCausalLM):
    """Llama's network, with biases before its attention."""

    config_class = Qwen2Config
