"""A model hub over plain HTTPS: what it says of a file, and all of a model's files, whole and checked by their hash.

Where else a model may be is ``hub.py``'s; how one file is fetched, and gone on with, ``data/download.py``'s.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..data.download import Hash, download, opener
from ..io.files import atomic_write
from .weights import INDEX, SINGLE, read_index

ENDPOINT = "https://huggingface.co"  # unless HF_ENDPOINT names another
COMMIT = re.compile(r"[0-9a-f]{40}")
_OTHERS = (  # beside the weights: fetched where the model has them
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json",
    "merges.txt", "generation_config.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip


class Absent(Exception):
    """The hub has no such file, or says so."""


class _About(NamedTuple):
    """What the hub says of a file before it gives it."""

    hash: Hash
    commit: str


def fetch_model(endpoint: str, name: str, revision: str, repository: Path) -> Path:
    """All files of a model that are needed here, the weights last: a snapshot with weights is whole."""
    first = _about(endpoint, name, revision, "config.json")
    folder = repository / "snapshots" / first.commit

    def fetch(file: str, about: _About | None = None) -> None:
        about = about or _about(endpoint, name, first.commit, file)
        if not (folder / file).is_file():
            url = _url(endpoint, name, first.commit, file)
            download([url], folder / file, about.hash, resume=True, headers=_headers(endpoint))

    try:
        fetch("config.json", first)
        for file in _OTHERS:
            with contextlib.suppress(Absent):
                fetch(file)
        try:
            fetch(SINGLE)
        except Absent:
            _sharded(endpoint, name, first.commit, folder, fetch)
    except RuntimeError as e:
        raise ConnectionError(str(e)) from None
    refs = repository / "refs" / revision
    if COMMIT.fullmatch(revision) is None:
        refs.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(refs, "w") as f:
            f.write(first.commit)
    return folder


def _sharded(endpoint: str, name: str, commit: str, folder: Path, fetch: Any) -> None:
    try:
        fetch(INDEX)
    except Absent as e:
        for pickle in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
            with contextlib.suppress(Absent):
                _about(endpoint, name, commit, pickle)
                raise FileNotFoundError(
                    f"{name}: the hub has only {pickle}, which is pickle: it can run code and is not read here. Ask its authors "
                    f"for model.safetensors, try revision='refs/pr/1' where a bot may have put it, or, where its weights are "
                    f"trusted, convert it with transformers' save_pretrained"
                ) from None
        raise Absent(f"{name} on the hub, which has {SINGLE} and {INDEX} neither") from e
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
                raise Absent(f"{url}: HTTP {e.code}, no such model, or the token may not see it") from None
            if headers.get("X-Error-Code") == "RepoNotFound" or (
                e.code == 401 and headers.get("X-Error-Code") != "GatedRepo"
            ):
                raise Absent(
                    f"{url}: HTTP {e.code}, no such model, or a private one, for which HF_TOKEN must be set"
                ) from None
            raise PermissionError(
                f"{name}: gated: HTTP {e.code} from {url}. Accept its terms at {endpoint}/{name} in a browser, and set HF_TOKEN to "
                f"a token of that account ({endpoint}/settings/tokens)"
            ) from None
        if e.code == 404:
            raise Absent(f"{url}: HTTP 404, no such model, revision or file") from None
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
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return Hash("SHA-256", "sha256", etag)
    if re.fullmatch(r"[0-9a-f]{40}", etag):
        return Hash("git's SHA-1", "sha1", etag, blob=True)
    raise ConnectionError(
        f"{url}: expected the file's hash in X-Linked-Etag or ETag, got {etag!r}; not fetched unchecked"
    )


def _commit(headers: Any, revision: str, url: str) -> str:
    commit = headers.get("X-Repo-Commit") or revision
    if not COMMIT.fullmatch(commit):
        raise ConnectionError(f"{url}: expected the revision's commit in X-Repo-Commit, got {commit!r}")
    return commit
