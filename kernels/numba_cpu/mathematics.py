"""exp, log, tanh, erf, sin and their kin for one float, written so that LLVM makes vectors of the loop around them.

No branches, only selections; integers of 32 bits; polynomials fitted for the least largest relative error
(iterated least squares at Chebyshev nodes), Horner's scheme. ``contract`` is the one fast-math flag here: it fuses
a·b + c, and keeps the order of operations, NaN and infinities. Bounds, over every float32 and in units in the last
place, are in :data:`ULPS`; ``tests/test_kernels_numba.py`` measures them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

f32, f64, i32 = np.float32, np.float64, np.int32

# The largest error of each, in units in the last place of the exact result rounded to float32.
ULPS = {"exp": 1, "expm1": 2, "exp2": 1, "log": 1, "log2": 2, "log10": 2, "log1p": 3, "tanh": 2, "sin": 1, "cos": 1,
        "erf": 1, "erfc": 1, "ndtr": 6}  # fmt: skip

scalar = njit(fastmath={"contract"}, error_model="numpy", forceinline=True)
inlined = njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy", forceinline=True)  # has a sum


plus = njit(fastmath={"reassoc", "nsz"}, forceinline=True)(
    lambda a, b: a + b
)  # of a sum, in the order that vectors like


def _instruction(write: Any, result: Any, *arguments: Any) -> Any:
    """A function that is one LLVM instruction. Numba would widen integers to 64 bits, which halves the lanes."""

    def typed(context: Any, *values: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return write(builder, context.get_value_type(result), *given)

        return result(*arguments), generate

    if len(arguments) == 1:
        return intrinsic(lambda context, a: typed(context, a))
    return intrinsic(lambda context, a, b: typed(context, a, b))


_I, _F = types.int32, types.float32
bits = _instruction(lambda b, to, x: b.bitcast(x, to), _I, _F)  # a float's bits as an integer
floated = _instruction(lambda b, to, x: b.bitcast(x, to), _F, _I)  # and back
_plus = _instruction(lambda b, to, x, y: b.add(x, y), _I, _I, _I)
_minus = _instruction(lambda b, to, x, y: b.sub(x, y), _I, _I, _I)
_and = _instruction(lambda b, to, x, y: b.and_(x, y), _I, _I, _I)
_or = _instruction(lambda b, to, x, y: b.or_(x, y), _I, _I, _I)
_xor = _instruction(lambda b, to, x, y: b.xor(x, y), _I, _I, _I)
_left = _instruction(lambda b, to, x, y: b.shl(x, y), _I, _I, _I)
_right = _instruction(lambda b, to, x, y: b.ashr(x, y), _I, _I, _I)
_greater = _instruction(lambda b, to, x, y: b.select(b.icmp_signed(">", x, y), x, y), _I, _I, _I)
# One instruction each, where Numba's own selections become branches first. y if it is NaN:
_at_most = _instruction(lambda b, to, x, y: b.select(b.fcmp_ordered("<", x, y), x, y), _F, _F, _F)
_at_least = _instruction(lambda b, to, x, y: b.select(b.fcmp_ordered(">", x, y), x, y), _F, _F, _F)
_bits64 = _instruction(lambda b, to, x: b.bitcast(x, to), types.int64, types.float64)
_floated64 = _instruction(lambda b, to, x: b.bitcast(x, to), types.float64, types.int64)

_ROUND = f32(
    12582912.0
)  # 1.5 · 2²³: added, it rounds a small float to an integer and leaves that in its low bits
_ONE = i32(0x3F800000)
_ROUND64 = 6755399441055744.0  # 1.5 · 2⁵²
_ROUND64_BITS = 0x4338000000000000
_LOG2E, _LN2_HIGH, _LN2_LOW = f32(1.4426950408889634), f32(0.693359375), f32(-2.12194440e-4)
_SIGN, _MANTISSA, _IMPLICIT = i32(-(2**31)), i32(0x7FFFFF), i32(0x800000)


@scalar
def _times_power(y, t):
    """y · 2ⁿ for n left by :data:`_ROUND` in t: in two factors, because 2ⁿ alone can be out of range."""
    n = bits(t)  # the bits of _ROUND above are shifted out
    half = _right(n, i32(1))
    first = floated(_plus(_left(half, i32(23)), _ONE))
    return y * first * floated(_plus(_left(_minus(n, half), i32(23)), _ONE))


@scalar
def _exp_near_zero(r):
    """eʳ, |r| ≤ ½ ln 2."""
    p = f32(1.395047682e-03) * r + f32(8.368882434e-03)
    p = p * r + f32(4.166620601e-02)
    p = p * r + f32(1.666651890e-01)
    p = p * r + f32(5.000000095e-01)
    return p * (r * r) + r + f32(1)


@scalar
def exp(x):
    c = _at_least(f32(-104), _at_most(f32(89), x))
    t = c * _LOG2E + _ROUND
    n = t - _ROUND
    return _times_power(_exp_near_zero(c - n * _LN2_HIGH - n * _LN2_LOW), t)


@scalar
def exp_of_negative(x):
    """eˣ for x ≤ 0, and up to 88, and 0 for what would be below 2⁻¹²⁵, at half the price."""
    t = x * _LOG2E + _ROUND
    n = t - _ROUND
    y = _exp_near_zero(x - n * _LN2_HIGH - n * _LN2_LOW) * floated(_plus(_left(bits(t), i32(23)), _ONE))
    return f32(0) if x < f32(-86.6) else y


@scalar
def exp2(x):
    c = _at_least(f32(-151), _at_most(f32(129), x))
    t = c + _ROUND
    return _times_power(_exp_near_zero((c - (t - _ROUND)) * f32(0.6931471805599453)), t)


@scalar
def exp2_falling(x):
    """2ˣ for x ≤ 0, and 0 below 2⁻¹²⁶: weights of a softmax. Half the work of :func:`exp2`."""
    c = f32(-126) if x < f32(-126) else x
    t = c + _ROUND
    r = c - (t - _ROUND)
    p = f32(1.5353362e-04) * r + f32(1.3398875e-03)
    p = p * r + f32(9.6184369e-03)
    p = p * r + f32(5.5503324e-02)
    p = p * r + f32(2.4022648e-01)
    p = p * r + f32(6.9314718e-01)
    y = (p * r + f32(1)) * floated(_left(_plus(bits(t), i32(127)), i32(23)))  # _ROUND's own are shifted out
    return f32(0) if x < f32(-126) else y


@scalar
def expm1(x):
    p = f32(1.999289629e-04) * x + f32(1.399745676e-03)
    p = p * x + f32(8.333073005e-03)
    p = p * x + f32(4.166531547e-02)
    p = p * x + f32(1.666666801e-01)
    p = p * x + f32(5.000000417e-01)
    near = p * (x * x) + x if x != f32(0) else x  # -0 too
    return near if (x if x > f32(0) else -x) < f32(0.5) else exp(x) - f32(1)


@scalar
def _log_parts(x):
    """x = m · 2ᵉ with √½ ≤ m < √2: m - 1, ln m, and e as a float."""
    small = x < f32(1.17549435e-38)
    i = bits(x * f32(8388608) if small else x)  # denormals have no leading bit: times 2²³
    e = _right(_minus(i, i32(0x3F3504F3)), i32(23))
    f = floated(_minus(i, _left(e, i32(23)))) - f32(1)
    p = f32(6.746601332e-02) * f - f32(1.167564131e-01)
    p = p * f + f32(1.188817460e-01)
    p = p * f - f32(1.240559142e-01)
    p = p * f + f32(1.421955091e-01)
    p = p * f - f32(1.666799567e-01)
    p = p * f + f32(2.000211873e-01)
    p = p * f - f32(2.500000960e-01)
    p = p * f + f32(3.333331260e-01)
    square = f * f
    return f, (p * f - f32(0.5)) * square, f32(e) - (f32(23) if small else f32(0))


@scalar
def _log_ends(x, y):
    """The logarithm of 0, of ∞, of what is negative and of NaN."""
    y = y if x < f32(np.inf) else x  # NaN too
    y = y if x != f32(0) else f32(-np.inf)
    return f32(np.nan) if x < f32(0) else y


@scalar
def log(x):
    f, rest, e = _log_parts(x)
    return _log_ends(x, e * _LN2_HIGH + (f + (rest + e * _LN2_LOW)))


@scalar
def log2(x):
    f, rest, e = _log_parts(x)
    return _log_ends(x, e + (f + rest) * _LOG2E)


@scalar
def log10(x):
    f, rest, e = _log_parts(x)
    high, low = f32(0.30102920532226562), f32(7.9034151667e-07)  # log₁₀ 2, the first with 15 bits
    return _log_ends(x, e * high + (e * low + (f + rest) * f32(0.4342944819032518)))


@scalar
def log1p(x):
    w = f32(1) + x
    y = log(w) * (x / (w - f32(1)))  # what the sum lost, made good in proportion
    y = y if w < f32(np.inf) else x
    return y if w != f32(1) else x


@scalar
def largest(x):
    """The maximum of an array, NaN if it has one that is positive: the order of floats is that of their bits, the negative
    ones turned. A negative NaN is for the sum to show."""
    top = _SIGN
    for i in range(x.shape[0]):
        b = bits(x[i])
        top = _greater(top, _xor(b, _and(_right(b, i32(31)), i32(0x7FFFFFFF))))
    return floated(_xor(top, _and(_right(top, i32(31)), i32(0x7FFFFFFF))))


def _turned(builder: Any, b: Any) -> Any:
    """A float's bits as an integer that is ordered as floats are, and back."""
    negative = builder.ashr(b, b.type(b.type.width - 1))
    return builder.xor(b, builder.lshr(negative, b.type(1)))


def _extreme(sign: str, last: int) -> Any:
    """``f(a, x)``: the more extreme of a, an integer that :func:`extreme` makes a float of, and x; every NaN is the most extreme.

    Vectors of integers are compared in any order, those of floats only in the program's.
    """

    def typed(context: Any, a: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            a, x = given
            rank = _turned(builder, builder.bitcast(x, a.type))
            rank = builder.select(
                builder.fcmp_unordered("uno", x, x),
                a.type(last * (2 ** (a.type.width - 1)) - (last > 0)),
                rank,
            )
            return builder.select(builder.icmp_signed(sign, a, rank), a, rank)

        return a(a, x), generate

    return intrinsic(typed)


larger, smaller = _extreme(">", 1), _extreme("<", -1)
LOWEST = {"narrow": i32(-(2**31)), "wide": np.int64(-(2**63))}  # where they begin
HIGHEST = {"narrow": i32(2**31 - 1), "wide": np.int64(2**63 - 1)}


@intrinsic
def extreme(context, a):  # type: ignore[no-untyped-def]
    """The float that :data:`larger` or :data:`smaller` found."""
    to: Any = {32: types.float32, 64: types.float64}[a.bitwidth]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(_turned(builder, given[0]), context.get_value_type(to))

    return to(a), generate


def _chosen(sign: str) -> Any:
    """x or y, NaN if one is, in selections and no branches."""

    def write(b: Any, to: Any, x: Any, y: Any) -> Any:
        return b.select(b.or_(b.fcmp_ordered(sign, x, y), b.fcmp_unordered("uno", x, x)), x, y)

    return _instruction(write, types.float64, types.float64, types.float64)


most, least = _chosen(">"), _chosen("<")


@scalar
def tanh(x):
    a = floated(_and(bits(x), i32(0x7FFFFFFF)))
    z = x * x
    p = f32(-5.528624609e-03) * z + f32(2.048330654e-02)
    p = p * z - f32(5.369296452e-02)
    p = p * z + f32(1.333089971e-01)
    p = p * z - f32(3.333326288e-01)
    near = p * z * x + x
    far = f32(1) - f32(2) / (exp(a + a) + f32(1))
    y = floated(_and(bits(near if a < f32(0.625) else far), i32(0x7FFFFFFF)))
    return floated(_or(bits(y), _and(bits(x), _SIGN)))  # -0 too


def _turns() -> tuple[Any, Any]:
    """2/π · 2ᵉ modulo 4 for every exponent of a float32, in two doubles: the first of 29 bits (Payne & Hanek, 1983)."""
    one = 1 << 600

    def arctan(n: int) -> int:  # of 1 / n
        term, total, k, sign = one // n, 0, 1, 1
        while term:
            total += sign * (term // k)
            term, k, sign = term // (n * n), k + 2, -sign
        return total

    pi = 4 * (4 * arctan(5) - arctan(239))  # Machin, 1706
    quarter_turns = 2 * one * one // pi  # 2/π
    high, low = np.zeros(256), np.zeros(256)
    for field in range(255):
        shift = max(field, 1) - 150
        v = quarter_turns << shift if shift > 0 else quarter_turns >> -shift
        v %= 4 * one
        drop = max(v.bit_length() - 29, 0)
        top = v >> drop << drop
        high[field], low[field] = top / one, (v - top) / one
    high[255] = np.nan
    return high, low


_HIGH, _LOW = _turns()


@scalar
def _octant(x):
    """|x| in quarter turns: the sine and cosine of what is beyond the nearest whole number of them, and that modulo 4."""
    i = _and(bits(x), i32(0x7FFFFFFF))
    field = _right(i, i32(23))
    m = f64(_or(_and(i, _MANTISSA), _IMPLICIT if field > i32(0) else i32(0)))
    y = m * _HIGH[np.uint32(field)]  # exact: 24 bits by 29
    t = y + _ROUND64
    r = ((y - (t - _ROUND64)) + m * _LOW[np.uint32(field)]) * 1.5707963267948966
    z = r * r
    s = 2.71793981610184837e-06 * z - 1.98392961207541439e-04
    s = s * z + 8.33332926669059365e-03
    s = s * z - 1.66666666406125485e-01
    c = -2.72067858872926307e-07 * z + 2.47994785959671556e-05
    c = c * z - 1.38888835981477695e-03
    c = c * z + 4.16666666210506673e-02
    return s * (z * r) + r, c * (z * z) - 0.5 * z + 1.0, _bits64(t)


@scalar
def sin(x):
    s, c, n = _octant(x)
    y = f32(s if n & 1 == 0 else c)
    y = y if n & 2 == 0 else -y
    return floated(_xor(bits(y), _and(bits(x), _SIGN)))


@scalar
def cos(x):
    s, c, n = _octant(x)
    y = f32(c if n & 1 == 0 else s)
    return y if (n + 1) & 2 == 0 else -y


@scalar
def ndtr(x):
    """Φ(-a) = e^(-a²/2) q(a), (a + 3.5) q(a) a polynomial in (a - 3.5) / (a + 3.5); 1 - Φ(-a) where x = a > 0.

    a² in two parts, of which the first is exact: e^(-a²/2) would magnify the rounding of a² by a²/2.
    """
    a = _at_most(f32(15), floated(_and(bits(x), i32(0x7FFFFFFF))))
    inverse = f32(1) / (a + f32(3.5))
    t = (a - f32(3.5)) * inverse
    p = f32(1.086954727e-04) * t + f32(4.183254711e-04)
    p = p * t - f32(4.950412413e-04)
    p = p * t - f32(3.172830618e-03)
    p = p * t + f32(6.493727393e-03)
    p = p * t + f32(1.740582180e-02)
    p = p * t - f32(1.160531749e-01)
    p = p * t + f32(3.154250913e-01)
    p = p * t - f32(5.655617393e-01)
    p = p * t + f32(7.444160738e-01)
    high = floated(_and(bits(a), i32(-4096)))  # 12 bits
    c, rest = f32(-0.5) * (high * high), f32(-0.5) * ((a - high) * (a + high))
    s = (c + rest) * _LOG2E + _ROUND
    n = s - _ROUND
    r = ((c - n * _LN2_HIGH) + rest) - n * _LN2_LOW
    y = _times_power(_exp_near_zero(r) * (p * inverse), s)
    return y if x < f32(0) else f32(1) - y


# ---- in float64, as good as float32 needs: rows that are ``wide`` ----------------------------------------


@scalar
def exp_wide(x):
    """Within 3.1e-9 of eˣ, relatively; its power of two is 0 below -709, and the bits of infinity above 710."""
    c = 710.0 if x > 710.0 else x
    c = -709.0 if c < -709.0 else c
    t = c * 1.4426950408889634 + _ROUND64
    r = c - (t - _ROUND64) * 0.6931471805599453
    p = 1.38145981632841960e-03 * r + 8.36871693611378198e-03
    p = p * r + 4.16683880560032027e-02
    p = p * r + 1.66665206311029490e-01
    p = p * r + 4.99999934477401597e-01
    return (p * (r * r) + r + 1.0) * _floated64((_bits64(t) - _ROUND64_BITS + 1023) << 52)


@scalar
def erfc_wide(x):
    """e^(-x²) q(x) for x ≥ 0, with (1 + 2x) q(x) a polynomial in (x - 3) / (x + 3); 2 - erfc(-x) elsewhere."""
    a = x if x > 0.0 else -x
    a = a if a < 10.5 else np.inf  # beyond, zero in float32
    inverse = 1.0 / ((a + 3.0) * (1.0 + 2.0 * a))  # one division for both
    t = (a - 3.0) * (1.0 + 2.0 * a) * inverse
    p = 3.703143477670e-05 * t - 1.777595374486e-04
    p = p * t - 7.375006705734e-04
    p = p * t + 1.949044249885e-03
    p = p * t + 2.527024464602e-03
    p = p * t - 2.378815149906e-02
    p = p * t + 6.830649580139e-02
    p = p * t - 1.192714846300e-01
    p = p * t + 1.296453757029e-01
    p = p * t - 4.756239349310e-02
    p = p * t - 1.356211119407e-01
    p = p * t + 1.253008059031e00
    y = p * exp_wide(-(a * a)) * ((a + 3.0) * inverse) if a < 10.5 else 0.0
    y = y if x > 0.0 else 2.0 - y
    return y if x == x else x


@scalar
def erf_wide(x):
    z = x * x
    p = -9.64151496776755046e-06 * z + 1.12569475255577811e-04
    p = p * z - 8.48282879348488672e-04
    p = p * z + 5.22094542933931871e-03
    p = p * z - 2.68654000409385418e-02
    p = p * z + 1.12837819740853107e-01
    p = p * z - 3.76126384346497256e-01
    p = p * z + 1.12837916705802233e00
    return p * x if z < 1.0 else 1.0 - erfc_wide(x)


@scalar
def erfc(x):
    return f32(erfc_wide(f64(x)))


@scalar
def erf(x):
    return f32(erf_wide(f64(x)))


NARROW = {"exp": exp, "expm1": expm1, "exp2": exp2, "log": log, "log2": log2, "log10": log10, "log1p": log1p,
          "tanh": tanh, "sin": sin, "cos": cos, "erf": erf, "erfc": erfc, "ndtr": ndtr}  # fmt: skip
WIDE = {"exp": exp_wide, "erf": erf_wide, "erfc": erfc_wide}
GOOD = {"gelu"}  # wide rows that float32 is good enough for with these functions
