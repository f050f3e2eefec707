"""Functions with gradients of their own: ctx, saved tensors, needs_input_grad, double backward, straight-through."""

import torch
from torch.autograd import Function, gradcheck, gradgradcheck


class MyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input < 0] = 0
        return grad_input


class LinearFunction(Function):
    @staticmethod
    def forward(ctx, input, weight, bias=None):
        ctx.save_for_backward(input, weight, bias)
        output = input.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        input, weight, bias = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = grad_output.mm(weight)
        if ctx.needs_input_grad[1]:
            grad_weight = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]:
            grad_bias = grad_output.sum(0)
        return grad_input, grad_weight, grad_bias


class MulConstant(Function):
    @staticmethod
    def forward(tensor, constant):
        return tensor * constant

    @staticmethod
    def setup_context(ctx, inputs, output):
        tensor, constant = inputs
        ctx.constant = constant

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output * ctx.constant, None


class Exp(Function):
    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        (result,) = ctx.saved_tensors
        return grad_output * result


class RoundSTE(Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


class GradientReversal(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.alpha, None


class MinMax(Function):
    @staticmethod
    def forward(ctx, x):
        lo, at = x.min(dim=0)
        hi, where = x.max(dim=0)
        ctx.save_for_backward(at, where)
        ctx.shape = x.shape
        ctx.mark_non_differentiable(at)
        return lo, hi, at

    @staticmethod
    def backward(ctx, g_lo, g_hi, _):
        at, where = ctx.saved_tensors
        g = torch.zeros(ctx.shape, dtype=g_lo.dtype)
        g.scatter_(0, at.unsqueeze(0), g_lo.unsqueeze(0))
        g.scatter_add_(0, where.unsqueeze(0), g_hi.unsqueeze(0))
        return g


x = torch.tensor([[-1.0, 0.5, 2.0], [3.0, -2.0, 1.5]], dtype=torch.double, requires_grad=True)
w = torch.arange(6, dtype=torch.double).view(2, 3).div(5).requires_grad_()
b = torch.tensor([0.1, -0.1], dtype=torch.double, requires_grad=True)

y = LinearFunction.apply(MyReLU.apply(x), w, b)
y.pow(2).sum().backward()
grads = [x.grad.clone(), w.grad.clone(), b.grad.clone()]
assert "LinearFunction" in type(y.grad_fn).__name__ or "LinearFunction" in str(y.grad_fn)

assert gradcheck(LinearFunction.apply, (x, w, b))
assert gradcheck(lambda t: MulConstant.apply(t, 3.5), (x,))
assert gradcheck(Exp.apply, (x,)) and gradgradcheck(Exp.apply, (x,))

x.grad = None
z = Exp.apply(x)
(g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
(g2,) = torch.autograd.grad((g * g).sum(), x)

q = x.detach().clone().requires_grad_()
(RoundSTE.apply(q * 1.7) * torch.arange(3.0).double()).sum().backward()
r = x.detach().clone().requires_grad_()
(GradientReversal.apply(r, 0.5) ** 2).sum().backward()
s = x.detach().clone().requires_grad_()
lo, hi, at = MinMax.apply(s)
(lo * 2 + hi).sum().backward()
assert not at.requires_grad and lo.requires_grad

results = {
    "y": y,
    "grads": grads,
    "g": g,
    "g2": g2,
    "ste": q.grad,
    "reversed": r.grad,
    "minmax": s.grad,
    "at": at,
}
