"""Hugging Face's ``tokenizers`` behind the same interface: as fast as Rust is, and it opens models that ours doesn't."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .definition import Definition
from .encoding import Encoding, truncated
from .tokenizer import Tokenizer


def installed() -> bool:
    """Whether the library is there."""
    from importlib.util import find_spec

    return find_spec("tokenizers") is not None


class LibraryTokenizer(Tokenizer):
    """The tokenizer that the library makes of a tokenizer.json.

    Raises ImportError where the library isn't installed, ValueError where it refuses the definition.
    """

    backend = "tokenizers"

    def __init__(
        self,
        definition: Mapping[str, Any],
        config: Mapping[str, Any] | None = None,
        place: str = "tokenizer.json",
    ) -> None:
        try:
            import tokenizers
        except ImportError:
            raise ImportError(
                'tokenizer: backend="tokenizers" needs the package tokenizers, which isn\'t installed: '
                "pip install 'minigrad-xp[text]', or backend=\"own\""
            ) from None
        self.definition = definition
        try:
            self.library = tokenizers.Tokenizer.from_str(json.dumps(definition))
        except Exception as e:  # the library raises Exception itself
            raise ValueError(f"{place}: the library tokenizers refuses it: {e}") from None
        self.library.no_padding()
        self.library.no_truncation()
        super().__init__(config or {})

    def vocabulary(self) -> Mapping[str, int]:
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.library.get_vocab(with_added_tokens=True)  # type: ignore[no-any-return]

    @property
    def vocab_size(self) -> int:
        return self.library.get_vocab_size(with_added_tokens=False)  # type: ignore[no-any-return]

    @cached_property
    def _special(self) -> frozenset[int]:
        d = Definition(self.definition, "tokenizer.json")
        added = d.parts("added_tokens") if d.get("added_tokens") else []
        return frozenset(part.number("id") for part in added if part.flag("special", False))

    def special_ids(self) -> frozenset[int]:
        return self._special

    def special_count(self, pair: bool = False) -> int:
        return self.library.num_special_tokens_to_add(pair)  # type: ignore[no-any-return]

    def encodings(
        self, texts: Sequence[tuple[str, str | None]], special: bool, length: int | None, strategy: str
    ) -> list[Encoding]:
        try:
            if length is not None:
                self.library.enable_truncation(length, strategy=strategy, direction=self.truncation_side)
            inputs = [a if b is None else (a, b) for a, b in texts]
            found = self.library.encode_batch(inputs, add_special_tokens=special)
        except Exception as e:  # the library raises Exception itself
            self.library.no_truncation()
            self._explain(texts, special, length or 0, strategy)
            raise ValueError(f"tokenizer: a batch of {len(texts)} can't be encoded: {e}") from None
        finally:
            self.library.no_truncation()
        return [Encoding(e.ids, e.type_ids, e.offsets, e.special_tokens_mask, [""] * len(e)) for e in found]

    def _explain(
        self, texts: Sequence[tuple[str, str | None]], special: bool, length: int, strategy: str
    ) -> None:
        """Raises our own error where a text can't be shortened."""
        nothing = Encoding([], [], [], [], [])
        for pair in texts:
            room = length - (self.special_count(pair[1] is not None) if special else 0)
            first, second = (t and self.encodings([(t, None)], False, None, "")[0] for t in pair)
            truncated(first or nothing, second or nothing, room, strategy, self.truncation_side)

    def text_of(self, ids: Sequence[int], skip: bool) -> str:
        return self.library.decode(list(ids), skip_special_tokens=skip)  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        from ..io import atomic_write

        with atomic_write(folder / "tokenizer.json") as f:
            f.write(json.dumps(self.definition, indent=2, ensure_ascii=False).encode())
