"""atomic_write: a reader sees the old file or the new one, whatever happens to the writer."""

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minigrad.io import files
from minigrad.io.files import atomic_write


def names(folder):
    return sorted(os.listdir(folder))


def write(path, data=b"new"):
    with atomic_write(path) as f:
        f.write(data)


@pytest.fixture
def old(tmp_path):
    """A file that was there before."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    return path


# ---- what it writes


def test_the_file_has_its_name_only_when_the_block_has_ended(tmp_path):
    path = tmp_path / "model.bin"
    with atomic_write(path) as f:
        f.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new" and names(tmp_path) == ["model.bin"]


def test_an_old_file_is_there_until_the_new_one_is_whole(old):
    with atomic_write(str(old)) as f:
        f.write(b"new")
        f.flush()
        assert old.read_bytes() == b"old"
    assert old.read_bytes() == b"new"


def test_text_is_utf8_unless_another_encoding_is_asked_for(tmp_path):
    for encoding, bytes_ in ((None, b"\xc3\xa9\n"), ("latin-1", b"\xe9\n")):
        with atomic_write(tmp_path / "t", "w", encoding=encoding, newline="\n") as f:
            f.write("é\n")
        assert (tmp_path / "t").read_bytes() == bytes_


def test_bytes_paths_relative_paths_and_long_names_are_paths_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (b"bytes", "relative", "é" * 127):
        write(path)
        assert Path(os.fsdecode(path)).read_bytes() == b"new"
    assert len(names(tmp_path)) == 3


def test_permissions_of_a_replaced_file_are_kept_and_new_ones_follow_the_umask(old, tmp_path):
    old.chmod(0o640)
    write(old)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    umask = os.umask(0o027)
    try:
        write(tmp_path / "fresh")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640


def test_a_symbolic_link_is_written_through(old, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(old)
    write(link)
    assert link.is_symlink() and old.read_bytes() == b"new"


def test_data_is_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    did = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (did.append(stat.S_ISDIR(os.fstat(fd).st_mode)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (did.append("replace"), replace(a, b)))
    write(tmp_path / "x")
    assert did == [False, "replace", True]


# ---- what can go wrong


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_any_exception_in_the_block_leaves_the_old_file_and_nothing_else(old, tmp_path, error):
    with pytest.raises(error, match="mine"), atomic_write(old) as f:
        f.write(b"half")
        raise error("mine")
    assert old.read_bytes() == b"old" and names(tmp_path) == ["model.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fills_up_at_any_step_leaves_the_old_file_and_says_so(old, tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(
        OSError, match=r"cannot write: No space left .* the disk is full; free some.*model\.bin"
    ) as e:
        write(old)
    assert e.value.errno == errno.ENOSPC
    assert old.read_bytes() == b"old" and names(tmp_path) == ["model.bin"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_write_that_fails_is_reported_though_closing_fails_again(old, tmp_path, monkeypatch):
    def at_full(path, mode, **kwargs):  # the temporary file leads to the full device
        os.symlink("/dev/full", path)
        return open(path, "wb", **{k: v for k, v in kwargs.items() if v})

    monkeypatch.setattr(files, "open", at_full, raising=False)
    with pytest.raises(OSError, match="the disk is full"):
        write(old)
    assert old.read_bytes() == b"old" and names(tmp_path) == ["model.bin"]


LIMITED = """
import resource, sys
from minigrad.io.files import atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with atomic_write(sys.argv[1]) as f:
    for _ in range(100):
        f.write(bytes(10_000))
"""


def test_a_file_that_outgrows_what_the_system_allows_leaves_the_old_one(old, tmp_path):
    run = subprocess.run([sys.executable, "-c", LIMITED, old], capture_output=True, text=True)
    assert run.returncode == 1 and "can't hold a file of this size" in run.stderr
    assert old.read_bytes() == b"old" and names(tmp_path) == ["model.bin"]


DENIED = """
import fcntl, os, sys, tempfile
from minigrad.io.files import atomic_write
with tempfile.TemporaryDirectory() as folder:
    path = folder + "/model.bin"
    open(path, "w").write("old")
    os.chmod(folder, 0o555)
    user = os.geteuid()
    if user == 0:  # whom permissions don't stop
        os.seteuid(65534)
    try:
        for target in (folder + "/fresh", path):
            try:
                with atomic_write(target) as f:
                    f.write(b"new")
            except PermissionError as e:
                print(e)
    finally:
        os.seteuid(user)
        os.chmod(folder, 0o755)
    assert os.listdir(folder) == ["model.bin"] and open(path).read() == "old"
"""


def test_a_read_only_folder_is_refused_by_permission_error_with_the_remedy():
    run = subprocess.run([sys.executable, "-c", DENIED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("no permission to write there; change it (chmod)") == 2


def test_a_read_only_file_is_not_replaced_though_its_folder_would_allow_it(old, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what access says to anyone but root
    with pytest.raises(PermissionError, match="no permission"):
        write(old)
    assert old.read_bytes() == b"old"


def test_impossible_paths_raise_the_usual_types_with_path_and_remedy(tmp_path, old):
    for path, kind, text in [
        (tmp_path / "no" / "x", FileNotFoundError, "its folder doesn't exist; create that first"),
        (tmp_path, IsADirectoryError, "got a folder; add a file name"),
        (old / "x", NotADirectoryError, "a part of the path is a file"),
        (tmp_path / ("x" * 300), OSError, "the name is too long"),
        ("/", IsADirectoryError, "got a folder"),
    ]:
        with pytest.raises(kind, match=text) as e:
            write(path)
        assert os.fspath(path) in str(e.value)


def test_devices_and_pipes_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected a regular file, got the device or pipe /dev/null; use open"
    ):
        write("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="device or pipe"):
        write(tmp_path / "pipe")


def test_other_modes_are_refused(tmp_path):
    for mode in ("r", "a", "wb+", "x"):
        with pytest.raises(ValueError, match="expected mode 'wb' or 'w'"), atomic_write(tmp_path / "x", mode):
            pass


def test_an_error_of_another_file_keeps_its_own_text(old, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file.*missing'$"), atomic_write(old):
        open(tmp_path / "missing")  # noqa: SIM115
    assert old.read_bytes() == b"old"


def test_a_folder_that_cannot_be_synced_is_no_error_but_a_failing_disk_is(old, monkeypatch):
    def failing(number):
        def fsync(fd):
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    write(old)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="the disk failed"):
        write(old)
    monkeypatch.undo()

    def unreadable(*_):
        raise PermissionError

    monkeypatch.setattr(os, "open", unreadable)  # a folder may be writable without being readable
    files._sync_folder(old.parent)


# ---- other writers, and killed ones


def test_threads_writing_one_name_leave_one_of_their_files_whole(tmp_path):
    path, contents = tmp_path / "x", [bytes([i]) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write, args=(path, c)) for c in contents]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert path.read_bytes() in contents and names(tmp_path) == ["x"]


def part(folder, name, age=60.0):
    path = folder / name
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_a_killed_writer_left_is_cleared_by_the_next_write_of_that_name(tmp_path):
    abandoned = part(tmp_path, ".model.bin-0123456789abcdef.part")
    write(tmp_path / "other.bin")
    assert abandoned.exists()
    write(tmp_path / "model.bin")
    assert not abandoned.exists()


def test_nothing_else_is_cleared(tmp_path):
    kept = [
        part(tmp_path, ".model-notes.part"),
        part(tmp_path, ".model-a-0123456789abcdef.part"),
        part(tmp_path, ".model-0123456789abcde0.part", age=0),  # perhaps about to be locked
        part(tmp_path, ".model-0123456789abcde1.part"),  # in use
    ]
    folder = tmp_path / ".model-0123456789abcde2.part"
    folder.mkdir()
    with open(kept[-1], "rb") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        write(tmp_path / "model")
    assert all(p.exists() for p in [*kept, folder])


def test_a_slow_writers_file_is_not_taken_for_abandoned(tmp_path):
    target = tmp_path / "model"
    with atomic_write(target) as slow:
        slow.write(b"slow")
        os.utime(slow.name, (time.time() - 3600,) * 2)
        write(target)
        assert target.read_bytes() == b"new"
    assert target.read_bytes() == b"slow"


def test_without_file_locks_an_open_file_serves_as_the_lock(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    write(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"new"


KILLED = """
import os, random, signal, sys, time
from minigrad.io.files import atomic_write
path, kills = sys.argv[1], int(sys.argv[2])
rng = random.Random(0)
for k in range(kills):
    pid = os.fork()
    if pid == 0:
        n = 1000 * k
        while True:
            n += 1
            with atomic_write(path) as f:
                for _ in range(64):
                    f.write(n.to_bytes(4, "little") * 1000)
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if os.path.exists(path):
        data = open(path, "rb").read()
        assert len(data) == 256_000 and data == data[:4] * 64_000, "torn"
print(int.from_bytes(data[:4], "little"))
"""


def test_a_writer_killed_at_40_random_moments_never_leaves_half_a_file(tmp_path):
    path = tmp_path / "run" / "model.bin"
    path.parent.mkdir()
    run = subprocess.run([sys.executable, "-c", KILLED, path, "40"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 1000  # it did write between kills
    for name in names(path.parent):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path.parent / name, (0, 0))
    write(path)
    assert names(path.parent) == ["model.bin"]
