"""RoBERTa: BERT's encoder, trained longer on more, without pairs (Liu et al., 2019, arXiv:1907.11692).

What differs from ``bert.py`` is here: positions are counted from ``pad_token_id`` + 1 over the tokens that aren't
padding (fairseq's numbering), and the heads are others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..tensor import Tensor
from .bert import BertConfig, BertEmbeddings, BertModel
from .configuration import activation
from .outputs import HeadOutput, QuestionAnsweringOutput, class_loss, span_loss, token_loss
from .pretrained import PreTrained


@dataclass(kw_only=True)
class RobertaConfig(BertConfig):
    """RoBERTa's sizes; the defaults are transformers'. Of the positions the first ``pad_token_id`` + 1 aren't used."""

    model_type: ClassVar[str] = "roberta"

    vocab_size: int = 50265
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad_token_id is None:
            raise ValueError(
                "RobertaConfig: pad_token_id: expected an int, which positions are counted from, got None"
            )


class RobertaEmbeddings(BertEmbeddings):
    """BERT's, with position p + (how many tokens up to here aren't padding), p for padding itself."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.padding_idx = config.pad_token_id or 0
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, config.hidden_size, self.padding_idx
        )

    def positions(self, ids: Tensor) -> Tensor:
        there = (ids != self.padding_idx).long()
        return there.cumsum(1) * there + self.padding_idx


class RobertaModel(BertModel):
    """States (B, T, D) of tokens (B, T), as :class:`BertModel`'s."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    embeddings_class = RobertaEmbeddings

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer)
        self.longest = config.max_position_embeddings - (config.pad_token_id or 0) - 1


class RobertaPreTrained(PreTrained):
    """What RoBERTa with a head shares: the model without."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)


class RobertaLMHead(nn.Module):
    """LayerNorm(gelu(x W + b)) Eᵀ + c with E the table of words: (B, T, vocab_size)."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(activation("gelu")(self.dense(x))))


class RobertaForMaskedLM(RobertaPreTrained):
    """Which word stands at each masked place; ``labels`` (B, T) are the words there and -100 elsewhere."""

    _tied_weights_keys = {  # noqa: RUF012
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.lm_head = RobertaLMHead(config)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.roberta(input_ids, *inputs, **how)
        logits = self.lm_head(out.last_hidden_state)
        return HeadOutput(token_loss(logits, labels), logits, *out[2:])


class RobertaClassificationHead(nn.Module):
    """tanh(x₀ W + b) V + c of the first token's state, (B, num_labels)."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.dropout(self.dense(self.dropout(x[:, 0])).tanh()))


class RobertaForSequenceClassification(RobertaPreTrained):
    """Logits (B, num_labels) of the whole; ``labels`` as :func:`~minigrad.models.outputs.class_loss` takes them."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.classifier = RobertaClassificationHead(config)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.roberta(input_ids, *inputs, **how)
        logits = self.classifier(out.last_hidden_state)
        loss = class_loss(logits, labels, self.config.problem_type)
        return HeadOutput(loss, logits, out.hidden_states, out.attentions)


class RobertaForTokenClassification(RobertaPreTrained):
    """Logits (B, T, num_labels); ``labels`` (B, T) are classes, -100 where there is none."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Any, *inputs: Any, labels: Any = None, **how: Any) -> HeadOutput:
        out = self.roberta(input_ids, *inputs, **how)
        logits = self.classifier(self.dropout(out.last_hidden_state))
        return HeadOutput(token_loss(logits, labels), logits, out.hidden_states, out.attentions)


class RobertaForQuestionAnswering(RobertaPreTrained):
    """Where in the text the answer starts and ends: logits (B, T) each; positions (B,) are tokens' numbers."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Any, *inputs: Any, start_positions: Any = None, end_positions: Any = None, **how: Any
    ) -> QuestionAnsweringOutput:
        out = self.roberta(input_ids, *inputs, **how)
        start, end = self.qa_outputs(out.last_hidden_state).unbind(-1)
        loss = span_loss(start, end, start_positions, end_positions)
        return QuestionAnsweringOutput(loss, start, end, out.hidden_states, out.attentions)
