"""Learning-rate schedules, resuming from saved state dicts, early stopping by deep copies."""

import copy
import math
import os
import tempfile

import numpy as np
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


def make():
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, -0.2, 0.3]]))
        model.bias.fill_(0.0)
    return model


def warmup_cosine(step, warmup=3, total=12):
    if step < warmup:
        return float(step) / float(max(1, warmup))
    progress = float(step - warmup) / float(max(1, total - warmup))
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


lrs = {}
for name, build in {
    "step": lambda o: StepLR(o, step_size=3, gamma=0.1),
    "multi": lambda o: MultiStepLR(o, milestones=[2, 6], gamma=0.5),
    "exp": lambda o: ExponentialLR(o, gamma=0.9),
    "cosine": lambda o: CosineAnnealingLR(o, T_max=10, eta_min=1e-4),
    "linear": lambda o: LinearLR(o, start_factor=0.25, total_iters=5),
    "lambda": lambda o: LambdaLR(o, lr_lambda=warmup_cosine),
    "onecycle": lambda o: OneCycleLR(o, max_lr=0.5, total_steps=12),
    "sequential": lambda o: SequentialLR(
        o,
        schedulers=[LinearLR(o, start_factor=0.1, total_iters=4), CosineAnnealingLR(o, T_max=8)],
        milestones=[4],
    ),
}.items():
    model = make()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = build(optimizer)
    seen = []
    for _ in range(11):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).mean().backward()
        optimizer.step()
        seen.append(scheduler.get_last_lr()[0])
        scheduler.step()
    lrs[name] = seen

model = make()
optimizer = optim.Adam([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.02}], lr=0.1)
plateau = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=1, threshold=1e-3)
for value in [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8]:
    plateau.step(value)
plateau_lrs = [g["lr"] for g in optimizer.param_groups]

rng = np.random.default_rng(0)
X, Y = (
    torch.tensor(rng.normal(size=(20, 3)), dtype=torch.float32),
    torch.tensor(rng.normal(size=(20, 1)), dtype=torch.float32),
)


def run(model, optimizer, scheduler, epochs):
    losses = []
    for _ in range(epochs):
        loss = ((model(X) - Y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def build():
    model = make()
    optimizer = optim.AdamW(model.parameters(), lr=0.05, amsgrad=True)
    return model, optimizer, StepLR(optimizer, 2, 0.5)


straight = run(*build(), 6)
model, optimizer, scheduler = build()
first = run(model, optimizer, scheduler, 3)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "checkpoint.pt")
    torch.save(
        {
            "epoch": 3,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "losses": first,
        },
        path,
    )
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
model, optimizer, scheduler = build()
model.load_state_dict(checkpoint["model_state_dict"])
optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
scheduler.load_state_dict(checkpoint["scheduler"])
resumed = checkpoint["losses"] + run(model, optimizer, scheduler, 6 - checkpoint["epoch"])
assert resumed == straight

best_model_wts, best_loss = copy.deepcopy(model.state_dict()), float("inf")
for loss in run(model, optimizer, scheduler, 3):
    if loss < best_loss:
        best_loss = loss
        best_model_wts = copy.deepcopy(model.state_dict())
model.weight.data.mul_(2)
assert not torch.equal(best_model_wts["weight"], model.weight)
model.load_state_dict(best_model_wts)
print(optimizer)
results = {
    "lrs": lrs,
    "plateau": plateau_lrs,
    "straight": straight,
    "final": model.state_dict(),
    "best": best_loss,
    "optimizer": optimizer.state_dict(),
    "scheduler_lr": scheduler.get_last_lr(),
}
