"""Sharded training: how rows are dealt, what each stage trains on, how the models answer as one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UnreadableError, UsageError
from neuralyzer.models import reading, sharded, training, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.ensemble import Ensemble
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.shard_record import HEAD, Record, erase
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel

RATE = 0.1
BASE = Recipe(lambda: nn.Linear(4, 3), optimizer=lambda ps: torch.optim.SGD(ps, RATE), epochs=6, batch_size=100)


def rows(count=60, subjects=12):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 4)).astype(np.float32)
    return Data.from_arrays(x, generator.integers(3, size=count), generator.integers(subjects, size=count).astype(str))


class Says(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = torch.tensor(outputs)

    def forward(self, x):
        return self.outputs[: len(x)]


def test_the_mean_of_those_that_were_trained():
    ensemble = Ensemble([Says([[1.0, 5.0]]), Says([[3.0, 1.0]]), Says([[9.0, 9.0]])])
    ensemble.active[2] = 0
    assert ensemble(torch.zeros(1, 4)).tolist() == [[2.0, 3.0]]


def test_votes_by_hand():
    """Votes 2, 0, 1 with half a vote for each class beforehand: shares 2.5, 0.5 and 1.5 of 4.5."""
    ensemble = Ensemble([Says([[1.0, 0, 0]]), Says([[9.0, 8, 0]]), Says([[0.0, 0, 1]]), Says([[0.0, 9, 0]])], "vote")
    ensemble.active[3] = 0
    given = ensemble(torch.zeros(1, 4))
    assert given[0].tolist() == pytest.approx([math.log(part / 4.5) for part in (2.5, 0.5, 1.5)])
    assert float(given.exp().sum()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1), (1,)])
def test_votes_on_a_single_logit(shape):
    """Two of three say yes: with half a vote each, the odds are 2.5 to 1.5."""
    members = [Says(np.full(shape, z, np.float32)) for z in (0.3, 2.0, -9.0)]
    given = Ensemble(members, "vote")(torch.zeros(1, 4))
    assert given.shape == shape and float(given) == pytest.approx(math.log(2.5 / 1.5))


def test_votes_have_no_gradient_and_can_be_read_row_by_row():
    ensemble = Ensemble([nn.Linear(4, 3), nn.Linear(4, 3)], "vote")
    data = rows()
    found = reading.row_gradients(ensemble.eval(), Classification(), data.x, data.y)
    assert len(found) == 4 and all((own == 0).all() for own in found.values())


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_each_stage_goes_on_over_one_slice_more(tmp_path, aggregation):
    """Plain SGD on whole batches: 2 of 6 / 4 passes a stage over slices 1, then 1 and 2, then all three."""
    data = rows()
    own = Sharded(BASE, tmp_path, shards=2, slices=3, aggregation=aggregation)
    dealt = sharded.deal(data, 2, 3, 5)
    made = own.train(data, dealt, 5)
    for shard, slices in enumerate(dealt):
        module = own.first(shard, 5)
        for stage in range(3):
            held = np.concatenate(slices[: stage + 1])
            for _ in range(3):
                total = nn.functional.cross_entropy(module(data.x[held]), data.y[held])
                found = torch.autograd.grad(total, list(module.parameters()))
                for value, slope in zip(module.parameters(), found, strict=True):
                    value.data -= RATE * slope
        for value, expected in zip(made.members[shard].parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    assert own.steps(dealt[0]) == 9 and own.steps(dealt[0], 1) == 6


def test_subjects_are_dealt_whole_and_evenly():
    data = rows(600, 60)
    dealt = sharded.deal(data, 4, 3, 0)
    assert sorted(np.concatenate([part for own in dealt for part in own]).tolist()) == list(range(600))
    held = [set(data.subjects[part]) for own in dealt for part in own]
    assert sum(len(own) for own in held) == len(set(data.subjects))
    sizes = [sum(len(part) for part in own) for own in dealt]
    assert max(sizes) - min(sizes) <= np.unique(data.subjects, return_counts=True)[1].max()
    other = sharded.deal(data, 4, 3, 1)
    assert any(set(a[0]) != set(b[0]) for a, b in zip(dealt, other, strict=True))


def test_shards_without_rows_are_not_asked(tmp_path):
    data = rows(20, 2)
    made = Sharded(BASE, tmp_path, shards=3, slices=2).train(data, sharded.deal(data, 3, 2, 0), 0)
    assert made.active.tolist() == [1, 1, 0]
    torch.testing.assert_close(made(data.x), (made.members[0](data.x) + made.members[1](data.x)) / 2)


def test_a_model_is_trained_by_it_and_recorded_once(tmp_path):
    data = rows()
    own = Sharded(BASE, tmp_path / "kept", shards=2, slices=3)
    oracle = TrainedModel.fit(own.recipe, data, device="cpu")
    (record,) = Record.all(own.folder)
    assert record.weights == oracle.digest and record.data == data.digest and record.seed == 0
    dealt = sharded.deal(data, 2, 3, 0)
    assert [[list(data.ids[p]) for p in part] for part in dealt] == record.slices
    assert Record.of(own.folder, oracle.digest) == record and Record.of(own.folder, "other") is None
    module = weights.load_into(BASE.module(), record.checkpoint(1, 0))
    assert weights.digest(module) == weights.digest(own.first(1, 0))
    second = own.first(1, 0)
    for _ in own.grow(second, data, dealt[1][:1], 1, 0):
        pass
    assert weights.digest(second) == weights.digest(weights.load_into(BASE.module(), record.checkpoint(1, 1)))
    again = training.train(own.recipe, data)
    other = training.train(own.recipe, data.select(np.arange(40)), 9)  # such as a reference
    assert weights.digest(again) == oracle.digest != weights.digest(other)
    assert Record.all(own.folder) == [record] and len(list((tmp_path / "kept").iterdir())) == 1


def test_records_that_saw_a_row_are_erased(tmp_path):
    data = rows()
    own = Sharded(BASE, tmp_path, shards=2, slices=2)
    TrainedModel.fit(own.recipe, data.select(np.arange(1, 60)), device="cpu")
    assert erase(tmp_path, [data.ids[0]]) == [] and len(Record.all(tmp_path)) == 1
    assert len(erase(tmp_path, [data.ids[1]])) == 1 and Record.all(tmp_path) == []


def test_a_training_that_fails_leaves_nothing(tmp_path):
    base = replace(BASE, optimizer=lambda ps: torch.optim.SGD(ps, 1e38))
    own = Sharded(base, tmp_path, shards=2, slices=2)
    with pytest.raises(NotFiniteError, match=r"the loss of shard 0 is .* lower the rate"):
        training.train(own.recipe, rows())
    assert list(tmp_path.iterdir()) == []


def test_batchnorm_dropout_and_frozen_layers(tmp_path):
    def build():
        module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
        module[0].requires_grad_(False)
        return module

    own, state = Sharded(replace(BASE, build=build, batch_size=7), tmp_path, shards=2, slices=2), torch.get_rng_state()
    made, again = (training.train(own.recipe, rows()) for _ in range(2))
    assert weights.digest(made) == weights.digest(again) and (torch.get_rng_state() == state).all()
    assert (made.members[1][0].weight == own.first(1, 0)[0].weight).all()
    assert (made.members[0][1].running_mean != made.members[1][1].running_mean).any() and not made.training


def test_bad_input_is_one_line(tmp_path):
    for given, said in [
        ({"shards": 0}, r"shards \(0\) and slices \(5\) must be at least 1"),
        ({"aggregation": "sum"}, "aggregation is 'sum'; it must be mean or vote"),
        ({"aggregation": "vote", "base": replace(BASE, objective=Regression())}, "votes are of classes"),
        ({"base": replace(BASE, train=print)}, "the recipe of a shard has train="),
    ]:
        with pytest.raises(UsageError, match=said):
            Sharded(**({"base": BASE, "folder": tmp_path} | given))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / HEAD).write_text("{}")
    with pytest.raises(UnreadableError, match="does not describe a sharded training"):
        Record.all(tmp_path)
