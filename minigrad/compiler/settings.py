"""What of a module decides what its forward does: its mode, options, parts and hooks."""

from __future__ import annotations

from typing import Any

from ..nn.module import Module
from .kept import Kept


class Settings:
    """What of a module decides what its forward does: its mode, options, parts and hooks."""

    def __init__(self, module: Any) -> None:
        self.module, self.own = module, vars(module)
        self.size = len(self.own)
        self.options = [(k, Kept(v)) for k, v in self.own.items() if k == "training" or k not in _PLAIN]
        self.parts = [(self.own[t], list(self.own[t].items())) for t in PARTS]

    def hold(self) -> bool:
        """Are they still the same? Tensors, modules and hooks by identity."""
        own = self.own
        if len(own) != self.size:
            return False
        for k, kept in self.options:
            now = own.get(k)
            if (now is not kept.value or kept.parts is not None) and not kept.holds(now):
                return False
        for table, before in self.parts:
            if len(table) != len(before):
                return False
            for name, part in before:
                if table.get(name) is not part:
                    return False
        return True


PARTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
          "_backward_pre_hooks")  # fmt: skip
_PLAIN = frozenset(vars(Module()))  # of every module
