"""Two workloads for every row of the op table: its forward, and its backward where it has one.

The operands come from the row: its first case, enlarged as far as its attributes allow, values from its
domain. A torch function of the row's name is its peer only if it returns the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import minigrad
from minigrad.autograd import apply, grad, no_grad
from minigrad.jobs import nearest
from minigrad.op import OPS, Case, Op, bools, floats, ints

from .workload import Built, Kit, Missing, Workload, same


def row_workloads(row: Op, elements: int) -> list[Workload]:
    """The row's forward, and its backward where it is differentiable."""
    with minigrad.kernels("off"):
        arrays, attrs = operands(row, elements, np.random.default_rng(0))
        with no_grad():
            out = _first(apply(row, [_tensor(None if a is None else a.copy()) for a in arrays], attrs))
    given = [i for i, a in enumerate(arrays) if a is not None]
    result = None if out is None else out.numpy()
    written = 0 if row.view or result is None else result.nbytes
    picked = any(arrays[i].dtype.kind in "iu" for i in given) and not row.elementwise  # some of x, by index
    least = written if row.view or picked else written + sum(arrays[i].nbytes for i in given)
    # of an elementwise row the flops are an estimate, which a shorter polynomial beats; of a matrix product they aren't
    work = row.work(arrays, result) if callable(row.flops) else 0.0
    work *= 0.5 if attrs.get("is_causal") else 1.0  # nothing above the diagonal is needed
    absent = [a is None for a in arrays]

    def draw(rng: np.random.Generator) -> list[Any]:
        return [a for a in operands(row, elements, rng)[0] if a is not None]

    def laid(tensors: Sequence[Any]) -> list[Any]:
        rest = iter(tensors)
        return [None if gone else next(rest) for gone in absent]

    def forward(kit: Kit, tensors: Sequence[Any]) -> Built:
        inputs = laid(tensors)
        call = _call(kit, row, inputs, attrs)
        if row.mutates:
            names = {row.inputs[i]: inputs[i] for i in given if row.inputs[i] in row.mutates}
            return Built(call, lambda _: dict(names))
        return Built(
            call, lambda made: {f"out {i}": t for i, t in enumerate(_all(made)) if t is not None}
        )  # fmt: skip

    poked = 0 if given else None
    found = [Workload(
        f"{row.name} forward", draw, forward, work, least, poked, stateful=bool(row.mutates), process=False,
    )]  # fmt: skip
    wrt = [
        i
        for i in given
        if arrays[i].dtype.kind == "f" and (row.variadic or row.inputs[i] not in row.constant)
    ]
    if not row.differentiable or row.mutates or not wrt or result is None or result.dtype.kind != "f":
        return found

    def seeded(rng: np.random.Generator) -> list[Any]:
        return [*draw(rng), rng.uniform(-1, 1, result.shape).astype(np.float32)]

    def backward(kit: Kit, tensors: Sequence[Any]) -> Built:
        if kit.whole is not same:
            raise Missing("a compiled step holds its forward too; see the workloads that go both ways")
        inputs, seed = laid(tensors[:-1]), tensors[-1]
        into = [inputs[i] for i in wrt]
        call = _call(kit, row, inputs, attrs)
        derive = grad if kit.lib is minigrad else kit.lib.autograd.grad
        graph: list[Any] = []

        def prepare() -> None:
            for t in into:
                t.requires_grad_()
            graph[:] = [_first(call())]
            try:
                call_backward()
            except RuntimeError as e:
                if kit.lib is minigrad:
                    raise
                raise Missing(f"{kit.lib.__name__} has no gradient of {row.name}: {e}") from None

        def results(made: Any) -> dict[str, Any]:  # None, an input without effect, is a gradient of zeros
            return {
                f"gradient {i}": kit.lib.zeros_like(t) if g is None else g
                for i, t, g in zip(wrt, into, made, strict=True)
            }

        def call_backward() -> Any:
            return derive(graph[0], into, seed, retain_graph=True, allow_unused=True)

        return Built(call_backward, results, prepare)

    back = Workload(
        f"{row.name} backward", seeded, backward, 0, _moved_back(row, arrays, wrt, result), len(given), process=False,
    )  # fmt: skip
    return [*found, back]


def _moved_back(row: Op, arrays: list[Any], wrt: list[int], result: np.ndarray) -> int:
    """Bytes that an elementwise row's gradients need: a rule that reads no values may hand on what it was given."""
    read = {r.target for r in row.rules if any(kind in ("input", "output") for kind, _ in r.reads)}
    made = [arrays[i].nbytes for i in wrt if {i, None} & read]
    return sum(made) + result.nbytes if made and row.elementwise else 0


def operands(row: Op, elements: int, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Arrays and attributes to call a row with: the first case's, enlarged to about ``elements`` where it runs."""
    spec = ints((32, 32), 100) if row.integer else (32, 32)
    given = row.cases[0] if row.cases else Case((spec,) * len(row.inputs), {})
    if not row.variadic:  # what the case leaves out is None
        given = Case((*given.operands, *[None] * (len(row.inputs) - len(given.operands))), given.attrs)
    sizes = [int(np.prod(_shape(o), dtype=int)) for o in given.operands if o is not None]
    rank = max([sum(n > 1 for n in _shape(o)) for o in given.operands if o is not None], default=0)
    factor = max(1, int((elements / max(*sizes, 1)) ** (1 / max(rank, 1)))) if sizes else 1
    factor = _FACTORS.get((row.name, elements), factor)
    for k in (*_halved(factor), 1):
        attrs = {**row.attrs, **{n: _larger(v, k) if n == "shape" else v for n, v in given.attrs.items()}}
        if k > 1 and np.prod(attrs.get("shape") or 0, dtype=float) > 4 * elements:
            continue  # a shape among the attributes grows faster than the operands
        arrays = [_array(row, i, spec, k, rng) for i, spec in enumerate(given.operands)]
        if k == 1 or (row.name, elements) in _FACTORS:
            break
        try:
            with no_grad(), minigrad.kernels("off"):
                apply(row, [_tensor(None if a is None else a.copy()) for a in arrays], attrs)
            break
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
    _FACTORS[row.name, elements] = k
    return arrays, attrs


_FACTORS: dict[tuple[str, int], int] = {}  # how far a row was enlarged for so many elements, once it has run


def _halved(k: int) -> Iterator[int]:
    while k > 1:
        yield k
        k //= 2


def _shape(spec: Any) -> tuple[int, ...]:
    return spec.shape if isinstance(spec, (ints, bools, floats)) else spec


def _larger(shape: tuple[int, ...], k: int) -> tuple[int, ...]:
    return tuple(n * k if n > 1 else n for n in shape)


def _array(row: Op, position: int, spec: Any, k: int, rng: np.random.Generator) -> Any:
    if spec is None:
        return None
    shape = _larger(_shape(spec), k)
    if isinstance(spec, ints):
        return rng.integers(spec.low, spec.high, shape)
    if isinstance(spec, bools):
        return rng.integers(0, 2, shape).astype(bool)
    domain: Any = row.domain
    if isinstance(spec, floats):
        low, high = spec.low, spec.high
    else:
        low, high = domain[min(position, len(domain) - 1)] if isinstance(domain[0], (tuple, list)) else domain
    return rng.uniform(low, high, shape).astype(np.float32)


def _tensor(array: Any) -> Any:
    return None if array is None else minigrad.as_tensor(array)


def _all(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)


def _first(made: Any) -> Any:
    return made[0] if isinstance(made, (tuple, list)) else made


def _call(kit: Kit, row: Op, inputs: list[Any], attrs: dict[str, Any]) -> Callable[[], Any]:
    """The row on these inputs, in either library."""
    if kit.lib is minigrad:
        run = kit.whole(lambda *given: apply(row, given, attrs))
        return lambda: run(*inputs)
    if row.mutates:
        raise Missing(f"{kit.lib.__name__} has its optimizers' updates inside of them")
    return _peer(kit, row, inputs, attrs)


def _peer(kit: Kit, row: Op, inputs: list[Any], attrs: dict[str, Any]) -> Callable[[], Any]:
    """torch's function of the row's name, in the first calling convention that gives our numbers."""
    lib = kit.lib
    with no_grad(), minigrad.kernels("off"):
        ours = apply(row, [_tensor(None if t is None else t.detach().numpy().copy()) for t in inputs], attrs)
    words = dict(zip(row.inputs[1:], inputs[1:], strict=False)) if not row.variadic else {}
    for home in (lib.nn.functional, lib, lib.Tensor):
        function = getattr(home, row.name, None)
        if function is None:
            continue
        for args, kwargs in ((inputs, attrs), (inputs[:1], {**words, **attrs}), ([inputs], attrs)):
            call = _bound(kit.part(function), args, kwargs)
            try:
                with lib.no_grad():
                    theirs = _bound(function, args, kwargs)()
                if _equal(_all(theirs), _all(ours)):
                    return call
            except (TypeError, RuntimeError, ValueError, IndexError, AttributeError):
                continue
    raise Missing(f"{lib.__name__} has no function {row.name} that gives these numbers")


def _equal(theirs: Sequence[Any], ours: Sequence[Any]) -> bool:
    """Every result of ours is one of theirs in its place, which may have more."""
    pairs = [(a, b) for a, b in zip(theirs, ours, strict=False) if b is not None]
    return len(theirs) >= len(ours) and all(
        tuple(a.shape) == tuple(b.shape)
        and np.allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in pairs
    )


def _bound(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
    return lambda: function(*args, **kwargs)


def all_row_workloads(names: Sequence[str], elements: int) -> dict[str, Workload]:
    """Those of the named rows, by name. Raises KeyError for a name that no row has."""
    found = {}
    for name in names:
        if name not in OPS:
            raise KeyError(f"no row is called {name!r}: docs/ops.md has them all{nearest(name, OPS)}")
        found.update({w.name: w for w in row_workloads(OPS[name], elements)})
    return found
