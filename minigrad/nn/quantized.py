"""Layers for inference whose weights are int8, with a scale for each output channel: a quarter of the memory to read.

Dettmers et al., LLM.int8(), 2022, section 2.1 (row-wise absmax), for the weights alone: what goes through stays float.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from .. import backend, dtypes
from ..autograd import apply
from ..functions.creation import zeros
from ..modes import no_grad
from ..op import OPS
from ..tensor import Tensor
from . import functional as F
from .module import Module


@no_grad()
def int8_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """round(127 W / max|W|) by row as int8 (out, in), and the scale max|W| / 127 (out,); a row of zeros has scale 0."""
    if weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(
            f"int8_weight: expected a matrix of floats, got {weight.dtype.name} {tuple(weight.shape)}"
        )
    scale = weight.abs().amax(1) / 127
    steps = weight / scale.where(scale > 0, 1.0)[:, None] if scale.numel() else weight
    return steps.round().to(dtypes.int8), scale


class _Int8(Module):
    """``steps`` int8 (rows, columns) and ``scale`` (rows,)."""

    steps: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        """scale · steps in floats, made anew: for code that uses a layer's weight itself."""
        return self.steps.to(self.scale.dtype) * self.scale[:, None]


class Int8Linear(_Int8):
    """x (s W)ᵀ + b with W int8 (out, in) and s (out,): a Linear for inference. ``Int8Linear.of`` makes one of a weight."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("steps", zeros(out_features, in_features, dtype="int8", device=device))
        self.register_buffer("scale", zeros(out_features, dtype=dtype, device=device))
        self.register_buffer("bias", zeros(out_features, dtype=dtype, device=device) if bias else None)

    @classmethod
    def of(cls, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Int8Linear:
        """The layer of an int8 weight, its scale and a bias, whose memory it shares."""
        made = cls(weight.shape[1], 0, bias=False)
        made.out_features, made.steps, made.scale = weight.shape[0], weight, scale
        if bias is not None:
            made.bias = bias.detach()
        return made

    def forward(self, input: Tensor) -> Tensor:
        return apply(OPS["int8_linear"], (input, self.steps, self.scale, self.bias), {})

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Int8Embedding(_Int8):
    """s[i] W[i] for indices i, with W int8 (num_embeddings, dim) and a scale s for each row."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.register_buffer("steps", zeros(num_embeddings, embedding_dim, dtype="int8", device=device))
        self.register_buffer("scale", zeros(num_embeddings, dtype=dtype, device=device))

    @classmethod
    def of(cls, weight: Tensor, scale: Tensor) -> Int8Embedding:
        """The table of an int8 weight and its scale, whose memory it shares."""
        made = cls(0, weight.shape[1])
        made.num_embeddings, made.steps, made.scale = weight.shape[0], weight, scale
        return made

    def forward(self, input: Tensor) -> Tensor:
        scale = F.embedding(input, self.scale[:, None])
        return F.embedding(input, self.steps).to(scale.dtype) * scale

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


def quantize_int8(model: Module) -> Module:
    """Replaces, in place, every Linear, Conv1D-like and Embedding of a model by its int8 form, and returns the model.

    A weight that several share (a tied table of words) is quantised once, by rows, and shared. Modules that use their
    weights themselves, as MultiheadAttention does with its in_proj_weight, keep them. Training such a model is refused by its having no
    parameters there; save the float one.
    """
    from .linear import Linear
    from .sparse import Embedding

    def turned(child: Any) -> bool:
        return type(child).__name__ == "Conv1D" and getattr(child, "weight", None) is not None

    def fits(child: Any) -> bool:
        return type(child) is Linear or turned(child) or (type(child) is Embedding and child.max_norm is None)

    places = [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if fits(child)
    ]
    uses = Counter(id(getattr(parent, name).weight) for parent, name in places)
    shared: dict[int, tuple[Tensor, Any]] = {}  # with the weight, so that no id is used again

    def once(weight: Tensor, turn: bool) -> tuple[Tensor, Tensor]:
        if id(weight) in shared:
            return shared[id(weight)][1]
        made = int8_weight(weight.detach().T.contiguous() if turn else weight.detach())
        if uses[id(weight)] > 1:
            shared[id(weight)] = weight, made
        return made

    for parent, name in places:  # no list has the modules: a float weight goes when its int8 form has come
        child: Any = getattr(parent, name)
        if type(child) is Embedding:
            new: Module = Int8Embedding.of(*once(child.weight, False))
        else:
            new = Int8Linear.of(*once(child.weight, turned(child)), child.bias)
        new.training = child.training
        setattr(parent, name, new)
        del child
    shared.clear()
    backend.give_back_freed_memory()
    return model
