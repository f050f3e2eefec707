"""The public functions, Tensor's methods and operators, made from the rows and the composites.

What a row's call accepts is ``Op.bind``'s; what it does is ``autograd.apply``'s. Nothing here knows an op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import autograd, backend, errors
from ..autograd import Variable, apply
from ..inplace import apply_, rewrite, write
from ..op import ALIASES, COMPOSITES, OPS, Op
from ..tensor import Tensor, as_tensor

_NONE: dict[str, Any] = {}


# ---- operators -------------------------------------------------------------------------------------------


def _operand(x: Any) -> Any:
    """What a binary operator takes besides tensors: numbers and arrays; None for everything else."""
    if isinstance(x, (Variable, float, int)):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray):
        return as_tensor(x)
    if isinstance(x, complex):
        raise errors.no_complex("operator")
    return None


def _operator(name: str, reflected: bool = False) -> Callable[[Any, Any], Any]:
    row = OPS[name]

    def call(self: Any, other: Any) -> Any:
        if not isinstance(other, (Variable, float, int)):
            other = _operand(other)
            if other is None:
                return NotImplemented
        return apply(row, (other, self) if reflected else (self, other), _NONE)

    call.__name__ = f"__{'r' if reflected else ''}{name}__"
    call.__doc__ = row.doc
    return call


def _inplace_operator(name: str) -> Callable[[Any, Any], Any]:
    row = OPS[name]

    def call(self: Any, other: Any) -> Any:
        other = _operand(other)
        return NotImplemented if other is None else apply_(row, (self, other), _NONE)

    return call


OPERATORS = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
             "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
             "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"}  # fmt: skip


def bind_operators() -> None:
    """Gives Tensor its operators, from the rows."""
    for python, row in OPERATORS.items():
        setattr(Tensor, f"__{python}__", _operator(row))
        setattr(Tensor, f"__r{python}__", _operator(row, reflected=True))
        if python != "matmul":
            setattr(Tensor, f"__i{python}__", _inplace_operator(row))
    for row in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Tensor, f"__{row}__", _operator(row))
    for python, row in (("neg", "neg"), ("abs", "abs"), ("invert", "bitwise_not")):
        setattr(Tensor, f"__{python}__", lambda self, row=OPS[row]: apply(row, (self,), _NONE))
    setattr(Tensor, "__pos__", lambda self: self)  # noqa: B010


# ---- public functions from rows --------------------------------------------------------------------------


def _into(out: Any, result: Any) -> Any:
    """Writes a result into ``out=``, resized where its shape differs, as PyTorch does."""
    if isinstance(result, tuple):
        return (
            type(result)(*map(_into, out, result))
            if hasattr(result, "_fields")
            else tuple(map(_into, out, result))
        )
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if (out.requires_grad or result.requires_grad) and autograd.is_grad_enabled():
        raise RuntimeError("out=: functions with out=... arguments don't support automatic differentiation, but one of "
                           "the arguments requires grad; assign the result instead")  # fmt: skip
    if out._array.shape != result._array.shape:
        out._array = backend.module_of(out._array).m.empty(result._array.shape, dtype=out._array.dtype)
    return write(out, result.detach(), "out=")


def _plain(x: Any) -> Any:
    return as_tensor(x) if isinstance(x, np.ndarray) else x.item() if isinstance(x, np.generic) else x


def _is_true(row: Op, inplace: Any) -> bool:
    """``inplace``, which is a second tensor where somebody gave one operand too many."""
    if not isinstance(inplace, bool):
        raise TypeError(f"{row.name}(): argument 'inplace' must be bool, not {type(inplace).__name__}; it takes "
                        f"{len(row.inputs)} operand(s): {row.usage()}")  # fmt: skip
    return inplace


def function_of(row: Op) -> Callable[..., Any]:
    """The function users call: PyTorch's argument order and names, the row's docstring."""

    def simple(input: Any, inplace: bool = False, *, out: Any = None) -> Any:
        if inplace is not False and _is_true(row, inplace):
            return apply_(row, (input,), _NONE)
        result = apply(row, (input,), _NONE)
        return result if out is None else _into(out, result)

    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        inplace = kwargs.pop("inplace", False)
        if row.elementwise and len(args) == len(row.inputs) + len(row.attrs) + 1:
            *args, inplace = args  # type: ignore[assignment]  # torch's activations take it last
        if row.spread and len(args) > 1 and not isinstance(args[1], (tuple, list)):
            args = (args[0], args[1:])
        inputs, attrs = row.bind(args, kwargs)
        inputs = [_plain(x) for x in inputs]
        if inplace is not False and _is_true(row, inplace):
            return apply_(row, inputs, attrs)
        result = apply(row, inputs, attrs)
        return result if out is None else _into(out, result)

    unary = row.elementwise and len(row.inputs) == 1 and not row.attrs
    made: Any = simple if unary else call
    made.__name__ = made.__qualname__ = row.name
    made.__doc__ = f"{row.usage()}\n\n{row.doc}"
    made.__module__ = "minigrad"
    return made


def composed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A composite as users call it: with ``out=``, and NumPy's ``axis=`` and ``keepdims=`` for its dimensions."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    dim = next((n for n in ("dim", "dims") if n in names), None)
    spelled = ([("axis", dim)] if dim else []) + ([("keepdims", "keepdim")] if "keepdim" in names else [])
    takes_out = "out" not in names and not function.__name__.endswith("_")
    keepdim = names.index("keepdim") if "keepdim" in names else None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        out = None
        for theirs, ours in spelled if kwargs else ():
            if theirs in kwargs:
                kwargs[ours] = kwargs.pop(theirs)
        if kwargs and takes_out:
            out = kwargs.pop("out", None)
        if keepdim is not None and (kwargs or len(args) > keepdim):
            given = args[keepdim] if keepdim < len(args) else kwargs.get("keepdim", False)
            errors.check_bool(function.__name__, "keepdim", given)
        try:
            result = function(*args, **kwargs)
        except AttributeError as e:
            wrong = errors.not_a_tensor(function.__name__, names, args, kwargs, e)
            if wrong is None:
                raise
            raise wrong from None
        return result if out is None else _into(out, result)

    return call


def inplace_of(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place form of a function: its result is written into the first argument's memory."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return rewrite(self, lambda x: function(x, *[x if y is self else y for y in args], **kwargs), name)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"In-place form of {function.__name__}."
    return call


def bind_functions() -> dict[str, Callable[..., Any]]:
    """Makes every public function, and the methods and in-place methods of Tensor."""
    functions: dict[str, Callable[..., Any]] = {}
    for row in OPS.values():
        if row.public:
            functions[row.name] = call = function_of(row)
            if row.method and not hasattr(Tensor, row.name):
                setattr(Tensor, row.name, call)
            if row.method and row.elementwise:
                written = inplace_of(call, row.name + "_")
                setattr(Tensor, row.name + "_", written)
                if len(row.inputs) == 1:  # torch.relu_, torch.exp_ and their kin are functions too
                    functions[row.name + "_"] = written
    for name, (function, method, inplace, public) in COMPOSITES.items():
        call = composed(function)
        if public:
            functions[name] = call
        if method and not hasattr(Tensor, name):
            setattr(Tensor, name, call)
        if inplace:
            setattr(Tensor, name + "_", inplace_of(call, name + "_"))
    for name, old in ALIASES.items():
        functions[name] = functions[old]
        for suffix in ("", "_"):
            if hasattr(Tensor, old + suffix):
                setattr(Tensor, name + suffix, getattr(Tensor, old + suffix))
    return functions
