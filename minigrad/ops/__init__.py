"""The rows, by family. Importing this makes the op table and refuses it whole if one row is wrong."""

from .. import op
from . import attention, elementwise, fused, index, linalg, optimizer, reduce, shape, trigonometry

op.check_table()

__all__ = [
    "attention",
    "elementwise",
    "fused",
    "index",
    "linalg",
    "optimizer",
    "reduce",
    "shape",
    "trigonometry",
]
