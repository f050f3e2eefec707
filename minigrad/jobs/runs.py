"""A run's folder: what is in it, how it is read back, and what is drawn and measured from it.

``run.json`` says how the network was made (recipe, classes, pixel scaling) and what came out;
``checkpoint.safetensors`` holds its weights and all that a resumed run needs; ``history.csv`` and ``history.json``
the figures by epoch; then the pictures.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from . import JobError
from .images import Part, Scaling, Task
from .recipe import Recipe, build_model

RUN, CHECKPOINT = "run.json", "checkpoint.safetensors"
HISTORY_CSV, HISTORY_JSON = "history.csv", "history.json"
PICTURES = ("curves", "confusion", "predictions")
_NUMBERS = re.compile(r"\[[-+.\deE,\s]+\]")  # a list of them stands on one line
FIRST, MISTAKES = 30, 20  # images on the sheet of predictions


class Run(NamedTuple):
    """What ``run.json`` holds, and the folder."""

    folder: Path
    recipe: Recipe
    task: Task
    side: int  # images are side × side
    scaling: Scaling
    images: tuple[int, int]  # in the training part, in the test part
    root: str | None  # the --data it was given
    results: dict[str, Any] | None  # of the whole run; None while it isn't over

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def model(self) -> Any:
        """The network with its first weights: those that the random generator gives."""
        return build_model(self.recipe, self.side**2, len(self.task.classes))

    def save(self) -> None:
        """Writes ``run.json``, whole or not at all."""
        from ..io import atomic_write

        found = {
            "minigrad": __version__,
            "recipe": self.recipe.as_dict(),
            "classes": list(self.task.classes),
            "positive": self.task.positive,
            "side": self.side,
            "scaling": self.scaling._asdict(),
            "images": list(self.images),
            "data": self.root,
            "results": self.results,
        }
        with atomic_write(self.folder / RUN, "w") as f:
            f.write(
                _NUMBERS.sub(lambda m: re.sub(r"\s+", " ", m[0]), json.dumps(finite(found), indent=1)) + "\n"
            )


def read(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder. Raises JobError naming the file when there is none, or it is damaged."""
    path = Path(folder) / RUN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if "job" in found:
            raise JobError(f"{path}: a run of {found['job']}, expected one that classifies images or texts")
        classes, scaling, images = found["classes"], found["scaling"], found["images"]
        recipe = Recipe.from_dict(found["recipe"], str(path))
        if not all(isinstance(c, str) for c in classes):
            raise TypeError("class names are strings")
        return Run(
            Path(folder), recipe, Task(tuple(classes), found["positive"]), int(found["side"]),
            Scaling(int(scaling["white"]), tuple(map(float, scaling["mean"])), float(scaling["deviation"])),
            (int(images[0]), int(images[1])), found["data"], found["results"],
        )  # fmt: skip
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(
            f"{folder}: no run there: expected a folder with {RUN} that 'minigrad train' made"
        ) from None
    except IsADirectoryError:
        raise JobError(f"{path}: expected a file, got a folder") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise JobError(
            f"{path}: not the description of a run ({type(e).__name__}: {e}); train again, or restore the file"
        ) from None


def job_of(folder: str | os.PathLike[str]) -> str:
    """What made the run in a folder: "images", "language" or "classifier"; "images" where nothing there says it."""
    try:
        found = json.loads((Path(folder) / RUN).read_text(encoding="utf-8"))
        return str(found.get("job", "images"))
    except (OSError, ValueError, AttributeError):
        return "images"  # whose reader says what is wrong


def trained(run: Run) -> Any:
    """The network with the weights of the run's checkpoint, in eval mode."""
    from ..train.checkpoints import load_weights

    model = run.model()
    if not run.checkpoint.exists():
        raise JobError(
            f"{run.checkpoint}: no such file; the run has no checkpoint yet: train it, or --resume it"
        )
    try:
        load_weights(model, run.checkpoint)
    except (RuntimeError, ValueError, KeyError, TypeError) as e:
        raise JobError(f"{run.checkpoint}: can't be loaded: {str(e).splitlines()[0]}") from e
    return model.eval()


def whole_kernels() -> Any:
    """A block that waits for kernels that are being compiled: what is measured doesn't depend on when they are ready."""
    from .. import backend

    return backend.kernels(backend.current_kernels(), wait=True)


class Measured(NamedTuple):
    """What a network says of images whose truth is known."""

    truth: np.ndarray  # (N,) class numbers of the task
    predicted: np.ndarray
    probability: np.ndarray  # of the prediction
    loss: float  # mean cross-entropy, without smoothing
    positive: np.ndarray | None  # probability of the positive class, for the binary task

    @property
    def right(self) -> int:
        return int((self.truth == self.predicted).sum())

    @property
    def accuracy(self) -> float:
        return self.right / len(self.truth)


def probabilities(model: Any, task: Task, inputs: np.ndarray, at_once: int = 2000) -> np.ndarray:
    """(N, C) probabilities of the task's classes for float32 inputs (N, H·W)."""
    import minigrad

    found = []
    with minigrad.no_grad():
        for k in range(0, len(inputs), at_once):
            logits = model(minigrad.from_numpy(inputs[k : k + at_once]))
            if task.positive is None:
                found.append(minigrad.softmax(logits, dim=1).numpy())
            else:
                one = minigrad.sigmoid(logits).numpy()
                found.append(np.concatenate([1 - one, one], axis=1))
    return np.concatenate(found) if found else np.zeros((0, len(task.classes)), np.float32)


def measure(model: Any, run: Run, part: Part) -> Measured:
    """Predictions and loss of the network on a part of the set."""
    with whole_kernels():
        shares = probabilities(model, run.task, run.scaling(part.pixels))
    truth, rows = run.task.labels(part.labels), np.arange(len(part.labels))
    predicted = shares.argmax(axis=1)
    with np.errstate(divide="ignore"):
        loss = float(-np.log(shares[rows, truth].astype(np.float64)).mean())
    positive = None if run.task.positive is None else shares[:, 1]
    return Measured(truth, predicted, shares[rows, predicted], loss, positive)


def scores(classes: Sequence[str], m: Measured, of: str = "images") -> dict[str, Any]:
    """Accuracy, loss, and by class how many there are, precision, recall and F1."""
    from ..train.metrics import AUROC, ConfusionMatrix, F1Score, Precision, Recall

    n = len(classes)
    found: dict[str, Any] = {of: len(m.truth), "right": m.right, "accuracy": m.accuracy, "loss": m.loss}
    by_class = {}
    for name, kind in (("precision", Precision), ("recall", Recall), ("f1", F1Score)):
        metric = kind(task="multiclass", num_classes=n, average="none")
        metric.update(m.predicted, m.truth)
        by_class[name] = metric.compute().tolist()
    matrix = ConfusionMatrix(task="multiclass", num_classes=n)
    matrix.update(m.predicted, m.truth)
    found["confusion"] = matrix.compute().tolist()
    if m.positive is not None:
        area = AUROC(task="binary")
        area.update(m.positive, m.truth)
        found["roc_auc"] = finite(area.compute().item())
    counts = np.bincount(m.truth, minlength=n)
    found["classes"] = [
        {"name": c, of: int(counts[k]), **{name: finite(v[k]) for name, v in by_class.items()}}
        for k, c in enumerate(classes)
    ]
    return found


def finite(found: Any) -> Any:
    """The same with null for NaN and inf, which JSON doesn't have."""
    if isinstance(found, dict):
        return {k: finite(v) for k, v in found.items()}
    if isinstance(found, (list, tuple)):
        return [finite(v) for v in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def table(found: dict[str, Any], of: str = "images") -> str:
    """The scores by class, as text."""
    width = max(len("class"), *(len(c["name"]) for c in found["classes"]))
    lines = [f"{'class':{width}}  {of:>6}  precision  recall      f1"]
    for c in found["classes"]:
        cells = ["-" if c[k] is None else f"{c[k]:.4f}" for k in ("precision", "recall", "f1")]
        lines.append(f"{c['name']:{width}}  {c[of]:>6,}  {cells[0]:>9}  {cells[1]:>6}  {cells[2]:>6}")
    return "\n".join(lines)


def headline(run: Run, found: dict[str, Any]) -> str:
    return f"{run.recipe.data}: {found['right']:,} of {found['images']:,} test images right ({found['accuracy']:.2%})"


def draw_predictions(
    run: Run, part: Part, m: Measured, found: dict[str, Any], folder: Path, kind: str
) -> list[Path]:
    """The confusion matrix and the sheet of predictions."""
    from .. import pictures

    suffix = "" if kind == "auto" else f".{kind}"
    title, classes = headline(run, found), run.task.classes
    matrix = pictures.confusion(found["confusion"], classes, folder / f"confusion{suffix}", title=title)
    wrong = np.flatnonzero(m.truth != m.predicted)
    wrong = wrong[np.argsort(-m.probability[wrong], kind="stable")][:MISTAKES]
    first = range(min(FIRST, len(m.truth)))
    shown = [*first, *wrong]
    sections = [(f"The first {len(first)} test images", range(len(first)))]
    if len(wrong):
        which = f"{len(wrong)} mistakes" if len(wrong) > 1 else "mistake"
        sections.append((f"The {which} made with the most confidence", range(len(first), len(shown))))
    sheet = pictures.predictions(
        # the set's white is full white, whatever number it has
        part.pixels[shown].astype(np.float32) / run.scaling.white, m.truth[shown], m.predicted[shown],
        m.probability[shown], classes, folder / f"predictions{suffix}", title=title, sections=sections,
    )  # fmt: skip
    return [matrix, sheet]


# ---- a run of any kind ------------------------------------------------------------------------------------


def free_folder(out: str | None, name: str) -> Path:
    """The folder of a new run, made. One that was asked for must not hold a run; else the next free name is taken."""
    if out is None:
        k = 1
        while True:
            folder = Path("runs") / (name if k == 1 else f"{name}-{k}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                k += 1
    folder = Path(out)
    if (folder / RUN).exists():
        raise JobError(
            f"--out {out}: there is a run in it already; go on with it by --resume {quoted(folder)}, or give "
            f"another folder"
        )
    if ours := [n for n in _names() if (folder / n).exists()]:
        raise JobError(
            f"--out {out}: {ours[0]} is there already and would be overwritten; give another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise JobError(f"--out {out}: expected a folder, but a file is there; give another path") from None
    return folder


def _names() -> list[str]:
    pictures = [f"{name}{suffix}" for name in PICTURES for suffix in (".png", ".svg")]
    return [CHECKPOINT, HISTORY_CSV, HISTORY_JSON, "config.json", "model.safetensors", *pictures]


def callbacks(folder: Path, options: Any) -> list[Any]:
    """The checkpoint, the history's files, the learning rate, and progress where it isn't to be quiet."""
    import sys

    from ..train.callbacks import LambdaCallback, LearningRateMonitor, ModelCheckpoint
    from ..train.progress import ProgressBar

    def write(trainer: Any, model: Any) -> None:
        trainer.history.to_csv(folder / HISTORY_CSV)
        trainer.history.to_json(folder / HISTORY_JSON)

    checkpoint = ModelCheckpoint(folder, save_top_k=0, save_last=True, enable_version_counter=False)
    checkpoint.CHECKPOINT_NAME_LAST = CHECKPOINT.removesuffix(checkpoint.FILE_EXTENSION)
    found = [checkpoint, LambdaCallback(on_train_epoch_end=write), LearningRateMonitor("epoch")]
    if not options.quiet:
        found.append(ProgressBar(stream=sys.stderr if options.json else sys.stdout))
    return found


def interrupted(folder: Path, command: str, whole: str) -> int:
    """Says what is saved of a run that Ctrl-C ended, and how to go on; the exit status."""
    import sys

    from ..train.checkpoints import load_checkpoint

    where, path = "before its first step", folder / CHECKPOINT
    if path.exists():
        found = load_checkpoint(path)
        where = f"after step {found['global_step']:,}, in epoch {found['epoch'] + 1} {whole}"
    print(
        f"\ninterrupted; saved {where}. Go on with:\n  python -m minigrad {command} --resume {quoted(folder)}",
        file=sys.stderr,
    )
    return 130


def quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def check_pictures(kind: str) -> None:
    """Refuses PNG without matplotlib, before anything is computed."""
    if kind == "png":
        from ..pictures.training import Raster

        try:
            Raster(1, 1, "")
        except ImportError as e:
            raise JobError(
                f"--pictures png needs matplotlib ({e}): pip install matplotlib, or ask for svg"
            ) from None


def sayer(options: Any) -> Callable[[str], None]:
    """Prints for people: to standard output, to standard error where that is for JSON, or nowhere."""
    import sys

    if options.quiet:
        return lambda words: None
    stream = sys.stderr if options.json else sys.stdout
    return lambda words: print(words, file=stream, flush=True)


def answer(options: Any, found: dict[str, Any]) -> None:
    """The JSON object, where it was asked for."""
    if options.json:
        print(json.dumps(finite(found), indent=1, allow_nan=False))
