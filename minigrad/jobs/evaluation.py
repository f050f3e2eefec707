"""``python -m minigrad evaluate RUN``: how a trained network does on the test images."""

from __future__ import annotations

from typing import Any

from . import JobError, runs
from .images import open_set, part_of


def evaluate(options: Any) -> int:
    """Measures the run's network, of images or texts, prints the scores and, where asked, draws the pictures anew."""
    job = runs.job_of(options.run)
    if job == "language":
        from .language import evaluate as of_language

        return of_language(options)
    if options.int8:
        raise JobError(
            f"--int8 measures a model that writes text, but {options.run} is of {job}; leave it out"
        )
    if job == "classifier":
        from .finetuning import evaluate as of_texts

        return of_texts(options)
    say = runs.sayer(options)
    runs.check_pictures(options.pictures)
    run = runs.read(options.run)
    model = runs.trained(run)
    root = options.root if options.root is not None else run.root
    try:
        opened = open_set(run.recipe.data, root, False, not options.no_download)
    except JobError as e:
        raise JobError(f"{run.folder} was trained on {run.recipe.data}: {e}") from e
    part = part_of(opened)
    if len(part.labels) != run.images[1]:
        raise JobError(
            f"{opened.folder}: {len(part.labels):,} test images, but {run.folder} was made with {run.images[1]:,}; "
            f"name the folder of its set with --data"
        )
    measured = runs.measure(model, run, part)
    found = runs.scores(run.task.classes, measured)
    say(f"{runs.headline(run, found)}, loss {found['loss']:.4f}")
    if found.get("roc_auc") is not None:
        say(f"area under the ROC curve {found['roc_auc']:.4f}")
    say(runs.table(found))
    drawn = []
    if options.pictures != "none":
        drawn = runs.draw_predictions(run, part, measured, found, run.folder, options.pictures)
        say("wrote " + ", ".join(map(str, drawn)))
    runs.answer(options, {"run": str(run.folder), **found, "files": [str(p) for p in drawn]})
    return 0
