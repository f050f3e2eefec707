"""Models beside transformers', where it is installed: numbers, gradients, and folders that the other opens."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from beside_transformers import torch, transformers
from model_calls import MODELS, READERS, config, inputs, make, near, ran, read

import minigrad
from minigrad import models
from minigrad.models import hub


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_numbers_and_gradients_are_transformers(name, padded):
    ours = ran(models, minigrad.tensor, name, padded)
    theirs = ran(transformers, torch.tensor, name, padded, attn_implementation="eager")
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert np.allclose(ours[key], value, **near(name)), key


@pytest.mark.parametrize("name", READERS)
def test_decoders_that_read_have_transformers_numbers(name):
    ours = read(models, minigrad.tensor, name)
    theirs = read(transformers, torch.tensor, name, attn_implementation="eager")
    for key, value in theirs.items():
        assert np.allclose(ours[key], value, **near(name)), key


@pytest.mark.parametrize("name", MODELS)
def test_parameters_have_their_names_and_shapes(name):
    ours, theirs = models, transformers
    a, b = (getattr(side, name)(config(side, name)).state_dict() for side in (ours, theirs))
    assert {k: tuple(v.shape) for k, v in a.items()} == {k: tuple(v.shape) for k, v in b.items()}


@pytest.mark.parametrize("name", READERS)
def test_a_decoder_that_reads_is_opened_from_the_other_library(name, tmp_path):
    switches = READERS[name] | {"add_cross_attention": True}
    theirs = make(transformers, torch.tensor, name, **switches).float()
    theirs.save_pretrained(tmp_path)
    again = models.from_pretrained(tmp_path, strict=True)
    a, b = again.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys() and all((a[k].numpy() == b[k].numpy()).all() for k in b)
    assert again.config.add_cross_attention and any("crossattention" in k for k in a)


@pytest.mark.parametrize("size", ["50GB", "4KB"])
@pytest.mark.parametrize("name", MODELS)
def test_the_other_library_opens_what_one_saves(name, size, tmp_path):
    given = inputs(name)
    arguments = {k: v for k, v in given.items() if k not in ("labels", "start_positions", "end_positions")}
    ours = make(models, minigrad.tensor, name).float()
    ours.save_pretrained(tmp_path / "ours", max_shard_size=size)
    assert (tmp_path / "ours" / "model.safetensors.index.json").exists() == (size == "4KB")
    theirs = getattr(transformers, name).from_pretrained(tmp_path / "ours", dtype="auto")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = models.from_pretrained(tmp_path / "theirs", strict=True)
    assert type(again) is type(ours)
    with minigrad.kernels("off"):
        a, b = ours(**arguments), again(**arguments)
    with torch.no_grad():
        c = theirs(**{k: torch.tensor(v) for k, v in arguments.items()})
    for field in ("last_hidden_state", "logits", "start_logits"):
        if hasattr(a, field):
            x, y, z = (getattr(out, field) for out in (a, b, c))
            assert np.array_equal(x.detach().numpy(), y.detach().numpy())
            assert np.allclose(x.detach().numpy(), z.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert", "GPT2"])
def test_defaults_are_transformers(kind):
    ours, theirs = (
        getattr(models, f"{kind}Config")().to_dict(),
        getattr(transformers, f"{kind}Config")().to_dict(),
    )
    assert {k: theirs[k] for k in ours} == ours


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForSequenceClassification", "GPT2LMHeadModel"])
def test_parameters_begin_as_transformers_begin(name):
    minigrad.manual_seed(0)
    torch.manual_seed(0)
    width = {"n_embd" if name.startswith("GPT2") else "hidden_size": 128}
    a, b = (getattr(side, name)(config(side, name, **width)).state_dict() for side in (models, transformers))
    for key, value in b.items():
        x, y = a[key].numpy(), value.numpy()
        assert abs(x.std() - y.std()) < 0.003 and abs(x.mean() - y.mean()) < 0.003, key


def test_the_real_model_gives_transformers_states_and_attentions():
    found = hub.find("all-MiniLM-L6-v2").path
    if found is None:
        pytest.skip("its weights aren't here")
    ours = models.from_pretrained(found, strict=True)
    theirs = transformers.BertModel.from_pretrained(found, attn_implementation="eager", dtype="auto")
    draw = np.random.RandomState(0)
    ids, mask = (
        draw.randint(999, 30522, (3, 40)),
        (np.arange(40) < np.array([40, 23, 7])[:, None]).astype(np.int64),
    )
    a = ours(ids, mask, output_attentions=True, output_hidden_states=True)
    with torch.no_grad():
        b = theirs(torch.tensor(ids), torch.tensor(mask), output_attentions=True, output_hidden_states=True)
    assert np.allclose(a.pooler_output.detach(), b.pooler_output, rtol=0, atol=2e-5)
    for x, y in zip((*a.hidden_states, *a.attentions), (*b.hidden_states, *b.attentions), strict=True):
        assert np.allclose(x.detach(), y, rtol=0, atol=2e-5)
