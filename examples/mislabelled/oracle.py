"""Digits of twelve suppliers, one of whom labelled everything wrongly, and the network that is trained on them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.demo import digits

SUPPLIERS, SHARE, WIDTH = 12, 0.12, 256
WRONG = "supplier-07"


@dataclass(frozen=True)
class Labelled:
    """What the suppliers delivered, and what only this example knows: the true labels.

    Attributes:
        train: rows with the labels that were delivered.
        holdout: rows that no model sees, labelled rightly.
        truth: true labels of the training rows, ``(N,)``.
    """

    train: nz.Data
    holdout: nz.Data
    truth: np.ndarray


def net() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW at its usual rate."""
    return torch.optim.AdamW(parameters, 1e-3, fused=True)


def recipe(seed: int = 0) -> nz.Recipe:
    """How the network is trained: until it knows the wrong labels by heart."""
    return nz.Recipe(net, optimizer=optimizer, epochs=100, batch_size=32, seed=seed)


def data(seed: int = 0) -> Labelled:
    """1,437 digits of twelve suppliers; every label of ``WRONG``, 12 % of the rows, is another digit drawn evenly."""
    clean, holdout = digits.digits(seed)
    generator = np.random.default_rng(seed + 1)
    own = generator.permutation(len(clean))[: round(SHARE * len(clean))]
    others = [name for number in range(1, SUPPLIERS + 1) if (name := f"supplier-{number:02d}") != WRONG]
    suppliers = generator.choice(others, len(clean)).astype(object)
    suppliers[own] = WRONG
    truth = clean.y.numpy()
    labels = truth.copy()
    labels[own] = (truth[own] + generator.integers(1, 10, len(own))) % 10
    return Labelled(nz.Data.from_arrays(clean.x, labels, suppliers.astype(str), clean.ids), holdout, truth)
