"""WordPiece: a word is cut from the left into the longest pieces that the vocabulary has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Pieces(NamedTuple):
    """What a word became: the ids, and for each its span within the word."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class WordPiece:
    """Greedy longest-match-first: pieces that continue a word are spelled with the prefix ``##``.

    A word with a part that no piece covers, or of more than ``max_characters``, is the unknown token as a
    whole. The vocabulary is chosen, when it is trained, by how much each piece raises the likelihood of the
    text. Source: M. Schuster & K. Nakajima, Japanese and Korean Voice Search, ICASSP 2012, section 3; Y. Wu
    et al., Google's Neural Machine Translation System, 2016, section 4.1; the greedy matching is BERT's
    (J. Devlin et al. 2019).

    Raises ValueError where the vocabulary lacks the unknown token.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        unknown: str = "[UNK]",
        prefix: str = "##",
        max_characters: int = 100,
    ) -> None:
        if unknown not in vocabulary:
            raise ValueError(f"WordPiece: the vocabulary of {len(vocabulary):,} tokens lacks {unknown!r}")
        self.vocabulary, self.prefix, self.max_characters = vocabulary, prefix, max_characters
        self.unknown = vocabulary[unknown]
        self.longest = max(map(len, vocabulary))

    def __call__(self, word: str) -> Pieces:
        """Ids and spans of a word's pieces."""
        whole = Pieces((self.unknown,), ((0, len(word)),))
        if len(word) > self.max_characters:
            return whole
        ids, spans, start = [], [], 0
        while start < len(word):
            prefix = self.prefix if start else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                if (id := self.vocabulary.get(prefix + word[start:end])) is not None:
                    break
            else:
                return whole
            ids.append(id)
            spans.append((start, end))
            start = end
        return Pieces(tuple(ids), tuple(spans))
