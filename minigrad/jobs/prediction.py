"""``python -m minigrad predict RUN FILE…``: what images show, by a trained network. Texts are ``finetuning``'s.

Images come as IDX or npy, one (H, W) or many (N, H, W) or (N, 1, H, W), of the set's size; integers count from
0 (black) to the set's white, floats from 0 to 1. Any other file is opened by Pillow, made grey and scaled.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import JobError, runs


def predict(options: Any) -> int:
    """Prints the most probable class, or the ``--top`` ones, of every image in the files."""
    if runs.job_of(options.run) == "classifier":
        from .finetuning import predict as of_texts

        return of_texts(options)
    say = runs.sayer(options)
    run = runs.read(options.run)
    if options.file is not None or options.attention is not None:
        raise JobError(
            f"--{'file' if options.file is not None else 'attention'} is for texts; {run.folder} classifies images"
        )
    if not options.files:
        raise JobError("name at least one file with images")
    classes = run.task.classes
    top = 1 if options.top is None else options.top
    if not 1 <= top <= len(classes):
        raise JobError(f"--top is 1 to {len(classes)}, the number of classes, got {top}")
    model = runs.trained(run)
    labels: list[str] = []
    shares: list[np.ndarray] = []
    for file in options.files:
        images, note = read_images(file, run, options.invert)
        say(note) if note else None
        labels += [file if len(images) == 1 else f"{file}[{i}]" for i in range(len(images))]
        shares.append(images)
    pixels = np.concatenate(shares)
    chances = runs.probabilities(model, run.task, run.scaling.of_shares(pixels))
    order = np.argsort(-chances, axis=1, kind="stable")[:, :top]
    width = max(len(label) for label in labels)
    found = []
    for label, row, best in zip(labels, chances, order, strict=True):
        say(f"{label:{width}}  " + "  ".join(f"{classes[k]} {row[k]:.1%}" for k in best))
        found.append(
            {"image": label, "classes": [{"name": classes[k], "probability": float(row[k])} for k in best]}
        )
    files = [_sheet(options.sheet, pixels, chances, order[:, 0], classes)] if options.sheet else []
    if files:
        say(f"wrote {files[0]}")
    runs.answer(options, {"run": str(run.folder), "predictions": found, "files": files})
    return 0


def _sheet(path: str, pixels: np.ndarray, chances: np.ndarray, best: np.ndarray, classes: Any) -> str:
    from .. import pictures

    try:
        return str(
            pictures.predictions(pixels, None, best, chances[np.arange(len(best)), best], classes, path)
        )
    except (ValueError, ImportError) as e:
        raise JobError(f"--sheet {e}") from e


def read_images(path: str, run: runs.Run, invert: bool) -> tuple[np.ndarray, str]:
    """A file's images as shares of white, float32 (N, H, W), and a note on what had to be done to them."""
    if not os.path.isfile(path):
        what = "that is a folder; name its files" if os.path.isdir(path) else "no such file; check the path"
        raise JobError(f"{path}: {what}")
    with open(path, "rb") as f:
        head = f.read(6)
    note = ""
    if head == b"\x93NUMPY" or path.endswith(".npy"):
        shares = _shares(path, _read("npy", path), run)
    elif head[:2] in (b"\x1f\x8b", b"\0\0"):  # gzip, or IDX
        shares = _shares(path, _read("idx", path), run)
    else:
        shares, note = _picture(path, run)
    return (1 - shares if invert else shares).astype(np.float32), note


def _read(kind: str, path: str) -> np.ndarray:
    from ..data import read_idx, read_npy

    try:
        return np.asarray(read_npy(path) if kind == "npy" else read_idx(path))
    except ValueError as e:
        raise JobError(str(e)) from e


def _shares(path: str, array: np.ndarray, run: runs.Run) -> np.ndarray:
    side = run.side
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    images = array[None] if array.ndim == 2 else array
    if images.ndim != 3 or images.shape[1:] != (side, side) or not len(images):
        raise JobError(
            f"{path}: expected images ({side}, {side}), (N, {side}, {side}) or (N, 1, {side}, {side}) as in "
            f"{run.recipe.data}, got {tuple(array.shape)}; scale them first"
        )
    white = run.scaling.white if images.dtype.kind in "iu" else 1
    shares = images.astype(np.float64) / white
    if not np.isfinite(shares).all() or shares.min() < 0 or shares.max() > 1:
        low, high = images.min(), images.max()
        raise JobError(
            f"{path}: expected pixels from 0 (black) to {white} (white), as {images.dtype} has them in "
            f"{run.recipe.data}, got {low:g} to {high:g}; scale them first"
        )
    return shares


def _of_a_byte(path: str, picture: Any) -> Any:
    """The picture with at most 8 bits a colour: Pillow's own conversion cuts 16 bits off at 255."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    from PIL import Image

    pixels = np.asarray(picture)
    if picture.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise JobError(
            f"{path}: expected a picture of 8 or 16 bits a colour, got pixels from {pixels.min():g} to "
            f"{pixels.max():g} (mode {picture.mode}); save it as .npy, scaled from 0 (black) to 1 (white)"
        )
    return Image.fromarray((pixels / 257.0).round().astype(np.uint8))


def _picture(path: str, run: runs.Run) -> tuple[np.ndarray, str]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise JobError(
            f"{path}: neither IDX nor npy, and pictures need Pillow: pip install Pillow, or convert it to .npy"
        ) from None
    side = run.side
    try:
        with Image.open(path) as picture:
            size, mode = picture.size, picture.mode
            grey = _of_a_byte(path, picture).convert("RGBA")
            paper = Image.new("RGBA", grey.size, "black")  # what is transparent is background
            grey = Image.alpha_composite(paper, grey).convert("L")
            if size != (side, side):
                grey = grey.resize((side, side), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as e:
        raise JobError(f"{path}: expected a picture, IDX or npy, got a file that is none: {e}") from None
    changes = [f"{mode} made grey"] * (mode not in ("L", "1")) + [
        f"{size[0]}×{size[1]} scaled to {side}×{side}"
    ] * (size != (side, side))
    return np.asarray(grey)[None] / 255.0, f"{path}: {', '.join(changes)}" if changes else ""
