"""NegGrad+: descent on retained rows, ascent on forget rows; it hides rather than forgets, see its page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.losses import neggrad_plus
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

CHECK_EVERY = 4  # training steps between readings of the forget loss; chosen, not tuned


@dataclass(frozen=True)
class NegGradPlus:
    """Minimise ``beta L(retain) - (1 - beta) L(forget)`` until the forget loss is that of never-seen members.

    The loss is that of Kurmanji et al. 2023 (arXiv 2302.09880), from memory. The stopping rule is this project's.

    Attributes:
        epochs: most passes over the retained rows.
        beta: weight of the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 5
    beta: float = 0.95
    rate: float = 1.0

    name: ClassVar[str] = "neggrad-plus"
    summary: ClassVar[str] = "descend on retained, ascend on forget rows; hides rather than forgets"
    paper: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.REFERENCES, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.3, utility_loss=0.001)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"beta": Range(0.5, 0.999, even=True), "rate": Range(0.03, 3)}

    def passes(self, task: Task) -> Passes:
        """Return the most work: its epochs' steps on two batches each, and readings of the forget loss."""
        steps = training_loop.steps(task, len(task.retain), self.epochs)
        return Passes(steps=2 * steps, forwards=steps / CHECK_EVERY * len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Descend and ascend from a copy of the original."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass over the retained rows."""
        module = weights.clone(task.model)
        return training_loop.passes(
            task, module, self.rate, lambda turn: self._losses(task, module, turn), self.epochs, progress,
            "descending and ascending", training_loop.steps(task, len(task.retain), self.epochs),
        )  # fmt: skip

    def _losses(self, task: Task, module: nn.Module, turn: int) -> Iterator[Tensor]:
        """Compute the losses of a pass; forget rows are repeated as often as they are needed."""
        recipe, objective, seed = task.oracle.recipe, task.objective, training_loop.seed_of(task, turn)
        forget = training_loop.endless_batches(recipe, module, task.forget, seed)
        retain = training_loop.batches(recipe, module, task.retain, 1, seed)
        for step, ((x, y), (x_f, y_f)) in enumerate(zip(retain, forget, strict=False)):
            if (turn or step) and step % CHECK_EVERY == (0 if turn else 1) and self._reached(task, module):
                return
            yield neggrad_plus(
                objective.losses(objective.outputs(module, x), y),
                objective.losses(objective.outputs(module, x_f), y_f),
                self.beta,
            )

    def _reached(self, task: Task, module: nn.Module) -> bool:
        """Return whether the forget loss is that of never-seen members or higher, or is NaN."""
        loss = reading.mean_loss(module, task.objective, task.forget)
        module.train()
        return not loss < task.never_seen_loss
