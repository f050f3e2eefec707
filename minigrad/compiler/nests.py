"""Nests of lists, tuples and dicts, as the arguments of calls are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def things_in(nest: Any, kind: type) -> Iterator[Any]:
    """The things of a kind in a nest of lists, tuples and dicts, in order."""
    if isinstance(nest, kind):
        yield nest
    elif isinstance(nest, (list, tuple)):
        for part in nest:
            yield from things_in(part, kind)
    elif isinstance(nest, dict):
        for part in nest.values():
            yield from things_in(part, kind)


def replaced(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The nest with ``change`` applied to everything in it that is no list, tuple or dict."""
    if isinstance(nest, dict):
        return {k: replaced(v, change) for k, v in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*[replaced(v, change) for v in nest])
    if type(nest) in (list, tuple):
        return type(nest)(replaced(v, change) for v in nest)
    return change(nest)


def each(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The nest with ``change`` applied to its leaves, of which a part is one."""
    if type(nest) is dict:
        return {k: each(v, change) for k, v in nest.items()}
    return type(nest)(each(v, change) for v in nest) if type(nest) in (list, tuple) else change(nest)
