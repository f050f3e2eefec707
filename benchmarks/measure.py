"""Rounds of a workload on all its sides: first whether the numbers are right, then how long they take.

A side is refused, and its time isn't shown, when a result differs from the float64 run's: before anything is timed,
in a round drawn in the middle, and after the last. Inputs change every round and a little at every call, so
that an earlier result is a wrong one. The driver's clock runs beside each side's own.
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .machine import MARGIN, Roof
from .sides import Broken, Local, Process
from .workload import Workload, nothing

FIRST = 2  # calls of the round that is checked before anything is timed
LONGEST = 2.0  # seconds that a side's round lasts at most, if a call doesn't last longer
STEADY = (
    10  # times as long a round lasts after a rest: cores that have rested are slower by half for milliseconds
)
SLACK = 0.002  # seconds that a request may take on its way
REFUSED = ("WRONG", "IMPOSSIBLE", "CLOCK", "FAILED")


class Plan(NamedTuple):
    """How much is measured: rounds, seconds that the fastest side's round lasts, seconds of rest before a round."""

    rounds: int = 15
    sample: float = 0.02
    rest: float = (
        0.0  # a pool that waits for work spins for a while: it must not do so in the next side's time
    )
    seed: int = 0


@dataclass
class Outcome:
    """What a side made of a workload. ``status``: ok, missing, FAILED, WRONG, CLOCK or IMPOSSIBLE; ``why`` tells."""

    workload: str
    side: str
    peer: bool
    status: str = "ok"
    why: str = ""
    seconds: list[float] = field(default_factory=list)  # a call, by its own clock, one figure a round
    waited: list[float] = field(default_factory=list)  # the same by the driver's clock
    calls: int = 0  # in a round
    peaks: list[int] = field(
        default_factory=list
    )  # bytes beyond those before the workload was built, a round each
    error: float = 0.0  # the largest that a check found

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def refuse(self, status: str, why: str) -> None:
        """From here on the side is out, and has no time."""
        self.status, self.why = status, why
        self.seconds, self.waited, self.peaks = [], [], []


def measure(
    workload: Workload,
    sides: Sequence[Process | Local],
    oracle: Process | Local,
    plan: Plan,
    tick: Callable[[], Any] = nothing,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Outcome]:
    """Times the workload on every side, in rounds that take turns; ``tick`` is called between rounds."""
    outcomes = {s.side.name: Outcome(workload.name, s.side.name, s.side.peer) for s in sides}
    checked = {0, plan.rounds + 1, random.Random(workload.name).randrange(2, max(3, plan.rounds + 1))}

    def asked(side: Process | Local, what: str, *args: Any) -> dict[str, Any]:
        """Asks, unless the side is out already, which an answer can make it."""
        outcome = outcomes[side.side.name]
        if outcome.status != "ok":
            return {}
        try:
            answer = side.ask(what, *args)
        except Broken as e:
            outcome.refuse("FAILED", str(e))
            return {}
        if answer.get("missing"):
            outcome.refuse("missing", answer["missing"])
            return {}
        return answer

    def lap(number: int, repeats: int) -> None:
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            outcome = outcomes[side.side.name]
            asked(side, "ready", number, repeats)
            time.sleep(plan.rest)
            start = clock()
            answer = asked(side, "go")
            waited = (clock() - start) / repeats
            if answer:
                outcome.seconds.append(answer["seconds"])
                outcome.waited.append(waited)
                outcome.calls = repeats
                if workload.process and answer["peak"]:
                    outcome.peaks.append(answer["peak"])
        if number in checked or workload.stateful:
            oracle.ask("ready", number, repeats if workload.stateful else 1)
            oracle.ask("go")
        if number in checked:
            check(number)

    def question(side: Process | Local) -> None:
        """Other work can have kept the driver waiting: a side is out if its clock is wrong in long rounds too."""
        outcome, calls = outcomes[side.side.name], 10 * outcomes[side.side.name].calls
        for _ in range(3):
            asked(side, "ready", plan.rounds + 1, calls)
            start = clock()
            seconds = asked(side, "go").get("seconds", math.inf)
            waited = (clock() - start) / calls
            if believable(seconds, waited, calls):
                return
        outcome.refuse("CLOCK", f"its clock shows {seconds:.3g} s a call where {waited:.3g} s passed")

    def check(number: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            truth = Path(folder) / "float64.npz"
            oracle.ask("result", str(truth), number)
            with np.load(truth, allow_pickle=False) as file:
                want = dict(file)
            for side in sides:
                path, outcome = Path(folder) / "side.npz", outcomes[side.side.name]
                asked(side, "result", str(path), number)
                if outcome.status != "ok":
                    continue
                with np.load(path, allow_pickle=False) as file:
                    error, words = difference(dict(file), want, workload.norm)
                outcome.error = max(outcome.error, error)
                if words or not error <= workload.tolerance:
                    found = words or f"its results are off by {error:.1e}, allowed is {workload.tolerance:g}"
                    outcome.refuse("WRONG", f"{found} (round {number})")

    for side in sides:
        if side.missing:
            outcomes[side.side.name].refuse("missing", side.missing)
        asked(side, "open", workload.name, plan.seed)
    oracle.ask("open", workload.name, plan.seed)
    lap(0, FIRST)
    for outcome in outcomes.values():  # the first round was for warming up
        outcome.seconds = []
    lap(1, FIRST)
    racing = [o for o in outcomes.values() if o.seconds]
    repeats = _calls([o.seconds[-1] for o in racing], plan, workload.stateful) if racing else 1
    for outcome in racing:
        outcome.seconds, outcome.waited, outcome.peaks = [], [], []
    for number in range(2, plan.rounds + 2 if racing else 2):
        lap(number, repeats)
        tick()
    for side in sides:
        if suspicious(outcomes[side.side.name]):
            question(side)
    for side in [*sides, oracle]:
        with contextlib.suppress(Broken):
            side.ask("close")
    return list(outcomes.values())


def _calls(seconds: list[float], plan: Plan, stateful: bool) -> int:
    """Calls in a round: after a rest more of them, of what keeps a state no more than ten, as many steps stray from float64's."""
    repeats = _repeats(seconds, plan.sample)
    steady = _repeats(seconds, STEADY * plan.sample) if plan.rest else repeats
    return max(repeats, min(steady, STEADY)) if stateful else steady


def _repeats(seconds: list[float], sample: float) -> int:
    """Calls in a round, the same on every side: the fastest fills a sample, the slowest doesn't last too long."""
    wanted = math.ceil(sample / max(min(seconds), 1e-7))
    return max(1, min(wanted, int(LONGEST / max(max(seconds), 1e-7))))


def difference(got: dict[str, Any], want: dict[str, Any], norm: str) -> tuple[float, str]:
    """The relative error of the results, the largest of all; or words on what can't be compared."""
    largest = 0.0
    for name, y in want.items():
        x = got.get(name)
        if x is None:
            return math.inf, f"there is no result {name!r}"
        if x.shape != y.shape:
            return math.inf, f"{name} has {x.size} elements, not {y.size}"
        finite = np.isfinite(y)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True) or not np.isfinite(x[finite]).all():
            return math.inf, f"{name} isn't finite where float64 is, or the other way round"
        x, y = x[finite], y[finite]
        if not y.size:
            continue
        scale = math.sqrt(float(np.mean(y * y))) + 1e-30
        if norm == "l2":
            error = math.sqrt(float(np.mean((x - y) ** 2))) / scale
        else:
            error = float(np.max(np.abs(x - y) / (np.abs(y) + scale)))
        largest = max(largest, error)
    return largest, ""


def suspicious(o: Outcome) -> bool:
    """Does a side's clock show much less than the driver waited, even in the round in which it waited least?"""
    return o.status == "ok" and bool(o.seconds) and not believable(o.median, min(o.waited), o.calls)


def believable(seconds: float, waited: float, calls: int) -> bool:
    """Whether a side's seconds a call can be those that passed."""
    return seconds >= 0.7 * (waited - SLACK / calls)


def above(
    outcomes: Iterable[Outcome], workloads: dict[str, Workload], roof: Roof
) -> list[tuple[Outcome, float]]:
    """What is faster than the roof allows, with the least seconds that it takes."""
    timed = [o for o in outcomes if o.status == "ok" and o.seconds]
    found = [(o, roof.floor(workloads[o.workload].nbytes, workloads[o.workload].flops)) for o in timed]
    return [(o, least) for o, least in found if o.median * MARGIN < least]


def refuse_impossible(outcomes: Iterable[Outcome], workloads: dict[str, Workload], roof: Roof) -> None:
    """Marks what is above the roof. Its times stay: they are the evidence that the benchmark has a fault."""
    for o, least in above(outcomes, workloads, roof):
        o.status = "IMPOSSIBLE"
        o.why = (
            f"{o.median:.3g} s a call is above the roof: {least:.3g} s is the least for its bytes and flops"
        )
