import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.strong import datamodel_matching
from neuralyzer.methods.strong.datamodel_matching import BESIDE, DAMPINGS, FEWEST_EPOCHS, NEAR, WEIGHT, _Course
from neuralyzer.models import reading, weights
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.targets import Targets, memorised_share, round_size
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import Trial


@pytest.fixture(scope="module")
def task(made_world):
    return Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())


def missed(task, module, targets):
    """Mean distance of log-odds from where they shall be."""
    outputs = reading.outputs(module, task.objective, targets.x)
    return float((outputs.log_softmax(1) - targets.outputs.log()).abs().mean())


def test_outputs_come_near_to_those_of_models_that_never_saw_the_rows(task):
    targets, before = Targets.of_references(task), weights.digest(task.model)
    module = catalogue.make("datamodel-matching").unlearn(task)
    assert missed(task, module, targets) < 0.5 * missed(task, task.model, targets)
    assert (
        reading.utility(module, task.objective, task.retain)
        > reading.utility(task.model, task.objective, task.retain) - 0.03
    )
    assert weights.digest(task.model) == before


def test_where_time_is_limited_the_first_is_taken_unseen(made_world, task):
    hurried = Task(task.oracle, ErasureRequest(subjects=["c0"], budget=600.0), made_world.references())
    method = catalogue.make("datamodel-matching", epochs=3)
    taken = method.unlearn(hurried)
    assert hurried.limited and not hurried.tried and not task.limited
    assert method.passes(hurried).readings == 0 and method.passes(task).readings == 1
    assert method.passes(hurried).steps < method.passes(task).steps  # the third pass is taken as far as it fits
    own = catalogue.make("datamodel-matching", damping=NEAR[0], steps=method._course(task).steps, epochs=3).unlearn(
        task
    )
    assert weights.digest(taken) == weights.digest(own)


def test_it_stops_where_its_budget_is_spent(made_world, task):
    hasty = Task(task.oracle, ErasureRequest(subjects=["c0"], budget=1e-9), made_world.references())
    steps = []
    original = training_loop.descend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "descend", lambda *args: (steps.append(1) or own for own in original(*args)))
        module = catalogue.make("datamodel-matching", epochs=3).unlearn(hasty)
    assert len(steps) == 1 and weights.digest(module) != weights.digest(task.model)
    own = catalogue.make("datamodel-matching", steps=1).unlearn(hasty)
    assert weights.digest(catalogue.make("datamodel-matching").unlearn(hasty)) == weights.digest(
        own
    )  # the first step's


def test_few_rows_get_three_steps_and_many_get_fewer_and_fine_tuning(task):
    ids, method = task.oracle.data.ids, catalogue.make("datamodel-matching")
    many, few = (Task(task.oracle, ErasureRequest(rows=ids[:count].tolist())) for count in (len(ids) // 3, 2))
    few.__dict__["generalisation_gap"] = 0.0
    passes = min(3, max(1, round(task.oracle.recipe.epochs / 20)))
    assert method._course(few) == _Course(3, passes, 0, cheap=True, near=False)
    assert method._course(many) == _Course(1, passes, passes, cheap=False, near=True)
    assert catalogue.make("datamodel-matching", steps=5, epochs=2)._course(few) == _Course(
        5, 2, 2, cheap=False, near=True
    )
    assert method.passes(few).steps == 0 < method.passes(many).steps
    few.start(600.0)
    many.start(600.0)
    assert method._course(few).steps == 3 and method._course(many).steps == 1


def test_of_few_rows_a_look_is_taken_in_haste_too(made_world, task):
    hurried, unhurried = (learned(task, made_world, 0.0, budget=budget) for budget in (600.0, None))
    method = catalogue.make("datamodel-matching")
    assert method.passes(unhurried).readings == 2 and method.passes(hurried).readings == 1.5
    assert method.passes(unhurried).products == pytest.approx(2 / 1.5 * method.passes(hurried).products)
    taken, again = method.unlearn(hurried), method.unlearn(unhurried)
    assert hurried.limited and hurried.tried and weights.digest(taken) == weights.digest(again)


def learned(task, made_world, by_heart, **request):
    """The like with so much more utility on retained rows than on others."""
    ids = task.oracle.data.ids[task.positions[:2]].tolist()
    own = Task(task.oracle, ErasureRequest(rows=ids, **request), made_world.references())
    own.__dict__["generalisation_gap"] = by_heart
    return own


def test_what_is_learned_by_heart_is_utility_on_retained_rows_above_others(task):
    def right(rows):
        return float((task.model(rows.x).argmax(1) == rows.y).float().mean())

    assert task.generalisation_gap == pytest.approx(
        max(0.0, right(task.held_back) - right(task.tuning_holdout)), abs=1e-6
    )
    alone = Task(replace(task.oracle, holdout=None), ErasureRequest(subjects=["c0"]))
    assert alone.generalisation_gap == 0.0


def test_passes_follow_few_rows_steps_where_there_is_something_to_mend(task, made_world, monkeypatch):
    most = task.objective.max_utility_loss * datamodel_matching.BY_HEART
    method = catalogue.make("datamodel-matching")
    known, not_known, harmed = (learned(task, made_world, own) for own in (most + 0.01, most, most))
    assert method._course(known).cheap and method._course(known).planned > method._course(not_known).planned == 0
    assert method.passes(known).steps > method.passes(not_known).steps == 0
    monkeypatch.setattr(datamodel_matching, "DISPLACED", 100.0)
    alone, mended = method.unlearn(not_known), method.unlearn(known)
    assert known.tried == not_known.tried  # the state is chosen first
    targets, epochs = Targets.of_references(known).with_lead(known, alone), method._course(known).epochs
    own = method._finetuned(known, alone, targets, epochs, datamodel_matching.Silent())
    assert weights.digest(mended) == weights.digest(own) != weights.digest(alone)
    monkeypatch.setattr(datamodel_matching, "DISPLACED", -100.0)  # now they did harm
    assert weights.digest(method.unlearn(harmed)) == weights.digest(mended)
    assert weights.digest(catalogue.make("datamodel-matching", epochs=0).unlearn(harmed)) == weights.digest(alone)


def test_harm_is_utility_lost_on_retained_rows_held_back(task):
    method, module = catalogue.make("datamodel-matching"), weights.clone(task.model)
    assert not method._displaced(task, module)
    for parameter in module.parameters():
        parameter.data.zero_()  # right on one class alone
    assert method._displaced(task, module)


@pytest.mark.parametrize("budget", [600.0, None])
@pytest.mark.parametrize(("z", "looks"), [(1.9, [3]), (2.1, [3, 6])])
def test_where_passes_follow_steps_are_doubled_only_if_the_coach_tells(task, made_world, monkeypatch, z, looks, budget):
    """``z`` beside a critical value of 2; passes take the time of a second look."""
    hurried, seen = learned(task, made_world, 1.0, budget=budget), []

    def judge(tuner, settings, module):
        tuner.critical = 2.0
        seen.append(settings["steps"])
        return Trial(settings, 3 * z / settings["steps"], 0.0, 0.0, module)

    monkeypatch.setattr(datamodel_matching.Tuner, "evaluate", judge)
    method = catalogue.make("datamodel-matching", damping=DAMPINGS[0])
    method.unlearn(hurried)
    assert seen == looks and method.passes(hurried).readings == 1
    long = replace(hurried.oracle, recipe=replace(hurried.oracle.recipe, epochs=60))
    asked = ErasureRequest(rows=task.oracle.data.ids[task.positions[:2]].tolist(), budget=600.0)
    longer = Task(long, asked, made_world.references())
    longer.__dict__["generalisation_gap"] = 1.0
    assert method.passes(longer).steps == 1.5 * training_loop.steps(longer, len(longer.retain), FEWEST_EPOCHS)


def test_a_step_on_a_small_batch_counts_as_one_on_64_rows(task):
    ids, method = task.oracle.data.ids, catalogue.make("datamodel-matching")
    course = {}
    for size in (8, 64, 128):
        oracle = replace(task.oracle, recipe=replace(task.oracle.recipe, batch_size=size, epochs=20))  # one pass
        course[size] = [method._course(Task(oracle, ErasureRequest(rows=ids[:n].tolist()))).steps for n in (20, 40)]
    # the steps times 64 rows over 7/3 of the six products of n rows: 60 and 58 steps, and 8 of 64 rows
    assert course == {8: [3, 3], 64: [2, 1], 128: [2, 1]}


@pytest.mark.parametrize(
    ("z", "tried"),
    [
        ({3: 0.4}, [3]),
        ({3: 4.0, 6: 2.0, 12: 0.5}, [3, 6, 12]),
        ({3: 2.0, 6: 1.9}, [3, 6]),  # six help too little
        ({3: 64.0, 6: 32.0, 12: 16.0, 24: 8.0, 48: 2.0}, [3, 6, 12, 24, 48]),
    ],
)
@pytest.mark.parametrize("limited", [False, True])
def test_steps_are_doubled_as_long_as_they_help(task, monkeypatch, z, tried, limited):
    """``z`` by steps, of a critical value of 2; where time is limited once."""
    seen = []

    def judge(tuner, settings, module):
        tuner.critical = 2.0
        seen.append(settings["steps"])
        return Trial(settings, z[settings["steps"]], 0.0, 0.0, module)

    monkeypatch.setattr(datamodel_matching.Tuner, "evaluate", judge)
    some = task.part(task.positions[:2])
    some.__dict__["generalisation_gap"] = 0.0
    some.start(600.0 if limited else None)
    catalogue.make("datamodel-matching", damping=DAMPINGS[0], epochs=None).unlearn(some)
    assert seen == (tried[:2] if limited else tried)


@pytest.mark.parametrize("count", [2, 40])
def test_with_and_without_fine_tuning_the_weights_are_the_same_again(task, made_world, count):
    asked = ErasureRequest(rows=task.oracle.data.ids[task.positions[:count]].tolist())
    own = [
        weights.digest(catalogue.make("datamodel-matching").unlearn(Task(task.oracle, asked, made_world.references())))
        for _ in range(2)
    ]
    assert own[0] == own[1]


def test_a_loss_has_the_gradient_of_both_parts(task):
    """Against autograd of soft cross-entropy and half the squared log-odds missed, written out."""
    targets, module = Targets.of_references(task), weights.clone(task.model).eval()
    method = catalogue.make("datamodel-matching", epochs=1)
    loss = next(method._losses(task, module, targets, 1))
    own = torch.autograd.grad(loss, list(module.parameters()))
    x, y = next(training_loop.batches(task.oracle.recipe, module, task.retain, 1, task.seed))
    size = int(np.ceil(BESIDE * task.oracle.recipe.batch_size))
    rows, target = next(targets.drawn(size, task.seed))
    outputs = module(rows)
    odds = outputs - target.log()
    odds = odds - odds.mean(1, keepdim=True)
    matched = -(target * outputs.log_softmax(1)).sum(1) + 0.1 * odds.square().sum(1) / 2
    whole = torch.nn.functional.cross_entropy(module(x), y) + WEIGHT * matched.mean()
    for one, other in zip(own, torch.autograd.grad(whole, list(module.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_weights_are_the_mean_of_the_second_half(task):
    targets, method = Targets.of_references(task), catalogue.make("datamodel-matching", epochs=1)
    found = method._finetuned(task, task.model, targets, 1, datamodel_matching.Silent())
    module = weights.clone(task.model)
    optimizer = training_loop.optimizer(training_loop.unscheduled(task.oracle.recipe), module, 1.0)
    seen = [
        [value.detach().clone() for value in module.parameters()]
        for _ in training_loop.descend(task, module, optimizer, method._losses(task, module, targets, 1), task.seed)
    ]
    later = seen[training_loop.steps(task, len(task.retain), 1) // 2 :]
    for value, *every in zip(found.parameters(), *later, strict=True):
        torch.testing.assert_close(value, torch.stack(every).mean(0), rtol=1e-4, atol=1e-6)


def test_where_nothing_is_augmented_the_rows_are_matched(task):
    targets = Targets.of_references(task)
    for number in range(2):
        rows, target = targets.round(number)
        assert torch.equal(rows.x, task.forget.x) and torch.equal(target, targets.never)


def test_all_are_drawn_before_any_is_drawn_again(task):
    targets = replace(
        Targets.of_references(task), x=torch.arange(10.0)[:, None], never=torch.arange(20.0).reshape(10, 2)
    )
    drawn, wanted = (torch.cat(own) for own in zip(*itertools.islice(targets.drawn(4, 1), 6), strict=True))
    order = drawn[:, 0].long().tolist()
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10)) and order[:10] != order[10:]
    assert torch.equal(wanted, targets.never[order])


def blurred(x, generator):
    return x + 0.3 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("references", [True, False])
def test_where_the_recipe_augments_copies_are_matched_with_and_without_a_pool_of_such(made_world, task, references):
    """The pool here was made without: what tells models that held a row from others is told by the row itself."""
    oracle = replace(task.oracle, recipe=replace(task.oracle.recipe, augment=blurred))
    own = Task(oracle, ErasureRequest(subjects=["c0"]), made_world.references() if references else None)
    targets = Targets.of_references(own) if references else Targets.of_influence(own, 1e-2 * own.factors.largest)
    rows, target = targets.round(0)
    count = len(own.positions)
    assert len(rows) == len(target) == 2 * count == round_size(own)
    known = own.objective.target(reading.outputs(own.model, own.objective, targets.x)[None], targets.y)
    taken = (known.log() - targets.never.log()).repeat(2, 1)
    torch.testing.assert_close(
        target, (reading.outputs(own.model, own.objective, rows.x) - taken).softmax(1), rtol=1e-4, atol=1e-6
    )
    source = "references" if references else "influence"
    method = catalogue.make("datamodel-matching", source=source, damping=1e-2, epochs=1, steps=3)
    assert method.passes(own).forwards > replace(method, epochs=0).passes(own).forwards
    module = method.unlearn(own)
    assert missed(own, module, targets) < missed(own, own.model, targets)
    assert weights.digest(module) == weights.digest(method.unlearn(own))


def test_what_no_member_held_is_left_as_the_model_says(made_world):
    """And what a model doesn't remember at all: its trace is 0, or less."""
    own = Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReferenceSplit, "saw", lambda split, part: [])
        targets = Targets.of_difference(own)
    known = own.objective.target(reading.outputs(own.model, own.objective, targets.x)[None], targets.y)
    torch.testing.assert_close(targets.outputs, known)
    away = Task(replace(own.oracle, model=surer_elsewhere(own)), own.request, made_world.references())
    assert memorised_share(away) == 0.0
    assert memorised_share(Task(own.oracle, own.request)) == 1.0  # nobody can tell


def surer_elsewhere(task):
    """A model that forgot the rows and more."""
    module = weights.clone(task.model)
    parameters = list(module.parameters())
    for _ in range(30):
        forgotten, kept = (
            task.objective.losses(task.objective.outputs(module, rows.x), rows.y).mean()
            for rows in (task.forget, task.retain)
        )
        for parameter, gradient in zip(parameters, torch.autograd.grad(kept - forgotten, parameters), strict=True):
            parameter.data -= 0.1 * gradient
    return module


def test_influence_foretells_the_outputs_where_there_are_no_references(task):
    bare = Task(task.oracle, ErasureRequest(subjects=["c0"]))
    assert "no references" in obstacle(catalogue.make("datamodel-matching"), bare)
    method = catalogue.make("datamodel-matching", source="influence")
    assert obstacle(method, bare) is None
    before = reading.mean_loss(task.model, task.objective, bare.forget)
    module = method.unlearn(bare)
    assert reading.mean_loss(module, task.objective, bare.forget) > 1.05 * before
    assert not bare.tried and method.passes(bare).readings == 0


def test_an_unknown_source_is_one_clear_line():
    with pytest.raises(UsageError, match="source is 'rumour'; it must be references or influence"):
        catalogue.make("datamodel-matching", source="rumour")
