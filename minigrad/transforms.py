"""Derivatives of functions: products with the Jacobian from either side, whole Jacobians and Hessians.

PyTorch's ``autograd.functional`` (``minigrad.autograd.functional``): ``func`` takes a tensor or several and
returns a tensor or several. The forms that return functions (``torch.func``) are in ``func.py``.

There is one differentiation engine, reverse mode. Jv is made of it by the double-vjp trick (Townsend, 2017):
u ↦ Jᵀu is linear, so its own vjp with v is (Jᵀ)ᵀv = Jv, exact whatever u is, for about twice the cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import autograd, backend, errors
from .autograd import edge, enable_grad, is_grad_enabled, wrap
from .functions.shapes import stack
from .nest import flatten
from .tensor import Tensor


class Pullback:
    """One recorded run of ``func`` on a nest of tensors: what went in and came out, flat, and gradients between.

    ``create_graph`` None finds out: results can be differentiated further if the function reached something
    else that requires grad, or the vectors do.
    """

    def __init__(
        self, name: str, func: Any, inputs: Any, create_graph: bool | None, strict: bool = False
    ) -> None:
        self.name, self.strict, self.auto = name, strict, create_graph is None and is_grad_enabled()
        given, self.like_inputs = flatten(inputs)
        self._all_tensors(given, "inputs given to")
        linked = create_graph or self.auto
        with enable_grad():
            self.inputs = [
                x.view_as(x) if linked and x.requires_grad else x.detach().requires_grad_() for x in given
            ]
            result = func(self.like_inputs(self.inputs))
        self.outputs, self.like_outputs = flatten(result)
        self._all_tensors(self.outputs, "outputs of the function given to")
        for i, y in enumerate(self.outputs):
            if strict and not y.requires_grad:
                raise RuntimeError(f"{name}: Output {i} of the user-provided function does not require gradients. The outputs "
                                   f"must be computed in a differentiable manner from the input when running in strict "
                                   f"mode.")  # fmt: skip
        self.create = bool(create_graph) or self.auto and reaches_beyond(self.outputs, self.inputs)

    def _all_tensors(self, values: Sequence[Any], what: str) -> None:
        for i, x in enumerate(values):
            if not isinstance(x, Tensor):
                raise TypeError(f"The {what} {self.name} must be either a Tensor or a tuple of Tensors but the value at index "
                                f"{i} has type {type(x).__name__}")  # fmt: skip

    def vectors(self, v: Any, of: Sequence[Any], what: str) -> list[Any]:
        """v flat and checked; None stands for 1 where there is a single number."""
        if v is None:
            if len(of) != 1 or of[0].numel() != 1:
                raise RuntimeError(f"{self.name}: The vector v can only be None if the user-provided function "
                                   f"{what} a single Tensor with a single element; pass v of its shape")  # fmt: skip
            return [filled(of[0], 1)]
        found, _ = flatten(v)
        self._all_tensors(found, "vector v given to")
        if [tuple(x.shape) for x in found] != [tuple(x.shape) for x in of]:
            raise RuntimeError(f"{self.name}: v has invalid size: expected {[tuple(x.shape) for x in of]}, got "
                               f"{[tuple(x.shape) for x in found]}")  # fmt: skip
        return found if self.create or self.auto else [x.detach() for x in found]

    def _creates(self, vectors: Sequence[Any]) -> bool:
        return self.create or self.auto and any(v.requires_grad for v in vectors)

    def pull(self, vectors: Sequence[Any], create: bool = False) -> list[Any]:
        """Jᵀ v by each input; zeros, or a refusal when strict, where there is no path."""
        return gradients(
            self.outputs, self.inputs, vectors, create or self._creates(vectors), self._judge_input
        )

    def push(self, vectors: Sequence[Any]) -> list[Any]:
        """J v by each output: the gradient of u ↦ Jᵀu, at any u."""
        us = [filled(y, 0).requires_grad_() for y in self.outputs]
        with enable_grad():
            pulled = self.pull(us, create=True)
        return gradients(pulled, us, vectors, self._creates(vectors), self._judge_output)

    def _judge_input(self, i: int, grad: Any) -> None:
        if self.strict and grad is None:
            raise RuntimeError(f"{self.name}: The output of the user-provided function is independent of input {i}. This is "
                               f"not allowed in strict mode.")  # fmt: skip
        if self.strict and self.create and not grad.requires_grad:
            raise RuntimeError(f"{self.name}: The derivative of the user-provided function is independent of input {i}. This "
                               f"is not allowed in strict mode when create_graph=True.")  # fmt: skip

    def _judge_output(self, i: int, grad: Any) -> None:
        if self.strict and grad is None:
            raise RuntimeError(f"{self.name}: Output {i} of the user-provided function is independent of the inputs. This is "
                               f"not allowed in strict mode.")  # fmt: skip

    def settled(self, nest: Any) -> Any:
        """A nest as the caller gets it: without history unless it is to be differentiated further."""
        leaves, rebuild = flatten(nest)
        return rebuild([t.detach() if isinstance(t, Tensor) and not self.create else t for t in leaves])

    def result(self) -> Any:
        return self.settled(self.like_outputs(self.outputs))


def reaches_beyond(outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
    """Does the graph of outputs have leaves other than inputs?"""
    own, seen = {id(x) for x in inputs}, set()
    stack = [edge(y) for y in outputs if y.requires_grad]
    while stack:
        target = stack.pop()[0]
        if target in seen:
            continue
        seen.add(target)
        if isinstance(target, Tensor):
            if id(target) not in own:
                return True
        else:
            stack += [p for p in target.parents if p is not None]
    return False


def filled(like: Any, value: float) -> Any:
    """A constant tensor of like's shape, dtype and device."""
    return wrap(backend.module_of(like._array).m.full_like(like._array, value))


def gradients(
    outputs: Any, inputs: Any, vectors: Any, create: bool, judge: Callable[[int, Any], None]
) -> list[Any]:
    """``autograd.grad`` that takes outputs without history, and fills in zeros once ``judge`` has seen the gap."""
    pairs = [(y, v) for y, v in zip(outputs, vectors, strict=True) if y.requires_grad]
    found: Any = [None] * len(inputs)
    if pairs:
        ys, vs = zip(*pairs, strict=True)
        found = autograd.grad(ys, inputs, vs, retain_graph=True, create_graph=create, allow_unused=True)
    for i, g in enumerate(found):
        judge(i, g)
    return [filled(x, 0) if g is None else g for x, g in zip(inputs, found, strict=True)]


def one_hots(like: Any) -> Iterator[Any]:
    """The unit vectors of like's shape, one for each element."""
    for i in range(like.numel()):
        e = filled(like, 0)
        e._array.reshape(-1)[i] = 1
        yield e


def _spread(func: Callable[..., Any], inputs: Any) -> Callable[[Any], Any]:
    """func as a function of one nest: a tuple holds its arguments."""
    return (lambda args: func(*args)) if isinstance(inputs, tuple) else func


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), vᵀJ). ``v`` has the outputs' shapes; None for a single number.

    ``create_graph``: both results can be differentiated further. ``strict``: an input or output that
    doesn't take part is a RuntimeError instead of a zero.
    """
    run = Pullback("vjp", _spread(func, inputs), inputs, create_graph, strict)
    pulled = run.pull(run.vectors(v, run.outputs, "returns"))
    return run.result(), run.like_inputs(pulled)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), Jv). ``v`` has the inputs' shapes; None for a single number. Options as for :func:`vjp`."""
    run = Pullback("jvp", _spread(func, inputs), inputs, create_graph, strict)
    pushed = run.push(run.vectors(v, run.inputs, "takes"))
    return run.result(), run.like_outputs(pushed)


def jacobian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """J with the shape of the output followed by the shape of the input; nested, outputs around inputs.

    ``strategy``: "reverse-mode", a backward pass for each element of the outputs, or "forward-mode", one for
    each element of the inputs. ``vectorize`` is accepted: the passes are run one after another either way.
    """
    forward = _is_forward("jacobian", strategy)
    run = Pullback("jacobian", _spread(func, inputs), inputs, create_graph, strict)
    return jacobian_of(run, forward)


def _is_forward(name: str, strategy: str) -> bool:
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"{name}: strategy: expected 'reverse-mode' or 'forward-mode', got {strategy!r}")
    return strategy == "forward-mode"


def jacobian_of(run: Pullback, forward: bool) -> Any:
    """The Jacobian of a recorded run, row by row or column by column."""
    table = []
    if not forward:
        for k, y in enumerate(run.outputs):
            rows = [
                run.pull([e if j == k else filled(o, 0) for j, o in enumerate(run.outputs)])
                for e in one_hots(y)
            ]
            table.append([
                _stacked([row[i] for row in rows], x, (*y.shape, *x.shape)) for i, x in enumerate(run.inputs)
            ])  # fmt: skip
    else:
        by_input = [
            [run.push([e if j == i else filled(o, 0) for j, o in enumerate(run.inputs)]) for e in one_hots(x)]
            for i, x in enumerate(run.inputs)
        ]
        for k, y in enumerate(run.outputs):
            table.append([
                _stacked([c[k] for c in columns], y, (*x.shape, *y.shape)).permute(
                    *range(x.ndim, x.ndim + y.ndim), *range(x.ndim)
                )
                for x, columns in zip(run.inputs, by_input, strict=True)
            ])  # fmt: skip
    return run.like_outputs([run.like_inputs(row) for row in table])


def _stacked(parts: list[Any], like: Any, shape: tuple[int, ...]) -> Any:
    if not parts:
        return wrap(backend.module_of(like._array).m.zeros(shape, dtype=like._array.dtype))
    return stack(parts).reshape(shape)


def _gradient(
    name: str, func: Callable[..., Any], inputs: Any, strict: bool, value: list[Any]
) -> Callable[[Any], Any]:
    """The function inputs ↦ ∂func/∂inputs, which can be differentiated; it leaves func's value in ``value``."""

    def gradient(args: Any) -> Any:
        out = _spread(func, inputs)(args)
        if not isinstance(out, Tensor) or out.numel() != 1:
            raise RuntimeError(f"{name}: The Tensor returned by the function given to {name} should contain a single element, "
                               f"got {errors.describe(out)}; reduce it with .sum() or .mean()")  # fmt: skip
        value[:] = [out]
        leaves, rebuild = flatten(args)

        def judge(i: int, g: Any) -> None:
            if strict and (g is None or not g.requires_grad):
                raise RuntimeError(f"{name}: The jacobian of the user-provided function with respect to input {i} is independent "
                                   f"of it. This is not allowed in strict mode.")  # fmt: skip

        return rebuild(gradients([out], leaves, [filled(out, 1)], True, judge))

    return gradient


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The second derivatives of a function that returns one number: the Jacobian of its gradient."""
    forward = _is_forward("hessian", outer_jacobian_strategy)
    run = Pullback("hessian", _gradient("hessian", func, inputs, strict, []), inputs, create_graph, strict)
    return jacobian_of(run, forward)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), Hv) for a function that returns one number: the jvp of its gradient."""
    return _second("hvp", func, inputs, v, create_graph, strict)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), vᵀH) for a function that returns one number: the vjp of its gradient."""
    return _second("vhp", func, inputs, v, create_graph, strict)


def _second(name: str, func: Any, inputs: Any, v: Any, create_graph: bool, strict: bool) -> tuple[Any, Any]:
    value: list[Any] = []
    run = Pullback(name, _gradient(name, func, inputs, strict, value), inputs, create_graph, strict)
    found = (run.push if name == "hvp" else run.pull)(run.vectors(v, run.inputs, "takes"))
    return run.settled(value[0]), run.like_inputs(found)


def value_and_grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """The function ``(*args, **kwargs) -> (value, gradient)`` of a function that returns a 0-d tensor.

    ``argnums`` picks the arguments to differentiate by, nests of tensors; a tuple makes the gradient a tuple.
    With ``has_aux`` func returns (value, aux), and the result is ((value, aux), gradient). The gradient can
    be differentiated where something else requires grad: ``value_and_grad`` nests.
    """

    def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        run, aux = run_on("value_and_grad", func, argnums, has_aux, args, kwargs)
        y = run.outputs[0]
        if len(run.outputs) != 1 or y.ndim:
            raise RuntimeError(f"value_and_grad: Expected the function to return a scalar tensor, got "
                               f"{', '.join(errors.describe(o) for o in run.outputs)}; reduce it with .sum() or .mean()")  # fmt: skip
        gradient = run.like_inputs(run.pull([filled(y, 1)]))
        return (run.result(), run.settled(aux)) if has_aux else run.result(), gradient

    return functools.wraps(func)(call)


def run_on(
    name: str,
    func: Any,
    argnums: int | tuple[int, ...],
    has_aux: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Pullback, Any]:
    """A recorded run as a function of the arguments picked by ``argnums``, and what it returned besides."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if any(not -len(args) <= i < len(args) for i in numbers):
        raise RuntimeError(f"{name}: Got argnum={argnums}, but only {len(args)} positional inputs")
    chosen = tuple(args[i] for i in numbers)
    aux: list[Any] = [None]

    def picked(values: Any) -> Any:
        given = list(args)
        for i, value in zip(numbers, (values,) if isinstance(argnums, int) else values, strict=True):
            given[i] = value
        result = func(*given, **kwargs)
        if not has_aux:
            return result
        if not isinstance(result, tuple) or len(result) != 2:
            raise RuntimeError(f"{name}: with has_aux=True the function must return a tuple (output, aux), got "
                               f"{errors.describe(result)}")  # fmt: skip
        result, aux[0] = result
        return result

    return Pullback(name, picked, chosen[0] if isinstance(argnums, int) else chosen, None), aux[0]


__all__ = ["hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vhp", "vjp"]
