"""What a request's rows do to a model: each row's influence, and that of all of them together."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.influence.curvature import GaussNewton
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.influence.group import Change, removals
from neuralyzer.influence.removal import moved
from neuralyzer.influence.scores import row_scores, self_scores
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective
from neuralyzer.models.trained import TrainedModel

DAMPING = 1e-3  # share of the curvature's largest eigenvalue: of 1e-5 to .1 nearest to real retraining (decision 34)
HOLDOUT_ROWS = 2000  # most holdout rows that are read: a matrix of all rows by all holdout rows would not fit memory
TIMES_RAISED = 4  # most tenfold rises of the damping for all rows together, which end at a share of 1
SEED = 0  # of the samples of rows, fixed so that the same model has the same influences


@dataclass(frozen=True)
class RowInfluence:
    """What the removal of one row would change, by a first-order prediction.

    Attributes:
        id: of the row.
        own_loss: change of the row's own loss: how much the model memorised it (self-influence).
        holdout_loss: change of the holdout's mean loss; positive where the row helps.
        answers: mean absolute change, over the holdout, of the ``margin`` of the model's own answer; for regression of
            the predicted value.
        most_changed: id of the holdout row whose answer changes most.
        change: of that row's answer, as in ``answers``, with its sign.
    """

    id: str
    own_loss: float
    holdout_loss: float
    answers: float
    most_changed: str
    change: float


@dataclass(frozen=True)
class AnswerChange:
    """A holdout row whose answer would change without the request's rows.

    Attributes:
        id: of the holdout row.
        before: the model's answer: a class, or a predicted value.
        after: the predicted answer without the rows.
    """

    id: str
    before: float
    after: float


@dataclass(frozen=True)
class RequestInfluence:
    """The influence of a request's rows on a model.

    Attributes:
        rows: one for each row, sorted by the size of the change of the holdout's loss, the largest first.
        training_rows: number of training rows ``n``.
        holdout_rows: number of holdout rows that were read.
        holdout_loss: the model's mean loss on these.
        first_order: predicted change of that loss without all of the request's rows, by one Newton step.
        second_order: the same with the correction for how the curvature changes on the way.
        answers: holdout rows whose predicted class changes, to second order; for regression the ten whose predicted value
            changes most.
        damping: added to the curvature for single rows, as a share of its largest eigenvalue.
        damping_together: the same for all rows together: raised tenfold until the second-order term is no larger than the
            first-order change. A raised damping makes the predicted changes too small rather than too large.
    """

    rows: tuple[RowInfluence, ...]
    training_rows: int
    holdout_rows: int
    holdout_loss: float
    first_order: float
    second_order: float
    answers: tuple[AnswerChange, ...]
    damping: float
    damping_together: float

    def to_dict(self) -> dict[str, Any]:
        """Return the influences as plain values."""
        return asdict(self)


def request_influence(
    oracle: TrainedModel, positions: np.ndarray, factors: Ekfac | None = None, damping: float = DAMPING
) -> RequestInfluence:
    """Predict what removing some training rows would change, each alone and all together.

    Each row: ``g_target' (H + damping I)^-1 g_i / n`` (Koh and Liang 2017, arXiv 1703.04730, equation 2) in EKFAC's
    curvature (Grosse et al. 2023, arXiv 2308.03296). All together: ``influence.group.removals`` in the Gauss-Newton
    matrix of the other rows (2,000 of them at most), with a second-order term after Basu et al. 2020 (arXiv 1911.00418):
    EKFAC would overshoot several times where a group is large. Nothing is trained.

    Args:
        oracle: the model with its data and a holdout.
        positions: of the rows among its data, ``(F,)``.
        factors: of the model's curvature; computed here where None.
        damping: share of the curvature's largest eigenvalue.

    Returns:
        The influences.

    Raises:
        UsageError: if the model can have no factors or has no holdout, or if every row is to be removed.
    """
    require_influence(oracle)
    if len(positions) >= len(oracle.data):
        raise UsageError("the request names every training row; influence needs some that stay")
    factors = factors or kept.factors(oracle)
    module, objective, holdout = oracle.model, oracle.recipe.objective, _sample(oracle.require_holdout(), HOLDOUT_ROWS)
    rows, count, shift = oracle.data.select(positions), len(oracle.data), damping * factors.largest

    def scores(target: Data, read: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        return row_scores(module, objective, rows, target, factors, shift, reading=read) / count

    own_losses = self_scores(module, objective, rows, factors, shift) / count
    of_loss, of_answers = scores(holdout).mean(1), scores(holdout, _answer_reading(objective))
    most = of_answers.abs().argmax(1)
    each = [
        RowInfluence(
            str(rows.ids[place]), float(own_losses[place]), float(of_loss[place]), float(of_answers[place].abs().mean()),
            str(holdout.ids[int(most[place])]), float(of_answers[place, most[place]]),
        )
        for place in range(len(rows))
    ]  # fmt: skip
    rest = oracle.data.select(np.setdiff1d(np.arange(count), positions))
    curvature = GaussNewton(module, objective, _sample(rest, kept.ROWS))
    shares = [min(max(1.0, damping), 10**k * damping) for k in range(TIMES_RAISED + 1)]
    changes = removals(
        module, objective, rest, rows, [share * factors.largest for share in shares], curvature=curvature
    )
    for place, change in enumerate(changes):
        newton_step = Change(change.first, torch.zeros_like(change.first))
        first, second = (step.of_loss(module, objective, holdout) for step in (newton_step, change))
        together = shares[place]
        if abs(second - first) <= abs(first):
            break
    answers = [reading.outputs(m, objective, holdout.x) for m in (module, moved(module, change.whole))]
    return RequestInfluence(
        tuple(sorted(each, key=lambda row: -abs(row.holdout_loss))), count, len(holdout),
        reading.mean_loss(module, objective, holdout), first, second, _changed(objective, holdout, *answers), damping,
        together,
    )  # fmt: skip


def require_influence(oracle: TrainedModel) -> None:
    """Refuse a model whose influences cannot be computed.

    Raises:
        UsageError: if it has no curvature, no layer with factors, or no holdout.
    """
    if not kept.possible(oracle):
        raise UsageError(
            f"a {oracle.recipe.kind.name} with this objective has no influence: it needs gradients, curvature, and a "
            "Linear or Conv2d layer that is trained"
        )
    oracle.require_holdout()


def _sample(data: Data, most: int) -> Data:
    """Return at most ``most`` rows, drawn at random, in order."""
    if len(data) <= most:
        return data
    return data.select(np.sort(np.random.default_rng(SEED).permutation(len(data))[:most]))


def _answer_reading(objective: Objective) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that reads from outputs ``(n, C)`` how sure a model is of its own answer, ``(n,)``."""
    if objective.counted:
        return lambda outputs, _: objective.margin(outputs, outputs.detach().argmax(1))
    return lambda outputs, _: outputs.sum(1)


def _changed(objective: Objective, holdout: Data, before: Tensor, after: Tensor) -> tuple[AnswerChange, ...]:
    """Return the holdout rows whose answer changes, from outputs before and after."""
    if objective.counted:
        old, new = before.argmax(1), after.argmax(1)
        places = torch.nonzero(old != new).flatten()
    else:
        old, new = before.sum(1), after.sum(1)
        places = (new - old).abs().argsort(descending=True)[:10]
    return tuple(AnswerChange(str(holdout.ids[int(k)]), float(old[k]), float(new[k])) for k in places)
