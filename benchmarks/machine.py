"""What this machine can do at best, and whether it kept doing it: rates for the roof, a calibration for noise.

The roof is measured in the same run as everything else, with as many threads, on the same cores.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

SIZES = tuple(4**k for k in range(8, 15))  # bytes moved: what caches of each level, and memory, hold
MATRICES = (512, 1024, 2048)
LEAST = 0.02  # seconds that a rate's sample lasts at least
MARGIN = 1.15  # a roof is a measurement too: only what is above it by more is impossible
LOOP = 2**16  # elements that the calibration loop copies
NOISY, DRIFTED = 0.10, 0.08  # spread of the calibration loop, and its change from the first third to the last


class Roof(NamedTuple):
    """The best rates seen: flops a second, and bytes a second by the size of what is moved."""

    flops: float
    bandwidth: dict[int, float]

    def bytes_a_second(self, nbytes: float) -> float:
        """For a working set of this size: the best that one of half the size or more reached."""
        larger = [rate for size, rate in self.bandwidth.items() if 2 * size >= nbytes]
        return max(larger or [self.bandwidth[max(self.bandwidth)]])

    def floor(self, nbytes: float, flops: float) -> float:
        """The least seconds in which that many bytes can move and that many operations run here."""
        moving = nbytes / self.bytes_a_second(nbytes) if nbytes else 0.0
        return max(moving, flops / self.flops)

    @classmethod
    def of(cls, measured: dict[str, Any]) -> Roof:
        """From what ``rates`` gave, through JSON or not."""
        return cls(measured["flops"], {int(s): r for s, r in measured["bandwidth"].items()})

    def raised(self, other: Roof) -> Roof:
        """The better of two measurements."""
        sizes = sorted({*self.bandwidth, *other.bandwidth})
        both = {s: max(self.bandwidth.get(s, 0.0), other.bandwidth.get(s, 0.0)) for s in sizes}
        return Roof(max(self.flops, other.flops), both)


def rates(lib: Any, threads: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """The library's float32 matrix product; with minigrad also that of its kernels, and what NumPy copies and reads."""
    if hasattr(lib, "set_num_threads"):
        lib.set_num_threads(threads)
    flops = 0.0
    ours = getattr(lib, "__name__", "") == "minigrad"
    for n in MATRICES:
        a, b = lib.from_numpy(np.ones((n, n), np.float32)), lib.from_numpy(np.ones((n, n), np.float32))
        if ours:  # NumPy itself, without an op around it
            x, y, out = a.numpy(), b.numpy(), np.empty((n, n), np.float32)
            flops = max(flops, 2 * n**3 / _best(partial(np.matmul, x, y, out=out), clock))
        else:
            flops = max(flops, 2 * n**3 / _best(partial(lib.matmul, a, b), clock))
    if ours:
        flops = max(flops, _tiles(threads, clock))
    moving = {size: _moving(size, threads, clock) for size in SIZES if ours}
    return {"flops": flops, "bandwidth": moving}


def _best(call: Callable[[], Any], clock: Callable[[], float], samples: int = 7) -> float:
    """The least seconds a call, of some samples that last long enough to be read off a clock."""
    call()
    start = clock()
    call()
    repeats = max(1, round(LEAST / max(clock() - start, 1e-7)))
    seconds = []
    for _ in range(samples):
        start = clock()
        for _ in range(repeats):
            call()
        seconds.append((clock() - start) / repeats)
    return min(seconds)


def _tiles(threads: int, clock: Callable[[], float]) -> float:
    """Flops a second of the kernels' own product, which can be ahead of the BLAS; a thread for each core. 0 without Numba."""
    try:
        from minigrad.kernels.numba_cpu.vectors import product
    except ImportError:
        return 0.0
    rows, n = 1024, 64
    right = np.ones((n, n), np.float32)
    pairs = [(np.ones((rows, n), np.float32), np.ones((rows, n), np.float32)) for _ in range(threads)]

    def multiply(c: Any, a: Any) -> None:
        product(a, right, c, n, False)

    flops = 2.0 * rows * n * n
    alone = _best(partial(multiply, *pairs[0]), clock)
    if threads == 1:
        return flops / alone
    repeats = max(1, round(LEAST / alone))
    return max(flops * threads * repeats / _together(pairs, repeats, multiply, clock) for _ in range(3))


def _update(b: Any, a: Any) -> None:
    np.add(b, a, out=b)


# Ways to move two arrays, and the bytes that each moves for a byte of the two. A copy to other memory fetches the lines
# that it overwrites, which an update in place does not: it is the fastest where memory decides.
MOVES: tuple[tuple[Callable[[Any, Any], Any], float], ...] = ((np.copyto, 1.0), (np.dot, 1.0), (_update, 1.5))


def _moving(size: int, threads: int, clock: Callable[[], float]) -> float:
    """Bytes a second of the best of :data:`MOVES`; every thread has its own arrays."""
    elements = size // threads // 8
    best = 0.0
    for move, moved in MOVES:
        pairs = [(np.ones(elements, np.float32), np.ones(elements, np.float32)) for _ in range(threads)]
        a, b = pairs[0]
        alone = _best(partial(move, b, a), clock, samples=3)
        if threads == 1:
            best = max(best, moved * size / alone)
            continue
        repeats = max(1, round(LEAST / alone))
        for _ in range(3):
            best = max(best, moved * size * repeats / _together(pairs, repeats, move, clock))
    return best


def _together(
    pairs: list[Any], repeats: int, move: Callable[[Any, Any], Any], clock: Callable[[], float]
) -> float:
    """Seconds from the moment when all threads are there until the last one is done."""
    barrier, ends = threading.Barrier(len(pairs) + 1), [0.0] * len(pairs)

    def work(i: int) -> None:
        a, b = pairs[i]
        barrier.wait()
        for _ in range(repeats):
            move(b, a)
        ends[i] = clock()

    each = [threading.Thread(target=work, args=(i,)) for i in range(len(pairs))]
    for thread in each:
        thread.start()
    barrier.wait()
    start = clock()
    for thread in each:
        thread.join()
    return max(ends) - start


class Calibration:
    """A fixed loop on every core, timed between rounds: what it takes longer is the machine's doing, not a side's."""

    def __init__(self, threads: int = 1, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock, self.seconds = clock, list[float]()
        self.pairs = [
            (np.ones(LOOP, np.float32), np.ones(LOOP, np.float32)) for _ in range(threads)
        ]  # in the cache

    def tick(self) -> None:
        """Once more."""
        self.seconds.append(_together(self.pairs, 200, np.copyto, self.clock))

    def slowed(self, first: int, last: int) -> float:
        """How much slower the loop was in these ticks, by their median, than at its best: 0.5 is half as long again."""
        some = self.seconds[first:last]
        return statistics.median(some) / min(self.seconds) - 1 if some else 0.0

    def summary(self) -> dict[str, Any]:
        """The median, the spread (from the first decile to the last, over the median), the drift, and what they mean."""
        s = self.seconds
        if len(s) < 5:
            return {"ticks": len(s), "words": "too few rounds to say how noisy the machine was"}
        tenths = statistics.quantiles(s, n=10, method="inclusive")
        middle, third = statistics.median(s), max(1, len(s) // 3)
        spread = (tenths[-1] - tenths[0]) / middle
        drift = statistics.median(s[-third:]) / statistics.median(s[:third]) - 1
        words = f"quiet: the calibration loop varied by {spread:.0%}"
        if spread > NOISY:
            words = f"NOISY: the calibration loop varied by {spread:.0%}; other work shared the machine"
        if drift > DRIFTED:
            words += (
                f"; THROTTLED or busier: the loop was {drift:.0%} slower in the last third than in the first"
            )
        return {"ticks": len(s), "median": middle, "spread": spread, "drift": drift, "words": words}
