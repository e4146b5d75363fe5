import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.strong import datamodel_matching
from neuralyzer.models import reading, weights
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.unlearning import matched, training_loop
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


def some(task, made_world, count, **request):
    """A task for so many rows."""
    ids = task.oracle.data.ids[:count].tolist()
    return Task(task.oracle, ErasureRequest(rows=ids, **request), made_world.references())


def test_few_rows_get_three_steps_and_many_fewer(task, made_world):
    method, passes = catalogue.make("datamodel-matching"), min(3, max(1, round(task.oracle.recipe.epochs / 20)))
    few, many = (some(task, made_world, count) for count in (2, 160))
    assert method._schedule(few) == (3, passes) and method._schedule(many) == (1, passes)
    assert catalogue.make("datamodel-matching", steps=5, epochs=2)._schedule(few) == (5, 2)
    assert catalogue.make("datamodel-matching", epochs=0)._schedule(few) == (3, 0)


def test_a_step_on_a_small_batch_counts_as_one_on_64_rows(task):
    ids, method = task.oracle.data.ids, catalogue.make("datamodel-matching")
    steps = {}
    for size in (8, 64, 128):
        oracle = replace(task.oracle, recipe=replace(task.oracle.recipe, batch_size=size, epochs=20))  # one pass
        steps[size] = [method._schedule(Task(oracle, ErasureRequest(rows=ids[:n].tolist())))[0] for n in (20, 40)]
    # the steps times 64 rows over 7/3 of the six products of n rows: 60 and 58 steps, and 8 of 64 rows
    assert steps == {8: [3, 3], 64: [2, 1], 128: [2, 1]}


def test_where_steps_are_dear_a_limited_time_has_no_evaluation(task, made_world):
    limited, free = (some(task, made_world, 160, budget=budget) for budget in (600.0, None))
    method = catalogue.make("datamodel-matching")
    assert method.passes(limited).readings == 0 and method.passes(free).readings == 2
    taken = method.unlearn(limited)
    assert limited.limited and not limited.tried
    own = catalogue.make("datamodel-matching", steps=1).unlearn(free)
    assert weights.digest(taken) == weights.digest(own) and not free.tried


def test_where_steps_are_cheap_a_limited_time_has_two_evaluations_at_most(task, made_world):
    limited, free = (some(task, made_world, 2, budget=budget) for budget in (600.0, None))
    method = catalogue.make("datamodel-matching")
    assert method.passes(free).readings == 2 and method.passes(limited).readings == 1
    assert method.passes(free).products == 2 * method.passes(limited).products
    assert method.passes(free).steps == method.passes(limited).steps > 0
    long = replace(task.oracle, recipe=replace(task.oracle.recipe, epochs=60))
    asked = ErasureRequest(rows=task.oracle.data.ids[:2].tolist(), budget=600.0)
    longer = Task(long, asked, made_world.references())  # the last of three passes is taken as far as it fits
    assert method.passes(longer).steps == 1.5 * training_loop.steps(longer, len(longer.retain), 2)
    method.unlearn(limited)
    assert 1 <= len(limited.tried) <= 2


def test_it_stops_where_its_budget_is_spent(made_world, task):
    late = Task(task.oracle, ErasureRequest(subjects=["c0"], budget=1e-9), made_world.references())
    steps = []
    original = training_loop.descend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "descend", lambda *args: (steps.append(1) or own for own in original(*args)))
        module = catalogue.make("datamodel-matching", epochs=3).unlearn(late)
    assert len(steps) == 1 and weights.digest(module) != weights.digest(task.model)
    own = catalogue.make("datamodel-matching", steps=1).unlearn(late)
    assert weights.digest(catalogue.make("datamodel-matching").unlearn(late)) == weights.digest(own)


@pytest.mark.parametrize(
    ("z", "tried", "taken"),
    [
        ({3: 0.4}, [3], 3),  # under a quarter of the critical value
        ({3: 1.9, 6: 0.4}, [3, 6], 6),  # not detected: doubled only where time is not limited
        ({3: 4.0, 6: 2.0, 12: 0.5}, [3, 6, 12], 12),
        ({3: 2.2, 6: 2.3}, [3, 6], 3),  # six do not help
        ({3: 2.2, 6: 1.8}, [3, 6], 6),  # by a fifth of the critical value, which is noise: no third evaluation
        ({3: 64.0, 6: 32.0, 12: 16.0, 24: 8.0, 48: 2.0, 96: 3.0}, [3, 6, 12, 24, 48, 96], 48),
    ],
)
@pytest.mark.parametrize("limited", [False, True])
def test_steps_are_doubled_as_long_as_they_help(task, monkeypatch, z, tried, taken, limited):
    """``z`` by steps, of a critical value of 2; where time is limited they are doubled once, if the rows are detected."""
    seen, states = [], {}

    def evaluate(tuner, settings, module):
        tuner.critical = 2.0
        seen.append(settings["steps"])
        states[settings["steps"]] = weights.digest(module)
        return Trial(settings, z[settings["steps"]], 0.0, 0.0, module)

    monkeypatch.setattr(datamodel_matching.Tuner, "evaluate", evaluate)
    part = task.part(task.positions[:2])
    part.start(600.0 if limited else None)
    module = catalogue.make("datamodel-matching", epochs=0).unlearn(part)
    if limited:
        tried = tried[:2] if z[3] > 2.0 else [3]
    assert seen == tried and weights.digest(module) == states[min(taken, tried[-1])]


def test_fine_tuning_follows_the_chosen_state(task, made_world):
    few = some(task, made_world, 2)
    method = catalogue.make("datamodel-matching")
    chosen = catalogue.make("datamodel-matching", epochs=0).unlearn(few)
    targets = Targets.of_references(few).with_lead(few, chosen)
    steps = training_loop.steps(few, len(few.retain), method._schedule(few)[1])
    own = matched.finetuned(few, chosen, targets, steps, matched.by_recipe(few), datamodel_matching.Silent(), "")
    assert weights.digest(method.unlearn(some(task, made_world, 2))) == weights.digest(own) != weights.digest(chosen)


def test_few_rows_are_matched_to_members_and_many_to_their_difference(task, made_world):
    method = catalogue.make("datamodel-matching")
    few, many = (some(task, made_world, count) for count in (datamodel_matching.MANY - 1, datamodel_matching.MANY))
    assert method._targets(few).seen is None and method._targets(many).seen is not None
    moved = method._present(few, method._targets(few), few.model)
    assert not torch.equal(moved.never, method._targets(few).never)
    targets = method._targets(many)
    assert method._present(many, targets, many.model) is targets


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
    loss = next(matched.losses(task, module, targets, 1))
    own = torch.autograd.grad(loss, list(module.parameters()))
    x, y = next(training_loop.batches(task.oracle.recipe, module, task.retain, 1, task.seed))
    size = int(np.ceil(matched.MATCHED * task.oracle.recipe.batch_size))
    rows, target = next(targets.drawn(size, task.seed))
    outputs = module(rows)
    odds = outputs - target.log()
    odds = odds - odds.mean(1, keepdim=True)
    of_matched = -(target * outputs.log_softmax(1)).sum(1) + 0.1 * odds.square().sum(1) / 2
    whole = torch.nn.functional.cross_entropy(module(x), y) + of_matched.mean()
    for one, other in zip(own, torch.autograd.grad(whole, list(module.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_weights_are_the_mean_of_the_second_half(task):
    targets, steps = Targets.of_references(task), training_loop.steps(task, len(task.retain), 1)
    found = matched.finetuned(
        task, task.model, targets, steps, matched.by_recipe(task), datamodel_matching.Silent(), ""
    )
    module = weights.clone(task.model)
    optimizer = training_loop.optimizer(training_loop.unscheduled(task.oracle.recipe), module, 1.0)
    seen = [
        [value.detach().clone() for value in module.parameters()]
        for _ in training_loop.descend(task, module, optimizer, matched.losses(task, module, targets, steps), task.seed)
    ]
    later = seen[steps // 2 :]
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
