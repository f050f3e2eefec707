"""The memory of a decoder: the keys and values of what it has read, so that each new token costs one token's work."""

from __future__ import annotations

from typing import Any

from ..autograd import apply
from ..errors import describe
from ..functions.creation import arange, zeros
from ..modes import no_grad
from ..op import OPS
from ..tensor import Tensor


class KVCache:
    """Keys and values by layer, (batch, heads, slots, head_dim), and the position of the next token.

    ``length`` is how many positions it holds. ``window``: a token attends to its own position and window - 1 before,
    so that slots are used again and a text may be of any length; tokens then come at most ``chunk`` at a time.
    ``quantized`` keeps int8 with a scale by position and head: a quarter of the memory.
    ``start`` (batch,): where each row's text begins, when prompts of unequal lengths are padded on the left.

    No gradients are recorded through it. ``position`` is a tensor, so that a compiled step is the same at all of them.
    """

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, head_dim: int, *, dtype: Any = None, device: Any = None,
        window: int | None = None, chunk: int = 64, quantized: bool = False, start: Tensor | None = None,
    ) -> None:  # fmt: skip
        if window is not None and (window < 1 or chunk < 1):
            raise ValueError(f"KVCache: expected window and chunk of at least 1, got {window} and {chunk}")
        self.length, self.window, self.quantized = length, window, quantized
        slots = length if window is None else min(length, window + chunk - 1)
        self.chunk = length if slots == length else chunk
        self.bounded = slots == length  # nothing is written over
        shape = (batch, heads, slots, head_dim)
        kind = {"dtype": "int8" if quantized else dtype, "device": device}
        self.keys = [zeros(*shape, **kind) for _ in range(layers)]
        self.values = [zeros(*shape, **kind) for _ in range(layers)]
        scale = {"dtype": "float32", "device": device}
        self.key_scales = [zeros(*shape[:3], 1, **scale) if quantized else None for _ in range(layers)]
        self.value_scales = [zeros(*shape[:3], 1, **scale) if quantized else None for _ in range(layers)]
        self.position = zeros((), dtype="int64", device=device)
        self.start = start

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, and of their scales."""
        held = [*self.keys, *self.values, *self.key_scales, *self.value_scales]
        return sum(t.numel() * t.dtype.itemsize for t in held if t is not None)

    def positions(self, tokens: int) -> Tensor:
        """Those of the next tokens: (T,), or with ``start`` (B, T), counted from where each row's text begins."""
        places = arange(tokens, device=self.position.device) + self.position
        return places if self.start is None else (places - self.start[:, None]).clamp(min=0)

    @no_grad()
    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, bias: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """Keeps key and value (B, heads, L, D) of the next L tokens, and lets query (B, heads · groups, L, D) attend to all.

        ``bias`` (heads · groups, N) is added to the scores of keys 0 … N - 1 positions back.
        """
        if query.shape[2] > self.chunk:
            raise ValueError(
                f"KVCache: expected at most {self.chunk} tokens at a time, got {query.shape[2]}; feed a longer text in pieces"
            )
        keys, values = self.keys[layer], self.values[layer]
        if key.shape[:2] != keys.shape[:2] or key.shape[3] != keys.shape[3] or query.shape[1] % keys.shape[1]:
            raise RuntimeError(
                f"KVCache: expected keys (B, heads, L, D) as the cache's {list(keys.shape)} and a multiple of its heads in the "
                f"query, got {describe(key)} and {describe(query)}"
            )
        scales = self.key_scales[layer], self.value_scales[layer]
        for cache, new, by in ((keys, key, scales[0]), (values, value, scales[1])):
            apply(OPS["write_cache"], (cache, new, self.position, by), {"bounded": self.bounded})
        return apply(
            OPS["cached_attention"], (query, keys, values, self.position, self.start, *scales, bias),
            {"scale": scale, "window": self.window},
        )  # fmt: skip

    @no_grad()
    def advance(self, tokens: int) -> None:
        """Says that all layers have read this many tokens more."""
        self.position += tokens

    @no_grad()
    def reset(self, start: Tensor | None = None) -> None:
        """Forgets everything, for texts that begin anew; a ``start`` takes the place of the one that was there."""
        self.position.zero_()
        if self.start is not None and start is not None:
            self.start.copy_(start)
        else:
            self.start = start

    @no_grad()
    def select(self, rows: Tensor) -> None:
        """Row b becomes what row ``rows[b]`` was, as beam search asks for."""
        read = int(self.position)  # later slots hold nothing yet
        for held in (self.keys, self.values, self.key_scales, self.value_scales):
            for t in held:
                if t is not None:
                    t[:, :, :read] = t[:, :, :read][rows]
        if self.start is not None:
            self.start.copy_(self.start[rows])
