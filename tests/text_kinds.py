"""The tokenizers that are compared with the library's, each as a tokenizer.json: made from lines, needing no files."""

from __future__ import annotations

import base64
import copy
import itertools
import math
import struct
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
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
    """By name: BERT's with and without case, GPT-2's, Llama 3's, Qwen 2's, GPT-4o's, DeepSeek's, RoBERTa's, Llama 2's way, and T5's."""
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
    found |= _unigrams(lines, size)
    return found


def _unigrams(lines: Sequence[str], size: int) -> dict[str, Any]:
    """T5's way, with words cut at white space first; the same in one step, with bytes for what the vocabulary lacks; XLM-R's with a Strip."""
    count: Counter[str] = Counter()
    for line in lines:
        for word in line.split():
            word = "▁" + word
            for a in range(len(word)):
                for b in range(a + 1, min(a + 8, len(word)) + 1):
                    count[word[a:b]] += b - a
    for special in ("<pad>", "</s>", "<unk>"):
        count.pop(special, None)
    kept = sorted(count, key=lambda t: (-count[t], t))[: size // 2]
    kept += sorted({c for c in "".join(kept) if c.isascii() and c.isprintable()} - set(kept))
    total = sum(count[t] for t in kept)
    pieces = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]
    pieces += [[t, round(math.log(count[t] / total), 4)] for t in kept]
    with_bytes = pieces + [[f"<0x{b:02X}>", 0.0] for b in range(256)]
    before = {"type": "Precompiled", "precompiled_charsmap": charsmap(_nfkc())}
    no = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    mark = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    t5 = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": k, "content": t, **no} for k, t in enumerate(("<pad>", "</s>", "<unk>"))],
        "normalizer": before,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, mark]},
        "post_processor": {"type": "TemplateProcessing", "single": [a, end], "pair": [a, end, b, end],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": mark,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }  # fmt: skip
    first = mark | {"prepend_scheme": "first"}
    several = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    back = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, first]}
    return {
        "t5": t5,
        "unigram, bytes": t5 | {"pre_tokenizer": first, "decoder": back,
                                "model": t5["model"] | {"vocab": with_bytes, "byte_fallback": True}},
        "xlm-r": t5 | {"normalizer": {"type": "Sequence", "normalizers": [before, several]}, "pre_tokenizer": mark},
        "unigram, uncut": t5 | {"normalizer": None, "pre_tokenizer": mark | {"prepend_scheme": "never", "split": False},
                                "decoder": mark | {"prepend_scheme": "never", "split": False}},
    }  # fmt: skip


def _nfkc() -> dict[str, str]:
    """As SentencePiece's nmt_nfkc has them, of some blocks: compatibility forms, letters with a mark, white space, controls."""
    ranges = [(0xA0, 0x180), (0x2000, 0x2070), (0x2100, 0x2190), (0x2460, 0x2474), (0x3000, 0x3001), (0x30A0, 0x30C0),
              (0xAC00, 0xAC20), (0xFB00, 0xFB07), (0xFF01, 0xFFA0)]  # fmt: skip
    found = {chr(c): unicodedata.normalize("NFKC", chr(c)) for a, b in ranges for c in range(a, b)}
    for letter in "aeiouAEIOUcnñε":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u0327":
            found[letter + mark] = unicodedata.normalize("NFKC", letter + mark)
    found = {k: v for k, v in found.items() if v != k and len(v) <= 3}
    found |= dict.fromkeys("\t\n\r\x85\u2028\u3000\u00a0\u200b", " ") | {"\r\n": " ", "~~": "\u301c"}
    return found | dict.fromkeys("\x01\x07\x1b\x7f\xad\u200e\ufeff", "")


def charsmap(mapping: Mapping[str, str]) -> str:
    """SentencePiece's table of a mapping: the trie of its keys as a double array, and the texts; see ``text/unigram.py``."""
    texts, begins = b"", {}
    for text in sorted(set(mapping.values())):
        begins[text] = len(texts)
        texts += text.encode() + b"\0"
    trie: dict[int, Any] = {}
    for key, text in mapping.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = begins[text]
    units, taken, bases, queue = {0: 0}, {0}, set[int](), [(0, trie)]
    for place, node in queue:
        base = next(n for n in itertools.count(1) if n not in bases and not any(n ^ b in taken for b in node))
        bases.add(base)
        taken |= {base ^ b for b in node}
        units[place] |= (base ^ place) << 10 | (0 in node) << 8
        for byte, child in node.items():
            units[base ^ byte] = byte if byte else child | 1 << 31
            if byte:
                queue.append((base ^ byte, child))
    size = (max(units) | 255) + 1
    array = struct.pack(f"<{size}I", *(units.get(k, 0) for k in range(size)))
    return base64.b64encode(struct.pack("<I", len(array)) + array + texts).decode()


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
