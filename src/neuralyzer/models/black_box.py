"""A model of which only the answers can be had: ``predict_proba`` behind an API, a served model, another framework."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import NotFiniteError, UsageError, first_line
from neuralyzer.models.trained import TrainedModel

SMALLEST = 1e-12  # a probability below it is raised to it
SUM_TOLERANCE = 0.01  # answers are often rounded
PROBED_ROWS = 512

Predict = Callable[[Inputs], Any]


class BlackBox(nn.Module):
    """Answers of a function as outputs of a module; it has no parameters, so no gradient can be had of it.

    For classes the outputs are log-probabilities, which an objective reads as logits. Where answers are rounded, zeros
    stand in for half of the smallest probability that the function gives on rows nobody saw.

    Attributes:
        predict: ``predict(x (n, ...))`` gives probabilities ``(n, C)``, or predictions ``(n, k)`` in regression.
        width: ``C`` or ``k``.
        counted: whether the answers are probabilities.
        smallest: what no probability is read below.
    """

    def __init__(self, predict: Predict, width: int, counted: bool, smallest: float = SMALLEST) -> None:
        super().__init__()
        self.predict, self.width, self.counted, self.smallest = predict, width, counted, smallest

    @classmethod
    def of(cls, predict: Predict, oracle: TrainedModel) -> "BlackBox":
        """A function held against a model: it must answer as many classes, on the same features."""
        rows = oracle.holdout or oracle.data
        x, _ = rows.gather(list(range(min(len(rows), PROBED_ROWS))))
        with torch.no_grad():
            width = int(oracle.recipe.objective.outputs(oracle.model, batches.take(x, slice(1))).shape[1])
        box = cls(predict, width, oracle.recipe.objective.counted)
        answers = box.answers(x)
        if box.counted and bool((answers == 0).any()):
            box.smallest = max(float(answers[answers > 0].min()) / 2, SMALLEST)
        return box

    def answers(self, x: Inputs) -> Tensor:
        """What the function says, checked.

        Args:
            x: rows ``(n, ...)``.

        Returns:
            Probabilities ``(n, C)`` or predictions ``(n, k)``, in float64.

        Raises:
            UsageError: if the function fails, or its answers have another shape or are no probabilities.
            NotFiniteError: if an answer is NaN or infinite.
        """
        rows = batches.count(x)
        try:
            given = self.predict(x)
            found = torch.as_tensor(given).detach().to("cpu", torch.float64)
        except Exception as error:  # a client of a served model raises what it likes
            line = first_line(error)
            raise UsageError(f"predict failed on {rows} rows: {type(error).__name__}: {line}") from error
        if not self.counted and found.ndim == 1:
            found = found[:, None]
        if tuple(found.shape) != (rows, self.width):
            raise UsageError(
                f"predict gave answers of shape {tuple(found.shape)} for {rows} rows; "
                f"it must give ({rows}, {self.width})"
            )
        if not bool(torch.isfinite(found).all()):
            raise NotFiniteError("predict gave NaN or infinite answers; the model cannot be judged")
        if self.counted:
            total = found.sum(1)
            odd = int((total - 1).abs().argmax())
            if abs(float(total[odd]) - 1) > SUM_TOLERANCE or float(found.min()) < 0:
                raise UsageError(
                    f"predict must give probabilities, each row summing to 1; one sums to {float(total[odd]):.4g} and "
                    f"the smallest is {float(found.min()):.4g}: are these logits?"
                )
        return found

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        """Log-probabilities ``(n, C)``, or predictions ``(n, k)``."""
        found = self.answers(named or rows[0])
        return (found.clamp_min(self.smallest).log() if self.counted else found).float()
