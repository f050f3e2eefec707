"""The benchmarks: an entry for every row, timings that are what they say, a report for people and for machines."""

import json

import pytest

from minigrad.benchmarks import __main__ as command
from minigrad.benchmarks import machine, ops, step, timing
from minigrad.op import OPS

ROWS = sorted(name for name, row in OPS.items() if not row.mutates)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Counts and texts are tested here, never seconds: a sample is one call."""
    monkeypatch.setattr(timing, "SAMPLE", 0.0)


def test_every_row_has_an_entry_and_every_differentiable_one_a_backward():
    seen = list(ops.entries(ROWS, elements=64, runs=1, peers=False))
    assert [e.row for e in seen if e.direction == "forward"] == ROWS
    backward = {e.row for e in seen if e.direction == "backward"}
    assert backward == {n for n in ROWS if OPS[n].differentiable}


def test_a_row_that_does_not_exist_is_refused():
    with pytest.raises(KeyError, match="no row is called 'nothing'; the op table has"):
        list(ops.entries(["nothing"], 64, 1, False))


def test_operands_grow_with_the_number_of_elements():
    import numpy as np

    arrays, _ = ops.operands(OPS["matmul"], 10_000, np.random.default_rng(0))
    assert arrays[0].size > 5_000
    assert arrays[0].shape[1] == arrays[1].shape[0]


def test_calls_take_turns_and_are_counted():
    order = []
    times = timing.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, runs=3)
    assert len(times["a"].seconds) == len(times["b"].seconds) == 3
    assert "".join(order[-6:]) in ("abbaab", "aabb" + "ab")
    with pytest.raises(ValueError, match="at least one run"):
        timing.interleaved({}, 0)


def test_a_ratio_whose_quartiles_straddle_one_is_a_tie():
    near = timing.ratio(timing.Timing((1.0, 1.2, 0.9, 1.1)), timing.Timing((1.1, 1.0, 1.0, 1.0)))
    assert near.verdict == "tie"
    assert timing.ratio(timing.Timing((1.0, 1.0)), timing.Timing((2.0, 2.1))).verdict == "faster"
    assert timing.ratio(timing.Timing((3.0, 3.0)), timing.Timing((2.0, 2.1))).verdict == "slower"
    assert timing.ratio(timing.Timing((3.0,)), timing.Timing((2.0,))).median == 1.5


def test_the_floor_is_bytes_or_operations_whichever_takes_longer(monkeypatch):
    monkeypatch.setattr(machine, "bandwidth", lambda n: 1e9)
    monkeypatch.setattr(machine, "flop_rate", lambda: 1e9)
    assert machine.floor(2e9, 1e9) == 2 and machine.floor(1e9, 3e9) == 3


def test_the_machines_own_rates_are_positive():
    assert machine.bandwidth(2**16) > 1e6 and machine.flop_rate() > 1e6


def test_the_step_trains():
    train = step.step_of(__import__("minigrad"))
    losses = [train().item() for _ in range(20)]
    assert losses[-1] < losses[0]
    timed = step.classifier_step(2, peers=False)
    assert len(timed.ours.seconds) == 2 and timed.peer is None


def test_torch_is_the_peer_where_it_gives_the_same_numbers():
    pytest.importorskip("torch")
    entries = list(ops.entries(["exp", "linear"], elements=64, runs=2, peers=True))
    assert [e.peer is not None for e in entries] == [True] * 4
    assert all(e.ratio.low <= e.ratio.median <= e.ratio.high for e in entries)


def test_a_wrong_op_has_no_peer_for_its_numbers_differ(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(OPS["exp"], "forward", lambda m, x: m.exp(x) * 1.01)
    assert all(e.peer is None for e in ops.entries(["exp"], elements=64, runs=1, peers=True))


def test_the_report_is_a_table_or_json(capsys, monkeypatch):
    monkeypatch.setattr(machine, "bandwidth", lambda n: 1e10)
    monkeypatch.setattr(machine, "flop_rate", lambda: 1e10)
    arguments = ["ops", "step", "--rows", "relu", "--elements", "64", "--runs", "2", "--no-peer"]
    assert command.main(arguments) == 0
    assert "relu forward" in (said := capsys.readouterr().out) and "classifier step" in said
    assert command.main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [e["direction"] for e in report["ops"]] == ["forward", "backward"] and report["step"]["ours"][
        "runs"
    ] == 2


@pytest.mark.parametrize(("arguments", "said"), [
    (["nothing"], "unknown part 'nothing': expected any of import, step, ops"), (["--rows", "nothing"], "no row is called 'nothing'"),
    (["--runs", "0"], "must be at least 1"),
])  # fmt: skip
def test_what_cannot_be_run_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_the_import_is_timed_in_processes_of_its_own():
    from minigrad.benchmarks.import_time import import_time

    assert len(import_time(1).seconds) == 1
