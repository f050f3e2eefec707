"""``torch.version``: the package's version, and those of what it was built for, which is nothing."""

from . import __version__

__all__ = ["__version__", "cuda", "hip"]

cuda = hip = None
