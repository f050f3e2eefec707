"""Files from the network, whole or not at all: checked by SHA-256 before they get their name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PIECE = 1 << 16
_STALE = 3600.0  # seconds after which a part file can't be another process's download


def download(urls: Sequence[str], path: str | os.PathLike[str], sha256: str, timeout: float = 30.0) -> Path:
    """Fetches the first of ``urls`` that answers with the right file to ``path`` and returns it.

    It is written beside ``path`` under a temporary name, checked against ``sha256``, flushed to disk and
    renamed. Whatever goes wrong, Ctrl-C included, nothing is left; a killed process leaves a
    ``.part`` file that the next download clears away.

    Raises RuntimeError naming the file, what was expected and what came from each URL: no answer, a length or
    hash that differs. OSError when the folder can't be written or the disk is full.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as e:
        e.add_note(f"download: cannot write {target}; give another folder as root or in MINIGRAD_DATA")
        raise
    try:
        with os.fdopen(handle, "wb") as out:
            _clear_stale(target)
            problems = []
            for url in urls:
                try:
                    _fetch(url, target, out, sha256, timeout)
                    break
                except _NotHere as e:
                    problems.append(f"{url}: {e}")
                    out.seek(0)
                    out.truncate()
            else:
                raise RuntimeError(
                    f"download: could not fetch {target.name}: "
                    + "; ".join(problems)
                    + f". Nothing was kept. Check the network, or put the file at {target} yourself"
                )
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared folder's data from others
        os.replace(temporary, target)
    except BaseException as e:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(e, OSError):
            e.add_note(f"download: writing {target} failed; nothing was left there")
        raise
    return target


class _NotHere(Exception):
    """This URL doesn't give the file, or gives another; the next may have it."""


def _fetch(url: str, target: Path, out: Any, sha256: str, timeout: float) -> None:
    import http.client
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(url, headers={"User-Agent": "minigrad"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            digest, got = hashlib.sha256(), 0
            with _progress(target.name, total) as advance:
                while piece := answer.read(_PIECE):
                    try:
                        out.write(piece)
                    except OSError as e:
                        raise _Disk(e) from None
                    digest.update(piece)
                    got += len(piece)
                    advance(len(piece))
    except _Disk as e:
        raise e.error from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as e:
        raise _NotHere(str(e) or type(e).__name__) from None
    if total is not None and got != total:
        raise _NotHere(f"truncated: expected {total:,} bytes, got {got:,}")
    if digest.hexdigest() != sha256:
        raise _NotHere(
            f"not the file it should be: expected SHA-256 {sha256}, got {digest.hexdigest()} over {got:,} bytes"
        )


class _Disk(Exception):
    """A write failed: no other URL will help."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def _clear_stale(target: Path) -> None:
    for part in target.parent.glob(f".{target.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()


@contextlib.contextmanager
def _progress(name: str, total: int | None) -> Any:
    """Yields ``advance(bytes)``; shows rate and time left by tqdm, else as plain lines, on stderr."""
    tqdm: Any = None
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm  # type: ignore[no-redef]
    if tqdm is not None:
        with tqdm(total=total, desc=name, unit="B", unit_scale=True) as bar:
            yield bar.update
        return
    lines = _Lines(name, total)
    yield lines.advance
    lines.say(final=True)


class _Lines:
    """Progress as a line every two seconds, and one at the end."""

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total, self.got = name, total, 0
        self.began = self.said = time.monotonic()

    def advance(self, n: int) -> None:
        self.got += n
        if time.monotonic() - self.said >= 2:
            self.say()

    def say(self, final: bool = False) -> None:
        now = time.monotonic()
        self.said, rate = now, self.got / max(now - self.began, 1e-3)
        text = f"{self.name}: {self.got / 1e6:.1f}"
        if self.total:
            text += f" of {self.total / 1e6:.1f}"
        text += f" MB, {rate / 1e6:.1f} MB/s"
        if self.total and not final:
            text += f", {(self.total - self.got) / max(rate, 1):.0f} s left"
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)
