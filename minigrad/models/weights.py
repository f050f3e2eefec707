"""The tensors of a model's folder: ``model.safetensors``, or shards and the index that says where each is.

Opened without reading, written whole or not at all. Names here are the files'; which tensor of a model each
is, ``pretrained.py`` decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.files import atomic_write
from ..io.safetensors import SafetensorsError, bad, parse_json, safe_open, save_file, short
from ..tensor import Tensor

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
          "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}  # fmt: skip
_FOREIGN = {  # other libraries' weights, and what to do about them
    "pytorch_model.bin": "pickle, which can run code and is not read here",
    "pytorch_model.bin.index.json": "pickle, which can run code and is not read here",
    "tf_model.h5": "TensorFlow's",
    "flax_model.msgpack": "Flax's",
}


class Weights(Mapping[str, Tensor]):
    """A folder's tensors by name, memory-mapped: opening reads the headers, ``[name]`` copies nothing.

    Every header, the index and that they agree is checked at once. The tensors are private pages of the
    files: what is written to them (by an optimizer, say) stays in memory and is paid for page by page.

    Raises FileNotFoundError for a folder without weights or without a shard of its index, SafetensorsError
    for files that are damaged or don't agree.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        if (folder / SINGLE).is_file():
            file = safe_open(folder / SINGLE)
            self._files = dict.fromkeys(file.offset_keys(), file)
        elif (folder / INDEX).is_file():
            self._files = _opened(folder)
        else:
            raise _none(folder)

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Any:
        return iter(self._files)

    def dtype(self, name: str) -> str:
        """The format's name of a tensor's dtype, "F32"."""
        return self._files[name].get_slice(name).get_dtype()

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._files[name].get_slice(name).get_shape())


def read_index(path: Path) -> dict[str, str]:
    """An index's table from tensor to file, each file's name checked to be a plain one."""
    where = str(path)
    index = parse_json(path.read_bytes(), where, "index", depth=8)
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not table:
        raise bad(where, f"expected a weight_map of tensors' names to files' names, got {short(table)}")
    for name, file in table.items():
        plain = isinstance(file, str) and re.fullmatch(r"[\w][\w.-]*\.safetensors", file, re.ASCII)
        if not plain:  # anything with a separator could lead out of the folder
            raise bad(where, f"tensor {short(name)}: expected the plain name of a .safetensors file beside it, "
                             f"got {short(file)}", "don't trust this folder")  # fmt: skip
    return table


def complete(folder: Path) -> bool:
    """Are a configuration and all weights there, by name?"""
    if not (folder / "config.json").is_file():
        return False
    if (folder / SINGLE).is_file():
        return True
    with contextlib.suppress(OSError, SafetensorsError):
        return all((folder / file).is_file() for file in set(read_index(folder / INDEX).values()))
    return False


def _opened(folder: Path) -> dict[str, safe_open]:
    index = folder / INDEX
    table = read_index(index)
    shards = sorted(set(table.values()))
    if missing := [s for s in shards if not (folder / s).is_file()]:
        raise FileNotFoundError(f"{index}: missing {len(missing)} of {len(shards)} shards: {', '.join(missing)}; fetch "
                                f"them into {folder}")  # fmt: skip
    files = {shard: safe_open(folder / shard) for shard in shards}
    for name, shard in table.items():
        if name not in files[shard]:
            raise bad(str(index), f"tensor {short(name)} should be in {shard}, which lacks it",
                      "index and shards belong to different models: fetch both again")  # fmt: skip
    for shard, file in files.items():
        if stray := [name for name in file if table.get(name) is None]:
            raise bad(str(index), f"{shard} holds {short(stray[0])}, which the index lacks",
                      "index and shards belong to different models: fetch both again")  # fmt: skip
    return {name: files[shard] for name, shard in table.items()}


def _none(folder: Path) -> FileNotFoundError:
    text = f"{folder}: expected {SINGLE}, or {INDEX} and its shards"
    for name, what in _FOREIGN.items():
        if (folder / name).is_file():
            return FileNotFoundError(
                f"{text}; got {name}, which is {what}. Where its weights are trusted, convert them: with transformers, "
                f"AutoModel.from_pretrained(folder).save_pretrained(other) writes {SINGLE}; on the hub many models have "
                f"it on their main branch or in refs/pr/"
            )
    if any(_SHARD.fullmatch(p.name) for p in folder.glob("model-*.safetensors")):
        return FileNotFoundError(
            f"{text}; got shards without the index: a download or a save was cut short, repeat it"
        )
    return FileNotFoundError(f"{text}; got neither: fetch it, or correct the path")


# ---- writing -------------------------------------------------------------------------------------------------


def write(tensors: Mapping[str, Tensor], folder: Path, max_shard_size: int | str) -> None:
    """Writes the tensors as one file, or as shards of at most that size and an index.

    Everything is on the disk before anything older goes. An index goes before its shards do and comes after
    them, so that a save that is cut short there is refused by the reader instead of being a mixture of two models.
    """
    parts = _parts(tensors, size_of(max_shard_size))
    count = len(parts)
    names = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" if count > 1 else SINGLE for i in range(count)]
    for left in folder.glob(".saving-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as new:
        for name, part in zip(names, parts, strict=True):
            save_file(part, Path(new) / name, {"format": "pt"})  # without which transformers refuses a file
        for old in (INDEX, SINGLE) if count > 1 else (INDEX,):
            (folder / old).unlink(missing_ok=True)
        for name in names:
            os.replace(Path(new) / name, folder / name)
    if count > 1:
        table = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        total = sum(map(_bytes, tensors.values()))
        with atomic_write(folder / INDEX, "w") as f:
            f.write(json.dumps({"metadata": {"total_size": total}, "weight_map": table}, indent=2) + "\n")
    for old_shard in folder.glob("model-*.safetensors"):
        if _SHARD.fullmatch(old_shard.name) and old_shard.name not in names:
            old_shard.unlink()


def size_of(text: int | str) -> int:
    """Bytes from "5GB", "200MB", "1GiB", or from themselves."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?I?)B?", str(text).upper())
    if found is None or (size := int(float(found[1]) * _UNITS.get(found[2], 0))) < 1:
        raise ValueError(
            f"max_shard_size: expected a number of bytes, or one such as '5GB' or '200MB', got {text!r}"
        )
    return size


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _parts(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """In the given order, a new part where the next tensor would pass the limit; one tensor is never cut."""
    parts: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if parts[-1] and filled + _bytes(tensor) > limit:
            parts.append({})
            filled = 0
        parts[-1][name] = tensor
        filled += _bytes(tensor)
    return parts
