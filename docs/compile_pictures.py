"""Draws what `docs/compile.md` shows of the four-line step: the program after each pass, and its memory.

``python docs/compile_pictures.py`` writes ``docs/images/compile-*.svg``; the picture of the loop needs Numba.
"""

from __future__ import annotations

from pathlib import Path

import minigrad

HERE = Path(__file__).parent / "images"


def step_of(size: int) -> minigrad.compiler.Compiled:
    """The four lines of `docs/backward.md`, compiled and called twice."""
    w = minigrad.ones(size, requires_grad=True)

    def step(x: minigrad.Tensor) -> minigrad.Tensor:
        y = (w * x).tanh()
        loss = (y * y).sum()
        loss.backward()
        return loss.detach()

    compiled = minigrad.compile(step)
    for _ in range(2):
        w.grad = None
        compiled(minigrad.linspace(-1, 1, size))
    return compiled


def draw(folder: Path = HERE) -> None:
    """Writes the pictures to a folder."""
    with minigrad.kernels("off"):
        passes = step_of(64).passes()
        passes.svg().save(folder / "compile-passes.svg")
        passes.memory().save(folder / "compile-memory.svg")
    if "numba" in minigrad.backend.KERNEL_SETS:
        with minigrad.kernels("auto", wait=True):
            step_of(64).passes().svg().save(folder / "compile-loop.svg")


if __name__ == "__main__":
    draw()
