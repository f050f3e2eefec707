"""torch and minigrad as two sides that are called alike: operands, calls, gradients. Nothing here needs torch."""

from __future__ import annotations

import warnings

import numpy as np
import op_calls
from op_calls import Still

from minigrad.op import bools, floats, ints

FLOATS = ("float64", "float32", "float16", "bfloat16")
DTYPES = (*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool")
SPECS = (floats, ints, bools)


class Side:
    """torch or minigrad, with one way to make tensors and to find functions."""

    def __init__(self, library):
        self.lib, self.F = library, library.nn.functional

    def tensor(self, array, dtype=None, grad=False):
        made = self.lib.tensor(array, dtype=None if dtype is None else getattr(self.lib, dtype))
        return made.requires_grad_() if grad and made.dtype.is_floating_point else made

    def function(self, name):
        return getattr(self.F, name, None) or getattr(self.lib, name, None)


def operands(value, side, rng, dtype, leaves, poison=None):
    """Specs as tensors of a side, in the nesting of a call; the float leaves are collected."""
    if isinstance(value, Still):
        return operands(value.spec, side, rng, dtype, None, poison)
    if isinstance(value, SPECS):
        array = op_calls.array_of(value, rng)
        if isinstance(value, floats) and dtype not in FLOATS:
            array = np.round(np.abs(array) + 1) if dtype != "bool" else array > 0
        if poison is not None and isinstance(value, floats) and array.size:
            array.reshape(-1)[:: max(array.size // 2, 1)] = poison
        t = side.tensor(array, dtype if isinstance(value, floats) else None, grad=leaves is not None)
        if leaves is not None and t.requires_grad:
            leaves.append(t)
        return t
    if isinstance(value, (list, tuple)):
        return type(value)(operands(v, side, rng, dtype, leaves, poison) for v in value)
    return getattr(side.lib, value) if value in ("float64", "float32") and isinstance(value, str) else value


def arguments(use, side, dtype="float64", leaves=None, poison=None):
    rng = np.random.default_rng(1)
    args = [operands(a, side, rng, dtype, leaves, poison) for a in use.args]
    return args, {k: operands(v, side, rng, dtype, leaves, poison) for k, v in use.kwargs.items()}


def name_of(dtype):
    return str(dtype).rpartition(".")[2]


def array(t):
    t = t.detach()
    return np.asarray((t.float() if name_of(t.dtype) == "bfloat16" else t).numpy())


def float_outputs(result):
    found = result if isinstance(result, (tuple, list)) else [result]
    return [t for t in found if hasattr(t, "requires_grad") and t.requires_grad]


def backward(side, result):
    """The sum of all float outputs, each with weights of its own, sent backward."""
    rng = np.random.default_rng(2)
    total = None
    for t in float_outputs(result):
        weight = side.tensor(rng.uniform(0.5, 1.5, tuple(t.shape)), name_of(t.dtype))
        part = (t * weight).sum()
        total = part if total is None else total + part
    if total is not None:
        total.backward()


def quietly(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)
