"""``torch.backends.mps``: is an array module registered as "mps"?"""

from __future__ import annotations

from .. import backend


def is_available() -> bool:
    """Is an array module registered as "mps"?"""
    return "mps" in backend.MODULES


def is_built() -> bool:
    """The same as :func:`is_available`."""
    return is_available()
