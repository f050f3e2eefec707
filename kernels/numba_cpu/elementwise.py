"""Elementwise kernels, made from the rows: a forward or a rule run on :class:`Source` writes the body of a loop.

The row decides everything: what it computes with (float64 where it is ``wide``), which arrays a rule reads, which
attributes are numbers that each call brings, and which select what is written. There is no second table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Declined
from minigrad.op import Namespace, Op

from . import mathematics
from .loading import Loop, empty

LAYOUT = Declined("its operands are not contiguous in one order")
FAST = frozenset({"contract"})
SIGNS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
NAMES = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
COMPARED = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}  # fmt: skip
CAST = {"narrow": "f32", "wide": "f64"}
DTYPES = {"narrow": np.dtype(np.float32), "wide": np.dtype(np.float64), "truth": np.dtype(bool)}
EVERYWHERE = {"f32": np.float32, "f64": np.float64, "nan": np.nan, "inf": np.inf, "sqrt": np.sqrt, "floor": np.floor,
              "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "plus": mathematics.plus,
              "larger": mathematics.larger, "smaller": mathematics.smaller, "extreme": mathematics.extreme, "most": mathematics.most,
              "least": mathematics.least, **{f"lowest_{kind}": x for kind, x in mathematics.LOWEST.items()},
              **{f"highest_{kind}": x for kind, x in mathematics.HIGHEST.items()}, **mathematics.NARROW,
              **{f"{name}_wide": f for name, f in mathematics.WIDE.items()}}  # fmt: skip


class Value:
    """What a line of the loop's body computes, ``template`` filled with the names of ``args``, or an operand's element.

    ``kind``: "narrow" for float32, "wide" for float64, "truth" for bool. ``shape`` is that of the array whose elements
    it stands for. ``total``: what it is the sum, or what else ``how`` says, of; values made of that have ``after`` True.
    """

    __hash__ = object.__hash__

    def __init__(
        self, source: Source, name: str, kind: str, shape: tuple[int, ...], template: str = "", args: Any = ()
    ) -> None:
        self.source, self.name, self.kind, self.shape = source, name, kind, shape
        self.template, self.args = template, args
        self.text = ""
        self.total: Value | None = None
        self.how = "sum"
        self.axes: frozenset[int] = frozenset()
        self.after: bool = any(a.after for a in self.values())
        if self.after and not all(a.after for a in self.values()):
            raise TypeError(f"{name} is computed of a sum and of what is summed")

    def values(self) -> list[Value]:
        return [a for a in self.args if isinstance(a, Value)]

    @property
    def dtype(self) -> Any:
        return DTYPES[self.kind]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def astype(self, dtype: Any, copy: bool = True) -> Value:
        return self.source.cast(self, next(kind for kind, d in DTYPES.items() if d == dtype))

    def sum(self, axis: Any, keepdims: bool = False, dtype: Any = None) -> Value:
        return self.source.sum(self, axis, keepdims)

    def __neg__(self) -> Value:
        return self.source.line("-{}", self)

    def __or__(self, other: Any) -> Value:
        return self.source.logical("|", self, other)

    def __and__(self, other: Any) -> Value:
        return self.source.logical("&", self, other)

    def __pow__(self, other: Any) -> Value:
        return self.source.power(self, other)

    def __bool__(self) -> bool:
        raise TypeError(f"{self.name} has no elements: a rule must not branch on what it computes")


def _method(sign: str, swapped: bool, truth: bool) -> Callable[[Value, Any], Value]:
    def method(self: Value, other: Any) -> Value:
        pair = (other, self) if swapped else (self, other)
        return self.source.line(f"{{}} {sign} {{}}", *pair, kind="truth" if truth else "")

    return method


for _name, _sign in {**SIGNS, **COMPARISONS}.items():
    setattr(Value, f"__{_name}__", _method(_sign, False, _name in COMPARISONS))
    if _name in SIGNS:
        setattr(Value, f"__r{_name}__", _method(_sign, True, False))


class Place(NamedTuple):
    """Where the extremum of an array is, as long as nobody asks."""

    how: str
    of: Value


class Number(float):
    """A number of the caller's: it has its value, so that a row may branch on it, and the loop is given it by name."""

    name: str


class Source(Namespace):
    """The lines written so far, equal ones once. A function of ``mathematics.py`` is called, another row is written out.

    Its functions are NumPy's, of which there are those that a loop can have. ``numbers`` are given to the loop
    with every call, where ``passed`` is True: the caller's, and those that come from shapes.
    """

    pi, inf, nan = np.pi, np.inf, np.nan
    float32, float64, int64 = np.float32, np.float64, np.int64

    def __init__(self, base: str = "narrow", passed: bool = False) -> None:
        self.base, self.passed = base, passed
        self.numbers: dict[str, Number] = {}
        self.lines: dict[tuple[str, tuple[int, ...]], Value] = {}

    # ---- lines -------------------------------------------------------------------------------------------

    def text(self, x: Any, kind: str) -> str:
        """An argument of a line in which floats are of a kind."""
        if isinstance(x, Value):
            return f"{CAST[kind]}({x.name})" if x.kind == "truth" and kind != "truth" else x.name
        if kind == "truth" or type(x) is np.float64:
            raise TypeError(f"a loop over {kind} values can't be given {x!r}")  # NumPy would widen the result
        shaped = isinstance(x, np.floating) or type(x) is int and abs(x) > 16
        if self.passed and (shaped or isinstance(x, Number)):
            return f"{CAST[kind]}({self.number(x).name})"
        return f"{CAST[kind]}({float(x)!r})"

    def number(self, x: Any) -> Number:
        """A number that is given to the loop."""
        if not isinstance(x, Number):
            x = Number(x)
            x.name = f"n{len(self.numbers)}"
        return self.numbers.setdefault(x.name, x)

    def line(self, template: str, *args: Any, kind: str = "") -> Value:
        """``template`` filled with the arguments as floats of one kind, and after them with their bare names."""
        values = [a for a in args if isinstance(a, Value)]
        floats = {v.kind for v in values} - {"truth"}
        if len(floats) > 1 or not values or not (floats or kind):
            raise TypeError(f"{template} of {[v.kind for v in values]} is not for a loop over floats")
        of = next(iter(floats), "truth")
        shape = np.broadcast_shapes(*[v.shape for v in values])
        text = template.format(*[self.text(a, of) for a in args], *[getattr(a, "name", "") for a in args])
        if any(v.after and v.shape != shape for v in values):
            raise TypeError(f"{template} repeats a sum")
        if (text, shape) not in self.lines:
            self.lines[text, shape] = Value(self, f"t{len(self.lines)}", kind or of, shape, template, args)
            self.lines[text, shape].text = text
        return self.lines[text, shape]

    def cast(self, x: Value, kind: str) -> Value:
        if x.kind == kind:
            return x
        return (
            self.line("{} != {}", x, 0, kind=kind)
            if kind == "truth"
            else self.line(f"{CAST[kind]}({{1}})", x, kind=kind)
        )

    def sum(self, x: Value, axis: Any, keepdims: bool) -> Value:
        """A sum over some dimensions: how it is added up is the loop's business, in float64."""
        if x.kind == "wide":
            raise TypeError("a loop sums float32")
        return self.over("sum", x, axis, keepdims)

    def amax(self, x: Value, axis: Any, keepdims: bool) -> Value:
        return self.over("max", x, axis, keepdims)

    def amin(self, x: Value, axis: Any, keepdims: bool) -> Value:
        return self.over("min", x, axis, keepdims)

    def over(self, how: str, x: Value, axis: Any, keepdims: bool) -> Value:
        """One element of those along some dimensions: their "sum", "max" or "min"."""
        axes = {a % max(x.ndim, 1) for a in (range(x.ndim) if axis is None else np.atleast_1d(axis))}
        if not axes or x.after or x.kind != self.base:
            raise TypeError("a loop reduces its own floats, once, over a dimension or more")
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
        made = Value(self, f"t{len(self.lines)}", x.kind, shape)
        made.total, made.how, made.axes, made.after = x, how, frozenset(axes), True
        return self.lines.setdefault((f"{how} {x.name} {sorted(axes)}", shape), made)

    def argmax(self, x: Value, axis: Any) -> Place:
        return Place("max", x)

    def argmin(self, x: Value, axis: Any) -> Place:
        return Place("min", x)

    def take_along_axis(self, x: Value, indices: Place, axis: int) -> Value:
        """The elements at places that nobody else asks for, which needn't be found."""
        if type(indices) is not Place or indices.of is not x:
            raise TypeError("a loop takes no elements but extrema")
        return self.over(indices.how, x, axis, True)

    def expand_dims(self, x: Any, axis: int) -> Place:
        return self.squeeze(x, axis)

    def squeeze(self, x: Any, axis: int) -> Any:
        if isinstance(x, Value) and x.total is not None:
            return self.over(x.how, x.total, axis, False)
        if type(x) is not Place:
            raise TypeError("this loop has no shapes")
        return x

    # ---- rows and functions ------------------------------------------------------------------------------

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        if op.name in mathematics.NARROW and isinstance(args[0], Value):
            return getattr(self, op.name)(args[0])
        return op.forward(self, *args, **{**op.attrs, **attrs})

    def __getattr__(self, name: str) -> Any:
        if name in NAMES:
            return lambda a, b: self.line(f"{{}} {NAMES[name]} {{}}", a, b)
        if name in COMPARED:
            return lambda a, b: self.line(f"{{}} {COMPARED[name]} {{}}", a, b, kind="truth")
        if name in mathematics.NARROW:
            return lambda x: self.function(name, x)
        if name in ("floor", "ceil", "trunc", "sqrt"):
            return lambda x: self.line(f"{name}({{}})", x)
        raise AttributeError(f"a kernel can't be made of m.{name}")

    def function(self, name: str, x: Value) -> Value:
        if x.kind == "narrow":
            return self.line(f"{name}({{}})", x)
        if name not in mathematics.WIDE or self.base == "wide":
            raise AttributeError(f"a kernel in float64 can't be made of m.{name}")
        return self.line(f"{name}_wide({{}})", x)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):
            return a if condition else b
        condition = self.cast(condition, "truth")
        floats = [v for v in (a, b) if isinstance(v, Value) and v.kind != "truth"]
        if not floats:
            raise TypeError("where of two numbers or truth values is not for a loop over floats")
        return self.line("{1} if {3} else {2}", condition, a, b)

    def maximum(self, a: Any, b: Any) -> Value:
        return self.extreme(">", "<=", a, b)

    def minimum(self, a: Any, b: Any) -> Value:
        return self.extreme("<", ">=", a, b)

    def extreme(self, sign: str, other: str, a: Any, b: Any) -> Value:
        if not isinstance(b, Value) and b == b:
            return self.line(f"{{1}} if {{0}} {other} {{1}} else {{0}}", a, b)
        return self.line(
            f"{{0}} if ({{0}} {sign} {{1}}) | ({{0}} != {{0}}) else {{1}}", a, b
        )  # NaN wins, as in NumPy

    def logical(self, sign: str, a: Any, b: Any) -> Value:
        if not isinstance(a, Value) or not isinstance(b, Value):
            raise TypeError("a number is no truth value")
        return self.line(f"{{}} {sign} {{}}", self.cast(a, "truth"), self.cast(b, "truth"), kind="truth")

    def logical_and(self, a: Any, b: Any) -> Value:
        return self.logical("&", a, b)

    def logical_or(self, a: Any, b: Any) -> Value:
        return self.logical("|", a, b)

    def logical_xor(self, a: Any, b: Any) -> Value:
        return self.logical("!=", a, b)

    def logical_not(self, x: Value) -> Value:
        return self.line("not {}", self.cast(x, "truth"), kind="truth")

    def isnan(self, x: Value) -> Value:
        return self.line("{0} != {0}", x, kind="truth")

    def isfinite(self, x: Value) -> Value:
        return self.line("abs({}) < {}", x, self.inf, kind="truth")

    def isinf(self, x: Value) -> Value:
        return self.line("abs({}) == {}", x, self.inf, kind="truth")

    def abs(self, x: Any) -> Value:
        return self.line("abs({})", x)

    def negative(self, x: Any) -> Value:
        return self.line("-{}", x)

    def square(self, x: Any) -> Value:
        return self.line("{0} * {0}", x)

    def sign(self, x: Any) -> Any:
        return self.where(x > 0, 1.0, self.where(x < 0, -1.0, self.where(x == 0, 0.0, x)))

    def round(self, x: Value, decimals: int = 0) -> Value:
        if decimals:
            raise TypeError("a loop rounds to whole numbers")
        return self.line("rint({})", x)

    def power(self, x: Any, y: Any) -> Any:
        """xʸ for the exponents that are products, quotients and roots."""
        if isinstance(y, Value) or not isinstance(x, Value):
            raise TypeError("a loop has no power of two operands")
        v: Any = x
        powers: dict[float, Callable[[], Any]] = {
            2: lambda: v * v, 1: lambda: v * 1.0, 0.5: lambda: self.sqrt(v), -1: lambda: 1 / v, 3: lambda: v * v * v,
            -2: lambda: 1 / (v * v), -0.5: lambda: 1 / self.sqrt(v),
        }  # fmt: skip
        if y in powers:
            return powers[y]()
        raise TypeError(f"a loop has no power {y}")

    def zeros_like(self, x: Value) -> Value:
        return self.line(f"{CAST[x.kind]}(0.0)", x)

    def asarray(self, x: Any) -> Any:
        return x

    def array(self, x: Value, copy: bool = True) -> Value:
        return x

    # ---- shapes ------------------------------------------------------------------------------------------

    def broadcast_to(self, x: Value, shape: tuple[int, ...]) -> Value:
        lead = len(shape) - x.ndim
        return self.shaped(x, tuple(x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)))

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        return self.shaped(x, tuple(shape))

    def shaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        """x with another shape, where that doesn't move its elements: its operands are read in that shape."""
        raise TypeError("this loop has no shapes")


def reached(results: Iterable[Value]) -> list[Value]:
    """What results are made of, operands and lines, in an order in which a loop can compute it."""
    found: dict[Value, None] = {}

    def visit(v: Value) -> None:
        if v not in found:
            for a in (*v.values(), *([v.total] if v.total is not None else [])):
                visit(a)
            found[v] = None

    for v in results:
        visit(v)
    return list(found)


def needed(results: Iterable[Value]) -> list[Value]:
    """The lines among them: what nobody reads isn't there."""
    return [v for v in reached(results) if v.text or v.total is not None]


def wide(row: Op) -> bool:
    """Does a row's forward need float64 in a kernel?"""
    return row.wide and row.name not in mathematics.NARROW.keys() | mathematics.GOOD


def write(row: Op, part: str, values: tuple[Any, ...]) -> tuple[str, list[str]]:
    """The loop's source, and what each of its arguments is: "array", "number", or "" for one that isn't passed."""
    rule = row.rules[0]
    forward = part == "forward"
    m = Source()
    reads: list[tuple[str, Any]] = (
        [("input", 0), *(("attr", n) for n in row.attrs)] if forward else list(rule.reads)
    )
    given: list[Any] = [] if forward else [Value(m, "g", "narrow", (1,))]
    kinds, baked = (["array"] if not forward else []), iter(values)
    for kind, where in reads:
        if kind in ("input", "output"):
            given.append(Value(m, "x" if kind == "input" else "out", "narrow", (1,)))
            kinds.append("array")
        elif kind == "attr" and isinstance(row.attrs[where], float):
            given.append(Value(m, where, "narrow", ()))
            kinds.append("number")
        elif kind == "attr":
            given.append(next(baked))
            kinds.append("")
        else:
            raise TypeError(f"{row.name}: a kernel can't be made of a rule that reads {kind}")
    if forward:
        result = widely(m, row, (given[0],), dict(zip(row.attrs, given[1:], strict=True)))
    else:
        result = rule.function(m, *given)
    arrays = [v.name for v, k in zip(given, kinds, strict=True) if k == "array"]
    numbers = [v.name for v, k in zip(given, kinds, strict=True) if k == "number"]
    heading = (
        f"def {row.name}_{part}({', '.join([*(n + 's' for n in arrays), 'result', *numbers])}, start, stop):"
    )
    lines = [
        heading,
        *[f"    {n} = {n}[start:stop]" for n in (*(n + "s" for n in arrays), "result")],
        "    for i in range(result.shape[0]):",
        *[f"        {n} = {n}s[i]" for n in arrays],
        *[f"        {v.name} = {v.text}" for v in needed([result])],
        f"        result[i] = {result.name}",
    ]
    return "\n".join(lines) + "\n", kinds


def widely(m: Source, row: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    """A row's forward on values: in float64 and rounded once where the row is ``wide``, as the engine does it."""
    if not wide(row) or m.base == "wide":
        return m.row(row, args, attrs)
    args = tuple([m.cast(a, "wide") if isinstance(a, Value) else a for a in args])
    return m.cast(m.row(row, args, attrs), "narrow")


def compiled(
    text: str,
    name: str,
    arguments: str,
    fast: frozenset[str],
    dtype: Any = None,
    names: dict[str, Any] | None = None,
) -> Loop:
    """The loop that a text defines, which may call every function of ``mathematics.py``, and what has ``names``."""
    space: dict[str, Any] = {**EVERYWHERE, **(names or {}), "__name__": __name__}
    exec(compile(text, f"<{name}>", "exec"), space)
    made = Loop(space[name], arguments, fast, text)
    made.load(np.dtype(np.float32) if dtype is None else dtype)
    return made


def generate(row: Op, part: str, values: tuple[Any, ...]) -> Any:
    """Compiles the kernel of a row's forward or rule, for the values of the attributes that aren't numbers."""
    text, kinds = write(row, part, values)
    flat = kinds.count("array")
    arguments = ", ".join(["X[::1]"] * (flat + 1) + ["X"] * kinds.count("number"))
    made = compiled(text, f"{row.name}_{part}", arguments, FAST)
    cost = 1.0 if wide(row) else 0.4  # ns an element
    if kinds == ["array"]:
        return lambda x: over(made, cost, (x,), ())
    places = [i for i, k in enumerate(kinds) if k == "array"]
    numbers = [i for i, k in enumerate(kinds) if k == "number"]
    defaults = row.attrs

    def run(*args: Any, **attrs: Any) -> Any:
        args = (*args, *({**defaults, **attrs}.values())) if part == "forward" else args
        return over(made, cost, [args[i] for i in places], [args[i] for i in numbers])

    return run


def over(loop: Loop, cost: float, arrays: Any, numbers: Any) -> Any:
    """One loop over arrays of one shape; the last is the operand, and its order in memory is the result's."""
    lead = arrays[-1]
    flags = lead.flags
    if not flags.aligned or not (flags.c_contiguous or flags.f_contiguous):
        return LAYOUT
    order = "C" if flags.c_contiguous else "F"
    flat = []
    for a in arrays:
        if a.shape != lead.shape or a.dtype != lead.dtype:
            return LAYOUT
        # a gradient can be a broadcast view, or in another order: one copy
        if a is not lead and not (a.flags.c_contiguous if order == "C" else a.flags.f_contiguous):
            a = np.array(a, order=order)  # type: ignore[call-overload]
        flat.append(a.reshape(-1, order=order))
    result = empty(lead.shape if order == "C" else lead.shape[::-1], lead.dtype)
    result = result if order == "C" else result.T
    loop(lead.size, lead.size * cost, *flat, result.reshape(-1, order=order), *numbers)
    return result
