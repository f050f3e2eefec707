"""Optimizers, schedules and clipping beside PyTorch's: the same numbers, state dicts exchanged both ways, the same errors."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from optim_calls import (
    BAD,
    BAD_SCHEDULES,
    CASES,
    CLOSED,
    EVERY,
    NORMS,
    PLATEAUS,
    SCHEDULES,
    SHAPES,
    SINGLE,
    gradients,
    later,
    metrics,
    parameters,
    scheduled_optimizer,
    seen,
    tensors_with_gradients,
)

import minigrad
from minigrad import optim
from minigrad.optim import lr_scheduler

torch = pytest.importorskip("torch")

every = pytest.mark.parametrize(
    "name,options", EVERY, ids=lambda x: x if isinstance(x, str) else ",".join(x) or "defaults"
)


class Pair:
    """The same parameters and optimizer in both libraries, given the same gradients."""

    def __init__(self, name: str, options: dict[str, Any], dtype: Any = np.float64, seed: int = 0) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        arrays = [np.asarray(self.rng.standard_normal(s), dtype) for s in SHAPES]
        self.ours, self.optimizer = parameters(minigrad, name, options, arrays)
        self.theirs, self.peer = parameters(torch, name, options, arrays)

    def steps(self, count: int) -> None:
        for k in range(count):
            for p, q, g in zip(self.ours, self.theirs, gradients(self.rng, k, self.dtype), strict=True):
                p.grad, q.grad = (None, None) if g is None else (minigrad.tensor(g), torch.tensor(g))
            self.optimizer.step()
            self.peer.step()

    def check(self, rtol: float, atol: float) -> None:
        for p, q in zip(self.ours, self.theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol, atol)
        ours, theirs = self.optimizer.state_dict(), self.peer.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        assert [list(g) for g in ours["param_groups"]] == [list(g) for g in theirs["param_groups"]]
        assert ours["state"].keys() == theirs["state"].keys()
        for i, state in theirs["state"].items():
            assert ours["state"][i].keys() == state.keys()
            for key, value in state.items():
                mine = ours["state"][i][key]
                assert str(mine.dtype).split(".")[1] == str(value.dtype).split(".")[1], key
                np.testing.assert_allclose(
                    mine.numpy(),
                    value.numpy(),
                    max(rtol, 1e-6 if key == "mu_product" else 0),
                    atol,
                    err_msg=key,
                )


def in_torch(value: Any) -> Any:
    """A state dict with torch's tensors in the place of ours."""
    if isinstance(value, minigrad.Tensor):
        return torch.from_numpy(value.numpy().copy())
    if isinstance(value, dict):
        return {k: in_torch(v) for k, v in value.items()}
    return [in_torch(v) for v in value] if isinstance(value, list) else value


@every
def test_twenty_steps_equal_torch_in_float64(name: str, options: dict[str, Any]) -> None:
    pair = Pair(name, options)
    pair.steps(20)
    pair.check(1e-12, 1e-13)


@every
def test_twenty_steps_equal_torch_in_float32_within_a_few_ulp(name: str, options: dict[str, Any]) -> None:
    pair, largest = Pair(name, options, np.float32), [np.float32(0)] * len(SHAPES)
    for _ in range(20):
        largest = [
            np.maximum(m, np.abs(q.detach().numpy())) for m, q in zip(largest, pair.theirs, strict=True)
        ]
        pair.steps(1)
    for p, q, most in zip(pair.ours, pair.theirs, largest, strict=True):
        apart = np.abs(p.detach().numpy() - q.detach().numpy())
        assert (apart <= 8 * np.spacing(most)).all(), apart / np.spacing(most)


@every
def test_state_dicts_go_over_to_torch_and_back(name: str, options: dict[str, Any]) -> None:
    pair, fresh = Pair(name, options), Pair(name, options)
    pair.steps(5)
    fresh.optimizer.load_state_dict(pair.peer.state_dict())
    fresh.peer.load_state_dict(in_torch(pair.optimizer.state_dict()))
    with torch.no_grad():
        for p, q, r, s in zip(fresh.ours, fresh.theirs, pair.ours, pair.theirs, strict=True):
            p.data = minigrad.tensor(s.detach().numpy().copy())
            q.data = torch.from_numpy(r.detach().numpy().copy())
    fresh.steps(5)
    fresh.check(1e-12, 1e-13)


def test_the_printed_form_is_torchs() -> None:
    for name, options in EVERY:
        pair = Pair(name, options)
        assert repr(pair.optimizer) == repr(pair.peer)


def test_constructors_take_torchs_arguments_in_torchs_order() -> None:
    import inspect

    for name in CASES:
        ours, theirs = (inspect.signature(getattr(o, name).__init__).parameters for o in (optim, torch.optim))
        assert [(p.name, p.default) for p in ours.values() if p.name != "self"] == [
            (p.name, p.default) for p in theirs.values() if p.name != "self"
        ], name
        assert [p.kind for p in ours.values()] == [p.kind for p in theirs.values()], name


@pytest.mark.parametrize("name,options", BAD, ids=str)
def test_bad_options_raise_torchs_error_and_text(name: str, options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], **options)
    with pytest.raises(theirs.type) as ours:
        getattr(optim, name)([minigrad.zeros(1, requires_grad=True)], **options)
    assert str(theirs.value).rstrip(".") in str(ours.value)
    assert str(ours.value).startswith(f"{name}: ")


# ---- schedules -------------------------------------------------------------------------------------------


QUIET = pytest.mark.filterwarnings(
    "ignore:.*before `optimizer.step:UserWarning"
)  # both say so of a nested sequence
scheduled = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)


def optimizers(name: str = "Adam", lrs: tuple[Any, Any] = (0.1, 0.03)) -> tuple[Any, Any]:
    """The same optimizer of two groups in both libraries."""
    return scheduled_optimizer(minigrad, name, lrs), scheduled_optimizer(torch, name, lrs)


def both_step(pair: tuple[Any, Any], schedules: tuple[Any, Any], *args: Any) -> None:
    for o, s in zip(pair, schedules, strict=True):
        o.step()
        s.step(*args)


@QUIET
@scheduled
@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_schedules_give_torchs_values_bit_for_bit_over_200_steps(make: Any, name: str) -> None:
    pair = optimizers(name)
    schedules = make(lr_scheduler, pair[0]), make(torch.optim.lr_scheduler, pair[1])
    for _ in range(200):
        assert seen(pair[0]) == seen(pair[1])
        assert schedules[0].get_last_lr() == schedules[1].get_last_lr()
        both_step(pair, schedules)


def jsonable(state: dict[str, Any]) -> dict[str, Any]:
    """A schedule's state without what torch keeps of functions of its own."""
    return {
        k: [jsonable(x) if isinstance(x, dict) else x for x in v] if isinstance(v, list) else v
        for k, v in state.items()
    }


@QUIET
@scheduled
def test_schedules_resume_from_their_own_state_and_from_torchs(make: Any) -> None:
    pair = optimizers()
    schedules = make(lr_scheduler, pair[0]), make(torch.optim.lr_scheduler, pair[1])
    for _ in range(33):
        both_step(pair, schedules)
    states = [copy.deepcopy(s.state_dict()) for s in schedules]
    assert jsonable(states[0]) == jsonable(states[1])
    for state, saved in zip(states, (o.state_dict() for o in pair), strict=True):
        fresh = optimizers()[0]
        resumed = make(lr_scheduler, fresh)
        fresh.load_state_dict(saved)
        resumed.load_state_dict(state)
        assert resumed.get_last_lr() == schedules[1].get_last_lr()
        twin, other = copy.deepcopy(pair[1]), copy.deepcopy(states[1])
        peer = make(torch.optim.lr_scheduler, twin)
        twin.load_state_dict(pair[1].state_dict())
        peer.load_state_dict(other)
        for _ in range(60):
            both_step((fresh, twin), (resumed, peer))
            assert seen(fresh) == seen(twin)


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("name", CLOSED)
def test_step_with_an_epoch_takes_the_closed_form(name: str) -> None:
    pair = optimizers()
    schedules = SCHEDULES[name](lr_scheduler, pair[0]), SCHEDULES[name](torch.optim.lr_scheduler, pair[1])
    for epoch in (0, 5, 3, 17, 60, 2):
        both_step(pair, schedules, epoch)
        assert seen(pair[0]) == seen(pair[1])


@pytest.mark.parametrize("name", SINGLE)
def test_last_epoch_goes_on_from_there(name: str) -> None:
    pair, make = optimizers(), later(SCHEDULES[name])
    schedules = make(lr_scheduler, pair[0]), make(torch.optim.lr_scheduler, pair[1])
    for _ in range(40):
        assert seen(pair[0]) == seen(pair[1])
        both_step(pair, schedules)


def test_restarts_take_fractions_of_an_epoch() -> None:
    for mult, start in itertools.product((1, 2), (0.0, 6.5, 44.0)):
        pair = optimizers()
        schedules = [
            s.CosineAnnealingWarmRestarts(o, 5, mult)
            for s, o in zip((lr_scheduler, torch.optim.lr_scheduler), pair, strict=True)
        ]
        for k in range(60):
            for s in schedules:
                s.step(start + k / 4)
            assert seen(pair[0]) == seen(pair[1])


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateaus_are_seen_when_torch_sees_them(options: dict[str, Any]) -> None:
    pair = optimizers()
    schedules = [
        s.ReduceLROnPlateau(o, **options)
        for s, o in zip((lr_scheduler, torch.optim.lr_scheduler), pair, strict=True)
    ]
    for metric in metrics(300):
        for s in schedules:
            s.step(metric)
        assert seen(pair[0]) == seen(pair[1])
        assert schedules[0].state_dict() == schedules[1].state_dict()


@QUIET
@scheduled
def test_a_learning_rate_that_is_a_tensor_is_set_in_place(make: Any) -> None:
    pair = tuple(
        optimizers(lrs=(lib.tensor(0.1), lib.tensor(0.03)))[i] for i, lib in enumerate((minigrad, torch))
    )
    for o, lib in zip(pair, (minigrad, torch), strict=True):
        o.param_groups[0]["lr"], o.param_groups[1]["lr"] = lib.tensor(0.1), lib.tensor(0.03)
    held = pair[0].param_groups[0]["lr"]
    schedules = make(lr_scheduler, pair[0]), make(torch.optim.lr_scheduler, pair[1])
    for _ in range(60):
        both_step(pair, schedules)
        for ours, theirs in zip(schedules[0].get_last_lr(), schedules[1].get_last_lr(), strict=True):
            assert float(ours) == pytest.approx(float(theirs), rel=1e-5, abs=1e-8)
    assert pair[0].param_groups[0]["lr"] is held


@pytest.mark.parametrize("make", [m for _, m in BAD_SCHEDULES], ids=[n for n, _ in BAD_SCHEDULES])
def test_bad_schedules_raise_torchs_error(make: Any) -> None:
    pair = optimizers()
    with pytest.raises(Exception) as theirs:
        make(torch.optim.lr_scheduler, pair[1])
    with pytest.raises(theirs.type) as ours:
        make(lr_scheduler, pair[0])
    start = str(theirs.value).strip("'\"").replace(".", "")[:38]
    assert start in str(ours.value).replace(".", "")


# ---- clipping --------------------------------------------------------------------------------------------


def clippable(dtype: Any = np.float64) -> tuple[list[Any], list[Any]]:
    return tensors_with_gradients(minigrad, dtype), tensors_with_gradients(torch, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("norm_type,max_norm", NORMS)
def test_clipped_gradients_and_norms_equal_torchs(dtype: Any, norm_type: Any, max_norm: float) -> None:
    ours, theirs = clippable(dtype)
    norm = optim.clip_grad_norm_(ours, max_norm, norm_type)
    peer = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    tight = {"rtol": 1e-12} if dtype is np.float64 else {"rtol": 1e-6}
    np.testing.assert_allclose(norm.numpy(), peer.numpy(), **tight)
    assert norm.dtype == ours[0].dtype and norm.shape == ()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), **tight)


def test_clipping_by_value_equals_torchs() -> None:
    ours, theirs = clippable()
    optim.clip_grad_value_(ours, 0.5)
    torch.nn.utils.clip_grad_value_(theirs, 0.5)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad.numpy() == q.grad.numpy()).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_norms_that_are_not_finite_spoil_the_gradients_or_raise_as_in_torch(bad: float) -> None:
    ours, theirs = clippable()
    ours[0].grad[0, 0] = theirs[0].grad[0, 0] = bad
    with pytest.raises(RuntimeError, match="is non-finite"):
        torch.nn.utils.clip_grad_norm_(theirs, 1.0, error_if_nonfinite=True)
    with pytest.raises(RuntimeError, match="is non-finite"):
        optim.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    assert np.isfinite(ours[1].grad.numpy()).all()
    norm, peer = optim.clip_grad_norm_(ours, 1.0), torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    np.testing.assert_equal(norm.item(), peer.item())
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
