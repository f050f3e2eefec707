"""``torch.backends.cuda``: switches of CUDA's matrix products. They keep what they are told."""

from __future__ import annotations

from types import SimpleNamespace

from .. import backend

matmul = SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
)


def is_built() -> bool:
    """Is an array module registered as "cuda"?"""
    return "cuda" in backend.MODULES
