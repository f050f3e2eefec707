"""Our own tokenizer: added tokens, normalisation, words, WordPiece or BPE, template; as tokenizer.json describes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .added import AddedToken, Finder
from .bpe import BytePairEncoding
from .decoding import decoder
from .definition import Definition
from .encoding import Encoding, truncated
from .normalization import normalizer
from .splitting import splitter
from .templates import template
from .tokenizer import Tokenizer
from .unigram import Unigram
from .wordpiece import Pieces, WordPiece

_LONGEST_KEPT, _KEPT = 64, 1 << 17  # words in the cache: their length, their number


def _wordpiece(d: Definition, as_bytes: bool) -> WordPiece:
    vocabulary, unknown = d.vocabulary("vocab"), d.text("unk_token")
    prefix, longest = d.text("continuing_subword_prefix"), d.number("max_input_chars_per_word", 100)
    return WordPiece(vocabulary, unknown, prefix, longest)


def _bpe(d: Definition, as_bytes: bool) -> BytePairEncoding:
    merges = d.get("merges")
    if not isinstance(merges, list):
        raise d.wrong("merges", "a list of pairs of tokens")
    pairs = []
    for k, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or [type(v) for v in pair] != [str, str]:
            raise ValueError(f"{d.place}: merge {k} must be two tokens, got {merge!r:.80}")
        pairs.append((pair[0], pair[1]))
    if d.get("dropout"):
        raise d.wrong("dropout", "null or 0, as tokens would be drawn at random")
    return BytePairEncoding(
        d.vocabulary("vocab"),
        pairs,
        as_bytes=as_bytes,
        unknown=d.optional("unk_token"),
        fuse_unknown=d.flag("fuse_unk", False),
        byte_fallback=d.flag("byte_fallback", False),
        whole_words=d.flag("ignore_merges", False),
        prefix=d.optional("continuing_subword_prefix") or "",
        suffix=d.optional("end_of_word_suffix") or "",
    )


def _unigram(d: Definition, as_bytes: bool) -> Unigram:
    pieces, unknown = d.get("vocab"), None if d.get("unk_id") is None else d.number("unk_id")
    if not isinstance(pieces, list) or not pieces:
        raise d.wrong("vocab", "a list of pieces and their log probabilities")
    for k, piece in enumerate(pieces):
        if (
            not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[0], str) or not piece[0]
            or type(piece[1]) not in (int, float) or not math.isfinite(piece[1])
        ):  # fmt: skip
            raise ValueError(
                f"{d.place}: piece {k} must be a text and its log probability, got {piece!r:.80}"
            )
    try:
        return Unigram(
            [(piece, float(score)) for piece, score in pieces], unknown, d.flag("byte_fallback", False)
        )
    except ValueError as e:
        raise ValueError(f"{d.place}: {e}") from None


MODELS = {
    "WordPiece": lambda d: partial(_wordpiece, d),
    "BPE": lambda d: partial(_bpe, d),
    "Unigram": lambda d: partial(_unigram, d),
}


class Pipeline(Tokenizer):
    """A tokenizer made of parts, in the order in which text goes through them.

    ``definition`` is what a tokenizer.json holds; ``config`` what a tokenizer_config.json does. Raises ValueError
    naming the place for a part that is wrong or isn't known.
    """

    backend = "own"

    def __init__(
        self,
        definition: Mapping[str, Any],
        config: Mapping[str, Any] | None = None,
        place: str = "tokenizer.json",
    ) -> None:
        self.definition = definition
        d = Definition(definition, place)
        self.normalize = normalizer(d.part("normalizer"))
        self.split = splitter(d.part("pre_tokenizer"))
        if (model := d.part("model")) is None:
            raise d.wrong("model", "there")
        if "type" not in model.values and "merges" in model.values:
            model = model._replace(values={**model.values, "type": "BPE"})  # files of before 2020
        self.model: WordPiece | BytePairEncoding | Unigram = model.chosen(MODELS)(self.split.as_bytes)
        self.template = template(d.part("post_processor"))
        self.decoder = decoder(d.part("decoder"))
        added = [AddedToken.read(part) for part in d.parts("added_tokens")] if d.get("added_tokens") else []
        self.finder = Finder(added, self.normalize)
        self.tokens = {**self.model.vocabulary, **{token.content: token.id for token in added}}
        self._special = frozenset(token.id for token in added if token.special)
        self._contents = {token.id: self.finder.sought(token) for token in added}
        self._cache: dict[str, Pieces] = {}
        super().__init__(config or {})

    def vocabulary(self) -> Mapping[str, int]:
        return self.tokens

    @property
    def vocab_size(self) -> int:
        return len(self.model.vocabulary)

    def special_ids(self) -> frozenset[int]:
        return self._special

    def special_count(self, pair: bool = False) -> int:
        return self.template.added(pair)

    def encodings(
        self, texts: Sequence[tuple[str, str | None]], special: bool, length: int | None, strategy: str
    ) -> list[Encoding]:
        found = []
        for text, pair in texts:
            first, second = self.encoding(text), None if pair is None else self.encoding(pair)
            if length is not None:
                room = length - (self.special_count(pair is not None) if special else 0)
                first, second = truncated(first, second, room, strategy, self.truncation_side)
            found.append(self.template.filled(first, second, special))
        return found

    def encoding(self, text: str) -> Encoding:
        """One text before special tokens are put in."""
        ids, offsets, tokens = list[int](), list[tuple[int, int]](), list[str]()
        for state, base, added in self.finder.sections(text):
            if added is not None:
                words = [(Pieces((added,), ((0, len(state.text)),)), 0)]
            else:
                state, cut = self.split.words(state, base == 0)
                words = [(self._pieces(state.text[a:b]), a) for a, b in cut]
            origins = state.origins
            for pieces, start in words:
                ids += pieces.ids
                if origins is None:
                    shift = base + start
                    offsets += [(a + shift, b + shift) for a, b in pieces.spans]
                else:
                    offsets += [
                        (base + origins[start + a], base + origins[start + b - 1] + 1)
                        for a, b in pieces.spans
                    ]
            if self.template.trim:
                tokens += (
                    [state.text]
                    if added is not None
                    else [self._tokens()[i] for p, _ in words for i in p.ids]
                )
        return Encoding.of(ids, offsets, tokens or [""] * len(ids))

    def _pieces(self, word: str) -> Pieces:
        pieces = self._cache.get(word)
        if pieces is None:
            pieces = self.model(word)
            if len(word) <= _LONGEST_KEPT:
                if len(self._cache) >= _KEPT:
                    self._cache.clear()
                self._cache[word] = pieces
        return pieces

    def text_of(self, ids: Sequence[int], skip: bool) -> str:
        kept = [id for id in ids if not (skip and id in self._special)]
        return "".join(self.decoder([self._contents.get(id) or self._tokens()[id] for id in kept]))

    def save(self, folder: Path) -> None:
        from ..io import atomic_write

        with atomic_write(folder / "tokenizer.json") as f:
            f.write(json.dumps(self.definition, indent=2, ensure_ascii=False).encode())
        if isinstance(self.model, WordPiece):
            with atomic_write(folder / "vocab.txt") as f:
                f.write("".join(f"{t}\n" for t in sorted(self.tokens, key=self.tokens.__getitem__)).encode())
