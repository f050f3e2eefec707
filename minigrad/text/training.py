"""Training a byte-level BPE: the most frequent pair of neighbours becomes a token, again and again."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from .bpe import byte_characters
from .building import BytePairTokenizer
from .patterns import GPT2, translated
from .splitting import isolated

Pair = tuple[int, int]


def train_bpe(
    texts: str | Iterable[str],
    vocab_size: int,
    *,
    special: Sequence[str] = (),
    min_frequency: int = 2,
    pattern: str = GPT2,
    **config: Any,
) -> BytePairTokenizer:
    """Learns merges from texts until there are ``vocab_size`` tokens or no pair is met ``min_frequency`` times.

    The vocabulary is the ``special`` tokens, the 256 bytes in the order of the characters that stand for them,
    and a token for each merge. Of pairs met equally often, the one of the lower ids is merged first, so that the
    same texts give the same tokenizer, the one that Hugging Face's BpeTrainer gives.

    Each word that the ``pattern`` finds is kept once, with its number. A merge touches the words that hold the
    pair, and changes the numbers of the pairs next to it; the largest number is on top of a heap, whose
    entries are corrected as they come up: O(length of the different words) altogether, but for the heap.

    Source: Sennrich et al. 2016, algorithm 1; Radford et al. 2019, section 2.2. Raises ValueError for texts
    without a word and for a ``vocab_size`` that doesn't hold the bytes and the special tokens.
    """
    alphabet = sorted(byte_characters())
    tokens = [*dict.fromkeys(special), *(c for c in alphabet if c not in special)]
    if type(vocab_size) is not int or vocab_size < len(tokens):
        raise ValueError(
            f"train_bpe: vocab_size must be at least {len(tokens)}, the bytes and the special tokens, got {vocab_size!r}"
        )
    counts = _words([texts] if isinstance(texts, str) else texts, pattern)
    if not counts:
        raise ValueError("train_bpe: expected text, got none")
    ids = {token: id for id, token in enumerate(tokens)}
    of_byte = [ids[c] for c in byte_characters()]
    words = [[of_byte[b] for b in word.encode("utf-8")] for word in counts]
    merges = _learned(words, list(counts.values()), tokens, ids, vocab_size, max(min_frequency, 1))
    return BytePairTokenizer(ids, merges, special=special, pattern=pattern, **config)


def _words(texts: Iterable[str], pattern: str) -> Counter[str]:
    cut, counts = translated(pattern), Counter[str]()
    for text in texts:
        counts.update(text[a:b] for a, b in isolated(cut, text))
    return counts


def _learned(
    words: list[list[int]], numbers: list[int], tokens: list[str], ids: dict[str, int], size: int, least: int
) -> list[tuple[str, str]]:
    """Merges in order; ``tokens`` and ``ids`` grow, ``words`` are rewritten."""
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # the words in which a pair may stand
    for k, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += numbers[k]
            where[pair].add(k)
    heap = [(-n, pair) for pair, n in counts.items()]
    heapq.heapify(heap)
    merges: list[tuple[str, str]] = []
    while heap and len(tokens) < size:
        negative, pair = heapq.heappop(heap)
        if counts[pair] != -negative:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        if -negative < least:
            break
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges.append((left, right))
        if (new := ids.setdefault(left + right, len(tokens))) == len(tokens):
            tokens.append(left + right)
        changes: Counter[Pair] = Counter()
        for k in where.pop(pair):
            words[k], gone, come = _merge(words[k], pair, new)
            for p in gone:
                changes[p] -= numbers[k]
            for p in come:
                changes[p] += numbers[k]
                where[p].add(k)
        for p, change in changes.items():
            counts[p] += change
            if change > 0:
                heapq.heappush(heap, (-counts[p], p))
        del counts[pair]
    return merges


def _merge(word: list[int], pair: Pair, new: int) -> tuple[list[int], list[Pair], list[Pair]]:
    """A word with the pair merged from the left, the pairs that it lost and those that it gained."""
    out: list[int] = []
    k = 0
    while k < len(word):
        if k + 1 < len(word) and word[k] == pair[0] and word[k + 1] == pair[1]:
            out.append(new)
            k += 2
        else:
            out.append(word[k])
            k += 1
    return out, list(pairwise(word)), list(pairwise(out))
