"""Adam and AdamW, which differ in where the weight decay enters."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import (
    Optimizer,
    ParamsT,
    Update,
    check_betas,
    check_implementation,
    check_option,
    counted,
    scalar,
    zeros,
)

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """θ ← θ - lr · m/(1 - β₁ᵗ) / (√(v/(1 - β₂ᵗ)) + eps), with running means m of g and v of g².

    ``weight_decay`` λ adds λ θ to g; with ``decoupled_weight_decay`` θ ← θ - lr λ θ comes first instead, which
    is :class:`AdamW`. ``amsgrad`` takes the largest v so far; ``maximize`` ascends. Kingma & Ba, "Adam: a method
    for stochastic optimization", 2015, algorithm 1; Reddi et al., "On the convergence of Adam and beyond", 2018.
    State: ``step``, ``exp_avg``, ``exp_avg_sq``, ``max_exp_avg_sq``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        for key, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            check_option(name, key, value)
        check_implementation(name, foreach, fused)
        super().__init__(params, {
            "lr": lr, "betas": check_betas(name, betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["exp_avg"], state["exp_avg_sq"] = scalar(0.0), zeros(param), zeros(param)
        largest = None
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq")
            if largest is None:
                largest = state["max_exp_avg_sq"] = zeros(param)
        inputs = param, param._grad, state["exp_avg"], state["exp_avg_sq"], largest
        return "adam_", inputs, self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "step": step, "lr": float(group["lr"]), "beta1": float(beta1), "beta2": float(beta2),
            "eps": float(group["eps"]), "weight_decay": float(group["weight_decay"]),
            "decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"],
        }  # fmt: skip


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay: θ ← θ - lr · weight_decay · θ, then Adam's update of g alone.

    Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # whatever a loaded state dict says
            group["decoupled_weight_decay"] = True
