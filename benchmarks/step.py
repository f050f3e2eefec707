"""The classifier's training step, 784-128-10, batch 32, Adam, cross-entropy: eager, beside torch eager."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import minigrad

from .timing import Ratio, Timing, interleaved, ratio

BATCH = 32


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


def classifier_step(runs: int, peers: bool) -> Step:
    """Times the step, with torch's in the same rounds where it is installed."""
    calls = {"ours": step_of(minigrad)}
    if peers and importlib.util.find_spec("torch") is not None:
        calls["peer"] = step_of(importlib.import_module("torch"))
    times = interleaved(calls, runs)
    peer = times.get("peer")
    return Step(times["ours"], peer, None if peer is None else ratio(times["ours"], peer))
