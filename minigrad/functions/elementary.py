"""Elementwise functions composed of others: logarithms of sums, NaN replaced, degrees, signs."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..op import composite
from ..tensor import Tensor
from .arguments import floating, row, tensor_of
from .arithmetic import abs_of, clamp
from .shapes import broadcast_tensors, stack


@composite(inplace=True)
def nan_to_num(input: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN as 0 and ±∞ as the largest and smallest finite numbers, or as given."""
    if tensor_of("nan_to_num", input).dtype.category != 2:
        return row("clone", input)
    limits = dtypes.finfo(input.dtype)
    high, low = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    x = row("where", row("isnan", input), 0.0 if nan is None else float(nan), input)
    return row("where", input == math.inf, float(high), row("where", input == -math.inf, float(low), x))


@composite(inplace=True)
def logit(input: Any, eps: Any = None) -> Any:
    """ln(x / (1 - x)), of x kept in [eps, 1 - eps] when eps is given."""
    return row("logit", input if eps is None else clamp(floating(input), eps, 1 - eps))


@composite(inplace=True)
def xlogy(input: Any, other: Any) -> Any:
    """x ln y, and 0 where x is 0 and y isn't NaN."""
    x, y = (t if isinstance(t, Tensor) else float(t) for t in (input, other))
    log = (
        row("log", y)
        if isinstance(y, Tensor)
        else math.log(y)
        if y > 0
        else -math.inf
        if y == 0
        else math.nan
    )
    zero = (x == 0) & (y == y)
    if not isinstance(zero, Tensor):  # x is a number
        return log * 0 if zero else x * log
    # the logarithm is hidden where it doesn't count, or its gradient would be 0 · ∞
    safe = row("log", row("where", zero, 1.0, y)) if isinstance(y, Tensor) else log
    return row("where", zero, 0.0, x * safe)


@composite(method=True)
def logaddexp(input: Any, other: Any) -> Any:
    """ln(eˣ + eʸ)."""
    return row("logsumexp", stack(broadcast_tensors(input, other)), dim=0)


@composite(method=True)
def logaddexp2(input: Any, other: Any) -> Any:
    """log₂(2ˣ + 2ʸ)."""
    return logaddexp(input * math.log(2), other * math.log(2)) / math.log(2)


@composite(inplace=True)
def heaviside(input: Any, values: Any) -> Any:
    """0 where x < 0, values where x = 0, 1 where x > 0."""
    return row("where", input == 0, values, (input > 0).to(input.dtype)).to(input.dtype)


@composite(inplace=True)
def float_power(input: Any, exponent: Any) -> Any:
    """xʸ in float64."""
    x, y = (t.double() if isinstance(t, Tensor) else float(t) for t in (input, exponent))
    return row("pow", x, y)


@composite(inplace=True)
def deg2rad(input: Any) -> Any:
    """x · π / 180."""
    return floating(input) * (math.pi / 180)


@composite(inplace=True)
def rad2deg(input: Any) -> Any:
    """x · 180 / π."""
    return floating(input) * (180 / math.pi)


@composite(inplace=True)
def sgn(input: Any) -> Any:
    """The sign: -1, 0 or 1."""
    return row("sign", input)


@composite
def isposinf(input: Any) -> Any:
    """Is it +∞?"""
    return input == math.inf


@composite
def isneginf(input: Any) -> Any:
    """Is it -∞?"""
    return input == -math.inf


@composite
def isreal(input: Any) -> Any:
    """True everywhere: there are no complex numbers."""
    return row("isnan", input) | True


@composite
def fmax(input: Any, other: Any) -> Any:
    """The larger of each pair; of a number and NaN the number."""
    x, y = broadcast_tensors(input, other)
    return row("where", row("isnan", y), x, row("where", row("isnan", x), y, row("maximum", x, y)))


@composite
def fmin(input: Any, other: Any) -> Any:
    """The smaller of each pair; of a number and NaN the number."""
    x, y = broadcast_tensors(input, other)
    return row("where", row("isnan", y), x, row("where", row("isnan", x), y, row("minimum", x, y)))


@composite(inplace=True)
def hypot(input: Any, other: Any) -> Any:
    """√(x² + y²), without overflow: the larger times √(1 + (smaller / larger)²)."""
    x, y = broadcast_tensors(abs_of(input), abs_of(other))
    big, small = row("maximum", x, y), row("minimum", x, y)
    none = (big == 0) | row("isinf", big)
    ratio = small / row("where", none, 1.0, big)
    return row("where", none, big + small, big * row("sqrt", 1 + ratio * ratio))
