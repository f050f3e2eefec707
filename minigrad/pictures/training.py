"""Pictures of a run: curves by epoch, a confusion matrix, a sheet of predictions.

Each function lays its picture out once and paints it on one of two surfaces: matplotlib's for PNG, ours
(``minigrad.pictures.svg``) for SVG. The path's suffix chooses; without one it is PNG where matplotlib is installed and
SVG where it isn't. Colours are Okabe and Ito's, and nothing is said by colour alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .svg import BLUE, FAINT, FONT, GRID, INK, PAPER, VERMILION, Point, Svg, png, shortened, text_width

SHEET = 10  # images in a row of the sheet of predictions


class Series(NamedTuple):
    """One line of a panel: its name, where its points are, and whether it is the second of its panel."""

    name: str
    x: list[float]
    y: list[float]
    second: bool


def curves(
    history: Any,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    names: tuple[str, str] = ("train", "validation"),
    rates: Sequence[float] = (),
) -> Path:
    """Draws every figure of a history by epoch: a panel each, ``loss`` together with ``val_loss``.

    ``history`` is a :class:`History`, or maps names to one value an epoch; its ``epoch``, where it has one,
    says which. None and NaN are gaps. ``names`` label the lines without and with the prefix ``val_``.
    ``rates`` is the learning rate of every step, drawn instead of those by epoch. Returns the file written.
    Raises ValueError when there is nothing to draw.
    """
    if hasattr(history, "history"):  # which counts epochs from 0
        history = {**history.history, "epoch": [e + 1 for e in history.epoch]}
    panels = _panels(history, names)
    if panels and len(rates):
        epochs = max(s.x[-1] for series in panels.values() for s in series)
        over = [epochs * k / len(rates) for k in range(len(rates))]
        panels = {k: v for k, v in panels.items() if not k.startswith("lr")}
        panels["lr"] = [Series(names[0], over, [float(r) for r in rates], False)]
    if not panels:
        raise ValueError(
            f"curves: expected figures by epoch, got a history with {sorted(history) or 'nothing'}"
        )
    across = min(len(panels), 3)
    width, height, top = 360.0, 270.0, 48.0 if title else 14.0
    rows = math.ceil(len(panels) / across)
    surface, file = _surface(path, across * width + 20, rows * height + top, title or "Curves by epoch")
    if title:
        surface.text(22, 32, shortened(title, across * width - 20, 16, bold=True), size=16, bold=True)
    for i, (name, series) in enumerate(panels.items()):
        _panel(
            surface,
            (i % across) * width + 12,
            top + (i // across) * height,
            width - 4,
            height - 10,
            name,
            series,
        )
    surface.save(file)
    return file


def _panels(history: Mapping[str, Sequence[Any]], names: tuple[str, str]) -> dict[str, list[Series]]:
    epochs = history.get("epoch")
    found: dict[str, list[Series]] = {}
    for key, values in history.items():
        if key == "epoch" or not len(values):
            continue
        y = [math.nan if v is None else float(v) for v in values]
        x = (
            [float(e) for e in epochs]
            if epochs is not None and len(epochs) == len(y)
            else [i + 1.0 for i in range(len(y))]
        )
        second = key.startswith("val_")
        panel = key.removeprefix("val_").removeprefix("train_")
        found.setdefault(panel, []).append(Series(names[second], x, y, second))
    for series in found.values():
        series.sort(key=lambda s: s.second)
    order = {"loss": 0, "accuracy": 1, "lr": 3, "learning_rate": 3}
    return {k: found[k] for k in sorted(found, key=lambda k: order.get(k, 2))}


def _panel(
    surface: Any, x: float, y: float, width: float, height: float, name: str, series: list[Series]
) -> None:
    left, right, top, bottom = x + 58, x + width - 12, y + 46, y + height - 40
    rate = name in ("lr", "learning_rate")
    words = "learning rate" if rate else name.replace("_", " ")
    surface.text(left, y + 14, shortened(words, right - left, 13, bold=True), size=13, bold=True)
    xs = [v for s in series for v in s.x]
    ys = [v for s in series for v in s.y if math.isfinite(v)] or [0.0, 1.0]
    x_low, x_high = min(xs), max(xs)
    aside = (x_high - x_low) * 0.03 or 0.5
    x_low, x_high = x_low - aside, x_high + aside
    low, high = min(ys), max(ys)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    y_low, y_high = low - room, high + room
    if rate and low >= 0:
        y_low = 0.0 if low < 0.5 * high else y_low

    def at(a: float, b: float) -> Point:
        return (
            left + (a - x_low) / (x_high - x_low) * (right - left),
            bottom - (b - y_low) / (y_high - y_low) * (bottom - top),
        )

    marks = ticks(y_low, y_high, 5)
    for value in marks:
        height_of = at(x_low, value)[1]
        surface.line([(left, height_of), (right, height_of)], colour=GRID)
        surface.text(left - 7, height_of + 3.5, _number(value, marks), size=10, anchor="end", colour=FAINT)
    for value in ticks(min(xs), max(xs), 8, whole=True):
        place = at(value, y_low)[0]
        surface.line([(place, bottom), (place, bottom + 4)], colour=FAINT)
        surface.text(place, bottom + 16, f"{value:.0f}", size=10, anchor="middle", colour=FAINT)
    surface.line([(left, top), (left, bottom), (right, bottom)], colour=FAINT)
    surface.text((left + right) / 2, bottom + 32, "epoch", size=11, anchor="middle", colour=FAINT)
    along, marked = left, max(len(s.x) for s in series) <= 30
    for s in series:
        colour = VERMILION if s.second else BLUE
        for piece in _pieces(s):
            points = [at(a, b) for a, b in piece]
            if len(points) > 1:
                surface.line(points, colour=colour, thick=2, dash=(6, 4) if s.second else ())
            if marked or len(points) == 1:
                for point in points:
                    _marker(surface, *point, s.second)
        last = f"{s.y[-1]:.{3 if rate else 4}g}" if math.isfinite(s.y[-1]) else "not finite"
        label = f"at the end {last}" if rate or len(series) == 1 and not s.second else f"{s.name} {last}"
        surface.line(
            [(along, y + 30), (along + 24, y + 30)], colour=colour, thick=2, dash=(6, 4) if s.second else ()
        )
        if marked:
            _marker(surface, along + 12, y + 30, s.second)
        surface.text(along + 30, y + 34, label, size=11)
        along += 48 + text_width(label, 11)


def _pieces(s: Series) -> Iterator[list[Point]]:
    """The stretches of a line between its gaps."""
    piece: list[Point] = []
    for a, b in zip(s.x, s.y, strict=True):
        if math.isfinite(b):
            piece.append((a, b))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _marker(surface: Any, x: float, y: float, second: bool) -> None:
    if second:
        surface.rect(x - 3, y - 3, 6, 6, fill=PAPER, stroke=VERMILION, thick=1.5)
    else:
        surface.dot(x, y, 3.2, fill=BLUE)


def ticks(low: float, high: float, about: int, whole: bool = False) -> list[float]:
    """Round values between low and high: multiples of 1, 2 or 5 times a power of ten, about that many."""
    raw = (high - low) / max(about, 1)
    if not raw > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    for step in (power, 2 * power, 5 * power, 10 * power):
        step = max(1.0, step) if whole else step
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first <= about:
            break
    return [k * step for k in range(first, last + 1)]


def _number(value: float, marks: Sequence[float]) -> str:
    largest = max(abs(m) for m in marks)
    if largest and not 1e-4 <= largest < 1e5:
        return f"{value:.3g}"
    step = marks[1] - marks[0] if len(marks) > 1 else largest or 1.0
    if abs(value) < step / 2:
        return "0"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def confusion(
    matrix: Any,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> Path:
    """Draws a confusion matrix: rows are the truth, columns the prediction, each cell its count and its
    share of the row. Blue is right, orange wrong, deeper for more.

    ``matrix`` is (C, C) counts for C class names. Returns the file written. Raises ValueError for another
    shape.
    """
    counts = np.asarray(matrix)
    n = len(classes)
    if counts.shape != (n, n) or n == 0:
        raise ValueError(
            f"confusion: expected counts ({n}, {n}) for {n} class names, got {tuple(counts.shape)}"
        )
    cell = 60.0 if n <= 12 else max(9.0, 720.0 / n)
    label = min(max(text_width(c, 11) for c in classes), 130.0) + 12
    left, top = 30 + label, 92.0
    side, slant = n * cell, label * 0.62 + 14
    width = max(left + side + 24, 430.0)
    surface, file = _surface(path, width, top + side + slant + 30, title or "Confusion matrix")
    surface.text(
        16, 30, shortened(title or "Confusion matrix", width - 32, 16, bold=True), size=16, bold=True
    )
    _scale(surface, 16, 48, "right", right=True)
    _scale(surface, 226, 48, "wrong", right=False)
    totals = counts.sum(axis=1)
    for i in range(n):
        for j in range(n):
            share = float(counts[i, j]) / float(totals[i]) if totals[i] else 0.0
            _cell(surface, left + j * cell, top + i * cell, cell, int(counts[i, j]), share, i == j)
    surface.rect(left, top, side, side, stroke=FAINT)
    every = math.ceil(13 / cell)  # labels that don't sit on each other
    for i in range(0, n, every):
        middle = i * cell + cell / 2
        name = shortened(classes[i], label - 10, 11)
        surface.text(left - 7, top + middle + 4, name, size=11, anchor="end")
        surface.text(left + middle + 5, top + side + 14, name, size=11, anchor="end", angle=-35)
    surface.text(18, top + side / 2, "truth", size=12, anchor="middle", colour=FAINT, bold=True, angle=-90)
    surface.text(
        left + side / 2,
        top + side + slant + 18,
        "prediction",
        size=12,
        anchor="middle",
        colour=FAINT,
        bold=True,
    )
    surface.save(file)
    return file


def _shade(share: float, right: bool) -> str:
    """White to blue by the share itself, white to orange by its root: rare mistakes are to be seen."""
    hue, amount = (BLUE, share) if right else (VERMILION, math.sqrt(share))
    parts = [int(hue[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (p - 255) * amount):02x}" for p in parts)


def _cell(surface: Any, x: float, y: float, cell: float, count: int, share: float, right: bool) -> None:
    shade = _shade(share, right)
    surface.rect(x, y, cell, cell, fill=shade, stroke=GRID, thick=0.6)
    if cell < 24:
        return
    dark = share > (0.55 if right else 0.36)
    ink = PAPER if dark else INK if count else "#9aa2ad"
    middle, share_shown = x + cell / 2, count > 0 and cell >= 44
    digits = min(13.0, 1.5 * cell / max(len(str(count)), 3))
    surface.text(
        middle,
        y + cell / 2 + (0 if share_shown else 4.5),
        str(count),
        size=digits,
        anchor="middle",
        colour=ink,
    )
    if share_shown:
        surface.text(middle, y + cell / 2 + 15, percent(share), size=10, anchor="middle", colour=ink)


def _scale(surface: Any, x: float, y: float, name: str, right: bool) -> None:
    for k in range(11):
        surface.rect(x + k * 16, y, 16, 10, fill=_shade(k / 10, right))
    surface.rect(x, y, 176, 10, stroke=GRID)
    surface.text(x, y + 23, "0 %", size=10, colour=FAINT)
    surface.text(x + 80, y + 23, f"{name}, of the row", size=10, anchor="middle", colour=FAINT)
    surface.text(x + 176, y + 23, "100 %", size=10, anchor="end", colour=FAINT)


def percent(share: float) -> str:
    """A share as one reads it: 86 %, 4.2 %; 100 % only for all of it."""
    value = 100 * share
    if not math.isfinite(value):
        return "nan"
    if 0.05 <= value < 9.95 or 99.5 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.0f} %"


def predictions(
    images: Any,
    truth: Any,
    predicted: Any,
    probability: Any,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    sections: Sequence[tuple[str, Sequence[int]]] | None = None,
) -> Path:
    """Draws images with what was predicted, how sure of it, and the truth; the wrong ones framed and crossed.

    ``images`` is (N, H, W), (N, 1, H, W) or (N, 3, H, W), uint8 or floats (0 is black; 1, or the largest
    value if that is more, is white); ``truth`` and ``predicted`` are (N,) class numbers, ``probability``
    (N,) is that of the prediction. ``truth`` may be None where it isn't known. ``sections`` are headings
    and the numbers of the images under them; without it the first 60 are shown. Returns the file written.
    """
    pixels, found, sure = _pixels(images), _host(predicted), _host(probability)
    known = None if truth is None else _host(truth)
    lengths = {len(pixels), len(found), len(sure), len(pixels if known is None else known)}
    if len(lengths) > 1:
        raise ValueError(
            f"predictions: expected as many truths, predictions and probabilities as images, got {len(pixels)} "
            f"images, {'no' if known is None else len(known)} truths, {len(found)} predictions and {len(sure)} "
            f"probabilities"
        )
    if sections is None:
        sections = [("", range(min(len(pixels), 60)))]
    tile, image, deep = 118.0, 88.0, 132.0 if known is not None else 116.0
    header = 74.0 if known is not None else 48.0
    heights = [(30 if name else 6) + deep * math.ceil(len(rows) / SHEET) for name, rows in sections]
    most = max([len(rows) for _, rows in sections] + [4])
    width = 32 + tile * min(SHEET, most)
    surface, file = _surface(path, width, header + sum(heights) + 8, title or "Predictions")
    surface.text(20, 32, shortened(title or "Predictions", width - 40, 16, bold=True), size=16, bold=True)
    if known is not None:
        surface.rect(21, 45, 14, 14, stroke=FAINT)
        surface.text(42, 57, "right", size=11, colour=FAINT)
        _frame_wrong(surface, 97, 45, 14)
        surface.text(119, 57, "wrong: framed and crossed", size=11, colour=FAINT)
    y = header
    for (name, rows), height in zip(sections, heights, strict=True):
        if name:
            surface.text(20, y + 16, shortened(name, width - 40, 13, bold=True), size=13, bold=True)
        for k, i in enumerate(rows):
            left = 16 + tile * (k % SHEET) + (tile - image) / 2
            top = y + (30 if name else 6) + deep * (k // SHEET)
            surface.image(left, top, image, image, pixels[i])
            caption = _caption(classes[int(found[i])], float(sure[i]), tile - 6)
            wrong = known is not None and int(found[i]) != int(known[i])
            if wrong:
                _frame_wrong(surface, left, top, image)
            else:
                surface.rect(left, top, image, image, stroke=FAINT)
            surface.text(left + image / 2, top + image + 14, caption, size=10, anchor="middle")
            if known is not None:
                words = shortened(f"truth: {classes[int(known[i])]}", tile - 6, 10, bold=wrong)
                surface.text(
                    left + image / 2, top + image + 27, words, size=10, anchor="middle", bold=wrong,
                    colour=VERMILION if wrong else FAINT,
                )  # fmt: skip
        y += height
    surface.save(file)
    return file


def _caption(name: str, sure: float, width: float) -> str:
    share = percent(sure)
    return f"{shortened(name, width - text_width(' ' + share, 10), 10)} {share}"


def _frame_wrong(surface: Any, x: float, y: float, side: float) -> None:
    surface.rect(x, y, side, side, stroke=VERMILION, thick=3)
    box = side * 0.22 if side > 40 else side
    left, top = x + side - box, y
    surface.rect(left, top, box, box, fill=VERMILION)
    a = box * 0.25
    surface.line([(left + a, top + a), (left + box - a, top + box - a)], colour=PAPER, thick=2)
    surface.line([(left + a, top + box - a), (left + box - a, top + a)], colour=PAPER, thick=2)


def _host(values: Any) -> np.ndarray:
    return values.numpy(force=True) if hasattr(values, "detach") else np.asarray(values)


def _pixels(images: Any) -> np.ndarray:
    array = _host(images)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        array = array[:, 0] if array.shape[1] == 1 else np.moveaxis(array, 1, 3)
    elif array.ndim != 3:
        raise ValueError(
            f"predictions: expected images (N, H, W), (N, 1, H, W) or (N, 3, H, W), got {tuple(array.shape)}"
        )
    if array.dtype == np.uint8:
        return array
    floats = np.nan_to_num(array.astype(np.float32))
    low, high = min(float(floats.min(initial=0)), 0.0), max(float(floats.max(initial=1)), 1.0)
    return ((floats - low) * (255 / (high - low))).round().astype(np.uint8)


# ---- surfaces --------------------------------------------------------------------------------------------


def _surface(path: str | os.PathLike[str], width: float, height: float, title: str) -> tuple[Any, Path]:
    file = Path(path)
    if file.suffix not in ("", ".png", ".svg"):
        raise ValueError(f"{file}: pictures are .png or .svg files; leave the suffix out to let it be chosen")
    if file.suffix == ".svg":
        return Svg(width, height, title), file
    try:
        return Raster(width, height, title), file.with_name(file.stem + ".png")
    except ImportError:
        if file.suffix == ".png":
            raise ImportError(
                f"{file}: PNG needs matplotlib: pip install matplotlib, or ask for .svg"
            ) from None
        return Svg(width, height, title), file.with_name(file.name + ".svg")


class Raster:
    """The surface that matplotlib paints: :class:`minigrad.pictures.svg.Svg`'s methods, saved as PNG."""

    def __init__(self, width: float, height: float, title: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.title = title
        self.figure = Figure(figsize=(width / 100, height / 100), dpi=200, facecolor=PAPER)
        FigureCanvasAgg(self.figure)  # no pyplot: it would keep the figure, and choose a window system
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.axes.set_axis_off()
        self.order = 0

    def _next(self) -> int:
        self.order += 1  # painted in the order of the calls
        return self.order

    def rect(
        self, x: float, y: float, width: float, height: float, *,
        fill: str = "none", stroke: str = "none", thick: float = 1.0,
    ) -> None:  # fmt: skip
        from matplotlib.patches import Rectangle

        self.axes.add_patch(
            Rectangle(
                (x, y), width, height, facecolor=fill, edgecolor=stroke, zorder=self._next(),
                linewidth=thick * 0.72 if stroke != "none" else 0,
            )
        )  # fmt: skip

    def line(
        self, points: Sequence[Point], *, colour: str = INK, thick: float = 1.0, dash: Sequence[float] = ()
    ) -> None:
        from matplotlib.lines import Line2D

        style: Any = (
            (0, [d / thick for d in dash]) if dash else "-"
        )  # matplotlib counts dashes in line widths
        self.axes.add_line(
            Line2D(
                [p[0] for p in points], [p[1] for p in points], color=colour, linewidth=thick * 0.72,
                linestyle=style, zorder=self._next(), solid_capstyle="round", solid_joinstyle="round",
            )
        )  # fmt: skip

    def dot(self, x: float, y: float, radius: float, *, fill: str) -> None:
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((x, y), radius, facecolor=fill, linewidth=0, zorder=self._next()))

    def text(
        self, x: float, y: float, words: str, *,
        size: float = 12, anchor: str = "start", colour: str = INK, bold: bool = False, angle: float = 0,
    ) -> None:  # fmt: skip
        self.axes.text(
            x, y, words, fontsize=size * 0.72, color=colour, rotation=-angle, rotation_mode="anchor",
            ha={"start": "left", "middle": "center", "end": "right"}[anchor], va="baseline", parse_math=False,
            fontweight="bold" if bold else "normal", zorder=self._next(),
            fontfamily=[f.strip() for f in FONT.split(",")][:1],
        )  # fmt: skip

    def image(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        self.axes.imshow(
            pixels, extent=(x, x + width, y + height, y), cmap="gray", vmin=0, vmax=255, aspect="auto",
            interpolation="nearest", zorder=self._next(),
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        from ..io.files import atomic_write

        with atomic_write(path) as f:
            self.figure.savefig(f, format="png", metadata={"Title": self.title, "Software": None})


__all__ = ["confusion", "curves", "percent", "png", "predictions", "ticks"]
