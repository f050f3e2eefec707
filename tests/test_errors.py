"""Bad input: each call gets an error that names op or file, what was expected, what came, the remedy."""

import re

import numpy as np
import pytest

import minigrad
from minigrad.nn import functional as F

x23, x34, v3 = minigrad.ones(2, 3), minigrad.ones(3, 4), minigrad.ones(3)
i3 = minigrad.tensor([0, 1, 2])


def leaf():
    return minigrad.ones(3, requires_grad=True)


def backward_twice():
    loss = (leaf() ** 2).sum()
    loss.backward()
    loss.backward()


def stale():
    x = leaf()
    y = minigrad.exp(x)
    y.add_(1)
    y.sum().backward()


CALLS = {  # what the user did: (the call, type, what the text must hold)
    "shapes that don't broadcast": (lambda: x23 + minigrad.ones(2, 4), RuntimeError,
        ["add", "tensor a (3)", "tensor b (4)", "dimension 1", "(2, 3)", "(2, 4)", "reshape"]),
    "a product of the wrong sizes": (lambda: x23 @ x23, RuntimeError, ["matmul", "2x3 and 2x3", "expected the last size"]),
    "a linear layer of the wrong width": (lambda: F.linear(x23, minigrad.ones(5, 4)), RuntimeError,
        ["linear", "2x3 and 4x5", "features", "(2, 3)"]),
    "a product with a number": (lambda: x23 @ minigrad.tensor(1.0), RuntimeError, ["matmul", "at least 1D", "2D and 0D", "with *"]),
    "a matrix product of mixed dtypes": (lambda: x23 @ x34.double(), RuntimeError, ["matmul", "same dtype", "float32", "float64", ".to(dtype)"]),
    "a matrix where mm wants one": (lambda: minigrad.mm(v3, x34), RuntimeError, ["mm", "matrix", "1D", "matmul"]),
    "batches of different number": (lambda: minigrad.bmm(minigrad.ones(2, 3, 4), minigrad.ones(3, 4, 5)), RuntimeError, ["bmm", "Expected", "got", "[3, 4]"]),
    "vectors of different length": (lambda: minigrad.dot(v3, minigrad.ones(4)), RuntimeError, ["dot", "[3]", "[4]"]),
    "a dim that isn't there": (lambda: x23.sum(2), IndexError, ["sum", "[-2, 1]", "got 2"]),
    "a dim that isn't a number": (lambda: x23.softmax("a"), TypeError, ["softmax", "dim", "int", "str"]),
    "a dim twice": (lambda: x23.sum((0, 0)), RuntimeError, ["(0, 0)", "multiple times"]),
    "the largest of nothing": (lambda: minigrad.ones(0, 3).amax(0), IndexError, ["amax", "non-zero size", "(0, 3)"]),
    "the place of the largest of nothing": (lambda: minigrad.ones(0).argmax(), IndexError, ["argmax", "non-zero size"]),
    "the gradient of a number": (lambda: minigrad.autograd.grad(5, leaf()), TypeError, ["grad", "outputs", "Tensor", "int 5"]),
    "the gradient by a number": (lambda: minigrad.autograd.grad(leaf().sum(), [5]), TypeError, ["grad", "inputs", "Tensor", "int 5"]),
    "the backward of a number": (lambda: minigrad.autograd.backward(5), TypeError, ["backward", "outputs", "int 5"]),
    "a gradient that is a word": (lambda: leaf().backward("a"), TypeError, ["backward", "gradients", "'a'"]),
    "an equation that is a number": (lambda: minigrad.einsum(5, x23), TypeError, ["einsum", "equation", "int 5"]),
    "capsules of a number": (lambda: minigrad.from_dlpack(5), AttributeError, ["from_dlpack", "__dlpack__", "int 5"]),
    "a batch norm of four dims": (lambda: minigrad.nn.BatchNorm1d(3)(minigrad.ones(1, 3, 2, 2)), ValueError, ["BatchNorm1d", "2D or 3D", "4D"]),
    "a mean of integers": (lambda: i3.mean(), RuntimeError, ["mean", "floating point", "int64", ".float()"]),
    "a softmax of integers": (lambda: i3.softmax(0), RuntimeError, ["softmax", "int64", "floating point", ".float()"]),
    "a norm of integers": (lambda: i3.norm(), RuntimeError, ["norm", "floating point", "int64", ".float()"]),
    "a norm of another name": (lambda: x23.norm("nuc"), RuntimeError, ["norm", "'fro' or a number", "'nuc'"]),
    "bits of floats": (lambda: x23 & x23, RuntimeError, ["bitwise_and", "integers or booleans", "float32"]),
    "a difference of booleans": (lambda: minigrad.sub(v3 > 0, v3 > 0), RuntimeError, ["sub", "bool", "logical_xor"]),
    "an integer to a negative power": (lambda: i3 ** -1, RuntimeError, ["pow", "negative integer powers", ".float()"]),
    "a shape of other size": (lambda: x23.reshape(4, 2), RuntimeError, ["reshape", "[4, 2]", "invalid for input of size 6", "[2, 3]"]),
    "two unknown sizes": (lambda: x23.reshape(-1, -1), RuntimeError, ["reshape", "only one dimension", "[-1, -1]"]),
    "a size that doesn't divide": (lambda: x23.reshape(4, -1), RuntimeError, ["reshape", "[4, -1]", "size 6"]),
    "a view of what isn't in a row": (lambda: x34.T.view(12), RuntimeError, ["view", "[4, 3]", "stride", ".reshape"]),
    "a permutation that isn't one": (lambda: x23.permute(0, 0), RuntimeError, ["permute", "each of the 2 dimensions once", "(0, 0)"]),
    "an expansion of 3 to 4": (lambda: x23.expand(2, 4), RuntimeError, ["expand", "[2, 4]", "[2, 3]"]),
    "the transpose of a cube by t": (lambda: minigrad.ones(2, 2, 2).t(), RuntimeError, ["t()", "<= 2 dimensions", "3D"]),
    "sections that don't sum": (lambda: x23.split([1, 1], 1), RuntimeError, ["split", "exactly to 3", "[1, 1]"]),
    "chunks of none": (lambda: x23.chunk(0), RuntimeError, ["chunk", "greater than 0", "got: 0"]),
    "a slice beyond the end": (lambda: x23.narrow(1, 2, 2), RuntimeError, ["narrow", "start (2) + length (2)", "size (3)"]),
    "joined sizes that differ": (lambda: minigrad.cat([x23, x34]), RuntimeError, ["cat", "[2, 3]", "[3, 4]", "number 1"]),
    "joined numbers": (lambda: minigrad.cat([minigrad.tensor(1.0)]), RuntimeError, ["cat", "zero-dimensional", "stack"]),
    "nothing joined": (lambda: minigrad.cat([]), (RuntimeError, ValueError), ["cat", "non-empty list"]),
    "a tensor for a list": (lambda: minigrad.stack(x23), TypeError, ["stack", "tuple of Tensors", "Tensor"]),
    "stacked sizes that differ": (lambda: minigrad.stack([v3, minigrad.ones(4)]), RuntimeError, ["stack", "equal size", "[3]", "[4]"]),
    "an index too large": (lambda: v3[3], IndexError, ["getitem", "index 3", "size 3", "(3,)"]),
    "too many indices": (lambda: v3[0, 0], IndexError, ["getitem", "too many indices", "dimension 1"]),
    "an index of a number": (lambda: minigrad.tensor(1.0)[0], IndexError, ["0-dim", "item()"]),
    "a float index": (lambda: v3[v3], IndexError, ["getitem", "long", "float32"]),
    "a negative step": (lambda: v3[::-1], ValueError, ["step must be greater than zero", "flip()"]),
    "a mask of another shape": (lambda: v3[minigrad.tensor([True, False])], IndexError, ["getitem", "(3,)"]),
    "an assignment that doesn't fit": (lambda: x23.clone().__setitem__(0, minigrad.ones(2)), RuntimeError, ["setitem", "[2]", "[3]"]),
    "gathering beyond the end": (lambda: v3.gather(0, minigrad.tensor([3])), (IndexError, RuntimeError), ["gather", "index 3", "size 3"]),
    "gathering with floats": (lambda: v3.gather(0, v3), RuntimeError, ["gather", "int64", "float32", ".long()"]),
    "scattering of other ranks": (lambda: x23.scatter(0, i3, 1.0), RuntimeError, ["scatter", "index [3]", "self [2, 3]"]),
    "selecting with a matrix": (lambda: x23.index_select(0, i3.reshape(1, 3)), IndexError, ["index_select", "vector", "2 dimensions"]),
    "a mask of numbers": (lambda: v3.masked_fill(i3, 0), RuntimeError, ["masked_fill", "boolean", "int64", "compare"]),
    "more than there are": (lambda: v3.topk(4), RuntimeError, ["topk", "out of range", "got 4"]),
    "one-hot of a class outside": (lambda: F.one_hot(i3, 2), RuntimeError, ["one_hot", "0 ≤ class < 2", "2"]),
    "one-hot of floats": (lambda: F.one_hot(v3), RuntimeError, ["one_hot", "LongTensor", "float32", ".long()"]),
    "a condition of numbers": (lambda: minigrad.where(v3, v3, v3), RuntimeError, ["where", "boolean", "float32"]),
    "a clamp without bounds": (lambda: v3.clamp(), RuntimeError, ["clamp", "'min' or 'max'", "None"]),
    "an einsum of too many letters": (lambda: minigrad.einsum("ijk->i", x23), RuntimeError, ["einsum", "'ijk'", "dimensions (2)"]),
    "an einsum of sizes that differ": (lambda: minigrad.einsum("ij,ij->ij", x23, x34), RuntimeError, ["einsum", "size", "[2, 3]", "[3, 4]"]),
    "an einsum of an unknown output": (lambda: minigrad.einsum("ij->k", x23), RuntimeError, ["einsum", "'k'" if False else "k", "does not appear"]),
    "an einsum of too few operands": (lambda: minigrad.einsum("ij,jk->ik", x23), RuntimeError, ["einsum", "expected 2 operands, got 1"]),
    "a padding of odd length": (lambda: F.pad(x23, (1,)), RuntimeError, ["pad", "even", "1 widths"]),
    "a padding mode of another name": (lambda: F.pad(x23, (1, 1), mode="mirror"), NotImplementedError, ["pad", "mirror", "reflect"]),
    "a label outside the classes": (lambda: F.cross_entropy(x23, minigrad.tensor([0, 3])), IndexError,
        ["cross_entropy", "Target 3", "0 ≤ target < 3", "last layer"]),
    "a negative label": (lambda: F.cross_entropy(x23, minigrad.tensor([0, -1])), IndexError, ["cross_entropy", "Target -1"]),
    "labels of another number": (lambda: F.cross_entropy(x23, i3), ValueError, ["cross_entropy", "batch_size (2)", "batch_size (3)"]),
    "labels that are floats": (lambda: F.nll_loss(x23, minigrad.ones(2)), RuntimeError, ["nll_loss", "Long", "float32", ".long()"]),
    "probabilities of another shape": (lambda: F.cross_entropy(x23, minigrad.ones(2, 4)), RuntimeError, ["cross_entropy", "[2, 3]", "[2, 4]"]),
    "a smoothing above one": (lambda: F.cross_entropy(x23, minigrad.tensor([0, 1]), label_smoothing=2.0), RuntimeError, ["label_smoothing", "2.0"]),
    "a reduction of another name": (lambda: F.mse_loss(v3, v3, reduction="avg"), ValueError, ["mse_loss", "avg", "'mean'"]),
    "a probability above one": (lambda: F.binary_cross_entropy(2 * v3, v3), RuntimeError, ["binary_cross_entropy", "between 0 and 1", "sigmoid"]),
    "targets of another shape": (lambda: F.binary_cross_entropy_with_logits(v3, x23), ValueError, ["Target size", "(2, 3)", "(3,)"]),
    "a dropout above one": (lambda: F.dropout(v3, 1.5), ValueError, ["dropout", "between 0 and 1", "1.5"]),
    "an embedding beyond the table": (lambda: F.embedding(i3, x23), IndexError, ["embedding", "got 2", "0 ≤ index < 2"]),
    "an embedding of floats": (lambda: F.embedding(v3, x23), RuntimeError, ["embedding", "int64", "float32", ".long()"]),
    "a norm over other sizes": (lambda: F.layer_norm(x23, (4,)), RuntimeError, ["layer_norm", "[4]", "[2, 3]"]),
    "a batch norm of one value": (lambda: F.batch_norm(minigrad.ones(1, 3), None, None, training=True), ValueError, ["batch_norm", "more than 1 value", "[1, 3]"]),
    "a batch norm without its statistics": (lambda: F.batch_norm(x23, None, None), RuntimeError, ["running_mean", "training=False"]),
    "a mask and causal": (lambda: F.scaled_dot_product_attention(x23, x23, x23, attn_mask=minigrad.ones(2, 2), is_causal=True), RuntimeError,
        ["scaled_dot_product_attention", "is_causal=True"]),
    "heads that don't divide": (lambda: F.scaled_dot_product_attention(*(minigrad.ones(1, h, 2, 4) for h in (3, 2, 2)), enable_gqa=True),
        RuntimeError, ["enable_gqa", "(3)", "multiple", "(2)"]),
    "backward twice": (backward_twice, RuntimeError, ["second time", "retain_graph=True"]),
    "backward from what isn't a number": (lambda: (leaf() * 2).backward(), RuntimeError, ["scalar", "(3,)", ".sum()"]),
    "backward from what has no graph": (lambda: v3.sum().backward(), RuntimeError, ["does not require grad", "requires_grad=True"]),
    "backward with a gradient of another shape": (lambda: (leaf() * 2).backward(minigrad.ones(2)), RuntimeError, ["Mismatch in shape", "(2,)", "(3,)"]),
    "the gradient of what wasn't used": (lambda: minigrad.autograd.grad(leaf().sum(), leaf()), RuntimeError, ["not have been used", "allow_unused=True"]),
    "the gradient by what doesn't want one": (lambda: minigrad.autograd.grad(leaf().sum(), v3), RuntimeError, ["does not require grad", "requires_grad_()"]),
    "a leaf written in place": (lambda: leaf().add_(1), RuntimeError, ["add_", "leaf", "no_grad()"]),
    "a view of a leaf written in place": (lambda: leaf()[0].zero_(), RuntimeError, ["view of a leaf", "no_grad()"]),
    "a saved tensor written in place": (stale, RuntimeError, ["exp", "modified by an inplace operation", "version 1", "expected version 0", "clone()"]),
    "an expanded tensor written in place": (lambda: minigrad.ones(1).expand(3).add_(1), RuntimeError, ["add_", "single memory location", "clone()"]),
    "an in-place result of another shape": (lambda: minigrad.ones(1).add_(v3), RuntimeError, ["add_", "[1]", "[3]"]),
    "an in-place result of another kind": (lambda: minigrad.tensor([1]).add_(1.5), RuntimeError, ["add_", "float", "can't be cast", "int64"]),
    "integers that want a gradient": (lambda: minigrad.tensor([1], requires_grad=True), RuntimeError, ["floating point", "int64", ".float()"]),
    "NumPy's view of what wants a gradient": (lambda: leaf().numpy(), RuntimeError, ["numpy", "detach().numpy()"]),
    "the number of many": (lambda: v3.item(), RuntimeError, ["item", "3 elements", "index it first"]),
    "the truth of many": (lambda: bool(v3), RuntimeError, ["ambiguous", "(3,)", ".any() or .all()"]),
    "a tensor of ragged lists": (lambda: minigrad.tensor([[1, 2], [3]]), ValueError, ["tensor", "equal length"]),
    "a tensor of words": (lambda: minigrad.tensor(["a"]), (TypeError, ValueError), ["tensor", "numbers"]),
    "a tensor of nothing": (lambda: minigrad.tensor(None), (TypeError, RuntimeError), ["tensor", "NoneType"]),
    "an array of strange elements": (lambda: minigrad.from_numpy(np.array(["a"])), TypeError, ["from_numpy", "<U1", "float64"]),
    "an array in the other byte order": (lambda: minigrad.from_numpy(np.ones(2, ">f4")), ValueError, ["from_numpy", "byte order"]),
    "a function of a number": (lambda: minigrad.exp(1.0), TypeError, ["exp", "must be Tensor", "float"]),
    "a missing argument": (lambda: minigrad.lerp(v3, v3), TypeError, ["lerp", "missing", "'weight'", "lerp(input, end, weight)"]),
    "an unknown argument": (lambda: minigrad.amax(v3, dims=0), TypeError, ["amax", "unexpected", "'dims'"]),
    "a device that isn't there": (lambda: v3.to("cuda"), RuntimeError, ["cuda", "not available", "cpu", "register"]),
    "kernels of another name": (lambda: minigrad.kernels("fast").__enter__(), ValueError, ["fast", "auto, off, require"]),
    "a deep copy of what isn't a leaf": (lambda: __import__("copy").deepcopy(leaf() * 2), RuntimeError, ["deepcopy", "leaves", "detach()"]),
    "a pickled tensor": (lambda: __import__("pickle").dumps(v3), TypeError, ["pickle", "minigrad.save", "safetensors"]),
    "an attribute that isn't there": (lambda: minigrad.convolute, AttributeError, ["minigrad", "convolute"]),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
def test_the_error_says_what_was_expected_what_came_and_what_to_do(what):
    call, kind, words = CALLS[what]
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    missing = [w for w in words if w not in text]
    assert not missing, f"{missing} not in: {text}"
    assert len(text) > 30 and not re.search(r"0x[0-9a-f]{6}", text)


def test_there_are_a_hundred_of_them():
    assert len(CALLS) >= 100
