"""GAN training: detach, frozen discriminator, hinge and BCE losses, WGAN's gradient penalty with create_graph."""

import numpy as np
import torch
import torch.nn as nn
from torch import autograd

rng = np.random.default_rng(0)


def normal(*shape):
    return torch.from_numpy(rng.normal(size=shape)).double()


class Generator(nn.Module):
    def __init__(self, nz, ngf, nc):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(nz, ngf), nn.BatchNorm1d(ngf), nn.ReLU(True), nn.Linear(ngf, nc), nn.Tanh()
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, nc, ndf):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(nc, ndf), nn.LeakyReLU(0.2, inplace=True), nn.Linear(ndf, 1))

    def forward(self, x):
        return self.main(x).view(-1)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        m.weight.data = normal(*m.weight.shape) * 0.3
        nn.init.constant_(m.bias.data, 0)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.fill_(1.0)
        m.bias.data.zero_()


def compute_gradient_penalty(D, real_samples, fake_samples, alpha):
    interpolates = (alpha * real_samples + ((1 - alpha) * fake_samples)).requires_grad_(True)
    d_interpolates = D(interpolates)
    fake = torch.ones(real_samples.shape[0], dtype=torch.double, requires_grad=False)
    gradients = autograd.grad(
        outputs=d_interpolates,
        inputs=interpolates,
        grad_outputs=fake,
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


netG = Generator(3, 8, 4).double()
netD = Discriminator(4, 8).double()
netG.apply(weights_init)
netD.apply(weights_init)
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
log = []
for i in range(4):
    real = normal(6, 4) + 1
    noise = normal(6, 3)
    # vanilla
    netD.zero_grad()
    label = torch.full((6,), 1.0, dtype=torch.double)
    errD_real = criterion(netD(real), label)
    errD_real.backward()
    fake = netG(noise)
    label.fill_(0)
    errD_fake = criterion(netD(fake.detach()), label)
    errD_fake.backward()
    gp = compute_gradient_penalty(netD, real.data, fake.data, torch.from_numpy(rng.random((6, 1))))
    (10 * gp).backward()
    optimizerD.step()
    assert i > 0 or all(p.grad is None for p in netG.parameters())

    for p in netD.parameters():
        p.requires_grad = False
    netG.zero_grad()
    label.fill_(1)
    errG = criterion(netD(fake), label)
    errG.backward()
    assert all(p.grad is not None for p in netG.parameters())
    optimizerG.step()
    for p in netD.parameters():
        p.requires_grad = True
    log.append([errD_real.item(), errD_fake.item(), gp.item(), errG.item()])
    print("[%d] Loss_D: %.4f Loss_G: %.4f" % (i, (errD_real + errD_fake).item(), errG.item()))

# relativistic and hinge losses, weight clipping, R1
real.requires_grad_()
scores = netD(real)
(grad_real,) = autograd.grad(outputs=scores.sum(), inputs=real, create_graph=True)
r1 = grad_real.pow(2).reshape(6, -1).sum(1).mean()
hinge = torch.relu(1.0 - scores).mean() + torch.relu(1.0 + netD(fake.detach())).mean()
netD.zero_grad(set_to_none=True)
(hinge + 5 * r1).backward()
r1_grads = [p.grad.clone() if p.grad is not None else None for p in netD.parameters()]
for p in netD.parameters():
    p.data.clamp_(-0.2, 0.2)
assert max(p.abs().max().item() for p in netD.parameters()) <= 0.2
results = {
    "log": log,
    "G": netG.state_dict(),
    "D": netD.state_dict(),
    "r1": r1,
    "hinge": hinge,
    "grads": r1_grads[:3],
}
