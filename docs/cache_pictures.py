"""Measures what `docs/cache.md` says of the cache of keys and values, and draws its picture.

``OMP_NUM_THREADS=1 python docs/cache_pictures.py`` prints the page's table and writes ``docs/images/cache.svg``. The times are the processor's own for
one thread, the least of several: other programs on the machine count little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minigrad
from minigrad import models, nn
from minigrad.pictures.svg import BLUE, FAINT, GRID, INK, VERMILION, Svg

HERE = Path(__file__).parent / "images"
LENGTHS = (32, 64, 128, 256, 512, 1024)
SIZES = {"n_embd": 384, "n_layer": 6, "n_head": 6, "vocab_size": 5000}


def least(call: Callable[[], Any], times: int) -> float:
    """Seconds of the processor that the quickest of some calls takes."""
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def measure(lengths: tuple[int, ...] = LENGTHS, times: int = 30, **sizes: int) -> list[dict[str, float]]:
    """For each length the seconds that the next token takes: with a cache, with one of int8, with everything read anew."""
    minigrad.manual_seed(0)
    config = models.GPT2Config(**(SIZES | sizes), n_positions=max(lengths))
    model = models.GPT2LMHeadModel(config).eval()
    rows = []
    for length in lengths:
        ids = minigrad.randint(0, config.vocab_size, (1, length))
        row: dict[str, float] = {"length": length}
        for name, how in (("cache", {}), ("int8", {"quantized": True})):
            cache = model.new_cache(1, length, **how)

            @minigrad.compile
            def step(token: Any, cache: nn.KVCache = cache) -> Any:
                return model(token, cache=cache, logits_to_keep=1).logits

            def call(cache: nn.KVCache = cache, step: Any = step, ids: Any = ids) -> None:
                cache.position.fill_(ids.shape[1] - 1)  # as if all before it had been read
                step(ids[:, -1:])

            with minigrad.no_grad():
                call()
                row[name] = least(call, 3 * times)
        with minigrad.no_grad():
            whole = minigrad.compile(lambda ids: model(ids, logits_to_keep=1).logits)
            whole(ids)
            row["anew"] = least(lambda whole=whole, ids=ids: whole(ids), times)
        rows.append(row)
    return rows


def table(rows: list[dict[str, float]]) -> str:
    """The rows of the page's table."""
    return "\n".join(
        f"| {r['length']:,} | {r['anew'] * 1e3:.1f} ms | {r['cache'] * 1e3:.2f} ms | {r['int8'] * 1e3:.2f} ms | {r['anew'] / r['cache']:.0f} |"
        for r in rows
    )


def draw(rows: list[dict[str, float]], folder: Path = HERE) -> Path:
    """Time by length, both in powers of two and ten."""
    surface = Svg(640, 380, "Time of the next token by the length of the text, with a cache and without")
    left, right, top, bottom = 74.0, 500.0, 30.0, 330.0
    every = [r[name] for r in rows for name in ("anew", "cache", "int8")]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    first, last = math.log2(rows[0]["length"]), math.log2(rows[-1]["length"])

    def at(length: float, seconds: float) -> tuple[float, float]:
        x = left + (math.log2(length) - first) / max(last - first, 1) * (right - left)
        return x, bottom - (math.log10(seconds) - low) / (high - low) * (bottom - top)

    for power in range(low, high + 1):
        y = at(rows[0]["length"], 10.0**power)[1]
        surface.line([(left, y), (right, y)], colour=GRID)
        surface.text(left - 8, y + 4, f"{10.0 ** (power + 3):g} ms", size=11, anchor="end", colour=FAINT)
    for r in rows:
        x = at(r["length"], 10.0**low)[0]
        surface.text(x, bottom + 18, f"{r['length']:.0f}", size=11, anchor="middle", colour=FAINT)
    surface.text(
        (left + right) / 2, bottom + 38, "tokens read before", size=12, anchor="middle", colour=FAINT
    )
    lines = (("anew", "everything anew", VERMILION, (6, 4)), ("cache", "with a cache", BLUE, ()))
    for name, words, colour, dash in lines:
        points = [at(r["length"], r[name]) for r in rows]
        surface.line(points, colour=colour, thick=2, dash=dash)
        for x, y in points:
            surface.dot(x, y, 3.5, fill=colour)
        surface.text(points[-1][0] + 10, points[-1][1] + 4, words, size=12, colour=INK)
    surface.save(folder / "cache.svg")
    return folder / "cache.svg"


if __name__ == "__main__":
    found = measure()
    print(table(found))
    print(draw(found))
