"""Where a model's name is found: folder, package, caches, and a hub of our own over HTTP, with all that can fail there."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from model_calls import make

import minigrad
from minigrad import models
from minigrad.data.download import download, opener
from minigrad.models import hub, remote
from minigrad.models.weights import INDEX, SINGLE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES_ARE_LARGE = (".safetensors", ".bin")


class Host(http.server.ThreadingHTTPServer):
    """A hub that keeps small files, or, as ``store`` of one, where it sends for the large ones."""

    def __init__(self, store=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
        self.models, self.asked, self.tokens, self.ranges = {}, [], [], []
        self.cut: list[int] = []  # after how many bytes the next answers break off
        self.ranged, self.gated, self.private, self.renamed, self.down = True, set(), set(), {}, False
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def refuse(self, code, **headers):
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body):
        host = self.server
        host.asked.append(f"{self.command} {self.path}")
        host.tokens.append(self.headers.get("Authorization"))
        if host.down:
            return self.refuse(503)
        name, _, rest = self.path.lstrip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        if name in host.renamed:
            return self.refuse(307, Location=f"/{host.renamed[name]}/resolve/{rest}")
        if name in host.gated:
            return self.refuse(403, X_Error_Code="GatedRepo")
        if name in host.private:
            return self.refuse(401, X_Error_Code="RepoNotFound")
        data = host.models.get(name, {}).get(file)
        if data is None:
            return self.refuse(404)
        if file.endswith(FILES_ARE_LARGE) and host.store is not None:
            host.store.models = host.models
            location = f"{host.store.url}/{name}/resolve/{rest}"
            return self.refuse(302, Location=location, X_Linked_Etag=f'"{hashlib.sha256(data).hexdigest()}"',
                               X_Linked_Size=str(len(data)), X_Repo_Commit=COMMIT)  # fmt: skip
        begin = 0
        if (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))) and host.ranged:
            begin = int(asked[1])
            host.ranges.append(begin)
            if begin >= len(data):
                return self.refuse(416)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{hashlib.sha1(b"blob %d" % len(data) + bytes(1) + data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if body:
            self.wfile.write(data[begin:][: host.cut.pop(0) if host.cut else None])


@pytest.fixture
def store():
    made = Host()
    yield made
    made.close()


@pytest.fixture
def server(store, tmp_path, monkeypatch):
    made = Host(store)
    for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "MINIGRAD_OFFLINE", "HF_HUB_CACHE", "MINIGRAD_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    yield made
    made.close()


def files_of(folder, **how):
    """A small model's files, by name."""
    model = make(models, minigrad.tensor, "BertModel").float()
    model.save_pretrained(folder, **how)
    (folder / "vocab.txt").write_text("a\nb\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def tiny(server, tmp_path):
    server.models["org/tiny"] = files_of(tmp_path / "origin")
    return server


def held(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# ---- here


def test_a_folder_is_itself(tmp_path):
    assert hub.find(tmp_path) == (tmp_path, (f"the folder {tmp_path}",))
    with pytest.raises(
        FileNotFoundError, match=r"no such folder, and no name on a hub.*looked in: the folder \./gone/x"
    ):
        hub.locate("./gone/x")


@pytest.mark.parametrize("name", ["../up", "a/b/c", "/abs/x", "org/..", "a b", "", "-x", "org/na\nme"])
def test_a_name_that_cannot_be_one_never_reaches_cache_or_hub(server, name):
    with pytest.raises(FileNotFoundError, match="no name on a hub"):
        hub.locate(name)
    assert not server.asked


@pytest.mark.parametrize("revision", ["../main", "a b", "", "main/../../x", "/main"])
def test_a_revision_that_cannot_be_one_is_refused(server, revision):
    with pytest.raises(ValueError, match="revision: expected a branch, tag or commit"):
        hub.locate("org/tiny", revision=revision)
    assert not server.asked


@pytest.fixture
def package(tmp_path, monkeypatch, server):
    """An installed distribution that carries a model and can't be imported."""
    site = tmp_path / "site"
    folder = site / "gt_some_tiny_v2" / "model"
    folder.mkdir(parents=True)
    files = files_of(folder)
    (site / "gt_some_tiny_v2" / "__init__.py").write_text("raise SystemExit('imported')")
    info = site / "gt_some_tiny_v2-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gt-some-tiny-v2\nVersion: 0.1\n")
    (info / "RECORD").write_text(
        "".join(f"gt_some_tiny_v2/model/{f},,\n" for f in files) + "gt_some_tiny_v2/__init__.py,,\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return folder


@pytest.mark.parametrize("name", ["some-tiny-v2", "Some_Tiny.v2", "org/some-tiny-v2", "gt-some-tiny-v2"])
def test_a_package_that_carries_the_model_is_found_and_not_imported(package, server, name):
    found = hub.find(name)
    assert found.path == package and "installed packages" in found.looked[1]
    assert isinstance(models.from_pretrained(name), models.BertModel) and not server.asked


@pytest.mark.parametrize("name", ["tiny-v", "ome-tiny-v2", "other"])
def test_a_package_of_another_name_is_not_taken(package, name):
    assert hub.find(name).path is None


def test_a_package_is_not_taken_for_a_revision_or_when_it_lacks_the_weights(package):
    assert hub.find("some-tiny-v2", revision="main").path is None
    (package / SINGLE).unlink()
    assert hub.find("some-tiny-v2").path is None


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "MINIGRAD_DATA", None])
def test_caches_are_looked_in(server, tmp_path, monkeypatch, variable):
    places = {"HF_HOME": "hf/hub", "HF_HUB_CACHE": "there", "XDG_CACHE_HOME": "cache/minigrad/models",
              "MINIGRAD_DATA": "data/models", None: "mine"}  # fmt: skip
    if variable == "HF_HUB_CACHE":
        monkeypatch.setenv(variable, str(tmp_path / "there"))
    if variable == "MINIGRAD_DATA":
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    how = {} if variable else {"cache_dir": tmp_path / "mine"}
    repository = tmp_path / places[variable] / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    files_of(snapshot)
    assert hub.find("org/tiny", **how).path is None  # which commit main is, nothing says
    assert hub.find("org/tiny", revision=COMMIT, **how).path == snapshot
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert hub.locate("org/tiny", **how) == snapshot and not server.asked
    files_of(repository.parent.parent / "x")
    (repository / "refs" / "main").write_text("../../../x")
    assert (snapshot / ".." / "../../../x" / SINGLE).exists() and hub.find("org/tiny", **how).path is None
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / SINGLE).unlink()
    assert hub.find("org/tiny", **how).path is None  # only its tokenizer was fetched, say


# ---- the hub


def test_a_model_is_fetched_once_and_whole(tiny, store, tmp_path):
    folder = hub.locate("org/tiny")
    assert folder == tmp_path / "cache/minigrad/models/models--org--tiny/snapshots" / COMMIT
    assert held(folder) == tiny.models["org/tiny"]
    asked = len(tiny.asked)
    assert (
        hub.locate("org/tiny") == hub.locate("org/tiny", revision=COMMIT) == folder
        and len(tiny.asked) == asked
    )
    assert store.asked == [f"GET /org/tiny/resolve/{COMMIT}/{SINGLE}"]
    model = models.from_pretrained("org/tiny")
    assert isinstance(model, models.BertModel)


def test_shards_are_fetched(server, tmp_path):
    server.models["org/tiny"] = files_of(tmp_path / "origin", max_shard_size=3000)
    folder = hub.locate("org/tiny", cache_dir=tmp_path / "mine")
    assert folder.is_relative_to(tmp_path / "mine") and held(folder) == server.models["org/tiny"]


def test_an_index_that_leads_elsewhere_fetches_nothing_there(server, tmp_path):
    files = files_of(tmp_path / "origin", max_shard_size=3000)
    files[INDEX] = files[INDEX].replace(b"model-00001-of", b"../../model-00001-of", 1)
    server.models["org/tiny"] = files
    with pytest.raises(ValueError, match="expected the plain name of a"):
        hub.locate("org/tiny")
    assert not [a for a in server.asked if ".." in a or "%2E" in a]


def test_a_name_without_an_organisation_is_sentence_transformers(tiny):
    tiny.models["sentence-transformers/small"] = tiny.models["org/tiny"]
    assert "models--sentence-transformers--small" in str(hub.locate("small"))
    assert hub.locate("small") == hub.locate("sentence-transformers/small")


def test_a_renamed_model_is_followed(tiny, store):
    tiny.renamed["old-tiny"] = "org/tiny"
    assert held(hub.locate("old-tiny")) == tiny.models["org/tiny"]


def test_the_token_goes_to_the_hub_alone(tiny, store, monkeypatch):
    hub.locate("org/tiny", cache_dir=os.environ["HF_HOME"])
    assert set(tiny.tokens) == {None}
    tiny.tokens.clear()
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.locate("org/tiny")
    assert set(tiny.tokens) == {"Bearer secret"}
    assert store.asked and set(store.tokens) == {None}


def test_the_token_is_not_sent_where_it_can_be_read(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "Authorization" not in remote._headers("http://example.org")
    assert remote._headers("https://example.org")["Authorization"] == "Bearer secret"


def test_a_gated_model_says_how_to_get_it(tiny):
    tiny.gated.add("org/tiny")
    with pytest.raises(
        PermissionError, match=rf"gated: HTTP 403.*Accept its terms at {tiny.url}/org/tiny.*HF_TOKEN"
    ) as caught:
        hub.locate("org/tiny")
    assert "not found before either in: the folder org/tiny; installed packages" in caught.value.__notes__[0]


def test_an_absent_or_private_model_says_where_it_was_sought(tiny, tmp_path):
    tiny.private.add("org/secret")
    with pytest.raises(
        FileNotFoundError, match=r"HTTP 401, no such model, or a private one, for which HF_TOKEN"
    ):
        hub.locate("org/secret")
    with pytest.raises(FileNotFoundError) as caught:
        hub.locate("gone")
    text = str(caught.value)
    for place in ("the folder gone", "installed packages whose name contains gone", str(tmp_path / "hf" / "hub"),
                  str(tmp_path / "cache"), f"{tiny.url}/gone/", f"{tiny.url}/sentence-transformers/gone/", "HTTP 404",
                  "To get it: where there is network"):  # fmt: skip
        assert place in text
    with pytest.raises(FileNotFoundError, match="HTTP 404, no such model, revision"):
        hub.locate("org/gone", revision="v9")


@pytest.mark.parametrize("variable", ["MINIGRAD_OFFLINE", "HF_HUB_OFFLINE", None])
def test_nobody_is_asked_who_must_not_be(tiny, monkeypatch, variable):
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(
        FileNotFoundError,
        match=f"{variable or 'local_files_only'}.*forbids asking the hub; looked in.*To get it",
    ):
        hub.locate("org/tiny", local_files_only=variable is None)
    assert not tiny.asked


def test_no_network_says_where_it_looked_and_how_to_get_it(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ConnectionError, match=r"org/tiny: no answer from http://127\.0\.0\.1:9/org/tiny"
    ) as caught:
        hub.locate("org/tiny")
    assert (
        "the folder org/tiny; installed" in caught.value.__notes__[0]
        and "To get it" in caught.value.__notes__[0]
    )
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.down = True
    with pytest.raises(ConnectionError, match=r"the hub answered HTTP 503.*try again later"):
        hub.locate("org/tiny")


def test_pickle_on_the_hub_is_refused_with_the_remedy(tiny):
    files = tiny.models["org/tiny"]
    files["pytorch_model.bin"] = files.pop(SINGLE)
    with pytest.raises(
        FileNotFoundError, match=r"only pytorch_model.bin, which is pickle: it can run code.*refs/pr/1"
    ):
        hub.locate("org/tiny")
    del files["pytorch_model.bin"]
    with pytest.raises(FileNotFoundError, match=f"which has {SINGLE} and {INDEX} neither"):
        hub.locate("org/tiny")


@pytest.mark.parametrize("file", ["config.json", SINGLE])
def test_a_file_that_was_changed_on_the_way_is_refused(tiny, store, file, monkeypatch):
    real = remote._hash
    monkeypatch.setattr(remote, "_hash", lambda headers, url: real(headers, url)._replace(
        digits="0" * 40) if url.endswith(file) else real(headers, url))  # fmt: skip
    with pytest.raises(
        ConnectionError, match=rf"{file}: not the file it should be: expected .* {'0' * 40}, got"
    ):
        hub.locate("org/tiny")
    assert hub.find("org/tiny").path is None


def test_a_hub_that_gives_no_hash_or_commit_is_refused():
    with pytest.raises(ConnectionError, match="expected the file's hash in X-Linked-Etag or ETag, got 'x'"):
        remote._hash({"ETag": '"x"'}, "url")
    with pytest.raises(
        ConnectionError, match=r"expected the revision's commit in X-Repo-Commit, got '\.\./x'"
    ):
        remote._commit({"X-Repo-Commit": "../x"}, "main", "url")


# ---- going on with what was begun

BODY = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def plain(store):
    store.models["f"] = {"b": BODY}
    return f"{store.url}/f/resolve/main/b"


def fetch(url, folder, sha=SHA):
    return download([url], folder / "b", sha, resume=True)


def test_an_interrupted_download_goes_on_in_the_same_call(plain, store, tmp_path):
    store.cut = [100_000, 70_000]
    assert fetch(plain, tmp_path).read_bytes() == BODY
    assert store.ranges == [100_000, 170_000] and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_killed_download_goes_on_in_the_next_process(plain, store, tmp_path):
    code = (
        "import sys, minigrad.data.download as d\n"
        "def advance(self, n):\n"
        "    self.got += n\n"
        "    if self.got > 100_000: __import__('os')._exit(9)\n"
        "d._Lines.advance = advance\n"
        f"d.download([{plain!r}], {str(tmp_path / 'b')!r}, {SHA!r}, resume=True)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (part,) = tmp_path.iterdir()
    kept = part.stat().st_size
    assert part.suffix == ".resume" and 0 < kept < len(BODY) and BODY.startswith(part.read_bytes())
    assert fetch(plain, tmp_path).read_bytes() == BODY
    assert store.ranges == [kept] and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_came_is_kept_when_the_network_stays_away(plain, store, tmp_path):
    store.cut = [50_000, 0]
    with pytest.raises(RuntimeError, match="What came is kept: the next call asks for the rest"):
        fetch(plain, tmp_path)
    assert fetch(plain, tmp_path).read_bytes() == BODY and store.ranges == [50_000, 50_000]


def test_a_server_that_cannot_go_on_begins_again(plain, store, tmp_path):
    store.ranged, store.cut = False, [50_000]
    assert fetch(plain, tmp_path).read_bytes() == BODY and not store.ranges and len(store.asked) == 2


@pytest.mark.parametrize(
    "kept", [b"other bytes", BODY + b"more", BODY[:-1] + b"x"], ids=["other", "longer", "wrong end"]
)
def test_what_was_kept_is_not_believed(plain, tmp_path, kept):
    (tmp_path / f".b.{SHA[:16]}.resume").write_bytes(kept)
    assert fetch(plain, tmp_path).read_bytes() == BODY and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_was_kept_whole_is_taken(plain, store, tmp_path):
    (tmp_path / f".b.{SHA[:16]}.resume").write_bytes(BODY)
    assert fetch(plain, tmp_path).read_bytes() == BODY and len(store.asked) == 1


def test_another_file_is_refused_and_not_kept(plain, tmp_path):
    with pytest.raises(RuntimeError, match=f"expected SHA-256 {'1' * 64}, got {SHA}.*Nothing was kept"):
        fetch(plain, tmp_path, "1" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_two_processes_do_not_write_to_the_same_part(plain, tmp_path):
    import fcntl

    part = tmp_path / f".b.{SHA[:16]}.resume"
    part.write_bytes(b"another's")
    with open(part, "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert fetch(plain, tmp_path).read_bytes() == BODY
    assert part.read_bytes() == b"another's"


def test_parts_of_an_older_file_are_cleared_away(plain, tmp_path):
    old = tmp_path / ".b.0123456789abcdef.resume"
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    fetch(plain, tmp_path)
    assert not old.exists()


@pytest.mark.parametrize("place", ["ftp://127.0.0.1:9/b", "file:///etc/passwd"])
def test_a_redirect_that_leaves_the_web_is_refused(store, tmp_path, place):
    class Elsewhere(Handler):
        def answer(self, body):
            self.refuse(302, Location=place)

    store.RequestHandlerClass = Elsewhere
    with pytest.raises(RuntimeError, match=r"refused a redirect from http to ftp|Redirection to url 'file"):
        download([f"{store.url}/f/resolve/main/b"], tmp_path / "b", SHA)


def test_a_redirect_from_https_to_http_is_refused():
    import urllib.request

    redirects = next(h for h in opener().handlers if type(h).__name__ == "Redirects")
    asked = urllib.request.Request("https://hub/x", headers={"Authorization": "Bearer secret"})
    with pytest.raises(ValueError, match="refused a redirect from https to http://hub/x"):
        redirects.redirect_request(asked, None, 302, "", {}, "http://hub/x")
    same, other = (
        redirects.redirect_request(asked, None, 302, "", {}, f"https://{h}/y") for h in ("hub", "cdn")
    )
    assert same.has_header("Authorization") and not other.has_header("Authorization")
