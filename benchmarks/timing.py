"""Timing calls against each other so that the figures can be believed: paired, interleaved, with their spread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

SAMPLE = 1e-3  # seconds: a sample repeats its call until it lasts about this long


class Timing(NamedTuple):
    """Seconds a call, one figure a run."""

    seconds: tuple[float, ...]

    @property
    def min(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Ratio(NamedTuple):
    """How many times as long the first took as the second: the median over runs, and the quartiles."""

    median: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``tie`` where half of the runs or more don't settle which is faster, else ``faster`` or ``slower``."""
        if self.low <= 1 <= self.high:
            return "tie"
        return "faster" if self.median < 1 else "slower"


def interleaved(calls: Mapping[str, Callable[[], Any]], runs: int = 15) -> dict[str, Timing]:
    """Times every call once a round, in an order that turns round each time, for ``runs`` rounds.

    What slows the machine for a while slows all of them. The garbage collector is off meanwhile, and a
    first call of each, which warms caches, is not counted.
    """
    if runs < 1:
        raise ValueError(f"interleaved: expected at least one run, got {runs}")
    repeats = {name: _repeats(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for i in range(runs):
            for name in list(calls) if i % 2 == 0 else list(calls)[::-1]:
                call, n = calls[name], repeats[name]
                start = time.perf_counter()
                for _ in range(n):
                    call()
                seconds[name].append((time.perf_counter() - start) / n)
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(tuple(s)) for name, s in seconds.items()}


def _repeats(call: Callable[[], Any]) -> int:
    """Calls once to warm up, then as often as fills a sample."""
    call()
    start = time.perf_counter()
    call()
    return max(1, round(SAMPLE / max(time.perf_counter() - start, 1e-9)))


def ratio(a: Timing, b: Timing) -> Ratio:
    """a over b, run by run."""
    each = [x / y for x, y in zip(a.seconds, b.seconds, strict=True)]
    if len(each) == 1:
        return Ratio(each[0], each[0], each[0])
    low, median, high = statistics.quantiles(each, n=4, method="inclusive")
    return Ratio(median, low, high)
