"""A vector-quantised bottleneck with straight-through gradients and EMA codebook; a denoising diffusion loop."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import einsum

rng = np.random.default_rng(0)


def noise(*shape):
    return torch.from_numpy(rng.normal(size=shape)).float()


def fixed(module, std=0.3):
    for p in module.parameters():
        nn.init.zeros_(p)
        p.data.add_(noise(*p.shape), alpha=std)
    return module


class VectorQuantizerEMA(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost=0.25, decay=0.9, epsilon=1e-5):
        super().__init__()
        self._num_embeddings, self._embedding_dim = num_embeddings, embedding_dim
        self._embedding = nn.Embedding(num_embeddings, embedding_dim)
        self._embedding.weight.data = noise(num_embeddings, embedding_dim)
        self._embedding.weight.requires_grad_(False)
        self._commitment_cost = commitment_cost
        self.register_buffer("_ema_cluster_size", torch.zeros(num_embeddings))
        self._ema_w = nn.Parameter(self._embedding.weight.data.clone(), requires_grad=False)
        self._decay, self._epsilon = decay, epsilon

    def forward(self, inputs):
        input_shape = inputs.shape
        flat_input = inputs.view(-1, self._embedding_dim)
        distances = (
            torch.sum(flat_input**2, dim=1, keepdim=True)
            + torch.sum(self._embedding.weight**2, dim=1)
            - 2 * torch.matmul(flat_input, self._embedding.weight.t())
        )
        encoding_indices = torch.argmin(distances, dim=1).unsqueeze(1)
        encodings = torch.zeros(encoding_indices.shape[0], self._num_embeddings, device=inputs.device)
        encodings.scatter_(1, encoding_indices, 1)
        quantized = torch.matmul(encodings, self._embedding.weight).view(input_shape)
        if self.training:
            self._ema_cluster_size = self._ema_cluster_size * self._decay + (1 - self._decay) * torch.sum(
                encodings, 0
            )
            n = torch.sum(self._ema_cluster_size.data)
            self._ema_cluster_size = (
                (self._ema_cluster_size + self._epsilon) / (n + self._num_embeddings * self._epsilon) * n
            )
            dw = torch.matmul(encodings.t(), flat_input)
            self._ema_w = nn.Parameter(
                self._ema_w * self._decay + (1 - self._decay) * dw.detach(), requires_grad=False
            )
            self._embedding.weight = nn.Parameter(
                self._ema_w / self._ema_cluster_size.unsqueeze(1), requires_grad=False
            )
        e_latent_loss = F.mse_loss(quantized.detach(), inputs)
        loss = self._commitment_cost * e_latent_loss
        quantized = inputs + (quantized - inputs).detach()
        avg_probs = torch.mean(encodings, dim=0)
        perplexity = torch.exp(-torch.sum(avg_probs * torch.log(avg_probs + 1e-10)))
        return loss, quantized, perplexity, encoding_indices


encoder = fixed(nn.Linear(5, 3))
vq = VectorQuantizerEMA(6, 3)
x = noise(8, 2, 5)
vq_loss, quantized, perplexity, codes = vq(encoder(x))
(vq_loss + quantized.pow(2).mean()).backward()
assert "_ema_cluster_size" in vq.state_dict() and vq._ema_cluster_size.sum() > 0


# ---- diffusion


def extract(a, t, x_shape):
    b, *_ = t.shape
    out = a.gather(-1, t)
    return out.reshape(b, *((1,) * (len(x_shape) - 1)))


def cosine_beta_schedule(timesteps, s=0.008):
    steps = timesteps + 1
    x = torch.linspace(0, timesteps, steps, dtype=torch.float64)
    alphas_cumprod = torch.cos(((x / timesteps) + s) / (1 + s) * math.pi * 0.5) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    betas = 1 - (alphas_cumprod[1:] / alphas_cumprod[:-1])
    return torch.clip(betas, 0, 0.999)


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half_dim = self.dim // 2
        emb = math.log(10000) / (half_dim - 1)
        emb = torch.exp(torch.arange(half_dim, device=x.device) * -emb)
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class Denoiser(nn.Module):
    def __init__(self, dim=4, hidden=8):
        super().__init__()
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(hidden), nn.Linear(hidden, hidden), nn.SiLU())
        self.inp, self.out = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.to_scale_shift = nn.Linear(hidden, 2 * hidden)

    def forward(self, x, t):
        scale, shift = self.to_scale_shift(self.time_mlp(t)).chunk(2, dim=-1)
        h = F.silu(self.inp(x) * (scale + 1) + shift)
        return self.out(h)


class GaussianDiffusion(nn.Module):
    def __init__(self, model, timesteps=10):
        super().__init__()
        self.model, self.num_timesteps = model, int(timesteps)
        betas = cosine_beta_schedule(timesteps)
        alphas = 1.0 - betas
        alphas_cumprod = torch.cumprod(alphas, axis=0)
        alphas_cumprod_prev = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
        register_buffer = lambda name, val: self.register_buffer(name, val.to(torch.float32))
        register_buffer("betas", betas)
        register_buffer("sqrt_alphas_cumprod", torch.sqrt(alphas_cumprod))
        register_buffer("sqrt_one_minus_alphas_cumprod", torch.sqrt(1.0 - alphas_cumprod))
        register_buffer("sqrt_recip_alphas", torch.sqrt(1.0 / alphas))
        posterior_variance = betas * (1.0 - alphas_cumprod_prev) / (1.0 - alphas_cumprod)
        register_buffer("posterior_variance", posterior_variance)
        register_buffer("posterior_log_variance_clipped", torch.log(posterior_variance.clamp(min=1e-20)))

    def q_sample(self, x_start, t, noise=None):
        noise = torch.randn_like(x_start) if noise is None else noise
        return (
            extract(self.sqrt_alphas_cumprod, t, x_start.shape) * x_start
            + extract(self.sqrt_one_minus_alphas_cumprod, t, x_start.shape) * noise
        )

    def p_losses(self, x_start, t, noise):
        return F.smooth_l1_loss(noise, self.model(self.q_sample(x_start, t, noise), t))

    @torch.no_grad()
    def p_sample_loop(self, img, noises):
        for i in reversed(range(0, self.num_timesteps)):
            t = torch.full((img.shape[0],), i, dtype=torch.long)
            predicted = self.model(img, t)
            mean = extract(self.sqrt_recip_alphas, t, img.shape) * (
                img
                - extract(self.betas, t, img.shape)
                * predicted
                / extract(self.sqrt_one_minus_alphas_cumprod, t, img.shape)
            )
            nonzero_mask = (1 - (t == 0).float()).reshape(img.shape[0], *((1,) * (len(img.shape) - 1)))
            img = mean + nonzero_mask * torch.sqrt(extract(self.posterior_variance, t, img.shape)) * noises[i]
        return img.clamp(-1, 1)


diffusion = GaussianDiffusion(fixed(Denoiser()))
optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-2)
data, losses = noise(16, 4), []
for step in range(5):
    t = torch.from_numpy(rng.integers(0, 10, 16)).long()
    loss = diffusion.p_losses(data, t, noise(16, 4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
samples = diffusion.p_sample_loop(noise(3, 4), noise(10, 3, 4))
similarity = einsum("i d, j d -> i j", samples, samples)
results = {
    "vq": vq_loss,
    "perplexity": perplexity,
    "codes": codes,
    "grad": encoder.weight.grad,
    "vq_state": vq.state_dict(),
    "losses": losses,
    "samples": samples,
    "similarity": similarity,
    "buffers": dict(diffusion.named_buffers()),
}
