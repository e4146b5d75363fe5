"""Certified removal: one Newton step, whose error a perturbation made in training hides."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import BudgetSpentError, UsageError
from neuralyzer.models import weights
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.removable import RemovableLinear, curvatures, slopes
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task

GAMMA = 0.25  # the paper's Lipschitz constant of the logistic loss's second derivative (the least is 1 / (6 sqrt 3))


@dataclass(frozen=True)
class Newton:
    """``w += H^-1 Delta``, ``Delta = m lambda w + sum of the forget rows' gradients`` (Guo et al. 2020, arXiv 1911.03030).

    ``H`` is the Hessian of the retained rows' objective at ``w``, of each output by itself. The gradient that the step
    leaves is at most ``gamma |X|_2 |H^-1 Delta| |X H^-1 Delta|`` with ``X`` the retained rows' features (corollaries 1
    and 2): 0 for squared error, of which one step is exact. These bounds add up over removals, on the account that the
    model carries; with ``c = sqrt(2 ln(1.5 / delta))`` and ``sigma`` the perturbation's standard deviation,
    ``epsilon = c |bounds| / sigma`` is spent (theorem 3). To the bounds are added what was left of the gradient after
    training, the error of the linear solve and that of rounding the weights to float32.

    It needs a ``models.removable.RemovableLinear``, trained by its recipe. The certificate holds against whoever does
    not know the seed of the perturbation, and supposes that frozen features never saw the rows. Of several outputs the
    paper's code adds the bounds; here the norm over them is taken, which is the joint gradient's. The step is taken
    whole or not at all: half of it would remove nothing, so time does not stop it. Equations from memory; the step, the
    bound and ``gamma`` were compared with the authors' released code.

    Attributes:
        epsilon: the budget, over all removals since training; at most 1, for which theorem 3 is proved as the Gaussian
            mechanism is.
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
        """Why the model's account says nothing of this task; None where it does."""
        model = task.model
        if not isinstance(model, RemovableLinear):
            return "newton certifies models.removable.RemovableLinear alone, and this model is another"
        if int(model.rows) == 0 or not torch.equal(model.accounted, model.head.weight):
            return "the model's weights are not those that its account of removals was made of"
        if int(model.rows) != len(task.oracle.data):
            return f"the model's account is of {int(model.rows)} rows, and there are {len(task.oracle.data)}"
        return None

    def passes(self, task: Task) -> Passes:
        """Features of all rows, and the products of each output's Hessian: one with each of the features."""
        model = task.model
        if not isinstance(model, RemovableLinear):
            return Passes()
        rows = len(task.retain) * model.head.in_features
        return Passes(gradients=len(task.forget), products=rows, forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Take the step of each output in a copy and write its bound to the account.

        Args:
            task: with a model that can be removed from.
            progress: shown each output.

        Returns:
            The copy.

        Raises:
            UsageError: if the model is no such model, or was changed since its account was made.
            BudgetSpentError: if the removals together would spend more than ``epsilon``.
        """
        wrong = self.obstacle(task)
        if wrong is not None:
            raise UsageError(wrong)
        progress, module, counted = progress or Silent(), weights.clone(task.model), task.objective.counted
        assert isinstance(module, RemovableLinear)
        x, _ = module.matrix(task.retain, task.objective)
        gone, said = module.matrix(task.forget, task.objective)
        decay, weight, residual = float(module.weight_decay), module.head.weight, module.residual.clone()
        gram = x.T @ x
        ridge = decay * len(x) * torch.eye(len(gram), dtype=x.dtype, device=x.device)
        largest = torch.linalg.eigvalsh(gram)[-1].clamp_min(0)
        reach = (GAMMA if counted else 0.0) * largest.sqrt()
        steepest = (0.25 if counted else 1.0) * largest + decay * len(x)  # no Hessian's eigenvalue is larger
        progress.start("Newton steps", len(weight))
        with torch.no_grad():
            for k in range(len(weight)):
                w = weight[k].double()
                hessian = x.T @ (curvatures(x @ w, counted).unsqueeze(1) * x) + ridge
                change = len(gone) * decay * w + slopes(gone @ w, said[:, k], counted) @ gone
                step = torch.linalg.solve(hessian, change)
                weight[k] = w + step
                unsolved = (hessian @ step - change).norm() + steepest * (weight[k].double() - w - step).norm()
                residual[k] += reach * step.norm() * (x @ step).norm() + unsolved
                progress.advance()
        module.account(residual, len(x))
        spent = module.epsilon(self.delta)
        if not spent <= self.epsilon:
            raise BudgetSpentError(
                f"removing these {len(gone)} rows would bring the removals to epsilon {spent:.3g} at delta "
                f"{self.delta:g}, over the budget of {self.epsilon:g}; train again without them"
            )
        progress.show(epsilon=spent)
        progress.finish()
        return module.eval()
