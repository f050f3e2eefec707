"""The walk back through the graph: ``backward`` and ``grad``, and the hooks that see gradients pass.

The walk is a heap over creation numbers: a node is always younger than its inputs, so taking the youngest
first is a topological order, without recursion. Gradients are un-broadcast and cast here, once for all rules.
What doesn't live here: what a node keeps and how it runs its rule (``autograd.Node``).
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import backend, errors
from .autograd import AFTER, BEFORE, ON_TENSORS, RETAIN, Node, Variable, apply, call_row, edge, run, wrap
from .modes import STATE
from .op import OPS

_accumulating = threading.Lock()  # threads may share leaves: reading and replacing a sum is one step


class Walk:
    """One backward pass from ``roots``, pairs of a tensor and its gradient, youngest node first.

    Gradients wait in ``pending`` until every user of a node has run, those by leaves in ``leaves``. With
    ``wanted`` only what leads to those tensors runs. ``found`` gets the gradients by edge; with
    ``accumulate`` they are added to ``.grad`` as well; what is older than ``since`` isn't walked, its hooks left
    to the walk that will. They are raw arrays, or tensors with ``create_graph``.
    """

    def __init__(
        self,
        roots: Any,
        retain_graph: bool,
        create_graph: bool,
        wanted: Any = None,
        accumulate: bool = False,
        since: int = -1,
    ) -> None:
        state = STATE.get()
        self.retain, self.create, self.check_nan = (
            retain_graph,
            create_graph,
            state.anomaly and state.check_nan,
        )
        self.pending: dict[Node, list[Any]] = {}
        self.heap: list[tuple[int, Node]] = []
        self.leaves: dict[Any, Any] = {}
        self.owned: set[Any] = set()  # leaves whose gradient's memory is nobody else's
        self.found: dict[Any, Any] = {}
        self.targets: set[Any] = set()
        self.since = since
        self.needed: set[Any] | None = None
        if wanted is not None:
            roots = list(roots)
            self.targets = {edge(t) for t in wanted}
            nodes = [t._node for t, _ in roots if t._node is not None]
            self.needed = _needed(nodes, {target for target, _ in self.targets})
        backend.keep_freed_memory()
        token = STATE.set(state._replace(grad=create_graph))
        try:
            with np.errstate(all="ignore"):
                self.run(roots, wanted, accumulate)
        finally:
            STATE.reset(token)

    def run(self, roots: Any, wanted: Any, accumulate: bool) -> None:
        for t, g in roots:
            if self.needed is None or t._node is None or t._node in self.needed:
                self.send(edge(t), g if self.create else g._array, owned=False)
        while self.heap:
            node = heapq.heappop(self.heap)[1]
            self.visit(node, self.pending.pop(node))
        for leaf, g in self.leaves.items():
            if wanted is None or (leaf, 0) in self.targets:
                self.found[leaf, 0] = self.hooked(leaf._hooks, g) if leaf._hooks and self.since < 0 else g
        for t in dict.fromkeys(self.leaves if wanted is None else wanted) if accumulate else ():
            if (g := self.found.get(edge(t))) is not None:
                self.accumulate(t, g)

    def send(self, to: tuple[Any, int], g: Any, owned: bool) -> None:
        """Adds a gradient to what waits at a node's output or a leaf."""
        target, index = to
        if isinstance(target, Node):
            slots = self.pending.get(target)
            if slots is None:
                slots = self.pending[target] = [None] * (index + 1)
                heapq.heappush(self.heap, (-target.seq, target))
            elif len(slots) <= index:
                slots += [None] * (index + 1 - len(slots))
            old = slots[index]
            slots[index] = g if old is None else self.plus(old, g)
        else:
            if target in self.leaves:
                g, owned = self.plus(self.leaves[target], g), True
            self.leaves[target] = g
            if owned:
                self.owned.add(target)

    def plus(self, a: Any, b: Any) -> Any:
        return a + b if self.create else call_row("add", backend.module_of(a).m, a, b)

    def visit(self, node: Node, grads: list[Any]) -> None:
        """Runs a node's rule on the gradients by its outputs and sends what comes out to its inputs."""
        create, needed, parents = self.create, self.needed, node.parents
        if node.hooks and node.seq >= self.since:
            self.run_hooks(node.hooks, grads)
        if self.targets:
            self.found.update({(node, i): g for i, g in enumerate(grads) if (node, i) in self.targets})
        if node.seq < self.since:
            return
        needs = [p is not None and (needed is None or p[0] in needed) for p in parents]
        if not any(needs):
            return
        if node.freed:
            raise errors.graph_freed(node.op.name)
        if (tracer := STATE.get().tracer) is not None and node.seq < tracer.since:
            tracer.refuse(
                "backward goes on through a graph that was recorded outside", "detach() what comes from it"
            )
        if self.retain:  # a walk after this one would find it used
            node.ahead = None
        try:
            raw = node.run(grads, needs, create)
        except Exception as e:
            if node.trace:
                e.add_note(f"{node.name()} was recorded at:\n{node.trace}")
            raise
        results = [
            _fit(node.module, r, fits, create) if need and r is not None else None
            for r, need, fits in zip(raw, needs, node.shapes, strict=True)
        ]
        if node.hooks and AFTER in node.hooks:
            results = self.run_post_hooks(node.hooks[AFTER], results, grads)
        known: list[Any] | None = None  # a leaf may keep an array, and add to it, that is nobody else's
        for i, (r, given) in enumerate(zip(results, raw, strict=True)):
            if r is None:
                continue
            if self.check_nan:
                _refuse_nan(node, i, r)
            owned = not (create or node.keeps) and isinstance(parents[i][0], Variable)
            if owned and r is given:
                if known is None:
                    known = [*raw, *grads, *[s[0] for s in node.saved.values()]]
                others = [a for a in known if a is not None and a is not r]
                owned = len(others) == len(known) - sum(a is None for a in known) - 1 and _apart(
                    node.module, r, others
                )
            self.send(parents[i], r, owned)
        if not self.retain:
            node.release()

    def accumulate(self, leaf: Any, g: Any) -> None:
        """Adds a gradient to ``leaf.grad``, in its memory where nobody differentiates through it."""
        tracer = STATE.get().tracer
        if self.create:
            with _accumulating:
                leaf._grad = g if leaf._grad is None else leaf._grad + g
            if tracer is not None:
                tracer.sets_grad(leaf)
        else:
            add = add_gradient if tracer is None else tracer.adds_gradient
            add(leaf, g, leaf in self.owned and not leaf._hooks)
        for hook in list(leaf._post_hooks.values()) if leaf._post_hooks else ():
            hook(leaf)

    # ---- hooks: they are shown tensors ------------------------------------------------------------------

    def shown(self, g: Any) -> Any:
        return g if self.create or g is None else wrap(g)

    def taken(self, t: Any) -> Any:
        return t if self.create or t is None else t._array

    def run_hooks(self, hooks: dict[int, dict[int, Any]], grads: list[Any]) -> None:
        """Node pre-hooks on all gradients, then the hooks of each output's tensor, ``retain_grad``'s last."""
        for hook in list(hooks.get(BEFORE, {}).values()):
            new = hook(tuple(map(self.shown, grads)))
            if new is not None:
                grads[:] = map(self.taken, new)
        for index, g in enumerate(grads):
            if g is not None:
                grads[index] = self.hooked(hooks.get(index), g)
                self.hooked(hooks.get(RETAIN - index), grads[index])

    def run_post_hooks(self, hooks: dict[int, Any], results: list[Any], grads: list[Any]) -> list[Any]:
        ins, outs = tuple(map(self.shown, results)), tuple(map(self.shown, grads))
        for hook in list(hooks.values()):
            new = hook(ins, outs)
            ins = ins if new is None else tuple(new)
        return [self.taken(t) for t in ins]

    def hooked(self, hooks: dict[int, Any] | None, g: Any) -> Any:
        """g after the hooks of its tensor, each of which may replace it by another of its shape."""
        for hook in list(hooks.values()) if hooks else ():
            new = hook(self.shown(g))
            if new is None:
                continue
            name = getattr(hook, "__name__", hook)
            if not isinstance(new, Variable):
                raise TypeError(f"hook {name!r}: expected Variable, but hook returned {type(new).__name__!r}")
            if tuple(new._array.shape) != tuple(g.shape):
                raise RuntimeError(f"hook {name!r} has changed the size of value: expected {tuple(g.shape)}, got "
                                   f"{tuple(new._array.shape)}")  # fmt: skip
            g = self.taken(new)
        return g


def _needed(roots: Iterable[Node], wanted: set[Any]) -> set[Any]:
    """The nodes from which something wanted can be reached: the only ones worth running."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [p[0] for p in node.parents if p is not None and isinstance(p[0], Node)]
    needed = set(wanted)
    for node in sorted(seen, key=lambda n: n.seq):  # inputs before users
        if any(p is not None and p[0] in needed for p in node.parents):
            needed.add(node)
    return needed


def _fit(module: backend.ArrayModule, g: Any, to: tuple[tuple[int, ...], Any], create: bool) -> Any:
    """Sums a gradient over broadcast dimensions and casts it to its input's shape and dtype."""
    shape, dtype = to
    if g.shape == shape and g.dtype == dtype:
        return g
    m = ON_TENSORS if create else module.m
    if tuple(g.shape) != shape:
        lead = len(g.shape) - len(shape)
        spread = [i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1]
        if dims := (*range(lead), *spread):
            g = call_row("sum", m, g, dim=dims)
        for row in ("reshape", "broadcast_to"):
            if tuple(g.shape) != shape:
                g = call_row(row, m, g, shape=shape)
    return g if (g._array if create else g).dtype == dtype else call_row("to", m, g, dtype=dtype)


def add_gradient(leaf: Any, g: Any, own: bool) -> None:
    """Adds a raw array to ``leaf.grad``; if ``own``, the array may become the gradient itself."""
    with _accumulating:
        if leaf._grad is None:
            leaf._grad = wrap(g if own else call_row("clone", backend.module_of(g).m, g, order="C"))
        elif leaf._grad._requires_grad:
            leaf._grad = leaf._grad.detach() + wrap(g)
        else:
            run(_add_into, backend.module_of(g).m, leaf._grad._array, g)
            leaf._grad._writes[0] += 1


def _add_into(m: Any, a: Any, b: Any) -> Any:
    return m.add(a, b, out=a)


def _apart(module: Any, r: Any, others: list[Any]) -> bool:
    """Is the array's memory nobody else's, each element once? A kernel's results are views of memory of their own."""
    if getattr(r, "base", r) is None:
        return True
    plain = r.flags.c_contiguous or r.flags.f_contiguous
    return plain and not any(module.shares_memory(r, a) for a in others if type(a) is type(r))


def _refuse_nan(node: Node, i: int, r: Any) -> None:
    a = r._array if isinstance(r, Variable) else r
    if bool(backend.module_of(a).m.isnan(a).any()):
        where = (
            f"Forward was called at:\n{node.trace}"
            if node.trace
            else "Run forward under detect_anomaly to see where"
        )
        raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output: the gradient of "
                           f"{node.op.name} by its input {i}, {errors.describe(r)}, has NaN. {where}")  # fmt: skip


def _tensors(name: str, argument: str, given: Any) -> list[Any]:
    """One tensor or a sequence of them, as a list."""
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, Variable) else [given]
    for t in found:
        if not isinstance(t, Variable) and (t is not None or argument != "gradients"):
            raise TypeError(f"{name}: expected {argument} to be a Tensor or a sequence of Tensors, got "
                            f"{errors.describe(t)}")  # fmt: skip
    return found


def _roots(name: str, tensors: Any, gradients: Any) -> list[tuple[Any, Any]]:
    tensors = _tensors(name, "outputs", tensors)
    gradients = [None] * len(tensors) if gradients is None else _tensors(name, "gradients", gradients)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"{name}: got {len(tensors)} tensors and {len(gradients)} gradients")
    pairs = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=True)):
        if not t.requires_grad:
            raise RuntimeError(
                f"{name}: element {i} of tensors does not require grad and does not have a grad_fn; set "
                f"requires_grad=True on an input before computing it"
            )
        if g is None:
            if t._array.size != 1:
                raise RuntimeError(
                    f"{name}: grad can be implicitly created only for scalar outputs, got shape "
                    f"{tuple(t._array.shape)}; reduce it with .sum() or .mean(), or pass gradient="
                )
            g = wrap(backend.module_of(t._array).m.ones(t._array.shape, dtype=t._array.dtype))
        elif tuple(g.shape) != tuple(t._array.shape):
            raise RuntimeError(
                f"{name}: Mismatch in shape: gradient has shape {tuple(g.shape)}, the tensor "
                f"{tuple(t._array.shape)}; pass a gradient of the tensor's shape"
            )
        elif g._array.dtype != t._array.dtype:
            g = apply(OPS["to"], (g,), {"dtype": t._array.dtype})
        pairs.append((t, g))
    return pairs


def _wanted(name: str, inputs: Any) -> list[Any]:
    inputs = _tensors(name, "inputs", inputs)
    for i, t in enumerate(inputs):
        if not t.requires_grad:
            raise RuntimeError(f"{name}: One of the differentiated Tensors (input {i}) does not require grad; call "
                               f"requires_grad_() on it before computing the outputs")  # fmt: skip
    return inputs


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates d(tensors)/d(leaf) into ``leaf.grad``, for all leaves or for ``inputs`` alone.

    ``grad_tensors`` (once called ``grad_variables``) are the vectors of the vector–Jacobian product, 1 for
    scalars. The graph is freed unless ``retain_graph`` (default: the value of ``create_graph``).
    """
    retain = create_graph if retain_graph is None else retain_graph
    roots = _roots("backward", tensors, grad_variables if grad_tensors is None else grad_tensors)
    wanted = None if inputs is None else _wanted("backward", inputs)
    if wanted == []:
        raise RuntimeError("backward: `inputs` argument to `backward` cannot be empty; leave it out for all")
    Walk(roots, retain, create_graph, wanted, accumulate=True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` by ``inputs``, returned; no ``.grad`` is touched.

    Raises RuntimeError for an input that wasn't used, unless ``allow_unused`` (None comes back) or
    ``materialize_grads`` (zeros come back). ``only_inputs`` is always true, as in PyTorch.
    """
    if is_grads_batched:
        raise NotImplementedError(
            "grad: is_grads_batched=True is not supported (no vmap); call grad for each"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "grad: Expected allow_unused to be True or not passed when materialize_grads=True, got False"
        )
    inputs = _wanted("grad", inputs)
    retain = create_graph if retain_graph is None else retain_graph
    walk = Walk(_roots("grad", outputs, grad_outputs), retain, create_graph, inputs)
    found = [walk.found.get(edge(t)) for t in inputs]
    for i, g in enumerate(found):
        if g is None and materialize_grads:
            g = backend.module_of(inputs[i]._array).m.zeros_like(inputs[i]._array)
        elif g is None and not allow_unused:
            raise RuntimeError(
                f"grad: One of the differentiated Tensors (input {i}) appears to not have been used in the "
                f"graph. Set allow_unused=True if this is the desired behavior"
            )
        found[i] = g if g is None or isinstance(g, Variable) else wrap(g)
    return tuple(found)


__all__ = ["backward", "grad"]
