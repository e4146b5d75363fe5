"""SISA: the shards that held a forget row are trained again, from the last checkpoint that saw none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import nn

from neuralyzer.data import texts
from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.ensemble import Ensemble
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.shard_record import Record, Writer
from neuralyzer.models.sharded import Sharded, put
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes, require_possible
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Sisa:
    """Sharded, isolated, sliced and aggregated training, undone where a row was (Bourtoule et al. 2021).

    Of each shard with forget rows, the model goes back to the checkpoint before the first slice that holds one and takes
    the stages from there on again without them; the other shards stay. That is, bit by bit, sharded training from
    scratch on the retained rows with the same shards and slices. It needs a model that was trained by
    ``models.sharded.Sharded``, beside whose record it writes that of the new model, from which a next request
    goes on. Sections IV and V of arXiv 1912.03817, from memory.

    It does not stop when its time is up: half of it would be no training without the rows.
    """

    name: ClassVar[str] = "sisa"
    summary: ClassVar[str] = "train the shards that held the rows again, from the last checkpoint that saw none"
    paper: ClassVar[str] = "Bourtoule et al. 2021, arXiv 1912.03817"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=0.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def obstacle(self, task: Task) -> str | None:
        """Why it cannot work; None where it can."""
        sharded = task.oracle.recipe.train
        if not isinstance(sharded, Sharded):
            return "the model was not trained in shards, as models.sharded.Sharded does"
        record = Record.of(sharded.folder, task.oracle.digest)
        if record is None:
            return f"{sharded.folder} holds no record of the sharded training of this model"
        if record.data != task.oracle.data.digest:
            return "the recorded sharded training was on other rows than the model's present ones"
        return None

    def passes(self, task: Task) -> Passes:
        """The steps of the stages that are taken again."""
        if self.obstacle(task) is not None:
            return Passes()
        sharded, _, shards = _found(task)
        return Passes(steps=sum(sharded.steps(own.left, own.begin) for own in shards if own.begin is not None))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train the shards again that held a forget row; the training audit knows what the others saw and sees each step.

        Args:
            task: of a model that was trained in shards.
            progress: shown the steps.

        Returns:
            The module.

        Raises:
            UsageError: if there is no such record.
        """
        require_possible(self, task)
        (sharded, record, shards), progress = _found(task), progress or Silent()
        ensemble = weights.clone(task.model)
        assert isinstance(ensemble, Ensemble)
        progress.start("training shards again", int(self.passes(task).steps))
        with Writer(sharded.folder) as writer:
            for number, own in enumerate(shards):
                begin = sharded.slices if own.begin is None else own.begin
                for stage in range(begin):
                    writer.take_over(record, number, stage)
                task.training_audit.told({name for part in record.slices[number][:begin] for name in part})
                if own.begin is None:
                    continue
                module = weights.load_into(sharded.first(number, record.seed), record.checkpoint(number, begin))
                for _ in sharded.grow(
                    module, task.retain, own.left, number, record.seed, begin, task.placement, writer.keep,
                    task.training_audit.watch,
                ):  # fmt: skip
                    progress.advance()
                put(ensemble, number, module, own.left)
            ids = [[task.retain.ids[rows].tolist() for rows in own.left] for own in shards]
            writer.finish(ensemble, task.retain, ids, record.seed)
        task.show(progress, ensemble)
        progress.finish()
        return ensemble.eval()


class Shard(NamedTuple):
    """A shard without the forget rows.

    Attributes:
        left: positions of its slices' rows among the retained ones.
        begin: the first stage that saw a forget row; None where none did.
    """

    left: list[np.ndarray]
    begin: int | None


def _found(task: Task) -> tuple[Sharded, Record, list[Shard]]:
    """The training of the task's model, its record, and its shards without the forget rows."""
    sharded = task.oracle.recipe.train
    assert isinstance(sharded, Sharded)
    record = Record.of(sharded.folder, task.oracle.digest)
    assert record is not None
    return sharded, record, list(_shards(record, task))


def _shards(record: Record, task: Task) -> Iterator[Shard]:
    for slices in record.slices:
        left, touched = [], []
        for stage, ids in enumerate(slices):
            at = texts.places(texts.as_names(ids), task.retain.ids) if ids else np.empty(0, np.int64)
            left.append(np.sort(at[at >= 0]))
            touched += [stage] if (at < 0).any() else []
        yield Shard(left, touched[0] if touched else None)
