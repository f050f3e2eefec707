"""Unigram: of all ways to cut a word into pieces the likeliest; and SentencePiece's table of characters before it."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from .normalization import Normalized
from .unicode import charset
from .wordpiece import Pieces

_PENALTY = 10.0  # of a character that no piece covers, below the least likely piece


class Unigram:
    """The pieces p₁ … pₙ of a word with the largest Σ log P(pᵢ), found by the Viterbi algorithm.

    ``pieces`` are (piece, log P) in the order of their ids. A character that no piece is has the log probability of the
    least likely piece - 10; neighbouring ones become one ``unknown`` token, or their bytes ``<0x41>`` with
    ``byte_fallback``. Of equally likely ways the one whose last piece is longest is taken.

    Source: T. Kudo, Subword Regularization, ACL 2018, section 3.2; T. Kudo & J. Richardson, SentencePiece, EMNLP 2018.
    Raises ValueError for a piece met twice, or an ``unknown`` that is no piece's number.
    """

    def __init__(
        self, pieces: Sequence[tuple[str, float]], unknown: int | None, byte_fallback: bool = False
    ) -> None:
        self.vocabulary: Mapping[str, int] = {piece: id for id, (piece, _) in enumerate(pieces)}
        if len(self.vocabulary) < len(pieces):
            twice = next(p for k, (p, _) in enumerate(pieces) if self.vocabulary[p] != k)
            raise ValueError(f"Unigram: piece {twice!r} stands in the vocabulary twice")
        if unknown is not None and unknown >= len(pieces):
            raise ValueError(f"Unigram: unk_id {unknown} is beyond the vocabulary's {len(pieces):,} pieces")
        self.scores = dict(pieces)
        self.unknown = unknown
        self.unlikely = min(score for _, score in pieces) - _PENALTY
        self.longest = max(len(piece) for piece, _ in pieces)
        self.byte_fallback = byte_fallback

    def __call__(self, word: str) -> Pieces:
        """Ids of a word's tokens, and the span of characters of each."""
        ids, spans = list[int](), list[tuple[int, int]]()
        for start, end in self._cut(word):
            piece = word[start:end]
            found = [self.vocabulary.get(piece)]
            if None in found and self.byte_fallback:
                found = [self.vocabulary.get(f"<0x{b:02X}>") for b in piece.encode("utf-8")]
            if None in found:
                found = [self.unknown]
            if None in found:
                raise ValueError(f"Unigram: no piece is {piece!r}, and the model has no unk_id for it")
            ids += [id for id in found if id is not None]
            spans += [(start, end)] * len(found)
        return Pieces(tuple(ids), tuple(spans))

    def _cut(self, word: str) -> list[tuple[int, int]]:
        """Viterbi: best[e] is the largest Σ log P of pieces that cover word[:e], begin[e] where the last of them begins."""
        n, scores = len(word), self.scores
        best, begin, missing = [0.0] + [-math.inf] * n, [0] * (n + 1), [False] * (n + 1)
        for start in range(n):
            single = False
            for end in range(start + 1, min(start + self.longest, n) + 1):
                if (score := scores.get(word[start:end])) is not None:
                    single |= end == start + 1
                    if best[start] + score > best[end]:
                        best[end], begin[end] = best[start] + score, start
                        missing[end] = self.vocabulary[word[start:end]] == self.unknown
            if not single and best[start] + self.unlikely > best[start + 1]:
                best[start + 1] = best[start] + self.unlikely
                begin[start + 1], missing[start + 1] = start, True
        spans, end, open_ = list[tuple[int, int]](), n, False
        while end:  # from the end; characters that are missing side by side are one
            start = begin[end]
            if missing[end] and open_ and self.unknown is not None:
                spans[-1] = start, spans[-1][1]
            else:
                spans.append((start, end))
            open_, end = missing[end], start
        return spans[::-1]


# ---- SentencePiece's normalisation ------------------------------------------------------------------------


class Charsmap:
    """What characters and short sequences of them become: a trie over UTF-8 as a double array, and the texts.

    The data are the array's length in bytes, its units of 32 bits, and the texts with a NUL after each. A unit of the array
    has a label (the lowest byte), a distance to its children (bits 10 to 30, times 256 with bit 9) that is combined by exclusive
    or with its place and a child's label, and a bit for "a key ends here" (8), whose text begins where the child 0
    says. Source: J. Aoe, An Efficient Digital Search Algorithm by Using a Double-Array Structure, 1989; the layout is
    that of the library Darts-clone, which SentencePiece uses.
    """

    def __init__(self, encoded: str) -> None:
        try:
            data = base64.b64decode(encoded, validate=True)
            (size,) = struct.unpack_from("<I", data)
            self.units = struct.unpack_from(f"<{size // 4}I", data, 4)
            self.texts = data[4 + size :]
            self.texts.decode("utf-8")
        except (ValueError, struct.error) as e:
            raise ValueError(
                f"Charsmap: expected SentencePiece's table of characters in base64, got {e}"
            ) from None
        self.of = lru_cache(maxsize=1 << 14)(self._of)

    def _of(self, part: str) -> str | None:
        """The text for the shortest beginning of a part that is a key: it stands for all of it. None where there is none."""
        place = _children(0, self._unit(0))
        for byte in part.encode("utf-8"):
            place ^= byte
            unit = self._unit(place)
            if not byte or unit & 0x800000FF != byte:
                return None
            place = _children(place, unit)
            if unit >> 8 & 1:
                begin = self._unit(place) & 0x7FFFFFFF
                return self.texts[begin:].partition(b"\0")[0].decode("utf-8", "replace")
        return None

    def _unit(self, place: int) -> int:
        return self.units[place] if place < len(self.units) else 0

    def __call__(self, state: Normalized) -> Normalized:
        """Replaces clusters of fewer than 6 bytes, else characters. Further characters of a text stem from its last one."""
        if (
            state.text.isascii()
            and not any(self.of(c) not in (None, c) for c in set(state.text))
            and "\r\n" not in state.text
        ):
            return state  # fmt: skip
        made, moves = "", list[int]()  # the text, and how many places each of its characters takes
        changed = False
        for cluster in clusters().findall(state.text):
            whole = self.of(cluster) if len(cluster.encode("utf-8")) < 6 else None
            for part in cluster if whole is None else (cluster,):
                text = self.of(part) if whole is None else whole
                changed |= text is not None
                more = len(text) - len(part) if text is not None else 0
                made += part if text is None else text
                moves += [int(k < len(part)) for k in range(len(part) + more)]
                if more < 0 and moves:
                    moves[-1] -= more  # what is gone belongs to what stands before it
        if not changed:
            return state
        where, origins, at = state.where(), [], 0
        for taken in moves:
            origins.append(where[at] if taken else where[max(at - 1, 0)])
            at += taken
        return Normalized(made, origins)


def _children(place: int, unit: int) -> int:
    return place ^ (unit >> 10) << ((unit & 1 << 9) >> 6)


@cache
def clusters() -> re.Pattern[str]:
    """What is read as one character (UAX 29), as far as it matters to clusters of fewer than 6 bytes of UTF-8."""
    prepended = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"
    controls = f"(?![{prepended}\u200c\u200d\U000e0020-\U000e007f])[{charset('Cc', 'Cf', 'Zl', 'Zp')}]"
    lead, vowel, tail = (
        "\u1100-\u115f\ua960-\ua97c",
        "\u1160-\u11a7\ud7b0-\ud7c6",
        "\u11a8-\u11ff\ud7cb-\ud7fb",
    )
    hangul = f"[{lead}]*(?:[\uac00-\ud7a3][{vowel}]*|[{vowel}]+)[{tail}]*|[{lead}]+|[{tail}]+"
    extend = f"[{charset('M')}\u200c\u200d\uff9e\uff9f\u0e33\u0eb3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
    return re.compile(f"\r\n|{controls}|[{prepended}]*(?:{hangul}|(?!{controls}).){extend}*|[{prepended}]+", re.DOTALL)  # fmt: skip
