"""Values as they were, to be compared with what they are: numbers and strings by value, lists, dicts, sets and small arrays
by their contents, everything else by identity.
"""

from __future__ import annotations

import collections
import types
from typing import Any

import numpy as np

SIMPLE = (bool, int, float, str, type(None), np.float64, np.float32, np.int64)
NESTS = (dict, list, tuple, set, collections.deque, types.MappingProxyType)
LONG = 256  # longer lists are data: only their length is compared
BYTES = 2**16  # larger arrays are data as well


class Kept:
    """A value as it was; :meth:`holds` says whether another is the same."""

    __slots__ = ("parts", "value")

    def __init__(self, value: Any, around: tuple[int, ...] = ()) -> None:
        self.value = value
        self.parts: Any = None
        kind = type(value)  # isinstance would ask a proxy for its class
        if issubclass(kind, NESTS) and id(value) not in around:
            self.parts = len(value), [Kept(x, (*around, id(value))) for x in inner(value)]
        elif kind is bytearray or kind is np.ndarray and value.nbytes <= BYTES and not value.dtype.hasobject:
            self.parts = bytes_of(value)

    def holds(self, now: Any) -> bool:
        before = self.value
        if now is not before:
            if type(now) is not type(before) or not (
                type(now) in SIMPLE and now == before or type(now) is tuple
            ):
                return False
        if self.parts is None:
            return True
        if type(self.parts) is bytes:
            return bytes_of(now) == self.parts
        size, kept = self.parts
        return len(now) == size and (not kept or all(map(Kept.holds, kept, inner(now))))


def inner(value: Any) -> list[Any]:
    """What is in a nest; nothing of a long one."""
    if len(value) > LONG:
        return []
    if isinstance(value, (dict, types.MappingProxyType)):
        return [*value, *value.values()]
    return sorted(value, key=id) if isinstance(value, set) else list(value)


def bytes_of(value: Any) -> bytes:
    """The contents of an array."""
    return bytes(value) if type(value) is bytearray else value.tobytes()
