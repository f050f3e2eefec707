"""Lowering: a row that runs on NumPy becomes the calls of NumPy that it is made of, each into memory that is given.

The row's own function runs once more, on arrays that write down what is done with them (:class:`Recorded`): there is
no second definition of a row. Views are no calls; they become :class:`Part` of what they look at. What can't be
written down (a value read by Python, fancy indexing, a function without ``out``) is :class:`Opaque`: the row stays
one call, which makes its own arrays.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import inner
from .fusion import Fusion
from .program import Line, Program, ReadGrad, Value, leaves, reference_of, replaced, written_memory

SMALL = 2**16  # bytes that may be held on to, so as not to compute them again


class Opaque(Exception):
    """What a function does that can't be written down."""


class Part(NamedTuple):
    """A view of a value's memory: bytes from its start, and the layout there."""

    value: Value
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any


@dataclass(eq=False)
class Primitive:
    """One call of NumPy that writes to memory which is there already: ``matmul(a, b, out=c)``.

    ``row`` is the line that it was a part of. ``made``: the value that begins its life here, if one does.
    ``aligned``: it reads each element before it writes there, so that its result may take an operand's place.
    """

    function: Callable[..., Any]
    text: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    row: Line
    made: Value | None = None
    aligned: bool = False
    pure = True
    results: list[Value | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def targets(self) -> tuple[Part, ...]:
        """What it writes to."""
        return (self.kwargs["out"] if "out" in self.kwargs else self.args[0],)

    def reads(self) -> Iterator[Value]:
        yield from (p.value for p in self.parts())

    def parts(self) -> list[Part]:
        """Every operand and result in memory."""
        return [*parts_in((self.args, self.kwargs))]


@dataclass(eq=False)
class Placed(Primitive):
    """A call of a kernel whose results have places: ``given`` is the memory that it asks for, in its order.

    ``args`` begin with the array module; ``placed`` are the results that are parts of what was given, by their number.
    """

    given: tuple[Part, ...] = ()
    placed: dict[int, Part] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Part, ...]:
        return self.given

    def parts(self) -> list[Part]:
        return [*parts_in((self.args, self.kwargs)), *self.given]


def into(given: tuple[Any, ...], placed: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a kernel that takes the memory it asks for from ``given``.

    Where it declines and the row answers, results that have places are copied there: ``placed`` are their numbers and places.
    """
    rest = iter(given)
    backend.PLACES.given = lambda shape, dtype: next(rest)
    try:
        made = function(*args, **kwargs)
    finally:
        backend.PLACES.given = None
    results = made if type(made) in (tuple, list) else (made,)
    for i, place in placed:
        if results[i].base is not place.base:
            np.copyto(place, results[i])
    return made


def parts_in(nest: Any) -> Iterator[Part]:
    """The parts in a nest of lists, tuples and dicts."""
    if type(nest) is Part:
        yield nest
    elif isinstance(nest, (list, tuple)):
        for x in nest:
            yield from parts_in(x)
    elif isinstance(nest, dict):
        for x in nest.values():
            yield from parts_in(x)


def whole(value: Value, array: Any) -> Part:
    """All of a value."""
    return Part(value, 0, array.shape, array.strides, array.dtype)


class Lowered(NamedTuple):
    """A program with primitives, and what its values are parts of."""

    program: Program
    parts: dict[Value, Part]
    layouts: dict[Value, Part]  # of the values that own their memory
    written: set[Value]  # the values that primitives alone write


def lowered(program: Program, array_of: Callable[[Value], Any]) -> Lowered:
    """The program with every row that can be written down as primitives."""
    parts: dict[Value, Part] = {}
    layouts: dict[Value, Part] = {}
    arrays: dict[Value, Any] = {v: array_of(v) for v in program.outside()}
    for v, a in arrays.items():
        if _bytes(a).flags.c_contiguous:
            parts[v] = layouts[v] = whole(v, a)
    lines: list[Any] = []
    number, written = itertools.count(1), set[Value]()
    last = {v: i for i, line in enumerate(program.lines) for v in line.reads()}
    outside = {*arrays}
    for i, line in enumerate(program.lines):
        lines += _lowered(line, parts, layouts, arrays, array_of, number, written)
        needed = {parts[v].value for v in parts if last.get(v, -1) > i}
        for v in [v for v in arrays if v not in needed and v not in outside]:
            del arrays[v]
    return Lowered(
        Program(lines, program.arguments, program.tensors, program.constants, program.outputs),
        parts,
        layouts,
        written,
    )


def _lowered(
    line: Any,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    array_of: Any,
    number: Iterator[int],
    written: set[Value],
) -> list[Any]:
    """A line as primitives if it can be, else itself; what its results are is entered."""
    if _may_be(line) and all(v in parts for v in line.reads()):
        try:
            write = _written if reference_of(inner(line.function)) is None else _placed
            return [*write(line, parts, layouts, arrays, number, written)]
        except Exception:  # Opaque, or what a recorded array can't do
            pass
    if isinstance(line, Fusion):
        for r in (*line.kernel.results, *line.kernel.sums):
            if r.value in line.results:
                arrays[r.value] = laid(r)
                parts[r.value] = layouts[r.value] = whole(r.value, arrays[r.value])
                written.add(r.value)
        return [line]
    for v in line.results:
        if (
            v is not None
            and not isinstance(line, ReadGrad)
            and v not in parts
            and not v.view
            and v.contiguous
        ):
            arrays[v] = array_of(v)
            parts[v] = layouts[v] = whole(v, arrays[v])
    return [line]


def laid(result: Any) -> Any:
    """An array as a loop's result has its memory."""
    made = np.zeros(result.shape, result.dtype)
    return made if result.order is None else made.transpose(result.order)


def without_repeats(lowered: Lowered) -> Lowered:
    """Of equal primitives on equal operands the first stays, as when a rule computes anew what its forward had.

    Only where that holds no memory for longer: the first result is still read later, or it is small.
    """
    program, parts, layouts, written = lowered
    lines = program.lines
    leaving = {parts[v].value for v in leaves(program) if v in parts}
    writes: dict[Value, int] = {}
    memory = written_memory(program)
    touched = {p.value for v, p in parts.items() if v.memory in memory or p.value.memory in memory}
    if not touched.isdisjoint(outside := {*program.outside()}):
        touched |= outside  # which may share memory
    last: dict[Value, int] = {}
    for i, line in enumerate(lines):
        if isinstance(line, Primitive):
            for p in line.targets:
                writes[p.value] = writes.get(p.value, 0) + 1
        for v in line.reads():
            last[parts[v].value if v in parts else v] = i
    once = lambda v: writes.get(v, 0) <= 1 and v not in touched and v not in leaving  # noqa: E731
    same: dict[Value, Value] = {}
    first: dict[Any, Value] = {}
    kept: list[Any] = []
    moved = lambda x: x._replace(value=same[x.value]) if type(x) is Part and x.value in same else x  # noqa: E731
    for i, line in enumerate(lines):
        if isinstance(line, Primitive):
            line.args, line.kwargs = _each(line.args, moved), _each(line.kwargs, moved)
            if isinstance(line, Placed):
                kept.append(line)
                continue
            began: Any = line.made
            line.made = same.get(began, began)
            (target,) = line.targets
            made = target.value
            if line.made is made and target == layouts[made] and all(once(p.value) for p in line.parts()):
                blank = lambda x: None if type(x) is Part and x.value is made else x  # noqa: E731, B023
                key = (line.text, _key(_each(line.args, blank)), _key(_each(line.kwargs, blank)), target[1:])
                old: Any = first.setdefault(key, made)
                if old is not made and (last[old] >= i or made.nbytes <= SMALL):
                    same[made] = old
                    last[old] = max(last[old], last[made])
                    continue
                first[key] = made
        kept.append(line)
    parts = {v: moved(p) for v, p in parts.items()}
    return Lowered(
        Program(kept, program.arguments, program.tensors, program.constants, program.outputs),
        parts,
        layouts,
        written,
    )


def _key(nest: Any) -> Any:
    """Equal for equal operands: arrays that aren't in the program's memory by identity, numbers by type and digits."""
    if type(nest) is dict:
        return tuple((k, _key(v)) for k, v in nest.items())
    if type(nest) in (list, tuple):
        return tuple(map(_key, nest))
    return (
        nest
        if type(nest) is Part
        else (id(nest) if isinstance(nest, np.ndarray) else (type(nest), repr(nest)))
    )


def _may_be(line: Any) -> bool:
    """Is it a row, a rule or a kernel on NumPy's arrays?"""
    return isinstance(line, Line) and line.m is np and line.pure


def _written(
    line: Line,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    number: Iterator[int],
    all_written: set[Value],
) -> list[Primitive]:
    """A line's primitives; what its results are is entered in ``parts``."""
    tape = Tape(line, number)
    for v in dict.fromkeys(parts[v].value for v in line.reads()):
        tape.know(v, arrays[v])

    def given(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        p = parts[x]
        return tape.recorded(at(arrays[p.value], p), p.value)

    args, attrs = replaced(line.args, given), replaced(line.attrs, given)
    with np.errstate(all="ignore"):
        result = line.function(Namespace(tape), *args, **attrs)
    results = list(result) if type(result) in (tuple, list) else [result]
    if len(results) != len(line.results):
        raise Opaque("its results are in another form")
    found: list[tuple[Value, Part]] = []
    for value, r in zip(line.results, results, strict=True):
        if value is None:
            continue
        if r is None or (not isinstance(r, np.ndarray) and not isinstance(r, np.generic)):
            raise Opaque("a result is no array")
        r = tape.recorded(tape.copied(np.asarray(r))) if type(r) is not Recorded else r
        part = tape.part(r)
        if part.shape != value.shape or part.dtype != value.dtype:
            raise Opaque("a result has another form")
        found.append((value, part))
    for v, part in found:
        own = tape.named(v, part)
        parts[v] = own
    all_written.update(tape.made)
    for made, array in tape.made.items():
        arrays[made], layouts[made] = array, whole(made, array)
        parts.setdefault(made, layouts[made])
    return tape.lines


def _placed(
    line: Line,
    parts: dict[Value, Part],
    layouts: dict[Value, Part],
    arrays: dict[Value, Any],
    number: Iterator[int],
    all_written: set[Value],
) -> list[Primitive]:
    """A kernel's call, its results where they are asked for; it runs once more, to see what it asks for."""
    tape, asked = Tape(line, number), list[Any]()

    def give(shape: Any, dtype: Any) -> Any:
        asked.append(plain(tape.fresh(np.empty(shape, dtype))))
        return asked[-1]

    given = lambda x: at(arrays[parts[x].value], parts[x]) if isinstance(x, Value) else x  # noqa: E731
    backend.PLACES.given = give
    try:
        with np.errstate(all="ignore"):
            made = line.function(line.m, *replaced(line.args, given), **replaced(line.attrs, given))
    finally:
        backend.PLACES.given = None
    results = made if type(made) in (tuple, list) else (made,)
    if not asked or len(results) != len(line.results):
        raise Opaque("it asks for no memory")
    placed: dict[int, Part] = {}
    for i, (v, r) in enumerate(zip(line.results, results, strict=True)):
        if v is not None and any(np.may_share_memory(a, r) for a in asked):
            placed[i] = tape.part(r)
    for i, part in placed.items():
        value: Any = line.results[i]
        parts[value] = tape.named(value, part)
        placed[i] = parts[value]
    into_memory = tuple([whole(v, a) for v, a in tape.made.items()])
    all_written.update(tape.made)
    for v, a in tape.made.items():
        arrays[v], layouts[v] = a, whole(v, a)
        parts.setdefault(v, layouts[v])
    rest = [None if i in placed else v for i, v in enumerate(line.results)]
    for v, r in zip(rest, map(np.asarray, results), strict=True):
        if v is not None and v not in parts and not v.view and v.contiguous and r.flags.c_contiguous:
            arrays[v], parts[v] = r, whole(v, r)
            layouts[v] = parts[v]
    args = tuple(replaced(line.args, lambda x: parts[x] if isinstance(x, Value) else x))
    kwargs = dict(replaced(line.attrs, lambda x: parts[x] if isinstance(x, Value) else x))
    return [
        Placed(line.function, line.name, args, kwargs, line, results=rest, given=into_memory, placed=placed)
    ]


def at(array: Any, part: Part) -> Any:
    """The part of an array."""
    if part == whole(part.value, array):
        return array
    return np.ndarray(part.shape, part.dtype, _bytes(array), part.offset, part.strides)


def _bytes(array: Any) -> Any:
    """An array's memory, in the order that it has there."""
    return array.transpose(sorted(range(array.ndim), key=lambda i: -array.strides[i]))


class Tape:
    """What is done with recorded arrays: the primitives, and the memory that they know."""

    def __init__(self, line: Line, number: Iterator[int]) -> None:
        self.line, self.lines, self.number = line, list[Primitive](), number
        self.made: dict[Value, Any] = {}  # new values
        self.known: list[tuple[int, int, Value, Any]] = []  # from where to where in memory

    def know(self, value: Value, array: Any) -> None:
        start = array.__array_interface__["data"][0]
        self.known.append((start, start + array.nbytes, value, array))

    def recorded(self, array: Any, root: Value | None = None) -> Recorded:
        r: Recorded = array.view(Recorded)
        r.tape, r.root = self, root
        return r

    def part(self, array: Any) -> Part:
        """What memory an array is."""
        start = array.__array_interface__["data"][0]
        root = getattr(array, "root", None)
        found = [k for k in self.known if k[0] <= start < max(k[1], k[0] + 1) and root in (None, k[2])]
        if not found and root is not None:
            found = [k for k in self.known if k[0] <= start < max(k[1], k[0] + 1)]
        if len(found) != 1 or (array.size and start + _extent(array) > found[0][1]):
            raise Opaque("memory that nothing is known of")
        return Part(found[0][2], start - found[0][0], array.shape, array.strides, array.dtype)

    def fresh(self, array: Any) -> Recorded:
        """A new value with this array's layout."""
        array = np.asarray(array)
        if array.base is not None or not _bytes(array).flags.c_contiguous:
            array = np.empty_like(array)
        value = Value(f"t{next(self.number)}", array.shape, array.dtype, array.nbytes, id(array), False,
                      array.flags.c_contiguous)  # fmt: skip
        self.made[value] = array
        self.know(value, array)
        return self.recorded(array, value)

    def write(
        self, function: Any, text: str, args: Any, kwargs: Any, made: Any = None, aligned: bool = False
    ) -> None:
        value = None if made is None else made.root
        self.lines.append(
            Primitive(function, text, self.operands(args), self.operands(kwargs), self.line, value, aligned)
        )

    def operands(self, nest: Any) -> Any:
        def operand(x: Any) -> Any:
            return self.part(x) if type(x) is Recorded else x  # other arrays were made of shapes alone

        return replaced(nest, operand)

    def copied(self, array: Any) -> Any:
        """A copy, written down."""
        out = self.fresh(np.empty_like(np.asarray(array)))
        plain(out)[...] = plain(array)
        self.write(np.copyto, "copyto", (out, array), {}, out)
        return out

    def named(self, value: Value, part: Part) -> Part:
        """A result that is all of a new value takes its place, so that the source has the program's names."""
        old, array = part.value, self.made.get(part.value)
        if array is None or part != whole(old, array) or any(v is value for v in self.made):
            return part
        renamed = lambda x: x._replace(value=value) if type(x) is Part and x.value is old else x  # noqa: E731
        for p in self.lines:
            p.args, p.kwargs = _each(p.args, renamed), _each(p.kwargs, renamed)
            p.made = value if p.made is old else p.made
        self.made = {value if v is old else v: a for v, a in self.made.items()}
        return part._replace(value=value)


def _each(nest: Any, change: Callable[[Any], Any]) -> Any:
    if type(nest) is dict:
        return {k: _each(v, change) for k, v in nest.items()}
    return type(nest)(_each(v, change) for v in nest) if type(nest) in (list, tuple) else change(nest)


def _extent(array: Any) -> int:
    if any(s < 0 for s in array.strides):
        raise Opaque("it runs backwards")
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize


def _shares(a: Any, b: Any) -> bool:
    return np.may_share_memory(plain(a), plain(b))


def plain(x: Any) -> Any:
    """A recorded array as NumPy's own, everything else as it is."""
    if type(x) is Recorded:
        return x.view(np.ndarray)
    return type(x)([plain(y) for y in x]) if type(x) in (list, tuple) else x


class Recorded(np.ndarray):
    """An array that writes down what is done with it."""

    tape: Tape
    root: Value | None

    def __array_finalize__(self, of: Any) -> None:
        self.tape, self.root = getattr(of, "tape", None), getattr(of, "root", None)  # type: ignore[assignment]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        tape = next(x.tape for x in (*inputs, *kwargs.get("out", ())) if type(x) is Recorded)
        out = kwargs.pop("out", None)
        kwargs = {k: v for k, v in kwargs.items() if (k, v) not in _DEFAULTS}
        if (
            method not in ("__call__", "reduce", "accumulate")
            or ufunc.nout != 1
            or kwargs.get("where", True) is not True
        ):
            raise Opaque(f"{ufunc.__name__}.{method}")
        call = ufunc if method == "__call__" else getattr(ufunc, method)
        if out is not None and tape.part(out[0]).value not in tape.made:
            raise Opaque("it writes to what it was given")
        result = call(
            *map(plain, inputs),
            **{k: plain(v) for k, v in kwargs.items()},
            **({} if out is None else {"out": plain(out[0])}),
        )
        made = tape.fresh(result) if out is None else None
        target = made if out is None else out[0]
        if made is not None and (
            plain(made).strides != np.asarray(result).strides or np.asarray(result).dtype.hasobject
        ):
            raise Opaque("a result of another layout")
        if made is not None and plain(made) is not result:
            plain(made)[...] = result
        text = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        tape.write(call, text, inputs, {**kwargs, "out": target}, made,
                   aligned=method == "__call__" and ufunc.signature is None)  # fmt: skip
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        tape = next(_recorded((args, kwargs))).tape
        if function is np.where and len(args) == 3 and not kwargs:
            condition, a, b = args
            made = tape.fresh(np.where(plain(condition), plain(a), plain(b)))
            tape.write(np.copyto, "copyto", (made, b), {}, made)
            tape.write(np.copyto, "copyto", (made, a), {"where": condition})
            return made
        if function is np.concatenate and "out" not in kwargs:
            made = tape.fresh(np.concatenate(*map(plain, args), **kwargs))
            tape.write(np.concatenate, "concatenate", args, {**kwargs, "out": made}, made)
            return made
        if function in (np.empty_like, np.zeros_like, np.ones_like):
            made = tape.fresh(function(plain(args[0]), *args[1:], **kwargs))
            if function is not np.empty_like:
                tape.write(np.copyto, "copyto", (made, 0 if function is np.zeros_like else 1), {}, made)
            return made
        return tape_result(tape, super().__array_function__(function, types, args, kwargs))

    # ---- methods -----------------------------------------------------------------------------------------

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True
    ) -> Any:
        if not copy and self.dtype == dtype:
            return self
        made = self.tape.fresh(plain(self).astype(dtype, order))
        self.tape.write(np.copyto, "copyto", (made, self), {"casting": "unsafe"}, made)
        return made

    def copy(self, order: Any = "C") -> Any:
        made = self.tape.fresh(plain(self).copy(order))
        self.tape.write(np.copyto, "copyto", (made, self), {}, made)
        return made

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        found = super().reshape(*shape, **kwargs)
        if kwargs or _shares(found, self) or not self.size:
            return found
        return np.ndarray.reshape(self.copy(), *shape)

    def ravel(self, *args: Any) -> Any:
        return self.reshape(-1) if not args else self._refuse()

    def flatten(self, *args: Any) -> Any:
        return self.copy().reshape(-1) if not args else self._refuse()

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if type(found) is not Recorded or not _shares(found, self):
            return self._refuse()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        place = self[key] if key is not ... else self
        if self.tape.part(self).value not in self.tape.made:
            self._refuse()
        plain(place)[...] = plain(value)
        self.tape.write(np.copyto, "copyto", (place, value), {})

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))])

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise Opaque("a value is read, or elements are picked by index")


_WRITTEN = {"shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags", "T", "mT", "base", "view",
            "transpose", "swapaxes", "squeeze", "sum", "mean", "min", "max", "prod", "any", "all", "clip",
            "real", "data", "ctypes", "device", "to_device"}  # fmt: skip  # views, shapes, and what ends in a ufunc
for _name in (
    *dir(np.ndarray),
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "__complex__",
    "__contains__",
):
    _special = _name.startswith("__") and _name not in ("__bool__", "__int__", "__float__", "__index__", "__complex__",
                                                        "__contains__", "__format__", "__array__", "__dlpack__",
                                                        "__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__")  # fmt: skip
    if not _special and _name not in _WRITTEN and _name not in vars(Recorded):
        setattr(Recorded, _name, Recorded._refuse)


def _recorded(nest: Any) -> Iterator[Recorded]:
    if type(nest) is Recorded:
        yield nest
    elif isinstance(nest, (list, tuple)):
        for x in nest:
            yield from _recorded(x)
    elif isinstance(nest, dict):
        for x in nest.values():
            yield from _recorded(x)


def tape_result(tape: Tape, result: Any) -> Any:
    """What a function of NumPy made of recorded arrays: views of them, or what ufuncs wrote."""
    if isinstance(result, (tuple, list)):
        return type(result)(tape_result(tape, r) for r in result)
    if not isinstance(result, np.ndarray):
        raise Opaque("a number is made of an array's values")
    made = result if type(result) is Recorded else tape.recorded(result)
    tape.part(made)
    return made


class Namespace:
    """NumPy as a row sees it while it is written down."""

    def __init__(self, tape: Tape, module: Any = np) -> None:
        self.tape, self.module = tape, module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if isinstance(found, types.ModuleType):
            return Namespace(self.tape, found)
        if isinstance(found, (np.ufunc, type)) or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            if found in _SHAPES:
                return result
            if next(_recorded((args, kwargs)), None) is not None:
                return tape_result(self.tape, result)
            return self._constant(name, result, args, kwargs)

        return call

    def _constant(self, name: str, made: Any, args: Any, kwargs: Any) -> Any:
        """An array that is made of shapes alone: memory to write to, or the same at every replay and never written to."""
        if not isinstance(made, np.ndarray):
            return made
        if name not in _FILLS:
            made = made.copy()
            made.flags.writeable = False
            return made
        fill = (
            kwargs.get("fill_value", args[1] if len(args) > 1 else None) if name == "full" else _FILLS[name]
        )
        array = self.tape.fresh(made)
        if fill is not None:
            self.tape.write(np.copyto, "copyto", (array, fill), {}, array)
        return array

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        if type(x) is not Recorded:
            if next(_recorded(x), None) is not None:
                raise Opaque("an array is made of several")
            return np.asarray(x, dtype)
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)

    def array(self, x: Any, *, copy: bool = True, order: Any = "K") -> Any:
        return x.copy(order) if type(x) is Recorded and copy else self._constant("array", np.array(x), (), {})

    def ascontiguousarray(self, x: Any) -> Any:
        if type(x) is not Recorded:
            return np.ascontiguousarray(x)
        return x if x.flags.c_contiguous and x.ndim else x.copy() if x.ndim else x.reshape(1)


_DEFAULTS = (("keepdims", False), ("where", True), ("dtype", None))
_FILLS = {"empty": None, "zeros": 0, "ones": 1, "full": None}
_SHAPES = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.broadcast_shapes, np.iscomplexobj)
