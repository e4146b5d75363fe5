"""The controls of a verdict: its test is run where the truth is known.

If a control fails, a test that finds no trace proves nothing.

The test must not alarm on rows that no model saw. It must find the original on subjects that it saw, and the model
under test on subjects that it should still hold (decision 30).
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

MOST_GROUPS = 40  # that a control of the original reads: enough to tell a detection rate of 95 % from 75 %
MOST_RETAINED = 24  # that the control of the model under test reads, anew each time: enough to tell 95 % from 65 %
FEWEST_GROUPS = 8  # with fewer groups of many subjects, single subjects are read as well (decision 30)


@dataclass(frozen=True)
class Controls:
    """The results of the controls on a split of the references.

    Attributes:
        negative: false alarms on rows that no model saw; None where no such check was made.
        positive: how often the original is found on rows that it saw; None without references.
        retained: how often the model under test is found on rows that it should still hold; None where there is none.
    """

    negative: SelfCheck | None = None
    positive: PositiveControl | None = None
    retained: PositiveControl | None = None

    @property
    def alarmed(self) -> bool:
        """Return whether the negative control failed."""
        return self.negative is not None and not self.negative.passed

    @property
    def missed(self) -> bool:
        """Return whether a positive control failed: the original, or the model under test, is not found."""
        return any(control is not None and not control.passed for control in (self.positive, self.retained))

    def corrected(self, detectable: Mapping[str, float]) -> dict[str, float]:
        """Return detectable traces divided by the controls' unit, which is below 1 if whole traces measure less."""
        controls = [control for control in (self.positive, self.retained) if control is not None]
        return {
            signal: value / min([1.0, *(control.scale(signal) for control in controls)])
            for signal, value in detectable.items()
        }

    @property
    def reason(self) -> str | None:
        """Return why the test proves nothing about forgetting; None where all controls passed."""
        if self.alarmed:
            assert self.negative is not None
            return (
                f"the test raised {self.negative.alarms} alarms of {self.negative.groups} on rows that nobody saw, "
                f"where {self.negative.limit} at most may come"
            )
        if self.positive is not None and not self.positive.passed:
            return (
                f"the original, which saw every subject, {self.positive.failure}; the recipe does not train as the "
                "original was trained"
            )
        if self.retained is not None and not self.retained.passed:
            return (
                f"the model under test {self.retained.failure} though nobody asked it to forget them; it shows so little "
                "of the rows that it kept that nothing follows where it shows none"
            )
        return None


def original_control(
    references: References, oracle: TrainedModel, parts: Sequence[Part], alpha: float, split: str
) -> PositiveControl:
    """Return the positive control of a split, computed once for a pool, a model and a size of request.

    The original is read on every subject, or for a request of many subjects on groups of that size. This is no access
    to the evaluation split, since the original is not a model under test.

    Args:
        references: the pool; it stores the result, since an erasure removes rows.
        oracle: the original, trained on all rows of its data.
        parts: the request's rows by subject.
        alpha: error rate of the joint test.
        split: ``tuning`` or ``judging``.

    Returns:
        The control.
    """
    size = _size(references, parts)
    path = references.store.control(oracle.digest, references.digest, size, alpha)
    if not path.exists():
        splits = {"tuning": references.tuning, "judging": references.evaluation}
        groups = {name: _groups(references, of_split, size, alpha) for name, of_split in splits.items()}
        subjects = {part.subject: part for of_split in groups.values() for group in of_split for part in group}
        readings = _read(references.tuning, oracle.model, list(subjects.values()))
        controls = {
            name: positive_control(of_split, groups[name], readings, alpha) for name, of_split in splits.items()
        }
        atomic.write_json(path, {name: control.to_dict() for name, control in controls.items()})
    content: dict[str, Any] = atomic.read_json(path)
    return PositiveControl.from_dict(content[split])


def retained_control(
    references: References, model: nn.Module, parts: Sequence[Part], alpha: float
) -> PositiveControl | None:
    """Count on how many subjects outside the request the model under test is found, on the evaluation split.

    A model that was trained less, or by another recipe, and a black box with rounded answers, may show nothing of any
    row. The test is that of the request.

    Args:
        references: the pool.
        model: under test.
        parts: the request's rows by subject.
        alpha: error rate of the joint test.

    Returns:
        The control; None where there is no other subject.
    """
    split, weights = references.evaluation, not isinstance(model, BlackBox)
    requested = np.concatenate([part.rows for part in parts])
    chosen = _groups(references, split, _size(references, parts), alpha, requested, MOST_RETAINED)
    if not chosen:
        return None
    subjects = {part.subject: part for group in chosen for part in group}
    readings = _read(split, model, list(subjects.values()), weights)
    return positive_control(split, chosen, readings, alpha, weights, own_unit=True)


def _size(references: References, parts: Sequence[Part]) -> int:
    """Return the subjects of a control's groups: as many as usually have as many rows as the request."""
    if len(parts) < MANY:
        return 1
    usual = float(np.median([len(rows) for rows in references.pool_index.owned if len(rows)]))
    size = min(len(parts), round(sum(len(part.rows) for part in parts) / usual))
    return size if size >= MANY else 1


def _groups(
    references: References,
    split: ReferenceSplit,
    size: int,
    alpha: float,
    requested: Indices | None = None,
    most: int | None = None,
) -> list[list[Part]]:
    """Cut the subjects at random into groups.

    Groups of the pool, such as classes, are not among them: a class that members lack is found whatever the recipe.

    Args:
        references: the pool.
        split: of the pool.
        size: subjects of a group.
        alpha: error rate of the joint test.
        requested: rows that the model should not hold. A subject is read on its other rows, and left out if these are
            less than half of its rows.
        most: largest number of groups.

    Returns:
        The groups; if there are few of them, single subjects as well.
    """
    tables, kept_rows = null_tables(split.values, alpha).values(), dict[int, Indices]()
    kept = np.ones(len(split.values.owners), bool)
    if requested is not None:
        kept[requested] = False
    for subject in range(int(references.pool_index.owner.max()) + 1):
        rows = split.values.positions[subject]
        if 2 * int(kept[rows].sum()) >= max(1, len(rows)):
            kept_rows[subject] = rows[kept[rows]]
    generator, groups = np.random.default_rng(0), list[Indices]()
    if size > 1:
        readable_subjects = [s for s in kept_rows if any(s in table for table in tables)]
        order = generator.permutation(readable_subjects)[: MOST_GROUPS * size]
        groups = [np.sort(order[at : at + size]) for at in range(0, len(order) - size + 1, size)]
    if len(groups) < FEWEST_GROUPS:  # single subjects are those whose nulls are computed anyway
        known = sorted({subject for table in tables for subject in table.subjects if subject in kept_rows})
        groups += [np.array([subject]) for subject in generator.permutation(known)]
    return [[Part(int(s), kept_rows[int(s)]) for s in group] for group in groups[:most]]


def _read(
    split: ReferenceSplit, model: nn.Module, parts: Sequence[Part], weights: bool = True
) -> dict[str, dict[int, Reading]]:
    """Read a model by each signal on each subject that it can read; without ``weights``, from outputs alone."""
    readings: dict[str, dict[int, Reading]] = {}
    for name in readable(split, weights):
        signal = split.evaluator.signals[name]
        measured = [part for part in parts if split.evaluator.measures(signal, [part])]
        reading = split.evaluator.read(model, measured, [name])[name] if measured else None
        readings[name] = {}
        for place, part in enumerate(measured):
            assert reading is not None
            readings[name][part.subject] = Reading([reading.rows[place]], [reading.holdout[place]])
    return readings


def groups_of(references: References | None) -> list[Any]:
    """Return the holdout's groups for the self-check, drawn by the pool's seed, of its median subject's size."""
    assert references is not None
    sizes = [len(rows) for rows in references.pool_index.positions if len(rows)]
    size = max(1, int(sorted(sizes)[len(sizes) // 2]))
    return holdout_groups(len(references.oracle.require_holdout()), size, int(references.head["seed"]))


def controls_view(
    negative: SelfCheck | None, positive: PositiveControl | None, retained: PositiveControl | None = None
) -> list[Text]:
    """Return one line per control, red where it failed."""
    lines: list[Text] = []
    if negative is not None:
        line = f"negative control: {negative.alarms} false alarms of {negative.groups} tests on rows nobody saw"
        limit = "" if negative.limit is None else f" (at most {negative.limit} where all is well)"
        lines.append(Text(line + limit, style="" if negative.passed else "bold red"))
    for control, sentence in (
        (positive, "the original is found on {} that it saw"),
        (retained, "the model is found on {} that it kept"),
    ):
        if control is not None:
            count = f"{control.detected} of {control.groups} {control.subjects_read}"
            line = f"positive control: {sentence.format(count)}"
            line += f"; on {control.found} of the {control.promised} where it must be"
            lines.append(Text(line, style="" if control.passed else "bold red"))
    return lines
