"""The report as one self-contained HTML page: facts, pictures, a table with bars. The pictures are ``plots``'."""

from __future__ import annotations

from typing import Any

from minigrad.pictures.svg import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILION, escape

from .plots import roofline, scaling, shares
from .report import against, away, busy, duration, entries, median, noise, size, verdict, yardstick
from .sides import BESIDE, OURS, PEERS

COLOURS = (
    BLUE,
    VERMILION,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    "#7a5c00",
    "#8fd14f",
    FAINT,
)  # further sides begin anew
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
    pictures = [draw(found, n, colours) for n in found["roofs"] for draw in (roofline, shares)]
    if len(found["roofs"]) > 1:
        pictures.append(scaling(found, colours))
    missing = "".join(f"<br/>{escape(side)} is not here: {escape(why)}" for side, why in away(found).items())
    told = "The run was interrupted: what it had measured is here. " if found["interrupted"] else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>minigrad bench</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>minigrad bench</h1>\n"
        f"<p>{escape(found['began'])}, {found['seconds']:.0f} s. {told}{escape('; '.join(noise(found)))}.{missing}</p>\n"
        f"<table>{facts}</table>\n" + "".join(f"<p>{p}</p>\n" for p in map(str, pictures)) + "<h2>Times and memory</h2>\n"
        "<p>The median of the rounds; shorter bars are better. The ratio is the faster torch's time over the side's (the "
        "reference's where there is no torch): above 1 the side is ahead. In brackets its 95 % bootstrap interval; a tie "
        "where that spans 1. Memory likewise, against the torch that needs less: the peak beyond what was held before the "
        "workload was built.</p>\n<table><tr><th>workload</th><th>side</th><th></th><th></th><th>of roof</th>"
        f"<th>ratio</th></tr>\n{_rows(found, colours)}</table>\n</body></html>\n"
    )  # fmt: skip


def colours_of(found: dict[str, Any]) -> dict[str, str]:
    """A colour for every side, the same in every run."""
    names = dict.fromkeys(
        [*(s.name for s in (*OURS, *PEERS, *BESIDE)), *(r["side"] for r in found["results"])]
    )
    colours = {n: COLOURS[i % len(COLOURS)] for i, n in enumerate(names)}
    return {r["side"]: colours[r["side"]] for r in found["results"]}


def _rows(found: dict[str, Any], colours: dict[str, str]) -> str:
    lines = []
    for workload, threads, results in entries(found):
        if not results:
            continue
        title = escape(workload) + _span(
            f", {threads} thread{'s' if threads > 1 else ''}{busy(results)}", "faint"
        )
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
