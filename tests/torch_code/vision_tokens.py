"""Vision without convolution: patches by reshape and permute, ViT and Mixer blocks, stochastic depth, checkpointing, shifted windows."""

from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.checkpoint as cp
from torch import Tensor

rng = np.random.default_rng(0)


def drop_path(x, drop_prob: float = 0.0, training: bool = False, scale_by_keep: bool = True):
    if drop_prob == 0.0 or not training:
        return x
    keep_prob = 1 - drop_prob
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    random_tensor = x.new_empty(shape).bernoulli_(keep_prob)
    if keep_prob > 0.0 and scale_by_keep:
        random_tensor.div_(keep_prob)
    return x * random_tensor


class PatchEmbed(nn.Module):
    def __init__(self, patch=2, chans=3, dim=8):
        super().__init__()
        self.patch, self.proj = patch, nn.Linear(chans * patch * patch, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        p = self.patch
        x = x.reshape(B, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return self.proj(x)


class Attention(nn.Module):
    def __init__(self, dim, num_heads=2, qkv_bias=False):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, bias=None):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attn = (q @ k.transpose(-2, -1)) * self.scale
        if bias is not None:
            attn = attn + bias
        attn = attn.softmax(dim=-1)
        return self.proj((attn @ v).transpose(1, 2).reshape(B, N, C))


class LayerScale(nn.Module):
    def __init__(self, dim, init_values=1e-1):
        super().__init__()
        self.gamma = nn.Parameter(init_values * torch.ones(dim))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, dim, norm_layer=nn.LayerNorm, act_layer=nn.GELU):
        super().__init__()
        self.norm1, self.norm2 = norm_layer(dim), norm_layer(dim)
        self.attn, self.ls1, self.ls2 = Attention(dim, qkv_bias=True), LayerScale(dim), LayerScale(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), act_layer(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + drop_path(self.ls1(self.attn(self.norm1(x))), 0.0, self.training)
        return x + drop_path(self.ls2(self.mlp(self.norm2(x))), 0.0, self.training)


class ViT(nn.Module):
    def __init__(self, depth=2, dim=8, tokens=16, use_checkpoint=False):
        super().__init__()
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.patch_embed = PatchEmbed(dim=dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + 1, dim))
        self.blocks = nn.Sequential(
            *[Block(dim, norm_layer, partial(nn.GELU, approximate="tanh")) for _ in range(depth)]
        )
        self.norm, self.head = norm_layer(dim), nn.Linear(dim, 5)
        self.use_checkpoint = use_checkpoint
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(self._init_weights)

    @staticmethod
    def _init_weights(m):
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.02)
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.constant_(m.bias, 0)

    def no_weight_decay(self):
        return {"pos_embed", "cls_token"}

    def forward(self, x):
        x = self.patch_embed(x)
        cls_tokens = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((cls_tokens, x), dim=1)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = cp.checkpoint(blk, x, use_reentrant=False) if self.use_checkpoint else blk(x)
        return self.head(self.norm(x)[:, 0])


def window_partition(x, window_size):
    B, H, W, C = x.shape
    x = x.view(B, H // window_size, window_size, W // window_size, window_size, C)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window_size, window_size, C)


def window_reverse(windows, window_size, H, W):
    B = int(windows.shape[0] / (H * W / window_size / window_size))
    x = windows.view(B, H // window_size, W // window_size, window_size, window_size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(B, H, W, -1)


torch.manual_seed(0)
plain, checkpointed = ViT(), ViT(use_checkpoint=True)
with torch.no_grad():
    for p in plain.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.3, tuple(p.shape))))
checkpointed.load_state_dict(plain.state_dict())
images = torch.from_numpy(rng.random((2, 3, 8, 8)).astype(np.float32))
mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
images = images.sub(mean[None, :, None, None]).div(std[:, None, None])
target = torch.tensor([1, 4])
for m in (plain, checkpointed):
    F.cross_entropy(m(images), target, label_smoothing=0.1).backward()
for (n, a), b in zip(plain.named_parameters(), checkpointed.parameters()):
    assert torch.allclose(a.grad, b.grad, atol=1e-6), n
decay, no_decay = [], []
for name, param in plain.named_parameters():
    (
        no_decay if param.ndim <= 1 or name.endswith(".bias") or name in plain.no_weight_decay() else decay
    ).append(name)
dropped = drop_path(torch.ones(200, 3), 0.25, True)
assert (
    set(dropped.unique().tolist()) <= {0.0, 1 / 0.75, float(torch.tensor(1.0) / 0.75)}
    and 0.6 < dropped.mean() < 1.4
)

# relative position index and shifted windows
coords = torch.stack(torch.meshgrid([torch.arange(2), torch.arange(2)], indexing="ij"))
flat = torch.flatten(coords, 1)
relative = (flat[:, :, None] - flat[:, None, :]).permute(1, 2, 0).contiguous()
relative[:, :, 0] += 1
relative[:, :, 1] += 1
relative[:, :, 0] *= 3
index = relative.sum(-1)
table = torch.from_numpy(rng.normal(size=(9, 2))).float().requires_grad_()
bias = table[index.view(-1)].view(4, 4, -1).permute(2, 0, 1).contiguous()
grid = torch.arange(2 * 4 * 4 * 8).view(2, 4, 4, 8).float() / 100
shifted = torch.roll(grid, shifts=(-1, -1), dims=(1, 2))
windows = window_partition(shifted, 2).view(-1, 4, 8)
attended = plain.blocks[0].attn(windows, bias=bias.unsqueeze(0))
back = torch.roll(window_reverse(windows.view(-1, 2, 2, 8), 2, 4, 4), shifts=(1, 1), dims=(1, 2))
assert torch.equal(back, grid)
img_mask = torch.zeros((1, 4, 4, 1))
cnt = 0
for hs in (slice(0, -2), slice(-2, -1), slice(-1, None)):
    for ws in (slice(0, -2), slice(-2, -1), slice(-1, None)):
        img_mask[:, hs, ws, :] = cnt
        cnt += 1
mask_windows = window_partition(img_mask, 2).view(-1, 4)
attn_mask = mask_windows.unsqueeze(1) - mask_windows.unsqueeze(2)
attn_mask = attn_mask.masked_fill(attn_mask != 0, float(-100.0)).masked_fill(attn_mask == 0, float(0.0))
attended.mean().backward()
pos = F.normalize(plain.pos_embed[0, 1:].detach(), dim=-1)
results = {
    "decay": decay,
    "no_decay": no_decay,
    "grads": {n: p.grad for n, p in plain.named_parameters()},
    "index": index,
    "attended": attended,
    "table": table.grad,
    "mask": attn_mask,
    "similar": pos @ pos.mT,
    "count": sum(p.numel() for p in plain.parameters()),
}
