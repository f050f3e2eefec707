"""One look at a call that differs in nothing from the last: everything is the very thing that it was.

Guards decide by comparing (``guards.py``). This is a generated function that asks the same of the same things by identity,
in a fifth of their time: where it says yes they would, and where it says no they are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Variable
from ..modes import STATE
from .guards import Guards
from .kept import Kept
from .names import value_of


def never(args: tuple[Any, ...]) -> bool:
    """What stands for :func:`same` where there is none."""
    return False


def same(
    guards: Guards, args: tuple[Any, ...], arguments: list[Any]
) -> Callable[[tuple[Any, ...]], bool] | None:
    """Tells of the positional arguments of a call whether it is like this one, which the guards have let pass.

    None where an argument is a nest.
    """
    if any(isinstance(x, (tuple, list, dict)) for x in args):
        return None
    space: dict[str, Any] = {"STATE": STATE, "value_of": value_of, "held": guards.arrays}
    space |= {"kernels": backend.current_kernels, "dtype": dtypes.get_default_dtype}
    space["device"] = backend.get_default_device

    def named(x: Any) -> str:
        if x is None or type(x) is bool:
            return repr(x)
        space[name := f"k{len(space)}"] = x
        return name

    def of(t: Any) -> str:
        """A tensor's name: an argument's, or one from outside."""
        return next((f"x{i}" for i, x in enumerate(args) if x is t), "") or named(t)

    def kept(now: str, k: Kept) -> str:
        return f"{now} is {named(k.value)}" if k.parts is None else f"{named(k)}.holds({now})"

    asked = [f"STATE.get() == {named(STATE.get())}", f"kernels() == {named(backend.current_kernels())}"]
    asked += [f"dtype() == {named(dtypes.get_default_dtype())}"]
    asked += [f"device() == {named(backend.get_default_device())}"]
    asked += _arguments(args, named)
    for i, (t, _, needs) in enumerate(guards.tensors):
        asked += [f"{(name := named(t))}._array is held[{i}]", f"{name}._requires_grad is {named(needs)}"]
    asked += [
        f"{of(find(arguments))}._grad is {'' if absent else 'not '}None" for find, absent in guards.grads
    ]
    for find, hooks in guards.hooks:
        if hooks is not None:
            return None
        name = of(find(arguments))
        asked.append(f"not ({name}._hooks or {name}._post_hooks)")
    asked += [kept(f"value_of({named(table)}, {name!r})", k) for table, name, k in guards.names.kept.values()]
    empty = []
    for m in guards.modules:
        own = named(m.own)
        asked.append(f"len({own}) == {m.size}")
        asked += [kept(f"{own}[{k!r}]", before) for k, before in m.options]
        for table, before in m.parts:
            name = named(table)
            if before:
                asked.append(f"len({name}) == {len(before)}")
                asked += [f"{name}[{k!r}] is {named(part)}" for k, part in before]
            else:
                empty.append(name)
    if empty:
        asked.append(f"not ({' or '.join(empty)})")
    lines = [f"{', '.join(f'x{i}' for i in range(len(args)))}{',' * (len(args) == 1)} = args"] if args else []
    lines += [f"return len(args) == {len(args)} and " + "\\\n            and ".join(asked)]
    text = (
        "\n        ".join(["def same(args):\n    try:", *lines])
        + "\n    except Exception:\n        return False\n"
    )
    exec(compile(text, "<minigrad.compile guards>", "exec"), space)
    return space["same"]


def _arguments(args: tuple[Any, ...], named: Callable[[Any], str]) -> list[str]:
    asked: list[str] = []
    first: dict[int, int] = {}
    for i, x in enumerate(args):
        if not isinstance(x, Variable):
            asked.append(f"x{i} is {named(x)}")
            continue
        t: Any = x
        a = t._array
        asked += [f"type(x{i}) is {named(type(t))}", f"x{i}.requires_grad is {t.requires_grad}"]
        asked += [f"x{i}._inference is {t._inference}", f"(a{i} := x{i}._array).shape == {named(a.shape)}"]
        asked += [f"a{i}.dtype == {named(a.dtype)}", f"a{i}.strides == {named(a.strides)}"]
        if isinstance(a, np.ndarray):
            asked.append(f"a{i}.flags.aligned is {a.flags.aligned}")
        place = first.setdefault(id(a), i)
        asked += [f"a{i} is {'' if j == place else 'not '}a{j}" for j in {*first.values(), place} - {i}]
    return asked
