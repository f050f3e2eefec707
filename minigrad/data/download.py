"""Files from the network, whole or not at all: checked by their hash before they get their name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..io.files import lock

_PIECE = 1 << 16
_STALE = 3600.0  # seconds after which a part file can't be another process's download
_TRIES = 5  # times that a connection may break off while the file comes on


class Hash(NamedTuple):
    """What a file's bytes must hash to: the hash's name for people, its name in hashlib, its hexadecimal digits.

    ``blob``: it is git's name of the file, over ``blob <size>\\0`` and the bytes.
    """

    name: str
    algorithm: str
    digits: str
    blob: bool = False

    def of(self, file: Any) -> str:
        """The digits of a file that is open."""
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.new(self.algorithm, b"blob %d\0" % size if self.blob else b"", usedforsecurity=False)
        file.seek(0)
        while piece := file.read(_PIECE):
            digest.update(piece)
        return digest.hexdigest()


def download(
    urls: Sequence[str], path: str | os.PathLike[str], sha256: str | Hash, timeout: float = 30.0, *,
    resume: bool = False, headers: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Fetches the first of ``urls`` that answers with the right file to ``path`` and returns it.

    It is written beside ``path`` under a temporary name, checked against ``sha256`` (or another :class:`Hash`),
    flushed to disk and renamed. Whatever goes wrong, Ctrl-C included, nothing is left; a killed process leaves a
    ``.part`` file that the next download clears away. With ``resume`` what came is kept instead, and this or the
    next call asks for the rest only (RFC 9110, 14.2), if the server knows how; the hash is over all of it.

    ``headers`` go to the hosts of ``urls``; ``Authorization`` isn't sent on when one redirects to another host.

    Raises RuntimeError naming the file, what was expected and what came from each URL: no answer, a length or
    hash that differs. OSError when the folder can't be written or the disk is full.
    """
    target = Path(path)
    expected = sha256 if isinstance(sha256, Hash) else Hash("SHA-256", "sha256", sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _begun(target, expected) if resume else (None, "")
        if handle is None:
            resume = False
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as e:
        e.add_note(f"download: cannot write {target}; give another folder as root or in MINIGRAD_DATA")
        raise
    keep = resume
    try:
        with os.fdopen(handle, "r+b") as out:
            _clear_stale(target)
            problems = []
            for url in urls:
                try:
                    _fetch(url, target, out, expected, timeout, _TRIES if resume else 1, headers or {})
                    break
                except _NotHere as e:
                    problems.append(f"{url}: {e}")
                    if not resume:
                        out.seek(0)
                        out.truncate()
            else:
                out.seek(0, os.SEEK_END)
                keep = resume and out.tell() > 0
                raise RuntimeError(
                    f"download: could not fetch {target.name}: "
                    + "; ".join(problems)
                    + (
                        ". What came is kept: the next call asks for the rest"
                        if keep
                        else ". Nothing was kept"
                    )
                    + f". Check the network, or put the file at {target} yourself"
                )
            out.flush()
            os.fsync(out.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared folder's data from others
            if os.name != "nt":  # an open file can't be renamed there; elsewhere it stays locked until it is
                os.replace(temporary, target)
        if os.name == "nt":
            os.replace(temporary, target)
    except BaseException as e:
        if not keep:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        if isinstance(e, OSError):
            e.add_note(f"download: writing {target} failed; nothing was left there")
        raise
    return target


def _begun(target: Path, expected: Hash) -> tuple[int | None, str]:
    """The part file that an earlier call left, or a new one, open and locked; None while another process has it."""
    mine = target.parent / f".{target.name}.{expected.digits[:16]}.resume"
    for old in target.parent.glob(f".{target.name}.*.resume"):
        if old != mine and time.time() - old.stat().st_mtime > _STALE:  # of a file that has changed since
            old.unlink(missing_ok=True)
    handle = os.open(mine, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    with contextlib.suppress(OSError):
        if lock(handle) and os.path.samestat(os.fstat(handle), os.stat(mine)):  # not renamed in between
            return handle, str(mine)
    os.close(handle)
    return None, ""


class _NotHere(Exception):
    """This URL doesn't give the file, or gives another; the next may have it."""


class _Broken(_NotHere):
    """The connection broke off: what came is right as far as it goes."""


def _fetch(
    url: str, target: Path, out: Any, expected: Hash, timeout: float, tries: int, headers: Mapping[str, str]
) -> None:
    """Appends to ``out`` what it lacks of the file, and checks the whole."""
    while True:
        had = out.seek(0, os.SEEK_END)
        try:
            had = _receive(url, target, out, timeout, headers, had)
            found = expected.of(out)
            if found == expected.digits:
                return
            problem = (f"not the file it should be: expected {expected.name} {expected.digits}, got {found} over "
                       f"{out.tell():,} bytes")  # fmt: skip
            out.seek(0)
            out.truncate()
            if not had:
                raise _NotHere(problem)  # else what was kept may have been wrong: once more from the start
        except _Nothing:
            if expected.of(out) == expected.digits:
                return
            out.seek(0)
            out.truncate()
        except _Broken:
            tries -= 1
            if tries < 1 or out.tell() <= had:
                raise


class _Nothing(Exception):
    """The server has nothing after what we have."""


def _receive(url: str, target: Path, out: Any, timeout: float, headers: Mapping[str, str], had: int) -> int:
    """Writes what follows the ``had`` bytes that are there, or all; returns how many of those it left."""
    import http.client
    import urllib.error
    import urllib.request

    sent = {"User-Agent": "minigrad", **headers} | ({"Range": f"bytes={had}-"} if had else {})
    try:
        with opener().open(urllib.request.Request(url, headers=sent), timeout=timeout) as answer:
            if had and (answer.status != 206 or not _goes_on(answer.headers.get("Content-Range"), had)):
                out.seek(0)  # the server can't, and sends all of it
                out.truncate()
                had = 0
            length = answer.headers.get("Content-Length")
            total = had + int(length) if length and length.isdigit() else None
            got = had
            with _progress(target.name, total, had) as advance:
                while piece := answer.read(_PIECE):
                    try:
                        out.write(piece)
                    except OSError as e:
                        raise _Disk(e) from None
                    got += len(piece)
                    advance(len(piece))
    except _Disk as e:
        raise e.error from None
    except urllib.error.HTTPError as e:
        e.close()
        if had and e.code == 416:
            raise _Nothing from None
        raise _NotHere(str(e)) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as e:
        raise _Broken(str(e) or type(e).__name__) from None
    if total is not None and got != total:
        raise _Broken(f"truncated: expected {total:,} bytes, got {got:,}")
    return had


def _goes_on(content_range: str | None, had: int) -> bool:
    return content_range is not None and content_range.startswith(f"bytes {had}-")


def opener(stay: bool = False) -> Any:
    """An opener of URLs that tells no other host who we are, and doesn't leave HTTPS for HTTP.

    With ``stay`` it doesn't follow to another host at all: the redirect is the answer, an HTTPError.
    """
    import urllib.parse
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
            if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
                raise ValueError(f"refused a redirect from {old.scheme} to {newurl}")
            moved = (old.scheme, old.netloc) != (new.scheme, new.netloc)
            made = None if stay and moved else super().redirect_request(req, fp, code, msg, headers, newurl)
            if made is not None:
                made.method = req.get_method()
                if moved:
                    made.remove_header("Authorization")
            return made

    return urllib.request.build_opener(Redirects)


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
def _progress(name: str, total: int | None, had: int = 0) -> Iterator[Any]:
    """Yields ``advance(bytes)``; shows rate and time left by tqdm, else as plain lines, on stderr."""
    tqdm: Any = None
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm  # type: ignore[no-redef]
    if tqdm is not None:
        with tqdm(total=total, initial=had, desc=name, unit="B", unit_scale=True) as bar:
            yield bar.update
        return
    lines = _Lines(name, total, had)
    yield lines.advance
    lines.say(final=True)


class _Lines:
    """Progress as a line every two seconds, and one at the end."""

    def __init__(self, name: str, total: int | None, had: int = 0) -> None:
        self.name, self.total, self.got, self.had = name, total, had, had
        self.began = self.said = time.monotonic()

    def advance(self, n: int) -> None:
        self.got += n
        if time.monotonic() - self.said >= 2:
            self.say()

    def say(self, final: bool = False) -> None:
        now = time.monotonic()
        self.said, rate = now, (self.got - self.had) / max(now - self.began, 1e-3)
        text = f"{self.name}: {self.got / 1e6:.1f}"
        if self.total:
            text += f" of {self.total / 1e6:.1f}"
        text += f" MB, {rate / 1e6:.1f} MB/s"
        if self.total and not final:
            text += f", {(self.total - self.got) / max(rate, 1):.0f} s left"
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)
