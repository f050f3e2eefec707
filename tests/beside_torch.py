"""One call on two libraries, torch and minigrad, and what it means that the results agree. Skips where torch isn't."""

from __future__ import annotations

import warnings

import numpy as np
import op_calls
import pytest
from op_calls import Still

import minigrad
from minigrad.op import bools, floats, ints

torch = pytest.importorskip("torch")

FLOATS = ("float64", "float32", "float16", "bfloat16")
DTYPES = (*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool")
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
LOOSE = {"hardsigmoid": 1e-7}  # torch keeps 1/6 in float32
SPECS = (floats, ints, bools)


# ---- making operands and comparing results ---------------------------------------------------------------


class Side:
    """torch or minigrad, with one way to make tensors and to find functions."""

    def __init__(self, library):
        self.lib, self.F = library, library.nn.functional

    def tensor(self, array, dtype=None, grad=False):
        made = self.lib.tensor(array, dtype=None if dtype is None else getattr(self.lib, dtype))
        return made.requires_grad_() if grad and made.dtype.is_floating_point else made

    def function(self, name):
        return getattr(self.F, name, None) or getattr(self.lib, name, None)


THEIRS, OURS = Side(torch), Side(minigrad)


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


def agree(ours, theirs, label, rtol=None, atol=None):
    """Same type, same names, same shapes, same dtypes, close values."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, minigrad.Tensor), f"{label}: {type(ours)} for a tensor"
        kind = name_of(theirs.dtype)
        assert name_of(ours.dtype) == kind, f"{label}: {ours.dtype} for {theirs.dtype}"
        assert tuple(ours.shape) == tuple(theirs.shape), f"{label}: {ours.shape} for {theirs.shape}"
        a, b = array(ours), array(theirs)
        if kind in FLOATS:
            near = rtol or TOLERANCE[kind]
            assert np.allclose(a, b, rtol=near, atol=atol or near, equal_nan=True), f"{label}:\n{a}\nfor\n{b}"
        else:
            assert np.array_equal(a, b), f"{label}:\n{a}\nfor\n{b}"
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), f"{label}: {len(ours)} results for {len(theirs)}"
        fields = [
            n
            for n in ("values", "indices", "min", "max")
            if hasattr(theirs, n) and not isinstance(theirs, torch.Size)
        ]
        assert all(hasattr(ours, n) for n in fields), f"{label}: named results {fields}"
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            agree(a, b, f"{label}[{k}]", rtol, atol)
    elif isinstance(theirs, torch.dtype):
        assert name_of(ours) == name_of(theirs), label
    else:
        assert ours == theirs, f"{label}: {ours!r} for {theirs!r}"


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


def both(use, dtype="float64", form="function", gradients=False, poison=None):
    """Runs a use on both sides; None where torch has no such call."""
    results, leaves = [], ([], [])
    for side, collected in zip((THEIRS, OURS), leaves, strict=True):
        args, kwargs = arguments(use, side, dtype, collected if gradients else None, poison)
        call = (
            getattr(args[0], use.name + form.removeprefix("method"), None)
            if form != "function"
            else side.function(use.name)
        )
        args = args[1:] if form != "function" else args
        if side is THEIRS:
            if call is None:
                return None
            try:
                results.append(quietly(call, *args, **kwargs))
            except (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError):
                return None
        else:
            assert call is not None, f"minigrad has no {form} {use.name}"
            results.append(quietly(call, *args, **kwargs))
    if gradients:
        try:
            backward(THEIRS, results[0])
        except RuntimeError:  # torch has no derivative, or a wrong one
            return results, ([], [])
        backward(OURS, results[1])
    return results, leaves
