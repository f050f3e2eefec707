"""Files written whole or not at all. Nothing here knows a file format.

A reader sees the old file or the new one, never something in between, whatever happens to the writer:
an exception, Ctrl-C, a full disk, ``kill -9``, and, through fsync of file and folder, a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_UNLOCKED = 5.0  # seconds after which a part file without a lock has no writer that is about to lock it

_REMEDY = {
    errno.ENOSPC: "the disk is full; free some space or give a path on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or give a path on another disk",
    errno.EFBIG: "the file system can't hold a file of this size; give a path on another disk",
    errno.EIO: "the disk failed; give a path on another disk",
    errno.EROFS: "the file system is read-only; give a path that can be written",
    errno.EACCES: "no permission to write there; change it (chmod), or give a path in a folder of yours",
    errno.EPERM: "not permitted to write there; give a path in a folder of yours",
    errno.ENOENT: "its folder doesn't exist; create that first (os.makedirs), or correct the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; correct the path",
    errno.EISDIR: "expected the path of a file, got a folder; add a file name",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
}


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike[str],
    mode: str = "wb",
    *,
    encoding: str | None = None,
    newline: str | None = None,
) -> Iterator[IO[Any]]:
    """Opens a file that gets its name only once it is whole and on the disk.

    ``mode`` is "wb" or "w" (UTF-8 unless ``encoding`` says otherwise). The block writes to a temporary
    name in the same folder; when it ends the data is flushed and fsynced, the name is replaced in one
    step and the folder is fsynced. After any exception the temporary file is removed and a file that
    was there before is as it was. What a killed process left is cleared away by the next write of that
    name. The permissions of a replaced file are kept; a symbolic link is written through.

    Raises OSError of the usual kinds (FileNotFoundError, PermissionError, …), its text naming the path
    and the remedy; ValueError for another mode.

    >>> with atomic_write("history.json", "w") as f:  # doctest: +SKIP
    ...     json.dump(history, f)
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"atomic_write: expected mode 'wb' or 'w', got {mode!r}; open() has the others")
    if mode == "w" and encoding is None:
        encoding = "utf-8"
    target = Path(os.path.realpath(os.fsdecode(path)))
    # pathlib's with_name would refuse the root folder before we can say what is wrong with it
    temporary = target.parent / f"{_stem(target)}{os.urandom(8).hex()}.part"
    handle: IO[Any] | None = None
    try:
        permissions = _permissions_of(target)
        handle = open(temporary, mode.replace("w", "x"), encoding=encoding, newline=newline)  # noqa: SIM115
        lock(handle.fileno())
        if permissions is not None:
            os.chmod(temporary, permissions)
        _clear_abandoned(target)
        yield handle
        handle.flush()
        os.fsync(handle.fileno())
        if os.name == "nt":  # an open file can't be renamed there; elsewhere it stays locked until it is
            handle.close()
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as e:
        with contextlib.suppress(OSError):  # closing flushes, and fails again on a full disk
            if handle is not None:
                handle.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        ours = (None, str(temporary), str(target), str(target.parent))
        if isinstance(e, OSError) and e.errno in _REMEDY and e.filename in ours:
            text = f"cannot write: {e.strerror}: {_REMEDY[e.errno]}"
            raise OSError(e.errno, text, os.fsdecode(path)) from e  # Python picks the same subclass
        raise
    handle.close()


def _stem(target: Path) -> str:
    return f".{target.name[:40]}-"


def _permissions_of(target: Path) -> int | None:
    """Those of the file about to be replaced; None when there is none yet."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(found.st_mode):  # renaming over /dev/null would replace the device
        raise ValueError(
            f"atomic_write: expected a regular file, got the device or pipe {target}; use open()"
        )
    if not os.access(target, os.W_OK):  # replacing needs only the folder's permission: honour the file's
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return stat.S_IMODE(found.st_mode)


def lock(fd: int) -> bool:
    """Marks an open file as in use, or says that somebody else did; the mark dies with its process."""
    try:
        import fcntl
    except ImportError:  # Windows: an open file can't be removed there, which serves as the lock
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear_abandoned(target: Path) -> None:
    """Removes temporary files of this name whose writer was killed."""
    ours = re.compile(re.escape(_stem(target)) + r"[0-9a-f]{16}\.part")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if not ours.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):
                if not entry.is_file(follow_symlinks=False):
                    continue
                if time.time() - entry.stat(follow_symlinks=False).st_mtime < _UNLOCKED:
                    continue
                with open(entry.path, "rb") as abandoned:
                    free = lock(abandoned.fileno())
                if free:
                    os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Puts a rename on the disk; where the system can't sync a folder, its own order has to do."""
    if os.name == "nt":
        return
    try:
        fd = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be writable without being readable
        return
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
