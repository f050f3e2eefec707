"""minigrad.save and minigrad.load: structures come back exactly, or the file is refused; nothing is executed."""

import errno
import gzip
import io
import json
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad
from minigrad import Tensor, backend, nn
from minigrad.io import SafetensorsError, load_file, save_file, saving
from minigrad.io.safetensors import pieces

INF, NAN = float("inf"), float("nan")


def saved(obj):
    f = io.BytesIO()
    minigrad.save(obj, f)
    return f.getvalue()


def back(obj, **options):
    return minigrad.load(io.BytesIO(saved(obj)), **options)


def same(a, b):
    """Equal in type and in every bit, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(
            map(same, [*a, *a.values()], [*b, *b.values()])
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Tensor):
        return a.requires_grad == b.requires_grad and same(a._array, b._array)
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


def checkpoint():
    """What a training program saves."""
    w = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    return {
        "model": OrderedDict(weight=w, tied=w.detach(), steps=minigrad.tensor(7)),
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": w * 0, "f": NAN}, 1: {}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}],
        },
        "history": [[0.5, INF], (), {}],
        "seed": 2**200,
        "dtype": minigrad.float32,
        "array": np.arange(3, dtype=">i2"),
        "best": np.float32(0.5),
    }


# ---- every value, exactly

VALUES = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, -(2**64), 10**5000,
    0.0, -0.0, 0.1, 1e22, 5e-324, 1.7976931348623157e308, INF, -INF, NAN, struct.unpack(">d", b"\xff\xf8\0\0\0\0\0\1")[0],
    complex(1, -0.0), complex(NAN, INF),
    "", "a", "é\0\n\"\\", "\ud800", "😀", b"", b"\0\xff",
    [], (), {}, set(), OrderedDict(), [[], [()]], (1, (2, [3])),
    {1: "a", "1": "b", None: 0, 2.5: 1, (1, ("a", None)): 2, -INF: 3, 2**70: 4},
    {"Tensor": "no", "": {}, "__metadata__": 1}, OrderedDict([(2, 1), (1, 2)]), {1, "a", (None, 2.5)},
    minigrad.Size([]), minigrad.Size([2, 0]), minigrad.device("cpu"), minigrad.device("cuda", 1),
    minigrad.float32, minigrad.bool_, minigrad.bfloat16, np.dtype("f4"), np.dtype(">c16"), np.dtype("M8[25ns]"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(VALUES)))
def test_every_kind_of_value_comes_back_with_its_type(i):
    for obj in (VALUES[i], [VALUES[i]], {"k": (VALUES[i],)}):
        assert same(back(obj), obj)


@pytest.mark.parametrize("text", [
    "?", "i1", "i2", "<i4", ">i8", "u1", "u2", ">u4", "u8", "f2", "f4", ">f8", "c8", ">c16", "U3", ">U3", "S2", "M8[s]",
    "m8[us]", "M8",
])  # fmt: skip
def test_arrays_and_scalars_of_every_plain_dtype_come_back(text):
    kind = np.dtype(text)
    if kind.kind in "US":
        array = np.array(["ab", "", "c\ud800"] if kind.kind == "U" else [b"ab", b"", b"\xff"]).astype(kind)
    else:
        array = np.arange(3).astype("i8").astype(kind)
    obj = [array, array[::-2], array[:0], array[1].reshape(()), array.reshape(3, 1).T, *array]
    assert same(
        back(obj), [np.ascontiguousarray(x).reshape(x.shape) if isinstance(x, np.ndarray) else x for x in obj]
    )


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e3m4", "float6_e2m3fn", "float4_e2m1fn", "int4"]
)
def test_arrays_and_scalars_of_ml_dtypes_come_back(name):
    kind = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    array = np.ones((2, 2)).astype(kind)
    assert same(back([array, array[0, 0], kind]), [array, array[0, 0], kind])


def test_numpy_strings_and_bytes_keep_what_arrays_would_drop():
    obj = [np.str_("é\0"), np.str_(""), np.bytes_(b"a\0")]
    assert same(back(obj), obj)


@pytest.mark.parametrize("d", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
                               "bool"])  # fmt: skip
def test_tensors_of_every_dtype_layout_and_size_come_back(d):
    if d == "bfloat16":
        pytest.importorskip("ml_dtypes")
    t = minigrad.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0]]).to(
        getattr(minigrad, "bool_" if d == "bool" else d)
    )
    for x in (t, t.T, t[:, ::2], t[0, 1], t[:0], t[:1].expand(4, 3)):
        got = back(x)
        assert type(got) is Tensor and got.dtype is x.dtype and got.shape == x.shape and got.is_contiguous()
        assert got.tolist() == x.tolist()


def test_requires_grad_is_kept_and_history_is_not():
    x = minigrad.tensor([1.0], requires_grad=True)
    got = back({"leaf": x, "result": x * 2, "plain": x.detach()})
    assert [t.requires_grad for t in got.values()] == [True, True, False]
    assert got["result"].is_leaf and got["leaf"].grad is None


def test_parameters_come_back_as_parameters():
    a = nn.Parameter(minigrad.tensor([1.0, 2.0]))
    b = nn.Parameter(minigrad.tensor([3]), requires_grad=False)
    got = back([a, b, a])
    assert type(got[0]) is type(got[1]) is nn.Parameter and got[2] is got[0]
    assert got[0].requires_grad and not got[1].requires_grad and got[0].tolist() == [1.0, 2.0]


def test_buffers_come_back_as_buffers():
    got = back([nn.Buffer(minigrad.ones(1)), nn.Buffer(minigrad.ones(1), persistent=False)])
    assert [(type(b), b.persistent, b.tolist()) for b in got] == [
        (nn.Buffer, p, [1.0]) for p in (True, False)
    ]


def test_a_model_with_tied_weights_is_restored_from_its_state_dict(tmp_path):
    def model():
        m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        m[2].weight = m[0].weight
        return m

    a, b = model(), model()
    a(minigrad.randn(4, 3))
    minigrad.save(a.state_dict(), tmp_path / "m")
    state = minigrad.load(tmp_path / "m")
    assert same(state, a.state_dict()) and same(state._metadata, a.state_dict()._metadata)
    b.load_state_dict(state)
    assert same(b.state_dict(), a.state_dict()) and b[2].weight is b[0].weight


def test_a_state_dicts_metadata_attribute_comes_back():
    obj = OrderedDict(w=1)
    obj._metadata = OrderedDict({"": {"version": 1}})
    assert same(back(obj)._metadata, obj._metadata)
    obj.more = 1
    with pytest.raises(TypeError, match="an attribute 'more'"):
        saved(obj)


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
    | hnp.arrays(hnp.scalar_dtypes() | hnp.unicode_string_dtypes() | hnp.byte_string_dtypes(), hnp.array_shapes(min_side=0))
    | hnp.arrays(st.sampled_from(["f4", "i8", "?"]), hnp.array_shapes(min_dims=0)).map(minigrad.from_numpy)
)  # fmt: skip
keys = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
structures = st.recursive(
    leaves,
    lambda x: st.lists(x) | st.dictionaries(keys, x) | st.lists(x).map(tuple)
    | st.dictionaries(keys, x).map(OrderedDict),
    max_leaves=12,
)  # fmt: skip


@given(structures)
def test_any_structure_comes_back(obj):
    try:
        data = saved(obj)
    except TypeError as e:  # dtypes that differ by machine
        assert "float128" in str(e) or "complex256" in str(e)
        return
    assert same(minigrad.load(io.BytesIO(data)), obj) and saved(obj) == data


def test_a_checkpoint_comes_back(tmp_path):
    minigrad.save(checkpoint(), tmp_path / "c")
    assert same(minigrad.load(tmp_path / "c"), checkpoint())


# ---- shared memory


def test_one_object_in_several_places_is_one_object_again():
    t, a, s = minigrad.tensor([1.0]), np.arange(3), np.array(["x"])
    got = back({"a": [t, a, s], "b": (t, t, a, s)})
    assert all(got["a"][i] is got["b"][j] for i, j in [(0, 0), (0, 1), (1, 2), (2, 3)])


def test_tied_weights_are_written_once_and_stay_tied():
    w = minigrad.zeros(1000)
    data = saved({"encoder.weight": w.detach(), "decoder.weight": w.detach()})
    got = minigrad.load(io.BytesIO(data))
    assert len(data) < 5000 and got["encoder.weight"] is not got["decoder.weight"]
    got["encoder.weight"][3] = 1.0
    assert got["decoder.weight"][3].item() == 1.0


def test_overlapping_views_are_written_each_on_its_own_without_their_base():
    base = minigrad.arange(10_000.0)
    data = saved([base[:3], base[1:4]])
    a, b = minigrad.load(io.BytesIO(data))
    assert len(data) < 2000 and (a.tolist(), b.tolist()) == ([0, 1, 2], [1, 2, 3])
    a += 1
    assert b.tolist() == [1, 2, 3]


def test_empty_tensors_at_one_address_are_not_mixed_up():
    x = np.zeros((4, 4), np.float32)
    got = back([x[:0], x[:, :0], x[:0].astype("i4")])
    assert [(a.shape, a.dtype) for a in got] == [((0, 4), "f4"), ((4, 0), "f4"), ((0, 4), "i4")]


# ---- the file


def test_a_state_dict_is_a_plain_safetensors_file_to_others(tmp_path):
    model = OrderedDict({"fc.weight": minigrad.zeros(2, 2), "fc.bias": minigrad.ones(2)})
    minigrad.save(model, tmp_path / "m")
    assert {k: v.tolist() for k, v in load_file(tmp_path / "m").items()} == {
        k: v.tolist() for k, v in model.items()
    }
    torch = pytest.importorskip("safetensors.torch")
    assert torch.load_file(tmp_path / "m")["fc.bias"].tolist() == [1, 1]


def test_any_safetensors_file_loads_as_a_dict_of_tensors(tmp_path):
    save_file({"b": np.ones(2), "a": np.zeros(1, np.int32)}, tmp_path / "m", {"format": "pt"})
    got = minigrad.load(tmp_path / "m")
    assert {k: v.tolist() for k, v in got.items()} == {"b": [1.0, 1.0], "a": [0]}
    got["b"] += 1  # a copy
    save_file({"u": np.ones(2, np.uint16)}, tmp_path / "m")
    with pytest.raises(SafetensorsError, match=r"a Tensor can't hold uint16; minigrad.io.load_file"):
        minigrad.load(tmp_path / "m")


def test_tensors_are_named_by_their_path(tmp_path):
    t = [minigrad.tensor([float(i)]) for i in range(6)]
    minigrad.save(
        {"a": {"b": t[0], 0: [t[1]]}, "a.b": t[2], "__metadata__": t[3], "\ud800": t[4], ("x", 1): t[5]},
        tmp_path / "m",
    )
    assert sorted(load_file(tmp_path / "m")) == ["('x', 1)", "?", "__metadata__~1", "a.0.0", "a.b", "a.b~1"]
    minigrad.save(t[0], tmp_path / "m")
    assert list(load_file(tmp_path / "m")) == ["tensor"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    minigrad.save([1], path)

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        minigrad.save(checkpoint(), path)
    monkeypatch.undo()
    with pytest.raises(TypeError):
        minigrad.save([object()], path)
    assert minigrad.load(path) == [1] and os.listdir(tmp_path) == ["m"]


def test_files_that_are_open_take_and_give_it_too(tmp_path):
    obj = checkpoint()
    for name, opened in [("a", open), ("b", gzip.open)]:
        with opened(tmp_path / name, "wb") as f:
            minigrad.save(obj, f)
        with opened(tmp_path / name, "rb") as f:
            assert same(minigrad.load(f), obj)
    with zipfile.ZipFile(tmp_path / "z", "w") as z:
        with z.open("inner", "w") as f:
            minigrad.save(obj, f)
        with z.open("inner") as f:
            assert same(minigrad.load(f), obj)


def test_a_raw_file_that_takes_a_little_at_a_time_gets_it_all():
    class Slow(io.RawIOBase):
        got = b""

        def write(self, data):
            self.got += bytes(data[:100])
            return min(len(data), 100) if len(self.got) % 300 else None

    f = Slow()
    minigrad.save(minigrad.ones(40), f)
    assert f.got.startswith(saved(minigrad.ones(40))[:100]) and len(f.got) >= len(saved(minigrad.ones(40)))


def test_what_is_neither_path_nor_binary_file_is_refused(tmp_path):
    for f in (io.StringIO(), (tmp_path / "t").open("w+")):
        with f:
            with pytest.raises(TypeError, match="got one opened as text; open it with mode 'wb'"):
                minigrad.save(1, f)
            with pytest.raises(
                TypeError, match="expected a file of bytes, got str from it; open it with mode 'rb'"
            ):
                minigrad.load(f)
    with pytest.raises(TypeError, match="expected a path or a binary file, got int 7"):
        minigrad.load(7)
    with pytest.raises(TypeError):
        minigrad.save(1, 7)
    with pytest.raises(FileNotFoundError):
        minigrad.load(tmp_path / "missing")


def test_loaded_tensors_are_copies_and_mapped_ones_are_private(tmp_path):
    path = tmp_path / "m"
    minigrad.save({"t": minigrad.zeros(3), "a": np.array([1j])}, path)
    before = path.read_bytes()
    for options in ({}, {"mmap": False}, {"mmap": True}):
        got = minigrad.load(path, **options)
        got["t"] += 1
        got["a"] += 1
        assert path.read_bytes() == before
    with pytest.raises(ValueError, match="mmap=True needs a path, got BytesIO"):
        minigrad.load(io.BytesIO(before), mmap=True)


@pytest.mark.usefixtures("nothing_compiles")
def test_a_mapped_file_is_not_read_until_it_is_touched(tmp_path):
    path, n = tmp_path / "m", 2**28
    header = next(pieces({"x": np.broadcast_to(np.float32(0), n)}))
    with open(path, "wb") as f:
        f.write(header)
        f.truncate(len(header) + 4 * n)
    tracemalloc.start()
    start = time.perf_counter()
    assert minigrad.load(path, mmap=True)["x"][-1].item() == 0.0
    assert time.perf_counter() - start < 1.0 and tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_weights_only_makes_no_difference():
    assert back([1], weights_only=False) == back([1], weights_only=True) == [1]


# ---- devices


class FarArray:
    """An array of another module: all that moving needs."""

    def __init__(self, here):
        self.here, self.shape, self.dtype, self.ndim = here, here.shape, here.dtype, here.ndim


@pytest.fixture
def far():
    class Module:
        may_share_memory = staticmethod(lambda a, b: False)

    backend.register_array_module("far", Module, FarArray, from_numpy=FarArray, to_numpy=lambda a: a.here)
    yield
    backend.MODULES.pop("far", None)
    backend.BY_TYPE.pop(FarArray, None)


def test_tensors_go_back_to_their_device_or_where_map_location_says(far):
    t = minigrad.tensor([1.0]).to("far")
    data = saved([t, t.detach(), minigrad.tensor([2.0])])

    def devices(**options):
        return [x.device.type for x in minigrad.load(io.BytesIO(data), **options)]

    assert devices() == ["far", "far", "cpu"]
    for where in ("cpu", minigrad.device("cpu"), lambda t, location: t):
        assert devices(map_location=where) == ["cpu", "cpu", "cpu"]
    assert devices(map_location={"cpu": "far"}) == ["far"] * 3
    assert devices(map_location={"far": "cpu"}) == ["cpu"] * 3
    assert devices(map_location=lambda t, location: None) == ["far", "far", "cpu"]
    a, b, _ = minigrad.load(io.BytesIO(data))
    assert a._array is b._array  # tied there, too


def test_a_device_that_is_not_here_asks_for_map_location(far):
    data = saved(minigrad.tensor([1.0]).to("far"))
    del backend.MODULES["far"]
    with pytest.raises(
        SafetensorsError, match=r"tensor 'tensor': it was saved on 'far', .* pass map_location='cpu'"
    ):
        minigrad.load(io.BytesIO(data))
    assert minigrad.load(io.BytesIO(data), map_location="cpu").item() == 1.0
    with pytest.raises(RuntimeError, match="device 'far' is not available"):
        minigrad.load(io.BytesIO(data), map_location="far")
    with pytest.raises(TypeError, match="map_location to be None, a device, a dict or a function, got int 3"):
        minigrad.load(io.BytesIO(data), map_location=3)
    with pytest.raises(TypeError, match="map_location to return a Tensor or None, got int 3"):
        minigrad.load(io.BytesIO(data), map_location=lambda t, location: 3)


# ---- what can't be saved


class Model:
    def state_dict(self):
        return {}


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize("obj, text", [
    ({"optimizer": {"state": [{"f": print}]}}, r"obj\['optimizer'\]\['state'\]\[0\]\['f'\]: can't save .*print"),
    (object(), r"save: obj: can't save object .*: leave it out, or save the numbers"),
    ([Model()], r"obj\[0\]: can't save .*Model.* save its state_dict\(\)"),
    (({1: Point(1, 2)},), r"obj\[0\]\[1\]: .*Point.* convert it with tuple\("),
    (defaultdict(list), r"obj: can't save collections.defaultdict.* convert it with dict\("),
    ([errno.ENOENT, type("Id", (int,), {})(3)], r"obj\[1\]: .*Id 3; .* convert it with int\("),
    (np.ma.masked_array([1], [True]), r"MaskedArray of int64 .* convert it with numpy.asarray"),
    (np.array([None]), r"numpy.ndarray of object"),
    (np.zeros(1, "i4,i4"), r"numpy.ndarray of \[\('f0'"),
    (np.zeros(1, "i4,i4")[0], r"numpy.void of"),
    (np.longdouble(1), r"of float128|of longdouble"),
    (np.dtype("O"), r"dtype"),
    (type("Sub", (Tensor,), {})(2), r"Sub .* save its detach\(\)"),
    (frozenset([1]), r"can't save frozenset"),
    ({b"k": 1}, r"save: obj: expected keys .* got bytes b'k'"),
    ({"a": {(1, print): 1}}, r"save: obj\['a'\]\[.*\]\[1\]: can't save"),
    ({minigrad.float32}, r"members of sets .* got dtype minigrad.float32"),
])  # fmt: skip
def test_what_cannot_be_saved_is_named_by_its_place_with_the_remedy(obj, text, tmp_path):
    with pytest.raises(TypeError, match=text):
        minigrad.save(obj, tmp_path / "m")
    assert not os.listdir(tmp_path)


def test_modules_and_optimizers_are_told_to_save_their_state():
    with pytest.raises(TypeError, match=r"minigrad.nn.*Linear.*save its state_dict\(\)"):
        saved({"model": nn.Linear(1, 1)})


def nested(depth, leaf, kind=list):
    for _ in range(depth):
        leaf = kind([leaf]) if kind is not dict else {1: leaf}
    return leaf


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_structures_are_at_most_100_levels_deep(kind):
    for leaf in (1, INF, []):
        assert same(back(nested(100, leaf, kind)), nested(100, leaf, kind))
    with pytest.raises(ValueError, match=r"save: obj\[.*: expected at most 100 levels of nesting"):
        saved(nested(101, [], kind))


def test_a_structure_that_contains_itself_and_one_too_long_for_a_header_are_refused(monkeypatch):
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="doesn't contain itself"):
        saved(loop)
    monkeypatch.setattr("minigrad.io.safetensors.MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="keep numbers in tensors"):
        saved([0.5] * 1000)


# ---- what can't be loaded


def test_pickles_are_refused_with_the_remedy(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(
        SafetensorsError, match=r"model\.pt: .* as torch\.save writes .*safetensors.torch.save_file"
    ):
        minigrad.load(path)
    path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(SafetensorsError, match=r"a pickle, as torch\.save once wrote"):
        minigrad.load(path, weights_only=False)
    torch = pytest.importorskip("torch")
    for new in (True, False):
        torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=new)
        with pytest.raises(SafetensorsError, match="can run code and is not read here"):
            minigrad.load(path)


def with_structure(structure, tensors=None):
    text = structure if isinstance(structure, str) else json.dumps({"version": 1, "object": structure})
    return b"".join(pieces(tensors or {}, {"minigrad": text}))


T = {"t": np.zeros(4, np.uint8), "f": np.zeros(2, np.float32), "u": np.zeros(1, np.uint16)}


@pytest.mark.parametrize("structure, text", [
    ("[]", r"a structure with version and object, got \[\]"),
    ('{"version":2,"object":null}', "expected version 1 of the structure, got 2; a newer minigrad"),
    ('{"version":1,"object":[1,}', "valid JSON in the structure"),
    ('{"version":1,"object":NaN}', "plain JSON in the structure"),
    ('{"version":1,"object":{"a":1,"a":2}}', "duplicate key in the structure"),
    ('{"version":1,"object":' + "[" * 5000 + "]" * 5000 + "}", "at most 308 levels"),
    (nested(103, 0), "at most 100 levels"),
    ({}, "whose first key is a type it may have, got {}"),
    ({"exec": "x"}, "whose first key is a type"),
    ({"tuple": [], "more": 1}, "whose first key is a type"),
    ({"requires_grad": True, "Tensor": "t"}, "whose first key is a type"),
    ({"tuple": {}}, "a list for a tuple, got {}"),
    ({"set": {}}, "a list for a set"),
    ({"Size": ["a"]}, "a Size of ints"),
    ({"dict": 1}, "an object or a list of pairs for a dict, got 1"),
    ({"dict": [[1]]}, "a list of pairs"),
    ({"dict": [[1, 2], [True, 3]]}, "each key of a dict once"),
    ({"dict": [[[], 2]]}, "a key that is a string, a number, None or a tuple"),
    ({"set": [{"dict": {}}]}, "a key that is"),
    ({"int": "12"}, "a hexadecimal int"),
    ({"int": 12}, "a hexadecimal int"),
    ({"float": "7f"}, "8 bytes for float"),
    ({"float": "zz"}, "hexadecimal for float"),
    ({"complex": None}, "hexadecimal for complex"),
    ({"bytes": ["00"]}, "hexadecimal for bytes"),
    ({"scalar": "f4"}, "a dtype and bytes"),
    ({"scalar": ["<f4", "00"]}, "the bytes of a scalar"),
    ({"scalar": ["|b1", "02"]}, "the bytes of a scalar"),
    ({"scalar": ["O", "00"]}, "the name of a NumPy dtype, got 'O'"),
    ({"numpy.dtype": "f4"}, "the name of a NumPy dtype, got 'f4'"),
    ({"numpy.dtype": "<U999999999"}, "the name of a NumPy dtype"),
    ({"numpy.dtype": "float64"}, "the name of a NumPy dtype"),
    ({"numpy.dtype": "arctan2"}, "the name of a NumPy dtype"),
    ({"numpy.dtype": "int7"}, "NumPy has no int7 of its own"),
    ({"numpy.dtype": 4}, "the name of a NumPy dtype"),
    ({"dtype": "float128"}, "the name of a dtype"),
    ({"device": "mars"}, "a device's name, got 'mars'"),
    ({"device": 1}, "a device's name"),
    ({"device": "cuda:" + "9" * 5000}, "a device's name"),
    ({"same": 0}, "a tensor that came before"),
    ([{"Tensor": "t"}, {"same": True}], "a tensor that came before"),
    ([{"Tensor": "t"}, {"same": -1}], "a tensor that came before"),
    ({"Tensor": "x"}, "the name of a tensor in the file, got 'x'"),
    ({"Tensor": 1}, "a tensor's name"),
    ({"Tensor": "t", "requires_grad": 1}, "requires_grad true or false"),
    ({"Tensor": "t", "requires_grad": True}, "requires_grad for a floating-point tensor"),
    ({"Tensor": "t", "device": 1}, "a device's name"),
    ({"Tensor": "t", "device": "mars"}, "saved on 'mars'"),
    ({"Tensor": "u"}, "can't hold uint16"),
    ({"ndarray": ["t"]}, "the name of a tensor"),
    ({"ndarray": "t", "dtype": "<c16", "shape": [1]}, r"the bytes of an array <c16 \[1\], got 'uint8 \(4,\)'"),
    ({"ndarray": "f", "dtype": "<c8", "shape": [1]}, "the bytes of an array"),
    ({"ndarray": "t", "dtype": "<c8"}, "a shape of non-negative integers"),
    ({"ndarray": "t", "dtype": ">i2", "shape": [-2]}, "a shape of non-negative"),
    ({"ndarray": "t", "dtype": ">i2", "shape": [True, 2]}, "a shape of non-negative"),
    ({"ndarray": "t", "dtype": "|b1", "shape": [4]}, "values of .b1"),
    ({"ndarray": "t", "dtype": ">i2", "shape": [2] + [1] * 70}, "a shape that NumPy can hold"),
    ({"ndarray": "t", "shape": [4]}, "the name of a NumPy dtype"),
    ([{"Tensor": "t"}], r"every tensor of the file in its structure, got 'not there: f'"),
])  # fmt: skip
def test_a_structure_that_breaks_a_rule_is_refused(structure, text):
    data = with_structure(structure, T)
    with pytest.raises(SafetensorsError, match=text):
        minigrad.load(io.BytesIO(data))


def test_characters_beyond_unicode_and_empty_shapes_beyond_numpy_are_refused():
    tensors = {"t": np.full(4, 255, np.uint8), "e": np.zeros(0, np.uint8)}
    with pytest.raises(SafetensorsError, match="values of <U1"):
        minigrad.load(io.BytesIO(with_structure({"ndarray": "t", "dtype": "<U1", "shape": [1]}, tensors)))
    for shape in ([0, 2**62, 2**62], [0, 2**70]):
        with pytest.raises(SafetensorsError, match="a shape that NumPy can hold"):
            minigrad.load(
                io.BytesIO(with_structure({"ndarray": "e", "dtype": "<U1", "shape": shape}, tensors))
            )


# ---- 10,000 mutants

HOSTILE = [None, True, -1, 0, 1, 2**31, 2**63, 2**64, -(2**70), 1e308, 0.5, "", "x", "U8", "F64", "BOOL", "<U9", [], {},
           [2**62, 2**62], [[[[]]]], {"same": 0}, {"Tensor": "tensor"}, {"dict": []}]  # fmt: skip


def mutate_json(rng, node):
    """One random edit somewhere in parsed JSON."""
    if isinstance(node, (dict, list)) and node and rng.random() < 0.85:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        edit = rng.random()
        if edit < 0.75:
            node[key] = mutate_json(rng, node[key])
        elif edit < 0.85:
            del node[key]
        elif isinstance(node, list):
            node.insert(key, rng.choice([node[key], *HOSTILE]))
        else:
            node[rng.choice(["", "x", key + "~1", "dtype", "shape", "__metadata__"])] = node[key]
        return node
    if isinstance(node, int) and rng.random() < 0.5:
        return node + rng.choice([-8, -1, 1, 8])
    return json.loads(json.dumps(rng.choice(HOSTILE)))


def split(data):
    n = int.from_bytes(data[:8], "little")
    return data[8 : 8 + n], data[8 + n :]


def joined(header, body):
    return len(header).to_bytes(8, "little") + header + body


def mutant(rng, corpus):
    data = bytearray(rng.choice(corpus))
    header, body = split(bytes(data))
    kind = rng.randrange(8)
    if kind == 0:  # flipped bits
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:  # a piece of this or another file, put in or over
        other = rng.choice(corpus)
        i, j, n = rng.randrange(len(other)), rng.randrange(len(data)), rng.randrange(1, 64)
        data[j : j + rng.choice([0, n])] = other[i : i + n]
    elif kind == 3:
        data[:8] = rng.choice([len(header) + rng.randrange(-9, 9), rng.getrandbits(64), 2**63, 0]).to_bytes(
            8, "little"
        )
    elif kind == 4:  # bytes of the header, its length put right
        text = bytearray(header)
        for _ in range(rng.choice([1, 1, 4])):
            i = rng.randrange(len(text))
            text[i : i + rng.randrange(3)] = rng.choice(b'{}[]",:0129-e\\\xff\x00 NaU').to_bytes()
        return joined(bytes(text), body)
    elif kind == 5:  # the header's JSON
        return joined(json.dumps(mutate_json(rng, json.loads(header))).encode(), body)
    else:  # the structure's JSON
        table = json.loads(header)
        text = table["__metadata__"]["minigrad"]
        if kind == 6:
            i = rng.randrange(len(text))
            text = text[:i] + rng.choice('{}[]",:0129-eU') + text[i + rng.randrange(3) :]
        else:
            text = json.dumps(mutate_json(rng, json.loads(text)))
        table["__metadata__"]["minigrad"] = text
        return joined(json.dumps(table).encode(), body)
    return bytes(data)


def touch(obj, limit):
    """Reads everything there is; returns how many levels there are."""
    if isinstance(obj, (Tensor, np.ndarray)):
        array = obj._array if isinstance(obj, Tensor) else obj
        assert array.nbytes <= limit and len(array.tobytes()) == array.nbytes
        if array.dtype == bool:
            assert set(array.view(np.uint8).ravel().tolist()) <= {0, 1}
        array.tolist()
    elif isinstance(obj, dict):
        for k, v in obj.items():
            touch(k, limit), touch(v, limit)
    elif isinstance(obj, (list, tuple, set)):
        for x in obj:
            touch(x, limit)


@pytest.mark.usefixtures("nothing_compiles")
def test_10_000_mutated_files_load_within_their_bytes_or_raise_the_one_error(tmp_path):
    rng = random.Random(0)
    corpus = [
        saved(checkpoint()),
        saved({"w": minigrad.arange(300.0), "b": minigrad.tensor([True, False])}),
        saved(
            [np.array(["ab", "c"]), np.arange(4) * 1j, np.zeros(0, "U2"), {1: (2.5, {3})}, minigrad.Size([1])]
        ),
        saved({"all": VALUES[:9] + VALUES[10:]}),
    ]
    path, loaded, refused, slowest, largest = tmp_path / "m", 0, 0, 0.0, 0
    for i in range(10_000):
        data = mutant(rng, corpus)
        if on_disk := i % 10 == 0:
            path.write_bytes(data)
        if traced := i % 7 == 0:  # tracing all would take long
            tracemalloc.start()
        start = time.process_time()
        try:
            touch(
                minigrad.load(path, mmap=i % 20 == 0) if on_disk else minigrad.load(io.BytesIO(data)),
                len(data),
            )
            loaded += 1
        except SafetensorsError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
        if traced:
            largest = max(largest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert loaded > 500 < refused, (loaded, refused)  # the mutants reach both sides
    assert slowest < 1.0 and largest < 3_000_000, (slowest, largest)


def test_a_file_that_promises_more_than_memory_allocates_nothing():
    code = (
        "import resource, io, json, minigrad\n"
        "limit = 2**30; resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for shape in ([2**40], [2**60], [2**31, 2**31]):\n"
        "    n = shape[0] * (shape[1] if len(shape) > 1 else 1)\n"
        "    h = json.dumps({'a': {'dtype': 'U8', 'shape': shape, 'data_offsets': [0, n]}}).encode()\n"
        "    try: minigrad.load(io.BytesIO(len(h).to_bytes(8, 'little') + h))\n"
        "    except minigrad.io.SafetensorsError as e: print('truncated' in str(e))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["True"] * 3, run.stderr


def test_a_structure_reaches_nothing_but_the_types_it_may_have():
    for tag in {*dir(saving._Reader), *dir(saving), "__class__"} - saving._DECODE.keys():
        with pytest.raises(SafetensorsError, match="first key is a type"):
            minigrad.load(io.BytesIO(with_structure({tag: 1})))
