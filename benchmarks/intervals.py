"""How sure a ratio of two timings is: medians, and a bootstrap interval of their ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS, LEVEL = 2000, 0.95
FEWEST = 3  # rounds below which nothing is claimed


class Ratio(NamedTuple):
    """How many times as much the first took as the second, and the interval that holds it with 95 %."""

    median: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``tie`` where the interval spans 1; else how the second fared: ``faster`` above 1, ``slower`` below."""
        if self.low <= 1 <= self.high:
            return "tie"
        return "faster" if self.median > 1 else "slower"


def ratio(first: Sequence[float], second: Sequence[float], paired: bool = True) -> Ratio:
    """median(first) / median(second); ``paired``: the i-th of both come from the same round and are drawn together.

    The percentile interval of 2000 bootstrap draws, the same ones every time. Source: B. Efron, R. Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    middle = float(np.median(a) / np.median(b))
    if min(len(a), len(b)) < FEWEST:
        return Ratio(middle, 0.0, float("inf"))
    rng = np.random.default_rng(0)
    rounds = rng.integers(0, len(a), (DRAWS, len(a)))
    others = rounds if paired and len(a) == len(b) else rng.integers(0, len(b), (DRAWS, len(b)))
    drawn = np.median(a[rounds], axis=1) / np.median(b[others], axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(middle, float(low), float(high))
