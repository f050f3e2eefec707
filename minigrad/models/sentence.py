"""Sentence embeddings: a text as one vector, near those of texts that mean the same (Reimers & Gurevych, 2019).

The vector is the mean of an encoder's states over the tokens, on the unit sphere. Folders are those of the
sentence-transformers library: ``modules.json`` says what is done after the encoder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..errors import describe
from ..nn import functional as F
from ..tensor import Tensor, as_tensor
from . import hub
from .attention import key_mask
from .pretrained import PreTrained, from_pretrained

_MEAN, _FIRST, _MOST = "pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens"


class SentenceEncoder:
    """A model and its tokenizer, and how the states become one vector.

    ``tokenizer(texts, truncation=True, max_length=n)["input_ids"]`` gives lists of integers. ``pooling`` is "mean",
    "cls" (the first token's state) or "max", over the tokens that aren't padding; ``normalize`` divides by the length.
    """

    def __init__(
        self,
        model: PreTrained,
        tokenizer: Any,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int = 256,
    ) -> None:
        if pooling not in ("mean", "cls", "max"):
            raise ValueError(f"SentenceEncoder: pooling: expected 'mean', 'cls' or 'max', got {pooling!r}")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.pooling, self.normalize, self.max_length = pooling, normalize, max_length

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, tokenizer: Any = None, **how: Any
    ) -> SentenceEncoder:
        """From a folder or name, as :func:`minigrad.models.from_pretrained`; its tokenizer unless one is given.

        Without ``modules.json`` the vector is the normalised mean. ValueError for a module that isn't here.
        """
        where = {k: how.pop(k) for k in ("revision", "cache_dir", "local_files_only") if k in how}
        folder = hub.locate(name, **where)
        pooling, normalize = _modules(folder)
        model = from_pretrained(folder, **how)
        if model.base_model_prefix and not hasattr(model, "generate"):  # a classifier's head isn't needed
            model = getattr(model, model.base_model_prefix, model)
        if tokenizer is None:
            from .. import text

            tokenizer = text.Tokenizer.from_pretrained(folder)
        length = _read(folder / "sentence_bert_config.json", {}).get("max_seq_length") or 512
        positions = getattr(model.config, "max_position_embeddings", length)
        return cls(model, tokenizer, pooling, normalize, min(length, positions))

    def encode(
        self, sentences: str | Sequence[str], batch_size: int = 32, convert_to_tensor: bool = False
    ) -> Any:  # fmt: skip
        """A vector (D,) of a text, or (N, D) of N; an array, or a Tensor.

        Batches are made of texts of similar length, so that little is padding; the result is in the given order.
        """
        if isinstance(sentences, str):
            return self.encode([sentences], batch_size, convert_to_tensor)[0]
        texts = list(sentences)
        if strange := [t for t in texts if not isinstance(t, str)]:
            raise TypeError(f"encode: expected a text or a list of texts, got {describe(strange[0])} in it")
        if batch_size < 1:
            raise ValueError(f"encode: batch_size: expected at least 1, got {batch_size}")
        tokens = (
            self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"] if texts else []
        )
        order = sorted(
            range(len(texts)), key=lambda i: -len(tokens[i])
        )  # the largest batch first: memory is known early
        vectors: Any = None
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            batch = self.vectors(
                *_padded([tokens[i] for i in chosen], self.model.config.pad_token_id or 0)
            ).numpy()
            if vectors is None:
                vectors = np.empty((len(texts), batch.shape[1]), batch.dtype)
            vectors[chosen] = batch
        if vectors is None:
            vectors = np.empty((0, self.model.config.hidden_size), np.float32)
        return as_tensor(vectors) if convert_to_tensor else vectors

    @no_grad()
    def vectors(self, input_ids: Any, attention_mask: Any) -> Tensor:
        """Of tokens (B, T) and their mask, (B, D)."""
        ids, mask = as_tensor(input_ids), as_tensor(attention_mask)
        states = self.model(ids, mask)[0]  # (B, T, D)
        there = key_mask(mask, ids)[:, 0, 0, :, None]  # type: ignore[index]  # (B, T, 1)
        if self.pooling == "mean":
            vectors = (states * there).sum(1) / there.sum(1).clamp(min=1)
        elif self.pooling == "max":
            vectors = states.masked_fill(~there, -1e4).amax(1)
        else:
            vectors = states[:, 0]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def similarity(self, a: Any, b: Any) -> np.ndarray:
        """Cosines of every vector of ``a`` (N, D) with every one of ``b`` (M, D): (N, M)."""
        x, y = (F.normalize(as_tensor(np.atleast_2d(np.asarray(v))), dim=-1) for v in (a, b))
        return (x @ y.T).numpy()


def _padded(rows: list[Any], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Token lists as one array (B, T), and the mask that is 1 for tokens."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), padding, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask


def _read(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def _modules(folder: Path) -> tuple[str, bool]:
    """Pooling and whether to normalise, as ``modules.json`` and the pooling's ``config.json`` say."""
    modules = _read(folder / "modules.json", None)
    if modules is None:
        return "mean", True
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    if unknown := kinds.keys() - {"Transformer", "Pooling", "Normalize"}:
        raise ValueError(
            f"{folder / 'modules.json'}: expected Transformer, Pooling and Normalize, got {', '.join(sorted(unknown))}"
        )
    if "Pooling" not in kinds:
        raise ValueError(
            f"{folder / 'modules.json'}: expected a Pooling, which makes one vector of the tokens' states"
        )
    if ".." in Path(kinds["Pooling"]).parts or Path(kinds["Pooling"]).is_absolute():
        raise ValueError(
            f"{folder / 'modules.json'}: expected a path inside the folder, got {kinds['Pooling']!r}"
        )
    settings = _read(folder / kinds["Pooling"] / "config.json", {_MEAN: True})
    chosen = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    names = {_MEAN: "mean", _FIRST: "cls", _MOST: "max"}
    if len(chosen) != 1 or chosen[0] not in names:
        raise ValueError(
            f"{folder / kinds['Pooling']}: expected one pooling of {', '.join(names)}, got {', '.join(chosen) or 'none'}"
        )
    return names[chosen[0]], "Normalize" in kinds
