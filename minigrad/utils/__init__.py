"""PyTorch's import paths, re-exported: ``minigrad.utils.data`` and ``minigrad.utils.checkpoint``."""
