"""Models that write text, small, with parameters that any machine makes anew; in transformers and in minigrad.models.

As ``model_calls``, whose ``values`` fills them.
"""

from __future__ import annotations

import numpy as np
from model_calls import values
from sides import array

_LLAMA = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
_T5 = {
    "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 3, "decoder_start_token_id": 0,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 9,
}  # fmt: skip
_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 16, "rope_theta": 500.0}  # fmt: skip
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 50.0}
DECODERS = {  # by a name: the class's beginning, its configuration
    "Llama": ("Llama", _LLAMA),
    "Llama 3": ("Llama", _LLAMA | {"rope_parameters": _ROPE, "attention_bias": True, "mlp_bias": True, "head_dim": 6}),
    "Mistral": ("Mistral", _LLAMA | {"sliding_window": 4}),
    "Qwen2": ("Qwen2", _LLAMA | {"tie_word_embeddings": True}),
    "YaRN": ("Llama", _LLAMA | {"rope_parameters": _YARN, "head_dim": 12}),
    "GPT-2, scaled": ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "scale_attn_weights": False,
                               "scale_attn_by_inverse_layer_idx": True}),
    "GPT-2": ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}),
    "T5": ("T5", _T5),
    "T5 v1.1": ("T5", _T5 | {"feed_forward_proj": "gated-gelu"}),
}  # fmt: skip
WORDS, LENGTHS, NEW = 40, (9, 6, 2), 12


def config(library, name, **changes):
    kind, sizes = DECODERS[name]
    ids = {"pad_token_id": 0, "eos_token_id": 7} | ({} if kind == "T5" else {"bos_token_id": 1})
    return getattr(library, f"{kind}Config")(**(sizes | {"vocab_size": WORDS} | ids | changes))


def make(library, tensor, name, **changes):
    """The model of that name in float64, in ``eval`` mode."""
    kind = DECODERS[name][0]
    head = {"T5": "ForConditionalGeneration", "GPT2": "LMHeadModel"}.get(kind, "ForCausalLM")
    model = getattr(library, kind + head)(config(library, name, **changes)).double()
    shared = getattr(model, "_tied_weights_keys", None) or {}
    tied = model.config.tie_word_embeddings
    state = {
        k: tensor(values(k, tuple(v.shape)))
        for k, v in model.state_dict().items() if not (tied and k in shared) and not k.endswith("embed_tokens.weight")
        or k == "model.embed_tokens.weight"
    }  # fmt: skip
    model.load_state_dict(state, strict=False)
    return model.eval()


def inputs(name):
    """Prompts of unequal lengths and their mask: padded on the left, for T5 on the right."""
    draw = np.random.RandomState(5)
    ids = draw.randint(8, WORDS, (len(LENGTHS), max(LENGTHS)))
    there = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    if DECODERS[name][0] != "T5":
        there = there[:, ::-1]
    return {"input_ids": np.where(there, ids, 0), "attention_mask": there.astype(np.int64)}


def ran(library, tensor, name):
    """The loss, the logits where there are tokens, and the gradient of every parameter."""
    model, given = make(library, tensor, name), inputs(name)
    there = given["attention_mask"].astype(bool)
    t5 = DECODERS[name][0] == "T5"
    labels = np.where(there, np.random.RandomState(6).randint(8, WORDS, there.shape), -100)
    out = model(**{k: tensor(v) for k, v in given.items()}, labels=tensor(labels))
    out.loss.backward()
    logits = array(out.logits.detach())
    result = {"loss": array(out.loss.detach()), "logits": logits if t5 else logits[there]}
    result |= {f"grad {k}": array(p.grad) for k, p in model.named_parameters() if p.grad is not None}
    return result | attentions(library, tensor, name)


def attentions(library, tensor, name):
    """The weights of every layer, (B, H, queries, keys), without padding but in T5's source.

    Among padding are queries that see nothing: zeros here, NaN in transformers' float64.
    """
    eager = {} if library.__name__.startswith("minigrad") else {"attn_implementation": "eager"}
    model, given = make(library, tensor, name, **eager), inputs(name)
    kinds = ["attentions"]
    if DECODERS[name][0] == "T5":
        given["decoder_input_ids"] = np.random.RandomState(6).randint(8, WORDS, (len(LENGTHS), 5))
        kinds = ["encoder_attentions", "decoder_attentions", "cross_attentions"]
    else:
        del given["attention_mask"]
    out = model(**{k: tensor(v) for k, v in given.items()}, output_attentions=True)
    return {f"{k}.{i}": array(w.detach()) for k in kinds for i, w in enumerate(getattr(out, k))}


WAYS = {
    "greedy": {},
    "repetition": {"repetition_penalty": 1.5},
    "beams": {"num_beams": 3, "length_penalty": 0.7},
    "beams, early": {
        "num_beams": 4,
        "length_penalty": 1.3,
        "early_stopping": True,
        "num_return_sequences": 2,
    },
}


def written(library, tensor, name, way, **changes):
    """The tokens that generate gives."""
    given = {k: tensor(v) for k, v in inputs(name).items()}
    model = make(library, tensor, name)
    return array(
        model.generate(**given, max_new_tokens=NEW, do_sample=False, pad_token_id=3, **WAYS[way], **changes)
    )
