"""adam_ and sgd_ in one pass over their arrays. No fast-math flags: the bits are the reference's.

Floors: adam_ reads four arrays and writes three, sgd_ reads two or three and writes one or two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Declined

from .loading import kernel, loop

LAYOUT = Declined("its arrays are not contiguous in one order")
LARGEST = Declined("amsgrad is the reference's")


def _flat(grad: Any, *written: Any) -> Any:
    """The arrays as vectors that share their memory, the gradient first; or why not."""
    for order in ("C", "F"):
        if all(a.flags.c_contiguous if order == "C" else a.flags.f_contiguous for a in written):
            break
    else:
        return LAYOUT
    if not all(a.flags.aligned and a.shape == grad.shape and a.dtype == grad.dtype for a in written):
        return LAYOUT
    if not grad.flags.aligned or not (grad.flags.c_contiguous if order == "C" else grad.flags.f_contiguous):
        grad = np.array(grad, order=order)  # type: ignore[call-overload]
    return [a.reshape(-1, order=order) for a in (grad, *written)]


@loop("X[::1], X[::1], X[::1], X[::1], X, X, X, X, X, X, X, X, b1")
def _adam(
    grad, param, mean, square, shrink, decay, beta1, rest1, beta2, rest2, eps, size, maximize, start, stop
):
    grad, param, mean, square = grad[start:stop], param[start:stop], mean[start:stop], square[start:stop]
    for i in range(param.shape[0]):
        g, p = grad[i], param[i]
        g = -g if maximize else g
        p = p * shrink
        g = g + p * decay if decay != 0 else g
        m = mean[i] * beta1 + g * rest1
        v = square[i] * beta2 + g * g * rest2
        mean[i], square[i] = m, v
        param[i] = p - m / (np.sqrt(v) + eps) * size


@kernel(_adam)
def adam_forward(
    param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq=None, *, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
    weight_decay=0.0, decoupled=False, maximize=False,
):  # fmt: skip
    if max_exp_avg_sq is not None:
        return LARGEST
    flat = _flat(grad, param, exp_avg, exp_avg_sq)
    if type(flat) is Declined:
        return flat
    root = (1 - beta2**step) ** 0.5
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    _adam(grad.size, 0.8 * grad.size, *flat, shrink, decay, beta1, 1 - beta1, beta2, 1 - beta2, eps * root,
          lr * root / (1 - beta1**step), maximize)  # fmt: skip
    return None


@loop("X[::1], X[::1], X[::1], X, X, X, X, b1, b1, b1, b1")
def _sgd(grad, param, buffer, lr, momentum, rest, decay, buffered, nesterov, maximize, first, start, stop):
    grad, param, buffer = grad[start:stop], param[start:stop], buffer[start:stop]
    for i in range(param.shape[0]):
        g, p = grad[i], param[i]
        g = -g if maximize else g
        g = g + p * decay if decay != 0 else g
        if buffered:
            b = g if first else buffer[i] * momentum + g * rest
            buffer[i] = b
            g = g + b * momentum if nesterov else b
        param[i] = p - g * lr


@kernel(_sgd)
def sgd_forward(
    param, grad, momentum_buffer=None, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False,
    maximize=False, first=False,
):  # fmt: skip
    buffered = momentum_buffer is not None
    flat = _flat(grad, param, *((momentum_buffer,) if buffered else ()))
    if type(flat) is Declined:
        return flat
    _sgd(grad.size, 0.5 * grad.size, *flat, *(() if buffered else (flat[1],)), lr, momentum, 1 - dampening,
         weight_decay, buffered, nesterov, maximize, first)  # fmt: skip
    return None


adam__forward, sgd__forward = adam_forward, sgd_forward  # by the rows' names, which end in an underscore
