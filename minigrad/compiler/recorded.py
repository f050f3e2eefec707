"""Arrays that write down what is done with them, through NumPy's protocols (``__array_ufunc__``, ``__array_function__``).

What can't be written down raises :class:`Opaque`. Where they write to is in ``tape.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .nests import things_in
from .program import Value

if TYPE_CHECKING:
    from .tape import Tape


class Opaque(Exception):
    """What a function does that can't be written down."""


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
        if kwargs.get("order", "C") != "C" or _shares(found, self) or not self.size:
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


def plain(x: Any) -> Any:
    """A recorded array as NumPy's own, everything else as it is."""
    if type(x) is Recorded:
        return x.view(np.ndarray)
    return type(x)([plain(y) for y in x]) if type(x) in (list, tuple) else x


def _shares(a: Any, b: Any) -> bool:
    return np.may_share_memory(plain(a), plain(b))


_DEFAULTS = (("keepdims", False), ("where", True), ("dtype", None))
