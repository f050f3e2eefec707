"""Questions about tensors and dtypes that torch asks as functions."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..op import composite
from .arguments import tensor_of


@composite(method=False)
def numel(input: Any) -> int:
    """How many elements there are."""
    return tensor_of("numel", input).numel()


@composite(method=False)
def is_floating_point(input: Any) -> bool:
    """Is the dtype a floating-point one?"""
    return tensor_of("is_floating_point", input).is_floating_point()


@composite(method=False)
def is_complex(input: Any) -> bool:
    """False: there are no complex numbers."""
    return tensor_of("is_complex", input).is_complex()


@composite(method=False)
def is_signed(input: Any) -> bool:
    """Can the dtype hold negative numbers?"""
    return tensor_of("is_signed", input).is_signed()


@composite(method=False)
def is_inference(input: Any) -> bool:
    """Was it made in ``inference_mode``?"""
    return tensor_of("is_inference", input).is_inference()


@composite
def is_nonzero(input: Any) -> bool:
    """Is the one element not zero?"""
    if tensor_of("is_nonzero", input).numel() != 1:
        raise RuntimeError(
            f"is_nonzero: Boolean value of Tensor with {input.numel()} values is ambiguous; use any or all"
        )
    return bool(input)


@composite
def is_same_size(input: Any, other: Any) -> bool:
    """Have both the same shape?"""
    return tensor_of("is_same_size", input).shape == tensor_of("is_same_size", other).shape


@composite(method=False)
def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """May an in-place operation write results of one dtype into another? Not from a float to an integer, nor to bool."""
    return from_.category <= to.category
