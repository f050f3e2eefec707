"""Activations that cut: threshold, hardshrink, softshrink."""

from __future__ import annotations

from typing import Any

from ..op import composite
from .arguments import factor_of, placed, row


@composite(method=False)
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, ``value`` elsewhere."""
    least, value = factor_of(input, threshold), factor_of(input, value)
    return placed("threshold_", input, inplace, lambda x: row("where", x <= least, value, x))


@composite
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x where |x| > λ, 0 elsewhere."""
    return row("where", (input >= -lambd) & (input <= lambd), 0.0, input)


@composite(method=False)
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x - λ where x > λ, x + λ where x < -λ, 0 between."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}.")
    return row("where", input > lambd, input - lambd, row("where", input < -lambd, input + lambd, input * 0))
