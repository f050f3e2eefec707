"""Which op made the first NaN or inf: a step is run again, watching every result that ``apply`` records.

What is done about it is the Trainer's.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import autograd, backend, errors
from ..op import OPS

__all__ = ["NonFiniteError", "find_nonfinite"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class NonFiniteError(RuntimeError):
    """A loss or gradient is NaN or inf. ``op`` is the row that made the first one, None where no op did."""

    def __init__(self, text: str, op: str | None = None) -> None:
        super().__init__(text)
        self.op = op


def find_nonfinite(step: Callable[[], Any], model: Any, batch: Any = None) -> tuple[str | None, str]:
    """Runs ``step()`` again and says which op made the first NaN or inf, as (op, sentence).

    Looks at the batch first, then at the model's parameters and buffers, then at every result of ``step``, a
    forward with or without its backward. (None, …) when the data or the model had it before any op ran.
    """
    for name, array in _arrays_of(batch, "the batch"):
        if (bad := _bad(array)) is not None:
            return None, f"{name}, {errors.describe(array)}, already holds {bad}: clean the data"
    state = [*model.named_parameters(), *model.named_buffers()]
    for name, t in state:
        if (bad := _bad(t._array)) is not None:
            return None, (
                f"{name} of the model, {errors.describe(t._array)}, held {bad} before the step: it came with "
                f"its initial or loaded values, or from an update; lower the learning rate, or clip gradients"
            )
    watch = _Watch()
    with watch.modules(model):
        token = autograd.STATE.set(autograd.STATE.get()._replace(recorder=watch.record))
        try:
            step()
        except _Found:
            pass
        finally:
            autograd.STATE.reset(token)
    if watch.op is None and watch.inf[1]:
        return watch.inf
    if watch.op is None:
        return None, "running the step again gave only finite numbers, so it depends on something outside it"
    return watch.op, watch.text


class _Found(BaseException):
    """Ends the step where the first NaN is made; BaseException, so that no model catches it."""


class _Watch:
    """A recorder for ``apply`` that looks at each result."""

    def __init__(self) -> None:
        self.op: str | None = None  # that made NaN
        self.text = ""
        self.inf = ("", "")  # the op that made the first inf from finite numbers, and the sentence
        self.path: list[str] = []  # modules being run, outermost first
        self.names: dict[Any, tuple[str, str]] = {}
        for op in OPS.values():
            self.names[op.forward] = (op.name, f"op {op.name}")
            for kernel in op.kernels.values():
                self.names[kernel.forward] = self.names[kernel.ahead] = (op.name, f"op {op.name}")
                self.names[kernel.vjp] = self.names[kernel.rest] = (op.name, f"the gradient of op {op.name}")
            for rule in op.rules:
                self.names[rule.function] = (op.name, f"the gradient of op {op.name}")

    @contextmanager
    def modules(self, model: Any) -> Iterator[None]:
        """Keeps ``path`` up to date while the model runs."""
        handles = []
        for name, module in model.named_modules():
            label = f"{name or 'model'} ({type(module).__name__})"
            handles.append(module.register_forward_pre_hook(self._enter(label)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, label: str) -> Callable[..., None]:
        return lambda module, args: self.path.append(label)

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        self.path.pop()

    def record(self, function: Any, m: Any, args: Any, attrs: dict[str, Any], result: Any) -> None:
        results = result if isinstance(result, (list, tuple)) else (result,)
        if all(_bad(r) is None for r in results):
            return
        inputs = [a for x in (*args, *attrs.values()) for a in (x if isinstance(x, (list, tuple)) else (x,))]
        if any(_has_nan(x) for x in inputs):
            return
        if (nan := next((r for r in results if _has_nan(r)), None)) is not None:
            self.op, self.text = self._told(function, nan, inputs)
            if self.inf[1] and any(_bad(x) is not None for x in inputs):
                self.text += f"; before it, {self.inf[1]}"
            raise _Found
        # an inf from finite numbers may be meant (a mask); it counts when no NaN follows
        if not self.inf[1] and all(_bad(x) is None for x in inputs):
            self.inf = self._told(function, next(r for r in results if _bad(r) is not None), inputs)

    def _told(self, function: Any, result: Any, inputs: list[Any]) -> tuple[str, str]:
        function = autograd.inner(function)
        name, what = self.names.get(function, (function.__name__, function.__name__))
        culprits = [x for x in inputs if _bad(x) is not None] or _floats(inputs)
        text = f"{what} made {_bad(result)} in its result, {errors.describe(result)}"
        if culprits:
            text += f", from {' and '.join(_seen(x) for x in culprits[:2])}"
        if not what.startswith("the gradient"):
            text += f", in {self.path[-1]}" if self.path else ""
            text += f", called at {place}" if (place := _user_line()) else ""
        return name, text


def _bad(x: Any) -> str | None:
    """``"3 NaN"`` or ``"1 inf"``; None when all is finite or x isn't a float."""
    if isinstance(x, float):
        return None if np.isfinite(x) else ("NaN" if x != x else "inf")
    if not hasattr(x, "dtype") or x.dtype.kind not in "fV" or not x.size:
        return None
    m = backend.module_of(x).m
    finite = m.isfinite(x)
    if bool(finite.all()):
        return None
    nan = int(m.isnan(x).sum())
    return f"{nan} NaN" if nan else f"{int((~finite).sum())} inf"


def _has_nan(x: Any) -> bool:
    return "NaN" in (_bad(x) or "")


def _floats(inputs: list[Any]) -> list[Any]:
    return [x for x in inputs if hasattr(x, "dtype") and x.dtype.kind in "fV" and x.size]


def _seen(x: Any) -> str:
    """An operand with its range: ``float32 (8, 2) from -1 to 3.5``."""
    if isinstance(x, float):
        return repr(x)
    if (bad := _bad(x)) is not None:
        return f"{errors.describe(x)} with {bad}"
    return f"{errors.describe(x)} from {float(x.min()):.4g} to {float(x.max()):.4g}"


def _arrays_of(batch: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(batch, autograd.Variable):
        yield name, batch._array
    elif isinstance(batch, dict):
        for key, value in batch.items():
            yield from _arrays_of(value, f"{name}[{key!r}]")
    elif isinstance(batch, (list, tuple)):
        for i, value in enumerate(batch):
            yield from _arrays_of(value, f"{name}[{i}]")


def _user_line() -> str:
    """The innermost line outside the package, as ``net.py:12``."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((_PACKAGE, "<")):
            return f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return ""


def all_finite(parameters: Iterable[Any]) -> bool:
    """Are all gradients finite?"""
    with np.errstate(all="ignore"):
        for p in parameters:
            if p.grad is not None:
                g = p.grad._array
                # a sum of squares is cheaper than looking at each element; it may overflow, then they are
                if not np.isfinite(autograd.run(_square_sum, backend.module_of(g).m, g)):
                    if not autograd.run(_finite, backend.module_of(g).m, g):
                        return False
    return True


def _square_sum(m: Any, g: Any) -> float:
    g = g.reshape(-1)
    return float(m.dot(g, g)) if g.dtype.kind == "f" else float((g * g).sum())


def _finite(m: Any, g: Any) -> bool:
    return bool(m.isfinite(g).all())
