"""The benchmarks: an entry for every row, the same numbers on every side, and a refusal for whoever cheats."""

import importlib.util
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from minigrad.benchmarks.measure import (
    LONGEST,
    Outcome,
    Plan,
    _calls,
    _repeats,
    difference,
    measure,
    refuse_impossible,
)
from minigrad.benchmarks.workload import Built, Kit, Missing, Workload, same

import minigrad
from minigrad import backend
from minigrad.__main__ import main
from minigrad.benchmarks import (
    catalogue,
    intervals,
    machine,
    page,
    peers,
    program,
    report,
    rows,
    sides,
    transformers,
    workloads,
)
from minigrad.op import OPS

ROOF = machine.Roof(1e11, {2**16: 2e11, 2**28: 4e10})
ONE = Plan(rounds=1, sample=0.0)
ROWS = rows.all_row_workloads(sorted(OPS), 64)
TINY = [
    workloads.classifier(4), workloads.adamw("tiny", [(8, 4), (4,)]), workloads.softmax_cross_entropy(4, 50),
    workloads.bias_gelu(8, 16), transformers.gpt2_block(1, 8, 16, 2),
    transformers.gpt("char-gpt", 2, 8, 2, 16, 2, 11), transformers.sentences(2, (4, 8), 2, 16, 2, 30),
    transformers.decoding(5, False, 2, 16, 2, 30), transformers.decoding(5, True, 2, 16, 2, 30), transformers.encoder(2, 8, 2, 16, 2, 30, 3),
    *workloads.batch_norm_relu((4, 3, 5, 5)), *workloads.layer_norm(8, 16),
    *workloads.attention("tiny", (1, 2, 8, 4), causal=True),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _little_to_collect(monkeypatch):
    """Before every round a side collects garbage, which in a process as large as the tests' takes long."""
    monkeypatch.setattr(sides.gc, "collect", lambda: None)


class Clock:
    """A clock that goes on only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Tampered(sides.Worker):
    """A side whose timed call goes through ``tamper(call)``, and whose results through ``change(results)``."""

    def __init__(self, name, workload, tamper=same, change=same, **kwargs):
        self.tamper, self.change = tamper, change
        kit = kwargs.pop("kit", Kit(minigrad, same, same))
        super().__init__(sides.Side(name, "minigrad"), find=lambda _: workload, kit=kit, **kwargs)

    def open(self, name, seed):
        answer = super().open(name, seed)
        if not answer["missing"]:
            call, results = self.built[:2]
            self.built = self.built._replace(
                call=self.tamper(call), results=lambda last: self.change(results(last))
            )
        return answer


class Oracle(sides.Local):
    """The float64 run, in this process."""

    def __init__(self, workload):
        kit = Kit(minigrad, same, same)
        super().__init__(sides.Worker(sides.ORACLE, find=lambda _: workload, kit=kit))

    def ask(self, what, *args):
        before = minigrad.get_default_dtype()
        minigrad.set_default_dtype(minigrad.float64)
        try:
            with minigrad.kernels("off"):
                return super().ask(what, *args)
        finally:
            minigrad.set_default_dtype(before)


def run(workload, *workers, plan=ONE, **kwargs):
    """The outcomes of these workers, by side."""
    found = measure(workload, [sides.Local(w) for w in workers], Oracle(workload), plan, **kwargs)
    return {o.side: o for o in found}


# ---- what there is -------------------------------------------------------------------------------------------


def test_every_row_has_an_entry_and_every_differentiable_one_a_backward():
    forward = {n.removesuffix(" forward") for n in ROWS if n.endswith(" forward")}
    backward = {n.removesuffix(" backward") for n in ROWS if n.endswith(" backward")}
    assert forward == set(OPS)
    assert backward == {n for n, r in OPS.items() if r.differentiable and not r.mutates}


@pytest.mark.parametrize("workload", [*ROWS.values(), *TINY], ids=lambda w: w.name)
def test_the_reference_gives_the_float64_runs_numbers(workload):
    found = run(workload, Tampered("reference", workload))["reference"]
    assert (found.status, found.why) == ("ok", "") and len(found.seconds) == 1


@pytest.mark.parametrize("workload", TINY, ids=lambda w: w.name)
def test_compiled_steps_give_the_same_numbers(workload):
    kit = Kit(minigrad, same, minigrad.compile)  # on NumPy alone
    found = run(workload, Tampered("compiled", workload, kit=kit), plan=Plan(2, 0.0))["compiled"]
    if workload.name.endswith("backward"):
        assert found.status == "missing" and "holds its forward too" in found.why
    else:
        assert (found.status, found.why) == ("ok", "")


@pytest.mark.parametrize("workload", TINY, ids=lambda w: w.name)
def test_torch_runs_the_same_source_and_gives_the_same_numbers(workload):
    torch = pytest.importorskip("torch")
    found = run(workload, Tampered("torch", workload, kit=Kit(torch, same, same)))["torch"]
    assert (found.status, found.why) == ("ok", "")


@pytest.mark.parametrize("workload", TINY, ids=lambda w: w.name)
@pytest.mark.parametrize("library", peers.PEERS)
def test_libraries_of_pure_functions_give_the_same_numbers_from_the_twin(library, workload):
    pytest.importorskip(library)
    try:
        kit = Kit(None, same, same, peer=peers.PEERS[library]())
    except Missing as e:
        pytest.skip(str(e))
    found = run(workload, Tampered(library, workload, kit=kit), plan=Plan(3, 0.0))[library]
    if library == "tinygrad" and workload.name.endswith("backward") and workload.twin:
        assert (found.status, found.why) == ("missing", "tinygrad's backward computes its forward again")
    elif workload.twin is None:
        assert (found.status, found.why) == ("missing", "it has no twin for libraries of pure functions")
    else:
        assert (found.status, found.why) == ("ok", "") and found.error > 0


class Plain(peers.Peer):
    """NumPy itself, without gradients."""

    np = SimpleNamespace(**vars(np), constant=same)


@pytest.mark.parametrize("workload", [w for w in TINY if w.twin and w.twin.way in ("forward", "update")],
                         ids=lambda w: w.name)  # fmt: skip
def test_a_twin_is_a_function_of_arrays_in_numpys_names(workload):
    kit = Kit(None, same, same, peer=Plain())
    found = run(workload, Tampered("plain", workload, kit=kit), plan=Plan(3, 0.0))["plain"]
    assert (found.status, found.why) == ("ok", "") and found.error > 0


def test_a_twin_that_computes_something_else_is_refused():
    workload = workloads.bias_gelu(8, 16)
    wrong = replace(workload, twin=workload.twin._replace(function=lambda m, x, bias: m.maximum(x + bias, 0)))
    found = run(wrong, Tampered("plain", wrong, kit=Kit(None, same, same, peer=Plain())))["plain"]
    assert found.status == "WRONG" and found.seconds == []


def test_every_workload_of_the_adamw_family_has_the_parameters_asked_for():
    for parameters in (1_000_000, 8_000_000):
        (name,) = [n for n in workloads.workloads(parameters) if n.startswith("adamw") and n[6:] != "100k"]
        count = workloads.workloads(parameters)[name].nbytes / 7 / 4
        assert name == f"adamw {parameters // 10**6}M" and abs(count - parameters) < 768


def test_the_large_adamw_takes_the_memory_that_there_is_and_says_what_it_needs(monkeypatch):
    packages = ["minigrad", "torch", "jax"]
    assert catalogue.need(packages) == 44 + 21 + 30 + 33
    for free, parameters, words in (
        (0, 124_000_000, "15.9 GB in its 4 processes, if there are so many"),
        (20e9, 124_000_000, "15.9 GB in its 4 processes; 20.0 GB are free"),
        (10e9, 70_312_500, "10.0 GB are free: it has 70M; fewer --sides make room"),
    ):
        monkeypatch.setattr(catalogue, "available", lambda free=free: int(free))
        found, told = catalogue.large(packages)
        assert found == parameters and words in told


def test_torchs_function_of_a_rows_name_is_its_peer_where_it_gives_the_same_numbers(monkeypatch):
    torch = pytest.importorskip("torch")
    exp = ROWS["exp backward"]
    assert run(exp, Tampered("torch", exp, kit=Kit(torch, same, same)))["torch"].status == "ok"
    monkeypatch.setattr(OPS["exp"], "forward", lambda m, x: m.exp(x) * 1.01)
    other = run(exp, Tampered("torch", exp, kit=Kit(torch, same, same)))["torch"]
    assert (other.status, other.why) == ("missing", "torch has no function exp that gives these numbers")


def test_operands_grow_with_the_number_of_elements_and_results_not_beyond():
    arrays, _ = rows.operands(OPS["matmul"], 10_000, np.random.default_rng(0))
    assert arrays[0].size > 5_000
    assert arrays[0].shape[1] == arrays[1].shape[0]
    _, attrs = rows.operands(OPS["broadcast_to"], 1000, np.random.default_rng(0))
    assert np.prod(attrs["shape"]) <= 4000


def test_no_byte_is_counted_that_a_gradient_need_not_move():
    assert ROWS["mul backward"].nbytes > 0 and ROWS["add backward"].nbytes == ROWS["sum backward"].nbytes == 0
    assert ROWS["reshape forward"].nbytes == 0


def test_workloads_are_found_by_a_part_of_their_name():
    assert list(catalogue.chosen(["classifier"], [], 64, 10**6)) == ["classifier b32", "classifier b256"]
    assert list(catalogue.chosen([], ["exp"], 64, 10**6)) == ["exp forward", "exp backward"]
    assert {*catalogue.chosen([], [], 64, 10**6)} == {*ROWS, *workloads.workloads(10**6)}
    find = catalogue.finder(64, 10**6)
    assert find("exp backward").name == "exp backward" and find("classifier b32").name == "classifier b32"


# ---- who is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [
    lambda m, x: np.concatenate([np.exp(x.reshape(-1))[1:], [1]]).reshape(x.shape).astype(x.dtype),  # a lane off
    lambda m, x: np.append(np.exp(x.reshape(-1)[:-1]), x.reshape(-1)[-1]).reshape(x.shape),  # the tail left out
    lambda m, x: np.exp(x) * np.float32(1.01),  # a scale forgotten
    lambda m, x: np.exp(x)[:1],  # another shape
    lambda m, x: np.where(x > 0, np.nan, np.exp(x)),
])  # fmt: skip
def test_a_wrong_kernel_is_refused_before_it_is_timed(fault):
    backend.register_kernel("planted", "exp", fault)
    try:
        workload = ROWS["exp forward"]
        kit = Kit(minigrad, same, same, "planted")
        found = run(workload, Tampered("planted", workload, kit=kit))["planted"]
    finally:
        backend.unregister_kernels("planted")
    assert found.status == "WRONG" and "(round 0)" in found.why
    assert found.seconds == [] and found.peaks == []


@pytest.mark.parametrize("change", [
    lambda r: {n: v for n, v in r.items() if n != "qkv.weight.grad"},
    lambda r: {**r, "qkv.weight.grad": minigrad.zeros_like(r["qkv.weight.grad"])},
    lambda r: {**r, "out": r["out"] * 0},
])  # fmt: skip
def test_skipped_work_is_refused(change):
    workload = transformers.gpt2_block(1, 8, 16, 2)
    found = run(workload, Tampered("lazy", workload, change=change))["lazy"]
    assert found.status == "WRONG" and found.seconds == []


def test_a_step_that_does_not_update_is_refused():
    workload = workloads.classifier(4)
    kit = Kit(minigrad, lambda f: (lambda: None) if getattr(f, "__name__", "") == "step" else f, same)
    assert run(workload, Tampered("lazy", workload, kit=kit))["lazy"].status == "WRONG"


def cached(every):
    """A call that answers with an earlier result, except in every so many-th call."""

    def tamper(call):
        kept = []

        def again():
            if len(kept) % every == 0:
                kept.append(call().clone())
            else:
                kept.append(kept[-1])
            return kept[-1]

        return again

    return tamper


@pytest.mark.parametrize("every", [2, 3, 10**9])
def test_an_earlier_result_is_refused_for_inputs_change_at_every_call(every):
    workload = ROWS["exp forward"]
    found = run(workload, Tampered("stale", workload, cached(every)), plan=Plan(rounds=4, sample=0.0))[
        "stale"
    ]
    assert found.status == "WRONG" and found.seconds == []


def test_a_side_that_is_right_until_it_is_timed_is_refused_afterwards():
    workload = ROWS["exp forward"]

    def tamper(call):
        calls = []

        def later():
            calls.append(0)
            return call() if len(calls) <= 4 else minigrad.zeros(8, 8)

        return later

    found = run(workload, Tampered("sly", workload, tamper), plan=Plan(rounds=3, sample=0.0))["sly"]
    assert found.status == "WRONG" and "(round 0)" not in found.why


def slow(clock, seconds):
    """A call that lasts so long by this clock."""

    def tamper(call):
        def slower():
            clock.now += seconds
            return call()

        return slower

    return tamper


def test_a_clock_that_shows_less_than_passed_is_refused():
    workload, clock = ROWS["exp forward"], Clock()
    honest = Tampered("honest", workload, slow(clock, 1.0), clock=clock)
    cheat = Tampered("cheat", workload, slow(clock, 1.0), clock=lambda: clock() / 100)
    found = run(workload, honest, cheat, plan=Plan(rounds=3, sample=0.0), clock=clock)
    assert found["honest"].status == "ok" and found["honest"].median == 1.0
    assert found["cheat"].status == "CLOCK" and found["cheat"].seconds == []
    assert "its clock shows 0.01 s a call where 1 s passed" in found["cheat"].why


def test_a_driver_that_was_kept_waiting_once_accuses_nobody():
    workload, clock = ROWS["exp forward"], Clock()
    held = iter([9.0] * 4)  # rounds 0, 1, the timed one and the first of the doubt

    class Held(sides.Local):
        def ask(self, what, *args):
            clock.now += next(held, 0.0) if what == "go" else 0.0
            return super().ask(what, *args)

    worker = Tampered("honest", workload, slow(clock, 1.0), clock=clock)
    (found,) = measure(workload, [Held(worker)], Oracle(workload), ONE, clock=clock)
    assert found.status == "ok" and found.median == 1.0


def test_what_is_above_the_roof_is_impossible():
    workload = Workload("w", draw=list, build=same, flops=1e9, nbytes=4e8)
    outcomes = [
        Outcome("w", s, False, seconds=[t]) for s, t in (("slow", 0.02), ("at it", 0.0099), ("fast", 0.005))
    ]
    refuse_impossible(outcomes, {"w": workload}, ROOF)
    assert [o.status for o in outcomes] == ["ok", "ok", "IMPOSSIBLE"]
    assert "0.01 s is the least for its bytes and flops" in outcomes[2].why


def test_a_side_that_fails_is_out_and_the_others_go_on():
    workload = ROWS["exp forward"]

    def broken(call):
        raise Missing("no such thing")

    class Dead(sides.Local):
        def ask(self, what, *args):
            raise sides.Broken("its process ended with status -9")

    dead = Dead(Tampered("dead", workload))
    missing = sides.Local(Tampered("missing", workload, change=same))
    missing.missing = "there is none"
    well = sides.Local(Tampered("well", workload))
    found = {o.side: o for o in measure(workload, [dead, missing, well], Oracle(workload), ONE)}
    assert (found["dead"].status, found["dead"].why) == ("FAILED", "its process ended with status -9")
    assert (found["missing"].status, found["missing"].why) == ("missing", "there is none")
    assert found["well"].status == "ok"


def test_results_are_compared_with_their_infinities():
    one = {"a": np.array([1.0, np.inf, np.nan])}
    assert difference(one, one, "max") == (0.0, "")
    assert difference({"a": np.array([1.0, 2.0, np.nan])}, one, "max")[1].startswith("a isn't finite where")
    assert difference({}, one, "max")[1] == "there is no result 'a'"
    assert difference({"a": np.zeros(4)}, {"a": np.array([2.0, 0, 0, 0])}, "l2")[0] == 1.0


# ---- time ----------------------------------------------------------------------------------------------------


def test_sides_take_turns_with_the_same_number_of_calls():
    workload, clock, order = ROWS["exp forward"], Clock(), []

    def noted(name, seconds):
        def tamper(call):
            def noting():
                order.append(name)
                clock.now += seconds
                return call()

            return noting

        return tamper

    workers = [Tampered(n, workload, noted(n, s), clock=clock) for n, s in (("a", 0.125), ("b", 0.0625))]
    ticks = []
    plan = Plan(rounds=2, sample=0.25)
    found = run(workload, *workers, plan=plan, tick=lambda: ticks.append(0), clock=clock)
    assert "".join(order) == "aabb" + "bbaa" + "aaaabbbb" + "bbbbaaaa" and len(ticks) == 2
    assert found["a"].calls == found["b"].calls == 4


def test_the_fastest_fills_a_sample_and_the_slowest_does_not_last_too_long():
    assert _repeats([0.01, 0.001], 0.02) == 20
    assert _repeats([1.0, 1e-6], 0.02) == LONGEST
    assert _repeats([5.0], 0.02) == 1


def test_a_ratio_whose_interval_spans_one_is_a_tie():
    a = [1.0, 1.2, 0.9, 1.1, 1.0]
    assert intervals.ratio(a, [1.1, 1.0, 1.0, 1.0, 1.05]).verdict == "tie"
    ahead = intervals.ratio([2 * x for x in a], a)
    assert ahead.verdict == "faster" and ahead == (2.0, 2.0, 2.0)
    assert intervals.ratio(a, [2 * x for x in a]).verdict == "slower"
    assert intervals.ratio([5.0], [1.0]).verdict == "tie"  # too few to claim anything
    apart = intervals.ratio(a, [0.5] * 4, paired=False)
    assert apart.low < apart.median < apart.high and apart.verdict == "faster"


def test_the_floor_is_bytes_or_operations_whichever_takes_longer():
    assert ROOF.floor(4e8, 0) == pytest.approx(0.01) and ROOF.floor(0, 1e9) == 0.01
    assert ROOF.floor(2**16, 0) == 2**16 / 2e11
    better = ROOF.raised(machine.Roof(2e11, {2**28: 8e10}))
    assert better.flops == 2e11 and better.bandwidth == {2**16: 2e11, 2**28: 8e10}


def test_the_machines_own_rates_are_positive(monkeypatch):
    monkeypatch.setattr(machine, "LEAST", 0.0)
    monkeypatch.setattr(machine, "SIZES", (2**12, 2**14))
    monkeypatch.setattr(machine, "MATRICES", (64,))
    for threads in (1, 2):
        roof = machine.Roof.of(json.loads(json.dumps(machine.rates(minigrad, threads))))
        assert roof.flops > 1e6 and min(roof.bandwidth.values()) > 1e6


@pytest.mark.parametrize("threads", [1, 2])
def test_the_roof_knows_the_kernels_own_product_which_a_blas_can_be_slower_than(threads, monkeypatch):
    monkeypatch.setattr(machine, "LEAST", 0.0)
    monkeypatch.setattr(machine, "SIZES", (2**12,))
    monkeypatch.setattr(machine, "MATRICES", (8,))
    if importlib.util.find_spec("numba"):
        assert machine._tiles(threads, machine.time.perf_counter) > 1e6
    monkeypatch.setattr(machine, "_tiles", lambda threads, clock: 1e18 * threads)
    assert machine.rates(minigrad, threads)["flops"] == 1e18 * threads


def test_noise_and_throttling_are_told():
    def told(seconds):
        calibration = machine.Calibration()
        calibration.seconds = seconds
        return calibration.summary()["words"]

    assert told([1.0, 1.01] * 6) == "quiet: the calibration loop varied by 1%"
    assert told([1.0, 1.5] * 6).startswith("NOISY: the calibration loop varied by 40%")
    assert "THROTTLED or busier: the loop was 20% slower in the last third" in told([1.0] * 6 + [1.2] * 6)
    assert told([1.0]).startswith("too few rounds")
    calibration = machine.Calibration(2)
    calibration.seconds = [1.0, 1.0, 1.5, 1.5, 1.6]
    assert (
        calibration.slowed(0, 2) == 0.0
        and calibration.slowed(2, 5) == 0.5
        and calibration.slowed(5, 5) == 0.0
    )
    calibration.seconds = []
    calibration.tick()
    assert len(calibration.seconds) == 1


# ---- the program ---------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """The roof is given, and sides run in this process."""
    monkeypatch.setattr(program.Run, "roof", lambda self, cores: self.roofs.update({len(cores): ROOF}))
    monkeypatch.setattr(program.machine, "Calibration", lambda n: type("Quiet", (), {
        "seconds": (), "slowed": lambda self, *ticks: 0.0, "tick": lambda self: None, "summary": lambda self: {"words": "quiet"}})())  # fmt: skip

    def process(self, side, cores, home, workload):
        if side is sides.ORACLE:
            return Oracle(workload)
        kit = Kit(minigrad, same, same, "planted" if side.name == "planted" else "off")
        return sides.Local(Tampered(side.name, workload, kit=kit))

    monkeypatch.setattr(program.Run, "process", process)


SMALL = ["bench", "--rows", "relu", "exp", "--sides", "reference", "kernels", "--elements", "64", "--rounds", "3",
         "--threads", "1"]  # fmt: skip


def test_the_report_is_a_table_json_and_a_page(quick, capsys, tmp_path):
    out, html = tmp_path / "new.json", tmp_path / "new.html"
    assert main([*SMALL, "--out", str(out), "--html", str(html)]) == 0
    said = capsys.readouterr()
    assert "relu forward, 1 thread; the roof is at" in said.out and "compared with" in said.out
    assert "1 thread: 4 of 4, exp backward" in said.err
    found = json.loads(out.read_text())
    assert [r["workload"] for r in found["results"][::2]] == [
        "relu forward", "relu backward", "exp forward", "exp backward"]  # fmt: skip
    assert all(len(r["seconds"]) == 3 for r in found["results"])
    text = html.read_text()
    ET.fromstring(text.split("\n", 1)[1])
    assert (
        text.count("<svg") == 2
        and "relu forward" in text
        and "http" not in text.replace("http://www.w3.org", "")
    )
    assert main([*SMALL, "--json", "--quiet", "--compare", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == report.FORMAT


def test_one_side_that_is_refused_fails_the_run(quick, capsys, monkeypatch):
    backend.register_kernel("planted", "exp", lambda m, x: x)
    monkeypatch.setattr(sides, "announced", lambda: [sides.Side("planted", "minigrad")])
    try:
        assert main([*SMALL, "--sides", "planted"]) == 1
    finally:
        backend.unregister_kernels("planted")
    assert "refused: exp forward, planted: WRONG" in capsys.readouterr().out


def test_an_impossible_time_fails_the_run(quick, capsys, monkeypatch):
    slow = machine.Roof(1.0, {2**28: 1.0})
    monkeypatch.setattr(program.Run, "roof", lambda self, cores: self.roofs.update({len(cores): slow}))
    assert main(SMALL) == 1
    assert "relu forward, reference: IMPOSSIBLE" in capsys.readouterr().out


def test_the_roof_is_measured_again_before_anyone_is_refused(quick, capsys, monkeypatch):
    seen = iter(
        [machine.Roof(1.0, {2**28: 1.0})] * 3 + [ROOF] * 9
    )  # the machine was busy, and then it wasn't
    monkeypatch.setattr(program.Run, "roof", lambda self, cores: self.roofs.update({len(cores): next(seen)}))
    assert main(SMALL) == 0
    assert capsys.readouterr().err.count("something is above the roof, which is measured again") == 2


def test_ctrl_c_keeps_what_was_measured(quick, capsys, monkeypatch):
    done = []

    def measured(workload, *args):
        if done:
            raise KeyboardInterrupt
        done.append(workload.name)
        return measure(workload, *args)

    monkeypatch.setattr(program, "measure", measured)
    assert main([*SMALL, "--json"]) == 130
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["interrupted"] and {r["workload"] for r in found["results"]} == {"relu forward"}
    assert "the run was interrupted: what it had measured is above" in said.err


def results(*given, flops=1e9):
    """A report with these (side, peer, threads, seconds)."""
    made = [{"workload": "w", "side": s, "peer": p, "threads": n, "status": "ok", "why": "", "seconds": t, "peaks": [], "slowed": 0.0,
             "flops": flops, "bytes": 1e8, "floor": 0.01} for s, p, n, t in given]  # fmt: skip
    roofs = {str(n): {"flops": 1e11, "bandwidth": {"65536": 2e11, "268435456": 4e10}} for _, _, n, _ in given}
    return {"format": report.FORMAT, "machine": {"cores": 2}, "began": "then", "seconds": 1.0, "interrupted": False,
            "roofs": roofs, "noise": {n: {"words": "quiet"} for n in roofs}, "results": made}  # fmt: skip


def test_sides_are_compared_with_the_faster_peer():
    found = results(("reference", False, 1, [0.03, 0.031, 0.03]), ("torch", True, 1, [0.06] * 3),
                    ("torch.compile", True, 1, [0.045, 0.0451, 0.045]))  # fmt: skip
    lines = report.words(found)
    assert any("torch.compile" in x and x.endswith("compared with") for x in lines)
    assert any("reference" in x and x.endswith("faster") and "1.50 (1.4" in x for x in lines)
    assert any("torch  " in x and x.endswith("0.75 (0.75 to 0.75) slower") for x in lines)


def test_a_workload_is_marked_where_the_machine_was_busy_in_its_rounds():
    found = results(("reference", False, 1, [0.03] * 3))
    assert "BUSY" not in "\n".join(report.words(found)) + page.html(found)
    found["results"][0]["slowed"] = 0.4
    told = "; BUSY: the calibration loop was 40% slower than at its best"
    assert any(x.startswith("w, 1 thread") and x.endswith(told) for x in report.words(found))
    assert told in page.html(found)


def test_who_runs_beside_them_decides_no_ratio():
    found = results(("reference", False, 1, [0.03] * 3), ("torch", True, 1, [0.06] * 3),
                    ("jax", False, 1, [0.01] * 3))  # fmt: skip
    lines = report.words(found)
    assert any("torch  " in x and x.endswith("compared with") for x in lines)
    assert any("jax" in x and x.endswith("6.00 (6.00 to 6.00) faster") for x in lines)
    assert not any(s.peer for s in sides.BESIDE) and all(s.peer for s in sides.PEERS)


def test_memory_has_a_ratio_of_its_own_against_the_torch_that_needs_less():
    found = results(("kernels", False, 1, [0.03] * 3), ("torch", True, 1, [0.06] * 3),
                    ("torch.compile", True, 1, [0.05] * 3))  # fmt: skip
    for r, peak in zip(found["results"], (10e6, 20e6, 2e9), strict=True):
        r["peaks"] = [peak] * 3
    lines = report.words(found)
    at = lines.index("  peak memory")
    assert [x.split(maxsplit=3)[:3] for x in lines[at + 1 : at + 4]] == [
        ["kernels", "10", "MB"], ["torch", "20", "MB"], ["torch.compile", "2", "GB"]]  # fmt: skip
    assert lines[at + 1].endswith("2.00 (2.00 to 2.00) less") and lines[at + 2].endswith("compared with")
    assert lines[at + 3].endswith("0.01 (0.01 to 0.01) more")
    text = page.html(found)
    assert "peak memory" in text and "2.00 (2.00 to 2.00) less" in text
    before = json.loads(json.dumps(found))
    before["results"][0]["peaks"] = [5e6] * 3
    assert any("5 MB →     10 MB  0.50 (0.50 to 0.50) more" in x for x in report.compared(found, before))


def test_a_sides_memory_is_what_it_holds_beyond_what_it_held_before():
    if not sides.forget_peak():
        pytest.skip("this system doesn't tell the peak of memory")
    workload = Workload("w", lambda rng: [rng.random(2**20)], lambda kit, tensors: Built(
        lambda: np.ones(2**22), lambda out: {"out": out}), 0, 0)  # fmt: skip
    found = run(workload, Tampered("held", workload), plan=Plan(3, 0.0))["held"]
    assert len(found.peaks) == 3 and min(found.peaks) > 2**25  # bytes of the array that a call makes


def test_a_comparison_tells_what_changed_and_what_is_another_machine():
    old = results(("reference", False, 1, [0.06] * 5))
    new = results(("reference", False, 1, [0.03] * 5))
    new["machine"]["cores"] = 4
    lines = report.compared(new, old)
    assert lines[-1].endswith("60 ms →     30 ms  2.00 (2.00 to 2.00) faster")
    assert "  not the same: cores 2, now 4" in lines


def test_the_page_draws_roofs_and_scaling():
    found = results(("reference", False, 1, [0.03] * 3), ("reference", False, 2, [0.02] * 3))
    text = page.html(found)
    ET.fromstring(text.split("\n", 1)[1])
    assert text.count("<svg") == 5 and all(
        words in text
        for words in ("Scaling: times as fast", ">Roofline, 2 threads<", ">Of the roof, 1 thread<")
    )


def test_a_side_has_the_same_colour_in_every_run():
    one = page.colours_of(results(("torch", True, 1, [1.0]), ("mine", False, 1, [1.0])))
    other = page.colours_of(results(("kernels", False, 1, [1.0]), ("torch", True, 1, [1.0])))
    assert one["torch"] == other["torch"] and len({*one.values(), *other.values()}) == 3


def test_sides_that_ran_nothing_are_told_once():
    found = results(("reference", False, 1, [0.03] * 3))
    gone = {
        **found["results"][0],
        "side": "jax",
        "status": "missing",
        "why": "jax isn't installed",
        "seconds": [],
    }
    found["results"].append(gone)
    assert "not here: jax: jax isn't installed" in report.words(found)
    assert sum("jax" in line for line in report.words(found)) == 1


@pytest.mark.parametrize(("arguments", "said"), [
    (["nothing"], "no workload is called 'nothing': expected workloads, ops, or a part of one of classifier b32"),
    (["--rows", "expp"], "no row is called 'expp': docs/ops.md has them all; did you mean 'exp'?"),
    (["--sides", "torhc"], "no side is called 'torhc'"),
    (["--threads", "0"], "--threads 0: expected from 1 to"),
    (["--rounds", "0"], "--rounds is at least 1, got 0"),
    (["--out", "nowhere/x.json"], "nowhere/x.json: its folder doesn't exist"),
    (["--compare", "nothing.json"], "nothing.json"),
    (["--compare", "other.json"], "other.json: this is not the report of a benchmark"),
    (["--compare", "text.json"], "text.json: this is not JSON"),
])  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_measured(
    arguments, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "text.json").write_text("no")
    assert main(["bench", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_python_m_minigrad_benchmarks_is_the_same_program():
    command = [sys.executable, "-m", "minigrad.benchmarks", "--rows", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "minigrad: no row is called 'nothing'" in done.stderr


# ---- processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def process(request):
    made = []

    def start(side):
        settings = {"elements": 64, "parameters": 10**6}
        made.append(sides.Process(side, program.available()[:1], settings))
        return made[-1]

    yield start
    for p in made:
        p.end()


def test_a_side_has_a_process_of_its_own(process):
    exp = ROWS["exp forward"]
    started = [process(sides.OURS[0]), process(sides.ORACLE), process(sides.Side("mine", "minigrad"))]
    found = {o.side: o for o in measure(exp, [started[0], started[2]], started[1], Plan(2, 0.0))}
    assert found["reference"].status == "ok" and len(found["reference"].seconds) == 2
    assert "its entry point registers no kernel set 'mine'" in found["mine"].why
    with pytest.raises(sides.Broken, match=r"KeyError: 'nothing'"):
        started[0].ask("open", "nothing forward", 0)
    started[0].process.kill()
    with pytest.raises(sides.Broken, match="its process ended with status -9"):
        started[0].ask("close")


def test_a_first_prediction_is_the_same_in_a_fresh_process():
    workload = workloads.first_prediction()
    found = run(workload, Tampered("reference", workload))["reference"]
    assert (found.status, found.why) == ("ok", "")
    if sides.memory("VmHWM"):  # the peak is that of the process which predicts
        assert 10e6 < found.peaks[0] < sides.memory("VmHWM")


def test_a_kernel_set_that_a_distribution_announces_is_a_side(tmp_path, monkeypatch):
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[minigrad.kernels]\nmine = fast_kernels:register\n")
    (tmp_path / "fast_kernels.py").write_text(
        "import numpy as np\nfrom minigrad import backend\n"
        "def register():\n    backend.register_kernel('mine', 'exp', lambda m, x: np.exp(x))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert sides.announced() == [sides.Side("mine", "minigrad")]
    try:
        monkeypatch.setattr(minigrad, "warmup", lambda: None)
        assert sides.kit_of(sides.announced()[0], 1).kernels == "mine"
    finally:
        backend.unregister_kernels("mine")


def test_the_import_is_timed_in_processes_of_its_own_and_refused_above_the_limit(monkeypatch, capsys):
    from minigrad.benchmarks import import_time

    seconds = import_time.import_time(2)
    assert len(seconds) == 2 and all(s > 0 for s in seconds)
    for found, status in (([0.02, 0.09], 0), ([0.06, 0.09], 1)):
        monkeypatch.setattr(import_time, "import_time", lambda found=found: found)
        assert import_time.main() == status
    assert "best 60.0, 2 processes; at most 50 ms is allowed" in capsys.readouterr().out


def test_rounds_after_a_rest_are_longer():
    """Of a step that keeps a state it is ten calls at least, and not more steps than without a rest."""
    short, rested = Plan(sample=0.02), Plan(sample=0.02, rest=0.03)
    calls = [_calls([t, 2 * t], plan, state) for t in (0.001, 0.05) for state in (False, True)
             for plan in (short, rested)]  # fmt: skip
    assert calls == [20, 200, 20, 20, 1, 4, 1, 4]
