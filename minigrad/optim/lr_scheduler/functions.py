"""Schedules by functions of the user's."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import describe
from ..optimizer import Optimizer
from .base import Lr, LRScheduler, checked


class _ByFunction(LRScheduler):
    """A factor for each group, from functions of t. Of these, only callable objects are in the state dict."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(checked(self, optimizer).param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(given) != groups:
            raise ValueError(f"{type(self).__name__}: Expected {groups} lr_lambdas, but got {len(given)}")
        for f in given:
            if not callable(f):
                raise TypeError(
                    f"{type(self).__name__}: lr_lambda should be a function, but got {describe(f)}"
                )
        self.lr_lambdas: list[Any] = given
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; functions leave None, callable objects their attributes."""
        plain = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
        saved = [None if isinstance(f, plain) else dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As the base; the attributes of callable objects are put back, functions stay as they are."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for f, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if saved:
                f.__dict__.update(saved)


class LambdaLR(_ByFunction):
    """η₀ f(t), with one function for all groups or one for each."""

    def get_lr(self) -> list[Lr]:
        self._present()
        return [lr * f(self.last_epoch) for lr, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_ByFunction):
    """η f(t): the factors multiply up."""

    def get_lr(self) -> list[Lr]:
        lrs = self._present()
        if self._is_initial:
            return lrs
        return [lr * f(self.last_epoch) for lr, f in zip(lrs, self.lr_lambdas, strict=True)]
