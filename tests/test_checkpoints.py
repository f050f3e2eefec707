"""Checkpoints: a run cut anywhere and resumed ends as the uncut one, bit by bit, and a file is whole or absent."""

import io
import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from training import data, fit, linear, loader, network, quiet, same, weights

import minigrad
from minigrad import nn, optim
from minigrad.data import DataLoader, IterableDataset
from minigrad.train import (
    AUROC,
    Accuracy,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    LightningModule,
    ModelCheckpoint,
    ProgressBar,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)

EPOCHS = 4


@pytest.fixture(autouse=True, scope="module")
def _no_power_cuts():
    """What fsync is for isn't tested here, and there are thousands of files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minigrad.io.files.os.fsync", lambda fd: None)
        yield


class Cut(Exception):
    """The end of a run, from outside."""


class CutAt(Callback):
    """Raises at the n-th call of any hook within the epochs: between a step and its checkpoint, say."""

    rank = 1

    def __init__(self, n):
        self.left = n
        for name in (
            "on_train_batch_start", "on_train_batch_end", "on_before_optimizer_step", "on_validation_start",
            "on_validation_batch_end", "on_validation_end", "on_train_epoch_start", "on_train_epoch_end", "on_log",
        ):  # fmt: skip
            setattr(self, name, self._tick)

    def _tick(self, trainer, model, *args):
        self.left -= 1
        if self.left == 0:
            raise Cut


def everything(folder, n=0, ckpt=None, epochs=EPOCHS, seed=0, workers=0):
    """A run with all that is random and all that has state; what it leaves, and the run itself.

    Dropout, running statistics, shuffling by a generator of its own, accumulation with a ragged last group,
    momentum, a schedule by step and one that watches, validation within epochs with draws of its own.
    """
    model = network(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    schedules = [
        {"scheduler": optim.lr_scheduler.CosineAnnealingLR(optimizer, 12), "interval": "step"},
        optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0),
    ]
    stopping = EarlyStopping("val_accuracy", patience=9, restore_best_weights=True)
    saves = ModelCheckpoint(
        folder,
        "best-{step}",
        "val_loss",
        save_top_k=2,
        save_last=True,
        every_n_train_steps=1,
        save_weights_only=False,
    )
    each = ModelCheckpoint(folder, "epoch-{epoch}", "val_loss", save_top_k=-1, save_last=False)
    callbacks = [
        CutAt(n),
        stopping,
        saves,
        each,
        LearningRateMonitor(),
        CSVLogger(folder / "log.csv", interval="step"),
    ]
    trainer = quiet(
        max_epochs=epochs, accumulate_grad_batches=2, gradient_clip_val=1.0, val_check_interval=2, log_every_n_steps=2,
        callbacks=callbacks,
    )  # fmt: skip
    train = loader(
        27, 4, shuffle=True, generator=minigrad.Generator().manual_seed(5 + seed), num_workers=workers
    )
    val = loader(14, 4, shuffle=True, num_workers=workers)
    fit(
        model, trainer, train, val, optimizer=optimizer, scheduler=schedules, ckpt_path=ckpt,
        metrics=[Accuracy(), AUROC(from_logits=True)],
    )  # fmt: skip
    left = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedules": [s.schedule.state_dict() for s in trainer.schedules],
        "history": {k: v for k, v in trainer.history.state_dict().items() if k != "seconds"},
        "generator": minigrad.get_rng_state(),
        "train": train.state_dict(),
        "val": val.state_dict(),
        "stopping": stopping.state_dict(),
        "metrics": trainer.callback_metrics,
        "log": (folder / "log.csv").read_text(),
        "best": {os.path.basename(p): v for p, v in saves.best_k_models.items()},
        "files": sorted(os.listdir(folder)),
    }
    return left, trainer


def count_hooks(tmp_path_factory):
    """How many hooks an uncut run calls."""
    folder = tmp_path_factory.mktemp("counted")
    counter = CutAt(10**9)
    model = network()
    trainer = quiet(
        max_epochs=EPOCHS,
        accumulate_grad_batches=2,
        val_check_interval=2,
        log_every_n_steps=2,
        callbacks=counter,
    )
    fit(model, trainer, loader(27, 4), loader(14, 4))
    return 10**9 - counter.left, folder


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    return everything(folder)[0], count_hooks(tmp_path_factory)[0]


@pytest.mark.parametrize("number", range(30))
def test_a_run_cut_anywhere_and_resumed_ends_bit_equal(tmp_path, uncut, number):
    """In process: raised at a random hook; the resumed run is made from other seeds, which must not matter."""
    expected, hooks = uncut
    rng, seed = random.Random(number), 0
    cuts = rng.choice([1, 1, 2, 3])
    for _ in range(cuts):
        with pytest.raises(Cut):
            everything(tmp_path, 1 + rng.randrange(hooks // cuts - 1), "last", seed=seed)
        # what was cut before its first checkpoint begins anew
        seed = rng.randrange(1, 9) if (tmp_path / "last.safetensors").exists() else 0
    left, trainer = everything(tmp_path, ckpt="last", seed=seed)
    assert same(left, expected), [k for k in expected if not same(left[k], expected[k])]
    assert trainer.global_step == 4 * EPOCHS


def test_workers_of_the_loader_may_change_at_the_cut(tmp_path, uncut):
    with pytest.raises(Cut):
        everything(tmp_path, 70, workers=3)
    left, _ = everything(tmp_path, ckpt="last", seed=1, workers=2)
    assert same(left, uncut[0])


@pytest.mark.parametrize("name", ["epoch-epoch=0", "epoch-epoch=1"])
def test_any_checkpoint_of_a_run_leads_to_the_same_end(tmp_path, uncut, name):
    everything(tmp_path)
    left, _ = everything(tmp_path, ckpt=tmp_path / f"{name}.safetensors", seed=4)
    assert same(
        {k: v for k, v in left.items() if k != "best"}, {k: v for k, v in uncut[0].items() if k != "best"}
    )


def simple(ckpt=None, seed=0, train=None, **options):
    model = network(seed)
    trainer = quiet(**options)
    history = fit(
        model, trainer, loader(shuffle=True) if train is None else train, loader(9, 4), ckpt_path=ckpt
    )
    return weights(model), history.history


@pytest.mark.parametrize("limit", [{"max_steps": 8}, {"max_epochs": 2}, {"max_time": 1e9}])
def test_a_run_that_its_budget_ended_goes_on_within_the_epoch_when_it_gets_more(tmp_path, limit):
    def spend(trainer, model, outputs, batch, batch_idx):
        if trainer.max_time and trainer.global_step == 8:
            trainer.max_time = 0.0

    def saving():
        return [LambdaCallback(on_train_batch_end=spend), ModelCheckpoint(tmp_path, save_last=True)]

    simple(callbacks=saving(), **limit)
    resumed = simple("last", seed=2, max_epochs=3, callbacks=saving())
    assert same(resumed, simple(max_epochs=3))


def test_a_checkpoint_between_the_last_batch_and_the_epochs_row_leads_on(tmp_path):
    def saving():
        return ModelCheckpoint(tmp_path, "{epoch}", "val_loss", save_top_k=-1, save_on_train_epoch_end=False)

    whole = simple(max_epochs=3, callbacks=saving())
    assert len(load_checkpoint(tmp_path / "epoch=0.safetensors")["history"]["epoch"]) == 0
    assert same(simple(tmp_path / "epoch=0.safetensors", 2, max_epochs=3, callbacks=saving()), whole)


def test_an_epoch_that_early_stopping_cuts_short_is_finished_by_the_resumed_run_too(tmp_path):
    def callbacks():
        stopping = EarlyStopping("val_loss", patience=1, mode="max")  # the loss falls
        return [stopping, ModelCheckpoint(tmp_path, "{step}", "val_loss", save_top_k=-1)]

    whole = simple(max_epochs=9, val_check_interval=2, callbacks=callbacks())
    assert len(whole[1]["loss"]) == 1
    options = {"max_epochs": 9, "val_check_interval": 2, "callbacks": callbacks()}
    assert same(simple(tmp_path / "step=4.safetensors", 2, **options), whole)


def test_a_limited_epoch_is_over_where_its_limit_is(tmp_path):
    options = {"limit_train_batches": 3, "limit_val_batches": 1}
    train = {"train": loader(shuffle=True, generator=minigrad.Generator().manual_seed(1))}
    whole = simple(
        max_epochs=4, train=loader(shuffle=True, generator=minigrad.Generator().manual_seed(1)), **options
    )
    simple(max_epochs=2, callbacks=ModelCheckpoint(tmp_path, save_last=True), **train, **options)
    train = {"train": loader(shuffle=True, generator=minigrad.Generator().manual_seed(9))}
    resumed = simple(
        "last", 2, max_epochs=4, callbacks=ModelCheckpoint(tmp_path, save_last=True), **train, **options
    )
    assert same(resumed, whole)


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(list(zip(*data(), strict=True)))


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_lists_of_batches_and_streams_go_on_where_they_were(tmp_path, kind):
    def train():
        return list(loader()) if kind == "list" else DataLoader(Numbers(), batch_size=4)

    def run(cut=0, ckpt=None):
        model = network(5 if ckpt else 0)
        callbacks = [CutAt(cut), ModelCheckpoint(tmp_path, "s", every_n_train_steps=1)]
        trainer = quiet(max_epochs=3, accumulate_grad_batches=4, callbacks=callbacks)
        history = fit(model, trainer, train(), ckpt_path=ckpt)
        return weights(model), history.history

    whole = run()
    with pytest.raises(Cut):
        run(33)
    assert same(run(ckpt=tmp_path / "s.safetensors"), whole)


class Logging(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.3)
        self.accuracy = Accuracy()

    def training_step(self, batch, batch_idx):
        output = self.layer(self.drop(batch[0]))
        self.accuracy.update(output, batch[1])
        self.log("acc", self.accuracy)
        loss = nn.functional.cross_entropy(output, batch[1])
        self.log("mean", loss * 2, on_step=True)
        return loss

    def configure_optimizers(self):
        return optim.AdamW(self.parameters(), lr=0.05)


def test_what_a_model_logs_goes_through_a_cut(tmp_path):
    def run(cut=0, ckpt=None):
        minigrad.manual_seed(7 if ckpt else 0)
        model = Logging()
        callbacks = [CutAt(cut), ModelCheckpoint(tmp_path, "s", every_n_train_steps=1)]
        history = quiet(max_epochs=3, callbacks=callbacks).fit(model, loader(shuffle=True), ckpt_path=ckpt)
        return weights(model), history.history

    whole = run()
    assert set(whole[1]) == {"loss", "acc", "mean"}
    with pytest.raises(Cut):
        run(40)
    assert same(run(ckpt=tmp_path / "s.safetensors"), whole)


def test_a_logged_metric_that_is_no_attribute_is_refused_when_saved(tmp_path):
    class Loose(Logging):
        def training_step(self, batch, batch_idx):
            self.log("loose", LOOSE)
            LOOSE.update(self.layer(batch[0]), batch[1])
            return super().training_step(batch, batch_idx)

    with pytest.raises(
        RuntimeError, match="metric logged as 'loose' can't be saved, because it is no attribute"
    ):
        quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, every_n_train_steps=1)).fit(Loose(), loader())


LOOSE = Accuracy()


def test_last_and_best_are_found_and_last_begins_anew_where_there_is_none(tmp_path):
    trainer = quiet(max_epochs=2, callbacks=ModelCheckpoint(tmp_path, "b", save_last=True))
    with pytest.raises(ValueError, match="ckpt_path='best', but this Trainer has saved no checkpoint yet"):
        fit(linear(), trainer, ckpt_path="best")
    fit(linear(), trainer, ckpt_path="last")
    assert trainer.global_step == 12 and trainer.resumed_from == ""
    trainer.max_epochs = 3
    fit(linear(), trainer, ckpt_path="best")
    assert trainer.resumed_from == str(tmp_path / "b.safetensors") and trainer.global_step == 18
    fit(linear(), trainer, ckpt_path="last")
    assert trainer.resumed_from == str(tmp_path / "last.safetensors")


def test_a_resumed_run_says_so(tmp_path, capsys):
    from minigrad.train import Trainer

    fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, "c")))
    trainer = Trainer(max_epochs=2, callbacks=ModelCheckpoint(tmp_path, "c"))
    fit(linear(), trainer, ckpt_path=tmp_path / "c.safetensors")
    assert capsys.readouterr().out.startswith(
        f"resumed from {tmp_path}/c.safetensors: epoch 2, batch 0, step 6\nepoch"
    )


@pytest.mark.parametrize("bar", [False, True])
def test_a_resumed_run_that_was_over_says_so_and_begins_no_epoch(tmp_path, bar):
    if bar:
        pytest.importorskip("tqdm")
    fit(linear(), quiet(max_epochs=2, callbacks=ModelCheckpoint(tmp_path, "c")))
    for epochs in (2, 1):
        said = io.StringIO()
        callbacks = [ModelCheckpoint(tmp_path, "c"), ProgressBar(stream=said, bar=bar, every=0)]
        trainer = quiet(max_epochs=epochs, callbacks=callbacks)
        assert len(fit(linear(), trainer, ckpt_path=tmp_path / "c.safetensors")) == 2
        at = f"resumed from {tmp_path}/c.safetensors: it was over after epoch 2, step 12\n"
        assert said.getvalue() == at


# ---- what is in the file ---------------------------------------------------------------------------------


def test_a_checkpoint_is_one_safetensors_file_with_lightnings_names(tmp_path):
    model = network()
    trainer = quiet(max_epochs=1)
    fit(model, trainer, loader(shuffle=True))
    trainer.save_checkpoint(tmp_path / "new" / "c.safetensors")
    assert os.listdir(tmp_path / "new") == ["c.safetensors"]
    found = load_checkpoint(tmp_path / "new" / "c.safetensors")
    assert {
        "epoch",
        "global_step",
        "state_dict",
        "optimizer_states",
        "lr_schedulers",
        "callbacks",
        "loops",
    } <= set(found)
    assert same(found["state_dict"], model.state_dict())
    assert same(found["optimizer_states"], [trainer.optimizer.state_dict()])
    safetensors = pytest.importorskip("safetensors.numpy", exc_type=ImportError)
    tensors = safetensors.load_file(tmp_path / "new" / "c.safetensors")
    assert same(tensors["state_dict.0.weight"], model[0].weight.detach().numpy())


def test_weights_are_loaded_from_checkpoints_and_from_plain_files(tmp_path):
    model = network()
    trainer = quiet(max_epochs=1)
    fit(model, trainer)
    trainer.save_checkpoint(tmp_path / "c.safetensors")
    trainer.save_checkpoint(tmp_path / "w.safetensors", weights_only=True)
    minigrad.save(model.state_dict(), tmp_path / "s.safetensors")
    for name in "cws":
        other = network(4)
        load_weights(other, tmp_path / f"{name}.safetensors")
        assert same(weights(other), weights(model))
        other = network(5)
        found = quiet().evaluate(
            other, loader(), loss=nn.CrossEntropyLoss(), ckpt_path=tmp_path / f"{name}.safetensors"
        )
        assert found == quiet().evaluate(model, loader(), loss=nn.CrossEntropyLoss())
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key|Unexpected key") as caught:
        load_weights(linear(), tmp_path / "c.safetensors")
    assert str(tmp_path / "c.safetensors") in caught.value.__notes__[0]
    assert load_weights(linear(), tmp_path / "s.safetensors", strict=False).unexpected_keys


def test_a_checkpoint_is_refused_between_batches_of_a_group_and_within_validation(tmp_path):
    def save(trainer, model, *args):
        trainer.save_checkpoint(tmp_path / "c.safetensors")

    trainer = quiet(
        max_epochs=1, accumulate_grad_batches=4, callbacks=LambdaCallback(on_train_batch_end=save)
    )
    with pytest.raises(
        RuntimeError, match=r"1 of 4 batches wait for their optimizer step; save when trainer.at_step"
    ):
        fit(linear(), trainer)
    trainer = quiet(max_epochs=1, callbacks=LambdaCallback(on_validation_batch_end=save))
    with pytest.raises(RuntimeError, match="a validation is going on; save in on_validation_end"):
        fit(linear(), trainer, val=loader(8, 4))
    assert os.listdir(tmp_path) == []


def resume(path, model=None, **options):
    model = linear() if model is None else model
    return fit(model, quiet(max_epochs=2), ckpt_path=path, **options)


def test_wrong_files_are_refused_by_name(tmp_path):
    model, trainer = linear(), quiet(max_epochs=1)
    fit(model, trainer)
    whole, path = tmp_path / "c.safetensors", tmp_path / "x.safetensors"
    trainer.save_checkpoint(whole)
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        resume(tmp_path / "none.safetensors")
    minigrad.save(model.state_dict(), path)
    with pytest.raises(
        ValueError, match=r"x\.safetensors: expected the checkpoint of a run, got a file of weight, bias"
    ):
        resume(path)
    minigrad.save([1], path)
    with pytest.raises(ValueError, match="expected the checkpoint of a run, got a file of list"):
        resume(path)
    trainer.save_checkpoint(path, weights_only=True)
    with pytest.raises(
        ValueError, match=r"expected a whole checkpoint, but optimizer_states, .* saved with weights only"
    ):
        resume(path)
    save_checkpoint({"minigrad_checkpoint": 99}, path)
    with pytest.raises(ValueError, match="expected a checkpoint of form 1, got 99"):
        resume(path)
    path.write_bytes(whole.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        resume(path)


def test_what_does_not_fit_the_checkpoint_is_refused_with_its_path(tmp_path):
    path = tmp_path / "c.safetensors"
    trainer = quiet(max_epochs=1)
    fit(linear(), trainer, metrics=Accuracy())
    trainer.save_checkpoint(path)
    for call, text in [
        (lambda: resume(path, network()), "Missing key|missing"),
        (lambda: resume(path), r"expected the metrics \['accuracy'\] of the saved run, got \[\]"),
        (lambda: resume(path, metrics=Accuracy(), optimizer=two_groups), "group"),
        (
            lambda: resume(
                path, metrics=Accuracy(), train=loader(generator=minigrad.Generator(), shuffle=True)
            ),
            "DataLoader.load_state_dict: expected the keys",
        ),
    ]:
        with pytest.raises((RuntimeError, ValueError, KeyError), match=text) as caught:
            call()
        assert any(str(path) in note for note in caught.value.__notes__)
    broken = load_checkpoint(path)
    broken["loops"]["further"] = 1
    save_checkpoint(broken, tmp_path / "b.safetensors")
    with pytest.raises(KeyError, match=r"expected the position in a run, \['batch', .*'further'"):
        resume(tmp_path / "b.safetensors", metrics=Accuracy())
    with pytest.raises(ValueError, match=r"expected the state of 1 schedule\(s\), got 0"):
        resume(path, metrics=Accuracy(), scheduler=lambda o: optim.lr_scheduler.ExponentialLR(o, 0.5))


def two_groups(parameters):
    a, b = parameters
    return optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.1)


def test_a_failed_write_leaves_the_checkpoint_before_and_nothing_half_written(tmp_path, monkeypatch):
    model, trainer = linear(), quiet(max_epochs=1)
    fit(model, trainer)
    path = tmp_path / "c.safetensors"
    trainer.save_checkpoint(path)
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minigrad.io.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["c.safetensors"]


# ---- kill -9 ---------------------------------------------------------------------------------------------

VICTIM = """
    import json, os, random, signal, sys, time
    sys.path[:0] = [{root!r}, {tests!r}]
    from pathlib import Path
    import minigrad
    from training import fit, loader, network, quiet, same, weights
    from minigrad.train import LambdaCallback, ModelCheckpoint, load_checkpoint

    folder = Path({folder!r})

    def run(place, acknowledge=None, ckpt=None, seed=0):
        model = network(seed)
        saves = ModelCheckpoint(place, "{{step}}", save_top_k=-1, save_last=True, every_n_train_steps=1)
        if acknowledge is not None:
            write = saves._write
            def written(trainer, path):
                write(trainer, path)
                os.write(acknowledge, path.encode() + b"\\n")
            saves._write = written
        trainer = quiet(max_epochs=8, callbacks=saves)
        fit(model, trainer, loader(shuffle=True, seed=1), ckpt_path=ckpt)
        return weights(model)

    whole = run(folder / "whole")
    rng, told, equal, killed = random.Random(0), 0, 0, 0
    for i in range(40):
        place, (r, w) = folder / str(i), os.pipe()
        child = os.fork()
        if not child:
            os.close(r)
            try:
                run(place, w)
            finally:
                os._exit(0)
        os.close(w)
        heard, wanted = b"", rng.randrange(50)  # of the 96 it would acknowledge
        while heard.count(b"\\n") < wanted and (part := os.read(r, 1 << 16)):
            heard += part
        time.sleep(rng.uniform(0.0, 0.004))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        while part := os.read(r, 1 << 16):
            heard += part
        os.close(r)
        for path in heard.decode().split():  # acknowledged, so it has to be there, whole
            told += 1
            load_checkpoint(path)
        for path in place.glob("*.safetensors"):  # nor may any other be half there
            load_checkpoint(path)
        if i % 8 == 0:
            equal += same(run(place, ckpt="last", seed=3 if (place / "last.safetensors").exists() else 0), whole)
    print(json.dumps([killed, told, equal]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_acknowledged_checkpoint_survives_kill_9_and_leads_to_the_same_end(tmp_path):
    here = Path(__file__).resolve().parent
    code = textwrap.dedent(VICTIM).format(
        root=str(Path(minigrad.__file__).parents[1]), tests=str(here), folder=str(tmp_path)
    )
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads don't survive a fork
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=here.parent, env=alone
    )
    assert done.returncode == 0, done.stderr
    killed, told, equal = json.loads(done.stdout)
    assert equal == 5
    assert killed >= 30 and told >= 40 * 20  # hit while they ran
