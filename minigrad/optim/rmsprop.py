"""RMSprop, plain, centred, and with momentum."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT, Update, check_option, counted, scalar, zeros

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """θ ← θ - lr · g / (√v + eps), with the running mean v ← alpha · v + (1 - alpha) g².

    ``centered`` takes the variance, v less the square of the running mean of g; ``momentum`` μ goes through
    b ← μ b + g / (√v + eps); ``weight_decay`` λ adds λ θ to g; ``maximize`` ascends. Tieleman & Hinton, lecture 6.5
    of "Neural networks for machine learning", 2012; Graves, "Generating sequences with recurrent neural networks",
    2013. State: ``step``, ``square_avg``, ``momentum_buffer``, ``grad_avg``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps}
        for key, value in {**options, "weight_decay": weight_decay}.items():
            check_option("RMSprop", key, value)
        super().__init__(params, {
            **options, "centered": centered, "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], param: Tensor) -> Update:
        state = self.state[param]
        if not state:
            state["step"], state["square_avg"] = scalar(0.0), zeros(param)
        for key, used in (("momentum_buffer", group["momentum"] > 0), ("grad_avg", group["centered"])):
            if used and key not in state:
                state[key] = zeros(param)
        buffer = state["momentum_buffer"] if group["momentum"] > 0 else None
        mean = state["grad_avg"] if group["centered"] else None
        inputs = param, param._grad, state["square_avg"], buffer, mean
        return "rmsprop_", inputs, self._attributes(group, counted(state))

    def _numbers(self, group: dict[str, Any], step: float) -> dict[str, Any]:
        return {
            "lr": float(group["lr"]), "alpha": float(group["alpha"]), "eps": float(group["eps"]),
            "momentum": float(group["momentum"]), "weight_decay": float(group["weight_decay"]),
            "maximize": group["maximize"],
        }  # fmt: skip
