"""``python -m minigrad finetune sst2``, or any labelled text: a pretrained encoder learns to tell the labels apart.

The classifier is the model's own, ``BertForSequenceClassification`` of BERT's: a linear layer on tanh(W x₀ + b) of the first
token (Devlin et al., 2018, 4.1). AdamW, the learning rate up a line over the first tenth of the steps, then down one to 0.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import JobError, nearest, runs, texts
from .texts import TextRun

SETS = ("sst2",)
SST2 = {"0": "negative", "1": "positive"}
JOB = "classifier"
WRONG = "mistakes.tsv"
SHOWN = 10  # of the mistakes
AT_ONCE = 64  # texts, where nothing is learnt


@dataclass(frozen=True)
class ClassifierRecipe:
    """The choices of a run."""

    model: str = "all-MiniLM-L6-v2"
    epochs: int = 3
    batch_size: int = 32
    max_length: int = 128
    lr: float = 1e-4
    warmup: float = 0.1  # of the steps
    weight_decay: float = 0.01
    clip: float = 1.0
    test_share: float = 0.1  # of a file that comes without a test part
    seed: int = 0

    def __post_init__(self) -> None:
        texts.positive(self, "epochs", "batch_size", "lr")
        if self.max_length < 3:
            raise ValueError(f"--max-length is at least 3, two of which are marks, got {self.max_length}")
        for name in ("warmup", "test_share"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is from 0 to below 1, got {value}")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step, as a share of ``lr``."""
        rising = round(self.warmup * steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        return max(0.0, (steps - step) / max(1, steps - rising))


class Part(NamedTuple):
    """Texts and the numbers of their classes."""

    texts: list[str]
    labels: list[int]


class Corpus(NamedTuple):
    """What is learnt from, watched while it learns, and tested with."""

    classes: tuple[str, ...]
    train: Part
    check: Part
    test: Part

    @property
    def sizes(self) -> list[int]:
        return [len(part.texts) for part in (self.train, self.check, self.test)]


# ---- the texts -------------------------------------------------------------------------------------------


def corpus_of(where: dict[str, Any], recipe: ClassifierRecipe, download: bool) -> Corpus:
    """The texts of a run: ``where`` names a set and the folder to look in first, or a file and perhaps its test part."""
    from ..data.texts import labelled_lines, text_files

    if where["set"] is not None:
        try:
            files = text_files(where["set"], where["root"], download)
        except (RuntimeError, OSError) as e:
            reason = " ".join([str(e), *getattr(e, "__notes__", [])])
            raise JobError(f"{reason}; or learn from a file of yours: --data FILE") from None
        found = [texts.opened(labelled_lines, files[f"{part}.txt"]) for part in ("train", "dev", "test")]
        return Corpus(
            tuple(SST2.values()),
            *(part_of(rows, list(SST2), files[n]) for rows, n in zip(found, files, strict=True)),
        )
    rows = texts.opened(labelled_lines, where["file"])
    names = _classes(rows, where["file"])
    if where["test"] is not None:
        held = part_of(texts.opened(labelled_lines, where["test"]), names, where["test"])
        return Corpus(tuple(names), part_of(rows, names, where["file"]), held, held)
    rest, test = _split(rows, recipe)
    if not test or not rest:
        raise JobError(f"{where['file']}: {len(rows)} line(s) are too few to put {recipe.test_share:.0%} aside for the test; give "
                       f"more, another --test-share, or a test part: --test FILE")  # fmt: skip
    held = part_of(test, names, where["file"])
    return Corpus(tuple(names), part_of(rest, names, where["file"]), held, held)


def _classes(rows: Sequence[Any], path: Any) -> list[str]:
    """The labels in order, numbers by their size."""
    found = {row.label for row in rows}
    if len(found) < 2:
        raise JobError(
            f"{path}: every line has the label {next(iter(found))!r}; expected at least two labels"
        )
    if len(found) > max(50, len(rows) // 2):
        raise JobError(f"{path}: {len(found)} labels in {len(rows)} lines, {rows[0].label[:40]!r} the first: expected "
                       f"label<TAB>text, or a header 'text<TAB>label'")  # fmt: skip
    numbers = all(label.isdecimal() for label in found)
    return sorted(found, key=int if numbers else None)  # type: ignore[arg-type]


def part_of(rows: Sequence[Any], names: Sequence[str], path: Any) -> Part:
    """Texts with their classes' numbers. JobError naming the line whose label is none of the names."""
    number = {name: k for k, name in enumerate(names)}
    for row in rows:
        if row.label not in number:
            raise JobError(f"{path}: line {row.line}: label {row.label!r} is none of the classes {', '.join(names)}"
                           f"{nearest(row.label, names)}")  # fmt: skip
    return Part([row.text for row in rows], [number[row.label] for row in rows])


def _split(rows: Sequence[Any], recipe: ClassifierRecipe) -> tuple[list[Any], list[Any]]:
    """Lines to learn from and to test with: of each label the same share, drawn with the run's seed."""
    drawn = np.random.default_rng(recipe.seed).permutation(len(rows))
    by_label: dict[str, list[int]] = {}
    for i in drawn.tolist():
        by_label.setdefault(rows[i].label, []).append(i)
    test = {i for members in by_label.values() for i in members[: round(len(members) * recipe.test_share)]}
    return [r for i, r in enumerate(rows) if i not in test], [r for i, r in enumerate(rows) if i in test]


# ---- finetune --------------------------------------------------------------------------------------------


def finetune(options: Any) -> int:
    """Begins a run, or goes on with one, and returns the exit status."""
    say = runs.sayer(options)
    texts.check_threads(options.threads)
    runs.check_pictures(options.pictures)
    run, corpus, model, tokenizer = _resumed(options) if options.resume is not None else _begun(options)
    try:
        found = _whole(run, corpus, model, tokenizer, options, say)
    except KeyboardInterrupt:
        return runs.interrupted(run.folder, "finetune", f"of {run.recipe.epochs}")
    runs.answer(options, found)
    return 0


def _begun(options: Any) -> tuple[TextRun, Corpus, Any, Any]:
    import minigrad

    recipe = texts.chosen(ClassifierRecipe, options)
    where = _where(options)
    corpus = corpus_of(where, recipe, not options.no_download)
    tokenizer = texts.tokenizer_of(recipe.model)
    minigrad.manual_seed(recipe.seed)
    model = _pretrained(recipe, corpus.classes)
    folder = runs.free_folder(options.out, where["set"] or Path(where["file"]).name.split(".")[0] or "text")
    run = TextRun(folder, JOB, recipe, {**where, "sizes": corpus.sizes, "classes": list(corpus.classes)})
    run.save()
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    return run, corpus, model, tokenizer


def _where(options: Any) -> dict[str, Any]:
    """Where the texts are, as ``run.json`` keeps it."""
    if options.set is None and options.data is None:
        raise JobError(f"name a set, one of {', '.join(SETS)}, or a file of labelled text: --data FILE")
    if options.set is not None and options.set not in SETS:
        raise JobError(f"unknown set {options.set!r}: expected one of {', '.join(SETS)}{nearest(options.set, SETS)}; a file of "
                       f"yours is named with --data")  # fmt: skip
    path = None if options.data is None else os.path.abspath(options.data)
    if options.set is not None:
        if path is not None and not os.path.isdir(path):
            raise JobError(f"--data {options.data}: expected the folder to look for {options.set} in; leave out {options.set} for "
                           f"a file of yours")  # fmt: skip
        if options.test is not None:
            raise JobError(f"--test: {options.set} has a test part; leave it out")
        return {"set": options.set, "root": path, "file": None, "test": None}
    if path is not None and os.path.isdir(path):
        raise JobError(f"--data {options.data}: expected a file of labelled text, got a folder")
    return {
        "set": None, "root": None, "file": path, "test": None if options.test is None else os.path.abspath(options.test),
    }  # fmt: skip


def _pretrained(recipe: ClassifierRecipe, classes: Sequence[str]) -> Any:
    """The pretrained encoder with a classifier that knows nothing yet."""
    from ..models import hub

    folder = texts.opened(hub.locate, recipe.model)
    kind, config = _kind(folder, recipe.model)
    config.num_labels, config.problem_type = len(classes), "single_label_classification"
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: k for k, name in enumerate(classes)}
    with warnings.catch_warnings():  # that the classifier isn't in the file is the point
        warnings.simplefilter("ignore")
        return texts.opened(
            lambda p: kind.from_pretrained(p, config=config, ignore_mismatched_sizes=True), folder
        )


def _kind(folder: Path, name: Any) -> tuple[Any, Any]:
    """The class that classifies texts with what is in a folder, and the configuration."""
    from ..models import configuration

    config = texts.opened(configuration.read_config, folder)
    wanted = type(config).__name__.removesuffix("Config") + "ForSequenceClassification"
    known = [
        n for names in configuration.CLASSES.values() for n in names if n.endswith("SequenceClassification")
    ]
    if wanted not in known:
        raise JobError(
            f"{name}: a {config.model_type} doesn't classify texts here; expected a model for one of {', '.join(known)}"
        )
    return configuration.class_named(wanted), config


def _resumed(options: Any) -> tuple[TextRun, Corpus, Any, Any]:
    import minigrad

    given = ["set", "data", "test", "out", *ClassifierRecipe.__dataclass_fields__]
    if changed := [n for n in given if getattr(options, n, None) is not None]:
        name = "the SET" if changed[0] == "set" else f"--{changed[0].replace('_', '-')}"
        raise JobError(
            f"--resume goes on with the run's own text, recipe and folder; leave out {name}, or begin anew"
        )
    run = texts.read(options.resume, JOB, ClassifierRecipe)
    corpus = _corpus(run, not options.no_download)
    if corpus.sizes != run.text["sizes"]:
        raise JobError(f"{run.folder} was begun with {_counted(run.text['sizes'])} texts, but there are "
                       f"{_counted(corpus.sizes)}; restore them, or begin anew")  # fmt: skip
    tokenizer = texts.tokenizer_of(run.folder)
    minigrad.manual_seed(run.recipe.seed)
    if run.checkpoint.exists():  # which has all parameters
        kind, config = _kind(run.folder, run.folder)
        model = kind(config)
    else:
        model = _pretrained(run.recipe, corpus.classes)
    return run, corpus, model, tokenizer


def _corpus(run: TextRun, download: bool) -> Corpus:
    try:
        corpus = corpus_of(run.text, run.recipe, download)
    except KeyError as e:
        raise JobError(f"{run.folder / runs.RUN}: not the description of a run (no {e})") from None
    if list(corpus.classes) != run.text["classes"]:
        raise JobError(f"{run.folder} knows the classes {', '.join(run.text['classes'])}, but its text has "
                       f"{', '.join(corpus.classes)} now; restore it, or begin anew")  # fmt: skip
    return corpus


def _counted(sizes: Sequence[int]) -> str:
    return " + ".join(f"{n:,}" for n in sizes)


def rows_of(tokenizer: Any, found: Sequence[str], longest: int) -> list[list[int]]:
    """Token ids of each text, cut to so many."""
    return tokenizer(list(found), truncation=True, max_length=longest)["input_ids"]  # type: ignore[no-any-return]


def _whole(
    run: TextRun, corpus: Corpus, model: Any, tokenizer: Any, options: Any, say: Callable[[str], None]
) -> dict[str, Any]:
    """The run to its end, and everything that comes out of it."""
    from .. import optim
    from ..data import DataLoader
    from ..data.texts import LengthBatches, TokenRows

    recipe = run.recipe
    longest = _longest(model, recipe)
    padding = model.config.pad_token_id or 0
    train, check = (
        TokenRows(rows_of(tokenizer, part.texts, longest), part.labels, padding)
        for part in (corpus.train, corpus.check)
    )
    batches = DataLoader(train, batch_sampler=LengthBatches(train.lengths, recipe.batch_size, shuffle=True))
    watched = DataLoader(check, batch_sampler=LengthBatches(check.lengths, AT_ONCE))
    steps = len(batches) * recipe.epochs
    cut = sum(len(row) == longest for row in train.rows)
    said = f" ({cut:,} of {longest} tokens, the longest that are taken)" if cut else ""
    watch = "the test texts" if corpus.check is corpus.test else f"{len(check):,} others"
    say(f"{run.text['set'] or run.text['file']}: {len(train):,} texts to learn from{said}, {len(corpus.test.texts):,} to test with; "
        f"classes {', '.join(corpus.classes)}")  # fmt: skip
    say(f"{type(model).__name__} from {recipe.model}, {sum(p.numel() for p in model.parameters()):,} parameters; {steps:,} steps of "
        f"{recipe.batch_size} texts; into {run.folder} (val_: on {watch})")  # fmt: skip
    optimizer = optim.AdamW(texts.decayed(model, recipe.weight_decay), lr=recipe.lr)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(step, steps))
    history = texts.fit(
        run, model, batches, watched, options, [], recipe.epochs, loss=_loss, optimizer=optimizer,
        scheduler={"scheduler": schedule, "interval": "step"}, metrics={"accuracy": _accuracy(len(corpus.classes))},
    )  # fmt: skip
    model.eval()
    model.save_pretrained(run.folder)
    measured = measure(model, tokenizer, corpus.test, longest, options)
    seconds = sum(history.seconds)
    rate = len(train) * len(history.seconds) / seconds
    results = {
        "seconds": seconds,
        "steps": steps,
        "texts_per_second": rate,
        "test": scores(corpus.classes, measured),
    }
    run._replace(results=results).save()
    wrong = mistakes(corpus, measured)
    _write_mistakes(run.folder / WRONG, wrong)
    say(report(results["test"], wrong))
    say(f"{headline(run, results['test'])}, in {seconds:.0f} s, {rate:,.0f} texts/s")
    files = [run.folder / n for n in (runs.RUN, "config.json", "model.safetensors", runs.HISTORY_CSV, WRONG)]
    if options.pictures != "none":
        files += _drawn(run, corpus, model, tokenizer, results["test"], wrong, history, options.pictures)
    say("wrote " + ", ".join(map(str, files)))
    say(f'next: python -m minigrad predict {runs.quoted(run.folder)} "a text of yours"')
    return {
        "run": str(run.folder),
        **results,
        "mistakes": wrong[:SHOWN],
        "history": history.history,
        "files": [str(f) for f in files],
    }


def _longest(model: Any, recipe: ClassifierRecipe) -> int:
    """How many tokens of a text are taken: all that were asked for and the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", recipe.max_length)
    if model.config.model_type == "roberta":  # whose first position is the one after the padding's
        positions -= (model.config.pad_token_id or 0) + 1
    return int(min(recipe.max_length, positions))


def _loss(out: Any, labels: Any) -> Any:
    from ..nn import functional as F

    return F.cross_entropy(out.logits, labels)


def _accuracy(classes: int) -> Any:
    from ..train.metrics import Accuracy

    class OfLogits(Accuracy):
        def update(self, preds: Any, target: Any) -> None:
            super().update(preds.logits, target)

    return OfLogits(task="multiclass", num_classes=classes)


def probabilities(model: Any, tokenizer: Any, found: Sequence[str], longest: int, options: Any) -> np.ndarray:
    """(N, C) probabilities of the classes of texts; batches are of similar length."""
    import minigrad

    from ..data.texts import LengthBatches, TokenRows
    from .threads import chosen, threads

    rows = TokenRows(rows_of(tokenizer, found, longest), [0] * len(found), model.config.pad_token_id or 0)
    shares = np.zeros((len(found), model.config.num_labels), np.float32)
    with minigrad.no_grad(), threads(chosen(getattr(options, "threads", None), 1 << 30)):
        for members in LengthBatches(rows.lengths, AT_ONCE):
            ids, mask, _ = rows.collated(members)
            shares[members] = minigrad.softmax(model(ids, mask).logits, dim=1).numpy()
    return shares


def measure(model: Any, tokenizer: Any, part: Part, longest: int, options: Any) -> runs.Measured:
    """What a model says of texts whose labels are known."""
    with runs.whole_kernels():
        shares = probabilities(model, tokenizer, part.texts, longest, options)
    truth, rows = np.array(part.labels, np.int64), np.arange(len(part.labels))
    predicted = shares.argmax(axis=1)
    with np.errstate(divide="ignore"):
        loss = float(-np.log(shares[rows, truth].astype(np.float64)).mean())
    positive = shares[:, 1] if shares.shape[1] == 2 else None
    return runs.Measured(truth, predicted, shares[rows, predicted], loss, positive)


def scores(classes: Sequence[str], measured: runs.Measured) -> dict[str, Any]:
    """Accuracy, the classes' mean F1, loss, the confusion matrix, and the figures by class."""
    found = runs.scores(classes, measured, "texts")
    return {**found, "f1": float(np.mean([c["f1"] for c in found["classes"]]))}


def mistakes(corpus: Corpus, measured: runs.Measured, part: Part | None = None) -> list[dict[str, Any]]:
    """The texts that it got wrong, those first of which it was surest."""
    part = corpus.test if part is None else part
    wrong = np.flatnonzero(measured.truth != measured.predicted)
    order = wrong[np.argsort(-measured.probability[wrong], kind="stable")]
    return [
        {"text": part.texts[i], "truth": corpus.classes[measured.truth[i]], "said": corpus.classes[measured.predicted[i]],
         "probability": float(measured.probability[i])}
        for i in order
    ]  # fmt: skip


def _write_mistakes(path: Path, wrong: list[dict[str, Any]]) -> None:
    from ..io import atomic_write

    with atomic_write(path, "w") as f:
        f.write("probability\tsaid\ttruth\ttext\n")
        f.writelines(f"{w['probability']:.4f}\t{w['said']}\t{w['truth']}\t{w['text']}\n" for w in wrong)


def headline(run: TextRun, found: dict[str, Any]) -> str:
    name = run.text["set"] or Path(run.text["file"]).name
    return f"{name}: {found['right']:,} of {found['texts']:,} test texts right ({found['accuracy']:.2%}), F1 {found['f1']:.4f}"


def short(run: TextRun, found: dict[str, Any]) -> str:
    """A title for a narrow picture."""
    return f"{run.folder.name}: {found['accuracy']:.2%} right"


def report(found: dict[str, Any], wrong: list[dict[str, Any]]) -> str:
    """The figures by class, the confusion matrix and the worst mistakes, as text."""
    names = [c["name"] for c in found["classes"]]
    width = max(map(len, ("truth, said", *names)))
    cell = max(6, *map(len, names))
    lines = [
        runs.table(found, "texts"),
        "",
        f"{'truth, said':{width}}  " + "  ".join(f"{n:>{cell}}" for n in names),
    ]
    lines += [
        f"{n:{width}}  " + "  ".join(f"{count:>{cell},}" for count in row)
        for n, row in zip(names, found["confusion"], strict=True)
    ]
    if wrong:
        lines += ["", f"most wrong, of {len(wrong):,}:"]
        lines += [
            f"  {w['probability']:.1%} {w['said']}, but {w['truth']}: {_cut(w['text'])}"
            for w in wrong[:SHOWN]
        ]
    return "\n".join(lines)


def _cut(words: str, most: int = 100) -> str:
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def _drawn(
    run: TextRun, corpus: Corpus, model: Any, tokenizer: Any, found: dict[str, Any], wrong: list[dict[str, Any]], history: Any, kind: str
) -> list[Path]:  # fmt: skip
    """The curves, the confusion matrix, and where the heads look in the worst mistake (or the first text)."""
    from .. import pictures

    suffix = "" if kind == "auto" else f".{kind}"
    title = headline(run, found)
    second = "test" if corpus.check is corpus.test else "validation"
    steps = -(-len(corpus.train.texts) // run.recipe.batch_size) * run.recipe.epochs
    rates = [run.recipe.lr * run.recipe.rate(step, steps) for step in range(steps)]
    text = next((w["text"] for w in wrong if len(w["text"]) < 100), corpus.test.texts[0])
    return [
        pictures.curves(
            history, run.folder / f"curves{suffix}", title=title, names=("train", second), rates=rates
        ),
        pictures.confusion(
            found["confusion"], corpus.classes, run.folder / f"confusion{suffix}", title=short(run, found)
        ),
        draw_attention(
            model, tokenizer, text, _longest(model, run.recipe), run.folder / f"attention{suffix}"
        ),
    ]


def draw_attention(model: Any, tokenizer: Any, text: str, longest: int, path: Any) -> Path:
    """Where each head of each layer looks in a text."""
    import minigrad

    from .. import pictures

    ids = rows_of(tokenizer, [text], longest)
    with minigrad.no_grad():
        seen = model(np.array(ids, np.int64), output_attentions=True).attentions
    return pictures.attention([w[0] for w in seen], tokenizer.convert_ids_to_tokens(ids[0]), path, title=text)


# ---- evaluate and predict --------------------------------------------------------------------------------


def trained(run: TextRun) -> tuple[Any, Any]:
    """The run's model and its tokenizer."""
    if not (run.folder / "model.safetensors").exists():
        raise JobError(f"{run.folder / 'model.safetensors'}: no such file; the run isn't over: go on with it by "
                       f"finetune --resume {runs.quoted(run.folder)}")  # fmt: skip
    kind, _ = _kind(run.folder, run.folder)
    return texts.opened(kind.from_pretrained, run.folder), texts.tokenizer_of(run.folder)


def evaluate(options: Any) -> int:
    """Measures the run's model on its test part, or on a file of labelled text."""
    from ..data.texts import labelled_lines

    say = runs.sayer(options)
    runs.check_pictures(options.pictures)
    run = texts.read(options.run, JOB, ClassifierRecipe)
    model, tokenizer = trained(run)
    classes = tuple(run.text["classes"])
    if options.root is not None and not os.path.isdir(options.root):
        names = list(SST2) if run.text["set"] == "sst2" else classes
        rows = texts.opened(labelled_lines, options.root)
        if run.text["set"] == "sst2" and all(row.label in classes for row in rows):
            names = classes  # by name instead of by number
        part = part_of(rows, names, options.root)
        corpus = Corpus(classes, part, part, part)
    else:
        if options.root is not None:
            run = run._replace(text={**run.text, "root": os.path.abspath(options.root)})
        corpus = _corpus(run, not options.no_download)
    measured = measure(model, tokenizer, corpus.test, _longest(model, run.recipe), options)
    found, wrong = scores(classes, measured), mistakes(corpus, measured)
    say(report(found, wrong))
    say(f"{headline(run, found)}, loss {found['loss']:.4f}")
    files = []
    if options.pictures != "none":
        from .. import pictures

        suffix = "" if options.pictures == "auto" else f".{options.pictures}"
        files = [
            pictures.confusion(
                found["confusion"], classes, run.folder / f"confusion{suffix}", title=short(run, found)
            )
        ]
        say(f"wrote {files[0]}")
    runs.answer(
        options, {"run": str(run.folder), **found, "mistakes": wrong, "files": [str(f) for f in files]}
    )
    return 0


def predict(options: Any) -> int:
    """Prints the most probable class of each text, or the ``--top`` ones."""
    say = runs.sayer(options)
    if options.invert or options.sheet:
        raise JobError(
            f"--{'invert' if options.invert else 'sheet'} is for images; {options.run} classifies texts"
        )
    run = texts.read(options.run, JOB, ClassifierRecipe)
    classes = run.text["classes"]
    top = 1 if options.top is None else options.top
    if not 1 <= top <= len(classes):
        raise JobError(f"--top is 1 to {len(classes)}, the number of classes, got {top}")
    given = texts.given(options.files, options.file)
    model, tokenizer = trained(run)
    longest = _longest(model, run.recipe)
    shares = probabilities(model, tokenizer, given, longest, options)
    found = []
    for text, row in zip(given, shares, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        say("  ".join(f"{classes[k]} {row[k]:.1%}" for k in best) + f"  {text}")
        found.append(
            {"text": text, "classes": [{"name": classes[k], "probability": float(row[k])} for k in best]}
        )
    files = []
    if options.attention:
        try:
            files = [str(draw_attention(model, tokenizer, given[0], longest, options.attention))]
        except (ValueError, ImportError) as e:
            raise JobError(f"--attention {e}") from None
        say(f"wrote {files[0]}")
    runs.answer(options, {"run": str(run.folder), "predictions": found, "files": files})
    return 0
