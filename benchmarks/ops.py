"""An entry for every row of the op table: forward and backward, beside torch and beside the machine's floor.

The operands come from the row: its first case, enlarged as far as its attributes allow, values from its
domain. A torch function of the row's name is its peer only if it returns the same numbers here.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import minigrad
from minigrad.autograd import apply, grad, no_grad
from minigrad.op import OPS, Case, Op, bools, floats, ints

from . import machine
from .timing import Ratio, Timing, interleaved, ratio


class Entry(NamedTuple):
    """What one pass of one row took. ``floor`` is the least the machine needs for its bytes and operations."""

    row: str
    direction: str  # "forward" or "backward"
    shapes: str
    ours: Timing
    floor: float
    peer: Timing | None
    ratio: Ratio | None


def operands(row: Op, elements: int, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Arrays and attributes to call a row with: the first case's, enlarged to about ``elements`` where it runs."""
    spec = ints((32, 32), 100) if row.integer else (32, 32)
    given = row.cases[0] if row.cases else Case((spec,) * len(row.inputs), {})
    if not row.variadic:  # what the case leaves out is None
        given = Case((*given.operands, *[None] * (len(row.inputs) - len(given.operands))), given.attrs)
    sizes = [int(np.prod(_shape(o), dtype=int)) for o in given.operands if o is not None]
    rank = max([sum(n > 1 for n in _shape(o)) for o in given.operands if o is not None], default=0)
    factor = max(1, int((elements / max(*sizes, 1)) ** (1 / max(rank, 1)))) if sizes else 1
    for k in (factor, 1):
        arrays = [_array(row, i, spec, k, rng) for i, spec in enumerate(given.operands)]
        attrs = {**row.attrs, **{n: _larger(v, k) if n == "shape" else v for n, v in given.attrs.items()}}
        try:
            with no_grad():
                apply(row, [_tensor(a) for a in arrays], attrs)
        except (RuntimeError, ValueError, IndexError, TypeError):
            if k == 1:
                raise
        else:
            break
    return arrays, attrs


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


def entries(rows: list[str], elements: int, runs: int, peers: bool) -> Iterator[Entry]:
    """Times the named rows, one after another. Raises KeyError for a name that no row has."""
    for name in rows:
        if name not in OPS:
            raise KeyError(f"benchmarks: no row is called {name!r}; the op table has {sorted(OPS)}")
        yield from _row(OPS[name], elements, runs, peers)


def _row(row: Op, elements: int, runs: int, peers: bool) -> Iterator[Entry]:
    arrays, attrs = operands(row, elements, np.random.default_rng(0))
    tensors = [_tensor(a) for a in arrays]
    with no_grad():
        out = _first(apply(row, tensors, attrs))
        peer = _peer(row, arrays, attrs, out) if peers and out is not None else None
        calls: dict[str, Callable[[], Any]] = {"ours": lambda: apply(row, tensors, attrs)}
        if peer is not None:
            calls["peer"] = peer.forward
        times = interleaved(calls, runs)
    moved = sum(a.nbytes for a in arrays if a is not None) + (out.numpy().nbytes if out is not None else 0)
    shapes = " ".join("-" if a is None else "x".join(map(str, a.shape)) or "0-d" for a in arrays)
    least = machine.floor(
        0 if row.view else moved, row.work(arrays, out.numpy() if out is not None else None)
    )
    yield _entry(row, "forward", shapes, times, least)
    wrt = [
        t for i, t in enumerate(tensors) if t is not None and t.is_floating_point() and _has_gradient(row, i)
    ]
    if not row.differentiable or not wrt or out is None or not out.is_floating_point():
        return
    for t in wrt:
        t.requires_grad_()
    result = _first(apply(row, tensors, attrs))
    seed = minigrad.ones_like(result)
    calls = {"ours": lambda: grad(result, wrt, seed, retain_graph=True, allow_unused=True)}
    if peer is not None and peer.backward() is not None:
        calls["peer"] = peer.backward
    yield _entry(row, "backward", shapes, interleaved(calls, runs), 2 * least)


def _has_gradient(row: Op, position: int) -> bool:
    return row.variadic or row.inputs[position] not in row.constant


def _entry(row: Op, direction: str, shapes: str, times: dict[str, Timing], least: float) -> Entry:
    ours, peer = times["ours"], times.get("peer")
    return Entry(row.name, direction, shapes, ours, least, peer, None if peer is None else ratio(ours, peer))


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


class _Peer(NamedTuple):
    forward: Callable[[], Any]
    backward: Callable[[], Any]


def _peer(row: Op, arrays: list[Any], attrs: dict[str, Any], ours: Any) -> _Peer | None:
    """torch's function of the row's name, in the first calling convention that gives our numbers."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    given = [None if a is None else torch.from_numpy(a.copy()) for a in arrays]
    words = dict(zip(row.inputs[1:], given[1:], strict=False)) if not row.variadic else {}
    for home in (torch.nn.functional, torch, torch.Tensor):
        function = getattr(home, row.name, None)
        if function is None:
            continue
        for args, kwargs in ((given, attrs), (given[:1], {**words, **attrs}), ([given], attrs)):
            call = _bound(function, args, kwargs)
            try:
                with torch.no_grad():
                    theirs = _first(call())
                same = tuple(theirs.shape) == tuple(ours.shape) and np.allclose(
                    theirs.numpy(), ours.numpy(), rtol=1e-3, atol=1e-4, equal_nan=True
                )
            except (TypeError, RuntimeError, ValueError, IndexError, AttributeError):
                continue
            if same:
                return _Peer(call, _backward_of(torch, call, given))
    return None


def _bound(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
    return lambda: function(*args, **kwargs)


def _backward_of(torch: Any, call: Callable[[], Any], given: list[Any]) -> Callable[[], Any]:
    made: list[Any] = []

    def backward() -> Any:
        if not made:  # the graph is built at the first call, which isn't timed
            wrt = [t.requires_grad_() for t in given if t is not None and t.is_floating_point()]
            result = _first(call())
            made.extend((result, wrt, torch.ones_like(result)))
        result, wrt, seed = made
        if not result.requires_grad:
            return None
        return torch.autograd.grad(result, wrt, seed, retain_graph=True, allow_unused=True)

    return backward
