"""The sides that are compared, each in a process of its own, and the worker that runs there.

A side's process reads one JSON request a line and answers one line: open a workload, get ready for a round, go,
hand out the result. The driver (``measure``) has the clock that decides; a side's own is only compared with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad

from . import peers
from .workload import Built, Kit, Missing, Workload, same

GROUP = "minigrad.kernels"  # the entry point group in which other distributions announce kernel sets
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
POKE, POKES = 64, 8  # elements rewritten before every call, and how many variants of them take turns
KEPT = 2**20  # elements of a result that are compared; of larger ones every k-th, from a drawn start


class Side(NamedTuple):
    """A side's name, the package it runs, and whether that is a peer, which the others are compared with."""

    name: str
    package: str
    peer: bool = False


ORACLE = Side("float64", "minigrad")
OURS = (Side("reference", "minigrad"), Side("kernels", "minigrad"), Side("compiled", "minigrad"))
PEERS = (Side("torch", "torch", True), Side("torch.compile", "torch", True))
BESIDE = tuple(Side(name, name) for name in peers.PEERS)  # they run a workload's twin, and decide no ratio
PRODUCTS = ("minigrad", "torch", "jax")  # libraries whose matrix product can be the roof


def announced() -> list[Side]:
    """A side for every kernel set that an installed distribution announces by entry point."""
    return [Side(e.name, "minigrad") for e in importlib.metadata.entry_points(group=GROUP)]


def known() -> list[Side]:
    """Every side there could be: ours, announced kernel sets, peers, and who runs beside them."""
    return [*OURS, *announced(), *PEERS, *BESIDE]


def absent(side: Side) -> str:
    """Why a side can't run here, or nothing; told without importing the library."""
    return "" if importlib.util.find_spec(side.package) else f"{side.package} isn't installed"


def kit_of(side: Side, threads: int) -> Kit:
    """Loads the library and sets the side up in this process. Raises Missing when it has no such side."""
    if side.package in peers.PEERS:
        return Kit(None, same, same, peer=peers.PEERS[side.package]())
    lib: Any = importlib.import_module(side.package)
    if side.package == "torch":
        lib.set_num_threads(threads)
        if side.name == "torch.compile":
            config: Any = importlib.import_module("torch._functorch.config")
            config.donated_buffer = False  # a backward alone walks the same graph again and again
            return Kit(lib, lib.compile, same)
        return Kit(lib, same, same)
    if side is ORACLE:
        lib.set_default_dtype(lib.float64)
    if side.name in ("reference", ORACLE.name):
        return Kit(lib, same, same)
    for entry in importlib.metadata.entry_points(group=GROUP):
        loaded = entry.load()  # a module that registers when imported, or a function that does
        if callable(loaded):
            loaded()
    sets = lib.backend.KERNEL_SETS - (set() if importlib.util.find_spec("numba") else {"numba"})
    if side.name == "kernels" and not sets:
        raise Missing("no kernel set is registered, and Numba isn't installed")
    if side.name not in ("kernels", "compiled", *sets):
        raise Missing(f"its entry point registers no kernel set {side.name!r}; there are {sorted(sets)}")
    if "numba" in sets:
        lib.warmup()  # kernels that compile in the background would be ready at some time or other
    chosen = side.name if side.name in sets else "auto"
    return Kit(lib, same, lib.compile if side.name == "compiled" else same, chosen)


class Worker:
    """One side: builds a workload, runs it, hands out results. ``find(name)`` makes the workload."""

    def __init__(
        self,
        side: Side,
        threads: int = 1,
        *,
        find: Callable[[str], Workload],
        kit: Kit | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.side, self.find, self.clock = side, find, clock
        self.kit = kit_of(side, threads) if kit is None else kit
        self.floats = np.float64 if side is ORACLE else np.float32
        self.base = memory("VmRSS")

    def open(self, name: str, seed: int) -> dict[str, Any]:
        """Draws the inputs and builds the workload; ``missing`` says why there is none on this side."""
        self.workload, self.seed = self.find(name), seed
        self.base = memory("VmRSS")
        self.arrays = [aligned(a) for a in self._drawn(0)]
        try:
            if self.kit.peer:
                self.built: Built = self.kit.peer.build(self.workload, self.arrays)
            else:
                self.built = self.workload.build(self.kit, [self.kit.lib.from_numpy(a) for a in self.arrays])
            return {"missing": ""}
        except Missing as e:
            return {"missing": str(e)}

    def _drawn(self, number: int) -> list[np.ndarray]:
        drawn = self.workload.draw(np.random.default_rng((self.seed, number)))
        return [a.astype(self.floats, copy=False) if a.dtype.kind == "f" else a for a in drawn]

    def ready(self, number: int, repeats: int) -> dict[str, Any]:
        """Writes a round's inputs and prepares it: nothing of this is timed."""
        for a, drawn in zip(self.arrays, self._drawn(number), strict=True):
            a[...] = drawn
        self.target, spare = np.empty(0), [np.empty(0)]
        if self.workload.poked is not None:
            self.target = self.arrays[self.workload.poked].reshape(-1)[:POKE]
            spare = variants(self.target)
            self.target[...] = spare[0]
        self.built.prepare()
        # a call's inputs differ from the last one's, and the round ends with spare[0] however many there are
        self.order = [spare[(repeats - 1 - i) % len(spare)] for i in range(repeats)]
        gc.collect()
        self.forgot = forget_peak()
        return {}

    def go(self) -> dict[str, Any]:
        """Runs the round: the seconds a call by this side's own clock, and the peak of memory."""
        call, target, last = self.built.call, self.target, None
        gc.disable()
        start = self.clock()
        for poke in self.order:
            target[...] = poke
            last = call()
        seconds = (self.clock() - start) / len(self.order)
        gc.enable()
        peak, self.last = memory("VmHWM"), last
        beyond = self.built.peak() if self.built.peak else peak - self.base if self.forgot else 0
        return {"seconds": seconds, "peak": max(0, beyond)}

    def result(self, path: str, seed: int) -> dict[str, Any]:
        """Saves what the last call of the round made, as float64: all of it, or a sample and the sum."""
        found = {}
        for name, value in self.built.results(self.last).items():
            array = np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)
            flat = array.reshape(-1)
            step = -(-max(flat.size, 1) // KEPT) | 1  # odd, so that it meets every lane
            start = int(np.random.default_rng(seed).integers(step))
            found[name] = flat[start::step].astype(np.float64)
            if step > 1:
                found[f"{name}: sum"] = np.abs(flat).sum(dtype=np.float64, keepdims=True)
            found[f"{name}: shape"] = np.array(array.shape, np.float64)
        with open(path, "wb") as f:
            np.savez(f, **found)  # type: ignore[arg-type]  # numbers alone: nothing is pickled
        return {}

    def close(self) -> dict[str, Any]:
        """Lets go of the workload."""
        for name in ("built", "arrays", "last", "target", "order"):
            self.__dict__.pop(name, None)
        gc.collect()
        return {}


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that begins with a line of the cache, as libraries' own memory does; JAX shares no other."""
    room = np.empty(values.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def variants(values: np.ndarray) -> list[np.ndarray]:
    """Other values from the same range: a mixture of neighbours, whose sum differs; integers change places."""
    weight = np.linspace(0, 1, values.size, dtype=np.float32)
    rolled = [np.roll(values, i + 1) for i in range(POKES)]
    if values.dtype.kind != "f":
        return rolled
    return [(values * weight + r * (1 - weight)).astype(values.dtype) for r in rolled]


def memory(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (at the peak), where /proc tells; else 0."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> bool:
    """Lets the peak of memory begin anew, where the system does. Source: proc(5), /proc/pid/clear_refs."""
    with contextlib.suppress(OSError):
        return bool(Path("/proc/self/clear_refs").write_text("5"))
    return False


class Broken(Exception):
    """A side's process ended, or a request failed there; the text is its last word."""


class Process:
    """A worker in a process of its own, pinned to cores, with that many threads and no more."""

    def __init__(self, side: Side, cores: list[int], settings: dict[str, Any]) -> None:
        self.side = side
        threads = str(len(cores))
        environment = {**os.environ, **dict.fromkeys(VARIABLES, threads), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("MINIGRAD_KERNELS", None)
        given = json.dumps({"side": side._asdict(), "cores": cores, **settings})
        code = "import sys; from minigrad.benchmarks.sides import serve; serve(sys.argv[1])"
        own_group: dict[str, Any] = (
            {"process_group": 0} if os.name == "posix" else {}
        )  # Ctrl-C is for the driver
        self.words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would fill
        self.process: Any = subprocess.Popen(
            [sys.executable, "-c", code, given], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, **own_group,
        )  # fmt: skip
        self.missing = self._answer()["missing"]

    def ask(self, what: str, *args: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer. Raises Broken."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([what, *args]) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.words.seek(0)
            words = self.words.read().strip().splitlines()
            raise Broken(f"its process ended with status {status}" + (f": {words[-1]}" if words else ""))
        answer = json.loads(line)
        if "error" in answer:
            raise Broken(answer["error"])
        return answer

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.words):
            with contextlib.suppress(OSError):  # a request that was never read
                stream.close()


class Local:
    """A worker in this process, with the same requests."""

    def __init__(self, worker: Worker) -> None:
        self.side, self.worker, self.missing = worker.side, worker, ""

    def ask(self, what: str, *args: Any) -> dict[str, Any]:
        return answer(self.worker, what, args)

    def end(self) -> None:
        """There is nothing to end."""


def answer(worker: Worker, what: str, args: Any) -> dict[str, Any]:
    """Calls the worker. Missing, which preparing a round can find out, is an answer."""
    try:
        with minigrad.kernels(worker.kit.kernels):
            return getattr(worker, what)(*args)
    except Missing as e:
        return {"missing": str(e)}


def serve(given: str) -> None:
    """A side's process: requests on standard input, answers where standard output was."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    sys.stderr.flush()

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    settings = json.loads(given)
    side = Side(**settings["side"])
    side = ORACLE if side.name == ORACLE.name else side
    cores = settings["cores"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if settings.get("rates"):  # this process measures the machine with the library's matrix product
        from .machine import rates

        known = side.package in peers.PEERS
        lib = peers.PEERS[side.package]() if known else importlib.import_module(side.package)
        say({"missing": ""})
        for _ in sys.stdin:
            say(rates(lib, len(cores)))
        return
    from .catalogue import finder

    try:
        worker = Worker(side, len(cores), find=finder(settings["elements"], settings["parameters"]))
    except Missing as e:
        say({"missing": str(e)})
        return
    gc.freeze()  # what the library made at its import is no garbage, and is not searched for it before every round
    say({"missing": ""})
    for line in sys.stdin:
        what, *args = json.loads(line)
        try:
            say(answer(worker, what, args))
        except Exception as e:
            say({"error": f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"})
