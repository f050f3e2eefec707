"""torch's answers hold where torch isn't: every call, layer, loss, optimizer and schedule gives what torch gave when asked."""

import json

import numpy as np
import pytest
from nn_calls import LAYERS, LOSSES
from op_calls import USES
from optim_calls import EVERY
from sides import Side
from test_torch_swap import first_words
from torch_answers import (
    KEPT,
    answers,
    called,
    clipped,
    layer,
    line,
    near,
    optim_refusals,
    print_of,
    schedules,
    signatures,
    trajectory,
)
from torch_lines import AGREE

import minigrad

TOLD = json.loads(KEPT.read_text(encoding="utf-8"))
NAMES = list(dict.fromkeys(use.name for use in USES))


def plain(found):
    return json.loads(json.dumps(found))


def test_every_call_layer_loss_and_optimizer_has_an_answer():
    asked = [a["call"] for a in TOLD["calls"]]
    assert asked == [repr(use) for use in USES], "where torch is, run python tests/torch_answers.py"
    assert len(TOLD["layers"]) == len(LAYERS) and len(TOLD["losses"]) == 3 * len(LOSSES)
    assert len(TOLD["lines"]) == len(AGREE)
    assert [a["optimizer"] for a in TOLD["optimizers"]] == [repr(case) for case in EVERY]


@pytest.mark.parametrize("name", NAMES)
def test_calls_have_torchs_results_and_gradients(name):
    for use, told in zip(USES, TOLD["calls"], strict=True):
        if use.name != name:
            continue
        found = plain({"call": repr(use), **called(Side(minigrad), use, told["form"])})
        if told["gradients"] is None:
            found["gradients"] = None
        assert near(found, told), f"{found}\nfor\n{told}"


@pytest.mark.parametrize("k", range(len(LAYERS)), ids=lambda k: TOLD["layers"][k]["repr"].replace("\n", ""))
def test_layers_have_torchs_outputs_gradients_and_state(k):
    make, *arrays = LAYERS[k]
    found, told = plain(layer(minigrad, make, arrays)), TOLD["layers"][k]
    assert near(found, told), f"{found}\nfor\n{told}"


@pytest.mark.parametrize("k", range(len(LOSSES)), ids=lambda k: TOLD["losses"][3 * k]["repr"])
def test_losses_have_torchs_values_and_gradients(k):
    make, *arrays = LOSSES[k]
    for i, reduction in enumerate(("mean", "sum", "none")):
        found, told = plain(layer(minigrad, make, arrays, reduction)), TOLD["losses"][3 * k + i]
        assert near(found, told), f"{found}\nfor\n{told}"


@pytest.mark.parametrize("k", range(len(EVERY)), ids=lambda k: f"{EVERY[k][0]},{','.join(EVERY[k][1])}")
def test_optimizers_take_torchs_steps_and_keep_its_state(k):
    found, told = plain(trajectory(minigrad, *EVERY[k])), TOLD["optimizers"][k]
    assert near(found, told, 1e-9), f"{found}\nfor\n{told}"


SCHEDULED = [a["schedule"] for a in TOLD["schedules"]]


@pytest.fixture(scope="module")
def ours():
    return {a["schedule"]: plain(a) for a in schedules(minigrad)}


@pytest.mark.parametrize("k", range(len(SCHEDULED)), ids=SCHEDULED)
def test_schedules_set_torchs_rates_and_keep_its_state(ours, k):
    found, told = ours[SCHEDULED[k]], TOLD["schedules"][k]
    assert near(found, told, 1e-9, 1e-6), f"{found}\nfor\n{told}"


def test_every_schedule_has_rates(ours):
    assert list(ours) == SCHEDULED, "where torch is, run python tests/torch_answers.py"


def test_optimizers_and_schedules_refuse_with_torchs_error_and_text():
    found, told = optim_refusals(minigrad), TOLD["optim"][0]
    for (ours, text), (theirs, said) in zip(found, told, strict=True):
        assert ours == theirs and said.rstrip(".").replace(".", "")[:38] in text.replace(".", "")


def test_optimizers_and_schedules_take_torchs_arguments():
    assert plain(signatures(minigrad)) == TOLD["optim"][1]


def test_gradients_are_clipped_as_torchs():
    assert near(plain(clipped(minigrad)), TOLD["optim"][2], 1e-9)


@pytest.mark.parametrize("k", range(len(AGREE)), ids=lambda k: first_words(AGREE[k]))
def test_habits_have_torchs_results_and_text(k):
    found, told = plain(line(minigrad, AGREE[k])), TOLD["lines"][k]
    assert near(found, told, 1e-4), f"{found}\nfor\n{told}"


def test_the_answers_kept_are_those_that_torch_gives():
    assert near(plain(answers(pytest.importorskip("torch"))), TOLD, 1e-4), "run python tests/torch_answers.py"


def test_any_element_that_changes_changes_the_print():
    x = np.random.default_rng(0).normal(size=(3, 4))
    for k in range(x.size):
        for change in (x.flat[k] * 1e-5, -2 * x.flat[k], np.nan):
            y = x.copy()
            y.flat[k] += change
            assert not near(print_of(y), print_of(x))
    assert not near(print_of(x.T.copy()), print_of(x)) and not near(print_of(x.astype("f4")), print_of(x))
