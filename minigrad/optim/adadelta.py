"""Adadelta: steps in the parameter's own units, without a learning rate to choose."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_option, counted, scalar, zeros

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """θ ← θ - lr · d with d = √(u + eps) / √(v + eps) · g, and running means v of g² and u of d² with weight rho.

    ``weight_decay`` λ adds λ θ to g; ``maximize`` ascends. Zeiler, "ADADELTA: an adaptive learning rate method",
    2012, algorithm 1. State: ``step``, ``square_avg``, ``acc_delta``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        check_option("Adadelta", "rho", rho, 1)
        for key, value in options.items():
            check_option("Adadelta", key, value)
        super().__init__(params, {
            **options, "maximize": maximize, "capturable": capturable, "foreach": foreach,
            "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["square_avg"], state["acc_delta"] = scalar(0.0), zeros(param), zeros(param)
        inputs = param, param._grad, state["square_avg"], state["acc_delta"]
        return "adadelta_", inputs, self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        return {
            "lr": float(group["lr"]), "rho": float(group["rho"]), "eps": float(group["eps"]),
            "weight_decay": float(group["weight_decay"]), "maximize": group["maximize"],
        }  # fmt: skip
