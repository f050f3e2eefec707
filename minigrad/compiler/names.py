"""What Python a traced function read: globals, closures, attributes, and whether they are still the same.

Found in the code of the function, of the functions, methods and forwards that it names, and of what those
name in turn; the library's own code is left out. Values are compared by identity, numbers and strings by value,
lists, dicts and sets by their contents, some levels deep.
"""

from __future__ import annotations

import collections
import dis
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd import Variable

_SIMPLE = (bool, int, float, str, type(None), np.float64, np.float32, np.int64)
_NESTS = (dict, list, tuple, set, collections.deque)
_LONG = 256  # longer lists are data: only their length is compared
_OURS = __name__.partition(".")[0]


class Kept:
    """A value as it was; :meth:`holds` says whether another is the same."""

    __slots__ = ("parts", "value")

    def __init__(self, value: Any, depth: int = 3) -> None:
        self.value = value
        self.parts: Any = None
        if depth and issubclass(type(value), _NESTS):  # isinstance would ask a proxy for its class
            inner = _inner(value) if len(value) <= _LONG else []
            self.parts = (len(value), [Kept(x, depth - 1) for x in inner])

    def holds(self, now: Any) -> bool:
        before = self.value
        if now is not before:
            if type(now) is not type(before) or not (
                type(now) in _SIMPLE and now == before or type(now) is tuple
            ):
                return False
        if self.parts is None:
            return True
        size, kept = self.parts
        if len(now) != size:
            return False
        return not kept or all(map(Kept.holds, kept, _inner(now)))


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return sorted(value, key=id) if isinstance(value, set) else list(value)


class Names:
    """The names that functions read, each in a table (globals, an object's attributes) or in a closure's cell."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._attributes: set[str] = set()
        self._objects: list[Any] = []
        self.kept: dict[tuple[int, str], tuple[Any, str, Kept]] = {}

    def add(self, *things: Any) -> None:
        """Notes what these functions and objects read, and everything that they name."""
        for thing in things:
            self._reach(thing)
        known = -1
        while known != (known := len(self._attributes) + len(self._objects)):
            for thing in list(self._objects):
                self._attributes_of(thing)

    def changed(self) -> str | None:
        """A name whose value is another now; None if there is none."""
        for table, name, kept in self.kept.values():
            if not kept.holds(value_of(table, name)):
                return name
        return None

    def note(self, table: Any, name: str) -> Any:
        """Keeps what a name stands for, and gives it back."""
        value = value_of(table, name)
        self.kept.setdefault((id(table), name), (table, name, Kept(value)))
        return value

    def _reach(self, thing: Any, depth: int = 3) -> None:
        if isinstance(thing, _NESTS) and depth and len(thing) <= _LONG:
            for x in _inner(thing):
                self._reach(x, depth - 1)
        if type(thing) in (*_NESTS, *_SIMPLE) or id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, functools.partial):
            self._reach((thing.func, thing.args, thing.keywords))
        elif isinstance(thing, types.MethodType):
            self._reach((thing.__func__, thing.__self__))
        elif isinstance(thing, types.FunctionType):
            if not _ours(thing) and not _standard(thing.__module__):
                self._function(thing)
        elif _has_names(thing):
            self._objects.append(thing)
        elif hasattr(thing, "__wrapped__"):  # a compiled function
            self._reach(thing.__wrapped__)

    def _function(self, function: types.FunctionType) -> None:
        self._reach((function.__defaults__, function.__kwdefaults__, getattr(function, "__wrapped__", None)))
        space = function.__globals__
        for code in _codes(function.__code__):
            for step in dis.get_instructions(code):
                if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL") and step.argval in space:
                    self._reach(self.note(space, step.argval))
                elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
                    self._attributes.add(step.argval)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._reach(self.note(cell, name))

    def _attributes_of(self, thing: Any) -> None:
        for table in _tables(thing):
            for name in self._attributes & table.keys():
                self._reach(self.note(table, name))
        for name in (*self._attributes, "__call__", "forward"):
            found = None if _is_python(thing) else getattr(type(thing), name, None)
            found = found.fget if isinstance(found, property) else found
            if isinstance(found, types.FunctionType):
                self._reach(found)


def value_of(table: Any, name: str) -> Any:
    if not isinstance(table, types.CellType):
        return table.get(name, Names)  # Names: nothing
    try:
        return table.cell_contents
    except ValueError:
        return Names


def _ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] in (_OURS, "numpy")


def _standard(module: Any) -> bool:
    """Is it the standard library's? What that names, copyreg's table for one, leads to everything that is imported."""
    return str(module).partition(".")[0] in sys.stdlib_module_names


def _is_python(thing: Any) -> bool:
    """Is it an optimizer or a schedule, whose methods a replay calls?"""
    from ..optim import Optimizer
    from ..optim.lr_scheduler import LRScheduler

    return isinstance(thing, (Optimizer, LRScheduler))


def _has_names(thing: Any) -> bool:
    """Is it a module or class of the user's, a Module, or a plain object of a class of the user's?"""
    from ..nn.module import Module

    if isinstance(thing, types.ModuleType):
        foreign = thing.__name__.partition(".")[0] not in (_OURS, "numpy") and not _standard(thing.__name__)
        return foreign and hasattr(thing, "__file__")
    if isinstance(thing, Variable) or not hasattr(thing, "__dict__"):
        return False
    kind = thing if isinstance(thing, type) else type(thing)
    return (
        isinstance(thing, Module) or _is_python(thing) or not (_ours(kind) or kind.__module__ == "builtins")
    )


def _tables(thing: Any) -> Iterator[Any]:
    own = vars(thing)
    yield own
    for name in ("_parameters", "_buffers", "_modules"):
        if type(own.get(name)) is dict:
            yield own[name]
    for kind in (thing if isinstance(thing, type) else type(thing)).__mro__:
        if not (_ours(kind) or kind.__module__ == "builtins" or _is_python(thing)):
            yield vars(kind)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)
