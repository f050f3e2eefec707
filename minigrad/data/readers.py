"""Strict readers of data files: IDX (the MNIST family's), CSV, npy and npz. Nothing is ever unpickled.

Each returns tensors, or raises one kind of error: FileNotFoundError where there is no file, ValueError
for a file that isn't what it should be. The text names the file, what was expected, what was found, and
the remedy. Weights are read by ``minigrad.io``.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..autograd import wrap
from ..tensor import Tensor

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """Reads an IDX file, gzipped or not: two zero bytes, a dtype code, the number of dimensions, the
    sizes as big-endian 32-bit integers, then the elements, big-endian.

    Codes: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64. Source: Y. LeCun, C. Cortes,
    C. Burges, The MNIST database of handwritten digits. No more is read into memory than the file holds.
    """
    with _opened(path, "IDX") as f:
        magic = f.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or magic[3] > 32:
            raise _wrong(
                path,
                "IDX",
                "two zero bytes, one of the dtype codes "
                + ", ".join(f"{c:02X}" for c in IDX_DTYPES)
                + " and at most 32 dimensions",
                f"{magic.hex(' ') or 'an empty file'}",
            )
        ndim = magic[3]
        header = f.read(4 * ndim)
        if len(header) < 4 * ndim:
            raise _wrong(path, "IDX", f"{ndim} sizes of 4 bytes", f"{len(header)} bytes")
        shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
        kind = np.dtype(IDX_DTYPES[magic[2]])
        expected = math.prod(shape) * kind.itemsize
        what = f"{expected:,} bytes of elements for shape {shape} of {kind.newbyteorder('=')}"
        body = bytearray()
        while len(body) <= expected and (piece := f.read(min(_PIECE, expected + 1 - len(body)))):
            body += piece
        if len(body) != expected:
            got = f"{len(body):,}" if len(body) < expected else "more than that"
            raise _wrong(path, "IDX", what, got)
    array = np.frombuffer(body, kind).reshape(shape)
    return wrap(array.astype(kind.newbyteorder("="), copy=False))  # type: ignore[no-any-return]


def read_csv(
    path: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    header: bool = True,
    columns: Sequence[str | int] | None = None,
    dtype: Any = None,
    encoding: str = "utf-8",
) -> Any:
    """Reads a table of numbers, gzipped or not.

    One ``dtype`` (default: the default dtype) gives a tensor (rows, columns). A mapping from column
    to dtype gives a dict of the columns in it, each a tensor (rows,), or a list of strings where the
    dtype is ``str``. ``columns`` chooses and orders columns, by name or by number; without a
    ``header`` they have numbers only. Quoting is that of RFC 4180; blank lines are skipped.

    Raises ValueError naming file, line and column for a row of another length, or a field that isn't
    a number of its dtype; KeyError for a column that isn't there.
    """
    import csv

    from .. import get_default_dtype
    from ..dtypes import as_dtype

    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"read_csv: delimiter is one character, got {delimiter!r}")
    codec = "utf-8-sig" if encoding == "utf-8" else encoding  # spreadsheets begin with a mark of byte order
    with _opened(path, "CSV") as raw:
        import io

        rows = csv.reader(io.TextIOWrapper(raw, encoding=codec, newline=""), delimiter=delimiter, strict=True)
        try:
            first = next((r for r in rows if r), None)
            if first is None:
                raise _wrong(path, "CSV", "a table", "an empty file")
            names = [n.strip() for n in first] if header else None
            chosen = columns if columns is not None else dtype if isinstance(dtype, Mapping) else None
            where = _columns(path, chosen, names, len(first))
            if isinstance(dtype, Mapping):
                kinds = [dtype[c] if c in dtype else get_default_dtype() for c in chosen or ()]
            else:
                kinds = [dtype or get_default_dtype()] * len(where)
            kept: list[list[Any]] = [[] for _ in where]
            parse = [_parser(k if k is str else as_dtype(k)) for k in kinds]

            def keep(row: list[str]) -> None:
                if len(row) != len(first):
                    raise _wrong(
                        path, "CSV", f"{len(first)} fields, as in its first row", f"{len(row)} in line {rows.line_num}"
                    )  # fmt: skip
                for out, k, convert in zip(kept, where, parse, strict=True):
                    try:
                        out.append(convert(row[k]))
                    except ValueError:
                        label = f" ({names[k]})" if names else ""
                        hint = "; pass header=True if this is the header" if rows.line_num == 1 else ""
                        raise _wrong(
                            path, "CSV", f"a number, {convert.__name__}", f"{row[k]!r} in line {rows.line_num}, "
                            f"column {k + 1}{label}{hint}",
                        ) from None  # fmt: skip

            if not header:
                keep(first)
            for row in rows:
                if row:
                    keep(row)
        except UnicodeDecodeError as e:
            raise _wrong(path, "CSV", f"text in {encoding}", f"byte {e.object[e.start]:#04x}") from None
        except csv.Error as e:
            raise _wrong(path, "CSV", "rows as in RFC 4180", f"{e} in line {rows.line_num}") from None
    made = [
        values if k is str else _column(path, values, as_dtype(k))
        for values, k in zip(kept, kinds, strict=True)
    ]
    if isinstance(dtype, Mapping):
        return dict(zip(chosen or (), made, strict=True))
    if kinds and kinds[0] is str:
        return [list(row) for row in zip(*made, strict=True)]
    return wrap(np.stack([np.asarray(m) for m in made], axis=1))


def _columns(path: Any, chosen: Any, names: Sequence[str] | None, width: int) -> list[int]:
    if names is not None and len(set(names)) != len(names) and chosen is not None:
        twice = sorted({n for n in names if names.count(n) > 1})
        if any(c in twice for c in chosen):
            raise _wrong(path, "CSV", "column names that differ", f"{twice} more than once")
    found = []
    for c in range(width) if chosen is None else chosen:
        if isinstance(c, str) and names is not None and c in names:
            found.append(names.index(c))
        elif isinstance(c, int) and -width <= c < width:
            found.append(c % width)
        else:
            raise KeyError(
                f"read_csv: {os.fspath(path)}: no column {c!r}; there are "
                f"{list(names) if names else f'{width} columns and no names (header=False)'}"
            )
    if not found:
        raise ValueError("read_csv: expected at least one column, got columns=[]")
    return found


def _parser(kind: Any) -> Any:
    if kind is str:
        return str
    if kind.category == 2:
        return float
    return int


def _column(path: Any, values: list[Any], kind: Any) -> Tensor:
    if kind.category == 2:
        return wrap(np.array(values, dtype=np.float64).astype(kind.numpy_dtype))  # type: ignore[no-any-return]
    try:
        array = np.array(values, dtype=np.int64)
        low, high = (0, 1) if kind.category == 0 else _range(kind)
        if array.size and not low <= array.min() <= array.max() <= high:
            raise OverflowError
    except OverflowError:
        worst = max(values, key=abs)
        raise _wrong(path, "CSV", f"integers that {kind.name} holds", f"{worst}") from None
    return wrap(array.astype(kind.numpy_dtype))  # type: ignore[no-any-return]


def _range(kind: Any) -> tuple[int, int]:
    info = np.iinfo(kind.numpy_dtype)
    return int(info.min), int(info.max)


def read_npy(path: str | os.PathLike[str]) -> Tensor:
    """Reads one array saved by ``numpy.save``. Arrays of Python objects are refused, unread."""
    with _opened(path, "npy", unzip=False) as f:
        found = _numpy_load(path, f, "npy")
        if not isinstance(found, np.ndarray):
            raise _wrong(path, "npy", "one array", "an npz archive; use read_npz")
        return _supported(path, "npy", found)


def read_npz(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Reads the arrays saved by ``numpy.savez``, by name. Arrays of Python objects are refused, unread."""
    with _opened(path, "npz", unzip=False) as f:
        found = _numpy_load(path, f, "npz")
        if isinstance(found, np.ndarray):
            raise _wrong(path, "npz", "an archive of arrays", "one array; use read_npy")
        with found:
            return {
                name: _supported(path, "npz", _numpy_load(path, found, "npz", name)) for name in found.files
            }


def _numpy_load(path: Any, source: Any, kind: str, name: str | None = None) -> Any:
    import zipfile

    try:
        if name is not None:
            return source[name]
        return np.load(source, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, OSError, KeyError, NotImplementedError,
            RuntimeError, SyntaxError, MemoryError) as e:  # fmt: skip
        inside = f" in its member {name!r}" if name else ""
        raise _wrong(path, kind, "whole arrays of numbers, without pickled objects", f"{e}{inside}") from None


def _supported(path: Any, kind: str, array: Any) -> Tensor:
    from ..dtypes import from_numpy_dtype

    if not isinstance(array, np.ndarray):
        raise _wrong(path, kind, "arrays", f"a member of type {type(array).__name__}")
    try:
        found = from_numpy_dtype(array.dtype)
    except TypeError as e:
        raise _wrong(path, kind, "a dtype that tensors have", str(e)) from None
    return wrap(np.ascontiguousarray(array, dtype=found.numpy_dtype).reshape(array.shape))  # type: ignore[no-any-return]


@contextmanager
def _opened(path: Any, kind: str, unzip: bool = True) -> Any:
    """The file, unzipped where it is gzip; what goes wrong while it is read becomes one clear error."""
    name = Path(path)
    try:
        f: IO[bytes] = open(name, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{name}: no such file; expected a {kind} file there: check the path"
        ) from None
    except IsADirectoryError:
        raise _wrong(path, kind, "a file", "a folder") from None
    with f:
        zipped = unzip and f.read(2) == _GZIP
        f.seek(0)
        if not zipped:
            yield f
            return
        import gzip

        try:
            with gzip.GzipFile(fileobj=f) as whole:
                yield whole
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise _wrong(path, f"gzipped {kind}", "a whole gzip stream", str(e)) from None


def _wrong(path: Any, kind: str, expected: str, got: str) -> ValueError:
    return ValueError(
        f"{os.fspath(path)}: not a valid {kind} file: expected {expected}, got {got}; "
        f"replace it by a whole copy"
    )
