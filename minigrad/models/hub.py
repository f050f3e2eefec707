"""Where a model's name is found: a folder, an installed package, a cache, and last the hub, over HTTPS.

What is in the folder is ``weights.py``'s and ``configuration.py``'s business, the network ``remote.py``'s.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..data.sets import cache_folder
from .remote import COMMIT, ENDPOINT, Absent, fetch_model
from .weights import complete

_ORGANISATIONS = ("", "sentence-transformers/")  # tried for a name without one, as sentence-transformers does
_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*", re.ASCII)


class Found(NamedTuple):
    """Where a model is (None: nowhere here), and every place looked in, in words."""

    path: Path | None
    looked: tuple[str, ...]


def locate(
    name: str | os.PathLike[str], *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:  # fmt: skip
    """The folder that holds a model: found as :func:`find` does, or else fetched from the hub to our cache.

    ``revision`` is a branch, tag or commit ("main"). ``local_files_only``, or MINIGRAD_OFFLINE or HF_HUB_OFFLINE in
    the environment, forbids the network. HF_ENDPOINT is another hub, HF_TOKEN is sent to the hub (alone) if set.

    Raises FileNotFoundError saying where it looked and how to get the model, PermissionError for one that is
    gated or private, ConnectionError when the hub can't be reached, ValueError for a revision that can't be one.
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
            cache = Path(cache_dir or cache_folder() / "models")
            return fetch_model(endpoint, candidate, revision or "main", _repository(cache, candidate))
        except Absent as e:
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
    if text and path.is_dir():
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
    return repository / "snapshots" / commit if COMMIT.fullmatch(commit) else None


def _offline() -> str:
    """The variable of the environment that forbids the network, if one does."""
    for variable in ("MINIGRAD_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "on"):
            return f"{variable}={os.environ[variable]}"
    return ""
