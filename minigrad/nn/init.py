"""How parameters begin: fills in place, unseen by autograd, under PyTorch's names.

Each returns the tensor it fills. The numbers are drawn from ``generator``, or the one in force. Sources:
Glorot & Bengio 2010 (xavier), He et al. 2015 (kaiming), Saxe et al. 2014 (orthogonal), Martens 2010 (sparse).
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from .. import backend
from ..autograd import no_grad, run, wrap
from ..errors import describe
from ..tensor import Tensor

__all__ = [
    "calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_", "kaiming_normal",
    "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_", "normal", "normal_", "ones_", "orthogonal",
    "orthogonal_", "sparse", "sparse_", "trunc_normal_", "uniform", "uniform_", "xavier_normal",
    "xavier_normal_", "xavier_uniform", "xavier_uniform_", "zeros_",
]  # fmt: skip

_SKIPPED: ContextVar[bool] = ContextVar("minigrad_init_skipped", default=False)

_UNIT_GAIN = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
)  # fmt: skip


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """A block in which the fills of this file leave tensors as they are, for modules made to be loaded.

    ``empty`` memory that nothing writes to costs nothing; nothing is drawn from the generator.
    """
    token = _SKIPPED.set(True)
    try:
        yield
    finally:
        _SKIPPED.reset(token)


def _skippable(fill: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(fill)
    def call(tensor: Tensor, *args: Any, **how: Any) -> Tensor:
        return tensor if _SKIPPED.get() else fill(tensor, *args, **how)

    return call


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What a layer's standard deviation is multiplied by so that the signal keeps its size through what follows it.

    1 for linear, convolutions and sigmoid; 5/3 tanh; √2 relu; √(2/(1 + slope²)) leaky_relu (``param`` is the
    slope, 0.01 by default); 3/4 selu. ValueError for another name.
    """
    if nonlinearity in _UNIT_GAIN:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}; expected one of {', '.join(_UNIT_GAIN)}, tanh, relu, "
                     f"leaky_relu, selu")  # fmt: skip


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs of one unit: of a weight (out, in, …) the last dimensions count for both."""
    if tensor.ndim < 2:
        raise ValueError(f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got "
                         f"shape {tuple(tensor.shape)}")  # fmt: skip
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


_calculate_fan_in_and_fan_out = _fans  # libraries on PyTorch reach for this one


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[mode == "fan_out"]


_calculate_correct_fan = _fan


def _filled(name: str, tensor: Any, method: str, *args: Any, **how: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a Tensor to fill, got {describe(tensor)}")
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return getattr(tensor, method)(*args, **how)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """U(a, b)."""
    return _filled("uniform_", tensor, "uniform_", a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """N(mean, std²)."""
    return _filled("normal_", tensor, "normal_", mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element becomes ``val``."""
    return _filled("constant_", tensor, "fill_", val)


def ones_(tensor: Tensor) -> Tensor:
    """Every element becomes 1."""
    return _filled("ones_", tensor, "fill_", 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element becomes 0."""
    return _filled("zeros_", tensor, "zero_")


@_skippable
@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """N(mean, std²) cut to [a, b], drawn by inverting its distribution function at a uniform number."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)  # fmt: skip
    scale = std * math.sqrt(2.0)
    low, high = math.erf((a - mean) / scale), math.erf((b - mean) / scale)
    u = tensor.detach().double().uniform_(low, high, generator=generator)
    return tensor.copy_((_inverse_erf(u) * scale + mean).clamp_(a, b))


def _inverse_erf(y: Any) -> Any:
    """x with erf x = y: Winitzki's (2008) estimate, then three steps of Halley's method."""
    y = y.clamp(-1 + 1e-15, 1 - 1e-15)
    log = (1 - y * y).log()
    half = 2 / (math.pi * 0.147) + log / 2
    x = y.sign() * ((half * half - log / 0.147).sqrt() - half).sqrt()
    for _ in range(3):
        step = (x.erf() - y) * (x * x).exp() * (math.sqrt(math.pi) / 2)
        x = x - step / (1 + x * step)
    return x


def _two_dimensional(name: str, tensor: Tensor) -> None:
    if tensor.ndim != 2:
        raise ValueError(
            f"{name}: Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}"
        )


@_skippable
@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix; what doesn't fit in a square is 0."""
    _two_dimensional("eye_", tensor)
    n = min(tensor.shape)
    tensor.zero_()
    tensor[range(n), range(n)] = 1.0
    return tensor


@_skippable
@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (out, in, …) that passes as many channels as it can through unchanged, in each group."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {tuple(tensor.shape)}"
        )
    if tensor.shape[0] % groups:
        raise ValueError(f"dim 0 must be divisible by groups, got {tensor.shape[0]} and {groups}")
    each, middle = tensor.shape[0] // groups, tuple(n // 2 for n in tensor.shape[2:])
    tensor.zero_()
    for g in range(groups):
        for i in range(min(each, tensor.shape[1])):
            tensor[(g * each + i, i, *middle)] = 1.0
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """U(-a, a) with a = gain · √(6 / (fan_in + fan_out))."""
    a = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """N(0, σ²) with σ = gain · √(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def _no_elements(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """U(-b, b) with b = gain · √(3 / fan); ``a`` is the slope of the leaky_relu that follows."""
    if _no_elements(tensor):
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """N(0, σ²) with σ = gain / √fan; ``a`` is the slope of the leaky_relu that follows."""
    if _no_elements(tensor):
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


@_skippable
@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """gain · Q, rows or columns orthonormal, whichever are fewer; dimensions after the first count as one."""
    if tensor.ndim < 2:
        raise ValueError(
            f"Only tensors with 2 or more dimensions are supported, got shape {tuple(tensor.shape)}"
        )
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    numbers = tensor.detach().reshape(rows, -1).clone().normal_(0, 1, generator=generator)
    q = wrap(run(_orthonormal, backend.module_of(numbers._array).m, numbers._array))
    return tensor.copy_(q.view(tensor.shape) * gain)


def _orthonormal(m: Any, a: Any) -> Any:
    """Q of a matrix's QR factorisation with R's diagonal positive: then Q is uniform (Mezzadri, 2007)."""
    wide = a if a.dtype.itemsize >= 4 else a.astype("float32")
    tall = wide if a.shape[0] >= a.shape[1] else wide.T
    q, r = m.linalg.qr(tall)
    q = q * m.sign(m.diagonal(r))
    return m.ascontiguousarray(q if a.shape[0] >= a.shape[1] else q.T).astype(a.dtype, copy=False)


@_skippable
@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """N(0, std²), the share ``sparsity`` of each column set to 0."""
    _two_dimensional("sparse_", tensor)
    rows = tensor.shape[0]
    tensor.normal_(0, std, generator=generator)
    order = tensor.detach().double().uniform_(0, 1, generator=generator).argsort(0)
    zeros = order[: math.ceil(sparsity * rows)]
    tensor.scatter_(0, zeros, 0.0)
    return tensor


def _deprecated(new: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's older name without the underscore."""
    old = new.__name__[:-1]

    @functools.wraps(new)
    def call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{old}_`.", FutureWarning, stacklevel=2
        )
        return new(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    call.__doc__ = f"Another name of ``{old}_``, deprecated."
    return call


uniform, normal, constant = _deprecated(uniform_), _deprecated(normal_), _deprecated(constant_)
eye, dirac, orthogonal, sparse = (
    _deprecated(eye_),
    _deprecated(dirac_),
    _deprecated(orthogonal_),
    _deprecated(sparse_),
)
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
