"""Reinforcement learning: DQN with replay and a target network, PPO with GAE, REINFORCE by hand."""

import random
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))
rng = np.random.default_rng(0)
random.seed(0)


class ReplayMemory(object):
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super(DQN, self).__init__()
        self.layer1 = nn.Linear(n_observations, 16)
        self.layer2 = nn.Linear(16, n_actions)

    def forward(self, x):
        return self.layer2(F.relu(self.layer1(x)))


policy_net, target_net = DQN(4, 2), DQN(4, 2)
for p in policy_net.parameters():
    p.data = torch.from_numpy(rng.normal(0, 0.3, tuple(p.shape))).float()
target_net.load_state_dict(policy_net.state_dict())
optimizer = optim.AdamW(policy_net.parameters(), lr=1e-3, amsgrad=True)
memory = ReplayMemory(50)
state = torch.tensor(rng.normal(size=4), dtype=torch.float32).unsqueeze(0)
actions, losses = [], []
for step in range(40):
    with torch.no_grad():
        action = (
            policy_net(state).max(1).indices.view(1, 1)
            if step % 3
            else torch.tensor([[step % 2]], dtype=torch.long)
        )
    actions.append(action.item())
    reward = torch.tensor([float(rng.normal()) + action.item()], dtype=torch.float32)
    next_state = None if step % 7 == 6 else torch.tensor(rng.normal(size=4), dtype=torch.float32).unsqueeze(0)
    memory.push(state, action, next_state, reward)
    state = next_state if next_state is not None else torch.zeros(1, 4)
    if len(memory) < 8:
        continue
    batch = Transition(*zip(*memory.sample(8)))
    non_final_mask = torch.tensor(tuple(map(lambda s: s is not None, batch.next_state)), dtype=torch.bool)
    non_final_next_states = torch.cat([s for s in batch.next_state if s is not None])
    state_action_values = policy_net(torch.cat(batch.state)).gather(1, torch.cat(batch.action))
    next_state_values = torch.zeros(8)
    with torch.no_grad():
        next_state_values[non_final_mask] = target_net(non_final_next_states).max(1).values
    expected = (next_state_values * 0.99) + torch.cat(batch.reward)
    loss = nn.SmoothL1Loss()(state_action_values, expected.unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()
    losses.append(loss.item())
    target_sd, policy_sd = target_net.state_dict(), policy_net.state_dict()
    for key in policy_sd:
        target_sd[key] = policy_sd[key] * 0.05 + target_sd[key] * (1 - 0.05)
    target_net.load_state_dict(target_sd)


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh())
        self.pi, self.v = nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, x):
        h = self.body(x)
        return F.log_softmax(self.pi(h), dim=-1), self.v(h).squeeze(-1)


def gae(rewards, values, dones, gamma=0.99, lam=0.95):
    advantages = torch.zeros_like(rewards)
    last = 0
    for t in reversed(range(len(rewards))):
        next_value = values[t + 1] if t + 1 < len(values) else torch.tensor(0.0)
        nonterminal = 1.0 - dones[t].float()
        delta = rewards[t] + gamma * next_value * nonterminal - values[t]
        advantages[t] = last = delta + gamma * lam * nonterminal * last
    return advantages, advantages + values


ac = ActorCritic()
with torch.no_grad():
    for p in ac.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape))))
obs = torch.FloatTensor(rng.normal(size=(12, 3)))
acts = torch.LongTensor(rng.integers(0, 4, 12))
rewards = torch.Tensor(rng.normal(size=12).tolist())
dones = torch.BoolTensor([i % 5 == 4 for i in range(12)])
with torch.no_grad():
    old_logp_all, values = ac(obs)
    old_logp = old_logp_all[torch.arange(12), acts]
adv, returns = gae(rewards, values, dones)
adv = (adv - adv.mean()) / (adv.std() + 1e-8)
opt = optim.Adam(ac.parameters(), lr=3e-3, eps=1e-5)
ppo = []
for epoch in range(4):
    for mb in torch.arange(12).split(6):
        logp_all, v = ac(obs[mb])
        logp = logp_all.gather(-1, acts[mb].unsqueeze(-1)).squeeze(-1)
        ratio = (logp - old_logp[mb]).exp()
        surr = torch.min(ratio * adv[mb], torch.clamp(ratio, 0.8, 1.2) * adv[mb])
        entropy = -(logp_all.exp() * logp_all).sum(-1).mean()
        v_clipped = values[mb] + torch.clamp(v - values[mb], -0.2, 0.2)
        v_loss = 0.5 * torch.max((v - returns[mb]) ** 2, (v_clipped - returns[mb]) ** 2).mean()
        loss = -surr.mean() + 0.5 * v_loss - 0.01 * entropy
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(ac.parameters(), 0.5)
        opt.step()
        ppo.append(
            [
                loss.item(),
                ((ratio - 1).abs() > 0.2).float().mean().item(),
                (old_logp[mb] - logp).mean().item(),
            ]
        )

rets, R = [], 0
for r in rewards.tolist()[::-1]:
    R = r + 0.9 * R
    rets.insert(0, R)
rets = torch.tensor(rets)
policy_loss = torch.stack([-lp * r for lp, r in zip(ac(obs)[0][:, 0], rets)]).sum()
policy_loss.backward()
draws = torch.multinomial(torch.softmax(torch.tensor([0.0, 100.0, 0.0]), 0), 5, replacement=True)
assert draws.tolist() == [1] * 5
results = {
    "actions": actions,
    "losses": losses,
    "target": target_net.state_dict(),
    "adv": adv,
    "returns": returns,
    "ppo": ppo,
    "policy_loss": policy_loss,
    "ac": ac.state_dict(),
}
