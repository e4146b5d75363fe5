"""SISA: the shards without the forget rows are what sharded training without them gives, bit by bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import sharded, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.shard_record import Record, erase
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods import contract

SHARDS, SLICES = 3, 3


def plain():
    return nn.Linear(4, 3)


def normed():
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 3))
    module[0].requires_grad_(False)
    return module


def line():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))


BASE = Recipe(plain, optimizer=lambda ps: torch.optim.AdamW(ps, 0.01), epochs=4, batch_size=7)
SCHEDULED = replace(BASE, schedule=torch.optim.lr_scheduler.CosineAnnealingLR)
AUGMENTED = replace(BASE, augment=lambda x, generator: x + torch.randn(x.shape, generator=generator))
CASES = {
    "plain": BASE, "batchnorm and dropout": replace(BASE, build=normed), "schedule": SCHEDULED, "augment": AUGMENTED,
    "regression": replace(BASE, build=line, objective=Regression()),
}  # fmt: skip


def rows(recipe=BASE):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(120, 4)).astype(np.float32), generator.integers(3, size=120)
    if isinstance(recipe.objective, Regression):
        y = generator.normal(size=(120, 1)).astype(np.float32)
    return Data.from_arrays(x, y, [f"s{k}" for k in generator.integers(20, size=120)])


def trained(folder, base=BASE, **given):
    own = Sharded(base, folder, SHARDS, SLICES, **given)
    return own, TrainedModel.fit(own.recipe, rows(base), device="cpu")


def place(record, data, subject):
    """Shard and slice of a subject."""
    ids = set(data.ids[data.subjects == subject])
    return next((s, r) for s, own in enumerate(record.slices) for r, part in enumerate(own) if ids <= set(part))


def from_scratch(own, record, task):
    """Sharded training on the retained rows, each in the slice that it was in."""
    at = {name: k for k, name in enumerate(task.retain.ids.tolist())}
    dealt = [[np.array(sorted(at[i] for i in part if i in at), np.int64) for part in s] for s in record.slices]
    return own.train(task.retain, dealt, record.seed)


@pytest.mark.parametrize(("case", "aggregation"), [*((case, "mean") for case in CASES), ("plain", "vote")])
def test_bit_by_bit_sharded_training_without_the_rows(tmp_path, case, aggregation):
    own, oracle = trained(tmp_path, CASES[case], aggregation=aggregation)
    (record,) = Record.all(tmp_path)
    for subjects in (["s3"], ["s3", "s7", "s11"]):
        task = Task(oracle, ErasureRequest(subjects=subjects))
        made = catalogue.make("sisa").unlearn(task)
        assert weights.digest(made) == weights.digest(from_scratch(own, record, task)) != oracle.digest
        assert weights.digest(task.model) == oracle.digest and not made.training


@pytest.mark.parametrize("part", range(SLICES))
def test_only_what_saw_the_rows_is_trained_again(tmp_path, part):
    _, oracle = trained(tmp_path)
    (record,) = Record.all(tmp_path)
    subject = next(s for s in np.unique(oracle.data.subjects) if place(record, oracle.data, s)[1] == part)
    shard, _ = place(record, oracle.data, subject)
    task, method = Task(oracle, ErasureRequest(subjects=[subject])), catalogue.make("sisa")
    made = method.unlearn(task)
    for number, (one, other) in enumerate(zip(made.members, oracle.model.members, strict=True)):
        assert (weights.digest(one) == weights.digest(other)) == (number != shard)
    gone = set(task.forget.ids.tolist())
    sizes = np.cumsum([len(set(ids) - gone) for ids in record.slices[shard]])[part:]
    expected = 2 * sum(-(-int(size) // 7) for size in sizes)  # 2 of 4 / 4 passes a stage
    assert task.training_audit.steps == method.passes(task).steps == expected
    assert task.training_audit.rows == set(task.retain.ids.tolist()) and task.training_audit.forget_rows == 0


def test_some_rows_of_a_subject(tmp_path):
    own, oracle = trained(tmp_path)
    (record,) = Record.all(tmp_path)
    ids = oracle.data.ids[oracle.data.subjects == "s5"][:2]
    task = Task(oracle, ErasureRequest(rows=list(ids)))
    assert weights.digest(catalogue.make("sisa").unlearn(task)) == weights.digest(from_scratch(own, record, task))


def test_a_shard_that_is_emptied_is_not_asked(tmp_path):
    own, oracle = trained(tmp_path)
    (record,) = Record.all(tmp_path)
    ids = [name for part in record.slices[1] for name in part]
    task = Task(oracle, ErasureRequest(rows=ids))
    made = catalogue.make("sisa").unlearn(task)
    assert made.active.tolist() == [1, 0, 1]
    assert weights.digest(made) == weights.digest(from_scratch(own, record, task))
    expected = (made.members[0](rows().x) + made.members[2](rows().x)) / 2
    torch.testing.assert_close(made(rows().x), expected)


def test_requests_in_a_row_go_on_from_the_new_record(tmp_path):
    own, oracle = trained(tmp_path)
    (record,) = Record.all(tmp_path)
    first = Task(oracle, ErasureRequest(subjects=["s3"]))
    made = catalogue.make("sisa").unlearn(first)
    erased = erase(tmp_path, first.forget.ids.tolist())
    assert erased == [record.path]
    (after,) = Record.all(tmp_path)
    assert not any(set(part) & set(first.forget.ids) for slices in after.slices for part in slices)
    later = TrainedModel(made, own.recipe, first.retain, None, parent=oracle.digest)
    second = Task(later, ErasureRequest(subjects=["s8"]))
    assert obstacle(catalogue.make("sisa"), second) is None
    again = catalogue.make("sisa").unlearn(second)
    assert weights.digest(again) == weights.digest(from_scratch(own, record, second))
    for shard in range(SHARDS):  # no checkpoint that is left saw the first rows
        for stage in range(SLICES):
            module, at = (
                own.first(shard, 0),
                [np.flatnonzero(np.isin(first.retain.ids, p)) for p in record.slices[shard]],
            )
            for _ in own.grow(module, first.retain, at[:stage], shard, 0):
                pass
            kept = weights.load_into(BASE.module(), after.checkpoint(shard, stage))
            assert weights.digest(kept) == weights.digest(module)


def test_repeats_and_is_heard(tmp_path):
    _, oracle = trained(tmp_path)
    task = Task(oracle, ErasureRequest(subjects=["s3"]))
    contract.repeats(catalogue.make("sisa"), task)
    assert len(Record.all(tmp_path)) == 2  # the same twice is there once
    contract.is_heard(catalogue.make("sisa"), task)


def test_it_does_not_stop_half_way(tmp_path):
    own, oracle = trained(tmp_path)
    (record,) = Record.all(tmp_path)
    task = Task(oracle, ErasureRequest(subjects=["s3"]))
    task.start(0.0)
    assert weights.digest(catalogue.make("sisa").unlearn(task)) == weights.digest(from_scratch(own, record, task))


def test_what_it_cannot_do_is_one_line(tmp_path):
    method = catalogue.make("sisa")
    assert method.guarantee is Guarantee.EXACT
    task = contract.world()
    assert obstacle(method, task) == "the model was not trained in shards, as models.sharded.Sharded does"
    assert method.passes(task).steps == 0
    with pytest.raises(UsageError, match="sisa is not possible: the model was not trained in shards"):
        method.unlearn(task)
    own, oracle = trained(tmp_path)
    untrained = TrainedModel(own.recipe.module(1), own.recipe, oracle.data, None)
    assert "holds no record" in obstacle(method, Task(untrained, ErasureRequest(subjects=["s3"])))
    other = TrainedModel(oracle.model, own.recipe, oracle.data.select(np.arange(119)), None)
    assert "on other rows" in obstacle(method, Task(other, ErasureRequest(subjects=["s3"])))
    assert isinstance(own.recipe.train, sharded.Sharded)
