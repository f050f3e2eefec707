"""python -m minigrad embed, finetune, and evaluate and predict of what it leaves: on a BERT of a few thousand numbers."""

import io
import json
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad import models
from minigrad.__main__ import main
from minigrad.data.texts import TEXTS, Labelled, LengthBatches, TokenRows, padded_length
from minigrad.jobs import finetuning, runs
from minigrad.models import hub
from minigrad.train.callbacks import LambdaCallback

WORDS = [
    "good",
    "fine",
    "great",
    "bad",
    "poor",
    "dull",
    "a",
    "the",
    "film",
    "play",
    "plot",
    "was",
    "is",
    "very",
    "and",
]
PRAISE, BLAME, REST = WORDS[:3], WORDS[3:6], WORDS[6:]
FAST = ["--epochs", "2", "--batch-size", "8", "--no-compile", "--lr", "0.01", "--pictures", "none"]


def written(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def reviews(count, seed=0, names=("bad", "good"), tab="\t"):
    """Lines whose label says whether a word of praise or of blame is among the others."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        words = list(rng.choice(REST, rng.integers(1, 14)))
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice((BLAME, PRAISE)[i % 2])))
        yield f"{names[i % 2]}{tab}{' '.join(words)}"


def bert(folder, kind="BertModel", **sizes):
    """A small model's folder with its tokenizer, in Hugging Face's layout."""
    folder.mkdir(exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    written(folder / "vocab.txt", vocabulary)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    minigrad.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
             "max_position_embeddings": 24, "vocab_size": len(vocabulary), "initializer_range": 0.3} | sizes  # fmt: skip
    getattr(models, kind)(models.BertConfig(**sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """An empty folder to work in, with a model and texts; no cache, and no network."""
    monkeypatch.chdir(tmp_path)
    for name in ("MINIGRAD_DATA", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MINIGRAD_OFFLINE", "1")
    bert(tmp_path / "bert")
    written(tmp_path / "reviews.tsv", reviews(160))


@pytest.fixture(scope="module")
def reviewer(tmp_path_factory):
    """One run, for the commands that only read it."""
    place = tmp_path_factory.mktemp("made")
    written(place / "reviews.tsv", reviews(160))
    argv = [
        "finetune",
        "--data",
        place / "reviews.tsv",
        "--model",
        bert(place / "bert"),
        "--out",
        place / "run",
        *FAST,
    ]
    assert main([*map(str, argv), "--epochs", "8", "--quiet", "--pictures", "svg"]) == 0
    return place / "run"


# ---- embed -----------------------------------------------------------------------------------------------


def test_embed_shows_the_cosine_of_every_pair(run, tmp_path):
    encoder = models.SentenceEncoder.from_pretrained("bert")
    given = ["the film was good", "a very dull play", "the plot"]
    vectors = encoder.encode(given).astype(np.float64)
    cosines = vectors @ vectors.T
    status, out, _ = run("embed", *given, "--model", "bert")
    rows = [re.findall(r"-?\d\.\d{4}", line) for line in out.splitlines()[2:]]
    assert status == 0 and np.allclose(np.array(rows, float), cosines, rtol=0, atol=6e-5)
    assert [line[3:].split("  ")[0] for line in out.splitlines()[2:]] == given


def test_embed_writes_vectors_json_and_a_picture(run, tmp_path):
    written(tmp_path / "lines.txt", ["the film", "", "a  play", "a dull plot"])
    status, out, err = run(
        "embed", "very good", "--file", "lines.txt", "--model", "bert", "--out", "v.npy", "--pictures", "svg", "--json"
    )  # fmt: skip
    found = json.loads(out)
    assert status == 0 and found["texts"] == ["very good", "the film", "a  play", "a dull plot"]
    vectors = np.load("v.npy")
    assert vectors.shape == (4, 16) and vectors.dtype == np.float32
    assert np.array_equal(np.array(found["embeddings"], np.float32), vectors)
    assert np.allclose(found["similarities"], vectors @ vectors.T, atol=1e-6)
    assert found["files"] == ["v.npy", "v.svg"] and "wrote v.npy, v.svg" in err
    ET.parse("v.svg")


def test_embed_names_the_nearest_of_each_of_many(run, tmp_path, monkeypatch):
    lines = [" ".join(rows) for rows in zip(REST * 2, PRAISE * 6, REST[::-1] * 2, strict=False)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, lines[0] + " and", ""])))
    status, out, _ = run("embed", "--file", "-", "--model", "bert")
    rows = [line.split("  ") for line in out.splitlines()[2:]]
    assert status == 0 and len(rows) == len(lines) + 1
    vectors = models.SentenceEncoder.from_pretrained("bert").encode([*lines, lines[0] + " and"])
    cosines = vectors @ vectors.T - 9 * np.eye(len(vectors))
    assert np.allclose([float(r[0]) for r in rows], cosines.max(1), atol=6e-5)


def test_embed_takes_the_encoder_of_a_classifier(run, tmp_path, reviewer):
    bare = models.from_pretrained(reviewer).bert
    ids = np.array([[2, 5, 3]])
    state = bare(ids, np.ones_like(ids)).last_hidden_state.detach().numpy()[0].mean(0)
    status, out, _ = run("embed", "good", "--model", reviewer, "--json")
    assert status == 0
    assert np.allclose(json.loads(out)["embeddings"][0], state / np.linalg.norm(state), atol=1e-6)


@pytest.mark.parametrize("argv, words", [
    ([], "no text: give some, in quotes"),
    (["a", " "], "text 2 of 2 is empty"),
    (["--file", "empty.txt"], "empty.txt: expected text, got an empty file"),
    (["--file", "latin.txt"], "latin.txt: not UTF-8: byte 2 (line 1) is 0xe9"),
    (["--file", "nowhere.txt"], "nowhere.txt: No such file or directory"),
    (["a", "--model", "nobody/nothing"], "nobody/nothing: not found, and MINIGRAD_OFFLINE=1 forbids asking the hub; looked in: the folder"),
    (["a", "--model", "odd"], "unknown model_type 'odd'; expected one of bert"),
    (["a", "--model", "writer"], "writer: GPT2LMHeadModel writes text; expected an encoder"),
    (["a", "--out", "v.txt"], "--out v.txt: expected a name that ends in .npy"),
    (["a", "--threads", "0"], "--threads is at least 1, got 0"),
    (["a", "--batch-size", "0"], "--batch-size is at least 1, got 0"),
])  # fmt: skip
def test_embed_refuses_in_one_sentence(run, tmp_path, argv, words):
    (tmp_path / "empty.txt").write_bytes(b" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait"[1:])
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text('{"model_type": "odd", "architectures": ["Odd"]}')
    if "writer" in argv:
        bert(tmp_path / "writer")
        models.GPT2LMHeadModel(
            models.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=20)
        ).save_pretrained("writer")
    status, out, err = run("embed", *argv, *([] if "--model" in argv else ["--model", "bert"]))
    assert status == 1 and out == "" and words in err and err.count("\n") == 1


def test_without_network_the_hub_is_named_and_where_it_looked(run, monkeypatch):
    monkeypatch.delenv("MINIGRAD_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    status, _, err = run("embed", "a", "--model", "nobody/nothing")
    assert (
        status == 1
        and "127.0.0.1:9" in err
        and "It was not found before either in: the folder nobody/nothing" in err
    )
    assert err.count("\n") == 1


def test_the_real_model_gives_the_similarities_its_authors_publish(run):
    if hub.find("all-MiniLM-L6-v2").path is None:
        pytest.skip("its weights aren't here")
    status, out, _ = run(
        "embed", "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."
    )
    assert status == 0
    assert [re.findall(r"\d\.\d{4}", line) for line in out.splitlines()[2:]] == [
        ["1.0000", "0.6660", "0.1046"], ["0.6660", "1.0000", "0.1411"], ["0.1046", "0.1411", "1.0000"],
    ]  # fmt: skip


# ---- batches ---------------------------------------------------------------------------------------------


def test_lengths_are_rounded_up_to_few_with_little_padding():
    rounded = [padded_length(n) for n in range(1, 513)]
    assert sorted(set(rounded)) == [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert all(n <= r and (r - n < 8 or r < 1.5 * n) for n, r in enumerate(rounded, 1))


def test_batches_are_of_one_length_or_two_neighbours_and_pass_over_every_item_once():
    lengths = [8] * 10 + [24] * 7 + [16] * 6
    for shuffle in (False, True):
        batches = list(LengthBatches(lengths, 4, shuffle=shuffle))
        assert sorted(i for b in batches for i in b) == list(range(23)) and len(batches) == 6
        assert sorted(map(len, batches)) == [3, 4, 4, 4, 4, 4]
        runs_of = sorted([lengths[i] for i in b] for b in batches)
        assert sum(len(set(b)) > 1 for b in runs_of) <= 2
    passes = [list(LengthBatches(lengths, 4, shuffle=True)) for _ in range(2)]
    assert passes[0] != passes[1]


def test_rows_are_filled_up_and_the_mask_says_where():
    rows = TokenRows([[5, 6], [7] * 9], [1, 0], padding=3)
    ids, mask, labels = rows.collated([1, 0])
    assert ids.tolist() == [[7] * 9 + [3] * 7, [5, 6] + [3] * 14]
    assert mask.sum(1).tolist() == [9, 2] and labels.tolist() == [0, 1]
    assert [x.tolist() for x in rows[0]] == [[5, 6] + [3] * 6, [1, 1] + [0] * 6, 1]
    with pytest.raises(ValueError, match="got 1 texts and 2 labels"):
        TokenRows([[1]], [1, 2])


# ---- finetune --------------------------------------------------------------------------------------------


def test_a_small_bert_learns_and_what_it_leaves_tells_of_it(reviewer):
    found = json.loads((reviewer / "run.json").read_text())
    test = found["results"]["test"]
    assert found["job"] == "classifier" and found["text"]["classes"] == ["bad", "good"]
    assert found["text"]["sizes"] == [144, 16, 16] and test["texts"] == 16
    assert test["accuracy"] >= 0.9 and np.sum(test["confusion"]) == 16
    assert test["f1"] == pytest.approx(np.mean([c["f1"] for c in test["classes"]]))
    wrong = read_labelled_mistakes(reviewer)
    assert len(wrong) == 16 - test["right"] and wrong == sorted(wrong, reverse=True)
    for name in ("curves", "confusion", "attention"):
        ET.parse(reviewer / f"{name}.svg")
    words = [t.text for t in ET.parse(reviewer / "curves.svg").getroot().iter() if t.text]
    assert words.count("learning rate") == 1 and not any(w.startswith("lr") for w in words)


def read_labelled_mistakes(folder):
    lines = (folder / "mistakes.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["probability", "said", "truth", "text"]
    return [float(line.split("\t")[0]) for line in lines[1:]]


def test_finetune_says_what_came_out(run):
    status, out, err = run("finetune", "--data", "reviews.tsv", "--model", "bert", "--json", *FAST)
    found = json.loads(out)
    assert status == 0 and found["run"] == "runs/reviews"
    assert (
        "BertForSequenceClassification from bert" in err
        and "144 texts to learn from, 16 to test with; classes bad, good" in err
    )
    assert re.search(r"truth, said +bad +good\n", err) and "precision  recall      f1" in err
    assert f"{found['test']['right']} of 16 test texts right" in err
    assert [m["probability"] for m in found["mistakes"]] == sorted(
        (m["probability"] for m in found["mistakes"]), reverse=True
    )
    assert ("most wrong, of" in err) == bool(found["mistakes"])


def test_the_learning_rate_rises_and_falls_along_lines():
    recipe = finetuning.ClassifierRecipe(warmup=0.25)
    rates = [recipe.rate(step, 8) for step in range(9)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


def cut_at(monkeypatch, step):
    """Ctrl-C at an optimizer step."""
    usual = runs.callbacks

    def with_cut(folder, options):
        def press(trainer, model, outputs, batch, batch_idx):
            if trainer.global_step == step:
                signal.raise_signal(signal.SIGINT)

        return [*usual(folder, options), LambdaCallback(on_train_batch_end=press)]

    monkeypatch.setattr(runs, "callbacks", with_cut)


@pytest.mark.parametrize("step, compiled", [(7, False), (18, False), (25, True)])
def test_a_run_that_was_cut_within_an_epoch_ends_bit_equal_to_the_uncut_run(
    run, tmp_path, monkeypatch, step, compiled
):
    argv = ["finetune", "--data", "reviews.tsv", "--model", "bert", *FAST, "--epochs", "3"]
    argv += ["--compile"] if compiled else []
    assert run(*argv, "--out", "whole")[0] == 0
    with monkeypatch.context() as m:
        cut_at(m, step)
        status, _, err = run(*argv, "--out", "cut")
    assert status == 130
    assert (
        f"interrupted; saved after step {step}" in err and "python -m minigrad finetune --resume cut" in err
    )
    status, _, err = run("evaluate", "cut")
    assert status == 1 and "the run isn't over: go on with it by finetune --resume cut" in err
    status, _, err = run(
        "finetune", "--resume", "cut", "--pictures", "none", *(["--no-compile"] * (not compiled))
    )
    assert status == 0, err
    whole, cut = ((tmp_path / f / "model.safetensors").read_bytes() for f in ("whole", "cut"))
    assert whole == cut
    assert (tmp_path / "cut/history.csv").read_text() == (tmp_path / "whole/history.csv").read_text()
    results = [
        json.loads((tmp_path / f / "run.json").read_text())["results"]["test"] for f in ("whole", "cut")
    ]
    assert results[0] == results[1]


def test_sst2_is_found_where_it_is_told_to_be(run, tmp_path):
    (tmp_path / "sst2").mkdir()
    for part, count in (("train", 40), ("dev", 8), ("test", 12)):
        written(tmp_path / "sst2" / f"{part}.txt", reviews(count, names="01", tab=" "))
    status, out, _ = run("finetune", "sst2", "--data", tmp_path, "--model", "bert", "--no-download", *FAST)
    assert status == 0 and "40 texts to learn from, 12 to test with; classes negative, positive" in out
    assert "(val_: on 8 others)" in out and Path("runs/sst2/model.safetensors").exists()
    status, out, _ = run("evaluate", "runs/sst2", "--json", "--quiet")
    first = json.loads(out)
    assert (
        first["accuracy"] == json.loads(Path("runs/sst2/run.json").read_text())["results"]["test"]["accuracy"]
    )
    assert len(first["mistakes"]) == 12 - first["right"]


def test_a_test_part_of_ones_own_is_taken_whole(run, tmp_path):
    written(tmp_path / "test.tsv", ["text\tlabel", "a good film\tgood", "", "the plot was bad\tbad"])
    status, out, _ = run("finetune", "--data", "reviews.tsv", "--test", "test.tsv", "--model", "bert", *FAST)
    assert status == 0 and "160 texts to learn from, 2 to test with" in out


def test_the_part_put_aside_has_the_same_share_of_each_label_and_is_the_seeds():
    rows = [Labelled(n, "rare" if n % 10 == 0 else "common", f"text {n}") for n in range(1, 201)]
    recipe = finetuning.ClassifierRecipe(test_share=0.2)
    rest, test = finetuning._split(rows, recipe)
    assert len(test) == 40 and sum(r.label == "rare" for r in test) == 4
    assert sorted(r.line for r in rest + test) == list(range(1, 201))
    assert finetuning._split(rows, recipe) == (rest, test)
    assert finetuning._split(rows, finetuning.ClassifierRecipe(test_share=0.2, seed=1)) != (rest, test)


LINES = list(reviews(30))
RAGGED = [*LINES[:4], "good\ta film\tand more"]


@pytest.mark.parametrize("lines, argv, words", [
    (RAGGED, [], "mine.tsv: line 5: expected label<TAB>text, got 3 column(s): 'good\\ta film\\tand more'"),
    ([*LINES[:2], "", "good"], [], "mine.tsv: line 4: expected label<TAB>text, got 1 column(s): 'good'"),
    ([*LINES[:2], "good\t "], [], "mine.tsv: line 3: expected label<TAB>text"),
    ([], [], "mine.tsv: expected text, got an empty file"),
    (["label\ttext"], [], "mine.tsv: expected lines of label and text, got none"),
    ([line for line in LINES if line.startswith("good")], [], "mine.tsv: every line has the label 'good'; expected at least two labels"),
    ([f"text {k}\tgood" for k in range(120)], [], "120 labels in 120 lines, 'text 0' the first: expected label<TAB>text, or a header"),
    (LINES[:4], [], "4 line(s) are too few to put 10% aside for the test"),
    (LINES, ["--test", "test.tsv"], "test.tsv: line 2: label 'goood' is none of the classes bad, good; did you mean 'good'?"),
    (LINES, ["--test", "nowhere.tsv"], "nowhere.tsv: No such file or directory; check the path"),
    (LINES, ["--model", "nobody/nothing"], "nobody/nothing: not found, and MINIGRAD_OFFLINE=1 forbids asking the hub"),
    (LINES, ["--model", "writer"], "writer: a gpt2 doesn't classify texts here; expected a model for one of BertForSequenceClassification"),
    (LINES, ["--epochs", "0"], "--epochs is above 0, got 0"),
    (LINES, ["--test-share", "1"], "--test-share is from 0 to below 1, got 1.0"),
    (LINES, ["--max-length", "2"], "--max-length is at least 3"),
    (LINES, ["--threads", "0"], "--threads is at least 1, got 0"),
    (None, [], "mine.tsv: No such file or directory; check the path"),
])  # fmt: skip
def test_finetune_refuses_in_one_sentence_before_a_folder_is_made(run, tmp_path, lines, argv, words):
    if lines is not None:
        written(tmp_path / "mine.tsv", lines)
    written(tmp_path / "test.tsv", ["good\ta film", "goood\ta film"])
    (tmp_path / "writer").mkdir()
    models.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=20).save_pretrained("writer")
    (tmp_path / "writer/vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n")
    status, out, err = run(
        "finetune", "--data", "mine.tsv", *([] if "--model" in argv else ["--model", "bert"]), *argv
    )
    assert status == 1 and out == "" and words in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("argv, words", [
    ([], "name a set, one of sst2, or a file of labelled text: --data FILE"),
    (["sst"], "unknown set 'sst': expected one of sst2; did you mean 'sst2'?"),
    (["sst2", "--data", "reviews.tsv"], "--data reviews.tsv: expected the folder to look for sst2 in"),
    (["sst2", "--test", "reviews.tsv"], "--test: sst2 has a test part; leave it out"),
    (["sst2", "--no-download"], "sst2: train.txt, dev.txt, test.txt not found in"),
    (["--data", "bert"], "--data bert: expected a file of labelled text, got a folder"),
    (["--resume", "nowhere"], "nowhere: no run there"),
])  # fmt: skip
def test_finetune_wants_a_text_that_there_is(run, argv, words):
    status, _, err = run("finetune", *argv, *([] if "--resume" in argv else ["--model", "bert"]))
    assert status == 1 and words in err and err.count("\n") == 1


def test_without_network_the_set_is_named_and_where_it_was_looked_for(run, monkeypatch):
    monkeypatch.setitem(TEXTS, "sst2", TEXTS["sst2"]._replace(mirrors=("http://127.0.0.1:9/",)))
    status, _, err = run("finetune", "sst2", "--model", "bert")
    assert status == 1 and err.count("\n") == 1 and "127.0.0.1:9" in err
    assert "it was not found before in: " in err and "or learn from a file of yours: --data FILE" in err


def test_a_run_that_classifies_nothing_is_refused(run, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/run.json").write_text('{"job": "language"}')
    for command in (["predict", "r", "a"], ["finetune", "--resume", "r"]):
        status, _, err = run(*command)
        assert status == 1 and "r/run.json: " in err and "language" in err and err.count("\n") == 1


def test_a_resumed_run_wants_its_own_text_and_recipe(run, tmp_path):
    assert run("finetune", "--data", "reviews.tsv", "--model", "bert", "--out", "r", *FAST)[0] == 0
    for argv, words in (
        (["--lr", "1"], "leave out --lr"),
        (["--data", "reviews.tsv"], "leave out --data"),
        (["sst2"], "leave out the SET"),
    ):
        status, _, err = run("finetune", "--resume", "r", *argv)
        assert status == 1 and words in err
    written(tmp_path / "reviews.tsv", reviews(150))
    status, _, err = run("finetune", "--resume", "r")
    assert status == 1 and "was begun with 144 + 16 + 16 texts, but there are 134 + 16 + 16" in err
    status, _, err = run("finetune", "--data", "reviews.tsv", "--model", "bert", "--out", "r", *FAST)
    assert status == 1 and "there is a run in it already" in err


def test_a_folder_with_a_model_in_it_is_not_written_over(run):
    status, _, err = run("finetune", "--data", "reviews.tsv", "--model", "bert", "--out", "bert", *FAST)
    assert status == 1 and "config.json is there already and would be overwritten" in err


def test_transformers_opens_the_run_with_equal_logits(reviewer):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from beside_transformers import torch, transformers

    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        reviewer, output_loading_info=True
    )
    assert type(theirs).__name__ == "BertForSequenceClassification"
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    ours = models.from_pretrained(reviewer)
    given = [line.split("\t")[1] for line in reviews(9, seed=3)]
    batch = transformers.AutoTokenizer.from_pretrained(reviewer)(given, padding=True, return_tensors="pt")
    mine = minigrad.text.Tokenizer.from_pretrained(reviewer)(given, padding=True, return_tensors="np")
    assert np.array_equal(batch["input_ids"].numpy(), mine["input_ids"])
    with torch.no_grad():
        expected = theirs.eval()(batch["input_ids"], batch["attention_mask"]).logits.numpy()
    logits = ours(mine["input_ids"], mine["attention_mask"]).logits.detach().numpy()
    assert np.allclose(logits, expected, rtol=0, atol=2e-5)


# ---- evaluate and predict --------------------------------------------------------------------------------


def test_evaluate_gives_what_training_ended_with(run, reviewer):
    status, out, _ = run("evaluate", reviewer, "--json", "--quiet")
    found, kept = json.loads(out), json.loads((reviewer / "run.json").read_text())["results"]["test"]
    assert status == 0 and {k: found[k] for k in kept} == kept


def test_evaluate_takes_another_file_and_names_the_line_of_a_label_it_does_not_know(run, reviewer, tmp_path):
    written(tmp_path / "other.tsv", reviews(20, seed=5))
    status, out, _ = run("evaluate", reviewer, "--data", "other.tsv", "--json", "--quiet")
    assert status == 0 and json.loads(out)["texts"] == 20 and json.loads(out)["accuracy"] >= 0.85
    written(tmp_path / "other.tsv", [*reviews(3), "so-so\ta film"])
    status, _, err = run("evaluate", reviewer, "--data", "other.tsv")
    assert status == 1 and "other.tsv: line 4: label 'so-so' is none of the classes bad, good" in err


def test_predict_says_the_class_of_each_text_and_draws_where_it_looked(run, reviewer, tmp_path):
    written(tmp_path / "more.txt", ["a dull plot and a poor film", "", "the play was great"])
    status, out, _ = run(
        "predict", reviewer, "the film was good", "--file", "more.txt", "--top", 2, "--json", "--attention", "a.svg"
    )  # fmt: skip
    found = json.loads(out)["predictions"]
    assert status == 0 and [f["text"] for f in found] == [
        "the film was good",
        "a dull plot and a poor film",
        "the play was great",
    ]
    assert [f["classes"][0]["name"] for f in found] == ["good", "bad", "good"]
    assert all(sum(c["probability"] for c in f["classes"]) == pytest.approx(1, abs=1e-5) for f in found)
    words = [t.text for t in ET.parse("a.svg").getroot().iter() if t.text]
    assert "[CLS]" in words and "head 2" in words and "layer 1" in words
    status, out, _ = run("predict", reviewer, "the film was good")
    assert status == 0 and re.fullmatch(r"good [\d.]+%  the film was good\n", out)


def test_a_text_longer_than_the_positions_is_cut(run, reviewer):
    status, out, _ = run("predict", reviewer, "good " * 100, "--json", "--quiet")
    assert status == 0 and json.loads(out)["predictions"][0]["classes"][0]["name"] == "good"


@pytest.mark.parametrize("argv, words", [
    ([], "no text: give some, in quotes"),
    ([""], "text 1 of 1 is empty"),
    (["a", "--top", "3"], "--top is 1 to 2, the number of classes, got 3"),
    (["a", "--sheet", "a.svg"], "--sheet is for images"),
    (["a", "--attention", "a.gif"], "--attention a.gif: pictures are .png or .svg files"),
    (["--file", "nowhere"], "nowhere: No such file or directory"),
])  # fmt: skip
def test_predict_refuses_in_one_sentence(run, reviewer, argv, words):
    status, _, err = run("predict", reviewer, *argv)
    assert status == 1 and words in err and err.count("\n") == 1


def test_a_damaged_run_is_named(run, reviewer, tmp_path):
    found = json.loads((reviewer / "run.json").read_text())
    (tmp_path / "r").mkdir()
    (tmp_path / "r/run.json").write_text(json.dumps(found | {"recipe": {}}))
    status, _, err = run("predict", "r", "a")
    assert status == 1 and "r/run.json: not the description of a run" in err
