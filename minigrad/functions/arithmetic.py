"""Arithmetic and comparison in PyTorch's argument forms: ``alpha=``, ``rounding_mode=``, bounds, closeness."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd import apply
from ..op import OPS, composite
from ..tensor import Tensor
from .arguments import NONE, row


def _times(name: str, input: Any, other: Any, alpha: Any) -> Any:
    """alpha · other, in the dtype that the sum will have."""
    if alpha == 1:
        return other
    kind = result_type(input, other)
    if isinstance(alpha, float) and kind.category < 2:
        raise RuntimeError(f"{name}: For integral input tensors, argument alpha must not be a floating point number, got "
                           f"{alpha}; convert with .float()")  # fmt: skip
    alpha = bool(alpha) if kind is dtypes.bool_ else alpha
    return apply(OPS["mul"], (other, alpha), NONE) if isinstance(other, Tensor) else other * alpha


@composite(inplace=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input + alpha · other."""
    return apply(OPS["add"], (input, _times("add", input, other, alpha)), NONE)


@composite(inplace=True)
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input - alpha · other."""
    for x in (input, other):
        if isinstance(x, bool) or isinstance(x, Tensor) and x.dtype is dtypes.bool_:
            raise RuntimeError("sub: Subtraction, the `-` operator, with a bool tensor is not supported; use "
                               "logical_xor or bitwise_not")  # fmt: skip
    return apply(OPS["sub"], (input, _times("sub", input, other, alpha)), NONE)


@composite(inplace=True)
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """other - alpha · input."""
    return apply(OPS["sub"], (other, _times("rsub", other, input, alpha)), NONE)


@composite(inplace=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other; rounding_mode "trunc" or "floor" rounds the quotient."""
    if rounding_mode is None:
        return apply(OPS["div"], (input, other), NONE)
    if rounding_mode == "floor":
        return apply(OPS["floor_divide"], (input, other), NONE)
    if rounding_mode != "trunc":
        raise RuntimeError(f"div: div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
                           f"{rounding_mode!r}")  # fmt: skip
    kind = result_type(input, other)
    if kind.category == 2:
        return apply(OPS["trunc"], (apply(OPS["div"], (input, other), NONE),), NONE)
    rest = apply(OPS["fmod"], (input, other), NONE)  # exact for 64-bit integers, unlike a float quotient
    return apply(OPS["floor_divide"], (apply(OPS["sub"], (input, rest), NONE), other), NONE)


@composite(inplace=True)
def pow(input: Any, exponent: Any) -> Any:
    """inputᵉˣᵖᵒⁿᵉⁿᵗ."""
    if isinstance(exponent, int) and exponent < 0 and isinstance(input, Tensor) and input.dtype.category < 2:
        raise RuntimeError("pow: Integers to negative integer powers are not allowed; convert with .float()")
    return apply(OPS["pow"], (input, exponent), NONE)


@composite(inplace=True)
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value · tensor1 · tensor2."""
    product = tensor1 * tensor2
    if value != 1:
        kind = result_type(input, product)
        product = product.to(kind) * (
            bool(value) if kind is dtypes.bool_ else int(value) if kind.category == 1 else value
        )
    return input + product


@composite(inplace=True)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value · tensor1 / tensor2."""
    if result_type(input, tensor1, tensor2).category < 2:
        raise RuntimeError("addcdiv: Integer division with addcdiv is not supported; convert with .float()")
    return input + value * tensor1 / tensor2


@composite(inplace=True)
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """min(max(input, min), max); a bound may be a number, a tensor, or None."""
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    return apply(OPS["clamp"], (input, min, max), NONE)


@composite(inplace=True)
def clamp_min(input: Any, min: Any) -> Any:
    """max(input, min)."""
    return clamp(input, min)


@composite(inplace=True)
def clamp_max(input: Any, max: Any) -> Any:
    """min(input, max)."""
    return clamp(input, None, max)


@composite(method=False)
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, other elsewhere; alone, the indices where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}")
    if condition.dtype.category == 2 or condition.dtype.category == 1 and condition.dtype is not dtypes.uint8:
        raise RuntimeError(f"where: expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{condition.dtype}; compare first")  # fmt: skip
    return apply(OPS["where"], (condition.bool(), input, other), NONE)


@composite(method=False)
def result_type(*operands: Any) -> dtypes.dtype:
    """The dtype that an operation on the operands would have."""
    return dtypes.result_type(
        (x.dtype, 2 if x.ndim else 1) if isinstance(x, Tensor) else (dtypes.of_scalar(x, "result_type"), 0)
        for x in operands
    )


@composite
def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """|input - other| ≤ atol + rtol · |other|, element by element."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"isclose: {input.dtype} did not match {other.dtype}; convert one with .to()")
    a, b = input.detach(), other.detach()
    if a.dtype.category < 2:
        a, b = a.double(), b.double()
    close = (a == b) | ((abs_of(a - b) <= atol + rtol * abs_of(b)) & row("isfinite", b) & row("isfinite", a))
    return close | (row("isnan", a) & row("isnan", b)) if equal_nan else close


def abs_of(x: Any) -> Any:
    return apply(OPS["abs"], (x,), NONE)


@composite
def positive(input: Any) -> Any:
    """input itself; booleans are refused."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError(
            "positive: The `+` operator, on a bool tensor is not supported; convert with .int()"
        )
    return input


@composite
def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Are all elements close?"""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@composite
def equal(input: Any, other: Any) -> bool:
    """Same shape and same elements?"""
    return input.shape == other.shape and bool((input == other).all())
