"""``python -m minigrad train``: the main job. Trains a classifier of images and leaves a folder that tells of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import JobError, runs, threads
from .images import Chosen, Part, Scaling, choose, part_of, task_of
from .recipe import Recipe, build_loss, build_model, build_optimizer, build_schedule
from .runs import Run

_CHOICES = tuple(f.name for f in fields(Recipe) if f.name != "data")


def train(options: Any) -> int:
    """Begins a run, or goes on with one, and returns the exit status."""
    say = runs.sayer(options)
    if options.threads is not None and options.threads < 1:
        raise JobError(f"--threads is at least 1, got {options.threads}")
    runs.check_pictures(options.pictures)
    run, chosen = _resumed(options) if options.resume is not None else _begun(options)
    say(chosen.sentence)
    say(
        f"{run.recipe.words(run.side**2, len(run.task.classes))}; into {run.folder} (val_: on the test images)"
    )
    try:
        found = _whole(run, chosen, options, say)
    except KeyboardInterrupt:
        return runs.interrupted(run.folder, "train", f"of {run.recipe.epochs}")
    runs.answer(options, found)
    return 0


def _whole(run: Run, chosen: Chosen, options: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """The run to its end, and everything that comes out of it."""
    train_part, test_part = part_of(chosen.train, run.recipe.limit), part_of(chosen.test)
    model, history = _fitted(run, train_part, test_part, options)
    found = _results(run, history)
    measured = runs.measure(model.eval(), run, test_part)
    found["test"] = runs.scores(run.task.classes, measured)
    run._replace(results=found).save()
    files = _drawn(run, test_part, measured, found["test"], history, options.pictures)
    say(f"{runs.headline(run, found['test'])}, in {_time(found['seconds'])}")
    say("wrote " + ", ".join(str(f) for f in files))
    say(f"next: python -m minigrad evaluate {runs.quoted(run.folder)}")
    return {
        "run": str(run.folder), "set": run.recipe.data, "data": chosen.sentence, "recipe": run.recipe.as_dict(), **found,
        "history": history.history, "files": [str(f) for f in files],
    }  # fmt: skip


# ---- which run -------------------------------------------------------------------------------------------


def _begun(options: Any) -> tuple[Run, Chosen]:
    """A new run in a folder of its own; what it is made of is written before anything is trained."""
    given = {n: getattr(options, n) for n in _CHOICES if getattr(options, n, None) is not None}
    if "hidden" in given:
        given["hidden"] = tuple(given["hidden"])
    Recipe.chosen(
        options.data or "digits", options.plain, given
    )  # before a download: are the choices possible?
    chosen = choose(options.data, options.root, not options.no_download)
    recipe = Recipe.chosen(chosen.name, options.plain, given)
    task = task_of(recipe.task, recipe.positive, chosen.train.classes)
    part = part_of(chosen.train, recipe.limit)
    scaling = Scaling.of(part.pixels, chosen.train.full) if recipe.standardize else Scaling(chosen.train.full)
    root = None if options.root is None else os.path.abspath(options.root)
    sizes = (len(chosen.train), len(chosen.test))
    build_model(recipe, chosen.train.side**2, len(task.classes))  # a folder is made for one that can be
    folder = runs.free_folder(options.out, chosen.name)
    run = Run(folder, recipe, task, chosen.train.side, scaling, sizes, root, None)
    run.save()
    return run, chosen


def _resumed(options: Any) -> tuple[Run, Chosen]:
    """A run that was cut, and its set, which must still be the same."""
    changed = [
        n for n in ("data", "out", "plain", *_CHOICES) if getattr(options, n, None) not in (None, False)
    ]
    if changed:
        name = "a SET" if changed[0] == "data" else f"--{changed[0].replace('_', '-')}"
        raise JobError(
            f"--resume goes on with the run's own set, recipe and folder; leave out {name}, or begin anew"
        )
    run = runs.read(options.resume)
    root = options.root if options.root is not None else run.root
    chosen = choose(run.recipe.data, root, not options.no_download)
    sizes = (len(chosen.train), len(chosen.test))
    if sizes != run.images:
        raise JobError(
            f"{run.folder} was begun with {run.images[0]:,} training and {run.images[1]:,} test images of "
            f"{chosen.name}, but {chosen.train.folder} has {sizes[0]:,} and {sizes[1]:,}; name the same ones with --data"
        )
    return run, chosen


# ---- the run ---------------------------------------------------------------------------------------------


def _fitted(run: Run, train_part: Part, test_part: Part, options: Any) -> tuple[Any, Any]:
    """Trains from the beginning, or from the run's checkpoint where there is one. The model and the History."""
    import minigrad

    from ..train.nonfinite import NonFiniteError
    from ..train.trainer import Trainer

    recipe = run.recipe
    minigrad.manual_seed(recipe.seed)
    model = run.model()
    optimizer = build_optimizer(recipe, model.parameters())
    schedule = build_schedule(recipe, optimizer, recipe.steps(len(train_part.labels)))
    trainer = Trainer(
        max_epochs=recipe.epochs, callbacks=runs.callbacks(run.folder, options), enable_progress_bar=False,
        default_root_dir=run.folder, compile=options.compile,
    )  # fmt: skip
    sizes = recipe.layers(run.side**2, len(run.task.classes))
    largest = 2 * recipe.batch_size * max(a * b for a, b in pairwise(sizes))
    try:
        with threads.threads(threads.chosen(options.threads, largest)):
            history = trainer.fit(
                model,
                _loader(run, train_part, recipe.batch_size, shuffle=True),
                _loader(run, test_part, 1000, shuffle=False),
                loss=build_loss(recipe),
                optimizer=optimizer,
                scheduler=None if schedule is None else {"scheduler": schedule, "interval": "step"},
                metrics=_accuracy(run),
                ckpt_path=str(run.checkpoint) if run.checkpoint.exists() else None,
            )
    except NonFiniteError as e:
        what = str(e).partition(". The weights are")[0].removeprefix("Trainer: ")
        raise JobError(
            f"{what}; try a smaller --lr than {recipe.lr:g} (what was learnt until the last epoch is in {run.folder})"
        ) from e
    except (RuntimeError, ValueError, KeyError) as e:
        if trainer.global_step or not run.checkpoint.exists():
            raise
        raise JobError(f"{run.checkpoint}: can't go on from it: {' '.join(str(e).split())}") from e
    return model, history


def _loader(run: Run, part: Part, batch_size: int, shuffle: bool) -> Any:
    import minigrad

    from ..data import DataLoader, TensorDataset

    inputs = minigrad.from_numpy(run.scaling(part.pixels))
    targets = minigrad.from_numpy(run.task.targets(part.labels))
    return DataLoader(TensorDataset(inputs, targets), batch_size=batch_size, shuffle=shuffle)


def _accuracy(run: Run) -> Any:
    from ..train.metrics import Accuracy

    if run.task.positive is not None:
        return Accuracy(task="binary", from_logits=True)
    return Accuracy(task="multiclass", num_classes=len(run.task.classes))


# ---- what comes out --------------------------------------------------------------------------------------


def _results(run: Run, history: Any) -> dict[str, Any]:
    """The figures of the whole run; ``val_`` in the history is the test part."""
    accuracy, seconds = history.history["val_accuracy"], sum(history.seconds)
    best = max(range(len(accuracy)), key=accuracy.__getitem__)
    images = run.recipe.limit or run.images[0]
    return {
        "seconds": seconds,
        "steps": run.recipe.steps(min(images, run.images[0])),
        "microseconds_per_image": 1e6 * seconds / (run.recipe.epochs * min(images, run.images[0])),
        "best": {"epoch": best + 1, "accuracy": accuracy[best]},
    }


def _drawn(
    run: Run,
    part: Part,
    measured: runs.Measured,
    scores: dict[str, Any],
    history: Any,
    kind: str,
) -> list[Path]:
    files = [run.folder / n for n in (runs.RUN, runs.CHECKPOINT, runs.HISTORY_CSV, runs.HISTORY_JSON)]
    if kind == "none":
        return files
    from .. import pictures

    suffix = "" if kind == "auto" else f".{kind}"
    title = runs.headline(run, scores)
    files.append(
        pictures.curves(history, run.folder / f"curves{suffix}", title=title, names=("train", "test"))
    )
    return files + runs.draw_predictions(run, part, measured, scores, run.folder, kind)


def _time(seconds: float) -> str:
    from ..train.history import duration

    return duration(seconds)
