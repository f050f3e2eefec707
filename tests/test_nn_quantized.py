"""int8 weights: within half a step, shared once, near the float model, in the kernel as in its twin."""

import weakref

import numpy as np
import pytest
from decoder_calls import make
from model_calls import inputs
from model_calls import make as make_encoder

import minigrad
from minigrad import models, nn
from minigrad.nn import quantized
from minigrad.nn.quantized import int8_weight


def drawn(*shape, seed=0):
    return minigrad.tensor(np.random.default_rng(seed).standard_normal(shape))


def test_a_weight_is_within_half_a_step_of_its_row():
    w = drawn(5, 7)
    w[3] = 0.0
    steps, scale = int8_weight(w)
    assert steps.dtype is minigrad.int8 and steps.shape == (5, 7)
    np.testing.assert_allclose(scale.numpy(), w.abs().amax(1).numpy() / 127)
    error = (steps.double() * scale[:, None] - w).abs()
    assert (error <= 0.5001 * scale[:, None]).all() and (steps[3] == 0).all()
    assert (steps.abs().amax(1)[[0, 1, 2, 4]] == 127).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_the_float_layer_of_the_rounded_weight(bias):
    layer = nn.Linear(6, 4, bias=bias).double()
    model = nn.quantize_int8(nn.Sequential(layer))
    rounded = model[0].steps.double() * model[0].scale[:, None]
    x = drawn(3, 2, 6).requires_grad_()
    expected = nn.functional.linear(x, rounded, layer.bias)
    np.testing.assert_allclose(model(x).detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    (a,) = minigrad.autograd.grad(model(x).square().sum(), x)
    (b,) = minigrad.autograd.grad(expected.square().sum(), x)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    assert (
        not list(model.parameters())
        and repr(model[0]) == f"Int8Linear(in_features=6, out_features=4, bias={bias})"
    )


def test_a_table_is_the_float_table_of_the_rounded_rows():
    table = nn.Embedding(5, 3, padding_idx=0)
    model = nn.quantize_int8(nn.Sequential(table))
    ids = minigrad.tensor([[0, 4], [2, 2]])
    rounded = model[0].steps.float() * model[0].scale[:, None]
    assert (model(ids) == rounded[ids]).all() and (model(ids)[0, 0] == 0).all()


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "Qwen2", "T5"])
def test_a_quantised_decoder_says_nearly_the_same(name):
    from decoder_calls import inputs as prompts

    model, given = make(models, minigrad.tensor, name), prompts(name)
    ids, mask = (minigrad.tensor(v) for v in given.values())
    with minigrad.no_grad():
        ids, mask, context = model.begun(ids, mask)
        before = model.next_logits(ids, *context)
        size = sum(p.numel() for p in model.parameters() if p.ndim == 2)
        assert nn.quantize_int8(model) is model
        ids, mask, context = model.begun(*(minigrad.tensor(v) for v in given.values()))
        after = model.next_logits(ids, *context)
    error = float((before - after).abs().max()) / float(before.abs().max())
    assert 0 < error < 0.05
    kinds = {type(m).__name__ for m in model.modules()}
    assert "Linear" not in kinds and "Conv1D" not in kinds and "Embedding" not in kinds
    tables = {id(b): b for n, b in model.named_buffers() if n.endswith("steps")}
    assert sum(b.numel() for b in tables.values()) == size  # tied ones once
    assert model.generate(given["input_ids"], given["attention_mask"], max_new_tokens=4).shape[0] == 3
    with pytest.raises(RuntimeError, match=r"save the float model, and load it with quantize='int8'"):
        model.save_pretrained("nowhere")


def test_a_float_weight_goes_when_its_int8_form_has_come(monkeypatch):
    made = nn.Sequential(
        *[nn.Linear(4, 4) for _ in range(3)], nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    )
    made[4].weight = made[3].weight  # tied: stays until the last place is done
    weights = [weakref.ref(layer.weight) for layer in made]
    monkeypatch.setattr(
        quantized, "int8_weight", lambda w: seen.append([r() is None for r in weights]) or int8_weight(w)
    )
    seen = []
    nn.quantize_int8(made)
    assert seen == [[i > j for j in range(5)] for i in range(4)]
    assert made[3].steps is made[4].steps and all(r() is None for r in weights)


def test_an_encoder_is_quantised_by_one_argument(tmp_path):
    name = "BertForSequenceClassification"
    model, given = make_encoder(models, minigrad.tensor, name).float(), inputs(name)
    model.save_pretrained(tmp_path)
    small = models.from_pretrained(tmp_path, quantize="int8")
    a, b = model(**given).logits.detach(), small(**given).logits.detach()
    assert 0 < float((a - b).abs().max()) < 0.1 * float(a.abs().max())
    with pytest.raises(ValueError, match="expected quantize to be None or 'int8', got 'int4'"):
        models.from_pretrained(tmp_path, quantize="int4")


@pytest.mark.parametrize("rows", [(), (1,), (2, 4)])
@pytest.mark.parametrize(("ins", "outs"), [(1, 1), (15, 3), (16, 16), (17, 5), (300, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_kernel_is_its_twin(rows, ins, outs, bias):
    pytest.importorskip("numba")
    x, b = drawn(*rows, ins).float(), drawn(outs, seed=2).float() if bias else None
    layer = nn.Int8Linear.of(*int8_weight(drawn(outs, ins, seed=1).float()), b)
    with minigrad.kernels("off"):
        expected = layer(x).numpy()
    with minigrad.kernels("auto", wait=True):
        told = minigrad.explain(layer, x)
    assert (told.choices[0].ran == "numba") == (x.numel() >= 64)
    np.testing.assert_allclose(told.result.numpy(), expected, rtol=2e-5, atol=2e-5)
    many = drawn(9, 40, seed=3).float()
    wide = nn.Int8Linear.of(*int8_weight(drawn(3, 40).float()), None)
    assert minigrad.explain(wide, many).choices[0].why


def test_code_that_uses_a_weight_itself_gets_its_floats():
    minigrad.manual_seed(0)
    c = models.TransformerConfig(
        vocab_size=20, d_model=16, num_heads=2, d_ff=32, num_layers=2, max_position_embeddings=24
    )
    model = models.TransformerForTranslation(c).eval()  # whose output layer is the table of words
    ids, target = np.arange(3, 9)[None], np.arange(5, 8)[None]
    before = model(ids, decoder_input_ids=target).logits.detach()
    after = nn.quantize_int8(model)(ids, decoder_input_ids=target).logits.detach()
    assert 0 < float((before - after).abs().max()) < 0.1 * float(before.abs().max())


def test_what_is_no_matrix_of_floats_is_refused():
    with pytest.raises(ValueError, match=r"a matrix of floats, got int64 \(2, 2\)"):
        int8_weight(minigrad.ones(2, 2).long())
    with pytest.raises(ValueError, match="a matrix of floats"):
        int8_weight(minigrad.ones(2))
