"""What a tokenizer's call returns: a dict of lists or arrays, whose entries are attributes too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .encoding import Encoding


class BatchEncoding(dict[str, Any]):
    """``input_ids``, ``attention_mask`` (0 where filled up) and, where asked for, ``token_type_ids``,
    ``offset_mapping`` and ``special_tokens_mask``: flat for one text, a row for each text of a batch.

    A model is called with it as ``model(**batch)``.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has {', '.join(self)}, not {name!r}") from None


def gathered(
    encodings: Sequence[Encoding], real: Sequence[Sequence[int]], wanted: Sequence[str]
) -> BatchEncoding:
    """The columns of a batch by their public names."""
    columns = {
        "input_ids": [e.ids for e in encodings],
        "token_type_ids": [e.type_ids for e in encodings],
        "attention_mask": [list(row) for row in real],
        "special_tokens_mask": [e.special for e in encodings],
        "offset_mapping": [e.offsets for e in encodings],
    }
    return BatchEncoding({name: rows for name, rows in columns.items() if name in wanted})


def as_arrays(batch: BatchEncoding, kind: str) -> BatchEncoding:
    """The rows as int64 arrays (B, T), or tensors; offsets (B, T, 2).

    Raises ValueError where the rows differ in length.
    """
    if kind not in ("np", "mg"):
        raise ValueError(
            f'tokenizer: return_tensors must be None, "np" (NumPy) or "mg" (minigrad), got {kind!r}; '
            f'torch.as_tensor takes what "np" gives'
        )
    lengths = sorted({len(row) for row in batch["input_ids"]})
    if len(lengths) > 1:
        raise ValueError(
            f"tokenizer: return_tensors={kind!r} needs texts of one length, got {lengths[0]} to {lengths[-1]} tokens: "
            f"pass padding=True, and truncation=True for the longest"
        )
    for name, rows in batch.items():
        shape = (len(rows), lengths[0] if lengths else 0, *((2,) if name == "offset_mapping" else ()))
        array = np.array(rows, dtype=np.int64).reshape(shape)
        if kind == "mg":
            from ..autograd import wrap

            batch[name] = wrap(array)
        else:
            batch[name] = array
    return batch
