"""SISA: shards that held a forget row are trained again, from the last checkpoint that saw none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import nn

from neuralyzer.data import texts
from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.ensemble import Ensemble
from neuralyzer.models.shard_record import Record, Writer
from neuralyzer.models.sharded import Sharded, put
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes, require_possible
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Sisa:
    """Sharded, isolated, sliced and aggregated training, repeated where a forget row was (Bourtoule et al. 2021).

    The model of each shard with forget rows returns to the checkpoint before the first slice that holds one. The stages
    from there on are trained again without the forget rows; the other shards stay. The result equals, bit by bit,
    sharded training from scratch on the retained rows with the same shards and slices. It needs a model that was
    trained by ``models.sharded.Sharded``. The new model's record is written beside that of the old one, so that a later
    request can start from it. Sections IV and V of arXiv 1912.03817, from memory.

    It does not stop at its time limit, since part of the work would leave forget rows in the model.
    """

    name: ClassVar[str] = "sisa"
    summary: ClassVar[str] = "train the shards that held the rows again, from the last checkpoint that saw none"
    paper: ClassVar[str] = "Bourtoule et al. 2021, arXiv 1912.03817"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=0.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work; None where it can."""
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
        """Return the steps of the stages that are trained again."""
        if self.obstacle(task) is not None:
            return Passes()
        sharded, _, shards = _recorded(task)
        dirty = [(shard.retained, shard.begin) for shard in shards if shard.begin is not None]
        return Passes(steps=sum(sharded.steps(retained, begin) for retained, begin in dirty))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train the shards that held a forget row again; the training audit records every row that the model saw.

        Args:
            task: of a model that was trained in shards.
            progress: shown the steps.

        Returns:
            The module.

        Raises:
            UsageError: if there is no such record.
        """
        require_possible(self, task)
        (sharded, record, shards), progress = _recorded(task), progress or Silent()
        ensemble = weights.clone(task.model)
        assert isinstance(ensemble, Ensemble)
        progress.start("training shards again", int(self.passes(task).steps))
        with Writer(sharded.folder) as writer:
            for number, shard in enumerate(shards):
                begin = sharded.slices if shard.begin is None else shard.begin
                for stage in range(begin):
                    writer.take_over(record, number, stage)
                task.training_audit.note({name for part in record.slices[number][:begin] for name in part})
                if shard.begin is None:
                    continue
                module = weights.load_into(sharded.first(number, record.seed), record.checkpoint(number, begin))
                for _ in sharded.grow(
                    module, task.retain, shard.retained, number, record.seed, begin, task.placement, writer.keep,
                    task.training_audit.watch,
                ):  # fmt: skip
                    progress.advance()
                put(ensemble, number, module, shard.retained)
            ids = [[task.retain.ids[rows].tolist() for rows in shard.retained] for shard in shards]
            writer.finish(ensemble, task.retain, ids, record.seed)
        task.show(progress, ensemble)
        progress.finish()
        return ensemble.eval()


class Shard(NamedTuple):
    """A shard without the forget rows.

    Attributes:
        retained: positions of each slice's rows among the retained ones.
        begin: the first stage that saw a forget row; None where none did.
    """

    retained: list[np.ndarray]
    begin: int | None


def _recorded(task: Task) -> tuple[Sharded, Record, list[Shard]]:
    """Return the training of the task's model, its record, and its shards without the forget rows."""
    sharded = task.oracle.recipe.train
    assert isinstance(sharded, Sharded)
    record = Record.of(sharded.folder, task.oracle.digest)
    assert record is not None
    return sharded, record, list(_shards(record, task))


def _shards(record: Record, task: Task) -> Iterator[Shard]:
    """Find each shard's retained rows and the first stage that is to be trained again."""
    for slices in record.slices:
        retained, dirty = [], []
        for stage, ids in enumerate(slices):
            places = texts.places(texts.as_names(ids), task.retain.ids) if ids else np.empty(0, np.int64)
            retained.append(np.sort(places[places >= 0]))  # -1 stands for a row that is not retained
            dirty += [stage] if (places < 0).any() else []
        yield Shard(retained, dirty[0] if dirty else None)
