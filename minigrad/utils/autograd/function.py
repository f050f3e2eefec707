"""``torch.autograd.function``'s names, from ``minigrad.function``. Nothing is defined here."""

from minigrad.function import Function, FunctionCtx, once_differentiable

__all__ = ["Function", "FunctionCtx", "once_differentiable"]
