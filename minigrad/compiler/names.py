"""What Python a traced function read: globals, closures, attributes, and whether they are still the same.

Found in the code of the function, of the functions, methods and forwards that it names, and of what those
name in turn; the library's own code is left out. Values are compared by identity, numbers and strings by value,
lists, dicts, sets and small arrays by their contents (``kept.py``).
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterator, Set
from typing import Any

from ..autograd import Variable
from .kept import NESTS, SIMPLE, Kept, inner

_OURS = __name__.partition(".")[0]
_BY_TEXT = {"getattr", "vars", "__dict__"}  # with them a name may be a string in the code
_IMPLIED = {  # methods that code calls without naming them
    "BINARY_SUBSCR": ("__getitem__",), "LOAD_ATTR": ("__getattr__",), "GET_ITER": ("__iter__",), "CONTAINS_OP": ("__contains__",),
    "BINARY_OP": (
        "__getitem__", *(f"__{r}{op}__" for op in ("add", "sub", "mul", "truediv", "pow", "matmul") for r in ("", "r"))
    ),
    "float": ("__float__",), "int": ("__int__", "__index__"), "len": ("__len__",), "bool": ("__bool__",),
}  # fmt: skip


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

    def _reach(self, thing: Any) -> None:
        if type(thing) in SIMPLE or id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, NESTS):
            for x in inner(thing):
                self._reach(x)
        if type(thing) in NESTS:
            return
        if isinstance(thing, functools.partial):
            for part in ("func", "args", "keywords"):
                self._reach(self.note(thing, part))
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
        for given in ("__defaults__", "__kwdefaults__"):
            if getattr(function, given):
                self._reach(self.note(function, given))
        if vars(function):
            self._objects.append(function)
            self._reach(getattr(function, "__wrapped__", None))
        space = function.__globals__
        for code in _codes(function.__code__):
            if not _BY_TEXT.isdisjoint(code.co_names):
                self._attributes.update(text for text in code.co_consts if type(text) is str)
            for step in dis.get_instructions(code):
                self._attributes.update(_IMPLIED.get(step.opname, ()))
                if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL"):
                    self._attributes.update(_IMPLIED.get(step.argval, ()))
                    if step.argval in space:
                        self._reach(self.note(space, step.argval))
                elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
                    self._attributes.add(step.argval)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._reach(self.note(cell, name))

    def _attributes_of(self, thing: Any) -> None:
        for table, known in _tables(thing):
            for name in known if type(thing).__module__ == "collections" else self._attributes & known:
                self._reach(self.note(table, name))
        for name in (*self._attributes, "__call__", "forward"):
            found = None if _is_python(thing) else getattr(type(thing), name, None)
            found = found.fget if isinstance(found, property) else found
            if isinstance(found, types.FunctionType):
                self._reach(found)


def value_of(table: Any, name: str) -> Any:
    """What a name stands for in a dict, a cell, or an object; Names where that is nothing."""
    if isinstance(table, (dict, types.MappingProxyType)):
        return table.get(name, Names)
    try:
        return table.cell_contents if isinstance(table, types.CellType) else getattr(table, name, Names)
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
    if isinstance(thing, Variable) or not (hasattr(thing, "__dict__") or _slots(type(thing))):
        return False
    kind = thing if isinstance(thing, type) else type(thing)
    return (
        isinstance(thing, Module) or _is_python(thing) or not (_ours(kind) or kind.__module__ == "builtins")
    )


def _tables(thing: Any) -> Iterator[tuple[Any, Set[str]]]:
    """Where an object has its attributes, and which."""
    own = getattr(thing, "__dict__", {})
    yield own, own.keys()
    yield thing, _slots(type(thing))
    for name in ("_parameters", "_buffers", "_modules"):
        if type(own.get(name)) is dict:
            yield own[name], own[name].keys()
    for kind in (thing if isinstance(thing, type) else type(thing)).__mro__:
        if not (_ours(kind) or kind.__module__ == "builtins" or _is_python(thing)):
            yield vars(kind), vars(kind).keys()


def _slots(kind: type) -> Set[str]:
    """Attributes that the user's classes keep outside of a dict."""
    mine = [c for c in kind.__mro__ if not (_ours(c) or _standard(c.__module__))]
    return {n for c in mine for n, x in vars(c).items() if type(x) is types.MemberDescriptorType}


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)
