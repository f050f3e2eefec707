"""NAdam: Adam with Nesterov's look ahead."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import (
    Optimizer,
    ParamsT,
    Update,
    accumulated,
    check_betas,
    check_option,
    counted,
    multiply,
    scalar,
    zeros,
)

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """θ ← θ - lr ((1 - μₜ) g / (1 - Πμ) + μₜ₊₁ m / (1 - Πμ μₜ₊₁)) / (√(v/(1 - β₂ᵗ)) + eps), μₜ = β₁ (1 - ½ · 0.96^(t ψ)).

    m and v are running means of g and g², ψ is ``momentum_decay``. ``weight_decay`` λ adds λ θ to g, or, with
    ``decoupled_weight_decay``, θ ← θ - lr λ θ comes first; ``maximize`` ascends. Dozat, "Incorporating Nesterov
    momentum into Adam", 2016. State: ``step``, ``mu_product`` (Πμ), ``exp_avg``, ``exp_avg_sq``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {"eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        for key, value in {"lr": lr, **options}.items():
            check_option("NAdam", key, value)
        super().__init__(params, {
            "lr": lr, "betas": check_betas("NAdam", betas), **options,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["mu_product"] = scalar(0.0), scalar(1.0)
            state["exp_avg"], state["exp_avg_sq"] = zeros(param), zeros(param)
        (beta1, beta2), decay, step = (
            map(float, group["betas"]),
            float(group["momentum_decay"]),
            counted(state),
        )
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        return "nadam_", (param, param._grad, state["exp_avg"], state["exp_avg_sq"]), {
            "step": step, "lr": float(group["lr"]), "mu": mu, "mu_next": mu_next,
            "mu_product": accumulated(state, "mu_product", multiply, mu), "beta1": beta1, "beta2": beta2,
            "eps": float(group["eps"]), "weight_decay": float(group["weight_decay"]),
            "decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"],
        }  # fmt: skip
