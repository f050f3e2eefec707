"""``torch.backends``: what other frameworks' back ends are asked and told. Ours is ``minigrad.backend``.

Results here don't depend on these switches: every op is deterministic and float32 is computed in full. They
are there to be set and read by code written for other machines.
"""

from __future__ import annotations

from . import cuda, cudnn, mps

__all__ = [
    "are_deterministic_algorithms_enabled", "cuda", "cudnn", "get_float32_matmul_precision", "mps",
    "set_float32_matmul_precision", "use_deterministic_algorithms",
]  # fmt: skip

_said = {"deterministic": False, "precision": "highest"}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Asks for what is so anyway: no op depends on the order in which threads finish."""
    _said["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was asked for last."""
    return bool(_said["deterministic"])


def set_float32_matmul_precision(precision: str) -> None:
    """The least precision that float32 products may have: "highest", "high" or "medium". They have the highest."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(
            f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}"
        )
    _said["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What was asked for last."""
    return str(_said["precision"])
