"""A siamese network: triplets of a dict dataset, PReLU, normalized embeddings, nearest neighbours by cdist."""

import torch
from torch import nn, Tensor
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader
import numpy as np


class TripletData(Dataset):
    def __init__(self, n=60, d=6, classes=3):
        rng = np.random.RandomState(0)
        self.y = rng.randint(0, classes, n)
        centers = rng.randn(classes, d) * 2
        self.x = (centers[self.y] + rng.randn(n, d)).astype(np.float32)
        self.rng = rng
        self.by = {c: np.flatnonzero(self.y == c) for c in range(classes)}

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        c = self.y[i]
        p = self.by[c][(i + 1) % len(self.by[c])]
        n = self.by[(c + 1) % 3][i % len(self.by[(c + 1) % 3])]
        return {
            "anchor": self.x[i],
            "positive": self.x[p],
            "negative": torch.tensor(self.x[n]),
            "label": int(c),
            "name": f"s{i}",
        }


class Encoder(nn.Module):
    def __init__(self, d, e):
        super(Encoder, self).__init__()
        self.fc1 = nn.Linear(d, 16)
        self.fc2 = nn.Linear(16, e, bias=False)
        self.act = nn.PReLU()
        for i, p in enumerate(self.parameters()):
            if p.dim() > 1:
                with torch.no_grad():
                    p.copy_(torch.tensor(np.random.RandomState(i).randn(*p.shape) * 0.3))
        nn.init.constant_(self.fc1.bias, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.fc2(self.act(self.fc1(x))), p=2, dim=1)


net = Encoder(6, 4)
loader = DataLoader(TripletData(), batch_size=16, shuffle=False, drop_last=True)
crit = nn.TripletMarginLoss(margin=0.5, p=2)
cos = nn.CosineEmbeddingLoss(margin=0.2)
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
sched = torch.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
hist = []
for epoch in range(4):
    net.train()
    running = 0.0
    for batch in loader:
        a, p, n = (net(batch[k]) for k in ("anchor", "positive", "negative"))
        loss = crit(a, p, n) + 0.1 * cos(a, n, -torch.ones(len(a)))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        gn = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        running += loss.item() * a.size(0)
    sched.step()
    hist.append((running, gn.item(), sched.get_last_lr()[0]))
    print(
        f"epoch {epoch}: {running:.4f} lr {opt.param_groups[0]['lr']:.3f} {batch['name'][:2]} {batch['label'].dtype}"
    )
net.eval()
with torch.no_grad():
    emb = torch.cat([net(b["anchor"]) for b in loader])
    lab = torch.cat([b["label"] for b in loader])
d = torch.cdist(emb, emb)
d.fill_diagonal_(float("inf"))
acc = (lab[d.argmin(dim=1)] == lab).float().mean()
mined = (d + 10 * (lab[:, None] != lab[None, :])).topk(3, largest=False)
pd = F.pairwise_distance(emb[:5], emb[5:10])
cs = F.cosine_similarity(emb[:5], emb[5:10])
print("1-nn", acc.item())
results = {
    "hist": hist,
    "emb": emb,
    "acc": acc,
    "mined": mined.values,
    "idx": mined.indices,
    "pd": pd,
    "cs": cs,
}
