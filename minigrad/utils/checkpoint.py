"""``torch.utils.checkpoint``'s names, from ``minigrad.function``. Nothing is defined here."""

from ..function import CheckpointError, checkpoint, checkpoint_sequential

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]
