"""XOR: four points that no straight line separates, learned by one hidden layer."""

import minigrad
from minigrad import nn, optim


def main(steps: int = 500) -> list[int]:
    """Returns the learned truth table for 00, 01, 10, 11."""
    minigrad.manual_seed(1)
    x = minigrad.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = minigrad.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for step in range(steps):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3d}  loss {loss.item():.4f}")
    with minigrad.no_grad():
        table = (model(x) > 0).long().flatten().tolist()
    for row, out in zip(x.long().tolist(), table, strict=True):
        print(f"{row[0]} xor {row[1]} = {out}")
    return table


if __name__ == "__main__":
    main()
