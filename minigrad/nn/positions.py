"""How a network without recurrence is told the order of its tokens: added, rotated, or as a bias of the scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..functions.creation import empty
from ..tensor import Tensor, from_numpy
from . import functional as F
from . import init
from .dropout import Dropout
from .module import Module
from .parameter import Parameter
from .sparse import Embedding


class SinusoidalPositionalEncoding(Module):
    """x + PE, PE[p, 2i] = sin(p / 10000^(2i/d)), PE[p, 2i+1] = cos(p / 10000^(2i/d)) (Vaswani et al., 2017, section 3.5).

    x (B, T, d_model), whose first token stands at position ``start``; dropout follows.
    """

    def __init__(self, d_model: int, max_len: int = 5000, dropout: float = 0.0) -> None:
        super().__init__()
        angles = np.outer(np.arange(max_len), 10000.0 ** (-np.arange(0, d_model, 2) / d_model))
        table = np.empty((max_len, d_model), np.float32)
        table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)[:, : d_model // 2]
        self.register_buffer("encoding", from_numpy(table), persistent=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return self.dropout(x + _table(self, self.encoding, start, x.shape[-2]).to(x.dtype))


class LearnedPositionalEncoding(Module):
    """x + P[start : start + T], with P (max_len, d_model) learned (Gehring et al., 2017). Begins as N(0, 0.02²)."""

    def __init__(
        self, d_model: int, max_len: int, dropout: float = 0.0, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.weight = Parameter(empty(max_len, d_model, device=device, dtype=dtype))
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the positions anew."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return self.dropout(x + _table(self, self.weight, start, x.shape[-2]))


def _table(module: Module, table: Tensor, start: int, length: int) -> Tensor:
    if not 0 <= start <= start + length <= table.shape[0]:
        raise ValueError(
            f"{type(module).__name__}: expected positions below max_len {table.shape[0]}, got {start} to "
            f"{start + length - 1}; shorten the sequence or give a larger max_len"
        )
    return table[start : start + length]


class RotaryEmbedding(Module):
    """Turns each pair of channels of x by p · θᵢ, θᵢ = base^(-2i/dim), at position p (Su et al., 2021, section 3.2.2).

    The product of a query and a key so turned depends on the difference of their positions alone. x (…, T, dim) or
    (B, heads, T, dim); ``positions`` (T,) or (B, T) of integers, 0 … T - 1 unless given. ``interleaved`` pairs
    channels 2i and 2i + 1 as the paper does, else i and i + dim/2, as Llama's weights are laid out.

    ``scaling`` is config.json's rope_scaling: {"rope_type": "linear", "factor": s} divides positions by s (Chen et
    al., 2023); "llama3" divides low frequencies alone, with "low_freq_factor", "high_freq_factor" and
    "original_max_position_embeddings" (Llama 3.1); "yarn" those that turn less than "beta_slow" times in the latter,
    and makes what it turns longer by "attention_factor" (Peng et al., 2023); "dynamic" begins beyond the positions,
    which a table hasn't.
    """

    def __init__(
        self, dim: int, max_len: int = 2048, base: float = 10000.0, interleaved: bool = False,
        scaling: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if dim % 2:
            raise ValueError(f"RotaryEmbedding: expected an even number of channels to pair, got dim={dim}")
        self.dim, self.max_len, self.interleaved = dim, max_len, interleaved
        theta, factor = _frequencies(dim, base, max_len, scaling or {})
        angles = np.outer(np.arange(max_len), theta)
        self.register_buffer(
            "cos", from_numpy((factor * np.cos(angles)).astype(np.float32)), persistent=False
        )
        self.register_buffer(
            "sin", from_numpy((factor * np.sin(angles)).astype(np.float32)), persistent=False
        )

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        length = x.shape[-2]
        if x.shape[-1] != self.dim:
            raise RuntimeError(f"RotaryEmbedding: expected (…, T, {self.dim}), got {list(x.shape)}")
        if positions is None:
            cos, sin = (_table(self, t, 0, length) for t in (self.cos, self.sin))
        else:
            cos, sin = F.embedding(positions, self.cos), F.embedding(positions, self.sin)  # (…, T, dim / 2)
            if positions.ndim == 2 and x.ndim == 4:
                cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return F.rotary_embedding(x, cos.to(x.dtype), sin.to(x.dtype), interleaved=self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, max_len={self.max_len}, interleaved={self.interleaved}"


def _frequencies(dim: int, base: float, max_len: int, scaling: dict[str, Any]) -> tuple[np.ndarray, float]:
    """θᵢ, (dim / 2,), in radians a position; and the factor of what is turned."""
    theta = base ** (-np.arange(0, dim, 2) / dim)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind in ("default", "dynamic"):
        return theta, 1.0
    if kind == "linear":
        return theta / scaling["factor"], 1.0
    if kind == "yarn":
        return _yarn(theta, base, max_len, scaling)
    if kind == "llama3":
        low, high, before = (
            scaling[k] for k in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        )
        turns = before * theta / (2 * math.pi)  # within the context that it was trained on
        share = np.clip((turns - low) / (high - low), 0, 1)
        return theta * (share + (1 - share) / scaling["factor"]), 1.0
    raise ValueError(
        f"RotaryEmbedding: expected rope_type default, linear, llama3, yarn or dynamic, got {kind!r}"
    )


def _yarn(theta: np.ndarray, base: float, max_len: int, scaling: dict[str, Any]) -> tuple[np.ndarray, float]:
    """θᵢ, from i_slow on divided by the factor s and up to i_fast not, in between a mixture (Peng et al., 2023, eq. 17, 18 and 23).

    Channel i = d · ln(L / 2πr) / 2 ln base turns r times within the L positions that were trained on.
    """
    before = scaling["original_max_position_embeddings"]
    s = scaling.get("factor") or max_len / before
    turns = [scaling.get(k) or r for k, r in (("beta_fast", 32), ("beta_slow", 1))]
    fast, slow = (len(theta) * math.log(before / (2 * math.pi * r)) / math.log(base) for r in turns)
    if scaling.get("truncate", True):
        fast, slow = math.floor(fast), math.ceil(slow)
    fast, slow = max(fast, 0), min(slow, 2 * len(theta) - 1)
    share = np.clip((np.arange(len(theta)) - fast) / (slow - fast or 1e-3), 0, 1)

    def longer(m: float) -> float:  # than before, at m
        return 0.1 * m * math.log(s) + 1 if s > 1 else 1.0

    factor, m, all_dim = (scaling.get(k) for k in ("attention_factor", "mscale", "mscale_all_dim"))
    if factor is None:
        factor = longer(m) / longer(all_dim) if m and all_dim else longer(1)
    return theta * (1 - share + share / s), factor


class ALiBi(Module):
    """The bias -mₕ · (i - j) of query i's score with key j, for heads h = 1 … n (Press et al., 2022).

    The slopes mₕ are 2^(-8h/n); where n is no power of two, those of the power below and every other one of the
    power above. ``forward(L, S)`` gives (heads, L, S), the last query at the last key, to add as attn_mask.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        power = 2 ** math.floor(math.log2(num_heads))
        slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
        slopes += [2 ** (-4 * (2 * h + 1) / power) for h in range(num_heads - power)]
        self.register_buffer("slopes", from_numpy(np.array(slopes, np.float32)), persistent=False)

    def forward(self, query_length: int, key_length: int | None = None) -> Tensor:
        keys = query_length if key_length is None else key_length
        ago = np.subtract.outer(np.arange(keys - query_length, keys), np.arange(keys)).astype(np.float32)
        return from_numpy(-ago).to(self.slopes.device) * self.slopes.reshape(-1, 1, 1)

    def by_distance(self, length: int) -> Tensor:
        """(heads, length): the bias of keys 0 … length - 1 positions before the query, as a KVCache takes it."""
        return self(1, length)[:, 0].flip(-1)


class RelativePositionBias(Module):
    """A learned bias by head and distance j - i, near distances apart, far ones in logarithmic buckets (Raffel et al., 2020).

    Half of the buckets are for distances below num_buckets / 2 each, the others for those up to ``max_distance``;
    ``bidirectional`` gives each direction half of them, else keys to come have bucket 0. ``forward(L, S)`` gives
    (1, heads, L, S), the last query at the last key. ``weight`` (num_buckets, heads) is T5's relative_attention_bias.
    """

    def __init__(
        self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.num_buckets, self.max_distance, self.bidirectional = num_buckets, max_distance, bidirectional
        self.relative_attention_bias = Embedding(num_buckets, num_heads)

    def forward(self, query_length: int, key_length: int | None = None) -> Tensor:
        keys = query_length if key_length is None else key_length
        distance = np.subtract.outer(np.arange(keys), np.arange(keys - query_length, keys)).T  # key - query
        bucket = from_numpy(self._buckets(distance)).to(self.relative_attention_bias.weight.device)
        return self.relative_attention_bias(bucket).permute(2, 0, 1).unsqueeze(0)

    def by_distance(self, length: int) -> Tensor:
        """(heads, length): the bias of keys 0 … length - 1 positions before the query, as a KVCache takes it."""
        return self(1, length)[0, :, 0].flip(-1)

    def _buckets(self, distance: np.ndarray) -> np.ndarray:
        buckets, offset = self.num_buckets, np.zeros_like(distance)
        if self.bidirectional:
            buckets //= 2
            offset, distance = np.where(distance > 0, buckets, 0), np.abs(distance)
        else:
            distance = np.maximum(-distance, 0)
        exact = buckets // 2
        ratio = np.log(np.maximum(distance, 1) / exact) / math.log(self.max_distance / exact)
        far = np.minimum(exact + (ratio * (buckets - exact)).astype(np.int64), buckets - 1)
        return offset + np.where(distance < exact, distance, far)
