"""What models return, as named tuples with transformers' names, and the losses of heads.

A field that wasn't asked for, or can't be had, is None; unlike transformers' outputs all keep their place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..nn import functional as F
from ..tensor import Tensor


class ModelOutput(NamedTuple):
    """Of a model without head: the last layer's states (B, T, D), every layer's, every layer's weights."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None  # the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # each (B, H, T, T)
    cross_attentions: tuple[Tensor, ...] | None = None  # of another model's S states, (B, H, T, S)


class ModelOutputWithPooling(NamedTuple):
    """The same with the pooled state of the first token, (B, D)."""

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


class HeadOutput(NamedTuple):
    """Of a model with a head; ``loss`` where labels were given."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


class SourceOutput(NamedTuple):
    """Of a model that reads a source and writes a target, of S and T tokens, with every layer's weights."""

    loss: Tensor | None
    logits: Tensor  # (B, T, V)
    encoder_attentions: tuple[Tensor, ...] | None = None  # each (B, H, S, S)
    decoder_attentions: tuple[Tensor, ...] | None = None  # (B, H, T, T)
    cross_attentions: tuple[Tensor, ...] | None = None  # (B, H, T, S)


class QuestionAnsweringOutput(NamedTuple):
    """For each token how likely the answer starts, and ends, there: (B, T) each."""

    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def every(parts: list[Tensor] | None) -> tuple[Tensor, ...] | None:
    """Those of all layers; None where they weren't asked for or can't be had."""
    return tuple(parts) if parts else None


def token_loss(logits: Tensor, labels: Any) -> Tensor | None:
    """Cross entropy of logits (B, T, C) at labels (B, T), without those that are -100."""
    if labels is None:
        return None
    labels = as_labels(labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels: expected one of each token, shape {tuple(logits.shape[:-1])}, got {tuple(labels.shape)}"
        )
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def next_token_loss(logits: Tensor, labels: Any) -> Tensor | None:
    """Cross entropy of the logits (B, T, V) after each token at the token that follows it in labels (B, T)."""
    if labels is None:
        return None
    labels = as_labels(labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels: expected the shape of input_ids, {tuple(logits.shape[:-1])}, got {tuple(labels.shape)}"
        )
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def class_loss(logits: Tensor, labels: Any, problem_type: str | None) -> Tensor | None:
    """The loss of logits (B, C): cross entropy, squared error or binary cross entropies, as ``problem_type`` says.

    Unless it says, C = 1 is regression, integers (B,) are classes, floats (B, C) several classes at once.
    """
    if labels is None:
        return None
    labels = as_labels(labels)
    if problem_type is None:
        integers = labels.dtype.category != 2
        problem_type = (
            "regression" if logits.shape[-1] == 1
            else "single_label_classification" if integers else "multi_label_classification"
        )  # fmt: skip
    if problem_type == "regression":
        return F.mse_loss(logits.reshape(labels.shape), labels.to(logits.dtype))
    if problem_type == "single_label_classification":
        return F.cross_entropy(logits, labels.flatten())
    if problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    raise ValueError(f"problem_type: expected 'regression', 'single_label_classification' or 'multi_label_classification', "
                     f"got {problem_type!r}")  # fmt: skip


def span_loss(
    start_logits: Tensor, end_logits: Tensor, start_positions: Any, end_positions: Any
) -> Tensor | None:
    """The mean of both cross entropies; positions (B,) past the tokens, where the answer was cut off, don't count."""
    if start_positions is None or end_positions is None:
        return None
    length = start_logits.shape[1]
    losses = [
        F.cross_entropy(logits, as_labels(positions).flatten().clamp(0, length), ignore_index=length)
        for logits, positions in ((start_logits, start_positions), (end_logits, end_positions))
    ]
    return (losses[0] + losses[1]) / 2


def as_labels(labels: Any) -> Tensor:
    from ..tensor import as_tensor

    return labels if isinstance(labels, Tensor) else as_tensor(labels)
