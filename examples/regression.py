"""Fits a line to noisy points by mean squared error and full-batch gradient descent."""

import minigrad
from minigrad import nn, optim


def main(steps: int = 200) -> tuple[float, float, float]:
    """Returns slope, intercept and loss; the truth is 3 x - 1 with noise of deviation 0.1."""
    minigrad.manual_seed(0)
    x = minigrad.linspace(-1, 1, 100).unsqueeze(1)  # (100, 1)
    y = 3 * x - 1 + 0.1 * minigrad.randn(100, 1)
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.3)
    for step in range(steps):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step:3d}  mse {loss.item():.4f}")
    slope, intercept = model.weight.item(), model.bias.item()
    print(f"y = {slope:.3f} x + {intercept:.3f}   (3 x - 1 with noise), mse {loss.item():.4f}")
    return slope, intercept, loss.item()


if __name__ == "__main__":
    main()
