"""Several models that answer as one."""

from enum import StrEnum

import torch
from torch import Tensor, nn

SMOOTHING = 0.5  # added to each class's votes, so that logarithms are finite (Jeffreys' prior); chosen, not tuned


class Aggregation(StrEnum):
    """How the members' outputs are combined.

    ``MEAN`` is the mean of logits or predictions. ``VOTE`` is the logarithm of each class's share of the votes, with
    half a vote added to each class so that it is finite. The gradient of votes is 0, so signals that read gradients
    measure nothing on such an ensemble.
    """

    MEAN = "mean"
    VOTE = "vote"


class Ensemble(nn.Module):
    """``S`` models of one architecture.

    Attributes:
        members: the models.
        active: 1 for each member that was trained on any row, ``(S,)``; the others have weight 0.
        aggregation: how their outputs are combined.
    """

    active: Tensor

    def __init__(self, members: list[nn.Module], aggregation: Aggregation | str = Aggregation.MEAN) -> None:
        super().__init__()
        self.members, self.aggregation = nn.ModuleList(members), Aggregation(aggregation)
        self.register_buffer("active", torch.ones(len(members)))

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        """Return outputs in the shape that a member's have: ``(N, C)``, or ``(N, 1)`` or ``(N,)`` of a single logit."""
        outputs = torch.stack([member(*rows, **named) for member in self.members])
        weights = self.active.to(outputs.dtype).reshape(-1, *[1] * (outputs.ndim - 1))
        if self.aggregation is Aggregation.MEAN:
            mean: Tensor = (weights * outputs).sum(0) / weights.sum()
            return mean
        zero_gradient = 0 * outputs.sum(0)  # votes have no gradient; this keeps them differentiable
        if outputs.ndim < 3 or outputs.shape[2] == 1:
            positive = (weights * (outputs > 0)).sum(0)
            return ((positive + SMOOTHING) / (weights.sum() - positive + SMOOTHING)).log() + zero_gradient
        chosen = outputs.argmax(2, keepdim=True) == torch.arange(outputs.shape[2], device=outputs.device)
        votes = (weights * chosen).sum(0)
        return ((votes + SMOOTHING) / (weights.sum() + SMOOTHING * outputs.shape[2])).log() + zero_gradient
