"""Graph convolution and attention over edges; physics-informed losses, Hessian-vector products, MAML, neural ODE."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.default_rng(0)
t64 = lambda *s: torch.from_numpy(rng.normal(0, 0.6, s))


class GCNConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(t64(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))

    def forward(self, x, edge_index):
        n = x.size(0)
        loops = torch.arange(n).unsqueeze(0).repeat(2, 1)
        row, col = torch.cat([edge_index, loops], dim=1)
        deg = torch.zeros(n, dtype=x.dtype).scatter_add_(0, col, torch.ones(col.size(0), dtype=x.dtype))
        deg_inv_sqrt = deg.pow(-0.5)
        deg_inv_sqrt[deg_inv_sqrt == float("inf")] = 0
        norm = deg_inv_sqrt[row] * deg_inv_sqrt[col]
        x = x @ self.weight
        out = torch.zeros_like(x).index_add_(0, col, norm.view(-1, 1) * x[row])
        return out + self.bias


class GAT(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.lin = nn.Linear(n_in, n_out, bias=False, dtype=torch.float64)
        self.lin.weight.data.copy_(t64(n_out, n_in))
        self.a = nn.Parameter(t64(2 * n_out))

    def forward(self, x, edge_index):
        src, dst = edge_index
        h = self.lin(x)
        e = F.leaky_relu(torch.cat([h[src], h[dst]], dim=-1) @ self.a, 0.2)
        top = torch.full((x.size(0),), float("-inf"), dtype=x.dtype).scatter_reduce(
            0, dst, e.detach(), reduce="amax"
        )
        e = (e - top[dst]).exp()
        total = torch.zeros(x.size(0), dtype=x.dtype).index_add(0, dst, e)
        alpha = e / total[dst].clamp(min=1e-16)
        return F.elu(
            torch.zeros(x.size(0), h.size(1), dtype=x.dtype).index_add(0, dst, alpha[:, None] * h[src])
        ), alpha


edge_index = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 2], [1, 0, 2, 1, 2, 3, 4, 0]], dtype=torch.long)
x = t64(5, 3)
gcn1, gcn2, gat = GCNConv(3, 4), GCNConv(4, 2), GAT(3, 4)
labels, train_mask = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([True, True, False, True, False])
out = gcn2(F.relu(gcn1(x, edge_index)), edge_index)
loss = F.cross_entropy(out[train_mask], labels[train_mask])
g, alpha = gat(x, edge_index)
batch = torch.tensor([0, 0, 1, 1, 1])
pooled = torch.zeros(2, 4, dtype=x.dtype).index_add_(0, batch, g) / torch.bincount(batch).unsqueeze(1)
(loss + pooled.pow(2).sum()).backward()
adjacency = torch.zeros(5, 5)
adjacency[edge_index[0], edge_index[1]] = 1
laplacian = torch.diag(adjacency.sum(1)) - adjacency

# u'' + u = 0 with u(0) = 0, u'(0) = 1: derivatives of the network's output by its input
net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
for p in net.parameters():
    p.data = t64(*p.shape)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
points = torch.linspace(0, 3, 12, dtype=torch.float64).view(-1, 1).requires_grad_(True)
pinn = []
for _ in range(4):
    u = net(points)
    du = torch.autograd.grad(u, points, torch.ones_like(u), create_graph=True)[0]
    d2u = torch.autograd.grad(du, points, grad_outputs=torch.ones_like(du), create_graph=True)[0]
    residual = (d2u + u).pow(2).mean() + u[0].pow(2).sum() + (du[0] - 1).pow(2).sum()
    opt.zero_grad()
    residual.backward()
    opt.step()
    pinn.append(residual.item())

# Hessian-vector product, Gauss-Newton trace, jacobian
w = t64(4).requires_grad_()
f = lambda w: (torch.sin(w) * w.flip(0)).sum() + w.prod()
(grad,) = torch.autograd.grad(f(w), w, create_graph=True)
v = t64(4)
(hvp,) = torch.autograd.grad(grad @ v, w)
H = torch.autograd.functional.hessian(f, w.detach())
assert torch.allclose(H @ v, hvp) and torch.allclose(H, H.T)
J = torch.autograd.functional.jacobian(lambda z: torch.stack([z.sum(), z.pow(2).sum()]), w.detach())

# MAML: differentiate through an inner step
meta = {"w": t64(3, 1).requires_grad_(), "b": torch.zeros(1, dtype=torch.float64, requires_grad=True)}
forward = lambda p, x: x @ p["w"] + p["b"]
meta_loss = 0.0
for task in range(2):
    xs, ys, xq, yq = t64(5, 3), t64(5, 1), t64(5, 3), t64(5, 1)
    inner = F.mse_loss(forward(meta, xs), ys)
    grads = torch.autograd.grad(inner, list(meta.values()), create_graph=True)
    fast = {k: p - 0.1 * g for (k, p), g in zip(meta.items(), grads)}
    meta_loss = meta_loss + F.mse_loss(forward(fast, xq), yq)
meta_loss.backward()

# a neural ODE by Runge-Kutta, and Newton's method
A = nn.Parameter(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
y, h = torch.tensor([[1.0, 0.0]]), 0.1
trajectory = [y]
for _ in range(10):
    k1 = y @ A.T
    k2 = (y + h / 2 * k1) @ A.T
    k3 = (y + h / 2 * k2) @ A.T
    k4 = (y + h * k3) @ A.T
    y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    trajectory.append(y)
path = torch.cat(trajectory)
path[-1, 0].backward()
assert abs(path[-1, 0].item() - np.cos(1.0)) < 1e-5
results = {
    "out": out,
    "loss": loss,
    "alpha": alpha,
    "pooled": pooled,
    "grads": [gcn1.weight.grad, gat.a.grad, gcn2.bias.grad],
    "laplacian": laplacian,
    "pinn": pinn,
    "hvp": hvp,
    "J": J,
    "meta": [p.grad for p in meta.values()],
    "A": A.grad,
    "path": path,
}
