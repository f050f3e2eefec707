"""``torch.autograd.functional``'s names, from ``minigrad.transforms``. Nothing is defined here."""

from minigrad.transforms import hessian, hvp, jacobian, jvp, vhp, vjp

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
