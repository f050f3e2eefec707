"""Readers: what they read exactly, and the one clear error for everything else."""

import gzip
import io
import struct

import numpy as np
import pytest

import minigrad
from minigrad.data import read_csv, read_idx, read_npy, read_npz

CODES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx(array, code=None):
    code = code or next(c for c, d in CODES.items() if np.dtype(d).newbyteorder("=") == array.dtype)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(CODES[code]).tobytes()


def write(folder, content, name="file.idx"):
    path = folder / name
    path.write_bytes(content)
    return path


# ---- IDX


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pack", [bytes, lambda b: gzip.compress(b)], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5), ()], ids=str)
def test_idx_of_every_dtype_reads_back(tmp_path, code, pack, shape):
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) * 3 - 5).astype(CODES[code])
    read = read_idx(write(tmp_path, pack(idx(array.astype(array.dtype.newbyteorder("=")), code))))
    assert read.dtype.numpy_dtype == array.dtype.newbyteorder("=") and read.shape == shape
    assert np.array_equal(np.asarray(read), array) and np.asarray(read).dtype.isnative


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected two zero bytes.*got an empty file"),
        (b"\0\0", "got 00 00"),
        (b"PK\3\4rest", "got 50 4b 03 04"),
        (b"\0\0\x0a\1" + bytes(8), "dtype codes 08, 09, 0B, 0C, 0D, 0E.*got 00 00 0a 01"),
        (b"\0\0\x08\xff" + bytes(2000), "at most 32 dimensions"),
        (GOOD[:9], "expected 2 sizes of 4 bytes, got 5 bytes"),
        (GOOD[:-1], r"expected 6 bytes of elements for shape \(2, 3\) of uint8, got 5"),
        (GOOD + b"x", "expected 6 bytes of elements.*got more than that"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + bytes(8), "expected [0-9,]{30,} bytes.*got 8"),
        (gzip.compress(GOOD, mtime=0)[:-9], "gzipped IDX.*expected a whole gzip stream"),
        (gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "expected a whole gzip stream, got CRC check failed"),
        (b"\x1f\x8b\x07" + bytes(20), "expected a whole gzip stream"),
        (gzip.compress(GOOD + b"x", mtime=0), "got more than that"),
    ],
)
def test_a_wrong_idx_file_gets_one_clear_error(tmp_path, content, text):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=text) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and "replace it by a whole copy" in str(caught.value)


def test_every_cut_of_an_idx_file_is_refused(tmp_path):
    for whole in (GOOD, gzip.compress(GOOD, mtime=0)):
        for end in range(len(whole)):
            with pytest.raises(ValueError, match="not a valid"):
                read_idx(write(tmp_path, whole[:end]))


def test_every_flipped_byte_of_a_gzip_is_refused_or_harmless(tmp_path):
    whole = gzip.compress(GOOD, mtime=0)
    for k in range(len(whole)):
        path = write(tmp_path, whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        try:
            read = read_idx(path)
        except ValueError as e:
            assert "not a valid" in str(e)
        else:  # the header's time, system or flags
            assert k < 10 and read.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("read", [read_idx, read_csv, read_npy, read_npz])
def test_a_missing_file_or_a_folder_is_told(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"nothing.here: no such file; expected a .* file there"):
        read(tmp_path / "nothing.here")
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        read(tmp_path)


# ---- CSV


def table(folder, text, name="table.csv", encoding="utf-8"):
    return write(folder, text.encode(encoding), name)


def test_a_table_of_numbers_is_one_tensor(tmp_path):
    read = read_csv(table(tmp_path, "a,b\n1,2.5\n\n-3e2,nan\n"))
    assert read.dtype is minigrad.get_default_dtype() and read.shape == (2, 2)
    assert np.array_equal(np.asarray(read), np.float32([[1, 2.5], [-300, np.nan]]), equal_nan=True)


def test_options_of_a_table(tmp_path):
    path = table(tmp_path, "1;2\r\n3;4\r\n")
    assert read_csv(path, delimiter=";", header=False, dtype=minigrad.int64).tolist() == [[1, 2], [3, 4]]
    path = table(tmp_path, "\ufeffa, b,c\n1,2,3\n")
    assert read_csv(path, columns=["c", "a", 1]).tolist() == [[3, 1, 2]]
    packed = write(tmp_path, gzip.compress(b"a\n7\n"), "table.csv.gz")
    assert read_csv(packed, dtype=np.uint8).tolist() == [[7]]
    latin = table(tmp_path, "größe\n1\n", encoding="latin-1")
    assert read_csv(latin, columns=["größe"], encoding="latin-1").tolist() == [[1]]
    assert read_csv(table(tmp_path, "a,b\n")).shape == (0, 2)


def test_dtypes_by_column_give_the_columns(tmp_path):
    path = table(tmp_path, 'x,label,name\n1.5,3,"a, b"\n2,4,"say ""hi"""\n')
    read = read_csv(path, dtype={"name": str, "label": minigrad.int64, 0: float})
    assert read["name"] == ["a, b", 'say "hi"'] and list(read) == ["name", "label", 0]
    assert read["label"].dtype is minigrad.int64 and read["label"].tolist() == [3, 4]
    assert read[0].tolist() == [1.5, 2.0]


def test_integers_are_exact(tmp_path):
    path = table(tmp_path, "a\n9007199254740993\n")
    assert read_csv(path, dtype=minigrad.int64).item() == 9007199254740993


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("", {}, "expected a table, got an empty file"),
        ("a,b\n1,2\n1\n", {}, "expected 2 fields, as in its first row, got 1 in line 3"),
        ("a,b\n1,2\n\n1,2,3\n", {}, "got 3 in line 4"),
        ("a,b\n1,2\n3,x\n", {}, r"expected a number, float, got 'x' in line 3, column 2 \(b\)"),
        ("a\n1.0\n", {"dtype": minigrad.int64}, r"expected a number, int, got '1.0' in line 2, column 1 \(a\)"),
        ("a,b\n1,2\n", {"header": False}, "'a' in line 1, column 1; pass header=True"),
        ("a\n300\n", {"dtype": minigrad.uint8}, "integers that uint8 holds, got 300"),
        ("a\n-99999999999999999999\n", {"dtype": minigrad.int64}, "int64 holds, got -99999999999999999999"),
        ('a\n"1\n', {}, "rows as in RFC 4180"),
        ("a,a\n1,2\n", {"columns": ["a"]}, "names that differ, got .'a'. more than once"),
    ],
)  # fmt: skip
def test_a_wrong_table_tells_line_and_column(tmp_path, text, options, expected):
    path = table(tmp_path, text)
    with pytest.raises(ValueError, match=expected) as caught:
        read_csv(path, **options)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("header", ["a,b\n", '"a","b"\n', ""])
def test_a_mark_of_byte_order_before_the_table_is_no_part_of_it(tmp_path, header):
    path = write(tmp_path, b"\xef\xbb\xbf" + f"{header}1,2\n".encode(), "marked.csv")
    columns = ["b", "a"] if header else [1, 0]
    assert read_csv(path, header=bool(header), columns=columns).tolist() == [[2, 1]]


def test_wrong_encodings_columns_and_delimiters(tmp_path):
    with pytest.raises(ValueError, match="expected text in utf-8, got byte 0xff"):
        read_csv(write(tmp_path, b"a\n\xff\n", "table.csv"))
    path = table(tmp_path, "a,b\n1,2\n")
    with pytest.raises(KeyError, match=r"no column 'z'; there are \['a', 'b'\]"):
        read_csv(path, columns=["z"])
    with pytest.raises(KeyError, match="2 columns and no names"):
        read_csv(path, columns=["a"], header=False)
    with pytest.raises(ValueError, match="delimiter is one character, got ',,'"):
        read_csv(path, delimiter=",,")
    with pytest.raises(ValueError, match="at least one column"):
        read_csv(path, columns=[])
    with pytest.raises(ValueError, match="whole gzip stream"):
        read_csv(write(tmp_path, gzip.compress(b"a\n" + b"1\n" * 99)[:-10], "t.gz"))


# ---- npy, npz


def saved(function, *arrays, **named):
    out = io.BytesIO()
    function(out, *arrays, **named)
    return out.getvalue()


def test_arrays_of_numpy_read_back(tmp_path):
    x, y = np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    assert np.array_equal(np.asarray(read_npy(write(tmp_path, saved(np.save, x)))), x)
    read = read_npy(write(tmp_path, saved(np.save, y)))
    assert np.array_equal(np.asarray(read), y) and read.dtype is minigrad.int32
    assert read_npy(write(tmp_path, saved(np.save, np.float32(3)))).shape == ()
    for save in (np.savez, np.savez_compressed):
        named = read_npz(write(tmp_path, saved(save, x=x, y=y)))
        assert list(named) == ["x", "y"] and named["y"].tolist() == y.tolist()


OBJECT = np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize(
    ("read", "content", "text"),
    [
        (read_npy, b"", "not a valid npy file"),
        (read_npy, saved(np.save, np.ones(9))[:-1], "expected whole arrays of numbers"),
        (read_npy, saved(np.save, OBJECT, allow_pickle=True), "without pickled objects"),
        (read_npy, saved(np.savez, x=np.ones(1)), "got an npz archive; use read_npz"),
        (read_npy, saved(np.save, np.array(["a"])), "expected a dtype that tensors have"),
        (read_npz, saved(np.save, np.ones(1)), "got one array; use read_npy"),
        (read_npz, saved(np.savez, x=np.ones(1))[:-30], "not a valid npz file"),
        (read_npz, saved(np.savez, x=OBJECT, allow_pickle=True), "in its member 'x'"),
        (read_npz, b"\x80\x04K\x01.", "without pickled objects"),
    ],
)
def test_wrong_numpy_files_are_refused(tmp_path, read, content, text):
    with pytest.raises(ValueError, match=text):
        read(write(tmp_path, content))
