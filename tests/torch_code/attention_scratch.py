"""Multi-head attention and an encoder layer from scratch: masks, einsum, sinusoidal positions written in slices."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=50):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        pe = pe.unsqueeze(0).transpose(0, 1)
        self.register_buffer("pe", pe)

    def forward(self, x):
        x = x + self.pe[: x.size(0), :]
        return self.dropout(x)


def attention(query, key, value, mask=None, dropout=None):
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / np.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = F.softmax(scores, dim=-1)
    if dropout is not None:
        p_attn = dropout(p_attn)
    return torch.matmul(p_attn, value), p_attn


def clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model, dropout=0.1):
        super(MultiHeadedAttention, self).__init__()
        assert d_model % h == 0
        self.d_k = d_model // h
        self.h = h
        self.linears = clones(nn.Linear(d_model, d_model), 4)
        self.attn = None
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, query, key, value, mask=None):
        if mask is not None:
            mask = mask.unsqueeze(1)
        nbatches = query.size(0)
        query, key, value = [
            lin(x).view(nbatches, -1, self.h, self.d_k).transpose(1, 2)
            for lin, x in zip(self.linears, (query, key, value))
        ]
        x, self.attn = attention(query, key, value, mask=mask, dropout=self.dropout)
        x = x.transpose(1, 2).contiguous().view(nbatches, -1, self.h * self.d_k)
        return self.linears[-1](x)


class EncoderLayer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.self_attn = MultiHeadedAttention(h, d)
        self.ff = nn.Sequential(
            nn.Linear(d, 2 * d), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(2 * d, d)
        )
        self.norm = clones(nn.LayerNorm(d), 2)

    def forward(self, x, mask):
        x = self.norm[0](x + self.self_attn(x, x, x, mask))
        return self.norm[1](x + self.ff(x))


def subsequent_mask(size):
    attn_shape = (1, size, size)
    subsequent_mask = torch.triu(torch.ones(attn_shape), diagonal=1).type(torch.uint8)
    return subsequent_mask == 0


rng = np.random.default_rng(0)
T, B, D = 6, 2, 8
pos = PositionalEncoding(D).eval()
layer = EncoderLayer(D, 2).eval()
for p in layer.parameters():
    p.data.copy_(torch.from_numpy(rng.normal(0, 0.3, tuple(p.shape))))
x = torch.tensor(rng.normal(size=(T, B, D)), dtype=torch.float32, requires_grad=True)
tokens = torch.tensor([[4, 7, 2, 9, 0, 0], [1, 5, 3, 8, 6, 0]])
pad_mask = (tokens != 0).unsqueeze(-2)
mask = pad_mask & subsequent_mask(T).type_as(pad_mask)
out = layer(pos(x).transpose(0, 1), mask)
weights = layer.self_attn.attn
entropy = -(weights * torch.log(weights + 1e-9)).sum(-1).mean()
(out[pad_mask.squeeze(1)].pow(2).mean() + 0.1 * entropy).backward()

q = torch.from_numpy(rng.normal(size=(B, 2, T, 4)))
k = torch.from_numpy(rng.normal(size=(B, 2, T, 4)))
e = torch.einsum("bhqd,bhkd->bhqk", q, k) / k.shape[-1] ** 0.5
causal = torch.ones(T, T, dtype=torch.bool).tril()
e = e.masked_fill(~causal, torch.finfo(e.dtype).min)
a = e.softmax(-1)
y = torch.einsum("bhqk,bhkd->bqhd", a, k).flatten(2)
slopes = 2.0 ** (-torch.arange(1, 3, dtype=torch.float64))
alibi = slopes.view(1, 2, 1, 1) * (torch.arange(T)[None, :] - torch.arange(T)[:, None]).clamp(max=0)
y2 = F.scaled_dot_product_attention(q, k, k, attn_mask=alibi.masked_fill(~causal, -math.inf))

assert torch.allclose(weights.sum(-1), torch.ones(B, 2, T)) and (a.triu(1) == 0).all()
assert list(dict(pos.named_buffers())) == ["pe"] and pos.pe.requires_grad is False
results = {
    "out": out,
    "weights": weights,
    "grad": x.grad,
    "mask": mask,
    "y": y,
    "alibi": alibi,
    "y2": y2,
    "pe": pos.pe,
    "params": [p.grad for p in layer.parameters()],
}
