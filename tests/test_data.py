"""Datasets, samplers and collating: PyTorch's names and rules."""

from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import minigrad
from minigrad.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)
from minigrad.random import Generator


def same(a, b):
    return a.dtype is b.dtype and a.shape == b.shape and np.array_equal(np.asarray(a), np.asarray(b))


def tensor(*values, dtype=None):
    return minigrad.tensor(list(values), dtype=dtype)


class Count(IterableDataset):
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        yield from self.values

    def __len__(self):
        return len(self.values)


# ---- datasets


def test_a_tensor_dataset_yields_tuples_of_rows():
    pairs = TensorDataset(tensor(1.0, 2.0), tensor(3, 4))
    x, y = pairs[1]
    assert len(pairs) == 2 and (x.item(), y.item()) == (2.0, 4)


@pytest.mark.parametrize("tensors", [(), (tensor(1, 2), tensor(1)), (minigrad.tensor(1.0),)])
def test_a_tensor_dataset_refuses_tensors_that_disagree(tensors):
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors.*got shapes"):
        TensorDataset(*tensors)


def test_a_tensor_dataset_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match="expected tensors, got ndarray; convert"):
        TensorDataset(np.zeros(3))


def test_a_dataset_without_items_says_what_to_define():
    with pytest.raises(NotImplementedError, match="Dataset: a Dataset has to define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="has to define __iter__"):
        iter(IterableDataset())
    with pytest.raises(NotImplementedError, match="has to define __iter__"):
        iter(Sampler())


def test_concatenation_counts_through_its_parts():
    joined = Subset(range(3), [0, 1, 2]) + range(10, 12)
    assert isinstance(joined, ConcatDataset) and joined.cumulative_sizes == [3, 5]
    assert [joined[i] for i in range(-5, 5)] == [0, 1, 2, 10, 11] * 2


def test_concatenation_refuses_indices_outside_and_streams():
    joined = ConcatDataset([range(3)])
    with pytest.raises(IndexError, match="index 3 is out of range for 3 items"):
        joined[3]
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
        joined[-4]
    with pytest.raises(TypeError, match="use ChainDataset"):
        ConcatDataset([Count(1)])
    with pytest.raises(ValueError, match="at least one dataset"):
        ConcatDataset([])


def test_a_chain_reads_streams_one_after_the_other():
    chain = Count(1, 2) + Count(3)
    assert list(chain) == [1, 2, 3] and len(chain) == 3
    with pytest.raises(TypeError, match="expected IterableDatasets, got range"):
        list(ChainDataset([range(3)]))


def test_a_stack_pairs_items_by_position_or_by_name():
    assert StackDataset([1, 2], "ab")[1] == (2, "b")
    named = StackDataset(x=[1, 2], y="ab")
    assert named[0] == {"x": 1, "y": "a"} and len(named) == 2
    with pytest.raises(ValueError, match=r"got lengths \[1, 2\]"):
        StackDataset([1], [1, 2])
    with pytest.raises(ValueError, match="either by position"):
        StackDataset()


def test_a_subset_follows_its_indices():
    part = Subset("abcdef", [4, 0])
    assert list(map(part.__getitem__, range(len(part)))) == ["e", "a"]
    assert Subset(np.arange(6), [4, 0])[[0, 1]].tolist() == [4, 0]


def test_random_split_covers_everything_once_and_repeats_with_the_generator():
    parts = [random_split(range(10), [3, 7], Generator().manual_seed(4)) for _ in range(2)]
    assert [len(p) for p in parts[0]] == [3, 7]
    assert sorted(i for p in parts[0] for i in p.indices) == list(range(10))
    assert [p.indices for p in parts[0]] == [p.indices for p in parts[1]]


def test_random_split_by_fractions_hands_out_the_remainder_from_the_first():
    assert [len(p) for p in random_split(range(11), [0.3, 0.3, 0.4])] == [4, 3, 4]


def test_random_split_refuses_lengths_that_do_not_add_up():
    with pytest.raises(ValueError, match=r"Sum of input lengths.*sum to 10.*got \[3, 3\]"):
        random_split(range(10), [3, 3])
    with pytest.raises(ValueError, match=r"Fraction at index 0 is not between 0 and 1, got 1.5"):
        random_split(range(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="split at index 1 is 0"):
        random_split(range(2), [0.9, 0.1])[1]


# ---- samplers


def test_sequential_and_batches():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(5), 2, drop)) for drop in (False, True)] == [3, 2]


def test_a_random_sampler_permutes_anew_each_time():
    sampler = RandomSampler(range(50), generator=Generator().manual_seed(1))
    a, b = list(sampler), list(sampler)
    assert sorted(a) == sorted(b) == list(range(50)) and a != b and len(sampler) == 50


def test_a_random_sampler_draws_as_many_as_asked():
    seven = list(RandomSampler(range(3), num_samples=7))
    assert max(Counter(seven[:6]).values()) == 2 and len(seven) == 7
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=100))
    assert len(drawn) == 100 and set(drawn) == {0, 1, 2}


def test_without_a_generator_the_default_one_decides():
    minigrad.manual_seed(3)
    a = list(RandomSampler(range(20)))
    minigrad.manual_seed(3)
    assert a == list(RandomSampler(range(20)))


def test_a_subset_sampler_permutes_its_indices():
    sampler = SubsetRandomSampler([5, 7, 9])
    assert sorted(sampler) == [5, 7, 9] and len(sampler) == 3


def test_weights_are_probabilities():
    g = Generator().manual_seed(0)
    drawn = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000, generator=g))
    assert 0 not in drawn and drawn[2] / drawn[1] == pytest.approx(3, rel=0.15)
    assert sorted(WeightedRandomSampler([1.0, 2.0, 0.0, 3.0], 3, replacement=False)) == [0, 1, 3]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: RandomSampler([]), ValueError, "num_samples should be a positive integer"),
        (lambda: RandomSampler([1], num_samples=0), ValueError, "got num_samples=0"),
        (lambda: RandomSampler([1], replacement=1), TypeError, "replacement should be a boolean"),
        (lambda: BatchSampler([1], 0, False), ValueError, "batch_size should be a positive integer"),
        (lambda: BatchSampler([1], True, False), ValueError, "got batch_size=True"),
        (lambda: BatchSampler([1], 1, None), ValueError, "drop_last should be a boolean"),
        (lambda: WeightedRandomSampler([1.0], 1.5), ValueError, "got num_samples=1.5"),
        (lambda: WeightedRandomSampler([1.0], 1, 0), ValueError, "replacement should be a boolean"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, r"weights have shape \(1, 1\)"),
        (lambda: WeightedRandomSampler([1.0, -1.0], 1), ValueError, "finite weights of 0 or more"),
        (lambda: WeightedRandomSampler([1.0, 0.0], 2, False), ValueError, "cannot draw 2 samples"),
    ],
)
def test_samplers_refuse_wrong_options(make, error, text):
    with pytest.raises(error, match=text):
        make()


# ---- collate

Point = namedtuple("Point", "x y")


def test_numbers_become_tensors_of_torchs_dtypes():
    assert same(default_collate([1, 2]), tensor(1, 2))
    assert same(default_collate([1.0, 2.0]), tensor(1.0, 2.0, dtype=minigrad.float64))
    assert same(default_collate([True, False]), tensor(True, False))
    assert same(default_collate([np.float32(1), np.float32(2)]), tensor(1.0, 2.0))
    assert same(default_collate([np.uint8(1)]), tensor(1, dtype=minigrad.uint8))


def test_tensors_and_arrays_are_stacked():
    assert same(default_collate([tensor(1, 2), tensor(3, 4)]), minigrad.tensor([[1, 2], [3, 4]]))
    assert same(default_collate([np.zeros(3, np.int16)] * 2), minigrad.zeros(2, 3, dtype=minigrad.int16))


def test_stacking_keeps_the_graph():
    w = minigrad.tensor([1.0, 2.0], requires_grad=True)
    default_collate([w, w]).sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]


def test_strings_stay_as_they_are():
    assert default_collate(["a", "b"]) == ["a", "b"] and default_collate([b"a"]) == [b"a"]


def test_parts_are_merged_one_by_one():
    batch = default_collate([{"a": 1, "b": (2.0, "x")}, {"a": 3, "b": (4.0, "y")}])
    assert same(batch["a"], tensor(1, 3)) and batch["b"][1] == ("x", "y")
    point = default_collate([Point(1, [2, 3]), Point(4, [5, 6])])
    assert isinstance(point, Point) and same(point.y[1], tensor(3, 6))
    assert isinstance(default_collate([(1, 2)]), list)


def test_the_kind_of_mapping_survives():
    made = default_collate([defaultdict(list, a=1), defaultdict(list, a=2)])
    assert made.default_factory is list and same(made["a"], tensor(1, 2))
    assert type(default_collate([OrderedDict(a=1)])) is OrderedDict


def test_what_cannot_be_collated_is_refused():
    with pytest.raises(TypeError, match=r"must contain tensors, numpy arrays, numbers.*NoneType"):
        default_collate([None])
    with pytest.raises(TypeError, match="found <U1"):
        default_collate([np.array(["a"])])
    with pytest.raises(RuntimeError, match=r"of equal size, got lengths \[1, 2\]"):
        default_collate([[1], [1, 2]])
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        default_collate([tensor(1), tensor(1, 2)])


def test_a_type_of_ones_own_joins_the_map(monkeypatch):
    class Word(str):
        pass

    from minigrad.data import default_collate_fn_map

    monkeypatch.setitem(default_collate_fn_map, Word, lambda batch, *, collate_fn_map: "".join(batch))
    assert default_collate([(Word("a"), 1), (Word("b"), 2)])[0] == "ab"


def test_convert_leaves_the_structure():
    made = default_convert({"x": np.arange(2), "y": [np.float32(1), "s"], "p": Point(np.ones(1), 0)})
    assert same(made["x"], tensor(0, 1)) and made["y"][1] == "s" and made["p"].y == 0
    assert default_convert(np.array(["a"])).dtype.kind == "U" and default_convert((1, 2)) == [1, 2]
    assert default_convert(range(2)) == [0, 1] and default_convert(None) is None


def test_torchs_import_paths_resolve():
    from minigrad.utils.checkpoint import checkpoint
    from minigrad.utils.data import DataLoader as Loader

    assert Loader is DataLoader and callable(checkpoint)
