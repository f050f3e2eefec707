"""Adamax: Adam with the largest gradient in the place of the mean square."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_betas, check_option, counted, scalar, zeros

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """θ ← θ - lr/(1 - β₁ᵗ) · m / u, with the running mean m of g and u ← max(β₂ u, |g| + eps).

    ``weight_decay`` λ adds λ θ to g; ``maximize`` ascends. Kingma & Ba, "Adam: a method for stochastic
    optimization", 2015, algorithm 2. State: ``step``, ``exp_avg``, ``exp_inf``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        for key, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            check_option("Adamax", key, value)
        super().__init__(params, {
            "lr": lr, "betas": check_betas("Adamax", betas), "eps": eps, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["exp_avg"], state["exp_inf"] = scalar(0.0), zeros(param), zeros(param)
        inputs = param, param._grad, state["exp_avg"], state["exp_inf"]
        return "adamax_", inputs, self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "step": step, "lr": float(group["lr"]), "beta1": float(beta1), "beta2": float(beta2),
            "eps": float(group["eps"]), "weight_decay": float(group["weight_decay"]), "maximize": group["maximize"],
        }  # fmt: skip
