"""Two traced calls side by side, of different batch sizes: their programs, and all that is around these, as one of ``n``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .guards import form
from .numbers import Differs
from .pairs import Pair
from .program import Program


class Parts(NamedTuple):
    """What of a replay has numbers in it."""

    forward: Program
    backward: Program | None
    roots: list[Any]  # the shapes of the results that backward begins at
    views: list[Any]  # how results are views of what they share memory with


def parts_of(replay: Any) -> Parts:
    if replay.parts is not None:
        found: Parts = replay.parts
        return found
    backward, views = replay.backward, [share[3] for share in replay.outputs.shares]
    if backward is None:
        return Parts(replay.unblocked, None, [], views)
    return Parts(replay.unblocked, backward.unblocked, [shape for _, shape, _ in backward.roots], views)


def together(number: Callable[..., Any], x: Any, y: Any, arguments: list[Any]) -> Parts:
    """Two replays as one; the second is of a call with these arguments. Raises :class:`Differs`."""
    if not alike(x, y, arguments):
        raise Differs
    pair, a, b = Pair(number), parts_of(x), parts_of(y)
    with np.errstate(all="ignore"):  # a number of the program may be too large at this size
        forward = pair.program(a.forward, b.forward)
        backward = None
        if a.backward is not None and b.backward is not None:
            pair.each(x.backward.saved, y.backward.saved)
            backward = pair.program(a.backward, b.backward)
    return Parts(forward, backward, pair.part(a.roots, b.roots), pair.part(a.views, b.views))


def alike(x: Any, y: Any, arguments: list[Any]) -> bool:
    """Is all that has no numbers in it the same: what is returned, written to and relied on?"""
    outs = [object() for _ in x.present]

    def one(r: Any) -> tuple[Any, list[Any]]:
        """What compares, and what must be the same objects."""
        o, backward = r.outputs, r.backward
        built = r.rebuild([*range(len(r.present))])
        facts = [
            r.present, form(built), built, o.first, o.retained, o.flags, [i for i, _ in r.ended], [n for _, n in r.bumps],
            [(i, is_view) for i, _, is_view, _ in o.shares], [f is None for f in o.outside], backward is None,
        ]  # fmt: skip
        found = [f(arguments) for f, _ in r.bumps] + [f(arguments, outs) for _, f, _, _ in o.shares]
        found += [f(arguments) for f in o.outside if f is not None]
        if backward is not None:
            facts += [backward.watched, backward.keeps, *[(i, d) for i, _, d in backward.roots]]
            found += [f(arguments) for f in (*backward.wanted, *backward.versions)] + [backward.module]
        return facts, found

    (facts, found), (others, objects) = one(x), one(y)
    return (
        facts == others
        and len(found) == len(objects)
        and all(a is b for a, b in zip(found, objects, strict=True))
        and x.guards.alike(y.guards, arguments)
        and all(r.backward is None or r.backward.failure is None for r in (x, y))
    )
