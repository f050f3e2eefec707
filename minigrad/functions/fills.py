"""Methods that fill a tensor with random numbers in place: ``uniform_``, ``normal_``, ``bernoulli_`` and kin.

A fill forgets what was there: gradients through it are 0. As every in-place write it bumps the version
and is refused for a leaf that requires grad, outside ``no_grad``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import autograd, backend, dtypes
from ..generator import BITS, normal_of, sample, uniform
from ..inplace import check_writable, write
from ..op import composite
from ..random import bounds_of, index_of, integers, probability_of
from ..tensor import Tensor, wrap
from .arguments import row, tensor_of


def _fill(name: str, input: Tensor, generator: Any, law: Any, *arrays: Any, **how: Any) -> Tensor:
    """Writes what ``law(stream, *arrays, **how)`` draws into input's memory."""
    check_writable(input, name)
    array = input._array
    how |= {"shape": tuple(array.shape), "dtype": array.dtype}
    drawn = wrap(sample(name, law, backend.module_of(array), generator, *arrays, **how))
    through = input.requires_grad and autograd.is_grad_enabled()
    return write(input, row("copy", input, drawn) if through else drawn, name)


def _continuous(name: str, input: Any, *numbers: float) -> list[float]:
    if tensor_of(name, input).dtype.category != 2:
        raise NotImplementedError(f"{name}: not implemented for {input.dtype.name}, the distribution is a continuous one; "
                                  f"use a floating-point tensor")  # fmt: skip
    return [float(x) for x in numbers]


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What to compute in: the 16-bit dtypes would round twice."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _between(stream: Any, low: float, high: float, *, shape: Any, dtype: Any) -> Any:
    wide = _wide(dtype)
    numbers = uniform(stream, shape, wide)
    numbers *= wide.type(high - low)
    numbers += wide.type(low)
    numbers = numbers.astype(dtype, copy=False)
    top = np.asarray(high, dtype)
    if low < high:  # rounding may have reached the open end
        np.copyto(numbers, np.nextafter(top, np.asarray(low, dtype)), where=numbers >= top)
    return numbers


@composite(public=False)
def uniform_(input: Any, from_: float = 0.0, to: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with numbers uniform on from ≤ u < to."""
    low, high = _continuous("uniform_", input, from_, to)
    most = dtypes.finfo(input.dtype).max
    for word, x in (("from", low), ("to", high)):
        if not -most <= x <= most:
            raise RuntimeError(f"uniform_: {word} is out of bounds for {input.dtype.name}, got {x}")
    if low > high:
        raise RuntimeError(
            f"uniform_: uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > most:
        raise RuntimeError(f"uniform_: uniform_ expects to-from <= {most:g}, the largest {input.dtype.name}, but found "
                           f"to={high:g} and from={low:g}")  # fmt: skip
    return _fill("uniform_", input, generator, _between, low, high)


def _gaussian(stream: Any, mean: float, std: float, *, shape: Any, dtype: Any) -> Any:
    wide = _wide(dtype)
    numbers = normal_of(stream, shape, wide)
    numbers *= wide.type(std)
    numbers += wide.type(mean)
    return numbers.astype(dtype, copy=False)


@composite(public=False)
def normal_(input: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with numbers of the normal distribution."""
    mean, std = _continuous("normal_", input, mean, std)
    if not std >= 0:
        raise RuntimeError(f"normal_: normal expects std >= 0.0, but found std {std:g}")
    return _fill("normal_", input, generator, _gaussian, mean, std)


def _log_gaussian(stream: Any, mean: float, std: float, *, shape: Any, dtype: Any) -> Any:
    return np.exp(_gaussian(stream, mean, std, shape=shape, dtype=_wide(dtype))).astype(dtype)


@composite(public=False)
def log_normal_(input: Any, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fills with eˣ, x normal with that mean and standard deviation."""
    mean, std = _continuous("log_normal_", input, mean, std)
    if not std > 0:
        raise RuntimeError(f"log_normal_: log_normal_ expects std > 0.0, but found std={std:g}")
    return _fill("log_normal_", input, generator, _log_gaussian, mean, std)


def _waiting(stream: Any, rate: float, *, shape: Any, dtype: Any) -> Any:
    """Exponential, and never 0, so that its logarithm is finite."""
    wide = _wide(dtype)
    numbers = np.asarray(stream.standard_exponential(shape, dtype=wide)) / wide.type(rate)
    least = dtypes.finfo(dtypes.from_numpy_dtype(dtype)).tiny
    return np.maximum(numbers, wide.type(least)).astype(dtype)


@composite(public=False)
def exponential_(input: Any, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with numbers of density λ e^(−λx), x > 0."""
    (rate,) = _continuous("exponential_", input, lambd)
    if not rate > 0:
        raise RuntimeError(f"exponential_: exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    return _fill("exponential_", input, generator, _waiting, rate)


def _lorentzian(stream: Any, median: float, sigma: float, *, shape: Any, dtype: Any) -> Any:
    u = uniform(stream, shape, np.dtype(np.float64))
    return np.asarray(median + sigma * np.tan(np.pi * (u - 0.5))).astype(dtype)


@composite(public=False)
def cauchy_(input: Any, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with numbers of density σ / (π ((x − median)² + σ²))."""
    median, sigma = _continuous("cauchy_", input, median, sigma)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_: cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return _fill("cauchy_", input, generator, _lorentzian, median, sigma)


def _trials(stream: Any, p: float, *, shape: Any, dtype: Any) -> Any:
    u = 1 - stream.random(shape)  # 0 < u ≤ 1
    count = np.maximum(np.ceil(np.log(u) / math.log1p(-p)), 1)
    if dtype.kind in "iu":
        count = np.minimum(count, np.iinfo(dtype).max if dtype.itemsize < 8 else 2.0**62)
    return np.asarray(count).astype(dtype)


@composite(public=False)
def geometric_(input: Any, p: float, *, generator: Any = None) -> Tensor:
    """Fills with the number of trials to the first success, 1, 2, …, each with probability p.

    A count that an integer dtype doesn't hold becomes the largest it holds.
    """
    if tensor_of("geometric_", input).dtype is dtypes.bool_:
        raise NotImplementedError(
            "geometric_: not implemented for bool; use an integer or floating-point tensor"
        )
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: geometric_ expects p to be in (0, 1), but got p={p:g}")
    return _fill("geometric_", input, generator, _trials, float(p))


def _flips(stream: Any, p: Any, *, shape: Any, dtype: Any) -> Any:
    return np.asarray(stream.random(shape) < p).astype(dtype)


@composite(public=False)
def bernoulli_(input: Any, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fills with 1 with probability p, a number or a tensor that broadcasts to this one, else 0."""
    tensor_of("bernoulli_", input)
    if not isinstance(p, Tensor):
        return _fill("bernoulli_", input, generator, _flips, probability_of("bernoulli_", float(p)))
    if p.dtype.category != 2:
        raise RuntimeError(
            f"bernoulli_: expected p of a floating-point dtype, got {p.dtype.name}; use .float()"
        )
    spread = probability_of("bernoulli_", p).detach().expand(input.shape)
    return _fill("bernoulli_", input, generator, _flips, spread._array)


@composite(public=False)
def random_(input: Any, from_: Any = None, to: Any = ..., *, generator: Any = None) -> Tensor:
    """Fills with integers, all alike: ``random_()``, ``random_(to)``, ``random_(from, to)``, ``random_(from, None)``.

    Without ``to`` up to the largest number of the dtype, or for floating-point ones up to 2ⁿ, n the
    bits of the significand, below which they hold every integer.
    """
    kind = tensor_of("random_", input).dtype
    if to is ... and from_ is not None:
        from_, to = 0, from_
    low = index_of("random_", "from", 0 if from_ is None else from_)
    if to is None or to is ...:
        most = (
            1 << BITS[kind.name]
            if kind.category == 2
            else 1
            if kind is dtypes.bool_
            else dtypes.iinfo(kind).max
        )
        high = most + 1
    else:
        high = index_of("random_", "to", to)
    bounds_of("random_", low, high, kind)
    return _fill("random_", input, generator, integers, low=low, high=high)
