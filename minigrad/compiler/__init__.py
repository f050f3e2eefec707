"""``minigrad.compile``: a function is traced once and replayed without building a graph.

The first call (``compiled.py``) runs as always while it is recorded (``trace.py``, ``record.py``); what it did becomes a straight
program (``program.py``), simplified (``passes.py``), fused (``fusion.py``), taken apart (``lowering.py``), planned (``memory.py``) and
written as Python (``emit.py``), which later calls run (``replay.py``) while everything that the trace relied on still
holds (``guards.py``). Batch sizes are in ``sizes.py``. PyTorch's names: ``compiler.reset()``, ``compiler.is_compiling()``.
"""

from __future__ import annotations

from typing import Any

from ..modes import STATE
from .compiled import Compiled, every
from .refusals import CompileError

__all__ = ["CompileError", "Compiled", "compile", "is_compiling", "reset"]


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
    verify: bool = False,
    dynamic_batch: bool = False,
) -> Any:
    """A function, training step or Module that is traced at its first call and replayed afterwards.

    Use it as ``@minigrad.compile``, ``@minigrad.compile(verify=True)`` or ``compile(model)``. The arguments
    are nests of tensors and anything else that compares; a call whose shapes, dtypes, strides, other
    arguments, grad mode or kernel set are new, or that finds a called module's settings, a parameter's shape
    or a ``.grad`` that is or isn't there changed, is traced again. Optimizers' and schedules' steps run as
    Python at every replay, random numbers are drawn anew. what names lead to (globals, closures, attributes)
    is compared, other Python numbers are read once. Raises :class:`CompileError` for what can't be replayed: a value
    read on the host, a shape that depends on values, a return value that is no tensor.

    ``verify`` compares every replay with the uncompiled function, bit for bit, and every loop that stands for several
    calls with these, within rounding. ``disable`` gives the function back. The whole function is always one program (PyTorch's ``fullgraph``). There is one compiler:
    ``backend``, ``mode`` and ``options`` choose between PyTorch's.

    ``dynamic_batch`` keeps the batch size symbolic, which is the first dimension that the tensors among the
    arguments have in common: from the second size on (0 and 1 apart) one program serves all sizes, where
    their calls differ in numbers alone that are ``a·n + b`` or ``k / n``. Python may branch on the size, which no trace
    sees; so the first call of each size runs the function, recorded, and is compared with the program line by
    line, and a size that differs gets a program of its own. ``dynamic=True``, which in PyTorch makes every
    dimension symbolic, means the same here: other dimensions are traced one by one.
    """
    dynamic_batch = dynamic_batch or bool(dynamic)
    if model is None:
        return lambda f: compile(f, dynamic_batch=dynamic_batch, disable=disable, verify=verify)
    if disable:
        return model
    from .module import OptimizedModule, is_module

    kind: Any = OptimizedModule if is_module(model) else Compiled
    return kind(model, verify, dynamic_batch)


def is_compiling() -> bool:
    """True while a compiled function's call is being traced."""
    return STATE.get().tracer is not None


def reset() -> None:
    """Forgets every program of every compiled function; each is traced again at its next call."""
    for compiled in list(every):
        compiled.forget()
