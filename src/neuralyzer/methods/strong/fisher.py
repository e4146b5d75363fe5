"""Fisher forgetting: noise on each parameter, larger where the retained rows' loss depends less on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.influence.diagonal import fisher_squares
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import GRADIENT_CHUNK
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

# Cost of each output's per-row gradient, as a share of that of a loss: all outputs share the forward pass.
FURTHER = 0.7


@dataclass(frozen=True)
class Fisher:
    """``S(w) = w + (lambda sigma_h^2)^(1/4) B^(-1/4) n``, ``n ~ N(0, I)`` (Golatkar et al. 2020, arXiv 1911.04933).

    ``B`` is the Hessian of the retained rows' mean loss. As in the paper's experiments, the diagonal of their Fisher
    matrix stands in for it, with labels drawn from the model (``influence.diagonal.fisher_squares``). The noise hides
    whatever the retained rows' loss does not depend on, not the forget rows alone, so the forget rows are not read.

    The equation is from memory. The authors' code differs: it has ``B^(-1/2)`` where the paper has ``B^(-1/4)``,
    averages it over each unit's inputs, multiplies it by 10 in normalisation layers and, for a whole class, draws the
    class's outputs anew. None of this is done here. Their bound of 1000 on ``1 / B`` is ``floor``. Running statistics
    of BatchNorm stay.

    Attributes:
        strength: ``lambda sigma_h^2``.
        floor: smallest value of ``B``; without it the noise on a parameter that no retained row depends on would be
            unbounded.
    """

    strength: float = 5e-7
    floor: float = 1e-3

    name: ClassVar[str] = "fisher"
    summary: ClassVar[str] = "noise on what the retained rows do not fix"
    paper: ClassVar[str] = "Golatkar et al. 2020, arXiv 1911.04933"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Capability.GRADIENTS, Capability.ROW_GRADIENTS, Capability.CURVATURE}
    )
    expected: ClassVar[Expectation] = Expectation(trace=1.07, utility_loss=0.0)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"strength": Range(1e-14, 1e-2), "floor": Range(1e-6, 1e-1)}

    def __post_init__(self) -> None:
        if self.strength < 0 or self.floor <= 0:
            raise UsageError(
                f"fisher takes strength >= 0 and floor > 0; strength is {self.strength} and floor {self.floor}"
            )

    def passes(self, task: Task) -> Passes:
        """Return the work: a gradient of each output on each retained row."""
        x, _ = task.retain.gather([0])
        outputs = reading.outputs(task.model, task.objective, x).shape[1]
        return Passes(singles=FURTHER * outputs * len(task.retain))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Measure the Fisher diagonal, then add the noise to a copy."""
        progress = progress or Silent()
        diagonal = fisher_diagonal(task, progress)
        module = weights.clone(task.model)
        generator = torch.Generator().manual_seed(task.seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in diagonal:
                    spread = (self.strength / diagonal[name].clamp_min(self.floor)) ** 0.25
                    parameter.add_(spread * torch.randn(parameter.shape, generator=generator).to(parameter))
        task.show(progress, module)
        progress.finish()
        return module.eval()


def fisher_diagonal(task: Task, progress: Progress) -> dict[str, Tensor]:
    """Return the diagonal of the retained rows' mean Fisher matrix; of the rows read within the time limit.

    Args:
        task: has model and rows.
        progress: shown each chunk of rows.

    Returns:
        Tensors by name, shaped like the trained parameters.
    """
    progress.start("Fisher diagonal of the retained rows", -(-len(task.retain) // GRADIENT_CHUNK))
    total: dict[str, Tensor] = {}
    rows = 0
    for x, y in task.retain.chunks(GRADIENT_CHUNK):
        for name, squares in fisher_squares(task.model, task.objective, x, y).items():
            total[name] = total[name] + squares if name in total else squares
        rows += len(y)
        progress.advance()
        if task.time_is_up:
            break
    return {name: value / rows for name, value in total.items()}
