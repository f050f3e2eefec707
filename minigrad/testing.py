"""``torch.testing``: closeness asserted, with a message that says where and by how much. Gradients: ``gradcheck.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import dtypes
from .errors import describe
from .tensor import Tensor, as_tensor

__all__ = ["TOLERANCES", "assert_close"]

TOLERANCES = {  # dtype -> (rtol, atol), PyTorch's; exact for integers and booleans
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises AssertionError unless |actual - expected| ≤ atol + rtol · |expected| everywhere.

    Takes tensors, arrays, numbers, and sequences and mappings of them, nested alike. Tolerances are those of
    the dtype (the looser of two) unless both are given. Dtypes, devices and, on demand, strides must agree.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"assert_close: rtol and atol must both be specified or both be unspecified, got rtol={rtol} and "
                         f"atol={atol}")  # fmt: skip
    wrong = _difference(actual, expected, "", rtol, atol, equal_nan, (check_device, check_dtype, check_stride),
                        allow_subclasses)  # fmt: skip
    if wrong:
        raise AssertionError(msg(wrong) if callable(msg) else wrong if msg is None else msg)


def _difference(
    a: Any, b: Any, where: str, rtol: Any, atol: Any, equal_nan: bool, checks: Any, kin: bool
) -> str:
    """What is wrong at this place of the nesting; empty if nothing."""
    rest = (rtol, atol, equal_nan, checks, kin)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return f"The keys of the mappings{where} do not match: {sorted(map(str, a))} and {sorted(map(str, b))}"
        return next(filter(None, (_difference(a[k], b[k], f"{where}[{k!r}]", *rest) for k in a)), "")
    if _is_sequence(a) and _is_sequence(b):
        if len(a) != len(b):
            return f"The length of the sequences{where} mismatch: {len(a)} != {len(b)}"
        pairs = enumerate(zip(a, b, strict=True))
        return next(filter(None, (_difference(x, y, f"{where}[{i}]", *rest) for i, (x, y) in pairs)), "")
    numbers = (bool, int, float, np.generic)
    for kind in (Tensor, np.ndarray, numbers):
        if isinstance(a, kind) and isinstance(b, kind):
            break
    else:
        raise TypeError(f"assert_close: no comparison of {describe(a)} with {describe(b)}{where}; expected two tensors, two "
                        f"arrays, two numbers, or sequences or mappings of them")  # fmt: skip
    if not kin and type(a) is not type(b):
        return f"The types{where} do not match: {type(a).__name__} and {type(b).__name__}"
    x, y = (t if isinstance(t, Tensor) else as_tensor(t, dtype=_number_dtype(t)) for t in (a, b))
    what = "Scalars" if isinstance(a, numbers) else "Tensor-likes"
    return _unlike(x, y, what, where, checks) or _far(x, y, what, where, rtol, atol, equal_nan)


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def _number_dtype(x: Any) -> Any:
    return dtypes.float64 if isinstance(x, float) else None


def _unlike(x: Tensor, y: Tensor, what: str, where: str, checks: tuple[bool, bool, bool]) -> str:
    device, dtype, stride = checks
    if x.shape != y.shape:
        return f"The values for attribute 'shape'{where} do not match: {x.shape} != {y.shape}."
    if device and x.device != y.device:
        return f"The values for attribute 'device'{where} do not match: {x.device} != {y.device}."
    if dtype and what != "Scalars" and x.dtype is not y.dtype:
        return f"The values for attribute 'dtype'{where} do not match: {x.dtype} != {y.dtype}."
    if stride and x.stride() != y.stride():
        return f"The values for attribute 'stride()'{where} do not match: {x.stride()} != {y.stride()}."
    return ""


def _far(x: Tensor, y: Tensor, what: str, where: str, rtol: Any, atol: Any, equal_nan: bool) -> str:
    if rtol is None:
        pairs = [TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (x, y)]
        rtol, atol = (max(p[i] for p in pairs) for i in (0, 1))
    a, b = (t.detach().cpu().to(dtypes.promote_types(x.dtype, y.dtype)) for t in (x, y))
    close = a.isclose(b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    bad = int((~close).sum())
    if not bad:
        return ""
    p, q = (np.asarray(t.double().numpy()) for t in (a, b))
    with np.errstate(all="ignore"):
        off = np.where(close.numpy(), 0.0, np.abs(p - q))
        ratio = np.where(close.numpy(), 0.0, off / np.abs(q))
    worst, worst_ratio = (
        np.unravel_index(int(np.argmax(np.where(np.isnan(d), np.inf, d))), d.shape) for d in (off, ratio)
    )
    at, at_ratio = (f" at index {tuple(int(i) for i in w)}" if w else "" for w in (worst, worst_ratio))
    head = f"{what}{where} are not {'equal' if rtol == atol == 0 else 'close'}!"
    count = (
        f"\n\nMismatched elements: {bad} / {a.numel()} ({bad / a.numel():.1%})" if what != "Scalars" else "\n"
    )
    return (f"{head}{count}\nGreatest absolute difference: {off[worst]}{at} (up to {atol} allowed)\n"
            f"Greatest relative difference: {ratio[worst_ratio]}{at_ratio} (up to {rtol} allowed)")  # fmt: skip
