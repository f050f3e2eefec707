"""``torch.autograd.graph``'s names, from ``minigrad.graph``. Nothing is defined here."""

from minigrad.graph import (
    GradientEdge,
    Node,
    get_gradient_edge,
    increment_version,
    save_on_cpu,
    saved_tensors_hooks,
)

__all__ = [
    "GradientEdge",
    "Node",
    "get_gradient_edge",
    "increment_version",
    "save_on_cpu",
    "saved_tensors_hooks",
]
