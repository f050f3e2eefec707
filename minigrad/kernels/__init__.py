"""In a checkout, ``minigrad.kernels`` is the folder ``kernels/`` at its top; see ``setup.py``."""

from os.path import dirname, join

__path__ = [join(dirname(dirname(dirname(__file__))), "kernels")]
