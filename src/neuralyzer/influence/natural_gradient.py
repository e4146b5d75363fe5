"""Natural gradient descent with EKFAC factors, for few steps: each one changes the predictions equally much."""

from collections.abc import Callable

import torch
from torch import nn

from neuralyzer.influence.curvature import Parameters
from neuralyzer.influence.ekfac import Ekfac

DAMPING = 1e-3  # of texts, as a share of the curvature's largest eigenvalue (decision 39)
CHANGE = 2e-3  # of the predictions by a step, g' d in nats a row; chosen on two small worlds (decision 41)


class NaturalGradient(torch.optim.Optimizer):
    """Steps ``-s (H + lambda I)^-1 g`` with ``s = min(1, sqrt(change / g' (H + lambda I)^-1 g))``.

    Amari 1998; the bound on a step's length, measured by the curvature, is that of Ba et al. 2017 ("Distributed
    second-order optimization using Kronecker-factored approximations", ICLR). The first steps need no statistics of
    earlier ones, which Adam's do. ``H`` stays that of the original.

    Args:
        module: whose trained parameters are moved; those outside the factors' blocks stay.
        factors: ``H``.
        damping: ``lambda``, as a share of the largest eigenvalue.
        change: twice the Kullback-Leibler divergence of the predictions that a step may make, to second order.
    """

    def __init__(self, module: nn.Module, factors: Ekfac, damping: float = DAMPING, change: float = CHANGE) -> None:
        self._named = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._layout, self._factors = Parameters(module), factors
        self._damping, self._change = damping * factors.largest, change
        super().__init__(self._named.values(), {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the parameters by their gradients; those without one count as 0.

        Args:
            closure: not used.
        """
        slopes = {
            name: torch.zeros_like(value) if value.grad is None else value.grad for name, value in self._named.items()
        }
        gradient = self._layout.flat(slopes)
        direction = self._factors.solve(self._layout, gradient, self._damping)
        squared = max(float(gradient @ direction), torch.finfo(gradient.dtype).tiny)
        length = min(1.0, (self._change / squared) ** 0.5)
        for name, part in self._layout.tree(direction).items():
            self._named[name].sub_(part, alpha=length)
