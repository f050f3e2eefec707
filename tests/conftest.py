"""Hypothesis profiles: "ci" is derandomised and quick, "nightly" draws anew and goes deeper (HYPOTHESIS_PROFILE)."""

import gc
import math
import os
import signal
import threading

import pytest
from hypothesis import HealthCheck, settings

# A suite started in the background inherits an ignored Ctrl-C, and its processes would too.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=25, suppress_health_check=QUIET, database=None
)
settings.register_profile(
    "nightly", deadline=None, max_examples=1000, suppress_health_check=QUIET, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish():
    """Thousands of collected tests are no garbage: without them a collection takes milliseconds, with them a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_numbers():
    """Every test starts from the same random state, whatever ran before it."""
    import minigrad

    minigrad.manual_seed(0)


@pytest.fixture
def nothing_compiles():
    """No kernel is compiled in the background while a test counts objects or bytes."""
    from minigrad.kernels.numba_cpu import loading

    import minigrad

    loading.wait()
    with minigrad.kernels("off"):
        yield


@pytest.fixture
def run(capsys):
    """Runs a command in this process: (status, standard output, standard error)."""
    from minigrad.__main__ import main

    def call(*argv):
        try:
            status = main([str(a) for a in argv])
        except SystemExit as e:
            status = e.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def only_numba(monkeypatch):
    """Kernels are Numba's, whatever the environment selects."""
    from minigrad import backend

    monkeypatch.setattr(backend, "KERNEL_SETS", {"numba"})
    monkeypatch.delenv("MINIGRAD_KERNELS", raising=False)


@pytest.fixture
def own_products(monkeypatch):
    """linear and matmul have Numba's kernels, as on a machine with a narrow BLAS."""
    from minigrad.kernels import numba_cpu
    from minigrad.op import OPS

    for name in numba_cpu.BESIDE_BLAS:
        monkeypatch.setattr(OPS[name], "kernels", {**OPS[name].kernels})
    monkeypatch.setattr(numba_cpu, "blas_is_narrow", lambda: True)
    monkeypatch.setattr(numba_cpu, "BY_HAND", {})
    monkeypatch.setattr(numba_cpu, "ALONE", {})
    monkeypatch.setattr(numba_cpu, "OPS", {name: OPS[name] for name in numba_cpu.BESIDE_BLAS})
    numba_cpu.register()


@pytest.fixture
def shared_two_hundred_times(monkeypatch):
    """Asserts of a call that three threads share it to the bits it has in one, two hundred times."""
    from minigrad import threads

    def check(bits):
        monkeypatch.setattr(threads, "SHARED", 0.0)
        monkeypatch.setattr(threads, "_number", 3)
        monkeypatch.setattr(threads, "_pool", None)
        shared = bits()
        assert all(bits() == shared for _ in range(200))
        monkeypatch.setattr(threads, "SHARED", math.inf)
        assert bits() == shared

    return check
