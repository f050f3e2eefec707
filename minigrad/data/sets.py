"""Known sets of images: FashionMNIST, MNIST, Digits, and where they are found.

Looked for in: the root given, ``MINIGRAD_DATA``, the user's cache folder, Debian's folder; then
downloaded, against pinned hashes, to the root given or the cache folder. Digits ships in the package.
The file format is read by ``readers``; the network is ``download``'s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..autograd import wrap
from ..tensor import Tensor
from .datasets import Dataset, as_rows
from .download import download as fetch
from .readers import read_idx

_IMAGES = {True: "train-images-idx3-ubyte", False: "t10k-images-idx3-ubyte"}
_LABELS = {True: "train-labels-idx1-ubyte", False: "t10k-labels-idx1-ubyte"}


class Found(NamedTuple):
    """Where a set is (None: nowhere), and every place looked in, in order, up to there."""

    path: Path | None
    looked: tuple[Path, ...]


class ImageSet(Dataset[tuple[Any, Any]]):
    """Grey images and their labels, read whole into memory from the four files of the MNIST format.

    ``.data`` is a uint8 tensor (N, H, W), ``.targets`` int64 (N,), ``.classes`` their names.
    ``dataset[i]`` is (image, label): the image float32 (1, H, W) in [0, 1], the label an int. A
    ``transform`` is given the uint8 tensor (1, H, W) instead and its result is the image;
    ``target_transform`` is given the label.

    Raises RuntimeError listing every place looked in when the set isn't found and ``download`` is
    False or fails; ValueError naming the file for one that is truncated, corrupt or of other content.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    side: ClassVar[int] = 28
    full: ClassVar[int] = 255  # the pixel value that becomes 1
    mirrors: ClassVar[tuple[str, ...]] = ()
    sha256: ClassVar[dict[str, str]] = {}
    folders: ClassVar[tuple[str, ...]] = ()  # names that the set's folder goes by, under a root
    packaged: ClassVar[str | None] = None

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = True,
    ) -> None:
        self.root, self.train = root, bool(train)
        self.transform, self.target_transform = transform, target_transform
        found = find(self.name, root, train=self.train)
        if found.path is None:
            found = found._replace(path=self._download(found, download))
        self.folder: Path = found.path  # type: ignore[assignment]
        images, labels = (_file(self.folder, n[self.train]) for n in (_IMAGES, _LABELS))
        self.data = read_idx(images)  # type: ignore[arg-type]
        raw = read_idx(labels)  # type: ignore[arg-type]
        x, y = np.asarray(self.data), np.asarray(raw)
        if x.shape[1:] != (self.side, self.side) or x.dtype != np.uint8:
            raise _unlike(images, f"uint8 images (N, {self.side}, {self.side})", f"{x.dtype} {x.shape}")
        if y.dtype != np.uint8 or y.shape != x.shape[:1]:
            raise _unlike(labels, f"{len(x)} uint8 labels, one an image", f"{y.dtype} {y.shape}")
        if y.max(initial=0) >= len(self.classes):
            raise _unlike(labels, f"labels 0 to {len(self.classes) - 1}", f"label {y.max()}")
        self.targets: Tensor = wrap(y.astype(np.int64))

    def _download(self, found: Found, allowed: bool) -> Path:
        looked = ", ".join(str(p) for p in found.looked)
        if not allowed or not self.mirrors:
            raise RuntimeError(
                f"{type(self).__name__}: Dataset not found. You can use download=True to download it, or put "
                f"{self._files()} in one of the places looked in: {looked}"
            )
        target = (Path(self.root) if self.root is not None else cache_folder()) / self.name
        try:
            for file in self._files():
                if _file(target, file.removesuffix(".gz")) is None:
                    fetch([m + file for m in self.mirrors], target / file, self.sha256[file])
        except (RuntimeError, OSError) as e:
            e.add_note(f"{type(self).__name__}: it was not found before either in: {looked}")
            raise
        return target

    def _files(self) -> list[str]:
        return [f"{n[self.train]}.gz" for n in (_IMAGES, _LABELS)]

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {c: i for i, c in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} images")
        image = self.data._array[index][None]
        shown = self._scaled(image) if self.transform is None else self.transform(wrap(image))
        label = int(self.targets._array[index])
        return shown, label if self.target_transform is None else self.target_transform(label)

    def _scaled(self, array: Any) -> Tensor:
        return wrap(array.astype(np.float32) / np.float32(self.full))  # type: ignore[no-any-return]

    @property
    def collates(self) -> bool:
        """True where ``collated`` stands for the items: without transforms."""
        return self.transform is None and self.target_transform is None

    def collated(self, indices: Sequence[int]) -> list[Tensor]:
        """``default_collate([self[i] for i in indices])`` by one gather, without transforms."""
        rows = as_rows(indices)
        x = self.data._array.take(rows, axis=0)
        return [self._scaled(x[:, None]), wrap(self.targets._array.take(rows))]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All of it for fast training: float32 (N, H·W) in [0, 1], and int64 labels (N,)."""
        x = self.data._array
        return self._scaled(x.reshape(len(x), -1)), self.targets

    def __repr__(self) -> str:
        part = "train" if self.train else "test"
        return f"{type(self).__name__}({part}: {len(self)} images, from {self.folder})"


class FashionMNIST(ImageSet):
    """Fashion-MNIST: 60,000 train and 10,000 test images 28×28 of ten kinds of clothing, by Zalando Research.

    MIT licence. H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms, 2017, arXiv:1708.07747. Arguments: :class:`ImageSet`.
    """

    name = "fashion-mnist"
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    folders = ("fashion-mnist", "FashionMNIST/raw")
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    sha256 = {  # noqa: RUF012
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }


class MNIST(ImageSet):
    """MNIST: 60,000 train and 10,000 test images 28×28 of handwritten digits.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
    Proceedings of the IEEE 86 (11), 1998. Arguments: :class:`ImageSet`.
    """

    name = "mnist"
    classes = (
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    )  # fmt: skip
    folders = ("mnist", "MNIST/raw")
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    sha256 = {  # noqa: RUF012
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }


class Digits(ImageSet):
    """UCI optical digits: 1,797 images 8×8 of handwritten digits, pixels 0 to 16, shipped in the package.

    A fixed split: the first 1,437 are for training, the last 360 for testing. They are the original's
    test part, by 13 writers. E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0. Arguments: :class:`ImageSet`.
    """

    name = "digits"
    classes = tuple("0123456789")
    side, full = 8, 16
    folders = ("digits",)
    packaged = "digits"


SETS: dict[str, type[ImageSet]] = {s.name: s for s in (FashionMNIST, MNIST, Digits)}


def find(name: str, root: str | os.PathLike[str] | None = None, train: bool | None = None) -> Found:
    """Where the set ``name`` is, without reading or downloading it: both parts, or the one asked for.

    A root may be the set's folder itself, or hold it under its name or where torchvision puts it;
    files may be gzipped or not. Raises ValueError for a name that isn't in ``SETS``.
    """
    if name not in SETS:
        raise ValueError(f"find: unknown set {name!r}; expected one of {sorted(SETS)}")
    known = SETS[name]
    parts = (True, False) if train is None else (bool(train),)
    looked: list[Path] = []
    for place in _places(known, root):
        looked.append(place)
        if all(_file(place, names[p]) for p in parts for names in (_IMAGES, _LABELS)):
            return Found(place, tuple(looked))
    return Found(None, tuple(looked))


def cache_folder() -> Path:
    """The folder that downloads go to: the platform's cache folder for this user, and ``minigrad`` in it."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "minigrad"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "minigrad"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minigrad"
    return Path.home() / ".cache" / "minigrad"


DEBIAN = Path("/usr/share/datasets")  # dataset-fashion-mnist installs fashion-mnist/ there


def _places(known: type[ImageSet], root: Any) -> list[Path]:
    names = {part for f in known.folders for part in Path(f).parts}
    places = []
    if root is not None:
        places += [*(Path(root) / f for f in known.folders), Path(root)]
    if env := os.environ.get("MINIGRAD_DATA"):
        places += [Path(env) / f for f in known.folders]
        if Path(env).name in names:  # the sets share their file names: only the folder's tells them apart
            places.append(Path(env))
    if known.packaged is not None:
        places.append(Path(__file__).parent / known.packaged)
    else:
        places += [cache_folder() / known.name, DEBIAN / known.name]
    return places


def _file(folder: Path, name: str) -> Path | None:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    return None


def _unlike(path: Any, expected: str, got: str) -> ValueError:
    return ValueError(
        f"{path}: not the file it should be: expected {expected}, got {got}; replace it, or take it out of "
        f"the way so that another copy is found"
    )
