"""The functions that run blocks and loops, which stand above the program in its source, and how these are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import threads
from .blocks import Block, parts
from .fusion import Fusion
from .primitives import Part

if TYPE_CHECKING:
    from .emit import Source


def parts_called(source: Source, block: Block) -> str:
    """The call of a function of its own, which is written above the program."""
    shape, cuts = parts(block)
    whole = [v for v in dict.fromkeys(block.reads()) if v.shape == block.shape]
    results = [v for v in block.results if v is not None]
    given = [*dict.fromkeys(block.reads()), *(results if source.plan is not None else ())]
    taken = ", ".join(map(source.literal, given))
    name = source.free("_".join(dict.fromkeys(line.name for line in block.lines)))
    text = [f"def {name}({', '.join(v.name for v in given)}):"]
    for v in results if source.plan is None else ():
        text.append(
            f"    {v} = {source.named(np.empty, 'empty')}({v.shape}, {source.named(v.dtype, v.dtype.name)})"
        )
    for v in (*whole, *results):
        text.append(f"    {v}_all = {v}.reshape({shape})")
    text.append("    def run(first, last):")
    text.append(
        f"        with {source.named(np.errstate, 'errstate')}(all='ignore'):  # a thread has its own"
    )
    text.append(f"            for part in {source.named(cuts, 'parts')}[first:last]:")
    for v in whole:
        text.append(f"                {v}_part = {v}_all[part]")
    source.parted.update(whole)
    source.inside = True
    for line in block.lines:
        (made,) = line.results
        source.parted.add(made)
        held = f"{made}_all[part] = " if made in results else ""
        text.append(
            f"                {held}{made}_part = {source.named(line.function, line.name)}({source.arguments(line)})"
        )
    source.parted.clear()
    source.inside = False
    work = float(np.prod(block.shape)) * len(block.lines)  # about 1 ns an element and line
    text.append(f"    {source.named(threads.share, 'share')}(run, (), {len(cuts)}, {work})")
    call = f"{name}({taken})"
    if source.plan is None:
        text.append(f"    return {', '.join(v.name for v in results)}")
        call = f"{', '.join(v.name for v in results)} = {call}"
    source.blocks.append("\n".join(text))
    return call


def loop_called(source: Source, block: Fusion) -> str:
    """The call of a function that calls a loop, which is shown above it."""
    k = block.kernel
    name = source.free(k.name)
    if source.plan is None:  # where the loops of a program are compared with their calls
        block.called = name
    text = [f"# {line}" for line in k.text.splitlines()]
    reads = [*dict.fromkeys(block.reads())]
    given = {v.name: source.literal(v) for v in reads}  # what the function calls it, and what it is here
    places = (
        {}
        if source.plan is None
        else {r.value: r for r in (*k.results, *k.sums) if r.value in source.plan.parts}
    )
    for v, r in places.items():
        strides = np.empty(r.shape, r.dtype).strides
        given[v.name] = source.part(Part(v, 0, tuple(r.shape), strides, np.dtype(r.dtype)))
    for v in block.scratch:
        given[v.name] = source.literal(v)
    text.append(f"def {name}({', '.join(given)}):")
    arguments = []
    for o in k.operands:
        x = o.value.name
        if o.at is not None:
            at = ", ".join(":" if isinstance(i, slice) else str(i) for i in o.at)
            x = f"{x}[{at}, ...]"  # an array still, of no dimensions if need be
        x += "" if o.order is None else f".transpose({o.order})"
        x = f"{source.named(np.ascontiguousarray, 'ascontiguousarray')}({x})" if o.copy else x
        arguments.append(x if o.shape is None else f"{x}.reshape({o.shape})")
    empty, given_back, sums = source.named(np.empty, "empty"), {}, []
    for r in (*k.results, *k.sums):
        v = r.value.name
        if r.value not in places:
            text.append(f"    {v} = {empty}({r.shape}, {source.named(r.dtype, r.dtype.name)})")
        given_back[r.value] = v if r.order is None else f"{v}.transpose({r.order})"
        sums.append(v if r.flat is None else f"{v}.reshape({r.flat})")
    arguments += sums[: len(k.results)]
    if k.partial:
        arguments += [v.name for v in block.scratch] or [f"{empty}({k.partial})"] * k.sums_made
    arguments += sums[len(k.results) :]
    arguments += [source.literal(n) for n in (*k.rows, *k.numbers)]
    loop = source.named(k.loop, f"{k.name}_loop")
    if k.partial and k.partial[0] > 1:
        text.append(f"    arguments = ({', '.join(arguments)},)")
        text.append(f"    {source.named(threads.share, 'share')}({loop}, arguments, {k.size}, {k.work})")
        text.append(f"    {loop}(*arguments, -1, 0)")
    elif k.work < threads.SHARED:
        text.append(f"    {loop}({', '.join(arguments)}, 0, {k.size})")
    else:
        share = source.named(threads.share, "share")
        text.append(f"    {share}({loop}, ({', '.join(arguments)},), {k.size}, {k.work})")
    results = [v for v in block.results if v is not None and v not in block.scratch]
    call = f"{name}({', '.join(given.values())})"
    if not places:
        text.append(f"    return {', '.join(given_back[v] for v in results)}")
        call = f"{', '.join(v.name for v in results)} = {call}"
    source.blocks.append("\n".join(text))
    return call
