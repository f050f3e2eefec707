"""Which workloads there are, and which of them were asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

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


def need(packages: Sequence[str]) -> int:
    """Bytes that AdamW holds for a parameter, in sides of these packages and the float64 run together, as measured.

    Everyone holds parameter, gradient and two moments, 16 bytes; torch and the libraries of pure functions more for a while.
    """
    return 44 + sum({"minigrad": 21, "torch": 30}.get(p, 33) for p in packages)


def large(packages: Sequence[str], limit: int = 124_000_000) -> tuple[int, str]:
    """Parameters of the large AdamW, GPT-2's 124 million or what fits nine tenths of the free memory; and words on it."""
    free, bytes_each = available(), need(packages)
    told = f"the large adamw holds {limit * bytes_each / 1e9:.1f} GB in its {len(packages) + 1} processes"
    if not free:
        return limit, f"{told}, if there are so many"
    if limit * bytes_each <= 0.9 * free:
        return limit, f"{told}; {free / 1e9:.1f} GB are free"
    fits = max(1_000_000, int(0.9 * free / bytes_each))
    return fits, (
        f"{told} with {limit / 1e6:.0f}M parameters, but {free / 1e9:.1f} GB are free: it has {fits / 1e6:.0f}M; fewer "
        "--sides make room"
    )


def available() -> int:
    """Bytes of memory that are free or can be, where the system tells; else 0."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
