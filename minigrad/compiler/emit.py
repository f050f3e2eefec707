"""The program as Python source, and the function that it becomes.

The source is for readers too: it calls rows by their names, parameters have their modules' names, and an
array's name is let go after its last use. Nothing but this module's own text is ever executed.
"""

from __future__ import annotations

import keyword
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, threads
from ..autograd import wrap
from ..backward import add_gradient
from .blocks import Block, parts
from .passes import last_uses, written_memory
from .program import AddGrad, HostLine, Line, Program, ReadGrad, SetData, SetGrad, Value

_LITERALS = (bool, int, float, str, type(None))


class Source:
    """The text of a program, and the objects that its names stand for."""

    def __init__(self, program: Program, title: str, names: dict[int, str]) -> None:
        self.objects: dict[str, Any] = {}
        self.calls: dict[str, str] = {}  # names in the text that are called -> what the report calls them
        self._named: dict[int, str] = {}
        self._blocks: list[str] = []  # the functions that run blocks
        self._parts: set[Any] = set()  # values that the block being written has in parts
        self.title = _identifier(title)
        self._taken = {"np", "array", "map", self.title, *(v.name for v in program.values())}
        self.places = list(dict.fromkeys(
            x.leaf for x in program.lines if isinstance(x, (ReadGrad, SetGrad)) and isinstance(x.leaf, int)
        ))  # fmt: skip  # of the arguments that are wanted as tensors too, after the arrays
        self._taken |= {f"x{i}_tensor" for i in self.places}
        names_given = [*(v.name for v in program.arguments), *(f"x{i}_tensor" for i in self.places)]
        lines = [f"def {self.title}({', '.join(names_given)}):"]
        written = written_memory(program)
        for v, t in program.tensors.items():
            wanted = names.get(id(t))
            if wanted is not None:
                v.name = self._free(wanted)
            lines.append(f"    {v.name} = {self._name(t, f'{v.name}_tensor')}._array")
        for v, array in program.constants.items():
            if v.memory in written:  # every call writes to a copy of its own
                m = self._text(backend.module_of(array).m)
                lines.append(f"    {v.name} = {m}.array({self._name(array, f'{v.name}_array')}, copy=True)")
            else:
                self.objects[v.name] = array
        for line, ends in zip(program.lines, last_uses(program), strict=True):
            lines += [f"    {text}" for text in self._line(line)]
            if ends:
                lines.append(f"    del {', '.join(v.name for v in ends)}")
        given = ", ".join(v.name for v in program.outputs)
        lines.append(f"    return [{given}]")
        self.text = "\n\n\n".join([*self._blocks, "\n".join(lines)]) + "\n"

    def function(self, seconds: dict[str, float] | None = None) -> Callable[..., Any]:
        """The program, ready to be called with the argument arrays; it adds what its calls take to ``seconds``."""
        space = {**self.objects, "array": _array_by(np)}
        exec(compile(self.text, f"<minigrad.compile {self.title}>", "exec"), space)
        if seconds is not None:
            space |= {name: _timed(space[name], what, seconds) for name, what in self.calls.items()}
        return space[self.title]

    # ---- lines -------------------------------------------------------------------------------------------

    def _line(self, line: Any) -> list[str]:
        if isinstance(line, ReadGrad):
            return [f"{line.results[0]} = {self._leaf(line)}._grad._array"]
        if isinstance(line, AddGrad):
            return [
                f"{self._name(add_gradient, 'add_gradient')}({self._leaf(line)}, {line.value}, {line.own})"
            ]
        if isinstance(line, SetData):
            return [f"{self._leaf(line)}._array = {line.value}"]
        if isinstance(line, SetGrad):
            value = "None" if line.value is None else f"{self._name(wrap, 'wrap')}({line.value})"
            return [f"{self._leaf(line)}._grad = {value}"]
        if isinstance(line, HostLine):
            return [self._host(line)]
        if isinstance(line, Block):
            return [self._block(line)]
        call = self._call(line)
        read = {*line.reads()}  # a function may give back what it was given
        if all(v is None or v in read for v in line.results):
            return [call]
        made = "array" if line.m is np else self._name(_array_by(line.m), "array")
        targets = ["_" if v is None or v in read else v.name for v in line.results]
        if len(targets) == 1:
            return [f"{targets[0]} = {made}({call})"]
        return [f"{', '.join(targets)} = map({made}, {call})"]

    def _leaf(self, line: ReadGrad | SetGrad) -> str:
        return f"x{line.leaf}_tensor" if isinstance(line.leaf, int) else self._name(line.leaf, "leaf")

    def _call(self, line: Line) -> str:
        return f"{self._called(line)}({self._arguments(line)})"

    def _arguments(self, line: Line) -> str:
        given = [self._text(a) for a in (line.m, *line.args)]
        return ", ".join([*given, *(f"{k}={self._text(v)}" for k, v in line.attrs.items())])

    def _block(self, block: Block) -> str:
        """The call of a function of its own, which is written above the program."""
        shape, cuts = parts(block)
        whole = [v for v in dict.fromkeys(block.reads()) if v.shape == block.shape]
        given = ", ".join(v.name for v in dict.fromkeys(block.reads()))
        results = [v for v in block.results if v is not None]
        name = self._free("_".join(dict.fromkeys(line.name for line in block.lines)))
        self.calls[name] = block.name
        text = [f"def {name}({given}):"]
        for v in results:
            text.append(
                f"    {v} = {self._name(np.empty, 'empty')}({v.shape}, {self._name(v.dtype, v.dtype.name)})"
            )
        for v in (*whole, *results):
            text.append(f"    {v}_all = {v}.reshape({shape})")
        text.append("    def run(first, last):")
        text.append(
            f"        with {self._name(np.errstate, 'errstate')}(all='ignore'):  # a thread has its own"
        )
        text.append(f"            for part in {self._name(cuts, 'parts')}[first:last]:")
        for v in whole:
            text.append(f"                {v}_part = {v}_all[part]")
        self._parts.update(whole)
        for line in block.lines:
            (made,) = line.results
            self._parts.add(made)
            held = f"{made}_all[part] = " if made in results else ""
            text.append(
                f"                {held}{made}_part = {self._name(line.function, line.name)}({self._arguments(line)})"
            )
        self._parts.clear()
        work = float(np.prod(block.shape)) * len(block.lines)  # about 1 ns an element and line
        text.append(f"    {self._name(threads.share, 'share')}(run, (), {len(cuts)}, {work})")
        text.append(f"    return {', '.join(v.name for v in results)}")
        self._blocks.append("\n".join(text))
        return f"{', '.join(v.name for v in results)} = {name}({given})"

    def _host(self, line: HostLine) -> str:
        given = [self._text(a) for a in line.args] + [f"{k}={self._text(v)}" for k, v in line.kwargs.items()]
        return f"{self._called(line)}({', '.join(given)})"

    def _called(self, line: Any) -> str:
        name = self._name(line.function, line.name)
        self.calls[name] = line.name
        return name

    def _text(self, x: Any) -> str:
        if isinstance(x, Value):
            return f"{x}_part" if x in self._parts else x.name
        if x is np:
            self.objects["np"] = np
            return "np"
        if type(x) in (list, tuple):
            inner = ", ".join(map(self._text, x))
            return f"[{inner}]" if type(x) is list else f"({inner}{',' if len(x) == 1 else ''})"
        if type(x) in _LITERALS and not (isinstance(x, float) and not np.isfinite(x)):
            return repr(x)
        if isinstance(x, slice) and all(
            type(p) in _LITERALS or isinstance(p, np.integer) for p in (x.start, x.stop, x.step)
        ):
            return f"slice({x.start}, {x.stop}, {x.step})"
        if x is Ellipsis:
            return "..."
        if isinstance(x, dict):
            return "{" + ", ".join(f"{k!r}: {self._text(v)}" for k, v in x.items()) + "}"
        return self._name(x, type(x).__name__)

    def _name(self, thing: Any, wanted: str) -> str:
        if id(thing) not in self._named:
            self._named[id(thing)] = name = self._free(wanted)
            self.objects[name] = thing  # which keeps it alive, and its id its own
        return self._named[id(thing)]

    def _free(self, wanted: str) -> str:
        name = wanted = _identifier(wanted)
        n = 2
        while name in self._taken:
            name, n = f"{wanted}_{n}", n + 1
        self._taken.add(name)
        return name


def _timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **kwargs)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        return result

    return call


def _array_by(m: Any) -> Callable[[Any], Any]:
    """What the engine does to results: NumPy's scalars become arrays, and a rule may return a tuple of one."""

    def array(x: Any) -> Any:
        x = x[0] if type(x) in (tuple, list) else x
        return x if x is None else m.asarray(x)

    return array


def _identifier(text: str) -> str:
    name = re.sub(r"\W+", "_", text).strip("_") or "x"
    return f"_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
