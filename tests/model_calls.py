"""The models that tests call, small, with parameters and inputs that any machine makes anew; on two libraries.

The numbers come from ``RandomState``, whose streams NumPy keeps for ever.
"""

from __future__ import annotations

import zlib

import numpy as np
from sides import array

_BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SIZES = {
    "Bert": _BERT,
    "Roberta": _BERT,
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
}
EVERY = {"vocab_size": 40, "num_labels": 3}
HEADS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
MODELS = [f"{kind}{head}" for kind in SIZES if kind != "GPT2" for head in HEADS] + [
    "GPT2Model",
    "GPT2LMHeadModel",
]
LENGTHS = (8, 5, 3)
ROUNDED = {"GPT2LMHeadModel": 1e-5}  # whose loss transformers computes in float32, whatever the logits


def near(name):
    """How close the numbers of a model come to transformers'."""
    return {"rtol": ROUNDED.get(name, 1e-8), "atol": ROUNDED.get(name, 1e-10)}


def split(name):
    """("Bert", "ForMaskedLM") of a class's name."""
    kind = next(k for k in SIZES if name.startswith(k))
    return kind, name.removeprefix(kind)


def config(library, name, **changes):
    """The small configuration of a model, in transformers or in minigrad.models."""
    kind, head = split(name)
    sizes = SIZES[kind] | EVERY | {"n_positions" if kind == "GPT2" else "max_position_embeddings": 12}
    sizes |= ({"type_vocab_size": 2} if "hidden_size" in sizes else {}) | changes
    if head == "ForQuestionAnswering":
        sizes |= {"num_labels": 2}
    return getattr(library, f"{kind}Config")(**sizes)


def values(name, shape):
    """What the parameter of that name holds: gains near 1, the rest near 0."""
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    gain = len(shape) == 1 and name.endswith("weight")
    return drawn * 0.3 + gain


def make(library, tensor, name, **changes):
    """A model of a library in float64, filled with ``values``, in ``eval`` mode."""
    model = getattr(library, name)(config(library, name, **changes)).double()
    shared = getattr(model, "_tied_weights_keys", None) or {}
    state = {k: tensor(values(k, tuple(v.shape))) for k, v in model.state_dict().items() if k not in shared}
    model.load_state_dict(state, strict=False)
    return model.eval()


def inputs(name, padded=True):
    """Arrays for a forward pass of three sequences of other lengths, and the labels that the head takes."""
    kind, head = split(name)
    draw = np.random.RandomState(7)
    shape = (len(LENGTHS), max(LENGTHS))
    padding = 1 if kind == "Roberta" else 0
    given = {"input_ids": draw.randint(3, 40, shape)}
    labels = {"ForMaskedLM": draw.randint(0, 40, shape), "ForTokenClassification": draw.randint(0, 3, shape),
              "ForSequenceClassification": draw.randint(0, 3, shape[0]), "LMHeadModel": given["input_ids"].copy()}  # fmt: skip
    spans = {"start_positions": np.array([1, 0, 2]), "end_positions": np.array([6, 3, 99])}
    if kind == "Bert":
        given["token_type_ids"] = draw.randint(0, 2, shape)
    if padded:
        there = np.arange(shape[1]) < np.array(LENGTHS)[:, None]
        given["attention_mask"] = there.astype(np.int64)
        given["input_ids"][~there] = padding
        for words in ("ForMaskedLM", "ForTokenClassification", "LMHeadModel"):
            labels[words][~there] = -100
    if head == "ForQuestionAnswering":
        return given | spans
    return given | ({"labels": labels[head]} if head in labels else {})


READERS = {  # decoders that read another model's states
    "BertModel": {"is_decoder": True},
    "BertForMaskedLM": {"is_decoder": True},
    "RobertaForMaskedLM": {"is_decoder": True},
    "GPT2LMHeadModel": {"scale_attn_by_inverse_layer_idx": True},
}


def source():
    """Those states, and which of them may be looked at."""
    there = np.arange(5) < np.array([5, 2, 4])[:, None]
    return {
        "encoder_hidden_states": values("source", (3, 5, 16)),
        "encoder_attention_mask": there.astype(np.int64),
    }


def read(library, tensor, name, **changes):
    """As ``ran``, of the decoder of that name."""
    return ran(library, tensor, name, True, source(), **READERS[name], add_cross_attention=True, **changes)


def ran(library, tensor, name, padded=True, more=None, **changes):
    """Loss, outputs, states and attentions by name, and the gradient of every parameter."""
    model = make(library, tensor, name, **changes)
    given = {k: tensor(v) for k, v in (inputs(name, padded) | (more or {})).items()}
    out = model(**given, output_attentions=True, output_hidden_states=True)
    loss = getattr(out, "loss", None)
    if loss is None:
        loss = (out.last_hidden_state * tensor(values("by", tuple(out.last_hidden_state.shape)))).sum()
        if getattr(out, "pooler_output", None) is not None:
            loss = loss + (out.pooler_output**2).sum()
    loss.backward()
    result = {"loss": array(loss.detach())}
    for field in ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits"):
        if getattr(out, field, None) is not None:
            result[field] = array(getattr(out, field).detach())
    for field in ("hidden_states", "attentions", "cross_attentions"):
        for i, part in enumerate(getattr(out, field, None) or ()):
            result[f"{field}.{i}"] = array(part.detach())
    result |= {f"grad {k}": array(p.grad) for k, p in model.named_parameters() if p.grad is not None}
    return result
