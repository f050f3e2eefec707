"""A checkpoint: everything a run needs to go on bit-equal, as one file, written whole or not at all.

The file is a safetensors file with the structure as JSON inside (``minigrad.save``), so other programs can
read its weights. What it holds, under Lightning's names where these exist:

========================  ======================================================================
``epoch, global_step``    epochs begun before this one; optimizer steps made
``state_dict``            the model's parameters and persistent buffers
``optimizer_states``      one optimizer's state dict, in a list
``lr_schedulers``         the schedules' state dicts
``callbacks``             their state dicts, by name
``loops``                 the position in the epoch, and what has been validated
``generators``            the default random generator
``loaders``               the pass over the training data, the generators of both loaders
``metrics``               what metrics and losses have accumulated in the epoch so far
``callback_metrics``      the last value of everything measured
``history``               the History
========================  ======================================================================

Not in it, so not to be relied on across a cut: NumPy's and Python's own generators, buffers registered with
``persistent=False``, attributes of the model that aren't in its state dict. When one is written is the
Trainer's and ModelCheckpoint's business.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint"]

_FORMAT = 1
_NEEDED = (
    "epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops", "generators",
    "loaders", "metrics", "callback_metrics", "history",
)  # fmt: skip


def save_checkpoint(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint, making its folder where there is none; whole or not at all."""
    from ..io import save

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(checkpoint, path)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint of a run.

    Raises FileNotFoundError, SafetensorsError for a file that is damaged, and ValueError for a file that is
    whole but isn't the checkpoint of a run, each naming the path.
    """
    from ..io import load

    found = load(path)
    form = found.get("minigrad_checkpoint") if isinstance(found, dict) else None
    if form is None:
        raise ValueError(
            f"{os.fspath(path)}: expected the checkpoint of a run, got a file of "
            f"{', '.join(map(str, list(found)[:4])) if isinstance(found, dict) else type(found).__name__}; if these "
            f"are weights, load them into the model before fit (minigrad.train.load_weights)"
        )
    if form != _FORMAT:
        raise ValueError(
            f"{os.fspath(path)}: expected a checkpoint of form {_FORMAT}, got {form!r}; another version of "
            f"minigrad wrote it"
        )
    return found


def load_weights(model: Any, path: str | os.PathLike[str], strict: bool = True) -> Any:
    """Loads the model's state dict from a checkpoint or from a file of weights alone; returns the missing
    and unexpected keys, which raise RuntimeError when ``strict``.
    """
    from ..io import load

    found = load(path)
    if isinstance(found, dict) and "minigrad_checkpoint" in found:
        found = found["state_dict"]
    try:
        return model.load_state_dict(found, strict=strict)
    except RuntimeError as e:
        e.add_note(f"load_weights: the file is {os.fspath(path)}")
        raise


def capture(trainer: Trainer, weights_only: bool = False) -> dict[str, Any]:
    """The state of a run as a checkpoint. Its tensors are the live ones: write it, or copy it, at once."""
    from .. import __version__, get_rng_state

    checkpoint: dict[str, Any] = {
        "minigrad_checkpoint": _FORMAT,
        "minigrad_version": __version__,
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "state_dict": trainer.model.state_dict(),
    }
    if not weights_only:
        checkpoint |= {
            "optimizer_states": [trainer.optimizer.state_dict()],
            "lr_schedulers": [s.schedule.state_dict() for s in trainer.schedules],
            "callbacks": {key: c.state_dict() for key, c in trainer.callbacks_by_key().items()},
            "loops": trainer.loop.state_dict(),
            "generators": {"default": get_rng_state()},
            "loaders": {"train": _position(trainer.train_loader), "val": _position(trainer.val_loader)},
            "metrics": trainer.accumulated.state_dict(),
            "callback_metrics": dict(trainer.callback_metrics),
            "history": trainer.history.state_dict(),
        }
    for callback in trainer.callbacks:
        callback.on_save_checkpoint(trainer, trainer.model, checkpoint)
    return checkpoint


def restore(trainer: Trainer, checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Puts a run into the state of a checkpoint."""
    from .. import set_rng_state

    where = os.fspath(path)
    if missing := [k for k in _NEEDED if k not in checkpoint]:
        raise ValueError(
            f"{where}: expected a whole checkpoint, but {', '.join(missing)} are not in it: it was saved with "
            f"weights only; load those into the model before fit (minigrad.train.load_weights)"
        )
    expected, got = len(trainer.schedules), len(checkpoint["lr_schedulers"])
    if expected != got:
        raise ValueError(
            f"{where}: expected the state of {expected} schedule(s), got {got}; fit with the schedules of the saved run"
        )
    try:
        trainer.model.load_state_dict(checkpoint["state_dict"])
        trainer.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        for s, state in zip(trainer.schedules, checkpoint["lr_schedulers"], strict=True):
            s.schedule.load_state_dict(state)
        trainer.loop.load_state_dict(checkpoint["loops"])
        trainer.history.load_state_dict(checkpoint["history"])
        trainer.callback_metrics = dict(checkpoint["callback_metrics"])
        trainer.accumulated.load_state_dict(checkpoint["metrics"])
        _move(trainer.train_loader, checkpoint["loaders"]["train"])
        _move(trainer.val_loader, checkpoint["loaders"]["val"])
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as e:
        e.add_note(f"Trainer: while resuming from {where}")
        raise
    _restore_callbacks(trainer, checkpoint["callbacks"], where)
    for callback in trainer.callbacks:
        callback.on_load_checkpoint(trainer, trainer.model, checkpoint)
    set_rng_state(checkpoint["generators"]["default"])


def _restore_callbacks(trainer: Trainer, states: dict[str, Any], where: str) -> None:
    import warnings

    mine = trainer.callbacks_by_key()
    for key, callback in mine.items():
        if key in states:
            callback.load_state_dict(states[key])
    lost = [k for k, state in states.items() if state and k not in mine]
    new = [k for k, callback in mine.items() if callback.state_dict() and k not in states]
    if lost or new:
        said = [f"saved, but not among the callbacks: {', '.join(lost)}"] * bool(lost)
        said += [f"among the callbacks, but not saved: {', '.join(new)}"] * bool(new)
        warnings.warn(
            f"{where}: {'; '.join(said)}; pass fit the callbacks of the saved run to go on exactly",
            stacklevel=5,
        )


def _position(loader: Any) -> Any:
    return loader.state_dict() if callable(getattr(loader, "state_dict", None)) else None


def _move(loader: Any, state: Any) -> None:
    if state is not None and callable(getattr(loader, "load_state_dict", None)):
        loader.load_state_dict(state)
