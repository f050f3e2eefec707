"""PyTorch's functions over tensors, made of rows, so that their gradients are the rows'. No arithmetic on arrays.

A function stands here, and not among the rows, when it only sorts out arguments or composes rows.
Importing this binds every public function: ``FUNCTIONS``, the methods of Tensor and its operators.
"""

from collections.abc import Callable
from typing import Any

from .. import ops, tensor
from . import activations, arithmetic, indexing, inplace, layers, products, reductions, shapes

tensor.bind_operators()
FUNCTIONS: dict[str, Callable[..., Any]] = tensor.bind_functions()

__all__ = [
    "FUNCTIONS", "activations", "arithmetic", "indexing", "inplace", "layers", "ops", "products", "reductions", "shapes",
]  # fmt: skip
