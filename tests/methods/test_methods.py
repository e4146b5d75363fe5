"""What every algorithm must do, run over the whole catalogue on one model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import NeuralyzerWarning, UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.progress import Silent
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task

NAMES = [
    "retrain", "rollback", "datamodel-matching", "influence", "finetune", "neggrad-plus", "ssd", "gradient-ascent",
    "random-label", "salun", "scrub", "cf-k", "eu-k", "bad-teacher", "l1-sparse", "boundary-shrink",
    "msg", "amun", "sfron", "boundary-expand", "rum",
    "fisher", "unsir", "amnesiac", "checkpoint-arithmetic",
]  # fmt: skip

# This model has no convolutions, no shards, no tokens, kept no references, and was not trained for a certificate.
ELSEWHERE = ["ct", "sisa", "adopt-reference", "newton", "rewind", "npo", "task-vector"]


@pytest.fixture(scope="module")
def task(made_world):
    oracle = made_world.oracle
    return Task(oracle, ErasureRequest(subjects=["c0"]), made_world.references(oracle))


def test_the_catalogue_finds_every_file():
    assert sorted(catalogue.names()) == sorted(NAMES + ELSEWHERE)
    assert catalogue.names()[:3] == ["retrain", "rollback", "sisa"]  # the strongest first


def test_unknown_names_and_hyperparameters_are_one_clear_line():
    with pytest.raises(UsageError, match="no method 'bogus'; there are retrain"):
        catalogue.get("bogus")
    with pytest.raises(UsageError, match="method finetune takes epochs, rate"):
        catalogue.make("finetune", bogus=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_original_is_never_changed_and_weights_repeat(task, name):
    before = weights.digest(task.model)
    first = catalogue.make(name).unlearn(task, Silent())
    second = catalogue.make(name).unlearn(task)
    assert weights.digest(task.model) == before
    assert weights.digest(first) == weights.digest(second) != before
    assert not first.training


@pytest.mark.parametrize("name", NAMES)
def test_passes_are_positive_and_nothing_stands_in_the_way(task, name):
    method = catalogue.make(name)
    assert obstacle(method, task) is None
    passes = method.passes(task)
    assert passes.steps + passes.partial + passes.products + passes.gradients + passes.singles > 0


def test_a_task_never_holds_the_evaluation_split(task, made_world):
    judging = made_world.references().evaluation
    assert task.references.values.members == judging.values.members
    assert not np.array_equal(task.references.values.keep, judging.values.keep)
    assert not any(getattr(value, "evaluation", None) for value in vars(task).values())


@pytest.mark.parametrize("name", ["retrain", "rollback"])
def test_exact_methods_train_on_no_forget_row_by_their_audit(task, name):
    task.training_audit.steps, task.training_audit.forget_rows = 0, 0
    catalogue.make(name).unlearn(task)
    assert task.training_audit.steps > 0 and task.training_audit.forget_rows == 0
    assert task.training_audit.rows == set(task.retain.ids.tolist())


def test_the_training_audit_detects_a_forget_row(task):
    watch = task.training_audit.watch(task.oracle.data)
    before = task.training_audit.forget_rows
    watch.step(task.positions[:3])
    assert task.training_audit.forget_rows == before + 3
    task.training_audit.forget_rows = before


def test_retraining_is_the_recipe_on_the_retained_rows(task):
    from neuralyzer.models import training

    expected = training.train(task.oracle.recipe, task.retain)
    assert weights.digest(catalogue.make("retrain").unlearn(task)) == weights.digest(expected)


def test_rollback_without_forget_rows_after_the_checkpoint_is_the_recorded_training(made_world):
    """Replaying every recorded step, nothing left out, gives the original weights bit by bit."""
    from neuralyzer.models import training
    from neuralyzer.registry.history import History

    oracle = made_world.oracle
    history = History.read(made_world.root / "runs" / "train")
    checkpoint = history.checkpoints[1]
    module = oracle.recipe.module()
    optimizer = oracle.recipe.optimizer(training.trainable(module))
    history.load(checkpoint, module, optimizer)
    steps = history.batches_from(checkpoint.step)
    for _ in training.run_steps(oracle.recipe, module, optimizer, oracle.data, steps, 0, done=checkpoint.step):
        pass
    assert weights.digest(module) == oracle.digest


def test_influence_forgets_on_the_evaluation_split_and_keeps_utility(task, made_world):
    from neuralyzer.models import reading
    from neuralyzer.trace.estimator import TraceEstimator
    from neuralyzer.unlearning.repair import Repair

    unlearned = Repair().mend(catalogue.make("influence").unlearn(task), task)
    estimator = TraceEstimator(made_world.references().evaluation, task.parts, 0.05)
    before, after = estimator.read(task.model), estimator.read(unlearned)
    assert before.rejects and not after.rejects
    assert max(abs(trace.trace) for trace in after.traces.values()) < 0.5
    kept = reading.utility(unlearned, task.objective, made_world.holdout)
    assert kept >= task.predicted_utility - 0.02


def test_influence_takes_damping_and_step_as_given(task):
    free = catalogue.make("influence").unlearn(task)
    task.tried.clear()
    fixed = catalogue.make("influence", damping=5e-3, step=0.6).unlearn(task)
    assert {(trial["settings"]["damping"], trial["settings"]["step"]) for trial in task.tried} >= {(5e-3, 0.6)}
    assert {trial["settings"]["step"] for trial in task.tried} == {0.6}
    assert weights.digest(free) != weights.digest(fixed)


def test_neggrad_plus_stops_at_the_forget_loss_of_never_seen_members(task):
    from neuralyzer.models import reading

    unlearned = catalogue.make("neggrad-plus").unlearn(task)
    before = reading.mean_loss(task.model, task.objective, task.forget)
    after = reading.mean_loss(unlearned, task.objective, task.forget)
    assert before < task.never_seen_loss <= after < 4 * task.never_seen_loss


def test_obstacles_name_what_is_missing(made_world):
    oracle = made_world.oracle
    bare = Task(oracle, ErasureRequest(subjects=["c0"]))
    assert "no references" in obstacle(catalogue.make("influence"), bare)
    unrecorded = Task(type(oracle)(oracle.model, oracle.recipe, oracle.data, oracle.holdout), bare.request)
    assert "not recorded" in obstacle(catalogue.make("rollback"), unrecorded)
    with pytest.raises(UsageError, match="not recorded"):
        catalogue.make("rollback").unlearn(unrecorded)


def test_guarantees_are_ordered():
    order = [Guarantee.EXACT, Guarantee.CLEAN, Guarantee.CERTIFIED, Guarantee.STRONG, Guarantee.WEAK]
    for place, stronger in enumerate(order):
        assert all(stronger.satisfies(weaker) for weaker in order[place:])
        assert not any(weaker.satisfies(stronger) for weaker in order[place + 1 :])


def test_a_third_partys_method_is_found_through_its_entry_point(monkeypatch):
    from neuralyzer.methods.weak.finetune import Finetune
    from neuralyzer.workspace import plugins

    class Theirs(Finetune):
        name = "theirs"

    class Entry:
        name = "theirs"

        def load(self):
            return Theirs

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry()] if group == "neuralyzer.methods" else [])
    catalogue.methods.cache_clear()
    try:
        assert catalogue.get("theirs") is Theirs
    finally:
        catalogue.methods.cache_clear()


def _fails():
    raise RuntimeError("their module\nis broken")


@pytest.mark.parametrize(
    ("load", "says"),
    [
        (_fails, "RuntimeError: their module is broken"),
        (lambda: dict, "it has no name, guarantee"),
        (lambda: 3, "it has no name, guarantee"),
        (
            lambda: type("Theirs", (catalogue.get("retrain"),), {}),
            "it calls itself 'retrain', which neuralyzer.methods.exact.retrain",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_left_out_and_named_and_stops_nothing(monkeypatch, load, says):
    from neuralyzer.workspace import plugins

    before = catalogue.methods()
    theirs = load if load is _fails else load()  # one class under two names is one class
    entries = [
        SimpleNamespace(name=name, load=load if load is _fails else lambda: theirs) for name in ("theirs", "again")
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries if group == "neuralyzer.methods" else [])
    catalogue.methods.cache_clear()
    try:
        with pytest.warns(NeuralyzerWarning) as told:
            assert catalogue.methods() == before
        for name, one in zip(("again", "theirs"), told, strict=True):
            assert f"plugin {name} of neuralyzer.methods is left out: {says}" in str(one.message)
    finally:
        catalogue.methods.cache_clear()


def test_losses_by_hand():
    from neuralyzer.unlearning.losses import neggrad_plus

    value = neggrad_plus(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 6.0]), beta=0.9)
    assert value.item() == pytest.approx(0.9 * 2 - 0.1 * 5)
