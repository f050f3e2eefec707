"""The program as Python source, and the function that it becomes.

The source is for readers too: it calls rows by their names, parameters have their modules' names, and an
array's name is let go after its last use. Nothing but this module's own text is ever executed.
"""

from __future__ import annotations

import keyword
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import backend, threads
from ..autograd import wrap
from ..backward import add_gradient
from .blocks import Block, parts
from .fusion import Fusion
from .memory import Plan, Recycled
from .passes import last_uses
from .primitives import Part, Placed, Primitive, into
from .program import AddGrad, HostLine, Line, Program, ReadGrad, SetData, SetGrad, Value, written_memory
from .update import Step, is_step

_LITERALS = (bool, int, float, str, type(None))


class Source:
    """The text of a program, and the objects that its names stand for. With a plan its arrays have places in a block."""

    def __init__(
        self, program: Program, title: str, plan: Plan | None = None, kept: dict[str, list[Any]] | None = None
    ) -> None:
        self.objects: dict[str, Any] = {}
        self.plan = plan
        self._kept = {} if kept is None else kept  # of values by name, the memory that they may take again
        self._placed: dict[Part, str] = {}  # names of arrays in the block
        self._views: dict[
            Value, tuple[str, dict[str, None]]
        ] = {}  # of tensors from outside: a list, and its views
        self._marks: dict[int, str] = {}  # numbers of lines -> what the report calls what ends there
        self._named: dict[int, str] = {}
        self._blocks: list[str] = []  # the functions that run blocks
        self._code: dict[str, Any] = {}
        self._inside = False
        self._begun: set[Value] = set()  # recycled values that have their memory
        self._parts: set[Any] = set()  # values that the block being written has in parts
        self.title = _identifier(title)
        self._taken = {"np", "array", "map", self.title, *(v.name for v in program.values())}
        if plan is not None:
            self._taken |= {v.name for v in plan.layouts}
        self.places = list(dict.fromkeys(
            x.leaf for x in program.lines if isinstance(x, (ReadGrad, SetGrad)) and isinstance(x.leaf, int)
        ))  # fmt: skip  # of the arguments that are wanted as tensors too, after the arrays
        self._taken |= {f"x{i}_tensor" for i in self.places}
        names_given = [*(v.name for v in program.arguments), *(f"x{i}_tensor" for i in self.places)]
        lines = [f"def {self.title}({', '.join(names_given)}):"]
        written = written_memory(program)
        for v, t in program.tensors.items():
            lines.append(f"    {v.name} = {self._name(t, f'{v.name}_tensor')}._array")
            self._views[v] = self._name([None], f"{v.name}_views"), {}
        for v, array in program.constants.items():
            if v.memory in written:  # every call writes to a copy of its own
                m = self._text(backend.module_of(array).m)
                lines.append(f"    {v.name} = {m}.array({self._name(array, f'{v.name}_array')}, copy=True)")
            else:
                self.objects[v.name] = array
        row = None
        for line, ends in zip(program.lines, last_uses(program) if plan is None else plan.ends, strict=True):
            if isinstance(line, Primitive) and line.row is not row:
                row = line.row
                lines.append(
                    f"    # {', '.join('_' if v is None else v.name for v in row.results)} = {self._comment(row)}"
                )
            lines += [f"    {text}" for text in self._line(line)]
            self._marks[len(lines)] = line.name
            ends = ends if plan is None else [v for v in ends if self._let_go(v)]
            if ends:
                lines.append(f"    del {', '.join(v.name for v in ends)}")
        given = ", ".join(map(self._text, program.outputs))
        lines.append(f"    return [{given}]")
        for i, (name, views) in enumerate(self._views.values(), 1):
            if views:  # are made when the array is another
                array = lines[i].split()[0]
                lines[i] += (
                    f"\n    if {array} is not {name}[0]:\n        {name}[:] = {array}, {', '.join(views)}"
                )
        self.lines = lines
        self.text = "\n\n\n".join([*self._blocks, "\n".join(lines)]) + "\n"

    def function(self, memory: Any = None, seconds: dict[str, float] | None = None) -> Callable[..., Any]:
        """The program, ready to be called with the argument arrays; it adds what its lines take to ``seconds``.

        ``memory`` is the block in which a plan's arrays have their places.
        """
        space = {**self.objects, "array": _array_by(np)}
        for part, name in self._placed.items():
            start = self.plan.places[part.value] + part.offset  # type: ignore[union-attr]
            space[name] = np.ndarray(part.shape, part.dtype, memory, start, part.strides)
        text = self.text
        if seconds is not None:
            clock = self._free("clock")
            space[clock] = Clock(seconds)
            lines = [f"{self.lines[0]}\n    {clock}.start()"]
            for i, line in enumerate(self.lines[1:], 2):
                lines.append(line + (f"\n    {clock}({self._marks[i]!r})" if i in self._marks else ""))
            text = "\n\n\n".join([*self._blocks, "\n".join(lines)]) + "\n"
        if text not in self._code:
            self._code[text] = compile(text, f"<minigrad.compile {self.title}>", "exec")
        exec(self._code[text], space)
        return space[self.title]

    # ---- lines -------------------------------------------------------------------------------------------

    def _line(self, line: Any) -> list[str]:
        if isinstance(line, Primitive):
            return self._primitive(line)
        if isinstance(line, ReadGrad):
            return [f"{line.results[0]} = {self._leaf(line)}._grad._array"]
        if isinstance(line, AddGrad):
            return [
                f"{self._name(add_gradient, 'add_gradient')}({self._leaf(line)}, {self._text(line.value)}, {line.own})"
            ]
        if isinstance(line, SetData):
            return [f"{self._leaf(line)}._array = {self._text(line.value)}"]
        if isinstance(line, SetGrad):
            value = "None" if line.value is None else f"{self._name(wrap, 'wrap')}({self._text(line.value)})"
            return [f"{self._leaf(line)}._grad = {value}"]
        if isinstance(line, HostLine):
            return [self._host(line)]
        if isinstance(line, Fusion):
            return [*self._beginning(line.results), self._fusion(line)]
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

    def _primitive(self, line: Primitive) -> list[str]:
        before = self._beginning(line.reads())
        given = [self._text(a) for a in line.args] + [f"{k}={self._text(v)}" for k, v in line.kwargs.items()]
        if isinstance(line, Placed):
            return [*before, self._placed_call(line, given)]
        called = self._name(line.function, line.text) if "." not in line.text else self._method(line)
        return [*before, f"{called}({', '.join(given)})"]

    def _beginning(self, values: Iterable[Value | None]) -> list[str]:
        """Gives memory to those that are recycled and have none yet."""
        plan, found = self.plan, list[str]()
        for v in dict.fromkeys(values):
            if plan is not None and v is not None and v in plan.recycled and v not in self._begun:
                self._begun.add(v)
                memory = Recycled(plan.recycled[v], self._kept.setdefault(v.name, []))
                found.append(f"{v} = {self._name(memory, f'memory_of_{v}')}()")
        return found

    def _placed_call(self, line: Placed, given: list[str]) -> str:
        """A kernel's call with the memory that it asks for."""
        memory = self._text(line.given)
        placed = self._text(tuple((i, part) for i, part in line.placed.items()))
        function = self._name(line.function, line.text)
        call = f"{self._name(into, 'into')}({', '.join([memory, placed, function, self._text(np), *given])})"
        targets = ["_" if v is None else v.name for v in line.results]
        if {*targets} == {"_"}:
            return call
        made = f"array({call})" if len(targets) == 1 else f"map(array, {call})"
        return f"{', '.join(targets)} = {made}"

    def _method(self, line: Primitive) -> str:
        """``add.reduce`` by its ufunc's name."""
        name, method = line.text.split(".")
        reduction: Any = line.function
        return self._name(reduction.__self__, name) + f".{method}"

    def _part(self, part: Part) -> str:
        """A part of a value as an expression, or the name of an array in the block."""
        plan: Any = self.plan
        v, layout = part.value, plan.layouts[part.value]
        if v in plan.places:
            if part not in self._placed:
                self._placed[part] = self._free(v.name) if part != layout else v.name
            return self._placed[part]
        if part == layout:
            return v.name
        view = self._view(v, part, layout)
        if v not in self._views:
            return view
        name, views = self._views[v]
        views.setdefault(view)
        return f"{name}[{[*views].index(view) + 1}]"

    def _view(self, v: Value, part: Part, layout: Part) -> str:
        """A part as an expression that makes it."""
        plan: Any = self.plan
        turned = (layout.shape[::-1], layout.strides[::-1], layout.dtype, 0)
        if (part.shape, part.strides, part.dtype, part.offset) == turned:
            return f"{v}.T"
        memory = f"{v}.base" if v in plan.recycled else _in_order(v.name, layout)
        return (
            f"{self._name(np.ndarray, 'ndarray')}({part.shape}, {self._name(part.dtype, part.dtype.name)}, {memory}, "
            f"{part.offset}, {part.strides})"
        )

    def _let_go(self, v: Value) -> bool:
        """Does a name of the function's own stand for it, and is it not wanted at the end?"""
        plan: Any = self.plan
        own = v not in plan.places and (v not in plan.parts or plan.parts[v].value is v)
        outputs = {plan.root(o) for o in plan.program.outputs} | {*plan.program.outputs}
        return own and v not in outputs and v not in plan.outside

    def _comment(self, row: Line) -> str:
        """The row's call, for readers."""
        given = [
            a.name if isinstance(a, Value) else "…" if isinstance(a, np.ndarray) else repr(a)
            for a in row.args
        ]
        return f"{row.name}({', '.join([*given, *(f'{k}={v!r}' for k, v in row.attrs.items())])})"

    def _leaf(self, line: ReadGrad | SetGrad) -> str:
        return f"x{line.leaf}_tensor" if isinstance(line.leaf, int) else self._name(line.leaf, "leaf")

    def _call(self, line: Line) -> str:
        return f"{self._called(line)}({self._arguments(line)})"

    def _arguments(self, line: Line) -> str:
        given = [self._text(a) for a in (line.m, *line.args)]
        return ", ".join([*given, *(f"{k}={self._text(v)}" for k, v in line.attrs.items())])

    def _block(self, block: Block) -> str:
        """The call of a function of its own, which is written above the program."""
        if isinstance(block, Fusion):
            return self._fusion(block)
        shape, cuts = parts(block)
        whole = [v for v in dict.fromkeys(block.reads()) if v.shape == block.shape]
        given = ", ".join(v.name for v in dict.fromkeys(block.reads()))
        taken = ", ".join(self._text(v) for v in dict.fromkeys(block.reads()))
        results = [v for v in block.results if v is not None]
        name = self._free("_".join(dict.fromkeys(line.name for line in block.lines)))
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
        self._inside = True
        for line in block.lines:
            (made,) = line.results
            self._parts.add(made)
            held = f"{made}_all[part] = " if made in results else ""
            text.append(
                f"                {held}{made}_part = {self._name(line.function, line.name)}({self._arguments(line)})"
            )
        self._parts.clear()
        self._inside = False
        work = float(np.prod(block.shape)) * len(block.lines)  # about 1 ns an element and line
        text.append(f"    {self._name(threads.share, 'share')}(run, (), {len(cuts)}, {work})")
        text.append(f"    return {', '.join(v.name for v in results)}")
        self._blocks.append("\n".join(text))
        return f"{', '.join(v.name for v in results)} = {name}({taken})"

    def _fusion(self, block: Fusion) -> str:
        """The call of a function that calls a loop, which is shown above it."""
        k = block.kernel
        name = self._free(k.name)
        if self.plan is None:  # where the loops of a program are compared with their calls
            block.called = name
        text = [f"# {line}" for line in k.text.splitlines()]
        reads = [*dict.fromkeys(block.reads())]
        given = {v.name: self._text(v) for v in reads}  # what the function calls it, and what it is here
        places = (
            {}
            if self.plan is None
            else {r.value: r for r in (*k.results, *k.sums) if r.value in self.plan.parts}
        )
        for v, r in places.items():
            strides = np.empty(r.shape, r.dtype).strides
            given[v.name] = self._part(Part(v, 0, tuple(r.shape), strides, np.dtype(r.dtype)))
        text.append(f"def {name}({', '.join(given)}):")
        arguments = []
        for o in k.operands:
            x = o.value.name
            if o.at is not None:
                at = ", ".join(":" if isinstance(i, slice) else str(i) for i in o.at)
                x = f"{x}[{at}, ...]"  # an array still, of no dimensions if need be
            x += "" if o.order is None else f".transpose({o.order})"
            x = f"{self._name(np.ascontiguousarray, 'ascontiguousarray')}({x})" if o.copy else x
            arguments.append(x if o.shape is None else f"{x}.reshape({o.shape})")
        empty, given_back, sums = self._name(np.empty, "empty"), {}, []
        for r in (*k.results, *k.sums):
            v = r.value.name
            if r.value not in places:
                text.append(f"    {v} = {empty}({r.shape}, {self._name(r.dtype, r.dtype.name)})")
            given_back[r.value] = v if r.order is None else f"{v}.transpose({r.order})"
            sums.append(v if r.flat is None else f"{v}.reshape({r.flat})")
        arguments += sums[: len(k.results)]
        if k.partial:
            arguments += [f"{empty}({k.partial})"] * k.sums_made
        arguments += sums[len(k.results) :]
        arguments += [self._text(n) for n in (*k.rows, *k.numbers)]
        loop = self._name(k.loop, f"{k.name}_loop")
        if k.partial and k.partial[0] > 1:
            text.append(f"    arguments = ({', '.join(arguments)},)")
            text.append(f"    {self._name(threads.share, 'share')}({loop}, arguments, {k.size}, {k.work})")
            text.append(f"    {loop}(*arguments, -1, 0)")
        elif k.work < threads.SHARED:
            text.append(f"    {loop}({', '.join(arguments)}, 0, {k.size})")
        else:
            share = self._name(threads.share, "share")
            text.append(f"    {share}({loop}, ({', '.join(arguments)},), {k.size}, {k.work})")
        results = [v for v in block.results if v is not None]
        call = f"{name}({', '.join(given.values())})"
        if not places:
            text.append(f"    return {', '.join(given_back[v] for v in results)}")
            call = f"{', '.join(v.name for v in results)} = {call}"
        self._blocks.append("\n".join(text))
        return call

    def _host(self, line: HostLine) -> str:
        given = [self._text(a) for a in line.args] + [f"{k}={self._text(v)}" for k, v in line.kwargs.items()]
        if is_step(line.function):
            return f"{self._name(Step(line.function), line.name)}()"
        return f"{self._called(line)}({', '.join(given)})"

    def _called(self, line: Any) -> str:
        return self._name(line.function, line.name)

    def _text(self, x: Any) -> str:
        if type(x) is Part:
            return self._part(x)
        if isinstance(x, Value) and self._inside:  # of a block's function: its own names
            return f"{x}_part" if x in self._parts else x.name
        if isinstance(x, Value):
            return x.name if self.plan is None or x not in self.plan.parts else self._part(self.plan.parts[x])
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
        number = f"_{x}" if isinstance(x, np.generic) else ""
        return self._name(x, f"{type(x).__name__}{number}")

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


def _in_order(name: str, layout: Part) -> str:
    """An array of the layout, as its memory has it."""
    order = sorted(range(len(layout.shape)), key=lambda i: -layout.strides[i])
    return name if order == [*range(len(order))] else f"{name}.transpose({order})"


def name_tensors(program: Program, title: str, names: dict[int, str]) -> None:
    """Gives values that are tensors their names, by identity, as far as no other thing of a program may have them."""
    taken = {"np", "array", "map", "n", _identifier(title), *(v.name for v in program.values())}
    for v, t in program.tensors.items():
        if id(t) in names:
            name = wanted = _identifier(names[id(t)])
            k = 2
            while name in taken or _OURS.fullmatch(name):
                name, k = f"{wanted}_{k}", k + 1
            taken.add(name)
            v.name = name


_OURS = re.compile(r"[a-z]\d+|.*_(all|part|tensor)")  # what other names look like


class Clock:
    """Adds what each line takes to the seconds of its name."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, 0.0

    def start(self) -> None:
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = time.perf_counter()


def _array_by(m: Any) -> Callable[[Any], Any]:
    """What the engine does to results: NumPy's scalars become arrays, and a rule may return a tuple of one."""

    def array(x: Any) -> Any:
        x = x[0] if type(x) in (tuple, list) else x
        return x if x is None else m.asarray(x)

    return array


def _identifier(text: str) -> str:
    name = re.sub(r"\W+", "_", text).strip("_") or "x"
    return f"_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
