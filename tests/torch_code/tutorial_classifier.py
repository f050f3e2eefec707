"""The classifier of every tutorial: Dataset, DataLoader, device, train and test loops with printed progress."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print("Using device:", device)


class BlobDataset(Dataset):
    def __init__(self, n, transform=None):
        rng = np.random.default_rng(n)
        self.labels = rng.integers(0, 3, n)
        self.images = (rng.normal(size=(n, 1, 4, 4)) + self.labels[:, None, None, None]).astype(np.float32)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        image = torch.from_numpy(self.images[idx])
        if self.transform:
            image = self.transform(image)
        return image, int(self.labels[idx])


class Net(nn.Module):
    def __init__(self, hidden=16, num_classes=3):
        super().__init__()
        self.fc1 = nn.Linear(4 * 4, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, self.num_flat_features(x))
        x = F.relu(self.fc1(x))
        x = self.dropout(x)
        return F.log_softmax(self.fc2(x), dim=1)

    def num_flat_features(self, x):
        num_features = 1
        for s in x.size()[1:]:
            num_features *= s
        return num_features


def train(model, loader, optimizer, epoch, log_interval=4):
    model.train()
    running_loss = 0.0
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * data.size(0)
        if batch_idx % log_interval == 0:
            done = 100.0 * batch_idx / len(loader)
            print(
                f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(loader.dataset)} ({done:.0f}%)]\tLoss: {loss.item():.3f}"
            )
    return running_loss / len(loader.dataset)


def test(model, loader):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return test_loss / len(loader.dataset), correct / len(loader.dataset)


train_loader = DataLoader(BlobDataset(96, transform=lambda x: (x - 1.0) / 2.0), batch_size=16, shuffle=False)
test_loader = DataLoader(BlobDataset(40, transform=lambda x: (x - 1.0) / 2.0), batch_size=32)

model = Net().to(device)
rng = np.random.default_rng(0)
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.3, p.shape)))
print(model)
print(sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")

optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
history = {"loss": [], "acc": [], "lr": []}
for epoch in range(1, 5):
    loss = train(model, train_loader, optimizer, epoch)
    val_loss, acc = test(model, test_loader)
    scheduler.step()
    history["loss"].append(loss)
    history["acc"].append(acc)
    history["lr"].append(optimizer.param_groups[0]["lr"])
    print("Epoch %d: val loss %.3f, accuracy %.1f%%" % (epoch, val_loss, 100 * acc))

assert history["acc"][-1] > 0.8
results = {"history": history, "weights": model.state_dict(), "optimizer": optimizer.state_dict()}
