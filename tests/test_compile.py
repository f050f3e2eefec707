"""Compiled functions give what the uncompiled ones give, bit for bit, or refuse with the line that they can't replay."""

from __future__ import annotations

import numpy as np
import op_calls
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sides import SPECS, Side, quietly

import minigrad
from minigrad import backend, threads
from minigrad.compiler import CompileError, blocks
from minigrad.nest import flatten

OURS = Side(minigrad)
USES = list({repr(use): use for use in op_calls.USES}.values())


@pytest.fixture(autouse=True)
def without_loops(monkeypatch):
    """Bits are compared here; loops of chains, which round elsewhere, have ``test_compile_chains.py``."""
    monkeypatch.setattr(backend, "FUSERS", {})


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def operands(use, seed):
    """The call's arguments with values of their own for each seed; integers and masks as well."""
    rng = np.random.default_rng(seed)

    def made(value):
        value = value.spec if isinstance(value, op_calls.Still) else value
        if isinstance(value, SPECS):
            t = minigrad.tensor(op_calls.array_of(value, rng))
            return t.double().requires_grad_() if t.is_floating_point() else t
        if isinstance(value, (list, tuple)):
            return type(value)(made(v) for v in value)
        return (
            getattr(minigrad, value) if value in ("float64", "float32") and isinstance(value, str) else value
        )

    return [made(a) for a in use.args], {k: made(v) for k, v in use.kwargs.items()}


def outcome(call, seed, use):
    """Results and gradients of one call, or the type of the error that it raises."""
    args, kwargs = operands(use, seed)
    minigrad.manual_seed(seed)
    try:
        result = quietly(call, *args, **kwargs)
    except CompileError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, AttributeError) as e:
        return type(e)
    tensors = [t for t in flatten(result)[0] if isinstance(t, minigrad.Tensor)]
    leaves = [t for t in flatten((args, kwargs))[0] if isinstance(t, minigrad.Tensor)]
    total = [(t * (k + 1.5)).sum() for k, t in enumerate(tensors) if t.requires_grad]
    if total:
        sum(total[1:], total[0]).backward()
    found = [t.detach().numpy() for t in (*tensors, *leaves)]
    return [*found, *(t.grad.numpy() if t.grad is not None else None for t in leaves)]


NOT_REPLAYED = {  # why: a value is read on the host, a number is returned, or a size depends on values
    "allclose", "argwhere", "bincount", "broadcast_shapes", "equal", "index_copy", "masked_select", "median", "nonzero", "one_hot",
    "quantile", "repeat_interleave", "unique", "unique_consecutive",
}  # fmt: skip


@pytest.fixture
def small_parts(monkeypatch):
    """Blocks of every size, in parts of a few elements."""
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "PART", 5)


@pytest.mark.parametrize("name", dict.fromkeys(use.name for use in USES))
def test_every_call_replays_to_the_same_bits_with_other_values(name, small_parts):
    for use in USES:
        if use.name != name:
            continue
        function = OURS.function(name) or (lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs))
        compiled = minigrad.compile(lambda *args, **kwargs: function(*args, **kwargs))  # noqa: B023
        for seed in range(3):  # the first is traced, the others are replayed
            try:
                ours = outcome(compiled, seed, use)
            except CompileError:
                assert name in NOT_REPLAYED or (name == "where" and len(use.args) == 1), use
                break
            wanted = outcome(function, seed, use)
            assert (
                (ours is wanted)
                if isinstance(wanted, type) or isinstance(ours, type)
                else alike(ours, wanted)
            ), use
        else:
            assert isinstance(wanted, type) or compiled.retraces == 0, use


def alike(ours, wanted):
    return len(ours) == len(wanted) and all(
        a is b if a is None or b is None else a == b if isinstance(a, str) else same(a, b)
        for a, b in zip(ours, wanted, strict=True)
    )


# ---- a training step ---------------------------------------------------------------------------------------


def training(optimizer=lambda p: minigrad.optim.Adam(p, lr=0.01), dropout=0.2, **options):
    """A model, a step made of everything that training has, and the optimizer."""
    minigrad.manual_seed(0)
    nn = minigrad.nn
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.LayerNorm(8), nn.Linear(8, 3)
    )
    made = optimizer(model.parameters())
    schedule = minigrad.optim.lr_scheduler.StepLR(made, 2, 0.5)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(x, y):
        made.zero_grad()
        value = loss(model(x), y)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        made.step()
        schedule.step()
        return value

    return model, (minigrad.compile(step, **options) if options.pop("compiled", True) else step), made


def batches(n, size=4, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (
            minigrad.from_numpy(rng.normal(size=(size, 6)).astype("f4")),
            minigrad.from_numpy(rng.integers(0, 3, size)),
        )
        for _ in range(n)
    ]


def run(step, model, data):
    minigrad.manual_seed(5)
    losses = [step(x, y).detach().numpy() for x, y in data]
    return [
        *losses,
        *(t.detach().numpy() for t in model.state_dict().values()),
        *(p.grad.numpy() for p in model.parameters()),
    ]


OPTIMIZERS = {
    "SGD": lambda p: minigrad.optim.SGD(p, 0.1, momentum=0.9, nesterov=True), "Adam": minigrad.optim.Adam,
    "AdamW": minigrad.optim.AdamW, "RMSprop": minigrad.optim.RMSprop, "Adagrad": minigrad.optim.Adagrad,
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_replays_to_the_same_bits(name):
    data = batches(7)
    model, step, _ = training(OPTIMIZERS[name], compiled=False)
    other, compiled, _ = training(OPTIMIZERS[name])
    assert alike(run(compiled, other, data), run(step, model, data))
    assert compiled.retraces == 0 and compiled.calls > 20


def test_another_batch_size_is_traced_once_and_both_programs_are_kept():
    data = [*batches(2), *batches(1, 3), *batches(2, seed=1), *batches(1, 3, seed=2)]
    model, step, _ = training(compiled=False)
    other, compiled, _ = training()
    assert alike(run(compiled, other, data), run(step, model, data)) and compiled.retraces == 1


def test_gradients_add_up_where_they_are_not_forgotten():
    w = minigrad.tensor([1.0, 2.0], requires_grad=True)

    @minigrad.compile
    def step(x):
        (w * x).sum().backward()

    for n in range(1, 5):  # no grad yet, then one to add to: one program
        assert step(minigrad.tensor([1.0, 10.0])) is None
        assert w.grad.tolist() == [n, 10.0 * n]
    assert step.retraces == 0
    w.grad = None
    step(minigrad.tensor([2.0, 2.0]))
    assert w.grad.tolist() == [2, 2] and step.retraces == 0


def test_a_loaded_optimizer_state_and_learning_rate_are_used_by_the_next_replay():
    data = batches(3)
    runs = []
    for compiled in (False, True):
        model, step, optimizer = training(compiled=compiled)
        run(step, model, data)
        optimizer.load_state_dict(training()[2].state_dict())  # as at the start
        optimizer.param_groups[0]["lr"] = 0.5
        runs.append(run(step, model, data))
    assert alike(*runs)


# ---- guards: each is changed alone -------------------------------------------------------------------------


def counted(model, change, x=None, calls=1):
    """How many more traces a change makes necessary, its replay being right."""
    compiled = minigrad.compile(model)
    x = minigrad.ones(2, 6) if x is None else x
    for _ in range(calls):  # from the second on by identity
        compiled(x)
    x = change(model, x) if callable(change) else x
    found, wanted = compiled(x), model(x)
    assert (
        same(found.detach().numpy(), wanted.detach().numpy()) and found.requires_grad == wanted.requires_grad
    )
    return compiled._compiled.retraces


class Scaled(minigrad.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = minigrad.nn.Linear(6, 3), 2.0
        self.register_buffer("shift", minigrad.ones(3))

    def forward(self, x):
        return self.inner(x) * (self.scale if self.training else 1.0) + self.shift


def changed(statement):
    def change(model, x):
        space = {"model": model, "x": x, "minigrad": minigrad}
        exec(statement, space)
        return space["x"]

    return change


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize(
    "statement, traces",
    [
        ("pass", 0), ("x = x * 2", 0), ("model.inner.weight.data = model.inner.weight.data + 1", 0),
        ("model.shift.mul_(3)", 0), ("x = minigrad.ones(3, 6)", 1), ("x = x.double(); model.double()", 1),
        ("x = minigrad.ones(6, 2).t()", 1), ("model.eval()", 1), ("model.scale = 3.0", 1), ("x = x.requires_grad_()", 1),
        ("model.inner.weight.requires_grad_(False)", 1), ("model.inner = minigrad.nn.Linear(6, 3)", 1),
        ("model.inner.bias = None", 1), ("model.shift = minigrad.zeros(3)", 1), ("model.extra = 1", 1),
        ("model.inner.register_forward_hook(lambda m, a, out: out * 2)", 1),
        ("model.inner.register_forward_pre_hook(lambda m, a: (a[0] * 2,))", 1),
    ],
)  # fmt: skip
def test_a_change_of_what_the_trace_relied_on_is_traced_again(statement, traces, calls):
    minigrad.manual_seed(1)
    assert counted(Scaled(), changed(statement), calls=calls) == traces


def _hooked(w):
    w.register_hook(lambda g: g * 2)


BY_IDENTITY = {
    "a default dtype": lambda w, state: minigrad.set_default_dtype(minigrad.float64),
    "a closure's value": lambda w, state: state.update(scale=3.0),
    "a hook of a parameter": lambda w, state: _hooked(w),
    "an option of a layer": lambda w, state: state["layer"].eval(),
    "one hook more": lambda w, state: state["layer"].register_forward_hook(lambda m, a, out: out + 1),
    "an argument given twice": lambda w, state: state.update(twice=True),
}


def _floats():
    return [minigrad.tensor(v, dtype=minigrad.float32) for v in ([5.0, 7.0], [3.0, 4.0])]


def _outcome(change, compiled):
    """What the fifth call gives and leaves, when something has been changed before it."""
    layer = minigrad.nn.Dropout(1.0)
    layer.register_forward_hook(lambda m, a, out: out + 1)
    w = minigrad.tensor([1.0, 2.0], requires_grad=True)
    state = {"scale": 2.0, "layer": layer, "twice": False}

    def step(x, y):
        w.grad = None
        y.mul_(2)
        out = layer(w) + w * x * y * state["scale"] + minigrad.ones(2)
        out.sum().backward()
        return out

    function = minigrad.compile(step) if compiled else step
    for _ in range(4):
        function(*_floats())
    change(w, state)
    x, y = _floats()
    out = function(x, x if state["twice"] else y)
    return out.tolist(), out.dtype, w.grad.tolist(), x.tolist(), y.tolist()


@pytest.mark.parametrize("name", BY_IDENTITY)
def test_what_is_another_than_in_the_calls_before_is_seen_by_the_next(name):
    before = minigrad.get_default_dtype()
    found = []
    for compiled in (False, True):
        try:
            found.append(_outcome(BY_IDENTITY[name], compiled))
        finally:
            minigrad.set_default_dtype(before)
    assert found[0] == found[1]


def test_an_argument_made_in_inference_mode_is_another_after_many_calls():
    w = minigrad.ones(2, requires_grad=True)
    f = minigrad.compile(lambda x: w * x)
    for _ in range(3):
        f(minigrad.ones(2))
    with minigrad.inference_mode():
        x = minigrad.ones(2)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
        f(x)


def test_modes_and_kernel_sets_have_programs_of_their_own():
    w = minigrad.ones(2, requires_grad=True)
    double = minigrad.compile(lambda x: w * x)
    x = minigrad.ones(2)
    assert double(x).requires_grad
    with minigrad.no_grad():
        assert not double(x).requires_grad and double.retraces == 1
    with minigrad.inference_mode():
        assert double(x).is_inference() and double.retraces == 2
    with minigrad.kernels("off"):
        assert double(x).requires_grad and double.retraces == 3
    assert double(x).requires_grad and double.retraces == 3


def test_another_default_device_is_seen_after_many_calls(monkeypatch):
    import strict_module

    monkeypatch.setattr(backend, "MODULES", dict(backend.MODULES))
    monkeypatch.setattr(backend, "BY_TYPE", dict(backend.BY_TYPE))
    backend.register_array_module(
        "strict", strict_module.Module(), strict_module.Array, from_numpy=strict_module.from_numpy,
        to_numpy=strict_module.to_numpy, shares_memory=lambda a, b: np.may_share_memory(a._inside, b._inside),
    )  # fmt: skip
    made = minigrad.compile(lambda: minigrad.ones(2) * 3)
    for _ in range(4):
        assert made().device.type == "cpu"
    with minigrad.device("strict"):
        assert made().device.type == "strict" and made.retraces == 1
    assert made().device.type == "cpu" and made.retraces == 1


def test_an_argument_that_is_given_twice_after_many_calls_is_another_call():
    w = minigrad.tensor([1.0, 2.0], requires_grad=True)

    @minigrad.compile
    def f(a, b):
        out = b * w
        a.add_(1)
        return out

    x = minigrad.tensor([1.0, 1.0])
    for _ in range(4):
        f(x.clone(), x).sum().backward()
    out = f(x, x)  # saved for the gradient of w, and written to since
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    assert f.retraces == 1


def test_other_arguments_are_compared():
    power = minigrad.compile(lambda x, n, *, how="up": x**n if how == "up" else x / n)
    x = minigrad.tensor([2.0, 3.0])
    assert (
        power(x, 2).tolist() == [4, 9]
        and power(x, 3).tolist() == [8, 27]
        and power(x, 2.0).tolist() == [4, 9]
    )
    assert power(x, 2, how="down").tolist() == [1, 1.5] and power.retraces == 3
    assert power(x, 2).tolist() == [4, 9] and power.retraces == 3
    nested = minigrad.compile(lambda pair, table: (pair[0] + table["a"], {"b": pair[1] * 2, "none": None}))
    for k in range(3):
        first, second = nested([x + k, x], {"a": x})
        assert first.tolist() == [4 + k, 6 + k] and second["b"].tolist() == [4, 6] and second["none"] is None
    assert nested.retraces == 0
    with pytest.raises(TypeError, match="NumPy array, whose values would be read once"):
        power(np.ones(2), 2)
    with pytest.raises(TypeError, match="must be a tensor or hashable"):
        power(x, {1, 2})


def test_one_tensor_given_twice_and_two_equal_ones_are_different_calls():
    @minigrad.compile
    def f(a, b):
        a.add_(1)
        return a * b

    x = minigrad.tensor([1.0])
    assert f(x, x).tolist() == [4.0]
    assert f(minigrad.tensor([1.0]), minigrad.tensor([1.0])).tolist() == [2.0] and f(x, x).tolist() == [9.0]


def test_the_number_of_programs_is_bounded():
    from minigrad import compiler
    from minigrad.compiler.replay import LIMIT

    double = minigrad.compile(lambda x: x * 2)
    with minigrad.kernels("off"):  # none becomes ready meanwhile
        for n in range(40):
            assert double(minigrad.ones(n)).shape == (n,)
        assert len(double._programs) == LIMIT and double.retraces == 39
        compiler.reset()
        assert (
            not double._programs and double(minigrad.ones(3)).tolist() == [2, 2, 2] and double.retraces == 0
        )


# ---- gradients through compiled functions ------------------------------------------------------------------


def test_a_compiled_module_is_part_of_a_larger_graph():
    nn, runs = minigrad.nn, []
    for compiled in (False, True):
        minigrad.manual_seed(3)
        body, head = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 3)
        model = minigrad.compile(body) if compiled else body
        for x, y in batches(3):
            x = (x * 2).requires_grad_()
            before = x * 1.5
            nn.functional.cross_entropy(head(model(before)), y).backward()
        runs.append([x.grad.numpy(), *(p.grad.numpy() for p in (*body.parameters(), *head.parameters()))])
    assert alike(*runs) and model._compiled.retraces == 0


def test_calls_before_a_backward_keep_their_own_values():
    square = minigrad.compile(lambda x: (x * x, x.sum()))
    xs = [minigrad.tensor([k, k + 1.0], requires_grad=True) for k in range(4)]
    made = [square(x) for x in xs]
    for k in (2, 0, 3, 1):
        (made[k][0].sum() + made[k][1]).backward()
        assert xs[k].grad.tolist() == [2 * k + 1, 2 * k + 3]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        made[1][0].sum().backward()
    y, _ = square(xs[0])
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert xs[0].grad.tolist() == [1, 7]


def test_what_a_compiled_graph_saved_is_guarded():
    w = minigrad.tensor([2.0], requires_grad=True)
    f = minigrad.compile(lambda x: w * x)
    for _ in range(2):
        y = f(minigrad.tensor([3.0], requires_grad=True))
        with minigrad.no_grad():
            w.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    y = f(minigrad.tensor([3.0], requires_grad=True))
    with pytest.raises(RuntimeError, match="can't be differentiated again"):
        minigrad.autograd.grad(y.sum(), w, create_graph=True)


def test_writes_of_a_replay_count_and_are_seen_by_views_and_graphs():
    state = minigrad.zeros(3)
    part = state[1:]

    @minigrad.compile
    def accumulate(x):
        state.add_(x)
        return state, state[:2]

    for n in range(1, 4):
        whole, view = accumulate(minigrad.ones(3))
        assert whole is state and part.tolist() == [n, n] and state._version == n
        view.mul_(2)
        assert state.tolist() == [2 * n, 2 * n, n] and state._version == n + 1
        state.copy_(minigrad.full((3,), float(n)))
        state._writes[0] = n
    leaf = minigrad.ones(3, requires_grad=True)
    saved = leaf * state
    accumulate(minigrad.ones(3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()


# ---- refusals ----------------------------------------------------------------------------------------------


class Counting(minigrad.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


KEPT = minigrad.zeros(3)
REFUSALS = {
    "item() reads a value on the host": lambda x: x * x.sum().item(),
    "the truth of a tensor reads": lambda x: x if x.sum() > 0 else -x,
    "tolist() reads": lambda x: minigrad.tensor(x.tolist()), "numpy() reads": lambda x: minigrad.from_numpy(x.numpy() + 1),
    "printing reads": lambda x: print(x), "size of what getitem gives depends": lambda x: x[x > 0],
    "size of what argwhere gives depends": lambda x: x.nonzero(), "returns 3, a int": lambda x: len(x),
    "sets attributes of the module": Counting(), "written to in place with its history": lambda x: KEPT.mul_(x.requires_grad_()),
    "is given a tensor": lambda x: SCHEDULE.step(x.sum()), "is given a closure": lambda x: OPTIMIZER.step(lambda: x.sum()),
}  # fmt: skip
OPTIMIZER = minigrad.optim.SGD([minigrad.zeros(1, requires_grad=True)], 0.1)
SCHEDULE = minigrad.optim.lr_scheduler.ReduceLROnPlateau(OPTIMIZER)


@pytest.mark.parametrize("text", REFUSALS)
def test_what_cannot_be_replayed_is_refused_with_the_line_and_the_remedy(text):
    global KEPT
    KEPT = minigrad.zeros(3)
    compiled = minigrad.compile(REFUSALS[text])
    for _ in range(2):
        with pytest.raises(CompileError, match="compile: ") as refused:
            compiled(minigrad.tensor([1.0, 2.0, -3.0]))
        assert text in str(refused.value) and "; " in str(refused.value) + "; "
    if "reads" in text or "depends" in text:
        assert "test_compile.py" in str(refused.value) and "lambda x" in str(refused.value)


def test_verify_finds_a_python_number_that_changes():
    scale = iter([1.0, 1.0, 3.0])
    checked = minigrad.compile(lambda x: x * next(scale), verify=True)
    x = minigrad.tensor([1.0, 2.0])
    assert checked(x).tolist() == checked(x).tolist() == [1, 2]
    with pytest.raises(CompileError, match="verify found result 0 of <lambda> different by up to 4"):
        checked(x)


def test_verify_makes_the_call_once_for_everybody_else():
    data = batches(5)
    model, step, _ = training(compiled=False)
    other, checked, _ = training(verify=True)
    assert alike(run(checked, other, data), run(step, model, data))


@pytest.mark.parametrize("grad", [True, False])
def test_parameters_may_be_called_as_anything_in_the_source_is(grad):
    names = (
        "t1",
        "t2",
        "v1",
        "v4",
        "x0",
        "x0_tensor",
        "n",
        "np",
        "map",
        "array",
        "v4_part",
        "v4_all",
        "memory_of_v4",
        "multiply",
    )

    class Named(minigrad.nn.Module):
        def __init__(self):
            super().__init__()
            for k, name in enumerate(names):
                weight = minigrad.nn.Parameter(minigrad.full((3,), 1 + k / 8), requires_grad=grad)
                self.register_parameter(name, weight)

        def forward(self, x):
            for name in names:
                x = minigrad.nn.functional.gelu(x * getattr(self, name))
            return x

    model = Named()
    compiled = minigrad.compile(model, dynamic_batch=True)
    with minigrad.kernels("off"):
        for n in (4, 40, 2**15, 3, 40, 2**15, 3):  # the third is run in parts
            x = minigrad.rand(n, 3)
            assert same(compiled(x).detach(), model(x).detach())


# ---- what it shows -----------------------------------------------------------------------------------------


def test_source_and_report_name_rows_parameters_and_calls_of_python():
    model, compiled, _ = training()
    with pytest.raises(RuntimeError, match="has not been called yet"):
        compiled.source()
    run(compiled, model, batches(2))
    text = compiled.source()
    for part in ("def step(x0, x1):", "linear(x0, ", "cross_entropy_gradient(", "adam_step()", "steplr_step()",
                 "adam_zero_grad(", "weight_tensor._array", "add_gradient(_5_bias", "del v", "return ["):  # fmt: skip
        assert part in text, text
    assert compile(text, "source", "exec")
    report = str(compiled.report())
    assert "MB moved" in report and "linear_gradient" in report and report.splitlines()[-1].startswith("all ")


def test_a_report_counts_bytes_and_flops_and_times_what_it_is_asked_to(tmp_path):
    f = minigrad.compile(lambda x, w: (x @ w).relu())
    x, w = minigrad.ones(8, 4), minigrad.ones(4, 2, requires_grad=True)
    f(x, w).sum().backward()
    rows = {r.name: r for r in f.report().rows}
    assert rows["matmul"][1:] == (1, 4 * (32 + 8 + 16), 2 * 8 * 4 * 2, None) and rows["relu"].bytes == 4 * 32
    assert rows["matmul_gradient_by_y"].calls == 1 and "µs" not in str(f.report())
    with f.timing():
        for _ in range(3):
            f(x, w).sum().backward()
    f(x, w).sum().backward()
    report = f.report()
    assert (
        report.replays == 3
        and all(r.seconds > 0 for r in report.rows if r.name.startswith(("matmul", "relu")))
        and report.rows[0].seconds >= report.rows[-1].seconds
    )
    assert "means of 3 replays" in str(report) and str(report).splitlines()[-1].endswith("100%")
    picture = report.save(tmp_path / "report.svg").read_text()
    assert picture.startswith("<svg") and "matmul_gradient_by_y" in picture and report._repr_svg_() == picture


def test_repeats_run_once_and_dead_code_never():
    f = minigrad.compile(lambda x: (x.exp() + x.exp(), x.sin())[0])
    x = minigrad.tensor([0.5, 1.0])
    f(x)
    assert [line for line in f.source().splitlines() if "sin" in line] == []
    assert (
        f.source().count("exp(x0, out") == 1
        and f.calls == 2
        and same(f(x).numpy(), (x.exp() + x.exp()).numpy())
    )
    g = minigrad.compile(lambda x: (x.exp(), x.mul_(2), x.exp()))  # between them somebody wrote
    a, b = minigrad.tensor([0.5, 1.0]), minigrad.tensor([0.5, 1.0])
    for _ in range(2):
        assert [t.tolist() for t in g(a)] == [t.tolist() for t in (b.exp(), b.mul_(2), b.exp())]
    assert g.source().count("exp(x0, out") == 2


def bias_and_gelu(x, bias):
    return minigrad.nn.functional.gelu(x + bias, approximate="tanh") * 2


@pytest.mark.parametrize(
    "shape, bias, block",
    [
        ((64, 2048), (2048,), "add + gelu + mul"), ((8, 16, 1024), (8, 16, 1024), "add + gelu + mul"), ((2**16,), (), "add + gelu + mul"),
        ((2**16,), (1,), "add + gelu + mul"), ((2, 2**16), (2**16,), "gelu + mul"), ((64, 1024), (64, 1), "gelu + mul"), ((8, 64), (64,), None),
    ],
)  # fmt: skip
def test_large_elementwise_chains_run_in_parts_that_stay_in_the_cache(shape, bias, block):
    with minigrad.kernels("off"):
        compiled = minigrad.compile(bias_and_gelu)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            arrays, runs = [rng.normal(size=s) for s in (shape, bias)], []
            for f in (compiled, bias_and_gelu):
                leaves = [minigrad.tensor(a, dtype=minigrad.float32).requires_grad_() for a in arrays]
                y = f(*leaves)
                (y * y).sum().backward()
                runs.append([y.detach().numpy(), *(t.grad.numpy() for t in leaves)])
            assert alike(*runs)
        found = {r.name for r in compiled.report().rows}
        assert (block in found) if block else not any(" + " in name for name in found)
        assert ("mul_gradient_by_x + gelu_gradient" in found) is (block is not None)


def test_threads_share_the_parts_of_a_block_to_the_same_bits_every_time(small_parts, monkeypatch):
    monkeypatch.setattr(threads, "_number", 2)
    monkeypatch.setattr(threads, "SHARED", 0.0)
    pieces, share = [], threads.share
    monkeypatch.setattr(threads, "share", lambda *args: (pieces.append(args[2]), share(*args)))
    compiled = minigrad.compile(lambda x: (x * 2).log() + x)
    x = minigrad.rand(999) - 0.1  # some logarithms are NaN, of which no thread may warn
    wanted = compiled.function(x).numpy()
    for _ in range(50):
        assert same(compiled(x).numpy(), wanted)
    assert len(pieces) >= 40 and {*pieces} == {
        200
    }  # some calls are traced: the first, or when a kernel becomes ready


def test_kernels_run_in_blocks_and_where_one_declines_the_row_does():
    pytest.importorskip("numba")
    x = minigrad.rand(64, 2048)
    compiled = minigrad.compile(
        lambda x: (minigrad.nn.functional.gelu(x, approximate="tanh") * 2, x.t().tanh() + 1)
    )
    for operand in (x, x + 1, minigrad.zeros(64 * 2048 + 1)[1:].view(64, 2048)):
        with minigrad.kernels("auto", wait=True):
            (a, b), (c, d) = compiled(operand), compiled.function(operand)
        assert same(a.numpy(), c.numpy()) and same(b.numpy(), d.numpy())


def test_a_kernel_that_becomes_ready_is_traced():
    double = minigrad.compile(lambda x: x * 2)
    for _ in range(2):
        double(minigrad.ones(2))
    before = next(iter(double._programs.values()))[0]
    backend.kernel_is_ready()
    assert (
        double(minigrad.ones(2)).tolist() == [2, 2] and next(iter(double._programs.values()))[0] is not before
    )


def test_blocks_need_layouts_that_can_be_cut_and_work_that_pays():
    def blocks_of(f, x):
        compiled = minigrad.compile(f)
        with minigrad.no_grad(), minigrad.kernels("off"):
            compiled(x.clone())
            assert same(compiled(x.clone()).numpy(), f(x.clone()).numpy())
        return [line.name for line in compiled._last.program.lines if isinstance(line, blocks.Block)]

    x = minigrad.rand(512, 256)
    assert (
        blocks_of(lambda x: x.tanh(), x)
        == blocks_of(lambda x: x + 1, x)
        == blocks_of(lambda x: x.t().silu(), x)
        == []
    )
    assert blocks_of(lambda x: x.silu(), x) == ["silu"]
    assert blocks_of(lambda x: (x * 2).exp().sum(1).exp() + x[:, 0], x) == ["mul + exp"]
    assert blocks_of(lambda x: (x.relu() + x).mul_(2).relu() * 3, x) == [
        "relu + add + mul",
        "relu + mul",
    ]  # the write is apart
    assert blocks_of(lambda x: (x * 2 + 1).float(), x.half()) == ["mul + add"]


def test_forms_of_the_decorator_and_what_pytorch_calls_alike():
    assert minigrad.compile(lambda x: x, disable=True)(3) == 3

    @minigrad.compile(mode="reduce-overhead", fullgraph=True)
    def inner(x):
        """Twice."""
        return x * 2

    def outer(x):
        assert minigrad.compiler.is_compiling()  # never called again
        return inner(x) + 1

    outer = minigrad.compile(outer)

    assert inner.__doc__ == "Twice." and inner.__name__ == "inner"
    for _ in range(2):
        assert outer(minigrad.ones(1)).tolist() == [3.0]
    assert not minigrad.compiler.is_compiling() and "inner" not in outer.source()
    model = minigrad.compile(minigrad.nn.Linear(2, 2))
    assert [n for n, _ in model.named_parameters()] == [
        "_orig_mod.weight",
        "_orig_mod.bias",
    ] and model.in_features == 2
    assert not model.eval()._orig_mod.training and model(minigrad.ones(1, 2)).shape == (1, 2)


def test_threads_share_a_compiled_function():
    from concurrent.futures import ThreadPoolExecutor

    f = minigrad.compile(lambda x: (x * 2 + 1).tanh().sum())
    xs = [minigrad.full((k % 5 + 1,), float(k)) for k in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = [y.item() for y in pool.map(f, xs)]
    assert found == [(x * 2 + 1).tanh().sum().item() for x in xs]


# ---- programs nobody wrote ---------------------------------------------------------------------------------

STEPS = {
    "exp": lambda x, y: (x * 0.1).exp(), "tanh": lambda x, y: x.tanh(), "square": lambda x, y: x * x, "neg": lambda x, y: -x,
    "add": lambda x, y: x + y, "mul": lambda x, y: x * y, "where": lambda x, y: minigrad.where(x > 0, x, y),
    "maximum": lambda x, y: minigrad.maximum(x, y), "matmul": lambda x, y: x @ y.t(), "sum": lambda x, y: x.sum(0, keepdim=True),
    "mean": lambda x, y: x.mean(), "softmax": lambda x, y: x.softmax(-1), "amax": lambda x, y: x.amax(0),
    "amin": lambda x, y: x.amin(-1, keepdim=True), "max": lambda x, y: x.max(-1).values, "norm": lambda x, y: x.norm(dim=0), "cumsum": lambda x, y: x.cumsum(0),
    "flat": lambda x, y: x.reshape(-1), "t": lambda x, y: x.t(), "row": lambda x, y: x[..., 0], "tail": lambda x, y: x[1:],
    "wide": lambda x, y: x.expand(2, *x.shape), "join": lambda x, y: minigrad.cat([x, y]), "detach": lambda x, y: x.detach(),
    "scale_": lambda x, y: x.mul_(1.25), "add_": lambda x, y: x.add_(y), "set": lambda x, y: put(x, y), "relu_": lambda x, y: x.relu_(),
    "noise": lambda x, y: x + minigrad.rand(x.shape, dtype=x.dtype),
}  # fmt: skip


def put(x, y):
    x[..., 0] = y.sum()
    return x


def program(instructions):
    """A function of two tensors that follows instructions, leaving out what the shapes don't allow."""

    def follow(a, b):
        made = [a * 1, b * 1, a, b]
        for name, i, j in instructions:
            x, y = made[i % len(made)], made[j % len(made)]
            if name.endswith("_") and (x is a or x is b):
                continue  # arguments are leaves
            try:
                made.append(STEPS[name](x, y))
            except CompileError:
                raise
            except (RuntimeError, IndexError):
                continue
        return [t for t in made[4:] if t.numel() < 500][-6:]

    return follow


PROGRAMS = st.lists(
    st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=30
)


@given(PROGRAMS)
def test_any_program_replays_to_the_same_bits(instructions):
    replays_to_the_same_bits(instructions)


@given(PROGRAMS)
def test_any_program_in_blocks_replays_to_the_same_bits(instructions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "LEAST", 1)
        patch.setattr(blocks, "PART", 5)
        replays_to_the_same_bits(instructions)


def ran(call, seed, dtype=float):
    """What a drawn program gives for drawn operands: results, operands and their gradients; or that a save is stale."""
    rng = np.random.default_rng(seed)
    minigrad.manual_seed(seed)
    leaves = [minigrad.tensor(rng.normal(size=s).astype(dtype)).requires_grad_() for s in ((3, 4), (4,))]
    out = call(*leaves)
    total = [(t * (k + 0.5)).sum() for k, t in enumerate(out) if t.requires_grad]
    found = [t.detach() for t in (*out, *leaves)]
    try:
        if total:
            sum(total[1:], total[0]).backward()
    except RuntimeError as e:
        assert "modified by an inplace operation" in str(e)
        return ["stale", *(t.numpy() for t in found)]
    return [*(t.numpy() for t in found), *(None if t.grad is None else t.grad.numpy() for t in leaves)]


def replays_to_the_same_bits(instructions):
    function = program(instructions)
    compiled = minigrad.compile(function)
    for seed in range(3):
        assert alike(*(ran(call, seed) for call in (compiled, function)))
    assert compiled.retraces == 0


def test_a_stale_save_is_an_error_of_backward_and_not_of_the_call():
    def f(x):
        y = x * 1
        z = y * y
        y.mul_(2)
        return z, y

    compiled = minigrad.compile(f)
    for _ in range(2):
        z, y = compiled(minigrad.tensor([3.0], requires_grad=True))
        assert z.tolist() == [9] and y.tolist() == [6]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()


# ---- the Trainer -------------------------------------------------------------------------------------------


def test_the_trainer_learns_the_same_bits_compiled():
    from minigrad.train import NonFiniteError, Trainer

    nn, runs = minigrad.nn, []
    rng = np.random.default_rng(0)
    x, y = (
        minigrad.from_numpy(rng.normal(size=(23, 6)).astype("f4")),
        minigrad.from_numpy(rng.integers(0, 3, 23)),
    )
    pairs = minigrad.data.TensorDataset(x, y)
    for compiled in (False, True):
        minigrad.manual_seed(2)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        trainer = Trainer(
            3, compile=compiled, enable_progress_bar=False, accumulate_grad_batches=2, gradient_clip_val=0.5
        )
        loader = minigrad.data.DataLoader(pairs, batch_size=5, shuffle=True)
        history = trainer.fit(
            model, loader, minigrad.data.DataLoader(pairs, batch_size=9), loss=nn.CrossEntropyLoss(),
            optimizer=minigrad.optim.Adam(model.parameters()),
        )  # fmt: skip
        runs.append(
            [
                *(t.detach().numpy() for t in model.state_dict().values()),
                np.array(history.history["val_loss"]),
            ]
        )
        assert (trainer.task._compiled is not None) is compiled
    assert (
        alike(*runs) and trainer.task._compiled.retraces == 3
    )  # batches of 5 and 3, and of 9 and 5 unmeasured by grad
    with pytest.raises(NonFiniteError, match="op log made"):
        Trainer(1, compile=True, enable_progress_bar=False).fit(
            nn.Sequential(nn.Linear(6, 3), Logarithm()), loader, loss=nn.CrossEntropyLoss(),
            optimizer=lambda p: minigrad.optim.SGD(p, 0.1),
        )  # fmt: skip
    own = type("Own", (nn.Linear,), {"training_step": lambda self, batch, i: None})(6, 3)
    with pytest.raises(ValueError, match="compile=True compiles model and loss="):
        Trainer(1, compile=True, enable_progress_bar=False).fit(own, loader)


class Logarithm(minigrad.nn.Module):
    def forward(self, x):
        return x.log()
