"""Matrix products by blocks, for machines whose vectors are wider than those that the BLAS uses.

The right operand is packed, a block of DEPTH rows at a time, into panels as wide as a tile of registers; the left one
only where its rows aren't adjacent numbers (Goto & van de Geijn, 2008, "Anatomy of high-performance matrix
multiplication"). Few rows meet a right operand that isn't packed, in inner products. Each number of a result is summed
over the depth in one order, whatever the blocks and threads.

Floor: 2 · rows · depth · columns flops. Choices and figures: ``docs/decisions/kernels.md``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from minigrad import backend
from minigrad.backend import Declined

from . import MULTIPLICATIONS
from .attention import _heads
from .loading import SMALL, empty, kernel, loop
from .mathematics import f32
from .vectors import (
    _FLOAT,
    _LONG,
    _VECTOR,
    COLUMNS,
    WIDTH,
    _Matrix,
    _number,
    compiled,
    product,
    scratch,
    transpose,
)

written_out = njit(inline="always")
FAST = ("contract", "reassoc", "nsz")
RATE = 200.0  # flops a nanosecond
FEW = 64  # rows up to which inner products win
SHAPES = Declined("its operands are vectors, empty or don't fit: the reference says so")
PANEL = COLUMNS * WIDTH  # columns of a packed panel
TOGETHER = 4  # panels after which what follows a product gets its part: they are in the second cache, and rows of some length
DEPTH, ROWS, WIDE = 192, 96, 12  # of a block: rows of the right, rows of the left operand, panels


def _line(context: Any, a: Any, b: Any, r: Any, x: Any, s: Any) -> Any:
    """``line(a, b, r, x, s)``: b[s, :PANEL] = a[r, x:x+PANEL], both adjacent numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = [_Matrix(context, builder, k, v) for k, v in zip(signature.args[:2], args[:2], strict=True)]
        r, x, s = args[2:]
        to = b.vectors(b.row(s), COLUMNS)
        for p, q in zip(a.vectors(a.row(r, x), COLUMNS), to, strict=True):
            builder.store(builder.load(p, align=4), q, align=4)
        return context.get_dummy_value()

    return types.void(a, b, types.int64, types.int64, types.int64), generate


_copy_line: Any = intrinsic(_line)


HIGH, BROAD, LINES = 4, 6, 32  # of a tile of inner products: rows and columns; of a block: rows


def _inner(rows: int, columns: int) -> Any:
    """``inner(a, b, c, r, x, depth)``: c[r:r+rows, x:x+columns] = a[r:r+rows] b[x:x+columns]ᵀ, all rows of adjacent numbers.

    A vector is summed for each number, at the depths that are the same modulo its size, and its lanes in the end.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c = [_Matrix(context, builder, k, v) for k, v in zip(signature.args[:3], args[:3], strict=True)]
        r, x, depth = args[3:]
        above = [a.row(builder.add(r, _number(i))) for i in range(rows)]
        below = [b.row(builder.add(x, _number(j))) for j in range(columns)]
        zero, size, width = ir.Constant(_VECTOR, None), _number(4), _number(WIDTH)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(rows * columns)]
        whole = builder.sdiv(depth, width)

        def step(read: Any) -> None:
            left, right = [read(p) for p in above], [read(p) for p in below]
            for i, u in enumerate(left):
                for j, v in enumerate(right):
                    s, fused = sums[i * columns + j], ("contract",)
                    builder.store(builder.fadd(builder.load(s), builder.fmul(u, v, fused), fused), s)

        pointer = _VECTOR.as_pointer()
        with cgutils.for_range(builder, whole, intp=_LONG) as k:
            at = builder.mul(k.index, _number(4 * WIDTH))
            step(lambda p: builder.load(builder.bitcast(builder.gep(p, [at]), pointer), align=4))
        done = builder.mul(whole, width)
        with builder.if_then(builder.icmp_signed("<", done, depth)):
            lanes = ir.VectorType(_LONG, WIDTH)
            here = builder.insert_element(
                ir.Constant(lanes, ir.Undefined), builder.sub(depth, done), _number(0)
            )
            turned = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
            here = builder.shuffle_vector(here, here, turned)
            mask = builder.icmp_signed("<", ir.Constant(lanes, [*range(WIDTH)]), here)
            kind = ir.FunctionType(_VECTOR, [pointer, ir.IntType(32), mask.type, _VECTOR])
            masked = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{WIDTH}f32.p0")
            begin, four = builder.mul(done, size), ir.Constant(ir.IntType(32), 4)
            step(
                lambda p: builder.call(
                    masked, [builder.bitcast(builder.gep(p, [begin]), pointer), four, mask, zero]
                )
            )
        found = _lane_sums(builder, [builder.load(s) for s in sums])
        for i in range(rows):
            for j in range(columns):
                to = builder.gep(
                    c.row(builder.add(r, _number(i))), [builder.mul(builder.add(x, _number(j)), size)]
                )
                vector, lane = found[i * columns + j]
                number = builder.extract_element(vector, _number(lane))
                builder.store(number, builder.bitcast(to, _FLOAT.as_pointer()), align=4)
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    def typed(context: Any, a: Any, b: Any, c: Any, r: Any, x: Any, depth: Any) -> Any:
        return types.void(a, b, c, types.int64, types.int64, types.int64), generate

    return intrinsic(typed)


def _lane_sums(builder: Any, vectors: list[Any]) -> list[tuple[Any, int]]:
    """Where the sum of each vector's lanes is: two vectors become one, half of whose lanes are each one's, and so on."""
    lanes = ir.VectorType(ir.IntType(32), WIDTH)
    groups = [(v, [i]) for i, v in enumerate(vectors)]  # a vector, and whose its parts are
    span = WIDTH
    while span > 1:
        span //= 2
        if len(groups) % 2:
            groups.append((groups[-1][0], [-1] * len(groups[-1][1])))
        joined = []
        for (u, first), (v, second) in zip(groups[::2], groups[1::2], strict=True):
            low = [2 * span * p + i for p in range(WIDTH // (2 * span)) for i in range(span)]
            low += [WIDTH + n for n in low]
            one = builder.shuffle_vector(u, v, ir.Constant(lanes, low))
            two = builder.shuffle_vector(u, v, ir.Constant(lanes, [n + span for n in low]))
            joined.append((builder.fadd(one, two), [*first, *second]))
        groups = joined
    places = {owner: (v, i) for v, owners in groups for i, owner in enumerate(owners)}
    return [places[i] for i in range(len(vectors))]


_inner_whole, _inner_row, _inner_column, _inner_one = (
    _inner(*n) for n in ((HIGH, BROAD), (1, BROAD), (HIGH, 1), (1, 1))
)


@compiled
def nothing(given, top, bottom, left, right):
    """What is done to a part of a product that stays as it is."""


@written_out
def _inner_products(a, b, bias, c, top, bottom, left, right, after, given, above):
    """c[top:bottom, left:right] = a bᵀ + bias there."""
    depth, columns = a.shape[1], right - (right - left) % BROAD
    for begin in range(top, bottom, LINES):
        end = min(begin + LINES, bottom)
        rows = end - (end - begin) % HIGH
        for x in range(left, columns, BROAD):
            for r in range(begin, rows, HIGH):
                _inner_whole(a, b, c, r, x, depth)
            for r in range(rows, end):
                _inner_row(a, b, c, r, x, depth)
        for x in range(columns, right):
            for r in range(begin, rows, HIGH):
                _inner_column(a, b, c, r, x, depth)
            for r in range(rows, end):
                _inner_one(a, b, c, r, x, depth)
        if bias.size:
            for r in range(begin, end):
                for x in range(left, right):
                    c[r, x] += bias[x]
        after(given, above + begin, above + end, left, right)


@compiled
def _panel(b, first, last, x, columns, to):
    """to = b[first:last, x:x+columns], whole vectors of it."""
    if b.strides[1] == 4 and columns == PANEL:
        for k in range(first, last):
            _copy_line(b, to, k, x, k - first)
    elif b.strides[1] == 4 or b.strides[0] != 4:
        for k in range(first, last):
            for i in range(columns):
                to[k - first, i] = b[k, x + i]
    else:
        transpose(b[first:last, x : x + columns].T, to, f32(1))
    for i in range(columns, -(-columns // WIDTH) * WIDTH):
        to[: last - first, i] = f32(0)


@compiled
def _rows(a, r, rows, first, last, to):
    """a[r:r+rows, first:last], copied where a row's numbers aren't adjacent."""
    if a.strides[1] == 4:
        return a[r : r + rows, first:last]
    block = a[r : r + rows, first:last].T
    for k in range(block.shape[0]):
        for i in range(rows):
            to[k, i] = block[k, i]
    return to[: last - first, :rows].T


@written_out
def _blocks(a, b, bias, c, top, bottom, left, right, panels, lines, edge, after, given, above):
    """c[top:bottom, left:right] = a b + bias there."""
    depth, steps = a.shape[1], -(-a.shape[1] // DEPTH)
    height = min(depth, DEPTH)
    for x in range(left, right, WIDE * PANEL):
        end = min(x + WIDE * PANEL, right)
        for step in range(steps):
            first, last = depth * step // steps, depth * (step + 1) // steps
            for p in range(x, end, PANEL):
                _panel(b, first, last, p, min(PANEL, end - p), panels[(p - x) // PANEL * height :])
            for r in range(top, bottom, ROWS):
                rows = min(ROWS, bottom - r)
                block = _rows(a, r, rows, first, last, lines)
                for p in range(x, end, PANEL):
                    columns = min(PANEL, end - p)
                    whole = -(-columns // WIDTH) * WIDTH
                    panel = panels[(p - x) // PANEL * height :][: last - first]
                    if whole == columns:
                        product(block, panel, c[r : r + rows, p:end], columns, first > 0)
                    else:
                        product(block, panel, edge[:rows, :whole], whole, False)
                        for i in range(rows):
                            for j in range(columns):
                                c[r + i, p + j] = edge[i, j] + (c[r + i, p + j] if first else f32(0))
                    if bias.size and last == depth:
                        for i in range(rows):
                            for j in range(columns):
                                c[r + i, p + j] += bias[p + j]
                    done = (p - x) // PANEL % TOGETHER  # panels before this one that wait with it
                    if last == depth and (done == TOGETHER - 1 or p + columns == end):
                        after(given, above + r, above + r + rows, p - done * PANEL, p + columns)


@written_out
def products(a, b, bias, inner, across, c, after, given, start, stop):
    """c = a b + bias in blocks start to stop: of rows, or of columns if across, batch after batch.

    ``after(given, top, bottom, left, right)`` is called when c is as it shall be there, in rows of all batches.
    """
    _, heads, rows, columns = c.shape
    length, size = (columns, PANEL) if across else (rows, ROWS)
    parts, depth = -(-length // size), 0 if inner else min(DEPTH, a.shape[3])
    panels = scratch(min(WIDE, -(-columns // PANEL)) * depth, PANEL)
    lines, edge = scratch(depth, ROWS), scratch(0 if inner else ROWS, PANEL)
    while start < stop:
        batch, part = start // parts, start % parts
        i, j = batch // heads, batch % heads
        end = min(part + stop - start, parts)
        first, last = part * size, min(end * size, length)
        top, bottom, left, right = (0, rows, first, last) if across else (first, last, 0, columns)
        x, y, z, above = a[i, j], b[i, j], c[i, j], batch * rows
        if inner:
            _inner_products(x, y.T, bias, z, top, bottom, left, right, after, given, above)
        else:
            _blocks(x, y, bias, z, top, bottom, left, right, panels, lines, edge, after, given, above)
        start += end - part


@loop("X[:, :, :, :], X[:, :, :, :], X[:], b1, b1, X[:, :, :, ::1]", *FAST)
def _products(a, b, bias, inner, across, c, start, stop):
    """c = a b + bias in blocks start to stop."""
    products(a, b, bias, inner, across, c, nothing, (), start, stop)


@loop("X[:, ::1], X[::1]", *FAST)
def _column_sums(a, sums, start, stop):
    """Σ over the rows, in columns start to stop: of four rows in float32, of those sums in float64."""
    columns, rows = stop - start, a.shape[0]
    total = np.zeros(columns)
    for r in range(0, rows - 3, 4):
        one, two, three, four = (a[r, start:], a[r + 1, start:], a[r + 2, start:], a[r + 3, start:])
        for x in range(columns):
            total[x] += np.float64((one[x] + two[x]) + (three[x] + four[x]))
    for r in range(rows - rows % 4, rows):
        one = a[r, start:]
        for x in range(columns):
            total[x] += np.float64(one[x])
    for x in range(columns):
        sums[start + x] = total[x]


# ---- the kernels ----------------------------------------------------------------------------------------

NOTHING = np.empty(0, np.float32)


def _adjacent(a: Any, b: Any) -> bool:
    """Are both operands' numbers adjacent along the depth, and few rows or columns not worth packing the other for?"""
    few = a.shape[2] <= FEW or b.shape[3] < WIDTH
    return few and a.strides[3] == b.strides[2] == a.itemsize


def loses(a: Any, b: Any) -> bool:
    """Is the BLAS quicker? Who asks for the kernels by their name gets them all the same."""
    (rows, depth), columns = a.shape[2:], b.shape[3]
    few = 2 if _adjacent(a, b) else 8
    loses = rows * depth * columns < MULTIPLICATIONS or min(rows, columns) < few
    return loses and backend.current_kernels() == "auto"


def _product(a: Any, b: Any, shape: tuple[int, ...], bias: Any = NOTHING) -> Any:
    """a b + bias, of operands (B, H, …, …), in a shape."""
    out = empty(shape, a.dtype)
    blocks, work, inner, across = cut(a, b)
    _products(blocks, work, a, b, bias, inner, across, out.reshape(*a.shape[:3], b.shape[3]))
    return out


def cut(a: Any, b: Any) -> tuple[int, float, bool, bool]:
    """How many blocks a product has, its nanoseconds, is it of inner products, and are its blocks of columns."""
    (rows, depth), columns = a.shape[2:], b.shape[3]
    across = columns > rows
    batch = math.prod(a.shape[:2])
    blocks = batch * (-(-columns // PANEL) if across else -(-rows // ROWS))
    return blocks, 2 * batch * rows * columns * depth / RATE, _adjacent(a, b), across


def _aligned(a: Any) -> Any:
    return a if a.flags.aligned else np.array(a)


def _matrix(a: Any) -> Any:
    """All but its last dimension in one, as an operand (1, 1, …, …)."""
    return _aligned(a).reshape(1, 1, -1, a.shape[-1])


@kernel(_products)
def linear_forward(x, weight, bias=None):
    if not x.size or weight.ndim != 2 or not weight.size or x.shape[-1:] != weight.shape[1:]:
        return SHAPES
    if bias is not None and bias.shape != weight.shape[:1]:
        return SHAPES
    left, right = _matrix(x), _matrix(weight).swapaxes(2, 3)
    if loses(left, right):
        return SMALL
    return _product(
        left, right, (*x.shape[:-1], weight.shape[0]), NOTHING if bias is None else _aligned(bias)
    )


@kernel(_products, _column_sums)
def linear_gradient(g, x, weight, needs):
    if not x.size or not weight.size:
        return SHAPES
    left, right, above = _matrix(x), _matrix(weight), _matrix(g)
    if loses(above, right):
        return SMALL
    by_x = by_weight = by_bias = None
    if needs[0]:
        by_x = _product(above, right, x.shape)
    if needs[1]:
        by_weight = _product(above.swapaxes(2, 3), left, weight.shape)
    if needs[2]:
        by_bias = empty(weight.shape[:1], g.dtype)
        _column_sums(by_bias.size, above.size * 0.1, np.ascontiguousarray(above[0, 0]), by_bias)
    return by_x, by_weight, by_bias


@kernel(_products)
def matmul_gradient_by_x(g, y, x_shape):
    return SHAPES if min(y.ndim, len(x_shape)) < 2 else _matmul(g, y.swapaxes(-1, -2))


@kernel(_products)
def matmul_gradient_by_y(g, x, y_shape):
    if min(x.ndim, len(y_shape)) < 2:
        return SHAPES
    if len(y_shape) > 2 or not x.size or not g.size:
        return _matmul(x.swapaxes(-1, -2), g)
    left, right = _matrix(x).swapaxes(2, 3), _matrix(g)
    return SMALL if loses(left, right) else _product(left, right, y_shape)


@kernel(_products)
def matmul_forward(x, y):
    return _matmul(x, y)


def _matmul(x: Any, y: Any) -> Any:
    if min(x.ndim, y.ndim) < 2 or not x.size or not y.size or x.shape[-1] != y.shape[-2]:
        return SHAPES
    if y.ndim == 2:
        left, right, lead = _matrix(x), _matrix(y), x.shape[:-2]
    else:
        try:
            lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        except ValueError:
            return SHAPES
        left, right = _heads(x, lead), _heads(y, lead)
    if loses(left, right):
        return SMALL
    return _product(left, right, (*lead, x.shape[-2], y.shape[-1]))
