"""Which attempts of a past case are run again."""

from types import SimpleNamespace

import pytest

from neuralyzer.cases.run_again import recorded, settings
from neuralyzer.errors import UsageError


def attempt(method, seconds=1.0, verdict="not forgotten", reason="not forgotten", **hyperparameters):
    return {
        "method": method,
        "seconds": seconds,
        "verdict": verdict,
        "reason": reason,
        "hyperparameters": hyperparameters,
    }


def of(attempts, method, budget=None, **hyperparameters):
    certified = SimpleNamespace(method=SimpleNamespace(name=method, hyperparameters=hyperparameters))
    return recorded({"unlearning": {"attempts": attempts}}, certified, budget)


def test_attempts_that_left_weights_are_run_again_down_to_the_final_one():
    attempts = [
        attempt("influence", seconds=0.0, verdict=None, reason="crashed: ValueError: no"),
        attempt("finetune", rate=2.0),
        attempt("scrub", reason="2 acceptance tests failed"),
        attempt("retrain", verdict="forgotten", reason="accepted"),
    ]
    found = of(attempts, "retrain")
    assert [(one.number, one.method, one.judged) for one in found] == [(1, "finetune", True), (3, "retrain", True)]
    assert found[0].hyperparameters == {"rate": 2.0}


def test_the_final_one_is_the_certified_one_with_its_signed_hyperparameters():
    attempts = [attempt("finetune", rate=2.0), attempt("scrub", verdict=None), attempt("fisher", verdict=None)]
    (found,) = of(attempts, "finetune", rate=3.0)
    assert found.method == "finetune" and found.hyperparameters == {"rate": 3.0}
    with pytest.raises(UsageError, match="no attempt by scrub"):
        of(attempts, "scrub")


def test_a_time_limit_binds_the_first_choice_and_tells_whether_it_was_reached():
    attempts = [attempt("finetune", seconds=2.0), attempt("retrain", seconds=9.0, verdict="forgotten")]
    for budget, limited, late in ((None, False, False), (3.0, True, False), (2.0, True, True)):
        first, last = of(attempts, "retrain", budget)
        assert (first.limited, first.late) == (limited, late) and not (last.limited or last.late)


def test_a_sequence_of_methods_takes_no_hyperparameters():
    (found,) = of([attempt("influence+finetune", verdict="forgotten")], "influence+finetune", **{"finetune.rate": 1.0})
    assert settings(found) == {} and found.hyperparameters
