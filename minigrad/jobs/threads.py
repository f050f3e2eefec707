"""How many threads NumPy's BLAS works with, told and changed for a block.

A step on 32 images is too little work to share: where the cores had other work too, two threads took eight times as
long as one, because a thread that waits for the other spins.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SHARED = 1e8  # operations in a matrix product from which a second thread pays


class Blas(NamedTuple):
    """A BLAS whose number of threads can be read and set."""

    get: Callable[[], int]
    set: Callable[[int], Any]


def blas() -> Blas | None:
    """The OpenBLAS that NumPy's wheels bring along; None where NumPy has another."""
    here = Path(np.__file__).parent
    for folder in (here.parent / "numpy.libs", here / ".dylibs"):
        for file in sorted(folder.glob("*openblas*")) if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(str(file))
                for prefix in ("scipy_openblas", "openblas"):
                    for suffix in ("64_", ""):
                        get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                        put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                        if get is not None and put is not None:
                            get.restype, put.argtypes, put.restype = ctypes.c_int, [ctypes.c_int], None
                            return Blas(get, put)
    return None


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """A block in which BLAS has this many threads; None, or a BLAS that can't be told, changes nothing."""
    found = blas() if number is not None else None
    if found is None or number is None:
        yield
        return
    before = found.get()
    found.set(number)
    try:
        yield
    finally:
        found.set(before)


def chosen(asked: int | None, largest: float) -> int | None:
    """The number for a run whose largest matrix product takes ``largest`` operations; None leaves it as it is.

    What was asked for; or what the environment says, which BLAS has read itself; or one where the work is small.
    """
    if asked is not None:
        return asked
    if any(os.environ.get(name) for name in VARIABLES):
        return None
    return 1 if largest < SHARED else None
