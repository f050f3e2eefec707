"""``torch.types``: names for annotations."""

from __future__ import annotations

from . import backend
from .tensor import Size, Tensor

__all__ = ["Device", "Number", "_bool", "_dtype", "_float", "_int", "_size"]

from .dtypes import dtype as _dtype

_int, _float, _bool = int, float, bool
Number = int | float | bool
Device = backend.device | str | int | None
_size = Size | list[int] | tuple[int, ...]
_TensorOrTensors = Tensor | tuple[Tensor, ...]
