"""Linear models that rows can be removed from with a certificate: trained on a perturbed objective, with an account.

Guo et al. 2020, "Certified Data Removal from Machine Learning Models", arXiv 1911.03030; removal itself is
``methods.newton``.
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

ROUNDS, ITERATIONS = 20, 100  # of L-BFGS, at most
CONVERGED = 1e-9  # gradient's norm over the rows: what is left of it is put on the account
CHUNK = 4096  # rows whose features are computed at once


class RemovableLinear(nn.Module):
    """``w_k' phi(x)`` for each output ``k``; one logit for two classes, else one against the rest for each.

    There is no bias: give ``phi`` a feature that is always 1 where one is wanted. Weights are float32, all arithmetic of
    training and removal is float64, and what rounding does to the gradient is on the account too. The account is made of
    buffers, so that it travels with the weights and a second removal goes on where the first left it.

    Args:
        inputs: features ``d`` of ``phi(x)``.
        outputs: ``K``.
        weight_decay: ``lambda``; the penalty is ``lambda n / 2 |w|^2`` beside the sum of the ``n`` rows' losses.
        noise: ``sigma``, standard deviation of the entries of ``b``.
        features: ``phi``, frozen and in evaluation mode; the certificate takes it to have seen no row that is removed.
            The identity by default.

    Attributes:
        residual: bounds on ``|grad L_b|`` of the present weights on the present rows, one for each output ``(K,)``.
        rows: how many rows the account was made on; 0 before training.
        accounted: the weights that it was made of ``(K, d)``.
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
        """Features ``(N, d)``."""
        return self.features(x).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(N, K)``."""
        return self.head(self.phi(x))  # type: ignore[no-any-return]

    def matrix(self, data: Data, objective: Objective) -> tuple[Tensor, Tensor]:
        """Features ``(N, d)`` of all rows and what each output shall say ``(N, K)``, 1 or -1 of a class; in float64."""
        device, parts = self.head.weight.device, []
        with torch.no_grad():
            for x, _ in data.chunks(CHUNK):
                parts.append(self.phi(batches.features(x).to(device)).double())
        return torch.cat(parts), self._targets(data.y, objective).to(device)

    def _targets(self, y: Tensor, objective: Objective) -> Tensor:
        outputs = self.head.out_features
        if not objective.counted:
            return y.reshape(len(y), outputs).double()
        index = labels(y)
        if int(index.max()) >= max(outputs, 2):
            raise UsageError(f"the rows have class {int(index.max())} and the model {max(outputs, 2)} classes")
        own = index.unsqueeze(1) if outputs == 1 else F.one_hot(index, outputs)
        return 2.0 * own.double() - 1.0

    def account(self, residual: Tensor, rows: int) -> None:
        """Write down what the present weights' gradient is bounded by, ``(K,)``, and on how many rows."""
        self.residual.copy_(residual)
        self.rows.fill_(rows)
        self.accounted.copy_(self.head.weight.detach())

    def epsilon(self, delta: float) -> float:
        """The ``epsilon`` that is spent: ``c |residual| / sigma`` with ``delta = 1.5 exp(-c^2 / 2)`` (theorem 3)."""
        return math.sqrt(2 * math.log(1.5 / delta)) * float(self.residual.norm()) / float(self.noise)


def slopes(z: Tensor, targets: Tensor, counted: bool) -> Tensor:
    """Derivative of each loss with respect to its output: logistic of classes, half the squared error else."""
    return -targets * torch.sigmoid(-targets * z) if counted else z - targets


def curvatures(z: Tensor, counted: bool) -> Tensor:
    """Second derivative."""
    return torch.sigmoid(z) * torch.sigmoid(-z) if counted else torch.ones_like(z)


@dataclass(frozen=True)
class Perturbed:
    """Training to the minimum of ``L_b(w) = sum of losses + lambda n / 2 |w|^2 + b' w``, ``b ~ N(0, sigma^2 I)``.

    By L-BFGS, as in the paper. The gradient that is left opens the account. Who knows ``seed`` knows ``b``, and against
    them nothing is certified: keep it.

    Attributes:
        build: gives a ``RemovableLinear``.
        objective: ``Classification`` or ``Regression``.
    """

    build: Callable[[], RemovableLinear]
    objective: Objective

    def __call__(self, data: Data, seed: int, device: torch.device, progress: Progress) -> nn.Module:
        """Train; a recipe's ``train``."""
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
    """The recipe of a model that ``newton`` can remove rows from.

    Args:
        build: gives a new ``RemovableLinear``.
        objective: ``Classification()`` by default.
        seed: of ``b``; a secret.

    Returns:
        The recipe.
    """
    wanted = Classification() if objective is None else objective
    return Recipe(build, wanted, train=Perturbed(build, wanted), seed=seed)
