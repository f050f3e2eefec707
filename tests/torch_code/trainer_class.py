"""A training class as projects grow them: config, seeding, meters, early stopping, parameter groups, distillation, flows."""

import contextlib
import math
import os
import random
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Dict, List, Optional, Union

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset, random_split


def set_seed(seed: int = 42) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("PYTHONHASHSEED", str(seed))


class AverageMeter:
    def __init__(self, name, fmt=":f"):
        self.name, self.fmt = name, fmt
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count

    def __str__(self):
        return ("{name} {val" + self.fmt + "} ({avg" + self.fmt + "})").format(**self.__dict__)


class EarlyStopping:
    def __init__(self, patience=2, delta=0.0, path="checkpoint.pt"):
        self.patience, self.delta, self.path = patience, delta, path
        self.counter, self.best_score, self.early_stop = 0, None, False

    def __call__(self, val_loss, model):
        score = -val_loss
        if self.best_score is None or score > self.best_score + self.delta:
            self.best_score, self.counter = score, 0
            torch.save(model.state_dict(), self.path)
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience


@dataclass
class Config:
    lr: float = 5e-2
    epochs: int = 4
    hidden: List[int] = field(default_factory=lambda: [12, 8])
    device: Union[str, torch.device] = "cpu"
    dtype: torch.dtype = torch.float32
    clip: Optional[float] = 1.0


def build(config: Config) -> nn.Sequential:
    layers, width = [], 6
    for h in config.hidden:
        layers += [nn.Linear(width, h), nn.LayerNorm(h), nn.ReLU()]
        width = h
    return nn.Sequential(*layers, nn.Linear(width, 3)).to(config.device, dtype=config.dtype)


class Trainer:
    def __init__(self, model, config, teacher=None):
        self.model, self.config, self.teacher = model, config, teacher
        no_decay = ["bias", "LayerNorm.weight"]
        grouped = [
            {
                "params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],
                "weight_decay": 0.01,
            },
            {
                "params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)],
                "weight_decay": 0.0,
            },
        ]
        self.optimizer = AdamW(grouped, lr=config.lr, eps=1e-6)
        self.scheduler = CosineAnnealingLR(self.optimizer, T_max=config.epochs)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.device = next(model.parameters()).device

    def loss(self, logits, target):
        loss = F.cross_entropy(logits, target)
        if self.teacher is not None:
            T = 2.0
            with torch.no_grad():
                soft = F.softmax(self.teacher(self.batch) / T, dim=1)
            loss = (
                0.5 * loss
                + 0.5 * nn.KLDivLoss(reduction="batchmean")(F.log_softmax(logits / T, dim=1), soft) * T * T
            )
        return loss

    def fit(self, loader, val_loader, stopper=None) -> Dict[str, list]:
        history = {"train": [], "val": [], "norm": [], "lr": []}
        for epoch in range(self.config.epochs):
            meter = AverageMeter("Loss", ":.4e")
            self.model.train()
            for i, batch in enumerate(loader):
                self.batch, target = (t.to(self.device, non_blocking=True) for t in batch)
                with torch.autocast(device_type="cpu", enabled=False) if i % 2 else contextlib.nullcontext():
                    loss = self.loss(self.model(self.batch), target)
                if not math.isfinite(loss.item()) or torch.isnan(loss):
                    raise ValueError("loss is not finite")
                self.optimizer.zero_grad(set_to_none=True)
                self.scaler.scale(loss).backward()
                norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                meter.update(loss.detach().item(), n=len(target))
            val = self.evaluate(val_loader)
            self.scheduler.step()
            history["train"].append(meter.avg)
            history["val"].append(val["loss"])
            history["norm"].append(norm.item())
            history["lr"].append(self.scheduler.get_last_lr()[0])
            if stopper is not None:
                stopper(val["loss"], self.model)
                if stopper.early_stop:
                    break
        return history

    @torch.no_grad()
    def evaluate(self, loader):
        was_training = self.model.training
        self.model.eval()
        preds, targets, total = [], [], 0.0
        for x, y in loader:
            logits = self.model(x)
            total += F.cross_entropy(logits, y, reduction="sum").item()
            preds.append(logits.argmax(-1).cpu().numpy())
            targets.extend(y.tolist())
        self.model.train(was_training)
        return {
            "loss": total / len(targets),
            "acc": float(np.mean(np.concatenate(preds) == np.array(targets))),
        }


set_seed(1)
started = time.time()
rng = np.random.default_rng(0)
X = torch.as_tensor(rng.normal(size=(60, 6)), dtype=torch.float32)
y = (X[:, :3] + 0.1 * X[:, 3:]).argmax(dim=1)
train_set, val_set = random_split(TensorDataset(X, y), [48, 12], generator=torch.Generator().manual_seed(0))
assert sorted(train_set.indices + val_set.indices) == list(range(60))
train_set = TensorDataset(X[:48], y[:48])
val_loader = DataLoader(TensorDataset(X[48:], y[48:]), batch_size=5)
config = Config()
teacher = build(config)
with torch.no_grad():
    for p in teacher.parameters():
        if p.dim() > 1:
            p.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(p.shape))))
        else:
            p.copy_(torch.from_numpy(rng.normal(0.5, 0.1, tuple(p.shape))))
student = build(Config(hidden=[8]))
student.load_state_dict(
    {k: torch.from_numpy(rng.normal(0, 0.4, tuple(v.shape))).float() for k, v in student.state_dict().items()}
)
histories = []
with tempfile.TemporaryDirectory() as folder:
    stopper = EarlyStopping(path=os.path.join(folder, "best.pt"))
    histories.append(Trainer(teacher, config).fit(DataLoader(train_set, batch_size=16), val_loader, stopper))
    teacher.load_state_dict(torch.load(stopper.path))
trainer = Trainer(student, config, teacher.eval())
histories.append(trainer.fit(DataLoader(train_set, batch_size=16, drop_last=True), val_loader))
scores = trainer.evaluate(val_loader)
print({k: round(v, 3) for k, v in scores.items()}, AverageMeter("x", ":.1f"), sorted(asdict(config))[:2])
assert teacher.training is False and time.time() - started < 60
results = {
    "histories": histories,
    "scores": scores,
    "student": student.state_dict(),
    "groups": [len(g["params"]) for g in trainer.optimizer.param_groups],
}
