"""The program of a traced call: straight lines over values, as the passes read and rewrite them.

A :class:`Line` calls one function of the engine (a row's forward, its rule, an update) on raw arrays; a
:class:`HostLine` calls back into Python, as ``optimizer.step`` does; :class:`ReadGrad` and :class:`SetGrad`
are ``leaf.grad``. Lines run in their order; nothing branches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..op import OPS
from .nests import things_in
from .rows import row_of


@dataclass(eq=False)
class Value:
    """One array of the program: where it comes from, and what it was like when traced.

    ``memory`` tells which values share memory: it is equal for views of one another and their base.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    nbytes: int
    memory: int
    view: bool  # of memory that another value owns
    contiguous: bool  # in the order of its indices
    strides: tuple[int, ...] | None = None  # in bytes; None where a replay's may be others

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return self.name

    def like(self, strides: tuple[int, ...] | None = None) -> Any:
        """An array of zeros like it, laid out as it was, or by these strides."""
        strides = self.strides if strides is None else strides
        if strides is None or not self.size:
            return np.zeros(self.shape, self.dtype)
        far = [(n - 1) * s for n, s in zip(self.shape, strides, strict=True)]
        first = -sum(min(x, 0) for x in far)
        memory = np.zeros(first + sum(max(x, 0) for x in far) + self.dtype.itemsize, np.uint8)
        return np.ndarray(self.shape, self.dtype, memory, first, strides)


@dataclass(eq=False)
class Line:
    """``results = function(m, *args, **attrs)``; args and attrs may hold values in lists and tuples."""

    function: Callable[..., Any]
    m: Any
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    results: list[Value | None]

    def reads(self) -> Iterator[Value]:
        yield from things_in((self.args, self.attrs), Value)

    @property
    def name(self) -> str:
        return row_of(self.function)[1]

    @property
    def pure(self) -> bool:
        """May it be left out, or run once for several? True of rows and rules; all else may write or draw."""
        row, _ = row_of(self.function)
        return row is not None and not row.mutates

    def writes(self) -> Iterator[Value]:
        """What it may write to, beside what it makes."""
        for kernel in (k for row in OPS.values() for k in row.kernels.values()):
            if self.function is kernel.rest:
                return iter(self.args[1:])
        return iter(()) if self.pure else self.reads()


@dataclass(eq=False)
class HostLine:
    """``function(*args, **kwargs)``, a call of Python that runs again at every replay."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Value | None] = field(default_factory=list)

    def reads(self) -> Iterator[Value]:
        return iter(())

    @property
    def name(self) -> str:
        owner = getattr(self.function, "__self__", None)
        name = getattr(self.function, "__name__", "call")
        return name if owner is None else f"{type(owner).__name__}_{name}".lower()


@dataclass(eq=False)
class ReadGrad:
    """The array of ``leaf.grad``; the leaf is a tensor, or the number of an argument."""

    leaf: Any
    results: list[Value | None]
    name: str = "grad"

    def reads(self) -> Iterator[Value]:
        return iter(())


@dataclass(eq=False)
class SetGrad:
    """``leaf.grad`` becomes a tensor over a value, or None."""

    leaf: Any
    value: Value | None
    name: str = "grad"
    results: list[Value | None] = field(default_factory=list)

    def reads(self) -> Iterator[Value]:
        if self.value is not None:
            yield self.value


@dataclass(eq=False)
class AddGrad(SetGrad):
    """A value is added to ``leaf.grad``; if ``own``, it may become the gradient where there is none."""

    name: str = "add_gradient"
    own: bool = False


@dataclass(eq=False)
class SetData(SetGrad):
    """``leaf.data`` becomes a value."""

    name: str = "data"


@dataclass
class Program:
    """Lines, and what they read from outside: arguments by position, tensors, constant arrays; what they give."""

    lines: list[Any]
    arguments: dict[Value, int]
    tensors: dict[Value, Any]
    constants: dict[Value, Any]
    outputs: list[Value]

    def outside(self) -> list[Value]:
        """The values that the program doesn't make."""
        return [*self.arguments, *self.tensors, *self.constants]

    def values(self) -> list[Value]:
        """All values, each once."""
        made = [v for line in self.lines for v in line.results if v is not None]
        return list(dict.fromkeys([*self.outside(), *made]))


def written_memory(program: Program) -> set[int]:
    """What lines may write to, what becomes a ``.grad`` and what leaves the program."""
    written = {
        v.memory
        for line in program.lines
        if not getattr(line, "pure", False)
        for v in (line.writes() if isinstance(line, Line) else line.reads())
    }
    return written | {v.memory for v in program.outputs}


def leaves(program: Program) -> Iterator[Value]:
    """What leaves the program: its results, and what becomes a ``.grad`` or a tensor's data."""
    yield from program.outputs
    for line in program.lines:
        if (
            isinstance(line, SetGrad)
            and line.value is not None
            and (not isinstance(line, AddGrad) or line.own)
        ):
            yield line.value
