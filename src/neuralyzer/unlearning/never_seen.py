"""What tuning members that never saw the forget rows show: their loss on these rows, and their utility."""

from collections.abc import Sequence

import numpy as np
import torch

from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import Part

FEWEST_NEVER = 3  # members whose mean utility is used; where there are fewer, all are. Chosen, not tuned


def mean_loss(split: ReferenceSplit, parts: Sequence[Part], data: Data, objective: Objective) -> float:
    """Return the mean loss of members on those rows whose subject they never saw.

    Args:
        split: of the references.
        parts: the forget rows, by subject.
        data: the training rows that ``parts`` are positions of.
        objective: computes the losses.
    """
    total, count, y = 0.0, 0, data.gather(np.concatenate([part.rows for part in parts]))[1]
    for rows, outputs in split.never_outputs(parts):
        for of_member in outputs:
            total += float(objective.losses(of_member, y[torch.from_numpy(rows)]).double().sum())
            count += len(rows)
    return total / count


def utilities(split: ReferenceSplit, parts: Sequence[Part]) -> np.ndarray:
    """Return the holdout utilities of the members that never saw any subject of the request.

    They predict the utility of a model without the rows.

    Args:
        split: of the references.
        parts: the forget rows, by subject.

    Returns:
        One for each such member; of all members where fewer than ``FEWEST_NEVER`` are such.
    """
    keep = split.values.keep[:, [part.subject for part in parts]]
    never = ~keep.any(1)
    return split.utilities[never if never.sum() >= FEWEST_NEVER else slice(None)]
