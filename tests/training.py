"""What the tests of training share: small data, a small model that uses everything random, and comparisons."""

import numpy as np

import minigrad
from minigrad import nn, optim
from minigrad.data import DataLoader, TensorDataset
from minigrad.train import Callback, Trainer


def data(n=22, seed=7):
    """Samples of 4 numbers in 3 classes that can be learnt."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return minigrad.tensor(x), minigrad.tensor(x[:, :3].argmax(1))


def loader(n=22, batch_size=4, shuffle=False, seed=7, **options):
    return DataLoader(TensorDataset(*data(n, seed)), batch_size=batch_size, shuffle=shuffle, **options)


def linear(seed=0):
    minigrad.manual_seed(seed)
    return nn.Linear(4, 3)


def network(seed=0):
    """With dropout and running statistics."""
    minigrad.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def sgd(model, lr=0.1, **options):
    return optim.SGD(model.parameters(), lr=lr, **options)


def quiet(**options):
    return Trainer(enable_progress_bar=False, **options)


def fit(model, trainer, train=None, val=None, **options):
    """A run on the shared data with cross-entropy and SGD, unless told otherwise."""
    options = {"loss": nn.CrossEntropyLoss(), "optimizer": lambda p: optim.SGD(p, lr=0.1), **options}
    return trainer.fit(model, loader() if train is None else train, val, **options)


def weights(model):
    return {k: v.numpy().copy() for k, v in model.state_dict().items()}


def same(a, b):
    """Equal structures, tensors bit by bit."""
    if isinstance(a, minigrad.Tensor):
        return (
            isinstance(b, minigrad.Tensor)
            and a.dtype == b.dtype
            and same(a.detach().numpy(), b.detach().numpy())
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b or (a != a and b != b)


class Recorder(Callback):
    """Notes what is called, and how far the run was."""

    def __init__(self, *names):
        self.calls = []
        for name in names:
            setattr(self, name, self._noting(name))

    def _noting(self, name):
        def note(trainer, model, *args):
            self.calls.append((name, trainer.current_epoch, trainer.loop.batch, trainer.global_step))

        return note

    def batches(self, name):
        return [batch for n, _, batch, _ in self.calls if n == name]
