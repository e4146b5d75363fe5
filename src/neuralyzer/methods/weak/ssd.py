"""Selective synaptic dampening: parameters far more important for the forget rows than for all rows are shrunk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.influence.diagonal import importances
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Ssd:
    """Dampening ``theta_i *= min(strength I_i / F_i, 1)`` where ``F_i > selection I_i`` (Foster et al. 2023).

    ``I`` and ``F`` are the diagonals of the empirical Fisher matrix over all training rows and over the forget rows.
    arXiv 2308.07707; the equations are from memory.

    Attributes:
        selection: ``alpha``, the ratio of importances above which a parameter is shrunk.
        strength: ``lambda``, larger for weaker shrinking.
    """

    selection: float = 10.0
    strength: float = 1.0

    name: ClassVar[str] = "ssd"
    summary: ClassVar[str] = "shrink the parameters that matter to the forget rows most"
    paper: ClassVar[str] = "Foster et al. 2023, arXiv 2308.07707"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Capability.GRADIENTS, Capability.ROW_GRADIENTS}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.76, utility_loss=0.013)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"selection": Range(0.5, 100), "strength": Range(0.05, 5)}

    def passes(self, task: Task) -> Passes:
        """Return the work: gradients of all rows, and of the forget rows again."""
        return Passes(singles=len(task.oracle.data) + len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Measure both importances, then shrink parameters of a copy."""
        progress = progress or Silent()
        progress.start("importance of each parameter", 2)
        overall = importances(task.model, task.objective, task.oracle.data)
        progress.advance()
        of_forget = importances(task.model, task.objective, task.forget)
        progress.advance()
        module = weights.clone(task.model)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in of_forget:
                    chosen = of_forget[name] > self.selection * overall[name]
                    factor = (self.strength * overall[name] / of_forget[name]).clamp_max(1.0)
                    parameter[chosen] *= factor[chosen]
        task.show(progress, module)
        progress.finish()
        return module.eval()
