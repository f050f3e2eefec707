"""BERT: the encoder of a Transformer over words, and its heads (Devlin et al., 2018, arXiv:1810.04805).

Names are Hugging Face's, so that their files are our state dicts. B is the batch, T tokens, D ``hidden_size``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..functions.creation import arange, zeros_like
from ..tensor import Tensor
from .attention import attention, beside, key_mask, sources, token_ids
from .configuration import PretrainedConfig, activation
from .outputs import (
    HeadOutput,
    ModelOutputWithPooling,
    QuestionAnsweringOutput,
    class_loss,
    every,
    span_loss,
    token_loss,
)
from .pretrained import PreTrained


@dataclass(kw_only=True)
class BertConfig(PretrainedConfig):
    """BERT's sizes; the defaults are bert-base-uncased's."""

    model_type: ClassVar[str] = "bert"
    only: ClassVar[dict[str, Any]] = {"position_embedding_type": "absolute", "pruned_heads": {}}

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    classifier_dropout: float | None = None
    is_decoder: bool = False  # a token sees itself and those before it
    add_cross_attention: bool = False  # and another model's states, encoder_hidden_states
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads_divide(self.hidden_size, self.num_attention_heads)
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError(
                f"{type(self).__name__}: add_cross_attention: a decoder's; set is_decoder as well"
            )

    @property
    def head_dropout(self) -> float:
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


class BertEmbeddings(nn.Module):
    """LayerNorm(word + position + segment), (B, T) to (B, T, D)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def positions(self, ids: Tensor) -> Tensor:
        return arange(ids.shape[1], device=ids.device)[None]

    def forward(self, ids: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None) -> Tensor:
        position_ids = self.positions(ids) if position_ids is None else position_ids
        token_type_ids = zeros_like(ids) if token_type_ids is None else token_type_ids
        x = self.word_embeddings(ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))


class BertSelfAttention(nn.Module):
    """Attention of x W_Q, y W_K, y W_V: y is x, or another model's states."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.p = config.num_attention_heads, config.attention_probs_dropout_prob
        width = config.hidden_size
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor, mask: Any, weights: Any, causal: bool) -> Tensor:
        p = self.p if self.training else 0.0
        return attention(self.query(x), self.key(y), self.value(y), self.heads, mask, p, weights, causal)


class BertAddNorm(nn.Module):
    """LayerNorm(residual + dropout(y W + b)): how both halves of a layer end."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, y: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(residual + self.dropout(self.dense(y)))


class BertAttention(nn.Module):
    """h = LayerNorm(x + Attention(x, y) W_O)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertAddNorm(config, config.hidden_size)

    def forward(self, x: Tensor, y: Tensor, mask: Any, weights: Any, causal: bool = False) -> Tensor:
        return self.output(self.self(x, y, mask, weights, causal), x)


class BertDense(nn.Module):
    """act(x W + b), with LayerNorm after it in the head of masked words."""

    def __init__(self, config: BertConfig, width: int, act: str, norm: bool = False) -> None:
        super().__init__()
        self.dense, self.act = nn.Linear(config.hidden_size, width), activation(act)
        if norm:
            self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.dense(x))
        return self.LayerNorm(y) if self.norm else y


class BertLayer(nn.Module):
    """h = LayerNorm(x + Attention(x)), a decoder's to the source too; LayerNorm(h + act(h W₁ + b₁) W₂ + b₂)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention, self.causal = BertAttention(config), config.is_decoder
        if config.add_cross_attention:
            self.crossattention = BertAttention(config)
        self.intermediate = BertDense(config, config.intermediate_size, config.hidden_act)
        self.output = BertAddNorm(config, config.intermediate_size)

    def forward(self, x: Tensor, mask: Any, source: Any, source_mask: Any, weights: Any) -> Tensor:
        h = self.attention(x, x, mask, weights[0], self.causal)
        if source is not None:
            h = self.crossattention(h, source, source_mask, weights[1])
        return self.output(self.intermediate(h), h)


class BertEncoder(nn.Module):
    """The layers, one after another; returns the states before the first and after each."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, *how: Any) -> list[Tensor]:
        states = [x]
        for layer in self.layer:
            states.append(layer(states[-1], *how))
        return states


class BertPreTrained(PreTrained):
    """What BERT with and without a head share."""

    config_class = BertConfig
    base_model_prefix = "bert"


class BertModel(BertPreTrained):
    """States (B, T, D) of tokens (B, T): embeddings, layers, and the pooled state of the first token.

    ``attention_mask`` (B, T) is 1 for tokens and 0 for padding, ``token_type_ids`` 0 for the first text of a pair
    and 1 for the second. A decoder with cross attention reads ``encoder_hidden_states`` (B, S, D) where
    ``encoder_attention_mask`` (B, S) is 1.
    """

    embeddings_class: ClassVar[type[BertEmbeddings]] = BertEmbeddings

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config)
        self.encoder = BertEncoder(config)
        # tanh(x₀ W + b)
        self.pooler = BertDense(config, config.hidden_size, "tanh") if add_pooling_layer else None
        self.longest = config.max_position_embeddings

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None,
        *, encoder_hidden_states: Tensor | None = None, encoder_attention_mask: Any = None,
        output_attentions: bool = False, output_hidden_states: bool = False,
    ) -> ModelOutputWithPooling:  # fmt: skip
        ids = token_ids(input_ids, self.longest)
        kinds = beside(token_type_ids, ids, "token_type_ids")
        x = self.embeddings(ids, kinds, beside(position_ids, ids, "position_ids"))
        source = sources(self.config, encoder_hidden_states, encoder_attention_mask)
        weights: Any = ([], []) if output_attentions else (None, None)
        states = self.encoder(x, key_mask(attention_mask, ids), *source, weights)
        pooled = None if self.pooler is None else self.pooler(states[-1][:, 0])
        seen = every(states if output_hidden_states else None)
        return ModelOutputWithPooling(states[-1], pooled, seen, *map(every, weights))


class BertLMPredictionHead(nn.Module):
    """LayerNorm(act(x W + b)) Eᵀ + c with E the table of words: (B, T, vocab_size)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertDense(config, config.hidden_size, config.hidden_act, norm=True)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x))


class BertForMaskedLM(BertPreTrained):
    """Which word stands at each masked place; ``labels`` (B, T) are the words there and -100 elsewhere."""

    _tied_weights_keys = {  # noqa: RUF012
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = nn.ModuleDict({"predictions": BertLMPredictionHead(config)})

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.bert(input_ids, *inputs, **how)
        logits = self.cls["predictions"](out.last_hidden_state)
        return HeadOutput(token_loss(logits, labels), logits, *out[2:])


class BertForSequenceClassification(BertPreTrained):
    """Logits (B, num_labels) of the pooled state; ``labels`` as :func:`~minigrad.models.outputs.class_loss` takes."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.bert(input_ids, *inputs, **how)
        logits = self.classifier(self.dropout(out.pooler_output))
        loss = class_loss(logits, labels, self.config.problem_type)
        return HeadOutput(loss, logits, out.hidden_states, out.attentions)


class BertForTokenClassification(BertPreTrained):
    """Logits (B, T, num_labels); ``labels`` (B, T) are classes, -100 where there is none."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.bert(input_ids, *inputs, **how)
        logits = self.classifier(self.dropout(out.last_hidden_state))
        return HeadOutput(token_loss(logits, labels), logits, out.hidden_states, out.attentions)


class BertForQuestionAnswering(BertPreTrained):
    """Where in the text the answer starts and ends: logits (B, T) each; positions (B,) are tokens' numbers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Any, *inputs: Any, start_positions: Any = None, end_positions: Any = None, **how: Any
    ) -> QuestionAnsweringOutput:
        out = self.bert(input_ids, *inputs, **how)
        start, end = self.qa_outputs(out.last_hidden_state).unbind(-1)
        loss = span_loss(start, end, start_positions, end_positions)
        return QuestionAnsweringOutput(loss, start, end, out.hidden_states, out.attentions)
