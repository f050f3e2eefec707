"""Whole workloads: training steps, attention, normalization, losses, a transformer block, a first prediction.

Each is written once, against the names that torch and minigrad share. Flops count a multiply and an add as two
and leave out what isn't a matrix product; bytes count every input read and every output written once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .workload import Built, Kit, Missing, Workload, normal, same

FLOAT = 4  # bytes


def workloads(parameters: int = 124_000_000) -> dict[str, Workload]:
    """All of them by name; the large AdamW has about that many parameters."""
    block = (768, 3072)
    large = [block] * max(1, round(parameters / (768 * 3072)))
    found = [
        classifier(32),
        classifier(256),
        adamw("100k", [(784, 128), (128,), (128, 10), (10,)]),
        adamw(f"{len(large) * 768 * 3072 / 1e6:.0f}M", large),
        *attention("causal T1024 D64", (1, 12, 1024, 64), causal=True),
        *attention("B8 H12 T128", (8, 12, 128, 64), causal=False),
        *layer_norm(4096, 768),
        softmax_cross_entropy(512, 50257),
        bias_gelu(4096, 3072),
        gpt2_block(1, 256),
        gpt2_block(4, 256),
        first_prediction(),
    ]
    return {w.name: w for w in found}


def classifier(batch: int) -> Workload:
    """A training step of the network 784-128-10, ReLU, cross-entropy and Adam."""
    sizes = [(128, 784), (128,), (10, 128), (10,)]

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.random((batch, 784), np.float32), rng.integers(0, 10, batch)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn = kit.lib.nn
        x, y = tensors
        model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        began = fill(kit, model)
        optimizer = kit.lib.optim.Adam(model.parameters(), lr=1e-4)
        criterion = nn.CrossEntropyLoss()
        loss_of = kit.part(lambda x, y: criterion(model(x), y))
        update = kit.part(optimizer.step)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            update()
            return loss

        run = kit.whole(step)
        return Built(lambda: run(x, y), lambda loss: {"loss": loss, **moved(model, began)})

    weights = sum(int(np.prod(s)) for s in sizes)
    flops = 2 * batch * (2 * 784 * 128 + 3 * 128 * 10)  # the first layer's input has no gradient
    nbytes = 6 * FLOAT * weights + FLOAT * batch * 784
    return Workload(
        f"classifier b{batch}",
        draw,
        build,
        flops,
        nbytes,
        stateful=True,
        norm="l2",
        tolerance=0.1,  # Adam divides by √v: where a gradient is about 0, its rounding becomes a whole step
    )


def adamw(size: str, shapes: Sequence[tuple[int, ...]]) -> Workload:
    """One AdamW update of parameters whose gradients are there already."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, *s, std=0.1) for s in shapes]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        rng = np.random.default_rng(1)
        float_ = kit.lib.get_default_dtype()
        made = [kit.lib.from_numpy(normal(rng, *s)).to(float_) for s in shapes]
        parameters = [kit.lib.nn.Parameter(p) for p in made]
        for p, g in zip(parameters, tensors, strict=True):
            p.grad = g
        optimizer = kit.lib.optim.AdamW(parameters, lr=1e-3)
        run = kit.whole(kit.part(optimizer.step))
        return Built(run, lambda _: {f"parameter {i}": p for i, p in enumerate(parameters)})

    count = sum(int(np.prod(s)) for s in shapes)
    return Workload(f"adamw {size}", draw, build, 0, 7 * FLOAT * count, stateful=True, tolerance=1e-4)


def attention(what: str, shape: tuple[int, int, int, int], causal: bool) -> list[Workload]:
    """softmax(QKᵀ/√D)V by ``scaled_dot_product_attention``, and its gradients."""
    b, h, t, d = shape
    pairs = b * h * (t * (t + 1) // 2 if causal else t * t)

    def function(kit: Kit) -> Callable[..., Any]:
        sdpa = kit.lib.nn.functional.scaled_dot_product_attention
        return kit.part(lambda q, k, v: sdpa(q, k, v, is_causal=causal))

    return both(
        f"attention {what}",
        [shape] * 3,
        shape,
        function,
        flops=(4.0 * pairs * d, 8.0 * pairs * d),
        nbytes=(4.0 * FLOAT * b * h * t * d, 7.0 * FLOAT * b * h * t * d),
    )


def layer_norm(rows: int, width: int) -> list[Workload]:
    """(x − mean)/σ · weight + bias over the last axis, and its gradients."""
    n = FLOAT * rows * width

    def function(kit: Kit) -> Callable[..., Any]:
        norm = kit.lib.nn.functional.layer_norm
        return kit.part(lambda x, w, b: norm(x, (width,), w, b))

    shapes: list[tuple[int, ...]] = [(rows, width), (width,), (width,)]
    return both(f"layernorm {rows}x{width}", shapes, (rows, width), function, (0, 0), (2.0 * n, 3.0 * n))


def bias_gelu(rows: int, width: int) -> Workload:
    """gelu(x + bias) with the tanh formula."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, rows, width), normal(rng, width)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        gelu = kit.lib.nn.functional.gelu
        run = kit.whole(kit.part(lambda x, b: gelu(x + b, approximate="tanh")))
        return Built(lambda: run(*tensors), lambda out: {"out": out})

    return Workload(f"bias+gelu {rows}x{width}", draw, build, 0, 2.0 * FLOAT * rows * width)


def softmax_cross_entropy(rows: int, classes: int) -> Workload:
    """The mean of −log softmax(x)[y] and its gradient by x."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, rows, classes), rng.integers(0, classes, rows)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        x, y = tensors[0].requires_grad_(), tensors[1]
        loss_of = kit.part(kit.lib.nn.functional.cross_entropy)

        def step(x: Any, y: Any) -> Any:
            x.grad = None
            loss = loss_of(x, y)
            loss.backward()
            return loss

        run = kit.whole(step)
        return Built(lambda: run(x, y), lambda loss: {"loss": loss, "x.grad": x.grad})

    nbytes = 2.0 * FLOAT * rows * classes
    return Workload(f"softmax+ce {rows}x{classes}", draw, build, 0, nbytes)


def gpt2_block(batch: int, tokens: int, width: int = 768, heads: int = 12) -> Workload:
    """GPT-2's block, forward and backward: x + attention(ln(x)), x + mlp(ln(x)). Source: Radford et al., 2019."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, batch, tokens, width), normal(rng, batch, tokens, width)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional = kit.lib.nn, kit.lib.nn.functional

        class Block(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

            def forward(self, x: Any) -> Any:  # (B, T, width)
                parts = self.qkv(self.ln_1(x)).split(width, dim=2)
                q, k, v = (
                    p.reshape(batch, tokens, heads, width // heads).transpose(1, 2) for p in parts
                )  # (B, H, T, D)
                seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.projection(seen.transpose(1, 2).reshape(batch, tokens, width))
                return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

        x, seed = tensors[0].requires_grad_(), tensors[1]
        model = Block()
        fill(kit, model)
        forward = kit.part(model)

        def step(x: Any, seed: Any) -> Any:
            x.grad = None
            model.zero_grad()
            out = forward(x)
            out.backward(seed)
            return out

        def results(out: Any) -> dict[str, Any]:
            return {
                "out": out,
                "x.grad": x.grad,
                **{f"{n}.grad": p.grad for n, p in model.named_parameters()},
            }

        run = kit.whole(step)
        return Built(lambda: run(x, seed), results)

    rows, weights = batch * tokens, 12 * width * width
    pairs = batch * heads * tokens * (tokens + 1) // 2
    flops = 6.0 * rows * weights + 12.0 * pairs * (width // heads)
    nbytes = FLOAT * (2.0 * weights + 4.0 * rows * width)
    return Workload(f"gpt2 block b{batch} t{tokens}", draw, build, flops, nbytes)


FIRST = """
import sys, numpy
lib = __import__({name!r})
nn = lib.nn
data = numpy.frombuffer(sys.stdin.buffer.read(), numpy.float32)
x, w1, w2 = data[:784].copy(), data[784:101136].copy(), data[101136:].copy()
model = nn.Sequential(nn.Linear(784, 128, bias=False), nn.ReLU(), nn.Linear(128, 10, bias=False))
with lib.no_grad():
    model[0].weight.copy_(lib.from_numpy(w1.reshape(128, 784)))
    model[2].weight.copy_(lib.from_numpy(w2.reshape(10, 128)))
    print(*model(lib.from_numpy(x.reshape(1, 784)))[0].tolist())
"""


def first_prediction() -> Workload:
    """Starting Python, importing the library, building the classifier and predicting one image."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.random((1, 784), np.float32), normal(rng, 128, 784, std=0.05), normal(rng, 10, 128)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        if not kit.part is kit.whole is same:
            raise Missing("a first prediction doesn't wait for a compiler")

        def call() -> list[float]:
            given = b"".join(t.detach().numpy().astype(np.float32).tobytes() for t in tensors)
            command = [sys.executable, "-c", FIRST.format(name=kit.lib.__name__)]
            environment = {**os.environ, "MINIGRAD_KERNELS": "off" if kit.kernels == "off" else "auto"}
            done = subprocess.run(command, input=given, capture_output=True, check=True, env=environment)
            return [float(v) for v in done.stdout.split()]

        return Built(call, lambda values: {"prediction": np.array(values)})

    return Workload("first prediction", draw, build, 0, 0)


# ---- what they share -----------------------------------------------------------------------------------------


def both(
    name: str,
    shapes: Sequence[tuple[int, ...]],
    out: tuple[int, ...],
    function: Callable[[Kit], Callable[..., Any]],
    flops: tuple[float, float],
    nbytes: tuple[float, float],
) -> list[Workload]:
    """The forward of a function of float tensors, and its backward alone, from a graph that is there already."""

    def forward(kit: Kit, tensors: Sequence[Any]) -> Built:
        run = kit.whole(function(kit))
        return Built(lambda: run(*tensors), lambda out: {"out": out})

    def backward(kit: Kit, tensors: Sequence[Any]) -> Built:
        if kit.whole is not same:
            raise Missing("a compiled step holds its forward too; see the workloads that go both ways")
        inputs, seed = [t.requires_grad_() for t in tensors[:-1]], tensors[-1]
        run = function(kit)
        graph: list[Any] = []

        def prepare() -> None:
            graph[:] = [run(*inputs)]

        def call() -> Any:
            return kit.lib.autograd.grad(graph[0], inputs, seed, retain_graph=True)

        return Built(
            call, lambda grads: {f"gradient {i}": g for i, g in enumerate(grads)}, prepare
        )  # fmt: skip

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, *s) for s in shapes]

    def seeded(rng: np.random.Generator) -> list[Any]:
        return [*draw(rng), normal(rng, *out)]

    return [
        Workload(f"{name} forward", draw, forward, flops[0], nbytes[0]),
        Workload(f"{name} backward", seeded, backward, flops[1], nbytes[1], poked=len(shapes)),
    ]


def fill(kit: Kit, model: Any) -> dict[str, np.ndarray]:
    """Gives a model's parameters the same values in every library, and returns them."""
    rng, began = np.random.default_rng(1), {}
    with kit.lib.no_grad():
        for name, p in model.named_parameters():
            values = normal(rng, *p.shape, std=0.05) + (1.0 if "ln_" in name and "weight" in name else 0.0)
            began[name] = values.astype(np.float32)
            p.copy_(kit.lib.from_numpy(began[name]))
    return began


def moved(model: Any, began: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far training has moved each parameter."""
    return {n: p.detach().numpy().astype(np.float64) - began[n] for n, p in model.named_parameters()}
