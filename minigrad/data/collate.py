"""Items to batches: ``default_collate`` stacks, ``default_convert`` only converts. PyTorch's rules.

A type of your own is collated by adding it to ``default_collate_fn_map``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor


def default_convert(data: Any) -> Any:
    """Arrays and NumPy scalars within ``data`` become tensors; everything else stays as it is.

    Tuples come back as lists, as in PyTorch; named tuples, other sequences and mappings keep their type.
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SaUO" else _tensor(data)
    if isinstance(data, Mapping):
        return _mapping(data, {k: default_convert(data[k]) for k in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence(data, [default_convert(d) for d in data])
    return data


def collate(batch: Any, *, collate_fn_map: Mapping[Any, Callable[..., Any]] | None = None) -> Any:
    """Merges a list of items by the type of the first, with the functions of ``collate_fn_map``.

    Those are called as ``function(batch, collate_fn_map=collate_fn_map)``; an exact type goes first,
    then the first that the item is an instance of. Mappings, named tuples and sequences are merged
    part by part. Raises RuntimeError for sequences of unequal length, TypeError for other types.
    """
    first = batch[0]
    if collate_fn_map is not None:
        function = collate_fn_map.get(type(first))
        if function is None:
            function = next((f for t, f in collate_fn_map.items() if isinstance(first, t)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)

    def merged(parts: Any) -> Any:
        return collate(parts, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _mapping(first, {k: merged([d[k] for d in batch]) for k in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(merged(parts) for parts in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        sizes = [len(item) for item in batch]
        if len(set(sizes)) != 1:
            raise RuntimeError(
                f"default_collate: each element in list of batch should be of equal size, got lengths "
                f"{sizes}; pad them, or pass a collate_fn"
            )
        return _sequence(first, [merged(parts) for parts in zip(*batch, strict=True)])
    raise _refused(type(first))


def default_collate(batch: Any) -> Any:
    """Stacks the items of a list along a new first dimension.

    Tensors, arrays and numbers become tensors (float → float64, int → int64, bool → bool); strings
    and bytes stay a list; mappings, named tuples and sequences are merged part by part, tuples into
    a list.

    >>> default_collate([{"x": 0, "name": "a"}, {"x": 1, "name": "b"}])
    {'x': tensor([0, 1]), 'name': ['a', 'b']}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def _tensors(batch: Any, *, collate_fn_map: Any = None) -> Any:
    import minigrad

    return minigrad.stack(tuple(batch), 0)


def _arrays(batch: Any, *, collate_fn_map: Any = None) -> Any:
    if batch[0].dtype.kind in "SaUO":
        raise _refused(batch[0].dtype)
    return collate([_tensor(a) for a in batch], collate_fn_map=collate_fn_map)


def _numpy_scalars(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return _tensor(np.array(batch))


def _floats(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return _tensor(np.array(batch, dtype=np.float64))


def _ints(batch: Any, *, collate_fn_map: Any = None) -> Any:
    import minigrad

    return minigrad.tensor(batch)


def _unchanged(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return batch


default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: _tensors,
    np.ndarray: _arrays,
    (np.bool_, np.number, np.object_): _numpy_scalars,  # np.float64 is a float, so before it
    float: _floats,
    int: _ints,
    str: _unchanged,
    bytes: _unchanged,
}


def _tensor(data: Any) -> Any:
    import minigrad

    return minigrad.as_tensor(data)


def _mapping(like: Any, items: dict[Any, Any]) -> Any:
    """``items`` in the type of ``like``, or a dict where that type can't be made from items."""
    try:
        if isinstance(like, MutableMapping):  # a copy keeps what a subclass adds, a default factory say
            clone: Any = copy.copy(like)
            clone.update(items)
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _sequence(like: Any, items: list[Any]) -> Any:
    """``items`` in the type of ``like``; tuples, and types that can't be made from items, give a list."""
    if isinstance(like, tuple):
        return items
    try:
        if isinstance(like, MutableSequence):
            clone: Any = copy.copy(like)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:  # a range, say
        return items


def _refused(kind: Any) -> TypeError:
    return TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
        f"{kind}: convert the items in the dataset, or pass a collate_fn"
    )
