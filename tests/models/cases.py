"""Small modules and rows that models, signals, references and influence are all tested on."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from neuralyzer.models.classification import Classification
from neuralyzer.models.objective import Objective
from neuralyzer.models.regression import Regression


class Double(nn.Module):
    """Turns features into float64: rows are stored in float32."""

    def forward(self, x):
        return x.double()


def mlp():
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4))


def single_logit():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))


def frozen():
    module = mlp()
    module[0].requires_grad_(False)
    return module


def tied():
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4))
    module[2].weight = module[0].weight
    return module


def normed():
    module = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4))
    with torch.no_grad():
        module[1].running_mean.normal_()
        module[1].running_var.uniform_(0.5, 2)
    return module


def conv():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 3 * 3, 4)
    )


def regressor():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


@dataclass(frozen=True)
class ModelCase:
    build: object
    shape: tuple[int, ...] = (6,)
    classes: int = 4
    objective: Objective = field(default_factory=Classification)

    def module(self, seed=0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().eval()

    def rows(self, count, seed=0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(count, *self.shape, generator=generator)
        if isinstance(self.objective, Regression):
            return x, torch.randn(count, 2, generator=generator)
        return x, torch.randint(self.classes, (count,), generator=generator)


CASES = {
    "mlp": ModelCase(mlp),
    "single logit": ModelCase(single_logit, classes=2),
    "frozen": ModelCase(frozen),
    "tied": ModelCase(tied),
    "BatchNorm": ModelCase(normed),
    "conv": ModelCase(conv, (2, 6, 6)),
    "regression": ModelCase(regressor, objective=Regression()),
}
