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
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = True,
    masked: bool | None = None,
) -> bool:
    """Do the gradients of ``func(*inputs)`` agree with measured ones, |a - n| ≤ atol + rtol·|n|?

    Inputs that require grad are checked; they should be float64 (a warning says so otherwise).
    ``fast_mode``: directional, our default; False compares every element of the Jacobian (PyTorch's
    default). ``nondet_tol``: how far two backward passes may differ. ``check_undefined_grad``: while one of
    several outputs is checked the others' gradients are undefined, and with False zeros.
    ``check_grad_dtypes``: each gradient must have its input's dtype. ``check_forward_ad``: ``jvp`` too;
    ``check_backward_ad=False``: that alone. The two ``batched`` options need vmap, ``masked`` sparse
    tensors: refused. Raises GradcheckError, or returns False when ``raise_exception`` is false.
    """
    for name, on in (("check_batched_grad", check_batched_grad), ("masked", masked),
                     ("check_batched_forward_grad", check_batched_forward_grad)):  # fmt: skip
        if on:
            raise NotImplementedError(
                f"gradcheck: {name}=True is not supported (no vmap, no sparse tensors); leave it out"
            )
    inputs = _tuple(inputs)
    _check_inputs("gradcheck", inputs)
    try:
        checker = _Checker(func, inputs, eps=eps, atol=atol, rtol=rtol, undefined=check_undefined_grad)
        if check_backward_ad:
            checker.backward_runs_twice(nondet_tol, check_grad_dtypes)
            checker.check(checker.by_backward, full=not fast_mode)
        if check_forward_ad:
            checker.check_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = True,
    masked: bool = False,
) -> bool:
    """Second order: ``gradcheck`` of the function (inputs, grad_outputs) -> gradients of ``func`` by inputs.

    ``grad_outputs`` are random unless given; ``gen_non_contig_grad_outputs`` makes them strided.
    """
    inputs = _tuple(inputs)
    _check_inputs("gradgradcheck", inputs)
    if grad_outputs is None:
        rng, made = np.random.default_rng(1), []
        for out in _differentiable(func(*inputs)):
            g = backend.module_of(out._array).from_numpy(_direction(rng, out).astype(out._array.dtype))
            made.append(
                wrap(g if not gen_non_contig_grad_outputs else g.repeat(2).reshape(*g.shape, 2)[..., 0])
            )
        grad_outputs = tuple(g.requires_grad_() for g in made)
    else:
        grad_outputs = _tuple(grad_outputs)
    n = len(inputs)

    def gradients(*args: Any) -> tuple[Any, ...]:
        outs = _differentiable(func(*args[:n]))
        wanted = [x for x in args[:n] if isinstance(x, Variable) and x._requires_grad]
        found = autograd.grad(outs, wanted, args[n:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients, inputs + grad_outputs, eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
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
            domain: Any = op.domain
            if isinstance(domain[0], (tuple, list)):
                domain = domain[min(i, len(domain) - 1)]
            shape, low, high = spec if isinstance(spec, floats) else (spec, *domain)
            x, gap = np.asarray(rng.uniform(low, high, shape)), (high - low) / 50
            for k in op.kinks:
                x = np.where(np.abs(x - k) < gap, k + gap * np.where(x < k, -1, 1), x)
            operands.append(x.astype(dtype))
    return operands


def cases_of(op: Op) -> tuple[Case, ...]:
    """The row's cases; an elementwise row that names none is called on matrices."""
    return op.cases or (case(*[(2, 3)] * len(op.inputs)),)


def check_row(
    op: Op | str,
    which: Case | None = None,
    *,
    operands: Sequence[Any] | None = None,
    needs: Sequence[bool] | None = None,
    order: int = 2,
    seed: int = 0,
    eps: float = 1e-6,
    atol: float = 1e-9,
    rtol: float = 1e-8,
    fast_mode: bool = True,
) -> bool:
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
    tensors = [wrap(a) if hasattr(a, "dtype") else a for a in arrays]
    for i, x in enumerate(tensors):
        if isinstance(x, Variable) and x._array.dtype.kind == "f" and names[i] not in op.constant:
            x._requires_grad = needs is None or bool(needs[i])
    inputs = tuple(tensors)

    def forward(*args: Any) -> Any:
        return _tuple(apply(op, args, attrs))[0]

    measure = None
    if op.analytic and all(type(a) is np.ndarray for a in arrays if hasattr(a, "dtype")):
        measure = _complex_step(op, arrays, attrs)
    checker = _Checker(forward, inputs, op.name, names, measure, eps=eps, atol=atol, rtol=rtol)
    checker.backward_runs_twice(0.0, True)
    checker.check(checker.by_backward, full=not fast_mode)
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


def _differentiable(outputs: Any) -> list[Any]:
    return [t for t in _tuple(outputs) if isinstance(t, Variable) and t._requires_grad]


def _numpy(x: Any) -> np.ndarray:
    array = x._array if isinstance(x, Variable) else x
    return np.asarray(backend.module_of(array).to_numpy(array), dtype=np.float64)


def _direction(rng: np.random.Generator, x: Any) -> np.ndarray:
    return np.asarray(rng.uniform(0.5, 1.5, x._array.shape) * rng.choice([-1.0, 1.0], x._array.shape))


def _check_inputs(name: str, inputs: tuple[Any, ...]) -> None:
    tracked = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad]
    if not tracked:
        raise ValueError(f"{name} expects at least one input tensor to require gradient, but none of them have "
                         f"requires_grad=True; call requires_grad_() on one")  # fmt: skip
    for i, x in tracked:
        if x._array.dtype != np.float64:
            warnings.warn(f"{name}: Input #{i} requires gradient and is not a double precision floating point, but "
                          f"{errors.describe(x)}. This check will likely fail: convert with .double()", stacklevel=3)  # fmt: skip
        strides = getattr(x._array, "strides", x._array.shape)
        if x._array.size and any(s == 0 and n > 1 for s, n in zip(strides, x._array.shape, strict=True)):
            raise RuntimeError(f"{name}: The {i}th input has a dimension with stride 0: its elements share memory, and "
                               f"can't be varied one by one; call .contiguous() on it")  # fmt: skip


class _Checker:
    """One comparison: what is varied, what is measured, and how far apart they may be."""

    def __init__(
        self, func: Any, inputs: tuple[Any, ...], name: str | None = None, names: Sequence[str] | None = None,
        measure: Measure | None = None, *, eps: float, atol: float, rtol: float, undefined: bool = True,
    ) -> None:  # fmt: skip
        self.func, self.inputs, self.eps, self.atol, self.rtol, self.undefined = (
            func,
            inputs,
            eps,
            atol,
            rtol,
            undefined,
        )
        self.tracked = [i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad]
        every = _tuple(func(*inputs))
        self.outs = _differentiable(every)
        self.kept = [k for k, t in enumerate(every) if any(t is o for o in self.outs)]
        if not self.outs:  # then it must not depend on its inputs: every float output has derivative 0
            self.kept = [
                k for k, t in enumerate(every) if isinstance(t, Variable) and t._array.dtype.kind in "fV"
            ]
            self.outs = [every[k] for k in self.kept]
        self.name, self.measure = name, measure or self._measure
        self.names = names or [""] * len(inputs)

    def _evaluate(self) -> np.ndarray:
        """All outputs as one vector."""
        outs = _tuple(self.func(*self.inputs))
        return np.concatenate([_numpy(outs[k]).reshape(-1) for k in self.kept] or [np.zeros(0)])

    def _measure(self, i: int, v: np.ndarray) -> list[np.ndarray]:
        x = self.inputs[i]
        original, module = x._array, backend.module_of(x._array)
        at = np.array(module.to_numpy(original), copy=True, order="K")

        def central(h: float) -> np.ndarray:
            values = []
            for step in (h, -h):
                x._array = module.from_numpy((at + step * v).astype(at.dtype))
                values.append(self._evaluate())
            return (values[0] - values[1]) / (2 * h)

        try:
            flat = extrapolated(central, self.eps * 1000)
        finally:
            x._array = original
        ends = np.cumsum([o._array.size for o in self.outs])
        return [f.reshape(o._array.shape) for f, o in zip(np.split(flat, ends[:-1]), self.outs, strict=True)]

    def by_backward(self, k: int, u: np.ndarray) -> list[np.ndarray]:
        """Jᵀ u for the k-th output, by input."""
        if not self.outs[k]._requires_grad:
            return [np.zeros(self.inputs[i]._array.shape) for i in self.tracked]
        return [
            np.zeros(self.inputs[i]._array.shape) if g is None else _numpy(g)
            for i, g in zip(self.tracked, self._gradients(k, u), strict=True)
        ]

    def _gradients(self, k: int, u: np.ndarray) -> tuple[Any, ...]:
        outs = [o for o in self.outs if o._requires_grad] if not self.undefined else [self.outs[k]]
        vectors = [
            wrap(backend.module_of(o._array).from_numpy((u if o is self.outs[k] else u * 0).astype(o._array.dtype)))
            if o is self.outs[k]
            else wrap(backend.module_of(o._array).m.zeros_like(o._array))
            for o in outs
        ]  # fmt: skip
        wanted = [self.inputs[i] for i in self.tracked]
        return autograd.grad(outs, wanted, vectors, retain_graph=True, allow_unused=True)

    def backward_runs_twice(self, tolerance: float, dtypes: bool) -> None:
        """Refuses a backward that isn't a function of its arguments, or whose gradients don't fit the inputs."""
        rng = np.random.default_rng(2)
        for k, out in enumerate(self.outs):
            if not out._requires_grad:
                continue
            u = _direction(rng, out)
            for i, a, b in zip(self.tracked, self._gradients(k, u), self._gradients(k, u), strict=True):
                x = self.inputs[i]
                if a is None or b is None:
                    continue
                if a._array.shape != x._array.shape or dtypes and a._array.dtype != x._array.dtype:
                    raise GradcheckError(f"gradcheck: {self._of(k)}: the gradient by input {i} is {errors.describe(a)}, "
                                         f"the input {errors.describe(x)}; they must agree")  # fmt: skip
                if not np.allclose(_numpy(a), _numpy(b), rtol=0, atol=tolerance, equal_nan=True):
                    raise GradcheckError(f"gradcheck: {self._of(k)}: Backward is not reentrant: twice with the same "
                                         f"gradient it gave different gradients by input {i}; raise nondet_tol if that "
                                         f"is meant")  # fmt: skip

    def check(self, analytic: Callable[[int, np.ndarray], list[np.ndarray]], full: bool = False) -> None:
        """Compares along random directions; with ``full``, or to say where it fails, element by element."""
        rng = np.random.default_rng(3)
        us = [_direction(rng, o) for o in self.outs]
        by_output = [analytic(k, u) for k, u in enumerate(us)]  # Jᵀ u
        for position, i in enumerate(self.tracked):
            v = _direction(rng, self.inputs[i])
            along = self.measure(i, v)  # J v
            for k, u in enumerate(us):
                back, forth = by_output[k][position] * v, along[k] * u
                allowed = self.atol + self.rtol * max(np.abs(back).sum(), np.abs(forth).sum())
                agree = bool(np.abs(back.sum() - forth.sum()) <= allowed)
                if full or not agree:
                    self._compare_elements(analytic, k, position)
                if not agree:
                    self._fail(k, i, "along a random direction", back.sum(), forth.sum(), allowed)

    def _compare_elements(self, analytic: Any, k: int, position: int) -> None:
        i = self.tracked[position]
        x, out = self.inputs[i]._array, self.outs[k]._array
        numeric = (
            np.stack([self.measure(i, e.reshape(x.shape))[k].reshape(-1) for e in np.eye(x.size)])
            if x.size
            else None
        )
        if numeric is None or not out.size:
            return
        exact = np.stack(
            [analytic(k, e.reshape(out.shape))[position].reshape(-1) for e in np.eye(out.size)], axis=1
        )
        excess = np.abs(exact - numeric) - (self.atol + self.rtol * np.abs(numeric))
        if not (excess <= 0).all():
            j, o = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
            here, there = np.unravel_index(j, x.shape), np.unravel_index(o, out.shape)
            where = f"at input index {tuple(map(int, here))}, output index {tuple(map(int, there))}"
            self._fail(k, i, where, exact[j, o], numeric[j, o], self.atol + self.rtol * abs(numeric[j, o]))

    def check_forward(self) -> None:
        """u·(J v) by ``jvp`` against the measured one, all inputs moving together."""
        from .transforms import jvp

        rng = np.random.default_rng(4)
        moved = [_direction(rng, self.inputs[i]) for i in self.tracked]
        measured = [self.measure(i, v) for i, v in zip(self.tracked, moved, strict=True)]

        def restricted(*args: Any) -> Any:
            given = dict(zip(self.tracked, args, strict=True))
            outs = _tuple(self.func(*[given.get(i, x) for i, x in enumerate(self.inputs)]))
            return tuple(outs[k] for k in self.kept)

        primals = tuple(self.inputs[i].detach() for i in self.tracked)
        tangents = tuple(
            wrap(backend.module_of(p._array).from_numpy(v.astype(p._array.dtype)))
            for p, v in zip(primals, moved, strict=True)
        )
        found = _tuple(jvp(restricted, primals, tangents)[1])
        for k, a in enumerate(found):
            n = np.asarray(sum(m[k] for m in measured))
            allowed = self.atol + self.rtol * np.asarray(sum(np.abs(m[k]) for m in measured)).max(initial=0.0)
            if not (np.abs(_numpy(a) - n) <= allowed).all():
                at = np.unravel_index(int(np.argmax(np.abs(_numpy(a) - n))), n.shape)
                self._fail(k, self.tracked[0], f"forward mode (jvp), output index {tuple(map(int, at))}",
                           _numpy(a)[at], n[at], allowed)  # fmt: skip

    def _of(self, k: int) -> str:
        node = self.outs[k]._node
        return self.name or str(node.name() if node is not None else getattr(self.func, "__name__", "func"))

    def _fail(self, k: int, i: int, where: str, analytic: Any, numeric: Any, allowed: Any) -> None:
        name = f" ({self.names[i]})" if self.names[i] else ""
        raise GradcheckError(
            f"gradcheck: {self._of(k)}: Jacobian mismatch for output {self.kept[k]} with respect to input {i}{name}, "
            f"{errors.describe(self.inputs[i])}, {where}: analytic {float(analytic):.15g}, numeric "
            f"{float(numeric):.15g}, they differ by {abs(float(analytic) - float(numeric)):.3g} where "
            f"{float(allowed):.3g} is allowed; correct the gradient rule, or declare the kink"
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
