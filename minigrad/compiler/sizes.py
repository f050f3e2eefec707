"""What a compiled function with ``dynamic_batch`` knows of batch sizes: which programs serve many, and which may come to."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any

from .dynamic import Dynamic, Firsts, batch_of
from .guards import sized
from .numbers import Differs
from .replay import LIMIT, Replay


class Sizes:
    """What a compiled function knows of batch sizes: programs of many, and of one that may become programs of many."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, tuple[list[Any], list[Dynamic]]] = OrderedDict()

    def __iter__(self) -> Any:
        return iter([d for _, dynamic in self._known.values() for d in dynamic])

    def replay(self, key: Any, arguments: list[Any]) -> Replay | None:
        """The program of this call, if one is known to be."""
        key, firsts = sized(key)
        for d in self._known.get(key, ((), ()))[1]:
            n: Any = d.size(firsts)
            replay = d.alone.get(n, d)
            if n in d.sizes and replay.guards.hold(arguments):
                return replay
        return None

    def replays(self) -> list[Replay]:
        """All that are kept here."""
        return [r for d in self for r in (d, *d.alone.values())]

    def candidates(self, key: Any, arguments: list[Any]) -> list[tuple[Any, Firsts]]:
        """Before a call is traced: what may turn out to be its program, or the other half of it."""
        key, firsts = sized(key)
        single, many = self._known.get(key, ((), ()))
        found = [(d, firsts) for d in many if d.size(firsts) is not None]
        found += [
            (r, before)
            for ref, before in single
            if (r := ref()) is not None and batch_of(before, firsts) is not None
        ]
        return [(r, before) for r, before in found if r.guards.hold(arguments)]

    def fitting(
        self, candidates: Any, replay: Replay, key: Any, arguments: list[Any], title: str
    ) -> Dynamic | None:
        """The program of many sizes that a call turned out to be."""
        key, firsts = sized(key)
        for r, before in candidates:
            if isinstance(r, Dynamic):
                n: Any = r.size(firsts)
                if r.takes(replay, n, arguments):
                    return r
                continue
            try:
                made = Dynamic(r, before, replay, firsts, arguments, title)
            except Differs:
                continue
            single, many = self._known[key]
            single[:] = [(ref, b) for ref, b in single if ref() not in (None, r)]
            many.append(made)
            del many[:-LIMIT]
            return made
        return None

    def add(self, key: Any, replay: Replay) -> None:
        """A call of one size has been traced."""
        key, firsts = sized(key)
        single, _ = self._known.setdefault(key, ([], []))
        single.append((weakref.ref(replay), firsts))
        del single[:-LIMIT]
        self._known.move_to_end(key)
        while len(self._known) > LIMIT:
            self._known.popitem(last=False)
