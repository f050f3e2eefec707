"""How the results of a call become tensors at every replay: which are the same, and whose memory they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import wrap
from .refusals import CompileError
from .trace import Tracer

Find = Callable[[list[Any], list[Any]], Any]  # among the arguments and the results of a call


class Outputs:
    """Makes the tensors of one call's results from its arrays, related as the traced ones were.

    A tensor from outside, or the ``.grad`` of one, is given back itself, one that is returned twice is one tensor, and views and
    detached tensors count their writes together with what they share memory with.
    """

    def __init__(self, tensors: list[Any], tracer: Tracer) -> None:
        self.first = [next(j for j, u in enumerate(tensors) if u is t) for t in tensors]
        self.outside = [tracer.finder(t) if id(t) in tracer.met else None for t in tensors]
        for i, t in enumerate(tensors):
            owner = next((x for x in tracer.leaves() if x._grad is t), None)
            if owner is not None:
                self.outside[i] = _grad_of(tracer.finder(owner))
        self.retained = [i for i, t in enumerate(tensors) if t._retains_grad and id(t) not in tracer.met]
        self.flags: list[tuple[str, ...]] = [_flags(t) for t in tensors]
        self.shares: list[tuple[int, Find, bool, Any]] = []  # result, whose memory, is it a view, how
        for i, t in enumerate(tensors):
            if self.outside[i] is None and self.first[i] == i:
                _check(t)
                self._share(i, t, tensors, tracer)

    def _share(self, i: int, t: Any, tensors: list[Any], tracer: Tracer) -> None:
        is_view = t._base is not None
        kin = [m.tensor for m in tracer.met.values() if m.tensor._writes is t._writes]
        kin += [u for u in tensors if u is not t and u._writes is t._writes]
        if not kin:
            return
        at_base = is_view and any(u is t._base for u in kin)
        owner = t._base if at_base else kin[0]
        if not is_view and id(owner) not in tracer.met and owner._base is t:
            return  # the others are views of it
        self.shares.append((i, self._finder(owner, tensors, tracer), is_view, t._views if at_base else None))

    def _finder(self, t: Any, tensors: list[Any], tracer: Tracer) -> Find:
        if id(t) in tracer.met:
            find = tracer.finder(t)
            return lambda arguments, outs: find(arguments)
        place = next(j for j, u in enumerate(tensors) if u is t)
        return lambda arguments, outs: outs[place]

    def make(self, arrays: list[Any], arguments: list[Any]) -> list[Any]:
        """The results of one call."""
        outs: list[Any] = []
        for i, find in enumerate(self.outside):
            if self.first[i] < i:
                outs.append(outs[self.first[i]])
            elif find is not None:
                outs.append(find(arguments))
            else:
                outs.append(wrap(arrays[i]))
                for flag in self.flags[i]:
                    setattr(outs[i], flag, True)
        for i, find_owner, is_view, views in self.shares:
            t, owner = outs[i], find_owner(arguments, outs)
            t._writes, t._seen = owner._writes, owner._writes[0]
            if is_view:  # views=None: autograd refuses writes to it, as to views of no_grad mode
                t._base, t._views = owner if owner._base is None else owner._base, views
        return outs


def _grad_of(find: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    return lambda arguments: find(arguments)._grad


def _flags(t: Any) -> tuple[str, ...]:
    leaf = t._requires_grad and t._node is None
    return ("_inference",) * t._inference + ("_requires_grad",) * leaf


def _check(t: Any) -> None:
    """Refuses a new tensor that a replay can't give back as it is."""
    if t._hooks or t._post_hooks or t._grad is not None:
        raise CompileError("compile: a new tensor with a .grad or a hook is returned, which a replay can't give back; return its "
                           "gradient by itself, or call register_hook() outside")  # fmt: skip
