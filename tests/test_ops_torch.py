"""Every public function beside torch: values, dtypes, shapes, gradients, in every form of its call."""

from __future__ import annotations

import numpy as np
import pytest
from beside_torch import LOOSE, OURS, THEIRS, agree, both, torch
from op_calls import USES
from sides import DTYPES, FLOATS, SPECS, arguments, quietly

from minigrad.op import ALIASES, COMPOSITES, OPS, floats

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


def second(side, use):
    """Gradients of the squared gradients: (values, None where nothing depends on the leaf)."""
    leaves = []
    args, kwargs = arguments(use, side, "float64", leaves)
    call = side.function(use.name) or getattr(type(args[0]), use.name)
    result = quietly(call, *args, **kwargs)
    parts = [
        t
        for t in (result if isinstance(result, (tuple, list)) else [result])
        if getattr(t, "requires_grad", False)
    ]
    if not parts:
        return []
    total = sum((t * t).sum() for t in parts)
    grad = side.lib.autograd.grad
    first = grad(total, leaves, create_graph=True, allow_unused=True)
    twice = sum((g * g).sum() for g in first if g is not None and g.requires_grad)
    if not hasattr(twice, "backward"):
        return []
    found = grad(twice, leaves, allow_unused=True)
    return [x.detach() * 0 if g is None else g for g, x in zip(found, leaves, strict=True)]


@by_name
def test_second_derivatives_agree(name):
    for use in GROUPS[name][:12]:
        try:
            theirs = second(THEIRS, use)
        except (RuntimeError, TypeError, AttributeError, IndexError):
            continue
        if not all(bool(t.isfinite().all()) for t in theirs):
            continue
        ours = second(OURS, use)
        if not ours or not theirs:  # one has no graph where the other's is of zeros
            assert not any(bool(t.any()) for t in [*ours, *theirs]), f"{use}: {ours} for {theirs}"
            continue
        if "scale_grad_by_freq" in use.kwargs:  # torch forgets the scale when it differentiates twice
            continue
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            agree(a, b, f"{use}: second derivative {k}", rtol=max(1e-8, LOOSE.get(name, 0)))


ASTRAY = {  # where NaN comes of an infinity in torch alone, or of how it goes about it
    "sign": "NumPy's sign of NaN is NaN, torch's 0",
    "pow": "torch takes the exponent -½ for rsqrt, and so (-∞)^-½ for NaN",
    "var_mean": "torch's running mean is NaN after an infinity",
    "std_mean": "torch's running mean is NaN after an infinity",
    "trapezoid": "torch subtracts the ends from the sum, ∞ from ∞",
    "trapz": "torch subtracts the ends from the sum, ∞ from ∞",
    "scaled_dot_product_attention": "0 · ∞ in the values where nothing is attended to",
}
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
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinities_among_the_operands_come_out_as_in_torch(name, poison):
    for use in GROUPS[name]:
        found = both(use, poison=poison) or both(use, form="method", poison=poison)
        if found is not None and name not in ASTRAY:
            theirs, ours = found[0]
            if name in PICKS_ANY:
                theirs, ours = theirs[:1], ours[:1]
            agree(ours, theirs, f"{use} with {poison}")


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
            out = side.lib.empty(tuple(result.shape), dtype=result.dtype)
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
