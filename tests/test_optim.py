"""Optimizers: what one update is, groups, state dicts, hooks, clipping, and what is refused. Beside torch: test_optim_torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import shape_of

import minigrad
from minigrad import autograd, dtypes, optim
from minigrad.op import OPS, Op, floats
from minigrad.optim.optimizer import required

UPDATES = [row for row in OPS.values() if row.forward.__module__ == "minigrad.ops.optimizer"]
OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{"lr": 0.1}, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, {"lr": 0.05, "momentum": 0.9, "nesterov": True}],
    "Adam": [{"lr": 0.1}, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.01}],
    "AdamW": [{"lr": 0.1}],
    "RMSprop": [{"lr": 0.02}, {"lr": 0.01, "momentum": 0.5, "centered": True}],
    "Adagrad": [{"lr": 0.5}],
    "Adadelta": [{"lr": 5.0}],
    "Adamax": [{"lr": 0.1}],
    "NAdam": [{"lr": 0.1}],
    "RAdam": [{"lr": 0.3}],
}  # fmt: skip
EVERY = [(name, options) for name, several in OPTIMIZERS.items() for options in several]
every = pytest.mark.parametrize(
    "name,options", EVERY, ids=lambda x: x if isinstance(x, str) else ",".join(x) or "defaults"
)


def made(name: str, params: Any, **options: Any) -> Any:
    return getattr(optim, name)(params, **options)


def leaf(*values: float, dtype: Any = None) -> Any:
    return minigrad.tensor(values, dtype=dtype, requires_grad=True)


# ---- the rows --------------------------------------------------------------------------------------------


def gradient(
    p: Any, g: Any, weight_decay: float = 0.0, maximize: bool = False, decoupled: bool = False, **_: Any
) -> Any:
    return (-g if maximize else g) + (0 if decoupled else weight_decay) * p


def shrunk(p: Any, lr: float, weight_decay: float = 0.0, decoupled: bool = False, **_: Any) -> Any:
    return p - lr * weight_decay * p if decoupled else p


def sgd(p, g, b, *, lr, momentum=0.0, dampening=0.0, nesterov=False, first=False, **k):
    g = gradient(p, g, **k)
    if b is None:
        return p - lr * g, None
    b = g if first else momentum * b + (1 - dampening) * g
    return p - lr * (g + momentum * b if nesterov else b), b


def adam(p, g, m, v, w, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, **k):
    g = gradient(p, g, **k)
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    w = None if w is None else np.maximum(w, v)
    m_hat, v_hat = m / (1 - beta1**step), (v if w is None else w) / (1 - beta2**step)
    return shrunk(p, lr, **k) - lr * m_hat / (np.sqrt(v_hat) + eps), m, v, w


def rmsprop(p, g, v, b, a, *, lr, alpha=0.99, eps=1e-8, momentum=0.0, **k):
    g = gradient(p, g, **k)
    v = alpha * v + (1 - alpha) * g**2
    a = None if a is None else alpha * a + (1 - alpha) * g
    u = g / (np.sqrt(v if a is None else v - a**2) + eps)
    b = None if b is None else momentum * b + u
    return p - lr * (u if b is None else b), v, b, a


def adagrad(p, g, s, *, step, lr, lr_decay=0.0, eps=1e-10, **k):
    g = gradient(p, g, **k)
    s = s + g**2
    return p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(s) + eps), s


def adadelta(p, g, v, u, *, lr, rho=0.9, eps=1e-6, **k):
    g = gradient(p, g, **k)
    v = rho * v + (1 - rho) * g**2
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * u + (1 - rho) * d**2


def adamax(p, g, m, u, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, **k):
    g = gradient(p, g, **k)
    m, u = beta1 * m + (1 - beta1) * g, np.maximum(beta2 * u, abs(g) + eps)
    return p - lr / (1 - beta1**step) * m / u, m, u


def nadam(p, g, m, v, *, step, lr, mu, mu_next, mu_product, beta1=0.9, beta2=0.999, eps=1e-8, **k):
    g = gradient(p, g, **k)
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    ahead = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    return shrunk(p, lr, **k) - lr * ahead / (np.sqrt(v / (1 - beta2**step)) + eps), m, v


def radam(p, g, m, v, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, **k):
    g = gradient(p, g, **k)
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    most = 2 / (1 - beta2) - 1
    rho = most - 2 * step * beta2**step / (1 - beta2**step)
    pace = 1.0
    if rho > 5:
        r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        pace = r * math.sqrt(1 - beta2**step) / (np.sqrt(v) + eps)
    return shrunk(p, lr, **k) - lr * pace * m / (1 - beta1**step), m, v


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "sgd_": sgd, "adam_": adam, "rmsprop_": rmsprop, "adagrad_": adagrad, "adadelta_": adadelta, "adamax_": adamax,
    "nadam_": nadam, "radam_": radam, "scale_": lambda x, factor: (x * factor,),
}  # fmt: skip
CALLS = [(row, i) for row in UPDATES for i in range(len(row.cases))]
by_case = pytest.mark.parametrize("row,i", CALLS, ids=lambda x: x.name if isinstance(x, Op) else str(x))


def operands(
    row: Op, i: int, dtype: Any = np.float64, shape: tuple[int, ...] | None = None, seed: int = 0
) -> list[Any]:
    rng, made = np.random.default_rng(seed), []
    for spec in row.cases[i].operands:
        low, high = (spec.low, spec.high) if isinstance(spec, floats) else (-2.0, 2.0)
        size = shape_of(spec) if spec is None or shape is None or not shape_of(spec) else shape
        made.append(None if spec is None else np.asarray(rng.uniform(low, high, size)).astype(dtype))
    return made


def applied(row: Op, i: int, arrays: list[Any]) -> list[Any]:
    """The arrays after the row has run on copies of them, in the layout they have."""
    copies = [None if a is None else np.array(a, order="K") for a in arrays]
    for a, c in zip(arrays, copies, strict=True):
        assert a is None or a.shape == c.shape
    assert (
        autograd.apply(
            row, [None if c is None else minigrad.from_numpy(c) for c in copies], row.cases[i].attrs
        )
        is None
    )
    return copies


def same(found: list[Any], wanted: list[Any]) -> bool:
    return all(a is None or a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))


def test_every_update_has_its_textbook_formula_here() -> None:
    assert {row.name for row in UPDATES} == set(TEXTBOOK)
    for row in UPDATES:
        assert row.gradient is None and not row.public and row.mutates and row.cases
        tried = set().union(*(c.attrs for c in row.cases))
        assert set(row.attrs) == tried, f"{row.name}: no case gives {set(row.attrs) - tried}"


@by_case
def test_an_update_is_the_textbooks_and_writes_only_what_it_says(row: Op, i: int) -> None:
    arrays = operands(row, i)
    found = applied(row, i, arrays)
    wanted = TEXTBOOK[row.name](*arrays, **row.cases[i].attrs)
    results = dict(zip(row.mutates, wanted, strict=True))
    for name, before, after in zip(row.inputs, arrays, found, strict=False):
        if after is not None:
            np.testing.assert_allclose(after, results.get(name, before), 1e-13, 1e-14, err_msg=name)
            assert name in row.mutates or after.tobytes() == before.tobytes()


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_updated_in_float32_and_rounded_once(row: Op, i: int, dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    half = getattr(dtypes, dtype).numpy_dtype
    arrays = operands(row, i, half)
    wide = applied(row, i, [None if a is None else a.astype(np.float32) for a in arrays])
    assert same(applied(row, i, arrays), [None if a is None else a.astype(half) for a in wide])


@by_case
@given(data=st.data())
def test_bits_depend_on_values_not_on_layout(row: Op, i: int, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(), (0, 2), (7,), (33, 5), (2, 3, 4)]))
    arrays = operands(row, i, np.float32, shape, data.draw(st.integers(0, 99)))
    plain = applied(row, i, arrays)

    def laid_out(a: Any) -> Any:
        kind = data.draw(st.sampled_from(["fortran", "strided", "reversed"]))
        if kind == "fortran" or not a.ndim:
            return np.array(a, order="F")
        if kind == "reversed":
            return np.array(a[::-1])[::-1]
        return np.repeat(a, 2, axis=0)[::2]

    odd = [None if a is None else laid_out(a) for a in arrays]
    tensors = [None if a is None else minigrad.from_numpy(a) for a in odd]
    autograd.apply(row, tensors, row.cases[i].attrs)
    assert same([None if a is None else np.ascontiguousarray(a) for a in odd], plain)


def test_a_variance_that_rounding_makes_negative_counts_as_zero() -> None:
    p, g, a = np.float32([1.0]), np.float32([0.1]), np.float32([0.1])
    v = np.nextafter(np.float32(0.1) * np.float32(0.1), np.float32(0))
    tensors = [minigrad.tensor(x) for x in (p, g, np.float32([v]))]
    autograd.apply(OPS["rmsprop_"], [*tensors, None, minigrad.tensor(a)], {"lr": 1e-9, "alpha": 1.0})
    assert np.isfinite(tensors[0].numpy()).all()


# ---- what optimizers do ----------------------------------------------------------------------------------


def least_squares(seed: int = 0) -> tuple[list[Any], Callable[[], Any]]:
    """Parameters of a line through twenty points, and the loss."""
    rng = np.random.default_rng(seed)
    x = minigrad.tensor(rng.standard_normal((20, 3)).astype(np.float32))
    y = x @ minigrad.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    weight = minigrad.tensor(rng.standard_normal((3, 1)).astype(np.float32), requires_grad=True)
    bias = minigrad.zeros(1, requires_grad=True)
    return [weight, bias], lambda: ((x @ weight + bias - y) ** 2).mean()


def train(optimizer: Any, loss: Callable[[], Any], steps: int) -> float:
    value = None
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    return value.item()


@every
def test_a_line_is_found(name: str, options: dict[str, Any]) -> None:
    params, loss = least_squares()
    before = loss().item()
    assert train(made(name, params, **options), loss, 200) < 0.01 * before


@every
def test_maximize_is_descent_of_the_negative(name: str, options: dict[str, Any]) -> None:
    results = []
    for sign, maximize in ((1, False), (-1, True)):
        params, loss = least_squares()
        optimizer = made(name, params, **options, maximize=maximize)
        train(optimizer, lambda: sign * loss(), 5)  # noqa: B023
        results.append([p.detach().numpy() for p in params])
    for a, b in zip(*results, strict=True):
        assert a.tobytes() == b.tobytes()


@every
def test_a_resumed_run_ends_bit_equal(name: str, options: dict[str, Any]) -> None:
    params, loss = least_squares()
    optimizer = made(name, params, **options)
    train(optimizer, loss, 4)
    saved = copy.deepcopy(optimizer.state_dict())
    values = [p.detach().clone() for p in params]
    train(optimizer, loss, 6)

    again, loss_again = least_squares()
    for p, v in zip(again, values, strict=True):
        p.data = v
    resumed = made(name, again, lr=0.9)  # its options come from the state dict
    resumed.load_state_dict(saved)
    train(resumed, loss_again, 6)
    for p, q in zip(params, again, strict=True):
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()
    assert resumed.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


@every
def test_a_captured_update_replays_to_the_same_bits(name: str, options: dict[str, Any]) -> None:
    params, loss = least_squares()
    optimizer = made(name, params, **options)
    train(optimizer, loss, 3)
    live = [p._array for p in params] + [v._array for s in optimizer.state.values() for v in s.values()]
    before = [a.copy() for a in live]
    with autograd.capture() as tape:
        optimizer.step()
    after = [a.tobytes() for a in live]
    for a, b in zip(live, before, strict=True):
        a[...] = b
    for function, m, args, attrs, _ in tape.calls:
        function(m, *args, **attrs)
    assert [a.tobytes() for a in live] == after


def test_learning_rate_and_step_are_numbers_of_the_call() -> None:
    p = leaf(1.0, 2.0)
    p.grad = minigrad.ones(2)
    optimizer = optim.Adam([p], lr=0.1)
    with minigrad.kernels("off"), autograd.capture() as tape:
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.2
        optimizer.step()
    numbers = [attrs for function, _, _, attrs, _ in tape.calls if function is OPS["adam_"].forward]
    assert [(a["lr"], a["step"]) for a in numbers] == [(0.1, 1.0), (0.2, 2.0)]


def test_a_registered_kernel_makes_the_update() -> None:
    from minigrad import backend

    calls = []

    def fused(m: Any, param: Any, grad: Any, *state: Any, **numbers: Any) -> None:
        calls.append(numbers["lr"])
        param -= numbers["lr"]

    backend.register_kernel("counted", "sgd_", fused)
    try:
        p = leaf(1.0)
        p.grad = minigrad.ones(1)
        optim.SGD([p], lr=0.25).step()
    finally:
        backend.unregister_kernels("counted")
    assert calls == [0.25] and p.item() == 0.75


def test_updates_leave_the_graph_and_say_that_they_wrote() -> None:
    p = leaf(1.0, 2.0)
    y = (p * p).sum()
    y.backward(retain_graph=True)
    before, version = p.data_ptr(), p._version
    optim.SGD([p], lr=0.1).step()
    assert p.is_leaf and p.requires_grad and p.data_ptr() == before and p._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_parameters_without_gradient_are_left_alone_and_have_no_state() -> None:
    p, q = leaf(1.0), leaf(2.0)
    p.grad = minigrad.ones(1)
    optimizer = optim.Adam([p, q])
    optimizer.step()
    assert q.item() == 2.0 and list(optimizer.state_dict()["state"]) == [0]


def test_plain_sgd_keeps_no_state() -> None:
    p = leaf(1.0)
    p.grad = minigrad.ones(1)
    optimizer = optim.SGD([p])
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}


def test_momentum_that_is_switched_on_later_begins_with_the_gradient() -> None:
    p = leaf(1.0)
    p.grad = minigrad.ones(1)
    for optimizer in (optim.SGD([p], lr=0.0), optim.RMSprop([p], lr=0.0)):
        optimizer.step()
        optimizer.param_groups[0]["momentum"] = 0.5
        optimizer.step()
        assert optimizer.state[p]["momentum_buffer"].item() > 0


def test_amsgrad_that_is_switched_on_later_begins_with_the_present_mean() -> None:
    p = leaf(1.0)
    p.grad = minigrad.ones(1)
    optimizer = optim.Adam([p])
    optimizer.step()
    optimizer.param_groups[0]["amsgrad"] = True
    optimizer.step()
    state = optimizer.state[p]
    assert (state["max_exp_avg_sq"] == state["exp_avg_sq"]).all()


def test_adagrad_has_its_state_from_the_beginning_and_makes_it_for_groups_added_later() -> None:
    p, q = leaf(1.0), leaf(1.0)
    optimizer = optim.Adagrad([p], initial_accumulator_value=0.5)
    assert optimizer.state[p]["sum"].item() == 0.5 and optimizer.state[p]["step"].item() == 0
    optimizer.add_param_group({"params": q})
    q.grad = minigrad.ones(1)
    optimizer.step()
    assert optimizer.state[q]["sum"].item() == 1.5


def test_the_step_count_is_a_float32_scalar_and_float64_where_that_is_the_default() -> None:
    for default in (minigrad.float32, minigrad.float64):
        before = minigrad.get_default_dtype()
        minigrad.set_default_dtype(default)
        try:
            p = leaf(1.0)
            p.grad = minigrad.ones(1)
            optimizer = optim.Adam([p])
            optimizer.step()
            assert optimizer.state[p]["step"].dtype is default and optimizer.state[p]["step"].shape == ()
        finally:
            minigrad.set_default_dtype(before)


def test_a_closure_computes_the_loss_with_gradients_on() -> None:
    params, loss = least_squares()
    optimizer, seen = optim.SGD(params, lr=0.1), []

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        seen.append(minigrad.is_grad_enabled())
        return value

    with minigrad.no_grad():
        first = optimizer.step(closure)
    assert first.requires_grad and seen == [True] and optimizer.step(closure).item() < first.item()


def test_options_that_are_tensors_are_read_at_each_step() -> None:
    p = leaf(1.0)
    p.grad = minigrad.ones(1)
    lr = minigrad.tensor(0.5)
    optimizer = optim.SGD([p], lr=lr)
    optimizer.step()
    lr.fill_(0.25)
    optimizer.step()
    assert p.item() == 0.25
    betas = minigrad.tensor(0.5), minigrad.tensor([0.5])
    optim.Adam([p], lr=lr, betas=betas).step()
    assert p.item() == pytest.approx(0.0, abs=1e-6)


def test_zero_grad_forgets_or_writes_zeros() -> None:
    p, q = leaf(1.0), leaf(1.0)
    (p * 2).backward()
    optimizer, held = optim.SGD([p, q]), p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is held and held.item() == 0 and q.grad is None
    (p * p).backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0 and not p.grad.requires_grad
    optimizer.zero_grad()
    assert p.grad is None


# ---- groups ----------------------------------------------------------------------------------------------


def test_groups_have_options_of_their_own_and_the_defaults_otherwise() -> None:
    p, q = leaf(1.0), leaf(1.0)
    optimizer = optim.SGD([{"params": p, "lr": 0.5}, {"params": [q], "momentum": 0.9}], lr=0.25)
    assert [(g["lr"], g["momentum"]) for g in optimizer.param_groups] == [(0.5, 0), (0.25, 0.9)]
    for t in (p, q):
        t.grad = minigrad.ones(1)
    optimizer.step()
    assert (p.item(), q.item()) == (0.5, 0.75)


def test_named_parameters_leave_their_names_in_the_state_dict() -> None:
    p, q = leaf(1.0), leaf(1.0)
    optimizer = optim.SGD(iter([("weight", p), ("bias", q)]))
    assert optimizer.param_groups[0]["params"] == [p, q]
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["param_names"] == ["weight", "bias"]
    del saved["param_groups"][0]["param_names"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="SGD: all optimizer param groups should be with/without names"):
        optimizer.add_param_group({"params": [leaf(1.0)]})


def test_a_repeated_parameter_warns_and_is_updated_twice() -> None:
    p = leaf(1.0)
    with pytest.warns(
        UserWarning, match="SGD: optimizer contains a parameter group with duplicate parameters"
    ):
        optimizer = optim.SGD([p, p], lr=0.25)
    p.grad = minigrad.ones(1)
    optimizer.step()
    assert p.item() == 0.5
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]


def test_a_tensor_that_keeps_its_gradient_can_be_optimized() -> None:
    x = leaf(1.0) * 2
    x.retain_grad()
    (x * 3).backward()
    optim.SGD([x], lr=0.5).step()
    assert x.item() == 0.5


def test_optimizers_print_their_groups() -> None:
    text = repr(optim.SGD([{"params": leaf(1.0)}, {"params": leaf(2.0), "lr": 0.5}], lr=0.1))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    assert (
        "    lr: 0.1\n" in text
        and text.endswith("\n    weight_decay: 0\n)")
        and "\n\nParameter Group 1\n" in text
    )


def test_a_deep_copy_is_another_optimizer_of_other_parameters() -> None:
    params, loss = least_squares()
    optimizer = optim.Adam(params)
    train(optimizer, loss, 2)
    twin = copy.deepcopy(optimizer)
    kept = twin.param_groups[0]["params"][0].detach().clone()
    train(optimizer, loss, 2)
    assert (twin.param_groups[0]["params"][0] == kept).all()
    state = twin.state[twin.param_groups[0]["params"][0]]
    assert state["step"].item() == 2 and state is not optimizer.state[params[0]]


# ---- state dicts -----------------------------------------------------------------------------------------


def stepped(**options: Any) -> Any:
    p, q = leaf(1.0, 2.0), leaf(3.0)
    p.grad, q.grad = minigrad.ones(2), minigrad.ones(1)
    optimizer = optim.Adam([{"params": [p]}, {"params": [q]}], **options)
    optimizer.step()
    return optimizer


def test_a_state_dict_has_indices_in_the_place_of_parameters() -> None:
    saved = stepped(lr=0.5).state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [[0], [1]]
    assert {k: sorted(v) for k, v in saved["state"].items()} == {
        key: ["exp_avg", "exp_avg_sq", "step"] for key in (0, 1)
    }


def test_loading_copies_casts_to_the_parameter_and_keeps_the_step() -> None:
    saved = stepped().state_dict()
    p, q = leaf(1.0, 2.0, dtype=minigrad.float64), leaf(3.0, dtype=minigrad.float16)
    fresh = optim.Adam([{"params": [p]}, {"params": [q]}])
    fresh.load_state_dict(saved)
    assert (
        fresh.state[p]["exp_avg"].dtype is minigrad.float64
        and fresh.state[q]["exp_avg"].dtype is minigrad.float16
    )
    assert fresh.state[p]["step"].dtype is minigrad.float32
    p.grad = minigrad.ones(2, dtype=minigrad.float64)
    fresh.step()
    assert saved["state"][0]["step"].item() == 1 and fresh.state[p]["step"].item() == 2


def test_loading_takes_arrays_numbers_nested_values_and_what_belongs_to_no_parameter() -> None:
    p = leaf(1.0, 2.0)
    p.grad = minigrad.ones(2)
    fresh = optim.Adam([p])
    wide = minigrad.ones(2, dtype=minigrad.float64)
    state = {
        "step": 3,
        "exp_avg": np.zeros(2),
        "exp_avg_sq": np.ones(2),
        "kept": [np.ones(2), {"at": wide}, "word", wide],
    }
    group = {"params": [7], "lr": np.asarray(0.5), "betas": (0.5, 0.5), "extra": {"key": [1]}}
    fresh.load_state_dict({"state": {7: state, "global": {"count": 1}}, "param_groups": [group]})
    assert fresh.state["global"] == {"count": 1}
    assert fresh.state[p]["kept"][3].dtype is fresh.state[p]["kept"][1]["at"].dtype is minigrad.float32
    assert fresh.state[p]["kept"][2] == "word"
    assert fresh.param_groups[0]["extra"] == {"key": [1]} and fresh.param_groups[0]["eps"] == 1e-8
    fresh.step()
    count = fresh.state[p]["step"]
    version = count._version
    fresh.step()
    assert fresh.state[p]["step"] is count and count.item() == 5 and count._version == version + 1


def test_the_decay_of_adamw_stays_decoupled_whatever_is_loaded() -> None:
    optimizer = optim.AdamW([{"params": leaf(1.0, 2.0)}, {"params": leaf(3.0)}])
    optimizer.load_state_dict(stepped().state_dict())
    assert all(g["decoupled_weight_decay"] for g in optimizer.param_groups)


def test_state_of_parameters_that_are_not_floats_keeps_its_dtype() -> None:
    p = minigrad.zeros(2, dtype=minigrad.int64)
    optimizer = optim.SGD([p])
    optimizer.load_state_dict({"state": {0: {"seen": np.ones(2)}}, "param_groups": [{"params": [0]}]})
    assert optimizer.state[p]["seen"].dtype is minigrad.float64


# ---- hooks and subclasses --------------------------------------------------------------------------------


def test_step_hooks_run_around_the_step_and_may_change_its_arguments() -> None:
    p, seen = leaf(1.0), []
    p.grad = minigrad.ones(1)
    optimizer = optim.SGD([p], lr=0.5)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", p.item())))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", p.item())))
    optimizer.step()
    assert seen == [("before", 1.0), ("after", 0.5)]
    before.remove()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: "loss",), {}))
    assert optimizer.step() == "loss" and len(seen) == 3
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(
        RuntimeError, match=r"SGD.step: a step pre-hook must return None or a tuple.*got int 3"
    ):
        optimizer.step()


def test_state_dict_hooks_may_change_or_replace_the_dict() -> None:
    optimizer, seen = stepped(), []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: d.update(note=1))
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 2})
    saved = optimizer.state_dict()
    assert seen == ["first", "second"] and (saved["note"], saved["more"]) == (1, 2)

    fresh = stepped()
    fresh.register_load_state_dict_pre_hook(
        lambda o, d: {**d, "param_groups": [{**g, "lr": 9.0} for g in d["param_groups"]]}
    )
    fresh.register_load_state_dict_pre_hook(lambda o, d: d.pop("note") and None, prepend=True)
    fresh.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    fresh.load_state_dict(saved)
    assert seen[-1] == 9.0 and saved["note"] == 1


def test_an_optimizer_of_ones_own_needs_only_a_step() -> None:
    class Sign(optim.Optimizer):
        def __init__(self, params: Any, lr: Any = required) -> None:
            super().__init__(params, {"lr": lr})

        @minigrad.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    with pytest.raises(
        ValueError, match="Sign: parameter group didn't specify a value of required optimization parameter lr"
    ):
        Sign([leaf(1.0)])
    assert repr(required) == "<required parameter>"
    p, seen = leaf(1.0), []
    p.grad = minigrad.tensor([-3.0])
    optimizer = Sign([{"params": p, "lr": 0.5}])
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(p.item()))
    optimizer.step()
    assert seen == [1.5]


def test_hooks_run_once_where_a_step_calls_its_parents() -> None:
    class Twice(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            return super().step(closure)

    p, seen = leaf(1.0), []
    p.grad = minigrad.ones(1)
    optimizer = Twice([p], lr=0.25)
    optimizer.register_step_pre_hook(lambda *_: seen.append(1))
    optimizer.step()
    assert p.item() == 0.5 and seen == [1]


# ---- clipping --------------------------------------------------------------------------------------------


def with_gradients() -> tuple[Any, Any, Any]:
    p, q, r = leaf(0.0, 0.0), leaf(0.0), leaf(0.0)
    p.grad, q.grad = minigrad.tensor([2.0, -4.0]), minigrad.tensor([4.0])
    return p, q, r


def test_gradients_are_scaled_to_the_norm_as_one_vector() -> None:
    p, q, r = with_gradients()
    norm = optim.clip_grad_norm_((t for t in (p, q, r)), 3.0)
    assert norm.item() == 6.0 and r.grad is None
    assert p.grad.tolist() == pytest.approx([1.0, -2.0]) and q.grad.tolist() == pytest.approx([2.0])
    before = p.grad.tolist()
    optim.clip_grad_norm_([p, q], 100.0)
    assert p.grad.tolist() == before


def test_a_single_tensor_no_tensor_and_empty_ones_can_be_clipped() -> None:
    p, _q, r = with_gradients()
    assert optim.clip_grad_norm_(p, 100.0, "inf").item() == 4.0
    assert optim.clip_grad_norm_([r], 1.0).item() == 0.0
    assert optim.get_total_norm([minigrad.zeros(0), p.grad], math.inf).item() == 4.0
    assert optim.get_total_norm(p.grad, 1).item() == 6.0
    optim.clip_grad_value_(p, 1.0)
    assert p.grad.tolist() == [1.0, -1.0]
    with pytest.warns(UserWarning, match="empty generator, no gradient clipping will occur") as told:
        optim.clip_grad_norm_((t for t in ()), 1.0)
    assert told[0].filename == __file__


def test_a_known_norm_scales_alone() -> None:
    p, q, r = with_gradients()
    optim.clip_grads_with_norm_([p, q, r], 1.0, minigrad.tensor(2.0))
    assert q.grad.item() == pytest.approx(2.0)


def test_clipping_is_captured_and_reads_nothing_on_the_host() -> None:
    p, q, _ = with_gradients()
    live, reads = [p.grad._array, q.grad._array], []
    before = [a.copy() for a in live]
    item, minigrad.Tensor.item = minigrad.Tensor.item, lambda self: reads.append(self)
    try:
        with autograd.capture() as tape:
            optim.clip_grad_norm_([p, q], 1.0)
    finally:
        minigrad.Tensor.item = item
    after = [a.tobytes() for a in live]
    for a, b in zip(live, before, strict=True):
        a[...] = b
    results: dict[int, Any] = {}
    for function, m, args, attrs, result in tape.calls:
        fresh = function(m, *(results.get(id(a), a) for a in args), **attrs)
        results[id(result)] = fresh
    assert [a.tobytes() for a in live] == after and not reads


# ---- what is refused -------------------------------------------------------------------------------------


def stale(data: Any, grad: Any) -> Callable[[], None]:
    """A step after the parameter's data was replaced."""

    def step() -> None:
        p = leaf(1.0, 2.0)
        p.grad = grad
        p.data = data
        optim.SGD([p]).step()

    return step


class Sparse(minigrad.Tensor):
    is_sparse = True  # type: ignore[assignment]


REFUSED: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (TypeError, ("Adam: params argument given to the optimizer should be an iterable of Tensors or dicts, but got one "
     "Tensor, float32 (1,); pass [tensor]"), lambda: optim.Adam(leaf(1.0))),
    (ValueError, "SGD: optimizer got an empty parameter list; expected the parameters", lambda: optim.SGD([])),
    (TypeError, "SGD: optimizer can only optimize Tensors, but one of the params is int 3", lambda: optim.SGD([3])),
    (TypeError, "SGD: optimizer parameters need to be organized in ordered collections", lambda: optim.SGD([{"params": {leaf(1.0)}}])),
    (TypeError, "SGD: param_group must be a dict, but got list", lambda: optim.SGD([leaf(1.0)]).add_param_group([leaf(2.0)])),
    (KeyError, "SGD: a parameter group needs 'params', got the keys ['lr']", lambda: optim.SGD([{"lr": 1.0}])),
    (ValueError, "SGD: can't optimize a non-leaf Tensor, float32 (1,), computed by <MulBackward0>", lambda: optim.SGD([leaf(1.0) * 2])),
    (ValueError, "SGD: all optimizer params should be with/without names. Some param names are missing: got 1 names for 2",
     lambda: optim.SGD([("a", leaf(1.0)), leaf(2.0)])),
    (ValueError, "SGD: some parameters appear in more than one parameter group",
     lambda: (lambda p: optim.SGD([{"params": p}, {"params": p}]))(leaf(1.0))),
    (NotImplementedError, ("Adam: differentiable=True is not supported, because updates write in place; compute gradients with "
     "autograd.grad(create_graph=True)"), lambda: optim.Adam([leaf(1.0)], differentiable=True)),
    (NotImplementedError, "Optimizer: expected a subclass to define step() or _update()",
     lambda: (lambda p: (p.sum().backward(), optim.Optimizer([p], {}).step()))(leaf(1.0))),
    (TypeError, "SGD: expected lr to be a number or a Tensor of one, got str '0.1'", lambda: optim.SGD([leaf(1.0)], lr="0.1")),
    (ValueError, "SGD: Tensor lr must be 1-element, got shape (2,)", lambda: optim.SGD([leaf(1.0)], lr=minigrad.ones(2))),
    (ValueError, "Adam: Invalid learning rate: -0.1; expected a number at least 0", lambda: optim.Adam([leaf(1.0)], lr=-0.1)),
    (ValueError, "Adam: Invalid learning rate: nan; expected", lambda: optim.Adam([leaf(1.0)], lr=math.nan)),
    (ValueError, "AdamW: Invalid weight_decay value: -1; expected", lambda: optim.AdamW([leaf(1.0)], weight_decay=-1)),
    (ValueError, "Adam: Invalid beta parameter at index 1: 1.0; expected a number from 0 to 1, less than 1",
     lambda: optim.Adam([leaf(1.0)], betas=(0.9, 1.0))),
    (ValueError, "Adam: expected betas to be two numbers, got float 0.9", lambda: optim.Adam([leaf(1.0)], betas=0.9)),
    (ValueError, "Adam: betas must be either both floats or both Tensors", lambda: optim.Adam([leaf(1.0)], betas=(0.9, minigrad.tensor(0.9)))),
    (ValueError, "Adadelta: Invalid rho value: 1.5; expected a number from 0 to 1", lambda: optim.Adadelta([leaf(1.0)], rho=1.5)),
    (ValueError, "SGD: Nesterov momentum requires a momentum and zero dampening, got momentum=0.9, dampening=0.1",
     lambda: optim.SGD([leaf(1.0)], momentum=0.9, dampening=0.1, nesterov=True)),
    (RuntimeError, "Adagrad: `fused` and `foreach` cannot be `True` together", lambda: optim.Adagrad([leaf(1.0)], foreach=True, fused=True)),
    (RuntimeError, "SGD: expected the gradient of a parameter float32 (3,) to have its shape and dtype, got float32 (2,)",
     stale(minigrad.ones(3), minigrad.ones(2))),
    (RuntimeError, "parameter float64 (2,) to have its shape and dtype, got float32 (2,); call zero_grad() after changing param.data",
     stale(minigrad.ones(2, dtype=minigrad.float64), minigrad.ones(2))),
    (RuntimeError, "SGD does not support sparse gradients", stale(minigrad.ones(2), Sparse(2))),
    (KeyError, "Adam.load_state_dict: expected 'state' and 'param_groups', but ['param_groups'] are missing among ['state']",
     lambda: stepped().load_state_dict({"state": {}})),
    (ValueError, "Adam.load_state_dict: loaded state dict has a different number of parameter groups: expected 2, got 1",
     lambda: stepped().load_state_dict(optim.Adam([leaf(1.0)]).state_dict())),
    (ValueError, "doesn't match the size of optimizer's group: group 0 has 1 parameters, got 2",
     lambda: stepped().load_state_dict(optim.Adam([{"params": [leaf(1.0), leaf(1.0)]}, {"params": [leaf(1.0)]}]).state_dict())),
    (TypeError, "clip_grad_norm_: expected tensors, got float 1.0; pass model.parameters()", lambda: optim.clip_grad_norm_([1.0], 1.0)),
    (RuntimeError, "get_total_norm: The total norm of order 2.0 for gradients from `parameters` is non-finite (inf)",
     lambda: optim.get_total_norm([minigrad.tensor([math.inf])], error_if_nonfinite=True)),
]  # fmt: skip


@pytest.mark.parametrize("kind,text,call", REFUSED, ids=[text[:50] for _, text, _ in REFUSED])
def test_what_is_refused_says_what_was_expected_and_what_came(
    kind: Any, text: str, call: Callable[[], Any]
) -> None:
    with pytest.raises(kind) as e:
        call()
    assert text in (e.value.args[0] if kind is KeyError else str(e.value))


def test_gradients_that_share_their_memory_are_not_clipped() -> None:
    p = leaf(1.0, 1.0)
    p.grad = minigrad.ones(1).expand(2)
    for clip in (optim.clip_grad_norm_, optim.clip_grad_value_):
        with pytest.raises(RuntimeError, match=r"clip_grad.*more than one element of the written-to tensor"):
            clip([p], 0.5)


def test_what_a_kernel_remembers_of_a_step_is_of_its_arrays_and_holds_no_gradient():
    pytest.importorskip("numba")
    import weakref

    def train(mode):
        minigrad.manual_seed(0)
        p, q = minigrad.nn.Parameter(minigrad.randn(4, 3)), minigrad.nn.Parameter(minigrad.randn(5).double())
        optimizer, grads = minigrad.optim.Adam([p, q], lr=0.1, amsgrad=True), []
        with minigrad.kernels(mode, wait=True):
            for step in range(6):
                for t in (p, q):
                    t.grad = minigrad.randn(*t.shape).to(t.dtype)
                    if step == 3:
                        t.grad = minigrad.randn(*t.shape[::-1]).to(t.dtype).permute(*reversed(range(t.ndim)))
                if step == 2:
                    p.data = p.data.clone()
                if step == 4:
                    optimizer.load_state_dict(optimizer.state_dict())
                if step == 5:
                    optimizer.param_groups[0].update(amsgrad=False, lr=0.01)
                optimizer.step()
                grads.append(weakref.ref(p.grad._array))
                optimizer.zero_grad()
        return p.detach().numpy(), q.detach().numpy(), [g() for g in grads]

    ours, wanted = train("auto"), train("off")
    np.testing.assert_array_equal(ours[0], wanted[0])
    np.testing.assert_array_equal(ours[1], wanted[1])
    assert ours[2] == [None] * 6
