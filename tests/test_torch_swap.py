"""Code written for torch runs when ``torch`` is swapped for ``minigrad``, and gives the same results.

Each file of ``torch_code/`` is a program as people write them: it builds its parameters from NumPy's numbers
(random streams differ), asserts what it expects, prints, and leaves what it found in ``results``.
``torch_lines.py`` holds single habits. Both run with the word torch replaced; where torch is installed they run
as they stand as well, and results and text agree.
"""

import builtins
import contextlib
import contextvars
import functools
import io
import math
import re
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from torch_lines import AGREE, REFUSED

import minigrad

PROGRAMS = sorted((Path(__file__).parent / "torch_code").glob("*.py"))
HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"


@functools.cache
def torch_is_here():
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def executed(source, framework, name):
    """The names that the source leaves and what it printed, with ``torch`` replaced by the framework's name."""
    source = re.sub(r"\btorch\b", framework, source)
    names, printed = {"__name__": "__main__", "np": np, "math": math}, io.StringIO()
    code = compile(source, f"{framework}/{name}", "exec")
    with contextlib.redirect_stdout(printed):
        contextvars.copy_context().run(exec, code, names)
    return names, printed.getvalue().replace("minigrad", "torch")


def agree(ours, theirs, where="results"):
    """Values of both frameworks, nested alike: dtypes, shapes and places in the graph equal, numbers close."""
    if type(theirs).__name__ in ("Tensor", "Parameter"):
        assert isinstance(ours, minigrad.Tensor) and type(ours).__name__ == type(theirs).__name__, where
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], f"{where}: {ours.dtype}"
        assert ours.requires_grad == theirs.requires_grad, f"{where}: requires_grad {ours.requires_grad}"
        ours, theirs = (t.detach().numpy() for t in (ours, theirs))
    if isinstance(theirs, np.ndarray):
        tolerance = {np.dtype(np.float32): 1e-4, np.dtype(np.float16): 1e-2}.get(theirs.dtype, 1e-9)
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
        assert type(ours) is float and ours == pytest.approx(theirs, rel=1e-4, abs=1e-5, nan_ok=True), where
    elif isinstance(theirs, str) or type(theirs).__module__ == "torch":  # texts, dtypes, devices
        assert str(ours).replace("minigrad", "torch") == str(theirs), where
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{where}: {ours!r} for {theirs!r}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_program_runs_with_the_name_swapped(path):
    source = path.read_text(encoding="utf-8")
    ours, text = executed(source, "minigrad", path.name)
    assert ours["results"]
    if torch_is_here():
        theirs, their_text = executed(source, "torch", path.name)
        agree(ours["results"], theirs["results"])
        assert text == their_text


def first_words(code):
    return " ".join(code.split())[:50] if "\n" in code else code


@pytest.mark.parametrize("code", AGREE, ids=first_words)
def test_habit_gives_the_same(code):
    code = HEAD + textwrap.dedent(code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates some of them
        ours, text = executed(code, "minigrad", "line")
        if torch_is_here():
            theirs, their_text = executed(code, "torch", "line")
            agree(ours.get("r"), theirs.get("r"), "r")
            assert text == their_text


@pytest.mark.parametrize("error, code", REFUSED, ids=first_words)
def test_mistake_is_refused_with_the_same_type_of_error(error, code):
    code = HEAD + textwrap.dedent(code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(getattr(builtins, error)) as refusal:
            executed(code, "minigrad", "line")
        assert len(str(refusal.value)) > 20, "an error says what was expected and what came"
        if torch_is_here():
            with pytest.raises(getattr(builtins, error)):
                executed(code, "torch", "line")
