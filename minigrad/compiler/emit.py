"""The program as Python source, and the function that it becomes.

The source is for readers too: it calls rows by their names, parameters have their modules' names, and an
array's name is let go after its last use. Nothing but this module's own text is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend, threads
from ..autograd import wrap
from ..backward import add_gradient
from .blocks import Block
from .clock import Clock
from .fusion import Fusion
from .loops import loop_called, parts_called
from .memory import Plan
from .passes import last_uses
from .places import Places
from .primitives import Part, Placed, Primitive, into
from .program import AddGrad, HostLine, Line, Program, ReadGrad, SetData, SetGrad, Value, written_memory
from .text import array_by, identifier
from .update import Step, is_step


class Source(Places):
    """The text of a program, and the objects that its names stand for. With a plan its arrays have places in a block."""

    def __init__(
        self, program: Program, title: str, plan: Plan | None = None, kept: dict[str, list[Any]] | None = None
    ) -> None:
        super().__init__(plan, kept)
        self.title = identifier(title)
        self.blocks: list[str] = []  # the functions that run blocks
        self.inside = False  # of one of them
        self.parted: set[Any] = set()  # values that it has in parts
        self.leaves = list(dict.fromkeys(
            x.leaf for x in program.lines if isinstance(x, (ReadGrad, SetGrad)) and isinstance(x.leaf, int)
        ))  # fmt: skip  # of the arguments that are wanted as tensors too, after the arrays
        tensors = [f"x{i}_tensor" for i in self.leaves]
        self._taken = {"np", "array", "map", self.title, *tensors, *(v.name for v in program.values())}
        if plan is not None:
            self._taken |= {v.name for v in plan.layouts}
        self._marks: dict[int, str] = {}  # numbers of lines -> what the report calls what ends there
        self._code: Any = None
        given = [*(v.name for v in program.arguments), *tensors]
        self.lines = [f"def {self.title}({', '.join(given)}):", *self._outside(program)]
        self._body(program, last_uses(program) if plan is None else plan.ends)
        for i, (name, views) in enumerate(self.views.values(), 1):
            if views:  # are made when the array is another
                array = self.lines[i].split()[0]
                made = f"{name}[:] = {array}, {', '.join(views)}"
                self.lines[i] += f"\n    if {array} is not {name}[0]:\n        {made}"
        self.text = "\n\n\n".join([*self.blocks, "\n".join(self.lines)]) + "\n"

    def _outside(self, program: Program) -> Iterator[str]:
        """The arrays of tensors, and copies of the constants that are written to: every call has its own."""
        for v, t in program.tensors.items():
            yield f"    {v.name} = {self.named(t, f'{v.name}_tensor')}._array"
            self.views[v] = self.named([None], f"{v.name}_views"), {}
        written = written_memory(program)
        for v, array in program.constants.items():
            if v.memory in written:
                m = self.literal(backend.module_of(array).m)
                yield f"    {v.name} = {m}.array({self.named(array, f'{v.name}_array')}, copy=True)"
            else:
                self.objects[v.name] = array

    def _body(self, program: Program, ends: list[list[Value]]) -> None:
        """The lines, each followed by the names that are let go after it."""
        row = None
        for line, over in zip(program.lines, ends, strict=True):
            if isinstance(line, Primitive) and line.row is not row:
                row = line.row
                made = ", ".join("_" if v is None else v.name for v in row.results)
                self.lines.append(f"    # {made} = {self._comment(row)}")
            self.lines += [f"    {text}" for text in self._line(line)]
            self._marks[len(self.lines)] = line.name
            gone = [v.name for v in over if self.plan is None or self.let_go(v)]
            if gone:
                self.lines.append(f"    del {', '.join(gone)}")
        self.lines.append(f"    return [{', '.join(map(self.literal, program.outputs))}]")

    def function(self, memory: Any = None, seconds: dict[str, float] | None = None) -> Callable[..., Any]:
        """The program, ready to be called with the argument arrays; it adds what its lines take to ``seconds``.

        ``memory`` is the block in which a plan's arrays have their places.
        """
        space = {**self.objects, "array": array_by(np)}
        for part, name in self.placed.items():
            start = self.plan.places[part.value] + part.offset  # type: ignore[union-attr]
            space[name] = np.ndarray(part.shape, part.dtype, memory, start, part.strides)
        if seconds is None:
            self._code = self._code or compile(self.text, f"<minigrad.compile {self.title}>", "exec")
            code = self._code
        else:
            clock = self.free("clock")
            space[clock] = Clock(seconds)
            lines = [f"{self.lines[0]}\n    {clock}.start()"]
            for i, line in enumerate(self.lines[1:], 2):
                lines.append(line + (f"\n    {clock}({self._marks[i]!r})" if i in self._marks else ""))
            text = "\n\n\n".join([*self.blocks, "\n".join(lines)]) + "\n"
            code = compile(text, f"<minigrad.compile {self.title}, timed>", "exec")
        exec(code, space)
        return space[self.title]

    # ---- lines -------------------------------------------------------------------------------------------

    def _line(self, line: Any) -> list[str]:
        if isinstance(line, Primitive):
            return self._primitive(line)
        if isinstance(line, ReadGrad):
            return [f"{line.results[0]} = {self._leaf(line)}._grad._array"]
        if isinstance(line, AddGrad):
            return [
                f"{self.named(add_gradient, 'add_gradient')}({self._leaf(line)}, {self.literal(line.value)}, {line.own})"
            ]
        if isinstance(line, SetData):
            return [f"{self._leaf(line)}._array = {self.literal(line.value)}"]
        if isinstance(line, SetGrad):
            value = (
                "None" if line.value is None else f"{self.named(wrap, 'wrap')}({self.literal(line.value)})"
            )
            return [f"{self._leaf(line)}._grad = {value}"]
        if isinstance(line, HostLine):
            return [self._host(line)]
        if isinstance(line, Fusion):
            return [*self.beginning(line.results), loop_called(self, line)]
        if isinstance(line, Block):
            return [*self.beginning(line.results), parts_called(self, line)]
        call = self._call(line)
        read = {*line.reads()}  # a function may give back what it was given
        if all(v is None or v in read for v in line.results):
            return [call]
        made = "array" if line.m is np else self.named(array_by(line.m), "array")
        targets = ["_" if v is None or v in read else v.name for v in line.results]
        if len(targets) == 1:
            return [f"{targets[0]} = {made}({call})"]
        return [f"{', '.join(targets)} = map({made}, {call})"]

    def _primitive(self, line: Primitive) -> list[str]:
        before = self.beginning(line.reads())
        if line.function is threads.share:  # the name is that of the loop which is shared
            self.named(line.args[0], line.text)
        given = [self.literal(a) for a in line.args] + [
            f"{k}={self.literal(v)}" for k, v in line.kwargs.items()
        ]
        if isinstance(line, Placed):
            return [*before, self._placed_call(line, given)]
        wanted = "share" if line.function is threads.share else line.text
        called = self.named(line.function, wanted) if "." not in line.text else self._method(line)
        return [*before, f"{called}({', '.join(given)})"]

    def _placed_call(self, line: Placed, given: list[str]) -> str:
        """A kernel's call with the memory that it asks for."""
        memory = self.literal(line.given)
        placed = self.literal(tuple((i, part) for i, part in line.placed.items()))
        function = self.named(line.function, line.text)
        call = (
            f"{self.named(into, 'into')}({', '.join([memory, placed, function, self.literal(np), *given])})"
        )
        targets = ["_" if v is None else v.name for v in line.results]
        if {*targets} == {"_"}:
            return call
        made = f"array({call})" if len(targets) == 1 else f"map(array, {call})"
        return f"{', '.join(targets)} = {made}"

    def _method(self, line: Primitive) -> str:
        """``add.reduce`` by its ufunc's name."""
        name, method = line.text.split(".")
        reduction: Any = line.function
        return self.named(reduction.__self__, name) + f".{method}"

    # ---- what is in memory -------------------------------------------------------------------------------

    def _comment(self, row: Line) -> str:
        """The row's call, for readers."""
        given = [
            a.name if isinstance(a, Value) else "…" if isinstance(a, np.ndarray) else repr(a)
            for a in row.args
        ]
        return f"{row.name}({', '.join([*given, *(f'{k}={v!r}' for k, v in row.attrs.items())])})"

    def _leaf(self, line: ReadGrad | SetGrad) -> str:
        return f"x{line.leaf}_tensor" if isinstance(line.leaf, int) else self.named(line.leaf, "leaf")

    def _call(self, line: Line) -> str:
        return f"{self._called(line)}({self.arguments(line)})"

    def arguments(self, line: Line) -> str:
        given = [self.literal(a) for a in (line.m, *line.args)]
        return ", ".join([*given, *(f"{k}={self.literal(v)}" for k, v in line.attrs.items())])

    def _host(self, line: HostLine) -> str:
        given = [self.literal(a) for a in line.args] + [
            f"{k}={self.literal(v)}" for k, v in line.kwargs.items()
        ]
        if is_step(line.function):
            return f"{self.named(Step(line.function), line.name)}()"
        return f"{self._called(line)}({', '.join(given)})"

    def _called(self, line: Any) -> str:
        return self.named(line.function, line.name)

    def literal(self, x: Any) -> str:
        if type(x) is Part:
            return self.part(x)
        if isinstance(x, Value) and self.inside:  # of a block's function: its own names
            return f"{x}_part" if x in self.parted else x.name
        if isinstance(x, Value):
            return x.name if self.plan is None or x not in self.plan.parts else self.part(self.plan.parts[x])
        return super().literal(x)
