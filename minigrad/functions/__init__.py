"""PyTorch's functions over tensors, made of rows, so that their gradients are the rows'.

A function stands here, and not among the rows, when it only sorts out arguments or composes rows. What computes
on arrays all the same, without a gradient, does so through ``autograd.run``, where a capture sees it.
Importing this binds every public function: ``FUNCTIONS``, the methods of Tensor and its operators.
"""

from collections.abc import Callable
from typing import Any

from .. import ops, random
from . import (
    activations,
    arithmetic,
    attention,
    binding,
    blocks,
    creation,
    elementary,
    fills,
    groups,
    indexing,
    inplace,
    layers,
    margins,
    noise,
    pairs,
    products,
    queries,
    reductions,
    searching,
    shapes,
    shrinkage,
    statistics,
)

binding.bind_operators()
FUNCTIONS: dict[str, Callable[..., Any]] = binding.bind_functions()

__all__ = [
    "FUNCTIONS", "activations", "arithmetic", "attention", "binding", "blocks", "creation", "elementary", "fills", "groups",
    "indexing", "inplace", "layers", "margins", "noise", "ops", "pairs", "products", "queries", "random",
    "reductions", "searching", "shapes", "shrinkage", "statistics",
]  # fmt: skip
