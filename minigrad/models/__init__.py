"""Models from pretrained files, in Hugging Face's names: one file per architecture.

``configuration.py`` reads ``config.json`` and lists what is known, ``pretrained.py`` loads and saves,
``weights.py`` opens and writes the files, ``hub.py`` finds a name, ``remote.py`` fetches it. Layers are ``nn``'s, tokenizers ``text``'s.
"""

from __future__ import annotations

import importlib
from typing import Any

from .configuration import CLASSES, PretrainedConfig, read_config
from .pretrained import PreTrained, from_pretrained

_HOMES = {name: module for module, names in CLASSES.items() for name in names}
_HOMES |= {"SentenceEncoder": "sentence"}

__all__ = ["PreTrained", "PretrainedConfig", "from_pretrained", "read_config", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minigrad.models' has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
