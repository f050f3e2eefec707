"""Pictures: of a training run (``training``), of a graph (``graph``), and how SVG is written (``svg``)."""

from .graph import draw
from .training import confusion, curves, predictions

__all__ = ["confusion", "curves", "draw", "predictions"]
