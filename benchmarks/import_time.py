"""What ``import minigrad`` costs over ``import numpy``: ``python -m minigrad.benchmarks.import_time``."""

from __future__ import annotations

import statistics
import subprocess
import sys

LIMIT = 0.050  # seconds over NumPy: what the project allows itself
CODE = "import time, numpy; t = time.perf_counter(); import minigrad; print(time.perf_counter() - t)"


def import_time(runs: int = 15) -> list[float]:
    """Seconds of the import where NumPy is loaded already, a fresh process each; one more before warms the caches."""
    outs = [
        subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
        for _ in range(runs + 1)
    ]
    return [float(out) for out in outs[1:]]


def main() -> int:
    """Prints the figures; exit status 1 where even the best of them is above the limit."""
    seconds = import_time()
    print(
        f"import minigrad over numpy: median {statistics.median(seconds) * 1e3:.1f} ms, best {min(seconds) * 1e3:.1f}, "
        f"{len(seconds)} processes; at most {LIMIT * 1e3:.0f} ms is allowed"
    )
    return int(min(seconds) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
