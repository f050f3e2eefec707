"""The report's pictures, as SVG: the roofline, how near to the roof every side comes, and how it scales with threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.pictures.svg import FAINT, GRID, INK, Svg, shortened, text_width
from minigrad.pictures.training import ticks

from .report import median

MOST = 40  # workloads in a picture: a run of the whole op table has hundreds
Place = Callable[[float], float]


def logarithmic(low: float, high: float, start: float, end: float) -> Place:
    """Where a value is between two ends of an axis."""
    return lambda value: start + math.log(max(value, low) / low) / math.log(high / low) * (end - start)


def linear(low: float, high: float, start: float, end: float) -> Place:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def legend(svg: Svg, sides: Sequence[str], colours: dict[str, str], x: float, y: float) -> None:
    """Sides beside dots of their colours, one below the other."""
    for i, side in enumerate(sides):
        svg.dot(x, y + 20 * i - 4, 5, fill=colours[side])
        svg.text(x + 12, y + 20 * i, shortened(side, 210))


def timed(found: dict[str, Any], threads: str) -> list[dict[str, Any]]:
    """Results that have a time, of at most so many workloads."""
    shown = [r for r in found["results"] if str(r["threads"]) == threads and r["seconds"]]
    first = [*dict.fromkeys(r["workload"] for r in shown)][:MOST]
    return [r for r in shown if r["workload"] in first]


def roofline(found: dict[str, Any], threads: str, colours: dict[str, str]) -> Svg:
    """Operations a second over operations a byte, below the roof. Source: Williams et al., Roofline, CACM 52, 2009."""
    roof = found["roofs"][threads]
    rates = {int(k): v for k, v in roof["bandwidth"].items()}
    slopes = {"memory": rates[max(rates)], "cache": max(rates.values())}
    shown = [r for r in timed(found, threads) if r["flops"] and r["bytes"]]
    at = [(r["flops"] / r["bytes"], r["flops"] / median(r) / 1e9) for r in shown]
    top = roof["flops"] / 1e9
    xs = decades(min([0.5, *(x for x, _ in at)]), max([2e9 * top / slopes["memory"], *(x for x, _ in at)]))
    ys = decades(min([top / 10, *(y for _, y in at)]), max([top, *(y for _, y in at)]))
    left, right, upper, lower = 74.0, 740.0, 46.0, 462.0
    px, py = logarithmic(xs[0], xs[-1], left, right), logarithmic(ys[0], ys[-1], lower, upper)
    svg = Svg(1000, 520, f"Roofline, {_threads(threads)}")
    svg.text(left, 24, svg.title, size=16, bold=True)
    for x in xs:
        svg.line([(px(x), upper), (px(x), lower)], colour=GRID)
        svg.text(px(x), lower + 18, f"{x:g}", anchor="middle", colour=FAINT)
    for y in ys:
        svg.line([(left, py(y)), (right, py(y))], colour=GRID)
        svg.text(left - 8, py(y) + 4, f"{y:g}", anchor="end", colour=FAINT)
    svg.text((left + right) / 2, lower + 40, "flops a byte", anchor="middle")
    svg.text(20, (upper + lower) / 2, "GFLOP/s", anchor="middle", angle=-90)
    for name, rate in slopes.items():
        start, ridge = max(xs[0], ys[0] * 1e9 / rate), roof["flops"] / rate
        ends = [(px(start), py(start * rate / 1e9)), (px(ridge), py(top))]
        svg.line(ends, thick=1.5, dash=() if name == "memory" else (5, 4))
        (x0, y0), (x1, y1) = ends
        angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
        svg.text(
            x0 + 0.3 * (x1 - x0), y0 + 0.3 * (y1 - y0) - 6, f"{name} {rate / 1e9:.0f} GB/s",
            size=11, colour=FAINT, angle=angle,
        )  # fmt: skip
    svg.line([(px(roof["flops"] / slopes["cache"]), py(top)), (right, py(top))], thick=1.5)
    svg.text(
        left + 6, py(top) - 6, f"matrix product {top:.0f} GFLOP/s", size=11, colour=FAINT
    )  # left of the numbers
    names = list(dict.fromkeys(r["workload"] for r in shown))
    for r, (x, y) in zip(shown, at, strict=True):
        svg.dot(px(x), py(y), 5, fill=colours[r["side"]])
    taken: list[tuple[float, float]] = []  # one number for a workload, above its fastest side
    for i, name in enumerate(names):
        mine = [p for r, p in zip(shown, at, strict=True) if r["workload"] == name]
        x, y = px(mine[0][0]), py(max(y for _, y in mine)) - 9
        while any(abs(x - a) < 16 and abs(y - b) < 11 for a, b in taken):
            y -= 12
        taken.append((x, y))
        svg.text(x, y, str(i + 1), size=11, anchor="middle", bold=True)
    sides = list(dict.fromkeys(r["side"] for r in shown))
    legend(svg, sides, colours, right + 24, upper + 12)
    below = upper + 26 + 20 * len(sides)
    lines = [f"{i + 1}  {name}" for i, name in enumerate(names)]
    fits = int((520 - below) / 17)
    if len(lines) > fits:
        lines[fits - 1 :] = [f"and {len(lines) - fits + 1} more"]
    for i, words in enumerate(lines):
        svg.text(right + 20, below + 17 * i, shortened(words, 235, 11), size=11)
    return svg


def shares(found: dict[str, Any], threads: str, colours: dict[str, str]) -> Svg:
    """What part of the roof each side reaches, workload by workload: those that only move bytes too."""
    shown = [r for r in timed(found, threads) if r["floor"]]
    names = list(dict.fromkeys(r["workload"] for r in shown))
    part = {(r["workload"], r["side"]): r["floor"] / median(r) for r in shown}
    marks = decades(min([0.1, *part.values()]), 1.0)
    left, right, upper, step = 290.0, 840.0, 64.0, 20.0
    lower = upper + step * max(1, len(names))
    svg = Svg(
        1000,
        max(lower + 40, upper + 20 * len({s for _, s in part}) + 20),
        f"Of the roof, {_threads(threads)}",
    )
    svg.text(20, 24, svg.title, size=16, bold=True)
    place = logarithmic(marks[0], 1.0, left, right - 20)
    for share in marks:
        svg.line([(place(share), upper - 8), (place(share), lower)], colour=INK if share == 1 else GRID)
        svg.text(place(share), upper - 14, f"{100 * share:g} %", anchor="middle", colour=FAINT)
    for i, name in enumerate(names):
        y = upper + step * (i + 0.5)
        svg.text(left - 12, y + 4, shortened(name, left - 24), anchor="end")
        svg.line([(left, y), (right - 20, y)], colour=GRID)
        for side in colours:
            if (name, side) in part:
                svg.dot(place(part[name, side]), y, 4.5, fill=colours[side])
    legend(svg, [s for s in colours if any(s == side for _, side in part)], colours, right + 14, upper + 8)
    return svg


def scaling(found: dict[str, Any], colours: dict[str, str]) -> Svg:
    """How many times as fast each side is with more threads than with the fewest, a frame for each workload.

    The dashes are the ideal.
    """
    counts = sorted(int(n) for n in found["roofs"])
    speed: dict[str, dict[str, dict[int, float]]] = {}
    for n in counts:
        for r in timed(found, str(n)):
            if r["status"] == "ok":
                speed.setdefault(r["workload"], {}).setdefault(r["side"], {})[n] = median(r)
    for lines in speed.values():
        for side in [s for s, seconds in lines.items() if len(seconds) < len(counts)]:
            del lines[side]
    names = [n for n, lines in speed.items() if lines]
    sides = [s for s in colours if any(s in speed[n] for n in names)]
    columns, width, height, upper = 4, 250, 170, 76
    down = -(-max(1, len(names)) // columns)
    svg = Svg(columns * width, upper + height * down, "Scaling: times as fast over threads")
    svg.text(20, 24, svg.title, size=16, bold=True)
    x = 26.0
    for side in sides:
        svg.dot(x, 46, 5, fill=colours[side])
        svg.text(x + 10, 50, shortened(side, 90))
        x += 34 + min(90.0, text_width(side))
    for i, name in enumerate(names):
        ratios = {s: [t[counts[0]] / t[n] for n in counts] for s, t in speed[name].items()}
        corner = (i % columns * width, upper + i // columns * height)
        _panel(svg, corner, name, counts, ratios, colours)
    return svg


def _panel(
    svg: Svg, corner: tuple[float, float], name: str, counts: Sequence[int], ratios: dict[str, list[float]],
    colours: dict[str, str],
) -> None:  # fmt: skip
    """One workload: a line for each side."""
    left, right, upper, lower = corner[0] + 34, corner[0] + 236, corner[1] + 20, corner[1] + 138
    ideal = [n / counts[0] for n in counts]
    high = max(ideal[-1], *(v for line in ratios.values() for v in line)) * 1.1
    px, py = linear(counts[0], counts[-1], left + 8, right - 8), linear(0.0, high, lower, upper)
    svg.text(left, upper - 6, shortened(name, 216, 10), size=10)
    for y in ticks(0.0, high, 4):
        svg.line([(left, py(y)), (right, py(y))], colour=GRID)
        svg.text(left - 6, py(y) + 4, f"{y:g}", size=10, anchor="end", colour=FAINT)
    for n in counts:
        svg.text(px(n), lower + 14, str(n), size=10, anchor="middle", colour=FAINT)
    svg.line([(px(n), py(v)) for n, v in zip(counts, ideal, strict=True)], colour=FAINT, dash=(4, 3))
    for side, line in ratios.items():
        points = [(px(n), py(v)) for n, v in zip(counts, line, strict=True)]
        svg.line(points, colour=colours[side], thick=1.5)
        svg.dot(*points[-1], 3, fill=colours[side])


def decades(low: float, high: float) -> list[float]:
    """Powers of ten around a range."""
    bottom, top = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return [10.0**k for k in range(bottom, max(top, bottom + 1) + 1)]


def _threads(n: str) -> str:
    return f"{n} thread{'s' if n != '1' else ''}"
