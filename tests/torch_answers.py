"""What torch answers to ``op_calls``, ``nn_calls``, ``optim_calls``, ``torch_lines``: kept in ``torch_answers.json`` for machines without it.

``python tests/torch_answers.py`` asks torch again. A tensor is kept as dtype, shape, and two sums over its elements
with weights of their own: any element that changes, changes them.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from nn_calls import LAYERS, LOSSES, ran
from op_calls import USES, Use
from optim_calls import (
    BAD,
    BAD_SCHEDULES,
    CASES,
    CLOSED,
    EVERY,
    NORMS,
    ON_THE_EDGE,
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
from sides import Side, arguments, array, backward, name_of, quietly
from test_torch_swap import HEAD, executed
from torch_lines import AGREE

KEPT = Path(__file__).with_suffix(".json")
REFUSED = (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError, AttributeError)


def print_of(x: Any) -> Any:
    """JSON that tells results apart: dtype, shape and two sums of a tensor; of anything else, itself."""
    if hasattr(x, "requires_grad"):
        return [name_of(x.dtype), list(x.shape), *sums(array(x))]
    if isinstance(x, np.ndarray):
        return [str(x.dtype), list(x.shape), *sums(x)]
    if type(x).__name__ == "device":
        return str(x)
    if isinstance(x, (list, tuple)):
        return [print_of(v) for v in x]
    if isinstance(x, dict):
        return {str(k): print_of(v) for k, v in x.items()}
    if isinstance(x, str):
        return x.replace("minigrad", "torch")
    return x if isinstance(x, (bool, int, float, str, type(None))) else name_of(x)


def sums(x: np.ndarray) -> tuple[float, ...]:
    """Weighted sums of values and of magnitudes; what is not finite counts as a number of its own."""
    flat = x.reshape(-1).astype(np.float64)
    flat = np.where(np.isnan(flat), 777.0, np.where(np.isinf(flat), np.sign(flat) * 555.0, flat))
    flat, at = np.clip(flat, -1e300, 1e300), np.arange(len(flat))
    found = (flat * (1.5 + np.cos(7 * at))).sum(), (abs(flat) * (1.5 + np.sin(5 * at))).sum()
    return tuple(float(f"{v:.12g}") for v in found)  # fewer digits than a sum's order of additions changes


def called(side: Side, use: Use, form: str) -> dict[str, Any]:
    """Result and gradients of a call as a function or as a method."""
    leaves: list[Any] = []
    args, kwargs = arguments(use, side, "float64", leaves)
    if form == "function":
        result = quietly(side.function(use.name), *args, **kwargs)
    else:
        result = quietly(getattr(args[0], use.name), *args[1:], **kwargs)
    try:
        backward(side, result)
    except RuntimeError:  # torch has no derivative of it
        return {"form": form, "result": print_of(result), "gradients": None}
    gradients = [t.grad if t.grad is not None else 0 * t.detach() for t in leaves]
    return {"form": form, "result": print_of(result), "gradients": print_of(gradients)}


def layer(t: Any, make: Any, arrays: Any, *reduction: str) -> dict[str, Any]:
    """Everything that a module with known parameters gives: output, gradients, state."""
    module = quietly(make, t, *reduction).double()
    with t.no_grad():
        for k, p in enumerate(module.parameters()):
            p.copy_(t.tensor(np.cos(np.arange(p.numel()) + k).reshape(tuple(p.shape))))
    found = quietly(ran, t, module, arrays)
    return {"repr": repr(module), **{k: print_of(v) for k, v in found.items()}}


def trajectory(t: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Where an optimizer has the parameters after some of its steps, and its state at the end."""
    rng = np.random.default_rng(0)
    params, optimizer = parameters(t, name, options, [np.asarray(rng.standard_normal(s)) for s in SHAPES])
    steps = {}
    for k in range(12):
        for p, g in zip(params, gradients(rng, k), strict=True):
            p.grad = None if g is None else t.tensor(g)
        optimizer.step()
        if k in (0, 11):
            steps[str(k)] = print_of(params)
    return {"optimizer": repr((name, options)), "steps": steps, "state": print_of(optimizer.state_dict())}


SAID = (0, 1, 5, 13, 34, 60, 144)  # steps of a schedule told one by one


def rates(optimizer: Any, schedule: Any, steps: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The learning rates and momenta that a schedule sets when it is stepped with such arguments, and its state."""
    found = [[*seen(optimizer), list(schedule.get_last_lr())]]
    for args in steps:
        optimizer.step()
        schedule.step(*args)
        found.append([*seen(optimizer), list(schedule.get_last_lr())])
    told = {str(k): found[k] for k in SAID if k < len(found)}
    state = {k: v for k, v in schedule.state_dict().items() if not callable(v)}
    options = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return {
        "rates": told,
        "all": print_of(np.array([flat(row) for row in found])),
        "state": print_of(state),
        "options": print_of(options),
    }


def flat(row: Any) -> list[float]:
    return [x for v in row for x in flat(v)] if isinstance(row, (list, tuple)) else [row]


def schedules(t: Any) -> list[dict[str, Any]]:
    """Every schedule with Adam and with SGD, by the closed form where it has one, plateaus."""
    s, made = t.optim.lr_scheduler, []

    def add(name: str, optimizer: str, make: Any, steps: list[tuple[Any, ...]]) -> None:
        o = scheduled_optimizer(t, optimizer)
        made.append({"schedule": f"{name}, {optimizer}", **quietly(rates, o, quietly(make, s, o), steps)})

    for name, make in SCHEDULES.items():
        for optimizer in ("Adam", "SGD"):
            add(name, optimizer, make, [()] * 199)
    for name in CLOSED:
        add(f"{name} by epochs", "Adam", SCHEDULES[name], [(e,) for e in (0, 5, 3, 17, 60, 2)])
    for name in SINGLE:
        add(f"{name} from step 11", "Adam", later(SCHEDULES[name]), [()] * 40)
    for k in (1, 2):
        fractions = [(6.5 + i / 4,) for i in range(40)]
        add(
            f"restarts by fractions, {k}",
            "Adam",
            lambda s, o, k=k: s.CosineAnnealingWarmRestarts(o, 5, k),
            fractions,
        )
    nan = float("nan")
    for cases, losses in (
        (PLATEAUS, metrics(199)),
        (ON_THE_EDGE, [1.0] * 20),
        (PLATEAUS, [nan, nan, *metrics(30)]),
    ):
        for options in cases:
            plateau = lambda s, o, options=options: s.ReduceLROnPlateau(o, **options)  # noqa: E731
            add(f"plateau {options} of {len(losses)}", "Adam", plateau, [(x,) for x in losses])
    return made


def optim_refusals(t: Any) -> list[list[str]]:
    """Error and text of options that optimizers and schedules refuse."""
    calls = [
        lambda name=name, o=o: getattr(t.optim, name)([t.zeros(1, requires_grad=True)], **o)
        for name, o in BAD
    ]
    calls += [
        lambda make=make: make(t.optim.lr_scheduler, scheduled_optimizer(t)) for _, make in BAD_SCHEDULES
    ]
    found = []
    for call in calls:
        try:
            call()
        except Exception as e:
            found.append([type(e).__name__, str(e).strip("'\"")])
    return found


def signatures(t: Any) -> dict[str, list[list[str]]]:
    """Arguments of optimizers, schedules and clipping: name, default, kind."""
    made = {name: getattr(t.optim, name) for name in CASES}
    made |= {n: getattr(t.optim.lr_scheduler, n) for n in dict.fromkeys([s.split()[0] for s in SCHEDULES])}
    made["ReduceLROnPlateau"] = t.optim.lr_scheduler.ReduceLROnPlateau
    clips = ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm")
    made |= {name: getattr(t.nn.utils, name) for name in clips}
    return {
        name: [[p.name, repr(p.default), p.kind.name] for p in inspect.signature(kind).parameters.values()]
        for name, kind in made.items()
    }


def clipped(t: Any) -> list[Any]:
    """Norms and gradients after clipping by norm and by value."""
    found = []
    for norm_type, max_norm in NORMS:
        params = tensors_with_gradients(t)
        norm = t.nn.utils.clip_grad_norm_(params, max_norm, norm_type)
        found.append(print_of([norm, *[p.grad for p in params]]))
    params = tensors_with_gradients(t)
    t.nn.utils.clip_grad_value_(params, 0.5)
    return [*found, print_of([p.grad for p in params])]


def line(t: Any, code: str) -> dict[str, Any]:
    """What a line leaves in ``r``, and what it prints."""
    names, printed = quietly(executed, HEAD + textwrap.dedent(code), t.__name__, "line")
    return {"r": print_of(names.get("r")), "text": printed}


def answers(t: Any) -> dict[str, list[Any]]:
    """Of a library, to everything."""
    side, calls = Side(t), []
    for use in USES:
        for form in ("function", "method"):
            try:
                calls.append({"call": repr(use), **called(side, use, form)})
                break
            except REFUSED:
                if form == "method":
                    raise
    losses = [layer(t, m, a, r) for m, *a in LOSSES for r in ("mean", "sum", "none")]
    layers, lines = [layer(t, m, a) for m, *a in LAYERS], [line(t, code) for code in AGREE]
    optimizers = [trajectory(t, *case) for case in EVERY]
    return {
        "calls": calls, "layers": layers, "losses": losses, "optimizers": optimizers, "schedules": schedules(t),
        "optim": [optim_refusals(t), signatures(t), clipped(t)], "lines": lines,
    }  # fmt: skip


def near(ours: Any, theirs: Any, rtol: float = 1e-7, least: float = 1.0) -> bool:
    """Equal, floats up to rounding of what is at least ``least``."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(near(ours[k], theirs[k], rtol, least) for k in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(
            near(a, b, rtol, least) for a, b in zip(ours, theirs, strict=True)
        )
    if isinstance(theirs, float):
        return bool(abs(ours - theirs) <= rtol * max(least, abs(theirs))) or ours == theirs
    return type(ours) is type(theirs) and bool(ours == theirs)


def main() -> None:
    import torch

    lines = (
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(a) for a in found) + "\n]"
        for name, found in answers(torch).items()
    )
    KEPT.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
