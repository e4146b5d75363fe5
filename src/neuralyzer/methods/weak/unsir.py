"""UNSIR: training on noise with a high loss destroys a class, and a pass over retained rows repairs the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Unsir:
    """Learn ``N_c = argmin -L(f(N), c) + lambda |N|^2``, impair by ``(N_c, c)``, repair (Tarun et al. 2021).

    arXiv 2111.08947, section 4. For each class ``c`` of the forget rows a batch of noise starts from ``N(0, I)`` and
    ascends the loss of its label. One pass over copies of the noise and a sample of retained rows, at a high rate,
    overwrites what the network learned of the class. One pass over the sample alone repairs the other classes. Of the
    forget rows only the classes are used.

    The use differs from the paper's. There whole classes are forgotten, and the sample holds no rows of these. Here the
    forget rows may be a part of a class, and the sample holds the class's other rows, which restore it. What only the
    forget rows taught is then not affected more than the rest of their class. The noise is learned on the network in
    evaluation mode, with the recipe's batch size. Rates are multiples of the recipe's, as the paper's 0.02 and 0.01 are
    of its 0.01. Equations from memory, defaults as in the authors' released notebook.

    Attributes:
        climb: ascent steps of the noise.
        climb_rate: Adam's learning rate in these steps.
        penalty: ``lambda``, on each noise input's squared norm.
        copies: number of copies of each class's noise in the first pass.
        sample: largest number of retained rows of each class.
        impair_rate: learning rate of the first pass, as a multiple of the recipe's.
        repair_rate: learning rate of the second pass, as a multiple of the recipe's.
    """

    climb: int = 40
    climb_rate: float = 0.1
    penalty: float = 0.1
    copies: int = 20
    sample: int = 1000
    impair_rate: float = 2.0
    repair_rate: float = 1.0

    name: ClassVar[str] = "unsir"
    summary: ClassVar[str] = "impair the forget rows' classes by learned noise, then repair"
    paper: ClassVar[str] = "Tarun et al. 2021, arXiv 2111.08947"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.CONTINUED, Capability.INPUT_GRADIENTS}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.63, utility_loss=0.008)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "copies": Range(1, 40, whole=True), "impair_rate": Range(0.05, 10), "repair_rate": Range(0.05, 5),
    }  # fmt: skip

    def __post_init__(self) -> None:
        if min(self.climb, self.copies, self.sample) < 1:
            raise UsageError(
                "unsir takes climb, copies and sample of at least 1; they are "
                f"{self.climb}, {self.copies}, {self.sample}"
            )

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work, None where it can: noise has no meaning where features are whole numbers."""
        x, _ = task.forget.gather([0])
        return None if batches.real(x) else "unsir learns noise, and these rows' features are whole numbers"

    def passes(self, task: Task) -> Passes:
        """Return the work: the noise's steps, then the steps of both passes."""
        noise, sample = len(_classes(task)), len(_sample(task, self.sample))
        size = task.oracle.recipe.batch_size
        both = training_loop.steps(task, self.copies * noise * size + sample, 1) + training_loop.steps(task, sample, 1)
        return Passes(steps=self.climb * noise + both)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Learn the noise, then impair and repair a copy of the original.

        Args:
            task: has model and rows.
            progress: shown each step.

        Returns:
            The copy.

        Raises:
            UsageError: if the rows' features are whole numbers.
        """
        reason = self.obstacle(task)
        if reason is not None:
            raise UsageError(reason)
        progress = progress or Silent()
        classes, sample = _classes(task), task.retain.select(_sample(task, self.sample))
        generator = torch.Generator().manual_seed(task.seed)
        progress.start("learning noise", self.climb * len(classes))
        noises = [self._noise(task, label, generator, progress) for label in classes]
        progress.finish()
        noise = Data.from_arrays(torch.cat(noises).numpy(), np.concatenate([self._labels(task, c) for c in classes]))
        module = weights.clone(task.model)
        steps = training_loop.steps(task, self.copies * len(noise) + len(sample), 1)
        losses = self._impairing(task, module, noise, sample)
        training_loop.trained(task, module, self.impair_rate, losses, progress, "impairing", steps)
        losses = training_loop.mean_losses(task, module, sample, 1, turn=1)
        steps = training_loop.steps(task, len(sample), 1)
        return training_loop.trained(task, module, self.repair_rate, losses, progress, "repairing", steps)

    def _labels(self, task: Task, label: int) -> np.ndarray:
        """Return a batch of equal labels, in the shape and type of the targets."""
        _, y = task.forget.gather([0])
        return np.full((task.oracle.recipe.batch_size, *y.shape[1:]), label, dtype=y.numpy().dtype)

    def _noise(self, task: Task, label: int, generator: torch.Generator, progress: Progress) -> Tensor:
        """Return a batch of inputs that have a high loss as rows of the class, learned on the original."""
        module, x = weights.clone(task.model).eval(), batches.features(task.forget.gather([0])[0])
        y = torch.from_numpy(self._labels(task, label))
        noise = torch.randn((len(y), *x.shape[1:]), generator=generator, dtype=x.dtype).requires_grad_()
        optimizer = torch.optim.Adam([noise], self.climb_rate)
        for _ in range(self.climb):
            loss = task.objective.losses(task.objective.outputs(module, noise), y).mean()
            total = -loss + self.penalty * noise.square().flatten(1).sum(1).mean()
            (noise.grad,) = torch.autograd.grad(total, noise)
            optimizer.step()
            progress.advance()
            if task.time_is_up:
                break
        return noise.detach()

    def _impairing(self, task: Task, module: nn.Module, noise: Data, sample: Data) -> Iterator[Tensor]:
        """Compute the loss of each batch of noise and retained rows, shuffled together; noise is not augmented."""
        recipe, copied = task.oracle.recipe, self.copies * len(noise)
        generator = torch.Generator().manual_seed(task.seed + 1)
        for positions in training.order(copied + len(sample), 1, recipe.batch_size, task.seed):
            if len(positions) == 1 and training.uses_batch_statistics(module):
                continue
            x, y = sample.gather(positions[positions >= copied] - copied)
            if recipe.augment is not None and len(y):
                x = recipe.augment(x, generator)
            x_noise, y_noise = noise.gather(positions[positions < copied] % len(noise))
            outputs = task.objective.outputs(module, batches.join([x_noise, x]))
            yield task.objective.losses(outputs, torch.cat([y_noise, y])).mean()


def _classes(task: Task) -> list[int]:
    """Return the classes of the forget rows."""
    return [int(label) for label in np.unique(task.forget.y.numpy())]


def _sample(task: Task, most: int) -> np.ndarray:
    """Return sorted positions of a sample of the retained rows, at most ``most`` of each class."""
    y = task.retain.y.reshape(-1).numpy()
    order = np.random.default_rng(task.seed).permutation(len(y))
    return np.sort(np.concatenate([order[y[order] == label][:most] for label in np.unique(y)]))
