"""Which kernels answer: ``explain`` tells for every op of a call, ``warmup`` has them ready before the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import backend
from .modes import Mode
from .op import OPS

__all__ = ["Choice", "Explanation", "explain", "warmup"]


class Choice(NamedTuple):
    """One application of an op: which kernel set ran it, "reference" for none, and why no kernel did."""

    op: str
    part: str  # "forward" or "gradient"
    ran: str
    why: str  # "" where a kernel ran


class Explanation(NamedTuple):
    """What a call came to: its result, and a :class:`Choice` for every op in the order they ran."""

    result: Any
    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        counted: dict[Choice, int] = {}
        for choice in self.choices:
            counted[choice] = counted.get(choice, 0) + 1
        rows = [("op", "part", "times", "ran", "why no kernel")]
        rows += [(c.op, c.part, str(n), c.ran, c.why) for c, n in counted.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Calls a function and says for every op, and for every gradient rule run inside, which kernel ran and why.

    >>> print(minigrad.explain(model, images))
    """
    journal: list[tuple[str, str, str, str]] = []
    with Mode(journal=journal):
        result = function(*args, **kwargs)
    return Explanation(
        result, tuple(Choice(op, part, ran or "reference", why) for op, part, ran, why in journal)
    )


def warmup(*names: str, tell: Callable[[str], Any] | None = None) -> int:
    """Compiles the registered kernels of these ops, or of all, and returns how many there are.

    Machine code from an earlier run is fetched from the cache. ``tell`` is called with each op's name.
    Raises RuntimeError for an op that doesn't exist.
    """
    for name in names:
        if name not in OPS:
            raise RuntimeError(f"warmup: expected the names of ops, such as {sorted(OPS)[:3]}, got {name!r}")
    number = 0
    for row in [OPS[name] for name in names] or list(OPS.values()):
        found = [k for (kernel_set, _, _), k in row.kernels.items() if kernel_set in backend.KERNEL_SETS]
        if found and tell is not None:
            tell(row.name)
        for function in dict.fromkeys(f for k in found for f in (k.forward, *k.rules, k.ahead)):
            for lazy in getattr(function, "ahead", list)():
                lazy.compile()
                number += 1
    return number
