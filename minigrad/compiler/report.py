"""What a compiled function runs: calls, bytes, operations and seconds by function, as a table and as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..pictures.svg import BLUE, FAINT, GRID, Svg, shortened
from .blocks import Block
from .memory import Plan
from .passes import peak_bytes
from .program import Line, Program
from .rows import row_of


class Row(NamedTuple):
    """One function: how often a replay calls it, the bytes that it reads and writes, its flops, its seconds a replay.

    ``flops`` are those that a row declares of its forward, 0 for rules; ``seconds`` is None before anything was timed.
    """

    name: str
    calls: int
    bytes: int
    flops: float
    seconds: float | None


class Report:
    """The rows of a program, the costliest first; ``str()`` is the table, ``save(path)`` writes the picture as SVG."""

    def __init__(
        self, title: str, programs: list[Program], plans: list[Plan], seconds: dict[str, float], replays: int
    ) -> None:
        self.title, self.replays = title, replays
        self.planned = max((plan.size for plan in plans), default=0)  # bytes that the programs share
        self.left = sum(v.nbytes for plan in plans for v in plan.recycled)  # of what leaves them
        self.peak = self.planned + self.left if plans else max(map(peak_bytes, programs))
        found: dict[str, list[float]] = {}
        for program in programs:
            for line in program.lines:
                row = found.setdefault(line.name, [0, 0, 0.0])
                row[0] += 1
                if isinstance(line, (Line, Block)):
                    made = [v for v in line.results if v is not None and not v.view]
                    row[1] += sum(v.nbytes for v in {*line.reads(), *made})
                    row[2] += sum(map(_flops, line.lines if isinstance(line, Block) else [line]))
        rows = [
            Row(name, int(n), int(moved), flops, seconds.get(name, 0.0) / replays if replays else None)
            for name, (n, moved, flops) in found.items()
        ]
        self.rows = sorted(rows, key=lambda r: (-(r.seconds or 0.0), -r.bytes, r.name))

    def __str__(self) -> str:
        timed = self.replays > 0
        total = sum(r.seconds or 0.0 for r in self.rows)
        head = ["function", "calls", "MB moved", "MFLOP", *(["µs", "share"] if timed else [])]
        cells = [head, *(self._cells(r, total) for r in self.rows)]
        whole = Row("all", sum(r.calls for r in self.rows), sum(r.bytes for r in self.rows),
                    sum(r.flops for r in self.rows), total if timed else None)  # fmt: skip
        cells.append(self._cells(whole, total))
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = [
            "  ".join(
                c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        said = f"; times are means of {self.replays} replays" if timed else ""
        return "\n".join([f"{self.title}: {self._memory()}{said}", *lines])

    def _memory(self) -> str:
        if not self.planned + self.left:
            return f"arrays of its own hold {self.peak / 1e6:.3f} MB at most"
        return f"{self.planned / 1e6:.3f} MB are planned for its arrays, {self.left / 1e6:.3f} MB leave it"

    def _cells(self, r: Row, total: float) -> list[str]:
        cells = [r.name, str(r.calls), f"{r.bytes / 1e6:.3f}", f"{r.flops / 1e6:.3f}" if r.flops else ""]
        if r.seconds is not None:
            cells += [f"{r.seconds * 1e6:.1f}", f"{r.seconds / total:.0%}" if total else ""]
        return cells

    def svg(self) -> Svg:
        """A bar a function: its seconds where they were measured, else the bytes that it moves."""
        timed = self.replays > 0
        shown = [(r, (r.seconds or 0.0) * 1e6 if timed else r.bytes / 1e6) for r in self.rows]
        shown = sorted([(r, v) for r, v in shown if v > 0], key=lambda x: -x[1])
        unit, most = "µs" if timed else "MB moved", max((v for _, v in shown), default=1.0)
        surface = Svg(640, 62 + 22 * len(shown), self.title)
        surface.text(16, 26, f"{self.title}: {unit} a replay, by function", size=14, bold=True)
        for i, (r, value) in enumerate(shown):
            y = 44 + 22 * i
            surface.text(200, y + 13, shortened(r.name, 180), size=12, anchor="end")
            surface.rect(208, y, 340, 16, fill=GRID)
            surface.rect(208, y, max(340 * value / most, 1), 16, fill=BLUE)
            surface.text(556, y + 13, f"{value:.3g} ({r.calls}×)", size=11, colour=FAINT)
        return surface

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the picture; returns the path."""
        return self.svg().save(path)

    def _repr_svg_(self) -> str:
        return str(self.svg())


def _flops(line: Line) -> float:
    row, name = row_of(line.function)
    if row is None or "gradient" in name or not line.results or line.results[0] is None:
        return 0.0
    return row.work(list(line.args), line.results[0])
