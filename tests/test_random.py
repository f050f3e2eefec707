"""Random numbers: the stream, its state, threads and contexts; every distribution by its law; every refusal."""

import contextvars
import copy
import itertools
import math
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad
from minigrad import autograd, backend, generator, random
from minigrad.random import Generator


def draws(g=None, n=5):
    return minigrad.rand(n, generator=g).tolist()


def in_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


# ---- the stream ------------------------------------------------------------------------------------------

WORD = (1 << 64) - 1


def philox(counter, key):
    """Philox-4×64-10 as its paper defines it, in whole numbers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k[0], b & WORD, (a >> 64) ^ c[3] ^ k[1], a & WORD]
        k = [(k[0] + 0x9E3779B97F4A7C15) & WORD, (k[1] + 0xBB67AE8584CAA73B) & WORD]
    return c


def test_the_test_knows_philox():
    """The published answer for counter 0 and key 0."""
    assert philox((0, 0, 0, 0), (0, 0)) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    ]  # fmt: skip


def test_draw_n_of_a_seed_is_philox_with_that_key_and_counter():
    g = Generator().manual_seed(-12345)
    for n in range(3):
        words = [w for block in (1, 2) for w in philox((block, n, 0, 0), (-12345 & WORD, 0))]
        assert g.uniform_array((8,), "float64").tolist() == [(w >> 11) * 2.0**-53 for w in words]


def test_a_draw_takes_one_step_whatever_its_size_dtype_and_law():
    g = Generator().manual_seed(1)
    x = minigrad.full((2,), 0.5)
    steps = [
        lambda: minigrad.rand(1000, generator=g), lambda: minigrad.randn(7, generator=g, dtype=minigrad.float64),
        lambda: minigrad.randint(9, (3, 3), generator=g), lambda: minigrad.randperm(50, generator=g),
        lambda: minigrad.normal(x, x, generator=g), lambda: minigrad.bernoulli(x, generator=g),
        lambda: minigrad.multinomial(x, 1, generator=g), lambda: minigrad.poisson(x, generator=g),
        lambda: minigrad.rand(0, generator=g), lambda: x.exponential_(generator=g), lambda: g.normal_array((3,)),
    ]  # fmt: skip
    for n, step in enumerate(steps):
        assert g.get_offset() == n
        step()
    later = draws(g)
    assert draws(Generator().manual_seed(1).set_offset(len(steps))) == later


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others():
    assert draws(Generator().manual_seed(3)) == draws(Generator().manual_seed(3))
    assert draws(Generator().manual_seed(3)) != draws(Generator().manual_seed(4))
    assert draws(Generator().manual_seed(-1)) == draws(Generator().manual_seed(2**64 - 1))
    assert Generator().manual_seed(-1).initial_seed() == 2**64 - 1
    assert Generator().manual_seed(minigrad.tensor(5)).initial_seed() == 5
    assert Generator().initial_seed() == 67280421310721


def test_seed_takes_a_new_one_from_the_system():
    g = Generator()
    seeds = [g.seed() for _ in range(3)]
    assert len(set(seeds)) == 3 and g.initial_seed() == seeds[-1]
    assert minigrad.seed() == minigrad.initial_seed()


def test_seeds_and_offsets_that_do_not_fit_are_refused():
    for bad in (1.5, "3", None):
        with pytest.raises(RuntimeError, match="expected an int, but got"):
            Generator().manual_seed(bad)
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"-2\*\*63 … 2\*\*64 - 1, got"):
            Generator().manual_seed(bad)
    with pytest.raises(RuntimeError, match="expected an offset of 0"):
        Generator().set_offset(-1)


# ---- state -----------------------------------------------------------------------------------------------


def test_a_saved_state_continues_where_it_was_taken():
    g = Generator().manual_seed(2**64 - 3)
    draws(g, 3)
    state = g.get_state()
    expected = [draws(g), minigrad.randn(3, generator=g).tolist(), minigrad.randperm(9, generator=g).tolist()]
    other = Generator().set_state(state)
    assert [
        draws(other),
        minigrad.randn(3, generator=other).tolist(),
        minigrad.randperm(9, generator=other).tolist(),
    ] == expected
    assert other.initial_seed() == 2**64 - 3
    assert state.dtype is minigrad.uint8 and state.shape == (24,)


@pytest.mark.parametrize(
    "state, error",
    [
        (5, TypeError),
        (np.zeros(24, np.uint8), TypeError),
        (minigrad.zeros(24), TypeError),
        (minigrad.zeros(24, dtype=minigrad.uint8), RuntimeError),
        (minigrad.zeros(5056, dtype=minigrad.uint8), RuntimeError),
        (Generator().get_state()[:-1], RuntimeError),
        (Generator().get_state().reshape(2, 12), RuntimeError),
    ],
)
def test_a_malformed_state_is_refused_and_changes_nothing(state, error):
    g = Generator().manual_seed(1)
    with pytest.raises(error, match=r"Generator\.set_state: .*get_state"):
        g.set_state(state)
    assert g.initial_seed() == 1 and g.get_offset() == 0


def test_clones_and_copies_draw_the_same_numbers_independently():
    g = Generator().manual_seed(7)
    draws(g)
    for twin in (g.clone_state(), copy.deepcopy(g), copy.copy(g)):
        assert draws(twin) == draws(g.clone_state())
        assert twin is not g and twin.get_offset() == g.get_offset() + 1
    assert repr(g) == "<minigrad.Generator seed=7 offset=1 device=cpu>"


# ---- the generator in force ------------------------------------------------------------------------------


def test_functions_draw_from_the_process_generator_until_told_otherwise():
    assert minigrad.manual_seed(5) is minigrad.default_generator is random.current_generator()
    first = draws()
    assert minigrad.initial_seed() == 5
    assert draws(Generator().manual_seed(5)) == first
    state = minigrad.get_rng_state()
    second = draws()
    minigrad.set_rng_state(state)
    assert draws() == second


def test_use_generator_holds_at_once_and_in_a_block():
    g, before = Generator().manual_seed(1), minigrad.get_rng_state()

    def inside():
        random.use_generator(g)
        return draws()

    assert contextvars.copy_context().run(inside) == draws(Generator().manual_seed(1))
    with random.use_generator(Generator().manual_seed(2)) as inner:
        assert random.current_generator() is inner
        with random.use_generator(None):
            assert random.current_generator() is minigrad.default_generator
        minigrad.manual_seed(8)
        assert inner.initial_seed() == 8
    assert random.current_generator() is minigrad.default_generator
    assert minigrad.get_rng_state().tolist() == before.tolist()
    with pytest.raises(TypeError, match="expected a Generator, got int 3"):
        random.use_generator(3)


def test_fork_rng_leaves_the_outside_as_it_was():
    before = minigrad.get_rng_state()
    with minigrad.fork_rng():
        minigrad.manual_seed(99)
        forked = draws()
    with minigrad.random.fork_rng(devices=[], enabled=True):
        assert minigrad.get_rng_state().tolist() == before.tolist()
    assert minigrad.get_rng_state().tolist() == before.tolist()
    with minigrad.fork_rng(enabled=False):
        minigrad.manual_seed(99)
    assert draws() == forked


def test_a_thread_that_seeds_has_numbers_of_its_own():
    def worker(seed):
        minigrad.manual_seed(seed)
        return [draws(n=3) for _ in range(50)]

    serial = [[draws(g, 3) for _ in range(50)] for g in (Generator().manual_seed(s) for s in range(8))]
    minigrad.manual_seed(0)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(worker, range(8))) == serial
    assert minigrad.default_generator.get_offset() == 0


def test_a_thread_that_never_seeded_draws_from_the_process_generator():
    minigrad.manual_seed(4)
    threaded = [in_thread(draws), draws(), in_thread(draws)]
    minigrad.manual_seed(4)
    assert [draws(), draws(), draws()] == threaded


def test_a_state_set_in_a_thread_stays_there():
    state, before = Generator().manual_seed(6).get_state(), minigrad.get_rng_state()
    assert in_thread(lambda: (minigrad.set_rng_state(state), draws())[1]) == draws(Generator().manual_seed(6))
    assert in_thread(lambda: minigrad.seed()) != minigrad.initial_seed()
    assert minigrad.get_rng_state().tolist() == before.tolist()


def test_threads_that_share_a_generator_share_out_its_draws():
    shared, gate, found = Generator().manual_seed(3), threading.Barrier(8), []

    def worker():
        gate.wait()
        found.extend([tuple(draws(shared, 4)) for _ in range(100)])

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    alone = Generator().manual_seed(3)
    assert sorted(found) == sorted(tuple(draws(alone, 4)) for _ in range(800))


def test_a_generator_must_be_one_and_of_the_device():
    with pytest.raises(
        TypeError, match=r"rand\(\): argument 'generator' must be minigrad.Generator, not int"
    ):
        minigrad.rand(2, generator=5)
    with pytest.raises(RuntimeError, match="device 'nowhere' is not available"):
        Generator("nowhere")


class Elsewhere(np.ndarray):
    """The arrays of another device."""


@pytest.fixture
def elsewhere():
    m = types.SimpleNamespace(
        asarray=lambda a: np.asarray(a).view(Elsewhere), may_share_memory=np.may_share_memory
    )
    backend.register_array_module("elsewhere", m, Elsewhere)
    yield "elsewhere"
    del backend.MODULES["elsewhere"], backend.BY_TYPE[Elsewhere]


def test_a_seed_gives_the_same_numbers_on_every_device(elsewhere):
    minigrad.manual_seed(1)
    there = minigrad.rand(4, device=elsewhere)
    assert isinstance(there._array, Elsewhere) and there.device.type == elsewhere
    minigrad.manual_seed(1)
    assert there.tolist() == draws(n=4)
    g = Generator("elsewhere:1").manual_seed(1)
    assert str(g.device) == "elsewhere:1"
    assert minigrad.rand(4, device=elsewhere, generator=g).tolist() == there.tolist()
    with pytest.raises(
        RuntimeError, match="Expected a 'cpu' device type for generator but found 'elsewhere'"
    ):
        minigrad.rand(2, generator=g)
    with pytest.raises(RuntimeError, match="device elsewhere does not match device of out parameter"):
        minigrad.rand(2, device=elsewhere, out=minigrad.empty(2))


def test_a_capture_sees_draws_and_its_replay_draws_the_next_numbers():
    minigrad.manual_seed(2)
    with autograd.capture() as tape:
        x = minigrad.rand(3)
    function, m, args, attrs, (result,) = tape.calls[0]
    assert result is x._array
    np.testing.assert_array_equal(
        function(m, *args, **attrs), Generator().manual_seed(2).set_offset(1).uniform_array((3,))
    )


# ---- laws ------------------------------------------------------------------------------------------------

N = 20_000


def normal_cdf(x, mean=0.0, std=1.0):
    return np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))((x - mean) / std)


def follows(sample, cdf):
    """Kolmogorov and Smirnov's test at the level 0.1 %: the largest distance of the empirical from the true CDF."""
    x = np.sort(np.asarray(sample, np.float64).ravel())
    ranks, expected = np.arange(x.size + 1) / x.size, cdf(x)
    distance = max((ranks[1:] - expected).max(), (expected - ranks[:-1]).max())
    assert distance < 1.95 / math.sqrt(x.size), distance


def frequencies(counts, p):
    """Pearson's χ² at about the level 0.1 %, by the normal approximation of its cube root."""
    counts, p = np.asarray(counts, np.float64), np.asarray(p, np.float64)
    assert (counts[p == 0] == 0).all()
    counts, p = counts[p > 0], p[p > 0]
    expected, k = p * counts.sum(), p.size - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    z = ((chi2 / k) ** (1 / 3) - 1 + 2 / (9 * k)) / math.sqrt(2 / (9 * k))
    assert z < 3.1, (chi2, k)


LAWS = {
    "rand": (lambda d: minigrad.rand(N, dtype=d), lambda x: np.clip(x, 0, 1)),
    "rand_like": (lambda d: minigrad.rand_like(minigrad.empty(N, dtype=d)), lambda x: np.clip(x, 0, 1)),
    "randn": (lambda d: minigrad.randn(N, dtype=d), normal_cdf),
    "randn_like": (lambda d: minigrad.randn_like(minigrad.empty(N, dtype=d)), normal_cdf),
    "normal": (lambda d: minigrad.normal(1.0, 2.0, (N,), dtype=d), lambda x: normal_cdf(x, 1, 2)),
    "normal by tensors": (
        lambda d: minigrad.normal(minigrad.full((N,), -3.0, dtype=d), minigrad.full((1,), 0.5, dtype=d)),
        lambda x: normal_cdf(x, -3, 0.5),
    ),
    "uniform_": (lambda d: minigrad.empty(N, dtype=d).uniform_(-2, 6), lambda x: (x + 2) / 8),
    "normal_": (lambda d: minigrad.empty(N, dtype=d).normal_(-1, 3), lambda x: normal_cdf(x, -1, 3)),
    "log_normal_": (lambda d: minigrad.empty(N, dtype=d).log_normal_(0.5, 0.7), lambda x: normal_cdf(np.log(x), 0.5, 0.7)),
    "exponential_": (lambda d: minigrad.empty(N, dtype=d).exponential_(2.5), lambda x: 1 - np.exp(-2.5 * x)),
    "cauchy_": (lambda d: minigrad.empty(N, dtype=d).cauchy_(1, 2), lambda x: 0.5 + np.arctan((x - 1) / 2) / np.pi),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("law", LAWS)
def test_continuous_draws_follow_their_law(law, dtype):
    draw, cdf = LAWS[law]
    x = draw(getattr(minigrad, dtype))
    assert x.dtype.name == dtype
    if dtype != "float16":
        follows(x.numpy(), cdf)
    else:  # its steps are wider than the test is sharp: compare in the middle of each of 16 parts
        values, share = np.sort(x.numpy().astype(np.float64)), np.arange(1, 16) / 16
        np.testing.assert_allclose(cdf(np.quantile(values, share)), share, atol=0.02)


def test_bfloat16_draws_follow_their_law():
    pytest.importorskip("ml_dtypes")
    for x, mean, std in (
        (minigrad.rand(N, dtype=minigrad.bfloat16), 0.5 - 2**-9, math.sqrt(1 / 12)),
        (minigrad.randn(N, dtype=minigrad.bfloat16), 0, 1),
        (minigrad.empty(N, dtype=minigrad.bfloat16).exponential_(), 1, 1),
        (minigrad.empty(N, dtype=minigrad.bfloat16).uniform_(1, 3), 2, math.sqrt(1 / 3)),
    ):
        values = x.float().numpy().astype(np.float64)
        assert abs(values.mean() - mean) < 5 * std / math.sqrt(N)
        assert abs(values.std() / std - 1) < 0.05


def test_draws_are_independent_along_the_array_and_between_draws():
    x = minigrad.randn(N, dtype=minigrad.float64).numpy()
    y = minigrad.randn(N, dtype=minigrad.float64).numpy()
    for a, b in ((x[1:], x[:-1]), (x, y)):
        assert abs((a * b).mean()) < 4 / math.sqrt(N)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_uniform_draws_never_reach_one(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = getattr(minigrad, dtype)
    x = minigrad.rand(500_000, dtype=kind).double().numpy()
    assert x.min() >= 0 and x.max() < 1
    step = 2.0 ** {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[dtype]
    assert (x * step == np.floor(x * step)).all()
    one = minigrad.ones((), dtype=kind).double().item()
    top = one + minigrad.finfo(kind).eps  # half of all draws would round up to it
    assert set(minigrad.empty(500, dtype=kind).uniform_(one, top).double().tolist()) == {one}


def test_uniform_of_an_empty_range_is_its_end():
    assert minigrad.empty(3).uniform_(2, 2).tolist() == [2, 2, 2]


def test_exponential_draws_are_never_zero():
    class Zeros:
        def standard_exponential(self, shape, dtype):
            return np.zeros(shape, dtype)

    from minigrad.functions.fills import _waiting

    for dtype in (np.float64, np.float32, np.float16):
        assert (_waiting(Zeros(), 1.0, shape=(3,), dtype=np.dtype(dtype)) > 0).all()


@pytest.mark.parametrize("p", [0.0, 1e-3, 1 / 256, 0.1, 0.5, 0.731, 255.5 / 256, 0.9999999, 1.0])
def test_dropout_masks_drop_with_probability_p(p):
    n = 400_003
    dropped = n - int(random.current_generator().draw(generator.kept, (n,), p).sum())
    assert abs(dropped - n * p) <= 4 * math.sqrt(n * p * (1 - p)) + 1e-9


def test_dropout_masks_have_any_shape():
    g = Generator()
    assert g.draw(generator.kept, (), 0.5).shape == ()
    assert g.draw(generator.kept, (0, 3), 0.5).shape == (0, 3)
    assert g.draw(generator.kept, (3, 5), 0.5).shape == (3, 5)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "float32", "float16"])
def test_integers_are_all_alike_and_stay_in_range(dtype):
    kind = getattr(minigrad, dtype)
    for x, low in (
        (minigrad.randint(3, 10, (N,), dtype=kind), 3),
        (minigrad.randint_like(minigrad.empty(N, dtype=kind), 7), 0),
        (minigrad.empty(N, dtype=kind).random_(3, 10), 3),
        (minigrad.empty(N, dtype=kind).random_(7), 0),
    ):
        assert x.dtype is kind
        values = x.numpy().astype(np.int64) - low
        frequencies(np.bincount(values, minlength=7), np.full(7, 1 / 7))


def test_integers_reach_both_ends_of_their_dtype():
    assert set(minigrad.randint(-128, 128, (N,), dtype=minigrad.int8).tolist()) == set(range(-128, 128))
    assert set(minigrad.empty(N, dtype=minigrad.uint8).random_().tolist()) == set(range(256))
    assert set(minigrad.empty(N, dtype=minigrad.int8).random_().tolist()) == set(range(128))
    assert set(minigrad.empty(N, dtype=minigrad.int8).random_(-5, None).tolist()) == set(range(-5, 128))
    assert set(minigrad.empty(50, dtype=minigrad.bool_).random_().tolist()) == {False, True}
    wide = minigrad.randint(-(2**63), 2**63 - 1, (N,)).numpy()
    assert wide.min() < -(2**62) and wide.max() > 2**62
    assert minigrad.randint(0, 2**63 - 1, ()).shape == ()
    floats = minigrad.empty(N).random_().numpy()
    assert floats.max() <= 2**24 and floats.max() > 2**24 - 2**14 and (floats == np.floor(floats)).all()


def test_geometric_counts_trials():
    p, k = 0.3, np.arange(1, 12)
    for dtype in (minigrad.int64, minigrad.float32):
        x = minigrad.empty(N, dtype=dtype).geometric_(p).numpy().astype(np.int64)
        assert x.min() == 1
        mass = p * (1 - p) ** (k - 1)
        frequencies(np.bincount(np.minimum(x, 12), minlength=13)[1:], [*mass, 1 - mass.sum()])
    assert minigrad.empty(9, dtype=minigrad.int8).geometric_(1e-9).tolist() == [127] * 9
    assert (minigrad.empty(9, dtype=minigrad.int64).geometric_(1e-18) > 0).all()


def test_bernoulli_draws_one_with_its_probability():
    p = minigrad.tensor([0.0, 0.2, 0.5, 1.0])
    many = p.expand(N, 4)
    for x in (
        minigrad.bernoulli(many),
        many.bernoulli(),
        minigrad.empty(N, 4).bernoulli_(p),
        minigrad.empty(N, 4, dtype=minigrad.int32).bernoulli_(p),
    ):
        share = x.double().mean(0).numpy()
        assert (np.abs(share - p.numpy()) <= 4 * np.sqrt(p.numpy() * (1 - p.numpy()) / N)).all()
        assert set(x.flatten().tolist()) <= {0, 1}
    x = minigrad.bernoulli(minigrad.zeros(N, dtype=minigrad.int64), 0.25)
    assert x.dtype is minigrad.int64 and abs(x.double().mean().item() - 0.25) < 0.015
    assert minigrad.empty(5, dtype=minigrad.bool_).bernoulli_(1.0).tolist() == [True] * 5
    out = minigrad.empty(4, dtype=minigrad.int64)
    assert minigrad.bernoulli(minigrad.ones(4), out=out) is out and out.tolist() == [1] * 4


def test_poisson_counts_have_its_mean_and_variance():
    rates = np.array([0.0, 0.5, 4.0, 30.0, 1e6, 4e18])
    x = minigrad.poisson(minigrad.tensor(np.broadcast_to(rates, (N, 6)))).numpy()
    assert (x[:, 0] == 0).all() and (x == np.floor(x)).all()
    error = np.sqrt(rates[1:] / N)
    assert (np.abs(x[:, 1:].mean(0) - rates[1:]) < 4 * error).all()
    np.testing.assert_allclose(x[:, 1:].var(0) / rates[1:], 1, atol=0.06)
    assert minigrad.poisson(minigrad.ones(3, dtype=minigrad.float16)).dtype is minigrad.float16


def test_multinomial_with_replacement_draws_each_category_by_its_weight():
    weights = minigrad.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 0.0], [1e-30, 1.0, 1.0, 2.0]])
    drawn = minigrad.multinomial(weights, N, True)
    assert drawn.shape == (3, N) and drawn.dtype is minigrad.int64
    for row, w in zip(drawn.numpy(), weights.double().numpy(), strict=True):
        counts, p = np.bincount(row, minlength=4), w / w.sum()
        if (p > 0).sum() > 1:
            frequencies(counts, np.where(p > 1e-20, p, 0))
        else:
            assert counts.tolist() == [N, 0, 0, 0]
    assert set(
        minigrad.multinomial(minigrad.tensor([1e308, 1e308], dtype=minigrad.float64), 50, True).tolist()
    ) == {0, 1}
    assert minigrad.tensor([1.0, 1.0]).multinomial(3, True).shape == (3,)
    assert minigrad.multinomial(minigrad.ones(0, 3), 2).shape == (0, 2)


def test_multinomial_without_replacement_draws_in_the_order_of_one_by_one():
    w = np.array([1.0, 2.0, 0.0, 5.0]) / 8
    pairs = minigrad.multinomial(minigrad.tensor(w).expand(N, 4), 2).numpy()
    p = np.array([[w[i] * w[j] / (1 - w[i]) if i != j else 0 for j in range(4)] for i in range(4)])
    frequencies(np.bincount(pairs @ [4, 1], minlength=16), p.ravel())
    assert sorted(minigrad.multinomial(minigrad.ones(7), 7).tolist()) == list(range(7))
    assert sorted(minigrad.multinomial(minigrad.tensor([1.0, 0.0, 1.0]), 3).tolist()[:2]) == [0, 2]


def test_randperm_draws_every_order_alike():
    orders = list(itertools.permutations(range(4)))
    counts = dict.fromkeys(orders, 0)
    for _ in range(2400):
        counts[tuple(minigrad.randperm(4).tolist())] += 1
    frequencies(list(counts.values()), np.full(24, 1 / 24))
    assert sorted(minigrad.randperm(1000).tolist()) == list(range(1000))
    assert minigrad.randperm(0).shape == (0,)
    for dtype in (minigrad.int32, minigrad.uint8, minigrad.float32, minigrad.float16):
        assert minigrad.randperm(5, dtype=dtype).dtype is dtype
    out = minigrad.empty(5)
    assert minigrad.randperm(5, out=out) is out and sorted(out.tolist()) == [0, 1, 2, 3, 4]


# ---- options and refusals --------------------------------------------------------------------------------


def test_sizes_dtypes_and_flags_are_those_of_every_factory():
    for f in (minigrad.rand, minigrad.randn):
        assert f(2, 3).shape == f((2, 3)).shape == f(size=(2, 3)).shape == (2, 3)
        assert f(()).shape == () and f(2, dtype=minigrad.float64, requires_grad=True).requires_grad
        out = minigrad.empty(2)
        assert f(3, out=out) is out and out.shape == (3,)
    assert minigrad.randint(5, size=(2,)).shape == minigrad.randint(high=5, size=(2,)).shape == (2,)
    assert (
        minigrad.randint(low=4, high=5, size=(2,)).tolist() == minigrad.randint(4, 5, (2,)).tolist() == [4, 4]
    )
    assert minigrad.randint(minigrad.tensor(4), high=5, size=[2]).tolist() == [4, 4]
    x = minigrad.ones(2, 3).t()
    assert minigrad.randint_like(x, 5).stride() == x.stride()
    assert minigrad.randint_like(x, low=4, high=5).tolist() == [[4, 4]] * 3
    assert minigrad.randint_like(x, high=1, dtype=minigrad.int8).dtype is minigrad.int8
    assert minigrad.normal(mean=0.0, std=1.0, size=(2, 2)).shape == (2, 2)
    assert minigrad.normal(2.0, minigrad.zeros(3)).tolist() == [2, 2, 2]
    assert minigrad.normal(minigrad.zeros(3), minigrad.ones(2, 1)).shape == (2, 3)
    assert (
        minigrad.normal(minigrad.zeros(2), out=minigrad.empty(2, dtype=minigrad.float64)).dtype
        is minigrad.float64
    )


ones = minigrad.ones
CALLS = [
    lambda t: t.rand(), lambda t: t.rand(2.5), lambda t: t.rand(True), lambda t: t.rand(-1), lambda t: t.rand((2,), 3), lambda t: t.rand(2, foo=3),
    lambda t: t.rand(2, dtype=t.int64), lambda t: t.randn(2, dtype=t.bool), lambda t: t.rand(3, out=t.empty(3), dtype=t.float64),
    lambda t: t.rand(3, out=t.empty(3, dtype=t.int64)), lambda t: t.rand(3, generator=5), lambda t: t.rand_like([1.0]),
    lambda t: t.rand_like(t.ones(2, dtype=t.int64)), lambda t: t.rand_like(t.ones(2, requires_grad=True)), lambda t: t.rand_like(t.ones(2, 3).t()),
    lambda t: t.rand_like(t.ones(2, 3).t(), memory_format=t.contiguous_format), lambda t: t.randn_like(t.ones(2), dtype=t.float64),
    lambda t: t.randint(3, 2), lambda t: t.randint(0, 3, 2), lambda t: t.randint(3, 3, (2,)), lambda t: t.randint(3.5, (2,)), lambda t: t.randint(5),
    lambda t: t.randint(0, 3.0, (2,)), lambda t: t.randint(0, 3, (2,), dtype=t.bool), lambda t: t.randint(0, 2, (2,), dtype=t.bool),
    lambda t: t.randint(0, 300, (2,), dtype=t.uint8), lambda t: t.randint(-300, 5, (2,), dtype=t.int8), lambda t: t.randint(-5, -1, (4,)),
    lambda t: t.randint(0, 5, (2,), requires_grad=True), lambda t: t.randint(0, 5, (2,), dtype=t.float32, requires_grad=True), lambda t: t.randint(0, 5),
    lambda t: t.randint(0, 2**63, (2,)), lambda t: t.randint(0, 70000, (2,), dtype=t.float16), lambda t: t.randint(0, 3, (2,), out=t.empty(2)),
    lambda t: t.randint(2**24 + 5, (2,), dtype=t.float32), lambda t: t.randint_like(t.ones(3), 2, 5), lambda t: t.randint_like(t.ones(3), 5, dtype=t.int64),
    lambda t: t.randperm(-1), lambda t: t.randperm(5.5), lambda t: t.randperm(300, dtype=t.uint8), lambda t: t.randperm(256, dtype=t.uint8),
    lambda t: t.randperm(5, dtype=t.bool), lambda t: t.randperm(5, requires_grad=True), lambda t: t.randperm(2050, dtype=t.float16),
    lambda t: t.randperm(2049, dtype=t.float16), lambda t: t.normal(0.0, 1.0), lambda t: t.normal(0.0, 1.0, 2), lambda t: t.normal(0.0, -1.0, (2,)),
    lambda t: t.normal(t.zeros(3), -1.0), lambda t: t.normal(t.zeros(3), -t.ones(3)), lambda t: t.normal(t.zeros(3, dtype=t.int64)),
    lambda t: t.normal(1.0, t.ones(2, dtype=t.int64)), lambda t: t.normal(t.zeros(3), t.ones(3, dtype=t.float64)), lambda t: t.normal(t.zeros(3), t.ones(2)),
    lambda t: t.normal(t.zeros(2), 1.0, dtype=t.float64), lambda t: t.normal(t.zeros(2), 1.0, (3,)), lambda t: t.normal(std=t.ones(2)),
    lambda t: t.normal(0, 1, (2,)), lambda t: t.normal(0.0, 1.0, (2,), dtype=t.float64), lambda t: t.normal(0.0, float("nan"), (2,)),
    lambda t: t.normal(0.0, 1.0, (2,), dtype=t.int64), lambda t: t.bernoulli(t.tensor([0, 1])), lambda t: t.bernoulli(t.tensor([2.0])),
    lambda t: t.bernoulli(t.tensor([float("nan")])), lambda t: t.bernoulli(0.5), lambda t: t.bernoulli(t.ones(2), 2.0), lambda t: t.ones(2, dtype=t.int64).bernoulli(0.5),
    lambda t: t.multinomial(t.tensor([1.0, 2.0]), 3), lambda t: t.multinomial(t.tensor([0.0, 0.0]), 1), lambda t: t.multinomial(t.tensor([-1.0, 1.0]), 1),
    lambda t: t.multinomial(t.tensor([float("inf"), 1.0]), 1, True), lambda t: t.multinomial(t.tensor([1, 2]), 1), lambda t: t.multinomial(t.ones(2, 2, 2), 1),
    lambda t: t.multinomial(t.tensor(1.0), 1), lambda t: t.multinomial(t.ones(0), 1), lambda t: t.multinomial(t.ones(3), 0), lambda t: t.multinomial([1.0], 1),
    lambda t: t.multinomial(t.ones(3), 1, out=t.empty(1)), lambda t: t.multinomial(t.ones(3), 1, out=t.empty(1, dtype=t.int64)), lambda t: t.multinomial(t.ones(3), 1.5),
    lambda t: t.poisson(t.tensor([-1.0])), lambda t: t.poisson(t.tensor([1])), lambda t: t.poisson(t.tensor([float("nan")])),
    lambda t: t.ones(3, requires_grad=True).normal_(), lambda t: t.ones(3, dtype=t.int64).uniform_(), lambda t: t.ones(3, dtype=t.int64).normal_(),
    lambda t: t.ones(3).uniform_(2, 1), lambda t: t.ones(3).uniform_(float("nan")), lambda t: t.ones(3).uniform_(-3e38, 3e38), lambda t: t.ones(3).uniform_(-1e39, 1),
    lambda t: t.ones(3).normal_(0, -1), lambda t: t.ones(3).log_normal_(1, -1), lambda t: t.ones(3, dtype=t.int64).log_normal_(), lambda t: t.ones(3).exponential_(-1),
    lambda t: t.ones(3).cauchy_(0, -1), lambda t: t.ones(3).geometric_(0.0), lambda t: t.ones(3).geometric_(1.0), lambda t: t.ones(3, dtype=t.bool).geometric_(0.5),
    lambda t: t.ones(3).bernoulli_(2), lambda t: t.ones(3).bernoulli_(t.tensor([1.0, 0.0])), lambda t: t.ones(3, dtype=t.int8).random_(0, 300),
    lambda t: t.ones(3).random_(5, 2), lambda t: t.ones(3, dtype=t.int64).random_(-5), lambda t: t.ones(3, dtype=t.uint8).random_(-1, 5),
    lambda t: t.ones(1).expand(3).uniform_(), lambda t: t.ones(3).random_(to=4), lambda t: t.ones(3, dtype=t.int64).random_(0, 2**63),
    lambda t: t.ones(3, dtype=t.int64).random_(0, 2**63 - 1), lambda t: t.manual_seed("x"), lambda t: t.manual_seed(2**64), lambda t: t.manual_seed(None),
]  # fmt: skip


@pytest.mark.parametrize("n", range(len(CALLS)))
def test_draws_take_and_refuse_what_torch_does(n):
    torch = pytest.importorskip("torch")
    try:
        expected = CALLS[n](torch)
    except Exception as e:
        with pytest.raises(type(e)):
            CALLS[n](minigrad)
        return
    got = CALLS[n](minigrad)
    assert repr(got.dtype).split(".")[1] == repr(expected.dtype).split(".")[1]
    assert tuple(got.shape) == tuple(expected.shape)
    assert (got.requires_grad, got.stride()) == (expected.requires_grad, expected.stride())


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: minigrad.rand(2, dtype=minigrad.int64), NotImplementedError, "rand: not implemented for int64; pass a floating"),
        (lambda: minigrad.randint(5), TypeError, r"expected randint\(high, size\) or randint\(low, high, size\)"),
        (lambda: minigrad.randint(1, 2, 3, 4), TypeError, "invalid combination"),
        (lambda: minigrad.randint(4, 2, (3,)), RuntimeError, "got from=4 >= to=2"),
        (lambda: minigrad.randint(0, 300, (2,), dtype=minigrad.uint8), RuntimeError, "uint8: expected 0 … 255, got 299"),
        (lambda: minigrad.randint(0, 2**64, (2,)), ValueError, r"'high': expected -2\*\*63"),
        (lambda: minigrad.randint(2.5, (2,)), TypeError, "'high' must be int, not float"),
        (lambda: minigrad.randperm(2050, dtype=minigrad.float16), RuntimeError, "cannot be greater than 2049 for float16"),
        (lambda: minigrad.randperm(-1), RuntimeError, "negative dimension -1"),
        (lambda: minigrad.normal(0.0, 1.0), TypeError, "need a size"),
        (lambda: minigrad.normal(ones(2), 1.0, (2,)), TypeError, "follow from the tensors"),
        (lambda: minigrad.normal(ones(3), ones(2)), RuntimeError, r"\(3\) must match the size of tensor b \(2\)"),
        (lambda: minigrad.normal(ones(2), -ones(2)), RuntimeError, "std >= 0.0, but found std float32"),
        (lambda: minigrad.bernoulli(ones(2) * 2), RuntimeError, r"p to be in \[0, 1\], but got float32 \(2,\) with elements outside"),
        (lambda: ones(2).bernoulli_(-0.5), RuntimeError, r"p to be in \[0, 1\], but got p=-0.5"),
        (lambda: ones(2).bernoulli_(minigrad.tensor([1, 0])), RuntimeError, "floating-point dtype, got int64"),
        (lambda: minigrad.multinomial(ones(2), 3), RuntimeError, "3 of 2; pass replacement=True"),
        (lambda: minigrad.multinomial(ones(2, 2, 2), 3), RuntimeError, r"1 or 2 dim, got shape \(2, 2, 2\)"),
        (lambda: minigrad.multinomial(ones(2), -3), RuntimeError, "n_sample <= 0 samples, got -3"),
        (lambda: minigrad.multinomial(ones(2), 1, out=ones(1)), RuntimeError, "expects Long tensor out, got: float32"),
        (lambda: minigrad.multinomial(-ones(2), 1), RuntimeError, "element < 0"),
        (lambda: minigrad.multinomial(0 * ones(2), 1), RuntimeError, "sum of probabilities <= 0"),
        (lambda: minigrad.multinomial(ones(2).long(), 1), RuntimeError, "got: int64"),
        (lambda: minigrad.poisson(-ones(2)), RuntimeError, "expected rate to be non-negative"),
        (lambda: ones(2).long().cauchy_(), NotImplementedError, "cauchy_: not implemented for int64"),
        (lambda: ones(2).uniform_(3, 2), RuntimeError, "found from=3 > to=2"),
        (lambda: ones(2).uniform_(-3e38, 3e38), RuntimeError, "uniform_ expects to-from <= 3.4"),
        (lambda: ones(2).uniform_(0, 1e39), RuntimeError, "to is out of bounds for float32, got 1e"),
        (lambda: ones(2).normal_(0, math.nan), RuntimeError, "expects std >= 0.0, but found std nan"),
        (lambda: ones(2).exponential_(0), RuntimeError, "expects lambda > 0.0, but found lambda=0"),
        (lambda: ones(2).cauchy_(0, 0), RuntimeError, "expects sigma > 0.0, but found sigma=0"),
        (lambda: ones(2).log_normal_(0, 0), RuntimeError, "expects std > 0.0, but found std=0"),
        (lambda: ones(2).geometric_(1), RuntimeError, r"expects p to be in \(0, 1\), but got p=1"),
        (lambda: ones(2).bool().geometric_(0.5), NotImplementedError, "geometric_: not implemented for bool"),
        (lambda: ones(2).random_(2.5), TypeError, "'to' must be int, not float"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_integers_that_a_float_dtype_does_not_hold_exactly_come_with_a_warning():
    with pytest.warns(
        UserWarning, match=r"to - 1 = 33554431 is out of bounds \[-16777216, 16777216\] for float32"
    ):
        minigrad.randint(2**25, (2,), dtype=minigrad.float32)


# ---- fills and the graph ---------------------------------------------------------------------------------

FILLS = {
    "uniform_": (), "normal_": (), "bernoulli_": (), "random_": (), "exponential_": (), "log_normal_": (), "cauchy_": (), "geometric_": (0.5,),
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_writes_in_place_and_bumps_the_version(name):
    x = minigrad.full((3, 4), -7.25)
    part = x[1:].t()
    version = x._version
    assert getattr(part, name)(*FILLS[name], generator=Generator().manual_seed(3)) is part
    assert x._version > version
    assert (x[0] == -7.25).all() and (x[1:] != -7.25).all()
    again = minigrad.empty(4, 2)
    getattr(again, name)(*FILLS[name], generator=Generator().manual_seed(3))
    assert again.tolist() == part.tolist()
    assert not hasattr(minigrad, name)


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_of_a_leaf_that_requires_grad_needs_no_grad(name):
    x = minigrad.ones(3, requires_grad=True)
    for target in (x, x[:2]):
        with pytest.raises(RuntimeError, match=f"{name}: a .*leaf Variable that requires grad"):
            getattr(target, name)(*FILLS[name])
    assert x.tolist() == [1, 1, 1]
    with minigrad.no_grad():
        getattr(x, name)(*FILLS[name])
    assert x.requires_grad and x.is_leaf


def test_no_gradient_passes_a_fill():
    x = minigrad.ones(3, requires_grad=True)
    y = x * 2
    y.uniform_()
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]
    x.grad = None
    y = x * 2
    y[1:].normal_()
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_a_fill_makes_what_backward_saved_stale():
    x = minigrad.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y.normal_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_memory_that_repeats_is_not_filled():
    with pytest.raises(RuntimeError, match="single memory location"):
        minigrad.ones(1).expand(3).uniform_()
