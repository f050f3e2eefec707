"""Digits classified with tensors alone: no Module, no optimizer. The same network as the other two classifiers."""

import minigrad
from minigrad.data import Digits
from minigrad.nn import functional as F


def main(epochs: int = 15) -> float:
    """Returns the accuracy on the test digits."""
    minigrad.manual_seed(0)
    (x, y), (x_test, y_test) = Digits(train=True).tensors(), Digits(train=False).tensors()
    x, y, x_test = x.flatten(1), y, x_test.flatten(1)  # (N, 64), (N,)
    w1 = (minigrad.randn(32, 64) * (2 / 64) ** 0.5).requires_grad_()  # He et al., 2015
    w2 = (minigrad.randn(10, 32) * (2 / 32) ** 0.5).requires_grad_()
    b1, b2 = minigrad.zeros(32, requires_grad=True), minigrad.zeros(10, requires_grad=True)

    def logits(x: minigrad.Tensor) -> minigrad.Tensor:
        return minigrad.relu(x @ w1.T + b1) @ w2.T + b2  # (N, 10)

    for epoch in range(epochs):
        order = minigrad.randperm(len(x))
        for batch in order.split(32):
            loss = F.cross_entropy(logits(x[batch]), y[batch])
            loss.backward()
            with minigrad.no_grad():
                for parameter in (w1, b1, w2, b2):
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
        with minigrad.no_grad():
            accuracy = (logits(x_test).argmax(1) == y_test).float().mean().item()
        print(f"epoch {epoch + 1}  loss {loss.item():.4f}  test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
