"""An algorithm as an option: what it is expected to take, leave and cost, and why it will do or not."""

import json
from dataclasses import replace

import pytest

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import catalogue
from neuralyzer.models import reading
from neuralyzer.planning.options import LARGEST_EXPECTED_TRACE, predict
from neuralyzer.planning.track_record import Record, Situation
from neuralyzer.unlearning import search
from neuralyzer.unlearning.method import Expectation
from neuralyzer.unlearning.repair import Repair
from tests.rates import RATES


def option(task, name="influence", members=None, limit=0.01, answerable=None, rates=RATES):
    return predict(catalogue.make(name), task, rates, members, limit, answerable)


def expecting(monkeypatch, name, **values):
    kind = catalogue.get(name)
    monkeypatch.setattr(kind, "expected", replace(kind.expected, **values))


def test_seconds_include_repair_where_it_follows(task):
    own = task()
    retrain, influence = catalogue.make("retrain"), catalogue.make("influence")
    assert not retrain.repaired and influence.repaired
    assert option(own, "retrain").seconds == RATES.seconds(retrain.passes(own)) == pytest.approx(7.6)
    assert option(own).seconds == pytest.approx(RATES.seconds(influence.passes(own) + Repair().passes(own)))


def test_utility_is_what_members_predict_less_what_the_method_costs(task, monkeypatch):
    own = task()
    assert own.predicted_utility == pytest.approx(0.9, abs=0.06)
    assert option(own, "retrain", members=0.91).utility == 0.91
    expecting(monkeypatch, "influence", utility_loss=0.03)
    assert option(own, members=0.91).utility == pytest.approx(0.88)
    original = reading.utility(own.model, own.objective, own.oracle.holdout)
    assert option(own, "retrain").utility == pytest.approx(original), "the original's, where no member predicts it"


def test_over_the_budget(task):
    own = task(budget=5.0)
    found = option(own, "retrain")
    assert not found.feasible and found.reason == "over the budget of 5.00 s" and found.seconds == pytest.approx(7.6)
    assert option(own).feasible and "% of the budget" in option(own).reason
    assert option(task(budget=1e-3)).reason.startswith("over the budget")
    assert option(task(budget=7.61), "retrain").feasible and not option(task(budget=7.59), "retrain").feasible


def test_a_search_is_cut_short_by_a_budget_that_its_first_trial_keeps(task):
    method = catalogue.make("finetune")
    first, whole = (RATES.seconds(search.passes(method, task(), trials)) for trials in (1, search.TRIALS))
    found = {budget: predict(method, task(budget=budget), RATES, None, 0.01, None, searched=True)
             for budget in (0.9 * first, 1.1 * first, 1.1 * whole)}  # fmt: skip
    assert [one.seconds for one in found.values()] == [pytest.approx(whole), 1.1 * first, pytest.approx(whole)]
    assert ["over the budget" in one.reason for one in found.values()] == [True, False, False]


def test_what_is_expected_is_what_so_long_a_search_came_to(task):
    method, here = catalogue.make("finetune"), Situation(4.0, -2.0, 0.2, 0.0, 0.5)
    runs = tuple(here.to_dict() | {"method": "finetune", "effort": effort, "world": "w", "trace": trace, "utility_loss": 0.0}
                 for effort, trace in (("default", 0.9), ("within", 0.5), ("tuned", 0.1)))  # fmt: skip
    first = RATES.seconds(search.passes(method, task(), 1))

    def trace(budget, searched):
        own = predict(method, task(budget=budget), RATES, None, 0.01, None, Record(runs), here, searched)
        return 2 * own.trace - method.expected.trace  # without its own expectation, which counts as one run

    assert [trace(None, False), trace(1.1 * first, True), trace(None, True)] == pytest.approx([0.9, 0.5, 0.1])


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_a_weaker_guarantee_than_was_asked_for(task, guarantee):
    own = task(guarantee=guarantee)
    assert option(own, "retrain").feasible
    found = option(own)
    assert found.guarantee is Guarantee.STRONG
    assert found.feasible == (guarantee in (Guarantee.STRONG, Guarantee.WEAK))
    assert found.feasible or f"strong is weaker than the {guarantee} that was asked for" in found.reason


def test_what_is_known_to_leave_too_much(task, monkeypatch):
    expecting(monkeypatch, "finetune", trace=0.95)
    found = option(task(), "finetune")
    assert not found.feasible and "about 95 % of the trace" in found.reason and found.trace == 0.95
    expecting(monkeypatch, "finetune", trace=LARGEST_EXPECTED_TRACE)
    assert option(task(), "finetune").feasible


def test_what_would_cost_too_much_utility(task, monkeypatch):
    own = task()
    expecting(monkeypatch, "influence", utility_loss=0.02)
    dear = option(own, members=0.93, limit=0.01)
    assert not dear.feasible and "would cost 0.020 of accuracy, over the 0.010 allowed" in dear.reason
    assert option(own, members=0.93, limit=0.03).feasible
    expecting(monkeypatch, "influence", utility_loss=-0.02)
    assert option(own, members=0.93, limit=0.0).feasible, "utility may be won"


def test_an_exact_option_loses_what_every_exact_option_loses(task, monkeypatch):
    expecting(monkeypatch, "retrain", utility_loss=0.3)
    assert option(task(), "retrain", members=0.9, limit=0.01).feasible


def test_without_references_nothing_but_an_exact_option(task):
    own = task(references=None)
    assert option(own, "retrain").feasible and option(own, "rollback").feasible
    for name in ("influence", "finetune", "neggrad-plus"):
        found = option(own, name)
        assert not found.feasible and "references" in found.reason
    assert option(own).seconds is None, "what cannot work takes no time"


def test_a_method_that_cannot_work_says_why(task, setting, made_world):
    own = task()
    own.oracle = replace(setting[0], run=None)
    found = option(own, "rollback")
    assert not found.feasible and "not recorded" in found.reason and found.seconds is None


def test_nobody_knows_how_long(task):
    unknown = replace(RATES, step=float("inf"))
    found = option(task(), "retrain", rates=unknown)
    assert found.feasible and found.seconds is None, "it may take as long as it takes"
    hurried = option(task(budget=100.0), "retrain", rates=unknown)
    assert not hurried.feasible and "nobody knows how long" in hurried.reason


def test_what_the_pool_cannot_answer_would_end_inconclusive(task):
    why = "the requested subjects stand in for each other"
    reason = option(task(), answerable=why).reason
    assert f"but it would end inconclusive: {why}; 8 exact references would judge it" in reason
    assert reason.endswith("retraining costs 1/8 of them")
    assert why not in option(task(), "retrain", answerable=why).reason


def test_every_reason_is_told(task, monkeypatch):
    expecting(monkeypatch, "finetune", trace=0.95)
    found = option(task(budget=1e-6, guarantee="exact"), "finetune")
    assert found.reason.count(";") == 2


def test_it_is_plain(task):
    plain = option(task(), members=0.9).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["guarantee"] == "strong" and plain["chosen"] is False


@pytest.mark.parametrize("name", catalogue.names())
def test_every_algorithm_says_what_it_leaves(name):
    expected = catalogue.get(name).expected
    assert isinstance(expected, Expectation) and 0 <= expected.trace <= 1.5 and abs(expected.utility_loss) < 0.5
    if catalogue.get(name).guarantee is Guarantee.EXACT:
        assert expected == Expectation(0.0, 0.0)


def test_what_is_there_for_comparison_is_not_feasible_whatever_earlier_runs_say(task):
    runs = tuple(
        {"method": "boundary-shrink", "effort": None, "world": "w", "trace": 0.0, "utility_loss": 0.0}
        for _ in range(500)
    )
    one = task()
    own = predict(
        catalogue.make("boundary-shrink"), one, RATES, None, 0.01, None, Record(runs), Situation.of(one)
    )  # fmt: skip
    assert not own.feasible and "for comparison" in own.reason and "is known to leave" not in own.reason
