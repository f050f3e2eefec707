"""What the library ``tokenizers`` gives for lines that are kept: ``text_answers.json``, for machines without it.

``python tests/text_answers.py`` asks it again. The tokenizers are those of ``text_kinds``, made from the lines; of
the offsets two weighted sums are kept, which any one that shifts would change.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import text_kinds
import text_lines

from minigrad.text import LibraryTokenizer, Tokenizer

KEPT = Path(__file__).with_suffix(".json")
PAIRS = [("A first text, rather long.", "and one more"), ("", "one"), ("long " * 9, "")]


def answers(tokenizer: Tokenizer, lines: Sequence[str]) -> dict[str, Any]:
    """Ids of every line and of pairs shortened to 16 tokens; the sums of the offsets; the text that the ids decode to."""
    found = tokenizer(list(lines), return_offsets_mapping=True)
    pairs = tokenizer(PAIRS, truncation=True, max_length=16, return_token_type_ids=True)
    return {
        "ids": found.input_ids,
        "offsets": [sums(row) for row in found.offset_mapping],
        "pairs": [pairs.input_ids, pairs.token_type_ids],
        "text": tokenizer.batch_decode(found.input_ids, skip_special_tokens=True),
    }


def sums(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Of starts and of ends, each times its place."""
    return [sum(k * pair[side] for k, pair in enumerate(offsets, 1)) for side in (0, 1)]


def main() -> None:
    """Asks the library and writes the file."""
    import tokenizers

    lines = text_lines.written() + list(itertools.islice(text_lines.drawn(1), 25))
    made = {
        name: answers(LibraryTokenizer(definition), lines)
        for name, definition in text_kinds.definitions(lines, 500).items()
    }
    kept = {"tokenizers": tokenizers.__version__, "lines": lines, "answers": made}
    KEPT.write_text(json.dumps(kept, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
