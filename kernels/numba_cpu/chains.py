"""Chains: the forwards and rules of several elementwise rows, and sums and extrema at their end, as one loop that no array stands between.

The rows write the loop, through ``elementwise.Source``. Dimensions over which all operands advance alike become one;
a value is computed in the outermost loop that it varies in. There are no fast-math flags outside of ``mathematics.py``,
so that arithmetic has NumPy's bits. Sums are added up in float64 and rounded once, in pieces that the shape alone
decides, so that they don't depend on the threads either. Of maxima and minima the same pieces are taken; NaN is both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import elementwise
from .elementwise import DTYPES, Number, Source, Value, compiled
from .loading import Lazy

LEAST = 2**5  # elements of a chain; one of two calls pays from the first, but is compiled for it
WORTH = 2  # operations on each element from which one loop is better than as many passes; one sum is, too
PIECE = 2**14  # elements that are summed before the sum goes to memory
KINDS = {dtype: kind for kind, dtype in DTYPES.items()}
LETTERS = {"narrow": "f4", "wide": "f8", "truth": "b1"}
# how a row is reduced, how its pieces are, both with where they begin, and what is made of the row's result
REDUCED = {
    "sum": ("plus({}, f64({}))", "0.0", "{} + {}", "0.0", "{}"),
    "max": ("larger({}, {})", "lowest_{}", "most({}, f64({}))", "-inf", "extreme({})"),
    "min": ("smaller({}, {})", "highest_{}", "least({}, f64({}))", "inf", "extreme({})"),
}
_lazies: dict[tuple[str, str], Lazy] = {}


class Operand(NamedTuple):
    """What is made of an array before it is given to the loop: indexed, transposed, copied unless in order, reshaped."""

    value: Any
    at: tuple[Any, ...] | None
    order: tuple[int, ...] | None
    shape: tuple[int, ...] | None
    copy: bool


class Result(NamedTuple):
    """An array that the loop fills: what it is allocated as, transposed to be given back, reshaped for the loop."""

    value: Any
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    flat: tuple[int, ...] | None
    dtype: Any


class Fused(NamedTuple):
    """A chain's loop. It is called with operands, results, ``partial`` arrays, sums, ``rows`` (of a piece, and sizes that no array has), numbers and a range of ``size``.

    Where there are ``partial`` sums of more than one piece it is called again with the range (-1, 0), which adds them up.
    """

    name: str
    text: str
    loop: Callable[..., None]
    operands: list[Operand]
    results: list[Result]
    partial: tuple[int, int] | None
    sums_made: int
    sums: list[Result]
    rows: list[int]
    numbers: list[float]
    size: int
    work: float  # nanoseconds, about


class Shapes(Source):
    """A source whose values have shapes: an operand is read again where a row gives it another one."""

    def __init__(self, base: str) -> None:
        super().__init__(base, passed=True)
        self.operands: dict[tuple[Any, tuple[int, ...]], Value] = {}

    def operand(self, array: Any, shape: tuple[int, ...]) -> Value:
        if (array, shape) not in self.operands:
            made = Value(self, f"x{len(self.operands)}", KINDS[array.dtype], shape)
            self.operands[array, shape] = made
            made.array = array  # type: ignore[attr-defined]
        return self.operands[array, shape]

    def given(self, x: float) -> Number:
        """A number of the caller's."""
        made = Number(x)
        made.name = f"n{len(self.numbers)}"
        return self.number(made)

    def row(self, op: Any, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        if op.name == "broadcast_to":
            return self.broadcast_to(*args, **attrs)
        return super().row(op, args, attrs)

    def shaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        if x.shape == shape:
            return x
        if x.after:
            raise TypeError("a sum keeps its shape: its elements are computed once")
        spread = shape[max(len(shape) - x.ndim, 0) :]
        if math.prod(shape) != x.size and len(spread) == x.ndim:
            if any(a not in (1, b) for a, b in zip(x.shape, spread, strict=True)):
                raise TypeError(f"{x.shape} doesn't broadcast to {shape}")
            return Value(self, x.name, x.kind, shape, args=(x,))
        if [n for n in shape if n != 1] != [n for n in x.shape if n != 1]:
            raise TypeError(f"a reshape of {x.shape} to {shape} moves elements")
        if hasattr(x, "array"):
            return self.operand(x.array, shape)
        if x.size == 1:
            return Value(self, x.name, x.kind, shape, args=(x,))
        if not x.text:
            raise TypeError("a reshape of what was broadcast")
        args = [self.shaped(a, shape) if isinstance(a, Value) and a.shape == x.shape else a for a in x.args]
        return self.line(x.template, *args, kind=x.kind)


class Chain:
    """Steps that become one loop. A step is a row, its ``function`` (the forward or a rule), what that is called with, its results."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.made: dict[Any, Value] = {}
        self.shape: tuple[int, ...] | None = None
        self.axes: frozenset[int] | None = None
        self.source: Any = None

    def add(self, step: Any) -> bool:
        """Adds a step, if one loop can do it with the others."""
        floats = [v.dtype for v in (*step.reads, *step.results) if v is not None and v.dtype != bool]
        if not floats or any(d != floats[0] for d in floats) or floats[0] not in KINDS:
            return False
        source = self.source or Shapes(KINDS[floats[0]])
        if source.base != KINDS[floats[0]]:
            return False
        before = len(source.lines), len(source.operands), len(source.numbers)
        try:
            made, shape, axes = self._tried(source, step)
        except (TypeError, AttributeError, ValueError, NotImplementedError, LookupError):
            for table, size in zip((source.lines, source.operands, source.numbers), before, strict=True):
                for key in list(table)[size:]:
                    del table[key]
            return False
        self.source, self.shape, self.axes = source, shape, axes
        self.made.update(made)
        self.steps.append(step)
        return True

    def _tried(self, source: Shapes, step: Any) -> Any:
        def value(x: Any) -> Any:
            if x in self.made:
                return self.made[x]
            return source.operand(x, x.shape)

        before = set(source.lines)
        args = step.mapped(step.args, value, source.given)
        attrs = step.mapped(step.attrs, value, source.given)
        if step.forward:
            found = elementwise.widely(source, step.row, args, attrs)
        else:
            found = step.function(source, *args)
        found = found if isinstance(found, (tuple, list)) else (found,)
        made, shape, axes = {}, self.shape or (), self.axes
        for v, wanted in zip(found, step.results, strict=True):
            if wanted is None:
                continue
            if not isinstance(v, Value) or v.shape != wanted.shape or v.dtype != wanted.dtype:
                raise TypeError(f"{step.name} gives something else in a loop")
            made[wanted] = v
        new = [v for key, v in source.lines.items() if key not in before] + list(made.values())
        whole = [
            v.shape if v.total is None else v.total.shape for v in new if v.total is not None or not v.after
        ]
        full = np.broadcast_shapes(shape, *whole)
        if not math.prod(full) or (math.prod(shape) > 1 and full != shape):
            raise TypeError("no elements, or a larger shape than that of the chain")
        for v in made.values():
            if not v.after and v.shape != full and v.size > 1:
                raise TypeError("a smaller shape, whose elements would be computed again and again")
        for v in new:
            if v.total is not None:
                mine = frozenset(i for i in v.axes if full[i] > 1)
                if v.total.shape != full or (axes is not None and mine != axes):
                    raise TypeError("a sum of something else")
                axes = mine
        if axes is not None and not _summable(full, axes):
            raise TypeError("a sum over dimensions between others")
        return made, full, axes

    def name(self) -> str:
        """Its steps' names, as many as are readable; not of those that hand on what they are given."""
        names = [s.name.partition("_by_")[0] for s in self.steps if not set(s.results) <= set(s.reads)]
        text = "_".join(dict.fromkeys(names))
        return text if len(text) <= 50 else text[:50].rpartition("_")[0] + "_etc"

    # ---- the loop ----------------------------------------------------------------------------------------

    def misfits(self, wanted: list[Any]) -> list[Any]:
        """The values among those wanted that the loop can't give: views, and what is smaller than it."""
        found = []
        for v in wanted:
            made = self.made[v]
            if not made.after and (v.view or not made.text or made.shape != self.shape or _order(v) is None):
                found.append(v)
        return found

    def begun(self, wanted: list[Any], worth: int | None = None) -> tuple[Layout, str, str, Lazy] | None:
        """The layout of the loop that gives the values wanted, its name, text and compilation; None where it isn't worth it."""
        if not wanted or self.shape is None:
            return None
        layout = Layout(self, wanted)
        if not layout.pays(WORTH if worth is None else worth):
            return None
        text, arguments, name = layout.write()
        key = text, arguments
        if key not in _lazies:
            dtype = DTYPES[self.source.base]
            _lazies[key] = Lazy(name, lambda: compiled(text, f"{name}_loop", arguments, frozenset(), dtype))
        return layout, name, text, _lazies[key]

    def finish(self, wanted: list[Any]) -> Fused | None:
        """The loop that gives the values wanted, None where it isn't worth it or still being compiled."""
        found = self.begun(wanted)
        if found is None or not found[-1].ready():
            return None
        layout, name, text, lazy = found
        return layout.fused(name, text, next(iter(lazy.run.entries.values())))


def chain() -> Chain:
    """A chain without steps."""
    return Chain()


def epilogue(product: Any, chain: Chain, wanted: list[Any]) -> Fused | None:
    """The loop of a matrix product that does a chain to each part of what it makes, where there is one: ``epilogues.py``."""
    from . import epilogues

    return epilogues.epilogue(product, chain, wanted)


def _summable(shape: tuple[int, ...], axes: frozenset[int]) -> bool:
    """Are the summed dimensions the first, or the last?"""
    flags = [i in axes for i, n in enumerate(shape) if n > 1]
    return not flags or any(flags) and (flags[0] or sorted(flags) == flags)


def _order(v: Any) -> tuple[int, ...] | None:
    """The dimensions in the order of their strides, where the array has no gaps; where those aren't known, as they come."""
    if v.strides is None or v.contiguous:
        return tuple(range(v.ndim))
    order = sorted(range(v.ndim), key=lambda i: (-abs(v.strides[i]) if v.shape[i] > 1 else 0, i))
    step = v.dtype.itemsize
    for i in reversed(order):
        if v.shape[i] > 1:
            if v.strides[i] != step:
                return None
            step *= v.shape[i]
    return tuple(order)


class _Array:
    """An array of the loop: its name, the element's, its strides by the loop's dimensions, and the groups it varies in."""

    def __init__(self, name: str, kind: str, strides: list[Any]) -> None:
        self.name, self.kind, self.strides = name, kind, strides
        self.element, self.groups = name.lower(), list[int]()
        self.layout = "C"

    @property
    def argument(self) -> str:
        return f"Array({LETTERS[self.kind]}, {len(self.groups)}, '{self.layout}')"


class Layout:
    """The loop's dimensions and arrays, and its text. ``apart`` is a dimension that isn't merged with those before it."""

    cut = ""  # of the innermost dimension

    def __init__(self, chain: Chain, wanted: list[Any], apart: int = -1) -> None:
        self.chain, self.shape, made = chain, chain.shape or (), chain.made
        self.full = [v for v in wanted if not made[v].after]
        self.summed = [v for v in wanted if made[v].after]
        self.lines = elementwise.needed([made[v] for v in wanted])
        self.sums = [v for v in self.lines if v.total is not None]
        used = {n for v in self.lines for n in _numbers(v, chain.source)}
        self.numbers = [n for key, n in chain.source.numbers.items() if key in used]
        leaves = set(elementwise.reached([made[v] for v in wanted]))
        self.leaves = [v for v in chain.source.operands.values() if v in leaves]
        orders = [_order(v) for v in self.full]
        self.order = orders[0] if orders else tuple(range(len(self.shape)))
        self.axes = chain.axes or frozenset() if self.sums else frozenset()
        self.fits = bool(self.leaves) and all(o == self.order for o in orders)
        self._group(apart)

    def _group(self, apart: int) -> None:
        """Merges neighbouring dimensions over which all arrays advance alike."""
        shape, rank = self.shape, len(self.shape)
        dims = [i for i in self.order or () if shape[i] > 1]
        self.x = [_Array(v.name.upper(), v.kind, _strides(v, rank)) for v in self.leaves]
        dense = [0] * rank
        step = 1
        for i in reversed(dims):
            dense[i], step = step, step * shape[i]
        self.y = [_Array(f"Y{i}", KINDS[v.dtype], dense) for i, v in enumerate(self.full)]
        arrays = [*self.x, *self.y]
        groups: list[list[int]] = []
        for i in dims:
            last = groups[-1][-1] if groups else None
            if last is not None and i != apart and (last in self.axes) == (i in self.axes) and all(
                a.strides[last] == a.strides[i] * shape[i] for a in arrays
            ):  # fmt: skip
                groups[-1].append(i)
            else:
                groups.append([i])
        self.groups = groups or [[]]
        self.sizes = [math.prod([shape[i] for i in g]) for g in self.groups]
        self.reduced = [bool(g) and g[0] in self.axes or not g and bool(self.sums) for g in self.groups]
        for a in arrays:
            a.groups = [k for k, g in enumerate(self.groups) if g and a.strides[g[-1]]]
            step = 1
            for k in reversed(a.groups):
                if a.strides[self.groups[k][-1]] != step:
                    a.layout = "A"
                step *= self.sizes[k]
        for a in self.y:
            a.groups = list(range(len(self.groups))) if groups else [0]
        if not groups:  # one element: a loop over it
            for a in self.x:
                a.groups = []
        self.partial = self.reduced[0]
        self.bare = [k for k in range(len(self.groups)) if not any(k in a.groups for a in arrays)]
        self.level = {}  # of each value: how many loops are around it
        for leaf, a in zip(self.leaves, self.x, strict=True):
            self.level[leaf] = 1 + max(a.groups, default=-1)

    def at(self, v: Value) -> int:
        if v not in self.level:
            self.level[v] = max((self.at(a) for a in v.values()), default=0)
        return self.level[v]

    def pays(self, worth: int) -> bool:
        if not self.fits:
            return False
        if self.sums and not self.partial and sorted(self.reduced) != self.reduced:
            return False
        kept = [i for i in self.order or () if i not in self.axes and self.shape[i] > 1]
        if self.sums and kept != sorted(kept):
            return False  # a sum's elements are in the order of its dimensions
        work = [v for v in self.lines if v.total is None and not v.after and self.at(v) == len(self.groups)]
        return bool(self.sums) or len(work) >= worth

    # ---- text --------------------------------------------------------------------------------------------

    def write(self) -> tuple[str, str, str]:
        """The loop's source, its arguments in Numba's notation, and its name."""
        name = self.chain.name()
        sums = range(len(self.sums))
        z = [f"Z{i}" for i in range(len(self.summed))]
        kept = 1 if self.partial else self.reduced.count(False)
        names = [a.name for a in (*self.x, *self.y)]
        names += [f"P{i}" for i in sums] * self.partial + z + ["rows"] * self.partial
        names += [f"N{k}" for k in self.bare] + [n.name for n in self.numbers]
        letter = LETTERS[self.chain.source.base]
        arguments = [a.argument for a in (*self.x, *self.y)]
        arguments += ["Array(f8, 2, 'C')" for _ in sums] * self.partial + [
            f"Array({letter}, {kept}, 'C')" for _ in z
        ]
        arguments += ["i8"] * (self.partial + len(self.bare)) + ["f8"] * len(self.numbers)
        out = [f"def {name}_loop({', '.join(names)}, start, stop):"]
        out += [f"    {a.element} = {a.name}[()]" for a in self.x if not a.groups]
        out += [f"    {v.name} = {v.text}" for v in self.lines if not v.after and self.at(v) == 0]
        self.names = {a: a.name for a in (*self.x, *self.y)}
        if self.partial:
            out += ["    for piece in range(max(start, 0), stop):"]
            out += [f"        S{i} = P{i}[piece]" for i in sums]
            begin = [REDUCED[v.how][3] for v in self.sums]
            out += ["        for k in range(S0.shape[0]):"]
            out += [f"            S{i}[k] = {x}" for i, x in enumerate(begin)]
            self._slice(out, "        ", "piece * rows : (piece + 1) * rows")
            self._loop(out, 0, "        ")
            out += ["    if start < 0 or P0.shape[0] == 1:", "        for k in range(Z0.shape[0]):"]
            out += [f"            a{i} = {x}" for i, x in enumerate(begin)]
            out += ["            for piece in range(P0.shape[0]):"]
            for i, v in enumerate(self.sums):
                out.append(f"                a{i} = {REDUCED[v.how][2].format(f'a{i}', f'P{i}[piece, k]')}")
            self._after(out, "            ", [f"{n}[k]" for n in z])
        else:
            self.rows = {n: n for n in z}
            self._slice(out, "    ", "start:stop")
            self._loop(out, 0, "    ")
        return "\n".join(out) + "\n", ", ".join(arguments), name

    def _slice(self, out: list[str], indent: str, cut: str) -> None:
        for a in (*self.x, *self.y):
            if 0 in a.groups:
                out.append(f"{indent}{a.name}_0 = {a.name}[{cut}]")
                self.names[a] = f"{a.name}_0"
        if not self.partial and 0 in self.kept():
            for n in self.rows:
                out.append(f"{indent}{n}_0 = {n}[{cut}]")
                self.rows[n] = f"{n}_0"

    def kept(self) -> list[int]:
        return [k for k, r in enumerate(self.reduced) if not r]

    def _loop(self, out: list[str], k: int, indent: str) -> None:
        """The loop over group k, and those in it."""
        innermost = k == len(self.groups) - 1
        first = len(self.groups) - self.reduced[::-1].index(False) if False in self.reduced else 0
        sums = list(enumerate(self.sums)) if self.reduced[-1] and k == first else []
        out += [f"{indent}r{i} = {REDUCED[v.how][1].format(v.kind)}" for i, v in sums]
        inside = indent + "    "
        varying = [a for a in (*self.x, *self.y) if k in a.groups]
        if varying:
            size = f"{self.names[varying[0]]}.shape[0]"
        else:
            size = f"N{k}" if k else f"min(rows, N{k} - piece * rows)" if self.partial else "stop - start"
        out.append(f"{indent}for i{k} in range({size}):")
        for a in varying:
            at = f"{self.names[a]}[i{k}]"
            if k != a.groups[-1]:
                self.names[a] = f"{a.name}_{k + 1}"
                out.append(f"{inside}{self.names[a]} = {at}{self.cut}")
            elif a in self.x:
                out.append(f"{inside}{a.element} = {at}")
        if not self.partial and self.summed and k in self.kept() and k != self.kept()[-1]:
            for n, row in self.rows.items():
                out.append(f"{inside}{n}_{k + 1} = {row}[i{k}]")
                self.rows[n] = f"{n}_{k + 1}"
        out += [
            f"{inside}{v.name} = {v.text}"
            for v in self.lines
            if not v.after and v.text and self.at(v) == k + 1
        ]
        if innermost:
            for a, v in zip(self.y, self.full, strict=True):
                out.append(f"{inside}{self.names[a]}[i{k}] = {self.chain.made[v].name}")
            for i, v in enumerate(self.sums):
                assert v.total is not None
                if self.reduced[-1]:
                    out.append(f"{inside}r{i} = {REDUCED[v.how][0].format(f'r{i}', v.total.name)}")
                else:
                    at = f"S{i}[{self._kept_index(out)}]"
                    out.append(f"{inside}{at} = {REDUCED[v.how][2].format(at, f'f64({v.total.name})')}")
        else:
            self._loop(out, k + 1, inside)
        for i, v in sums:
            found = REDUCED[v.how][4].format(f"r{i}")
            if self.partial:
                at = f"S{i}[{self._kept_index(out)}]"
                out.append(f"{indent}{at} = {REDUCED[v.how][2].format(at, found)}")
            else:
                out.append(f"{indent}a{i} = {found}")
        if sums and not self.partial:
            last = self.kept()[-1]
            self._after(out, indent, [f"{row}[i{last}]" for row in self.rows.values()])

    def _kept_index(self, out: list[str]) -> str:
        """The place of the kept dimensions' indices in an array of one dimension."""
        text = ""
        for k in self.kept():
            if text:
                a = next(a for a in (*self.x, *self.y) if k in a.groups)
                text = f"({text}) * {a.name}.shape[{a.groups.index(k)}] + i{k}"
            else:
                text = f"i{k}"
        return text or "0"

    def _after(self, out: list[str], indent: str, places: list[str]) -> None:
        """What is computed of the sums, and where it goes."""
        for v in self.lines:
            if v.total is not None:
                i = next(i for i, s in enumerate(self.sums) if s is v)
                out.append(f"{indent}{v.name} = {elementwise.CAST[v.kind]}(a{i})")
            elif v.after:
                out.append(f"{indent}{v.name} = {v.text}")
        for place, v in zip(places, self.summed, strict=True):
            out.append(f"{indent}{place} = {self.chain.made[v].name}")

    # ---- the call ----------------------------------------------------------------------------------------

    def fused(self, name: str, text: str, loop: Callable[..., None]) -> Fused:
        operands = [self._operand(v, a) for v, a in zip(self.leaves, self.x, strict=True)]
        order = self.order or ()
        results = []
        for v in self.full:
            straight = list(order) == sorted(order)
            shape = tuple(v.shape[i] for i in order)
            flat = tuple(self.sizes)
            inverse = tuple(int(i) for i in np.argsort(order))
            results.append(
                Result(v, shape, None if straight else inverse, None if flat == shape else flat, v.dtype)
            )
        kept = [self.sizes[k] for k in self.kept()]
        flat = (math.prod(kept),) if self.partial else tuple(kept)
        sums = [Result(v, v.shape, None, None if v.shape == flat else flat, v.dtype) for v in self.summed]
        size, partial, rows = self.sizes[0], None, list[int]()
        if self.partial:
            inner = math.prod(self.sizes[1:])
            rows = [max(PIECE // inner, 64 if kept else 1)]
            size = -(-self.sizes[0] // rows[0])
            partial = size, math.prod(kept)
        rows += [self.sizes[k] for k in self.bare]
        numbers = [float(n) for n in self.numbers]
        return Fused(
            name,
            text,
            loop,
            operands,
            results,
            partial,
            len(self.sums),
            sums,
            rows,
            numbers,
            size,
            self.work(),
        )

    def work(self) -> float:
        """Nanoseconds, about."""
        cost = 0.03 * (len(self.x) + len(self.y)) + sum(map(_cost, self.lines))
        return cost * math.prod(self.shape)

    def _operand(self, leaf: Value, a: _Array) -> Operand:
        v = leaf.array  # type: ignore[attr-defined]
        known = v.strides is not None
        strides = v.strides if known else [1] * v.ndim
        index = tuple(0 if n > 1 and s == 0 else slice(None) for n, s in zip(v.shape, strides, strict=True))
        shape = tuple(n for n, i in zip(v.shape, index, strict=True) if i != 0)
        order = None
        dims = [d for d in range(len(self.shape)) if self.shape[d] > 1 and a.strides[d]]
        if list(self.order or ()) != sorted(self.order or ()):
            wanted = [d for d in self.order or () if d in dims]
            solid = [j for j, n in enumerate(shape) if n > 1]
            place = dict(zip(dims, solid, strict=True))
            new = [place[d] for d in wanted] + [j for j in range(len(shape)) if j not in solid]
            if new != sorted(new):
                order = tuple(new)
                shape = tuple(shape[j] for j in new)
        flat = tuple(self.sizes[k] for k in a.groups)
        return Operand(
            v, index if 0 in index else None, order, None if known and shape == flat else flat, not known
        )


def _strides(leaf: Value, rank: int) -> list[float]:
    """The strides of an operand in elements, by the loop's dimensions; 0 where it doesn't vary."""
    v = leaf.array  # type: ignore[attr-defined]
    if v.strides is None:
        strides, step = list[float](), 1
        for n in reversed(v.shape):
            strides.insert(0, step)
            step *= n
    else:
        strides = [s / v.dtype.itemsize for s in v.strides]
    found = iter([s for s, n in zip(strides, v.shape, strict=True) if n > 1])
    mine = [next(found) if n > 1 else 0 for n in leaf.shape]
    return [0.0] * (rank - len(mine)) + mine


def _numbers(v: Value, source: Source) -> list[str]:
    import re

    return re.findall(r"\bn\d+\b", v.text)


def _cost(v: Value) -> float:
    """Nanoseconds an element, about."""
    called = v.template.partition("(")[0]
    wide = 2.0 if v.kind == "wide" or called.endswith("_wide") else 1.0
    return wide * (0.09 if called.removesuffix("_wide") in elementwise.EVERYWHERE else 0.02)
