"""minigrad.summary: figures that can be counted by hand, columns that add up, and a model left untouched."""

import json

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.op import OPS


def classifier():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def test_the_figures_of_a_classifier_are_those_counted_by_hand():
    s = minigrad.summary(classifier(), (32, 784))
    assert s.parameters == s.trainable == 784 * 128 + 128 + 128 * 10 + 10
    assert [r.kind for r in s.layers] == ["Sequential", "Linear", "ReLU", "Linear"]
    assert [r.output for r in s.layers] == [((32, 10),), ((32, 128),), ((32, 128),), ((32, 10),)]
    assert [r.parameters for r in s.layers] == [0, 100480, 0, 1290]
    assert [r.flops for r in s.layers] == [0, 2 * 32 * 784 * 128, 32 * 128, 2 * 32 * 128 * 10]
    assert [r.memory for r in s.layers] == [0, 4 * 32 * 128, 4 * 32 * 128, 4 * 32 * 10]
    assert s.input_bytes == 4 * 32 * 784 and s.parameter_bytes == s.gradient_bytes == 4 * s.parameters


def test_the_table_is_aligned_and_its_columns_add_up():
    s = minigrad.summary(classifier(), (32, 784))
    words = str(s)
    assert words.splitlines()[0] == "Sequential on float32 (32, 784)"
    for needle in (
        "├ 0: Linear",
        "└ 2: Linear",
        "(32, 128)",
        "100,480",
        "101,770 parameters (397.5 KiB), all trainable",
    ):
        assert needle in words
    rows = [line for line in words.splitlines() if "Linear" in line]
    assert len({line.index("(32") for line in rows}) == 1 and len({len(line) for line in rows}) == 1
    assert repr(s) == words
    assert sum(r.flops for r in s.layers) == s.flops and sum(r.memory for r in s.layers) == s.activation_bytes


def test_what_a_module_does_itself_is_its_own_row():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return minigrad.relu(self.inner(x)) + x

    s = minigrad.summary(Residual(), (2, 4))
    assert [r.flops for r in s.layers] == [2 * 8, 2 * 8 * 4]


def test_flops_are_the_rows_own_and_views_cost_nothing():
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    assert OPS["matmul"].work([a, b], a @ b) == 2 * 3 * 4 * 5
    assert OPS["exp"].work([a], a) == OPS["exp"].flops * 12
    assert OPS["permute"].work([a], a.T) == 0


def test_a_module_called_twice_has_one_row_and_shared_parameters_count_once():
    shared = nn.Linear(8, 8)
    s = minigrad.summary(nn.Sequential(shared, nn.ReLU(), shared), (2, 8))
    assert [(r.path, r.calls) for r in s.layers] == [("", 1), ("0", 2), ("1", 1)]
    assert s.parameters == 72 and s.layers[1].flops == 2 * (2 * 16 * 8) and "(2, 8) ×2" in str(s)
    tied = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    tied[1].weight = tied[0].weight
    s = minigrad.summary(tied, (1, 4))
    assert [r.parameters for r in s.layers] == [0, 16, 0] and s.parameter_bytes == 64


def test_frozen_parameters_and_buffers_are_told():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[0].weight.requires_grad_(False)
    s = minigrad.summary(model, (2, 3))
    assert (s.parameters, s.trainable) == (18, 9) and "9 trainable, 9 frozen" in str(s)
    assert s.buffer_bytes == 3 * 4 * 2 + 8 and s.gradient_bytes == 36


def test_deeper_modules_are_counted_in_those_that_hold_them():
    model = nn.Sequential(classifier(), nn.Sequential(nn.Linear(10, 10), nn.ReLU()))
    whole, cut = minigrad.summary(model, (4, 784)), minigrad.summary(model, (4, 784), depth=1)
    assert [r.path for r in cut.layers] == ["", "0", "1"]
    assert (cut.parameters, cut.flops, cut.activation_bytes) == (
        whole.parameters,
        whole.flops,
        whole.activation_bytes,
    )
    assert [r.path for r in minigrad.summary(model, (4, 784), depth=0).layers] == [""]
    assert "│ ├ 0: Linear" in str(whole) and "  └ 1: ReLU" in str(whole)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.never = nn.Embedding(5, 3), nn.Linear(2, 2)

    def forward(self, words, scale, shift=0.0):
        return {"a": self.table(words) * scale, "b": (scale + shift, None)}


def test_inputs_may_be_tensors_arrays_shapes_and_keywords():
    words = minigrad.tensor([[0, 1]])
    s = minigrad.summary(TwoInputs(), [words, (1, 2, 3)], shift=np.float32(2).item())
    assert s.inputs == ("int64 (1, 2)", "float32 (1, 2, 3)")
    assert s.layers[0].output == ((1, 2, 3), (1, 2, 3)) and s.layers[2].output == ()
    assert "not called" in str(s)
    s = minigrad.summary(nn.Embedding(5, 3), (2, 4), dtype=minigrad.int64)
    assert s.layers[0].output == ((2, 4, 3),)
    assert minigrad.summary(nn.Linear(3, 2), np.ones((5, 3), np.float32)).layers[0].output == ((5, 2),)
    assert minigrad.summary(nn.Linear(3, 2).double(), (5, 3)).inputs == ("float64 (5, 3)",)


def test_the_dictionary_is_json():
    found = json.loads(json.dumps(minigrad.summary(classifier(), (1, 784)).as_dict()))
    assert found["parameters"] == 101770 and found["layers"][1]["output"] == [[1, 128]]


class Restless(nn.Module):
    """Writes to its buffers and draws random numbers whatever its mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", minigrad.tensor(0))
        self.register_buffer("kept", minigrad.zeros(2))
        self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout(0.5)

    def forward(self, x):
        self.count = self.count + 1
        self.kept.add_(1)
        return self.drop(self.norm(x)) + minigrad.rand(2)


def test_the_model_is_left_untouched():
    model = Restless()
    model.norm.eval()
    count, kept = model.count, model.kept
    seen = []
    handle = model.register_forward_hook(lambda *a: seen.append(1))
    hooks = {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()}
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    state, version = minigrad.get_rng_state().tolist(), kept._version
    minigrad.summary(model, (4, 2))
    assert seen == [1]
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before
    assert model.count is count and model.kept is kept and kept._version == version
    assert [m.training for m in model.modules()] == [True, False, True]
    assert minigrad.get_rng_state().tolist() == state
    assert {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()} == hooks
    assert all(p.grad is None for p in model.parameters())
    handle.remove()


def test_the_model_is_left_untouched_when_forward_fails():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2))
    with pytest.raises(RuntimeError):
        minigrad.summary(model, (2, 3))
    assert all(m.training for m in model.modules()) and not any(m._forward_hooks for m in model.modules())
    assert model[0].running_mean.tolist() == [0, 0, 0]


def test_a_history_that_was_recorded_before_still_goes_backward():
    norm = nn.BatchNorm1d(2).eval()
    x = minigrad.ones(3, 2, requires_grad=True)
    loss = norm(x).sum()
    minigrad.summary(norm.train(), (3, 2))
    loss.backward()
    assert x.grad is not None


@pytest.mark.parametrize("call, error, words", [
    (lambda: minigrad.summary(3, (1,)), TypeError, "summary: expected a minigrad.nn.Module, got int 3"),
    (lambda: minigrad.summary(nn.ReLU(), "12"), TypeError, "expected an input's shape, such as (32, 784)"),
    (lambda: minigrad.summary(nn.ReLU(), [(1, -2)]), TypeError, "got tuple (1, -2)"),
    (lambda: minigrad.summary(nn.ReLU(), (1,), depth=-1), ValueError, "depth is 0 or more, got -1"),
])  # fmt: skip
def test_bad_calls_are_refused_with_what_came(call, error, words):
    with pytest.raises(error) as e:
        call()
    assert words in str(e.value)


def test_the_function_is_not_hidden_by_its_room():
    import minigrad.pictures.graph
    import minigrad.summaries

    assert callable(minigrad.summary) and callable(minigrad.draw)
