"""Calling a module with other tensors in the place of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import describe
from ..tensor import Tensor
from .module import Module

Given = Mapping[str, Tensor]


def functional_call(
    module: Module, parameter_and_buffer_dicts: Given | Sequence[Given], args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """``module(*args, **kwargs)`` with the given tensors, by name, for its parameters and buffers.

    Gradients reach the given tensors, whatever their history; the module is as before afterwards, but that
    what its forward writes into a buffer in place goes to the given one. ``tie_weights`` gives a tensor to every
    name of a shared parameter; ``strict`` refuses names missing and unknown.
    """
    if not isinstance(module, Module):
        raise TypeError(f"functional_call: expected an nn.Module, got {describe(module)}")
    dicts = (
        [parameter_and_buffer_dicts]
        if isinstance(parameter_and_buffer_dicts, Mapping)
        else parameter_and_buffer_dicts
    )
    given: dict[str, Tensor] = {}
    for d in dicts:
        if twice := given.keys() & d.keys():
            raise ValueError(
                f"functional_call: {sorted(twice)} appeared in multiple dictionaries; the keys must be unique"
            )
        given.update(d)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, given, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def _swapped(module: Module, given: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        tables: Any = (part._parameters, part._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    places[f"{path}.{name}" if path else name] = table, name
    if unknown := given.keys() - places.keys():
        if strict:
            raise RuntimeError(f"functional_call: Unexpected key(s): {', '.join(sorted(unknown))}")
        raise KeyError(f"functional_call: the module has no parameter or buffer {', '.join(sorted(unknown))}")
    by_tensor = {id(places[key][0][places[key][1]]): value for key, value in given.items()} if tie else {}
    if tie:
        for key, (table, name) in places.items():
            if key not in given and id(table[name]) in by_tensor:
                given[key] = by_tensor[id(table[name])]
    if strict and (missing := places.keys() - given.keys()):
        raise RuntimeError(f"functional_call: Missing key(s): {', '.join(sorted(missing))}")
    before = {key: places[key][0][places[key][1]] for key in given}
    try:
        for key, value in given.items():
            table, name = places[key]
            table[name] = value
        yield
    finally:
        for key, value in before.items():
            table, name = places[key]
            table[name] = value
