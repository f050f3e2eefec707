"""Looking into the graph, under PyTorch's ``autograd.graph`` names: nodes, hooks for saved tensors.

The graph itself is ``autograd.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .autograd import AccumulateGrad, Node, Variable, edge
from .modes import Mode


class GradientEdge(NamedTuple):
    """Where a tensor's gradient arrives: a node, and which of its outputs the tensor is."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge that a tensor's gradient comes by. Raises RuntimeError where it has none."""
    if not tensor.requires_grad:
        raise RuntimeError("get_gradient_edge: it is not possible to get the gradient edge for a Tensor that does not require "
                           "gradients; call requires_grad_() first")  # fmt: skip
    node, index = edge(tensor)
    return GradientEdge(AccumulateGrad(node) if isinstance(node, Variable) else node, index)


class saved_tensors_hooks(Mode):
    """In a ``with`` block, ``pack(tensor)`` is kept instead of each tensor saved for backward.

    ``unpack(packed)`` must give back a tensor of equal content when backward asks for it. Of nested blocks
    the innermost counts.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        super().__init__(saved_hooks=(pack_hook, unpack_hook))


class save_on_cpu(saved_tensors_hooks):
    """Keeps what is saved for backward in the host's memory, as copies, and brings it back when asked for."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.to("cpu", copy=True)), lambda packed: packed[1].to(packed[0]))


def increment_version(tensor: Any) -> None:
    """Tells autograd of a write to a tensor's memory (or those of several) that it didn't see."""
    for t in [tensor] if isinstance(tensor, Variable) else tensor:
        t._writes[0] += 1


__all__ = [
    "GradientEdge",
    "Node",
    "get_gradient_edge",
    "increment_version",
    "save_on_cpu",
    "saved_tensors_hooks",
]
