"""An RNN and an LSTM cell by hand: state written in place, sequences stacked, truncated backpropagation."""

import numpy as np
import torch
import torch.nn as nn


class RNNCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, input_size)

    def forward(self, x, hidden):
        combined = torch.cat((x, hidden), 1)
        hidden = torch.tanh(self.i2h(combined))
        return self.h2o(hidden), hidden

    def init_hidden(self, batch):
        return torch.zeros(batch, self.hidden_size)


class LSTM(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.W = nn.Parameter(torch.empty(n_in, 4 * n))
        self.U = nn.Parameter(torch.empty(n, 4 * n))
        self.bias = nn.Parameter(torch.zeros(4 * n))
        self.n = n

    def forward(self, x, state=None):
        seq_len, batch, _ = x.size()
        h, c = state or (x.new_zeros(batch, self.n), x.new_zeros(batch, self.n))
        outputs = x.new_empty(seq_len, batch, self.n)
        for t in range(seq_len):
            gates = x[t] @ self.W + h @ self.U + self.bias
            i, f, g, o = gates.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs[t] = h
        return outputs, (h, c)


rng = np.random.default_rng(0)
sequence = torch.from_numpy(rng.normal(size=(12, 2, 3)).astype("float32"))

cell = RNNCell(3, 5)
lstm = LSTM(3, 4)
with torch.no_grad():
    for p in list(cell.parameters()) + list(lstm.parameters()):
        p.copy_(torch.from_numpy(rng.uniform(-0.5, 0.5, tuple(p.shape))))

optimizer = torch.optim.RMSprop(cell.parameters(), lr=0.01)
criterion = nn.MSELoss()
hidden = cell.init_hidden(2)
losses = []
for start in range(0, 9, 3):  # truncated
    hidden = hidden.detach()
    optimizer.zero_grad()
    loss = torch.zeros(())
    for t in range(start, start + 3):
        out, hidden = cell(sequence[t], hidden)
        loss += criterion(out, sequence[t + 1])
    loss.backward()
    torch.nn.utils.clip_grad_value_(cell.parameters(), 0.5)
    optimizer.step()
    losses.append(loss.item())

outputs, (h, c) = lstm(sequence)
states = torch.zeros(2, 12, 4)
for t in range(12):
    states[:, t, :] += outputs[t]
(states[:, -1].pow(2).sum() + outputs.mean()).backward()
mask = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)
lengths = mask.sum(dim=1)
last = outputs[:3].transpose(0, 1)[torch.arange(2), lengths - 1]
assert outputs.requires_grad and torch.equal(outputs[-1], h)
results = {
    "losses": losses,
    "outputs": outputs,
    "c": c,
    "grads": [p.grad for p in lstm.parameters()],
    "last": last,
    "lengths": lengths,
    "cell": cell.state_dict(),
}
