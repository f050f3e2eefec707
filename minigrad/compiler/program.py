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

from ..autograd import inner, settled
from ..op import OPS


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
        yield from values_in((self.args, self.attrs))

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


def things_in(nest: Any, kind: type) -> Iterator[Any]:
    """The things of a kind in a nest of lists, tuples and dicts, in order."""
    if isinstance(nest, kind):
        yield nest
    elif isinstance(nest, (list, tuple)):
        for part in nest:
            yield from things_in(part, kind)
    elif isinstance(nest, dict):
        for part in nest.values():
            yield from things_in(part, kind)


def values_in(nest: Any) -> Iterator[Value]:
    """The values in a nest."""
    return things_in(nest, Value)


def replaced(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The nest with ``change`` applied to everything in it that is no list, tuple or dict."""
    if isinstance(nest, dict):
        return {k: replaced(v, change) for k, v in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*[replaced(v, change) for v in nest])
    if type(nest) in (list, tuple):
        return type(nest)(replaced(v, change) for v in nest)
    return change(nest)


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


def row_of(function: Any) -> tuple[Any, str]:
    """The row that a function is a forward, a rule or a kernel of, and how to call it in the source."""
    function = inner(function)
    for row in OPS.values():
        if function is row.forward:
            return row, row.name
        single = len(row.rules) == 1
        names = ["" if single or r.target is None else f"_by_{row.inputs[r.target]}" for r in row.rules]
        for rule, by in zip(row.rules, names, strict=True):
            if function is rule.function:
                return row, f"{row.name}_gradient{by}"
        for (kernel_set, _, _), kernel in row.kernels.items():
            if function is kernel.forward:
                return row, f"{row.name}_{kernel_set}"
            if function in kernel.rules:
                return row, f"{row.name}_gradient{names[kernel.rules.index(function)]}_{kernel_set}"
            if function is kernel.ahead:
                return row, f"{row.name}_and_gradient_{kernel_set}"
    return None, getattr(function, "__name__", "call").strip("_") or "call"


def reference_of(function: Any) -> Any:
    """The row's own function that a kernel stands for; None for what is no kernel."""
    for row in OPS.values():
        for kernel in row.kernels.values():
            if function is kernel.forward or function is kernel.ahead:
                return row.forward
            if function in kernel.rules:
                return row.rules[kernel.rules.index(function)].function
    return None


def without_ahead(line: Line) -> Line:
    """A line that makes a gradient which nobody reads, with a forward in its place that doesn't; others as they are."""
    function = inner(line.function)
    row, _ = row_of(function)
    for kernel in row.kernels.values() if row is not None else ():
        if function is kernel.ahead and line.results[-1] is None:
            plain = settled(kernel.forward, row, None)
            return Line(plain, line.m, line.args, line.attrs, line.results[:-1])
    return line
