"""Which workloads there are, and which of them were asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from minigrad.op import OPS

from .rows import all_row_workloads, row_workloads
from .workload import Workload
from .workloads import workloads


def finder(elements: int, parameters: int) -> Callable[[str], Workload]:
    """Makes a workload by its name, as every process of a run does: ``exp forward``, ``classifier b32``."""
    whole = workloads(parameters)

    def find(name: str) -> Workload:
        if name in whole:
            return whole[name]
        return next(w for w in row_workloads(OPS[name.rsplit(" ", 1)[0]], elements) if w.name == name)

    return find


def chosen(
    patterns: Sequence[str], rows: Sequence[str], elements: int, parameters: int
) -> dict[str, Workload]:
    """The workloads of a run: those whose name has a pattern in it, and those rows; without either, everything.

    ``workloads`` and ``ops`` stand for all whole workloads and for all rows. Raises KeyError for a pattern or row that nothing is called.
    """
    whole = workloads(parameters)
    found: dict[str, Workload] = {}
    for pattern in patterns or ([] if rows else ["workloads", "ops"]):
        if pattern == "ops":
            rows = sorted(OPS)
            continue
        these = {n: w for n, w in whole.items() if pattern == "workloads" or pattern in n}
        if not these:
            raise KeyError(
                f"no workload is called {pattern!r}: expected workloads, ops, or a part of one of {', '.join(whole)}"
            )
        found.update(these)
    return {**found, **all_row_workloads(rows, elements)}


def large(limit: int = 124_000_000, sides: int = 5) -> int:
    """Parameters of the large AdamW: GPT-2's 124 million, or what fits half of the memory that is free.

    A side holds parameter, gradient and two moments, about as much again in temporaries, and the float64 run twice that.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return limit // 10
    return max(1_000_000, min(limit, int(free / 2 / (sides * 32 + 64))))
