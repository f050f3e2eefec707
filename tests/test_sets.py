"""Known sets: found in the promised order, downloaded whole or not at all."""

import gzip
import hashlib
import http.server
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.data import MNIST, SETS, DataLoader, Digits, FashionMNIST, cache_folder, find, sets
from minigrad.data.download import download


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images_and_labels(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def put(folder, n=6, parts=("train", "t10k"), pack=gzip.compress, seed=0):
    """The four files of a tiny set in the MNIST format."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = images_and_labels(n, seed)
    end = ".gz" if pack is gzip.compress else ""
    for part in parts:
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(x)))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(y)))
    return x, y


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No set is anywhere, and no mirror answers, unless a test puts it there."""
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sets, "DEBIAN", tmp_path / "debian")
    for known in (FashionMNIST, MNIST):
        monkeypatch.setattr(known, "mirrors", ())


# ---- where


def test_the_places_are_looked_in_in_order(tmp_path, monkeypatch):
    root, env = tmp_path / "root", tmp_path / "env"
    monkeypatch.setenv("MINIGRAD_DATA", str(env))
    places = [
        root / "fashion-mnist",
        root / "FashionMNIST" / "raw",
        root,
        env / "fashion-mnist",
        env / "FashionMNIST" / "raw",
        tmp_path / "cache" / "minigrad" / "fashion-mnist",
        tmp_path / "debian" / "fashion-mnist",
    ]
    assert find("fashion-mnist", root) == (None, tuple(places))
    for k, place in reversed(list(enumerate(places))):
        put(place)
        assert find("fashion-mnist", root) == (place, tuple(places[: k + 1]))
        assert FashionMNIST(root).folder == place


def test_an_environment_folder_may_be_the_sets_own(tmp_path, monkeypatch):
    put(tmp_path / "mnist")
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "mnist"))
    assert find("mnist").path == tmp_path / "mnist"
    assert find("fashion-mnist").path is None  # the same file names, another set


def test_one_part_is_enough_for_who_asks_for_it(tmp_path):
    put(tmp_path / "mnist", parts=["train"])
    assert find("mnist", tmp_path).path is None and find("mnist", tmp_path, train=True).path
    assert len(MNIST(tmp_path)) == 6
    with pytest.raises(RuntimeError, match="Dataset not found"):
        MNIST(tmp_path, train=False, download=False)


def test_files_may_be_unpacked(tmp_path):
    x, _ = put(tmp_path / "FashionMNIST" / "raw", pack=bytes)
    assert np.array_equal(np.asarray(FashionMNIST(tmp_path).data), x)


def test_a_missing_set_lists_every_place(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"FashionMNIST: Dataset not found. You can use download=True"
    ) as caught:
        FashionMNIST(tmp_path, download=False)
    for place in find("fashion-mnist", tmp_path).looked:
        assert str(place) in str(caught.value)


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match=r"unknown set 'cifar'; expected one of \['digits', 'fashion-mnist', 'mnist'\]"
    ):
        find("cifar")


def test_the_cache_folder_is_the_platforms(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache" / "minigrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for platform, place in (("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == tmp_path / place / "minigrad"


# ---- what


def test_items_are_scaled_images_and_labels(tmp_path):
    x, y = put(tmp_path)
    shown = MNIST(tmp_path)
    image, label = shown[2]
    assert image.shape == (1, 28, 28) and image.dtype is minigrad.float32 and type(label) is int
    assert np.array_equal(np.asarray(image)[0], x[2].astype(np.float32) / 255) and label == y[2]
    assert shown.data.dtype is minigrad.uint8 and shown.targets.dtype is minigrad.int64
    assert shown[-1][1] == y[-1] and len(shown) == 6 and "train: 6 images" in repr(shown)
    with pytest.raises(IndexError, match="MNIST: index 6 is out of range for 6 images"):
        shown[6]


def test_transforms_get_the_raw_image_and_the_label(tmp_path):
    x, y = put(tmp_path)
    shown = MNIST(tmp_path, transform=lambda image: image, target_transform=lambda label: -label)
    image, label = shown[1]
    assert (
        image.dtype is minigrad.uint8
        and np.array_equal(np.asarray(image), x[1][None])
        and label == -int(y[1])
    )


def test_tensors_are_all_of_it_flat(tmp_path):
    x, y = put(tmp_path)
    flat, labels = MNIST(tmp_path, train=False).tensors()
    assert flat.shape == (6, 784) and np.array_equal(
        np.asarray(flat), x.reshape(6, -1).astype(np.float32) / 255
    )
    assert labels.tolist() == y.tolist()


def test_digits_are_shipped():
    train, test = Digits(), Digits(train=False)
    assert (len(train), len(test)) == (1437, 360) and train.data.shape == (1437, 8, 8)
    assert train[0][0].shape == (1, 8, 8) and train[0][1] == 0 and len(train.classes) == 10
    x, y = test.tensors()
    assert x.shape == (360, 64) and np.asarray(x).max() == 1.0 and set(y.tolist()) == set(range(10))
    assert (
        "CC BY 4.0" in Digits.__doc__ and "Creative Commons" in (train.folder / "ATTRIBUTION.txt").read_text()
    )


def test_digits_are_the_published_ones():
    whole = np.concatenate([np.asarray(Digits(train=t).data) for t in (True, False)])
    assert whole[0].tolist()[0] == [0, 0, 5, 13, 9, 1, 0, 0] and int(whole.sum(dtype=np.int64)) == 561718


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (np.zeros((4, 8, 8)), np.zeros(4), r"expected uint8 images \(N, 28, 28\), got uint8 \(4, 8, 8\)"),
        (np.zeros((4, 28, 28)), np.zeros(3), r"expected 4 uint8 labels, one an image, got uint8 \(3,\)"),
        (np.zeros((4, 28, 28)), np.full(4, 10), "expected labels 0 to 9, got label 10"),
    ],
)
def test_files_of_other_content_are_named(tmp_path, images, labels, text):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images.astype(np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    with pytest.raises(ValueError, match=text) as caught:
        MNIST(tmp_path)
    assert "idx" in str(caught.value).split(":")[0]


def test_a_truncated_file_is_named_and_not_passed_over(tmp_path):
    put(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz: not a valid gzipped IDX file"):
        MNIST(tmp_path)


def test_the_pinned_hashes_are_complete():
    for known in SETS.values():
        if known.packaged is None:
            assert sorted(known.sha256) == sorted(
                f"{n}.gz" for p in (True, False) for n in (sets._IMAGES[p], sets._LABELS[p])
            )
            assert all(len(h) == 64 for h in known.sha256.values())


@pytest.mark.parametrize("train", [True, False])
def test_the_real_fashion_mnist(train, monkeypatch):
    monkeypatch.undo()
    if find("fashion-mnist").path is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    real = FashionMNIST(train=train, download=False)
    assert real.data.shape == (60000 if train else 10000, 28, 28)
    assert np.bincount(np.asarray(real.targets)).tolist() == [len(real) // 10] * 10
    x, y = next(iter(DataLoader(real, 32)))
    assert x.shape == (32, 1, 28, 28) and y.tolist() == real.targets[:32].tolist()


# ---- download


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; ``cut`` promises more bytes than come; ``stall`` stops midway."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.stall, self.asked = {}, 0, threading.Event(), []
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that was killed


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + self.server.cut))
        self.end_headers()
        if self.server.stall.is_set():
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.go_on.wait(30)
            body = body[len(body) // 2 :]
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = Server()
    yield made
    made.go_on.set()
    made.shutdown()
    made.server_close()


BODY = os.urandom(300_000)
HASH = hashlib.sha256(BODY).hexdigest()


def test_a_download_is_renamed_when_whole(server, tmp_path, capsys):
    server.files["f.bin"] = BODY
    path = download([server.url + "f.bin"], tmp_path / "new" / "f.bin", HASH)
    assert path.read_bytes() == BODY and [p.name for p in path.parent.iterdir()] == ["f.bin"]
    assert path.stat().st_mode & 0o044 == 0o044 or os.name == "nt"
    told = capsys.readouterr().err
    assert "f.bin: 0.3 of 0.3 MB" in told and "MB/s" in told


def test_progress_tells_rate_and_time_left(monkeypatch, capsys):
    lines = sys.modules["minigrad.data.download"]._Lines("f", 10_000_000)
    monkeypatch.setattr(lines, "began", lines.began - 4)
    monkeypatch.setattr(lines, "said", lines.said - 4)
    lines.advance(4_000_000)
    assert capsys.readouterr().err == "f: 4.0 of 10.0 MB, 1.0 MB/s, 6 s left\n"


def test_another_hash_is_refused_and_nothing_left(server, tmp_path):
    server.files["f.bin"] = BODY
    with pytest.raises(
        RuntimeError,
        match=f"f.bin: not the file .* expected SHA-256 {'0' * 64}, got {HASH}.*Nothing was kept",
    ):
        download([server.url + "f.bin"], tmp_path / "f.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_answer_is_refused_and_nothing_left(server, tmp_path):
    server.files["f.bin"], server.cut = BODY, 7
    with pytest.raises(
        RuntimeError, match=r"could not fetch f.bin: .*300,0.*Check the network, or put the file at"
    ):
        download([server.url + "f.bin"], tmp_path / "f.bin", HASH)
    assert list(tmp_path.iterdir()) == []


def test_the_next_mirror_serves_when_one_does_not(server, tmp_path):
    server.files["f.bin"] = BODY
    urls = [server.url + "gone", "http://127.0.0.1:9/", server.url + "f.bin"]
    assert download(urls, tmp_path / "f.bin", HASH).read_bytes() == BODY


def test_the_next_mirror_serves_when_one_has_another_file(server, tmp_path, capsys):
    server.files["old"], server.files["f.bin"] = b"an older file, longer than it: " + BODY, BODY
    urls = [server.url + "old", server.url + "f.bin"]
    assert download(urls, tmp_path / "f.bin", HASH).read_bytes() == BODY
    assert server.asked == ["/old", "/f.bin"] and [p.name for p in tmp_path.iterdir()] == ["f.bin"]
    with pytest.raises(RuntimeError, match=r"old: not the file .*; .*gone: HTTP Error 404.*Nothing was kept"):
        download([server.url + "old", server.url + "gone"], tmp_path / "g.bin", HASH)
    assert [p.name for p in tmp_path.iterdir()] == ["f.bin"]


def test_no_answer_names_every_url(server, tmp_path):
    with pytest.raises(RuntimeError, match=r"gone: HTTP Error 404.*127.0.0.1:9/: .*Check the network"):
        download([server.url + "gone", "http://127.0.0.1:9/"], tmp_path / "f.bin", HASH)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(server, tmp_path, monkeypatch):
    server.files["f.bin"] = BODY
    module = sys.modules["minigrad.data.download"]

    def interrupt(self, n):
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Lines, "advance", interrupt)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with pytest.raises(KeyboardInterrupt):
        download([server.url + "f.bin"], tmp_path / "f.bin", HASH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_no_mirror_tried(server, tmp_path, monkeypatch):
    server.files["f.bin"] = BODY
    module = sys.modules["minigrad.data.download"]

    class Full:
        def __init__(self, out):
            self.out = out

        def __getattr__(self, name):
            return getattr(self.out, name)

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.out.close()

        def write(self, piece):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fdopen", lambda fd, mode: Full(open(fd, mode)))  # noqa: SIM115
    with pytest.raises(OSError, match="No space left") as caught:
        download([server.url + "f.bin", server.url + "f.bin"], tmp_path / "f.bin", HASH)
    assert server.asked == ["/f.bin"] and "nothing was left there" in caught.value.__notes__[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root writes anywhere"
)
def test_a_read_only_folder_is_told(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError) as caught:
        download([server.url + "f.bin"], tmp_path / "f.bin", HASH)
    assert "give another folder as root or in MINIGRAD_DATA" in caught.value.__notes__[0]


def test_a_folder_that_cannot_be_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        download([server.url + "f.bin"], tmp_path / "file" / "f.bin", HASH)
    assert "cannot write" in caught.value.__notes__[0]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_killed_download_is_never_taken_for_the_file(server, tmp_path):
    server.files["f.bin"] = BODY
    server.stall.set()
    code = f"from minigrad.data.download import download; download([{server.url + 'f.bin'!r}], {str(tmp_path / 'f.bin')!r}, {HASH!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.go_on.set()
    server.stall.clear()
    (part,) = tmp_path.iterdir()
    assert part.suffix == ".part"
    os.utime(part, (0, 0))
    download([server.url + "f.bin"], tmp_path / "f.bin", HASH)
    assert [p.name for p in tmp_path.iterdir()] == ["f.bin"]


def serve(server, monkeypatch, tmp_path, known=FashionMNIST):
    x, _ = put(tmp_path / "origin")
    server.files = {p.name: p.read_bytes() for p in (tmp_path / "origin").iterdir()}
    monkeypatch.setattr(known, "mirrors", (server.url,))
    monkeypatch.setattr(known, "sha256", {n: hashlib.sha256(b).hexdigest() for n, b in server.files.items()})
    return x


def test_a_set_downloads_to_the_cache_once(server, tmp_path, monkeypatch):
    x = serve(server, monkeypatch, tmp_path)
    for _ in range(2):
        shown = FashionMNIST()
        assert np.array_equal(np.asarray(shown.data), x)
    assert shown.folder == cache_folder() / "fashion-mnist" and len(server.asked) == 2
    assert len(FashionMNIST(train=False)) == 6 and len(server.asked) == 4


def test_a_set_downloads_to_the_root_given(server, tmp_path, monkeypatch):
    serve(server, monkeypatch, tmp_path)
    assert FashionMNIST(tmp_path / "mine").folder == tmp_path / "mine" / "fashion-mnist"


def test_a_failed_download_of_a_set_lists_the_places_too(server, tmp_path, monkeypatch):
    serve(server, monkeypatch, tmp_path)
    server.files["train-labels-idx1-ubyte.gz"] = b"another"
    with pytest.raises(
        RuntimeError, match=r"train-labels-idx1-ubyte.gz: not the file .* expected SHA-256"
    ) as caught:
        FashionMNIST()
    assert str(tmp_path / "debian") in caught.value.__notes__[-1]
    assert [p.name for p in (cache_folder() / "fashion-mnist").iterdir()] == ["train-images-idx3-ubyte.gz"]
