"""Module: owns parameters, buffers and other modules by attribute; calls, walks, converts and saves them.

What surrounds a call is in ``hooks.py``, loading in ``state.py``, layers by family in their own files. A
module holds no mathematics: its ``forward`` calls functions.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from .. import backend, dtypes
from ..autograd import Removable, no_grad
from ..errors import describe
from ..functions.creation import empty_like
from ..functions.factory import check_memory_format
from ..modes import STATE
from ..tensor import Tensor
from . import hooks, state
from .parameter import Buffer, Parameter, typename

T = TypeVar("T", bound="Module")


class Module:
    """The base of every layer and model.

    A subclass calls ``super().__init__()``, assigns its parameters, buffers and parts as attributes, and
    defines ``forward``; calling the module runs its hooks and ``forward``.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(784, 128)
                self.out = nn.Linear(128, 10)

            def forward(self, x):
                return self.out(self.hidden(x).relu())
    """

    _version: int = 1  # of the layout of its state; in the state dict's metadata
    call_super_init: bool = False  # for classes with a second base that wants its own __init__ called
    dump_patches: bool = False
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _forward_hooks: dict[int, Callable[..., Any]]
    _forward_pre_hooks: dict[int, Callable[..., Any]]
    _backward_hooks: dict[int, Callable[..., Any]]
    _backward_pre_hooks: dict[int, Callable[..., Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        if not self.call_super_init and args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        self.__dict__.update(
            training=True, _parameters={}, _buffers={}, _non_persistent_buffers_set=set(), _modules={},
            _backward_pre_hooks=OrderedDict(), _backward_hooks=OrderedDict(), _forward_hooks=OrderedDict(),
            _forward_hooks_with_kwargs=set(), _forward_hooks_always_called=set(),
            _forward_pre_hooks=OrderedDict(), _forward_pre_hooks_with_kwargs=set(),
            _state_dict_hooks=OrderedDict(), _state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_pre_hooks=OrderedDict(), _load_state_dict_post_hooks=OrderedDict(),
        )  # fmt: skip
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling -----------------------------------------------------------------------------------------

    def forward(self, *input: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (tracer := STATE.get().tracer) is not None:
            tracer.calls(self)
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # ---- registering -------------------------------------------------------------------------------------

    def _check_name(self, what: str, name: Any, table: str) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name!r}')
        if not name:
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in self.__dict__[table] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or None for one that isn't there, under a name."""
        self._check_name("parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' (minigrad.nn.Parameter or None "
                            f"required)")  # fmt: skip
        if param is not None and param.grad_fn is not None:
            raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                             f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                             f"forward() method.")  # fmt: skip
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is state but not trained; out of the state dict if not ``persistent``."""
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (minigrad.Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(
            name
        )

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module, or None for one that isn't there, under a name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name of :meth:`add_module`."""
        self.add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        parameters, modules, buffers = own.get("_parameters"), own.get("_modules"), own.get("_buffers")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' (minigrad.nn.Parameter or None "
                                f"expected)")  # fmt: skip
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_modules")
            modules[name] = value
        elif modules is not None and name in modules:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' (minigrad.nn.Module or None "
                                f"expected)")  # fmt: skip
            modules[name] = value
        elif isinstance(value, Buffer) or (buffers is not None and name in buffers):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' (minigrad.nn.Buffer, minigrad.Tensor or "
                                f"None expected)")  # fmt: skip
            if isinstance(value, Buffer):
                self.register_buffer(name, value, value.persistent)
            else:
                buffers[name] = value  # type: ignore[index]
        else:
            super().__setattr__(name, value)

    def _forget(self, name: str, but: str) -> None:
        """Removes the name from wherever else it is, so that an attribute of another kind can take it."""
        for table in ("_parameters", "_buffers", "_modules"):
            if table != but:
                self.__dict__[table].pop(name, None)
        if but != "_buffers":
            self._non_persistent_buffers_set.discard(name)
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in own and name in own[table]:
                return own[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {
            *dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers
        }  # fmt: skip
        return sorted(n for n in names if not n[:1].isdigit())

    # ---- walking -----------------------------------------------------------------------------------------

    def _named_members(
        self, members: Callable[[Module], Iterable[tuple[str, Any]]], prefix: str = "", recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        seen: set[Any] = set()
        walk = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in walk:
            for name, member in members(module):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters, a shared one once; those of this module alone without ``recurse``."""
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, as an optimizer wants them."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Names and buffers, persistent or not."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, persistent or not."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Names and modules one level below, a shared one once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules one level below."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Paths and modules: this one first, under ``prefix``, then all below, a shared one once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below."""
        for _, module in self.named_modules():
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``"encoder.layers.0"``; itself for ``""``."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a path, in the place of one that must be there if ``strict``."""
        path, _, name = target.rpartition(".")
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _member(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in getattr(module, table):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, table)[name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``"encoder.layers.0.weight"``."""
        return self._member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path."""
        return self._member(target, "_buffers", "a buffer")

    def apply(self: T, fn: Callable[[Module], Any]) -> T:
        """Calls ``fn`` on every module, children first; as to initialise parameters."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- modes -------------------------------------------------------------------------------------------

    def train(self: T, mode: bool = True) -> T:
        """Sets the mode that Dropout, BatchNorm and kin ask for, here and below."""
        if (tracer := STATE.get().tracer) is not None:
            tracer.calls(self)
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {describe(mode)}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: T) -> T:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Freezes (False) or trains (True) every parameter."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops every parameter's gradient, or writes zeros to it."""
        for p in self.parameters():
            if p.grad is not None:
                p.grad = None if set_to_none else p.grad.detach().zero_()

    # ---- converting --------------------------------------------------------------------------------------

    def _apply(self: T, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> T:
        """Puts ``fn`` of each parameter (which stays the same object), its gradient and each buffer in their places."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.data)
                    if p.grad is not None:
                        p.grad = fn(p.grad).requires_grad_(p.grad.requires_grad)
            for name, b in self._buffers.items():
                if b is not None:
                    self._buffers[name] = fn(b)
        return self

    @overload
    def to(self: T, device: Any = ..., dtype: Any = ..., non_blocking: bool = ...) -> T: ...
    @overload
    def to(self: T, dtype: Any, non_blocking: bool = ...) -> T: ...
    @overload
    def to(self: T, tensor: Tensor, non_blocking: bool = ...) -> T: ...

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves to a device, and floating-point parameters and buffers to a dtype, in place.

        ``to(device, dtype)``, ``to(dtype)``, ``to(tensor)``, or by keyword. TypeError for a dtype that can't be trained.
        """
        device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        kwargs.pop("non_blocking", None)
        check_memory_format("to", kwargs.pop("memory_format", None))
        if kwargs or len(args) > 3:
            raise TypeError(f"to() received an invalid combination of arguments - got {[*map(typename, args), *kwargs]}, but "
                            f"expected a device, a dtype or a tensor")  # fmt: skip
        for a in args:
            if isinstance(a, Tensor):
                device, dtype = a.device, a.dtype
            elif isinstance(a, (str, backend.device)):
                device = a
            elif a is not None and not isinstance(a, bool):
                dtype = a
        if dtype is not None:
            dtype = dtypes.as_dtype(dtype)
            if dtype.category != 2:
                raise TypeError(
                    f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
                )
        return self._apply(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def _to_floating(self: T, dtype: dtypes.dtype) -> T:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def cpu(self: T) -> T:
        """Moves to the host."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: T, device: Any = None) -> T:
        """Moves to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def float(self: T) -> T:
        """Floating-point parameters and buffers become float32."""
        return self._to_floating(dtypes.float32)

    def double(self: T) -> T:
        """Floating-point parameters and buffers become float64."""
        return self._to_floating(dtypes.float64)

    def half(self: T) -> T:
        """Floating-point parameters and buffers become float16."""
        return self._to_floating(dtypes.float16)

    def bfloat16(self: T) -> T:
        """Floating-point parameters and buffers become bfloat16."""
        return self._to_floating(dtypes.bfloat16)

    def type(self: T, dst_type: Any) -> T:
        """All parameters and buffers, integer ones too, become ``dst_type``."""
        return self._apply(lambda t: t.to(dtypes.as_dtype(dst_type)))

    def to_empty(self: T, *, device: Any, recurse: bool = True) -> T:
        """Moves to a device without copying: the values are whatever was in the memory there."""
        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def share_memory(self: T) -> T:
        """Returns the module: threads share memory anyway."""
        return self

    # ---- state -------------------------------------------------------------------------------------------

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by path, sharing memory with the module; history only if ``keep_vars``."""
        if args:
            warnings.warn(
                "state_dict: positional args are being deprecated, use kwargs instead",
                FutureWarning,
                stacklevel=2,
            )
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and not prefix else prefix
            keep_vars = args[2] if len(args) > 2 and not keep_vars else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook, public in list(self._state_dict_hooks.values()):
            result = hook(self, destination, prefix, local_metadata)
            if public and result is not None:
                raise RuntimeError("state_dict post-hook must return None")
            destination = destination if result is None else result
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Puts this module's own entries into ``destination``; overridden to save something else."""
        for name, tensor in state.saved(self):
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if state.keeps(self, "get_extra_state"):
            destination[prefix + state.EXTRA] = self.get_extra_state()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copies a state dict into this module's parameters and buffers, converting dtypes as needed.

        ``strict`` refuses missing and unexpected keys; a wrong shape is refused always. ``assign`` takes the
        given tensors themselves instead of copying. Returns (missing_keys, unexpected_keys). RuntimeError
        lists everything that doesn't fit; the module is then as it was before, which PyTorch doesn't promise
        (what ``set_extra_state`` did stays).
        """
        return state.load(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Loads this module's own entries; overridden to understand older layouts."""
        state.load_own(
            self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def get_extra_state(self) -> Any:
        """Something else for the state dict, under ``_extra_state``; defined together with ``set_extra_state``."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called: define it in the subclass"
        )

    def set_extra_state(self, state: Any) -> None:
        """Takes what ``get_extra_state`` gave."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called: define it in the subclass"
        )

    # ---- hooks -------------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Removable:
        """Before each forward calls ``hook(module, args)``, which may return new args.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)`` and may return a pair of both.
        """
        handle = hooks.add(self._forward_pre_hooks, hook, prepend)
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs.add(handle.id)
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Removable:
        """After each forward calls ``hook(module, args, output)``, which may return another output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; with ``always_call`` it runs, once, even
        when forward raises.
        """
        handle = hooks.add(self._forward_hooks, hook, prepend)
        if with_kwargs:
            self._forward_hooks_with_kwargs.add(handle.id)
        if always_call:
            self._forward_hooks_always_called.add(handle.id)
        return handle

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Removable:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients by the inputs are known.

        Both are tuples with None for what isn't a tensor; a tuple returned replaces grad_input.
        """
        return hooks.add(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> Removable:
        """PyTorch's older name; here it is the full backward hook."""
        return self.register_full_backward_hook(hook)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Removable:
        """Calls ``hook(module, grad_output)`` before the gradients go through the module; a tuple returned replaces them."""
        return hooks.add(self._backward_pre_hooks, hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(module, prefix, keep_vars)`` before this module's entries are taken."""
        return hooks.add(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` after; it may change the dict, and returns None."""
        return hooks.add(self._state_dict_hooks, (hook, True))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> Removable:
        """As the public form, but what it returns replaces the dict."""
        return hooks.add(self._state_dict_hooks, (hook, False))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)``
        before this module loads; it may change the dict and the lists."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> Removable:
        return hooks.add(self._load_state_dict_pre_hooks, state.PreHook(hook, with_module))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Removable:
        """Calls ``hook(module, incompatible_keys)`` after this module and those below loaded; it may change the lists."""
        return hooks.add(self._load_state_dict_post_hooks, hook)

    # ---- printing ----------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of this module's repr."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        body = "".join(f"\n  {line}" for line in [*lines, *children])
        return f"{self._get_name()}({body}\n)" if body else f"{self._get_name()}()"


def indented(text: str) -> str:
    """All lines but the first moved in by two."""
    return text.replace("\n", "\n  ")
