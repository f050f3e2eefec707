"""The Trainer: each option by its effect, against the loop that one would write by hand."""

import csv
import io
import json
import math
import os
import signal
import sys
import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from training import Recorder, data, fit, linear, loader, network, quiet, same, sgd, weights

import minigrad
from minigrad import nn, optim, train
from minigrad.data import DataLoader, IterableDataset, TensorDataset
from minigrad.train import (
    AUROC,
    Accuracy,
    ConfusionMatrix,
    CSVLogger,
    F1Score,
    History,
    LambdaCallback,
    LightningModule,
    MeanSquaredError,
    ModelCheckpoint,
    NonFiniteError,
    ProgressBar,
    Trainer,
    load_checkpoint,
)

CE = nn.CrossEntropyLoss()


def by_hand(model, epochs, accumulate=1, batches=None, lr=0.1, clip=None):
    """The plain loop. A group's gradient is that of the mean over all its samples, in one batch."""
    optimizer = sgd(model, lr)
    everything = list(loader())[:batches]
    for _ in range(epochs):
        for i in range(0, len(everything), accumulate):
            group = everything[i : i + accumulate]
            x, y = (minigrad.cat(parts) for parts in zip(*group, strict=True))
            optimizer.zero_grad()
            CE(model(x), y).backward()
            if clip:
                clip(model.parameters())
            optimizer.step()
    return weights(model)


def close(a, b, rtol=1e-5):
    return all(np.allclose(a[k], b[k], rtol=rtol, atol=1e-7) for k in a)


# ---- the loop --------------------------------------------------------------------------------------------


def test_fit_is_the_loop_written_by_hand_bit_by_bit():
    model = linear()
    fit(model, quiet(max_epochs=3))
    assert same(weights(model), by_hand(linear(), 3))


def test_history_has_the_loss_and_metrics_of_the_whole_set_for_training_and_validation():
    model = linear()
    history = fit(
        model,
        quiet(max_epochs=2),
        val=loader(10, 4),
        optimizer=lambda p: optim.SGD(p, lr=0.0),
        metrics=[Accuracy()],
    )
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == [0, 1]
    for prefix, n in [("", 22), ("val_", 10)]:
        x, y = data(n)
        output = model(x)
        assert history.history[f"{prefix}loss"] == pytest.approx([CE(output, y).item()] * 2, rel=1e-6)
        expected = np.mean(output.detach().numpy().argmax(1) == y.numpy())
        assert history.history[f"{prefix}accuracy"] == [expected] * 2


def test_validation_and_evaluate_run_in_eval_mode_without_graph_and_give_each_module_its_mode_back():
    model = network()
    model[3].eval()  # the user's choice, to be respected... until fit, which trains all
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append((self.training, minigrad.is_grad_enabled()))
            return x

    model.append(Watching())
    before = weights(model)
    quiet().evaluate(model, loader(), loss=CE)
    assert set(seen) == {(False, False)}
    assert [m.training for m in model] == [True, True, True, False, True, True]
    assert same(weights(model), before)
    seen.clear()
    fit(model, quiet(max_epochs=1), val=loader(8, 4))
    assert seen == [(True, True)] * 6 + [(False, False)] * 2
    assert all(m.training for m in model)


def test_a_list_of_batches_is_a_loader():
    model = linear()
    fit(model, quiet(max_epochs=3), train=list(loader()))
    assert same(weights(model), by_hand(linear(), 3))


def test_several_inputs_are_passed_in_order():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x, z):
            return self.a(x) + z

    x, y = data()
    pairs = DataLoader(TensorDataset(x, minigrad.zeros(22, 3), y), batch_size=4)
    minigrad.manual_seed(0)
    model = Two()
    fit(model, quiet(max_epochs=1), train=pairs)
    assert same(list(weights(model).values()), list(by_hand(linear(), 1).values()))
    assert quiet().predict(model, pairs).shape == (22, 3)


def test_fit_may_be_called_again_and_begins_anew():
    trainer = quiet(max_epochs=2)
    assert len(fit(linear(), trainer)) == 2
    model = linear()
    assert len(fit(model, trainer)) == 2
    assert same(weights(model), by_hand(linear(), 2))


def test_an_optimizer_may_be_given_made_or_to_be_made():
    for make in (lambda m: sgd(m), lambda m: lambda p: optim.SGD(p, lr=0.1)):
        model = linear()
        fit(model, quiet(max_epochs=2), optimizer=make(model))
        assert same(weights(model), by_hand(linear(), 2))


# ---- how long --------------------------------------------------------------------------------------------


def test_max_epochs_and_max_steps_end_a_run():
    trainer = quiet(max_epochs=2)
    fit(linear(), trainer)
    assert (trainer.current_epoch, trainer.global_step) == (2, 12)
    trainer = quiet(max_steps=8)
    history = fit(linear(), trainer, val=loader(8, 4))
    assert trainer.global_step == 8
    assert len(history) == 2 and not math.isnan(history.history["val_loss"][1])
    trainer = quiet(max_epochs=0)
    assert len(fit(linear(), trainer)) == 0
    assert quiet().max_epochs == 1000 and quiet(max_steps=5).max_epochs == -1


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(1.5, 1.5), (timedelta(minutes=2), 120), ({"hours": 1}, 3600), ("01:02:03:04", 93784)],
)
def test_max_time_is_taken_in_every_form(given, seconds):
    assert quiet(max_time=given).max_time == seconds


def test_max_time_ends_a_run(monkeypatch):
    now = iter(np.arange(1e4, 1e6, 0.25))
    monkeypatch.setattr("minigrad.train.loop.time.monotonic", lambda: float(next(now)))
    trainer = quiet(max_time=5)
    fit(linear(), trainer)
    assert 0 < trainer.global_step < 40


def test_should_stop_ends_the_run_after_the_batch_with_the_epochs_row_worked_out():
    def stop(trainer, model, outputs, batch, batch_idx):
        trainer.should_stop = batch_idx == 2

    trainer = quiet(max_epochs=5, callbacks=LambdaCallback(on_train_batch_end=stop))
    history = fit(linear(), trainer, val=loader(8, 4))
    assert trainer.global_step == 3 and len(history) == 1
    assert list(history.history) == ["loss", "val_loss"]
    assert trainer.stop_reason == "should_stop was set"


# ---- gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 4, 5, 9])
def test_accumulated_gradients_are_those_of_the_whole_group_the_ragged_last_one_too(accumulate):
    model, trainer = linear(), quiet(max_epochs=3, accumulate_grad_batches=accumulate)
    fit(model, trainer)
    assert trainer.global_step == 3 * -(-6 // accumulate)
    assert close(weights(model), by_hand(linear(), 3, accumulate))


def test_a_stream_that_ends_within_a_group_steps_too():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(zip(*data(), strict=True)))

    model, trainer = linear(), quiet(max_epochs=2, accumulate_grad_batches=4)
    history = fit(model, trainer, train=DataLoader(Stream(), batch_size=4), val=loader(8, 4))
    assert trainer.global_step == 4 and trainer.num_training_batches is None
    assert len(history.history["val_loss"]) == 2
    assert close(weights(model), by_hand(linear(), 2, 4))


def test_ignored_targets_and_class_weights_weigh_in_accumulation_and_in_the_loss():
    x, y = data()
    y[minigrad.tensor([0, 1, 2, 9])] = -1
    pairs = DataLoader(TensorDataset(x, y), batch_size=4)
    for options in ({}, {"weight": minigrad.tensor([0.2, 1.0, 3.0])}):
        loss = nn.CrossEntropyLoss(ignore_index=-1, **options)
        model, whole = linear(), linear()
        history = fit(model, quiet(max_epochs=1, accumulate_grad_batches=9), train=pairs, loss=loss)
        value = loss(whole(x), y)
        value.backward()
        sgd(whole).step()
        assert close(weights(model), weights(whole))
        assert history.history["loss"][0] == pytest.approx(value.item(), rel=1e-6)


def test_a_summed_loss_is_summed_over_the_group_and_reported_per_sample():
    x, y = data()
    loss, model, whole = nn.CrossEntropyLoss(reduction="sum"), linear(), linear()
    history = fit(
        model, quiet(max_epochs=1, accumulate_grad_batches=9), loss=loss, val=loader(),
        optimizer=lambda p: optim.SGD(p, lr=0.001),
    )  # fmt: skip
    value = loss(whole(x), y)
    value.backward()
    sgd(whole, 0.001).step()
    assert close(weights(model), weights(whole))
    assert history.history["loss"][0] == pytest.approx(value.item() / 22, rel=1e-6)
    assert history.history["val_loss"][0] == pytest.approx(loss(whole(x), y).item() / 22, rel=1e-6)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_after_accumulation(algorithm):
    clip = optim.clip_grad_norm_ if algorithm == "norm" else optim.clip_grad_value_
    norms = []

    def look(trainer, model, optimizer):
        norms.append(max(float(p.grad.abs().max()) for p in model.parameters()))

    model = linear()
    trainer = quiet(
        max_epochs=2, gradient_clip_val=0.05, gradient_clip_algorithm=algorithm, accumulate_grad_batches=2,
        callbacks=LambdaCallback(on_before_optimizer_step=look),
    )  # fmt: skip
    fit(model, trainer)
    assert close(weights(model), by_hand(linear(), 2, 2, clip=lambda p: clip(p, 0.05)))
    assert not close(weights(model), by_hand(linear(), 2, 2))
    assert max(norms) > 0.05  # the hook sees them before


# ---- which batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "batches"), [(4, 4), (0.5, 3), (99, 6), (1.0, 6)])
def test_limit_train_batches(limit, batches):
    model, trainer = linear(), quiet(max_epochs=2, limit_train_batches=limit)
    fit(model, trainer)
    assert trainer.global_step == 2 * batches
    assert same(weights(model), by_hand(linear(), 2, batches=batches))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_that_was_left_early_leaves_no_thread_and_the_next_is_another(workers):
    shuffled = loader(shuffle=True, num_workers=workers)
    seen = []
    note = LambdaCallback(on_train_batch_start=lambda t, m, batch, i: seen.append(batch[0].numpy().copy()))
    before = threading.active_count()
    fit(linear(), quiet(max_epochs=2, limit_train_batches=2, callbacks=note), train=shuffled)
    assert len(seen) == 4 and not same(seen[:2], seen[2:])
    for _ in range(200):
        if threading.active_count() == before:
            break
        time.sleep(0.005)
    assert threading.active_count() == before


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (0.5, 2), (0, 0), (1.0, 5)])
def test_limit_val_batches_and_zero_leaves_validation_out(limit, batches):
    seen = Recorder("on_validation_batch_end")
    history = fit(linear(), quiet(max_epochs=1, limit_val_batches=limit, callbacks=seen), val=loader(20, 4))
    assert len(seen.calls) == batches
    assert ("val_loss" in history.history) == bool(batches)


def test_limit_test_and_predict_batches():
    trainer = quiet(limit_test_batches=2, limit_predict_batches=0.5)
    model, (x, y) = linear(), data()
    assert trainer.predict(model, loader()).shape == (12, 3)
    found = trainer.evaluate(model, loader(), loss=CE)
    assert found["loss"] == pytest.approx(CE(model(x[:8]), y[:8]).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ({}, [6, 6]),
        ({"val_check_interval": 0.5}, [3, 6, 3, 6]),
        ({"val_check_interval": 2}, [2, 4, 6, 2, 4, 6]),
        ({"val_check_interval": 6}, [6, 6]),
        ({"val_check_interval": 4}, [4, 4]),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 4]),
        ({"check_val_every_n_epoch": 2}, [6]),
        ({"val_check_interval": 3, "check_val_every_n_epoch": 2}, [3, 6]),
        (
            {"val_check_interval": 2, "accumulate_grad_batches": 3},
            [3, 6, 3, 6],
        ),  # waits for the optimizer step
    ],
)
def test_validation_takes_place_as_the_intervals_say(options, after):
    seen = Recorder("on_validation_start")
    fit(linear(), quiet(max_epochs=2, callbacks=seen, **options), val=loader(8, 4))
    assert seen.batches("on_validation_start") == after


def test_epochs_without_validation_have_nan_in_the_history():
    history = fit(linear(), quiet(max_epochs=3, check_val_every_n_epoch=2), val=loader(8, 4))
    assert [math.isnan(v) for v in history.history["val_loss"]] == [True, False, True]


def test_sanity_batches_are_run_first_and_leave_no_trace():
    calls = Recorder(
        "on_sanity_check_start", "on_sanity_check_end", "on_validation_batch_end", "on_train_start"
    )
    g = minigrad.Generator().manual_seed(3)

    def run(steps, *callbacks):
        val = loader(12, 4, shuffle=True, generator=g.manual_seed(3))
        model = network()
        history = fit(
            model,
            quiet(max_epochs=2, num_sanity_val_steps=steps, callbacks=callbacks),
            loader(shuffle=True),
            val,
        )
        return weights(model), history.history

    plain = run(0)
    assert same(run(2, calls), plain)
    names = [c[0] for c in calls.calls]
    assert names[:5] == [
        "on_sanity_check_start",
        *["on_validation_batch_end"] * 2,
        "on_sanity_check_end",
        "on_train_start",
    ]
    calls.calls.clear()
    assert same(run(-1, calls), plain)
    assert [c[0] for c in calls.calls][:5] == [
        "on_sanity_check_start",
        *["on_validation_batch_end"] * 3,
        "on_sanity_check_end",
    ]


def test_seed_makes_runs_equal_whatever_was_drawn_before():
    runs = []
    for drawn in (0, 5):
        model = network()
        minigrad.rand(drawn)
        fit(model, quiet(max_epochs=1, seed=11), train=loader(shuffle=True))
        runs.append(weights(model))
    assert same(*runs)
    model = network()
    fit(model, quiet(max_epochs=1, seed=12), train=loader(shuffle=True))
    assert not same(weights(model), runs[0])


def test_workers_do_not_change_a_run():
    runs = []
    for workers in (0, 3):
        model = network()
        fit(
            model,
            quiet(max_epochs=2),
            loader(shuffle=True, num_workers=workers),
            loader(9, 4, num_workers=workers),
        )
        runs.append(weights(model))
    assert same(*runs)


# ---- schedules -------------------------------------------------------------------------------------------


def rates(scheduler, val=None, **options):
    """The learning rate of each optimizer step, and the last one set."""
    seen = []
    model = linear()
    optimizer = sgd(model, 1.0)
    note = LambdaCallback(on_before_optimizer_step=lambda t, m, o: seen.append(o.param_groups[0]["lr"]))
    fit(
        model,
        quiet(max_epochs=2, callbacks=note, **options),
        val=val,
        optimizer=optimizer,
        scheduler=scheduler(optimizer),
    )
    return [*seen, optimizer.param_groups[0]["lr"]]


def halving(optimizer):
    return optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


def test_a_schedule_steps_at_the_end_of_epochs_unless_declared_by_steps():
    assert rates(halving) == [1.0] * 6 + [0.5] * 6 + [0.25]
    by_step = rates(lambda o: {"scheduler": halving(o), "interval": "step"}, accumulate_grad_batches=2)
    assert by_step == [0.5**k for k in range(7)]


def test_a_schedules_frequency_counts_steps_or_epochs():
    by_step = rates(lambda o: {"scheduler": halving(o), "interval": "step", "frequency": 4})
    assert by_step == [1.0] * 4 + [0.5] * 4 + [0.25] * 4 + [0.125]
    assert rates(lambda o: {"scheduler": halving(o), "frequency": 2}) == [1.0] * 12 + [0.5]


def test_a_schedule_may_be_made_by_a_function_and_several_multiply():
    assert rates(lambda o: halving)[-1] == 0.25
    assert rates(lambda o: [halving(o), {"scheduler": halving(o), "interval": "step"}])[-1] == 0.25 * 0.5**12


def test_reduce_on_plateau_watches_its_monitor():
    def plateau(o, **options):
        return {
            "scheduler": optim.lr_scheduler.ReduceLROnPlateau(
                o, factor=0.1, patience=0, threshold=10.0, threshold_mode="abs"
            ),
            **options,
        }

    assert rates(plateau, loader(8, 4))[-1] == pytest.approx(0.1)
    assert rates(lambda o: plateau(o, monitor="loss"))[-1] == pytest.approx(0.1)
    assert rates(lambda o: plateau(o, monitor="loss", interval="step"), log_every_n_steps=1)[-1] < 1e-6
    with pytest.raises(
        RuntimeError, match="ReduceLROnPlateau monitors 'val_loss', which was not measured; there is loss"
    ):
        rates(plateau)


def test_an_epoch_without_validation_does_not_step_a_plateau():
    def plateau(o):
        return optim.lr_scheduler.ReduceLROnPlateau(
            o, factor=0.1, patience=0, threshold=10.0, threshold_mode="abs"
        )

    assert rates(plateau, loader(8, 4), check_val_every_n_epoch=2)[-1] == 1.0


def test_estimated_stepping_batches_is_what_onecycle_needs():
    found = []
    see = LambdaCallback(
        on_fit_start=lambda t, m: found.append((t.estimated_stepping_batches, t.batches_in_all))
    )
    for options in (
        {"max_epochs": 3, "accumulate_grad_batches": 4},
        {"max_steps": 5},
        {"max_epochs": 2, "max_steps": 5},
    ):
        fit(linear(), quiet(callbacks=see, **options))
    trainer = quiet(max_time=0, callbacks=see)
    fit(linear(), trainer)
    assert found == [(6, 18), (5, 5), (5, 5), (math.inf, None)]


def test_a_schedule_made_for_steps_that_steps_by_epochs_is_pointed_out():
    with pytest.warns(
        UserWarning, match=r'OneCycleLR is made for 12 steps, but will take 2, .* "interval": "step"'
    ):
        rates(lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=12))
    rates(lambda o: {"scheduler": optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=13), "interval": "step"})


# ---- models with their own steps -------------------------------------------------------------------------


class Own(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.accuracy = Accuracy()
        self.hooks = []

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        output = self(x)
        loss = CE(output, y)
        self.log("train_ce", loss, on_step=True)
        self.log_dict({"size": len(y)}, prog_bar=True, on_step=False)
        return {"loss": loss, "n": len(y)}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        output = self(x)
        self.accuracy.update(output, y)
        self.log("val_acc", self.accuracy)
        self.log("val_mean", float(y.float().mean()))
        return CE(output, y)

    def predict_step(self, batch, batch_idx):
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches == 12
        optimizer = optim.SGD(self.parameters(), lr=0.1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": halving(optimizer), "interval": "step", "frequency": 99},
        }

    def on_train_epoch_end(self):
        self.log("own", 2.0 * self.current_epoch)
        self.hooks.append(self.global_step)


def test_a_lightning_module_runs_its_own_steps_and_logs():
    minigrad.manual_seed(0)
    model, steps = Own(), []
    note = LambdaCallback(
        on_log=lambda t, m, values, step, when: steps.append(dict(values)) if when == "step" else None,
        on_train_batch_end=lambda t, m, outputs, batch, i: outputs["n"] == len(batch[1]) or 1 / 0,
    )  # fmt: skip
    history = quiet(max_epochs=2, callbacks=note, log_every_n_steps=3).fit(model, loader(), loader(10, 4))
    assert same(list(weights(model).values()), list(by_hand(linear(), 2).values()))
    assert list(history.history) == [
        "loss",
        "train_ce",
        "size",
        "own",
        "val_acc",
        "val_mean",
        "val_loss",
    ] or set(history.history) == {"loss", "train_ce", "size", "own", "val_acc", "val_mean", "val_loss"}
    x, y = data(10)
    assert history.history["val_acc"][-1] == np.mean(model(x).argmax(1).numpy() == y.numpy())
    assert history.history["val_mean"] == pytest.approx([y.float().mean().item()] * 2)
    assert history.history["val_loss"][-1] == pytest.approx(CE(model(x), y).item(), rel=1e-6)
    assert history.history["train_ce"] == pytest.approx(history.history["loss"], rel=1e-6)
    assert history.history["size"] == pytest.approx([(5 * 16 + 4) / 22] * 2)
    assert history.history["own"] == [0.0, 2.0] and model.hooks == [6, 12]
    assert len(steps) == 4 and set(steps[0]) == {"loss", "train_ce"}
    assert quiet().predict(model, loader()).tolist() == model(data()[0]).argmax(1).tolist()
    assert quiet().evaluate(model, loader(10, 4))["val_acc"] == history.history["val_acc"][-1]
    with pytest.raises(RuntimeError, match="Own: is not run by a Trainer"):
        model.log("x", 1.0)


def test_what_is_logged_for_the_progress_bar_is_shown():
    out = io.StringIO()
    Trainer(max_epochs=2, callbacks=ProgressBar(every=0, stream=out)).fit(Own(), loader())
    assert "  size 4.0000  " in out.getvalue().splitlines()[0]


def test_a_logged_value_weighs_as_much_as_its_batch_unless_told():
    class Sized(Own):
        def training_step(self, batch, batch_idx):
            self.log("by_batch", float(batch_idx))
            self.log("by_two", float(batch_idx), batch_size=2 if batch_idx else 4)
            return CE(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return sgd(self)

    history = quiet(max_epochs=1, limit_train_batches=2).fit(Sized(), loader(6, 4))
    assert history.history["by_batch"] == pytest.approx([1 / 3])
    assert history.history["by_two"] == pytest.approx([1 / 3])
    nested = [{"a": [minigrad.zeros(3, 2)]}, minigrad.zeros(4)]
    history = quiet(max_epochs=1).fit(Nested(), [nested, [{"a": ["text", 1]}, minigrad.zeros(5)]])
    assert history.history["x"] == pytest.approx([(0 * 3 + 1 * 1) / 4])


class Nested(Own):
    def training_step(self, batch, batch_idx):
        self.log("x", float(batch_idx))
        return (self.layer.weight * 1.0).sum()

    def configure_optimizers(self):
        return sgd(self)


def test_targets_of_any_structure_go_to_the_loss():
    def loss(output, target):
        return CE(output, target["y"])

    pairs = [(x, {"y": y}) for x, y in loader()]
    model = linear()
    fit(model, quiet(max_epochs=3), train=pairs, loss=loss)
    assert same(weights(model), by_hand(linear(), 3))


def test_any_module_with_a_training_step_runs_it():
    class Plain(nn.Linear):
        def training_step(self, batch, batch_idx):
            return CE(self(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = sgd(self)
            return [optimizer], [halving(optimizer)]

    minigrad.manual_seed(0)
    model, trainer = Plain(4, 3), quiet(max_epochs=1)
    trainer.fit(model, loader())
    assert same(weights(model), by_hand(linear(), 1))
    assert trainer.optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("form", ["optimizer", "list", "tuple"])
def test_configure_optimizers_may_return_what_lightnings_may(form):
    class Model(Own):
        def configure_optimizers(self):
            optimizer = sgd(self)
            return {"optimizer": optimizer, "list": [optimizer], "tuple": ([optimizer], [])}[form]

    trainer = quiet(max_epochs=1)
    trainer.fit(Model(), loader())
    assert trainer.global_step == 6


# ---- evaluate, predict -----------------------------------------------------------------------------------


def test_evaluate_gives_values_over_the_whole_set_and_tensors_for_metrics_of_several():
    model, (x, y) = network(), data()
    model.eval()
    output = model(x)
    found = quiet().evaluate(model, loader(), loss=CE, metrics=[Accuracy(), ConfusionMatrix()])
    assert found["loss"] == pytest.approx(CE(output, y).item(), rel=1e-6)
    assert found["accuracy"] == np.mean(output.argmax(1).numpy() == y.numpy())
    assert found["confusion_matrix"].shape == (3, 3)
    only = quiet().evaluate(model, loader(), metrics={"acc": Accuracy()})
    assert only == {"acc": found["accuracy"]}


def test_predict_joins_outputs_of_any_structure():
    class Parts(nn.Module):
        def forward(self, x):
            return {"a": x, "b": (x * 2, [x.sum(1)]), "name": "x"}

    x, _ = data()
    found = quiet().predict(Parts(), DataLoader(TensorDataset(x), batch_size=4))
    assert same(found["a"], x) and same(found["b"][0], x * 2) and same(found["b"][1][0], x.sum(1))
    assert found["name"] == ["x"] * 6
    assert same(quiet().predict(nn.Identity(), [x[:3], x[3:]]), x)


def test_evaluate_and_predict_within_a_run_leave_it_as_it_was(tmp_path):
    other, log = linear(5), CSVLogger(tmp_path / "log.csv")

    def meanwhile(trainer, model, *args):
        trainer.evaluate(other, loader(), loss=CE)
        trainer.predict(other, loader())
        assert trainer.model is model

    calls = LambdaCallback(on_train_epoch_end=meanwhile, on_train_batch_end=meanwhile)
    model, trainer = linear(), quiet(max_epochs=2, accumulate_grad_batches=2, callbacks=[calls, log])
    history = fit(model, trainer, metrics=Accuracy())
    alone = linear()
    assert same(
        history.history,
        fit(alone, quiet(max_epochs=2, accumulate_grad_batches=2), metrics=Accuracy()).history,
    )
    assert same(weights(model), weights(alone))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_evaluate_works_after_a_run_that_was_interrupted(default_handler):
    trainer = quiet(max_epochs=5, callbacks=press(3))
    with pytest.raises(KeyboardInterrupt):
        fit(linear(), trainer)
    model, (x, y) = linear(), data()
    assert trainer.evaluate(model, loader(), loss=CE)["loss"] == pytest.approx(
        CE(model(x), y).item(), rel=1e-6
    )


# ---- what isn't finite -----------------------------------------------------------------------------------


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Root(nn.Module):
    """0, but its gradient is inf · 0."""

    def forward(self, x):
        return (x * 0).sqrt() + x


def test_a_nan_loss_stops_the_run_and_names_the_op_the_module_and_the_line():
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Log(), nn.Dropout(0.1), nn.Linear(8, 3))
    before = weights(model)
    with pytest.raises(NonFiniteError) as caught:
        fit(model, quiet(max_epochs=3), metrics=Accuracy())
    text = str(caught.value)
    assert caught.value.op == "log"
    assert "loss is nan at epoch 1, batch 1, after 0 optimizer steps: op log made" in text
    assert "NaN in its result, float32 (4, 8), from float32 (4, 8) from -" in text
    assert "in 1 (Log), called at test_train.py:" in text
    assert "The weights are those of the step before" in text
    assert same(weights(model), before)
    assert any(
        "the run stopped in epoch 1, batch 0 of 6, step 0; there is no checkpoint" in n
        for n in caught.value.__notes__
    )


def test_a_nan_that_comes_of_an_inf_names_where_that_came_from():
    class Softmax(nn.Module):
        def forward(self, x):
            e = (x * 1000).exp()
            return e / e.sum(1, keepdim=True)

    minigrad.manual_seed(0)
    with pytest.raises(
        NonFiniteError, match=r"op div made .* before it, op exp made .* inf in its result"
    ) as caught:
        fit(nn.Sequential(nn.Linear(4, 3), Softmax()), quiet(max_epochs=1))
    assert caught.value.op == "div"


def test_an_inf_loss_names_the_op_that_made_the_inf():
    class Huge(nn.Module):
        def forward(self, output, target):
            return output.exp().sum()

    with pytest.raises(NonFiniteError, match=r"loss is inf .* op exp made .* inf") as caught:
        fit(linear(), quiet(max_epochs=1), train=[(data()[0] * 1e4, data()[1])], loss=Huge())
    assert caught.value.op == "exp"


@pytest.mark.parametrize("clip", [{}, {"gradient_clip_val": 1.0},
                                  {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}])  # fmt: skip
def test_a_gradient_that_is_not_finite_is_caught_before_the_weights_are_touched(clip):
    class Shifted(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.shift = nn.Parameter(minigrad.zeros(3))

        def forward(self, x):
            return super().forward(x) + self.shift.sqrt()

    for model, op, text in [
        (
            nn.Sequential(nn.Linear(4, 8), Root(), nn.Linear(8, 3)),
            "mul",
            "op mul made .* NaN .* of op sqrt made 32 inf in its",
        ),
        (Shifted(), "sqrt", "op sqrt made 3 inf in its result, float32"),
    ]:
        before = weights(model)
        with pytest.raises(
            NonFiniteError, match=f"gradient is not finite .* the gradient of {text}"
        ) as caught:
            fit(model, quiet(max_epochs=1, accumulate_grad_batches=3, **clip))
        assert caught.value.op == op
        assert same(weights(model), before)


def test_check_finite_false_trains_on():
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Log(), nn.Linear(8, 3))
    history = fit(model, quiet(max_epochs=2, check_finite=False))
    assert math.isnan(history.history["loss"][-1])
    batches, bad = list(loader()), list(loader())[:1]
    bad[0][0][0, 0] = math.nan
    model = linear()
    history = fit(
        model, quiet(max_epochs=1, check_finite=False), train=batches[1:] + bad, metrics=Accuracy(),
        optimizer=lambda p: optim.SGD(p, lr=0.0),
    )  # fmt: skip
    x, y = (minigrad.cat(parts) for parts in zip(*batches[1:], strict=True))
    assert history.history["accuracy"] == [np.mean(linear()(x).argmax(1).numpy() == y.numpy())]


def test_nan_in_the_data_and_in_the_weights_is_said_to_be_there():
    x, y = data()
    x[9, 2] = math.nan
    with pytest.raises(
        NonFiniteError, match=r"batch 3, .* the batch\[0\], float32 \(4, 4\), already holds 1 NaN: clean"
    ) as caught:
        fit(linear(), quiet(max_epochs=1), train=DataLoader(TensorDataset(x, y), batch_size=4))
    assert caught.value.op is None
    model = linear()
    with minigrad.no_grad():
        model.bias[1] = math.inf
    with pytest.raises(
        NonFiniteError, match=r"bias of the model, float32 \(3,\), held 1 inf before the step"
    ):
        fit(model, quiet(max_epochs=1))


def test_the_step_is_run_again_with_the_same_random_numbers():
    class Rare(nn.Module):
        """NaN for one draw in about six."""

        def forward(self, x):
            return x * (minigrad.rand(1) - 0.15).sqrt()

    minigrad.manual_seed(1)
    with pytest.raises(NonFiniteError, match="op sqrt made"):
        fit(nn.Sequential(nn.Linear(4, 3), Rare()), quiet(max_epochs=20))


def test_a_nan_that_does_not_come_again_is_said_to_come_from_outside():
    calls = []

    def loss(output, target):
        calls.append(1)
        return CE(output, target) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(NonFiniteError, match="running the step again gave only finite numbers"):
        fit(linear(), quiet(max_epochs=1), loss=loss)


def test_masks_of_minus_inf_are_not_taken_for_the_cause():
    class Masked(nn.Module):
        def forward(self, x):
            shares = x.masked_fill(x > 100, -math.inf).softmax(-1)
            return (shares - 2).log()

    with pytest.raises(NonFiniteError) as caught:
        fit(nn.Sequential(nn.Linear(4, 3), Masked()), quiet(max_epochs=1))
    assert caught.value.op == "log"


def test_detect_anomaly_gives_the_trace_of_the_forward_call():
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Root(), nn.Linear(8, 3))
    with pytest.raises(RuntimeError, match=r"(?s)returned nan values.*test_train.py"):
        fit(model, quiet(max_epochs=1, detect_anomaly=True))


def test_find_nonfinite_is_there_for_loops_of_ones_own_and_names_what_kernels_stand_for():
    from minigrad import backend
    from minigrad.train import find_nonfinite

    model, x = linear(), data()[0]
    batch = {"x": x, "y": [minigrad.tensor([1.0, math.nan])]}
    op, said = find_nonfinite(lambda: 1 / 0, model, batch)
    assert op is None and said == "the batch['y'][0], float32 (2,), already holds 1 NaN: clean the data"
    op, said = find_nonfinite(lambda: (model(x) * math.inf) * 0, model)
    assert op == "mul" and "from float32 (22, 3) with 66 inf" in said
    op, said = find_nonfinite(lambda: minigrad.zeros(2) * math.inf, model)
    assert op == "mul" and "NaN in its result, float32 (2,), from inf, called at test_train.py" in said
    backend.register_kernel("broken", "silu", lambda m, x: x * m.nan, lambda m, g, x: g, dtypes=("float32",))
    try:
        with minigrad.kernels("broken"):
            op, said = find_nonfinite(lambda: minigrad.silu(x), model)
    finally:
        backend.unregister_kernels("broken")
    assert op == "silu" and said.startswith("op silu made 88 NaN in its result")
    op, said = find_nonfinite(lambda: (minigrad.zeros(2).half() - 1).log(), model)  # computed in float32
    assert op == "log" and said.startswith("op log made 2 NaN in its result, float16 (2,)")


# ---- Ctrl-C ----------------------------------------------------------------------------------------------


@pytest.fixture
def default_handler():
    if os.name == "nt":
        pytest.skip("needs POSIX signals")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(at, times=1):
    """Presses Ctrl-C in the batch of that number."""
    seen = []

    def hook(trainer, model, batch, batch_idx):
        seen.append(batch_idx)
        if len(seen) == at:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.001)

    return LambdaCallback(on_train_batch_start=hook)


def test_ctrl_c_finishes_the_optimizer_step_saves_and_says_where(tmp_path, default_handler):
    model, trainer = linear(), quiet(
        max_epochs=5, accumulate_grad_batches=2, callbacks=[press(9), ModelCheckpoint(tmp_path)]
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(model, trainer)
    assert str(caught.value) == (
        f"Trainer: the run stopped in epoch 2, batch 4 of 6, step 5; go on with ckpt_path='{tmp_path}/last.safetensors'"
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = linear(3)
    fit(
        again,
        quiet(max_epochs=5, accumulate_grad_batches=2, callbacks=ModelCheckpoint(tmp_path)),
        ckpt_path="last",
    )
    whole = linear()
    fit(whole, quiet(max_epochs=5, accumulate_grad_batches=2))
    assert same(weights(again), weights(whole))


def test_where_progress_is_shown_the_first_ctrl_c_is_answered(capfd, default_handler):
    with pytest.raises(KeyboardInterrupt):
        fit(linear(), Trainer(max_epochs=5, callbacks=press(3)))
    assert capfd.readouterr().err == "\nCtrl-C: stopping after this optimizer step; again to stop at once\n"


def test_a_second_ctrl_c_ends_the_run_at_once(default_handler):
    trainer = quiet(max_epochs=5, callbacks=press(3, times=2))
    with pytest.raises(KeyboardInterrupt, match="step 2; there is no checkpoint"):
        fit(linear(), trainer)
    assert trainer.global_step == 2


def test_ctrl_c_within_validation_leaves_it_to_the_resumed_run(tmp_path, default_handler):
    def run(ckpt=None, *callbacks):
        model = network()
        val = loader(12, 4, shuffle=True)
        trainer = quiet(max_epochs=2, val_check_interval=3, callbacks=[*callbacks, ModelCheckpoint(tmp_path)])
        history = fit(model, trainer, loader(shuffle=True), val, metrics=Accuracy(), ckpt_path=ckpt)
        return weights(model), history.history

    def hook(trainer, model, outputs, batch, batch_idx):
        if (trainer.current_epoch, trainer.loop.batch, batch_idx) == (1, 3, 1):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="epoch 2, batch 3 of 6, step 9"):
        run(None, LambdaCallback(on_validation_batch_end=hook))
    resumed = run("last")
    assert same(resumed, run())


def test_ctrl_c_at_the_last_batch_is_not_forgotten(default_handler):
    trainer = quiet(max_epochs=1, callbacks=press(6))
    with pytest.raises(KeyboardInterrupt, match="batch 6 of 6, step 6"):
        fit(linear(), trainer)


def test_ctrl_c_within_evaluate_at_the_end_of_an_epoch_stops_too(default_handler):
    hook = LambdaCallback(on_train_epoch_end=lambda t, m: os.kill(os.getpid(), signal.SIGINT))
    trainer = quiet(max_epochs=3, callbacks=hook)
    with pytest.raises(KeyboardInterrupt, match="the run stopped in epoch 2, batch 0 of 6, step 6"):
        fit(linear(), trainer)


def test_a_handler_of_the_users_own_and_other_threads_are_left_alone():
    own = []
    before = signal.signal(signal.SIGINT, lambda number, frame: own.append(number))
    try:
        fit(linear(), quiet(max_epochs=1, callbacks=press(2)))
        assert own == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
    done = []
    thread = threading.Thread(target=lambda: done.append(len(fit(linear(), quiet(max_epochs=1)))))
    thread.start()
    thread.join()
    assert done == [1]


def test_an_exception_says_where_the_run_was_and_callbacks_are_told_and_torn_down():
    calls = []
    callback = LambdaCallback(
        on_train_batch_end=lambda t, m, o, b, i: 1 / 0 if i == 2 else None,
        on_exception=lambda t, m, e: calls.append(type(e)),
        teardown=lambda t, m, stage: calls.append(stage),
    )
    with pytest.raises(ZeroDivisionError) as caught:
        fit(linear(), quiet(max_epochs=1, callbacks=callback))
    assert caught.value.__notes__ == [
        "Trainer: the run stopped in epoch 1, batch 3 of 6, step 3; there is no checkpoint"
    ]
    assert calls == [ZeroDivisionError, "fit"]


# ---- progress --------------------------------------------------------------------------------------------


def shown(stream, every=0.0, bar=None, **options):
    trainer = Trainer(max_epochs=2, callbacks=ProgressBar(every=every, stream=stream, bar=bar), **options)
    fit(linear(), trainer, val=loader(8, 4), metrics=[Accuracy(), AUROC(from_logits=True)])
    return stream.getvalue()


def test_progress_is_plain_lines_and_a_table_where_there_is_no_terminal():
    lines = shown(io.StringIO()).splitlines()
    assert lines[0].startswith("epoch 1/2  batch 1/6  loss 1.")
    assert "accuracy 0." in lines[0] and " batches/s  " in lines[0] and lines[0].endswith("s left")
    assert "auroc" not in lines[0]
    assert lines[6].split() == [
        "epoch",
        "loss",
        "accuracy",
        "auroc",
        "val_loss",
        "val_accuracy",
        "val_auroc",
        "time",
    ]
    assert lines[7].split()[0] == "1" and len(lines[7]) == len(lines[6])
    assert lines[8].startswith("epoch 2/2  batch 1/6") and lines[14].split()[0] == "2"
    assert len(lines) == 15


def test_lines_are_written_only_so_often():
    lines = shown(io.StringIO(), every=60).splitlines()
    assert len(lines) == 3


def test_the_trainer_shows_progress_unless_told_not_to(capsys):
    fit(linear(), Trainer(max_epochs=1))
    assert len(capsys.readouterr().out.splitlines()) == 2
    fit(linear(), Trainer(max_epochs=1, enable_progress_bar=False))
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar_and_the_table_stays():
    pytest.importorskip("tqdm")
    text = shown(Terminal())
    bars, table = text.split("\r"), [part for part in text.splitlines() if "val_auroc" in part]
    assert any(part.startswith("epoch 1/2:") and "/6 [" in part for part in bars)
    assert len(table) == 1 and "batches/s" not in text


def test_without_tqdm_a_terminal_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "batches/s" in shown(Terminal())
    with pytest.raises(ImportError, match=r"bar=True needs tqdm; pip install 'minigrad-xp\[progress\]'"):
        shown(io.StringIO(), bar=True)


def test_evaluate_and_predict_show_progress_too():
    out = io.StringIO()
    trainer = Trainer(callbacks=ProgressBar(every=0, stream=out))
    trainer.evaluate(linear(), loader(), loss=CE)
    trainer.predict(linear(), loader())
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("evaluate  batch 1/6") and lines[6].startswith("predict  batch 1/6")
    pytest.importorskip("tqdm")
    terminal = Terminal()
    Trainer(callbacks=ProgressBar(stream=terminal)).evaluate(linear(), loader(), loss=CE)
    assert "evaluate" in terminal.getvalue()


def test_a_run_that_stopped_says_why_and_a_stream_has_no_total():
    out = io.StringIO()

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(zip(*data(), strict=True)))

    def stop(trainer, model):
        trainer.stop("enough")

    callbacks = [ProgressBar(every=0, stream=out), LambdaCallback(on_train_epoch_end=stop)]
    fit(linear(), Trainer(max_steps=50, callbacks=callbacks), train=DataLoader(Stream(), batch_size=4))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("epoch 1  batch 1  loss")
    assert lines[-1] == "stopped: enough"


# ---- History ---------------------------------------------------------------------------------------------


def history():
    h = History()
    h.append(0, {"loss": 0.5}, 1.25)
    h.append(1, {"loss": 0.25, "val_loss": 12345678.0}, 75.0)
    h.append(2, {"loss": 0.00001, "val_loss": math.nan}, 3723.0)
    return h


def test_history_goes_to_csv_and_json_whole(tmp_path):
    history().to_csv(tmp_path / "h.csv")
    rows = list(csv.reader((tmp_path / "h.csv").read_text().splitlines()))
    assert rows == [
        ["epoch", "loss", "val_loss"],
        ["0", "0.5", ""],
        ["1", "0.25", "12345678.0"],
        ["2", "1e-05", ""],
    ]
    history().to_json(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text()) == {
        "epoch": [0, 1, 2],
        "history": {"loss": [0.5, 0.25, 0.00001], "val_loss": [None, 12345678.0, None]},
        "seconds": [1.25, 75.0, 3723.0],
    }
    assert sorted(os.listdir(tmp_path)) == ["h.csv", "h.json"]


def test_history_prints_a_table():
    assert str(history()).splitlines() == [
        "epoch      loss  val_loss     time",
        "    1    0.5000         -     1.2s",
        "    2    0.2500  1.23e+07     1:15",
        "    3  1.00e-05         -  1:02:03",
    ]
    assert str(History()) == "History: no epoch yet"
    assert repr(history()) == "<History of 3 epochs: loss, val_loss>"


def test_a_learning_rate_has_one_form_in_the_whole_table():
    h = History()
    for epoch, rate in enumerate((2e-3, 9.5e-4, 0.05, 0.0, math.nan)):
        h.append(epoch, {"loss": 0.002, "lr": rate, "lr-pg1": rate})
    assert [line.split()[1:4] for line in str(h).splitlines()[1:]] == [
        ["0.0020", r, r] for r in ("2.00e-03", "9.50e-04", "5.00e-02", "0.00e+00", "-")
    ]


def test_history_goes_through_its_state():
    copy = History()
    copy.load_state_dict(history().state_dict())
    assert same(copy.state_dict(), history().state_dict())
    assert copy.row(1) == {"loss": 0.25, "val_loss": 12345678.0}


# ---- one line --------------------------------------------------------------------------------------------


def sequential(outputs=3, *last):
    minigrad.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs), *last)


def test_one_line_trains_a_classifier_with_its_accuracy(capsys):
    x, y = data(200)
    model = sequential()
    found = train.fit(model, x, y, epochs=20, batch_size=16, validation_data=data(50, 8), lr=0.02)
    assert list(found.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert found.history["val_accuracy"][-1] > 0.8
    assert len(capsys.readouterr().out.splitlines()) == 21
    assert train.evaluate(model, *data(50, 8))["accuracy"] == found.history["val_accuracy"][-1]
    assert train.predict(model, x).shape == (200, 3)


def test_one_line_takes_numpy_arrays_and_casts_floats():
    x, y = data()
    found = train.fit(sequential(), x.numpy().astype(np.float64), y.numpy().astype(np.int32), verbose=0)
    assert list(found.history) == ["loss", "accuracy"]


@pytest.mark.parametrize(
    ("last", "outputs", "target", "loss"),
    [
        ((), 3, "classes", nn.CrossEntropyLoss),
        ((nn.LogSoftmax(1),), 3, "classes", nn.NLLLoss),
        ((), 2, "two classes", nn.CrossEntropyLoss),
        ((), 1, "bits", nn.BCEWithLogitsLoss),
        ((), 1, "bools", nn.BCEWithLogitsLoss),
        ((nn.Sigmoid(),), 1, "bits", nn.BCELoss),
        ((nn.Sequential(nn.Sigmoid()),), 1, "float bits", nn.BCELoss),
        ((), 1, "numbers", nn.MSELoss),
        ((), 1, "rows", nn.MSELoss),
        ((nn.Sigmoid(),), 1, "numbers", nn.MSELoss),
    ],
)
def test_the_loss_follows_from_the_targets_and_the_last_module(last, outputs, target, loss):
    x, y = data()
    y = {
        "classes": y, "two classes": (y == 1).long(), "bits": (y == 1).long(), "bools": y == 1, "float bits": (y == 1).float(), "numbers": x[:, 0] * 0.3,
        "rows": x[:, :1],
    }[target]  # fmt: skip
    model = sequential(outputs, *last)
    shown = train.choose_loss(model, model(x), y)
    assert type(shown) is loss
    found = train.fit(model, x, y, epochs=2, verbose=0, batch_size=5)
    assert found.history["loss"][1] < found.history["loss"][0]
    assert ("accuracy" in found.history) == (loss is not nn.MSELoss)
    # (N,) targets beside an (N, 1) output don't broadcast to (N, N)
    measured = train.evaluate(model, x, y)["loss"]
    assert measured == pytest.approx(
        loss()(model(x), y if "classes" in target else y.float().reshape(22, 1)).item(), rel=1e-5
    )


def test_metrics_go_by_name_and_binary_ones_know_logits():
    x, y = data()
    bits = (y == 1).long()
    model = sequential(1)
    found = train.evaluate(model, x, bits, metrics=["acc", "f1", F1Score("binary", from_logits=True), "auc"])
    assert set(found) == {"loss", "acc", "f1", "f1_score", "auc"} and found["f1"] == found["f1_score"]
    assert found["acc"] == np.mean((model(x)[:, 0] > 0).numpy() == bits.numpy())
    assert list(train.evaluate(model, x, x[:, 0], metrics="mae")) == ["loss", "mae"]
    assert list(train.evaluate(model, x, bits, metrics=())) == ["loss"]
    assert list(train.evaluate(model, x, x[:, :1], metrics={"e": MeanSquaredError()})) == ["loss", "e"]


def test_one_line_has_the_trainers_options_and_kerass():
    x, y = data()
    model = sequential()
    calls = Recorder("on_train_batch_end")
    found = train.fit(
        model, x, y, epochs=3, batch_size=6, validation_split=0.25, shuffle=False, optimizer=optim.SGD, lr=0.5,
        metrics=(), seed=3, verbose=0, callbacks=[calls], gradient_clip_val=1.0,
    )  # fmt: skip
    assert len(calls.calls) == 9 and list(found.history) == ["loss", "val_loss"]
    assert calls.calls[-1][3] == 9


def test_one_line_takes_a_schedule_and_goes_on_from_a_checkpoint(tmp_path):
    x, y = data()

    def run(epochs, **options):
        model = network()
        train.fit(
            model, x, y, epochs=epochs, batch_size=4, optimizer="SGD", lr=1.0, scheduler=halving, verbose=0,
            callbacks=ModelCheckpoint(tmp_path, "c", enable_version_counter=False), **options,
        )  # fmt: skip
        return weights(model), load_checkpoint(tmp_path / "c.safetensors")

    whole, found = run(3)
    assert found["optimizer_states"][0]["param_groups"][0]["lr"] == 0.25
    run(2)
    assert same(run(3, ckpt_path=tmp_path / "c.safetensors")[0], whole)


def test_shuffle_changes_the_order_and_choosing_the_loss_leaves_no_trace():
    x, y = data()
    seen = []
    note = LambdaCallback(on_train_batch_start=lambda t, m, batch, i: seen.append(batch[0].numpy().copy()))
    train.fit(sequential(), x, y, verbose=0, callbacks=note, shuffle=False)
    assert same(np.concatenate(seen), x.numpy())
    runs = []
    for loss in (None, CE):
        model = network()
        train.fit(model, x, y, epochs=2, batch_size=4, loss=loss, metrics={"accuracy": Accuracy()}, verbose=0)
        runs.append(weights(model))
    assert same(*runs)


def test_one_line_takes_loaders_optimizers_and_verbosity(capsys):
    model = sequential()
    found = train.fit(
        model, loader(), validation_data=loader(8, 4), optimizer=sgd(model), epochs=2, verbose=2
    )
    assert len(found) == 2
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3 and out[0].startswith("epoch")
    train.fit(model, loader(), epochs=1, verbose=2, callbacks=ModelCheckpoint(save_top_k=0))
    assert "loss" in train.evaluate(model, loader())
    assert train.predict(model, loader()).shape == (22, 3)
    capsys.readouterr()
    os.rmdir("checkpoints") if os.path.isdir("checkpoints") and not os.listdir("checkpoints") else None


def test_predict_takes_several_inputs():
    class Add(nn.Module):
        def forward(self, a, b):
            return a + b

    x, _ = data()
    assert same(train.predict(Add(), (x, x)), x + x)


def test_one_line_runs_a_lightning_module_with_its_own_steps():
    minigrad.manual_seed(0)

    class Small(Own):
        def configure_optimizers(self):
            return sgd(self)

    found = train.fit(Small(), *data(), epochs=1, batch_size=4, shuffle=False, verbose=0)
    assert "train_ce" in found.history


# ---- bad input -------------------------------------------------------------------------------------------


class Stepless(nn.Linear):
    def training_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return sgd(self)


class Many(Stepless):
    def configure_optimizers(self):
        return [sgd(self), sgd(self)]


class NoOptimizer(nn.Linear):
    def training_step(self, batch, batch_idx):
        return None


BATCH = [data()]
REFUSED = [
    (lambda: Trainer(max_epochs=-2), ValueError, "max_epochs to be an integer of -1 or more, got -2"),
    (lambda: Trainer(max_steps=1.5), ValueError, "max_steps to be an integer of -1 or more, got 1.5"),
    (lambda: Trainer(max_time="1:2"), ValueError, "max_time as 'DD:HH:MM:SS', got '1:2'"),
    (lambda: Trainer(max_time=-1), ValueError, "max_time of 0 seconds or more, got -1"),
    (lambda: Trainer(accumulate_grad_batches=0), ValueError, "accumulate_grad_batches to be an integer of 1"),
    (lambda: Trainer(gradient_clip_val=0.0), ValueError, "gradient_clip_val above 0, or None, got 0.0"),
    (
        lambda: Trainer(gradient_clip_algorithm="max"),
        ValueError,
        "gradient_clip_algorithm 'norm' or 'value', got 'max'",
    ),
    (lambda: Trainer(val_check_interval=0), ValueError, "val_check_interval to be a number of batches"),
    (lambda: Trainer(limit_train_batches=1.5), ValueError, "limit_train_batches to be a number of batches"),
    (lambda: Trainer(limit_val_batches=True), ValueError, "limit_val_batches to be a number of batches"),
    (lambda: Trainer(check_val_every_n_epoch=0), ValueError, "check_val_every_n_epoch to be an integer of 1"),
    (lambda: Trainer(check_val_every_n_epoch=None), ValueError, "has to be an integer, got 1.0"),
    (
        lambda: Trainer(callbacks=[print]),
        TypeError,
        "expected callbacks to be Callbacks, got <built-in function print>",
    ),
    (
        lambda: Trainer(enable_checkpointing=False, callbacks=ModelCheckpoint()),
        ValueError,
        "enable_checkpointing=False, but a ModelCheckpoint",
    ),
    (lambda: Trainer(precision=16), TypeError, "unexpected keyword argument 'precision'"),
    (
        lambda: fit(print, quiet()),
        TypeError,
        "expected model to be an nn.Module, got builtin_function_or_method",
    ),
    (lambda: fit(linear(), quiet(), loss=None), ValueError, "expected loss=, a function .* Linear has none"),
    (lambda: fit(linear(), quiet(), optimizer=None), ValueError, "expected optimizer="),
    (lambda: fit(linear(), quiet(), optimizer="adam"), TypeError, "optimizer to be an Optimizer, got str"),
    (lambda: fit(Own(), quiet()), ValueError, "Own defines training_step, which makes its loss"),
    (lambda: fit(Own(), quiet(), loss=None), ValueError, "leave out optimizer= and scheduler="),
    (
        lambda: fit(Own(), quiet(), loss=None, optimizer=None, metrics=Accuracy()),
        ValueError,
        "it logs its metrics itself",
    ),
    (lambda: quiet().fit(Many(4, 3), BATCH), ValueError, "returned 2 optimizers, expected one"),
    (lambda: quiet().fit(NoOptimizer(4, 3), BATCH), TypeError, "but no configure_optimizers"),
    (lambda: quiet().fit(Stepless(4, 3), BATCH), TypeError, "Stepless.training_step returned no loss"),
    (
        lambda: quiet(limit_train_batches=0).fit(Stepless(4, 3), BATCH),
        ValueError,
        "no batch to train on, with limit_train_batches=0 of the training loader's 1",
    ),
    (
        lambda: quiet().evaluate(Stepless(4, 3), BATCH),
        TypeError,
        "Stepless defines training_step, but no test_step",
    ),
    (lambda: quiet().evaluate(linear(), BATCH), ValueError, "expected loss= or metrics=, got neither"),
    (
        lambda: fit(linear(), quiet(max_epochs=2), train=(b for b in loader())),
        RuntimeError,
        "the training loader, generator, gave no batch in epoch 2; an iterator can be gone through only once",
    ),
    (
        lambda: fit(linear(), quiet(max_epochs=2), val=(b for b in loader())),
        RuntimeError,
        "the validation loader, generator, gave no batch; .* raise limit_val_batches",
    ),
    (
        lambda: quiet(limit_test_batches=0.1).evaluate(linear(), loader(), loss=CE),
        RuntimeError,
        "the test loader, DataLoader, gave no batch; .* raise limit_test_batches",
    ),
    (lambda: quiet().predict(linear(), []), ValueError, "the loader gave no batch"),
    (lambda: quiet().predict(linear(), [{"x": 1}]), TypeError, "got dict of x; .* or define predict_step"),
    (
        lambda: fit(linear(), quiet(), train=[data()[0]]),
        TypeError,
        r"expected a batch \(x, target\), got Tensor",
    ),
    (
        lambda: fit(linear(), quiet(), train=[[data()[0]]]),
        TypeError,
        "got list of 1; .* or define training_step",
    ),
    (
        lambda: fit(linear(), quiet(), loss=nn.CrossEntropyLoss(reduction="none")),
        TypeError,
        r"loss to be a tensor with one element, got shape \(4,\); use reduction='mean'",
    ),
    (lambda: fit(linear(), quiet(), loss=lambda o, t: 1.0), TypeError, "got float; use reduction"),
    (
        lambda: fit(linear(), quiet(), loss=lambda o, t: o.detach().sum()),
        RuntimeError,
        "the loss doesn't require grad",
    ),
    (
        lambda: fit(linear(), quiet(), metrics=["accuracy"]),
        TypeError,
        "metrics to be Metrics, got 'accuracy'",
    ),
    (
        lambda: fit(linear(), quiet(), metrics=[Accuracy(), Accuracy()]),
        ValueError,
        "two values would be called 'accuracy'",
    ),
    (
        lambda: fit(linear(), quiet(val_check_interval=9), val=loader()),
        ValueError,
        "val_check_interval=9 is more than the 6 batches",
    ),
    (
        lambda: fit(linear(), quiet(val_check_interval=0.5), train=(b for b in loader()), val=loader()),
        ValueError,
        "val_check_interval=0.5 is a fraction of an unknown number",
    ),
    (
        lambda: fit(linear(), quiet(limit_train_batches=0.5), train=(b for b in loader())),
        ValueError,
        "limit_train_batches=0.5 is a fraction of a loader without a length",
    ),
    (
        lambda: fit(linear(), quiet(), scheduler={"interval": "step"}),
        ValueError,
        r"expected scheduler as a dict .* got \['interval'\]",
    ),
    (
        lambda: fit(linear(), quiet(), scheduler={"scheduler": halving, "every": 2}),
        ValueError,
        r"got \['every'\]",
    ),
    (
        lambda: fit(linear(), quiet(), scheduler={"scheduler": halving, "interval": "batch"}),
        ValueError,
        "interval to be 'epoch' or 'step', got 'batch'",
    ),
    (
        lambda: fit(linear(), quiet(), scheduler={"scheduler": halving, "monitor": "loss"}),
        ValueError,
        "monitor is for ReduceLROnPlateau",
    ),
    (lambda: fit(linear(), quiet(), scheduler=3), TypeError, "scheduler to be a schedule, got int"),
    (
        lambda: fit(linear(), quiet(), ckpt_path="best"),
        ValueError,
        "ckpt_path='best' needs a ModelCheckpoint",
    ),
    (lambda: quiet().save_checkpoint("x"), RuntimeError, "there is no run yet; call fit first"),
    (lambda: quiet().log("a", 1.0), RuntimeError, "'a' was logged outside a step"),
    (
        lambda: train.fit(sequential(), *data(), validation_data=3),
        ValueError,
        r"validation_data as \(x, y\) or a DataLoader, got int",
    ),
    (
        lambda: train.fit(sequential(), *data(), validation_data=data(), validation_split=0.1),
        ValueError,
        "got both",
    ),
    (lambda: train.fit(sequential(), *data(), validation_split=0.01), ValueError, "leaves no part of it"),
    (
        lambda: train.fit(sequential(), *data(), verbose=3),
        ValueError,
        "verbose to be 'auto', 0, 1 or 2, got 3",
    ),
    (
        lambda: train.fit(sequential(), *data(), optimizer="adm"),
        ValueError,
        "no optimizer is called 'adm'; expected one of adadelta",
    ),
    (
        lambda: train.fit(sequential(), *data(), metrics=["accurcy"]),
        ValueError,
        "no metric is called 'accurcy'",
    ),
    (
        lambda: train.fit(sequential(), data()[0], data()[1][:5]),
        ValueError,
        "the same number of samples, at least one, got 22, 5",
    ),
    (lambda: train.fit(sequential(), data()[0]), ValueError, r"expected batches \(x, y\), got"),
    (lambda: train.fit(sequential(), loader(), data()[1]), ValueError, "leave out y and validation_split"),
    (
        lambda: train.fit(sequential(3, nn.Softmax(1)), *data()),
        ValueError,
        "the model ends in Softmax; leave that out",
    ),
    (lambda: train.fit(sequential(5), data()[0], data()[0]), ValueError, "can't tell the loss for output"),
    (lambda: train.evaluate(sequential(), data()[0]), ValueError, "expected targets y, got None"),
    (
        lambda: train.fit((m := sequential()), *data(), optimizer=sgd(m), lr=0.1),
        ValueError,
        "lr=0.1 is for an optimizer by name",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_bad_input_is_refused_by_name_with_the_remedy(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
