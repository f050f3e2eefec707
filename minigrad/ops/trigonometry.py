"""Rows for the inverse trigonometric functions, the hyperbolic ones and their inverses."""

from __future__ import annotations

from ..op import elementwise


@elementwise(domain=(-0.9, 0.9), flops=15, numpy="arcsin")
def asin(m, x):
    """The angle in [-π/2, π/2] whose sine is x."""
    return m.arcsin(x)


@asin.vjp
def _(m, g, x):
    return g / m.sqrt((1 - x) * (1 + x))


@elementwise(domain=(-0.9, 0.9), flops=15, numpy="arccos")
def acos(m, x):
    """The angle in [0, π] whose cosine is x."""
    return m.arccos(x)


@acos.vjp
def _(m, g, x):
    return -g / m.sqrt((1 - x) * (1 + x))


@elementwise(flops=15, numpy="arctan")
def atan(m, x):
    """The angle in (-π/2, π/2) whose tangent is x."""
    return m.arctan(x)


@atan.vjp
def _(m, g, x):
    return g / (1 + x * x)


@elementwise(domain=((0.3, 2), (-2, 2)), flops=20, numpy="arctan2", analytic=False)
def atan2(m, x, y):
    """The angle in (-π, π] of the point (y, x): the first operand is the ordinate."""
    return m.arctan2(x, y)


@atan2.vjp("x")
def _(m, g, x, y):
    return g * y / (x * x + y * y)


@atan2.vjp("y")
def _(m, g, x, y):
    return -g * x / (x * x + y * y)


@elementwise(flops=10)
def sinh(m, x):
    """(eˣ - e⁻ˣ) / 2."""
    return m.sinh(x)


@sinh.vjp
def _(m, g, x):
    return g * m.cosh(x)


@elementwise(flops=10, rewrites=["cosh(neg(x)) -> cosh(x)"])
def cosh(m, x):
    """(eˣ + e⁻ˣ) / 2."""
    return m.cosh(x)


@cosh.vjp
def _(m, g, x):
    return g * m.sinh(x)


@elementwise(flops=15, numpy="arcsinh")
def asinh(m, x):
    """ln(x + √(x² + 1))."""
    return m.arcsinh(x)


@asinh.vjp
def _(m, g, x):
    return g / m.sqrt(x * x + 1)


@elementwise(domain=(1.2, 3), flops=15, numpy="arccosh")
def acosh(m, x):
    """ln(x + √(x² - 1)), x ≥ 1."""
    return m.arccosh(x)


@acosh.vjp
def _(m, g, x):
    return g / m.sqrt(x * x - 1)


@elementwise(domain=(-0.9, 0.9), flops=15, numpy="arctanh")
def atanh(m, x):
    """½ ln((1 + x) / (1 - x)), |x| < 1."""
    return m.arctanh(x)


@atanh.vjp
def _(m, g, x):
    return g / ((1 - x) * (1 + x))
