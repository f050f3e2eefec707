"""Calls of a row, drawn from the row itself: shapes and kinds from its cases, values from its domain.

What lives here: operands, their layouts in memory, numerical derivatives, and the check of a row's rules
against them. What doesn't: the list of ops, which is the OPS table, and the promises, which are the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume, reject
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minigrad import autograd
from minigrad.autograd import apply, wrap
from minigrad.op import OPS, Case, Op, bools, floats, ints

LAYOUTS = ("plain", "transposed", "strided", "reversed", "offset")
SIZES = {"shape", "normalized_shape", "rows", "num_classes"}  # attributes that hold sizes of dimensions


class Call(NamedTuple):
    """A row with operands. ``step`` is a distance within which no operand meets a kink or another operand."""

    row: Op
    arrays: list[Any]
    attrs: dict[str, Any]
    step: float

    def __repr__(self) -> str:
        given = ", ".join("None" if a is None else f"{a.dtype}{a.shape}{a.strides}" for a in self.arrays)
        return f"{self.row.name}({given}, {self.attrs})"

    @property
    def exact(self) -> bool:
        """Is the rule here the derivative? It isn't by an attribute that says so, nor where values aren't finite."""
        bent = any(self.attrs[name] != self.row.attrs[name] for name in self.row.surrogate)
        return not bent and bool(np.isfinite(self.forward(self.arrays)).all())

    @property
    def wrt(self) -> list[int]:
        """The operands that have a gradient."""
        names = self.row.inputs
        return [
            i
            for i, a in enumerate(self.arrays)
            if a is not None
            and a.dtype.kind in "fV"
            and (self.row.variadic or names[i] not in self.row.constant)
        ]

    def run(self, tensors: Sequence[Any]) -> Any:
        """The first output on tensors."""
        out = apply(self.row, list(tensors), self.attrs)
        return out[0] if isinstance(out, tuple) else out

    def forward(self, arrays: Sequence[Any]) -> Any:
        """The first output of the bare forward on NumPy arrays."""
        with np.errstate(all="ignore"):
            out = self.row.forward(np, *arrays, **self.attrs)
        return np.asarray(out[0] if isinstance(out, tuple) else out)


# ---- rows ------------------------------------------------------------------------------------------------


def rows(keep: Callable[[Op], Any] = lambda row: True) -> list[Op]:
    """The rows that compute something of their inputs; those that write into them have tests of their own."""
    return [row for row in OPS.values() if not row.mutates and keep(row)]


def differentiable() -> list[Op]:
    return rows(lambda row: row.differentiable)


def cases_of(row: Op) -> tuple[Case, ...]:
    """The row's cases; for an elementwise row without any, all its operands of shapes that broadcast."""
    if row.cases or not row.elementwise:
        return row.cases
    shapes = [
        ((3, 4),) * 4,
        ((3, 1), (1, 4), (), (4,)),
        ((),) * 4,
        ((2, 3), (3,), (2, 1), (2, 3)),
        ((0, 2),) * 4,
    ]
    return tuple(
        Case(tuple(_spec(row, name, shape) for name, shape in zip(row.inputs, group, strict=False)), {})
        for group in shapes
    )


def _spec(row: Op, name: str, shape: tuple[int, ...]) -> Any:
    return ints(shape, 9, -9) if row.integer else bools(shape) if name in row.constant else shape


def shape_of(spec: Any) -> tuple[int, ...]:
    return spec.shape if isinstance(spec, (ints, bools, floats)) else spec


def _reshaped(spec: Any, shape: tuple[int, ...]) -> Any:
    return spec._replace(shape=shape) if isinstance(spec, (ints, bools, floats)) else shape


# ---- values ----------------------------------------------------------------------------------------------


def _span(row: Op, position: int, spec: Any) -> tuple[float, float]:
    if isinstance(spec, floats):
        return spec.low, spec.high
    domain: Any = row.domain
    return domain[min(position, len(domain) - 1)] if isinstance(domain[0], (tuple, list)) else domain


def _cells(low: float, high: float, kinks: Sequence[float], width: float) -> set[int]:
    """Cells of a grid whose middle half lies inside the domain and away from the kinks."""
    inside = range(int(np.ceil(low / width - 0.25)), int(np.floor(high / width - 0.75)) + 1)
    return {k for k in inside if not any(k * width < kink < (k + 1) * width for kink in kinks)}


def drawn(row: Op, case: Case, rng: np.random.Generator) -> Call:
    """Operands for a case: every float in a cell of its own, so that extrema and orders are clear-cut."""
    missing = 0 if row.variadic else len(row.inputs) - len(case.operands)
    case = case._replace(operands=(*case.operands, *(None,) * missing))
    kinks = tuple(row.kinks)
    wanted = [
        (i, spec, int(np.prod(shape_of(spec), dtype=int)))
        for i, spec in enumerate(case.operands)
        if spec is not None and not isinstance(spec, (ints, bools))
    ]
    width = 1 / 32
    while True:
        pools = {i: _cells(*_span(row, i, spec), kinks, width) for i, spec, _ in wanted}
        taken: set[int] = set()
        chosen: dict[int, Any] = {}
        for i, _, n in sorted(wanted, key=lambda w: len(pools[w[0]])):
            free = sorted(pools[i] - taken)
            if len(free) < n:
                break
            chosen[i] = rng.permutation(free)[:n]
            taken |= set(chosen[i].tolist())
        else:
            break
        width /= 2
        if width < 1e-4:
            raise ValueError(f"{row.name}: the domain {row.domain} has no room for {case.operands}")
    arrays: list[Any] = []
    for i, spec in enumerate(case.operands):
        if spec is None:
            arrays.append(None)
        elif isinstance(spec, ints):
            arrays.append(rng.integers(spec.low, spec.high, spec.shape))
        elif isinstance(spec, bools):
            arrays.append(rng.integers(0, 2, spec.shape).astype(bool))
        else:
            jitter = rng.uniform(0.3, 0.7, len(chosen[i]))
            arrays.append(((chosen[i] + jitter) * width).reshape(shape_of(spec)))
    return Call(row, arrays, {**row.attrs, **case.attrs}, 0.28 * width)


def laid_out(array: Any, layout: str) -> Any:
    """The same values, read-only, in another layout of memory."""
    if array is None:
        return None
    if layout == "transposed":
        made = np.array(array, order="F")
    elif layout == "strided":
        made = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array.copy()
    elif layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        made = np.array(array[back])[back] if array.ndim else array.copy()
    elif layout == "offset":
        made = (
            np.pad(array, [(1, 2)] * array.ndim)[(slice(1, -2),) * array.ndim] if array.ndim else array.copy()
        )
    else:
        made = array.copy()
    made.flags.writeable = False
    return made


# ---- strategies ------------------------------------------------------------------------------------------


@st.composite
def calls(draw: Any, row: Op) -> Call:
    """A case of the row with other sizes (zero and one among them), other layouts, values from its domain.

    A case whose new sizes don't fit each other is discarded: the row itself says so.
    """
    case = draw(st.sampled_from(cases_of(row)))
    if row.elementwise:
        given = [i for i, spec in enumerate(case.operands) if spec is not None]
        shapes = draw(
            mutually_broadcastable_shapes(num_shapes=len(given), min_side=0, max_side=3, max_dims=3)
        )
        specs = list(case.operands)
        for i, shape in zip(given, shapes.input_shapes, strict=True):
            specs[i] = _reshaped(specs[i], shape)
        case = Case(tuple(specs), case.attrs)
    elif draw(st.booleans()):
        case = _resized(draw, case)
    call = drawn(row, case, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    try:
        call.forward(call.arrays)
    except (
        RuntimeError,
        IndexError,
        ValueError,
        DeprecationWarning,
    ):  # NumPy 2.0 warns of an index out of bounds
        if row.elementwise or case in row.cases:
            raise
        reject()
    layouts = [draw(st.sampled_from(LAYOUTS)) for _ in call.arrays]
    return call._replace(arrays=[laid_out(a, how) for a, how in zip(call.arrays, layouts, strict=True)])


def _resized(draw: Any, case: Case) -> Case:
    sizes = sorted({n for spec in case.operands if spec is not None for n in shape_of(spec) if n > 1})
    new = {n: draw(st.integers(0, 4)) for n in sizes}

    def other(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(other(v) for v in value)
        return new.get(value, value) if isinstance(value, int) else value

    specs = []
    for spec in case.operands:
        if spec is None:
            specs.append(None)
            continue
        changed = _reshaped(spec, other(shape_of(spec)))
        if isinstance(spec, ints):
            high = other(spec.high)
            assume(high > spec.low or 0 in changed.shape)
            changed = changed._replace(high=max(high, spec.low + 1))
        specs.append(changed)
    return Case(tuple(specs), {k: other(v) if k in SIZES else v for k, v in case.attrs.items()})


def fixed_calls(row: Op, seed: int = 0, limit: int = 8) -> list[Call]:
    """A few calls of a row, always the same ones: for checks that run very often."""
    rng = np.random.default_rng(seed)
    return [drawn(row, case, rng) for case in cases_of(row)[:limit]]


def tied(row: Op) -> Iterator[Call]:
    """Calls whose floats are all equal: where extrema tie and the rule has to share."""
    for call in fixed_calls(row, seed=1):
        value = next(
            (a.flat[0] for a in call.arrays if a is not None and a.dtype.kind == "f" and a.size), None
        )
        if value is None or isinstance(row.domain[0], (tuple, list)):
            continue
        yield call._replace(
            arrays=[
                np.full_like(a, value) if a is not None and a.dtype.kind == "f" else a for a in call.arrays
            ]
        )


# ---- derivatives -----------------------------------------------------------------------------------------


def central(f: Callable[[float], float], h: float) -> float:
    """f'(0) by the central difference of sixth order: its error is of order h⁶."""
    return (45 * (f(h) - f(-h)) - 9 * (f(2 * h) - f(-2 * h)) + (f(3 * h) - f(-3 * h))) / (60 * h)


def moved(arrays: Sequence[Any], along: dict[int, Any], t: complex) -> list[Any]:
    """The operands shifted by t along a direction; all floats are complex when t is."""
    kind = type(0 * t)

    def at(i: int, a: Any) -> Any:
        if a is None or a.dtype.kind != "f":
            return a
        return np.asarray(a + t * along[i] if i in along else a + kind(0))

    return [at(i, a) for i, a in enumerate(arrays)]


def slope(call: Call, along: dict[int, Any], weight: Any, part: float = 1.0) -> float:
    """d/dt of Σ weight · f(x + t v) at 0, by finite differences of the bare forward over a part of the step."""
    at = lambda t: float((call.forward(moved(call.arrays, along, t)) * weight).sum())  # noqa: E731
    return central(at, part * call.step / 3)


def complex_slope(call: Call, along: dict[int, Any], weight: Any) -> float:
    """The same without truncation or cancellation: Im f(x + i h v) / h, for forwards made of analytic functions."""
    h = 1e-30
    return float((call.forward(moved(call.arrays, along, 1j * h)).imag * weight).sum()) / h


def directions(call: Call, rng: np.random.Generator) -> dict[int, Any]:
    """A random direction for each operand with a gradient, no component near zero or above one."""
    return {i: weights(call.arrays[i].shape, rng) for i in call.wrt}


def weights(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1, shape))


def leaves(call: Call, needing: Sequence[int]) -> list[Any]:
    """The operands as tensors, those in ``needing`` requiring gradients."""
    made = [None if a is None else wrap(a) for a in call.arrays]
    for i in needing:
        made[i].requires_grad_()
    return made


def gradients(call: Call, weight: Any, needing: Sequence[int] | None = None, **kwargs: Any) -> dict[int, Any]:
    """Reverse mode: the gradients of Σ weight · f by the operands, as tensors."""
    needing = call.wrt if needing is None else needing
    tensors = leaves(call, needing)
    found = autograd.grad(
        call.run(tensors), [tensors[i] for i in needing], wrap(weight), materialize_grads=True, **kwargs
    )
    return dict(zip(needing, found, strict=True))


def subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every proper subset that isn't empty."""
    for n in range(1, len(items)):
        yield from itertools.combinations(items, n)


def close(a: float, b: float, scale: float, rtol: float) -> bool:
    return abs(a - b) <= rtol * max(abs(a), abs(b)) + 1e-10 * scale


def scale_of(call: Call) -> float:
    out = call.forward(call.arrays)
    return 1.0 + float(np.abs(out).sum()) if out.size else 1.0
