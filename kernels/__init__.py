"""Kernel sets: fast forwards and gradient rules on raw arrays, one subpackage a set.

A set registers what it has with ``minigrad.backend.register_kernel``; a row without a kernel runs its
reference. Here live no autograd, no layers and no semantics: the row in ``minigrad/ops`` is the oracle.
``numba_cpu/`` is the set "numba".
"""

if __name__ != "minigrad.kernels":
    raise ImportError(
        f"kernels: this package is minigrad.kernels, it was imported as {__name__!r}; "
        f"write `import minigrad.kernels`"
    )
