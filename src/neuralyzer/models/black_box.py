"""A model that is only known by its answers: ``predict_proba`` behind an API, a served model, another framework."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import NotFiniteError, UsageError, first_line
from neuralyzer.models.trained import TrainedModel

# All three were chosen, not tuned.
SMALLEST = 1e-12  # smallest probability that is read; smaller ones are raised to it before the logarithm
SUM_TOLERANCE = 0.01  # how far a row's probabilities may sum from 1: answers are often rounded
PROBED_ROWS = 512  # rows that are read to find the smallest probability above 0

Predict = Callable[[Inputs], Any]


class BlackBox(nn.Module):
    """A function's answers as the outputs of a module. It has no parameters, and so no gradients.

    For classes the outputs are log-probabilities, which an objective reads as logits. Where answers are rounded to 0,
    half of the smallest probability that the function gives on the holdout is read in place of 0.

    Attributes:
        predict: ``predict(x (n, ...))`` returns probabilities ``(n, C)``, or predictions ``(n, k)`` in regression.
        width: ``C`` or ``k``.
        counted: whether the answers are probabilities.
        smallest: smallest probability that is read; smaller ones are raised to it.
    """

    def __init__(self, predict: Predict, width: int, counted: bool, smallest: float = SMALLEST) -> None:
        super().__init__()
        self.predict, self.width, self.counted, self.smallest = predict, width, counted, smallest

    @classmethod
    def of(cls, predict: Predict, oracle: TrainedModel) -> "BlackBox":
        """Return a function as a module, after checking that its answers have the shape of a model's outputs.

        Args:
            predict: the function.
            oracle: the model that it must agree with in classes and features.
        """
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
        """Return the function's answers, checked.

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
            raw = self.predict(x)
            answers = torch.as_tensor(raw).detach().to("cpu", torch.float64)
        except Exception as error:  # a client of a served model may raise any type
            line = first_line(error)
            raise UsageError(f"predict failed on {rows} rows: {type(error).__name__}: {line}") from error
        if not self.counted and answers.ndim == 1:
            answers = answers[:, None]
        if tuple(answers.shape) != (rows, self.width):
            raise UsageError(
                f"predict gave answers of shape {tuple(answers.shape)} for {rows} rows; "
                f"it must give ({rows}, {self.width})"
            )
        if not bool(torch.isfinite(answers).all()):
            raise NotFiniteError("predict gave NaN or infinite answers; the model cannot be judged")
        if self.counted:
            total = answers.sum(1)
            worst = int((total - 1).abs().argmax())
            if abs(float(total[worst]) - 1) > SUM_TOLERANCE or float(answers.min()) < 0:
                raise UsageError(
                    "predict must give probabilities, each row summing to 1; one sums to "
                    f"{float(total[worst]):.4g} and the smallest is {float(answers.min()):.4g}: are these logits?"
                )
        return answers

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        """Return log-probabilities ``(n, C)``, or predictions ``(n, k)``."""
        answers = self.answers(named or rows[0])
        return (answers.clamp_min(self.smallest).log() if self.counted else answers).float()
