"""PreTrained: the base of models that are loaded from, and saved as, Hugging Face's folders.

What lives here: which tensor of a file is which of a model's, and what is said when they don't fit. The files
are ``weights.py``'s, ``config.json`` is ``configuration.py``'s, where a name is found ``hub.py``'s.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from .. import dtypes
from ..autograd import no_grad
from ..errors import describe
from ..nn import init
from ..nn.module import Module
from ..nn.quantized import Int8Embedding, Int8Linear, quantize_int8
from ..tensor import Tensor
from . import hub
from .configuration import PretrainedConfig, class_named, read_config
from .weights import Weights, write

M = TypeVar("M", bound="PreTrained")

_FLOATING = ("F64", "F32", "F16", "BF16")
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of LayerNorm's, in files made from TensorFlow's


class LoadingInfo(NamedTuple):
    """What didn't fit: the model's names without a tensor in the file, the reverse, and those of another shape."""

    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched_keys: list[str]


class _Begun(type):
    """A model's parameters begin, and are tied, once the outermost constructor has made them all.

    So a model that contains another, each with an ``__init__`` as any module's, draws every parameter once,
    and one that is made to be loaded draws none.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        with init.skipped():
            model = super().__call__(*args, **kwargs)
        model.tie_weights()
        model.init_parameters()
        return model


class PreTrained(Module, metaclass=_Begun):
    """A module made from a configuration, in whose folder its parameters lie under their own names.

    A subclass names its ``config_class``; its ``base_model_prefix``, the attribute that holds the model without
    head (so that a file of either loads into the other); and ``_tied_weights_keys``: parameters that are another's
    tensor, where the configuration's ``tie_word_embeddings`` says so. Files hold a shared tensor once.
    """

    config: Any
    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    base_model_prefix: ClassVar[str] = ""
    _tied_weights_keys: ClassVar[dict[str, str]] = {}
    _keys_to_ignore_on_load_unexpected: ClassVar[tuple[str, ...]] = (r"(^|\.)(position|token_type)_ids$",)

    def __init__(self, config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise TypeError(f"{type(self).__name__}: expected a {self.config_class.__name__}, got {describe(config)}; a folder "
                            f"or name goes to {type(self).__name__}.from_pretrained")  # fmt: skip
        self.config = config

    def tie_weights(self) -> None:
        """Puts the shared tensors in all their places."""
        if self.config.tie_word_embeddings:
            for name, source in self._tied_weights_keys.items():
                path, _, last = name.rpartition(".")
                setattr(self.get_submodule(path), last, self.get_parameter(source))

    def init_parameters(self, names: set[str] | None = None) -> None:
        """Draws every parameter anew, or those named: matrices and tables N(0, initializer_range²).

        A norm's gain becomes 1, biases and the row of the padding token 0 (Devlin et al., 2018, appendix A.2).
        """
        seen: set[int] = set()
        with no_grad():
            for path, module in self.named_modules():
                for name, p in module.named_parameters(path, recurse=False):
                    if id(p) not in seen and (names is None or name in names):
                        seen.add(id(p))
                        self._init_parameter(module, name.rpartition(".")[2], p)

    def _init_parameter(self, module: Module, name: str, parameter: Tensor) -> None:
        if parameter.ndim > 1:
            init.normal_(parameter, 0.0, self.config.initializer_range)
            if (row := getattr(module, "padding_idx", None)) is not None:
                init.zeros_(parameter[row])
        else:
            (init.ones_ if name == "weight" else init.zeros_)(parameter)

    # ---- loading -----------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls: type[M], name: str | os.PathLike[str], *, config: PretrainedConfig | None = None, dtype: Any = None,
        strict: bool = False, ignore_mismatched_sizes: bool = False, output_loading_info: bool = False,
        revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None, local_files_only: bool = False,
        quantize: str | None = None, **changes: Any,
    ) -> Any:  # fmt: skip
        """The model of a folder, or of a name that :func:`minigrad.models.hub.locate` finds; in ``eval`` mode.

        Parameters share the memory of the mapped file: nothing is read or copied until it is used, and nothing
        drawn. Training works as ever: the map is private, so the system copies a page when it is first written
        to (an optimizer's step so costs the memory of what it trains, once), and the file never changes.

        ``dtype`` is the parameters': None for the default dtype, "auto" for the file's, or one of them. Only what
        has another dtype in the file is copied. ``changes`` go before the configuration's own values
        (``num_labels=3``). Parameters that the file lacks are drawn, and named in a warning, as is what the file has
        and the model doesn't; ``strict`` refuses both. Tensors of another shape are refused, or with
        ``ignore_mismatched_sizes`` drawn. ``output_loading_info`` returns (model, LoadingInfo). ``quantize="int8"`` makes
        the weights int8, for inference (:func:`minigrad.nn.quantize_int8`).

        Raises RuntimeError for what doesn't fit, ValueError for a configuration that isn't this class's, and what
        ``locate`` and :class:`~minigrad.models.weights.Weights` raise.
        """
        folder = hub.locate(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        if quantize not in (None, "int8"):
            raise ValueError(f"from_pretrained: expected quantize to be None or 'int8', got {quantize!r}")
        if config is None:
            config = cls.config_class.from_pretrained(folder, **changes)
        elif changes:
            raise TypeError(
                f"from_pretrained: got config and {', '.join(changes)}: change the configuration itself"
            )
        with init.skipped():
            model = cls(config)
        info = _load(model, Weights(folder), str(folder), dtype, ignore_mismatched_sizes)
        _tell(model, info, str(folder), strict)
        model.eval()
        if quantize is not None:
            quantize_int8(model)
        return (model, info) if output_loading_info else model

    # ---- saving ------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | os.PathLike[str], max_shard_size: int | str = "50GB") -> None:
        """Writes ``config.json`` and ``model.safetensors`` (or shards and their index) into the folder.

        Each file is written whole or not at all, shared tensors once; transformers opens the folder. A model may be
        saved over the files that it was loaded from.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"save_pretrained: expected a folder, got the file {folder}")
        if any(isinstance(m, (Int8Linear, Int8Embedding)) for m in self.modules()):
            raise RuntimeError("save_pretrained: the weights are int8, which the format of these folders doesn't hold; save the "
                               "float model, and load it with quantize='int8'")  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        tensors = self.state_dict()
        if self.config.tie_word_embeddings:
            for name in self._tied_weights_keys:
                tensors.pop(name, None)
        write(tensors, folder, max_shard_size)
        self.config.architectures = [type(self).__name__]
        kinds = {p.dtype.name for p in self.parameters()}
        self.config.extra.pop("torch_dtype", None)  # its older name
        self.config.extra["dtype"] = kinds.pop() if len(kinds) == 1 else "float32"
        self.config.save_pretrained(folder)


def from_pretrained(
    name: str | os.PathLike[str], *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False, **how: Any,
) -> Any:  # fmt: skip
    """The model of a folder or name, of the class that its ``config.json`` names first under ``architectures``.

    The arguments are those of :meth:`PreTrained.from_pretrained`. ValueError for a class that isn't known here.
    """
    folder = hub.locate(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
    config = read_config(folder)
    if not config.architectures:
        raise ValueError(
            f"{folder / 'config.json'}: names no architectures; use a class's own from_pretrained"
        )
    return class_named(config.architectures[0]).from_pretrained(folder, **how)


def _load(
    model: PreTrained, weights: Weights, where: str, dtype: Any, ignore_mismatched: bool
) -> LoadingInfo:
    """Gives the model the file's tensors and draws those that it lacks."""
    own = model.state_dict()
    found, unexpected = _matched(own, weights, model.base_model_prefix)
    if not found and own:
        raise RuntimeError(f"{where}: none of its {len(weights)} tensors is one of {type(model).__name__}'s {len(own)}: "
                           f"got {_some(sorted(weights))}; expected {_some(sorted(own))}")  # fmt: skip
    tied = model._tied_weights_keys if model.config.tie_word_embeddings else {}
    for name, source in tied.items():
        there = found.pop(name, None)
        if there is not None:
            found.setdefault(source, there)
    mismatched = [name for name, key in found.items() if weights.shape(key) != tuple(own[name].shape)]
    if mismatched and not ignore_mismatched:
        listed = "\n\t".join(
            f"size mismatch for {n}: copying a param with shape {list(weights.shape(found[n]))} from {found[n]}, the shape "
            f"in current model is {list(own[n].shape)}."
            for n in mismatched
        )
        raise RuntimeError(
            f"Error(s) in loading {where} for {type(model).__name__}:\n\t{listed}\n\tThe configuration and the file belong to "
            f"different models, or a head has another number of classes: ignore_mismatched_sizes=True draws these anew"
        )
    for name in mismatched:
        del found[name]
    if foreign := [
        n for n, key in found.items() if weights.dtype(key) not in _FLOATING and own[n].is_floating_point()
    ]:
        raise RuntimeError(f"{where}: {_some(foreign)}: expected dtypes {', '.join(_FLOATING)}, got "
                           f"{weights.dtype(found[foreign[0]])}; quantised weights aren't read here")  # fmt: skip
    missing = [name for name in own if name not in found and name not in tied]
    model.init_parameters(set(missing))
    kind = _dtype(dtype)
    with no_grad():
        model.load_state_dict(
            {name: _as(weights[key], kind) for name, key in found.items()}, strict=False, assign=True
        )
        for name in missing:
            parameter = model.get_parameter(name)
            parameter.data = _as(parameter.data, kind)
    model.tie_weights()
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected]
    unexpected = [key for key in unexpected if not any(i.search(key) for i in ignored)]
    return LoadingInfo([n for n in missing if n not in mismatched], unexpected, mismatched)


def _matched(own: Mapping[str, Any], weights: Weights, prefix: str) -> tuple[dict[str, str], list[str]]:
    """Of each of the model's names, the file's; and the file's names that are none.

    A file's name is the model's own, or is that with the base model's prefix before it, or without.
    """
    found, unexpected = {}, []
    for key in weights:
        stem, _, last = key.rpartition(".")
        plain = f"{stem}.{_OLD_NAMES.get(last, last)}" if stem else last
        names = (key, plain, plain.removeprefix(f"{prefix}."), f"{prefix}.{plain}")
        name = next((n for n in names if n in own), None)
        if name is None or name in found:
            unexpected.append(key)
        else:
            found[name] = key
    return found, unexpected


def _dtype(dtype: Any) -> Any:
    """The dtype that parameters are to have; None for whatever the file has."""
    if dtype == "auto":
        return None
    kind = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if kind.category != 2:
        raise TypeError(f"from_pretrained: expected a floating-point dtype or 'auto', got {dtype}")
    return kind


def _as(tensor: Tensor, kind: Any) -> Tensor:
    return tensor if kind is None or not tensor.is_floating_point() else tensor.to(kind)


def _tell(model: PreTrained, info: LoadingInfo, where: str, strict: bool) -> None:
    lacking = info.missing_keys + info.mismatched_keys
    name = type(model).__name__
    texts = []
    if lacking:
        texts.append(f"{name}: newly initialized, because {where} lacks them or has another shape: {', '.join(lacking)}. "
                     f"Train the model before you predict with it")  # fmt: skip
    if info.unexpected_keys:
        texts.append(
            f"{name}: not used, because the model has no such tensors: {', '.join(info.unexpected_keys)} of {where}"
        )
    if texts and strict:
        raise RuntimeError(". ".join(texts) + ". Without strict=True this is a warning")
    for text in texts:
        warnings.warn(text, stacklevel=3)


def _some(names: Any, most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
