"""Python values that a compiled function reads, wherever they are kept: a change of any is seen by the next call."""

import collections
import dataclasses
import functools
import textwrap
import types

import numpy as np
import pytest

import minigrad

SELF = "class A:\n    def __init__(self): self.scale = 2.0; self.table = {'scale': 2.0}\n"
CASES = {  # code that makes f, and code that changes the number that it reads from 2 to 3
    "a default": ("def f(x, how=2.0): return x * how", "f.__defaults__ = (3.0,)"),
    "a default dict": ("def f(x, how={'scale': 2.0}): return x * how['scale']", "f.__defaults__[0]['scale'] = 3.0"),
    "a default list": ("def f(x, how=[2.0]): return x * how[0]", "f.__defaults__[0][0] = 3.0"),
    "a nested default": ("def f(x, how={'a': {'b': [[2.0]]}}): return x * how['a']['b'][0][0]", "f.__defaults__[0]['a']['b'][0][0] = 3.0"),
    "a default by keyword": ("def f(x, *, how=2.0): return x * how", "f.__kwdefaults__['how'] = 3.0"),
    "a default dict by keyword": ("def f(x, *, how={'a': 2.0}): return x * how['a']", "f.__kwdefaults__['how']['a'] = 3.0"),
    "a default of a function inside": ("def g(x, how=[2.0]): return x * how[0]\ndef f(x): return g(x)", "g.__defaults__[0][0] = 3.0"),
    "a default of a method": (SELF + "    def m(self, x, how=[2.0]): return x * how[0]\na = A()\nf = lambda x: a.m(x)", "A.m.__defaults__[0][0] = 3.0"),
    "a default object": (SELF + "def f(x, a=A()): return x * a.scale", "f.__defaults__[0].scale = 3.0"),
    "a default made inside": ("t = [2.0]\ndef f(x):\n    def g(x, s=t[0]): return x * s\n    return g(x)", "t[0] = 3.0"),
    "a default of a forward": ("class A(Module):\n    def forward(self, x, how={'a': 2.0}): return x * how['a']\nf = A()", "A.forward.__defaults__[0]['a'] = 3.0"),
    "a partial's keyword": ("f = functools.partial(lambda x, scale: x * scale, scale=2.0)", "f.keywords['scale'] = 3.0"),
    "a partial's list": ("t = [2.0]\nf = functools.partial(lambda s, x: x * s[0], t)", "t[0] = 3.0"),
    "a partial that is named": ("p = functools.partial(lambda x, scale: x * scale, scale=2.0)\ndef f(x): return p(x)", "p.keywords['scale'] = 3.0"),
    "a class attribute": ("class A: scale = 2.0\ndef f(x): return x * A.scale", "A.scale = 3.0"),
    "an inherited attribute": ("class B: scale = 2.0\nclass A(B): pass\na = A()\ndef f(x): return x * a.scale", "B.scale = 3.0"),
    "a list of a class": ("class A: scale = [2.0]\ndef f(x): return x * A.scale[0]", "A.scale[0] = 3.0"),
    "a closure's list": ("def make():\n    t = [2.0]\n    return t, lambda x: x * t[0]\nt, f = make()", "t[0] = 3.0"),
    "a global dict": ("t = {'scale': 2.0}\ndef f(x): return x * t['scale']", "t['scale'] = 3.0"),
    "a global nest": ("t = {'a': [{'b': [[2.0]]}]}\ndef f(x): return x * t['a'][0]['b'][0][0]", "t['a'][0]['b'][0][0] = 3.0"),
    "a global set": ("t = {2.0}\ndef f(x): return x * sum(t)", "t.clear(); t.add(3.0)"),
    "an object's attribute": (SELF + "a = A()\ndef f(x): return x * a.scale", "a.scale = 3.0"),
    "an object's dict": (SELF + "a = A()\ndef f(x): return x * a.table['scale']", "a.table['scale'] = 3.0"),
    "an object's object": (SELF + "a = A(); a.b = A()\ndef f(x): return x * a.b.table['scale']", "a.b.table['scale'] = 3.0"),
    "an object in a list": (SELF + "a = A(); t = [{'k': a}]\ndef f(x): return x * t[0]['k'].scale", "a.scale = 3.0"),
    "an object deep in lists": (SELF + "a = A(); t = [[[[[a]]]]]\ndef f(x): return x * t[0][0][0][0][0].scale", "a.scale = 3.0"),
    "an attribute of self": (SELF + "    def m(self, x): return x * self.scale\na = A(); f = a.m", "a.scale = 3.0"),
    "an object that is called": (SELF + "    def __call__(self, x): return x * self.scale\nf = A()", "f.scale = 3.0"),
    "a module's dict": ("class A(Module):\n    t = None\n    def forward(self, x): return x * self.t['a'][0]\nf = A(); f.t = {'a': [2.0]}", "f.t['a'][0] = 3.0"),
    "vars": (SELF + "a = A()\ndef f(x): return x * vars(a)['scale']", "a.scale = 3.0"),
    "__dict__": (SELF + "a = A()\ndef f(x): return x * a.__dict__['scale']", "a.scale = 3.0"),
    "getattr": (SELF + "a = A()\ndef f(x): return x * getattr(a, 'scale')", "a.scale = 3.0"),
    "a dataclass": ("@dataclasses.dataclass\nclass A: scale: float = 2.0\na = A()\ndef f(x): return x * a.scale", "a.scale = 3.0"),
    "a dataclass with slots": ("@dataclasses.dataclass(slots=True)\nclass A: scale: float = 2.0\na = A()\ndef f(x): return x * a.scale", "a.scale = 3.0"),
    "slots": ("class B: __slots__ = ('scale',)\nclass A(B): pass\na = A(); a.scale = [2.0]\ndef f(x): return x * a.scale[0]", "a.scale[0] = 3.0"),
    "a namespace": ("a = types.SimpleNamespace(scale=2.0)\ndef f(x): return x * a.scale", "a.scale = 3.0"),
    "a property": (SELF + "    @property\n    def s(self): return self.scale\na = A()\ndef f(x): return x * a.s", "a.scale = 3.0"),
    "a class method": ("class A:\n    scale = 2.0\n    @classmethod\n    def m(cls, x): return x * cls.scale\ndef f(x): return A().m(x)", "A.scale = 3.0"),
    "a static method": ("t = [2.0]\nclass A:\n    @staticmethod\n    def m(x): return x * t[0]\ndef f(x): return A.m(x)", "t[0] = 3.0"),
    "a function's attribute": ("def f(x): return x * f.scale\nf.scale = 2.0", "f.scale = 3.0"),
    "a function in a dict": ("t = [2.0]; d = {'f': lambda x: x * t[0]}\ndef f(x): return d['f'](x)", "t[0] = 3.0"),
    "a function that is wrapped": ("t = [2.0]\ndef deco(g):\n    @functools.wraps(g)\n    def h(*a): return g(*a)\n    return h\nf = deco(lambda x: x * t[0])", "t[0] = 3.0"),
    "a UserDict": ("d = collections.UserDict(scale=2.0)\ndef f(x): return x * d['scale']", "d['scale'] = 3.0"),
    "a ChainMap": ("d = collections.ChainMap({}, {'scale': 2.0})\ndef f(x): return x * d['scale']", "d.maps[1]['scale'] = 3.0"),
    "a defaultdict": ("d = collections.defaultdict(float, scale=2.0)\ndef f(x): return x * d['scale']", "d['scale'] = 3.0"),
    "a proxy": ("t = {'scale': 2.0}; d = types.MappingProxyType(t)\ndef f(x): return x * d['scale']", "t['scale'] = 3.0"),
    "a dict with attributes": ("class D(dict): __getattr__ = dict.__getitem__\nd = D(scale=2.0)\ndef f(x): return x * d.scale", "d['scale'] = 3.0"),
    "__getitem__": (SELF + "    def __getitem__(self, k): return self.table[k]\na = A()\ndef f(x): return x * a['scale']", "a.table['scale'] = 3.0"),
    "__getattr__": (SELF + "    def __getattr__(self, k): return self.table['scale']\na = A()\ndef f(x): return x * a.other", "a.table['scale'] = 3.0"),
    "__add__": (SELF + "    def __add__(self, other): return self.scale + other\na = A()\ndef f(x): return x * (a + 0)", "a.scale = 3.0"),
    "__radd__": (SELF + "    def __radd__(self, other): return self.scale + other\na = A()\ndef f(x): return x * (0 + a)", "a.scale = 3.0"),
    "__float__": (SELF + "    def __float__(self): return self.scale\na = A()\ndef f(x): return x * float(a)", "a.scale = 3.0"),
    "__len__": (SELF + "    def __len__(self): return int(self.scale)\na = A()\ndef f(x): return x * len(a)", "a.scale = 3.0"),
    "__iter__": (SELF + "    def __iter__(self): return iter([self.scale])\na = A()\ndef f(x):\n    for s in a: x = x * s\n    return x", "a.scale = 3.0"),
    "__contains__": (SELF + "    def __contains__(self, k): return self.scale == k\na = A()\ndef f(x): return x * 2 if 2.0 in a else x * 3", "a.scale = 3.0"),
    "an array": ("a = np.full(2, 2, 'f4')\ndef f(x): return x * minigrad.tensor(a)", "a.fill(3)"),
    "an element of an array": ("a = np.full(2, 2.0)\ndef f(x): return x * float(a[0])", "a.fill(3)"),
    "a bytearray": ("a = bytearray([2])\ndef f(x): return x * a[0]", "a[0] = 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_number_that_has_changed_is_read_anew(name):
    make, change = CASES[name]
    space = {"__name__": "user", "np": np, "minigrad": minigrad, "Module": minigrad.nn.Module}
    space |= {m.__name__: m for m in (collections, dataclasses, functools, types)}
    exec(textwrap.dedent(make), space)
    compiled, x = minigrad.compile(space["f"]), minigrad.ones(2)
    with minigrad.kernels("off"):
        for scale in (2, 3):
            for _ in range(4):
                assert compiled(x).tolist() == [scale, scale]
            if scale == 2:
                exec(change, space)
    assert getattr(compiled, "_compiled", compiled).retraces == 1


def test_what_does_not_change_is_traced_once_and_a_nest_may_have_itself_in_it():
    around = [2.0]
    around.append(around)
    f = minigrad.compile(lambda x, how={"in": around}: x * how["in"][1][1][0])
    for _ in range(4):
        assert f(minigrad.ones(2)).tolist() == [2, 2]
    assert f.retraces == 0
    around[0] = 3.0
    assert f(minigrad.ones(2)).tolist() == [3, 3] and f.retraces == 1


@pytest.mark.parametrize("kept", [np.zeros(2), bytearray(2), {0: 0}])
def test_what_the_function_changes_itself_is_refused(kept):
    def f(x, kept=kept):
        kept[0] += 1
        return x * 2

    with pytest.raises(
        minigrad.compiler.CompileError, match="the function changes what '__defaults__' stands"
    ):
        minigrad.compile(f)(minigrad.ones(2))
