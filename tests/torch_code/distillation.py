"""A teacher, a student, averages of weights kept by hand, groups of options, accumulated gradients."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from collections import OrderedDict, deque
import numpy as np

rng = np.random.RandomState(3)
X = torch.FloatTensor(rng.randn(128, 8))
y = torch.LongTensor((rng.randn(128, 8).cumsum(1)[:, -1] > 0).astype(int) + (X.numpy()[:, 0] > 0))


def fill(m):
    for p in m.parameters():
        p.data = torch.tensor(rng.randn(*p.shape).astype(np.float32)) * 0.3


teacher = nn.Sequential(
    OrderedDict(
        [("fc1", nn.Linear(8, 32)), ("act", nn.GELU()), ("drop", nn.Dropout(0.0)), ("fc2", nn.Linear(32, 3))]
    )
)
student = nn.Sequential(nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 3))
fill(teacher)
fill(student)


def kd_loss(s, t, labels, T=4.0, alpha=0.7):
    soft = F.kl_div(F.log_softmax(s / T, dim=1), F.softmax(t / T, dim=1), reduction="batchmean") * (T * T)
    return alpha * soft + (1.0 - alpha) * F.cross_entropy(s, labels)


class EMA:
    def __init__(self, model, decay):
        self.decay = decay
        self.shadow = {n: p.data.clone() for n, p in model.named_parameters() if p.requires_grad}
        self.backup = {}

    def update(self, model):
        for n, p in model.named_parameters():
            if p.requires_grad:
                self.shadow[n] = (1.0 - self.decay) * p.data + self.decay * self.shadow[n]

    def apply_shadow(self, model):
        for n, p in model.named_parameters():
            self.backup[n] = p.data
            p.data = self.shadow[n]

    def restore(self, model):
        for n, p in model.named_parameters():
            p.data = self.backup[n]


opt_t = torch.optim.AdamW(
    [
        {"params": teacher.fc1.parameters()},
        {"params": teacher.fc2.parameters(), "lr": 5e-3, "weight_decay": 0.0},
    ],
    lr=1e-2,
    weight_decay=0.05,
)
for step in range(20):
    opt_t.zero_grad()
    loss = F.cross_entropy(teacher(X), y, label_smoothing=0.1, weight=torch.tensor([1.0, 2.0, 1.5]))
    loss.backward()
    opt_t.step()
teacher.eval().requires_grad_(False)
print(all(not p.requires_grad for p in teacher.parameters()), loss.item().__round__(4))
mean_teacher = copy.deepcopy(student)
for p in mean_teacher.parameters():
    p.detach_()
ema = EMA(student, 0.9)
opt = torch.optim.RMSprop(student.parameters(), lr=1e-2, alpha=0.9, centered=True, momentum=0.5)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10, eta_min=1e-4)
window = deque(maxlen=5)
accum = 4
losses = []
for epoch in range(5):
    perm = torch.from_numpy(np.random.RandomState(epoch).permutation(128))
    for i, idx in enumerate(perm.split(16)):
        with torch.no_grad():
            t_out = teacher(X[idx])
        loss = kd_loss(student(X[idx]), t_out, y[idx]) / accum
        loss.backward()
        window.append(loss.detach())
        if (i + 1) % accum == 0:
            torch.nn.utils.clip_grad_value_(student.parameters(), 0.5)
            opt.step()
            opt.zero_grad()
            ema.update(student)
            with torch.no_grad():
                for a, b in zip(mean_teacher.parameters(), student.parameters()):
                    a.mul_(0.9).add_(b, alpha=0.1)
    sched.step()
    losses.append(torch.stack(list(window)).mean().item())
ema.apply_shadow(student)
acc_ema = (student(X).argmax(1) == y).float().mean().item()
ema.restore(student)
acc = student(X).max(1)[1].eq(y).sum().item() / len(y)
clone = copy.deepcopy(student)
print(clone.load_state_dict(student.state_dict()))
results = dict(
    losses=losses,
    acc=acc,
    ema=acc_ema,
    shadow=ema.shadow,
    mt=[p for p in mean_teacher.parameters()],
    opt=opt.state_dict()["param_groups"],
    t=teacher.state_dict(),
    out=clone(X[:3]),
)
