"""``python -m minigrad.benchmarks``: the tables on the terminal, or as JSON."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad
from minigrad.op import OPS

from . import machine
from .import_time import LIMIT, import_time
from .ops import Entry, entries
from .step import BATCH, Step, classifier_step
from .timing import Ratio, Timing

PARTS = ("import", "step", "ops")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmarks asked for and prints them. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad.benchmarks", description="Time minigrad, beside torch where it is installed."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows of the op table")
    parser.add_argument(
        "--elements", type=int, default=2**18, help="elements of an operand (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=15, help="samples of each figure (default: %(default)s)")
    parser.add_argument("--no-peer", action="store_true", help="leave torch out")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(argv)
    parts = options.parts or (["ops"] if options.rows else list(PARTS))
    if unknown := [p for p in parts if p not in PARTS]:
        parser.error(f"unknown part {unknown[0]!r}: expected any of {', '.join(PARTS)}")
    if unknown := [r for r in options.rows or () if r not in OPS]:
        parser.error(f"no row is called {unknown[0]!r}: the op table has {', '.join(sorted(OPS))}")
    if options.runs < 1 or options.elements < 1:
        parser.error("--runs and --elements must be at least 1")
    peers = not options.no_peer and importlib.util.find_spec("torch") is not None
    report: dict[str, Any] = {"machine": about(peers), "runs": options.runs}
    show = _nothing if options.json else print
    show(", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    show(
        f"{options.runs} runs, interleaved; the ratio is ours / torch's, a tie where its quartiles straddle 1\n"
    )
    if "import" in parts:
        seconds = import_time(options.runs)
        report["import"] = figures(seconds)
        show(f"import minigrad, over numpy: {spread(seconds)}; at most {LIMIT * 1e3:.0f} ms is allowed\n")
    if "step" in parts:
        step = classifier_step(options.runs, peers)
        report["step"] = compared(step)
        show(f"classifier step, 784-128-10, batch {BATCH}, Adam: {spread(step.ours)}", end="")
        show(f", {step.ours.median / BATCH * 1e6:.1f} µs a sample", end="")
        show(f"; torch {spread(step.peer)}; {verdict(step.ratio)}\n" if step.peer else "\n")
    if "ops" in parts:
        report["ops"] = []
        show(
            f"{'row':34}{'operands':26}{'min µs':>10}{'median':>10}{'of roof':>9}{'torch µs':>10}  ours / torch"
        )
        for entry in entries(options.rows or sorted(OPS), options.elements, options.runs, peers):
            report["ops"].append({**entry._asdict(), **compared(entry)})
            show(line(entry))
    if options.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    return 0


def _nothing(*_: Any, **__: Any) -> None:
    """Printing is off: the report follows as JSON."""


def about(peers: bool) -> dict[str, Any]:
    """What the figures depend on."""
    facts = {
        "minigrad": minigrad.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "copy GB/s": round(machine.bandwidth(2**28) / 1e9, 1),
        "sgemm GFLOP/s": round(machine.flop_rate() / 1e9, 1),
    }
    if peers:
        torch: Any = importlib.import_module("torch")
        facts |= {"torch": torch.__version__, "torch threads": torch.get_num_threads()}
    return facts


def figures(t: Timing) -> dict[str, Any]:
    return {"min": t.min, "median": t.median, "runs": len(t.seconds)}


def compared(x: Entry | Step) -> dict[str, Any]:
    peer = {} if x.peer is None or x.ratio is None else {
        "peer": figures(x.peer), "ratio": {**x.ratio._asdict(), "verdict": x.ratio.verdict}
    }  # fmt: skip
    return {"ours": figures(x.ours), **peer}


def spread(t: Timing) -> str:
    return f"min {t.min * 1e6:,.0f} µs, median {t.median * 1e6:,.0f} µs"


def verdict(r: Ratio | None) -> str:
    return "" if r is None else f"{r.median:.2f} ({r.low:.2f} to {r.high:.2f}, {r.verdict})"


def line(e: Entry) -> str:
    share = f"{e.floor / e.ours.min:.0%}" if e.floor else "-"
    theirs = f"{e.peer.min * 1e6:.1f}" if e.peer else "-"
    shapes = e.shapes if len(e.shapes) <= 25 else e.shapes[:24] + "…"
    return (
        f"{e.row + ' ' + e.direction:34}{shapes:26}{e.ours.min * 1e6:10.1f}{e.ours.median * 1e6:10.1f}"
        f"{share:>9}{theirs:>10}  {verdict(e.ratio)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
