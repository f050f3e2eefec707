"""What surrounds a compiled function: every program here was once replayed wrongly, or is refused so that it isn't.

Each takes a decorator and returns what it saw; that must be the same with ``minigrad.compile`` and without.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import gc
import weakref

import numpy as np
import pytest

import minigrad
from minigrad import backend, tensor
from minigrad.compiler import CompileError

nn, F = minigrad.nn, minigrad.nn.functional
SAME, REFUSED = {}, {}


@pytest.fixture(autouse=True)
def without_loops(monkeypatch):
    """Bits are compared here; loops of chains, which round elsewhere, have ``test_compile_chains.py``."""
    monkeypatch.setattr(backend, "FUSERS", {})


def same(f):
    SAME[f.__name__] = f
    return f


def refused(text):
    return lambda f: REFUSED.setdefault(f.__name__, (f, text))


def leaf(*values):
    return tensor(list(values), requires_grad=True)


def seen(x):
    """Nests of tensors as something that compares."""
    if isinstance(x, minigrad.Tensor):
        a = x.detach().numpy()
        return str(a.dtype), a.shape, a.tobytes()
    return [seen(v) for v in x] if isinstance(x, (list, tuple)) else x


def ended(y):
    """How a backward pass ends."""
    try:
        y.sum().backward()
    except RuntimeError as e:
        return str(e).partition(": ")[2][:60] if "inplace" in str(e) else "an error"
    return "no error"


# ---- arguments ---------------------------------------------------------------------------------------------


@same
def nests_are_told_apart(c):
    f = c(
        lambda *a, **k: (len(a), sorted(k), a, k) and _sum(a) * (3 if isinstance(a[0], list) else 1) + len(a)
    )
    x, y = tensor([1.0]), tensor([5.0])
    yield from (f([x], y), f([x, y]), f((x,), y), f({"a": x, "b": y}), f({"b": x, "a": y}), f([x, [y]]))


def _sum(nest):
    if isinstance(nest, dict):
        return nest["a"] - 2 * nest["b"]
    return functools.reduce(lambda s, v: s * 2 + (v if isinstance(v, minigrad.Tensor) else _sum(v)), nest, 0)


@same
def zero_has_a_sign(c):
    f = c(lambda x, s: x / minigrad.full((1,), s))
    yield from (f(tensor([1.0]), s) for s in (0.0, -0.0, float("nan"), float("nan")))


@same
def arguments_may_share_memory(c):
    def step(a, b):
        first = b.exp()
        a.add_(1)
        return first + b.exp()

    f, x = c(step), tensor([1.0, 2.0])
    yield from (f(tensor([1.0]), tensor([2.0])), f(x, tensor([1.0, 1.0])), f(x, x[:]))


@same
def writes_to_an_argument_count_for_it(c):
    f = c(lambda x: x.add_(1))
    for _ in range(3):
        x = tensor([1.0])
        yield f(x) is x, x._version, x


@same
def a_gradient_goes_to_the_argument_of_the_call(c):
    f = c(lambda x: (x * x).sum().backward())
    for k in range(3):
        x = leaf(1.0, k)
        f(x), f(x)
        yield x.grad
    yield c is _eager or f.retraces == 0


@same
def gradients_through_an_argument_are_counted_once(c):
    w = leaf(1.0, 2.0)
    f = c(lambda h: h * w)
    for _ in range(3):
        h = w * 2
        h.register_hook(lambda g: g * 5)
        w.grad = None
        f(h).sum().backward()
        yield w.grad


@same
def a_graph_outside_may_have_been_walked(c):
    w, f = leaf(1.0, 2.0), c(lambda h: h * 3)
    for walked in (True, False):
        h = w.exp()
        if walked:
            h.sum().backward()
        y = f(h)
        yield y.requires_grad, ended(y)


@same
def objects_are_read_at_every_call(c):
    class Task:
        def __init__(self):
            self.scale, self.w, self.options = 2.0, tensor([3.0]), {"inner": [1.0]}

        def loss(self, x):
            return x * self.scale * self.options["inner"][0]

        @c
        def step(self, x):
            return self.loss(x) * self.w

    task, x = Task(), tensor([1.0])
    yield task.step(x)
    task.scale = 5.0
    yield task.step(x)
    task.w = tensor([7.0])
    yield task.step(x)
    task.options["inner"][0] = 3.0
    yield task.step(x)

    @dataclasses.dataclass(eq=False)
    class Batch:
        x: object
        weight: float

    batch, f = Batch(x, 2.0), c(lambda b: b.x * b.weight)
    yield f(batch)
    batch.weight, batch.x = 3.0, tensor([4.0])
    yield f(batch)


@refused("changes a list or dict that it was given")
def an_argument_is_filled(c):
    c(lambda d: d.update(y=d["x"] * 2))({"x": tensor([1.0])})


# ---- names -------------------------------------------------------------------------------------------------

SCALE, STATE = 1.0, None


@same
def names_are_read_at_every_call(c):
    global SCALE
    h, factors = tensor([1.0]), [2.0]

    def inner(x):
        return x * SCALE * factors[0]

    f = c(lambda x: inner(x) * h)
    yield f(h)
    h = tensor([5.0])
    yield f(h)
    SCALE = 3.0
    yield f(h)
    factors[0] = 7.0
    yield f(h)
    SCALE = 1.0
    yield f(h)


@same
def classes_schedules_and_compiled_functions_are_names_too(c):
    class Options:
        scale = 2.0

    class Scaled(nn.Module):
        scale = 3.0

        def forward(self, x):
            return x * self.scale

    factor, recent = [2.0], collections.deque([5.0], maxlen=2)
    optimizer = minigrad.optim.SGD([leaf(1.0)], 0.1)
    schedule = minigrad.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    inner = c(lambda x: x * factor[0])
    functions = [
        c(lambda x: inner(x) + 1), c(lambda x: x * Options.scale), c(Scaled()), c(lambda x: x * recent[0]),
        c(lambda x: x * schedule.get_last_lr()[0]), c(lambda x: x * optimizer.param_groups[0]["lr"]),
    ]  # fmt: skip
    for _ in range(3):
        yield [f(tensor([1.0])) for f in functions]
        factor[0] += 1
        Options.scale += 1
        Scaled.scale += 1
        recent.appendleft(factor[0])
        optimizer.step(), schedule.step()


@refused("leaves grad mode or the default dtype changed")
def a_mode_is_left_on(c):
    with minigrad.enable_grad():
        c(lambda x: (minigrad.set_grad_enabled(False), x * 2)[1])(tensor([1.0]))
    minigrad.set_grad_enabled(True)


@refused("sets attributes of the module")
def a_module_is_switched(c):
    layer = nn.Dropout()
    c(lambda x: (layer.train(not layer.training), layer(x))[1])(tensor([1.0]))


@refused("changes what 'STATE' stands for")
def a_global_is_rebound(c):
    global STATE
    STATE = tensor([0.0])

    def step(x):
        global STATE
        STATE = STATE * 0.5 + x
        return STATE

    c(step)(tensor([1.0]))


@refused("changes what 'kept' stands for or holds")
def a_list_is_filled(c):
    kept = []
    c(lambda x: (kept.append(x), x * 2)[1])(tensor([1.0]))


@refused("changes what 'kept' stands for or holds")
def a_hook_fills_a_list(c):
    kept, layer = [], nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, given, out: kept.append(out))
    c(layer)(minigrad.ones(1, 2, requires_grad=True))


# ---- modules -----------------------------------------------------------------------------------------------


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.mask, self.many, self.options = tensor([1.0, 2.0]), [tensor([1.0, 1.0])], {"scale": 2.0}
        self.lin = nn.Linear(2, 2)

    def forward(self, x):
        return F.linear(x, self.lin.weight) * self.mask * self.many[0] * self.options["scale"]


@same
def attributes_of_every_kind_are_guarded(c):
    minigrad.manual_seed(0)
    model, x = Attributes(), tensor([[1.0, 1.0]])
    f = c(model)
    yield f(x)
    model.mask = tensor([3.0, 4.0])
    yield f(x)
    model.many[0] = tensor([5.0, 5.0])
    yield f(x)
    model.options["scale"] = 3.0
    yield f(x)
    model.lin.weight = nn.Parameter(minigrad.ones(2, 2))  # of a part that isn't called
    yield f(x)


@same
def hooks_are_guarded(c):
    w, layer, factor, x = leaf(1.0, 2.0), nn.Linear(2, 1), [2.0], tensor([1.0, 1.0])
    w.register_hook(lambda g: g * 3)
    with minigrad.no_grad():
        layer.weight.fill_(1.0), layer.bias.fill_(0.0)

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    step, product, forward = c(step), c(lambda x: w * x), c(nn.Sequential(layer))
    for register in (None, w.register_hook, w.register_post_accumulate_grad_hook):
        handle = register and register(lambda g: g.mul_(2) if g is w else g * 2)
        w.grad = None
        product(x).sum().backward()
        yield w.grad
        step(x)
        yield w.grad
        if register == w.register_hook:
            handle.remove()
    yield forward(x)
    layer.register_forward_hook(lambda m, a, out: out * factor[0])
    yield forward(x)
    factor[0] = 7.0
    yield forward(x)
    layer.register_full_backward_hook(lambda m, given, out: (given[0] * 100,))
    x = leaf(1.0, 1.0)
    forward(x).sum().backward()
    yield x.grad


@same
def a_tied_weight_is_untied(c):
    minigrad.manual_seed(0)
    embed, out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    out.weight = embed.weight
    optimizer = minigrad.optim.AdamW(embed.parameters())

    @c
    def step(i, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(out(embed(i)), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(6):
        if k == 3:
            out.weight = nn.Parameter(embed.weight.detach().clone())
        yield step(tensor([0, k % 5]), tensor([1, 2])), embed.weight


def test_a_compiled_module_passes_attributes_on_and_can_be_copied():
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model = minigrad.compile(inner)
    model.extra = 3
    assert inner.extra == 3 and len(model) == 2 and model[0] is inner[0]
    del model.extra
    assert not hasattr(inner, "extra")
    x = minigrad.ones(1, 2)
    before = model(x)
    other = copy.deepcopy(model)
    with minigrad.no_grad():
        other[0].weight.zero_(), other[0].bias.fill_(2)
    assert other(x).tolist() == [[2, 2]] and seen(model(x)) == seen(before)


# ---- results -----------------------------------------------------------------------------------------------


@same
def constants_are_new_in_every_call(c):
    f = c(
        lambda x: (tensor([0.0, 0.0]).add_(x), tensor([1.0, 2.0]), nn.Parameter(tensor([1.0])).data.mul_(2))
    )
    for _ in range(3):
        total, made, parameter = f(tensor([1.0, 2.0]))
        made.mul_(3)
        yield total, made, parameter


@same
def a_gradient_that_is_a_constant_stays_one(c):
    class Fixed(minigrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return tensor([1.0, 2.0])

    w, f = leaf(0.0, 0.0), c(lambda w: Fixed.apply(w))
    for _ in range(3):
        f(w).sum().backward()
        yield w.grad


@same
def results_are_related_as_they_were(c):
    def step(x):
        y = x.exp()
        return y, y, y[0], y.detach(), *(x * 2).chunk(2)

    f = c(step)
    for write in (None, 0, 2, 3):
        x = leaf(1.0, 2.0)
        out = f(x)
        if write is not None:
            with minigrad.no_grad():
                out[write].mul_(2)
        yield (
            out[0] is out[1],
            [t._version for t in out],
            out,
            ended(out[4] * 2 + out[5] + out[0] + out[2]),
            x.grad,
        )
    f(leaf(1.0, 2.0))[0].mul_(3)
    with minigrad.no_grad():
        a, b = f(leaf(1.0, 2.0))[4:]
        a.add_(1)
        yield a, b, a._version, b._version


@same
def a_view_of_a_result_follows_writes_to_it(c):
    f = c(lambda x: (lambda y: (y, y[0]))(x * 2))
    for _ in range(3):
        x = leaf(1.0, 2.0)
        y, part = f(x)
        y.mul_(3)
        part.sum().backward()
        yield x.grad, part


@same
def a_view_of_an_argument_counts_with_it(c):
    f = c(lambda x: x.view(-1))
    for _ in range(3):
        whole = minigrad.zeros(2, 2)
        f(whole[:1]).add_(1)
        yield whole, whole._version


@same
def what_was_saved_is_guarded_through_views_too(c):
    w = tensor([[1.0, 2.0]], requires_grad=True)
    f = c(lambda x: x @ w.t())
    for _ in range(3):
        y = f(tensor([[1.0, 1.0]], requires_grad=True))
        with minigrad.no_grad():
            w.mul_(2)
        yield ended(y)


@same
def flags_come_back(c):
    def step(x):
        y = x * 2
        y.retain_grad()
        with minigrad.inference_mode():
            fixed = x * 3
        return y, fixed, minigrad.zeros(2, requires_grad=True), x.detach().requires_grad_()

    f = c(step)
    for _ in range(3):
        out = f(leaf(1.0))
        (out[0] * 3).sum().backward()
        yield out[0].grad, [(t.requires_grad, t.is_leaf, t.is_inference()) for t in out]


@same
def a_loss_that_was_walked_says_so(c):
    w = leaf(1.0)

    @c
    def step(x):
        loss = (w * x).sum()
        loss.backward()
        return loss

    for _ in range(3):
        loss = step(tensor([2.0]))
        yield loss.requires_grad, ended(loss)


# ---- gradients, data, optimizers ---------------------------------------------------------------------------


@same
def gradients_may_be_there_or_not_whatever_zero_grad_does(c):
    minigrad.manual_seed(0)
    layer = nn.Linear(2, 1)
    optimizer = minigrad.optim.SGD(layer.parameters(), 0.1)
    layer(tensor([[1.0, 1.0]])).sum().backward()

    @c
    def step(x):
        optimizer.zero_grad(set_to_none=False)
        layer(x).sum().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()

    for k in range(6):
        before = layer.weight.grad
        if k == 3:
            layer.weight.grad = None
        step(tensor([[1.0, k]]))
        yield layer.weight, layer.weight.grad, before is layer.weight.grad


@same
def a_gradient_is_read_between_and_returned(c):
    w = leaf(1.0, 1.0)

    @c
    def step(x):
        (w * x).sum().backward()
        first = w.grad.norm()
        (w * x).sum().backward()
        return first, w.grad.norm(), w.grad

    for k in range(3):
        out = step(tensor([1.0, k]))
        yield out, out[2] is w.grad


@same
def a_parameter_leaves_the_optimizer(c):
    a, b = leaf(1.0), leaf(1.0)
    optimizer = minigrad.optim.SGD([a, b], 0.1)

    @c
    def step(x):
        optimizer.zero_grad()
        (a * b * x).sum().backward()
        optimizer.step()

    for k in range(5):
        if k == 2:
            optimizer.param_groups[0]["params"].remove(b)
        step(tensor([1.0]))
        yield a, b, b.grad


@same
def data_may_be_replaced(c):
    class Descent(minigrad.optim.Optimizer):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.data = p.data - 0.1 * p.grad

    w, layer = leaf(1.0, 2.0), nn.Linear(2, 1)
    optimizer = Descent([w], {})

    @c
    def step(x):
        optimizer.zero_grad()
        (w * w * x).sum().backward()
        w.data = w.data - 0.1 * w.grad
        optimizer.step()

    assign = c(
        lambda v: (nn.utils.vector_to_parameters(v * 1, layer.parameters()), layer(minigrad.ones(1, 2)))[1]
    )
    for k in range(4):
        step(tensor([1.0, k]))
        yield w, assign(tensor([1.0, 2.0, k])), layer.bias


@same
def a_leaf_made_inside_is_gone_after_the_call(c):
    def perturbed(x):
        x = x.clone().requires_grad_()
        (x * x).sum().backward()
        return x.grad.sign()

    f = c(perturbed)
    for k in range(4):
        yield f(tensor([float(k) - 1]))
    yield c is _eager or f.retraces == 0


@same
def a_gradient_penalty(c):
    minigrad.manual_seed(0)
    critic = nn.Linear(3, 1)
    optimizer = minigrad.optim.Adam(critic.parameters())

    @c
    def step(x):
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        y = critic(x).tanh().sum()
        (g,) = minigrad.autograd.grad(y, x, create_graph=True)
        loss = ((g.norm(2, dim=1) - 1) ** 2).mean() + y
        loss.backward()
        optimizer.step()
        return loss

    for k in range(4):
        yield step(minigrad.ones(2, 3) * k), critic.weight


@same
def a_loss_scale_is_read_at_every_call(c):
    scaler, w = minigrad.amp.GradScaler("cpu", init_scale=2.0), leaf(1.0)

    @c
    def step(x):
        w.grad = None
        scaler.scale((w * x).sum()).backward()

    for scale in (2.0, 8.0, 2.0):
        scaler.update(scale)
        step(tensor([1.0]))
        yield w.grad


@same
def an_error_of_a_replay_leaves_counts_that_are_safe(c):
    total, fails = minigrad.zeros(1), []
    optimizer = minigrad.optim.SGD([leaf(1.0)], 0.1)
    optimizer.register_step_pre_hook(lambda *a: [1][len(fails)] and None)

    @c
    def step(x):
        total.add_(x)
        optimizer.step()

    step(tensor([1.0]))
    fails.append(1)
    with pytest.raises(IndexError):
        step(tensor([1.0]))
    yield total, total._version


@refused("backward goes on through a graph that was recorded outside")
def backward_leaves_the_function(c):
    c(lambda h: h.sum().backward())(leaf(1.0).exp())


@refused("whose data a call of Python")
def a_replaced_tensor_is_used(c):
    w = leaf(1.0)
    optimizer = minigrad.optim.SGD([w], 0.1)
    optimizer.register_step_post_hook(lambda *a: setattr(w, "data", w.data * 2))
    c(lambda x: (w * x, optimizer.step(), w * x)[2])(tensor([1.0]))


@refused("is given another shape or memory in place")
def a_tensor_from_outside_is_reshaped_in_place(c):
    w = tensor([1.0, 2.0])
    c(lambda x: w.unsqueeze_(0) * x)(tensor([1.0]))


@refused("a new tensor with a .grad or a hook is returned")
def a_hooked_leaf_is_returned(c):
    def step(x):
        x = x.detach().requires_grad_()
        x.register_hook(lambda g: g * 2)
        return x

    c(step)(tensor([1.0]))


# ---- random numbers ----------------------------------------------------------------------------------------


@same
def seeds_are_set_at_every_call(c):
    own = minigrad.Generator()

    def step(x):
        minigrad.manual_seed(3)
        own.manual_seed(4)
        return x + minigrad.rand(2), minigrad.rand(2, generator=own)

    f = c(step)
    yield from (f(minigrad.zeros(2)) for _ in range(3))


@refused("a generator that was put in force inside")
def numbers_are_drawn_apart(c):
    def step(x):
        with minigrad.random.fork_rng():
            return x + minigrad.rand(2)

    c(step)(minigrad.zeros(2))


@refused("a generator that was put in force inside")
def dropout_is_recomputed(c):
    again = functools.partial(
        minigrad.utils.checkpoint.checkpoint, lambda x: F.dropout(x).exp(), use_reentrant=False
    )
    c(again)(leaf(1.0, 2.0))


# ---- memory read behind the engine's back ------------------------------------------------------------------


@same
def values_reach_every_function(c):
    functions = [
        lambda x: x.view(minigrad.int32) + 0, lambda x: minigrad.searchsorted(x.sort()[0], tensor([1.5, 2.5])),
        lambda x: minigrad.mode(x, 0), lambda x: minigrad.histc(x, 4, 0, 4), lambda x: minigrad.zeros(3).fill_(x.sum()),
    ]  # fmt: skip
    for f in map(c, functions):
        yield from (f(tensor(v)) for v in ([1.0, 2.0, 3.0], [3.0, 1.0, 1.0], [0.0, 0.5, 2.0]))
    mask = c(lambda x, m: (lambda y: (y.__setitem__(m, 9.0), y)[1])(x * 1))
    yield from (mask(minigrad.ones(2), tensor(m, dtype=minigrad.uint8)) for m in ([0, 1], [1, 0]))


HOST = {
    "x[i:]": lambda x, i: x[i:], "x[i]": lambda x, i: x[i], "x[[i, 0]]": lambda x, i: x[[i, 0]], "copy": lambda x, i: copy.deepcopy(x),
    "tensor(x)": lambda x, i: tensor(x), "tensor([i])": lambda x, i: tensor([i, i]),
}  # fmt: skip


@pytest.mark.parametrize("text", HOST)
def test_indices_and_copies_that_python_reads_are_refused(text):
    with pytest.raises(CompileError, match="reads a value on the host"):
        minigrad.compile(HOST[text])(tensor([1.0, 2.0, 3.0]), tensor(1))


# ----


def _eager(f):
    return f


@pytest.mark.parametrize("name", SAME)
def test_a_compiled_program_sees_what_the_uncompiled_one_sees(name):
    wanted, found = ([seen(v) for v in SAME[name](c)] for c in (_eager, minigrad.compile))
    assert found == wanted and wanted


@pytest.mark.parametrize("name", [n for n in SAME if not n.startswith("an_error")])
def test_a_verified_program_does_everything_once(name):
    wanted, found = ([seen(v) for v in SAME[name](c)] for c in (_eager, minigrad.compile(verify=True)))
    assert found == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_replay_would_miss_is_refused(name):
    program, text = REFUSED[name]
    program(_eager)
    with pytest.raises(CompileError, match="compile: ") as error:
        program(minigrad.compile)
    assert text in str(error.value)


def test_a_program_keeps_nothing_of_the_call_that_was_traced():
    Pair = collections.namedtuple("Pair", "y z")
    layer = nn.Linear(3, 3)
    f = minigrad.compile(lambda x: {"pair": Pair(layer(x), x.add_(1))})
    x = minigrad.ones(2, 3)
    result = f(x)
    dropped = [weakref.ref(t) for t in (x, result["pair"].y)]
    del x, result
    gc.collect()
    assert [r() for r in dropped] == [None, None]
    compiled = weakref.ref(f)
    del f
    gc.collect()
    assert compiled() is None


def test_a_generator_given_by_name_is_put_back_by_verify():
    own = minigrad.Generator().manual_seed(1)
    f = minigrad.compile(lambda x: x + minigrad.rand(2, generator=own), verify=True)
    found = [f(minigrad.zeros(2)).tolist() for _ in range(3)]
    own.manual_seed(1)
    assert found == [minigrad.rand(2, generator=own).tolist() for _ in range(3)]


def test_a_trace_that_fails_leaves_no_trace():
    def step(x):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            minigrad.compile(step)(tensor([1.0]))
        assert not minigrad.compiler.is_compiling()
    assert np.isfinite((tensor([1.0]) * 2).numpy()).all()
