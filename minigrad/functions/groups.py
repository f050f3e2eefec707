"""Functions over groups: of channels (group_norm), of looked-up rows (embedding_bag)."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..op import composite
from .arguments import row
from .arithmetic import clamp
from .creation import arange, ones_like, zeros
from .indexing import index_add, index_copy
from .layers import embedding
from .reductions import cumsum


@composite(method=False)
def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - μ) / √(σ² + ε) · w + b, μ and σ² over each group of channels of (N, C, …) (Wu & He, 2018)."""
    if input.ndim < 2:
        raise RuntimeError(
            f"group_norm: Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    n, channels = input.shape[:2]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of "
                           f"shape {list(input.shape)} and num_groups={num_groups}")  # fmt: skip
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != (channels,):
            raise RuntimeError(f"group_norm: Expected {name} to be a vector of size equal to the number of channels in input, "
                               f"but got {name} of shape {list(x.shape)} and input of shape {list(input.shape)}")  # fmt: skip
    each = channels // num_groups * math.prod(input.shape[2:])
    if n * each == 1:
        raise ValueError(
            f"group_norm: Expected more than 1 value per channel when training, got input size {list(input.shape)}"
        )
    y = row("layer_norm", input.reshape(n, num_groups, each), None, None, normalized_shape=(each,), eps=eps)
    y, across = y.reshape(input.shape), (channels, *(1,) * (input.ndim - 2))
    y = y if weight is None else y * weight.reshape(across)
    return y if bias is None else y + bias.reshape(across)


@composite(method=False)
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: Any = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: Any = None,
) -> Any:  # fmt: skip
    """The sum, mean or max of weight's rows over each bag of indices; 0 for an empty bag.

    Bags are the rows of input (B, N), or stretches of input (N,) that begin at ``offsets`` (B,), the last of which is
    N with ``include_last_offset``. Rows equal to ``padding_idx`` don't count.
    """
    _check_bags(input, weight, offsets, mode, scale_grad_by_freq, per_sample_weights)
    if input.ndim == 2:
        count = input.shape[0]
        bag = arange(count).repeat_interleave(input.shape[1])
        input = input.reshape(-1)
    else:
        count = offsets.shape[0] - include_last_offset
        bag = _bags_of(input.numel(), offsets, count)
    try:
        rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    except IndexError as e:  # PyTorch's kind of error here
        raise RuntimeError(f"embedding_bag: {str(e).removeprefix('embedding: ')}") from None
    kept = ones_like(input) if padding_idx is None else input != padding_idx % weight.shape[0]
    kept = kept.to(dtypes.int64)
    if mode == "max":
        return _largest(rows, bag, kept, count)
    rows = rows * kept.to(rows.dtype).unsqueeze(1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    total = index_add(zeros(count, weight.shape[1], dtype=weight.dtype), 0, bag, rows)
    if mode == "sum":
        return total
    sizes = clamp(zeros(count, dtype=dtypes.int64).index_add(0, bag, kept), 1)
    return total / sizes.to(total.dtype).unsqueeze(1)


def _check_bags(input: Any, weight: Any, offsets: Any, mode: str, by_freq: bool, weights: Any) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if weight.ndim != 2:
        raise ValueError(
            f"embedding_bag: weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}"
        )
    if input.ndim not in (1, 2):
        raise ValueError(
            f"embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if input.ndim == 2 and offsets is not None:
        raise ValueError(
            "embedding_bag: if input is 2D, then offsets has to be None, as its rows are the bags"
        )
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        raise ValueError(
            f"embedding_bag: offsets has to be a 1D Tensor for input of 1 dimension, got {offsets}"
        )
    if weights is not None and weights.shape != input.shape:
        raise ValueError(f"embedding_bag: per_sample_weights ({tuple(weights.shape)}) must have the same shape as the input "
                         f"({tuple(input.shape)})")  # fmt: skip
    if weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights is only supported for mode='sum', got mode={mode!r}"
        )
    if mode == "max" and by_freq:
        raise ValueError("embedding_bag: max mode does not support scaling the gradient by the frequency")


def _bags_of(n: int, offsets: Any, count: int) -> Any:
    """The number of the bag that each of n indices is in."""
    begins = offsets[:count]
    if count and int(begins[0]) != 0:
        raise RuntimeError(f"embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                           f"from position 0. However, got {int(begins[0])}")  # fmt: skip
    if offsets.numel() and int(offsets.max()) > n:
        raise RuntimeError(
            f"embedding_bag: offsets can not be greater than input's length {n}, got {int(offsets.max())}"
        )
    steps = zeros(n + 1, dtype=dtypes.int64).index_add(0, begins, ones_like(begins).to(dtypes.int64))
    return cumsum(steps, 0)[:n] - 1


def _largest(rows: Any, bag: Any, kept: Any, count: int) -> Any:
    """The largest of each bag, element by element, with the gradient to the first that is it."""
    sizes = zeros(count, dtype=dtypes.int64).index_add(0, bag, kept)
    longest = int(sizes.max()) if count else 0
    if not longest:
        return zeros(count, rows.shape[1], dtype=rows.dtype)
    chosen = kept.nonzero()[:, 0]
    bag = bag[chosen]
    place = arange(bag.shape[0]) - (cumsum(sizes, 0) - sizes)[bag]
    grid = zeros(count * longest, rows.shape[1], dtype=rows.dtype).fill_(-math.inf)
    grid = index_copy(grid, 0, bag * longest + place, rows[chosen])
    best = grid.reshape(count, longest, -1).max(1).values
    return row("where", (sizes > 0).unsqueeze(1), best, 0.0)
