"""Ctrl-C at the terminal's commands, from the moment that Python reads the first line of this package.

While ``python -m minigrad`` imports what it needs an exception could come out anywhere, so until the command
itself begins a signal ends the process at once. ``import minigrad`` in any other program changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from typing import Any


def tell() -> None:
    """Says it, on a line of its own where the terminal has shown ^C."""
    sys.stderr.write("\nminigrad: interrupted\n" if sys.stderr.isatty() else "minigrad: interrupted\n")
    sys.stderr.flush()


def _end(number: int, frame: Any) -> None:
    tell()
    os._exit(130)


def _is_command() -> bool:
    """Is this process ``python -m minigrad``, or the script of that name?"""
    name = sys.argv[0] if sys.argv else ""
    if name != "-m":  # what Python calls a module that it still looks for
        return os.path.basename(name).removesuffix(".exe") == "minigrad"
    given = " ".join(sys.orig_argv[1:]).split()
    return "-mminigrad" in given or ("-m", "minigrad") in pairwise(given)


def begun() -> None:
    """From here on the command catches KeyboardInterrupt itself."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
