"""The functions of layers and losses, under PyTorch's path: ``import minigrad.nn.functional as F``.

A view of the public functions (``minigrad.functions.FUNCTIONS``), which come from the rows and composites:
nothing is defined or listed here. ``F.relu_`` and kin, with an underscore, write in place.
"""

from __future__ import annotations

import functools
from typing import Any

from ..functions import FUNCTIONS
from ..tensor import Tensor

globals().update(FUNCTIONS)


def __getattr__(name: str) -> Any:
    plain = name.removesuffix("_")
    if name.startswith("__") or plain == name or plain not in FUNCTIONS:
        raise AttributeError(f"module 'minigrad.nn.functional' has no attribute {name!r}")
    found = getattr(Tensor, name, None) or functools.partial(FUNCTIONS[plain], inplace=True)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(FUNCTIONS)
