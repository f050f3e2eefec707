"""The gradient of a compiled function whose results need one: traced once, replayed as one node of the graph."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backend, errors
from ..autograd import Node, edge, wrap
from ..backward import Walk
from .blocks import with_blocks
from .emit import Source
from .passes import without_dead, without_repeats
from .program import Program, Value
from .trace import Tracer


def traced(
    tracer: Tracer, tensors: list[Any], values: list[Value], names: dict[int, str], title: str
) -> Backward | None:
    """Traces the walk from the results to what came from outside; None where no result needs a gradient."""
    roots = [
        i for i, t in enumerate(tensors)
        if t._requires_grad and id(t) not in tracer.met and t._node is not None and not _freed(t._node)
    ]  # fmt: skip
    wanted = [m.tensor for m in tracer.met.values() if m.requires_grad]
    if not roots or not wanted:
        return None
    return Backward(tracer, [(i, tensors[i]) for i in roots], wanted, names, title)


def _freed(root: Node) -> bool:
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if node not in seen and isinstance(node, Node):
            if node.freed:
                return True
            seen.add(node)
            stack += [p[0] for p in node.parents if p is not None]
    return False


class Backward:
    """The program of the gradients, and the node that runs it for each call."""

    def __init__(
        self,
        tracer: Tracer,
        roots: list[tuple[int, Any]],
        wanted: list[Any],
        names: dict[int, str],
        title: str,
    ) -> None:
        self.title, self.roots = title, [(i, t._array.shape, t._array.dtype) for i, t in roots]
        self.module = backend.module_of(roots[0][1]._array)
        seeds = [wrap(self.module.m.zeros_like(t._array)) for _, t in roots]
        arguments = {tracer.outside(g._array, f"g{k}"): k for k, g in enumerate(seeds)}
        start, reached = len(tracer.lines), {}
        self.failure: str | None = None
        try:
            with tracer:
                walk = Walk([(t, g) for (_, t), g in zip(roots, seeds, strict=True)], True, False, wanted)
            reached = walk.found
        except RuntimeError as e:  # a stale save: the call is right, and its backward is not, as uncompiled
            self.failure, reached = str(e), {edge(t): g._array for t, g in zip(wanted, seeds, strict=False)}
            del tracer.lines[start:]
        lines = tracer.lines[start:]
        del tracer.lines[start:]
        found = [(t, reached.get(edge(t))) for t in wanted]
        self.wanted = [t for t, g in found if g is not None]
        self.places = {id(t): i for i, t in enumerate(tracer.arguments)}
        outputs = [tracer.value(g) for _, g in found if g is not None]
        whole = Program(lines, arguments, *tracer.outside_of(lines, outputs), outputs)
        program = with_blocks(without_dead(without_repeats(whole)))
        made = {v for line in program.lines for v in line.results}
        read = dict.fromkeys(v for line in program.lines for v in line.reads())
        read.update(dict.fromkeys(program.outputs))
        self.saved = [v for v in read if v not in made and v not in arguments and v not in program.constants]
        for k, v in enumerate(self.saved):
            arguments[v] = len(roots) + k
        self.program = Program(program.lines, arguments, {}, program.constants, program.outputs)
        self.versions = [tracer.tensor_of(v) for v in self.saved]
        self.source = Source(self.program, f"{title}_gradient", names)
        self.run = self.source.function()
        self.timed: Any = None  # the same program with its calls timed, while the compiled function is

    def follow(self, outs: list[Any], saved: list[Any], arguments: list[Any]) -> None:
        """Makes the results of one call the outputs of a node of their own."""
        parents = [arguments[self.places[id(t)]] if id(t) in self.places else t for t in self.wanted]
        versions = [
            None if t is None else (arguments[self.places[id(t)]] if id(t) in self.places else t)
            for t in self.versions
        ]
        node = ReplayNode(self, parents, saved, [(t, t._writes[0]) for t in versions if t is not None])
        for k, (i, _, _) in enumerate(self.roots):
            outs[i]._follow(node, k)


class ReplayNode(Node):
    """One call of a compiled function in the graph: backward replays the program of its gradients."""

    __slots__ = ("backward", "versions")

    def __init__(self, backward: Backward, parents: list[Any], kept: list[Any], versions: list[Any]) -> None:
        super().__init__(SimpleNamespace(name=backward.title), tuple(map(edge, parents)), backward.module)
        self.shapes = tuple((t._array.shape, t._array.dtype) for t in parents)
        self.backward, self.versions = backward, versions
        self.saved = {i: (a, None, None) for i, a in enumerate(kept)}

    def run(self, grads: list[Any], needs: list[bool], create: bool) -> list[Any]:
        if create:
            raise RuntimeError(f"{self.op.name}: the gradient of a compiled function can't be differentiated again; call the "
                               f"function uncompiled where create_graph=True is needed")  # fmt: skip
        if self.backward.failure is not None:
            raise RuntimeError(self.backward.failure)
        for t, version in self.versions:
            if t._writes[0] != version:
                raise RuntimeError(f"{self.op.name}: one of the variables needed for gradient computation has been modified by an "
                                   f"inplace operation: {errors.describe(t)} is at version {t._writes[0]}; expected version "
                                   f"{version} instead; clone() it before the write")  # fmt: skip
        m = self.module.m
        given = [
            grads[k] if k < len(grads) and grads[k] is not None else m.zeros(shape, dtype=dtype)
            for k, (_, shape, dtype) in enumerate(self.backward.roots)
        ]
        with np.errstate(all="ignore"):
            return (self.backward.timed or self.backward.run)(
                *given, *[array for array, _, _ in self.saved.values()]
            )

    def release(self) -> None:
        self.saved, self.freed = {}, True
