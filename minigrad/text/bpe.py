"""Byte-pair encoding: a word starts as characters or bytes, and the pair merged first in training is merged first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

from .wordpiece import Pieces


@cache
def byte_characters() -> tuple[str, ...]:
    """The character that stands for each of the 256 bytes in GPT-2's vocabulary.

    Printable bytes of Latin-1 stand for themselves, the 68 others for U+0100 onwards: a space is ``Ġ``.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(b if b in printable else next(others)) for b in range(256))


@cache
def character_bytes() -> Mapping[str, int]:
    """The byte for each of those characters."""
    return {c: b for b, c in enumerate(byte_characters())}


@cache
def _spelled(c: str) -> str:
    return "".join(byte_characters()[b] for b in c.encode("utf-8"))


class BytePairEncoding:
    """Merges pairs of neighbouring symbols, of all that stand there the one of lowest rank, until none is left.

    With ``as_bytes`` a word is its UTF-8 bytes, so that nothing is ever unknown. ``whole_words`` takes a word
    that the vocabulary has as it is, whatever the merges (Llama 3). What the vocabulary lacks becomes its bytes
    ``<0x41>`` with ``byte_fallback``, else ``unknown``, and is left out where there is no such token.

    Source: R. Sennrich, B. Haddow, A. Birch, Neural Machine Translation of Rare Words with Subword Units, ACL
    2016, algorithm 1; on bytes: A. Radford et al., Language Models are Unsupervised Multitask Learners, 2019,
    section 2.2.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        as_bytes: bool = False,
        unknown: str | None = None,
        fuse_unknown: bool = False,
        byte_fallback: bool = False,
        whole_words: bool = False,
        prefix: str = "",
        suffix: str = "",
    ) -> None:
        self.vocabulary, self.as_bytes, self.whole_words = vocabulary, as_bytes, whole_words
        self.byte_fallback, self.fuse_unknown = byte_fallback, fuse_unknown
        self.prefix, self.suffix = prefix, suffix
        self.unknown = None if unknown is None else self._known(unknown, "unk_token")
        self.ranks: dict[tuple[int, int], tuple[int, int]] = {}  # the pair of ids → (rank, the id of both)
        for rank, (left, right) in enumerate(merges):
            pair = self._known(left, f"merge {rank}"), self._known(right, f"merge {rank}")
            joined = self._known(left + right[len(prefix) :], f"merge {rank}")
            self.ranks[pair] = rank, joined

    def _known(self, token: str, where: str) -> int:
        if (id := self.vocabulary.get(token)) is None:
            raise ValueError(f"BytePairEncoding: {where} needs {token!r}, which the vocabulary lacks")
        return id

    def __call__(self, word: str) -> Pieces:
        """Ids of a word's tokens, and the span of characters that each one touches."""
        if self.as_bytes:
            spelled = [_spelled(c) for c in word]
            owners = [k for k, units in enumerate(spelled) for _ in units]
            word = "".join(spelled)
        else:
            owners = list(range(len(word)))
        if self.whole_words and (id := self.vocabulary.get(word)) is not None:
            return Pieces((id,), ((0, owners[-1] + 1),))
        ids, starts, ends = self._symbols(word)
        kept = self._merged(ids, ends)
        spans = tuple((owners[starts[k]], owners[ends[k] - 1] + 1) for k in kept)
        return Pieces(tuple(ids[k] for k in kept), spans)

    def _symbols(self, word: str) -> tuple[list[int], list[int], list[int]]:
        """The ids of the single characters, where each starts and ends."""
        ids, starts, ends, fused = list[int](), list[int](), list[int](), False
        for k, c in enumerate(word):
            spelled = (self.prefix if k else "") + c + (self.suffix if k == len(word) - 1 else "")
            units: list[int | None] = [self.vocabulary.get(spelled)]
            if units == [None] and self.byte_fallback:
                units = [self.vocabulary.get(f"<0x{b:02X}>") for b in spelled.encode("utf-8")]
            known = [id for id in units if id is not None]
            if len(known) == len(units):
                fused = False
            elif self.unknown is None:
                continue
            elif fused and self.fuse_unknown:
                ends[-1] = k + 1
                continue
            else:
                known, fused = [self.unknown], True
            ids += known
            starts += [k] * len(known)
            ends += [k + 1] * len(known)
        return ids, starts, ends

    def _merged(self, ids: list[int], ends: list[int]) -> list[int]:
        """Merges in place, and says which places are left.

        From the lowest rank up and from the left, in O(n log n): a heap of pairs over a linked list.
        """
        ranks, n = self.ranks, len(ids)
        following, before = list(range(1, n + 1)), list(range(-1, n - 1))
        heap = [(*ranks[pair], k) for k, pair in enumerate(pairwise(ids)) if pair in ranks]
        heapq.heapify(heap)
        dead = -1
        while heap:
            _, joined, k = heapq.heappop(heap)
            right = following[k]
            # A pair found earlier may have lost a side to another merge since.
            if ids[k] == dead or right >= n or ranks.get((ids[k], ids[right]), (0, dead))[1] != joined:
                continue
            ids[k], ends[k], ids[right], following[k] = joined, ends[right], dead, following[right]
            if following[k] < n:
                before[following[k]] = k
            for left in (before[k], k):
                if left >= 0 and following[left] < n:
                    pair = ids[left], ids[following[left]]
                    if pair in ranks:
                        heapq.heappush(heap, (*ranks[pair], left))
        return [k for k in range(n) if ids[k] != dead]
