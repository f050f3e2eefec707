"""Which value of the program an array is: by its identity for as long as it is alive, and by whose memory it is in."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from .program import Value


class Arrays:
    """The values of arrays, new ones being made for those that are not known."""

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}  # by the identity of arrays that are alive
        self._arrays: dict[
            Value, Any
        ] = {}  # references to them: a trace keeps no array that the call lets go
        self._memory: dict[int, tuple[int, Any]] = {}  # by the identity of an owner of memory: its number
        self._number = itertools.count(1)

    def made(self, array: Any, name: str = "") -> Value:
        """The value of an array; ``name`` is for one that wasn't made here."""
        known = self.values.get(id(array))
        if known is not None:  # a function gave back what it was given
            return known
        owner = array
        while getattr(owner, "base", None) is not None and type(owner.base) is type(array):
            owner = owner.base
        # a result in memory of its own, whatever that is wrapped in
        alone = not name and id(owner) not in self._memory
        if id(owner) not in self._memory:
            while_alive(self._memory, owner, next(self._number))
        solid = bool(getattr(getattr(array, "flags", None), "c_contiguous", False))
        value = Value(
            name or f"v{next(self._number)}", tuple(array.shape), array.dtype, array.nbytes, self._memory[id(owner)][0],
            owner is not array and not alone, solid, getattr(array, "strides", None),
        )  # fmt: skip
        key, values = id(array), self.values
        values[key] = value
        self._arrays[value] = _reference(array, lambda _: values.pop(key, None))
        return value

    def array_of(self, value: Value) -> Any:
        """What a value was in this call, or, if that is gone, an array like it."""
        array = self._arrays[value]()
        return value.like() if array is None else array


def while_alive(table: dict[int, Any], thing: Any, entry: Any = None) -> None:
    """Enters a thing by its identity for as long as that is its own."""
    key = id(thing)
    table[key] = (entry, _reference(thing, lambda _: table.pop(key, None)))


def _reference(thing: Any, ended: Callable[[Any], Any]) -> Callable[[], Any]:
    """A weak reference; to an array of a module that knows none, a strong one."""
    try:
        return weakref.ref(thing, ended)
    except TypeError:
        return lambda: thing
