"""Libraries of pure functions beside torch: JAX, HIPS autograd and tinygrad build a workload from its twin.

A class for each says how it shares NumPy's memory, compiles, differentiates and waits; the ways of a workload are
written once, for all of them. Each is imported when its side starts, and not before.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy

from .twins import adam
from .ways import filled
from .workload import Built, Missing, Twin, Workload

Call = Callable[..., Any]


class Peer:
    """A library of pure functions. The base class computes at once and needs no compiler, as HIPS autograd does."""

    np: Any  # the names of twins

    def share(self, array: numpy.ndarray) -> Any:
        """The library's array on this memory."""
        return array

    def own(self, array: numpy.ndarray) -> Any:
        """The library's copy."""
        return array.copy()

    def jit(self, function: Call, spent: int = 0) -> Call:
        """Compiles a function of arrays; the first so many arguments aren't needed after a call."""
        return function

    def vjp(self, function: Call, given: Sequence[Any]) -> tuple[Any, Call]:
        """What a function returns, and what takes that one's gradient to the arguments'."""
        raise NotImplementedError

    def linearizing(self, function: Call) -> Call:
        """The second of ``vjp`` as a function of the arguments: all is done that doesn't depend on the gradient."""
        return lambda *given: self.vjp(function, given)[1]

    def wait(self, made: Any) -> Any:
        """Returns what was made, once it is there."""
        return made

    def going_on(self, function: Call, state: list[Any]) -> Call:
        """A function of state and inputs that returns a value and the next state, as one of the inputs alone."""
        run = self.jit(function, spent=len(state))

        def call(*inputs: Any) -> Any:
            value, *state[:] = self.wait(run(*state, *inputs))
            return value

        return call

    def build(self, workload: Workload, arrays: Sequence[numpy.ndarray]) -> Built:
        """The workload, on inputs that are written in these arrays. Raises Missing."""
        if workload.twin is None:
            raise Missing("it has no twin for libraries of pure functions")
        inputs: list[Any] = [self.share(a) for a in arrays]
        built = getattr(self, workload.twin.way)(workload.twin, inputs)

        def prepare() -> None:  # integers may be shared by a copy, of another width
            inputs[:] = [self.share(a) for a in arrays]
            built.prepare()

        return built._replace(prepare=prepare)

    # ---- the ways of a workload; inputs is a list whose elements change between rounds ----------------------------

    def forward(self, twin: Twin, inputs: list[Any]) -> Built:
        """What the function returns."""
        run = self.jit(partial(twin.function, self.np))
        return Built(lambda: self.wait(run(*inputs)), lambda out: {"out": out})

    def backward(self, twin: Twin, inputs: list[Any]) -> Built:
        """The gradients of all inputs but the last, which is the gradient of what the function returns."""
        linearized = self.linearizing(partial(twin.function, self.np))
        back: list[Call] = []

        def prepare() -> None:
            back[:] = [linearized(*inputs[:-1])]

        return Built(
            lambda: self.wait(back[0](inputs[-1])),
            lambda grads: {f"gradient {i}": g for i, g in enumerate(grads)},
            prepare,
        )

    def loss(self, twin: Twin, inputs: list[Any]) -> Built:
        """A number, and its gradient by the first input."""

        def both(x: Any, *others: Any) -> list[Any]:
            value, back = self.vjp(lambda x: twin.function(self.np, x, *others), [x])
            return [value, *back(self.np.ones_like(value))]

        run = self.jit(both)
        return Built(lambda: self.wait(run(*inputs)), lambda made: {"loss": made[0], "x.grad": made[1]})

    def both(self, twin: Twin, inputs: list[Any]) -> Built:
        """What a function of parameters and the first input returns, and the gradients of all these."""
        names = [*twin.parameters]
        held = [self.own(a) for a in filled(twin.parameters).values()]

        def both(*given: Any) -> list[Any]:
            def function(*by: Any) -> Any:
                return twin.function(self.np, dict(zip(names, by, strict=False)), by[-1])

            out, back = self.vjp(function, given[:-1])
            return [out, *back(given[-1])]

        run = self.jit(both)
        results = ["out", *(f"{n}.grad" for n in (*names, "x"))]
        return Built(
            lambda: self.wait(run(*held, *inputs)), lambda made: dict(zip(results, made, strict=True))
        )

    def training(self, twin: Twin, inputs: list[Any]) -> Built:
        """A training step with Adam: the loss, and how far the parameters have moved."""
        began = filled(twin.parameters)
        loss, state = self._training(twin, began)
        return Built(
            lambda: loss(*inputs),
            lambda value: {
                "loss": value,
                **{n: numpy.asarray(plain(p)) - b for (n, b), p in zip(began.items(), state[1], strict=True)},
            },
        )

    def update(self, twin: Twin, inputs: list[Any]) -> Built:
        """Adam's update alone: the inputs are the gradients."""
        run, state = self._training(twin, filled(twin.parameters))
        return Built(lambda: run(*inputs), lambda _: {f"parameter {i}": p for i, p in enumerate(state[1])})

    def _training(self, twin: Twin, began: dict[str, Any]) -> tuple[Call, list[Any]]:
        names, np, one = [*began], self.np, adam(*twin.adam)
        zeros = [[self.own(numpy.zeros_like(a)) for a in began.values()] for _ in range(2)]
        state = [self.own(numpy.zeros(1, numpy.float32)), [self.own(a) for a in began.values()], *zeros]

        def step(count: Any, p: Any, m: Any, v: Any, *given: Any) -> list[Any]:
            value, grads = count, given
            if twin.way == "training":
                function = twin.function
                value, back = self.vjp(lambda *p: function(np, dict(zip(names, p, strict=True)), *given), p)
                grads = back(np.ones_like(value))
            count = count + 1.0
            after = [one(np, count, s) for s in zip(p, grads, m, v, strict=True)]
            return [value, count, *(list(part) for part in zip(*after, strict=True))]

        return self.going_on(step, state), state


def plain(x: Any) -> Any:
    """As a NumPy array."""
    return x.numpy() if hasattr(x, "numpy") else numpy.asarray(x)


class Autograd(Peer):
    """HIPS autograd, a tape over NumPy."""

    def __init__(self) -> None:
        tape = importlib.import_module("autograd")
        names = importlib.import_module("autograd.numpy")
        self.np = SimpleNamespace(**vars(names), constant=importlib.import_module("autograd.tracer").getval)
        self.make = tape.make_vjp

    def vjp(self, function: Call, given: Sequence[Any]) -> tuple[Any, Call]:
        back, out = self.make(function, tuple(range(len(given))))(*given)
        return out, back


class Jax(Peer):
    """JAX on the CPU, compiled by XLA."""

    def __init__(self) -> None:
        os.environ["JAX_PLATFORMS"] = "cpu"
        self.jax: Any = importlib.import_module("jax")
        names = importlib.import_module("jax.numpy")
        self.np = SimpleNamespace(**vars(names), constant=self.jax.lax.stop_gradient)
        product = self.jit(names.matmul)
        self.from_numpy, self.matmul = self.own, lambda a, b: self.wait(product(a, b))  # for the roof

    def share(self, array: numpy.ndarray) -> Any:
        # an aligned array's memory itself, so that what is rewritten before a call is seen by it
        return self.jax.dlpack.from_dlpack(array)

    def own(self, array: numpy.ndarray) -> Any:
        return self.jax.numpy.array(array)

    def jit(self, function: Call, spent: int = 0) -> Call:
        return self.jax.jit(function, donate_argnums=tuple(range(spent)))

    def vjp(self, function: Call, given: Sequence[Any]) -> tuple[Any, Call]:
        return self.jax.vjp(function, *given)

    def linearizing(self, function: Call) -> Call:
        linearized = self.jit(lambda *given: self.jax.vjp(function, *given)[1])
        back = self.jit(lambda back, seed: back(seed))
        return lambda *given: partial(back, self.wait(linearized(*given)))

    def wait(self, made: Any) -> Any:
        return self.jax.block_until_ready(made)


class Tinygrad(Peer):
    """tinygrad on the CPU, its steps captured by TinyJit."""

    def __init__(self) -> None:
        os.environ["DEV"] = "CPU"
        tinygrad = importlib.import_module("tinygrad")
        self.tensor, self.capture, self.dtypes = tinygrad.Tensor, tinygrad.TinyJit, tinygrad.dtypes
        self.device = tinygrad.Device["CPU"]
        self.np = names(self.tensor)
        try:  # it calls a C compiler, unless it has kept what it once compiled
            with tinygrad.Context(CACHELEVEL=0):
                (self.tensor([1.0]) + 1).realize()
        except (OSError, RuntimeError, NotImplementedError) as e:
            raise Missing(f"tinygrad can't compile here: {e}") from None

    def share(self, array: numpy.ndarray) -> Any:
        dtype = getattr(self.dtypes, str(array.dtype))
        return self.tensor.from_blob(array.ctypes.data, array.shape, dtype=dtype, device="CPU")

    def own(self, array: numpy.ndarray) -> Any:
        return self.tensor(array.copy(), device="CPU").realize()

    def jit(self, function: Call, spent: int = 0) -> Call:
        def realized(*given: Any) -> Any:
            made = function(*given)
            self.tensor.realize(*made) if isinstance(made, list) else made.realize()
            return made

        return self.capture(realized)

    def vjp(self, function: Call, given: Sequence[Any]) -> tuple[Any, Call]:
        out = function(*given)
        return out, lambda seed: out.gradient(*given, gradient=seed)

    def linearizing(self, function: Call) -> Call:
        raise Missing("tinygrad's backward computes its forward again")

    def wait(self, made: Any) -> Any:
        self.device.synchronize()
        return made

    def going_on(self, function: Call, state: list[Any]) -> Call:
        held = [state[0], *(t for part in state[1:] for t in part)]

        def step(*inputs: Any) -> Any:  # the next state is written over the last, which the capture holds
            value, count, *after = function(*state, *inputs)
            for old, new in zip(held, [count, *(t for part in after for t in part)], strict=True):
                old.assign(new)
            self.tensor.realize(value, *held)
            return value

        run = self.capture(step)
        return lambda *inputs: self.wait(run(*inputs))


def names(tensor: Any) -> SimpleNamespace:
    """tinygrad's Tensor under the names of twins."""
    return SimpleNamespace(
        exp=tensor.exp, log=tensor.log, tanh=tensor.tanh, sqrt=tensor.sqrt, maximum=tensor.maximum,
        where=tensor.where, arange=tensor.arange, ones_like=tensor.ones_like, reshape=tensor.reshape,
        swapaxes=tensor.transpose, constant=tensor.detach,
        max=lambda x, axis, keepdims=False: x.max(axis, keepdim=keepdims),
        sum=lambda x, axis, keepdims=False: x.sum(axis, keepdim=keepdims),
        mean=lambda x, axis=None, keepdims=False: x.mean(axis, keepdim=keepdims),
    )  # fmt: skip


PEERS: dict[str, type[Peer]] = {"jax": Jax, "autograd": Autograd, "tinygrad": Tinygrad}
