"""Modes: what changes how ``apply`` and ``backward`` work, for a block, in a function, or from here on.

What lives here: the state, in one context variable, so that threads and tasks don't share it; the context
managers that change it; ``capture``. What doesn't: what the state does (``autograd.py``, ``backward.py``).
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple


class State(NamedTuple):
    """The switches that ``apply`` and ``backward`` read."""

    grad: bool = True
    inference: bool = False
    anomaly: bool = False
    check_nan: bool = True
    recorder: Callable[..., None] | None = None  # capture: (function, m, args, attrs, results)
    tracer: Any = None  # of a compiled function's first call: what it has to see of tensors
    saved_hooks: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
    journal: list[tuple[str, str, str, str]] | None = (
        None  # explain: (op, part, kernel set, why the reference)
    )


STATE: ContextVar[State] = ContextVar("minigrad_state", default=State())  # noqa: B039 - a named tuple


class Mode:
    """A block with other values in the state: ``with Mode(grad=False): …``. Decorates functions and generators."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self._before: list[State] = []  # the states to go back to, one for each open block

    def __enter__(self) -> Any:
        state = STATE.get()
        self._before.append(state)
        STATE.set(State._make(map(self.changes.get, State._fields, state)))  # _replace takes twice as long
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        changes = self.changes

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with Mode(**changes):
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            inner = function(*args, **kwargs)
            step, value = inner.send, None
            while True:  # the mode holds while the generator runs, and not while its user does
                try:
                    with Mode(**changes):
                        item = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, value = inner.send, (yield item)
                except GeneratorExit:
                    with Mode(**changes):
                        inner.close()
                    raise
                except BaseException as e:
                    step, value = inner.throw, e

        return generator if inspect.isgeneratorfunction(function) else wrapper


class _Bare(Mode):
    """A mode that decorates without parentheses too: ``@no_grad``."""

    def __new__(cls, mode: Any = None) -> Any:
        return cls()(mode) if callable(mode) else super().__new__(cls)


class no_grad(_Bare):
    """Nothing is recorded: for inference, updates and metrics. A context manager and a decorator."""

    def __init__(self) -> None:
        super().__init__(grad=False)


class enable_grad(_Bare):
    """Recording, inside a ``no_grad`` block too."""

    def __init__(self) -> None:
        super().__init__(grad=True)


class inference_mode(_Bare):
    """``no_grad``, and its tensors can never be part of a graph later."""

    def __init__(self, mode: Any = True) -> None:
        super().__init__(grad=not mode, inference=bool(mode))


class detect_anomaly(Mode):
    """Remembers where each op was called, and raises when a gradient turns NaN, saying which op made it."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(anomaly=True, check_nan=check_nan)


class _Switch(Mode):
    """A mode that holds at once when made, until the block's end when used as a context."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        super().__enter__()

    def __enter__(self) -> Any:
        return self if self._before else super().__enter__()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.__exit__()
        return super().__call__(function)


class set_grad_enabled(_Switch):
    """Recording or not, by ``mode``: at once when called, until the block's end when used as a context."""

    def __init__(self, mode: bool) -> None:
        super().__init__(grad=bool(mode))


class set_detect_anomaly(_Switch):
    """``detect_anomaly`` as a switch."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(anomaly=bool(mode), check_nan=check_nan)


def is_grad_enabled() -> bool:
    """True where apply records."""
    return STATE.get().grad


def is_inference_mode_enabled() -> bool:
    """True inside ``inference_mode``."""
    return STATE.get().inference


def is_anomaly_enabled() -> bool:
    """True inside ``detect_anomaly``."""
    return STATE.get().anomaly


def on_host(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Python's world alone: a compiled function calls it again at every replay, and records nothing."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tracer = STATE.get().tracer
        if tracer is not None:
            return tracer.host(types.MethodType(call, self), *args, **kwargs)
        return method(self, *args, **kwargs)

    return call


class capture:
    """Records every function that runs on raw arrays, for replay: ``with capture() as tape: step()``.

    Each entry of ``tape.calls`` is (function, m, args, attrs, results): forwards, gradient rules,
    accumulation and optimizer updates alike; ``results`` are the arrays made, in order.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = []

    def __enter__(self) -> capture:  # not a Mode, which would hold its own method: a cycle
        self._token = STATE.set(STATE.get()._replace(recorder=self._record))
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.reset(self._token)

    def _record(self, function: Any, m: Any, args: Any, attrs: dict[str, Any], results: Any) -> None:
        self.calls.append((function, m, tuple(args), dict(attrs), tuple(results)))
