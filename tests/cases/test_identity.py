"""Which case a request is: what would change its answer changes its name, and nothing else does."""

from dataclasses import replace

import pytest

import neuralyzer as nz
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.identity import _early_fields, _name, case_of
from neuralyzer.cases.options import CaseOptions
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy

REQUEST = nz.ErasureRequest(subjects=["c1"])


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path)


def name(place, oracle, request=REQUEST, **options):
    return case_of(place, oracle, request, CaseOptions(**options))


DIFFERENT = [
    {"seed": 8}, {"seed": 8, "exact_references": 8}, {"exact_references": 8}, {"method": "None", "seed": 1},
    {"method": "8"}, {"hyperparameters": {"a": 8}}, {"hyperparameters": {"seed": 8}}, {"seed": 0}, {"seed": 1},
]  # fmt: skip


def test_wishes_are_told_apart_by_name_not_as_a_set(place, made_world):
    assert len({name(place, made_world.oracle, **options) for options in DIFFERENT}) == len(DIFFERENT)


def test_data_holdout_and_policy_are_part_of_it(place, made_world):
    oracle = made_world.oracle
    shorter = replace(oracle, holdout=oracle.holdout.select(range(200)))
    fewer = replace(oracle, data=oracle.data.select(range(len(oracle.data) - 1)))
    strict = Workspace(place.root, Policy(alpha=0.01))
    names = [name(place, own) for own in (oracle, shorter, fewer)] + [name(strict, oracle)]
    assert len(set(names)) == 4
    assert name(place, oracle) == name(place, oracle, device="cpu") == name(place, oracle, retrain_seconds=3.0)


@pytest.mark.parametrize("budget", [1.0, 2.5, None])
def test_a_budget_that_was_timed_is_no_part_of_it(place, made_world, budget):
    timed = replace(REQUEST, budget=budget)
    assert name(place, made_world.oracle, timed, timed_budget=True) == name(place, made_world.oracle, timed_budget=True)
    assert (name(place, made_world.oracle, timed) == name(place, made_world.oracle)) == (budget is None)


def test_a_case_that_an_early_version_began_is_gone_on_with(place, made_world):
    oracle, options = made_world.oracle, CaseOptions(seed=3)
    early = _name(place, _early_fields(oracle, REQUEST, options))
    folder = Folder(place.cases / early)
    folder.write("request", {"request": REQUEST.to_dict()})
    assert case_of(place, oracle, REQUEST, options) == early
    assert case_of(place, oracle, replace(REQUEST, reason="bias"), options) != early
    folder.write("result", {"policy": Policy(alpha=0.2).to_dict()})
    assert case_of(place, oracle, REQUEST, options) != early, "it was answered under another policy"
    folder.write("result", {"policy": place.policy.to_dict()})
    assert case_of(place, oracle, REQUEST, options) == early


def test_another_budget_by_timing_goes_on_with_the_case_and_keeps_its_first(tmp_path, made_world, monkeypatch):
    """A demo that is killed and started again times another budget."""
    from neuralyzer.cases import stages as module

    def stopped(*_):
        raise KeyboardInterrupt

    place = Workspace(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "audit", stopped)
        with pytest.raises(KeyboardInterrupt):
            nz.forget(
                made_world.oracle,
                replace(REQUEST, budget=50.0),
                None,
                place,
                options=CaseOptions("retrain", timed_budget=True),
            )
    case = nz.forget(
        made_world.oracle, replace(REQUEST, budget=70.0), None, place, options=CaseOptions("retrain", timed_budget=True)
    )
    assert [path.name for path in place.cases.iterdir()] == [case.id]
    assert case.result["request"]["budget"] == 50.0 if "request" in case.result else case.plan.budget == 50.0


def test_acceptance_tests_that_were_run_are_part_of_it(place, made_world):
    """A command that cannot be run is mended, and the case goes on; another command is another answer."""
    oracle, other = made_world.oracle, Workspace(place.root, Policy(acceptance="pytest tests"))
    first = name(place, oracle)
    assert name(other, oracle) == first
    Folder(place.cases / first).write("result", {"policy": place.policy.to_dict()})
    assert name(place, oracle) == first != name(other, oracle)
