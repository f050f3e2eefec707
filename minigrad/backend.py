"""Where arrays live and which kernels run: array modules, kernel sets, and their selection.

Two independent axes. The *array module* follows from the type of the array; any module with NumPy's
interface registers with one call. The *kernel set* is a context variable: ``auto`` uses what is
registered for op, array module and dtype, ``off`` is the reference, ``require`` refuses to fall back
where a set claims the op, and a set's own name uses that set alone. Nothing here knows any op.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from . import errors
from .op import OPS


class ArrayModule(NamedTuple):
    """A module with NumPy's interface, and the four things NumPy's interface doesn't say."""

    name: str  # the device: "cpu", "cuda"
    m: Any
    array_type: type
    from_numpy: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray]
    shares_memory: Callable[[Any, Any], bool]


class Declined(NamedTuple):
    """What a kernel returns in place of a result when the call isn't for it, having written nothing."""

    why: str


class Kernel(NamedTuple):
    """A fast forward ``(m, *inputs, **attrs)`` and, optionally, a fast rule with the row's arguments.

    Either may return :class:`Declined`: then the reference runs, or under ``require`` the call is refused.
    ``least``: from how many elements of the first operand ``auto`` takes it. ``ahead``: a forward that makes the
    gradient by the first input with its results, as if that by the first of them were 1, while its operands are in the
    cache; it gives the row's results and that array. ``rest(m, g, made)`` makes it the gradient for g, in that memory.
    A row with a rule for each operand has a tuple of them as ``vjp``, in the order of the row's.
    """

    forward: Callable[..., Any]
    vjp: Callable[..., Any] | tuple[Callable[..., Any], ...] | None = None
    kernel_set: str = ""
    least: int = 0
    ahead: Callable[..., Any] | None = None
    rest: Callable[..., Any] | None = None

    @property
    def rules(self) -> tuple[Callable[..., Any], ...]:
        """Those of the row's rules, in their order, that it has."""
        return self.vjp if isinstance(self.vjp, tuple) else () if self.vjp is None else (self.vjp,)


class _Place(NamedTuple):
    type: str
    index: int | None = None  # type: ignore[assignment]  # tuples have a method of that name


class device(_Place):
    """Where a tensor's memory is: ``device("cpu")``, ``device("cuda:1")``, ``device("cuda", 1)``, ``device(1)``.

    ``with device("cpu"): …`` makes it the place of new tensors for a block; it decorates functions likewise.
    Any device may be named; using one whose array module isn't registered is refused.
    """

    __slots__ = ()

    def __new__(cls, type: Any, index: int | None = None) -> device:
        if isinstance(type, _Place):
            type, index = type.type, type.index if index is None else index
        if isinstance(type, int) and not isinstance(type, bool) and index is None:
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {errors.describe(type)}")
        name, colon, number = type.partition(":")
        if name not in _KNOWN and name not in MODULES:
            raise RuntimeError(
                f"device: Expected one of {', '.join([*_KNOWN, *sorted(MODULES.keys() - set(_KNOWN))])} device "
                f"type at start of device string: {type}"
            )
        if colon:
            if index is not None:
                raise RuntimeError(f"device: type (string) must not include an index because index was passed "
                                   f"explicitly: {type}")  # fmt: skip
            if not number.isdecimal():
                raise RuntimeError(f"device: Invalid device string: {type!r}; expected a form such as cuda:0")
            index = int(number)
        if index is not None and index < 0:
            raise RuntimeError(f"device: Device index must not be negative, got {index}")
        return super().__new__(cls, name, index)

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __enter__(self) -> device:
        _places.set((*_places.get(), self))
        return self

    def __exit__(self, *exc: object) -> None:
        _places.set(_places.get()[:-1])

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


_KNOWN = (
    "cpu",
    "cuda",
    "mps",
    "xpu",
    "xla",
    "hpu",
    "mtia",
    "meta",
)  # PyTorch's, whether registered here or not
_places: ContextVar[tuple[device | None, ...]] = ContextVar(
    "device", default=(None,)
)  # the default, then blocks


def get_default_device() -> device:
    """Where new tensors are made: the innermost ``with device(…)``, else what was set, else the CPU."""
    return _places.get()[-1] or _CPU


_CPU = device("cpu")


def set_default_device(place: Any) -> None:
    """Sets where new tensors are made, for this thread and those it copies its context to; None is the CPU."""
    if place is not None:
        place = device(place)
        module_named(place)
    _places.set((place, *_places.get()[1:]))


MODULES: dict[str, ArrayModule] = {}
BY_TYPE: dict[type, ArrayModule] = {}


def register_array_module(
    name: str,
    m: Any,
    array_type: type,
    *,
    from_numpy: Callable[[np.ndarray], Any] | None = None,
    to_numpy: Callable[[Any], np.ndarray] | None = None,
    shares_memory: Callable[[Any, Any], bool] | None = None,
) -> ArrayModule:
    """Makes arrays of ``array_type`` known as the device ``name``."""
    made = ArrayModule(
        name, m, array_type, from_numpy or m.asarray, to_numpy or np.asarray,
        shares_memory or m.may_share_memory,
    )  # fmt: skip
    MODULES[name] = BY_TYPE[array_type] = made
    return made


CPU = register_array_module("cpu", np, np.ndarray)


@functools.cache
def keep_freed_memory() -> None:
    """Once a process: has the C allocator keep freed blocks of up to 32 MB for the next step's arrays.

    glibc maps blocks above a threshold and unmaps them when freed, so that every step pays for fresh pages;
    freeing one mapped block raises the threshold to its size (mallopt(3), M_MMAP_THRESHOLD). The pages are
    never touched. Other allocators don't mind. See ``docs/decisions/memory.md``.
    """
    np.empty(32 * 2**20 - 2**16, np.uint8)


def give_back_freed_memory() -> None:
    """Has glibc's allocator give the system what it kept of freed blocks (malloc_trim(3)); others don't mind.

    For when a step's arrays have been freed and the next step's will be in memory of their own.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def module_of(array: Any) -> ArrayModule:
    """The array module that an array belongs to."""
    found = BY_TYPE.get(type(array))
    if found is None:
        for kind, module in list(BY_TYPE.items()):
            if isinstance(array, kind):
                return module
        raise TypeError(
            f"no array module is registered for {type(array).__module__}.{type(array).__name__}; "
            f"known are {sorted(MODULES)}: convert with numpy.asarray or call "
            f"minigrad.backend.register_array_module"
        )
    return found


def module_named(name: Any) -> ArrayModule:
    """The array module of a device: a name such as "cpu" or "cuda:0", or a device; None is the default one."""
    if name is None:
        place = _places.get()[-1]
        return CPU if place is None else module_named(place)
    kind = "cuda" if isinstance(name, int) else str(name).split(":")[0]
    if kind not in MODULES:
        raise RuntimeError(
            f"device {str(name)!r} is not available: expected one of {sorted(MODULES)}; "
            f"register its array module first"
        )
    return MODULES[kind]


@functools.cache
def _initial() -> str:
    return os.environ.get("MINIGRAD_KERNELS", "auto")


_waits: ContextVar[bool] = ContextVar("kernels_wait", default=False)
_selected: ContextVar[str | None] = ContextVar("kernels", default=None)
KERNEL_SETS: set[str] = set()


def register_kernel(
    kernel_set: str,
    op: str,
    forward: Callable[..., Any],
    vjp: Callable[..., Any] | tuple[Callable[..., Any], ...] | None = None,
    *,
    module: str = "cpu",
    dtypes: tuple[str, ...] = ("float32",),
    least: int = 0,
    ahead: Callable[..., Any] | None = None,
    rest: Callable[..., Any] | None = None,
) -> None:
    """Registers a kernel for an op, an array module and dtypes. Its arguments are the row's.

    A kernel returns :class:`Declined` for a call that it leaves to the reference. Where the operands have
    fewer than ``least`` elements ``auto`` doesn't ask it. ``ahead`` and ``rest``: see :class:`Kernel`.
    """
    if op not in OPS:
        raise KeyError(f"register_kernel: {kernel_set!r} registers {op!r}, but no such row exists")
    if kernel_set in ("auto", "off", "require"):
        raise ValueError(f"register_kernel: {kernel_set!r} is a mode; give the set a name of its own")
    KERNEL_SETS.add(kernel_set)
    for d in dtypes:
        OPS[op].kernels[kernel_set, module, np.dtype(d)] = Kernel(
            forward, vjp, kernel_set, least, ahead, rest
        )


class _Places(threading.local):
    """What gives this thread's kernels memory for their results, ``(shape, dtype) -> array``; None: they make their own.

    ``loops``: who is told what a kernel's Python calls, in place of the call, ``(name, loop, arrays and numbers, size, work)``;
    and ``wrong`` whether a loop left a number below zero, which a kernel declines for.
    """

    given: Any = None
    loops: Any = None
    wrong: Any = None


PLACES = _Places()


def kernel_is_ready() -> None:
    """To be called when a kernel that declined until now will answer: what was compiled without it is traced anew."""
    READY[0] += 1


READY = [0]


def register_fuser(kernel_set: str, make: Callable[[], Any]) -> None:
    """Registers what makes a compiled function's chains of elementwise calls into loops: ``make()`` gives an object with
    ``chain()``, which takes steps one after the other, and ``LEAST``, the elements from which a loop pays; perhaps
    ``epilogue(step, chain, wanted)``, the loop of a matrix product with a chain of what it makes."""
    FUSERS[kernel_set] = make
    KERNEL_SETS.add(kernel_set)


FUSERS: dict[str, Callable[[], Any]] = {}


def fusers() -> list[tuple[str, Any]]:
    """Those of the kernel sets selected, by name."""
    mode = current_kernels()
    sets = sorted(KERNEL_SETS) if mode in ("auto", "require") else [mode]
    return [(name, FUSERS[name]()) for name in sets if name in FUSERS]


def unregister_kernels(kernel_set: str) -> None:
    """Removes a kernel set from every row."""
    KERNEL_SETS.discard(kernel_set)
    FUSERS.pop(kernel_set, None)
    for row in OPS.values():
        for key in [k for k in row.kernels if k[0] == kernel_set]:
            del row.kernels[key]


def current_kernels() -> str:
    """The selection in force: auto, off, require, or a kernel set's name."""
    return _checked(_selected.get() or _initial())


def _checked(mode: str) -> str:
    if mode not in ("auto", "off", "require") and mode not in KERNEL_SETS:
        raise ValueError(
            f"MINIGRAD_KERNELS: {mode!r} is neither auto, off, require nor a registered kernel set "
            f"({sorted(KERNEL_SETS) or 'none is registered'})"
        )
    return mode


@contextlib.contextmanager
def kernels(mode: str, wait: bool | None = None) -> Iterator[None]:
    """Selects kernels for a block: ``with minigrad.kernels("off"): …``.

    With ``wait`` a kernel's first use waits until it is compiled, as under ``require``; otherwise the reference
    answers until then, and results may change in their last bits at that moment. None leaves that as it is.
    """
    token, waiting = _selected.set(_checked(mode)), _waits.set(_waits.get() if wait is None else wait)
    try:
        yield
    finally:
        _selected.reset(token)
        _waits.reset(waiting)


def kernels_wait() -> bool:
    """Must a kernel that isn't compiled yet be compiled now, rather than decline?"""
    return _waits.get() or current_kernels() == "require"


def select(op: Any, module: ArrayModule, array_dtype: Any, size: int | None = None) -> Kernel | None:
    """The kernel for an op, or None for the reference. Called only for rows that have any."""
    mode = current_kernels()
    if mode == "off":
        return None
    sets = sorted(KERNEL_SETS) if mode in ("auto", "require") else [mode]
    for kernel_set in sets:
        found = op.kernels.get((kernel_set, module.name, array_dtype))
        if found is not None and (mode != "auto" or size is None or size >= found.least):
            return found
    if mode == "require":
        have = sorted(f"{s}/{d}/{t}" for s, d, t in op.kernels)
        raise RuntimeError(
            f"{op.name}: kernels are required, but none is registered for {module.name} and "
            f"{array_dtype}; there are {have}: use MINIGRAD_KERNELS=auto to allow the reference"
        )
    return None


def check_declined(name: str, part: str, declined: Declined) -> None:
    """Refuses a kernel's refusal where kernels are required."""
    if current_kernels() == "require":
        raise RuntimeError(
            f"{name}: kernels are required, but the {part}'s kernel declined: {declined.why}; "
            f"use MINIGRAD_KERNELS=auto to allow the reference"
        )


def why_reference(op: Any, module: ArrayModule, array_dtype: Any, size: int) -> str:
    """Why :func:`select` gave no kernel."""
    mode = current_kernels()
    if not op.kernels:
        return "no kernel set has this op"
    if mode == "off":
        return "kernels are off"
    known = [
        k for (s, d, t), k in op.kernels.items() if (d, t) == (module.name, array_dtype) and s in KERNEL_SETS
    ]
    if known and mode == "auto":
        return f"too small to pay: {size} elements, the kernel takes {min(k.least for k in known)} or more"
    return f"no kernel for {array_dtype} on {module.name}" + ("" if mode == "auto" else f" in {mode!r}")
