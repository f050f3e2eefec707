"""How far a loop may be from the calls that it stands for, and ``verify=True``, which compares every loop with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .fusion import Fusion
from .nests import replaced
from .program import Line, Program, Value
from .refusals import CompileError

ULPS = 4  # that every step of a chain may be off by


_SAFETY = 4.0


def run(
    lines: list[Line], given: dict[Value, Any], moved: Callable[[Any], Any] = lambda a: a
) -> dict[Value, Any]:
    """The values of lines by the calls that they stand for, what is given and every value ``moved`` before it is read."""
    held = {v: moved(a) for v, a in given.items()}
    with np.errstate(all="ignore"):
        for line in lines:
            args = replaced(line.args, lambda x: held[x] if isinstance(x, Value) else x)
            attrs = replaced(line.attrs, lambda x: held[x] if isinstance(x, Value) else x)
            found = line.function(line.m, *args, **attrs)
            found = found if isinstance(found, (tuple, list)) else (found,)
            for v, array in zip(line.results, found, strict=True):
                if v is not None and v not in held:
                    held[v] = moved(np.asarray(array))
    return held


def within(block: Fusion, given: dict[Value, Any], found: dict[Value, Any]) -> str:
    """What a loop gave compared with the calls: "" if it is as near as rounding brings it.

    A result may be off by what it would be off by if operands and every step of the chain were off by :data:`ULPS` units in the
    last place (four times the farthest of several draws of their signs), and by as many units of its own. NaN and infinity
    are where they are.
    """
    exact = run(block.lines, given)
    rng = np.random.default_rng(0)
    slack = {v: ULPS * np.spacing(np.abs(exact[v])) for v in found if exact[v].dtype.kind == "f"}
    for draw in range(4):

        def moved(a: Any, draw: int = draw) -> Any:
            if a.dtype.kind != "f":
                return a
            signs = (-1) ** draw if draw < 2 else rng.choice([-1, 1], a.shape)
            return np.where(np.isfinite(a), a + (ULPS * signs * np.spacing(np.abs(a))).astype(a.dtype), a)

        other = run(block.lines, given, moved)
        for v in slack:
            with np.errstate(all="ignore"):
                slack[v] = np.fmax(slack[v], _SAFETY * np.abs(other[v] - exact[v]))
    for v, array in found.items():
        if array.shape != exact[v].shape or array.dtype != exact[v].dtype:
            return f"{v} is {array.dtype}{array.shape} and not {exact[v].dtype}{exact[v].shape}"
        with np.errstate(all="ignore"):
            if v in slack:
                same = (array == exact[v]) | (np.isnan(array) & np.isnan(exact[v]))
                near = same | (np.abs(array - exact[v]) <= slack[v])
            else:
                near = array == exact[v]
        if not np.all(near):
            worst = np.nanmax(np.abs(array.astype(np.float64) - exact[v]) * ~near)
            return f"{v} is off by up to {worst:.3g} in {np.sum(~near)} of {near.size} elements"
    return ""


def check(program: Program, run_program: Callable[..., Any]) -> None:
    """Has every loop of a program compared with the calls that it stands for, whose results go on."""
    space = run_program.__globals__
    for block in program.lines:
        if isinstance(block, Fusion):
            space[block.called] = _checked(block, space[block.called])


def _checked(block: Fusion, loop: Callable[..., Any]) -> Callable[..., Any]:
    reads = list(dict.fromkeys(block.reads()))
    results = [v for v in block.results if v is not None]

    def call(*arrays: Any) -> Any:
        given = dict(zip(reads, arrays, strict=True))
        found = loop(*arrays)
        found = dict(zip(results, found if len(results) > 1 else (found,), strict=True))
        wrong = within(block, given, found)
        if wrong:
            raise CompileError(f"compile: verify found the loop of {block.name} different from the calls that it stands for: "
                               f"{wrong}; use MINIGRAD_KERNELS=off, and report it")  # fmt: skip
        exact = run(block.lines, given)
        return tuple([exact[v] for v in results]) if len(results) > 1 else exact[results[0]]

    return call
