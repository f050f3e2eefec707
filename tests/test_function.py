"""Custom functions and their ctx, checkpointing, moves between devices, hooks for saved tensors."""

import gc
import weakref

import numpy as np
import pytest
from minigrad.autograd.graph import get_gradient_edge, increment_version, save_on_cpu, saved_tensors_hooks

import minigrad
from minigrad import backend, no_grad
from minigrad.autograd import Function, checkpoint, checkpoint_sequential, grad, once_differentiable
from minigrad.function import CheckpointError, move


def leaf(*values):
    return minigrad.tensor(values, dtype=minigrad.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2


class Exp(Function):
    @staticmethod
    def forward(x, scale=1.0):
        return (x * scale).exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.scale = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0] * ctx.scale, None


def function(forward, backward, name="Made"):
    """A Function class of two plain functions."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


# ---- Function --------------------------------------------------------------------------------------------


def test_a_function_has_the_gradient_it_says():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert y.tolist() == [1.0, 8.0] and repr(y.grad_fn) == "<CubeBackward>"
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_forward_without_ctx_has_setup_context_and_defaults():
    x = leaf(0.5)
    for y, slope in ((Exp.apply(x), 1.0), (Exp.apply(x, 2.0), 2.0), (Exp.apply(x, scale=3.0), 3.0)):
        (g,) = grad(y, x)
        assert g.item() == pytest.approx(slope * np.exp(0.5 * slope))


def test_a_backward_made_of_differentiable_operations_can_be_differentiated():
    for f in (Cube.apply, lambda x: Exp.apply(x, 2.0)):
        x = minigrad.tensor([0.3, -0.7], dtype=minigrad.float64, requires_grad=True)
        assert minigrad.gradcheck(f, x, rtol=1e-8, fast_mode=False)
        assert minigrad.gradgradcheck(f, x, rtol=1e-7)


def test_forward_runs_unrecorded_whatever_it_calls():
    seen = []
    made = function(lambda ctx, x: seen.append((x * 2).requires_grad) or x * 2, lambda ctx, g: g)
    made.apply(leaf(1.0))
    assert seen == [False]


def test_nothing_is_recorded_without_a_tensor_that_needs_it_or_in_no_grad():
    assert Cube.apply(minigrad.ones(2)).grad_fn is None
    with no_grad():
        assert Cube.apply(leaf(1.0)).grad_fn is None


def test_ctx_says_which_inputs_need_gradients_and_holds_any_attribute():
    seen = []

    def forward(ctx, x, n, w):
        ctx.n = n
        seen.append(ctx.needs_input_grad)
        return x * n * w

    def backward(ctx, g):
        seen.append(ctx.needs_input_grad)
        return g * ctx.n, None, g

    made, w = function(forward, backward), leaf(1.0)
    y = made.apply(minigrad.ones(1, dtype=minigrad.float64), 5, w)
    assert y.grad_fn.n == 5 and not hasattr(y.grad_fn, "m")
    y.backward()
    assert seen == [(False, False, True), (False, False, True)]
    x = leaf(2.0)
    grad(made.apply(x, 5, w), x)
    assert seen[-1] == (True, False, False)


def test_several_outputs_hand_backward_all_gradients_zeros_where_unused():
    seen = []

    def backward(ctx, *gs):
        seen.append([g if g is None else g.tolist() for g in gs])
        return gs[0] * 2 + gs[3] * 3

    made = function(lambda ctx, x: (x * 2, "text", x.argmax(), x * 3), backward)
    x = leaf(1.0, 2.0)
    a, text, index, b = made.apply(x)
    assert text == "text" and not index.requires_grad and b.output_nr == 3
    b.sum().backward(retain_graph=True)
    (a + b).sum().backward()
    assert seen == [[[0.0, 0.0], None, 0, [1.0, 1.0]], [[1.0, 1.0], None, 0, [1.0, 1.0]]]
    assert x.grad.tolist() == [8.0, 8.0]


def test_unused_outputs_hand_backward_none_when_asked():
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 1, x * 2

    def backward(ctx, a, b):
        assert a is None
        return b * 2

    x = leaf(1.0)
    function(forward, backward).apply(x)[1].backward()
    assert x.grad.item() == 2


def test_outputs_marked_non_differentiable_have_no_history():
    def forward(ctx, x):
        a, b = x * 1, x * 2
        ctx.mark_non_differentiable(b)
        return a, b

    a, b = function(forward, lambda ctx, ga, gb: ga + gb).apply(leaf(1.0))
    assert a.requires_grad and not b.requires_grad


def test_an_input_returned_as_it_came_is_another_tensor_on_the_same_memory():
    same = function(lambda ctx, x: x, lambda ctx, g: g * 5)
    x = leaf(1.0)
    y = same.apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and x.is_leaf
    y.backward()
    assert x.grad.item() == 5
    with pytest.raises(RuntimeError, match="output of a custom Function, is being modified inplace"):
        same.apply(leaf(1.0) * 1).mul_(2)


def test_an_input_written_in_place_is_marked_dirty_and_returned():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    double = function(forward, lambda ctx, g: g * 2, "Double")
    x = leaf(1.0, 2.0)
    y = x * 1
    version = y._version
    assert double.apply(y) is y and y.grad_fn.name() == "DoubleBackward" and y._version > version
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    z = x * 1
    double.apply(z[:1])
    z.sum().backward()
    assert x.grad.tolist() == [4.0, 3.0]
    with pytest.raises(RuntimeError, match="Double: a leaf Variable that requires grad"):
        double.apply(leaf(1.0))


def test_a_dirty_input_must_be_returned():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2) * 1

    with pytest.raises(RuntimeError, match="marked as dirty during the forward method were not returned"):
        function(forward, lambda ctx, g: g).apply(leaf(1.0) * 1)


def test_dirty_saves_count_from_after_the_write():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.exp_()
        ctx.save_for_backward(x)
        return x

    x = leaf(1.0)
    y = function(forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x * 1)
    y.backward()
    assert x.grad.item() == pytest.approx(np.e)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda g: g,
            r"function MadeBackward returned an incorrect number of gradients \(expected 2, got 1\)",
        ),
        (lambda g: (g, None, g), r"incorrect number of gradients \(expected 2, got 3\)"),
        (
            lambda g: (g, g),
            "returned a gradient different than None at position 2, but the corresponding forward input was not",
        ),
        (lambda g: (1.0, None), r"MadeBackward: expected Variable or None \(got float\)"),
        (
            lambda g: (g[:2], None),
            r"invalid gradient at index 0 - got \[2\] but expected shape compatible with \[3\]",
        ),
        (
            lambda g: (g.sum(), None),
            r"invalid gradient at index 0 - got \[\] but expected shape compatible with \[3\]",
        ),
    ],
)
def test_wrong_gradients_are_refused_by_the_functions_name(returned, message):
    y = function(lambda ctx, x, n: x * n, lambda ctx, g: returned(g)).apply(leaf(1.0, 2.0, 3.0), 2)
    with pytest.raises(RuntimeError, match=message):
        y.sum().backward()


def test_gradients_of_another_dtype_or_with_leading_ones_are_fitted_and_trailing_nones_ignored():
    x = leaf(1.0, 2.0, 3.0)
    function(lambda ctx, x: x * 1, lambda ctx, g: (g.float().unsqueeze(0), None)).apply(x).sum().backward()
    assert x.grad.dtype is minigrad.float64 and x.grad.tolist() == [1.0, 1.0, 1.0]


def test_none_stops_the_gradient():
    x = leaf(1.0)
    y = function(lambda ctx, x: x * 2, lambda ctx, g: None).apply(x)
    assert grad(y, x, allow_unused=True) == (None,)


def test_a_gradient_that_backward_keeps_is_not_the_leafs_memory():
    kept = []

    def backward(ctx, g):
        kept.append(g * 2)
        return kept[0]

    x = leaf(1.0)
    function(lambda ctx, x: x * 2, backward).apply(x).backward()
    x.grad.mul_(100)
    assert kept[0].item() == 2


def test_stale_and_freed_saves_are_refused():
    x = leaf(1.0, 2.0)
    base = x * 1
    y = Cube.apply(base)
    base.mul_(2)
    with pytest.raises(
        RuntimeError,
        match=r"Cube: .*modified by an inplace operation: its saved tensor 'argument 0'.*version 1",
    ):
        y.sum().backward()
    y = Cube.apply(x)
    assert y.grad_fn.saved_tensors[0] is x
    y.sum().backward()
    for again in (lambda: y.sum().backward(), lambda: y.grad_fn.saved_tensors):
        with pytest.raises(RuntimeError, match="Cube: Trying to backward through the graph a second time"):
            again()


def test_any_tensor_or_none_may_be_saved_and_nothing_else():
    def forward(ctx, x):
        ctx.save_for_backward(None, minigrad.full((1,), 7.0), x)
        return x * 1

    def backward(ctx, g):
        nothing, seven, x = ctx.saved_tensors
        assert nothing is None
        return g * seven * x

    x = leaf(2.0)
    function(forward, backward).apply(x).backward()
    assert x.grad.item() == 14
    wrong = function(lambda ctx, x: ctx.save_for_backward(x, 3), None)
    with pytest.raises(
        TypeError, match="save_for_backward can only save variables, but argument 1 is of type int"
    ):
        wrong.apply(x)


def test_once_differentiable_refuses_the_second_derivative():
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not minigrad.is_grad_enabled()
            return g * ctx.saved_tensors[0].cos()

    x, w = leaf(0.3), leaf(2.0)
    (g,) = grad((Sine.apply(x) * w).sum(), x, create_graph=True)
    assert g.item() == pytest.approx(2 * np.cos(0.3))
    with pytest.raises(
        RuntimeError, match="differentiate twice a function that was marked with @once_differentiable"
    ):
        g.backward()
    Sine.apply(x).backward()
    assert x.grad.item() == pytest.approx(np.cos(0.3))


def test_what_is_not_implemented_says_so():
    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="must implement either the backward or vjp method"):
        Half.apply(leaf(1.0)).backward()
    with pytest.raises(NotImplementedError, match="must implement the forward"):
        Function.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="setup_context"):
        Function.setup_context(None, (), None)
    with pytest.raises(TypeError, match="got a list; return a tuple"):
        function(lambda ctx, x: [x * 1], None).apply(leaf(1.0))


def test_vjp_is_another_name_of_backward():
    class Third(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x / 3

        @staticmethod
        def vjp(ctx, g):
            return g / 3

    x = leaf(1.0)
    Third.apply(x).backward()
    assert x.grad.item() == 1 / 3


def test_functions_hold_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        for f in (Cube, Exp):
            y = f.apply(leaf(1.0))
            node = weakref.ref(y.grad_fn)
            y.backward()
            del y
            assert node() is None
    finally:
        gc.enable()


# ---- checkpoint ------------------------------------------------------------------------------------------


def block(x, w, scale=1.0):
    return ((x @ w).tanh() * scale).exp()


@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_a_checkpoint_has_the_same_value_and_gradients(use_reentrant):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4)), rng.normal(size=(4, 4))]

    def run(call):
        x, w = (minigrad.tensor(a, requires_grad=True) for a in arrays)
        y = call(block, call(block, x, w), w).sum()
        y.backward()
        return [t.detach().numpy().tobytes() for t in (y, x.grad, w.grad)]

    plain = run(lambda f, *args: f(*args))
    assert run(lambda f, *args: checkpoint(f, *args, use_reentrant=use_reentrant)) == plain


def test_a_checkpoint_keeps_nothing_that_backward_reads_and_runs_its_function_again_once():
    runs, kept = [], []

    def f(x):
        runs.append(1)
        y = (x * 2).exp()
        kept.append(weakref.ref(y._array))
        return (y * y).sin().sum()

    x = leaf(0.1, 0.2)
    y = checkpoint(f, x, use_reentrant=False)
    assert kept[0]() is None and len(runs) == 1
    y.backward()
    assert len(runs) == 2 and kept[1]() is None
    e = np.exp(4 * x.detach().numpy())
    np.testing.assert_allclose(x.grad, np.cos(e) * 4 * e, rtol=1e-12)


def test_the_second_run_stops_early_unless_told_otherwise():
    ends = []

    def f(x):
        y = x.exp()
        ends.append(1)
        return y + 1

    for early, expected in ((True, 1), (False, 2)):
        ends.clear()
        checkpoint(f, leaf(1.0), early_stop=early).backward()
        assert len(ends) == expected


def test_random_numbers_repeat_in_the_second_run_and_then_go_on_where_they_were():
    x = minigrad.ones(50, requires_grad=True)
    minigrad.manual_seed(3)
    y = checkpoint(lambda x: minigrad.dropout(x, 0.5, True).exp(), x, use_reentrant=False)
    following = minigrad.rand(2)
    y.sum().backward()
    kept = y.detach() > 1
    assert ((x.grad != 0) == kept).all() and 0 < kept.sum() < 50
    after = minigrad.rand(2)
    minigrad.manual_seed(3)
    minigrad.dropout(x, 0.5, True)
    assert minigrad.equal(minigrad.rand(2), following) and minigrad.equal(minigrad.rand(2), after)


def test_without_the_random_state_the_second_run_draws_anew():
    x = minigrad.ones(200, requires_grad=True)
    y = checkpoint(lambda x: minigrad.dropout(x, 0.5, True).exp(), x, preserve_rng_state=False)
    y.sum().backward()
    assert not ((x.grad != 0) == (y.detach() > 1)).all()


def test_keyword_arguments_nests_and_closures_get_their_gradients():
    w, a, b, c = leaf(2.0), leaf(3.0), leaf(5.0), leaf(7.0)

    def f(pair, *, named, flag):
        assert flag == "on"
        return pair[0] * pair[1]["b"].exp() * named * w

    checkpoint(f, (a, {"b": b}), named=c, flag="on", use_reentrant=False).backward()
    e = np.exp(5.0)
    for t, expected in ((w, 21 * e), (a, 14 * e), (b, 42 * e), (c, 6 * e)):
        assert t.grad.item() == pytest.approx(expected)


def test_only_parameters_need_gradients_or_nothing_does():
    w = leaf(2.0)
    checkpoint(lambda x: (x * w).exp(), minigrad.ones(1), use_reentrant=False).backward()
    assert w.grad.item() == pytest.approx(np.exp(2.0))
    assert not checkpoint(lambda x: x.exp(), minigrad.ones(1)).requires_grad
    with no_grad():
        assert not checkpoint(lambda x: (x * w).exp(), leaf(1.0)).requires_grad


def test_checkpoints_nest_and_are_differentiated_twice():
    def inner(x):
        return (x.sin() * x).exp()

    def outer(x):
        return checkpoint(inner, x * 2, use_reentrant=False).log().cos() * x

    x = minigrad.tensor([0.3, 0.8], dtype=minigrad.float64, requires_grad=True)
    f = lambda x: checkpoint(outer, x, use_reentrant=False)  # noqa: E731
    np.testing.assert_array_equal(grad(f(x).sum(), x)[0], grad(outer(x).sum(), x)[0])
    assert minigrad.gradcheck(f, x, rtol=1e-8) and minigrad.gradgradcheck(f, x, rtol=1e-7)


def test_a_retained_graph_of_a_checkpoint_runs_again():
    x = leaf(0.5)
    y = checkpoint(lambda x: x.exp().sin(), x)
    y.backward(retain_graph=True)
    first = x.grad.item()
    y.backward()
    assert x.grad.item() == 2 * first
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


def test_a_function_that_takes_gradients_inside_may_be_checkpointed():
    def f(x):
        (g,) = grad((x**3).sum(), x, create_graph=True)
        return (g**2).sum()

    x = leaf(2.0)
    checkpoint(lambda x: f(x * 1), x, use_reentrant=False).backward()
    assert x.grad.item() == 2 * 12 * 12


def test_a_second_run_that_does_other_things_is_refused():
    state = {"first": True}

    def changing(x):
        first, state["first"] = state["first"], False
        return (x if first else x[:1]).exp().sum()

    with pytest.raises(
        CheckpointError, match=r"saved tensor 0 was float64 \(2,\), recomputed it is float64 \(1,\)"
    ):
        checkpoint(changing, leaf(1.0, 2.0)).backward()

    state["first"] = True

    def fewer(x):
        first, state["first"] = state["first"], False
        return x.exp().exp() if first else x.exp()

    with pytest.raises(
        CheckpointError, match=r"A different number of tensors was saved .* recomputation: 2 and 1"
    ):
        checkpoint(fewer, leaf(1.0)).backward()

    state["first"] = True
    y = checkpoint(changing, leaf(1.0, 2.0), determinism_check="none")
    with pytest.raises(RuntimeError) as e:
        y.backward(retain_graph=True)
        raise RuntimeError("went through")
    assert not isinstance(e.value, CheckpointError)


def test_an_argument_written_to_since_is_refused():
    x = leaf(1.0, 2.0)
    z = x * 1
    y = checkpoint(lambda x: x.exp(), z)
    z.add_(1)
    with pytest.raises(
        RuntimeError, match=r"checkpoint: an argument.*has been modified by an inplace operation since"
    ):
        y.sum().backward()


def test_what_checkpoint_does_not_do_is_refused():
    for wrong in ({"context_fn": lambda: None}, {"debug": True}):
        with pytest.raises(NotImplementedError, match=next(iter(wrong))):
            checkpoint(block, leaf(1.0), **wrong)
    with pytest.raises(ValueError, match="determinism_check: expected 'default' or 'none', got 'some'"):
        checkpoint(block, leaf(1.0), determinism_check="some")


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_a_chain_in_segments_gives_the_same_gradients(segments):
    from minigrad.utils import checkpoint as module

    runs = []

    def layer(i):
        return lambda x: runs.append(i) or (x * (i + 1) / 5).sin().exp()

    chain, x, y = [layer(i) for i in range(5)], leaf(0.3), leaf(0.3)
    out = y
    for f in chain:
        out = f(out)
    out.backward()
    runs.clear()
    module.checkpoint_sequential(chain, segments, x, use_reentrant=False).backward()
    assert x.grad.item() == y.grad.item()
    assert runs[:5] == [0, 1, 2, 3, 4] and sorted(runs[5:]) == list(range(5 // segments * (segments - 1)))


def test_a_sequential_may_be_given_whole():
    class Chain:
        def children(self):
            return iter([minigrad.exp, minigrad.sin])

    x = leaf(0.3)
    checkpoint_sequential(Chain(), 2, x).backward()
    assert x.grad.item() == pytest.approx(np.cos(np.exp(0.3)) * np.exp(0.3))


# ---- devices ---------------------------------------------------------------------------------------------


class Far(np.ndarray):
    """Arrays of another device."""


@pytest.fixture
def far():
    modules, types = dict(backend.MODULES), dict(backend.BY_TYPE)
    backend.register_array_module(
        "far",
        np,
        Far,
        from_numpy=lambda a: np.array(a).view(Far),
        to_numpy=lambda a: np.array(a).view(np.ndarray),
    )
    yield
    for table, before in ((backend.MODULES, modules), (backend.BY_TYPE, types)):
        table.clear()
        table.update(before)


def test_a_move_brings_the_gradient_back(far):
    x = leaf(1.0, 2.0)
    y = move(x, "far")
    assert y.device.type == "far" and isinstance(y._array, Far) and y.grad_fn.name() == "_MoveBackward"
    z = (y.to("cpu") * x).sum()
    (g,) = grad(z, x, create_graph=True)
    assert g.device.type == "cpu" and g.tolist() == [2.0, 4.0]
    g.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0] and type(x.grad._array) is np.ndarray
    assert minigrad.gradcheck(lambda x: move(x, "far").to("cpu") ** 2, x)


# ---- hooks for saved tensors -----------------------------------------------------------------------------


def test_saved_tensors_pass_through_pack_and_unpack():
    packed, unpacked = [], []
    x = leaf(1.0, 2.0)

    def pack(t):
        packed.append(t.tolist())
        return t.numpy().tobytes()

    def unpack(data):
        unpacked.append(1)
        return minigrad.tensor(np.frombuffer(data))

    with saved_tensors_hooks(pack, unpack):
        y = (x.exp() * x).sum() + Cube.apply(x).sum()
    (x * x).sum()
    assert len(packed) == 4 and not unpacked
    y.backward()
    np.testing.assert_allclose(x.grad, np.exp([1, 2]) * [2, 3] + 3 * np.array([1, 4]), rtol=1e-12)
    assert len(unpacked) == 4


def test_the_innermost_hooks_count_and_end_with_their_block():
    outer, inner = [], []
    with saved_tensors_hooks(lambda t: outer.append(1) or t, lambda t: t):
        with saved_tensors_hooks(lambda t: inner.append(1) or t, lambda t: t):
            leaf(1.0).exp()
        leaf(1.0).exp()
    leaf(1.0).exp()
    assert len(outer) == len(inner) == 1


def test_saving_on_the_host_gives_the_same_gradient():
    x = leaf(1.0, 2.0)
    with save_on_cpu(pin_memory=True):
        y = (x.exp() ** 2).sum()
    y.backward()
    np.testing.assert_allclose(x.grad, 2 * np.exp([2.0, 4.0]))


def test_edges_and_versions():
    x = leaf(1.0)
    y = x * 2
    assert get_gradient_edge(y) == (y.grad_fn, 0) and get_gradient_edge(x).node.variable is x
    with pytest.raises(RuntimeError, match="does not require gradients"):
        get_gradient_edge(minigrad.ones(1))
    z = y.exp().sum() + (y * y).sum()
    increment_version(y)
    increment_version([y])
    with pytest.raises(RuntimeError, match="is at version 2"):
        z.backward()


# ---- torch, where it is there ----------------------------------------------------------------------------


def test_several_outputs_second_order_and_checkpoints_agree_with_torch():
    torch = pytest.importorskip("torch")
    from torch.utils.checkpoint import checkpoint as torch_checkpoint

    def run(t, checkpoint):
        class Polar(t.autograd.Function):
            @staticmethod
            def forward(ctx, r, phi):
                x, y = r * phi.cos(), r * phi.sin()
                ctx.save_for_backward(phi, x, y, r)
                return x, y

            @staticmethod
            def backward(ctx, gx, gy):
                phi, x, y, _ = ctx.saved_tensors
                return gx * phi.cos() + gy * phi.sin(), -gx * y + gy * x

        r = t.tensor([1.0, 2.0], dtype=t.float64, requires_grad=True)
        phi = t.tensor([0.3, -0.9], dtype=t.float64, requires_grad=True)
        x, y = checkpoint(lambda r: Polar.apply(r * 2, phi), r, use_reentrant=False)
        z = (x * x * y.exp()).sum()
        first = t.autograd.grad(z, (r, phi), create_graph=True)
        second = t.autograd.grad(sum(g.sum() for g in first), (r, phi))
        return [v.detach().numpy() for v in (x, y, *first, *second)]

    for a, b in zip(run(minigrad, checkpoint), run(torch, torch_checkpoint), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
