"""The objective of models that predict real numbers; ``Objective`` documents each method."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.models.calling import call


@dataclass(frozen=True)
class Regression:
    """Real targets, trained by half the squared error.

    Attributes:
        scale: root mean square of the residuals on rows that no model saw; set when references are made.
    """

    scale: float = 1.0
    name: str = "regression"
    counted: bool = False
    utility_name: str = "rmse"
    max_utility_loss: float = 0.02

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return predictions ``(N, k)``."""
        return call(model, x).reshape(len(x), -1)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return half the squared error, summed over the ``k`` targets."""
        return 0.5 * (outputs - y.reshape(outputs.shape)).square().sum(1)

    def _residual(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the norm of each row's residual ``(N,)``."""
        return (2 * self.losses(outputs, y)).clamp_min(0).sqrt()

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return ``-log(r^2 + eps^2) / 2`` with residual ``r`` and ``eps = scale / 100``."""
        return -0.5 * torch.log(2 * self.losses(outputs, y) + (self.scale / 100) ** 2)

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return ``-|r| / scale`` with residual ``r``."""
        return -self._residual(outputs, y) / self.scale

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """Return ``tangents``: the Hessian is the identity."""
        return tangents

    def drawn_gradients(self, outputs: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return standard normal numbers: under the model, targets have variance 1 around the predictions."""
        return torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean of the models' predictions."""
        return outputs.mean(0)

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Return ``target`` unchanged: a prediction has no confidence."""
        return target

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """Return the predictions less a share of the difference."""
        return outputs - share * (seen - never)

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the residual against the target."""
        return outputs - target

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """Return ``tangents``: the Hessian is the identity."""
        return tangents

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return the root mean squared error."""
        return float((2 * self.losses(outputs, y)).mean().sqrt())

    def utility_loss(self, before: float, after: float) -> float:
        """Return the growth of the root mean squared error, as a share of its former value."""
        return (after - before) / before

    def scaled(self, residuals: Tensor) -> Self:
        """Return the objective with the root mean square of ``residuals`` as ``scale``."""
        return replace(self, scale=max(float(residuals.square().mean().sqrt()), 1e-12))
