"""Updates in one pass over their arrays, made from the rows: an update run on :class:`Recorder` writes the body of a loop.

Arrays are the loop's; numbers are computed once a call, by the row's own expressions. Where a row asks whether
a number is zero, the answer selects the loop: each set of answers met has one of its own. No fast-math flags: the bits
are the reference's. Floors: ``adam_`` reads four arrays and writes three, ``sgd_`` reads two or three and writes one or two.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import threads
from minigrad.backend import Declined
from minigrad.op import Op

from .loading import Lazy, Loop

LAYOUT = Declined("its arrays are not contiguous in one order")
SIGNS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**"}
NAMES = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}  # of array modules
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Number:
    """An attribute or what was computed of some: its expression, and its value in the call that is recorded."""

    __hash__ = object.__hash__

    def __init__(self, recorder: Recorder, text: str, value: Any) -> None:
        self.recorder, self.text, self.value = recorder, text, value

    def __bool__(self) -> bool:
        self.recorder.answers.append((self.text, bool(self.value)))
        return bool(self.value)


def _method(name: str, sign: str, swapped: bool) -> Callable[[Number, Any], Number]:
    function = getattr(operator, name)

    def method(self: Number, other: Any) -> Number:
        a, b = (other, self) if swapped else (self, other)
        texts = [x.text if isinstance(x, Number) else repr(x) for x in (a, b)]
        values = [x.value if isinstance(x, Number) else x for x in (a, b)]
        return Number(self.recorder, f"({texts[0]} {sign} {texts[1]})", function(*values))

    return method


for _name, _sign in {**SIGNS, **COMPARISONS}.items():
    setattr(Number, f"__{_name}__", _method(_name, _sign, False))
    if _name in SIGNS:
        setattr(Number, f"__r{_name}__", _method(_name, _sign, True))


class Array:
    """An element of an array of the row: the variable that holds it now."""

    dtype = np.dtype(np.float32)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setitem__(self, key: Any, value: Array) -> None:
        self.name = value.name


class Recorder:
    """The lines, numbers and answers of one call of a row."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.numbers: dict[str, str] = {}  # expression -> the loop's name for it
        self.answers: list[tuple[str, bool]] = []

    def text(self, x: Any) -> str:
        if isinstance(x, Array):
            return x.name
        if isinstance(x, Number):
            return self.numbers.setdefault(x.text, f"n{len(self.numbers)}")
        return f"params.dtype.type({x!r})"

    def line(self, text: str, out: Array | None) -> Array:
        out = Array("") if out is None else out
        out.name = f"t{len(self.lines)}"
        self.lines.append(f"{out.name} = {text}")
        return out

    def empty_like(self, x: Array) -> Array:
        return Array("")

    def __getattr__(self, name: str) -> Callable[..., Array]:
        if name in NAMES:
            return lambda a, b, out=None: self.line(f"{self.text(a)} {NAMES[name]} {self.text(b)}", out)
        if name not in ("sqrt", "abs"):
            raise AttributeError(f"a kernel can't be made of m.{name}")
        return lambda x, out=None: self.line(f"{name}({self.text(x)})", out)

    def negative(self, x: Any, out: Array | None = None) -> Array:
        return self.line(f"-{self.text(x)}", out)

    def maximum(self, a: Any, b: Any, out: Array | None = None) -> Array:
        a, b = self.text(a), self.text(b)
        return self.line(f"{a} if ({a} >= {b}) | ({a} != {a}) else {b}", out)  # NaN wins, as in NumPy


def write(row: Op, present: tuple[bool, ...], attrs: dict[str, Any]) -> tuple[str, str, Recorder]:
    """The loop's source, that of what is computed before it, and their record."""
    m = Recorder()
    names = [n for n, here in zip(row.inputs, present, strict=True) if here]
    arrays = {n: Array(n) for n in names}
    numbers = {n: Number(m, n, v) for n, v in attrs.items()}
    row.forward(m, *[arrays.get(n) for n in row.inputs], **numbers)
    changed = [n for n in names if arrays[n].name != n]
    lines = [
        f"def {row.name}loop({', '.join([*(n + 's' for n in names), *m.numbers.values()])}, start, stop):"
    ]
    lines += [f"    {n}s = {n}s[start:stop]" for n in names]
    lines += ["    for i in range(params.shape[0]):", *(f"        {n} = {n}s[i]" for n in names)]
    lines += [f"        {line}" for line in m.lines]
    lines += [f"        {n}s[i] = {arrays[n].name}" for n in changed]
    asked = "".join(f" and bool({text}) is {answer}" for text, answer in m.answers)
    before = (
        f"def fits({', '.join(attrs)}):\n    return True{asked}\n"
        f"def numbers({', '.join(attrs)}):\n    return ({''.join(text + ', ' for text in m.numbers)})\n"
    )
    return "\n".join(lines) + "\n", before, m


def _flat(arrays: list[Any]) -> Any:
    """The arrays as vectors that share their memory; or why not. A gradient of another order is copied."""
    first = arrays[0]
    shape, dtype = first.shape, first.dtype
    if all(
        a.flags.carray and a.shape == shape and a.dtype == dtype for a in arrays
    ):  # as they nearly always are
        return [a.reshape(-1) for a in arrays]
    order = "C" if first.flags.c_contiguous else "F"
    for i, a in enumerate(arrays):
        plain = a.flags.aligned and (a.flags.c_contiguous if order == "C" else a.flags.f_contiguous)
        if a.shape != first.shape or a.dtype != first.dtype or not (plain or i == GRADIENT):
            return LAYOUT
        if not plain:
            arrays[i] = np.array(a, order=order)  # type: ignore[call-overload]
    return [a.reshape(-1, order=order) for a in arrays]


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


GRADIENT = 1  # its place among a row's inputs, after the parameter


class Updates:
    """The kernels of a row for one dtype: one for each set of arrays present and answers met."""

    def __init__(self, row: Op, dtype: str) -> None:
        self.row, self.dtype = row, np.dtype(dtype)
        self.made: dict[tuple[bool, ...], list[tuple[Any, Lazy]]] = {}

    def __call__(self, m: Any, *arrays: Any, **attrs: Any) -> Any:
        attrs = {**self.row.attrs, **attrs}
        arrays = (*arrays, *[None] * (len(self.row.inputs) - len(arrays)))
        return self.of(tuple([a is not None for a in arrays]), attrs)(m, arrays, attrs)

    def many(self, updates: list[list[Any]], attrs: dict[str, Any], vectors: dict[int, Any]) -> int:
        """Runs updates of equal attributes; how many of them, from the first, it has run.

        ``vectors`` has the arrays of a parameter's last update as vectors, which they still are where they are the same.
        """
        attrs = {**self.row.attrs, **attrs}
        ready: Any = None  # of the arrays that the last update had
        for done, arrays in enumerate(updates):
            param, gradient = arrays[0], arrays[GRADIENT]
            arrays[GRADIENT] = None  # it isn't held on to
            known = vectors.get(id(param))
            if known is None or not _same(known[0], arrays):
                given = [gradient if i == GRADIENT else a for i, a in enumerate(arrays)]
                flat = _flat([a for a in given if a is not None])
                if type(flat) is Declined:
                    return done
                present = tuple([a is not None for a in given])
                present += (False,) * (len(self.row.inputs) - len(present))
                known = vectors[id(param)] = arrays, present, flat[0], flat[GRADIENT + 1 :], param.shape
            _, present, vector, rest, shape = known
            if ready is None or ready[0] != present:
                lazy = self.of(present, attrs)
                if not lazy.ready():
                    return done
                run = lazy.run
                ready = present, run, run.loop.entries[self.dtype], run.numbers(**attrs)
            _, run, entry, numbers = ready
            if not (gradient.flags.carray and gradient.shape == shape and param.flags.carray):
                given = [gradient if i == GRADIENT else a for i, a in enumerate(arrays)]
                if run(given, attrs, numbers) is not None:
                    return done
                continue
            size = vector.size
            if run.cost * size < threads.SHARED:
                entry(vector, gradient.ravel(), *rest, *numbers, 0, size)
            else:
                threads.share(entry, (vector, gradient.ravel(), *rest, *numbers), size, run.cost * size)
        return len(updates)

    def prepared(self, arrays: list[Any], attrs: dict[str, Any]) -> Any:
        """What an update of these arrays calls, as long as its attributes fit: whether they do, its numbers, its loop,
        the loop's nanoseconds, and the arrays as vectors without the gradient. None where it isn't so simple."""
        given = [a for a in arrays if a is not None]
        if not all(a.flags.carray and a.shape == given[0].shape and a.dtype == self.dtype for a in given):
            return None
        present = tuple([a is not None for a in arrays])
        present += (False,) * (len(self.row.inputs) - len(present))
        attrs = {**self.row.attrs, **attrs}
        found = [(fits, lazy.run) for fits, lazy in self.made.get(present, ()) if lazy.run and fits(**attrs)]
        if not found:
            return None
        fits, run = found[0]
        vectors = [a.reshape(-1) for i, a in enumerate(given) if i != GRADIENT]
        return fits, run.numbers, run.loop.entries[self.dtype], run.cost * vectors[0].size, vectors

    def of(self, present: tuple[bool, ...], attrs: dict[str, Any]) -> Lazy:
        known = self.made.setdefault(present, [])
        for fits, lazy in known:
            if fits(**attrs):
                return lazy
        loop, before, record = write(self.row, present, attrs)
        space: dict[str, Any] = {}
        exec(before, space)
        lazy = Lazy(self.row.name, lambda: self.generate(loop, space["numbers"], sum(present), record))
        known.append((space["fits"], lazy))
        return lazy

    def generate(self, text: str, numbers: Any, arrays: int, record: Recorder) -> Any:
        """Compiles a loop, and gives the function that calls it."""
        space: dict[str, Any] = {"sqrt": np.sqrt, "__name__": __name__}
        exec(compile(text, f"<{self.row.name}>", "exec"), space)
        arguments = ", ".join(["X[::1]"] * arrays + ["X"] * len(record.numbers))
        made = Loop(space[f"{self.row.name}loop"], arguments, frozenset(), text)
        made.load(self.dtype)
        cost = 0.06 * len(record.lines)  # ns an element

        def run(arrays: Any, attrs: Any, known: Any = None) -> Any:
            flat = _flat([a for a in arrays if a is not None])
            if type(flat) is Declined:
                return flat
            made(flat[0].size, cost * flat[0].size, *flat, *(numbers(**attrs) if known is None else known))
            return None

        run.numbers, run.loop, run.cost = numbers, made, cost  # type: ignore[attr-defined]
        return run

    def ahead(self) -> list[Lazy]:
        """What warmup compiles: the kernels of the row's cases."""
        found = []
        for case in self.row.cases:
            given = (*case.operands, *[None] * (len(self.row.inputs) - len(case.operands)))
            found.append(self.of(tuple([a is not None for a in given]), {**self.row.attrs, **case.attrs}))
        return list(dict.fromkeys(found))
