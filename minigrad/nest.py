"""Nests: tuples, lists and dicts, within one another, with tensors or anything else at the leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def flatten(nest: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The leaves in order, and the function that puts others in their places: ``rebuild(leaves) == nest``."""
    leaves: list[Any] = []

    def collect(part: Any) -> Any:
        kind: Any = type(part)  # what is returned keeps no leaf alive
        if isinstance(part, dict):
            plan = [collect(v) for v in part.values()]
            keys = list(part)
            return lambda it: kind((k, p(it)) for k, p in zip(keys, plan, strict=True))
        if isinstance(part, (tuple, list)):
            plan = [collect(v) for v in part]
            if hasattr(part, "_fields"):  # a named tuple
                return lambda it: kind(*[p(it) for p in plan])
            made = list if isinstance(part, list) else tuple
            return lambda it: made([p(it) for p in plan])
        leaves.append(part)
        return next

    build = collect(nest)
    return leaves, lambda values: build(iter(values))
