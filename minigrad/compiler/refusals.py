"""What a compiled function refuses, with the line that did it and the remedy."""

from __future__ import annotations

import os
import traceback

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class CompileError(RuntimeError):
    """What a function does that a compiled one can't: the line that did it, and the remedy."""


def refuse(what: str, remedy: str) -> None:
    """Raises :class:`CompileError` with the user's line."""
    frames = traceback.extract_stack()
    user = next((f for f in reversed(frames) if not os.path.abspath(f.filename).startswith(_HERE)), None)
    where = "" if user is None else f' at {user.filename}:{user.lineno}, "{user.line}"'
    raise CompileError(f"compile: {what}{where}. A compiled function runs the same lines for all values: {remedy}, "
                       f"or leave this function uncompiled")  # fmt: skip
