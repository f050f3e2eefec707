"""Learning-rate schedules: each sets ``lr`` of every parameter group when its ``step()`` is called.

Nothing here touches parameters. η is the learning rate, η₀ the one the optimizer was made with, t the
number of steps (``last_epoch``). Most schedules go from one η to the next (so that several can be chained, and
changes by hand are kept); the closed form serves ``step(epoch)`` and ``SequentialLR``. Attribute names
are PyTorch's, so state dicts are too.
"""

from .base import LRScheduler
from .cycles import CyclicLR, OneCycleLR
from .functions import LambdaLR, MultiplicativeLR
from .plateau import ReduceLROnPlateau
from .several import ChainedScheduler, SequentialLR
from .steps import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)

_LRScheduler = LRScheduler  # the name it once had

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
