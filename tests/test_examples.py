"""The examples do what they say, on little data, each in under 60 lines."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_regression_finds_the_line():
    slope, intercept, loss = example("regression")()
    assert slope == pytest.approx(3, abs=0.05) and intercept == pytest.approx(-1, abs=0.05)
    assert loss < 0.02


def test_xor_is_learned():
    assert example("xor")() == [0, 1, 1, 0]


@pytest.mark.parametrize("name", ["classifier_raw", "classifier_module", "classifier_trainer"])
def test_each_of_the_three_classifiers_learns_the_digits(name):
    assert example(name)() > 0.86


def test_the_binary_classifier_finds_the_zeros():
    precision, recall = example("binary")()
    assert precision > 0.9 and recall > 0.9


def test_the_custom_op_has_the_right_gradients():
    assert example("custom_op")()


def test_semantic_search_finds_the_line_itself_first_and_the_nearest_next(tmp_path, capsys):
    from test_cli_texts import bert

    lines = ["the film was good", "a very dull plot", "the play was fine"]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, ""]))
    (found,) = example("semantic_search")(tmp_path / "lines.txt", lines[1], model=bert(tmp_path / "bert"))
    assert found[0] == (pytest.approx(1.0, abs=1e-6), lines[1]) and len(found) == 3
    assert [c for c, _ in found] == sorted((c for c, _ in found), reverse=True)
    assert capsys.readouterr().out.splitlines()[0] == f"1.0000  {lines[1]}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_every_example_is_short_and_tested_here(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f'"{path.stem}"' in Path(__file__).read_text(encoding="utf-8")
