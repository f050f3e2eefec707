"""Where the time of a replay goes, line by line."""

from __future__ import annotations

import time


class Clock:
    """Adds what each line takes to the seconds of its name."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, 0.0

    def start(self) -> None:
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = time.perf_counter()
