"""NumPy as a row sees it while it is written down: functions of recorded arrays are, arrays made of shapes alone are memory."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from .nests import things_in
from .recorded import Opaque, Recorded, tape_result
from .tape import Tape


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


_FILLS = {"empty": None, "zeros": 0, "ones": 1, "full": None}


_SHAPES = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.broadcast_shapes, np.iscomplexobj)
