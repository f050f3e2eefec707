"""Which row of the op table a function is of: its forward, a rule of its gradient, or a kernel that stands for them."""

from __future__ import annotations

from typing import Any

from ..autograd import inner
from ..op import OPS


def row_of(function: Any) -> tuple[Any, str]:
    """The row that a function is a forward, a rule or a kernel of, and how to call it in the source."""
    function = inner(function)
    for row in OPS.values():
        if function is row.forward:
            return row, row.name
        single = len(row.rules) == 1
        names = ["" if single or r.target is None else f"_by_{row.inputs[r.target]}" for r in row.rules]
        for rule, by in zip(row.rules, names, strict=True):
            if function is rule.function:
                return row, f"{row.name}_gradient{by}"
        for (kernel_set, _, _), kernel in row.kernels.items():
            if function is kernel.forward:
                return row, f"{row.name}_{kernel_set}"
            if function in kernel.rules:
                return row, f"{row.name}_gradient{names[kernel.rules.index(function)]}_{kernel_set}"
            if function is kernel.ahead:
                return row, f"{row.name}_and_gradient_{kernel_set}"
    return None, getattr(function, "__name__", "call").strip("_") or "call"


def reference_of(function: Any) -> Any:
    """The row's own function that a kernel stands for; None for what is no kernel."""
    for row in OPS.values():
        for kernel in row.kernels.values():
            if function is kernel.forward or function is kernel.ahead:
                return row.forward
            if function in kernel.rules:
                return row.rules[kernel.rules.index(function)].function
    return None
