"""What a compiled function runs, as a table."""

from __future__ import annotations

from .passes import peak_bytes
from .program import Line, Program, row_of


def table(title: str, programs: list[Program]) -> str:
    """Calls, bytes and floating-point operations by function, the most bytes first."""
    figures: dict[str, list[float]] = {}
    for program in programs:
        for line in program.lines:
            found = figures.setdefault(line.name, [0, 0.0, 0.0])
            found[0] += 1
            if isinstance(line, Line):
                made = [v for v in line.results if v is not None]
                found[1] += sum(v.nbytes for v in {*line.reads()}) + sum(v.nbytes for v in made if not v.view)
                found[2] += _flops(line)
    rows = [("function", "calls", "MB moved", "MFLOP")]
    rows += [
        (name, f"{n:.0f}", f"{moved / 1e6:.3f}", f"{flops / 1e6:.3f}" if flops else "")
        for name, (n, moved, flops) in sorted(figures.items(), key=lambda f: -f[1][1])
    ]
    totals = [sum(f[i] for f in figures.values()) for i in range(3)]
    rows.append(("all", f"{totals[0]:.0f}", f"{totals[1] / 1e6:.3f}", f"{totals[2] / 1e6:.3f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    text = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    peak = max(map(peak_bytes, programs))
    return "\n".join([f"{title}: {peak / 1e6:.3f} MB of its own at most", *text])


def _flops(line: Line) -> float:
    """Of a row's forward, as the row says; rules don't say."""
    row, name = row_of(line.function)
    if row is None or "gradient" in name or not line.results or line.results[0] is None:
        return 0.0
    return row.work(list(line.args), line.results[0])
