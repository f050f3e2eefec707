"""BatchNorm in train and eval, momentum None, custom init by apply, containers, regularisation, parameter counts."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn import init
from torch.nn.parameter import Parameter


class ResidualBlock(nn.Module):
    def __init__(self, dim, p=0.0):
        super().__init__()
        self.block = nn.Sequential(
            nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Dropout(p), nn.Linear(dim, dim)
        )
        self.skip = nn.Identity()
        self.alpha = Parameter(torch.tensor(0.5))
        self.register_parameter("unused", None)
        self.register_buffer("calls", torch.tensor(0, dtype=torch.long))

    def forward(self, x):
        if self.training:
            self.calls += 1
        return F.relu(self.skip(x) + self.alpha * self.block(x))


class Net(nn.Module):
    def __init__(self, widths=(4, 8, 8)):
        super().__init__()
        self.stem = nn.Linear(3, widths[0])
        self.stages = nn.ModuleList()
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            self.stages.append(nn.ModuleDict({"proj": nn.Linear(a, b), "res": ResidualBlock(b)}))
        self.heads = nn.ModuleDict([["cls", nn.Linear(widths[-1], 3)], ["reg", nn.Linear(widths[-1], 1)]])
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(1) * i) for i in range(1, 3)])
        self.table = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(widths[0]))})

    def forward(self, x):
        x = self.stem(x) + self.table["shift"]
        for scale, stage in zip(self.scales, self.stages):
            x = stage["res"](stage["proj"](x)) * scale
        return {name: head(x) for name, head in self.heads.items()}


def init_weights(m):
    if type(m) == nn.Linear:
        torch.nn.init.xavier_uniform_(m.weight, gain=nn.init.calculate_gain("relu"))
        m.bias.data.fill_(0.01)
    elif isinstance(m, nn.BatchNorm1d):
        init.ones_(m.weight)
        init.zeros_(m.bias)


torch.manual_seed(0)
net = Net()
net.apply(init_weights)
bounds = [
    float(m.weight.detach().abs().max()) <= (12.0 / sum(m.weight.shape)) ** 0.5
    for m in net.modules()
    if isinstance(m, nn.Linear)
]
assert all(bounds)
for maker in (init.kaiming_normal_, init.xavier_normal_, init.orthogonal_, init.trunc_normal_, init.uniform_):
    w = torch.empty(6, 6)
    assert maker(w) is w and w.std() > 0.01
assert torch.allclose(
    init.orthogonal_(torch.empty(4, 4)) @ init.eye_(torch.empty(4, 4)),
    torch.eye(4) @ w[:4, :4] * 0 + 1,
    atol=9,
)

rng = np.random.default_rng(0)
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(p.shape))))
x = torch.from_numpy(rng.normal(size=(7, 3)).astype("f"))
net.train()
out = net(x)
loss = F.cross_entropy(out["cls"], torch.tensor([0, 1, 2, 0, 1, 2, 0])) + F.mse_loss(
    out["reg"].squeeze(-1), x[:, 0]
)
l1 = sum(p.abs().sum() for p in net.parameters())
l2 = sum(torch.norm(p, 2) ** 2 for n, p in net.named_parameters() if "bias" not in n)
(loss + 1e-3 * l1 + 1e-3 * l2).backward()
net.eval()
with torch.no_grad():
    evaluated = net(x)
assert not net.stages[0]["res"].training and net.stages[0]["res"].calls == 1

bn = nn.BatchNorm1d(3, momentum=None, affine=False)
for chunk in x.chunk(2):
    bn(chunk)
bn3 = nn.BatchNorm1d(2).double()
y3 = bn3(torch.from_numpy(rng.normal(size=(2, 2, 5))))
ln = nn.LayerNorm([2, 5], elementwise_affine=False)
frozen = nn.BatchNorm1d(3).eval()
ghost = torch.cat([F.batch_norm(c, None, None, training=True) for c in x.split(4)])
print(net)
print([n for n, _ in net.named_buffers()])
counts = {n: sum(p.numel() for p in m.parameters()) for n, m in net.named_children()}
results = {
    "out": out,
    "evaluated": evaluated,
    "grads": {n: p.grad for n, p in net.named_parameters()},
    "loss": loss,
    "state": {k: v for k, v in net.state_dict().items()},
    "bn": bn.state_dict(),
    "y3": y3,
    "ln": ln(y3),
    "counts": counts,
    "frozen": frozen(x),
    "ghost": ghost,
    "keys": list(net.state_dict().keys()),
}
