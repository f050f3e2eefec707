"""``torch.distributed`` for a single process: there is no group of processes, and code that asks is told so."""

from __future__ import annotations

__all__ = ["is_available", "is_initialized"]


def is_available() -> bool:
    """False: this process is alone."""
    return False


def is_initialized() -> bool:
    """False: this process is alone."""
    return False
