"""References of recipes that start from pretrained weights, or that augment what they are trained on."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch

import neuralyzer as nz
from neuralyzer.methods import catalogue
from neuralyzer.models import training, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building
from neuralyzer.references.measurement import copies, split
from neuralyzer.references.measurement.copies import COPIES
from neuralyzer.references.pool import References
from neuralyzer.signals import augmented
from neuralyzer.unlearning import targets
from neuralyzer.unlearning.targets import Targets
from tests.references import world


@pytest.fixture
def base(tmp_path):
    return weights.save(world.RECIPE.module(77), tmp_path / "base.safetensors")


def standing_still(parameters):
    return torch.optim.SGD(parameters, 0.0)


@pytest.mark.parametrize("backend", ["vectorised", pytest.param("processes", marks=pytest.mark.slow)])
def test_members_start_at_the_base(tmp_path, base, backend):
    recipe = Recipe(world.classifier, optimizer=standing_still, epochs=1, batch_size=16, init=base)
    oracle = TrainedModel.fit(recipe, *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path, backend=backend, keep_weights=True)
    started = [pool.store.weights(member).read_bytes() for member in range(16)]
    assert started == [base.read_bytes()] * 16


def test_retraining_starts_at_the_base(base):
    recipe = Recipe(world.classifier, optimizer=standing_still, epochs=1, batch_size=16, init=base)
    oracle = TrainedModel.fit(recipe, *world.data())
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["s03"]))
    assert weights.digest(catalogue.make("retrain", seed=9).unlearn(task)) == weights.digest(world.RECIPE.module(77))


def jitter(x, generator):
    return x + 0.5 * torch.randn(x.shape, generator=generator)


def test_members_of_a_recipe_that_augments(tmp_path):
    recipe = replace(world.RECIPE, augment=jitter)
    oracle = TrainedModel.fit(recipe, *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path, keep_weights=True)
    assert pool.head["backend"] == "processes" and "augments each batch" in pool.head["why"]
    kept = np.flatnonzero(pool.pool_index.held(pool.store.load("keep.npy"))[2])
    member, shaken, plain = (
        weights.load_into(world.classifier(), pool.store.weights(2)),
        training.train(recipe, oracle.data.select(kept), 10_003),
        training.train(world.RECIPE, oracle.data.select(kept), 10_003),
    )
    for name, value in shaken.state_dict().items():
        torch.testing.assert_close(member.state_dict()[name], value, rtol=0, atol=1e-6)
    assert not torch.allclose(member[0].weight, plain[0].weight, atol=1e-3)
    audited = nz.audit(oracle, nz.ErasureRequest(subjects=["s00"]), pool)
    assert {"margin", "augmented"} <= {family["signal"] for family in audited.families}


def test_such_members_are_read_on_copies_that_no_signal_reads(tmp_path):
    oracle = TrainedModel.fit(replace(world.RECIPE, augment=jitter), *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path, keep_weights=True)
    tuning = pool.tuning
    assert tuning.copies.shape == (8, world.ROWS, COPIES, 3)
    member = weights.load_into(world.classifier(), pool.store.weights(6)).eval()
    for row, copy in ((0, 0), (17, 1), (world.ROWS - 1, COPIES - 1)):
        generator = torch.Generator().manual_seed(10_000 + 1_000_000 + copy)
        shown = jitter(oracle.data.gather([row])[0], generator)
        expected = oracle.recipe.objective.outputs(member, shown)[0]
        torch.testing.assert_close(torch.from_numpy(tuning.copies[3, row, copy]), expected, rtol=0, atol=1e-5)
    read = {10_000 + copy for copy in range(augmented.COPIES)}
    assert not read & {10_000 + 1_000_000 + copy for copy in range(COPIES)}
    pool.erase(np.arange(10), "case")
    left = pool.store.array("outputs.copies", (16, world.ROWS, COPIES, 3))
    assert np.isnan(left[:, :10]).all() and np.isfinite(left[:, 10:]).all()


def test_a_holdout_sorted_by_class_is_read_in_all_classes(tmp_path, monkeypatch):
    data, holdout = world.data()
    order = np.argsort(holdout.y.numpy(), kind="stable")
    oracle = TrainedModel.fit(world.RECIPE, data, holdout.select(order))
    monkeypatch.setattr(split, "THINNED", 40)
    monkeypatch.setattr(building, "holdout_rows", lambda objective: 50)
    pool = References.fit(oracle, 16, workspace=tmp_path, keep_weights=True)
    whole, few = pool.tuning, pool.tuning.thinned
    assert set(whole.evaluator.holdout_few.y.tolist()) == set(few.evaluator.holdout.y.tolist()) == {0, 1, 2}
    member = weights.load_into(world.classifier(), pool.store.weights(4)).eval()
    read = few.evaluator.read(member, pool.parts(np.arange(10)))
    for name, signal in few.values.signals.items():  # what the member reads now is what was kept of it
        np.testing.assert_allclose(read[name].holdout[0], signal.holdout_of(0)[2], atol=1e-5, err_msg=name)


def test_matching_aims_at_copies_as_members_know_them(tmp_path, monkeypatch):
    oracle = TrainedModel.fit(replace(world.RECIPE, augment=jitter), *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path)
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["s03", "s07"]), pool)
    lead = targets.expected_leads(task, oracle.model)
    found = Targets.of_references(task).with_lead(task, oracle.model)
    labels = oracle.data.y.numpy()
    tuning, ones, expected = pool.tuning, np.ones(len(lead)), []
    for position, ahead in zip(task.positions, lead, strict=True):
        never = ~tuning.values.keep[:, pool.owners[position]]
        expected.append(together(each_copy(tuning, never, position), int(labels[position]), ahead))
    np.testing.assert_allclose(found.never, expected, atol=1e-5)
    seen = [
        together(np.stack(own), int(y), 0.0)
        for *own, y in zip(*said_of_copies(task, pool), labels[task.positions], strict=True)
    ]
    check(found, np.log(seen) - np.log(expected), ones)

    monkeypatch.setattr(
        targets, "memorised_share", lambda own: 0.7
    )  # of so few rows the tuning split's figure may be anything
    crowd = np.flatnonzero(labels == 1)[: -(-(labels == 1).sum() // 4)]  # a quarter of a class: others reach it all
    for positions, share in ((crowd, 0.7), (crowd[:-1], 0.7 * targets.COPY_OVERSHOOT)):
        own = nz.Task(oracle, nz.ErasureRequest(rows=oracle.data.ids[positions].tolist()), pool)
        apart = []
        for position in own.positions:
            held = tuning.values.keep[:, pool.owners[position]]
            said = (np.log(together(each_copy(tuning, who, position), labels[position], 0.0)) for who in (held, ~held))
            apart.append(next(said) - next(said))
        check(Targets.of_difference(own), np.array(apart), np.full(len(positions), share))


def each_copy(tuning, members, position):
    """What members say of each copy of a row, ``(m K, C)``."""
    return tuning.copies[members, position].reshape(-1, tuning.copies.shape[3])


def said_of_copies(task, pool):
    """What the original says of the copies that members were read on."""
    kept = copies.copies(task.forget.x, COPIES, pool.tuning.evaluator.context)
    return [logits(task.oracle, copy) for copy in kept]


def check(found, taken, shares):
    """Of each round's and each draw's copies, the original's own log-odds less what is taken, ``(F, C)``."""
    rounds = [(found.round(number), np.tile(np.arange(len(shares)), 2)) for number in range(2)]
    (first, target), places = rounds[0]
    copied = jitter(found.x[places], torch.Generator().manual_seed(found.seed))
    torch.testing.assert_close(first.x, copied, rtol=0, atol=0)
    assert not torch.equal(first.x, rounds[1][0][0].x) and not torch.equal(first.x[: len(shares)], found.x)
    for (rows, target), places in rounds:
        assert (rows.y == found.y[places]).all()
        own = logits_of(found.model, rows.x)
        np.testing.assert_allclose(target, scipy.special.softmax(own - (shares[:, None] * taken)[places], 1), atol=1e-5)
    x, target = next(found.drawn(len(shares), 5))
    places = np.random.default_rng(5).permutation(len(shares))
    torch.testing.assert_close(x, jitter(found.x[places], torch.Generator().manual_seed(6)), rtol=0, atol=0)
    own = logits_of(found.model, x)
    np.testing.assert_allclose(target, scipy.special.softmax(own - (shares[:, None] * taken)[places], 1), atol=1e-5)


def together(outputs, y, ahead):
    """The geometric mean of some models' probabilities of a row, its margin their mean one and ``ahead`` more."""
    outputs = outputs.astype(np.float64)
    margins = outputs[:, y] - scipy.special.logsumexp(np.delete(outputs, y, 1), axis=1)
    others = np.delete(scipy.special.log_softmax(outputs, 1).mean(0), y)
    own = margins.mean() + ahead + scipy.special.logsumexp(others)
    return scipy.special.softmax(np.insert(others, y, own))


def test_a_model_leads_members_on_its_rows_as_on_the_holdout(tmp_path):
    """By the plain least squares of the trace's second step, written out."""
    oracle = TrainedModel.fit(world.RECIPE, *world.data())
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["s03", "s07"]), References.fit(oracle, 16, workspace=tmp_path))
    split = task.references.thinned
    read, labels = split.values.signals["margin"], split.evaluator.holdout.y.numpy()
    own = logits(oracle, split.evaluator.holdout.x)
    own = own[np.arange(len(own)), labels] - scipy.special.logsumexp(np.where(np.eye(3)[labels], -np.inf, own), axis=1)
    spread = np.maximum(sd := read.holdout.std(0, ddof=1), np.median(sd) / 4)
    found = targets.expected_leads(task, oracle.model)
    for part in task.parts:
        lead = found[np.searchsorted(task.positions, part.rows)]
        keep = split.values.keep[:, part.subject]
        y = (own - read.holdout[~keep].mean(0)) / spread
        c0, c1 = np.linalg.lstsq(np.stack([np.ones(len(y)), read.holdout.mean(0) / spread], 1), y, rcond=None)[0]
        moments = task.estimator.tables["margin"].null(part).moments
        never = read.rows[:, part.rows][~keep].mean(0)
        np.testing.assert_allclose(lead, c0 * moments.spread + c1 * never, rtol=1e-4, atol=1e-4)
    bare = nz.Task(oracle, nz.ErasureRequest(subjects=["s03"]))
    assert targets.expected_leads(bare, oracle.model).tolist() == [0.0] * len(bare.positions)


def logits(oracle, x):
    return logits_of(oracle.model, x)


def logits_of(model, x):
    return model(x).detach().numpy().astype(np.float64)
