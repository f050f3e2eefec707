"""Siamese, triplet, NT-Xent, CLIP and focal losses as papers' code writes them."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super(ContrastiveLoss, self).__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        euclidean_distance = F.pairwise_distance(output1, output2, keepdim=True)
        return torch.mean(
            (1 - label) * torch.pow(euclidean_distance, 2)
            + (label) * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2)
        )


def nt_xent(z_i, z_j, temperature=0.5):
    N = z_i.size(0)
    z = torch.cat((z_i, z_j), dim=0)
    sim = F.cosine_similarity(z.unsqueeze(1), z.unsqueeze(0), dim=2) / temperature
    sim_i_j = torch.diag(sim, N)
    sim_j_i = torch.diag(sim, -N)
    mask = torch.ones((2 * N, 2 * N), dtype=bool)
    mask = mask.fill_diagonal_(0)
    for i in range(N):
        mask[i, N + i] = 0
        mask[N + i, i] = 0
    positive_samples = torch.cat((sim_i_j, sim_j_i), dim=0).reshape(2 * N, 1)
    negative_samples = sim[mask].reshape(2 * N, -1)
    labels = torch.from_numpy(np.array([0] * 2 * N)).reshape(-1).to(positive_samples.device)
    logits = torch.cat((positive_samples, negative_samples), dim=1)
    return nn.CrossEntropyLoss(reduction="sum")(logits, labels) / (2 * N)


def info_nce(features, n_views=2, temperature=0.07):
    labels = torch.cat([torch.arange(len(features) // n_views) for i in range(n_views)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    features = F.normalize(features, dim=1)
    similarity_matrix = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity_matrix = similarity_matrix[~mask].view(similarity_matrix.shape[0], -1)
    positives = similarity_matrix[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity_matrix[~labels.bool()].view(similarity_matrix.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.long))


class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones([]) * np.log(1 / 0.07))

    def forward(self, image_features, text_features):
        image_features = image_features / image_features.norm(dim=-1, keepdim=True)
        text_features = text_features / text_features.norm(dim=-1, keepdim=True)
        logits = self.logit_scale.exp() * image_features @ text_features.t()
        labels = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


def focal_loss(inputs, targets, alpha: float = 0.25, gamma: float = 2):
    prob = inputs.sigmoid()
    ce_loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = prob * targets + (1 - prob) * (1 - targets)
    loss = ce_loss * ((1 - p_t) ** gamma)
    if alpha >= 0:
        alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
        loss = alpha_t * loss
    return loss.mean(1).sum() / targets.size(0)


def dice_loss(pred, target, smooth=1.0):
    pred = pred.contiguous().view(pred.size(0), -1)
    target = target.contiguous().view(target.size(0), -1)
    intersection = (pred * target).sum(-1)
    return (1 - (2.0 * intersection + smooth) / (pred.sum(-1) + target.sum(-1) + smooth)).mean()


def batch_hard_triplet(embeddings, labels, margin=0.3):
    dist = torch.cdist(embeddings, embeddings, p=2)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    hardest_positive = dist.masked_fill(~same, float("-inf")).max(dim=1)[0]
    hardest_negative = dist.masked_fill(same, float("inf")).min(dim=1)[0]
    return F.relu(hardest_positive - hardest_negative + margin).mean()


rng = np.random.default_rng(0)
encoder = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4)).double()
for p in encoder.parameters():
    nn.init.constant_(p, 0.0)
    p.data += torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape)))
a, b = (torch.from_numpy(rng.normal(size=(5, 6))) for _ in range(2))
labels = torch.tensor([0, 1, 0, 1, 1])
targets = F.one_hot(labels, 4).double()
za, zb = encoder(a), encoder(b)
clip = CLIP()
losses = {
    "contrastive": ContrastiveLoss()(za, zb, labels.view(-1, 1)),
    "nt_xent": nt_xent(za, zb),
    "info_nce": info_nce(torch.cat([za, zb])),
    "clip": clip(za, zb),
    "focal": focal_loss(za, targets),
    "dice": dice_loss(za.sigmoid(), targets),
    "triplet": nn.TripletMarginLoss(margin=1.0, p=2)(za, zb, zb.flip(0)),
    "hard": batch_hard_triplet(za, labels),
    "cosine": nn.CosineEmbeddingLoss(margin=0.1)(za, zb, labels * 2 - 1),
    "kl": F.kl_div(F.log_softmax(za, 1), F.softmax(zb.detach(), 1), reduction="batchmean") * 4.0**2,
    "huber": F.smooth_l1_loss(za, zb.detach()) + nn.HuberLoss(delta=0.5)(za, zb.detach()),
    "ranking": nn.MarginRankingLoss(0.2)(za[:, 0], zb[:, 0], torch.sign(za[:, 1]).detach()),
}
total = sum(losses.values())
total.backward()
assert clip.logit_scale.grad.dim() == 0
results = {
    "losses": losses,
    "total": total,
    "grads": [p.grad for p in encoder.parameters()],
    "scale": clip.logit_scale.grad,
}
