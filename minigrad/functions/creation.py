"""New tensors from sizes and numbers: zeros, full, arange, eye, …, their ``…_like`` and ``new_…`` forms.

What lives here: those functions, and how every factory reads ``size``, ``dtype``, ``device``, ``out`` and
kin (:func:`shape_of`, :func:`place`, :func:`like`, :func:`finish`). Tensors from data are made in
``tensor.py``, random ones in ``random.py``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import autograd, backend, dtypes, errors
from ..autograd import run
from ..op import composite
from ..tensor import Tensor, wrap
from .arguments import tensor_of

# ---- how a factory reads its arguments -------------------------------------------------------------------


class Option:
    """A named constant of PyTorch's that says how memory is laid out: ``strided``, ``preserve_format``."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name

    def __repr__(self) -> str:
        return f"minigrad.{self.name}"


strided = Option("layout", "strided")
contiguous_format = Option("memory_format", "contiguous_format")
preserve_format = Option("memory_format", "preserve_format")


def shape_of(name: str, size: tuple[Any, ...], named: dict[str, Any] | None = None) -> tuple[int, ...]:
    """The shape of ``f(2, 3)``, ``f((2, 3))`` and ``f(size=(2, 3))``; other names are refused."""
    named = dict(named or {})
    if "size" in named and not size:
        size = (named.pop("size"),)
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(named))!r}")
    if not size:
        raise TypeError(f"{name}() missing 1 required positional arguments: 'size'")
    nested = len(size) == 1 and isinstance(size[0], (tuple, list))
    shape = []
    for n in size[0] if nested else size:
        try:
            if isinstance(n, bool) and not nested:
                raise TypeError
            shape.append(operator.index(n))
        except TypeError:
            raise TypeError(
                f"{name}(): argument 'size' must be tuple of ints, not {type(n).__name__}"
            ) from None
    if any(n < 0 for n in shape):
        negative = next(n for n in shape if n < 0)
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension {negative}: {shape}")
    return tuple(shape)


def place(
    name: str, out: Any, dtype: Any, device: Any, *, layout: Any = None, pin_memory: bool = False,
    default: dtypes.dtype | None = None,
) -> tuple[dtypes.dtype, backend.ArrayModule]:  # fmt: skip
    """The dtype and array module of a new tensor: those asked for, out's, or the default ones."""
    _options(name, layout, pin_memory)
    kind = None if dtype is None else _dtype(name, dtype)
    if out is None:
        return kind or default or dtypes.get_default_dtype(), backend.module_named(device or "cpu")
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    module = backend.module_of(out._array)
    if kind is not None and kind is not out.dtype:
        raise RuntimeError(
            f"{name}: dtype {kind.name} does not match dtype of out parameter ({out.dtype.name})"
        )
    if device is not None and backend.module_named(device) is not module:
        raise RuntimeError(f"{name}: device {device} does not match device of out parameter ({module.name})")
    if out.requires_grad and autograd.is_grad_enabled():
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, "
                           f"but one of the arguments requires grad; write under minigrad.no_grad()")  # fmt: skip
    return out.dtype, module


def like(
    name: str, input: Any, dtype: Any, *, device: Any = None, layout: Any = None, pin_memory: bool = False,
    memory_format: Any = None,
) -> tuple[tuple[int, ...], dtypes.dtype, backend.ArrayModule, Any]:  # fmt: skip
    """Shape, dtype and array module of a tensor like ``input``; and its array if that orders memory unlike C."""
    array = tensor_of(name, input)._array
    _options(name, layout, pin_memory)
    _memory_format(name, memory_format)
    kind = input.dtype if dtype is None else _dtype(name, dtype)
    module = backend.module_of(array) if device is None else backend.module_named(device)
    plain = (
        memory_format is contiguous_format
        or type(array) is not module.array_type
        or getattr(getattr(array, "flags", None), "c_contiguous", True)
    )
    return tuple(array.shape), kind, module, None if plain else array


def finish(name: str, array: Any, out: Any, requires_grad: bool) -> Tensor:
    """The tensor of a new array, or ``out`` written with it (and resized to it)."""
    if out is None:
        t = wrap(array)
    else:
        t = out
        if t._array.shape != array.shape:
            t._array = run(_empty, backend.module_of(array).m, shape=array.shape, dtype=array.dtype)
        autograd.check_writable(t, f"{name}(out=)")
        autograd.write(t, wrap(array), f"{name}(out=)")
    if requires_grad:
        t.requires_grad = True
    return t


def floating_dtype(name: str, kind: dtypes.dtype) -> None:
    """Refuses a dtype that holds no fractions, as PyTorch does."""
    if kind.category != 2:
        raise NotImplementedError(f"{name}: not implemented for {kind.name}; pass a floating-point dtype")


def _options(name: str, layout: Any, pin_memory: Any) -> None:
    if layout is not None and layout is not strided and layout != "strided":
        raise TypeError(
            f"{name}(): argument 'layout' must be minigrad.strided, the only one there is, not {layout!r}"
        )
    if not isinstance(pin_memory, (bool, type(None))):
        raise TypeError(f"{name}(): argument 'pin_memory' must be bool, not {type(pin_memory).__name__}")


def _memory_format(name: str, memory_format: Any) -> None:
    if memory_format not in (None, contiguous_format, preserve_format):
        raise TypeError(f"{name}(): argument 'memory_format' must be minigrad.preserve_format or "
                        f"minigrad.contiguous_format, not {memory_format!r}")  # fmt: skip


def _dtype(name: str, dtype: Any) -> dtypes.dtype:
    try:
        return dtypes.as_dtype(dtype)
    except TypeError as e:
        if "complex" in str(e):
            raise errors.no_complex(name) from None
        raise TypeError(
            f"{name}(): argument 'dtype' must be minigrad.dtype, not {errors.describe(dtype)}"
        ) from None


def _number(name: str, argument: str, value: Any) -> Any:
    """A Python number: the value itself, a NumPy scalar's, or a 0-d tensor's."""
    if isinstance(value, Tensor) and not value.ndim:
        if value.requires_grad:
            raise TypeError(
                f"{name}(): argument {argument!r} must be Number, not a Tensor that requires grad; detach() it"
            )
        value = value.item()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        raise errors.no_complex(name)
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{name}(): argument {argument!r} must be Number, not {type(value).__name__}")
    return value


def _fitting(name: str, value: Any, kind: dtypes.dtype) -> Any:
    """The value as the dtype holds it; refused where it doesn't. Negative numbers wrap in unsigned ones."""
    if kind is dtypes.bool_:
        return bool(value)
    if kind.category == 2:
        fits = not math.isfinite(value) or abs(value) <= dtypes.finfo(kind).max
    else:
        limits = dtypes.iinfo(kind)
        least = limits.min if kind.is_signed else -limits.max
        fits = math.isfinite(value) and least <= int(value) <= limits.max
    if not fits:
        raise RuntimeError(f"{name}: value cannot be converted to type {kind.name} without overflow, got {value}; "
                           f"choose a wider dtype")  # fmt: skip
    return (
        float(value)
        if kind.category == 2
        else int(value) % (limits.max + 1)
        if not kind.is_signed
        else int(value)
    )


# ---- on raw arrays ---------------------------------------------------------------------------------------


def _empty(m: Any, *, shape: Any, dtype: Any) -> Any:
    return m.empty(shape, dtype=dtype)


def _full(m: Any, *, shape: Any, value: Any, dtype: Any) -> Any:
    return m.full(shape, value, dtype=dtype) if value else m.zeros(shape, dtype=dtype)


def _full_like(m: Any, array: Any, *, value: Any, dtype: Any) -> Any:
    return m.full_like(array, value, dtype=dtype)


def empty_like_array(m: Any, array: Any, *, dtype: Any) -> Any:
    return m.empty_like(array, dtype=dtype)


def _eye(m: Any, *, rows: int, columns: int, dtype: Any) -> Any:
    return m.eye(rows, columns, dtype=dtype)


def _steps(m: Any, *, start: Any, step: Any, n: int, dtype: Any) -> Any:
    return (m.arange(n) * step + start).astype(dtype)


def _spaced(m: Any, *, start: float, end: float, n: int, base: float | None, dtype: Any) -> Any:
    """Counted from either end to the middle, so that both ends are exact."""
    i = m.arange(n).astype(m.float64)
    with np.errstate(all="ignore"):
        step = np.float64(end - start) / max(n - 1, 1)
        x = m.where(i < n // 2, start + step * i, end - step * (n - 1 - i)) if n > 1 else i + start
        return (x if base is None else m.power(m.full_like(x, base), x)).astype(dtype)


def _triangle(m: Any, *, rows: int, columns: int, offset: int, upper: bool, dtype: Any) -> Any:
    ahead = m.arange(columns)[None, :] - m.arange(rows)[:, None] - offset
    return m.stack(m.nonzero(ahead >= 0 if upper else ahead <= 0)).astype(dtype)


def _strided(m: Any, *, shape: Any, steps: Any, dtype: Any) -> Any:
    n = 1 + sum((k - 1) * s for k, s in zip(shape, steps, strict=True)) if 0 not in shape else 0
    memory = m.empty(n, dtype=dtype)
    return m.lib.stride_tricks.as_strided(memory, shape, [s * memory.itemsize for s in steps])


# ---- one value everywhere --------------------------------------------------------------------------------


def _filled(
    name: str, size: Any, value: Any, out: Any, dtype: Any, device: Any, requires_grad: bool, **how: Any
) -> Tensor:
    shape = shape_of(name, size, how.pop("named", None))
    kind, module = place(name, out, dtype, device, **how)
    made: dict[str, Any] = {"shape": shape, "dtype": kind.numpy_dtype}
    array = (
        run(_empty, module.m, **made)
        if value is None
        else run(_full, module.m, value=_fitting(name, value, kind), **made)
    )
    return finish(name, array, out, requires_grad)


@composite(method=False)
def zeros(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``, in the default dtype unless ``dtype``."""
    return _filled(
        "zeros", size, 0, out, dtype, device, requires_grad, layout=layout, pin_memory=pin_memory, named=named
    )


@composite(method=False)
def ones(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Ones: ``ones(2, 3)`` or ``ones((2, 3))``, in the default dtype unless ``dtype``."""
    return _filled(
        "ones", size, 1, out, dtype, device, requires_grad, layout=layout, pin_memory=pin_memory, named=named
    )


@composite(method=False)
def empty(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None, **named: Any,
) -> Tensor:  # fmt: skip
    """Memory as it is found: write before reading."""
    if memory_format is preserve_format:
        raise RuntimeError("empty: unsupported memory format option Preserve; use empty_like")
    _memory_format("empty", memory_format)
    return _filled(
        "empty",
        size,
        None,
        out,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
        named=named,
    )


@composite(method=False)
def full(
    size: Any, fill_value: Any, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``fill_value`` everywhere; its kind sets the dtype: bool, int64, or the default one for a float."""
    value = _number("full", "fill_value", fill_value)
    return _filled("full", _sequence("full", size), value, out, _inferred(dtype, out, value), device, requires_grad,
                   layout=layout, pin_memory=pin_memory)  # fmt: skip


def _sequence(name: str, size: Any) -> tuple[Any]:
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    return (size,)


def _inferred(dtype: Any, out: Any, value: Any) -> Any:
    return dtype if dtype is not None or out is not None else dtypes.of_scalar(value, "full")


@composite(method=False)
def scalar_tensor(
    s: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A number as a 0-d tensor of the default dtype, or of ``dtype``."""
    return _filled("scalar_tensor", ((),), _number("scalar_tensor", "s", s), None, dtype, device, requires_grad,
                   layout=layout, pin_memory=pin_memory)  # fmt: skip


def _filled_like(name: str, input: Any, value: Any, dtype: Any, requires_grad: bool, **how: Any) -> Tensor:
    shape, kind, module, model = like(name, input, dtype, **how)
    made: dict[str, Any] = {"dtype": kind.numpy_dtype}
    if value is None:
        array = (
            run(_empty, module.m, shape=shape, **made)
            if model is None
            else run(empty_like_array, module.m, model, **made)
        )
    else:
        made["value"] = _fitting(name, value, kind)
        array = (
            run(_full, module.m, shape=shape, **made)
            if model is None
            else run(_full_like, module.m, model, **made)
        )
    return finish(name, array, None, requires_grad)


@composite(method=False)
def zeros_like(
    input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros with the shape, dtype, device and memory order of ``input``."""
    return _filled_like("zeros_like", input, 0, dtype, requires_grad, device=device, layout=layout, pin_memory=pin_memory,
                        memory_format=memory_format)  # fmt: skip


@composite(method=False)
def ones_like(
    input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Ones with the shape, dtype, device and memory order of ``input``."""
    return _filled_like("ones_like", input, 1, dtype, requires_grad, device=device, layout=layout, pin_memory=pin_memory,
                        memory_format=memory_format)  # fmt: skip


@composite(method=False)
def empty_like(
    input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Memory as it is found, with the shape, dtype, device and memory order of ``input``."""
    return _filled_like("empty_like", input, None, dtype, requires_grad, device=device, layout=layout, pin_memory=pin_memory,
                        memory_format=memory_format)  # fmt: skip


@composite(method=False)
def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """``fill_value`` everywhere, with the shape, dtype, device and memory order of ``input``."""
    value = _number("full_like", "fill_value", fill_value)
    return _filled_like("full_like", input, value, dtype, requires_grad, device=device, layout=layout, pin_memory=pin_memory,
                        memory_format=memory_format)  # fmt: skip


# ---- methods: a tensor with this one's dtype and device --------------------------------------------------


def _new(
    name: str, like: Tensor, size: Any, value: Any, dtype: Any, device: Any, requires_grad: bool, **how: Any
) -> Tensor:
    return _filled(name, size, value, None, like.dtype if dtype is None else dtype,
                   like.device if device is None else device, requires_grad, **how)  # fmt: skip


@composite(public=False)
def new_zeros(
    self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
    pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Zeros with this tensor's dtype and device."""
    return _new(
        "new_zeros",
        self,
        size,
        0,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
        named=named,
    )


@composite(public=False)
def new_ones(
    self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
    pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Ones with this tensor's dtype and device."""
    return _new(
        "new_ones",
        self,
        size,
        1,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
        named=named,
    )


@composite(public=False)
def new_empty(
    self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
    pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Memory as it is found, with this tensor's dtype and device."""
    return _new(
        "new_empty",
        self,
        size,
        None,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
        named=named,
    )


@composite(public=False)
def new_full(
    self: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """``fill_value`` everywhere, with this tensor's dtype and device."""
    value = _number("new_full", "fill_value", fill_value)
    return _new("new_full", self, _sequence("new_full", size), value, dtype, device, requires_grad, layout=layout,
                pin_memory=pin_memory)  # fmt: skip


# ---- sequences and patterns ------------------------------------------------------------------------------


@composite(method=False)
def arange(
    *range: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """start, start + step, …, below end: ``arange(end)``, ``arange(start, end)``, ``arange(start, end, step)``.

    ⌈(end − start) / step⌉ elements; int64 if all three are integers, else the default dtype.
    """
    start, end, step = (_number("arange", *pair) for pair in _range(range, named))
    if dtype is None and out is None:
        whole = all(isinstance(x, int) for x in (start, end, step))
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    kind, module = place("arange", out, dtype, device, layout=layout, pin_memory=pin_memory)
    if kind is dtypes.bool_:
        raise NotImplementedError("arange: not implemented for bool; make int64 and convert")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if kind is dtypes.int64:  # as PyTorch: converted before counting
        start, end, step = int(start), int(end), int(step)
    if step == 0 or math.isnan(step):
        raise RuntimeError(f"arange: step must be nonzero, got {step}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: {start} -> {end} by {step}"
        )
    whole = all(isinstance(x, int) for x in (start, end, step))
    n = -((start - end) // step) if whole else math.ceil((end - start) / step)
    if kind.category == 1:
        start, step = int(start), int(step)
    array = run(_steps, module.m, start=start, step=step if n > 1 else 1, n=n, dtype=kind.numpy_dtype)
    return finish("arange", array, out, requires_grad)


def _range(args: tuple[Any, ...], named: dict[str, Any]) -> list[tuple[str, Any]]:
    words = ("end",) if len(args) == 1 and "end" not in named else ("start", "end", "step")
    given = dict(zip(words, args, strict=False))
    if (
        len(args) > 3
        or "end" not in {*given, *named}
        or set(given) & set(named)
        or set(named) - {"start", "end", "step"}
    ):
        raise TypeError("arange() received an invalid combination of arguments: expected arange(end), arange(start, end) "
                        f"or arange(start, end, step), got {len(args)} by position and {sorted(named)}")  # fmt: skip
    return list({"start": 0, "end": None, "step": 1, **given, **named}.items())


def _between(
    name: str,
    start: Any,
    end: Any,
    steps: Any,
    base: Any,
    out: Any,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    **how: Any,
) -> Tensor:
    for word, x in (("start", start), ("end", end)):
        if isinstance(x, Tensor) and x.ndim:
            raise RuntimeError(f"{name}: {name} only supports 0-dimensional start and end tensors, but got {word} with "
                               f"{x.ndim} dimension(s)")  # fmt: skip
    low, high = (
        float(_number(name, w, x.detach() if isinstance(x, Tensor) else x))
        for w, x in (("start", start), ("end", end))
    )
    try:
        n = operator.index(steps)
    except TypeError:
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}") from None
    if n < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {n}")
    kind, module = place(name, out, dtype, device, **how)
    if kind is dtypes.bool_:
        raise NotImplementedError(f"{name}: not implemented for bool; make int64 and convert")
    array = run(_spaced, module.m, start=low, end=high, n=n, base=base, dtype=kind.numpy_dtype)
    return finish(name, array, out, requires_grad)


@composite(method=False)
def linspace(
    start: Any, end: Any, steps: int, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``steps`` numbers evenly from ``start`` to ``end``, both included."""
    return _between("linspace", start, end, steps, None, out, dtype, device, requires_grad, layout=layout,
                    pin_memory=pin_memory)  # fmt: skip


@composite(method=False)
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base ** x for ``steps`` numbers x evenly from ``start`` to ``end``."""
    return _between("logspace", start, end, steps, float(_number("logspace", "base", base)), out, dtype, device,
                    requires_grad, layout=layout, pin_memory=pin_memory)  # fmt: skip


@composite(method=False)
def eye(
    n: int, m: int | None = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """n rows and m (default n) columns: 1 on the diagonal, 0 elsewhere."""
    rows = _count("eye", "n", n)
    columns = rows if m is None else _count("eye", "m", m)
    kind, module = place("eye", out, dtype, device, layout=layout, pin_memory=pin_memory)
    array = run(_eye, module.m, rows=rows, columns=columns, dtype=kind.numpy_dtype)
    return finish("eye", array, out, requires_grad)


def _count(name: str, argument: str, value: Any) -> int:
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}(): argument {argument!r} must be int, not {type(value).__name__}") from None
    if n < 0:
        raise RuntimeError(f"{name}: {argument} must be greater or equal to 0, got {n}")
    return n


def _indices(
    name: str,
    row: Any,
    col: Any,
    offset: Any,
    upper: bool,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    **how: Any,
) -> Tensor:
    rows, columns = _count(name, "row", row), _count(name, "col", col)
    kind, module = place(name, None, dtype, device, default=dtypes.int64, **how)
    if kind.category != 1:
        raise NotImplementedError(f"{name}: not implemented for {kind.name}; pass an integer dtype")
    array = run(_triangle, module.m, rows=rows, columns=columns, offset=operator.index(offset), upper=upper,
                dtype=kind.numpy_dtype)  # fmt: skip
    return finish(name, array, None, requires_grad)


@composite(method=False)
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """(2, n): rows and columns of the elements on and below a diagonal of a row × col matrix, row by row."""
    return _indices(
        "tril_indices",
        row,
        col,
        offset,
        False,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
    )


@composite(method=False)
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """(2, n): rows and columns of the elements on and above a diagonal of a row × col matrix, row by row."""
    return _indices(
        "triu_indices",
        row,
        col,
        offset,
        True,
        dtype,
        device,
        requires_grad,
        layout=layout,
        pin_memory=pin_memory,
    )


@composite(method=False)
def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Memory as it is found, with a stride for each dimension, in elements; a stride of 0 repeats."""
    shape = shape_of("empty_strided", _sequence("empty_strided", size))
    steps = tuple(operator.index(s) for s in stride)
    if len(steps) != len(shape):
        raise RuntimeError(
            f"empty_strided: dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(steps)})"
        )
    if any(s < 0 for s in steps):
        raise RuntimeError(f"empty_strided: expected strides of 0 or more, got {list(steps)}; use flip()")
    kind, module = place("empty_strided", None, dtype, device, layout=layout, pin_memory=pin_memory)
    return finish(
        "empty_strided",
        run(_strided, module.m, shape=shape, steps=steps, dtype=kind.numpy_dtype),
        None,
        requires_grad,
    )
