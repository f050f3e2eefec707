"""The one owner of the threads that share a call's work: kernels and compiled blocks get as many as they deserve.

Loops run without the GIL, compiled or in NumPy, and take a range, so a call is shared by giving each thread a piece of it. The
pool is Python's: two threads may be in two kernels at once, and a forked process makes a pool of its own, neither of
which Numba's layers allow (workqueue ends the process on the first, GNU OpenMP on the second). A hand-over costs
about 50 µs, so work below :data:`SHARED` stays where it is and no second pool spins beside BLAS's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

SHARED = 200_000.0  # nanoseconds of work from which a second thread pays
VARIABLES = ("MINIGRAD_NUM_THREADS", "OMP_NUM_THREADS")
_pool: Any = None
_number = 0


def number() -> int:
    """How many threads a large call gets: what the environment says, else the cores this process may use."""
    global _number
    if not _number:
        said = next((v for name in VARIABLES if (v := os.environ.get(name, "")).isdecimal()), "0")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        _number = max(int(said) or cores, 1)
    return _number


def share(loop: Callable[..., Any], args: tuple[Any, ...], size: int, work: float) -> None:
    """Calls ``loop(*args, start, stop)`` over 0 … size, in pieces when ``work`` nanoseconds are enough for it."""
    pieces = 1 if work < SHARED else min(number(), size)
    if pieces <= 1:
        loop(*args, 0, size)
        return
    cuts = [size * i // pieces for i in range(pieces + 1)]
    waiting = [_workers().submit(loop, *args, cuts[i], cuts[i + 1]) for i in range(1, pieces)]
    try:
        loop(*args, 0, cuts[1])
    finally:
        for piece in waiting:
            piece.result()


def _workers() -> Any:
    global _pool
    if _pool is None:
        from concurrent.futures import ThreadPoolExecutor

        _pool = ThreadPoolExecutor(max(number() - 1, 1), "minigrad-threads")
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
    return _pool


def _forget() -> None:
    """After a fork: the pool's threads are the parent's."""
    global _pool
    _pool = None
