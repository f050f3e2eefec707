"""``torch.nn.modules``' paths: classes, and the files they are in. Nothing is defined here."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import activation, distance, dropout, flatten, linear, loss, module, normalization, sparse, transformer
from . import containers as container
from . import normalization as batchnorm
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .module import Module

__all__ = [
    "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential", "activation", "batchnorm",
    "container", "distance", "dropout", "flatten", "linear", "loss", "module", "normalization", "sparse",
    "transformer",
]  # fmt: skip

for _path in ("activation", "batchnorm", "container", "distance", "dropout", "flatten", "linear", "loss", "module",
              "normalization", "sparse", "transformer"):  # fmt: skip
    sys.modules[f"{__name__}.{_path}"] = globals()[_path]  # from torch.nn.modules.linear import Linear


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("minigrad.nn"), name)
