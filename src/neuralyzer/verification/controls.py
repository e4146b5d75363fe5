"""The two controls of a pool: what its test says where the truth is known. A pool that fails either says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text
from torch import nn

from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.half import ReferenceHalf
from neuralyzer.references.measuring import Reading
from neuralyzer.references.pool import References
from neuralyzer.references.readings import Part
from neuralyzer.trace.gauge import tables
from neuralyzer.trace.group_gauge import MANY
from neuralyzer.trace.positive_control import PositiveControl, positive_control
from neuralyzer.trace.self_check import SelfCheck, holdout_groups
from neuralyzer.workspace import atomic

MOST_GROUPS = 40  # that a control reads: as many as tell a detection rate of 95 % from one of 75 %


@dataclass(frozen=True)
class Controls:
    """What the controls say of a split of the references.

    Attributes:
        negative: false alarms on rows that nobody saw; None where no such check was made.
        positive: how often the original is found on rows that it saw; None without references.
    """

    negative: SelfCheck | None = None
    positive: PositiveControl | None = None

    @property
    def alarmed(self) -> bool:
        """Whether the negative control failed."""
        return self.negative is not None and not self.negative.passed

    @property
    def missed(self) -> bool:
        """Whether the positive control failed."""
        return self.positive is not None and not self.positive.passed

    def corrected(self, detectable: Mapping[str, float]) -> dict[str, float]:
        """Detectable traces in the unit that the original really reads: larger where it reads less than 1."""
        if self.positive is None:
            return dict(detectable)
        return {signal: value / self.positive.scale(signal) for signal, value in detectable.items()}

    @property
    def reason(self) -> str | None:
        """Why the pool says nothing of forgetting; None where both controls passed."""
        if self.alarmed:
            assert self.negative is not None
            return (
                f"the test raised {self.negative.alarms} alarms of {self.negative.groups} on rows that nobody saw, "
                f"where {self.negative.limit} at most may come"
            )
        if self.missed:
            assert self.positive is not None
            return (
                f"the original, which saw every subject, is found on {self.positive.found} of "
                f"{self.positive.promised} {self.positive.whom} on which it should be; the recipe does not train as the original "
                "was trained"
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
    size = len(parts) if len(parts) >= MANY else 1
    path = references.store.control(oracle.digest, size, alpha)
    if not path.exists():
        splits = {"tuning": references.tuning, "judging": references.judging}
        groups = {name: _groups(references, own, size, alpha) for name, own in splits.items()}
        every = {part.subject: part for own in groups.values() for group in own for part in group}
        read = _read(references.tuning, oracle.model, list(every.values()))
        made = {name: positive_control(own, groups[name], read, alpha) for name, own in splits.items()}
        atomic.write_json(path, {name: own.to_dict() for name, own in made.items()})
    content: dict[str, Any] = atomic.read_json(path)
    return PositiveControl.from_dict(content[split])


def _groups(references: References, split: ReferenceHalf, size: int, alpha: float) -> list[list[Part]]:
    """Subjects that own rows, cut at random into groups; a class that members lack is found whatever the recipe."""
    own, positions = tables(split.half, alpha).values(), split.half.positions
    owners = int(references.roster.owner.max()) + 1
    if size == 1:  # those that the nulls are learned from
        chosen = sorted({subject for table in own for subject in table.subjects if subject < owners})
        return [[Part(subject, positions[subject])] for subject in chosen]
    readable = [s for s in range(owners) if any(s in table for table in own)]
    order = np.random.default_rng(0).permutation(readable)[: MOST_GROUPS * size]
    groups = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
    return [[Part(int(s), positions[int(s)]) for s in np.sort(group)] for group in groups]


def _read(half: ReferenceHalf, model: nn.Module, parts: Sequence[Part]) -> dict[str, dict[int, Reading]]:
    """What each signal reads of a model on each subject that has it."""
    found: dict[str, dict[int, Reading]] = {}
    for name, signal in half.meter.signals.items():
        own = [part for part in parts if half.meter.measures(signal, [part])]
        read = half.meter.read(model, own, [name])[name] if own else None
        found[name] = {}
        for place, part in enumerate(own):
            assert read is not None
            found[name][part.subject] = Reading([read.rows[place]], [read.holdout[place]])
    return found


def groups_of(references: References | None) -> list[Any]:
    """The holdout's groups for the self-check, cut when the pool is made: by its seed and its median subject."""
    assert references is not None
    sizes = [len(own) for own in references.roster.positions if len(own)]
    size = max(1, int(sorted(sizes)[len(sizes) // 2]))
    return holdout_groups(len(references.oracle.require_holdout()), size, int(references.head["seed"]))


def controls_view(negative: SelfCheck | None, positive: PositiveControl | None) -> list[Text]:
    """A line a control, red where it failed."""
    lines: list[Text] = []
    if negative is not None:
        said = f"negative control: {negative.alarms} false alarms of {negative.groups} tests on rows nobody saw"
        limit = "" if negative.limit is None else f" (at most {negative.limit} where all is well)"
        lines.append(Text(said + limit, style="" if negative.passed else "bold red"))
    if positive is not None:
        said = (
            f"positive control: the original is found on {positive.detected} of {positive.groups} {positive.whom} that it saw; "
            f"on {positive.found} of the {positive.promised} where it must be"
        )
        lines.append(Text(said, style="" if positive.passed else "bold red"))
    return lines
