"""Reductions by themselves: maximum, minimum and norm over dimensions, and the norm's rule, as chains of one row (``chains.py``).

NumPy walks over x for every function of a row, and over a short last dimension one row at a time. Floor: x read once.
The rule of an extremum is by hand: it counts ties, then shares the gradient among them. Floor: x read, the result written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import threads
from minigrad.backend import Declined
from minigrad.op import Op
from minigrad.ops.reduce import axes

from .loading import Lazy, empty, kernel, loop

if TYPE_CHECKING:
    from .chains import Fused

OTHER = Declined("no loop has its dimensions, its layout or its options")
KNOWN = 256  # shapes and options


@loop("X[:, ::1], X[::1], X[::1], X[:, ::1]")
def _rows(x, out, g, by_x, start, stop):
    for r in range(start, stop):
        row, to, ties = x[r], by_x[r], 0
        for i in range(row.shape[0]):
            ties += row[i] == out[r]
        share = g[r] / x.dtype.type(ties)
        for i in range(row.shape[0]):
            to[i] = share if row[i] == out[r] else x.dtype.type(0)


@loop("X[:, ::1], X[::1], X[::1], X[:, ::1]")
def _columns(x, out, g, by_x, start, stop):
    shares, top = np.zeros(stop - start, x.dtype), out[start:stop]
    for r in range(x.shape[0]):
        row = x[r, start:stop]
        for i in range(row.shape[0]):
            shares[i] += row[i] == top[i]
    for i in range(shares.shape[0]):
        shares[i] = g[start + i] / shares[i]
    for r in range(x.shape[0]):
        row, to = x[r, start:stop], by_x[r, start:stop]
        for i in range(row.shape[0]):
            to[i] = shares[i] if row[i] == top[i] else x.dtype.type(0)


@kernel(_rows, _columns)
def extremum_gradient(g, x, out, x_shape, dim, keepdim):
    gone = sorted(axes(dim, x.ndim))
    size = math.prod([x_shape[i] for i in gone])
    first, last = gone == list(range(len(gone))), gone == list(range(x.ndim - len(gone), x.ndim))
    if not x.size or not (first or last) or not (x.flags.c_contiguous and x.flags.aligned):
        return OTHER
    if size >= 2**24:  # float32 doesn't count further
        return OTHER
    by_x = empty(x.shape, x.dtype)
    shape = (x.size // size, size) if last else (size, x.size // size)
    parts = [np.ascontiguousarray(a).reshape(-1) for a in (out, g)]
    run = _rows if last else _columns
    run(x.size // size, 0.4 * x.size, x.reshape(shape), *parts, by_x.reshape(shape))
    return by_x


class Held:
    """An operand as a chain asks for it, by its place among a call's; or a result, of which the layout isn't asked."""

    view = False

    def __init__(self, array: Any, place: int) -> None:
        self.shape, self.dtype, self.ndim, self.size = array.shape, array.dtype, array.ndim, array.size
        self.strides, self.contiguous = array.strides, array.flags.c_contiguous
        self.place = place


class Step:
    """A row's forward or rule as a chain's step."""

    def __init__(
        self, row: Op, function: Any, args: tuple[Any, ...], attrs: dict[str, Any], result: Held
    ) -> None:
        self.row, self.function, self.args, self.attrs, self.results = row, function, args, attrs, [result]
        self.forward = function is row.forward
        self.name = row.name if self.forward else f"{row.name}_gradient"
        self.reads = [x for x in args if type(x) is Held]

    @staticmethod
    def mapped(nest: Any, value: Any, number: Any) -> Any:
        if isinstance(nest, dict):
            return {k: Step.mapped(v, value, number) for k, v in nest.items()}
        if isinstance(nest, tuple):
            return tuple([Step.mapped(v, value, number) for v in nest])
        return value(nest) if type(nest) is Held else number(nest) if type(nest) is float else nest


class Alone:
    """The kernels of a row's forward or only rule: one for every shape, layout and option met, which share their loops."""

    def __init__(self, row: Op, part: str) -> None:
        self.row, self.part, self.__name__ = row, part, f"{row.name}_{part}"
        self.known: dict[Any, Call | None] = {}

    def __call__(self, m: Any, *args: Any, **attrs: Any) -> Any:
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        if not all(a.flags.aligned for a in arrays):
            return OTHER
        parts = [(a.shape, a.strides, a.dtype) if isinstance(a, np.ndarray) else a for a in args]
        key = *parts, *attrs.items()
        try:
            made = self.known[key]
        except TypeError:  # an option that isn't hashed, such as a list
            return OTHER
        except KeyError:
            if len(self.known) == KNOWN:
                self.known.clear()
            made = self.known[key] = self.of(args, attrs)
        if made is None:
            return OTHER
        return made(arrays) if made.lazy.ready() else made.lazy.state

    def of(self, args: tuple[Any, ...], attrs: dict[str, Any]) -> Call | None:
        """The call of a loop for these arguments; None where there is none."""
        from .chains import Chain

        attrs = {**self.row.attrs, **attrs} if self.part == "forward" else attrs
        x = args[0 if self.part == "forward" else 1]
        if self.part == "forward":
            gone = axes(attrs["dim"], x.ndim)
            shape = [
                1 if i in gone else n for i, n in enumerate(x.shape) if attrs["keepdim"] or i not in gone
            ]
            result = Held(np.empty(shape, x.dtype), -1)
        else:
            result = Held(np.empty_like(x), -1)
        held = [Held(a, i) if isinstance(a, np.ndarray) else a for i, a in enumerate(args)]
        chain = Chain()
        function = self.row.forward if self.part == "forward" else self.row.rules[0].function
        if not chain.add(Step(self.row, function, tuple(held), attrs, result)) or chain.misfits([result]):
            return None
        found = chain.begun([result], 1)
        return None if found is None else Call(found)

    def ahead(self) -> list[Lazy]:
        """What warmup compiles: the kernels of the row's cases, for float32."""
        found = []
        for case in self.row.cases:
            (operand,) = case.operands
            x, attrs = (
                np.ones(getattr(operand, "shape", operand), np.float32),
                {**self.row.attrs, **case.attrs},
            )
            out = self.row.forward(np, x, **attrs)
            given = {"input": x, "output": out, "shape": x.shape, **attrs}
            reads = [where if kind == "attr" else kind for kind, where in self.row.rules[0].reads]
            args = [out, *(given[name] for name in reads)]
            made = self.of((x,), attrs) if self.part == "forward" else self.of(tuple(args), {})
            found += [] if made is None else [made.lazy]
        return list(dict.fromkeys(found))


class Call:
    """A loop's call on the arrays of a call of a row."""

    def __init__(self, begun: tuple[Any, str, str, Lazy]) -> None:
        self.layout, self.name, self.text, self.lazy = begun
        self.fused: Fused | None = None

    def __call__(self, arrays: list[Any]) -> Any:
        if self.fused is None:
            self.fused = self.layout.fused(self.name, self.text, next(iter(self.lazy.run.entries.values())))
        k, given = self.fused, list[Any]()
        for o in k.operands:
            x = arrays[o.value.place]
            x = x if o.at is None else x[(*o.at, ...)]
            x = x if o.order is None else x.transpose(o.order)
            given.append(x if o.shape is None else x.reshape(o.shape))
        r = [*k.results, *k.sums][0]
        result = empty(r.shape, r.dtype)
        flat = result if r.flat is None else result.reshape(r.flat)
        given += [flat] * len(k.results)
        if k.partial is not None:
            given += [np.empty(k.partial) for _ in range(k.sums_made)]
        given += [*[flat] * len(k.sums), *k.rows, *k.numbers]
        threads.share(k.loop, tuple(given), k.size, k.work)
        if k.partial is not None and k.partial[0] > 1:
            k.loop(*given, -1, 0)
        return result if r.order is None else result.transpose(r.order)
