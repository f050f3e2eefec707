"""Mixup with randperm, label smoothing by hand, gradient accumulation and clipping, EMA of the parameters."""

import copy
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class LabelSmoothingCrossEntropy(nn.Module):
    def __init__(self, smoothing=0.1):
        super().__init__()
        self.confidence = 1.0 - smoothing
        self.smoothing = smoothing

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logprobs = F.log_softmax(x, dim=-1)
        nll_loss = -logprobs.gather(dim=-1, index=target.unsqueeze(1))
        nll_loss = nll_loss.squeeze(1)
        smooth_loss = -logprobs.mean(dim=-1)
        loss = self.confidence * nll_loss + self.smoothing * smooth_loss
        return loss.mean()


def smooth_one_hot(targets, n_classes, smoothing=0.0):
    with torch.no_grad():
        targets = (
            torch.empty(size=(targets.size(0), n_classes), device=targets.device)
            .fill_(smoothing / (n_classes - 1))
            .scatter_(1, targets.data.unsqueeze(1), 1.0 - smoothing)
        )
    return targets


def mixup_data(x, y, alpha=1.0, use_cuda=False, lam=0.3, index=None):
    batch_size = x.size()[0]
    drawn = torch.randperm(batch_size).cuda() if use_cuda else torch.randperm(batch_size)
    assert torch.equal(drawn.sort().values, torch.arange(batch_size))
    index = drawn if index is None else index
    mixed_x = lam * x + (1 - lam) * x[index, :]
    y_a, y_b = y, y[index]
    return mixed_x, y_a, y_b, lam


def mixup_criterion(criterion, pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


class EMA:
    def __init__(self, model, decay):
        self.model = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.model.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for ema_v, v in zip(self.model.state_dict().values(), model.state_dict().values()):
            if ema_v.dtype.is_floating_point:
                ema_v.mul_(self.decay).add_(v.detach(), alpha=1 - self.decay)
            else:
                ema_v.copy_(v)


class Shadow:
    """The other way people write it."""

    def __init__(self, model, decay):
        self.decay = decay
        self.shadow = {name: p.data.clone() for name, p in model.named_parameters() if p.requires_grad}
        self.backup = {}

    def update(self, model):
        for name, param in model.named_parameters():
            if param.requires_grad:
                assert name in self.shadow
                new_average = (1.0 - self.decay) * param.data + self.decay * self.shadow[name]
                self.shadow[name] = new_average.clone()

    def apply_shadow(self, model):
        for name, param in model.named_parameters():
            self.backup[name] = param.data
            param.data = self.shadow[name]

    def restore(self, model):
        for name, param in model.named_parameters():
            param.data = self.backup[name]
        self.backup = {}


rng = np.random.default_rng(0)
model = nn.Sequential(
    OrderedDict(
        [
            ("fc1", nn.Linear(6, 10, bias=False)),
            ("bn", nn.BatchNorm1d(10)),
            ("act", nn.GELU()),
            ("fc2", nn.Linear(10, 4)),
        ]
    )
)
for name, param in model.named_parameters():
    if "bn" not in name:
        param.data.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(param.shape))))
ema, shadow = EMA(model, 0.9), Shadow(model, 0.8)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
criterion = LabelSmoothingCrossEntropy(0.1)
X = torch.from_numpy(rng.normal(size=(32, 6))).float()
Y = torch.from_numpy(rng.integers(0, 4, 32))
index = torch.from_numpy(rng.permutation(8))
accumulation_steps = 2
losses, norms = [], []
optimizer.zero_grad()
for i, (xb, yb) in enumerate(zip(X.split(8), Y.split(8))):
    mixed, y_a, y_b, lam = mixup_data(xb, yb, index=index)
    loss = mixup_criterion(criterion, model(mixed), y_a, y_b, lam) / accumulation_steps
    loss.backward()
    losses.append(loss.item())
    if (i + 1) % accumulation_steps == 0:
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5))
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        shadow.update(model)

soft = smooth_one_hot(Y, 4, 0.1)
built_in = nn.CrossEntropyLoss(label_smoothing=0.1)(X[:, :4], Y)
by_hand = criterion(X[:, :4], Y)
with_soft = -(soft * F.log_softmax(X[:, :4], dim=1)).sum(dim=1).mean()
assert torch.allclose(built_in, by_hand, atol=1e-6) and torch.allclose(soft.sum(1), torch.ones(32))
before = model.fc1.weight.data.clone()
shadow.apply_shadow(model)
model.eval()
averaged = model(X[:2])
shadow.restore(model)
assert torch.equal(before, model.fc1.weight) and not any(p.requires_grad for p in ema.model.parameters())
results = {
    "losses": losses,
    "norms": norms,
    "ema": ema.model.state_dict(),
    "averaged": averaged,
    "soft": soft,
    "model": model.state_dict(),
    "by_hand": by_hand,
    "with_soft": with_soft,
}
