"""Random numbers: counter-based generators, the one in force, and every tensor that is drawn from one.

A :class:`Generator` is two numbers, a seed and an offset. Draw number n of seed s is the Philox-4×64-10
stream (Salmon, Moraes, Dror, Shaw, 2011: "Parallel random numbers: as easy as 1, 2, 3") with the key s
and n in the upper half of the counter, so a draw takes one step of the offset whatever its size, dtype
and thread, and a saved state is three words. Random fills are in ``functions/fills.py``; what
``nn.init`` makes of them is there.

The generator in force is a context variable. A context that never chose one uses the process's
(:data:`default_generator`, seeded by the system at start); seeding in the main thread seeds that one.
Seeding in another thread gives the thread a generator of its own, so that nobody else's draws change
what it draws. All numbers are made by NumPy and then moved: a seed gives the same on every device.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import autograd, backend, dtypes, errors
from .functions.arguments import tensor_of
from .functions.creation import empty_like_array, finish, floating_dtype, like, place, shape_of
from .op import composite
from .tensor import Tensor, wrap

_MASK = (1 << 64) - 1
_TAG = b"philox\x00\x01"  # opens a saved state: generator and version
_SEED = 67280421310721  # of a Generator that nobody seeded, as in PyTorch
_idle: list[Any] = []  # Philox streams to reuse: moving one costs a fifth of making one


class Generator:
    """A source of random numbers: ``Generator().manual_seed(0)``. Threads may share one.

    Each draw takes one number of the offset under a lock and then works on a stream of its own, so
    that concurrent draws never overlap. Which thread gets which draw is the scheduler's choice; a
    thread that must be reproducible has its own generator.
    """

    def __init__(self, device: Any = "cpu") -> None:
        kind, _, index = str(device).partition(":")
        self.device = backend.device(backend.module_named(kind).name, int(index) if index else None)
        self._seed, self._offset, self._lock = _SEED, 0, threading.Lock()

    def __repr__(self) -> str:
        return f"<minigrad.Generator seed={self._seed} offset={self._offset} device={self.device}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        return self.clone_state()

    __copy__ = None  # a shallow copy would share nothing: deepcopy, or clone_state

    def clone_state(self) -> Generator:
        """Another generator in the same state: both will draw the same numbers."""
        made = Generator(self.device)
        with self._lock:
            made._seed, made._offset = self._seed, self._offset
        return made

    def manual_seed(self, seed: int) -> Generator:
        """Begins the numbers of ``seed``, -2⁶³ ≤ seed < 2⁶⁴ (negative ones count from 2⁶⁴). Returns self."""
        try:
            number = operator.index(seed)
        except TypeError:
            raise RuntimeError(
                f"Generator.manual_seed: expected an int, but got {type(seed).__name__}; convert with int()"
            ) from None
        if not -(1 << 63) <= number <= _MASK:
            raise ValueError(f"Generator.manual_seed: expected a seed of -2**63 … 2**64 - 1, got {number}")
        with self._lock:
            self._seed, self._offset = number & _MASK, 0
        return self

    def seed(self) -> int:
        """Begins the numbers of a seed drawn from the system, and returns that seed."""
        return self.manual_seed(int.from_bytes(os.urandom(8), "little")).initial_seed()

    def initial_seed(self) -> int:
        """The seed in use, 0 ≤ seed < 2⁶⁴."""
        return self._seed

    def get_offset(self) -> int:
        """Draws made since seeding."""
        return self._offset

    def set_offset(self, offset: int) -> Generator:
        """Continues after draw number ``offset`` of the seed. Returns self."""
        number = operator.index(offset)
        if not 0 <= number <= _MASK:
            raise RuntimeError(f"Generator.set_offset: expected an offset of 0 … 2**64 - 1, got {number}")
        with self._lock:
            self._offset = number
        return self

    def get_state(self) -> Tensor:
        """Seed and offset as a uint8 tensor of 24 bytes."""
        with self._lock:
            words = np.array([self._seed, self._offset], dtype="<u8")
        return wrap(np.frombuffer(_TAG + words.tobytes(), np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Continues from a state of :meth:`get_state`. Returns self.

        Raises TypeError for anything but a uint8 tensor, RuntimeError for one that holds no state.
        """
        if not isinstance(new_state, Tensor) or new_state.dtype is not dtypes.uint8:
            raise TypeError(
                f"Generator.set_state: RNG state must be a uint8 tensor as get_state returns it, got "
                f"{errors.describe(new_state)}"
            )
        raw = backend.module_of(new_state._array).to_numpy(new_state._array).tobytes()
        if new_state.ndim != 1 or len(raw) != len(_TAG) + 16 or not raw.startswith(_TAG):
            raise RuntimeError(
                f"Generator.set_state: expected the 24 bytes that get_state of a Philox generator returns, "
                f"got {errors.describe(new_state)} that begins with {list(raw[:8])}; the state of another "
                f"kind of generator can't be used"
            )
        with self._lock:
            self._seed, self._offset = (int(n) for n in np.frombuffer(raw, "<u8", offset=len(_TAG)))
        return self

    def draw(self, function: Callable[..., Any], *args: Any, **how: Any) -> Any:
        """``function(stream, *args, **how)`` on a ``numpy.random.Generator`` that is this draw's alone."""
        with self._lock:
            seed, offset = self._seed, self._offset
            self._offset = (offset + 1) & _MASK
        try:
            philox, stream, state = _idle.pop()  # atomic, so that threads and signal handlers never share
        except IndexError:
            philox = np.random.Philox(key=0)
            stream, state = np.random.Generator(philox), philox.state
        state["state"]["key"][0] = seed
        state["state"]["counter"][1] = offset
        philox.state = state
        try:
            return function(stream, *args, **how)
        finally:
            _idle.append((philox, stream, state))

    def uniform_array(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        """A raw array of independent numbers, uniform on 0 ≤ u < 1."""
        return self.draw(uniform, shape, np.dtype(dtype))

    def normal_array(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        """A raw array of independent numbers of the standard normal distribution."""
        return self.draw(normal_of, shape, np.dtype(dtype))


# ---- the generator in force ------------------------------------------------------------------------------

default_generator = Generator()  # the process's, where no other is in force
default_generator.seed()
_current: ContextVar[Generator | None] = ContextVar("minigrad_generator", default=None)


def current_generator() -> Generator:
    """The generator in force here: the context's own, or the process's."""
    return _current.get() or default_generator


class use_generator:
    """Puts a generator in force in this context: at once, and until the block's end in a ``with``.

    None puts the process's back.
    """

    def __init__(self, generator: Generator | None) -> None:
        if generator is not None and not isinstance(generator, Generator):
            raise TypeError(f"use_generator: expected a Generator, got {errors.describe(generator)}")
        self._before = _current.get()
        _current.set(generator)

    def __enter__(self) -> Generator:
        return current_generator()

    def __exit__(self, *exc: object) -> None:
        _current.set(self._before)


def _to_seed() -> Generator:
    """The generator that seeding here seeds: another thread's than the main one gets its own first."""
    if _current.get() is None and threading.current_thread() is not threading.main_thread():
        _current.set(default_generator.clone_state())
    return current_generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the generator in force, and returns it."""
    return _to_seed().manual_seed(int(seed))


def seed() -> int:
    """Seeds the generator in force from the system, and returns the seed."""
    return _to_seed().seed()


def initial_seed() -> int:
    """The seed of the generator in force."""
    return current_generator().initial_seed()


def get_rng_state() -> Tensor:
    """The state of the generator in force."""
    return current_generator().get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continues the generator in force from a state."""
    _to_seed().set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cpu") -> Iterator[None]:
    """Draws and seeds inside the block don't move the generator in force outside it."""
    with use_generator(current_generator().clone_state()) if enabled else contextlib.nullcontext():
        yield


# ---- distributions on raw arrays: functions of a numpy.random.Generator ----------------------------------

BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # of the significand


def uniform(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Uniform on 0 ≤ u < 1, in steps that the dtype holds, so that none rounds to 1."""
    if dtype.itemsize > 2:
        return np.asarray(stream.random(shape, dtype=dtype), dtype=dtype)
    n = BITS[dtype.name]
    whole = stream.integers(0, 1 << n, shape, dtype=np.uint16)
    return np.asarray(whole * np.float32(2.0**-n)).astype(dtype)


def normal_of(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The standard normal distribution, by NumPy's ziggurat."""
    wide = dtype if dtype.itemsize > 2 else np.dtype(np.float32)
    return np.asarray(stream.standard_normal(shape, dtype=wide)).astype(dtype, copy=False)


def kept(stream: Any, shape: tuple[int, ...], p: float) -> np.ndarray:
    """Booleans, False with probability p to within 2⁻⁴⁰: a dropout's mask.

    u < p is settled by the first byte of u and p, except where these are equal (one element in 256):
    there 32 more bits decide. A quarter of the time that a uniform number for each element takes.
    """
    n = math.prod(shape)
    first, rest = divmod(round(p * 2**40), 2**32)
    if first > 255:
        return np.zeros(shape, dtype=bool)
    words = stream.bit_generator.random_raw(-(-n // 8))
    u = words.astype("<u8", copy=False).view(np.uint8)[:n]
    keep = u > first
    equal = np.flatnonzero(u == first)
    keep[equal] = stream.integers(0, 1 << 32, equal.size, dtype=np.uint32) >= rest
    return keep.reshape(shape)


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
    if not replacement:  # the n first of exponential clocks with rates p (Efraimidis, Spirakis, 2006)
        clocks = np.log(stream.standard_exponential(p.shape)) - np.log(p)
        return np.argsort(clocks, axis=-1, kind="stable")[..., :n]
    below = np.cumsum(p, axis=-1)
    total = below[..., -1:]
    point = np.minimum(stream.random((*p.shape[:-1], n)) * total, np.nextafter(total, 0))
    rows = zip(below.reshape(-1, p.shape[-1]), point.reshape(-1, n), strict=True)
    found = [np.searchsorted(row, x, side="right") for row, x in rows]  # weight 0 has no width
    return np.array(found, dtype=np.int64).reshape(point.shape)


def sample(
    function: Callable[..., Any], module: Any, generator: Generator | None, *arrays: Any, **how: Any
) -> Any:
    """A raw array of ``module`` that ``function`` draws, where a capture sees it; None: the one in force."""
    return autograd.run(
        _sampled, module.m, *arrays, law=function, generator=generator, device=module.name, **how
    )


def _sampled(m: Any, *arrays: Any, law: Any, generator: Any, device: str, **how: Any) -> Any:
    module = backend.module_named(device)
    source = generator_of(law.__name__, generator, module)
    host = [module.to_numpy(a) if isinstance(a, module.array_type) else a for a in arrays]
    with np.errstate(all="ignore"):
        return module.from_numpy(source.draw(law, *host, **how))


def generator_of(name: str, generator: Any, module: Any) -> Generator:
    """The generator given, or the one in force; refused when it is another device's."""
    if generator is None:
        return current_generator()
    if not isinstance(generator, Generator):
        raise TypeError(
            f"{name}(): argument 'generator' must be minigrad.Generator, not {type(generator).__name__}"
        )
    if generator.device.type != module.name:
        raise RuntimeError(
            f"{name}: Expected a {module.name!r} device type for generator but found "
            f"{generator.device.type!r}; make it with Generator(device={module.name!r})"
        )
    return generator


# ---- tensors ---------------------------------------------------------------------------------------------


def _continuous(
    name: str, function: Any, size: Any, generator: Any, out: Any, dtype: Any, device: Any, requires_grad: bool,
    **checked: Any,
) -> Tensor:  # fmt: skip
    shape = shape_of(name, size, checked.pop("named", None))
    kind, module = place(name, out, dtype, device, **checked)
    floating_dtype(name, kind)
    generator_of(name, generator, module)
    array = sample(function, module, generator, shape=shape, dtype=kind.numpy_dtype)
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
    name: str, function: Any, input: Any, generator: Any, dtype: Any, requires_grad: bool, **options: Any
) -> Tensor:
    shape, kind, module, model = like(name, input, dtype, **options)
    floating_dtype(name, kind)
    generator_of(name, generator, module)
    drawn = sample(function, module, generator, shape=shape, dtype=kind.numpy_dtype)
    return finish(name, _laid_out(module, model, drawn), None, requires_grad)


def _laid_out(module: Any, model: Any, drawn: Any) -> Any:
    """drawn, in the memory order of model, an array or None for C's."""
    if model is None:
        return drawn
    array = autograd.run(empty_like_array, module.m, model, dtype=drawn.dtype)
    autograd.run(autograd._assign, module.m, array, drawn)
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
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    shape = shape_of("randint", (tuple(size),))
    kind, module = place(
        "randint", out, dtype, device, layout=layout, pin_memory=pin_memory, default=dtypes.int64
    )
    bounds_of("randint", low, high, kind)
    generator_of("randint", generator, module)
    array = sample(integers, module, generator, low=low, high=high, shape=shape, dtype=kind.numpy_dtype)
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
    generator_of("randint_like", generator, module)
    drawn = sample(integers, module, generator, low=low, high=high, shape=shape, dtype=kind.numpy_dtype)
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
    generator_of("randperm", generator, module)
    return finish(
        "randperm", sample(_permutation, module, generator, n=n, dtype=kind.numpy_dtype), out, requires_grad
    )


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
    if tensors:
        given = (size, dtype, layout, device, pin_memory or None, requires_grad or None)
        if any(x is not None for x in given):
            raise TypeError(
                "normal(): size, dtype and device follow from the tensors mean and std; leave them out"
            )
        shape = tuple(np.broadcast_shapes(*(t._array.shape for t in tensors))) if _fit(mean, std) else ()
        kind, module = place("normal", out, None if out is not None else tensors[0].dtype, tensors[0].device)
    else:
        if size is None:
            raise TypeError("normal(): two numbers mean and std need a size: normal(mean, std, size)")
        if not isinstance(size, (tuple, list)):
            raise TypeError(f"normal(): argument 'size' must be tuple of ints, not {type(size).__name__}")
        shape = shape_of("normal", (tuple(size),))
        kind, module = place("normal", out, dtype, device, layout=layout, pin_memory=pin_memory)
    for t in tensors:
        floating_dtype("normal", t.dtype)
    floating_dtype("normal", kind)
    lowest = (
        std._array.min() if isinstance(std, Tensor) and std.numel() else 0 if isinstance(std, Tensor) else std
    )
    if not isinstance(std, Tensor) and math.isnan(std) or lowest < 0:
        raise RuntimeError(
            f"normal: normal expects all elements of std >= 0.0, but found std {float(lowest):g}"
        )
    generator_of("normal", generator, module)
    unit = sample(normal_of, module, generator, shape=shape, dtype=kind.numpy_dtype)
    raw = [x._array if isinstance(x, Tensor) else x for x in (mean, std)]
    return finish("normal", autograd.run(_scaled, module.m, unit, *raw), out, requires_grad)


def _fit(mean: Any, std: Any) -> bool:
    if isinstance(mean, Tensor) and isinstance(std, Tensor):
        clash = errors.broadcast_clash(tuple(mean.shape), tuple(std.shape))
        if clash:
            raise RuntimeError(f"normal: The size of tensor a ({clash[0]}) must match the size of tensor b ({clash[1]}) "
                               f"at non-singleton dimension {clash[2]}; reshape mean or std")  # fmt: skip
    return True


def _scaled(m: Any, unit: Any, mean: Any, std: Any) -> Any:
    return m.asarray(unit * std + mean, dtype=unit.dtype)


@composite
def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """1 with probability ``input``, element by element, else 0, in input's dtype; or with one ``p`` for all."""
    x = tensor_of("bernoulli", input)
    module = backend.module_of(x._array)
    generator_of("bernoulli", generator, module)
    if p is None:
        floating_dtype("bernoulli", x.dtype)
        probability_of("bernoulli", x)
    else:
        p = probability_of("bernoulli", float(p))
    drawn = sample(_bernoulli, module, generator, x._array if p is None else p, shape=tuple(x._array.shape))
    kind = (x if out is None else out).dtype.numpy_dtype
    return finish("bernoulli", autograd.run(autograd._cast, module.m, drawn, dtype=kind), out, False)


def probability_of(name: str, p: Any) -> Any:
    """p, refused unless every element lies in 0 … 1."""
    inside = bool(((p._array >= 0) & (p._array <= 1)).all()) if isinstance(p, Tensor) else 0 <= p <= 1
    if not inside:
        raise RuntimeError(f"{name}: {name} expects p to be in [0, 1], but got {_worst(p)}")
    return p


def _worst(p: Any) -> str:
    return f"p={p:g}" if not isinstance(p, Tensor) else f"{errors.describe(p)} with elements outside"


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
    if bool((weights.sum(axis=-1) <= 0).any()):
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")
    generator_of("multinomial", generator, module)
    drawn = sample(_categories, module, generator, weights, n=k, replacement=bool(replacement))
    return finish("multinomial", drawn, out, False)


def _poisson(stream: Any, rate: np.ndarray) -> np.ndarray:
    counted = rate < 1e18  # NumPy's limit; beyond it the normal distribution is exact to float64
    small = stream.poisson(np.where(counted, rate, 0).astype(np.float64)).astype(np.float64)
    large = np.rint(rate + np.sqrt(rate) * stream.standard_normal(rate.shape))
    return np.asarray(np.where(counted, small, large)).astype(rate.dtype)


@composite(method=False)
def poisson(input: Any, generator: Any = None) -> Tensor:
    """Counts of the Poisson distribution with rates ``input``, in its dtype."""
    x = tensor_of("poisson", input)
    floating_dtype("poisson", x.dtype)
    module = backend.module_of(x._array)
    if not bool((x._array >= 0).all()):
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    generator_of("poisson", generator, module)
    return wrap(sample(_poisson, module, generator, x._array))
