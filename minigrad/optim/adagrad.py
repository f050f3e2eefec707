"""Adagrad: steps shrink with the gradients seen so far, for each element on its own."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import wrap
from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_implementation, check_option, counted, scalar

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """θ ← θ - lr / (1 + (t - 1) lr_decay) · g / (√s + eps), with the sum s ← s + g².

    s starts at ``initial_accumulator_value``; ``weight_decay`` λ adds λ θ to g; ``maximize`` ascends. Duchi et al.,
    "Adaptive subgradient methods for online learning and stochastic optimization", 2011. State: ``step``, ``sum``,
    which exist from the beginning.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
        }  # fmt: skip
        for key, value in options.items():
            check_option("Adagrad", key, value)
        check_implementation("Adagrad", foreach, fused)
        super().__init__(params, {
            **options, "foreach": foreach, "maximize": maximize, "differentiable": differentiable, "fused": fused
        })  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                self._begin(p)

    def _begin(self, param: Tensor) -> None:
        array, value = param._array, self.defaults["initial_accumulator_value"]
        self.state[param] = {
            "step": scalar(0.0),
            "sum": wrap(backend.module_of(array).m.full_like(array, value)),
        }

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        if not self.state[param]:  # of a group that was added later
            self._begin(param)
        state = self.state[param]
        return "adagrad_", (param, param._grad, state["sum"]), self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        return {
            "step": step, "lr": float(group["lr"]), "lr_decay": float(group["lr_decay"]),
            "weight_decay": float(group["weight_decay"]), "eps": float(group["eps"]), "maximize": group["maximize"],
        }  # fmt: skip
