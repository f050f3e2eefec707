"""Views and in-place writes: shared memory, versions, and gradients through writes to views and to their bases.

The model is NumPy alone: a tensor is a value and its Jacobian by the leaves, two arrays that are viewed and
written in step, so that NumPy's own views say what a write reaches. It is compared with minigrad after every
step of a state machine, and whole programs are run on torch as well where it is there.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

import minigrad
from minigrad.autograd import grad, gradcheck

LEAVES = (np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]), np.array([3.0, -2.0, 0.125]))
N = sum(a.size for a in LEAVES)


def leaf(*values):
    return minigrad.tensor(values, dtype=minigrad.float64, requires_grad=True)


class Model:
    """A value and its Jacobian; ``history`` and ``memory`` are shared as autograd and the version counter share them."""

    def __init__(self, value, jac=None, history=None, memory=None):
        self.value = np.asarray(value)  # NumPy makes scalars of 0-d results
        self.jac = np.zeros((*self.value.shape, N)) if jac is None else jac
        self.history = history or SimpleNamespace(tracked=bool(self.jac.any()))
        self.memory = memory or SimpleNamespace(version=0)

    def view(self, index):
        return Model(self.value[(*index, ...)], self.jac[(*index, ...)], self.history, self.memory)

    def permuted(self, dims):
        return Model(
            self.value.transpose(dims), self.jac.transpose(*dims, len(dims)), self.history, self.memory
        )

    def reshape(self, form):
        """In place: ``form`` works on the first dimensions and gives views."""
        self.value, self.jac = form(self.value), form(self.jac)
        self.memory.version += 1

    def detached(self):
        return Model(self.value, memory=self.memory)

    def write(self, value, jac, tracked=False):
        value, jac = np.array(value), np.array(jac)
        self.value[...], self.jac[...] = value, jac
        self.history.tracked |= tracked
        self.memory.version += 1


def leaves_of(lib):
    return [lib.tensor(a.tolist(), dtype=lib.float64, requires_grad=True) for a in LEAVES]


def leaf_models():
    eye, start, models = np.eye(N), 0, []
    for a in LEAVES:
        models.append(Model(a.copy(), eye[start : start + a.size].reshape(*a.shape, N).copy()))
        models[-1].history.tracked = True
        start += a.size
    return models


# An index for each number, whatever the shape: an int, a slice, a step, or a new dimension.
INDICES = (
    lambda n: (n // 2,), lambda n: (slice(0, n - 1),), lambda n: (slice(1, None),), lambda n: (slice(None, None, 2),),
    lambda n: (None,), lambda n: (-1,), lambda n: (slice(0, 0),), lambda n: (slice(None), -1),
)  # fmt: skip


def index_for(number, shape):
    index = INDICES[number](shape[0] if shape else 1)
    needed = sum(i is not None for i in index)
    return (
        index
        if needed <= len(shape) and (number not in (0, 5) or shape[0]) and (number != 7 or shape[1])
        else ()
    )


def fits(source, target):
    try:
        return np.broadcast_shapes(source, target) == target
    except ValueError:
        return False


def make(what, pair, other, k):
    """A new pair of a tensor and its model from one or two: a view, an alias, or a result of its own."""
    (t, m), (s, d) = pair, other
    shape = m.value.shape
    tracked = m.history.tracked
    if what == "index":
        index = index_for(k % len(INDICES), shape)
        return t[index], m.view(index)
    if what == "permute" and len(shape) > 1:
        dims = (*range(1, len(shape)), 0)
        return t.permute(*dims), m.permuted(dims)
    if what == "flat" and m.value.flags.c_contiguous and m.value.size:
        return t.view(-1), Model(m.value.reshape(-1), m.jac.reshape(-1, N), m.history, m.memory)
    if what == "unsqueeze_" and m.value.ndim < 5:
        m.reshape(lambda a: a[None])
        t.unsqueeze_(0)
        return None
    if what == "squeeze_":
        dims = tuple(i for i, n in enumerate(shape) if n == 1)
        m.reshape(lambda a: a.squeeze(dims))
        t.squeeze_()
        return None
    if what == "transpose_" and len(shape) > 1:
        m.reshape(lambda a: a.swapaxes(0, 1))
        t.transpose_(0, 1)
        return None
    if what == "detach":
        return t.detach(), m.detached()
    if what == "double":
        return t * 2, Model(m.value * 2, m.jac * 2, SimpleNamespace(tracked=tracked))
    if what == "plus" and fits(d.value.shape, shape):
        history = SimpleNamespace(tracked=tracked or d.history.tracked)
        return t + s, Model(m.value + d.value, m.jac + d.jac[(None,) * (len(shape) - d.value.ndim)], history)
    return None


def write(lib, what, pair, other, k, c):
    """One in-place write to a tensor and its model, by a number or another tensor."""
    (t, m), (s, d) = pair, other
    shape, v, dv = m.value.shape, d.value, d.jac
    if what == "scale":
        t.mul_(c)
        m.write(m.value * c, m.jac * c)
    elif what == "shift":
        t.add_(c)
        m.write(m.value + c, m.jac)
    elif what == "sin":
        t.sin_()
        m.write(np.sin(m.value), m.jac * np.cos(m.value)[..., None])
    elif what == "fill":
        t.fill_(c)
        m.write(np.full(shape, c), m.jac * 0)
    elif what == "mask":
        mask = m.value > 0
        t[lib.tensor(mask.tolist(), dtype=lib.bool).reshape(shape)] = c
        m.write(np.where(mask, c, m.value), np.where(mask[..., None], 0, m.jac))
    elif what == "unseen":  # autograd knows that it was written, not what it did
        with lib.no_grad():
            t.mul_(c)
        m.write(m.value * c, m.jac)
    elif what == "set":
        index = index_for(k % len(INDICES), shape)
        part = m.view(index)
        if fits(v.shape, part.value.shape):
            t[index] = s.clone()
            part.write(np.broadcast_to(v, part.value.shape), spread(dv, part.jac), d.history.tracked)
    elif fits(v.shape, shape):
        if what == "multiply":
            t.mul_(s.clone())
            m.write(
                m.value * v, m.jac * v[..., None] + m.value[..., None] * spread(dv, m.jac), d.history.tracked
            )
        elif what == "copy":
            t.copy_(s.clone())
            m.write(np.broadcast_to(v, shape), spread(dv, m.jac), d.history.tracked)
        else:
            t.add_(s if what == "alias" else s.clone())  # alias: the operand may be part of what is written
            m.write(m.value + v, m.jac + spread(dv, m.jac), d.history.tracked)


def spread(jac, like):
    """A Jacobian broadcast over its tensor's dimensions."""
    return np.broadcast_to(jac.reshape(*(1,) * (like.ndim - jac.ndim), *jac.shape), like.shape)


def start(lib):
    """The leaves, a tensor with history and one without."""
    leaves, models = leaves_of(lib), leaf_models()
    free = np.zeros((3, 2, 2))
    pairs = [
        (leaves[0] * 1, Model(models[0].value.copy(), models[0].jac.copy())),
        (leaves[1] + 0, Model(models[1].value.copy(), models[1].jac.copy())),
        (lib.zeros(3, 2, 2, dtype=lib.float64), Model(free)),
    ]
    return leaves, pairs


def assert_agrees(lib, leaves, t, m, weights):
    w = np.resize(weights, m.value.shape)
    around = range(w.ndim)[::-1] if m.memory.version % 2 else range(w.ndim)  # gradients come in either layout
    weighed = lib.tensor(w.transpose(around).tolist(), dtype=lib.float64).reshape(
        [t.shape[i] for i in around]
    )
    loss = (t.permute(tuple(around)) * weighed).sum()
    assert tuple(t.shape) == m.value.shape and loss.requires_grad == t.requires_grad == m.history.tracked
    np.testing.assert_allclose(t.detach().numpy(), m.value, rtol=1e-12, atol=1e-12)
    if not m.history.tracked:
        return
    found = lib.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    flat = [
        np.zeros(a.size) if g is None else g.numpy().reshape(-1) for g, a in zip(found, LEAVES, strict=True)
    ]
    np.testing.assert_allclose(
        np.concatenate(flat), (w[..., None] * m.jac).reshape(-1, N).sum(0), rtol=1e-9, atol=1e-9
    )


MAKES = [
    "index",
    "index",
    "permute",
    "flat",
    "detach",
    "double",
    "plus",
    "unsqueeze_",
    "squeeze_",
    "transpose_",
]
WRITES = ["scale", "shift", "sin", "fill", "mask", "unseen", "set", "set", "add", "multiply", "copy"]
KINDS = st.integers(0, len(INDICES) - 1)
CONSTANTS = st.sampled_from([-1.5, -1.0, 0.5, 2.0])


class Views(RuleBasedStateMachine):
    """Random views and writes, the model beside them."""

    tensors = Bundle("tensors")

    @initialize(target=tensors)
    def begin(self):
        self.leaves, self.pairs = start(minigrad)
        self.weights = np.random.default_rng(0).normal(size=64)
        return multiple(*self.pairs)

    @rule(target=tensors, what=st.sampled_from(MAKES), pair=tensors, other=tensors, k=KINDS)
    def make(self, what, pair, other, k):
        made = make(what, pair, other, k)
        self.pairs += [made] if made else []
        return made or multiple()

    @rule(
        what=st.sampled_from([*WRITES, "alias", "alias"]), pair=tensors, other=tensors, k=KINDS, c=CONSTANTS
    )
    def write(self, what, pair, other, k, c):
        write(minigrad, what, pair, other, k, c)

    @rule(pair=tensors, other=tensors, k=KINDS, c=CONSTANTS)
    def write_through_a_view_of_a_view(self, pair, other, k, c):
        view = make("index", make("index", pair, other, k), other, (k + 3) % len(INDICES))
        write(minigrad, "set" if c > 0 else "scale", view, other, k, c)

    @precondition(lambda self: len(self.pairs) > 6)
    @rule(pair=consumes(tensors))
    def forget(self, pair):
        self.pairs = [p for p in self.pairs if p is not pair]

    @invariant()
    def agrees(self):
        for t, m in getattr(self, "pairs", ()):
            assert_agrees(minigrad, self.leaves, t, m, self.weights)
            assert t._version == m.memory.version

    @invariant()
    def memory_is_shared_as_in_the_model(self):
        pairs = getattr(self, "pairs", ())
        for t, m in pairs:
            for s, d in pairs:
                assert np.shares_memory(t._array, s._array) == np.shares_memory(m.value, d.value)


Views.TestCase.settings = settings(max_examples=80, stateful_step_count=20)
TestViews = Views.TestCase

INSTRUCTIONS = st.lists(
    st.tuples(st.sampled_from(MAKES + WRITES), st.integers(0, 99), st.integers(0, 99), KINDS, CONSTANTS),
    min_size=4, max_size=15,
)  # fmt: skip


@given(INSTRUCTIONS)
def test_programs_of_views_and_writes_agree_with_torch(program):
    torch = pytest.importorskip("torch")
    weights, ends = np.linspace(-1, 2, 31), []
    for lib in (minigrad, torch):
        leaves, pairs = start(lib)
        for what, i, j, k, c in program:
            pair, other = pairs[i % len(pairs)], pairs[j % len(pairs)]
            if what in MAKES:
                made = make(what, pair, other, k)
                pairs += [made] if made else []
            else:
                write(lib, what, pair, other, k, c)
        for t, m in pairs:
            assert_agrees(lib, leaves, t, m, weights)
        ends.append([m.value for _, m in pairs])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- one promise each ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_a_leaf_and_its_views_refuse_writes_before_anything_changes(number):
    for x, a in zip(leaves_of(minigrad), LEAVES, strict=True):
        v = x[index_for(number, x.shape)]
        for refused in (
            lambda x=x: x.mul_(2),
            lambda v=v: v.add_(1),
            lambda v=v: v.__setitem__(..., 0),
            lambda v=v: v.sin_(),
        ):
            with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
                refused()
        assert x._version == 0 and x.tolist() == a.tolist()


def test_views_share_memory_version_and_history_and_copies_do_not():
    x = minigrad.arange(12.0).reshape(3, 4)
    views = [
        x.view(4, 3), x.reshape(-1), x.T, x.permute(1, 0), x.transpose(0, 1), x[1], x[1, 2], x[:, ::2], x[None], x[..., 0],
        x.unsqueeze(1), x.unsqueeze(0).squeeze(), x.expand(2, 3, 4), x.narrow(1, 1, 2), x.select(0, 1), x.flatten(),
        *x.split(2), *x.chunk(2, 1), *x.unbind(), x.detach(), x.view_as(x), x.movedim(0, 1),
    ]  # fmt: skip
    for v in views:
        assert np.shares_memory(v._array, x._array) and v._writes is x._writes
    for c in (
        x.clone(),
        x[[0, 1]],
        x[x > 3],
        x + 0,
        x.T.reshape(-1),
        x.repeat(1, 1),
        x.flip(0),
        x.to(minigrad.float64),
    ):
        assert not np.shares_memory(c._array, x._array) and c._writes is not x._writes
    x[1, 2] = 100
    assert [views[0][2, 0].item(), views[6].item(), views[8][0, 1, 2].item()] == [
        100.0
    ] * 3 and x._version == 1


def test_a_part_of_an_expanded_tensor_that_repeats_nothing_can_be_written():
    x = minigrad.zeros(3, dtype=minigrad.float64)
    wide = x.expand(2, 3)
    wide[0].add_(leaf(1, 2, 3) * 2)
    assert x.tolist() == [2, 4, 6] and wide[1].tolist() == [2, 4, 6] and x.requires_grad
    with pytest.raises(RuntimeError, match="more than one element"):
        wide.add_(1)
    assert wide.copy_(wide) is wide and minigrad.zeros(1, 0).expand(3, 0).add_(1).shape == (3, 0)


def test_windows_see_and_are_seen():
    w = leaf(0, 1, 2, 3, 4)
    x = w * 1
    windows = x.unfold(0, 2, 3)
    windows.mul_(10)
    x.add_(1)
    assert windows.tolist() == [[1, 11], [31, 41]] and x.tolist() == [1, 11, 3, 31, 41]
    assert grad(windows.sum() + x.sum(), w)[0].tolist() == [20, 20, 1, 20, 20]


@pytest.mark.parametrize(
    "index",
    [0, -1, (1,), (slice(1, 2),), (..., 2), [2], minigrad.tensor(1), minigrad.tensor([True, False, True])],
)
def test_an_element_assigned_is_written_whatever_names_it(index):
    x, a = minigrad.zeros(3), np.zeros(3)
    plain = tuple(i if isinstance(i, (slice, type(...))) else int(i) for i in index) if isinstance(index, tuple) else (
        index.numpy() if isinstance(index, minigrad.Tensor) else index)  # fmt: skip
    x[index], a[plain] = 5, 5
    assert x.tolist() == a.tolist() and a.any()
    zero = minigrad.zeros(())
    zero[...] = 3
    zero[()] += 1
    assert zero.item() == 4


def test_an_untracked_base_becomes_tracked_through_any_view():
    x, z = leaf(1.0, 2.0), minigrad.zeros(4, dtype=minigrad.float64)
    before, after = z[:2], z[2:]
    before.copy_(x)
    assert z.requires_grad and after.requires_grad and before.requires_grad and not z.is_leaf
    (z.sum() + before[0]).backward()
    assert x.grad.tolist() == [2.0, 1.0]


def test_a_rule_reads_what_was_there_before_its_own_write():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x * 1
    z.mul_(w).sin_()
    z[:1].mul_(z[1:])
    z.sum().backward()
    a, b = np.sin(3.0), np.sin(8.0)
    np.testing.assert_allclose(w.grad, [np.cos(3.0) * b, 2 * np.cos(8.0) * (a + 1)], rtol=1e-12)


def test_a_view_made_without_grad_is_written_only_where_no_gradient_is_at_stake():
    for base, factor in (
        (leaf(1.0, 2.0) * 1, 2),
        (minigrad.ones(2, dtype=minigrad.float64), leaf(2.0)),
        (leaf(1.0, 2.0), 2),
    ):
        with minigrad.no_grad():
            v = base[:1]
        with pytest.raises(RuntimeError, match="a view that was created in no_grad mode"):
            v.mul_(factor)
        with minigrad.no_grad():
            v.mul_(factor)
    free = minigrad.ones(2)
    with minigrad.no_grad():
        v = free[:1]
    v.mul_(3)
    assert free.tolist() == [3.0, 1.0]


def test_what_cannot_be_written_is_refused_before_anything_changes():
    x = minigrad.ones(2)
    locked = np.ones(3)
    locked.flags.writeable = False
    for refused, message in [
        (
            lambda: x.expand(3, 2).mul_(2),
            "more than one element of the written-to tensor refers to a single memory",
        ),
        (lambda: minigrad.autograd.wrap(locked).add_(1), "its memory is read-only"),
        (
            lambda: x.add_(minigrad.ones(3, 2)),
            r"add_: output with shape \[2\] doesn't match the broadcast shape \[3, 2\]",
        ),
        (
            lambda: minigrad.ones(2, dtype=minigrad.int64).add_(1.5),
            "add_: result type float32 can't be cast to .* int64",
        ),
        (
            lambda: x.__setitem__(slice(0, 1), minigrad.ones(2)),
            r"setitem: shape mismatch: value tensor of shape \[2\]",
        ),
    ]:
        with pytest.raises(RuntimeError, match=message):
            refused()
    with pytest.raises(TypeError, match="add_: expected a Tensor to write to, got float"):
        minigrad.inplace.check_writable(1.0, "add_")
    assert x.tolist() == [1.0, 1.0] and x._version == 0


def test_a_write_casts_to_the_dtype_of_what_is_written():
    x = minigrad.ones(2)
    assert x.add_(minigrad.ones(2, dtype=minigrad.float64)).dtype is minigrad.float32
    n = minigrad.ones(2, dtype=minigrad.int64)
    n[0] = 7.9
    assert n.tolist() == [7, 1]


def test_writes_through_views_are_differentiated_twice():
    def f(x, w):
        z = x * 1
        v = z.view(2, 3)[:, 1:]
        v.mul_(w)
        v.T[0].sin_()
        z.add_(z.flip(0) * w)
        return (z * z).sum()

    x, w = (
        minigrad.tensor(a, dtype=minigrad.float64, requires_grad=True) for a in (np.linspace(-1, 2, 6), 1.3)
    )
    assert gradcheck(f, (x, w), rtol=1e-8, fast_mode=False) and minigrad.gradgradcheck(f, (x, w), rtol=1e-7)


def test_a_view_keeps_its_bases_history_alive_and_no_longer():
    x = leaf(1.0, 2.0)
    v = (x * 3)[:1]
    v.mul_(2)
    assert v._base.grad_fn.name() == "ViewScatterBackward0" and v.grad_fn.name() == "GetitemBackward0"
    assert grad(v.sum(), x)[0].tolist() == [6.0, 0.0]
