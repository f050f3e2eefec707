"""An optimizer's step at a replay: as long as everything is in its place it is made again in straight lines."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim

pytest.importorskip("numba")

KERNELS = minigrad.kernels
MAKERS = {
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "plain SGD": lambda p: optim.SGD(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01),
    "the first layer": lambda p: optim.Adam(p[:2], lr=0.01),
    "two groups": lambda p: optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:]}]),
}  # fmt: skip


def training(make):
    minigrad.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    optimizer = make([*model.parameters()])
    x = minigrad.rand(4, 6)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step, x


def again(compiled):
    """The step that the program has."""
    found = [x for x in compiled._last.planned.source.objects.values() if type(x).__name__ == "Step"]
    return found[0]


def facts(model, optimizer):
    """Parameters, state and versions."""
    found = [p.numpy(force=True).copy() for p in model.parameters()]
    for p in model.parameters():
        state = optimizer.state.get(p, {})
        found += [state[k].numpy().copy() for k in sorted(state) if state[k] is not None]
        found += [np.array([p._version, *(state[k]._version for k in sorted(state))])]
    return found


def run(make, change, compiled, seen=None):
    with minigrad.kernels("auto", wait=True):
        model, optimizer, step, x = training(make)
        function = minigrad.compile(step) if compiled else step
        found = []
        for k in range(8):
            if k == 5:
                change(model, optimizer)
            function(x)
            found.append(facts(model, optimizer))
        if seen is not None:
            seen(function)
        return found


def alike(a, b):
    assert len(a) == len(b)
    for k, (one, two) in enumerate(zip(a, b, strict=True)):
        assert len(one) == len(two), k
        for u, v in zip(one, two, strict=True):
            np.testing.assert_array_equal(u, v, err_msg=str(k))


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_that_is_made_again_is_the_optimizer_s_own(name):
    def seen(compiled):
        assert again(compiled).again is not None and again(compiled).left == 15  # was written once

    nothing = lambda model, optimizer: None  # noqa: E731
    alike(run(MAKERS[name], nothing, True, seen), run(MAKERS[name], nothing, False))


def first(model):
    return next(iter(model.parameters()))


def loaded(model, optimizer):
    state = copy.deepcopy(optimizer.state_dict())
    for s in state["state"].values():
        s["exp_avg"].mul_(2)
    optimizer.load_state_dict(state)


CHANGES = {
    "lr": lambda m, o: o.param_groups[0].update(lr=0.5),
    "betas": lambda m, o: o.param_groups[0].update(betas=(0.5, 0.6)),
    "a tensor for lr": lambda m, o: o.param_groups[0].update(lr=minigrad.tensor(0.25)),
    "weight decay": lambda m, o: o.param_groups[0].update(weight_decay=0.5),
    "eps": lambda m, o: o.param_groups[0].update(eps=0.5),
    "amsgrad": lambda m, o: o.param_groups[0].update(amsgrad=True),
    "maximize": lambda m, o: o.param_groups[0].update(maximize=True),
    "a state dict": loaded,
    "no state": lambda m, o: o.state.clear(),
    "no state of one": lambda m, o: o.state.pop(first(m)),
    "another mean": lambda m, o: o.state[first(m)].update(exp_avg=minigrad.ones(5, 6)),
    "a mean that is written to": lambda m, o: o.state[first(m)]["exp_avg"].fill_(3),
    "another array of a mean": lambda m, o: setattr(o.state[first(m)]["exp_avg"], "data", minigrad.ones(5, 6)),
    "a step count": lambda m, o: o.state[first(m)]["step"].fill_(50),
    "all step counts": lambda m, o: [o.state[p]["step"].fill_(50) for p in m.parameters()],
    "another step count": lambda m, o: o.state[first(m)].update(step=minigrad.tensor(50.0)),
    "other step counts": lambda m, o: [o.state[p].update(step=minigrad.tensor(50.0)) for p in m.parameters()],
    "a large step count": lambda m, o: [o.state[p]["step"].fill_(2.0**24) for p in m.parameters()],
    "another array of a parameter": lambda m, o: setattr(first(m), "data", minigrad.ones(5, 6)),
    "a parameter in another order": lambda m, o: setattr(first(m), "data", minigrad.ones(6, 5).t()),
    "a parameter less": lambda m, o: o.param_groups[0]["params"].pop(),
    "other parameters": lambda m, o: o.param_groups[0]["params"].reverse(),
    "another group": lambda m, o: o.add_param_group({"params": [o.param_groups[0]["params"].pop()], "lr": 1.0}),
    "a group in place of another": lambda m, o: o.param_groups.__setitem__(0, {**o.param_groups[0], "lr": 0.5}),
    "other groups": lambda m, o: setattr(o, "param_groups", copy.copy(o.param_groups)),
    "a frozen parameter": lambda m, o: first(m).requires_grad_(False),
    "a hook before": lambda m, o: o.register_step_pre_hook(lambda o, args, kwargs: (first(m).grad.mul_(2), None)[1]),
    "a hook after": lambda m, o: o.register_step_post_hook(lambda o, args, kwargs: (first(m).data.mul_(2), None)[1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_between_replays_is_seen_by_the_next_step(name):
    make, change = MAKERS["Adam"], CHANGES[name]
    alike(run(make, change, True), run(make, change, False))


OTHERS = {
    "a group more": lambda m, o: o.add_param_group({"params": [*m.parameters()][2:]}),
    "other parameters in the list": lambda m, o: o.param_groups[0]["params"].__setitem__(slice(2), [*m.parameters()][2:]),
    "another list": lambda m, o: o.param_groups[0].update(params=[*m.parameters()][2:]),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_an_optimizer_that_gets_other_parameters_updates_those(name):
    make, change = MAKERS["the first layer"], OTHERS[name]
    alike(run(make, change, True), run(make, change, False))


@pytest.mark.filterwarnings("ignore:.*duplicate parameters")
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((700_000,), (2,))], ids=["small", "shared among threads"])
@pytest.mark.parametrize("kind", ["as they are", "one is float64", "one is given twice"])
def test_parameters_without_a_model_of_all_kinds(kind, shapes):
    results = []
    for compiled in (True, False):
        with minigrad.kernels("auto", wait=True):
            params = [nn.Parameter(minigrad.full(s, 0.5)) for s in shapes]
            if kind == "one is float64":
                params[1] = nn.Parameter(params[1].detach().double())
            given = [*params, params[1]] if kind == "one is given twice" else params
            optimizer = optim.Adam(given, lr=0.1)
            step = minigrad.compile(optimizer.step) if compiled else optimizer.step
            for k in range(5):
                for p in params:
                    p.grad = minigrad.full_like(p, k - 1.5).detach()
                step()
            results.append([[p.detach().numpy().copy() for p in params]])
            results[-1][0] += [optimizer.state[p]["step"].numpy().copy() for p in params]
    alike(*results)


def test_gradients_of_another_layout_are_read_as_they_are():
    for maker in (MAKERS["Adam"], MAKERS["SGD"]):
        results = []
        for compiled in (True, False):
            with minigrad.kernels("auto", wait=True):
                model, optimizer, _, _ = training(maker)
                step = minigrad.compile(optimizer.step) if compiled else optimizer.step
                for k in range(10):
                    for p in model.parameters():
                        g = minigrad.arange(p.numel()).to(p.dtype).reshape(p.shape)
                        p.grad = (
                            g.t().clone(memory_format=minigrad.contiguous_format).t()
                            if k > 3 and p.ndim == 2
                            else g
                        )
                    if k in (2, 5, 6):  # from the third on it is there again
                        first(model).grad = None
                    step()
                results.append([facts(model, optimizer)])
        alike(*results)


class Signed(optim.Adam):
    """An update of somebody's own, which is another at every second step."""

    calls = 0

    def _update(self, group, param):
        self.calls += 1
        return "sgd_", (param, param.grad, None), {"lr": 0.1 * (self.calls % 3)}


def test_an_update_of_somebody_s_own_is_asked_for_at_every_step():
    nothing = lambda model, optimizer: None  # noqa: E731
    alike(run(Signed, nothing, True), run(Signed, nothing, False))


def test_a_step_that_is_never_twice_the_same_is_written_down_some_times_only():
    with minigrad.kernels("auto", wait=True):
        _, optimizer, step, x = training(MAKERS["Adam"])
        compiled = minigrad.compile(step)
        for k in range(40):
            optimizer.param_groups[0]["eps"] = 1e-8 * (k + 1)
            compiled(x)
        assert again(compiled).left <= 0 and again(compiled).again is None


@pytest.mark.parametrize("name", [*MAKERS])
def test_with_kernels_off_the_rows_are_called_as_the_optimizer_s_step_calls_them(name):
    found = []
    for compiled in (True, False):
        with minigrad.kernels("off"):
            model, optimizer, step, x = training(MAKERS[name])
            function = minigrad.compile(step) if compiled else step
            found.append([])
            for k in range(8):
                if k == 5:
                    optimizer.param_groups[0].update(lr=0.5, weight_decay=0.1)
                function(x)
                found[-1].append(facts(model, optimizer))
        if compiled:
            assert again(function).again is not None
            assert again(function).left == (15 if name == "NAdam" else 14)  # another option, so once more
    alike(*found)


@pytest.mark.parametrize("name", CHANGES)
def test_with_kernels_off_what_is_changed_between_replays_is_seen_as_well(name, monkeypatch):
    monkeypatch.setattr(minigrad, "kernels", lambda *how, **more: KERNELS("off"))
    make, change = MAKERS["Adam"], CHANGES[name]
    alike(run(make, change, True), run(make, change, False))
