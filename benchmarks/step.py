"""The classifier's training step, 784-128-10, batch 32, Adam, cross-entropy: eager, beside torch eager.

Each side has a process of its own, and the two take turns: in one process the thread pools of the two
libraries' BLAS would fight over the cores.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .timing import Ratio, Timing, ratio

BATCH, STEPS = 32, 50  # a sample is the mean of so many steps


class Step(NamedTuple):
    """Seconds a step, and how that compares."""

    ours: Timing
    peer: Timing | None
    ratio: Ratio | None


def step_of(library: ModuleType | Any) -> Callable[[], Any]:
    """The step in either library: the code is the same, for the names are."""
    nn, optim = library.nn, library.optim
    library.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    x = library.from_numpy(rng.random((BATCH, 784), np.float32))
    y = library.from_numpy(rng.integers(0, 10, BATCH))

    def step() -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def serve(name: str) -> None:
    """One side: for every line that comes, the seconds a step that a sample took."""
    step = step_of(importlib.import_module(name))
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        print((time.perf_counter() - start) / STEPS, flush=True)


def classifier_step(runs: int, peers: bool) -> Step:
    """Times the step, with torch's in the same rounds where it is installed; the first round is not counted."""
    names = ["minigrad", *(["torch"] if peers and importlib.util.find_spec("torch") is not None else [])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(_side(name)) for name in names}
        for i in range(runs + 1):
            for name in names if i % 2 == 0 else names[::-1]:
                pipe: Any = sides[name]
                pipe.stdin.write("\n")
                pipe.stdin.flush()
                seconds[name].append(float(pipe.stdout.readline()))
    times = {name: Timing(tuple(s[1:])) for name, s in seconds.items()}
    peer = times.get("torch")
    return Step(times["minigrad"], peer, None if peer is None else ratio(times["minigrad"], peer))


def _side(name: str) -> Any:
    command = [sys.executable, "-c", f"from minigrad.benchmarks.step import serve; serve({name!r})"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
