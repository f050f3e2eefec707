"""Pictures of what a model of text does: where its heads look, and vectors in a plane.

Surfaces, suffixes and colours are ``training``'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .svg import BLUE, FAINT, GREEN, GRID, INK, ORANGE, PURPLE, SKY, VERMILION, shortened, text_width
from .training import _host, _number, _surface, percent, ticks

HUES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK)
MAP = 104.0  # a map's side


def attention(
    weights: Any, tokens: Sequence[str], path: str | os.PathLike[str], *, columns: Sequence[str] | None = None,
    title: str = "Attention",
) -> Path:  # fmt: skip
    """Draws a map for each head of each layer: a row is a token, the columns what it looks at, darker for more.

    ``weights`` is (layers, heads, T, S), or a list with (heads, T, S) of each layer, each row summing to one; ``tokens``
    has the T names of the rows, ``columns`` the S of what they look at, the same unless given. Returns the file written.
    Raises ValueError for other shapes.
    """
    maps, columns = [_host(w) for w in weights], tokens if columns is None else columns
    rows, across = len(tokens), len(columns)
    if not maps or any(m.ndim != 3 or m.shape[1:] != (rows, across) for m in maps):
        shapes = ", ".join(str(tuple(m.shape)) for m in maps[:3]) or "nothing"
        raise ValueError(f"attention: expected (heads, {rows}, {across}) of each layer for {rows} tokens that look at {across}, "
                         f"got {shapes}; of a batch pass one sequence: [w[0] for w in attentions]")  # fmt: skip
    heads, longer = max(len(m) for m in maps), max(rows, across)
    cell = max(MAP, min(8.0 * longer, 460.0 if len(maps) * heads <= 4 else MAP)) / longer
    wide, high = cell * across, cell * rows
    named, size = cell >= 5.0, min(9.0, 0.95 * cell)

    def room(names: Sequence[str]) -> float:
        longest = max([0.0, *(text_width(_token(t), size) for t in names)])
        return min(longest + 6, 90.0) if named else 16.0

    left, below = 56 + room(tokens), room(columns) if named else 6.0
    top, width = 92.0, max(left + heads * (wide + 10) + 12, 420.0)
    surface, file = _surface(path, width, top + len(maps) * (high + 10) + below + 10, title)
    surface.text(16, 30, shortened(title, width - 32, 16, bold=True), size=16, bold=True)
    for k in range(11):
        surface.rect(16 + k * 12, 42, 12, 9, fill=_hex(_shades(np.array([[k / 10]]))[0, 0]))
    surface.rect(16, 42, 132, 9, stroke=GRID)
    surface.text(156, 50, "0 to 100 % of a row; rows look at columns", size=10, colour=FAINT)
    for j in range(heads):
        surface.text(
            left + j * (wide + 10) + wide / 2,
            top - 8,
            f"head {j + 1}",
            size=10,
            anchor="middle",
            colour=FAINT,
        )
    for i, layer in enumerate(maps):
        y = top + i * (high + 10)
        surface.text(
            24, y + high / 2, f"layer {i + 1}", size=11, anchor="middle", colour=FAINT, bold=True, angle=-90
        )
        for j, one in enumerate(layer):
            surface.image(left + j * (wide + 10), y, wide, high, _shades(one))
            surface.rect(left + j * (wide + 10), y, wide, high, stroke=GRID)
        for k, token in enumerate(tokens if named else ()):
            name = shortened(_token(token), room(tokens) - 4, size)
            surface.text(left - 4, y + (k + 0.5) * cell + 0.35 * size, name, size=size, anchor="end")
    for j in range(heads if named else 0):
        for k, token in enumerate(columns):
            place, name = (
                left + j * (wide + 10) + (k + 0.5) * cell + 0.35 * size,
                shortened(_token(token), below - 4, size),
            )
            surface.text(place, top + len(maps) * (high + 10) - 6, name, size=size, anchor="end", angle=-90)
    surface.save(file)
    return file


def _token(token: str) -> str:
    """A token as one reads it: byte-level BPE writes spaces as Ġ."""
    return token.replace("Ġ", "·").replace("Ċ", "↵") or "·"


def _shades(weights: Any) -> np.ndarray:
    """uint8 (T, T, 3): white for 0, by the root to blue, and on to black for 1, since most weights are small."""
    amount = np.sqrt(np.clip(np.nan_to_num(np.asarray(weights, np.float64)), 0, 1))[..., None]
    hue = np.array([int(BLUE[k : k + 2], 16) for k in (1, 3, 5)], np.float64)
    light = 255 + (hue - 255) * np.minimum(1, amount / 0.7)
    dark = hue * (1 - np.maximum(0, amount - 0.7) / 0.3 * 0.75)
    return np.where(amount <= 0.7, light, dark).round().astype(np.uint8)


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(v):02x}" for v in colour)


def principal(vectors: Any, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, D) along the directions in which they differ most, (N, k), and the share of variance of each (k,).

    X − x̄ = U S Vᵀ; the coordinates are U S, the shares S² / Σ S² (Pearson, 1901). Each direction's largest
    part is positive, so that the signs are no accident. Directions that there aren't are zeros.
    """
    x = _host(vectors).astype(np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"principal: expected finite vectors (N, D), got {tuple(x.shape)}")
    u, s, v = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])
    points, shares = np.zeros((len(x), components)), np.zeros(components)
    n = min(components, len(s))
    points[:, :n] = (u * s * signs)[:, :n]
    if (total := (s**2).sum()) > 0:
        shares[:n] = s[:n] ** 2 / total
    return points, shares


def projection(
    vectors: Any, names: Sequence[str], path: str | os.PathLike[str], *, groups: Sequence[Any] | None = None, title: str = "Embeddings"
) -> Path:  # fmt: skip
    """Draws vectors (N, D) in the plane of their first two principal components, each a dot with its name where there is room.

    ``groups`` (N,) are drawn in colours of their own, and named. Returns the file written. Raises ValueError for
    another number of names or groups, and for vectors that aren't finite.
    """
    points, shares = principal(vectors)
    for what, given in (("names", names), ("groups", groups)):
        if given is not None and len(given) != len(points):
            raise ValueError(f"projection: expected {len(points)} {what}, one a vector, got {len(given)}")
    width, height = 760.0, 600.0
    kinds = list(dict.fromkeys(groups)) if groups is not None else []
    surface, file = _surface(path, width, height, title)
    surface.text(16, 30, shortened(title, width - 32, 16, bold=True), size=16, bold=True)
    along = 66.0
    for k, kind in enumerate(kinds):
        words = shortened(str(kind), 150, 11)
        if along + text_width(words, 11) + 30 > width:
            break
        _mark(surface, along, 48, k)
        surface.text(along + 9, 52, words, size=11)
        along += 30 + text_width(words, 11)
    left, right, top, bottom = 66.0, width - 20, 66.0, height - 52
    # one scale for both directions: distances are to be seen as they are
    spans = np.ptp(points, axis=0)
    unit = max(spans[0] / (right - left - 60), spans[1] / (bottom - top - 50)) or 1.0
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    places = np.stack(
        [
            (left + right) / 2 + (points[:, 0] - middle[0]) / unit,
            (top + bottom) / 2 - (points[:, 1] - middle[1]) / unit,
        ],
        axis=1,
    )
    low = middle[0] - unit * (right - left) / 2, middle[1] - unit * (bottom - top) / 2
    high = middle[0] + unit * (right - left) / 2, middle[1] + unit * (bottom - top) / 2
    marks = ticks(low[0], high[0], 7)
    for value in marks:
        x = left + (value - low[0]) / unit
        surface.line([(x, top), (x, bottom)], colour=GRID)
        surface.text(x, bottom + 16, _number(value, marks), size=10, anchor="middle", colour=FAINT)
    marks = ticks(low[1], high[1], 6)
    for value in marks:
        y = bottom - (value - low[1]) / unit
        surface.line([(left, y), (right, y)], colour=GRID)
        surface.text(left - 7, y + 3.5, _number(value, marks), size=10, anchor="end", colour=FAINT)
    surface.line([(left, top), (left, bottom), (right, bottom)], colour=FAINT)
    first, second = (f"component {k + 1}: {percent(s)} of the variance" for k, s in enumerate(shares))
    surface.text((left + right) / 2, bottom + 36, first, size=11, anchor="middle", colour=FAINT)
    surface.text(18, (top + bottom) / 2, second, size=11, anchor="middle", colour=FAINT, angle=-90)
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for i, (x, y) in enumerate(places):
        _mark(surface, x, y, kinds.index(groups[i]) if groups is not None else 0)
    for name, (x, y) in zip(names, places, strict=True):
        words = shortened(str(name), 230, 10)
        wide = text_width(words, 10)
        for start, line in (
            (x + 8, y + 3.5), (x - 8 - wide, y + 3.5), (x - wide / 2, y - 9), (x - wide / 2, y + 17),
            (x, y - 9), (x, y + 17), (x - wide, y - 9), (x - wide, y + 17),
        ):  # fmt: skip
            box = (start, line - 9, start + wide, line + 3)
            inside = left < box[0] and box[2] < right and top < box[1] and box[3] < bottom
            if words and inside and not any(_meet(box, other) for other in boxes):
                surface.text(start, line, words, size=10)
                boxes.append(box)
                break
    surface.save(file)
    return file


def _mark(surface: Any, x: float, y: float, kind: int) -> None:
    """A group's mark: hue and shape, for nothing is said by colour alone."""
    hue = HUES[kind % len(HUES)]
    if kind % 2 == 0:
        surface.dot(x, y, 4, fill=hue)
    else:
        surface.rect(x - 3.5, y - 3.5, 7, 7, fill=hue)


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


__all__ = ["attention", "principal", "projection"]
