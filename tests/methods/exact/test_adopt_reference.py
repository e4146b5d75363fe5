"""Adopting a reference: which one, and what it is trained on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.exact import adopt_reference
from neuralyzer.models import reading, weights
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace.paths import Workspace
from tests.conftest import small_digits, small_recipe
from tests.methods import contract
from tests.methods.contract import FORGOTTEN, IMAGES, RATE, RECIPE, ROWS, same

MEMBERS = 32


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A pool whose members' weights lie there; plain SGD on whole batches, so that steps are easily written out."""
    data, holdout = small_digits()
    recipe = small_recipe(optimizer=lambda ps: torch.optim.SGD(ps, RATE), epochs=30, batch_size=500)
    oracle = TrainedModel.fit(recipe, data, holdout, device="cpu")
    return References.fit(
        oracle, MEMBERS, leave_out=0.4, workspace=Workspace(tmp_path_factory.mktemp("kept")), backend="vectorised",
        keep_weights=True, device="cpu",
    )  # fmt: skip


@pytest.fixture
def task(pool):
    return Task(pool.oracle, ErasureRequest(subjects=["c0"]), pool)


def who_saw(pool):
    """Who saw which customer, by the design on the disk."""
    names = np.unique(pool.oracle.data.subjects)
    return names, np.load(pool.store.root / "keep.npy")


def test_the_tuning_member_that_lacks_the_rows_and_the_fewest_others(pool, task):
    names, keep = who_saw(pool)
    sizes = np.array([(pool.oracle.data.subjects == name).sum() for name in names])
    without = [m for m in range(0, MEMBERS, 2) if not keep[m][names == "c0"].any()]
    best = min(without, key=lambda m: sizes[~keep[m]].sum())
    chosen = adopt_reference.adoptable(task)
    assert 0 < len(without) < MEMBERS / 2 and 2 * chosen.number == best
    assert task.references.kept[chosen.number] == pool.store.weights(best)
    subjects = pool.oracle.data.subjects
    assert set(subjects[chosen.had]) == set(names[keep[best]])
    assert set(subjects[chosen.lacked]) == set(names[~keep[best]]) - {"c0"}


def test_no_way_to_the_evaluation_split(task, pool):
    assert [path.name for path in task.references.kept] == [f"{m:04d}.safetensors" for m in range(0, MEMBERS, 2)]
    assert [path.name for path in pool.evaluation.kept] == [f"{m:04d}.safetensors" for m in range(1, MEMBERS, 2)]


@pytest.mark.parametrize("mix", [0.0, 1e9])
def test_it_is_trained_on_over_what_it_lacked(pool, task, mix):
    """Steps on whole batches: of the lacked rows alone, and of all retained ones."""
    chosen = adopt_reference.adoptable(task)
    module = pool.member(2 * chosen.number)
    rows = chosen.lacked if mix == 0 else np.concatenate([chosen.had, chosen.lacked])
    x, y = pool.oracle.data.gather(rows)
    for rate in (1.0, 2 / 3, 1 / 3):
        found = contract.gradients(nn.functional.cross_entropy(module(x), y), module)
        for value, own in zip(module.parameters(), found, strict=True):
            value.data -= 0.5 * RATE * rate * own
    made = catalogue.make("adopt-reference", epochs=3, mix=mix, rate=0.5).unlearn(task)
    same(made, [p.detach() for p in module.parameters()])


def test_half_the_rows_of_a_pass_were_had(pool, task):
    chosen = adopt_reference.adoptable(task)
    method = catalogue.make("adopt-reference", epochs=4)
    passes, made = [], SimpleNamespace(step=lambda positions: None)
    task.training_audit.watch = lambda data: passes.append(data.ids) or made
    method.unlearn(task)
    had, lacked = (set(pool.oracle.data.ids[rows]) for rows in (chosen.had, chosen.lacked))
    assert len(passes) == 4
    repeated = [had & set(ids) for ids in passes]
    assert all(lacked <= set(ids) for ids in passes)
    assert all(len(own) == len(lacked) for own in repeated) and repeated[0] != repeated[1]


def test_the_training_audit_has_every_retained_row_and_no_other(pool, task):
    made = catalogue.make("adopt-reference", epochs=2).unlearn(task)
    assert task.training_audit.rows == set(task.retain.ids.tolist()) and task.training_audit.forget_rows == 0
    assert task.training_audit.steps == catalogue.make("adopt-reference", epochs=2).passes(task).steps == 2
    chosen = adopt_reference.adoptable(task)
    lacked = pool.oracle.data.select(chosen.lacked)
    before = reading.mean_loss(pool.member(2 * chosen.number), task.objective, lacked)
    assert reading.mean_loss(made, task.objective, lacked) < before


def test_members_that_saw_what_was_erased_are_not_adopted(pool, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(pool.store.root, copy)
    data = pool.oracle.data
    References.open(copy, pool.oracle).erase(np.flatnonzero(data.subjects == "c1"), "a case")
    left = TrainedModel(pool.oracle.model, pool.oracle.recipe, data.select(data.subjects != "c1"), pool.oracle.holdout)
    after = Task(left, ErasureRequest(subjects=["c0"]), References.open(copy, left))
    names, keep = who_saw(pool)
    saw = [bool(keep[m][names == "c1"].any()) for m in range(0, MEMBERS, 2)]
    assert [path is None for path in after.references.kept] == saw and any(saw) and not all(saw)
    chosen = adopt_reference.adoptable(after)
    if chosen is None:
        assert "lacks all the rows" in obstacle(catalogue.make("adopt-reference"), after)
    else:
        assert not keep[2 * chosen.number][np.isin(names, ["c0", "c1"])].any()


class Given:
    """The method on a task whose only reference is a member that lacked half the retained rows."""

    def __init__(self, method, folder):
        self.method, self.folder = method, folder

    def prepare(self, task):
        held = np.arange(ROWS) >= (ROWS + FORGOTTEN) // 2
        path = weights.save(
            task.oracle.recipe.module(7), self.folder / f"{len(list(self.folder.iterdir()))}.safetensors"
        )
        task.references = SimpleNamespace(kept=(path,), held=lambda member: held)
        return task

    def unlearn(self, task, progress=None):
        return self.method.unlearn(self.prepare(task), progress)


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5)])
def test_contract(shape, monkeypatch, tmp_path):
    method = Given(catalogue.make("adopt-reference", epochs=2), tmp_path)
    recipe = replace(RECIPE, build=contract.frozen if shape == (5,) else contract.frozen_images, batch_size=17)
    task = contract.world(recipe, shape=shape)
    made = contract.repeats(method, task)
    assert (made[0].weight == recipe.module(7)[0].weight).all() and not made[0].weight.requires_grad
    assert not (made[1].running_mean == 0).all()
    contract.stays_tied(method, shape)
    task = contract.world(replace(RECIPE if shape == (5,) else IMAGES, batch_size=5), shape=shape)
    assert contract.steps_taken(monkeypatch, method, task) == method.method.passes(task).steps == 8
    contract.is_heard(method, task)
    task.training_audit.steps = 0
    task.start(0.0)
    assert contract.steps_taken(monkeypatch, method, task) == task.training_audit.steps == 1


def test_a_member_that_lacked_nothing_else_is_taken_as_it_is(tmp_path):
    task = Given(None, tmp_path).prepare(contract.world())
    task.references.held = lambda member: np.arange(ROWS) >= FORGOTTEN
    made = catalogue.make("adopt-reference").unlearn(task)
    assert (
        weights.digest(made) == weights.digest(RECIPE.module(7))
        and catalogue.make("adopt-reference").passes(task).steps == 0
    )
    assert task.training_audit.rows == set(task.retain.ids.tolist()) and task.training_audit.steps == 0


def test_what_it_cannot_do_is_one_line(pool, task, made_world, tmp_path):
    method = catalogue.make("adopt-reference")
    assert obstacle(method, task) is None and method.guarantee is Guarantee.CLEAN
    bare = Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references(made_world.oracle))
    assert "make them with keep_weights" in obstacle(method, bare)
    everyone = Task(pool.oracle, ErasureRequest(subjects=sorted(set(pool.oracle.data.subjects) - {"c9"})), pool)
    assert obstacle(method, everyone).startswith("no reference of the tuning split")
    with pytest.raises(UsageError, match="adopt-reference is not possible: no reference of the tuning split"):
        method.unlearn(everyone)
    with pytest.raises(UsageError, match="adopt-reference is not possible: there are no references"):
        method.unlearn(contract.world())
    with pytest.raises(UsageError, match="mix of method adopt-reference is -1; it must be at least 0"):
        catalogue.make("adopt-reference", mix=-1)
