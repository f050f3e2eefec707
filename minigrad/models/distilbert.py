"""DistilBERT: BERT of half the depth, without segments and pooling (Sanh et al., 2019, arXiv:1910.01108).

Names are Hugging Face's, which here differ from BERT's. B is the batch, T tokens, D ``dim``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..functions.creation import arange
from ..tensor import Tensor
from .attention import attention, beside, key_mask, token_ids
from .configuration import PretrainedConfig, activation
from .outputs import (
    HeadOutput,
    ModelOutput,
    QuestionAnsweringOutput,
    class_loss,
    every,
    span_loss,
    token_loss,
)
from .pretrained import PreTrained

_EPS = 1e-12  # of every LayerNorm; not in the configuration


@dataclass(kw_only=True)
class DistilBertConfig(PretrainedConfig):
    """DistilBERT's sizes; the defaults are distilbert-base-uncased's."""

    model_type: ClassVar[str] = "distilbert"
    only: ClassVar[dict[str, Any]] = {"pruned_heads": {}}

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False  # says how the positions began; they are a trained table here
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 4 * 768
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads_divide(self.dim, self.n_heads)

    @property
    def hidden_size(self) -> int:
        return self.dim


class Embeddings(nn.Module):
    """LayerNorm(word + position), (B, T) to (B, T, D)."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, _EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, position_ids: Tensor | None) -> Tensor:
        position_ids = arange(ids.shape[1], device=ids.device)[None] if position_ids is None else position_ids
        return self.dropout(
            self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(position_ids))
        )


class DistilBertSelfAttention(nn.Module):
    """Attention(x W_Q, x W_K, x W_V) W_O."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.heads, self.p = config.n_heads, config.attention_dropout
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (
            nn.Linear(config.dim, config.dim) for _ in range(4)
        )

    def forward(self, x: Tensor, mask: Tensor | None, weights: list[Tensor] | None) -> Tensor:
        p = self.p if self.training else 0.0
        q, k, v = self.q_lin(x), self.k_lin(x), self.v_lin(x)
        return self.out_lin(attention(q, k, v, self.heads, mask, p, weights))


class FFN(nn.Module):
    """act(x W₁ + b₁) W₂ + b₂."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1, self.lin2 = (
            nn.Linear(config.dim, config.hidden_dim),
            nn.Linear(config.hidden_dim, config.dim),
        )
        self.act, self.dropout = activation(config.activation), nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.lin2(self.act(self.lin1(x))))


class TransformerBlock(nn.Module):
    """h = LayerNorm(x + Attention(x)); LayerNorm(h + FFN(h))."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.attention, self.ffn = DistilBertSelfAttention(config), FFN(config)
        self.sa_layer_norm, self.output_layer_norm = (nn.LayerNorm(config.dim, _EPS) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor | None, weights: list[Tensor] | None) -> Tensor:
        h = self.sa_layer_norm(x + self.attention(x, mask, weights))
        return self.output_layer_norm(h + self.ffn(h))


class DistilBertPreTrained(PreTrained):
    """What DistilBERT with and without a head share."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"


class DistilBertModel(DistilBertPreTrained):
    """States (B, T, D) of tokens (B, T); ``attention_mask`` (B, T) is 1 for tokens and 0 for padding."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        layers = nn.ModuleList([TransformerBlock(config) for _ in range(config.n_layers)])
        self.transformer = nn.ModuleDict({"layer": layers})

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, *, output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> ModelOutput:  # fmt: skip
        ids = token_ids(input_ids, self.config.max_position_embeddings)
        mask = key_mask(attention_mask, ids)
        x = self.embeddings(ids, beside(position_ids, ids, "position_ids"))
        weights: list[Tensor] | None = [] if output_attentions else None
        states = [x]
        blocks: Any = self.transformer["layer"]
        for block in blocks:
            x = block(x, mask, weights)
            states.append(x)
        return ModelOutput(x, every(states if output_hidden_states else None), every(weights))


class DistilBertForMaskedLM(DistilBertPreTrained):
    """Which word stands at each masked place: LayerNorm(act(x W + b)) Eᵀ + c with E the table of words."""

    _tied_weights_keys = {  # noqa: RUF012
        "vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.act = activation(config.activation)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, _EPS)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.distilbert(input_ids, *inputs, **how)
        x = self.vocab_layer_norm(self.act(self.vocab_transform(out.last_hidden_state)))
        logits = self.vocab_projector(x)
        return HeadOutput(token_loss(logits, labels), logits, out.hidden_states, out.attentions)


class DistilBertForSequenceClassification(DistilBertPreTrained):
    """relu(x₀ W + b) V + c of the first token's state; ``labels`` as :func:`~minigrad.models.outputs.class_loss` takes."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.distilbert(input_ids, *inputs, **how)
        logits = self.classifier(self.dropout(self.pre_classifier(out.last_hidden_state[:, 0]).relu()))
        loss = class_loss(logits, labels, self.config.problem_type)
        return HeadOutput(loss, logits, out.hidden_states, out.attentions)


class DistilBertForTokenClassification(DistilBertPreTrained):
    """Logits (B, T, num_labels); ``labels`` (B, T) are classes, -100 where there is none."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.distilbert(input_ids, *inputs, **how)
        logits = self.classifier(self.dropout(out.last_hidden_state))
        return HeadOutput(token_loss(logits, labels), logits, out.hidden_states, out.attentions)


class DistilBertForQuestionAnswering(DistilBertPreTrained):
    """Where in the text the answer starts and ends: logits (B, T) each; positions (B,) are tokens' numbers."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.qa_dropout)
        self.qa_outputs = nn.Linear(config.dim, 2)

    def forward(
        self, input_ids: Any, *inputs: Any, start_positions: Any = None, end_positions: Any = None, **how: Any
    ) -> QuestionAnsweringOutput:
        out = self.distilbert(input_ids, *inputs, **how)
        start, end = self.qa_outputs(self.dropout(out.last_hidden_state)).unbind(-1)
        loss = span_loss(start, end, start_positions, end_positions)
        return QuestionAnsweringOutput(loss, start, end, out.hidden_states, out.attentions)
