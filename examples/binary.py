"""Is it a zero? Sigmoid and binary cross-entropy, one class against the rest, with precision and recall."""

import minigrad
from minigrad import nn, optim
from minigrad.data import Digits


def main(steps: int = 300) -> tuple[float, float]:
    """Returns precision and recall of "zero" on the test digits."""
    minigrad.manual_seed(0)
    (x, y), (x_test, y_test) = Digits(train=True).tensors(), Digits(train=False).tensors()
    x, y = x.flatten(1), (y == 0).float()  # (N, 64), (N,)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        batch = minigrad.randint(0, len(x), (64,))
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3d}  loss {loss.item():.4f}")
    with minigrad.no_grad():
        said, true = minigrad.sigmoid(model(x_test.flatten(1))) > 0.5, y_test == 0
    hits = (said & true).sum().item()
    precision, recall = hits / said.sum().item(), hits / true.sum().item()
    print(f"precision {precision:.4f}  recall {recall:.4f}")
    return precision, recall


if __name__ == "__main__":
    main()
