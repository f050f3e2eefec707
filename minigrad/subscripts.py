"""What ``x[index]`` and ``x[index] = value`` mean, as PyTorch reads them: a basic step, then an advanced one.

Ints, slices, None and Ellipsis are taken first and make a view; masks and integer arrays then pick from it.
(NumPy takes ints together with arrays, which puts the picked dimensions elsewhere.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend, dtypes, errors, inplace
from .autograd import Variable, apply, run, wrap
from .op import OPS


def read(t: Any, index: Any) -> Any:
    """``t[index]``: a view where the index is basic, a copy where it isn't."""
    basic, advanced = _steps(index)
    try:
        if basic is not None:
            t = apply(OPS["getitem"], (t,), {"index": basic})
        return t if advanced is None else apply(OPS["getitem"], (t,), {"index": advanced})
    except IndexError as e:
        raise _refused(t, index, e) from None


def write(t: Any, index: Any, value: Any) -> None:
    """``t[index] = value``, in t's memory and dtype, with history."""
    inplace.check_writable(t, "setitem")
    basic, advanced = _steps(index)
    if not isinstance(value, Variable):
        value = _value(t, value)
    try:
        part = t if basic is None else apply(OPS["getitem"], (t,), {"index": basic})
        if advanced is None:
            result = _assigned(part, value)
        else:
            value = value if value.dtype is t.dtype else value.to(t.dtype)
            result = apply(OPS["setitem"], (part, value), {"index": advanced, "accumulate": False})
    except IndexError as e:
        raise _refused(t, index, e) from None
    inplace.write(part, result, "setitem")


def _value(t: Any, value: Any) -> Any:
    """A number, sequence or array as a tensor that can be written into t."""
    if isinstance(value, (bool, int, float)):
        half = (
            t.dtype.category == 2 and t.dtype.itemsize == 2
        )  # as PyTorch, only here do halves overflow to ∞
        value = dtypes.fitted("setitem", value, dtypes.float32 if half else t.dtype)
        with np.errstate(over="ignore"):
            return wrap(backend.module_of(t._array).m.asarray(value, dtype=t._array.dtype))
    from .tensor import as_tensor

    return as_tensor(value, dtype=None if isinstance(value, np.ndarray) else t.dtype, device=t.device)


def _steps(index: Any) -> tuple[Any, Any]:
    """The index as a basic one and an advanced one, in arrays; either may be None."""
    parts = [_part(p) for p in index] if isinstance(index, tuple) else [_part(index)]
    if not any(hasattr(p, "shape") for p in parts):
        return tuple(parts), None
    if not any(isinstance(p, int) for p in parts):
        return None, tuple(parts)
    basic, advanced = [], []
    for p in parts:
        if hasattr(p, "shape"):
            basic += [slice(None)] * (p.ndim if p.dtype.kind == "b" else 1)
            advanced.append(p)
        else:
            basic.append(p)
            if not isinstance(p, int):
                advanced.append(p if p is Ellipsis else slice(None))
    return tuple(basic), tuple(advanced)


def _part(p: Any) -> Any:
    """One part of an index: an int, a slice, None, Ellipsis, or a raw array of integers or booleans."""
    if isinstance(p, slice):
        start, stop, step = (_number(v) if isinstance(v, Variable) else v for v in (p.start, p.stop, p.step))
        if step is not None and step <= 0:
            raise ValueError("getitem: step must be greater than zero; use flip() to reverse")
        return slice(start, stop, step)
    if p is None or p is Ellipsis:
        return p
    if isinstance(p, (bool, np.bool_)):
        return np.asarray(p)
    if isinstance(p, (int, np.integer)):
        return int(p)
    if isinstance(p, Variable):
        whole = not p._array.ndim and p._array.dtype.kind in "iu"
        return _number(p) if whole and p._array.dtype != np.uint8 else _array_part(p._array)
    if isinstance(p, np.ndarray):
        return _array_part(p)
    if isinstance(p, (list, tuple, range)):
        found = np.asarray([_number(x) if isinstance(x, Variable) and not x._array.ndim else x for x in p])
        return _array_part(found if found.size else found.astype(np.int64))
    kind = TypeError if isinstance(p, str) else IndexError
    raise kind(f"getitem: only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
               f"indices (got {type(p).__name__})")  # fmt: skip


def _number(t: Any) -> Any:
    t._on_host("an index of one number")
    return t._array.item()


def _mask_of(m: Any, a: Any) -> Any:
    return a.astype(bool)


def _array_part(a: Any) -> Any:
    if a.dtype.kind not in "iub":
        raise IndexError(f"getitem: tensors used as indices must be long, int, byte or bool tensors, got {a.dtype}; "
                         f"convert with .long()")  # fmt: skip
    if a.dtype == np.uint8:
        return run(_mask_of, backend.module_of(a).m, a)
    return a if a.ndim or a.dtype.kind == "b" else int(a)


def _assigned(part: Any, value: Any) -> Any:
    """value broadcast to the part of a tensor it is written to, with history; leading ones may be dropped."""
    shape = part._array.shape
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value.reshape(value.shape[1:])
    misfit = any(a not in (1, b) for a, b in zip(value.shape[::-1], shape[::-1], strict=False))
    if misfit or value.ndim > len(shape):
        raise RuntimeError(f"setitem: shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
                           f"indexing result of shape {list(shape)}; reshape it")  # fmt: skip
    return apply(OPS["copy"], (part, value), {})


def _refused(t: Any, index: Any, cause: Exception) -> IndexError:
    if not t._array.ndim and isinstance(index, int):
        return IndexError(
            "getitem: invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a number"
        )
    text, count = str(cause), len(index) if isinstance(index, tuple) else 1
    if "too many indices" in text:
        text = f"too many indices for tensor of dimension {t._array.ndim}"
    return IndexError(f"getitem: {text}; the tensor has {errors.describe(t)}, the index {count} part(s)")
