"""Whole vectors of the machine at work: matrix products by register tiles, transpositions of blocks, stores past the cache.

LLVM vectorises the loops of this set of its own accord; what it doesn't find is a tile of a matrix product that stays in
registers, a transposition by shuffles, and what memory is to be asked for or not. These are written here in its own terms, for the widest vectors of the machine
that this runs on: AVX-512, AVX2, or 128 bits (NEON, SSE). The operands are float32.
"""

from __future__ import annotations

from collections.abc import Callable
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
    # every 64-bit ARM has NEON and its registers, and LLVM doesn't list what it has on every system
    arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return (8, 16) if has.get("avx2") else (4, 32 if arm else 16)


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
    count = WIDTH * 4 // (8 if number.type == ir.DoubleType() else 4)
    one = builder.insert_element(
        ir.Constant(ir.VectorType(number.type, count), ir.Undefined), number, _number(0)
    )
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), count), None))


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
AHEAD = (
    2048  # elements that memory is asked for before they are read: the machine's own guesses come too late
)
LINE = 64  # bytes of a line of the cache


def _fetching(context: Any, a: Any, first: Any, count: Any) -> Any:
    size = a.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(a)(context, builder, args[0]).data
        place = lambda n: builder.mul(n, _number(size))  # noqa: E731
        start = builder.gep(builder.bitcast(data, _BYTE.as_pointer()), [place(args[1])])
        near = [_HINT(n) for n in (0, 3, 1)]  # to be read, kept in the first cache, of data
        with cgutils.for_range_slice(builder, _number(0), args[2], _number(LINE // size), intp=_LONG) as (
            i,
            _,
        ):
            builder.call(_prefetch(builder), [builder.gep(start, [place(i)]), *near])
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64), generate


# (a, first, count): has the memory of elements of a contiguous array, or of what lies after it, brought near
fetch: Any = intrinsic(_fetching)


def _settling(context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


settle: Any = intrinsic(_settling)  # what was streamed is there for other threads too


def _baring(context: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(a)(context, builder, args[0])
        array.meminfo = ir.Constant(array.meminfo.type, None)
        return array._getvalue()

    return a(a), generate


bare: Any = intrinsic(
    _baring
)  # an argument whose parts aren't counted: the counts' locks wait for what was streamed


# ---- formulas along rows --------------------------------------------------------------------------------


class Lanes:
    """A vector in a formula: +, - and * in all places at once, fused where they can be."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _with(self, what: str, other: Lanes) -> Lanes:
        return Lanes(self.builder, getattr(self.builder, what)(self.value, other.value, flags=("contract",)))

    def __add__(self, other: Lanes) -> Lanes:
        return self._with("fadd", other)

    def __sub__(self, other: Lanes) -> Lanes:
        return self._with("fsub", other)

    def __mul__(self, other: Lanes) -> Lanes:
        return self._with("fmul", other)


def begins_a_line(x: Any) -> bool:
    """Is an array's memory where a line of the cache begins?"""
    return x.__array_interface__["data"][0] % LINE == 0


def sweep(formula: Callable[..., Any], numbers: int, rows: int = 1, past: bool = False) -> Any:
    """``(zero, read, shared, to, sums, known, step, count)``: a formula along rows side by side, vector by vector.

    ``formula(read, shared, known)`` gives a row's result, and what each of the sums grows by, of the vectors that are read
    of each row, those that the rows share, and so many numbers known of the row. Operands are addresses: of the first
    row, ``step`` bytes before the next, and of its numbers, which lie together. ``zero`` tells the dtype, ``count`` is of
    elements, whole vectors. Results that go ``past`` the cache begin at a line each; no line is read first, nor kept, and
    a :func:`settle` follows.
    """

    def typed(
        context: Any, zero: Any, read: Any, shared: Any, to: Any, sums: Any, known: Any, step: Any, count: Any
    ) -> Any:
        def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
            kind, size = context.get_value_type(zero), zero.bitwidth // 8
            width = WIDTH * 4 // size
            vector = ir.VectorType(kind, width).as_pointer()
            read, shared, sums = (cgutils.unpack_tuple(b, args[i]) for i in (1, 2, 4))
            to, known, step, count = args[3], args[5], args[6], args[7]
            number = lambda n: b.load(b.inttoptr(b.add(known, _number(n * size)), kind.as_pointer()))  # noqa: E731
            told = [
                [Lanes(b, _everywhere(b, number(r * numbers + n))) for n in range(numbers)]
                for r in range(rows)
            ]
            starts = [b.mul(step, _number(r)) for r in range(rows)]
            with cgutils.for_range_slice(b, _number(0), count, _number(width), intp=_LONG) as (i, _):
                here = b.mul(i, _number(size))
                at = lambda start, r=None: b.inttoptr(  # noqa: E731
                    b.add(here, start if r is None else b.add(start, starts[r])), vector
                )
                load = lambda place: Lanes(b, b.load(place, align=size))  # noqa: E731
                common, grown = [load(at(s)) for s in shared], [load(at(s)) for s in sums]
                made = []
                for r in range(rows):
                    result, more = formula([load(at(s, r)) for s in read], common, told[r])
                    grown = [s + m for s, m in zip(grown, more, strict=True)]
                    made.append(result)
                for r, result in enumerate(made):
                    store = b.store(result.value, at(to, r), align=LINE if past else size)
                    if past:
                        store.set_metadata("nontemporal", b.module.add_metadata([_HINT(1)]))
                for s, total in zip(sums, grown, strict=True):
                    b.store(total.value, at(s), align=size)
            return context.get_dummy_value()

        return types.void(zero, read, shared, to, sums, known, step, count), generate

    return intrinsic(typed)


def _scaled(read, shared, known):
    (x,), (factor,) = read, known
    return x * factor, ()


_stream = sweep(_scaled, 1, past=True)


@inlined
def stream(a, factor, b):
    """b = factor[0] · a, past the cache; a :func:`settle` follows."""
    n, size = b.shape[0], b.itemsize
    head = min((-b.ctypes.data % LINE) // size, n)
    whole = (n - head) * size // LINE * LINE // size
    for i in range(head):
        b[i] = a[i] * factor[0]
    _stream(
        factor[0],
        (a.ctypes.data + head * size,),
        (),
        b.ctypes.data + head * size,
        (),
        factor.ctypes.data,
        0,
        whole,
    )
    for i in range(head + whole, n):
        b[i] = a[i] * factor[0]
