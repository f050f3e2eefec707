"""Rows that update a parameter in place, one per rule. When they run, and with which numbers, is ``minigrad/optim/``'s.

Every row writes into what it names as mutated and returns nothing. Learning rate, step count and the other
numbers are attributes: each call brings its own, so that a captured step can be replayed with new ones.
The arithmetic is element by element, so the bits depend on the values alone.

In the formulas θ is the parameter, g its gradient (−g where ``maximize``), λ ``weight_decay``, t ``step``
from 1. λ is in g, that is g + λ θ, unless it is ``decoupled``: then θ ← θ - lr λ θ comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..op import Op, case, floats
from ..op import op as declare

MATRIX, MOMENT = (4, 3), floats((4, 3), 0.1, 1.0)  # a moment of squares isn't negative


def op(*mutates: str, **row: Any) -> Callable[[Callable[..., None]], Op]:
    """Declares an update. Halves are updated in float32 and rounded once."""

    def declared(rule: Callable[..., None]) -> Op:
        made = declare(gradient=None, mutates=mutates, public=False, method=False, **row)(rule)
        made.check()  # of the rule itself, before it is wrapped
        written = [made.inputs.index(name) for name in mutates]

        def forward(m, *arrays, **numbers):
            if arrays[0].dtype.itemsize >= 4:
                return rule(m, *arrays, **numbers)
            wide = [a if a is None else a.astype(m.float32) for a in arrays]
            rule(m, *wide, **numbers)
            for i in written:
                if i < len(arrays) and arrays[i] is not None:
                    arrays[i][...] = wide[i].astype(arrays[i].dtype)

        made.forward = forward
        return made

    return declared


def _descent(m: Any, param: Any, grad: Any, maximize: bool, weight_decay: float) -> Any:
    """±g + λ θ, which is the gradient's own memory where nothing is to be done."""
    if maximize:
        grad = m.negative(grad)
    return m.add(grad, m.multiply(param, weight_decay)) if weight_decay else grad


def _decayed(
    m: Any, param: Any, grad: Any, lr: float, weight_decay: float, decoupled: bool, maximize: bool
) -> Any:
    """The gradient with λ in it; or, decoupled, without, and θ made smaller by lr λ θ."""
    if decoupled and weight_decay:
        m.multiply(param, 1 - lr * weight_decay, out=param)
        weight_decay = 0
    return _descent(m, param, grad, maximize, weight_decay)


def _average(m: Any, mean: Any, new: Any, beta: float, scratch: Any) -> None:
    """mean ← β mean + (1 - β) new."""
    m.multiply(mean, beta, out=mean)
    m.multiply(new, 1 - beta, out=scratch)
    m.add(mean, scratch, out=mean)


def _average_square(m: Any, mean: Any, new: Any, beta: float, scratch: Any) -> None:
    """mean ← β mean + (1 - β) new²."""
    m.multiply(new, new, out=scratch)
    _average(m, mean, scratch, beta, scratch)


def _subtract(m: Any, param: Any, direction: Any, size: float, scratch: Any) -> None:
    """θ ← θ - size · direction."""
    m.multiply(direction, size, out=scratch)
    m.subtract(param, scratch, out=param)


@op("param", "momentum_buffer", flops=4, cases=[
    case(MATRIX, MATRIX, None, lr=0.1), case(MATRIX, MATRIX, MATRIX, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    case(MATRIX, MATRIX, MATRIX, lr=0.1, momentum=0.9, nesterov=True, maximize=True, first=True),
])  # fmt: skip
def sgd_(m, param, grad, momentum_buffer=None, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False,
         maximize=False, first=False):  # fmt: skip
    """b ← μ b + (1 - dampening) g, b ← g when ``first``; θ ← θ - lr b, or with Nesterov θ - lr (g + μ b).

    Without a buffer θ ← θ - lr g. Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013, eq. 3-4.
    """
    g, scratch = _descent(m, param, grad, maximize, weight_decay), m.empty_like(param)
    if momentum_buffer is not None:
        if first:
            momentum_buffer[...] = g
        else:
            m.multiply(momentum_buffer, momentum, out=momentum_buffer)
            m.multiply(g, 1 - dampening, out=scratch)
            m.add(momentum_buffer, scratch, out=momentum_buffer)
        if nesterov:
            m.multiply(momentum_buffer, momentum, out=scratch)
            g = m.add(g, scratch, out=scratch)
        else:
            g = momentum_buffer
    _subtract(m, param, g, lr, scratch)


@op("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", flops=14, cases=[
    case(MATRIX, MATRIX, MATRIX, MOMENT, None, step=3, lr=0.1),
    case(MATRIX, MATRIX, MATRIX, MOMENT, MOMENT, step=3, lr=0.1, beta1=0.8, beta2=0.9, eps=1e-4, weight_decay=0.1, maximize=True),
    case(MATRIX, MATRIX, MATRIX, MOMENT, None, step=3, lr=0.1, weight_decay=0.1, decoupled=True),
])  # fmt: skip
def adam_(m, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq=None, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
          weight_decay=0.0, decoupled=False, maximize=False):  # fmt: skip
    """m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²; θ ← θ - lr · m/(1 - β₁ᵗ) / (√(v/(1 - β₂ᵗ)) + ε).

    With ``max_exp_avg_sq`` its running maximum stands for v. Kingma & Ba 2015, algorithm 1; Loshchilov &
    Hutter 2019, algorithm 2 (decoupled); Reddi et al. 2018, algorithm 2 (maximum).
    """
    g, scratch = _decayed(m, param, grad, lr, weight_decay, decoupled, maximize), m.empty_like(param)
    _average(m, exp_avg, g, beta1, scratch)
    _average_square(m, exp_avg_sq, g, beta2, scratch)
    if max_exp_avg_sq is not None:
        exp_avg_sq = m.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    root = (1 - beta2**step) ** 0.5  # taken out of the fraction, which saves a pass
    m.sqrt(exp_avg_sq, out=scratch)
    m.add(scratch, eps * root, out=scratch)
    m.divide(exp_avg, scratch, out=scratch)
    _subtract(m, param, scratch, lr * root / (1 - beta1**step), scratch)


@op("param", "square_avg", "momentum_buffer", "grad_avg", flops=9, cases=[
    case(MATRIX, MATRIX, MOMENT, None, None, lr=0.1), case(MATRIX, MATRIX, MOMENT, MATRIX, None, lr=0.1, momentum=0.9, weight_decay=0.1),
    case(MATRIX, MATRIX, floats(MATRIX, 1.0, 2.0), None, floats(MATRIX, -0.5, 0.5), lr=0.1, alpha=0.9, eps=1e-4, maximize=True),
])  # fmt: skip
def rmsprop_(m, param, grad, square_avg, momentum_buffer=None, grad_avg=None, *, lr, alpha=0.99, eps=1e-8, momentum=0.0,
             weight_decay=0.0, maximize=False):  # fmt: skip
    """v ← α v + (1 - α) g²; u = g / (√v + ε); θ ← θ - lr u, or with a buffer b ← μ b + u, θ ← θ - lr b.

    With ``grad_avg`` a ← α a + (1 - α) g, and v - a² stands for v. Tieleman & Hinton 2012, lecture 6.5;
    Graves 2013, eq. 38-45 (centred).
    """
    g, scratch = _descent(m, param, grad, maximize, weight_decay), m.empty_like(param)
    _average_square(m, square_avg, g, alpha, scratch)
    if grad_avg is None:
        m.sqrt(square_avg, out=scratch)
    else:
        _average(m, grad_avg, g, alpha, scratch)
        m.multiply(grad_avg, grad_avg, out=scratch)
        m.subtract(square_avg, scratch, out=scratch)
        m.maximum(scratch, 0, out=scratch)  # a variance, which rounding could make negative
        m.sqrt(scratch, out=scratch)
    m.add(scratch, eps, out=scratch)
    m.divide(g, scratch, out=scratch)
    direction = scratch
    if momentum_buffer is not None:
        m.multiply(momentum_buffer, momentum, out=momentum_buffer)
        direction = m.add(momentum_buffer, scratch, out=momentum_buffer)
    _subtract(m, param, direction, lr, scratch)


@op("param", "sum", flops=7, cases=[
    case(MATRIX, MATRIX, MOMENT, step=3, lr=0.1), case(MATRIX, MATRIX, MOMENT, step=3, lr=0.1, lr_decay=0.1, weight_decay=0.1, eps=1e-4),
    case(MATRIX, MATRIX, MOMENT, step=3, lr=0.1, maximize=True),
])  # fmt: skip
def adagrad_(m, param, grad, sum, *, step, lr, lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False):
    """s ← s + g²; θ ← θ - lr / (1 + (t - 1) lr_decay) · g / (√s + ε). Duchi et al. 2011, fig. 1 (diagonal)."""
    g, scratch = _descent(m, param, grad, maximize, weight_decay), m.empty_like(param)
    m.multiply(g, g, out=scratch)
    m.add(sum, scratch, out=sum)
    m.sqrt(sum, out=scratch)
    m.add(scratch, eps, out=scratch)
    m.divide(g, scratch, out=scratch)
    _subtract(m, param, scratch, lr / (1 + (step - 1) * lr_decay), scratch)


@op("param", "square_avg", "acc_delta", flops=14, cases=[
    case(MATRIX, MATRIX, MOMENT, MOMENT, lr=0.1), case(MATRIX, MATRIX, MOMENT, MOMENT, lr=0.1, rho=0.8, eps=1e-4, weight_decay=0.1),
    case(MATRIX, MATRIX, MOMENT, MOMENT, lr=0.1, maximize=True),
])  # fmt: skip
def adadelta_(
    m, param, grad, square_avg, acc_delta, *, lr, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False
):
    """v ← ρ v + (1 - ρ) g²; d = √(u + ε) / √(v + ε) · g; u ← ρ u + (1 - ρ) d²; θ ← θ - lr d. Zeiler 2012, alg. 1."""
    g, scratch = _descent(m, param, grad, maximize, weight_decay), m.empty_like(param)
    _average_square(m, square_avg, g, rho, scratch)
    m.add(square_avg, eps, out=scratch)
    m.sqrt(scratch, out=scratch)
    delta = m.add(acc_delta, eps, out=m.empty_like(param))
    m.sqrt(delta, out=delta)
    m.divide(delta, scratch, out=delta)
    m.multiply(delta, g, out=delta)
    _average_square(m, acc_delta, delta, rho, scratch)
    _subtract(m, param, delta, lr, scratch)


@op("param", "exp_avg", "exp_inf", flops=9, cases=[
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1),
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1, beta1=0.8, beta2=0.9, eps=1e-4, weight_decay=0.1, maximize=True),
])  # fmt: skip
def adamax_(m, param, grad, exp_avg, exp_inf, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
            maximize=False):  # fmt: skip
    """m ← β₁ m + (1 - β₁) g; u ← max(β₂ u, |g| + ε); θ ← θ - lr/(1 - β₁ᵗ) · m / u. Kingma & Ba 2015, algorithm 2."""
    g, scratch = _descent(m, param, grad, maximize, weight_decay), m.empty_like(param)
    _average(m, exp_avg, g, beta1, scratch)
    m.abs(g, out=scratch)
    m.add(scratch, eps, out=scratch)
    m.multiply(exp_inf, beta2, out=exp_inf)
    m.maximum(exp_inf, scratch, out=exp_inf)
    m.divide(exp_avg, exp_inf, out=scratch)
    _subtract(m, param, scratch, lr / (1 - beta1**step), scratch)


@op("param", "exp_avg", "exp_avg_sq", flops=18, cases=[
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1, mu=0.5, mu_next=0.6, mu_product=0.2),
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1, mu=0.5, mu_next=0.6, mu_product=0.2, beta1=0.8, beta2=0.9, eps=1e-4,
         weight_decay=0.1, maximize=True),
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1, mu=0.5, mu_next=0.6, mu_product=0.2, weight_decay=0.1, decoupled=True),
])  # fmt: skip
def nadam_(m, param, grad, exp_avg, exp_avg_sq, *, step, lr, mu, mu_next, mu_product, beta1=0.9, beta2=0.999, eps=1e-8,
           weight_decay=0.0, decoupled=False, maximize=False):  # fmt: skip
    """m and v as in ``adam_``; d = √(v/(1 - β₂ᵗ)) + ε; θ ← θ - lr ((1 - μ) g / (1 - Πμ) + μ₊ m / (1 - Πμ μ₊)) / d.

    ``mu`` and ``mu_next`` are μ of this step and the next, ``mu_product`` Πμ up to this one. Dozat 2016.
    """
    g, scratch = _decayed(m, param, grad, lr, weight_decay, decoupled, maximize), m.empty_like(param)
    _average(m, exp_avg, g, beta1, scratch)
    _average_square(m, exp_avg_sq, g, beta2, scratch)
    m.divide(exp_avg_sq, 1 - beta2**step, out=scratch)
    m.sqrt(scratch, out=scratch)
    m.add(scratch, eps, out=scratch)
    direction = m.multiply(exp_avg, mu_next / (1 - mu_product * mu_next), out=m.empty_like(param))
    m.add(direction, m.multiply(g, (1 - mu) / (1 - mu_product)), out=direction)
    m.divide(direction, scratch, out=scratch)
    _subtract(m, param, scratch, lr, scratch)


@op("param", "exp_avg", "exp_avg_sq", flops=14, cases=[
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=3, lr=0.1), case(MATRIX, MATRIX, MATRIX, MOMENT, step=9, lr=0.1),
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=9, lr=0.1, beta1=0.8, beta2=0.9, eps=1e-4, weight_decay=0.1, maximize=True),
    case(MATRIX, MATRIX, MATRIX, MOMENT, step=9, lr=0.1, weight_decay=0.1, decoupled=True),
])  # fmt: skip
def radam_(m, param, grad, exp_avg, exp_avg_sq, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
           decoupled=False, maximize=False):  # fmt: skip
    """m and v as in ``adam_``; θ ← θ - lr r √(1 - β₂ᵗ) m/(1 - β₁ᵗ) / (√v + ε) once ρ > 5, θ - lr m/(1 - β₁ᵗ) before.

    ρ∞ = 2/(1 - β₂) - 1, ρ = ρ∞ - 2 t β₂ᵗ/(1 - β₂ᵗ), r² = (ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ).
    Liu et al. 2020, algorithm 2.
    """
    g, scratch = _decayed(m, param, grad, lr, weight_decay, decoupled, maximize), m.empty_like(param)
    _average(m, exp_avg, g, beta1, scratch)
    _average_square(m, exp_avg_sq, g, beta2, scratch)
    correction = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction
    size = lr / (1 - beta1**step)
    if length <= 5:
        return _subtract(m, param, exp_avg, size, scratch)
    rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
    m.sqrt(exp_avg_sq, out=scratch)
    m.add(scratch, eps, out=scratch)
    m.divide(exp_avg, scratch, out=scratch)
    _subtract(m, param, scratch, size * rectified * correction**0.5, scratch)


@op("x", flops=1, cases=[case((4, 3), floats((), 0.1, 1.0))])
def scale_(m, x, factor):
    """x ← x · factor, a 0-d array: how gradients are clipped."""
    m.multiply(x, factor, out=x)
