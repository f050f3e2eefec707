"""When a kernel is compiled, in which thread, and where its machine code is kept.

The first use of a kernel starts a thread that compiles it, and declines; the reference answers until it is ready.
Under ``MINIGRAD_KERNELS=require`` the first use waits. The thread ends when nothing is left to compile; a process
that ends before waits for the kernel in work and drops the others.

Machine code is kept in the user's cache folder, in a folder named by all that it depends on: the source of this set,
the versions of Numba and Python, the CPU. A file holds one function for one dtype and is replaced whole, so
processes that compile the same write the same. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import backend, threads
from minigrad.backend import Declined

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Declined("too small to pay")
COMPILING = Declined("it is being compiled: minigrad.warmup() does that ahead")

_compiler = threading.RLock()  # held while something compiles
_lock = threading.Lock()  # of the queue
_queue: deque[Lazy] = deque()
_worker: threading.Thread | None = None
_underway = _said = _watching = False
_stopped: Declined | None = None


class Lazy:
    """A kernel that ``make`` compiles: called as the row is, it declines until it is ready.

    ``worth`` says of a call's arguments whether it would be taken under "auto": nothing is compiled for one that wouldn't.
    """

    def __init__(self, name: str, make: Callable[[], Any], worth: Callable[..., bool] | None = None) -> None:
        self.name, self.make, self.worth = name, make, worth
        self.run: Any = None
        self.state: Declined | None = None

    def __call__(self, m: Any, *args: Any, **attrs: Any) -> Any:
        run = self.run
        if run is None:
            if self.worth is not None and backend.current_kernels() == "auto" and not self.worth(*args):
                return SMALL
            if backend.kernels_wait():
                self.compile()
            else:
                return self.begin()
            run = self.run
        return run(*args, **attrs)

    def ready(self) -> bool:
        """Is it compiled? Where kernels are waited for it is, now; else it will be, in the background."""
        if self.run is None:
            if backend.kernels_wait():
                self.compile()
            else:
                self.begin()
        return self.run is not None

    def ahead(self) -> list[Lazy]:
        """What warmup compiles."""
        return [self]

    def begin(self) -> Declined:
        """Has it compiled in the background, once."""
        global _worker
        with _lock:
            if self.state is None:
                self.state = _stopped or COMPILING
                if _stopped is None:
                    _queue.append(self)
                    if _worker is None:
                        _worker = threading.Thread(target=_work, name="minigrad-compiler")
                        _worker.start()
        return self.state

    def compile(self) -> None:
        """Compiles it here and now."""
        global _underway, _watching
        if _stopped is not None:
            raise RuntimeError(f"{self.name}: {_stopped.why}")
        with _compiler:
            if self.run is None:
                if not _watching and hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=_forked)
                    _watching = True
                _underway = True
                try:
                    _uncoloured()
                    self.run = self.make()
                    backend.kernel_is_ready()
                finally:
                    _underway = False


def _work() -> None:
    """The thread's life: compile what is queued, and end."""
    global _worker
    while True:
        with _lock:
            if not _queue or not threading.main_thread().is_alive():
                _worker = None
                return
            lazy = _queue.popleft()
        try:
            lazy.compile()
        except Exception as e:  # the reference goes on answering
            lazy.state = Declined(f"it could not be compiled: {type(e).__name__}: {e}")
            _log().warning("%s: %s", lazy.name, lazy.state.why)


def _uncoloured() -> None:
    """Imports Numba so that its errors leave the standard streams alone.

    Where colorama is installed they replace sys.stdout and sys.stderr while their text is made, and put back what was
    there: from a background thread that takes away what another has put there meanwhile, contextlib.redirect_stdout say.
    """
    import contextlib

    if "numba" not in sys.modules:
        name = "NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING"  # which is read at import
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            import numba  # noqa: F401
        finally:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before
    from numba.core import errors

    if hasattr(errors, "ColorShell"):
        errors.ColorShell = contextlib.nullcontext


def _log() -> Any:
    import logging

    return logging.getLogger("minigrad.kernels")


def wait() -> None:
    """Returns when nothing is left to compile in the background."""
    while (worker := _worker) is not None:
        worker.join()


def _forked() -> None:
    """In a forked process: no thread compiles here. One that did so at that moment left Numba's locks held for ever."""
    global _worker, _lock, _compiler, _stopped
    _lock, _compiler, _worker = threading.Lock(), threading.RLock(), None
    _queue.clear()
    if _underway:
        _stopped = Declined(
            "the process was forked while kernels were being compiled; call minigrad.warmup() before"
        )


# ---- functions ----------------------------------------------------------------------------------------


class Loop:
    """A function over arrays, compiled by dtype, that ends in a range: ``loop(size, work, *arguments)``.

    ``arguments`` is Numba's notation, with X for the dtype. ``fast`` are LLVM's fast-math flags; without any the
    results are NumPy's to the bit. ``source`` stands for a generated function's file.
    """

    def __init__(self, function: Any, arguments: str, fast: frozenset[str], source: str = "") -> None:
        self.function, self.arguments, self.fast, self.source = function, arguments, fast, source
        self.entries: dict[Any, Any] = {}

    def __call__(self, size: int, work: float, *args: Any) -> None:
        entry, told = self.entries[args[0].dtype], backend.PLACES.loops
        if told is None:
            threads.share(entry, args, size, work)
        else:
            told(self.function.__name__, entry, args, size, work)

    def alone(self, size: int, *args: Any) -> None:
        """The whole range in this thread: what one piece finds the next needs."""
        self(size, -math.inf, *args)

    def load(self, dtype: Any) -> None:
        """Compiles it for a dtype, or fetches its machine code from the cache."""
        if dtype in self.entries:
            return
        import hashlib
        import types

        import numba

        f = self.function
        name = f"{f.__name__}_{dtype.name}_{hashlib.sha256((self.source + self.arguments).encode()).hexdigest()[:8]}"
        single = types.FunctionType(f.__code__, f.__globals__, name, None, f.__closure__)
        single.__qualname__ = name
        signature = f"void({self.arguments.replace('X', {4: 'f4', 8: 'f8'}[dtype.itemsize])}, i8, i8)"
        for cached in (True, False):
            made: Any = numba.njit(
                nogil=True, fastmath=set(self.fast), error_model="numpy", boundscheck=False
            )(single)
            try:
                if cached:
                    _keep(made, single)
                made.compile(signature)
                break
            except (
                Exception
            ):  # a folder that can't be written, a file that is damaged, or the function is wrong
                if not cached:
                    raise
        self.entries[dtype] = next(iter(made.overloads.values())).entry_point


def wrong(flag: Any) -> bool:
    """Has a loop left a number below zero in an array of one?"""
    asked = backend.PLACES.wrong
    return bool(flag.item() < 0) if asked is None else asked(flag)


def loop(arguments: str, *fast: str) -> Callable[[Any], Loop]:
    """Declares a :class:`Loop`."""
    return lambda function: Loop(function, arguments, frozenset(fast))


def kernel(*loops: Loop) -> Callable[[Any], Any]:
    """Declares a function with a row's arguments, after m, that answers with these loops or declines.

    A compiled function runs it once more and then calls what it called: these loops, and NumPy on its operands and on memory
    of :func:`empty`. So it does nothing else to them, and asks :func:`wrong` what a loop found.
    """

    def declare(function: Any) -> Any:
        function.loops = loops
        return function

    return declare


# ---- memory -----------------------------------------------------------------------------------------------

ALIGNED = 64  # bytes: a line of the cache, and the widest vector
LARGE = (
    2**25
)  # bytes from which the C allocator gives memory back, so that each new array has untouched pages
_large: deque[Any] = deque(maxlen=4)  # the memory of the last results of that size
_large_lock = threading.Lock()


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """``np.empty`` for a kernel's result, where a compiled function has no place for it.

    A large one gets the memory of an earlier one that nobody holds any more.
    """
    if (place := backend.PLACES.given) is not None:
        if _large:
            with _large_lock:
                _large.clear()
        return place(shape, dtype)
    n = math.prod(shape) * dtype.itemsize
    if n < LARGE:
        return aligned(shape, dtype) if n >= 2**15 else np.empty(shape, dtype)
    with _large_lock:
        memory = None
        for _ in range(len(_large)):
            known = _large.popleft()
            # two references: this name's and the call's. An array that lives in this memory holds a third.
            held = sys.getrefcount(known) > 2
            if not held and memory is None and n <= known.nbytes - ALIGNED <= n + n // 4:
                memory = known
            elif held:  # what nobody holds and doesn't fit is let go
                _large.append(known)
        if memory is None:
            memory = np.empty(n + ALIGNED, np.uint8)
        _large.append(memory)
    return _aligned(memory, shape, dtype)


def aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """``np.empty`` that begins with a line of the cache: NumPy's own begins 16 bytes after one, and vectors straddle two."""
    if (place := backend.PLACES.given) is not None:
        return place(shape, dtype)
    return _aligned(np.empty(math.prod(shape) * dtype.itemsize + ALIGNED, np.uint8), shape, dtype)


def _aligned(memory: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return np.ndarray(shape, dtype, memory, -memory.__array_interface__["data"][0] % ALIGNED)


# ---- the cache ------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where machine code for this source, Numba, Python and CPU is kept."""
    import hashlib
    from pathlib import Path

    import llvmlite.binding as llvm
    import numba

    from minigrad.data.sets import cache_folder

    key = hashlib.sha256()
    for part in (
        numba.__version__,
        np.__version__,
        sys.version,
        llvm.get_host_cpu_name(),
        str(llvm.get_host_cpu_features()),
    ):
        key.update(part.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        key.update(file.read_bytes())
    return cache_folder() / "kernels" / key.hexdigest()[:16]


_folder: Path | None = None


def _keep(dispatcher: Any, function: Any) -> None:
    """Gives a dispatcher a cache in :func:`folder`, in which this function is alone in its files."""
    global _folder, _said
    from numba.core import caching

    here = _folder = _folder or folder()

    class Place:
        """Numba's locator protocol."""

        from_function = classmethod(lambda cls, function, file: cls())

        def ensure_cache_path(self) -> None:
            here.mkdir(parents=True, exist_ok=True)

        def get_cache_path(self) -> str:
            return str(here)

        def get_source_stamp(self) -> str:
            return here.name

        def get_disambiguator(self) -> str:
            return "1"

    rooted = type("Rooted", (caching.CompileResultCacheImpl,), {"_locator_classes": [Place]})
    dispatcher._cache = type("Cache", (caching.FunctionCache,), {"_impl_class": rooted})(function)
    if not _said and not list(here.glob(f"*{function.__name__}*.nbc")):
        _said = True
        told = "minigrad compiles kernels for this CPU, once; until they are ready the reference answers"
        _log().info(told)
        if sys.stderr is not None and sys.stderr.isatty():
            print(told, file=sys.stderr)
