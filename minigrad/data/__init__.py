"""Datasets, samplers, the DataLoader, file readers and known sets: everything up to a batch of tensors."""

from .collate import collate, default_collate, default_collate_fn_map, default_convert
from .datasets import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from .loader import DataLoader, WorkerInfo, get_worker_info
from .readers import read_csv, read_idx, read_npy, read_npz
from .samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .sets import MNIST, SETS, Digits, FashionMNIST, Found, ImageSet, cache_folder, find

__all__ = [
    "MNIST",
    "SETS",
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Found",
    "ImageSet",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "cache_folder",
    "collate",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
    "find",
    "get_worker_info",
    "random_split",
    "read_csv",
    "read_idx",
    "read_npy",
    "read_npz",
]
