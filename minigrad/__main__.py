"""``python -m minigrad``: commands for the terminal. What they do is in ``minigrad.jobs``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from . import interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 done, 1 can't go on, 2 wrong usage, 130 interrupted,
    141 nobody reads the output any more."""
    from .jobs import JobError

    given = list(sys.argv[1:] if argv is None else argv)
    try:
        from .jobs.parser import build, parse

        options = parse(given)
        status = 0
        if options.version:
            from . import __version__

            print(f"minigrad {__version__}")
        elif options.command is None:
            build()[0].print_help()
        else:
            status = _run(options)
        sys.stdout.flush()  # here, where a reader that is gone can be told
        return status
    except JobError as e:
        return _failed(str(e))
    except BrokenPipeError:  # the reader, head or less, has seen enough; Python must not try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        return _failed(_told(e))
    except MemoryError as e:
        return _failed(f"out of memory: {e}; use smaller --hidden sizes, a smaller --batch-size or --limit")
    except KeyboardInterrupt:
        interrupt.tell()
        return 130


def _run(options: Any) -> int:
    if options.command == "train":
        from . import data, io, nn, optim, train  # noqa: F401  # while Ctrl-C still ends everything at once
        from .jobs.training import train as job
    elif options.command == "train shakespeare":
        from . import data, io, models, optim, text, train
        from .jobs.language import train as job
    elif options.command == "generate":
        from .jobs.language import generate as job
    elif options.command == "embed":
        from .jobs.embedding import embed as job
    elif options.command == "finetune":
        from . import data, io, models, optim, text, train  # noqa: F401
        from .jobs.finetuning import finetune as job
    elif options.command == "evaluate":
        from .jobs.evaluation import evaluate as job
    elif options.command == "predict":
        from .jobs.prediction import predict as job
    elif options.command == "summary":
        from .jobs.information import summarize as job
    elif options.command == "warmup":
        from .jobs.information import warmup as job
    elif options.command == "bench":
        import importlib  # the folder is beside the package, where no checker of types sees it

        job = importlib.import_module(".benchmarks.program", __package__).bench
    else:
        from .jobs.information import info as job
    interrupt.begun()
    return job(options)


def _failed(sentence: str) -> int:
    print(f"minigrad: {' '.join(sentence.split())}", file=sys.stderr)
    return 1


def _told(e: OSError) -> str:
    where = f"{e.filename}: " if e.filename and str(e.filename) not in (e.strerror or "") else ""
    remedy = "; change it (chmod), or give a path in a folder of yours"
    bare = isinstance(e, PermissionError) and e.strerror == os.strerror(e.errno or 0)
    return where + (e.strerror or str(e)) + (remedy if bare else "")


if __name__ == "__main__":
    raise SystemExit(main())
