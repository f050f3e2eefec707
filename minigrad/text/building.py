"""The definitions, in the form of tokenizer.json, of the tokenizers that come in other files or are trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .definition import checked
from .patterns import GPT2
from .pipeline import Pipeline
from .tokenizer import SPECIAL

Pairs = Sequence[tuple[str, str]]


def _added(tokens: Mapping[str, int]) -> list[dict[str, Any]]:
    ordered = sorted(tokens.items(), key=lambda item: item[1])
    no = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [{"id": id, "content": token, **no, "special": True} for token, id in ordered]


def _whole(**parts: Any) -> dict[str, Any]:
    names = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
    return {"version": "1.0", "truncation": None, "padding": None} | {name: parts.get(name) for name in names}


def wordpiece_definition(
    vocabulary: Mapping[str, int],
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    chinese: bool = True,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """BERT's tokenizer around a vocabulary: ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]``."""
    vocabulary = checked(vocabulary, "WordPieceTokenizer: vocabulary")
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")} | dict(
        roles or {}
    )
    for name in ("unk_token", "cls_token", "sep_token"):
        if named[name] not in vocabulary:
            raise ValueError(
                f"WordPieceTokenizer: the vocabulary of {len(vocabulary):,} tokens lacks {named[name]!r}, its {name}: "
                f"expected BERT's vocab.txt, one token a line"
            )
    cls, sep = named["cls_token"], named["sep_token"]
    sections = {"type": "BertProcessing", "sep": [sep, vocabulary[sep]], "cls": [cls, vocabulary[cls]]}
    return _whole(
        added_tokens=_added({t: vocabulary[t] for t in named.values() if t in vocabulary}),
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": chinese,
            "strip_accents": strip_accents,
            "lowercase": lowercase,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=sections,
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        model={
            "type": "WordPiece",
            "unk_token": named["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    )


def byte_level_definition(
    vocabulary: Mapping[str, int],
    merges: Pairs,
    *,
    special: Sequence[str] = (),
    pattern: str | None = None,
    prefix_space: bool = False,
    roberta: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """GPT-2's tokenizer around a vocabulary and merges, or RoBERTa's with its (cls, sep).

    ``pattern`` cuts text into words, by default GPT-2's.
    """
    vocabulary = checked(vocabulary, "BytePairTokenizer: vocabulary")
    bytes_of = {"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": True}
    before: dict[str, Any] = {**bytes_of, "use_regex": True}
    if pattern is not None and pattern != GPT2:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        before = {"type": "Sequence", "pretokenizers": [split, {**bytes_of, "use_regex": False}]}
    after: dict[str, Any] = {**bytes_of, "trim_offsets": False, "use_regex": True}
    if roberta is not None:
        cls, sep = roberta
        after = {"type": "RobertaProcessing", "sep": [sep, vocabulary[sep]], "cls": [cls, vocabulary[cls]]}
        after |= {"trim_offsets": True, "add_prefix_space": prefix_space}
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return _whole(
        added_tokens=_added({t: vocabulary[t] for t in special if t in vocabulary}),
        pre_tokenizer=before,
        post_processor=after,
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        model={**model, "vocab": vocabulary, "merges": [list(pair) for pair in merges]},
    )


class WordPieceTokenizer(Pipeline):
    """BERT's tokenizer around a vocabulary: cleaned, lower-cased text, words cut by :class:`WordPiece`.

    ``strip_accents`` is by default what ``lowercase`` is; ``chinese`` makes each Chinese character a word.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int] | Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        chinese: bool = True,
        **config: Any,
    ) -> None:
        if not isinstance(vocabulary, Mapping):
            vocabulary = {token: id for id, token in enumerate(vocabulary)}
        roles = {name: config[name] for name in SPECIAL if isinstance(config.get(name), str)}
        definition = wordpiece_definition(
            vocabulary, lowercase=lowercase, strip_accents=strip_accents, chinese=chinese, roles=roles
        )
        known = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
        super().__init__(
            definition, {"do_lower_case": lowercase, "tokenizer_class": "BertTokenizer"} | known | config
        )


class BytePairTokenizer(Pipeline):
    """GPT-2's tokenizer around a vocabulary and merges: words cut by a pattern, then :class:`BytePairEncoding`."""

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Pairs,
        *,
        special: Sequence[str] = (),
        pattern: str | None = None,
        prefix_space: bool = False,
        **config: Any,
    ) -> None:
        definition = byte_level_definition(
            vocabulary, merges, special=special, pattern=pattern, prefix_space=prefix_space
        )
        super().__init__(definition, {"model_input_names": ["input_ids", "attention_mask"]} | config)
