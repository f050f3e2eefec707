"""Declaring a row: what is derived from it, and every way in which a wrong one is refused at import."""

import re

import pytest

import minigrad
from minigrad import autograd
from minigrad.op import ALIASES, COMPOSITES, OPS, REQUIRED, alias, composite, elementwise, op


@pytest.fixture(autouse=True)
def _table():
    """The table as it was, whatever a test declares."""
    rows, composites, aliases = dict(OPS), dict(COMPOSITES), dict(ALIASES)
    yield
    for table, before in ((OPS, rows), (COMPOSITES, composites), (ALIASES, aliases)):
        table.clear()
        table.update(before)


def declare():
    @elementwise(domain=(-1, 1))
    def thing(m, x, y):
        """x y."""
        return x * y

    return thing


def test_a_row_says_what_it_is():
    row = declare()
    assert OPS["thing"] is row and row.inputs == ("x", "y") and row.doc == "x y."
    assert row.usage() == "thing(input, other)"
    assert repr(row) == "<op thing(x, y)>"


def test_a_rule_that_reads_what_it_is_not_given_is_refused_with_what_it_could_read():
    row = declare()
    with pytest.raises(
        TypeError, match=re.escape("its gradient rule reads 'z', which it isn't given; it can read ['x', 'y'")
    ):

        @row.vjp("x")
        def _(m, g, z):
            return g * z


def test_a_missing_gradient_is_refused_unless_it_is_declared():
    row = declare()

    @row.vjp("x")
    def _(m, g, y):
        return g * y

    with pytest.raises(
        TypeError, match=r"no gradient rule for \['y'\]; write @thing.vjp, or declare gradient=None"
    ):
        row.check()

    @op(gradient=None)
    def counted(m, x):
        """Nothing to differentiate."""
        return x

    counted.check()
    assert not counted.differentiable


def test_two_rows_of_one_name_are_refused():
    declare()
    with pytest.raises(TypeError, match=r"op thing in .*: a row of that name exists already"):
        declare()


def test_a_row_without_a_formula_is_refused():
    with pytest.raises(TypeError, match="it has no docstring"):

        @op
        def silent(m, x):
            return x


def test_a_forward_must_take_the_namespace_first():
    with pytest.raises(TypeError, match="must take the namespace m first"):

        @op
        def wrong(x):
            """x."""
            return x


@pytest.mark.parametrize("names", ["g, m", "g", "m, x"])
def test_a_rule_must_take_m_and_g_first(names):
    row = declare()
    scope = {}
    exec(f"def rule({names}): return None", scope)
    with pytest.raises(TypeError, match=r"a rule must take \(m, g, …\)"):
        row.vjp(scope["rule"])


def test_two_rules_for_one_input_are_refused():
    row = declare()
    row.vjp("x")(lambda m, g, y: g * y)
    with pytest.raises(TypeError, match="two gradient rules for the same input"):
        row.vjp("x")(lambda m, g, y: g * y)


def test_a_rule_for_what_is_not_an_input_is_refused():
    with pytest.raises(TypeError, match=r"a rule for 'q', but its inputs are \('x', 'y'\)"):
        declare().vjp("q")


def test_a_rule_for_a_row_declared_without_gradient_is_refused():
    @op(gradient=None)
    def flat(m, x):
        """x."""
        return x

    with pytest.raises(TypeError, match="declared not differentiable, but has a gradient rule"):
        flat.vjp(lambda m, g: g)


def test_a_function_that_reads_an_undefined_name_is_refused():
    @op(gradient=None)
    def typo(m, x):
        """x."""
        return x * sigmma  # noqa: F821

    with pytest.raises(
        TypeError, match=r"typo \(line \d+\) reads 'sigmma', which is neither an argument nor defined"
    ):
        typo.check()


def test_mutating_what_is_not_an_input_is_refused():
    with pytest.raises(TypeError, match=r"it mutates \['q'\], which are not among \('x',\)"):

        @op(gradient=None, mutates=("q",))
        def write_(m, x):
            """x."""


def test_composites_and_aliases_do_not_hide_each_other():
    def exp(x):
        return x

    with pytest.raises(TypeError, match="composite exp: a public function of that name exists already"):
        composite(exp)
    with pytest.raises(TypeError, match="alias exp: a public function of that name exists already"):
        alias("exp", "log")


def test_a_row_composes_with_others_on_any_namespace():
    import numpy as np

    assert OPS["mean"](np, np.ones((2, 3))) == 1.0
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    assert OPS["mean"](autograd.ON_TENSORS, x).requires_grad


def test_arguments_bind_in_pytorchs_order_and_names():
    row = OPS["lerp"]
    given, attrs = row.bind((1, 2), {"weight": 3})
    assert given == [1, 2, 3] and attrs == {}
    with pytest.raises(
        TypeError, match=re.escape("lerp() missing required argument 'weight': lerp(input, end, weight)")
    ):
        row.bind((1, 2), {})
    with pytest.raises(TypeError, match="unexpected argument 'wieght'"):
        row.bind((1, 2, 3), {"wieght": 3})
    with pytest.raises(TypeError, match="takes 3 arguments, got 4"):
        row.bind((1, 2, 3, 4), {})
    with pytest.raises(TypeError, match="missing required argument 'shape'"):
        OPS["reshape"].bind((1,), {})


def test_numpys_axis_is_taken_for_dim():
    x = minigrad.ones(2, 3)
    assert minigrad.amax(x, axis=1).shape == (2,)
    assert minigrad.amax(x, axis=1, keepdims=True).shape == (2, 1)


def test_a_required_attribute_is_told_from_none():
    assert OPS["reshape"].attrs["shape"] is REQUIRED and repr(REQUIRED) == "required"
