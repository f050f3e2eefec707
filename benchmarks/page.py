"""The report as one self-contained HTML page: facts, a table with bars, a roofline and a scaling plot, all SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigrad.pictures.svg import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Svg,
    escape,
    shortened,
)
from minigrad.pictures.training import ticks

from .report import against, away, duration, entries, median, noise, size, verdict, yardstick

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, FAINT)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 1040px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100% } td, th { padding: 2px 10px 2px 0; text-align: left; vertical-align: middle }
th { border-bottom: 1px solid #dfe3e8 } tr.first td { border-top: 1px solid #dfe3e8; padding-top: 8px }
td.number { text-align: right; white-space: nowrap } .refused { color: #d55e00; font-weight: bold } .faint { color: #5b6472 }
td div { height: 12px } svg { max-width: 100%; height: auto }
"""


def html(found: dict[str, Any]) -> str:
    """The page."""
    facts = "".join(
        f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in found["machine"].items()
    )
    colours = colours_of(found)
    pictures = [roofline(found, n, colours) for n in found["roofs"]]
    if len(found["roofs"]) > 1:
        pictures.append(scaling(found, colours))
    missing = "".join(f"<br/>{escape(side)} is not here: {escape(why)}" for side, why in away(found).items())
    told = "The run was interrupted: what it had measured is here. " if found["interrupted"] else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>minigrad bench</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>minigrad bench</h1>\n"
        f"<p>{escape(found['began'])}, {found['seconds']:.0f} s. {told}{escape('; '.join(noise(found)).capitalize())}.{missing}</p>\n"
        f"<table>{facts}</table>\n" + "".join(f"<p>{p}</p>\n" for p in map(str, pictures)) + "<h2>Times and memory</h2>\n"
        "<p>The median of the rounds; shorter bars are better. The ratio is the faster torch's time over the side's (the "
        "reference's where there is no torch): above 1 the side is ahead. In brackets its 95 % bootstrap interval; a tie "
        "where that spans 1. Memory likewise, against the torch that needs less: the peak beyond what was held before the "
        "workload was built.</p>\n<table><tr><th>workload</th><th>side</th><th></th><th></th><th>of roof</th>"
        f"<th>ratio</th></tr>\n{_rows(found, colours)}</table>\n</body></html>\n"
    )  # fmt: skip


def colours_of(found: dict[str, Any]) -> dict[str, str]:
    """A colour for every side."""
    names = dict.fromkeys(r["side"] for r in found["results"])
    return {n: COLOURS[i % len(COLOURS)] for i, n in enumerate(names)}


def _rows(found: dict[str, Any], colours: dict[str, str]) -> str:
    lines = []
    for workload, threads, results in entries(found):
        title = escape(workload) + _span(f", {threads} thread{'s' if threads > 1 else ''}", "faint")
        lines += _block(title, "first", results, "seconds", colours)
        lines += _block("peak memory", "", [r for r in results if r["peaks"]], "peaks", colours)
    return "\n".join(lines)


def _block(
    title: str, kind: str, results: list[dict[str, Any]], of: str, colours: dict[str, str]
) -> list[str]:
    """The lines of a workload, by its sides' seconds or peaks."""
    lines, other = [], yardstick(results, of)
    longest = max((median(r, of) for r in results if r[of]), default=1.0)
    ahead = ("faster", "slower") if of == "seconds" else ("less", "more")
    for r in results:
        mark = "" if r["status"] in ("ok", "missing") else _span(r["status"], "refused") + " "
        cells = _cell(title, "" if kind else "faint") + _cell(escape(r["side"]))
        if r[of]:
            value = median(r, of)
            bar = max(1.0, 200 * value / longest)
            share = f"{r['floor'] / value:.0%}" if r["floor"] and of == "seconds" else ""
            told = escape(r["why"]) if mark else verdict(against(r, other, of), *ahead)
            cells += _cell(duration(value) if of == "seconds" else size(value), "number")
            cells += _cell(f'<div style="width: {bar:.0f}px; background: {colours[r["side"]]}"></div>')
            cells += _cell(share, "number") + _cell(mark + ("compared with" if r is other else told))
        else:
            cells += f'<td colspan="4">{mark}{escape(r["why"])}</td>'
        lines.append(f'<tr class="{kind}">{cells}</tr>' if title and kind else f"<tr>{cells}</tr>")
        title = ""
    return lines


def _cell(words: str, kind: str = "") -> str:
    return f'<td class="{kind}">{words}</td>' if kind else f"<td>{words}</td>"


def _span(words: str, kind: str) -> str:
    return f'<span class="{kind}">{escape(words)}</span>'


class Plot:
    """A frame whose points are data, with marks at the given values; logarithmic, or not."""

    def __init__(
        self, title: str, x: Sequence[float], y: Sequence[float], words: tuple[str, str], *,
        log: bool = False, room: float = 0.0,
    ) -> None:  # fmt: skip
        self.svg, self.log = Svg(1000, 520, title), log
        self.left, self.right, self.top, self.bottom = 74.0, 740.0, 46.0, 462.0
        self.x, self.y = (min(x) - room, max(x) + room), (min(y), max(y))
        self.svg.text(self.left, 24, title, size=16, bold=True)
        for value in x:
            px, _ = self.at(value, y[0])
            self.svg.line([(px, self.top), (px, self.bottom)], colour=GRID)
            self.svg.text(px, self.bottom + 18, f"{value:g}", anchor="middle", colour=FAINT)
        for value in y:
            _, py = self.at(x[0], value)
            self.svg.line([(self.left, py), (self.right, py)], colour=GRID)
            self.svg.text(self.left - 8, py + 4, f"{value:g}", anchor="end", colour=FAINT)
        self.svg.text((self.left + self.right) / 2, self.bottom + 40, words[0], anchor="middle")
        self.svg.text(20, (self.top + self.bottom) / 2, words[1], anchor="middle", angle=-90)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data is in the picture."""
        return (
            self.left + self._share(x, self.x) * (self.right - self.left),
            self.bottom - self._share(y, self.y) * (self.bottom - self.top),
        )

    def _share(self, value: float, limits: tuple[float, float]) -> float:
        low, high = limits
        if self.log:
            return math.log10(max(value, 1e-30) / low) / math.log10(high / low)
        return (value - low) / (high - low)

    def legend(self, lines: Sequence[tuple[str, str]], y: float) -> float:
        """Names beside dots of their colours, on the right; returns where the next legend can begin."""
        for i, (name, colour) in enumerate(lines):
            self.svg.dot(self.right + 24, y + 20 * i - 4, 5, fill=colour)
            self.svg.text(self.right + 36, y + 20 * i, shortened(name, 210))
        return y + 20 * len(lines) + 14

    def numbered(self, names: Sequence[str], y: float) -> None:
        """What the numbers beside points stand for."""
        for i, name in enumerate(names[:16]):
            self.svg.text(self.right + 20, y + 17 * i, shortened(f"{i + 1}  {name}", 230, 11), size=11)
        if len(names) > 16:
            self.svg.text(self.right + 20, y + 17 * 16, f"and {len(names) - 16} more", size=11, colour=FAINT)


def roofline(found: dict[str, Any], threads: str, colours: dict[str, str]) -> Svg:
    """Operations a second over operations a byte, below the roof. Source: Williams et al., Roofline, CACM 52, 2009."""
    roof = found["roofs"][threads]
    rates = {int(k): v for k, v in roof["bandwidth"].items()}
    slopes = {"memory": rates[max(rates)], "cache": max(rates.values())}
    shown = [
        r for r in found["results"]
        if str(r["threads"]) == threads and r["seconds"] and r["flops"] and r["bytes"]
    ]  # fmt: skip
    at = [(r["flops"] / r["bytes"], r["flops"] / median(r) / 1e9) for r in shown]
    xs, ys = [x for x, _ in at] or [1.0], [y for _, y in at] or [1.0]
    high, low = max(*ys, roof["flops"] / 1e9), min(ys)
    right = max(*xs, 2 * roof["flops"] / slopes["memory"])
    plot = Plot(
        f"Roofline, {threads} thread{'s' if threads != '1' else ''}",
        _decades(min(*xs, 0.5), right), _decades(low, high), ("flops a byte", "GFLOP/s"), log=True,
    )  # fmt: skip
    top = roof["flops"] / 1e9
    for name, rate in slopes.items():
        ridge = roof["flops"] / rate
        start = max(plot.x[0], plot.y[0] * 1e9 / rate)
        dash = () if name == "memory" else (5, 4)
        points = [plot.at(start, start * rate / 1e9), plot.at(ridge, top)]
        plot.svg.line(points, colour=INK, thick=1.5, dash=dash)
        (x, y), angle = plot.at(start, start * rate / 1e9), _angle(points)
        along = math.hypot(points[1][0] - x, points[1][1] - y) * 0.3
        x, y = x + along * math.cos(math.radians(angle)), y + along * math.sin(math.radians(angle))
        plot.svg.text(x, y - 6, f"{name} {rate / 1e9:.0f} GB/s", size=11, colour=FAINT, angle=angle)
    ridge = roof["flops"] / slopes["cache"]
    plot.svg.line([plot.at(ridge, top), plot.at(plot.x[1], top)], thick=1.5)
    words = f"matrix product {top:.0f} GFLOP/s"
    plot.svg.text(plot.right - 4, plot.at(1, top)[1] - 6, words, size=11, colour=FAINT, anchor="end")
    names = list(dict.fromkeys(r["workload"] for r in shown))
    for r, (x, y) in zip(shown, at, strict=True):
        px, py = plot.at(x, y)
        plot.svg.dot(px, py, 5, fill=colours[r["side"]])
        plot.svg.text(px + 7, py + 4, str(names.index(r["workload"]) + 1), size=10, colour=FAINT)
    below = plot.legend([(s, colours[s]) for s in dict.fromkeys(r["side"] for r in shown)], plot.top + 12)
    plot.numbered(names, below)
    return plot.svg


def scaling(found: dict[str, Any], colours: dict[str, str]) -> Svg:
    """How many times as fast each side is with more threads than with the fewest; the dashes are the ideal."""
    counts = sorted(int(n) for n in found["roofs"])
    lines: dict[tuple[str, str], dict[int, float]] = {}
    for r in found["results"]:
        if r["seconds"] and r["status"] == "ok":
            lines.setdefault((r["workload"], r["side"]), {})[r["threads"]] = median(r)
    shown = {k: {n: v[counts[0]] / v[n] for n in v} for k, v in lines.items() if len(v) == len(counts)}
    values = [s for v in shown.values() for s in v.values()] or [1.0]
    high = max(*values, counts[-1] / counts[0])
    plot = Plot("Scaling", counts, [0.0, *ticks(0.0, high * 1.2, 8)], ("threads", "times as fast"), room=0.1)
    plot.svg.line([plot.at(n, n / counts[0]) for n in counts], colour=FAINT, dash=(5, 4))
    names = list(dict.fromkeys(w for w, _ in shown))
    for (workload, side), speed in shown.items():
        points = [plot.at(n, speed[n]) for n in counts]
        plot.svg.line(points, colour=colours[side])
        plot.svg.dot(*points[-1], 3.5, fill=colours[side])
        plot.svg.text(
            points[-1][0] + 6, points[-1][1] + 4, str(names.index(workload) + 1), size=10, colour=FAINT
        )
    below = plot.legend([(s, colours[s]) for s in dict.fromkeys(s for _, s in shown)], plot.top + 12)
    plot.numbered(names, below)
    return plot.svg


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around a range."""
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high) + 1e-9)
    return [10.0**k for k in range(bottom, max(top, bottom + 1) + 1)]


def _angle(points: Sequence[tuple[float, float]]) -> float:
    (x0, y0), (x1, y1) = points[0], points[-1]
    return math.degrees(math.atan2(y1 - y0, x1 - x0))
