"""``python -m minigrad train shakespeare`` and ``generate``: a GPT from nothing, and what it writes.

The recipe is nanoGPT's published one for a CPU (A. Karpathy, nanoGPT, README, "I only have a macbook"): 4 layers, 4 heads, 128
wide, 64 tokens of context, 12 texts a step, 2,000 steps, no dropout and no biases; its validation loss is 1.88 there. The
learning rate alone is another, 2e-3 for 1e-3: over the whole validation text it ends at 1.82, with theirs at 1.90 to 1.91.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import JobError, runs, texts
from .texts import TextRun

TOKENIZERS = ("characters", "bpe")
VALIDATION = 0.1  # of the text, its end
WATCHED = 256  # stretches whose loss is measured while it learns; at the end all are
SAMPLE = 240  # tokens of a sample


@dataclass(frozen=True)
class LanguageRecipe:
    """The choices of a run; the defaults are nanoGPT's for a CPU but for the learning rate."""

    tokenizer: str = "characters"
    vocab_size: int = 512  # of bpe
    layers: int = 4
    heads: int = 4
    width: int = 128
    block_size: int = 64
    batch_size: int = 12
    iterations: int = 2000
    check_every: int = 250
    dropout: float = 0.0
    bias: bool = False
    lr: float = 2e-3
    min_lr: float = 1e-4
    warmup: int = 100
    weight_decay: float = 0.1
    beta2: float = 0.99
    clip: float = 1.0
    seed: int = 1337

    def __post_init__(self) -> None:
        texts.one_of("tokenizer", self.tokenizer, TOKENIZERS)
        texts.positive(
            self, "layers", "heads", "width", "block_size", "batch_size", "iterations", "check_every", "lr"
        )
        if self.width % self.heads:
            raise ValueError(f"--width {self.width} is not a multiple of --heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout is from 0 to below 1, got {self.dropout}")

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a share of ``lr``: up a line, then down half a cosine to ``min_lr``."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        share = min(1.0, (step - self.warmup) / max(1, self.iterations - self.warmup))
        low = self.min_lr / self.lr
        return low + 0.5 * (1 + math.cos(math.pi * share)) * (1 - low)


def train(options: Any) -> int:
    """Begins a run, or goes on with one, and returns the exit status."""
    say = runs.sayer(options)
    runs.check_pictures(options.pictures)
    if options.resume is None:
        recipe = texts.chosen(LanguageRecipe, options)
        path, name = _text(options)
        text = texts.opened(_read, path)
        tokenizer = _tokenizer(recipe, text)
        folder = runs.free_folder(options.out, name)
        run = TextRun(
            folder, "language", recipe, {"file": str(Path(path).resolve()), "characters": len(text)}
        )
        run.save()
        tokenizer.save_pretrained(folder)
    else:
        run = texts.read(options.resume, "language", LanguageRecipe)
        text = texts.opened(_read, run.text["file"])
        if len(text) != run.text["characters"]:
            raise JobError(f"{run.folder} was begun with {run.text['characters']:,} characters, but {run.text['file']} has "
                           f"{len(text):,}; restore the text, or begin anew")  # fmt: skip
        tokenizer = _opened_tokenizer(run.folder)
    try:
        found = _whole(run, text, tokenizer, options, say)
    except KeyboardInterrupt:
        return runs.interrupted(run.folder, "train shakespeare", f"of {_epochs(run.recipe)}")
    runs.answer(options, found)
    return 0


def _text(options: Any) -> tuple[Any, str]:
    """The file, and the run's name."""
    from ..data.texts import text_files

    if options.text is not None:
        return options.text, Path(options.text).name.split(".")[0] or "text"
    try:
        return text_files("shakespeare", options.root, not options.no_download)["input.txt"], "shakespeare"
    except (RuntimeError, OSError) as e:
        raise JobError(f"{e}; or train on any text: --text FILE") from None


def _read(path: Any) -> str:
    from ..data.texts import read_text

    return read_text(path)


def _tokenizer(recipe: LanguageRecipe, text: str) -> Any:
    from .. import text as tokenizers

    if recipe.tokenizer == "characters":
        return tokenizers.CharacterTokenizer.train(text)
    try:
        return tokenizers.train_bpe(text[: _split(text)], recipe.vocab_size)
    except ValueError as e:
        raise JobError(f"--vocab-size {recipe.vocab_size}: {e}") from None


def _opened_tokenizer(folder: Any) -> Any:
    from .. import text as tokenizers

    return texts.opened(tokenizers.Tokenizer.from_pretrained, folder)


def _split(text: str) -> int:
    return round(len(text) * (1 - VALIDATION))


def _epochs(recipe: LanguageRecipe) -> int:
    """What is called an epoch here: the steps from one look at the validation text to the next."""
    return -(-recipe.iterations // recipe.check_every)


def _whole(
    run: TextRun, text: str, tokenizer: Any, options: Any, say: Callable[[str], None]
) -> dict[str, Any]:
    """The run to its end, and everything that comes out of it."""
    import minigrad

    from .. import optim
    from ..data import DataLoader, RandomSampler
    from ..data.texts import Windows

    recipe = run.recipe
    at = _split(text)
    train, check = (
        minigrad.tensor(tokenizer.encode(part), dtype=minigrad.int64) for part in (text[:at], text[at:])
    )
    try:
        windows, every = (
            Windows(train, recipe.block_size),
            Windows(check, recipe.block_size, recipe.block_size),
        )
    except ValueError as e:
        raise JobError(f"{run.text['file']}: {e} (--block-size)") from None
    watched = Windows(check, recipe.block_size, recipe.block_size * max(1, len(every) // WATCHED))
    minigrad.manual_seed(recipe.seed)
    model = _model(recipe, tokenizer.vocab_size)
    say(f"{run.text['file']}: {len(text):,} characters, {len(train):,} tokens of {tokenizer.vocab_size} kinds to learn from and "
        f"{len(check):,} to check with; {sum(p.numel() for p in model.parameters()):,} parameters, {recipe.iterations:,} steps of "
        f"{recipe.batch_size} × {recipe.block_size} tokens; into {run.folder}")  # fmt: skip
    optimizer = optim.AdamW(
        texts.decayed(model, recipe.weight_decay), lr=recipe.lr, betas=(0.9, recipe.beta2)
    )
    schedule = optim.lr_scheduler.LambdaLR(optimizer, recipe.rate)
    at_once = recipe.batch_size * min(recipe.check_every, recipe.iterations)
    batches = DataLoader(windows, recipe.batch_size, sampler=RandomSampler(windows, True, at_once))
    history = texts.fit(
        run, model, batches, DataLoader(watched, 64), options, [] if options.quiet else [_samples(tokenizer, say)],
        _epochs(recipe), loss=_loss, optimizer=optimizer, scheduler={"scheduler": schedule, "interval": "step"},
    )  # fmt: skip
    model.eval()
    loss = _mean_loss(model, DataLoader(every, 64))
    model.save_pretrained(run.folder)
    tokens = len(history.history["loss"]) * at_once * recipe.block_size
    seconds = sum(history.seconds)
    results = {
        "validation_loss": loss, "perplexity": math.exp(loss), "bits_per_character": loss / math.log(2) * len(check) / (len(text) - at),
        "seconds": seconds, "tokens_per_second": tokens / seconds,
    }  # fmt: skip
    run._replace(results=results).save()
    files = [run.folder / n for n in (runs.RUN, "config.json", "model.safetensors", runs.HISTORY_CSV)]
    if options.pictures != "none":
        from .. import pictures

        suffix = "" if options.pictures == "auto" else f".{options.pictures}"
        title = f"{run.folder.name}: validation loss {loss:.3f}"
        rates = [recipe.lr * recipe.rate(step) for step in range(recipe.iterations)]
        path = run.folder / f"curves{suffix}"
        files.append(pictures.curves(history, path, title=title, names=("train", "check"), rates=rates))
    say(f"validation loss {loss:.4f} over all {len(check):,} tokens (perplexity {results['perplexity']:.2f}), in {seconds:.0f} s, "
        f"{results['tokens_per_second']:,.0f} tokens/s")  # fmt: skip
    say("wrote " + ", ".join(map(str, files)))
    say(
        f"next: python -m minigrad generate --model {runs.quoted(run.folder)} --prompt {runs.quoted(Path('ROMEO:'))}"
    )
    return {"run": str(run.folder), **results, "history": history.history, "files": [str(f) for f in files]}


def _model(recipe: LanguageRecipe, vocabulary: int) -> Any:
    from ..models import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(
        vocab_size=vocabulary, n_positions=recipe.block_size, n_embd=recipe.width, n_layer=recipe.layers, n_head=recipe.heads,
        activation_function="gelu", resid_pdrop=recipe.dropout, embd_pdrop=recipe.dropout, attn_pdrop=recipe.dropout,
        bias=recipe.bias, bos_token_id=None, eos_token_id=None,
    ))  # fmt: skip


def _loss(out: Any, following: Any) -> Any:
    from ..nn import functional as F

    return F.cross_entropy(out.logits.flatten(0, 1), following.flatten())


def _mean_loss(model: Any, batches: Any) -> float:
    """The mean cross-entropy of a token, in nats."""
    from .. import no_grad

    total, count = 0.0, 0
    with no_grad():
        for tokens, following in batches:
            total += _loss(model(tokens), following).item() * tokens.numel()
            count += tokens.numel()
    return total / count


def _samples(tokenizer: Any, say: Callable[[str], None]) -> Any:
    """A callback that shows after each look at the validation text what the model writes by now."""
    from ..train.callbacks import LambdaCallback

    first = tokenizer.encode("\n")[:1] if "\n" in tokenizer.get_vocab() else [0]

    def show(trainer: Any, model: Any) -> None:
        model.eval()
        ids = model.generate(
            [first], max_new_tokens=SAMPLE, do_sample=True, temperature=0.8, top_k=200, generator=0
        )
        model.train()
        text = tokenizer.decode(ids[0, len(first) :].tolist())
        say("\n".join("    | " + line for line in text.strip().splitlines()))

    return LambdaCallback(on_train_epoch_end=show)


# ---- evaluate --------------------------------------------------------------------------------------------


def evaluate(options: Any) -> int:
    """Prints loss and perplexity of the run's model on its validation text, or on all of another; of int8 weights beside."""
    from .. import models, nn

    say = runs.sayer(options)
    run = texts.read(options.run, "language", LanguageRecipe)
    path = run.text["file"] if options.root is None else options.root
    text = texts.opened(_read, path)
    text = text[_split(text) :] if options.root is None else text
    model, tokenizer = texts.opened(models.from_pretrained, run.folder), _opened_tokenizer(run.folder)
    try:
        ids = tokenizer(text)["input_ids"]
        batches = _stretches(ids, run.recipe.block_size)
    except ValueError as e:
        raise JobError(f"{path}: {e}") from None
    loss = _mean_loss(model, batches)
    found: dict[str, Any] = {
        "file": str(path),
        "tokens": len(ids),
        "loss": loss,
        "perplexity": math.exp(loss),
    }
    say(f"{path}: loss {loss:.4f} over {len(ids):,} tokens, perplexity {found['perplexity']:.3f}")
    if options.int8:
        coarse = _mean_loss(nn.quantize_int8(model), batches)
        found["int8"] = {"loss": coarse, "perplexity": math.exp(coarse), "change": math.expm1(coarse - loss)}
        say(
            f"with int8 weights: loss {coarse:.4f}, perplexity {math.exp(coarse):.3f} ({found['int8']['change']:+.2%})"
        )
    runs.answer(options, {"run": str(run.folder), **found})
    return 0


def _stretches(ids: Any, length: int) -> Any:
    import minigrad

    from ..data import DataLoader
    from ..data.texts import Windows

    return DataLoader(Windows(minigrad.tensor(ids, dtype=minigrad.int64), length, length), 64)


# ---- generate --------------------------------------------------------------------------------------------


def generate(options: Any) -> int:
    """Prints what a model writes after a prompt, as it is made."""
    import sys

    from .. import models

    say = runs.sayer(options)
    prompt = options.prompt
    if prompt == "-":
        prompt = sys.stdin.read()
    if not prompt:
        raise JobError("--prompt is empty; give at least one character")
    quantize = "int8" if options.int8 else None
    model = texts.opened(lambda path: models.from_pretrained(path, quantize=quantize), options.model)
    if not hasattr(model, "generate"):
        raise JobError(
            f"{options.model}: {type(model).__name__} doesn't write text; expected a decoder, such as GPT2LMHeadModel"
        )
    tokenizer = _opened_tokenizer(models.hub.locate(options.model))
    choose = {"max_new_tokens": options.max_new_tokens, "temperature": options.temperature, "top_k": options.top_k,
           "top_p": options.top_p, "min_p": options.min_p, "repetition_penalty": options.repetition_penalty}  # fmt: skip
    began, pieces, tokens = time.perf_counter(), [], 0
    try:
        ids = tokenizer(prompt)["input_ids"]
        if options.beams > 1:
            written = model.generate([ids], num_beams=options.beams, max_new_tokens=options.max_new_tokens,
                                     length_penalty=options.length_penalty)  # fmt: skip
            pieces.append(tokenizer.decode(written[0, len(ids) :].tolist(), skip_special_tokens=True))
            say(prompt + pieces[0])
        else:
            stream = model.stream_text(
                tokenizer,
                prompt,
                stop_strings=options.stop,
                do_sample=not options.greedy,
                generator=options.seed,
                **choose,
            )
            show = not options.quiet
            out = sys.stderr if options.json else sys.stdout
            print(prompt, end="", file=out, flush=True) if show else None
            for piece in stream:
                pieces.append(piece)
                print(piece, end="", file=out, flush=True) if show else None
            print(file=out) if show else None
    except ValueError as e:
        raise JobError(str(e)) from None
    text = "".join(pieces)
    tokens = len(tokenizer(text)["input_ids"]) if text else 0
    runs.answer(
        options, {"prompt": prompt, "text": text, "tokens": tokens, "seconds": time.perf_counter() - began}
    )
    return 0
