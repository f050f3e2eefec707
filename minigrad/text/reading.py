"""Which tokenizer a folder holds, and the files of before tokenizer.json: vocab.txt, vocab.json with merges.txt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .building import WordPieceTokenizer, byte_level_definition
from .characters import CharacterTokenizer
from .definition import checked, read_json, read_text
from .library import LibraryTokenizer, installed
from .pipeline import Pipeline
from .tokenizer import SPECIAL, Tokenizer

BACKENDS = ("auto", "own", "tokenizers")
# Tokens that have a role by their name, where no file gives them one.
_NAMES = {
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """vocab.txt: one token a line, its id the number of the line from 0. Raises ValueError for a token met twice."""
    vocabulary: dict[str, int] = {}
    lines = read_text(path, "a vocabulary, one token a line").split("\n")
    for id, line in enumerate(lines[:-1] if not lines[-1] else lines):
        token = line.rstrip("\r")
        if token in vocabulary:
            raise ValueError(
                f"{os.fspath(path)}: token {token!r} stands in line {vocabulary[token] + 1} and again in line {id + 1}"
            )
        vocabulary[token] = id
    return vocabulary


def read_merges(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """merges.txt: two tokens a line, the first to be merged first; a first line ``#version`` is passed by."""
    merges = []
    for number, line in enumerate(read_text(path, "merges, two tokens a line").split("\n"), 1):
        line = line.rstrip("\r")
        if not line or number == 1 and line.startswith("#version"):
            continue
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise ValueError(f"{os.fspath(path)}: expected two tokens in line {number}, got {line!r:.80}")
        merges.append((left, right))
    return merges


def opened(folder: Path, backend: str) -> Tokenizer:
    """The tokenizer of a folder, or of one tokenizer.json."""
    if backend not in BACKENDS:
        raise ValueError(f"tokenizer: backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    file = folder if folder.is_file() else folder / "tokenizer.json"
    folder = file.parent
    config = _config(folder)
    if file.exists():
        definition = read_json(file, "a tokenizer's definition")
    elif (folder / "vocab.txt").exists():
        return _with_backend(_wordpiece(folder, config), backend)
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        return _with_backend(_byte_level(folder, config), backend)
    elif (folder / "characters.json").exists():
        return CharacterTokenizer.read(folder / "characters.json", config)
    else:
        there = sorted(p.name for p in folder.iterdir())[:10] if folder.is_dir() else "no such folder"
        hint = ""
        if any(
            (folder / name).exists()
            for name in ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
        ):
            hint = (
                "; SentencePiece models aren't read: save the tokenizer as tokenizer.json with transformers"
            )
        raise FileNotFoundError(
            f"{folder}: expected tokenizer.json, vocab.txt, vocab.json with merges.txt, or characters.json, "
            f"got {there}{hint}"
        )
    if not isinstance(definition, dict):
        raise ValueError(
            f"{file}: expected a tokenizer's definition, an object, got {type(definition).__name__}"
        )
    config = _roles(definition, config)
    if backend == "tokenizers" or backend == "auto" and installed():
        return LibraryTokenizer(definition, config, str(file))
    return Pipeline(definition, config, str(file))


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name, "a tokenizer's settings")
            if not isinstance(found, dict):
                raise ValueError(f"{folder / name}: expected an object, got {type(found).__name__}")
            config |= found
    if "model_input_names" not in config:
        kind = str(config.get("tokenizer_class", "")).lower()
        without = ("gpt2", "roberta", "llama", "qwen", "distilbert", "pretrainedtokenizerfast")
        if any(name in kind for name in without):
            config["model_input_names"] = ["input_ids", "attention_mask"]
    return config


def _roles(definition: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Roles of special tokens and the longest text, where only tokenizer.json tells them."""
    added = definition.get("added_tokens")
    there = {t.get("content") for t in added if isinstance(t, dict)} if isinstance(added, list) else set()
    found: dict[str, Any] = {}
    if not any(name in config for name in SPECIAL):
        found = {role: n for role, names in _NAMES.items() for n in names[::-1] if n in there}
    padding, truncation = definition.get("padding"), definition.get("truncation")
    if isinstance(padding, dict):
        found["pad_token"] = padding.get("pad_token")
        found["padding_side"] = str(padding.get("direction", "Right")).lower()
    if isinstance(truncation, dict):
        found["model_max_length"] = truncation.get("max_length")
    return found | config


def _with_backend(own: Pipeline, backend: str) -> Tokenizer:
    return own if backend != "tokenizers" else LibraryTokenizer(own.definition, own.config)


def _wordpiece(folder: Path, config: dict[str, Any]) -> Pipeline:
    options = {
        "lowercase": "do_lower_case",
        "strip_accents": "strip_accents",
        "chinese": "tokenize_chinese_chars",
    }
    given = {ours: config[theirs] for ours, theirs in options.items() if config.get(theirs) is not None}
    return WordPieceTokenizer(read_vocabulary(folder / "vocab.txt"), **given, **_flat(config))


def _byte_level(folder: Path, config: dict[str, Any]) -> Pipeline:
    path = folder / "vocab.json"
    vocabulary = read_json(path, "an object of tokens and their ids")
    if not isinstance(vocabulary, dict):
        raise ValueError(
            f"{path}: expected an object of tokens and their ids, got {type(vocabulary).__name__}"
        )
    vocabulary = checked(vocabulary, str(path))
    merges = read_merges(folder / "merges.txt")
    config = _flat(config)
    roberta = None
    if "roberta" in str(config.get("tokenizer_class", "")).lower() or "<mask>" in vocabulary:
        roles = {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "unk_token": "<unk>",
        }
        config = roles | {"pad_token": "<pad>", "mask_token": "<mask>"} | config
        roberta = config["cls_token"], config["sep_token"]
    elif "<|endoftext|>" in vocabulary:
        end = "<|endoftext|>"
        config = {"bos_token": end, "eos_token": end, "unk_token": end} | config
    special = [t for name in SPECIAL if (t := config.get(name)) in vocabulary]
    definition = byte_level_definition(
        vocabulary,
        merges,
        special=special,
        prefix_space=bool(config.get("add_prefix_space", False)),
        roberta=roberta,
    )
    if roberta is not None:
        for token in definition["added_tokens"]:
            token["lstrip"] = token["content"] == config["mask_token"]
    return Pipeline(definition, {"model_input_names": ["input_ids", "attention_mask"]} | config, str(folder))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens that are given as objects, by their content."""
    own = ("lowercase", "strip_accents", "chinese", "vocabulary")
    return {
        k: v["content"] if isinstance(v, dict) and "content" in v else v
        for k, v in config.items()
        if k not in own
    }
