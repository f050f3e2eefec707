"""Every in-place form gives what the form without underscore gives: value, gradient, the tensor itself, its version.

The forms are those that the binding has made, the calls those of ``op_calls``. What views see of a write is
``test_views.py``'s; random fills have no other form, and stand in ``test_random.py``.
"""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest
from op_calls import USES
from sides import SPECS, Side, arguments, array, backward, quietly

import minigrad
from minigrad.functions import FUNCTIONS
from minigrad.functions.binding import OPERATORS
from minigrad.op import COMPOSITES, OPS
from minigrad.tensor import Tensor

OURS = Side(minigrad)


def forms() -> dict[str, tuple[str, object]]:
    """What writes into its first argument, and the name of the function whose result it writes."""
    made = {}
    for name in (*dir(Tensor), *FUNCTIONS):
        fills = name in COMPOSITES and COMPOSITES[name].function.__module__.endswith("fills")
        if name.endswith("_") and not name.endswith("__") and name[:-1] in FUNCTIONS and not fills:
            for where, call in (("Tensor", getattr(Tensor, name, None)), ("", FUNCTIONS.get(name))):
                if call is not None:
                    made[f"{where}.{name}".lstrip(".")] = name[:-1], call
    for name, call in FUNCTIONS.items():
        row, composite = OPS.get(name), COMPOSITES.get(name)
        takes = composite and "inplace" in inspect.signature(composite.function).parameters
        if takes or (composite is None and row and row.elementwise):
            made[f"{name}(inplace=True)"] = name, lambda *a, call=call, **k: call(*a, **k, inplace=True)
    for python, row in OPERATORS.items():
        if hasattr(Tensor, f"__i{python}__"):
            made[f"i{python}"] = row, getattr(operator, f"i{python}")
    return made


FORMS = forms()


def result_of(use, call, written: bool):
    """The tensor that a call writes or makes, its first operand, and the gradients of all operands."""
    minigrad.manual_seed(0)
    leaves: list = []
    args, kwargs = arguments(use, OURS, "float64", leaves)
    x = args[0] * 1 if args[0].requires_grad else args[0]
    before, version = array(x).copy(), x._version
    try:
        result = quietly(call, x, *args[1:], **kwargs)
    except RuntimeError:
        assert written
        np.testing.assert_array_equal(array(x), before)
        assert x._version == version
        return None, x, None
    assert x._version == version + written
    if written:
        assert result is x
    else:
        np.testing.assert_array_equal(array(x), before)
    backward(OURS, result)
    return result, x, [array(t * 0 if t.grad is None else t.grad) for t in leaves]


def calls(name, operator: bool):
    for use in USES:
        if use.name == name and isinstance(use.args[0], SPECS):
            if operator and (use.kwargs or len(use.args) != 2):
                continue
            yield use
            if "dropout" in name:  # what is compared with torch drops all or nothing
                yield use._replace(args=(use.args[0], 0.5), kwargs={"training": True})


@pytest.mark.parametrize("form", FORMS)
def test_a_write_gives_what_the_function_gives_and_its_gradient(form):
    name, call = FORMS[form]
    wrote = 0
    for use in calls(name, form[1:] in OPERATORS):
        expected, x, gradients = result_of(use, FUNCTIONS[name], written=False)
        if expected is x:  # dropout that drops nothing
            continue
        found, _, found_gradients = result_of(use, call, written=True)
        if found is None:
            assert expected.shape != x.shape or expected.dtype.category > x.dtype.category, (
                f"{use} is refused"
            )
            continue
        wrote += 1
        assert found.dtype == x.dtype and found.shape == expected.shape
        np.testing.assert_array_equal(array(found), array(expected.to(x.dtype)), str(use))
        assert found.requires_grad == expected.requires_grad, use
        if expected.requires_grad:
            for a, b in zip(found_gradients, gradients, strict=True):
                np.testing.assert_allclose(a, b, 1e-12, 1e-14, err_msg=str(use))
    assert wrote, f"tests/op_calls.py has no call of {name} whose result fits its first operand"
