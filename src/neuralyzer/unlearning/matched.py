"""Fine-tuning on retained rows with forget rows beside them, whose outputs are matched to what they should be."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuralyzer.data import batches
from neuralyzer.models import reading, weights
from neuralyzer.models.objective import matchable, of_texts
from neuralyzer.models.training import trainable
from neuralyzer.progress import Progress
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.batch_statistics import reestimated
from neuralyzer.unlearning.method import Passes
from neuralyzer.unlearning.targets import Targets
from neuralyzer.unlearning.task import Task

Descent = Callable[[nn.Module], torch.optim.Optimizer]  # makes the optimizer of a module's trained parameters

MATCHED = 0.5  # matched rows in a batch of fine-tuning for each retained row; both means count the same
MATCHED_TEXTS = 0.25  # the same of texts, of which each has many tokens
TEXT_RATE = 0.1  # of texts, as a multiple of the rate: recipes of language models end with a low one (decision 39)


def by_recipe(task: Task, rate: float | None = None) -> Descent:
    """Return what makes the recipe's optimizer; ``rate`` multiplies its learning rate, by default as fits the rows."""
    chosen = (TEXT_RATE if of_texts(task.objective) else 1.0) if rate is None else rate
    return partial(training_loop.optimizer, training_loop.unscheduled(task.oracle.recipe), rate=chosen)


def work(task: Task, steps: float) -> Passes:
    """Return the work of some steps."""
    share, copied = _share(task), task.oracle.recipe.augment is not None
    return Passes(steps=(1 + share) * steps, forwards=copied * share * steps * task.oracle.recipe.batch_size)


def finetuned(
    task: Task, module: nn.Module, targets: Targets, steps: int, make: Descent, progress: Progress, what: str
) -> nn.Module:
    """Train a copy on retained rows by their labels, with matched rows beside them.

    Args:
        task: has the retained rows, recipe and seed.
        module: where it starts; not changed.
        targets: of the matched rows.
        steps: of training.
        make: returns the optimizer of the copy.
        progress: shown each step.
        what: name of the work in the progress.

    Returns:
        The mean of the weights over the second half of the steps (Izmailov et al. 2018, arXiv 1803.05407).
    """
    module = weights.clone(module)
    trained = nn.ParameterList(trainable(module))  # the base of a language model is not averaged, nor copied
    averaged = AveragedModel(trained)
    progress.start(what, steps)
    for number, _ in enumerate(
        training_loop.descend(task, module, make(module), losses(task, module, targets, steps), task.seed)
    ):
        progress.advance()
        if number >= steps // 2:
            averaged.update_parameters(trained)
    reached = weights.clone(module)
    if int(averaged.n_averaged):
        with torch.no_grad():
            for value, mean in zip(trainable(reached), averaged.module.parameters(), strict=True):
                value.copy_(mean)
    reached = reestimated(reached, task)
    task.show(progress, reached)
    progress.finish()
    return reached.eval()


def losses(task: Task, module: nn.Module, targets: Targets, steps: int) -> Iterator[Tensor]:
    """Yield each step's loss: the mean over retained rows by their labels, plus the mean mismatch of matched rows."""
    recipe, objective = task.oracle.recipe, matchable(task.objective)
    drawn = targets.drawn(math.ceil(_share(task) * recipe.batch_size), task.seed)
    epochs = math.ceil(steps / max(1, training_loop.steps(task, len(task.retain), 1)))
    retained = training_loop.batches(recipe, module, task.retain, epochs, task.seed)
    for _, (x, y) in zip(range(steps), retained, strict=False):
        matched_x, target = next(drawn)
        together = batches.join([x, matched_x])
        outputs = reading.in_portions(module, objective, together, batches.count(together))
        kept, matched = outputs[: len(y)], outputs[len(y) :]
        # the mismatch is a gradient by outputs: the product has it as its own
        mismatch = (matched * objective.mismatch(matched.detach(), target)).sum(1)
        yield objective.losses(kept, y).mean() + mismatch.mean()


def _share(task: Task) -> float:
    return MATCHED_TEXTS if of_texts(task.objective) else MATCHED
