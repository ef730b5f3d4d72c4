"""The dot test of an operator and its adjoint."""

import numpy as np
import torch


def has_exact_adjoint(operator, shape, *, seed=0, tolerance=1e-10):
    """Whether ``<A x, y> = <x, A^T y>`` for random float64 x of a shape and y, relative to ``|A x| |y|``."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal(tuple(shape)))
    forward = operator.forward(x)
    y = torch.from_numpy(rng.standard_normal(tuple(forward.shape)))
    gap = (forward * y).sum() - (x * operator.adjoint(y)).sum()
    return bool(gap.abs() <= tolerance * forward.norm() * y.norm())
