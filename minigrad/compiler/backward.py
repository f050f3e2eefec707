"""The gradient of a compiled function whose results need one: traced once, replayed as one node of the graph."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backend, errors
from ..autograd import Node, edge, wrap
from ..backward import Walk
from .passes import grouped, simplified
from .planned import Arena, Planned
from .program import Program, Value
from .refusals import CompileError
from .trace import Tracer


def traced(tracer: Tracer, tensors: list[Any], values: list[Value], title: str) -> Backward | None:
    """Traces the walk from the results to what came from outside; None where no result needs a gradient."""
    roots = {
        i: t for i, t in enumerate(tensors)
        if t._requires_grad and id(t) not in tracer.met and t._node is not None
        and not any(u is t for u in tensors[:i]) and not _freed(t._node, tracer.since)
    }  # fmt: skip
    wanted = [m.tensor for m in tracer.met.values() if m.requires_grad]
    return Backward(tracer, roots, wanted, values, title) if roots and wanted else None


def _freed(root: Node, since: int) -> bool:
    """Has a part of the graph that was made here been walked already?"""
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen and node.seq >= since:
            if node.freed:
                return True
            seen.add(node)
            stack += [p[0] for p in node.parents if p is not None]
    return False


def ended(tracer: Tracer, tensors: list[Any]) -> list[tuple[int, Any]]:
    """Results whose graph was walked within the call, and a node of which backward says so."""
    made = []
    for i, t in enumerate(tensors):
        if id(t) not in tracer.met and t._node is not None and _freed(t._node, tracer.since):
            node = Node(
                SimpleNamespace(name=t._node.op.name), ((wrap(t._array), 0),), backend.module_of(t._array)
            )
            node.freed = True
            made.append((i, node))
    return made


class Backward:
    """The program of the gradients, and the node that runs it for each call."""

    def __init__(
        self,
        tracer: Tracer,
        roots: dict[int, Any],
        wanted: list[Any],
        values: list[Value],
        title: str,
    ) -> None:
        self.title = title
        self.roots = [(i, t._array.shape, t._array.dtype) for i, t in roots.items()]
        self.module = backend.module_of(next(iter(roots.values()))._array)
        seeds = [wrap(self.module.m.zeros_like(t._array)) for t in roots.values()]
        arguments = {tracer.arrays.made(g._array, f"g{k}"): k for k, g in enumerate(seeds)}
        for v in arguments:
            v.strides = None  # a call's may be laid out in any way
        start, reached = len(tracer.lines), {}
        self.failure: str | None = None
        try:
            with tracer:
                walk = Walk(zip(roots.values(), seeds, strict=True), True, False, wanted, since=tracer.since)
            reached = walk.found
        except CompileError:
            raise
        except RuntimeError as e:  # a stale save: the call is right, and its backward is not, as uncompiled
            self.failure, reached = str(e), {edge(t): g._array for t, g in zip(wanted, seeds, strict=False)}
            del tracer.lines[start:]
        lines = tracer.lines[start:]
        del tracer.lines[start:]
        found = [(t, reached.get(edge(t))) for t in wanted]
        self.wanted = [tracer.finder(t) for t, g in found if g is not None]
        outputs = [tracer.value(g) for _, g in found if g is not None]
        whole = Program(lines, arguments, *tracer.outside_of(lines, outputs), outputs)
        program = simplified(whole)
        made = {v for line in program.lines for v in line.results}
        read = dict.fromkeys(v for line in program.lines for v in line.reads())
        read.update(dict.fromkeys(program.outputs))
        self.saved = [v for v in read if v not in made and v not in arguments and v not in program.constants]
        for k, v in enumerate(self.saved):
            arguments[v] = len(roots) + k
        self.unblocked = Program(program.lines, arguments, {}, program.constants, program.outputs)
        self.program = self.unblocked
        memory = {v.memory for v in self.saved}
        over = [t for t in map(tracer.over, memory) if t is not None]
        self.versions = list(map(tracer.finder, over))  # of what is saved, and then may not be written to
        self.watched = [i for i, v in enumerate(values) if v.memory in memory]
        self.keeps = not made.issuperset(program.outputs)
        self.run: Any = None
        self.sizes: tuple[int, ...] = ()  # the batch size, where the program is one of many
        self.seeds = seeds  # until it is planned
        self.strides = [g._array.strides for g in seeds]
        self.timed: Any = None  # the same program with its calls timed, while the compiled function is

    def plan(self, array_of: Callable[[Value], Any], arena: Arena, kept: dict[str, list[Any]]) -> None:
        """Makes it ready to run."""
        self.program = grouped(self.unblocked)
        self.run = Planned(self.program, f"{self.title}_gradient", array_of, arena, kept)
        self.seeds = []

    def follow(self, outs: list[Any], saved: list[Any], arguments: list[Any]) -> None:
        """Makes the results of one call the outputs of a node of their own."""
        parents = [find(arguments) for find in self.wanted]
        kept = [(t._array, t._writes) for t in (find(arguments) for find in self.versions)]
        kept += [(outs[i]._array, outs[i]._writes) for i in self.watched]
        node = ReplayNode(self, parents, saved, [(a, writes, writes[0]) for a, writes in kept])
        for k, (i, _, _) in enumerate(self.roots):
            outs[i]._follow(node, k)


class ReplayNode(Node):
    """One call of a compiled function in the graph: backward replays the program of its gradients."""

    __slots__ = ("backward", "keeps", "versions")

    def __init__(self, backward: Backward, parents: list[Any], kept: list[Any], versions: list[Any]) -> None:
        super().__init__(SimpleNamespace(name=backward.title), tuple(map(edge, parents)), backward.module)
        self.shapes = tuple((t._array.shape, t._array.dtype) for t in parents)
        self.backward, self.versions, self.keeps = backward, versions, backward.keeps
        self.saved = {i: (a, None, None) for i, a in enumerate(kept)}

    def run(self, grads: list[Any], needs: list[bool], create: bool) -> list[Any]:
        if create:
            raise RuntimeError(f"{self.op.name}: the gradient of a compiled function can't be differentiated again; call the "
                               f"function uncompiled where create_graph=True is needed")  # fmt: skip
        if self.backward.failure is not None:
            raise RuntimeError(self.backward.failure)
        for array, writes, version in self.versions:
            if writes[0] != version:
                raise RuntimeError(f"{self.op.name}: one of the variables needed for gradient computation has been modified by an "
                                   f"inplace operation: {errors.describe(array)} is at version {writes[0]}; expected version "
                                   f"{version} instead; clone() it before the write")  # fmt: skip
        m = self.module.m
        given = [
            grads[k] if k < len(grads) and grads[k] is not None else m.zeros(shape, dtype=dtype)
            for k, (_, shape, dtype) in enumerate(self.backward.roots)
        ]
        run: Any = self.backward.timed or self.backward.run
        plain = zip(given, self.backward.strides, strict=True)
        if any(g.strides != traced or not g.flags.aligned for g, traced in plain):
            run = run.anew  # the plan knows the traced layout alone
        with np.errstate(all="ignore"):
            return run(*given, *[array for array, _, _ in self.saved.values()], *self.backward.sizes)

    def release(self) -> None:
        self.saved, self.versions, self.freed = {}, [], True
