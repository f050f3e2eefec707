"""Compares gradients with derivatives measured from the function itself, in float64.

What lives here: the public ``gradcheck`` and ``gradgradcheck``, ``check_row`` and ``draw`` for rows of the op
table. What doesn't: the tests that call them, and what a row declares (``op.py``).

How to call it::

    gradcheck(lambda x, w: (x @ w).tanh(), (x, w))                 # directional, torch's tolerances
    gradcheck(f, x, fast_mode=False)                               # every element of the Jacobian
    gradcheck(f, x, rtol=1e-9, atol=1e-11); gradgradcheck(f, x)    # tighter; second order
    check_row(OPS["silu"]); check_row("sum", case((3, 4), dim=0))  # a row: first and second order, forward mode
    check_row("add", operands=[a, b], needs=[True, False])         # on arrays of one's own, a subset of inputs

*Directional*: with random u and v the number u·(J v), measured, must equal (Jᵀ u)·v, by the rule; a wrong
term shows whatever element it is in, for two evaluations instead of one for each element.
*Measured*: by central differences at steps falling from 1000·eps to eps, extrapolated to step 0 (Richardson
1911; Ridders, Adv. Eng. Software 4, 1982), each element taking the estimate that moved least, so that neither
a kink nearby nor rounding spoils it: about 11 digits. Analytic rows instead take one complex step,
Im f(x + i h v) / h with h = 1e-20, exact to rounding (Squire & Trapp, SIAM Review 40, 1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import autograd, backend, errors
from .autograd import Variable, apply, wrap
from .op import OPS, Case, Op, bools, case, floats, ints

Measure = Callable[[int, np.ndarray], list[np.ndarray]]  # (input, direction v) -> J v by output


class GradcheckError(RuntimeError):
    """A gradient that differs from the measured derivative: the text says op, input, index and both values."""


def gradcheck(
    func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = True, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Do the gradients of ``func(*inputs)`` agree with measured ones, |a - n| ≤ atol + rtol·|n|?

    Inputs that require grad are checked; they should be float64 (a warning says so otherwise).
    ``fast_mode``: directional, our default; False compares every element of the Jacobian (PyTorch's
    default). ``nondet_tol``: how far two backward passes may differ. ``check_undefined_grad``: while one of
    several outputs is checked the others' gradients are undefined, and with False zeros.
    ``check_grad_dtypes``: each gradient must have its input's dtype. ``check_forward_ad``: ``jvp`` too;
    ``check_backward_ad=False``: that alone. The two ``batched`` options need vmap, ``masked`` sparse
    tensors: refused. Raises GradcheckError, or returns False when ``raise_exception`` is false.
    """
    refused = {
        "check_batched_grad": check_batched_grad,
        "check_batched_forward_grad": check_batched_forward_grad,
    }
    for name in [name for name, on in {**refused, "masked": masked}.items() if on]:
        raise NotImplementedError(
            f"gradcheck: {name}=True is not supported (no vmap, no sparse tensors); leave it out"
        )
    inputs = _tuple(inputs)
    _check_inputs("gradcheck", inputs)
    try:
        checker = Checker(
            func,
            inputs,
            eps=eps,
            atol=atol,
            rtol=rtol,
            undefined=check_undefined_grad,
            dtypes=check_grad_dtypes,
        )
        if check_backward_ad:
            checker.check_backward(nondet_tol, full=not fast_mode)
        if check_forward_ad:
            checker.check_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
    check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
    fast_mode: bool = True, masked: bool = False,
) -> bool:  # fmt: skip
    """Second order: ``gradcheck`` of the function (inputs, grad_outputs) -> gradients of ``func`` by inputs.

    ``grad_outputs`` are random unless given; ``gen_non_contig_grad_outputs`` makes them strided.
    """
    inputs = _tuple(inputs)
    _check_inputs("gradgradcheck", inputs)
    if grad_outputs is None:
        rng, outs = np.random.default_rng(1), _tracked(func(*inputs))
        grad_outputs = [
            _like(o, _direction(rng, o), strided=gen_non_contig_grad_outputs).requires_grad_() for o in outs
        ]
    n = len(inputs)

    def gradients(*args: Any) -> tuple[Any, ...]:
        outs, wanted = _tracked(func(*args[:n])), _tracked(args[:n])
        found = autograd.grad(outs, wanted, args[n:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients, inputs + _tuple(grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev, fast_mode=fast_mode, masked=masked,
    )  # fmt: skip


# ---- rows ------------------------------------------------------------------------------------------------


def draw(op: Op | str, which: Case | None = None, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    """Operands of a case as NumPy arrays: floats from the row's domain, away from its kinks; None stays None."""
    op = OPS[op] if isinstance(op, str) else op
    rng = np.random.default_rng(seed)
    operands: list[Any] = []
    for i, spec in enumerate((which or cases_of(op)[0]).operands):
        if spec is None:
            operands.append(None)
        elif isinstance(spec, ints):
            operands.append(rng.integers(spec.low, spec.high, spec.shape))
        elif isinstance(spec, bools):
            operands.append(np.asarray(rng.random(spec.shape) < 0.5))
        else:
            domain: Any = op.domain if isinstance(op.domain[0], (tuple, list)) else [op.domain]
            shape, low, high = spec if isinstance(spec, floats) else (spec, *domain[min(i, len(domain) - 1)])
            x, gap = np.asarray(rng.uniform(low, high, shape)), (high - low) / 50
            for k in op.kinks:
                x = np.where(np.abs(x - k) < gap, k + gap * np.where(x < k, -1, 1), x)
            operands.append(x.astype(dtype))
    return operands


def cases_of(op: Op) -> tuple[Case, ...]:
    """The row's cases; an elementwise row that names none is called on matrices."""
    return op.cases or (case(*[(2, 3)] * len(op.inputs)),)


def check_row(
    op: Op | str, which: Case | None = None, *, operands: Sequence[Any] | None = None,
    needs: Sequence[bool] | None = None, order: int = 2, seed: int = 0, eps: float = 1e-6, atol: float = 1e-9,
    rtol: float = 1e-8, fast_mode: bool = True,
) -> bool:  # fmt: skip
    """Checks a row's rules on a case (default: its first): first order, forward mode, and second order.

    ``operands``: float64 arrays to use instead of drawn ones; ``needs``: which inputs require gradients
    (default: every float that isn't declared constant). The measured first derivative is by complex step
    where the row is analytic; an analytic row whose forward refuses complex numbers is an error.
    """
    op = OPS[op] if isinstance(op, str) else op
    if not op.differentiable:
        raise ValueError(
            f"check_row: {op.name} is declared not differentiable (gradient=None); nothing to check"
        )
    which = which or cases_of(op)[0]
    arrays = draw(op, which, seed) if operands is None else list(operands)
    arrays += [None] * (0 if op.variadic else len(op.inputs) - len(arrays))
    attrs = {**op.attrs, **which.attrs}
    names = [op.inputs[min(i, len(op.inputs) - 1)] for i in range(len(arrays))]
    inputs = tuple(wrap(a) if hasattr(a, "dtype") else a for a in arrays)
    for i, x in enumerate(inputs):
        if isinstance(x, Variable) and x._array.dtype.kind == "f" and names[i] not in op.constant:
            x._requires_grad = needs is None or bool(needs[i])

    def forward(*args: Any) -> Any:
        return _tuple(apply(op, args, attrs))[0]

    analytic = op.analytic and all(type(a) is np.ndarray for a in arrays if hasattr(a, "dtype"))
    measure = _complex_step(op, arrays, attrs) if analytic else None
    checker = Checker(forward, inputs, op.name, names, measure, eps=eps, atol=atol, rtol=rtol, dtypes=True)
    checker.check_backward(0.0, full=not fast_mode)
    checker.check_forward()
    return order < 2 or gradgradcheck(
        forward,
        inputs,
        eps=eps,
        atol=max(atol, 1e-8),
        rtol=max(rtol, 1e-7),
        check_grad_dtypes=True,
        fast_mode=fast_mode,
    )


def _complex_step(op: Op, arrays: list[Any], attrs: dict[str, Any]) -> Measure:
    """J v = Im f(x + i h v) / h on the raw forward: no difference is taken, so nothing cancels."""
    h = 1e-20

    def measure(i: int, v: np.ndarray) -> list[np.ndarray]:
        args = [a.astype(complex) if getattr(a, "dtype", None) == np.float64 else a for a in arrays]
        args[i] = args[i] + 1j * h * v
        try:
            with np.errstate(all="ignore"):
                result = op.forward(np, *args, **attrs)
        except (TypeError, ValueError, RuntimeError, AttributeError) as e:
            raise GradcheckError(f"check_row: {op.name} is declared analytic, but its forward refuses complex "
                                 f"numbers ({e}); declare analytic=False") from e  # fmt: skip
        return [np.asarray(np.imag(_tuple(result)[0]) / h)]

    return measure


# ---- the check -------------------------------------------------------------------------------------------


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _tracked(values: Any) -> list[Any]:
    return [t for t in _tuple(values) if isinstance(t, Variable) and t._requires_grad]


def _numpy(x: Any) -> np.ndarray:
    return np.asarray(backend.module_of(x._array).to_numpy(x._array), dtype=np.float64)


def _like(x: Any, values: Any, strided: bool = False) -> Any:
    """A tensor of values with x's device and dtype."""
    values = np.asarray(values, dtype=x._array.dtype)
    if strided:
        values = values.repeat(2).reshape(*values.shape, 2)[..., 0]
    return wrap(backend.module_of(x._array).from_numpy(values))


def _direction(rng: np.random.Generator, x: Any) -> np.ndarray:
    return np.asarray(rng.uniform(0.5, 1.5, x._array.shape) * rng.choice([-1.0, 1.0], x._array.shape))


def _check_inputs(name: str, inputs: tuple[Any, ...]) -> None:
    if not _tracked(inputs):
        raise ValueError(f"{name} expects at least one input tensor to require gradient, but none of them have "
                         f"requires_grad=True; call requires_grad_() on one")  # fmt: skip
    for i, x in enumerate(inputs):
        if not _tracked(x):
            continue
        if x._array.dtype != np.float64:
            warnings.warn(f"{name}: Input #{i} requires gradient and is not a double precision floating point, but "
                          f"{errors.describe(x)}. This check will likely fail: convert with .double()", stacklevel=3)  # fmt: skip
        strides = getattr(x._array, "strides", x._array.shape)
        if x._array.size and any(s == 0 and n > 1 for s, n in zip(strides, x._array.shape, strict=True)):
            raise RuntimeError(f"{name}: The {i}th input has a dimension with stride 0: its elements share memory, and "
                               f"can't be varied one by one; call .contiguous() on it")  # fmt: skip


class Checker:
    """One comparison: what is varied, what is measured, and how far apart they may be."""

    def __init__(
        self, func: Any, inputs: tuple[Any, ...], name: str | None = None, names: Sequence[str] | None = None,
        measure: Measure | None = None, *, eps: float, atol: float, rtol: float, undefined: bool = True, dtypes: bool = False,
    ) -> None:  # fmt: skip
        self.func, self.inputs, self.name, self.names = func, inputs, name, names
        self.eps, self.atol, self.rtol, self.undefined, self.dtypes = eps, atol, rtol, undefined, dtypes
        self.measure = measure or self._measure
        self.varied = [i for i, x in enumerate(inputs) if _tracked(x)]
        every = _tuple(func(*inputs))
        self.kept = [k for k, t in enumerate(every) if _tracked(t)]
        if not self.kept:  # then it must not depend on its inputs: every float output has derivative 0
            self.kept = [
                k for k, t in enumerate(every) if isinstance(t, Variable) and t._array.dtype.kind in "fV"
            ]
        self.outs = [every[k] for k in self.kept]

    def _evaluate(self) -> np.ndarray:
        """All outputs as one vector."""
        outs = _tuple(self.func(*self.inputs))
        return np.concatenate([_numpy(outs[k]).reshape(-1) for k in self.kept] or [np.zeros(0)])

    def _measure(self, i: int, v: np.ndarray) -> list[np.ndarray]:
        x, original = self.inputs[i], self.inputs[i]._array
        at = np.array(backend.module_of(original).to_numpy(original), copy=True, order="K")

        def central(h: float) -> np.ndarray:
            values = []
            for step in (h, -h):
                x._array = backend.module_of(original).from_numpy((at + step * v).astype(at.dtype))
                values.append(self._evaluate())
            return (values[0] - values[1]) / (2 * h)

        try:
            flat = extrapolated(central, self.eps * 1000)
        finally:
            x._array = original
        ends = np.cumsum([o._array.size for o in self.outs])
        return [f.reshape(o._array.shape) for f, o in zip(np.split(flat, ends[:-1]), self.outs, strict=True)]

    def _backward(self, k: int, u: np.ndarray) -> list[np.ndarray]:
        """Jᵀ u for the k-th output, by input."""
        inputs = [self.inputs[i] for i in self.varied]
        found: Any = [None] * len(inputs)
        if self.outs[k]._requires_grad:
            outs = [self.outs[k]] if self.undefined else self.outs
            vectors = [_like(o, u if o is self.outs[k] else np.zeros(o._array.shape)) for o in outs]
            found = autograd.grad(outs, inputs, vectors, retain_graph=True, allow_unused=True)
        for i, x, g in zip(self.varied, inputs, found, strict=True):
            if g is not None and (
                g._array.shape != x._array.shape or self.dtypes and g._array.dtype != x._array.dtype
            ):
                raise GradcheckError(f"gradcheck: {self._of(k)}: the gradient by input {i} is {errors.describe(g)}, "
                                     f"the input {errors.describe(x)}; they must agree")  # fmt: skip
        return [
            np.zeros(x._array.shape) if g is None else _numpy(g) for x, g in zip(inputs, found, strict=True)
        ]

    def check_backward(self, nondet_tol: float, full: bool) -> None:
        """Compares along random directions; with ``full``, or to say where it fails, element by element."""
        rng = np.random.default_rng(3)
        us = [_direction(rng, o) for o in self.outs]
        pulled = [self._backward(k, u) for k, u in enumerate(us)]  # Jᵀ u
        for k, (u, first) in enumerate(zip(us, pulled, strict=True)):
            for i, a, b in zip(self.varied, first, self._backward(k, u), strict=True):
                if not np.allclose(a, b, rtol=0, atol=nondet_tol, equal_nan=True):
                    raise GradcheckError(f"gradcheck: {self._of(k)}: Backward is not reentrant: twice with the same "
                                         f"gradient it gave different gradients by input {i}; raise nondet_tol if that "
                                         f"is meant")  # fmt: skip
        for position, i in enumerate(self.varied):
            v = _direction(rng, self.inputs[i])
            for k, jv in enumerate(self.measure(i, v)):
                back, forth = pulled[k][position] * v, jv * us[k]
                allowed = self.atol + self.rtol * max(np.abs(back).sum(), np.abs(forth).sum())
                agree = bool(np.abs(back.sum() - forth.sum()) <= allowed)
                if full or not agree:
                    self._compare_elements(k, position)
                if not agree:
                    self._fail(k, i, "along a random direction", back.sum(), forth.sum(), allowed)

    def _compare_elements(self, k: int, position: int) -> None:
        i = self.varied[position]
        x, out = self.inputs[i]._array, self.outs[k]._array
        if not x.size or not out.size:
            return
        numeric = np.stack([self.measure(i, e.reshape(x.shape))[k].reshape(-1) for e in np.eye(x.size)])
        exact = np.stack(
            [self._backward(k, e.reshape(out.shape))[position].reshape(-1) for e in np.eye(out.size)], axis=1
        )
        allowed = self.atol + self.rtol * np.abs(numeric)
        excess = np.abs(exact - numeric) - allowed
        if not (excess <= 0).all():
            at = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
            here, there = (
                tuple(map(int, np.unravel_index(n, a.shape))) for n, a in zip(at, (x, out), strict=True)
            )
            self._fail(
                k, i, f"at input index {here}, output index {there}", exact[at], numeric[at], allowed[at]
            )

    def check_forward(self) -> None:
        """J v by ``jvp`` against the measured one, all inputs moving together."""
        from .transforms import jvp

        rng = np.random.default_rng(4)
        moves = {i: _direction(rng, self.inputs[i]) for i in self.varied}
        parts = [self.measure(i, v) for i, v in moves.items()]

        def restricted(*args: Any) -> Any:
            given = dict(zip(self.varied, args, strict=True))
            outs = _tuple(self.func(*[given.get(i, x) for i, x in enumerate(self.inputs)]))
            return tuple(outs[k] for k in self.kept)

        primals = tuple(self.inputs[i].detach() for i in self.varied)
        found = jvp(restricted, primals, tuple(_like(self.inputs[i], v) for i, v in moves.items()))[1]
        for k, jv in enumerate(found):
            n = np.asarray(sum(p[k] for p in parts))
            allowed = self.atol + self.rtol * np.asarray(sum(np.abs(p[k]) for p in parts)).max(initial=0.0)
            if not (np.abs(_numpy(jv) - n) <= allowed).all():
                at = np.unravel_index(int(np.argmax(np.abs(_numpy(jv) - n))), n.shape)
                where = f"in forward mode (jvp), output index {tuple(map(int, at))}"
                self._fail(k, self.varied[0], where, _numpy(jv)[at], n[at], allowed)

    def _of(self, k: int) -> str:
        node = self.outs[k]._node
        return self.name or str(node.name() if node is not None else getattr(self.func, "__name__", "func"))

    def _fail(self, k: int, i: int, where: str, analytic: Any, numeric: Any, allowed: Any) -> None:
        a, n, name = float(analytic), float(numeric), f" ({self.names[i]})" if self.names else ""
        raise GradcheckError(
            f"gradcheck: {self._of(k)}: Jacobian mismatch for output {self.kept[k]} with respect to input {i}{name}, "
            f"{errors.describe(self.inputs[i])}, {where}: analytic {a:.15g}, numeric {n:.15g}, they differ by "
            f"{abs(a - n):.3g} where {float(allowed):.3g} is allowed; correct the gradient rule, or declare the kink"
        )


def extrapolated(
    central: Callable[[float], np.ndarray], h: float, levels: int = 4, ratio: float = 10.0
) -> np.ndarray:
    """The limit of central differences for step 0: row k of Richardson's table cancels the error terms h², h⁴ …

    Each element takes the entry that differs least from its two neighbours in the table.
    """
    older: list[np.ndarray] = []
    best = error = np.zeros(0)
    for k in range(levels):
        row = [central(h / ratio**k)]
        for j, above in enumerate(older):
            row.append(row[j] + (row[j] - above) / (ratio ** (2 * (j + 1)) - 1))
        if k == 0:
            best, error = row[0], np.full(row[0].shape, np.inf)
        for j in range(1, len(row)):
            moved = np.maximum(np.abs(row[j] - row[j - 1]), np.abs(row[j] - older[j - 1]))
            better = moved < error
            best, error = np.where(better, row[j], best), np.where(better, moved, error)
        older = row
    return best


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
