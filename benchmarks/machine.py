"""What this machine can do at best: bytes copied a second, and float32 multiply-adds a second."""

from __future__ import annotations

import functools
import math

import numpy as np

from .timing import interleaved


@functools.cache
def _copy_rate(log2: int) -> float:
    source = np.ones(2**log2 // 8, np.float32)  # half of the bytes are read, half written
    target = np.empty_like(source)
    return 2 * source.nbytes / interleaved({"copy": lambda: np.copyto(target, source)}, runs=7)["copy"].min


def bandwidth(nbytes: int) -> float:
    """Bytes a second when a copy moves about ``nbytes``: a working set in cache is faster than memory."""
    return _copy_rate(min(max(math.ceil(math.log2(max(nbytes, 1))), 12), 28))


@functools.cache
def flop_rate() -> float:
    """Floating-point operations a second of a 1024 x 1024 float32 matrix product."""
    a = np.ones((1024, 1024), np.float32)
    out = np.empty_like(a)
    return 2 * 1024**3 / interleaved({"sgemm": lambda: np.matmul(a, a, out=out)}, runs=5)["sgemm"].min


def floor(nbytes: float, flops: float) -> float:
    """The least seconds in which that many bytes can move and that many operations run here."""
    return max(nbytes / bandwidth(int(nbytes)), flops / flop_rate())
