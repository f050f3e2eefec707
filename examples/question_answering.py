"""A question answered from a paragraph: BERT with a head that says where the answer begins and ends (Devlin et al., 2018, 4.2).

    python examples/question_answering.py --paragraph "Tom was born in 1970. Tom lives in Oslo." --question "Where does Tom live?"

It learns from facts that are made up here, four kinds of them: enough to show how a head is trained, and no more than that; for
questions of any kind a set as SQuAD is needed. It begins with the weights of all-MiniLM-L6-v2 where those are found, else from nothing.
"""

import argparse
import random
import warnings

import minigrad
from minigrad import models, optim, text

PEOPLE = [
    "Ada", "Tom", "Mia", "Leo", "Eva", "Max", "Zoe", "Ben", "Ida", "Sam", "Amy", "Jon", "Lea", "Tim", "Una",
    "Rob", "Anna", "Paul", "Clara", "Peter", "Laura", "Simon", "Helen", "James", "Sarah", "David", "Maria",
    "Frank", "Julia", "Oscar", "Alice", "Henry", "Nora", "Lucas", "Emma", "Felix", "Grace", "Hugo", "Ruth",
    "Karl",
]  # fmt: skip
FACTS = {  # what is told, what is asked, what may be the answer
    ("{} lives in {}.", "Where does {} live?"): ["Rome", "Oslo", "Paris", "Cairo", "Lima", "Tokyo", "Delhi", "Berlin"],
    (
        "{} works as a {}.",
        "Which job does {} have?",
    ): ["baker", "pilot", "nurse", "farmer", "singer", "teacher", "lawyer", "painter"],
    ("{} was born in {}.", "When was {} born?"): [str(year) for year in range(1950, 1990, 5)],
    ("{} likes {}.", "Which food does {} like?"): ["cheese", "rice", "soup", "honey", "bread", "apples", "pasta", "fish"],
}  # fmt: skip
Example = tuple[str, str, int, str]  # question, paragraph, where in it the answer begins, answer


def made(draw: random.Random, people: list[str]) -> Example:
    """Four facts about somebody in any order, and a question about one of them."""
    name, kinds = draw.choice(people), draw.sample(list(FACTS), 4)
    told = [(kind, draw.choice(FACTS[kind])) for kind in kinds]
    (says, asks), answer = draw.choice(told)
    paragraph = " ".join(kind[0].format(name, a) for kind, a in told)
    start = paragraph.index(says.format(name, answer)) + says.format(name, answer).rindex(answer)
    return asks.format(name), paragraph, start, answer


def batch_of(tokenizer, examples: list[Example], length: int = 48) -> tuple[minigrad.Tensor, ...]:
    """Tokens of question and paragraph, their mask and kinds, (B, T); the answer's first and last token, (B,)."""
    found = tokenizer(
        [e[0] for e in examples], [e[1] for e in examples], padding="max_length", truncation=True, max_length=length,
        return_offsets_mapping=True,
    )  # fmt: skip
    spans = []
    for (_, _, start, answer), offsets, kinds in zip(
        examples, found["offset_mapping"], found["token_type_ids"], strict=True
    ):
        inside = [i for i, (a, b) in enumerate(offsets) if kinds[i] and start <= a < b <= start + len(answer)]
        spans.append((inside[0], inside[-1]) if inside else (length, length))  # cut off: it doesn't count
    columns = (
        found["input_ids"],
        found["attention_mask"],
        found["token_type_ids"],
        *zip(*spans, strict=True),
    )
    return tuple(minigrad.tensor(list(column)) for column in columns)


def answer(model, tokenizer, question: str, paragraph: str, longest: int = 8) -> tuple[str, float]:
    """The span of largest start + end logit, and its share among all spans that start at its first token or end at its last."""
    found = tokenizer([question], [paragraph], truncation=True, max_length=256, return_offsets_mapping=True)
    ids, mask, kinds = (minigrad.tensor(found[n]) for n in ("input_ids", "attention_mask", "token_type_ids"))
    with minigrad.no_grad():
        out = model.eval()(ids, mask, kinds)
    offsets = found["offset_mapping"][0]
    there = [i for i, (a, b) in enumerate(offsets) if found["token_type_ids"][0][i] and a < b]
    starts, ends = (logits[0][there].softmax(-1).tolist() for logits in (out.start_logits, out.end_logits))
    spans = [(i, j) for i in range(len(there)) for j in range(i, min(i + longest, len(there)))]
    first, last = max(spans, key=lambda span: starts[span[0]] * ends[span[1]])
    words = paragraph[offsets[there[first]][0] : offsets[there[last]][1]]
    return words, starts[first] * ends[last]


def begun(quick: bool):
    """A model and its tokenizer: MiniLM's with a new head, or both from nothing."""
    if not quick:
        try:
            name = "all-MiniLM-L6-v2"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the head is new and the pooler isn't used
                model = models.BertForQuestionAnswering.from_pretrained(name, local_files_only=True)
            return model, text.Tokenizer.from_pretrained(models.hub.locate(name, local_files_only=True)), 2e-4
        except FileNotFoundError as e:
            print(f"from nothing, as {e}")
    said = " ".join([*PEOPLE, *(" ".join([*both, *answers]) for both, answers in FACTS.items())]).lower()
    words = said.translate(str.maketrans(".?{}", "    ")).split()
    letters = sorted({c for word in words for c in word})
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        ".",
        "?",
        *letters,
        *("##" + c for c in letters),
        *words,
    ]
    tokenizer = text.WordPieceTokenizer(list(dict.fromkeys(vocabulary)))
    config = models.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=256, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.1,
    )  # fmt: skip
    return models.BertForQuestionAnswering(config), tokenizer, 2e-3


def main(arguments: list[str] | None = None) -> float:
    """Returns the share of questions answered right, of paragraphs about people it hasn't met where the weights are MiniLM's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--paragraph", default="Tom was born in 1970. Tom lives in Oslo. Tom works as a baker."
    )
    parser.add_argument("--question", default="Where does Tom live?")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--quick", action="store_true", help="from nothing, in seconds")
    options = parser.parse_args(arguments)
    minigrad.manual_seed(0)
    draw = random.Random(0)
    model, tokenizer, lr = begun(options.quick)
    pretrained = model.config.hidden_size == 384
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, lr, options.steps, pct_start=0.1, cycle_momentum=False
    )
    loss_of = minigrad.compile(
        lambda ids, mask, kinds, first, last: (
            model(ids, mask, kinds, start_positions=first, end_positions=last).loss
        )
    )
    for step in range(options.steps):
        loss = loss_of(*batch_of(tokenizer, [made(draw, PEOPLE[:30]) for _ in range(16)]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == options.steps - 1:
            print(f"step {step:3d}  loss {loss.item():.4f}", flush=True)
    people = PEOPLE[30:] if pretrained else PEOPLE[:30]
    asked = [made(draw, people) for _ in range(100)]
    right = sum(answer(model, tokenizer, e[0], e[1])[0] == e[3] for e in asked) / len(asked)
    print(f"{right:.0%} of {len(asked)} new paragraphs right")
    words, share = answer(model, tokenizer, options.question, options.paragraph)
    print(f"{options.paragraph}\n{options.question} {words} ({share:.0%})")
    return right


if __name__ == "__main__":
    main()
