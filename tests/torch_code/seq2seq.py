"""Sequence to sequence: ragged batches padded by a collate function, attention, teacher forcing, masked loss, BLEU-less metrics."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD_IDX, BOS_IDX, EOS_IDX = 0, 1, 2
rng = np.random.default_rng(0)


class Reverse(Dataset):
    def __init__(self, n):
        self.items = [rng.integers(3, 9, rng.integers(2, 6)).tolist() for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i], self.items[i][::-1]


def tensor_transform(token_ids):
    return torch.cat((torch.tensor([BOS_IDX]), torch.tensor(token_ids), torch.tensor([EOS_IDX])))


def collate_fn(batch):
    src_batch, tgt_batch = [], []
    for src_sample, tgt_sample in batch:
        src_batch.append(tensor_transform(src_sample))
        tgt_batch.append(tensor_transform(tgt_sample))
    src_batch = pad_sequence(src_batch, padding_value=PAD_IDX, batch_first=True)
    tgt_batch = pad_sequence(tgt_batch, padding_value=PAD_IDX, batch_first=True)
    return src_batch, tgt_batch


class GRUCell(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.x2h, self.h2h = nn.Linear(n_in, 3 * n), nn.Linear(n, 3 * n)

    def forward(self, x, h):
        xr, xz, xn = self.x2h(x).chunk(3, -1)
        hr, hz, hn = self.h2h(h).chunk(3, -1)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = torch.tanh(xn + r * hn)
        return (1 - z) * n + z * h


class Seq2Seq(nn.Module):
    def __init__(self, vocab=9, emb=6, hid=8):
        super().__init__()
        self.embedding = nn.Embedding(vocab, emb, padding_idx=PAD_IDX)
        self.encoder, self.decoder = GRUCell(emb, hid), GRUCell(emb + hid, hid)
        self.attn = nn.Linear(2 * hid, hid)
        self.v = nn.Parameter(torch.ones(hid))
        self.out = nn.Linear(2 * hid, vocab)
        self.hid = hid

    def encode(self, src):
        mask = src.ne(PAD_IDX)
        h = torch.zeros(src.size(0), self.hid)
        outputs = []
        for t in range(src.size(1)):
            new = self.encoder(self.embedding(src[:, t]), h)
            h = torch.where(mask[:, t].unsqueeze(-1), new, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1), h, mask

    def step(self, token, h, enc, mask):
        energy = torch.tanh(self.attn(torch.cat([h.unsqueeze(1).repeat(1, enc.size(1), 1), enc], dim=2)))
        a = (energy @ self.v).masked_fill(~mask, -1e10).softmax(dim=1)
        context = torch.bmm(a.unsqueeze(1), enc).squeeze(1)
        h = self.decoder(torch.cat([self.embedding(token), context], dim=1), h)
        return self.out(torch.cat([h, context], dim=-1)), h, a

    def forward(self, src, tgt, teacher_forcing=lambda t: True):
        enc, h, mask = self.encode(src)
        batch, T = tgt.shape
        outputs = torch.zeros(batch, T, self.out.out_features)
        token = tgt[:, 0]
        for t in range(1, T):
            logits, h, _ = self.step(token, h, enc, mask)
            outputs[:, t] = logits
            token = tgt[:, t] if teacher_forcing(t) else logits.argmax(1)
        return outputs

    @torch.inference_mode()
    def greedy(self, src, max_len=8):
        enc, h, mask = self.encode(src)
        ys = torch.ones(src.size(0), 1).fill_(BOS_IDX).type(torch.long)
        done = torch.zeros(src.size(0), dtype=torch.bool)
        for _ in range(max_len):
            logits, h, _ = self.step(ys[:, -1], h, enc, mask)
            next_word = logits.argmax(-1).masked_fill(done, PAD_IDX)
            ys = torch.cat([ys, next_word[:, None]], dim=1)
            done |= next_word == EOS_IDX
            if done.all():
                break
        return ys


model = Seq2Seq()
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(p.shape))))
    model.embedding.weight[PAD_IDX].fill_(0)
criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
loader = DataLoader(Reverse(24), batch_size=8, collate_fn=collate_fn)
losses, shapes = [], []
for epoch in range(2):
    for src, tgt in loader:
        shapes.append((tuple(src.shape), tuple(tgt.shape)))
        output = model(src, tgt, teacher_forcing=lambda t: t % 3 != 2)
        loss = criterion(output[:, 1:].reshape(-1, output.shape[-1]), tgt[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        losses.append(loss.item())
assert model.embedding.weight.grad[PAD_IDX].abs().sum() == 0 and (model.embedding.weight[PAD_IDX] == 0).all()

# the same loss with a mask by hand
logp = F.log_softmax(output, -1).gather(2, tgt.unsqueeze(-1)).squeeze(-1)
keep = (tgt != PAD_IDX).float()
keep[:, 0] = 0
by_hand = -(logp * keep).sum() / keep.sum()
assert abs(by_hand.item() - losses[-1]) < 1e-5
model.eval()
decoded = model.greedy(src)
lengths = (src != PAD_IDX).sum(1)
order = torch.argsort(lengths, descending=True, stable=True)
positions = torch.cumsum(src.ne(PAD_IDX).int(), dim=1).type_as(src) * src.ne(PAD_IDX) + PAD_IDX
perplexity = torch.exp(by_hand)
print(f"perplexity {perplexity:.3f}, tokens {int(keep.sum())}")
results = {
    "losses": losses,
    "shapes": shapes,
    "decoded": decoded.tolist(),
    "by_hand": by_hand,
    "order": order,
    "positions": positions,
    "state": model.state_dict(),
}
