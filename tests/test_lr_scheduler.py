"""Schedules by their closed forms, resumed and combined, and their warnings. Bit for bit beside torch: test_optim_torch."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import minigrad
from minigrad import optim
from minigrad.optim import lr_scheduler as schedules


def optimizer_of(*lrs: float, name: str = "SGD") -> Any:
    return getattr(optim, name)(
        [{"params": minigrad.zeros(1, requires_grad=True), "lr": lr} for lr in lrs], lr=0.5
    )


def trace(optimizer: Any, schedule: Any, steps: int, key: str = "lr") -> list[list[Any]]:
    """An option of each group before each of the steps."""
    seen = []
    for _ in range(steps):
        seen.append([g[key] for g in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def cosine(t: int, low: float, high: float, period: int) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * t / period)) / 2


FORMULAS: dict[str, tuple[Callable[[Any], Any], Callable[[int, float], float]]] = {
    "StepLR": (lambda o: schedules.StepLR(o, 4, 0.5), lambda t, lr: lr * 0.5 ** (t // 4)),
    "MultiStepLR": (lambda o: schedules.MultiStepLR(o, [2, 5, 5, 13]), lambda t, lr: lr * 0.1 ** ((t >= 2) + 2 * (t >= 5) + (t >= 13))),
    "ConstantLR": (lambda o: schedules.ConstantLR(o, 0.25, 3), lambda t, lr: lr * (0.25 if t < 3 else 1)),
    "LinearLR": (lambda o: schedules.LinearLR(o, 0.5, 1.0, 8), lambda t, lr: lr * (0.5 + 0.5 * min(t, 8) / 8)),
    "ExponentialLR": (lambda o: schedules.ExponentialLR(o, 0.9), lambda t, lr: lr * 0.9**t),
    "PolynomialLR": (lambda o: schedules.PolynomialLR(o, 10, 2.0), lambda t, lr: lr * (1 - min(t, 10) / 10) ** 2),
    "CosineAnnealingLR": (lambda o: schedules.CosineAnnealingLR(o, 7, 0.01), lambda t, lr: cosine(t, 0.01, lr, 7)),
    "CosineAnnealingWarmRestarts": (lambda o: schedules.CosineAnnealingWarmRestarts(o, 5), lambda t, lr: cosine(t % 5, 0, lr, 5)),
    "LambdaLR": (lambda o: schedules.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t, lr: lr / (1 + t)),
    "MultiplicativeLR": (lambda o: schedules.MultiplicativeLR(o, lambda t: 0.5), lambda t, lr: lr * 0.5**t),
    "OneCycleLR": (
        lambda o: schedules.OneCycleLR(o, [0.5, 0.1], 20, anneal_strategy="linear"),
        lambda t, lr: lr / 25 + (lr - lr / 25) * t / 5 if t <= 5 else lr + (lr / 25e4 - lr) * (t - 5) / 14,
    ),
    "CyclicLR": (
        lambda o: schedules.CyclicLR(o, 0.01, [0.5, 0.1], 4, mode="triangular2"),
        lambda t, lr: 0.01 + (lr - 0.01) * (1 - abs(t % 8 - 4) / 4) / 2 ** (t // 8),
    ),
    "SequentialLR": (
        lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o, 0.1, 99), schedules.ExponentialLR(o, 0.9)], [6]),
        lambda t, lr: lr * (0.1 if t < 6 else 0.9 ** (t - 6)),
    ),
    "ChainedScheduler": (
        lambda o: schedules.ChainedScheduler([schedules.ExponentialLR(o, 0.9), schedules.StepLR(o, 3, 0.5)]),
        lambda t, lr: lr * 0.9**t * 0.5 ** (t // 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_follows_its_formula_in_every_group(name: str) -> None:
    make, formula = FORMULAS[name]
    optimizer = optimizer_of(0.5, 0.1)
    schedule = make(optimizer)
    for t, lrs in enumerate(trace(optimizer, schedule, 20)):
        assert lrs == pytest.approx([formula(t, 0.5), formula(t, 0.1)], rel=1e-9, abs=1e-12), t


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_resumes_through_json(name: str) -> None:
    make, _ = FORMULAS[name]
    whole, cut = optimizer_of(0.5, 0.1), optimizer_of(0.5, 0.1)
    expected = trace(whole, make(whole), 20)
    schedule = make(cut)
    trace(cut, schedule, 8)
    state = json.loads(json.dumps(schedule.state_dict()))
    fresh = optimizer_of(0.5, 0.1)
    resumed = make(fresh)
    fresh.load_state_dict(cut.state_dict())
    resumed.load_state_dict(state)
    assert resumed.get_last_lr() == schedule.get_last_lr()
    assert trace(fresh, resumed, 12) == expected[8:]


def test_every_schedule_is_followed_here() -> None:
    public = {n for n in schedules.__all__ if n not in ("LRScheduler", "ReduceLROnPlateau")}
    assert public == set(FORMULAS)


def test_momentum_goes_the_other_way() -> None:
    for make in (
        lambda o: schedules.OneCycleLR(o, 0.1, 10, pct_start=0.5, base_momentum=0.8, max_momentum=0.9),
        lambda o: schedules.CyclicLR(o, 0.01, 0.1, 4, base_momentum=0.8, max_momentum=0.9),
    ):
        adam, sgd = optimizer_of(0.5, name="Adam"), optimizer_of(0.5)
        betas, momenta = trace(adam, make(adam), 9, "betas"), trace(sgd, make(sgd), 9, "momentum")
        assert momenta[0] == [0.9] and momenta[4] == [pytest.approx(0.8)] and momenta[-1][0] > 0.85
        assert [b[0] for b in betas] == [(m[0], 0.999) for m in momenta]


def test_three_phases_come_down_to_the_beginning_first() -> None:
    optimizer = optimizer_of(0.5)
    lrs = trace(optimizer, schedules.OneCycleLR(optimizer, 0.5, 20, pct_start=0.25, three_phase=True), 20)
    assert [lrs[t][0] for t in (0, 4, 8, 19)] == pytest.approx([0.02, 0.5, 0.02, 0.02 / 1e4])


def test_the_cycle_ends_with_a_sentence() -> None:
    optimizer = optimizer_of(0.5)
    schedule = schedules.OneCycleLR(optimizer, 0.5, 3)
    optimizer.step()
    for _ in range(3):
        schedule.step()
    with pytest.raises(
        ValueError, match=r"OneCycleLR: Tried to step 4 times. The specified number of total steps is 3"
    ):
        schedule.step()


def test_restarts_grow() -> None:
    optimizer = optimizer_of(0.5)
    lrs = trace(optimizer, schedules.CosineAnnealingWarmRestarts(optimizer, 2, 2), 15)
    assert [t for t, lr in enumerate(lrs) if lr == [0.5]] == [0, 2, 6, 14]


def test_changes_by_hand_are_kept_by_schedules_that_go_step_by_step() -> None:
    optimizer = optimizer_of(0.5)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 8.0
    schedule.step()
    assert schedule.get_last_lr() == [4.0]


def test_a_tensor_is_set_in_place_and_never_given_away() -> None:
    lr = minigrad.tensor(0.5)
    optimizer = optim.SGD([minigrad.zeros(1, requires_grad=True)], lr=lr)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25
    schedule.get_last_lr()[0].fill_(9.0)
    schedule.base_lrs[0].fill_(9.0)
    assert lr.item() == 0.25


class Decay:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, t: float) -> float:
        return self.rate**t


@pytest.mark.parametrize(
    "make",
    [
        lambda o, f: schedules.LambdaLR(o, f),
        lambda o, f: schedules.CyclicLR(o, 0.1, 0.2, 4, scale_fn=f, cycle_momentum=False),
    ],
)
def test_callable_objects_are_in_the_state_and_functions_are_not(make: Any) -> None:
    saved = make(optimizer_of(0.5), Decay(0.5)).state_dict()
    held = Decay(0.9)
    make(optimizer_of(0.5), held).load_state_dict(saved)
    assert held.rate == 0.5
    plain = make(optimizer_of(0.5), math.cos)
    plain.load_state_dict(plain.state_dict())
    assert "rate" not in str(plain.state_dict())


# ---- plateaus --------------------------------------------------------------------------------------------


def test_the_rate_falls_when_a_metric_stays_and_not_below_the_least() -> None:
    optimizer = optimizer_of(1.0, 0.1)
    schedule = schedules.ReduceLROnPlateau(optimizer, factor=0.1, patience=1, cooldown=1, min_lr=[0.01, 0.05])
    assert schedule.get_last_lr() == [1.0, 0.1]
    for _ in range(3):
        schedule.step(minigrad.tensor(1.0))
    assert schedule.get_last_lr() == pytest.approx([0.1, 0.05]) and schedule.in_cooldown
    schedule.step(1.0)
    assert not schedule.in_cooldown and schedule.num_bad_epochs == 0
    fresh = schedules.ReduceLROnPlateau(optimizer, min_lr=[0.0, 0.0])
    fresh.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert fresh.state_dict() == schedule.state_dict()


def test_a_group_added_later_needs_a_least_rate() -> None:
    for least, text in ((0.0, None), ([0.0], "number of param groups in the `optimizer` \\(2\\) differs")):
        optimizer = optimizer_of(1.0)
        schedule = schedules.ReduceLROnPlateau(optimizer, patience=0, min_lr=least)  # type: ignore[arg-type]
        optimizer.add_param_group({"params": minigrad.zeros(1, requires_grad=True)})
        schedule.step(1.0)
        if text is None:
            schedule.step(1.0)
            assert schedule.get_last_lr() == [0.1, 0.05]
        else:
            with pytest.raises(RuntimeError, match=text):
                schedule.step(1.0)


@pytest.mark.parametrize("mode,values", [("min", [1.0, 0.9, 0.8]), ("max", [1.0, 1.1, 1.2])])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_better_is_by_more_than_the_threshold(mode: str, values: list[float], threshold_mode: str) -> None:
    for threshold, bad in ((0.05, 0), (0.5, 2)):
        schedule = schedules.ReduceLROnPlateau(
            optimizer_of(1.0), mode, threshold=threshold, threshold_mode=threshold_mode
        )
        for v in values:
            schedule.step(v)
        assert schedule.num_bad_epochs == bad


def test_chained_and_sequential_schedules_share_one_optimizer() -> None:
    a, b = optimizer_of(1.0), optimizer_of(1.0)
    steps = [schedules.StepLR(a, 1), schedules.StepLR(b, 1)]
    for make in (lambda: schedules.ChainedScheduler(steps), lambda: schedules.SequentialLR(a, steps, [1])):
        with pytest.raises(
            ValueError, match=r"expects all schedulers to belong to the same optimizer.*StepLR at index 1"
        ):
            make()


# ---- warnings --------------------------------------------------------------------------------------------


def test_a_step_before_the_optimizers_warns() -> None:
    optimizer = optimizer_of(0.5)
    schedule = schedules.StepLR(optimizer, 2)
    with pytest.warns(
        UserWarning, match=r"StepLR: Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"
    ):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


def test_a_step_that_was_overridden_after_the_schedule_was_made_warns() -> None:
    optimizer = optimizer_of(0.5)
    optimizer.step = optimizer.step  # before: nothing to say
    schedule = schedules.StepLR(optimizer, 2)
    optimizer.step()
    schedule.step()
    optimizer = optimizer_of(0.5)
    schedule = schedules.StepLR(optimizer, 2)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"StepLR: Seems like `optimizer.step\(\)` has been overridden"):
        schedule.step()


def test_the_epoch_argument_warns_and_takes_the_closed_form() -> None:
    optimizer = optimizer_of(0.5)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    with pytest.warns(UserWarning, match="ExponentialLR: the epoch parameter"):
        schedule.step(3)
    assert schedule.get_last_lr() == [0.0625] and schedule.last_epoch == 3
    plateau = schedules.ReduceLROnPlateau(optimizer)
    with pytest.warns(UserWarning, match="ReduceLROnPlateau: the epoch parameter"):
        plateau.step(1.0, 7)
    assert plateau.last_epoch == 7


@pytest.mark.parametrize("name", [n for n in FORMULAS if n not in ("SequentialLR", "ChainedScheduler")])
def test_get_lr_warns_outside_of_a_step(name: str) -> None:
    schedule = FORMULAS[name][0](optimizer_of(0.5, 0.1))
    with pytest.warns(UserWarning, match="please use `get_last_lr") as told:
        schedule.get_lr()
    assert told[0].filename == __file__


def test_warnings_point_at_the_line_that_steps() -> None:
    def overridden(optimizer: Any, schedule: Any) -> None:
        optimizer.step = lambda: None
        schedule.step()

    for act in (
        lambda o, s: s.step(),
        overridden,
        lambda o, s: (o.step(), s.step(3)),
    ):
        optimizer = optimizer_of(0.5)
        with pytest.warns(UserWarning) as told:
            act(optimizer, schedules.ExponentialLR(optimizer, 0.5))
        assert [w.filename for w in told] == [__file__]


def test_a_schedule_and_the_tensors_it_was_given_leave_each_other_alone() -> None:
    ends = []
    for number in (minigrad.tensor, float):
        lr, low, high = (number(v) for v in (0.5, 0.25, 0.75))
        optimizer = optim.SGD([minigrad.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
        schedule = schedules.CyclicLR(optimizer, low, high, 4)
        if number is minigrad.tensor:
            assert (low.item(), high.item()) == (0.25, 0.75)
            low.fill_(9.0), high.fill_(9.0)
        trace(optimizer, schedule, 7)
        ends.append(float(optimizer.param_groups[0]["lr"]))
    assert ends == [0.375, 0.375]


def test_a_schedule_of_ones_own_needs_only_get_lr() -> None:
    class Halving(schedules._LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = optimizer_of(0.5)
    assert trace(optimizer, Halving(optimizer), 3) == [[0.5], [0.25], [0.125]]
    with pytest.raises(NotImplementedError, match="LRScheduler: expected a subclass to define get_lr"):
        schedules.LRScheduler(optimizer)


def test_cycled_momentum_needs_an_optimizer_with_momentum() -> None:
    for make in (lambda o: schedules.OneCycleLR(o, 0.1, 10), lambda o: schedules.CyclicLR(o, 0.1, 0.2)):
        with pytest.raises(
            ValueError, match=r"must support momentum or beta1.*got Adagrad; pass cycle_momentum=False"
        ):
            make(optimizer_of(0.5, name="Adagrad"))


def test_resuming_needs_the_rates_that_the_run_began_with() -> None:
    with pytest.raises(
        KeyError, match=r"StepLR: param 'initial_lr' is not specified in param_groups.0. when resuming"
    ):
        schedules.StepLR(optimizer_of(0.5), 2, last_epoch=3)
