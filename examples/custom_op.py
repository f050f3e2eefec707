"""An op of one's own, two ways, each with its gradient tested against finite differences."""

import minigrad
from minigrad import autograd
from minigrad.op import OPS, elementwise


class Cube(autograd.Function):
    """x³ as a Function: for a program's own use, without touching the op table."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return 3 * grad_output * x * x


def declare() -> None:
    """x³ as a row: tests, docs and benchmark would follow if it stood in ``minigrad/ops/``."""

    @elementwise(domain=(-2, 2), flops=2)
    def cube(m, x):
        """x³."""
        return x * x * x

    @cube.vjp
    def _(m, g, x):
        return 3 * g * x * x


def main() -> bool:
    """Returns whether both gradients, and the derivative of the gradient, are right."""
    declare()
    x = minigrad.randn(3, 4, dtype=minigrad.float64, requires_grad=True)
    row = OPS.pop("cube")
    right = True
    for name, function in (("Function", Cube.apply), ("row", lambda x: autograd.apply(row, (x,), {}))):
        right &= minigrad.gradcheck(function, (x,)) and minigrad.gradgradcheck(function, (x,))
        print(f"{name}: first and second derivative agree with finite differences")
    return right


if __name__ == "__main__":
    main()
