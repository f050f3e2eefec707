"""Calls as a user writes them, for every public function: run with torch and with minigrad, they must agree.

Operands are specs (``f`` floats, ``i`` integers, ``b`` booleans), made into tensors by the tests; a number, tuple or
string is passed as it stands. What lives here is data alone; the promises are in ``test_ops_torch.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.op import bools, floats, ints


class Use(NamedTuple):
    """One call: ``t.name(*args, **kwargs)``."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __repr__(self) -> str:
        words = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(words)})"


class Still(NamedTuple):
    """A float operand that torch gives no gradient: class weights, running statistics."""

    spec: floats


USES: list[Use] = []


def use(name: str, *args: Any, **kwargs: Any) -> None:
    USES.append(Use(name, args, kwargs))


def f(*shape: int, low: float = -2.0, high: float = 2.0) -> floats:
    return floats(shape, low, high)


def p(*shape: int) -> floats:
    """Positive."""
    return floats(shape, 0.2, 2.0)


def w(*shape: int) -> Still:
    """Positive weights without a gradient."""
    return Still(p(*shape))


def u(*shape: int) -> floats:
    """Probabilities."""
    return floats(shape, 0.05, 0.95)


def i(*shape: int, high: int = 4, low: int = 0) -> ints:
    return ints(shape, high, low)


def b(*shape: int) -> bools:
    return bools(shape)


def array_of(spec: Any, rng: np.random.Generator) -> Any:
    if isinstance(spec, ints):
        return rng.integers(spec.low, spec.high, spec.shape)
    if isinstance(spec, bools):
        return np.asarray(rng.integers(0, 2, spec.shape)).astype(bool)
    return np.asarray(rng.uniform(spec.low, spec.high, spec.shape))


# ---- arithmetic ------------------------------------------------------------------------------------------

for name in ("add", "sub", "mul", "subtract", "multiply", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge",
             "greater", "greater_equal", "less", "less_equal", "not_equal", "logical_and", "logical_or", "logical_xor",
             "max", "min"):  # fmt: skip
    use(name, f(3, 4), f(4))
    use(name, f(2, 1), f(3))
    use(name, f(), f(2, 0))
for name in (
    "add",
    "sub",
    "mul",
    "div",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "rsub",
    "remainder",
    "fmod",
    "floor_divide",
    "pow",
):
    use(name, p(3, 4), 2)
    use(name, p(3, 4), 1.5)
    use(name, p(), 0.75)
use("add", f(3), f(3), alpha=2)
use("add", f(3), 2, alpha=0.5)
use("sub", f(3), f(3), alpha=-1.5)
use("rsub", f(3), f(3), alpha=3)
use("rsub", f(3), 2, alpha=3)
for name in ("div", "divide", "true_divide", "floor_divide", "remainder", "fmod"):
    use(name, f(3, 4), p(4))
    use(name, f(3, 4), f(3, 1, low=-2, high=-0.5))
for mode in (None, "trunc", "floor"):
    use("div", f(3, 4), p(4), rounding_mode=mode)
    use("div", f(3, 4), f(4, low=-2, high=-0.3), rounding_mode=mode)
    use("div", i(3, 4, high=9, low=-9), i(4, high=5, low=1), rounding_mode=mode)
    use("div", i(3, 4, high=9, low=-9), -2, rounding_mode=mode)
use("pow", p(3, 4), f(4))
use("pow", f(3, 4), 3)
use("pow", f(3, 4), 0)
use("pow", p(3), -0.5)
use("pow", 2, f(3))
use("pow", 2.5, f(3))
use("pow", i(3), 2)
use("pow", i(3), i(3))
for name in ("neg", "negative", "abs", "absolute", "sign", "square", "isnan", "isinf", "isfinite", "floor", "ceil", "trunc", "fix",
             "round", "frac", "exp", "expm1", "exp2", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "erfc", "logical_not",
             "relu", "clone", "positive"):  # fmt: skip
    use(name, f(3, 4))
    use(name, f())
    use(name, f(0, 2))
for name in ("asin", "arcsin", "acos", "arccos", "atanh", "arctanh"):
    use(name, floats((3, 4), -0.9, 0.9))
for name in ("atan", "arctan", "sinh", "cosh", "asinh", "arcsinh"):
    use(name, f(3, 4))
for name in ("acosh", "arccosh"):
    use(name, floats((3, 4), 1.1, 3.0))
for name in ("atan2", "arctan2"):
    use(name, f(3, 4), p(4))
for name in ("trapezoid", "trapz"):
    use(name, f(3, 4), dim=0)
    use(name, f(3, 4), p(4))
use("quantile", f(3, 4), 0.3, 1)
use("quantile", f(3, 4), 0.6)
use("nanmean", f(3, 4), 1)
use("cummax", f(3, 4), 0)
use("cummin", f(3, 4), 1)
use("cov", f(3, 4))
use("cov", f(3, 4), aweights=w(4))
use("corrcoef", f(3, 4))
use("diff", f(3, 4), 2, 0)
use("dist", f(3), f(3), 3)
use("unfold", f(3, 6), 1, 3, 2)
use("block_diag", f(2, 2), f(3), f(1, 2))
use("cartesian_prod", f(2), f(3))
use("combinations", f(4), 3)
use("vander", f(4), 3)
use("cross", f(2, 3), f(1, 3), 1)
use("cross", f(3, 2), f(3, 2))
use("select_scatter", f(3, 4), f(3), 1, 2)
use("slice_scatter", f(3, 4), f(2, 4), 0, 1)
use("diagonal_scatter", f(3, 4), f(3))
for reduce in ("sum", "mean", "amax", "amin"):
    use("scatter_reduce", f(4), 0, i(6), f(6), reduce)
    use("scatter_reduce", f(4, 2), 0, i(3, 2), f(3, 2), reduce, include_self=True)
use("sum_to_size", f(2, 3, 4), 3, 1)
use("put", f(3, 4), i(2, high=12), f(2))
use("nan_to_num", f(3, 4))
use("logit", u(3, 4))
use("logit", u(3, 4), 0.1)
use("xlogy", f(3, 4), p(4))
use("xlogy", 2.0, p(4))
use("logaddexp", f(3, 4), f(4))
use("logaddexp2", f(3, 4), f(4))
use("float_power", p(3, 4), f(4))
use("deg2rad", f(3))
use("rad2deg", f(3))
use("sgn", i(5, low=-3))
use("heaviside", f(3, 4), f(4))
use("fmax", f(3, 4), f(4))
use("fmin", f(3, 4), f(4))
use("hypot", f(3, 4), f(4))
for name in ("log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal"):
    use(name, p(3, 4))
    use(name, p())
use("round", f(3, 4), decimals=1)
use("round", f(3, 4, low=-200, high=200), decimals=-1)
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    use(name, i(3, 4, low=-4), i(4))
    use(name, b(3), b(3))
    use(name, i(3), 5)
for name in ("bitwise_left_shift", "bitwise_right_shift"):
    use(name, i(3, 4, low=-4), i(4))
    use(name, i(3), 2)
use("bitwise_not", i(3, 4))
use("bitwise_not", b(3))
use("lerp", f(3, 4), f(4), 0.3)
use("lerp", f(3, 4), f(3, 4), u(4))
use("addcmul", f(3, 4), f(4), f(3, 1), value=0.5)
use("addcmul", f(3), f(3), f(3))
use("addcdiv", f(3, 4), f(4), p(3, 1), value=-2)
use("addcdiv", f(3), f(3), p(3))
use("clamp", f(3, 4), -0.5, 0.5)
use("clamp", f(3, 4), min=-0.5)
use("clamp", f(3, 4), max=0.5)
use("clamp", f(3, 4), f(4), f(3, 1))
use("clamp", f(3, 4), min=f(4))
use("clamp", f(3, 4), 0.5, -0.5)
use("clip", f(3, 4), -0.5, 0.5)
use("clamp", i(5, low=-9, high=9), -2, 3)
use("clamp", i(5, low=-9, high=9), -2.5, 3)
use("clamp_min", f(3, 4), 0.1)
use("clamp_max", f(3, 4), 0.1)
use("clamp_min", f(3, 4), f(4))
use("where", b(3, 4), f(3, 4), f(4))
use("where", b(3, 4), f(3, 4), 0.0)
use("where", b(3, 4), 1.0, f(4))
use("where", b(3), 1, 2)
use("where", b(3), 1.0, 2)
use("where", b(3, 4))
use("isclose", f(3, 4), f(3, 4))
use("isclose", i(3, 4), i(3, 4))
use("isclose", f(3, 4), f(3, 4), rtol=0.5, atol=0.5, equal_nan=True)
use("allclose", f(3, 4), f(3, 4), rtol=10.0)
use("equal", f(3), f(3))
use("equal", f(3), f(4))

# ---- reductions ------------------------------------------------------------------------------------------

for name in ("sum", "mean", "amax", "amin", "nansum", "logsumexp", "var", "std"):
    for dim in (0, -1, (0, 2), (-1, 1), (0, 1, 2)):
        for keepdim in (False, True):
            use(name, f(2, 3, 4), dim=dim, keepdim=keepdim)
    if name != "logsumexp":
        use(name, f(3, 4))
        use(name, f())
for name in ("sum", "mean", "amax", "amin", "nansum"):
    use(name, f(3, 4), dim=())
    use(name, f(3, 4), dim=None)
for name in ("sum", "mean", "prod", "nansum"):
    use(name, f(0, 3))
    use(name, f(0, 3), 0)
    use(name, f(0, 3), 1)
    use(name, f(3, 4), 1, True)
    use(name, f(3, 4), axis=0, keepdims=True)
    use(name, f(), 0)
    use(name, f(), -1, True)
for name in ("var", "std", "var_mean", "std_mean"):
    use(name, f(3, 4), 1)
    use(name, f(3, 4), 0, False)
    use(name, f(3, 4), unbiased=False)
    use(name, f(3, 4), dim=1, unbiased=False, keepdim=True)
    use(name, f(3, 4), dim=1, correction=0)
    use(name, f(3, 4), dim=(0, 1), correction=2)
    use(name, f(1, 4), dim=0)
use("var", f(3, 4), False)
use("std", f(3, 4), True)
for name in (
    "prod",
    "cumsum",
    "cumprod",
    "argmax",
    "argmin",
    "max",
    "min",
    "all",
    "any",
    "median",
    "sort",
    "argsort",
    "softmax",
    "log_softmax",
):
    use(name, f(3, 4), 0)
    use(name, f(2, 3, 4), -2)
    use(name, f(3, 4), dim=1)
    use(name, f(), 0)
for name in ("prod", "argmax", "argmin", "max", "min", "all", "any", "median"):
    use(name, f(3, 4))
    use(name, f())
    use(name, f(3, 4), 1, True)
    use(name, f(3, 4), dim=0, keepdim=True)
use("any", b(2, 3, 4), dim=(0, 1))
use("all", b(2, 3, 4), dim=(0, -1), keepdim=True)
use("any", b(0, 3))
use("all", b(0, 3), 0)
use("prod", i(3, 4), 0)
use("argmax", f(3, 0), 0)
use("max", f(3, 0), 0)
use("sum", i(3, 4), 0)
use("sum", b(3, 4))
use("sum", f(3, 4), dtype="float64")
use("sum", i(3, 4), 0, dtype="float32")
use("mean", i(3, 4), dtype="float64")
use("prod", f(3, 4), dtype="float64")
use("cumsum", i(3, 4), 0, dtype="float32")
use("cumsum", b(3, 4), 1)
use("softmax", f(3, 4), 1, dtype="float64")
use("log_softmax", f(3, 4), dim=-1, dtype="float64")
use("softmin", f(3, 4), dim=1)
use("amax", f(3, 4))
use("amin", i(3, 4), dim=1)
use("aminmax", f(3, 4))
use("aminmax", f(3, 4), dim=1, keepdim=True)
use("count_nonzero", i(3, 4))
use("count_nonzero", i(3, 4), dim=0)
use("count_nonzero", i(2, 3, 4), dim=(0, 2))
for dim in (0, -1, (0, 2), (-1, 1)):
    use("norm", f(2, 3, 4), dim=dim, keepdim=True)
for order in (1, 2, 3, 0, 0.5, float("inf"), -float("inf"), "fro"):
    use("norm", f(3, 4), p=order, dim=1)
    use("norm", f(3, 4), p=order)
use("norm", f(3, 4), 2, 1, True)
use("sort", f(3, 4), -1, True)
use("sort", f(3, 4), descending=True)
use("sort", f(3, 4), stable=True, dim=0)
use("argsort", f(3, 4), -1, True)
use("argsort", i(9), stable=True)
use("msort", f(4, 3))
use("topk", f(3, 5), 2)
use("topk", f(3, 5), 3, 0)
use("topk", f(3, 5), 2, largest=False)
use("topk", f(3, 5), 0)
use("kthvalue", f(3, 5), 2)
use("kthvalue", f(3, 5), 3, 0, True)
use("bincount", i(9))
use("bincount", i(9), minlength=7)
use("bincount", i(9), f(9))
use("bincount", i(0))
use("logsumexp", f(3, 4), 0)
use("logsumexp", f(0, 4), 0)
use("logsumexp", i(3, 4), 1)
use("trace", f(3, 4))
use("cosine_similarity", f(3, 4), f(3, 4))
use("cosine_similarity", f(3, 4), f(1, 4), dim=-1)
use("normalize", f(3, 4))
use("normalize", f(3, 4), p=1, dim=0)

# ---- shapes ----------------------------------------------------------------------------------------------

use("reshape", f(2, 6), (3, 4))
use("reshape", f(2, 6), (-1,))
use("reshape", f(2, 6), (2, -1, 3))
use("reshape", f(), (1, 1))
use("reshape", f(0, 3), (0, 5))
use("view_as", f(2, 6), f(3, 4))
use("reshape_as", f(2, 6), f(3, 4))
use("permute", f(2, 3, 4), (2, 0, 1))
use("permute", f(2, 3, 4), (-1, 0, 1))
use("permute", f(), ())
for name in ("transpose", "swapaxes", "swapdims"):
    use(name, f(2, 3, 4), 0, 2)
    use(name, f(2, 3, 4), -1, 1)
use("transpose", f(), 0, -1)
use("t", f(2, 3))
use("t", f(3))
use("t", f())
use("adjoint", f(2, 3, 4))
for name in ("movedim", "moveaxis"):
    use(name, f(2, 3, 4), 0, -1)
    use(name, f(2, 3, 4), (0, 1), (1, 2))
use("squeeze", f(1, 3, 1))
use("squeeze", f(1, 3, 1), 0)
use("squeeze", f(1, 3, 1), 1)
use("squeeze", f(1, 3, 1), (0, 2))
use("squeeze", f(), 0)
use("unsqueeze", f(2, 3), 0)
use("unsqueeze", f(2, 3), -1)
use("unsqueeze", f(), 0)
use("flatten", f(2, 3, 4))
use("flatten", f(2, 3, 4), 1)
use("flatten", f(2, 3, 4), 0, 1)
use("flatten", f())
use("ravel", f(2, 3))
use("unflatten", f(2, 6), 1, (2, 3))
use("unflatten", f(2, 6), -1, (-1, 3))
use("expand", f(3, 1), 2, 3, 4)
use("expand", f(3, 1), (-1, 4))
use("expand_as", f(3, 1), f(2, 3, 4))
use("broadcast_to", f(3, 1), (2, 3, 4))
use("broadcast_tensors", f(3, 1), f(4), f())
use("broadcast_shapes", (3, 1), (4,), ())
use("repeat", f(2, 3), 2, 1, 2)
use("repeat", f(3), (2, 2))
use("repeat", f(2, 3), 0, 2)
use("tile", f(2, 3), (2,))
use("tile", f(2, 3), (2, 1, 2))
use("repeat_interleave", f(2, 3), 2)
use("repeat_interleave", f(2, 3), 2, 1)
use("repeat_interleave", f(2, 3), i(3), dim=1)
use("repeat_interleave", f(2, 3), i(1, low=2, high=3), dim=0)
for name in ("cat", "concat", "concatenate"):
    use(name, [f(2, 3), f(1, 3)])
    use(name, [f(2, 3), f(2, 1)], 1)
    use(name, (f(2, 3), f(2, 2)), dim=-1)
    use(name, [f(2, 3), i(2, 3)])
    use(name, [f(0), f(2, 3)])
    use(name, [f(2)])
use("stack", [f(2, 3), f(2, 3)])
use("stack", [f(2, 3), f(2, 3)], 1)
use("stack", [f(2, 3), f(2, 3)], dim=-1)
use("stack", [f(), f(), f()])
for name in ("hstack", "vstack", "column_stack", "row_stack", "dstack"):
    use(name, [f(3), f(3)])
    use(name, [f(2, 3), f(2, 3)])
    use(name, [f(), f()])
use("atleast_1d", f())
use("atleast_2d", f(3))
use("atleast_3d", f(3))
use("atleast_1d", (f(), f(2)))
use("atleast_2d", f(), f(2))
use("narrow", f(3, 4), 1, 1, 2)
use("narrow", f(3, 4), 0, -2, 2)
use("select", f(3, 4), 1, -2)
use("split", f(5, 4), 2)
use("split", f(5, 4), (1, 4))
use("split", f(5, 4), 3, dim=-1)
use("split_with_sizes", f(5, 4), (2, 3))
use("chunk", f(5, 4), 3)
use("chunk", f(5, 4), 2, 1)
use("chunk", f(2), 5)
use("tensor_split", f(5, 4), 3)
use("tensor_split", f(5, 4), (1, 3))
use("tensor_split", f(5, 4), (1, -1), dim=1)
use("unbind", f(3, 2))
use("unbind", f(3, 2), -1)
use("flip", f(3, 4), (0,))
use("flip", f(3, 4), (0, -1))
use("fliplr", f(3, 4))
use("flipud", f(3, 4))
use("roll", f(3, 4), 1)
use("roll", f(3, 4), -2, 1)
use("roll", f(3, 4), (1, 2), (0, 1))
use("roll", f(3, 4), 5, 0)
use("rot90", f(3, 4))
use("rot90", f(3, 4), 3, (0, 1))
use("diagonal", f(3, 4))
use("diagonal", f(3, 4), 1)
use("diagonal", f(2, 3, 4), -1, 1, 2)
use("diagonal", f(2, 3, 4), offset=5, dim1=0, dim2=2)
use("diag", f(3))
use("diag", f(3), -1)
use("diag", f(3, 4), 1)
use("diag_embed", f(2, 3))
use("diagflat", f(2, 2), 1)
use("meshgrid", f(2), f(3), indexing="ij")
use("meshgrid", f(2), f(3), f(4), indexing="xy")
use("tril", f(3, 4))
use("tril", f(2, 3, 3), 1)
use("triu", f(3, 4), -1)
use("triu", f(3, 4), diagonal=1)
use("pad", f(3, 4), (1, 2))
use("pad", f(3, 4), (1, 0, 2, 1), value=1.5)
use("pad", f(3, 4), (-1, 1))
use("pad", f(2, 3, 4), (1, 2), mode="reflect")
use("pad", f(2, 3, 4), (1, 2), mode="replicate")
use("pad", f(2, 3, 4), (1, 2), mode="circular")
use("pad", f(1, 2, 3, 4), (1, 2, 1, 1), mode="reflect")

# ---- picking and placing ---------------------------------------------------------------------------------

use("gather", f(3, 4), 0, i(2, 4, high=3))
use("gather", f(3, 4), -1, i(3, 6))
use("gather", f(), 0, i(high=1))
use("take_along_dim", f(3, 4), i(1, 4, high=3, low=-3), 0)
use("index_fill", f(3, 4), 0, i(2, high=3, low=-3), 0.5)
use("take_along_dim", f(3, 4), i(3, 1), 1)
use("take_along_dim", f(3, 4), i(5, high=12))
use("take", f(3, 4), i(2, 2, high=12))
use("take", f(3, 4), i(2, low=-12, high=0))
use("scatter", f(3, 5), 0, i(1, 5, high=3, low=2), f(1, 5))
use("scatter", f(3, 5), 1, i(3, 1), 7.5)
use("scatter", f(3, 5), 1, i(3, 1), value=7.5)
use("scatter", f(3, 5), 1, i(3, 2), f(3, 2), reduce="add")
use("scatter_add", f(3, 5), 0, i(2, 5, high=3), f(2, 5))
use("scatter_add", f(3, 5), 1, i(2, 2), f(3, 3))
use("index_select", f(3, 4), 0, i(5, high=3))
use("index_select", f(3, 4), -1, i(2))
use("index_select", f(), 0, i(1, high=1))
use("index_add", f(3, 4), 0, i(5, high=3), f(5, 4))
use("index_add", f(3, 4), 1, i(2), f(3, 2), alpha=0.5)
use("index_copy", f(3, 4), 0, i(1, high=3), f(1, 4))
use("index_fill", f(3, 4), 1, i(2), 0.5)
use("index_put", f(3, 4), (i(2, high=3), i(2)), f(2), accumulate=True)
use("index_put", f(3, 4), (i(1, high=3),), f(4))
use("masked_fill", f(3, 4), b(3, 4), 0.5)
use("masked_fill", f(3, 4), b(4), -float("inf"))
use("masked_fill", f(3, 4), b(3, 1), f())
use("masked_scatter", f(3, 4), b(3, 4), f(12))
use("masked_select", f(3, 4), b(3, 4))
use("masked_select", f(3, 4), b(4))
use("nonzero", i(3, 4))
use("nonzero", i())
use("nonzero", i(3, 4), as_tuple=True)
use("argwhere", i(3, 4))
use("one_hot", i(3))
use("one_hot", i(2, 3), 6)
use("one_hot", i(0), num_classes=3)

# ---- products --------------------------------------------------------------------------------------------

for shapes in (((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
               ((5, 1, 2, 3), (6, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 3))):  # fmt: skip
    use("matmul", f(*shapes[0]), f(*shapes[1]))
use("matmul", i(2, 3), i(3, 4))
use("mm", f(2, 3), f(3, 4))
use("bmm", f(5, 2, 3), f(5, 3, 4))
use("mv", f(2, 3), f(3))
use("dot", f(3), f(3))
use("dot", i(3), i(3))
use("inner", f(2, 3), f(4, 3))
use("outer", f(2), f(3))
use("ger", f(2), f(3))
use("kron", f(2, 2), f(2, 3))
use("addmm", f(2, 4), f(2, 3), f(3, 4))
use("addmm", f(4), f(2, 3), f(3, 4), beta=0.5, alpha=2)
use("addmm", f(4), f(2, 3), f(3, 4), beta=0)
use("addmv", f(2), f(2, 3), f(3), beta=0.5, alpha=2)
use("baddbmm", f(5, 2, 4), f(5, 2, 3), f(5, 3, 4), beta=0.5)
use("tensordot", f(2, 3, 4), f(3, 4, 5))
use("tensordot", f(2, 3), f(4, 5), dims=0)
use("tensordot", f(2, 3, 4), f(4, 3, 5), dims=([1, 2], [1, 0]))
use("einsum", "ij,jk->ik", f(2, 3), f(3, 4))
use("einsum", "ij,jk", f(2, 3), f(3, 4))
use("einsum", "ii->i", f(3, 3))
use("einsum", "ii", f(3, 3))
use("einsum", "...ij,...jk->...ik", f(5, 2, 3), f(3, 4))
use("einsum", "bij,bjk,bkl->bil", f(2, 3, 4), f(2, 4, 5), f(2, 5, 2))
use("einsum", "i,j->ji", f(2), f(3))
use("einsum", "ij->", f(2, 3))
use("einsum", " i j , j k -> i k ", f(2, 3), f(3, 4))
use("einsum", "bhqd,bhkd->bhqk", f(2, 2, 3, 4), f(2, 2, 5, 4))
use("einsum", f(2, 3), [0, 1], f(3, 4), [1, 2], [0, 2])
use("einsum", f(2, 3), [0, 1], f(3, 4), [1, 2])
use("einsum", f(5, 2, 3), [Ellipsis, 0, 1], f(3, 4), [1, 2], [Ellipsis, 0, 2])

# ---- activations and layers ------------------------------------------------------------------------------

for name in ("silu", "gelu", "elu", "leaky_relu", "softplus", "logsigmoid", "relu6", "hardtanh", "hardsigmoid", "hardswish", "selu", "celu",
             "softsign", "tanhshrink", "mish", "hardshrink", "softshrink"):  # fmt: skip
    use(name, f(3, 4, low=-5, high=8))
    use(name, f(0, 2))
use("gelu", f(3, 4), approximate="tanh")
use("elu", f(3, 4), 0.5)
use("celu", f(3, 4), 0.5)
use("leaky_relu", f(3, 4), 0.2)
use("softplus", f(3, 4, low=-30, high=30), 2.0, 5.0)
use("hardtanh", f(3, 4), -0.5, 1.5)
use("prelu", f(2, 3), p(1))
use("prelu", f(2, 3, 4), p(3))
use("glu", f(3, 4))
use("glu", f(4, 3), 0)
use("linear", f(5, 3), f(2, 3), f(2))
use("linear", f(3), f(2, 3))
use("linear", f(4, 5, 3), f(2, 3), f(2))
use("layer_norm", f(2, 3, 4), (4,))
use("layer_norm", f(2, 3, 4), (3, 4), f(3, 4), f(3, 4), 1e-3)
use("layer_norm", f(2, 3, 4), (4,), f(4))
use("rms_norm", f(2, 3, 4), (4,), f(4))
use("rms_norm", f(2, 3, 4), (3, 4), None, 1e-3)
use("batch_norm", f(4, 3), None, None, training=True)
use("batch_norm", f(4, 3, 2), Still(f(3)), w(3), f(3), f(3))
use("batch_norm", f(4, 3), Still(f(3)), w(3), f(3), f(3), False, 0.3, 1e-2)
use("dropout", f(3, 4), 0.5, False)
use("dropout", f(3, 4), 0.0)
use("dropout", f(3, 4), 1.0)
for name, shape in (("dropout1d", (2, 3, 4)), ("dropout2d", (2, 3, 4, 4)), ("dropout3d", (2, 3, 2, 2, 2)), ("alpha_dropout", (3, 4)),
                    ("feature_alpha_dropout", (2, 3, 4))):  # fmt: skip
    use(name, f(*shape), 0.5, False)
use("rrelu", f(3, 4))
use("rrelu", f(3, 4), 0.1, 0.2, training=False)
use("threshold", f(3, 4), 0.5, -9.0)
use("threshold", i(5, low=-3), -0.5, 1.5)
use("embedding", i(2, 3), f(4, 5))
use("embedding", i(2, 3), f(4, 5), padding_idx=-1)
use("embedding", i(2, 3), f(4, 5), 1, scale_grad_by_freq=True)
for reduction in ("none", "mean", "sum"):
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        use(name, f(3, 4), f(3, 4), reduction=reduction)
    use("binary_cross_entropy", u(3, 4), u(3, 4), reduction=reduction)
    use("binary_cross_entropy", u(3, 4), u(3, 4), w(4), reduction=reduction)
    use("binary_cross_entropy_with_logits", f(3, 4), u(3, 4), reduction=reduction)
    use("binary_cross_entropy_with_logits", f(3, 4), u(3, 4), w(3, 4), pos_weight=w(4), reduction=reduction)
    use("kl_div", f(3, 4), u(3, 4), reduction=reduction)
    use("kl_div", f(3, 4), f(3, 4), reduction=reduction, log_target=True)
    for target, kwargs in ((i(5, high=3), {}), (i(5, high=3), {"ignore_index": 1})):
        use("nll_loss", f(5, 3), target, reduction=reduction, **kwargs)
        use("nll_loss", f(5, 3), target, w(3), reduction=reduction, **kwargs)
        for smoothing in (0.0, 0.2):
            use("cross_entropy", f(5, 3), target, reduction=reduction, label_smoothing=smoothing, **kwargs)
            use(
                "cross_entropy",
                f(5, 3),
                target,
                w(3),
                reduction=reduction,
                label_smoothing=smoothing,
                **kwargs,
            )
    use("cross_entropy", f(2, 3, 4), i(2, 4, high=3), reduction=reduction)
    use("cross_entropy", f(2, 3, 4, 2), i(2, 4, 2, high=3), w(3), reduction=reduction, label_smoothing=0.1)
    use("nll_loss", f(2, 3, 4), i(2, 4, high=3), w(3), reduction=reduction)
    use("cross_entropy", f(0, 3), i(0, high=3), reduction=reduction, label_smoothing=0.1)
    use("nll_loss", f(0, 3), i(0, high=3), reduction=reduction)
    use("cross_entropy", f(3), i(high=3), reduction=reduction)
    use("cross_entropy", f(5, 3), u(5, 3), reduction=reduction)
    use("cross_entropy", f(5, 3), u(5, 3), w(3), reduction=reduction, label_smoothing=0.2)
    use("cross_entropy", f(2, 3, 4), u(2, 3, 4), w(3), reduction=reduction)
use("kl_div", f(3, 4), u(3, 4), reduction="batchmean")
use("smooth_l1_loss", f(3, 4), f(3, 4), beta=0.5)
use("smooth_l1_loss", f(3, 4), f(3, 4), beta=0.0)
use("huber_loss", f(3, 4), f(3, 4), delta=0.5)
use("mse_loss", f(3, 4), f(3, 4), weight=w(3, 4))
use("scaled_dot_product_attention", f(2, 3, 4), f(2, 5, 4), f(2, 5, 6))
use("scaled_dot_product_attention", f(2, 2, 3, 4), f(2, 2, 3, 4), f(2, 2, 3, 4), is_causal=True)
use("scaled_dot_product_attention", f(2, 3, 4), f(2, 5, 4), f(2, 5, 6), b(3, 5))
use("scaled_dot_product_attention", f(2, 3, 4), f(2, 5, 4), f(2, 5, 6), f(3, 5), scale=0.3)
use("scaled_dot_product_attention", f(2, 4, 3, 4), f(2, 2, 5, 4), f(2, 2, 5, 6), enable_gqa=True)
use("scaled_dot_product_attention", f(3, 4), f(5, 4), f(5, 6))
