"""Digits classified in one call: the Trainer has the loop, the progress, the history."""

import minigrad
from minigrad import nn, train
from minigrad.data import Digits


def main(epochs: int = 15) -> float:
    """Returns the accuracy on the test digits."""
    minigrad.manual_seed(0)
    (x, y), test = Digits(train=True).tensors(), Digits(train=False).tensors()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    history = train.fit(model, x, y, epochs=epochs, batch_size=32, validation_data=test)
    print(history)
    return history.history["val_accuracy"][-1]


if __name__ == "__main__":
    main()
