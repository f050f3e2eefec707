"""``minigrad.draw``: the graph behind a tensor as an SVG picture, inputs at the top, the tensor at the bottom.

What the boxes say is decided here; where they stand is ``layered``'s, how the file is written ``svg``'s. The
graph is only read: nothing is run, no gradient is touched.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import backend, errors
from ..autograd import Node, Variable
from .layered import layers_of, place
from .svg import BLUE, FAINT, GREEN, INK, ORANGE, PAPER, Svg, shortened, text_width

MARGIN = 20.0
FILLS = {"leaf": "#d6e6f2", "data": "#f1f3f5", "op": PAPER, "output": "#d5efe6", "more": PAPER}
EDGES = {"leaf": BLUE, "data": "#8a929d", "op": "#57606c", "output": GREEN, "more": ORANGE}
LEGEND = (
    ("leaf", "leaf that gets a gradient"),
    ("op", "operation"),
    ("data", "data without gradient"),
    ("output", "what was drawn"),
)


class Drawing(str):
    """The text of an SVG file, which a notebook shows as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)


@dataclass
class Box:
    kind: str  # a key of FILLS
    lines: list[str]  # the first is its name
    again: bool = False  # drawn before, farther up
    width: float = field(init=False)
    height: float = field(init=False)

    def __post_init__(self) -> None:
        self.lines = [shortened(w, 190, 12 if k == 0 else 10, bold=k == 0) for k, w in enumerate(self.lines)]
        widths = [text_width(w, 12 if k == 0 else 10, bold=k == 0) for k, w in enumerate(self.lines)]
        self.width, self.height = max(*widths, 24.0) + 16, 20.0 + 13 * (len(self.lines) - 1)


def draw(
    tensor: Any,
    path: str | os.PathLike[str] | None = None,
    params: Any = None,
    *,
    max_nodes: int = 200,
) -> Drawing:
    """Draws how ``tensor`` (or each of several) was computed, and writes it to ``path`` where one is given.

    An operation's box holds its name, its attributes that aren't the defaults, and the shape of its result;
    a leaf's its name, dtype and shape. ``params`` gives the names: a Module, a mapping from names to
    tensors, or pairs of them. Of a graph larger than ``max_nodes`` operations those nearest to the tensor are
    drawn, and the picture says how many are left out.

    >>> w = minigrad.ones(3, requires_grad=True)  # doctest: +SKIP
    >>> minigrad.draw((w * w).sum(), "graph.svg", params={"w": w})  # doctest: +SKIP

    Raises TypeError for what isn't a tensor, ValueError for a path that doesn't end in ``.svg``.
    """
    outputs = list(tensor) if isinstance(tensor, (tuple, list)) else [tensor]
    if not outputs or not all(isinstance(t, Variable) for t in outputs):
        raise TypeError(f"draw: expected a tensor or several, got {errors.describe(tensor)}")
    if path is not None and not os.fspath(path).endswith(".svg"):
        raise ValueError(
            f"draw: {os.fspath(path)!r}: the picture is an SVG file; give a path that ends in .svg"
        )
    if max_nodes < 1:
        raise ValueError(f"draw: max_nodes is at least 1, got {max_nodes}")
    graph = _Graph(outputs, _names(params), max_nodes)
    surface = _painted(graph)
    if path is not None:
        surface.save(path)
    return Drawing(surface)


def _names(params: Any) -> dict[int, str]:
    """Names by the identity of the array: a saved operand has no other."""
    if params is None:
        return {}
    if hasattr(params, "named_parameters"):
        pairs: Iterable[Any] = [*params.named_parameters(), *params.named_buffers()]
    else:
        pairs = params.items() if isinstance(params, Mapping) else params
    found: dict[int, str] = {}
    for pair in pairs:
        if not (
            isinstance(pair, tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], Variable)
        ):
            raise TypeError(
                f"draw: params: expected a Module, a mapping from names to tensors or pairs of them, got "
                f"{errors.describe(pair)}"
            )
        found.setdefault(id(pair[1]._array), pair[0])
    return found


class _Graph:
    """The boxes of a graph and the edges between them: (from, to, where along the box's width it arrives)."""

    def __init__(self, outputs: list[Any], names: dict[int, str], most: int) -> None:
        self.names = names
        self.boxes: list[Box] = []
        self.edges: list[tuple[int, int, float]] = []
        for t in outputs:
            t.requires_grad  # noqa: B018 - a view whose base was written to renews its history
        roots = {t._node for t in outputs if t._node is not None}
        drawn, self.left_out = _nearest(roots, most)
        shapes = _shapes(drawn, outputs)
        self.number: dict[Any, int] = {}
        uses: dict[int, list[tuple[int, float]]] = {}  # source -> (to, where)
        for node in drawn:
            box = Box("op", [node.op.name, *_attributes(node), *shapes.get(node, ())])
            box.width = max(box.width, min(9.0 * len(node.parents), 400.0))  # room for its arrows
            self.number[node] = self._add(box)
        for node in drawn:
            at, ports = self.number[node], len(node.parents)
            for port, parent in enumerate(node.parents):
                source = self._source(node, port, parent)
                if source is not None:
                    uses.setdefault(source, []).append((at, (port + 1) / (ports + 1)))
        for k, t in enumerate(outputs):
            name = names.get(id(t._array), "output" if len(outputs) == 1 else f"output {k}")
            at = self._add(Box("output", [name, _described(t._array), *_value(t._array)]))
            if t._node is not None:
                uses.setdefault(self.number[t._node], []).append((at, 0.5))
        pairs = [(a, b) for a, to in uses.items() for b, _ in to]
        self.layer = layers_of(len(self.boxes), pairs)
        for a, to in uses.items():
            self._connect(a, to)

    def _add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1

    def _source(self, node: Any, port: int, parent: Any) -> int | None:
        """The box that an input comes from; None for a number or an input left out."""
        if parent is not None and isinstance(parent[0], Node):
            found = self.number.get(parent[0])
            return self._add(Box("more", ["…"])) if found is None else found
        if parent is not None:
            array = parent[0]._array
            key, box = id(array), ("leaf", [self.names.get(id(array), "leaf"), _described(array)])
        else:
            shape = node.shapes[port] if port < len(node.shapes) else None
            if shape is None:
                return None
            array = node.saved[port][0] if port in node.saved else None
            key = (node, port) if array is None else id(array)  # type: ignore[assignment]
            inputs = getattr(node.op, "inputs", ())
            name = self.names.get(id(array)) if array is not None else None
            name = name or (inputs[port] if len(inputs) == len(node.parents) else "data")
            box = ("data", [name, f"{np.dtype(shape[1]).name} {tuple(shape[0])}"])
        if key not in self.number:
            self.number[key] = self._add(Box(*box))
        return self.number[key]

    def _connect(self, a: int, to: list[tuple[int, float]]) -> None:
        """Edges out of a box; what isn't an operation is drawn again beside a far user, not led there."""
        copies: dict[int, int] = {}
        for b, where in to:
            source = a
            if self.boxes[a].kind != "op" and self.layer[b] > self.layer[a] + 1:
                at = self.layer[b] - 1
                if at not in copies:
                    copies[at] = self._add(Box(self.boxes[a].kind, self.boxes[a].lines[:1], again=True))
                    self.layer.append(at)
                source = copies[at]
            self.edges.append((source, b, where))


def _nearest(roots: set[Any], most: int) -> tuple[list[Any], int]:
    """The ``most`` youngest nodes, oldest first, and how many more there are."""
    heap = [(-n.seq, n) for n in roots]
    heapq.heapify(heap)
    seen = set(roots)
    drawn: list[Any] = []
    while heap and len(drawn) < most:
        node = heapq.heappop(heap)[1]
        drawn.append(node)
        for p in node.parents:
            if p is not None and isinstance(p[0], Node) and p[0] not in seen:
                seen.add(p[0])
                heapq.heappush(heap, (-p[0].seq, p[0]))
    stack = [n for _, n in heap]
    while stack:
        for p in stack.pop().parents:
            if p is not None and isinstance(p[0], Node) and p[0] not in seen:
                seen.add(p[0])
                stack.append(p[0])
    return drawn[::-1], len(seen) - len(drawn)


def _shapes(drawn: list[Any], outputs: list[Any]) -> dict[Any, list[str]]:
    """The shapes of results: a node doesn't keep its own, those that use it do."""
    found: dict[Any, dict[int, str]] = {}
    for t in outputs:
        if t._node is not None:
            found.setdefault(t._node, {})[t._index] = str(tuple(t._array.shape))
    for node in drawn:
        for parent, shape in zip(node.parents, node.shapes, strict=False):
            if parent is not None and isinstance(parent[0], Node) and shape is not None:
                found.setdefault(parent[0], {}).setdefault(parent[1], str(tuple(shape[0])))
    return {node: [" ".join(s for _, s in sorted(by.items()))] for node, by in found.items()}


def _attributes(node: Any) -> list[str]:
    """The attributes that aren't the row's defaults, those that a reader can make sense of."""
    usual = getattr(node.op, "attrs", {})
    usual = usual if isinstance(usual, dict) else {}
    words = []
    for name, value in node.attrs.items():
        plain = value is None or isinstance(value, (bool, int, float, str)) or (
            isinstance(value, (tuple, list)) and all(isinstance(v, (int, float, str)) for v in value)
        )  # fmt: skip
        if plain and not (name in usual and usual[name] is value or usual.get(name, node) == value):
            words.append(f"{name}={value}")
    return [", ".join(words)] if words else []


def _described(array: Any) -> str:
    return f"{np.dtype(array.dtype).name} {tuple(array.shape)}"


def _value(array: Any) -> list[str]:
    if array.ndim:
        return []
    return [f"{float(backend.module_of(array).to_numpy(array)):.6g}"]


def _painted(graph: _Graph) -> Svg:
    boxes = graph.boxes
    layout = place([(b.width, b.height) for b in boxes], graph.edges, graph.layer)
    kinds = {b.kind for b in boxes}
    legend = [(k, words) for k, words in LEGEND if k in kinds]
    notes = []
    if graph.left_out:
        shown = sum(b.kind == "op" for b in boxes)
        notes.append(
            f"{graph.left_out + shown:,} operations: the {shown:,} nearest to the end are drawn, {graph.left_out:,} "
            f"before them are not (raise max_nodes to see more)"
        )
    if any(b.again for b in boxes):
        notes.append("A dashed box stands for one that is drawn farther up")
    along = sum(30 + text_width(words, 10) for _, words in legend)
    width = max([layout.width, along, *(text_width(n, 11) for n in notes)]) + 2 * MARGIN
    top = MARGIN + 24 + 16 * len(notes)
    surface = Svg(width, top + layout.height + MARGIN, "A graph of operations")
    x = MARGIN
    for kind, words in legend:
        surface.rect(x, 12, 14, 12, fill=FILLS[kind], stroke=EDGES[kind], radius=0 if kind == "op" else 4)
        surface.text(x + 19, 22, words, size=10, colour=FAINT)
        x += 30 + text_width(words, 10)
    for k, note in enumerate(notes):
        surface.text(MARGIN, 42 + 16 * k, note, size=11, colour=FAINT)
    left = (width - layout.width) / 2
    for (a, b, where), bends in zip(graph.edges, layout.bends, strict=True):
        start = (left + layout.x[a], top + layout.y[a] + boxes[a].height / 2)
        end = (
            left + layout.x[b] + (boxes[b].width - 16) * (where - 0.5),
            top + layout.y[b] - boxes[b].height / 2,
        )
        middle = [(left + u, top + v) for u, v in bends]
        surface.curve([start, *middle, (end[0], end[1] - 6)], colour=EDGES[boxes[a].kind])
        surface.area([end, (end[0] - 3.5, end[1] - 7), (end[0] + 3.5, end[1] - 7)], fill=EDGES[boxes[a].kind])
    for box, u, v in zip(boxes, layout.x, layout.y, strict=True):
        _paint_box(surface, box, left + u, top + v)
    return surface


def _paint_box(surface: Svg, box: Box, x: float, y: float) -> None:
    left, top = x - box.width / 2, y - box.height / 2
    surface.rect(
        left, top, box.width, box.height, fill=FILLS[box.kind], stroke=EDGES[box.kind],
        thick=1.4 if box.kind == "op" else 1.0, radius=2 if box.kind == "op" else 8, dash=(4, 3) if box.again else (),
    )  # fmt: skip
    for k, words in enumerate(box.lines):
        surface.text(
            x, top + 14 + 13 * k, words, size=10 if k else 12, anchor="middle", bold=not k,
            colour=FAINT if k else INK,
        )  # fmt: skip
