"""The objective of classifiers; ``Objective`` documents each method."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models.calling import by_row, call

# Weight ``c`` of the squared log-odds beside cross-entropy where outputs are matched. Of 0, .01 and .1 it leaves the
# least trace on Adult, CIFAR-10 and digits (docs/decisions/0021-matching.md).
LOG_ODDS = 0.1


@dataclass(frozen=True)
class Classification:
    """One of ``C`` classes by softmax cross-entropy, or one of two by a single logit.

    Attributes:
        label_smoothing: share of each target that is spread over all classes, as in ``torch.nn.CrossEntropyLoss``
            (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        class_weights: weight of a row's loss by its class, ``C`` numbers; all are 1 where None. Losses are averaged
            over rows, and not over weights as torch does it: divide your weights by their mean over the training rows.
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
        """Return the class weights ``(C,)`` as a tensor like ``outputs``, None where all are 1."""
        if self.class_weights is None:
            return None
        if len(self.class_weights) != outputs.shape[-1]:
            raise UsageError(f"there are {len(self.class_weights)} class_weights and {outputs.shape[-1]} classes")
        return torch.tensor(self.class_weights, dtype=outputs.dtype, device=outputs.device)

    def _row_weights(self, label_weights: Tensor, weights: Tensor) -> Tensor:
        """Return the total weight of each row's log-probabilities ``(N,)``, label smoothing included.

        Args:
            label_weights: weight of each row's class ``(N,)``.
            weights: of all classes ``(C,)``.
        """
        return (1 - self.label_smoothing) * label_weights + self.label_smoothing * weights.mean()

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return logits ``(N, C)``; a single logit ``z`` becomes ``(0, z)``."""
        logits = by_row(call(model, x), x)
        if logits.ndim != 2:
            raise UsageError(f"Classification needs outputs (N, C); the model gave {tuple(logits.shape)}")
        return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy ``-log p_y``, smoothed and weighted where the objective says so."""
        return F.cross_entropy(
            outputs, labels(y), self._weights(outputs), reduction="none", label_smoothing=self.label_smoothing
        )

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return ``log p_y - log(1 - p_y)``, computed from logits without cancellation.

        LiRA: Carlini et al. 2022, arXiv 2112.03570, section IV.A.
        """
        index = labels(y).unsqueeze(1)
        of_label = outputs.gather(1, index).squeeze(1)
        others = outputs.scatter(1, index, -torch.inf)
        return of_label - torch.logsumexp(others, 1)

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return 1 where the largest logit is the row's class, else 0."""
        return (outputs.argmax(1) == labels(y)).to(outputs.dtype)

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """Return ``(diag(p) - p p') v`` for each row, times its weight; it does not otherwise depend on the label."""
        product, weights = _fisher(outputs.softmax(1), tangents), self._weights(outputs)
        return product if weights is None else self._row_weights(weights[labels(y)], weights).unsqueeze(1) * product

    def drawn_gradients(self, outputs: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``(p - e_c) sqrt(p_c / q_c)`` for a class ``c`` drawn with probability ``q_c ~ p_c |p - e_c|^2``.

        This is importance sampling. If ``c`` were drawn from ``p``, a confident model would nearly always draw the
        row's class, and the estimated curvature would rest on the few rows where it did not.

        Returns:
            ``(N, C)``; each row's squared norm is the trace of its Hessian, whatever was drawn.
        """
        p = outputs.double().softmax(1)
        top = p.argmax(1, keepdim=True)
        rest = p.scatter(1, top, 0.0)  # its sum is 1 - p of the most likely class, without cancellation
        complement = (1 - p).scatter(1, top, rest.sum(1, keepdim=True))
        others = (p.square().sum(1, keepdim=True) - p.square()).scatter(1, top, rest.square().sum(1, keepdim=True))
        unnormalised = p * (complement.square() + others)
        trace = unnormalised.sum(1, keepdim=True)
        drawn = torch.multinomial(torch.where(trace > 0, unnormalised, p), 1, generator=generator)
        gradient = p.scatter(1, drawn, -complement.gather(1, drawn))
        weights = self._weights(p)
        if weights is not None:  # the label is drawn from p, so a row's weight is its mean under p
            trace = trace * self._row_weights(p @ weights, weights).unsqueeze(1)
        return (F.normalize(gradient, dim=1, eps=torch.finfo(p.dtype).tiny) * trace.sqrt()).to(outputs.dtype)

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the geometric mean of the models' class probabilities, shifted to their mean margin.

        The shift is needed because models err on a row in different ways: the geometric mean alone has a larger margin
        than nearly all of them.

        Returns:
            Probabilities ``(N, C)``.
        """
        geometric = outputs.log_softmax(-1).mean(0)
        margins = torch.stack([self.margin(of_model, y) for of_model in outputs])
        return self.surer(geometric.softmax(-1), y, margins.mean(0) - self.margin(geometric, y))

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Return the target with ``by`` added to the log-odds of each row's class, which adds it to the margin."""
        return _log(target).scatter_add(1, labels(y).unsqueeze(1), by.unsqueeze(1)).softmax(-1)

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """Return the probabilities after a share of the difference of log-odds was subtracted from the logits."""
        return (outputs - share * (_log(seen) - _log(never))).softmax(-1)

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return ``p - q + c (z - log q)``, the last part centred over classes.

        It is the gradient of the cross-entropy plus ``c / 2`` times the squared difference of log-odds. The second part
        is needed where model and target are both confident: the cross-entropy is flat there, and the margin is not.

        Returns:
            ``(N, C)``.
        """
        difference = outputs - _log(target)
        return outputs.softmax(1) - target + LOG_ODDS * _centred(difference)

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """Return ``(diag(p) - p p') v + c v``, the last part centred over classes.

        ``p`` is the mean of the model's and the target's probabilities.
        """
        return _fisher((outputs.softmax(1) + target) / 2, tangents) + LOG_ODDS * _centred(tangents)

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return the share of rows that are classified correctly."""
        return float(self.correct(outputs, y).mean())

    def utility_loss(self, before: float, after: float) -> float:
        """Return the accuracy lost, as a share of rows."""
        return before - after


def _fisher(p: Tensor, tangents: Tensor) -> Tensor:
    """Return ``(diag(p) - p p') v``."""
    return p * (tangents - (p * tangents).sum(1, keepdim=True))


def _log(probabilities: Tensor) -> Tensor:
    """Return the logarithm, finite also of a probability of 0."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def _centred(values: Tensor) -> Tensor:
    """Return ``(N, C)`` less each row's mean: a constant added to all logits changes no probability."""
    return values - values.mean(1, keepdim=True)


def labels(y: Tensor) -> Tensor:
    """Return class numbers.

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
