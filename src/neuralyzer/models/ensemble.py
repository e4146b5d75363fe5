"""Several models that answer as one."""

from enum import StrEnum

import torch
from torch import Tensor, nn

SMOOTHING = 0.5  # votes that each class has before any is cast


class Aggregation(StrEnum):
    """How the members' outputs become one.

    ``MEAN`` is the mean of logits or predictions. ``VOTE`` is the logarithm of each class's share of the votes, half a
    vote being given to each beforehand so that it is finite; its largest is the majority's. Votes have no
    gradient but 0, so what reads gradients says nothing of such an ensemble.
    """

    MEAN = "mean"
    VOTE = "vote"


class Ensemble(nn.Module):
    """``S`` models of one architecture.

    Attributes:
        members: the models.
        active: 1 for each member that was trained on any row, ``(S,)``; the others are not asked.
        aggregation: how they answer.
    """

    active: Tensor

    def __init__(self, members: list[nn.Module], aggregation: Aggregation | str = Aggregation.MEAN) -> None:
        super().__init__()
        self.members, self.aggregation = nn.ModuleList(members), Aggregation(aggregation)
        self.register_buffer("active", torch.ones(len(members)))

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        """Outputs as one member gives them: ``(N, C)``, or ``(N, 1)`` or ``(N,)`` where there is a single one."""
        outputs = torch.stack([member(*rows, **named) for member in self.members])
        weights = self.active.to(outputs.dtype).reshape(-1, *[1] * (outputs.ndim - 1))
        if self.aggregation is Aggregation.MEAN:
            mean: Tensor = (weights * outputs).sum(0) / weights.sum()
            return mean
        nothing = 0 * outputs.sum(0)  # the votes' gradient
        if outputs.ndim < 3 or outputs.shape[2] == 1:
            ayes = (weights * (outputs > 0)).sum(0)
            return ((ayes + SMOOTHING) / (weights.sum() - ayes + SMOOTHING)).log() + nothing
        chosen = outputs.argmax(2, keepdim=True) == torch.arange(outputs.shape[2], device=outputs.device)
        votes = (weights * chosen).sum(0)
        return ((votes + SMOOTHING) / (weights.sum() + SMOOTHING * outputs.shape[2])).log() + nothing
