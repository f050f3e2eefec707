"""``minigrad.summary``: a model layer by layer, with shapes, parameters, memory and arithmetic.

The model is run once on an input and watched at ``autograd.apply``; what each op costs is said by its row.
The model is left as it was: mode, hooks, buffers, gradients and random state.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import autograd, backend, dtypes, errors
from .autograd import Variable, inner, wrap
from .op import OPS, Op


class Layer(NamedTuple):
    """A row of the table. Its figures are the module's own, without its children's: columns add up."""

    path: str  # "" for the model itself
    depth: int
    kind: str  # the module's class
    output: tuple[Any, ...]  # shapes of its results at the last call
    calls: int
    parameters: int  # elements; a parameter shared by modules counts once, where it comes first
    trainable: int
    memory: int  # bytes of what its ops made
    flops: int


class Summary:
    """The table: ``print(minigrad.summary(model, (32, 784)))``. Figures are attributes, bytes and counts."""

    def __init__(
        self, name: str, inputs: Sequence[str], layers: Sequence[Layer],
        input_bytes: int, parameter_bytes: int, gradient_bytes: int, buffer_bytes: int,
    ) -> None:  # fmt: skip
        self.name, self.inputs, self.layers = name, tuple(inputs), tuple(layers)
        self.input_bytes, self.parameter_bytes = input_bytes, parameter_bytes
        self.gradient_bytes, self.buffer_bytes = gradient_bytes, buffer_bytes

    @property
    def parameters(self) -> int:
        return sum(r.parameters for r in self.layers)

    @property
    def trainable(self) -> int:
        return sum(r.trainable for r in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(r.memory for r in self.layers)

    @property
    def flops(self) -> int:
        return sum(r.flops for r in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "model": self.name, "inputs": list(self.inputs), "parameters": self.parameters,
            "trainable": self.trainable, "flops": self.flops, "input_bytes": self.input_bytes,
            "parameter_bytes": self.parameter_bytes, "gradient_bytes": self.gradient_bytes,
            "buffer_bytes": self.buffer_bytes, "activation_bytes": self.activation_bytes,
            "layers": [{**r._asdict(), "output": [list(s) for s in r.output]} for r in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        head = ("Layer", "Output", "Parameters", "Memory", "Flops")
        rows = [
            (name, _shapes(r.output, r.calls), _count(r.parameters), _bytes(r.memory), _count(r.flops))
            for name, r in zip(_tree(self.layers), self.layers, strict=True)
        ]
        foot = ("Sum", "", _count(self.parameters), _bytes(self.activation_bytes), _count(self.flops))
        widths = [max(len(row[k]) for row in (head, *rows, foot)) for k in range(5)]
        line = "─" * (sum(widths) + 8)

        def told(row: Sequence[str]) -> str:
            cells = [row[k].ljust(w) if k < 2 else row[k].rjust(w) for k, w in enumerate(widths)]
            return "  ".join(cells).rstrip()

        frozen = self.parameters - self.trainable
        notes = [
            f"{self.parameters:,} parameters ({_bytes(self.parameter_bytes)}), "
            + ("all trainable" if not frozen else f"{self.trainable:,} trainable, {frozen:,} frozen")
            + (f"; buffers {_bytes(self.buffer_bytes)}" if self.buffer_bytes else "; no buffers"),
            f"input {_bytes(self.input_bytes)}, results of the forward pass {_bytes(self.activation_bytes)}",
            f"gradients of the parameters {_bytes(self.gradient_bytes)}",
            f"{self.flops:,} floating-point operations forward",
        ]
        title = f"{self.name} on {', '.join(self.inputs) or 'no input'}"
        return "\n".join([title, line, told(head), line, *map(told, rows), line, told(foot), line, *notes])

    __repr__ = __str__


def summary(
    model: Any, input: Any = None, *, dtype: Any = None, depth: int | None = None, **kwargs: Any
) -> Summary:
    """Runs ``model`` once, in eval mode and without gradients, and returns its table.

    ``input`` is the shape of the input, batch included: ``(32, 784)``; or a tensor or array; or a list or
    tuple of several of these, one an argument. Shapes are filled with zeros of ``dtype`` (default: that of
    the first floating parameter). ``kwargs`` are given to forward by name. Modules deeper than ``depth``
    are counted in the one that holds them. Flops are those of the ops that ran, by their rows: a
    multiply-add is two.

    Raises TypeError for what isn't a Module or an input; what forward raises comes through.
    """
    if not callable(getattr(model, "named_modules", None)):
        raise TypeError(f"summary: expected a minigrad.nn.Module, got {errors.describe(model)}")
    if depth is not None and depth < 0:
        raise ValueError(f"summary: depth is 0 or more, got {depth}")
    given = _inputs(model, input, dtype)
    watch = _Watch(model)
    with _untouched(model), autograd.no_grad(), watch.hooked():
        model(*given, **kwargs)
    seen = [t for t in (*given, *kwargs.values()) if isinstance(t, Variable)]
    parameters = {id(p): p for p in model.parameters()}.values()
    return Summary(
        type(model).__name__,
        [errors.describe(t) for t in seen],
        watch.layers(math.inf if depth is None else depth),
        input_bytes=sum(t._array.nbytes for t in seen),
        parameter_bytes=sum(p._array.nbytes for p in parameters),
        gradient_bytes=sum(p._array.nbytes for p in parameters if p.requires_grad),
        buffer_bytes=sum(b._array.nbytes for b in {id(b): b for b in model.buffers()}.values()),
    )


def _inputs(model: Any, input: Any, dtype: Any) -> list[Any]:
    if input is None:
        return []
    if dtype is None:
        floating = (p.dtype for p in model.parameters() if p.is_floating_point())
        dtype = next(floating, dtypes.get_default_dtype())
    kind = dtypes.as_dtype(dtype).numpy_dtype
    home = next((backend.module_of(p._array) for p in model.parameters()), backend.CPU)
    several = isinstance(input, (tuple, list)) and not all(isinstance(n, (int, np.integer)) for n in input)
    found = []
    for one in input if several else [input]:
        if isinstance(one, Variable):
            found.append(one)
        elif isinstance(one, np.ndarray):
            found.append(wrap(home.from_numpy(one)))
        elif isinstance(one, (tuple, list)) and all(isinstance(n, (int, np.integer)) and n >= 0 for n in one):
            found.append(wrap(home.from_numpy(np.zeros(one, kind))))
        else:
            raise TypeError(
                f"summary: expected an input's shape, such as (32, 784), or a tensor, or a list of them, got "
                f"{errors.describe(one)}"
            )
    return found


@contextlib.contextmanager
def _untouched(model: Any) -> Iterator[None]:
    """Eval mode inside; afterwards modes, buffers and random state are what they were."""
    from .random import get_rng_state, set_rng_state

    modules = list(model.modules())
    modes = [m.training for m in modules]
    tables = [(m._buffers, dict(m._buffers)) for m in modules]
    buffers = {id(b): b for _, table in tables for b in table.values() if b is not None}.values()
    before = [(b, b._array, b._array.copy(), b._writes[0]) for b in buffers]
    random_state = get_rng_state()
    try:
        for m in modules:
            m.training = False
        yield
    finally:
        for m, mode in zip(modules, modes, strict=True):
            m.training = mode
        for table, kept in tables:
            table.clear()
            table.update(kept)
        for b, array, values, version in before:
            array[...] = values
            b._array, b._writes[0] = array, version
        set_rng_state(random_state)


class _Tally:
    """What one module has done so far."""

    def __init__(self) -> None:
        self.calls = self.memory = self.flops = 0
        self.output: tuple[Any, ...] = ()


class _Watch(autograd.capture):
    """Counts what runs, for the module that runs it: the innermost one that has begun and not ended."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.named = list(model.named_modules())
        self.tallies = {id(m): _Tally() for _, m in self.named}
        self.running: list[_Tally] = [self.tallies[id(model)]]
        self.rows: dict[Any, Op] = {}
        for row in OPS.values():
            for function in (row.forward, *(k.forward for k in row.kernels.values())):
                self.rows[function] = row

    @contextlib.contextmanager
    def hooked(self) -> Iterator[None]:
        handles = []
        try:
            for _, m in self.named:
                handles.append(m.register_forward_pre_hook(self._enter))
                handles.append(m.register_forward_hook(self._leave))
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: Any, args: Any) -> None:
        self.running.append(self.tallies[id(module)])

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        tally = self.running.pop()
        tally.calls += 1
        tally.output = tuple(tuple(t._array.shape) for t in _tensors(output))

    def _record(self, function: Callable[..., Any], m: Any, args: Any, attrs: Any, result: Any) -> None:
        row, tally = self.rows.get(inner(function)), self.running[-1]
        if row is not None and result is not None:
            tally.flops += int(row.work(args, result[0] if isinstance(result, tuple) else result))
        if row is None or not row.view:
            results = result if isinstance(result, tuple) else (result,)
            tally.memory += sum(getattr(r, "nbytes", 0) for r in results)

    def layers(self, deepest: float) -> list[Layer]:
        found: list[Layer] = []
        counted: set[int] = set()
        for path, module in self.named:
            depth = path.count(".") + 1 if path else 0
            own = [p for p in module._parameters.values() if p is not None and id(p) not in counted]
            counted.update(map(id, own))
            size = sum(p.numel() for p in own)
            trainable = sum(p.numel() for p in own if p.requires_grad)
            tally = self.tallies[id(module)]
            if depth <= deepest:
                found.append(
                    Layer(path, depth, type(module).__name__, tally.output, tally.calls, size, trainable,
                          tally.memory, tally.flops)
                )  # fmt: skip
                continue
            holder = next(k for k in reversed(range(len(found))) if _holds(found[k].path, path))
            at = found[holder]
            found[holder] = at._replace(
                parameters=at.parameters + size, trainable=at.trainable + trainable,
                memory=at.memory + tally.memory, flops=at.flops + tally.flops,
            )  # fmt: skip
        return found


def _holds(outer: str, path: str) -> bool:
    return not outer or path.startswith(outer + ".")


def _tensors(output: Any) -> list[Any]:
    """The tensors in a result, however it is nested."""
    found, stack = [], [output]
    while stack:
        one = stack.pop()
        if isinstance(one, Variable):
            found.append(one)
        elif isinstance(one, (tuple, list)):
            stack += reversed(one)
        elif isinstance(one, dict):
            stack += reversed(list(one.values()))
    return found


def _tree(layers: Sequence[Layer]) -> list[str]:
    """Names with the lines that show what holds what."""
    names = []
    for k, row in enumerate(layers):
        if not row.depth:
            names.append(row.kind)
            continue
        stems = []
        for level in range(1, row.depth + 1):
            later = next((r.depth for r in layers[k + 1 :] if r.depth <= level), 0)
            more = later == level
            stems.append(("├ " if more else "└ ") if level == row.depth else ("│ " if more else "  "))
        names.append(f"{''.join(stems)}{row.path.rsplit('.', 1)[-1]}: {row.kind}")
    return names


def _shapes(output: tuple[Any, ...], calls: int) -> str:
    if not calls:
        return "not called"
    shown = " ".join(str(s) for s in output[:3]) + (" …" if len(output) > 3 else "")
    return (shown or "no tensor") + (f" ×{calls}" if calls > 1 else "")


def _count(n: int) -> str:
    return f"{n:,}" if n else "-"


def _bytes(n: int) -> str:
    """Bytes as one reads them: 392 B, 1.5 KiB, 2.1 MiB."""
    if not n:
        return "-"
    size, units = float(n), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while size >= 1024 and unit != "GiB":
        size, unit = size / 1024, next(units)
    return f"{n} B" if unit == "B" else f"{size:.1f} {unit}"
