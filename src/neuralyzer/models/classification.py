"""The objective of models that tell classes apart; see ``Objective`` for what each reading is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models.calling import by_row, call

# ``c``, weight of squared log-odds beside cross-entropy where outputs are matched: of 0, .01 and .1 the one that leaves
# least trace on Adult, CIFAR-10 and digits (docs/decisions/0021-matching.md)
LOG_ODDS = 0.1


@dataclass(frozen=True)
class Classification:
    """One of ``C`` classes by softmax cross-entropy, or one of two by a single logit.

    Attributes:
        label_smoothing: share of each target that is spread over all classes, as in ``torch.nn.CrossEntropyLoss``
            (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        class_weights: what a row's loss counts, by its class, ``C`` numbers; all alike where None. Losses are averaged
            over rows, not over their weights as torch does it: divide yours by their mean over the training rows.
    """

    name: str = "classification"
    counted: bool = True
    utility_name: str = "accuracy"
    max_utility_loss: float = 0.01
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing is {self.label_smoothing}; it must be at least 0 and below 1")
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(float(weight) for weight in self.class_weights))
            if not self.class_weights or min(self.class_weights) <= 0:
                raise UsageError(f"class_weights are {self.class_weights}; each must be above 0")

    def _weights(self, outputs: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        if len(self.class_weights) != outputs.shape[-1]:
            raise UsageError(f"there are {len(self.class_weights)} class_weights and {outputs.shape[-1]} classes")
        return torch.tensor(self.class_weights, dtype=outputs.dtype, device=outputs.device)

    def _counted(self, own: Tensor, weights: Tensor) -> Tensor:
        """What the log-probabilities of a row count together, where its own class has weights ``own (N,)``."""
        return (1 - self.label_smoothing) * own + self.label_smoothing * weights.mean()

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Logits ``(N, C)``; a single logit ``z`` becomes ``(0, z)``."""
        logits = by_row(call(model, x), x)
        if logits.ndim != 2:
            raise UsageError(f"Classification needs outputs (N, C); the model gave {tuple(logits.shape)}")
        return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy ``-log p_y``, smoothed and weighted where that is declared."""
        return F.cross_entropy(
            outputs, labels(y), self._weights(outputs), reduction="none", label_smoothing=self.label_smoothing
        )

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """``log p_y - log(1 - p_y)``, from logits without cancellation (LiRA, arXiv 2112.03570, section IV.A)."""
        index = labels(y).unsqueeze(1)
        own = outputs.gather(1, index).squeeze(1)
        others = outputs.scatter(1, index, -torch.inf)
        return own - torch.logsumexp(others, 1)

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """1 where the largest logit is the row's class, else 0."""
        return (outputs.argmax(1) == labels(y)).to(outputs.dtype)

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """``(diag(p) - p p') v``, the same for every label but for its weight."""
        found, weights = _fisher(outputs.softmax(1), tangents), self._weights(outputs)
        return found if weights is None else self._counted(weights[labels(y)], weights).unsqueeze(1) * found

    def drawn_gradients(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """``(p - e_c) sqrt(p_c / q_c)`` for a class ``c`` drawn with probability ``q_c ~ p_c |p - e_c|^2``.

        Were ``c`` drawn from ``p``, a model sure of its rows would draw their own class nearly always, and its curvature
        would rest on the few rows where it did not.

        Returns:
            ``(N, C)``; each row's squared norm is the trace of its Hessian, whatever was drawn.
        """
        p = outputs.double().softmax(1)
        top = p.argmax(1, keepdim=True)
        rest = p.scatter(1, top, 0.0)  # from which 1 - p of the surest class follows without cancellation
        missing = (1 - p).scatter(1, top, rest.sum(1, keepdim=True))
        others = (p.square().sum(1, keepdim=True) - p.square()).scatter(1, top, rest.square().sum(1, keepdim=True))
        chances = p * (missing.square() + others)
        trace = chances.sum(1, keepdim=True)
        drawn = torch.multinomial(torch.where(trace > 0, chances, p), 1, generator=generator)
        gradient = p.scatter(1, drawn, -missing.gather(1, drawn))
        weights = self._weights(p)
        if weights is not None:  # labels are drawn, so a row's weight is the one that the model expects
            trace = trace * self._counted(p @ weights, weights).unsqueeze(1)
        return (F.normalize(gradient, dim=1, eps=torch.finfo(p.dtype).tiny) * trace.sqrt()).to(outputs.dtype)

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Geometric mean of the models' class probabilities, as sure of a row's class as they are: by their mean margin.

        Models err on a row in different ways, and the geometric mean alone is surer of it than nearly all of them.

        Returns:
            Probabilities ``(N, C)``.
        """
        together = outputs.log_softmax(-1).mean(0)
        margins = torch.stack([self.margin(own, y) for own in outputs])
        return self.surer(together.softmax(-1), y, margins.mean(0) - self.margin(together, y))

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """What is added to the margin is added to the log-odds of the row's class."""
        return _log(target).scatter_add(1, labels(y).unsqueeze(1), by.unsqueeze(1)).softmax(-1)

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """The difference is taken off the log-odds."""
        return (outputs - share * (_log(seen) - _log(never))).softmax(-1)

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """``p - q + c (z - log q)``, centred: the gradient of cross-entropy and of half the squared log-odds missed.

        Where model and target are both sure of a class, cross-entropy cannot tell how sure; a margin can.

        Returns:
            ``(N, C)``.
        """
        missed = outputs - _log(target)
        return outputs.softmax(1) - target + LOG_ODDS * _centred(missed)

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """``(diag(p) - p p') v + c v``, centred, at the mean of the model's and the target's probabilities."""
        return _fisher((outputs.softmax(1) + target) / 2, tangents) + LOG_ODDS * _centred(tangents)

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Share of rows that are right."""
        return float(self.correct(outputs, y).mean())

    def utility_loss(self, before: float, after: float) -> float:
        """Accuracy lost, as a share of rows."""
        return before - after


def _fisher(p: Tensor, tangents: Tensor) -> Tensor:
    """``(diag(p) - p p') v``."""
    return p * (tangents - (p * tangents).sum(1, keepdim=True))


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(1, keepdim=True)


def labels(y: Tensor) -> Tensor:
    """Class numbers.

    Args:
        y: targets ``(N,)`` or ``(N, 1)``.

    Returns:
        ``(N,)``.

    Raises:
        UsageError: if the targets are real numbers or several a row (multi-label).
    """
    if y.ndim > 1 and y.shape[1:].numel() > 1:
        raise UsageError(f"targets have {y.shape[1:].numel()} values a row: multi-label models are not supported")
    if y.is_floating_point():
        raise UsageError("Classification needs whole-number class labels; for real targets use Regression()")
    return y.reshape(len(y))
