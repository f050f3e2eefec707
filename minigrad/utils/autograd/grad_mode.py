"""``torch.autograd.grad_mode``'s names, from ``minigrad.autograd``. Nothing is defined here."""

from minigrad.autograd import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
