"""Products of matrices and tensors; ``einsum`` as batched matmuls."""

from __future__ import annotations

import builtins
import math
import string
from typing import Any

from .. import errors
from ..op import composite
from ..tensor import Tensor
from .arguments import dim_of, factor_of, row
from .reductions import sum
from .shapes import expand, unsqueeze


def _rank(name: str, x: Any, n: int, which: str) -> None:
    if x.ndim != n:
        raise RuntimeError(f"{name}: {which} must be a {['0-d', '1D', 'matrix', '3D'][n]} tensor, got {x.ndim}D; use matmul "
                           f"for other ranks")  # fmt: skip


@composite
def mm(input: Any, mat2: Any) -> Any:
    """The product of two matrices."""
    _rank("mm", input, 2, "self")
    _rank("mm", mat2, 2, "mat2")
    return row("matmul", input, mat2)


@composite
def bmm(input: Any, mat2: Any) -> Any:
    """The products of two batches of matrices."""
    _rank("bmm", input, 3, "batch1")
    _rank("bmm", mat2, 3, "batch2")
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, "
                           f"{input.shape[2]}] but got: {list(mat2.shape[:2])}")  # fmt: skip
    return row("matmul", input, mat2)


@composite
def mv(input: Any, vec: Any) -> Any:
    """A matrix times a vector."""
    _rank("mv", input, 2, "input")
    _rank("mv", vec, 1, "vec")
    return row("matmul", input, vec)


@composite
def dot(input: Any, tensor: Any) -> Any:
    """Σ xᵢ yᵢ of two vectors of the same length."""
    _rank("dot", input, 1, "self")
    _rank("dot", tensor, 1, "tensor")
    if input.shape != tensor.shape:
        raise RuntimeError(f"dot: inconsistent tensor size, expected tensor [{input.shape[0]}] and src [{tensor.shape[0]}] to "
                           f"have the same number of elements")  # fmt: skip
    return row("matmul", input, tensor)


@composite
def inner(input: Any, other: Any) -> Any:
    """The sum over products along the last dimension of both; by a number, the product."""
    if not input.ndim or not other.ndim:
        return input * other
    return tensordot(input, other, ([-1], [-1]))


@composite
def kron(input: Any, other: Any) -> Any:
    """Kronecker's product: every element of input times the whole of other."""
    n = builtins.max(input.ndim, other.ndim)
    a, b = (x.reshape((1,) * (n - x.ndim) + tuple(x.shape)) for x in (input, other))
    shape = tuple(i * j for i, j in zip(a.shape, b.shape, strict=True))
    spread = a.reshape([k for i in a.shape for k in (i, 1)]) * b.reshape([k for j in b.shape for k in (1, j)])
    return spread.reshape(shape)


@composite
def outer(input: Any, vec2: Any) -> Any:
    """xᵢ yⱼ of two vectors."""
    _rank("outer", input, 1, "self")
    _rank("outer", vec2, 1, "vec2")
    return unsqueeze(input, 1) * vec2


def _affine(input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    beta, alpha = factor_of(product, beta), factor_of(product, alpha)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else (input if beta == 1 else input * beta) + product


@composite(inplace=True)
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · mat1 @ mat2."""
    return _affine(input, mm(mat1, mat2), beta, alpha)


@composite(inplace=True)
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · mat @ vec."""
    return _affine(input, mv(mat, vec), beta, alpha)


@composite(inplace=True)
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta · input + alpha · batch1 @ batch2, batch by batch."""
    return _affine(input, bmm(batch1, batch2), beta, alpha)


@composite(method=False)
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sum over products along pairs of dimensions: the last of a with the first of b, or those listed."""
    if isinstance(dims, int):
        da, db = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        da, db = ([dim_of("tensordot", x, d) for d in (ds if isinstance(ds, (tuple, list)) else [ds])]
                  for x, ds in zip((a, b), dims, strict=True))  # fmt: skip
    letters = string.ascii_letters
    la, lb = list(letters[: a.ndim]), list(letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(da, db, strict=True):
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(f"tensordot: contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} "
                               f"and second has size {b.shape[j]} in dim {j}")  # fmt: skip
        lb[j] = la[i]
    out = [x for i, x in enumerate(la) if i not in da] + [x for j, x in enumerate(lb) if j not in db]
    return einsum(f"{''.join(la)},{''.join(lb)}->{''.join(out)}", a, b)


@composite(method=False)
def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products by Einstein's convention: ``einsum("bij,bjk->bik", x, y)``.

    Every legal equation: any number of operands, repeated letters (diagonals), ``...`` for dimensions that
    broadcast, an implicit output (letters that occur once, in alphabetical order, after those of ``...``),
    and the form with lists of ints. Contracted from left to right, each pair as one batched matmul.
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists(equation, operands)
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    terms, output, sizes = _parsed(equation, operands)
    work = [_diagonals(x, term) for x, term in zip(operands, terms, strict=True)]
    a, la = work[0]
    for i, (b, lb) in enumerate(work[1:], 1):
        later = set(output).union(*(t for _, t in work[i + 1 :]))
        a, la = _contracted(a, la, b, lb, later, sizes)
    gone = [i for i, k in enumerate(la) if k not in output]
    a = sum(a, tuple(gone)) if gone else a
    la = [k for k in la if k in output]
    return row("permute", a, dims=tuple(la.index(k) for k in output))


def _from_sublists(first: Any, rest: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    items = [first, *rest]
    for i, item in enumerate(items):
        if (i % 2 == 0 and i < len(items) // 2 * 2) != isinstance(item, Tensor) or len(items) < 2:
            raise TypeError(f"einsum: expected an equation and tensors, or each tensor followed by a list of its subscripts, "
                            f"got {errors.describe(item)} in place {i}")  # fmt: skip
    letters = string.ascii_uppercase + string.ascii_lowercase  # in the order of the implicit output
    spell = lambda s: "".join("..." if i is Ellipsis else letters[i] for i in s)  # noqa: E731
    n = len(items) // 2
    equation = ",".join(spell(items[2 * i + 1]) for i in range(n))
    return equation + ("->" + spell(items[-1]) if len(items) % 2 else ""), tuple(
        items[2 * i] for i in range(n)
    )


def _parsed(equation: str, operands: tuple[Any, ...]) -> tuple[list[list[Any]], list[Any], dict[Any, int]]:
    """Labels by operand, labels of the output, sizes. The dimensions of ``...`` are labelled -k … -1."""

    def refuse(why: str) -> RuntimeError:
        return RuntimeError(f"einsum: {why} in equation {equation!r} for operands "
                            f"{', '.join(str(list(x.shape)) for x in operands)}")  # fmt: skip

    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise refuse(f"expected {len(parts)} operands, got {len(operands)},")
    terms: list[list[Any]] = []
    sizes: dict[Any, int] = {}

    def labels(part: str, covers: int) -> list[Any]:
        head, dots, tail = part.partition("...")
        for c in head + tail:
            if c not in string.ascii_letters:
                raise refuse(f"invalid subscript {c!r}, expected letters or '...',")
        return [*head, *range(-covers, 0), *tail] if dots else list(head)

    for part, x in zip(parts, operands, strict=True):
        covers = x.ndim - len(part.replace("...", ""))
        if covers < 0 or covers and "..." not in part:
            raise refuse(
                f"the number of subscripts in {part!r} does not match the number of dimensions ({x.ndim})"
            )
        terms.append(labels(part, covers))
        for k, n in zip(terms[-1], x.shape, strict=True):
            if sizes.setdefault(k, n) != n:
                if 1 not in (n, sizes[k]):
                    raise refuse(f"subscript {k if isinstance(k, str) else '...'} has size {n}, which does not broadcast with "
                                 f"previously seen size {sizes[k]},")  # fmt: skip
                sizes[k] = builtins.max(n, sizes[k])
    dots = sorted({k for t in terms for k in t if isinstance(k, int)})
    if arrow:
        output = labels(right, len(dots))
        if len(set(output)) != len(output):
            raise refuse("an output subscript appears more than once")
        if missing := [k for k in output if k not in sizes]:
            raise refuse(f"output subscript {missing[0]} does not appear in any operand")
    else:
        letters = [k for t in terms for k in t if isinstance(k, str)]
        output = [*dots, *sorted(k for k in set(letters) if letters.count(k) == 1)]
    return terms, output, sizes


def _diagonals(x: Any, term: list[Any]) -> tuple[Any, list[Any]]:
    """Takes the diagonal of every repeated letter."""
    term = list(term)
    while len(set(term)) != len(term):
        k = next(k for k in term if term.count(k) > 1)
        i = term.index(k)
        j = term.index(k, i + 1)
        x = row("diagonal", x, offset=0, dim1=i, dim2=j)  # the diagonal becomes the last dimension
        term = [c for n, c in enumerate(term) if n not in (i, j)] + [k]
    return x, term


def _contracted(
    a: Any, la: list[Any], b: Any, lb: list[Any], later: set[Any], sizes: dict[Any, int]
) -> tuple[Any, list[Any]]:
    """One pair as a batched matmul: (batch, free a, summed) @ (batch, summed, free b)."""
    for own, other in ((0, lb), (1, la)):  # sums that concern one operand alone
        x, labels = (a, la) if not own else (b, lb)
        gone = [i for i, k in enumerate(labels) if k not in other and k not in later]
        if gone:
            x, labels = sum(x, tuple(gone)), [k for i, k in enumerate(labels) if i not in gone]
        if not own:
            a, la = x, labels
        else:
            b, lb = x, labels
    both = [k for k in la if k in lb]
    batch, summed = [k for k in both if k in later], [k for k in both if k not in later]
    free_a, free_b = [k for k in la if k not in lb], [k for k in lb if k not in la]
    shape = lambda ks: tuple(sizes[k] for k in ks)  # noqa: E731

    def arranged(x: Any, labels: list[Any], groups: tuple[list[Any], ...]) -> Any:
        order = [k for g in groups for k in g]
        x = expand(row("permute", x, dims=tuple(labels.index(k) for k in order)), tuple(
            sizes[k] if k in both else x.shape[labels.index(k)] for k in order))  # fmt: skip
        return row(
            "reshape",
            x,
            shape=(
                *shape(groups[0]),
                *(
                    math.prod(
                        x.shape[
                            len(groups[0]) + sum_before(groups, g) : len(groups[0])
                            + sum_before(groups, g)
                            + len(g)
                        ]
                    )
                    for g in groups[1:]
                ),
            ),
        )

    def sum_before(groups: tuple[list[Any], ...], g: list[Any]) -> int:
        count = 0
        for other in groups[1:]:
            if other is g:
                return count
            count += len(other)
        return count

    left, right = arranged(a, la, (batch, free_a, summed)), arranged(b, lb, (batch, summed, free_b))
    fa = tuple(a.shape[la.index(k)] for k in free_a)
    fb = tuple(b.shape[lb.index(k)] for k in free_b)
    product = row("matmul", left, right)
    return row("reshape", product, shape=(*shape(batch), *fa, *fb)), [*batch, *free_a, *free_b]
