"""The DataLoader: the same batches from any number of workers, from any position, and no thread left."""

import contextlib
import gc
import itertools
import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest

import minigrad
from minigrad.data import (
    MNIST,
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)
from minigrad.random import Generator

WORKERS = (0, 1, 4)


class Noisy(Dataset):
    """Item i is (i + noise, i): augmented by the default generator, slow here and there."""

    def __init__(self, n=23):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i % 5 == 0:
            time.sleep(0.002)
        return i + minigrad.rand(2), i


class Stream(IterableDataset):
    def __init__(self, n=23):
        self.n = n

    def __iter__(self):
        start = minigrad.rand(1)
        for i in range(self.n):
            yield start + minigrad.rand(1), i


class Failing(Dataset):
    def __init__(self, at, kind=KeyError):
        self.at, self.kind = at, kind

    def __len__(self):
        return 12

    def __getitem__(self, i):
        if i == self.at:
            raise self.kind("no such image")
        return i


def flat(batch):
    """A batch as bytes, types and shapes, to compare bit by bit."""
    if isinstance(batch, (list, tuple)):
        return tuple(flat(b) for b in batch)
    a = np.asarray(batch)
    return str(a.dtype), a.shape, a.tobytes()


def epochs(loader, n=1):
    return [[flat(b) for b in loader] for _ in range(n)]


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("minigrad-loader")]


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threads())
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while (left := set(threads()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


# ---- order and values


@pytest.mark.parametrize("options", [
    {"batch_size": 4, "shuffle": True},
    {"batch_size": 4, "shuffle": True, "drop_last": True},
    {"batch_size": None},
    {"batch_size": 5, "generator": 7, "shuffle": True},
    {"batch_size": 3, "sampler": "replacement"},
    {"batch_sampler": [[3, 1], [2], [5, 5, 5]]},
    {"batch_size": 4, "collate_fn": lambda items: default_collate(items)[0] + minigrad.rand(1)},
])  # fmt: skip
def test_batches_do_not_depend_on_the_number_of_workers(options):
    def run(workers):
        given = dict(options)
        if "generator" in given:
            given["generator"] = Generator().manual_seed(given["generator"])
        if given.get("sampler") == "replacement":
            given["sampler"] = RandomSampler(range(23), replacement=True, num_samples=17)
        minigrad.manual_seed(5)
        seen = epochs(DataLoader(Noisy(), num_workers=workers, **given), 3)
        return seen, flat(minigrad.rand(3))  # the consumer's generator moved on alike

    serial, one, four = (run(w) for w in WORKERS)
    assert serial == one == four
    assert serial[0][0] != serial[0][1]


@pytest.mark.parametrize("batch_size", [4, None])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_stream_is_read_once_by_all_workers_together(batch_size, drop_last):
    if batch_size is None and drop_last:
        pytest.skip("refused")

    def run(workers):
        minigrad.manual_seed(5)
        return epochs(DataLoader(Stream(), batch_size, drop_last=drop_last, num_workers=workers), 2)

    serial, one, four = (run(w) for w in WORKERS)
    assert serial == one == four and serial[0] != serial[1]
    assert len(serial[0]) == {4: 5 if drop_last else 6, None: 23}[batch_size]


@pytest.mark.parametrize("workers", WORKERS)
def test_draws_of_the_consumer_between_batches_change_nothing(workers):
    def run(interfere):
        minigrad.manual_seed(1)
        seen = []
        for batch in DataLoader(Noisy(), 4, shuffle=True, num_workers=workers):
            seen.append(flat(batch))
            if interfere:
                minigrad.rand(9)
        return seen

    assert run(False) == run(True)


def test_shuffling_visits_every_item_once_and_differently_each_pass():
    loader = DataLoader(range(100), 7, shuffle=True, num_workers=2)
    a, b = ([i for batch in loader for i in batch.tolist()] for _ in range(2))
    assert sorted(a) == sorted(b) == list(range(100)) and a != b


def test_modes_of_the_consumer_hold_in_the_workers():
    class Modes(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return minigrad.is_grad_enabled(), np.dtype(minigrad.get_default_dtype().numpy_dtype).itemsize

    for workers in WORKERS:
        with minigrad.no_grad():
            iterator = iter(DataLoader(Modes(), num_workers=workers))
        (on, size) = next(iterator)
        assert (on.item(), size.item()) == (False, 4)


# ---- the fast path


def images(n=30):
    made = object.__new__(MNIST)
    rng = np.random.default_rng(0)
    made.data = minigrad.tensor(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
    made.targets = minigrad.tensor(rng.integers(0, 10, n))
    made.transform = made.target_transform = None
    return made


PAIRS = TensorDataset(minigrad.arange(60.0).reshape(20, 3), minigrad.arange(20))
GATHERED = [
    PAIRS,
    Subset(PAIRS, list(range(19, 4, -1))),
    Subset(Subset(PAIRS, [3, 5, 7, -1]), [1, -1]),
    images(),
]


@pytest.mark.parametrize("dataset", GATHERED, ids=["tensors", "subset", "subset of a subset", "images"])
@pytest.mark.parametrize("workers", [0, 2])
def test_gathering_equals_collating_items(dataset, workers, monkeypatch):
    asked = []
    monkeypatch.setattr(TensorDataset, "__getitem__", _counted(TensorDataset.__getitem__, asked))
    minigrad.manual_seed(0)
    fast = epochs(DataLoader(dataset, 4, shuffle=True, num_workers=workers))
    assert not asked
    minigrad.manual_seed(0)
    assert fast == epochs(DataLoader(dataset, 4, shuffle=True, collate_fn=lambda b: default_collate(b)))


def _counted(function, calls):
    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted


def test_gathering_is_left_where_items_are_made_otherwise():
    class Negated(TensorDataset):
        def __getitem__(self, i):
            return tuple(-t for t in super().__getitem__(i))

    class Odd(Subset):
        def __getitem__(self, i):
            return -1

    x = minigrad.arange(4.0)
    for dataset in (Negated(x), Subset(Negated(x), range(4))):
        assert [b.tolist() for (b,) in DataLoader(dataset, 4)] == [[0, -1, -2, -3]]
    assert next(iter(DataLoader(Odd(TensorDataset(x), range(4)), 2))).tolist() == [-1, -1]
    shown = images()
    shown.transform = lambda image: image.sum()
    assert next(iter(DataLoader(shown, 2)))[0].shape == (2,)


@pytest.mark.parametrize("batch", [[], [0.5], [True], ["a"], [None]], ids=str)
def test_gathering_refuses_the_indices_that_items_refuse(batch):
    def outcome(**options):
        try:
            return flat(next(iter(DataLoader(PAIRS, batch_sampler=[batch], **options))))
        except Exception as e:
            return type(e)

    assert outcome() == outcome(collate_fn=lambda items: default_collate(items))


def test_gathering_keeps_the_graph():
    w = minigrad.arange(4.0).requires_grad_()
    (batch,) = next(iter(DataLoader(TensorDataset(w), 3)))
    batch.sum().backward()
    assert w.grad.tolist() == [1, 1, 1, 0]


# ---- errors


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_keeps_its_type_and_tells_the_index(workers):
    iterator = iter(DataLoader(Failing(6), 4, num_workers=workers))
    assert next(iterator).tolist() == [0, 1, 2, 3]
    with pytest.raises(KeyError, match="no such image") as caught:
        next(iterator)
    told = "".join(traceback.format_exception(caught.value))
    assert "Failing at dataset index 6, batch 1" in told and "in __getitem__" in told
    assert next(iterator).tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("workers", WORKERS)
def test_an_index_outside_is_told_on_the_fast_path_too(workers):
    with pytest.raises(IndexError) as caught:
        list(DataLoader(PAIRS, 2, sampler=[0, 1, 2, 20], num_workers=workers))
    assert "TensorDataset at dataset index 20, batch 1" in caught.value.__notes__[-1]


@pytest.mark.parametrize("workers", WORKERS)
def test_stop_iteration_in_a_dataset_does_not_end_the_data(workers):
    with pytest.raises(RuntimeError, match="Failing raised StopIteration in batch 0") as caught:
        list(DataLoader(Failing(1, StopIteration), 4, num_workers=workers))
    assert "dataset index 1" in caught.value.__notes__[0]


@pytest.mark.parametrize("workers", WORKERS)
def test_errors_of_collate_sampler_stream_and_batched_getter_say_where(workers):
    def bad_collate(items):
        raise OSError("disk")

    def bad_sampler():
        yield from (0, 1, 2)
        raise OSError("disk")

    class BadStream(IterableDataset):
        def __iter__(self):
            yield from (1, 2, 3)
            raise OSError("disk")

    class BadItems(Noisy):
        def __getitems__(self, indices):
            raise OSError("disk")

    for loader, batches, note in (
        (DataLoader(Noisy(), 2, collate_fn=bad_collate, num_workers=workers), 0, "collate_fn on batch 0, indices [0, 1]"),
        (DataLoader(Noisy(), sampler=bad_sampler(), num_workers=workers), 3, "sampler, BatchSampler"),
        (DataLoader(BadStream(), 2, num_workers=workers), 1, "BadStream after 3 items, in batch 1"),
        (DataLoader(BadItems(), 2, num_workers=workers), 0, "BadItems.__getitems__([0, 1]), batch 0"),
    ):  # fmt: skip
        iterator = iter(loader)
        assert len(list(itertools.islice(iterator, batches))) == batches
        with pytest.raises(OSError, match="disk") as caught:
            next(iterator)
        assert note in caught.value.__notes__[-1]


def test_getitems_is_preferred_and_checked():
    class Many(Noisy):
        short = False

        def __getitems__(self, indices):
            return [-i for i in indices][self.short :]

    assert next(iter(DataLoader(Many(), 3))).tolist() == [0, -1, -2]
    many = Many()
    many.short = True
    with pytest.raises(ValueError, match="one item an index: expected 3, got 2"):
        next(iter(DataLoader(many, 3)))


# ---- workers


def test_workers_know_who_they_are_and_the_consumer_is_none():
    class Who(Noisy):
        def __getitem__(self, i):
            info = get_worker_info()
            time.sleep(0.005)
            return -1 if info is None else info.id + 10 * info.num_workers + 100 * (info.dataset is self)

    seen = {b.item() for b in DataLoader(Who(), num_workers=3)}
    assert seen <= {130, 131, 132} and len(seen) > 1
    assert {b.item() for b in DataLoader(Who())} == {-1} and get_worker_info() is None


def test_a_worker_is_initialised_once_and_its_failure_is_carried():
    begun = []
    loader = DataLoader(Noisy(), num_workers=3, worker_init_fn=begun.append, persistent_workers=True)
    epochs(loader, 2)
    assert sorted(begun) == [0, 1, 2]

    def broken(worker):
        raise OSError("no licence")

    with pytest.raises(OSError, match="no licence") as caught:
        list(DataLoader(Noisy(), num_workers=2, worker_init_fn=broken))
    assert "worker_init_fn(" in caught.value.__notes__[0]


def test_persistent_workers_are_the_same_threads_with_the_same_batches():
    minigrad.manual_seed(2)
    loader = DataLoader(Noisy(), 4, True, num_workers=2, persistent_workers=True)
    kept, ids = [], []
    for _ in range(3):
        kept.append([flat(b) for b in loader])
        ids.append({t.ident for t in threads()})
        next(iter(loader))  # a pass left early disturbs nothing
    assert ids[0] == ids[1] == ids[2] and len(ids[0]) == 2
    minigrad.manual_seed(2)
    loader = DataLoader(Noisy(), 4, True, num_workers=0)
    again = []
    for _ in range(3):
        again.append([flat(b) for b in loader])
        next(iter(loader))
    assert kept == again


def test_no_more_than_prefetch_factor_batches_a_worker_are_made_ahead():
    made = []

    class Seen(Noisy):
        def __getitem__(self, i):
            made.append(i)
            return i

    iterator = iter(DataLoader(Seen(100), num_workers=2, prefetch_factor=3))
    next(iterator)
    deadline = time.monotonic() + 5
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(made) == 6
    assert next(iterator).item() == 1


def test_workers_do_work_at_the_same_time():
    barrier = threading.Barrier(4, timeout=10)

    class Meeting(Noisy):
        def __getitem__(self, i):
            barrier.wait()  # breaks, and raises, unless four meet
            return i

    assert len(list(DataLoader(Meeting(8), num_workers=4))) == 8


def test_a_late_batch_times_out():
    release = threading.Event()

    class Stuck(Noisy):
        def __getitem__(self, i):
            release.wait(10)
            return i

    with pytest.raises(RuntimeError, match=r"timed out after 0.05 seconds: batch 0"):
        list(DataLoader(Stuck(), num_workers=2, timeout=0.05))
    release.set()


# ---- leaving early


@pytest.mark.parametrize("workers", WORKERS)
def test_a_closed_pass_is_over_for_its_loader_too(workers):
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=workers)
    batches = iter(loader)
    next(batches)
    batches.close()
    batches.close()
    assert list(batches) == []
    assert loader.state_dict() == {"position": 0, "seed": None}
    assert len(list(loader)) == 6


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("dataset", [Noisy(500), Stream(500)], ids=["items", "stream"])
def test_an_abandoned_iterator_ends_its_threads(workers, dataset):
    iterator = iter(DataLoader(dataset, 2, num_workers=workers))
    next(iterator)
    assert len(threads()) == workers
    del iterator  # the fixture sees to it that none is left


def test_several_passes_at_once_do_not_mix():
    loader = DataLoader(range(20), 3, num_workers=2)
    assert all(a.tolist() == b.tolist() for a, b in zip(loader, loader, strict=True))


def test_an_interrupt_in_the_consumers_code_leaves_no_thread():
    with pytest.raises(KeyboardInterrupt):
        for _ in DataLoader(Noisy(500), 2, num_workers=4):
            raise KeyboardInterrupt


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_interrupts_a_wait_for_a_batch(workers):
    release, reached = threading.Event(), threading.Event()

    class Slow(Noisy):
        def __getitem__(self, i):
            reached.set()
            release.wait(30)
            return i

    def press():
        reached.wait(10)
        time.sleep(0.2)  # by then the consumer waits in next()
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    presser = threading.Thread(target=press)
    began = time.monotonic()
    try:
        iterator = iter(DataLoader(Slow(), 2, num_workers=workers))
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            next(iterator)
        assert next(iterator, "over") == "over"
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()
        presser.join()
    assert time.monotonic() - began < 5


def test_a_process_ends_though_a_worker_is_stuck(tmp_path):
    import subprocess
    import sys

    code = (
        "import threading, minigrad.data as d\n"
        "class Stuck:\n"
        "    def __len__(self): return 9\n"
        "    def __getitem__(self, i):\n"
        "        if i: threading.Event().wait()\n"
        "        return i\n"
        "it = iter(d.DataLoader(Stuck(), num_workers=2))\n"
        "print(next(it).item())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


# ---- resuming


def loaders():
    """Every source of randomness a loader can have, made anew from the same seeds."""

    def seeded(n):
        return Generator().manual_seed(n)

    yield "default", lambda w: DataLoader(Noisy(), 4, True, num_workers=w)
    yield "own", lambda w: DataLoader(Noisy(), 4, True, num_workers=w, generator=seeded(1))
    yield "fast", lambda w: DataLoader(PAIRS, 4, True, num_workers=w, generator=seeded(1))
    yield "sampler", lambda w: DataLoader(Noisy(), 4, sampler=WeightedRandomSampler(
        np.arange(1.0, 24), 19, generator=seeded(2)), num_workers=w)  # fmt: skip
    yield "both", lambda w: DataLoader(Noisy(), batch_sampler=BatchSampler(
        RandomSampler(range(23), generator=seeded(3)), 5, True), generator=seeded(4), num_workers=w)  # fmt: skip
    yield "stream", lambda w: DataLoader(Stream(), 4, num_workers=w)
    yield "single", lambda w: DataLoader(Noisy(6), None, True, num_workers=w)


LOADERS = dict(loaders())


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("workers", [0, 3])
def test_a_pass_resumes_bit_equal_at_every_position(name, workers):
    def two_passes(loader, wanted, note=lambda: None):
        seen = []
        note()
        while len(seen) < wanted:
            for batch in loader:
                seen.append(flat(batch))
                minigrad.rand(1)  # as dropout would
                note()
            note()
        return seen[:wanted]

    minigrad.manual_seed(11)
    uncut, cuts = LOADERS[name](workers), []
    whole = two_passes(
        uncut,
        2 * len(list(LOADERS[name](0))),
        lambda: cuts.append((uncut.state_dict(), minigrad.get_rng_state())),
    )
    done = 0
    for k, (state, rng) in enumerate(cuts):
        done += k > 0 and state["position"] > 0  # between passes nothing is handed out
        minigrad.manual_seed(99)
        resumed = LOADERS[name](workers)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        minigrad.set_rng_state(rng)
        assert two_passes(resumed, len(whole) - done) == whole[done:]
    assert done == len(whole)


def test_the_state_between_passes_is_the_generators_alone():
    loader = DataLoader(range(9), 2, True, generator=Generator().manual_seed(1))
    list(loader)
    saved = loader.state_dict()
    assert saved["position"] == 0 and saved["seed"] is None
    following = epochs(loader, 2)
    loader.load_state_dict(saved)
    assert epochs(loader, 2) == following


def test_resuming_touches_no_item_already_used():
    asked = []

    class Asked(Noisy):
        def __getitem__(self, i):
            asked.append(i)
            return i

    loader = DataLoader(Asked(), 4)
    loader.load_state_dict({"position": 4, "seed": 1})
    assert [b.tolist() for b in loader] == [[16, 17, 18, 19], [20, 21, 22]]
    assert asked == list(range(16, 23))
    assert len(list(loader)) == 6  # the pass after it is whole


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ({"position": 1}, KeyError, r"expected the keys \['position', 'seed'\]"),
        ({"position": 1, "seed": 1, "generator": 0}, KeyError, "the same generators"),
        ({"position": -1, "seed": 1}, ValueError, "position=-1"),
        ({"position": 7, "seed": 1}, ValueError, "position 7 is past the 6 batches"),
        ({"position": 1, "seed": "x"}, ValueError, "seed=.x."),
        ({"position": 1, "seed": None}, ValueError, "position=1, seed=None"),
    ],
)
def test_a_state_of_another_loader_is_refused(state, error, text):
    with pytest.raises(error, match=text):
        DataLoader(Noisy(), 4).load_state_dict(state)


# ---- options


def test_lengths_are_pytorchs():
    assert [
        len(DataLoader(range(10), b, drop_last=d)) for b, d in ((3, False), (3, True), (None, False))
    ] == [4, 3, 10]
    assert len(DataLoader(range(10), batch_sampler=[[1], [2]])) == 2
    with pytest.raises(TypeError):
        len(DataLoader(Stream(), 2))
    Stream.__len__ = lambda self: self.n
    try:
        assert [len(DataLoader(Stream(), b)) for b in (4, None)] == [6, 23]
        assert len(DataLoader(Stream(), 4, drop_last=True)) == 5
    finally:
        del Stream.__len__


def test_defaults_are_pytorchs():
    loader = DataLoader(range(3))
    assert (loader.batch_size, loader.drop_last, loader.num_workers, loader.prefetch_factor) == (
        1,
        False,
        0,
        None,
    )
    assert isinstance(loader.sampler, SequentialSampler) and loader.collate_fn is default_collate
    assert DataLoader(range(3), num_workers=1).prefetch_factor == 2
    assert isinstance(DataLoader(range(3), shuffle=True).sampler, RandomSampler)
    list(DataLoader(range(3), pin_memory=True, pin_memory_device="cpu"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"timeout": 1}, "0 without workers"),
        ({"prefetch_factor": 2}, "prefetch_factor option needs num_workers > 0"),
        ({"prefetch_factor": 0, "num_workers": 1}, "1 or more"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"multiprocessing_context": "fork"}, "workers are threads"),
        ({"in_order": False}, "in_order=False is not offered"),
        ({"sampler": [1], "shuffle": True}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[1]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive integer value"),
        ({"batch_size": 2.0}, "got batch_size=2.0"),
        ({"dataset": Stream(), "shuffle": True}, "has an order of its own.*got shuffle=True"),
        ({"dataset": Stream(), "sampler": [1]}, "has an order of its own"),
        ({"dataset": Stream(), "batch_sampler": [[1]]}, "has an order of its own"),
    ],
)
def test_wrong_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(**{"dataset": range(3), **options})


def test_a_dataset_without_items_is_refused():
    with pytest.raises(TypeError, match="__getitem__ and __len__, or an IterableDataset, got int"):
        DataLoader(3)


def test_what_the_batches_are_made_of_is_fixed():
    loader = DataLoader(range(3))
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 2
    loader.worker_init_fn = None


def test_an_empty_dataset_has_no_batches():
    for workers in WORKERS:
        assert list(DataLoader([], 4, num_workers=workers)) == []
        assert list(DataLoader(Stream(0), 4, num_workers=workers)) == []


def test_concatenated_and_custom_orders():
    joined = ConcatDataset([range(3), range(10, 13)])
    assert [b.tolist() for b in DataLoader(joined, 4, sampler=[5, 0, 3])] == [[12, 0, 10]]


def test_iterators_can_be_dropped_at_any_moment():
    for k in range(12):
        iterator = iter(DataLoader(Noisy(30), 2, num_workers=3))
        for _ in range(k):
            next(iterator)
        with contextlib.suppress(UnboundLocalError):
            del iterator
