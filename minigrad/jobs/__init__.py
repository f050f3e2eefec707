"""What ``python -m minigrad`` does: train, evaluate and predict with a classifier of images or texts, and say how things are.

``parser`` holds the options and their help; each command is a module of its own. Everything here is made of the
package's public parts: there is no second training loop and no second table of anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JobError(Exception):
    """A job can't go on. Its text is one sentence for the person at the terminal: what is wrong, and the remedy."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'adam'?`` where something known is near, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f"; did you mean {found[0]!r}?" if found else ""


__all__ = ["JobError", "nearest"]
