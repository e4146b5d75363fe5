"""The objective of models that predict real numbers; see ``Objective`` for what each reading is."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.models.calling import call


@dataclass(frozen=True)
class Regression:
    """Real targets by half the squared error.

    Attributes:
        scale: root mean square of the residuals on rows that no model saw; set when references are made.
    """

    scale: float = 1.0
    name: str = "regression"
    counted: bool = False
    utility_name: str = "rmse"
    max_utility_loss: float = 0.02

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Predictions ``(N, k)``."""
        return call(model, x).reshape(len(x), -1)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Half the squared error, summed over the ``k`` targets."""
        return 0.5 * (outputs - y.reshape(outputs.shape)).square().sum(1)

    def _residual(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (2 * self.losses(outputs, y)).clamp_min(0).sqrt()

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """``-log(r^2 + eps^2) / 2`` with residual ``r`` and ``eps = scale / 100``."""
        return -0.5 * torch.log(2 * self.losses(outputs, y) + (self.scale / 100) ** 2)

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """``-|r| / scale``."""
        return -self._residual(outputs, y) / self.scale

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """The identity."""
        return tangents

    def drawn_gradients(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal: targets scatter around predictions with variance 1."""
        return torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean of the models' predictions."""
        return outputs.mean(0)

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Itself: a prediction is not more or less sure."""
        return target

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """The difference is taken off the predictions."""
        return outputs - share * (seen - never)

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The residual against it."""
        return outputs - target

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """The identity."""
        return tangents

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Root mean squared error."""
        return float((2 * self.losses(outputs, y)).mean().sqrt())

    def utility_loss(self, before: float, after: float) -> float:
        """Growth of the root mean squared error, as a share of what it was."""
        return (after - before) / before

    def scaled(self, residuals: Tensor) -> Self:
        """With ``scale`` the root mean square of ``residuals``."""
        return replace(self, scale=max(float(residuals.square().mean().sqrt()), 1e-12))
