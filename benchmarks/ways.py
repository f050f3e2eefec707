"""The ways in which a workload goes through a library: a forward, a backward alone, both, a training step.

What goes that way is in ``workloads`` and ``transformers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .workload import Built, Kit, Missing, Twin, Workload, normal, same


def forward(kit: Kit, function: Callable[..., Any], tensors: Sequence[Any]) -> Built:
    """A function of tensors."""
    run = kit.whole(kit.part(function))
    return Built(lambda: run(*tensors), lambda out: {"out": out})


def backward(kit: Kit, function: Callable[..., Any], tensors: Sequence[Any]) -> Built:
    """Its gradients alone, from a graph that is there already; the last tensor is the gradient of what it returns."""
    if kit.whole is not same:
        raise Missing("a compiled step holds its forward too; see the workloads that go both ways")
    inputs, seed = [t.requires_grad_() for t in tensors[:-1]], tensors[-1]
    run = kit.part(function)
    graph: list[Any] = []

    def prepare() -> None:
        graph[:] = [run(*inputs)]

    def call() -> Any:
        return kit.lib.autograd.grad(graph[0], inputs, seed, retain_graph=True)

    return Built(call, lambda grads: {f"gradient {i}": g for i, g in enumerate(grads)}, prepare)


def both(
    name: str,
    shapes: Sequence[tuple[int, ...]],
    out: tuple[int, ...],
    function: Callable[[Kit], Callable[..., Any]],
    flops: tuple[float, float],
    nbytes: tuple[float, float],
    twin: Callable[..., Any] | None = None,
) -> list[Workload]:
    """The forward of a function of float tensors, and its backward alone. ``twin``: the function in NumPy's names."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, *s) for s in shapes]

    def seeded(rng: np.random.Generator) -> list[Any]:
        return [*draw(rng), normal(rng, *out)]

    return [
        Workload(
            f"{name} forward", draw, lambda kit, tensors: forward(kit, function(kit), tensors), flops[0], nbytes[0],
            twin=twin and Twin("forward", twin),
        ),
        Workload(
            f"{name} backward", seeded, lambda kit, tensors: backward(kit, function(kit), tensors), flops[1], nbytes[1],
            poked=len(shapes), twin=twin and Twin("backward", twin),
        ),
    ]  # fmt: skip


def training(
    kit: Kit,
    model: Any,
    optimizer: Any,
    loss: Callable[..., Any],
    tensors: Sequence[Any],
    began: dict[str, Any],
) -> Built:
    """A training step: the loss of these tensors, its gradients, and the optimizer's update."""
    loss_of, update = kit.part(loss), kit.part(optimizer.step)

    def step(*given: Any) -> Any:
        optimizer.zero_grad()
        value = loss_of(*given)
        value.backward()
        update()
        return value

    run = kit.whole(step)
    return Built(lambda: run(*tensors), lambda value: {"loss": value, **moved(model, began)})


def filled(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Float32 values for parameters of these shapes, the same in every library; a norm's weight is about 1."""
    rng = np.random.default_rng(1)
    return {
        name: (normal(rng, *shape, std=0.05) + float("ln_" in name and "weight" in name)).astype(np.float32)
        for name, shape in shapes.items()
    }


def fill(kit: Kit, model: Any) -> dict[str, np.ndarray]:
    """Gives a model's parameters those values, and returns them."""
    began = filled({name: tuple(p.shape) for name, p in model.named_parameters()})
    with kit.lib.no_grad():
        for name, p in model.named_parameters():
            p.copy_(kit.lib.from_numpy(began[name].copy()))
    return began


def moved(model: Any, began: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far training has moved each parameter."""
    return {n: p.detach().numpy().astype(np.float64) - began[n] for n, p in model.named_parameters()}
