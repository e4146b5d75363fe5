"""Exact references: models trained on exactly the retain set, for requests that a pool cannot answer.

Each of them is itself an exact answer to the request. So they are trained once the weights under test are final and
used for the verdict alone; no algorithm or plan sees them (decision 18).
"""

import shutil
from pathlib import Path

import numpy as np
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.kinds.kind import Stackable
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.training import backends, stacked_check
from neuralyzer.references.training.backends import Backend
from neuralyzer.references.training.processes import Execution

EXACT_REFERENCES = 8  # by default
FEWEST = 6  # with fewer, the verdict's t-test has hardly any power
NO_POOL = "exact references judge with a pool, which tells what having seen the rows is worth; make references first"
FIRST_SEED = 50_000  # so that no exact reference has the seed of a pool's member


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
    """Train models without the rows, or load those that an earlier call left in ``folder``.

    Args:
        oracle: has recipe and rows.
        positions: of the rows that they never see, ``(F,)``.
        folder: where their weights are kept until the verdict is given.
        count: number of models.
        progress: shows the work.
        placement: device and precision of the training.

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
        # Not timed, so that the same seeds give the same weights: a stack on a shared base is hardly faster (decision 40).
        alone = isinstance(oracle.model, Stackable) or stacked_check.obstacle(recipe, oracle.data) is not None
        backend = Backend.PROCESSES if alone else Backend.VECTORISED
        progress.start(f"training {len(todo)} exact references", len(todo) * recipe.epochs)
        seeds = [recipe.seed + FIRST_SEED + number for number in todo]
        names = [f"exact reference {number}" for number in todo]
        kept, execution = [rows] * len(todo), Execution(placement)
        trained = backends.train(backend, recipe, oracle.data, kept, seeds, progress, execution=execution, names=names)
        for number, module in zip(todo, trained, strict=True):
            weights.require_finite(weights.state(module), f"exact reference {number}")
            weights.save(module, paths[number])
        progress.finish()
    return [weights.load_into(recipe.module(), path).eval() for path in paths]


def destroy(folder: Path) -> None:
    """Delete exact references and their folder."""
    if folder.exists():
        shutil.rmtree(folder)
