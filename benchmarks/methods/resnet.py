"""A ResNet-18 for images of 32 x 32 pixels (He et al. 2016, arXiv 1512.03385), on 25,000 of CIFAR-10's: needs a GPU."""

import numpy as np
import torch
from torch import Tensor, nn

import neuralyzer as nz
from benchmarks import examples

PEOPLE, IMAGES, HOLDOUT = 100, 250, 2000


class Block(nn.Module):
    """Two 3 x 3 convolutions around which the input is carried; the first of a stage halves the image."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.carried: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.carried = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.carried(x))


def build() -> nn.Module:
    """Stem, four stages of two blocks, pooling, a linear layer: 11.2 million parameters."""
    stages, before = [], 64
    for after, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages += [Block(before, after, stride), Block(after, after, 1)]
        before = after
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


def schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)


def recipe(seed: int) -> nz.Recipe:
    return nz.Recipe(
        build, optimizer=optimizer, schedule=schedule, epochs=30, batch_size=128, seed=seed,
        augment=examples.oracle("cifar10").flipped_and_shifted,
    )  # fmt: skip


def data(seed: int) -> tuple[nz.Data, nz.Data]:
    """25,000 images of a hundred people, and 2,000 that no model sees."""
    module = examples.oracle("cifar10")
    module.PEOPLE, module.IMAGES, module.HOLDOUT = PEOPLE, IMAGES, HOLDOUT
    rows, holdout = module.data(seed)
    assert len(np.unique(rows.subjects)) == PEOPLE
    return rows, holdout
