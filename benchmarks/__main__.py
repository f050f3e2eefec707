"""``python -m minigrad.benchmarks`` is ``python -m minigrad bench``."""

from __future__ import annotations

import sys

from minigrad.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["bench", *sys.argv[1:]]))
