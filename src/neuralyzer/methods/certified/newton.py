"""Certified removal: one Newton step, whose error is hidden by a random perturbation of the training objective."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import BudgetSpentError, UsageError
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.removable import RemovableLinear, curvatures, slopes
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task

# Lipschitz constant of the logistic loss's second derivative, as the paper has it (the smallest valid one is
# 1 / (6 sqrt 3)).
GAMMA = 0.25


@dataclass(frozen=True)
class Newton:
    """One certified Newton step (Guo et al. 2020, arXiv 1911.03030).

    The step is ``w += H^-1 Delta`` with ``Delta = m lambda w + sum of the forget rows' gradients``.

    ``H`` is the Hessian of the retained rows' objective at ``w``, for each output separately. The gradient that the
    step leaves is at most ``gamma |X|_2 |H^-1 Delta| |X H^-1 Delta|`` with ``X`` the retained rows' features
    (corollaries 1 and 2). For squared error it is 0: one step is exact. The model records the sum of these bounds over
    all removals. With ``c = sqrt(2 ln(1.5 / delta))`` and ``sigma`` the perturbation's standard deviation, ``epsilon =
    c |bounds| / sigma`` is spent (theorem 3). The bounds also include the gradient that training left, the error of the
    linear solve, and that of rounding the weights to float32.

    It needs a ``models.removable.RemovableLinear``, trained by its recipe. The certificate holds against anyone who
    does not know the seed of the perturbation. It assumes that frozen features were trained without the removed rows.
    For several outputs the paper's code adds the bounds; here their norm is taken, which bounds the joint gradient. The
    time limit does not stop the step, since part of it would remove nothing. Equations from memory; the step, the bound
    and ``gamma`` were compared with the authors' released code.

    Attributes:
        epsilon: the budget for all removals since training; at most 1, for which theorem 3, like the Gaussian
            mechanism, is proved.
        delta: of the certificate.
    """

    epsilon: float = 1.0
    delta: float = 1e-4

    name: ClassVar[str] = "newton"
    summary: ClassVar[str] = "one certified Newton step, for linear models trained with a perturbation"
    paper: ClassVar[str] = "Guo et al. 2020, arXiv 1911.03030"
    guarantee: ClassVar[Guarantee] = Guarantee.CERTIFIED
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Need.FORGET, Capability.GRADIENTS})
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 < self.epsilon <= 1 and 0 < self.delta < 1):
            raise UsageError(
                f"newton takes epsilon in (0, 1] and delta in (0, 1); they are {self.epsilon} and {self.delta}"
            )

    def obstacle(self, task: Task) -> str | None:
        """Return why the model's recorded bounds do not hold for this task; None where they do."""
        model = task.model
        if not isinstance(model, RemovableLinear):
            return "newton certifies models.removable.RemovableLinear alone, and this model is another"
        if int(model.rows) == 0 or not torch.equal(model.accounted, model.head.weight):
            return "the model's weights are not those that its account of removals was made of"
        if int(model.rows) != len(task.oracle.data):
            return f"the model's account is of {int(model.rows)} rows, and there are {len(task.oracle.data)}"
        return None

    def passes(self, task: Task) -> Passes:
        """Return the work: features of all rows, and as many products with the retained rows as there are features."""
        model = task.model
        if not isinstance(model, RemovableLinear):
            return Passes()
        rows = len(task.retain) * model.head.in_features
        return Passes(gradients=len(task.forget), products=rows, forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Take the step of each output in a copy and add its bound to those recorded.

        Args:
            task: with a ``RemovableLinear``.
            progress: shown each output.

        Returns:
            The copy.

        Raises:
            UsageError: if the model is another, or was changed since its bounds were recorded.
            BudgetSpentError: if the removals together would spend more than ``epsilon``.
        """
        obstacle = self.obstacle(task)
        if obstacle is not None:
            raise UsageError(obstacle)
        progress, module, counted = progress or Silent(), weights.clone(task.model), task.objective.counted
        assert isinstance(module, RemovableLinear)
        x, _ = module.matrix(task.retain, task.objective)
        removed, targets = module.matrix(task.forget, task.objective)
        decay, weight, residual = float(module.weight_decay), module.head.weight, module.residual.clone()
        gram = x.T @ x
        ridge = decay * len(x) * torch.eye(len(gram), dtype=x.dtype, device=x.device)
        largest = torch.linalg.eigvalsh(gram)[-1].clamp_min(0)
        lipschitz = (GAMMA if counted else 0.0) * largest.sqrt()
        largest_curvature = (0.25 if counted else 1.0) * largest + decay * len(x)  # bounds every Hessian's eigenvalues
        progress.start("Newton steps", len(weight))
        with torch.no_grad():
            for k in range(len(weight)):
                w = weight[k].double()
                hessian = x.T @ (curvatures(x @ w, counted).unsqueeze(1) * x) + ridge
                gradient = len(removed) * decay * w + slopes(removed @ w, targets[:, k], counted) @ removed
                step = torch.linalg.solve(hessian, gradient)
                weight[k] = w + step
                rounding = largest_curvature * (weight[k].double() - w - step).norm()
                unsolved = (hessian @ step - gradient).norm() + rounding
                residual[k] += lipschitz * step.norm() * (x @ step).norm() + unsolved
                progress.advance()
        module.account(residual, len(x))
        spent = module.epsilon(self.delta)
        if not spent <= self.epsilon:
            raise BudgetSpentError(
                f"removing these {len(removed)} rows would bring the removals to epsilon {spent:.3g} at delta "
                f"{self.delta:g}, over the budget of {self.epsilon:g}; train again without them"
            )
        progress.show(epsilon=spent)
        progress.finish()
        return module.eval()
