"""A drawing surface that becomes an SVG file: rectangles, lines, text and small images, in pixels, y down.

What lives here: the elements, their escaping, and how wide text is. What doesn't: layout, which belongs to
what is drawn (``graph``, ``training``). Files stand alone: no fonts, scripts or links.
"""

from __future__ import annotations

import base64
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

INK, FAINT, GRID, PAPER = "#1f2430", "#5b6472", "#dfe3e8", "#ffffff"
# M. Okabe, K. Ito, Color Universal Design, 2008: hues that colour-blind readers tell apart
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
# what XML 1.0 (section 2.2) has no place for, escaped or not
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW, _BROAD = frozenset("ijltfrI.,:;'|!()[]/ "), frozenset("mwMW@%")

Point = tuple[float, float]


class Svg:
    """Collects elements in the order they are painted; ``str()`` is the file."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.elements: list[str] = []
        self.rect(0, 0, width, height, fill=PAPER)

    def rect(
        self, x: float, y: float, width: float, height: float, *,
        fill: str = "none", stroke: str = "none", thick: float = 1.0, radius: float = 0.0,
        dash: Sequence[float] = (),
    ) -> None:  # fmt: skip
        edge = f' stroke="{stroke}" stroke-width="{_n(thick)}"{_dashes(dash)}' if stroke != "none" else ""
        corner = f' rx="{_n(radius)}"' if radius else ""
        self.elements.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{corner} '
            f'fill="{fill}"{edge}/>'
        )

    def line(
        self, points: Sequence[Point], *, colour: str = INK, thick: float = 1.0, dash: Sequence[float] = ()
    ) -> None:
        """Straight pieces through the points."""
        through = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self.elements.append(
            f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="{_n(thick)}" '
            f'stroke-linejoin="round" stroke-linecap="round"{_dashes(dash)}/>'
        )

    def curve(self, points: Sequence[Point], *, colour: str = INK, thick: float = 1.0) -> None:
        """A line downwards through the points that leaves and reaches each of them vertically."""
        (x0, y0), *rest = points
        steps = [f"M{_n(x0)} {_n(y0)}"]
        for x, y in rest:
            middle = _n((y0 + y) / 2)
            steps.append(f"C{_n(x0)} {middle} {_n(x)} {middle} {_n(x)} {_n(y)}")
            x0, y0 = x, y
        self.elements.append(
            f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="{_n(thick)}"/>'
        )

    def area(self, points: Sequence[Point], *, fill: str) -> None:
        """A filled polygon."""
        corners = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self.elements.append(f'<polygon points="{corners}" fill="{fill}"/>')

    def dot(self, x: float, y: float, radius: float, *, fill: str) -> None:
        self.elements.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{fill}"/>')

    def text(
        self, x: float, y: float, words: str, *,
        size: float = 12, anchor: str = "start", colour: str = INK, bold: bool = False, angle: float = 0,
    ) -> None:  # fmt: skip
        """One line of text on the baseline y, its start, middle or end at x; ``angle`` in degrees, clockwise."""
        turned = f' transform="rotate({_n(angle)} {_n(x)} {_n(y)})"' if angle else ""
        self.elements.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"'
            + (f' text-anchor="{anchor}"' if anchor != "start" else "")
            + (' font-weight="bold"' if bold else "")
            + f' fill="{colour}"{turned}>{escape(words)}</text>'
        )

    def image(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        """uint8 pixels, grey (H, W) or colour (H, W, 3), each a sharp rectangle at any size."""
        each = max(1, round(2 * width / pixels.shape[1]))  # viewers that smooth have nothing left to smooth
        data = base64.b64encode(png(pixels.repeat(each, axis=0).repeat(each, axis=1))).decode()
        self.elements.append(
            f'<image x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'preserveAspectRatio="none" image-rendering="pixelated" href="data:image/png;base64,{data}"/>'
        )

    def __str__(self) -> str:
        w, h = _n(self.width), _n(self.height)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" '
            f'role="img" font-family="{FONT}">\n<title>{escape(self.title)}</title>\n'
            + "\n".join(self.elements)
            + "\n</svg>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the file, whole or not at all."""
        from ..io.files import atomic_write

        with atomic_write(path, "w") as f:
            f.write(str(self))
        return Path(path)


def escape(words: str) -> str:
    """Text as XML holds it; what XML can't hold (control characters, lone surrogates) becomes U+FFFD."""
    words = _NOT_XML.sub("\ufffd", words)
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def text_width(words: str, size: float = 12, bold: bool = False) -> float:
    """About how wide text is, in a wide sans-serif font: layouts made with it hold in narrower ones."""
    wide = sum(
        0.0 if unicodedata.combining(c)
        else 1.0 if c in _BROAD or unicodedata.east_asian_width(c) in "WF"
        else 0.38 if c in _NARROW
        else 0.7 if c.isupper()
        else 0.63
        for c in words
    )  # fmt: skip
    return wide * size * (1.1 if bold else 1.0)


def shortened(words: str, width: float, size: float = 12, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits, and an ellipsis."""
    words = " ".join(words.split())
    if text_width(words, size, bold) <= width:
        return words
    while words and text_width(words + "…", size, bold) > width:
        words = words[:-1]
    return words.rstrip() + "…"


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels, grey (H, W) or colour (H, W, 3). Source: W3C, Portable Network Graphics, 2003."""
    pixels = np.ascontiguousarray(pixels)
    if (
        pixels.dtype != np.uint8
        or not (pixels.ndim == 2 or pixels.ndim == 3 and pixels.shape[2] == 3)
        or not pixels.size
    ):
        raise ValueError(f"png: expected uint8 pixels (H, W) or (H, W, 3), got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each row opens with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    )


def _n(value: Any) -> str:
    """A coordinate, to a hundredth of a pixel."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


def _dashes(dash: Sequence[float]) -> str:
    return f' stroke-dasharray="{" ".join(_n(d) for d in dash)}"' if dash else ""
