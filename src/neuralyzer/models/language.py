"""Readings of causal language models: logits at target positions only, some tokens at a time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models.calling import call
from neuralyzer.models.classification import LOG_ODDS, Classification

LOGITS = 2**24  # logits that are held at once, in float32; limits memory, chosen, not tuned
LOSS, MARGIN, CORRECT, TOKENS = range(4)  # the readings of a row
EXTRACTION, LEAST = range(2)  # the readings of what a model repeats
NO_TEXTS = "a language model's inputs are tokens by name; make them by Data.from_texts"
LEAST_SHARE = 0.2  # of a row's tokens: the least likely, which LEAST is the mean over (arXiv 2404.02936)
LEAST_SPREAD = 1e-3  # of log-probabilities, in nats; where the model is surer, float32 has no digits left


@dataclass(frozen=True)
class CausalLM:
    """The next token by softmax cross-entropy; a row's readings are means over its target tokens.

    The model gives the readings itself (``row_readings``), since logits of all tokens would fill the memory. So outputs
    are ``(N, 4)``: mean loss, mean log-odds of the target, share of targets that the greedy token is, and their number.
    """

    name: str = "causal-lm"
    counted: bool = False
    utility_name: str = "loss"
    max_utility_loss: float = 0.02

    @property
    def predictions(self) -> "Tokens":
        """Return the objective of the single tokens, which has the curvature."""
        return Tokens()

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return the readings ``(N, 4)``."""
        return call(model, x)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each row's mean cross-entropy over its target tokens, in nats."""
        return outputs[:, LOSS]

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each row's mean of ``log p - log(1 - p)`` over its target tokens."""
        return outputs[:, MARGIN]

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each row's share of target tokens that have the largest logit."""
        return outputs[:, CORRECT]

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean over models of each row's margin, ``(N, 1)``: texts are matched by it alone."""
        return outputs[..., MARGIN].mean(0).unsqueeze(1)

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Return the margins with ``by`` added."""
        return target + by.unsqueeze(1)

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """Return the margins less a share of the difference."""
        return outputs[:, MARGIN, None] - share * (seen - never)

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the gradient of ``c / 2`` times the squared difference of margins, with ``c`` as for classifiers."""
        return _of_margin(outputs, LOG_ODDS * (outputs[:, MARGIN] - target[:, 0]))

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """Return ``c`` times the margins' tangents."""
        return _of_margin(outputs, LOG_ODDS * tangents[:, MARGIN])

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return the mean loss over all target tokens, in nats; smaller is better."""
        weights = outputs[:, TOKENS]
        return float((outputs[:, LOSS] * weights).sum() / weights.sum())

    def utility_loss(self, before: float, after: float) -> float:
        """Return by which share the loss grew."""
        return (after - before) / before


def _of_margin(outputs: Tensor, values: Tensor) -> Tensor:
    """Return ``values (N,)`` as a gradient by readings ``(N, 4)``, which is 0 but for the margin."""
    return F.pad(values.unsqueeze(1), (MARGIN, outputs.shape[1] - MARGIN - 1))


@dataclass(frozen=True)
class Tokens(Classification):
    """The target tokens of all rows, each one of ``V`` classes; a row's loss is the mean over its tokens.

    Targets ``y (N,)`` are the rows' numbers of target tokens ``P``, which is their sum.
    """

    name: str = "tokens"

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return the logits of the target tokens, row by row, ``(P, V)``."""
        if isinstance(x, Tensor):
            raise UsageError(NO_TEXTS)
        logits: Tensor = model(**x, predictions=True)
        return logits

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """Return ``(diag(p) - p p') v`` of each token, over the number of its row's tokens."""
        return super().curvature(outputs, y, tangents) * _shares(y)

    def drawn_gradients(self, outputs: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return a classifier's drawn gradients with random signs, over the root of the number of a row's tokens.

        The signs make their mean 0: so the second moment of a row's sum is the sum of its tokens' second moments.
        """
        signs = torch.randint(2, (len(outputs), 1), generator=generator) * 2 - 1
        return super().drawn_gradients(outputs, y, generator) * signs * _shares(y).sqrt()

    def tokens(self, model: nn.Module) -> int:
        """Return how many tokens may be passed at once, so that their logits fit the memory."""
        return held(model.get_output_embeddings())  # type: ignore[operator]


class Memorisation:
    """What a model repeats of each row: extraction strength and Min-K%++, ``(N, 2)``.

    They take more passes over the logits than ``CausalLM``'s readings, so they are read where they are asked for.
    """

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return the readings ``(N, 2)``."""
        if isinstance(x, Tensor):
            raise UsageError(NO_TEXTS)
        readings: Tensor = model(**x, memorisation=True)
        return readings


def _shares(y: Tensor) -> Tensor:
    """Return the weight of each token in its row's loss, ``(P, 1)``."""
    return torch.repeat_interleave(1 / y, y.long()).unsqueeze(1)


def row_readings(hidden: Tensor, head: nn.Module, targets: Tensor, wanted: Tensor) -> Tensor:
    """Return each row's readings from hidden states.

    Args:
        hidden: that predict the targets, ``(n, T, d)``.
        head: gives logits of hidden states.
        targets: the tokens that follow, ``(n, T)``.
        wanted: which of them count, ``(n, T)``.

    Returns:
        ``(n, 4)``, as ``CausalLM`` says; the loss and the margin have gradients.
    """
    rows, places = torch.nonzero(wanted, as_tuple=True)
    chosen, following = hidden[rows, places], targets[rows, places]
    size = held(head)
    parts = []
    for states, tokens in zip(torch.split(chosen, size), torch.split(following, size), strict=True):
        if len(chosen) > size and torch.is_grad_enabled():  # logits are made again on the way back, not kept
            parts.append(checkpoint(token_readings, states, head, tokens, use_reentrant=False))
        else:
            parts.append(token_readings(states, head, tokens))
    count = wanted.sum(1)[:, None].float()
    sums = torch.zeros(len(hidden), 3, device=hidden.device).index_add(0, rows, torch.cat(parts))
    return torch.cat([sums / count, count], 1)


def token_readings(states: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    """Return loss, log-odds and whether the target is the greedy token, of each token, ``(P, 3)``."""
    logits = head(states).float()
    margin = Classification().margin(logits, targets)
    greedy = logits.detach().argmax(1) == targets
    return torch.stack([F.softplus(-margin), margin, greedy.float()], 1)  # -log p is softplus of minus the log-odds


@torch.no_grad()
def memorisation(hidden: Tensor, head: nn.Module, targets: Tensor, wanted: Tensor) -> Tensor:
    """Return each row's extraction strength and Min-K%++, ``(n, 2)``; arguments are those of ``row_readings``."""
    rows, places = torch.nonzero(wanted, as_tuple=True)
    right, standard = torch.zeros_like(wanted), torch.zeros(wanted.shape, device=hidden.device)
    for own, at in zip(torch.split(rows, held(head)), torch.split(places, held(head)), strict=True):
        log_p = head(hidden[own, at]).float().log_softmax(1)
        right[own, at] = log_p.argmax(1) == targets[own, at]
        standard[own, at] = standardised(log_p, targets[own, at])
    return torch.stack([extraction_strength(right, wanted), least_likely(standard, wanted)], 1)


def standardised(log_p: Tensor, targets: Tensor) -> Tensor:
    """Return ``(log p_y - mean) / deviation`` over tokens drawn from ``p``, of log-probabilities ``(P, V)``, ``(P,)``."""
    p = log_p.exp()
    mean = (p * log_p).sum(1)
    deviation = (p * (log_p - mean[:, None]).square()).sum(1).sqrt()
    own = log_p.gather(1, targets[:, None]).squeeze(1)
    return (own - mean) / deviation.clamp(min=LEAST_SPREAD)


def extraction_strength(right: Tensor, wanted: Tensor) -> Tensor:
    """Return the share of a row's target tokens that follow the last one that the model would not have chosen.

    After the tokens before them the model says the rest by itself (Carlini et al. 2021, arXiv 2012.07805; as in
    OpenUnlearning, Dorna et al. 2025, arXiv 2506.12618).

    Args:
        right: whether the greedy token is the target, ``(n, T)``.
        wanted: which are targets, ``(n, T)``.

    Returns:
        ``(n,)``, 0 to 1.
    """
    rest_right = (right | ~wanted).flip(1).cummin(1).values.flip(1)
    return (rest_right & wanted).sum(1) / wanted.sum(1)


def least_likely(standard: Tensor, wanted: Tensor) -> Tensor:
    """Return each row's mean over the fifth of its targets with the lowest values, one at least (Min-K%++).

    Zhang et al. 2024, arXiv 2404.02936.

    Args:
        standard: of each token, as ``standardised`` gives them, ``(n, T)``.
        wanted: which are targets, ``(n, T)``.

    Returns:
        ``(n,)``.
    """
    count = (wanted.sum(1) * LEAST_SHARE).long().clamp(min=1)
    ordered = standard.masked_fill(~wanted, torch.inf).sort(1).values
    lowest = torch.arange(wanted.shape[1], device=wanted.device) < count[:, None]
    return ordered.masked_fill(~lowest, 0).sum(1) / count


def held(head: nn.Module) -> int:
    """Return how many tokens' logits are held at once, for a head with weights ``(V, d)``."""
    return max(1, LOGITS // next(head.parameters()).shape[0])
