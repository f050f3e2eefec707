"""RAdam: Adam that waits until the variance of its step size is known."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_betas, check_option, counted, scalar, zeros

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Adam's update times the rectification r once the averaged length ρ is over 5; before, θ ← θ - lr · m/(1 - β₁ᵗ).

    ρ∞ = 2/(1 - β₂) - 1, ρ = ρ∞ - 2 t β₂ᵗ/(1 - β₂ᵗ), r² = (ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ).
    ``weight_decay`` λ adds λ θ to g, or, with ``decoupled_weight_decay``, θ ← θ - lr λ θ comes first; ``maximize``
    ascends. Liu et al., "On the variance of the adaptive learning rate and beyond", 2020, algorithm 2.
    State: ``step``, ``exp_avg``, ``exp_avg_sq``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        for key, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            check_option("RAdam", key, value)
        super().__init__(params, {
            "lr": lr, "betas": check_betas("RAdam", betas), "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["exp_avg"], state["exp_avg_sq"] = scalar(0.0), zeros(param), zeros(param)
        inputs = param, param._grad, state["exp_avg"], state["exp_avg_sq"]
        return "radam_", inputs, self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "step": step, "lr": float(group["lr"]), "beta1": float(beta1), "beta2": float(beta2),
            "eps": float(group["eps"]), "weight_decay": float(group["weight_decay"]),
            "decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"],
        }  # fmt: skip
