"""Elementwise kernels, made from the rows: a forward or a rule run on :class:`Source` writes the body of a loop.

The row decides everything: what it computes with (float64 where it is ``wide``), which arrays a rule reads, which
attributes are numbers that each call brings, and which select what is written. There is no second table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.backend import Declined
from minigrad.op import Namespace, Op

from . import mathematics
from .loading import Loop, empty

LAYOUT = Declined("its operands are not contiguous in one order")
FAST = frozenset({"contract"})
SIGNS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


class Value:
    """A line of the loop's body: its name, and whether it is a truth value."""

    __hash__ = object.__hash__

    def __init__(self, source: Source, name: str, truth: bool = False) -> None:
        self.source, self.name, self.truth = source, name, truth

    @property
    def dtype(self) -> Any:
        return np.dtype(bool if self.truth else np.float64 if self.source.wide else np.float32)

    def __neg__(self) -> Value:
        return self.source.line(f"-{self.name}")

    def __or__(self, other: Any) -> Value:
        return self.source.line(f"{self.name} | {other.name}", True)

    def __and__(self, other: Any) -> Value:
        return self.source.line(f"{self.name} & {other.name}", True)

    def __bool__(self) -> bool:
        raise TypeError(f"{self.name} has no elements: a rule must not branch on what it computes")


def _method(sign: str, swapped: bool, truth: bool) -> Callable[[Value, Any], Value]:
    def method(self: Value, other: Any) -> Value:
        a, b = self.name, self.source.text(other)
        return self.source.line(f"{b} {sign} {a}" if swapped else f"{a} {sign} {b}", truth)

    return method


for _name, _sign in {**SIGNS, **COMPARISONS}.items():
    setattr(Value, f"__{_name}__", _method(_sign, False, _name in COMPARISONS))
    if _name in SIGNS:
        setattr(Value, f"__r{_name}__", _method(_sign, True, False))


class Source(Namespace):
    """The lines written so far, equal ones once. A function of ``mathematics.py`` is called, another row is written out."""

    pi, inf, nan = np.pi, np.inf, np.nan

    def __init__(self, wide: bool) -> None:
        self.wide, self.lines = wide, {}  # type: ignore[var-annotated]
        self.functions = mathematics.WIDE if wide else mathematics.NARROW

    def text(self, x: Any) -> str:
        return x.name if isinstance(x, Value) else f"F({float(x)!r})"

    def line(self, text: str, truth: bool = False) -> Value:
        if text not in self.lines:
            self.lines[text] = Value(self, f"t{len(self.lines)}", truth)
        return self.lines[text]

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        if op.name in self.functions:
            return self.line(f"{op.name}({self.text(args[0])})")
        return op.forward(self, *args, **{**op.attrs, **attrs})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.functions:
            raise AttributeError(f"a kernel can't be made of m.{name}")
        return lambda x: self.line(f"{name}({self.text(x)})")

    def where(self, condition: Value, a: Any, b: Any) -> Value:
        return self.line(f"{self.text(a)} if {condition.name} else {self.text(b)}")

    def maximum(self, a: Any, b: Any) -> Value:
        a, b = self.text(a), self.text(b)
        return self.line(f"{a} if ({a} > {b}) | ({a} != {a}) else {b}")  # NaN wins, as in NumPy

    def minimum(self, a: Any, b: Any) -> Value:
        a, b = self.text(a), self.text(b)
        return self.line(f"{a} if ({a} < {b}) | ({a} != {a}) else {b}")

    def abs(self, x: Any) -> Value:
        return self.line(f"abs({self.text(x)})")

    def square(self, x: Any) -> Value:
        return self.line(f"{self.text(x)} * {self.text(x)}")


def wide(row: Op) -> bool:
    """Does a row's forward need float64 in a kernel?"""
    return row.wide and row.name not in mathematics.NARROW.keys() | mathematics.GOOD


def write(row: Op, part: str, values: tuple[Any, ...]) -> tuple[str, list[str]]:
    """The loop's source, and what each of its arguments is: "array", "number", or "" for one that isn't passed."""
    rule = row.rules[0]
    forward = part == "forward"
    m = Source(forward and wide(row))
    reads: list[tuple[str, Any]] = (
        [("input", 0), *(("attr", n) for n in row.attrs)] if forward else list(rule.reads)
    )
    given: list[Any] = [] if forward else [Value(m, "g")]
    kinds, baked = (["array"] if not forward else []), iter(values)
    for kind, where in reads:
        if kind in ("input", "output"):
            given.append(Value(m, "x" if kind == "input" else "out"))
            kinds.append("array")
        elif kind == "attr" and isinstance(row.attrs[where], float):
            given.append(Value(m, where))
            kinds.append("number")
        elif kind == "attr":
            given.append(next(baked))
            kinds.append("")
        else:
            raise TypeError(f"{row.name}: a kernel can't be made of a rule that reads {kind}")
    if forward:
        result = m.row(row, (given[0],), dict(zip(row.attrs, given[1:], strict=True)))
    else:
        result = rule.function(m, *given)
    arrays = [v.name for v, k in zip(given, kinds, strict=True) if k == "array"]
    numbers = [v.name for v, k in zip(given, kinds, strict=True) if k == "number"]
    taken = [f"    {n} = F({n})" for n in numbers] if m.wide else []
    body = [f"        {n} = F({n}s[i])" for n in arrays]
    body += [f"        {v.name} = {text}" for text, v in m.lines.items()]
    heading = (
        f"def {row.name}_{part}({', '.join([*(n + 's' for n in arrays), 'result', *numbers])}, start, stop):"
    )
    taken += [f"    {n} = {n}[start:stop]" for n in (*(n + "s" for n in arrays), "result")]
    lines = [
        heading,
        *taken,
        "    for i in range(result.shape[0]):",
        *body,
        f"        result[i] = {m.text(result)}",
    ]
    return "\n".join(lines) + "\n", kinds


def generate(row: Op, part: str, values: tuple[Any, ...]) -> Any:
    """Compiles the kernel of a row's forward or rule, for the values of the attributes that aren't numbers."""
    text, kinds = write(row, part, values)
    in_double = part == "forward" and wide(row)
    space: dict[str, Any] = {
        "F": np.float64 if in_double else np.float32,
        "nan": np.nan,
        "inf": np.inf,
        "__name__": __name__,
    }
    space.update(mathematics.WIDE if in_double else mathematics.NARROW)
    exec(compile(text, f"<{row.name}_{part}>", "exec"), space)
    flat = kinds.count("array")
    arguments = ", ".join(["X[::1]"] * (flat + 1) + ["X"] * kinds.count("number"))
    made = Loop(space[f"{row.name}_{part}"], arguments, FAST, text)
    made.load(np.dtype(np.float32))
    cost = 1.0 if in_double else 0.4  # ns an element
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
