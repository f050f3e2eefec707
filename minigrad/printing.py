"""How a tensor is shown: ``tensor([[1., 2.], [3., 4.]])``, character for character as PyTorch shows it.

What lives here: number formats, lines and brackets, the suffixes, and their options, a context variable.
What doesn't: NumPy's print options, which are neither read nor changed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from . import backend, dtypes


class Options(NamedTuple):
    """Digits after the point; elements shown whole; elements at each end; columns; scientific, or None: by the numbers."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options: ContextVar[Options] = ContextVar("minigrad_print_options", default=_PROFILES["default"])


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are shown in this context; None keeps a value, except that of ``sci_mode``.

    precision : digits after the point. threshold : tensors of more elements are shown by their first and
    last ``edgeitems`` along each dimension. linewidth : columns. profile : "default", "short" or "full",
    before the other options. sci_mode : scientific notation always, never, or None: by the numbers.
    """
    options = _options.get()
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(
                f"set_printoptions: expected profile to be one of {sorted(_PROFILES)}, got {profile!r}"
            )
        options = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"set_printoptions: expected {name} to be a number of 0 or more, got {value!r}")
    _options.set(options._replace(**changes, sci_mode=sci_mode))


def get_printoptions() -> dict[str, Any]:
    """The options in force, as arguments of :func:`set_printoptions`."""
    return _options.get()._asdict()


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """:func:`set_printoptions` for the length of a ``with`` block."""
    before = _options.get()
    set_printoptions(**{"sci_mode": before.sci_mode, **options})
    try:
        yield
    finally:
        _options.set(before)


class _Format:
    """The one format that all numbers of a tensor share: fixed, whole (``2.``) or scientific, and its width."""

    def __init__(self, numbers: list[Any], floating: bool, options: Options) -> None:
        self.spec, self.point, self.width = "", "", 1
        if floating:
            numbers = [v for v in numbers if v and math.isfinite(v)]
            self._choose(numbers, options)
        if numbers:
            self.width = max(1, *(len(self._text(v)) for v in numbers))

    def _choose(self, numbers: list[float], options: Options) -> None:
        least, most = min(map(abs, numbers), default=1.0), max(map(abs, numbers), default=1.0)
        whole = all(v.is_integer() for v in numbers)
        scientific = options.sci_mode
        if scientific is None:
            scientific = most / least > 1000 or most > 1e8 or least < 1e-4
        if scientific and numbers:
            self.spec = f".{options.precision}e"
        elif whole:
            self.spec, self.point = ".0f", "."
        else:
            self.spec = f".{options.precision}f"

    def _text(self, value: Any) -> str:
        text = format(value, self.spec)
        return text + self.point if self.point and math.isfinite(value) else text

    def __call__(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


def _ends(m: Any, array: Any, edge: int) -> Any:
    """The first and last ``edge`` along each dimension that has more than both together."""
    for axis, n in enumerate(array.shape):
        if n > 2 * edge:
            first, last = (
                (slice(None),) * axis + (slice(edge),),
                (slice(None),) * axis + (slice(n - edge, n),),
            )
            array = m.concatenate([array[first], array[last]], axis=axis)
    return array


def _body(
    values: Any, shape: tuple[int, ...], indent: int, cut: bool, show: _Format, options: Options
) -> str:
    """Nested lists of numbers as brackets; ``shape`` is the whole tensor's, ``cut`` whether ends alone are shown."""
    if not shape:
        return show(values)
    edge = options.edgeitems
    gap = cut and shape[0] > 2 * edge
    if len(shape) == 1:
        parts = [show(v) for v in values]
        if gap:
            parts.insert(edge, " ..." if edge else "...")
        per_line = max(1, math.floor((options.linewidth - indent) / (show.width + 2)))
        lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_body(v, shape[1:], indent + 1, cut, show, options) for v in values]
    if gap:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


def _numbers(t: Any, indent: int, options: Options) -> str:
    module = backend.module_of(t._array)
    cut = t._array.size > options.threshold
    array = module.to_numpy(_ends(module.m, t._array, options.edgeitems) if cut else t._array)
    floating = t.dtype.category == 2
    if floating and t.dtype.itemsize == 2:
        array = array.astype(np.float32)
    show = _Format(array.reshape(-1).tolist(), floating, options)
    return _body(array.tolist(), tuple(t._array.shape), indent, cut, show, options)


def _suffixes(t: Any, options: Options) -> list[str]:
    words = []
    empty = t._array.size == 0
    if t.device.type != "cpu":
        words.append(f"device='{t.device}'")
    if t.ndim != 1 if empty else not options.edgeitems:
        words.append(f"size={tuple(t._array.shape)}")
    default = dtypes.get_default_dtype()
    if t.dtype is not default and (empty or t.dtype not in (dtypes.int64, dtypes.bool_)):
        words.append(f"dtype={t.dtype}")
    if t.grad_fn is not None:
        words.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        words.append("requires_grad=True")
    return words


def show(tensor: Any) -> str:
    """``repr(tensor)``: its numbers, or the ends of a long one, and what isn't the default: device, dtype, history."""
    options = _options.get()
    kind = type(tensor).__name__
    prefix = "tensor(" if kind in ("Tensor", "Parameter", "Buffer") else f"{kind}("
    indent = len(prefix)
    text = prefix + (_numbers(tensor, indent, options) if tensor._array.size else "[]")
    width = len(text) - text.rfind("\n") + 1
    for word in _suffixes(tensor, options):
        if width + len(word) + 2 > options.linewidth:
            text, width = text + ",\n" + " " * indent + word, indent + len(word)
        else:
            text, width = text + ", " + word, width + len(word) + 2
    return f"{text})"
