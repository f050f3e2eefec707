"""Where a model's name is found: a folder, an installed package, a cache, and last the hub, over HTTPS.

What is in the folder is ``weights.py``'s and ``configuration.py``'s business; how a file is fetched whole,
``data/download.py``'s.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..data.download import Hash, download, opener
from ..data.sets import cache_folder
from ..io.files import atomic_write
from .weights import INDEX, SINGLE, complete, read_index

ENDPOINT = "https://huggingface.co"  # unless HF_ENDPOINT names another
_ORGANISATIONS = ("", "sentence-transformers/")  # tried for a name without one, as sentence-transformers does
_OTHERS = (  # beside the weights: fetched where the model has them
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json",
    "merges.txt", "generation_config.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*", re.ASCII)


class Found(NamedTuple):
    """Where a model is (None: nowhere here), and every place looked in, in words."""

    path: Path | None
    looked: tuple[str, ...]


class _Absent(Exception):
    """The hub has no such file, or says so."""


def locate(
    name: str | os.PathLike[str], *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:  # fmt: skip
    """The folder that holds a model: found as :func:`find` does, or else fetched from the hub to our cache.

    ``revision`` is a branch, tag or commit ("main"). ``local_files_only``, or MINIGRAD_OFFLINE or HF_HUB_OFFLINE in
    the environment, forbids the network. HF_ENDPOINT is another hub, HF_TOKEN is sent to the hub (alone) if set.

    Raises FileNotFoundError saying where it looked and how to get the model, PermissionError for one that is
    gated or private, ConnectionError when the hub can't be reached, ValueError for a name that can't be one.
    """
    found = find(name, revision=revision, cache_dir=cache_dir)
    if found.path is not None:
        return found.path
    looked, text = "; ".join(found.looked), os.fspath(name)
    if _ID.fullmatch(text) is None or ".." in text:
        raise FileNotFoundError(f"{text}: no such folder, and no name on a hub, which is 'name' or 'organisation/name'; "
                                f"looked in: {looked}")  # fmt: skip
    reason = "local_files_only" if local_files_only else _offline()
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    how = (f"To get it: where there is network, call this without the network being forbidden, or fetch {endpoint}/{text} "
           f"with any tool, and give the folder with config.json, model.safetensors and the tokenizer's files as the name")  # fmt: skip
    if reason:
        raise FileNotFoundError(
            f"{text}: not found, and {reason} forbids asking the hub; looked in: {looked}. {how}"
        )
    problems = []
    for candidate in _candidates(text):
        try:
            return _fetch(
                endpoint, candidate, revision or "main", Path(cache_dir or cache_folder() / "models")
            )
        except _Absent as e:
            problems.append(str(e))
        except OSError as e:
            e.add_note(f"It was not found before either in: {looked}. {how}")
            raise
    raise FileNotFoundError(f"{text}: not found; looked in: {'; '.join((*found.looked, *problems))}. {how}")


def find(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Found:
    """Where a model is without the network: that folder, a package, Hugging Face's cache, ours."""
    text = os.fspath(name)
    looked = [f"the folder {text}"]
    path = Path(text).expanduser()
    if path.is_dir():
        return Found(path, tuple(looked))
    if _ID.fullmatch(text) is None or ".." in text:
        return Found(None, tuple(looked))
    if revision is not None and (_REVISION.fullmatch(revision) is None or ".." in revision):
        raise ValueError(f"revision: expected a branch, tag or commit, got {revision!r}")
    if revision is None:  # a package doesn't say which revision it is
        looked.append(f"installed packages whose name contains {_normal(text)}")
        if (path := next(_packaged(text), None)) is not None:  # type: ignore[assignment]
            return Found(path, tuple(looked))
    for cache in _caches(cache_dir):
        looked.append(str(cache))
        for candidate in _candidates(text):
            snapshot = _snapshot(cache, candidate, revision or "main")
            if snapshot is not None and complete(snapshot):
                return Found(snapshot, tuple(looked))
    return Found(None, tuple(looked))


def _candidates(name: str) -> list[str]:
    return [name] if "/" in name else [f"{organisation}{name}" for organisation in _ORGANISATIONS]


# ---- here ----------------------------------------------------------------------------------------------------


def _normal(name: str) -> str:
    """A distribution's or model's name as PEP 503 compares them; a model's without its organisation."""
    return re.sub(r"[-_.]+", "-", name.rpartition("/")[2]).lower()


def _packaged(name: str) -> Iterator[Path]:
    """Folders with a model inside installed distributions named after it, the closest name first.

    They are found in the lists of files that pip keeps; nothing is imported.
    """
    import importlib.metadata

    wanted = f"-{_normal(name)}-"
    named = [d for d in importlib.metadata.distributions() if wanted in f"-{_normal(d.name or '')}-"]
    for distribution in sorted(named, key=lambda d: (len(d.name), d.name)):
        for file in distribution.files or ():
            if file.name == "config.json":
                folder = Path(str(distribution.locate_file(file))).parent
                if complete(folder):
                    yield folder


def _caches(cache_dir: Any) -> list[Path]:
    """Folders laid out as Hugging Face's cache is: theirs and ours."""
    if cache_dir is not None:
        return [Path(cache_dir)]
    general = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or general / "huggingface").expanduser()
    places = [Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()]
    if data := os.environ.get("MINIGRAD_DATA"):
        places.append(Path(data) / "models")
    return [*places, cache_folder() / "models"]


def _repository(cache: Path, name: str) -> Path:
    return cache / f"models--{name.replace('/', '--')}"


def _snapshot(cache: Path, name: str, revision: str) -> Path | None:
    """The folder of a revision: by its commit, or by what ``refs/`` says a branch or tag was."""
    repository = _repository(cache, name)
    commit = revision
    with contextlib.suppress(OSError, ValueError):
        commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
    return repository / "snapshots" / commit if _COMMIT.fullmatch(commit) else None


# ---- the hub -------------------------------------------------------------------------------------------------


def _offline() -> str:
    """The variable of the environment that forbids the network, if one does."""
    for variable in ("MINIGRAD_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "on"):
            return f"{variable}={os.environ[variable]}"
    return ""


class _About(NamedTuple):
    """What the hub says of a file before it gives it."""

    hash: Hash
    commit: str


def _fetch(endpoint: str, name: str, revision: str, cache: Path) -> Path:
    """All files of a model that are needed here, the weights last: a snapshot with weights is whole."""
    first = _about(endpoint, name, revision, "config.json")
    folder = _repository(cache, name) / "snapshots" / first.commit

    def fetch(file: str, about: _About | None = None) -> None:
        about = about or _about(endpoint, name, first.commit, file)
        if not (folder / file).is_file():
            url = _url(endpoint, name, first.commit, file)
            download([url], folder / file, about.hash, resume=True, headers=_headers(endpoint))

    try:
        fetch("config.json", first)
        for file in _OTHERS:
            with contextlib.suppress(_Absent):
                fetch(file)
        try:
            fetch(SINGLE)
        except _Absent:
            _sharded(endpoint, name, first.commit, folder, fetch)
    except RuntimeError as e:
        raise ConnectionError(str(e)) from None
    refs = _repository(cache, name) / "refs" / revision
    if _COMMIT.fullmatch(revision) is None:
        refs.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(refs, "w") as f:
            f.write(first.commit)
    return folder


def _sharded(endpoint: str, name: str, commit: str, folder: Path, fetch: Any) -> None:
    try:
        fetch(INDEX)
    except _Absent as e:
        for pickle in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
            with contextlib.suppress(_Absent):
                _about(endpoint, name, commit, pickle)
                raise FileNotFoundError(
                    f"{name}: the hub has only {pickle}, which is pickle: it can run code and is not read here. Ask its authors "
                    f"for model.safetensors, try revision='refs/pr/1' where a bot may have put it, or, where its weights are "
                    f"trusted, convert it with transformers' save_pretrained"
                ) from None
        raise _Absent(f"{name} on the hub, which has {SINGLE} and {INDEX} neither") from e
    for shard in sorted(set(read_index(folder / INDEX).values())):
        fetch(shard)


def _url(endpoint: str, name: str, revision: str, file: str) -> str:
    from urllib.parse import quote

    return f"{endpoint}/{name}/resolve/{quote(revision, safe='')}/{quote(file)}"


def _headers(endpoint: str) -> dict[str, str]:
    """Those of every request; the token only where nobody on the way can read it."""
    from urllib.parse import urlsplit

    headers = {"User-Agent": "minigrad", "Accept-Encoding": "identity"}
    parts = urlsplit(endpoint)
    if (token := os.environ.get("HF_TOKEN")) and (
        parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost")
    ):
        headers["Authorization"] = f"Bearer {token.strip()}"
    return headers


def _about(endpoint: str, name: str, revision: str, file: str, timeout: float = 30.0) -> _About:
    """Asks for a file's hash and commit, without the file: the hub says both before it redirects to the bytes."""
    import http.client
    import urllib.error
    import urllib.request

    url = _url(endpoint, name, revision, file)
    request = urllib.request.Request(url, headers=_headers(endpoint), method="HEAD")
    try:
        with opener(stay=True).open(request, timeout=timeout) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as e:
        headers = e.headers
        e.close()
        if e.code in (401, 403):
            if headers.get("X-Error-Code") == "RepoNotFound" and "HF_TOKEN" in os.environ:
                raise _Absent(f"{url}: HTTP {e.code}, no such model, or the token may not see it") from None
            if headers.get("X-Error-Code") == "RepoNotFound" or (
                e.code == 401 and headers.get("X-Error-Code") != "GatedRepo"
            ):
                raise _Absent(
                    f"{url}: HTTP {e.code}, no such model, or a private one, for which HF_TOKEN must be set"
                ) from None
            raise PermissionError(
                f"{name}: gated: HTTP {e.code} from {url}. Accept its terms at {endpoint}/{name} in a browser, and set HF_TOKEN to "
                f"a token of that account ({endpoint}/settings/tokens)"
            ) from None
        if e.code == 404:
            raise _Absent(f"{url}: HTTP 404, no such model, revision or file") from None
        if not 300 <= e.code < 400:
            raise ConnectionError(
                f"{name}: the hub answered HTTP {e.code} to {url}; try again later"
            ) from None
    except (OSError, http.client.HTTPException) as e:
        raise ConnectionError(f"{name}: no answer from {url}: {e}") from None
    return _About(_hash(headers, url), _commit(headers, revision, url))


def _hash(headers: Any, url: str) -> Hash:
    """A large file's is in X-Linked-Etag, SHA-256; a small one's ETag is what git calls it."""
    etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return Hash("SHA-256", "sha256", etag)
    if re.fullmatch(r"[0-9a-f]{40}", etag) and size.isdigit():
        return Hash("git's SHA-1", "sha1", etag, b"blob %d\0" % int(size))
    raise ConnectionError(
        f"{url}: expected the file's hash in X-Linked-Etag or ETag, got {etag!r}; not fetched unchecked"
    )


def _commit(headers: Any, revision: str, url: str) -> str:
    commit = headers.get("X-Repo-Commit") or revision
    if not _COMMIT.fullmatch(commit):
        raise ConnectionError(f"{url}: expected the revision's commit in X-Repo-Commit, got {commit!r}")
    return commit
