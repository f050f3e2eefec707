"""``python -m minigrad embed "…" "…"``: texts as vectors, and which of them are alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from . import JobError, runs, texts

TABLE = 10  # texts of which every pair is shown; of more, the nearest of each


def embed(options: Any) -> int:
    """Prints the similarities of the texts; writes the vectors, a picture and JSON where asked to."""
    say = runs.sayer(options)
    texts.check_threads(options.threads)
    runs.check_pictures(options.pictures)
    if options.batch_size < 1:
        raise JobError(f"--batch-size is at least 1, got {options.batch_size}")
    out = None if options.out is None else _path(options.out)
    given = texts.given(options.texts, options.file)
    encoder = opened(options.model)
    from .threads import chosen, threads

    began = time.perf_counter()
    with threads(chosen(options.threads, 1 << 30)):
        vectors = encoder.encode(given, batch_size=options.batch_size)
    seconds = time.perf_counter() - began
    cosines = encoder.similarity(vectors, vectors) if len(given) <= TABLE or options.json else None
    say(
        f"{options.model}: {len(given):,} text(s), {vectors.shape[1]} numbers each, {len(given) / seconds:,.0f} texts/s"
    )
    say(table(given, cosines) if len(given) <= TABLE else nearest(given, vectors, encoder))
    files = []
    if out is not None:
        from ..io import atomic_write

        with atomic_write(out) as f:
            np.save(f, vectors)
        files.append(out)
    if options.pictures != "none":
        from .. import pictures

        path = Path("embeddings.npy") if out is None else out
        suffix = "" if options.pictures == "auto" else f".{options.pictures}"
        files.append(
            pictures.projection(
                vectors,
                given,
                path.with_name(path.stem + suffix),
                title=f"{len(given):,} texts by {options.model}",
            )
        )
    if files:
        say("wrote " + ", ".join(map(str, files)))
    if options.json:
        runs.answer(options, {
            "model": str(options.model), "texts": given, "similarities": np.asarray(cosines).tolist(), "embeddings": vectors.tolist(),
            "files": [str(f) for f in files],
        })  # fmt: skip
    return 0


def _path(out: str) -> Path:
    path = Path(out)
    if path.suffix != ".npy":
        raise JobError(f"--out {out}: expected a name that ends in .npy")
    return path


def opened(name: Any) -> Any:
    """The sentence encoder of a folder or name. JobError for a model that reads to the left only, and what can't be opened."""
    import warnings

    from ..models import SentenceEncoder

    with warnings.catch_warnings():  # heads that aren't needed here
        warnings.simplefilter("ignore")
        encoder = texts.opened(SentenceEncoder.from_pretrained, name)
    if hasattr(encoder.model, "generate"):
        raise JobError(
            f"{name}: {type(encoder.model).__name__} writes text; expected an encoder, such as BertModel"
        )
    return encoder


def table(given: list[str], cosines: Any) -> str:
    """Every pair: the cosine of the angle between them."""
    width = max(min(40, max(map(len, given))), 4)
    count = len(str(len(given)))
    lines = [" " * (count + width + 3) + "".join(f"{k:>9}" for k in range(1, len(given) + 1))]
    lines += [
        f"{k:>{count}}  {_cut(text, width):{width}} " + "".join(f"{c:>9.4f}" for c in row)
        for k, (text, row) in enumerate(zip(given, cosines, strict=True), 1)
    ]
    return "\n".join(lines)


def nearest(given: list[str], vectors: np.ndarray, encoder: Any) -> str:
    """Of each text the one that is most like it."""
    lines, width = [], min(50, max(map(len, given)))
    for begin in range(0, len(given), 1024):
        cosines = encoder.similarity(vectors[begin : begin + 1024], vectors)
        rows = np.arange(len(cosines))
        cosines[rows, begin + rows] = -np.inf
        best = cosines.argmax(axis=1)
        lines += [
            f"{cosines[k, j]:.4f}  {_cut(given[begin + k], width):{width}}  {_cut(given[j], width)}"
            for k, j in zip(rows, best, strict=True)
        ]
    return "\n".join([f"cosine  {'text':{width}}  the most like it", *lines])


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"
