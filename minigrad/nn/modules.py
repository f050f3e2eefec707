"""``torch.nn.modules``' paths: classes, and the files they are in. Nothing is defined here."""

from . import activation, distance, dropout, flatten, linear, loss, module, normalization, sparse
from . import containers as container
from . import normalization as batchnorm
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .module import Module

__all__ = [
    "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential", "activation", "batchnorm",
    "container", "distance", "dropout", "flatten", "linear", "loss", "module", "normalization", "sparse",
]  # fmt: skip
