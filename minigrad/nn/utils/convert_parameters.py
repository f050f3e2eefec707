"""``torch.nn.utils.convert_parameters``' names, from ``nn.parameter``. Nothing is defined here."""

from ..parameter import parameters_to_vector, vector_to_parameters

__all__ = ["parameters_to_vector", "vector_to_parameters"]
