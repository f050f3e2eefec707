"""Whole workloads: training steps, attention, normalization, losses, a first prediction.

Each is written once, against the names that torch and minigrad share. Flops count a multiply and an add as two
and leave out what isn't a matrix product; bytes count every input read and every output written once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import twins
from .transformers import decoding, encoder, gpt, gpt2_block, sentences
from .ways import both, fill, filled, forward, training
from .workload import FLOAT, Built, Kit, Missing, Twin, Workload, normal, same


def workloads(parameters: int = 124_000_000) -> dict[str, Workload]:
    """All of them by name; the large AdamW has about that many parameters."""
    whole, rest = divmod(parameters, 3072 * 768)
    large = [(3072, 768)] * whole + [(rest // 768, 768)]
    large = [s for s in large if s[0]]
    found = [
        classifier(32),
        classifier(256),
        adamw("100k", [(784, 128), (128,), (128, 10), (10,)]),
        adamw(f"{parameters / 1e6:.0f}M", large),
        *attention("causal T1024 D64", (1, 12, 1024, 64), causal=True),
        *attention("B8 H12 T128", (8, 12, 128, 64), causal=False),
        *layer_norm(4096, 768),
        softmax_cross_entropy(512, 50257),
        bias_gelu(4096, 3072),
        *batch_norm_relu((64, 64, 56, 56)),
        gpt2_block(1, 256),
        gpt2_block(4, 256),
        encoder(32, 128),
        gpt("char-gpt", 8, 256),
        gpt("char-gpt-small", 12, 64, 4, 128, 4),
        gpt("gpt2-124m", 1, 256, 12, 768, 12, 50257),
        sentences(32, (8, 16, 24, 40)),
        decoding(127),
        decoding(127, int8=True),
        first_prediction(),
    ]
    return {w.name: w for w in found}


def classifier(batch: int) -> Workload:
    """A training step of the network 784-128-10, ReLU, cross-entropy and Adam."""
    sizes = {"0.weight": (128, 784), "0.bias": (128,), "2.weight": (10, 128), "2.bias": (10,)}

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.random((batch, 784), np.float32), rng.integers(0, 10, batch)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn = kit.lib.nn
        model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        began = fill(kit, model)
        optimizer = kit.lib.optim.Adam(model.parameters(), lr=1e-4)
        criterion = nn.CrossEntropyLoss()
        return training(kit, model, optimizer, lambda x, y: criterion(model(x), y), tensors, began)

    weights = sum(int(np.prod(s)) for s in sizes.values())
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
        twin=Twin("training", twins.classifier, sizes, adam=(1e-4, 0.0)),
    )


def adamw(size: str, shapes: Sequence[tuple[int, ...]]) -> Workload:
    """One AdamW update of parameters whose gradients are there already."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, *s, std=0.1) for s in shapes]

    named = {f"parameter {i}": s for i, s in enumerate(shapes)}

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        float_ = kit.lib.get_default_dtype()
        parameters = [
            kit.lib.nn.Parameter(kit.lib.from_numpy(a).to(float_)) for a in filled(named).values()
        ]  # fmt: skip
        for p, g in zip(parameters, tensors, strict=True):
            p.grad = g
        optimizer = kit.lib.optim.AdamW(parameters, lr=1e-3)
        run = kit.whole(kit.part(optimizer.step))
        return Built(run, lambda _: dict(zip(named, parameters, strict=True)))

    count = sum(int(np.prod(s)) for s in shapes)
    twin = Twin("update", same, named, adam=(1e-3, 0.01))
    return Workload(
        f"adamw {size}", draw, build, 0, 7 * FLOAT * count, stateful=True, tolerance=1e-4, twin=twin
    )


def attention(what: str, shape: tuple[int, int, int, int], causal: bool) -> list[Workload]:
    """softmax(QKᵀ/√D)V by ``scaled_dot_product_attention``, and its gradients."""
    b, h, t, d = shape
    pairs = b * h * (t * (t + 1) // 2 if causal else t * t)

    def function(kit: Kit) -> Callable[..., Any]:
        sdpa = kit.lib.nn.functional.scaled_dot_product_attention
        return lambda q, k, v: sdpa(q, k, v, is_causal=causal)

    return both(
        f"attention {what}",
        [shape] * 3,
        shape,
        function,
        flops=(4.0 * pairs * d, 8.0 * pairs * d),
        nbytes=(4.0 * FLOAT * b * h * t * d, 7.0 * FLOAT * b * h * t * d),
        twin=partial(twins.attention, causal=causal),
    )


def layer_norm(rows: int, width: int) -> list[Workload]:
    """(x − mean)/σ · weight + bias over the last axis, and its gradients."""
    n = FLOAT * rows * width

    def function(kit: Kit) -> Callable[..., Any]:
        norm = kit.lib.nn.functional.layer_norm
        return lambda x, w, b: norm(x, (width,), w, b)

    return both(
        f"layernorm {rows}x{width}", [(rows, width), (width,), (width,)], (rows, width), function,
        flops=(0, 0), nbytes=(2.0 * n, 3.0 * n), twin=twins.layer_norm,
    )  # fmt: skip


def batch_norm_relu(shape: tuple[int, int, int, int]) -> list[Workload]:
    """relu((x − mean)/σ · weight + bias), by the batch's own statistics of every channel, and its gradients."""
    n, channels = float(FLOAT * np.prod(shape)), shape[1:2]

    def function(kit: Kit) -> Callable[..., Any]:
        relu, norm = kit.lib.nn.functional.relu, kit.lib.nn.functional.batch_norm
        return lambda x, w, b: relu(norm(x, None, None, w, b, training=True))

    name = f"batchnorm+relu {'x'.join(map(str, shape))}"
    return both(
        name, [shape, channels, channels], shape, function,
        flops=(0, 0), nbytes=(2.0 * n, 3.0 * n), twin=twins.batch_norm_relu,
    )  # fmt: skip


def bias_gelu(rows: int, width: int) -> Workload:
    """gelu(x + bias) with the tanh formula."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, rows, width), normal(rng, width)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        gelu = kit.lib.nn.functional.gelu
        return forward(kit, lambda x, b: gelu(x + b, approximate="tanh"), tensors)

    twin = Twin("forward", twins.bias_gelu)
    return Workload(f"bias+gelu {rows}x{width}", draw, build, 0, 2.0 * FLOAT * rows * width, twin=twin)


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
    twin = Twin("loss", twins.cross_entropy)
    return Workload(f"softmax+ce {rows}x{classes}", draw, build, 0, nbytes, twin=twin)


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
PEAK = """
try:
    print(*[int(s.split()[1]) * 1024 for s in open("/proc/self/status") if s.startswith("VmHWM:")])
except OSError:
    print(0)
"""


def first_prediction() -> Workload:
    """Starting Python, importing the library, building the classifier and predicting one image; its peak is all of it."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.random((1, 784), np.float32), normal(rng, 128, 784, std=0.05), normal(rng, 10, 128)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        if not kit.part is kit.whole is same:
            raise Missing("a first prediction doesn't wait for a compiler")

        peaks = [0]

        def call() -> list[float]:
            given = b"".join(t.detach().numpy().astype(np.float32).tobytes() for t in tensors)
            command = [sys.executable, "-c", FIRST.format(name=kit.lib.__name__) + PEAK]
            environment = {**os.environ, "MINIGRAD_KERNELS": "off" if kit.kernels == "off" else "auto"}
            done = subprocess.run(command, input=given, capture_output=True, check=True, env=environment)
            values, peak = done.stdout.decode().splitlines()
            peaks[0] = int(peak)
            return [float(v) for v in values.split()]

        return Built(
            call, lambda values: {"prediction": np.array(values)}, peak=lambda: peaks[0]
        )  # fmt: skip

    return Workload("first prediction", draw, build, 0, 0)
