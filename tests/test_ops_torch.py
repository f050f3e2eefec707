"""Every public function beside torch: values, dtypes, shapes, gradients, forms, promotion, indexing, einsum, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import op_calls
import pytest
from op_calls import USES, Still

import minigrad
from minigrad.op import ALIASES, COMPOSITES, OPS, bools, floats, ints

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
        self.library, self.F = library, library.nn.functional

    def tensor(self, array, dtype=None, grad=False):
        made = self.library.tensor(array, dtype=None if dtype is None else getattr(self.library, dtype))
        return made.requires_grad_() if grad and made.dtype.is_floating_point else made

    def function(self, name):
        return getattr(self.F, name, None) or getattr(self.library, name, None)


THEIRS, OURS = Side(torch), Side(minigrad)


def operands(value, side, rng, dtype, leaves):
    """Specs as tensors of a side, in the nesting of a call; the float leaves are collected."""
    if isinstance(value, Still):
        return operands(value.spec, side, rng, dtype, None)
    if isinstance(value, SPECS):
        array = op_calls.array_of(value, rng)
        if isinstance(value, floats) and dtype not in FLOATS:
            array = np.round(np.abs(array) + 1) if dtype != "bool" else array > 0
        t = side.tensor(array, dtype if isinstance(value, floats) else None, grad=leaves is not None)
        if leaves is not None and t.requires_grad:
            leaves.append(t)
        return t
    if isinstance(value, (list, tuple)):
        return type(value)(operands(v, side, rng, dtype, leaves) for v in value)
    return (
        getattr(side.library, value) if value in ("float64", "float32") and isinstance(value, str) else value
    )


def arguments(use, side, dtype="float64", leaves=None):
    rng = np.random.default_rng(1)
    args = [operands(a, side, rng, dtype, leaves) for a in use.args]
    return args, {k: operands(v, side, rng, dtype, leaves) for k, v in use.kwargs.items()}


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


def both(use, dtype="float64", form="function", gradients=False):
    """Runs a use on both sides; None where torch has no such call."""
    results, leaves = [], ([], [])
    for side, collected in zip((THEIRS, OURS), leaves, strict=True):
        args, kwargs = arguments(use, side, dtype, collected if gradients else None)
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


def known(use):
    return OURS.function(use.name) is not None or hasattr(minigrad.Tensor, use.name)


GROUPS = {name: [u for u in USES if u.name == name] for name in dict.fromkeys(u.name for u in USES)}
by_name = pytest.mark.parametrize("name", GROUPS)
HOMES = ("arithmetic", "shapes", "reductions", "indexing", "products", "activations", "layers")


def test_every_public_function_is_called():
    ours = {row.name for row in OPS.values() if row.public} | set(ALIASES)
    ours |= {
        n for n, c in COMPOSITES.items()
        if c.public and c.function.__module__.rpartition(".")[2] in HOMES and n not in ("result_type", "view")
    }  # fmt: skip
    assert not ours - set(GROUPS), f"no call of {sorted(ours - set(GROUPS))}"


@by_name
def test_values_and_gradients_agree_in_float64(name):
    for use in GROUPS[name]:
        found = both(use, gradients=True) or both(use, form="method", gradients=True)
        assert found is not None, f"torch refuses {use}"
        (theirs, ours), (their_leaves, our_leaves) = found
        agree(ours, theirs, f"{use}")
        for k, (a, b) in enumerate(zip(our_leaves, their_leaves, strict=True)):
            found, wanted = (t.grad if t.grad is not None else 0 * t.detach() for t in (a, b))
            agree(found, wanted, f"{use}: gradient {k}", rtol=LOOSE.get(name))


PICKS_ANY = ("topk", "kthvalue")


@by_name
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_torch_computes_in_a_dtype_agrees(name, dtype):
    for use in GROUPS[name]:
        found = both(use, dtype) or both(use, dtype, "method")
        if found is not None:
            theirs, ours = found[0]
            if name in PICKS_ANY and dtype not in FLOATS:
                theirs, ours = theirs[:1], ours[:1]  # among equals torch picks any
            agree(ours, theirs, f"{use} in {dtype}")


@by_name
@pytest.mark.parametrize("form", ["method", "method_"])
def test_methods_and_in_place_forms_agree(name, form):
    for use in GROUPS[name]:
        if not isinstance(use.args[0], SPECS):
            continue
        found = both(use, "float32", form)
        if found is not None:
            agree(found[0][1], found[0][0], f"{use} as {form}")


@by_name
def test_out_takes_the_result(name):
    for use in GROUPS[name]:
        expected = both(use, "float32")
        if expected is None or not isinstance(expected[0][0], torch.Tensor):
            continue
        outs = []
        for side, result in zip((THEIRS, OURS), expected[0], strict=True):
            args, kwargs = arguments(use, side, "float32")
            out = side.library.empty(tuple(result.shape), dtype=result.dtype)
            try:
                returned = quietly(side.function(use.name), *args, **kwargs, out=out)
            except TypeError:
                if side is OURS:
                    raise
                break
            assert returned is out, f"{use}: out= is returned"
            outs.append(out)
        if outs:
            agree(outs[1], outs[0], f"{use} with out=")


UNARY = sorted({u.name for u in USES if len(u.args) == 1 and isinstance(u.args[0], floats) and not u.kwargs})
POINTS = [-6.0, -3.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0, 100.0, -100.0]
SPECIAL = [float("inf"), -float("inf"), 1e-300, 5e-324, 1e300, -1e300]


@pytest.mark.parametrize("name", UNARY)
def test_gradients_at_kinks_and_special_values_agree(name):
    """Where functions have corners torch chose a side, and 0 · inf must come out as there."""
    for values in (POINTS, SPECIAL):
        for value in values:
            found = single(name, value)
            if found is not None and (name, abs(value)) not in QUIRKS:
                (a, ga), (b, gb) = found
                assert same(a, b), f"{name}({value}) is {a}, {b} in torch"
                assert same(ga, gb, LOOSE.get(name, 1e-9)), f"{name}'({value}) is {ga}, {gb} in torch"


QUIRKS = {("prod", float("inf")): "torch divides the product by the element, ∞ by ∞"}


def single(name, value):
    """Value and gradient of a function of one number on both sides."""
    found = []
    for side in (OURS, THEIRS):
        x = side.tensor([value], "float64", grad=True)
        try:
            y = quietly(side.function(name), x)
            y = y if hasattr(y, "backward") else None
        except (RuntimeError, TypeError, IndexError):
            return None
        if y is None:
            return None
        if y.requires_grad:
            y.sum().backward()
        found.append((y.tolist(), None if x.grad is None else x.grad.tolist()))
    return found


def same(a, b, rtol=1e-9):
    if a is None or b is None:
        return not any(np.ravel(a or b or 0))
    return np.allclose(a, b, rtol=rtol, atol=1e-300, equal_nan=True)
