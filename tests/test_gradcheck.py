"""The checker: what it accepts, what it refuses, how sharp it is, and what a failure says."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.autograd import Function, gradcheck, gradgradcheck
from minigrad.gradcheck import GradcheckError, cases_of, check_row, draw, extrapolated
from minigrad.op import OPS, case, floats, op


def tensor(*shape, seed=0, low=-2.0, high=2.0):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return minigrad.tensor(values, dtype=minigrad.float64, requires_grad=True)


def with_rule(forward, backward):
    """A function of one tensor with the given rule ``backward(g, x)``."""

    class Made(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, g):
            return backward(g, ctx.saved_tensors[0])

    return Made.apply


@pytest.fixture
def row():
    """Declares a row and takes it out of the table again."""
    before = dict(OPS)

    def declare(forward, rule, **options):
        def thing(m, x, y):
            """A row on trial."""
            return forward(m, x, y)

        made = op(**options)(thing)
        made.vjp(lambda m, g, x, y: rule(m, g, x, y))
        made.check()
        return made

    yield declare
    OPS.clear()
    OPS.update(before)


# ---- what is right passes --------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
def test_right_gradients_pass_to_nine_digits(fast):
    x, w = tensor(3, 4), tensor(4, 2, seed=1)
    f = lambda x, w: (x @ w).tanh().softmax(1)  # noqa: E731
    assert gradcheck(
        f, (x, w), rtol=1e-9, atol=1e-10, fast_mode=fast, check_forward_ad=True, check_grad_dtypes=True
    )
    assert gradgradcheck(f, (x, w), rtol=1e-8, atol=1e-9, fast_mode=fast, gen_non_contig_grad_outputs=True)


def test_a_single_tensor_several_outputs_untracked_inputs_and_scalars_are_accepted():
    x = tensor(3)
    assert gradcheck(lambda x: (x.sin(), x.argmax(), x.sum()), x)
    assert gradcheck(lambda x, n, c: x**n * c, (x, 3, minigrad.ones(3)))
    assert gradcheck(lambda x: x * 2, tensor()) and gradcheck(lambda x: x.sum(), tensor(0, 3))
    assert gradcheck(lambda a, b: a * b, (x, x), fast_mode=False)  # one tensor, twice


def test_inputs_and_their_memory_come_back_untouched():
    x = tensor(3)
    array, values = x._array, x.tolist()

    def f(x):
        if x._array is not array:
            raise ZeroDivisionError
        return x * 2

    with pytest.raises(ZeroDivisionError):
        gradcheck(f, x)
    assert x._array is array and x.tolist() == values and x.grad is None


def test_strided_read_only_and_reversed_inputs_are_varied_one_by_one():
    base = np.random.default_rng(0).normal(size=(4, 6))
    base.flags.writeable = False
    for view in (base.T, base[::-2, 1:5:2]):
        x = minigrad.autograd.wrap(view).requires_grad_()
        assert gradcheck(lambda x: x.exp().cumsum(0), x, fast_mode=False, rtol=1e-9)


def test_gradients_that_do_not_depend_on_the_inputs_pass_the_second_order():
    assert gradgradcheck(lambda x: x * 3, tensor(3)) and gradgradcheck(lambda x: x.sum(), tensor(3))


def test_given_grad_outputs_are_used():
    seen = []
    f = with_rule(lambda x: x * 1, lambda g, x: seen.append(g.tolist()) or g)
    assert gradgradcheck(
        f, tensor(2), minigrad.tensor([5.0, 7.0], dtype=minigrad.float64, requires_grad=True)
    )
    assert [5.0, 7.0] in seen


def test_an_output_without_history_must_not_depend_on_the_inputs():
    assert gradcheck(lambda x: minigrad.ones(2), tensor(3)) and gradcheck(
        lambda x: x.sign().detach(), tensor(3)
    )
    with pytest.raises(GradcheckError, match=r"analytic 0, numeric (2|1\.9{9})"):
        gradcheck(lambda x: x.detach() * 2, tensor(3))


# ---- what is wrong is caught -----------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        lambda g, x: g * x.cos() * 1.0005,
        lambda g, x: -g * x.cos(),
        lambda g, x: g * x.cos() + 1e-5,
        lambda g, x: g * x.sin(),
        lambda g, x: None,
        lambda g, x: g * x.cos() * float("nan"),
    ],
)
def test_a_rule_that_is_slightly_wrong_fails(rule, fast):
    f = with_rule(minigrad.sin, rule)
    with pytest.raises(GradcheckError):
        gradcheck(f, tensor(3, 2), atol=1e-7, rtol=1e-6, fast_mode=fast)
    assert not gradcheck(f, tensor(3, 2), atol=1e-7, rtol=1e-6, fast_mode=fast, raise_exception=False)


@given(st.integers(0, 8), st.floats(1e-4, 10))
def test_one_wrong_element_of_nine_fails_whichever_it_is(where, error):
    def rule(g, x):
        wrong = np.zeros(9)
        wrong[where] = error
        return g * x.cos() + g * minigrad.tensor(wrong.reshape(3, 3))

    assert not gradcheck(
        with_rule(minigrad.sin, rule), tensor(3, 3), atol=1e-8, rtol=1e-6, raise_exception=False
    )


def test_a_failure_says_op_input_index_analytic_and_numeric():
    def rule(g, x):
        out = (g * x.cos()).clone()
        out[1, 0] = 7
        return out

    with pytest.raises(GradcheckError) as e:
        gradcheck(lambda c, x: with_rule(minigrad.sin, rule)(x), (tensor(1), tensor(2, 2)), fast_mode=False)
    assert re.search(
        r"MadeBackward: Jacobian mismatch for output 0 with respect to input 1, float64 \(2, 2\), at input index \(1, 0\), "
        r"output index \(\d, \d\): analytic 7, numeric (\S+), they differ by \S+ where \S+ is allowed",
        str(e.value),
    )


def test_a_second_derivative_that_is_wrong_fails_at_second_order_alone():
    def rule(g, x):
        return g * x.detach().cos()  # right in value, wrong in history

    f = with_rule(minigrad.sin, rule)
    assert gradcheck(f, tensor(3))
    with pytest.raises(GradcheckError):
        gradgradcheck(f, tensor(3))
    assert not gradgradcheck(f, tensor(3), raise_exception=False)


def test_forward_mode_catches_a_rule_that_is_not_linear():
    f = with_rule(minigrad.sin, lambda g, x: g * x.cos() * (1 + (g.detach() == 0)))
    assert gradcheck(f, tensor(3))
    with pytest.raises(GradcheckError, match=r"forward mode \(jvp\), output index"):
        gradcheck(f, tensor(3), check_forward_ad=True)
    with pytest.raises(GradcheckError, match="forward mode"):
        gradcheck(f, tensor(3), check_forward_ad=True, check_backward_ad=False)


def test_a_backward_that_is_not_a_function_of_its_arguments_fails():
    rng = np.random.default_rng(0)
    f = with_rule(minigrad.sin, lambda g, x: g * x.cos() * (1 + 1e-7 * rng.random()))
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(f, tensor(3))
    assert gradcheck(f, tensor(3), nondet_tol=1e-5)


def test_gradients_that_do_not_fit_their_inputs_fail(monkeypatch):
    monkeypatch.setattr(
        "minigrad.backward._fit", lambda module, g, fits, create: g
    )  # an engine that forgets to un-broadcast
    with pytest.raises(
        GradcheckError, match=r"the gradient by input 0 is float64 \(2, 3\), the input float64 \(3,\)"
    ):
        gradcheck(lambda x: x * minigrad.ones(2, 3), tensor(3))


def test_undefined_gradients_of_other_outputs_are_part_of_the_check():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 3  # fails on None

    with pytest.raises(TypeError):
        gradcheck(Two.apply, tensor(2))
    assert gradcheck(Two.apply, tensor(2), check_undefined_grad=False)


def test_each_output_is_checked_by_its_number():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x.argmax(), x * 3

        @staticmethod
        def backward(ctx, a, _, b):
            return a * 2 + b * 4

    with pytest.raises(GradcheckError, match="for output 2 with respect to input 0"):
        gradcheck(Two.apply, tensor(2))


# ---- refused calls ---------------------------------------------------------------------------------------


def test_narrow_inputs_are_warned_of():
    x = minigrad.ones(2, requires_grad=True)
    with pytest.warns(
        UserWarning, match=r"Input #0 requires gradient and is not a double precision .* float32 \(2,\)"
    ):
        gradcheck(lambda x: x * 2, x, raise_exception=False)


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(lambda x: x, minigrad.ones(2))
    with pytest.raises(ValueError, match="gradgradcheck expects"):
        gradgradcheck(lambda x: x, minigrad.ones(2))
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(lambda x: x * 2, tensor(1).detach().expand(3).requires_grad_())
    for wrong in ("check_batched_grad", "check_batched_forward_grad", "masked"):
        with pytest.raises(NotImplementedError, match=f"{wrong}=True is not supported"):
            gradcheck(lambda x: x, tensor(2), **{wrong: True})


# ---- the measured derivative -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "exact"),
    [(np.exp, 1.0), (lambda h: np.sin(5 * h + 1), 5 * np.cos(1)), (lambda h: 1 / (1 + h) ** 3, -3)],
)
def test_extrapolated_differences_are_good_to_eleven_digits(f, exact):
    found = extrapolated(lambda h: np.array([(f(h) - f(-h)) / (2 * h)]), 1e-3)
    assert abs(found[0] / exact - 1) < 1e-11


def test_a_kink_nearby_spoils_only_the_wide_steps():
    f = lambda h: np.abs(np.array([2e-5, 1.0]) + h) + h**3  # noqa: E731
    np.testing.assert_allclose(extrapolated(lambda h: (f(h) - f(-h)) / (2 * h), 1e-3), [1, 1], rtol=1e-9)


# ---- rows ------------------------------------------------------------------------------------------------


def test_rows_are_drawn_from_their_domain_away_from_their_kinks():
    for seed in range(20):
        (x,) = draw("relu", case((50,)), seed)
        low, high = OPS["relu"].domain
        assert (np.abs(x) >= (high - low) / 50 - 1e-12).all() and x.min() >= low and x.max() <= high
        a, b = draw(OPS["div"], case((5,), floats((3,), 7, 8)), seed)
        assert np.abs(a).max() <= 2 and b.min() >= 7
    assert cases_of(OPS["add"])[0].operands == ((2, 3), (2, 3))
    indices = draw("gather")[1]
    assert indices.dtype.kind == "i" and draw("masked_fill")[1].dtype == bool
    assert (
        draw("layer_norm", cases_of(OPS["layer_norm"])[1])[1] is None
        and draw("add", dtype=np.float32)[0].dtype == np.float32
    )


@pytest.mark.parametrize(
    "name", ["mul", "tanh", "where", "matmul", "cat", "sum", "gather", "max_dim", "layer_norm", "linear"]
)
def test_right_rows_pass_in_both_modes(name):
    for which in cases_of(OPS[name]):
        assert check_row(name, which) and check_row(OPS[name], which, fast_mode=False, seed=1)


def test_a_row_is_checked_on_operands_of_ones_own_and_on_a_subset_of_inputs():
    a, b = np.array([[0.5, -1.0, 2.0]]), np.array([[1.5], [3.0]])
    assert check_row("mul", operands=[a, b]) and check_row("mul", operands=[a.T, b.T])
    assert check_row("mul", operands=[a, b], needs=[False, True], order=1) and check_row(
        "mul", operands=[a, 3.0]
    )


@pytest.mark.parametrize("analytic", [True, False])
def test_wrong_rows_are_named_with_their_input(row, analytic):
    right = {"forward": lambda m, x, y: x * x * y, "analytic": analytic, "cases": [case((2, 3), (2, 3))]}
    forward = right.pop("forward")
    made = row(forward, lambda m, g, x, y: (2 * g * x * y, g * x * x * 1.0005), **right)
    with pytest.raises(
        GradcheckError,
        match=r"thing: Jacobian mismatch for output 0 with respect to input 1 \(y\), float64 \(2, 3\)",
    ):
        check_row(made)
    with pytest.raises(GradcheckError, match=r"input 1 \(y\)"):
        check_row(made, fast_mode=False)


def test_a_row_whose_second_order_is_wrong_is_caught(row):
    forward, cases = (lambda m, x, y: x * x * y), [case((2, 3), (2, 3))]
    made = row(
        forward,
        lambda m, g, x, y: (2 * g * x * y, g * m.square(x if hasattr(x, "flags") else x.detach())),
        cases=cases,
    )
    assert check_row(made, order=1)
    with pytest.raises(GradcheckError):
        check_row(made)


def test_a_complex_step_is_exact_where_differences_are_not(row):
    # (sin(1e6 x): differences over 1e-3 … 1e-6 see nothing but phase)
    made = row(
        lambda m, x, y: m.sin(1e6 * x) * y,
        lambda m, g, x, y: (g * 1e6 * m.cos(1e6 * x) * y, g * m.sin(1e6 * x)),
        cases=[case((3,), (3,))],
    )
    assert check_row(made, order=1, rtol=1e-9)


def test_a_row_declared_analytic_must_take_complex_numbers(row):
    def forward(m, x, y):
        if x.dtype.kind != "f":
            raise TypeError("floats alone")
        return x * y

    made = row(forward, lambda m, g, x, y: (g * y, g * x), cases=[case((3,), (3,))])
    with pytest.raises(
        GradcheckError, match=r"thing is declared analytic, .*floats alone.*declare analytic=False"
    ):
        check_row(made)


def test_a_row_without_gradient_has_nothing_to_check():
    with pytest.raises(ValueError, match="argmax is declared not differentiable"):
        check_row("argmax")


# ---- torch, where it is there ----------------------------------------------------------------------------


def test_calls_written_for_torchs_gradcheck_give_its_verdict():
    torch = pytest.importorskip("torch")

    def verdicts(t):
        class Wrong(t.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.sin()

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * x.sin()

        x = t.linspace(0.2, 1.4, 4, dtype=t.float64).requires_grad_()
        check = t.autograd.gradcheck
        return [
            check(t.exp, (x,), eps=1e-6, atol=1e-4),
            check(t.exp, (x,), fast_mode=True),
            check(Wrong.apply, (x,), raise_exception=False),
            t.autograd.gradgradcheck(lambda x: x.prod(), (x,)),
        ]

    assert verdicts(minigrad) == verdicts(torch) == [True, True, False, True]
