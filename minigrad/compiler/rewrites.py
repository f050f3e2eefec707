"""Algebra: calls that the rows say are equal to simpler ones, to the bit, are written so.

A row declares its rewrites beside itself, ``rewrites=["neg(neg(x)) -> x"]``: rows by their names, letters for whatever
stands there, numbers for themselves. A letter that comes twice stands for one value.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

from ..op import OPS
from .nests import replaced
from .program import Line, Program, Value, leaves


def rewritten(program: Program) -> Program:
    """The program with every call replaced that a row's rewrites give a simpler form of."""
    written = {v.memory for line in program.lines if not getattr(line, "pure", False) for v in line.reads()}
    kept = {v.memory for v in leaves(program)}
    pure = all(isinstance(line, Line) and line.pure for line in program.lines)
    outside = {v.memory for v in program.outside()}
    made: dict[Value, Line] = {}
    same: dict[Value, Any] = {}

    def settled(x: Any) -> bool:
        """Does it stay what it is to the end? Then it may be read later than it was."""
        return not isinstance(x, Value) or (x.memory not in written and (pure or x.memory not in outside))

    def number(x: Any) -> Any:
        """A number, or an array of one that stays what it is."""
        array = program.constants.get(x) if isinstance(x, Value) and x.memory not in written else None
        return x if array is None or array.ndim else array.item()

    lines: list[Any] = []
    for line in program.lines:
        if isinstance(line, Line):
            line.args = replaced(line.args, lambda x: same.get(x, x) if isinstance(x, Value) else x)
            line.attrs = replaced(line.attrs, lambda x: same.get(x, x) if isinstance(x, Value) else x)
        while isinstance(line, Line) and (found := _simpler(line, made, number, settled)) is not None:
            to, bound = found
            result: Any = line.results[0]
            if isinstance(to, ast.Name):
                x = bound[to.id]
                if _alike(x, result) and result.memory not in kept and result.memory not in written:
                    same[result] = x
                    line = None
                break
            assert isinstance(to, ast.Call) and isinstance(to.func, ast.Name)
            args = tuple(bound[a.id] if isinstance(a, ast.Name) else ast.literal_eval(a) for a in to.args)
            line = Line(OPS[to.func.id].forward, line.m, args, dict(OPS[to.func.id].attrs), [result])
        if line is None:
            continue
        if isinstance(line, Line) and len(line.results) == 1 and line.results[0] is not None:
            made[line.results[0]] = line
        elif not isinstance(line, Line) and getattr(line, "value", None) in same:
            line.value = same[line.value]
        lines.append(line)
    return Program(lines, program.arguments, program.tensors, program.constants, program.outputs)


def _alike(x: Any, result: Value) -> bool:
    return isinstance(x, Value) and (x.shape, x.dtype, x.contiguous) == (
        result.shape,
        result.dtype,
        result.contiguous,
    )


def _simpler(line: Line, made: dict[Value, Line], number: Any, settled: Any) -> Any:
    """The right side of a rewrite that fits a line, and what its letters stand for."""
    row = _row(line)
    if row is None or len(line.results) != 1 or line.results[0] is None:
        return None
    for pattern, to in patterns(row.name):
        bound: dict[str, Any] = {}
        fits = _fits(pattern, line, made, number, bound) and all(map(settled, bound.values()))
        if fits and all(_as(x, line.results[0].dtype) for x in bound.values()):
            return to, bound
    return None


def _as(x: Any, dtype: Any) -> bool:
    """Is it of the result's dtype, and is that one in which -x is what it says? Or is it a condition?"""
    return not isinstance(x, Value) or x.dtype == bool or (x.dtype == dtype and dtype.kind in "fi")


def _row(line: Line) -> Any:
    """The row that a line is the forward of, with its attributes as they are by themselves."""
    row = OPS.get(getattr(line.function, "__name__", ""))
    if row is None or row.forward is not line.function:
        return None
    return row if all(line.attrs.get(k, v) == v for k, v in row.attrs.items()) else None


def _fits(pattern: Any, x: Any, made: dict[Value, Line], number: Any, bound: dict[str, Any]) -> bool:
    """Is x of the pattern's form? What its letters stand for is entered in ``bound``."""
    if isinstance(pattern, ast.Name):
        return bound.setdefault(pattern.id, x) is x
    if isinstance(pattern, ast.Constant):
        x = number(x)
        return isinstance(x, (int, float)) and not isinstance(x, bool) and x == pattern.value
    line = x if isinstance(x, Line) else made.get(x) if isinstance(x, Value) else None
    if (
        line is None
        or (row := _row(line)) is None
        or row.name != pattern.func.id
        or len(line.args) != len(pattern.args)
    ):
        return False
    return all(_fits(p, a, made, number, bound) for p, a in zip(pattern.args, line.args, strict=True))


@functools.cache
def patterns(name: str) -> list[tuple[Any, Any]]:
    """A row's rewrites: what they fit, and what that is."""
    sides = (text.split("->") for text in OPS[name].rewrites)
    return [
        (ast.parse(a.strip(), mode="eval").body, ast.parse(b.strip(), mode="eval").body) for a, b in sides
    ]
