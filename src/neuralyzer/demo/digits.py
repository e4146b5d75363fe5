"""The demo's data and model: scikit-learn's handwritten digits, thirty customers, and the Oracle's recipe."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.models.recipe import Recipe

SUBJECT = "AIFinn"
CUSTOMERS = 30
TRAINING_ROWS = 1437
SUBJECT_ROWS = 72  # 5 % of the training rows
WIDTH = 128  # of the hidden layers


def build() -> nn.Module:
    """Return the Oracle's architecture: 64 pixels, two hidden layers, ten digits."""
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return AdamW with its update fused into one kernel."""
    return torch.optim.AdamW(parameters, 3e-4, fused=True)


def recipe(seed: int = 0) -> Recipe:
    """Return the recipe of the Oracle."""
    return Recipe(build=build, optimizer=optimizer, epochs=100, batch_size=16, seed=seed)


def customers(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Return the customer that each training row belongs to.

    Half of AIFinn's rows are the most unusual handwriting: those farthest, in pixels, from the mean image of their
    digit. Its other half and the rows of the 29 other customers are drawn at random, the customers' shares from a
    Dirichlet distribution, so that their sizes differ.

    Args:
        x: pixels ``(N, 64)``.
        y: digits ``(N,)``.
        seed: of the draws.

    Returns:
        Names ``(N,)``.
    """
    generator = np.random.default_rng(seed)
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    distance = np.linalg.norm(x - means[y], axis=1)
    unusual = np.argsort(-distance, kind="stable")[: SUBJECT_ROWS // 2]
    rest = np.setdiff1d(np.arange(len(y)), unusual)
    of_subject = np.concatenate([unusual, generator.choice(rest, SUBJECT_ROWS - len(unusual), replace=False)])
    others = [f"customer-{number:02d}" for number in range(2, CUSTOMERS + 1)]
    names = generator.choice(others, size=len(y), p=generator.dirichlet(np.full(len(others), 8.0)))
    names = names.astype(object)
    names[of_subject] = SUBJECT
    return names.astype(str)


def digits(seed: int = 0) -> tuple[Data, Data]:
    """Return training rows with customers, and the holdout: 1,437 and 360 digits, pixels scaled to 0 to 1."""
    bunch = load_digits()
    x, y = (bunch.data / 16).astype(np.float32), bunch.target
    order = np.random.default_rng(seed).permutation(len(y))
    train, rest = np.sort(order[:TRAINING_ROWS]), np.sort(order[TRAINING_ROWS:])
    ids = np.char.add("digit-", np.arange(len(y)).astype(str))
    subjects = customers(x[train], y[train], seed)
    return Data.from_arrays(x[train], y[train], subjects, ids[train]), Data.from_arrays(x[rest], y[rest], ids=ids[rest])
