"""The README and the docs: every snippet runs, the op table is fresh, links lead somewhere, the site builds."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad.op import OPS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOLD = [p for p in PAGES if "```python" in p.read_text(encoding="utf-8")]


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", TOLD, ids=name)
def test_every_snippet_runs_in_the_order_of_its_page(page, tmp_path, monkeypatch):
    if "from numba import" in page.read_text(encoding="utf-8"):
        pytest.importorskip("numba")
    monkeypatch.chdir(tmp_path)
    told = {"__name__": page.stem}
    for number, snippet in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    ):
        if loading := sys.modules.get("minigrad.kernels.numba_cpu.loading"):
            loading.wait()  # a kernel that becomes ready ends what was traced before, which a snippet may count
        exec(compile(snippet, f"{name(page)}, snippet {number + 1}", "exec"), told)


def test_what_the_readme_says_is_printed_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = re.search(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.S)[1]
    exec(first, {})
    assert capsys.readouterr().out.strip() == re.search(r"# (tensor.*)", first)[1]


def test_the_op_table_is_made_from_the_rows_as_they_are():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "op_table.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


def test_a_stale_op_table_is_noticed():
    table = script("op_table")
    fresh, row = table.page(), OPS["gelu"]
    said, row.doc = row.doc, "something else"
    try:
        assert table.page() != fresh
    finally:
        row.doc = said


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_steps_to_a_gpt_are_those_of_its_table():
    steps = script("gpt_steps")
    first, *rest = steps.blocks()
    named = {}
    exec(first, named)
    assert named.keys() - {"__builtins__"} == {
        "text",
        "STEPS",
        "T",
    }  # which the script puts others in place of
    reported = re.findall(r'^report\("(.*?)"', "\n".join(rest), re.M)
    rows = re.findall(
        r"^\| (\d)\. (.*?) \| [\d,]+ \| ([\d.]+) \| ([\d.]+) \|", steps.PAGE.read_text("utf-8"), re.M
    )
    assert [name for _, name, *_ in rows] == reported and [int(k) for k, *_ in rows] == list(range(1, 8))
    for *_, loss, perplexity in rows:
        assert float(perplexity) == pytest.approx(math.exp(float(loss)), rel=0.006, abs=0.05)


def test_what_a_cache_saves_is_measured_and_drawn(tmp_path):
    pictures = script("cache_pictures")
    rows = pictures.measure((8, 16), 1, n_embd=16, n_layer=1, n_head=2, vocab_size=50)
    assert [r["length"] for r in rows] == [8, 16] and all(min(r.values()) > 0 for r in rows)
    assert pictures.table(rows).count("\n") == 1
    drawn = pictures.draw(rows, tmp_path).read_text("utf-8")
    assert drawn.count("<circle") == 4 and "with a cache" in drawn


def test_every_loss_optimizer_and_schedule_has_its_formula_on_the_page():
    told = set(re.findall(r"`(\w+)`", (ROOT / "docs/losses-and-optimizers.md").read_text(encoding="utf-8")))
    losses = {n for n in dir(minigrad.nn) if n.endswith("Loss")}
    optimizers = {n for n in minigrad.optim.__all__ if isinstance(getattr(minigrad.optim, n), type)}
    schedules = {n for n in dir(minigrad.optim.lr_scheduler) if n.endswith(("LR", "Plateau", "Restarts"))}
    assert losses | optimizers - {"Optimizer"} | schedules <= told


def test_the_tour_passes_every_room_and_names_none_that_is_not_there():
    named = set(re.findall(r"[\w/]+(?:\.py|/)(?=`)", (ROOT / "docs/tour.md").read_text(encoding="utf-8")))
    named = {n.removeprefix("minigrad/") for n in named}
    rooms = {p.name for p in (ROOT / "minigrad").glob("*.py")} | {
        f"{p.parent.name}/" for p in (ROOT / "minigrad").glob("*/__init__.py")
    }
    assert rooms - {"__init__.py"} <= named
    assert all((ROOT / "minigrad" / n).exists() for n in named)


@pytest.mark.parametrize(
    "path", re.findall(r"`((?:minigrad|tests|docs|kernels)/[\w/.-]*)", PAGES[1].read_text("utf-8"))
)
def test_every_path_that_contributing_names_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name(page)} links to {target}"


def test_the_readme_has_exactly_two_set_up_commands_of_one_line_each():
    commands = [
        b
        for b in re.findall(r"```sh\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.S)
        if "-m venv" in b
    ]
    assert len(commands) == 2
    assert all(len(c.strip().splitlines()) == 1 for c in commands)


def test_every_page_is_in_the_site_and_the_site_builds(tmp_path):
    nav = re.findall(r":? ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    docs = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert set(nav) == docs
    pytest.importorskip("mkdocs")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "--site-dir",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
