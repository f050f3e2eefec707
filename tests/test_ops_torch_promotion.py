"""PyTorch's type promotion: every pair of dtypes, as tensors, 0-d tensors and numbers, for every kind of binary op."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from beside_torch import OURS, THEIRS, agree, torch
from sides import DTYPES, name_of, quietly

import minigrad

BINARY = ("add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "maximum", "eq", "lt", "ge", "logical_and",
          "bitwise_and", "bitwise_xor")  # fmt: skip
OPERATORS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "%": lambda a, b: a % b, "**": lambda a, b: a**b, "<": lambda a, b: a < b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, ">=": lambda a, b: a >= b, "&": lambda a, b: a & b,
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b,
}  # fmt: skip
INPLACE = {"+=": "__iadd__", "-=": "__isub__", "*=": "__imul__", "/=": "__itruediv__", "//=": "__ifloordiv__", "%=": "__imod__",
           "**=": "__ipow__", "&=": "__iand__", "|=": "__ior__", "^=": "__ixor__"}  # fmt: skip
REFUSALS = (RuntimeError, TypeError, NotImplementedError, ZeroDivisionError)
LENIENT = "ours may compute what torch refuses"


def attempt(call, *args):
    """The result, or the exception."""
    try:
        return quietly(call, *args)
    except REFUSALS as e:
        return e


def compare(label, call, *pair_of_args, lenient=False):
    """Both refuse, or both compute and agree."""
    theirs, ours = (
        attempt(call, side, *args(side)) for side, args in zip((THEIRS, OURS), pair_of_args, strict=True)
    )
    if isinstance(theirs, Exception):
        assert lenient or isinstance(ours, Exception), f"{label}: torch refuses ({theirs}), here {ours}"
    else:
        assert not isinstance(ours, Exception), f"{label}: {ours!r}"
        agree(ours, theirs, label)


def tensors(side, a, b, shapes):
    values = ([1, 2, 3], [2, 1, 3])
    made = []
    for kind, shape, v in zip((a, b), shapes, values, strict=True):
        made.append(side.tensor(np.array(v[: shape[0]] if shape else v[0]).reshape(shape), kind))
    return made


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), ()), ((), (3,)), ((), ())])
def test_every_pair_of_dtypes_promotes_as_in_torch(op, shapes):
    for a, b in itertools.product(DTYPES, DTYPES):
        args = lambda side, a=a, b=b: tensors(side, a, b, shapes)  # noqa: E731
        compare(
            f"{op}({a}{shapes[0]}, {b}{shapes[1]})",
            lambda side, x, y: side.function(op)(x, y),
            args,
            args,
            lenient=True,
        )


@pytest.mark.parametrize("sign", OPERATORS)
def test_operators_with_tensors_and_numbers_promote_as_in_torch(sign):
    apply = OPERATORS[sign]
    for a, b in itertools.product(DTYPES, DTYPES):
        args = lambda side, a=a, b=b: tensors(side, a, b, ((3,), (3,)))  # noqa: E731
        compare(f"{a} {sign} {b}", lambda _, x, y: apply(x, y), args, args, lenient=True)
    for a, number, shape in itertools.product(DTYPES, (True, 2, 1.5, -1), ((3,), ())):
        args = lambda side, a=a, shape=shape: tensors(side, a, a, (shape, shape))[:1]  # noqa: E731
        compare(f"{a}{shape} {sign} {number}", lambda _, x, n=number: apply(x, n), args, args, lenient=True)
        compare(f"{number} {sign} {a}{shape}", lambda _, x, n=number: apply(n, x), args, args, lenient=True)


@pytest.mark.parametrize("sign", INPLACE)
def test_in_place_operators_keep_their_dtype_or_refuse_as_in_torch(sign):
    def write(_, x, y):
        result = getattr(x, INPLACE[sign])(y)
        assert result is x
        return x

    for a, b in itertools.product(DTYPES, DTYPES):
        args = lambda side, a=a, b=b: tensors(side, a, b, ((3,), (3,)))  # noqa: E731
        compare(f"{a} {sign} {b}", write, args, args, lenient="bool" in (a, b))
    for a, number in itertools.product(DTYPES, (True, 2, 1.5)):
        args = lambda side, a=a: tensors(side, a, a, ((3,), (3,)))[:1]  # noqa: E731
        compare(
            f"{a} {sign} {number}",
            lambda _, x, n=number: write(_, x, n),
            args,
            args,
            lenient=a == "bool" or number is True,
        )


def test_functions_of_three_and_of_many_promote_as_in_torch():
    for a, b in itertools.product(DTYPES, DTYPES):
        args = lambda side, a=a, b=b: tensors(side, a, b, ((3,), (3,)))  # noqa: E731
        for label, call in {
            "where": lambda s, x, y: s.lib.where(x > 1, x, y),
            "where number": lambda s, x, y: s.lib.where(x > 1, x, 2.5),
            "cat": lambda s, x, y: s.lib.cat([x, y]),
            "stack": lambda s, x, y: s.lib.stack([x, y]),
            "clamp": lambda s, x, y: s.lib.clamp(x, y, y),
            "clamp max": lambda s, x, y: s.lib.clamp(x, max=y),
            "addcmul": lambda s, x, y: s.lib.addcmul(x, y, y),
            "lerp": lambda s, x, y: s.lib.lerp(x, x, y),
            "result_type": lambda s, x, y: s.lib.result_type(x, y),
            "promote_types": lambda s, x, y: s.lib.promote_types(x.dtype, y.dtype),
            "can_cast": lambda s, x, y: s.lib.can_cast(x.dtype, y.dtype),
            "mse_loss": lambda s, x, y: s.F.mse_loss(x, y),
            "isclose": lambda s, x, y: s.lib.isclose(x, y),
        }.items():
            compare(f"{label}({a}, {b})", call, args, args, lenient=True)
        compare(f"matmul({a}, {b})", lambda s, x, y: x @ y, args, args, lenient=a == b)


def test_result_types_of_numbers_and_zero_dimensional_tensors_agree():
    for a, shape, number in itertools.product(DTYPES, ((), (2,)), (True, 2, 1.5)):
        kinds = []
        for side in (THEIRS, OURS):
            x = side.tensor(np.ones(shape), a)
            kinds += [(name_of(side.lib.result_type(x, number)), name_of(side.lib.result_type(number, x)))]
        assert kinds[0] == kinds[1], f"{a}{shape} with {number}"


@pytest.mark.parametrize("default", ["float64", "float32"])
def test_the_default_dtype_is_what_integers_divide_to(default):
    try:
        for side in (THEIRS, OURS):
            side.lib.set_default_dtype(getattr(side.lib, default))
        for call in (lambda t: t.tensor([1, 2]) / 2, lambda t: t.exp(t.tensor([1])), lambda t: t.tensor([1.5]), lambda t: t.ones(2),
                     lambda t: t.tensor([1, 2]) * 1.5, lambda t: t.arange(0, 1, 0.5), lambda t: t.tensor([True]) + 1.0,
                     lambda t: t.tensor([1, 2]).softmax(0, dtype=t.float32), lambda t: t.sigmoid(t.tensor(1))):  # fmt: skip
            agree(call(minigrad), call(torch), default)
    finally:
        torch.set_default_dtype(torch.float32)
        minigrad.set_default_dtype(minigrad.float32)
