"""``python -m minigrad summary``, ``warmup`` and ``info``: a network layer by layer, kernels made ready, this installation."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

import numpy as np

from . import JobError, nearest, runs, threads
from .images import task_of
from .recipe import Recipe, build_model

EXTRAS = ("ml_dtypes", "tqdm", "matplotlib", "Pillow", "tensorboardX", "numba", "cupy", "torch")


def summarize(options: Any) -> int:
    """Prints ``minigrad.summary`` of a run's network, or of the one that ``train`` would make for a set."""
    import minigrad

    from ..data import SETS

    what = "fashion-mnist" if options.what is None else options.what
    batch = 32 if options.batch_size is None else options.batch_size
    if batch < 1:
        raise JobError(f"--batch-size is at least 1, got {batch}")
    if what in SETS:
        given = {"hidden": tuple(options.hidden)} if options.hidden is not None else {}
        if options.task is not None:
            given["task"] = options.task
        recipe = Recipe.chosen(what, False, given)
        side, classes = SETS[what].side, task_of(recipe.task, None, SETS[what].classes).classes
        model = build_model(recipe, side**2, len(classes))
    elif os.path.isdir(what):
        if options.hidden is not None or options.task is not None:
            raise JobError("--hidden and --task are for a set; a run has its network already")
        run = runs.read(what)
        side, model = run.side, run.model()
    else:
        raise JobError(
            f"{what}: neither the folder of a run nor a set; sets are {', '.join(SETS)}{nearest(what, SETS)}"
        )
    found = minigrad.summary(model, (batch, side**2))
    runs.sayer(options)(str(found))
    runs.answer(options, found.as_dict())
    return 0


def info(options: Any) -> int:
    """Prints versions, array backends, kernels, threads and where data is found."""
    found = gathered(options.root)
    say = runs.sayer(options)
    for heading, lines in found.items():
        say(heading)
        for name, value in lines.items():
            say(
                f"  {name:24}{value if not isinstance(value, list) else ', '.join(map(str, value)) or 'none'}"
            )
    runs.answer(options, found)
    return 0


def warmup(options: Any) -> int:
    """Compiles the kernels that are registered, or those of the ops named, and says how many there are."""
    from .. import backend
    from ..choices import warmup as compiled
    from ..op import OPS

    for name in options.ops:
        if name not in OPS:
            raise JobError(f"{name}: no op of that name{nearest(name, OPS)}; docs/ops.md lists them")
    say = runs.sayer(options)
    if not backend.KERNEL_SETS:
        say("no kernel set is installed: pip install 'minigrad-xp[numba]'")
    number = compiled(*options.ops, tell=lambda name: say(f"  {name}"))
    say(f"{number} kernels are ready")
    runs.answer(options, {"kernel sets": sorted(backend.KERNEL_SETS), "kernels": number})
    return 0


def gathered(root: str | None) -> dict[str, dict[str, Any]]:
    """What ``info`` tells, by heading."""
    from .. import __version__, backend, dtypes
    from ..data import SETS, cache_folder, find
    from ..op import OPS

    versions: dict[str, Any] = {
        "minigrad": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for name in EXTRAS:
        versions[name] = _version(name)
    engine: dict[str, Any] = {
        "ops": len(OPS),
        "array backends": [
            f"{name} ({module.array_type.__module__})" for name, module in backend.MODULES.items()
        ],
        "kernel sets": sorted(backend.KERNEL_SETS),
        "kernels in force": backend.current_kernels(),
        "dtypes": [d.name for d in dtypes.DTYPES],
        "default dtype": dtypes.get_default_dtype().name,
    }
    told = threads.blas()
    work: dict[str, Any] = {
        "cores": _cores(),
        "BLAS": _blas(),
        "BLAS threads": told.get() if told is not None else "unknown",
    }
    for name in threads.VARIABLES:
        work[name] = os.environ.get(name, "not set")
    data: dict[str, Any] = {
        "MINIGRAD_DATA": os.environ.get("MINIGRAD_DATA", "not set"),
        "cache": str(cache_folder()),
    }
    for name in SETS:
        place = find(name, root).path
        data[name] = str(place) if place is not None else "not found; train would download it"
    return {"versions": versions, "engine": engine, "threads": work, "data": data}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "installed" if importlib.util.find_spec(name) else "not installed"


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _blas() -> str:
    found: Any = np.show_config(mode="dicts")
    blas = (found or {}).get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
