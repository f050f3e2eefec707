"""Callbacks: what each option does, in which order hooks come, and what goes through a resumed run."""

import contextlib
import csv
import io
import math
import os
import sys
import time
from datetime import timedelta

import pytest
from training import Recorder, fit, linear, loader, network, quiet, same, sgd, weights

import minigrad
from minigrad import nn, optim
from minigrad.train import (
    Accuracy,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    R2Score,
    TensorBoard,
    Trainer,
    load_checkpoint,
)
from minigrad.train.callbacks import HOOKS


class Scripted(Callback):
    """Puts chosen values in place of what was measured."""

    rank = 0

    def __init__(self, **values):
        self.values = {k: list(v) for k, v in values.items()}

    def on_log(self, trainer, model, values, step, when):
        for name, script in self.values.items():
            if when == "epoch":
                values[name] = script[trainer.current_epoch]


def scripted(*callbacks, epochs=8, **values):
    trainer = quiet(max_epochs=epochs, limit_train_batches=1, callbacks=[Scripted(**values), *callbacks])
    model = linear()
    fit(model, trainer)
    return trainer, model


# ---- hooks -----------------------------------------------------------------------------------------------


def test_hooks_come_in_order():
    seen = Recorder(*(h for h in HOOKS if h not in ("on_log",)))
    trainer = quiet(max_epochs=1, limit_train_batches=1, callbacks=seen)
    fit(linear(), trainer, val=loader(3, 4))
    assert [name for name, *_ in seen.calls] == [
        "setup", "on_fit_start", "on_train_start", "on_train_epoch_start", "on_train_batch_start",
        "on_before_optimizer_step", "on_train_batch_end", "on_validation_start", "on_validation_epoch_start",
        "on_validation_batch_start", "on_validation_batch_end", "on_validation_epoch_end", "on_validation_end",
        "on_train_epoch_end", "on_train_end", "on_fit_end", "teardown",
    ]  # fmt: skip
    seen.calls.clear()
    trainer.evaluate(linear(), loader(3, 4), loss=nn.CrossEntropyLoss())
    trainer.predict(linear(), loader(3, 4))
    assert [name for name, *_ in seen.calls] == [
        "setup", "on_test_start", "on_test_epoch_start", "on_test_batch_start", "on_test_batch_end", "on_test_epoch_end",
        "on_test_end", "teardown",
        "setup", "on_predict_start", "on_predict_batch_start", "on_predict_batch_end", "on_predict_end", "teardown",
    ]  # fmt: skip


def test_every_hook_of_the_base_can_be_called_and_does_nothing():
    base = Callback()
    for name in HOOKS:
        hook = getattr(base, name)
        assert hook(*range(hook.__code__.co_argcount - 1)) is None
        assert hook.__doc__
    assert base.state_dict() == {} and base.load_state_dict({}) is None


def test_callbacks_run_by_rank_then_in_the_given_order():
    order = []

    class Named(Callback):
        def on_train_epoch_end(self, trainer, model):
            order.append(type(self).__name__)

    class First(Named):
        rank = 0

    class Second(Named):
        pass

    class Third(Named):
        pass

    trainer = quiet(max_epochs=1, callbacks=[ModelCheckpoint(), Second(), Third(), First()])
    assert [type(c).__name__ for c in trainer.callbacks] == ["First", "Second", "Third", "ModelCheckpoint"]


def test_on_log_gets_steps_validations_and_epochs_and_may_add_to_the_history():
    seen = []

    def add(trainer, model, values, step, when):
        seen.append((when, step, sorted(values)))
        values["twice"] = 2.0 * step

    trainer = quiet(max_epochs=2, log_every_n_steps=4, callbacks=LambdaCallback(on_log=add))
    history = fit(linear(), trainer, val=loader(8, 4), metrics=Accuracy())
    assert seen == [
        ("step", 4, ["loss"]),
        ("validation", 6, ["val_accuracy", "val_loss"]),
        ("epoch", 6, ["accuracy", "loss", "twice", "val_accuracy", "val_loss"]),
        ("step", 8, ["loss"]),
        ("step", 12, ["loss"]),
        ("validation", 12, ["val_accuracy", "val_loss"]),
        ("epoch", 12, ["accuracy", "loss", "twice", "val_accuracy", "val_loss"]),
    ]
    assert history.history["twice"] == [12.0, 24.0]
    assert trainer.callback_metrics["twice"] == 24.0


def test_a_logged_step_has_the_loss_of_its_group():
    seen = []
    log = LambdaCallback(on_log=lambda t, m, values, step, when: seen.append(values["loss"]))
    model = linear()
    expected = nn.CrossEntropyLoss()(
        model(minigrad.cat([x for x, _ in loader()])), minigrad.cat([y for _, y in loader()])
    )
    trainer = quiet(max_epochs=1, log_every_n_steps=1, accumulate_grad_batches=6, callbacks=log)
    fit(model, trainer)
    assert seen == pytest.approx([expected.item()] * 2, rel=1e-6)


def test_lambda_callback_refuses_what_is_no_hook():
    with pytest.raises(
        TypeError, match="'on_epoch_end' is no hook; expected one of setup, teardown, on_fit_start"
    ):
        LambdaCallback(on_epoch_end=print)
    with pytest.raises(TypeError, match="expected a function for on_fit_end, got int"):
        LambdaCallback(on_fit_end=3)


# ---- early stopping --------------------------------------------------------------------------------------

FALLING = [1.0, 0.9, 0.8, 0.85, 0.79, 0.95, 0.9, 0.8]


@pytest.mark.parametrize(
    ("options", "epochs", "best"),
    [
        ({"patience": 3}, 8, 0.79),
        ({"patience": 2}, 7, 0.79),
        ({"patience": 1}, 4, 0.8),
        ({"patience": 0}, 4, 0.8),
        ({"patience": 1, "min_delta": 0.15}, 2, 1.0),
        ({"patience": 2, "min_delta": 0.05}, 5, 0.8),
        ({"patience": 1, "mode": "max"}, 2, 1.0),
        ({"patience": 1, "start_from_epoch": 5}, 8, 0.8),
        ({"stopping_threshold": 0.82}, 3, 0.8),
        ({"divergence_threshold": 0.92, "start_from_epoch": 2}, 6, 0.79),
    ],
)
def test_early_stopping_ends_the_run_as_its_options_say(options, epochs, best):
    stopping = EarlyStopping("some_loss", **options)
    trainer, _ = scripted(stopping, some_loss=FALLING)
    assert trainer.current_epoch == epochs
    assert stopping.best_score == best
    assert (stopping.stopped_epoch is not None) == bool(trainer.stop_reason)
    if trainer.stop_reason:
        assert stopping.stopped_epoch == epochs - 1


@pytest.mark.parametrize(
    ("monitor", "metrics", "rising"),
    [
        ("accuracy", Accuracy(), True),
        ("loss", None, False),
        ("my_error", None, False),
        ("top_acc", None, True),
        ("r2", {"r2": R2Score()}, True),
    ],
)
def test_auto_mode_asks_the_metric_or_reads_the_name(monitor, metrics, rising):
    stopping = EarlyStopping(monitor, patience=1)
    values = [0.5, 0.4, 0.3] if rising else [0.3, 0.4, 0.5]
    trainer = quiet(max_epochs=3, callbacks=[Scripted(**{monitor: values}), stopping])
    loss = nn.CrossEntropyLoss()
    if monitor == "r2":
        x = minigrad.randn(8, 3)
        fit(
            nn.Linear(3, 3),
            trainer,
            train=[(x, x)],
            loss=nn.MSELoss(),
            metrics=metrics,
        )
    else:
        fit(linear(), trainer, loss=loss, metrics=metrics)
    assert trainer.current_epoch == 2 and stopping.best_score == values[0]


def test_early_stopping_on_values_that_are_not_finite():
    values = [1.0, math.nan, 0.5, 0.4]
    trainer, _ = scripted(EarlyStopping("my_loss"), my_loss=values, epochs=4)
    assert trainer.current_epoch == 2 and trainer.stop_reason == "my_loss is nan"
    trainer, _ = scripted(EarlyStopping("my_loss", check_finite=False), my_loss=values, epochs=4)
    assert trainer.current_epoch == 4


def test_the_best_weights_come_back_at_the_end():
    kept = {}

    def keep(trainer, model):
        kept[trainer.current_epoch] = weights(model)

    _, model = scripted(
        LambdaCallback(on_train_epoch_end=keep), EarlyStopping("some_loss", patience=2, restore_best_weights=True),
        some_loss=FALLING,
    )  # fmt: skip
    assert same(weights(model), kept[4]) and not same(kept[4], kept[6])
    _, model = scripted(EarlyStopping("some_loss", patience=2), some_loss=FALLING)
    assert same(weights(model), kept[6])


def test_early_stopping_checks_each_validation_within_an_epoch_or_only_its_end():
    def run(**options):
        seen = Recorder("on_validation_end")
        stopping = EarlyStopping("val_loss", patience=2, mode="max", **options)
        trainer = quiet(max_epochs=9, val_check_interval=2, callbacks=[seen, stopping])
        fit(linear(), trainer, val=loader(8, 4))  # the loss falls, so "max" never gets better
        return len(seen.calls), trainer.global_step

    assert run() == (3, 6)
    assert run(check_on_train_epoch_end=True) == (9, 18)
    assert run(check_on_train_epoch_end=False) == (3, 6)


def test_early_stopping_within_an_epoch_ends_it_there():
    stopping = EarlyStopping("val_loss", patience=1, mode="max")
    trainer = quiet(max_epochs=9, val_check_interval=2, callbacks=stopping)
    history = fit(linear(), trainer, val=loader(8, 4))
    assert (trainer.global_step, len(history)) == (4, 1)


def test_a_monitor_that_is_not_measured_is_an_error_by_name_unless_not_strict():
    with pytest.raises(
        RuntimeError, match="EarlyStopping: monitor='val_loss' was not measured; there is loss: correct"
    ):
        fit(linear(), quiet(max_epochs=1, callbacks=EarlyStopping()))
    fit(linear(), quiet(max_epochs=1, callbacks=EarlyStopping(strict=False)))
    with pytest.raises(RuntimeError, match="EarlyStopping: monitor='val_acc' was not measured"):
        fit(
            linear(),
            quiet(
                max_epochs=1,
                val_check_interval=3,
                callbacks=EarlyStopping("val_acc", check_on_train_epoch_end=False),
            ),
            val=loader(),
        )
    silent = EarlyStopping("val_acc", check_on_train_epoch_end=False, strict=False)
    fit(linear(), quiet(max_epochs=1, callbacks=silent), val=loader())
    with pytest.raises(RuntimeError, match="ModelCheckpoint: monitor='val_loss' was not measured"):
        fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(monitor="val_loss")))


def test_epochs_without_validation_are_passed_over():
    stopping = EarlyStopping("val_loss", patience=1, mode="max")
    trainer = quiet(max_epochs=9, check_val_every_n_epoch=2, callbacks=stopping)
    fit(linear(), trainer, val=loader(8, 4))
    assert trainer.current_epoch == 4


def test_early_stopping_says_what_happens_when_asked(capsys):
    scripted(
        EarlyStopping("some_loss", patience=1, verbose=True, restore_best_weights=True), some_loss=FALLING
    )
    assert capsys.readouterr().out.splitlines() == [
        "EarlyStopping: some_loss improved from None to 1",
        "EarlyStopping: some_loss improved from 1.0 to 0.9",
        "EarlyStopping: some_loss improved from 0.9 to 0.8",
        "EarlyStopping: some_loss did not get better in 1 checks, best 0.8",
        "EarlyStopping: restored the weights of epoch 2",
    ]


def test_options_of_early_stopping_are_checked():
    with pytest.raises(ValueError, match="expected patience of 0 or more, got -1"):
        EarlyStopping(patience=-1)
    with pytest.raises(ValueError, match="expected mode to be 'min', 'max' or 'auto', got 'up'"):
        EarlyStopping(mode="up")
    with pytest.raises(
        ValueError, match="can't tell whether more or less of 'size' is better; pass mode='max'"
    ):
        scripted(EarlyStopping("size"), size=FALLING)


# ---- ModelCheckpoint -------------------------------------------------------------------------------------


def files(folder):
    return sorted(os.listdir(folder))


def test_the_latest_epoch_is_kept_by_default(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path)
    fit(linear(), quiet(max_epochs=3, callbacks=checkpoint))
    assert files(tmp_path) == ["epoch=2-step=18.safetensors"]
    assert checkpoint.best_model_path == str(tmp_path / "epoch=2-step=18.safetensors")
    assert load_checkpoint(checkpoint.best_model_path)["global_step"] == 18


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"save_top_k": -1}, ["0", "1", "2", "3", "4"]),
        ({"save_top_k": 0}, []),
        ({"save_top_k": 0, "save_last": True}, ["last"]),
        ({"monitor": "q_loss"}, ["2"]),
        ({"monitor": "q_loss", "mode": "max"}, ["1"]),
        ({"monitor": "q_loss", "save_top_k": 2}, ["2", "4"]),
        ({"monitor": "q_loss", "save_top_k": -1, "every_n_epochs": 2}, ["1", "3"]),
        ({"monitor": "q_loss", "save_last": True}, ["2", "last"]),
    ],
)
def test_the_best_are_kept_and_the_last(tmp_path, options, kept):
    checkpoint = ModelCheckpoint(tmp_path, "{epoch}", auto_insert_metric_name=False, **options)
    scripted(checkpoint, q_loss=[0.5, 0.9, 0.1, math.nan, 0.3], epochs=5)
    assert [f.removesuffix(".safetensors") for f in files(tmp_path)] == kept
    if "monitor" in options and options.get("save_top_k", 1) > 0:
        best = kept[0]
        assert checkpoint.best_model_path == str(tmp_path / f"{best}.safetensors")
        assert checkpoint.best_model_score == [0.5, 0.9, 0.1, math.nan, 0.3][int(best)]
        assert set(checkpoint.best_k_models) == {
            str(tmp_path / f"{k}.safetensors") for k in kept if k != "last"
        }
    assert checkpoint.last_model_path == (str(tmp_path / "last.safetensors") if "last" in kept else "")


def test_nan_never_beats_a_number(tmp_path):
    scripted(ModelCheckpoint(tmp_path, "{epoch}", "q_loss"), q_loss=[math.nan, 3.0, math.nan], epochs=3)
    assert files(tmp_path) == ["epoch=1.safetensors"]


def test_names_are_filled_with_what_was_measured(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, "m-{epoch:02d}-{step}-{val_loss:.2f}", save_top_k=-1)
    trainer = quiet(max_epochs=1, callbacks=checkpoint)
    fit(linear(), trainer, val=loader(8, 4))
    assert files(tmp_path) == [
        f"m-epoch=00-step=6-val_loss={trainer.callback_metrics['val_loss']:.2f}.safetensors"
    ]
    with pytest.raises(
        RuntimeError,
        match=r"filename='{acc}' wants 'acc', which was not measured; there is epoch, loss, step",
    ):
        fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, "{acc}")))


def test_a_name_with_a_slash_makes_no_folder(tmp_path):
    scripted(ModelCheckpoint(tmp_path, "{q/loss:.1f}"), **{"q/loss": [0.5]}, epochs=1)
    assert files(tmp_path) == ["q_loss=0.5.safetensors"]


def test_checkpoints_by_steps(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2)
    fit(linear(), quiet(max_epochs=2, accumulate_grad_batches=2, callbacks=checkpoint))
    assert files(tmp_path) == [f"step={k}.safetensors" for k in (2, 4, 6)]


def test_a_monitor_by_steps_ranks_once_it_is_measured(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, "{step}", "val_loss", save_top_k=-1, every_n_train_steps=4)
    fit(linear(), quiet(max_epochs=2, callbacks=checkpoint), val=loader(8, 4))
    assert files(tmp_path) == ["step=12.safetensors", "step=8.safetensors"]


def test_checkpoints_by_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("minigrad.train.callbacks.time.monotonic", lambda: now[0])
    tick = LambdaCallback(on_train_batch_start=lambda *a: now.__setitem__(0, now[0] + 1.0))
    checkpoint = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, train_time_interval=timedelta(seconds=5))
    fit(linear(), quiet(max_epochs=2, callbacks=[tick, checkpoint]))
    assert files(tmp_path) == ["step=10.safetensors", "step=5.safetensors"]


def test_a_value_of_one_of_several_validations_is_saved_after_it(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, "{step}", "val_loss", save_top_k=-1)
    fit(linear(), quiet(max_epochs=1, val_check_interval=2, callbacks=checkpoint), val=loader(8, 4))
    assert files(tmp_path) == [f"step={k}.safetensors" for k in (2, 4, 6)]


@pytest.mark.parametrize(("at_epoch_end", "rows"), [(True, 1), (False, 0)])
def test_saving_at_the_epochs_end_or_after_validation(tmp_path, at_epoch_end, rows):
    checkpoint = ModelCheckpoint(tmp_path, "c", "val_loss", save_on_train_epoch_end=at_epoch_end)
    fit(linear(), quiet(max_epochs=1, callbacks=checkpoint), val=loader(8, 4))
    assert len(load_checkpoint(tmp_path / "c.safetensors")["history"]["epoch"]) == rows


def test_weights_only_leaves_out_the_rest(tmp_path):
    model = linear()
    fit(model, quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, "w", save_weights_only=True)))
    found = load_checkpoint(tmp_path / "w.safetensors")
    assert same(found["state_dict"], model.state_dict()) and "optimizer_states" not in found


def test_another_run_does_not_overwrite_unless_told_to(tmp_path):
    for _ in range(3):
        fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, "c", save_last=True)))
    assert files(tmp_path) == sorted(f"{n}{v}.safetensors" for n in ("c", "last") for v in ("", "-v1", "-v2"))
    checkpoint = ModelCheckpoint(tmp_path, "c", enable_version_counter=False)
    fit(linear(), quiet(max_epochs=1, callbacks=checkpoint))
    assert len(files(tmp_path)) == 6 and checkpoint.best_model_path.endswith("/c.safetensors")


def test_one_name_for_all_epochs_keeps_one_file(tmp_path):
    fit(linear(), quiet(max_epochs=3, callbacks=ModelCheckpoint(tmp_path, "c")))
    assert files(tmp_path) == ["c.safetensors"]
    assert load_checkpoint(tmp_path / "c.safetensors")["global_step"] == 18


def test_the_folder_is_given_or_the_trainers(tmp_path, monkeypatch):
    fit(linear(), quiet(max_epochs=1, default_root_dir=tmp_path / "root"))
    assert files(tmp_path / "root" / "checkpoints") == ["epoch=0-step=6.safetensors", "last.safetensors"]
    monkeypatch.chdir(tmp_path)
    fit(linear(), quiet(max_epochs=1, enable_checkpointing=True))
    assert files(tmp_path / "checkpoints") == ["epoch=0-step=6.safetensors", "last.safetensors"]
    before = files(tmp_path)
    fit(linear(), quiet(max_epochs=1))
    fit(linear(), quiet(max_epochs=1, enable_checkpointing=False, default_root_dir=tmp_path / "no"))
    assert files(tmp_path) == before


def test_evaluate_and_predict_change_nothing_of_it(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "folder", "c")
    trainer = quiet(max_epochs=1, callbacks=checkpoint)
    trainer.predict(linear(), loader())
    assert not (tmp_path / "folder").exists()
    fit(linear(), trainer)
    trainer.evaluate(linear(), loader(), loss=nn.CrossEntropyLoss())
    assert checkpoint.best_model_path == str(tmp_path / "folder" / "c.safetensors")


def test_each_path_is_told_when_asked(tmp_path, capsys):
    fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path, "c", verbose=True)))
    assert capsys.readouterr().out == f"ModelCheckpoint: epoch 1, step 6: {tmp_path}/c.safetensors\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"every_n_epochs": 1, "every_n_train_steps": 2},
            "expected one of every_n_train_steps, every_n_epochs, train_time",
        ),
        ({"every_n_train_steps": 0}, "every_n_train_steps to be an integer of 1 or more, got 0"),
        ({"train_time_interval": 5}, "train_time_interval to be a timedelta, got 5"),
        ({"save_top_k": -2}, "save_top_k to be an integer of -1 or more, got -2"),
        ({"save_top_k": 3}, "save_top_k=3 needs a monitor to rank by"),
        ({"mode": "best"}, "expected mode to be 'min', 'max' or 'auto', got 'best'"),
    ],
)
def test_options_of_model_checkpoint_are_checked(options, text):
    with pytest.raises(ValueError, match=text):
        ModelCheckpoint(**options)


def test_a_folder_that_can_not_be_made_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    trainer = quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path / "file" / "folder"))
    with pytest.raises(OSError, match="file"):
        fit(linear(), trainer)
    assert trainer.global_step == 0


# ---- learning rate ---------------------------------------------------------------------------------------


def test_the_learning_rate_of_the_epoch_is_in_the_history_and_in_step_logs():
    steps = []
    log = LambdaCallback(on_log=lambda t, m, v, step, when: steps.append((when, v.get("lr"))))
    for interval, epoch, step in ((None, True, True), ("epoch", True, False), ("step", False, True)):
        steps.clear()
        model = linear()
        optimizer = sgd(model, 1.0)
        trainer = quiet(max_epochs=2, log_every_n_steps=3, callbacks=[log, LearningRateMonitor(interval)])
        history = fit(
            model, trainer, optimizer=optimizer, scheduler=optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        )
        assert history.history.get("lr") == ([1.0, 0.5] if epoch else None)
        assert [lr for when, lr in steps if when == "step"] == ([1.0, 1.0, 0.5, 0.5] if step else [None] * 4)


def test_groups_momentum_and_decay_have_their_names():
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[1].parameters(), "name": "norm", "lr": 0.3}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)
    history = fit(
        model,
        quiet(max_epochs=1, callbacks=LearningRateMonitor(log_momentum=True, log_weight_decay=True)),
        optimizer=optimizer,
    )
    row = history.row()
    assert (row["lr-pg0"], row["lr-norm"]) == (0.1, 0.3)
    assert (row["momentum-pg0"], row["weight_decay-norm"]) == (0.9, 0.01)
    adam = fit(
        linear(), quiet(max_epochs=1, callbacks=LearningRateMonitor(log_momentum=True)), optimizer=optim.Adam
    )
    assert adam.row()["momentum"] == 0.9
    with pytest.raises(ValueError, match="logging_interval to be 'step', 'epoch' or None, got 'batch'"):
        LearningRateMonitor("batch")


# ---- CSVLogger -------------------------------------------------------------------------------------------


def rows(path, separator=","):
    return list(csv.reader(path.read_text().splitlines(), delimiter=separator))


def test_csv_has_a_row_an_epoch_with_columns_that_come_later(tmp_path):
    history = fit(
        linear(), quiet(max_epochs=3, check_val_every_n_epoch=2, callbacks=CSVLogger(tmp_path / "new" / "log.csv")),
        val=loader(8, 4),
    )  # fmt: skip
    found = rows(tmp_path / "new" / "log.csv")
    assert found[0] == ["epoch", "loss", "val_loss"]
    assert [r[0] for r in found[1:]] == ["0", "1", "2"]
    assert [float(r[1]) for r in found[1:]] == history.history["loss"]
    assert [r[2] for r in found[1:]] == ["", repr(history.history["val_loss"][1]), ""]


def test_csv_by_steps_follows_log_every_n_steps(tmp_path):
    callbacks = [CSVLogger(tmp_path / "log.csv", separator=";", interval="step"), LearningRateMonitor()]
    fit(linear(), quiet(max_epochs=2, log_every_n_steps=5, callbacks=callbacks))
    found = rows(tmp_path / "log.csv", ";")
    assert found[0] == ["epoch", "step", "loss", "lr"] and [r[:2] for r in found[1:]] == [
        ["0", "5"],
        ["1", "10"],
    ]


def test_csv_is_written_anew_or_appended_to(tmp_path):
    path = tmp_path / "log.csv"
    for append, lines in ((False, 2), (True, 3), (True, 4), (False, 2)):
        fit(linear(), quiet(max_epochs=1, callbacks=CSVLogger(path, append=append)))
        assert len(rows(path)) == lines
    with pytest.raises(ValueError, match="expected interval to be 'epoch' or 'step', got 'batch'"):
        CSVLogger(path, interval="batch")


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_resumed_run_takes_back_the_rows_after_its_checkpoint(tmp_path, interval):
    def run(folder, epochs, ckpt=None):
        log = CSVLogger(folder / "log.csv", interval=interval)
        save = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
        fit(linear(), quiet(max_epochs=epochs, log_every_n_steps=4, callbacks=[log, save]), ckpt_path=ckpt)
        return (folder / "log.csv").read_text()

    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = run(tmp_path / "a", 4)
    run(tmp_path / "b", 3)
    assert run(tmp_path / "b", 4, tmp_path / "b" / "epoch=1.safetensors") == whole
    (tmp_path / "b" / "log.csv").unlink()
    late = run(tmp_path / "b", 4, tmp_path / "b" / "epoch=1.safetensors")
    assert (
        len(late.splitlines()) < len(whole.splitlines()) and late.splitlines()[-1] == whole.splitlines()[-1]
    )


def test_a_column_that_came_after_the_checkpoint_is_taken_back_too(tmp_path):
    def run(folder, epochs, ckpt=None, every=2):
        callbacks = [CSVLogger(folder / "log.csv"), ModelCheckpoint(folder, "{epoch}", save_top_k=-1)]
        trainer = quiet(max_epochs=epochs, check_val_every_n_epoch=every, callbacks=callbacks)
        fit(linear(), trainer, val=loader(8, 4), ckpt_path=ckpt)
        return (folder / "log.csv").read_text()

    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = run(tmp_path / "a", 3)
    run(tmp_path / "b", 2)
    assert run(tmp_path / "b", 3, tmp_path / "b" / "epoch=0.safetensors") == whole
    text = (tmp_path / "b" / "log.csv").read_text()
    (tmp_path / "b" / "log.csv").write_text(text.replace("loss", "cost"))
    with pytest.raises(ValueError, match="isn't the file of the run that is resumed: expected the columns"):
        run(tmp_path / "b", 3, tmp_path / "b" / "epoch=0.safetensors")


# ---- one run after another -------------------------------------------------------------------------------

WITH_STATE = {
    "CSVLogger": lambda folder: CSVLogger(folder / "log.csv"),
    "CSVLogger by steps": lambda folder: CSVLogger(folder / "log.csv", interval="step"),
    "CSVLogger that appends": lambda folder: CSVLogger(folder / "log.csv", append=True),
    "EarlyStopping": lambda folder: EarlyStopping("loss", patience=1, min_delta=0.05, restore_best_weights=True),
    "EarlyStopping at a threshold": lambda folder: EarlyStopping("loss", stopping_threshold=1.2),
    "LearningRateMonitor": lambda folder: LearningRateMonitor(),
    "ModelCheckpoint": lambda folder: ModelCheckpoint(folder, monitor="loss", save_last=True, save_top_k=2),
    "ModelCheckpoint by steps": lambda folder: ModelCheckpoint(folder, every_n_train_steps=4, save_top_k=-1),
    "ProgressBar": lambda folder: ProgressBar(stream=io.StringIO()),
    "TensorBoard": lambda folder: TensorBoard(folder),
}  # fmt: skip


def test_every_callback_that_keeps_something_is_run_twice():
    kept = {n.split()[0] for n in WITH_STATE}
    assert kept == {
        n for n in minigrad.train.__all__
        if isinstance(c := getattr(minigrad.train, n), type) and issubclass(c, Callback) and c not in (Callback, LambdaCallback)
    }  # fmt: skip


class Cut(Exception):
    pass


@pytest.mark.parametrize("first", ["whole", "shorter", "cut", "other values"])
@pytest.mark.parametrize("name", WITH_STATE)
def test_a_callback_begins_each_run_as_a_new_one_does(tmp_path, monkeypatch, name, first):
    module = type(sys)("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)

    def cut(trainer, model):
        if first == "cut" and cut.runs == 1 and trainer.current_epoch == 2:
            raise Cut

    def run(trainer):
        cut.runs += 1
        values = loader(8, 4) if (first, cut.runs) == ("other values", 1) else None
        trainer.max_epochs = 1 if (first, cut.runs) == ("shorter", 1) else 4
        with contextlib.suppress(Cut):
            fit(linear(), trainer, val=values)
        stream = getattr(callback, "stream", None)
        printed = stream and (stream.getvalue(), stream.seek(0), stream.truncate())[0]
        return {"epochs": len(trainer.history), "stop": trainer.stop_reason, "printed": printed}

    ends = []
    for folder, new in ((tmp_path / "same", False), (tmp_path / "new", True)):
        folder.mkdir()
        cut.runs, written = 0, {}
        for k in range(2):
            if k == 0 or new:
                callback = WITH_STATE[name](folder)
                trainer = quiet(
                    log_every_n_steps=3, callbacks=[callback, LambdaCallback(on_train_epoch_end=cut)]
                )
            told = run(trainer)
        written = {f: (folder / f).read_text() if f.endswith("csv") else None for f in files(folder)}
        state = {k: v for k, v in vars(callback).items() if not k.startswith(("_writer", "_rate", "stream"))}
        ends.append((told, written, str(state).replace(str(folder), "")))
    assert ends[0] == ends[1]


# ---- TensorBoard -----------------------------------------------------------------------------------------


class Writer:
    made = ()

    def __init__(self, folder, purge_step=None):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        Writer.made = (*Writer.made, self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_tensorboard_gets_scalars_of_steps_validations_and_epochs(tmp_path, monkeypatch):
    module = type(sys)("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    monkeypatch.setattr(Writer, "made", ())
    callbacks = [TensorBoard("logs"), ModelCheckpoint(tmp_path, "c")]
    fit(linear(), quiet(max_epochs=1, log_every_n_steps=4, callbacks=callbacks), val=loader(8, 4))
    fit(
        linear(),
        quiet(max_epochs=2, callbacks=callbacks),
        val=loader(8, 4),
        ckpt_path=tmp_path / "c.safetensors",
    )
    first, second = Writer.made
    assert first.folder == "logs" and first.closed and first.purge_step is None
    assert first.scalars == [("loss_step", 4), ("val_loss", 6), ("loss", 6)]
    assert second.purge_step == 7


def test_tensorboard_writes_files_that_tensorboardx_wrote(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(linear(), quiet(max_epochs=1, callbacks=TensorBoard(tmp_path)))
    assert any(f.startswith("events.out.tfevents") for f in files(tmp_path))


def test_tensorboard_missing_is_said_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    trainer = quiet(max_epochs=1, callbacks=TensorBoard())
    with pytest.raises(
        ImportError, match=r"needs tensorboardX; pip install 'minigrad-xp\[tensorboard\]', or use CSVLogger"
    ):
        fit(linear(), trainer)
    assert trainer.global_step == 0


# ---- their state -----------------------------------------------------------------------------------------


def test_states_are_kept_by_class_and_number():
    trainer = Trainer(
        callbacks=[EarlyStopping("a_loss"), EarlyStopping("b_loss"), ProgressBar()], enable_progress_bar=False
    )
    assert list(trainer.callbacks_by_key()) == ["EarlyStopping", "EarlyStopping#2", "ProgressBar"]


def test_a_run_stopped_early_stays_stopped_when_resumed_and_goes_on_with_more_patience(tmp_path):
    def run(patience, ckpt=None):
        stopping = EarlyStopping("some_loss", patience=patience)
        trainer = quiet(
            max_epochs=8, limit_train_batches=1,
            callbacks=[Scripted(some_loss=FALLING), stopping, ModelCheckpoint(tmp_path, "c")],
        )  # fmt: skip
        fit(linear(), trainer, ckpt_path=ckpt)
        return trainer

    assert run(1).current_epoch == 4
    again = run(1, tmp_path / "c.safetensors")
    assert again.current_epoch == 4
    assert again.stop_reason == "some_loss did not get better in 1 checks, best 0.8"
    assert run(2, tmp_path / "c.safetensors").current_epoch == 7


def test_changed_callbacks_of_a_resumed_run_are_told(tmp_path):
    saved = [EarlyStopping("loss"), ModelCheckpoint(tmp_path, "c")]
    fit(linear(), quiet(max_epochs=1, callbacks=saved))
    trainer = quiet(max_epochs=2, callbacks=[CSVLogger(tmp_path / "log.csv")])
    text = "saved, but not among the callbacks: EarlyStopping, ModelCheckpoint; among the callbacks, but not saved: CSVLogger"
    with pytest.warns(UserWarning, match=text):
        fit(linear(), trainer, ckpt_path=tmp_path / "c.safetensors")
    assert trainer.current_epoch == 2


def test_callbacks_may_add_to_a_checkpoint_and_get_it_back(tmp_path):
    found = []
    extra = LambdaCallback(
        on_save_checkpoint=lambda t, m, checkpoint: checkpoint.update(extra={"n": 3}),
        on_load_checkpoint=lambda t, m, checkpoint: found.append(checkpoint["extra"]),
    )
    fit(linear(), quiet(max_epochs=1, callbacks=[extra, ModelCheckpoint(tmp_path, "c")]))
    fit(
        linear(),
        quiet(max_epochs=2, callbacks=[extra, ModelCheckpoint(tmp_path, "c")]),
        ckpt_path=tmp_path / "c.safetensors",
    )
    assert found == [{"n": 3}]


def test_a_moved_folder_is_found_by_its_new_place(tmp_path):
    fit(linear(), quiet(max_epochs=1, callbacks=ModelCheckpoint(tmp_path / "old", "c", save_last=True)))
    os.rename(tmp_path / "old", tmp_path / "new")
    checkpoint = ModelCheckpoint(tmp_path / "new", "c", save_last=True)
    fit(linear(), quiet(max_epochs=1, callbacks=checkpoint), ckpt_path="last")
    assert checkpoint.best_model_path == str(tmp_path / "new" / "c.safetensors")
    other = ModelCheckpoint(tmp_path / "other", "c")
    fit(linear(), quiet(max_epochs=1, callbacks=other), ckpt_path=tmp_path / "new" / "c.safetensors")
    assert other.best_model_path == "" and other.best_k_models == {}
