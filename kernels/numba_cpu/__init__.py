"""The kernel set "numba": loops that Numba compiles for the CPU it runs on, on NumPy's arrays.

Importing this registers the set's rows and imports nothing of Numba's; a kernel is compiled when it is first used
(``loading.py``). Elementwise rows with transcendental functions are generated from the row's own forward and rule
(``elementwise.py``), chains of rows in compiled functions likewise (``chains.py``), reductions by themselves as chains of
one (``reduction.py``), and so are the updates of a parameter (``optimizer.py``); the others are written by hand, a file each family. ``mathematics.py`` has the functions, ``vectors.py`` products by register
tiles (``matmul.py`` products of any size),
``minigrad/threads.py`` says how many threads a call gets. The choices: ``docs/decisions/kernels.md``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.op import OPS, Op

from .loading import Lazy
from .optimizer import Updates
from .reduction import Alone

SET = "numba"
FUNCTIONS = frozenset(
    (
        "exp",
        "expm1",
        "exp2",
        "log",
        "log1p",
        "log2",
        "log10",
        "tanh",
        "sin",
        "cos",
        "erf",
        "erfc",
        "ndtr",
        "sigmoid",
    )
)
BOTH = ("float32", "float64")
# row -> the module of its kernels <row>_forward and <row>_gradient, its dtypes, and from how many elements it pays.
# Where a kernel's bits are the reference's there is no such limit: unembed, those of an index, and the updates.
BY_HAND = {
    "softmax": ("softmax", BOTH[:1], 512),
    "log_softmax": ("softmax", BOTH[:1], 512),
    "cross_entropy": ("softmax", BOTH[:1], 128),
    "layer_norm": ("normalization", BOTH, 2048),
    "rms_norm": ("normalization", BOTH, 2048),
    "batch_norm": ("normalization", BOTH, 2048),
    "dropout": ("dropout", BOTH, 4096),
    "int8_linear": ("quantized", BOTH[:1], 64),
    "cached_attention": ("cache", BOTH, 64),
    "gather": ("index", BOTH, 0),
    "unpick": ("index", BOTH, 0),
    "scatter_add": ("index", BOTH, 0),
    "topk": ("index", BOTH, 0),
    "scaled_dot_product_attention": ("attention", BOTH[:1], 64),
    "embedding": ("embedding", BOTH, 0),
    "unembed": ("embedding", BOTH, 0),
}
# the same, where NumPy's BLAS leaves half of the machine's vectors unused
BESIDE_BLAS = {"linear": ("matmul", BOTH[:1], 512), "matmul": ("matmul", BOTH[:1], 512)}
MULTIPLICATIONS = 300_000  # fewer of which are the BLAS's
# of what a kernel's arguments are: two operands of a product, in whose sizes its multiplications are
PRODUCTS: dict[str, Callable[..., int]] = {
    "linear_forward": lambda x, weight, *rest: x.size * len(weight),
    "linear_gradient": lambda g, x, weight, *rest: g.size * weight.shape[-1],
    "matmul_forward": lambda x, y: x.size * y.shape[-1],
    "matmul_gradient_by_x": lambda g, y, x_shape: g.size * x_shape[-1],
    "matmul_gradient_by_y": lambda g, x, y_shape: g.size * x.shape[-1],
}
ALONE = {"amax": BOTH, "amin": BOTH, "vector_norm": BOTH[:1]}  # reductions that are chains of one row
TIES = ("amax", "amin")  # whose rule counts them, by hand
AHEAD = {"cross_entropy"}  # whose forward can make the gradient with it: <row>_ahead and <row>_rest
FORWARD_ONLY = {
    "int8_linear",
    "cached_attention",
    "unembed",
    "gather",
    "unpick",
    "scatter_add",
    "topk",
}  # their rule is the reference's
NARROW = (b"Prescott", b"Nehalem", b"Sandybridge", b"Haswell", b"Zen")  # OpenBLAS's names
PAYS = 4096  # elements from which a generated kernel does under "auto"


def pays(row: Op) -> bool:
    """Does the row work on one operand, element by element, with a function that ``mathematics.py`` has?

    Not where the forward is one of NumPy's functions and no more: its loop over exp or tanh is as good.
    """
    if not row.elementwise or not len(row.inputs) == len(row.rules) == 1:
        return False
    names = {n for f in (row.forward, *(r.function for r in row.rules)) for n in f.__code__.co_names}
    return bool(names & FUNCTIONS) and not set(row.forward.__code__.co_names) <= {*row.numpy}


def _by_hand(module: str, name: str, dtype: str) -> Callable[[], Any]:
    """Compiles a kernel's loops and gives the function that calls them."""

    def make() -> Any:
        kernel = getattr(importlib.import_module(f".{module}", __name__), name)
        for loop in kernel.loops:
            loop.load(np.dtype(dtype))
        return kernel

    return make


def _rest(module: str, name: str) -> Callable[..., Any]:
    """A kernel's ``rest``, which compiles nothing."""

    def rest(m: Any, g: Any, made: Any) -> Any:
        return getattr(importlib.import_module(f".{module}", __name__), name)(m, g, made)

    rest.__name__ = name
    return rest


def _worth(name: str) -> Callable[..., bool] | None:
    """Whether a call of a product's kernel has enough multiplications."""
    count = PRODUCTS.get(name)
    return None if count is None else lambda *args: count(*args) >= MULTIPLICATIONS


def _generated(row: Op, part: str, attrs: tuple[Any, ...]) -> Callable[[], Any]:
    def make() -> Any:
        return importlib.import_module(".elementwise", __name__).generate(row, part, attrs)

    return make


class Variants:
    """The kernels of a row that has an attribute which isn't a number: one for each value met."""

    def __init__(self, row: Op, part: str) -> None:
        self.row, self.part, self.made = row, part, {}  # type: ignore[var-annotated]
        reads = row.rules[0].reads
        self.places = [i for i, (_, n) in enumerate(reads) if n in row.attrs and _baked(row, n)]
        self.names = [n for n in row.attrs if _baked(row, n)]

    def __call__(self, m: Any, *args: Any, **attrs: Any) -> Any:
        if self.part == "forward":
            values = tuple([attrs.get(n, self.row.attrs[n]) for n in self.names])
        else:
            values = tuple([args[1 + i] for i in self.places])
        return self.of(values)(m, *args, **attrs)

    def of(self, values: tuple[Any, ...]) -> Lazy:
        if values not in self.made:
            make = _generated(self.row, self.part, values)
            self.made[values] = Lazy(f"{self.row.name}_{self.part}", make)
        return self.made[values]

    def ahead(self) -> list[Lazy]:
        """What warmup compiles: the kernels of the row's cases."""
        met = [tuple({**self.row.attrs, **case.attrs}[n] for n in self.names) for case in self.row.cases]
        return [self.of(values) for values in dict.fromkeys(met)]


def _baked(row: Op, name: Any) -> bool:
    return not isinstance(row.attrs[name], float)


def blas_is_narrow() -> bool:
    """Does NumPy's BLAS use vectors of 256 bits or less where the machine has 512? False where it can't be told.

    OpenBLAS picks its loops by the CPU's family, and takes those of AVX2 where it doesn't know it.
    """
    import ctypes

    umath: Any = importlib.import_module("numpy._core._multiarray_umath")
    if not getattr(umath, "__cpu_features__", {}).get("AVX512F"):
        return False
    try:
        library = ctypes.CDLL(umath.__file__)  # finds what it was linked with, too
    except OSError:
        return False
    for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
        if (found := getattr(library, name, None)) is not None:
            found.restype = ctypes.c_char_p
            return found() in NARROW
    return False


def register() -> None:
    """Enters the set into the rows, where Numba can be found."""
    if not any(
        finder.find_spec("numba", None) for finder in sys.meta_path
    ):  # as importlib.util.find_spec does
        return
    by_hand = {**BY_HAND, **BESIDE_BLAS} if blas_is_narrow() else BY_HAND
    for name, (module, dtypes, least) in by_hand.items():
        row = OPS[name]
        for dtype in dtypes:
            parts = ["forward", "gradient"]
            if len(row.rules) > 1:
                parts[1:] = [f"gradient_by_{row.inputs[rule.target or 0]}" for rule in row.rules]
            forward, *rules = (
                Lazy(f"{name}_{part}", _by_hand(module, f"{name}_{part}", dtype), _worth(f"{name}_{part}"))
                for part in parts
            )
            backend.register_kernel(
                SET,
                name,
                forward,
                None if name in FORWARD_ONLY else tuple(rules) if len(rules) > 1 else rules[0],
                dtypes=(dtype,),
                least=least,
                ahead=Lazy(f"{name}_ahead", _by_hand(module, f"{name}_ahead", dtype))
                if name in AHEAD
                else None,
                rest=_rest(module, f"{name}_rest") if name in AHEAD else None,
            )
    for row in [row for row in OPS.values() if "param" in row.mutates]:
        for dtype in BOTH:
            backend.register_kernel(SET, row.name, Updates(row, dtype), dtypes=(dtype,))
    for row in filter(pays, list(OPS.values())):
        made: list[Any] = []
        for part in ("forward", "gradient"):
            if any(_baked(row, n) for n in row.attrs):
                made.append(Variants(row, part))
            else:
                made.append(Lazy(f"{row.name}_{part}", _generated(row, part, ())))
        backend.register_kernel(SET, row.name, *made, least=PAYS)
    for name, dtypes in ALONE.items():
        for dtype in dtypes:
            hand = Lazy(f"{name}_gradient", _by_hand("reduction", "extremum_gradient", dtype))
            rule = hand if name in TIES else Alone(OPS[name], "gradient")
            backend.register_kernel(SET, name, Alone(OPS[name], "forward"), rule, dtypes=(dtype,), least=PAYS)
    backend.register_fuser(SET, lambda: importlib.import_module(".chains", __name__))


register()
