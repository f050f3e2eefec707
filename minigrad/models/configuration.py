"""Configurations: a model's sizes as a dataclass that reads and writes Hugging Face's ``config.json``.

What lives here: the base class, the list of architectures, activations by name. Each architecture's own
class stands in its model's file.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..errors import describe
from ..io.files import atomic_write
from ..io.safetensors import parse_json
from ..nn import functional as F
from ..tensor import Tensor

C = TypeVar("C", bound="PretrainedConfig")

# Each model file and its public classes. A configuration is called as its model_type: BertConfig for "bert".
CLASSES: dict[str, tuple[str, ...]] = {
    "bert": ("BertConfig", "BertModel", "BertForMaskedLM", "BertForSequenceClassification",
             "BertForTokenClassification", "BertForQuestionAnswering"),
    "distilbert": ("DistilBertConfig", "DistilBertModel", "DistilBertForMaskedLM",
                   "DistilBertForSequenceClassification", "DistilBertForTokenClassification",
                   "DistilBertForQuestionAnswering"),
    "roberta": ("RobertaConfig", "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification",
                "RobertaForTokenClassification", "RobertaForQuestionAnswering"),
    "gpt2": ("GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    "llama": ("LlamaConfig", "LlamaModel", "LlamaForCausalLM", "MistralConfig", "MistralModel", "MistralForCausalLM",
              "Qwen2Config", "Qwen2Model", "Qwen2ForCausalLM"),
    "t5": ("T5Config", "T5ForConditionalGeneration"),
    "transformer": ("TransformerConfig", "TransformerForTranslation"),
}  # fmt: skip


def model_types() -> dict[str, type[PretrainedConfig]]:
    """Every known ``model_type`` and its configuration class."""
    return {
        name.removesuffix("Config").lower(): class_named(name)
        for names in CLASSES.values()
        for name in names
        if name.endswith("Config")
    }


def class_named(name: Any) -> Any:
    """The model or configuration of that name. ValueError with the list of those known."""
    for module, names in CLASSES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __package__), name)
    known = ", ".join(n for names in CLASSES.values() for n in names if not n.endswith("Config"))
    raise ValueError(f"models: unknown architecture {name!r}; expected one of {known}")


# ---- activations ---------------------------------------------------------------------------------------------


def _gelu_tanh(x: Tensor) -> Tensor:
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks & Gimpel, 2016)."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu, "gelu_python": F.gelu, "gelu_new": _gelu_tanh, "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh, "quick_gelu": lambda x: x * (1.702 * x).sigmoid(), "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(), "relu6": F.relu6, "silu": F.silu, "swish": F.silu, "mish": F.mish,
    "sigmoid": F.sigmoid, "tanh": F.tanh, "linear": lambda x: x,
}  # fmt: skip


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that ``config.json`` calls so."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: unknown name {name!r}; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


# ---- configurations ------------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "str": (str,), "None": (type(None),),
    "list": (list,), "dict": (dict,),
}  # fmt: skip


@dataclasses.dataclass(kw_only=True)
class PretrainedConfig:
    """What all configurations share. Fields and defaults are transformers'.

    Keys of ``config.json`` that the class doesn't know are kept in ``extra`` and written back. A key whose
    value asks for what isn't here (``only``: a decoder's cross attention, say) is refused.
    """

    model_type: ClassVar[str] = ""
    only: ClassVar[dict[str, Any]] = {}  # keys of which one value is supported

    architectures: list[str] | None = None
    num_labels: int = 0  # 0: as many as id2label has, or 2
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = None
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        where = type(self).__name__
        for field in dataclasses.fields(self):
            value, kinds = getattr(self, field.name), str(field.type)
            if not any(type(value) in _KINDS[k.split("[")[0].strip()] for k in kinds.split(" | ")):
                raise ValueError(f"{where}: {field.name}: expected {kinds}, got {describe(value)}")
            if kinds == "int" and value < (0 if field.name == "num_labels" else 1):
                raise ValueError(f"{where}: {field.name}: expected at least 1, got {value}")
        for key, supported in self.only.items():
            if self.extra.get(key, supported) != supported:
                raise ValueError(
                    f"{where}: {key}: expected {supported!r}, the only one here, got {self.extra[key]!r}"
                )
        if self.id2label is None:
            self.id2label = {i: f"LABEL_{i}" for i in range(self.num_labels or 2)}
            self.label2id = None
        if not self.id2label or not all(str(i).isdecimal() for i in self.id2label):
            raise ValueError(
                f"{where}: id2label: expected numbers of classes and their names, got {describe(self.id2label)}"
            )
        self.id2label = {int(i): label for i, label in self.id2label.items()}
        if self.num_labels not in (0, len(self.id2label)):
            raise ValueError(
                f"{where}: num_labels is {self.num_labels}, but id2label has {len(self.id2label)}; give one"
            )
        self.num_labels = len(self.id2label)
        if self.label2id is None:
            self.label2id = {label: i for i, label in self.id2label.items()}

    def heads_divide(self, width: int, heads: int) -> None:
        """Refuses a width that can't be shared out among the heads."""
        if heads < 1 or width % heads:
            raise ValueError(f"{type(self).__name__}: The hidden size ({width}) is not a multiple of the number of attention "
                             f"heads ({heads})")  # fmt: skip

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any], **changes: Any) -> C:
        """From what ``config.json`` holds; ``changes`` go before. ValueError for another ``model_type``."""
        values = dict(values)
        if (kind := values.pop("model_type", cls.model_type)) != cls.model_type:
            raise ValueError(f"{cls.__name__}: expected model_type {cls.model_type!r}, got {kind!r}; "
                             f"minigrad.models.read_config takes the class that fits")  # fmt: skip
        if "num_labels" in changes and "id2label" not in changes:
            values = {k: v for k, v in values.items() if k not in ("num_labels", "id2label", "label2id")}
        fields = {f.name for f in dataclasses.fields(cls)} - {"extra"}
        if unknown := changes.keys() - fields:
            raise TypeError(f"{cls.__name__}: got unexpected argument {', '.join(sorted(unknown))}; expected some of "
                            f"{', '.join(sorted(fields))}")  # fmt: skip
        known = {k: v for k, v in values.items() if k in fields}
        return cls(**{**known, **changes}, extra={k: v for k, v in values.items() if k not in fields})

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds: every field, the keys it came with, and ``model_type``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["extra"], values["num_labels"]
        if self.id2label == {0: "LABEL_0", 1: "LABEL_1"}:
            del values["id2label"], values["label2id"]
        if self.architectures is None:
            del values["architectures"]
        return {"model_type": self.model_type} | self.extra | values

    @classmethod
    def from_pretrained(cls: type[C], folder: str | os.PathLike[str], **changes: Any) -> C:
        """From a folder's ``config.json``."""
        return cls.from_dict(_values(folder), **changes)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``config.json`` into the folder, whole or not at all."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(folder) / "config.json", "w") as f:
            f.write(json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_config(folder: str | os.PathLike[str], **changes: Any) -> PretrainedConfig:
    """The configuration in a folder, of the class that its ``model_type`` says."""
    values = _values(folder)
    known, kind = model_types(), values.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(
            f"{Path(folder) / 'config.json'}: unknown model_type {kind!r}; expected one of {', '.join(known)}"
        )
    return known[kind].from_dict(values, **changes)


def _values(folder: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; a model's folder holds config.json and model.safetensors"
        )
    values = parse_json(path.read_bytes(), str(path), "configuration", depth=32)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {describe(values)}")
    return values
