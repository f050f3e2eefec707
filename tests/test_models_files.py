"""Folders of models: what is loaded, mapped and not copied, what is said of what doesn't fit, what is written."""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_calls import config, inputs, make

import minigrad
from minigrad import models
from minigrad.io import load_file, safe_open, save_file
from minigrad.models.configuration import CLASSES, class_named, model_types
from minigrad.models.weights import INDEX, SINGLE, Weights, size_of

MLM, CLASSIFIER = "BertForMaskedLM", "BertForSequenceClassification"


def small(name):
    return make(models, minigrad.tensor, name).float()


def saved(folder, name=MLM, **how):
    model = small(name)
    model.save_pretrained(folder, **how)
    return model


def rewritten(folder, change):
    """The folder's tensors as arrays, changed and written back."""
    arrays = {k: v.copy() for k, v in load_file(folder / SINGLE, framework="numpy").items()}
    save_file(change(arrays) or arrays, folder / SINGLE)


def logits(model, name=MLM):
    with minigrad.kernels("off"):  # else one that is ready only later would round in another way
        return model(**{k: v for k, v in inputs(name).items() if k != "labels"})[1].detach().numpy()


def memory(array):
    """What an array's bytes belong to, at the end of its chain of bases."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


# ---- loading


@pytest.mark.parametrize("size", ["50GB", 3000])
def test_a_saved_model_is_loaded_whole(tmp_path, size):
    model = saved(tmp_path, max_shard_size=size)
    again = models.from_pretrained(tmp_path, strict=True)
    assert type(again) is models.BertForMaskedLM and not again.training
    assert again.config == model.config
    assert np.array_equal(logits(again), logits(model))


@pytest.mark.parametrize("size", ["50GB", 3000])
def test_parameters_are_the_mapped_file_and_nothing_is_drawn(tmp_path, size):
    saved(tmp_path, max_shard_size=size)
    before = minigrad.get_rng_state().numpy().copy()
    model = models.BertForMaskedLM.from_pretrained(tmp_path)
    assert np.array_equal(minigrad.get_rng_state().numpy(), before)
    assert all(isinstance(memory(p.numpy(force=True)), mmap.mmap) for p in model.parameters())


def test_training_writes_to_memory_and_never_to_the_file(tmp_path):
    saved(tmp_path)
    before = (tmp_path / SINGLE).read_bytes()
    model, copy = (models.BertForMaskedLM.from_pretrained(tmp_path) for _ in range(2))
    with minigrad.no_grad():
        for p in copy.parameters():
            p.data = p.data.clone()
    for m in (model, copy):
        optimizer = minigrad.optim.AdamW(m.parameters(), lr=0.01)
        with minigrad.kernels("off"):
            for _ in range(2):
                optimizer.zero_grad()
                m(**{k: minigrad.tensor(v) for k, v in inputs(MLM).items()}).loss.backward()
                optimizer.step()
    copy.tie_weights()
    assert np.array_equal(logits(model), logits(copy))
    assert isinstance(memory(model.bert.embeddings.word_embeddings.weight.numpy(force=True)), mmap.mmap)
    assert (tmp_path / SINGLE).read_bytes() == before
    model.save_pretrained(tmp_path)  # over the file that it is mapped from
    assert np.array_equal(logits(models.from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("size", ["50GB", 3000])
def test_a_shared_tensor_is_in_the_file_once_and_in_the_model_in_both_places(tmp_path, size):
    saved(tmp_path, max_shard_size=size)
    names = set(Weights(tmp_path))
    assert "bert.embeddings.word_embeddings.weight" in names and "cls.predictions.bias" in names
    assert not names & {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    model = models.from_pretrained(tmp_path)
    head = model.cls["predictions"]
    assert (
        head.decoder.weight is model.bert.embeddings.word_embeddings.weight and head.decoder.bias is head.bias
    )


def test_a_file_with_only_the_other_name_of_a_shared_tensor_will_do(tmp_path):
    model = saved(tmp_path)

    def renamed(arrays):
        arrays["cls.predictions.decoder.weight"] = arrays.pop("bert.embeddings.word_embeddings.weight")

    rewritten(tmp_path, renamed)
    assert np.array_equal(logits(models.from_pretrained(tmp_path, strict=True)), logits(model))


def test_weights_that_are_not_tied_are_two(tmp_path):
    model = make(models, minigrad.tensor, MLM, tie_word_embeddings=False).float()
    head = model.cls["predictions"]
    assert head.decoder.weight is not model.bert.embeddings.word_embeddings.weight
    model.save_pretrained(tmp_path)
    again = models.from_pretrained(tmp_path, strict=True)
    assert np.array_equal(logits(again), logits(model))


@pytest.mark.parametrize("sort", ["float16", "bfloat16", "float64"])
def test_a_file_of_another_dtype_is_converted_or_kept(tmp_path, sort):
    if sort == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = getattr(minigrad, sort)
    model = small(MLM)
    model.to(kind).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == sort
    again = models.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {minigrad.float32}
    assert np.array_equal(logits(again), logits(model.float()))
    kept = models.from_pretrained(tmp_path, dtype="auto")
    assert {p.dtype for p in kept.parameters()} == {kind}
    assert all(isinstance(memory(p.numpy(force=True)), mmap.mmap) for p in kept.parameters())
    half = models.from_pretrained(tmp_path, dtype=minigrad.float16)
    assert {p.dtype for p in half.parameters()} == {minigrad.float16}
    with pytest.raises(TypeError, match="expected a floating-point dtype or 'auto'"):
        models.from_pretrained(tmp_path, dtype=minigrad.int64)


# ---- names that differ


def test_a_model_takes_a_head_and_names_what_begins_anew(tmp_path):
    base = small("BertModel")
    base.save_pretrained(tmp_path)
    minigrad.manual_seed(1)
    with pytest.warns(UserWarning, match=r"newly initialized.*classifier\.weight, classifier\.bias\. Train"):
        model, info = models.BertForSequenceClassification.from_pretrained(
            tmp_path, num_labels=5, output_loading_info=True
        )
    assert info.missing_keys == ["classifier.weight", "classifier.bias"] and not info.unexpected_keys
    given = inputs("BertModel")
    with minigrad.kernels("off"):
        assert np.array_equal(model.bert(**given)[0].detach(), base(**given)[0].detach())
    w = model.classifier.weight.detach().numpy()
    assert w.shape == (5, 16) and 0.01 < w.std() < 0.03 and not np.any(model.classifier.bias.detach().numpy())
    with pytest.raises(RuntimeError, match=r"newly initialized.*classifier\.weight.*Without strict=True"):
        models.BertForSequenceClassification.from_pretrained(tmp_path, strict=True)


def test_a_head_is_left_behind_and_named(tmp_path):
    model = saved(tmp_path, CLASSIFIER)
    with pytest.warns(UserWarning, match=r"BertModel: not used.*classifier\.bias, classifier\.weight of"):
        base, info = models.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info.unexpected_keys == ["classifier.bias", "classifier.weight"] and not info.missing_keys
    given = inputs("BertModel")
    with minigrad.kernels("off"):
        assert np.array_equal(base(**given)[1].detach(), model.bert(**given)[1].detach())


def test_old_names_and_buffers_of_positions_are_understood(tmp_path):
    model = saved(tmp_path)

    def older(arrays):
        out = {}
        for name, array in arrays.items():
            if "LayerNorm" in name:
                name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                    "LayerNorm.bias", "LayerNorm.beta"
                )
            out[name] = array
        out["bert.embeddings.position_ids"] = np.arange(12)[None]
        return out

    rewritten(tmp_path, older)
    assert any(k.endswith("gamma") for k in Weights(tmp_path))
    assert np.array_equal(logits(models.from_pretrained(tmp_path, strict=True)), logits(model))


def test_gpt2_as_its_authors_files_have_it(tmp_path):
    """Without the base model's name, with its masks as tensors."""
    model = saved(tmp_path, "GPT2LMHeadModel")

    def older(arrays):
        out = {k.removeprefix("transformer."): v for k, v in arrays.items()}
        for i in range(2):
            out |= {
                f"h.{i}.attn.bias": np.tri(12, dtype=bool)[None, None],
                f"h.{i}.attn.masked_bias": np.array(-1e4),
            }
        return out

    rewritten(tmp_path, older)
    again = models.from_pretrained(tmp_path, strict=True)
    assert np.array_equal(logits(again, "GPT2LMHeadModel"), logits(model, "GPT2LMHeadModel"))


def test_another_number_of_classes_is_refused_or_begins_anew(tmp_path):
    saved(tmp_path, CLASSIFIER)
    with pytest.raises(RuntimeError) as caught:
        models.from_pretrained(tmp_path, num_labels=7)
    text = str(caught.value)
    assert "size mismatch for classifier.weight: copying a param with shape [3, 16]" in text
    assert (
        "size mismatch for classifier.bias" in text
        and "in current model is [7]" in text
        and "ignore_mismatched" in text
    )
    with pytest.warns(UserWarning, match=r"newly initialized.*classifier\.weight"):
        model, info = models.BertForSequenceClassification.from_pretrained(
            tmp_path, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert sorted(info.mismatched_keys) == ["classifier.bias", "classifier.weight"] and not info.missing_keys
    assert logits(model, CLASSIFIER).shape == (3, 7) and np.all(np.isfinite(logits(model, CLASSIFIER)))
    assert model.config.id2label == {i: f"LABEL_{i}" for i in range(7)}


def test_a_file_of_another_model_is_refused(tmp_path):
    saved(tmp_path)
    rewritten(tmp_path, lambda arrays: {f"other.{k}": v for k, v in arrays.items()})
    with pytest.raises(RuntimeError, match=r"none of its \d+ tensors is one of BertForMaskedLM's"):
        models.from_pretrained(tmp_path)


def test_quantised_weights_are_refused(tmp_path):
    saved(tmp_path)

    def quantised(arrays):
        name = "bert.encoder.layer.0.output.dense.weight"
        arrays[name] = arrays[name].astype(np.int8)

    rewritten(tmp_path, quantised)
    with pytest.raises(
        RuntimeError, match=r"layer\.0\.output\.dense\.weight: expected dtypes F64, F32, F16, BF16, got I8"
    ):
        models.from_pretrained(tmp_path)


# ---- files that aren't right


def test_pickle_is_refused_with_reason_and_remedy(tmp_path):
    config(models, "BertModel", architectures=["BertModel"]).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected model\.safetensors, or .*got neither"):
        models.from_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(
        FileNotFoundError, match=r"pytorch_model\.bin, which is pickle, which can run code.*save_pretrained"
    ):
        models.from_pretrained(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    saved(tmp_path, max_shard_size=3000)
    shards = sorted(p.name for p in tmp_path.glob("model-*"))
    assert len(shards) > 3
    (tmp_path / shards[1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"missing 1 of {len(shards)} shards: {shards[1]}"):
        models.from_pretrained(tmp_path)
    (tmp_path / INDEX).unlink()
    with pytest.raises(
        FileNotFoundError, match="got shards without the index: a download or a save was cut short"
    ):
        models.from_pretrained(tmp_path)


def index_with(folder, change):
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda i: i.pop("weight_map"), "expected a weight_map"),
        (lambda i: i.update(weight_map=[1]), r"expected a weight_map.*got \[1\]"),
        (lambda i: i.update(weight_map={}), "expected a weight_map"),
        (lambda i: i["weight_map"].update({"none": "model-00001-of-0000{n}.safetensors"}), "'none' should be in model-00001"),
        (lambda i: i["weight_map"].pop("cls.predictions.bias"), r"holds 'cls\.predictions\.bias', which the index lacks"),
        (lambda i: i["weight_map"].update({"cls.predictions.bias": 3}), "expected the plain name of a .safetensors file.*got 3"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(tmp_path, change, says):
    saved(tmp_path, max_shard_size=3000)
    count = len(list(tmp_path.glob("model-*")))
    index_with(tmp_path, change)
    text = (tmp_path / INDEX).read_text().replace("0000{n}", f"{count:05d}")
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(models.weights.SafetensorsError, match=says):
        models.from_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..\\x.safetensors",
                                  "C:\\x.safetensors", "model.bin", "x.safetensors\n", ".hidden.safetensors"])  # fmt: skip
def test_an_index_never_leads_out_of_its_folder(tmp_path, file):
    folder = tmp_path / "model"
    saved(folder, max_shard_size=3000)
    save_file({"cls.predictions.bias": np.zeros(40, np.float32)}, tmp_path / "secret.safetensors")
    index_with(folder, lambda i: i["weight_map"].update({"cls.predictions.bias": file}))
    with pytest.raises(
        models.weights.SafetensorsError, match=r"expected the plain name of a \.safetensors file beside it"
    ):
        models.from_pretrained(folder)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, cut):
    saved(tmp_path)
    data = (tmp_path / SINGLE).read_bytes()
    (tmp_path / SINGLE).write_bytes(data[:cut])
    with pytest.raises(models.weights.SafetensorsError, match="safetensors"):
        models.from_pretrained(tmp_path)


def test_a_hostile_header_is_refused(tmp_path):
    saved(tmp_path)
    data = (tmp_path / SINGLE).read_bytes()
    (tmp_path / SINGLE).write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises(models.weights.SafetensorsError, match="expected a header length of at most"):
        models.from_pretrained(tmp_path)
    changed = data.replace(b'"shape":[40,16]', b'"shape":[99,99]', 1)
    assert changed != data
    (tmp_path / SINGLE).write_bytes(changed)
    with pytest.raises(models.weights.SafetensorsError, match="takes 39204 bytes, but data_offsets"):
        models.from_pretrained(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc./\\", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc./\\", max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["weight_map", "metadata"]) | st.text("abc./\\", max_size=3), JSON, max_size=3
    )
)
def test_whatever_an_index_holds_the_answer_is_an_error_that_says_so(index):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / INDEX).write_text(json.dumps(index))
        with pytest.raises(models.weights.SafetensorsError, match=r"index\.json"):
            Weights(folder)


@given(st.sampled_from(sorted(model_types())), st.data())
def test_whatever_a_configuration_holds_it_is_read_or_refused_and_read_back(kind, data):
    known = model_types()[kind]
    names = st.sampled_from([f.name for f in dataclasses.fields(known)] + list(known.only)) | st.text(
        max_size=5
    )
    values = data.draw(st.dictionaries(names, JSON, max_size=3))
    values.pop("model_type", None)
    try:
        read = known.from_dict(values)
    except ValueError as e:
        assert known.__name__ in str(e)
        return
    assert known.from_dict(json.loads(json.dumps(read.to_dict()))) == read


# ---- writing


def test_what_a_folder_holds_after_a_save(tmp_path):
    saved(tmp_path, max_shard_size=3000)
    index = json.loads((tmp_path / INDEX).read_text())
    files = {p.name for p in tmp_path.iterdir()}
    assert files == {"config.json", INDEX, *index["weight_map"].values()}
    for file in set(index["weight_map"].values()):
        with safe_open(tmp_path / file) as f:
            assert f.metadata() == {"format": "pt"}
            assert len(f) == 1 or sum(f.get_tensor(n).numel() * 4 for n in f) <= 3000
    total = sum(v.numel() * 4 for v in Weights(tmp_path).values())
    assert index["metadata"]["total_size"] == total
    values = json.loads((tmp_path / "config.json").read_text())
    assert (
        values["architectures"] == [MLM] and values["model_type"] == "bert" and values["dtype"] == "float32"
    )


def test_a_save_leaves_nothing_of_the_one_before(tmp_path):
    (tmp_path / "vocab.txt").write_text("mine")
    for size in ("50GB", 3000, 9000, "50GB"):
        model = saved(tmp_path, max_shard_size=size)
        whole = (
            {"model.safetensors"}
            if size == "50GB"
            else {INDEX, *json.loads((tmp_path / INDEX).read_text())["weight_map"].values()}
        )
        assert {p.name for p in tmp_path.iterdir()} == {"config.json", "vocab.txt", *whole}
        assert np.array_equal(logits(models.from_pretrained(tmp_path)), logits(model))


def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    model = saved(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*args, **how):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(models.weights, "save_file", full)
        for size in ("50GB", 3000):
            with pytest.raises(OSError, match="No space"):
                small(CLASSIFIER).save_pretrained(tmp_path, max_shard_size=size)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert np.array_equal(logits(models.from_pretrained(tmp_path)), logits(model))


def test_a_save_killed_between_two_shards_is_refused_and_not_mixed(tmp_path, monkeypatch):
    saved(tmp_path, max_shard_size=3000)
    replace, left = os.replace, [3]

    def killed(source, target):
        left[0] -= os.path.dirname(target) == str(tmp_path)  # not those of the new files' own folder
        if left[0] < 0:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(models.weights.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            saved(tmp_path, max_shard_size=3000)
    with pytest.raises(FileNotFoundError, match="a download or a save was cut short"):
        models.from_pretrained(tmp_path)
    saved(tmp_path, max_shard_size=3000)
    models.from_pretrained(tmp_path, strict=True)


@pytest.mark.parametrize(
    "text, size", [(7, 7), ("5GB", 5 * 10**9), ("200 MB", 2 * 10**8), ("1KiB", 1024), ("1.5kb", 1500)]
)
def test_sizes_of_shards(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1", 0, "5 PB", "I", None])
def test_sizes_that_are_none_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match="max_shard_size: expected a number of bytes"):
        saved(tmp_path, max_shard_size=text)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(NotADirectoryError, match="expected a folder, got the file"):
        small(MLM).save_pretrained(tmp_path / "x")


# ---- configurations


def test_configurations_are_called_as_their_model_type():
    for kind, known in model_types().items():
        assert known.model_type == kind and known().to_dict()["model_type"] == kind
    for names in CLASSES.values():
        for name in names:
            assert getattr(models, name) is class_named(name)
            if not name.endswith("Config"):
                assert getattr(models, name).config_class.__name__ in names


def test_keys_that_are_not_known_are_written_back(tmp_path):
    values = {"model_type": "bert", "hidden_size": 24, "transformers_version": "4.8.2", "gradient_checkpointing": False,
              "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}, "nested": {"a": [1, 2.5, None]}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(values))
    read = models.read_config(tmp_path)
    assert type(read) is models.BertConfig and read.hidden_size == 24 and read.vocab_size == 30522
    assert read.id2label == {0: "bad", 1: "good"} and read.num_labels == 2
    read.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert values.items() <= written.items()
    assert models.read_config(tmp_path / "again") == read


@pytest.mark.parametrize(
    "values, error, says",
    [
        ({"model_type": "mamba"}, ValueError, "unknown model_type 'mamba'; expected one of bert, distilbert, roberta, gpt2"),
        ({}, ValueError, "unknown model_type None; expected one of bert"),
        ({"model_type": "bert", "architectures": ["BertForPreTraining"]}, ValueError,
         "unknown architecture 'BertForPreTraining'; expected one of BertModel, BertForMaskedLM"),
        ({"model_type": "bert"}, ValueError, "names no architectures; use a class's own from_pretrained"),
        ({"model_type": "bert", "hidden_size": "768"}, ValueError, "BertConfig: hidden_size: expected int, got str '768'"),
        ({"model_type": "bert", "num_hidden_layers": True}, ValueError, "num_hidden_layers: expected int, got bool"),
        ({"model_type": "bert", "add_cross_attention": True}, ValueError, "add_cross_attention: a decoder's; set is_decoder as well"),
        ({"model_type": "bert", "position_embedding_type": "relative_key"}, ValueError, "position_embedding_type: expected 'absolute'"),
        ({"model_type": "bert", "vocab_size": -1}, ValueError, "vocab_size: expected at least 1, got -1"),
        ({"model_type": "bert", "num_hidden_layers": 0}, ValueError, "num_hidden_layers: expected at least 1, got 0"),
        ({"model_type": "bert", "id2label": {}}, ValueError, "id2label: expected numbers of classes and their names"),
        ({"model_type": "bert", "id2label": {"good": 1}}, ValueError, "id2label: expected numbers of classes"),
        ({"model_type": "bert", "num_attention_heads": 7}, ValueError, "not a multiple of the number of attention heads"),
        ([1], ValueError, "expected a JSON object"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_are_refused(tmp_path, values, error, says):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(error, match=says):
        models.from_pretrained(tmp_path)


def test_a_configuration_that_is_not_json_or_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        models.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="expected the configuration in UTF-8"):
        models.from_pretrained(tmp_path)


def test_arguments_that_no_configuration_has_are_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(TypeError, match="BertConfig: got unexpected argument layers; expected some of"):
        models.from_pretrained(tmp_path, layers=3)
    with pytest.raises(ValueError, match="BertConfig: expected model_type 'bert', got 'roberta'"):
        models.BertConfig.from_dict({"model_type": "roberta"})
    with pytest.raises(TypeError, match="got config and num_labels: change the configuration itself"):
        models.BertModel.from_pretrained(tmp_path, config=models.BertConfig(), num_labels=3)
    with pytest.raises(ValueError, match="num_labels is 3, but id2label has 2; give one"):
        models.BertConfig(num_labels=3, id2label={0: "a", 1: "b"})


def test_dropout_of_a_loaded_model_waits_for_train(tmp_path):
    saved(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = models.from_pretrained(tmp_path, hidden_dropout_prob=0.5)
    assert np.array_equal(logits(model), logits(model))
    model.train()
    assert not np.array_equal(logits(model), logits(model))
