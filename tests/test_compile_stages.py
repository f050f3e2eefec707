"""What is shown of a program's passes: every stage, and pictures that are made from the program."""

import importlib.util
from pathlib import Path

import minigrad

ROOT = Path(__file__).parents[1]


def test_every_pass_is_shown_and_what_it_did():
    with minigrad.kernels("off"):
        f = minigrad.compile(lambda x: (x.neg().neg() * 1 + x.exp() + x.exp(), x.sin())[0])
        f(minigrad.rand(3))
        stages = dict(f.passes().stages)
    assert list(stages) == [
        "traced",
        "without_repeats",
        "rewritten",
        "beside",
        "without_dead",
        "made_again",
        "with_chains",
        "with_epilogues",
        "with_blocks",
        "in its memory",
    ]
    assert [len(lines) for lines in stages.values()] == [8, 7, 5, 5, 3, 3, 3, 3, 3, 3]
    assert sum("exp(x0)" in line for line in stages["traced"]) == 2
    assert stages["in its memory"][-1].startswith("add(")
    assert str(f.passes()).count("\n\n") == 9


def test_the_pictures_of_the_page_are_those_of_the_program(tmp_path):
    spec = importlib.util.spec_from_file_location("compile_pictures", ROOT / "docs" / "compile_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.draw(tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_text() == (ROOT / "docs" / "images" / made.name).read_text(), (
            f"run {module.__file__}"
        )
    assert len(list(tmp_path.iterdir())) >= 2


def test_a_picture_of_memory_has_a_box_for_every_place():
    with minigrad.kernels("off"):
        f = minigrad.compile(lambda x: ((x + 1).exp() @ x.T).tanh().sum())
        f(minigrad.rand(8, 8))
        plan = f._last.planned.plan
        assert str(f.passes().memory()).count('stroke="#0072b2"') == len(plan.places) > 2
