"""Transformers: GPT-2's block, a GPT's training step, a step that tunes an encoder of MiniLM's shape; sentences embedded,
a token written.

Each is written once, against the names that torch and minigrad share. Flops count a multiply and an add as two
and leave out what isn't a matrix product; nothing is dropped out, for that can't be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from . import twins
from .ways import fill, training
from .workload import FLOAT, Built, Kit, Twin, Workload, normal

FINE = 0.1  # tolerance after AdamW's steps: where a gradient is about 0, its rounding becomes a whole step


def gpt2_block(batch: int, tokens: int, width: int = 768, heads: int = 12) -> Workload:
    """GPT-2's block, forward and backward: x + attention(ln(x)), x + mlp(ln(x)). Source: Radford et al., 2019."""

    def draw(rng: np.random.Generator) -> list[Any]:
        return [normal(rng, batch, tokens, width), normal(rng, batch, tokens, width)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional = kit.lib.nn, kit.lib.nn.functional

        class Block(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

            def forward(self, x: Any) -> Any:  # (B, T, width)
                parts = self.qkv(self.ln_1(x)).split(width, dim=2)
                q, k, v = (
                    p.reshape(batch, tokens, heads, width // heads).transpose(1, 2) for p in parts
                )  # (B, H, T, D)
                seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.projection(seen.transpose(1, 2).reshape(batch, tokens, width))
                return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

        x, seed = tensors[0].requires_grad_(), tensors[1]
        model = Block()
        fill(kit, model)
        forward = kit.part(model)

        def step(x: Any, seed: Any) -> Any:
            x.grad = None
            model.zero_grad()
            out = forward(x)
            out.backward(seed)
            return out

        def results(out: Any) -> dict[str, Any]:
            return {
                "out": out,
                "x.grad": x.grad,
                **{f"{n}.grad": p.grad for n, p in model.named_parameters()},
            }

        run = kit.whole(step)
        return Built(lambda: run(x, seed), results)

    rows, weights = batch * tokens, 12 * width * width
    pairs = batch * heads * tokens * (tokens + 1) // 2
    flops = 6.0 * rows * weights + 12.0 * pairs * (width // heads)
    nbytes = FLOAT * (2.0 * weights + 4.0 * rows * width)
    sizes = {
        "ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
        "qkv.weight": (3 * width, width), "qkv.bias": (3 * width,),
        "projection.weight": (width, width), "projection.bias": (width,),
        "up.weight": (4 * width, width), "up.bias": (4 * width,),
        "down.weight": (width, 4 * width), "down.bias": (width,),
    }  # fmt: skip
    twin = Twin("both", partial(twins.gpt2_block, heads=heads), sizes)
    return Workload(f"gpt2 block b{batch} t{tokens}", draw, build, flops, nbytes, twin=twin)


def gpt(
    name: str,
    batch: int,
    tokens: int,
    layers: int = 6,
    width: int = 384,
    heads: int = 6,
    vocabulary: int = 65,
) -> Workload:
    """A training step with AdamW of nanoGPT's network, its character-level one by default: pre-norm, no biases, tied embedding.

    nanoGPT trains it in batches of 64; 8 fill two cores' caches as well and leave time for rounds.
    Source: A. Karpathy, nanoGPT, config/train_shakespeare_char.py.
    """

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.integers(0, vocabulary, (batch, tokens)), rng.integers(0, vocabulary, (batch, tokens))]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional = kit.lib.nn, kit.lib.nn.functional

        class Block(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
                self.qkv = nn.Linear(width, 3 * width, bias=False)
                self.projection = nn.Linear(width, width, bias=False)
                self.up = nn.Linear(width, 4 * width, bias=False)
                self.down = nn.Linear(4 * width, width, bias=False)

            def forward(self, x: Any) -> Any:  # (B, T, width)
                q, k, v = (
                    p.reshape(batch, tokens, heads, width // heads).transpose(1, 2)
                    for p in self.qkv(self.ln_1(x)).split(width, dim=2)
                )  # (B, H, T, D)
                seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.projection(seen.transpose(1, 2).reshape(batch, tokens, width))
                return x + self.down(functional.gelu(self.up(self.ln_2(x))))

        class GPT(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
                self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
                self.ln_out = nn.LayerNorm(width, bias=False)

            def forward(self, x: Any) -> Any:  # (B, T) → (B, T, vocabulary)
                x = self.words(x) + self.places.weight
                return functional.linear(self.ln_out(self.blocks(x)), self.words.weight)

        model = GPT()
        began = fill(kit, model)
        optimizer = kit.lib.optim.AdamW(model.parameters(), lr=1e-4)

        def loss(x: Any, y: Any) -> Any:
            return functional.cross_entropy(model(x).reshape(-1, vocabulary), y.reshape(-1))

        return training(kit, model, optimizer, loss, tensors, began)

    rows, pairs = batch * tokens, batch * heads * tokens * (tokens + 1) // 2
    weights = layers * 12 * width * width + vocabulary * width
    flops = 6.0 * rows * weights + 12.0 * layers * pairs * (width // heads)
    return Workload(
        f"{name} b{batch} t{tokens}", draw, build, flops, 6.0 * FLOAT * weights,
        stateful=True, norm="l2", tolerance=FINE,
    )  # fmt: skip


def encoder(
    batch: int, tokens: int, layers: int = 6, width: int = 384, heads: int = 12, vocabulary: int = 30522, classes: int = 2
) -> Workload:  # fmt: skip
    """A step with AdamW that tunes an encoder of MiniLM's shape, post-norm, on a classification by the first token.

    The key has no bias, for softmax takes no notice of it: its gradient would be rounding alone.
    Source: Wang et al., MiniLM, 2020; Devlin et al., BERT, 2019.
    """

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.integers(0, vocabulary, (batch, tokens)), rng.integers(0, classes, batch)]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional = kit.lib.nn, kit.lib.nn.functional

        class Block(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
                self.key, self.projection = nn.Linear(width, width, bias=False), nn.Linear(width, width)
                self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
                self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)

            def forward(self, x: Any) -> Any:  # (B, T, width)
                q, k, v = (
                    part(x).reshape(batch, tokens, heads, width // heads).transpose(1, 2)
                    for part in (self.query, self.key, self.value)
                )  # (B, H, T, D)
                seen = functional.scaled_dot_product_attention(q, k, v)
                x = self.ln_1(x + self.projection(seen.transpose(1, 2).reshape(batch, tokens, width)))
                return self.ln_2(x + self.down(functional.gelu(self.up(x))))

        class Classifier(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
                self.ln_in = nn.LayerNorm(width)
                self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
                self.head = nn.Linear(width, classes)

            def forward(self, x: Any) -> Any:  # (B, T) → (B, classes)
                x = self.ln_in(self.words(x) + self.places.weight)
                return self.head(self.blocks(x)[:, 0])

        model = Classifier()
        began = fill(kit, model)
        optimizer = kit.lib.optim.AdamW(model.parameters(), lr=2e-5)
        return training(
            kit, model, optimizer, lambda x, y: functional.cross_entropy(model(x), y), tensors, began
        )

    # of the last block's tokens only the first is asked for: the others need but their keys and values
    full, last = batch * tokens, batch
    products = full * (12 * (layers - 1) + 2) * width**2 + last * 10 * width**2
    pairs = heads * tokens * (full * (layers - 1) + last)
    flops = 6.0 * products + 12.0 * pairs * (width // heads)
    weights = layers * 12 * width * width
    nbytes = 6.0 * FLOAT * (weights + (vocabulary + tokens) * width)
    return Workload(
        f"minilm b{batch} t{tokens}", draw, build, flops, nbytes, stateful=True, norm="l2", tolerance=FINE
    )


def sentences(
    batch: int,
    lengths: Sequence[int],
    layers: int = 6,
    width: int = 384,
    heads: int = 12,
    vocabulary: int = 30522,
) -> Workload:
    """Embeddings of sentences in batches of like lengths: an encoder of MiniLM's shape, the mean of its states, normalised.

    Half of a batch's sentences are padded, by a quarter of its length. Source: Reimers & Gurevych, Sentence-BERT, 2019.
    """

    def draw(rng: np.random.Generator) -> list[Any]:
        return [rng.integers(0, vocabulary, (batch, n)) for n in lengths]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional, lib = kit.lib.nn, kit.lib.nn.functional, kit.lib

        class Encoder(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(max(lengths), width)
                self.ln_in = nn.LayerNorm(width)
                self.layers = nn.ModuleList(
                    [
                        nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True)
                        for _ in range(layers)
                    ]
                )

            def forward(self, x: Any, padding: Any) -> Any:  # (B, T) → (B, width)
                x = self.ln_in(self.words(x) + self.places.weight[: x.shape[1]])
                for layer in self.layers:
                    x = layer(x, src_key_padding_mask=padding)
                kept = (~padding)[:, :, None].to(x.dtype)
                return functional.normalize((x * kept).sum(1) / kept.sum(1), dim=1)

        model = Encoder()
        fill(kit, model)
        model.eval()
        masks = []
        for n in lengths:
            mask = np.zeros((batch, n), bool)
            mask[::2, n - n // 4 :] = True
            masks.append(lib.from_numpy(mask))
        run = kit.whole(kit.part(model))

        def call() -> list[Any]:
            with lib.no_grad():
                return [run(x, mask) for x, mask in zip(tensors, masks, strict=True)]

        return Built(call, lambda out: {f"batch {i}": x for i, x in enumerate(out)})

    tokens = batch * sum(lengths)
    flops = 2.0 * tokens * layers * 12 * width**2 + 4.0 * layers * batch * sum(n * n for n in lengths) * width
    return Workload(f"sentences b{batch}", draw, build, flops, FLOAT * layers * 12.0 * width**2, norm="l2")


def decoding(
    past: int,
    int8: bool = False,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    vocabulary: int = 50257,
) -> Workload:
    """The next token's logits of a network of GPT-2's shape, ``past`` tokens in its cache: every weight is read once.

    With ``int8`` minigrad's weights are int8, the other libraries' stay float32. Source: Radford et al., 2019.
    """

    def draw(rng: np.random.Generator) -> list[Any]:
        cache = [normal(rng, 1, heads, past, width // heads) for _ in range(2)]
        return [rng.integers(0, vocabulary, (1, 1)), *cache]

    def build(kit: Kit, tensors: Sequence[Any]) -> Built:
        nn, functional, lib = kit.lib.nn, kit.lib.nn.functional, kit.lib
        ours = lib.__name__ == "minigrad"
        slots = past + 1

        class Block(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self, layer: int) -> None:
                super().__init__()
                self.layer = layer
                self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

            def forward(self, x: Any, cache: Any) -> Any:  # (1, 1, width)
                q, k, v = (
                    p.reshape(1, 1, heads, width // heads).transpose(1, 2)
                    for p in self.qkv(self.ln_1(x)).split(width, dim=2)
                )  # (1, H, 1, D)
                if ours:
                    seen = cache.attend(self.layer, q, k, v)
                else:
                    keys, values = cache[self.layer]
                    keys[:, :, past:slots], values[:, :, past:slots] = k, v
                    seen = functional.scaled_dot_product_attention(q, keys, values)
                x = x + self.projection(seen.transpose(1, 2).reshape(1, 1, width))
                return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

        class GPT(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(slots, width)
                self.blocks = nn.ModuleList([Block(i) for i in range(layers)])
                self.ln_out = nn.LayerNorm(width)
                self.head = nn.Linear(width, vocabulary, bias=False)

            def forward(self, x: Any, cache: Any) -> Any:  # (1, 1) → (1, vocabulary)
                x = self.words(x) + self.places.weight[past:slots]
                for block in self.blocks:
                    x = block(x, cache)
                return self.head(self.ln_out(x))[:, -1]

        model = GPT()
        fill(kit, model)
        model.eval()
        token, keys, values = tensors
        if ours:
            if int8 and lib.get_default_dtype() is lib.float32:
                nn.quantize_int8(model)
            cache = nn.KVCache(layers, 1, heads, slots, width // heads)
            held = list(zip(cache.keys, cache.values, strict=True))
        else:
            cache = held = [
                tuple(lib.zeros(1, heads, slots, width // heads, dtype=t.dtype) for t in (keys, values))
                for _ in range(layers)
            ]

        def prepare() -> None:
            for pair in held:
                for t, given in zip(pair, (keys, values), strict=True):
                    t[:, :, :past] = given

        run = kit.whole(kit.part(lambda x: model(x, cache)))

        def call() -> Any:
            if ours:
                cache.position.fill_(past)
            with lib.no_grad():
                return run(token)

        return Built(call, lambda out: {"logits": out}, prepare)

    weights = layers * 12 * width**2 + vocabulary * width
    nbytes = float(weights if int8 else FLOAT * weights) + 2.0 * FLOAT * layers * past * width
    return Workload(
        f"decoding{' int8' if int8 else ''} t{past}", draw, build, 2.0 * weights, nbytes, norm="l2",
        tolerance=0.05 if int8 else 1e-3,
    )  # fmt: skip
