"""Digits classified with a Module, an optimizer and a DataLoader, the loop written out."""

import minigrad
from minigrad import nn, optim
from minigrad.data import DataLoader, Digits


class Classifier(nn.Module):
    """64 pixels → 32 hidden units → 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, images: minigrad.Tensor) -> minigrad.Tensor:  # (N, 1, 8, 8) -> (N, 10)
        return self.head(nn.functional.relu(self.hidden(images.flatten(1))))


def main(epochs: int = 15) -> float:
    """Returns the accuracy on the test digits."""
    minigrad.manual_seed(0)
    train, test = Digits(train=True), Digits(train=False)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model, loss_function = Classifier(), nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        model.train()
        for images, labels in loader:
            loss = loss_function(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with minigrad.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, batch_size=500))
        accuracy = right / len(test)
        print(f"epoch {epoch + 1}  loss {loss.item():.4f}  test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
