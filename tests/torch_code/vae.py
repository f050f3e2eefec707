"""A variational autoencoder: reparameterisation, BCE with sum reduction, KL by hand, Adam, decoding from the prior."""

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(20, 12)
        self.fc21 = nn.Linear(12, 3)
        self.fc22 = nn.Linear(12, 3)
        self.fc3 = nn.Linear(3, 12)
        self.fc4 = nn.Linear(12, 20)
        self.noise = None

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        assert eps.shape == std.shape and eps.dtype == std.dtype and not eps.requires_grad
        if self.noise is not None:
            eps.copy_(self.noise)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 20))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 20), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


rng = np.random.default_rng(0)
data = torch.tensor((rng.random((64, 4, 5)) < 0.3).astype(np.float64))
model = VAE().double()
for name, p in model.named_parameters():
    p.data = torch.from_numpy(rng.normal(0, 0.2, p.shape))
optimizer = optim.Adam(model.parameters(), lr=1e-2)
losses = []
for epoch in range(3):
    for batch in data.split(16):
        model.noise = torch.from_numpy(rng.normal(size=(16, 3)))
        optimizer.zero_grad()
        recon, mu, logvar = model(batch)
        loss = loss_function(recon, batch, mu, logvar)
        loss.backward()
        losses.append(loss.item() / len(batch))
        optimizer.step()
    print("====> Epoch: {} Average loss: {:.4f}".format(epoch, sum(losses[-4:]) / 4))

with torch.no_grad():
    sample = model.decode(torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3))
assert losses[-1] < losses[0] and sample.dtype == torch.float64
results = {"losses": losses, "sample": sample, "state": model.state_dict()}
