"""Attention from nothing: a decoder of one block, of tensors alone, learns to write a sequence backwards.

The text is 8 letters, a bar, and the 8 letters reversed. Nothing tells the model what to look at.
"""

import minigrad

N, V, D, H = 8, 12, 32, 4  # letters, kinds of them, numbers per token, heads
T, BAR = 2 * N, V  # places that are read: the letters, the bar, all answers but the last


def weight(*shape):
    return (minigrad.randn(*shape) / shape[0] ** 0.5).requires_grad_()


def attention(x, wq, wk, wv, wo):
    """softmax(Q Kᵀ / √d) V in each head, of what came before (Vaswani et al., 2017, equation 1)."""
    q, k, v = ((x @ w).unflatten(-1, (H, D // H)).transpose(1, 2) for w in (wq, wk, wv))  # (B, H, T, d)
    scores = q @ k.transpose(-2, -1) / (D // H) ** 0.5  # (B, H, T, T): how well each key answers each query
    future = minigrad.ones(T, T).triu(1).bool()  # (T, T): the mask that makes it causal
    shares = scores.masked_fill(future, -float("inf")).softmax(-1)  # each row sums to 1
    return (shares @ v).transpose(1, 2).flatten(2) @ wo, shares  # heads side by side, mixed: (B, T, D)


def normed(x):
    """Each token's numbers with mean 0 and variance 1 (Ba et al., 2016)."""
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()


def main(steps: int = 200) -> tuple[float, list[int]]:
    """Returns the share of letters that are right in new sequences, and the place that each looks at most."""
    minigrad.manual_seed(0)
    words, places, heads = weight(V + 1, D), weight(T, D), [weight(D, D) for _ in range(4)]
    up, down, out = weight(D, 4 * D), weight(4 * D, D), weight(D, V)

    def logits(ids):  # (B, T) to (B, T, V)
        x = words[ids] + places  # what stands there, and where
        mixed, shares = attention(normed(x), *heads)
        x = x + mixed  # a part adds to what is there
        return normed(x + minigrad.relu(normed(x) @ up) @ down) @ out, shares

    optimizer = minigrad.optim.Adam([words, places, *heads, up, down, out], lr=1e-2)
    for step in range(steps + 1):
        letters = minigrad.randint(0, V, (64, N))  # new ones at each step
        text = minigrad.cat([letters, minigrad.full((64, 1), BAR), letters.flip(1)], 1)  # abcdefgh|hgfedcba
        answers, shares = logits(text[:, :-1])
        loss = minigrad.nn.functional.cross_entropy(answers[:, N:].flatten(0, 1), text[:, N + 1 :].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 40 == 0:
            right = (answers[:, N:].argmax(-1) == text[:, N + 1 :]).float().mean().item()
            print(f"step {step:3d}  loss {loss.item():.4f}  right {right:.2%}")
    print("places that the answers look at most:", looked_at := shares.mean((0, 1))[N:].argmax(-1).tolist())
    return right, looked_at


if __name__ == "__main__":
    main()
