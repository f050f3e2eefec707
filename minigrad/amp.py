"""Mixed precision under PyTorch's names: loss scaling in full; ``autocast`` only where it is off.

Nothing here casts an operand: a model computes in the dtype of its parameters and inputs.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from . import backend
from .autograd import no_grad
from .modes import STATE
from .tensor import Tensor

__all__ = ["GradScaler", "autocast", "is_autocast_available"]


def is_autocast_available(device_type: str) -> bool:
    """False: no device casts by itself."""
    backend.device(device_type)
    return False


def _missing(name: str, device: str) -> bool:
    """Says so, as PyTorch does, where a device was asked for that isn't there."""
    if device in backend.MODULES:
        return False
    warnings.warn(f"{name}: the device {device!r} is not available, so it is disabled; say enabled=False, or name the "
                  f"device that the model is on", UserWarning, stacklevel=3)  # fmt: skip
    return True


class autocast:
    """A block, or a function, whose operands would be cast to ``dtype``: accepted with ``enabled=False``.

    As in PyTorch a device that isn't there disables it, with a warning. Raises NotImplementedError when it
    would have to cast: convert model and inputs with ``.to(dtype)`` instead.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = backend.device(device_type).type
        if enabled and not _missing("autocast", self.device):
            raise NotImplementedError(f"autocast: casting to {dtype or 'half precision'} on the fly is not supported, "
                                      f"expected enabled=False; convert model and inputs with .to(dtype)")  # fmt: skip

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


class GradScaler:
    """Loss scaling for float16 gradients (Micikevicius et al., 2018): multiply the loss, divide the gradients.

    A step whose gradients aren't finite is left out and the scale multiplied by ``backoff_factor``; after
    ``growth_interval`` steps without that it is multiplied by ``growth_factor``. Disabled, it does nothing
    but call the optimizer; a device that isn't there disables it, with a warning.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled) and not _missing("GradScaler", backend.device(device).type)
        if self._enabled and not growth_factor > 1:
            raise ValueError(f"GradScaler: the growth factor must be > 1.0, got {growth_factor}")
        if self._enabled and not backoff_factor < 1:
            raise ValueError(f"GradScaler: the backoff factor must be < 1.0, got {backoff_factor}")
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = float(growth_factor), float(backoff_factor)
        self._growth_interval, self._growth_tracker = int(growth_interval), 0
        self._found: dict[
            int, bool
        ] = {}  # id of an optimizer -> did its gradients overflow? since the last update
        self._stepped: set[int] = set()

    def is_enabled(self) -> bool:
        return self._enabled

    def scale(self, outputs: Any) -> Any:
        """The tensor, or each of an iterable of them, times the scale."""
        if not self._enabled:
            return outputs
        if (tracer := STATE.get().tracer) is not None:
            tracer.names.note(vars(self), "_scale")
        if isinstance(outputs, Tensor):
            return outputs.mul(self._scale)
        if isinstance(outputs, (tuple, list)):
            return type(outputs)(map(self.scale, outputs))
        raise ValueError(
            f"GradScaler.scale: outputs must be a Tensor or an iterable of Tensors, got {outputs!r}"
        )

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, for clipping between backward and step."""
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise RuntimeError("GradScaler.unscale_: unscale_() has already been called on this optimizer since the last "
                               "update(); call update() once per iteration")  # fmt: skip
        finite = True
        with no_grad():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.mul_(1 / self._scale)
                        finite = finite and bool(p.grad.isfinite().all())
        self._found[id(optimizer)] = not finite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step, on unscaled gradients, unless one of them isn't finite. What it returned."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("GradScaler.step: closure use is not currently supported if GradScaler is enabled; step "
                               "without one")  # fmt: skip
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: step() has already been called since the last update(); call update() "
                               "once per iteration")  # fmt: skip
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(**kwargs)

    def update(self, new_scale: Any = None) -> None:
        """The scale of the next iteration, by what was found in this one, or as given."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found:
            raise RuntimeError(
                "GradScaler.update: No inf checks were recorded prior to update; call step() first"
            )
        elif any(self._found.values()):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0
        self._found, self._stepped = {}, set()

    def get_scale(self) -> float:
        """The scale; 1 when disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The scale and its rule, under PyTorch's names; empty when disabled."""
        if not self._enabled:
            return {}
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what :meth:`state_dict` gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: the source state dict is empty, possibly because it was saved "
                               "from a disabled instance of GradScaler; expected its five entries")  # fmt: skip
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
