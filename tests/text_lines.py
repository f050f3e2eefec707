"""Lines to try tokenizers on: real text where it is there, and lines drawn from many scripts, odd spaces and bytes."""

from __future__ import annotations

import gzip
import os
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

BLOCKS = {
    "Latin": (0x20, 0x24F),
    "combining": (0x300, 0x36F),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x52F),
    "Hebrew": (0x590, 0x5FF),
    "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F),
    "Bengali": (0x980, 0x9FF),
    "Tamil": (0xB80, 0xBFF),
    "Thai": (0xE00, 0xE7F),
    "Tibetan": (0xF00, 0xFFF),
    "Jamo": (0x1100, 0x11FF),
    "Latin additional": (0x1E00, 0x1EFF),
    "Greek extended": (0x1F00, 0x1FFF),
    "punctuation": (0x2000, 0x206F),
    "letterlike": (0x2100, 0x218F),
    "mathematics": (0x2200, 0x22FF),
    "circled": (0x2460, 0x24FF),
    "symbols": (0x2600, 0x27BF),
    "Chinese marks": (0x3000, 0x303F),
    "kana": (0x3040, 0x30FF),
    "Chinese": (0x3400, 0x9FFF),
    "Hangul": (0xAC00, 0xD7A3),
    "private": (0xE000, 0xE0FF),
    "compatibility": (0xF900, 0xFAFF),
    "presentation": (0xFB00, 0xFEFF),
    "wide": (0xFF00, 0xFFEF),
    "music": (0x1D100, 0x1D1FF),
    "letters in mathematics": (0x1D400, 0x1D7FF),
    "emoji": (0x1F300, 0x1F6FF),
    "Chinese B": (0x20000, 0x2A6DF),
}
SPACES = " \t\n\v\f\r\x1c\x1f\x85\xa0\u1680\u2003\u2009\u200b\u2028\u202f\u205f\u3000\ufeff"
CONTROLS = "\0\x01\x07\x1b\x7f\x80\x9f\xad\u200c\u200d\u200e\u202e\u2060\ufffd\ue000\ufe0f"
WRITTEN = """
The weather is lovely today.|It's so sunny outside!|I'll say we're done, they'd've said; DON'T|1,234.56 × 10^-7 ≈ 0
Ein schöner Tag in Köln: Straße, Äpfel, ÖL|Η γρήγορη καφέ αλεπού ΟΔΥΣΣΕΥΣ|Съешь ещё этих мягких французских булок
שָׁלוֹם עוֹלָם|مرحبا بالعالم، كيف الحال؟|नमस्ते दुनिया, हिन्दी में|สวัสดีชาวโลก ภาษาไทย|我能吞下玻璃而不伤身体。|こんにちは世界、カタカナ
안녕하세요 세계|👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️|e\u0301 é e\u0323\u0301 e\u0301\u0323|ﬁﬂ ½ ① ㎏ Ⅳ ²|İstanbul ıI ẞ ǅ|[MASK] [CLS]x[SEP] [mask] <s></s>
don`t $5 a+b=c <tag> x|y ~z^2|a\u3000b\u2003c\u00a0d|tab\tand\r\nnewline|"""


def written() -> list[str]:
    """Short lines by hand, one of every kind."""
    return [line for row in WRITTEN.strip().split("\n") for line in row.split("|")]


def real() -> Iterator[str]:
    """Lines of the data sets in MINIGRAD_DATA: English and German."""
    home = Path(os.environ.get("MINIGRAD_DATA", "none"))
    for path in [
        *sorted(home.glob("multi30k/*.gz")),
        *sorted(home.glob("sst2/*.txt")),
        *home.glob("shakespeare/*.txt"),
    ]:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        yield from data.decode("utf-8").splitlines(keepends=True)


def drawn(seed: int) -> Iterator[str]:
    """Lines without end: words of one or several scripts, marks, odd white space, controls, bytes that aren't UTF-8."""
    rng = random.Random(seed)
    blocks = {name: [c for c in map(chr, range(a, b + 1)) if unicodedata.category(c) not in ("Cn", "Cs")] for name, (a, b) in BLOCKS.items()}  # fmt: skip
    everything = [c for members in blocks.values() for c in members]
    fixed = [w for line in written() for w in line.split(" ")]
    while True:
        kind, script = rng.random(), rng.choice(list(blocks.values()))
        words = []
        for _ in range(rng.randint(1, 12)):
            n = rng.randint(1, 9)
            if kind < 0.7:
                word = "".join(rng.choices(script, k=n))
            elif kind < 0.8:
                word = "".join(rng.choices(everything, k=n))
            elif kind < 0.9:
                word = "".join(
                    rng.choice(rng.choice((script, CONTROLS, SPACES, "ab", blocks["combining"])))
                    for _ in range(n)
                )
            elif kind < 0.95:
                word = bytes(rng.choices(range(256), k=n)).decode("utf-8", "replace")
            else:
                word = rng.choice(fixed)
            words += [word, rng.choice(SPACES) if rng.random() < 0.1 else " "]
        if rng.random() < 0.02:
            words.append(rng.choice(script) * rng.randint(90, 300))
        yield "".join(words if rng.random() < 0.2 else words[:-1])


def every() -> Iterator[str]:
    """A line for every character that this Python knows, but for two planes of private ones."""
    for c in map(chr, range(0xF0000)):
        if unicodedata.category(c) not in ("Cn", "Cs"):
            yield f"a{c}b e{c}\u0301\u0323 {c}{c}1"
