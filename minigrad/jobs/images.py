"""The images of a run: which set, where it was found, and its pixels as the network gets them.

A pixel of value p enters as p/white, from 0 to 1; the default recipe then takes off the mean that its place has
over the training images and divides by the deviation of all their pixels, one number. (Measured on Fashion-MNIST,
test accuracy at the end: 0.896 so, 0.892 with one mean for all places, 0.887 from 0 to 1.)
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np

from . import JobError, nearest


class Scaling(NamedTuple):
    """``(pixel / white - mean) / deviation``; ``mean`` is empty or has a number for each place in the image."""

    white: int
    mean: tuple[float, ...] = ()
    deviation: float = 1.0

    @classmethod
    def of(cls, pixels: np.ndarray, white: int) -> Scaling:
        """That of uint8 images (N, H, W): each place's mean becomes 0, the deviation over all pixels 1."""
        counts = np.bincount(pixels.reshape(-1), minlength=256)
        values = np.arange(256) / white
        centre = (counts * values).sum() / counts.sum()
        deviation = math.sqrt((counts * (values - centre) ** 2).sum() / counts.sum())
        mean = pixels.reshape(len(pixels), -1).sum(axis=0, dtype=np.int64) / (len(pixels) * white)
        return cls(white, tuple(round(float(v), 6) for v in mean), round(deviation, 6) or 1.0)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (N, H·W) of uint8 images (N, H, W)."""
        shares = (np.arange(256) / self.white).astype(np.float32)
        return self._standardised(shares[pixels.reshape(len(pixels), -1)])

    def of_shares(self, shares: np.ndarray) -> np.ndarray:
        """float32 (N, H·W) of images whose pixels are 0 (black) to 1 (white) already."""
        return self._standardised(shares.reshape(len(shares), -1).astype(np.float32))

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        if self.mean:
            x -= np.array(self.mean, np.float32)
        if self.deviation != 1:
            x *= np.float32(1 / self.deviation)
        return x


class Part(NamedTuple):
    """The train or the test part of a set."""

    pixels: np.ndarray  # uint8 (N, H, W)
    labels: np.ndarray  # int64 (N,)


class Task(NamedTuple):
    """Labels as the task has them: all classes, or one against the rest."""

    classes: tuple[str, ...]
    positive: int | None

    def labels(self, labels: np.ndarray) -> np.ndarray:
        return labels if self.positive is None else (labels == self.positive).astype(np.int64)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """What the loss wants: class numbers, or (N, 1) floats 0 and 1."""
        found = self.labels(labels)
        return found if self.positive is None else found.astype(np.float32)[:, None]


class Chosen(NamedTuple):
    """A set, both parts of it open, and the sentence that says which it is and why."""

    name: str
    train: Any
    test: Any
    sentence: str


def choose(name: str | None, root: str | os.PathLike[str] | None, download: bool) -> Chosen:
    """The set to work on. A named one is taken or refused; without a name it is Fashion-MNIST where that can
    be had, else Digits."""
    from ..data import SETS

    if name is not None and name not in SETS:
        raise JobError(f"unknown set {name!r}: expected one of {', '.join(SETS)}{nearest(name, SETS)}")
    if name is not None:
        return _opened(name, root, download, "")
    try:
        return _opened("fashion-mnist", root, download, "")
    except JobError as e:
        return _opened("digits", None, False, f", because fashion-mnist can't be had: {e}")


def _opened(name: str, root: Any, download: bool, why: str) -> Chosen:
    train, test = (open_set(name, root, part, download) for part in (True, False))
    where = f"from {train.folder}" if train.packaged is None else "which come with minigrad"
    sentence = f"{name}: {len(train):,} training and {len(test):,} test images {where}{why}"
    return Chosen(name, train, test, sentence)


def open_set(name: str, root: str | os.PathLike[str] | None, train: bool, download: bool) -> Any:
    """A part of a set; what goes wrong becomes one sentence."""
    from ..data import SETS, find

    if root is not None and not os.path.isdir(root):
        raise JobError(f"--data {os.fspath(root)}: no such folder; correct the path, or leave it out")
    try:
        return SETS[name](root, train=train, download=download)
    except (RuntimeError, OSError, ValueError) as e:
        reason = " ".join([str(e), *getattr(e, "__notes__", [])])
        if isinstance(e, ValueError):
            raise JobError(reason) from e
        looked = ", ".join(str(p) for p in find(name, root, train=train).looked)
        how = (
            f"the download failed ({str(e).rstrip('.')})" if download else "--no-download forbids fetching it"
        )
        raise JobError(
            f"{name} is in none of {looked}, and {how}; put its files into one of these, or name their folder "
            f"with --data"
        ) from e


def part_of(found: Any, limit: int | None = None) -> Part:
    """A part as arrays, the first ``limit`` images of it."""
    return Part(np.asarray(found.data)[:limit], np.asarray(found.targets)[:limit])


def task_of(task: str, positive: str | None, classes: tuple[str, ...]) -> Task:
    """The task over a set's classes. ``positive`` is a class's name, in any case, or its number (default: 0)."""
    if task == "multiclass":
        return Task(classes, None)
    words = "0" if positive is None else positive
    folded = [c.casefold() for c in classes]
    if words.casefold() in folded:
        k = folded.index(words.casefold())
    elif words.isdecimal() and int(words) < len(classes):
        k = int(words)
    else:
        raise JobError(
            f"--positive: no class {words!r}: expected a number 0 to {len(classes) - 1} or one of "
            f"{', '.join(classes)}{nearest(words, classes)}"
        )
    return Task((f"not {classes[k]}", classes[k]), k)
