"""Module: what it owns, how it is called, saved, loaded, copied. Beside torch it is tested in test_nn_torch.py."""

import copy
import gc
import pickle
import re
import threading
import weakref
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.nn.utils import parameters_to_vector, stateless, vector_to_parameters


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def values(module):
    return {k: v.numpy().copy() for k, v in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# ---- parameters and buffers ------------------------------------------------------------------------------


def test_a_parameter_shares_memory_and_version_and_computes_plain_tensors():
    t = minigrad.zeros(2)
    p = nn.Parameter(t)
    assert p.requires_grad and p.is_leaf and isinstance(p, minigrad.Tensor)
    t.add_(1)
    assert p.tolist() == [1, 1] and p._version == 1
    assert type(p * 2) is type(p.detach()) is type(p.data) is minigrad.Tensor
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert not nn.Parameter(t, requires_grad=False).requires_grad
    assert nn.Parameter().shape == (0,)


def test_a_parameter_of_integers_must_say_that_it_is_not_trained():
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(minigrad.tensor([1]))
    assert nn.Parameter(minigrad.tensor([1]), requires_grad=False).dtype is minigrad.int64


def test_a_name_of_a_parameter_child_or_buffer_takes_its_kind_or_none():
    layer = nn.Sequential(nn.BatchNorm1d(2))
    for module, name, value, words in (
        (
            layer[0],
            "weight",
            minigrad.ones(2),
            "as parameter 'weight' (minigrad.nn.Parameter or None expected)",
        ),
        (layer, "0", 3, "as child module '0' (minigrad.nn.Module or None expected)"),
        (
            layer[0],
            "running_mean",
            3,
            "as buffer 'running_mean' (minigrad.nn.Buffer, minigrad.Tensor or None expected)",
        ),
    ):
        kept = getattr(module, name)
        with pytest.raises(TypeError, match=rf"cannot assign '[\w.]+' {re.escape(words)}"):
            setattr(module, name, value)
        assert getattr(module, name) is kept
        setattr(module, name, None)
        assert getattr(module, name) is None


@pytest.mark.parametrize(("kind", "name"), [(nn.Parameter, "Parameter"), (nn.Buffer, "Buffer")])
def test_what_is_no_tensor_is_refused_with_the_remedy(kind, name):
    with pytest.raises(TypeError, match=rf"{name}: expected data to be a Tensor, got list .*minigrad.tensor"):
        kind([1.0])


def test_copies_of_parameters_and_buffers_share_nothing_and_are_made_once():
    p, b = nn.Parameter(minigrad.ones(2)), nn.Buffer(minigrad.ones(2), persistent=False)
    p.sum().backward()
    q, r, b2, b3 = copy.deepcopy([p, p, b, b])
    assert q is r and type(q) is nn.Parameter and q.grad is None and q.data_ptr() != p.data_ptr()
    assert b2 is b3 and type(b2) is nn.Buffer and not b2.persistent
    assert copy.copy(p).data_ptr() == p.data_ptr()


def test_modules_are_not_pickled():
    with pytest.raises(TypeError, match=r"minigrad\.save"):
        pickle.dumps(nn.Linear(1, 1))


def test_parameters_as_one_vector_and_back():
    m = nn.Linear(2, 1)
    vector = parameters_to_vector(m.parameters())
    assert vector.shape == (3,) and vector.requires_grad
    new = minigrad.tensor([1.0, 2.0, 3.0])
    vector_to_parameters(new, m.parameters())
    assert m.weight.tolist() == [[1, 2]] and m.bias.tolist() == [3] and m.weight.requires_grad
    new.zero_()
    assert m.bias.tolist() == [0]  # a view of the vector's memory
    with pytest.raises(TypeError, match="vector_to_parameters: expected a Tensor, got list"):
        vector_to_parameters([1.0], m.parameters())


# ---- calling ---------------------------------------------------------------------------------------------


def test_a_module_without_forward_says_which():
    class Unfinished(nn.Module):
        pass

    with pytest.raises(
        NotImplementedError, match=r'\[Unfinished\] is missing the required "forward" function'
    ):
        Unfinished()(1)


def test_a_second_base_gets_its_arguments_if_asked_for():
    class Named:
        def __init__(self, name):
            self.name = name

    class Both(nn.Module, Named):
        call_super_init = True

    assert Both("x").name == "x" and Both(name="y").name == "y"


def test_writing_to_the_input_of_a_module_with_backward_hooks_is_refused_as_its_gradient_would_be_lost():
    m = nn.ReLU(inplace=True)
    m.register_full_backward_hook(lambda *a: None)
    with pytest.raises(RuntimeError, match="relu_: a view"):
        m(minigrad.ones(2, requires_grad=True) * 1)


def test_backward_hooks_see_named_tuples_and_are_themselves_differentiable():
    Pair = namedtuple("Pair", "a b")

    class Two(nn.Module):
        def forward(self, x):
            return Pair(x**3, x * 2)

    m, seen = Two(), []
    m.register_full_backward_hook(lambda mod, gi, go: seen.append(gi[0].requires_grad))
    x = minigrad.tensor([2.0], requires_grad=True)
    out = m(x)
    assert isinstance(out, Pair)
    (g,) = minigrad.autograd.grad(out.a.sum(), x, create_graph=True)
    (gg,) = minigrad.autograd.grad(g.sum(), x)
    assert g.item() == 12 and gg.item() == 12 and seen[0] is True


def test_backward_hooks_warn_of_outputs_they_cannot_follow():
    class Dict(nn.Module):
        def forward(self, x):
            return {"x": x * 2}

    m = Dict()
    m.register_backward_hook(lambda *a: None)
    with pytest.warns(
        UserWarning, match="should be a Tensor or a tuple of Tensors but received <class 'dict'>"
    ):
        assert m(minigrad.ones(1, requires_grad=True))["x"].tolist() == [2]


def test_a_gradient_invented_where_no_input_needs_one_is_refused():
    m = nn.Linear(1, 1)
    m.register_full_backward_hook(lambda mod, gi, go: (minigrad.ones(1),))
    with (
        pytest.warns(UserWarning, match="no inputs require gradients"),
        pytest.raises(RuntimeError, match="should always return None"),
    ):
        m(minigrad.ones(1)).backward()


def test_the_gradient_may_reach_the_input_another_way():
    m, seen = nn.Identity(), []
    kept = []
    m.register_forward_hook(lambda mod, args, result: kept.append(args[0]))
    m.register_full_backward_hook(lambda *a: seen.append(a))
    x = minigrad.ones(1, requires_grad=True)
    m(x)
    kept[0].sum().backward()
    assert x.grad.item() == 1 and not seen


def test_a_module_with_hooks_is_freed_with_its_graph():
    m = nn.Linear(1, 1)
    m.register_full_backward_hook(lambda mod, gi, go: None)
    gc.disable()
    try:
        m(minigrad.ones(1, requires_grad=True)).backward()
        gone = weakref.ref(m)
        del m
        assert gone() is None
    finally:
        gc.enable()


def test_threads_call_one_module_in_modes_of_their_own():
    m = nn.Linear(2, 2)
    m.register_forward_hook(lambda mod, args, result: None)
    found = {}

    def work(on):
        with minigrad.set_grad_enabled(on):
            found[on] = [m(minigrad.ones(2)).requires_grad for _ in range(200)]

    threads = [threading.Thread(target=work, args=(on,)) for on in (True, False)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(found[True]) == {True} and set(found[False]) == {False}


def test_a_layout_of_memory_that_there_is_not_is_refused():
    m = nn.Linear(1, 1)
    assert m.to(memory_format=minigrad.contiguous_format) is m
    with pytest.raises(TypeError, match="argument 'memory_format' must be"):
        m.to(memory_format="channels_last")


# ---- state -----------------------------------------------------------------------------------------------


def test_a_state_dict_shares_memory_with_the_module_and_has_no_history():
    m = nn.Linear(1, 1)
    state = m.state_dict()
    assert type(state) is OrderedDict and not state["weight"].requires_grad
    state["weight"].fill_(7)
    assert m.weight.item() == 7
    assert m.state_dict(keep_vars=True)["weight"] is m.weight


def test_positional_arguments_of_state_dict_are_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="positional"):
        state = nn.Linear(1, 1).state_dict({}, "p.", True)
    assert list(state) == ["p.weight", "p.bias"] and state["p.bias"].requires_grad


BAD = {
    "a missing key": lambda s: s.pop("0.weight"),
    "an unexpected key": lambda s: s.update(extra=minigrad.ones(1)),
    "a wrong shape": lambda s: s.update({"2.weight": minigrad.ones(7)}),
    "what is no tensor": lambda s: s.update({"2.bias": [1.0]}),
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_a_refused_load_changes_nothing(what, assign):
    m = net()
    before, objects = values(m), list(m.parameters())
    state = {k: v * 0 + 9 for k, v in m.state_dict().items()}
    BAD[what](state)
    with pytest.raises(RuntimeError, match="Error\\(s\\) in loading state_dict for Sequential:\n\t"):
        m.load_state_dict(state, assign=assign)
    assert same(values(m), before)
    assert all(a is b for a, b in zip(m.parameters(), objects, strict=True))


def test_a_load_that_a_hook_breaks_off_changes_nothing():
    m = net()
    before = values(m)

    def burst(module, keys):
        raise ZeroDivisionError

    m.register_load_state_dict_post_hook(burst)
    with pytest.raises(ZeroDivisionError):
        m.load_state_dict({k: v * 0 + 9 for k, v in m.state_dict().items()})
    assert same(values(m), before)


def test_what_fits_is_loaded_without_a_copy_of_the_old_values(monkeypatch):
    m = net()
    state = {k: v * 0 + 9 for k, v in m.state_dict().items()}
    monkeypatch.setattr("minigrad.nn.state._Snapshot", None)
    m.load_state_dict(state)
    assert set(m[0].weight.reshape(-1).tolist()) == {9}
    del state["0.weight"]
    assert m.load_state_dict(state, strict=False).missing_keys == ["0.weight"]


def test_a_value_that_cannot_be_copied_is_named():
    m = nn.Linear(2, 1)
    m.weight.data = minigrad.ones(1, 1).expand(1, 2)  # both elements in one place
    with pytest.raises(RuntimeError, match=r'While copying the parameter named "weight", whose dimensions in the model are .*'
                                           r"an exception occurred"):  # fmt: skip
        m.load_state_dict({"weight": minigrad.ones(1, 2), "bias": minigrad.ones(1)})


def test_assigned_parameters_keep_the_modules_choice_of_training():
    m = nn.Linear(1, 1)
    m.weight.requires_grad_(False)
    given = {"weight": nn.Parameter(minigrad.ones(1, 1)), "bias": minigrad.ones(1)}
    m.load_state_dict(given, assign=True)
    assert m.weight is given["weight"] and not m.weight.requires_grad and m.bias.requires_grad


def test_loading_is_a_write_that_backward_notices():
    m = nn.Linear(1, 1)
    x = minigrad.ones(1, requires_grad=True)
    y = m(x)
    m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_deep_copy_has_its_own_parameters_buffers_and_hook_tables():
    m = net()
    m.register_forward_hook(lambda mod, args, out: out * 0)
    other = copy.deepcopy(m)
    assert same(values(m), values(other)) and not set(map(id, m.parameters())) & set(
        map(id, other.parameters())
    )
    other._forward_hooks.clear()
    assert m.eval()(minigrad.ones(1, 2)).item() == 0 != other.eval()(minigrad.ones(1, 2)).item()


# ---- containers ------------------------------------------------------------------------------------------


def test_lists_take_themselves_as_what_to_add():
    a = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    a.extend(a)
    b = nn.Sequential(nn.ReLU())
    b.extend(b)
    c = nn.ParameterList([minigrad.ones(1)])
    c.extend(c)
    assert [len(x) for x in (a, b, c)] == [4, 2, 2]


def test_parameters_of_a_dict_follow_its_module_through_conversion():
    d = nn.ParameterDict({"a": minigrad.ones(2)}).double()
    assert d["a"].dtype is minigrad.float64 and d.a is d["a"]
    assert list(nn.ParameterDict({"a": minigrad.ones(1)}) | {"b": minigrad.ones(1)}) == ["a", "b"]
    assert list({"b": minigrad.ones(1)} | nn.ParameterDict({"a": minigrad.ones(1)})) == ["b", "a"]


# ---- a call with other tensors ---------------------------------------------------------------------------


def test_functional_call_takes_other_tensors_for_a_call_and_sends_them_gradients():
    m = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    w = minigrad.full((1, 1), 3.0, requires_grad=True)
    before = values(m)
    y = stateless.functional_call(m.eval(), {"0.weight": w * 2}, minigrad.ones(1, 1))
    y.sum().backward()
    assert y.item() == pytest.approx(6.0, rel=1e-4) and w.grad.item() == pytest.approx(2.0, rel=1e-4)
    assert same(values(m), before) and isinstance(m[0].weight, nn.Parameter)


def test_functional_call_composes_with_transforms_under_torchs_name():
    m = nn.Linear(2, 1, bias=False)
    x = minigrad.tensor([3.0, 4.0])

    def loss(w):
        return minigrad.func.functional_call(m, {"weight": w}, (x,)).square().sum() / 2

    g = minigrad.func.grad(loss)(minigrad.ones(1, 2))
    assert g.tolist() == [[21, 28]] and m.weight.grad is None


def test_functional_call_ties_what_the_module_ties_unless_told_not_to():
    m = nn.Module()
    m.a, m.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    m.b.weight = m.a.weight
    m.forward = lambda x: m.b(m.a(x))
    w = minigrad.full((1, 1), 3.0)
    one = m.a.weight.item()
    assert stateless.functional_call(m, {"a.weight": w}, (minigrad.ones(1),)).item() == 9
    untied = stateless.functional_call(m, {"a.weight": w}, kwargs={"x": minigrad.ones(1)}, tie_weights=False)
    assert untied.item() == pytest.approx(3 * one)


def test_functional_call_refuses_what_does_not_fit():
    m = nn.Linear(1, 1)
    w = {"weight": minigrad.ones(1, 1)}
    x = minigrad.ones(1)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\): bias"):
        stateless.functional_call(m, w, x, strict=True)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): more"):
        stateless.functional_call(m, {"more": x}, x, strict=True)
    with pytest.raises(KeyError, match="no parameter or buffer more"):
        stateless.functional_call(m, {"more": x}, x)
    with pytest.raises(ValueError, match=r"'weight'.* appeared in multiple dictionaries"):
        stateless.functional_call(m, [w, w], x)
    with pytest.raises(TypeError, match=r"expected an nn\.Module, got int"):
        stateless.functional_call(3, w, x)
