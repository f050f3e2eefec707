"""Optimizers and schedules with their options: made of torch and of minigrad, they must agree.

``t`` is the library, ``s`` its schedules, ``o`` an optimizer. What lives here is data, and how both sides are run alike;
the promises are in ``test_optim_torch.py`` and ``test_torch_answers.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SHAPES = ((4, 3), (5,), (), (2, 1, 3))
WEIGHT_DECAY = {"weight_decay": 0.1}
CASES: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {}, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3, **WEIGHT_DECAY},
        {"momentum": 0.8, "nesterov": True, "maximize": True, **WEIGHT_DECAY}, {"maximize": True}, WEIGHT_DECAY,
        {"momentum": 0.7, "nesterov": True, "foreach": True}, {"dampening": 0.3, "fused": True},
    ],
    "Adam": [
        {}, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3}, {"amsgrad": True, **WEIGHT_DECAY}, {"maximize": True},
        {"decoupled_weight_decay": True, **WEIGHT_DECAY}, {"betas": (0.0, 0.0)}, {"foreach": True}, {"fused": True},
        {"amsgrad": True, "betas": (0.5, 0.3), "eps": 1e-2, "maximize": True, "decoupled_weight_decay": True, **WEIGHT_DECAY},
    ],
    "AdamW": [
        {}, {"lr": 0.1, "amsgrad": True, "betas": (0.3, 0.5)}, {"weight_decay": 0.3, "maximize": True}, {"weight_decay": 0.0},
        {"eps": 1e-3, "foreach": True},
    ],
    "RMSprop": [
        {}, {"momentum": 0.9}, {"centered": True, "alpha": 0.7}, {"centered": True, "momentum": 0.5, "eps": 1e-3, **WEIGHT_DECAY},
        {"maximize": True}, {"momentum": 0.8, "maximize": True, "foreach": True, **WEIGHT_DECAY}, {"eps": 1e-2, **WEIGHT_DECAY},
    ],
    "Adagrad": [
        {}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}, {"eps": 1e-3, "maximize": True, **WEIGHT_DECAY},
        {"foreach": True, **WEIGHT_DECAY}, {"lr_decay": 0.3},
    ],
    "Adadelta": [
        {}, {"rho": 0.7, "eps": 1e-3, "lr": 0.5, **WEIGHT_DECAY}, {"maximize": True}, {"rho": 0.5, "foreach": True},
        {"maximize": True, **WEIGHT_DECAY},
    ],
    "Adamax": [
        {}, {"betas": (0.7, 0.8), "eps": 1e-3, **WEIGHT_DECAY}, {"maximize": True}, {"betas": (0.3, 0.5), "foreach": True},
        {"maximize": True, **WEIGHT_DECAY},
    ],
    "NAdam": [
        {}, {"betas": (0.7, 0.8), "momentum_decay": 0.1, **WEIGHT_DECAY}, {"maximize": True, "decoupled_weight_decay": True, **WEIGHT_DECAY},
        {"momentum_decay": 0.0, "eps": 1e-3, "foreach": True}, {"maximize": True, **WEIGHT_DECAY},
    ],
    "RAdam": [
        {}, {"betas": (0.7, 0.8), "eps": 1e-3, **WEIGHT_DECAY}, {"maximize": True, "decoupled_weight_decay": True, **WEIGHT_DECAY},
        {"betas": (0.5, 0.9), "eps": 1e-2, "foreach": True}, {"maximize": True, **WEIGHT_DECAY},
    ],
}  # fmt: skip
EVERY = [(name, options) for name, several in CASES.items() for options in several]
BAD: list[tuple[str, dict[str, Any]]] = [
    *((name, {"lr": -1.0}) for name in CASES), *((name, {"weight_decay": -1.0}) for name in CASES),
    *((name, {"eps": -1.0}) for name in CASES if name != "SGD"),
    *((name, {"betas": b}) for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax") for b in ((1.0, 0.9), (0.9, -0.1))),
    ("SGD", {"momentum": -1.0}), ("SGD", {"nesterov": True}), ("RMSprop", {"alpha": -0.1}), ("RMSprop", {"momentum": -0.1}),
    ("Adagrad", {"lr_decay": -0.1}), ("Adagrad", {"initial_accumulator_value": -0.1}), ("Adadelta", {"rho": 1.5}),
    ("NAdam", {"momentum_decay": -0.1}), ("Adam", {"fused": True, "foreach": True}), ("SGD", {"fused": True, "foreach": True}),
    ("Adagrad", {"fused": True, "foreach": True}),
]  # fmt: skip


def parameters(t: Any, name: str, options: dict[str, Any], arrays: list[Any]) -> tuple[list[Any], Any]:
    """Tensors of a library, and their optimizer: two groups, of which the second has a learning rate of its own."""
    params = [t.tensor(a, requires_grad=True) for a in arrays]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]
    return params, getattr(t.optim, name)(groups, **options)


def gradients(rng: np.random.Generator, k: int, dtype: Any = np.float64) -> Iterator[Any]:
    """Those of step k: one of the parameters has none, now and then."""
    for i, shape in enumerate(SHAPES):
        g = np.asarray(rng.standard_normal(shape), dtype)
        yield None if (i + k) % 5 == 4 else g


# ---- schedules -------------------------------------------------------------------------------------------


def cubic(t: int) -> float:
    return 1 / (1 + t) ** 0.3


class Warmup:
    """A callable object, whose attributes are in the state dict."""

    def __init__(self, over: int) -> None:
        self.over = over

    def __call__(self, t: int) -> float:
        return min(1.0, (t + 1) / self.over)


SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.5),
    "StepLR defaults": lambda s, o: s.StepLR(o, 30),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 3, 20, 50], gamma=0.3),
    "MultiStepLR defaults": lambda s, o: s.MultiStepLR(o, [9, 5]),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 6),
    "ConstantLR defaults": lambda s, o: s.ConstantLR(o),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2, 0.9, 15),
    "LinearLR defaults": lambda s, o: s.LinearLR(o),
    "LinearLR down": lambda s, o: s.LinearLR(o, 1.0, 0.0, 12),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.97),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 40, 1.7),
    "PolynomialLR defaults": lambda s, o: s.PolynomialLR(o),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 13, 1e-4),
    "CosineAnnealingLR defaults": lambda s, o: s.CosineAnnealingLR(o, 50),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2, 1e-4),
    "CosineAnnealingWarmRestarts defaults": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7),
    "CosineAnnealingWarmRestarts times three": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, T_mult=3, eta_min=0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, [0.3, 0.1], 200),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(o, 0.3, epochs=20, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.4),
    "OneCycleLR three phases": lambda s, o: s.OneCycleLR(o, 0.3, 200, three_phase=True, base_momentum=[0.7, 0.8]),
    "OneCycleLR without momentum": lambda s, o: s.OneCycleLR(o, 0.3, 200, cycle_momentum=False),
    "OneCycleLR factors": lambda s, o: s.OneCycleLR(o, 0.3, 200, div_factor=10.0, final_div_factor=5.0, max_momentum=0.99),
    "OneCycleLR only down": lambda s, o: s.OneCycleLR(o, 0.3, 200, pct_start=0.0),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, [0.2, 0.1], 7, 5),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, mode="exp_range", gamma=0.99),
    "CyclicLR scale_fn": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, scale_fn=cubic, scale_mode="iterations", cycle_momentum=False),
    "CyclicLR scale object": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, scale_fn=Warmup(9)),
    "CyclicLR momenta": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.2, 8, base_momentum=[0.6, 0.7], max_momentum=0.95),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [cubic, Warmup(10)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 0.95 + 0.04 * (t % 2)),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 50, 1e-3), s.ExponentialLR(o, 0.9)], [10, 60]
    ),
    "SequentialLR of restarts": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 4), s.CosineAnnealingWarmRestarts(o, 9, 2)], [5]
    ),
    "SequentialLR after one step": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 4), s.StepLR(o, 3)], [1]),
    "SequentialLR nested": lambda s, o: s.SequentialLR(
        o, [s.SequentialLR(o, [s.ConstantLR(o, 0.5, 3), s.StepLR(o, 4, 0.5)], [6]), s.MultiStepLR(o, [3, 5])], [20]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.98)]),
    "ChainedScheduler of three": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.5, total_iters=8), s.MultiStepLR(o, [5, 30], 0.5), s.CosineAnnealingLR(o, 40)], optimizer=o
    ),
}  # fmt: skip
CLOSED = ("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR",
          "CosineAnnealingWarmRestarts", "LambdaLR", "CyclicLR")  # fmt: skip
PLATEAUS: list[dict[str, Any]] = [
    {}, {"mode": "max"}, {"threshold_mode": "abs", "threshold": 0.02}, {"mode": "max", "threshold_mode": "abs"},
    {"patience": 2, "cooldown": 3, "min_lr": [1e-3, 1e-2]}, {"patience": 0, "factor": 0.5, "eps": 1e-3},
    {"patience": 1, "threshold": 0.2}, {"mode": "max", "patience": 1, "threshold": 0.1, "cooldown": 1, "min_lr": 1e-3},
]  # fmt: skip

BAD_SCHEDULES: list[tuple[str, Any]] = [
    ("not an optimizer", lambda s, o: s.StepLR(3, 1)),
    ("no optimizer for one cycle", lambda s, o: s.OneCycleLR(3, 0.1, 10)),
    ("no optimizer for cycles", lambda s, o: s.CyclicLR(3, 0.1, 0.2)),
    ("factor", lambda s, o: s.ConstantLR(o, 1.5)),
    ("start factor", lambda s, o: s.LinearLR(o, 0.0)),
    ("end factor", lambda s, o: s.LinearLR(o, 0.5, 1.5)),
    ("T_0", lambda s, o: s.CosineAnnealingWarmRestarts(o, 0)),
    ("T_mult", lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 0)),
    ("eta_min", lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 1, "0")),
    ("negative epoch", lambda s, o: s.CosineAnnealingWarmRestarts(o, 5).step(-1)),
    ("lambdas", lambda s, o: s.LambdaLR(o, [cubic])),
    ("no lambda", lambda s, o: s.MultiplicativeLR(o, 3)),
    ("no length", lambda s, o: s.OneCycleLR(o, 0.1)),
    ("epochs alone", lambda s, o: s.OneCycleLR(o, 0.1, epochs=3)),
    ("total_steps", lambda s, o: s.OneCycleLR(o, 0.1, 0)),
    ("epochs", lambda s, o: s.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=3)),
    ("steps_per_epoch", lambda s, o: s.OneCycleLR(o, 0.1, epochs=1, steps_per_epoch=2.5)),
    ("pct_start", lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0)),
    ("strategy", lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="square")),
    ("max_lrs", lambda s, o: s.OneCycleLR(o, [0.1], 10)),
    ("cyclic mode", lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="round")),
    ("plateau factor", lambda s, o: s.ReduceLROnPlateau(o, factor=1.0)),
    ("plateau mode", lambda s, o: s.ReduceLROnPlateau(o, mode="down")),
    ("plateau threshold mode", lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="both")),
    ("plateau min_lrs", lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1])),
    ("no schedules", lambda s, o: s.SequentialLR(o, [], [])),
    ("none to chain", lambda s, o: s.ChainedScheduler([])),
    ("plateau in sequence", lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o), s.StepLR(o, 1)], [3])),
    ("milestones", lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1), s.StepLR(o, 1)], [3, 4])),
    ("not a schedule", lambda s, o: s.SequentialLR(o, [3], [])),
    ("resumed without initial_lr", lambda s, o: s.StepLR(o, 1, last_epoch=3)),
]  # fmt: skip


def scheduled_optimizer(t: Any, name: str = "Adam", lrs: tuple[Any, Any] = (0.1, 0.03)) -> Any:
    """An optimizer of two groups, for a schedule."""
    return getattr(t.optim, name)(
        [{"params": [t.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs], lr=0.5
    )


def seen(optimizer: Any) -> list[Any]:
    """What schedules change, of every group."""
    keys = ("lr", "betas", "momentum")
    return [
        float(v) if k == "lr" else v
        for g in optimizer.param_groups
        for k in keys
        if (v := g.get(k)) is not None
    ]


ON_THE_EDGE: list[dict[str, Any]] = [
    *({"mode": m, "threshold_mode": t, "threshold": 0.0, "patience": 1} for m in ("min", "max") for t in ("rel", "abs")),
    {"patience": 0, "factor": 0.5, "eps": 0.05},
]  # fmt: skip


def metrics(count: int) -> list[float]:
    """A loss that falls, and trembles."""
    rng = np.random.default_rng(1)
    return [1 / (1 + k / 20) + 0.05 * rng.standard_normal() for k in range(count)]


def later(make: Callable[[Any, Any], Any], t: int = 11) -> Callable[[Any, Any], Any]:
    """The same schedule going on from step t, with an optimizer that was there before."""

    def made(schedules: Any, optimizer: Any) -> Any:
        class Later:
            def __getattr__(self, which: str) -> Any:
                return functools.partial(getattr(schedules, which), last_epoch=t)

        for g in optimizer.param_groups:
            g["initial_lr"] = g["lr"]
            g |= {"max_lr": 0.3, "min_lr": 1e-5, "max_momentum": 0.9, "base_momentum": 0.8}
        return make(Later(), optimizer)

    return made


SINGLE = [n for n in SCHEDULES if "Sequential" not in n and "Chained" not in n]  # those that take last_epoch


# ---- clipping --------------------------------------------------------------------------------------------

NORMS = [(p, m) for p in (2.0, 1.0, 3.5, float("inf"), "inf", 0.0, float("-inf")) for m in (0.3, 1e4, 0.0)]


def tensors_with_gradients(t: Any, dtype: Any = np.float64) -> list[Any]:
    """Parameters for clipping."""
    rng, made = np.random.default_rng(3), []
    for shape in SHAPES:
        p = t.zeros(shape, dtype=getattr(t, np.dtype(dtype).name), requires_grad=True)
        p.grad = t.tensor(np.asarray(rng.standard_normal(shape), dtype))
        made.append(p)
    return made
