"""The DataLoader: batches from a dataset, by worker threads, resumable. Datasets and samplers live beside.

A pass over the data (:class:`_Pass`) can make any batch in any thread from its number alone: its
random numbers come from a stream derived from the pass's seed and that number, and its context
(grad mode, default dtype, kernel set …) is the one in which the pass began. So order and values don't
depend on the number of workers, and a pass resumes anywhere by its seed and its position.
"""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, NamedTuple

from .collate import default_collate, default_convert
from .datasets import IterableDataset, gatherer
from .samplers import BatchSampler, RandomSampler, Sampler, SequentialSampler

_END: Any = object()
_POLL = 0.5  # seconds; a wait without limit can't be interrupted by Ctrl-C on Windows


class WorkerInfo(NamedTuple):
    """Which worker runs this code. ``seed`` is the seed of the pass the worker began in, plus ``id``."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker: contextvars.ContextVar[WorkerInfo | None] = contextvars.ContextVar("worker", default=None)


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in; None in the consumer and where a stream is read.

    Workers are threads that share the dataset and read an :class:`IterableDataset` as one stream:
    code that shards a stream by worker, written for PyTorch, sees None and yields everything.
    """
    return _worker.get()


class _Failure(NamedTuple):
    error: BaseException


class _Fatal(NamedTuple):
    """A worker that couldn't begin; it ends the pass, whichever batch it was to make."""

    error: BaseException


class _Record:
    """Where a pass is, for the loader's ``state_dict``."""

    def __init__(self, seed: int, position: int, generators: dict[str, Any]) -> None:
        self.seed, self.position, self.generators = seed, position, generators


class _Pass:
    """One pass over the data: what makes its batches. Knows neither loader nor iterator."""

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self.dataset, self.collate_fn, self.seed = loader.dataset, loader.collate_fn, seed
        self.batch_size, self.drop_last = loader.batch_size, loader.drop_last
        self.batched = loader._batched
        self.gather = None
        if self.batched and self.collate_fn is default_collate:
            self.gather = gatherer(self.dataset)
        self.context = contextvars.copy_context()
        self.results: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.cancelled = False
        self.items: Iterator[Any] | None = None
        self.read, self.ended = 0, False
        self.source = self.context.copy()  # the sampler or stream begins here, with its own random stream
        self.source.run(_random_stream, seed, 0)
        if isinstance(self.dataset, IterableDataset):
            self.items = self.source.run(iter, self.dataset)

    def pull(self, number: int, work: Any) -> Any:
        """What batch ``number`` is made of: its indices, or its items read from the stream in order."""
        if self.items is None:
            return work
        if self.ended:
            return _END
        return self.context.copy().run(self._read, number)

    def _read(self, number: int) -> Any:
        _random_stream(self.seed, 2 * number + 1)
        size, items = self.batch_size or 1, []
        try:
            for item in itertools.islice(self.items or (), size):
                items.append(item)
                self.read += 1
        except Exception as e:
            self.ended = True
            e.add_note(
                f"DataLoader: raised by {type(self.dataset).__name__} after {self.read} items, in batch {number}"
            )
            return _Failure(e)
        if len(items) < size:
            self.ended = True
            if not items or self.drop_last:
                return _END
        return items if self.batched else items[0]

    def make(self, number: int, work: Any, info: WorkerInfo | None = None) -> Any:
        """The batch, or the failure to make it."""
        if work is _END or isinstance(work, _Failure):
            return work
        if self.gather is not None:
            try:
                if len(work):
                    return self.gather(work)
            except (IndexError, ValueError, TypeError):
                pass  # one by one finds which index it was
        try:
            return self.context.copy().run(self._make, number, work, info)
        except StopIteration as e:  # must not end the consumer's loop as if the data had ended
            error = RuntimeError(
                f"DataLoader: {type(self.dataset).__name__} raised StopIteration in batch {number}"
            )
            error.__cause__ = e
            for note in getattr(e, "__notes__", ()):
                error.add_note(note)
            return _Failure(error)
        except Exception as e:
            return _Failure(e)

    def _make(self, number: int, work: Any, info: WorkerInfo | None) -> Any:
        _random_stream(self.seed, 2 * number + 2)
        _worker.set(info)
        data = work
        if self.items is None:
            data = self._fetch(number, work)
        try:
            return self.collate_fn(data)
        except Exception as e:
            what = f"indices {_short(work)}" if self.items is None else f"{_size(work)} items"
            e.add_note(f"DataLoader: raised by collate_fn on batch {number}, {what}")
            raise

    def _fetch(self, number: int, work: Any) -> Any:
        whole = getattr(self.dataset, "__getitems__", None)
        name = type(self.dataset).__name__
        if self.batched and callable(whole):
            try:
                items = whole(work)
            except Exception as e:
                e.add_note(f"DataLoader: raised by {name}.__getitems__({_short(work)}), batch {number}")
                raise
            if len(items) != len(work):
                raise ValueError(
                    f"DataLoader: {name}.__getitems__ should return one item an index: expected "
                    f"{len(work)}, got {len(items)}"
                )
            return items
        items = []
        for index in work if self.batched else [work]:
            try:
                items.append(self.dataset[index])
            except Exception as e:
                e.add_note(f"DataLoader: raised by {name} at dataset index {index!r}, batch {number}")
                raise
        return items if self.batched else items[0]


class _Pool:
    """Worker threads and their queue of (pass, number, work). Threads know only the pool."""

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.turn = threading.Lock()  # batches are taken, and streams read, in order
        self.closed = False
        self.broken: list[BaseException] = []
        context = contextvars.copy_context()
        n = loader.num_workers
        self.threads = [
            threading.Thread(
                target=_work,
                args=(self, WorkerInfo(i, n, seed + i, loader.dataset), loader.worker_init_fn, context.copy()),
                name=f"minigrad-loader-{i}",
                daemon=True,
            )
            for i in range(n)
        ]  # fmt: skip
        for t in self.threads:
            t.start()

    def close(self) -> None:
        """Tells the threads to end after the item they are at. Safe anywhere, a finalizer included."""
        self.closed = True
        for _ in self.threads:
            self.tasks.put(None)


def _work(
    pool: _Pool, info: WorkerInfo, init: Callable[[int], None] | None, context: contextvars.Context
) -> None:
    def begin() -> None:
        _worker.set(info)
        if init is not None:
            init(info.id)

    try:
        context.run(begin)
    except BaseException as e:
        e.add_note(f"DataLoader: raised by worker_init_fn({info.id})")
        pool.broken.append(e)
    while True:
        with pool.turn:
            task = pool.tasks.get()
            if task is None or pool.closed:
                return
            work_pass, number, work = task
            if pool.broken:  # handed over, not kept: an error raised holds the consumer's iterator
                work_pass.results.put((number, _Fatal(pool.broken.pop())))
                return
            if not work_pass.cancelled:
                work = _guarded(work_pass.pull, number, work)
        if not work_pass.cancelled:
            work_pass.results.put((number, _guarded(work_pass.make, number, work, info)))
        del task, work_pass, work  # an idle worker keeps no data alive


def _guarded(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except BaseException as e:  # SystemExit, say: the consumer's to handle
        return _Failure(e)


class _Iterator:
    """One pass, batch by batch. Its threads end with it: at the end, when dropped, on Ctrl-C."""

    def __init__(self, loader: DataLoader, record: _Record) -> None:
        self.loader, self.record = loader, record
        self.batches = work_pass = _Pass(loader, record.seed)
        self.number = self.sent = record.position
        self.ready: dict[int, Any] = {}
        self.done = self.exhausted = False
        self.order: Iterator[Any] | None = None
        if work_pass.items is None:
            self.order = work_pass.source.run(iter, loader._index_sampler)
            for _ in range(record.position):
                work_pass.source.run(next, self.order, _END)
        for k in range(record.position):
            work_pass.pull(k, None)
        # the first is drawn now, so that what the consumer draws next comes after it
        self.ahead = [self._draw()] if self.order is not None else []
        self.pool = loader._workers(record.seed)
        owned = None if loader.persistent_workers else self.pool
        self.finalizer = weakref.finalize(self, _shut, work_pass, owned)
        if self.pool is not None:
            self._fill(self.pool)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self) -> Any:
        if self.done:
            raise StopIteration
        try:
            batch = self._serial() if self.pool is None else self._threaded(self.pool)
        except BaseException:  # Ctrl-C, a timeout, a worker that couldn't begin
            self.done = True
            if self.pool is not None:
                self.pool.close()
            self.finalizer()
            raise
        if batch is _END:
            self.done = True
            self.finalizer()
            self.loader._finished(self.record)
            raise StopIteration
        self.number += 1
        self.record.position = self.number
        if isinstance(batch, _Failure):
            try:
                raise batch.error
            finally:
                del batch  # its traceback holds this frame
        return batch

    def close(self) -> None:
        """Ends the pass here, as a generator's: threads stop, and the loader is between passes."""
        if not self.done:
            self.done = True
            self.finalizer()
            self.loader._finished(self.record)

    def _draw(self) -> Any:
        if self.order is None:
            return None
        try:
            return self.batches.source.run(next, self.order, _END)
        except Exception as e:
            e.add_note(f"DataLoader: raised by the sampler, {type(self.loader._index_sampler).__name__}")
            return _Failure(e)

    def _serial(self) -> Any:
        drawn = self.ahead.pop() if self.ahead else self._draw()
        if drawn is _END or isinstance(drawn, _Failure):
            return drawn
        return self.batches.make(self.number, self.batches.pull(self.number, drawn))

    def _threaded(self, pool: _Pool) -> Any:
        self._fill(pool)
        limit = monotonic() + self.loader.timeout if self.loader.timeout else None
        while self.number not in self.ready:
            wait = _POLL if limit is None else min(_POLL, max(limit - monotonic(), 0.0))
            try:
                number, batch = self.batches.results.get(timeout=wait)
            except queue.Empty:
                if limit is not None and monotonic() >= limit:
                    raise RuntimeError(
                        f"DataLoader timed out after {self.loader.timeout} seconds: batch {self.number} "
                        f"was not made in time; raise timeout=, or set it to 0 to wait without limit"
                    ) from None
                continue
            if isinstance(batch, _Fatal):
                raise batch.error
            self.ready[number] = batch
        return self.ready.pop(self.number)

    def _fill(self, pool: _Pool) -> None:
        """Hands out work until ``prefetch_factor`` batches a worker are under way or waiting."""
        limit = self.number + self.loader.num_workers * (self.loader.prefetch_factor or 2)
        while not self.exhausted and self.sent < limit:
            drawn = self.ahead.pop() if self.ahead else self._draw()
            if drawn is _END or isinstance(drawn, _Failure):
                self.ready[self.sent] = drawn
                self.exhausted = drawn is _END
            else:
                pool.tasks.put((self.batches, self.sent, drawn))
            self.sent += 1


def _shut(work_pass: _Pass, pool: _Pool | None) -> None:
    work_pass.cancelled = True
    if pool is not None:
        pool.close()


class DataLoader:
    """Iterates over a dataset in batches: PyTorch's arguments, worker threads for its processes.

    Parameters
    ----------
    dataset : a :class:`Dataset`, anything with ``__getitem__`` and ``__len__``, or an
        :class:`IterableDataset`, which is read as one stream whatever the number of workers.
    batch_size : items a batch; None hands out single items, converted but not stacked.
    shuffle : a new random order each pass.
    sampler, batch_sampler : the order of indices, or of lists of indices, instead.
    num_workers : threads that make batches ahead; 0 makes them in ``next``. They share the dataset, so
        its ``__getitem__`` must be safe to call from several threads at once.
    collate_fn : list of items → batch. The default, :func:`default_collate`, on a TensorDataset (and
        datasets with ``collated``) gathers a batch at once; the values are those of the item path.
    drop_last : leave out a last batch that isn't full.
    timeout : seconds to wait for a batch from workers; 0 waits without limit.
    worker_init_fn : called with the worker's id in each worker when it starts.
    generator : where the seed of each pass, and the order with ``shuffle``, come from; the default
        generator if None. A generator given to a loader should be its alone.
    prefetch_factor : batches that each worker makes ahead (default 2 with workers).
    persistent_workers : keep the threads from pass to pass.
    pin_memory, pin_memory_device : accepted without effect, as PyTorch's are without an accelerator:
        arrays of host memory need no pinning.
    multiprocessing_context, in_order : only None and True: there are no processes, and the order never
        depends on which worker is first.

    Random numbers drawn from minigrad's default generator in ``__getitem__``, ``collate_fn``, a sampler or
    a stream come from streams derived from the pass's seed and the batch's number: a batch is the same
    with any number of workers. Grad mode, default dtype and kernel set are those where ``iter`` was called.
    An exception keeps its type; a note on it (``__notes__``) tells the dataset index and the batch.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        streams = isinstance(dataset, IterableDataset)
        _check_workers(
            num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context, in_order
        )
        if streams and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                f"DataLoader: {type(dataset).__name__} is an IterableDataset, which has an order of its own: "
                f"expected unspecified shuffle, sampler and batch_sampler options, got shuffle={shuffle}, "
                f"sampler={sampler}, batch_sampler={batch_sampler}"
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler option is mutually exclusive with shuffle; use one")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "DataLoader: batch_sampler option is mutually exclusive with batch_size, shuffle, "
                    "sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "DataLoader: batch_size=None option disables auto-batching and is mutually exclusive "
                "with drop_last"
            )
        self._batched = batch_size is not None or batch_sampler is not None
        if sampler is None and not streams:
            if not hasattr(dataset, "__getitem__"):
                raise TypeError(
                    f"DataLoader: expected a dataset with __getitem__ and __len__, or an IterableDataset, "
                    f"got {type(dataset).__name__}"
                )
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            cut = BatchSampler(sampler or (), batch_size, drop_last)  # refuses a wrong batch_size
            batch_sampler = None if streams else cut
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = multiprocessing_context
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._pool: _Pool | None = None
        self._record: _Record | None = None
        self._resume: dict[str, Any] | None = None
        self._frozen = True

    def __setattr__(self, name: str, value: Any) -> None:
        fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
        if name in fixed and getattr(self, "_frozen", False):
            raise ValueError(
                f"DataLoader: {name} attribute should not be set after the loader is initialized; make a new one"
            )
        super().__setattr__(name, value)

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def __len__(self) -> int:
        """Batches a pass. TypeError for a dataset or sampler without a length."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        generators = self._generators()
        seed, position = None, 0
        if resume is not None:
            seed, position = resume["seed"], resume["position"]
            for name, g in generators.items():
                g.set_state(resume[name])
        starts = {name: g.get_state() for name, g in generators.items()}
        if seed is None or self.generator is not None:  # its own generator has to move on as it did
            seed = _draw_seed(self.generator)
        self._record = _Record(seed, position, starts)
        return _Iterator(self, self._record)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: what :meth:`load_state_dict` needs to continue bit-equal.

        ``position`` (batches handed out in the running pass), ``seed`` (the pass's; None between
        passes) and the states of the generators given to the loader or its samplers, as they were when
        the pass began. A pass that was left early counts as running until the next one begins; of
        several at once, the latest counts. Samplers that keep other state aren't covered.
        """
        if self._resume is not None:
            return dict(self._resume)
        if self._record is None:
            states = {name: g.get_state() for name, g in self._generators().items()}
            return {"position": 0, "seed": None, **states}
        return {
            "position": self._record.position,
            "seed": self._record.seed,
            **self._record.generators,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next ``iter`` continues the pass that ``state_dict`` was taken in.

        Indices already used are skipped without touching their data; a stream is read again up to the
        position. Raises KeyError for other keys than this loader's, ValueError for a position that
        the pass doesn't have.
        """
        expected = {"position", "seed", *self._generators()}
        if set(state_dict) != expected:
            raise KeyError(
                f"DataLoader.load_state_dict: expected the keys {sorted(expected)}, got "
                f"{sorted(state_dict)}; the loader must be made with the same generators as the saved one"
            )
        position, seed = state_dict["position"], state_dict["seed"]
        if not isinstance(position, int) or position < 0 or not isinstance(seed, int | None):
            seed = position = None  # refused below
        if position is None or (seed is None and position > 0):
            raise ValueError(
                f"DataLoader.load_state_dict: expected position 0 or more and an integer seed, or position 0 "
                f"and None, got position={state_dict['position']!r}, seed={state_dict['seed']!r}"
            )
        try:
            n = len(self)
        except TypeError:
            n = position
        if position > n:
            raise ValueError(
                f"DataLoader.load_state_dict: position {position} is past the {n} batches of this loader; "
                f"use the dataset and batch_size of the saved one"
            )
        self._resume = dict(state_dict)

    def _generators(self) -> dict[str, Any]:
        holders = {
            "generator": self,
            "sampler.generator": self.sampler,
            "batch_sampler.generator": self.batch_sampler,
            "batch_sampler.sampler.generator": getattr(self.batch_sampler, "sampler", None),
        }
        found: dict[str, Any] = {}
        for name, holder in holders.items():
            g = getattr(holder, "generator", None)
            if g is not None and all(g is not other for other in found.values()):
                found[name] = g
        return found

    def _workers(self, seed: int) -> _Pool | None:
        if self.num_workers == 0:
            return None
        if not self.persistent_workers:
            return _Pool(self, seed)
        if self._pool is None or self._pool.closed:
            self._pool = _Pool(self, seed)
            weakref.finalize(self, self._pool.close)
        return self._pool

    def _finished(self, record: _Record) -> None:
        if self._record is record:
            self._record = None


def _check_workers(
    num_workers: int,
    timeout: float,
    prefetch_factor: int | None,
    persistent_workers: bool,
    multiprocessing_context: Any,
    in_order: bool,
) -> None:
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(
            f"DataLoader: num_workers option should be non-negative, got {num_workers!r}; use "
            f"num_workers=0 to make batches without threads"
        )
    if timeout < 0 or (timeout and not num_workers):
        raise ValueError(
            f"DataLoader: timeout option should be non-negative, and 0 without workers, got {timeout!r}"
        )
    if prefetch_factor is not None and (num_workers == 0 or prefetch_factor < 1):
        raise ValueError(
            f"DataLoader: prefetch_factor option needs num_workers > 0 and is 1 or more, got "
            f"prefetch_factor={prefetch_factor}, num_workers={num_workers}"
        )
    if persistent_workers and num_workers == 0:
        raise ValueError("DataLoader: persistent_workers option needs num_workers > 0")
    if multiprocessing_context is not None:
        raise ValueError(
            f"DataLoader: workers are threads, so multiprocessing_context has no meaning: expected None, "
            f"got {multiprocessing_context!r}"
        )
    if not in_order:
        raise ValueError(
            "DataLoader: in_order=False is not offered, because results must not depend on which worker "
            "is first; leave it out"
        )


def _random_stream(seed: int, number: int) -> None:
    """Makes the default generator of the current context a fresh one for (seed, number)."""
    from .. import random

    random.use_generator(random.Generator().manual_seed(_mix(seed, number)))


def _mix(seed: int, number: int) -> int:
    """A 63-bit seed from two numbers: the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    mask = (1 << 64) - 1
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1


def _draw_seed(generator: Any) -> int:
    from .. import random

    return int(random.randint(0, 2**63 - 1, (), generator=generator).item())


def _short(indices: Any) -> str:
    text = repr(indices)
    return text if len(text) <= 80 else text[:77] + "..."


def _size(items: Any) -> int:
    return len(items) if hasattr(items, "__len__") else 1
