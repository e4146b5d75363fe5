"""``TrainingAudit``: what an exact training is watched by."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data


@dataclass
class TrainingAudit:
    """Sees every step of an exact training and counts forget rows in it.

    Attributes:
        forget: ids of the rows that must not appear.
        steps: optimizer steps seen.
        rows: ids of the rows seen.
        forget_rows: how many of them were forget rows.
    """

    forget: frozenset[str]
    steps: int = 0
    rows: set[str] = field(default_factory=set)
    forget_rows: int = 0

    def told(self, ids: set[str]) -> None:
        """Note rows that weights saw before they were taken over."""
        self.rows |= ids
        self.forget_rows += len(ids & self.forget)

    def watch(self, data: Data) -> "Watch":
        """An observer of a training on ``data``."""
        return Watch(self, data)


@dataclass
class Watch:
    """Tells the training audit which rows of ``data`` each step was taken on."""

    training_audit: TrainingAudit
    data: Data

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Nothing is seen before the first step."""

    def step(self, positions: np.ndarray) -> None:
        """Note the rows of a step."""
        self.training_audit.steps += 1
        self.training_audit.told(set(self.data.ids[positions].tolist()))
