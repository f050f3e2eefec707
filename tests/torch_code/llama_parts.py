"""RMSNorm, rotary positions without complex numbers, SwiGLU, grouped heads with a cache written in place, LoRA."""

import math
from typing import Optional, Tuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(torch.nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def _norm(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x):
        output = self._norm(x.float()).type_as(x)
        return output * self.weight


class RotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=32, base=10000):
        super().__init__()
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        t = torch.arange(max_position_embeddings, device=self.inv_freq.device, dtype=self.inv_freq.dtype)
        freqs = torch.outer(t, self.inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1)
        self.register_buffer("cos_cached", emb.cos()[None, None, :, :], persistent=False)
        self.register_buffer("sin_cached", emb.sin()[None, None, :, :], persistent=False)

    def forward(self, x, seq_len=None):
        return (
            self.cos_cached[:, :, :seq_len, ...].to(dtype=x.dtype),
            self.sin_cached[:, :, :seq_len, ...].to(dtype=x.dtype),
        )


def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids):
    cos = cos.squeeze(1).squeeze(0)[position_ids].unsqueeze(1)
    sin = sin.squeeze(1).squeeze(0)[position_ids].unsqueeze(1)
    return (q * cos) + (rotate_half(q) * sin), (k * cos) + (rotate_half(k) * sin)


def repeat_kv(x: torch.Tensor, n_rep: int) -> torch.Tensor:
    bs, slen, n_kv_heads, head_dim = x.shape
    if n_rep == 1:
        return x
    return (
        x[:, :, :, None, :]
        .expand(bs, slen, n_kv_heads, n_rep, head_dim)
        .reshape(bs, slen, n_kv_heads * n_rep, head_dim)
    )


class Attention(nn.Module):
    def __init__(self, dim=8, heads=4, kv_heads=2, max_len=8):
        super().__init__()
        self.heads, self.kv_heads, self.hd = heads, kv_heads, dim // heads
        self.wq = nn.Linear(dim, heads * self.hd, bias=False)
        self.wk = nn.Linear(dim, kv_heads * self.hd, bias=False)
        self.wv = nn.Linear(dim, kv_heads * self.hd, bias=False)
        self.wo = nn.Linear(heads * self.hd, dim, bias=False)
        self.rope = RotaryEmbedding(self.hd)
        self.cache_k = torch.zeros((1, max_len, kv_heads, self.hd))
        self.cache_v = torch.zeros((1, max_len, kv_heads, self.hd))

    def forward(self, x: torch.Tensor, start_pos: int, mask: Optional[torch.Tensor] = None) -> torch.Tensor:
        bsz, seqlen, _ = x.shape
        xq, xk, xv = self.wq(x), self.wk(x), self.wv(x)
        xq = xq.view(bsz, seqlen, self.heads, self.hd)
        xk = xk.view(bsz, seqlen, self.kv_heads, self.hd)
        xv = xv.view(bsz, seqlen, self.kv_heads, self.hd)
        cos, sin = self.rope(xv, seq_len=start_pos + seqlen)
        ids = torch.arange(start_pos, start_pos + seqlen).unsqueeze(0)
        xq, xk = apply_rotary_pos_emb(xq.transpose(1, 2), xk.transpose(1, 2), cos, sin, ids)
        xq, xk = xq.transpose(1, 2), xk.transpose(1, 2)
        self.cache_k = self.cache_k.to(xq)
        self.cache_v = self.cache_v.to(xq)
        self.cache_k[:bsz, start_pos : start_pos + seqlen] = xk
        self.cache_v[:bsz, start_pos : start_pos + seqlen] = xv
        keys = repeat_kv(self.cache_k[:bsz, : start_pos + seqlen], self.heads // self.kv_heads)
        values = repeat_kv(self.cache_v[:bsz, : start_pos + seqlen], self.heads // self.kv_heads)
        xq, keys, values = (t.transpose(1, 2) for t in (xq, keys, values))
        scores = torch.matmul(xq, keys.transpose(2, 3)) / math.sqrt(self.hd)
        if mask is not None:
            scores = scores + mask
        scores = F.softmax(scores.float(), dim=-1).type_as(xq)
        output = torch.matmul(scores, values)
        return self.wo(output.transpose(1, 2).contiguous().view(bsz, seqlen, -1))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden_dim: int, multiple_of: int):
        super().__init__()
        hidden_dim = int(2 * hidden_dim / 3)
        hidden_dim = multiple_of * ((hidden_dim + multiple_of - 1) // multiple_of)
        self.w1, self.w2 = nn.Linear(dim, hidden_dim, bias=False), nn.Linear(hidden_dim, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r: int = 2, alpha: int = 4, dropout: float = 0.0):
        super().__init__()
        self.base = base
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.lora_A = nn.Parameter(base.weight.new_zeros((r, base.in_features)))
        self.lora_B = nn.Parameter(base.weight.new_zeros((base.out_features, r)))
        self.scaling = alpha / r
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.dropout = nn.Dropout(dropout) if dropout > 0.0 else nn.Identity()

    def forward(self, x):
        return (
            self.base(x)
            + (self.dropout(x) @ self.lora_A.transpose(0, 1) @ self.lora_B.transpose(0, 1)) * self.scaling
        )

    @torch.no_grad()
    def merge(self):
        self.base.weight += (self.lora_B @ self.lora_A) * self.scaling
        return self.base


def shapes(x: torch.Tensor) -> Tuple[int, ...]:
    return tuple(x.shape)


rng = np.random.default_rng(0)
attn, norm, ff = Attention(), RMSNorm(8), FeedForward(8, 24, 4)
with torch.no_grad():
    for m in (attn, ff):
        for p in m.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.4, shapes(p))))
x = torch.from_numpy(rng.normal(size=(1, 6, 8))).float()
mask = torch.full((6, 6), float("-inf"))
mask = torch.triu(mask, diagonal=1)
with torch.inference_mode():
    whole = attn(norm(x), 0, mask)
    attn.cache_k = torch.zeros(1, 8, 2, 2)
    attn.cache_v = torch.zeros(1, 8, 2, 2)
    pieces = [attn(norm(x[:, :4]), 0, mask[:4, :4])]
    for i in range(4, 6):
        pieces.append(attn(norm(x[:, i : i + 1]), i))
stepwise = torch.cat(pieces, dim=1)
assert torch.allclose(whole, stepwise, atol=1e-5) and whole.is_inference()
assert not [k for k in attn.state_dict() if "inv_freq" in k or "cached" in k]

for name, child in list(ff.named_children()):
    setattr(ff, name, LoRALinear(child))
with torch.no_grad():
    for n, p in ff.named_parameters():
        if "lora" in n:
            p.copy_(torch.from_numpy(rng.normal(0, 0.2, shapes(p))))
trainable = {n: p for n, p in ff.named_parameters() if p.requires_grad}
print(
    f"trainable: {sum(p.numel() for p in trainable.values())} || all: {sum(p.numel() for p in ff.parameters())}"
)
opt = torch.optim.AdamW(trainable.values(), lr=1e-2)
losses = []
for _ in range(4):
    loss = F.mse_loss(ff(x), x.roll(1, dims=1))
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    losses.append(loss.item())
before = ff(x).detach()
for name, child in list(ff.named_children()):
    setattr(ff, name, child.merge())
assert torch.allclose(before, ff(x), atol=1e-5) and losses[-1] < losses[0]
half = RMSNorm(8)(x.half())
results = {
    "whole": whole,
    "losses": losses,
    "merged": ff.state_dict(),
    "names": list(trainable),
    "half": half.dtype == torch.float32,
}
