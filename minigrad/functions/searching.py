"""Membership and places in sorted sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import run
from ..op import composite
from ..tensor import Tensor, as_tensor, wrap
from .arguments import tensor_of


def _among(m: Any, x: Any, y: Any, *, invert: bool) -> Any:
    return m.isin(x, y, invert=invert)


@composite(method=False)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Is each element among the others? One of the two may be a number."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): argument 'elements' or 'test_elements' must be Tensor, got two numbers")
    x, y = (t if isinstance(t, Tensor) else as_tensor(t) for t in (elements, test_elements))
    return wrap(run(_among, backend.module_of(x._array).m, x._array, y._array, invert=invert))


def _places(m: Any, edges: Any, values: Any, *, right: bool, dtype: Any) -> Any:
    side = "right" if right else "left"
    if edges.ndim == 1:
        return m.searchsorted(edges, values, side=side).astype(dtype)
    lanes = zip(edges.reshape(-1, edges.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    return m.stack([m.searchsorted(e, v, side=side) for e, v in lanes]).reshape(values.shape).astype(dtype)


@composite(method=False)
def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False, side: Any = None, sorter: Any = None
) -> Any:  # fmt: skip
    """Where each value would go in a sorted sequence: before equal ones, or after them with ``right``.

    The sequence is a vector, or has a lane along its last dimension for each lane of the values.
    """
    edges = tensor_of("searchsorted", sorted_sequence)
    if side not in (None, "left", "right") or side == "left" and right:
        raise RuntimeError(
            f"searchsorted: side should be 'left' or 'right', and not contradict right={right}; got {side!r}"
        )
    values = input if isinstance(input, Tensor) else as_tensor(input)
    if not edges.ndim or edges.ndim > 1 and edges.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got {list(edges.shape)} and {list(values.shape)}"
        )
    if sorter is not None:
        edges = edges.take_along_dim(sorter, -1)
    m = backend.module_of(edges._array).m
    dtype = np.int32 if out_int32 else np.int64
    return wrap(run(_places, m, edges._array, values._array, right=right or side == "right", dtype=dtype))


@composite(method=False)
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the bucket that each value falls in, between sorted boundaries."""
    if tensor_of("bucketize", boundaries).ndim != 1:
        raise RuntimeError(
            f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
