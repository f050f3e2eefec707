"""A compiled Module: a Module around it, with PyTorch's name for what it holds."""

from __future__ import annotations

import copy
from typing import Any

from ..nn.module import Module


def is_module(thing: Any) -> bool:
    """Is it a Module?"""
    return isinstance(thing, Module)


_OWN = ("_orig_mod", "_compiled", "training")


class OptimizedModule(Module):
    """Calls a module compiled. It has the module's parameters, modes and attributes; ``_orig_mod`` is the module."""

    def __init__(self, module: Module, verify: bool = False, dynamic_batch: bool = False) -> None:
        from . import Compiled

        super().__init__()
        self._orig_mod = module
        self._compiled = Compiled(module, verify, dynamic_batch)
        self._compiled.title = type(module).__name__
        self.training = module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def train(self, mode: bool = True) -> Any:
        self._orig_mod.train(mode)
        return super().train(mode)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name in _OWN or "_orig_mod" not in self._modules
        super().__setattr__(name, value) if own else setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __len__(self) -> int:
        return len(self._orig_mod)  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        return self._orig_mod[index]  # type: ignore[index]

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizedModule:
        options = self._compiled.verify, self._compiled.dynamic_batch
        return OptimizedModule(copy.deepcopy(self._orig_mod, memo), *options)

    def source(self) -> str:
        """The Python that the last call ran."""
        return self._compiled.source()

    def report(self) -> Any:
        """What the last call ran, function by function."""
        return self._compiled.report()

    def timing(self) -> Any:
        """A block whose replays are timed, for the report."""
        return self._compiled.timing()
