"""Names and literals of a program's source: whatever isn't a literal is an object with a name, never text."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .program import Program


class Text:
    """Names that are taken, and the objects that names stand for."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._named: dict[int, str] = {}
        self._taken: set[str] = set()

    def named(self, thing: Any, wanted: str) -> str:
        """The name of an object."""
        if id(thing) not in self._named:
            self._named[id(thing)] = name = self.free(wanted)
            self.objects[name] = thing  # which keeps it alive, and its id its own
        return self._named[id(thing)]

    def free(self, wanted: str) -> str:
        """A name that nothing has."""
        name = wanted = identifier(wanted)
        n = 2
        while name in self._taken:
            name, n = f"{wanted}_{n}", n + 1
        self._taken.add(name)
        return name

    def literal(self, x: Any) -> str:
        """A thing as Python writes it, or the name of an object that it becomes."""
        if x is np:
            self.objects["np"] = np
            return "np"
        if type(x) in (list, tuple):
            inner = ", ".join(map(self.literal, x))
            return f"[{inner}]" if type(x) is list else f"({inner}{',' if len(x) == 1 else ''})"
        if type(x) in _LITERALS and not (isinstance(x, float) and not np.isfinite(x)):
            return repr(x)
        if isinstance(x, slice) and all(
            type(p) in _LITERALS or isinstance(p, np.integer) for p in (x.start, x.stop, x.step)
        ):
            return f"slice({x.start}, {x.stop}, {x.step})"
        if x is Ellipsis:
            return "..."
        if isinstance(x, dict):
            return "{" + ", ".join(f"{k!r}: {self.literal(v)}" for k, v in x.items()) + "}"
        number = f"_{x}" if isinstance(x, np.generic) else ""
        return self.named(x, f"{type(x).__name__}{number}")


def identifier(text: str) -> str:
    name = re.sub(r"\W+", "_", text).strip("_") or "x"
    return f"_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


def name_tensors(program: Program, title: str, names: dict[int, str]) -> None:
    """Gives values that are tensors their names, by identity, as far as no other thing of a program may have them."""
    taken = {"np", "array", "map", "n", identifier(title), *(v.name for v in program.values())}
    for v, t in program.tensors.items():
        if id(t) in names:
            name = wanted = identifier(names[id(t)])
            k = 2
            while name in taken or _OURS.fullmatch(name):
                name, k = f"{wanted}_{k}", k + 1
            taken.add(name)
            v.name = name


_OURS = re.compile(r"[a-z]\d+|.*_(all|part|tensor)")  # what other names look like


def array_by(m: Any) -> Callable[[Any], Any]:
    """What the engine does to results: NumPy's scalars become arrays, and a rule may return a tuple of one."""

    def array(x: Any) -> Any:
        x = x[0] if type(x) in (tuple, list) else x
        return x if x is None else m.asarray(x)

    return array


_LITERALS = (bool, int, float, str, type(None))
