"""python -m minigrad: what each command and option does, what it leaves, and how it refuses."""

import csv
import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.__main__ import main
from minigrad.data import MNIST, SETS, Digits, FashionMNIST, sets
from minigrad.jobs import images as images_module
from minigrad.jobs import parser, runs, threads, training
from minigrad.jobs.images import Scaling, task_of
from minigrad.jobs.recipe import PLAIN, Recipe, build_loss
from minigrad.jobs.runs import probabilities, read, trained
from minigrad.train.callbacks import LambdaCallback

ROOT = Path(__file__).parents[1]
FAST = ["--epochs", "1", "--limit", "96", "--pictures", "none"]


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put(folder, train=64, test=20, side=28):
    """A tiny set in the MNIST format: bright places say the class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("t10k", test)):
        y = np.arange(n, dtype=np.uint8) % 10
        x = rng.integers(0, 60, (n, side, side), dtype=np.uint8)
        x[np.arange(n), y] = 250
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y)))
    return folder


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """An empty folder to work in; no set is anywhere but Digits, and no mirror answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sets, "DEBIAN", tmp_path / "debian")
    for known in (FashionMNIST, MNIST):
        monkeypatch.setattr(known, "mirrors", ())


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """One run on Digits, for the commands that only read it."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert (
        main(["train", "digits", "--out", str(folder), "--epochs", "3", "--quiet", "--pictures", "svg"]) == 0
    )
    return folder


def weights(folder):
    found = minigrad.load(folder / "checkpoint.safetensors")
    return {k: v.numpy().tobytes() for k, v in found["state_dict"].items()}


def history(folder):
    with open(folder / "history.csv", newline="") as f:
        return list(csv.DictReader(f))


# ---- train: which set ------------------------------------------------------------------------------------


def test_without_a_set_and_without_fashion_mnist_the_first_line_says_that_it_is_digits_and_why(run, tmp_path):
    status, out, _ = run("train", *FAST)
    first = out.splitlines()[0]
    assert status == 0
    assert first.startswith(
        "digits: 1,437 training and 360 test images which come with minigrad, because fashion-mnist"
    )
    assert str(tmp_path / "cache") in first and "the download failed" in first
    assert read(tmp_path / "runs/digits").recipe.data == "digits"


def test_without_a_set_it_is_fashion_mnist_where_that_can_be_had(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(put(tmp_path / "data/fashion-mnist").parent))
    status, out, _ = run("train", *FAST)
    where = tmp_path / "data/fashion-mnist"
    assert (
        status == 0 and out.splitlines()[0] == f"fashion-mnist: 64 training and 20 test images from {where}"
    )


def test_the_data_folder_comes_first(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(put(tmp_path / "env/mnist").parent))
    put(tmp_path / "given", train=32)
    status, out, _ = run("train", "mnist", "--data", tmp_path / "given", *FAST)
    assert status == 0 and out.startswith(f"mnist: 32 training and 20 test images from {tmp_path / 'given'}")


@pytest.mark.parametrize(
    "download, reason", [([], "the download failed"), (["--no-download"], "--no-download forbids")]
)
def test_a_set_that_was_named_is_never_replaced(run, tmp_path, download, reason):
    status, out, err = run("train", "fashion-mnist", *download, *FAST)
    assert status == 1 and out == "" and not (tmp_path / "runs").exists()
    assert err.startswith("minigrad: fashion-mnist is in none of ") and err.count("\n") == 1
    assert reason in err and "--data" in err and "Traceback" not in err


def test_a_damaged_set_is_named_in_one_sentence(run, tmp_path):
    put(tmp_path / "d")
    (tmp_path / "d/train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bnothing")
    status, _, err = run("train", "fashion-mnist", "--data", "d", *FAST)
    assert (
        status == 1
        and "train-images-idx3-ubyte.gz: not a valid gzipped IDX file" in err
        and err.count("\n") == 1
    )


def test_a_data_folder_that_is_not_there_is_refused(run):
    assert run("train", "mnist", "--data", "nowhere") == (
        1, "", "minigrad: --data nowhere: no such folder; correct the path, or leave it out\n"
    )  # fmt: skip


def test_the_parser_knows_the_sets_that_there_are():
    assert set(parser.SETS) == set(SETS)


# ---- train: what comes out -------------------------------------------------------------------------------


def test_a_run_leaves_its_description_checkpoint_history_and_pictures(run, tmp_path):
    status, out, err = run("train", "digits", "--epochs", "2", "--limit", "200", "--pictures", "svg")
    folder = tmp_path / "runs/digits"
    assert status == 0 and err == ""
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint.safetensors", "confusion.svg", "curves.svg", "history.csv", "history.json", "predictions.svg", "run.json",
    ]  # fmt: skip
    for picture in folder.glob("*.svg"):
        ET.parse(picture)
    rows = history(folder)
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"}
    assert len(rows) == 2 and json.loads((folder / "history.json").read_text())["epoch"] == [0, 1]
    lines = out.splitlines()
    assert "64-128-10, cross-entropy, Adam at 0.002, cosine schedule, batches of 32, 2 epochs" in lines[1]
    assert any(re.match(r" *epoch +.*loss.*accuracy.*val_accuracy", line) for line in lines)
    assert any("test images right" in line for line in lines)
    assert lines[-1] == "next: python -m minigrad evaluate runs/digits"


def test_the_figures_kept_are_those_of_the_checkpoint(digits_run):
    found = read(digits_run)
    part = images_module.part_of(Digits(train=False))
    shares = probabilities(trained(found), found.task, found.scaling(part.pixels))
    right = int((shares.argmax(1) == part.labels).sum())
    assert found.results["test"]["right"] == right > 300
    assert found.results["test"]["accuracy"] == pytest.approx(float(history(digits_run)[-1]["val_accuracy"]))
    assert found.results["test"]["loss"] == pytest.approx(
        float(history(digits_run)[-1]["val_loss"]), rel=1e-5
    )
    assert found.results["steps"] == 3 * 45


def test_new_runs_take_the_next_free_folder(run, tmp_path):
    for _ in range(3):
        assert run("train", "digits", *FAST)[0] == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["digits", "digits-2", "digits-3"]


def test_a_folder_asked_for_is_taken_but_never_one_with_a_run_or_its_files_in_it(run, tmp_path):
    assert run("train", "digits", "--out", "a b/c", *FAST)[0] == 0
    status, _, err = run("train", "digits", "--out", "a b/c", *FAST)
    assert status == 1 and "there is a run in it already; go on with it by --resume 'a b/c'" in err
    (tmp_path / "d").mkdir()
    (tmp_path / "d/history.csv").write_text("mine")
    status, _, err = run("train", "digits", "--out", "d", *FAST)
    assert status == 1 and "history.csv is there already" in err
    assert (tmp_path / "d/history.csv").read_text() == "mine"
    status, _, err = run("train", "digits", "--out", "d/history.csv", *FAST)
    assert status == 1 and "expected a folder, but a file is there" in err


def test_json_is_one_object_on_standard_output_and_the_rest_goes_to_standard_error(run):
    status, out, err = run("train", "digits", *FAST, "--json")
    found = json.loads(out)
    assert status == 0 and err.splitlines()[0].startswith("digits: ") and "epoch" in err
    assert found["set"] == "digits" and found["recipe"]["epochs"] == 1 and len(found["history"]["loss"]) == 1
    assert 0 <= found["test"]["accuracy"] <= 1 and len(found["test"]["confusion"]) == 10
    assert all(os.path.exists(f) for f in found["files"])


def test_json_has_null_where_a_figure_is_not_finite(run, monkeypatch):
    usual = training.runs.measure
    monkeypatch.setattr(training.runs, "measure", lambda *a: usual(*a)._replace(loss=float("inf")))
    _, out, _ = run("train", "digits", *FAST, "--json", "--quiet")
    assert json.loads(out, parse_constant=pytest.fail)["test"]["loss"] is None
    assert read("runs/digits").results["test"]["loss"] is None


def test_quiet_says_nothing(run):
    assert run("train", "digits", *FAST, "--quiet") == (0, "", "")


def test_a_read_only_folder_ends_the_job_in_one_sentence(run, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(
            13, "cannot write: Permission denied: no permission to write there", "runs/x/run.json"
        )

    monkeypatch.setattr(training.Run, "save", refuse)
    status, _, err = run("train", "digits", *FAST)
    assert (status, err.count("\n")) == (1, 1) and err.startswith(
        "minigrad: runs/x/run.json: cannot write: Permission denied"
    )


def test_a_folder_that_cannot_be_made_or_read_comes_with_the_remedy(run, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    status, _, err = run("train", "digits", "--out", "shut", *FAST)
    assert status == 1
    assert (
        err == "minigrad: shut: Permission denied; change it (chmod), or give a path in a folder of yours\n"
    )


@pytest.mark.parametrize("command", [["train", "digits", "--out", "r"], ["summary", "digits"]])
@pytest.mark.parametrize("size", [10**13, 10**18, 10**20])
def test_a_network_too_large_for_the_memory_is_refused_in_one_sentence(run, tmp_path, command, size):
    status, _, err = run(*command, "--hidden", size)
    assert (status, err.count("\n")) == (1, 1) and not (tmp_path / "r").exists()
    assert f"no memory for a network 64-{size}-10" in err and "give smaller --hidden sizes" in err


def test_a_step_too_large_for_the_memory_ends_in_one_sentence(run, monkeypatch):
    def refuse(self):
        raise MemoryError("Unable to allocate 2 TiB")

    monkeypatch.setattr(training.Run, "model", refuse)
    status, _, err = run("train", "digits", *FAST)
    assert status == 1 and "minigrad: out of memory: Unable to allocate 2 TiB; use smaller --hidden" in err


# ---- train: options --------------------------------------------------------------------------------------


def trained_with(run, tmp_path, *options):
    status, _, err = run("train", "digits", "--out", "r", *FAST, *options, "--quiet")
    assert status == 0, err
    return read(tmp_path / "r")


@pytest.mark.parametrize("options, expected", [
    (["--epochs", 2], {"epochs": 2}),
    (["--batch-size", 8], {"batch_size": 8}),
    (["--lr", 0.01], {"lr": 0.01}),
    (["--hidden", 16, 8], {"hidden": (16, 8)}),
    (["--hidden"], {"hidden": ()}),
    (["--optimizer", "sgd"], {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9}),
    (["--optimizer", "sgd", "--momentum", 0], {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0}),
    (["--optimizer", "adamw", "--weight-decay", 0.1], {"optimizer": "adamw", "weight_decay": 0.1, "lr": 0.002}),
    (["--optimizer", "rmsprop"], {"optimizer": "rmsprop", "lr": 0.0005, "momentum": 0.0}),
    (["--optimizer", "adagrad"], {"optimizer": "adagrad", "lr": 0.02}),
    (["--schedule", "none"], {"schedule": "none"}),
    (["--label-smoothing", 0.1], {"label_smoothing": 0.1}),
    (["--no-standardize"], {"standardize": False}),
    (["--seed", 7], {"seed": 7}),
    (["--limit", 40], {"limit": 40}),
    (["--task", "binary", "--positive", 3], {"task": "binary", "positive": "3"}),
    (["--plain"], {**PLAIN, "optimizer": "adam"}),
    (["--plain", "--lr", 0.5, "--schedule", "step"], {"lr": 0.5, "schedule": "step", "standardize": False}),
    (["--plain", "--optimizer", "sgd"], {**PLAIN, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9}),
])  # fmt: skip
def test_an_option_changes_its_choice_and_nothing_else(run, tmp_path, options, expected):
    found = trained_with(run, tmp_path, *options).recipe
    usual = Recipe(data="digits", epochs=1, limit=96)
    differing = {k for k, v in found.as_dict().items() if v != usual.as_dict()[k]}
    assert {k: getattr(found, k) for k in expected} == expected
    assert differing <= set(expected)


REACHING = [
    "--lr 0.01", "--hidden 16", "--optimizer sgd", "--optimizer adamw --weight-decay 0.1", "--optimizer rmsprop",
    "--optimizer adagrad", "--optimizer sgd --momentum 0", "--weight-decay 0.1", "--schedule none", "--schedule linear",
    "--schedule step", "--schedule exponential", "--schedule onecycle", "--label-smoothing 0.1", "--no-standardize",
    "--seed 7", "--batch-size 16", "--limit 64", "--task binary", "--task binary --positive 3",
    "--task binary --label-smoothing 0.1", "--plain",
]  # fmt: skip


def test_every_option_of_the_recipe_reaches_the_weights(run, tmp_path):
    seen = {}
    for k, options in enumerate(["", *REACHING]):
        assert run("train", "digits", "--out", f"r{k}", *FAST, *options.split(), "--quiet")[0] == 0
        mine = tuple(weights(tmp_path / f"r{k}").values())
        assert mine not in seen, f"{options!r} gave the weights of {seen[mine]!r}"
        seen[mine] = options


@pytest.mark.parametrize("schedule, first, last", [
    ("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("step", 0.1, 0.001), ("exponential", 0.1, 0.01), ("none", 1, 1),
])  # fmt: skip
def test_the_learning_rate_falls_as_the_schedule_says(run, tmp_path, schedule, first, last):
    trained_with(run, tmp_path, "--schedule", schedule, "--epochs", 2, "--lr", 0.01)
    rates = [float(row["lr"]) / 0.01 for row in history(tmp_path / "r")]
    assert rates == pytest.approx([first, last], abs=1e-6)


def test_one_cycle_ends_far_below_its_start(run, tmp_path):
    trained_with(run, tmp_path, "--schedule", "onecycle", "--epochs", 2)
    rates = [float(row["lr"]) for row in history(tmp_path / "r")]
    assert rates[1] < 1e-6 < rates[0]


def test_the_same_seed_gives_the_same_run_bit_by_bit(run, tmp_path):
    for name in ("a", "b"):
        assert run("train", "digits", "--out", name, *FAST)[0] == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_label_smoothing_of_the_binary_task_gives_each_side_half_of_the_share():
    logits, truth = minigrad.tensor([0.3, -1.0]), minigrad.tensor([1.0, 0.0])
    plain, smooth = (build_loss(Recipe(task="binary", label_smoothing=s)) for s in (0.0, 0.2))
    assert smooth(logits, truth).item() == pytest.approx(plain(logits, minigrad.tensor([0.9, 0.1])).item())


def test_the_binary_task_is_one_class_against_the_rest(run, tmp_path):
    put(tmp_path / "fashion-mnist", train=200, test=50)
    status, out, _ = run(
        "train",
        "fashion-mnist",
        "--data",
        ".",
        "--task",
        "binary",
        "--positive",
        "ankle BOOT",
        "--epochs",
        3,
        "--pictures",
        "svg",
    )
    found = read(tmp_path / "runs/fashion-mnist")
    assert status == 0 and found.task.classes == ("not Ankle boot", "Ankle boot") and found.task.positive == 9
    assert "784-128-1, sigmoid and binary cross-entropy" in out
    assert found.results["test"]["right"] == 50 and found.results["test"]["roc_auc"] == 1.0
    assert [c["images"] for c in found.results["test"]["classes"]] == [45, 5]
    assert "Ankle boot" in (tmp_path / "runs/fashion-mnist/confusion.svg").read_text()
    assert "ROC curve 1.0000" in run("evaluate", "runs/fashion-mnist")[1]


def test_pictures_are_png_or_svg_or_none(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    small = ["--epochs", "1", "--limit", "32"]
    assert run("train", "digits", "--out", "a", *small)[0] == 0
    assert sorted(p.name for p in (tmp_path / "a").glob("*.png")) == [
        "confusion.png",
        "curves.png",
        "predictions.png",
    ]
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("train", "digits", "--out", "b", *small)[0] == 0
    assert len(list((tmp_path / "b").glob("*.svg"))) == 3 and not list((tmp_path / "b").glob("*.png"))
    for argv in (["train", "digits", "--out", "c", *small], ["train", "--resume", "b"], ["evaluate", "b"]):
        status, out, err = run(*argv, "--pictures", "png")
        assert (status, out) == (1, "") and err.startswith("minigrad: --pictures png needs matplotlib")
        assert "pip install matplotlib, or ask for svg" in err and err.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_standardised_pixels_have_mean_zero_everywhere_and_deviation_one():
    pixels = np.random.default_rng(0).integers(0, 17, (50, 8, 8)).astype(np.uint8)
    x = Scaling.of(pixels, 16)(pixels)
    assert x.dtype == np.float32 and x.shape == (50, 64)
    assert np.abs(x.mean(axis=0)).max() < 1e-5
    plain = Scaling(16)(pixels)
    assert plain.min() == 0 and plain.max() == 1
    assert np.allclose(x, (plain - plain.mean(axis=0)) / plain.std(), atol=1e-4)
    assert np.array_equal(Scaling.of(pixels, 16).of_shares(pixels / 16), x)
    assert np.isfinite(Scaling.of(np.zeros((3, 2, 2), np.uint8), 255)(np.zeros((3, 2, 2), np.uint8))).all()


# ---- train: cut and resumed ------------------------------------------------------------------------------


def cut_at(monkeypatch, step, kind=signal.SIGINT):
    """Ctrl-C at an optimizer step."""
    usual = runs.callbacks

    def with_cut(folder, options):
        def press(trainer, model, outputs, batch, batch_idx):
            if trainer.global_step == step:
                signal.raise_signal(kind)

        return [*usual(folder, options), LambdaCallback(on_train_batch_end=press)]

    monkeypatch.setattr(runs, "callbacks", with_cut)


@pytest.mark.parametrize("step", [1, 4, 6, 11])
@pytest.mark.parametrize(
    "options", [[], ["--task", "binary", "--schedule", "onecycle", "--optimizer", "sgd"]]
)
def test_a_run_that_was_cut_and_resumed_ends_bit_equal_to_the_uncut_run(
    run, tmp_path, monkeypatch, step, options
):
    argv = ["train", "digits", "--epochs", "2", "--limit", "192", "--pictures", "none", *options]
    assert run(*argv, "--out", "whole")[0] == 0
    with monkeypatch.context() as m:
        cut_at(m, step)
        status, _, err = run(*argv, "--out", "cut")
    assert status == 130
    assert f"interrupted; saved after step {step}" in err and "python -m minigrad train --resume cut" in err
    assert read(tmp_path / "cut").results is None
    status, _, err = run("train", "--resume", "cut", "--pictures", "none")
    assert status == 0, err
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut/history.csv").read_text() == (tmp_path / "whole/history.csv").read_text()
    assert read(tmp_path / "cut").results["test"] == read(tmp_path / "whole").results["test"]


def test_a_run_that_is_over_can_be_resumed_and_stays_as_it_is(run, tmp_path):
    assert run("train", "digits", "--out", "r", *FAST)[0] == 0
    before = weights(tmp_path / "r")
    status, out, _ = run("train", "--resume", "r")
    assert status == 0 and "checkpoint.safetensors: it was over after epoch 1, step 3\n" in out
    assert "epoch 2" not in out
    assert weights(tmp_path / "r") == before and list((tmp_path / "r").glob("curves.*"))


def test_a_recipe_has_the_momentum_of_its_optimizer_alone(run, tmp_path):
    for k, (optimizer, momentum) in enumerate(
        (("adam", None), ("sgd", 0.9), ("rmsprop", 0.0), ("adagrad", None))
    ):
        assert run("train", "digits", "--optimizer", optimizer, "--out", str(k), *FAST)[0] == 0
        path = tmp_path / str(k) / "run.json"
        assert json.loads(path.read_text())["recipe"]["momentum"] == momentum
    before = path.read_text()
    path.write_text(before.replace('"momentum": null', '"momentum": 0.9'))  # as earlier versions wrote it
    assert run("evaluate", str(k))[0] == 0
    path = tmp_path / "1" / "run.json"
    path.write_text(path.read_text().replace('"momentum": 0.9', '"momentum": null'))
    status, _, err = run("evaluate", "1")
    assert status == 1 and "--momentum is at least 0 and below 1, got nothing" in err and err.count("\n") == 1


def test_a_run_cut_before_its_first_checkpoint_begins_anew(run, tmp_path):
    for name in ("r", "whole"):
        assert run("train", "digits", "--out", name, *FAST)[0] == 0
    (tmp_path / "r/checkpoint.safetensors").unlink()
    assert run("train", "--resume", "r")[0] == 0
    assert weights(tmp_path / "r") == weights(tmp_path / "whole")


@pytest.mark.parametrize("options, words", [
    (["digits"], "leave out a SET"), (["--lr", "1"], "leave out --lr"), (["--plain"], "leave out --plain"),
    (["--out", "x"], "leave out --out"), (["--batch-size", "3"], "leave out --batch-size"),
])  # fmt: skip
def test_a_resumed_run_keeps_its_recipe(run, digits_run, options, words):
    status, _, err = run("train", *options, "--resume", digits_run)
    assert status == 1 and words in err and err.count("\n") == 1


def test_a_resumed_run_wants_the_same_images(run, tmp_path):
    put(tmp_path / "a")
    put(tmp_path / "b", train=50)
    assert run("train", "mnist", "--data", "a", "--out", "r", *FAST)[0] == 0
    status, _, err = run("train", "--resume", "r", "--data", "b")
    assert (
        status == 1
        and "was begun with 64 training and 20 test images of mnist, but" in err
        and "has 50 and 20" in err
    )


def test_ctrl_c_ends_a_real_run_cleanly_and_the_command_it_prints_goes_on(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "minigrad", "train", "digits", "--epochs", "400", "--pictures", "none"]
    job = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in job.stdout:
        if re.match(r" +1 ", line):  # the first epoch's row
            break
    time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130 and "Traceback" not in err, err
    assert err.splitlines()[-1].strip() == "python -m minigrad train --resume runs/digits"
    assert minigrad.load(tmp_path / "runs/digits/checkpoint.safetensors")["global_step"] >= 45


PRESSES = """
import importlib.abc, signal, sys
class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {moment!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Press())
"""


@pytest.mark.parametrize("moment", ["numpy", "minigrad.autograd", "minigrad.ops.fused", "minigrad.jobs", "minigrad.jobs.parser",
                                    "minigrad.nn", "minigrad.train", "minigrad.jobs.training", "minigrad.data.sets"])  # fmt: skip
def test_ctrl_c_while_the_command_starts_ends_it_in_one_line(tmp_path, moment):
    (tmp_path / "sitecustomize.py").write_text(PRESSES.format(moment=moment))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "minigrad", "train", "digits", "--epochs", "1"]
    job = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (job.returncode, job.stderr, job.stdout) == (130, "minigrad: interrupted\n", "")
    assert not (tmp_path / "runs").exists()


def test_other_programs_keep_their_ctrl_c(tmp_path):
    code = "import signal, minigrad; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    (tmp_path / "sitecustomize.py").write_text(PRESSES.format(moment=""))
    (tmp_path / "other.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for command in (["-c", code], ["-m", "other"], ["other.py", "-m", "minigrad"]):
        subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, check=True, timeout=60)


def test_a_loss_that_is_no_number_ends_the_job_in_one_sentence(run, tmp_path):
    status, _, err = run(
        "train", "digits", "--epochs", "2", "--lr", "1e38", "--optimizer", "sgd", "--pictures", "none"
    )
    assert status == 1 and err.count("\n") == 1 and "Traceback" not in err
    assert (
        re.search(r"at epoch 1, batch \d+", err) and "op " in err and "try a smaller --lr than 1e+38" in err
    )


def test_a_damaged_checkpoint_is_named_when_a_run_is_to_go_on(run, tmp_path):
    assert run("train", "digits", "--out", "r", *FAST)[0] == 0
    (tmp_path / "r/checkpoint.safetensors").write_bytes(b"no")
    status, _, err = run("train", "--resume", "r")
    assert status == 1 and "r/checkpoint.safetensors: can't go on from it: " in err and err.count("\n") == 1
    assert (tmp_path / "r/checkpoint.safetensors").read_bytes() == b"no"


def test_ctrl_c_before_training_ends_with_status_130(run, monkeypatch):
    def press(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "choose", press)
    assert run("train", "digits") == (130, "", "minigrad: interrupted\n")


def test_ctrl_c_while_pictures_are_drawn_says_how_to_go_on_too(run, tmp_path, monkeypatch):
    def press(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(training, "_drawn", press)
        status, _, err = run("train", "digits", "--out", "r", *FAST)
    assert status == 130 and "saved after step 3, in epoch 1 of 1" in err and "--resume r" in err
    assert run("train", "--resume", "r", "--pictures", "svg")[0] == 0 and (tmp_path / "r/curves.svg").exists()


def test_small_steps_run_with_one_thread_unless_told_otherwise(run, tmp_path, monkeypatch):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert (
        threads.chosen(None, 1e6) == 1 and threads.chosen(None, 1e9) is None and threads.chosen(3, 1e6) == 3
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.chosen(None, 1e6) is None
    seen = []
    kept = threads.threads
    monkeypatch.setattr(threads, "threads", lambda number: seen.append(number) or kept(number))
    for options in ([], ["--threads", 2]):
        assert run("train", "digits", *FAST, *options)[0] == 0
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert run("train", "digits", *FAST)[0] == 0
    assert seen == [None, 2, 1]
    assert "--threads is at least 1, got 0" in run("train", "digits", "--threads", 0)[2]


def test_the_number_of_threads_is_put_back(monkeypatch):
    count = [7]
    monkeypatch.setattr(
        threads, "blas", lambda: threads.Blas(lambda: count[0], lambda n: count.__setitem__(0, n))
    )
    with pytest.raises(ZeroDivisionError), threads.threads(2):
        assert count == [2]
        raise ZeroDivisionError
    assert count == [7]
    monkeypatch.setattr(threads, "blas", lambda: None)
    with threads.threads(2):
        pass


def test_numpys_own_openblas_is_told():
    found = threads.blas()
    if found is None:
        pytest.skip("NumPy has another BLAS here")
    before = found.get()
    with threads.threads(1):
        assert found.get() == 1
    assert found.get() == before


# ---- evaluate --------------------------------------------------------------------------------------------


def test_evaluate_gives_what_training_ended_with(run, digits_run):
    status, out, _ = run("evaluate", digits_run)
    found = read(digits_run).results["test"]
    assert status == 0
    assert (
        f"{found['right']} of 360 test images right ({found['accuracy']:.2%}), loss {found['loss']:.4f}"
        in out
    )
    assert re.search(r"^7 +\d+ +[01]\.\d{4}", out, re.M)
    status, out, err = run("evaluate", digits_run, "--json", "--quiet")
    again = json.loads(out)
    assert status == 0 and err == ""
    assert {k: again[k] for k in found} == {
        **found,
        "loss": pytest.approx(found["loss"], rel=1e-6),
    }  # kernels came in


def test_warmup_says_how_many_kernels_are_ready_and_refuses_an_op_that_is_not_there(run):
    status, out, _ = run("warmup", "adam_", "--json")
    found = json.loads(out)
    assert status == 0 and (found["kernels"] > 0) == bool(found["kernel sets"])
    status, _, err = run("warmup", "sofmax")
    assert status == 1 and "sofmax: no op of that name; did you mean 'softmax'?" in err


def test_evaluate_draws_the_pictures_anew(run, tmp_path):
    assert run("train", "digits", "--out", "r", *FAST)[0] == 0
    status, out, _ = run("evaluate", "r", "--pictures", "svg")
    assert status == 0 and "wrote r/confusion.svg, r/predictions.svg" in out
    ET.parse(tmp_path / "r/predictions.svg")


def test_evaluate_wants_the_set_of_the_run(run, tmp_path):
    put(tmp_path / "a")
    put(tmp_path / "b", test=7)
    assert run("train", "mnist", "--data", "a", "--out", "r", *FAST)[0] == 0
    assert run("evaluate", "r")[0] == 0  # remembers its folder
    status, _, err = run("evaluate", "r", "--data", "b")
    assert status == 1 and "7 test images, but r was made with 20" in err
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    status, _, err = run("evaluate", "r", "--no-download")
    assert status == 1 and "r was trained on mnist: mnist is in none of" in err


@pytest.mark.parametrize("spoil, words", [
    (lambda f: f.unlink(), "no run there: expected a folder with run.json that 'minigrad train' made"),
    (lambda f: f.write_text("{"), "run.json: not the description of a run (JSONDecodeError"),
    (lambda f: f.write_text(f.read_text().replace('"0"', "0")), "run.json: not the description of a run (TypeError"),
    (lambda f: f.unlink() or f.mkdir(), "run.json: expected a file, got a folder"),
    (lambda f: f.write_text("[]"), "run.json: not the description of a run (TypeError"),
    (lambda f: f.write_text(f.read_text().replace('"adam"', '"adm"')), "unknown optimizer 'adm'"),
    (lambda f: f.write_text(f.read_text().replace('"epochs": 1', '"epochs": "1"')), "not a recipe that can be run"),
    (lambda f: f.write_text(f.read_text().replace('"epochs"', '"epoch"')), "expected a recipe with batch_size"),
    (lambda f: (f.with_name("checkpoint.safetensors")).unlink(), "the run has no checkpoint yet"),
    (lambda f: (f.with_name("checkpoint.safetensors")).write_bytes(b"no"), "checkpoint.safetensors: can't be loaded"),
])  # fmt: skip
def test_a_damaged_run_is_named_in_one_sentence(run, tmp_path, spoil, words):
    assert run("train", "digits", "--out", "r", *FAST)[0] == 0
    spoil(tmp_path / "r/run.json")
    status, _, err = run("evaluate", "r")
    assert status == 1 and words in err and err.count("\n") == 1 and "Traceback" not in err


# ---- predict ---------------------------------------------------------------------------------------------


def digit_images(n=4):
    part = images_module.part_of(Digits(train=False))
    return part.pixels[:n], part.labels[:n]


def test_predict_reads_idx_npy_and_pictures_alike(run, digits_run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels, _ = digit_images(1)
    (tmp_path / "a.idx").write_bytes(idx(pixels))
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(idx(pixels[0])))
    np.save(tmp_path / "a.npy", pixels[0])
    np.save(tmp_path / "b.npy", (pixels[None] / 16).astype(np.float32))
    image.fromarray((pixels[0] * 255.0 / 16).round().astype(np.uint8)).save(tmp_path / "a.png")
    names = ["a.idx", "a.idx.gz", "a.npy", "b.npy", "a.png"]
    status, out, _ = run("predict", digits_run, *names, "--json", "--quiet")
    found = json.loads(out)["predictions"]
    assert status == 0 and [f["image"] for f in found] == names
    best = [f["classes"][0] for f in found]
    assert len({b["name"] for b in best}) == 1
    assert [b["probability"] for b in best] == pytest.approx([best[0]["probability"]] * 5, abs=2e-3)


def test_predict_says_class_and_probability_of_every_image(run, digits_run, tmp_path):
    pixels, labels = digit_images(6)
    np.save(tmp_path / "many.npy", pixels)
    status, out, _ = run("predict", digits_run, "many.npy", "--top", 2, "--sheet", "sheet.svg")
    lines = out.splitlines()
    assert status == 0 and len(lines) == 7 and lines[-1] == "wrote sheet.svg"
    assert all(
        re.match(rf"many\.npy\[{i}\]  \d [\d.]+%  \d [\d.]+%$", line) for i, line in enumerate(lines[:6])
    )
    assert sum(line.split()[1] == str(k) for line, k in zip(lines, labels, strict=False)) >= 5
    ET.parse(tmp_path / "sheet.svg")


def test_pictures_of_another_size_or_kind_are_fitted_and_this_is_said(run, digits_run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels, labels = digit_images(1)
    big = image.fromarray((pixels[0] * 15).astype(np.uint8)).resize((80, 80)).convert("RGB")
    big.save(tmp_path / "big.png")
    image.eval(big, lambda v: 255 - v).save(tmp_path / "dark.png")
    status, out, _ = run("predict", digits_run, "big.png")
    assert status == 0 and "big.png: RGB made grey, 80×80 scaled to 8×8" in out
    assert re.search(rf"^big.png  {labels[0]} ", out, re.M)
    assert re.search(rf"^dark.png  {labels[0]} ", run("predict", digits_run, "dark.png", "--invert")[1], re.M)


def test_a_picture_of_16_bits_is_scaled_and_one_of_floats_refused(run, digits_run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels, _ = digit_images(1)
    image.fromarray((pixels[0] * 15).astype(np.uint8)).save(tmp_path / "8.png")
    image.fromarray(pixels[0].astype(np.uint16) * 15 * 257).save(tmp_path / "16.png")
    _, out, _ = run("predict", digits_run, "8.png", "16.png", "--top", 3, "--json")
    eight, sixteen = json.loads(out)["predictions"]
    assert eight["classes"] == sixteen["classes"]
    image.fromarray(pixels[0].astype(np.float32)).save(tmp_path / "f.tif")
    status, _, err = run("predict", digits_run, "f.tif")
    assert status == 1 and "f.tif: expected a picture of 8 or 16 bits a colour, got pixels from 0 to" in err


@pytest.mark.parametrize("name, content, words", [
    ("x.npy", None, "x.npy: no such file; check the path"),
    (".", None, ".: that is a folder; name its files"),
    ("x.npy", np.zeros((28, 28), np.uint8), "expected images (8, 8), (N, 8, 8) or (N, 1, 8, 8) as in digits, got (28, 28)"),
    ("x.npy", np.zeros((0, 8, 8), np.uint8), "got (0, 8, 8)"),
    ("x.npy", np.full((8, 8), 99, np.uint8), "expected pixels from 0 (black) to 16 (white), as uint8 has them in digits, got 99 to 99"),
    ("x.npy", np.full((8, 8), np.nan), "got nan to nan"),
    ("x.npy", np.full((8, 8), -0.5), "expected pixels from 0 (black) to 1 (white)"),
    ("x.npy", b"nonsense", "x.npy: not a valid npy file"),
    ("x.gz", gzip.compress(b"nonsense", mtime=0), "x.gz: not a valid IDX file"),
    ("x.txt", b"hello there", "expected a picture, IDX or npy, got a file that is none"),
    ("x.png", b"", "expected a picture, IDX or npy, got a file that is none"),
])  # fmt: skip
def test_a_file_that_holds_no_images_is_refused_in_one_sentence(
    run, digits_run, tmp_path, name, content, words
):
    pytest.importorskip("PIL")
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content)
    status, out, err = run("predict", digits_run, name)
    assert status == 1 and out == "" and words in err and err.count("\n") == 1


def test_without_pillow_a_picture_is_refused_with_the_remedy(run, digits_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    status, _, err = run("predict", digits_run, "x.png")
    assert status == 1 and "pictures need Pillow: pip install Pillow" in err


@pytest.mark.parametrize("options, words", [
    (["--top", "0"], "--top is 1 to 10, the number of classes, got 0"),
    (["--sheet", "a.gif"], "--sheet a.gif: pictures are .png or .svg files"),
])  # fmt: skip
def test_predict_refuses_what_it_cannot_show(run, digits_run, tmp_path, options, words):
    np.save(tmp_path / "x.npy", digit_images(1)[0])
    status, _, err = run("predict", digits_run, "x.npy", *options)
    assert status == 1 and words in err


# ---- summary, warmup, info ---------------------------------------------------------------------------------------


def test_summary_shows_the_default_network_a_sets_or_a_runs(run, digits_run):
    status, out, _ = run("summary")
    assert status == 0 and "float32 (32, 784)" in out and "101,770 parameters" in out
    assert "2,410 parameters" in run("summary", "digits", "--hidden", 32)[1]
    assert "float32 (5, 64)" in run("summary", digits_run, "--batch-size", 5)[1]
    found = json.loads(run("summary", "mnist", "--task", "binary", "--json", "--quiet")[1])
    assert found["layers"][-1]["output"] == [[32, 1]]


@pytest.mark.parametrize("argv, words", [
    (["mnits"], "mnits: neither the folder of a run nor a set; sets are fashion-mnist, mnist, digits; did you mean 'mnist'?"),
    (["mnist", "--batch-size", "0"], "--batch-size is at least 1, got 0"),
    (["mnist", "--hidden", "0"], "--hidden sizes are at least 1, got 0"),
    ([".", "--hidden", "3"], "--hidden and --task are for a set"),
    (["."], ".: no run there"),
])  # fmt: skip
def test_summary_refuses_what_is_no_network(run, argv, words):
    status, _, err = run("summary", *argv)
    assert status == 1 and words in err


def test_info_tells_versions_backends_kernels_threads_and_where_data_is(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(put(tmp_path / "d/mnist").parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    status, out, _ = run("info")
    assert status == 0
    for needle in (
        minigrad.__version__,
        np.__version__,
        "cpu (numpy)",
        "kernels in force",
        "cores",
        "OMP_NUM_THREADS",
    ):
        assert needle in out
    found = json.loads(run("info", "--json", "--quiet")[1])
    assert found["data"]["mnist"] == str(tmp_path / "d/mnist") and found["data"]["fashion-mnist"].startswith(
        "not found"
    )
    assert found["threads"]["OMP_NUM_THREADS"] == "3" and found["engine"]["ops"] > 50
    put(tmp_path / "given")
    assert json.loads(run("info", "--json", "--data", "given")[1])["data"]["fashion-mnist"] == "given"


# ---- usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv, words", [
    (["trian"], "unknown command 'trian': expected one of train, evaluate, predict, finetune, embed, generate, summary, warmup, bench, info; did you mean 'train'?"),
    (["--verion"], "unknown option '--verion'; did you mean '--version'?"),
    (["train", "--epocs", "3"], "unknown option '--epocs'; did you mean '--epochs'?"),
    (["train", "--epocs=3"], "unknown option '--epocs'; did you mean '--epochs'?"),
    (["train", "--epoch", "3"], "unknown option '--epoch'; did you mean '--epochs'?"),
    (["train", "--qqq"], "unknown option '--qqq'\n"),
    (["train", "digits", "mnist"], "unknown argument 'mnist'"),
    (["train", "--optimizer", "adma"], "unknown name 'adma': expected one of adam, adamw, sgd, rmsprop, adagrad; did you mean 'adam'?"),
    (["train", "--task", "binry"], "did you mean 'binary'?"),
    (["train", "--epochs", "x"], "argument --epochs: invalid int value: 'x'"),
    (["predict"], "the following arguments are required: RUN"),
])  # fmt: skip
def test_wrong_usage_is_refused_with_the_nearest_there_is_and_status_2(run, argv, words):
    status, out, err = run(*argv)
    assert status == 2 and out == "" and words in err and "--help" in err


@pytest.mark.parametrize("argv, words", [
    (["fashion"], "unknown set 'fashion': expected one of fashion-mnist, mnist, digits; did you mean 'fashion-mnist'?"),
    (["digits", "--epochs", "0"], "--epochs is at least 1, got 0"),
    (["digits", "--batch-size", "-2"], "--batch-size is at least 1, got -2"),
    (["digits", "--limit", "0"], "--limit is at least 1, got 0"),
    (["digits", "--lr", "nan"], "--lr is at least 0 and finite, got nan"),
    (["digits", "--label-smoothing", "1"], "--label-smoothing is at least 0 and below 1, got 1"),
    (["digits", "--weight-decay", "-1"], "--weight-decay is at least 0 and finite, got -1"),
    (["digits", "--optimizer", "sgd", "--momentum", "1"], "--momentum is at least 0 and below 1, got 1"),
    (["digits", "--momentum", "0.5"], "--momentum is for sgd and rmsprop; adam has none: leave it out"),
    (["digits", "--seed", str(2**64)], "--seed is -2**63 to 2**64 - 1, got 18446744073709551616"),
    (["digits", "--positive", "3"], "--positive names the class of --task binary"),
    (["digits", "--task", "binary", "--positive", "ten"], "--positive: no class 'ten': expected a number 0 to 9 or one of 0, 1"),
    (["--resume", "nowhere"], "nowhere: no run there"),
])  # fmt: skip
def test_choices_that_cannot_be_are_refused_before_anything_is_done(run, tmp_path, argv, words):
    status, out, err = run("train", *argv)
    assert status == 1 and out == "" and words in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "minigrad", "info"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_names_every_command_and_every_option_says_something(run):
    status, out, _ = run("--help")
    assert status == 0 and all(c in out for c in parser.COMMANDS)
    for command in parser.COMMANDS:
        status, out, _ = run(command, "--help")
        assert status == 0 and out.startswith(f"usage: python -m minigrad {command} ")
        assert max(map(len, out.splitlines())) <= 100
    for made in parser.build()[1].values():
        assert all(a.help for a in made._actions)


def test_without_a_command_there_is_the_help_and_the_version_is_that_of_the_package(run):
    assert run()[:2] == run("--help")[:2]
    assert run("--version") == (0, f"minigrad {minigrad.__version__}\n", "")


def test_classes_are_found_by_name_in_any_case_or_by_number():
    assert task_of("binary", "BAG", FashionMNIST.classes).positive == 8
    assert task_of("binary", "1", MNIST.classes).classes == ("not 1 - one", "1 - one")
    assert task_of("binary", None, Digits.classes).positive == 0
    assert task_of("multiclass", None, Digits.classes).labels(np.array([3])).tolist() == [3]


def test_a_wrong_option_is_refused_without_importing_the_rooms():
    code = (
        "import sys; from minigrad.__main__ import main\n"
        "try: main(['train', '--epocs'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith(('minigrad.nn', 'minigrad.train', 'minigrad.data', 'matplotlib'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_compiled_run_learns_the_same_bits(run, monkeypatch):
    used = []
    trainer = minigrad.train.Trainer
    monkeypatch.setattr(
        "minigrad.train.trainer.Trainer",
        lambda **options: used.append(options["compile"]) or trainer(**options),
    )
    for folder, option in (("a", "--compile"), ("b", "--no-compile"), ("c", None)):
        assert run("train", "digits", *FAST, "--out", folder, *([option] if option else []))[0] == 0
    assert used == [True, False, True]
    files = [json.loads(Path(folder, "history.json").read_text()) for folder in "abc"]
    a, b, c = ({k: v for k, v in f.items() if "time" not in k and "second" not in k} for f in files)
    assert a == b == c
