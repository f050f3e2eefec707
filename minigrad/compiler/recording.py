"""Arrays that write down what is done with them, so that a row's own function tells what calls of NumPy it is made of.

A :class:`Tape` has the primitives of one row; :class:`Recorded` arrays write to it through NumPy's protocols
(``__array_ufunc__``, ``__array_function__``), and :class:`Namespace` is NumPy as the row sees it meanwhile. Whose
memory an array is shows from its address; memory that nobody knows is :class:`Opaque`.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from .primitives import Part, Primitive, each, in_memory_order, whole
from .program import Line, Value, replaced, things_in


class Opaque(Exception):
    """What a function does that can't be written down."""


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
        if array.base is not None or not in_memory_order(array).flags.c_contiguous:
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
            p.args, p.kwargs = each(p.args, renamed), each(p.kwargs, renamed)
            p.made = value if p.made is old else p.made
        self.made = {value if v is old else v: a for v, a in self.made.items()}
        return part._replace(value=value)


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
        tape = next(things_in((args, kwargs), Recorded)).tape
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
_READ = {"__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__format__", "__array__",
         "__dlpack__", "__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__"}  # fmt: skip  # of a value, by Python
for _name in {*dir(np.ndarray), *_READ}:
    if (
        (not _name.startswith("__") or _name in _READ)
        and _name not in _WRITTEN
        and _name not in vars(Recorded)
    ):
        setattr(Recorded, _name, Recorded._refuse)


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
            if next(things_in((args, kwargs), Recorded), None) is not None:
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
            if next(things_in(x, Recorded), None) is not None:
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
