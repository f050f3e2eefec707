"""``python -m minigrad bench``: what was asked for, the run over thread counts and workloads, and where it goes."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad.io.files import atomic_write
from minigrad.jobs import JobError, nearest

from . import catalogue, machine, page, report, sides
from .measure import Outcome, Plan, above, measure, refuse_impossible
from .workload import Workload

ROUNDS = {"whole": 15, "rows": 7}
SLOW = ("torch.compile", "compiled", *(s.name for s in sides.BESIDE))
AGAIN = 3  # times that the roof is measured anew before anyone is refused
REST = 0.03  # seconds: OpenBLAS's threads spin for about as long before they sleep


def bench(options: Any) -> int:
    """Runs the benchmark and reports it. Returns 0; 1 when something was refused; 130 when it was interrupted."""
    old = report.read(options.compare) if options.compare else None
    for path in (options.out, options.html):
        if path and not Path(path).parent.is_dir():
            raise JobError(f"{path}: its folder doesn't exist; create it first, or give another path")
    cores = available()
    counts = options.threads or [len(cores)]
    if bad := [n for n in counts if not 1 <= n <= len(cores)]:
        raise JobError(f"--threads {bad[0]}: expected from 1 to {len(cores)}, the cores of this process")
    for option in ("rounds", "elements"):
        if (given := getattr(options, option)) is not None and given < 1:
            raise JobError(f"--{option} is at least 1, got {given}")
    names = options.sides or [s.name for s in sides.known()]
    known = {s.name: s for s in sides.known()}
    if unknown := [n for n in names if n not in known]:
        raise JobError(
            f"no side is called {unknown[0]!r}: expected any of {', '.join(known)}{nearest(unknown[0], known)}"
        )
    elements = options.elements or (2**14 if options.quick else 2**18)
    parameters, told = catalogue.large(
        [known[n].package for n in names if not sides.absent(known[n])], 8_000_000 if options.quick else 124_000_000
    )  # fmt: skip
    try:
        workloads = catalogue.chosen(options.names, options.rows or [], elements, parameters)
    except KeyError as e:
        raise JobError(str(e.args[0])) from None
    say = _say(options)
    whole, rows = (options.rounds or (5 if options.quick else n) for n in ROUNDS.values())
    plans = {True: Plan(whole, 0.005 if options.quick else 0.02), False: Plan(rows, 0.002)}
    if any(w.startswith("adamw") and w != "adamw 100k" for w in workloads):
        say(told)
    asked = set(options.sides or ())
    run = Run(workloads, [known[n] for n in names], asked, plans, elements, parameters, say)
    try:
        with pinned(cores):
            for n in dict.fromkeys(counts):
                run.on(cores[:n])
    except KeyboardInterrupt:
        run.interrupted = True
        say("interrupted: what was measured until now follows")
    found = run.found()
    if options.json:
        print(json.dumps(found, indent=1))
    words = report.words(found)
    if old is not None:
        words += ["", *report.compared(found, old)]
    if not options.quiet:
        print("\n".join(words), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.out:
        with atomic_write(options.out, "w") as f:
            json.dump(found, f, indent=1)
    if options.html:
        with atomic_write(options.html, "w") as f:
            f.write(page.html(found))
    return 130 if run.interrupted else int(bool(report.refused(found)))


def available() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """Back on all these cores at the end, whatever a run has pinned this process to."""
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)


def _say(options: Any) -> Callable[[str], None]:
    """Progress, on standard error."""
    if options.quiet:
        return lambda words: None
    return lambda words: print(words, file=sys.stderr, flush=True)


class Run:
    """Everything measured so far. It stays whole when Ctrl-C comes."""

    def __init__(
        self,
        workloads: dict[str, Workload],
        chosen: list[sides.Side],
        asked: set[str],
        plans: dict[bool, Plan],
        elements: int,
        parameters: int,
        say: Callable[[str], None],
    ) -> None:
        self.workloads, self.sides, self.asked, self.plans, self.say = workloads, chosen, asked, plans, say
        self.settings = {"elements": elements, "parameters": parameters}
        self.outcomes: dict[int, list[Outcome]] = {}
        self.roofs: dict[int, machine.Roof] = {}
        self.calibrations: dict[int, machine.Calibration] = {}
        self.ticks: dict[tuple[int, str], tuple[int, int]] = {}  # a workload's, from the first to the last
        self.interrupted = False
        self.shared: dict[tuple[str, int], sides.Process] = {}  # the rows'
        self.began = time.time()

    def on(self, cores: list[int]) -> None:
        """Measures every workload on these cores, between two measurements of the roof."""
        n = len(cores)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        self.outcomes[n], self.calibrations[n] = [], machine.Calibration(n)
        self.say(f"{_threads(n)}: measuring the roof")
        self.roof(cores)
        try:
            with ExitStack() as stack:
                for i, workload in enumerate(self.workloads.values()):
                    self.say(f"{_threads(n)}: {i + 1} of {len(self.workloads)}, {workload.name}")
                    first = len(self.calibrations[n].seconds)
                    self.outcomes[n] += self.one(workload, cores, stack)
                    self.ticks[n, workload.name] = first, len(self.calibrations[n].seconds)
            self.roof(cores)
            for _ in range(AGAIN):  # other work can have lowered it: nobody is refused for that
                if not above(self.outcomes[n], self.workloads, self.roofs[n]):
                    break
                self.say(f"{_threads(n)}: something is above the roof, which is measured again")
                self.roof(cores)
        finally:
            refuse_impossible(self.outcomes[n], self.workloads, self.roofs[n])

    def roof(self, cores: list[int]) -> None:
        """The best rates of every library that takes part, and of any earlier time."""
        for library in dict.fromkeys(s.package for s in (*self.sides, sides.ORACLE)):
            side = sides.Side("rates", library)
            if library not in sides.PRODUCTS or sides.absent(side):
                continue
            process = sides.Process(side, cores, {"rates": True})
            try:
                roof = machine.Roof.of(process.ask("measure"))
            finally:
                process.end()
            n = len(cores)
            self.roofs[n] = roof.raised(self.roofs[n]) if n in self.roofs else roof

    def one(self, workload: Workload, cores: list[int], stack: ExitStack) -> list[Outcome]:
        """One workload, in processes of its own or, for a row, in those that the rows share."""
        why = {s: sides.absent(s) for s in self.sides}
        outcomes = [Outcome(workload.name, s.name, s.peer, "missing", why[s]) for s in self.sides if why[s]]
        racing = [s for s in self.sides if not why[s]]
        if (
            not workload.process
        ):  # a graph compiled for each of some hundred rows takes an hour; a row has no twin
            slow = [s for s in racing if s.name in SLOW and s.name not in self.asked]
            racing = [s for s in racing if s not in slow]
        plan = self.plans[workload.process]._replace(rest=REST if len(cores) > 1 else 0.0)
        with ExitStack() as own:
            home = own if workload.process else stack
            try:
                oracle, *processes = [self.process(s, cores, home, workload) for s in (sides.ORACLE, *racing)]
                tick = self.calibrations[len(cores)].tick
                return measure(workload, processes, oracle, plan, tick) + outcomes
            except sides.Broken as e:
                self.shared.clear()
                told = f"nothing to compare it with: {e}"
                return [Outcome(workload.name, s.name, s.peer, "FAILED", told) for s in racing] + outcomes

    def process(
        self, side: sides.Side, cores: list[int], home: ExitStack, workload: Workload
    ) -> sides.Process:
        """A side's process: a fresh one, or for rows the one that is there, if it still is."""
        key = (side.name, len(cores))
        found = None if workload.process else self.shared.get(key)
        if found is None or (not found.missing and found.process.poll() is not None):
            found = sides.Process(side, cores, self.settings)
            home.callback(found.end)
            if not workload.process:
                self.shared[key] = found
        return found

    def found(self) -> dict[str, Any]:
        """The report, as JSON holds it."""
        return {
            "format": report.FORMAT,
            "machine": about(),
            "began": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.began)),
            "seconds": round(time.time() - self.began, 1),
            "interrupted": self.interrupted,
            "roofs": {
                str(n): {"flops": r.flops, "bandwidth": {str(k): v for k, v in r.bandwidth.items()}}
                for n, r in self.roofs.items()
            },
            "noise": {str(n): c.summary() for n, c in self.calibrations.items()},
            "results": [
                {**asdict(o), "threads": n, "flops": w.flops, "bytes": w.nbytes,
                 "floor": self.roofs[n].floor(w.nbytes, w.flops) if n in self.roofs else 0.0,
                 "slowed": self.calibrations[n].slowed(*self.ticks.get((n, w.name), (0, 0)))}
                for n, outcomes in self.outcomes.items() for o in outcomes
                for w in [self.workloads[o.workload]]
            ],
        }  # fmt: skip


def about() -> dict[str, Any]:
    """What the figures depend on."""
    import importlib.metadata

    facts: dict[str, Any] = {
        "minigrad": minigrad.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(available()),
    }
    for name in ("numba", "torch", "jax", "autograd", "tinygrad"):
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _threads(n: int) -> str:
    return f"{n} thread{'s' if n > 1 else ''}"
