"""Places the boxes of a directed graph without cycles in layers: sources at the top, edges downwards.

K. Sugiyama, S. Tagawa, M. Toda, Methods for Visual Understanding of Hierarchical System Structures, 1981:
layers by the longest path, an order within layers by sweeps of barycentres, then coordinates. What the boxes
mean and how they are painted is the caller's (``graph``).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 12
GAP, LANE, BETWEEN = 18.0, 14.0, 42.0  # pixels between boxes, beside a passing edge, between layers


class Layout(NamedTuple):
    """Centres of the boxes, the way of each edge (x, y of the bends between its ends), and the size of it all."""

    x: list[float]
    y: list[float]
    bends: list[list[tuple[float, float]]]
    width: float
    height: float


def layers_of(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each of ``count`` boxes: below all that lead to it, and as far down as shortens edges."""
    outs: list[set[int]] = [set() for _ in range(count)]
    ins: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges:
        outs[a].add(b)
        ins[b].add(a)
    layer, waiting = [0] * count, [len(i) for i in ins]
    order = [i for i in range(count) if not waiting[i]]
    for a in order:  # grows while it is read: every box after those that lead to it
        for b in outs[a]:
            layer[b] = max(layer[b], layer[a] + 1)
            waiting[b] -= 1
            if not waiting[b]:
                order.append(b)
    for a in reversed(order):
        held = sum(1 for b in ins[a] if ins[b] or len(outs[b]) > 1)  # the others can move down with it
        if len(outs[a]) > held:
            layer[a] = min(layer[b] for b in outs[a]) - 1
    return layer


def place(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int, float]], layer: Sequence[int]
) -> Layout:
    """Positions for boxes of these (width, height) in these layers. An edge (from, to, where) goes to a later
    layer and ends at the share ``where``, 0 to 1, of the box's width."""
    depth = max(layer, default=-1) + 1
    rows: list[list[int]] = [[] for _ in range(depth)]
    for i, at in enumerate(layer):
        rows[at].append(i)
    half = [w / 2 for w, _ in sizes]
    count = len(sizes)
    lanes: dict[tuple[int, int], int] = {}  # (source, layer) -> a point its edges pass through together
    ways: list[list[int]] = []
    short: set[tuple[int, int]] = set()
    arrives: dict[tuple[int, int], float] = {}  # where an edge meets its lower end
    for a, b, where in edges:
        way, before = [], a
        for at in range(layer[a] + 1, layer[b]):
            if (a, at) not in lanes:
                lanes[a, at] = len(half)
                rows[at].append(len(half))
                half.append(0.0)
            point = lanes[a, at]
            short.add((before, point))
            way.append(point)
            before = point
        short.add((before, b))
        arrives[before, b] = where
        ways.append(way)
    ups: list[list[int]] = [[] for _ in half]
    downs: list[list[int]] = [[] for _ in half]
    for a, b in sorted(short):
        downs[a].append(b)
        ups[b].append(a)
    rows = _ordered(rows, ups, downs, arrives)
    x = _across(rows, ups, downs, half, count)
    y, bottom = [0.0] * len(half), 0.0
    for row in rows:
        tall = max((sizes[i][1] for i in row if i < count), default=0.0)
        for i in row:
            y[i] = bottom + tall / 2
        bottom += tall + BETWEEN
    bends = [[(x[p], y[p]) for p in way] for way in ways]
    width = max((x[i] + half[i] for i in range(len(half))), default=0.0)
    return Layout(x[:count], y[:count], bends, width, max(bottom - BETWEEN, 0.0))


def _ordered(
    rows: list[list[int]], ups: list[list[int]], downs: list[list[int]], arrives: dict[tuple[int, int], float]
) -> list[list[int]]:
    """Orders each layer by the mean place of its neighbours above, then below, and keeps the best."""
    best, fewest = [list(r) for r in rows], _crossings(rows, downs, arrives)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 1
        neighbours = ups if down else downs
        for at in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            place_of = {i: k for k, i in enumerate(rows[at - 1 if down else at + 1])}
            mean = {
                i: sum(place_of[n] + (0 if down else arrives.get((i, n), 0.5)) for n in neighbours[i])
                / len(neighbours[i])
                if neighbours[i]
                else float(k)
                for k, i in enumerate(rows[at])
            }
            rows[at].sort(key=mean.__getitem__)
        crossings = _crossings(rows, downs, arrives)
        if crossings < fewest:
            best, fewest = [list(r) for r in rows], crossings
    return best


def _crossings(rows: list[list[int]], downs: list[list[int]], arrives: dict[tuple[int, int], float]) -> int:
    total = 0
    for above, below in pairwise(rows):
        place_of = {i: k for k, i in enumerate(below)}
        ends: list[float] = []
        for i in above:
            targets = sorted(place_of[j] + arrives.get((i, j), 0.5) for j in downs[i])
            total += sum(len(ends) - bisect_right(ends, t) for t in targets)
            for t in targets:
                insort(ends, t)
    return total


def _across(
    rows: list[list[int]], ups: list[list[int]], downs: list[list[int]], half: list[float], count: int
) -> list[float]:
    x = [0.0] * len(half)
    for row in rows:
        left = 0.0
        for i in row:
            x[i] = left + half[i]
            left = x[i] + half[i] + (GAP if i < count else LANE)
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        near = ups if down else downs
        for row in rows if down else reversed(rows):
            wanted, firm = [], []
            for i in row:
                pulls = [
                    (x[n], _pull(i, n, ups, downs, count)) for n in near[i] or (downs[i] if down else ups[i])
                ]
                total = sum(w for _, w in pulls)
                wanted.append(sum(v * w for v, w in pulls) / total if total else x[i])
                firm.append(4.0 if i >= count else 0.05 if len(ups[i]) + len(downs[i]) == 1 else 1.0)
            _spread(row, wanted, firm, half, count, x)
    least = min((x[i] - half[i] for i in range(len(half))), default=0.0)
    return [v - least for v in x]


def _pull(i: int, n: int, ups: list[list[int]], downs: list[list[int]], count: int) -> float:
    """How much a box wants to stand under or over a neighbour: passing edges are kept straight, and what
    hangs on one box alone follows it rather than leads it."""
    if i >= count and n >= count:
        return 16.0
    return 0.05 if len(ups[n]) + len(downs[n]) == 1 else 1.0


def _spread(
    row: list[int], wanted: list[float], firm: list[float], half: list[float], count: int, x: list[float]
) -> None:
    """The places nearest to those wanted, by the sum of squares, each as ``firm``, that keep order and distance.

    With the distances taken off this is isotonic regression, solved by pooling adjacent violators.
    """
    offset, offsets = 0.0, []
    for k, i in enumerate(row):
        if k:
            before = row[k - 1]
            offset += half[before] + half[i] + (GAP if i < count and before < count else LANE)
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # sum, weight, members
    for want, offset, weight in zip(wanted, offsets, firm, strict=True):
        pool = ((want - offset) * weight, weight, 1)
        while pools and pools[-1][0] / pools[-1][1] > pool[0] / pool[1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    k = 0
    for total, weight, members in pools:
        for _ in range(members):
            x[row[k]] = total / weight + offsets[k]
            k += 1
