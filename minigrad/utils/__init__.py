"""PyTorch's import paths, re-exported: ``utils.data``, ``utils.checkpoint``, and what ``autograd`` shows as submodules."""
