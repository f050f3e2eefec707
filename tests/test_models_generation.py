"""Writing text: what is drawn by chi-square, beams beside every text there is, ends, streams, what a step costs."""

from __future__ import annotations

import copy
import itertools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from decoder_calls import make

import minigrad
from minigrad import models, nn
from minigrad.models import generation
from minigrad.models.generation import min_p_of, next_token_logits, repetition_penalised, top_k_of, top_p_of
from minigrad.models.outputs import HeadOutput


class Table(nn.Module, generation.Generation):
    """A model whose next token depends on the last one alone, by a table of logits (V, V)."""

    def __init__(self, logits, eos=None, positions=64):
        super().__init__()
        self.table = nn.Parameter(minigrad.tensor(logits))
        self.config = models.LlamaConfig(
            vocab_size=len(logits), eos_token_id=eos, max_position_embeddings=positions
        )

    def forward(self, ids, attention_mask=None, position_ids=None, *, cache=None, logits_to_keep=0):
        if cache is not None:
            cache.advance(ids.shape[1])
        return HeadOutput(None, self.table[ids][:, -logits_to_keep:])

    def new_cache(self, batch, length, **how):
        return nn.KVCache(1, batch, 1, length, 1, **how)


class Letters:
    """Token k is the k-th letter; 25 and above are bytes of one character of two bytes."""

    def __call__(self, text):
        return {"input_ids": [ord(c) - ord("a") for c in text]}

    def decode(self, ids, skip_special_tokens=False):
        raw = b"".join(
            bytes([0xC3]) if i == 25 else bytes([0xA4]) if i == 26 else bytes([97 + i]) for i in ids
        )
        return raw.decode("utf-8", errors="replace")


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def chain(text):
    """A table that writes this text, letter after letter."""
    ids = [ord(c) - ord("a") for c in text]
    logits = np.zeros((28, 28))
    for a, b in itertools.pairwise(ids):
        logits[a, b] = 9.0
    return Table(logits)


# ---- the choice of a token -------------------------------------------------------------------------------


def by_hand(logits, ids, temperature=1.0, top_k=None, top_p=None, min_p=None, repetition_penalty=1.0):
    """The probabilities of one row, in loops."""
    z = [x / repetition_penalty if i in ids and x > 0 else x * repetition_penalty if i in ids else x
         for i, x in enumerate(logits)]  # fmt: skip
    z = [x / temperature for x in z]
    if top_k is not None:
        least = sorted(z)[-min(top_k, len(z))]
        z = [x if x >= least else -math.inf for x in z]
    if top_p is not None:
        total, kept, mass = sum(map(math.exp, z)), set(), 0.0
        for i in sorted(range(len(z)), key=lambda i: -z[i]):
            if mass >= top_p:
                break
            kept.add(i)
            mass += math.exp(z[i]) / total
        z = [x if i in kept else -math.inf for i, x in enumerate(z)]
    if min_p is not None:
        z = [x if math.exp(x) >= min_p * math.exp(max(z)) else -math.inf for x in z]
    total = sum(map(math.exp, z))
    return [math.exp(x) / total for x in z]


WAYS = [
    {}, {"temperature": 0.5}, {"top_k": 3}, {"top_k": 99}, {"top_p": 0.6}, {"min_p": 0.3}, {"repetition_penalty": 1.7},
    {"temperature": 1.5, "top_k": 5, "top_p": 0.8, "min_p": 0.2, "repetition_penalty": 1.2},
]  # fmt: skip


@pytest.mark.parametrize("how", WAYS, ids=str)
def test_the_distribution_is_its_definition(how):
    logits, ids = 2 * drawn(4, 7), np.array([[0, 1], [2, 2], [3, 6], [5, 4]])
    found = next_token_logits(minigrad.tensor(logits), minigrad.tensor(ids), **how).softmax(-1).numpy()
    for row in range(4):
        np.testing.assert_allclose(found[row], by_hand(logits[row], ids[row], **how), rtol=1e-9, atol=1e-12)


def test_the_first_of_the_nucleus_and_of_the_largest_are_always_kept():
    logits = minigrad.tensor([[5.0, 1.0, 0.0]])
    assert top_p_of(logits, 0.01).isfinite().tolist() == [[True, False, False]]
    assert min_p_of(logits, 1.0).isfinite().tolist() == [[True, False, False]]
    assert top_k_of(logits, 1).isfinite().tolist() == [[True, False, False]]
    mask = minigrad.tensor([[0, 1]])
    assert repetition_penalised(logits, minigrad.tensor([[0, 1]]), 2.0, mask).tolist() == [[5.0, 0.5, 0.0]]


@pytest.mark.parametrize("how", WAYS, ids=str)
def test_draws_have_that_distribution_by_chi_square(how):
    logits = drawn(6, 6, seed=1)
    model = Table(logits)
    n = 4000
    out = model.generate(np.full((n, 1), 2), max_new_tokens=1, do_sample=True, generator=5, **how)
    counts = np.bincount(out[:, 1].numpy(), minlength=6)
    expected = n * np.array(by_hand(logits[2], [2], **how))
    assert not counts[expected == 0].any()
    there = expected > 0
    statistic = ((counts - expected)[there] ** 2 / expected[there]).sum()
    assert statistic < 25  # 5 degrees of freedom at most: p > 1e-4


def test_a_seed_says_what_is_drawn():
    model = Table(drawn(9, 9))
    draw = lambda seed: model.generate([[1], [2]], max_new_tokens=12, do_sample=True, generator=seed).tolist()  # noqa: E731
    assert draw(1) == draw(1) and draw(1) != draw(2)
    several = model.generate([[1]], max_new_tokens=12, do_sample=True, generator=1, num_return_sequences=3)
    assert several.shape == (3, 13) and len({tuple(r) for r in several.tolist()}) == 3


# ---- beams -----------------------------------------------------------------------------------------------


def texts_by_score(logits, start, eos, new, length_penalty):
    """Every text of at most ``new`` tokens, ended or cut off, with its score, the best first."""
    shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = []

    def go(text, score):
        for t in range(len(logits)):
            more, total = (*text, t), score + shares[text[-1] if text else start, t]
            if t == eos or len(more) == new:
                found.append((total / len(more) ** length_penalty, more))
            else:
                go(more, total)

    go((), 0.0)
    return sorted(found, reverse=True)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_beams_wide_enough_find_the_best_texts_there_are(seed, length_penalty):
    logits = 1.5 * drawn(4, 4, seed=seed)
    new, beams = 4, 4**4
    model = Table(logits, eos=3)
    for start in range(3):
        every = texts_by_score(logits, start, 3, new, length_penalty)
        scores = {text: score for score, text in every}
        found = model.generate([[start]], max_new_tokens=new, num_beams=beams, num_return_sequences=5,
                               length_penalty=length_penalty, pad_token_id=0)  # fmt: skip
        rows = [tuple(row[1:]) for row in found.tolist()]
        texts = [row[: row.index(3) + 1] if 3 in row else row for row in rows]
        assert all(not any(row[len(text) :]) for row, text in zip(rows, texts, strict=True))
        assert len(set(texts)) == 5  # of equal ones, any
        np.testing.assert_allclose([scores[t] for t in texts], [score for score, _ in every[:5]], rtol=1e-5)


def test_one_row_of_beams_is_not_moved_by_another():
    model = make(models, minigrad.tensor, "Llama")
    prompts = [[9, 10, 11, 12], [20, 21], [30]]
    together = model.generate(prompts, max_new_tokens=8, num_beams=3)
    for prompt, row in zip(prompts, together.tolist(), strict=True):
        alone = model.generate([prompt], max_new_tokens=8, num_beams=3)[0].tolist()[len(prompt) :]
        assert row[4 : 4 + len(alone)] == alone


# ---- ends ------------------------------------------------------------------------------------------------


def test_a_row_ends_at_any_of_the_ends_and_the_batch_with_its_last_row():
    logits = np.zeros((6, 6))
    for a, b in ((0, 1), (1, 2), (2, 3), (4, 5), (5, 4), (3, 0)):
        logits[a, b] = 9.0
    model = Table(logits, eos=[3, 5])
    assert model.generate([[0], [4]], max_new_tokens=9, pad_token_id=0).tolist() == [
        [0, 1, 2, 3],
        [4, 5, 0, 0],
    ]
    assert model.generate([[4]], max_new_tokens=3, eos_token_id=None).tolist() == [[4, 5, 4, 5]]
    assert [t.tolist() for t in model.stream([[0], [4]], max_new_tokens=9, pad_token_id=1)] == [
        [[1], [5]], [[2], [1]], [[3], [1]],
    ]  # fmt: skip


def test_stop_strings_end_a_row_and_are_not_streamed():
    model, letters = chain("thequickbrown"), Letters()
    out = model.generate(
        [letters("t")["input_ids"]], max_new_tokens=12, stop_strings="ick", tokenizer=letters
    )
    assert letters.decode(out[0].tolist()) == "thequick"
    pieces = list(model.stream_text(letters, "t", max_new_tokens=12, stop_strings=["zz", "ick"]))
    assert "".join(pieces) == "hequ"
    pieces = list(model.stream_text(letters, "t", max_new_tokens=12, stop_strings="own!"))
    assert "".join(pieces) == "hequickbrown"


def test_a_character_is_streamed_whole():
    logits = np.zeros((28, 28))
    for a, b in ((0, 25), (25, 26), (26, 1), (1, 25)):
        logits[a, b] = 9.0
    assert list(Table(logits).stream_text(Letters(), "a", max_new_tokens=5)) == ["ä", "b", "ä"]
    assert list(Table(logits).stream_text(Letters(), "a", max_new_tokens=4)) == ["ä", "b", "�"]


# ---- what it costs ---------------------------------------------------------------------------------------


def test_every_token_is_read_once_with_a_cache_and_anew_for_each_without(monkeypatch):
    model, read = Table(drawn(5, 5)), []
    plain = Table.next_logits
    monkeypatch.setattr(
        Table, "next_logits", lambda self, ids, **how: (read.append(ids.numel()), plain(self, ids, **how))[1]
    )
    model.generate([[1, 2, 3]], max_new_tokens=30, use_cache=False)
    assert read == list(range(3, 33))
    monkeypatch.undo()
    positions = []
    for _ in model.stream([[1, 2, 3]], max_new_tokens=30):
        positions.append(int(model._latest.kept.cache.position))
    assert positions == list(range(3, 33))


def test_a_step_is_compiled_once_and_used_again():
    model = make(models, minigrad.tensor, "Llama")
    first = model.generate([[1, 9, 8], [3]], max_new_tokens=12)
    step = model._latest.kept.step
    assert step.retraces == 0
    again = model.generate([[1, 9, 8], [3]], max_new_tokens=12)
    model.generate([[4, 9, 8, 7, 6], [3, 2]], max_new_tokens=9)
    assert model._latest.kept.step is step and step.retraces == 0 and (first == again).all()
    model.lm_head.weight.data.mul_(-1.0)
    assert (model.generate([[1, 9, 8], [3]], max_new_tokens=12) != first).any()
    other = copy.deepcopy(model)
    assert other._latest.kept is None
    assert (other.generate([[4]], max_new_tokens=4) == model.generate([[4]], max_new_tokens=4)).all()


def test_texts_written_at_a_time_do_not_mix():
    model = make(models, minigrad.tensor, "Llama")
    prompts = [[[1, 9, 8]], [[3, 30, 20]]]
    alone = [model.generate(p, max_new_tokens=9)[:, 3:].tolist() for p in prompts]
    together = zip(*(model.stream(p, max_new_tokens=9) for p in prompts), strict=True)
    assert [minigrad.cat(s, 1).tolist() for s in zip(*together, strict=True)] == alone
    left = model.stream(prompts[0], max_new_tokens=9)
    next(left)  # and is left there
    assert model.generate(prompts[1], max_new_tokens=9)[:, 3:].tolist() == alone[1]
    left.close()


@pytest.fixture
def impatient():
    """Threads that take turns a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_write_at_a_time_have_a_cache_each(impatient):
    prompts = [[[1, 9, 8]], [[3, 30, 20]]]
    with ThreadPoolExecutor(2) as threads:
        for trial in range(6):
            model = make(models, minigrad.tensor, "Llama")
            alone = [model.generate(p, max_new_tokens=9).tolist() for p in prompts]
            model = copy.deepcopy(model)  # nothing is kept, nothing compiled
            write = partial(model.generate, max_new_tokens=9)
            found = threads.map(lambda p, write=write: [write(p).tolist() for _ in range(3)], prompts)
            assert list(found) == [[a] * 3 for a in alone], trial


def test_a_stream_of_an_encoder_and_decoder_records_no_gradients(monkeypatch):
    model, met = make(models, minigrad.tensor, "T5"), []
    begun = type(model).begun
    monkeypatch.setattr(type(model), "begun", lambda *a: met.append(begun(*a)) or met[-1])
    tokens = list(model.stream([[9, 10, 11]], max_new_tokens=4, eos_token_id=None))
    (_, _, context), *_ = met
    assert len(context) > 1 and not any(t.requires_grad for t in context)
    whole = model.generate([[9, 10, 11]], max_new_tokens=4, eos_token_id=None)
    assert minigrad.cat(tokens, 1).tolist() == whole[:, 1:].tolist()


def test_a_text_longer_than_the_positions_is_made_of_its_end():
    model = make(models, minigrad.tensor, "Llama")
    long = model.generate([[5, 6, 7]], max_new_tokens=40)[0]
    assert (
        len(long) == 43 and (long == model.generate([[5, 6, 7]], max_new_tokens=40, use_cache=False)[0]).all()
    )
    for t in range(33, 43):
        assert model(long[None, t - 32 : t]).logits[0, -1].argmax() == long[t]
    ids = [*range(8, 40), 8, 9, 10]
    assert model.generate([ids], max_new_tokens=2)[0, 35] == model(np.array([ids[3:]])).logits[0, -1].argmax()


# ---- what can't be ---------------------------------------------------------------------------------------

PLAIN = Table(drawn(5, 5))


@pytest.mark.parametrize(("says", "prompt", "how"), [
    ("temperature to be a number above 0", [[1]], {"do_sample": True, "temperature": 0.0}),
    ("top_k to be at least 1", [[1]], {"top_k": 0}),
    (r"top_p to be a number in \(0, 1\]", [[1]], {"top_p": 1.5}),
    (r"min_p to be a number in \[0, 1\]", [[1]], {"min_p": -1}),
    ("repetition_penalty to be", [[1]], {"repetition_penalty": 0}),
    ("max_new_tokens to be at least 1, got 0", [[1]], {"max_new_tokens": 0}),
    ("num_beams to be at least 1", [[1]], {"num_beams": 0}),
    ("beams are not sampled", [[1]], {"num_beams": 2, "do_sample": True}),
    ("at most num_beams 2", [[1]], {"num_beams": 2, "num_return_sequences": 3}),
    ("the likeliest text is one", [[1]], {"num_return_sequences": 2}),
    ("stop_strings need the tokenizer", [[1]], {"stop_strings": "a"}),
    ("at least one character", [[1]], {"stop_strings": [""], "tokenizer": Letters()}),
    ("an empty prompt", [[]], {}),
    ("an empty prompt", [[1], []], {}),
    ("an empty prompt", np.zeros((1, 0), int), {}),
    ("prompts as integers", np.ones((1, 2)), {}),
    ("prompts as integers", np.ones(2, int), {}),
    ("attention_mask of shape", [[1]], {"attention_mask": np.ones((1, 2), int)}),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(says, prompt, how):
    with pytest.raises(ValueError, match=says):
        PLAIN.generate(prompt, **how)


def test_a_stream_of_beams_is_refused():
    with pytest.raises(ValueError, match="known at the end only"):
        PLAIN.stream([[1]], num_beams=2)
    with pytest.raises(ValueError, match="empty prompt"):
        list(PLAIN.stream([[]]))
