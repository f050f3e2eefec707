"""Compares our tokenizers with the library ``tokenizers``: ids, type ids, offsets and decoded text of every line.

``python tests/text_check.py [--lines 100000] [FILE …]`` takes half of the lines from the data sets and the files, and
draws the other half; ``--every`` takes a line for every character instead;
``--tokenizer tokenizer.json`` compares that one instead of those of ``text_kinds``. It prints the counts and the first lines that differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import text_kinds
import text_lines

from minigrad.text import LibraryTokenizer, Pipeline


def differences(definition: dict[str, Any], lines: Sequence[str]) -> tuple[list[str], int, list[float]]:
    """The lines that come out differently, the number of tokens, and the seconds of ours and of the library."""
    ours, library = Pipeline(definition), LibraryTokenizer(definition)
    seconds = [0.0, 0.0]
    different, tokens = [], 0
    for start in range(0, len(lines), 2000):
        part = list(lines[start : start + 2000])
        found = []
        for k, tokenizer in enumerate((ours, library)):
            began = time.perf_counter()
            found.append(tokenizer.encodings([(line, None) for line in part], True, None, ""))
            seconds[k] += time.perf_counter() - began
        for line, a, b in zip(part, *found, strict=True):
            tokens += len(b.ids)
            same = a[:4] == b[:4]
            for skip in (False, True):
                same &= ours.decode(b.ids, skip) == library.decode(b.ids, skip)
            if not same:
                different.append(line)
    return different, tokens, seconds


def gathered(number: int, files: Sequence[str]) -> list[str]:
    """Half of them real as far as there are, evenly over all, the rest drawn, after those written by hand."""
    lines = list(text_lines.real())
    for file in files:
        lines += Path(file).read_text(encoding="utf-8").splitlines(keepends=True)
    half = min(number // 2, len(lines))
    chosen = text_lines.written() + [lines[k * len(lines) // half] for k in range(half)]
    return chosen + list(itertools.islice(text_lines.drawn(0), number - len(chosen)))


def main() -> None:
    """The whole check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--tokenizer")
    options = parser.parse_args()
    lines = list(text_lines.every()) if options.every else gathered(options.lines, options.files)
    print(f"{len(lines):,} lines, {sum(map(len, lines)):,} characters, Unicode {unicodedata.unidata_version}")
    if options.tokenizer:
        kinds = {"given": json.loads(Path(options.tokenizer).read_text(encoding="utf-8"))}
    else:
        kinds = text_kinds.definitions(lines[: len(lines) // 2 : 20] + lines[-2000:], 4000)
    for name, definition in kinds.items():
        different, tokens, (own, library) = differences(definition, lines)
        print(f"{name:30} {tokens:>10,} tokens  {len(different):>5} lines differ  {own:.1f} s, library {library:.1f} s", flush=True)  # fmt: skip
        for line in different[:5]:
            print("   ", ascii(line)[:300])


if __name__ == "__main__":
    main()
