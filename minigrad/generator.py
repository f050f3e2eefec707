"""Counter-based generators of random numbers, the one in force, and how functions draw from it.

A :class:`Generator` is two numbers, a seed and an offset. Draw number n of seed s is the Philox-4×64-10
stream (Salmon, Moraes, Dror, Shaw, 2011: "Parallel random numbers: as easy as 1, 2, 3") with the key s
and n in the upper half of the counter, so a draw takes one step of the offset whatever its size, dtype
and thread, and a saved state is three words. Tensors are drawn in ``random.py`` and filled in
``functions/fills.py``.

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
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import autograd, backend, dtypes, errors
from .modes import STATE, on_host
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

    def __copy__(self) -> Generator:
        return self.clone_state()

    def clone_state(self) -> Generator:
        """Another generator in the same state: both will draw the same numbers."""
        made = Generator(self.device)
        with self._lock:
            made._seed, made._offset = self._seed, self._offset
        return made

    @on_host
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

    @on_host
    def seed(self) -> int:
        """Begins the numbers of a seed drawn from the system, and returns that seed."""
        return self.manual_seed(int.from_bytes(os.urandom(8), "little")).initial_seed()

    def initial_seed(self) -> int:
        """The seed in use, 0 ≤ seed < 2⁶⁴."""
        return self._seed

    def get_offset(self) -> int:
        """Draws made since seeding."""
        return self._offset

    @on_host
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

    @on_host
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


def sample(name: str, law: Callable[..., Any], module: Any, generator: Any, *arrays: Any, **how: Any) -> Any:
    """A raw array of ``module`` drawn by ``law(stream, *arrays, **how)`` for the function ``name``.

    Drawn from ``generator``, None for the one in force, and where a capture sees it: replayed, it draws
    the next numbers. Raises TypeError for no generator, RuntimeError for another device's.
    """
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(
            f"{name}(): argument 'generator' must be minigrad.Generator, not {type(generator).__name__}"
        )
    if generator is not None and generator.device.type != module.name:
        raise RuntimeError(
            f"{name}: Expected a {module.name!r} device type for generator but found "
            f"{generator.device.type!r}; make it with Generator(device={module.name!r})"
        )
    tracer = STATE.get().tracer
    if tracer is not None and generator is None:
        tracer.draws()
    return autograd.run(_sampled, module.m, *arrays, law=law, generator=generator, device=module.name, **how)


def _sampled(m: Any, *arrays: Any, law: Any, generator: Any, device: str, **how: Any) -> Any:
    module = backend.module_named(device)
    host = [module.to_numpy(a) if isinstance(a, module.array_type) else a for a in arrays]
    with np.errstate(all="ignore"):
        return module.from_numpy((generator or current_generator()).draw(law, *host, **how))
