"""Routing to experts: topk, scatter, gather, index_add, one_hot load balance, capacity by cumsum."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Expert(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class SparseMoE(nn.Module):
    def __init__(self, dim=6, num_experts=4, top_k=2):
        super().__init__()
        self.gate = nn.Linear(dim, num_experts, bias=False)
        self.experts = nn.ModuleList(Expert(dim, 8) for _ in range(num_experts))
        self.top_k, self.num_experts = top_k, num_experts

    def forward(self, hidden_states):
        batch_size, sequence_length, hidden_dim = hidden_states.shape
        hidden_states = hidden_states.view(-1, hidden_dim)
        router_logits = self.gate(hidden_states)
        routing_weights = F.softmax(router_logits, dim=1, dtype=torch.float)
        routing_weights, selected_experts = torch.topk(routing_weights, self.top_k, dim=-1)
        routing_weights /= routing_weights.sum(dim=-1, keepdim=True)
        routing_weights = routing_weights.to(hidden_states.dtype)
        final = torch.zeros(
            (batch_size * sequence_length, hidden_dim), dtype=hidden_states.dtype, device=hidden_states.device
        )
        expert_mask = F.one_hot(selected_experts, num_classes=self.num_experts).permute(2, 1, 0)
        for expert_idx in range(self.num_experts):
            expert_layer = self.experts[expert_idx]
            idx, top_x = torch.where(expert_mask[expert_idx])
            if top_x.shape[0] == 0:
                continue
            current_state = hidden_states[None, top_x].reshape(-1, hidden_dim)
            current = expert_layer(current_state) * routing_weights[top_x, idx, None]
            final.index_add_(0, top_x, current.to(hidden_states.dtype))
        return final.reshape(batch_size, sequence_length, hidden_dim), router_logits


def load_balancing_loss(router_logits, num_experts, top_k):
    probs = F.softmax(router_logits, dim=-1)
    _, selected = torch.topk(probs, top_k, dim=-1)
    expert_mask = F.one_hot(selected, num_experts)
    tokens_per_expert = torch.mean(expert_mask.float(), dim=0)
    router_prob = torch.mean(probs, dim=0)
    return torch.sum(tokens_per_expert * router_prob.unsqueeze(0)) * num_experts


rng = np.random.default_rng(0)
moe = SparseMoE()
with torch.no_grad():
    for p in moe.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape))))
x = torch.from_numpy(rng.normal(size=(2, 5, 6)).astype(np.float32)).requires_grad_(True)
out, logits = moe(x)
aux = load_balancing_loss(logits, 4, 2)
(out.pow(2).mean() + 0.01 * aux).backward()

scores = logits.detach()
values, indices = scores.topk(2, dim=-1, sorted=True)
zeros = torch.full_like(scores, float("-inf"))
sparse = F.softmax(zeros.scatter(-1, indices, values), dim=-1)
capacity = 3
onehot = F.one_hot(indices[:, 0], 4)
position = torch.cumsum(onehot, dim=0) * onehot
keep = position.sum(-1) <= capacity
counts = torch.zeros(4, dtype=torch.long).scatter_add_(
    0, indices.flatten(), torch.ones(indices.numel(), dtype=torch.long)
)
order = torch.argsort(indices[:, 0], stable=True)
restored = torch.empty_like(scores)
restored[order] = scores[order]
picked = scores.gather(1, indices)
assert torch.equal(restored, scores) and torch.equal(picked, values) and counts.sum() == 20
assert torch.allclose(sparse.sum(-1), torch.ones(10)) and (sparse > 0).sum(-1).eq(2).all()
results = {
    "out": out,
    "logits": logits,
    "aux": aux,
    "xgrad": x.grad,
    "grads": [p.grad for p in moe.parameters()],
    "sparse": sparse,
    "keep": keep,
    "counts": counts,
    "order": order,
    "position": position,
}
