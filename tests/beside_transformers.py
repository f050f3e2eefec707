"""transformers, where it and torch are installed; a test module that imports this is skipped elsewhere."""

import importlib
import os
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


def _imported():
    """transformers asks whether a package `kernels` is there, and would find this checkout's folder of that name."""
    before, offline = list(sys.path), os.environ.get("HF_HUB_OFFLINE")
    sys.path[:] = [p for p in sys.path if not (Path(p or ".") / "kernels" / "__init__.py").is_file()]
    os.environ["HF_HUB_OFFLINE"] = "1"  # read at import: no test asks the hub
    try:
        library = pytest.importorskip("transformers")
        for kind in ("bert", "distilbert", "roberta", "gpt2", "llama", "mistral", "qwen2", "t5"):
            importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        return library
    finally:
        sys.path[:] = before
        os.environ.pop("HF_HUB_OFFLINE")
        if offline is not None:
            os.environ["HF_HUB_OFFLINE"] = offline


transformers = _imported()
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
