"""Large results of elementwise kernels are made again in the backward instead of being kept, and are the same."""

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.compiler import again
from minigrad.nn import functional as F

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    monkeypatch.setattr(again, "LARGE", 2**12)
    minigrad.warmup("gelu", "linear", "silu", "sigmoid")
    with minigrad.kernels("numba"):
        yield


def layers(count=10, act=nn.GELU, width=32):
    minigrad.manual_seed(0)
    return nn.Sequential(
        *[nn.Sequential(nn.Linear(8, width), act(), nn.Linear(width, 8)) for _ in range(count)]
    )


def trained(model, x):
    """The compiled step's program, whose numbers are eager's."""

    def step(x):
        model.zero_grad()
        out = model(x)
        out.square().mean().backward()
        return out

    compiled, found = minigrad.compile(step), []
    for call in (step, compiled, compiled, compiled):
        out = call(x)
        found.append([out.detach().numpy().copy(), *(p.grad.numpy().copy() for p in model.parameters())])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
    return compiled._latest()


def calls(replay, row):
    """How often a row's kernel is called, before calls become parts of loops."""
    return sum(f"= {row}_numba(" in line for line in dict(replay.stages)["made_again"])


@pytest.mark.parametrize("act", [nn.GELU, nn.SiLU])
def test_what_waits_for_the_backward_is_made_there_again(act, monkeypatch):
    x = minigrad.rand(64, 8)
    often = trained(layers(act=act), x)
    monkeypatch.setattr(again, "LARGE", 2**40)
    once = trained(layers(act=act), x)
    row = act.__name__.lower()
    assert calls(once, row) == 10 and calls(often, row) >= 16
    assert often.planned.plan.size <= once.planned.plan.size - 5 * 64 * 32 * 4


def test_results_are_kept_whose_operands_are_not():
    def model(x):
        for _ in range(6):
            x = minigrad.sigmoid(x @ weight)  # whose rule reads the result alone
        return x

    weight = minigrad.rand(32, 32).requires_grad_()

    def step(x):
        weight.grad = None
        out = model(x)
        out.sum().backward()
        return out

    compiled = minigrad.compile(step)
    for _ in range(3):
        compiled(minigrad.rand(64, 32))
    assert calls(compiled._latest(), "sigmoid") == 6


def test_results_are_kept_whose_operand_is_written_to():
    kept = minigrad.rand(64, 32)

    def step(x):
        y = F.gelu(kept)
        z = y * 2.0
        for _ in range(again.LONG + 4):
            z = (z @ x).exp()
            z = z / z.sum()
        kept.add_(1.0)
        return z + (y @ x), kept.sum()  # which is read as late

    compiled, x = minigrad.compile(step), minigrad.rand(32, 32)
    before = kept.clone()
    wanted = step(x)
    for _ in range(3):
        kept.copy_(before)
        for ours, theirs in zip(compiled(x), wanted, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    assert calls(compiled._latest(), "gelu") == 1


def test_a_result_that_leaves_is_made_once():
    model = layers(3)

    def step(x):
        model.zero_grad()
        first = model[0][1](model[0][0](x))
        out = model[2](model[1](model[0][2](first)))
        out.sum().backward()
        return out, first

    compiled = minigrad.compile(step)
    for _ in range(3):
        compiled(minigrad.rand(64, 8))
    made = [v for line in compiled._latest().program.lines for v in line.results if v is not None]
    first = compiled._latest().program.outputs[1]
    assert not any(v.name == f"{first.name}_again" for v in made)
