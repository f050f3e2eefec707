"""Files: ``save`` and ``load`` of nested structures, the safetensors format, files written whole or not at all."""

from .files import atomic_write
from .safetensors import SafetensorsError, load_file, safe_open, save_file
from .saving import load, save

__all__ = ["SafetensorsError", "atomic_write", "load", "load_file", "safe_open", "save", "save_file"]
