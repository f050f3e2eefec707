"""What ``import minigrad`` costs over ``import numpy``, in fresh processes that take turns."""

from __future__ import annotations

import subprocess
import sys

from .timing import Timing

LIMIT = 0.050  # seconds over NumPy: what the project allows itself
CODE = "import time, numpy; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def import_time(runs: int = 15) -> Timing:
    """Seconds of the import where NumPy is loaded already, one process a run; the first warms the caches."""
    code = CODE.format("import minigrad")
    outs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            for _ in range(runs + 1)]  # fmt: skip
    return Timing(tuple(float(o) for o in outs[1:]))
