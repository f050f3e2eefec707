"""The distribution: what is in it, that it installs and imports away from the checkout, what an import costs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NUMPY = Path(np.__file__).parents[1]
EXTRAS = {
    "numba",
    "cupy",
    "scipy",
    "matplotlib",
    "tqdm",
    "PIL",
    "tokenizers",
    "ml_dtypes",
    "tensorboardX",
    "torch",
}


def call(*command, cwd, **environment):
    """Runs a command away from the checkout and returns what it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "COVERAGE_"))}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The sdist made of a copy of the checkout, and the wheel made of that sdist."""
    copy, out = tmp_path_factory.mktemp("copy") / "checkout", tmp_path_factory.mktemp("dist")
    unwanted = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "site", "runs")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=out)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def venv(dist, tmp_path_factory):
    """A fresh environment that has the wheel, and NumPy by its path: no index is asked."""
    home = tmp_path_factory.mktemp("venv")
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    bin = home / ("Scripts" if os.name == "nt" else "bin")
    site = Path(
        call(bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    (site / "numpy-of-the-tests.pth").write_text(str(NUMPY))
    call(sys.executable, "-m", "pip", "--python", bin / "python", "install", "--no-deps", "--no-index",
         "--quiet", dist[1], cwd=home)  # fmt: skip
    return bin, site


def test_the_wheel_holds_every_module_the_types_and_the_digits(dist):
    with zipfile.ZipFile(dist[1]) as wheel:
        names = set(wheel.namelist())
    shims = {"minigrad/kernels/__init__.py", "minigrad/benchmarks/__init__.py"}
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "minigrad").rglob("*.py")} | shims
    for folder in ("kernels", "benchmarks"):
        modules |= {f"minigrad/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / folder).rglob("*.py")}
    data = {f"minigrad/data/digits/{p.name}" for p in (ROOT / "minigrad/data/digits").iterdir()}
    assert len(data) == 5
    assert modules | data | {"minigrad/py.typed"} <= names
    assert not [n for n in names if not n.startswith(("minigrad/", "minigrad_xp-"))]


def test_the_wheel_is_smaller_than_one_megabyte(dist):
    assert dist[1].stat().st_size < 1_000_000


def test_the_sdist_holds_the_shims_the_tests_and_the_licence(dist):
    with tarfile.open(dist[0]) as sdist:
        names = {n.split("/", 1)[-1] for n in sdist.getnames()}
    assert {"minigrad/kernels/__init__.py", "minigrad/benchmarks/__init__.py", "tests/test_packaging.py",
            "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"} <= names  # fmt: skip


def test_the_wheels_metadata_say_name_version_python_and_the_one_dependency(dist):
    with zipfile.ZipFile(dist[1]) as wheel:
        meta = (
            wheel.read(next(n for n in wheel.namelist() if n.endswith("METADATA"))).decode().split("\n\n")[0]
        )
    import minigrad

    assert f"Name: minigrad-xp\nVersion: {minigrad.__version__}\n" in meta
    assert "Requires-Python: >=3.11" in meta
    assert [d for d in re.findall("Requires-Dist: (.*)", meta) if "extra ==" not in d] == ["numpy>=2.0"]


def test_the_installed_package_trains_away_from_the_checkout(venv):
    bin, site = venv
    seen = call(bin / "python", "-c", STRANGER, cwd=site)
    files = json.loads(seen)
    assert all(Path(f).is_relative_to(site / "minigrad") for f in files.values()), files


STRANGER = """
import importlib, json
import minigrad
x = minigrad.tensor([3.0], requires_grad=True)
(x * x).sum().backward()
assert x.grad.item() == 6.0
assert len(minigrad.data.Digits(train=False)) == 360
names = ["minigrad", "minigrad.kernels", "minigrad.benchmarks", "minigrad.nn", "minigrad.utils.data"]
print(json.dumps({n: importlib.import_module(n).__file__ for n in names}))
"""


def test_the_installed_command_runs(venv):
    bin, site = venv
    assert "numpy" in call(bin / "minigrad", "info", cwd=site).lower()


def test_in_the_checkout_kernels_and_benchmarks_resolve_to_the_top_folders():
    code = "import sys, minigrad.benchmarks as b; k = sys.modules['minigrad.kernels']; print(*k.__path__, *b.__path__, sep='\\n')"
    seen = call(sys.executable, "-c", code, cwd=ROOT).split("\n")
    assert [Path(p) for p in seen[:2]] == [ROOT / "kernels", ROOT / "benchmarks"]


@pytest.mark.parametrize("name", ["kernels"])
def test_a_top_level_folder_refuses_to_be_imported_under_its_bare_name(name):
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert f"this package is minigrad.{name}" in done.stderr


def in_a_fresh_python(code):
    return json.loads(call(sys.executable, "-c", code, cwd=ROOT))


@pytest.mark.parametrize("path", ["utils.data.DataLoader", "utils.checkpoint.checkpoint", "nn.utils.rnn.pad_sequence",
                                  "autograd.functional.hessian", "optim.lr_scheduler.StepLR", "func.functional_call"])  # fmt: skip
def test_what_torch_shows_after_its_own_import_alone_is_reachable(path):
    assert in_a_fresh_python(f"import json, minigrad; print(json.dumps(callable(minigrad.{path})))")


def test_importing_loads_no_extra():
    loaded = in_a_fresh_python("import json, sys, minigrad; print(json.dumps(sorted(sys.modules)))")
    assert "minigrad.tensor" in loaded
    assert not EXTRAS & {name.split(".")[0] for name in loaded}


def test_importing_costs_few_modules_over_numpy():
    """Modules, which don't depend on the machine's speed; ``benchmarks.import_time`` measures seconds."""
    seen = in_a_fresh_python(
        "import json, sys, numpy; before = set(sys.modules); import minigrad;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    heavy = {
        "urllib.request",
        "http.client",
        "gzip",
        "csv",
        "concurrent.futures",
        "asyncio",
        "unittest",
        "ssl",
    }
    assert not heavy & set(seen)
    assert len([n for n in seen if not n.startswith("minigrad")]) <= 12, seen
    assert len(seen) <= 68, seen


def test_importing_changes_no_state_of_the_process():
    before, after = in_a_fresh_python(STATE)
    assert before == after


STATE = """
import json, locale, logging, os, random, signal, sys, threading, warnings
import numpy as np
def state():
    return [
        np.geterr(), np.get_printoptions(), str(np.random.get_state()), repr(warnings.filters),
        [t.name for t in threading.enumerate()], sys.getrecursionlimit(), sys.getswitchinterval(),
        repr(sys.excepthook), repr(sys.displayhook), dict(os.environ), os.getcwd(), sys.path,
        repr(random.getstate()), [repr(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        repr(logging.root.handlers), str(locale.getlocale()), [repr(p) for p in sys.meta_path],
    ]
before = state()
import minigrad
print(json.dumps([before, state()], default=str))
"""


README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_has_two_set_up_commands_each_one_line():
    made = [b.strip() for b in blocks("(?:bash|sh|console)") if " -m venv " in b]
    lines = [line for b in made for line in b.split("\n")]
    assert len(lines) == 2, lines
    assert all("pip install" in line for line in lines)
    assert "minigrad train" in lines[0]
    assert "pytest" in lines[1]


def test_the_readmes_python_runs_as_it_stands(tmp_path):
    code = blocks("python")
    assert code
    call(sys.executable, "-W", "error", "-c", "\n".join(code), cwd=tmp_path, PYTHONPATH=str(ROOT))
