"""Which row of the op table a function is of: its forward, a rule of its gradient, or a kernel that stands for them."""

from __future__ import annotations

from typing import Any

from ..autograd import inner
from ..op import OPS

_found: dict[Any, Any] = {}  # the row that a function was of when it was last asked for: looked at first


def row_of(function: Any) -> tuple[Any, str]:
    """The row that a function is a forward, a rule or a kernel of, and how to call it in the source."""
    function = inner(function)
    row = _found.get(function)
    if row is not None and OPS.get(row.name) is row and (name := _name_in(row, function)):
        return row, name
    for row in OPS.values():
        if name := _name_in(row, function):
            _found[function] = row
            return row, name
    return None, getattr(function, "__name__", "call").strip("_") or "call"


def _name_in(row: Any, function: Any) -> str:
    """How to call a function of the row; nothing where it is none."""
    if function is row.forward:
        return row.name
    for rule in row.rules:
        if function is rule.function:
            return f"{row.name}_gradient{_by(row, rule)}"
    for (kernel_set, _, _), kernel in row.kernels.items():
        if function is kernel.forward:
            return f"{row.name}_{kernel_set}"
        if function in kernel.rules:
            return f"{row.name}_gradient{_by(row, row.rules[kernel.rules.index(function)])}_{kernel_set}"
        if function is kernel.ahead:
            return f"{row.name}_and_gradient_{kernel_set}"
    return ""


def _by(row: Any, rule: Any) -> str:
    """Which operand's a rule is, where the row has several."""
    return "" if len(row.rules) == 1 or rule.target is None else f"_by_{row.inputs[rule.target]}"


def reference_of(function: Any) -> Any:
    """The row's own function that a kernel stands for; None for what is no kernel."""
    for row in OPS.values():
        for kernel in row.kernels.values():
            if function is kernel.forward or function is kernel.ahead:
                return row.forward
            if function in kernel.rules:
                return row.rules[kernel.rules.index(function)].function
    return None
