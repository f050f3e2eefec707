"""``torch.nn.utils.clip_grad``'s names, from ``minigrad.optim.clipping``. Nothing is defined here."""

from ...optim.clipping import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]
