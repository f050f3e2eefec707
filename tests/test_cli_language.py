"""python -m minigrad train shakespeare, and generate: what they leave, how they go on, how they refuse."""

import json
import math
import re

import numpy as np
import pytest

import minigrad
from minigrad import models
from minigrad.data import texts as sets
from minigrad.data.texts import TextSet, Windows, read_labelled, read_text, text_files
from minigrad.jobs import runs, texts
from minigrad.jobs.language import LanguageRecipe
from minigrad.text import Tokenizer

WORDS = "the cat sat on the mat and the dog sat on the log . a fish can not sit on a log or a mat .\n"
TINY = [
    "--layers",
    "1",
    "--heads",
    "2",
    "--width",
    "16",
    "--block-size",
    "8",
    "--batch-size",
    "4",
    "--warmup",
    "2",
]
FAST = [*TINY, "--iterations", "6", "--check-every", "3", "--pictures", "none"]


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sets, "TEXTS", {n: t._replace(mirrors=()) for n, t in sets.TEXTS.items()})
    (tmp_path / "book.txt").write_text(WORDS * 20)


def test_a_text_is_learnt_and_the_folder_tells_of_it(run, tmp_path):
    status, out, err = run("train", "--text", "book.txt", *TINY, "--iterations", "60", "--check-every", "20", "--lr", "1e-2",
                           "--pictures", "svg")  # fmt: skip
    assert status == 0, err
    folder = tmp_path / "runs" / "book"
    assert {f.name for f in folder.iterdir()} >= {
        "run.json", "config.json", "model.safetensors", "characters.json", "checkpoint.safetensors", "history.csv",
        "history.json", "curves.svg",
    }  # fmt: skip
    told = json.loads((folder / "run.json").read_text())
    loss = told["results"]["validation_loss"]
    assert loss < 0.75 * math.log(len(set(WORDS))) and told["recipe"]["iterations"] == 60
    assert told["results"]["perplexity"] == pytest.approx(math.exp(loss))
    assert out.count("\n    | ") >= 3  # a sample at every look
    assert re.search(rf"validation loss {loss:.4f} over all", out)
    model, tokenizer = models.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    ids = minigrad.tensor(tokenizer.encode((WORDS * 20)[round(0.9 * 20 * len(WORDS)) :]))
    windows = Windows(ids, 8, 8)
    x, y = windows.collated(range(len(windows)))
    again = minigrad.nn.functional.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())
    assert again.item() == pytest.approx(loss, rel=1e-5)


def test_a_run_that_was_cut_ends_as_if_it_had_not_been(run, tmp_path, monkeypatch):
    assert run("train", "--text", "book.txt", *FAST, "--out", "whole", "--dropout", "0.1")[0] == 0
    from minigrad.train.callbacks import LambdaCallback

    callbacks = runs.callbacks

    def cut(trainer, model, outputs, batch, batch_idx):
        if trainer.global_step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        runs, "callbacks", lambda *a: [*callbacks(*a), LambdaCallback(on_train_batch_end=cut)]
    )
    status, _, err = run("train", "--text", "book.txt", *FAST, "--out", "cut", "--dropout", "0.1")
    assert (
        status == 130
        and "python -m minigrad train shakespeare --resume cut" in err
        and not (tmp_path / "cut/model.safetensors").exists()
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run("train", "shakespeare", "--resume", "cut", "--pictures", "none")[0] == 0
    a, b = (minigrad.io.load_file(tmp_path / f / "model.safetensors") for f in ("whole", "cut"))
    assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


def test_bpe_is_learnt_from_the_text_and_generate_writes(run, tmp_path):
    status, _, err = run(
        "train", "--text", "book.txt", *FAST, "--tokenizer", "bpe", "--vocab-size", "270", "--out", "r"
    )
    assert status == 0, err
    assert (tmp_path / "r" / "tokenizer.json").exists() and models.from_pretrained(
        "r"
    ).config.vocab_size == 270
    options = ["--model", "r", "--prompt", "the cat", "--max-new-tokens", "12", "--seed", "3"]
    status, first, _ = run("generate", *options)
    assert status == 0 and first.startswith("the cat") and len(first) > len("the cat\n")
    assert run("generate", *options)[1] == first
    status, out, err = run("generate", *options, "--json")
    told = json.loads(out)
    assert told["prompt"] + told["text"] + "\n" == first == err and told["tokens"] > 0
    assert run("generate", *options, "--greedy", "--stop", "a")[0] == 0
    status, out, _ = run(
        "generate", "--model", "r", "--prompt", "the", "--beams", "2", "--max-new-tokens", "5"
    )
    assert status == 0 and out.startswith("the")


def test_evaluate_tells_loss_and_perplexity_and_what_int8_changes(run, tmp_path):
    assert run("train", "--text", "book.txt", *FAST, "--out", "r", "--quiet")[0] == 0
    told = json.loads((tmp_path / "r" / "run.json").read_text())["results"]
    status, out, err = run("evaluate", "r", "--int8", "--json")
    found = json.loads(out)
    assert status == 0 and found["loss"] == pytest.approx(told["validation_loss"], rel=1e-5)
    coarse = found["int8"]
    assert coarse["loss"] != found["loss"] and abs(coarse["change"]) < 0.05
    assert coarse["change"] == pytest.approx(coarse["perplexity"] / found["perplexity"] - 1)
    assert f"perplexity {found['perplexity']:.3f}" in err and "with int8 weights" in err
    (tmp_path / "other.txt").write_text(WORDS)
    status, out, _ = run("evaluate", "r", "--data", "other.txt")
    assert status == 0 and f"over {len(WORDS):,} tokens" in out
    assert (
        run("generate", "--model", "r", "--prompt", "a", "--int8", "--max-new-tokens", "3", "--seed", "1")[0]
        == 0
    )


def test_the_learning_rate_rises_and_falls():
    recipe = LanguageRecipe(warmup=10, iterations=110, lr=1.0, min_lr=0.1)
    rates = [recipe.rate(i) for i in range(112)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == 1.0 and rates[60] == pytest.approx(0.55)
    assert rates[110] == rates[111] == pytest.approx(0.1) and max(rates) == 1.0


@pytest.mark.parametrize(("argv", "says"), [
    (["train", "--text", "nowhere.txt"], "nowhere.txt: No such file"),
    (["train", "--text", "empty.txt"], "empty.txt: expected text, got an empty file"),
    (["train", "--text", "latin.txt"], r"latin.txt: not UTF-8: byte 4 \(line 1\) is 0xe9"),
    (["train", "--text", "book.txt", "--width", "10", "--heads", "3"], "--width 10 is not a multiple of --heads 3"),
    (["train", "--text", "book.txt", "--tokenizer", "bp"], "unknown 'bp'; expected one of characters, bpe; did you mean 'bpe'"),
    (["train", "--text", "book.txt", "--iterations", "0"], "--iterations is above 0, got 0"),
    (["train", "--text", "book.txt", "--block-size", "900"], "too short for stretches of 900"),
    (["train", "--text", "book.txt", "--tokenizer", "bpe", "--vocab-size", "9"], "--vocab-size 9"),
    (["train", "shakespeare", "--no-download"], "shakespeare: input.txt not found in: .*--text FILE"),
    (["train", "shakespeare", "--resume", "nothing"], "no run there"),
    (["generate", "--prompt", "a"], "runs/shakespeare"),
    (["generate", "--prompt", ""], "--prompt is empty"),
    (["generate", "--prompt", "a", "--model", "bert"], "BertModel doesn't write text"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(run, tmp_path, argv, says):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf" + b" \xe9\n")
    if "bert" in argv:
        c = models.BertConfig(
            vocab_size=9, hidden_size=4, num_attention_heads=1, num_hidden_layers=1, intermediate_size=4
        )
        models.BertModel(c).save_pretrained(tmp_path / "bert")
    status, _, err = run(*argv)
    assert status == 1 and re.search(says, err) and err.count("\n") == 1 and "Traceback" not in err, err


def test_a_character_that_was_not_in_the_text_is_refused(run):
    assert run("train", "--text", "book.txt", *FAST, "--out", "r")[0] == 0
    status, _, err = run("generate", "--model", "r", "--prompt", "ü")
    assert status == 1 and "'ü'" in err


def test_shakespeare_is_found_or_fetched_against_its_hash(tmp_path, monkeypatch):
    text = b"To be, or not to be\n"
    digest = __import__("hashlib").sha256(text).hexdigest()
    monkeypatch.setitem(
        sets.TEXTS, "shakespeare", TextSet({"input.txt": digest}, ((tmp_path / "there").as_uri() + "/",), {})
    )
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "input.txt").write_bytes(text)
    found = text_files("shakespeare")["input.txt"]
    assert (
        found == tmp_path / "cache" / "minigrad" / "shakespeare" / "input.txt" and found.read_bytes() == text
    )
    (tmp_path / "mine" / "shakespeare").mkdir(parents=True)
    (tmp_path / "mine" / "shakespeare" / "input.txt").write_text("mine")
    assert read_text(text_files("shakespeare", tmp_path / "mine")["input.txt"]) == "mine"
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "mine"))
    assert read_text(text_files("shakespeare")["input.txt"]) == "mine"
    with pytest.raises(
        ValueError, match=r"unknown set 'milton'; expected one of \['multi30k', 'shakespeare', 'sst2'\]"
    ):
        text_files("milton")


def test_labelled_lines_in_three_forms(tmp_path):
    forms = {"a": "1 good film\n0 bad film\n", "b": "pos\tgood film\nneg\tbad film\n", "c": "text\tlabel\ngood film\tpos\n\nbad film\tneg\n",
             "d": "\ufefflabel\tsentence\r\npos\tgood film\r\n"}  # fmt: skip
    found = {}
    for name, text in forms.items():
        (tmp_path / name).write_bytes(text.encode())
        found[name] = read_labelled(tmp_path / name)
    assert found["a"] == [("1", "good film"), ("0", "bad film")]
    assert found["b"] == found["c"] == [("pos", "good film"), ("neg", "bad film")]
    assert found["d"] == [("pos", "good film")]
    for text, says in (
        ("a\tb\na\tb\tc\n", "line 2: expected label<TAB>text, got 3 column"),
        ("1 good\n\n0\n", "line 3: expected label text, got 1 column"), ("a\t \n", "line 1"), ("label\ttext\n", "got none"),
    ):  # fmt: skip
        (tmp_path / "bad").write_text(text)
        with pytest.raises(ValueError, match=says):
            read_labelled(tmp_path / "bad")


def test_windows_are_every_stretch_and_what_follows():
    tokens = minigrad.arange(10)
    windows = Windows(tokens, 3)
    assert len(windows) == 7 and [t.tolist() for t in windows[-1]] == [[6, 7, 8], [7, 8, 9]]
    assert [t.tolist() for t in Windows(tokens, 3, 3)[2]] == [[6, 7, 8], [7, 8, 9]] and len(
        Windows(tokens, 3, 3)
    ) == 3
    batch = windows.collated([0, 4])
    for side in (0, 1):
        assert batch[side].tolist() == [windows[i][side].tolist() for i in (0, 4)]
    with pytest.raises(IndexError):
        windows[7]
    with pytest.raises(ValueError, match="10 tokens is too short for stretches of 10"):
        Windows(tokens, 10)
    assert np.array_equal([x[0].item() for x, _ in windows], np.arange(7))


def test_only_matrices_decay():
    model = models.GPT2LMHeadModel(
        models.GPT2Config(vocab_size=9, n_embd=4, n_head=1, n_layer=1, n_positions=4)
    )
    matrices, rest = texts.decayed(model, 0.1)
    assert matrices["weight_decay"] == 0.1 and rest["weight_decay"] == 0.0
    assert all(p.ndim == 2 for p in matrices["params"]) and all(p.ndim == 1 for p in rest["params"])
    assert len(matrices["params"]) + len(rest["params"]) == len(list(model.parameters()))
