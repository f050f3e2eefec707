"""``torch.autograd``'s submodules, re-exported: ``minigrad.autograd.functional`` and its like are found here.

``autograd.py`` points its ``__path__`` at this folder. Nothing is defined here.
"""
