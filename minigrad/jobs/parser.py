"""The commands, their options and their help. Only argparse is imported here: a wrong option costs no import.

Unknown commands, options and names are refused with the nearest that there is. Exit statuses: 0 done, 1 the job
can't go on, 2 wrong usage, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from . import nearest
from .recipe import OPTIMIZERS, PLAIN, SCHEDULES, TASKS, Recipe

SETS = (
    "fashion-mnist",
    "mnist",
    "digits",
)  # as in minigrad.data.SETS, which a test compares: that would import it
PICTURES = ("auto", "png", "svg", "none")
COMMANDS = {
    "train": "train an image classifier, draw what came out, keep a checkpoint",
    "evaluate": "measure a trained run on its test images or texts",
    "predict": "say what images show, or of which class texts are",
    "finetune": "teach a pretrained encoder to classify texts, SST-2's or your own",
    "embed": "turn texts into vectors, and show which are alike",
    "generate": "write text after a prompt, with a model that can",
    "summary": "show a network layer by layer",
    "warmup": "compile the kernels for this machine ahead of their first use",
    "bench": "time ops and whole workloads beside torch and the roof",
    "info": "show versions, array backends, kernels, threads and where data is found",
}


class Parser(argparse.ArgumentParser):
    """argparse, with errors that name the nearest thing there is."""

    def __init__(self, **kwargs: Any) -> None:
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"allow_abbrev": False, "formatter_class": kind, **kwargs})

    def error(self, message: str) -> NoReturn:
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            known = re.findall(r"[\w-]+", found[2])
            start = message[: found.start()]
            message = f"{start}unknown name {found[1]!r}: expected one of {', '.join(known)}{nearest(found[1], known)}"
        self.exit(2, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")

    def options(self) -> list[str]:
        return [o for a in self._actions for o in a.option_strings]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Exits with status 2, saying what is wrong, when they can't be."""
    parser, commands = build()
    if argv[:1] == ["train"] and (
        argv[1:2] == ["shakespeare"] or any(a.split("=")[0] == "--text" for a in argv)
    ):
        argv = [LANGUAGE, *(argv[2:] if argv[1:2] == ["shakespeare"] else argv[1:])]
    known = [*COMMANDS, LANGUAGE, *parser.options()]
    if argv and argv[0] not in known:
        if argv[0].startswith("-"):
            parser.error(f"unknown option {argv[0]!r}{nearest(argv[0], parser.options())}")
        parser.error(
            f"unknown command {argv[0]!r}: expected one of {', '.join(COMMANDS)}{nearest(argv[0], COMMANDS)}"
        )
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        used = commands[found.command]
        words = next((u for u in unknown if u.startswith("-")), unknown[0]).split("=")[0]
        kind = "option" if words.startswith("-") else "argument"
        used.error(f"unknown {kind} {words!r}{nearest(words, used.options())}")
    return found


def build() -> tuple[Parser, dict[str, Parser]]:
    """The parser of everything, and those of the commands by name."""
    parser = Parser(
        prog="python -m minigrad",
        description="A deep-learning framework on NumPy: train an image classifier and look at what came out.",
        epilog="Each command has its own --help. The shortest way in: python -m minigrad train\n\n"
        "exit status: 0 done, 1 the job can't go on (one sentence says why), 2 wrong usage, 130 interrupted",
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    made: dict[str, Parser] = {}
    for name, about in COMMANDS.items():
        made[name] = sub.add_parser(
            name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EPILOGS.get(name),
            usage=f"python -m minigrad {name} {USAGE[name]}",
        )  # fmt: skip
    made[LANGUAGE] = sub.add_parser(
        LANGUAGE, description="Train a GPT from nothing on Shakespeare, or on any text, and see what it writes.",
        usage=f"python -m minigrad {LANGUAGE} [option ...]", epilog=EPILOGS[LANGUAGE],
    )  # fmt: skip
    _train(made["train"])
    _language(made[LANGUAGE])
    _generate(made["generate"])
    _finetune(made["finetune"])
    _embed(made["embed"])
    _evaluate(made["evaluate"])
    _predict(made["predict"])
    _summary(made["summary"])
    _output(made["warmup"])
    made["warmup"].add_argument("ops", nargs="*", metavar="OP", help="only the kernels of these ops")
    _bench(made["bench"])
    _output(made["info"])
    made["info"].add_argument("--data", dest="root", metavar="FOLDER", help="also look for sets here")
    return parser, made


LANGUAGE = "train shakespeare"  # a command of its own, though it reads as an option of train
USAGE = {
    "train": "[SET] [option ...]",
    "evaluate": "RUN [option ...]",
    "predict": "RUN FILE|TEXT ... [option ...]",
    "finetune": "[SET] [option ...]",
    "embed": "TEXT ... [option ...]",
    "generate": "--prompt TEXT [option ...]",
    "summary": "[RUN|SET] [option ...]",
    "warmup": "[OP ...] [option ...]",
    "bench": "[NAME ...] [option ...]",
    "info": "[option ...]",
}
EPILOGS = {
    "train": "examples:\n"
    "  python -m minigrad train                              the default, on the best set there is\n"
    "  python -m minigrad train fashion-mnist --plain        the bare recipe\n"
    "  python -m minigrad train digits --hidden 64 32 --optimizer sgd --lr 0.1\n"
    "  python -m minigrad train --task binary --positive Trouser\n"
    "  python -m minigrad train --resume runs/fashion-mnist  go on where a run was cut\n"
    "  python -m minigrad train shakespeare --help           a GPT, on text",
    LANGUAGE: "examples:\n"
    "  python -m minigrad train shakespeare                  nanoGPT's recipe for a CPU\n"
    "  python -m minigrad train --text book.txt --tokenizer bpe --vocab-size 1000\n"
    "  python -m minigrad train shakespeare --resume runs/shakespeare",
    "generate": "examples:\n"
    "  python -m minigrad generate --prompt ROMEO:\n"
    "  python -m minigrad generate --model runs/book --prompt 'Once upon' --temperature 0.7 --seed 1",
    "evaluate": "examples:\n"
    "  python -m minigrad evaluate runs/fashion-mnist --json\n"
    "  python -m minigrad evaluate runs/sst2 --data more.tsv",
    "predict": "examples:\n"
    "  python -m minigrad predict runs/fashion-mnist shirt.png more.npy --sheet seen.svg\n"
    "  python -m minigrad predict runs/sst2 'a charming film' --attention seen.svg",
    "finetune": "examples:\n"
    "  python -m minigrad finetune sst2                      sentences of film reviews\n"
    "  python -m minigrad finetune --data mine.tsv           lines of label<TAB>text\n"
    "  python -m minigrad finetune --resume runs/sst2        go on where a run was cut",
    "embed": "examples:\n"
    "  python -m minigrad embed 'The weather is lovely today.' 'It is so sunny outside!'\n"
    "  python -m minigrad embed --file lines.txt --out vectors.npy --pictures svg",
    "summary": "examples:\n"
    "  python -m minigrad summary                            the default network\n"
    "  python -m minigrad summary digits --hidden 64 32\n"
    "  python -m minigrad summary runs/fashion-mnist",
    "bench": "examples:\n"
    "  python -m minigrad bench --quick classifier           the training step, a few rounds\n"
    "  python -m minigrad bench attention --threads 1 2      with one thread and with two\n"
    "  python -m minigrad bench --rows exp softmax           rows of the op table\n"
    "  python -m minigrad bench --out new.json --html new.html --compare old.json\n\n"
    "It fails (status 1) when a side's numbers are wrong or its time is impossible.",
}


def _train(p: Parser) -> None:
    default = Recipe()
    p.add_argument(
        "data", nargs="?", metavar="SET",
        help=f"{', '.join(SETS)}; without it fashion-mnist where it can be had, else digits, which come along",
    )  # fmt: skip
    g = p.add_argument_group("data")
    g.add_argument(
        "--data", dest="root", metavar="FOLDER", help="look for the set here first (also: MINIGRAD_DATA)"
    )
    g.add_argument("--no-download", action="store_true", help="never fetch a set from the network")
    g.add_argument("--limit", type=int, metavar="N", help="train on the first N images only")
    g = p.add_argument_group("task")
    g.add_argument(
        "--task",
        choices=TASKS,
        metavar="TASK",
        help=f"{' or '.join(TASKS)}: all classes, or one against the rest (default: {default.task})",
    )
    g.add_argument(
        "--positive", metavar="CLASS", help="the one of --task binary, name or number (default: 0)"
    )
    g = p.add_argument_group("network")
    _hidden(g)
    g = p.add_argument_group("recipe")
    g.add_argument("--plain", action="store_true", help=(
        f"the bare recipe: Adam at {PLAIN['lr']:g}, constant, pixels in 0 to 1, no smoothing; other options still "
        f"change it"))  # fmt: skip
    g.add_argument(
        "--epochs", type=int, metavar="N", help=f"passes over the images (default: {default.epochs})"
    )
    g.add_argument(
        "--batch-size", type=int, metavar="N", help=f"images a step (default: {default.batch_size})"
    )
    g.add_argument("--optimizer", choices=tuple(OPTIMIZERS), metavar="NAME", help=(
        f"{', '.join(OPTIMIZERS)} (default: {default.optimizer})"))  # fmt: skip
    rates = ", ".join(f"{k} {v[1]:g}" for k, v in OPTIMIZERS.items())
    g.add_argument("--lr", type=float, metavar="X", help=f"learning rate at the start (default: {rates})")
    g.add_argument("--schedule", choices=SCHEDULES, metavar="NAME", help=(
        f"{', '.join(SCHEDULES)}: how the learning rate falls, step by step (default: {default.schedule}); to 0 along "
        f"a cosine or a line, to a tenth after each third, to a hundredth exponentially, up and down once, or not"))  # fmt: skip
    g.add_argument(
        "--momentum", type=float, metavar="X", help="of sgd (default: 0.9) and rmsprop (default: 0)"
    )
    g.add_argument("--weight-decay", type=float, metavar="X", help=f"default: {default.weight_decay:g}")
    g.add_argument("--label-smoothing", type=float, metavar="X", help=(
        f"share of the truth spread over all classes (default: {default.label_smoothing:g})"))  # fmt: skip
    g.add_argument("--standardize", action=argparse.BooleanOptionalAction, help=(
        "take off each pixel's mean over the training images and divide by the deviation of all (default: yes)"))  # fmt: skip
    g.add_argument("--seed", type=int, metavar="N", help=f"of all random numbers (default: {default.seed})")
    g.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help=(
        "replay forward and backward without building a graph: the same bits, sooner (default: on)"))  # fmt: skip
    g.add_argument("--threads", type=int, metavar="N", help=(
        "of matrix products (default: what OMP_NUM_THREADS says; else 1 while steps are small, else all cores)"))  # fmt: skip
    g = p.add_argument_group("output")
    g.add_argument("--out", metavar="FOLDER", help="the run's folder (default: runs/SET, or SET-2, SET-3 …)")
    g.add_argument("--resume", metavar="RUN", help=(
        "go on with a run that was cut; it ends exactly as if it hadn't been. Its recipe stays as it is"))  # fmt: skip
    g.add_argument("--pictures", choices=PICTURES, default="auto", metavar="KIND", help=(
        "auto (the default: PNG where matplotlib is there, else SVG), png, svg or none"))  # fmt: skip
    _output(p)


def _language(p: Parser) -> None:
    g = p.add_argument_group("text")
    g.add_argument("--text", metavar="FILE", help="train on this UTF-8 text (default: Shakespeare's)")
    g.add_argument(
        "--data", dest="root", metavar="FOLDER", help="look for the set here first (also: MINIGRAD_DATA)"
    )
    g.add_argument("--no-download", action="store_true", help="never fetch the text from the network")
    g.add_argument(
        "--tokenizer", metavar="NAME", help="characters or bpe, learnt from the text (default: characters)"
    )
    g.add_argument(
        "--vocab-size", type=int, metavar="N", help="tokens of bpe, 256 bytes included (default: 512)"
    )
    g = p.add_argument_group("network")
    g.add_argument("--layers", type=int, metavar="N", help="default: 4")
    g.add_argument("--heads", type=int, metavar="N", help="default: 4")
    g.add_argument("--width", type=int, metavar="N", help="default: 128")
    g.add_argument("--block-size", type=int, metavar="N", help="tokens that it sees (default: 64)")
    g.add_argument("--dropout", type=float, metavar="X", help="default: 0")
    g.add_argument(
        "--bias", action=argparse.BooleanOptionalAction, help="biases in products and norms (default: no)"
    )
    g = p.add_argument_group("recipe")
    g.add_argument("--iterations", type=int, metavar="N", help="optimizer steps (default: 2000)")
    g.add_argument("--batch-size", type=int, metavar="N", help="texts a step (default: 12)")
    g.add_argument(
        "--check-every",
        type=int,
        metavar="N",
        help="steps between looks at the validation text (default: 250)",
    )
    g.add_argument(
        "--lr", type=float, metavar="X", help="after the warm-up; it falls along a cosine (default: 0.002)"
    )
    g.add_argument("--min-lr", type=float, metavar="X", help="at the end (default: 0.0001)")
    g.add_argument("--warmup", type=int, metavar="N", help="steps in which it rises (default: 100)")
    g.add_argument("--weight-decay", type=float, metavar="X", help="of matrices (default: 0.1)")
    g.add_argument(
        "--clip", type=float, metavar="X", help="the gradient's norm at most; 0: don't (default: 1)"
    )
    g.add_argument("--seed", type=int, metavar="N", help="of all random numbers (default: 1337)")
    _running(p, "runs/shakespeare, or the text's name, or -2, -3 …")
    _output(p)


def _finetune(p: Parser) -> None:
    p.add_argument("set", nargs="?", metavar="SET", help="sst2: 6,920 sentences, praise or blame")
    g = p.add_argument_group("text")
    g.add_argument("--data", metavar="PATH", help=(
        "a file with label<TAB>text in each line, or text<TAB>label under such a header; with a SET the folder to look "
        "for it in first"))  # fmt: skip
    g.add_argument("--test", metavar="FILE", help="its test part (default: a share of --data is put aside)")
    g.add_argument("--test-share", type=float, metavar="X", help="that share, of each label (default: 0.1)")
    g.add_argument("--no-download", action="store_true", help="never fetch a set from the network")
    g = p.add_argument_group("network")
    g.add_argument("--model", metavar="MODEL", help=(
        "the pretrained encoder: a folder in Hugging Face's layout, or a name (default: all-MiniLM-L6-v2)"))  # fmt: skip
    g.add_argument("--max-length", type=int, metavar="N", help="tokens of a text at most (default: 128)")
    g = p.add_argument_group("recipe")
    g.add_argument("--epochs", type=int, metavar="N", help="passes over the texts (default: 3)")
    g.add_argument("--batch-size", type=int, metavar="N", help="texts a step (default: 32)")
    g.add_argument(
        "--lr",
        type=float,
        metavar="X",
        help="after the warm-up; it falls along a line to 0 (default: 0.0001)",
    )
    g.add_argument(
        "--warmup", type=float, metavar="X", help="share of the steps in which it rises (default: 0.1)"
    )
    g.add_argument("--weight-decay", type=float, metavar="X", help="of matrices (default: 0.01)")
    g.add_argument(
        "--clip", type=float, metavar="X", help="the gradient's norm at most; 0: don't (default: 1)"
    )
    g.add_argument("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    _running(p, "runs/sst2, or the file's name, or -2, -3 …")
    _output(p)


def _embed(p: Parser) -> None:
    p.add_argument("texts", nargs="*", metavar="TEXT", help="what is compared, each in quotes")
    p.add_argument("--file", metavar="FILE", help="also the lines of this UTF-8 file; - reads standard input")
    p.add_argument("--model", default="all-MiniLM-L6-v2", metavar="MODEL", help=(
        "an encoder: a folder in Hugging Face's layout, or a name (default: all-MiniLM-L6-v2)"))  # fmt: skip
    p.add_argument("--out", metavar="FILE", help="write the vectors here as .npy, float32 (texts, width)")
    p.add_argument("--pictures", choices=PICTURES, default="none", metavar="KIND", help=(
        "draw the vectors in a plane beside --out, or as embeddings: auto, png, svg or none (the default)"))  # fmt: skip
    p.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts at once (default: 32)")
    p.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of matrix products (default: OMP_NUM_THREADS, else all cores)",
    )
    _output(p)


def _running(p: Parser, folder: str) -> None:
    """What doesn't change what comes out."""
    g = p.add_argument_group("running")
    g.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help=(
        "replay forward and backward without building a graph: the same numbers, sooner (default: on)"))  # fmt: skip
    g.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of matrix products (default: OMP_NUM_THREADS, else all cores)",
    )
    g.add_argument("--out", metavar="FOLDER", help=f"the run's folder (default: {folder})")
    g.add_argument(
        "--resume", metavar="RUN", help="go on with a run that was cut; it ends as if it hadn't been"
    )
    g.add_argument("--pictures", choices=PICTURES, default="auto", metavar="KIND", help=(
        "auto (the default: PNG where matplotlib is there, else SVG), png, svg or none"))  # fmt: skip


def _generate(p: Parser) -> None:
    p.add_argument(
        "--prompt", required=True, metavar="TEXT", help="what it goes on from; - reads standard input"
    )
    p.add_argument("--model", default="runs/shakespeare", metavar="MODEL", help=(
        "a run's folder, a folder in Hugging Face's layout, or a name (default: runs/shakespeare)"))  # fmt: skip
    p.add_argument("--max-new-tokens", type=int, default=500, metavar="N", help="default: 500")
    p.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="below 1 likelier, above bolder (default: 0.8)",
    )
    p.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest")
    p.add_argument("--top-p", type=float, metavar="P", help="draw from the fewest that make up P")
    p.add_argument(
        "--min-p", type=float, metavar="P", help="draw from those at least P times as likely as the first"
    )
    p.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X", help="above 1: repeat less")
    p.add_argument("--greedy", action="store_true", help="always the likeliest")
    p.add_argument("--beams", type=int, default=1, metavar="N", help="beam search, so wide")
    p.add_argument("--length-penalty", type=float, default=1.0, metavar="X", help="of beams: above 0 longer")
    p.add_argument(
        "--stop",
        action="append",
        metavar="TEXT",
        help="end where this is written; may be given several times",
    )
    p.add_argument("--seed", type=int, metavar="N", help="of the draws")
    p.add_argument(
        "--int8", action="store_true", help="int8 weights: a quarter of the memory, sooner, a little worse"
    )
    _output(p)


def _hidden(g: Any) -> None:
    g.add_argument(
        "--hidden", type=int, nargs="*", metavar="N",
        help="sizes of the hidden layers (default: 128); without a number there is none",
    )  # fmt: skip


def _run(p: Parser) -> None:
    p.add_argument("run", metavar="RUN", help="the folder of a run")


def _evaluate(p: Parser) -> None:
    _run(p)
    p.add_argument("--data", dest="root", metavar="PATH", help=(
        "look for the set in this folder first (also: MINIGRAD_DATA); of texts also a file of labelled ones, "
        "or of a text to read"))  # fmt: skip
    p.add_argument("--no-download", action="store_true", help="never fetch a set from the network")
    p.add_argument("--pictures", choices=PICTURES, default="none", metavar="KIND", help=(
        "draw the confusion matrix and the sheet anew: auto, png, svg or none (the default)"))  # fmt: skip
    p.add_argument("--int8", action="store_true", help="of a model that writes text: also with int8 weights")
    _output(p)


def _predict(p: Parser) -> None:
    _run(p)
    p.add_argument(
        "files", nargs="*", metavar="FILE|TEXT",
        help="IDX (.gz or not) or .npy with one image or many, or any picture where Pillow is installed; for a classifier of "
        "texts the texts, each in quotes",
    )  # fmt: skip
    p.add_argument(
        "--file", metavar="FILE", help="also the lines of this UTF-8 file of texts; - reads standard input"
    )
    p.add_argument("--top", type=int, metavar="K", help="show the K most probable classes (default: 1)")
    p.add_argument("--invert", action="store_true", help="dark on light, where the set is light on dark")
    p.add_argument(
        "--sheet", metavar="PATH", help="draw the images with their predictions to this .png or .svg"
    )
    p.add_argument(
        "--attention", metavar="PATH", help="draw where the heads look in the first text to this .png or .svg"
    )
    _output(p)


def _summary(p: Parser) -> None:
    p.add_argument(
        "what", nargs="?", metavar="RUN|SET", help="a run's folder, or a set (default: fashion-mnist)"
    )
    _hidden(p)
    p.add_argument("--task", choices=TASKS, metavar="TASK", help="multiclass (the default) or binary")
    p.add_argument("--batch-size", type=int, metavar="N", help="images at once (default: 32)")
    _output(p)


def _bench(p: Parser) -> None:
    p.add_argument(
        "names", nargs="*", metavar="NAME",
        help="workloads with this in their name (classifier, adamw, attention, layernorm, softmax, gelu, batchnorm, gpt2, minilm, "
        "char-gpt, sentences, decoding, first), "
        "all of them by workloads, all rows of the op table by ops (default: everything)",
    )  # fmt: skip
    p.add_argument("--rows", nargs="+", metavar="ROW", help="these rows of the op table")
    p.add_argument("--sides", nargs="+", metavar="SIDE", help=(
        "only these: reference, kernels, compiled, torch, torch.compile, jax, autograd, tinygrad, or a kernel set's name "
        "(default: all there are; rows aren't compiled unless asked for here)"))  # fmt: skip
    p.add_argument("--threads", type=int, nargs="+", metavar="N", help="with so many (default: all cores)")
    p.add_argument("--quick", action="store_true", help="few rounds and small rows: a look, not a claim")
    p.add_argument("--rounds", type=int, metavar="N", help="default: 15, and 7 for rows; --quick 5")
    p.add_argument("--elements", type=int, metavar="N", help="of a row's operand (default: 262144)")
    p.add_argument("--out", metavar="FILE", help="write the report as JSON")
    p.add_argument("--html", metavar="FILE", help="write the report as one HTML page")
    p.add_argument("--compare", metavar="FILE", help="show what changed since this --out")
    _output(p)


def _output(p: Parser) -> None:
    p.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output, the rest on error"
    )
    p.add_argument("--quiet", action="store_true", help="say nothing but errors and the JSON asked for")
