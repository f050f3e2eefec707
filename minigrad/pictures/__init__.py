"""Pictures: of a training run (``training``), of text (``text``), of a graph (``graph``), and how SVG is written (``svg``)."""

from .graph import draw
from .text import attention, projection
from .training import confusion, curves, predictions

__all__ = ["attention", "confusion", "curves", "draw", "predictions", "projection"]
