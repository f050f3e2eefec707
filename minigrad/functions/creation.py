"""New tensors from sizes and numbers: zeros, full, arange, eye, …, their ``…_like`` and ``new_…`` forms.

Tensors from data are made in ``conversion.py``, random ones in ``random.py``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import run
from ..op import composite
from ..tensor import Tensor
from .factory import (
    check_memory_format,
    count_of,
    empty_array,
    finish,
    like,
    number_of,
    place,
    preserve_format,
    sequence,
    shape_of,
)

# ---- on raw arrays ---------------------------------------------------------------------------------------


def _full(m: Any, *, shape: Any, value: Any, dtype: Any) -> Any:
    return m.full(shape, value, dtype=dtype) if value else m.zeros(shape, dtype=dtype)


def _full_like(m: Any, array: Any, *, value: Any, dtype: Any) -> Any:
    return m.full_like(array, value, dtype=dtype)


def empty_like_array(m: Any, array: Any, *, dtype: Any) -> Any:
    return m.empty_like(array, dtype=dtype)


def _eye(m: Any, *, rows: int, columns: int, dtype: Any) -> Any:
    return m.eye(rows, columns, dtype=dtype)


def _steps(m: Any, *, start: Any, step: Any, n: int, dtype: Any) -> Any:
    return dtypes.cast(m.arange(n) * step + start, dtype)


def _spaced(m: Any, *, start: float, end: float, n: int, base: float | None, dtype: Any) -> Any:
    """Counted from either end to the middle, so that both ends are exact."""
    i = m.arange(n).astype(m.float64)
    with np.errstate(all="ignore"):
        step = np.float64(end - start) / max(n - 1, 1)
        x = m.where(i < n // 2, start + step * i, end - step * (n - 1 - i)) if n > 1 else i + start
        return dtypes.cast(x if base is None else m.power(m.full_like(x, base), x), dtype)


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
        run(empty_array, module.m, **made)
        if value is None
        else run(_full, module.m, value=dtypes.fitted(name, value, kind), **made)
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
    check_memory_format("empty", memory_format)
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
    value = number_of("full", "fill_value", fill_value)
    return _filled("full", sequence("full", size), value, out, _inferred(dtype, out, value), device, requires_grad,
                   layout=layout, pin_memory=pin_memory)  # fmt: skip


def _inferred(dtype: Any, out: Any, value: Any) -> Any:
    return dtype if dtype is not None or out is not None else dtypes.of_scalar(value, "full")


@composite(method=False)
def scalar_tensor(
    s: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A number as a 0-d tensor of the default dtype, or of ``dtype``."""
    return _filled("scalar_tensor", ((),), number_of("scalar_tensor", "s", s), None, dtype, device, requires_grad,
                   layout=layout, pin_memory=pin_memory)  # fmt: skip


def _filled_like(name: str, input: Any, value: Any, dtype: Any, requires_grad: bool, **how: Any) -> Tensor:
    shape, kind, module, model = like(name, input, dtype, **how)
    made: dict[str, Any] = {"dtype": kind.numpy_dtype}
    if value is None:
        array = (
            run(empty_array, module.m, shape=shape, **made)
            if model is None
            else run(empty_like_array, module.m, model, **made)
        )
    else:
        made["value"] = dtypes.fitted(name, value, kind)
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
    value = number_of("full_like", "fill_value", fill_value)
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
    value = number_of("new_full", "fill_value", fill_value)
    return _new("new_full", self, sequence("new_full", size), value, dtype, device, requires_grad, layout=layout,
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
    start, end, step = (number_of("arange", *pair) for pair in _range(range, named))
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
        float(number_of(name, w, x.detach() if isinstance(x, Tensor) else x))
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
    return _between("logspace", start, end, steps, float(number_of("logspace", "base", base)), out, dtype, device,
                    requires_grad, layout=layout, pin_memory=pin_memory)  # fmt: skip


@composite(method=False)
def eye(
    n: int, m: int | None = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """n rows and m (default n) columns: 1 on the diagonal, 0 elsewhere."""
    rows = count_of("eye", "n", n)
    columns = rows if m is None else count_of("eye", "m", m)
    kind, module = place("eye", out, dtype, device, layout=layout, pin_memory=pin_memory)
    array = run(_eye, module.m, rows=rows, columns=columns, dtype=kind.numpy_dtype)
    return finish("eye", array, out, requires_grad)


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
    rows, columns = count_of(name, "row", row), count_of(name, "col", col)
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
    shape = shape_of("empty_strided", sequence("empty_strided", size))
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
