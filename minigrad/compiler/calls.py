"""Kernels' calls in planned memory: the loops that a kernel calls, without its own Python, or the whole call, told where its results go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend, threads
from ..autograd import inner
from .nests import replaced
from .primitives import Called, Placed, at, unless
from .program import Line, Value
from .recorded import Opaque, Recorded, plain
from .tape import Tape

if TYPE_CHECKING:
    from .lowering import State


def loops(state: State, line: Line) -> list[Any]:
    """The loops that a kernel calls, and what else it calls, with its memory: its own Python isn't run again."""
    kernel: Any = getattr(inner(line.function), "run", None)
    if not getattr(kernel, "loops", ()):
        raise Opaque("what it calls isn't told")
    tape, args, attrs = state.recorded(line)

    def told(name: str, entry: Any, given: Any, size: int, work: float) -> None:
        entry(*map(plain, given), 0, size)
        operands: Any = [
            tape.part(x) if isinstance(x, np.ndarray) and (x.size or type(x) is Recorded) else x
            for x in given
        ]
        alone = work < threads.SHARED
        function = entry if alone else threads.share
        operands = (*operands, 0, size) if alone else (entry, tuple(operands), size, work)
        call = Called(function, name, operands, {}, line)
        call.asked = tuple([i for i, p in enumerate(call.parts()) if p.value in tape.made])
        tape.lines.append(call)

    def wrong(flag: Any) -> bool:
        part = lambda x: state.parts[x] if isinstance(x, Value) else x  # noqa: E731
        whole_call = (line.function, line.m, *replaced(line.args, part))
        given = (tape.part(flag), *whole_call)
        tape.lines.append(Called(unless, "unless", given, dict(replaced(line.attrs, part)), line))
        return bool(plain(flag).item() < 0)

    places = backend.PLACES
    places.given, places.loops = lambda shape, dtype: tape.fresh(np.empty(shape, dtype)), told
    places.wrong = wrong
    try:
        with np.errstate(all="ignore"):
            result = kernel(*args, **attrs)
    finally:
        places.given = places.loops = places.wrong = None
    if type(result) is backend.Declined:
        raise Opaque("it declines")
    found = [r if r is None or type(r) is Recorded else tape.recorded(r) for r in results_of(line, result)]
    return state.entered(tape, line, found)


def kernel(state: State, line: Line) -> Placed:
    """A kernel's call, its results where they are asked for; it runs once more, to see what it asks for."""
    tape, asked = Tape(line, state.number), list[Any]()

    def give(shape: Any, dtype: Any) -> Any:
        asked.append(plain(tape.fresh(np.empty(shape, dtype))))
        return asked[-1]

    given = lambda x: at(state.arrays[state.parts[x].value], state.parts[x]) if isinstance(x, Value) else x  # noqa: E731
    backend.PLACES.given = give
    try:
        with np.errstate(all="ignore"):
            made = line.function(line.m, *replaced(line.args, given), **replaced(line.attrs, given))
    finally:
        backend.PLACES.given = None
    results = results_of(line, made)
    if not asked:
        raise Opaque("it asks for no memory")
    inside = [
        v is not None and any(np.may_share_memory(a, r) for a in asked)
        for v, r in zip(line.results, results, strict=True)
    ]
    state.enter(
        tape,
        [(v, tape.part(r)) for v, r, yes in zip(line.results, results, inside, strict=True) if v and yes],
    )
    placed = {
        i: state.parts[v] for i, (v, yes) in enumerate(zip(line.results, inside, strict=True)) if v and yes
    }
    rest = [None if yes else v for v, yes in zip(line.results, inside, strict=True)]
    for v, r in zip(rest, map(np.asarray, results), strict=True):
        if v is not None and v not in state.parts and not v.view and v.contiguous and r.flags.c_contiguous:
            state.owns(v, r)
    part = lambda x: state.parts[x] if isinstance(x, Value) else x  # noqa: E731
    args, kwargs = tuple(replaced(line.args, part)), dict(replaced(line.attrs, part))
    memory = tuple([state.layouts[v] for v in tape.made])
    return Placed(line.function, line.name, args, kwargs, line, results=rest, given=memory, placed=placed)


def results_of(line: Line, made: Any) -> list[Any]:
    found = list(made) if type(made) in (tuple, list) else [made]
    if len(found) != len(line.results):
        raise Opaque("its results are in another form")
    return found
