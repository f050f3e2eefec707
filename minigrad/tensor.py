"""The Tensor: PyTorch's attributes, operators and printing over an array and its place in the graph.

What lives here: attributes, conversion to other dtypes, devices and to Python, and Python's protocols. What
doesn't: most methods and the operators, which come from the rows and composites (``functions/binding.py``);
what the graph needs of a tensor (``autograd.Variable``); how data become tensors (``conversion.py``); what an
index means (``subscripts.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import autograd, backend, dtypes, errors, subscripts
from .autograd import Node, Removable, Variable, apply, wrap
from .conversion import as_tensor, asarray, from_dlpack, from_numpy, tensor  # noqa: F401 - their place for others
from .dtypes import as_dtype, dtype, from_numpy_dtype
from .modes import STATE
from .op import OPS


class Size(tuple[int, ...]):
    """A shape: a tuple of sizes with ``numel()``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"minigrad.Size({list(self)})"

    def numel(self) -> int:
        return math.prod(self)

    def __getitem__(self, i: Any) -> Any:
        found = tuple.__getitem__(self, i)
        return Size(found) if isinstance(i, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


class Tensor(Variable):
    """An n-dimensional array that remembers how it was computed. Make one with :func:`minigrad.tensor`."""

    __array_priority__ = 1000

    if TYPE_CHECKING:  # methods bound from the rows and composites

        def __getattr__(self, name: str) -> Any: ...

        def _unary(self) -> Tensor: ...

        def _binary(self, other: Any) -> Tensor: ...

        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __matmul__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = (
            _binary
        )
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = _binary
        __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __iand__ = __ior__ = __ixor__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        t = object.__new__(cls)
        if (tracer := STATE.get().tracer) is not None:
            tracer.makes(t)
        return t

    def __init__(self, *data: Any, device: Any = None, **old: Any) -> None:
        """``Tensor(2, 3)`` is uninitialised, ``Tensor([…])`` holds the data, in the default dtype."""
        if "_array" in self.__dict__:  # Variable(x, requires_grad=…) has made it
            return
        if old:
            raise TypeError(
                f"Tensor() got unexpected arguments {sorted(old)}; minigrad.tensor(data, …) takes more"
            )
        from .typed import of_default_type

        made = of_default_type(data, device)
        self._array, self._writes = made._array, made._writes

    # ---- attributes --------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    @property
    def dtype(self) -> dtype:
        return dtypes.BY_NUMPY.get(self._array.dtype) or from_numpy_dtype(self._array.dtype)

    @property
    def device(self) -> backend.device:
        return backend.device(backend.module_of(self._array).name)

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def requires_grad(self) -> bool:
        if self._base is not None and self._seen != self._writes[0]:
            self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if on and self.dtype.category != 2:
            raise RuntimeError(f"requires_grad: only Tensors of floating point dtype can require gradients, got "
                               f"{self.dtype}; convert with .float()")  # fmt: skip
        if on and self._inference and not autograd.is_inference_mode_enabled():
            raise RuntimeError("requires_grad: Setting requires_grad=True on inference tensor outside InferenceMode is not "
                               "allowed; clone() it first")  # fmt: skip
        if not on and self._node is not None:
            raise RuntimeError("requires_grad: you can only change requires_grad flags of leaf variables. If you "
                               "want to use a computed variable in a subgraph that doesn't require "
                               "differentiation use var_no_grad = var.detach()")  # fmt: skip
        self._requires_grad = bool(on)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up; None before the first."""
        tracer = STATE.get().tracer
        if tracer is not None:
            tracer.reads_grad(self)
        return self._grad

    @grad.setter
    def grad(self, g: Tensor | None) -> None:
        if g is not None:
            if not isinstance(g, Tensor):
                raise TypeError(
                    f"grad: assigned grad expected to be a Tensor or None but got grad of type {type(g).__name__}"
                )
            if g._array.shape != self._array.shape or g._array.dtype != self._array.dtype or g is self:
                raise RuntimeError(f"grad: a gradient has its tensor's size and dtype: expected {errors.describe(self)}, "
                                   f"got {'the tensor itself' if g is self else errors.describe(g)}")  # fmt: skip
        self._grad = g
        tracer = STATE.get().tracer
        if tracer is not None:
            tracer.sets_grad(self)

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def is_leaf(self) -> bool:
        return not self.requires_grad or self._node is None

    @property
    def grad_fn(self) -> Node | None:
        return self._node if self.requires_grad else None

    @property
    def data(self) -> Tensor:
        """The same memory without history, and without telling autograd of writes to it."""
        self._seen_by_tracer()
        return wrap(self._array)

    @data.setter
    def data(self, other: Tensor) -> None:
        if (tracer := STATE.get().tracer) is not None:
            tracer.sets_data(self, other._array)
        self._array = other._array

    @property
    def T(self) -> Tensor:
        return apply(OPS["permute"], (self,), {"dims": tuple(range(self.ndim - 1, -1, -1))})

    @property
    def mT(self) -> Tensor:
        if self.ndim < 2:
            raise RuntimeError(f"mT: expected a tensor of 2 or more dimensions, got {self.ndim}")
        return self.transpose(-1, -2)

    @property
    def real(self) -> Tensor:
        return self

    @property
    def itemsize(self) -> int:
        return self._array.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_sparse(self) -> bool:
        return False

    @property
    def layout(self) -> Any:
        from .functions.factory import strided

        return strided

    @property
    def retains_grad(self) -> bool:
        return self._retains_grad

    @property
    def output_nr(self) -> int:
        return self._index

    @property
    def _version(self) -> int:
        """How often its memory has been written to in place."""
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._writes[0]

    @property
    def name(self) -> None:
        return None

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its sizes."""
        if dim is None:
            return self.shape
        if not -self.ndim <= dim < self.ndim:
            raise errors.dim_out_of_range("size", dim, self.ndim)
        return self._array.shape[dim]

    def dim(self) -> int:
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        return self._array.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension, in elements."""
        steps = tuple(s // self._array.itemsize for s in self._array.strides)
        return steps if dim is None else steps[dim]

    def storage_offset(self) -> int:
        base = self._base._array if self._base is not None else self._array
        return (self.data_ptr() - base.__array_interface__["data"][0]) // self._array.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._array.__array_interface__["data"][0]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return bool(self._array.flags["C_CONTIGUOUS"])

    def contiguous(self, memory_format: Any = None) -> Tensor:
        return self if self.is_contiguous() else apply(OPS["clone"], (self,), {"order": "C"})

    def is_floating_point(self) -> bool:
        return self.dtype.category == 2

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        return self._inference

    def is_set_to(self, other: Tensor) -> bool:
        return (
            self.data_ptr() == other.data_ptr()
            and self.shape == other.shape
            and self.stride() == other.stride()
        )

    def get_device(self) -> int:
        return -1 if self.device.type == "cpu" else self.device.index or 0

    def is_shared(self) -> bool:
        return False

    def share_memory_(self) -> Tensor:
        return self

    def pin_memory(self) -> Tensor:
        return self

    def is_pinned(self) -> bool:
        return False

    # ---- the graph ---------------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds d(self)/d(leaf) to the ``.grad`` of every leaf it was computed from."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory without history. Writes to either are seen by both, and by autograd."""
        self._seen_by_tracer()
        t = wrap(self._array)
        t._writes, t._inference = self._writes, self._inference
        return t

    def detach_(self) -> Tensor:
        if self._base is not None:
            raise RuntimeError("detach_: can't detach views in-place; use detach() instead")
        self._node, self._requires_grad, self._index = None, False, 0
        return self

    def retain_grad(self) -> None:
        """Keeps this tensor's gradient in ``.grad`` though it isn't a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None or self._retains_grad:
            return
        self._retains_grad = True
        self._retain()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Removable:
        """Calls ``hook(grad)`` when this tensor's gradient is known; a tensor returned replaces it."""
        if not self.requires_grad:
            raise RuntimeError(
                "register_hook: cannot register a hook on a tensor that doesn't require gradient"
            )
        if self._node is not None:
            return self._node.add_hook(self._index, hook)
        if self._hooks is None:
            self._hooks = {}
        return Removable(self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Removable:
        """Calls ``hook(leaf)`` after its ``.grad`` has been updated."""
        if not self.requires_grad or self._node is not None:
            raise RuntimeError("register_post_accumulate_grad_hook: post accumulate grad hooks cannot be registered "
                               "on non-leaf tensors")  # fmt: skip
        if self._post_hooks is None:
            self._post_hooks = {}
        return Removable(self._post_hooks, hook)

    # ---- conversion --------------------------------------------------------------------------------------

    def _seen_by_tracer(self) -> None:
        tracer = STATE.get().tracer
        if tracer is not None:
            tracer.sees(self)

    def _on_host(self, how: str) -> None:
        """Its elements are about to leave for Python, which a compiled function can't follow."""
        tracer = STATE.get().tracer
        if tracer is not None:
            tracer.refuse(f"{how} reads a value on the host", "keep the value a tensor (where, clamp, masks)")

    def item(self) -> Any:
        """The one element as a Python number."""
        self._on_host("item()")
        if self._array.size != 1:
            raise RuntimeError(
                f"item: a Tensor with {self._array.size} elements cannot be converted to Scalar; index it first"
            )
        return self._array.item() if self._array.dtype.kind != "V" else float(self._array.reshape(-1)[0])

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        self._on_host("tolist()")
        return (self._array if self._array.dtype.kind != "V" else self._array.astype(np.float32)).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The same memory as a NumPy array; ``force`` detaches and moves it first."""
        self._on_host("numpy()")
        if force:
            return backend.module_of(self._array).to_numpy(self._array)
        if self.requires_grad:
            raise RuntimeError(
                "numpy: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        if self.device.type != "cpu":
            raise TypeError(
                f"numpy: can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first"
            )
        return self._array

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        """NumPy's functions of a tensor give a tensor, which shares no history with it."""
        return from_numpy(np.asarray(array))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: Can't export tensors that require gradient, use tensor.detach()")
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False,
           memory_format: Any = None) -> Tensor:  # fmt: skip
        """This tensor in another dtype or on another device; itself when nothing changes."""
        for a in args[:2]:
            if isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            elif isinstance(a, (str, backend.device)) or type(a) is int:
                device = a
            elif isinstance(a, dtypes.dtype) or a in (float, int, bool) or isinstance(a, (type, np.dtype)):
                dtype = a
            elif a is not None and not isinstance(a, (bool, int)):
                raise TypeError(f"to: expected a dtype, a device or a tensor, got {errors.describe(a)}")
        out = self
        if device is not None and backend.module_named(device).name != self.device.type:
            out = _moved(self, backend.module_named(device))
        if dtype is not None and as_dtype(dtype) is not self.dtype:
            return apply(OPS["to"], (out,), {"dtype": as_dtype(dtype).numpy_dtype})
        return out.clone() if copy and out is self else out

    def cpu(self, memory_format: Any = None) -> Tensor:
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        return self.to("cuda" if device is None else device)

    def type(self, dtype: Any = None, non_blocking: Any = False) -> Any:
        """The dtype's name, or this tensor in another dtype."""
        if dtype is not None:
            from .typed import TensorType, type_named

            named = isinstance(dtype, (str, TensorType))
            return self.to(*type_named(dtype)[::-1]) if named else self.to(dtype)
        return f"minigrad.{TYPE_NAMES.get(self.dtype.name, self.dtype.name.capitalize())}Tensor"

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """self where the condition holds, other elsewhere: ``minigrad.where(condition, self, other)``."""
        from .functions import FUNCTIONS

        return FUNCTIONS["where"](condition, self, other)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def new(self, *data: Any, device: Any = None) -> Tensor:
        """``x.new(2, 3)``, ``x.new([…])``: PyTorch's old form of ``new_empty`` and ``new_tensor``."""
        from .typed import of_type

        return of_type("new", self.dtype, data, device or self.device)

    def new_tensor(
        self, data: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False
    ) -> Tensor:
        """A tensor of data with this one's dtype and device."""
        return tensor(
            data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
        )

    # ---- Python's protocols ------------------------------------------------------------------------------

    def __bool__(self) -> Any:
        self._on_host("the truth of a tensor")
        if self._array.size != 1:
            raise RuntimeError(f"bool: Boolean value of Tensor with {'no values' if not self._array.size else 'more than one value'} "
                               f"is ambiguous, got shape {tuple(self.shape)}; use .any() or .all()")  # fmt: skip
        return bool(self._array.item() if self._array.dtype.kind != "V" else self.item())

    def __float__(self) -> Any:
        return float(self.item())

    def __int__(self) -> Any:
        return int(self.item())

    def __index__(self) -> Any:
        if self.dtype.category == 2 or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.ndim else object.__format__(self, spec)

    def __len__(self) -> Any:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._array.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self._array.shape[0])])

    def __contains__(self, value: Any) -> Any:
        return bool((self == value).any())

    __hash__ = object.__hash__  # == compares elements

    def __copy__(self) -> Tensor:
        t = Tensor.__new__(type(self))
        t.__dict__.update(self.__dict__)
        return t

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("deepcopy: Only Tensors created explicitly by the user (graph leaves) support the "
                               "deepcopy protocol at the moment; detach() first")  # fmt: skip
        import copy

        self._on_host("deepcopy")
        t = object.__new__(type(self))
        memo[id(self)] = t
        t._array, t._writes = backend.module_of(self._array).m.array(self._array, copy=True), [0]
        t._requires_grad = self._requires_grad
        t._grad = copy.deepcopy(self._grad, memo)
        for key, value in self.__dict__.items():
            if key not in _GRAPH_STATE:
                t.__dict__[key] = copy.deepcopy(value, memo)
        return t

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("Tensor: cannot be pickled, which would run code when loaded; use minigrad.save, which "
                        "writes safetensors")  # fmt: skip

    # ---- indexing ----------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return subscripts.read(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        subscripts.write(self, index, value)

    # ---- printing ----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        self._on_host("printing")
        from .printing import show

        return show(self)


TYPE_NAMES = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
               "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}  # fmt: skip
_GRAPH_STATE = {"_array", "_writes", "_node", "_index", "_requires_grad", "_grad", "_base", "_views", "_undo",
                "_seen", "_hooks", "_post_hooks", "_retains_grad", "_inference"}  # fmt: skip
autograd.TENSOR[0] = Tensor


def _converting(kind: dtype) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return self.to(kind)

    convert.__doc__ = f"This tensor in {kind.name}."
    return convert


for _kind in dtypes.DTYPES:  # float(), double(), long() …
    setattr(Tensor, TYPE_NAMES[_kind.name].lower(), _converting(_kind))


def _moved(t: Tensor, module: backend.ArrayModule) -> Tensor:
    array = module.from_numpy(backend.module_of(t._array).to_numpy(t._array))
    if not t.requires_grad or not autograd.is_grad_enabled():
        return wrap(array)
    from .function import move

    return move(t, module.name)


def is_tensor(value: Any) -> bool:
    """Is it a Tensor?"""
    return isinstance(value, Tensor)
