"""The original Transformer, for translation (Vaswani et al., 2017, arXiv:1706.03762).

B is the batch, S tokens of the source, T of the target, D ``d_model``, V ``vocab_size``, which both languages share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..nn import functional as F
from ..nn import init
from ..tensor import Tensor
from .attention import attention, key_mask, token_ids
from .configuration import PretrainedConfig, activation
from .generation import FromSource
from .outputs import SourceOutput, as_labels, every
from .pretrained import PreTrained


@dataclass(kw_only=True)
class TransformerConfig(PretrainedConfig):
    """Its sizes; the defaults are the paper's base model, with norms after each part."""

    model_type: ClassVar[str] = "transformer"

    vocab_size: int = 37000
    d_model: int = 512
    num_heads: int = 8
    d_ff: int = 2048
    num_layers: int = 6
    dropout: float = 0.1
    label_smoothing: float = 0.1
    norm_first: bool = False
    activation: str = "relu"
    max_position_embeddings: int = 512
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads_divide(self.d_model, self.num_heads)


class Attention(nn.Module):
    """Concat(heads) W_O, each softmax(Q Kᵀ / √d) V (section 3.2.2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, d = config.num_heads, config.d_model
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Any, causal: bool, weights: list[Any] | None
    ) -> Tensor:
        return self.out(attention(self.query(x), keys, values, self.heads, mask, 0.0, weights, causal))

    def step(self, x: Tensor, cache: nn.KVCache, layer: int) -> Tensor:
        """The same of the next tokens of the texts in a cache."""
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(x), self.value(x))
        )
        return self.out(cache.attend(layer, q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """norm(x + dropout(part(x))) for each part, or x + dropout(part(norm(x))): attention, to the source too, feed-forward."""

    def __init__(self, config: TransformerConfig, decoder: bool) -> None:
        super().__init__()
        self.attention, self.norm_first = Attention(config), config.norm_first
        self.source_attention = Attention(config) if decoder else None
        self.up, self.down = nn.Linear(config.d_model, config.d_ff), nn.Linear(config.d_ff, config.d_model)
        self.norms = nn.ModuleList([nn.LayerNorm(config.d_model) for _ in range(2 + decoder)])
        self.act, self.dropout = activation(config.activation), nn.Dropout(config.dropout)

    def added(self, x: Tensor, i: int, part: Any) -> Tensor:
        norm = self.norms[i]
        return x + self.dropout(part(norm(x))) if self.norm_first else norm(x + self.dropout(part(x)))

    def forward(self, x: Tensor, mask: Any, source: Any = None, source_mask: Any = None, cache: Any = None, i: int = 0,
                weights: Any = (None, None)) -> Tensor:  # fmt: skip
        own, other = self.attention, self.source_attention
        if cache is not None:
            x = self.added(x, 0, lambda y: own.step(y, cache, i))
        else:
            causal = other is not None
            x = self.added(x, 0, lambda y: own(y, own.key(y), own.value(y), mask, causal, weights[0]))
        if other is not None:
            x = self.added(x, 1, lambda y: other(y, *source, source_mask, False, weights[1]))
        return self.added(x, -1, lambda y: self.down(self.dropout(self.act(self.up(y)))))


class TransformerForTranslation(PreTrained, FromSource):
    """Logits (B, T, V) of the target's next tokens, of a source (B, S) and the target so far (B, T).

    ``labels`` (B, T), -100 where none is asked for, are the target with its end; ``decoder_input_ids`` are they after the
    token that begins a text unless given. The table of words is the source's, the target's and, times √D, the output
    layer's (section 3.4); positions are sinusoids. ``attention_mask`` (B, S) is 0 at padding. ``output_attentions``
    asks for the weights of all layers.
    """

    config_class = TransformerConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.positions = nn.SinusoidalPositionalEncoding(config.d_model, config.max_position_embeddings)
        self.encoder, self.decoder = (
            nn.ModuleList([Layer(config, decoder) for _ in range(config.num_layers)])
            for decoder in (False, True)
        )
        self.encoder_norm, self.decoder_norm = (
            nn.LayerNorm(config.d_model) if config.norm_first else nn.Identity() for _ in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)

    def embedded(self, ids: Tensor, places: Tensor | None = None) -> Tensor:
        """√D · word + position, (B, T) to (B, T, D) (sections 3.4 and 3.5)."""
        x = self.words(ids) * math.sqrt(self.config.d_model)
        if places is None:
            return self.dropout(self.positions(x))
        return self.dropout(x + F.embedding(places, self.positions.encoding).to(x.dtype))

    @property
    def start(self) -> Any:
        return self.config.bos_token_id

    def logits_of(self, states: Tensor) -> Tensor:
        return F.linear(states, self.words.weight)

    def encoded(
        self, ids: Tensor, mask: Tensor | None, places: Tensor | None = None, weights: Any = None
    ) -> Tensor:
        """The source's states, (B, S, D)."""
        x = self.embedded(ids, places)
        for layer in self.encoder:
            x = layer(x, mask, weights=(weights, None))
        return self.encoder_norm(x)

    def sources(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each decoder layer's keys and values of the source."""
        return [(a.key(memory), a.value(memory)) for a in (layer.source_attention for layer in self.decoder)]

    def decoded(
        self, ids: Tensor, sources: Any, mask: Any, cache: Any = None, weights: Any = (None, None)
    ) -> Tensor:
        """The target's states, (B, T, D)."""
        x = self.embedded(ids, None if cache is None else cache.positions(ids.shape[1]))
        for i, layer in enumerate(self.decoder):
            x = layer(x, None, sources[i], mask, cache, i, weights)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.decoder_norm(x)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, decoder_input_ids: Any = None, *, labels: Any = None,
        output_attentions: bool = False,
    ) -> SourceOutput:  # fmt: skip
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError(
                    "Transformer: expected decoder_input_ids or labels, got neither; generate() writes a target"
                )
            decoder_input_ids = self.moved_right(as_labels(labels))
        most = self.config.max_position_embeddings
        weights: Any = ([], [], []) if output_attentions else (None, None, None)
        ids, target = token_ids(input_ids, most), token_ids(decoder_input_ids, most, "decoder_input_ids")
        mask = key_mask(attention_mask, ids)
        sources = self.sources(self.encoded(ids, mask, weights=weights[0]))
        states = self.decoded(target, sources, mask, weights=weights[1:])
        logits = self.logits_of(states)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(
                logits.flatten(0, 1), as_labels(labels).flatten(), label_smoothing=self.config.label_smoothing
            )
        return SourceOutput(loss, logits, *map(every, weights))

    def new_cache(self, batch: int, length: int, **how: Any) -> nn.KVCache:
        c = self.config
        return nn.KVCache(c.num_layers, batch, c.num_heads, length, c.d_model // c.num_heads,
                          dtype=self.words.weight.dtype, **how)  # fmt: skip

    def _init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """Glorot's uniform; words N(0, 1/D), so that times √D they are as large as the positions."""
        if isinstance(module, nn.Embedding):
            init.normal_(parameter, 0.0, self.config.d_model**-0.5)
            if module.padding_idx is not None:
                init.zeros_(parameter[module.padding_idx])
        elif parameter.ndim > 1:
            init.xavier_uniform_(parameter)
        else:
            super()._init_parameter(module, name, parameter)
