"""Rows that work element by element: arithmetic, comparison, rounding, functions, activations.

Operands broadcast and promote; un-broadcasting is the engine's. ``out`` in a rule is the op's result.
"""

from __future__ import annotations

from typing import Any

from ..op import case, elementwise, floats

# ---- arithmetic ------------------------------------------------------------------------------------------


@elementwise(
    promote="same", public=False, rewrites=["add(x, neg(y)) -> sub(x, y)", "add(neg(x), y) -> sub(y, x)"]
)
def add(m, x, y):
    """x + y."""
    return m.logical_or(x, y) if _is_bool(x) and _is_bool(y) else m.add(x, y)


@add.vjp("x")
def _(m, g):
    return g


@add.vjp("y")
def _(m, g):
    return g


def _is_bool(x: Any) -> bool:
    return getattr(getattr(x, "dtype", None), "kind", None) == "b" or isinstance(x, bool)


@elementwise(
    promote="same", public=False, numpy="subtract", rewrites=["sub(x, neg(y)) -> add(x, y)", "sub(x, 0) -> x"]
)
def sub(m, x, y):
    """x - y."""
    return m.subtract(x, y)


@sub.vjp("x")
def _(m, g):
    return g


@sub.vjp("y")
def _(m, g):
    return -g


@elementwise(
    promote="same",
    numpy="multiply",
    rewrites=["mul(x, 1) -> x", "mul(1, x) -> x", "mul(neg(x), neg(y)) -> mul(x, y)"],
)
def mul(m, x, y):
    """x · y."""
    return m.multiply(x, y)


@mul.vjp("x")
def _(m, g, y):
    return g * y


@mul.vjp("y")
def _(m, g, x):
    return g * x


@elementwise(
    domain=((-2, 2), (0.5, 2)),
    public=False,
    numpy="divide",
    rewrites=["div(x, 1) -> x", "div(neg(x), neg(y)) -> div(x, y)"],
)
def div(m, x, y):
    """x / y."""
    return m.divide(x, y)


@div.vjp("x")
def _(m, g, y):
    return g / y


@div.vjp("y")
def _(m, g, x, y):
    return -g * x / (y * y)


def _check_divisor(m: Any, name: str, x: Any, y: Any) -> None:
    """Integers have no infinity and no NaN to answer a division by zero with; booleans don't divide."""
    kind = getattr(getattr(y, "dtype", None), "kind", "f")
    if kind == "b" and _is_bool(x):
        raise NotImplementedError(f"{name}: not implemented for bool; expected numbers, convert with .int()")
    if kind in "iu" and not m.all(y):
        raise RuntimeError(f"{name}: ZeroDivisionError: integers divided by zero, where floats give inf or nan; expected a "
                           f"divisor without zeros, convert with .float()")  # fmt: skip


@elementwise(promote="same", numpy="floor_divide", domain=((3.2, 4.1), (1.4, 1.5)), analytic=False)
def floor_divide(m, x, y):
    """⌊x / y⌋; its gradient is zero where it has one."""
    _check_divisor(m, "floor_divide", x, y)
    return m.floor_divide(x, y)


@floor_divide.vjp
def _(m, g):
    return m.zeros_like(g), m.zeros_like(g)


@elementwise(promote="same", domain=((3.2, 4.1), (1.4, 1.5)), analytic=False)
def remainder(m, x, y):
    """x - y·⌊x / y⌋, with the sign of y (Python's %)."""
    _check_divisor(m, "remainder", x, y)
    return m.remainder(x, y)


@remainder.vjp("x")
def _(m, g):
    return g


@remainder.vjp("y")
def _(m, g, x, y):
    return -g * m.floor(x / y)


@elementwise(promote="same", domain=((3.2, 4.1), (1.4, 1.5)), analytic=False)
def fmod(m, x, y):
    """x - y·trunc(x / y), with the sign of x (C's fmod)."""
    _check_divisor(m, "fmod", x, y)
    return m.fmod(x, y)


@fmod.vjp("x")
def _(m, g):
    return g


@fmod.vjp("y")
def _(m, g, x, y):
    return -g * m.trunc(x / y)


@elementwise(
    promote="same",
    numpy="power",
    domain=((0.5, 2), (-2, 2)),
    public=False,
    rewrites=["pow(x, 1) -> x"],
)
def pow(m, x, y):
    """xʸ; of booleans, true but where x is false and y true."""
    return m.power(x, y) if not (_is_bool(x) and _is_bool(y)) else m.logical_or(x, m.logical_not(y))


@pow.vjp("x")
def _(m, g, x, y):
    # where the exponent is 0 the power is constant: 0·0⁻¹ must not make NaN
    return m.where(y == 0, 0.0, g * y * m.power(x, m.where(y == 0, 1.0, y - 1)))


@pow.vjp("y")
def _(m, g, x, y, out):
    # 0ʸ is constant in y for y ≥ 0
    return m.where((x == 0) & (y >= 0), 0.0, g * out * m.log(m.where(x == 0, 1.0, x)))


@elementwise(promote="same", numpy="negative", rewrites=["neg(neg(x)) -> x"])
def neg(m, x):
    """-x."""
    return m.negative(x)


@neg.vjp
def _(m, g):
    return -g


@elementwise(
    promote="same",
    kinks=(0,),
    analytic=False,
    numpy="abs",
    rewrites=["abs(neg(x)) -> abs(x)", "abs(abs(x)) -> abs(x)"],
)
def abs(m, x):
    """|x|, with gradient sign(x), so 0 at 0."""
    return m.abs(x)


@abs.vjp
def _(m, g, x):
    return g * m.sign(x)


@elementwise(promote="same", kinks=(0,), analytic=False)
def sign(m, x):
    """-1, 0 or 1; its gradient is zero."""
    return m.sign(x) if x.dtype.kind != "b" else m.array(x, copy=True)


@sign.vjp
def _(m, g):
    return m.zeros_like(g)


@elementwise(domain=(0.5, 2))
def reciprocal(m, x):
    """1 / x."""
    return 1 / x


@reciprocal.vjp
def _(m, g, out):
    return -g * out * out


@elementwise(promote="same", kinks=(0,), analytic=False, rewrites=["maximum(x, x) -> x"])
def maximum(m, x, y):
    """max(x, y) element by element; a tie shares the gradient equally. NaN wins."""
    return m.maximum(x, y)


@maximum.vjp("x")
def _(m, g, x, y):
    return m.where(x > y, g, m.where(x == y, 0.5 * g, 0.0))


@maximum.vjp("y")
def _(m, g, x, y):
    return m.where(y > x, g, m.where(x == y, 0.5 * g, 0.0))


@elementwise(promote="same", kinks=(0,), analytic=False, rewrites=["minimum(x, x) -> x"])
def minimum(m, x, y):
    """min(x, y) element by element; a tie shares the gradient equally. NaN wins."""
    return m.minimum(x, y)


@minimum.vjp("x")
def _(m, g, x, y):
    return m.where(x < y, g, m.where(x == y, 0.5 * g, 0.0))


@minimum.vjp("y")
def _(m, g, x, y):
    return m.where(y < x, g, m.where(x == y, 0.5 * g, 0.0))


@elementwise(promote="match", flops=3)
def lerp(m, x, end, weight):
    """x + weight · (end - x), written from the nearer end, so that weight 1 gives end exactly."""
    way = end - x
    return m.where(m.abs(weight) < 0.5, x + weight * way, end - way * (1 - weight))


@lerp.vjp("x")
def _(m, g, weight):
    return g * (1 - weight)


@lerp.vjp("end")
def _(m, g, weight):
    return g * weight


@lerp.vjp("weight")
def _(m, g, x, end):
    return g * (end - x)


@elementwise(promote="same", constant=("condition",), public=False, rewrites=["where(c, x, x) -> x"])
def where(m, condition, x, y):
    """x where the condition holds, y elsewhere."""
    return m.where(condition, x, y)


@where.vjp("x")
def _(m, g, condition):
    return m.where(condition, g, 0.0)


@where.vjp("y")
def _(m, g, condition):
    return m.where(condition, 0.0, g)


# ---- comparison and logic: no gradient -------------------------------------------------------------------


@elementwise(promote="same", gradient=None, numpy="equal")
def eq(m, x, y):
    """x = y."""
    return m.equal(x, y)


@elementwise(promote="same", gradient=None, numpy="not_equal")
def ne(m, x, y):
    """x ≠ y."""
    return m.not_equal(x, y)


@elementwise(promote="same", gradient=None, numpy="less")
def lt(m, x, y):
    """x < y."""
    return m.less(x, y)


@elementwise(promote="same", gradient=None, numpy="less_equal")
def le(m, x, y):
    """x ≤ y."""
    return m.less_equal(x, y)


@elementwise(promote="same", gradient=None, numpy="greater")
def gt(m, x, y):
    """x > y."""
    return m.greater(x, y)


@elementwise(promote="same", gradient=None, numpy="greater_equal")
def ge(m, x, y):
    """x ≥ y."""
    return m.greater_equal(x, y)


@elementwise(promote="same", gradient=None)
def logical_and(m, x, y):
    """x and y, as booleans."""
    return m.logical_and(x, y)


@elementwise(promote="same", gradient=None)
def logical_or(m, x, y):
    """x or y, as booleans."""
    return m.logical_or(x, y)


@elementwise(promote="same", gradient=None)
def logical_xor(m, x, y):
    """Either x or y, as booleans."""
    return m.logical_xor(x, y)


@elementwise(promote="same", gradient=None)
def logical_not(m, x):
    """not x, as a boolean."""
    return m.logical_not(x)


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_and(m, x, y):
    """x & y, bit by bit, for integers and booleans."""
    return m.bitwise_and(*_bits("bitwise_and", x, y))


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_or(m, x, y):
    """x | y, bit by bit, for integers and booleans."""
    return m.bitwise_or(*_bits("bitwise_or", x, y))


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_xor(m, x, y):
    """x ^ y, bit by bit, for integers and booleans."""
    return m.bitwise_xor(*_bits("bitwise_xor", x, y))


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_left_shift(m, x, y):
    """x · 2ʸ, for integers."""
    return m.left_shift(*_bits("bitwise_left_shift", x, y))


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_right_shift(m, x, y):
    """⌊x / 2ʸ⌋, for integers."""
    return m.right_shift(*_bits("bitwise_right_shift", x, y))


@elementwise(promote="same", gradient=None, integer=True)
def bitwise_not(m, x):
    """~x, bit by bit, for integers; not x for booleans."""
    return m.bitwise_not(*_bits("bitwise_not", x))


def _bits(name: str, *operands: Any) -> tuple[Any, ...]:
    for x in operands:
        if getattr(getattr(x, "dtype", None), "kind", "i") not in "iub" or isinstance(x, float):
            kind = TypeError if name == "bitwise_not" else NotImplementedError  # as ~x and x & y in PyTorch
            raise kind(f"{name}: expected integers or booleans, got {getattr(x, 'dtype', 'float')}; "
                               f"convert with .to(minigrad.int64) or compare first")  # fmt: skip
    return operands


@elementwise(promote="same", gradient=None)
def isnan(m, x):
    """Is it NaN?"""
    return m.isnan(x)


@elementwise(promote="same", gradient=None)
def isinf(m, x):
    """Is it +∞ or -∞?"""
    return m.isinf(x)


@elementwise(promote="same", gradient=None)
def isfinite(m, x):
    """Is it neither infinite nor NaN?"""
    return m.isfinite(x)


# ---- rounding: gradient zero where there is one ----------------------------------------------------------


@elementwise(promote="same", domain=(0.1, 0.9), analytic=False, rewrites=["floor(floor(x)) -> floor(x)"])
def floor(m, x):
    """⌊x⌋."""
    return m.floor(x) if x.dtype.kind in "fV" else m.array(x, copy=True)


@floor.vjp
def _(m, g):
    return m.zeros_like(g)


@elementwise(promote="same", domain=(0.1, 0.9), analytic=False, rewrites=["ceil(ceil(x)) -> ceil(x)"])
def ceil(m, x):
    """⌈x⌉."""
    return m.ceil(x) if x.dtype.kind in "fV" else m.array(x, copy=True)


@ceil.vjp
def _(m, g):
    return m.zeros_like(g)


@elementwise(promote="same", domain=(0.1, 0.9), analytic=False, rewrites=["trunc(trunc(x)) -> trunc(x)"])
def trunc(m, x):
    """x without its fraction."""
    return m.trunc(x) if x.dtype.kind in "fV" else m.array(x, copy=True)


@trunc.vjp
def _(m, g):
    return m.zeros_like(g)


@elementwise(
    promote="same", domain=(0.1, 0.4), analytic=False, cases=[case((3, 4)), case((3, 4), decimals=-1)]
)
def round(m, x, *, decimals=0):
    """The nearest integer, ties to even; or the nearest multiple of 10^-decimals."""
    return m.round(x, decimals) if x.dtype.kind in "fV" else m.array(x, copy=True)


@round.vjp
def _(m, g):
    return m.zeros_like(g)


@elementwise(promote="same", domain=(0.1, 0.9), analytic=False)
def frac(m, x):
    """x - trunc(x)."""
    return x - m.trunc(x)


@frac.vjp
def _(m, g):
    return g


# ---- functions -------------------------------------------------------------------------------------------


@elementwise(flops=8)
def exp(m, x):
    """eˣ."""
    return m.exp(x)


@exp.vjp
def _(m, g, out):
    return g * out


@elementwise(flops=8)
def expm1(m, x):
    """eˣ - 1, exact near 0."""
    return m.expm1(x)


@expm1.vjp
def _(m, g, out):
    return g * (out + 1)


@elementwise(domain=(-2, 2), flops=8)
def exp2(m, x):
    """2ˣ."""
    return m.exp2(x)


@exp2.vjp
def _(m, g, out):
    return g * out * 0.6931471805599453


@elementwise(domain=(0.1, 4), flops=8)
def log(m, x):
    """ln x."""
    return m.log(x)


@log.vjp
def _(m, g, x):
    return g / x


@elementwise(domain=(-0.8, 4), flops=8)
def log1p(m, x):
    """ln(1 + x), exact near 0."""
    return m.log1p(x)


@log1p.vjp
def _(m, g, x):
    return g / (1 + x)


@elementwise(domain=(0.1, 4), flops=8)
def log2(m, x):
    """log₂ x."""
    return m.log2(x)


@log2.vjp
def _(m, g, x):
    return g / (x * 0.6931471805599453)


@elementwise(domain=(0.1, 4), flops=8)
def log10(m, x):
    """log₁₀ x."""
    return m.log10(x)


@log10.vjp
def _(m, g, x):
    return g / (x * 2.302585092994046)


@elementwise(domain=(0.1, 4))
def sqrt(m, x):
    """√x."""
    return m.sqrt(x)


@sqrt.vjp
def _(m, g, out):
    return g / (2 * out)


@elementwise(domain=(0.1, 4), flops=2)
def rsqrt(m, x):
    """1 / √x."""
    return 1 / m.sqrt(x)


@rsqrt.vjp
def _(m, g, out):
    return -0.5 * g * out * out * out


@elementwise(promote="same", rewrites=["square(neg(x)) -> square(x)", "square(abs(x)) -> square(x)"])
def square(m, x):
    """x²."""
    return m.square(x) if x.dtype.kind != "b" else x.astype(m.int64)


@square.vjp
def _(m, g, x):
    return 2 * g * x


@elementwise(flops=8)
def sin(m, x):
    """sin x, x in radians."""
    return m.sin(x)


@sin.vjp
def _(m, g, x):
    return g * m.cos(x)


@elementwise(flops=8, rewrites=["cos(neg(x)) -> cos(x)"])
def cos(m, x):
    """cos x, x in radians."""
    return m.cos(x)


@cos.vjp
def _(m, g, x):
    return -g * m.sin(x)


@elementwise(domain=(-1, 1), flops=10)
def tan(m, x):
    """tan x, x in radians."""
    return m.tan(x)


@tan.vjp
def _(m, g, out):
    return g * (1 + out * out)


@elementwise(flops=10)
def tanh(m, x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)."""
    return m.tanh(x)


@tanh.vjp
def _(m, g, out):
    return g * (1 - out * out)


@elementwise(domain=(-4, 4), flops=10)
def sigmoid(m, x):
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + m.exp(-x))


@sigmoid.vjp
def _(m, g, out):
    return g * out * (1 - out)


@elementwise(domain=(0.05, 0.95), flops=20, public=False)
def logit(m, x):
    """ln(x / (1 - x)), the inverse of sigmoid; NaN outside [0, 1], its gradient too."""
    low = m.minimum(x, 0.3)  # about ½ the quotient loses what log1p of its distance from 1 keeps
    return m.where(x < 0.3, m.log(low / (1 - low)), m.log1p((2 * x - 1) / (1 - x)))


@logit.vjp
def _(m, g, x):
    return m.where((x < 0) | (x > 1), m.nan, g / m.abs(x * (1 - x)))  # the infinity at ±0 is g's


@elementwise(domain=(-4, 4), kinks=(0,), analytic=False, flops=12)
def logsigmoid(m, x):
    """ln σ(x) = min(x, 0) - ln(1 + e^-|x|), without overflow."""
    return m.minimum(x, 0.0) - m.log1p(m.exp(-m.abs(x)))


@logsigmoid.vjp
def _(m, g, x):
    return g * sigmoid(m, -x)


_ERF_SMALL = (  # W. J. Cody, Math. Comp. 23 (1969) 631–637: rational Chebyshev approximations of erf
    (3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02,
     3.20937758913846947e03, 1.85777706184603153e-1),
    (2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)  # fmt: skip
_ERF_MIDDLE = (
    (5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03,
     2.05107837782607147e03, 1.23033935479799725e03, 2.15311535474403846e-8),
    (1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02,
     1.62138957456669019e03, 3.29079923573345963e03, 4.36261909014324716e03,
     3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip
_ERF_LARGE = (
    (3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4, 1.63153871373020978e-2),
    (2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def _rational(z: Any, table: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    """Cody's quotient of polynomials: numerator (last coefficient leads) over a monic denominator."""
    p, q = table
    top, bottom = p[-1] * z, z
    for a, b in zip(p[:-2], q[:-1], strict=True):
        top, bottom = (top + a) * z, (bottom + b) * z
    return (top + p[-2]) / (bottom + q[-1])


def _erfc_of_positive(m: Any, a: Any) -> Any:
    """erfc for a ≥ 0.46875."""
    middle = _rational(m.minimum(a, 4.0), _ERF_MIDDLE)
    z = 1 / m.square(m.maximum(a, 4.0))
    large = (0.5641895835477563 - z * _rational(z, _ERF_LARGE)) / m.maximum(a, 4.0)
    return m.exp(-m.square(a)) * m.where(a <= 4.0, middle, large)


@elementwise(domain=(-3, 3), flops=60, wide=True, analytic=False)
def erf(m, x):
    """2/√π ∫₀ˣ e^(-t²) dt."""
    a = m.abs(x)
    small = x * _rational(m.square(m.minimum(a, 0.46875)), _ERF_SMALL)
    return m.where(a <= 0.46875, small, m.sign(x) * (1 - _erfc_of_positive(m, m.maximum(a, 0.46875))))


@erf.vjp
def _(m, g, x):
    return g * 1.1283791670955126 * m.exp(-x * x)


@elementwise(domain=(-3, 3), flops=60, wide=True, analytic=False)
def erfc(m, x):
    """1 - erf(x), exact in the tail."""
    a = m.abs(x)
    small = 1 - x * _rational(m.square(m.minimum(a, 0.46875)), _ERF_SMALL)
    tail = _erfc_of_positive(m, m.maximum(a, 0.46875))
    return m.where(a <= 0.46875, small, m.where(x < 0, 2 - tail, tail))


@erfc.vjp
def _(m, g, x):
    return -g * 1.1283791670955126 * m.exp(-x * x)


@elementwise(domain=(-3, 3), flops=60, wide=True, analytic=False, public=False, method=False, ulp=6)
def ndtr(m, x):
    """Φ(x), the standard normal distribution's."""
    return 0.5 * erfc(m, -0.7071067811865476 * x)


@ndtr.vjp
def _(m, g, x):
    return g * 0.3989422804014327 * m.exp(-0.5 * x * x)


@elementwise(
    promote="same",
    kinks=(0,),
    analytic=False,
    public=False,
    cases=[
        case((3, 4), floats((3, 4), -1, 0), floats((4,), 0.5, 1)), case((3, 4), floats((), -1, 0)),
        case((3, 4), None, floats((3, 1), 0.5, 1)), case((3, 4), floats((3, 4), 0.5, 1), floats((3, 4), -1, 0)),
    ],
)  # fmt: skip
def clamp(m, x, min=None, max=None):
    """min(max(x, min), max); a bound may be a number, a tensor, or None."""
    if min is not None:
        x = m.maximum(x, min)
    return x if max is None else m.minimum(x, max)


@clamp.vjp
def _(m, g, x, min, max):
    raised = x if min is None else m.maximum(x, min)
    above = None if max is None else raised > max  # max wins where the bounds cross
    below = None if min is None else x < min
    inside = g if above is None else m.where(above, 0.0, g)
    return (
        inside if below is None else m.where(below, 0.0, inside),
        None if below is None else m.where(below, inside, 0.0),
        None if above is None else m.where(above, g, 0.0),
    )


# ---- activations -----------------------------------------------------------------------------------------


@elementwise(promote="same", kinks=(0,), analytic=False, rewrites=["relu(relu(x)) -> relu(x)"])
def relu(m, x):
    """max(x, 0), with gradient 0 at 0."""
    return m.maximum(x, 0)


@relu.vjp
def _(m, g, out):
    return m.where(out > 0, g, 0.0)


@elementwise(domain=(-4, 4), flops=12)
def silu(m, x):
    """x · σ(x) (Elfwing et al., 2018)."""
    return x / (1 + m.exp(-x))


@silu.vjp
def _(m, g, x):
    s = sigmoid(m, x)
    return g * s * (1 + x * (1 - s))


@elementwise(
    domain=(-3, 3),
    flops=70,
    wide=True,
    ulp=16,  # of a kernel in float32, whose exponent is rounded; PyTorch loses hundreds where its 1 + tanh cancels
    analytic=False,
    cases=[case((3, 4)), case((3, 4), approximate="tanh")],
)
def gelu(m, x, *, approximate="none"):
    """x · Φ(x), Φ the normal distribution; "tanh" approximates it (Hendrycks & Gimpel, 2016)."""
    if approximate == "tanh":  # ½(1 + tanh u) = σ(2u)
        return x / (1 + m.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return x * ndtr(m, x)


@gelu.vjp
def _(m, g, x, approximate):
    if approximate == "tanh":
        s = sigmoid(m, 1.5957691216057308 * (x + 0.044715 * x * x * x))
        return g * s * (1 + x * (1 - s) * 1.5957691216057308 * (1 + 0.134145 * x * x))
    density = 0.3989422804014327 * m.exp(-0.5 * x * x)
    return g * (ndtr(m, x) + x * density)


@elementwise(kinks=(0,), analytic=False, flops=10, cases=[case((3, 4)), case((3, 4), alpha=0.7)])
def elu(m, x, *, alpha=1.0):
    """x where x > 0, α(eˣ - 1) elsewhere (Clevert et al., 2016)."""
    return m.where(x > 0, x, alpha * m.expm1(m.minimum(x, 0.0)))


@elu.vjp
def _(m, g, x, alpha):
    return m.where(x > 0, g, g * alpha * m.exp(m.minimum(x, 0.0)))


@elementwise(kinks=(0,), analytic=False, cases=[case((3, 4)), case((3, 4), negative_slope=-0.3)])
def leaky_relu(m, x, *, negative_slope=0.01):
    """x where x > 0, negative_slope · x elsewhere (Maas et al., 2013)."""
    return m.where(x > 0, x, negative_slope * x)


@leaky_relu.vjp
def _(m, g, x, negative_slope):
    return m.where(x > 0, g, negative_slope * g)


@elementwise(
    domain=(-4, 4),
    kinks=(0, 1.5),
    analytic=False,
    flops=14,
    cases=[case((3, 4)), case((3, 4), beta=2.0, threshold=3.0)],
)
def softplus(m, x, *, beta=1.0, threshold=20.0):
    """ln(1 + e^(βx)) / β; x itself where βx > threshold."""
    z = beta * x
    return m.where(z > threshold, x, (m.maximum(z, 0.0) + m.log1p(m.exp(-m.abs(z)))) / beta)


@softplus.vjp
def _(m, g, x, beta, threshold):
    return m.where(beta * x > threshold, g, g * sigmoid(m, beta * x))
