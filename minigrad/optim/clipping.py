"""Gradient clipping: the norm of all gradients as one vector, and writing smaller gradients in place.

``nn.utils`` has these under PyTorch's path. Everything runs through rows, without reading a value on the host
(but for ``error_if_nonfinite``), so that a capture sees it.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

from ..autograd import apply, no_grad
from ..errors import describe
from ..inplace import apply_, check_writable
from ..op import OPS
from ..tensor import Tensor, tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Tensors = Tensor | Iterable[Tensor]


def _listed(name: str, tensors: Tensors) -> list[Tensor]:
    found = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: expected tensors, got {describe(t)}; pass model.parameters()")
    return found


def _gradients(name: str, parameters: Tensors) -> list[Tensor]:
    """The gradients that there are, each of which can be written."""
    grads = [p.grad for p in _listed(name, parameters) if p.grad is not None]
    for g in grads:
        check_writable(g, name)
    return grads


@no_grad()
def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over all elements of all tensors, a 0-d tensor; max |x| for p = inf (or "inf"). 0 without tensors.

    ``foreach`` chooses between implementations in PyTorch, and is taken. RuntimeError for a norm that is nan
    or inf, if ``error_if_nonfinite``.
    """
    p = float(norm_type)
    norms = [
        apply(OPS["vector_norm"], (t,), {"p": p, "dim": None, "keepdim": False})
        for t in _listed("get_total_norm", tensors)
        if t.numel()
    ]
    if not norms:
        return tensor(0.0)
    total = norms[0]
    if len(norms) > 1:
        from ..functions.shapes import stack

        total = apply(OPS["vector_norm"], (stack(norms),), {"p": p, "dim": None, "keepdim": False})
    if error_if_nonfinite and not abs(total.item()) < float("inf"):
        raise RuntimeError(
            f"get_total_norm: The total norm of order {p} for gradients from `parameters` is non-finite "
            f"({total.item()}), so it cannot be clipped. To disable this error and scale the gradients by the "
            f"non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """g ← g · min(1, max_norm / (total_norm + 1e-6)) for every gradient, with a norm that is known already."""
    grads = _gradients("clip_grads_with_norm_", parameters)
    if grads:
        safe: Any = total_norm + 1e-6  # type: ignore[operator]
        factor = (float(max_norm) / safe).clamp(max=1.0)
        for g in grads:
            apply(OPS["scale_"], (g, factor.to(g.device)), {})


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients by one factor, so that their norm as one vector is at most ``max_norm``.

    Returns the norm before. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013,
    algorithm 1. Arguments as of :func:`get_total_norm`.
    """
    listed = _listed("clip_grad_norm_", parameters)
    if not listed and isinstance(parameters, types.GeneratorType):
        warnings.warn(
            "clip_grad_norm_: `parameters` is an empty generator, no gradient clipping will occur; was it used up?",
            stacklevel=2,
        )
    grads = [p.grad for p in listed if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(listed, max_norm, total, foreach)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """g ← min(max(g, -clip_value), clip_value), element by element, for every gradient."""
    bound = float(clip_value)
    for g in _gradients("clip_grad_value_", parameters):
        apply_(OPS["clamp"], (g, -bound, bound), {})
