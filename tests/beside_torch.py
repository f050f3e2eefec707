"""One call on two libraries, torch and minigrad, and what it means that the results agree. Skips where torch isn't."""

from __future__ import annotations

import numpy as np
import pytest
from sides import FLOATS, Side, arguments, array, backward, name_of, quietly

import minigrad

torch = pytest.importorskip("torch")

TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
LOOSE = {"hardsigmoid": 1e-7}  # torch keeps 1/6 in float32


THEIRS, OURS = Side(torch), Side(minigrad)


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
