"""``torch.special``: second names of functions."""

from __future__ import annotations

from typing import Any

from .functions import FUNCTIONS

_NAMES = (
    "erf", "erfc", "exp2", "expm1", "log1p", "log_softmax", "logit", "logsumexp", "round", "softmax", "xlogy",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "expit":
        return FUNCTIONS["sigmoid"]
    if name in _NAMES:
        return FUNCTIONS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
