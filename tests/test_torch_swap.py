"""Programs written for torch run when ``torch`` is swapped for ``minigrad``, and give the same results.

Each file of ``torch_code/`` is a program as people write them: it builds its parameters from NumPy's numbers
(random streams differ), asserts what it expects, prints, and leaves what it found in ``results``. It runs with
the word torch replaced; where torch is installed it runs as it stands as well, and results and text agree.
"""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

import minigrad

PROGRAMS = sorted((Path(__file__).parent / "torch_code").glob("*.py"))


def executed(path, framework):
    """The program's results and what it printed, with ``torch`` replaced by the framework's name."""
    source = re.sub(r"\btorch\b", framework, path.read_text(encoding="utf-8"))
    names, printed = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, f"{framework}/{path.name}", "exec"), names)
    return names["results"], printed.getvalue().replace("minigrad", "torch")


def agree(ours, theirs, where="results"):
    """Values of both frameworks, nested alike: dtypes, shapes and places in the graph equal, numbers close."""
    if type(theirs).__name__ in ("Tensor", "Parameter"):
        assert isinstance(ours, minigrad.Tensor) and type(ours).__name__ == type(theirs).__name__, where
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], f"{where}: {ours.dtype}"
        assert ours.requires_grad == theirs.requires_grad, f"{where}: requires_grad {ours.requires_grad}"
        ours, theirs = (t.detach().numpy() for t in (ours, theirs))
    if isinstance(theirs, np.ndarray):
        tolerance = 1e-4 if theirs.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=where, strict=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), f"{where}: {list(ours)}"
        for key in theirs:
            agree(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            agree(a, b, f"{where}[{i}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5, nan_ok=True), where
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{where}: {ours!r} for {theirs!r}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_program_runs_with_the_name_swapped(path):
    ours, text = executed(path, "minigrad")
    assert ours
    pytest.importorskip("torch")
    theirs, their_text = executed(path, "torch")
    agree(ours, theirs)
    assert text == their_text
