"""Logistic regression from tensors alone, then with closures handed to the optimizer."""

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(0)
X = torch.tensor(rng.normal(size=(50, 3)))
true_w = torch.tensor([2.0, -1.0, 0.5])
y = (X @ true_w + 0.3 > 0).double()

w = torch.zeros(3, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
for step in range(40):
    p = 1 / (1 + torch.exp(-(X @ w + b)))
    loss = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean() + 0.01 * (w**2).sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.5 * w.grad
        b -= 0.5 * b.grad
    w.grad.zero_()
    b.grad = None
assert w.is_leaf and w.requires_grad and w.grad_fn is None
print("learned:", w.detach().numpy().round(4), "bias: %.4f" % b.item())

theta = torch.nn.Parameter(torch.zeros(4))
optimizer = torch.optim.SGD([theta], lr=0.3, momentum=0.5, nesterov=True, weight_decay=1e-3)
seen = []


def closure():
    optimizer.zero_grad()
    logits = torch.cat([X, torch.ones(len(X), 1)], dim=1).mv(theta)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
    loss.backward()
    seen.append(loss.item())
    return loss


for _ in range(20):
    last = optimizer.step(closure)

accuracy = ((X @ w + b > 0) == y.bool()).float().mean()
assert accuracy > 0.9 and seen[-1] < seen[0]
assert accuracy.dtype == torch.float32
results = {"w": w, "b": b, "theta": theta, "seen": seen, "last": last, "accuracy": accuracy}
torch.set_default_dtype(torch.float32)
