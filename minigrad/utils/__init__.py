"""PyTorch's import paths, re-exported: ``utils.data``, ``utils.checkpoint``, and what ``autograd`` shows as submodules."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("data", "checkpoint"):
        raise AttributeError(f"module 'minigrad.utils' has no attribute {name!r}")
    return importlib.import_module(
        f".{name}", __name__
    )  # as in torch, ``import minigrad`` alone makes them reachable
