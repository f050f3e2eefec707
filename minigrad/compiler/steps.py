"""Calls as a kernel set sees them that is asked to fuse them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import inner
from .nests import replaced
from .program import Line, Value
from .rows import reference_of, row_of


@dataclass(eq=False)
class Step:
    """A line as a kernel set sees it: the row, the function that its reference runs, and what that is given."""

    line: Line
    row: Any
    function: Callable[..., Any]

    @property
    def forward(self) -> bool:
        return self.function is self.row.forward

    @property
    def name(self) -> str:
        return self.row.name if self.forward else row_of(self.function)[1]

    @property
    def args(self) -> Any:
        return self.line.args

    @property
    def attrs(self) -> Any:
        return self.line.attrs

    @property
    def results(self) -> list[Value | None]:
        return self.line.results

    @property
    def reads(self) -> list[Value]:
        return list(self.line.reads())

    @staticmethod
    def mapped(nest: Any, value: Callable[[Value], Any], number: Callable[[float], Any]) -> Any:
        """Arguments with values and floats replaced."""
        return replaced(
            nest, lambda x: value(x) if isinstance(x, Value) else number(x) if type(x) is float else x
        )


def step_of(line: Any, kernel_set: str) -> Step | None:
    """A line that one may try to fuse: pure, on NumPy's arrays, and not another kernel set's."""
    if not isinstance(line, Line) or line.m is not np or not line.pure:
        return None
    row, _ = row_of(line.function)
    function = inner(line.function)
    reference = reference_of(function)
    if reference is not None and function not in [f for k in row.kernels.values() if k.kernel_set == kernel_set
                                                  for f in (k.forward, *k.rules)]:  # fmt: skip
        return None
    return Step(line, row, reference or function)
