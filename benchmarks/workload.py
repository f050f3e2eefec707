"""What is timed: a workload's inputs, how a library builds it, and the least that it must move and compute.

Here is the form alone. ``workloads`` holds whole workloads, ``rows`` makes two of every row of the op table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

FLOAT = 4  # bytes of a number
BLOCK = 2**20  # numbers drawn at most: larger arrays repeat them, for drawing 100 million takes seconds


class Missing(Exception):
    """This side can't run this workload; the text says why."""


class Kit(NamedTuple):
    """A side, as a workload sees it. Code is written once against the names that torch and minigrad share."""

    lib: Any  # the module: minigrad or torch
    part: Callable[..., Any]  # compiles a forward or an update, as torch.compile likes it; else the identity
    whole: Callable[
        ..., Any
    ]  # compiles a step, backward included, as minigrad.compile likes it; else the identity
    kernels: str = "off"  # minigrad's selection: off, auto, or the name of a set
    peer: Any = None  # a library of pure functions, which builds a workload from its twin; lib is None then


def same(f: Any) -> Any:
    """The identity, where nothing compiles."""
    return f


def nothing() -> None:
    """There is nothing to prepare."""


class Built(NamedTuple):
    """A workload that a library has built: ``call`` is timed, the rest isn't."""

    call: Callable[[], Any]
    results: Callable[
        [Any], dict[str, Any]
    ]  # of what ``call`` returned last: every tensor that it had to make
    prepare: Callable[[], Any] = nothing  # before a round, after its inputs were written
    peak: Callable[[], int] | None = None  # of memory, where the work isn't done in this process


class Twin(NamedTuple):
    """A workload for libraries of pure functions: ``function(np, *inputs)`` in the names that they share with NumPy.

    It goes the ``way`` forward, backward, both, or training. With ``parameters``, their shapes by name, the function's
    second argument are these by name; ``adam`` is learning rate and weight decay.
    """

    way: str
    function: Callable[..., Any]
    parameters: Mapping[str, tuple[int, ...]] = {}
    adam: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Workload:
    """One entry. ``flops`` and ``nbytes`` are lower bounds: nothing that does the work does less.

    ``draw(rng)`` gives the input arrays, floats in float32. ``build(kit, tensors)`` gets tensors on these arrays'
    memory; the arrays are written anew every round, and a little of ``poked`` before every call. ``stateful``:
    a call goes on where the last one ended, so that sides are compared after the same number of calls.
    ``norm`` of the error, relative: "max" by element, or "l2" of the whole.
    """

    name: str
    draw: Callable[[np.random.Generator], list[Any]]
    build: Callable[[Kit, Sequence[Any]], Built]
    flops: float
    nbytes: float
    poked: int | None = 0
    stateful: bool = False
    norm: str = "max"
    tolerance: float = 1e-3
    process: bool = True  # has a process of its own, so that its peak of memory is its own
    twin: Twin | None = None


def normal(rng: np.random.Generator, *shape: int, std: float = 1.0) -> np.ndarray:
    """Float32 numbers from a normal distribution."""
    count = int(np.prod(shape))
    few = rng.standard_normal(min(count, BLOCK), np.float32) * np.float32(std)
    return few.reshape(shape) if few.size == count else np.resize(few, shape)
