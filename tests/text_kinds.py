"""The tokenizers that are compared with the library's, each as a tokenizer.json: made from lines, needing no files."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minigrad.text import WordPieceTokenizer, train_bpe

# As they stand in the tokenizer.json of the models.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = [
    r"\p{N}{1,3}",
    r"[一-龥\u3040-ゟ゠-ヿ]+",
    (
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
        r"\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
]
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def wordpieces(lines: Sequence[str], size: int) -> list[str]:
    """A vocabulary for WordPiece: special tokens, the characters and the commonest beginnings and ends of words."""
    count: Counter[str] = Counter()
    for line in lines:
        for word in line.lower().split():
            for k in range(1, min(len(word), 12) + 1):
                count[word[:k]] += 1
                count["##" + word[-k:]] += 1
            for c in word:
                count.update((c, "##" + c))
    found = sorted(count, key=lambda t: (-count[t], t))[: size - 5]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(found)]


def definitions(lines: Sequence[str], size: int = 1000) -> dict[str, dict[str, Any]]:
    """By name: BERT's with and without case, GPT-2's, Llama 3's, Qwen 2's, GPT-4o's, DeepSeek's, RoBERTa's, Llama 2's way."""
    vocabulary = wordpieces(lines, size)
    special = ["<s>", "</s>", "<pad>", "<mask>"]
    trained = {name: train_bpe(lines, size, special=special, pattern=p).definition for name, p in [("llama3", LLAMA3), ("qwen2", QWEN2), ("gpt4o", GPT4O)]}  # fmt: skip
    found: dict[str, Any] = {
        "bert": WordPieceTokenizer(vocabulary).definition,
        "bert, cased": WordPieceTokenizer(vocabulary, lowercase=False).definition,
        "bert, cased without accents": WordPieceTokenizer(
            vocabulary, lowercase=False, strip_accents=True, chinese=False
        ).definition,
        "gpt2": train_bpe(lines, size, special=special).definition,
        **trained,
    }
    found["llama3"]["model"]["ignore_merges"] = True
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": k}} for k, name in enumerate("AB"))
    found["llama3"]["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            {
                "type": "TemplateProcessing",
                "single": [begin, a],
                "pair": [begin, a, begin, b],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
            },
        ],
    }
    found["deepseek"] = copy.deepcopy(found["gpt2"])
    splits = [
        {"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in DEEPSEEK
    ]
    as_bytes = {**found["gpt2"]["pre_tokenizer"], "use_regex": False}
    found["deepseek"]["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*splits, as_bytes]}
    found["qwen2"]["normalizer"] = {"type": "NFC"}
    found["gpt4o"]["normalizer"] = {"type": "NFKC"}
    roberta = copy.deepcopy(found["gpt2"])
    roberta["pre_tokenizer"]["add_prefix_space"] = True
    roberta["post_processor"] = {
        "type": "RobertaProcessing",
        "sep": ["</s>", 1],
        "cls": ["<s>", 0],
        "trim_offsets": True,
        "add_prefix_space": True,
    }
    roberta["added_tokens"][3]["lstrip"] = True
    found["roberta"] = roberta
    found["llama2"] = _llama2(found["gpt2"])
    return found


def _llama2(source: dict[str, Any]) -> dict[str, Any]:
    """Characters instead of bytes, ``▁`` for a space, bytes for what the vocabulary lacks."""
    ascii_only = [m for m in source["model"]["merges"] if all(c.isascii() or c == "Ġ" for c in "".join(m))]
    merges = [[part.replace("Ġ", "▁") for part in m] for m in ascii_only]
    tokens = ["<s>", "</s>", "<unk>", *(f"<0x{b:02X}>" for b in range(256))]
    tokens += sorted({c for m in merges for c in "".join(m)}) + ["".join(m) for m in merges]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    space = {"pattern": {"String": " "}, "content": "▁"}
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", **space}]
    back = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    return {
        **source,
        "added_tokens": source["added_tokens"][:2],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": back},
        "model": model | {"vocab": {t: k for k, t in enumerate(dict.fromkeys(tokens))}, "merges": merges},
    }
