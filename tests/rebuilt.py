"""Modules of kernels from their source with lines replaced: other machines' vectors, and faults that a check must find."""

import itertools
import sys
import types
from pathlib import Path

from minigrad.kernels.numba_cpu import loading, vectors

MACHINES = {"AVX-512": (16, 32), "AVX2": (8, 16), "NEON": (4, 32), "SSE": (4, 16)}
_numbers = itertools.count()


def built(monkeypatch, kernels, *faults, machine=None):
    """A module of kernels over ``vectors``, compiled for itself and not kept."""

    def refuse(*args):
        raise OSError("not kept")

    monkeypatch.setattr(loading, "_keep", refuse)
    number, modules = next(_numbers), {}
    sources = {m: Path(m.__file__).read_text() for m in (vectors, kernels)}
    for old, new in faults:
        assert sum(text.count(old) for text in sources.values()) == 1, old
        sources = {m: text.replace(old, new) for m, text in sources.items()}
    for original, text in sources.items():
        name = f"{original.__name__}_{number}"
        made = modules[original] = types.ModuleType(name)
        made.__package__ = kernels.__package__
        monkeypatch.setitem(sys.modules, name, made)
        text = text.replace("from .vectors import", f"from .vectors_{number} import")
        if machine is not None:
            text = text.replace("REGISTERS = _machine()", f"REGISTERS = {MACHINES[machine]}")
        exec(compile(text, f"{name}.py", "exec"), vars(made))
    return modules[kernels]
