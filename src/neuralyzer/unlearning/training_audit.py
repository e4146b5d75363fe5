"""``TrainingAudit``: the record of the rows that an exact algorithm trained on."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data


@dataclass
class TrainingAudit:
    """Record of every step of an exact training, with a count of the forget rows in it.

    Attributes:
        forget: ids of the rows that must not appear.
        steps: number of optimizer steps so far.
        rows: ids of the rows that were trained on.
        forget_rows: number of forget rows that were detected, each time that one was trained on.
    """

    forget: frozenset[str]
    steps: int = 0
    rows: set[str] = field(default_factory=set)
    forget_rows: int = 0

    def note(self, ids: set[str]) -> None:
        """Record rows that were trained on, also before a model or checkpoint was taken over."""
        self.rows |= ids
        self.forget_rows += len(ids & self.forget)

    def watch(self, data: Data) -> "AuditObserver":
        """Return an observer of a training on ``data``."""
        return AuditObserver(self, data)


@dataclass
class AuditObserver:
    """A ``training.Observer`` that records in a training audit which rows of ``data`` each step was taken on."""

    training_audit: TrainingAudit
    data: Data

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Record nothing: no row was trained on yet."""

    def step(self, positions: np.ndarray) -> None:
        """Record the rows of a step."""
        self.training_audit.steps += 1
        self.training_audit.note(set(self.data.ids[positions].tolist()))
