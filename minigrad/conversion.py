"""Data to tensors: numbers, nested sequences, arrays of NumPy and others. ``as_tensor`` and ``from_…`` share memory.

Tensors made from sizes alone are ``functions/creation.py``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, dtypes, errors
from .autograd import Variable, wrap
from .dtypes import as_dtype, from_numpy_dtype

if TYPE_CHECKING:
    from .tensor import Tensor


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor holding a copy of numbers, nested sequences, an array or a tensor."""
    array = _array_of(data, dtype, copy=True)
    here = device is None and isinstance(data, Variable)
    module = backend.module_of(data._array) if here else backend.module_named(device)
    if module is not backend.CPU:
        array = module.from_numpy(array)
    t = wrap(array)
    if requires_grad:
        t.requires_grad = True
    return t


def _array_of(data: Any, kind: Any, copy: bool) -> Any:
    """A raw array of the data, in dtype ``kind`` or else the data's own; Python floats take the default dtype."""
    wanted = as_dtype(kind).numpy_dtype if kind is not None else None
    if isinstance(data, Variable):
        data._on_host("a tensor made from a tensor")  # type: ignore[attr-defined]
        data = backend.module_of(data._array).to_numpy(data._array)
    if isinstance(data, np.ndarray):
        from_numpy_dtype(data.dtype)  # refuses what isn't supported
        native = data.dtype.newbyteorder("=")
        with np.errstate(all="ignore"):  # as PyTorch, arrays wrap where Python's numbers are refused
            return dtypes.cast(np.asarray(data), wanted or native, copy or native != data.dtype)
    if isinstance(data, np.generic):
        return _cast(np.array(data), wanted)
    if isinstance(data, (bool, int, float)):
        own = dtypes.of_scalar(data).numpy_dtype if wanted is None else None
        if own is not None and (not isinstance(data, float) or -6e4 < data < 6e4):  # any dtype holds it
            return np.array(data, dtype=own)
        return _cast(np.array(data), wanted or own)
    if isinstance(data, complex):
        raise errors.no_complex("tensor")
    if not isinstance(data, (list, tuple, range)):
        for module in backend.BY_TYPE.values():
            if isinstance(data, module.array_type):
                return data
        if hasattr(data, "__array__"):
            return _array_of(np.asarray(data), kind, copy)
        if not hasattr(data, "__len__"):
            raise RuntimeError(f"tensor: Could not infer dtype of {type(data).__name__}; expected numbers, sequences, an "
                               f"array or a tensor")  # fmt: skip
    array = _array_of_sequence(data)
    if wanted is None and array.dtype == np.float64 and not _has_wide(data):
        wanted = dtypes.get_default_dtype().numpy_dtype
    return _cast(array, wanted)


def _cast(array: np.ndarray, wanted: Any) -> np.ndarray:
    """Numbers in the dtype wanted, if any: floats overflow to ∞, integers refuse what they can't hold."""
    if wanted is None and array.dtype != np.uint64:  # NumPy's choice for whole numbers beyond int64
        return array
    kind = dtypes.int64 if wanted is None else from_numpy_dtype(wanted)
    if kind.category == 1 and array.dtype.kind != "b" and array.size:
        for value in (array.min(), array.max()):
            dtypes.fitted("tensor", value.item() if isinstance(value, np.generic) else value, kind)
    try:
        with np.errstate(all="ignore"):
            return dtypes.cast(array, kind.numpy_dtype, copy=False)
    except OverflowError:
        raise dtypes.no_room("tensor", kind, array.max()) from None


def _array_of_sequence(data: Any) -> np.ndarray:
    try:
        array = np.array(_plain(data))
    except (ValueError, OverflowError) as e:
        raise ValueError(f"tensor: expected sequences of equal length at every level, got ragged nesting or a number out "
                         f"of range: {e}") from None  # fmt: skip
    if array.dtype.kind == "c":
        raise errors.no_complex("tensor")
    if array.dtype.kind not in "fiubV":
        error = RuntimeError if array.dtype == object else TypeError  # as PyTorch: None and kin, and words
        raise error(
            f"tensor: Could not infer dtype of a sequence of {array.dtype} elements; expected numbers"
        )
    return array


def _plain(data: Any) -> Any:
    """Nested sequences with tensors inside as arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    if not isinstance(data, Variable):
        return data
    data._on_host("a tensor made from tensors")  # type: ignore[attr-defined]
    return backend.module_of(data._array).to_numpy(data._array)


def _has_wide(data: Any) -> bool:
    """Does a float64 array, tensor or NumPy number hide in the nesting? Python floats take the default dtype."""
    if isinstance(data, (list, tuple)):
        return not set(map(type, data)) <= {float, int, bool} and any(map(_has_wide, data))
    return getattr(data._array if isinstance(data, Variable) else data, "dtype", None) == np.float64


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """data as a tensor, sharing memory where it can."""
    if isinstance(data, Variable):
        same: Any = data
        return same if dtype is None and device is None else same.to(dtype=dtype, device=device)
    t = wrap(_array_of(data, dtype, copy=False))
    return t if device is None and t.device.type != "cpu" else t.to(backend.module_named(device).name)


asarray = as_tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares an array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected np.ndarray (got {type(array).__name__})")
    from_numpy_dtype(array.dtype, "from_numpy")
    if not array.dtype.isnative:
        raise ValueError("from_numpy: given numpy array has byte order different from the native byte order; "
                         "convert with .astype(array.dtype.newbyteorder('='))")  # fmt: skip
    return wrap(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any object with ``__dlpack__``."""
    if not hasattr(source, "__dlpack_device__"):
        raise AttributeError(f"from_dlpack: expected an object with __dlpack__ and __dlpack_device__, got "
                             f"{errors.describe(source)}; use as_tensor")  # fmt: skip
    kind = source.__dlpack_device__()[0]
    module = backend.module_named("cpu" if int(kind) == 1 else "cuda")
    return wrap(module.m.from_dlpack(source))
