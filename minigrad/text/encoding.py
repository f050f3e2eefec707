"""What one text, or a pair of texts, became; and how it is shortened and filled up."""

from __future__ import annotations

from typing import NamedTuple

STRATEGIES = ("longest_first", "only_first", "only_second")


class Encoding(NamedTuple):
    """Lists of one length: ids, the number of the text each belongs to, its span in it, whether it was put in."""

    ids: list[int]
    type_ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[int]
    tokens: list[str]

    @classmethod
    def of(cls, ids: list[int], offsets: list[tuple[int, int]], tokens: list[str]) -> Encoding:
        """The encoding of one text, before special tokens are put in."""
        return cls(ids, [0] * len(ids), offsets, [0] * len(ids), tokens)

    def __add__(self, other: Encoding) -> Encoding:  # type: ignore[override]
        return Encoding(
            self.ids + other.ids,
            self.type_ids + other.type_ids,
            self.offsets + other.offsets,
            self.special + other.special,
            self.tokens + other.tokens,
        )

    def typed(self, type_id: int) -> Encoding:
        """The same, as text number ``type_id``."""
        return self._replace(type_ids=[type_id] * len(self.ids))

    def shortened(self, length: int, side: str) -> Encoding:
        """The first tokens, or with ``side="left"`` the last: the side is where tokens are dropped."""
        n = len(self.ids)
        kept = slice(0, length) if side == "right" else slice(max(n - length, 0), n)
        columns = self.ids, self.type_ids, self.offsets, self.special, self.tokens
        return Encoding(*(column[kept] for column in columns))  # type: ignore[arg-type, index]

    def padded(self, length: int, side: str, id: int, type_id: int, token: str) -> Encoding:
        """Filled up to a length."""
        n = max(length - len(self.ids), 0)
        fill = Encoding([id] * n, [type_id] * n, [(0, 0)] * n, [1] * n, [token] * n)
        return fill + self if side == "left" else self + fill


def truncated(
    first: Encoding, second: Encoding | None, length: int, strategy: str, side: str
) -> tuple[Encoding, Encoding | None]:
    """Shortens a text or a pair to ``length`` tokens together.

    "longest_first" takes from the longer until both are equal, then from both (the one that was longer keeps the
    odd token, the second where they are equal); "only_first" and "only_second" take from one alone. Raises
    ValueError where that one is too short for it.
    """
    sizes = [len(first.ids), len(second.ids) if second else 0]
    surplus = sum(sizes) - length
    if surplus <= 0:
        return first, second
    if length <= 0:
        return first.shortened(0, side), second and second.shortened(0, side)
    if strategy == "longest_first" and second is not None:
        short, long = sorted(sizes)
        long = short if short > length else max(short, length - short)
        if short + long > length:
            short, long = length // 2, length // 2 + length % 2
        a, b = (long, short) if sizes[0] > sizes[1] else (short, long)
        return first.shortened(a, side), second.shortened(b, side)
    which = 1 if strategy == "only_second" else 0
    if (
        second is None
        and which
        or surplus > sizes[which]
        or strategy != "longest_first"
        and surplus == sizes[which]
    ):
        raise ValueError(
            f"tokenizer: {strategy!r} can't shorten texts of {sizes[0]} and {sizes[1]} tokens to {length}: one text "
            f'would lose all; use truncation="longest_first" or a larger max_length'
        )
    if which:
        return first, second.shortened(sizes[1] - surplus, side) if second else None
    return first.shortened(sizes[0] - surplus, side), second
