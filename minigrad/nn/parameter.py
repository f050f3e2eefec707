"""Tensors that a module owns: Parameter and Buffer, and parameters as one vector.

How a module keeps them is ``module.py``'s; how they begin, ``init.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import describe
from ..functions.creation import empty
from ..functions.shapes import cat
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor to be trained: a module that gets it as an attribute lists it among its parameters.

    It shares the memory of ``data`` and has no history. Computing with it gives plain tensors.
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        _share(self, "Parameter", data)
        self.requires_grad = requires_grad

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Another parameter of equal values; as in PyTorch without the gradient."""
        found = memo.get(id(self))
        if found is None:
            memo[id(self)] = found = type(self)(self.detach().clone(), self.requires_grad)
        return found

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that is a module's state but isn't trained; out of its ``state_dict`` if not ``persistent``."""

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        _share(self, "Buffer", data)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        found = memo.get(id(self))
        if found is None:
            memo[id(self)] = found = type(self)(self.detach().clone(), persistent=self.persistent)
        return found


def _share(made: Tensor, name: str, data: Any) -> None:
    data = empty(0) if data is None else data
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{name}: expected data to be a Tensor, got {describe(data)}; wrap it in minigrad.tensor"
        )
    made._array, made._writes = data._array, data._writes


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, one after another: shape (Σ numel,)."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Gives each parameter, in order, its stretch of ``vec`` as data (a view of the vector's memory)."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {describe(vec)}")
    at = 0
    for p in parameters:
        p.data = vec[at : at + p.numel()].view_as(p).data
        at += p.numel()


def typename(value: Any) -> str:
    """How PyTorch's errors name a value's type: ``minigrad.FloatTensor``, ``minigrad.nn.linear.Linear``, ``int``."""
    if isinstance(value, Tensor):
        return value.type()
    kind = value if isinstance(value, type) else type(value)
    room = "" if kind.__module__ in ("builtins", "__builtin__", None) else kind.__module__ + "."
    return room + kind.__qualname__
