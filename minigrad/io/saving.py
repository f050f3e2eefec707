"""``minigrad.save`` and ``minigrad.load``: nested Python structures that hold tensors, as one safetensors file.

The file's tensors are the tensors, named by their path in the structure; the structure is JSON in the file's
metadata, under "minigrad". So a saved state dict is a plain safetensors file to any other program, a
safetensors file of any other program loads as a dict of tensors, and nothing in a file is ever executed.

In the JSON, null, booleans, strings, lists, floats and ints stand for themselves; everything else is an
object whose first key names its type: ``{"tuple": […]}``, ``{"Tensor": "fc1.weight"}``. The file format
itself is in ``safetensors.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from .. import backend, dtypes
from ..errors import describe
from ..tensor import Size, Tensor, wrap
from .files import atomic_write
from .safetensors import (
    SafetensorsError,
    bad,
    code_of,
    named_dtype,
    parse_json,
    pieces,
    safe_open,
    short,
    to_tensor,
)

_KEY = "minigrad"  # of the structure, in the metadata
_VERSION = 1
_MAX_DEPTH = 100  # levels of a structure; the recursion here and in json stays far from Python's limit
_JSON_DEPTH = 3 * _MAX_DEPTH + 8  # {"dict": [[key, …]]} is three

_Path = tuple[Any, Any] | None  # (path of the parent, key), so that going down costs nothing


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes a structure to a path, whole or not at all, or to a binary file object.

    ``obj`` is made of dicts (keys: str, int, float, bool, None and tuples of these), OrderedDicts, lists,
    tuples, sets, None, bool, int, float, complex, str, bytes, Tensors, Parameters, Buffers, NumPy arrays and scalars,
    dtypes, devices and Size, up to 100 levels deep; all come back with their exact type and value. A Module
    or an optimizer is saved by its ``state_dict()``.

    A tensor or array that occurs several times is one object after loading too. Different ones over exactly
    the same memory (tied weights of a state dict) are written once and share memory after loading; views
    that overlap otherwise are written each on its own, and only the view, not its base. Strided tensors come
    back contiguous. ``requires_grad`` is kept; ``.grad``, history and hooks are not.

    Raises TypeError for any other type, naming where it is (``obj['optimizer']['state'][0]``), ValueError
    for a structure that is too deep or too long, OSError as :func:`atomic_write` does.

    >>> minigrad.save({"model": model.state_dict(), "epoch": 3}, "run.safetensors")  # doctest: +SKIP
    """
    writer = _Writer()
    structure = {"version": _VERSION, "object": writer.node(obj, None, 0)}
    text = json.dumps(structure, separators=(",", ":"), allow_nan=False)
    parts = pieces(writer.tensors, {_KEY: text})
    first = next(parts)  # a header that is too long is refused before a file is made
    if not hasattr(f, "write"):
        with atomic_write(f) as file:
            file.write(first)
            file.writelines(parts)
        return
    if isinstance(f, io.TextIOBase):
        raise TypeError(
            "save: expected a path or a binary file, got one opened as text; open it with mode 'wb'"
        )
    _write(f, first)
    for part in parts:
        _write(f, part)


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
) -> Any:
    """What :func:`save` wrote, or the tensors of any safetensors file as a dict, from a path or a binary file.

    Tensors are copies, free to be written to. With ``mmap=True``, for a path only, they are parts of the
    memory-mapped file, read when touched: writes stay in memory, and the file must not be changed in place.

    ``map_location`` says where tensors go: a device, a dict from saved to wanted device names, or a function
    ``(tensor on the CPU, saved device's name)`` that returns a tensor, or None for the saved device.
    ``weights_only`` makes no difference: nothing in a file is executed either way.

    Raises SafetensorsError for every file that isn't valid, pickles (.pt) among them; OSError for one that
    can't be opened; ValueError for ``mmap=True`` without a path.
    """
    place = _placing(map_location)
    if isinstance(f, (str, os.PathLike)):
        with safe_open(f, "numpy") as file:
            return _Reader(file, os.fsdecode(f), place, copy=not mmap).object()
    if not hasattr(f, "read"):
        raise TypeError(f"load: expected a path or a binary file, got {describe(f)}")
    if mmap:
        raise ValueError(
            f"load: mmap=True needs a path, got {type(f).__name__}; give the path, or mmap=False"
        )
    data = f.read()
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"load: expected a file of bytes, got {type(data).__name__} from it; open it with mode 'rb'"
        )
    where = str(getattr(f, "name", type(f).__name__))
    return _Reader(safe_open.over(data, where, "numpy"), where, place, copy=True).object()


def _write(f: Any, part: Any) -> None:
    left = memoryview(part)
    while left.nbytes:
        n = f.write(left)
        left = left[(n or 0) if isinstance(f, io.RawIOBase) else left.nbytes :]  # a raw file may take a part


# ---- writing -------------------------------------------------------------------------------------------------


class _Writer:
    """Turns a structure into JSON's types, collecting tensors by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}
        self.names: dict[Any, str] = {}  # where the memory is: its name
        self.seen: dict[int, int] = {}  # id of a tensor or array: its number, in order of appearance

    def node(self, obj: Any, path: _Path, depth: int) -> Any:
        kind = type(obj)
        if obj is None or kind is bool or kind is str:
            return obj
        if kind is int:
            # decimal digits are slow to read, and Python bounds their number
            return obj if -(2**63) <= obj < 2**63 else {"int": hex(obj)}
        if kind is float:
            return obj if math.isfinite(obj) else {"float": struct.pack(">d", obj).hex()}
        if depth > _MAX_DEPTH:
            raise ValueError(f"save: {_spelled(path)[:80]}…: expected at most {_MAX_DEPTH} levels of nesting, got more; "
                             f"flatten it, or see that it doesn't contain itself")  # fmt: skip
        encode = _ENCODE.get(kind)
        if encode is not None:
            return encode(self, obj, path, depth)
        if isinstance(obj, np.generic):
            return self.write_scalar(obj, path)
        if isinstance(obj, np.dtype):
            return {"numpy.dtype": _dtype_text(obj) or self.refuse(obj, path)}
        if isinstance(obj, Tensor):
            from ..nn.parameter import Buffer, Parameter

            if kind is Parameter or kind is Buffer:
                return self.write_tensor(obj, path, kind.__name__)
        return self.refuse(obj, path)

    def refuse(self, obj: Any, path: _Path) -> Any:
        kind = type(obj)
        base = next((b for b in (dict, list, tuple, set, str, int, float) if isinstance(obj, b)), None)
        if callable(getattr(obj, "state_dict", None)):
            remedy = "save its state_dict()"
        elif base is not None:
            remedy = f"convert it with {base.__name__}(…)"
        elif isinstance(obj, Tensor):
            remedy = "save its detach()"
        elif hasattr(obj, "__array__") and kind is not np.ndarray and not isinstance(obj, np.generic):
            remedy = "convert it with numpy.asarray"
        else:
            remedy = "leave it out, or save the numbers and tensors it is made of"
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        name += f" of {obj.dtype}" if isinstance(obj, (np.ndarray, np.generic)) else ""
        raise TypeError(f"save: {_spelled(path)}: can't save {name} {short(obj)}; expected dicts, lists, tuples, sets, "
                        f"numbers, strings, tensors, arrays, dtypes, devices: {remedy}")  # fmt: skip

    def write_list(self, obj: list[Any], path: _Path, depth: int) -> Any:
        return [self.node(x, (path, i), depth + 1) for i, x in enumerate(obj)]

    def write_tagged(self, tag: str, obj: Any, path: _Path, depth: int) -> Any:
        return {tag: self.write_list(obj, path, depth)}

    def write_set(self, obj: set[Any], path: _Path, depth: int) -> Any:
        return {"set": [self.write_key(x, path, depth) for x in sorted(obj, key=repr)]}

    def write_dict(self, tag: str, obj: dict[Any, Any], path: _Path, depth: int) -> Any:
        out: dict[str, Any] = {}
        if all(type(k) is str for k in obj):
            out[tag] = {k: self.node(v, (path, k), depth + 1) for k, v in obj.items()}
        else:
            out[tag] = [
                [self.write_key(k, path, depth), self.node(v, (path, k), depth + 1)] for k, v in obj.items()
            ]
        for name, value in getattr(obj, "__dict__", {}).items():  # of an OrderedDict
            if name != "_metadata":  # a state dict's, by torch's convention
                raise TypeError(f"save: {_spelled(path)}: expected a plain OrderedDict, got one with an attribute "
                                f"{name!r}; delete it, or save it as an item")  # fmt: skip
            out[name] = self.node(value, (path, name), depth + 1)
        return out

    def write_key(self, key: Any, path: _Path, depth: int) -> Any:
        node = self.node(key, (path, key), depth + 1)
        if not _is_key(key):
            raise TypeError(f"save: {_spelled(path)}: expected keys and members of sets that are str, int, float, bool, "
                            f"None or tuples of these, got {type(key).__name__} {short(key)}")  # fmt: skip
        return node

    def write_tensor(self, obj: Tensor, path: _Path, tag: str) -> Any:
        array = obj._array
        out: dict[str, Any] = {tag: self.stored(array, obj, path)}
        if obj.requires_grad:
            out["requires_grad"] = True
        if obj.device.type != "cpu":
            out["device"] = str(obj.device)
        if tag == "Buffer":
            out["persistent"] = obj.persistent  # type: ignore[attr-defined]
        return self.once(obj, out)

    def write_array(self, obj: np.ndarray, path: _Path, depth: int) -> Any:
        if code_of(obj.dtype) is not None and obj.dtype.isnative:
            return self.once(obj, {"ndarray": self.stored(obj, obj, path)})
        text = _dtype_text(obj.dtype) or self.refuse(obj, path)
        data = np.frombuffer(obj.tobytes(), np.uint8) if obj.size else np.zeros(0, np.uint8)
        return self.once(
            obj, {"ndarray": self.stored(obj, data, path), "dtype": text, "shape": list(obj.shape)}
        )

    def once(self, obj: Any, node: dict[str, Any]) -> dict[str, Any]:
        if id(obj) in self.seen:
            return {"same": self.seen[id(obj)]}
        self.seen[id(obj)] = len(self.seen)
        return node

    def stored(self, array: Any, value: Any, path: _Path) -> str:
        """The name under which an array's memory is in the file."""
        place: Any = id(array)
        if isinstance(array, np.ndarray) and array.size:
            place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype)
        if place not in self.names:
            plain = ".".join(str(k) for k in _keys(path)).encode(errors="replace").decode() or "tensor"
            name, n = plain, 1
            while name in self.tensors or name == "__metadata__":
                name, n = f"{plain}~{n}", n + 1
            self.names[place], self.tensors[name] = name, value
        return self.names[place]

    def write_scalar(self, obj: np.generic, path: _Path) -> Any:
        if isinstance(obj, np.str_):
            return {"scalar": ["U", str.__str__(obj)]}  # its own drops trailing zeros
        if isinstance(obj, np.bytes_):
            return {"scalar": ["S", obj.hex()]}
        text = _dtype_text(obj.dtype) or self.refuse(obj, path)
        return {"scalar": [text, obj.tobytes().hex()]}


_ENCODE: dict[type, Callable[[_Writer, Any, _Path, int], Any]] = {
    list: _Writer.write_list,
    tuple: lambda w, x, path, depth: w.write_tagged("tuple", x, path, depth),
    Size: lambda w, x, path, depth: w.write_tagged("Size", x, path, depth),
    set: _Writer.write_set,
    dict: lambda w, x, path, depth: w.write_dict("dict", x, path, depth),
    OrderedDict: lambda w, x, path, depth: w.write_dict("OrderedDict", x, path, depth),
    Tensor: lambda w, x, path, depth: w.write_tensor(x, path, "Tensor"),
    np.ndarray: _Writer.write_array,
    complex: lambda w, x, path, depth: {"complex": struct.pack(">dd", x.real, x.imag).hex()},
    bytes: lambda w, x, path, depth: {"bytes": x.hex()},
    dtypes.dtype: lambda w, x, path, depth: {"dtype": x.name},
    backend.device: lambda w, x, path, depth: {"device": str(x)},
}


def _is_key(key: Any) -> bool:
    return (
        key is None or type(key) in (str, int, float, bool) or (type(key) is tuple and all(map(_is_key, key)))
    )


def _keys(path: _Path) -> list[Any]:
    keys = []
    while path is not None:
        path, key = path
        keys.append(key)
    return keys[::-1]


def _spelled(path: _Path) -> str:
    return "obj" + "".join(f"[{short(k)}]" for k in _keys(path))


def _dtype_text(kind: np.dtype[Any]) -> str | None:
    """A spelling of a dtype that means the same on every machine; None when there is none."""
    if kind.type.__module__ == "ml_dtypes":
        return kind.name
    plain = kind.kind in "biufcSUMm" and kind.char not in "gG" and kind.itemsize and kind.names is None
    return kind.str if plain else None  # g, G: long double differs by machine


# ---- reading -------------------------------------------------------------------------------------------------


class _Reader:
    """Turns JSON's types back into a structure, believing nothing."""

    def __init__(self, file: safe_open, where: str, place: Callable[[Tensor, str], Any], copy: bool) -> None:
        self.file, self.where, self.place, self.copy = file, where, place, copy
        self.arrays: dict[str, np.ndarray] = {}
        self.placed: dict[tuple[str, str], Any] = {}  # raw arrays by name and saved device, shared
        self.made: list[Any] = []

    def object(self) -> Any:
        text = (self.file.metadata() or {}).get(_KEY)
        if text is None:  # another program's file
            return {name: self.read_tensor("Tensor", name, {}) for name in self.file.offset_keys()}
        table = parse_json(text, self.where, "structure", _JSON_DEPTH)
        if type(table) is not dict or table.keys() != {"version", "object"}:
            raise self.bad("a structure with version and object", table)
        if table["version"] != _VERSION:
            raise bad(self.where, f"expected version {_VERSION} of the structure, got {short(table['version'])}",
                      "a newer minigrad wrote it: pip install -U minigrad-xp")  # fmt: skip
        found = self.value(table["object"], 0)
        if left := set(self.file) - self.arrays.keys():
            raise self.bad("every tensor of the file in its structure", f"not there: {min(left)}")
        return found

    def bad(self, expected: str, got: Any) -> SafetensorsError:
        return bad(f"{self.where}: structure", f"expected {expected}, got {short(got)}")

    def value(self, node: Any, depth: int) -> Any:
        if node is None or type(node) in (bool, int, float, str):
            return node
        if depth > _MAX_DEPTH + 1:  # the last is a number that JSON lacks
            raise self.bad(f"at most {_MAX_DEPTH} levels", node)
        if type(node) is list:
            return [self.value(x, depth + 1) for x in node]
        tag, *others = node or [None]
        decode, options = _DECODE.get(tag, (None, ()))
        if decode is None or not set(others) <= set(options):
            raise self.bad("an object whose first key is a type it may have", node)
        return decode(self, tag, node[tag], node, depth)

    def read_sequence(self, tag: str, items: Any, node: Any, depth: int) -> Any:
        if type(items) is not list:
            raise self.bad(f"a list for a {tag}", items)
        return tuple(self.value(x, depth + 1) for x in items)

    def read_size(self, tag: str, items: Any, node: Any, depth: int) -> Any:
        sizes = self.read_sequence(tag, items, node, depth)
        if not all(type(n) is int for n in sizes):
            raise self.bad("a Size of ints", items)
        return Size(sizes)

    def read_dict(self, tag: str, items: Any, node: Any, depth: int) -> Any:
        out: dict[Any, Any] = OrderedDict() if tag == "OrderedDict" else {}
        if type(items) is dict:
            for k, v in items.items():
                out[k] = self.value(v, depth + 1)
        elif type(items) is list and all(type(x) is list and len(x) == 2 for x in items):
            for k, v in items:
                out[self.read_key(k, depth)] = self.value(v, depth + 1)
        else:
            raise self.bad(f"an object or a list of pairs for a {tag}", items)
        if len(out) != len(items):
            raise self.bad(f"each key of a {tag} once", items)
        if "_metadata" in node:
            out._metadata = self.value(node["_metadata"], depth + 1)  # type: ignore[attr-defined]
        return out

    def read_set(self, tag: str, items: Any, node: Any, depth: int) -> Any:
        if type(items) is not list:
            raise self.bad("a list for a set", items)
        return {self.read_key(x, depth) for x in items}

    def read_key(self, node: Any, depth: int) -> Any:
        key = self.value(node, depth + 1)
        if not _is_key(key):
            raise self.bad("a key that is a string, a number, None or a tuple of these", node)
        return key

    def read_tensor(self, tag: str, name: Any, node: Any, depth: int = 0) -> Any:
        needs, location = node.get("requires_grad", False), node.get("device", "cpu")
        if type(name) is not str or type(needs) is not bool or type(location) is not str:
            raise self.bad("a tensor's name, requires_grad true or false and a device's name", node)
        made = wrap(self.there(name, location))
        if needs and not made.is_floating_point():
            raise self.bad("requires_grad for a floating-point tensor", node)
        if tag == "Parameter":
            from ..nn.parameter import Parameter

            made = Parameter(made, needs)
        elif tag == "Buffer":
            from ..nn.parameter import Buffer

            made = Buffer(made, persistent=node.get("persistent", True) is True)
        if needs:
            made.requires_grad = True
        self.made.append(made)
        return made

    def there(self, name: str, location: str) -> Any:
        """A tensor's raw array on the device it is wanted on; the same one when asked again."""
        if (name, location) not in self.placed:
            where = f"{self.where}: tensor {short(name)}"
            found = self.place(to_tensor(self.read_array(name), where), location)
            if found is None:
                raise bad(where, f"it was saved on {location!r}, which isn't available here",
                          "pass map_location='cpu'")  # fmt: skip
            self.placed[name, location] = found._array
        return self.placed[name, location]

    def read_array(self, name: Any) -> np.ndarray:
        """A stored array: itself at first, then views of it."""
        if type(name) is not str or name not in self.file:
            raise self.bad("the name of a tensor in the file", name)
        if name in self.arrays:
            return self.arrays[name].view()
        found = self.file.get_tensor(name)
        self.arrays[name] = found = found.copy() if self.copy else found
        return found

    def read_ndarray(self, tag: str, name: Any, node: Any, depth: int) -> Any:
        made = self.read_array(name)
        if len(node) > 1:
            kind, shape = self.read_dtype(node.get("dtype")), node.get("shape")
            if type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
                raise self.bad("a shape of non-negative integers", node)
            if made.dtype != np.uint8 or made.ndim != 1 or made.size != math.prod(shape) * kind.itemsize:
                raise self.bad(f"the bytes of an array {node['dtype']} {shape}", describe(made))
            made = self.interpreted(made, kind, shape, node)
        self.made.append(made)
        return made

    def interpreted(self, data: np.ndarray, kind: np.dtype[Any], shape: list[int], node: Any) -> np.ndarray:
        """Bytes as an array of a dtype the format lacks, or of foreign byte order."""
        if kind.kind == "b" or (
            kind.kind == "U" and data.size and data.view(f"{kind.str[0]}u4").max() > 0x10FFFF
        ):
            raise self.bad(f"bytes that are values of {kind.str}", node)
        try:
            found: np.ndarray = np.ndarray(shape, kind, data)
            return found if found.flags.aligned else found.copy()
        except (ValueError, TypeError):  # sizes whose product, without its zeros, can't be counted
            raise self.bad("a shape that NumPy can hold", node) from None

    def read_dtype(self, text: Any) -> np.dtype[Any]:
        """The inverse of ``_dtype_text``."""
        kind = None
        if type(text) is str and _NUMPY_DTYPE.fullmatch(text):
            with contextlib.suppress(TypeError, ValueError):
                kind = np.dtype(text)
        elif type(text) is str and _ML_DTYPE.fullmatch(text):
            kind = named_dtype(text, f"{self.where}: structure")
        if kind is None or _dtype_text(kind) != text:
            raise self.bad("the name of a NumPy dtype", text)
        return kind

    def read_scalar(self, tag: str, pair: Any, node: Any, depth: int) -> Any:
        if type(pair) is not list or len(pair) != 2 or type(pair[1]) is not str:
            raise self.bad("a dtype and bytes in hexadecimal for a scalar", pair)
        if pair[0] == "U":
            return np.str_(pair[1])
        data = self.read_bytes(tag, pair[1], node, depth)
        if pair[0] == "S":
            return np.bytes_(data)
        kind = self.read_dtype(pair[0])
        if len(data) != kind.itemsize or kind.kind in "SU" or (kind.kind == "b" and data[0] > 1):
            raise self.bad("the bytes of a scalar", pair)
        return np.frombuffer(data, kind)[0]

    def read_bytes(self, tag: str, text: Any, node: Any, depth: int, length: int | None = None) -> bytes:
        try:
            data = bytes.fromhex(text)
        except (ValueError, TypeError):
            raise self.bad(f"hexadecimal for {tag}", text) from None
        if length not in (None, len(data)):
            raise self.bad(f"{length} bytes for {tag}", text)
        return data

    def read_float(self, tag: str, text: Any, node: Any, depth: int) -> Any:
        return struct.unpack(">d", self.read_bytes(tag, text, node, depth, 8))[0]

    def read_complex(self, tag: str, text: Any, node: Any, depth: int) -> Any:
        return complex(*struct.unpack(">dd", self.read_bytes(tag, text, node, depth, 16)))

    def read_int(self, tag: str, text: Any, node: Any, depth: int) -> Any:
        if type(text) is not str or not _HEX.fullmatch(text):
            raise self.bad("a hexadecimal int", text)
        return int(text, 16)

    def read_our_dtype(self, tag: str, name: Any, node: Any, depth: int) -> Any:
        found = [d for d in dtypes.DTYPES if d.name == name]
        if not found:
            raise self.bad("the name of a dtype", name)
        return found[0]

    def read_device(self, tag: str, text: Any, node: Any, depth: int) -> Any:
        try:
            return backend.device(text if type(text) is str else "")
        except (RuntimeError, ValueError):
            raise self.bad("a device's name", text) from None

    def read_same(self, tag: str, number: Any, node: Any, depth: int) -> Any:
        if type(number) is not int or not 0 <= number < len(self.made):
            raise self.bad("the number of a tensor that came before", number)
        return self.made[number]


_HEX = re.compile(r"-?0x[0-9a-f]+")
_NUMPY_DTYPE = re.compile(
    r"[<>|](b1|[iu][1248]|f[248]|c(8|16)|[SU][0-9]{1,9}|[mM]8(\[([1-9][0-9]{0,8})?[a-zA-Z]{1,2}\])?)"
)
_ML_DTYPE = re.compile(r"(b?complex|b?float|u?int)[0-9]+[0-9a-z_]*")

# By tag: how to read it, and which further keys the object may have.
_DECODE: dict[Any, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "tuple": (_Reader.read_sequence, ()),
    "Size": (_Reader.read_size, ()),
    "set": (_Reader.read_set, ()),
    "dict": (_Reader.read_dict, ()),
    "OrderedDict": (_Reader.read_dict, ("_metadata",)),
    "Tensor": (_Reader.read_tensor, ("requires_grad", "device")),
    "Parameter": (_Reader.read_tensor, ("requires_grad", "device")),
    "Buffer": (_Reader.read_tensor, ("requires_grad", "device", "persistent")),
    "ndarray": (_Reader.read_ndarray, ("dtype", "shape")),
    "scalar": (_Reader.read_scalar, ()),
    "int": (_Reader.read_int, ()),
    "float": (_Reader.read_float, ()),
    "complex": (_Reader.read_complex, ()),
    "bytes": (_Reader.read_bytes, ()),
    "dtype": (_Reader.read_our_dtype, ()),
    "numpy.dtype": (lambda r, tag, text, node, depth: r.read_dtype(text), ()),
    "device": (_Reader.read_device, ()),
    "same": (_Reader.read_same, ()),
}


def _placing(map_location: Any) -> Callable[[Tensor, str], Any]:
    """A function that puts a tensor of a saved device where it is wanted; None when there is no such device."""

    def known(location: str) -> bool:
        return location.split(":")[0] in backend.MODULES

    def home(t: Tensor, location: str) -> Any:
        return t.to(location) if known(location) else None

    if map_location is None:
        return home
    if isinstance(map_location, (str, backend.device)):
        backend.module_named(map_location)  # refuses one that isn't there
        return lambda t, location: t.to(map_location)
    if isinstance(map_location, Mapping):
        wanted = {str(k): v for k, v in map_location.items()}
        return lambda t, location: t.to(wanted[location]) if location in wanted else home(t, location)
    if not callable(map_location):
        raise TypeError(f"load: expected map_location to be None, a device, a dict or a function, got "
                        f"{describe(map_location)}")  # fmt: skip

    def called(t: Tensor, location: str) -> Any:
        found = map_location(t, location)
        if found is not None and not isinstance(found, Tensor):
            raise TypeError(f"load: expected map_location to return a Tensor or None, got {describe(found)}")
        return home(t, location) if found is None else found

    return called


__all__ = ["load", "save"]
