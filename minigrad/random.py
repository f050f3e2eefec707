"""Random tensors: PyTorch's functions that draw from a generator. Generators are in ``generator.py``."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from . import autograd, backend, dtypes, errors
from .functions.arguments import tensor_of
from .functions.creation import empty_like_array
from .functions.factory import finish, floating_dtype, like, place, sequence, shape_of
from .generator import (
    BITS,
    Generator,
    current_generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal_of,
    sample,
    seed,
    set_rng_state,
    uniform,
    use_generator,
)
from .inplace import assign
from .op import composite
from .tensor import Tensor, wrap

__all__ = [
    "Generator", "bernoulli", "current_generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed",
    "manual_seed", "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "seed", "set_rng_state", "use_generator",
]  # fmt: skip


# ---- distributions on raw arrays: functions of a numpy.random.Generator ----------------------------------


def _bernoulli(stream: Any, p: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(stream.random(shape) < p)


def integers(stream: Any, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind in "iu":
        return np.asarray(stream.integers(low, high - 1, shape, dtype=dtype, endpoint=True))
    return np.asarray(stream.integers(low, high - 1, shape, dtype=np.int64, endpoint=True)).astype(dtype)


def _permutation(stream: Any, n: int, dtype: np.dtype[Any]) -> np.ndarray:
    return stream.permutation(n).astype(dtype, copy=False)


def _categories(stream: Any, p: np.ndarray, n: int, replacement: bool) -> np.ndarray:
    """n columns of category indices for each row of weights p (…, N)."""
    p = p.astype(np.float64)
    p = p / p.max(axis=-1, keepdims=True)
    if not replacement:  # the n first of exponential clocks with rates p (Efraimidis, Spirakis, 2006)
        clocks = np.log(stream.standard_exponential(p.shape)) - np.log(p)
        return np.argsort(clocks, axis=-1, kind="stable")[..., :n]
    below = np.cumsum(p, axis=-1)
    total = below[..., -1:]
    point = np.minimum(stream.random((*p.shape[:-1], n)) * total, np.nextafter(total, 0))
    rows = zip(below.reshape(-1, p.shape[-1]), point.reshape(-1, n), strict=True)
    found = [np.searchsorted(row, x, side="right") for row, x in rows]  # weight 0 has no width
    return np.array(found, dtype=np.int64).reshape(point.shape)


def _poisson(stream: Any, rate: np.ndarray) -> np.ndarray:
    counted = rate < 1e18  # NumPy's limit; beyond it the normal distribution is exact to float64
    small = stream.poisson(np.where(counted, rate, 0).astype(np.float64)).astype(np.float64)
    large = np.rint(rate + np.sqrt(rate) * stream.standard_normal(rate.shape))
    return np.asarray(np.where(counted, small, large)).astype(rate.dtype)


# ---- tensors ---------------------------------------------------------------------------------------------


def _continuous(
    name: str, law: Any, size: Any, generator: Any, out: Any, dtype: Any, device: Any, requires_grad: bool,
    **checked: Any,
) -> Tensor:  # fmt: skip
    shape = shape_of(name, size, checked.pop("named", None))
    kind, module = place(name, out, dtype, device, **checked)
    floating_dtype(name, kind)
    array = sample(name, law, module, generator, shape=shape, dtype=kind.numpy_dtype)
    return finish(name, array, out, requires_grad)


@composite(method=False)
def rand(
    *size: Any, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Independent numbers, uniform on 0 ≤ u < 1: ``rand(2, 3)`` or ``rand((2, 3))``."""
    return _continuous("rand", uniform, size, generator, out, dtype, device, requires_grad, layout=layout,
                       pin_memory=pin_memory, named=named)  # fmt: skip


@composite(method=False)
def randn(
    *size: Any, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Independent numbers of the normal distribution with mean 0 and variance 1."""
    return _continuous("randn", normal_of, size, generator, out, dtype, device, requires_grad, layout=layout,
                       pin_memory=pin_memory, named=named)  # fmt: skip


def _continuous_like(
    name: str, law: Any, input: Any, generator: Any, dtype: Any, requires_grad: bool, **options: Any
) -> Tensor:
    shape, kind, module, model = like(name, input, dtype, **options)
    floating_dtype(name, kind)
    drawn = sample(name, law, module, generator, shape=shape, dtype=kind.numpy_dtype)
    return finish(name, _laid_out(module, model, drawn), None, requires_grad)


def _laid_out(module: Any, model: Any, drawn: Any) -> Any:
    """drawn, in the memory order of model, an array or None for C's."""
    if model is None:
        return drawn
    array = autograd.run(empty_like_array, module.m, model, dtype=drawn.dtype)
    autograd.run(assign, module.m, array, drawn)
    return array


@composite(method=False)
def rand_like(
    input: Any, *, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """:func:`rand` with the shape, dtype and device of ``input``."""
    return _continuous_like("rand_like", uniform, input, generator, dtype, requires_grad, device=device,
                            layout=layout, pin_memory=pin_memory, memory_format=memory_format)  # fmt: skip


@composite(method=False)
def randn_like(
    input: Any, *, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """:func:`randn` with the shape, dtype and device of ``input``."""
    return _continuous_like("randn_like", normal_of, input, generator, dtype, requires_grad, device=device,
                            layout=layout, pin_memory=pin_memory, memory_format=memory_format)  # fmt: skip


def bounds_of(name: str, low: int, high: int, kind: dtypes.dtype) -> None:
    """Refuses an empty range low ≤ n < high, and bounds that the dtype doesn't hold."""
    if low >= high:
        raise RuntimeError(f"{name}: expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if kind.category == 2:
        most = int(dtypes.finfo(kind).max)
        least, exact = -most, 1 << BITS[kind.name]
    elif kind is dtypes.bool_:
        least, most, exact = 0, 1, 1
    else:
        info = dtypes.iinfo(kind)
        least, most, exact = info.min, info.max, info.max
    for word, value in (("from", low), ("to - 1", high - 1)):
        if not least <= value <= most:
            raise RuntimeError(
                f"{name}: {word} is out of bounds for {kind.name}: expected {least} … {most}, got {value}"
            )
        if kind.category == 2 and not -exact <= value <= exact:
            warnings.warn(
                f"{name}: {word} = {value} is out of bounds [-{exact}, {exact}] for {kind.name}, which "
                f"doesn't hold every integer beyond; draw int64 and convert",
                stacklevel=3,
            )


def index_of(name: str, argument: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}(): argument {argument!r} must be int, not {type(value).__name__}") from None
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{name}(): argument {argument!r}: expected -2**63 … 2**63 - 1, got {number}")
    return number


def _range_of(name: str, args: tuple[Any, ...], named: dict[str, Any], last: tuple[str, ...]) -> list[Any]:
    """low, high (and size) from ``(high, …)`` and ``(low, high, …)``, by position or name."""
    words = ("low", "high", *last)
    if len(args) + len(named) == len(words) - 1 and "low" not in named:
        args, named = args and (0, *args), named if args else {"low": 0, **named}
    given = dict(zip(words, args, strict=False))
    if len(args) > len(words) or set(given) & set(named) or {*given, *named} != set(words):
        raise TypeError(
            f"{name}() received an invalid combination of arguments: expected "
            f"{name}({', '.join(('high', *last))}) or {name}({', '.join(words)})"
        )
    given.update(named)
    return [index_of(name, w, given[w]) for w in words[:2]] + [given[w] for w in last]


@composite(method=False)
def randint(
    *range: Any, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Integers, low ≤ n < high, all alike: ``randint(high, size)`` or ``randint(low, high, size)``.

    int64 unless ``dtype``. RuntimeError for an empty range, and for bounds that the dtype doesn't hold.
    """
    low, high, size = _range_of("randint", range, named, ("size",))
    shape = shape_of("randint", sequence("randint", size))
    kind, module = place(
        "randint", out, dtype, device, layout=layout, pin_memory=pin_memory, default=dtypes.int64
    )
    bounds_of("randint", low, high, kind)
    array = sample(
        "randint", integers, module, generator, low=low, high=high, shape=shape, dtype=kind.numpy_dtype
    )
    return finish("randint", array, out, requires_grad)


@composite(method=False)
def randint_like(
    input: Any, *range: Any, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None, **named: Any,
) -> Tensor:  # fmt: skip
    """:func:`randint` with the shape, dtype and device of ``input``: ``(input, high)``, ``(input, low, high)``."""
    low, high = _range_of("randint_like", range, named, ())
    shape, kind, module, model = like("randint_like", input, dtype, device=device, layout=layout, pin_memory=pin_memory,
                                      memory_format=memory_format)  # fmt: skip
    bounds_of("randint_like", low, high, kind)
    drawn = sample(
        "randint_like", integers, module, generator, low=low, high=high, shape=shape, dtype=kind.numpy_dtype
    )
    return finish("randint_like", _laid_out(module, model, drawn), None, requires_grad)


@composite(method=False)
def randperm(
    n: Any, *, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0 … n - 1 in random order, int64 unless ``dtype``."""
    n = index_of("randperm", "n", n)
    if n < 0:
        raise RuntimeError(f"randperm: Trying to create tensor with negative dimension {n}: [{n}]")
    kind, module = place(
        "randperm", out, dtype, device, layout=layout, pin_memory=pin_memory, default=dtypes.int64
    )
    if kind is dtypes.bool_:
        raise NotImplementedError("randperm: not implemented for bool; draw int64 and convert")
    most = (1 << BITS[kind.name]) + 1 if kind.category == 2 else dtypes.iinfo(kind).max + 1
    if n > most:
        raise RuntimeError(f"randperm: n cannot be greater than {most} for {kind.name}, got {n}; use int64")
    array = sample("randperm", _permutation, module, generator, n=n, dtype=kind.numpy_dtype)
    return finish("randperm", array, out, requires_grad)


@composite(method=False)
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers with a mean and a standard deviation for each element.

    Tensors ``mean`` and ``std`` are broadcast, either may be a number; two numbers take a ``size``, and
    only then ``dtype``, ``device`` and ``requires_grad``. The result has mean's dtype.
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors and size is None:
        raise TypeError("normal(): two numbers mean and std need a size: normal(mean, std, size)")
    if tensors:
        if any(
            x is not None for x in (size, dtype, layout, device, pin_memory or None, requires_grad or None)
        ):
            raise TypeError(
                "normal(): size, dtype and device follow from the tensors mean and std; leave them out"
            )
        shapes = [tuple(t._array.shape) for t in tensors]
        if clash := errors.broadcast_clash(shapes[0], shapes[-1]):
            raise RuntimeError(f"normal: The size of tensor a ({clash[0]}) must match the size of tensor b ({clash[1]}) "
                               f"at non-singleton dimension {clash[2]}; reshape mean or std")  # fmt: skip
        shape = tuple(np.broadcast_shapes(*shapes))
        dtype, device = None if out is not None else tensors[0].dtype, tensors[0].device
    else:
        shape = shape_of("normal", sequence("normal", size))
    kind, module = place("normal", out, dtype, device, layout=layout, pin_memory=pin_memory)
    for k in (*(t.dtype for t in tensors), kind):
        floating_dtype("normal", k)
    if not (bool((std._array >= 0).all()) if isinstance(std, Tensor) else std >= 0):
        raise RuntimeError(f"normal: normal expects all elements of std >= 0.0, but found std "
                           f"{errors.describe(std) if isinstance(std, Tensor) else std}")  # fmt: skip
    unit = sample("normal", normal_of, module, generator, shape=shape, dtype=kind.numpy_dtype)
    raw = [x._array if isinstance(x, Tensor) else x for x in (mean, std)]
    array = autograd.run(_scaled, module.m, unit, *raw)
    return finish("normal", array, out, requires_grad)


def _scaled(m: Any, unit: Any, mean: Any, std: Any) -> Any:
    return m.asarray(unit * std + mean, dtype=unit.dtype)


@composite
def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """1 with probability ``input``, element by element, else 0, in input's dtype; or with one ``p`` for all."""
    x = tensor_of("bernoulli", input)
    module = backend.module_of(x._array)
    if p is None:
        floating_dtype("bernoulli", x.dtype)
        probability_of("bernoulli", x)
    else:
        p = probability_of("bernoulli", float(p))
    drawn = sample(
        "bernoulli", _bernoulli, module, generator, x._array if p is None else p, shape=tuple(x._array.shape)
    )
    kind = (x if out is None else out).dtype.numpy_dtype
    return finish("bernoulli", autograd.call_row("to", module.m, drawn, dtype=kind), out, False)


def probability_of(name: str, p: Any) -> Any:
    """p, refused unless every element lies in 0 … 1."""
    inside = bool(((p._array >= 0) & (p._array <= 1)).all()) if isinstance(p, Tensor) else 0 <= p <= 1
    if not inside:
        got = f"{errors.describe(p)} with elements outside" if isinstance(p, Tensor) else f"p={p:g}"
        raise RuntimeError(f"{name}: {name} expects p to be in [0, 1], but got {got}")
    return p


@composite
def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Any = None
) -> Tensor:
    """``num_samples`` category indices for each row of weights (N,) or (rows, N), which needn't sum to 1.

    int64, (num_samples,) or (rows, num_samples). Without replacement, in the order in which they would
    be drawn one by one. RuntimeError for weights that are negative, infinite, NaN or all 0.
    """
    x, k = tensor_of("multinomial", input), index_of("multinomial", "num_samples", num_samples)
    if x.dtype.category != 2:
        raise RuntimeError(
            f"multinomial: multinomial only supports floating-point dtypes for input, got: {x.dtype.name}; use .float()"
        )
    if x.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got shape {tuple(x.shape)}")
    if k <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {k}")
    if not x.shape[-1] or (not replacement and k > x.shape[-1]):
        raise RuntimeError(f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
                           f"{k} of {x.shape[-1]}; pass replacement=True")  # fmt: skip
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial: multinomial expects Long tensor out, got: {out.dtype.name}")
    module = backend.module_of(x._array)
    weights = x._array
    if not bool((module.m.isfinite(weights) & (weights >= 0)).all()):
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0")
    if bool((weights.max(axis=-1) == 0).any()):
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")
    drawn = sample("multinomial", _categories, module, generator, weights, n=k, replacement=bool(replacement))
    return finish("multinomial", drawn, out, False)


@composite(method=False)
def poisson(input: Any, generator: Any = None) -> Tensor:
    """Counts of the Poisson distribution with rates ``input``, in its dtype."""
    x = tensor_of("poisson", input)
    floating_dtype("poisson", x.dtype)
    module = backend.module_of(x._array)
    if not bool((x._array >= 0).all()):
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    return wrap(sample("poisson", _poisson, module, generator, x._array))
