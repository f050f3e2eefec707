"""What a run found: as a table with bars for the terminal, and beside an earlier run's."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from typing import Any

from minigrad.jobs import JobError

from .intervals import Ratio, ratio
from .measure import REFUSED

FORMAT = "minigrad-bench-2"
BUSY = 0.25  # how much slower the calibration loop may be in a workload's rounds than at its best
BAR = 24  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉█"


def entries(found: dict[str, Any]) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """Workload, threads, and the results of its sides, in the order in which they were measured."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for r in found["results"]:
        groups.setdefault((r["workload"], r["threads"]), []).append(r)
    gone = away(found)
    for (workload, threads), results in groups.items():
        yield workload, threads, [r for r in results if r["side"] not in gone]


def away(found: dict[str, Any]) -> dict[str, str]:
    """Sides that ran nothing at all, and why; they are told once."""
    why: dict[str, set[str]] = {}
    for r in found["results"]:
        why.setdefault(r["side"], set()).add(r["why"] if r["status"] == "missing" else "")
    return {side: reasons.pop() for side, reasons in why.items() if len(reasons) == 1 and "" not in reasons}


def refused(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Results that make a run fail."""
    return [r for r in found["results"] if r["status"] in REFUSED]


def yardstick(results: list[dict[str, Any]], of: str = "seconds") -> dict[str, Any] | None:
    """What the others are compared with: the peer that needs least; without one, the reference."""
    timed = [r for r in results if r["status"] == "ok" and r[of]]
    peers = [r for r in timed if r["peer"]]
    if peers:
        return min(peers, key=lambda r: median(r, of))
    return next((r for r in timed if r["side"] == "reference"), None)


def median(result: dict[str, Any], of: str = "seconds") -> float:
    return statistics.median(result[of])


def against(result: dict[str, Any], other: dict[str, Any] | None, of: str = "seconds") -> Ratio | None:
    """The yardstick's time, or memory, over the side's: above 1 the side is ahead."""
    if other is None or other is result or result["status"] != "ok" or not result[of]:
        return None
    return ratio(other[of], result[of])


def words(found: dict[str, Any]) -> list[str]:
    """The report's lines."""
    lines = [", ".join(f"{k} {v}" for k, v in found["machine"].items())]
    for n, roof in found["roofs"].items():
        rates = {int(k): v for k, v in roof["bandwidth"].items()}
        lines.append(
            f"roof, {n} thread{'s' if n != '1' else ''}: matrix product {roof['flops'] / 1e9:.0f} GFLOP/s, memory "
            f"{rates[max(rates)] / 1e9:.1f} GB/s, cache {max(rates.values()) / 1e9:.0f} GB/s"
        )
    lines += noise(found)
    lines += [f"not here: {side}: {why}" for side, why in away(found).items()]
    lines.append(
        "the median of the rounds, shorter bars are better; the ratio is the faster torch's time over the side's (the "
        "reference's where there is no torch),\nabove 1 is ahead, with a 95 % interval, a tie where that spans 1; "
        "memory likewise, against the torch that needs less"
    )
    for workload, threads, results in entries(found):
        if not results:
            continue
        least = results[0]["floor"]
        roof = f"; the roof is at {duration(least)}" if least else ""
        lines += ["", f"{workload}, {threads} thread{'s' if threads > 1 else ''}{roof}{busy(results)}"]
        other = yardstick(results)
        longest = max((median(r) for r in results if r["seconds"]), default=1.0)
        lines += [line(r, other, longest) for r in results]
        if held := [r for r in results if r["peaks"]]:
            other, most = yardstick(held, "peaks"), max(median(r, "peaks") for r in held)
            lines += ["  peak memory", *(memory_line(r, other, most) for r in held)]
    if bad := refused(found):
        lines += [
            "",
            f"{len(bad)} refused: " + "; ".join(f"{r['workload']}, {r['side']}: {r['status']}" for r in bad),
        ]
    if found["interrupted"]:
        lines += ["", "the run was interrupted: what it had measured is above"]
    return lines


def busy(results: list[dict[str, Any]]) -> str:
    """A warning, where other work shared the machine during these rounds: a pool that waits for a core looks slow then."""
    slowed = results[0]["slowed"]
    return f"; BUSY: the calibration loop was {slowed:.0%} slower than at its best" if slowed > BUSY else ""


def noise(found: dict[str, Any]) -> list[str]:
    """How quiet the machine was, with each number of threads."""
    return [f"noise, {n} thread{'s' if n != '1' else ''}: {s['words']}" for n, s in found["noise"].items()]


def line(r: dict[str, Any], other: dict[str, Any] | None, longest: float) -> str:
    """One side of one workload."""
    if not r["seconds"]:
        return f"  {r['side']:14} {r['status'] if r['status'] != 'missing' else '-':>10} {r['why']}"
    share = f"{r['floor'] / median(r):4.0%} of roof" if r["floor"] else ""
    told = r["why"] if r["status"] != "ok" else "compared with" if r is other else verdict(against(r, other))
    mark = f"{r['status']} " if r["status"] != "ok" else ""
    return (
        f"  {r['side']:14} {duration(median(r)):>10} {bar(median(r) / longest):{BAR}} {share:13} {mark}{told}"
    ).rstrip()


def memory_line(r: dict[str, Any], other: dict[str, Any] | None, most: float) -> str:
    """The peak of one side of one workload."""
    held = median(r, "peaks")
    told = "compared with" if r is other else verdict(against(r, other, "peaks"), "less", "more")
    return f"  {r['side']:14} {size(held):>10} {bar(held / most):{BAR}} {'':13} {told}".rstrip()


def verdict(r: Ratio | None, above: str = "faster", below: str = "slower") -> str:
    if r is None:
        return ""
    if not math.isfinite(r.high):
        return f"{r.median:.2f} (too few rounds for an interval)"
    found = {"faster": above, "slower": below}.get(r.verdict, r.verdict)
    return f"{r.median:.2f} ({r.low:.2f} to {r.high:.2f}) {found}"


def bar(share: float) -> str:
    """A bar of eighths of a character."""
    eighths = max(1, round(min(share, 1.0) * BAR * 8))
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return (
                f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:,.0f} {unit}"
            )
    return f"{seconds / 1e-9:.3g} ns"


def size(nbytes: float) -> str:
    """Three figures and a unit."""
    unit, of = ("GB", 1e9) if nbytes >= 1e9 else ("MB", 1e6)
    return f"{nbytes / of:.3g} {unit}"


def read(path: str) -> dict[str, Any]:
    """An earlier run's JSON. Raises JobError for any other file."""
    with open(path, encoding="utf-8") as f:
        try:
            found = json.load(f)
        except ValueError as e:
            raise JobError(f"{path}: this is not JSON ({e}); --compare takes what --out wrote") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise JobError(f"{path}: this is not the report of a benchmark; --compare takes what --out wrote")
    return found


def compared(found: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Every side's time and memory then over those now, of what both runs have."""
    before = {(r["workload"], r["threads"], r["side"]): r for r in old["results"] if r["status"] == "ok"}
    lines = [f"then ({old['began']}) over now; above 1 is faster now"]
    for n, roof in found["roofs"].items():
        if n in old["roofs"]:
            change = roof["flops"] / old["roofs"][n]["flops"]
            lines.append(f"  the machine's own matrix product, {n} threads: {change:.2f} of what it was")
    if facts := [
        f"{k} {old['machine'].get(k)}, now {v}" for k, v in found["machine"].items()
        if k != "load" and old["machine"].get(k) != v
    ]:  # fmt: skip
        lines.append(f"  not the same: {'; '.join(facts)}")
    for r in found["results"]:
        then = before.get((r["workload"], r["threads"], r["side"]))
        if then is None or r["status"] != "ok":
            continue
        place = f"{r['workload']}, {r['threads']} thread{'s' if r['threads'] > 1 else ''}"
        for of, told, ahead in (
            ("seconds", duration, ("faster", "slower")),
            ("peaks", size, ("less", "more")),
        ):
            if r[of] and then[of]:
                changed = verdict(ratio(then[of], r[of], paired=False), *ahead)
                was, now = told(median(then, of)), told(median(r, of))
                lines.append(f"  {place:46} {r['side']:14} {was:>9} → {now:>9}  {changed}")
    return lines
