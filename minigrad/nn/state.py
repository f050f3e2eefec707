"""A module's state: what ``state_dict`` takes, what ``load_state_dict`` puts back and when it refuses.

The methods of these names are ``Module``'s and call this; files are ``minigrad.io``'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..autograd import no_grad
from ..tensor import Tensor
from .parameter import Parameter

EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What didn't fit: keys the module has and the state dict lacks, and the reverse."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


IncompatibleKeys.__name__ = IncompatibleKeys.__qualname__ = "_IncompatibleKeys"


class PreHook(NamedTuple):
    """A hook to run before a module loads, and whether it wants the module."""

    function: Callable[..., Any]
    with_module: bool


def saved(module: Any) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters and persistent buffers that aren't None."""
    yield from ((name, p) for name, p in module._parameters.items() if p is not None)
    for name, b in module._buffers.items():
        if b is not None and name not in module._non_persistent_buffers_set:
            yield name, b


def keeps(module: Any, method: str) -> bool:
    """Does the class define ``get_extra_state`` or ``set_extra_state`` itself?"""
    from .module import Module

    return getattr(type(module), method) is not getattr(Module, method)


def load_own(
    module: Any, state_dict: Mapping[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
    missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
) -> None:  # fmt: skip
    """Loads a module's own parameters and buffers, and notes in the three lists what doesn't fit."""
    for hook, with_module in list(module._load_state_dict_pre_hooks.values()):
        first = (module,) if with_module else ()
        hook(*first, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
    own = dict(saved(module))
    assign = local_metadata.get("assign_to_params_buffers", False)
    for name, tensor in own.items():
        key = prefix + name
        if key in state_dict:
            problem = _put(module, name, tensor, key, state_dict[key], assign)
            if problem is not None:
                error_msgs.append(problem)
        elif strict:
            missing_keys.append(key)
    extra = prefix + EXTRA
    if keeps(module, "set_extra_state"):
        if extra in state_dict:
            module.set_extra_state(state_dict[extra])
        elif strict:
            missing_keys.append(extra)
    elif strict and extra in state_dict:
        unexpected_keys.append(extra)
    if strict:
        for key in state_dict:
            if key.startswith(prefix) and key != extra:
                head, dot, _ = key[len(prefix) :].partition(".")
                if head not in (module._modules if dot else own):
                    unexpected_keys.append(key)


def _put(module: Any, name: str, tensor: Any, key: str, value: Any, assign: bool) -> str | None:
    """Copies ``value`` into the tensor, converting its dtype, or puts it in its place; or says why not."""
    if not isinstance(value, Tensor):
        return (
            f'While copying the parameter named "{key}", expected minigrad.Tensor or Tensor-like object from '
            f"checkpoint but received {type(value)}"
        )
    if not tensor.ndim and tuple(value.shape) == (1,):
        value = value[0]
    if value.shape != tensor.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in "
            f"current model is {tensor.shape}."
        )
    try:
        with no_grad():
            if not assign:
                tensor.copy_(value)
            elif not isinstance(tensor, Parameter):
                setattr(module, name, value)
            elif isinstance(value, Parameter):
                setattr(module, name, value.requires_grad_(tensor.requires_grad))
            else:
                setattr(module, name, Parameter(value, requires_grad=tensor.requires_grad))
    except Exception as e:
        return (
            f'While copying the parameter named "{key}", whose dimensions in the model are {tensor.shape} and whose '
            f"dimensions in the checkpoint are {value.shape}, an exception occurred : {e.args}."
        )
    return None


def load(root: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Loads a tree of modules. If anything is refused, parameters and buffers are as they were before."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    metadata = getattr(state_dict, "_metadata", None)
    given: Any = OrderedDict(state_dict)  # a copy: hooks may rename its keys
    if metadata is not None:
        given._metadata = metadata
    before = None if _fits(root, given, strict) else _Snapshot(root)

    def visit(module: Any, part: Any, prefix: str) -> None:
        local = dict((metadata or {}).get(prefix[:-1], {}))
        if assign:
            local["assign_to_params_buffers"] = True
        module._load_from_state_dict(part, prefix, local, True, missing, unexpected, errors)
        for name, child in list(module._modules.items()):
            if child is not None:
                inner = f"{prefix}{name}."
                visit(child, {k: v for k, v in part.items() if k.startswith(inner)}, inner)
        for hook in list(module._load_state_dict_post_hooks.values()):
            if hook(module, IncompatibleKeys(missing, unexpected)) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, if "
                    "incompatible_keys need to be modified, it should be done inplace."
                )

    try:
        visit(root, given, "")
        if strict:
            for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    listed = ", ".join(f'"{k}"' for k in keys)
                    errors.insert(0, f"{what} key(s) in state_dict: {listed}. ")
        if errors:
            listed = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(root).__name__}:\n\t{listed}")
    except BaseException:
        if before is not None:
            before.restore()
        raise
    return IncompatibleKeys(missing, unexpected)


def _fits(root: Any, given: Mapping[str, Any], strict: bool) -> bool:
    """Can nothing be refused? Then no copy of the old values need be kept."""
    known = 0
    for path, module in root.named_modules(remove_duplicate=False):
        for name, tensor in saved(module):
            value = given.get(f"{path}.{name}" if path else name)
            if value is None and not strict:
                continue
            if not isinstance(value, Tensor) or value.shape != tensor.shape or value.device != tensor.device:
                return False
            known += 1
        if keeps(module, "set_extra_state") or module._load_state_dict_pre_hooks:
            return False
        if module._load_state_dict_post_hooks:
            return False
    return known == len(given) or not strict


class _Snapshot:
    """Every parameter and buffer of a tree of modules, by place and by value."""

    def __init__(self, root: Any) -> None:
        self.tables = [(table, dict(table)) for m in root.modules() for table in (m._parameters, m._buffers)]
        tensors = {id(t): t for _, kept in self.tables for t in kept.values() if t is not None}
        self.values = [(t, t._writes[0], t.detach().clone()) for t in tensors.values()]

    def restore(self) -> None:
        for table, kept in self.tables:
            table.clear()
            table.update(kept)
        with no_grad():
            for tensor, version, value in self.values:
                if tensor._writes[0] != version:
                    tensor.copy_(value)
