"""The safetensors reader and writer: lazy, exact, and strict about every byte of the header."""

import json
import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad
from minigrad.io import SafetensorsError, load_file, safe_open, save_file
from minigrad.io import safetensors as module
from minigrad.io.safetensors import load, save

PLAIN = ["uint64", "int64", "float64", "complex64", "float32", "uint32", "int32", "float16", "uint16", "int16",
         "int8", "uint8", "bool"]  # fmt: skip
EXTRA = ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu"]


def dtype_named(name):
    return np.dtype(name) if name in PLAIN else np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))


def file_of(header, data=b"", length=None):
    """A file's bytes from a header given as a dict, text or bytes."""
    text = json.dumps(header) if isinstance(header, dict) else header
    text = text.encode() if isinstance(text, str) else text
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="U8", shape=(4,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- round trips


@pytest.mark.parametrize("name", PLAIN + EXTRA)
def test_every_dtype_of_the_format_comes_back_bit_for_bit(name, path):
    kind = dtype_named(name)
    raw = np.arange(48, dtype=np.uint8).repeat(8)
    array = (raw % 2 if name == "bool" else raw).view(kind).reshape(2, 3, -1)
    save_file({"x": array, "0d": array[0, 0, 0], "empty": array[:0]}, path)
    got = load_file(path, framework="numpy")
    assert same(got["x"], array) and same(got["0d"], array[0, 0, 0]) and same(got["empty"], array[:0])


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8",
                                  "uint8", "bool"])  # fmt: skip
def test_every_dtype_of_tensors_comes_back_as_a_tensor(name, path):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    t = minigrad.tensor([[0.0, 1.0], [1.0, 0.0]]).to(getattr(minigrad, name))
    save_file({"t": t}, path)
    got = load_file(path)["t"]
    assert isinstance(got, minigrad.Tensor) and got.dtype is t.dtype and got.tolist() == t.tolist()


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda n: n != "__metadata__"),
        hnp.arrays(st.sampled_from([np.dtype(d) for d in PLAIN]), hnp.array_shapes(min_dims=0, min_side=0)),
        max_size=5,
    ),
    st.none()
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text('aé\0"\\'), max_size=3),
)
def test_any_names_shapes_and_metadata_come_back(arrays, metadata):
    data = save(arrays, metadata)
    got = load(data, framework="numpy")
    assert got.keys() == arrays.keys() and all(same(got[k], arrays[k]) for k in arrays)
    assert safe_open.over(data, "bytes").metadata() == metadata


@given(hnp.arrays(np.int32, hnp.array_shapes(max_dims=3, min_side=2)), st.data())
def test_strided_tensors_are_written_row_major(array, data):
    view = array.T[:: data.draw(st.sampled_from([1, -1, 2]))]
    assert same(load(save({"x": view}), framework="numpy")["x"], np.ascontiguousarray(view))


def test_foreign_byte_order_is_written_as_little_endian():
    a = np.arange(5, dtype=">i4")
    assert save({"a": a}) == save({"a": a.astype("<i4")})


def test_on_a_big_endian_machine_bytes_are_swapped_both_ways(monkeypatch):
    a = {"a": np.arange(5, dtype=np.int32), "b": np.ones(2, np.complex64)}
    little, swapped = save(a), save({k: v.byteswap() for k, v in a.items()})
    monkeypatch.setattr(module, "_BIG_ENDIAN", True)
    assert save(a) == swapped != little
    got = load(save(a), framework="numpy")
    assert same(got["a"], a["a"]) and same(got["b"], a["b"])
    assert load(little, framework="numpy")["a"].tolist() == a["a"].byteswap().tolist()


def test_the_same_tensors_give_the_same_aligned_bytes_in_any_order():
    a = {"b": np.zeros(3, np.int8), "a": np.zeros(1, np.float64), "c": np.zeros(3, np.int16)}
    data = save(a, {"k": "v"})
    assert data == save(dict(reversed(a.items())), {"k": "v"})
    header = int.from_bytes(data[:8], "little")
    assert header % 8 == 0 and json.loads(data[8 : 8 + header])["a"]["data_offsets"] == [0, 8]


def test_requires_grad_is_no_obstacle_to_saving():
    t = minigrad.tensor([1.0], requires_grad=True)
    assert load(save({"t": t, "y": t * 2}))["y"].tolist() == [2.0]


# ---- against the library


def test_bytes_are_the_librarys_and_either_reads_the_other(path):
    theirs = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {
        f"{d}.{n}": rng.integers(0, 2, s).astype(d) for d in PLAIN for n, s in enumerate([(), (0, 3), (2, 5)])
    }
    data = save(arrays, {"format": "np"})
    assert data == theirs.save(arrays, {"format": "np"})
    assert all(same(v, arrays[k]) for k, v in theirs.load(data).items())
    theirs.save_file(arrays, path, {"format": "np"})
    got = load_file(path, framework="numpy")
    assert got.keys() == arrays.keys() and all(same(got[k], arrays[k]) for k in arrays)


def test_safe_open_answers_as_the_librarys_does(path):
    library = pytest.importorskip("safetensors")
    save_file({"b": np.arange(6.0).reshape(2, 3), "a": np.arange(3)}, path, {"k": "v"})
    with library.safe_open(path, "np") as theirs, safe_open(path, "np") as ours:
        assert ours.keys() == theirs.keys() and ours.offset_keys() == theirs.offset_keys()
        assert ours.metadata() == theirs.metadata()
        s, t = ours.get_slice("b"), theirs.get_slice("b")
        assert s.get_shape() == t.get_shape() and s.get_dtype() == t.get_dtype()
        assert (s[1:, :2] == t[1:, :2]).all() and (ours.get_tensor("a") == theirs.get_tensor("a")).all()


def test_what_torch_saves_is_read_and_what_we_save_torch_reads(path):
    theirs = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    kinds = [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bool, torch.uint16]
    tensors = {str(k): torch.tensor([[0.0, 1.0], [1.0, 1.0]]).to(k) for k in kinds}
    theirs.save_file(tensors, path)
    arrays = load_file(path, framework="numpy")
    back = theirs.load(save(arrays))
    for k, t in tensors.items():
        assert arrays[k].astype(np.float32).tolist() == t.float().tolist()
        assert back[k].dtype == t.dtype and back[k].float().tolist() == t.float().tolist()


# ---- laziness


@pytest.mark.usefixtures("nothing_compiles")
def test_opening_a_sparse_file_of_1_gb_is_quick_and_takes_no_memory(path):
    size = 2**30
    with open(path, "wb") as f:
        header = json.dumps({"w": entry("F32", (2**14, 2**14), (0, size))})
        f.write(file_of(header + " " * (-len(header) % 8)))
        f.truncate(f.tell() + size)
    tracemalloc.start()
    start = time.perf_counter()
    with safe_open(path) as f:
        row = f.get_slice("w")[5]
        whole = f.get_tensor("w")
    assert row.tolist() == [0.0] * 2**14 and whole.shape == (2**14, 2**14)
    assert time.perf_counter() - start < 1.0
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_writes_to_a_tensor_stay_in_memory(path):
    save_file({"a": np.zeros(3, np.float32)}, path)
    before = path.read_bytes()
    with safe_open(path) as f:
        t = f.get_tensor("a")
    t += 1
    assert t.tolist() == [1.0, 1.0, 1.0] and path.read_bytes() == before
    assert load_file(path)["a"].tolist() == [0.0, 0.0, 0.0]


def test_tensors_outlive_the_block_and_a_replaced_file(path):
    save_file({"a": np.arange(3)}, path)
    a = load_file(path)["a"]
    save_file({"a": np.zeros(3)}, path)
    assert a.tolist() == [0, 1, 2]


def test_load_gives_copies(path):
    data = save({"a": np.zeros(3)})
    t = load(data)["a"]
    t += 1
    assert load(data)["a"].tolist() == [0, 0, 0]


def test_data_that_isnt_aligned_is_copied_into_place(path):
    path.write_bytes(
        file_of('{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}  ', np.arange(2.0).tobytes())
    )
    a = load_file(path, framework="numpy")["a"]
    assert a.flags.aligned and a.tolist() == [0.0, 1.0]


def test_a_file_is_a_collection_of_names(path):
    save_file({"b": np.zeros(1), "a": np.zeros(1, np.float32)}, path)
    with safe_open(path, framework="pt", device="cpu") as f:
        assert list(f) == ["a", "b"] and f.offset_keys() == ["b", "a"] and len(f) == 2
        assert "a" in f and "c" not in f and f.metadata() is None
        assert isinstance(f.get_tensor("a"), minigrad.Tensor)


def test_an_empty_file_of_no_tensors_is_valid():
    assert load(file_of({})) == {} and load(save({})) == {}
    assert safe_open.over(save({}, {}), "x").metadata() == {}


# ---- wrong use


def test_a_wrong_name_suggests_the_nearest(path):
    save_file({"fc1.weight": np.zeros(1)}, path)
    with safe_open(path) as f:
        with pytest.raises(
            KeyError, match=r"one of its 1 tensors, got 'fc1.wieght'; did you mean 'fc1.weight'"
        ):
            f.get_tensor("fc1.wieght")
        with pytest.raises(KeyError, match=r"keys\(\) lists"):
            f.get_slice("zzz")
    with pytest.raises(ValueError, match="the file is closed"):
        f.get_tensor("fc1.weight")


def test_what_cannot_be_opened_raises_the_usual_types(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_file(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="got a folder; name a file inside it"):
        load_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SafetensorsError, match="got a device or pipe"):
        load_file(tmp_path / "pipe")
    with pytest.raises(TypeError, match="load_file takes a path"):
        load("model.safetensors")
    with pytest.raises(ValueError, match="expected 'minigrad', 'pt' or 'numpy', got 'flax'"):
        load(save({}), framework="flax")
    with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
        safe_open(__file__, device="cuda")


def test_a_dtype_that_only_arrays_have_is_refused_for_tensors_with_the_remedy():
    with pytest.raises(
        SafetensorsError, match=r"tensor 'x': a Tensor can't hold uint16; .*framework='numpy'"
    ):
        load(save({"x": np.zeros(1, np.uint16)}))


def test_a_dtype_of_ml_dtypes_without_it_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(SafetensorsError, match=r"NumPy has no bfloat16 of its own; pip install"):
        load(file_of({"x": entry("BF16", (2,))}, bytes(4)))


def test_what_cannot_be_written_is_refused_before_a_file_is_made(path):
    for tensors, metadata, kind, text in [
        ([1], None, TypeError, "expected a dict of names to tensors, got list"),
        ({1: np.zeros(1)}, None, TypeError, "expected names that are strings"),
        ({"__metadata__": np.zeros(1)}, None, ValueError, "that isn't __metadata__"),
        ({"\ud800": np.zeros(1)}, None, ValueError, "that UTF-8 can hold"),
        ({"a": 1.0}, None, TypeError, "tensor 'a': expected a Tensor or a NumPy array, got float 1.0"),
        ({"a": np.zeros(1, complex)}, None, TypeError, "no dtype for complex128; expected one of .*astype"),
        ({"a": np.array(["x"])}, None, TypeError, "no dtype for <U1"),
        ({"a": np.zeros(1, "i4,i4")}, None, TypeError, "no dtype for"),
        ({}, {"a": 1}, TypeError, "metadata of strings to strings, got 'a': 1"),
        ({}, {"a": "\ud800"}, TypeError, "metadata of strings to strings"),
        ({}, ["a"], TypeError, "metadata that maps strings to strings, got list"),
    ]:
        with pytest.raises(kind, match=text):
            save_file(tensors, path, metadata)
    assert not path.exists()


def test_a_header_over_the_cap_is_neither_written_nor_read(monkeypatch):
    data = save({}, {"k": "v" * 200})
    monkeypatch.setattr(module, "MAX_HEADER", 100)
    with pytest.raises(ValueError, match="of at most 100 bytes together, got 232; keep numbers in tensors"):
        save({}, {"k": "v" * 200})
    with pytest.raises(SafetensorsError, match="a header length of at most 100"):
        load(data)


# ---- damaged and hostile files

ONE = entry()
HEADERS = [  # header, data, what is said
    ({"a": ONE, "b": entry(offsets=(2, 6))}, bytes(6), "overlap between 'a' and 'b'.* begin at 4, got 2"),
    ({"a": ONE, "b": ONE}, bytes(4), "overlap between 'a' and 'b'"),
    ({"a": ONE, "b": entry(offsets=(6, 10))}, bytes(10), "gap between 'a' and 'b'.* begin at 4, got 6"),
    ({"a": entry(offsets=(1, 5))}, bytes(5), "gap between the header and 'a'"),
    ({"a": entry(shape=(0,), offsets=(9, 9))}, bytes(9), "gap"),
    ({"a": ONE}, bytes(5), "trailing bytes: expected 4 bytes of data after the header, got 5"),
    ({"a": ONE}, bytes(3), "truncated: expected 4 .* got 3"),
    ({}, b"x", "trailing bytes"),
    ('{"a":%s,"a":%s}' % ((json.dumps(ONE),) * 2), bytes(4), "duplicate key in the header.* got 'a' twice"),
    ('{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', bytes(1), "duplicate key"),
    ('{"__metadata__":{"k":"1","k":"2"}}', b"", "duplicate key"),
    ({"a": entry(shape=(5,))}, bytes(4), r"U8 of shape \(5,\) takes 5 bytes, but data_offsets \[0, 4\] give 4"),
    ({"a": entry("F32")}, bytes(4), "takes 16 bytes"),
    ({"a": entry(offsets=(4, 0))}, bytes(4), "give -4"),
    ({"a": entry(shape=(-4,))}, bytes(4), r"non-negative integers, got \[-4\]"),
    ({"a": entry(shape=(-2, -2))}, bytes(4), "non-negative integers"),
    ({"a": entry(offsets=(-4, 0))}, bytes(4), "two non-negative integers"),
    ({"a": entry(shape=(2**40, 2**40, 0), offsets=(0, 0))}, b"", "can be counted in 63 bits"),
    ({"a": entry(shape=(2**32, 2**32))}, bytes(4), "can be counted in 63 bits"),
    ({"a": entry(shape=(2**64,))}, bytes(4), "non-negative integers"),
    ({"a": entry(shape=(1,) * 65, offsets=(0, 1))}, bytes(1), "at most 64"),
    ('{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,4]}}' % ("9" * 5000), bytes(4), "valid JSON"),
    ('{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,4]}}', bytes(4), r"got \[inf\]"),
    ({"a": entry(shape=(4.0,))}, bytes(4), r"got \[4.0\]"),
    ({"a": entry(shape=(True, 4))}, bytes(4), r"got \[True, 4\]"),
    ({"a": entry(shape=("4",))}, bytes(4), "non-negative integers"),
    ({"a": {**ONE, "shape": 4}}, bytes(4), "got 4"),
    ({"a": {**ONE, "shape": None}}, bytes(4), "got None"),
    ({"a": entry(offsets=(0, 4, 4))}, bytes(4), "data_offsets of two"),
    ({"a": {**ONE, "data_offsets": {"0": 0}}}, bytes(4), "data_offsets of two"),
    ({"a": {**ONE, "more": 1}}, bytes(4), "expected an object with dtype, shape and data_offsets"),
    ({"a": {"dtype": "U8", "shape": [4]}}, bytes(4), "expected an object with dtype"),
    ({"a": [0, 4]}, bytes(4), r"got \[0, 4\]"),
    ({"a": entry("U9")}, bytes(4), "expected a dtype among .*; got 'U9'; convert the tensor"),
    ({"a": entry("u8")}, bytes(4), "got 'u8'"),
    ({"a": entry(["U8"])}, bytes(4), "expected a dtype among"),
    ({"a": entry("F4", (8,))}, bytes(4), "got elements packed below a byte"),
    ({"a": entry("BOOL")}, b"\0\1\2\0", "bytes of BOOL to be 0 or 1, got 2"),
    ({"__metadata__": {"k": 1}}, b"", "__metadata__ to map strings to strings"),
    ({"__metadata__": None}, b"", "__metadata__ to map strings to strings, got None"),
    ({"__metadata__": {"k": "\ud800"}}, b"", "__metadata__ to map"),
    ({"\ud800": ONE}, bytes(4), "an unpaired surrogate"),
    (b'{"\xff":1}', b"", "in UTF-8, got byte 0xff at 2"),
    ("[]", b"", r"a JSON object from its first byte, got \[\]"),
    ("7", b"", "a JSON object"),
    ("null", b"", "a JSON object"),
    (" {}", b"", "from its first byte"),
    ("\ufeff{}", b"", "valid JSON"),
    ("", b"", "valid JSON"),
    ("{", b"", "valid JSON"),
    ("{'a':1}", b"", "valid JSON"),
    ("{} {}", b"", "valid JSON"),
    ('{"a":NaN}', b"", "plain JSON in the header, got NaN"),
    ('{"a":"\n"}', b"", "valid JSON"),
    ('{"a":' + "[" * 20_000 + "]" * 20_000 + "}", b"", "at most 8 levels of nesting"),
    ('{"a":' * 20_000, b"", "at most 8 levels"),
    ('"' * 3 + '\\"' * 20_000, b"", "valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(HEADERS)))
def test_a_header_that_breaks_a_rule_is_refused_by_name(i, path):
    header, data, text = HEADERS[i]
    path.write_bytes(file_of(header, data))
    with pytest.raises(SafetensorsError, match=rf"^.*model\.safetensors: (tensor '.*': )?.*{text}"):
        load_file(path, framework="numpy")
    with pytest.raises(SafetensorsError, match=text):
        load(path.read_bytes(), framework="numpy")


@pytest.mark.parametrize("header, data", [
    ({"a": entry(shape=(0, 2**61), offsets=(0, 0))}, b""),
    ({"a": entry(shape=(), offsets=(0, 1))}, b"x"),
    ({"": ONE, "b": entry(shape=(0,), offsets=(4, 4)), "c": entry(shape=(0,), offsets=(0, 0))}, b"abcd"),
    ({"a": entry(shape=(1,) * 64, offsets=(0, 1))}, b"x"),
    ("{} \n\t", b""),
    ({"__metadata__": {"[[[[[[[[[": "\\\"{{{{{{{{{{{{"}}, b""),
])  # fmt: skip
def test_what_the_format_allows_at_its_edges_is_read(header, data):
    load(file_of(header, data), framework="numpy")


@pytest.mark.parametrize("start, text", [
    (b"PK\3\4" + b"\0" * 40 + b"archive/data.pkl", "zip archive, as torch.save writes .*safetensors.torch.save_file"),
    (b"PK\3\4" + b"\0" * 40 + b"weight.npy", "npz archive: read it with numpy.load"),
    (b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a pickle, as torch.save once wrote"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY\1\0", r"\.npy file: read it with numpy.load"),
    (b"GGUF\3\0\0\0\1", "GGUF"),
    (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    (b"<!doctype HTML><title>404", "a web page"),
    (b"just a text", "a header length of at most 100,000,000.* cut short or isn't safetensors"),
    (b"", "at least the 8 bytes of a header's length, got 0"),
    (b"1234567", "got 7 bytes"),
    ((2**63).to_bytes(8, "little"), "at most the 0 bytes that follow it; got 9,223,372,036,854,775,808"),
])  # fmt: skip
def test_other_kinds_of_files_are_told_what_they_are(start, text, path):
    path.write_bytes(start)
    with pytest.raises(SafetensorsError, match=text):
        load_file(path)


def test_deep_nesting_is_refused_even_where_the_recursion_limit_was_lifted():
    code = (
        "import sys; sys.setrecursionlimit(10**8); from minigrad.io import safetensors as s\n"
        "text = b'{\"a\":' + b'[' * 1_000_000 + b']' * 1_000_000 + b'}'\n"
        "try: s.load(len(text).to_bytes(8, 'little') + text)\n"
        "except s.SafetensorsError as e: print(e)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "at most 8 levels" in run.stdout, (run.returncode, run.stderr)
