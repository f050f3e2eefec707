"""The tester is tested: every gradient rule is made wrong in every small way, and each wrong rule must be caught.

A mutant is a rule scaled by 1.0005 or negated, or its source with one sign, one term or one factor removed,
or the engine without its un-broadcast. The checker here is the quick one: slopes of the forward computed once
for a row, against which a rule's gradients are projected.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import op_cases
import pytest
from op_cases import Call, close

import minigrad
import minigrad.backward as walk
from minigrad.op import Op, Rule

pytestmark = pytest.mark.once

DIFFERENTIABLE = op_cases.differentiable()


@pytest.fixture(autouse=True)
def reference():
    """The rules that are made wrong answer, and no kernel for them."""
    with minigrad.kernels("off"):
        yield


by_name = pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)


class Probe(NamedTuple):
    """A call with the slopes that its gradients must have: along one direction for each operand, or along all."""

    call: Call
    along: dict[int, Any]
    weight: Any
    slopes: dict[int, float]
    total: float | None
    scale: float


def probes(row: Op) -> list[Probe]:
    rng = np.random.default_rng(0)
    made = []
    for call in op_cases.fixed_calls(row, seed=1, limit=100):
        if not call.exact:
            made.append(_surrogate(call))
            continue
        along = op_cases.directions(call, rng)
        weight = op_cases.weights(call.forward(call.arrays).shape, rng)
        slopes = {i: op_cases.slope(call, {i: along[i]}, weight) for i in call.wrt}
        made.append(Probe(call, along, weight, slopes, None, op_cases.scale_of(call)))
    for call in op_cases.tied(row):
        if not call.exact:
            continue
        along = {i: np.ones_like(call.arrays[i]) for i in call.wrt}
        weight = op_cases.weights(call.forward(call.arrays).shape, rng)
        made.append(
            Probe(call, along, weight, {}, op_cases.slope(call, along, weight), op_cases.scale_of(call))
        )
    return made


def _surrogate(call: Call) -> Probe:
    """Where a row's gradient is, on purpose, not the derivative: what it is instead, by the plain definition."""
    rng = np.random.default_rng(3)
    along, weight = op_cases.directions(call, rng), op_cases.weights(call.forward(call.arrays).shape, rng)
    expected = SURROGATES[call.row.name](*call.arrays, weight, **call.attrs)
    slopes = {i: float((g * along[i]).sum()) for i, g in expected.items()}
    return Probe(call, along, weight, slopes, None, op_cases.scale_of(call))


def _embedding(
    index: Any, table: Any, g: Any, *, padding_idx: int, scale_grad_by_freq: bool
) -> dict[int, Any]:
    """Each occurrence adds its gradient to its row, over the number of occurrences; the padding row gets none."""
    out = np.zeros_like(table)
    for at in np.ndindex(index.shape):
        if index[at] != padding_idx:
            out[index[at]] += g[at] / ((index == index[at]).sum() if scale_grad_by_freq else 1)
    return {1: out}


SURROGATES: dict[str, Callable[..., dict[int, Any]]] = {"embedding": _embedding}


def passes(given: list[Probe]) -> bool:
    """Do the row's rules, as they stand, agree with the slopes?"""
    for call, along, weight, slopes, total, scale in given:
        try:
            found = op_cases.gradients(call, weight)
        except Exception:  # a mutant may break anything, and is caught by it
            return False
        with np.errstate(invalid="ignore"):  # a mutant may be infinite either way
            ours = {i: float((found[i]._array * along[i]).sum()) for i in found}
        if any(found[i].shape != call.arrays[i].shape for i in found):
            return False
        if any(not close(ours[i], there, scale, 1e-7) for i, there in slopes.items()):
            return False
        if total is not None and not close(sum(ours.values()), total, scale, 1e-7):
            return False
    return True


# ---- mutants ---------------------------------------------------------------------------------------------


def _each(result: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(result, (tuple, list)):
        return type(result)(None if r is None else change(r) for r in result)
    return None if result is None else change(result)


def scaled(rule: Rule, factor: float) -> Rule:
    return rule._replace(function=lambda *args: _each(rule.function(*args), lambda r: r * factor))


def edits(tree: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The function with one operator of its arithmetic removed, for every operator."""
    spots = [n for n in ast.walk(tree) if isinstance(n, (ast.BinOp, ast.UnaryOp))]
    for k, spot in enumerate(spots):
        replacements: list[ast.expr] = []
        if isinstance(spot, ast.UnaryOp) and isinstance(spot.op, ast.USub):
            replacements = [spot.operand]
        elif isinstance(spot, ast.BinOp) and isinstance(spot.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
            replacements = [spot.left, spot.right]
        for new in replacements:
            text = f"line {spot.lineno}: {ast.unparse(spot)} becomes {ast.unparse(new)}"
            yield text, _Swap(k, ast.unparse(new)).edited(tree)


class _Swap(ast.NodeTransformer):
    """Replaces the k-th operator, counted as ``ast.walk`` meets them."""

    def __init__(self, k: int, text: str) -> None:
        self.k, self.text = k, text

    def edited(self, tree: ast.FunctionDef) -> ast.FunctionDef:
        fresh = ast.parse(ast.unparse(tree)).body[0]
        spots = [n for n in ast.walk(fresh) if isinstance(n, (ast.BinOp, ast.UnaryOp))]
        self.target = spots[self.k]
        return self.visit(fresh)

    def visit(self, node: ast.AST) -> Any:
        if node is self.target:
            return ast.parse(self.text, mode="eval").body
        return self.generic_visit(node)


def without_an_operator(rule: Rule) -> Iterator[tuple[str, Rule]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule.function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    for text, edited in edits(tree):
        module = ast.fix_missing_locations(ast.Module([edited], []))
        space = dict(rule.function.__globals__)
        exec(compile(module, "<mutant>", "exec"), space)
        yield text, rule._replace(function=space[edited.name])


def mutants(rule: Rule) -> Iterator[tuple[str, Rule]]:
    yield "scaled by 1.0005", scaled(rule, 1.0005)
    yield "negated", scaled(rule, -1.0)
    yield from without_an_operator(rule)


# ---- the promises ---------------------------------------------------------------------------------------


def always_zero(given: list[Probe], target: int | None = None) -> bool:
    """Is the gradient zero wherever there is one? Then no factor can change it."""
    return all(s == 0 for p in given for i, s in p.slopes.items() if target in (None, i))


@by_name
def test_every_wrong_rule_is_caught(row, record_property):
    given = probes(row)
    assert passes(given), f"{row.name}: the quick checker refuses the true rules"
    original = list(row.rules)
    survivors, count = [], 0
    try:
        for k, rule in enumerate(original):
            flat = always_zero(given, rule.target)
            for text, mutant in mutants(rule):
                if flat and (text.startswith("scaled") or text == "negated"):
                    mutant = rule._replace(
                        function=lambda *a, f=rule.function: _each(f(*a), lambda r: r + 0.0005)
                    )
                row.rules = [*original[:k], mutant, *original[k + 1 :]]
                count += 1
                if passes(given):
                    survivors.append(f"rule {rule.target}: {text}")
    finally:
        row.rules = original
    record_property("mutants", count)
    assert not survivors, f"{row.name}: {len(survivors)} of {count} wrong rules pass:\n" + "\n".join(
        survivors
    )


def test_the_wrong_rules_are_many():
    rules = [rule for row in DIFFERENTIABLE for rule in row.rules]
    assert sum(1 for rule in rules for _ in mutants(rule)) > 5 * len(rules) > 500


def test_an_engine_that_does_not_unbroadcast_is_caught(monkeypatch):
    """Each elementwise row with several operands, with the sum over broadcast dimensions taken out."""

    def unfitted(module, g, to, create):
        return g

    def averaged(module, g, to, create, true=walk._fit):
        fitted = true(module, g, to, create)
        return fitted if fitted.shape == g.shape else fitted / 2

    broadcasting = [
        row for row in DIFFERENTIABLE if row.elementwise and len(row.inputs) - len(row.constant) > 1
    ]
    assert broadcasting
    for row in broadcasting:
        given = [p for p in probes(row) if len({a.shape for a in p.call.arrays if a is not None}) > 1]
        assert passes(given)
        if always_zero(given):
            continue
        for wrong in (unfitted, averaged):
            with monkeypatch.context() as patch:
                patch.setattr(walk, "_fit", wrong)
                assert not passes(given), f"{row.name} passes with {wrong.__name__} gradients"


@by_name
def test_the_public_checker_catches_a_rule_wrong_by_half_a_thousandth(row):
    from minigrad.autograd import gradcheck

    calls = [c for c in op_cases.fixed_calls(row, seed=2, limit=3) if c.wrt and c.exact]
    original = list(row.rules)
    try:
        for k, rule in enumerate(original):
            if always_zero(probes(row), rule.target):
                continue
            row.rules = [*original[:k], scaled(rule, 1.0005), *original[k + 1 :]]
            assert not all(_public(gradcheck, call) for call in calls), (
                f"{row.name}: rule {rule.target} passes"
            )
    finally:
        row.rules = original


def _public(gradcheck: Any, call: Call) -> bool:
    tensors = op_cases.leaves(call, call.wrt)

    def function(*given: Any) -> Any:
        full = list(tensors)
        for i, x in zip(call.wrt, given, strict=True):
            full[i] = x
        return call.run(full)

    inputs = [tensors[i] for i in call.wrt]
    return bool(gradcheck(function, inputs, rtol=1e-6, atol=1e-8, raise_exception=False))


def test_the_mutation_machine_removes_what_it_says():
    tree = ast.parse("def f(m, g, x):\n    return -g * x + 1").body[0]
    found = {ast.unparse(edited).split("return ")[1] for _, edited in edits(tree)}
    assert found == {"-g * x", "1", "-g + 1", "x + 1", "g * x + 1"}
