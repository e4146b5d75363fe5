"""The two controls of a pool: what its test says where the truth is known. A pool that fails either says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from torch import nn

from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.half import ReferenceHalf
from neuralyzer.references.measuring import Reading
from neuralyzer.references.pool import References
from neuralyzer.references.readings import Part
from neuralyzer.trace.positive_control import PositiveControl, positive_control, subjects_of
from neuralyzer.trace.self_check import SelfCheck, holdout_groups
from neuralyzer.workspace import atomic


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
                f"{self.positive.promised} subjects on which it should be; the recipe does not train as the original "
                "was trained"
            )
        return None


def original_controls(references: References, oracle: TrainedModel, alpha: float) -> dict[str, PositiveControl]:
    """The positive control of both splits, ``tuning`` and ``judging``, made once for a pool and a model.

    The original is read on every subject. That is no access to the evaluation split: it is no model under test.

    Args:
        references: the pool; it keeps the result.
        oracle: the original, trained on all rows of its data.
        alpha: error rate of the joint test.

    Returns:
        A control a split.
    """
    path = references.store.control(oracle.digest, alpha)
    if not path.exists():
        splits = {"tuning": references.tuning, "judging": references.judging}
        parts = {name: _owned(references, subjects_of(split, alpha)) for name, split in splits.items()}
        every = {part.subject: part for own in parts.values() for part in own}
        read = _read(references.tuning, oracle.model, list(every.values()))
        made = {name: positive_control(split, parts[name], read, alpha) for name, split in splits.items()}
        atomic.write_json(path, {name: own.to_dict() for name, own in made.items()})
    content: dict[str, Any] = atomic.read_json(path)
    return {name: PositiveControl.from_dict(own) for name, own in content.items()}


def _owned(references: References, parts: Sequence[Part]) -> list[Part]:
    """Subjects that own rows: a class that members lack as a whole is found whatever the recipe."""
    return [part for part in parts if part.subject <= int(references.roster.owner.max())]


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


def controls_view(negative: SelfCheck | None, positive: PositiveControl | None) -> list[RenderableType]:
    """A line a control, red where it failed."""
    lines: list[RenderableType] = []
    if negative is not None:
        said = f"negative control: {negative.alarms} false alarms of {negative.groups} tests on rows nobody saw"
        limit = "" if negative.limit is None else f" (at most {negative.limit} where all is well)"
        lines.append(Text(said + limit, style="" if negative.passed else "bold red"))
    if positive is not None:
        said = (
            f"positive control: the original is found on {positive.detected} of {positive.subjects} subjects that it "
            f"saw; on {positive.found} of the {positive.promised} where it must be"
        )
        lines.append(Text(said, style="" if positive.passed else "bold red"))
    return lines
