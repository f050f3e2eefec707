"""``torch.utils.data``'s names, from ``minigrad.data``. Nothing is defined here."""

import sys

from ..data import (
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
    datasets,
    default_collate,
    default_convert,
    get_worker_info,
    loader,
    random_split,
    samplers,
)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]

for _path, _room in {
    "dataset": datasets,
    "sampler": samplers,
    "dataloader": loader,
}.items():
    sys.modules[f"{__name__}.{_path}"] = _room  # from torch.utils.data.sampler import SubsetRandomSampler
