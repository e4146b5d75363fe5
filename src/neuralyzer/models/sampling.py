"""Answers that a language model samples after a prompt, token by token, from given random numbers."""

from typing import Any

import torch
from torch import Tensor, nn

from neuralyzer.data import batches


def prompts_and_answers(x: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return each text's tokens before its first target, and the targets that follow without a gap.

    The first token of a text has none before it, so it always belongs to the prompt.
    """
    prompts, answers = [], []
    for ids, mask, targets in zip(x[batches.IDS], x[batches.MASK].bool(), x[batches.TARGETS].bool(), strict=True):
        ids, targets = ids[mask], targets[mask]
        places = torch.nonzero(targets[1:]).flatten() + 1
        first = int(places[0])
        gaps = torch.nonzero(places.diff() > 1).flatten()
        last = int(places[gaps[0]]) if len(gaps) else int(places[-1])
        prompts.append(ids[:first])
        answers.append(ids[first : last + 1])
    return prompts, answers


@torch.no_grad()
def sampled(model: nn.Module, prompts: list[Tensor], draws: Tensor) -> Tensor:
    """Sample answers at temperature 1, each token by the inverse of its distribution function.

    Args:
        model: a ``Reader``, in evaluation mode.
        prompts: the tokens of ``n`` prompts.
        draws: uniform random numbers ``(n, k, T)``.

    Returns:
        Tokens of ``k`` answers of ``T`` tokens at most, ``(n, k, T)``; -1 after the end of a text.
    """
    given: Any = model
    backbone, head = getattr(given.model, given.model.base_model_prefix), given.get_output_embeddings()
    rows, copies, length = draws.shape
    width = max(map(len, prompts))
    ids, mask = torch.zeros(rows, width, dtype=torch.long), torch.zeros(rows, width, dtype=torch.long)
    for row, prompt in enumerate(prompts):  # padded on the left, so that all go on at the same place
        ids[row, width - len(prompt) :], mask[row, width - len(prompt) :] = prompt, 1
    states, cache = _forward(backbone, ids, mask, None)
    cache.batch_repeat_interleave(copies)
    states, mask = states.repeat_interleave(copies, 0), mask.repeat_interleave(copies, 0)
    last, uniform = ends(given.model.config), draws.reshape(rows * copies, length)
    over, answers = torch.zeros(rows * copies, dtype=torch.bool), []
    for place in range(length):
        below = head(states).double().softmax(1).cumsum(1)
        at = uniform[:, place : place + 1].double() * below[:, -1:]
        token = torch.searchsorted(below, at, right=True).squeeze(1).clamp(max=below.shape[1] - 1)
        answers.append(torch.where(over, -1, token))
        over = over | torch.isin(token, last)
        if place + 1 < length:
            mask = torch.cat([mask, torch.ones(len(mask), 1, dtype=torch.long)], 1)
            states, cache = _forward(backbone, token[:, None], mask, cache)
    return torch.stack(answers, 1).reshape(rows, copies, length)


def longest_common(answers: Tensor, references: Tensor) -> Tensor:
    """Return the length of the longest common subsequence of each pair; tokens below 0 match nothing.

    Args:
        answers: tokens ``(B, T)``.
        references: tokens ``(B, R)``.

    Returns:
        ``(B,)``.
    """
    lengths = torch.zeros(len(references), references.shape[1] + 1, dtype=torch.long)
    for token in answers.T:
        same = (references == token[:, None]) & (references >= 0)
        with_it = torch.maximum(lengths[:, 1:], lengths[:, :-1] + same)
        lengths = torch.cat([lengths[:, :1], with_it.cummax(1).values], 1)
    return lengths[:, -1]


def _forward(backbone: nn.Module, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Return the hidden state of the last of some new tokens ``(n, d)``, and the cache with them."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    returned = backbone(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    )
    return returned[0][:, -1], returned.past_key_values


def ends(config: Any) -> Tensor:
    """Return the tokens that end a text."""
    own = config.eos_token_id
    return torch.tensor([] if own is None else own, dtype=torch.long).reshape(-1)
