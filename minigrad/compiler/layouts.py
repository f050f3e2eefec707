"""Layouts: copies that only put dimensions in another order, around products, are saved.

What is only copied is written in the copy's order at once (attention's heads, side by side after the product with the
values, and their gradients), and products read through a copy that they alone read. BLAS takes rows at any distance
from one another for that; rows stay rows, since a product of the operands turned round would round elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .lowering import Lowered
from .nests import each
from .primitives import Part, Primitive
from .program import Program, Value, leaves


def without_copies(lowered: Lowered) -> Lowered:
    """The program without the copies that those who make or read them can do without."""
    program, parts, layouts, written = lowered
    users = users_of(lowered)
    gone = set[int]()
    for line in program.lines:
        if not _copies(line, layouts):
            continue
        out, x = line.args
        if x.value in written:
            first, *others = users[x.value]
            place = _written_by(first, line, layouts) if others == [line] else None
            if place is not None:
                first.kwargs["out"], first.made, first.aligned = place, out.value, False
                users[out.value].remove(line)
                users[out.value].insert(0, first)
            elif not _read_by(users[out.value], users[x.value], line, layouts):
                continue
            gone.add(id(line))
    lines = [line for line in program.lines if id(line) not in gone]
    program = Program(lines, program.arguments, program.tensors, program.constants, program.outputs)
    return Lowered(program, parts, layouts, written)


def users_of(lowered: Lowered) -> dict[Value, list[Any]]:
    """The lines that touch a value's memory, in order, after the program itself where it leaves."""
    program, parts = lowered.program, lowered.parts
    by_memory = {v.memory: p.value for v, p in parts.items()}

    def root(v: Value) -> Value:
        return parts[v].value if v in parts else by_memory.get(v.memory, v)

    users: dict[Value, list[Any]] = {root(v): [program] for v in leaves(program)}
    for line in program.lines:
        for v in dict.fromkeys(map(root, _touched(line))):
            users.setdefault(v, []).append(line)
    return users


def _touched(line: Any) -> Iterator[Any]:
    yield from line.reads()
    yield from (v for v in line.results if v is not None)


def _copies(line: Any, layouts: dict[Value, Part]) -> bool:
    """Is it a copy to a new value, of the same numbers?"""
    if type(line) is not Primitive or line.text != "copyto":
        return False
    out, x = line.args
    whole = type(x) is Part and out == layouts.get(out.value) and line.made is out.value
    return whole and (x.shape, x.dtype) == (out.shape, out.dtype) and x.value in layouts


def _written_by(line: Any, copy: Primitive, layouts: dict[Value, Part]) -> Part | None:
    """What a product, or an elementwise call, writes to so as to make a copy of its result; None if it can't."""
    out, x = copy.args
    old = layouts[x.value]
    if type(line) is not Primitive or line.made is not x.value or line.kwargs.get("out") != old:
        return None
    if not line.aligned and not _product(line):
        return None
    places = _strides(x, out)
    dims = {(n, s) for n, s in zip(old.shape, old.strides, strict=True) if n > 1}
    if dims != places.keys() or len(dims) != sum(n > 1 for n in x.shape):
        return None
    strides = [places.get(d, old.dtype.itemsize) for d in zip(old.shape, old.strides, strict=True)]
    place = Part(out.value, 0, old.shape, tuple(strides), old.dtype)
    return place if _rows(place) else None


def _read_by(users: list[Any], others: list[Any], copy: Primitive, layouts: dict[Value, Part]) -> bool:
    """Has the products that read a copy read what is copied, if there are no others."""
    out, x = copy.args
    at = others.index(copy)
    written = [u for u in others[at:] if type(u) is not Primitive or x.value in (p.value for p in u.targets)]
    readers = [u for u in users if u is not copy]
    if written or not readers or not all(map(_product, readers)):
        return False
    places = _strides(out, x)

    def through(p: Any) -> Any:
        if type(p) is not Part or p.value is not out.value:
            return p
        strides = [
            places.get(d, 0) if d[0] > 1 else p.dtype.itemsize for d in zip(p.shape, p.strides, strict=True)
        ]
        return Part(x.value, x.offset, p.shape, tuple(strides), p.dtype)

    for line in readers:
        for p in line.args:
            if type(p) is Part and p.value is out.value:
                mine = {d for d in zip(p.shape, p.strides, strict=True) if d[0] > 1}
                turned = _rows(p) != _rows(through(p)) or _rows(_t(p)) != _rows(_t(through(p)))
                if p.offset or mine != places.keys() or turned:
                    return False
    for line in readers:
        line.args = each(line.args, through)
        users.remove(line)
    others.remove(copy)
    others += readers
    return True


def _product(line: Any) -> bool:
    """Is it a product of matrices, none of them a vector, which BLAS has?"""
    if type(line) is not Primitive or line.function is not np.matmul:
        return False
    a, b = line.args[:2]
    return min(len(a.shape), len(b.shape)) > 1 and min(*a.shape[-2:], b.shape[-1]) > 1


def _strides(x: Part, y: Part) -> dict[tuple[int, int], int]:
    """The strides of y by the sizes and strides of x's dimensions."""
    return {(n, s): t for n, s, t in zip(x.shape, x.strides, y.strides, strict=True) if n > 1}


def _rows(p: Part) -> bool:
    """Is its last dimension in order, and are its rows apart?"""
    item = p.dtype.itemsize
    if len(p.shape) < 2:
        return False
    return p.strides[-1] == item and p.strides[-2] >= item * p.shape[-1] and not p.strides[-2] % item


def _t(p: Part) -> Part:
    turned = lambda x: (*x[:-2], x[-1], x[-2])  # noqa: E731
    return p._replace(shape=turned(p.shape), strides=turned(p.strides))
