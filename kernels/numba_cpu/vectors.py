"""Whole vectors of the machine at work: matrix products by register tiles, transpositions of blocks, stores past the cache.

LLVM vectorises the loops of this set of its own accord; what it doesn't find is a tile of a matrix product that stays in
registers, a transposition by shuffles, and what memory is to be asked for or not. These are written here in its own terms, for the widest vectors of the machine
that this runs on: AVX-512, AVX2, or 128 bits (NEON, SSE). The operands are float32.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def _machine() -> tuple[int, int]:
    """The floats of a vector, and how many vector registers there are."""
    try:
        has = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM doesn't know this system
        has = {}
    if has.get("avx512f"):
        return 16, 32
    return (8, 16) if has.get("avx2") else (4, 32 if has.get("neon") else 16)


WIDTH, REGISTERS = _machine()
# Of a tile, in floats and in vectors: it fits the registers with a row of the right operand and a number of the left.
ROWS, COLUMNS = (6, 4 if REGISTERS == 32 else 2)

_FLOAT, _LONG, _BYTE, _HINT = ir.FloatType(), ir.IntType(64), ir.IntType(8), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)

compiled = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
inlined = njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"}, forceinline=True)


class _Matrix:
    """A two-dimensional argument of an intrinsic: the addresses of its elements."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder = builder
        self.data = builder.bitcast(array.data, _BYTE.as_pointer())
        self.row_step, self.column_step = cgutils.unpack_tuple(builder, array.strides, 2)
        self.kind = _BYTE if kind.dtype == types.boolean else _FLOAT
        self.size = 1 if kind.dtype == types.boolean else 4

    def row(self, r: Any, x: Any = None) -> Any:
        """Where row r begins, or its vector at x."""
        b = self.builder
        at = b.gep(self.data, [b.mul(r, self.row_step)])
        return at if x is None else b.gep(at, [b.mul(x, _number(self.size))])

    def number(self, row: Any, column: Any) -> Any:
        """An element, in all places of a vector."""
        b = self.builder
        at = b.bitcast(b.gep(row, [b.mul(column, self.column_step)]), _FLOAT.as_pointer())
        return _everywhere(b, b.load(at, align=4))

    def vectors(self, at: Any, count: int) -> list[Any]:
        """The places of so many vectors from an address on."""
        b = self.builder
        kind = ir.VectorType(self.kind, WIDTH).as_pointer()
        return [b.bitcast(b.gep(at, [_number(self.size * WIDTH * j)]), kind) for j in range(count)]


def _number(n: int) -> Any:
    return ir.Constant(_LONG, n)


def _prefetch(builder: Any) -> Any:
    """LLVM's prefetch of an address: is it for writing, how near, and is it data?"""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer()] + 3 * [_HINT])
    return builder.module.declare_intrinsic("llvm.prefetch", [_BYTE.as_pointer()], kind)


def _everywhere(builder: Any, number: Any) -> Any:
    """A number in all places of a vector."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, _number(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None))


def _tile(rows: int, columns: int) -> Any:
    """``tile(a, b, c, r, x, add)``: c[r:r+rows, x:x+columns·WIDTH] = a[r:r+rows] b[:, x:…], or added to what is there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c = [_Matrix(context, builder, k, v) for k, v in zip(signature.args[:3], args[:3], strict=True)]
        r, x, depth, add = args[3:]
        places = [builder.add(r, _number(i)) for i in range(rows)]
        left = [a.row(i) for i in places]
        to = [p for i in places for p in c.vectors(c.row(i, x), columns)]
        ahead = _prefetch(builder)
        with builder.if_then(
            builder.icmp_signed(">", c.row_step, _number(1024))
        ):  # a small matrix is there as it is
            for p in to:  # to be written, kept in the first cache, of data
                builder.call(ahead, [builder.bitcast(p, _BYTE.as_pointer()), *[_HINT(n) for n in (1, 3, 1)]])
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in to]
        with cgutils.for_range(builder, depth, intp=_LONG) as k:
            right = [builder.load(p, align=4) for p in b.vectors(b.row(k.index, x), columns)]
            for i, row in enumerate(left):
                number = a.number(row, k.index)
                for j, v in enumerate(right):
                    s, fused = sums[i * columns + j], ("contract",)
                    builder.store(builder.fadd(builder.load(s), builder.fmul(number, v, fused), fused), s)
        with builder.if_then(
            add
        ):  # what is there comes last: sums of blocks are added up, which is more exact
            for s, p in zip(sums, to, strict=True):
                builder.store(builder.fadd(builder.load(s), builder.load(p, align=4)), s)
        for s, p in zip(sums, to, strict=True):
            builder.store(builder.load(s), p, align=4)
        builder.function.attributes.add("noinline")  # one copy of the caller, not one for each of its callers
        return context.get_dummy_value()

    def typed(context: Any, a: Any, b: Any, c: Any, r: Any, x: Any, depth: Any, add: Any) -> Any:
        return types.void(a, b, c, types.int64, types.int64, types.int64, types.boolean), generate

    return intrinsic(typed)


_large, _large_half, _large_one = (_tile(ROWS, n) for n in (COLUMNS, 2, 1))
_small, _small_half, _small_one = (_tile(1, n) for n in (COLUMNS, 2, 1))


@compiled
def product(a, b, c, columns, add):
    """c = a b, or c += a b, in so many columns, whole vectors: a of any strides, the rows of b and c contiguous."""
    depth, rows = b.shape[0], c.shape[0]
    whole = rows - rows % ROWS
    x = 0
    while x < columns:
        left = (columns - x) // WIDTH
        if left >= COLUMNS:
            for r in range(0, whole, ROWS):
                _large(a, b, c, r, x, depth, add)
            for r in range(whole, rows):
                _small(a, b, c, r, x, depth, add)
            x += COLUMNS * WIDTH
        elif left >= 2:
            for r in range(0, whole, ROWS):
                _large_half(a, b, c, r, x, depth, add)
            for r in range(whole, rows):
                _small_half(a, b, c, r, x, depth, add)
            x += 2 * WIDTH
        else:
            for r in range(0, whole, ROWS):
                _large_one(a, b, c, r, x, depth, add)
            for r in range(whole, rows):
                _small_one(a, b, c, r, x, depth, add)
            x += WIDTH


def _turn(context: Any, a: Any, b: Any, r: Any, x: Any, factor: Any) -> Any:
    """``_block(a, b, r, x, factor)``: b[x:x+WIDTH, r:r+WIDTH] = factor · a[r:r+WIDTH, x:x+WIDTH]ᵀ."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = [_Matrix(context, builder, k, v) for k, v in zip(signature.args[:2], args[:2], strict=True)]
        r, x, factor = args[2:]
        rows = [a.vectors(a.row(builder.add(r, _number(i)), x), 1)[0] for i in range(WIDTH)]
        lines = [builder.load(p, align=a.size) for p in rows]
        if a.kind is _BYTE:
            lines = [builder.uitofp(line, _VECTOR) for line in lines]
        lanes = ir.VectorType(ir.IntType(32), WIDTH)
        step = 1
        while step < WIDTH:  # swap the off-diagonal quarters of each square of 2·step
            upper = [WIDTH + x - step if x & step else x for x in range(WIDTH)]
            lower = [WIDTH + x if x & step else x + step for x in range(WIDTH)]
            for i in range(WIDTH):
                if not i & step:
                    one, two = lines[i], lines[i + step]
                    lines[i] = builder.shuffle_vector(one, two, ir.Constant(lanes, upper))
                    lines[i + step] = builder.shuffle_vector(one, two, ir.Constant(lanes, lower))
            step *= 2
        scale = _everywhere(builder, factor)
        for i, line in enumerate(lines):
            to = b.vectors(b.row(builder.add(x, _number(i)), r), 1)[0]
            builder.store(builder.fmul(line, scale), to, align=4)
        return context.get_dummy_value()

    return types.void(a, b, types.int64, types.int64, types.float32), generate


_block: Any = intrinsic(_turn)


@compiled
def transpose(a, b, factor):
    """b = factor · aᵀ, of floats or bools; the rows of b are contiguous, and it is quick where those of a are."""
    rows, columns = a.shape
    r_whole = rows - rows % WIDTH if a.strides[1] == a.itemsize else 0
    x_whole = columns - columns % WIDTH
    for r in range(0, r_whole, WIDTH):
        for x in range(0, x_whole, WIDTH):
            _block(a, b, r, x, factor)
    for r in range(rows):
        for x in range(x_whole if r < r_whole else 0, columns):
            b[x, r] = np.float32(a[r, x]) * factor


@compiled
def scratch(rows, columns):
    """An uninitialised matrix that begins where a cache line does: a vector across two lines costs two loads."""
    room = np.empty(rows * columns + 16, np.float32)
    skip = (-room.ctypes.data % 64) // 4
    return room[skip : skip + rows * columns].reshape(rows, columns)


# ---- memory that is far away ----------------------------------------------------------------------------

PAST = 2**23  # bytes of a result from which what is made of it finds little of it in the cache
_LINE = 64 // 4  # floats of a line of the cache


def _address(context: Any, builder: Any, kind: Any, value: Any, place: Any) -> Any:
    """Where an element of a contiguous array is."""
    data = context.make_array(kind)(context, builder, value).data
    return builder.gep(builder.bitcast(data, _BYTE.as_pointer()), [builder.mul(place, _number(4))])


def _fetching(context: Any, a: Any, first: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ahead = _prefetch(builder)
        start = _address(context, builder, signature.args[0], args[0], args[1])
        with cgutils.for_range_slice(builder, _number(0), args[2], _number(_LINE), intp=_LONG) as (i, _):
            at = builder.gep(start, [builder.mul(i, _number(4))])
            builder.call(
                ahead, [at, *[_HINT(n) for n in (0, 3, 1)]]
            )  # to be read, kept in the first cache, of data
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64), generate


fetch: Any = intrinsic(
    _fetching
)  # (a, first, count): has the memory of so many floats brought near; it may lie outside


def _streaming(context: Any, a: Any, factor: Any, b: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, to = (_address(context, builder, signature.args[i], args[i], _number(0)) for i in (0, 2))
        around = builder.module.add_metadata([_HINT(1)])
        step = 4 * _LINE
        with cgutils.for_range_slice(builder, _number(0), args[3], _number(step), intp=_LONG) as (i, _):
            places = [builder.mul(builder.add(i, _number(x)), _number(4)) for x in range(0, step, WIDTH)]
            at = lambda start, x: builder.bitcast(builder.gep(start, [x]), _VECTOR.as_pointer())  # noqa: E731
            found = [builder.load(at(source, x), align=4) for x in places]
            for x, v in zip(places, found, strict=True):
                store = builder.store(
                    builder.fmul(v, _everywhere(builder, args[1])), at(to, x), align=4 * WIDTH
                )
                store.set_metadata("nontemporal", around)
        return context.get_dummy_value()

    return types.void(a, types.float32, b, types.int64), generate


_stream: Any = intrinsic(_streaming)


@inlined
def stream(a, factor, b):
    """b = factor · a, past the cache: the lines of b aren't read first, nor kept. To be followed by a :func:`settle`."""
    n = b.shape[0]
    head = min((-b.ctypes.data % 64) // 4, n)
    whole = (n - head) // (4 * _LINE) * (4 * _LINE)
    for i in range(head):
        b[i] = a[i] * factor
    _stream(a[head:], factor, b[head:], whole)
    for i in range(head + whole, n):
        b[i] = a[i] * factor


def _settling(context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


settle: Any = intrinsic(_settling)  # what was streamed is there for other threads too
