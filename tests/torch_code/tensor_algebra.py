"""k-means, nearest neighbours, PCA's power iteration, beam search, metrics and boolean indexing, all in tensors."""

import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.default_rng(0)
X = torch.from_numpy(np.concatenate([rng.normal(c, 0.3, (15, 2)) for c in (-2, 0, 2)]))


def kmeans(x, k, n_iter=10):
    centroids = x[:: len(x) // k][:k].clone()
    for _ in range(n_iter):
        dist = ((x[:, None, :] - centroids[None, :, :]) ** 2).sum(-1)
        assign = dist.argmin(dim=1)
        for j in range(k):
            if (assign == j).any():
                centroids[j] = x[assign == j].mean(dim=0)
    return centroids, assign, dist.min(dim=1).values.sum()


centroids, assign, inertia = kmeans(X, 3)
sums = torch.zeros_like(centroids).index_add_(0, assign, X)
counts = torch.bincount(assign, minlength=3)
assert torch.allclose(sums / counts.unsqueeze(1), centroids)

# pairwise distances and cosine similarity; nearest neighbours without the diagonal
sq = (X**2).sum(1, keepdim=True)
d2 = (sq - 2 * X @ X.t() + sq.T).clamp_min(0)
d2.fill_diagonal_(float("inf"))
nearest = d2.topk(3, largest=False).indices
normed = X / X.norm(dim=1, keepdim=True)
cosine = torch.mm(normed, normed.transpose(0, 1))
assert torch.allclose(cosine.diag(), torch.ones(45, dtype=X.dtype)) and torch.allclose(
    torch.cdist(X, X)[0, 1] ** 2, d2[0, 1]
)

# the first principal component by power iteration
centered = X - X.mean(0)
cov = centered.T @ centered / (len(X) - 1)
v = torch.ones(2, dtype=X.dtype)
for _ in range(50):
    v = cov @ v
    v /= torch.linalg.norm(v)
explained = (v @ cov @ v) / torch.trace(cov)

# beam search over a fixed table of log-probabilities
table = F.log_softmax(torch.from_numpy(rng.normal(size=(5, 5))), dim=-1)


def beam_search(start, steps, beam):
    sequences = [([start], 0.0)]
    for _ in range(steps):
        candidates = []
        for seq, score in sequences:
            values, indices = table[seq[-1]].topk(beam)
            for p, i in zip(values.tolist(), indices.tolist()):
                candidates.append((seq + [i], score + p))
        sequences = sorted(candidates, key=lambda t: t[1], reverse=True)[:beam]
    return sequences


def batched_beam_search(start, steps, beam):
    seqs = torch.full((1, 1), start, dtype=torch.long)
    scores = torch.zeros(1, dtype=table.dtype)
    for _ in range(steps):
        total = scores[:, None] + table[seqs[:, -1]]
        scores, flat = total.view(-1).topk(min(beam, total.numel()))
        parent, token = torch.div(flat, 5, rounding_mode="floor"), flat % 5
        seqs = torch.cat([seqs[parent], token[:, None]], dim=-1)
    return seqs, scores


beams = beam_search(0, 3, 5)
seqs, scores = batched_beam_search(0, 3, 5)
assert seqs[0].tolist() == beams[0][0] and abs(scores[0].item() - beams[0][1]) < 1e-12

# metrics by hand
pred = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0, 1, 0])
true = torch.tensor([0, 1, 1, 1, 0, 2, 0, 0, 2, 0])
confusion = torch.zeros(3, 3, dtype=torch.int64)
for t, p in zip(true.view(-1), pred.view(-1)):
    confusion[t.long(), p.long()] += 1
fast = torch.bincount(3 * true + pred, minlength=9).reshape(3, 3)
assert (confusion == fast).all()
tp = confusion.diag().float()
precision = tp / confusion.sum(0).clamp(min=1)
recall = tp / confusion.sum(1).clamp(min=1)
f1 = torch.nan_to_num(2 * precision * recall / (precision + recall))
print("precision", precision, "recall", recall)
print(f"macro F1 {f1.mean():.4f} accuracy {(pred == true).float().mean().item():.2%}")


def accuracy(output, target, topk=(1,)):
    maxk = max(topk)
    _, pred = output.topk(maxk, 1, True, True)
    pred = pred.t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / target.size(0)) for k in topk]


output = torch.from_numpy(rng.normal(size=(10, 5)))
top1, top3 = accuracy(output, true, topk=(1, 3))


def iou(a, b):
    lt = torch.max(a[:, None, :2], b[:, :2])
    rb = torch.min(a[:, None, 2:], b[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[:, :, 0] * wh[:, :, 1]
    area = lambda x: (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
    return inter / (area(a)[:, None] + area(b) - inter)


boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [0, 0, 2.2, 2], [5, 5, 6, 6]])


def nms(boxes, scores, threshold):
    order = scores.sort(descending=True)[1]
    keep = []
    while order.numel() > 0:
        i = order[0].item() if order.dim() else order.item()
        keep.append(i)
        if order.numel() == 1:
            break
        rest = order[1:]
        mask = iou(boxes[i].unsqueeze(0), boxes[rest]).squeeze(0) <= threshold
        order = rest[mask.nonzero().squeeze(1)]
    return torch.LongTensor(keep)


kept = nms(boxes, torch.tensor([0.9, 0.8, 0.95, 0.3]), 0.5)

# boolean indexing, in-place masks, sorting by keys, unique
z = torch.arange(-6, 6).view(3, 4).float()
z[z < 0] *= -1
z[:, 1][z[:, 1] > 3] = 0
z[torch.arange(3), [0, 1, 2]] = torch.tensor([10.0, 20.0, 30.0])
z[..., -1] -= z[..., -1].mean()
rows = z[(z > 1).all(dim=1)]
selected = torch.masked_select(z, z.ge(5))
values, inverse, number = torch.unique(torch.tensor([3, 1, 3, 2, 1]), return_inverse=True, return_counts=True)
assert torch.equal(values[inverse], torch.tensor([3, 1, 3, 2, 1]))
ranks = torch.empty(10, dtype=torch.long)
ranks[output[:, 0].argsort()] = torch.arange(10)
grid_y, grid_x = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
coords = torch.stack([grid_x, grid_y], dim=-1).reshape(-1, 2)
windows = torch.arange(10).unfold(0, 4, 3)
running = torch.cummax(torch.tensor([1.0, 3.0, 2.0, 5.0]), dim=0).values
quantiles = output.quantile(torch.tensor([0.25, 0.5], dtype=torch.float64), dim=0)
results = {
    "centroids": centroids,
    "assign": assign,
    "inertia": inertia,
    "nearest": nearest,
    "explained": explained,
    "seqs": seqs,
    "scores": scores,
    "f1": f1,
    "top": [top1, top3],
    "iou": iou(boxes, boxes),
    "kept": kept,
    "z": z,
    "rows": rows,
    "selected": selected,
    "number": number,
    "ranks": ranks,
    "coords": coords,
    "windows": windows,
    "running": running,
    "quantiles": quantiles,
    "counts": counts,
    "v": v,
}
