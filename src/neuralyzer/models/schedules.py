"""Learning-rate schedules by name, with the rates of transformers' ``get_scheduler``."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch.optim.lr_scheduler import LambdaLR

from neuralyzer.errors import UsageError

NAMES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class NamedSchedule:
    """A rate that rises linearly in the warm-up, and then stays, or falls to 0 linearly or by half a cosine.

    Attributes:
        name: one of ``NAMES``.
        warmup: share of the steps in which the rate rises, from 0 to less than 1; rounded up to whole steps.
    """

    name: str
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"schedule is {self.name!r}; it must be {', '.join(NAMES)}, or a function")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"warmup is {self.warmup}; it is a share of the steps, from 0 to less than 1")

    def __call__(self, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
        """Return the schedule of a training of ``steps`` steps."""
        return LambdaLR(optimizer, partial(self.factor, steps=steps))

    def factor(self, step: int, steps: int) -> float:
        """Return by what the rate is multiplied at a step, counted from 0."""
        rising = math.ceil(steps * self.warmup)
        if step < rising:
            return step / rising
        done = min(1.0, (step - rising) / max(1, steps - rising))
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.name]
