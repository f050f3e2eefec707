"""Functions with a gradient of one's own, recomputation instead of storage, and moves between devices.

What lives here: :class:`Function` (PyTorch's ``autograd.Function`` and its ``ctx``), ``checkpoint``, and
``move``. What doesn't: rows, which are declared in ``ops/`` and are faster, and the walk (``backward.py``).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from . import backend, errors
from .autograd import Node, edge, wrap
from .generator import current_generator, use_generator
from .inplace import rebase
from .modes import STATE, Mode, is_grad_enabled, no_grad
from .nest import flatten
from .tensor import Tensor


class FunctionCtx:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute you set."""

    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _constant: tuple[Any, ...] = ()
    _materialize = True
    _node: Callable[[], FunctionNode | None] = staticmethod(lambda: None)  # weak: the node holds the ctx

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps inputs, outputs or other tensors (or None); written to in place since, they are refused."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type "
                                f"{type(t).__name__}; keep other values as attributes of ctx")  # fmt: skip
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for PyTorch's sake: ``jvp`` here is made of ``backward``, and reads nothing of it."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Says which inputs ``forward`` wrote to in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Says which outputs have no gradient. Integer ones have none anyway."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs that weren't used hand ``backward`` zeros (the default) or None."""
        self._materialize = bool(value)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved, with its history, in the same order."""
        node = self._node()
        if node is None or node.freed:
            raise errors.graph_freed(node.op.name if node is not None else "saved_tensors")
        return tuple(node.unpack(i) for i in range(len(node.sources)))


class FunctionNode(Node):
    """One application of a :class:`Function`."""

    __slots__ = ("ctx", "function", "outputs", "sources")
    keeps = True

    ctx: FunctionCtx
    function: type[Function]
    outputs: list[Any]  # (array module, shape, dtype) of each output; None for what isn't a tensor
    sources: list[Any]  # of each saved tensor: an edge, its number among the outputs, or None

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def __getattr__(self, name: str) -> Any:  # as in PyTorch, the node shows what ctx holds
        if name in FunctionNode.__slots__:
            raise AttributeError(name)
        return getattr(self.ctx, name)

    def unpack(self, i: int) -> Any:
        """The i-th saved tensor; its history matters only where backward itself is recorded."""
        if i not in self.saved:
            return None
        array, source = self.fetch(i), self.sources[i]
        if isinstance(source, int):
            source = (self, source)
        if source is not None and isinstance(source[0], Tensor):
            return source[0] if source[0]._array is array else wrap(array)
        t = wrap(array)
        if source is not None:
            (t._node, t._index), t._requires_grad = source, True
        return t

    def run(self, grads: list[Any], needs: list[bool], create: bool) -> list[Any]:
        name, function = self.name(), self.function
        self.ctx.needs_input_grad = tuple(needs)
        given = []
        for k, made in enumerate(self.outputs):
            g = grads[k] if k < len(grads) else None
            if g is not None:
                g = g if create else wrap(g)
            elif made is not None and self.ctx._materialize:
                g = wrap(made[0].m.zeros(made[1], dtype=made[2]))
            given.append(g)
        backward: Any = function.vjp if function.backward is Function.backward else function.backward
        result = backward(self.ctx, *given)
        result = result if isinstance(result, tuple) else (result,)
        n = len(needs)
        if len(result) < n or any(r is not None for r in result[n:]):
            raise RuntimeError(f"function {name} returned an incorrect number of gradients (expected {n}, got {len(result)}): "
                               f"backward returns one for each argument of forward, None where there is none")  # fmt: skip
        results: list[Any] = []
        for i, (r, fits) in enumerate(zip(result, self.shapes, strict=False)):
            if r is not None and not isinstance(r, Tensor):
                raise RuntimeError(
                    f"function {name}: expected Variable or None (got {type(r).__name__}) as gradient {i}"
                )
            if r is not None and fits is None:
                raise RuntimeError(f"function {name} returned a gradient different than None at position {i + 1}, but the "
                                   f"corresponding forward input was not a Variable")  # fmt: skip
            shape = () if r is None else tuple(r._array.shape)
            if r is not None and (len(shape) < len(fits[0]) or not _reduces(shape, fits[0])):
                raise RuntimeError(f"Function {name} returned an invalid gradient at index {i} - got {list(shape)} but "
                                   f"expected shape compatible with {list(fits[0])}")  # fmt: skip
            results.append(r if r is None or create else r._array)
        return results


def _reduces(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Can ``shape`` be summed to ``to``, as broadcasting would have made it?"""
    tail = shape[len(shape) - len(to) :]
    return all(b in (a, 1) for a, b in zip(tail, to, strict=True))


class Function:
    """An operation with its own gradient: subclass it, and call ``MyFunction.apply(…)``.

    ``forward(ctx, *args)`` computes, unrecorded; ``backward(ctx, *grad_outputs)`` returns one gradient for
    each argument, None for those that have none. Or ``forward(*args)`` and ``setup_context(ctx, inputs,
    output)``. A backward written in differentiable operations can itself be differentiated.

        class Cube(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x ** 3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 3 * grad * x ** 2
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "Function: you must implement the forward function for custom autograd.Function"
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Called after a ``forward`` that takes no ctx."""
        raise NotImplementedError("Function: setup_context is not implemented")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError("Function: you must implement either the backward or vjp method for your custom "
                                  "autograd.Function to use it with backward mode AD")  # fmt: skip

    vjp = backward  # PyTorch's other name for it

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs ``forward`` on args and records ``backward``."""
        ctx, separate = FunctionCtx(), cls.setup_context is not Function.setup_context
        if separate:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        edges = tuple(edge(a) if isinstance(a, Tensor) else None for a in args)
        with no_grad():
            result = cls.forward(*args, **kwargs) if separate else cls.forward(ctx, *args, **kwargs)
            if separate:
                cls.setup_context(ctx, args, result)
        if isinstance(result, list):
            raise TypeError(
                f"{cls.__name__}: forward must return a tensor or a tuple, got a list; return a tuple"
            )
        results = result if isinstance(result, tuple) else (result,)
        node = cls._node(ctx, args, edges) if is_grad_enabled() and any(ctx.needs_input_grad) else None
        outputs = [cls._output(ctx, node, k, out, args) for k, out in enumerate(results)]
        if any(not _among(d, results) for d in ctx._dirty):
            raise RuntimeError(f"{cls.__name__}: Some elements marked as dirty during the forward method were not returned as "
                               f"output. The inputs that are modified inplace must all be outputs of the Function.")  # fmt: skip
        if node is not None:
            cls._save(ctx, node, args, edges, results)
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]

    @classmethod
    def _node(cls, ctx: FunctionCtx, args: tuple[Any, ...], edges: tuple[Any, ...]) -> FunctionNode:
        first = next(a for a, needed in zip(args, ctx.needs_input_grad, strict=True) if needed)
        node = FunctionNode(SimpleNamespace(name=cls.__name__), edges, backend.module_of(first._array))
        node.shapes = tuple((a._array.shape, a._array.dtype) if isinstance(a, Tensor) else None for a in args)
        node.ctx, node.function, node.outputs, node.sources = ctx, cls, [], []
        ctx._node = weakref.ref(node)
        return node

    @classmethod
    def _output(
        cls, ctx: FunctionCtx, node: FunctionNode | None, k: int, out: Any, args: tuple[Any, ...]
    ) -> Any:
        """The k-th output as the caller gets it: with this node as its history."""
        if not isinstance(out, Tensor):
            if node is not None:
                node.outputs.append(None)
            return out
        dirty, array = _among(out, ctx._dirty), out._array
        if dirty:
            out._writes[0] += 1
            if out._node is None and out._base is None and out._requires_grad and is_grad_enabled():
                raise RuntimeError(
                    f"{cls.__name__}: a leaf Variable that requires grad has been used in an in-place operation."
                )
        elif _among(out, args):  # returned as it came: the same memory with a history of its own
            same = wrap(array)
            same._writes, same._seen = out._writes, out._writes[0]
            out, same._base = same, out._base if out._base is not None else out
        if node is not None:
            node.outputs.append((backend.module_of(array), array.shape, array.dtype))
            if array.dtype.kind in "fV" and not _among(out, ctx._constant):
                if dirty:
                    rebase(out, wrap(array)._follow(node, k))
                else:
                    out._follow(node, k)
        return out

    @staticmethod
    def _save(ctx: FunctionCtx, node: FunctionNode, args: Any, edges: Any, results: tuple[Any, ...]) -> None:
        hooks, names = STATE.get().saved_hooks, []
        for i, t in enumerate(ctx._to_save):
            output = next((k for k, r in enumerate(results) if r is t), None)
            given = next((k for k, a in enumerate(args) if a is t), None)
            if given is not None and not _among(t, ctx._dirty):
                source, name = edges[given], f"argument {given}"
            elif output is not None:
                source, name = (
                    output if node.outputs[output] and t._requires_grad else None,
                    f"output {output}",
                )
            else:
                source, name = None if t is None else edge(t), f"number {i}"
            node.sources.append(source)
            names.append(name)
            if t is not None:
                node.save(i, t, t._array, hooks)
        node.op.inputs, ctx._to_save = names, ()


def _among(t: Any, tensors: Any) -> bool:
    return any(t is other for other in tensors)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a Function's backward that isn't made of differentiable operations: differentiating it is an error."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            result = backward(ctx, *grads)
        if not is_grad_enabled() or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return result
        outs = result if isinstance(result, tuple) else (result,)
        return tuple(t if t is None else _Once.apply(t.detach().requires_grad_()) for t in outs)

    return wrapper


class _Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


# ---- recomputation ---------------------------------------------------------------------------------------


class CheckpointError(RuntimeError):
    """The recomputation of a checkpointed function saved other tensors than its first run did."""


class _Stop(BaseException):
    """All that backward needs has been recomputed."""


class _Place:
    """Stands for one saved tensor that will be computed again."""

    __slots__ = ("__weakref__",)


class _Segment:
    """A checkpointed call: its arguments, the random state it began with, and the places of what it saved."""

    def __init__(self, call: Any, arguments: Any, preserve: bool, check: bool, early: bool) -> None:
        self.call, self.check, self.early = call, check, early
        self.random = current_generator().clone_state() if preserve else None
        leaves, self.rebuild = flatten(arguments)
        self.leaves = [self._kept(x) for x in leaves]
        self.places: list[weakref.ref[_Place]] = []
        self.kinds: list[str] = []
        self.again: weakref.WeakKeyDictionary[_Place, Any] = weakref.WeakKeyDictionary()

    @staticmethod
    def _kept(x: Any) -> Callable[[], Any]:
        """How to get an argument back; within another checkpoint a tensor is left to that one."""
        if not isinstance(x, Tensor):
            return lambda: x
        needs, hooks, version = x.requires_grad, STATE.get().saved_hooks, x._writes[0]
        if hooks is not None:
            packed = hooks[0](x.detach())
            return lambda: hooks[1](packed).detach().requires_grad_(needs)

        def fetch() -> Any:
            if x._writes[0] != version:
                raise RuntimeError(f"checkpoint: an argument, {errors.describe(x)}, has been modified by an inplace operation "
                                   f"since: it is at version {x._writes[0]}; expected version {version}, so the function "
                                   f"can't be run again on it; clone() it before writing")  # fmt: skip
            return x.detach().requires_grad_(needs)

        return fetch

    def pack(self, t: Any) -> _Place:
        place = _Place()
        self.places.append(weakref.ref(place))
        self.kinds.append(errors.describe(t))
        return place

    def unpack(self, place: _Place) -> Any:
        if place not in self.again:
            self._recompute()
        return self.again[place]

    def _same_random_numbers(self) -> Any:
        return use_generator(self.random.clone_state()) if self.random else contextlib.nullcontext()

    def _recompute(self) -> None:
        count = 0

        def keep(t: Any) -> Any:
            nonlocal count
            n, count = count, count + 1
            if self.check and (n >= len(self.places) or self.kinds[n] != errors.describe(t)):
                expected = self.kinds[n] if n < len(self.places) else "none"
                raise CheckpointError(f"checkpoint: Recomputed values have different metadata than during the forward pass: "
                                      f"saved tensor {n} was {expected}, recomputed it is {errors.describe(t)}; the "
                                      f"function must do the same when it runs again")  # fmt: skip
            place = self.places[n]() if n < len(self.places) else None
            if place is not None:
                self.again[place] = t
            if self.early and count == len(self.places):
                raise _Stop
            return t

        args, kwargs = self.rebuild([fetch() for fetch in self.leaves])
        again = Mode(grad=True, saved_hooks=(keep, lambda t: t))
        with again, contextlib.suppress(_Stop), self._same_random_numbers():
            self.call(*args, **kwargs)
        if count != len(self.places):
            raise CheckpointError(f"checkpoint: A different number of tensors was saved during the original forward and "
                                  f"recomputation: {len(self.places)} and {count}; the function must do the same when it "
                                  f"runs again")  # fmt: skip


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate results are computed again in backward instead of kept.

    Memory for time: nothing that backward reads is stored; when the first of it is asked for, the function
    runs once more, on the same arguments and, with ``preserve_rng_state``, the same random numbers (the
    generator's own state is put back). Parameters that the function reaches by closure get their gradients.
    ``early_stop``: the second run ends when all that is needed is there. ``determinism_check="none"``
    leaves out the comparison of shapes and dtypes between the runs. Both values of ``use_reentrant`` are
    served by this one way, which is PyTorch's for False and asks less than its other. ``context_fn`` and
    ``debug`` aren't supported. Raises CheckpointError when the second run does other things than the first.
    """
    if context_fn is not None or debug:
        raise NotImplementedError(f"checkpoint: {'context_fn' if context_fn is not None else 'debug'} is not supported; "
                                  f"leave it out, and enter contexts inside the function")  # fmt: skip
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"checkpoint: determinism_check: expected 'default' or 'none', got {determinism_check!r}"
        )
    if not is_grad_enabled():
        return function(*args, **kwargs)
    segment = _Segment(
        function, (args, kwargs), preserve_rng_state, determinism_check == "default", early_stop
    )
    with Mode(saved_hooks=(segment.pack, segment.unpack)):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """A Sequential, or a list of functions, in ``segments`` parts of which all but the last are checkpointed."""
    chain = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(chain) // segments

    def part(start: int, stop: int) -> Callable[[Any], Any]:
        return lambda x: functools.reduce(lambda y, f: f(y), chain[start:stop], x)

    for start in range(0, size * (segments - 1), size or 1):
        input = checkpoint(part(start, start + size), input, use_reentrant=use_reentrant,
                           preserve_rng_state=preserve_rng_state)  # fmt: skip
    return part(size * (segments - 1), len(chain))(input)


# ---- devices ---------------------------------------------------------------------------------------------


class _Move(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, device: str) -> Any:
        home, away = backend.module_of(x._array), backend.module_named(device)
        ctx.home = home.name
        return wrap(away.from_numpy(home.to_numpy(x._array)))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return move(grads[0], ctx.home), None


def move(tensor: Any, device: str) -> Any:
    """A tensor on another device; its gradient comes back to this one."""
    return _Move.apply(tensor, device)


__all__ = [
    "CheckpointError",
    "Function",
    "FunctionCtx",
    "checkpoint",
    "checkpoint_sequential",
    "move",
    "once_differentiable",
]
