"""Epilogues: what follows a matrix product element by element, done to each part of the product as soon as that is there.

One loop has one hand-over to the threads where two have two, and a part is still in the cache. A product that nobody else
reads has no memory of its own: it is where the chain's first result will be. The text of the chain is that of a loop of
its own, so the bits are too. Figures, and why not on one thread: ``docs/decisions/kernels.md``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from minigrad import threads

from . import matmul
from .chains import Chain, Fused, Layout, Operand, Result
from .elementwise import compiled
from .loading import Lazy

FLOAT = np.dtype(np.float32)
LONG = 5_000_000.0  # nanoseconds of a product beside which a hand-over is nothing, and a chain is quicker over whole rows
NAMES = {
    "products": matmul.products,
    "NOTHING": matmul.NOTHING,
    "by_part": njit(nogil=True, error_model="numpy", fastmath=False),  # without a word it is the caller's
}
_lazies: dict[tuple[str, str], Lazy] = {}


def epilogue(product: Any, chain: Chain, wanted: list[Any]) -> Fused | None:
    """The loop that makes a product and, part by part, what a chain makes of it.

    ``product`` is a step with one result, ``wanted`` what is read elsewhere, of the chain and perhaps the product. None
    where there is no such loop, where it doesn't pay, or while it is being compiled.
    """
    made = next(v for v in product.results if v is not None)
    asked = PRODUCTS[product.name](product) if product.name in PRODUCTS else []
    operands = [o for o in asked if o is not None and o.value.dtype == FLOAT]
    if not operands or len(operands) < len(asked) or chain.shape is None:
        return None
    if chain.misfits([v for v in wanted if v is not made]):
        return None
    left, right, *bias = operands
    a, b = _like(left), _like(right)
    if matmul.loses(a, b):
        return None
    blocks, work, inner, across = matmul.cut(a, b)
    if threads.number() == 1 or not threads.SHARED <= work <= LONG:
        return None
    layout = _Parts(chain, wanted, made)
    if not layout.fits:
        return None
    name = f"{product.name.partition('_gradient')[0]}_{chain.name()}"
    text, arguments = layout.text(name, bool(bias))
    if (text, arguments) not in _lazies:
        make = lambda: compiled(text, f"{name}_loop", arguments, frozenset(matmul.FAST), FLOAT, NAMES)  # noqa: E731
        _lazies[text, arguments] = Lazy(name, make)
    lazy = _lazies[text, arguments]
    if not lazy.ready():
        return None
    loop: Callable[..., None] = next(iter(lazy.run.entries.values()))
    fused = layout.fused(name, text, loop)
    return fused._replace(
        operands=[left, right, *bias, *[o for o in fused.operands if o.value is not made]],
        results=[*layout.first, *fused.results],
        rows=[int(inner), int(across)],
        size=blocks,
        work=work + fused.work,
    )


class _Parts(Layout):
    """A chain over the rows and columns of a product, which is an array of its own (C), or where the chain's first result will be."""

    cut = "[left:right]"

    def __init__(self, chain: Chain, wanted: list[Any], product: Any) -> None:
        rank, sizes = len(chain.shape or ()), (math.prod(product.shape[:-1]), *product.shape[-1:])
        super().__init__(chain, [v for v in wanted if v is not product], rank - 1)
        self.first: list[Result] = []
        if product in wanted:
            flat = None if product.shape == sizes else sizes
            self.first.append(Result(product, product.shape, None, flat, product.dtype))
        self.product = [a for v, a in zip(self.leaves, self.x, strict=True) if v.array is product]
        places = ["C" for _ in self.first] + [a.name for a in self.y if a.kind == "narrow"]
        self.place = places[0] if places else ""
        self.fits = (
            self.fits
            and bool(self.full and self.place)
            and not self.sums
            and list(self.order or ()) == [*range(rank)]
            and self.sizes == [*sizes]
            and all((a.groups, a.layout) == ([0, 1], "C") for a in self.product)
        )
        for a in self.product:
            a.name = self.place

    def text(self, name: str, biased: bool) -> tuple[str, str]:
        """The loop's source, and its arguments in Numba's notation."""
        read = [a for a in self.x if a not in self.product]
        given = [*[a.name for a in read], *["C"] * len(self.first), *[a.name for a in self.y]]
        numbers = [n.name for n in self.numbers]
        out = [f"    {', '.join([*given, *numbers])}, = given"]
        out += [f"    {a.element} = {a.name}[()]" for a in read if not a.groups]
        out += [f"    {v.name} = {v.text}" for v in self.lines if self.at(v) == 0]
        self.names, self.rows = {a: a.name for a in (*self.x, *self.y)}, {}
        self._slice(out, "    ", "top:bottom")
        for a in read:
            if a.groups == [1]:
                self.names[a] = f"{a.name}_0"
                out.append(f"    {a.name}_0 = {a.name}{self.cut}")
        self._loop(out, 0, "    ")
        part = [*dict.fromkeys(out)]  # where the product is what a result will be, both have the same parts
        operands = ["A", "B", *["BIAS"] * biased]
        whole = f"{self.place}.reshape(A.shape[0], A.shape[1], A.shape[2], B.shape[3])"
        called = ["A", "B", "BIAS" if biased else "NOTHING", "inner == 1", "across == 1", whole]
        called += [f"{name}_part", f"({', '.join([*given, *numbers])},)", "start", "stop"]
        text = ["@by_part", f"def {name}_part(given, top, bottom, left, right):", *part]
        text += [
            f"def {name}_loop({', '.join([*operands, *given, 'inner', 'across', *numbers])}, start, stop):"
        ]
        text += [f"    products({', '.join(called)})"]
        kinds = ["f4[:, :, :, :]"] * 2 + ["f4[:]"] * biased + [a.argument for a in read]
        kinds += ["f4[:, ::1]"] * len(self.first) + [a.argument for a in self.y]
        kinds += ["i8", "i8", *["f8"] * len(numbers)]
        return "\n".join(text) + "\n", ", ".join(kinds)


# ---- operands -------------------------------------------------------------------------------------------


def _like(operand: Operand) -> Any:
    """An array of the operand's form, without its memory."""
    v = operand.value
    one = np.lib.stride_tricks.as_strided(np.zeros(1, v.dtype), v.shape, v.strides, writeable=False)
    return (one if operand.order is None else one.transpose(operand.order)).reshape(operand.shape)


def _rows(v: Any) -> Operand | None:
    """All dimensions but the last as rows, where that is a view."""
    if v.strides is None or v.ndim < 2 or not v.size:
        return None
    outer = [(n, s) for n, s in zip(v.shape[:-1], v.strides[:-1], strict=True) if n > 1]
    if any(s != n * t for (_, s), (n, t) in itertools.pairwise(outer)):
        return None
    return Operand(v, None, None, (1, 1, math.prod(v.shape[:-1]), v.shape[-1]), False)


def _turned(v: Any) -> Operand | None:
    """The transpose of a matrix."""
    known = v.strides is not None and v.ndim == 2 and v.size
    return Operand(v, None, (1, 0), (1, 1, *v.shape[::-1]), False) if known else None


def _batches(v: Any) -> Operand | None:
    """Matrices, in batches and heads."""
    known = v.strides is not None and v.ndim <= 4 and v.size
    return Operand(v, None, None, (1,) * (4 - v.ndim) + tuple(v.shape), False) if known else None


def _linear(step: Any) -> list[Operand | None]:
    x, weight, *bias = [v for v in (*step.args, *step.attrs.values()) if v is not None]
    known = [Operand(v, None, None, None, False) if v.strides is not None else None for v in bias]
    return [_rows(x), _turned(weight), *known]


def _linear_gradient(step: Any) -> list[Operand | None]:
    g, _, weight, needs = step.args
    return [_rows(g), _rows(weight)] if tuple(needs) == (True, False, False) else []


def _matmul(step: Any) -> list[Operand | None]:
    x, y = step.args
    if y.ndim == 2 and x.ndim >= 2:
        return [_rows(x), _rows(y)]
    return [_batches(x), _batches(y)] if x.ndim > 2 and x.shape[:-2] == y.shape[:-2] else []


# of a call, the operands of its product, (B, H, rows, depth) and (B, H, depth, columns), and perhaps a bias
PRODUCTS = {"linear": _linear, "linear_gradient": _linear_gradient, "matmul": _matmul}
