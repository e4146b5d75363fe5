"""Training on from given weights by the recipe's own means."""

from dataclasses import replace

import torch
from torch import nn

from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe


def optimizer(recipe: Recipe, module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """A new optimizer of the recipe's kind, its learning rates multiplied by ``rate``."""
    made = recipe.optimizer(training.trainable(module))
    for group in made.param_groups:
        group["lr"] = group["lr"] * rate
    return made


def unscheduled(recipe: Recipe) -> Recipe:
    """The recipe at a constant rate: its schedule was made for training from scratch."""
    return replace(recipe, schedule=None)
