"""Stochastic gradient descent, with momentum and Nesterov's."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_implementation, check_option, zeros

__all__ = ["SGD"]


class SGD(Optimizer):
    """θ ← θ - lr b with b ← momentum · b + (1 - dampening) g, which is g at first and without momentum.

    ``nesterov`` takes g + momentum · b in the place of b, and needs momentum without dampening.
    ``weight_decay`` λ adds λ θ to g; ``maximize`` ascends. Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013, with lr outside of b as in PyTorch.
    State: ``momentum_buffer``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        for key, value in {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}.items():
            check_option("SGD", key, value)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"SGD: Nesterov momentum requires a momentum and zero dampening, got momentum={momentum}, "
                f"dampening={dampening}"
            )
        check_implementation("SGD", foreach, fused)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
            "fused": fused,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        buffer, first = None, False
        if group["momentum"] != 0:
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if first := buffer is None:
                buffer = state["momentum_buffer"] = zeros(param)
        return "sgd_", (param, param._grad, buffer), self._attributes(group, first)

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        return {
            "lr": float(group["lr"]), "momentum": float(group["momentum"]), "dampening": float(group["dampening"]),
            "weight_decay": float(group["weight_decay"]), "nesterov": group["nesterov"],
            "maximize": group["maximize"], "first": bool(step),
        }  # fmt: skip
