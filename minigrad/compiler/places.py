"""Arrays in planned memory, as a program's source has them: names of places in the block, views, memory that is taken again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .memory import Plan, Recycled
from .primitives import Part
from .program import Value
from .text import Text


class Places(Text):
    """The names and expressions of values, in a plan or without one."""

    def __init__(self, plan: Plan | None, kept: dict[str, list[Any]] | None) -> None:
        super().__init__()
        self.plan = plan
        self.placed: dict[Part, str] = {}  # names of arrays in the block
        self.views: dict[
            Value, tuple[str, dict[str, None]]
        ] = {}  # of tensors from outside: a list, and its views
        self._kept = {} if kept is None else kept  # of values by name, the memory that they may take again
        self._begun: set[Value] = set()  # recycled values that have their memory

    def beginning(self, values: Iterable[Value | None]) -> list[str]:
        """Gives memory to those that are recycled and have none yet."""
        plan, found = self.plan, list[str]()
        for v in dict.fromkeys(values):
            if plan is not None and v is not None and v in plan.recycled and v not in self._begun:
                self._begun.add(v)
                memory = Recycled(plan.recycled[v], self._kept.setdefault(v.name, []))
                found.append(f"{v} = {self.named(memory, f'memory_of_{v}')}()")
        return found

    def part(self, part: Part) -> str:
        """A part of a value as an expression, or the name of an array in the block."""
        plan: Any = self.plan
        v, layout = part.value, plan.layouts[part.value]
        if v in plan.places:
            if part not in self.placed:
                self.placed[part] = self.free(v.name) if part != layout else v.name
            return self.placed[part]
        if part == layout:
            return v.name
        view = self._view(v, part, layout)
        if v not in self.views:
            return view
        name, views = self.views[v]
        views.setdefault(view)
        return f"{name}[{[*views].index(view) + 1}]"

    def _view(self, v: Value, part: Part, layout: Part) -> str:
        """A part as an expression that makes it."""
        plan: Any = self.plan
        turned = (layout.shape[::-1], layout.strides[::-1], layout.dtype, 0)
        if (part.shape, part.strides, part.dtype, part.offset) == turned:
            return f"{v}.T"
        memory = f"{v}.base" if v in plan.recycled else _in_order(v.name, layout)
        return (
            f"{self.named(np.ndarray, 'ndarray')}({part.shape}, {self.named(part.dtype, part.dtype.name)}, {memory}, "
            f"{part.offset}, {part.strides})"
        )

    def let_go(self, v: Value) -> bool:
        """Does a name of the function's own stand for it, and is it not wanted at the end?"""
        plan: Any = self.plan
        own = v not in plan.places and (v not in plan.parts or plan.parts[v].value is v)
        outputs = {plan.root(o) for o in plan.program.outputs} | {*plan.program.outputs}
        return own and v not in outputs and v not in plan.outside


def _in_order(name: str, layout: Part) -> str:
    """An array of the layout, as its memory has it."""
    order = sorted(range(len(layout.shape)), key=lambda i: -layout.strides[i])
    return name if order == [*range(len(order))] else f"{name}.transpose({order})"
