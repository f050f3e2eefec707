"""The interface of every tokenizer: text to ids and back, pairs, batches, padding, truncation, offsets, files.

The calls and their defaults are those of transformers' fast tokenizers. What a tokenizer does to one text is in
its class: :class:`~minigrad.text.pipeline.Pipeline`, :class:`~minigrad.text.library.LibraryTokenizer`,
:class:`~minigrad.text.characters.CharacterTokenizer`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .batch import BatchEncoding, as_arrays, gathered
from .encoding import STRATEGIES, Encoding
from .inputs import texts_and_partners

SPECIAL = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token")
NO_LIMIT = int(1e30)  # how transformers writes in tokenizer_config.json that there is none


class Tokenizer:
    """Turns text into ids and back.

    >>> tok = Tokenizer.from_pretrained("folder")
    >>> batch = tok(["A first text.", "And one more."], padding=True, return_tensors="mg")
    >>> tok.decode(batch.input_ids[0], skip_special_tokens=True)

    ``pad_token``, ``cls_token`` and the others are None where a tokenizer has none; setting one to a token of
    the vocabulary gives it one. ``padding_side`` and ``truncation_side`` are "right" or "left".
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        for name in SPECIAL:
            value = config.get(name)
            value = value.get("content") if isinstance(value, Mapping) else value
            setattr(self, name, value if isinstance(value, str) and value in self.vocabulary() else None)
        self.padding_side = _side("padding_side", config.get("padding_side", "right"))
        self.truncation_side = _side("truncation_side", config.get("truncation_side", "right"))
        limit = config.get("model_max_length")
        self.model_max_length: int | None = int(limit) if limit and limit < NO_LIMIT else None
        self.model_input_names: list[str] = list(
            config.get("model_input_names") or ["input_ids", "token_type_ids", "attention_mask"]
        )

    unk_token: str | None
    sep_token: str | None
    pad_token: str | None
    cls_token: str | None
    mask_token: str | None
    bos_token: str | None
    eos_token: str | None
    pad_token_type_id = 0

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_token_id") and name[:-3] in SPECIAL:
            token = getattr(self, name[:-3])
            return None if token is None else self.vocabulary().get(token)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # What a class fills in.

    def vocabulary(self) -> Mapping[str, int]:
        """Every token with its id, added ones too."""
        raise NotImplementedError

    def encodings(
        self,
        texts: Sequence[tuple[str, str | None]],
        special: bool,
        length: int | None,
        strategy: str,
    ) -> list[Encoding]:
        """Texts and pairs, shortened to ``length`` tokens if it isn't None, with special tokens put in."""
        raise NotImplementedError

    def text_of(self, ids: Sequence[int], skip: bool) -> str:
        """The text of ids that are in the vocabulary, without the special ones if ``skip``."""
        raise NotImplementedError

    def special_ids(self) -> frozenset[int]:
        """The ids that ``skip_special_tokens`` leaves out."""
        return frozenset(self.vocabulary()[t] for n in SPECIAL if (t := getattr(self, n)) is not None)

    def special_count(self, pair: bool = False) -> int:
        """How many special tokens are put into a text, or a pair."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Writes the files that hold the vocabulary."""
        raise NotImplementedError

    # What is the same for all.

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Encodes a text, a pair (``text_pair``), or a batch: a list of texts, or of pairs as tuples.

        ``padding``: False; True or "longest", to the longest of the batch; "max_length", to ``max_length``.
        ``truncation``: False; True or "longest_first"; "only_first"; "only_second"; to ``max_length``, by default
        the model's. Offsets (start, end) count the characters of the text as it was given; special tokens have
        (0, 0). ``return_tensors``: None for lists, "np" or "mg" for int64 of shape (B, T).

        Raises TypeError for what isn't text; ValueError for a text with half of a surrogate pair (bytes that
        were no UTF-8, read with ``surrogateescape``), for padding without a pad token, for truncation without a
        length or where a text would lose all of its tokens.
        """
        texts, batched = texts_and_partners(text, text_pair)
        strategy = "longest_first" if truncation is True else truncation or None
        if strategy is not None and strategy not in STRATEGIES:
            raise ValueError(
                f"tokenizer: truncation must be a bool or one of {', '.join(STRATEGIES)}, got {truncation!r}"
            )
        length = None
        if strategy:
            length = self._limit(max_length, "truncation")
            for pair in {p is not None for _, p in texts} if add_special_tokens else ():
                if length < (n := self.special_count(pair)):
                    raise ValueError(f"tokenizer: max_length={length} has no room for the {n} special tokens")
        found = self.encodings(texts, add_special_tokens, length, strategy or "")
        rows, real = self._padded(found, padding, max_length, pad_to_multiple_of)
        types = (
            "token_type_ids" in self.model_input_names
            if return_token_type_ids is None
            else return_token_type_ids
        )
        wanted = ["input_ids"] + ["token_type_ids"] * types + ["attention_mask"] * return_attention_mask
        wanted += ["offset_mapping"] * return_offsets_mapping + [
            "special_tokens_mask"
        ] * return_special_tokens_mask
        batch = gathered(rows, real, wanted)
        if return_tensors is not None:
            return as_arrays(batch, return_tensors)
        return batch if batched else BatchEncoding({name: column[0] for name, column in batch.items()})

    def _limit(self, max_length: int | None, what: str) -> int:
        length = self.model_max_length if max_length is None else max_length
        if type(length) is not int or length < 1:
            got = "none, and this tokenizer knows no model_max_length" if length is None else repr(length)
            raise ValueError(f"tokenizer: {what} needs max_length, an integer from 1, got {got}")
        return length

    def _padded(
        self, found: list[Encoding], padding: bool | str, max_length: int | None, multiple: int | None
    ) -> tuple[list[Encoding], list[list[int]]]:
        ones = [[1] * len(e.ids) for e in found]
        if padding is False or padding == "do_not_pad":
            return found, ones
        if padding not in (True, "longest", "max_length"):
            raise ValueError(f'tokenizer: padding must be a bool, "longest" or "max_length", got {padding!r}')
        if self.pad_token is None or self.pad_token_id is None:
            raise ValueError(
                "tokenizer: Asking to pad but the tokenizer does not have a padding token: set one, such as "
                "tokenizer.pad_token = tokenizer.eos_token"
            )
        if padding == "max_length":
            length = self._limit(max_length, 'padding="max_length"')
        else:
            length = max((len(e.ids) for e in found), default=0)
        if multiple is not None:
            if type(multiple) is not int or multiple < 1:
                raise ValueError(f"tokenizer: pad_to_multiple_of must be an integer from 1, got {multiple!r}")
            length = -(-length // multiple) * multiple
        side = _side("padding_side", self.padding_side)
        fill = self.pad_token_id, self.pad_token_type_id, self.pad_token
        zeros = [[0] * max(length - len(row), 0) for row in ones]
        real = [z + o if side == "left" else o + z for o, z in zip(ones, zeros, strict=True)]
        return [e.padded(length, side, *fill) for e in found], real

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> list[int]:
        """The ids of one text or pair: ``tok(text, …).input_ids``."""
        return self(text, text_pair, **options)["input_ids"]  # type: ignore[no-any-return]

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The tokens of one text as they stand in the vocabulary."""
        return self.convert_ids_to_tokens(self.encode(text, pair, add_special_tokens=add_special_tokens))  # type: ignore[return-value]

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """The text of a sequence of ids: a list, an array, a tensor, or one id.

        Raises IndexError for an id that isn't in the vocabulary.
        """
        return self.text_of(self._checked(ids), skip_special_tokens)

    def batch_decode(self, rows: Any, skip_special_tokens: bool = False) -> list[str]:
        """The text of each row."""
        return [
            self.decode(row, skip_special_tokens)
            for row in (rows.tolist() if hasattr(rows, "tolist") else rows)
        ]

    def _checked(self, ids: Any) -> list[int]:
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        ids = [ids] if isinstance(ids, int) else list(ids)
        known = self._tokens()
        for id in ids:
            if not hasattr(id, "__index__"):
                raise TypeError(f"tokenizer: ids must be integers, one sequence of them, got {type(id).__name__}; use batch_decode for several rows")  # fmt: skip
            if id not in known:
                raise IndexError(
                    f"tokenizer: id {id} is outside the vocabulary of {len(known):,} tokens (0 to {max(known, default=0):,})"
                )
        return [int(id) for id in ids]

    def _tokens(self) -> Mapping[int, str]:
        vocabulary = self.vocabulary()
        kept: tuple[int, Mapping[int, str]] | None = self.__dict__.get("_by_id")
        if kept is None or kept[0] != len(vocabulary):
            kept = len(vocabulary), {id: token for token, id in vocabulary.items()}
            self.__dict__["_by_id"] = kept
        return kept[1]

    def convert_ids_to_tokens(self, ids: Any) -> str | list[str]:
        """The token of an id, or of each."""
        tokens = [self._tokens()[id] for id in self._checked(ids)]
        return tokens[0] if isinstance(ids, int) else tokens

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or of each; the unknown token's where the vocabulary lacks it, None without one."""
        if isinstance(tokens, str):
            return self.vocabulary().get(tokens, self.unk_token_id)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @property
    def vocab_size(self) -> int:
        """How many tokens the model has, without those added to them; ``len(tokenizer)`` counts all, as transformers do."""
        return len(self.vocabulary())

    def __len__(self) -> int:
        return len(self.vocabulary())

    def __repr__(self) -> str:
        roles = "".join(
            f", {name}={token!r}" for name in SPECIAL if (token := getattr(self, name)) is not None
        )
        return f"{type(self).__name__}({len(self):,} tokens, model_max_length={self.model_max_length}{roles})"

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self.vocabulary())

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens that have a role."""
        return list(dict.fromkeys(t for n in SPECIAL if (t := getattr(self, n)) is not None))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, backend: str = "auto") -> Tokenizer:
        """Opens the tokenizer in a folder: ``tokenizer.json``, else ``vocab.txt`` (WordPiece), ``vocab.json`` with
        ``merges.txt`` (byte-level BPE) or ``characters.json``; with ``tokenizer_config.json`` where there is one.

        ``backend``: "own", "tokenizers" (Hugging Face's library), or "auto", the library where it is installed
        and the folder has a tokenizer.json. Ids and offsets are the same.

        Raises FileNotFoundError where there is none of these files, ValueError naming file and place for one
        that is empty, cut short, not UTF-8 or of a type that isn't known, ImportError without the library.
        """
        from .reading import opened

        return opened(Path(folder), backend)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes the tokenizer into a folder, with tokenizer_config.json, for ``from_pretrained`` and transformers."""
        from ..io import atomic_write

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder)
        config = {k: v for k, v in self.config.items() if k not in SPECIAL}
        config |= {name: token for name in SPECIAL if (token := getattr(self, name)) is not None}
        config |= {"padding_side": self.padding_side, "truncation_side": self.truncation_side}
        config |= {
            "model_max_length": self.model_max_length or NO_LIMIT,
            "model_input_names": self.model_input_names,
        }
        config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
        with atomic_write(folder / "tokenizer_config.json") as f:
            f.write(json.dumps(config, indent=2, ensure_ascii=False).encode())


def _side(name: str, value: Any) -> str:
    if value not in ("right", "left"):
        raise ValueError(f'tokenizer: {name} must be "right" or "left", got {value!r}')
    return str(value)
