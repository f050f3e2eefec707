"""``torch.cuda``'s questions and switches, asked of the array module registered as "cuda". No arrays are made here.

Without one, as in a PyTorch without CUDA: ``is_available()`` is False, seeding and emptying the cache do
nothing, memory in use is 0, and what needs a device is refused. With one, what CUDA itself knows (names,
memory, synchronisation) comes from the module's own ``cuda`` namespace, CuPy's interface.
"""

from __future__ import annotations

from typing import Any

from .. import backend, generator

__all__ = [
    "OutOfMemoryError", "amp", "current_device", "device", "device_count", "empty_cache", "get_device_name",
    "init", "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "reset_peak_memory_stats",
    "seed", "seed_all", "set_device", "synchronize",
]  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """For ``except torch.cuda.OutOfMemoryError``."""


def is_available() -> bool:
    """Is an array module registered as "cuda"?"""
    return "cuda" in backend.MODULES


def is_initialized() -> bool:
    """The same as :func:`is_available`: a registered module needs no start."""
    return is_available()


def init() -> None:
    """Refuses where there is no CUDA; otherwise there is nothing to start."""
    _runtime("init")


def _runtime(name: str) -> Any:
    """The module's ``cuda`` namespace, None if it has none; refused without a module."""
    if not is_available():
        raise RuntimeError(
            f"cuda.{name}: no array module is registered as 'cuda', expected one; ask cuda.is_available() first, or "
            f"register it with minigrad.backend.register_array_module"
        )
    return getattr(backend.MODULES["cuda"].m, "cuda", None)


def device_count() -> int:
    """How many devices there are."""
    if not is_available():
        return 0
    runtime = _runtime("device_count")
    return 1 if runtime is None else int(runtime.runtime.getDeviceCount())


def _index(name: str, device: Any) -> int:
    """The number of a device given as None (the current one), a number, a name or a device."""
    if device is None:
        return current_device()
    where = backend.device(device)
    if where.type != "cuda":
        raise ValueError(f"cuda.{name}: Expected a cuda device, but got: {where}")
    number = current_device() if where.index is None else where.index
    if number >= device_count():
        raise RuntimeError(
            f"cuda.{name}: invalid device ordinal {number}: expected less than {device_count()}"
        )
    return number


def current_device() -> int:
    """The number of the device in use."""
    runtime = _runtime("current_device")
    return 0 if runtime is None else int(runtime.runtime.getDevice())


def set_device(device: Any) -> None:
    """Uses another device from now on."""
    runtime = _runtime("set_device")
    number = _index("set_device", device)
    if runtime is not None:
        runtime.Device(number).use()


class device:
    """Uses another device for a block; -1 leaves the one in use."""

    def __init__(self, device: Any) -> None:
        self.to, self.back = device, -1

    def __enter__(self) -> None:
        if self.to != -1 and is_available():
            self.back = current_device()
            set_device(self.to)

    def __exit__(self, *exc: object) -> None:
        if self.back != -1:
            set_device(self.back)


def get_device_name(device: Any = None) -> str:
    """What the device calls itself."""
    runtime = _runtime("get_device_name")
    number = _index("get_device_name", device)
    if runtime is None:
        return backend.MODULES["cuda"].m.__name__
    return runtime.runtime.getDeviceProperties(number)["name"].decode()


def is_bf16_supported() -> bool:
    """False: array modules have no bfloat16 arithmetic of their own."""
    return False


def synchronize(device: Any = None) -> None:
    """Waits until the device has done all that it was given."""
    runtime = _runtime("synchronize")
    number = _index("synchronize", device)
    if runtime is not None:
        runtime.Device(number).synchronize()


def _pool() -> Any:
    make = getattr(backend.MODULES["cuda"].m, "get_default_memory_pool", None) if is_available() else None
    return None if make is None else make()


def empty_cache() -> None:
    """Gives unused cached memory back to the device."""
    if (pool := _pool()) is not None:
        pool.free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by arrays."""
    return 0 if (pool := _pool()) is None else int(pool.used_bytes())


def memory_reserved(device: Any = None) -> int:
    """Bytes in use by arrays, and those cached."""
    return 0 if (pool := _pool()) is None else int(pool.total_bytes())


def max_memory_allocated(device: Any = None) -> int:
    """0 without CUDA; a peak that nobody records is refused."""
    return _no_peak("max_memory_allocated")


def max_memory_reserved(device: Any = None) -> int:
    """0 without CUDA; a peak that nobody records is refused."""
    return _no_peak("max_memory_reserved")


def _no_peak(name: str) -> int:
    if is_available():
        raise NotImplementedError(
            f"cuda.{name}: the array module records no peak; read memory_allocated() instead"
        )
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing: no peak is recorded."""


def manual_seed(seed: int) -> None:
    """Seeds what draws on the device; without CUDA nothing. One generator draws for all devices here."""
    if is_available():
        generator.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """:func:`manual_seed` for every device."""
    manual_seed(seed)


def seed() -> None:
    """Seeds what draws on the device with a number that can't be foretold; without CUDA nothing."""
    if is_available():
        generator.seed()


def seed_all() -> None:
    """:func:`seed` for every device."""
    seed()


def __getattr__(name: str) -> Any:
    if name == "amp":
        import importlib

        return importlib.import_module(f"{__name__}.amp")
    from ..typed import TYPES

    if name in TYPES:  # torch.cuda.FloatTensor
        return TYPES[name].on("cuda")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
