"""Linear models for certified removal: trained on a perturbed objective, with recorded bounds on the residual gradient.

Guo et al. 2020, "Certified Data Removal from Machine Learning Models", arXiv 1911.03030; removal itself is
``methods.certified.newton``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.classification import Classification, labels
from neuralyzer.models.objective import Objective
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress

# All four were chosen, not tuned; what training leaves of the gradient is in the recorded bound whatever they are.
ROUNDS, ITERATIONS = 20, 100  # most rounds of L-BFGS, and iterations of each
CONVERGED = 1e-9  # norm of the gradient, divided by the number of rows, at which training stops
CHUNK = 4096  # rows whose features are computed at once


class RemovableLinear(nn.Module):
    """A linear model ``w_k' phi(x)`` for each output ``k``: one logit for two classes, else one-versus-rest.

    There is no bias; where one is wanted, give ``phi`` a feature that is always 1. Weights are float32. Training and
    removal compute in float64, and the recorded bound includes the rounding of the weights. The bound is held in
    buffers, so that it is saved with the weights and a second removal adds to it.

    Args:
        inputs: number of features ``d`` of ``phi(x)``.
        outputs: number of outputs ``K``.
        weight_decay: ``lambda``; the penalty is ``lambda n / 2 |w|^2`` beside the sum of the ``n`` rows' losses.
        noise: ``sigma``, standard deviation of the entries of ``b``.
        features: ``phi``, frozen and in evaluation mode; the certificate assumes that it was trained without the
            removed rows. The identity by default.

    Attributes:
        residual: bounds on ``|grad L_b|`` of the present weights on the present rows, one for each output ``(K,)``.
        rows: number of rows that the bounds hold for; 0 before training.
        accounted: the weights that the bounds hold for ``(K, d)``.
    """

    residual: Tensor
    rows: Tensor
    accounted: Tensor
    weight_decay: Tensor
    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, weight_decay: float, noise: float, features: nn.Module | None = None
    ) -> None:
        if weight_decay <= 0 or noise <= 0:
            raise UsageError(
                f"RemovableLinear takes weight_decay and noise above 0; they are {weight_decay} and {noise}"
            )
        super().__init__()
        self.features = (nn.Identity() if features is None else features).requires_grad_(False).eval()
        self.head = nn.Linear(inputs, outputs, bias=False)
        nn.init.zeros_(self.head.weight)
        for name, value in (("weight_decay", weight_decay), ("noise", noise)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(outputs, dtype=torch.float64))
        self.register_buffer("rows", torch.tensor(0))
        self.register_buffer("accounted", self.head.weight.detach().clone())

    def train(self, mode: bool = True) -> "RemovableLinear":
        """Set the mode; ``phi`` stays in evaluation mode."""
        super().train(mode)
        self.features.eval()
        return self

    def phi(self, x: Tensor) -> Tensor:
        """Return features ``(N, d)``."""
        return self.features(x).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs ``(N, K)``."""
        return self.head(self.phi(x))  # type: ignore[no-any-return]

    def matrix(self, data: Data, objective: Objective) -> tuple[Tensor, Tensor]:
        """Return features ``(N, d)`` and targets ``(N, K)`` of all rows in float64; a class has targets 1 and -1."""
        device, parts = self.head.weight.device, []
        with torch.no_grad():
            for x, _ in data.chunks(CHUNK):
                parts.append(self.phi(batches.features(x).to(device)).double())
        return torch.cat(parts), self._targets(data.y, objective).to(device)

    def _targets(self, y: Tensor, objective: Objective) -> Tensor:
        """Return the target of each output ``(N, K)``."""
        outputs = self.head.out_features
        if not objective.counted:
            return y.reshape(len(y), outputs).double()
        index = labels(y)
        if int(index.max()) >= max(outputs, 2):
            raise UsageError(f"the rows have class {int(index.max())} and the model {max(outputs, 2)} classes")
        indicators = index.unsqueeze(1) if outputs == 1 else F.one_hot(index, outputs)
        return 2.0 * indicators.double() - 1.0

    def account(self, residual: Tensor, rows: int) -> None:
        """Record bounds on the gradient at the present weights ``(K,)``, and the number of rows that they hold for."""
        self.residual.copy_(residual)
        self.rows.fill_(rows)
        self.accounted.copy_(self.head.weight.detach())

    def epsilon(self, delta: float) -> float:
        """Return the ``epsilon`` spent: ``c |residual| / sigma`` with ``delta = 1.5 exp(-c^2 / 2)`` (theorem 3)."""
        return math.sqrt(2 * math.log(1.5 / delta)) * float(self.residual.norm()) / float(self.noise)


def slopes(z: Tensor, targets: Tensor, counted: bool) -> Tensor:
    """Return each loss's derivative by its output ``z``: logistic loss for classes, else half the squared error."""
    return -targets * torch.sigmoid(-targets * z) if counted else z - targets


def curvatures(z: Tensor, counted: bool) -> Tensor:
    """Return each loss's second derivative by its output ``z``."""
    return torch.sigmoid(z) * torch.sigmoid(-z) if counted else torch.ones_like(z)


@dataclass(frozen=True)
class Perturbed:
    """Training to the minimum of ``L_b(w) = sum of losses + lambda n / 2 |w|^2 + b' w``, ``b ~ N(0, sigma^2 I)``.

    The optimizer is L-BFGS, as in the paper. The norm of the gradient that it leaves is the first recorded bound.
    Whoever knows ``seed`` knows ``b``, and nothing is certified against them: keep it secret.

    Attributes:
        build: returns a ``RemovableLinear``.
        objective: ``Classification`` or ``Regression``.
    """

    build: Callable[[], RemovableLinear]
    objective: Objective

    def __call__(self, data: Data, seed: int, device: torch.device, progress: Progress) -> nn.Module:
        """Train a model; this is the recipe's ``train``."""
        module = Recipe(self.build, self.objective).module(seed)
        assert isinstance(module, RemovableLinear)
        module.to(device)
        x, targets = module.matrix(data, self.objective)
        weight, penalty = module.head.weight.detach().double().requires_grad_(), float(module.weight_decay) * len(x)
        generator = torch.Generator().manual_seed(seed)
        b = float(module.noise) * torch.randn(weight.shape, generator=generator, dtype=weight.dtype).to(weight)

        def gradient(w: Tensor) -> Tensor:
            return slopes(x @ w.T, targets, self.objective.counted).T @ x + penalty * w + b

        def closure() -> Tensor:
            with torch.no_grad():
                weight.grad = gradient(weight) / len(x)
                z = x @ weight.T
                losses = F.softplus(-targets * z) if self.objective.counted else 0.5 * (z - targets).square()
                return (losses.sum() + 0.5 * penalty * weight.square().sum() + (b * weight).sum()) / len(x)

        optimizer = torch.optim.LBFGS(
            [weight], max_iter=ITERATIONS, history_size=50, tolerance_grad=0.0, tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )  # fmt: skip
        progress.start("training to the minimum", ROUNDS)
        for _ in range(ROUNDS):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            progress.advance()
            if float(gradient(weight.detach()).norm()) <= CONVERGED * len(x):
                break
        progress.finish()
        with torch.no_grad():
            module.head.weight.copy_(weight)
            module.account(gradient(module.head.weight.double()).norm(dim=1), len(x))
        return module.eval()


def recipe(build: Callable[[], RemovableLinear], objective: Objective | None = None, seed: int = 0) -> Recipe:
    """Return the recipe of a model that ``newton`` can remove rows from.

    Args:
        build: returns a new ``RemovableLinear``.
        objective: ``Classification()`` by default.
        seed: of ``b``; a secret.

    Returns:
        The recipe.
    """
    objective = Classification() if objective is None else objective
    return Recipe(build, objective, train=Perturbed(build, objective), seed=seed)
