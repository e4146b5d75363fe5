"""Sample answers of a language model before and after a case, beside those of a model that never saw the rows.

Answers hold personal data: the original may recite the rows that are to be erased. So a case keeps how near each answer
is to what was taught, and the words only where they are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.kinds.answers import Answering, asked, in_words
from neuralyzer.models.sampling import longest_common
from neuralyzer.references.pool import References
from neuralyzer.unlearning.task import Task

OF_SUBJECT, OF_OTHERS = 3, 1  # questions about the forgotten rows and about retained ones; chosen, not tuned
MOST = 60  # new tokens of an answer
ITSELF = "the new model was itself trained without the rows"
NO_MODEL = "no model that never saw the rows was kept: make references with keep_weights = true"


@dataclass(frozen=True)
class NeverSaw:
    """A model that never saw the rows.

    Attributes:
        model: None where there is none.
        what: it is, or why there is none.
    """

    model: nn.Module | None
    what: str


def sample(task: Task, unlearned: nn.Module, never_saw: NeverSaw, words: bool) -> dict[str, Any] | None:
    """Ask the models a few questions of the forgotten rows and of retained ones, and decode greedily.

    Args:
        task: has the original and the rows.
        unlearned: the new model.
        never_saw: to compare with.
        words: whether questions and answers are kept in words.

    Returns:
        As ``result["answers"]`` has it; None where the model does not answer in words.
    """
    if not isinstance(task.model, Answering):
        return None
    found: dict[str, Any] = {"words": words, "never_saw": never_saw.what, "missing": None, "rows": []}
    try:
        tokenizer = task.model.tokenizer()
    except UsageError as error:  # the rows may have been made by another folder's tokenizer
        return found | {"missing": str(error)}
    models = {"original": task.model, "unlearned": unlearned, "never_saw": never_saw.model}
    for about, data, count in (("subject", task.forget, OF_SUBJECT), ("others", task.retain, OF_OTHERS)):
        found["rows"] += [
            {"about": about, **_row(data, place, models, tokenizer, words)} for place in _spread(len(data), count)
        ]
    return found


def _spread(rows: int, count: int) -> list[int]:
    """Return the positions of a few rows, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, rows - 1, min(rows, count))})


def _row(data: Data, place: int, models: Mapping[str, nn.Module | None], tokenizer: Any, words: bool) -> dict[str, Any]:
    row = asked(data.gather([place])[0])
    taught = in_words(tokenizer, row.taught)
    given = {
        name: in_words(tokenizer, model.answer(row.prompt, MOST)) if isinstance(model, Answering) else None
        for name, model in models.items()
    }
    near = {name: None if text is None else overlap(taught, text) for name, text in given.items()}
    kept = {"question": in_words(tokenizer, row.prompt), "taught": taught, "answers": given} if words else {}
    return {"overlap": near, **kept}


def overlap(taught: str, answer: str) -> float:
    """Return ROUGE-L's recall (Lin 2004): the longest common subsequence of words, as a share of those taught.

    Args:
        taught: what the model was trained to answer.
        answer: what it answered.

    Returns:
        0 to 1; 1 where nothing was taught but marks.
    """
    one, other = taught.split(), answer.split()
    if not one:
        return 1.0
    numbers = {word: number for number, word in enumerate({*one, *other})}
    said, known = (torch.tensor([[numbers[word] for word in words]], dtype=torch.long) for words in (other, one))
    return int(longest_common(said, known)) / len(one)


def never_saw(
    task: Task, pool: References | None, guarantee: Guarantee, exact: Sequence[Path], options: CaseOptions
) -> NeverSaw:
    """Return a model that never saw the rows.

    Args:
        task: has the rows.
        pool: whose tuning split may have kept its weights.
        guarantee: of the method.
        exact: files of exact references.
        options: may bring a retrained model.

    Returns:
        The model, or why there is none.
    """
    if options.retrained is not None:
        return NeverSaw(options.retrained, "a model really retrained without the rows")
    if guarantee is Guarantee.EXACT:
        return NeverSaw(None, ITSELF)
    if exact:
        return NeverSaw(_loaded(task, exact[0]), "an exact reference, trained on the retained rows alone")
    if pool is not None:
        split = pool.tuning
        unseen = np.logical_and.reduce([~split.values.keep[:, part.subject] for part in task.parts])
        kept = [path for path, clean in zip(split.kept, unseen, strict=True) if clean and path is not None]
        if kept:
            return NeverSaw(_loaded(task, kept[0]), "a reference that lacks these rows, and others")
    return NeverSaw(None, NO_MODEL)


def _loaded(task: Task, path: Path) -> nn.Module:
    return weights.load_into(task.oracle.recipe.module(), path).eval()
