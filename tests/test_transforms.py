"""vjp, jvp, jacobian, hessian and their products; torch.func's transforms; the first kind beside torch where it is there."""

import numpy as np
import pytest
from minigrad.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp

import minigrad
from minigrad import func, value_and_grad
from minigrad.nest import flatten


def tensor(*shape, seed=0, grad=False):
    values = np.random.default_rng(seed).normal(size=shape)
    return minigrad.tensor(values, dtype=minigrad.float64, requires_grad=grad)


X, Y, V = tensor(3, seed=1), tensor(2, 3, seed=2), tensor(2, seed=3)


def mixed(x, y):
    """(3,), (2, 3) -> (2,), ()"""
    return (y * x.exp()).sum(1), (x * x * y[0]).sum()


def scalar(x, y):
    return (y.sin() @ x.exp()).prod() + (x**3).sum()


def close(a, b):
    flat_a, flat_b = flatten(a)[0], flatten(b)[0]
    assert len(flat_a) == len(flat_b)
    for s, t in zip(flat_a, flat_b, strict=True):
        assert tuple(s.shape) == tuple(t.shape)
        np.testing.assert_allclose(s.detach().numpy(), t.detach().numpy(), rtol=1e-10, atol=1e-12)


# ---- autograd.functional ---------------------------------------------------------------------------------


def test_vjp_and_jvp_are_products_with_the_jacobian():
    v = (tensor(2, seed=4), tensor(seed=5))
    out, (gx, gy) = vjp(mixed, (X, Y), v)
    rows = jacobian(mixed, (X, Y))
    close(out, mixed(X, Y))
    close(gx, v[0] @ rows[0][0] + v[1] * rows[1][0])
    close(gy, (v[0][:, None, None] * rows[0][1]).sum(0) + v[1] * rows[1][1])
    u = (tensor(3, seed=6), tensor(2, 3, seed=7))
    out, (a, b) = jvp(mixed, (X, Y), u)
    close(out, mixed(X, Y))
    close(a, rows[0][0] @ u[0] + (rows[0][1] * u[1]).sum((1, 2)))
    close(b, (rows[1][0] * u[0]).sum() + (rows[1][1] * u[1]).sum())


def test_a_jacobian_has_the_shape_of_the_output_and_then_of_the_input():
    j = jacobian(lambda y: y.exp()[:, None] * minigrad.ones(4, 1, dtype=minigrad.float64), Y)
    assert j.shape == (2, 4, 3, 2, 3)
    assert jacobian(lambda x: x.sum(), X).tolist() == [1.0] * 3
    assert jacobian(lambda x: x[:0], X).shape == (0, 3) and jacobian(lambda x: x.exp(), X[:0]).shape == (0, 0)


@pytest.mark.parametrize("function", [mixed, scalar, lambda x, y: (x, y.sum(0) * x)])
def test_forward_and_reverse_strategies_agree(function):
    reverse = jacobian(function, (X, Y))
    close(jacobian(function, (X, Y), strategy="forward-mode", vectorize=True), reverse)


def test_the_hessian_is_the_jacobian_of_the_gradient_and_symmetric():
    (xx, xy), (yx, yy) = hessian(scalar, (X, Y))
    assert xx.shape == (3, 3) and xy.shape == (3, 2, 3) and yx.shape == (2, 3, 3) and yy.shape == (2, 3, 2, 3)
    close(xx, xx.T)
    close(xy, yx.permute(2, 0, 1))
    close(hessian(scalar, (X, Y), outer_jacobian_strategy="forward-mode"), ((xx, xy), (yx, yy)))
    close(hessian(lambda x: (x**3).sum(), X), minigrad.diag(6 * X))
    ((h,),) = hessian(lambda x: (x**3).sum(), (X,))
    close(h, minigrad.diag(6 * X))


def test_hvp_and_vhp_are_products_with_the_hessian():
    h = hessian(lambda x: scalar(x, Y), X)
    u = tensor(3, seed=8)
    for product in (hvp, vhp):
        value, found = product(lambda x: scalar(x, Y), X, u)
        close(value, scalar(X, Y))
        close(found, h @ u)
        assert not value.requires_grad and not found.requires_grad
    value, (a, b) = hvp(scalar, (X, Y), (u, Y))
    (xx, xy), (yx, yy) = hessian(scalar, (X, Y))
    close(a, xx @ u + (xy * Y).sum((1, 2)))
    close(b, (yx * u).sum(2) + (yy * Y).sum((2, 3)))


def test_v_may_be_left_out_for_a_single_number():
    x = tensor(seed=9)
    (value, slope), (_, same) = vjp(lambda x: x.sin(), x), jvp(lambda x: x.sin(), x)
    close(slope, x.cos())
    close(same, x.cos())
    close(value, x.sin())
    close(vhp(lambda x: x.sin(), x)[1], -x.sin())
    for wrong in (lambda: vjp(mixed, (X, Y)), lambda: jvp(mixed, (X, Y)), lambda: hvp(scalar, (X, Y))):
        with pytest.raises(RuntimeError, match="The vector v can only be None"):
            wrong()


def test_results_have_history_only_with_create_graph():
    x = tensor(3, seed=1, grad=True)
    assert not jacobian(lambda x: x**3, x).requires_grad
    j = jacobian(lambda x: x**3, x, create_graph=True)
    j.sum().backward()
    close(x.grad, 6 * x)
    for product in (vjp, jvp, hvp, vhp):
        f = (lambda x: (x**3).sum()) if product in (hvp, vhp) else (lambda x: x**3)
        value, found = product(f, x, tensor(3), create_graph=True)
        assert value.requires_grad and found.requires_grad
    h = hessian(lambda x: (x**4).sum(), x, create_graph=True)
    close(minigrad.autograd.grad(h.sum(), x)[0], 24 * x)


def test_derivatives_are_taken_in_no_grad_and_leave_the_inputs_alone():
    x = tensor(3, grad=True)
    with minigrad.no_grad():
        close(jacobian(lambda x: x**2, x), minigrad.diag(2 * x))
        close(jvp(lambda x: x**2, x, tensor(3))[1], 2 * x * tensor(3))
    plain = tensor(3)
    jacobian(lambda x: x**2, plain)
    assert x.grad is None and not plain.requires_grad


def test_independent_outputs_and_inputs_are_zeros_or_refused_when_strict():
    w = tensor(3, grad=True)

    def f(x, y):
        return x * 2, V

    a, b = jacobian(f, (X, Y))
    assert b[0].shape == (2, 3) and not b[0].any() and not a[1].any()
    assert not jvp(f, (X, Y), (X, Y))[1][1].any() and not hessian(lambda x: x.sum(), X).any()
    for wrong, message in [
        (
            lambda: jacobian(f, (X, Y), strict=True),
            "Output 1 of the user-provided function does not require gradients",
        ),
        (lambda: vjp(lambda x, y: x * 2, (X, Y), X, strict=True), "independent of input 1"),
        (lambda: jacobian(lambda x: x * 2, X, create_graph=True, strict=True), "independent of input 0"),
        (lambda: hessian(lambda x: x.sum(), X, strict=True), "with respect to input 0 is independent"),
        (lambda: hvp(lambda x, y: (x**2).sum(), (X, Y), (X, Y), strict=True), "with respect to input 1"),
        (lambda: jvp(lambda x: (x * 2, w * 1), X, X, strict=True), r"Output 1 .* independent of the inputs"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            wrong()
    assert jvp(lambda x: x * 2, X, X, strict=True)[1].tolist() == (2 * X).tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: vjp(mixed, (X, 3.0)),
            TypeError,
            r"inputs given to vjp must be .* the value at index 1 has type float",
        ),
        (lambda: vjp(lambda x: 3.0, X), TypeError, "outputs of the function given to vjp must be"),
        (lambda: vjp(lambda x: x, X, 3.0), TypeError, "vector v given to vjp"),
        (
            lambda: vjp(lambda x: x, X, V),
            RuntimeError,
            r"v has invalid size: expected \[\(3,\)\], got \[\(2,\)\]",
        ),
        (lambda: jvp(lambda x: x, X, (X, X)), RuntimeError, "v has invalid size"),
        (
            lambda: hessian(lambda x: x, X),
            RuntimeError,
            r"hessian should contain a single element, got float64 \(3,\)",
        ),
        (
            lambda: hvp(lambda x: 3.0, X, X),
            RuntimeError,
            "hvp should contain a single element, got float 3.0",
        ),
        (
            lambda: jacobian(lambda x: x, X, strategy="sideways"),
            ValueError,
            "expected 'reverse-mode' or 'forward-mode'",
        ),
        (lambda: hessian(mixed, X, outer_jacobian_strategy="up"), ValueError, "hessian: strategy"),
    ],
)
def test_wrong_calls_say_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_nests_of_inputs_and_outputs_keep_their_structure():
    def f(parts):
        return {"a": parts["w"][0] * 2, "b": [parts["w"][1].sum(), parts["v"]]}

    nest = {"w": (X, Y), "v": V}
    out, back = vjp(f, nest, {"a": X, "b": [minigrad.ones((), dtype=minigrad.float64), V]})
    assert list(out) == ["a", "b"] and isinstance(out["b"], list)
    close(back, {"w": (2 * X, minigrad.ones_like(Y)), "v": V})
    j = jacobian(f, nest)
    close(j["b"][0]["w"][1], minigrad.ones_like(Y))


def test_flatten_puts_other_leaves_in_the_same_places():
    from collections import OrderedDict, namedtuple

    Pair = namedtuple("Pair", "left right")
    nest = [1, (2, {"k": 3}), Pair(4, OrderedDict(z=5)), [], None]
    leaves, rebuild = flatten(nest)
    assert leaves == [1, 2, 3, 4, 5, None]
    again = rebuild([x and x * 10 for x in leaves])
    assert again == [10, (20, {"k": 30}), Pair(40, OrderedDict(z=50)), [], None]
    assert type(again[2]) is Pair and type(again[2].right) is OrderedDict and flatten(3)[1]([4]) == 4


# ---- value_and_grad and func -----------------------------------------------------------------------------


def test_value_and_grad_of_picked_arguments_with_what_comes_beside():
    def f(x, n, y, *, scale=1.0):
        """A loss."""
        return (x**n).sum() * scale + y.sum(), {"seen": x * 2}

    (value, aux), g = value_and_grad(f, has_aux=True)(X, 2, Y, scale=3.0)
    close(value, (X**2).sum() * 3 + Y.sum())
    close(g, 6 * X)
    close(aux["seen"], 2 * X)
    assert not value.requires_grad and not g.requires_grad and not aux["seen"].requires_grad
    _, (gx, gy) = value_and_grad(f, (0, -1), has_aux=True)(X, 3, Y)
    close(gx, 3 * X**2)
    close(gy, minigrad.ones_like(Y))
    assert value_and_grad(f).__doc__ == "A loss."


def test_a_nest_of_parameters_has_a_nest_of_gradients():
    params = {"w": Y, "b": [V]}
    g = func.grad(lambda p, x: ((p["w"] @ x + p["b"][0]) ** 2).sum())(params, X)
    close(g["b"][0], 2 * (Y @ X + V))
    close(g["w"], 2 * (Y @ X + V)[:, None] * X)


def test_gradients_nest():
    f = lambda x: x.sin() * x  # noqa: E731
    x = tensor(seed=3)
    third = func.grad(func.grad(func.grad(f)))(x)
    close(third, -x.cos() * x - 3 * x.sin())
    close(func.grad(lambda x: func.grad(lambda y: (x * y) ** 2)(x) * x)(x), 8 * x**3)
    assert not third.requires_grad


def test_gradients_reach_what_is_tracked_outside():
    w = tensor(3, seed=4, grad=True)
    g = func.grad(lambda x: (x**2 * w).sum())(X)
    g.sum().backward()
    close(w.grad, 2 * X)
    x = tensor(3, seed=1, grad=True)
    func.grad(lambda x: (x**3).sum())(x).sum().backward()
    close(x.grad, 6 * x)
    with minigrad.no_grad():
        assert not func.grad(lambda x: (x**2 * w).sum())(x).requires_grad
    assert not func.grad(lambda x: (x**2).sum())(X).requires_grad


def test_func_products_and_jacobians_agree_with_the_functional_ones():
    rows = jacobian(mixed, (X, Y))
    out, pull = func.vjp(mixed, X, Y)
    v, u = (tensor(2, seed=4), tensor(seed=5)), (tensor(3, seed=6), tensor(2, 3, seed=7))
    close(out, mixed(X, Y))
    close(pull(*v), vjp(mixed, (X, Y), v)[1])
    close(pull(v), pull(*v))
    out, pushed = func.jvp(mixed, (X, Y), u)
    close((out, pushed), jvp(mixed, (X, Y), u))
    out, push = func.linearize(mixed, X, Y)
    close((out, push(*u)), (mixed(X, Y), pushed))
    for transform in (func.jacrev, func.jacfwd):
        close(transform(mixed, (0, 1))(X, Y), rows)
        close(transform(mixed, 1)(X, Y), tuple(r[1] for r in rows))
        found, aux = transform(lambda x: (x**2, x.sum()), has_aux=True)(X)
        close((found, aux), (minigrad.diag(2 * X), X.sum()))
    close(func.hessian(scalar, (0, 1))(X, Y), hessian(scalar, (X, Y)))
    close(func.hessian(scalar)(X, Y), hessian(scalar, (X, Y))[0][0])


def test_func_forms_with_aux():
    x = tensor(seed=3)
    f = lambda x: (x**2, {"x": x})  # noqa: E731
    g, aux = func.grad(f, has_aux=True)(x)
    close((g, aux["x"]), (2 * x, x))
    g, (value, aux) = func.grad_and_value(f, has_aux=True)(x)
    close((g, value, aux["x"]), (2 * x, x**2, x))
    close(func.grad_and_value(lambda x: x**2)(x), (2 * x, x**2))
    assert len(func.vjp(f, x, has_aux=True)) == 3 and len(func.jvp(f, (x,), (x,), has_aux=True)) == 3


def test_a_tracked_vector_makes_a_tracked_product():
    v = tensor(3, grad=True)
    _, pull = func.vjp(lambda x: x**2, X)
    pull(v)[0].sum().backward()
    close(v.grad, 2 * X)
    close(func.jacrev(lambda x: func.jvp(lambda y: y**3, (x,), (x,))[1])(X), minigrad.diag(9 * X**2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: func.grad(lambda x: x)(X),
            r"Expected the function to return a scalar tensor, got float64 \(3,\)",
        ),
        (
            lambda: func.grad(lambda x: (x.sum(), x.sum()))(X),
            "Expected the function to return a scalar tensor",
        ),
        (lambda: func.grad(lambda x: x.sum(), 2)(X), "Got argnum=2, but only 1 positional inputs"),
        (lambda: func.grad(lambda x: x.sum(), has_aux=True)(X), r"must return a tuple \(output, aux\)"),
        (lambda: func.jvp(lambda x: x, X, X), "Expected primals and tangents to be tuples"),
        (lambda: func.jvp(lambda x: V, (X,), (X,), strict=True), "independent of input 0"),
    ],
)
def test_wrong_func_calls_say_what_was_expected(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


# ---- torch, where it is there ----------------------------------------------------------------------------


def test_functional_derivatives_agree_with_torch():
    torch = pytest.importorskip("torch")
    F = torch.autograd.functional  # torch.func takes seconds to import

    def f(x, y):
        return (y.sin() @ x.exp()) ** 2 + x[0], (x * y[1]).prod()

    def loss(x, y):
        return f(x, y)[0].prod() * f(x, y)[1]

    x, y = torch.tensor(X.numpy()), torch.tensor(Y.numpy())
    v, u = (tensor(2, seed=4), tensor(seed=5)), (tensor(3, seed=6), tensor(2, 3, seed=7))
    tv, tu = ([torch.tensor(t.numpy()) for t in ts] for ts in (v, u))
    close(vjp(f, (X, Y), v), F.vjp(f, (x, y), tuple(tv)))
    close(jvp(f, (X, Y), u), F.jvp(f, (x, y), tuple(tu)))
    close(jacobian(f, (X, Y)), F.jacobian(f, (x, y)))
    close(hessian(loss, (X, Y)), F.hessian(loss, (x, y)))
    close(hvp(loss, (X, Y), u), F.hvp(loss, (x, y), tuple(tu)))
    close(vhp(loss, (X, Y), u), F.vhp(loss, (x, y), tuple(tu)))
