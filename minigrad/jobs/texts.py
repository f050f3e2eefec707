"""A run over text: its folder, which is a model's folder too, and what its jobs share.

``run.json`` says how it was made and what came out; ``checkpoint.safetensors`` is for going on with it; ``config.json``,
``model.safetensors`` and the tokenizer's files are as Hugging Face's, so that ``from_pretrained`` opens the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from . import JobError, nearest, runs


class TextRun(NamedTuple):
    """What ``run.json`` of a text job holds, and the folder."""

    folder: Path
    job: str  # "language" or "classifier"
    recipe: Any  # a dataclass
    text: dict[str, Any]  # where the text is, and its sizes
    results: dict[str, Any] | None = None  # of the whole run; None while it isn't over

    @property
    def checkpoint(self) -> Path:
        return self.folder / runs.CHECKPOINT

    def save(self) -> None:
        """Writes ``run.json``, whole or not at all."""
        from ..io import atomic_write

        found = {
            "minigrad": __version__, "job": self.job, "recipe": asdict(self.recipe), "text": self.text,
            "results": self.results,
        }  # fmt: skip
        with atomic_write(self.folder / runs.RUN, "w") as f:
            f.write(json.dumps(runs.finite(found), indent=1, ensure_ascii=False) + "\n")


def read(folder: str | os.PathLike[str], job: str, recipe: type) -> TextRun:
    """The run in a folder. JobError naming the file when there is none, or it is another job's, or damaged."""
    path = Path(folder) / runs.RUN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("job") != job:
            raise JobError(
                f"{path}: the run of another job ({found.get('job', 'images')}), expected one of {job}"
            )
        names = {f.name for f in fields(recipe)}
        if set(found["recipe"]) != names:
            raise TypeError(f"expected a recipe with {', '.join(sorted(names))}")
        return TextRun(Path(folder), job, recipe(**found["recipe"]), found["text"], found["results"])
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(
            f"{folder}: no run there: expected a folder with {runs.RUN} that 'minigrad' made"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise JobError(
            f"{path}: not the description of a run ({type(e).__name__}: {e}); train again, or restore it"
        ) from None


def chosen(recipe: type, options: Any) -> Any:
    """The recipe with the options that were given. JobError for one that can't be."""
    given = {f.name: getattr(options, f.name, None) for f in fields(recipe)}
    try:
        return recipe(**{k: v for k, v in given.items() if v is not None})
    except ValueError as e:
        raise JobError(str(e)) from None


def positive(recipe: Any, *names: str) -> None:
    """ValueError for numbers of a recipe that have to be above 0."""
    for name in names:
        if not getattr(recipe, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} is above 0, got {getattr(recipe, name)}")


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """ValueError for a name that isn't known, with the nearest that is."""
    if value not in known:
        raise ValueError(
            f"--{name}: unknown {value!r}; expected one of {', '.join(known)}{nearest(value, known)}"
        )


def opened(read_file: Callable[[Any], Any], path: Any) -> Any:
    """What a file holds, or JobError saying why not."""
    try:
        return read_file(path)
    except (OSError, ValueError, RuntimeError, KeyError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        text = " ".join(
            [reason if str(path) in reason else f"{path}: {reason}", *getattr(e, "__notes__", [])]
        )
        raise JobError(f"{text}; check the path" if isinstance(e, FileNotFoundError) else text) from None


def tokenizer_of(name: Any) -> Any:
    """The tokenizer of a model's folder or name."""
    from .. import text
    from ..models import hub

    return opened(text.Tokenizer.from_pretrained, opened(hub.locate, name))


def given(words: Sequence[str], file: str | None) -> list[str]:
    """The texts of a command: those on its line, then the lines of ``--file`` (- is standard input), empty ones left out."""
    from ..data.texts import read_text

    found = list(words)
    if empty := [k for k, text in enumerate(found, 1) if not text.strip()]:
        raise JobError(f"text {empty[0]} of {len(found)} is empty; give at least one character")
    if file == "-":
        import sys

        found += [line.strip() for line in sys.stdin.read().splitlines() if line.strip()]
    elif file is not None:
        found += [line.strip() for line in opened(read_text, file).split("\n") if line.strip()]
    if not found:
        raise JobError('no text: give some, in quotes ("a text"), or a file with one a line: --file FILE')
    return found


def check_threads(number: int | None) -> None:
    if number is not None and number < 1:
        raise JobError(f"--threads is at least 1, got {number}")


def fit(
    run: TextRun, model: Any, batches: Any, check: Any, options: Any, more: list[Any], epochs: int, **how: Any
) -> Any:
    """Trains to the end, from the run's checkpoint where there is one; returns the History."""
    from ..train.nonfinite import NonFiniteError
    from ..train.trainer import Trainer
    from .threads import chosen as threads_for
    from .threads import threads

    trainer = Trainer(
        max_epochs=epochs, callbacks=[*runs.callbacks(run.folder, options), *more], enable_progress_bar=False,
        default_root_dir=run.folder, compile=options.compile, gradient_clip_val=run.recipe.clip or None,
    )  # fmt: skip
    try:
        with threads(threads_for(options.threads, 1 << 30)):
            return trainer.fit(
                model,
                batches,
                check,
                ckpt_path=str(run.checkpoint) if run.checkpoint.exists() else None,
                **how,
            )
    except NonFiniteError as e:
        what = str(e).partition(". The weights are")[0].removeprefix("Trainer: ")
        raise JobError(f"{what}; try a smaller --lr than {run.recipe.lr:g}") from e
    except (RuntimeError, ValueError, KeyError) as e:
        if trainer.global_step or not run.checkpoint.exists():
            raise
        raise JobError(f"{run.checkpoint}: can't go on from it: {' '.join(str(e).split())}") from e


def decayed(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimizer: matrices decay, gains and biases don't (Loshchilov & Hutter, 2019, as BERT and GPT do)."""
    every = list(model.parameters())
    return [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
