"""Programs that keep the batch size symbolic: two traces of different sizes side by side are one program of ``n``.

What was written down at the two sizes must be the same but for numbers: whole ones that are ``a·n + b``, and ``k / n``
or one over such a number. The program has those in their places and reads ``n`` from an argument's shape. A trace
doesn't see Python that branches on the size, so the first call of every other size is a trace as well, and must be
what the program is at that size, line by line; if it isn't, that size has a program of its own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..tensor import Size
from . import LIMIT, Replay
from .emit import Source
from .guards import form, sized
from .identity import never
from .names import value_of
from .program import HostLine, Line, Program, ReadGrad, SetGrad, Value, replaced, written_memory

SIZE = "n"  # what the source calls it
ALONE = 32  # sizes that have a planned program each; others are replayed by that of all sizes


class Differs(Exception):
    """Two traces are not one program."""


@dataclass(frozen=True)
class Number:
    """``times · n + plus``, or ``over`` divided by that; ``kind`` is its type in Python."""

    times: int
    plus: int
    over: int | None = None
    kind: type = int

    def at(self, n: int) -> Any:
        whole = self.times * n + self.plus
        return self.kind(whole) if self.over is None else self.over / whole

    def text(self) -> str:
        product = SIZE if self.times == 1 else f"{self.times} * {SIZE}"
        whole = product if not self.plus else f"{product} {'+' if self.plus > 0 else '-'} {abs(self.plus)}"
        if self.over is None:
            return whole if self.kind is int else f"float({whole})"
        return f"{self.over} / {whole if whole == SIZE else f'({whole})'}"


class Filled(NamedTuple):
    """A constant array of one number, whose shape or number depends on the batch size; ``like`` is one of them."""

    shape: tuple[Any, ...]
    number: Any
    like: Any

    @property
    def dtype(self) -> Any:
        return self.like.dtype

    def line(self, value: Value) -> Line:
        """Makes it."""
        m = backend.module_of(self.like).m
        return Line(filled, m, (self.shape, self.number), {"dtype": self.dtype}, [value])


def filled(m: Any, shape: tuple[int, ...], number: Any, dtype: Any) -> Any:
    """An array of one number."""
    return m.full(shape, number, dtype=dtype)


def at(nest: Any, n: int) -> Any:
    """A nest with its numbers at a batch size."""

    def number(x: Any) -> Any:
        if isinstance(x, slice):
            return slice(*at((x.start, x.stop, x.step), n))
        return x.at(n) if type(x) is Number else x

    return replaced(nest, number)


# ---- two traces side by side -------------------------------------------------------------------------------


def same(x: Any, y: Any) -> bool:
    """The same number: 1 is not 1.0, and 0.0 not -0.0."""
    return type(x) is type(y) and repr(x) == repr(y)


def between(n1: int, n2: int) -> Callable[..., Any]:
    """What two numbers are of the batch size, that were seen at n1 and n2."""

    def whole(x: int, y: int) -> tuple[int, int]:
        times, rest = divmod(y - x, n2 - n1)
        if rest:
            raise Differs
        return times, x - times * n1

    def number(x: Any, y: Any, rounded: Callable[[Any], Any] = float) -> Any:
        if same(x, y):
            return y
        if type(x) is not type(y):
            raise Differs
        if type(x) is int:
            return Number(*whole(x, y))
        if not (np.isfinite(x) and np.isfinite(y) and x and y):
            raise Differs
        if x.is_integer() and y.is_integer():
            return Number(*whole(int(x), int(y)), kind=float)
        found = list[Number]()
        with contextlib.suppress(OverflowError, Differs):
            found.append(Number(1, 0, round(x * n1), float))
            found.append(Number(*whole(round(1 / x), round(1 / y)), 1, float))
        for f in found:
            if f.times * n1 + f.plus and f.times * n2 + f.plus:
                if rounded(f.at(n1)) == rounded(x) and rounded(f.at(n2)) == rounded(y):
                    return f
        raise Differs

    return number


def exactly(n: int) -> Callable[..., Any]:
    """Is a number of a program, at a batch size, the one that was seen there?"""

    def number(x: Any, y: Any, rounded: Callable[[Any], Any] | None = None) -> Any:
        try:
            value = x.at(n) if type(x) is Number else x
        except (ZeroDivisionError, OverflowError):
            raise Differs from None
        if same(value, y) or (
            rounded is not None and type(value) is type(y) and rounded(value) == rounded(y)
        ):
            return y
        raise Differs

    return number


class Pair:
    """A program and another that is to be the same: every part that is given to it is, or :class:`Differs` is raised.

    ``number(x, y)`` says what a number of one and a number of the other are together. Programs that are paired one
    after the other, forward and backward, share their values.
    """

    def __init__(self, number: Callable[..., Any]) -> None:
        self.number = number
        self.values: dict[Value, Value] = {}
        self.back: dict[Value, Value] = {}

    def value(self, x: Any, y: Any) -> None:
        if x is None and y is None:
            return
        alike = type(x) is type(y) is Value and (x.dtype, x.ndim) == (y.dtype, y.ndim)
        if not alike or self.values.setdefault(x, y) is not y or self.back.setdefault(y, x) is not x:
            raise Differs

    def each(self, xs: Any, ys: Any) -> None:
        if len(xs) != len(ys):
            raise Differs
        for x, y in zip(xs, ys, strict=True):
            self.value(x, y)

    def part(self, x: Any, y: Any) -> Any:
        """What an argument of one call and of the other are together."""
        if type(x) is Number or (type(x) in (int, float) and type(y) in (int, float)):
            return self.number(x, y)
        if isinstance(x, Value):
            self.value(x, y)
            return y
        if type(x) is tuple and type(y) is Size:  # what was a Size, with numbers in it
            return tuple(self.parts(x, y))
        if x is y:
            return y
        if type(x) is not type(y):
            raise Differs
        if isinstance(x, dict):
            if list(x) != list(y):
                raise Differs
            return {k: self.part(v, y[k]) for k, v in x.items()}
        if type(x) in (list, tuple, Size):
            made = self.parts(x, y)
            return made if type(x) is list else tuple(made)
        if isinstance(x, slice):
            return slice(*self.parts((x.start, x.stop, x.step), (y.start, y.stop, y.step)))
        if not equal(x, y):
            raise Differs
        return y

    def parts(self, xs: Any, ys: Any) -> list[Any]:
        if len(xs) != len(ys):
            raise Differs
        return [self.part(x, y) for x, y in zip(xs, ys, strict=True)]

    def line(self, x: Any, y: Any) -> Any:
        if type(x) is not type(y):
            raise Differs
        made = y
        if isinstance(x, (Line, HostLine)) and not equal(x.function, y.function):
            raise Differs
        if isinstance(x, Line):
            if x.m is not y.m:
                raise Differs
            made = Line(y.function, y.m, self.part(x.args, y.args), self.part(x.attrs, y.attrs), y.results)
        elif isinstance(x, HostLine):
            made = HostLine(y.function, self.part(x.args, y.args), self.part(x.kwargs, y.kwargs), y.results)
        elif isinstance(x, (ReadGrad, SetGrad)):
            leaf = x.leaf == y.leaf if isinstance(x.leaf, int) else x.leaf is y.leaf
            if not leaf or getattr(x, "own", None) != getattr(y, "own", None):
                raise Differs
            if isinstance(x, SetGrad):
                self.value(x.value, y.value)  # type: ignore[attr-defined]
        elif x is not y:
            raise Differs
        self.each(x.results, y.results)
        return made

    def program(self, x: Program, y: Program) -> Program:
        """The program of both, over the values of the second."""
        self.each([*x.arguments], [*y.arguments])
        self.each([*x.tensors], [*y.tensors])
        self.each([*x.constants], [*y.constants])
        known = [*x.arguments.values()] == [*y.arguments.values()]
        if not known or any(a is not b for a, b in zip(x.tensors.values(), y.tensors.values(), strict=True)):
            raise Differs
        constants = {v: self.constant(x.constants[self.back[v]], array) for v, array in y.constants.items()}
        if len(x.lines) != len(y.lines):
            raise Differs
        lines = [self.line(a, b) for a, b in zip(x.lines, y.lines, strict=True)]
        self.each(x.outputs, y.outputs)
        written = written_memory(x), written_memory(y)
        if any((self.back[v].memory in written[0]) != (v.memory in written[1]) for v in constants):
            raise Differs  # each call has a copy of its own, or all share one
        return Program(lines, y.arguments, y.tensors, constants, y.outputs)

    def constant(self, x: Any, y: Any) -> Any:
        """Two constant arrays, equal or of one number each."""
        if isinstance(y, Filled) or backend.module_of(y) is not backend.module_of(getattr(x, "like", x)):
            raise Differs
        host = backend.module_of(y).to_numpy
        if not isinstance(x, Filled) and equal(host(x), host(y)):
            return y
        first, second = uniform(x), uniform(y)
        if first is None or second is None or x.dtype != y.dtype:
            raise Differs
        shape, number = tuple(self.parts(first[0], second[0])), self.part
        if isinstance(second[1], float):
            number = functools.partial(self.number, rounded=second[2].type)
        return Filled(shape, number(first[1], second[1]), y)


def uniform(x: Any) -> tuple[Any, Any, Any] | None:
    """The shape, the number and the dtype of a constant that is one number throughout; None for any other."""
    if isinstance(x, Filled):
        return x.shape, x.number, x.dtype
    x = backend.module_of(x).to_numpy(x)
    one = x.reshape(-1)[:1]
    if x.dtype.kind not in "biuf" or not x.size or one.tobytes() * x.size != x.tobytes():
        return None
    return x.shape, one.item(), x.dtype


def equal(x: Any, y: Any, depth: int = 9) -> bool:
    """Do two objects do the same? Functions that are made anew in every call do if their code and what they hold are the same."""
    if x is y:
        return True
    if type(x) is not type(y) or not depth:
        return False
    if isinstance(x, functools.partial):
        return equal((x.func, x.args, x.keywords), (y.func, y.args, y.keywords), depth - 1)
    if isinstance(x, types.FunctionType):
        return x.__code__ is y.__code__ and equal(_holds(x), _holds(y), depth - 1)
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(equal(a, b, depth - 1) for a, b in zip(x, y, strict=True))
    if isinstance(x, dict):
        return list(x) == list(y) and all(equal(v, y[k], depth - 1) for k, v in x.items())
    if isinstance(x, np.ndarray):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(x, (int, float, complex, np.generic)):
        return same(x, y)
    return isinstance(x, _COMPARED) and bool(x == y)


_COMPARED = (str, bytes, np.dtype, backend.device, types.MethodType, types.BuiltinMethodType)


def _holds(function: types.FunctionType) -> Any:
    cells = [value_of(c, "") for c in function.__closure__ or ()]
    return cells, function.__defaults__, function.__kwdefaults__


# ---- replays -----------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """What of a replay has numbers in it."""

    forward: Program
    backward: Program | None
    roots: list[Any]  # the shapes of the results that backward begins at
    views: list[Any]  # how results are views of what they share memory with


def parts_of(replay: Any) -> Parts:
    if isinstance(replay, Dynamic):
        return replay.parts
    backward, views = replay.backward, [share[3] for share in replay.outputs.shares]
    if backward is None:
        return Parts(replay.unblocked, None, [], views)
    return Parts(replay.unblocked, backward.unblocked, [shape for _, shape, _ in backward.roots], views)


def together(number: Callable[..., Any], x: Any, y: Any, arguments: list[Any]) -> Parts:
    """Two replays as one; the second is of a call with these arguments. Raises :class:`Differs`."""
    if not alike(x, y, arguments):
        raise Differs
    pair, a, b = Pair(number), parts_of(x), parts_of(y)
    with np.errstate(all="ignore"):  # a number of the program may be too large at this size
        forward = pair.program(a.forward, b.forward)
        backward = None
        if a.backward is not None and b.backward is not None:
            pair.each(x.backward.saved, y.backward.saved)
            backward = pair.program(a.backward, b.backward)
    return Parts(forward, backward, pair.part(a.roots, b.roots), pair.part(a.views, b.views))


def alike(x: Any, y: Any, arguments: list[Any]) -> bool:
    """Is all that has no numbers in it the same: what is returned, written to and relied on?"""
    outs = [object() for _ in x.present]

    def one(r: Any) -> tuple[Any, list[Any]]:
        """What compares, and what must be the same objects."""
        o, backward = r.outputs, r.backward
        built = r.rebuild([*range(len(r.present))])
        facts = [
            r.present, form(built), built, o.first, o.retained, o.flags, [i for i, _ in r.ended], [n for _, n in r.bumps],
            [(i, is_view) for i, _, is_view, _ in o.shares], [f is None for f in o.outside], backward is None,
        ]  # fmt: skip
        found = [f(arguments) for f, _ in r.bumps] + [f(arguments, outs) for _, f, _, _ in o.shares]
        found += [f(arguments) for f in o.outside if f is not None]
        if backward is not None:
            facts += [backward.watched, backward.keeps, *[(i, d) for i, _, d in backward.roots]]
            found += [f(arguments) for f in (*backward.wanted, *backward.versions)] + [backward.module]
        return facts, found

    (facts, found), (others, objects) = one(x), one(y)
    return (
        facts == others
        and len(found) == len(objects)
        and all(a is b for a, b in zip(found, objects, strict=True))
        and x.guards.alike(y.guards, arguments)
        and all(r.backward is None or r.backward.failure is None for r in (x, y))
    )


class Sized(Source):
    """The text of a program of a batch size: the length of ``given``, or an argument itself."""

    def __init__(self, program: Program, title: str, given: str = "") -> None:
        self.used = False
        made = [c.line(v) for v, c in program.constants.items() if isinstance(c, Filled)]
        constants = {v: c for v, c in program.constants.items() if not isinstance(c, Filled)}
        program = Program(
            [*made, *program.lines], program.arguments, program.tensors, constants, program.outputs
        )
        super().__init__(program, title)
        if given and self.used:
            self.lines.insert(1, f"    {SIZE} = {given}.shape[0]")
            self._marks = {i + 1: name for i, name in self._marks.items()}
            self.text = "\n".join(self.lines) + "\n"

    def _text(self, x: Any) -> str:
        if type(x) is Number:
            self.used = True
            return x.text()
        if isinstance(x, slice) and Number in map(type, (x.start, x.stop, x.step)):
            return f"slice({', '.join(map(self._text, (x.start, x.stop, x.step)))})"
        return super()._text(x)

    def _free(self, wanted: str) -> str:
        self._taken.add(SIZE)
        return super()._free(wanted)


class Unplanned:
    """A program whose arrays are made anew in every call: how large they are depends on the batch size."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.anew = source.function()

    def __call__(self, *arrays: Any) -> Any:
        return self.anew(*arrays)

    def timed(self, seconds: dict[str, float]) -> Any:
        """The program, which adds what its lines take to ``seconds``."""
        made: Any = self.source.function(None, seconds)
        made.anew = made
        return made


Firsts = tuple[int | None, ...]  # the first dimensions of a call's tensors


def batch_of(before: Firsts, now: Firsts) -> frozenset[int] | None:
    """The arguments along whose first dimension the batch is, if no other differs in two calls. A size of 1 is broadcast."""
    batch = frozenset(i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
    found: set[Any] = {(before[i], now[i]) for i in batch}
    return batch if len(found) == 1 and min(*found.pop()) > 1 else None


class Dynamic(Replay):
    """A replay of many batch sizes: of ``sizes``, which are known to be this program.

    Its arrays are made anew in every call, since how large they are depends on the size. A size that comes again is
    replayed by what was traced of it, planned: ``alone``. These share the memory of what leaves them.
    """

    same = staticmethod(never)

    def __init__(
        self, first: Replay, before: Firsts, second: Replay, now: Firsts, arguments: list[Any], title: str
    ) -> None:
        batch: Any = batch_of(before, now)
        self.place = min(batch)
        sizes: Any = before[self.place], now[self.place]
        parts = together(between(*sizes), first, second, arguments)
        vars(self).update(vars(second))
        self.parts, self.batch, self.sizes, self.kept = parts, batch, set(sizes), first.kept
        self.alone: OrderedDict[int, Replay] = (
            OrderedDict()
        )  # the traces of sizes, planned when these come again
        self.others = tuple(None if i in batch else x for i, x in enumerate(now))
        self.seconds = {}
        x = next(v for v, i in parts.forward.arguments.items() if i == self.place)
        source = Sized(parts.forward, title, x.name)
        self.planned = self.run = Unplanned(source)
        self.places = source.places
        if parts.backward is not None:
            given = {**parts.backward.arguments, Value(SIZE, (), np.dtype(int), 8, -1, False, True): -1}
            program = Program(
                parts.backward.lines, given, {}, parts.backward.constants, parts.backward.outputs
            )
            backward: Any = copy.copy(second.backward)
            backward.run = Unplanned(Sized(program, f"{title}_gradient"))
            backward.seeds = []
            self.backward = backward
        self.seen(second, sizes[1])

    def size(self, firsts: Firsts) -> int | None:
        """The batch size of a call, if it is one of this program's."""
        n = firsts[self.place]
        fits = all(
            a == (n if i in self.batch else b)
            for i, (a, b) in enumerate(zip(firsts, self.others, strict=True))
        )
        return n if fits and n is not None and n > 1 else None

    def takes(self, replay: Replay, n: int, arguments: list[Any]) -> bool:
        """Is a call that was traced at a batch size this program? Then it is replayed by it from now on."""
        try:
            together(exactly(n), self, replay, arguments)
        except Differs:
            return False
        self.seen(replay, n)
        return True

    def seen(self, replay: Replay, n: int) -> None:
        """The last call that was traced is what the report is about."""
        self.sizes.add(n)
        self.about = replay.about = f" at batch size {n}"
        self.program = replay.unblocked
        if self.backward is not None and replay.backward is not None:
            self.backward.program = replay.backward.unblocked
            replay.backward.seeds = []
        waiting = [k for k, r in self.alone.items() if r.run is None]
        if len(self.alone) < ALONE or waiting:
            if len(self.alone) == ALONE:
                del self.alone[waiting[0]]
            self.alone[n], replay.kept = replay, self.kept

    def given(self, arrays: list[Any], arguments: list[Any]) -> Any:
        n = arguments[self.place]._array.shape[0]
        made = copy.copy(self)
        made.outputs = copy.copy(self.outputs)
        made.outputs.shares = [
            (i, find, is_view, views)
            for (i, find, is_view, _), views in zip(self.outputs.shares, at(self.parts.views, n), strict=True)
        ]
        if self.backward is not None:
            made.backward = copy.copy(self.backward)
            made.backward.sizes = (n,)
            made.backward.roots = [
                (i, shape, dtype)
                for (i, _, dtype), shape in zip(self.backward.roots, at(self.parts.roots, n), strict=True)
            ]
        return Replay.given(made, arrays, arguments)


class Sizes:
    """What a compiled function knows of batch sizes: programs of many, and of one that may become programs of many."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, tuple[list[Any], list[Dynamic]]] = OrderedDict()

    def __iter__(self) -> Any:
        return iter([d for _, dynamic in self._known.values() for d in dynamic])

    def replay(self, key: Any, arguments: list[Any]) -> Replay | None:
        """The program of this call, if one is known to be."""
        key, firsts = sized(key)
        for d in self._known.get(key, ((), ()))[1]:
            n: Any = d.size(firsts)
            replay = d.alone.get(n, d)
            if n in d.sizes and replay.guards.hold(arguments):
                return replay
        return None

    def replays(self) -> list[Replay]:
        """All that are kept here."""
        return [r for d in self for r in (d, *d.alone.values())]

    def candidates(self, key: Any, arguments: list[Any]) -> list[tuple[Any, Firsts]]:
        """Before a call is traced: what may turn out to be its program, or the other half of it."""
        key, firsts = sized(key)
        single, many = self._known.get(key, ((), ()))
        found = [(d, firsts) for d in many if d.size(firsts) is not None]
        found += [
            (r, before)
            for ref, before in single
            if (r := ref()) is not None and batch_of(before, firsts) is not None
        ]
        return [(r, before) for r, before in found if r.guards.hold(arguments)]

    def fitting(
        self, candidates: Any, replay: Replay, key: Any, arguments: list[Any], title: str
    ) -> Dynamic | None:
        """The program of many sizes that a call turned out to be."""
        key, firsts = sized(key)
        for r, before in candidates:
            if isinstance(r, Dynamic):
                n: Any = r.size(firsts)
                if r.takes(replay, n, arguments):
                    return r
                continue
            try:
                made = Dynamic(r, before, replay, firsts, arguments, title)
            except Differs:
                continue
            single, many = self._known[key]
            single[:] = [(ref, b) for ref, b in single if ref() not in (None, r)]
            many.append(made)
            del many[:-LIMIT]
            return made
        return None

    def add(self, key: Any, replay: Replay) -> None:
        """A call of one size has been traced."""
        key, firsts = sized(key)
        single, _ = self._known.setdefault(key, ([], []))
        single.append((weakref.ref(replay), firsts))
        del single[:-LIMIT]
        self._known.move_to_end(key)
        while len(self._known) > LIMIT:
            self._known.popitem(last=False)
