"""Error texts that more than one room raises, so that each says what was expected, what came, the remedy.

Error *types* are PyTorch's (RuntimeError, IndexError, TypeError, ValueError); what belongs to a single
room is raised there. Nothing here touches arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any


def describe(value: Any) -> str:
    """Shape and dtype of a tensor or array, the repr of anything else: ``float32 (3, 4)``."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('minigrad.')} {tuple(value.shape)}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def failed(name: str, inputs: Sequence[Any], cause: BaseException) -> RuntimeError:
    """The error for an op whose forward refused its operands: broadcast failures get PyTorch's text."""
    tensors = [x for x in inputs if hasattr(x, "shape")]
    if "broadcast" in str(cause):
        pairs = itertools.combinations([tuple(x.shape) for x in tensors], 2)
        if clash := next(filter(None, itertools.starmap(broadcast_clash, pairs)), None):
            a, b, dim = clash
            return RuntimeError(
                f"{name}: The size of tensor a ({a}) must match the size of tensor b ({b}) at "
                f"non-singleton dimension {dim}; expected shapes that broadcast, got "
                f"{', '.join(describe(x) for x in tensors)}: reshape or unsqueeze one of them"
            )
    got = ", ".join(describe(x) for x in inputs) or "no inputs"
    if "negative integer powers" in str(cause):
        return RuntimeError(f"{name}: {cause} Expected floats, got {got}: convert with .float()")
    return RuntimeError(f"{name}: cannot compute with {got}: {cause}")


def broadcast_clash(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Sizes and position of the first pair of dimensions, from the right, that doesn't broadcast."""
    ndim = max(len(a), len(b))
    for k in range(1, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and 1 not in (a[-k], b[-k]):
            return a[-k], b[-k], ndim - k
    return None


def dim_out_of_range(name: str, dim: int, ndim: int) -> IndexError:
    """PyTorch's text for a dimension that the operand doesn't have."""
    n = max(ndim, 1)
    return IndexError(
        f"{name}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
    )


def check_bool(name: str, argument: str, value: Any) -> None:
    """Refuses a number for a flag: ``sum(0, 1)`` would otherwise sum over dim 0 alone, ``keepdim=1``."""
    if type(value) is not bool:
        raise TypeError(
            f"{name}(): argument {argument!r} must be bool, not {describe(value)}; several dims are given as a tuple"
        )


def check_dim(name: str, dim: Any) -> None:
    """Refuses a flag for a dimension: ``sum(True)``."""
    if isinstance(dim, bool):
        raise TypeError(f"{name}(): argument 'dim' must be int, not bool {dim}; flags are given by name")


def graph_freed(name: str) -> RuntimeError:
    """PyTorch's text for a second backward."""
    return RuntimeError(
        f"{name}: Trying to backward through the graph a second time (or directly access saved tensors after "
        f"they have already been freed). Specify retain_graph=True when calling backward the first time"
    )


def no_complex(name: str) -> TypeError:
    """The one sentence that refuses complex numbers."""
    return TypeError(
        f"{name}: complex numbers are not supported yet; keep the real and the imaginary part as two "
        f"real tensors"
    )


def refused(name: str, inputs: Sequence[Any], cause: Exception) -> Exception:
    """What a forward's failure becomes: PyTorch's type and text, or the cause itself where it is the row's own."""
    if hasattr(cause, "axis") and cause.axis is not None:  # NumPy's AxisError
        return dim_out_of_range(name, cause.axis, cause.ndim)  # type: ignore[attr-defined]
    if str(cause).startswith(name) and isinstance(cause, ValueError):
        return cause
    # NumPy's way to say that the dtype has no such operation
    if isinstance(cause, TypeError) and "ufunc" not in str(cause) and "numpy boolean" not in str(cause):
        return cause
    return failed(name, [x for x in inputs if x is not None], cause)


def other_device(name: str, expected: str, got: str) -> RuntimeError:
    """Operands on two devices."""
    return RuntimeError(
        f"{name}: Expected all tensors to be on the same device, got {expected} and {got}: move one with .to()"
    )


def no_tensor(name: str, inputs: Sequence[Any], usage: str) -> TypeError:
    """A function called without any tensor."""
    got = type(inputs[0]).__name__ if inputs else "nothing"
    return TypeError(f"{name}(): argument 'input' must be Tensor, not {got}: {usage}")


def not_a_tensor(
    name: str, names: Sequence[str], args: Sequence[Any], kwargs: dict[str, Any], cause: AttributeError
) -> TypeError | None:
    """The error for an argument that lacked what tensors have; None if the cause is about something else."""
    for i, (argument, value) in enumerate([*zip(names, args, strict=False), *kwargs.items()]):
        if value is cause.obj and not hasattr(value, "dtype"):
            return TypeError(
                f"{name}(): argument {argument!r} (position {i + 1}) must be Tensor, not {type(value).__name__}"
            )
    return None
