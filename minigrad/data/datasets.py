"""What a dataset is, and datasets made of others. Samplers, the loader and real data live elsewhere.

A dataset may define ``collated(indices)``: the batch that ``default_collate`` would make of those
items, bit for bit, gathered at once. The loader then spends nothing per item. :func:`gatherer` decides
whether it may be used.
"""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..autograd import wrap
from ..tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Items by index: define ``__getitem__``, and ``__len__`` for everything that needs an end.

    ``__getitems__(indices)`` may be defined too, returning the list of items; the loader prefers it.
    ``a + b`` is their :class:`ConcatDataset`.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: a Dataset has to define __getitem__")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A stream of items: define ``__iter__``. ``a + b`` is their :class:`ChainDataset`.

    A DataLoader reads one stream, whatever the number of its workers, so there is nothing to shard.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: an IterableDataset has to define __iter__")

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """``dataset[i]`` is ``(t[i] for t in tensors)``: tensors that agree in their first dimension.

    Raises AssertionError, as PyTorch, when their lengths differ, TypeError for anything but tensors.
    """

    def __init__(self, *tensors: Tensor) -> None:
        for t in tensors:
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"TensorDataset: expected tensors, got {type(t).__name__}; "
                    f"convert with minigrad.as_tensor"
                )
        if not tensors or any(t.ndim == 0 or len(t) != len(tensors[0]) for t in tensors):
            raise AssertionError(
                f"TensorDataset: Size mismatch between tensors: expected one or more that agree in "
                f"their first dimension, got shapes {[tuple(t.shape) for t in tensors]}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def collated(self, indices: Sequence[int]) -> list[Tensor]:
        """``default_collate([self[i] for i in indices])`` by one gather of each tensor."""
        rows = as_rows(indices)
        return [t[wrap(rows)] if t.requires_grad else wrap(t._array.take(rows, axis=0)) for t in self.tensors]


class StackDataset(Dataset[Any]):
    """Datasets side by side: ``dataset[i]`` is a tuple, or a dict for keyword arguments, of their items."""

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset: expected datasets either by position (items are tuples) or by keyword "
                f"(items are dicts), got {len(args)} by position and {len(kwargs)} by keyword"
            )
        self.datasets: Any = kwargs or args
        sizes = [len(d) for d in (args or kwargs.values())]  # type: ignore[arg-type]
        if len(set(sizes)) != 1:
            raise ValueError(f"StackDataset: Size mismatch between datasets: got lengths {sizes}")
        self._length = sizes[0]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {k: d[index] for k, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[Any]):
    """Map-style datasets one after the other. ``cumulative_sizes`` holds where each ends."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one dataset, got none")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise TypeError(
                    f"ConcatDataset: {type(d).__name__} is an IterableDataset, which has no items by "
                    f"index; use ChainDataset"
                )
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        n = len(self)
        if index < -n:
            raise ValueError(
                f"ConcatDataset: absolute value of index should not exceed dataset length, "
                f"got index {index} of {n}"
            )
        if index >= n:
            raise IndexError(f"ConcatDataset: index {index} is out of range for {n} items")
        index += n if index < 0 else 0
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[Any]):
    """Iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def _checked(self) -> Iterator[Any]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise TypeError(
                    f"ChainDataset: expected IterableDatasets, got {type(d).__name__}; use ConcatDataset"
                )
            yield d

    def __iter__(self) -> Iterator[Any]:
        for d in self._checked():
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self._checked())


class Subset(Dataset[T_co]):
    """The items of ``dataset`` at ``indices``, in that order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    def collated(self, indices: Sequence[int]) -> Any:
        """The batch of these items, gathered by the whole dataset."""
        return self.dataset.collated([self.indices[i] for i in indices])  # type: ignore[attr-defined]


def random_split(
    dataset: Dataset[Any], lengths: Sequence[int | float], generator: Any = None
) -> list[Subset[Any]]:
    """Splits a dataset at random into :class:`Subset` s of the given lengths, or fractions that sum to 1.

    A fraction f takes floor(f · len(dataset)) items; what remains is handed out one each from the
    first on. Raises ValueError when the lengths don't sum to ``len(dataset)``.
    """
    n = len(dataset)  # type: ignore[arg-type]
    total = sum(lengths)
    if math.isclose(total, 1) and total <= 1:
        for i, f in enumerate(lengths):
            if not 0 <= f <= 1:
                raise ValueError(f"random_split: Fraction at index {i} is not between 0 and 1, got {f}")
        sizes = [math.floor(n * f) for f in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if size == 0:
                warnings.warn(
                    f"random_split: Length of split at index {i} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    else:
        if total != n or any(not isinstance(k, int) or k < 0 for k in lengths):
            raise ValueError(
                f"random_split: Sum of input lengths does not equal the length of the input dataset! "
                f"Expected lengths that sum to {n}, or fractions that sum to 1, got {list(lengths)}"
            )
        sizes = [int(k) for k in lengths]
    from .samplers import permutation

    order = permutation(n, generator)
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - k : end]) for end, k in zip(ends, sizes, strict=True)]


def as_rows(indices: Any) -> np.ndarray:
    """Indices as an array to gather by. TypeError for what indexing item by item would refuse."""
    rows = np.asarray(indices)
    if rows.dtype.kind not in "iu":
        raise TypeError(f"expected integer indices, got {rows.dtype}")
    return rows


def gatherer(dataset: Any) -> Callable[[Sequence[int]], Any] | None:
    """``dataset.collated`` where it stands for ``dataset.__getitem__``, or None.

    It does when the class that defines how items are made is the one that defines ``collated``: a
    subclass that overrides ``__getitem__`` alone gets its items asked for one by one.
    """
    for cls in type(dataset).__mro__:
        if "collated" in vars(cls):
            break
        if "__getitem__" in vars(cls) or "__getitems__" in vars(cls):
            return None
    else:
        return None
    if isinstance(dataset, Subset) and gatherer(dataset.dataset) is None:
        return None
    if getattr(dataset, "collates", True) is False:  # as this instance is set up, it doesn't
        return None
    return dataset.collated  # type: ignore[no-any-return]
