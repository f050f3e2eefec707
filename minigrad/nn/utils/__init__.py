"""``torch.nn.utils``' names: clipping is in ``minigrad.optim``, vectors in ``nn.parameter``. Nothing is defined here."""

from ...optim.clipping import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ..parameter import parameters_to_vector, vector_to_parameters
from . import clip_grad, convert_parameters, rnn, stateless

__all__ = [
    "clip_grad", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "convert_parameters",
    "get_total_norm", "parameters_to_vector", "rnn", "stateless", "vector_to_parameters",
]  # fmt: skip
