"""A namespace on which a row's forward and rules write NumPy source instead of computing.

Each operation becomes one line of a straight program, equal ones once. A value knows its dtype because NumPy
is asked for it on two ones; it has no elements, so that a rule that looks at any fails here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.op import Namespace, Op

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "and": "&", "or": "|",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip


class Value:
    """A line of the program: its name, and an example of what it will hold."""

    __hash__ = object.__hash__

    def __init__(self, program: Program, name: str, example: Any) -> None:
        self.program, self.name, self.example = program, name, np.asarray(example)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.example.dtype

    def astype(self, dtype: Any) -> Value:
        return self.program.line(
            f"{self.name}.astype(np.dtype({np.dtype(dtype).name!r}))", self.example.astype(dtype)
        )

    def __neg__(self) -> Value:
        return self.program.line(f"-{self.name}", -self.example)

    def __invert__(self) -> Value:
        return self.program.line(f"~{self.name}", ~self.example)

    def __bool__(self) -> bool:
        raise TypeError(f"{self.name} has no elements: a rule must not branch on what it computes")


def _sign(name: str, sign: str, swapped: bool) -> Callable[[Value, Any], Value]:
    function = getattr(operator, name + "_" if name in ("and", "or") else name)

    def method(self: Value, other: Any) -> Value:
        a, b = (other, self) if swapped else (self, other)
        with np.errstate(all="ignore"):
            example = function(_example(a), _example(b))
        return self.program.line(f"{_text(a)} {sign} {_text(b)}", example)

    return method


for _name, _s in SIGNS.items():
    setattr(Value, f"__{_name}__", _sign(_name, _s, False))
    setattr(Value, f"__r{_name}__", _sign(_name, _s, True))


def _example(x: Any) -> Any:
    return x.example if isinstance(x, Value) else x


def _text(x: Any) -> str:
    if isinstance(x, Value):
        return x.name
    if isinstance(x, np.generic):
        return f"np.{x.dtype.name}({x.item()!r})"
    if isinstance(x, type):
        return x.__name__ if x.__module__ == "builtins" else f"np.{x.__name__}"
    if isinstance(x, float) and not np.isfinite(x):
        return f"float({str(x)!r})"
    return repr(x)


class Program(Namespace):
    """The lines written so far. ``m.exp(x)`` writes one and gives its value."""

    def __init__(self) -> None:
        self.lines: dict[str, Value] = {}
        self.arguments: list[str] = []

    def argument(self, name: str, dtype: Any) -> Value:
        self.arguments.append(name)
        return Value(self, name, np.ones(2, dtype))

    def line(self, text: str, example: Any) -> Value:
        if text not in self.lines:
            self.lines[text] = Value(self, f"t{len(self.lines)}", example)
        return self.lines[text]

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return op.forward(self, *args, **{**op.attrs, **attrs})

    def __getattr__(self, name: str) -> Any:
        known = getattr(np, name)
        if not callable(known) or isinstance(known, type):
            return known

        def call(*args: Any, **kwargs: Any) -> Value:
            given = [_text(a) for a in args] + [f"{k}={_text(v)}" for k, v in kwargs.items()]
            with np.errstate(all="ignore"):
                example = known(*map(_example, args), **{k: _example(v) for k, v in kwargs.items()})
            return self.line(f"np.{name}({', '.join(given)})", example)

        return call

    def source(self, results: list[Any]) -> str:
        body = [f"    {value.name} = {text}" for text, value in self.lines.items()]
        returned = ", ".join(_text(r) for r in results)
        return "\n".join([f"def program({', '.join(self.arguments)}):", *body, f"    return [{returned}]"])

    def compiled(self, results: list[Any]) -> Callable[..., list[Any]]:
        space: dict[str, Any] = {"np": np}
        exec(compile(self.source(results), "<program>", "exec"), space)
        return space["program"]
