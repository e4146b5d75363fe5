"""The controls of a verdict: what its test says where the truth is known. Where one fails, silence says nothing.

Rows that nobody saw must not alarm; the original must be found on subjects that it saw; and the model under test on
those that it should still hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text
from torch import nn

from neuralyzer.models.black_box import BlackBox
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import Indices, Part
from neuralyzer.trace.estimator import null_tables, readable
from neuralyzer.trace.group_estimator import MANY
from neuralyzer.trace.positive_control import PositiveControl, positive_control
from neuralyzer.trace.self_check import SelfCheck, holdout_groups
from neuralyzer.workspace import atomic

MOST_GROUPS = 40  # that a control reads: as many as tell a detection rate of 95 % from one of 75 %
MOST_RETAINED = 24  # of the model under test, which is read anew each time: they tell 95 % from 65 %
FEWEST_GROUPS = 8  # fewer say too little by themselves: single subjects are read beside them


@dataclass(frozen=True)
class Controls:
    """What the controls say of a split of the references.

    Attributes:
        negative: false alarms on rows that nobody saw; None where no such check was made.
        positive: how often the original is found on rows that it saw; None without references.
        retained: how often the model under test is found on rows that it should still hold; None where there is none.
    """

    negative: SelfCheck | None = None
    positive: PositiveControl | None = None
    retained: PositiveControl | None = None

    @property
    def alarmed(self) -> bool:
        """Whether the negative control failed."""
        return self.negative is not None and not self.negative.passed

    @property
    def missed(self) -> bool:
        """Whether the original, or the model under test, is not found where it must be."""
        return any(own is not None and not own.passed for own in (self.positive, self.retained))

    def corrected(self, detectable: Mapping[str, float]) -> dict[str, float]:
        """Detectable traces in the unit that models really read: larger where one that saw the rows reads less than 1."""
        made = [own for own in (self.positive, self.retained) if own is not None]
        return {
            signal: value / min([1.0, *(own.scale(signal) for own in made)]) for signal, value in detectable.items()
        }

    @property
    def reason(self) -> str | None:
        """Why the test says nothing of forgetting; None where all controls passed."""
        if self.alarmed:
            assert self.negative is not None
            return (
                f"the test raised {self.negative.alarms} alarms of {self.negative.groups} on rows that nobody saw, "
                f"where {self.negative.limit} at most may come"
            )
        if self.positive is not None and not self.positive.passed:
            return (
                f"the original, which saw every subject, {self.positive.missing}; the recipe does not train as the "
                "original was trained"
            )
        if self.retained is not None and not self.retained.passed:
            return (
                f"the model under test {self.retained.missing} though nobody asked it to forget them; it shows so little "
                "of the rows that it kept that nothing follows where it shows none"
            )
        return None


def original_control(
    references: References, oracle: TrainedModel, parts: Sequence[Part], alpha: float, split: str
) -> PositiveControl:
    """The positive control of a split, made once for a pool, a model and a kind of request.

    The original is read on every subject, or on groups of as many as are asked for where these are read as a group.
    That is no access to the evaluation split: the original is no model under test.

    Args:
        references: the pool; it keeps the result, for an erasure takes rows.
        oracle: the original, trained on all rows of its data.
        parts: what the request asks for.
        alpha: error rate of the joint test.
        split: ``tuning`` or ``judging``.

    Returns:
        The control.
    """
    size = _size(references, parts)
    path = references.store.control(oracle.digest, references.digest, size, alpha)
    if not path.exists():
        splits = {"tuning": references.tuning, "judging": references.evaluation}
        groups = {name: _groups(references, own, size, alpha) for name, own in splits.items()}
        every = {part.subject: part for own in groups.values() for group in own for part in group}
        read = _read(references.tuning, oracle.model, list(every.values()))
        made = {name: positive_control(own, groups[name], read, alpha) for name, own in splits.items()}
        atomic.write_json(path, {name: own.to_dict() for name, own in made.items()})
    content: dict[str, Any] = atomic.read_json(path)
    return PositiveControl.from_dict(content[split])


def retained_control(
    references: References, model: nn.Module, parts: Sequence[Part], alpha: float
) -> PositiveControl | None:
    """How often the model under test is found on subjects that nobody asked to be forgotten, on the judging split.

    A model that was trained less, or by another recipe, and one of which only rounded answers can be had, may show
    nothing of any row. It is read by the same test as on the request.

    Args:
        references: the pool.
        model: under test.
        parts: what the request asks for.
        alpha: error rate of the joint test.

    Returns:
        The control; None where no other subject is there to be read.
    """
    split, weights = references.evaluation, not isinstance(model, BlackBox)
    gone = np.concatenate([part.rows for part in parts])
    chosen = _groups(references, split, _size(references, parts), alpha, gone, MOST_RETAINED)
    if not chosen:
        return None
    every = {part.subject: part for group in chosen for part in group}
    read = _read(split, model, list(every.values()), weights)
    return positive_control(split, chosen, read, alpha, weights, own_unit=True)


def _size(references: References, parts: Sequence[Part]) -> int:
    """Subjects of a control's groups: as many as have as many rows as the request, which may ask for a few of each."""
    if len(parts) < MANY:
        return 1
    usual = float(np.median([len(own) for own in references.pool_index.owned if len(own)]))
    size = min(len(parts), round(sum(len(part.rows) for part in parts) / usual))
    return size if size >= MANY else 1


def _groups(
    references: References,
    split: ReferenceSplit,
    size: int,
    alpha: float,
    gone: Indices | None = None,
    most: int | None = None,
) -> list[list[Part]]:
    """Subjects that own rows, cut at random into groups; a class that members lack is found whatever the recipe.

    Args:
        references: the pool.
        split: of it.
        size: subjects of a group.
        alpha: error rate of the joint test.
        gone: rows that the model should not hold. A subject is read on its other rows, and left out where these are
            less than half of its rows.
        most: groups.

    Returns:
        The groups; single subjects besides where there are a few only.
    """
    own, left, kept = (
        null_tables(split.values, alpha).values(),
        dict[int, Indices](),
        np.ones(len(split.values.owners), bool),
    )
    if gone is not None:
        kept[gone] = False
    for subject in range(int(references.pool_index.owner.max()) + 1):
        rows = split.values.positions[subject]
        if 2 * int(kept[rows].sum()) >= max(1, len(rows)):
            left[subject] = rows[kept[rows]]
    generator, cut = np.random.default_rng(0), list[Indices]()
    if size > 1:
        every = [s for s in left if any(s in table for table in own)]
        order = generator.permutation(every)[: MOST_GROUPS * size]
        cut = [np.sort(order[at : at + size]) for at in range(0, len(order) - size + 1, size)]
    if len(cut) < FEWEST_GROUPS:  # by those that the nulls are learned from
        known = sorted({subject for table in own for subject in table.subjects if subject in left})
        cut += [np.array([subject]) for subject in generator.permutation(known)]
    return [[Part(int(s), left[int(s)]) for s in group] for group in cut[:most]]


def _read(
    split: ReferenceSplit, model: nn.Module, parts: Sequence[Part], weights: bool = True
) -> dict[str, dict[int, Reading]]:
    """What each signal reads of a model on each subject that has it; without ``weights``, by its answers alone."""
    found: dict[str, dict[int, Reading]] = {}
    for name in readable(split, weights):
        signal = split.evaluator.signals[name]
        own = [part for part in parts if split.evaluator.measures(signal, [part])]
        read = split.evaluator.read(model, own, [name])[name] if own else None
        found[name] = {}
        for place, part in enumerate(own):
            assert read is not None
            found[name][part.subject] = Reading([read.rows[place]], [read.holdout[place]])
    return found


def groups_of(references: References | None) -> list[Any]:
    """The holdout's groups for the self-check, cut when the pool is made: by its seed and its median subject."""
    assert references is not None
    sizes = [len(own) for own in references.pool_index.positions if len(own)]
    size = max(1, int(sorted(sizes)[len(sizes) // 2]))
    return holdout_groups(len(references.oracle.require_holdout()), size, int(references.head["seed"]))


def controls_view(
    negative: SelfCheck | None, positive: PositiveControl | None, retained: PositiveControl | None = None
) -> list[Text]:
    """A line a control, red where it failed."""
    lines: list[Text] = []
    if negative is not None:
        said = f"negative control: {negative.alarms} false alarms of {negative.groups} tests on rows nobody saw"
        limit = "" if negative.limit is None else f" (at most {negative.limit} where all is well)"
        lines.append(Text(said + limit, style="" if negative.passed else "bold red"))
    for own, who in (
        (positive, "the original is found on {} that it saw"),
        (retained, "the model is found on {} that it kept"),
    ):
        if own is not None:
            said = f"positive control: {who.format(f'{own.detected} of {own.groups} {own.whom}')}"
            said += f"; on {own.found} of the {own.promised} where it must be"
            lines.append(Text(said, style="" if own.passed else "bold red"))
    return lines
