"""Runs the blocks of `docs/gpt.md` on all of tinyshakespeare, and prints its table and a sample.

``python docs/gpt_steps.py [--steps 2000]``. The page's first block, which has a short text in it, is left out.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from pathlib import Path
from typing import Any

from minigrad.data.texts import read_text, text_files

PAGE = Path(__file__).with_name("gpt.md")


def blocks() -> list[str]:
    """The Python blocks of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def run(text: str, steps: int, length: int = 64) -> dict[str, Any]:
    """The names that the blocks define, with another text, number of steps and length of a stretch."""
    told: dict[str, Any] = {"__name__": "gpt", "text": text, "STEPS": steps, "T": length}
    for number, block in enumerate(blocks()[1:], 2):
        start, before = time.perf_counter(), len(told.get("losses", ()))
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), told)
        for name in list(told.get("losses", ()))[before:]:
            print(f"  {name}: {told['losses'][name]:.4f} in {time.perf_counter() - start:.0f} s", flush=True)
    return told


def table(told: dict[str, Any]) -> str:
    """The rows of the page's table."""
    rows = enumerate(told["losses"].items(), 1)
    return "\n".join(
        f"| {k}. {n} | {told['sizes'][n]:,} | {x:.2f} | {math.exp(x):.1f} |" for k, (n, x) in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    told = run(read_text(text_files("shakespeare")["input.txt"]), parser.parse_args().steps)
    print(table(told))
    print(told["write"](told["gpt"], "\n", 400))


if __name__ == "__main__":
    main()
