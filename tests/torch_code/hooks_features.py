"""Hooks for activations and gradients, feature extraction, Grad-CAM's arithmetic, freezing, surgery on state dicts."""

from collections import OrderedDict, defaultdict

import numpy as np
import torch
import torch.nn as nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.fc = nn.Linear(6, 10)

    def forward(self, x):
        x = self.layer1(x)
        x = self.layer2(x)
        return self.fc(x)


def load(model, seed):
    rng = np.random.default_rng(seed)
    state = {
        k: torch.from_numpy(rng.normal(0, 0.5, tuple(v.shape))).float() for k, v in model.state_dict().items()
    }
    print(model.load_state_dict(state))
    return model


model = load(Backbone(), 0)
x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 5))).float().requires_grad_()

activation, gradient, shapes, calls = {}, {}, [], defaultdict(int)


def get_activation(name):
    def hook(model, input, output):
        activation[name] = output.detach()

    return hook


def save_gradient(name):
    def hook(module, grad_input, grad_output):
        gradient[name] = grad_output[0]

    return hook


handles = [m.register_forward_hook(get_activation(n)) for n, m in model.named_children()]
handles += [m.register_full_backward_hook(save_gradient(n)) for n, m in model.named_children()]
handles.append(model.layer2.register_forward_pre_hook(lambda m, inp: (inp[0] * 2,)))
for name, module in model.named_modules():
    if len(list(module.children())) == 0:
        handles.append(
            module.register_forward_hook(
                lambda m, i, o, name=name: shapes.append((name, tuple(i[0].shape), tuple(o.shape)))
            )
        )

out = model(x)
score = out[:, 2].sum()
model.zero_grad()
score.backward()
pooled = gradient["layer2"].mean(dim=0)
cam = torch.relu((activation["layer2"] * pooled).sum(1))
for h in handles:
    h.remove()
n_shapes = len(shapes)
clean = model(x)
assert len(shapes) == n_shapes and not torch.equal(clean, out)

# freezing, a new head, parameter groups
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(model.fc.in_features, 3)
with torch.no_grad():
    model.fc.weight.copy_(torch.arange(18.0).view(3, 6) / 10)
    model.fc.bias.zero_()
trainable = [n for n, p in model.named_parameters() if p.requires_grad]
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
loss = nn.CrossEntropyLoss()(model(x), torch.tensor([0, 1, 2]))
loss.backward()
optimizer.step()
frozen_grads = [p.grad for n, p in model.named_parameters() if n.startswith("layer1")]

# pretrained state dict: prefixes stripped, shapes filtered, strictness
pretrained = OrderedDict(("module." + k, v.clone()) for k, v in load(Backbone(), 5).state_dict().items())
stripped = OrderedDict((k.replace("module.", ""), v) for k, v in pretrained.items())
model_dict = model.state_dict()
usable = {k: v for k, v in stripped.items() if k in model_dict and v.size() == model_dict[k].size()}
model_dict.update(usable)
model.load_state_dict(model_dict)
missing, unexpected = Backbone().load_state_dict(
    {"layer1.0.weight": torch.zeros(8, 5), "extra": torch.zeros(1)}, strict=False
)
errors = []
for bad in (stripped, {"fc.weight": torch.zeros(3, 6)}):
    try:
        model.load_state_dict(bad)
    except RuntimeError as e:
        errors.append(str(e).splitlines()[0].strip())

# modules replaced by name, taken apart, put in a list
features = nn.Sequential(*list(model.children())[:-1])
embedded = features(x)
truncated = nn.Sequential(*list(model.layer1.children())[:1])
setattr(model, "fc", nn.Identity())
assert torch.equal(model(x), embedded) and isinstance(model.fc, nn.Identity)
print(features)
tensor_hooked = x.detach().clone().requires_grad_()
y = tensor_hooked * 3
norms = []
handle = y.register_hook(lambda g: norms.append(g.norm()))
y.register_hook(lambda g: g.clamp(max=0.5))
y.sum().backward()
results = {
    "activation": activation,
    "gradient": gradient,
    "cam": cam,
    "shapes": shapes,
    "trainable": trainable,
    "loss": loss,
    "fc": usable.keys() and sorted(usable),
    "frozen": frozen_grads,
    "missing": list(missing),
    "unexpected": list(unexpected),
    "errors": errors,
    "embedded": embedded,
    "truncated": truncated(x),
    "hooked": tensor_hooked.grad,
    "norms": norms,
}
