"""A recipe: every choice that makes a run what it is, and the model, loss, optimizer and schedule made from it.

Two are given. The default standardises the pixels and lets the learning rate fall along a cosine; the plain one
does neither. What doesn't change the result (folders, progress, pictures) isn't in a recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from . import JobError, nearest

TASKS = ("multiclass", "binary")
OPTIMIZERS = {  # name: class in minigrad.optim, learning rate where none is given
    "adam": ("Adam", 2e-3), "adamw": ("AdamW", 2e-3), "sgd": ("SGD", 5e-2), "rmsprop": ("RMSprop", 5e-4),
    "adagrad": ("Adagrad", 2e-2),
}  # fmt: skip
SCHEDULES = ("cosine", "linear", "step", "exponential", "onecycle", "none")
MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0}  # where none is given; the others have none
PLAIN: dict[str, Any] = {"lr": 1e-3, "schedule": "none", "label_smoothing": 0.0, "standardize": False}


@dataclass(frozen=True)
class Recipe:
    """The choices of a run; the defaults are those for Fashion-MNIST."""

    data: str = "fashion-mnist"
    task: str = "multiclass"
    positive: str | None = None  # the class against the rest, for the binary task
    hidden: tuple[int, ...] = (128,)
    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adam"
    lr: float = 2e-3
    momentum: float | None = None  # of SGD and RMSprop alone
    weight_decay: float = 0.0
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    standardize: bool = True
    limit: int | None = None  # train on the first so many images
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Recipe:
        """The recipe that a run's file holds; JobError naming the file when it isn't one."""
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            got = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise JobError(f"{where}: expected a recipe with {', '.join(sorted(names))}, got {got}")
        try:
            found = cls(**{**values, "hidden": tuple(int(n) for n in values["hidden"])})
            found.check()
        except (TypeError, ValueError, JobError) as e:
            raise JobError(f"{where}: not a recipe that can be run: {e}") from None
        return found

    @classmethod
    def chosen(cls, data: str, plain: bool, given: dict[str, Any]) -> Recipe:
        """The default or the plain recipe with what was ``given`` changed. Raises JobError for what can't be."""
        made = cls(data=data, **(PLAIN if plain else {}))
        optimizer = given.get("optimizer", made.optimizer)
        if "lr" not in given and optimizer in OPTIMIZERS and not (plain and optimizer == "adam"):
            made = replace(made, lr=OPTIMIZERS[optimizer][1])
        made = replace(made, **given)
        if "momentum" in given and made.optimizer not in MOMENTUM:
            raise JobError(
                f"--momentum is for {' and '.join(MOMENTUM)}; {made.optimizer} has none: leave it out"
            )
        if "momentum" not in given:
            made = replace(made, momentum=MOMENTUM.get(made.optimizer))
        made.check()
        return made

    def check(self) -> None:
        """Raises JobError for a value that no run can have."""
        for name, known in (("task", TASKS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            if value not in known:
                raise JobError(
                    f"unknown {name} {value!r}: expected one of {', '.join(known)}{nearest(value, known)}"
                )
        if self.positive is not None and self.task != "binary":
            raise JobError("--positive names the class of --task binary; add that, or leave --positive out")
        for name in ("epochs", "batch_size", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise JobError(f"--{name.replace('_', '-')} is at least 1, got {value}")
        if not -(2**63) <= self.seed < 2**64:
            raise JobError(f"--seed is -2**63 to 2**64 - 1, got {self.seed}")
        if any(n < 1 for n in self.hidden):
            raise JobError(f"--hidden sizes are at least 1, got {' '.join(map(str, self.hidden))}")
        for name, low, high in (
            ("lr", 0.0, float("inf")), ("momentum", 0.0, 1.0), ("weight_decay", 0.0, float("inf")), ("label_smoothing", 0.0, 1.0)
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "momentum" and value is None and self.optimizer not in MOMENTUM:
                continue
            if value is None or not low <= value < high:
                below = f" and below {high:g}" if high < float("inf") else " and finite"
                raise JobError(
                    f"--{name.replace('_', '-')} is at least {low:g}{below}, got {'nothing' if value is None else f'{value:g}'}"
                )

    def steps(self, images: int) -> int:
        """Optimizer steps of the whole run."""
        return self.epochs * -(-images // self.batch_size)

    def layers(self, inputs: int, classes: int) -> list[int]:
        """Sizes from input to output: 784, 128, 10."""
        return [inputs, *self.hidden, 1 if self.task == "binary" else classes]

    def words(self, inputs: int, classes: int) -> str:
        """The recipe on one line."""
        parts = [
            "-".join(map(str, self.layers(inputs, classes))),
            "sigmoid and binary cross-entropy" if self.task == "binary" else "cross-entropy",
            f"{OPTIMIZERS[self.optimizer][0]} at {self.lr:g}",
            "constant" if self.schedule == "none" else f"{self.schedule} schedule",
            f"batches of {self.batch_size}", f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}",
            "standardised" if self.standardize else "pixels in 0 … 1",
        ]  # fmt: skip
        if self.label_smoothing:
            parts.append(f"label smoothing {self.label_smoothing:g}")
        if self.weight_decay:
            parts.append(f"weight decay {self.weight_decay:g}")
        return ", ".join([*parts, f"seed {self.seed}"])


def build_model(recipe: Recipe, inputs: int, classes: int) -> Any:
    """Linear layers with ReLU between them. The binary task has one output: the logit of the positive class."""
    from .. import nn

    sizes = recipe.layers(inputs, classes)
    layers: list[Any] = []
    try:
        for k in range(len(sizes) - 1):
            layers += [nn.ReLU()] * (k > 0) + [nn.Linear(sizes[k], sizes[k + 1])]
    except (MemoryError, ValueError) as e:  # NumPy has a ValueError for sizes that no address can reach
        names = "-".join(map(str, sizes))
        raise JobError(f"no memory for a network {names}: {e}; give smaller --hidden sizes") from None
    return nn.Sequential(*layers)


def build_loss(recipe: Recipe) -> Callable[[Any, Any], Any]:
    """Cross-entropy over classes; of one logit and its sigmoid for the binary task."""
    from .. import nn

    if recipe.task == "multiclass":
        return nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    loss, smooth = nn.BCEWithLogitsLoss(), recipe.label_smoothing
    if not smooth:
        return lambda logits, target: loss(logits, target)
    return lambda logits, target: loss(logits, target * (1 - smooth) + smooth / 2)


def build_optimizer(recipe: Recipe, parameters: Any) -> Any:
    from .. import optim

    extra = {"momentum": recipe.momentum} if recipe.optimizer in MOMENTUM else {}
    kind = getattr(optim, OPTIMIZERS[recipe.optimizer][0])
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, **extra)


def build_schedule(recipe: Recipe, optimizer: Any, steps: int) -> Any:
    """The learning rate by step, over all of the run's ``steps``; None for a constant one."""
    from ..optim import lr_scheduler as s

    if recipe.schedule == "cosine":
        return s.CosineAnnealingLR(optimizer, T_max=steps)
    if recipe.schedule == "linear":
        return s.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    if recipe.schedule == "step":  # a tenth after each third
        return s.StepLR(optimizer, step_size=max(1, -(-steps // 3)), gamma=0.1)
    if recipe.schedule == "exponential":  # a hundredth at the end
        return s.ExponentialLR(optimizer, gamma=0.01 ** (1 / max(steps, 1)))
    if recipe.schedule == "onecycle":
        return s.OneCycleLR(
            optimizer, max_lr=recipe.lr, total_steps=steps + 1
        )  # the last is taken after the run
    return None
