"""``torch.nn.utils.stateless``'s name, from ``nn.stateless``. Nothing is defined here."""

from ..stateless import functional_call

__all__ = ["functional_call"]
