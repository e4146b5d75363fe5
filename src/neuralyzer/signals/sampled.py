"""The signal ``sampled`` (accuracy-based): how much of the true answer the best of several sampled answers has."""

import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.errors import UsageError
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.language import NO_TEXTS
from neuralyzer.models.sampling import longest_common, prompts_and_answers, sampled
from neuralyzer.signals.signal import Batch, Context, Family, Sample

ANSWERS = 8  # sampled after each prompt
LONGEST = 64  # tokens of an answer, the rest of which is not asked for
ROWS = 64  # whose answers are sampled at once; limits memory, chosen, not tuned


class Sampled:
    """The best ROUGE-L recall of 8 answers sampled at temperature 1, which is leak@8 (arXiv 2511.04934).

    Reisizadeh et al. 2025: greedy decoding hides what sampling shows. Recall is that of tokens, not of words. A row's
    random numbers depend on the row alone: they are the same for every model.
    """

    name: ClassVar[str] = "sampled"
    family: ClassVar[Family] = Family.ACCURACY
    per_unit: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS, Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return the best recalls, ``(n,)`` and ``(H,)``."""
        return _recall(model, rows, context.seed), _recall(model, holdout, context.seed)


def _recall(model: nn.Module, batch: Batch, seed: int) -> Tensor:
    model.eval()
    parts = [_of_some(model, batch.take(slice(k, k + ROWS)), seed) for k in range(0, len(batch), ROWS)]
    return torch.cat(parts)


def _of_some(model: nn.Module, batch: Batch, seed: int) -> Tensor:
    if isinstance(batch.x, Tensor):
        raise UsageError(NO_TEXTS)
    prompts, answers = prompts_and_answers(batch.x)
    answers = [answer[:LONGEST] for answer in answers]
    longest = max(map(len, answers))
    draws = torch.stack(
        [_draws(prompt, answer, seed)[:, :longest] for prompt, answer in zip(prompts, answers, strict=True)]
    )
    said = sampled(model, prompts, draws)
    for row, answer in enumerate(answers):  # no more is asked for than the true answer has
        said[row, :, len(answer) :] = -1
    true = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=-1)
    common = longest_common(said.flatten(0, 1), true.repeat_interleave(ANSWERS, 0)).reshape(len(batch), ANSWERS)
    return common.amax(1) / torch.tensor([len(answer) for answer in answers])


def _draws(prompt: Tensor, answer: Tensor, seed: int) -> Tensor:
    """Return a row's random numbers ``(8, 64)``; they do not depend on padding or on other rows."""
    content = zlib.crc32(torch.cat([prompt, answer]).numpy().tobytes())
    return torch.from_numpy(np.random.default_rng([seed, content]).random((ANSWERS, LONGEST)))
