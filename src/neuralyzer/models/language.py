"""Readings of causal language models: logits at target positions only, a chunk of tokens at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuralyzer.data.batches import Inputs
from neuralyzer.models.calling import call
from neuralyzer.models.classification import Classification

CHUNK = 2048  # target tokens whose logits are held at once: memory is this times the vocabulary, in float32
LOSS, MARGIN, CORRECT, TOKENS = range(4)  # the readings of a row


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

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return the mean loss over all target tokens, in nats; smaller is better."""
        weights = outputs[:, TOKENS]
        return float((outputs[:, LOSS] * weights).sum() / weights.sum())

    def utility_loss(self, before: float, after: float) -> float:
        """Return by which share the loss grew."""
        return (after - before) / before


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
    parts = []
    for states, tokens in zip(torch.split(chosen, CHUNK), torch.split(following, CHUNK), strict=True):
        if torch.is_grad_enabled() and states.requires_grad:  # logits are made again on the way back, not kept
            parts.append(checkpoint(token_readings, states, head, tokens, use_reentrant=False))
        else:
            parts.append(token_readings(states, head, tokens))
    count = wanted.sum(1).float()  # bfloat16 counts to 256
    sums = torch.zeros(len(hidden), 3, dtype=torch.float32, device=hidden.device).index_add(0, rows, torch.cat(parts))
    return torch.cat([sums / count[:, None], count[:, None]], 1)


def token_readings(states: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    """Return loss, log-odds and whether the target is the greedy token, of each token, ``(T, 3)``."""
    logits, tokens = head(states).float(), Classification()
    return torch.stack([read(logits, targets) for read in (tokens.losses, tokens.margin, tokens.correct)], 1)
