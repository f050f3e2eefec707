"""Masked language modelling (Devlin et al., 2018, section 3.1): a small BERT from nothing learns to fill in words of any text.

    python examples/masked_language.py --text book.txt --fill "She opened the [MASK]."

Without ``--text`` it reads the English captions of Multi30k: some seven minutes of a processor, to training losses
of 2.9 to 3.2 (it stays at 5.4 for a while, which word frequencies alone give), where its guesses are still rough. A line of the file is a text.
"""

import argparse
import re
from collections import Counter

import minigrad
from minigrad import models, nn, optim
from minigrad.data.texts import read_text, text_files
from minigrad.text import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer_of(lines: list[str], size: int) -> WordPieceTokenizer:
    """The most frequent words, and the characters, of which the others are made."""
    counts = Counter(word for line in lines for word in re.findall(r"\w+|[^\w\s]", line.lower()))
    letters = sorted({c for word in counts for c in word})
    words = [word for word, _ in counts.most_common(size)]
    vocabulary = dict.fromkeys([*SPECIAL, *letters, *("##" + c for c in letters), *words])
    return WordPieceTokenizer(list(vocabulary), strip_accents=False)


def masked(ids: minigrad.Tensor, tokenizer: WordPieceTokenizer) -> tuple[minigrad.Tensor, minigrad.Tensor]:
    """Tokens (B, T) with some hidden, and what stood there, -100 elsewhere.

    15 % are asked for; of these 80 % become [MASK], 10 % any token, and 10 % stay, so that the model has to have an
    opinion of every word that it sees.
    """
    fixed = minigrad.isin(ids, minigrad.tensor([tokenizer.convert_tokens_to_ids(t) for t in SPECIAL]))
    asked = (minigrad.rand(ids.shape) < 0.15) & ~fixed
    fate = minigrad.rand(ids.shape)
    hidden = ids.masked_fill(asked & (fate < 0.8), tokenizer.mask_token_id)
    any_token = minigrad.randint(len(SPECIAL), tokenizer.vocab_size, ids.shape)
    return minigrad.where(asked & (fate >= 0.9), any_token, hidden), ids.masked_fill(~asked, -100)


def fill(model, tokenizer, sentence: str, best: int = 5) -> list[list[tuple[str, float]]]:
    """For each [MASK] of a sentence the likeliest tokens and their probabilities."""
    batch = tokenizer([sentence], return_tensors="mg")
    with minigrad.no_grad():
        shares = model.eval()(batch["input_ids"], batch["attention_mask"]).logits[0].softmax(-1)
    blanks = [i for i, id in enumerate(batch["input_ids"][0].tolist()) if id == tokenizer.mask_token_id]
    if not blanks:
        raise ValueError(f"fill: expected a sentence with [MASK] in it, got {sentence!r}")
    found = [shares[i].topk(best) for i in blanks]
    return [list(zip(tokenizer.convert_ids_to_tokens(ids), p.tolist(), strict=True)) for p, ids in found]


def main(arguments: list[str] | None = None) -> list[list[tuple[str, float]]]:
    """Returns what it fills in."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", help="a text file, UTF-8")
    parser.add_argument("--fill", default="a man is riding a [MASK] in the street.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=2e-3)
    options = parser.parse_args(arguments)
    minigrad.manual_seed(0)
    path = options.text or text_files("multi30k")["train.en.gz"]
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    tokenizer = tokenizer_of(lines, 5000)
    model = models.BertForMaskedLM(models.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=options.width, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=4 * options.width, max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.08,
    ))  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, options.steps, pct_start=0.1, cycle_momentum=False
    )

    def loss_of(ids, mask, labels):
        return nn.functional.cross_entropy(model(ids, mask).logits.flatten(0, 1), labels.flatten())

    step_loss = minigrad.compile(loss_of)  # lengths are padded to multiples of 8, so that it has few programs
    for step in range(options.steps):
        chosen = [lines[i] for i in minigrad.randint(0, len(lines), (options.batch,)).tolist()]
        batch = tokenizer(
            chosen, padding=True, truncation=True, max_length=64, pad_to_multiple_of=8, return_tensors="mg"
        )
        ids, labels = masked(batch["input_ids"], tokenizer)
        loss = step_loss(ids, batch["attention_mask"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == options.steps - 1:
            print(f"step {step:4d}  loss {loss.item():.3f}", flush=True)
    found = fill(model, tokenizer, options.fill)
    for words in found:
        print(options.fill, " ".join(f"{word} {share:.0%}" for word, share in words))
    return found


if __name__ == "__main__":
    main()
