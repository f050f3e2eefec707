"""``torch.utils.checkpoint``'s name, from ``minigrad.function``. Nothing is defined here."""

from ..function import checkpoint

__all__ = ["checkpoint"]
