"""Models that write text: beside transformers' kept numbers, causality, caches, what can't be. Sampling: test_models_generation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from decoder_calls import DECODERS, NEW, WAYS, WORDS, config, inputs, make, ran, written
from transformers_answers import DECODERS_KEPT, print_of

import minigrad
from minigrad import models, nn

KEPT = json.loads(DECODERS_KEPT.read_text())["answers"]
CAUSAL = [name for name, (kind, _) in DECODERS.items() if kind != "T5"]


@pytest.mark.parametrize("name", DECODERS)
def test_numbers_and_gradients_are_those_kept_of_transformers(name):
    ours, kept = ran(models, minigrad.tensor, name), KEPT[name]["numbers"]
    assert ours.keys() == kept.keys()
    for key, (shape, *sums) in kept.items():
        got_shape, *got = print_of(ours[key])
        assert got_shape == shape and np.allclose(got, sums, rtol=1e-5, atol=2e-5), key


@pytest.mark.parametrize("name", DECODERS)
def test_weights_that_are_asked_for_change_nothing_and_sum_to_one_where_something_is_seen(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    there = given["attention_mask"].astype(bool)
    if DECODERS[name][0] == "T5":
        given["decoder_input_ids"] = given["input_ids"]
    plain, asked = model(**given), model(**given, output_attentions=True)
    np.testing.assert_allclose(plain.logits.detach()[there], asked.logits.detach()[there], rtol=0, atol=1e-12)
    kinds = [k for k in asked._fields if k.endswith("attentions") and getattr(asked, k) is not None]
    assert len(kinds) == (3 if DECODERS[name][0] == "T5" else 1)
    assert all(getattr(plain, k) is None and len(getattr(asked, k)) == 2 for k in kinds)
    for weights in (
        w.detach().numpy() for k in kinds if k != "decoder_attentions" for w in getattr(asked, k)
    ):
        assert (weights.transpose(0, 3, 1, 2)[~there] == 0).all()  # padding is not looked at
        sums = weights.sum(-1).transpose(0, 2, 1)[there]
        np.testing.assert_allclose(sums, 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", DECODERS)
def test_texts_are_those_kept_of_transformers_with_a_cache_and_without(name, way):
    kept = KEPT[name][way]
    assert written(models, minigrad.tensor, name, way).tolist() == kept
    assert written(models, minigrad.tensor, name, way, use_cache=False).tolist() == kept


@pytest.mark.parametrize("name", CAUSAL)
def test_a_token_cannot_see_those_after_it(name):
    model = make(models, minigrad.tensor, name)
    ids = minigrad.tensor(inputs(name)["input_ids"][:1])
    table = model.get_submodule("transformer.wte" if name.startswith("GPT-2") else "model.embed_tokens")
    seen = []
    handle = table.register_forward_hook(lambda m, i, out: seen.append(out) or out)
    logits = model(ids).logits
    handle.remove()
    (words,) = seen
    window = getattr(model.config, "window", None)
    for t in range(ids.shape[1]):
        (grad,) = minigrad.autograd.grad(logits[:, t].square().sum(), words, retain_graph=True)
        moves = (grad[0] != 0).any(-1).tolist()
        reach = ids.shape[1] if window is None else (window - 1) * model.config.num_hidden_layers + 1
        assert moves == [t - reach < i <= t for i in range(ids.shape[1])]


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("sizes", [(9,), (1,) * 9, (4, 1, 3, 1), (2, 7)], ids=str)
def test_reading_in_pieces_with_a_cache_gives_the_same_logits(name, sizes):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    there = given["attention_mask"].astype(bool)
    ids, mask = minigrad.tensor(given["input_ids"]), minigrad.tensor(given["attention_mask"])
    with minigrad.no_grad():
        whole = model(ids, mask, (mask.cumsum(1) - 1).clamp(min=0)).logits.numpy()
        cache = model.new_cache(3, 16, start=9 - mask.sum(1), chunk=7)
        if max(sizes) > cache.chunk:
            with pytest.raises(ValueError, match="at most 7 tokens at a time"):
                model(ids, cache=cache)
            return
        pieces = minigrad.cat([model(part, cache=cache).logits for part in ids.split(sizes, 1)], 1).numpy()
    np.testing.assert_allclose(pieces[there], whole[there], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", DECODERS)
def test_a_prompt_is_written_on_alone_as_in_a_batch(name):
    model, given = make(models, minigrad.tensor, name), inputs(name)
    together = written(models, minigrad.tensor, name, "greedy")
    for row, mask in enumerate(given["attention_mask"].astype(bool)):
        alone = model.generate(given["input_ids"][row : row + 1, mask], max_new_tokens=NEW).numpy()[0]
        new = alone[-(len(alone) - (1 if DECODERS[name][0] == "T5" else mask.sum())) :]
        start = 1 if DECODERS[name][0] == "T5" else given["input_ids"].shape[1]
        assert together[row, start : start + len(new)].tolist() == new.tolist()


@pytest.mark.parametrize("name", ["Llama", "T5"])
def test_an_int8_cache_changes_little(name):
    model, given = (
        make(models, minigrad.tensor, name),
        {k: minigrad.tensor(v) for k, v in inputs(name).items()},
    )
    ids, mask, context = model.begun(**dict(zip(("ids", "mask"), given.values(), strict=True)))
    found = []
    with minigrad.no_grad():
        for quantized in (False, True):
            cache = model.new_cache(3, 16, start=ids.shape[1] - mask.sum(1), quantized=quantized)
            found.append(model.next_logits(ids, *context, cache=cache).numpy())
    assert 0 < np.abs(found[0] - found[1]).max() < 0.05 * np.abs(found[0]).max()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_source_is_translated_alone_as_in_a_batch(side):
    minigrad.manual_seed(0)
    model = models.TransformerForTranslation(models.TransformerConfig(
        vocab_size=20, d_model=16, num_heads=2, d_ff=32, num_layers=2, max_position_embeddings=24, eos_token_id=None
    )).eval()  # fmt: skip
    rows = [[5, 9, 3, 17, 4, 8], [7, 11], [4, 4, 12, 6]]
    pads = [[0] * (6 - len(r)) for r in rows]
    ids = [p + r if side == "left" else r + p for r, p in zip(rows, pads, strict=True)]
    mask = [[int(t != 0) for t in row] for row in ids]
    together = model.generate(minigrad.tensor(ids), minigrad.tensor(mask), max_new_tokens=8)
    for row, written_row in zip(rows, together, strict=True):
        logits = model(minigrad.tensor([row]), None, written_row[None, :-1]).logits[0]
        assert logits.argmax(-1).tolist() == written_row[1:].tolist()


def test_the_transformer_reads_and_learns_and_its_cache_changes_nothing():
    minigrad.manual_seed(0)
    for norm_first in (False, True):
        c = models.TransformerConfig(vocab_size=20, d_model=16, num_heads=2, d_ff=32, num_layers=2, dropout=0.0,
                                     label_smoothing=0.0, norm_first=norm_first, max_position_embeddings=24)  # fmt: skip
        model = models.TransformerForTranslation(c)
        rng = np.random.default_rng(0)
        source = rng.integers(3, 20, (16, 6))
        target = np.concatenate(
            [source[:, ::-1], np.full((16, 1), 2)], 1
        )  # the source backwards, and its end
        optimizer = minigrad.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(150):
            optimizer.zero_grad()
            loss = model(source, labels=target).loss
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.1
        for how in ({}, {"num_beams": 3}):
            found = model.generate(source, max_new_tokens=9, **how)
            assert found[:, 1:8].tolist() == target.tolist()
            assert model.generate(source, max_new_tokens=9, use_cache=False, **how).tolist() == found.tolist()
        mask = np.array([[1] * 4 + [0] * 2] * 16)
        short = model.generate(source[:, :4], max_new_tokens=9)
        assert model.generate(source, mask, max_new_tokens=9).tolist() == short.tolist()
        out = model(source, labels=target, output_attentions=True)
        for kind, shape in (("encoder", (6, 6)), ("decoder", (7, 7)), ("cross", (7, 6))):
            found = getattr(out, f"{kind}_attentions")
            assert [tuple(a.shape) for a in found] == [(16, 2, *shape)] * 2
            np.testing.assert_allclose(found[1].detach().sum(-1).numpy(), 1.0, rtol=1e-5)
        assert not out.decoder_attentions[0].triu(1).any()


@pytest.mark.parametrize(("changes", "says"), [
    ({"num_attention_heads": 3, "head_dim": None}, "not a multiple"),
    ({"num_key_value_heads": 3}, r"num_attention_heads \(4\) is not a multiple of num_key_value_heads \(3\)"),
    ({"rope_parameters": {"rope_type": "longrope"}}, "default, linear, llama3, yarn or dynamic, got 'longrope'"),
    ({"hidden_act": "golu"}, "unknown name 'golu'"),
])  # fmt: skip
def test_configurations_that_cannot_be_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        models.LlamaForCausalLM(config(models, "Llama", **changes))


def test_what_a_decoder_cannot_read_is_refused():
    model = make(models, minigrad.tensor, "Llama")
    with pytest.raises(ValueError, match="33 tokens are longer than the model's 32 positions"):
        model(np.ones((1, 33), int))
    with pytest.raises(IndexError, match=f"got {WORDS}"):
        model(np.full((1, 3), WORDS))
    with pytest.raises(ValueError, match="labels: expected the shape of input_ids"):
        model(np.ones((1, 3), int), labels=np.ones((1, 2), int))
    t5 = make(models, minigrad.tensor, "T5")
    with pytest.raises(ValueError, match="expected decoder_input_ids or labels, got neither"):
        t5(np.ones((1, 3), int))
    assert isinstance(model.new_cache(1, 8), nn.KVCache)
