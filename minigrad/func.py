"""Function transforms under PyTorch's ``torch.func`` names: functions in, functions out.

Each result can be transformed again. The derivatives themselves are ``transforms.py``'s; there is no ``vmap``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .nn.stateless import functional_call
from .transforms import jacobian_of, run_on, value_and_grad

Argnums = int | tuple[int, ...]


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a function that returns a 0-d tensor, as a function; with ``has_aux`` (gradient, aux)."""
    both = value_and_grad(func, argnums, has_aux)

    def call(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return call


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """(gradient, value) as a function; with ``has_aux`` (gradient, (value, aux))."""
    both = value_and_grad(func, argnums, has_aux)
    return lambda *args, **kwargs: both(*args, **kwargs)[::-1]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), the function v ↦ vᵀJ that returns a tuple, one for each primal); with ``has_aux`` and aux."""
    run, aux = run_on("vjp", func, tuple(range(len(primals))), has_aux, primals, {})

    def pull(*cotangents: Any) -> Any:
        v = cotangents[0] if len(cotangents) == 1 else cotangents
        return run.like_inputs(run.pull(run.vectors(v, run.outputs, "returns")))

    return (run.result(), pull, run.settled(aux)) if has_aux else (run.result(), pull)


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """(func(*primals), Jv) with v = tangents; with ``has_aux`` and aux."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError(f"jvp: Expected primals and tangents to be tuples, one item for each argument, got "
                           f"{type(primals).__name__} and {type(tangents).__name__}")  # fmt: skip
    run, aux = run_on("jvp", func, tuple(range(len(primals))), has_aux, primals, {})
    run.strict = strict
    pushed = run.like_outputs(run.push(run.vectors(tangents, run.inputs, "takes")))
    return (run.result(), pushed, run.settled(aux)) if has_aux else (run.result(), pushed)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), the function v ↦ Jv), which doesn't run ``func`` again."""
    run, _ = run_on("linearize", func, tuple(range(len(primals))), False, primals, {})
    return run.result(), lambda *v: run.like_outputs(run.push(run.vectors(v, run.inputs, "takes")))


def _jacobian(name: str, func: Any, argnums: Argnums, has_aux: bool, forward: bool) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        run, aux = run_on(name, func, argnums, has_aux, args, kwargs)
        found = jacobian_of(run, forward)
        return (found, run.settled(aux)) if has_aux else found

    return call


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """The Jacobian as a function, a row for each backward pass. ``chunk_size`` is accepted: rows come one by one."""
    return _jacobian("jacrev", func, argnums, has_aux, forward=False)


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """The Jacobian as a function, a column for each element of the inputs. The function runs once, whatever ``randomness``."""
    return _jacobian("jacfwd", func, argnums, has_aux, forward=True)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The second derivatives as a function: jacfwd of jacrev."""
    return jacfwd(jacrev(func, argnums), argnums)


__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "vjp",
]
