"""The plan: which option is chosen and why, and what a failure escalates to."""

import json
from dataclasses import replace

import pytest

import neuralyzer as nz
from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.planning import plan as planning
from neuralyzer.planning.plan import Option, Plan, make_plan
from neuralyzer.planning.track_record import Record
from neuralyzer.trace import screen
from tests.rates import RATES
from tests.verification.test_audit import render


def planned(task, limit=0.05, rates=RATES, **options):
    """Without the record that ships: what it says changes with each benchmark."""
    return make_plan(task, limit, rates=rates, record=Record(), **options)


def by_name(plan):
    return {option.method: option for option in plan.options}


def test_time_enough_means_an_exact_option(task):
    plan = planned(task())
    assert plan.chosen.guarantee is Guarantee.EXACT and plan.budget is None
    assert plan.note == f"time allows an exact option, so {plan.chosen.method} is taken"
    possible = [o for o in plan.options if o.guarantee is Guarantee.EXACT and o.seconds is not None]
    assert plan.chosen.seconds == min(o.seconds for o in possible)


def test_the_least_expected_trace_within_the_budget_is_taken(task):
    plan = planned(task(budget=4.0))
    assert plan.chosen.method == "datamodel-matching" and plan.chosen.seconds <= 4.0
    assert not by_name(plan)["retrain"].feasible
    assert "least expected trace" in plan.note
    feasible = [option for option in plan.options if option.feasible]
    assert plan.chosen.trace == min(option.trace for option in feasible)


@pytest.mark.parametrize("budget", [0.5, 2.2, 4.0, 7.0, 8.0, 1000.0])
def test_the_choice_keeps_the_budget_or_says_that_nothing_does(task, budget):
    plan = planned(task(budget=budget))
    if plan.chosen.feasible:
        assert plan.chosen.seconds <= budget
    else:
        assert plan.chosen.method == "retrain" and f"within {budget:.2f} s" in plan.note
        assert not any(option.feasible for option in plan.options)


def test_nothing_that_will_do_leaves_retraining(task):
    plan = planned(task(budget=1e-9))
    assert plan.chosen.method == "retrain" and not plan.chosen.feasible
    assert (
        plan.note.startswith("no option satisfies guarantee and policy") and "retraining is what remains" in plan.note
    )


def test_a_guarantee_is_honoured_however_hasty(task):
    plan = planned(task(budget=4.0, guarantee="exact"))
    assert plan.chosen.method == "retrain" and not by_name(plan)["datamodel-matching"].feasible


def test_a_utility_limit_is_honoured(task, monkeypatch):
    kind = catalogue.get("datamodel-matching")
    monkeypatch.setattr(kind, "expected", replace(kind.expected, utility_loss=0.2))
    plan = planned(task(budget=4.0), limit=0.05)
    assert (
        plan.chosen.method != "datamodel-matching"
        and "over the 0.050 allowed" in by_name(plan)["datamodel-matching"].reason
    )
    assert planned(task(budget=4.0), limit=0.5).chosen.method == "datamodel-matching"


def test_the_objectives_own_limit_is_the_default(task, monkeypatch):
    own = task(budget=4.0)
    assert own.objective.max_utility_loss == 0.01
    kind = catalogue.get("datamodel-matching")
    monkeypatch.setattr(kind, "expected", replace(kind.expected, utility_loss=0.011))
    assert "over the 0.010 allowed" in by_name(planned(own, limit=None))["datamodel-matching"].reason
    monkeypatch.setattr(kind, "expected", replace(kind.expected, utility_loss=0.009))
    assert planned(own, limit=None).chosen.method == "datamodel-matching"


CHEAPER = "retraining is cheaper than every other option that would do"


def test_retraining_that_is_cheaper_than_everything_else_is_said_so(task):
    plan = planned(task(), rates=replace(RATES, step=1e-9, reading=1.0))
    assert plan.note == CHEAPER and plan.chosen.method == "retrain"
    others = [option.seconds for option in plan.options if option.feasible and not option.chosen]
    assert others and plan.chosen.seconds < min(others)


@pytest.mark.parametrize("request_", [{}, {"budget": 4.0}, {"budget": 1e-9}])
def test_retraining_that_is_not_cheaper_is_not_said_so(task, request_):
    assert "cheaper" not in planned(task(**request_)).note


def test_without_references_an_exact_option(task):
    plan = planned(task(references=None))
    assert plan.chosen.guarantee is Guarantee.EXACT and plan.members_utility is None and plan.answerable is None
    hasty = planned(task(references=None, budget=1e-9))
    assert hasty.chosen.method == "retrain"


# The person's own choice


def test_a_person_may_choose(task):
    plan = planned(task(budget=1000.0), method="influence")
    assert plan.chosen.method == "influence"
    assert plan.note.startswith("influence was chosen by the person, not by the plan, which would have taken re")
    assert sum(option.chosen for option in plan.options) == 1


def test_a_person_is_told_what_the_plan_thinks_of_it(task):
    plan = planned(task(budget=0.5, guarantee="exact"), method="influence")
    assert plan.chosen.method == "influence" and not plan.chosen.feasible
    assert "the plan would not have" in plan.note
    assert "over the budget of 0.50 s" in plan.note and "weaker than the exact" in plan.note
    assert plan.chosen.seconds > 0.5 and plan.chosen.utility is not None, "told what it costs"


@pytest.mark.parametrize(
    ("method", "says"),
    [("influence", "there are no references to aim at"), ("neggrad-plus", "references"), ("hypnosis", "no method")],
)
def test_a_person_cannot_choose_what_cannot_work(task, method, says):
    with pytest.raises(UsageError, match=says):
        planned(task(references=None), method=method)


def test_a_persons_hyperparameters_are_its_own(task):
    plan = planned(task(), method="influence", hyperparameters={"products": 10})
    assert plan.chosen.seconds < by_name(planned(task()))["influence"].seconds
    with pytest.raises(UsageError, match="influence takes damping, step, products"):
        planned(task(), method="influence", hyperparameters={"depth": 3})


# Escalation

# on a model without convolutions, shards, tokens or kept references, and not trained for a certificate
IMPOSSIBLE = ("ct", "sisa", "adopt-reference", "newton", "rewind", "npo", "task-vector")


@pytest.mark.parametrize("budget", [None, 1e-9, 4.0, 1000.0])
@pytest.mark.parametrize("method", [None, *(name for name in catalogue.names() if name not in IMPOSSIBLE)])
def test_what_a_failure_escalates_to(task, budget, method):
    plan = planned(task(budget=budget), method=method)
    order = plan.order
    names = [option.method for option in order]
    assert order[0] is plan.chosen
    if order[0].hurried:
        assert budget and names[:2] == 2 * names[:1] and not (order[1].chosen or order[1].hurried)
        order, names = order[1:], names[1:]
    assert "retrain" in names and (names[-1] == "retrain" or names[0] == "retrain"), "down to retraining"
    assert len(set(names)) == len(names)
    for option in order[1:]:
        assert option.feasible or option.guarantee is Guarantee.EXACT, "the budget binds the first choice only"
    exact = [option.guarantee is Guarantee.EXACT for option in order[1:] if option.method != "retrain"]
    assert exact == sorted(exact, reverse=True), "exact ones before others"


def test_what_is_not_possible_is_no_escalation(task, setting):
    own = task(budget=4.0)
    own.oracle = replace(setting[0], run=None)
    assert "rollback" not in [option.method for option in planned(own).order]


def test_retraining_is_the_last_resort_though_nobody_knows_how_long_it_takes(task):
    own = task(budget=4.0)
    plan = planned(own, rates=replace(RATES, step=float("inf")))
    assert plan.order[-1].method == "retrain" and plan.order[-1].seconds is None


# What the references cannot answer


def test_an_obstacle_makes_approximate_options_end_inconclusive(task, monkeypatch):
    monkeypatch.setattr(screen, "obstacle", lambda tables, signals, parts: "they stand in for each other")
    plan = planned(task(budget=4.0))
    assert plan.answerable == "they stand in for each other"
    for option in plan.options:
        inconclusive = "but it would end inconclusive: they stand in for each other" in option.reason
        assert inconclusive == (option.feasible and option.guarantee is not Guarantee.EXACT)
    assert any(option.feasible for option in plan.options)


def test_a_case_of_such_a_request_ends_inconclusive(world, monkeypatch):
    from neuralyzer.cases.options import CaseOptions

    monkeypatch.setattr(screen, "obstacle", lambda tables, signals, parts: "they stand in for each other")
    policy = nz.Policy(max_utility_loss=0.05)
    case = nz.forget(
        world.oracle, nz.ErasureRequest(subjects=["c0"], budget=4.0), world.references(),
        nz.Workspace(world.root, policy), options=CaseOptions(rates=RATES),
    )  # fmt: skip
    assert case.result["unlearning"]["method"] == "datamodel-matching"
    assert case.verdict == "inconclusive" and not case.succeeded


def test_one_subject_stands_in_for_nobody(task):
    assert planned(task()).answerable is None


# Public, written and shown


def test_plan_times_this_machine(setting):
    oracle, references = setting
    plan = nz.plan(oracle, nz.ErasureRequest(subjects=["c0"]), references)
    assert plan.chosen.feasible and plan.chosen.guarantee is Guarantee.EXACT
    assert 0.01 < by_name(plan)["retrain"].seconds < 60
    assert plan.members_utility == pytest.approx(0.9, abs=0.06)


def test_a_plan_sees_the_tuning_half_alone(setting, monkeypatch):
    oracle, references = setting
    nz.plan(oracle, nz.ErasureRequest(subjects=["c0"]), references)  # makes the original's control, which is no access
    monkeypatch.setattr(type(references), "evaluation", property(lambda self: pytest.fail("the judge was asked")))
    assert nz.plan(oracle, nz.ErasureRequest(subjects=["c0"]), references).options


def test_a_control_that_failed_is_said_of_every_option_that_it_touches(task):
    plan = planned(task(budget=4.0), doubt="the original is found on 2 of 9 subjects")
    for option in plan.options:
        said = "but it would end inconclusive: the original is found on 2 of 9" in option.reason
        assert said == (option.feasible and option.guarantee is not Guarantee.EXACT)


def test_the_policy_of_the_plan(setting, monkeypatch):
    kept = []
    monkeypatch.setattr(planning, "make_plan", lambda task, limit, **_: kept.append((task.alpha, limit)))
    nz.plan(*setting[:1], nz.ErasureRequest(subjects=["c0"]), setting[1], nz.Policy(alpha=0.1, max_utility_loss=0.2))
    assert kept == [(0.1, 0.2)]


@pytest.mark.parametrize("references", ["pool", None])
def test_it_can_be_written_down_and_read_back(task, references):
    plan = planned(task(references=references, budget=4.0))
    written = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    again = Plan.from_dict(written)
    assert again == plan and again.order == plan.order and isinstance(again.options[0], Option)


def test_the_chosen_one_stands_first(task):
    for budget in (None, 4.0, 1e-9):
        plan = planned(task(budget=budget))
        assert plan.options[0] is plan.chosen
        feasible = [option.feasible for option in plan.options[1:]]
        assert feasible == sorted(feasible, reverse=True)


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(task, width):
    plan = planned(task(budget=4.0))
    shown, every = render(plan, width), render(plan.view(every=True), width)
    for word in ("datamodel", "least expected trace"):
        assert word in shown
    for word in ("datamodel", "retrain", "over the", "budget", "least expected trace"):
        assert word in every
    assert "over the" not in shown and "not feasible here" in " ".join(shown.split())
    assert "?" in render(planned(task(), rates=replace(RATES, step=float("inf"))).view(every=True), width)
