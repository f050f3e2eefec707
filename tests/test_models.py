"""BERT, DistilBERT, RoBERTa: numbers kept of transformers, what masks promise, input that can't be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from model_calls import MODELS, READERS, SIZES, config, inputs, make, near, ran, read, source
from transformers_answers import KEPT, print_of

import minigrad
from minigrad import models

KEPT_ANSWERS = json.loads(KEPT.read_text())["answers"]
BASES = [f"{kind}Model" for kind in SIZES]


def states(model, *args, **how):
    with minigrad.kernels("off"):  # else one that is ready only later would round in another way
        return model(*args, **how).last_hidden_state.detach().numpy()


@pytest.mark.parametrize("name", MODELS)
def test_numbers_and_gradients_are_those_kept_of_transformers(name):
    ours, kept = ran(models, minigrad.tensor, name), KEPT_ANSWERS[name]
    assert ours.keys() == kept.keys()
    for key, (shape, *sums) in kept.items():
        got_shape, *got = print_of(ours[key])
        assert got_shape == shape and np.allclose(got, sums, **near(name)), key


@pytest.mark.parametrize("name", READERS)
def test_a_decoder_that_reads_another_models_states_has_the_numbers_kept_of_transformers(name):
    ours, kept = read(models, minigrad.tensor, name), KEPT_ANSWERS[f"{name}, reading"]
    assert ours.keys() - kept.keys() <= {
        "cross_attentions.0",
        "cross_attentions.1",
    }  # transformers' heads drop them
    for key, (shape, *sums) in kept.items():
        got_shape, *got = print_of(ours[key])
        assert got_shape == shape and np.allclose(got, sums, **near(name)), key


def test_states_are_read_only_by_a_model_made_for_it():
    for name in ("BertModel", "GPT2LMHeadModel"):
        with pytest.raises(
            ValueError, match=r"no cross attention; make it of a .*with add_cross_attention=True"
        ):
            make(models, minigrad.tensor, name)(**inputs(name), **source())


@pytest.mark.parametrize("name", BASES)
def test_weights_that_are_asked_for_change_no_number_and_sum_to_one(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    without, asked = model(**given), model(**given, output_attentions=True)
    assert (
        np.allclose(without[0].detach(), asked[0].detach(), rtol=0, atol=1e-12) and without.attentions is None
    )
    for weights in asked.attentions:
        assert np.allclose(weights.sum(-1).detach(), 1.0)
        there = given["attention_mask"].astype(bool)
        assert not np.any(weights.detach().numpy().transpose(0, 3, 1, 2)[~there])


@pytest.mark.parametrize("name", BASES)
def test_padding_changes_nothing(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    together = states(model, **given)
    given["input_ids"] = np.where(
        given["attention_mask"], given["input_ids"], 7
    )  # another word under the mask
    if name != "RobertaModel":  # whose positions are counted by the padding's id
        assert np.array_equal(
            states(model, **given) * given["attention_mask"][..., None],
            together * given["attention_mask"][..., None],
        )
    for i, length in enumerate(given["attention_mask"].sum(1)):
        alone = states(model, **{k: v[i : i + 1, :length] for k, v in given.items()})
        assert np.allclose(alone[0], together[i, :length], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", BASES)
def test_a_mask_is_ones_and_zeros_or_booleans_of_keys_or_of_pairs(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    expected, mask = states(model, **given), given.pop("attention_mask")
    pairs = np.broadcast_to(mask[:, None], (3, 8, 8))
    for other in (mask.astype(bool), minigrad.tensor(mask).int(), pairs):
        assert np.array_equal(states(model, **given, attention_mask=other), expected)
    given["input_ids"], nobody = given["input_ids"][:1], np.zeros((1, 8), np.int64)
    given = {k: v[:1] for k, v in given.items()}
    alone = states(model, **given, attention_mask=nobody)
    asked = states(model, **given, attention_mask=nobody, output_attentions=True)
    assert np.all(np.isfinite(alone)) and np.allclose(alone, asked, rtol=0, atol=1e-12)


def test_without_positions_a_permutation_of_the_tokens_permutes_the_states():
    model, given = make(models, minigrad.tensor, "BertModel"), inputs("BertModel", padded=False)
    order = np.array([3, 1, 0, 7, 5, 2, 6, 4])
    moved = {k: v[:, order] for k, v in given.items()}
    same = np.zeros((1, 8), np.int64)
    a, b = (states(model, **x, position_ids=same) for x in (given, moved))
    assert np.allclose(a[:, order], b, rtol=0, atol=1e-13) and not np.allclose(a, b)
    places = np.arange(8)[None]
    assert np.array_equal(states(model, **given, position_ids=places), states(model, **given))


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gpt2_cannot_see_the_future(masked, asked):
    """By its gradient: what a token's states depend on is exactly nothing of the tokens after it."""
    model, ids = make(models, minigrad.tensor, "GPT2Model"), np.arange(3, 11)[None]
    mask = np.ones((1, 8), int) if masked else None
    for t in range(8):
        model.zero_grad()
        model(ids, mask, output_attentions=asked)[0][0, t].square().sum().backward()
        reached = np.any(model.wpe.weight.grad.numpy()[:8] != 0, 1)
        assert np.array_equal(reached, np.arange(8) <= t)


def test_gpt2_padded_on_the_left_is_the_same_with_positions():
    model, ids = make(models, minigrad.tensor, "GPT2Model"), np.arange(3, 8)[None]
    padded, mask = np.pad(ids, ((0, 0), (3, 0))), np.pad(np.ones((1, 5), int), ((0, 0), (3, 0)))
    places = np.maximum(mask.cumsum(1) - 1, 0)
    a, b = states(model, ids), states(model, padded, mask, places)
    assert np.allclose(a[0], b[0, 3:], rtol=0, atol=1e-13)


def test_roberta_counts_positions_from_the_padding():
    embeddings = models.RobertaModel(config(models, "RobertaModel")).embeddings
    ids = minigrad.tensor([[5, 6, 7, 1, 1], [1, 8, 9, 1, 4]])
    assert embeddings.positions(ids).tolist() == [[2, 3, 4, 1, 1], [1, 2, 3, 1, 4]]


def test_the_loss_follows_the_labels():
    given = {k: v for k, v in inputs("BertForSequenceClassification").items() if k != "labels"}
    model = make(models, minigrad.tensor, "BertForSequenceClassification")
    logits = model(**given).logits.detach()
    several = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1.0]])
    expected = minigrad.nn.functional.binary_cross_entropy_with_logits(logits, minigrad.tensor(several))
    assert np.isclose(model(**given, labels=several).loss.item(), expected.item())
    model = make(models, minigrad.tensor, "BertForSequenceClassification", num_labels=1)
    logits = model(**given).logits.detach().numpy()[:, 0]
    loss = model(**given, labels=np.array([1.0, 2.0, 3.0])).loss.item()
    assert np.isclose(loss, np.mean((logits - [1, 2, 3]) ** 2))


def test_a_cut_off_answer_does_not_count():
    model, given = (
        make(models, minigrad.tensor, "BertForQuestionAnswering"),
        inputs("BertForQuestionAnswering"),
    )
    one = {k: v[:1] for k, v in given.items()}
    two = {k: v[:2] for k, v in given.items()} | {
        "start_positions": np.array([1, 99]),
        "end_positions": np.array([6, 99]),
    }
    assert np.isclose(model(**one).loss.item(), model(**two).loss.item())


DROPPED = [
    *((name, p) for name in ("BertForSequenceClassification", "RobertaForSequenceClassification")
      for p in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")),
    *(("DistilBertForSequenceClassification", p) for p in ("dropout", "attention_dropout", "seq_classif_dropout")),
    ("DistilBertForQuestionAnswering", "qa_dropout"),
    *(("GPT2LMHeadModel", p) for p in ("resid_pdrop", "embd_pdrop", "attn_pdrop")),
]  # fmt: skip


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("name, p", DROPPED)
def test_each_dropout_drops_while_training_and_only_then(name, p, asked):
    none = {q: 0.0 for n, q in DROPPED if n.startswith(name[:4])}
    given = {k: v for k, v in inputs(name).items() if "label" not in k and "position" not in k}

    def twice(train, **changes):
        model = make(models, minigrad.tensor, name, **none | changes).train(train)
        with minigrad.kernels("off"):
            outs = [model(**given, output_attentions=asked) for _ in range(2)]
        return [out[1].detach().numpy() for out in outs], outs[0].attentions

    (a, b), _ = twice(True)
    (c, d), _ = twice(False, **{p: 0.5})
    assert np.array_equal(a, b) and np.array_equal(a, c) and np.array_equal(a, d)
    (e, f), weights = twice(True, **{p: 0.5})
    assert not np.array_equal(e, f) and not np.array_equal(a, e)
    if asked and "att" in p:
        kept = weights[0].detach().numpy()[0, :, -1]  # of the first, which has no padding, the last query
        assert 0.2 < np.mean(kept == 0) < 0.8


# ---- input that can't be


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "changes, error, says",
    [
        ({"input_ids": np.ones((1, 13), int)}, ValueError, "13 tokens are longer than the model's 1[02] positions.*truncation=True"),
        ({"input_ids": np.full((1, 4), 40)}, IndexError, "got 40, expected 0 ≤ index < 40"),
        ({"input_ids": np.full((1, 4), -1)}, IndexError, "got -1"),
        ({"input_ids": np.ones(4, int)}, ValueError, r"expected shape \(batch, tokens\), got \(4,\)"),
        ({"input_ids": np.ones((1, 4))}, TypeError, "expected integers, got float64"),
        ({"attention_mask": np.ones((1, 5), int)}, ValueError, r"attention_mask: expected shape \(1, 4\).*got \(1, 5\)"),
        ({"attention_mask": np.zeros((1, 4))}, TypeError, "attention_mask: expected ones and zeros.*got float64"),
        ({"position_ids": np.zeros((2, 4), int)}, ValueError, r"position_ids: expected the shape .*got \(2, 4\)"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_is_refused(name, changes, error, says):
    model = make(models, minigrad.tensor, name)
    with pytest.raises(error, match=says):
        model(**({"input_ids": np.full((1, 4), 3)} | changes))


def test_a_longer_sequence_than_roberta_has_positions_for_is_refused():
    model = make(models, minigrad.tensor, "RobertaModel")
    assert states(model, np.full((1, 10), 3)).shape == (1, 10, 16)
    with pytest.raises(ValueError, match="11 tokens are longer than the model's 10 positions"):
        model(np.full((1, 11), 3))


def test_labels_outside_the_classes_are_refused():
    model, given = (
        make(models, minigrad.tensor, "BertForSequenceClassification"),
        inputs("BertForSequenceClassification"),
    )
    with pytest.raises(IndexError, match="Target 3 is out of bounds: expected class indices 0 ≤ target < 3"):
        model(**given | {"labels": np.array([0, 1, 3])})
    words = make(models, minigrad.tensor, "BertForTokenClassification")
    with pytest.raises(ValueError, match=r"labels: expected one of each token, shape \(3, 8\), got \(3,\)"):
        words(**given)
    with pytest.raises(ValueError, match=r"problem_type: expected 'regression'.*got 'odd'"):
        make(models, minigrad.tensor, "BertForSequenceClassification", problem_type="odd")(**given)


@pytest.mark.parametrize(
    "name, changes", [("BertModel", {"num_attention_heads": 3}), ("DistilBertModel", {"n_heads": 5})]
)
def test_heads_that_do_not_divide_are_refused(name, changes):
    with pytest.raises(
        ValueError, match=r"hidden size \(16\) is not a multiple of the number of attention heads"
    ):
        config(models, name, **changes)


def test_a_model_of_another_configuration_is_refused():
    with pytest.raises(TypeError, match="BertModel: expected a BertConfig, got DistilBertConfig"):
        models.BertModel(config(models, "DistilBertModel"))
    with pytest.raises(TypeError, match=r"BertModel\.from_pretrained"):
        models.BertModel("bert-base-uncased")
    with pytest.raises(ValueError, match="activation: unknown name 'golu'; expected one of gelu, "):
        models.BertModel(config(models, "BertModel", hidden_act="golu"))


def test_every_parameter_begins_once():
    """One draw each, in the model with a head as in the model without; shared ones are drawn as the table."""
    minigrad.manual_seed(3)
    model = models.BertForMaskedLM(config(models, "BertForMaskedLM", hidden_size=64))
    table = model.bert.embeddings.word_embeddings.weight
    assert model.cls["predictions"].decoder.weight is table
    assert not np.any(table[0].detach().numpy()) and 0.015 < float(table[1:].detach().std()) < 0.025
    assert all(
        np.all(p.detach().numpy() == n.endswith("weight")) for n, p in model.named_parameters() if p.ndim == 1
    )
    minigrad.manual_seed(3)
    gpt = models.GPT2Model(config(models, "GPT2Model", n_embd=64, n_layer=8)).h[0].attn
    assert 3.5 < float(gpt.c_attn.weight.detach().std() / gpt.c_proj.weight.detach().std()) < 4.5  # √(2 · 8)
    minigrad.manual_seed(3)
    alone = models.BertModel(config(models, "BertModel", hidden_size=64), add_pooling_layer=False)
    assert np.array_equal(alone.embeddings.word_embeddings.weight.detach(), table.detach())


@pytest.mark.parametrize(
    "name",
    [
        "BertForSequenceClassification",
        "DistilBertForSequenceClassification",
        "RobertaForMaskedLM",
        "GPT2LMHeadModel",
    ],
)
def test_a_compiled_step_gives_the_same_numbers(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)

    def step(*values):
        loss = model(**dict(zip(given, values, strict=True))).loss
        loss.backward()
        return loss

    arguments = [minigrad.tensor(v) for v in given.values()]
    plain = step(*arguments).item()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    compiled = minigrad.compile(step)
    for _ in range(2):
        model.zero_grad()
        assert np.isclose(compiled(*arguments).item(), plain)
    for n, p in model.named_parameters():
        assert np.allclose(p.grad, gradients[n], rtol=1e-9, atol=1e-12), n
