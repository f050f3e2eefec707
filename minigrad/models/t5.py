"""T5: a Transformer whose positions are a bias of the scores, norms before each part (Raffel et al., 2020, arXiv:1910.10683).

Names are Hugging Face's. B is the batch, S tokens of the source, T of the target, D ``d_model``, V ``vocab_size``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..nn import init
from ..tensor import Tensor
from .attention import key_mask, of_heads, token_ids
from .configuration import PretrainedConfig, activation
from .generation import FromSource
from .outputs import SourceOutput, as_labels, every, token_loss
from .pretrained import PreTrained

_ANY_LENGTH = 1 << 20  # positions are distances


@dataclass(kw_only=True)
class T5Config(PretrainedConfig):
    """T5's sizes; the defaults are t5-small's. ``feed_forward_proj`` is an activation, "gated-" before it for v1.1 (Shazeer, 2020)."""

    model_type: ClassVar[str] = "t5"

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    decoder_start_token_id: int | None = 0
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_layers

    @property
    def max_position_embeddings(self) -> int:
        """Any distance has a bucket."""
        return _ANY_LENGTH


class T5Attention(nn.Module):
    """softmax(Q Kᵀ + bias) V W_O, unscaled; the first layer of each stack holds the bias of positions for all."""

    def __init__(self, config: T5Config, bias: bool = False, bidirectional: bool = False) -> None:
        super().__init__()
        self.heads, inner = config.num_heads, config.num_heads * config.d_kv
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.d_model, bias=False)
        if bias:
            buckets, farthest = config.relative_attention_num_buckets, config.relative_attention_max_distance
            positions = nn.RelativePositionBias(config.num_heads, buckets, farthest, bidirectional)
            self.relative_attention_bias = positions.relative_attention_bias
            object.__setattr__(self, "positions", positions)  # whose table is this module's own
        self.p = config.dropout_rate

    def heads_of(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, T, H·d) → (B, H, T, d)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads_of(self.k(memory)), self.heads_of(self.v(memory))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, bias: Any, weights: list[Any] | None
    ) -> Tensor:
        p = self.p if self.training else 0.0
        return self.o(of_heads(self.heads_of(self.q(x)), keys, values, bias, p, weights, scale=1.0))


class T5FeedForward(nn.Module):
    """act(x W_i) W_o, or gated: (act(x W_0) · x W_1) W_o."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        name = config.feed_forward_proj.removeprefix("gated-")
        self.gated = name != config.feed_forward_proj
        self.act = activation("gelu_new" if self.gated and name == "gelu" else name)
        for part in ("wi_0", "wi_1") if self.gated else ("wi",):
            setattr(self, part, nn.Linear(config.d_model, config.d_ff, bias=False))
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.wi_0(x)) * self.wi_1(x) if self.gated else self.act(self.wi(x))
        return self.wo(self.dropout(inner))


class T5Part(nn.Module):
    """x + dropout(part(RMSNorm(x))): each part of a block."""

    def __init__(self, config: T5Config, name: str, part: nn.Module) -> None:
        super().__init__()
        setattr(self, name, part)
        self.layer_norm = nn.RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)


class T5Block(nn.Module):
    """Attention to its own, in the decoder to the source, and the feed-forward part."""

    def __init__(self, config: T5Config, decoder: bool, first: bool) -> None:
        super().__init__()
        own = T5Part(config, "SelfAttention", T5Attention(config, first, not decoder))
        other = [T5Part(config, "EncDecAttention", T5Attention(config))] if decoder else []
        self.layer = nn.ModuleList([own, *other, T5Part(config, "DenseReluDense", T5FeedForward(config))])

    def forward(
        self, x: Tensor, bias: Any, source: Any = None, source_bias: Any = None, cache: Any = None, i: int = 0,
        weights: Any = (None, None),
    ) -> Tensor:  # fmt: skip
        own, part = self.layer[0].SelfAttention, self.layer[0]
        y = part.layer_norm(x)
        if cache is None:
            y = own(y, *own.keys_values(y), bias, weights[0])
        else:
            mixed = cache.attend(i, own.heads_of(own.q(y)), *own.keys_values(y), scale=1.0, bias=bias)
            y = own.o(mixed.transpose(1, 2).flatten(2))
        x = x + part.dropout(y)
        if source is not None:
            part = self.layer[1]
            y = part.EncDecAttention(part.layer_norm(x), *source, source_bias, weights[1])
            x = x + part.dropout(y)
        part = self.layer[-1]
        return x + part.dropout(part.DenseReluDense(part.layer_norm(x)))


class T5Stack(nn.Module):
    """Blocks and a last norm: the encoder, or the decoder."""

    def __init__(self, config: T5Config, shared: nn.Module, decoder: bool) -> None:
        super().__init__()
        layers = (config.num_decoder_layers if decoder else config.num_layers) or 0
        self.embed_tokens, self.decoder = shared, decoder
        self.block = nn.ModuleList([T5Block(config, decoder, i == 0) for i in range(layers)])
        self.final_layer_norm = nn.RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def sources(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each block's keys and values of the encoder's states."""
        return [block.layer[1].EncDecAttention.keys_values(memory) for block in self.block]

    def forward(
        self, ids: Tensor, mask: Any = None, sources: Any = None, source_bias: Any = None, cache: Any = None,
        weights: Any = (None, None),
    ) -> Tensor:  # fmt: skip
        positions = self.block[0].layer[0].SelfAttention.positions
        if cache is not None:
            bias = positions.by_distance(cache.length)
        else:
            bias = positions(ids.shape[1])  # (1, H, T, T)
            if self.decoder:
                bias = bias.masked_fill(bias.new_ones(ids.shape[1], ids.shape[1]).triu(1).bool(), -math.inf)
            if mask is not None:
                bias = bias.masked_fill(~mask, -math.inf)
        x = self.dropout(self.embed_tokens(ids))
        for i, block in enumerate(self.block):
            x = block(x, bias, sources and sources[i], source_bias, cache, i, weights)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.dropout(self.final_layer_norm(x))


class T5ForConditionalGeneration(PreTrained, FromSource):
    """Which token of the target comes next: logits (B, T, V) of a source (B, S) and a target (B, T).

    ``labels`` (B, T), -100 where none is asked for, are the target; ``decoder_input_ids`` are they moved right by one
    unless given. ``attention_mask`` (B, S) is the source's.
    """

    config_class = T5Config
    _tied_weights_keys = {"lm_head.weight": "shared.weight"}  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = (
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$",
    )

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder, self.decoder = (T5Stack(config, self.shared, decoder) for decoder in (False, True))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.factor = config.d_model**-0.5 if config.tie_word_embeddings else 1.0

    @property
    def start(self) -> Any:
        return self.config.decoder_start_token_id

    def encoded(
        self, ids: Tensor, mask: Tensor | None, places: Tensor | None = None, weights: Any = None
    ) -> Tensor:
        return self.encoder(ids, mask, weights=(weights, None))  # whose positions are distances

    def sources(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.decoder.sources(memory)

    def decoded(
        self, ids: Tensor, sources: Any, mask: Any, cache: Any = None, weights: Any = (None, None)
    ) -> Tensor:
        return self.decoder(ids, None, sources, mask, cache, weights)

    def logits_of(self, states: Tensor) -> Tensor:
        return self.lm_head(self.factor * states)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, decoder_input_ids: Any = None, *, labels: Any = None,
        output_attentions: bool = False,
    ) -> SourceOutput:  # fmt: skip
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError(
                    "T5: expected decoder_input_ids or labels, got neither; generate() writes a target"
                )
            decoder_input_ids = self.moved_right(as_labels(labels))
        ids = token_ids(input_ids, _ANY_LENGTH)
        target = token_ids(decoder_input_ids, _ANY_LENGTH, "decoder_input_ids")
        mask = key_mask(attention_mask, ids)
        weights: Any = ([], [], []) if output_attentions else (None, None, None)
        sources = self.sources(self.encoded(ids, mask, weights=weights[0]))
        logits = self.logits_of(self.decoded(target, sources, mask, weights=weights[1:]))
        return SourceOutput(token_loss(logits, labels), logits, *map(every, weights))

    def new_cache(self, batch: int, length: int, **how: Any) -> nn.KVCache:
        c = self.config
        return nn.KVCache(
            c.num_decoder_layers, batch, c.num_heads, length, c.d_kv, dtype=self.shared.weight.dtype, **how
        )

    def _init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """N(0, σ²), σ so that each product keeps the variance of its input (Mesh TensorFlow's, as in the paper's code)."""
        c, factor = self.config, self.config.initializer_factor
        if parameter.ndim < 2:
            init.constant_(parameter, factor)
        elif isinstance(module, nn.Embedding):
            words = parameter.shape[0] == c.vocab_size
            init.normal_(parameter, 0.0, factor if words else factor * c.d_model**-0.5)
        elif module is self.lm_head:
            init.normal_(parameter, 0.0, factor)
        else:
            inner = c.num_heads * c.d_kv
            queries = parameter.shape == (inner, c.d_model) and self._is_query(module)
            fan = parameter.shape[1] * (c.d_kv if queries else 1)
            init.normal_(parameter, 0.0, factor * fan**-0.5)

    def _is_query(self, module: nn.Module) -> bool:
        return any(isinstance(m, T5Attention) and m.q is module for m in self.modules())
