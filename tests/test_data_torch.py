"""The same calls through torch.utils.data: same names, defaults, batches and refusals."""

import inspect
from collections import namedtuple

import numpy as np
import pytest

from minigrad.utils import data as ours

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("torch.utils.data")

Point = namedtuple("Point", "x y")
BATCHES = [
    [1, 2, 3],
    [1.5, 2.5],
    [True, False],
    [np.float32(1), np.float32(2)],
    [np.int16(1), np.int16(2)],
    [np.zeros((2, 3), np.float32)] * 4,
    [np.arange(3, dtype=np.uint8)] * 2,
    ["a", "b"],
    [(1, "x", 2.0), (3, "y", 4.0)],
    [[1, 2], [3, 4]],
    [{"a": 1, "b": [2.0, np.ones(2)]}, {"a": 3, "b": [4.0, np.zeros(2)]}],
    [Point(1, (2, 3)), Point(4, (5, 6))],
]


def told(value):
    """Structure, dtypes, shapes and values, without saying whose tensors they are."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        array = np.asarray(value)
        return "tensor", str(array.dtype), array.shape, array.tolist()
    if isinstance(value, dict):
        return {k: told(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [told(v) for v in value]
    return value


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_batches_collate_and_convert_alike(batch):
    assert told(ours.default_collate(batch)) == told(theirs.default_collate(batch))
    assert told(ours.default_convert(batch)) == told(theirs.default_convert(batch))


@pytest.mark.parametrize("batch", [[None], [{1}], [np.array(["a"])], [[1], [1, 2]]], ids=str)
def test_what_torch_refuses_to_collate_is_refused_by_the_same_type(batch):
    with pytest.raises((TypeError, RuntimeError)) as wanted:
        theirs.default_collate(batch)
    with pytest.raises(wanted.type):
        ours.default_collate(batch)


@pytest.mark.parametrize("n", [0, 1, 7, 12])
@pytest.mark.parametrize("options", [
    {}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None},
    {"batch_sampler": [[0], [0, 0]]}, {"batch_size": 2, "sampler": [0, 0, 0]},
])  # fmt: skip
def test_loaders_of_the_same_options_give_the_same_batches(n, options):
    if not n and {"sampler", "batch_sampler"} & set(options):
        pytest.skip("no index 0")
    items = [(float(i), i, f"item {i}") for i in range(n)]
    a, b = ours.DataLoader(items, **options), theirs.DataLoader(items, **options)
    assert len(a) == len(b) and [told(x) for x in a] == [told(x) for x in b]


@pytest.mark.parametrize("lengths", [[3, 7], [0.5, 0.5], [0.33, 0.33, 0.34], [0.1, 0.9]], ids=str)
def test_random_splits_have_the_same_sizes(lengths):
    sizes = [[len(p) for p in m.random_split(range(10), lengths)] for m in (ours, theirs)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", sorted(ours.__all__))
def test_arguments_have_the_same_names_order_and_defaults(name):
    mine, peer = getattr(ours, name), getattr(theirs, name)
    given, wanted = (
        [
            (p.name, p.default, p.kind)
            for p in inspect.signature(f).parameters.values()
            if p.kind not in (2, 4)
        ]
        for f in (mine, peer)
    )
    if name == "random_split":  # theirs names its global default generator
        wanted[-1] = ("generator", None, wanted[-1][2])
    assert given == wanted


REFUSED = [
    {"num_workers": -1}, {"timeout": -1}, {"prefetch_factor": 2}, {"persistent_workers": True},
    {"sampler": [1], "shuffle": True}, {"batch_sampler": [[1]], "batch_size": 2}, {"batch_size": 0},
    {"batch_size": None, "drop_last": True},
]  # fmt: skip


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_loaders_refuse_the_same_options_by_the_same_type(options):
    with pytest.raises(ValueError) as wanted:
        theirs.DataLoader(range(3), **options)
    with pytest.raises(wanted.type):
        ours.DataLoader(range(3), **options)
