"""``torch.jit`` where it leaves results as they are: nothing is compiled here, so that annotations do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["Final", "export", "ignore", "is_scripting", "is_tracing", "script", "unused"]


def is_scripting() -> bool:
    """False: code always runs as Python."""
    return False


def is_tracing() -> bool:
    """False: code always runs as Python."""
    return False


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The function or module itself: its results are what its script's would be."""
    return obj


def export(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself."""
    return function


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself; a decorator with and without arguments."""
    return drop if callable(drop) else export


unused = ignore
