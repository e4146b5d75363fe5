"""Exact references: models trained on exactly the retain set, for requests that a pool cannot answer.

Each of them *is* an exact answer to the request. So they are made once the weights under test are final, serve the
verdict alone, and no algorithm or plan ever sees them.
"""

import shutil
from pathlib import Path

import numpy as np
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.training import backends, stacked_check
from neuralyzer.references.training.backends import Backend
from neuralyzer.references.training.processes import How

EXACT_REFERENCES = 8
FEWEST = 6  # fewer leave the verdict's t-test without power
NO_POOL = "exact references judge with a pool, which tells what having seen the rows is worth; make references first"
FIRST_SEED = 50_000  # no member of a pool has a seed like theirs


def require_enough(count: int) -> None:
    """Refuse fewer exact references than a verdict needs.

    Raises:
        UsageError: if ``count`` is below 6.
    """
    if count < FEWEST:
        raise UsageError(f"{count} exact references were asked for; it takes {FEWEST} or more, {EXACT_REFERENCES} do")


def train_exact(
    oracle: TrainedModel,
    positions: np.ndarray,
    folder: Path,
    count: int = EXACT_REFERENCES,
    progress: Progress | None = None,
    placement: Placement = CPU,
) -> list[nn.Module]:
    """Train models without the rows, or take those that an earlier call left in ``folder``.

    Args:
        oracle: gives recipe and rows.
        positions: of the rows that they never see, ``(F,)``.
        folder: where their weights are kept until the verdict is spoken.
        count: how many.
        progress: shown the work.
        placement: where they are trained.

    Returns:
        The models, in evaluation mode.

    Raises:
        UsageError: if ``count`` is below 6.
    """
    require_enough(count)
    progress, recipe = progress or Silent(), oracle.recipe
    paths = [folder / f"{number:02d}.safetensors" for number in range(count)]
    todo = [number for number, path in enumerate(paths) if not path.exists()]
    if todo:
        rows = np.setdiff1d(np.arange(len(oracle.data)), positions)
        backend = Backend.PROCESSES if stacked_check.obstacle(recipe, oracle.data) else Backend.VECTORISED
        progress.start(f"training {len(todo)} exact references", len(todo) * recipe.epochs)
        seeds = [recipe.seed + FIRST_SEED + number for number in todo]
        names = [f"exact reference {number}" for number in todo]
        kept, how = [rows] * len(todo), How(placement)
        trained = backends.train(backend, recipe, oracle.data, kept, seeds, progress, how=how, names=names)
        for number, module in zip(todo, trained, strict=True):
            weights.require_finite(weights.state(module), f"exact reference {number}")
            weights.save(module, paths[number])
        progress.finish()
    return [weights.load_into(recipe.module(), path).eval() for path in paths]


def destroy(folder: Path) -> None:
    """Delete exact references, with their folder, once their verdict is written."""
    if folder.exists():
        shutil.rmtree(folder)
