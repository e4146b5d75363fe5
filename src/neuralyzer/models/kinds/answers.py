"""Answers of causal language models in words: a row's prompt, continued greedily by the tokenizer of the base."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models import sampling

SHOWN = 32  # tokens of a plain text that count as its prompt, or half of a shorter one; chosen, not tuned


@dataclass(frozen=True)
class Asked:
    """A row in two parts, as tokens.

    Attributes:
        prompt: what stands before the first target; the beginning of a row that has only targets.
        taught: the targets that follow it without a gap, the end included.
    """

    prompt: tuple[int, ...]
    taught: tuple[int, ...]


@runtime_checkable
class Answering(Protocol):
    """A model that continues a prompt in words."""

    def tokenizer(self) -> Any:
        """Return the tokenizer, which has ``decode`` and ``eos_token_id``."""

    def answer(self, prompt: tuple[int, ...], most: int) -> list[int]:
        """Return the greedy continuation of a prompt: ``most`` tokens, or fewer if the model ends it."""


def asked(x: Inputs) -> Asked:
    """Return one row of tokens ``(1, T)`` as prompt and first answer.

    Raises:
        UsageError: if it is no row of tokens with targets.
    """
    if isinstance(x, Tensor) or batches.TARGETS not in x:
        raise UsageError("these rows are no texts, so that nothing can be asked")
    prompt, taught = (parts[0].tolist() for parts in sampling.prompts_and_answers(x))
    if x[batches.TARGETS][0, 0]:  # a plain text
        whole = [*prompt, *taught]
        first = max(1, min(SHOWN, len(whole) // 2))
        prompt, taught = whole[:first], whole[first:]
    return Asked(tuple(prompt), tuple(taught))


@torch.no_grad()
def continued(model: nn.Module, prompt: tuple[int, ...], most: int) -> list[int]:
    """Return the greedy continuation of a prompt by a model of transformers.

    Args:
        model: a causal language model, in evaluation mode.
        prompt: tokens, one or more.
        most: tokens of the continuation; it also stops where the model reads no longer rows.

    Returns:
        The tokens, without the one that ends them.
    """
    config: Any = model.config
    ends = set(sampling.ends(config).tolist())
    longest = getattr(config, "max_position_embeddings", None)
    room = most if longest is None else min(most, longest - len(prompt))
    device = next(model.parameters()).device
    inputs, past, found = torch.tensor([prompt], device=device), None, list[int]()
    while len(found) < room:
        output = model(input_ids=inputs, past_key_values=past, use_cache=True)
        token, past = int(output.logits[0, -1].argmax()), output.past_key_values
        if token in ends:
            break
        found.append(token)
        inputs = torch.tensor([[token]], device=device)
    return found


def in_words(tokenizer: Any, tokens: tuple[int, ...] | list[int]) -> str:
    """Return tokens as text without those that only mark roles and ends."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
