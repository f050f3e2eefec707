"""MAML with functional_call, gradients of gradients, a learning rate learnt, Hessians and Jacobians of functions."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, grad, vjp, jacrev
import numpy as np


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(1, 20)
        self.l2 = nn.Linear(20, 20)
        self.out = nn.Linear(20, 1)

    def forward(self, x):
        return self.out(torch.relu(self.l2(F.relu(self.l1(x)))))


net = Net()
rng = np.random.default_rng(0)
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.as_tensor(rng.normal(size=tuple(p.shape)) * 0.4))


def sample(k=10):
    amp, ph = rng.uniform(0.1, 5), rng.uniform(0, np.pi)
    x = torch.tensor(rng.uniform(-5, 5, (2 * k, 1)), dtype=torch.float32)
    return (x[:k], amp * torch.sin(x[:k] + ph)), (x[k:], amp * torch.sin(x[k:] + ph))


opt = torch.optim.Adam(net.parameters(), lr=1e-2, amsgrad=True)
meta = []
for it in range(6):
    opt.zero_grad()
    outer = 0.0
    for _ in range(3):
        (xs, ys), (xq, yq) = sample()
        fast = dict(net.named_parameters())
        for _ in range(2):
            inner = F.mse_loss(functional_call(net, fast, (xs,)), ys)
            grads = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
            fast = {n: p - 0.01 * g for (n, p), g in zip(fast.items(), grads)}
        outer = outer + F.mse_loss(functional_call(net, fast, xq), yq)
    outer.backward()
    opt.step()
    meta.append(outer.item())
    if it % 2 == 0:
        print(f"iter {it} meta loss {outer.item():.4f}")
params = {k: v.detach() for k, v in net.named_parameters()}


def loss_fn(p, x, y):
    return ((functional_call(net, p, (x,)) - y) ** 2).mean()


g = grad(loss_fn)(params, xs, ys)
J = jacrev(lambda p: functional_call(net, p, (xs[:2],)))(
    {"out.bias": params["out.bias"], **{k: v for k, v in params.items() if k != "out.bias"}}
)
first = []
w = torch.tensor([1.0, -2.0], requires_grad=True)
lr = torch.tensor(0.1, requires_grad=True)
target = torch.tensor([3.0, 0.5])
for _ in range(4):
    (gw,) = torch.autograd.grad(((w - target) ** 2).sum(), w, create_graph=True)
    w = w - lr * gw
((w - target) ** 2).sum().backward()
print(lr.grad)


def hvp(f, x, v):
    (gr,) = torch.autograd.grad(f(x), x, create_graph=True)
    return torch.autograd.grad(gr, x, grad_outputs=v)[0]


x = torch.tensor([0.3, 1.2, -0.7], requires_grad=True)
rosen = lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
H = torch.autograd.functional.hessian(rosen, x)
hv = hvp(rosen, x, torch.tensor([1.0, 0.0, 2.0]))


def implicit(x):
    z = x.clone()
    for _ in range(5):
        z = z - rosen_grad(z) * 1e-4
    return z


rosen_grad = lambda z: torch.autograd.grad(rosen(z), z, create_graph=True)[0]
Jz = torch.autograd.functional.jacobian(implicit, x)
results = dict(
    meta=meta, g=g, J={k: J[k] for k in sorted(J)}, lr=lr.grad, H=H, hv=hv, Jz=Jz, sd=net.state_dict()
)
