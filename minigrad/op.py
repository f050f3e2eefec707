"""Declare an op: one row with its forward, its gradient rule, its domain. Everything else derives from it.

What lives here: the :class:`Op` row, the OPS table, and the checks that refuse a wrong row at import.
What doesn't: running a row (``autograd.apply``) and the rows themselves (``ops/``).

A forward reads ``(m, inputs…, *, attributes…)``. ``m`` is a namespace with NumPy's interface: an array
module when running, Tensors when a gradient is itself differentiated, expressions when the compiler
fuses. A gradient rule reads ``(m, g, …)`` where ``g`` is the gradient of the loss by the output and the
other argument *names* are the save list: inputs, attributes, ``out`` (or the named outputs),
``x_shape`` for the shape of ``x`` alone, and ``needs``, one bool per input.
"""

from __future__ import annotations

import builtins
import inspect
import opcode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from . import errors

OPS: dict[str, Op] = {}
COMPOSITES: dict[str, Composite] = {}
ALIASES: dict[str, str] = {}  # second name -> the public function's name
PUBLIC_NAMES = {
    "x": "input",
    "y": "other",
}  # rows are read by mathematicians, functions called by torch users
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "required"})()  # an attribute without default
_LOAD_GLOBAL, _EXTENDED = opcode.opmap["LOAD_GLOBAL"], opcode.opmap["EXTENDED_ARG"]


def _globals_read(code: Any) -> set[str]:
    """The global names that a function reads, from its bytecode (dis would take ten times as long)."""
    found, extended, units = set(), 0, code.co_code
    for i in range(0, len(units), 2):
        argument = extended << 8 | units[i + 1]
        extended = argument if units[i] == _EXTENDED else 0
        if units[i] == _LOAD_GLOBAL:
            found.add(code.co_names[argument >> 1])
    return found


class Case(NamedTuple):
    """One way to call a row in its tests and benchmarks: operand specs, attributes."""

    operands: tuple[Any, ...]
    attrs: dict[str, Any]


def case(*operands: Any, **attrs: Any) -> Case:
    """A test case. An operand is a shape (floats from the row's domain), :func:`ints`, :func:`bools`, or None."""
    return Case(operands, attrs)


class ints(NamedTuple):
    """An integer operand: its shape, and the range ``low <= value < high``."""

    shape: tuple[int, ...]
    high: int
    low: int = 0


class bools(NamedTuple):
    """A boolean operand of a shape."""

    shape: tuple[int, ...]


class floats(NamedTuple):
    """A float operand with a domain of its own."""

    shape: tuple[int, ...]
    low: float
    high: float


class Namespace:
    """Base of the namespaces other than array modules: rows called on them come to :meth:`row`."""

    def row(self, op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        raise NotImplementedError


class Rule(NamedTuple):
    """A gradient rule. ``target`` is the input it differentiates, None for all of them at once."""

    function: Callable[..., Any]
    target: int | None
    reads: tuple[tuple[str, Any], ...]  # (kind, index or name) for each argument after m, g
    saves: tuple[int, ...] | None  # the inputs, and ~outputs, whose data it reads; None: all inputs


class Op:
    """A row. ``op(m, *inputs, **attrs)`` evaluates it on a namespace, so that rows compose.

    How it runs. ``promote``: how dtypes meet, "same" and "float" as in PyTorch ("float" makes floats of
    integers), "match" refuses a mixture, "any" takes what comes because elements only move; all but "any"
    compute halves in float32 and round once. ``wide``: computes in float64. ``view``: shares its input's
    memory. ``ragged``: the size of its result depends on its operands' values, or, if a function, does so for
    the attributes for which that is true. ``mutates``: inputs that it writes to. ``outputs``: names of its results. ``gradient=None``: it
    has none; ``constant``: inputs that have none; ``surrogate``: attributes that make the rule, on purpose,
    not the derivative.

    How the compiler may write it. ``rewrites``: "neg(neg(x)) -> x", rows of equal results, to the bit.

    How it is called. ``public`` function, ``method``; ``spread``: an attribute that may be given as several
    arguments; ``numpy``: what a rule calls it as, ``m.name``.

    How it is tested and timed. ``cases``; ``domain`` of its operands, ``kinks`` to keep away from, operands
    that are ``integer``; ``analytic``: a complex step measures its derivative; ``ulp``: how far float32 may
    be from the exact result, in units in the last place; ``flops`` by element, or a function of arrays.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        *,
        gradient: Any = ...,
        elementwise: bool = False,
        promote: str = "any",
        constant: Sequence[str] = (),
        domain: tuple[float, float] | Sequence[tuple[float, float]] = (-2.0, 2.0),
        kinks: Sequence[float] = (),
        flops: float | Callable[..., float] = 1.0,
        view: bool = False,
        ragged: bool | Callable[[dict[str, Any]], bool] = False,
        wide: bool = False,
        analytic: bool = True,
        outputs: Sequence[str] = ("out",),
        mutates: Sequence[str] = (),
        cases: Iterable[Case] = (),
        numpy: str | Sequence[str] = (),
        method: bool = True,
        public: bool = True,
        spread: str | None = None,
        integer: bool = False,
        surrogate: Sequence[str] = (),
        ulp: float = 4.0,
        rewrites: Sequence[str] = (),
    ) -> None:
        self.name = forward.__name__.rstrip("_") if not mutates else forward.__name__
        self.forward, self.doc = forward, inspect.getdoc(forward) or ""
        self.elementwise, self.promote, self.view, self.wide = elementwise, promote, view, wide
        self.domain, self.kinks, self.flops, self.analytic = domain, tuple(kinks), flops, analytic
        self.ragged = ragged
        self.outputs, self.mutates, self.cases = tuple(outputs), tuple(mutates), tuple(cases)
        self.numpy = (numpy,) if isinstance(numpy, str) else tuple(numpy) or (self.name,)
        self.method, self.public = method, public
        self.spread, self.integer = spread, integer
        self.ulp, self.surrogate, self.constant = ulp, tuple(surrogate), tuple(constant)
        self.rewrites = tuple(rewrites)
        self.gradient = gradient  # None: declared not differentiable; ...: a rule must follow
        self.rules: list[Rule] = []
        self.kernels: dict[tuple[str, str, Any], Any] = {}  # (set, array module, dtype) -> backend.Kernel
        code = forward.__code__  # read directly: inspect.signature would cost half of the import
        names, positional = code.co_varnames, code.co_argcount
        if names[:1] != ("m",):
            raise self._refuse("its forward must take the namespace m first")
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        keyword = names[positional : positional + code.co_kwonlyargcount]
        extra = names[positional + len(keyword) :][: self.variadic]
        self.inputs = (*names[1:positional], *extra)
        self.optional = names[positional - len(forward.__defaults__ or ()) : positional]
        self.fixed = frozenset(i for i, n in enumerate(self.inputs) if n in self.constant)  # not promoted
        self.first = next(
            (i for i in range(len(self.inputs)) if i not in self.fixed), 0
        )  # whose dtype a kernel has
        self.attrs = {n: (forward.__kwdefaults__ or {}).get(n, REQUIRED) for n in keyword}
        if not self.doc:
            raise self._refuse("it has no docstring: give its formula in one line")
        if unknown := set(self.mutates) - set(self.inputs):
            raise self._refuse(f"it mutates {sorted(unknown)}, which are not among {self.inputs}")
        if self.name in OPS:
            raise self._refuse("a row of that name exists already; choose another name")
        OPS[self.name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join((*self.inputs, *self.attrs))})>"

    def _refuse(self, why: str) -> TypeError:
        return TypeError(f"op {self.name} in {self.forward.__module__}: {why}")

    @property
    def differentiable(self) -> bool:
        return self.gradient is not None

    def vjp(self, function: Any) -> Any:
        """Declares the rule: ``@row.vjp`` for all inputs at once (or the only one), ``@row.vjp("x")`` for x."""
        if isinstance(function, str):
            if function not in self.inputs:
                raise self._refuse(f"a rule for {function!r}, but its inputs are {self.inputs}")
            return lambda f: self._add_rule(f, self.inputs.index(function))
        single = len(self.inputs) - len(self.constant) == 1 and not self.variadic
        return self._add_rule(function, self.first if single else None)

    def _add_rule(self, function: Callable[..., Any], target: int | None) -> Callable[..., Any]:
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        if names[:2] != ("m", "g"):
            raise self._refuse(f"a rule must take (m, g, …), this one takes {tuple(names)}")
        reads: list[tuple[str, Any]] = []
        for name in names[2:]:
            if name == "needs":
                reads.append(("needs", None))
            elif name in self.outputs:
                reads.append(("output", self.outputs.index(name)))
            elif name in self.inputs:
                kind = "inputs" if self.variadic else "input"
                reads.append((kind, self.inputs.index(name)))
            elif name.endswith("_shape") and name[:-6] in self.inputs:
                kind = "shapes" if self.variadic else "shape"
                reads.append((kind, self.inputs.index(name[:-6])))
            elif name in self.attrs:
                reads.append(("attr", name))
            else:
                can = [*self.inputs, *(f"{i}_shape" for i in self.inputs), *self.attrs, *self.outputs]
                raise self._refuse(
                    f"its gradient rule reads {name!r}, which it isn't given; it can read {can} and needs"
                )
        if any(r.target == target or r.target is None for r in self.rules):
            raise self._refuse("two gradient rules for the same input")
        if self.gradient is None:
            raise self._refuse("it is declared not differentiable, but has a gradient rule")
        places = {"input": lambda i: i, "output": lambda i: ~i}
        saves = tuple(places[kind](where) for kind, where in reads if kind in places)
        everything = any(kind == "inputs" for kind, _ in reads)
        self.rules.append(Rule(function, target, tuple(reads), None if everything else saves))
        return function

    def check(self) -> None:
        """Refuses a row whose gradient is missing, or whose functions read names that don't exist."""
        if self.differentiable:
            covered = {r.target for r in self.rules}
            missing = [
                n for i, n in enumerate(self.inputs) if not {i, None} & covered and n not in self.constant
            ]
            if missing:
                raise self._refuse(
                    f"no gradient rule for {missing}; write @{self.name}.vjp, or declare gradient=None"
                )
        for function in (self.forward, *(r.function for r in self.rules)):
            for name in _globals_read(function.__code__):
                if name not in function.__globals__ and not hasattr(builtins, name):
                    raise self._refuse(
                        f"{function.__name__} (line {function.__code__.co_firstlineno}) reads "
                        f"{name!r}, which is neither an argument nor defined in its module"
                    )

    def __call__(self, m: Any, *args: Any, **attrs: Any) -> Any:
        if isinstance(m, Namespace):
            return m.row(self, args, attrs)
        return self.forward(m, *args, **attrs)

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Splits a call in PyTorch's argument order into inputs and attributes."""
        if self.variadic:
            tensors = args[0] if args and isinstance(args[0], (tuple, list)) else kwargs.pop("tensors", args)
            given, rest = list(tensors), list(args[1:]) if tensors is not args else []
        else:
            n = len(self.inputs)
            given, rest = list(args[:n]), list(args[n:])
            for name in self.inputs[len(given) :]:
                public = PUBLIC_NAMES.get(name, name)
                if public in kwargs:
                    given.append(kwargs.pop(public))
                elif name in kwargs:
                    given.append(kwargs.pop(name))
                elif name in self.optional:
                    given.append(None)
                else:
                    raise TypeError(f"{self.name}() missing required argument {public!r}: {self.usage()}")
        attrs = dict(self.attrs)
        if len(rest) > len(attrs):
            raise TypeError(
                f"{self.name}() takes {len(self.inputs) + len(attrs)} arguments, got "
                f"{len(args)}: {self.usage()}"
            )
        if rest:
            attrs.update(zip(attrs, rest, strict=False))
        for name, value in kwargs.items():
            if name in ("axis", "keepdims"):  # NumPy's spelling, which PyTorch takes too
                name = "keepdim" if name == "keepdims" else "dims" if "dims" in attrs else "dim"
            if name not in attrs:
                raise TypeError(f"{self.name}() got an unexpected argument {name!r}: {self.usage()}")
            attrs[name] = value
        for name, value in attrs.items():
            if value is REQUIRED:
                raise TypeError(f"{self.name}() missing required argument {name!r}: {self.usage()}")
        for name, x in zip(self.inputs, given, strict=False):
            if x is None and name not in self.optional:
                raise TypeError(f"{self.name}(): argument {PUBLIC_NAMES.get(name, name)!r} must be Tensor, not NoneType: "
                                f"{self.usage()}")  # fmt: skip
        if "dim" in attrs:
            errors.check_dim(self.name, attrs["dim"])
        if "keepdim" in attrs:
            errors.check_bool(self.name, "keepdim", attrs["keepdim"])
        return given, attrs

    def work(self, arrays: Sequence[Any], out: Any) -> float:
        """The floating-point operations of one application to raw arrays: ``flops`` by element, or as it computes."""
        if self.view:
            return 0.0
        if callable(self.flops):
            absent = [None] * (0 if self.variadic else len(self.inputs) - len(arrays))
            return float(self.flops(*arrays, *absent, out))
        return float(self.flops * max(getattr(a, "size", 1) for a in (*arrays, out)))

    def usage(self) -> str:
        """The call as one writes it: ``sum(input, dim=None, keepdim=False)``."""
        words = [PUBLIC_NAMES.get(n, n) + ("=None" if n in self.optional else "") for n in self.inputs]
        words += [k if v is REQUIRED else f"{k}={v!r}" for k, v in self.attrs.items()]
        return f"{self.name}({', '.join(words)})"


def op(function: Callable[..., Any] | None = None, /, **row: Any) -> Any:
    """Declares a row: ``@op(cases=[…])``. Keywords are :class:`Op`'s."""
    return Op(function, **row) if function is not None else lambda f: Op(f, **row)


def elementwise(function: Callable[..., Any] | None = None, /, **row: Any) -> Any:
    """Declares a row that works element by element, its operands broadcast and promoted."""
    return op(function, **{"elementwise": True, "promote": "float", **row})


class Composite(NamedTuple):
    """A public function made of others: no row and no rule of its own."""

    function: Callable[..., Any]
    method: bool
    inplace: bool
    public: bool


def composite(
    function: Callable[..., Any] | None = None,
    /,
    *,
    method: bool = True,
    inplace: bool = False,
    public: bool = True,
) -> Any:
    """Declares a function over tensors that is made of rows: its gradient is theirs.

    It becomes a public function, a method, and a method with an underscore that writes in place.
    """

    def declare(f: Callable[..., Any]) -> Callable[..., Any]:
        if f.__name__ in COMPOSITES or (f.__name__ in OPS and OPS[f.__name__].public):
            raise TypeError(f"composite {f.__name__}: a public function of that name exists already")
        COMPOSITES[f.__name__] = Composite(f, method, inplace, public)
        return f

    return declare(function) if function is not None else declare


def alias(name: str, of: str) -> None:
    """Declares a second name of a public function, with its method and in-place form."""
    if name in OPS or name in COMPOSITES or name in ALIASES:
        raise TypeError(f"alias {name}: a public function of that name exists already")
    ALIASES[name] = of


def check_table() -> None:
    """Refuses the whole table at import if one row is wrong."""
    for row in OPS.values():
        row.check()
