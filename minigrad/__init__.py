"""A deep-learning framework from scratch on NumPy: PyTorch's names, one declaration per op, read in an afternoon.

Functions and Tensor methods come from the op table (``ops/``) and from ``functions/``; this module gives them
their public place. Rooms beyond the engine (nn, optim, data, train, io …) are imported when first used.
"""

from __future__ import annotations

from . import interrupt  # first: what follows takes the longest

# isort: split
import importlib
import math
from typing import Any

from . import autograd, backend, errors, functions

# isort: split
from .kernels import numba_cpu as _numba_cpu  # type: ignore[attr-defined]  # before the function `kernels`

# isort: split
from .autograd import (
    enable_grad,
    inference_mode,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)  # fmt: skip
from .backend import current_kernels, device, get_default_device, kernels, set_default_device
from .dtypes import (
    bfloat16,
    bool_,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)  # fmt: skip
from .functions.factory import Option, contiguous_format, preserve_format, strided
from .generator import (
    Generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)  # fmt: skip
from .gradcheck import gradcheck, gradgradcheck
from .tensor import TYPE_NAMES, Size, Tensor, as_tensor, asarray, from_dlpack, from_numpy, is_tensor, tensor

__version__ = "0.1.0"

double, half, long, short = float64, float16, int64, int16
layout = memory_format = Option
inf, nan, pi, e, newaxis = math.inf, math.nan, math.pi, math.e, None

globals().update(functions.FUNCTIONS)
float, int, bool = float32, int32, bool_

_ROOMS = (
    "amp", "backends", "benchmarks", "choices", "compiler", "cuda", "data", "distributed", "func", "io", "jit", "jobs",
    "kernels",
    "linalg", "models", "nn", "optim", "pictures", "printing", "random", "special", "summaries", "testing", "text", "train",
    "transforms", "typed",
    "types", "utils", "version",
)  # fmt: skip
_ELSEWHERE = {  # public name -> its room, imported when the name is first used
    "save": "io", "load": "io", "summary": "summaries", "explain": "choices", "warmup": "choices", "draw": "pictures", "value_and_grad": "transforms",
    "set_printoptions": "printing", "get_printoptions": "printing", "printoptions": "printing",
    "autocast": "amp", "compile": "compiler", "set_default_tensor_type": "typed", "typename": "typed",
    **dict.fromkeys(("use_deterministic_algorithms", "are_deterministic_algorithms_enabled",
                     "set_float32_matmul_precision", "get_float32_matmul_precision"), "backends"),
    **dict.fromkeys((f"{name}Tensor" for name in TYPE_NAMES.values()), "typed"),
}  # fmt: skip
_COMPLEX = frozenset(("cdouble", "cfloat", "complex", "complex64", "complex128", "polar", "view_as_complex"))


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        found = getattr(importlib.import_module(f".{_ELSEWHERE[name]}", __name__), name)
    elif name in _ROOMS:
        found = importlib.import_module(f".{name}", __name__)
    elif name in _COMPLEX:
        raise AttributeError(str(errors.no_complex(f"minigrad.{name}")))
    else:
        raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_ELSEWHERE})
