"""The safetensors format: a strict reader, memory-mapped and lazy, and a writer. No nested structures here.

A file is eight bytes with the header's length N (little endian), N bytes of JSON that give each tensor's
dtype, shape and place, and the tensors' bytes, row-major and little endian, without gap or overlap
(https://huggingface.co/docs/safetensors, "Format"). The reader believes nothing: whatever a file holds,
it either yields what the header says, within the file, or raises :class:`SafetensorsError`.
Names are the safetensors library's. Nested structures are in ``saving.py``, atomic writes in ``files.py``.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import re
import reprlib
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..errors import describe
from ..tensor import Tensor, from_numpy
from .files import atomic_write

MAX_HEADER = 100_000_000  # bytes; the format's own cap
_MAX_NDIM = 64  # NumPy's
_MAX_BYTES = 2**63 - 1
_BIG_ENDIAN = sys.byteorder == "big"

# The format's name: NumPy's or ml_dtypes' name, bytes. Written in this order, so that data stay aligned.
_DTYPES = {
    "U64": ("uint64", 8), "I64": ("int64", 8), "F64": ("float64", 8), "C64": ("complex64", 8),
    "F32": ("float32", 4), "U32": ("uint32", 4), "I32": ("int32", 4), "BF16": ("bfloat16", 2),
    "F16": ("float16", 2), "U16": ("uint16", 2), "I16": ("int16", 2),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1), "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1), "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "I8": ("int8", 1), "U8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip
_CODES = {name: code for code, (name, _) in _DTYPES.items()}
_ORDER = {code: i for i, code in enumerate(_DTYPES)}
_PACKED = ("F4", "F6_E2M3", "F6_E3M2")  # several elements to a byte, in an order the format leaves open

_FOREIGN = (  # first bytes of files that are often taken for safetensors, and what else is near the start
    (b"PK\x03\x04", b".npy", "a NumPy .npz archive: read it with numpy.load"),
    (b"PK\x03\x04", b"", ("a zip archive, as torch.save writes (.pt, .pth); it holds pickle, which can run code and is "
     "not read here: in PyTorch, load it and call safetensors.torch.save_file(state_dict, path)")),
    (b"\x80", b"", ("a pickle, as torch.save once wrote (.pt, .pth); it can run code and is not read here: in the "
     "program that wrote it, call safetensors.torch.save_file(state_dict, path)")),
    (b"\x89HDF", b"", "an HDF5 file: read it with h5py and save its arrays with save_file"),
    (b"\x93NUMPY", b"", "a NumPy .npy file: read it with numpy.load"),
    (b"GGUF", b"", "a GGUF file: convert it to safetensors"),
    (b"version https://git-lfs", b"", "a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"<", b"html", "a web page, not the file itself: download the file again"),
)  # fmt: skip
_DAMAGED = "the file is damaged: write it or fetch it again"


class SafetensorsError(ValueError):
    """A file that isn't valid safetensors, or holds what can't be had as asked: the one error of reading."""


def bad(where: str, what: str, remedy: str = _DAMAGED) -> SafetensorsError:
    """The error for what a file holds: where, what was expected and came, the remedy."""
    return SafetensorsError(f"{where}: {what}; {remedy}")


_repr = reprlib.Repr()
_repr.maxstring, _repr.maxlong = 80, 40
short = _repr.repr  # of bounded length, whatever the value


# ---- the header ----------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    code: str
    shape: tuple[int, ...]
    begin: int  # from the start of the data, which follows the header
    end: int


class _Header(NamedTuple):
    entries: dict[str, _Entry]  # in the order of their data
    metadata: dict[str, str] | None
    size: int  # bytes before the data


def _parse(buffer: Any, where: str) -> _Header:
    """The header of a whole file's bytes, checked against their number."""
    table = _table(buffer, where)
    absent, metadata = "__metadata__" not in table, table.pop("__metadata__", {})
    strings = type(metadata) is dict and all(type(v) is str for v in metadata.values())
    if not strings or not _is_utf8("".join(itertools.chain(*metadata.items()))):
        raise bad(where, f"expected __metadata__ to map strings to strings, got {short(metadata)}")
    entries = [(name, _entry(name, value, where)) for name, value in table.items()]
    entries.sort(key=lambda item: (item[1].begin, item[1].end))
    size = 8 + int.from_bytes(buffer[:8], "little")
    _check_cover(entries, len(buffer) - size, where)
    return _Header(dict(entries), None if absent else metadata, size)


def _table(buffer: Any, where: str) -> dict[str, Any]:
    """The header's JSON object."""
    if len(buffer) < 8:
        raise bad(where, f"expected at least the 8 bytes of a header's length, got {len(buffer)} bytes")
    length, after = int.from_bytes(buffer[:8], "little"), len(buffer) - 8
    if length > min(MAX_HEADER, after):
        start = bytes(buffer[:256])
        for magic, inside, kind in _FOREIGN:
            if start.startswith(magic) and inside in start.lower():
                raise SafetensorsError(f"{where}: expected a safetensors file, got {kind}")
        raise bad(
            where,
            f"expected a header length of at most {MAX_HEADER:,}, and at most the {after:,} bytes that follow "
            f"it; got {length:,}",
            "the file is cut short or isn't safetensors: fetch it again",
        )
    table = parse_json(bytes(buffer[8 : 8 + length]), where, "header", depth=8)
    if type(table) is not dict or buffer[8:9] != b"{":
        raise bad(where, f"expected a header that is a JSON object from its first byte, got {short(table)}")
    return table


def _entry(name: str, value: Any, where: str) -> _Entry:
    """One tensor's dtype, shape and place, each checked, and against each other."""
    where = f"{where}: tensor {short(name)}"
    if not _is_utf8(name):
        raise bad(where, "expected a name that UTF-8 can hold, got an unpaired surrogate")
    if type(value) is not dict or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise bad(where, f"expected an object with dtype, shape and data_offsets, got {short(value)}")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if type(code) is not str or code not in _DTYPES:
        why = "elements packed below a byte, which NumPy lacks" if code in _PACKED else short(code)
        raise bad(where, f"expected a dtype among {', '.join(_DTYPES)}; got {why}",
                  "convert the tensor in the program that wrote it")  # fmt: skip
    if type(shape) is not list or len(shape) > _MAX_NDIM or not all(map(_is_size, shape)):
        raise bad(where, f"expected a shape of at most {_MAX_NDIM} non-negative integers, got {short(shape)}")
    if type(offsets) is not list or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise bad(where, f"expected data_offsets of two non-negative integers, got {short(offsets)}")
    extent = _DTYPES[code][1]  # NumPy bounds the product without its zeros, so that strides fit too
    for n in shape:
        extent *= n or 1
    if extent > _MAX_BYTES:
        raise bad(where, f"expected a shape whose bytes can be counted in 63 bits, got {short(shape)}")
    expected, (begin, end) = (0 if 0 in shape else extent), offsets
    if end - begin != expected:
        raise bad(where, f"{code} of shape {tuple(shape)} takes {expected} bytes, but data_offsets {offsets} "
                         f"give {end - begin}")  # fmt: skip
    return _Entry(code, tuple(shape), begin, end)


def _check_cover(entries: list[tuple[str, _Entry]], available: int, where: str) -> None:
    """Sorted by place, the tensors must cover the data from first byte to last, each byte once."""
    reached, before = 0, "the header"
    for name, entry in entries:
        if entry.begin != reached:
            kind = "overlap" if entry.begin < reached else "gap"
            raise bad(where, f"{kind} between {before} and {short(name)}: expected its data to begin at {reached}, "
                             f"got {entry.begin}")  # fmt: skip
        reached, before = entry.end, short(name)
    if reached != available:
        kind = "truncated" if reached > available else "trailing bytes"
        raise bad(where, f"{kind}: expected {reached:,} bytes of data after the header, got {available:,}")


def _is_size(n: Any) -> bool:
    return type(n) is int and 0 <= n <= _MAX_BYTES  # type: JSON's true is an int to isinstance


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_OUTSIDE_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^\[\]{}"]++', re.DOTALL)


def parse_json(data: bytes | str, where: str, part: str, depth: int) -> Any:
    """Strict JSON: UTF-8, no duplicate keys, no NaN, at most ``depth`` levels. Raises SafetensorsError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            raise bad(
                where, f"duplicate key in the {part}: expected each name once, got {short(twice)} twice"
            )
        return table

    def constant(text: str) -> Any:
        raise bad(where, f"expected plain JSON in the {part}, got {text}")

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        steps = (1 if c in "[{" else -1 for c in _OUTSIDE_BRACKETS.sub("", text))
        if max(itertools.accumulate(steps), default=0) > depth:  # the parser below is recursive
            raise bad(where, f"expected at most {depth} levels of nesting in the {part}, got more")
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except SafetensorsError:
        raise
    except UnicodeDecodeError as e:
        raise bad(
            where, f"expected the {part} in UTF-8, got byte {e.object[e.start]:#x} at {e.start}"
        ) from None
    except ValueError as e:  # JSONDecodeError, and an int of more digits than Python converts
        raise bad(where, f"expected valid JSON in the {part}: {e}") from None


# ---- reading -------------------------------------------------------------------------------------------------


class safe_open:
    """A safetensors file, open for reading; the header is read and checked, the data only when touched.

    Tensors share the memory of the mapped file: ``get_tensor`` costs no copy and no reading, slicing it
    reads what is sliced. (Booleans are read whole, to check them, and so is what a careless writer left
    unaligned.) Writes to them stay in memory (copy on write) and never reach the file. They outlive the
    ``with`` block. While a tensor lives the file must not be changed in place by others; replacing it by
    name, as all writers here do, is safe.

    ``framework`` is "minigrad" (or "pt") for Tensors, "numpy" for arrays, which have more dtypes (unsigned
    integers, complex64, 8-bit floats). ``device`` is where Tensors go.

    Raises SafetensorsError for a file that isn't valid, OSError for one that can't be opened.

    >>> with safe_open("model.safetensors") as f:  # doctest: +SKIP
    ...     weight = f.get_tensor("fc1.weight")
    """

    def __init__(
        self, filename: str | os.PathLike[str], framework: str = "minigrad", device: Any = "cpu"
    ) -> None:
        where = os.fsdecode(filename)
        self._begin(_map(where), where, framework, device)

    @classmethod
    def over(cls, data: Any, where: str, framework: str = "minigrad", device: Any = "cpu") -> safe_open:
        """The same over a file's bytes in memory; ``where`` names them in errors."""
        f = cls.__new__(cls)
        f._begin(data, where, framework, device)
        return f

    def _begin(self, buffer: Any, where: str, framework: str, device: Any) -> None:
        if framework not in ("minigrad", "pt", "torch", "pytorch", "numpy", "np"):
            raise ValueError(f"framework: expected 'minigrad', 'pt' or 'numpy', got {framework!r}")
        self._numpy = framework in ("numpy", "np")
        self._device = backend.module_named(device).name
        self._buffer, self._where = buffer, where
        self._header = _parse(buffer, where)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exc: object) -> None:
        self._buffer = None  # unmapped when the last tensor goes

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self._header.entries)

    def offset_keys(self) -> list[str]:
        """The tensors' names, in the order of their data: the quickest to read in."""
        return list(self._header.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._header.entries)

    def __contains__(self, name: object) -> bool:
        return name in self._header.entries

    def metadata(self) -> dict[str, str] | None:
        """The strings stored under ``__metadata__``; None when the file has none."""
        return self._header.metadata

    def get_tensor(self, name: str) -> Any:
        """The tensor of that name. Raises KeyError when there is none."""
        entry, where = self._found(name), f"{self._where}: tensor {short(name)}"
        array = _array(self._buffer, self._header.size + entry.begin, entry, where)
        return array if self._numpy else to_tensor(array, where).to(self._device)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors by name."""
        return {name: self.get_tensor(name) for name in self.offset_keys()}

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor to be indexed: ``f.get_slice("weight")[:10]``. Raises KeyError when there is none."""
        entry = self._found(name)
        return TensorSlice(self, name, list(entry.shape), entry.code)

    def _found(self, name: str) -> _Entry:
        if self._buffer is None:
            raise ValueError(f"{self._where}: get_tensor: the file is closed; read inside the with block")
        entry = self._header.entries.get(name)
        if entry is None:
            import difflib

            near = difflib.get_close_matches(str(name), self._header.entries, 1)
            hint = f"did you mean {near[0]!r}?" if near else "keys() lists its names"
            raise KeyError(
                f"{self._where}: expected a name of one of its {len(self)} tensors, got {name!r}; {hint}"
            )
        return entry


class TensorSlice(NamedTuple):
    """A tensor of an open file that is read when indexed."""

    file: safe_open
    name: str
    shape: list[int]
    dtype: str

    def get_shape(self) -> list[int]:
        return self.shape

    def get_dtype(self) -> str:
        """The format's name of the dtype: "F32"."""
        return self.dtype

    def __getitem__(self, index: Any) -> Any:
        return self.file.get_tensor(self.name)[index]


def load_file(
    filename: str | os.PathLike[str], device: Any = "cpu", *, framework: str = "minigrad"
) -> dict[str, Any]:
    """All tensors of a safetensors file by name, without copying: see :class:`safe_open`."""
    with safe_open(filename, framework, device) as f:
        return f.get_tensors()


def load(data: bytes, *, framework: str = "minigrad") -> dict[str, Any]:
    """All tensors of a safetensors file that is in memory, copied. Raises SafetensorsError."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"load: expected the bytes of a file, got {type(data).__name__}; load_file takes a path"
        )
    return safe_open.over(bytearray(data), "bytes", framework).get_tensors()  # over a copy: writable


def _map(where: str) -> Any:
    """The bytes of a file, mapped: read when touched, private when written to."""
    kind = os.stat(where).st_mode  # before opening, which would wait for the writer of a pipe
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(f"{where}: expected a safetensors file, got a folder; name a file inside it")
    if not stat.S_ISREG(kind):
        raise bad(where, "expected a regular file, got a device or pipe", "read it and use load(bytes)")
    with open(where, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:  # which can't be mapped
            return b""
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)


def _array(buffer: Any, begin: int, entry: _Entry, where: str) -> np.ndarray:
    """A view of a tensor's bytes; a copy only where they aren't aligned or need swapping."""
    kind = named_dtype(_DTYPES[entry.code][0], where)
    if entry.begin == entry.end:
        return np.zeros(entry.shape, kind)
    array: np.ndarray = np.ndarray(entry.shape, kind, buffer, begin)
    if entry.code == "BOOL" and int(array.view(np.uint8).max()) > 1:  # NumPy would compute with such a byte
        raise bad(where, f"expected the bytes of BOOL to be 0 or 1, got {int(array.view(np.uint8).max())}")
    if _BIG_ENDIAN:
        return array.byteswap()
    return array if array.flags.aligned else array.copy()


def named_dtype(name: str, where: str) -> np.dtype[Any]:
    """The dtype that NumPy or ml_dtypes calls so."""
    try:
        if hasattr(np, name):
            return np.dtype(name)
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError, TypeError):
        raise bad(where, f"NumPy has no {name} of its own", "pip install -U 'minigrad-xp[bf16]' brings "
                  "ml_dtypes, which has it") from None  # fmt: skip


def to_tensor(array: np.ndarray, where: str) -> Tensor:
    """A Tensor over a file's array. Raises SafetensorsError for a dtype that only arrays have."""
    try:
        return from_numpy(array)
    except TypeError:
        raise bad(where, f"a Tensor can't hold {array.dtype}", "minigrad.io.load_file(path, framework='numpy') "
                  "gives it as an array, to convert with astype") from None  # fmt: skip


# ---- writing -------------------------------------------------------------------------------------------------


def save_file(
    tensors: Mapping[str, Any], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes Tensors or NumPy arrays by name, with string metadata, whole or not at all.

    The same input gives the same bytes: data ordered by dtype (widest first) and name, the header padded
    to 8 bytes, so that every tensor is aligned. Tensors may be strided, 0-d or empty; those that share
    memory are written each on its own.

    Raises TypeError for what isn't a mapping of names to tensors or has a dtype the format lacks,
    ValueError for a name the format forbids, OSError as :func:`atomic_write` does.
    """
    parts = pieces(tensors, metadata)
    first = next(parts)  # what can't be written is refused before a file is made
    with atomic_write(filename) as f:
        f.write(first)
        f.writelines(parts)


def save(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes :func:`save_file` would write."""
    return b"".join(pieces(tensors, metadata))


def pieces(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The file as header and one buffer per tensor, so that at most one strided tensor is copied at a time."""
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: expected a dict of names to tensors, got {type(tensors).__name__}")
    named = sorted(
        ((_named(name, value), name) for name, value in tensors.items()),
        key=lambda item: (_ORDER[item[0][0]], item[1]),
    )
    header: dict[str, Any] = {}
    if metadata is not None:
        header["__metadata__"] = _strings(metadata)
    end = 0
    for (code, array), name in named:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"save: expected names, shapes and metadata of at most {MAX_HEADER:,} bytes together, "
                         f"got {len(text):,}; keep numbers in tensors, or split over several files")  # fmt: skip
    yield len(text).to_bytes(8, "little") + text
    for (_, array), _ in named:
        yield _little_endian(array)


def _named(name: Any, value: Any) -> tuple[str, np.ndarray]:
    """The format's dtype and the array of a tensor to be written, both checked."""
    if type(name) is not str:
        raise TypeError(
            f"save: expected names that are strings, got {describe(name)}; minigrad.save takes any keys"
        )
    if name == "__metadata__" or not _is_utf8(name):
        raise ValueError(
            f"save: expected a name that isn't __metadata__ and that UTF-8 can hold, got {name!r}"
        )
    array = value.numpy(force=True) if isinstance(value, Tensor) else value
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"save: tensor {name!r}: expected a Tensor or a NumPy array, got {describe(value)}; "
                        f"minigrad.save takes nested structures and numbers")  # fmt: skip
    code = code_of(array.dtype)
    if code is None:
        raise TypeError(f"save: tensor {name!r}: the safetensors format has no dtype for {array.dtype}; expected one "
                        f"of {', '.join(_CODES)}: convert it with astype")  # fmt: skip
    return code, np.asarray(array)


def _strings(metadata: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(metadata, Mapping):
        raise TypeError(
            f"save: expected metadata that maps strings to strings, got {type(metadata).__name__}"
        )
    for k, v in metadata.items():
        if type(k) is not str or type(v) is not str or not _is_utf8(k + v):
            raise TypeError(f"save: expected metadata of strings to strings, got {short(k)}: {short(v)}")
    return dict(metadata)


def code_of(kind: np.dtype[Any]) -> str | None:
    """The format's name for a dtype, whatever its byte order; None where it has none."""
    return _CODES.get(kind.newbyteorder("=").name)


def _little_endian(array: np.ndarray) -> memoryview:
    """The array's bytes, row-major."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if _BIG_ENDIAN:
        array = array.byteswap()
    return array.reshape(-1).view(np.uint8).data


__all__ = ["MAX_HEADER", "SafetensorsError", "load", "load_file", "safe_open", "save", "save_file"]
